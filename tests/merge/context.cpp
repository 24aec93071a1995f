// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"
#include "support/sanitized.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/merge/rule_codec.hpp>
#include <syncline/merge/three_way.hpp>

#include "merge/folding.hpp"

using namespace syncline;
using namespace folding;

namespace {

std::optional<row> record(bytes fields) {
    row r;
    r.version = 1;
    r.floor.at = 1;
    r.fields = std::move(fields);
    return r;
}
field_op set(std::string_view f, bytes v) { return {std::string{f}, op_kind::set, std::move(v), {}}; }
std::optional<std::int64_t> number(std::optional<bytes> const& b) { return b ? detail::integer_of(*b) : std::nullopt; }
std::optional<std::int64_t> number(bytes_view b) { return detail::integer_of(b); }

/// "An end is not before its beginning."
guard_answer in_order(guard_input const& in, void const*) {
    auto const from = in.new_value("from");
    auto const to = in.new_value("to");
    bool const ok = !from || !to || number(*from).value_or(0) <= number(*to).value_or(0);
    return {ok ? guard_answer::kind::accept : guard_answer::kind::veto, {}};
}
/// "A draft can't replace what was approved."
guard_answer approved(guard_input const& in, void const*) {
    auto const old = in.old_value("state");
    auto const now = in.new_value("state");
    bool const back = old && now && equal(*old, text_item("approved")) && equal(*now, text_item("draft"));
    return {back ? guard_answer::kind::escalate : guard_answer::kind::accept, {}};
}
/// "What is paid is never more than the price": repaired.
guard_answer paid(guard_input const& in, void const*) {
    auto const price = in.new_value("price");
    auto const sum = in.new_value("paid");
    if (!price || !sum || number(*sum).value_or(0) <= number(*price).value_or(0)) { return {}; }
    return {guard_answer::kind::repair, {set("paid", to_bytes(*price))}};
}

collection_rules const plain{"things", rule::last_writer, {{"asked", rule::manual}}};

}  // namespace

TEST_CASE("context: a guard refuses a merge: a conflict, never a silent loss; what met nobody is rejected") {
    merge_host host;
    host.guards = {{"in order", {"from", "to"}, in_order, nullptr}};
    auto r = record(map_item({{"to", number_item(20)}, {"from", number_item(10)}}));
    CHECK(lay(r, 2, 2, 1, 5, {set("to", number_item(12))}, plain, &host).verdict == verdict_kind::applied);
    auto const held = r;
    // Alone it would be right; together with the other it is not.
    auto const met = lay(r, 3, 3, 1, 6, {set("from", number_item(15))}, plain, &host);
    CHECK(met.verdict == verdict_kind::conflict);
    CHECK(met.guard == "in order");
    REQUIRE(met.decisions.size() == 1);
    CHECK(met.decisions[0].field == "from");
    CHECK(met.decisions[0].won == winner::nobody);
    CHECK(met.decisions[0].why == reason::guarded);
    CHECK(r == held);
    auto const alone = lay(r, 3, 3, 2, 6, {set("from", number_item(15))}, plain, &host);
    CHECK(alone.verdict == verdict_kind::rejected);
    CHECK(alone.reason == errc::forbidden);
    CHECK(r == held);
    // Not its business.
    CHECK(lay(r, 3, 3, 1, 6, {set("note", number_item(1))}, plain, &host).changed);
}

TEST_CASE("context: a guard escalates or repairs, and its repair is told") {
    merge_host host;
    host.guards = {{"approved", {"state"}, approved, nullptr}, {"paid", {"paid", "price"}, paid, nullptr}};
    auto r = record(map_item({{"paid", number_item(5)}, {"price", number_item(10)}, {"state", text_item("approved")}}));
    auto const held = r;
    auto const back = lay(r, 2, 2, 1, 5, {set("state", text_item("draft"))}, plain, &host);
    CHECK(back.verdict == verdict_kind::conflict);
    CHECK(back.guard == "approved");
    CHECK(r == held);
    auto const cheaper = lay(r, 2, 2, 1, 5, {set("price", number_item(3))}, plain, &host);
    CHECK(cheaper.verdict == verdict_kind::merged);
    REQUIRE(cheaper.decisions.size() == 1);
    CHECK(cheaper.decisions[0].won == winner::guard);
    CHECK(number(value_of(r, "paid")) == 3);
    CHECK(r->mark_of("paid").at == 2);
}

TEST_CASE("context: a reference to nothing is refused") {
    merge_host host;
    host.exists = [](std::string_view collection, bytes_view id, void const*) {
        return collection == "venues" && as_text(id) == "hall";
    };
    collection_rules rules = plain;
    rules.references = {{"venue", "venues"}};
    auto r = record(map_item({{"venue", text_item("hall")}}));
    CHECK(lay(r, 2, 2, 1, 5, {set("venue", text_item("garden"))}, rules, &host).reason == errc::not_found);
    CHECK(lay(r, 2, 2, 1, 5, {set("note", text_item("x"))}, rules, &host).changed);
    auto const met = lay(r, 3, 3, 1, 6, {set("venue", text_item("garden"))}, rules, &host);
    CHECK(met.verdict == verdict_kind::conflict);  // somebody else was there: a person sees both
    REQUIRE(met.decisions.size() == 1);
    CHECK(met.decisions[0].why == reason::reference);
    bytes const null_item{std::byte{0xF6}};
    CHECK(lay(r, 3, 3, 1, 6, {set("venue", null_item)}, rules, &host).changed);
}

