// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <syncline/merge/fields.hpp>

#include "merge/folding.hpp"

using namespace syncline;
using namespace folding;

TEST_CASE("fields: changes are put into a map in its order") {
    bytes const one = map_item({{"a", number_item(1)}, {"b", number_item(2)}});
    bytes const three = number_item(3);
    CHECK(detail::rewrite_fields(one, {{"b", true, three}, {"c", true, three}}) ==
          map_item({{"a", number_item(1)}, {"b", three}, {"c", three}}));
    CHECK(detail::rewrite_fields(one, {{"a", false, {}}}) == map_item({{"b", number_item(2)}}));
    CHECK(detail::rewrite_fields({}, {}) == map_item({}));
    CHECK(detail::integer_of(three) == 3);
    CHECK_FALSE(detail::integer_of(text_item("3")));
    CHECK(detail::type_of({}) == cbor_type::invalid);
}
