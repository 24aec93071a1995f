// SPDX-License-Identifier: BSL-1.0

/// The circuit breaker: its states, its window against a naive one, restarts and clocks that jump.

#include <syncline/retry/breaker.hpp>

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

static_assert(std::regular<circuit_breaker> && std::regular<circuit_breaker_options>);
static_assert(valid(circuit_breaker_options{}) && !valid(circuit_breaker_options{.window = ms(7)}));
static_assert(!valid(circuit_breaker_options{.calls_min = 0}) && !valid(circuit_breaker_options{.probes_max = 0}));
static_assert(!valid(circuit_breaker_options{.failures_per_mille = 1001}));
static_assert(!valid(circuit_breaker_options{.open_for = ms(10), .open_max = ms(9)}));
static_assert(!valid(circuit_breaker_options{.successes_to_close = 0}));

constexpr circuit_breaker_options quick{.window = ms(800),
                                        .calls_min = 4,
                                        .failures_per_mille = 500,
                                        .open_for = ms(100),
                                        .open_max = ms(350),
                                        .probes_max = 2,
                                        .successes_to_close = 2,
                                        .probe_timeout = ms(1000)};

constexpr bool walks_through_its_states() {
    circuit_breaker b(quick);
    for (int i = 0; i < 3; ++i) { b.failed(at(i)); }
    if (b.where(at(3)) != breaker_state::closed) { return false; }  // too few to tell
    b.failed(at(10));
    if (b.where(at(10)) != breaker_state::open || b.allow(at(50)) != breaker_answer{false, ms(60)}) { return false; }
    b.succeeded(at(60));  // of an attempt from before: no matter
    if (b.allow(at(109)) != breaker_answer{false, ms(1)} || b.open_left(at(109)) != ms(1)) { return false; }
    if (!b.allow(at(110)).allowed || !b.allow(at(111)).allowed) { return false; }
    if (b.allow(at(112)) != breaker_answer{false, ms(999)}) { return false; }  // two probes are under way
    b.failed(at(120));
    if (b.allow(at(120)) != breaker_answer{false, ms(200)}) { return false; }  // twice as long
    if (!b.allow(at(320)).allowed) { return false; }
    b.failed(at(320));
    if (b.allow(at(320)) != breaker_answer{false, ms(350)}) { return false; }  // capped
    if (!b.allow(at(670)).allowed) { return false; }
    b.succeeded(at(680));
    if (b.where(at(680)) != breaker_state::half_open || !b.allow(at(681)).allowed) { return false; }
    b.succeeded(at(690));
    if (b.where(at(690)) != breaker_state::closed) { return false; }
    for (int i = 0; i < 4; ++i) { b.failed(at(700)); }
    return b.allow(at(700)) == breaker_answer{false, ms(100)};  // the length begins anew
}
static_assert(walks_through_its_states());

}  // namespace

TEST_CASE("a probe that never says what came of it counts as failed") {
    circuit_breaker b(quick);
    for (int i = 0; i < 4; ++i) { b.failed(at(0)); }
    REQUIRE(b.allow(at(100)).allowed);
    CHECK(b.where(at(1099)) == breaker_state::half_open);
    CHECK(b.where(at(1100)) == breaker_state::open);
    CHECK(b.allow(at(1100)) == breaker_answer{false, ms(200)});
    // One that was given up frees its place.
    REQUIRE(b.allow(at(1300)).allowed);
    REQUIRE(b.allow(at(1300)).allowed);
    REQUIRE(!b.allow(at(1300)).allowed);
    b.cancelled(at(1310));
    CHECK(b.allow(at(1310)).allowed);
}

TEST_CASE("the window forgets an eighth at a time: it opens as a naive window of slices does") {
    struct call {
        std::int64_t time;
        bool good;
    };
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
        random_generator g(seed);
        circuit_breaker_options o = quick;
        o.calls_min = 1 + static_cast<std::uint32_t>(below(g, 12));
        o.failures_per_mille = 1 + static_cast<std::uint32_t>(below(g, 1000));
        circuit_breaker b(o);
        std::vector<call> calls;
        std::int64_t now = 0;
        std::int64_t origin = 0;  // where the slices are counted from: a gap of a window begins them anew
        for (int i = 0; i < 400; ++i) {
            std::int64_t const before = now;
            now += static_cast<std::int64_t>(below(g, below(g, 20) == 0 ? 1500 : 60));
            std::int64_t const current = origin + (before - origin) / 100 * 100;
            if (now - current >= 800) {
                origin = now;
                calls.clear();
            }
            bool const good = below(g, 1000) >= o.failures_per_mille / 2;
            calls.push_back({now, good});
            good ? b.succeeded(at(now)) : b.failed(at(now));
            std::uint64_t bad = 0;
            std::uint64_t all = 0;
            std::int64_t const slice = (now - origin) / 100;
            for (call const& c : calls) {
                if ((c.time - origin) / 100 > slice - 8) {
                    ++all;
                    bad += c.good ? 0 : 1;
                }
            }
            bool const opens = !good && all >= o.calls_min && bad * 1000 >= all * o.failures_per_mille;
            INFO("seed " << seed << " step " << i << " time " << now);
            REQUIRE((b.where(at(now)) == breaker_state::open) == opens);
            if (opens) { break; }
        }
    }
}

