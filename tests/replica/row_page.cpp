// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/replica/row_page.hpp>
#include <syncline/testing/generator.hpp>

#include "replica/world.hpp"

using namespace syncline;

namespace {

struct held {
    record_key key;
    bytes encoded;
    friend bool operator==(held const&, held const&) = default;
};
held held_of(record_key const& key, row const& state) {
    held h{key, {}};
    cbor_writer w{h.encoded};
    encode_row(w, state);
    return h;
}
bytes page_of(std::vector<held> const& rows, bool marks_in_columns = false) {
    row_page_writer page{marks_in_columns};
    for (held const& h : rows) {
        cbor_reader in{h.encoded};
        REQUIRE(page.add(h.key.collection, h.key.id, in));
        REQUIRE(in.finish());
    }
    CHECK(page.size() == rows.size());
    bytes out;
    cbor_writer w{out};
    page.finish(w);
    return out;
}
result<std::vector<held>> rows_of(bytes_view page, decode_limits const& limits = {}, std::size_t rows_max = 65'536) {
    std::vector<held> out;
    cbor_reader in{page, limits};
    auto ok = decode_row_page(
        in, limits, rows_max, [](std::size_t) {},
        [&](record_key&& key, row&& state) {
            CHECK(valid(key));
            if (!state.fields.empty()) { CHECK(validate_fields(state.fields, limits)); }
            out.push_back(held_of(key, state));
        });
    if (ok) { ok = in.finish(); }
    if (!ok) { return ok.error(); }
    return out;
}
row any_row(syncline::random_generator& dice) {
    row r = testing::any<row>{}(dice);
    if (!r.deleted && r.fields.empty()) { r.fields = bytes{std::byte{0xA0}}; }
    return r;
}

}  // namespace

TEST_CASE("any rows come out of a page byte for byte, in their order", "[row_page]") {
    syncline::random_generator dice{20'261'129};
    for (int round = 0; round < 300; ++round) {
        std::vector<held> rows;
        std::size_t const n = dice() % 30;
        row last;
        for (std::size_t i = 0; i < n; ++i) {
            record_key key = testing::any<record_key>{}(dice);
            if (dice() % 2 == 0) { key.collection = "guests"; }
            if (i == 0 || dice() % 3 == 0) {
                last = any_row(dice);
            } else {
                last.version += last.version < pending_position ? 1 : 0;
            }
            rows.push_back(held_of(key, last));
        }
        bytes const page = page_of(rows, round % 2 == 0);
        CHECK(validate_canonical(page));
        auto const back = rows_of(page);
        INFO((back ? "" : back.error().detail));
        REQUIRE(back);
        REQUIRE(*back == rows);
        if (n != 0) {
            CHECK(rows_of(page, {}, n - 1).error() == errc::limit);
            // Damage is an error or another page, and never more than the limits.
            bytes damaged = page;
            for (std::uint64_t k = 1 + dice() % 3; k != 0; --k) {
                damaged[static_cast<std::size_t>(dice() % damaged.size())] = static_cast<std::byte>(dice() & 0xFF);
            }
            (void)rows_of(damaged);
            CHECK_FALSE(rows_of(bytes_view{page}.first(static_cast<std::size_t>(dice() % page.size()))));
        }
    }
}

TEST_CASE("rows of a table cost their values and a few bytes", "[row_page]") {
    std::vector<held> rows;
    std::size_t plain = 0;
    for (unsigned i = 0; i < 1'000; ++i) {
        row r;
        r.version = 500 + i;
        r.floor = {r.version, timestamp::make(wall_time{milliseconds{1'790'000'000'000 + 3 * i}}), 2};
        r.fields = world::fields({{"seat", i % 10}, {"table", 1'000 + 3 * i}, {"wedding", 5}});
        rows.push_back(held_of({"guests", std::to_string(100'000 + i)}, r));
        plain += rows.back().encoded.size() + rows.back().key.id.size() + rows.back().key.collection.size() + 3;
    }
    bytes const page = page_of(rows);
    CHECK(plain > 50'000);
    CHECK(page.size() < 4'000);
    CHECK(*rows_of(page) == rows);
}

TEST_CASE("edits of a table cost a few bytes each where marks go in columns", "[row_page]") {
    std::vector<held> rows;
    for (unsigned i = 0; i < 1'000; ++i) {
        row r;
        r.version = 9'000 + i;
        r.floor = {500 + i, timestamp::make(wall_time{milliseconds{1'790'000'000'000}}), 2};
        auto const edited = [&](std::int64_t after) {
            return timestamp::make(wall_time{milliseconds{1'790'000'100'000 + 1'100 * std::int64_t{i} + after}});
        };
        r.exceptions.push_back({"seat", {r.version, edited(i % 7), 3}});
        r.exceptions.push_back({"table", {r.version - 4'000, edited(500 + i % 5), 4}});
        r.fields = world::fields({{"seat", i % 10}, {"table", 1'000 + 3 * i}, {"wedding", 5}});
        rows.push_back(held_of({"guests", std::to_string(100'000 + i)}, r));
    }
    bytes const whole = page_of(rows);
    bytes const page = page_of(rows, true);
    CHECK(whole.size() > 25'000);
    CHECK(page.size() < 12'000);
    CHECK(*rows_of(whole) == rows);
    CHECK(*rows_of(page) == rows);
}

TEST_CASE("a page that says too much is refused before it is held", "[row_page]") {
    std::vector<held> rows;
    row r;
    r.fields = bytes{std::byte{0xA1}, std::byte{0x61}, std::byte{'a'}};
    cbor_writer{r.fields}.text(std::string(10'000, 'x'));
    for (unsigned i = 0; i < 5'000; ++i) {
        r.version = 1 + i;
        rows.push_back(held_of({"guests", std::to_string(i)}, r));
    }
    bytes const page = page_of(rows);
    CHECK(page.size() < 40'000);
    CHECK(rows_of(page));
    decode_limits narrow;
    narrow.bytes_max = std::size_t{1} << 20;
    CHECK(rows_of(page, narrow).error() == errc::limit);
}

TEST_CASE("what is no row spoils the page, with an error", "[row_page]") {
    row_page_writer page;
    bytes const number = world::integer(5);
    for (bytes_view const raw : {bytes_view{number}, bytes_view{}}) {
        cbor_reader in{raw};
        CHECK(page.add("guests", as_bytes("x"), in).error() == errc::corrupt);
    }
}

TEST_CASE("a page has no more kinds of rows than rows", "[row_page]") {
    auto const page_with = [](std::size_t kinds) {
        bytes page;
        cbor_writer w{page};
        w.array(14);
        w.unsigned_integer(0);
        w.array(kinds);
        for (std::size_t i = 0; i < kinds; ++i) {
            w.array(2);
            w.text("guests");
            w.unsigned_integer(0);
        }
        for (int i = 0; i < 11; ++i) { w.byte_string({}); }
        w.array(0);
        return page;
    };
    CHECK(rows_of(page_with(0)));
    CHECK(rows_of(page_with(1)).error() == errc::malformed);
    CHECK(rows_of(page_with(100'000)).error() == errc::malformed);
}
