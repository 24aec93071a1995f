// SPDX-License-Identifier: BSL-1.0
#pragma once

/// An ordered, bounded log of decisions that can be replayed: what was known, what was decided, what was learned.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/schedule/conditions.hpp>
#include <syncline/schedule/memory.hpp>
#include <syncline/schedule/options.hpp>
#include <syncline/schedule/plan.hpp>
#include <syncline/schedule/scheduler.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {

/// Visits every member that is stored, in order. One list for writer and reader.
template <class C, class F>
void visit_members(C& c, F&& f) {
    auto& [network, power, storage, application, server, pending, collections] = c;
    f(network.online), f(network.kind), f(network.metered), f(network.roaming), f(network.data_saver);
    f(network.effective), f(network.downlink_kbps), f(network.round_trip), f(network.transferring);
    f(network.radio_on_for);
    f(power.level), f(power.charging), f(power.low_power_mode), f(power.thermal);
    f(storage.free_bytes), f(storage.quota_left);
    f(application.foreground), f(application.user_active), f(application.window), f(application.quiet);
    f(application.quiet_until), f(application.woken_for), f(application.notices_live);
    f(server.not_before), f(server.load), f(server.interval);
    for (auto& p : pending.of) { f(p.entries), f(p.bytes), f(p.oldest), f(p.deadline); }
}
inline constexpr std::size_t conditions_members = 26 + 4 * sync_classes;
template <class C, class F>
void visit_collection(C& k, F&& f) {
    f(k.id), f(k.scope), f(k.urgency), f(k.fresh_at), f(k.told_at), f(k.complete_by), f(k.bytes_left);
}
inline constexpr std::size_t collection_members = 7;
template <class R, class F>
void visit_report(R& r, F&& f) {
    f(r.good), f(r.took), f(r.round_trip), f(r.bytes_up), f(r.bytes_down), f(r.entries), f(r.metered);
    for (auto& n : r.class_bytes) { f(n); }
    f(r.retry_after);
}
inline constexpr std::size_t report_members = 8 + sync_classes;

template <class T>
inline constexpr bool stored_optional = false;
template <class T>
inline constexpr bool stored_optional<std::optional<T>> = true;

/// A time further away is as good as the furthest that is reckoned with.
[[nodiscard]] constexpr std::int64_t traced_time(std::int64_t n) noexcept {
    constexpr std::int64_t most = retry_time_max.count();
    return n < -most ? -most : n < most ? n : most;
}

/// Cuts times to what has a stored form.
struct member_cutter {
    template <class T>
    constexpr void operator()(T& x) const noexcept {
        if constexpr (stored_optional<T>) {
            if (x) { (*this)(*x); }
        } else if constexpr (std::is_same_v<T, milliseconds>) {
            x = milliseconds{traced_time(x.count())};
        } else if constexpr (std::is_same_v<T, wall_time>) {
            x = wall_time{milliseconds{traced_time(x.time_since_epoch().count())}};
        }
    }
};

struct member_writer {
    cbor_writer& out;
    template <class T>
    void operator()(T const& x) const {
        if constexpr (stored_optional<T>) {
            x ? (*this)(*x) : out.null();
        } else if constexpr (std::is_same_v<T, bool>) {
            out.boolean(x);
        } else if constexpr (std::is_same_v<T, milliseconds>) {
            out.integer(traced_time(x.count()));
        } else if constexpr (std::is_same_v<T, wall_time>) {
            out.integer(traced_time(x.time_since_epoch().count()));
        } else if constexpr (std::is_enum_v<T>) {
            out.unsigned_integer(static_cast<std::uint64_t>(x));
        } else {
            out.unsigned_integer(x);
        }
    }
};
struct member_reader {
    cbor_reader& in;
    template <class T>
    void operator()(T& x) const {
        if constexpr (stored_optional<T>) {
            if (in.null()) {
                x = std::nullopt;
            } else {
                typename T::value_type v{};
                (*this)(v);
                x = v;
            }
        } else if constexpr (std::is_same_v<T, bool>) {
            x = in.boolean();
        } else if constexpr (std::is_same_v<T, milliseconds>) {
            x = milliseconds{bounded(in.integer())};
        } else if constexpr (std::is_same_v<T, wall_time>) {
            x = wall_time{milliseconds{bounded(in.integer())}};
        } else if constexpr (std::is_enum_v<T>) {
            std::uint64_t const n = in.unsigned_integer();
            if (n > last_of(T{})) { in.fail({errc::malformed, "no such enumerator"}); }
            x = n > last_of(T{}) ? T{} : static_cast<T>(n);
        } else {
            std::uint64_t const n = in.unsigned_integer();
            x = static_cast<T>(n);
            if (x != n) { in.fail({errc::overflow, "number out of its range"}); }
        }
    }

private:
    [[nodiscard]] std::int64_t bounded(std::int64_t n) const noexcept {
        constexpr std::int64_t most = retry_time_max.count();
        if (n >= -most && n <= most) { return n; }
        in.fail({errc::overflow, "a time beyond the years that are reckoned in"});
        return 0;
    }
};

}  // namespace detail

