// SPDX-License-Identifier: BSL-1.0

/// The hybrid clock's three bounds, and its monotony under every wall clock there is.

#include <syncline/clock/hybrid_clock.hpp>

#include <cstdint>
#include <limits>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

namespace sl = syncline;
using sl::milliseconds;
using sl::timestamp;
using sl::wall_time;

namespace {

static_assert(std::regular<timestamp> && std::totally_ordered<timestamp> && sizeof(timestamp) == 8);
static_assert(std::regular<sl::hybrid_clock> && std::is_trivially_copyable_v<sl::hybrid_clock>);
static_assert(noexcept(std::declval<sl::hybrid_clock&>().now(std::declval<wall_time>())));

constexpr std::int64_t longest = (std::numeric_limits<std::int64_t>::max)();
constexpr std::int64_t shortest = (std::numeric_limits<std::int64_t>::min)();
constexpr std::uint64_t top = (std::numeric_limits<std::uint64_t>::max)();
constexpr std::int64_t year = 31'556'952'000;
constexpr std::int64_t today = 1'750'000'000'000;

constexpr wall_time at(std::int64_t ms) { return wall_time{milliseconds{ms}}; }

constexpr bool usable_in_constant_expressions() {
    sl::hybrid_clock c;
    auto const a = c.now(at(5));
    auto const b = c.now(at(5));
    bool const accepted = c.accept(timestamp::make(at(9), 3), at(5)).has_value();
    return a == timestamp::make(at(5)) && b == timestamp::make(at(5), 1) && accepted &&
           c.now(at(6)) == timestamp::make(at(9), 4);
}
static_assert(usable_in_constant_expressions());

/// A wall clock as users and hardware make it: ticking, stuck, set by seconds to centuries, or absurd.
std::int64_t jump(std::int64_t now, sl::random_generator& g) {
    switch (sl::below(g, 16)) {
        case 0: return now > 100 * year ? now - 100 * year : 0;
        case 1: return now < longest - 100 * year ? now + 100 * year : now;
        case 2: return 0;
        case 3: return -1;
        case 4: return longest;
        case 5: return shortest;
        case 6: return today;
        case 7: return static_cast<std::int64_t>(g());
        case 8: return 4'291'747'200'000;   // 2106
        case 9: return 11'644'473'600'000;  // 2339; its negative is 1601
        case 10: return -11'644'473'600'000;
        case 11: return static_cast<std::int64_t>(sl::below(g, std::uint64_t{1} << 49));
        case 12: return now < longest ? now + 1 : now;
        default: return now;
    }
}

}  // namespace

TEST_CASE("A stamp holds 48 bits of milliseconds and a counter that carries", "[clock]") {
    auto const t = timestamp::make(at(today), 7);
    CHECK(t.time() == at(today));
    CHECK(t.counter() == 7);
    CHECK(t.raw == (static_cast<std::uint64_t>(today) << 16 | 7));
    sl::hybrid_clock c({}, timestamp::make(at(today), 0xFFFF));
    CHECK(c.now(at(today)) == timestamp::make(at(today + 1), 0));
    CHECK(timestamp{top}.time() == at((std::int64_t{1} << 48) - 1));
}

TEST_CASE("A wall time outside of what a stamp holds counts as the nearest", "[clock]") {
    CHECK(timestamp::make(at(-1)).raw == 0);
    CHECK(timestamp::make(at(shortest), 3).raw == 3);
    CHECK(timestamp::make(at(longest)).time() == timestamp::time_max());
    CHECK(timestamp::make(timestamp::time_max() + milliseconds{1}).time() == timestamp::time_max());
    CHECK(timestamp::make(timestamp::time_max(), 0xFFFF).raw == top / 2);
}

TEST_CASE("Bytes go there and back, in the stamps' order", "[clock]") {
    sl::random_generator g(1);
    timestamp before{};
    for (int i = 0; i < 500; ++i) {
        timestamp const t{g() >> sl::below(g, 64)};
        auto const back = sl::timestamp_from(to_array(t));
        REQUIRE(back);
        REQUIRE(*back == t);
        REQUIRE((sl::compare(to_array(before), to_array(t)) == (before <=> t)));
        before = t;
    }
    for (std::size_t n = 0; n < 20; ++n) { CHECK(sl::timestamp_from(sl::bytes(n)).has_value() == (n == 8)); }
}

