// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"
#include "support/sanitized.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/merge/elements.hpp>

#include "merge/folding.hpp"

using namespace syncline;
using namespace folding;

namespace {

collection_rules ruled(rule by) { return {"things", rule::last_writer, {{"f", by}}}; }

std::string const names[] = {"a", "b", "c"};

std::vector<deed> set_deeds() {
    std::vector<deed> out;
    for (std::string const& n : names) {
        bytes const item = text_item(n);
        out.push_back({op_kind::elements, edits_item({{element_verb::add, item, {}, item}})});
        out.push_back({op_kind::elements, edits_item({{element_verb::remove, item, {}, {}}})});
    }
    return out;
}

/// Everything that can be done to the list a, b, c at once: `who` tells the elements that are inserted apart.
std::vector<deed> list_deeds(std::string const& who, bool all) {
    std::vector<deed> out;
    auto const one = [&](element_verb v, bytes const& id, bytes const& after, bytes const& item) {
        out.push_back({op_kind::elements, edits_item({{v, id, after, item}})});
    };
    std::vector<bytes> ids;
    for (std::string const& n : names) { ids.push_back(text_item(n)); }
    bytes const fresh = element(who, "new");
    bytes const fresh_id = text_item(who);
    one(element_verb::insert, fresh_id, {}, fresh);
    one(element_verb::insert, fresh_id, ids[0], fresh);
    if (all) { one(element_verb::insert, fresh_id, ids[1], fresh); }
    if (all) { one(element_verb::insert, fresh_id, ids[2], fresh); }
    for (std::size_t i = 0; i != ids.size(); ++i) {
        if (!all && i == 2) { break; }
        one(element_verb::remove, ids[i], {}, {});
        one(element_verb::edit, ids[i], {}, element(names[i], who));
        for (std::size_t k = 0; k != ids.size(); ++k) {
            if (all ? k == i : k != 2) { continue; }
            one(element_verb::move, ids[i], ids[k], {});
        }
        if (all || i == 1) { one(element_verb::move, ids[i], {}, {}); }
    }
    return out;
}

}  // namespace

TEST_CASE("elements: a set's additions and removals by three replicas, in every order, give one set") {
    auto const deeds = set_deeds();
    std::size_t turn = 0;
    for (rule const by : {rule::add_wins, rule::remove_wins}) {
        auto const rules = ruled(by);
        for (bytes const& before : {array_item({}), array_item({text_item("a")})}) {
            // Three replicas with one operation each.
            for (deed const& x : deeds) {
                for (deed const& y : deeds) {
                    for (deed const& z : deeds) {
                        if (!in_slice(turn)) { continue; }
                        std::optional<bytes> value;
                        bool const free =
                            order_free(before, {{2, {5}, {x}}, {3, {4}, {y}}, {4, {6}, {z}}}, rules, value);
                        if (!free) { FAIL("three replicas, " << name(by)); }
                    }
                }
            }
            // Two replicas with two each, every order of every two.
            for (deed const& x : deeds) {
                for (deed const& y : deeds) {
                    for (deed const& z : deeds) {
                        for (deed const& w : deeds) {
                            if (!in_slice(turn)) { continue; }
                            std::optional<bytes> value;
                            bool const free =
                                order_free(before, {{2, {5, 7}, {x, y}}, {3, {4, 6}, {z, w}}}, rules, value);
                            if (!free) { FAIL("two replicas, " << name(by)); }
                        }
                    }
                }
            }
        }
    }
}

