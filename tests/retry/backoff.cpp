// SPDX-License-Identifier: BSL-1.0

/// Backoff: capped first, jittered after, hints as floors, and a state that survives a restart.

#include <syncline/retry/backoff.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

namespace sl = syncline;
using sl::milliseconds;

namespace {

static_assert(std::regular<sl::backoff<>> && std::regular<sl::backoff_options>);
static_assert(sizeof(sl::backoff<sl::full_jitter>) == sizeof(sl::backoff<sl::no_jitter>));
static_assert(sl::backoff_jitter<sl::full_jitter, sl::random_generator> &&
              sl::backoff_jitter<sl::no_jitter, sl::random_generator>);
struct minutes_jitter {
    milliseconds operator()(sl::backoff_step const&, sl::random_generator&) const { return {}; }
};
static_assert(!sl::backoff_jitter<minutes_jitter, sl::random_generator> &&
              !sl::backoff_jitter<int, sl::random_generator>);

/// Always the same word, so that a wait is the end of its range.
template <std::uint64_t Word>
struct constant {
    constexpr std::uint64_t operator()() noexcept { return Word; }
};
using highest = constant<~std::uint64_t{0}>;

constexpr milliseconds ms(std::int64_t n) { return milliseconds{n}; }

constexpr bool doubles_then_stays() {
    sl::backoff<sl::no_jitter> b({.base = ms(200), .cap = ms(1500), .attempts_max = 6});
    sl::random_generator g;
    for (auto const expected : {200, 400, 800, 1500, 1500, 1500}) {
        auto const wait = b.next(g);
        if (!wait || *wait != ms(expected)) { return false; }
    }
    bool const ended = !b.next(g) && !b.next(g) && b.exhausted();
    b.reset();
    return ended && b.next(g) == ms(200) && b.attempts() == 1;
}
static_assert(doubles_then_stays());

constexpr bool grows_as_told() {
    sl::random_generator g;
    sl::backoff<sl::no_jitter> constant({.base = ms(30), .cap = ms(90), .growth = sl::backoff_growth::constant});
    sl::backoff<sl::no_jitter> linear({.base = ms(30), .cap = ms(100), .growth = sl::backoff_growth::linear});
    for (auto const expected : {30, 60, 90, 100, 100}) {
        if (constant.next(g) != ms(30) || linear.next(g) != ms(expected)) { return false; }
    }
    return true;
}
static_assert(grows_as_told());

constexpr bool forgets_only_after_a_stable_success() {
    sl::random_generator g;
    sl::backoff<sl::no_jitter> b({.base = ms(1), .stable_after = ms(100)});
    for (int i = 0; i < 4; ++i) { (void)b.next(g); }
    b.recover(ms(99));
    if (b.attempts() != 3) { return false; }
    b.recover(ms(100));
    b.recover(ms(0));
    return b.attempts() == 0;
}
static_assert(forgets_only_after_a_stable_success());

constexpr bool jitter_reaches_the_ceiling() {
    sl::backoff<> b({.base = ms(100), .cap = ms(250)});
    highest g;
    return b.next(g) == ms(100) && b.next(g) == ms(200) && b.next(g) == ms(250) && b.next(g) == ms(250);
}
static_assert(jitter_reaches_the_ceiling());

constexpr bool survives_a_restart() {
    sl::random_generator g(3);
    sl::backoff<sl::decorrelated_jitter> a;
    (void)a.next(g);
    (void)a.next(g);
    sl::backoff<sl::decorrelated_jitter> b;
    auto h = g;
    return b.restore(to_array(a)).has_value() && a == b && a.next(g) == b.next(h);
}
static_assert(survives_a_restart());

static_assert(valid(sl::backoff_options{}) && valid(sl::backoff_options{.base = ms(1), .cap = ms(1)}));
static_assert(valid(sl::backoff_options{.cap = sl::backoff_max, .hint_max = sl::backoff_max}));
static_assert(!valid(sl::backoff_options{.base = ms(0)}) && !valid(sl::backoff_options{.base = ms(-1)}));
static_assert(!valid(sl::backoff_options{.base = ms(2), .cap = ms(1)}));
static_assert(!valid(sl::backoff_options{.cap = sl::backoff_max + ms(1)}));
static_assert(!valid(sl::backoff_options{.hint_max = ms(-1)}));
static_assert(!valid(sl::backoff_options{.growth = static_cast<sl::backoff_growth>(3)}));
static_assert(!valid(sl::backoff_options{.reconnect_spread = ms(-1)}));
static_assert(!valid(sl::backoff_options{.stable_after = sl::backoff_max + ms(1)}));

/// How often each wait came.
template <class Jitter>
std::vector<int> histogram(Jitter jitter, sl::backoff_step step, int rounds) {
    sl::random_generator g(11);
    std::vector<int> out(static_cast<std::size_t>(step.cap.count()) + 1);
    for (int i = 0; i < rounds; ++i) {
        auto const wait = jitter(step, g);
        REQUIRE(wait >= ms(0));
        REQUIRE(wait <= step.cap);
        ++out[static_cast<std::size_t>(wait.count())];
    }
    return out;
}

/// Even on [first, last], nothing elsewhere.
void check_even(std::vector<int> const& counts, std::size_t first, std::size_t last, int rounds) {
    double const expected = static_cast<double>(rounds) / static_cast<double>(last - first + 1);
    double chi = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        if (i < first || i > last) {
            CHECK(counts[i] == 0);
        } else {
            double const d = counts[i] - expected;
            chi += d * d / expected;
        }
    }
    double const freedom = static_cast<double>(last - first);
    CHECK(chi < freedom + 5 * 1.4143 * std::sqrt(freedom));  // five standard deviations
    CHECK(chi > freedom - 5 * 1.4143 * std::sqrt(freedom));
}

}  // namespace

