// SPDX-License-Identifier: BSL-1.0

/// Adaptive concurrency: both limits against a peer that is a queue, within their bounds, and their states.

#include <syncline/retry/concurrency.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

static_assert(std::regular<aimd_limit> && std::regular<gradient_limit> && std::regular<adaptive_concurrency<>>);
static_assert(concurrency_limit<aimd_limit> && concurrency_limit<gradient_limit> && !concurrency_limit<int>);
static_assert(valid(aimd_options{}) && !valid(aimd_options{.limit_min = 0}) && !valid(aimd_options{.initial = 65}));
static_assert(!valid(aimd_options{.limit_max = 65'536}) && !valid(aimd_options{.decrease_per_mille = 1000}));
static_assert(valid(gradient_options{}) && !valid(gradient_options{.tolerance_per_mille = 999}));
static_assert(!valid(gradient_options{.smoothing_per_mille = 0}) && !valid(gradient_options{.window = 0}));

/// A round of requests, as many as the limit allows, at a peer that serves `capacity` at a time in 10 ms, lets as many
/// again stand in line, and refuses the rest.
template <class L>
void round(L& limit, std::uint32_t capacity) {
    std::uint32_t const n = limit.limit();
    for (std::uint32_t i = 0; i < n; ++i) {
        bool const dropped = i >= 2 * capacity;
        auto const waves = 1 + i / capacity;
        limit.sampled({microseconds{10'000 * static_cast<std::int64_t>(waves)}, n, dropped});
    }
}

}  // namespace

TEST_CASE("AIMD finds what a peer bears, and follows when it bears less or more") {
    aimd_limit limit({.initial = 1, .limit_max = 1000});
    for (int i = 0; i < 100; ++i) { round(limit, 20); }
    for (int i = 0; i < 200; ++i) {
        round(limit, 20);
        REQUIRE(limit.limit() >= 20);
        REQUIRE(limit.limit() <= 42);
    }
    for (int i = 0; i < 50; ++i) { round(limit, 2); }
    CHECK(limit.limit() <= 5);
    for (int i = 0; i < 300; ++i) { round(limit, 50); }
    CHECK(limit.limit() >= 80);
}

TEST_CASE("AIMD in fixed point stays by the arithmetic of real numbers") {
    random_generator g(2);
    aimd_limit limit({.initial = 10, .limit_max = 500});
    double model = 10;
    for (int i = 0; i < 5000; ++i) {
        bool const dropped = below(g, 100) == 0;
        auto const in_flight = static_cast<std::uint32_t>(below(g, 2 * limit.limit()));
        bool const used = in_flight * 2 >= limit.limit();
        model = dropped ? model * 0.9 : used ? model + 1 / std::floor(model) : model;
        model = (std::max)(1.0, (std::min)(500.0, model));
        limit.sampled({microseconds{1}, in_flight, dropped});
        REQUIRE(std::abs(static_cast<double>(limit.limit()) - std::floor(model)) <= 1);
        model = static_cast<double>(read_u64([&] {
                    bytes b(4);
                    auto const raw = limit.to_array();
                    b.insert(b.end(), raw.begin(), raw.end());
                    return b;
                }())) /
                65'536;
    }
}

TEST_CASE("the gradient settles where a line begins to form, before anything is refused") {
    gradient_limit limit({.initial = 20, .limit_max = 1000});
    std::uint32_t most = 0;
    for (int i = 0; i < 2000; ++i) {
        round(limit, 40);
        if (i > 500) { most = (std::max)(most, limit.limit()); }
    }
    CHECK(limit.limit() >= 30);
    CHECK(most <= 2 * 40 + 10);
    CHECK(limit.usual() >= microseconds{10'000});
    for (int i = 0; i < 2000; ++i) { round(limit, 5); }
    CHECK(limit.limit() <= 40);
}

TEST_CASE("neither limit leaves its bounds, whatever it is told") {
    random_generator g(3);
    aimd_limit a({.initial = 5, .limit_min = 2, .limit_max = 65'535});
    gradient_limit b(
        {.initial = 5, .limit_min = 3, .limit_max = 65'535, .queue = 65'535, .tolerance_per_mille = 10'000});
    std::vector<microseconds> const times{(microseconds::min)(), microseconds{-1},
                                          microseconds{0},       microseconds{1},
                                          microseconds{5000},    microseconds{std::int64_t{1} << 40},
                                          (microseconds::max)()};
    for (int i = 0; i < 100'000; ++i) {
        concurrency_sample const s{times[below(g, times.size())], static_cast<std::uint32_t>(g() >> below(g, 64)),
                                   below(g, 10) == 0};
        a.sampled(s);
        b.sampled(s);
        REQUIRE(a.limit() >= 2);
        REQUIRE(b.limit() >= 3);
        REQUIRE(b.limit() <= 65'535);
    }
}

TEST_CASE("a limit that is not used does not grow") {
    aimd_limit a({.initial = 10});
    gradient_limit b({.initial = 10});
    for (int i = 0; i < 1000; ++i) {
        a.sampled({microseconds{100}, 1, false});
        b.sampled({microseconds{100}, 1, false});
    }
    CHECK(a.limit() == 10);
    CHECK(b.limit() == 10);
}

TEST_CASE("what is under way is counted, up to the limit") {
    adaptive_concurrency<> c(aimd_limit({.initial = 2}));
    CHECK(c.begin());
    CHECK(c.begin());
    CHECK(!c.begin());
    CHECK(c.in_flight() == 2);
    c.cancel();
    CHECK(c.begin());
    c.end(microseconds{10}, true);  // a drop: the limit is 1.8
    CHECK(!c.begin());
    c.end(microseconds{10}, false);
    CHECK(c.begin());
}

TEST_CASE("what was learned survives a restart") {
    random_generator g(4);
    gradient_limit a;
    for (int i = 0; i < 500; ++i) {
        a.sampled({microseconds{1000 + static_cast<std::int64_t>(below(g, 900))}, 20, false});
    }
    gradient_limit b;
    REQUIRE(b.restore(a.to_array()));
    CHECK(a.to_array() == b.to_array());  // but for the round that was under way
    auto const kept = b;
    CHECK(to_hex(gradient_limit{}.to_array()) == "00140000000000000000000000000000");
    CHECK(to_hex(aimd_limit{}.to_array()) == "00040000");
    aimd_limit c({.initial = 3, .limit_max = 8});
    REQUIRE(c.restore(aimd_limit({.initial = 50}).to_array()));
    CHECK(c.limit() == 8);
    for (std::size_t n = 0; n < 24; ++n) {
        if (n != 4) { CHECK(c.restore(bytes(n)).error() == errc::malformed); }
        if (n != 16) { CHECK(b.restore(bytes(n)).error() == errc::malformed); }
    }
    CHECK(b == kept);
    for (int i = 0; i < 3000; ++i) {
        bytes raw(16);
        fill(g, raw);
        raw[8] = raw[9] = std::byte{0};
        gradient_limit d;
        if (d.restore(raw)) {
            d.sampled({microseconds{static_cast<std::int64_t>(g())}, 1000, false});
            REQUIRE(d.limit() >= 1);
            REQUIRE(d.limit() <= 200);
        } else {
            REQUIRE(d == gradient_limit{});
        }
    }
}
