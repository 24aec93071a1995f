// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <string>
#include <vector>

#include <syncline/merge/merged.hpp>

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
