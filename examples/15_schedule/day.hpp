// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A commuter's day, played: links, writes, changes of others, other programs' traffic, and what a radio costs.

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/schedule.hpp>

namespace day {

using namespace syncline;

inline constexpr std::int64_t step = 10;  ///< seconds
inline constexpr wall_time monday{milliseconds{1'789'948'800'000}};
inline wall_time at(std::int64_t number, std::int64_t second) {
    return monday + milliseconds{(number * 86'400 + second) * 1000};
}
inline std::string clock(std::int64_t second) {
    auto const two = [](std::int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
    return two(second / 3600) + ':' + two(second / 60 % 60);
}

/// A stretch of the day with one link.
struct stretch {
    std::int64_t from;  ///< second of the day
    char const* name;   ///< "none": no link
    bool wifi, charging, in_hand;
    std::uint32_t kbps;
    /// Joules: of waking the radio and letting it go to sleep again, and of an exchange beside that. After Huang et al.,
    /// "A Close Examination of Performance and Power Characteristics of 4G LTE Networks", MobiSys 2012.
    double wake, exchange;
};
inline std::vector<stretch> const& stretches() {
    static std::vector<stretch> const all{{0, "Wi-Fi", true, true, false, 40'000, 0.04, 0.02},
                                          {7 * 3600 + 600, "LTE", false, false, true, 12'000, 12.6, 0.3},
                                          {7 * 3600 + 2400, "none", false, false, true, 0, 0, 0},
                                          {7 * 3600 + 3300, "LTE", false, false, true, 12'000, 12.6, 0.3},
                                          {8 * 3600, "LTE", false, false, false, 12'000, 12.6, 0.3},
                                          {12 * 3600, "Wi-Fi", true, false, true, 6'000, 0.04, 0.02},
                                          {12 * 3600 + 3000, "LTE", false, false, false, 12'000, 12.6, 0.3},
                                          {17 * 3600, "3G", false, false, true, 1'500, 7.4, 0.5},
                                          {17 * 3600 + 1200, "none", false, false, true, 0, 0, 0},
                                          {17 * 3600 + 1800, "LTE", false, false, true, 12'000, 12.6, 0.3},
                                          {18 * 3600 + 600, "Wi-Fi", true, false, true, 40'000, 0.04, 0.02},
                                          {22 * 3600, "Wi-Fi", true, true, false, 40'000, 0.04, 0.02}};
    return all;
}
inline stretch const& stretch_at(std::int64_t second) {
    stretch const* now = &stretches().front();
    for (stretch const& s : stretches()) {
        if (s.from <= second) { now = &s; }
    }
    return *now;
}

/// Something to be moved: a write of this device, or a change of others.
struct thing {
    std::int64_t second;
    sync_class urgency;
    bool remote, told;
};
/// A day's work from a seed: writes in bursts while the device is in hand, changes of others all day.
inline std::vector<thing> work(std::uint64_t seed) {
    syncline::random_generator dice(seed);
    std::vector<thing> out;
    constexpr std::array<sync_class, 10> mix{sync_class::critical,  sync_class::important, sync_class::important,
                                             sync_class::normal,    sync_class::normal,    sync_class::normal,
                                             sync_class::normal,    sync_class::normal,    sync_class::background,
                                             sync_class::background};
    for (std::int64_t s = 6 * 3600; s < 23 * 3600; s += step) {
        if (below(dice, stretch_at(s).in_hand ? 60 : 150) == 0) {
            out.push_back({s, mix[below(dice, 10)], false, false});
        }
        if (below(dice, 60) == 0) {
            sync_class const c = mix[below(dice, 10)];
            out.push_back({s, c, true, c <= sync_class::important});
        }
    }
    return out;
}
/// Other programs transfer for a minute, twice an hour.
inline bool others(std::int64_t second) {
    return second > 7 * 3600 && second < 23 * 3600 && second % 1800 >= 900 && second % 1800 < 960;
}

/// What became of the day.
struct exchange {
    std::int64_t second;
    double joules;
    std::size_t moved;
    sync_plan plan;
    wall_time now;
};
struct sample {
    std::int64_t second;
    std::array<std::int64_t, sync_classes> waits;  ///< seconds that the oldest has waited, by class
    double joules;
    plan_reason why;
};
struct record {
    std::vector<exchange> exchanges;
    std::vector<sample> samples;
    std::array<std::vector<std::int64_t>, sync_classes> delays;
    double joules = 0;
    std::int64_t wake_ups = 0;
};

}  // namespace day
