// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"
#include "support/sanitized.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/testing/naive_elements.hpp>
#include <syncline/testing/naive_merge.hpp>

#include "merge/folding.hpp"

using namespace syncline;
using namespace syncline::testing;
using namespace folding;

namespace {

collection_rules const& mixed_rules() {
    static collection_rules const rules = [] {
        collection_rules r{"things",
                           rule::last_writer,
                           {{"adds", rule::add_wins},
                            {"list", rule::list},
                            {"nest", rule::nested},
                            {"note", rule::last_writer},
                            {"rems", rule::remove_wins},
                            {"sums", rule::counter}}};
        r.fields[2].inner = {{"a", rule::last_writer}, {"b", rule::counter}, {"c", rule::add_wins}};
        return r;
    }();
    return rules;
}
bytes set_edits(random_generator& dice) {
    std::vector<bytes> held;
    std::vector<element_edit> edits;
    std::size_t const n = 1 + static_cast<std::size_t>(below(dice, 3));
    for (std::size_t i = 0; i < n; ++i) { held.push_back(naive_item(static_cast<std::int64_t>(below(dice, 4)))); }
    for (bytes const& item : held) {
        bool const adds = below(dice, 2) == 0;
        edits.push_back(
            {adds ? element_verb::add : element_verb::remove, item, {}, adds ? bytes_view{item} : bytes_view{}});
    }
    return edits_item(edits);
}
bytes list_edits(random_generator& dice, std::string const& own) {
    std::vector<bytes> ids;
    std::vector<bytes> items;
    std::size_t const n = 1 + static_cast<std::size_t>(below(dice, 2));
    std::vector<element_verb> verbs;
    std::vector<bytes> anchors;
    auto const any = [&] { return std::string{static_cast<char>('a' + below(dice, 6))}; };
    for (std::size_t i = 0; i < n; ++i) {
        verbs.push_back(static_cast<element_verb>(2 + below(dice, 4)));
        // Known ones, some that never were, some that others may insert as well.
        std::string const id =
            verbs.back() == element_verb::insert && below(dice, 2) == 0 ? own + std::to_string(i) : any();
        ids.push_back(text_item(id));
        items.push_back(element(id, own));
        anchors.push_back(below(dice, 4) == 0 ? bytes{} : text_item(any()));
    }
    std::vector<element_edit> edits;
    for (std::size_t i = 0; i < n; ++i) {
        bool const item = verbs[i] == element_verb::insert || verbs[i] == element_verb::edit;
        bool const anchor = verbs[i] == element_verb::insert || verbs[i] == element_verb::move;
        edits.push_back({verbs[i], ids[i], anchor ? bytes_view{anchors[i]} : bytes_view{},
                         item ? bytes_view{items[i]} : bytes_view{}});
    }
    return edits_item(edits);
}

/// What the fields of one record ought to be, from all that was done.
struct model {
    static constexpr position made_at = 1;
    naive_deed made{9, made_at, 0, {}, {}};
    std::vector<bytes> set{naive_item(0), naive_item(2)};
    bytes list = array_item({element("a", "1"), element("b", "2"), element("c", "3")});
    std::map<std::string, std::vector<naive_deed>> deeds{};
    naive_row whole{};  ///< plain fields
    naive_row inner{};  ///< those inside of the map

    model() {
        for (naive_row* r : {&whole, &inner}) {
            r->life = row{}.life;
            r->deleted = false;
            r->version = made_at;
            r->floor = {made_at, {}, 9};
            r->fields = {{r == &whole ? "sums" : "b", naive_item(1)}};
        }
    }
    [[nodiscard]] row start() const {
        row r;
        r.version = made_at;
        r.floor = whole.floor;
        bytes nest;
        cbor_writer w{nest};
        w.map(2);
        w.text("b");
        w.raw(naive_item(1));
        w.text("c");
        w.raw(array_item(set));
        r.fields = map_item({{"adds", array_item(set)},
                             {"list", list},
                             {"nest", nest},
                             {"rems", array_item(set)},
                             {"sums", naive_item(1)}});
        return r;
    }
    /// Plain operations of a mutation, on the record's fields or on those inside of its map.
    void plain(naive_row& r, mutation const& m, std::vector<field_op> ops, author_index author, position at,
               timestamp stamp_max) {
        if (ops.empty()) { return; }
        collection_rules rules = mixed_rules();
        if (&r == &inner) { rules.fields = {{"a", rule::last_writer}, {"b", rule::counter}}; }
        mutation only = m;
        only.ops = std::move(ops);
        (void)naive_apply(r, only, rules, author, at, stamp_max);
    }
    [[nodiscard]] std::map<std::string, bytes> fields() {
        std::map<std::string, bytes> out = whole.fields;
        out["adds"] = naive_set(made, set, deeds["adds"], true);
        out["rems"] = naive_set(made, set, deeds["rems"], false);
        out["list"] = naive_list(list, deeds["list"]);
        auto inside = inner.fields;
        inside["c"] = naive_set(made, set, deeds["c"], true);
        bytes& nest = out["nest"];
        cbor_writer w{nest};
        w.map(inside.size());
        for (auto const& [name, item] : inside) {
            w.text(name);
            w.raw(item);
        }
        return out;
    }
};

}  // namespace

TEST_CASE("naive elements: records with sets, lists and maps are what everything that was done makes of them") {
    random_generator dice{17};
    std::map<verdict_kind, int> verdicts;
    for (int history = 0; history < 1'500; ++history) {
        model m;
        std::optional<row> real = m.start();
        position head = model::made_at;
        std::map<author_index, position> seen;
        author_index const authors = static_cast<author_index>(2 + below(dice, 3));
        for (int n = 0; n < 24; ++n) {
            author_index const author = 1 + static_cast<author_index>(below(dice, authors));
            position& base = seen[author];
            base += below(dice, head - base + 1);  // some have not seen even the beginning
            mutation change;
            change.record = {"things", "x"};
            change.base = base;
            change.stamp = timestamp{1 + below(dice, 12)};
            timestamp const stamp_max{9};
            naive_deed deed{author, head + 1, base, (std::min)(change.stamp, stamp_max), {}};
            std::vector<field_op> plain;
            std::vector<field_op> inside;
            std::string const own = std::string{static_cast<char>('p' + author)} + std::to_string(n);
            for (char const* const field : {"adds", "list", "nest", "note", "rems", "sums"}) {
                if (below(dice, 2) == 0) { continue; }
                std::string const name{field};
                field_op op{name, op_kind::elements, {}, change.stamp};
                if (name == "adds" || name == "rems") {
                    op.value = set_edits(dice);
                } else if (name == "list") {
                    op.value = list_edits(dice, own);
                } else if (name == "note") {
                    bool const gone = below(dice, 3) == 0;
                    op.kind = gone ? op_kind::unset : op_kind::set;
                    if (!gone) { op.value = naive_item(static_cast<std::int64_t>(below(dice, 3))); }
                    plain.push_back(op);
                } else if (name == "sums") {
                    op.kind = op_kind::add;
                    op.value = naive_item(static_cast<std::int64_t>(below(dice, 9)) - 4);
                    plain.push_back(op);
                } else {
                    op.kind = op_kind::nested;
                    std::vector<field_op> ops;
                    if (below(dice, 2) == 0) {
                        bool const gone = below(dice, 3) == 0;
                        ops.push_back({"a", gone ? op_kind::unset : op_kind::set,
                                       gone ? bytes{} : naive_item(static_cast<std::int64_t>(below(dice, 3))),
                                       change.stamp});
                    }
                    if (below(dice, 2) == 0) { ops.push_back({"b", op_kind::add, naive_item(3), change.stamp}); }
                    inside = ops;
                    if (ops.empty() || below(dice, 2) == 0) {
                        ops.push_back({"c", op_kind::elements, set_edits(dice), change.stamp});
                        deed.edits = ops.back().value;
                        m.deeds["c"].push_back(deed);
                    }
                    cbor_writer w{op.value};
                    w.array(ops.size());
                    for (field_op const& inner : ops) { encode_operation(w, inner, op.stamp); }
                }
                if (op.kind == op_kind::elements) {
                    deed.edits = op.value;
                    m.deeds[name].push_back(deed);
                }
                change.ops.push_back(std::move(op));
            }
            if (change.ops.empty()) { continue; }
            apply_context context;
            context.author = author;
            context.at = ++head;
            context.stamp_max = stamp_max;
            auto const out = apply(real, change, mixed_rules(), context);
            ++verdicts[out.verdict];
            m.plain(m.whole, change, plain, author, context.at, context.stamp_max);
            m.plain(m.inner, change, inside, author, context.at, context.stamp_max);
            INFO("history " << history << " step " << n << ": " << name(out.verdict) << ' ' << message(out.reason));
            REQUIRE(naive_row{*real}.fields == m.fields());
        }
    }
    // All there is to be met was met, and nothing else.
    CHECK(verdicts.size() == 3);
    CHECK(verdicts[verdict_kind::applied] > 1'000);
    CHECK(verdicts[verdict_kind::merged] > 1'000);
    CHECK(verdicts[verdict_kind::overruled] > 10);
}

TEST_CASE("naive elements: sets that are edited, set and taken away are what everything that was done makes of them") {
    random_generator dice{18};
    std::map<verdict_kind, int> verdicts;
    for (int history = 0; history < rounds(4'000); ++history) {
        bool const add_wins = history % 2 == 0;
        collection_rules const rules{
            "things", rule::last_writer, {{"f", add_wins ? rule::add_wins : rule::remove_wins}}};
        naive_deed const made{9, 1, 0, {}, {}};
        std::vector<bytes> const items{naive_item(0), naive_item(2)};
        std::vector<naive_deed> deeds;
        std::optional<row> real;
        real.emplace();
        real->version = 1;
        real->floor = {1, {}, 9};
        real->fields = map_item({{"f", array_item(items)}});
        position head = 1;
        std::map<author_index, position> seen;
        for (int n = 0; n < 12; ++n) {
            author_index const author = 1 + static_cast<author_index>(below(dice, 3));
            position& base = seen[author];
            base = (std::max)(base, position{1});
            base += below(dice, head - base + 1);
            naive_deed d{author, head + 1, base, {}, {}};
            // As a hybrid clock issues them: greater than all that was seen.
            std::uint64_t stamp = 0;
            for (naive_deed const& e : deeds) {
                if (naive_sees(d, e)) { stamp = (std::max)(stamp, e.stamp.raw); }
            }
            d.stamp = timestamp{stamp + 1 + below(dice, 4)};
            switch (below(dice, 4)) {
                case 0: d.kind = op_kind::unset; break;
                case 1:
                    d.kind = op_kind::set;
                    d.edits = array_item({naive_item(static_cast<std::int64_t>(below(dice, 2))), naive_item(3)});
                    break;
                default: d.edits = set_edits(dice);
            }
            mutation change;
            change.record = {"things", "x"};
            change.base = base;
            change.stamp = d.stamp;
            change.ops = {{"f", d.kind, d.edits, d.stamp}};
            apply_context context;
            context.author = author;
            context.at = ++head;
            auto const out = apply(real, change, rules, context);
            ++verdicts[out.verdict];
            bool const met =
                std::any_of(deeds.begin(), deeds.end(), [&](naive_deed const& e) { return !naive_sees(d, e); });
            deeds.push_back(d);
            INFO("history " << history << " step " << n << ": " << name(out.verdict));
            if (!met) { REQUIRE(out.verdict == verdict_kind::applied); }
            auto const value = map_find(real->fields, "f");
            std::optional<bytes> now;
            if (*value) { now = to_bytes(**value); }
            REQUIRE(now == naive_set_or_none(made, items, deeds, add_wins));
        }
    }
    CHECK(verdicts.size() == 3);
}

TEST_CASE("naive elements: what the model says of the smallest cases") {
    bytes const one = naive_item(1);
    naive_deed const made{9, 1, 0, {}, {}};
    auto const edit = [&](author_index author, position at, position base, element_verb verb) {
        return naive_deed{author, at, base, timestamp{1},
                          edits_item({{verb, one, {}, verb == element_verb::add ? bytes_view{one} : bytes_view{}}})};
    };
    bytes const full = array_item({one});
    bytes const none = array_item({});
    // Removed by who had seen it; removed and added at once, in either order; removed by who had not seen it.
    for (bool const add_wins : {true, false}) {
        CHECK(naive_set(made, {one}, {edit(1, 2, 1, element_verb::remove)}, add_wins) == none);
        CHECK(naive_set(made, {one}, {edit(1, 2, 1, element_verb::remove), edit(2, 3, 1, element_verb::add)},
                        add_wins) == (add_wins ? full : none));
        CHECK(naive_set(made, {one}, {edit(2, 2, 1, element_verb::add), edit(1, 3, 1, element_verb::remove)},
                        add_wins) == (add_wins ? full : none));
        CHECK(naive_set(made, {one}, {edit(1, 2, 0, element_verb::remove)}, add_wins) == (add_wins ? full : none));
        CHECK(naive_set(made, {one}, {edit(1, 2, 1, element_verb::remove), edit(1, 3, 1, element_verb::add)},
                        add_wins) == full);
    }
    bytes const a = text_item("a"), b = text_item("b");
    bytes const list = array_item({element("a", "1"), element("b", "2")});
    auto const on = [&](author_index author, position at, position base, std::uint64_t stamp, element_edit e) {
        return naive_deed{author, at, base, timestamp{stamp}, edits_item({e})};
    };
    // By stamps and not by arrival; but after what was known, whatever the clock says.
    auto const front = on(1, 2, 1, 7, {element_verb::move, b, {}, {}});
    auto const back = on(2, 3, 1, 5, {element_verb::move, b, a, {}});
    auto const knowing = on(2, 3, 2, 5, {element_verb::move, b, a, {}});
    CHECK(naive_list(list, {front, back}) == array_item({element("b", "2"), element("a", "1")}));
    CHECK(naive_list(list, {front, knowing}) == list);
}