/// Appends conditions: one array of CBOR, its members in the order of `conditions`, null where unknown, the collections
/// last. Times are milliseconds, moments since 1970, those beyond `retry_time_max` cut to it.
inline void encode(conditions const& c, cbor_writer& out) {
    out.array(detail::conditions_members + 1);
    detail::visit_members(c, detail::member_writer{out});
    out.array(c.collections.size());
    for (collection_state const& k : c.collections) {
        out.array(detail::collection_members);
        detail::visit_collection(k, detail::member_writer{out});
    }
}
/// Reads what `encode` wrote. On an error the reader has failed and what is returned means nothing.
[[nodiscard]] inline conditions decode_conditions(cbor_reader& in) {
    conditions c;
    if (in.array() != detail::conditions_members + 1) { in.fail({errc::malformed, "not conditions"}); }
    detail::visit_members(c, detail::member_reader{in});
    std::size_t const n = in.array();
    if (n > collections_max) { in.fail({errc::limit, "more than collections_max"}); }
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        collection_state k;
        if (in.array() != detail::collection_members) { in.fail({errc::malformed, "not a collection"}); }
        detail::visit_collection(k, detail::member_reader{in});
        static_cast<void>(c.collections.push_back(k));
    }
    return c;
}

/// A number that differs, but for one chance in 2^64 or so, when any part of two plans does.
[[nodiscard]] inline std::uint64_t digest(sync_plan const& p) noexcept {
    std::uint64_t sum = 0x73796E636C696E65;
    auto const mix = [&sum](std::uint64_t n) { sum = splitmix64(sum ^ n)() + n; };
    auto const time = [&](wall_time t) { mix(static_cast<std::uint64_t>(t.time_since_epoch().count())); };
    mix(p.run), time(p.at), mix(static_cast<std::uint64_t>(p.in.count())), mix(static_cast<std::uint64_t>(p.until));
    mix(p.push), mix(p.pull), mix(static_cast<std::uint64_t>(p.lowest)), mix(p.collections), mix(p.pulls);
    for (std::uint8_t const i : p.order) { mix(i); }
    mix(static_cast<std::uint64_t>(p.link)), mix(p.batch), mix(p.parallel),
        mix(static_cast<std::uint64_t>(p.compression));
    mix(p.large_values), mix(p.bytes_max), mix(static_cast<std::uint64_t>(p.lease.count()));
    for (plan_explanation const& e : p.why) {
        mix(static_cast<std::uint64_t>(e.because)), mix(e.considered), mix(static_cast<std::uint64_t>(e.until));
        mix(e.until_time.has_value());
        time(e.until_time.value_or(wall_time{}));
    }
    return sum;
}

/// How much a trace keeps.
struct trace_options {
    std::size_t events_max = 1024;                   ///< > 0
    std::size_t bytes_max = std::size_t{256} << 10;  ///< of events; the last one is kept even when longer
    friend constexpr bool operator==(trace_options const&, trace_options const&) = default;
};

/// What an event of a trace is. Stored: append, never renumber.
enum class trace_kind : std::uint8_t { decided, succeeded, failed, opened };
/// One event of a trace.
struct trace_event {
    trace_kind kind = trace_kind::decided;
    wall_time at{};
    conditions known{};            ///< `decided`
    std::uint64_t plan = 0;        ///< `decided`: `digest` of what was decided
    transfer_report report{};      ///< `succeeded`, `failed`
    std::uint64_t dice = 0;        ///< `failed`: the seed of the wait's jitter
    std::uint16_t collection = 0;  ///< `opened`
    friend bool operator==(trace_event const&, trace_event const&) = default;
};

