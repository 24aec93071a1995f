// SPDX-License-Identifier: BSL-1.0

/// Decisions: what each kind makes of a record, what is refused, and taking one back.

#include <syncline/conflict/resolution.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include <syncline/core/value.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

bytes fields(std::initializer_list<value_entry> entries) { return to_bytes(value::map(entries)->encoded()); }
bytes item(value const& v) { return to_bytes(v.encoded()); }

collection_rules const rules{
    "bookings",
    rule::last_writer,
    {{"table", rule::manual}, {"price", rule::manual}, {"guests", rule::counter}, {"deposit", rule::minimum}}};

/// Local: another table and price, five guests more, an older client's name. Remote: likewise, and later.
conflict sample() {
    conflict c;
    c.record = {"bookings", "b1"};
    c.local.stamp = timestamp{100};
    c.local.record = c.record;
    c.local.base = 4;
    auto const set = [&](std::string_view f, value const& v) {
        c.local.ops.push_back({std::string{f}, op_kind::set, item(v), timestamp{100}});
    };
    set("note", "window");
    set("price", 120);
    set("table", "garden");
    set("client", "Dahl & Co");
    c.local.ops.push_back({"guests", op_kind::add, item(5), timestamp{100}});
    c.base = fields({{"note", "none"}, {"price", 100}, {"table", "hall"}, {"client", "Dahl"}, {"guests", 40}});
    c.remote.emplace();
    c.remote->version = 9;
    c.remote->floor = {3, timestamp{10}, 2};
    for (char const* f : {"price", "table", "client"}) { c.remote->exceptions.push_back({f, {9, timestamp{200}, 2}}); }
    c.remote->fields = fields({{"note", "none"},
                               {"price", 90},
                               {"table", "terrace"},
                               {"client", "Dahl and Company"},
                               {"guests", 38},
                               {"deposit", 10}});
    c.fields.push_back({{"price"}, rule::manual, "", 0, 0, {}});
    c.fields.push_back({{"table"}, rule::manual, "", 0, 0, {}});
    return c;
}
value_view field(settled const& s, std::string_view name) { return *value_view{s.after->fields}.find(name); }
errc why(result<settled> const& r) { return r ? errc{} : r.error().code; }

}  // namespace

TEST_CASE("use local: the contested fields are this side's, the rest goes by the rules") {
    auto const s = settle(sample(), resolution::use_local(), rules, timestamp{300}, 1);
    REQUIRE(s);
    CHECK(field(*s, "table") == value{"garden"});
    CHECK(field(*s, "price") == value{120});
    CHECK(field(*s, "guests") == value{43});                  // the addition counts
    CHECK(field(*s, "note") == value{"window"});              // nobody else was there
    CHECK(field(*s, "client") == value{"Dahl and Company"});  // the later writer, as without a conflict
    CHECK(s->change.base == 9);
    CHECK(s->change.stamp == timestamp{300});
    CHECK(s->change.ops.size() == 4);
    // It is a mutation like others: the authority applies it to what the person saw, and nothing is concurrent.
    std::optional<row> authority = sample().remote;
    apply_context context;
    context.author = 1;
    context.at = 10;
    CHECK(apply(authority, s->change, rules, context).verdict == verdict_kind::applied);
    CHECK(authority->fields == s->after->fields);
}

TEST_CASE("use remote: nothing that was not contested is lost with it") {
    auto const s = settle(sample(), resolution::use_remote(), rules, timestamp{300}, 1);
    REQUIRE(s);
    CHECK(field(*s, "table") == value{"terrace"});
    CHECK(field(*s, "price") == value{90});
    CHECK(field(*s, "guests") == value{43});
    CHECK(field(*s, "note") == value{"window"});
    conflict only = sample();
    only.local.ops.erase(only.local.ops.begin());
    only.local.ops.erase(only.local.ops.begin() + 2, only.local.ops.end());  // price and table
    auto const nothing = settle(only, resolution::use_remote(), rules, timestamp{300}, 1);
    REQUIRE(nothing);
    CHECK_FALSE(nothing->sends());
    CHECK(nothing->after == only.remote);
}

TEST_CASE("a choice for each field, and a record of one's own") {
    auto const s = settle(
        sample(),
        resolution::merge_fields({{{"table"}, field_take::custom, item("bar")}, {{"price"}, field_take::base, {}}}),
        rules, timestamp{300}, 1);
    REQUIRE(s);
    CHECK(field(*s, "table") == value{"bar"});
    CHECK(field(*s, "price") == value{100});
    auto const gone = settle(
        sample(), resolution::merge_fields({{{"table"}, field_take::none, {}}, {{"price"}, field_take::remote, {}}}),
        rules, timestamp{300}, 1);
    REQUIRE(gone);
    CHECK_FALSE(value_view{gone->after->fields}.find("table"));
    bytes const mine = fields({{"table", "x"}, {"guests", 1}, {"deposit", 5}});
    auto const own = settle(sample(), resolution::custom(mine), rules, timestamp{300}, 1);
    REQUIRE(own);
    CHECK(own->after->fields == mine);
}

