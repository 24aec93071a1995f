// SPDX-License-Identifier: BSL-1.0

/// Preferences, what may be applied without asking, and what a decision teaches.

#include <syncline/conflict/automatic.hpp>

#include <string>
#include <vector>

#include <syncline/core/value.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

bytes fields(std::initializer_list<value_entry> entries) { return to_bytes(value::map(entries)->encoded()); }
wall_time at(std::int64_t ms) { return wall_time{milliseconds{ms}}; }
collection_rules const rules{"bookings", rule::last_writer, {{"table", rule::manual}, {"price", rule::manual}}};
conflict_queue const queue;

conflict clash(bool with_price = false) {
    conflict c;
    c.record = {"bookings", "b1"};
    c.local.sequence = 1;
    c.local.stamp = timestamp{100};
    c.local.record = c.record;
    c.local.base = 4;
    if (with_price) { c.local.ops.push_back({"price", op_kind::set, to_bytes(value{120}.encoded()), timestamp{100}}); }
    c.local.ops.push_back({"table", op_kind::set, to_bytes(value{"garden"}.encoded()), timestamp{100}});
    c.base = fields({{"price", 100}, {"table", "hall"}});
    c.remote.emplace();
    c.remote->version = 9;
    c.remote->floor = {9, timestamp{200}, 2};
    c.remote->fields = fields({{"price", 90}, {"table", "terrace"}});
    if (with_price) { c.fields.push_back({{"price"}, rule::manual, "", 0, 0, {}}); }
    c.fields.push_back({{"table"}, rule::manual, "", 0, 0, {}});
    return c;
}
decision_maker ann() { return {as_bytes("ann"), timestamp{300}, at(2000), 1, false}; }

/// Sure of one way.
struct sure {
    conflict_action what = conflict_action::local;
    share16 confidence = share_one * 9 / 10;
    result<suggestion> suggest(conflict_question const&) const {
        suggestion s;
        s.what = what;
        s.confidence = confidence;
        s.source = suggestion_source::host;
        return s;
    }
};
/// What it is told.
struct pupil {
    std::vector<conflict_action> heard{};
    void learn(conflict_question const&, conflict_action a) { heard.push_back(a); }
};

/// Whether it was applied, when raised and suggested about.
bool applied(conflict const& c, sure with, automatic_options const& o, std::optional<standing_choice> wish = {}) {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    auto const id = queue.raise(*tx, c, at(1000));
    REQUIRE(id);
    conflict_preferences const preferences;
    if (wish) { REQUIRE(preferences.set(*tx, as_bytes("ann"), "bookings", "table", *wish)); }
    auto const done = suggest_or_apply(queue, *tx, *id, with, rules, o, ann());
    REQUIRE(done);
    auto const now = *queue.find(*tx, *id);
    CHECK((now.state == conflict_state::decided) == done->has_value());
    CHECK(now.fields[0].suggested.has_value());
    if (*done) {
        auto const history = *queue.history(*tx, *id);
        CHECK(history.back().automatic);
    }
    REQUIRE(queue.verify(*tx));
    return done->has_value();
}

}  // namespace

TEST_CASE("nothing is applied unless the host sets a threshold, and what is less sure isn't") {
    CHECK_FALSE(applied(clash(), {}, {}));
    CHECK(applied(clash(), {}, {.threshold = share_one * 9 / 10}));
    CHECK_FALSE(applied(clash(), {}, {.threshold = share_one * 9 / 10 + 1}));
    CHECK_FALSE(applied(clash(), {.what = conflict_action::ask}, {.threshold = 0}));
    // What can't be made one is left to the person.
    CHECK_FALSE(applied(clash(), {.what = conflict_action::merge}, {.threshold = 0}));
}

TEST_CASE("never on a field that only a person may decide, nor on deletions, however sure") {
    automatic_options const o{.threshold = 0, .fields = {{"bookings", "price", true, 0}}};
    CHECK(applied(clash(), {}, o));
    CHECK_FALSE(applied(clash(true), {}, o));
    CHECK_FALSE(applied(clash(true), {.confidence = share_one}, o));
    automatic_options table = o;
    table.fields[0].field = "table";
    CHECK_FALSE(applied(clash(), {}, table, standing_choice::local));
    conflict deleted = clash();
    deleted.fields = {contested_field{}};
    CHECK_FALSE(applied(deleted, {.confidence = share_one}, o));
}

