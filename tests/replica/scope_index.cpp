// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/scope_index.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

// region: tables
bool is_due(record_key const&, row const& r, void const*) {
    auto const due = map_find(r.fields, "due");
    return due && due->has_value();
}
/// Rooms are told by house, to who works there; a person's own bookings to them; what is urgent to every manager.
scope_table house_scopes(role_source roles, bool (*works_in)(std::string_view, bytes_view, void const*)) {
    scope_rule rooms;
    rooms.name = "house";
    rooms.collection = "rooms";
    rooms.by = "house";        // the scopes are ("house", 1), ("house", 2), …
    rooms.permits = works_in;  // asked at each exchange
    scope_rule mine;
    mine.name = "mine";
    mine.collection = "bookings";
    mine.by = "guest";
    mine.own = true;  // ("mine", "anna") is Anna's alone
    scope_rule urgent;
    urgent.name = "urgent";
    urgent.holds = is_due;
    urgent.role = "manager";
    return scope_table{{rooms, mine, urgent}, roles, "backup"};  // who has the role backup may hold everything
}
/// What a guest pays is for those who have the role accounts.
read_mask house_mask(role_source roles) { return read_mask{{{"bookings", {"price", "card"}, "accounts", {}}}, roles}; }
// endregion: tables

role_source const by_name{
    [](std::string_view principal, std::string_view role, void const*) { return principal == role; }};

bytes fields_of(std::string_view house, bool due) {
    bytes out;
    cbor_writer w{out};
    w.map(due ? 2 : 1);
    if (due) {
        w.text("due");
        w.boolean(true);
    }
    w.text("house");
    w.text(house);
    return out;
}
row living(position at, bytes fields) {
    row r;
    r.version = at;
    r.floor.at = at;
    r.fields = std::move(fields);
    return r;
}
scope_table const table = house_scopes(by_name, nullptr);
read_mask const mask = house_mask(by_name);

std::vector<scope_index::due> due_in(memory_storage& s, scope_index const& index, scope const& what, position from,
                                     position& to, std::size_t count = 100, position since = 0) {
    auto tx = s.begin(access_mode::read);
    std::vector<scope_index::due> all;
    REQUIRE(index.add_due(
        *tx, what, 2, from, to, since, count, [](std::size_t, bytes_view) { return true; }, all));
    return all;
}

}  // namespace

TEST_CASE("scope_index: a table says where a record is, and who may have it") {
    REQUIRE(table.valid());
    auto const in = table.of({"rooms", "r1"}, living(1, fields_of("east", true)));
    REQUIRE(in);
    CHECK(*in == std::vector<scope>{scope_of("house", "east"), {"urgent", {}}});
    CHECK(table.of({"others", "r1"}, living(1, fields_of("east", false)))->empty());
    CHECK(table.permits("anna", scope_of("mine", "anna")));
    CHECK_FALSE(table.permits("ben", scope_of("mine", "anna")));
    CHECK_FALSE(table.permits("anna", scope{"mine", {}}));
    CHECK(table.permits("manager", scope{"urgent", {}}));
    CHECK_FALSE(table.permits("anna", scope{"urgent", {}}));
    CHECK_FALSE(table.permits("anna", scope{"other", {}}));
    CHECK(table.unscoped("backup"));
    CHECK_FALSE(table.unscoped("anna"));
    scope_rule twice;
    twice.name = "x";
    CHECK_FALSE(scope_table{{twice, twice}}.valid());
    scope_rule each;
    each.name = "each";
    each.by = "in";
    each.each = true;
    bytes many;
    cbor_writer w{many};
    w.map(1);
    w.text("in");
    w.array(record_scopes_max + 1);
    for (std::size_t i = 0; i <= record_scopes_max; ++i) { w.unsigned_integer(i); }
    CHECK(scope_table{{each}}.of({"a", "b"}, living(1, many)).error() == errc::limit);
}