TEST_CASE("two texts made one") {
    conflict c = sample();
    c.base = fields({{"table", "hall"}, {"price", 100}});
    c.local.ops = {{"price", op_kind::set, item(120), timestamp{100}},
                   {"table", op_kind::set, item("hall, window"), timestamp{100}}};
    c.remote->fields = fields({{"table", "big hall"}, {"price", 90}});
    auto const s =
        settle(c, resolution::merge_fields({{{"price"}, field_take::local, {}}, {{"table"}, field_take::merge, {}}}),
               rules, timestamp{300}, 1);
    REQUIRE(s);
    CHECK(field(*s, "table") == value{"big hall, window"});
    CHECK(why(settle(c,
                     resolution::merge_fields({{{"price"}, field_take::merge, {}}, {{"table"}, field_take::merge, {}}}),
                     rules, timestamp{300}, 1)) == errc::invalid);
}

TEST_CASE("a part of a map: the other parts are merged") {
    conflict c = sample();
    value const was = *value::map({{"street", "A"}, {"town", "Ry"}, {"floor", 1}});
    value const mine = *value::map({{"street", "B"}, {"town", "Ry"}, {"floor", 2}});
    value const theirs = *value::map({{"street", "C"}, {"town", "Aarhus"}, {"floor", 1}});
    c.base = fields({{"address", was}});
    c.local.ops = {{"address", op_kind::set, item(mine), timestamp{100}}};
    c.remote->fields = fields({{"address", theirs}, {"guests", 1}});
    c.remote->exceptions = {{"address", {9, timestamp{200}, 2}}};
    c.fields = {{{"address", "street"}, rule::manual, "", 0, 0, {}}};
    for (auto const& [take, street] : {std::pair{field_take::local, "B"}, std::pair{field_take::remote, "C"}}) {
        auto const s =
            settle(c, resolution::merge_fields({{{"address", "street"}, take, {}}}), rules, timestamp{300}, 1);
        REQUIRE(s);
        CHECK(field(*s, "address") == *value::map({{"street", street}, {"town", "Aarhus"}, {"floor", 2}}));
    }
}

TEST_CASE("a part of a map with other keys than texts is refused, not rewritten without them") {
    conflict c = sample();
    value const odd = *value::map({{"street", "A"}, {*value::array({1}), "kept"}});
    c.base = fields({{"address", odd}});
    c.local.ops = {{"address", op_kind::set, item(odd), timestamp{100}}};
    c.remote->fields = fields({{"address", odd}});
    c.remote->exceptions.clear();
    c.fields = {{{"address", "street"}, rule::manual, "", 0, 0, {}}};
    CHECK_FALSE(settle(c, resolution::merge_fields({{{"address", "street"}, field_take::custom, item("B")}}), rules,
                       timestamp{300}, 1));
}

TEST_CASE("deleted by one, changed by the other") {
    conflict c = sample();
    c.fields = {contested_field{}};
    c.local.ops.clear();
    c.local.kind = change_kind::erase;
    auto const gone = settle(c, resolution::use_local(), rules, timestamp{300}, 1);
    REQUIRE(gone);
    CHECK((gone->change.kind == change_kind::erase && gone->after->deleted));
    auto const stays = settle(c, resolution::use_remote(), rules, timestamp{300}, 1);
    REQUIRE(stays);
    CHECK_FALSE(stays->sends());

    conflict other = sample();
    other.fields = {contested_field{}};
    other.remote->deleted = true;
    other.remote->fields.clear();
    other.remote->exceptions.clear();
    auto const again = settle(other, resolution::use_local(), rules, timestamp{300}, 1);
    REQUIRE(again);
    CHECK((again->change.kind == change_kind::create && again->change.life == 2 && !again->after->deleted));
    CHECK(field(*again, "table") == value{"garden"});
    CHECK(field(*again, "guests") == value{45});
    CHECK(why(settle(other, resolution::merge_fields({{{}, field_take::local, {}}}), rules, timestamp{300}, 1)) ==
          errc::invalid);
}

