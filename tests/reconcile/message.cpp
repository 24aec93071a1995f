// SPDX-License-Identifier: BSL-1.0
#include <syncline/reconcile/message.hpp>

#include <string>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

bytes encoded(auto const& m) {
    bytes out;
    encode(m, out);
    return out;
}
std::vector<reconcile_ask> asks() {
    reconcile_ask total{.kind = reconcile_kind::total, .number = 1, .key_check = 0xA1B2C3D4, .total = {1, 2}};
    reconcile_ask cells{
        .kind = reconcile_kind::cells, .number = 2, .key_check = 7, .first = 4, .count = 12, .probes = true};
    reconcile_ask ranges{.kind = reconcile_kind::ranges, .number = 300, .key_check = 7};
    ranges.ranges = {{{}, to_bytes("m")}, {to_bytes("m"), {}}};
    return {total, cells, ranges};
}
std::vector<reconcile_answer> answers() {
    reconcile_answer equal{.kind = reconcile_kind::total, .number = 1};
    reconcile_answer key{.kind = reconcile_kind::other_key, .number = 1};
    reconcile_answer cells{.kind = reconcile_kind::cells,
                           .number = 2,
                           .stamp = 99,
                           .rows = 1000,
                           .long_rows = {0, 5},
                           .kept = 64,
                           .first = 4,
                           .cells = to_bytes("cells"),
                           .probes = to_bytes("pp")};
    reconcile_answer ranges{.kind = reconcile_kind::ranges, .number = 3};
    range_answer parts;
    parts.bounds = {to_bytes("b"), to_bytes("c")};
    parts.sums = {{1, 1}, {2, 2}, {3, 3}};
    range_answer rows;
    rows.is_list = true;
    rows.through = to_bytes("z");
    rows.rows = {{to_bytes("x"), 1}, {to_bytes("y"), ~std::uint64_t{0}}};
    ranges.ranges = {parts, rows};
    return {equal, key, cells, ranges};
}

}  // namespace

TEST_CASE("reconcile message: each comes back as it was, and its bytes are pinned", "[reconcile]") {
    std::string all;
    for (auto const& a : asks()) {
        REQUIRE(decode_reconcile_ask(encoded(a)));
        CHECK(*decode_reconcile_ask(encoded(a)) == a);
        all += to_hex(encoded(a)) + '\n';
    }
    for (auto const& a : answers()) {
        REQUIRE(decode_reconcile_answer(encoded(a)));
        CHECK(*decode_reconcile_answer(encoded(a)) == a);
        all += to_hex(encoded(a)) + '\n';
    }
    CHECK(all ==
          "850100011aa1b2c3d45000000000000000010000000000000002\n"
          "8701010207040cf5\n"
          "85010219012c078440416d416d40\n"
          "83010001\n"
          "83010301\n"
          "8a01010218631903e850000000000000000000000000000000051840044563656c6c73427070\n"
          "84010203828300824162416358300000000000000001000000000000000100000000000000020000000000000002"
          "000000000000000300000000000000038301417a8441780141791bffffffffffffffff\n");
    // The round trip of a pass without a difference.
    CHECK(encoded(asks()[0]).size() + encoded(answers()[0]).size() == 30);
}

TEST_CASE("reconcile message: cut, changed or longer, it is an error or another message, said in one way only",
          "[reconcile]") {
    random_generator g(1);
    auto const check = [&](bytes const& m, auto const& decode) {
        for (std::size_t n = 0; n < m.size(); ++n) { CHECK_FALSE(decode(bytes_view{m}.first(n))); }
        for (int i = 0; i < 400; ++i) {
            bytes bad = m;
            for (std::uint64_t k = 1 + below(g, 3); k > 0; --k) {
                bad[below(g, bad.size())] = static_cast<std::byte>(g());
            }
            auto const got = decode(bad);
            if (got) { CHECK(encoded(*got) == bad); }
        }
        bytes longer = m;
        longer.push_back(std::byte{0});
        CHECK(decode(longer).error() == errc::malformed);
        decode_limits tight;
        tight.bytes_max = m.size() - 1;
        CHECK_FALSE(decode(bytes_view{m}, tight));
    };
    auto const ask = [](bytes_view m, decode_limits const& l = {}) { return decode_reconcile_ask(m, l); };
    auto const answer = [](bytes_view m, decode_limits const& l = {}) { return decode_reconcile_answer(m, l); };
    for (auto const& a : asks()) { check(encoded(a), ask); }
    for (auto const& a : answers()) { check(encoded(a), answer); }
}

TEST_CASE("reconcile message: what exceeds a limit, is out of order or of another format is refused", "[reconcile]") {
    auto many = asks()[2];
    many.ranges.assign(reconcile_ranges_max + 1, {});
    CHECK(decode_reconcile_ask(encoded(many)).error() == errc::limit);
    auto empty = asks()[2];
    empty.ranges = {{to_bytes("b"), to_bytes("b")}};
    CHECK(decode_reconcile_ask(encoded(empty)).error() == errc::malformed);
    auto wide = asks()[2];
    wide.ranges = {{{}, bytes(reconcile_key_bytes_max + 1)}};
    CHECK(decode_reconcile_ask(encoded(wide)).error() == errc::limit);
    auto rows = answers()[3];
    std::swap(rows.ranges[1].rows[0], rows.ranges[1].rows[1]);
    CHECK(decode_reconcile_answer(encoded(rows)).error() == errc::malformed);
    auto parts = answers()[3];
    parts.ranges[0].sums.pop_back();
    CHECK(decode_reconcile_answer(encoded(parts)).error() == errc::malformed);
    auto later = encoded(asks()[0]);
    later[1] = std::byte{2};
    CHECK(decode_reconcile_ask(later).error() == errc::unsupported);
    later = encoded(answers()[0]);
    later[2] = std::byte{4};
    CHECK(decode_reconcile_answer(later).error() == errc::unsupported);
}