TEST_CASE("context: the writer of the higher role wins, whoever comes first") {
    merge_host host;
    host.role_of = [](author_index who, void const*) { return who == 3 ? 2U : 1U; };
    collection_rules const rules{"things", rule::role, {}};
    std::optional<bytes> value;
    auto const write = [](std::int64_t n) { return deed{op_kind::set, number_item(n)}; };
    REQUIRE(order_free(number_item(0), {{2, {9}, {write(2)}}, {3, {5}, {write(3)}}, {4, {7}, {write(4)}}}, rules, value,
                       &host));
    CHECK(number(value) == 3);
    REQUIRE(order_free(number_item(0), {{2, {9}, {write(2)}}, {4, {7}, {write(4)}}}, rules, value, &host));
    CHECK(number(value) == 2);
}

TEST_CASE("context: a wish is granted, unless a person must decide") {
    for (merge_hint const hint : {merge_hint::merge, merge_hint::local, merge_hint::remote}) {
        auto r = record(map_item({{"name", number_item(0)}, {"asked", number_item(0)}}));
        (void)lay(r, 2, 2, 1, 9, {set("name", number_item(1))}, plain);
        auto const out = lay(r, 3, 3, 1, 5, {set("name", number_item(2))}, plain, nullptr, hint);
        CHECK(number(value_of(r, "name")) == (hint == merge_hint::local ? 2 : 1));
        REQUIRE(out.decisions.size() == 1);
        CHECK(out.decisions[0].why == (hint == merge_hint::merge ? reason::by_time : reason::by_hint));
        (void)lay(r, 2, 4, 1, 9, {set("asked", number_item(1))}, plain);
        CHECK(lay(r, 3, 5, 1, 99, {set("asked", number_item(2))}, plain, nullptr, hint).verdict ==
              verdict_kind::conflict);
    }
}

TEST_CASE("context: a deletion and an edit: the one wins, the other, or a person") {
    auto const edit = [](std::optional<row>& r, position at, position base, collection_rules const& rules) {
        return lay(r, 2, at, base, 5, {set("name", number_item(7))}, rules);
    };
    auto const erase = [](std::optional<row>& r, position at, position base, collection_rules const& rules) {
        return lay(r, 3, at, base, 6, {}, rules, nullptr, merge_hint::merge, change_kind::erase);
    };
    for (deletion const by : {deletion::wins, deletion::loses, deletion::manual}) {
        collection_rules rules = plain;
        rules.deletes = by;
        auto const begin = record(map_item({{"name", number_item(0)}, {"other", number_item(1)}}));
        auto one = begin;
        CHECK(edit(one, 2, 1, rules).verdict == verdict_kind::applied);
        auto const held = one;
        auto const gone = erase(one, 3, 1, rules);
        auto two = begin;
        CHECK(erase(two, 2, 1, rules).verdict == verdict_kind::applied);
        auto const late = edit(two, 3, 1, rules);
        if (by == deletion::wins) {
            CHECK(one->deleted);
            CHECK(two->deleted);
            CHECK(two->fields.empty());
            CHECK(late.verdict == verdict_kind::overruled);
        } else if (by == deletion::loses) {
            CHECK(gone.verdict == verdict_kind::overruled);
            CHECK_FALSE(two->deleted);
            CHECK(two->fields == one->fields);
            CHECK(number(value_of(two, "other")) == 1);
        } else {
            CHECK(gone.verdict == verdict_kind::conflict);
            CHECK(one == held);
            CHECK(late.verdict == verdict_kind::conflict);
            CHECK(two->deleted);
        }
        // Who has seen the deletion does not bring it back; who deletes what they have seen deletes.
        auto seen = begin;
        CHECK(erase(seen, 2, 1, rules).changed);
        CHECK(edit(seen, 3, 2, rules).verdict == verdict_kind::overruled);
        CHECK(seen->deleted);
        // A tombstone that keeps its fields goes through storage.
        bytes raw;
        cbor_writer w{raw};
        encode_row(w, *seen);
        cbor_reader in{raw};
        CHECK(decode_row(in) == *seen);
        CHECK(in.finish());
    }
}