TEST_CASE("elements: who adds and who removes at once is decided by the rule, and told") {
    bytes const x = text_item("x");
    deed const add{op_kind::elements, edits_item({{element_verb::add, x, {}, x}})};
    deed const remove{op_kind::elements, edits_item({{element_verb::remove, x, {}, {}}})};
    std::optional<bytes> value;
    REQUIRE(order_free(array_item({}), {{2, {5}, {add}}, {3, {4}, {remove}}}, ruled(rule::add_wins), value));
    CHECK(read_list(*value) == std::vector<std::string>{"x"});
    REQUIRE(order_free(array_item({}), {{2, {5}, {add}}, {3, {4}, {remove}}}, ruled(rule::remove_wins), value));
    CHECK(read_list(*value).empty());

    auto r = start(array_item({}));
    auto const rules = ruled(rule::add_wins);
    CHECK(lay(r, 2, 2, 1, 5, {{"f", add.kind, add.value, {}}}, rules).verdict == verdict_kind::applied);
    auto const beaten = lay(r, 3, 3, 1, 6, {{"f", remove.kind, remove.value, {}}}, rules);
    CHECK(beaten.verdict == verdict_kind::merged);  // the set is as it was; that somebody tried is remembered
    REQUIRE(beaten.decisions.size() == 1);
    CHECK(beaten.decisions[0].won == winner::confirmed);
    CHECK(beaten.decisions[0].why == reason::by_value);
    // Who has seen the addition may remove it.
    CHECK(lay(r, 3, 4, 2, 7, {{"f", remove.kind, remove.value, {}}}, rules).verdict == verdict_kind::applied);
    CHECK(read_list(*value_of(r)).empty());
    CHECK(r->exceptions.size() == 1);  // that it was edited; the element has none any more
    // Who takes the whole set away, and has not seen a later edit, takes away what that leaves of it, and is told.
    auto const gone = lay(r, 2, 5, 3, 3, {{"f", op_kind::unset, {}, {}}}, rules);
    REQUIRE(gone.decisions.size() == 1);
    CHECK(gone.decisions[0].won == winner::both);
    CHECK(gone.verdict == verdict_kind::merged);
}

TEST_CASE("elements: a set taken away or set as a whole stands among edits by its stamp, in every order, and is told") {
    bytes const a = text_item("a");
    bytes const x = text_item("x");
    deed const add{op_kind::elements, edits_item({{element_verb::add, x, {}, x}})};
    deed const remove{op_kind::elements, edits_item({{element_verb::remove, a, {}, {}}})};
    deed const unset{op_kind::unset, {}};
    deed const set{op_kind::set, array_item({text_item("s")})};
    struct expectation {
        deed whole;
        deed edit;
        bool edit_later;
        std::optional<std::vector<std::string>> after;
    };
    expectation const cases[] = {
        {unset, add, true, {{"x"}}},  {unset, add, false, {}},        {unset, remove, true, {{}}},
        {unset, remove, false, {}},   {set, add, true, {{"s", "x"}}}, {set, add, false, {{"s"}}},
        {set, remove, true, {{"s"}}}, {set, remove, false, {{"s"}}},
    };
    for (rule const by : {rule::add_wins, rule::remove_wins}) {
        for (expectation const& e : cases) {
            INFO(name(by) << " case " << (&e - &cases[0]));
            std::uint64_t const edited = e.edit_later ? 9 : 2;
            std::uint64_t const replaced = 11 - edited;
            for (bool const edit_first : {true, false}) {
                auto r = start(array_item({a}));
                for (int turn = 0; turn != 2; ++turn) {
                    bool const edits = edit_first == (turn == 0);
                    deed const& d = edits ? e.edit : e.whole;
                    auto const out = lay(r, edits ? 2 : 3, static_cast<position>(2 + turn), 1,
                                         edits ? edited : replaced, {{"f", d.kind, d.value, {}}}, ruled(by));
                    CHECK(out.decisions.size() == (turn == 0 ? 0U : 1U));
                    CHECK((out.verdict == verdict_kind::overruled) == (edits && turn == 1 && !e.edit_later));
                }
                auto const value = value_of(r);
                REQUIRE(value.has_value() == e.after.has_value());
                if (value) { CHECK(read_list(*value) == *e.after); }
            }
        }
    }
    // The same kind of edit by two: both are told of, also where neither is the one that the rule prefers.
    for (rule const by : {rule::add_wins, rule::remove_wins}) {
        deed const& plain = by == rule::add_wins ? remove : add;
        auto r = start(array_item({a, text_item("b")}));
        (void)lay(r, 2, 2, 1, 5, {{"f", plain.kind, plain.value, {}}}, ruled(by));
        auto const second = lay(r, 3, 3, 1, 6, {{"f", plain.kind, plain.value, {}}}, ruled(by));
        CHECK(second.verdict == verdict_kind::merged);
        REQUIRE(second.decisions.size() == 1);
        CHECK(second.decisions[0].won == winner::both);
    }
}

