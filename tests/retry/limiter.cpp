// SPDX-License-Identifier: BSL-1.0

/// The rate limiters: against each other, against I.371's virtual scheduling, and against every span of time.

#include <syncline/retry/limiter.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

constexpr milliseconds ms(std::int64_t n) { return milliseconds{n}; }
constexpr monotonic_time at(std::int64_t n) { return monotonic_time{ms(n)}; }
constexpr instant both(std::int64_t wall, std::int64_t monotonic) { return {wall_time{ms(wall)}, at(monotonic)}; }

static_assert(std::regular<gcra> && std::regular<token_bucket> && rate_limiter<no_limiter> && !rate_limiter<int>);
static_assert(valid(rate_options{}) && !valid(rate_options{.count = 0}) && !valid(rate_options{.per = ms(0)}));
static_assert(!valid(rate_options{.burst = 0}) && !valid(rate_options{.per = ms(std::int64_t{1} << 31)}));

constexpr bool three_a_second_are_not_rounded() {
    gcra g({.count = 3, .per = ms(1000), .burst = 1});
    int passed = 0;
    for (std::int64_t t = 0; t < 1'000'000; t += 1) { passed += g.take(at(t)) == ms(0) ? 1 : 0; }
    // One every 334 ms: a call comes a part of a millisecond after the moment from which on it may.
    return passed >= 2994 && passed <= 3000;
}

rate_options random_options(random_generator& g) {
    return {.count = 1 + static_cast<std::uint32_t>(below(g, 20)),
            .per = ms(1 + static_cast<std::int64_t>(below(g, 300))),
            .burst = 1 + static_cast<std::uint32_t>(below(g, 10))};
}

}  // namespace

TEST_CASE("a rate that is no whole number of milliseconds is kept") { CHECK(three_a_second_are_not_rounded()); }

TEST_CASE("GCRA passes what I.371's virtual scheduling passes, and what a bucket of tokens does") {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        random_generator g(seed);
        rate_options const o = random_options(g);
        gcra cells(o);
        token_bucket tokens(o);
        // The recommendation's words, in units of 1 / count of a millisecond: TAT, T and tau.
        std::int64_t const count = o.count;
        std::int64_t const interval = o.per.count();
        std::int64_t const tolerance = (std::int64_t{o.burst} - 1) * interval;
        std::int64_t expected = 0;
        std::int64_t now = 0;
        for (int i = 0; i < 1000; ++i) {
            now += static_cast<std::int64_t>(below(g, 2 * static_cast<std::uint64_t>(interval)));
            auto const copy = cells;
            milliseconds const wait = cells.take(at(now));
            REQUIRE(wait == tokens.take(at(now)));
            std::int64_t const time = now * count;
            if (time < expected - tolerance) {  // non-conforming
                REQUIRE(wait > ms(0));
                auto later_copy = cells;
                REQUIRE(later_copy.take(at(now + wait.count())) == ms(0));
                later_copy = cells;
                REQUIRE(later_copy.take(at(now + wait.count() - 1)) > ms(0));
                REQUIRE(cells.ahead(at(now)) == copy.ahead(at(now)));
            } else {
                REQUIRE(wait == ms(0));
                expected = (std::max)(time, expected) + interval;
            }
        }
    }
}

TEST_CASE("no span of time sees more than the burst and the rate allow") {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        random_generator g(seed);
        rate_options const o = random_options(g);
        gcra cells(o);
        std::vector<std::int64_t> passed;
        std::int64_t now = 0;
        for (int i = 0; i < 600; ++i) {
            now += static_cast<std::int64_t>(below(g, 20));
            if (cells.take(at(now)) == ms(0)) { passed.push_back(now); }
        }
        for (std::size_t i = 0; i < passed.size(); ++i) {
            for (std::size_t k = i; k < passed.size(); ++k) {
                std::int64_t const span = passed[k] - passed[i];
                REQUIRE(static_cast<std::int64_t>(k - i + 1) <= std::int64_t{o.burst} + span * o.count / o.per.count());
            }
        }
    }
}

