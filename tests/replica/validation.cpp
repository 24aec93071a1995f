// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/validation.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <syncline/core/value.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>

#include "world.hpp"

namespace {

using namespace syncline;

bytes item(value const& v) { return to_bytes(v.encoded()); }
row living(std::map<std::string, bytes> const& fields) {
    std::vector<std::pair<std::string, bytes>> all{fields.begin(), fields.end()};
    std::sort(all.begin(), all.end(), [](auto const& a, auto const& b) { return compare_keys(a.first, b.first) < 0; });
    row r;
    cbor_writer w{r.fields};
    w.map(all.size());
    for (auto const& [name, v] : all) {
        w.text(name);
        w.raw(v);
    }
    return r;
}
validation said(record_check check, std::optional<row> const& before, row const& after) {
    check_table table;
    table.add(std::move(check));
    mutation m;
    m.record = {"things", "1"};
    return table(validation_input{"anna", m, before, after});
}
validation of_one(field_check f, bytes const& now) {
    f.field = "f";
    return said({"things", {std::move(f)}}, std::nullopt, living({{"f", now}}));
}
bool accepts(field_check f, bytes const& now) { return of_one(std::move(f), now).accepted; }

/// A number that fits its place, for the world's devices and their authority.
check_table whole_numbers() {
    check_table table;
    field_check count{"count", field_types::integer};
    count.least = 0;
    count.most = 10;
    field_check named{"ruled"};
    named.required = true;
    table.add({"things", {count, named}});
    return table;
}

}  // namespace

TEST_CASE("types", "[replica][validation]") {
    bytes_view const empty{};
    bytes floating;
    cbor_writer{floating}.floating(1.5);
    bytes text;
    cbor_writer{text}.text("x");
    bytes byte_string;
    cbor_writer{byte_string}.byte_string(empty);
    bytes boolean;
    cbor_writer{boolean}.boolean(true);
    bytes array;
    cbor_writer{array}.array(0);
    bytes map;
    cbor_writer{map}.map(0);
    std::vector<std::pair<bytes, std::uint32_t>> const all{
        {world::integer(1), field_types::integer | field_types::number},
        {world::integer(-1), field_types::integer | field_types::number},
        {floating, field_types::number},
        {text, field_types::text},
        {byte_string, field_types::byte_string},
        {boolean, field_types::boolean},
        {array, field_types::array},
        {map, field_types::map}};
    for (auto const& [v, types] : all) {
        for (std::uint32_t bits = 0; bits != 128; ++bits) {
            auto const answer = of_one({"", bits}, v);
            CHECK(answer.accepted == (bits == 0 || (bits & types) != 0));
            if (!answer.accepted) { CHECK(answer.reason == errc::type_mismatch); }
        }
    }
}

TEST_CASE("ranges against a naive model", "[replica][validation]") {
    std::vector<std::int64_t> const edges{(std::numeric_limits<std::int64_t>::min)(), -7, -1, 0, 1, 7,
                                          (std::numeric_limits<std::int64_t>::max)()};
    for (std::int64_t const least : edges) {
        for (std::int64_t const most : edges) {
            for (std::int64_t const n : edges) {
                field_check f;
                f.least = least;
                CHECK(accepts(f, world::integer(n)) == (n >= least));
                f.most = most;
                CHECK(accepts(f, world::integer(n)) == (n >= least && n <= most));
                f.least.reset();
                CHECK(accepts(f, world::integer(n)) == (n <= most));
            }
        }
    }
    // Beyond 64 bits with a sign, both ways.
    field_check f;
    f.most = (std::numeric_limits<std::int64_t>::max)();
    bytes huge;
    cbor_writer{huge}.unsigned_integer((std::numeric_limits<std::uint64_t>::max)());
    CHECK_FALSE(accepts(f, huge));
    bytes const deep{std::byte{0x3B}, std::byte{0xFF}, std::byte{0xFF}, std::byte{0xFF}, std::byte{0xFF},
                     std::byte{0xFF}, std::byte{0xFF}, std::byte{0xFF}, std::byte{0xFF}};
    CHECK(accepts(f, deep));
    f.least = (std::numeric_limits<std::int64_t>::min)();
    CHECK_FALSE(accepts(f, deep));
    CHECK_FALSE(accepts(f, huge));
    bytes real;
    cbor_writer{real}.floating(0.5);
    field_check unit;
    unit.least = 0;
    unit.most = 1;
    CHECK(accepts(unit, real));
    real.clear();
    cbor_writer{real}.floating(-0.5);
    CHECK_FALSE(accepts(unit, real));
    real.clear();
    cbor_writer{real}.floating(std::numeric_limits<double>::quiet_NaN());
    CHECK_FALSE(accepts(unit, real));
    CHECK(of_one(unit, item(value{"x"})).reason == errc::type_mismatch);
}

