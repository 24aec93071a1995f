// SPDX-License-Identifier: BSL-1.0

/// The histogram against sorted samples: its error's bound, merging, and its bytes.

#include <syncline/metrics/histogram.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

static_assert(std::regular<histogram>);
static_assert(sizeof(histogram) <= 4800);

std::uint64_t any_value(random_generator& g) {
    switch (below(g, 4)) {
        case 0: return below(g, 40);
        case 1: return below(g, 100'000);
        case 2: return g() >> (24 + below(g, 40));
        default: return std::uint64_t{1} << below(g, 41);
    }
}
bytes encoded(histogram const& h) {
    bytes raw;
    cbor_writer out(raw);
    h.encode(out);
    return raw;
}

}  // namespace

TEST_CASE("a quantile is within a 32nd of the exact one") {
    random_generator g(1);
    for (int round = 0; round < 60; ++round) {
        histogram h;
        std::vector<std::uint64_t> all;
        for (std::uint64_t n = 1 + below(g, 500); n != 0; --n) {
            auto const v = any_value(g);
            h.sampled(v);
            all.push_back((std::min)(v, histogram::value_max));
        }
        std::sort(all.begin(), all.end());
        CHECK(h.least() == all.front());
        CHECK(h.most() == all.back());
        for (std::uint32_t const q : {0U, 1U, 100U, 500U, 950U, 990U, 999U, 1000U}) {
            std::size_t const rank = (all.size() * q + 999) / 1000;
            std::uint64_t const exact = all[rank == 0 ? 0 : rank - 1];
            std::uint64_t const ours = *h.quantile(q);
            REQUIRE((ours > exact ? ours - exact : exact - ours) * 32 <= exact);
        }
        for (int i = 0; i < 20; ++i) {
            std::uint64_t const v = any_value(g);
            auto const exact = [&](std::uint64_t to) {
                return static_cast<std::uint64_t>(std::upper_bound(all.begin(), all.end(), to) - all.begin());
            };
            REQUIRE(h.at_most(v) >= exact(v));
            REQUIRE(h.at_most(v) <= exact(v + v / 16 + 1));
        }
    }
}

TEST_CASE("every small number and every bucket's edge is counted where it belongs") {
    for (std::uint64_t v = 0; v < 5000; ++v) {
        histogram h;
        h.sampled(v);
        REQUIRE(h.quantile(500) == v);  // one sample: its own least and most
        h.sampled(v + 1'000'000);
        std::uint64_t const low = *h.quantile(1);
        REQUIRE((low > v ? low - v : v - low) * 32 <= v);
    }
    histogram top;
    top.sampled(~std::uint64_t{0});
    CHECK(top.quantile(1000) == histogram::value_max);
}

TEST_CASE("merging gives what one histogram of all would be, in any order") {
    random_generator g(2);
    histogram one, a, b, c;
    for (int i = 0; i < 3000; ++i) {
        auto const v = any_value(g);
        one.sampled(v);
        (i % 3 == 0 ? a : i % 3 == 1 ? b : c).sampled(v);
    }
    histogram ab = a, cb = c, empty;
    ab.merge(b);
    ab.merge(c);
    cb.merge(b);
    cb.merge(a);
    ab.merge(empty);
    CHECK(ab == one);
    CHECK(cb == one);
    histogram full;
    full.sampled(5, ~std::uint64_t{0});
    full.merge(one);
    CHECK(full.count() == ~std::uint64_t{0});
    CHECK(full.quantile(500) == 5U);
}

TEST_CASE("a histogram comes back from its bytes, which are these") {
    random_generator g(3);
    for (int round = 0; round < 200; ++round) {
        histogram h;
        for (std::uint64_t n = below(g, 50); n != 0; --n) { h.sampled(any_value(g), 1 + below(g, 3)); }
        bytes const raw = encoded(h);
        REQUIRE(validate_canonical(raw));
        cbor_reader in(raw);
        histogram const again = histogram::decode(in);
        REQUIRE(in.finish());
        REQUIRE(again == h);
    }
    histogram h;
    CHECK(to_hex(encoded(h)) == "850000000080");
    h.sampled(3);
    h.sampled(1000, 2);
    CHECK(to_hex(encoded(h)) == "85031907d3031903e8840301186c02");
}

TEST_CASE("bytes that contradict themselves are refused") {
    random_generator g(4);
    histogram h;
    for (int i = 0; i < 30; ++i) { h.sampled(any_value(g)); }
    bytes const good = encoded(h);
    int refused = 0;
    for (int i = 0; i < 5000; ++i) {
        bytes raw = good;
        raw[below(g, raw.size())] = static_cast<std::byte>(g());
        cbor_reader in(raw);
        histogram const again = histogram::decode(in);
        if (!in.finish()) {
            ++refused;
            continue;
        }
        REQUIRE(encoded(again) == raw);
        REQUIRE(again.quantile(500).has_value() == (again.count() != 0));
    }
    CHECK(refused > 3000);
}
