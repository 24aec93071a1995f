// SPDX-License-Identifier: BSL-1.0
#pragma once

/// How a device is doing, for its app to show: state, what waits and for how long, the last success, the conflict rate.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/outbox/lane_health.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/session.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What an app shows of a device's sync in one word. Travels in status pages: append, never renumber.
enum class health_state : std::uint8_t {
    idle = 1,     ///< everything that is known of is exchanged
    syncing = 2,  ///< something is under way, or due
    offline = 3,  ///< the authority was not reached; it is tried again
    waiting = 4,  ///< the authority was reached and could not, or asked to come later; it is tried again
    sign_in = 5,  ///< paused until the person has signed in; then hand `resume` to the session
    blocked = 6,  ///< paused for another reason, or the store is damaged: somebody has to mend it
};
[[nodiscard]] constexpr char const* name(health_state s) noexcept {
    switch (s) {
        case health_state::idle: return "idle";
        case health_state::syncing: return "syncing";
        case health_state::offline: return "offline";
        case health_state::waiting: return "waiting";
        case health_state::sign_in: return "sign in";
        case health_state::blocked: return "blocked";
    }
    return "unknown state";
}

/// What a failed exchange, or the pause that it led to, means for the person who looks.
[[nodiscard]] constexpr health_state health_of(failure const& why) noexcept {
    switch (why.code) {
        case errc::unreachable:
        case errc::timed_out:
        case errc::connection_lost:
        case errc::foreign: return health_state::offline;
        case errc::unauthorised: return health_state::sign_in;
        case errc::forbidden:
        case errc::unsupported:
        case errc::authority_changed:
        case errc::corrupt:
        case errc::poisoned: return health_state::blocked;
        default: return health_state::waiting;
    }
}

struct health_log_options {
    lane_health_options exchanges{};  ///< when failing is worth a person's attention
    std::uint32_t days = 7;           ///< that the conflict rate looks back, today among them; 1 to 32
    friend constexpr bool operator==(health_log_options const&, health_log_options const&) = default;
};
[[nodiscard]] constexpr bool valid(health_log_options const& o) noexcept {
    return valid(o.exchanges) && o.days >= 1 && o.days <= 32;
}

/// What a health log remembers.
struct health_history {
    lane_report exchanges{};       ///< `last_success`, failures in a row, outage, the pace of late
    std::uint64_t decided = 0;     ///< mutations that got their verdict in the last `days`
    std::uint64_t conflicts = 0;   ///< those of them that became conflicts
    std::uint64_t rejections = 0;  ///< those that were rejected
    /// Conflicts in a thousand verdicts; nothing while there is no verdict.
    [[nodiscard]] std::optional<std::uint32_t> conflict_rate() const noexcept {
        if (decided == 0) { return {}; }
        return static_cast<std::uint32_t>(conflicts * 1'000 / decided);
    }
    friend constexpr bool operator==(health_history const&, health_history const&) = default;
};

/// Remembers of a replica's exchanges what its storage does not hold otherwise: when one succeeded last, how many
/// failed since, how many verdicts were conflicts. In the replica's storage, so that it survives a restart.
///
/// Holds options and its prefix, and nothing else. Errors: the storage's, and `errc::corrupt`.
class health_log {
public:
    /// Precondition: valid(options); the prefix has 1 to 63 bytes and belongs to nothing else.
    explicit health_log(health_log_options options = {}, std::string_view prefix = "hl")
        : options_(options), prefix_(prefix), exchanges_(options.exchanges, prefix) {
        SYNCLINE_ASSERT(valid(options));
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 63);
    }