TEST_CASE("context: a group or a whole record is decided once") {
    collection_rules grouped = plain;
    grouped.groups = {{"money", rule::last_writer, {"amount", "currency"}}};
    REQUIRE(validate(grouped).has_value());
    bytes const base =
        map_item({{"note", number_item(0)}, {"amount", number_item(100)}, {"currency", text_item("CHF")}});
    bytes const local =
        map_item({{"note", number_item(1)}, {"amount", number_item(90)}, {"currency", text_item("CHF")}});
    bytes const remote =
        map_item({{"note", number_item(0)}, {"amount", number_item(100)}, {"currency", text_item("EUR")}});
    side const early{timestamp{5}, 1};
    side const late{timestamp{6}, 2};
    auto const a = three_way(base, local, remote, grouped, late, early);
    CHECK(a->record == local);
    CHECK(std::any_of(a->decisions.begin(), a->decisions.end(),
                      [](decision const& d) { return d.why == reason::by_group; }));
    auto const b = three_way(base, local, remote, grouped, early, late);
    CHECK(b->record ==
          map_item({{"note", number_item(1)}, {"amount", number_item(100)}, {"currency", text_item("EUR")}}));
    CHECK(three_way(base, local, base, grouped)->record == local);
    CHECK(three_way(base, base, remote, grouped)->record == remote);

    collection_rules whole = plain;
    whole.whole = rule::last_writer;
    CHECK(three_way(base, local, remote, whole, late, early)->record == local);
    CHECK(three_way(base, local, remote, whole, early, late)->record == remote);
    whole.whole = rule::manual;
    auto const asked = three_way(base, local, remote, whole, late, early);
    CHECK(asked->record == remote);
    CHECK_FALSE(asked->conflicts.empty());
}

TEST_CASE("context: nested fields are decided one by one, however deep, and their marks are their own") {
    collection_rules rules{"things", rule::last_writer, {}};
    rules.fields = {{"f", rule::nested, {{"n", rule::counter}, {"s", rule::add_wins}, {"m", rule::nested}}}};
    REQUIRE(validate(rules).has_value());
    auto const nested = [](std::vector<field_op> ops) {
        bytes out;
        cbor_writer w{out};
        w.array(ops.size());
        for (field_op const& op : ops) { encode_operation(w, op, op.stamp); }
        return out;
    };
    bytes const x = text_item("x");
    std::vector<deed> deeds;
    deeds.push_back({op_kind::nested, nested({{"a", op_kind::set, number_item(1), {}}})});
    deeds.push_back(
        {op_kind::nested, nested({{"a", op_kind::unset, {}, {}}, {"n", op_kind::add, number_item(2), {}}})});
    deeds.push_back({op_kind::nested, nested({{"n", op_kind::add, number_item(3), {}}})});
    deeds.push_back(
        {op_kind::nested, nested({{"s", op_kind::elements, edits_item({{element_verb::add, x, {}, x}}), {}}})});
    deeds.push_back(
        {op_kind::nested, nested({{"s", op_kind::elements, edits_item({{element_verb::remove, x, {}, {}}}), {}}})});
    deeds.push_back(
        {op_kind::nested, nested({{"m", op_kind::nested, nested({{"k", op_kind::set, number_item(5), {}}}), {}}})});
    deeds.push_back(
        {op_kind::nested, nested({{"m", op_kind::nested, nested({{"k", op_kind::set, number_item(6), {}}}), {}}})});
    bytes const before =
        map_item({{"a", number_item(0)}, {"m", map_item({{"k", number_item(0)}})}, {"s", array_item({})}});
    for (deed const& p : deeds) {
        for (deed const& q : deeds) {
            for (deed const& r : deeds) {
                for (deed const& s : deeds) {
                    std::optional<bytes> value;
                    if (!order_free(before, {{2, {5, 8}, {p, q}}, {3, {6}, {r}}, {4, {7}, {s}}}, rules, value)) {
                        FAIL("order matters");
                    }
                }
            }
        }
    }
    // So deep and no deeper.
    bytes deep = nested({{"a", op_kind::set, number_item(1), {}}});
    for (std::size_t i = 0; i != nested_depth_max + 2; ++i) { deep = nested({{"a", op_kind::nested, deep, {}}}); }
    auto r = start(map_item({}));
    CHECK(lay(r, 2, 2, 1, 5, {{"f", op_kind::nested, deep, {}}}, rules).verdict == verdict_kind::rejected);
    CHECK(lay(r, 2, 2, 1, 5, {{"f", op_kind::nested, number_item(1), {}}}, rules).reason == errc::type_mismatch);
}

TEST_CASE("context: by the authority's time who comes second is sent back, and applies again") {
    collection_rules const rules{"things", rule::authority_time, {}};
    auto r = record(map_item({{"name", number_item(0)}}));
    CHECK(lay(r, 2, 2, 1, 5, {set("name", number_item(1))}, rules).changed);
    auto const held = r;
    CHECK(lay(r, 3, 3, 1, 99, {set("name", number_item(2))}, rules).reason == errc::contended);
    CHECK(r == held);
    CHECK(lay(r, 3, 3, 2, 4, {set("name", number_item(2))}, rules).changed);
    bytes const b = map_item({{"name", number_item(0)}});
    auto const m = three_way(b, map_item({{"name", number_item(1)}}), map_item({{"name", number_item(2)}}), rules);
    CHECK(m->record == map_item({{"name", number_item(2)}}));
    REQUIRE(m->decisions.size() == 1);
    CHECK(m->decisions[0].won == winner::confirmed);
}

