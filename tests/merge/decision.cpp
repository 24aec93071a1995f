// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <set>
#include <string>

#include <syncline/merge/decision.hpp>

using namespace syncline;

TEST_CASE("decision: every winner, reason and rule has a name of its own, and fits into half a byte where it must") {
    std::set<std::string> names;
    for (int w = 1; w <= 5; ++w) { names.insert(name(static_cast<winner>(w))); }
    CHECK(names.size() == 5);
    names.clear();
    for (int r = 0; r <= 15; ++r) { names.insert(name(static_cast<reason>(r))); }
    CHECK(names.size() == 16);
    names.clear();
    for (int r = 1; r <= rules_count; ++r) { names.insert(name(static_cast<rule>(r))); }
    CHECK(names.size() == rules_count);
    CHECK(std::string{name(static_cast<winner>(9))} == "unknown");
    CHECK(std::string{name(static_cast<rule>(99))} == "unknown rule");
}

TEST_CASE("decision: in words") {
    CHECK(to_text({"table", rule::manual, winner::nobody, reason::asked}) ==
          "table: nobody yet (manual; the rule asks a person)");
    decision d{"where", rule::nested, winner::both, reason::combined, "city.name"};
    CHECK(to_text(d) == "where.city.name: both (nested; both changes count)");
    CHECK(to_text({"", rule::last_writer, winner::mutation, reason::deleted}) ==
          "the record: the mutation (last writer wins; one deleted, one changed)");
}
