// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/core/value.hpp>
#include <syncline/replica/columns.hpp>
#include <syncline/testing/generator.hpp>

using namespace syncline;

namespace {

bytes text_item(std::string_view s) {
    bytes out;
    cbor_writer{out}.text(s);
    return out;
}
bytes column_of(std::vector<bytes> const& items) {
    std::vector<bytes_view> const views(items.begin(), items.end());
    bytes out;
    cbor_writer w{out};
    encode_values(w, views);
    return out;
}
packing packing_of(bytes_view column) {
    cbor_reader in{column};
    if (in.peek() == cbor_type::byte_string) { return packing::plain; }
    (void)in.array();
    return static_cast<packing>(in.unsigned_integer());
}
result<std::vector<bytes>> items_of(bytes_view column, std::size_t n, std::uint64_t budget = 1U << 30) {
    cbor_reader in{column};
    value_column values{in, {}};
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    column_budget left{budget};
    std::vector<bytes> out;
    for (std::size_t i = 0; i < n; ++i) {
        bytes_view const v = values.next(left);
        if (v.empty()) {
            auto const why = values.state();
            return why ? failure{errc::malformed, "short"} : why.error();
        }
        out.push_back(to_bytes(v));
    }
    if (auto ok = values.close(); !ok) { return ok.error(); }
    return out;
}
void goes_round(std::vector<bytes> const& items, packing how, std::size_t bytes_max) {
    bytes const column = column_of(items);
    CHECK(packing_of(column) == how);
    CHECK(column.size() <= bytes_max);
    auto const back = items_of(column, items.size());
    REQUIRE(back);
    CHECK(*back == items);
}
/// A packed column made by hand: a byte string of items, then integer columns.
bytes packed(packing how, std::vector<bytes> const& items, std::vector<std::vector<std::int64_t>> const& numbers) {
    bytes out;
    cbor_writer w{out};
    w.array(1 + (how == packing::integers ? 0 : 1) + numbers.size());
    w.unsigned_integer(static_cast<std::uint64_t>(how));
    if (how != packing::integers) {
        bytes all;
        for (bytes const& i : items) { append(all, i); }
        w.byte_string(all);
    }
    for (auto const& column : numbers) {
        integer_column_writer one;
        for (std::int64_t const n : column) { one.add(n); }
        one.finish(w);
    }
    return out;
}

}  // namespace