TEST_CASE("lengths, choices and what must be there", "[replica][validation]") {
    field_check f;
    f.length_max = 2;
    CHECK(accepts(f, item(value{"ab"})));
    CHECK_FALSE(accepts(f, item(value{"abc"})));
    bytes three;
    cbor_writer w{three};
    w.array(3);
    for (int i = 0; i < 3; ++i) { w.null(); }
    CHECK_FALSE(accepts(f, three));
    field_check one;
    one.one_of = {item(value{"open"}), item(value{"closed"})};
    CHECK(accepts(one, item(value{"open"})));
    CHECK_FALSE(accepts(one, item(value{"ajar"})));

    bytes null;
    cbor_writer{null}.null();
    field_check there;
    CHECK(accepts(there, null));
    there.required = true;
    auto const answer = of_one(there, null);
    CHECK_FALSE(answer.accepted);
    CHECK(answer.text == "f: it is missing");
    there.field = "f";
    CHECK_FALSE(said({"things", {there}}, std::nullopt, living({})).accepted);
    CHECK_FALSE(said({"things", {there}}, living({{"f", item(value{"x"})}}), living({})).accepted);
    row tomb;
    tomb.deleted = true;
    CHECK(said({"things", {there}}, living({{"f", item(value{"x"})}}), tomb).accepted);
    // A new life is held to everything again.
    CHECK_FALSE(said({"things", {there}}, tomb, living({})).accepted);
}

TEST_CASE("what a change leaves as it was is not held to later checks", "[replica][validation]") {
    field_check f{"f", field_types::integer};
    f.required = true;
    record_check check{"things", {f}, true};
    row const old = living({{"f", item(value{"x"})}, {"extra", world::integer(1)}});
    CHECK(said(check, old, living({{"f", item(value{"x"})}, {"extra", world::integer(2)}})).accepted);
    CHECK(said(check, old, living({{"f", world::integer(1)}})).accepted);
    CHECK_FALSE(said(check, old, living({{"f", item(value{"y"})}})).accepted);
    CHECK(said(check, living({}), living({{"extra", world::integer(2)}})).text == "extra: there is no such field");
    CHECK_FALSE(said(check, std::nullopt, old).accepted);
}

TEST_CASE("the host's own rule is asked last, of deletions too", "[replica][validation]") {
    int asked = 0;
    record_check check{"things"};
    check.data = &asked;
    check.judge = [](validation_input const& in, void const* data) {
        ++*static_cast<int*>(const_cast<void*>(data));
        return validation{!in.after.deleted, errc::rejected, "things stay"};
    };
    row tomb;
    tomb.deleted = true;
    CHECK(said(check, living({}), tomb).text == "things stay");
    CHECK(said(check, std::nullopt, living({})).accepted);
    CHECK(asked == 2);
    check.fields = {{"f", field_types::text}};
    CHECK_FALSE(said(check, std::nullopt, living({{"f", world::integer(1)}})).accepted);
    CHECK(asked == 2);
    check.collection = "others";
    CHECK(said(check, living({}), tomb).accepted);
    CHECK(asked == 2);
}

