// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <cstdint>
#include <cstdio>
#include <string>

#include <syncline/testing/rule_scopes.hpp>

using namespace syncline;
using namespace syncline::testing;

namespace {

void enumerate_all(rule_scope_options options) {
    for (std::uint8_t n = 1; n <= rules_count; ++n) {
        rule_scope_report const r = enumerate_rule(static_cast<rule>(n), options);
        std::string const told = to_text(r);
        std::fputs(told.c_str(), stdout);
        INFO(told);
        CHECK(r.broken.empty());
        CHECK(r.choices <= r.choices_all);
        CHECK(r.applications > r.choices);
        CHECK((r.refused != 0) == (r.by == rule::authority_time));
        CHECK((r.modelled != 0) == (is_set(r.by) || r.by == rule::list || scopes::rule_scope{r.by}.modelled()));
        CHECK(r.by_order == (options.choices_max == 0 && r.by == rule::text_characters ? 60U : 0U));
        CHECK((r.asked != 0) == (r.by == rule::manual || r.by == rule::sequence || is_text(r.by)));
    }
}

}  // namespace

TEST_CASE("rule_scopes: three replicas, two operations each on three elements, in every order: a slice of every rule") {
    enumerate_all({100});
}

// Three minutes where it is optimised: test_testing "[whole]".
TEST_CASE("rule_scopes: the same to the end", "[.whole]") { enumerate_all({}); }

TEST_CASE("rule_scopes: how much there is to enumerate") {
    rule_scope_report const counter = enumerate_rule(rule::counter, {});
    CHECK(counter.operations == 3);
    CHECK(counter.choices == 2 * (27 + 729));
    CHECK(counter.choices == counter.choices_all);
    CHECK(counter.orders == 2 * (27 * 6 + 729 * 90));
    CHECK(enumerate_rule(rule::list, {10}).choices_all == 2 * (1'331 + 1'771'561));
}

TEST_CASE("rule_scopes: a list that lost, doubled or brought back an element is told") {
    auto const a = scopes::scope_element("a", "1");
    auto const b = scopes::scope_element("b", "2");
    auto const c = scopes::scope_element("c", "3");
    CHECK(scopes::list_complaint(scopes::scope_array({c, a, b}), {}).empty());
    CHECK_FALSE(scopes::list_complaint(scopes::scope_array({a, b}), {}).empty());
    CHECK_FALSE(scopes::list_complaint(scopes::scope_array({a, b, c, c}), {}).empty());
    bytes const id = scopes::scope_text("a");
    scopes::scope_deed const gone{op_kind::elements, scopes::scope_edits({{element_verb::remove, id, {}, {}}})};
    CHECK_FALSE(scopes::list_complaint(scopes::scope_array({a, b, c}), {gone}).empty());
    CHECK(scopes::list_complaint(scopes::scope_array({b, c}), {gone}).empty());
}