TEST_CASE("Issuing: every stamp is greater than the last, whatever the wall clock does", "[clock]") {
    for (std::uint64_t seed = 0; seed < 30; ++seed) {
        sl::random_generator g(seed);
        sl::hybrid_clock c;
        std::int64_t physical = today;
        timestamp before{};
        for (int i = 0; i < 3000; ++i) {
            physical = jump(physical, g);
            auto const t = c.now(at(physical));
            REQUIRE(t > before);
            REQUIRE(t == c.last());
            REQUIRE(t >= timestamp::make(at(physical)));
            before = t;
            if (sl::below(g, 50) == 0) { c = sl::hybrid_clock(c.options(), c.last()); }  // a restart from storage
        }
    }
}

TEST_CASE("Issuing: a stuck clock counts through many full counters", "[clock]") {
    sl::hybrid_clock c;
    auto const first = c.now(at(today));
    for (std::uint64_t i = 1; i < 200'000; ++i) { REQUIRE(c.now(at(today)).raw == first.raw + i); }
    CHECK(c.last().time() == at(today + 3));
}

TEST_CASE("Issuing: it follows the wall clock as soon as that is ahead", "[clock]") {
    sl::hybrid_clock c;
    (void)c.now(at(today));
    CHECK(c.now(at(today - year)) == timestamp::make(at(today), 1));
    CHECK(c.now(at(today + 1)) == timestamp::make(at(today + 1)));
}

TEST_CASE("Issuing: past the end of time it still counts on, and stands only at the last number", "[clock]") {
    sl::hybrid_clock c;
    auto const end = c.now(at(longest));
    CHECK(end == timestamp::make(timestamp::time_max()));
    for (std::uint64_t i = 1; i < 100'000; ++i) { REQUIRE(c.now(at(longest)).raw == end.raw + i); }
    sl::hybrid_clock last({}, timestamp{top - 1});
    CHECK(last.now(at(0)).raw == top);
    CHECK(last.now(at(longest)).raw == top);
}

TEST_CASE("Accepting: what is within the bound moves the clock, what is beyond does not", "[clock]") {
    sl::clock_options const options{.accept_ahead_max = milliseconds{1000}};
    sl::hybrid_clock c(options, timestamp::make(at(today)));
    auto const before = c;
    for (auto const remote : {timestamp::make(at(today + 1001)), timestamp::make(at(today + year)), timestamp{top}}) {
        CHECK(c.accept(remote, at(today)).error() == sl::errc::stamp_too_far);
        CHECK(c == before);
    }
    auto const edge = timestamp::make(at(today + 1000), 0xFFFF);
    REQUIRE(c.accept(edge, at(today)));
    CHECK(c.last() == edge);
    CHECK(c.now(at(today)) == timestamp::make(at(today + 1001)));
    // The past is always fine, and moves nothing.
    REQUIRE(c.accept(timestamp{}, at(today)));
    CHECK(c.last() == timestamp::make(at(today + 1001)));
}

TEST_CASE("Accepting: many small steps don't walk the clock into the future", "[clock]") {
    sl::hybrid_clock c({.accept_ahead_max = milliseconds{1000}});
    auto remote = timestamp::make(at(today + 900));
    int refused = 0;
    for (int i = 0; i < 1000; ++i) {
        if (!c.accept(remote, at(today))) { ++refused; }
        remote = timestamp::make(c.last().time() + milliseconds{900});
    }
    CHECK(refused > 990);
    CHECK(c.last().time() <= at(today + 1000));
}

TEST_CASE("Accepting: never past the end of time, whatever the bound", "[clock]") {
    sl::hybrid_clock c({.accept_ahead_max = (milliseconds::max)()});
    CHECK(c.accept(timestamp{top / 2 + 1}, at(longest)).error() == sl::errc::stamp_too_far);
    CHECK(c.accept(timestamp{top / 2}, at(shortest)));
    CHECK(c.now(at(0)).raw == top / 2 + 1);
}

TEST_CASE("Dominance: a stamp from the future counts as the bound", "[clock]") {
    auto const bound = milliseconds{5000};
    auto const past = timestamp::make(at(today - year), 9);
    CHECK(sl::effective(past, at(today), bound) == past);
    auto const edge = timestamp::make(at(today + 5000), 0xFFFF);
    CHECK(sl::effective(edge, at(today), bound) == edge);
    CHECK(sl::effective(timestamp::make(at(today + 5001)), at(today), bound) == edge);
    CHECK(sl::effective(timestamp{top}, at(today), bound) == edge);
    CHECK(sl::effective(timestamp{top}, at(today), milliseconds{-3}) == timestamp::make(at(today), 0xFFFF));
    CHECK(sl::effective(timestamp{top}, at(longest), (milliseconds::max)()).raw == top / 2);
    CHECK(sl::effective(timestamp{top}, at(shortest), (milliseconds::min)()).raw == 0xFFFF);
}

TEST_CASE("Dominance keeps order and counts once", "[clock]") {
    sl::random_generator g(8);
    for (int i = 0; i < 2000; ++i) {
        auto const now = at(today + static_cast<std::int64_t>(sl::below(g, 10'000)));
        milliseconds const bound{static_cast<std::int64_t>(sl::below(g, 10'000))};
        auto const pick = [&] { return timestamp::make(at(today + static_cast<std::int64_t>(sl::below(g, 30'000)))); };
        auto const a = pick(), b = pick();
        auto const ea = sl::effective(a, now, bound), eb = sl::effective(b, now, bound);
        REQUIRE(ea <= a);
        REQUIRE((a < b ? ea <= eb : ea >= eb));
        REQUIRE(sl::effective(ea, now, bound) == ea);
        REQUIRE(ea.time() <= now + bound);
    }
}

TEST_CASE("Cause comes before effect between clocks that disagree", "[clock]") {
    // Three devices with their own wall clocks; every message carries a stamp. True causality is kept by
    // vectors that the clocks don't see.
    struct device {
        sl::hybrid_clock clock;
        std::int64_t skew;
        std::vector<std::uint64_t> seen;
    };
    struct event {
        timestamp stamp;
        std::vector<std::uint64_t> seen;
        std::size_t author;
    };
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
        sl::random_generator g(seed);
        std::vector<device> devices(3, {sl::hybrid_clock({.accept_ahead_max = milliseconds{5000}}), 0, {0, 0, 0}});
        std::vector<event> events;
        std::int64_t truth = today;
        for (int i = 0; i < 400; ++i) {
            truth += static_cast<std::int64_t>(sl::below(g, 3));
            auto const who = static_cast<std::size_t>(sl::below(g, 3));
            auto& d = devices[who];
            if (sl::below(g, 10) == 0) { d.skew = static_cast<std::int64_t>(sl::below(g, 4000)) - 2000; }
            if (!events.empty() && sl::below(g, 2) == 0) {
                auto const& e = events[static_cast<std::size_t>(sl::below(g, events.size()))];
                if (d.clock.accept(e.stamp, at(truth + d.skew))) {
                    for (std::size_t k = 0; k < 3; ++k) { d.seen[k] = (std::max)(d.seen[k], e.seen[k]); }
                }
            }
            ++d.seen[who];
            events.push_back({d.clock.now(at(truth + d.skew)), d.seen, who});
            REQUIRE(events.back().stamp.time() <= at(truth + 2000 + 1));  // never beyond the worst clock, and a carry
        }
        for (auto const& a : events) {
            for (auto const& b : events) {
                bool const before = a.seen != b.seen && a.seen[a.author] <= b.seen[a.author];
                if (before) { REQUIRE(a.stamp < b.stamp); }
            }
        }
    }
}

TEST_CASE("Options say what they take", "[clock]") {
    CHECK(valid(sl::clock_options{}));
    CHECK(valid(sl::clock_options{.accept_ahead_max = milliseconds{0}}));
    CHECK(!valid(sl::clock_options{.accept_ahead_max = milliseconds{-1}}));
}
