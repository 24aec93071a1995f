// SPDX-License-Identifier: BSL-1.0

/// Checked arithmetic against wider arithmetic, and the variable-length integer's one encoding.

#include <syncline/core/checked.hpp>

#include <cstdint>
#include <limits>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

namespace sl = syncline;

namespace {

constexpr std::uint64_t top = (std::numeric_limits<std::uint64_t>::max)();

static_assert(sl::checked_add(top, 0) == top && !sl::checked_add(top, 1));
static_assert(sl::checked_subtract(std::uint64_t{3}, 3) == 0 && !sl::checked_subtract(std::uint64_t{3}, 4));
static_assert(sl::checked_multiply(top, 1) == top && !sl::checked_multiply(top, 2) &&
              sl::checked_multiply(top, 0) == 0);
static_assert(sl::saturating_add(top - 1, 5) == top && sl::saturating_add(std::uint32_t{1}, 5) == 6);
static_assert(!sl::counting<int> && !sl::counting<std::uint16_t> && !sl::counting<bool>);

/// Numbers near the ends and in between.
std::vector<std::uint64_t> numbers(sl::random_generator& g, unsigned bits) {
    std::uint64_t const last = top >> (64 - bits);
    std::vector<std::uint64_t> out{0, 1, 2, 3, last, last - 1, last / 2, last / 2 + 1, last / 3};
    for (int i = 0; i < 40; ++i) { out.push_back((g() & last) >> sl::below(g, bits)); }
    return out;
}

template <class To, class From>
void check_narrow(From n, bool fits) {
    auto const m = sl::checked_narrow<To>(n);
    CHECK(m.has_value() == fits);
    if (m) { CHECK(static_cast<From>(*m) == n); }
}

}  // namespace

TEST_CASE("32-bit arithmetic agrees with 64-bit arithmetic", "[core][checked]") {
    sl::random_generator g(1);
    auto const all = numbers(g, 32);
    constexpr std::uint64_t last = 0xFFFFFFFF;
    for (auto const a : all) {
        for (auto const b : all) {
            auto const x = static_cast<std::uint32_t>(a), y = static_cast<std::uint32_t>(b);
            auto const sum = sl::checked_add(x, y), product = sl::checked_multiply(x, y);
            REQUIRE(sum.has_value() == (a + b <= last));
            if (sum) { REQUIRE(*sum == a + b); }
            REQUIRE(product.has_value() == (a * b <= last));
            if (product) { REQUIRE(*product == a * b); }
            REQUIRE(sl::checked_subtract(x, y).has_value() == (a >= b));
            REQUIRE(sl::saturating_add(x, y) == (std::min)(a + b, last));
        }
    }
}

TEST_CASE("Signed sums and differences are given exactly when they fit", "[core][checked]") {
    // The sum in 65 bits, kept as a sign and a magnitude, is what decides.
    constexpr auto most = (std::numeric_limits<std::int64_t>::max)();
    constexpr auto least = (std::numeric_limits<std::int64_t>::min)();
    std::vector<std::int64_t> all{0, 1, -1, 2, -2, most, most - 1, least, least + 1, most / 2, least / 2, most / 2 + 1};
    sl::random_generator g(7);
    for (int i = 0; i < 40; ++i) { all.push_back(static_cast<std::int64_t>(g()) >> sl::below(g, 64)); }
    auto const magnitude = [](std::int64_t n) {
        return n < 0 ? 0 - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n);
    };
    // Whether a + (negative ? -m : m) fits.
    auto const fits = [&](std::int64_t a, bool negative, std::uint64_t m) {
        bool const same_sign = (a < 0) == negative;
        if (!same_sign) {
            std::uint64_t const x = magnitude(a);
            bool const result_negative = x >= m ? a < 0 : negative;
            std::uint64_t const size = x >= m ? x - m : m - x;
            return size <= static_cast<std::uint64_t>(most) + (result_negative ? 1 : 0);
        }
        return m <= static_cast<std::uint64_t>(most) + (negative ? 1 : 0) - magnitude(a);
    };
    for (auto const a : all) {
        for (auto const b : all) {
            auto const sum = sl::checked_add(a, b), difference = sl::checked_subtract(a, b);
            REQUIRE(sum.has_value() == fits(a, b < 0, magnitude(b)));
            REQUIRE(difference.has_value() == fits(a, b > 0, magnitude(b)));
            auto const ua = static_cast<std::uint64_t>(a), ub = static_cast<std::uint64_t>(b);
            if (sum) { REQUIRE(static_cast<std::uint64_t>(*sum) == ua + ub); }
            if (difference) { REQUIRE(static_cast<std::uint64_t>(*difference) == ua - ub); }
        }
    }
}

TEST_CASE("A wide product is the product", "[core][checked]") {
    // (high, low) mod p for a p that no factor shares anything with is enough to tell a wrong product.
    sl::random_generator g(2);
    constexpr std::uint64_t p = 4294967291;  // the largest prime below 2^32
    constexpr std::uint64_t two64 = 25;      // 2^64 mod p, as 2^32 mod p = 5
    auto const all = numbers(g, 64);
    for (auto const a : all) {
        for (auto const b : all) {
            auto const w = sl::multiply_wide(a, b);
            REQUIRE(w.low == a * b);
            REQUIRE((w.high % p * two64 + w.low % p) % p == (a % p) * (b % p) % p);
            REQUIRE(sl::checked_multiply(a, b).has_value() == (w.high == 0));
        }
    }
    CHECK(sl::multiply_wide(top, top) == sl::wide_product{top - 1, 1});
}

