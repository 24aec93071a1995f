// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The hybrid logical clock: stamps that follow the calendar, never go back and order cause before effect.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// A moment of the hybrid clock: 48 bits of milliseconds since 1970, then 16 of counter, as one number.
///
/// The counter carries into the milliseconds. Stamps of several replicas may be equal: who orders them
/// totally adds the replica (and its sequence).
struct timestamp {
    std::uint64_t raw = 0;

    /// The stamp of a wall time with the given counter. A time before 1970 counts as 1970, one after
    /// `time_max()` as that.
    [[nodiscard]] static constexpr timestamp make(wall_time time, std::uint16_t counter = 0) noexcept {
        std::int64_t const last = time_max().time_since_epoch().count();
        std::int64_t const count = time.time_since_epoch().count();
        auto const ms = static_cast<std::uint64_t>(count < 0 ? 0 : count > last ? last : count);
        return {(ms << 16) | counter};
    }
    /// The last time that a stamp is made of: 2^47 - 1 ms, in the year 6429.
    ///
    /// It leaves the upper half of the 64 bits to counting on, so that a clock that stands at the end of time
    /// still issues 2^63 rising stamps, and keeps ordinary stamps positive in a signed 64-bit column.
    [[nodiscard]] static constexpr wall_time time_max() noexcept {
        return wall_time{milliseconds{(std::int64_t{1} << 47) - 1}};
    }

    [[nodiscard]] constexpr wall_time time() const noexcept {
        return wall_time{milliseconds{static_cast<std::int64_t>(raw >> 16)}};
    }
    [[nodiscard]] constexpr std::uint16_t counter() const noexcept { return static_cast<std::uint16_t>(raw & 0xFFFF); }

    friend constexpr bool operator==(timestamp const&, timestamp const&) = default;
    friend constexpr std::strong_ordering operator<=>(timestamp const&, timestamp const&) = default;
};
static_assert(sizeof(timestamp) == 8 && std::is_trivially_copyable_v<timestamp>);

/// Eight bytes, big-endian: the order of the bytes is the order of the stamps.
[[nodiscard]] constexpr std::array<std::byte, 8> to_array(timestamp t) noexcept {
    std::array<std::byte, 8> out{};
    for (std::size_t i = 0; i < 8; ++i) { out[i] = static_cast<std::byte>(t.raw >> (56 - 8 * i)); }
    return out;
}
/// The stamp that `to_array` wrote. `malformed` unless there are exactly eight bytes; every number is a stamp.
[[nodiscard]] constexpr result<timestamp> timestamp_from(bytes_view b) noexcept {
    if (b.size() != 8) { return failure(errc::malformed, "a timestamp has 8 bytes"); }
    timestamp t;
    for (std::byte const x : b) { t.raw = (t.raw << 8) | std::to_integer<std::uint64_t>(x); }
    return t;
}

/// The last stamp that is no further ahead of `now` than `ahead`: its counter is full, so that the bound is one
/// of milliseconds. Never above `timestamp::time_max()`; a negative `ahead` counts as none.
[[nodiscard]] constexpr timestamp latest_within(wall_time now, milliseconds ahead) noexcept {
    std::int64_t const base = timestamp::make(now).time().time_since_epoch().count();
    std::int64_t const room = timestamp::time_max().time_since_epoch().count() - base;
    std::int64_t const step = ahead.count() < 0 ? 0 : ahead.count() > room ? room : ahead.count();
    return timestamp::make(wall_time{milliseconds{base + step}}, 0xFFFF);
}

/// The stamp as it counts in a comparison: a stamp from the future dominates no further ahead than `bound` of
/// the authority's time. Both devices and authority compute it, from the bound that the authority recorded.
[[nodiscard]] constexpr timestamp effective(timestamp stamp, wall_time authority_now, milliseconds bound) noexcept {
    timestamp const limit = latest_within(authority_now, bound);
    return stamp < limit ? stamp : limit;
}

/// What a hybrid clock takes of others.
struct clock_options {
    milliseconds accept_ahead_max{300'000};  ///< a remote stamp further ahead of now is refused; >= 0
    friend constexpr bool operator==(clock_options const&, clock_options const&) = default;
};
[[nodiscard]] constexpr bool valid(clock_options const& o) noexcept { return o.accept_ahead_max.count() >= 0; }

namespace detail {

/// The stamp after `last`, at least `physical`. Stands still at the largest number only.
[[nodiscard]] constexpr std::uint64_t next_stamp(std::uint64_t last, timestamp physical) noexcept {
    std::uint64_t const after = last + (last != (std::numeric_limits<std::uint64_t>::max)());
    return after > physical.raw ? after : physical.raw;
}

}  // namespace detail

/// Issues stamps and learns from those of others.
///
/// Three bounds, not one. *Issuing* never fails, whatever the wall time says: before 1970 counts as 1970,
/// past the year 6429 as its last moment, and each stamp is greater than every one issued or accepted before.
/// *Accepting* refuses a stamp too far ahead of now. *Dominance*, `effective()`, limits for how long a stamp
/// from the future wins. The physical time is an argument, ideally corrected by what the authority says.
///
/// A value: copy it, store `last()`, go on from there; a clock that was poisoned into the future is left by a
/// new incarnation. If it is started at 2^64 - 1, as no clock comes to by itself, its stamps stay there.
/// Source: Kulkarni, Demirbas, Madappa, Avva, Leone, "Logical Physical Clocks", OPODIS 2014; the pair of the
/// paper is one number here, so that a full counter carries.
/// Cost: a few instructions, no allocation, 16 bytes.
class hybrid_clock {
public:
    /// `last` is the greatest stamp issued or accepted before, from storage. Precondition: valid(options).
    constexpr explicit hybrid_clock(clock_options options = {}, timestamp last = {}) noexcept
        : options_(options), last_(last) {
        SYNCLINE_ASSERT(valid(options));
    }

    /// A stamp greater than all before, and not before `physical`.
    constexpr timestamp now(wall_time physical) noexcept {
        last_.raw = detail::next_stamp(last_.raw, timestamp::make(physical));
        return last_;
    }

    /// Learns of a remote stamp: every later `now` is greater.
    ///
    /// `stamp_too_far` when it is more than `accept_ahead_max` ahead of `physical`, or beyond
    /// `timestamp::time_max()`: the clock did not move, and the caller quarantines what bears the stamp.
    /// The bound is against the physical time, not against the clock's own, so that many small steps by
    /// strangers can't walk the clock into the future.
    constexpr status accept(timestamp remote, wall_time physical) noexcept {
        if (remote > latest_within(physical, options_.accept_ahead_max)) { return errc::stamp_too_far; }
        if (remote > last_) { last_ = remote; }
        return {};
    }

    /// The greatest stamp issued or accepted.
    [[nodiscard]] constexpr timestamp last() const noexcept { return last_; }
    [[nodiscard]] constexpr clock_options const& options() const noexcept { return options_; }

    friend constexpr bool operator==(hybrid_clock const&, hybrid_clock const&) = default;

private:
    clock_options options_;
    timestamp last_;
};

}  // namespace syncline::inline SYNCLINE_ABI