TEST_CASE("elements: a list edited by three replicas, in every order, is one list; nothing twice, nothing lost") {
    bytes const before = array_item({element("a", "1"), element("b", "2"), element("c", "3")});
    auto const rules = ruled(rule::list);
    std::size_t turn = 0;
    auto const check = [&](std::vector<author_deeds> const& all) {
        if (!in_slice(turn)) { return; }
        std::optional<bytes> value;
        if (!order_free(before, all, rules, value)) { FAIL("order matters"); }
        // What nobody removed is there once.
        std::multiset<std::string> there;
        for (std::string const& e : read_list(*value)) { there.insert(e.substr(0, e.find('='))); }
        std::set<std::string> expected{"a", "b", "c"};
        for (element_verb const verb : {element_verb::insert, element_verb::remove}) {
            for (author_deeds const& a : all) {
                for (deed const& d : a.deeds) {
                    auto const edits = decode_element_edits(d.value);
                    for (element_edit const& e : *edits) {
                        if (e.verb != verb) { continue; }
                        std::string id{cbor_reader{e.identity}.text()};
                        if (verb == element_verb::insert) {
                            expected.insert(std::move(id));
                        } else {
                            expected.erase(id);
                        }
                    }
                }
            }
        }
        if (!std::equal(there.begin(), there.end(), expected.begin(), expected.end())) { FAIL("lost or twice"); }
    };
    for (deed const& x : list_deeds("p", true)) {
        for (deed const& y : list_deeds("q", true)) {
            for (deed const& z : list_deeds("r", false)) { check({{2, {5}, {x}}, {3, {4}, {y}}, {4, {5}, {z}}}); }
        }
    }
    bool const full = std::getenv("SYNCLINE_LONG") != nullptr;
    for (deed const& x : list_deeds("p", full)) {
        for (deed const& y : list_deeds("q", full)) {
            for (deed const& z : list_deeds("r", full)) {
                for (deed const& w : list_deeds("s", full)) { check({{2, {5, 7}, {x, y}}, {3, {4, 6}, {z, w}}}); }
            }
        }
    }
}

TEST_CASE("elements: of two who insert one identity the later has said what it is, in every order") {
    bytes const before = array_item({element("a", "1")});
    bytes const a = text_item("a");
    bytes const cake = text_item("cake");
    bytes const two = element("cake", "2");
    bytes const five = element("cake", "5");
    deed const first{op_kind::elements, edits_item({{element_verb::insert, cake, {}, two}})};
    deed const later{op_kind::elements, edits_item({{element_verb::insert, cake, a, five}})};
    deed const edit{op_kind::elements, edits_item({{element_verb::edit, cake, {}, element("cake", "9")}})};
    deed const remove{op_kind::elements, edits_item({{element_verb::remove, cake, {}, {}}})};
    auto const rules = ruled(rule::list);
    std::optional<bytes> value;
    // It stays where it was put first, as those who stand behind it have found it there.
    REQUIRE(order_free(before, {{2, {5}, {first}}, {3, {6}, {later}}}, rules, value));
    CHECK(read_list(*value) == std::vector<std::string>{"cake=5", "a=1"});
    REQUIRE(order_free(before, {{2, {7}, {first}}, {3, {6}, {later}}}, rules, value));
    CHECK(read_list(*value) == std::vector<std::string>{"a=1", "cake=2"});
    // At one time the author's number decides, as everywhere.
    REQUIRE(order_free(before, {{2, {6}, {first}}, {3, {6}, {later}}}, rules, value));
    CHECK(read_list(*value) == std::vector<std::string>{"cake=5", "a=1"});
    // Edits of it by their stamps, before the other's insertion too.
    REQUIRE(order_free(before, {{2, {5, 6}, {first, edit}}, {3, {7}, {later}}}, rules, value));
    CHECK(read_list(*value) == std::vector<std::string>{"cake=5", "a=1"});
    REQUIRE(order_free(before, {{2, {5, 8}, {first, edit}}, {3, {7}, {later}}}, rules, value));
    CHECK(read_list(*value) == std::vector<std::string>{"cake=9", "a=1"});
    // One that was removed is inserted anew.
    REQUIRE(order_free(before, {{2, {5, 6}, {first, remove}}, {3, {7}, {later}}}, rules, value));
    CHECK(read_list(*value) == std::vector<std::string>{"a=1", "cake=5"});
}

