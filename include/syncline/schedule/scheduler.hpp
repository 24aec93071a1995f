// SPDX-License-Identifier: BSL-1.0
#pragma once

/// When to move: a pure function from what is known to a plan.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/retry/state.hpp>
#include <syncline/schedule/conditions.hpp>
#include <syncline/schedule/memory.hpp>
#include <syncline/schedule/options.hpp>
#include <syncline/schedule/plan.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What a class wants an exchange for.
enum class want : std::uint8_t {
    push,  ///< an entry waits in the outbox
    look,  ///< a collection may have changed
    told,  ///< a collection has changed
};

/// How things are, as far as all classes are concerned: what the steps of a decision ask about.
struct schedule_situation {
    conditions const& c;
    schedule_memory const& memory;
    schedule_options const& options;
    wall_time now{};
    link_strategy link = link_strategy::moderate;
    bool cheap = false;  ///< waking the radio costs next to nothing
    bool metered = false;
    bool riding = false;  ///< another program transfers now
    bool radio_on = false;
    bool saving = false;
    bool idle = false;    ///< nobody uses the program, nor usually does soon
    bool window = false;  ///< time in the background was granted
    bool leaving = false;
    bool unsteady = false;     ///< there may be no link when it is needed, by what was learned of this hour
    bool better_soon = false;  ///< an unmetered link usually comes within the hour, or is there in the next ones
};

/// The gates that are closed: each stops the classes from `schedule_options::stops` on.
struct closed_gates {
    std::uint32_t bits = 0;   ///< 1 << gate
    std::uint32_t timed = 0;  ///< of these, those that time opens
    std::array<milliseconds, gates> opens_in{};
    std::array<bool, sync_classes> class_budget{};

    constexpr void close(schedule_gate g) noexcept { bits |= 1U << static_cast<unsigned>(g); }
    constexpr void close(schedule_gate g, milliseconds opens) noexcept {
        close(g);
        timed |= 1U << static_cast<unsigned>(g);
        opens_in[static_cast<std::size_t>(g)] = opens;
    }
};

/// The steps of a decision. A host that wants another step derives from this, hides one of these functions, and passes
/// its type to `make_plan`: `make_plan<my_steps>(...)`.
struct schedule_steps {
    /// Which gates are closed. What is unknown closes nothing.
    [[nodiscard]] static constexpr closed_gates closed(schedule_situation const& s) noexcept {
        closed_gates out;
        auto const& [network, power, storage, application, server, pending, collections] = s.c;
        schedule_options const& o = s.options;
        if (network.online && !*network.online) { out.close(schedule_gate::offline); }
        if (auto const until = s.memory.paused_until(s.now)) {
            out.close(schedule_gate::backing_off, elapsed(s.now, *until));
        }
        // A wait beyond wait_max was written under another clock: it would be one for ever.
        auto const waits = [&](std::optional<wall_time> const& t) {
            return t && *t > s.now && elapsed(s.now, *t) <= o.wait_max;
        };
        // A moment that a fleet waits for doesn't bring it all at once: each device asks again in its own place after it.
        milliseconds const mine = place(s);
        if (waits(server.not_before)) {
            out.close(schedule_gate::server_asked, elapsed(s.now, *server.not_before) + mine);
        }
        if (server.load && *server.load >= o.server_load_max) { out.close(schedule_gate::server_loaded); }
        if (network.roaming.value_or(false)) { out.close(schedule_gate::roaming); }
        if (s.metered) { out.close(schedule_gate::metered); }
        if (network.data_saver.value_or(false)) { out.close(schedule_gate::data_saver); }
        if (s.memory.battery_low(power, o)) { out.close(schedule_gate::battery_low); }
        if (power.level && *power.level <= o.battery_critical && !power.charging.value_or(false)) {
            out.close(schedule_gate::battery_critical);
        }
        if (power.low_power_mode.value_or(false)) { out.close(schedule_gate::low_power_mode); }
        if (power.thermal && *power.thermal >= thermal_state::serious) { out.close(schedule_gate::hot); }
        if (power.thermal && *power.thermal >= thermal_state::critical) { out.close(schedule_gate::too_hot); }
        if ((storage.free_bytes && *storage.free_bytes < o.free_bytes_min) ||
            (storage.quota_left && *storage.quota_left < o.free_bytes_min)) {
            out.close(schedule_gate::storage_full);
        }
        bool const ends = waits(application.quiet_until);
        if (application.quiet.value_or(ends)) {
            if (ends) {
                out.close(schedule_gate::quiet_hours, elapsed(s.now, *application.quiet_until) + mine);
            } else {
                out.close(schedule_gate::quiet_hours);
            }
        }
        if (application.foreground == false && application.window && *application.window <= o.window_reserve) {
            out.close(schedule_gate::no_window);
        }
        if (s.metered) { close_budgets(s, out); }
        if (network.online != false && s.link != link_strategy::aggressive) { out.close(schedule_gate::weak_link); }
        return out;
    }

    /// The first class that a gate stops.
    [[nodiscard]] static constexpr std::size_t stops_from(schedule_situation const& s, schedule_gate g) noexcept {
        if (g == schedule_gate::weak_link) {
            return static_cast<std::size_t>(s.options.table[static_cast<std::size_t>(s.link)].lowest) + 1;
        }
        return s.options.stops[static_cast<std::size_t>(g)];
    }
    /// Whether what has waited too long, or must arrive now, passes a gate all the same.
    [[nodiscard]] static constexpr bool yields(schedule_situation const& s, schedule_gate g) noexcept {
        return s.options.yields[static_cast<std::size_t>(g)];
    }

