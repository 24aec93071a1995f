// SPDX-License-Identifier: BSL-1.0

/// Decisions: what each kind makes of a record, what is refused, and taking one back.

#include <syncline/conflict/resolution.hpp>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include <syncline/conflict/suggester.hpp>
#include <syncline/core/random.hpp>
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

TEST_CASE("what goes along to a field that is not there goes as it was written") {
    collection_rules const lists{
        "bookings", rule::last_writer, {{"table", rule::manual}, {"guests", rule::counter}, {"tags", rule::add_wins}}};
    conflict c = sample();
    auto const added = item(*value::array({*value::array({1, "quiet"})}));
    c.local.ops = {{"tags", op_kind::elements, added, timestamp{100}},
                   {"table", op_kind::set, item("garden"), timestamp{100}},
                   {"guests", op_kind::add, item(5), timestamp{100}}};
    c.base = fields({{"table", "hall"}});
    c.remote->fields = fields({{"table", "terrace"}});
    c.remote->exceptions = {{"table", {9, timestamp{200}, 2}}};
    c.fields = {{{"table"}, rule::manual, "", 0, 0, {}}};
    auto const s = settle(c, resolution::use_local(), lists, timestamp{300}, 1);
    REQUIRE(s);
    CHECK(field(*s, "guests") == value{5});
    // Somebody else has begun to count, and to tag, before it is home.
    std::optional<row> home = c.remote;
    home->version = 10;
    home->fields = fields({{"table", "terrace"}, {"guests", 2}, {"tags", *value::array({"late"})}});
    home->exceptions = {
        {"tags", {10, timestamp{250}, 2}}, {"table", {9, timestamp{200}, 2}}, {"guests", {10, timestamp{250}, 2}}};
    apply_context context;
    context.author = 1;
    context.at = 11;
    CHECK(apply(home, s->change, lists, context).changed);
    CHECK(home->fields == fields({{"table", "garden"}, {"guests", 7}, {"tags", *value::array({"late", "quiet"})}}));
    // A value of the person's own is what it is.
    auto const own =
        settle(c, resolution::merge_fields({{{"table"}, field_take::remote, {}}}), lists, timestamp{300}, 1);
    REQUIRE(own);
    CHECK(own->change.ops.size() == 2);
}

TEST_CASE("what goes along does not come back over what its own writer has written since") {
    conflict c = sample();
    c.remote->exceptions = {{"note", {9, timestamp{150}, 1}}, {"table", {9, timestamp{200}, 2}}};
    c.remote->fields = fields({{"note", "door"}, {"price", 90}, {"table", "terrace"}, {"guests", 38}});
    auto const s = settle(c, resolution::use_remote(), rules, timestamp{300}, 1);
    REQUIRE(s);
    CHECK(field(*s, "note") == value{"door"});
    CHECK(field(*s, "guests") == value{43});
    // What it had written before does not hold it back.
    c.remote->exceptions[0].mark.stamp = timestamp{50};
    auto const before = settle(c, resolution::use_remote(), rules, timestamp{300}, 1);
    REQUIRE(before);
    CHECK(field(*before, "note") == value{"window"});
    // An extreme is of all that was written.
    c.local.ops.push_back({"deposit", op_kind::set, item(20), timestamp{100}});
    c.remote->fields = fields({{"note", "door"}, {"price", 90}, {"table", "terrace"}, {"guests", 38}, {"deposit", 30}});
    c.remote->exceptions.push_back({"deposit", {9, timestamp{150}, 1}});
    auto const extreme = settle(c, resolution::use_remote(), rules, timestamp{300}, 1);
    REQUIRE(extreme);
    CHECK(field(*extreme, "deposit") == value{20});
}

