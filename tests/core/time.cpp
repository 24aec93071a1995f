// SPDX-License-Identifier: BSL-1.0
#include <syncline/core/time.hpp>

#include <cstdint>
#include <type_traits>

#include "support/catch.hpp"

namespace {

using syncline::calendar_day;
using syncline::calendar_hour;
using syncline::milliseconds;
using syncline::monotonic_time;
using syncline::wall_time;

static_assert(!std::is_same_v<wall_time, monotonic_time>);
static_assert(!std::is_constructible_v<wall_time, monotonic_time> &&
                  !std::is_constructible_v<monotonic_time, wall_time>,
              "the calendar and the stopwatch don't mix");
static_assert(!std::is_convertible_v<milliseconds, wall_time>);

TEST_CASE("an instant is both times, compared as a value") {
    syncline::instant const a{wall_time{milliseconds{5}}, monotonic_time{milliseconds{1}}};
    CHECK(a == a);
    CHECK_FALSE(a == syncline::instant{});
    CHECK_FALSE(a == syncline::instant{a.wall, monotonic_time{milliseconds{2}}});
}

TEST_CASE("days and hours of a calendar are counted downwards before 1970") {
    auto const at = [](std::int64_t ms) { return wall_time{milliseconds{ms}}; };
    static_assert(calendar_day(wall_time{}) == 0 && calendar_hour(wall_time{}) == 0);
    static_assert(calendar_day(wall_time{milliseconds{-1}}) == -1 && calendar_hour(wall_time{milliseconds{-1}}) == -1);
    CHECK(calendar_day(at(86'399'999)) == 0);
    CHECK(calendar_day(at(86'400'000)) == 1);
    CHECK(calendar_day(at(-86'400'000)) == -1);
    CHECK(calendar_day(at(-86'400'001)) == -2);
    CHECK(calendar_hour(at(3'599'999)) == 0);
    CHECK(calendar_hour(at(-3'600'001)) == -2);
    // No moment is too far away.
    CHECK(calendar_day((wall_time::max)()) > 100'000'000'000);
    CHECK(calendar_day((wall_time::min)()) < -100'000'000'000);
}

}  // namespace
