// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <string>
#include <utility>

#include <syncline/merge/three_way.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

struct booking {
    std::string client;
    std::int64_t guests = 0;
    std::int64_t paid = 0;
    std::optional<std::string> note{};
    std::string table{};
    syncline::unknown_fields rest{};
};
constexpr auto describe(booking const*) {
    return record_of<booking>("bookings", syncline::field("client", &booking::client),
                              syncline::field("guests", &booking::guests, rule::counter),
                              syncline::field("paid", &booking::paid, rule::maximum),
                              syncline::field("note", &booking::note),
                              syncline::field("table", &booking::table, rule::manual), unknown(&booking::rest));
}

}  // namespace

TEST_CASE("three_way: each side's own changes are taken, what both changed is decided by the field's rule") {
    booking const base{"Ødegård", 100, 50, "veg", "4", {}};
    booking local = base;
    booking remote = base;
    local.guests = 105;
    remote.guests = 98;
    local.paid = 80;
    remote.paid = 60;
    local.note = std::nullopt;
    remote.client = "Ødegård & Søn";

    auto const out = three_way(base, local, remote);
    REQUIRE(out);
    CHECK(out->record.client == "Ødegård & Søn");
    CHECK(out->record.guests == 103);
    CHECK(out->record.paid == 80);
    CHECK_FALSE(out->record.note);
    CHECK(out->record.table == "4");
    CHECK(out->conflicts.empty());
    CHECK(out->decisions.size() == 2);
}

TEST_CASE("three_way: a manual field that both changed is a conflict, and the rest is merged all the same") {
    booking const base{"a", 1, 1, {}, "4", {}};
    booking local = base;
    booking remote = base;
    local.table = "5";
    local.guests = 2;
    remote.table = "6";
    auto const out = three_way(base, local, remote);
    REQUIRE(out);
    CHECK(out->conflicts == std::vector<std::string>{"table"});
    CHECK(out->record.table == "6");
    CHECK(out->record.guests == 2);
}

TEST_CASE("three_way: laws of every merge") {
    syncline::random_generator dice{3};
    collection_rules const r = rules().of("things");
    auto const some = [&](bytes const& from) {
        std::vector<std::pair<std::string, std::int64_t>> out;
        for (auto const* name : {"name", "count", "least", "most", "ruled", "asked"}) {
            auto const was = field(from, name);
            if (dice() % 3 == 0) {
                out.emplace_back(name, static_cast<std::int64_t>(dice() % 5));
            } else if (was) {
                out.emplace_back(name, *was);
            }
        }
        return fields(out);
    };
    for (int i = 0; i < 2000; ++i) {
        bytes const base = some(fields({}));
        bytes const x = some(base);
        bytes const y = some(base);
        side const older{timestamp{10}, 1};
        side const newer{timestamp{20}, 2};
        // Nothing changed on one side: the other side, whatever the rules.
        CHECK(three_way(base, x, base, r, newer, older)->record == x);
        CHECK(three_way(base, base, x, r, older, newer)->record == x);
        CHECK(three_way(base, x, base, r)->conflicts.empty());
        // Both changed it the same way, counters aside: no conflict.
        CHECK(three_way(base, x, x, r, older, newer)->conflicts.empty());
        // Swapping the sides swaps nothing where the rule is a state law or a sum.
        auto const a = three_way(base, x, y, r, older, newer);
        auto const b = three_way(base, y, x, r, newer, older);
        REQUIRE(a);
        REQUIRE(b);
        for (auto const* name : {"name", "count", "least", "most"}) {
            CHECK(field(a->record, name) == field(b->record, name));
        }
        CHECK(a->conflicts == b->conflicts);
    }
}

TEST_CASE("three_way: a counter that one side adds to and the other makes something else of goes to the last writer") {
    collection_rules const r = rules().of("things");
    bytes const base = fields({{"count", 5}});
    bytes const more = fields({{"count", 7}});
    bytes const gone = fields({});
    bytes other;
    cbor_writer w{other};
    w.map(1);
    w.text("count");
    w.text("five");
    side const older{timestamp{10}, 1};
    side const newer{timestamp{20}, 2};
    for (bytes const& theirs : {gone, other}) {
        CHECK(three_way(base, more, theirs, r, newer, older)->record == more);
        CHECK(three_way(base, theirs, more, r, older, newer)->record == more);
        CHECK(three_way(base, more, theirs, r, older, newer)->record == theirs);
        CHECK(three_way(base, theirs, more, r, newer, older)->record == theirs);
    }
}