TEST_CASE("a restart neither forgives an opening nor blocks for ever, whatever the clocks say") {
    circuit_breaker a(quick);
    for (int i = 0; i < 4; ++i) { a.failed(at(1'000'000)); }
    auto const saved = to_array(a, both(5'000'000, 1'000'030));
    CHECK(to_hex(saved) == "01000000000000004600000000000000640000000000000000004c4b40");

    constexpr std::int64_t year = 31'557'600'000;
    struct restart {
        std::int64_t wall;
        std::int64_t left;
    };
    for (restart const r : {restart{5'000'000, 70}, restart{5'000'020, 50}, restart{5'000'070, 0},
                            restart{5'000'000 + 30 * year, 0}, restart{5'000'000 - 30 * year, 70}}) {
        circuit_breaker b(quick);
        REQUIRE(b.restore(saved, both(r.wall, 3)));  // monotonic time begins anew
        CHECK(b.open_left(at(3)) == ms(r.left));
        CHECK(b.where(at(3)) == (r.left > 0 ? breaker_state::open : breaker_state::half_open));
        REQUIRE(b.allow(at(3 + r.left)).allowed);
        b.failed(at(3 + r.left));
        CHECK(b.open_left(at(3 + r.left)) == ms(200));  // the doubling goes on
    }
    // Under options that allow less, less is left.
    circuit_breaker_options o = quick;
    o.open_for = o.open_max = ms(20);
    circuit_breaker b(o);
    REQUIRE(b.restore(saved, both(5'000'000, 0)));
    CHECK(b.open_left(at(0)) == ms(20));
}

TEST_CASE("a monotonic time that goes back or is extreme does no harm") {
    random_generator g(5);
    std::vector<monotonic_time> const times{(monotonic_time::min)(), at(-1), at(0), at(1), at(1'000'000),
                                            (monotonic_time::max)()};
    circuit_breaker b(quick);
    for (int i = 0; i < 20'000; ++i) {
        auto const now = times[below(g, times.size())];
        switch (below(g, 5)) {
            case 0: b.failed(now); break;
            case 1: b.succeeded(now); break;
            case 2: b.cancelled(now); break;
            case 3: {
                auto const answer = b.allow(now);
                REQUIRE(answer.wait >= ms(0));
                REQUIRE(answer.wait <= ms(1000));
                break;
            }
            default: {
                auto const raw = to_array(b, {wall_time{ms(static_cast<std::int64_t>(g()))}, now});
                REQUIRE(b.restore(raw, {wall_time{ms(static_cast<std::int64_t>(g()))}, now}));
            }
        }
        REQUIRE(b.open_left(now) >= ms(0));
        REQUIRE(b.open_left(now) <= ms(350));
    }
}

TEST_CASE("bytes that are no state change nothing") {
    random_generator g(6);
    circuit_breaker a(quick);
    for (int i = 0; i < 4; ++i) { a.failed(at(0)); }
    auto const before = a;
    auto const good = to_array(a, both(0, 0));
    for (std::size_t n = 0; n < 40; ++n) {
        bytes raw(n);
        std::copy_n(good.begin(), (std::min)(n, good.size()), raw.begin());
        if (n != good.size()) { CHECK(a.restore(raw, both(0, 0)).error() == errc::malformed); }
    }
    CHECK(a == before);
    int taken = 0;
    for (int i = 0; i < 5000; ++i) {
        bytes raw(good.begin(), good.end());
        for (std::uint64_t n = 1 + below(g, 4); n != 0; --n) {
            raw[below(g, raw.size())] = static_cast<std::byte>(g());
        }
        circuit_breaker c = before;
        if (c.restore(raw, both(0, 0))) {
            ++taken;
            REQUIRE(c.open_left(at(0)) <= ms(350));
            REQUIRE(std::to_integer<int>(raw[0]) <= 2);
        } else {
            REQUIRE(c == before);
        }
    }
    CHECK(taken > 100);
}