namespace {

/// What a guard of a test was asked, and so often.
struct asked {
    mutable int times = 0;
};
/// "Never", whatever it is; gives up in the end, so that a merge that asks for ever fails instead of hanging.
guard_answer never(guard_input const&, void const* data) {
    int const n = ++static_cast<asked const*>(data)->times;
    return {n < 1000 ? guard_answer::kind::veto : guard_answer::kind::accept, {}};
}
guard_answer always_ask(guard_input const&, void const* data) {
    int const n = ++static_cast<asked const*>(data)->times;
    return {n < 1000 ? guard_answer::kind::escalate : guard_answer::kind::accept, {}};
}
template <std::int64_t N>
guard_answer make_it(guard_input const& in, void const*) {
    auto const is = in.new_value("n");
    if (is && number(*is) == N) { return {}; }
    return {guard_answer::kind::repair, {set("n", number_item(N))}};
}
bool holds(std::vector<std::string> const& all, std::string_view one) {
    return std::find(all.begin(), all.end(), one) != all.end();
}
bool claims_repair(std::vector<decision> const& all) {
    return std::any_of(all.begin(), all.end(), [](decision const& d) { return d.won == winner::guard; });
}

}  // namespace

TEST_CASE("context: a guard that refuses whatever comes leaves the remote side, and ends") {
    bytes const base = map_item({{"a", number_item(0)}, {"b", number_item(0)}, {"c", number_item(0)}});
    bytes const local = map_item({{"a", number_item(1)}, {"b", number_item(1)}, {"c", number_item(0)}});
    bytes const remote = map_item({{"a", number_item(0)}, {"b", number_item(2)}, {"c", number_item(3)}});
    for (auto* const judge : {never, always_ask}) {
        asked count;
        merge_host host;
        host.guards = {{"never", {}, judge, &count}};
        for (bytes const& mine : {local, base}) {
            count.times = 0;
            auto const m = three_way(base, mine, remote, plain, {timestamp{6}, 1}, {timestamp{5}, 2}, &host);
            REQUIRE(m.has_value());
            CHECK(count.times < 100);
            CHECK(m->record == remote);
            CHECK(holds(m->conflicts, "a") == (mine != base));
            for (decision const& d : m->decisions) { CHECK(d.won == winner::nobody); }
        }
        // Nobody was met: no merge to be decided, but a change that may not be, or that somebody must approve.
        count.times = 0;
        auto const alone = three_way(base, local, base, plain, {timestamp{6}, 1}, {timestamp{5}, 2}, &host);
        CHECK(count.times < 100);
        if (judge == never) {
            CHECK(alone.error() == errc::forbidden);
        } else {
            REQUIRE(alone.has_value());
            CHECK(alone->record == base);
            CHECK(holds(alone->conflicts, "a"));
            CHECK(holds(alone->conflicts, "b"));
        }
    }
}

TEST_CASE("context: what a person must decide does not hide what guards say of the rest") {
    merge_host host;
    host.guards = {{"paid", {"paid", "price"}, paid, nullptr}};
    auto const with = [](std::int64_t question, std::int64_t sum, std::int64_t price) {
        return map_item({{"paid", number_item(sum)}, {"asked", number_item(question)}, {"price", number_item(price)}});
    };
    auto const m =
        three_way(with(0, 5, 10), with(1, 5, 3), with(2, 6, 10), plain, {timestamp{6}, 1}, {timestamp{5}, 2}, &host);
    REQUIRE(m.has_value());
    CHECK(m->conflicts == std::vector<std::string>{"asked"});
    CHECK(m->record == with(2, 3, 3));
    CHECK(claims_repair(m->decisions));

    // And one that refuses only what is left is told, too.
    host.guards = {{"in order", {"from", "to"}, in_order, nullptr}};
    auto const span = [](std::int64_t question, std::int64_t from, std::int64_t to) {
        return map_item({{"to", number_item(to)}, {"from", number_item(from)}, {"asked", number_item(question)}});
    };
    auto const refused = three_way(span(0, 10, 20), span(1, 15, 20), span(2, 10, 12), plain, {timestamp{6}, 1},
                                   {timestamp{5}, 2}, &host);
    REQUIRE(refused.has_value());
    CHECK(refused->record == span(2, 10, 12));
    CHECK(holds(refused->conflicts, "asked"));
    CHECK(holds(refused->conflicts, "from"));
    CHECK(std::any_of(refused->decisions.begin(), refused->decisions.end(), [](decision const& d) {
        return d.field == "from" && d.won == winner::nobody && d.why == reason::guarded;
    }));
}

TEST_CASE("context: what wins together is refused together") {
    collection_rules grouped = plain;
    grouped.groups = {{"money", rule::last_writer, {"amount", "currency"}}};
    merge_host host;
    host.guards = {{"enough",
                    {"amount", "rate"},
                    [](guard_input const& in, void const*) {
                        auto const amount = in.new_value("amount");
                        auto const rate = in.new_value("rate");
                        bool const ok =
                            !amount || !rate || number(*amount).value_or(0) * number(*rate).value_or(0) <= 100;
                        return guard_answer{ok ? guard_answer::kind::accept : guard_answer::kind::veto, {}};
                    },
                    nullptr}};
    auto const with = [](std::int64_t note, std::int64_t rate, std::int64_t amount, std::string_view currency) {
        return map_item({{"note", number_item(note)},
                         {"rate", number_item(rate)},
                         {"amount", number_item(amount)},
                         {"currency", text_item(currency)}});
    };
    for (std::optional<rule> const whole : {std::optional<rule>{}, std::optional<rule>{rule::last_writer}}) {
        grouped.whole = whole;
        auto const m = three_way(with(0, 1, 50, "CHF"), with(1, 1, 100, "EUR"), with(0, 2, 50, "CHF"), grouped,
                                 {timestamp{6}, 1}, {timestamp{5}, 2}, &host);
        REQUIRE(m.has_value());
        if (whole) {
            CHECK(m->record == with(1, 1, 100, "EUR"));  // the later record, whole
            continue;
        }
        CHECK(m->record == with(1, 2, 50, "CHF"));
        CHECK(holds(m->conflicts, "amount"));
        CHECK(holds(m->conflicts, "currency"));
        CHECK(m->conflicts.size() == 2);
    }
}