TEST_CASE("elements: runs that two people insert at one place stay together") {
    bytes const before = array_item({element("a", "1")});
    auto const run = [&](std::string const& who) {
        bytes const first = element(who + "1", "");
        bytes const second = element(who + "2", "");
        bytes const first_id = text_item(who + "1");
        bytes const a = text_item("a");
        return deed{op_kind::elements, edits_item({{element_verb::insert, first_id, a, first},
                                                   {element_verb::insert, text_item(who + "2"), first_id, second}})};
    };
    deed const p = run("p");
    deed const q = run("q");
    std::optional<bytes> value;
    REQUIRE(order_free(before, {{2, {5}, {p}}, {3, {6}, {q}}}, ruled(rule::list), value));
    CHECK(read_list(*value) == std::vector<std::string>{"a=1", "q1=", "q2=", "p1=", "p2="});
}

TEST_CASE("elements: only so many operations on a list are kept; older ones are fixed") {
    auto r = start(array_item({}));
    auto const rules = ruled(rule::list);
    bytes last;
    for (std::uint64_t n = 0; n != 2 * list_operations_max; ++n) {
        std::string const id = "e" + std::to_string(n);
        bytes const item = element(id, "");
        bytes const me = text_item(id);
        auto const out =
            lay(r, 2, n + 2, n + 1, 10 + n,
                {{"f", op_kind::elements, edits_item({{element_verb::insert, me, last, item}}), {}}}, rules);
        REQUIRE(out.changed);
        last = me;
    }
    auto const list = read_list(*value_of(r));
    REQUIRE(list.size() == 2 * list_operations_max);
    CHECK(list.front() == "e0=");
    CHECK(list.back() == "e127=");
    CHECK(r->exceptions.size() == list_operations_max + 1);
    // A row with marks inside of a field goes through storage.
    bytes raw;
    cbor_writer w{raw};
    encode_row(w, *r);
    cbor_reader in{raw};
    row const again = decode_row(in);
    REQUIRE(in.finish());
    CHECK(again == *r);
}

TEST_CASE("elements: siblings stay beside each other until somebody who has seen them writes") {
    auto const rules = ruled(rule::siblings);
    std::vector<deed> deeds;
    for (std::string const& n : names) { deeds.push_back({op_kind::set, array_item({text_item(n)})}); }
    deeds.push_back({op_kind::unset, {}});
    for (deed const& x : deeds) {
        for (deed const& y : deeds) {
            for (deed const& z : deeds) {
                for (deed const& w : deeds) {
                    std::optional<bytes> value;
                    bool const free = order_free(array_item({text_item("a")}),
                                                 {{2, {5, 7}, {x, y}}, {3, {4}, {z}}, {4, {6}, {w}}}, rules, value);
                    if (!free) { FAIL("order matters"); }
                }
            }
        }
    }
    auto r = start(array_item({text_item("old")}));
    (void)lay(r, 2, 2, 1, 5, {{"f", op_kind::set, array_item({text_item("x")}), {}}}, rules);
    (void)lay(r, 3, 3, 1, 6, {{"f", op_kind::set, array_item({text_item("y")}), {}}}, rules);
    CHECK(read_list(*value_of(r)) == std::vector<std::string>{"x", "y"});
    (void)lay(r, 2, 4, 3, 7, {{"f", op_kind::set, array_item({text_item("z")}), {}}}, rules);
    CHECK(read_list(*value_of(r)) == std::vector<std::string>{"z"});
    // Who took all away is told of too.
    (void)lay(r, 3, 5, 4, 8, {{"f", op_kind::unset, {}, {}}}, rules);
    CHECK(lay(r, 2, 6, 4, 9, {{"f", op_kind::set, array_item({text_item("w")}), {}}}, rules).decisions.size() == 1);
    CHECK(read_list(*value_of(r)) == std::vector<std::string>{"w"});
}

