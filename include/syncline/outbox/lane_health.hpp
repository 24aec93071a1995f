// SPDX-License-Identifier: BSL-1.0
#pragma once

/// How each lane of an outbox is doing: failures in a row, outages, pauses, throughput, and what went out each day.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// When trouble is worth a person's attention.
struct lane_health_options {
    std::uint32_t alert_after = 5;                     ///< failures in a row; > 0
    milliseconds outage_after{std::chrono::hours{1}};  ///< failing without a success for so long
    milliseconds memory{std::chrono::minutes{10}};     ///< of sending, after which throughput counts half; > 0
    milliseconds pause_max{
        std::chrono::hours{24}};  ///< a longer pause is cut to it, and one of another clock is over; > 0
    friend constexpr bool operator==(lane_health_options const&, lane_health_options const&) = default;
};
[[nodiscard]] constexpr bool valid(lane_health_options const& o) noexcept {
    return o.alert_after > 0 && o.outage_after.count() >= 0 && o.memory.count() > 0 && o.pause_max.count() > 0;
}

/// A lane as it is now.
struct lane_report {
    std::uint32_t failures = 0;                ///< in a row
    std::optional<wall_time> failing_since{};  ///< the first of them
    std::optional<wall_time> last_success{};
    std::optional<wall_time> paused_until{};  ///< the other side asked for it
    bool alert = false;                       ///< `alert_after` failures or more
    bool outage = false;                      ///< failing for `outage_after` or longer
    std::uint64_t sent = 0;                   ///< entries, ever
    std::uint64_t sent_bytes = 0;             ///< ever
    std::uint64_t failed = 0;                 ///< exchanges, ever
    std::uint64_t recent = 0;                 ///< entries sent lately, in `recent_time` of sending
    milliseconds recent_time{};
    /// How long so many pending entries will take at the pace of late; nothing while there is none.
    [[nodiscard]] std::optional<milliseconds> estimate(std::uint64_t pending) const noexcept {
        if (recent == 0) { return {}; }
        auto const pace = static_cast<std::uint64_t>(recent_time.count()) / recent + 1;
        constexpr auto most = static_cast<std::uint64_t>((std::numeric_limits<milliseconds::rep>::max)());
        if (pending > most / pace) { return (milliseconds::max)(); }
        auto const whole = pending / recent * static_cast<std::uint64_t>(recent_time.count());
        auto const rest = pending % recent * static_cast<std::uint64_t>(recent_time.count()) / recent;
        return milliseconds{static_cast<milliseconds::rep>(whole + rest)};
    }
    friend constexpr bool operator==(lane_report const&, lane_report const&) = default;
};

/// What a lane did on one day (UTC).
struct lane_day {
    std::int64_t day = 0;  ///< days since 1970-01-01
    std::uint8_t lane = 0;
    std::uint64_t sent = 0;
    std::uint64_t sent_bytes = 0;
    std::uint64_t failed = 0;
    friend constexpr bool operator==(lane_day const&, lane_day const&) = default;
};

/// Remembers what the host tells it about its exchanges, in the transaction that answers them.
///
/// Holds options and nothing else. Errors: those of the storage, `errc::corrupt` for a damaged row.
/// Cost: `sent` and `failed` two gets and two puts, `pause` a get and a put, `report` a get.
class lane_health {
public:
    /// Precondition: valid(options); the prefix has 1 to 64 bytes and belongs to nothing else.
    explicit lane_health(lane_health_options options = {}, std::string_view prefix = "lh")
        : options_(options), prefix_(prefix) {
        SYNCLINE_ASSERT(valid(options));
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }

    /// An exchange went well: so many entries and bytes, in so much time (not negative).
    template <storage_transaction Tx>
    [[nodiscard]] status sent(Tx& tx, std::uint8_t lane, std::uint64_t entries, std::uint64_t size, milliseconds took,
                              wall_time now) const {
        auto const change = [&](numbers& n) {
            n[failures] = 0;
            n[since] = 0;
            n[success] = time_bits(now);
            n[paused] = 0;
            n[total] += entries;
            n[total_bytes] += size;
            n[late] += entries;
            n[late_time] += static_cast<std::uint64_t>((std::clamp)(took, milliseconds{0}, options_.memory).count());
            while (n[late_time] > static_cast<std::uint64_t>(options_.memory.count())) {
                n[late_time] /= 2;
                n[late] /= 2;
            }
        };
        if (auto s = update(tx, lane, change); !s) { return s; }
        return count(tx, lane, now, {entries, size, 0});
    }
    /// An exchange failed.
    template <storage_transaction Tx>
    [[nodiscard]] status failed(Tx& tx, std::uint8_t lane, wall_time now) const {
        auto const change = [&](numbers& n) {
            if (n[failures] == 0 || n[since] > time_bits(now)) { n[since] = time_bits(now); }
            if (n[failures] != (std::numeric_limits<std::uint32_t>::max)()) { ++n[failures]; }
            ++n[misses];
        };
        if (auto s = update(tx, lane, change); !s) { return s; }
        return count(tx, lane, now, {0, 0, 1});
    }
    /// The other side asked not to be asked before a time: of this lane alone.
    template <storage_transaction Tx>
    [[nodiscard]] status pause(Tx& tx, std::uint8_t lane, wall_time until, wall_time now) const {
        return update(tx, lane, [&](numbers& n) {
            bool const longer = elapsed(now, until) > options_.pause_max;
            n[paused] = time_bits(longer ? now + options_.pause_max : until);
        });
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<lane_report> report(Tx& tx, std::uint8_t lane, wall_time now) const {
        numbers n{};
        if (auto s = read(tx, key('l').add(lane), n); !s) { return s.error(); }
        lane_report r;
        r.failures = static_cast<std::uint32_t>(n[failures]);
        if (n[since] != 0) { r.failing_since = time_of(n[since]); }
        if (n[success] != 0) { r.last_success = time_of(n[success]); }
        wall_time const until = time_of(n[paused]);
        bool const believed = until > now && elapsed(now, until) <= options_.pause_max;
        if (n[paused] != 0 && believed) { r.paused_until = until; }
        r.alert = r.failures >= options_.alert_after;
        r.outage = r.failing_since && elapsed(*r.failing_since, now) >= options_.outage_after;
        r.sent = n[total];
        r.sent_bytes = n[total_bytes];
        r.failed = n[misses];
        r.recent = n[late];
        r.recent_time = milliseconds{static_cast<milliseconds::rep>(n[late_time])};
        return r;
    }
    /// Visits the days on record, the earliest first, each with its lanes, until the visitor says false.
    template <storage_transaction Tx>
    [[nodiscard]] status history(Tx& tx, function_ref<bool(lane_day const&)> visit) const {
        status bad;
        auto const row = [&](bytes_view k, bytes_view v) {
            day_numbers n{};
            if (k.size() != prefix_.size() + 10 || !parse(v, n)) {
                bad = failure{errc::corrupt, "lane's day"};
                return false;
            }
            bytes_view const tail = k.last(9);
            auto const day = static_cast<std::int64_t>(read_u64(tail) ^ sign);
            return visit({day, std::to_integer<std::uint8_t>(tail[8]), n[0], n[1], n[2]});
        };
        if (auto s = scan_prefix(tx, key('d'), row); !s) { return s; }
        return bad;
    }
    /// Forgets the days before the one of a time, at most `most` rows; how many.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::size_t> forget(Tx& tx, wall_time before, std::size_t most) const {
        std::vector<bytes> old;
        auto const row = [&](bytes_view k, bytes_view) {
            old.push_back(to_bytes(k));
            return old.size() < most;
        };
        if (most == 0) { return std::size_t{0}; }
        if (auto s = tx.scan({key('d'), key('d').add(day_of(before))}, row); !s) { return s.error(); }
        for (bytes const& k : old) {
            if (auto s = tx.erase(k); !s) { return s.error(); }
        }
        return old.size();
    }

private:
    // A lane's numbers, as they are stored; times with their sign bit flipped, 0 = none.
    enum field : std::size_t { failures, since, success, paused, total, total_bytes, misses, late, late_time, fields };
    using numbers = std::array<std::uint64_t, fields>;
    using day_numbers = std::array<std::uint64_t, 3>;
    static constexpr std::uint64_t sign = std::uint64_t{1} << 63;

