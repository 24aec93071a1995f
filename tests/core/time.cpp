// SPDX-License-Identifier: BSL-1.0
#include <syncline/core/time.hpp>

#include <type_traits>

#include "support/catch.hpp"

namespace {

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

}  // namespace
