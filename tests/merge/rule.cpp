// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <string>

#include <syncline/merge/rule.hpp>

using namespace syncline;

namespace {
struct room {
    std::string name;
    std::int64_t seats = 0;
};
constexpr auto describe(room const*) {
    return record_of<room>("rooms", field("name", &room::name), field("seats", &room::seats, rule::counter));
}
}  // namespace

TEST_CASE("rules stand beside the members of a described struct, or in a table that can be changed") {
    rule_table table = rule_table::of<room>();
    CHECK(table.of("rooms").of("seats") == rule::counter);
    CHECK(table.of("rooms").of("name") == rule::last_writer);
    CHECK(table.of("elsewhere").of("name") == rule::last_writer);
    table.add({"rooms", rule::manual, {}});
    CHECK(table.of("rooms").of("seats") == rule::manual);
    table.add({"elsewhere", rule::authority, {{"x", rule::minimum}}});
    CHECK(table.of("elsewhere").of("x") == rule::minimum);
    CHECK(table.of("elsewhere").of("y") == rule::authority);
}

TEST_CASE("every rule has a name, and a number from elsewhere has one too") {
    for (std::uint8_t n = 1; n <= 6; ++n) { CHECK(std::string{name(static_cast<rule>(n))} != "unknown rule"); }
    CHECK(std::string{name(static_cast<rule>(99))} == "unknown rule");
}
