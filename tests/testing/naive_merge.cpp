// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <syncline/core/random.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/merge/diff.hpp>
#include <syncline/replica/pending.hpp>
#include <syncline/testing/naive_merge.hpp>
#include <syncline/testing/simulator.hpp>

using namespace syncline;
using namespace syncline::testing;

namespace {

mutation any_mutation(random_generator& dice, position head) {
    mutation m;
    m.kind = static_cast<change_kind>(1 + below(dice, 3));
    m.record = {"things", std::string_view{"r"}};
    m.life = 1 + below(dice, 3);
    m.base = below(dice, head + 1);
    m.stamp = timestamp{1 + below(dice, 6)};
    if (m.kind == change_kind::erase) { return m; }
    for (char const* field : {"asked", "count", "least", "most", "name", "ruled"}) {
        if (below(dice, 2) == 0) { continue; }
        auto const kind = static_cast<op_kind>(1 + below(dice, 3));
        m.ops.push_back({field, kind,
                         kind == op_kind::unset ? bytes{} : naive_item(static_cast<std::int64_t>(below(dice, 5)) - 2),
                         timestamp{1 + below(dice, 6)}});
    }
    std::sort(m.ops.begin(), m.ops.end(),
              [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
    return m;
}

}  // namespace

TEST_CASE("the naive merge and the real one agree over any history") {
    rule_table const table = simulated_rules();
    collection_rules const& rules = table.of("things");
    random_generator dice{7};
    for (int history = 0; history < 4'000; ++history) {
        std::optional<row> real;
        naive_row naive;
        position head = 0;
        for (int n = 0; n < 12; ++n) {
            mutation const m = any_mutation(dice, head);
            apply_context context;
            context.author = static_cast<author_index>(1 + below(dice, 3));
            context.at = head + 1;
            context.stamp_max = timestamp{4};
            auto const a = apply(real, m, rules, context);
            auto const b = naive_apply(naive, m, rules, context.author, context.at, context.stamp_max);
            REQUIRE(a.verdict == b.verdict);
            if (a.verdict != verdict_kind::rejected) { REQUIRE(a.changed == b.changed); }
            if (a.changed) { ++head; }
            REQUIRE((real ? naive_row{*real} : naive_row{}) == naive);
        }
    }
}

TEST_CASE("the naive merge and the real one agree over the rules that the simulator does not use, and over wishes") {
    collection_rules const rules{"things",
                                 rule::last_writer,
                                 {{"first", rule::first_writer},
                                  {"local", rule::local},
                                  {"on", rule::enable_wins},
                                  {"off", rule::disable_wins},
                                  {"timed", rule::authority_time},
                                  {"asked", rule::manual},
                                  {"role", rule::role}}};
    random_generator dice{9};
    for (int history = 0; history < 3'000; ++history) {
        std::optional<row> real;
        naive_row naive;
        position head = 0;
        for (int n = 0; n < 12; ++n) {
            mutation m = any_mutation(dice, head);
            m.hint = static_cast<merge_hint>(below(dice, 3));
            m.ops.clear();
            for (char const* field : {"on", "off", "role", "asked", "first", "local", "timed"}) {
                if (m.kind == change_kind::erase || below(dice, 2) == 0) { continue; }
                bool const flag = std::string_view{field} == "on" || std::string_view{field} == "off";
                field_op op{
                    field, below(dice, 4) == 0 ? op_kind::unset : op_kind::set, {}, timestamp{1 + below(dice, 6)}};
                if (op.kind == op_kind::set) {
                    op.value = naive_item(static_cast<std::int64_t>(below(dice, 3)));
                    if (flag) { op.value = {below(dice, 2) == 0 ? std::byte{0xF4} : std::byte{0xF5}}; }
                }
                m.ops.push_back(std::move(op));
            }
            std::sort(m.ops.begin(), m.ops.end(),
                      [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
            apply_context context;
            context.author = static_cast<author_index>(1 + below(dice, 3));
            context.at = head + 1;
            context.stamp_max = timestamp{4};
            auto const a = apply(real, m, rules, context);
            auto const b = naive_apply(naive, m, rules, context.author, context.at, context.stamp_max);
            REQUIRE(a.verdict == b.verdict);
            if (a.changed) { ++head; }
            REQUIRE((real ? naive_row{*real} : naive_row{}) == naive);
        }
    }
}

TEST_CASE("the naive difference and union are those of the library") {
    rule_table const table = simulated_rules();
    collection_rules const& rules = table.of("things");
    random_generator dice{8};
    for (int n = 0; n < 4'000; ++n) {
        mutation first = any_mutation(dice, 0);
        mutation second = any_mutation(dice, 0);
        first.kind = second.kind = change_kind::update;
        first.life = second.life = 1;
        pending earlier;
        earlier.change = first;
        pending later;
        later.change = second;
        auto const joined = naive_union(first, second, rules);
        REQUIRE((earlier.absorb(later, rules) == coalescing::absorbed) == joined.has_value());
        if (joined) { REQUIRE(earlier.change.ops == *joined); }

        std::map<std::string, bytes> a;
        std::map<std::string, bytes> b;
        for (field_op const& op : first.ops) { a[op.field] = op.kind == op_kind::unset ? naive_item(0) : op.value; }
        for (field_op const& op : second.ops) { b[op.field] = op.kind == op_kind::unset ? naive_item(0) : op.value; }
        auto const encode = [](std::map<std::string, bytes> const& fields) {
            std::vector<syncline::detail::field_change> all;
            for (auto const& [field, value] : fields) { all.push_back({field, true, value}); }
            std::sort(all.begin(), all.end(),
                      [](auto const& x, auto const& y) { return compare_keys(x.field, y.field) < 0; });
            return syncline::detail::rewrite_fields({}, all);
        };
        auto const real = diff(encode(a), encode(b), rules, {});
        REQUIRE(real);
        REQUIRE(*real == naive_difference(a, b, rules));
    }
}