TEST_CASE("a bucket takes what weighs more than one, and returns what was not used") {
    token_bucket b({.count = 10, .per = ms(1000), .burst = 5});
    CHECK(b.tokens(at(0)) == 5);
    CHECK(b.take(at(0), 3) == ms(0));
    CHECK(b.take(at(0), 3) == ms(100));
    CHECK(b.tokens(at(0)) == 2);
    CHECK(b.take(at(100), 3) == ms(0));
    b.give_back(2);
    CHECK(b.tokens(at(100)) == 2);
    b.give_back(100);
    CHECK(b.tokens(at(100)) == 5);
    // More than it ever holds: taken as all of it, not waited for in vain.
    CHECK(b.take(at(100), 0xFFFFFFFF) == ms(0));
    CHECK(b.tokens(at(100)) == 0);
    CHECK(b.take(at(100), 0xFFFFFFFF) == ms(500));
}

TEST_CASE("extremes do not overflow, and time that goes back counts as none") {
    random_generator g(7);
    std::vector<monotonic_time> const times{(monotonic_time::min)(), at(-1), at(0), at(1), at(1'000'000),
                                            (monotonic_time::max)()};
    constexpr std::uint32_t most = 0xFFFFFFFF;
    for (rate_options const o : {rate_options{most, ms((std::int64_t{1} << 31) - 1), most},
                                 rate_options{1, ms((std::int64_t{1} << 31) - 1), most}, rate_options{most, ms(1), 1},
                                 rate_options{1, ms(1), 1}}) {
        REQUIRE(valid(o));
        token_bucket b(o);
        for (int i = 0; i < 3000; ++i) {
            auto const now = times[below(g, times.size())];
            auto const wait = b.take(now, static_cast<std::uint32_t>(g()));
            REQUIRE(wait >= ms(0));
            REQUIRE(wait <= o.per * std::int64_t{o.burst});
            REQUIRE(b.tokens(now) <= o.burst);
        }
    }
    gcra c({.count = 1, .per = ms(100), .burst = 1});
    CHECK(c.take(at(1000)) == ms(0));
    CHECK(c.take(at(10)) == ms(100));
    CHECK(c.take(at(1000)) == ms(100));
    CHECK(c.take(at(1100)) == ms(0));
}

TEST_CASE("a limit survives a restart, whatever the clocks say") {
    gcra a({.count = 2, .per = ms(1000), .burst = 3});
    for (int i = 0; i < 3; ++i) { REQUIRE(a.take(at(9'000'000)) == ms(0)); }
    auto const saved = to_array(a, both(700'000, 9'000'100));
    CHECK(to_hex(saved) == "0000000000000af000000000000aae60");
    constexpr std::int64_t year = 31'557'600'000;
    struct restart {
        std::int64_t wall;
        std::int64_t wait;
    };
    for (restart const r : {restart{700'000, 400}, restart{700'300, 100}, restart{700'000 - 9 * year, 400},
                            restart{700'000 + 9 * year, 0}}) {
        gcra b({.count = 2, .per = ms(1000), .burst = 3});
        REQUIRE(b.restore(saved, both(r.wall, 50)));
        CHECK(b.take(at(50)) == ms(r.wait));
        CHECK(b.take(at(50 + 1400)) == ms(0));  // all is forgiven in time
    }
    auto const before = a;
    for (std::size_t n = 0; n < 30; ++n) {
        if (n != 16) { CHECK(a.restore(bytes(n), both(0, 0)).error() == errc::malformed); }
    }
    CHECK(a == before);
    // A debt beyond what the options allow is cut: nobody is blocked for ever by bytes.
    bytes hostile(16, std::byte{0xFF});
    REQUIRE(a.restore(hostile, both(0, 0)));
    CHECK(a.take(at(0)) <= ms(500));
    no_limiter none;
    CHECK(none.restore({}, both(0, 0)));
    CHECK(none.restore(hostile, both(0, 0)).error() == errc::malformed);
}
