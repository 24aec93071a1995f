// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Time as an argument: wall time and monotonic time are different types, read by the host only.

#include <chrono>
#include <cstdint>
#include <ratio>

#include <syncline/core/config.hpp>

namespace syncline::inline SYNCLINE_ABI {

using std::chrono::milliseconds;

/// What the calendar says: may jump, may be wrong by years. For stamps and for what is persisted.
using wall_time = std::chrono::time_point<std::chrono::system_clock, milliseconds>;
/// What a stopwatch says: never goes back while the process lives, means nothing after. For waiting.
using monotonic_time = std::chrono::time_point<std::chrono::steady_clock, milliseconds>;

/// How many whole days, and how many whole hours, lie between 1970 and a time; negative before. Of a local time: its date.
[[nodiscard]] constexpr std::int64_t calendar_day(wall_time local) noexcept {
    return std::chrono::floor<std::chrono::duration<std::int64_t, std::ratio<86'400>>>(local.time_since_epoch())
        .count();
}
[[nodiscard]] constexpr std::int64_t calendar_hour(wall_time local) noexcept {
    return std::chrono::floor<std::chrono::duration<std::int64_t, std::ratio<3'600>>>(local.time_since_epoch()).count();
}

/// Both, read by the host at the same moment.
struct instant {
    wall_time wall{};
    monotonic_time monotonic{};
    friend constexpr bool operator==(instant const&, instant const&) = default;
};

}  // namespace syncline::inline SYNCLINE_ABI