    /// What a run of exchanges came to, and how long it took. Of a run without exchanges nothing is noted.
    /// Cost: two gets and two puts for what went well, and for what failed.
    template <storage_transaction Tx>
    [[nodiscard]] status exchanged(Tx& tx, drive_report const& run, milliseconds took, wall_time now) const {
        std::size_t const failures = run.failed && run.exchanges != 0 ? 1 : 0;
        if (run.exchanges > failures) {
            auto ok = exchanges_.sent(tx, 0, run.verdicts, run.sent_bytes, took, now);
            if (!ok) { return ok; }
        }
        return failures == 0 ? status{} : exchanges_.failed(tx, 0, now);
    }
    /// A mutation's verdict, as an event tells it. Events come at least once: after a crash one may count twice.
    /// Cost: a get and a put.
    template <storage_transaction Tx>
    [[nodiscard]] status decided(Tx& tx, verdict_kind kind, wall_time now) const {
        auto days = read(tx);
        if (!days) { return days.error(); }
        std::int64_t const today = calendar_day(now);
        auto at = std::lower_bound(days->begin(), days->end(), today,
                                   [](day_counts const& d, std::int64_t day) { return d.day < day; });
        if (at == days->end() || at->day != today) { at = days->insert(at, day_counts{today, 0, 0, 0}); }
        ++at->decided;
        at->conflicts += kind == verdict_kind::conflict ? 1U : 0U;
        at->rejections += kind == verdict_kind::rejected ? 1U : 0U;
        // A clock that was wrong leaves days that are never looked at: they make room like all others.
        if (days->size() > days_kept) { days->erase(at == days->begin() ? days->end() - 1 : days->begin()); }
        return write(tx, *days);
    }
    /// Cost: two gets.
    template <storage_transaction Tx>
    [[nodiscard]] result<health_history> history(Tx& tx, wall_time now) const {
        health_history out;
        auto lane = exchanges_.report(tx, 0, now);
        if (!lane) { return lane.error(); }
        out.exchanges = *lane;
        auto days = read(tx);
        if (!days) { return days.error(); }
        std::int64_t const today = calendar_day(now);
        for (day_counts const& d : *days) {
            if (d.day > today || d.day + static_cast<std::int64_t>(options_.days) <= today) { continue; }
            out.decided += d.decided;
            out.conflicts += d.conflicts;
            out.rejections += d.rejections;
        }
        return out;
    }

private:
    static constexpr std::size_t days_kept = 32;
    struct day_counts {
        std::int64_t day = 0;
        std::uint64_t decided = 0, conflicts = 0, rejections = 0;
    };

    /// Behind the prefix, 'l' and 'd' are the lane's.
    [[nodiscard]] bytes key() const {
        bytes k = to_bytes(prefix_);
        k.push_back(std::byte{'v'});
        return k;
    }
    template <class Tx>
    [[nodiscard]] result<std::vector<day_counts>> read(Tx& tx) const {
        std::vector<day_counts> days;
        bytes raw;
        auto found = tx.get(key(), raw);
        if (!found) { return found.error(); }
        if (!*found) { return days; }
        cbor_reader in{raw};
        std::size_t const n = in.array();
        bool good = n % 4 == 0 && n / 4 <= days_kept;
        for (std::size_t i = 0; i < n / 4 && good && !in.failed(); ++i) {
            day_counts d;
            d.day = in.integer();
            d.decided = in.unsigned_integer();
            d.conflicts = in.unsigned_integer();
            d.rejections = in.unsigned_integer();
            good = days.empty() || days.back().day < d.day;
            days.push_back(d);
        }
        constexpr std::int64_t most = std::int64_t{1} << 40;  // no day of a clock in milliseconds is beyond
        for (day_counts const& d : days) { good = good && d.day > -most && d.day < most; }
        if (!good || !in.finish()) { return failure{errc::corrupt, "health log"}; }
        return days;
    }
    template <class Tx>
    [[nodiscard]] status write(Tx& tx, std::vector<day_counts> const& days) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(days.size() * 4);
        for (day_counts const& d : days) {
            w.integer(d.day);
            w.unsigned_integer(d.decided);
            w.unsigned_integer(d.conflicts);
            w.unsigned_integer(d.rejections);
        }
        return tx.put(key(), raw);
    }

    health_log_options options_;
    std::string prefix_;
    lane_health exchanges_;
};