    /// How long something of a class may wait for company.
    [[nodiscard]] static constexpr milliseconds interval(schedule_situation const& s, want w, sync_class c) noexcept {
        schedule_options const& o = s.options;
        auto const i = static_cast<std::size_t>(c);
        auto const part = [](milliseconds t, std::uint32_t per_mille) { return t * std::int64_t{per_mille} / 1000; };
        milliseconds t = w != want::look                                ? o.patience[i]
                         : s.c.application.notices_live.value_or(false) ? o.interval_noticed[i]
                                                                        : o.interval[i];
        if (w == want::look && s.idle) { t = part(t, o.idle_per_mille); }
        if (s.saving && (w == want::look || c != sync_class::critical)) { t = part(t, o.save_per_mille); }
        if (w == want::look && s.c.server.interval) { t = (std::max)(t, clamped(*s.c.server.interval, o.look_max)); }
        if (s.window) { return milliseconds{0}; }
        milliseconds least = t;
        if (s.cheap) {
            least = (std::min)(least, part(t, w == want::look ? o.cheap_per_mille : o.cheap_known_per_mille));
        }
        if (s.riding || (s.radio_on && c == sync_class::critical)) {
            least = (std::min)(least, part(t, o.ride_per_mille));
        }
        if (s.leaving) { least = (std::min)(least, part(t, o.leave_per_mille)); }
        return least;
    }
    /// How much later a device looks than its interval says, so that a fleet spreads out: the same until its next exchange.
    [[nodiscard]] static constexpr milliseconds jitter(schedule_situation const& s, milliseconds interval,
                                                       std::size_t index) noexcept {
        splitmix64 hash(s.memory.device() ^ (std::uint64_t{s.memory.exchanges()} << 32) ^ index);
        std::uint64_t const share = (hash() >> 44) * s.options.jitter_per_mille;  // of 2^20 thousandths
        return milliseconds{
            static_cast<std::int64_t>((static_cast<std::uint64_t>(interval.count()) >> 10) * share / 1'024'000)};
    }
    /// A device's place within `backoff_options::reconnect_spread`, when many wait for the same: always the same.
    [[nodiscard]] static constexpr milliseconds place(schedule_situation const& s) noexcept {
        splitmix64 hash(s.memory.device() ^ 0x5bd1e995);
        auto const span = static_cast<std::uint64_t>(s.options.backoff.reconnect_spread.count()) + 1;
        return milliseconds{static_cast<std::int64_t>(hash() % span)};
    }
    /// Whether a collection that is not due comes along with an exchange.
    [[nodiscard]] static constexpr bool joins(schedule_situation const& s, milliseconds age,
                                              milliseconds interval) noexcept {
        return age.count() * 1000 >= interval.count() * std::int64_t{s.options.join_per_mille};
    }
    [[nodiscard]] static constexpr std::uint32_t batch(schedule_situation const& s) noexcept {
        return s.memory.batch(s.link, s.options);
    }
    [[nodiscard]] static constexpr std::uint32_t parallel(schedule_situation const& s) noexcept {
        return s.memory.parallel(s.link, s.options);
    }
    /// The next decision after a wait, at the latest.
    [[nodiscard]] static constexpr milliseconds longest_wait(schedule_situation const& s) noexcept {
        return s.options.look_max;
    }

private:
    static constexpr void close_budgets(schedule_situation const& s, closed_gates& out) noexcept {
        schedule_options const& o = s.options;
        wall_time const local = local_time(s.now, o.utc_offset);
        milliseconds const midnight =
            milliseconds{(calendar_day(local) + 1) * 86'400'000} - local.time_since_epoch() + place(s);
        if (o.day_bytes && s.memory.spent(o, s.now) >= *o.day_bytes) { out.close(schedule_gate::day_budget, midnight); }
        for (std::size_t i = 0; i < sync_classes; ++i) {
            if (!o.class_bytes[i] || s.memory.spent(i, o, s.now) < *o.class_bytes[i]) { continue; }
            out.class_budget[i] = true;
            out.close(schedule_gate::class_budget, midnight);
        }
    }
};