TEST_CASE("a device refuses before the commit what its authority would refuse", "[replica][validation]") {
    check_table const table = whole_numbers();
    replica_options options;
    options.checks = &table;
    world::virtual_clock time;
    world::device d{1, options};
    REQUIRE(world::open(d, time.now));
    record_key const k{"things", "1"};
    auto const create = [&](bytes const& fields) {
        return d.write([&](auto& tx) { return d.self.create(tx, k, fields, time.now); });
    };
    auto const unnamed = create(world::fields({{"count", 1}}));
    REQUIRE_FALSE(unnamed);
    CHECK(unnamed.error().code == errc::invalid);
    CHECK(world::visible(d).empty());
    REQUIRE(create(world::fields({{"count", 1}, {"ruled", 1}})));
    auto const add = [&](std::int64_t n) {
        return d.write([&](auto& tx) { return d.self.update(tx, k, {world::add("count", n)}, time.now); });
    };
    CHECK(add(9));
    CHECK_FALSE(add(1));
    CHECK(world::field(world::visible(d)["1"], "count") == 10);
    auto const why =
        d.read([&](auto& tx) { return d.self.check(tx, k, change_kind::update, {world::add("count", 1)}, time.now); });
    REQUIRE(why);
    CHECK(why->text == "count: more than 10");
    CHECK(d.read([&](auto& tx) { return d.self.check(tx, k, change_kind::erase, {}, time.now); })->accepted);
    CHECK(d.read([&](auto& tx) { return d.self.check(tx, k, change_kind::create, {}, time.now); }).error().code ==
          errc::already_exists);
}

TEST_CASE("the authority holds a merge to the same checks, with words for the writer", "[replica][validation]") {
    check_table const table = whole_numbers();
    authority_options options;
    options.checks = &table;
    authority<> const strict{world::rules(), options};
    replica_options own;
    own.checks = &table;
    world::virtual_clock time;
    world::cloud home{time.now};
    world::device a{1, own};
    world::device b{2, own};
    auto const sync = [&](world::device& d) {
        for (int i = 0; i < 5; ++i) {
            auto const reply = serve(home.store, strict, "anna", world::request_of(d, time.now), time.now);
            REQUIRE(reply);
            REQUIRE(world::absorb(d, *reply, time.now));
        }
    };
    record_key const k{"things", "1"};
    REQUIRE(world::open(a, time.now));
    REQUIRE(world::open(b, time.now));
    REQUIRE(a.write([&](auto& tx) {
        return a.self.create(tx, k, world::fields({{"count", 5}, {"ruled", 1}}), time.now);
    }));
    sync(a);
    sync(b);
    // Each is well alone; together they are too many.
    for (world::device* d : {&a, &b}) {
        REQUIRE(d->write([&](auto& tx) { return d->self.update(tx, k, {world::add("count", 4)}, time.now); }));
    }
    sync(a);
    sync(b);
    std::optional<verdict> told;
    (void)b.read([&](auto& tx) {
        return b.self.events(tx, 0, [&](std::uint64_t, event const& e) {
            if (e.kind == event_kind::decided) { told = e.said; }
            return true;
        });
    });
    REQUIRE(told);
    CHECK(told->kind == verdict_kind::rejected);
    CHECK(told->reason == errc::invalid);
    CHECK(told->text == "count: more than 10");
    CHECK(world::field(world::visible(b)["1"], "count") == 9);
}

TEST_CASE("a device refuses a reference to what is not there, once it would know", "[replica][validation]") {
    constraint_table table;
    table.references = {{"part_of", "things", "whole", "things"}};
    replica_options options;
    options.constraints = &table;
    world::virtual_clock time;
    world::cloud home{time.now};
    world::device d{1, options};
    REQUIRE(world::open(d, time.now));
    auto const refer = [&](std::string_view id, std::string_view to) {
        bytes fields;
        cbor_writer w{fields};
        w.map(1);
        w.text("whole");
        w.text(to);
        return d.write([&](auto& tx) { return d.self.create(tx, record_key{"things", id}, fields, time.now); });
    };
    // Nothing was fetched yet: it may well be there.
    CHECK(refer("1", "9"));
    REQUIRE(world::sync(d, home, time.now));
    auto const refused = refer("2", "8");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::not_found);
    CHECK(refer("2", "1"));
    REQUIRE(d.write([&](auto& tx) { return d.self.erase(tx, record_key{"things", "1"}, time.now); }));
    CHECK_FALSE(refer("3", "1"));
}