TEST_CASE("scope_index: a record that wanders keeps the last marks of what it left, and the horizon says the rest") {
    memory_storage s;
    scope_index const index{"az"};
    record_key const k{"rooms", "r1"};
    position at = 0;
    std::optional<row> was;
    for (std::size_t i = 0; i < scopes_left_max + 3; ++i) {
        auto tx = s.begin(access_mode::write);
        row const now = living(++at, fields_of("h" + std::to_string(i), false));
        REQUIRE(index.enter(*tx, table, mask, k, was ? &*was : nullptr, now));
        REQUIRE(tx->commit());
        was = now;
    }
    position to = at;
    CHECK(due_in(s, index, scope_of("house", "h0"), 0, to).empty());
    CHECK(due_in(s, index, scope_of("house", "h5"), 0, to).size() == 1);
    CHECK(due_in(s, index, scope_of("house", "h5"), 0, to, 100, at).empty());
    CHECK(due_in(s, index, scope_of("house", "h34"), 0, to).size() == 1);
    auto tx = s.begin(access_mode::write);
    CHECK(index.horizon(*tx, scope_of("house", "h0")).value_or(0) == 2);
    CHECK(index.horizon(*tx, scope_of("house", "h5")).value_or(9) == 0);

    // What is below the leases' horizon goes in steps, and what remains of a tombstone with it.
    CHECK(index.collect(*tx, at, 10).value_or(false));
    CHECK_FALSE(index.collect(*tx, at, 100).value_or(true));
    CHECK(index.find(*tx, to_bytes(k))->scopes.size() == 1);
    REQUIRE(index.forget(*tx, to_bytes(k)));
    std::size_t rest = 0;
    REQUIRE(tx->scan({}, [&](bytes_view, bytes_view) {
        ++rest;
        return true;
    }));
    CHECK(rest == 2);  // the horizons of two scopes
}

TEST_CASE("scope_index: a stopped scan says how far it came, and parts no position") {
    memory_storage s;
    scope_index const index{"az"};
    auto tx = s.begin(access_mode::write);
    for (position at = 1; at <= 10; ++at) {
        record_key const k{"rooms", "r" + std::to_string(at)};
        REQUIRE(index.enter(*tx, table, mask, k, nullptr, living((at + 1) / 2, fields_of("east", false))));
    }
    REQUIRE(tx->commit());
    position to = 5;
    CHECK(due_in(s, index, scope_of("house", "east"), 0, to, 3).size() == 4);
    CHECK(to == 2);
    to = 5;
    CHECK(due_in(s, index, scope_of("house", "east"), 2, to, 100).size() == 6);
    CHECK(to == 5);
}

TEST_CASE("scope_index: rules that become others are worked out anew in steps, and only what moves takes a position") {
    memory_storage s;
    scope_index const index{"az"};
    std::vector<std::pair<record_key, row>> rows;
    for (int i = 0; i < 7; ++i) {
        rows.emplace_back(record_key{"rooms", "r" + std::to_string(i)},
                          living(static_cast<position>(i) + 1, fields_of("east", i % 2 == 0)));
    }
    auto const visit = [&](bytes_view from, function_ref<bool(record_key const&, row const&)> see) -> status {
        for (auto const& [k, r] : rows) {
            if (compare(to_bytes(k), from) >= 0 && !see(k, r)) { break; }
        }
        return {};
    };
    auto const build = [&](scope_table const& t, position head) {
        scope_index::build_report all;
        all.head = head;
        do {
            auto tx = s.begin(access_mode::write);
            auto const step = index.build(*tx, t, mask, all.head, 3, visit);
            REQUIRE(step);
            REQUIRE(tx->commit());
            all.rows += step->rows;
            all.moved += step->moved;
            all.head = step->head;
            all.more = step->more;
        } while (all.more);
        return all;
    };
    {
        auto tx = s.begin(access_mode::read);
        CHECK(index.current(*tx, table, mask, 7).error() == errc::busy);
        CHECK(index.current(*tx, table, mask, 0));
    }
    auto const first = build(table, 7);
    CHECK(first.rows == 7);
    CHECK(first.moved == 7);
    CHECK(first.head == 14);
    CHECK(build(table, 14).rows == 0);

    scope_rule urgent;
    urgent.name = "urgent";
    urgent.holds = is_due;
    scope_table const less{{urgent}, by_name};
    auto const second = build(less, 14);
    CHECK(second.moved == 7);  // all leave their house
    scope_rule more = urgent;
    more.revision = 2;
    more.holds = nullptr;
    auto const third = build(scope_table{{more}, by_name}, second.head);
    CHECK(third.moved == 3);
    CHECK(third.head == second.head + 3);
    position to = third.head;
    CHECK(due_in(s, index, {"urgent", {}}, second.head, to).size() == 3);
    CHECK(due_in(s, index, {"urgent", {}}, 0, to).size() == 7);
}
