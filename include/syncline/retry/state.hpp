// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What the retry values share: elapsed time that can't overflow, and states of a fixed number of bytes.

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/time.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The longest time that a retry value reckons with: about 8 900 years, so that sums of times never overflow.
inline constexpr milliseconds retry_time_max{std::int64_t{1} << 48};

/// How long from `from` to `to`: at least zero, at most `retry_time_max`, whatever the two are.
template <class Clock>
[[nodiscard]] constexpr milliseconds elapsed(std::chrono::time_point<Clock, milliseconds> from,
                                             std::chrono::time_point<Clock, milliseconds> to) noexcept {
    if (to <= from) { return milliseconds{0}; }
    auto const span = static_cast<std::uint64_t>(to.time_since_epoch().count()) -
                      static_cast<std::uint64_t>(from.time_since_epoch().count());
    auto const most = static_cast<std::uint64_t>(retry_time_max.count());
    return milliseconds{static_cast<milliseconds::rep>(span < most ? span : most)};
}

/// `t + d`, at most the last moment there is. Precondition: d is not negative.
[[nodiscard]] constexpr monotonic_time later(monotonic_time t, milliseconds d) noexcept {
    SYNCLINE_ASSERT(d.count() >= 0);
    return t > (monotonic_time::max)() - d ? (monotonic_time::max)() : t + d;
}

/// `d` within [0, most].
[[nodiscard]] constexpr milliseconds clamped(milliseconds d, milliseconds most) noexcept {
    return d.count() < 0 ? milliseconds{0} : d < most ? d : most;
}

/// How much of a stored time a restart may count as passed.
///
/// A state holds what was left of each wait and the wall time at which it was written, as monotonic time means
/// nothing after a restart. The wall clock may have been set meanwhile: set back, nothing counts as passed, and the
/// wait is at most what was left; set forward by years, at most this does. So a wrong clock neither blocks for
/// ever nor forgives more than an hour's work would have.
inline constexpr milliseconds restart_elapsed_max{3'600'000};
[[nodiscard]] constexpr milliseconds elapsed_by_restart(wall_time written, wall_time now) noexcept {
    return clamped(elapsed(written, now), restart_elapsed_max);
}

/// The stored form of a retry value: an array of bytes.
template <class S>
concept state_bytes = std::same_as<S, std::array<std::byte, std::tuple_size<S>::value>>;

namespace detail {

/// Fills a state of `Size` bytes, big-endian.
template <std::size_t Size>
class state_writer {
public:
    constexpr state_writer& put(std::uint64_t n, std::size_t width) noexcept {
        SYNCLINE_ASSERT(width <= 8 && width <= Size - at_);
        for (std::size_t i = width; i != 0; --i) { out_[at_++] = static_cast<std::byte>(n >> (8 * (i - 1))); }
        return *this;
    }
    constexpr state_writer& put(milliseconds d) noexcept { return put(static_cast<std::uint64_t>(d.count()), 8); }
    constexpr state_writer& put(wall_time t) noexcept { return put(t.time_since_epoch()); }
    template <std::size_t N>
    constexpr state_writer& put(std::array<std::byte, N> const& part) noexcept {
        SYNCLINE_ASSERT(N <= Size - at_);
        for (std::byte const b : part) { out_[at_++] = b; }
        return *this;
    }
    /// Precondition: all bytes were put.
    [[nodiscard]] constexpr std::array<std::byte, Size> done() const noexcept {
        SYNCLINE_ASSERT(at_ == Size);
        return out_;
    }

private:
    std::array<std::byte, Size> out_{};
    std::size_t at_ = 0;
};

/// Reads what `state_writer` wrote. A value that is out of its range, or bytes too few, make it not good().
class state_reader {
public:
    constexpr explicit state_reader(bytes_view in) noexcept : in_(in) {}

    /// A number of `width` bytes, at most `most`.
    constexpr std::uint64_t take(std::size_t width, std::uint64_t most) noexcept {
        std::uint64_t n = 0;
        for (std::byte const b : take_bytes(width)) { n = (n << 8) | std::to_integer<std::uint64_t>(b); }
        good_ = good_ && n <= most;
        return good_ ? n : 0;
    }
    /// A time in [0, most].
    constexpr milliseconds take_time(milliseconds most = retry_time_max) noexcept {
        return milliseconds{static_cast<milliseconds::rep>(take(8, static_cast<std::uint64_t>(most.count())))};
    }
    constexpr wall_time take_wall() noexcept {
        return wall_time{milliseconds{static_cast<milliseconds::rep>(take(8, ~std::uint64_t{0}))}};
    }
    constexpr bytes_view take_bytes(std::size_t width) noexcept {
        if (width > in_.size()) {
            good_ = false;
            return {};
        }
        bytes_view const out = in_.first(width);
        in_ = in_.subspan(width);
        return out;
    }
    constexpr void require(bool condition) noexcept { good_ = good_ && condition; }
    /// True when all was in range and nothing is left.
    [[nodiscard]] constexpr bool done() const noexcept { return good_ && in_.empty(); }

private:
    bytes_view in_;
    bool good_ = true;
};

}  // namespace detail

}  // namespace syncline::inline SYNCLINE_ABI
