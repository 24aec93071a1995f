// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/model/record.hpp>

using namespace syncline;

namespace {

bytes encoded(row const& r) {
    bytes out;
    cbor_writer w{out};
    encode_row(w, r);
    return out;
}
bytes one_field(std::string_view name) {
    bytes out;
    cbor_writer w{out};
    w.map(1);
    w.text(name);
    w.integer(1);
    return out;
}
row sample() {
    row r;
    r.version = 40;
    r.life = 2;
    r.floor = {38, timestamp{1000}, 3};
    r.exceptions = {{"b", {40, timestamp{1001}, 4}}, {"aa", {39, timestamp{990}, 1}}};
    r.fields = one_field("b");
    return r;
}

}  // namespace

TEST_CASE("a row gives itself back, as does a tombstone and what is pending") {
    for (bool const deleted : {false, true}) {
        for (position const version : {position{40}, pending_position}) {
            row r = sample();
            r.version = version;
            r.deleted = deleted;
            if (deleted) { r.fields.clear(); }
            bytes const raw = encoded(r);
            cbor_reader in{raw};
            CHECK(decode_row(in) == r);
            CHECK(in.finish());
            CHECK(validate_canonical(raw));
        }
    }
}

TEST_CASE("a key in storage is a prefix and the ordered bytes, and is read where it stands") {
    for (std::size_t const c : {1U, 6U, 64U}) {
        for (std::size_t const i : {1U, 16U, 255U}) {
            record_key const k{std::string(c, 'c'), std::string(i, 'i')};
            bytes expected = to_bytes(std::string_view{"rv"});
            append_key(expected, k.collection, k.id);
            record_entry const entry{"rv", k};
            CHECK(equal(entry, expected));
            bytes_view const name = bytes_view{entry}.subspan(2);
            CHECK(equal(name, to_bytes(k)));
            CHECK(equal(record_entry{"", k}, name));
            auto const seen = record_key_in(name);
            REQUIRE(seen);
            CHECK(seen->collection == k.collection);
            CHECK(seen->id.data() == name.data() + 1 + c);
            CHECK(*record_key_from(name) == k);
        }
    }
    record_key const other{"c", "i"};
    bytes const raw = to_bytes(other);
    CHECK(record_key_in({}).error() == errc::corrupt);
    CHECK(record_key_in(bytes_view{raw}.first(2)).error() == errc::corrupt);
    CHECK(record_key_in(to_bytes(std::string_view{"\x01\xFFi"})).error() == errc::corrupt);
}

TEST_CASE("a row is written into room of its own, the same as behind other bytes") {
    row r = sample();
    std::vector<std::byte> room(encoded_row_max(r));
    cbor_room_writer w{room};
    encode_row_in(w, r);
    CHECK(equal(w.written(), encoded(r)));
}

TEST_CASE("a row's bytes are pinned: they are on disks and wires") {
    CHECK(to_hex(encoded(sample())) ==
          "871828"
          "02"
          "02"
          "1903e8"
          "03"
          "88"
          "6162"
          "00"
          "1903e9"
          "04"
          "626161"
          "01"
          "1903de"
          "01"
          "a1616201");
}

TEST_CASE("a field has its own mark, or its row's") {
    CHECK(sample().mark_of("b").author == 4);
    CHECK(sample().mark_of("aa").at == 39);
    CHECK(sample().mark_of("else").author == 3);
}

TEST_CASE("last writer wins goes by clock, then by author, and never by who asks") {
    write_mark const a{1, timestamp{5}, 9};
    write_mark const b{7, timestamp{6}, 1};
    write_mark const c{7, timestamp{6}, 2};
    CHECK(wins(b, a));
    CHECK_FALSE(wins(a, b));
    CHECK(wins(c, b));
    CHECK_FALSE(wins(b, c));
    CHECK_FALSE(wins(a, a));
}

TEST_CASE("what is no row is refused") {
    auto const refuse = [](row const& r) {
        bytes const raw = encoded(r);
        cbor_reader in{raw};
        (void)decode_row(in);
        return !in.finish();
    };
    row r = sample();
    r.floor.at = 41;  // a mark after its row's version: the difference wraps around
    CHECK(refuse(r));
    r = sample();
    std::swap(r.exceptions[0], r.exceptions[1]);
    CHECK(refuse(r));
    r = sample();
    r.fields.clear();
    cbor_writer{r.fields}.integer(1);
    CHECK(refuse(r));
    bytes const raw = encoded(sample());
    random_generator dice{2};
    for (std::size_t n = 0; n < raw.size(); ++n) {
        cbor_reader in{bytes_view{raw}.first(n)};
        (void)decode_row(in);
        CHECK_FALSE(in.finish());
    }
    for (int i = 0; i < 20'000; ++i) {
        bytes bad = raw;
        bad[dice() % bad.size()] = static_cast<std::byte>(dice());
        cbor_reader in{bad};
        row const other = decode_row(in);
        if (in.finish()) { CHECK(encoded(other) == bad); }
    }
}

TEST_CASE("fields are a canonical map with names of 1 to 255 bytes") {
    CHECK(validate_fields(one_field("a")));
    CHECK(validate_fields(one_field(std::string(255, 'n'))));
    CHECK(validate_fields(one_field("")).error() == errc::invalid);
    CHECK(validate_fields(one_field(std::string(256, 'n'))).error() == errc::invalid);
    CHECK_FALSE(validate_fields({}));
    bytes unordered;
    cbor_writer w{unordered};
    w.map(2);
    w.text("b");
    w.null();
    w.text("a");
    w.null();
    CHECK(validate_fields(unordered).error() == errc::not_deterministic);
    bytes trailing = one_field("a");
    trailing.push_back(std::byte{0});
    CHECK_FALSE(validate_fields(trailing));
}