TEST_CASE("a column of integers says a run once", "[columns]") {
    integer_column_writer writer;
    for (int i = 0; i < 60'000; ++i) { writer.add(7); }
    writer.add(-1);
    writer.add(-1);
    bytes out;
    cbor_writer w{out};
    writer.finish(w);
    CHECK(to_hex(out) == "47820719ea602020");
    cbor_reader in{out};
    integer_column column{in.byte_string(), {}};
    for (int i = 0; i < 60'000; ++i) { CHECK(column.next() == 7); }
    CHECK(column.next() == -1);
    CHECK_FALSE(integer_column{column}.close());
    CHECK(column.next() == -1);
    CHECK(column.close());
    (void)column.next();
    CHECK(column.close().error() == errc::malformed);
}

TEST_CASE("differences wrap around and come back", "[columns]") {
    constexpr auto most = (std::numeric_limits<std::uint64_t>::max)();
    std::vector<std::uint64_t> const all{0, most, 1, most / 2, most / 2 + 2, 0, 0, 0, 0, 17};
    integer_column_writer numbers;
    stamp_column_writer stamps;
    for (std::uint64_t const n : all) {
        numbers.add_difference(n);
        stamps.add(n);
    }
    bytes out;
    cbor_writer w{out};
    numbers.finish(w);
    stamps.finish(w);
    cbor_reader in{out};
    integer_column back{in.byte_string(), {}};
    bytes_view const millis = in.byte_string();
    stamp_column stamp{millis, in.byte_string(), {}};
    for (std::uint64_t const n : all) {
        CHECK(back.next_sum() == n);
        CHECK(stamp.next() == n);
    }
    CHECK(detail::close_all(back, stamp));
    CHECK(in.finish());
}

TEST_CASE("a run that is none, and a run of the wrong length, are refused", "[columns]") {
    for (bytes const& raw :
         {bytes{std::byte{0x82}, std::byte{7}, std::byte{2}},
          bytes{std::byte{0x83}, std::byte{7}, std::byte{3}, std::byte{3}}, bytes{std::byte{0x61}}}) {
        integer_column column{raw, {}};
        (void)column.next();
        CHECK_FALSE(column.close());
    }
}

TEST_CASE("ids share what they begin with", "[columns]") {
    std::vector<std::string> const ids{"guest-000001", "guest-000002", "guest-000012", "x", "xyz", "x"};
    id_column_writer writer;
    for (auto const& id : ids) { writer.add(as_bytes(id)); }
    bytes out;
    cbor_writer w{out};
    writer.finish(w);
    CHECK(out.size() <= 12 + 2 * 12);
    cbor_reader in{out};
    bytes_view const shared = in.byte_string();
    id_column column{shared, in.byte_string(), {}};
    for (auto const& id : ids) { CHECK(as_text(column.next(12)) == id); }
    CHECK(column.close());

    cbor_reader again{out};
    (void)again.byte_string();
    id_column bounded{shared, again.byte_string(), {}};
    CHECK(bounded.next(11).empty());
    CHECK(bounded.state().error() == errc::malformed);
}

TEST_CASE("the packing follows the values", "[columns]") {
    std::vector<bytes> cities;
    std::vector<bytes> mails;
    std::vector<bytes> numbers;
    std::vector<bytes> noise;
    syncline::random_generator dice{5};
    for (unsigned i = 0; i < 1'000; ++i) {
        cities.push_back(text_item("city of the number " + std::to_string(dice() % 20)));
        mails.push_back(text_item(to_hex(std::vector{static_cast<std::byte>(dice() & 0xFF)}) + "@example.org" +
                                  std::string(i % 3, 'x')));
        bytes number;
        cbor_writer{number}.integer(1'790'000'000 + 60 * static_cast<std::int64_t>(i));
        numbers.push_back(number);
        noise.push_back(text_item(to_hex(std::vector{static_cast<std::byte>(dice() & 0xFF), std::byte{1}})));
        mails.back() = text_item(std::to_string(dice() % 100'000) + "@example.org");
    }
    goes_round(cities, packing::dictionary, 1'600);
    goes_round(mails, packing::affixes, 9'500);
    goes_round(numbers, packing::integers, 20);
    goes_round({}, packing::plain, 1);
    goes_round({text_item("alone")}, packing::plain, 7);
}

TEST_CASE("any values come back as they were", "[columns]") {
    syncline::random_generator dice{20'261'129};
    for (int round = 0; round < 400; ++round) {
        std::vector<bytes> items;
        std::size_t const n = dice() % 40;
        std::uint64_t const variety = 1 + dice() % 60;
        std::uint64_t const taste = dice() % 4;
        for (std::size_t i = 0; i < n; ++i) {
            if (!items.empty() && dice() % 60 > variety) {
                items.push_back(items[static_cast<std::size_t>(dice() % items.size())]);
            } else if (taste == 0) {
                items.push_back(encode(testing::any<value>{}(dice)));
            } else if (taste == 1) {
                bytes number;
                cbor_writer{number}.integer(static_cast<std::int64_t>(dice() >> (dice() % 60)));
                items.push_back(number);
            } else {
                // Texts that share, with characters of several bytes where they stop sharing.
                std::string s;
                for (std::uint64_t k = dice() % 6; k != 0; --k) {
                    s += dice() % 2 == 0 ? "ä" : dice() % 2 == 0 ? "å" : "€";
                }
                items.push_back(text_item("zz" + s + "ö"));
            }
        }
        bytes const column = column_of(items);
        auto const back = items_of(column, items.size());
        REQUIRE(back);
        REQUIRE(*back == items);
        CHECK_FALSE(items_of(column, items.size() + 1));
        if (!items.empty()) { CHECK_FALSE(items_of(column, items.size() - 1)); }
    }
}

TEST_CASE("each packing keeps any value that it is chosen for too early", "[columns]") {
    // The first values decide; what follows them is of another kind.
    syncline::random_generator dice{3};
    for (packing const how : {packing::dictionary, packing::affixes, packing::integers}) {
        std::vector<bytes> items;
        for (unsigned i = 0; i < 600; ++i) {
            if (how == packing::dictionary) { items.push_back(text_item("the same again")); }
            if (how == packing::affixes) {
                items.push_back(text_item("long and the same " + std::to_string(i) + " twice"));
            }
            if (how == packing::integers) {
                items.push_back(bytes{std::byte{0x19}, std::byte{3}, static_cast<std::byte>(i & 255)});
            }
        }
        CHECK(packing_of(column_of(items)) == how);
        for (int i = 0; i < 6'000; ++i) { items.push_back(encode(testing::any<value>{}(dice))); }
        auto const back = items_of(column_of(items), items.size());
        REQUIRE(back);
        CHECK(*back == items);
    }
}

TEST_CASE("a packed column that lies is refused", "[columns]") {
    auto const item = text_item("abc");
    auto const split = text_item("ä");
    auto const refused = [](bytes const& column, std::size_t n, errc why) {
        auto const got = items_of(column, n);
        REQUIRE_FALSE(got);
        CHECK(got.error() == why);
    };
    refused(packed(packing::dictionary, {item}, {{0, 2}}), 2, errc::malformed);
    refused(packed(packing::dictionary, {item}, {{0, -1}}), 2, errc::malformed);
    refused(packed(packing::dictionary, {item}, {{1}}), 1, errc::malformed);
    refused(packed(packing::affixes, {item, item}, {{0, 4}, {0, 0}}), 2, errc::malformed);
    refused(packed(packing::affixes, {item, item}, {{0, 2}, {0, 2}}), 2, errc::malformed);
    refused(packed(packing::affixes, {item, item}, {{0, -1}, {0, 2}}), 2, errc::malformed);
    refused(packed(packing::affixes, {split, item}, {{0, 1}, {0, 0}}), 2, errc::malformed);
    refused(packed(packing::affixes, {split, item}, {{0, 0}, {0, 1}}), 2, errc::malformed);
    refused(packed(packing::affixes, {bytes{std::byte{1}}}, {{1}, {0}}), 1, errc::malformed);
    refused(packed(packing{4}, {item}, {{0}, {0}}), 1, errc::unsupported);
    refused(packed(packing::dictionary, {item}, {{0}, {0}}), 1, errc::malformed);
    // A few bytes that say a million.
    std::vector<std::int64_t> again(1'000'000, 1);
    again[0] = 0;
    bytes const bomb = packed(packing::dictionary, {text_item(std::string(1'000, 'x'))}, {again});
    CHECK(bomb.size() < 1'050);
    auto const got = items_of(bomb, again.size(), 1U << 20);
    REQUIRE_FALSE(got);
    CHECK(got.error() == errc::limit);
}