namespace {

std::vector<std::string> asked_of(std::vector<decision> const& all, reason why = reason::guarded) {
    std::vector<std::string> out;
    for (decision const& d : all) {
        if (d.won == winner::nobody && d.why == why) { out.push_back(d.field); }
    }
    return out;
}
using names = std::vector<std::string>;
/// No more than `Most` in a field; the guard's data is the field's name.
template <std::int64_t Most>
guard_answer at_most(guard_input const& in, void const* field) {
    auto const is = in.new_value(static_cast<char const*>(field));
    bool const ok = !is || number(*is).value_or(0) <= Most;
    return {ok ? guard_answer::kind::accept : guard_answer::kind::veto, {}};
}

}  // namespace

TEST_CASE("context: of a change that a guard refuses what touches nothing that the guard reads takes effect") {
    auto const with = [](std::int64_t others, std::int64_t from, std::int64_t to) {
        return map_item({{"f1", number_item(others)},
                         {"f2", number_item(others)},
                         {"to", number_item(to)},
                         {"zz", number_item(others)},
                         {"from", number_item(from)}});
    };
    merge_host host;
    for (names const& reads : {names{"to", "from"}, names{"from", "to"}}) {
        host.guards = {{"in order", reads, in_order, nullptr}};
        auto const m = three_way(with(0, 10, 20), with(1, 18, 20), with(0, 10, 15), plain, {timestamp{6}, 1},
                                 {timestamp{5}, 2}, &host);
        REQUIRE(m.has_value());
        CHECK(m->record == with(1, 10, 15));
        CHECK(m->conflicts == names{"from"});
        CHECK(asked_of(m->decisions) == names{"from"});

        auto r = record(with(0, 10, 20));
        REQUIRE(lay(r, 2, 2, 1, 5, {set("to", number_item(15))}, plain, &host).changed);
        auto const met = lay(r, 3, 3, 1, 6,
                             {set("f1", number_item(1)), set("f2", number_item(1)), set("zz", number_item(1)),
                              set("from", number_item(18))},
                             plain, &host);
        CHECK(met.verdict == verdict_kind::conflict);
        CHECK(met.decisions.size() == 1);
        CHECK(asked_of(met.decisions) == names{"from"});

        // Both fields of the guard were touched: both are the person's, also the one that the other side has won.
        auto const both = three_way(with(0, 10, 20), with(1, 18, 30), with(0, 10, 15), plain, {timestamp{4}, 1},
                                    {timestamp{5}, 2}, &host);
        REQUIRE(both.has_value());
        CHECK(both->record == with(1, 10, 15));
        CHECK(both->conflicts == names{"to", "from"});
    }
}

TEST_CASE("context: each guard that refuses a part of a change says so at once") {
    merge_host host;
    host.guards = {{"few", {"aa"}, at_most<5>, "aa"}, {"fewer", {"bb"}, at_most<4>, "bb"}};
    auto const with = [](std::int64_t a, std::int64_t b, std::int64_t c) {
        return map_item({{"aa", number_item(a)}, {"bb", number_item(b)}, {"cc", number_item(c)}});
    };
    collection_rules counted = plain;
    counted.fields = {{"aa", rule::counter}, {"bb", rule::counter}, {"cc", rule::manual}};
    auto const add = [](std::string_view f, std::int64_t n) {
        return field_op{std::string{f}, op_kind::add, number_item(n), {}};
    };
    auto r = record(with(1, 1, 1));
    REQUIRE(lay(r, 2, 2, 1, 5, {add("aa", 3), add("bb", 3), set("cc", number_item(2))}, counted, &host).changed);
    auto const held = r;
    auto const met = lay(r, 3, 3, 1, 6, {add("aa", 3), add("bb", 3)}, counted, &host);
    CHECK(met.verdict == verdict_kind::conflict);
    CHECK(asked_of(met.decisions) == names{"aa", "bb"});
    CHECK(met.guard == "few, fewer");
    CHECK(r == held);
    // Beside what the rules leave open, too.
    auto const all = lay(r, 3, 3, 1, 6, {add("aa", 1), add("bb", 3), set("cc", number_item(3))}, counted, &host);
    CHECK(all.verdict == verdict_kind::conflict);
    CHECK(asked_of(all.decisions) == names{"bb"});
    CHECK(asked_of(all.decisions, reason::asked) == names{"cc"});
    CHECK(all.guard == "fewer");
    CHECK(r == held);
}