    class name {
    public:
        explicit name(bytes b) : b_(std::move(b)) {}
        name& add(std::uint8_t n) {
            b_.push_back(static_cast<std::byte>(n));
            return *this;
        }
        name& add(std::int64_t day) {
            append_u64(b_, static_cast<std::uint64_t>(day) ^ sign);
            return *this;
        }
        operator bytes_view() const noexcept { return b_; }

    private:
        bytes b_;
    };
    [[nodiscard]] name key(char space) const {
        bytes out = to_bytes(prefix_);
        out.push_back(static_cast<std::byte>(space));
        return name(std::move(out));
    }
    [[nodiscard]] static std::uint64_t time_bits(wall_time t) noexcept {
        return (std::max)(static_cast<std::uint64_t>(t.time_since_epoch().count()) ^ sign, std::uint64_t{1});
    }
    [[nodiscard]] static wall_time time_of(std::uint64_t bits) noexcept {
        return wall_time{milliseconds{static_cast<milliseconds::rep>(bits ^ sign)}};
    }
    /// From one moment to a later one, zero if it isn't; at most the longest that there is.
    [[nodiscard]] static milliseconds elapsed(wall_time from, wall_time to) noexcept {
        if (to <= from) { return milliseconds{0}; }
        bool const far_apart = from < wall_time{} && to > (wall_time::max)() + from.time_since_epoch();
        return far_apart ? (milliseconds::max)() : to - from;
    }
    [[nodiscard]] static std::int64_t day_of(wall_time t) noexcept {
        constexpr std::int64_t length = 86'400'000;
        std::int64_t const ms = t.time_since_epoch().count();
        return ms / length - (ms % length < 0 ? 1 : 0);
    }
    template <std::size_t N>
    [[nodiscard]] static bool parse(bytes_view v, std::array<std::uint64_t, N>& out) noexcept {
        if (v.size() != 8 * N) { return false; }
        for (std::size_t i = 0; i < N; ++i) { out[i] = read_u64(v.subspan(8 * i)); }
        return true;
    }
    template <storage_transaction Tx, std::size_t N>
    [[nodiscard]] static status read(Tx& tx, bytes_view k, std::array<std::uint64_t, N>& out) {
        bytes value;
        auto const found = tx.get(k, value);
        if (!found) { return found.error(); }
        if (*found && !parse(value, out)) { return failure{errc::corrupt, "lane's numbers"}; }
        return {};
    }
    template <storage_transaction Tx, std::size_t N>
    [[nodiscard]] static status write(Tx& tx, bytes_view k, std::array<std::uint64_t, N> const& n) {
        bytes value;
        for (std::uint64_t const x : n) { append_u64(value, x); }
        return tx.put(k, value);
    }
    template <storage_transaction Tx, class F>
    [[nodiscard]] status update(Tx& tx, std::uint8_t lane, F&& change) const {
        name const k = key('l').add(lane);
        numbers n{};
        if (auto s = read(tx, k, n); !s) { return s; }
        change(n);
        return write(tx, k, n);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status count(Tx& tx, std::uint8_t lane, wall_time now, day_numbers const& more) const {
        name const k = key('d').add(day_of(now)).add(lane);
        day_numbers n{};
        if (auto s = read(tx, k, n); !s) { return s; }
        for (std::size_t i = 0; i < n.size(); ++i) { n[i] += more[i]; }
        return write(tx, k, n);
    }

    lane_health_options options_;
    std::string prefix_;
};

}  // namespace syncline::inline SYNCLINE_ABI