/// What a replay came to.
struct replay_report {
    std::size_t events = 0;
    std::size_t decisions = 0;
    std::optional<std::size_t> differs{};  ///< the first event whose decision is another now
    schedule_memory memory{};              ///< as it was at the end
};

/// A schedule that remembers what it was asked and what it answered: memory, options and the log in one.
///
/// The log holds the last events and the memory as it was before them, so that it can always be replayed: what falls out
/// at the front is applied to that memory. Cost: a decision allocates its event, some 100 bytes; the encoding is linear.
class traced_schedule {
public:
    explicit traced_schedule(schedule_memory memory = schedule_memory(), schedule_options const& options = {},
                             trace_options keep = {})
        : options_(options), keep_(keep), base_(memory), memory_(memory) {
        SYNCLINE_ASSERT(valid(options) && keep.events_max > 0);
    }

    /// Takes notice of the conditions and decides; times beyond `retry_time_max` count as that. An observer hears of it by
    /// `tell_decision`.
    template <observer O = no_observer>
    [[nodiscard]] sync_plan decide(conditions const& known, wall_time now, O&& told = {}) {
        // What is decided on is what the log can say.
        conditions c = known;
        detail::visit_members(c, detail::member_cutter{});
        for (std::size_t i = 0; i < c.collections.size(); ++i) {
            detail::visit_collection(c.collections[i], detail::member_cutter{});
        }
        tell_decision(told, c, asked_at_, now);
        memory_.saw(c, options_, now);
        sync_plan const p = make_plan(c, memory_, options_, now);
        asked_at_ = p.at;
        event(trace_kind::decided, now, [&](cbor_writer& out) {
            encode(c, out);
            out.unsigned_integer(digest(p));
        });
        return p;
    }
    void succeeded(transfer_report const& r, wall_time now) {
        memory_.succeeded(r, options_, now);
        event(trace_kind::succeeded, now, [&](cbor_writer& out) { report(r, out); });
    }
    /// Takes one number of the generator.
    template <random_source G>
    void failed(transfer_report const& r, wall_time now, G& random) {
        std::uint64_t const seed = random();
        random_generator g(seed);
        memory_.failed(r, options_, now, g);
        event(trace_kind::failed, now, [&](cbor_writer& out) {
            report(r, out);
            out.unsigned_integer(seed);
        });
    }
    void opened(std::uint16_t collection, wall_time now) {
        memory_.opened(collection, options_, now);
        event(trace_kind::opened, now, [&](cbor_writer& out) { out.unsigned_integer(collection); });
    }

    [[nodiscard]] schedule_memory const& memory() const noexcept { return memory_; }
    [[nodiscard]] schedule_options const& options() const noexcept { return options_; }
    [[nodiscard]] std::size_t events() const noexcept { return events_.size() - first_; }

    /// The log as one item of CBOR: [1, memory before it, [event, …]]; an event is [kind, now, …].
    [[nodiscard]] bytes encoded() const {
        bytes out;
        cbor_writer w(out);
        w.array(3);
        w.unsigned_integer(1);
        w.byte_string(to_array(base_));
        w.array(events());
        for (std::size_t i = first_; i < events_.size(); ++i) { w.raw(events_[i]); }
        return out;
    }