TEST_CASE("taking an edit of a former life that a minimum keeps out changes nothing, and is a decision") {
    conflict c = sample();
    c.local.ops.clear();
    c.local.ops.push_back({"deposit", op_kind::set, item(20), timestamp{100}});
    c.base = {};
    c.remote->life = 2;
    auto const s = settle(c, resolution::use_local(), rules, timestamp{300}, 1);
    REQUIRE(s);
    CHECK_FALSE(s->sends());
    CHECK(s->after == c.remote);
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

namespace {

record_key const dish{"bookings", "d"};
value map_of(std::initializer_list<value_entry> entries) { return *value::map(entries); }
value array_of(std::initializer_list<value> items) { return *value::array(items); }

mutation edit(bytes_view from, bytes_view to, collection_rules const& by, std::uint64_t stamp) {
    mutation m;
    m.record = dish;
    m.base = 1;
    m.stamp = timestamp{stamp};
    m.sequence = stamp;
    m.ops = *diff(from, to, by, m.stamp);
    return m;
}
row first_row(bytes_view of) {
    row r;
    r.version = 1;
    r.floor = {1, timestamp{1}, 9};
    r.fields = to_bytes(of);
    return r;
}
verdict_kind at_authority(row& r, mutation const& m, collection_rules const& by, author_index who,
                          merge_host const* host = nullptr) {
    std::optional<row> here = r;
    apply_context context;
    context.author = who;
    context.at = r.version + 1;
    context.host = host;
    auto const outcome = apply(here, m, by, context);
    if (outcome.changed) { r = *here; }
    return outcome.verdict;
}
/// Both have edited `base`: they by 5 o'clock, I by `mine_at`; what waits is contested.
conflict met(collection_rules const& by, bytes const& base, bytes const& theirs, bytes const& mine,
             std::vector<field_path> const& waits, std::uint64_t mine_at = 3) {
    row r = first_row(base);
    REQUIRE(at_authority(r, edit(base, theirs, by, 5), by, 2) == verdict_kind::applied);
    conflict c;
    c.record = dish;
    c.local = edit(base, mine, by, mine_at);
    // The fields that it touched.
    std::vector<detail::field_change> seen;
    for (field_op const& op : c.local.ops) {
        auto const was = *map_find(base, op.field);
        if (was) { seen.push_back({op.field, true, *was}); }
    }
    c.base = detail::rewrite_fields({}, seen);
    c.remote = r;
    for (field_path const& p : waits) { c.fields.push_back({p, rule::manual, "", 0, 0, {}}); }
    return c;
}

}  // namespace

TEST_CASE("a conflict is decided whatever kinds of edits stand beside it, and taken back, and decided again") {
    struct example {
        rule by;
        value was;
        value mine;
        bool moves = true;  // it can be taken back
    };
    example const all[] = {
        {rule::add_wins, array_of({}), array_of({"x"})},
        {rule::remove_wins, array_of({"a", "x"}), array_of({"a"})},
        {rule::list, array_of({3, 1, 2}), array_of({3, 2})},
        {rule::list, array_of({map_of({{"id", 1}, {"v", 1}})}), array_of({map_of({{"id", 1}, {"v", 2}})})},
        {rule::list, array_of({map_of({{"id", 1}}), map_of({{"id", 2}})}), array_of({map_of({{"id", 2}})})},
        {rule::sequence, array_of({1}), array_of({1, 2})},
        {rule::text_lines, "a\n", "a\nb\n"},
        {rule::text_words, "one two", "ONE two"},
        {rule::text_characters, "ab", "abc"},
        {rule::siblings, array_of({1}), array_of({2})},
        {rule::counter, 1, 11},
        {rule::maximum, 1, 11, false},
        {rule::minimum, 11, 1, false},
        {rule::enable_wins, false, true},
        {rule::nested, map_of({{"x", "one two"}}), map_of({{"x", "ONE two"}})},
    };
    for (example const& e : all) {
        CAPTURE(name(e.by));
        collection_rules by{"bookings", rule::last_writer, {{"t", rule::manual}, {"n", e.by}}};
        if (e.by == rule::nested) { by.fields[1].inner = {{"x", rule::text_words}}; }
        bytes const base = fields({{"n", e.was}, {"t", "hall"}});
        auto const c =
            met(by, base, fields({{"n", e.was}, {"t", "terrace"}}), fields({{"n", e.mine}, {"t", "garden"}}), {{"t"}});
        for (auto const& [how, t] :
             {std::pair{resolution::use_local(), "garden"}, std::pair{resolution::use_remote(), "terrace"},
              std::pair{resolution::merge_fields({{{"t"}, field_take::custom, item("bar")}}), "bar"}}) {
            auto const s = settle(c, how, by, timestamp{20}, 1);
            REQUIRE(s);
            CHECK(s->after->fields == fields({{"n", e.mine}, {"t", t}}));
            row there = *c.remote;
            CHECK(at_authority(there, s->change, by, 1) == verdict_kind::applied);
            CHECK(there.fields == s->after->fields);
            auto const made = replayed(*c.remote, s->change, 1);
            REQUIRE(made);
            CHECK((*made)->fields == there.fields);
            auto const back = inverse(*c.remote, *s, there, by, timestamp{30}, 1);
            if (!e.moves && t == std::string_view{"terrace"}) {
                CHECK(why(back) == errc::rejected);  // nothing can be taken back
                continue;
            }
            REQUIRE(back);
            CHECK(back->after->fields == fields({{"n", e.moves ? e.was : e.mine}, {"t", "terrace"}}));
            CHECK(back->decisions.size() == (e.moves ? 0U : 1U));
        }
    }
}

TEST_CASE("a conflict inside a text or a sequence") {
    for (rule const r : {rule::text_lines, rule::sequence}) {
        collection_rules const by{"bookings", rule::last_writer, {{"n", r}}};
        auto const v = [&](int n) {
            return fields({{"n", r == rule::sequence ? array_of({n}) : value{std::to_string(n) + "\n"}}});
        };
        auto const c = met(by, v(1), v(2), v(3), {{"n"}});
        CHECK(settle(c, resolution::use_local(), by, timestamp{20}, 1)->after->fields == v(3));
        CHECK_FALSE(settle(c, resolution::use_remote(), by, timestamp{20}, 1)->sends());
        CHECK(*local_fields(c) == v(3));
    }
}

TEST_CASE("of a nested field only the part that waits is decided; the others are merged by their rules") {
    collection_rules by{"bookings", rule::last_writer, {{"a", rule::nested}}};
    by.fields[0].inner = {{"x", rule::manual}, {"y", rule::counter}, {"z", rule::add_wins}, {"w", rule::manual}};
    auto const v = [&](int x, int y, std::initializer_list<value> z, int w) {
        return fields({{"a", map_of({{"x", x}, {"y", y}, {"z", array_of(z)}, {"w", w}})}});
    };
    for (bool const part : {true, false}) {
        auto const c = met(by, v(0, 10, {}, 0), v(7, 13, {"p"}, 0), v(8, 15, {"q"}, 0),
                           {part ? field_path{"a", "x"} : field_path{"a"}});
        auto const mine = settle(c, resolution::use_local(), by, timestamp{20}, 1);
        REQUIRE(mine);
        CHECK(mine->after->fields == v(8, 18, {"p", "q"}, 0));
        auto const theirs = settle(c, resolution::use_remote(), by, timestamp{20}, 1);
        REQUIRE(theirs);
        CHECK(theirs->after->fields == v(7, 18, {"p", "q"}, 0));
        // Two parts wait: the field as a whole is about both, one part alone leaves the other.
        auto const both = met(by, v(0, 10, {}, 0), v(7, 13, {}, 1), v(8, 15, {}, 2), {c.fields[0].path});
        auto const s = settle(both, resolution::use_local(), by, timestamp{20}, 1);
        if (part) {
            CHECK(why(s) == errc::contended);
            auto const now = contested_now(both, *both.remote, by);
            REQUIRE(now.size() == 2);
            CHECK(now[0].path == field_path{"a", "w"});
            CHECK(now[1].path == field_path{"a", "x"});
        } else {
            REQUIRE(s);
            CHECK(s->after->fields == v(8, 18, {}, 2));
        }
    }
}

TEST_CASE("an edit of a part stays although another part of the same field lost") {
    collection_rules const by{"bookings", rule::last_writer, {{"a", rule::nested}, {"t", rule::manual}}};
    auto const v = [&](int x, int y, char const* t) { return fields({{"a", map_of({{"x", x}, {"y", y}})}, {"t", t}}); };
    auto const c = met(by, v(0, 0, "hall"), v(99, 0, "terrace"), v(11, 22, "garden"), {{"t"}});
    auto const s = settle(c, resolution::use_local(), by, timestamp{20}, 1);
    REQUIRE(s);
    CHECK(s->after->fields == v(99, 22, "garden"));
    REQUIRE(s->decisions.size() == 1);
    CHECK(to_text(s->decisions[0]).substr(0, 24) == "a.x: the confirmed value");
}

TEST_CASE("an edit of a record that was deleted brings all of it back") {
    collection_rules by{"bookings", rule::last_writer, {{"n", rule::counter}, {"t", rule::manual}}};
    bytes const base = fields({{"client", "Dahl"}, {"n", 4}, {"t", "hall"}});
    for (deletion const d : {deletion::manual, deletion::wins}) {
        by.deletes = d;
        row r = first_row(base);
        bytes const newer = fields({{"client", "Dahl & Co"}, {"n", 6}, {"t", "bar"}});
        REQUIRE(at_authority(r, edit(base, newer, by, 4), by, 3) == verdict_kind::applied);
        row const seen = r;
        mutation gone;
        gone.record = dish;
        gone.kind = change_kind::erase;
        gone.base = 2;
        gone.stamp = timestamp{5};
        REQUIRE(at_authority(r, gone, by, 2) == verdict_kind::applied);
        REQUIRE(r.fields.empty() == (d == deletion::wins));
        conflict c;
        c.record = dish;
        c.local = edit(base, fields({{"client", "Dahl"}, {"n", 7}, {"t", "garden"}}), by, 6);
        c.base = fields({{"n", 4}, {"t", "hall"}});
        c.remote = r;
        c.fields.emplace_back();
        auto const s = settle(c, resolution::use_local(), by, timestamp{20}, 1);
        REQUIRE(s);
        CHECK(s->change.kind == change_kind::create);
        if (d == deletion::manual) {
            // The tombstone has kept it, with what another did before it was deleted.
            CHECK(s->after->fields == fields({{"client", "Dahl & Co"}, {"n", 9}, {"t", "garden"}}));
        } else {
            CHECK(s->after->fields == fields({{"n", 7}, {"t", "garden"}}));
        }
        row there = r;
        CHECK(at_authority(there, s->change, by, 1) == verdict_kind::applied);
        CHECK(there.fields == s->after->fields);
    }
}

TEST_CASE("an edit of a former life touches of the next only what it touched") {
    collection_rules const by{"bookings"};
    conflict c =
        met(by, fields({{"n", 1}, {"m", 1}}), fields({{"n", 2}, {"m", 1}}), fields({{"n", 3}, {"m", 1}}), {{}});
    c.remote->life = 2;
    c.remote->fields = fields({{"m", 5}, {"n", 6}, {"o", 7}});
    auto const s = settle(c, resolution::use_local(), by, timestamp{20}, 1);
    REQUIRE(s);
    CHECK(s->after->fields == fields({{"m", 5}, {"n", 3}, {"o", 7}}));
}

TEST_CASE("what goes along beats no higher role, and where roles are not known a person is asked") {
    collection_rules const by{"bookings", rule::last_writer, {{"salary", rule::role}, {"t", rule::manual}}};
    merge_host host;
    host.role_of = [](author_index a, void const*) -> std::uint32_t { return a == 2 ? 9 : 1; };
    auto const v = [&](int n, char const* t) { return fields({{"salary", n}, {"t", t}}); };
    auto const c = met(by, v(1, "b"), v(5, "admin's"), v(9, "guest's"), {{"t"}}, 7);
    for (auto const& how : {resolution::use_local(), resolution::use_remote()}) {
        auto const s = settle(c, how, by, timestamp{20}, 1, &host);
        REQUIRE(s);
        CHECK(field(*s, "salary") == value{5});
        REQUIRE(s->decisions.size() == 1);
        CHECK(s->decisions[0].why == reason::by_role);
        CHECK(why(settle(c, how, by, timestamp{20}, 1)) == errc::contended);
    }
    apply_context as;
    as.author = 1;
    auto const now = contested_now(c, *c.remote, by, as);
    REQUIRE(now.size() == 2);
    CHECK(now[0].path == field_path{"t"});
    CHECK(now[1].path == field_path{"salary"});
    CHECK(now[1].by == rule::role);
    as.host = &host;
    CHECK(contested_now(c, *c.remote, by, as).size() == 1);
    conflict asked = c;
    asked.fields = now;
    CHECK(field(*settle(asked, resolution::use_remote(), by, timestamp{20}, 1), "salary") == value{5});
    CHECK(field(*settle(asked, resolution::use_local(), by, timestamp{20}, 1), "salary") == value{9});
}

TEST_CASE("a preview asks the guards that the authority asks") {
    collection_rules const by{"bookings", rule::last_writer, {{"t", rule::manual}}};
    auto const v = [&](int from, int to, char const* t) { return fields({{"from", from}, {"to", to}, {"t", t}}); };
    merge_host host;
    host.guards.push_back({"in order",
                           {"from", "to"},
                           [](guard_input const& in, void const*) {
                               auto const a = in.new_value("from");
                               auto const b = in.new_value("to");
                               bool const fits = a && b && compare_values(*a, *b) <= 0;
                               return guard_answer{fits ? guard_answer::kind::accept : guard_answer::kind::veto, {}};
                           },
                           nullptr});
    // Mine moves both ends; theirs has moved the table.
    auto const c = met(by, v(1, 2, "hall"), v(1, 2, "bar"), v(5, 6, "garden"), {{"to"}, {"t"}});
    CHECK(field(*settle(c, resolution::use_local(), by, timestamp{20}, 1, &host), "to") == value{6});
    // The rest alone would be out of order with what was chosen: as the authority says.
    CHECK(why(settle(c, resolution::use_remote(), by, timestamp{20}, 1, &host)) == errc::forbidden);
    CHECK(settle(c, resolution::use_remote(), by, timestamp{20}, 1));
    // What is so is contested, once somebody knows it.
    apply_context as;
    as.author = 1;
    as.host = &host;
    conflict known = c;
    known.fields = contested_now(c, *c.remote, by, as);
    REQUIRE(known.fields.size() == 3);
    CHECK(std::any_of(known.fields.begin(), known.fields.end(), [](contested_field const& f) {
        return f.path == field_path{"from"} && f.guard == "in order" && f.by == rule::last_writer;
    }));
    auto const theirs = settle(known, resolution::use_remote(), by, timestamp{20}, 1, &host);
    REQUIRE(theirs);
    CHECK_FALSE(theirs->sends());
    CHECK(field(*settle(known, resolution::use_local(), by, timestamp{20}, 1, &host), "from") == value{5});
    CHECK(contested_now(known, *c.remote, by, as) == known.fields);
    host.guards[0].judge = [](guard_input const&, void const*) {
        return guard_answer{guard_answer::kind::escalate, {}};
    };
    CHECK(why(settle(c, resolution::use_local(), by, timestamp{20}, 1, &host)) == errc::forbidden);
    host.guards[0].judge = [](guard_input const&, void const*) {
        return guard_answer{guard_answer::kind::repair, {{"note", op_kind::set, item("checked"), {}}}};
    };
    host.guards[0].reads = {"to"};
    auto const repaired = settle(c, resolution::use_local(), by, timestamp{20}, 1, &host);
    CHECK(field(*repaired, "note") == value{"checked"});
    CHECK(std::any_of(repaired->decisions.begin(), repaired->decisions.end(),
                      [](decision const& d) { return d.field == "note" && d.won == winner::guard; }));
}

TEST_CASE("what the authority's time has decided since waits for a person") {
    collection_rules const by{"bookings", rule::last_writer, {{"q", rule::authority_time}, {"t", rule::manual}}};
    auto const v = [&](int n, char const* t) { return fields({{"q", n}, {"t", t}}); };
    auto const c = met(by, v(1, "hall"), v(9, "bar"), v(5, "garden"), {{"t"}});
    CHECK(why(settle(c, resolution::use_remote(), by, timestamp{20}, 1)) == errc::contended);
    auto const now = contested_now(c, *c.remote, by);
    REQUIRE(now.size() == 2);
    CHECK(now[0].path == field_path{"q"});
    CHECK(now[0].by == rule::authority_time);
    conflict all = c;
    all.fields = now;
    CHECK(settle(all, resolution::use_local(), by, timestamp{20}, 1)->after->fields == v(5, "garden"));
    CHECK_FALSE(settle(all, resolution::use_remote(), by, timestamp{20}, 1)->sends());
}

TEST_CASE("rules of another collection decide nothing") {
    collection_rules other = rules;
    other.collection = "rooms";
    CHECK(why(settle(sample(), resolution::use_local(), other, timestamp{300}, 1)) == errc::invalid);
    other.collection.clear();
    CHECK(settle(sample(), resolution::use_local(), other, timestamp{300}, 1));
}

TEST_CASE("another rule, replayed for fields that go together, and inside a map") {
    auto const v = [&](int t, int u) { return fields({{"t", t}, {"u", u}}); };
    for (bool const whole : {false, true}) {
        collection_rules by{"bookings"};
        if (whole) {
            by.whole = rule::manual;
        } else {
            by.groups.push_back({"g", rule::manual, {"t", "u"}});
        }
        auto const c = met(by, v(1, 1), v(5, 1), v(9, 2), {{"t"}, {"u"}});
        auto const t_by = [&](rule r) {
            auto const x = by_rule(c, r, by, 1);
            REQUIRE(x);
            return *value_view{x->fields[0].value}.as_int64();
        };
        CHECK(t_by(rule::maximum) == 9);
        CHECK(t_by(rule::minimum) == 5);
        CHECK(t_by(rule::counter) == 13);
        CHECK(t_by(rule::last_writer) == 5);
        CHECK(t_by(rule::local) == 9);
        // One side's values of all.
        CHECK(by_rule(c, rule::last_writer, by, 1)->fields[1].value == item(1));
    }
    collection_rules deep{"bookings", rule::last_writer, {{"a", rule::nested}}};
    deep.fields[0].inner = {{"x", rule::manual}};
    auto const n = [&](int x) { return fields({{"a", map_of({{"x", x}})}}); };
    auto const c = met(deep, n(1), n(5), n(9), {{"a", "x"}});
    CHECK(by_rule(c, rule::maximum, deep, 1)->fields[0].value == item(9));
    CHECK(by_rule(c, rule::counter, deep, 1)->fields[0].value == item(13));
}

TEST_CASE("what was added to a set is taken back, and what others added stays") {
    collection_rules const by{"bookings", rule::last_writer, {{"t", rule::manual}, {"tags", rule::add_wins}}};
    auto const v = [&](char const* t, std::initializer_list<value> tags) {
        return fields({{"t", t}, {"tags", array_of(tags)}});
    };
    auto const c = met(by, v("hall", {}), v("bar", {"b"}), v("garden", {"a"}), {{"t"}});
    auto const s = settle(c, resolution::use_local(), by, timestamp{20}, 1);
    REQUIRE(s);
    row now = *c.remote;
    REQUIRE(at_authority(now, s->change, by, 1) == verdict_kind::applied);
    mutation more = edit(v("garden", {"a", "b"}), v("garden", {"a", "b", "c"}), by, 40);
    more.base = now.version;
    REQUIRE(at_authority(now, more, by, 2) == verdict_kind::applied);
    auto const back = inverse(*c.remote, *s, now, by, timestamp{50}, 1);
    REQUIRE(back);
    CHECK(back->after->fields == v("bar", {"b", "c"}));

    // What was but removed, from a set that has marks inside, comes back too.
    auto const less = met(by, v("hall", {"a", "b"}), v("bar", {"a", "b", "c"}), v("garden", {"b"}), {{"t"}});
    auto const gone = settle(less, resolution::use_local(), by, timestamp{20}, 1);
    REQUIRE(gone);
    CHECK(gone->after->fields == v("garden", {"b", "c"}));
    auto const made = replayed(*less.remote, gone->change, 1);
    REQUIRE(made);
    CHECK((*made)->fields == gone->after->fields);
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

namespace {

/// Guards over some of the fields a to e: their sum is at most so much.
struct sum_guard {
    std::vector<std::string> reads{};
    std::int64_t most = 0;
    [[nodiscard]] bool accepts(bytes_view record) const {
        std::int64_t sum = 0;
        for (std::string const& f : reads) { sum += number(*map_find(record, f)); }
        return sum <= most;
    }
};
guard_answer judge_sum(guard_input const& in, void const* data) {
    bool const ok = in.after.deleted || static_cast<sum_guard const*>(data)->accepts(in.after.fields);
    return {ok ? guard_answer::kind::accept : guard_answer::kind::veto, {}};
}
std::string const letters[] = {"a", "b", "c", "d", "e"};

}  // namespace

TEST_CASE("a conflict that guards raise is about what they read, and any choice that they accept decides it") {
    collection_rules const by{"bookings", rule::last_writer, {}};
    random_generator dice{5};
    std::size_t conflicts = 0, locals = 0, mixed = 0, with_another = 0;
    for (int round = 0; round != 10'000; ++round) {
        std::vector<sum_guard> sums(1 + static_cast<std::size_t>(below(dice, 3)));
        std::vector<std::string> read;
        merge_host host;
        for (sum_guard& g : sums) {
            for (std::string const& f : letters) {
                if (below(dice, 3) == 0) { g.reads.push_back(f); }
            }
            if (g.reads.empty()) { g.reads.emplace_back("b"); }
            if (below(dice, 2) == 0) { std::reverse(g.reads.begin(), g.reads.end()); }
            g.most = static_cast<std::int64_t>(g.reads.size()) * 2 + static_cast<std::int64_t>(below(dice, 4));
            read.insert(read.end(), g.reads.begin(), g.reads.end());
            host.guards.push_back({"sum " + std::to_string(&g - sums.data()), g.reads, judge_sum, &g});
        }
        auto const draw = [&](bytes_view from) {
            std::vector<value_entry> out;
            for (std::string const& f : letters) {
                bool const other = from.empty() || below(dice, 2) == 0;
                auto const n = static_cast<std::int64_t>(below(dice, 5));
                out.push_back({value{f}, value{other ? n : number(*map_find(from, f))}});
            }
            return to_bytes(value::map(out)->encoded());
        };
        auto const fine = [&](bytes_view record) {
            return std::all_of(sums.begin(), sums.end(), [&](sum_guard const& g) { return g.accepts(record); });
        };
        conflict c;
        c.record = {"bookings", "b1"};
        c.base = draw({});
        bytes const mine = draw(c.base);
        bytes const theirs = draw(c.base);
        if (!fine(c.base) || !fine(theirs) || theirs == c.base || mine == c.base) { continue; }
        c.remote.emplace();
        c.remote->version = 1;
        c.remote->floor = {1, timestamp{1}, 9};
        c.remote->fields = c.base;
        mutation other;
        other.base = 1;
        other.record = c.record;
        other.stamp = timestamp{static_cast<std::uint64_t>(20 + 20 * below(dice, 2))};
        other.ops = *diff(c.base, theirs, by, other.stamp);
        c.local = other;
        c.local.stamp = timestamp{30};
        c.local.ops = *diff(c.base, mine, by, c.local.stamp);
        apply_context as;
        as.host = &host;
        as.author = 2;
        as.at = 2;
        REQUIRE(apply(c.remote, other, by, as).changed);
        as.author = 1;
        as.at = 3;
        auto after = c.remote;
        auto const met = apply(after, c.local, by, as);
        if (met.verdict != verdict_kind::conflict) { continue; }
        ++conflicts;
        with_another += met.guard.find(", ") != std::string::npos;
        for (decision const& d : met.decisions) {
            if (d.won != winner::nobody) { continue; }
            REQUIRE(std::find(read.begin(), read.end(), d.field) != read.end());
            REQUIRE(operation_on(c.local.ops, d.field) != nullptr);
            c.fields.push_back({{d.field}, d.by, met.guard, 0, 0, {}});
        }
        // A device that knows the guards sees the same contested.
        conflict bare = c;
        bare.fields.clear();
        auto const now = contested_now(bare, *c.remote, by, as);
        REQUIRE(now.size() == c.fields.size());
        for (std::size_t i = 0; i != now.size(); ++i) { REQUIRE(now[i].path == c.fields[i].path); }
        // The rest by the rules, the contested as chosen: whatever the guards accept can be decided so.
        auto const decide = [&](resolution const& how, std::vector<field_take> const& takes) {
            bytes wanted = c.remote->fields;
            auto const put = [&](std::string const& f, bytes_view from) {
                wanted = detail::rewrite_fields(wanted, {{f, true, **map_find(from, f)}});
            };
            for (field_op const& op : c.local.ops) {
                auto const at = std::find_if(c.fields.begin(), c.fields.end(),
                                             [&](contested_field const& f) { return f.path.front() == op.field; });
                bool const later = c.remote->mark_of(op.field).stamp < op.stamp;
                if (at == c.fields.end() && later) { put(op.field, mine); }
                if (at == c.fields.end()) { continue; }
                field_take const take = takes[static_cast<std::size_t>(at - c.fields.begin())];
                if (take != field_take::remote) { put(op.field, take == field_take::local ? mine : c.base); }
            }
            auto const s = settle(c, how, by, timestamp{50}, 1, &host);
            REQUIRE(s.has_value() == fine(wanted));
            if (!s) {
                REQUIRE(s.error() == errc::forbidden);
                return false;
            }
            REQUIRE(s->after->fields == wanted);
            if (!s->sends()) { return true; }
            auto said = c.remote;
            as.at = 4;
            REQUIRE(apply(said, s->change, by, as).verdict == verdict_kind::applied);
            REQUIRE(said->fields == wanted);
            return true;
        };
        std::size_t const n = c.fields.size();
        REQUIRE(decide(resolution::use_remote(), std::vector<field_take>(n, field_take::remote)));
        locals += decide(resolution::use_local(), std::vector<field_take>(n, field_take::local));
        std::vector<field_decision> choices;
        std::vector<field_take> takes;
        for (contested_field const& f : c.fields) {
            takes.push_back(static_cast<field_take>(1 + below(dice, 3)));
            choices.push_back({f.path, takes.back(), {}});
        }
        mixed += decide(resolution::merge_fields(std::move(choices)), takes);
    }
    CHECK(conflicts > 200);
    CHECK(locals > 20);
    CHECK(mixed > 50);
    CHECK(with_another > 5);
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
    // What one repairs of it is in the record, and told.
    merge_host repairs;
    repairs.guards = {
        {"note of the garden",
         {"table"},
         [](guard_input const&, void const*) {
             return guard_answer{guard_answer::kind::repair, {{"note", op_kind::set, item("under trees"), {}}}};
         },
         nullptr}};
    auto const back = inverse(before, done, current, rules, timestamp{400}, 1, &repairs);
    REQUIRE(back);
    CHECK(field(*back, "note") == value{"under trees"});
    REQUIRE(back->decisions.size() == 1);
    CHECK(back->decisions[0].won == winner::guard);
    CHECK(back->decisions[0].field == "note");
}

namespace {

bytes of_items(std::vector<bytes> const& items) {
    bytes out;
    cbor_writer w{out};
    w.array(items.size());
    for (bytes const& i : items) { w.raw(i); }
    return out;
}
bytes of_fields(std::vector<std::pair<std::string, bytes>> const& all) {
    bytes out;
    cbor_writer w{out};
    w.map(all.size());
    for (auto const& [name, value] : all) {
        w.text(name);
        w.raw(value);
    }
    return out;
}

}  // namespace

TEST_CASE("what was removed from a set comes back whole, whatever its elements look like") {
    // Texts, arrays and maps: of a list the latter two would have names of their own.
    bytes const all = of_items({item("y"), of_items({item(1), item(0)}), of_fields({{"id", item(4)}})});
    for (rule const by : {rule::add_wins, rule::remove_wins}) {
        collection_rules const sets{"bookings", rule::last_writer, {{"ask", rule::manual}, {"tags", by}}};
        conflict c;
        c.record = {"bookings", "b1"};
        c.local.stamp = timestamp{100};
        c.local.record = c.record;
        c.local.base = 4;
        c.base = of_fields({{"ask", item(1)}, {"tags", all}});
        auto const ops = diff(c.base, of_fields({{"ask", item(2)}, {"tags", of_items({})}}), sets, timestamp{100});
        REQUIRE(ops);
        c.local.ops = *ops;
        c.remote.emplace();
        c.remote->version = 9;
        c.remote->floor = {3, timestamp{10}, 2};
        c.remote->exceptions.push_back({"ask", {9, timestamp{200}, 2}});
        c.remote->fields = of_fields({{"ask", item(3)}, {"tags", all}});
        c.fields.push_back({{"ask"}, rule::manual, "", 0, 0, {}});
        auto const mine = local_fields(c);
        REQUIRE(mine);
        CHECK(*mine == of_fields({{"ask", item(2)}, {"tags", of_items({})}}));
        auto const done = settle(c, resolution::use_remote(), sets, timestamp{300}, 1);
        REQUIRE(done);
        CHECK(done->after->fields == of_fields({{"ask", item(3)}, {"tags", of_items({})}}));
        auto made = replayed(*c.remote, done->change, 1);
        REQUIRE(made);
        CHECK((*made)->fields == done->after->fields);
        settled told{done->change, *made, {}};
        auto const back = inverse(*c.remote, told, *done->after, sets, timestamp{400}, 1);
        REQUIRE(back);
        CHECK(back->after->fields == c.remote->fields);
    }
}

TEST_CASE("a map that this side wrote as a whole goes along as a whole") {
    // Inside of it the rules would refuse what the later writer has made of it: a maximum that goes down, a flag that is none.
    collection_rules maps{"bookings", rule::last_writer, {{"ask", rule::manual}, {"box", rule::nested}}};
    maps.fields[1].inner = {{"flag", rule::enable_wins}, {"most", rule::maximum}};
    conflict c;
    c.record = {"bookings", "b1"};
    c.local.stamp = timestamp{100};
    c.local.record = c.record;
    c.local.base = 4;
    bytes const mine = of_fields({{"flag", item(0)}, {"most", item(5)}});
    c.local.ops = {{"ask", op_kind::set, item(2), timestamp{100}}, {"box", op_kind::set, mine, timestamp{100}}};
    c.base = of_fields({{"ask", item(1)}});
    c.remote.emplace();
    c.remote->version = 9;
    c.remote->floor = {3, timestamp{10}, 2};
    c.remote->exceptions = {{"ask", {9, timestamp{200}, 2}}, {"box", {9, timestamp{50}, 2}}};
    c.remote->fields = of_fields({{"ask", item(3)}, {"box", of_fields({{"flag", item(true)}, {"most", item(7)}})}});
    c.fields.push_back({{"ask"}, rule::manual, "", 0, 0, {}});
    for (auto const& how : {resolution::use_local(), resolution::use_remote()}) {
        auto const done = settle(c, how, maps, timestamp{300}, 1);
        REQUIRE(done);
        bool const own = how.kind == resolve_kind::use_local;
        CHECK(done->after->fields == of_fields({{"ask", item(own ? 2 : 3)}, {"box", mine}}));
    }
}

namespace {

/// A conflict about `n` fields, by a rule; beside it `n` elements are taken out of a list.
conflict wide(std::size_t n) {
    std::vector<bytes> numbers;
    std::vector<std::pair<std::string, bytes>> before;
    std::vector<std::pair<std::string, bytes>> theirs;
    conflict c;
    c.record = {"bookings", "b1"};
    c.local.stamp = timestamp{100};
    c.local.record = c.record;
    c.local.base = 4;
    std::vector<element_edit> edits;
    for (std::size_t i = 0; i != n; ++i) { numbers.push_back(item(static_cast<std::int64_t>(1'000'000 + i))); }
    for (bytes const& one : numbers) { edits.push_back({element_verb::remove, one, {}, {}}); }
    bytes const all = of_items(numbers);
    before.emplace_back("list", all);
    theirs.emplace_back("list", all);
    c.local.ops.push_back({"list", op_kind::elements, {}, timestamp{100}});
    cbor_writer w{c.local.ops.back().value};
    encode_element_edits(w, edits);
    c.remote.emplace();
    c.remote->version = 9;
    c.remote->floor = {3, timestamp{10}, 2};
    for (std::size_t i = 0; i != n; ++i) {
        std::string const name = "f" + std::to_string(100'000 + i);
        before.emplace_back(name, item(1));
        theirs.emplace_back(name, item(3));
        c.local.ops.push_back({name, op_kind::set, item(2), timestamp{100}});
        c.remote->exceptions.push_back({name, {9, timestamp{200}, 2}});
        c.fields.push_back({{name}, rule::manual, "", 0, 0, {}});
    }
    c.base = of_fields(before);
    c.remote->fields = of_fields(theirs);
    return c;
}

}  // namespace

TEST_CASE("a decision about many fields costs about as much more as they are more") {
    for (rule const by : {rule::manual, rule::authority_time}) {
        INFO(name(by));
        collection_rules const many{"bookings", by, {{"list", rule::list}}};
        auto const cost = [&](std::size_t n) {
            conflict const c = wide(n);
            std::clock_t const begin = std::clock();
            auto const open = contested_now(c, *c.remote, many);
            auto const done = settle(c, resolution::use_local(), many, timestamp{300}, 1);
            REQUIRE(done);
            auto const made = replayed(*c.remote, done->change, 1);
            REQUIRE(made);
            auto const back = inverse(*c.remote, {done->change, *made, {}}, *done->after, many, timestamp{400}, 1);
            auto const asked = conflict_questions::of(c);
            auto const took = static_cast<double>(std::clock() - begin);
            REQUIRE(back);
            CHECK(back->after->fields == c.remote->fields);
            CHECK(open.size() == n);
            REQUIRE(asked);
            CHECK(asked->all().size() == n);
            return took;
        };
        double const few = (std::min)({cost(500), cost(500), cost(500)});
        CHECK(cost(4'000) < 30 * (few + static_cast<double>(CLOCKS_PER_SEC) / 500));
    }
}

TEST_CASE("another rule for many fields that win together costs about as much more as they are more") {
    auto const cost = [&](std::size_t n, rule by) {
        conflict const c = wide(n);
        collection_rules many{"bookings", rule::last_writer, {{"list", rule::list}}};
        many.groups = {{"all", rule::manual, {}}};
        for (contested_field const& f : c.fields) { many.groups[0].fields.push_back(f.path.front()); }
        std::clock_t const begin = std::clock();
        auto const how = by_rule(c, by, many, 1);
        auto const took = static_cast<double>(std::clock() - begin);
        REQUIRE(how);
        CHECK(how->fields.size() == n);
        CHECK(how->fields.front().value == item(by == rule::local ? 2 : 3));
        CHECK(how->fields.back().value == how->fields.front().value);
        return took;
    };
    for (rule const by : {rule::local, rule::maximum}) {
        INFO(name(by));
        double const few = (std::min)({cost(500, by), cost(500, by), cost(500, by)});
        CHECK(cost(4'000, by) < 30 * (few + static_cast<double>(CLOCKS_PER_SEC) / 500));
    }
}