TEST_CASE("three_way: what is no canonical map is refused") {
    bytes const good = fields({{"name", 1}});
    bytes bad = good;
    bad.pop_back();
    CHECK(three_way(good, bad, good, collection_rules{}).error() == errc::malformed);
    CHECK(three_way(bad, good, good, collection_rules{}).error() == errc::malformed);
    CHECK_FALSE(three_way(good, good, integer(3), collection_rules{}));
    bytes const counted = fields({{"count", (std::numeric_limits<std::int64_t>::max)()}});
    bytes const least = fields({{"count", (std::numeric_limits<std::int64_t>::min)()}});
    CHECK(three_way(counted, least, fields({{"count", 0}}), rules().of("things")).error() == errc::overflow);
    CHECK(three_way(counted, least, counted, rules().of("things"))->record == least);  // nobody else was there
}

namespace {

struct hall {
    std::int64_t seats = 0;
};
constexpr auto describe(hall const*) { return record_of<hall>("halls", field("seats", &hall::seats, rule::counter)); }
struct house {
    std::int64_t doors = 0;
    std::int8_t floors = 0;
    hall inside;
};
constexpr auto describe(house const*) {
    return record_of<house>("houses", field("doors", &house::doors, rule::counter),
                            field("floors", &house::floors, rule::counter),
                            field("inside", &house::inside, rule::nested));
}

}  // namespace

TEST_CASE("three_way: an error about a field says which, on every way to it") {
    constexpr auto most = (std::numeric_limits<std::int64_t>::max)();
    merge_host watched;  // a guard that accepts: the merge goes another way
    watched.guards = {{"fine", {"inside"}, [](guard_input const&, void const*) { return guard_answer{}; }, nullptr}};
    auto const far = [](house h, int which, bool up) {
        if (which == 0) { h.doors = up ? most : most - 1; }
        if (which == 1) { h.floors = up ? 127 : 126; }
        if (which == 2) { h.inside.seats = up ? most : most - 1; }
        return h;
    };
    char const* const names[] = {"doors", "floors", "inside.seats"};
    for (int which = 0; which != 3; ++which) {
        house const base{};
        house const local = far(base, which, true);
        house const remote = far(base, which, false);
        auto const rules = rules_of<house>();
        for (merge_host const* const host : {static_cast<merge_host const*>(nullptr), &std::as_const(watched)}) {
            std::string refused = "stale";
            auto const m = three_way(base, local, remote, {timestamp{1}, 1}, {timestamp{1}, 2}, host, &refused);
            REQUIRE_FALSE(m);
            CHECK(m.error() == errc::overflow);
            bool const of_member = which == 1 && host != nullptr;  // of a record that is decoded whole
            if (!of_member) { CHECK(refused == names[which]); }
            if (which == 1) { continue; }  // 253 is a sum like others where no struct holds it
            auto const b = *encode_record(base), l = *encode_record(local), r = *encode_record(remote);
            refused = "stale";
            CHECK(three_way(b, l, r, rules, {timestamp{1}, 1}, {timestamp{1}, 2}, host, &refused).error() ==
                  errc::overflow);
            CHECK(refused == names[which]);
            CHECK(three_way(b, l, b, rules, {timestamp{1}, 1}, {timestamp{1}, 2}, host, &refused));
            CHECK(refused.empty());
        }
    }
    // A mutation's outcome says it too.
    std::optional<row> current;
    current.emplace();
    current->fields = fields({{"name", 1}});
    collection_rules flags;
    flags.fields = {{"inside", rule::nested, {{"on", rule::enable_wins}}}, {"on", rule::enable_wins}};
    mutation m;
    field_op on{"on", op_kind::set, integer(3), {}};
    m.ops = {on};
    CHECK(apply(current, m, flags, {}).field == "on");
    field_op inside{"inside", op_kind::nested, {}, {}};
    cbor_writer w{inside.value};
    encode_operations(w, {on}, {});
    m.ops = {inside};
    auto const out = apply(current, m, flags, {});
    CHECK(out.reason == errc::type_mismatch);
    CHECK(out.field == "inside.on");
}
