// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <optional>
#include <vector>

#include <syncline/merge/choice.hpp>

#include "merge/folding.hpp"

using namespace syncline;
using namespace folding;

TEST_CASE("choice: rules that choose a side, in every order of three writers") {
    std::vector<deed> deeds{{op_kind::set, {std::byte{0xF4}}}, {op_kind::set, {std::byte{0xF5}}}, {op_kind::unset, {}}};
    for (rule const by : {rule::last_writer, rule::first_writer, rule::enable_wins, rule::disable_wins, rule::role}) {
        collection_rules const rules{"things", rule::last_writer, {{"f", by}}};
        for (std::uint64_t stamp : {4U, 5U, 6U}) {
            for (deed const& x : deeds) {
                for (deed const& y : deeds) {
                    for (deed const& z : deeds) {
                        for (std::optional<bytes> const& before :
                             {std::optional<bytes>{}, std::optional<bytes>{bytes{std::byte{0xF4}}}}) {
                            std::optional<bytes> value;
                            bool const free =
                                order_free(before, {{2, {5}, {x}}, {3, {stamp}, {y}}, {4, {5}, {z}}}, rules, value);
                            // The first to write a field that nobody has written meets nobody.
                            if (!free && before) { FAIL(name(by) << " depends on the order"); }
                        }
                    }
                }
            }
        }
    }
}

TEST_CASE("choice: flags take booleans, and nothing else") {
    for (rule const by : {rule::enable_wins, rule::disable_wins}) {
        collection_rules const rules{"things", rule::last_writer, {{"f", by}}};
        auto r = start(bytes{std::byte{0xF4}});
        auto const held = r;
        CHECK(lay(r, 2, 2, 1, 5, {{"f", op_kind::set, number_item(1), {}}}, rules).reason == errc::type_mismatch);
        CHECK(r == held);
        (void)lay(r, 2, 2, 1, 5, {{"f", op_kind::set, {std::byte{0xF5}}, {}}}, rules);
        auto const out = lay(r, 3, 3, 1, 6, {{"f", op_kind::unset, {}, {}}}, rules);
        REQUIRE(out.decisions.size() == 1);
        CHECK(out.decisions[0].why == reason::by_value);
        CHECK(value_of(r).has_value() == (by == rule::enable_wins));
    }
}

TEST_CASE("choice: the local side, and the authority's") {
    write_mark const mine{3, timestamp{5}, 2};
    write_mark const theirs{2, timestamp{9}, 1};
    CHECK(detail::choose(rule::local, mine, theirs, merge_hint::merge, nullptr).won == winner::mutation);
    CHECK(detail::choose(rule::authority, mine, theirs, merge_hint::merge, nullptr).won == winner::confirmed);
    CHECK(detail::choose(rule::first_writer, mine, theirs, merge_hint::merge, nullptr).won == winner::mutation);
    CHECK(detail::choose(rule::last_writer, mine, theirs, merge_hint::merge, nullptr).why == reason::by_time);
    CHECK(detail::choose(rule::manual, mine, theirs, merge_hint::local, nullptr).won == winner::nobody);
    CHECK(detail::choose(rule::authority, mine, theirs, merge_hint::local, nullptr).why == reason::by_hint);
    CHECK(detail::choose(rule::last_writer, {3, timestamp{9}, 2}, theirs, merge_hint::merge, nullptr).why ==
          reason::by_author);
}
