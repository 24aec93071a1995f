// SPDX-License-Identifier: BSL-1.0

/// The generator against its authors' outputs, and the helpers on top of it.

#include <syncline/core/random.hpp>

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/catch.hpp"

namespace sl = syncline;

namespace {

static_assert(sl::random_source<sl::random_generator> && sl::random_source<sl::splitmix64>);
static_assert(std::regular<sl::random_generator> && std::regular<sl::splitmix64>);
struct may_throw {
    std::uint64_t operator()();
};
struct too_narrow {
    std::uint32_t operator()() noexcept;
};
static_assert(!sl::random_source<may_throw> && !sl::random_source<too_narrow> && !sl::random_source<int>);

constexpr sl::random_generator::state state_of(std::array<std::uint64_t, 4> words) {
    sl::random_generator::state out{};
    for (std::size_t i = 0; i < 32; ++i) { out[i] = static_cast<std::byte>(words[i / 8] >> (56 - 8 * (i % 8))); }
    return out;
}

/// Gives the listed words, then zeros.
struct script {
    std::vector<std::uint64_t> words;
    std::size_t at = 0;
    std::uint64_t operator()() noexcept { return at < words.size() ? words[at++] : 0; }
};

constexpr bool usable_in_constant_expressions() {
    sl::random_generator g(7);
    std::array<std::byte, 3> b{};
    sl::fill(g, b);
    return sl::below(g, 6) < 6 && sl::random_generator(to_array(g)) == g;
}
static_assert(usable_in_constant_expressions());

}  // namespace

TEST_CASE("splitmix64 gives the published numbers", "[core][random]") {
    sl::splitmix64 g(1234567);
    for (std::uint64_t const expected : {6457827717110365317U, 3203168211198807973U, 9817491932198370423U,
                                         4593380528125082431U, 16408922859458223821U}) {
        CHECK(g() == expected);
    }
}

TEST_CASE("random gives the published numbers of xoshiro256**", "[core][random]") {
    sl::random_generator g(state_of({1, 2, 3, 4}));
    for (std::uint64_t const expected :
         {std::uint64_t{11520}, std::uint64_t{0}, std::uint64_t{1509978240}, std::uint64_t{1215971899390074240},
          std::uint64_t{1216172134540287360}, std::uint64_t{607988272756665600}, std::uint64_t{16172922978634559625U},
          std::uint64_t{8476171486693032832}, std::uint64_t{10595114339597558777U},
          std::uint64_t{2904607092377533576}}) {
        CHECK(g() == expected);
    }
}

TEST_CASE("A seed is spread by splitmix64", "[core][random]") {
    sl::splitmix64 words(42);
    std::array<std::uint64_t, 4> s{};
    for (auto& w : s) { w = words(); }
    CHECK(sl::random_generator(42) == sl::random_generator(state_of(s)));
    CHECK(!(sl::random_generator(42) == sl::random_generator(43)));
}

TEST_CASE("The state can be stored at any moment, and zeros do not stall it", "[core][random]") {
    sl::random_generator g(9);
    for (int i = 0; i < 100; ++i) {
        sl::random_generator copy(to_array(g));
        REQUIRE(copy == g);
        REQUIRE(copy() == g());
    }
    sl::random_generator zero(sl::random_generator::state{});
    CHECK(zero == sl::random_generator(0));
    CHECK((zero() | zero() | zero()) != 0);
}

TEST_CASE("below is exactly even: it rejects what would tip the scale", "[core][random]") {
    // 2^64 mod 3 = 1: the one surplus word is the one whose product has a low half of 0, the word 0.
    script g{{0, 0, (std::numeric_limits<std::uint64_t>::max)()}};
    CHECK(sl::below(g, 3) == 2);
    CHECK(g.at == 3);
    // A power of two has no surplus.
    script h{{0}};
    CHECK(sl::below(h, 4) == 0);
    CHECK(h.at == 1);
}

TEST_CASE("below stays below and reaches every number", "[core][random]") {
    sl::random_generator g(5);
    for (std::uint64_t n = 1; n < 40; ++n) {
        std::vector<int> seen(n);
        for (std::uint64_t i = 0; i < 60 * n; ++i) {
            auto const x = sl::below(g, n);
            REQUIRE(x < n);
            ++seen[x];
        }
        for (int const count : seen) {
            CHECK(count > 15);  // of 60 expected; 5.8 standard deviations
            CHECK(count < 120);
        }
    }
    for (int i = 0; i < 100; ++i) { REQUIRE(sl::below(g, (std::uint64_t{1} << 63) + 1) <= std::uint64_t{1} << 63); }
}

TEST_CASE("fill writes words big-endian and cuts the last", "[core][random]") {
    script g{{0x0102030405060708, 0x1112131415161718}};
    std::array<std::byte, 11> b{};
    sl::fill(g, b);
    for (std::size_t i = 0; i < 8; ++i) { CHECK(b[i] == static_cast<std::byte>(i + 1)); }
    for (std::size_t i = 8; i < 11; ++i) { CHECK(b[i] == static_cast<std::byte>(0x11 + i - 8)); }
    CHECK(g.at == 2);
}
