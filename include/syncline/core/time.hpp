// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Time as an argument: wall time and monotonic time are different types, read by the host only.

#include <chrono>

#include <syncline/core/config.hpp>

namespace syncline::inline SYNCLINE_ABI {

using std::chrono::milliseconds;

/// What the calendar says: may jump, may be wrong by years. For stamps and for what is persisted.
using wall_time = std::chrono::time_point<std::chrono::system_clock, milliseconds>;
/// What a stopwatch says: never goes back while the process lives, means nothing after. For waiting.
using monotonic_time = std::chrono::time_point<std::chrono::steady_clock, milliseconds>;

/// Both, read by the host at the same moment.
struct instant {
    wall_time wall{};
    monotonic_time monotonic{};
    friend constexpr bool operator==(instant const&, instant const&) = default;
};

}  // namespace syncline::inline SYNCLINE_ABI