TEST_CASE("context: a group goes to the person whole, and all of a change whose guard names no field") {
    collection_rules grouped = plain;
    grouped.groups = {{"money", rule::last_writer, {"aa", "bb"}}};
    merge_host host;
    host.guards = {{"fewer", {"bb"}, at_most<4>, "bb"}};
    auto const with = [](std::int64_t a, std::int64_t b, std::int64_t c) {
        return map_item({{"aa", number_item(a)}, {"bb", number_item(b)}, {"cc", number_item(c)}});
    };
    auto const changes =
        std::vector<field_op>{set("aa", number_item(9)), set("bb", number_item(9)), set("cc", number_item(9))};
    auto const asks = [&](collection_rules const& rules) {
        auto r = record(with(1, 1, 1));
        REQUIRE(lay(r, 2, 2, 1, 5, {set("note", number_item(1))}, rules, &host).changed);
        auto const met = lay(r, 3, 3, 1, 6, changes, rules, &host);
        CHECK(met.verdict == verdict_kind::conflict);
        return asked_of(met.decisions);
    };
    CHECK(asks(plain) == names{"bb"});
    CHECK(asks(grouped) == names{"aa", "bb"});
    grouped.whole = rule::last_writer;
    CHECK(asks(grouped) == names{"aa", "bb", "cc"});
    host.guards[0].reads.clear();
    CHECK(asks(plain) == names{"aa", "bb", "cc"});
    auto const m =
        three_way(with(1, 1, 1), with(9, 9, 1), with(1, 1, 2), plain, {timestamp{6}, 1}, {timestamp{5}, 2}, &host);
    REQUIRE(m.has_value());
    CHECK(m->record == with(1, 1, 2));
    CHECK(m->conflicts == names{"aa", "bb"});
}

TEST_CASE("context: where a guard reads what another has repaired, what that one reads is the person's") {
    merge_host host;
    host.guards = {{"sum",
                    {"aa", "bb"},
                    [](guard_input const& in, void const*) {
                        auto const a = in.new_value("aa");
                        auto const b = in.new_value("bb");
                        std::int64_t const sum = (a ? *number(*a) : 0) + (b ? *number(*b) : 0);
                        return guard_answer{guard_answer::kind::repair, {set("sum", number_item(sum))}};
                    },
                    nullptr},
                   {"fewer", {"sum"}, at_most<4>, "sum"}};
    auto const with = [](std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t sum) {
        return map_item(
            {{"aa", number_item(a)}, {"bb", number_item(b)}, {"cc", number_item(c)}, {"sum", number_item(sum)}});
    };
    auto const m = three_way(with(1, 1, 1, 2), with(3, 1, 9, 4), with(1, 2, 1, 3), plain, {timestamp{6}, 1},
                             {timestamp{5}, 2}, &host);
    REQUIRE(m.has_value());
    // The sums of both were right, and what the local side took for one is the person's, too.
    CHECK(m->record == with(1, 2, 9, 3));
    CHECK(m->conflicts == names{"aa", "sum"});
    auto r = record(with(1, 1, 1, 2));
    REQUIRE(lay(r, 2, 2, 1, 5, {set("bb", number_item(2))}, plain, &host).changed);
    auto const met = lay(r, 3, 3, 1, 6, {set("aa", number_item(3)), set("cc", number_item(9))}, plain, &host);
    CHECK(met.verdict == verdict_kind::conflict);
    CHECK(asked_of(met.decisions) == names{"aa"});
}

TEST_CASE("context: a counter that one side moved further than int64 counts is its value, whoever looks on") {
    std::int64_t const least = (std::numeric_limits<std::int64_t>::min)();
    auto const with = [](std::int64_t n, std::int64_t inner, std::int64_t x) {
        return map_item({{"n", number_item(n)}, {"x", number_item(x)}, {"in", map_item({{"n", number_item(inner)}})}});
    };
    collection_rules counted = plain;
    counted.fields = {{"n", rule::counter}, {"in", rule::nested, {{"n", rule::counter}}}};
    collection_rules grouped = counted;
    grouped.groups = {{"other", rule::last_writer, {"y", "z"}}};
    merge_host host;
    host.guards = {{"yes", {}, [](guard_input const&, void const*) { return guard_answer{}; }, nullptr}};
    bytes const base = with(least, least, 1);
    side const first{timestamp{5}, 1};
    side const second{timestamp{6}, 2};
    struct onlooker {
        collection_rules const& rules;
        merge_host const* host;
    };
    for (onlooker const& by : {onlooker{counted, nullptr}, onlooker{counted, &host}, onlooker{grouped, nullptr}}) {
        for (bytes const& moved : {with(10, least, 1), with(least, 10, 1), with(10, 10, 1)}) {
            bytes const other = with(least, least, 2);
            bytes const both = detail::rewrite_fields(moved, {{"x", true, number_item(2)}});
            for (bool const local : {true, false}) {
                auto const m =
                    three_way(base, local ? moved : other, local ? other : moved, by.rules, first, second, by.host);
                REQUIRE(m.has_value());
                CHECK(m->record == both);
            }
            // Where both have moved it there is no sum.
            bytes const little = with(least + 1, least + 1, 1);
            CHECK(three_way(base, moved, little, by.rules, first, second, by.host).error() == errc::overflow);
            CHECK(three_way(base, little, moved, by.rules, first, second, by.host).error() == errc::overflow);
        }
    }
}

