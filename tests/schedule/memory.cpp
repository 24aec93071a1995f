// SPDX-License-Identifier: BSL-1.0

/// What a schedule learns, keeps over a restart, and refuses to believe.

#include <syncline/schedule/memory.hpp>

#include <concepts>
#include <cstdint>

#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>

#include "schedule/generate.hpp"
#include "support/catch.hpp"

using namespace syncline;
using schedule_test::monday;

namespace {

static_assert(std::regular<schedule_memory> && std::regular<conditions> && std::regular<transfer_report>);
static_assert(schedule_memory::state_size == 3665);
static_assert(sizeof(schedule_memory) < 4096);
static_assert(valid(schedule_options{}));

conditions on(link_kind kind) {
    conditions c;
    c.network.online = true;
    c.network.kind = kind;
    return c;
}
constexpr milliseconds minutes(std::int64_t n) { return milliseconds{n * 60'000}; }

}  // namespace

TEST_CASE("a commuter's week is learned: Wi-Fi at home, none on the way") {
    schedule_options const o{.utc_offset = minutes(120)};
    schedule_memory m;
    wall_time const local_monday = monday - minutes(120);
    for (int day = 0; day < 14; ++day) {
        for (int m5 = 0; m5 < 24 * 12; ++m5) {
            int const hour = m5 / 12;
            conditions const c = hour >= 8 && hour < 18 ? on(link_kind::cellular) : on(link_kind::wifi);
            m.saw(c, o, local_monday + minutes(day * 1440 + m5 * 5));
            if (hour == 7) { m.opened(0, o, local_monday + minutes(day * 1440 + m5 * 5)); }
        }
    }
    wall_time const next = local_monday + minutes(14 * 1440);
    CHECK(m.cheap_link(next + minutes(3 * 60), o) == 1000U);
    CHECK(m.cheap_link(next + minutes(12 * 60), o) == 0U);
    CHECK(m.any_link(next + minutes(12 * 60), o) == 1000U);
    CHECK(m.use(0, next + minutes(7 * 60), o) == 1000U);
    CHECK(m.use(0, next + minutes(9 * 60), o) == 0U);
    CHECK(m.use(3, next + minutes(7 * 60), o) == 0U);
}

TEST_CASE("hours in which nobody said whether there was a link teach nothing of links, but of use") {
    schedule_options const o;
    schedule_memory m;
    auto const days = [&](int first, int n, conditions const& c) {
        for (int m15 = first * 96; m15 < (first + n) * 96; ++m15) {
            m.saw(c, o, monday + minutes(m15 * 15));
            if (m15 % 96 == 28) { m.opened(0, o, monday + minutes(m15 * 15)); }
        }
    };
    days(0, 14, {});  // neither the link nor its kind is known
    wall_time const seven = monday + minutes(14 * 1440 + 7 * 60);
    CHECK_FALSE(m.any_link(seven, o));
    CHECK_FALSE(m.cheap_link(seven, o));
    CHECK(m.use(0, seven, o) == 1000U);
    conditions kind;  // what carries the bytes is a link
    kind.network.kind = link_kind::wifi;
    days(14, 14, kind);
    CHECK(m.any_link(seven, o) == 1000U);
    CHECK(m.cheap_link(seven, o) == 1000U);
    days(28, 14, {});  // unknown again: what was learned stays
    CHECK(m.any_link(seven, o) == 1000U);
    schedule_memory again;
    REQUIRE(again.restore(to_array(m)));
    CHECK(again == m);
}

TEST_CASE("a long sleep and a clock that is set back teach nothing") {
    schedule_options const o;
    schedule_memory m;
    m.saw(on(link_kind::wifi), o, monday);
    m.saw(on(link_kind::wifi), o, monday + minutes(3 * 1440));
    CHECK_FALSE(m.cheap_link(monday + minutes(60), o));
    m.saw(on(link_kind::wifi), o, monday - minutes(1440));
    CHECK_FALSE(m.cheap_link(monday + minutes(60), o));
    m.saw(on(link_kind::wifi), o, monday - minutes(1440) + minutes(150));
    CHECK(m.cheap_link(monday - minutes(1440) + minutes(60), o) == 1000U);
}

TEST_CASE("a strategy gets worse at once, better only well above the bound and after a while") {
    schedule_options const o;
    schedule_memory m;
    conditions c = on(link_kind::cellular);
    c.network.downlink_kbps = 20'000;
    m.saw(c, o, monday);
    CHECK(m.now_strategy() == link_strategy::aggressive);
    c.network.downlink_kbps = 9'000;
    m.saw(c, o, monday + milliseconds{1});
    CHECK(m.now_strategy() == link_strategy::moderate);
    c.network.downlink_kbps = 11'000;  // above the bound, not well above
    m.saw(c, o, monday + minutes(5));
    CHECK(m.now_strategy() == link_strategy::moderate);
    c.network.downlink_kbps = 13'000;
    m.saw(c, o, monday + minutes(6));
    CHECK(m.now_strategy() == link_strategy::aggressive);
    c.network.downlink_kbps = 500;
    m.saw(c, o, monday + minutes(7));
    CHECK(m.now_strategy() == link_strategy::conservative);
    c.network.downlink_kbps = 50'000;
    m.saw(c, o, monday + minutes(7) + milliseconds{29'999});  // too soon
    CHECK(m.now_strategy() == link_strategy::conservative);
    m.saw(c, o, monday + minutes(8));
    CHECK(m.now_strategy() == link_strategy::aggressive);
}

TEST_CASE("a link that swings around a bound doesn't swing the strategy") {
    schedule_options const o;
    schedule_memory m;
    random_generator g(5);
    conditions c = on(link_kind::cellular);
    int changes = 0;
    link_strategy last = link_strategy::moderate;
    for (int i = 0; i < 10'000; ++i) {
        c.network.downlink_kbps = static_cast<std::uint32_t>(9'000 + below(g, 2'001));
        m.saw(c, o, monday + milliseconds{i * 1000});
        changes += m.now_strategy() != last ? 1 : 0;
        last = m.now_strategy();
    }
    CHECK(changes <= 2);
}

TEST_CASE("failures wait longer each time, a success or another link forgives, a server's word holds everywhere") {
    schedule_options const o;
    random_generator g(6);
    schedule_memory m;
    m.saw(on(link_kind::wifi), o, monday);
    milliseconds longest{0};
    for (int i = 0; i < 12; ++i) {
        m.failed({}, o, monday, g);
        auto const until = m.paused_until(monday);
        REQUIRE(until);
        milliseconds const wait = *until - monday;
        CHECK(wait <= o.backoff.cap);
        CHECK(wait >= (std::min)(o.backoff.base * (std::int64_t{1} << i), o.backoff.cap) / 2);
        longest = (std::max)(longest, wait);
    }
    CHECK(longest > minutes(7));
    CHECK_FALSE(m.paused_until(monday + o.backoff.cap));
    CHECK_FALSE(m.paused_until(monday - minutes(1)));  // the clock was set back: the wait is over, not endless
    m.saw(on(link_kind::cellular), o, monday);
    CHECK_FALSE(m.paused_until(monday));
    m.failed({.retry_after = minutes(5)}, o, monday, g);
    m.saw(on(link_kind::wifi), o, monday);
    REQUIRE(m.paused_until(monday));
    CHECK(*m.paused_until(monday) >= monday + minutes(5));
    m.succeeded({.good = true}, o, monday);
    CHECK_FALSE(m.paused_until(monday));
    CHECK(m.failures() == 0);
}

TEST_CASE("batches adapt: full ones that went well grow, losses halve") {
    schedule_options const o;
    random_generator g(7);
    schedule_memory m;
    CHECK(m.batch(link_strategy::moderate, o) == 25);
    m.succeeded({.good = true, .entries = 3}, o, monday);
    CHECK(m.batch(link_strategy::moderate, o) == 25);  // not full: it says nothing
    for (int i = 0; i < 100; ++i) { m.succeeded({.good = true, .entries = 100}, o, monday); }
    CHECK(m.batch(link_strategy::moderate, o) == 100);
    CHECK(m.parallel(link_strategy::moderate, o) == 2);
    m.failed({}, o, monday, g);
    CHECK(m.batch(link_strategy::moderate, o) == 50);
    CHECK(m.parallel(link_strategy::moderate, o) == 1);
    CHECK(m.batch(link_strategy::aggressive, o) == 100);  // another strategy, another size
    for (int i = 0; i < 40; ++i) {
        m.succeeded({.good = true, .round_trip = milliseconds{50}, .entries = 200}, o, monday);
    }
    auto const before = m.batch(link_strategy::moderate, o);
    m.succeeded({.good = true, .round_trip = milliseconds{900}, .entries = 200}, o, monday);
    CHECK(m.batch(link_strategy::moderate, o) < before);  // much slower than usual counts as a loss
}

TEST_CASE("bytes are counted by day and class, on metered links only") {
    schedule_options const o;
    schedule_memory m;
    transfer_report r{.good = true, .bytes_up = 100, .bytes_down = 900, .metered = true};
    r.class_bytes[3] = 600;
    m.succeeded(r, o, monday + minutes(600));
    CHECK(m.spent(o, monday + minutes(601)) == 1000);
    CHECK(m.spent(3, o, monday + minutes(601)) == 600);
    r.metered = false;
    m.succeeded(r, o, monday + minutes(602));
    CHECK(m.spent(o, monday + minutes(603)) == 1000);
    CHECK(m.spent(o, monday + minutes(1440)) == 0);
    r.metered = true;
    r.bytes_up = ~std::uint64_t{0};
    m.succeeded(r, o, monday + minutes(604));
    CHECK(m.spent(o, monday + minutes(605)) == ~std::uint64_t{0});  // saturates
}

TEST_CASE("throughput is learned from what is large enough to tell") {
    schedule_options const o;
    schedule_memory m;
    m.succeeded({.good = true, .took = milliseconds{100}, .bytes_down = 100}, o, monday);
    CHECK_FALSE(m.throughput_kbps());
    transfer_report const megabit{
        .good = true, .took = milliseconds{1100}, .round_trip = milliseconds{100}, .bytes_down = 125'000};
    m.succeeded(megabit, o, monday);
    CHECK(m.throughput_kbps() == 1000U);
    conditions c;
    c.network.online = true;
    m.saw(c, o, monday);
    CHECK(m.now_strategy() == link_strategy::conservative);  // nothing else is known of the link
}

TEST_CASE("a memory comes back from its bytes, which are these") {
    random_generator g(8);
    schedule_memory m(0x0123456789ABCDEF);
    schedule_options const o{.utc_offset = minutes(60)};
    CHECK(to_hex(bytes_view(to_array(m)).first(17)) == "010123456789abcdef0000000000000000");
    for (int i = 0; i < 3000; ++i) {
        wall_time const now = monday + milliseconds{i * 700'001LL};
        schedule_test::live(m, o, now, g);
        if (i % 50 == 0) {
            schedule_memory again;
            REQUIRE(again.restore(to_array(m)));
            REQUIRE(again == m);
        }
    }
    // The golden bytes, by their hash: every number of the state, in fixed point, the same on every machine.
    CHECK(to_hex(sha256(to_array(m))).substr(0, 16) == "1e577c8db601743a");
}

TEST_CASE("hostile bytes are refused, or are some memory") {
    random_generator g(9);
    schedule_memory m(1);
    schedule_options const o;
    for (int i = 0; i < 300; ++i) { schedule_test::live(m, o, monday + milliseconds{i * 600'000LL}, g); }
    auto const good = to_array(m);
    schedule_memory const before = m;
    CHECK(m.restore(bytes_view(good).first(100)).error() == errc::malformed);
    CHECK(m.restore({}).error() == errc::malformed);
    auto other = good;
    other[0] = std::byte{2};
    CHECK(m.restore(other).error() == errc::unsupported);
    int refused = 0;
    for (int i = 0; i < 20'000; ++i) {
        auto raw = good;
        for (std::uint64_t n = 1 + below(g, 4); n != 0; --n) {
            raw[1 + below(g, raw.size() - 1)] = static_cast<std::byte>(g());
        }
        schedule_memory hostile = before;
        if (!hostile.restore(raw)) {
            REQUIRE(hostile == before);
            ++refused;
            continue;
        }
        REQUIRE(to_array(hostile) == raw);  // one state, one form
        schedule_test::live(hostile, o, monday, g);
    }
    CHECK(refused > 100);
}