namespace detail {

/// What would open a gate, beside time.
[[nodiscard]] constexpr awaited opener(schedule_gate g) noexcept {
    switch (g) {
        case schedule_gate::offline: return awaited::network;
        case schedule_gate::server_asked: return awaited::nothing;  // it holds on every link
        case schedule_gate::backing_off: return awaited::better_link;
        case schedule_gate::day_budget:
        case schedule_gate::class_budget: return awaited::unmetered;
        case schedule_gate::server_loaded: return awaited::server;
        case schedule_gate::roaming: return awaited::home_network;
        case schedule_gate::metered: return awaited::unmetered;
        case schedule_gate::data_saver: return awaited::data_saver_off;
        case schedule_gate::battery_low:
        case schedule_gate::battery_critical:
        case schedule_gate::low_power_mode: return awaited::power;
        case schedule_gate::hot:
        case schedule_gate::too_hot: return awaited::cooler;
        case schedule_gate::storage_full: return awaited::space;
        case schedule_gate::quiet_hours: return awaited::quiet_end;
        case schedule_gate::no_window: return awaited::window;
        case schedule_gate::weak_link: return awaited::better_link;
    }
    return awaited::work;
}

/// Makes one plan.
template <class Steps>
class planner {
public:
    constexpr explicit planner(schedule_situation const& s) noexcept : s_(s), closed_(Steps::closed(s)) {
        for (std::size_t i = 0; i < gates; ++i) {
            if ((closed_.bits >> i & 1U) == 0) { continue; }
            auto const g = static_cast<schedule_gate>(i);
            for (std::size_t c = Steps::stops_from(s_, g); c < sync_classes; ++c) {
                if (g != schedule_gate::class_budget || closed_.class_budget[c]) { stop_[c] |= 1U << i; }
            }
            if (Steps::yields(s_, g)) { yields_ |= 1U << i; }
            if (s_.options.lets_join[i]) { joinable_ |= 1U << i; }
        }
    }