TEST_CASE("a person's preference goes before the suggester") {
    automatic_options const o{.threshold = share_one};
    CHECK(applied(clash(), {.what = conflict_action::ask}, o, standing_choice::remote));
    CHECK(applied(clash(), {.what = conflict_action::ask}, o, standing_choice::newer));
    CHECK_FALSE(applied(clash(), {.confidence = share_one}, o, standing_choice::ask));
    CHECK_FALSE(applied(clash(), {.confidence = share_one}, o, standing_choice::higher_role));  // equal: ask
    CHECK_FALSE(applied(clash(), {.confidence = share_one}, o, standing_choice::merge));
}

TEST_CASE("preferences: of a field before that of its collection, of one person only") {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    conflict_preferences const p;
    REQUIRE(p.set(*tx, as_bytes("ann"), "bookings", "", standing_choice::newer));
    REQUIRE(p.set(*tx, as_bytes("ann"), "bookings", "table", standing_choice::local));
    CHECK(*p.find(*tx, as_bytes("ann"), "bookings", "table") == standing_choice::local);
    CHECK(*p.find(*tx, as_bytes("ann"), "bookings", "price") == standing_choice::newer);
    CHECK_FALSE(*p.find(*tx, as_bytes("ben"), "bookings", "table"));
    CHECK_FALSE(*p.find(*tx, as_bytes("ann"), "booking", "table"));
    REQUIRE(p.clear(*tx, as_bytes("ann"), "bookings", "table"));
    CHECK(*p.find(*tx, as_bytes("ann"), "bookings", "table") == standing_choice::newer);
    CHECK(p.set(*tx, {}, "bookings", "table", standing_choice::local).error() == errc::invalid);
    CHECK(p.set(*tx, as_bytes(std::string(129, 'x')), "bookings", "", standing_choice::local).error() == errc::invalid);
    bytes key;
    (void)tx->scan({}, [&](bytes_view k, bytes_view) {
        key = to_bytes(k);
        return true;
    });
    CHECK(to_hex(key) == "6b7003616e6e08626f6f6b696e6773");
    std::byte const bad{9};
    REQUIRE(tx->put(key, {&bad, 1}));
    CHECK(p.find(*tx, as_bytes("ann"), "bookings", "table").error() == errc::corrupt);
}

TEST_CASE("preferences: what is no choice is refused, and nothing is stored") {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    conflict_preferences const p;
    for (unsigned const n : {0U, 7U, 99U, 255U}) {
        CHECK(p.set(*tx, as_bytes("ann"), "c", "f", static_cast<standing_choice>(n)).error() == errc::invalid);
    }
    CHECK(*p.find(*tx, as_bytes("ann"), "c", "f") == std::nullopt);
}

TEST_CASE("what a decision teaches") {
    auto const heard = [](resolution const& how) {
        pupil p;
        REQUIRE(learn_from(p, clash(true), how, as_bytes("ann")));
        return p.heard;
    };
    using a = conflict_action;
    auto const own = [](value const& v) {
        return field_decision{{"table"}, field_take::custom, to_bytes(v.encoded())};
    };
    field_decision const price{{"price"}, field_take::remote, {}};
    CHECK(heard(resolution::use_local()) == std::vector{a::local, a::local});
    CHECK(heard(resolution::use_remote()) == std::vector{a::remote, a::remote});
    CHECK(heard(resolution::merge_fields({price, own("garden")})) == std::vector{a::remote, a::local});
    CHECK(heard(resolution::merge_fields({price, own("bar")})) == std::vector{a::remote, a::ask});
    CHECK(heard(resolution::merge_fields({price, {{"table"}, field_take::base, {}}})) ==
          std::vector{a::remote, a::ask});
    CHECK(heard(resolution::custom(fields({{"price", 120}, {"table", "terrace"}}))) ==
          std::vector{a::local, a::remote});
    pupil p;
    conflict unknown = clash();
    unknown.remote.reset();
    CHECK(learn_from(p, unknown, resolution::use_local(), {}).error() == errc::not_found);
    CHECK(p.heard.empty());
}

TEST_CASE("every storage call fails: suggested and applied, or neither") {
    auto const report = testing::nth_failure(
        [](auto& store) {
            auto tx = store.begin(access_mode::write);
            (void)queue.raise(*tx, clash(), at(1000));
            (void)tx->commit();
        },
        [](auto& store) -> status {
            auto tx = store.begin(access_mode::write);
            if (!tx) { return tx.error(); }
            sure with;
            auto const done = suggest_or_apply(queue, *tx, 1, with, rules, {.threshold = 0}, ann());
            if (!done) { return done.error(); }
            return tx->commit();
        });
    CHECK(testing::to_text(report.violations) == "");
    CHECK(report.runs > 30);
}
