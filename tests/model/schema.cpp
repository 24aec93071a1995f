// SPDX-License-Identifier: BSL-1.0
#include <syncline/model/schema.hpp>

#include "support/catch.hpp"
#include "support/sanitized.hpp"

#include <map>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>

#include "model/schema_world.hpp"

using namespace syncline;
using namespace schema_tests;

TEST_CASE("a version says every change, and each can be gone both ways") {
    collection_schema const s = guests();
    CHECK(s.version() == 4);
    bytes const old = fields({{"name", "Anna Maria Dahl"}, {"paid", 12}, {"table", "garden"}, {"fax", "77"}});
    auto const now = s.cast(old, 1, 4);
    REQUIRE(now);
    CHECK(text(*now) == R"({"fax": "77", "last": "Maria Dahl", "room": "garden", "cents": 1200, "first": "Anna", )"
                        R"("status": "open"})");
    auto const back = s.cast(*now, 4, 1);
    REQUIRE(back);
    // The default that came is a stranger to the old version, which keeps it.
    CHECK(text(*back) == R"({"fax": "77", "name": "Anna Maria Dahl", "paid": 12, "table": "garden", )"
                         R"("status": "open"})");
}

TEST_CASE("round trip: down(up(x)) keeps everything that the lower version knew, and up(down(y)) is y") {
    collection_schema const s = guests();
    random_generator random{7};
    for (int round = 0; round < rounds(20'000); ++round) {
        schema_version const low = 1 + static_cast<schema_version>(random() % 4);
        schema_version const high = low + static_cast<schema_version>(random() % (5 - low));
        bytes const x = some_fields(random, low);
        auto const up = s.cast(x, low, high);
        REQUIRE(up);
        REQUIRE(validate_fields(*up));
        auto const down = s.cast(*up, high, low);
        REQUIRE(down);
        INFO(text(x) << " up " << text(*up) << " down " << text(*down));
        CHECK(without_additions(*down, x) == x);
        bytes const y = some_fields(random, high);
        auto const below = s.cast(y, high, low);
        REQUIRE(below);
        auto const above = s.cast(*below, low, high);
        REQUIRE(above);
        INFO(text(y) << " down " << text(*below) << " up " << text(*above));
        CHECK(without_additions(*above, y) == y);
    }
}

TEST_CASE("chains: two versions at once are one after the other, and the same version is no change") {
    collection_schema const s = guests();
    random_generator random{8};
    for (int round = 0; round < rounds(5'000); ++round) {
        auto const a = static_cast<schema_version>(1 + random() % 4);
        auto const c = static_cast<schema_version>(1 + random() % 4);
        schema_version const b =
            (std::min)(a, c) + static_cast<schema_version>(random() % (a < c ? c - a + 1 : a - c + 1));
        bytes const x = some_fields(random, a);
        auto const between = s.cast(x, a, b);
        REQUIRE(between);
        CHECK(*s.cast(*between, b, c) == *s.cast(x, a, c));
        CHECK(*s.cast(x, a, a) == x);
    }
}

TEST_CASE("operations: a record's operations carried up do to the record carried up what they did below") {
    collection_schema const s = guests();
    random_generator random{9};
    int defined = 0;
    for (int round = 0; round < rounds(20'000); ++round) {
        auto const low = static_cast<schema_version>(1 + random() % 4);
        auto const high = static_cast<schema_version>(1 + random() % 4);
        bytes const x = some_fields(random, low);
        mutation m;
        m.stamp = timestamp{5};
        m.schema = low;
        m.ops = some_operations(random, low);
        if (random() % 4 == 0) { m.kind = change_kind::create; }
        bool const creates = m.kind == change_kind::create;
        auto const after = applied(creates ? fields({}) : x, m.ops);
        if (!after) { continue; }
        auto const expected = s.cast(*after, low, high);
        auto const before = s.cast(x, low, high);
        REQUIRE(expected);
        REQUIRE(before);
        mutation carried = m;
        bool const informed = random() % 2 == 0;
        auto const ok = informed ? s.cast(carried, high, bytes_view{x}) : s.cast(carried, high);
        if (!ok) {
            CHECK((ok.error() == errc::unsupported && !informed));
            CHECK(carried == m);
            continue;
        }
        ++defined;
        auto const got = applied(creates ? fields({}) : *before, carried.ops);
        REQUIRE(got);
        INFO(text(x) << " v" << low << " to v" << high << ": " << text(*got) << " is not " << text(*expected));
        CHECK(*got == *expected);
        CHECK(carried.schema == high);
    }
    CHECK(defined > rounds(10'000));
}

TEST_CASE("an old device's edit of a field that was split still counts, and takes only that field") {
    collection_schema const s = guests();
    mutation m;
    m.schema = 1;
    m.ops = {{"name", op_kind::set, item("Ben Holm"), timestamp{4}}};
    REQUIRE(s.cast(m, 4));
    REQUIRE(m.ops.size() == 3);
    CHECK(m.ops[0].field == "last");
    CHECK(m.ops[1].field == "~2.0");  // what was kept of an older name goes
    CHECK(m.ops[1].kind == op_kind::unset);
    CHECK(m.ops[2].field == "first");
    CHECK(m.ops[2].stamp == timestamp{4});
}

TEST_CASE("an increment is carried as one where the conversion is in proportion, and by its record where not") {
    collection_schema const s = guests();
    mutation m;
    m.schema = 1;
    m.ops = {{"paid", op_kind::add, item(5), timestamp{1}}};
    mutation up = m;
    REQUIRE(s.cast(up, 3));
    REQUIRE(up.ops.size() == 2);
    CHECK(up.ops[1] == field_op{"cents", op_kind::add, item(500), timestamp{1}});
    CHECK(up.ops[0].field == "~2.2");

    collection_schema words;
    words.next({schema_step::convert("n", casts::to_text, casts::to_integer)});
    m.ops = {{"n", op_kind::add, item(5), timestamp{1}}};
    up = m;
    CHECK(s.cast(up, 9).error() == errc::unsupported);
    CHECK(words.cast(up, 2).error() == errc::unsupported);
    CHECK(up == m);
    REQUIRE(words.cast(up, 2, bytes_view{fields({{"n", 7}})}));
    CHECK(up.ops[0] == field_op{"n", op_kind::set, item("12"), timestamp{1}});
    up = m;
    CHECK(words.cast(up, 2, bytes_view{fields({{"n", "seven"}})}).error() == errc::type_mismatch);
    CHECK(up == m);
}

TEST_CASE("what a conversion can't say is kept beside it until the value is set to another") {
    collection_schema s;
    s.next({schema_step::convert("n", casts::to_text, casts::to_integer)});
    bytes const odd = fields({{"n", true}});
    auto const up = s.cast(odd, 1, 2);
    REQUIRE(up);
    CHECK(text(*up) == R"({"~2.0": [[[]], [[true]]]})");
    CHECK(*s.cast(*up, 2, 1) == odd);
    // A newer program's text that is no number is nothing to an older one, and comes back as it was.
    bytes const words = fields({{"n", "many"}});
    auto const down = s.cast(words, 2, 1);
    REQUIRE(down);
    CHECK(text(*down) == R"({"~2.0": [[[]], [["many"]]]})");
    CHECK(*s.cast(*down, 1, 2) == words);
    auto const edited = applied(*down, {{"n", op_kind::set, item(3), timestamp{1}}});
    CHECK(text(*s.cast(*edited, 1, 2)) == R"({"n": "3"})");
}

TEST_CASE("a missing field that has a default stays missing on the way through an older version") {
    collection_schema s;
    s.next({schema_step::add("a", value(1)), schema_step::remove("r", value(2))});
    CHECK(text(*s.cast(fields({}), 1, 2)) == R"({"a": 1, "~2.1": []})");
    CHECK(text(*s.cast(fields({}), 2, 1)) == R"({"r": 2, "~2.0": []})");
    CHECK(text(*s.cast(*s.cast(fields({}), 2, 1), 1, 2)) == R"({"r": 2})");
}

TEST_CASE("a feature closes the records that have it to older versions, and no other") {
    collection_schema s;
    s.next({schema_step::feature("sealed")});
    bytes const plain = fields({{"x", 1}});
    bytes const sealed = fields({{"x", 1}, {"sealed", true}});
    CHECK(*s.cast(plain, 2, 1) == plain);
    CHECK(s.cast(sealed, 2, 1).error() == errc::unsupported);
    CHECK(std::string(s.cast(sealed, 2, 1).error().detail) ==
          "the record has a feature that this version must not overlook");
    row r;
    r.schema = 2;
    r.fields = sealed;
    row const before = r;
    CHECK(s.cast(r, 1).error() == errc::unsupported);
    CHECK(r == before);
    mutation m;
    m.schema = 2;
    m.ops = {{"sealed", op_kind::set, item(true), timestamp{}}};
    CHECK(s.cast(m, 1).error() == errc::unsupported);
}

TEST_CASE("a version that is not known, and names that clash, are errors") {
    collection_schema const s = guests();
    bytes const x = fields({{"name", "a b"}});
    CHECK(s.cast(x, 1, 5).error() == errc::unsupported);
    CHECK(s.cast(x, 5, 1).error() == errc::unsupported);
    CHECK(s.cast(x, 0, 1).error() == errc::unsupported);
    CHECK(s.cast(fields({{"name", "a"}, {"first", "b"}}), 1, 2).error() == errc::invalid);
    CHECK(s.cast(fields({{"table", "a"}, {"room", "b"}}), 1, 3).error() == errc::invalid);
    mutation m;
    m.ops = {{"first", op_kind::set, item("b"), timestamp{}}};
    CHECK(s.cast(m, 2).error() == errc::invalid);
    m.ops = {{"name", op_kind::elements, item(1), timestamp{}}};
    CHECK(s.cast(m, 2).error() == errc::unsupported);
    CHECK(s.cast(as_bytes("nonsense"), 1, 2).error().code != errc{});
}

TEST_CASE("a schema says when a step lacks what it needs") {
    CHECK(collection_schema{}.valid());
    CHECK(collection_schema{}.version() == 1);
    CHECK(guests() == guests());
    CHECK_FALSE(guests() == collection_schema{});
}

TEST_CASE("marks: a renamed field keeps its own, a regrouped one has the one that wins") {
    collection_schema const s = guests();
    row r;
    r.version = 9;
    r.fields = fields({{"name", "Anna Dahl"}, {"table", "hall"}});
    r.floor = {1, timestamp{1}, 1};
    r.exceptions = {
        {"name", {8, timestamp{8}, 2}}, {"table", {9, timestamp{9}, 3}}, {"table", {9, timestamp{9}, 4}, item(1)}};
    row up = r;
    REQUIRE(s.cast(up, 4));
    CHECK(up.schema == 4);
    CHECK(up.mark_of("first") == write_mark{8, timestamp{8}, 2});
    CHECK(up.mark_of("last") == write_mark{8, timestamp{8}, 2});
    CHECK(up.mark_of("room") == write_mark{9, timestamp{9}, 3});
    CHECK(up.mark_of("status") == r.floor);
    bytes raw;
    cbor_writer w{raw};
    encode_row(w, up);
    cbor_reader in{raw};
    CHECK(decode_row(in) == up);
    CHECK(in.finish());
    up.exceptions[0].mark = {9, timestamp{10}, 7};  // "last" was edited later
    REQUIRE(up.exceptions[0].field == "last");
    REQUIRE(s.cast(up, 1));
    CHECK(up.mark_of("name") == write_mark{9, timestamp{10}, 7});
    CHECK(up.exceptions.size() == 3);
}

TEST_CASE("a table gives each collection its schema, and the others the first version") {
    schema_table t;
    CHECK(t.empty());
    t.collection("guests") = guests();
    t.collection("bills").next({schema_step::rename("a", "b")});
    CHECK(t.of("guests").version() == 4);
    CHECK(t.of("bills").version() == 2);
    CHECK(t.of("else").version() == 1);
    std::string all;
    t.each([&](std::string_view name, schema_version v) { all += std::string(name) + std::to_string(v) + ' '; });
    CHECK(all == "bills2 guests4 ");
}