/// A device as it stands.
struct device_health {
    health_state state = health_state::idle;
    std::optional<failure> why{};                  ///< of `offline`, `waiting`, `sign_in` and `blocked`
    std::uint64_t pending = 0;                     ///< writes without a verdict
    std::uint64_t pending_bytes = 0;               ///< of them
    std::optional<wall_time> oldest{};             ///< when the oldest of them was written
    std::uint64_t conflicts = 0;                   ///< that wait for a person
    std::uint64_t dead = 0;                        ///< writes that were refused, kept until a person has seen them
    position cursor = 0;                           ///< progress: held up to here …
    position head = 0;                             ///< … of what the authority is known to have
    bool complete = false;                         ///< the first sync is over, and nothing is being fetched again
    std::optional<wall_time> last_success{};       ///< of an exchange
    std::optional<std::uint32_t> conflict_rate{};  ///< conflicts in a thousand verdicts of late
    std::optional<milliseconds> estimate{};        ///< how long what is pending will take, at the pace of late
    bool outage = false;                           ///< failing for longer than `lane_health_options::outage_after`

    /// How long the oldest write has waited; zero when its clock was ahead of this one.
    [[nodiscard]] std::optional<milliseconds> oldest_age(wall_time now) const noexcept {
        if (!oldest) { return {}; }
        return *oldest < now ? now - *oldest : milliseconds{0};
    }
    friend bool operator==(device_health const&, device_health const&) = default;
};

/// What a store alone says of its device, without a session: `idle`, or `syncing` while something is left to do. For
/// the app before its session has begun, and for who inspects a file.
/// Errors: the storage's, `errc::corrupt`, and `errc::not_found` for a store that is no replica's.
/// Cost: reads every pending write and every conflict once; for people, not for every turn.
template <storage_transaction Tx, class Records, class Journal>
[[nodiscard]] result<device_health> stored_health(Tx& tx, basic_replica<Records, Journal> const& r,
                                                  health_log const& log, instant now) {
    device_health out;
    auto const progress = r.status_of(tx);
    if (!progress) { return progress.error(); }
    out.cursor = progress->cursor;
    out.head = progress->head;
    out.complete = progress->complete;
    auto const waits = r.queue().summary(tx);
    if (!waits) { return waits.error(); }
    out.pending = waits->entries;
    out.pending_bytes = waits->bytes;
    out.oldest = waits->oldest;
    out.dead = waits->dead;
    auto ok = r.conflicts(tx, [&](open_conflict const&) {
        ++out.conflicts;
        return true;
    });
    if (!ok) { return ok.error(); }
    auto const past = log.history(tx, now.wall);
    if (!past) { return past.error(); }
    out.last_success = past->exchanges.last_success;
    out.outage = past->exchanges.outage;
    out.conflict_rate = past->conflict_rate();
    out.estimate = past->exchanges.estimate(out.pending);
    auto const work = r.work_left(tx, now);
    if (!work) { return work.error(); }
    out.state = *work ? health_state::syncing : health_state::idle;
    return out;
}

/// The same with the session, which knows whether the authority is reached. A failure is shown until an exchange has
/// succeeded, so that a device without a network does not look busy at each attempt.
/// Errors and cost: as `stored_health`.
template <storage_transaction Tx, storage S, random_source G, observer O, class Records, class Journal>
[[nodiscard]] result<device_health> health_of(Tx& tx, basic_replica<Records, Journal> const& r,
                                              session<S, G, O, Records, Journal> const& link, health_log const& log,
                                              instant now) {
    auto out = stored_health(tx, r, log, now);
    if (!out) { return out; }
    auto const& why = link.paused() ? link.paused() : link.last_failure();
    if (why) {
        out->why = why;
        out->state = health_of(*why);
    } else if (link.last_report().wait && !link.in_flight() && out->state == health_state::syncing) {
        out->state = health_state::waiting;
        out->why = failure{errc::throttled, "the authority asked to come again later"};
    } else if (link.in_flight()) {
        out->state = health_state::syncing;
    }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