TEST_CASE("Narrowing keeps the number or gives none", "[core][checked]") {
    check_narrow<std::uint8_t>(255, true);
    check_narrow<std::uint8_t>(256, false);
    check_narrow<std::uint8_t>(-1, false);
    check_narrow<std::int8_t>(-128, true);
    check_narrow<std::int8_t>(128U, false);
    check_narrow<std::uint64_t>(-1, false);
    check_narrow<std::int64_t>(top, false);
    check_narrow<std::int64_t>(top / 2, true);
    check_narrow<std::int32_t>(std::int64_t{-2147483648}, true);
    check_narrow<std::int32_t>(std::int64_t{-2147483649}, false);
    check_narrow<std::size_t>(std::uint64_t{7}, true);
}

TEST_CASE("A variable-length integer goes there and back, at the front of more", "[core][checked]") {
    sl::random_generator g(3);
    auto all = numbers(g, 64);
    for (unsigned bit = 0; bit < 64; ++bit) {
        all.push_back(std::uint64_t{1} << bit);
        all.push_back((std::uint64_t{1} << bit) - 1);
    }
    for (auto const n : all) {
        sl::bytes out;
        sl::append_varint(out, n);
        REQUIRE(out.size() == sl::varint_size(n));
        auto const size = out.size();
        for (std::size_t cut = 0; cut < size; ++cut) {
            auto in = sl::bytes_view(out).first(cut);
            REQUIRE(sl::take_varint(in).error() == sl::errc::malformed);
            REQUIRE(in.size() == cut);
        }
        out.push_back(std::byte{0x99});
        sl::bytes_view in = out;
        auto const back = sl::take_varint(in);
        REQUIRE(back);
        REQUIRE(*back == n);
        REQUIRE(in.size() == 1);
    }
}

TEST_CASE("A number has one encoding, and what exceeds 64 bits is no number", "[core][checked]") {
    auto const take = [](std::vector<int> const& raw) {
        sl::bytes b;
        for (int const x : raw) { b.push_back(static_cast<std::byte>(x)); }
        sl::bytes_view in = b;
        auto const r = sl::take_varint(in);
        if (!r) { CHECK(in.size() == b.size()); }
        return r;
    };
    CHECK(take({0x80, 0}).error() == sl::errc::not_deterministic);
    CHECK(take({0xFF, 0x80, 0}).error() == sl::errc::not_deterministic);
    CHECK(take({255, 255, 255, 255, 255, 255, 255, 255, 255, 0}).error() == sl::errc::not_deterministic);
    CHECK(*take({255, 255, 255, 255, 255, 255, 255, 255, 255, 1}) == top);
    CHECK(take({255, 255, 255, 255, 255, 255, 255, 255, 255, 2}).error() == sl::errc::malformed);
    CHECK(take({255, 255, 255, 255, 255, 255, 255, 255, 255, 0x81, 0}).error() == sl::errc::malformed);
    CHECK(take({}).error() == sl::errc::malformed);
    // Whatever two bytes say, what is taken is what would have been written.
    for (int a = 0; a < 256; ++a) {
        for (int b = 0; b < 256; ++b) {
            sl::bytes const raw{static_cast<std::byte>(a), static_cast<std::byte>(b)};
            sl::bytes_view in = raw;
            auto const r = sl::take_varint(in);
            if (!r) { continue; }
            sl::bytes again;
            sl::append_varint(again, *r);
            REQUIRE(sl::equal(again, sl::bytes_view(raw).first(raw.size() - in.size())));
        }
    }
}

TEST_CASE("zigzag puts the small numbers first, and has its inverse") {
    std::uint64_t next = 0;
    for (std::int64_t const n : {0, -1, 1, -2, 2}) {
        CHECK(sl::zigzag(n) == next++);
        CHECK(sl::unzigzag(sl::zigzag(n)) == n);
    }
    for (std::int64_t const n : {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()}) {
        CHECK(sl::unzigzag(sl::zigzag(n)) == n);
    }
}

TEST_CASE("the integer root is the largest whose square is not above") {
    for (std::uint64_t n = 0; n < 3'000; ++n) {
        std::uint64_t const r = sl::integer_root(n);
        CHECK((r * r <= n && (r + 1) * (r + 1) > n));
    }
    for (std::uint64_t r : {std::uint64_t{65'535}, std::uint64_t{0xFFFF'FFFE}, std::uint64_t{0xFFFF'FFFF}}) {
        CHECK(sl::integer_root(r * r) == r);
        CHECK(sl::integer_root(r * r - 1) == r - 1);
        CHECK(sl::integer_root(r * r + r) == r);
    }
    CHECK(sl::integer_root(~std::uint64_t{0}) == 0xFFFF'FFFF);
}