TEST_CASE("what can't be decided so") {
    conflict unknown = sample();
    unknown.remote.reset();
    CHECK(why(settle(unknown, resolution::use_local(), rules, timestamp{300})) == errc::not_found);
    auto const fields_of = [](std::vector<field_decision> f) { return resolution::merge_fields(std::move(f)); };
    CHECK(why(settle(sample(), fields_of({{{"table"}, field_take::local, {}}}), rules, timestamp{300})) ==
          errc::invalid);
    CHECK(why(settle(sample(), fields_of({{{"table"}, field_take::local, {}}, {{"table"}, field_take::local, {}}}),
                     rules, timestamp{300})) == errc::invalid);
    CHECK(why(settle(sample(),
                     fields_of({{{"table"}, field_take::local, {}}, {{"price"}, field_take::custom, to_bytes("??")}}),
                     rules, timestamp{300})) == errc::invalid);
    CHECK(why(settle(sample(), resolution::custom(to_bytes("?")), rules, timestamp{300})) == errc::invalid);
    // A kind that there is none of, which could not be read from the history either.
    for (int const kind : {0, 5, 255}) {
        resolution odd;
        odd.kind = static_cast<resolve_kind>(kind);
        CHECK(why(settle(sample(), odd, rules, timestamp{300}, 1)) == errc::invalid);
    }
    // A minimum can't be raised, by nobody.
    CHECK(why(settle(sample(), resolution::custom(fields({{"deposit", 50}})), rules, timestamp{300}, 1)) ==
          errc::rejected);
    // An addition to what is no number any more.
    conflict text = sample();
    text.remote->fields = fields({{"table", "x"}, {"price", 1}, {"guests", "many"}});
    CHECK(why(settle(text, resolution::use_local(), rules, timestamp{300}, 1)) == errc::type_mismatch);
    // Another field waits for a person as well.
    conflict more = sample();
    more.fields.pop_back();
    CHECK(why(settle(more, resolution::use_local(), rules, timestamp{300}, 1)) == errc::contended);
}

TEST_CASE("another rule, replayed") {
    auto const last = by_rule(sample(), rule::last_writer, rules, 1);
    REQUIRE(last);
    auto const s = settle(sample(), *last, rules, timestamp{300}, 1);
    REQUIRE(s);
    CHECK(field(*s, "table") == value{"terrace"});
    conflict c = sample();
    c.fields.pop_back();
    c.local.ops.erase(c.local.ops.begin() + 2);  // the table
    auto const most = by_rule(c, rule::maximum, rules, 1);
    REQUIRE(most);
    CHECK(field(*settle(c, *most, rules, timestamp{300}, 1), "price") == value{120});
    auto const sum = by_rule(c, rule::counter, rules, 1);
    REQUIRE(sum);
    CHECK(field(*settle(c, *sum, rules, timestamp{300}, 1), "price") == value{110});  // 90, and 20 more
    CHECK(by_rule(c, rule::manual, rules, 1).error() == errc::rejected);
    CHECK(by_rule(sample(), rule::counter, rules, 1));  // a counter over texts: the last writer of the two values
    conflict deep = sample();
    deep.fields = {{{"address", "street"}, rule::manual, "", 0, 0, {}}};
    CHECK(by_rule(deep, rule::last_writer, rules, 1).error() == errc::invalid);
}

TEST_CASE("taking back: what was there before, and what others did since") {
    conflict const c = sample();
    auto const done = settle(c, resolution::use_local(), rules, timestamp{300}, 1);
    REQUIRE(done);
    row now = *done->after;
    now.version = 12;
    auto const back = inverse(*c.remote, *done, now, rules, timestamp{400}, 1);
    REQUIRE(back);
    CHECK(back->after->fields == c.remote->fields);
    CHECK(back->change.base == 12);

    row touched = now;
    touched.fields = detail::rewrite_fields(now.fields, {{"table", true, value{"bar"}.encoded()}});
    CHECK(inverse(*c.remote, *done, touched, rules, timestamp{400}, 1).error() == errc::contended);
    row counted = now;
    counted.fields = detail::rewrite_fields(now.fields, {{"guests", true, value{50}.encoded()}});
    auto const less = inverse(*c.remote, *done, counted, rules, timestamp{400}, 1);
    REQUIRE(less);
    CHECK(field(*less, "guests") == value{45});  // others' additions stay
    row deleted = now;
    deleted.deleted = true;
    CHECK(inverse(*c.remote, *done, deleted, rules, timestamp{400}, 1).error() == errc::contended);
}

TEST_CASE("golden bytes of a resolution") {
    resolution const r =
        resolution::merge_fields({{{"table"}, field_take::custom, item("x")}, {{"a", "b"}, field_take::merge, {}}});
    bytes raw;
    cbor_writer w{raw};
    encode_resolution(w, r);
    CHECK(to_hex(raw) ==
          "8303828282616161620483816574"
          "61626c65056178f6");
    for (std::size_t n = 0; n <= raw.size(); ++n) {
        cbor_reader in{bytes_view{raw}.first(n)};
        auto const again = decode_resolution(in);
        bool const whole = static_cast<bool>(in.finish());
        CHECK(whole == (n == raw.size()));
        if (whole) { CHECK(again == r); }
    }
}