TEST_CASE("elements: what is no array is replaced by siblings, whoever has seen it") {
    auto const rules = ruled(rule::siblings);
    for (bytes const& was : {text_item("from before the rule"), number_item(4)}) {
        auto r = start(was);
        CHECK(lay(r, 2, 2, 1, 5, {{"f", op_kind::set, array_item({text_item("x")}), {}}}, rules).changed);
        CHECK(read_list(*value_of(r)) == std::vector<std::string>{"x"});
        r = start(was);
        CHECK(lay(r, 2, 2, 1, 5, {{"f", op_kind::unset, {}, {}}}, rules).changed);
        CHECK_FALSE(value_of(r));
    }
}

TEST_CASE("elements: a field goes on when its rule becomes another, with nothing in it that nobody put there") {
    // A list's operation is no element, although an older set of the whole meets it.
    auto r = start(array_item({text_item("a"), text_item("b")}));
    bytes const a = text_item("a"), b = text_item("b"), c = text_item("c"), d = text_item("d"), z = text_item("z");
    (void)lay(r, 2, 2, 1, 20, {{"f", op_kind::elements, edits_item({{element_verb::insert, c, b, c}}), {}}},
              ruled(rule::list));
    (void)lay(r, 3, 3, 2, 21, {{"f", op_kind::elements, edits_item({{element_verb::add, d, {}, d}}), {}}},
              ruled(rule::add_wins));
    CHECK(read_list(*value_of(r)) == std::vector<std::string>{"a", "b", "c", "d"});
    (void)lay(r, 4, 4, 1, 15, {{"f", op_kind::set, array_item({z}), {}}}, ruled(rule::add_wins));
    CHECK(read_list(*value_of(r)) == std::vector<std::string>{"a", "b", "c", "d"});
    (void)lay(r, 4, 5, 1, 30, {{"f", op_kind::set, array_item({z}), {}}}, ruled(rule::add_wins));
    CHECK(read_list(*value_of(r)) == std::vector<std::string>{"z"});
    // A set's element is no operation on a list.
    r = start(array_item({a}));
    (void)lay(r, 2, 2, 1, 20, {{"f", op_kind::elements, edits_item({{element_verb::add, b, {}, b}}), {}}},
              ruled(rule::add_wins));
    (void)lay(r, 3, 3, 2, 21, {{"f", op_kind::elements, edits_item({{element_verb::insert, c, {}, c}}), {}}},
              ruled(rule::list));
    CHECK(read_list(*value_of(r)) == std::vector<std::string>{"c", "a", "b"});

    // Whatever the rules become, of what an array holds each item is one that somebody put in, and no edit that can be made
    // of what is there is refused.
    random_generator dice{3};
    rule const all[] = {rule::list, rule::add_wins, rule::remove_wins, rule::siblings, rule::last_writer};
    std::vector<std::string> const known{"a", "b", "c", "d", "e"};
    for (int round = 0; round < rounds(3'000); ++round) {
        auto const some = [&] {
            std::vector<bytes> items;
            for (std::string const& n : known) {
                if (dice() % 2 == 0) { items.push_back(text_item(n)); }
            }
            return array_item(items);
        };
        auto held = start(some());
        std::vector<bytes> states{{}, held->fields};
        rule by = all[dice() % 5];
        for (position at = 2; at != 12; ++at) {
            if (dice() % 3 == 0) { by = all[dice() % 5]; }
            position const base = dice() % 2 == 0 ? at - 1 : 1 + dice() % (at - 1);
            bytes const next = map_item({{"f", some()}});
            auto ops = diff(states[base], next, ruled(by), timestamp{5 + dice() % 20});
            REQUIRE(ops);
            if (!ops->empty()) {
                auto const author = static_cast<author_index>(1 + dice() % 3);
                auto const out = lay(held, author, at, base, 5 + dice() % 20, *ops, ruled(by));
                REQUIRE(out.verdict != verdict_kind::rejected);
            }
            REQUIRE(validate_fields(held->fields));
            if (auto const value = value_of(held)) {
                for (std::string const& n : read_list(*value)) {
                    REQUIRE(std::find(known.begin(), known.end(), n) != known.end());
                }
            }
            states.push_back(held->fields);
        }
    }
}

TEST_CASE("elements: a difference of sets or lists, applied, is the other one") {
    random_generator dice{5};
    for (int round = 0; round < rounds(3'000); ++round) {
        auto const some = [&](bool list) {
            std::vector<bytes> items;
            std::set<std::uint64_t> used;
            for (std::uint64_t n = dice() % 6; n != 0; --n) {
                std::uint64_t const id = dice() % 8;
                if (!used.insert(id).second) { continue; }
                std::string const name = std::to_string(id);
                items.push_back(list ? element(name, dice() % 2 == 0 ? "x" : "y") : text_item(name));
            }
            if (!list) { std::sort(items.begin(), items.end()); }
            return array_item(items);
        };
        for (bool const list : {false, true}) {
            bytes const before = some(list);
            bytes const after = some(list);
            auto const edits = list ? diff_list(before, after) : diff_set(before, after);
            REQUIRE(edits);
            auto r = start(before);
            auto const out =
                lay(r, 2, 2, 1, 5, {{"f", op_kind::elements, *edits, {}}}, ruled(list ? rule::list : rule::add_wins));
            REQUIRE(out.verdict == verdict_kind::applied);
            if (*value_of(r) != after) { FAIL("not the other one"); }
        }
    }
}

TEST_CASE("elements: what is no edit, has no identity or another rule's verbs is refused") {
    auto const lists = ruled(rule::list);
    auto const sets = ruled(rule::add_wins);
    bytes const x = text_item("x");
    auto const verdict = [&](bytes const& value, collection_rules const& rules, bytes const& before = array_item({})) {
        auto r = start(before);
        auto const held = r;
        auto const out = lay(r, 2, 2, 1, 5, {{"f", op_kind::elements, value, {}}}, rules);
        CHECK(out.verdict == verdict_kind::rejected);
        CHECK(r == held);
        return out.reason;
    };
    CHECK(verdict(number_item(3), sets) == errc::type_mismatch);
    CHECK(verdict(array_item({array_item({number_item(9), x})}), sets) == errc::unsupported);
    CHECK(verdict(array_item({array_item({number_item(1), x, x})}), sets) == errc::malformed);
    CHECK(verdict(edits_item({{element_verb::move, x, {}, {}}}), sets) == errc::type_mismatch);
    CHECK(verdict(edits_item({{element_verb::add, x, {}, x}}), lists) == errc::type_mismatch);
    CHECK(verdict(edits_item({{element_verb::add, x, {}, x}}), sets, text_item("a text")) == errc::type_mismatch);
    CHECK(verdict(edits_item({{element_verb::remove, x, {}, {}}}), lists, array_item({x, x})) == errc::type_mismatch);
    bytes const nameless = map_item({{"no", x}});
    CHECK(verdict(edits_item({{element_verb::insert, x, {}, nameless}}), lists) == errc::invalid);
    CHECK(verdict(edits_item({{element_verb::edit, x, {}, element("y", "")}}), lists) == errc::invalid);
    CHECK(verdict(edits_item({{element_verb::add, x, {}, x}}), ruled(rule::counter)) == errc::type_mismatch);
    CHECK(element_identity(map_item({{"id", x}, {"no", x}})).size() == x.size());
    CHECK_FALSE(diff_list(array_item({x, x}), array_item({x})));
    CHECK_FALSE(diff_set(x, array_item({})));
}
