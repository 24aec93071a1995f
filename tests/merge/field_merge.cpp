// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"
#include "support/sanitized.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/merge/three_way.hpp>
#include <syncline/testing/generator.hpp>

#include "merge/folding.hpp"

using namespace syncline;
using namespace folding;
using testing::field_map;

namespace {

char const* const names[] = {
    "a", "b", "c", "set", "map", "name", "text", "list", "least", "count", "asked", "timed", "longer name of its own"};

collection_rules rules() {
    collection_rules out{"things", rule::last_writer, {}};
    out.fields = {{"set", rule::add_wins},
                  {"map", rule::nested, {{"n", rule::counter}, {"q", rule::manual}, {"t", rule::authority_time}}},
                  {"text", rule::text_words},
                  {"list", rule::list},
                  {"least", rule::minimum},
                  {"count", rule::counter},
                  {"asked", rule::manual},
                  {"timed", rule::authority_time},
                  {"c", rule::first_writer}};
    return out;
}

value some(random_generator& dice, std::string_view name, int depth = 0) {
    auto const number = [&] { return value(static_cast<std::int64_t>(dice() % 4)); };
    if (name == "set" || name == "list") {
        std::vector<bytes> items;
        for (std::uint64_t i = dice() % 3, n = i + dice() % 3; i != n; ++i) {
            items.push_back(number_item(static_cast<std::int64_t>(i)));
        }
        return value(value_view(array_item(items)));
    }
    if (name == "map" && depth == 0 && dice() % 8 != 0) {
        field_map inner;
        for (char const* n : {"n", "p", "q", "t"}) {
            // (A counter that is taken away and added to at once is one side's value field by field, and begins at
            // nothing by mutations.)
            if (*n == 'n' || dice() % 4 != 0) { inner.put(n, number()); }
        }
        return value(value_view(inner.encode()));
    }
    if (name == "text") {
        std::string s;
        for (int i = 0; i != 6; ++i) { s += std::string{"ab"}.substr(dice() % 2, 1) + ' '; }
        return value(value_view(text_item(s)));
    }
    if (name == "a" && dice() % 3 == 0) {
        return value(value_view(text_item(std::string(static_cast<std::size_t>(dice() % 400), 'x'))));
    }
    return number();
}
field_map record(random_generator& dice) {
    field_map out;
    for (char const* n : names) {
        if (dice() % 5 != 0) { out.put(n, some(dice, n)); }
    }
    return out;
}
std::vector<std::string> sorted(std::vector<std::string> names_of) {
    std::sort(names_of.begin(), names_of.end());
    return names_of;
}
/// Decisions in words, in the order of these. (What both made the same is told in other words by the way through
/// mutations, or, of sets and lists, not at all: `same` names those fields.)
std::vector<std::string> told(std::vector<decision> const& all, std::vector<decision> const& same) {
    std::vector<std::string> out;
    for (decision const& d : all) {
        bool const by_both = std::any_of(same.begin(), same.end(), [&](decision const& s) {
            return s.why == reason::same && s.field == d.field && s.inside == d.inside;
        });
        if (!by_both) { out.push_back(to_text(d)); }
    }
    return sorted(std::move(out));
}
field_map edited(random_generator& dice, field_map from) {
    for (char const* n : names) {
        if (dice() % 4 != 0) { continue; }
        if (dice() % 5 == 0) {
            from.put(n, std::nullopt);
        } else {
            from.put(n, some(dice, n));
        }
    }
    return from;
}

}  // namespace

TEST_CASE("field_merge: passing over what is equal gives what two mutations on the base give") {
    auto const by = rules();
    random_generator dice{12};
    side const early{timestamp{10}, 2};
    side const late{timestamp{20}, 1};
    for (int round = 0; round < rounds(20'000); ++round) {
        field_map const base = record(dice);
        bytes const b = base.encode();
        bytes const l = edited(dice, base).encode();
        bytes const r = edited(dice, base).encode();
        auto const fast = three_way(b, l, r, by, late, early);
        auto const slow = detail::merge_by_apply(b, l, r, by, late, early, nullptr);
        REQUIRE(fast.has_value() == slow.has_value());
        auto const indexed = three_way_validated(b, *index_fields(b), l, r, by, late, early);
        REQUIRE(fast.has_value() == indexed.has_value());
        if (!fast) {
            REQUIRE(fast.error().code == slow.error().code);
            continue;
        }
        REQUIRE(indexed->record == fast->record);
        REQUIRE(indexed->decisions == fast->decisions);
        REQUIRE(indexed->conflicts == fast->conflicts);
        REQUIRE(sorted(fast->conflicts) == sorted(slow->conflicts));
        REQUIRE(told(fast->decisions, fast->decisions) == told(slow->decisions, fast->decisions));
        // A person decides a nested field as a whole, and the two ways may differ in what the rest of it holds.
        if (!fast->conflicts.empty()) { continue; }
        if (fast->record != slow->record) { FAIL("round " << round); }
        REQUIRE(validate_fields(fast->record));
    }
}

TEST_CASE("field_merge: heads say where an item ends, and never beyond the bytes") {
    random_generator dice{13};
    for (int round = 0; round < rounds(20'000); ++round) {
        value const v = testing::any<value>{}(dice);
        bytes item = to_bytes(v.encoded());
        std::size_t const size = item.size();
        item.insert(item.end(), static_cast<std::size_t>(dice() % 3), std::byte{0x61});
        REQUIRE(detail::item_end(item.data(), 0, item.size()) == size);
        for (std::size_t n = 0; n < size; ++n) { REQUIRE(detail::item_end(item.data(), 0, n) > n); }
        if (!item.empty()) { item[static_cast<std::size_t>(dice() % item.size())] = static_cast<std::byte>(dice()); }
        std::size_t const end = detail::item_end(item.data(), 0, item.size());
        REQUIRE(end <= item.size() + 1);
    }
}

TEST_CASE("field_merge: maps that are not canonical give nonsense or an error, and nothing worse") {
    auto const by = rules();
    random_generator dice{14};
    for (int round = 0; round < rounds(10'000); ++round) {
        field_map const base = record(dice);
        std::array<bytes, 3> all{base.encode(), edited(dice, base).encode(), edited(dice, base).encode()};
        field_index const index = *index_fields(all[0]);
        for (std::uint64_t n = 1 + dice() % 3; n != 0; --n) {
            bytes& b = all[static_cast<std::size_t>(dice() % 3)];
            if (b.empty()) { continue; }
            if (dice() % 4 == 0) {
                b.resize(static_cast<std::size_t>(dice() % b.size()));
            } else {
                b[static_cast<std::size_t>(dice() % b.size())] = static_cast<std::byte>(dice());
            }
        }
        (void)three_way_validated(all[0], all[1], all[2], by);
        if (index.begins().back() == all[0].size()) { (void)three_way_validated(all[0], index, all[1], all[2], by); }
    }
    CHECK(three_way_validated({}, {}, {}, by)->record == map_item({}));
}