namespace {

std::int64_t number(std::optional<bytes_view> v) { return v ? cbor_reader{*v}.integer() : 0; }
/// "Who sits in the garden pays 100 at least": vetoed, or repaired, or for another person.
template <guard_answer::kind Says>
guard_answer garden(guard_input const& in, void const*) {
    auto const table = in.new_value("table");
    bool const ok = !table || !equal(*table, item("garden")) || number(in.new_value("price")) >= 100;
    if (ok) { return {}; }
    return {Says, {{"price", op_kind::set, item(100), {}}}};
}
template <guard_answer::kind Says>
merge_host asking() {
    merge_host host;
    host.guards = {{"garden", {"table", "price"}, garden<Says>, nullptr}};
    return host;
}
resolution cheap_garden() {
    return resolution::merge_fields({{{"price"}, field_take::remote, {}}, {{"table"}, field_take::local, {}}});
}
/// What the authority makes of a decision that it gets as the person's mutation.
apply_outcome at_authority(std::optional<row>& now, mutation const& m, merge_host const* host) {
    apply_context context;
    context.author = 1;
    context.at = now->version + 1;
    context.host = host;
    return apply(now, m, rules, context);
}

}  // namespace

TEST_CASE("guards say of a decision, before it is sent, what the authority's will say of it") {
    auto const vetoes = asking<guard_answer::kind::veto>();
    auto const asks = asking<guard_answer::kind::escalate>();
    auto const repairs = asking<guard_answer::kind::repair>();
    auto const unguarded = settle(sample(), cheap_garden(), rules, timestamp{300}, 1);
    REQUIRE(unguarded);
    for (merge_host const* const host : {&vetoes, &asks}) {
        CHECK(why(settle(sample(), cheap_garden(), rules, timestamp{300}, 1, host)) == errc::forbidden);
        auto now = sample().remote;
        auto const said = at_authority(now, unguarded->change, host);
        CHECK(said.verdict == (host == &vetoes ? verdict_kind::rejected : verdict_kind::conflict));
        CHECK(now == sample().remote);
        // What they don't object to is decided as without them.
        CHECK(*settle(sample(), resolution::use_local(), rules, timestamp{300}, 1, host) ==
              *settle(sample(), resolution::use_local(), rules, timestamp{300}, 1));
        bytes const mine = fields({{"table", "garden"}, {"price", 5}});
        CHECK(why(settle(sample(), resolution::custom(mine), rules, timestamp{300}, 1, host)) == errc::forbidden);
    }
    auto const repaired = settle(sample(), cheap_garden(), rules, timestamp{300}, 1, &repairs);
    REQUIRE(repaired);
    CHECK(repaired->change == unguarded->change);
    CHECK(field(*repaired, "price") == value{100});
    CHECK(std::any_of(repaired->decisions.begin(), repaired->decisions.end(),
                      [](decision const& d) { return d.field == "price" && d.won == winner::guard; }));
    auto now = sample().remote;
    REQUIRE(at_authority(now, repaired->change, &repairs).changed);
    CHECK(now->fields == repaired->after->fields);
}

TEST_CASE("guards are asked when another rule replays, and when a decision is taken back") {
    auto const vetoes = asking<guard_answer::kind::veto>();
    auto const asks = asking<guard_answer::kind::escalate>();
    conflict c = sample();
    c.local.ops[1].value = item(50);
    CHECK(by_rule(c, rule::local, rules, 1));
    for (merge_host const* const host : {&vetoes, &asks}) {
        auto const replayed = by_rule(c, rule::local, rules, 1, host);
        REQUIRE_FALSE(replayed);
        CHECK(replayed.error() == errc::rejected);
        CHECK(by_rule(c, rule::authority, rules, 1, host));
    }

    // Back to what was before the decision, which such a guard would not have let in.
    row before = *c.remote;
    before.fields = fields({{"note", "none"}, {"price", 90}, {"table", "garden"}});
    row current = before;
    current.version = 10;
    current.fields = fields({{"note", "none"}, {"price", 90}, {"table", "hall"}});
    settled done;
    done.change.record = c.record;
    done.change.ops = {{"table", op_kind::set, item("hall"), timestamp{300}}};
    done.after = current;
    CHECK(inverse(before, done, current, rules, timestamp{400}, 1));
    for (merge_host const* const host : {&vetoes, &asks}) {
        CHECK(why(inverse(before, done, current, rules, timestamp{400}, 1, host)) == errc::forbidden);
    }
}
