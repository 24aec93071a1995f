// SPDX-License-Identifier: BSL-1.0

/// The code table and the integers are RFC 3284's, and Adler-32 is zlib's.

#include <syncline/delta/vcdiff_format.hpp>

#include <cstdint>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

namespace {

using namespace syncline;
using namespace syncline::detail;

std::uint32_t naive_adler32(bytes_view in) {
    std::uint32_t a = 1;
    std::uint32_t b = 0;
    for (std::byte const x : in) {
        a = (a + std::to_integer<std::uint32_t>(x)) % 65521;
        b = (b + a) % 65521;
    }
    return (b << 16) | a;
}

}  // namespace

TEST_CASE("the code table is that of RFC 3284, section 5.6") {
    auto const is = [](unsigned code, vcdiff_kind kind, unsigned size, unsigned mode) {
        auto const& h = vcdiff_table[code].first;
        return h.kind == kind && h.size == size && h.mode == mode;
    };
    CHECK(is(0, vcdiff_kind::run, 0, 0));
    CHECK(is(1, vcdiff_kind::add, 0, 0));
    CHECK(is(18, vcdiff_kind::add, 17, 0));
    CHECK(is(19, vcdiff_kind::copy, 0, 0));
    CHECK(is(34, vcdiff_kind::copy, 18, 0));
    CHECK(is(35, vcdiff_kind::copy, 0, 1));
    CHECK(is(162, vcdiff_kind::copy, 18, 8));
    CHECK(is(163, vcdiff_kind::add, 1, 0));
    CHECK(vcdiff_table[163].second.size == 4);
    CHECK(vcdiff_table[234].first.size == 4);
    CHECK(vcdiff_table[234].second.size == 6);
    CHECK(vcdiff_table[234].second.mode == 5);
    CHECK(vcdiff_table[235].second.mode == 6);
    CHECK(vcdiff_table[246].second.mode == 8);
    CHECK(is(247, vcdiff_kind::copy, 4, 0));
    CHECK(is(255, vcdiff_kind::copy, 4, 8));
    CHECK(vcdiff_table[255].second.kind == vcdiff_kind::add);
}

TEST_CASE("every code is found again by what it says") {
    for (unsigned code = 0; code < 256; ++code) {
        auto const& i = vcdiff_table[code];
        bool const pair = i.second.kind != vcdiff_kind::none;
        CHECK(pair == (code >= 163));
        CHECK((pair ? vcdiff_pair_code(i.first, i.second) : vcdiff_code(i.first)) == code);
    }
}

TEST_CASE("integers are base 128, the highest digit first") {
    bytes out;
    vcdiff_put_number(out, 123456789);
    CHECK(to_hex(out) == "baef9a15");  // the example of RFC 3284, section 2
    for (unsigned bit = 0; bit < 63; ++bit) {
        for (std::uint64_t const n : {(std::uint64_t{1} << bit) - 1, std::uint64_t{1} << bit}) {
            bytes b;
            vcdiff_put_number(b, n);
            CHECK(b.size() == vcdiff_number_size(n));
            for (std::size_t cut = 0; cut < b.size(); ++cut) {
                bytes_view part = bytes_view(b).first(cut);
                CHECK(!vcdiff_take_number(part));
            }
            bytes_view in = b;
            CHECK(vcdiff_take_number(in) == n);
            CHECK(in.empty());
        }
    }
    bytes const long_one(10, std::byte{0xFF});
    bytes_view in = long_one;
    CHECK(!vcdiff_take_number(in));
}

TEST_CASE("Adler-32 is the naive one, in pieces too") {
    CHECK(adler32(as_bytes("Wikipedia")) == 0x11E60398);
    random_generator r(3);
    for (std::size_t const n : {0U, 1U, 31U, 32U, 33U, 5535U, 5536U, 5537U, 70'000U}) {
        bytes b(n);
        fill(r, b);
        if (n == 70'000) { b.assign(n, std::byte{0xFF}); }
        CHECK(adler32(b) == naive_adler32(b));
        bytes_view const v = b;
        CHECK(adler32(v.subspan(n / 3), adler32(v.first(n / 3))) == naive_adler32(b));
    }
}
