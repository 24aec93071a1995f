// SPDX-License-Identifier: BSL-1.0
#include <syncline/core/limits.hpp>

#include <cstdint>
#include <limits>

#include "support/catch.hpp"

namespace {

TEST_CASE("a budget is charged until it is spent, and a charge that is too large changes nothing") {
    syncline::work_budget budget{10};
    CHECK(budget.charge(4));
    CHECK_FALSE(budget.charge(7));
    CHECK(budget.left() == 6);
    CHECK_FALSE(budget.charge((std::numeric_limits<std::uint64_t>::max)()));
    CHECK(budget.charge(6));
    CHECK(budget.charge(0));
    CHECK_FALSE(budget.charge(1));
    CHECK(budget.left() == 0);
}

TEST_CASE("limits are values, and the defaults are finite") {
    syncline::decode_limits const limits;
    CHECK(limits == syncline::decode_limits{});
    CHECK_FALSE(limits == syncline::decode_limits{.depth_max = 3});
    CHECK(limits.string_max <= limits.bytes_max);
    CHECK(limits.depth_max <= 64);
}

}  // namespace
