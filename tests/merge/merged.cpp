// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include <syncline/merge/merged.hpp>
#include <syncline/merge/three_way.hpp>

#include "merge/folding.hpp"

using namespace syncline;
using namespace folding;

TEST_CASE("merged: one who edits inside and one who replaces are two last writers, whichever side is which") {
    collection_rules const rules{"things", rule::last_writer, {{"f", rule::list}}};
    bytes const base = map_item({{"f", array_item({element("a", "1")})}});
    bytes const edited = map_item({{"f", array_item({element("a", "1"), element("b", "2")})}});
    bytes const replaced = map_item({{"f", number_item(3)}});
    side const early{timestamp{5}, 1};
    side const late{timestamp{6}, 2};
    for (bytes const& other : {replaced, map_item({})}) {
        CHECK(detail::merge_by_apply(base, edited, other, rules, late, early, nullptr)->record == edited);
        CHECK(detail::merge_by_apply(base, edited, other, rules, early, late, nullptr)->record == other);
        CHECK(detail::merge_by_apply(base, other, edited, rules, late, early, nullptr)->record == other);
        CHECK(detail::merge_by_apply(base, other, edited, rules, early, late, nullptr)->record == edited);
    }
}

TEST_CASE("merged: inside of a map, too, what was first by the authority's time stays, with guards or without") {
    collection_rules rules{"things", rule::last_writer, {}};
    rules.fields = {{"map", rule::nested, {{"p", rule::authority_time}}}};
    auto const record = [](std::int64_t p, std::int64_t r) {
        return map_item({{"map", map_item({{"p", number_item(p)}, {"r", number_item(r)}})}});
    };
    merge_host asked;
    asked.guards.push_back({"none", {}, [](guard_input const&, void const*) { return guard_answer{}; }, nullptr});
    for (merge_host const* const host :
         {static_cast<merge_host const*>(nullptr), static_cast<merge_host const*>(&asked)}) {
        auto const both =
            three_way(record(0, 0), record(1, 5), record(2, 0), rules, {timestamp{9}, 1}, {timestamp{5}, 2}, host);
        REQUIRE(both);
        CHECK(both->record == record(2, 5));
        REQUIRE(both->decisions.size() == 1);
        CHECK(both->decisions[0].inside == "p");
        CHECK(both->decisions[0].won == winner::confirmed);
        // Nothing else was changed: the whole operation goes.
        auto const alone =
            three_way(record(0, 0), record(1, 0), record(2, 0), rules, {timestamp{9}, 1}, {timestamp{5}, 2}, host);
        REQUIRE(alone);
        CHECK(alone->record == record(2, 0));
    }
}