TEST_CASE("Each jitter is even over the range that it states", "[retry]") {
    constexpr int rounds = 200'000;
    sl::backoff_step const step{ms(20), ms(100), ms(80), ms(25)};
    check_even(histogram(sl::full_jitter{}, step, rounds), 0, 80, rounds);
    check_even(histogram(sl::equal_jitter{}, step, rounds), 40, 80, rounds);
    check_even(histogram(sl::decorrelated_jitter{}, step, rounds), 20, 75, rounds);
    // Capped before the choice: no heap of waits at the cap.
    check_even(histogram(sl::decorrelated_jitter{}, {ms(20), ms(100), ms(80), ms(90)}, rounds), 20, 100, rounds);
    check_even(histogram(sl::decorrelated_jitter{}, {ms(20), ms(100), ms(20), ms(0)}, rounds), 20, 60, rounds);
    CHECK(histogram(sl::no_jitter{}, step, 10)[80] == 10);
}

TEST_CASE("A base near the cap leaves decorrelated jitter its range", "[retry]") {
    sl::random_generator g(4);
    sl::backoff<sl::decorrelated_jitter> b({.base = ms(100), .cap = ms(100)});
    for (int i = 0; i < 10; ++i) { CHECK(b.next(g) == ms(100)); }
}

TEST_CASE("The cap comes first: at the cap the waits are as spread as before it", "[retry]") {
    sl::random_generator g(5);
    std::vector<int> tenth(10);
    sl::backoff<> b({.base = ms(1), .cap = ms(999)});
    for (int i = 0; i < 20; ++i) { (void)b.next(g); }
    for (int i = 0; i < 10'000; ++i) { ++tenth[static_cast<std::size_t>(b.next(g)->count() / 100)]; }
    for (int const n : tenth) {
        CHECK(n > 850);
        CHECK(n < 1150);
    }
}

TEST_CASE("No number of attempts and no option overflows", "[retry]") {
    highest g;
    for (std::int64_t const base :
         {std::int64_t{1}, std::int64_t{3}, static_cast<std::int64_t>(sl::backoff_max.count() / 2 + 1),
          static_cast<std::int64_t>(sl::backoff_max.count())}) {
        sl::backoff<> b({.base = ms(base), .cap = sl::backoff_max, .hint_max = sl::backoff_max});
        milliseconds before{0};
        for (int i = 0; i < 200; ++i) {
            auto const wait = b.next(g);
            REQUIRE(wait);
            REQUIRE(*wait >= before);
            REQUIRE(*wait <= sl::backoff_max);
            before = *wait;
        }
        CHECK(before == sl::backoff_max);
        CHECK(b.next(g, milliseconds::max()) == sl::backoff_max + sl::backoff_max);
    }
    // The attempt counter stops instead of starting over.
    sl::backoff<> b({.base = ms(100), .cap = ms(60'000)});
    auto raw = to_array(b);
    for (std::size_t i = 0; i < 4; ++i) { raw[i] = std::byte{0xFF}; }
    REQUIRE(b.restore(raw));
    CHECK(b.next(g) == ms(60'000));
    CHECK(b.attempts() == 0xFFFFFFFF);
    CHECK(b.next(g) == ms(60'000));
}

TEST_CASE("No growth overflows") {
    highest g;
    for (auto const growth :
         {sl::backoff_growth::constant, sl::backoff_growth::linear, sl::backoff_growth::exponential}) {
        for (auto const base : {ms(1), ms(1000), sl::backoff_max / 3, sl::backoff_max}) {
            sl::backoff<> b({.base = base, .cap = sl::backoff_max, .growth = growth});
            for (std::uint32_t const attempts : {0U, 1U, 47U, 48U, 63U, 64U, 0x7FFFFFFFU, 0xFFFFFFFEU, 0xFFFFFFFFU}) {
                auto raw = to_array(b);
                for (std::size_t i = 0; i < 4; ++i) { raw[i] = static_cast<std::byte>(attempts >> (24 - 8 * i)); }
                REQUIRE(b.restore(raw));
                auto const wait = b.next(g);
                REQUIRE(wait);
                REQUIRE(*wait >= base);
                REQUIRE(*wait <= sl::backoff_max);
            }
        }
    }
}

TEST_CASE("A first reconnect is jittered too, and is no attempt") {
    sl::random_generator g(12);
    sl::backoff<> b({.reconnect_spread = ms(99)});
    std::vector<int> tenth(10);
    for (int i = 0; i < 10'000; ++i) { ++tenth[static_cast<std::size_t>(b.reconnect(g).count() / 10)]; }
    for (int const n : tenth) { CHECK(n > 850); }
    CHECK(b == sl::backoff<>({.reconnect_spread = ms(99)}));
}

TEST_CASE("A server's hint is a floor, jittered upward, and clamped", "[retry]") {
    sl::random_generator g(6);
    sl::backoff<> b({.base = ms(1000), .cap = ms(1000), .hint_max = ms(5000)});
    bool spread = false;
    for (int i = 0; i < 2000; ++i) {
        auto const wait = b.next(g, ms(3000));
        REQUIRE(wait);
        REQUIRE(*wait >= ms(3000));
        REQUIRE(*wait <= ms(4000));
        spread = spread || *wait > ms(3900);
    }
    CHECK(spread);
    for (auto const hostile : {ms(5001), ms(1'000'000'000), milliseconds::max()}) {
        auto const wait = b.next(g, hostile);
        REQUIRE(wait);
        CHECK(*wait >= ms(5000));
        CHECK(*wait <= ms(6000));
    }
    for (auto const hostile : {ms(-1), milliseconds::min(), ms(0)}) { CHECK(*b.next(g, hostile) <= ms(1000)); }
}

TEST_CASE("A hint does not outlast the attempts, nor count for more than one", "[retry]") {
    sl::random_generator g(7);
    sl::backoff<> b({.attempts_max = 2});
    CHECK(b.next(g, ms(10)));
    CHECK(b.attempts() == 1);
    CHECK(b.next(g));
    auto const before = b;
    CHECK(!b.next(g, ms(10)));
    CHECK(b == before);
}

TEST_CASE("The state goes there and back, under other options too", "[retry]") {
    sl::random_generator g(8);
    sl::backoff<> a({.base = ms(10), .cap = ms(100'000)});
    for (int i = 0; i < 5; ++i) { (void)a.next(g); }
    sl::backoff<sl::no_jitter> b({.base = ms(1), .cap = ms(7), .attempts_max = 6});
    REQUIRE(b.restore(to_array(a)));
    CHECK(b.attempts() == 5);
    CHECK(b.next(g) == ms(7));
    CHECK(!b.next(g));
}

TEST_CASE("A stored wait from larger options does not break a smaller cap", "[retry]") {
    sl::random_generator g(9);
    sl::backoff<sl::decorrelated_jitter> large({.base = ms(1'000'000), .cap = ms(9'000'000)});
    (void)large.next(g);
    sl::backoff<sl::decorrelated_jitter> b({.base = ms(10), .cap = ms(50)});
    REQUIRE(b.restore(to_array(large)));
    for (int i = 0; i < 50; ++i) {
        auto const wait = b.next(g);
        REQUIRE(wait);
        REQUIRE(*wait >= ms(10));
        REQUIRE(*wait <= ms(50));
    }
}

TEST_CASE("Bytes that are no state change nothing", "[retry]") {
    sl::random_generator g(10);
    sl::backoff<> b;
    (void)b.next(g);
    auto const before = b;
    for (std::size_t n = 0; n < 30; ++n) {
        if (n != 12) { CHECK(b.restore(sl::bytes(n)).error() == sl::errc::malformed); }
    }
    for (int i = 0; i < 2000; ++i) {
        sl::bytes raw(12);
        sl::fill(g, raw);
        if (i % 2 == 0) { raw[4] = raw[5] = std::byte{0}; }
        auto c = b;
        if (c.restore(raw)) {
            REQUIRE(sl::equal(to_array(c), raw));
            auto const wait = c.next(g, ms(1));
            REQUIRE(wait);
            REQUIRE(*wait <= c.options().cap + ms(1));
        } else {
            REQUIRE(c == before);
            REQUIRE(sl::read_u64(sl::bytes_view(raw).subspan(4)) > static_cast<std::uint64_t>(sl::backoff_max.count()));
        }
    }
}

TEST_CASE("A fleet that fails together does not come back together", "[retry]") {
    // A thousand clients with one cap and one hint: without jitter all would come in one millisecond.
    std::vector<int> arrivals(61'000);
    for (std::uint64_t client = 0; client < 1000; ++client) {
        sl::random_generator g(client);
        sl::backoff<> b;
        for (int i = 0; i < 12; ++i) { (void)b.next(g); }
        ++arrivals[static_cast<std::size_t>(b.next(g, ms(1000))->count())];
    }
    int most = 0;
    for (int const n : arrivals) { most = (std::max)(most, n); }
    CHECK(most <= 5);
}