    /// Visits the events of a log, the oldest first, and answers the memory as it was before them. False from the
    /// visitor stops. Errors, beside those of `cbor_reader`: `unsupported` for another version, `malformed`; what was
    /// visited before is true. Cost: linear.
    [[nodiscard]] static result<schedule_memory> read(bytes_view log, function_ref<bool(trace_event const&)> visit,
                                                      decode_limits const& limits = {}) {
        cbor_reader in(log, limits);
        if (in.array() != 3) { in.fail({errc::malformed, "not a schedule's trace"}); }
        if (in.unsigned_integer() != 1 && !in.failed()) {
            return failure(errc::unsupported, "another version of a trace");
        }
        bytes_view const raw = in.byte_string();
        if (in.failed()) { return in.error(); }
        schedule_memory memory;
        if (auto ok = memory.restore(raw); !ok) { return ok.error(); }
        std::size_t const n = in.array();
        for (std::size_t i = 0; i < n && !in.failed(); ++i) {
            trace_event const e = take(in);
            if (!in.failed() && !visit(e)) { return memory; }
        }
        if (auto ok = in.finish(); !ok) { return ok.error(); }
        return memory;
    }
    /// Runs a log through the scheduler again, under these options, and compares each decision with the one then.
    ///
    /// `visit` sees each decision's conditions, time and plan. Errors and cost: as `read`.
    [[nodiscard]] static result<replay_report> replay(
        bytes_view log, schedule_options const& options,
        function_ref<void(conditions const&, wall_time, sync_plan const&)> visit, decode_limits const& limits = {}) {
        // The memory before the events comes first in the log, and is needed first.
        auto const before = read(
            log, [](trace_event const&) { return false; }, limits);
        if (!before) { return before.error(); }
        replay_report out;
        out.memory = *before;
        auto const again = [&](trace_event const& e) {
            apply(e, out.memory, options);
            if (e.kind == trace_kind::decided) {
                sync_plan const p = make_plan(e.known, out.memory, options, e.at);
                ++out.decisions;
                if (!out.differs && digest(p) != e.plan) { out.differs = out.events; }
                visit(e.known, e.at, p);
            }
            ++out.events;
            return true;
        };
        auto const whole = read(log, again, limits);
        if (!whole) { return whole.error(); }
        return out;
    }
    [[nodiscard]] static result<replay_report> replay(bytes_view log, schedule_options const& options) {
        return replay(log, options, [](conditions const&, wall_time, sync_plan const&) {});
    }

private:
    [[nodiscard]] static constexpr std::size_t members(trace_kind k) noexcept {
        switch (k) {
            case trace_kind::decided: return 4;
            case trace_kind::succeeded: return 3;
            case trace_kind::failed: return 4;
            case trace_kind::opened: return 3;
        }
        return 0;
    }

    static void report(transfer_report const& r, cbor_writer& out) {
        out.array(detail::report_members);
        detail::visit_report(r, detail::member_writer{out});
    }
    template <class F>
    void event(trace_kind k, wall_time now, F&& body) {
        bytes out;
        cbor_writer w(out);
        w.array(members(k));
        w.unsigned_integer(static_cast<std::uint64_t>(k));
        w.integer(local_time(now, milliseconds{0}).time_since_epoch().count());
        body(w);
        size_ += out.size();
        events_.push_back(std::move(out));
        while (events() > 1 && (events() > keep_.events_max || size_ > keep_.bytes_max)) { forget(); }
    }
    void forget() {
        cbor_reader in(events_[first_]);
        apply(take(in), base_, options_);
        size_ -= events_[first_].size();
        events_[first_] = {};
        if (++first_ * 2 > events_.size()) {
            events_.erase(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(first_));
            first_ = 0;
        }
    }
    /// One event as it is stored. On an error the reader has failed.
    [[nodiscard]] static trace_event take(cbor_reader& in) {
        trace_event e;
        std::size_t const n = in.array();
        std::uint64_t const number = in.unsigned_integer();
        if (number > 3 || n != members(static_cast<trace_kind>(number))) { in.fail({errc::malformed, "not an event"}); }
        e.kind = static_cast<trace_kind>(number & 3);
        detail::member_reader{in}(e.at);
        if (in.failed()) { return e; }
        switch (e.kind) {
            case trace_kind::decided:
                e.known = decode_conditions(in);
                e.plan = in.unsigned_integer();
                break;
            case trace_kind::opened: detail::member_reader{in}(e.collection); break;
            case trace_kind::succeeded:
            case trace_kind::failed:
                if (in.array() != detail::report_members) { in.fail({errc::malformed, "not an exchange"}); }
                detail::visit_report(e.report, detail::member_reader{in});
                e.dice = e.kind == trace_kind::failed ? in.unsigned_integer() : 0;
                break;
        }
        return e;
    }
    /// What the memory learns from an event.
    static void apply(trace_event const& e, schedule_memory& memory, schedule_options const& o) {
        switch (e.kind) {
            case trace_kind::decided: return memory.saw(e.known, o, e.at);
            case trace_kind::succeeded: return memory.succeeded(e.report, o, e.at);
            case trace_kind::opened: return memory.opened(e.collection, o, e.at);
            case trace_kind::failed: break;
        }
        random_generator g(e.dice);
        memory.failed(e.report, o, e.at, g);
    }

    schedule_options options_;
    trace_options keep_;
    schedule_memory base_;                 ///< before the first event
    schedule_memory memory_;               ///< now
    std::optional<wall_time> asked_at_{};  ///< by the last plan
    std::vector<bytes> events_;
    std::size_t first_ = 0;
    std::size_t size_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI
