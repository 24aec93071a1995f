// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <syncline/merge/three_way.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

collection_rules const& the_rules() {
    static rule_table const table = rules();
    return table.of("things");
}

struct one_write {
    author_index author = 1;
    std::uint64_t stamp = 0;
    position base = 0;
    mutation what{};
};

mutation change(change_kind kind, std::uint64_t stamp, position base, std::vector<field_op> ops,
                std::uint64_t life = 1) {
    mutation m;
    m.kind = kind;
    m.stamp = timestamp{stamp};
    m.record = {"things", "t"};
    m.life = life;
    m.base = base;
    std::sort(ops.begin(), ops.end(),
              [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
    for (field_op& op : ops) { op.stamp = m.stamp; }
    m.ops = std::move(ops);
    return m;
}

apply_outcome lay(std::optional<row>& r, mutation const& m, author_index author, position at) {
    apply_context context;
    context.author = author;
    context.at = at;
    return apply(r, m, the_rules(), context);
}

/// A record that author 1 created at position 1: every kind of field at 10.
std::optional<row> created() {
    std::optional<row> r;
    auto const m = change(
        change_kind::create, 100, 0,
        {set("name", 10), set("count", 10), set("least", 10), set("most", 10), set("ruled", 10), set("asked", 10)});
    auto const outcome = lay(r, m, 1, 1);
    REQUIRE(outcome.verdict == verdict_kind::applied);
    REQUIRE(outcome.changed);
    return r;
}

}  // namespace

TEST_CASE("apply: what nobody else has touched since its base takes effect, whatever the stamps say") {
    auto r = created();
    auto const outcome = lay(r, change(change_kind::update, 5, 1, {set("name", 11), set("asked", 11)}), 2, 2);
    CHECK(outcome.verdict == verdict_kind::applied);
    CHECK(outcome.decisions.empty());
    CHECK(field(r->fields, "name") == 11);
    CHECK(field(r->fields, "asked") == 11);
    CHECK(field(r->fields, "least") == 10);
    CHECK(r->version == 2);
    CHECK(r->mark_of("name").author == 2);
    CHECK(r->mark_of("name").stamp == timestamp{100});  // a successor is never beaten by what its predecessor beat
    CHECK(r->mark_of("least").author == 1);
}

TEST_CASE("apply: a chain of one author's edits never conflicts with itself") {
    auto r = created();
    CHECK(lay(r, change(change_kind::update, 110, 1, {set("asked", 11)}), 2, 2).verdict == verdict_kind::applied);
    CHECK(lay(r, change(change_kind::update, 120, 1, {set("asked", 12)}), 2, 3).verdict == verdict_kind::applied);
    CHECK(field(r->fields, "asked") == 12);
}

TEST_CASE("apply: concurrent changes of different fields both stay") {
    auto r = created();
    REQUIRE(lay(r, change(change_kind::update, 110, 1, {set("name", 11)}), 2, 2).verdict == verdict_kind::applied);
    auto const outcome = lay(r, change(change_kind::update, 105, 1, {set("ruled", 12)}), 3, 3);
    CHECK(outcome.verdict == verdict_kind::applied);
    CHECK(field(r->fields, "name") == 11);
    CHECK(field(r->fields, "ruled") == 12);
}

TEST_CASE("apply: the rule of the field decides between concurrent changes") {
    struct expectation {
        char const* name;
        std::int64_t first, second, after;
        winner won;
        verdict_kind verdict;
    };
    // The first is confirmed with the later stamp (110), the second comes with the earlier one (105).
    expectation const cases[] = {
        {"name", 11, 12, 11, winner::confirmed, verdict_kind::overruled},
        {"name", 11, 11, 11, winner::both, verdict_kind::merged},
        {"ruled", 11, 12, 11, winner::confirmed, verdict_kind::overruled},
        {"asked", 11, 12, 11, winner::nobody, verdict_kind::conflict},
        {"asked", 11, 11, 11, winner::both, verdict_kind::merged},
        {"least", 5, 3, 3, winner::mutation, verdict_kind::merged},
        {"least", 3, 5, 3, winner::confirmed, verdict_kind::overruled},
        {"most", 15, 13, 15, winner::confirmed, verdict_kind::overruled},
        {"most", 13, 15, 15, winner::mutation, verdict_kind::merged},
    };
    for (expectation const& e : cases) {
        INFO(e.name << " " << e.first << " " << e.second);
        auto r = created();
        REQUIRE(lay(r, change(change_kind::update, 110, 1, {set(e.name, e.first)}), 2, 2).changed);
        auto const before = r;
        auto const outcome = lay(r, change(change_kind::update, 105, 1, {set(e.name, e.second)}), 3, 3);
        CHECK(outcome.verdict == e.verdict);
        REQUIRE(outcome.decisions.size() == 1);
        CHECK(outcome.decisions[0].field == e.name);
        CHECK(outcome.decisions[0].won == e.won);
        CHECK(field(r->fields, e.name) == e.after);
        if (!outcome.changed) { CHECK(r == before); }
    }
    SECTION("the later stamp wins although it comes second, and a tie goes to the greater author") {
        auto r = created();
        REQUIRE(lay(r, change(change_kind::update, 110, 1, {set("name", 11)}), 2, 2).changed);
        CHECK(lay(r, change(change_kind::update, 111, 1, {set("name", 12)}), 3, 3).verdict == verdict_kind::merged);
        CHECK(field(r->fields, "name") == 12);
        CHECK(lay(r, change(change_kind::update, 111, 1, {set("name", 13)}), 2, 4).verdict == verdict_kind::overruled);
        CHECK(lay(r, change(change_kind::update, 111, 1, {set("name", 14)}), 4, 5).verdict == verdict_kind::merged);
        CHECK(field(r->fields, "name") == 14);
    }
    SECTION("every addition to a counter counts, also to a missing one") {
        auto r = created();
        CHECK(lay(r, change(change_kind::update, 110, 1, {add("count", 5)}), 2, 2).verdict == verdict_kind::applied);
        CHECK(lay(r, change(change_kind::update, 105, 1, {add("count", -3)}), 3, 3).verdict == verdict_kind::merged);
        CHECK(field(r->fields, "count") == 12);
        CHECK(lay(r, change(change_kind::update, 106, 1, {add("other", 4)}), 3, 4).changed);
        CHECK(field(r->fields, "other") == 4);
    }
}

TEST_CASE("apply: a mutation is taken whole or not at all") {
    auto r = created();
    REQUIRE(lay(r, change(change_kind::update, 110, 1, {set("asked", 11)}), 2, 2).changed);
    auto const before = r;
    SECTION("one field that a person must decide parks all of it") {
        auto const outcome =
            lay(r, change(change_kind::update, 120, 1, {set("asked", 12), set("name", 12), add("count", 1)}), 3, 3);
        CHECK(outcome.verdict == verdict_kind::conflict);
        CHECK(r == before);
    }
    SECTION("an addition to what is no integer is refused") {
        auto m = change(change_kind::update, 120, 2, {set("name", 12)});
        m.ops.push_back({"name2", op_kind::set, {}, m.stamp});
        m.ops.back().value.clear();
        cbor_writer{m.ops.back().value}.text("a text");
        REQUIRE(lay(r, m, 3, 3).changed);
        auto const text = r;
        auto const outcome = lay(r, change(change_kind::update, 121, 3, {set("name", 13), add("name2", 1)}), 3, 4);
        CHECK(outcome.verdict == verdict_kind::rejected);
        CHECK(outcome.reason == errc::type_mismatch);
        CHECK(r == text);
    }
    SECTION("an addition that leaves int64 is refused") {
        auto const outcome = lay(
            r, change(change_kind::update, 120, 2, {add("count", (std::numeric_limits<std::int64_t>::max)())}), 3, 3);
        CHECK(outcome.verdict == verdict_kind::rejected);
        CHECK(outcome.reason == errc::overflow);
        CHECK(r == before);
    }
}

TEST_CASE("apply: lives of a record") {
    std::optional<row> none;
    CHECK(lay(none, change(change_kind::update, 100, 0, {set("name", 1)}), 1, 1).reason == errc::not_found);
    CHECK(lay(none, change(change_kind::erase, 100, 0, {}), 1, 1).reason == errc::not_found);
    CHECK_FALSE(none);

    auto r = created();
    SECTION("two creations are one record, field by field") {
        auto const outcome = lay(r, change(change_kind::create, 105, 0, {set("name", 11), set("other", 1)}), 2, 2);
        CHECK(outcome.verdict == verdict_kind::merged);
        CHECK(field(r->fields, "name") == 11);
        CHECK(field(r->fields, "other") == 1);
    }
    SECTION("delete wins over concurrent edits, in either order, and the loser is told") {
        auto deleted_last = r;
        REQUIRE(lay(deleted_last, change(change_kind::update, 110, 1, {set("name", 11)}), 2, 2).changed);
        auto const outcome = lay(deleted_last, change(change_kind::erase, 105, 1, {}), 3, 3);
        CHECK(outcome.verdict == verdict_kind::merged);
        CHECK(outcome.decisions.size() == 1);
        CHECK(deleted_last->deleted);

        auto deleted_first = r;
        CHECK(lay(deleted_first, change(change_kind::erase, 105, 1, {}), 3, 2).verdict == verdict_kind::applied);
        auto const late = lay(deleted_first, change(change_kind::update, 110, 1, {set("name", 11)}), 2, 3);
        CHECK(late.verdict == verdict_kind::overruled);
        CHECK(late.decisions.size() == 1);
        CHECK(deleted_first->deleted);
        CHECK(deleted_first->fields.empty());
        CHECK(lay(deleted_first, change(change_kind::erase, 111, 1, {}), 4, 4).verdict == verdict_kind::merged);
    }
    SECTION("after a delete only a creation that saw it begins a new life; what speaks of the old one is overruled") {
        REQUIRE(lay(r, change(change_kind::erase, 110, 1, {}), 1, 2).changed);
        CHECK(lay(r, change(change_kind::create, 120, 0, {set("name", 1)}, 1), 2, 3).verdict ==
              verdict_kind::overruled);
        CHECK(r->deleted);
        CHECK(lay(r, change(change_kind::create, 120, 2, {set("name", 2)}, 2), 2, 3).verdict == verdict_kind::applied);
        CHECK(r->life == 2);
        CHECK(field(r->fields, "name") == 2);
        CHECK_FALSE(field(r->fields, "count"));
        CHECK(lay(r, change(change_kind::update, 200, 1, {set("name", 3)}, 1), 3, 4).verdict ==
              verdict_kind::overruled);
        CHECK(lay(r, change(change_kind::erase, 200, 1, {}, 1), 3, 4).verdict == verdict_kind::overruled);
        CHECK(lay(r, change(change_kind::update, 200, 1, {set("name", 3)}, 3), 3, 4).reason == errc::not_found);
        CHECK(field(r->fields, "name") == 2);
    }
}

TEST_CASE("apply: a stamp from the future dominates no further than the authority's bound") {
    auto r = created();
    apply_context context;
    context.author = 2;
    context.at = 2;
    context.stamp_max = timestamp{200};
    REQUIRE(apply(r, change(change_kind::update, 1'000'000, 1, {set("name", 11)}), the_rules(), context).changed);
    CHECK(r->mark_of("name").stamp == timestamp{200});
    CHECK(lay(r, change(change_kind::update, 201, 1, {set("name", 12)}), 3, 3).changed);
    CHECK(field(r->fields, "name") == 12);
}

TEST_CASE("apply: concurrent writes give the same record in every order, for every rule that promises it") {
    // Three authors, each with one operation on each field, all with base 1: every order of arrival.
    auto const start = created();
    std::vector<one_write> writes;
    std::vector<std::size_t> order{0, 1, 2};
    for (std::int64_t i = 0; i < 3; ++i) {
        writes.push_back(
            {static_cast<author_index>(i + 2), 110, 1,
             change(change_kind::update, static_cast<std::uint64_t>(110 + (i * 2) % 3), 1,
                    {set("name", 20 + i), add("count", 1 + i), set("least", 7 - i), set("most", 13 + i)})});
    }
    std::optional<bytes> expected;
    do {
        auto r = start;
        position at = 2;
        for (std::size_t const i : order) { (void)lay(r, writes[i].what, writes[i].author, at++); }
        if (!expected) { expected = r->fields; }
        CHECK(r->fields == *expected);
    } while (std::next_permutation(order.begin(), order.end()));
    CHECK(field(*expected, "count") == 16);
    CHECK(field(*expected, "least") == 5);
    CHECK(field(*expected, "most") == 15);
    CHECK(field(*expected, "name") == 21);  // stamp 112
}

TEST_CASE("apply agrees with a naive model over random mutations") {
    // The model: a map of fields, each with its mark, and the rules written out once more, slowly.
    struct cell {
        std::int64_t value;
        write_mark mark;
    };
    syncline::random_generator dice{11};
    for (int round = 0; round < 300; ++round) {
        std::optional<row> r = created();
        std::map<std::string, cell> model;
        std::map<std::string, write_mark> marks;  // of fields that are missing now, too
        for (auto const* name : {"name", "count", "least", "most", "ruled", "asked"}) {
            model[name] = {10, {1, timestamp{100}, 1}};
        }
        for (auto const& [name, c] : model) { marks[name] = c.mark; }
        position at = 2;
        for (int step = 0; step < 30; ++step) {
            author_index const author = static_cast<author_index>(1 + dice() % 3);
            position const base = dice() % at;
            std::uint64_t const stamp = 90 + dice() % 60;
            std::vector<field_op> ops;
            for (auto const* name : {"name", "count", "least", "most", "ruled", "asked", "extra"}) {
                switch (dice() % 9) {
                    case 0: ops.push_back(set(name, static_cast<std::int64_t>(dice() % 20))); break;
                    case 1:
                        if (std::string_view{name} != "least" && std::string_view{name} != "most") {
                            ops.push_back(unset(name));
                        }
                        break;
                    case 2: ops.push_back(add(name, static_cast<std::int64_t>(dice() % 5))); break;
                    default: break;
                }
            }
            mutation const m = change(change_kind::update, stamp, base, ops);
            auto const outcome = lay(r, m, author, at);

            auto next_model = model;
            auto next_marks = marks;
            bool conflict = false;
            bool took = false;
            for (field_op const& op : m.ops) {
                auto const was = model.find(op.field);
                bool const written = marks.count(op.field) != 0;
                write_mark const mark = written ? marks[op.field] : write_mark{1, timestamp{100}, 1};
                bool const concurrent = written && mark.at > base && mark.author != author;
                rule const by = the_rules().of(op.field);
                std::optional<std::int64_t> wanted;
                if (op.kind != op_kind::unset) { wanted = detail::integer_of(op.value); }
                bool wins_here = true;
                bool both = false;
                if (op.kind == op_kind::add) {
                    wanted = (was == model.end() ? 0 : was->second.value) + *wanted;
                } else if (by == rule::minimum && was != model.end()) {
                    wins_here = *wanted <= was->second.value;
                } else if (by == rule::maximum && was != model.end()) {
                    wins_here = *wanted >= was->second.value;
                } else if (concurrent) {
                    bool const same = wanted ? was != model.end() && was->second.value == *wanted : was == model.end();
                    both = same;
                    if (!same && by == rule::manual) { conflict = true; }
                    if (!same && by == rule::authority) { wins_here = false; }
                    if (!same && by != rule::authority && by != rule::manual) {
                        wins_here = stamp != mark.stamp.raw ? stamp > mark.stamp.raw : author > mark.author;
                    }
                }
                if (!wins_here) { continue; }
                took = true;
                if (op.kind == op_kind::set && was != model.end() && was->second.value == *wanted) {
                    both = concurrent;
                }
                bool const theirs = both && wins(mark, {at, timestamp{stamp}, author});
                next_marks[op.field] = {at, timestamp{(std::max)(stamp, mark.stamp.raw)},
                                        theirs ? mark.author : author};
                if (wanted) {
                    next_model[op.field] = {*wanted, next_marks[op.field]};
                } else {
                    next_model.erase(op.field);
                }
            }
            CHECK((outcome.verdict == verdict_kind::conflict) == conflict);
            if (!conflict && (took || m.ops.empty())) {
                model = next_model;
                marks = next_marks;
                CHECK(outcome.changed);
                ++at;
            } else {
                CHECK_FALSE(outcome.changed);
            }
            std::vector<std::pair<std::string, std::int64_t>> flat;
            for (auto const& [name, c] : model) { flat.emplace_back(name, c.value); }
            REQUIRE(r->fields == fields(flat));
            REQUIRE(validate_fields(r->fields));
            bytes encoded;
            cbor_writer w{encoded};
            encode_row(w, *r);
            cbor_reader in{encoded};
            CHECK(decode_row(in) == *r);
            CHECK(in.finish());
        }
    }
}

TEST_CASE("a field that nobody has written yet takes its first value, whoever made the record meanwhile") {
    collection_rules const rules{"things", rule::last_writer, {{"least", rule::minimum}, {"most", rule::maximum}}};
    mutation theirs = change(change_kind::create, 500, 0, {set("name", 1)});
    mutation ours = change(change_kind::create, 100, 0, {set("least", 7), set("most", 7), set("note", 7)});
    std::optional<row> r;
    apply_context at;
    at.author = 1;
    at.at = 1;
    REQUIRE(apply(r, theirs, rules, at).changed);
    at.author = 2;
    at.at = 2;
    CHECK(apply(r, ours, rules, at).verdict == verdict_kind::applied);
    CHECK(r->fields == fields({{"name", 1}, {"least", 7}, {"most", 7}, {"note", 7}}));

    // One that was taken away was written: there the later one counts, as with any field.
    at.author = 1;
    at.at = 3;
    REQUIRE(apply(r, change(change_kind::update, 900, 2, {unset("most")}), rules, at).changed);
    at.author = 2;
    at.at = 4;
    CHECK(apply(r, change(change_kind::update, 800, 2, {set("most", 9)}), rules, at).verdict ==
          verdict_kind::overruled);
}

TEST_CASE(
    "of two who write the same, the mark that wins stays, so that a third one's chances don't depend on the order") {
    // Author 1 is as late as 2 and loses to it; 3 wrote the same as 1, earlier.
    one_write const first{1, 300, 1, change(change_kind::update, 300, 1, {set("name", 7)})};
    one_write const second{2, 300, 1, change(change_kind::update, 300, 1, {set("name", 8)})};
    one_write const third{3, 200, 1, change(change_kind::update, 200, 1, {set("name", 7)})};
    std::array<one_write const*, 3> order{&first, &second, &third};
    std::sort(order.begin(), order.end());
    do {
        std::optional<row> r = created();
        position at = 1;
        for (one_write const* w : order) { (void)lay(r, w->what, w->author, ++at); }
        CHECK(field(r->fields, "name") == 8);
    } while (std::next_permutation(order.begin(), order.end()));
}

namespace {

/// A record with a map at "box", written at position 1 and as a whole by author 2 at position 2; then an operation of author 1
/// inside of the map, who has seen the first only.
struct inside_of_a_whole {
    std::optional<row> r{};
    apply_outcome outcome{};

    explicit inside_of_a_whole(collection_rules const& rules, bytes_view map, merge_host const* host = nullptr,
                               merge_hint hint = merge_hint::merge) {
        bytes all;
        cbor_writer w{all};
        w.map(1);
        w.text("box");
        w.raw(map);
        r.emplace();
        r->version = 2;
        r->floor = {1, timestamp{100}, 2};
        r->exceptions = {{"box", {2, timestamp{300}, 2}}};
        r->fields = all;
        mutation m = change(change_kind::update, 200, 1, {});
        field_op op{"box", op_kind::nested, {}, m.stamp};
        cbor_writer inside{op.value};
        encode_operations(inside, {set("lid", 7)}, m.stamp);
        m.ops = {op};
        m.ops[0].stamp = m.stamp;
        m.hint = hint;
        apply_context at;
        at.author = 1;
        at.at = 3;
        at.host = host;
        outcome = apply(r, m, rules, at);
    }
    [[nodiscard]] bytes box() const { return to_bytes(**map_find(r->fields, "box")); }
};

bytes lid(std::int64_t n) { return fields({{"lid", n}}); }

}  // namespace

TEST_CASE("an edit inside of a field that is decided as a whole is decided as a whole") {
    auto const with = [](rule by) { return collection_rules{"things", rule::last_writer, {{"box", by}}}; };
    inside_of_a_whole const asked(with(rule::manual), lid(1));
    CHECK(asked.outcome.verdict == verdict_kind::conflict);
    CHECK(asked.box() == lid(1));
    CHECK(inside_of_a_whole(with(rule::authority), lid(1)).outcome.verdict == verdict_kind::overruled);
    CHECK(inside_of_a_whole(with(rule::last_writer), lid(1)).outcome.verdict == verdict_kind::overruled);
    inside_of_a_whole const late(with(rule::authority_time), lid(1));
    CHECK(late.outcome.verdict == verdict_kind::rejected);
    CHECK(late.outcome.reason == errc::contended);
    inside_of_a_whole const first(with(rule::first_writer), lid(1));
    CHECK(first.outcome.verdict == verdict_kind::merged);
    CHECK(first.box() == lid(7));
    CHECK(inside_of_a_whole(with(rule::local), lid(1)).box() == lid(7));
    CHECK(inside_of_a_whole(with(rule::local), lid(1), nullptr, merge_hint::remote).box() == lid(1));

    merge_host ranks;
    ranks.role_of = [](author_index author, void const*) { return author; };
    inside_of_a_whole const lower(with(rule::role), lid(1), &ranks);
    CHECK(lower.outcome.verdict == verdict_kind::overruled);
    REQUIRE(lower.outcome.decisions.size() == 1);
    CHECK(lower.outcome.decisions[0] == decision{"box", rule::role, winner::confirmed, reason::by_role});

    collection_rules grouped = with(rule::nested);
    grouped.groups = {{"g", rule::manual, {"box", "other"}}};
    CHECK(inside_of_a_whole(grouped, lid(1)).outcome.verdict == verdict_kind::conflict);
    CHECK(inside_of_a_whole(with(rule::maximum), lid(1)).outcome.verdict == verdict_kind::overruled);

    // Inside of a nested field the rules there decide.
    CHECK(inside_of_a_whole(with(rule::nested), lid(1)).outcome.verdict == verdict_kind::overruled);
    collection_rules inner = with(rule::nested);
    inner.fields[0].inner = {{"lid", rule::first_writer}};
    CHECK(inside_of_a_whole(inner, lid(1)).box() == lid(7));
}

TEST_CASE("a map with other keys than names is one value: nothing inside of it is lost") {
    collection_rules const rules{"things", rule::last_writer, {{"box", rule::nested}}};
    bytes numbered;
    cbor_writer w{numbered};
    w.map(2);
    w.unsigned_integer(1);
    w.text("a");
    w.unsigned_integer(2);
    w.text("b");
    inside_of_a_whole const met(rules, numbered);
    CHECK(met.outcome.verdict == verdict_kind::overruled);
    CHECK(met.box() == numbered);

    std::optional<row> r = met.r;
    mutation m = change(change_kind::update, 400, 2, {});
    field_op op{"box", op_kind::nested, {}, m.stamp};
    cbor_writer inside{op.value};
    encode_operations(inside, {set("lid", 7)}, m.stamp);
    m.ops = {op};
    apply_context at;
    at.author = 1;
    at.at = 3;
    r = met.r;
    auto const outcome = apply(r, m, rules, at);
    CHECK(outcome.verdict == verdict_kind::rejected);
    CHECK(outcome.reason == errc::type_mismatch);
    CHECK(r == met.r);

    // A change of it goes as the value that it is.
    bytes other = numbered;
    other.back() = std::byte{'c'};
    auto const in = [](bytes_view map) {
        bytes all;
        cbor_writer all_of{all};
        all_of.map(1);
        all_of.text("box");
        all_of.raw(map);
        return all;
    };
    auto const ops = diff(in(numbered), in(other), rules, timestamp{9});
    REQUIRE(ops);
    REQUIRE(ops->size() == 1);
    CHECK((*ops)[0] == field_op{"box", op_kind::set, other, timestamp{9}});
    bytes third = numbered;
    third.back() = std::byte{'d'};
    merge_host accepts;
    accepts.guards.push_back({"yes", {}, [](guard_input const&, void const*) { return guard_answer{}; }});
    for (merge_host const* host : {static_cast<merge_host const*>(nullptr), static_cast<merge_host const*>(&accepts)}) {
        auto const both =
            three_way(in(numbered), in(other), in(third), rules, {timestamp{1}, 1}, {timestamp{2}, 2}, host);
        REQUIRE(both);
        CHECK(both->record == in(third));
        auto const one = three_way(in(numbered), in(other), in(numbered), rules, {}, {}, host);
        REQUIRE(one);
        CHECK(one->record == in(other));
    }
}

TEST_CASE("a guard's repair of what can be no field is a person's matter, and changes nothing") {
    static std::string name;
    merge_host host;
    host.guards.push_back({"names", {}, [](guard_input const&, void const*) {
                               guard_answer a;
                               a.says = guard_answer::kind::repair;
                               a.repairs = {{name, op_kind::set, to_bytes(value{1}.encoded()), {}}};
                               return a;
                           }});
    for (std::string const& odd : {std::string{}, std::string(256, 'x'), std::string{"\xFF"}}) {
        name = odd;
        std::optional<row> r = created();
        std::optional<row> const before = r;
        apply_context at;
        at.author = 1;
        at.at = 2;
        at.host = &host;
        auto const outcome = apply(r, change(change_kind::update, 200, 1, {set("name", 11)}), the_rules(), at);
        CHECK(outcome.verdict == verdict_kind::conflict);
        CHECK(outcome.guard == "names");
        CHECK(r == before);
    }
}