TEST_CASE("context: a repair that is there already is no repair; those against each other are a person's") {
    merge_host host;
    guard const same{"same",
                     {},
                     [](guard_input const&, void const*) {
                         return guard_answer{guard_answer::kind::repair, {set("n", number_item(7))}};
                     },
                     nullptr};
    host.guards = {same};
    auto r = record(map_item({{"n", number_item(1)}}));
    auto const out = lay(r, 2, 2, 1, 5, {set("a", number_item(1))}, plain, &host);
    CHECK(out.changed);
    CHECK(number(value_of(r, "n")) == 7);
    CHECK(out.decisions.size() == 1);
    CHECK(claims_repair(out.decisions));
    auto const again = lay(r, 2, 3, 2, 6, {set("a", number_item(2))}, plain, &host);
    CHECK(again.verdict == verdict_kind::applied);
    CHECK(again.decisions.empty());
    CHECK(r->mark_of("n").at == 2);  // nobody has written it since

    host.guards = {{"one", {}, make_it<1>, nullptr}, {"two", {}, make_it<2>, nullptr}};
    auto const held = r;
    auto const torn = lay(r, 2, 4, 3, 7, {set("a", number_item(3))}, plain, &host);
    CHECK(torn.verdict == verdict_kind::conflict);
    CHECK(r == held);
    CHECK_FALSE(claims_repair(torn.decisions));
    auto const m = three_way(map_item({{"a", number_item(0)}}), map_item({{"a", number_item(1)}}),
                             map_item({{"a", number_item(0)}, {"b", number_item(0)}}), plain, {timestamp{6}, 1},
                             {timestamp{5}, 2}, &host);
    REQUIRE(m.has_value());
    CHECK(m->record == map_item({{"a", number_item(0)}, {"b", number_item(0)}}));
    CHECK(holds(m->conflicts, "a"));
    CHECK_FALSE(claims_repair(m->decisions));
}

TEST_CASE("context: a repair that can't be is a person's, and nothing of it is done or told") {
    field_op const ok = set("a", number_item(9));
    std::vector<std::vector<field_op>> const bad{
        {ok, set("b", bytes{})},
        {ok, set("b", bytes{std::byte{0x18}, std::byte{0x01}})},  // not the shortest
        {ok, {"b", op_kind::add, number_item(1), {}}},
        {ok, ok},
        {set("b", number_item(1)), ok},
    };
    for (auto const& repairs : bad) {
        merge_host host;
        host.guards = {
            {"bad",
             {},
             [](guard_input const&, void const* data) {
                 return guard_answer{guard_answer::kind::repair, *static_cast<std::vector<field_op> const*>(data)};
             },
             &repairs}};
        auto r = record(map_item({{"a", number_item(0)}, {"n", number_item(0)}}));
        auto const held = r;
        auto const out = lay(r, 2, 2, 1, 5, {set("n", number_item(1))}, plain, &host);
        CHECK(out.verdict == verdict_kind::conflict);
        CHECK_FALSE(out.changed);
        CHECK_FALSE(claims_repair(out.decisions));
        CHECK(r == held);
    }
}

TEST_CASE("context: a guard overrules a wish, and is asked of what is inside of a field") {
    merge_host host;
    host.guards = {{"approved", {"state"}, approved, nullptr}};
    for (merge_hint const hint : {merge_hint::merge, merge_hint::local}) {
        auto r = record(map_item({{"state", text_item("open")}}));
        REQUIRE(lay(r, 2, 2, 1, 5, {set("state", text_item("approved"))}, plain, &host).changed);
        auto const held = r;
        auto const out = lay(r, 3, 3, 1, 6, {set("state", text_item("draft"))}, plain, &host, hint);
        CHECK(out.verdict == verdict_kind::conflict);
        CHECK(out.guard == "approved");
        CHECK(r == held);
    }

    collection_rules rules = plain;
    rules.fields.push_back({"place", rule::nested, {{"seats", rule::counter}}});
    host.guards = {{"room",
                    {"place"},
                    [](guard_input const& in, void const*) {
                        auto const place = in.new_value("place");
                        auto const seats = place ? map_find(*place, "seats") : std::optional<bytes_view>{};
                        bool const ok = !seats || !*seats || number(**seats).value_or(0) <= 10;
                        return guard_answer{ok ? guard_answer::kind::accept : guard_answer::kind::veto, {}};
                    },
                    nullptr}};
    auto const add = [](std::int64_t n) {
        bytes inner;
        cbor_writer w{inner};
        w.array(1);
        encode_operation(w, {"seats", op_kind::add, number_item(n), {}}, {});
        return field_op{"place", op_kind::nested, inner, {}};
    };
    auto r = record(map_item({{"place", map_item({{"seats", number_item(4)}})}}));
    REQUIRE(lay(r, 2, 2, 1, 5, {add(4)}, rules, &host).changed);
    auto const held = r;
    auto const met = lay(r, 3, 3, 1, 6, {add(4)}, rules, &host);  // each alone would do
    CHECK(met.verdict == verdict_kind::conflict);
    REQUIRE(met.decisions.size() == 1);
    CHECK(met.decisions[0].field == "place");
    CHECK(r == held);
    auto const seats = [](std::int64_t n) { return map_item({{"place", map_item({{"seats", number_item(n)}})}}); };
    auto const m = three_way(seats(4), seats(8), seats(9), rules, {timestamp{6}, 1}, {timestamp{5}, 2}, &host);
    REQUIRE(m.has_value());
    CHECK(m->record == seats(9));
    CHECK(m->conflicts == std::vector<std::string>{"place"});
}