    [[nodiscard]] constexpr sync_plan make() noexcept {
        for (std::size_t i = 0; i < sync_classes; ++i) { consider_push(i); }
        for (std::size_t i = 0; i < s_.c.collections.size(); ++i) { consider_pull(i); }
        sync_plan p;
        p.link = s_.link;
        p.run = first_.known && first_.wait.count() == 0;
        if (p.run) {
            choose_work(p);
        } else {
            p.in =
                (std::min)(Steps::longest_wait(s_), (std::min)(first_.known ? first_.wait : farthest, blocked_wait_));
            if (p.in.count() < 1) { p.in = milliseconds{1}; }
        }
        explain_when(p);
        sizes(p);
        if (p.run) {
            p.in = s_.window ? (std::min)(run_limit, *s_.c.application.window) : run_limit;
            if (p.in.count() < 1) { p.in = milliseconds{1}; }
        }
        p.at = s_.now + p.in;
        return p;
    }

private:
    static constexpr milliseconds farthest = retry_time_max;
    static constexpr milliseconds run_limit{120'000};
    static constexpr std::uint64_t event_small = std::uint64_t{1} << 20;  ///< bytes of a collection that aren't much
    static constexpr std::uint32_t weak_bit = 1U << static_cast<unsigned>(schedule_gate::weak_link);
    static constexpr std::uint32_t storage_bit = 1U << static_cast<unsigned>(schedule_gate::storage_full);
    static constexpr std::uint32_t class_budget_bit = 1U << static_cast<unsigned>(schedule_gate::class_budget);

    /// One thing that wants an exchange.
    struct demand {
        bool known = false;
        milliseconds wait{0};  ///< until it is due; zero: now
        milliseconds age{0};
        milliseconds interval{0};
        plan_reason why = plan_reason::due;
        bool must = false;                ///< thrift no longer counts
        milliseconds must_in = farthest;  ///< when a date makes it so
        bool joins = true;                ///< may come along with an exchange before it is due
        std::uint32_t stopped = 0;
        awaited until = awaited::nothing;
        milliseconds opens{0};  ///< when the gates that time opens are open; `far`: time alone doesn't do
    };

    static constexpr std::uint64_t bit(plan_reason r) noexcept { return std::uint64_t{1} << static_cast<unsigned>(r); }

    /// How long since a moment; one that lies in the future was written under another clock.
    [[nodiscard]] constexpr bool moved(wall_time t) const noexcept {
        return t > s_.now && elapsed(s_.now, t) > s_.options.clock_tolerance;
    }

    constexpr void consider_push(std::size_t i) noexcept {
        class_pending const& p = s_.c.pending.of[i];
        if (p.entries == 0) { return; }
        auto const c = static_cast<sync_class>(i);
        demand d;
        d.known = true;
        wall_time const since = p.oldest.value_or(s_.now);
        d.age = elapsed(since, s_.now);
        d.interval = Steps::interval(s_, want::push, c);
        patience(d, c);
        if (moved(since)) {
            d.why = plan_reason::clock_moved;
            d.wait = milliseconds{0};
            d.must = true;  // nobody knows how long it has waited, and nobody will
        } else {
            bound(d, i);
        }
        if (p.deadline) {
            milliseconds const left = elapsed(s_.now, *p.deadline);
            bool const late = s_.unsteady || left <= s_.options.send_reserve;
            milliseconds const wait = late ? milliseconds{0} : left - s_.options.send_reserve;
            d.must_in = wait;
            if (wait <= d.wait) {
                d.wait = wait;
                d.why = plan_reason::deadline;
                d.must = d.must || wait.count() == 0;
            }
        }
        spread(d, c);
        stop(d, i, false);
        push_[i] = d;
        count(d, i, true);
    }

    constexpr void consider_pull(std::size_t i) noexcept {
        collection_state const& k = s_.c.collections[i];
        auto const c = static_cast<std::size_t>(k.urgency);
        demand d;
        d.known = true;
        d.interval = Steps::interval(s_, want::look, k.urgency);
        d.interval += s_.window ? milliseconds{0} : Steps::jitter(s_, d.interval, i);
        if (!k.fresh_at) {
            d.why = plan_reason::never_pulled;
            d.age = farthest;
            d.must = true;
        } else if (moved(*k.fresh_at)) {
            d.why = plan_reason::clock_moved;
            d.age = d.interval;
            d.must = true;
        } else {
            d.age = elapsed(*k.fresh_at, s_.now);
            patience(d, k.urgency);
            bound(d, c);
        }
        if (s_.c.application.woken_for == k.urgency) { consider_told(d, s_.now, k.urgency); }
        if (k.told_at && (!k.fresh_at || *k.told_at > *k.fresh_at)) { consider_told(d, *k.told_at, k.urgency); }
        if (k.complete_by && *k.complete_by > s_.now && k.bytes_left != std::uint64_t{0}) { consider_event(d, k, c); }
        spread(d, k.urgency);
        stop(d, c, true);
        pull_[i] = d;
        count(d, c, false);
    }
    constexpr void consider_told(demand& d, wall_time told, sync_class c) noexcept {
        demand t = d;
        t.age = moved(told) ? farthest : elapsed(told, s_.now);
        t.interval = Steps::interval(s_, want::told, c);
        patience(t, c);
        if (t.wait > d.wait) { return; }
        d.wait = t.wait;
        if (t.wait.count() != 0) { d.why = t.why; }
        if (t.wait.count() == 0 && d.why != plan_reason::clock_moved && d.why != plan_reason::stale) {
            d.why = t.why == plan_reason::due ? plan_reason::told : t.why;
        }
    }
    /// Overnight, on a link that costs nothing, and at the latest when it would no longer be done in time.
    constexpr void consider_event(demand& d, collection_state const& k, std::size_t c) noexcept {
        schedule_options const& o = s_.options;
        std::uint64_t const kbps = (std::max)(s_.memory.throughput_kbps().value_or(o.throughput_guess_kbps), 1U);
        std::uint64_t const size = (std::min)(k.bytes_left.value_or(event_small), std::uint64_t{1} << 40);
        milliseconds const takes{static_cast<std::int64_t>(size * 16 / kbps)};  // twice as long as it should
        milliseconds const left = elapsed(s_.now, *k.complete_by);
        milliseconds const needs = takes + o.event_reserve;
        milliseconds const wait = left > needs ? left - needs : milliseconds{0};
        d.must = d.must || wait.count() == 0;
        d.must_in = wait;
        if (wait.count() == 0 || (s_.cheap && !s_.metered && s_.c.power.charging.value_or(true))) {
            d.wait = milliseconds{0};
            d.why = plan_reason::event;
            return;
        }
        // Not with a look on the way: it is large. But no date keeps what was pulled before beyond its bound, unless much
        // is left and each byte costs.
        bool const costly = s_.metered && k.bytes_left.value_or(0) > event_small;
        bool const bounded = k.fresh_at && !costly;
        if (bounded && d.must) { return; }
        milliseconds const latest = bounded ? (std::min)(wait, bound_of(d, c) - d.age) : wait;
        d.wait = s_.cheap && !s_.metered ? (std::min)(d.wait, latest) : latest;
        d.why = d.wait == wait ? plan_reason::event : d.wait == latest ? plan_reason::gathering : d.why;
        d.joins = false;
    }

    /// How long a demand may wait yet.
    constexpr void patience(demand& d, sync_class c) noexcept {
        milliseconds length = d.interval;
        bool const hopes = s_.better_soon && !s_.cheap && c >= s_.options.better_link_from;
        if (hopes) { length = length * std::int64_t{s_.options.better_link_per_mille} / 1000; }
        if (hopes && length < d.interval) { length = d.interval; }
        d.wait = length > d.age ? length - d.age : milliseconds{0};
        if (d.wait.count() == 0) {
            d.why = s_.window    ? plan_reason::window
                    : s_.riding  ? plan_reason::riding
                    : s_.leaving ? plan_reason::leaving
                    : s_.cheap   ? plan_reason::cheap_link
                                 : plan_reason::due;
        } else {
            d.why = hopes && d.age >= d.interval ? plan_reason::better_link : plan_reason::gathering;
        }
    }
    /// When thrift no longer counts.
    [[nodiscard]] constexpr milliseconds bound_of(demand const& d, std::size_t c) const noexcept {
        return (std::max)(s_.options.stale_max[c], d.interval);
    }
    constexpr void bound(demand& d, std::size_t c) noexcept {
        milliseconds const most = bound_of(d, c);
        d.must = d.age >= most;
        if (d.must && d.wait.count() != 0) { d.why = plan_reason::stale; }
        d.wait = (std::min)(d.wait, d.must ? milliseconds{0} : most - d.age);
    }
    /// A link that has just come back: devices that waited for it together don't come together.
    constexpr void spread(demand& d, sync_class c) noexcept {
        auto const since = s_.memory.online_since();
        milliseconds const most = s_.options.backoff.reconnect_spread;
        bool const hurries = c == sync_class::critical || d.why == plan_reason::deadline || d.why == plan_reason::event;
        if (!since || *since > s_.now || hurries) { return; }
        milliseconds const age = elapsed(*since, s_.now);
        if (age >= most) { return; }
        milliseconds const mine = Steps::place(s_);
        if (mine > age && mine - age > d.wait) {
            d.wait = mine - age;
            d.why = plan_reason::reconnecting;
        }
    }
    /// Which gates hold it, and what would open them.
    constexpr void stop(demand& d, std::size_t c, bool pull) noexcept {
        std::uint32_t held = stop_[c] & ~(pull ? 0U : storage_bit);
        // Entries leave by urgency: one whose class has no bytes left keeps those behind it, else it would leave with them.
        for (std::size_t i = 0; !pull && i < c; ++i) {
            if (s_.c.pending.of[i].entries != 0) { held |= stop_[i] & class_budget_bit; }
        }
        if (d.must) { held &= ~yields_; }
        // A weak link is for what is urgent, and for what has waited as long as it may on any link.
        milliseconds const fair = s_.options.patience[c];
        if (d.age >= fair && (yields_ & weak_bit) != 0) { held &= ~weak_bit; }
        d.stopped = held;
        if (held == 0) { return; }
        for (std::size_t i = 0; i < gates; ++i) {
            if ((held >> i & 1U) == 0) { continue; }
            bool const timed = (closed_.timed >> i & 1U) != 0;
            if (!timed) { d.opens = farthest; }
            if (timed && d.opens != farthest) { d.opens = (std::max)(d.opens, closed_.opens_in[i]); }
            if (!timed || i >= static_cast<std::size_t>(schedule_gate::day_budget)) {
                d.until = d.until | opener(static_cast<schedule_gate>(i));
            }
        }
        // What thrift alone holds passes when it has waited too long, or must arrive.
        milliseconds const most = bound_of(d, c);
        if ((held & ~yields_) == 0) { d.opens = (std::min)(d.opens, d.must_in); }
        if (held == weak_bit && d.age < fair) { d.opens = (std::min)(d.opens, fair - d.age); }
        if ((held & ~yields_) == 0 && d.age < most) { d.opens = (std::min)(d.opens, most - d.age); }
    }

    constexpr void count(demand const& d, std::size_t c, bool push) noexcept {
        any_ = true;
        considered_ |= bit(d.why);
        std::uint32_t const held = d.stopped;
        considered_ |= held;  // the gates have the numbers of their reasons
        if (held != 0) {
            until_ = until_ | d.until;
            milliseconds const ready = (std::max)(d.wait, d.opens);
            if (ready < blocked_wait_) { blocked_wait_ = ready; }
            if (c < blocked_class_) {
                blocked_class_ = c;
                blocked_ = d;
            }
            return;
        }
        if (!first_.known || d.wait < first_.wait || (d.wait == first_.wait && c < first_class_)) {
            first_ = d;
            first_class_ = c;
        }
        demand& best = push ? first_push_ : first_pull_;
        if (!best.known || d.wait < best.wait) { best = d; }
    }

    /// An exchange happens: what is due, and what comes along.
    constexpr void choose_work(sync_plan& p) noexcept {
        p.lowest = sync_class::critical;
        for (std::size_t i = 0; i < sync_classes; ++i) {
            if (!push_[i].known || (push_[i].stopped & ~joinable_) != 0) { continue; }
            p.push = true;
            p.lowest = static_cast<sync_class>(i);
        }
        std::array<std::uint64_t, collections_max> key{};
        for (std::size_t i = 0; i < s_.c.collections.size(); ++i) {
            demand const& d = pull_[i];
            if ((d.stopped & ~joinable_) != 0) { continue; }
            if (d.wait.count() != 0 && !(d.joins && Steps::joins(s_, d.age, d.interval))) { continue; }
            std::uint64_t const rank = urgency(d, i);
            std::size_t at = p.pulls++;
            for (; at != 0 && key[at - 1] < rank; --at) {
                key[at] = key[at - 1];
                p.order[at] = p.order[at - 1];
            }
            key[at] = rank;
            p.order[at] = static_cast<std::uint8_t>(i);
            p.collections |= std::uint32_t{1} << i;
        }
        p.pull = p.pulls != 0;
        if (first_.why == plan_reason::riding) {
            p.lease = clamped(s_.c.network.radio_on_for.value_or(milliseconds{5'000}), run_limit);
        }
    }
    /// The order of collections: by how many intervals they have waited; within a granted window by class first. Among
    /// equals each exchange draws the scope that is first anew, each equally often.
    [[nodiscard]] constexpr std::uint64_t urgency(demand const& d, std::size_t i) const noexcept {
        auto const age = static_cast<std::uint64_t>((std::min)(d.age, milliseconds{std::int64_t{1} << 40}).count());
        auto const length = static_cast<std::uint64_t>(d.interval.count()) + 1;
        collection_state const& k = s_.c.collections[i];
        std::uint64_t const overdue = (std::min)((age << 10) / length, (std::uint64_t{1} << 44) - 1);
        std::uint64_t const first = d.must ? 8 : s_.window ? 4 - static_cast<std::uint64_t>(k.urgency) : 0;
        std::uint64_t const turn =
            splitmix64(std::uint64_t{k.scope} << 32 | std::uint64_t{s_.memory.exchanges()})() & 0xFF;
        return (first << 60) | (overdue << 8) | turn;
    }

    constexpr void explain_when(sync_plan& p) noexcept {
        plan_explanation& e = p.why[static_cast<std::size_t>(plan_choice::when)];
        e.considered = considered_;
        p.until = until_ | awaited::work;
        if (p.run) {
            e.because = first_.why;
        } else if (first_.known && first_.wait <= blocked_wait_) {
            e.because = first_.why;
            e.until_time = s_.now + p.in;
            if (!s_.cheap) { p.until = p.until | awaited::better_link; }
        } else if (any_) {
            e.because = blocked_reason();
            if (blocked_wait_ < farthest) { e.until_time = s_.now + (std::min)(blocked_wait_, retry_time_max / 2); }
        } else {
            e.because = plan_reason::nothing_to_do;
        }
        e.until = p.until;
        if (p.run) { e.until = awaited::nothing; }
        explain_direction(p, plan_choice::push, p.push, first_push_, push_.data(), sync_classes);
        explain_direction(p, plan_choice::pull, p.pull, first_pull_, pull_.data(), s_.c.collections.size());
        explain_lowest(p);
    }
    /// The gate that holds the most urgent of what is held: the one that opens last. Time opens sooner than the world
    /// does, and what yields sooner than what doesn't.
    [[nodiscard]] constexpr plan_reason blocked_reason() const noexcept { return held_by(blocked_); }
    [[nodiscard]] constexpr plan_reason held_by(demand const& d) const noexcept {
        std::size_t best = gates;
        for (std::size_t i = 0; i < gates; ++i) {
            if ((d.stopped >> i & 1U) == 0) { continue; }
            auto const firm = [&](std::size_t g) {
                return (closed_.timed >> g & 1U) != 0 ? 0 : (yields_ >> g & 1U) != 0 ? 1 : 2;
            };
            bool const better = best == gates || firm(i) > firm(best) ||
                                (firm(i) == 0 && firm(best) == 0 && closed_.opens_in[i] > closed_.opens_in[best]);
            if (better) { best = i; }
        }
        return best == gates ? plan_reason::gathering : static_cast<plan_reason>(best);
    }
    constexpr void explain_direction(sync_plan& p, plan_choice c, bool yes, demand const& best, demand const* all,
                                     std::size_t n) noexcept {
        plan_explanation& e = p.why[static_cast<std::size_t>(c)];
        demand const* held = nullptr;
        for (std::size_t i = 0; i < n; ++i) {
            if (!all[i].known) { continue; }
            e.considered |= bit(all[i].why) | all[i].stopped;
            if (all[i].stopped != 0) {
                if (held == nullptr) { held = &all[i]; }
                e.until = e.until | all[i].until;
            }
        }
        if (yes) {
            e.because = best.known && best.wait.count() == 0 ? best.why : plan_reason::joining;
            return;
        }
        if (best.known) {
            e.because = c == plan_choice::pull ? plan_reason::fresh : best.why;
            e.until_time = s_.now + (std::min)(best.wait, retry_time_max / 2);
        } else if (held != nullptr) {
            e.because = held_by(*held);
            if (held->opens < farthest) { e.until_time = s_.now + held->opens; }
        } else {
            e.because = plan_reason::nothing_to_do;
            e.until = awaited::work;
        }
    }
    constexpr void explain_lowest(sync_plan& p) noexcept {
        plan_explanation& e = p.why[static_cast<std::size_t>(plan_choice::lowest)];
        std::size_t c = 0;
        while (c < sync_classes && stop_[c] == 0) { ++c; }
        if (!p.run || !p.push) { p.lowest = c == 0 ? sync_class::critical : static_cast<sync_class>(c - 1); }
        if (c == sync_classes) {
            e.because = plan_reason::unlimited;
            if (p.run && p.push) { p.lowest = sync_class::background; }
            return;
        }
        demand d;
        d.stopped = stop_[c];
        e.because = held_by(d);
        e.considered = stop_[c];
        bool timed = true;
        milliseconds opens{0};
        for (std::size_t i = 0; i < gates; ++i) {
            if ((stop_[c] >> i & 1U) == 0) { continue; }
            e.until = e.until | opener(static_cast<schedule_gate>(i));
            timed = timed && (closed_.timed >> i & 1U) != 0;
            opens = (std::max)(opens, closed_.opens_in[i]);
        }
        if (timed) { e.until_time = s_.now + opens; }
    }

    constexpr void sizes(sync_plan& p) noexcept {
        schedule_options const& o = s_.options;
        strategy_options const& row = o.table[static_cast<std::size_t>(s_.link)];
        plan_reason const link = s_.link == link_strategy::aggressive ? plan_reason::link_aggressive
                                 : s_.link == link_strategy::moderate ? plan_reason::link_moderate
                                                                      : plan_reason::link_conservative;
        awaited const better = s_.link == link_strategy::aggressive ? awaited::nothing : awaited::better_link;
        p.batch = Steps::batch(s_);
        p.parallel = Steps::parallel(s_);
        at(p, plan_choice::batch) = {p.batch == row.batch ? link : plan_reason::adapted, bit(link), better, {}};
        at(p, plan_choice::parallel) = {
            p.parallel == row.parallel ? link : plan_reason::adapted, bit(link), better, {}};
        power(p);
        p.compression = row.compression;
        at(p, plan_choice::compression) = {link, bit(link), better, {}};
        bool const saver = s_.c.network.data_saver.value_or(false);
        if (saver) {
            p.compression = compression_level::high;
            at(p, plan_choice::compression).because = plan_reason::data_saver;
        }
        if (s_.c.power.thermal && *s_.c.power.thermal >= thermal_state::serious) {
            p.compression = compression_level::low;
            at(p, plan_choice::compression).because = plan_reason::hot;
        }
        large_values(p, row, link, saver);
        allowance(p);
        at(p, plan_choice::lease) =
            p.lease.count() > 0 ? plan_explanation{plan_reason::riding, bit(plan_reason::riding), {}, s_.now + p.lease}
                                : plan_explanation{p.run ? p.why[0].because : plan_reason::not_running, 0, {}, {}};
    }
    constexpr plan_explanation& at(sync_plan& p, plan_choice c) noexcept { return p.why[static_cast<std::size_t>(c)]; }

    constexpr void power(sync_plan& p) noexcept {
        bool const hot = (closed_.bits >> static_cast<unsigned>(schedule_gate::hot) & 1U) != 0;
        bool const low = (closed_.bits >> static_cast<unsigned>(schedule_gate::battery_low) & 1U) != 0;
        if (hot || low || s_.c.power.low_power_mode.value_or(false)) {
            p.parallel = 1;
            at(p, plan_choice::parallel).because = hot   ? plan_reason::hot
                                                   : low ? plan_reason::battery_low
                                                         : plan_reason::low_power_mode;
            at(p, plan_choice::parallel).until = hot ? awaited::cooler : awaited::power;
        }
    }
    constexpr void large_values(sync_plan& p, strategy_options const& row, plan_reason link, bool saver) noexcept {
        constexpr std::uint32_t against = 1U << static_cast<unsigned>(schedule_gate::roaming) |
                                          1U << static_cast<unsigned>(schedule_gate::hot) |
                                          1U << static_cast<unsigned>(schedule_gate::battery_low) |
                                          1U << static_cast<unsigned>(schedule_gate::low_power_mode) | storage_bit;
        plan_explanation& e = at(p, plan_choice::large_values);
        e.considered = bit(link) | (closed_.bits & against);
        if (!row.large_values) {
            e.because = link;
            e.until = awaited::better_link;
        } else if (s_.metered) {
            e.because = plan_reason::metered;
            e.until = awaited::unmetered;
        } else if (saver) {
            e.because = plan_reason::data_saver;
            e.until = awaited::data_saver_off;
        } else if ((closed_.bits & against) != 0) {
            demand d;
            d.stopped = closed_.bits & against;
            e.because = held_by(d);
            e.until = opener(static_cast<schedule_gate>(e.because));
        } else {
            e.because = link;
            p.large_values = true;
        }
    }
    /// What is left of the budgets of the classes that a plan serves; no limit where one of them has none, or is served
    /// although it is used up, as the options say that it holds nothing.
    [[nodiscard]] constexpr std::uint64_t left_of_classes(sync_plan const& p) const noexcept {
        schedule_options const& o = s_.options;
        if (!s_.metered) { return ~std::uint64_t{0}; }
        std::array<bool, sync_classes> served{};
        for (std::size_t i = 0; i < sync_classes; ++i) {
            served[i] = p.push && push_[i].known && i <= static_cast<std::size_t>(p.lowest);
        }
        for (std::size_t i = 0; i < p.pulls; ++i) {
            served[static_cast<std::size_t>(s_.c.collections[p.order[i]].urgency)] = true;
        }
        std::uint64_t left = 0;
        for (std::size_t i = 0; i < sync_classes; ++i) {
            if (!served[i]) { continue; }
            std::uint64_t const spent = s_.memory.spent(i, o, s_.now);
            if (!o.class_bytes[i] || *o.class_bytes[i] <= spent) { return ~std::uint64_t{0}; }
            left = saturating_add(left, *o.class_bytes[i] - spent);
        }
        return left;
    }
    constexpr void allowance(sync_plan& p) noexcept {
        plan_explanation& e = at(p, plan_choice::allowance);
        if (!p.run) {
            e.because = plan_reason::not_running;
            return;
        }
        schedule_options const& o = s_.options;
        p.bytes_max = ~std::uint64_t{0};
        e.because = plan_reason::unlimited;
        if (s_.metered && o.day_bytes) {
            std::uint64_t const spent = s_.memory.spent(o, s_.now);
            e.considered |= bit(plan_reason::budget_left);
            // What is critical may exceed the budget; its own bytes are the limit then.
            std::uint64_t const left = *o.day_bytes > spent ? *o.day_bytes - spent : 0;
            std::uint64_t const own = s_.c.pending.of[0].bytes;
            p.bytes_max = (std::max)(left, own > (std::uint64_t{1} << 60) ? own : own + 65'536);
            e.because = plan_reason::budget_left;
            e.until = awaited::unmetered;
        }
        if (std::uint64_t const left = left_of_classes(p); left < p.bytes_max) {
            e.considered |= bit(plan_reason::budget_left);
            p.bytes_max = left;
            e.because = plan_reason::budget_left;
            e.until = awaited::unmetered;
        }
        if (s_.window) {
            milliseconds const window = clamped(*s_.c.application.window, milliseconds{86'400'000});
            milliseconds const useful = window - o.window_reserve;
            std::uint64_t const kbps = (std::max)(s_.memory.throughput_kbps().value_or(o.throughput_guess_kbps), 8U);
            std::uint64_t const fits =
                static_cast<std::uint64_t>((std::max)(useful, milliseconds{1}).count()) * kbps / 8;
            e.considered |= bit(plan_reason::window_length);
            if (fits < p.bytes_max) {
                p.bytes_max = fits;
                e.because = plan_reason::window_length;
                e.until = awaited::window;
            }
        }
    }

    schedule_situation const& s_;
    closed_gates closed_;
    std::array<std::uint32_t, sync_classes> stop_{};
    std::uint32_t yields_ = 0;
    std::uint32_t joinable_ = 0;
    std::array<demand, sync_classes> push_{};
    std::array<demand, collections_max> pull_;  // not initialised beyond what is considered
    demand first_{}, first_push_{}, first_pull_{}, blocked_{};
    std::size_t first_class_ = sync_classes;
    std::size_t blocked_class_ = sync_classes;
    milliseconds blocked_wait_ = farthest;
    awaited until_ = awaited::nothing;
    std::uint64_t considered_ = 0;
    bool any_ = false;
};

}  // namespace detail

/// What the steps are told about the moment. `now` beyond the years that times are reckoned in counts as their end.
[[nodiscard]] constexpr schedule_situation situation(conditions const& c, schedule_memory const& memory,
                                                     schedule_options const& o, wall_time now) noexcept {
    schedule_situation s{c, memory, o, local_time(now, milliseconds{0})};
    s.link = memory.next_strategy(c.network, o, s.now);
    s.metered = costs_by_byte(c.network, o);
    s.cheap = cheap_radio(c.network);
    // A notification has just come over the radio: it is on.
    s.riding = c.network.transferring.value_or(false) || c.application.woken_for.has_value();
    s.radio_on = s.riding || (c.network.radio_on_for && c.network.radio_on_for->count() > 0);
    s.saving = c.power.low_power_mode.value_or(false) || c.network.data_saver.value_or(false) ||
               memory.battery_low(c.power, o);
    s.window = c.application.foreground == false && c.application.window && *c.application.window > o.window_reserve;
    milliseconds const hour{3'600'000};
    s.unsteady = memory.any_link(s.now, o).value_or(0) < o.steady_link;
    bool const used = memory.use(0, s.now, o).value_or(0) >= 500 || memory.use(0, s.now + hour, o).value_or(0) >= 500;
    s.idle = c.application.foreground == false && !c.application.user_active.value_or(false) && !used;
    std::int64_t const into = (s.now.time_since_epoch().count() % hour.count() + hour.count()) % hour.count();
    bool const ends_soon = into >= hour.count() * 5 / 6;
    if (s.cheap) {
        s.leaving = ends_soon && memory.cheap_link(s.now + hour, o).value_or(1000) < 300 &&
                    memory.cheap_link(s.now, o).value_or(0) >= 500;
    } else {
        s.better_soon = memory.cheap_link(s.now, o).value_or(0) >= o.better_link_likely ||
                        memory.cheap_link(s.now + hour, o).value_or(0) >= o.better_link_likely;
    }
    return s;
}

/// Decides when to synchronise, what, how much, and why.
///
/// A pure function: the same arguments give the same plan, on every machine. Whatever it decides, `sync_plan::at` is at most
/// `look_max` away, so that there always is a next time; and while it does not run, `sync_plan::until` and the explanation of
/// `when` name what it waits for. Nothing that is permitted starves: thrift counts for `stale_max` of a class at most, or
/// until its date for a collection that a calendar wants, while it was never pulled or much of it is left on a metered link.
/// Cost: under a microsecond with a dozen collections (benchmarks/schedule.cpp), nothing is allocated.
/// Precondition: valid(options).
template <class Steps = schedule_steps>
[[nodiscard]] constexpr sync_plan make_plan(conditions const& c, schedule_memory const& memory,
                                            schedule_options const& options, wall_time now) noexcept {
    schedule_situation const s = situation(c, memory, options, now);
    return detail::planner<Steps>(s).make();
}

/// Tells an observer of one decision: that there was one, whether time alone asked for it, and what the conditions said
/// of age, staleness, battery and space. `asked_at`: `sync_plan::at` of the decision before, empty for the first.
/// Cost: linear in the classes and collections; nothing where nobody listens.
template <observer O>
constexpr void tell_decision(O& told, conditions const& c, std::optional<wall_time> asked_at, wall_time now) noexcept {
    if constexpr (listens<O>) {
        told.counted(metric_counter::decisions, 1);
        told.counted(metric_counter::wake_ups, asked_at && now >= *asked_at ? 1 : 0);
        auto const age = [&](std::optional<wall_time> from) {
            return from ? static_cast<std::uint64_t>(elapsed(*from, now).count()) : std::uint64_t{0};
        };
        std::uint64_t oldest = 0;
        for (class_pending const& p : c.pending.of) { oldest = (std::max)(oldest, p.entries != 0 ? age(p.oldest) : 0); }
        told.measured(metric_gauge::oldest_pending, oldest);
        std::optional<std::uint64_t> stalest;
        for (collection_state const& k : c.collections) {
            if (k.fresh_at) { stalest = (std::max)(stalest.value_or(0), age(k.fresh_at)); }
        }
        if (stalest) { told.measured(metric_gauge::stalest_collection, *stalest); }
        if (c.power.level) { told.measured(metric_gauge::battery, *c.power.level); }
        if (c.storage.free_bytes) { told.measured(metric_gauge::storage_free, *c.storage.free_bytes); }
    }
}

}  // namespace syncline::inline SYNCLINE_ABI
