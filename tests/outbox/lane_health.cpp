// SPDX-License-Identifier: BSL-1.0
#include <syncline/outbox/lane_health.hpp>

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

#include "model.hpp"

using namespace outbox_tests;
using sl::lane_day;
using sl::lane_health;

static_assert(sl::valid(sl::lane_health_options{}));
static_assert(!sl::valid(sl::lane_health_options{.alert_after = 0}));
static_assert(!sl::valid(sl::lane_health_options{.memory = milliseconds{0}}));

TEST_CASE("lane_health: failures in a row raise an alert, and a long row an outage, in their lane alone", "[outbox]") {
    sl::memory_storage store;
    auto tx = write(store);
    lane_health const health({.alert_after = 3, .outage_after = milliseconds{1000}});
    REQUIRE(health.sent(tx, 2, 5, 500, milliseconds{10}, at(50)));
    for (int i = 0; i < 2; ++i) { REQUIRE(health.failed(tx, 2, at(100 + i))); }
    auto r = *health.report(tx, 2, at(200));
    CHECK(r.failures == 2);
    CHECK(r.failing_since == at(100));
    CHECK(r.last_success == at(50));
    CHECK_FALSE(r.alert);
    REQUIRE(health.failed(tx, 2, at(300)));
    CHECK(health.report(tx, 2, at(300))->alert);
    CHECK_FALSE(health.report(tx, 2, at(1099))->outage);
    CHECK(health.report(tx, 2, at(1100))->outage);
    CHECK(*health.report(tx, 1, at(1100)) == sl::lane_report{});
    REQUIRE(health.sent(tx, 2, 1, 1, milliseconds{1}, at(1200)));
    r = *health.report(tx, 2, at(9999));
    CHECK(r.failures == 0);
    CHECK_FALSE((r.alert || r.outage || r.failing_since));
    CHECK(r.failed == 3);
    CHECK(r.sent == 6);
    CHECK(r.sent_bytes == 501);
    // A clock that was set back begins the outage anew rather than ending it at once or never.
    REQUIRE(health.failed(tx, 2, at(1'000'000)));
    REQUIRE(health.failed(tx, 2, at(10)));
    CHECK(health.report(tx, 2, at(10))->failing_since == at(10));
    CHECK(health.report(tx, 2, (wall_time::max)())->outage);
    REQUIRE(health.failed(tx, 3, (wall_time::min)()));
    CHECK(health.report(tx, 3, (wall_time::max)())->outage);
}

TEST_CASE("lane_health: a pause holds until its time, and no longer than is believed", "[outbox]") {
    sl::memory_storage store;
    auto tx = write(store);
    lane_health const health({.pause_max = milliseconds{1000}});
    REQUIRE(health.pause(tx, 0, at(500), at(100)));
    CHECK(health.report(tx, 0, at(499))->paused_until == at(500));
    CHECK_FALSE(health.report(tx, 0, at(500))->paused_until);
    CHECK_FALSE(health.report(tx, 0, at(-600))->paused_until);  // the clock was set back
    REQUIRE(health.pause(tx, 0, (wall_time::max)(), at(100)));
    CHECK(health.report(tx, 0, at(100))->paused_until == at(1100));
    REQUIRE(health.sent(tx, 0, 1, 1, milliseconds{1}, at(200)));
    CHECK_FALSE(health.report(tx, 0, at(300))->paused_until);
}

TEST_CASE("lane_health: an estimate follows the pace of late", "[outbox]") {
    sl::memory_storage store;
    auto tx = write(store);
    lane_health const health({.memory = milliseconds{10'000}});
    CHECK_FALSE(health.report(tx, 0, at(0))->estimate(5));
    for (int i = 0; i < 100; ++i) { REQUIRE(health.sent(tx, 0, 10, 1, milliseconds{1'000}, at(i))); }
    auto const slow = *health.report(tx, 0, at(0))->estimate(100);
    CHECK(slow > milliseconds{8'000});
    CHECK(slow < milliseconds{12'000});
    for (int i = 0; i < 100; ++i) { REQUIRE(health.sent(tx, 0, 100, 1, milliseconds{1'000}, at(i))); }
    auto const quick = *health.report(tx, 0, at(0))->estimate(100);
    CHECK(quick > milliseconds{800});
    CHECK(quick < milliseconds{1'300});
    CHECK(*health.report(tx, 0, at(0))->estimate(0) == milliseconds{0});
    CHECK(*health.report(tx, 0, at(0))->estimate(~std::uint64_t{0}) == (milliseconds::max)());
}

TEST_CASE("lane_health: each day keeps its sums, as a map would", "[outbox]") {
    sl::memory_storage store;
    lane_health const health;
    generator random{3};
    std::map<std::pair<std::int64_t, std::uint8_t>, lane_day> expected;
    std::int64_t const length = 86'400'000;
    for (int i = 0; i < 2'000; ++i) {
        std::int64_t const day = static_cast<std::int64_t>(random.below(40)) - 20;
        auto const now = at(day * length + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(length))));
        auto const lane = static_cast<std::uint8_t>(random.below(3));
        lane_day& d = expected[{day, lane}];
        d.day = day;
        d.lane = lane;
        auto tx = write(store);
        if (random.once_in(4)) {
            ++d.failed;
            REQUIRE(health.failed(tx, lane, now));
        } else {
            std::uint64_t const n = random.below(50);
            d.sent += n;
            d.sent_bytes += 3 * n;
            REQUIRE(health.sent(tx, lane, n, 3 * n, milliseconds{5}, now));
        }
        REQUIRE(tx.commit());
    }
    auto tx = write(store);
    auto const look = [&] {
        std::vector<lane_day> seen;
        REQUIRE(health.history(tx, [&](lane_day const& d) {
            seen.push_back(d);
            return true;
        }));
        std::vector<lane_day> should;
        for (auto const& [k, d] : expected) { should.push_back(d); }
        REQUIRE(seen == should);
    };
    look();
    while (*health.forget(tx, at(3 * length + 1), 7) != 0) {}
    expected.erase(expected.begin(), expected.lower_bound({3, 0}));
    look();
    CHECK(!expected.empty());
    REQUIRE(tx.put(view("lhl\0"), view("short")));
    REQUIRE(tx.put(view(std::string("lhl\0", 4)), view("short")));
    CHECK(health.report(tx, 0, at(0)).error() == errc::corrupt);
    CHECK(health.failed(tx, 0, at(0)).error() == errc::corrupt);
}
