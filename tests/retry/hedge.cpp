// SPDX-License-Identifier: BSL-1.0

/// The hedging delay against the exact quantile of what it was told.

#include <syncline/retry/hedge.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

constexpr milliseconds ms(std::int64_t n) { return milliseconds{n}; }

static_assert(std::regular<hedge_delay> && valid(hedge_options{}) && !valid(hedge_options{.quantile_per_mille = 1000}));
static_assert(!valid(hedge_options{.samples_min = 0}) && !valid(hedge_options{.samples_min = 16'385}));
static_assert(!valid(hedge_options{.delay_min = ms(5), .delay_max = ms(4)}));

}  // namespace

TEST_CASE("the delay is the quantile, at most a quarter too long") {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        random_generator g(seed);
        hedge_options o{.quantile_per_mille = 1 + static_cast<std::uint32_t>(below(g, 999)),
                        .delay_min = ms(1),
                        .delay_max = ms(100'000),
                        .samples_min = 10};
        hedge_delay h(o);
        std::vector<std::int64_t> all;
        std::uint64_t const range = std::uint64_t{1} << (1 + below(g, 16));
        for (std::uint64_t n = 10 + below(g, 2000); n != 0; --n) {
            auto const took = static_cast<std::int64_t>(below(g, range));
            h.sampled(ms(took));
            all.push_back(took);
        }
        std::sort(all.begin(), all.end());
        std::size_t const rank = (all.size() * o.quantile_per_mille + 999) / 1000;
        std::int64_t const exact = all[rank - 1];
        auto const delay = h.delay();
        REQUIRE(delay);
        INFO("seed " << seed << " exact " << exact << " delay " << delay->count());
        REQUIRE(delay->count() >= exact);
        REQUIRE(delay->count() <= exact + exact / 4 + 2);
    }
}

TEST_CASE("nothing is said before enough is known, and never outside the bounds") {
    hedge_delay h;
    for (int i = 0; i < 19; ++i) { h.sampled(ms(1)); }
    CHECK(!h.delay());
    h.sampled(ms(-5));
    REQUIRE(h.delay());
    CHECK(*h.delay() == ms(10));
    for (int i = 0; i < 1000; ++i) { h.sampled((milliseconds::max)()); }
    CHECK(*h.delay() == ms(10'000));
}

TEST_CASE("old answers fade") {
    hedge_delay h;
    for (int i = 0; i < 40'000; ++i) { h.sampled(ms(1000)); }
    CHECK(h.samples() < 32'768);
    for (int i = 0; i < 100'000; ++i) { h.sampled(ms(50)); }
    CHECK(*h.delay() <= ms(63));
}

TEST_CASE("the counts survive a restart, and hostile ones are refused") {
    random_generator g(3);
    hedge_delay a;
    for (int i = 0; i < 500; ++i) { a.sampled(ms(static_cast<std::int64_t>(below(g, 3000)))); }
    hedge_delay b;
    REQUIRE(b.restore(to_array(a)));
    CHECK(a == b);
    hedge_delay golden;
    for (std::int64_t const n : {0, 1, 2, 3, 4, 5, 6, 7, 8, 65'535}) { golden.sampled(ms(n)); }
    auto const raw = to_array(golden);
    CHECK(to_hex(bytes_view(raw).first(28)) == "00020000000000000001000000010000000100010001000100010000");
    CHECK(raw.back() == std::byte{1});
    for (std::size_t const n : std::initializer_list<std::size_t>{0, 1, 64, 127, 129, 256}) {
        CHECK(b.restore(bytes(n)).error() == errc::malformed);
    }
    CHECK(b.restore(bytes(128, std::byte{0x7F})).error() == errc::malformed);  // more than there can be
    CHECK(b.restore(bytes(128, std::byte{0xFF})).error() == errc::malformed);
    CHECK(a == b);
}
