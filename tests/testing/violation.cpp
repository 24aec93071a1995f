// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/violation.hpp>

#include <vector>

#include "support/catch.hpp"

namespace {

using namespace syncline::testing;

TEST_CASE("violations are found by the axiom's whole name and told a line each") {
    std::vector<violation> const found{{"order", "b before a"}, {"atomicity", "half of it"}};
    CHECK(breaks(found, "order"));
    CHECK_FALSE(breaks(found, "ord"));
    CHECK_FALSE(breaks({}, "order"));
    CHECK(to_text(found) == "order: b before a\natomicity: half of it\n");
    CHECK(to_text(std::vector<violation>{}).empty());
}

}  // namespace
