// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

TEST_CASE("fields: where each pair stands is as good as a walk through the map") {
    constexpr std::array<std::string_view, 4> names{"a", "b", "c", "aa"};  // in canonical order
    bytes const nine = number_item(9);
    for (unsigned held = 0; held < 16; ++held) {
        std::vector<std::pair<std::string, bytes>> pairs;
        for (std::size_t i = 0; i < names.size(); ++i) {
            if ((held >> i & 1U) != 0) { pairs.emplace_back(names[i], number_item(static_cast<int>(100 * i))); }
        }
        bytes map;
        cbor_writer w{map};
        w.map(pairs.size());
        std::array<std::pair<std::size_t, std::size_t>, 4> place{};
        for (std::size_t i = 0, next = 0; i < names.size(); ++i) {
            place[i].first = map.size();
            if ((held >> i & 1U) != 0) {
                w.text(names[i]);
                w.raw(pairs[next++].second);
            }
            place[i].second = map.size();
        }
        // Of each field: left alone, set, or taken away.
        for (unsigned what = 0; what < 81; ++what) {
            std::vector<detail::field_change> changes;
            for (std::size_t i = 0, rest = what; i < names.size(); ++i, rest /= 3) {
                bool const sets = rest % 3 == 1;
                if (rest % 3 == 0) { continue; }
                changes.push_back(
                    {names[i], sets, sets ? bytes_view{nine} : bytes_view{}, place[i].first, place[i].second});
            }
            auto const made = detail::rewrite_fields_at(map, changes);
            REQUIRE(made == detail::rewrite_fields(map, changes));
            REQUIRE(validate_canonical(made));
        }
    }
    // Nothing is held; what does not stand in its order is walked through.
    CHECK(detail::rewrite_fields_at({}, {{"a", true, nine}}) == map_item({{"a", nine}}));
    bytes const one = map_item({{"a", nine}, {"b", nine}});
    CHECK(detail::rewrite_fields_at(one, {{"a", false, {}, 0, 0}}) == map_item({{"b", nine}}));
}