TEST_CASE("context: guards are asked when a record begins and when it ends") {
    asked count;
    merge_host host;
    host.guards = {{"never", {"n"}, never, &count}};
    std::optional<row> none;
    auto const born =
        lay(none, 2, 2, 0, 5, {set("n", number_item(1))}, plain, &host, merge_hint::merge, change_kind::create);
    CHECK(born.verdict == verdict_kind::rejected);
    CHECK(born.reason == errc::forbidden);
    CHECK_FALSE(none);

    auto r = record(map_item({{"n", number_item(1)}, {"a", number_item(1)}}));
    auto const begin = r;
    auto const erase = [&](merge_hint hint, collection_rules const& rules) {
        return lay(r, 3, 3, 1, 6, {}, rules, &host, hint, change_kind::erase);
    };
    CHECK(erase(merge_hint::merge, plain).reason == errc::forbidden);
    CHECK(r == begin);
    REQUIRE(lay(r, 2, 2, 1, 5, {set("a", number_item(2))}, plain, &host).changed);  // not what it reads
    auto const held = r;
    for (merge_hint const hint : {merge_hint::merge, merge_hint::local}) {
        auto const out = erase(hint, plain);
        CHECK(out.verdict == verdict_kind::conflict);
        CHECK(out.guard == "never");
        CHECK(r == held);
    }
    host.guards = {{"repairs", {}, make_it<1>, nullptr}};
    CHECK(erase(merge_hint::merge, plain).verdict == verdict_kind::conflict);
    CHECK(r == held);
    // An edit that would bring back what was deleted.
    collection_rules back = plain;
    back.deletes = deletion::loses;
    host.guards.clear();
    auto gone = begin;
    REQUIRE(lay(gone, 3, 2, 1, 5, {}, back, &host, merge_hint::merge, change_kind::erase).changed);
    auto const tomb = gone;
    host.guards = {{"never", {"n"}, never, &count}};
    CHECK(lay(gone, 2, 3, 1, 6, {set("a", number_item(3))}, back, &host).verdict == verdict_kind::conflict);
    CHECK(gone == tomb);
}

TEST_CASE("context: a guard that throws leaves all as it was; a preview and the authority get one answer") {
    merge_host host;
    host.guards = {{"throws", {}, [](guard_input const&, void const*) -> guard_answer { throw 1; }, nullptr}};
    auto r = record(map_item({{"n", number_item(1)}}));
    auto const held = r;
    CHECK_THROWS(lay(r, 2, 2, 1, 5, {set("n", number_item(2))}, plain, &host));
    CHECK_THROWS(lay(r, 2, 2, 1, 5, {}, plain, &host, merge_hint::merge, change_kind::erase));
    CHECK(r == held);

    random_generator dice{21};
    host.guards = {{"in order", {"from", "to"}, in_order, nullptr},
                   {"approved", {"state"}, approved, nullptr},
                   {"paid", {"paid", "price"}, paid, nullptr}};
    char const* const names[] = {"to", "from", "paid", "price", "state"};
    auto const some = [&](std::string_view name) {
        auto const n = static_cast<std::int64_t>(dice() % 4);
        return name == "state" ? text_item(n < 2 ? "approved" : "draft") : number_item(n);
    };
    for (int round = 0; round < rounds(2'000); ++round) {
        auto now = record(map_item({}));
        for (position at = 2; at != 8; ++at) {
            std::vector<field_op> ops;
            for (char const* n : names) {
                if (dice() % 3 == 0) { ops.push_back(set(n, some(n))); }
            }
            position const base = 1 + dice() % (at - 1);
            auto const author = static_cast<author_index>(2 + dice() % 3);
            auto seen = now;
            auto const before = now;
            auto const shown = lay(seen, author, pending_position, base, at, ops, plain, &host);
            auto const done = lay(now, author, at, base, at, ops, plain, &host);
            REQUIRE(shown.verdict == done.verdict);
            REQUIRE(shown.reason == done.reason);
            REQUIRE(shown.decisions == done.decisions);
            REQUIRE(shown.guard == done.guard);
            REQUIRE(seen->fields == now->fields);
            REQUIRE(done.changed == (now != before));
            bool const refused = done.verdict == verdict_kind::conflict;
            REQUIRE(refused == std::any_of(done.decisions.begin(), done.decisions.end(),
                                           [](decision const& d) { return d.won == winner::nobody; }));
            if (done.changed) {
                mutation const none;
                REQUIRE(in_order({none, before, *now}, nullptr).says == guard_answer::kind::accept);
                REQUIRE(paid({none, before, *now}, nullptr).says == guard_answer::kind::accept);
            }
        }
    }
}
