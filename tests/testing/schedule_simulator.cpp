// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/schedule_simulator.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "support/sanitized.hpp"
#include "testing/told_life.hpp"

namespace {

using namespace syncline;
using namespace syncline::testing;

constexpr wall_time monday{milliseconds{1'789'948'800'000}};

/// Two days of a device under these options, as it recorded them: a link that goes for an hour in three, writes of all
/// classes, one collection.
bytes recorded_days(schedule_options const& options) {
    traced_schedule s(schedule_memory(5), options, {.events_max = 100'000, .bytes_max = std::size_t{64} << 20});
    scheduled_device device;
    device.add({.id = 1, .urgency = sync_class::normal, .fresh_at = monday});
    conditions around;
    around.network.kind = link_kind::cellular;
    wall_time now = monday;
    milliseconds since{0};
    random_generator g(6);
    for (std::int64_t minute = 0; minute < 2 * 24 * 60; ++minute) {
        around.network.online = minute / 60 % 3 != 2;
        if (minute % 7 == 0) { device.write(static_cast<sync_class>(below(g, sync_classes)), 300, now, since); }
        for (int asked = 0; asked < 60; ++asked) {
            conditions const c = device.among(around);
            sync_plan const p = s.decide(c, now);
            if (!p.run) { break; }
            s.succeeded(device.exchange(p, c, options, milliseconds{400}, now, since), now);
        }
        now += milliseconds{60'000};
        since += milliseconds{60'000};
    }
    return s.encoded();
}

}  // namespace

TEST_CASE("The schedule's world holds all promises, whatever happens", "[schedule_simulator]") {
    char const* const more = std::getenv("SYNCLINE_SCHEDULE_SEEDS");
    std::uint64_t const seeds = more != nullptr ? std::strtoull(more, nullptr, 10) : rounds(100u);
    schedule_simulation_report all;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_schedule(seed);
        INFO("seed " << seed << ", " << to_text(r.found));
        REQUIRE(r.found.empty());
        all.exchanges += r.exchanges;
        all.failures += r.failures;
        all.crashes += r.crashes;
        all.jumps += r.jumps;
    }
    CAPTURE(all.exchanges, all.failures, all.crashes, all.jumps);
    CHECK(all.exchanges > 100 * seeds);
    CHECK(all.failures > 10 * seeds);
    CHECK(all.crashes > 2 * seeds);
    CHECK(all.jumps > seeds);
}

TEST_CASE("The schedule's life is the same each time, can be told, and lived again in part", "[schedule_simulator]") {
    told_life::check_repeats<schedule_simulation_options>(simulate_schedule);
    told_life::check_told<schedule_simulation_options>(simulate_schedule);
}

TEST_CASE("A recorded trace is a world for a simulated device", "[schedule_simulator]") {
    schedule_options const options;
    bytes const log = recorded_days(options);
    auto const same = simulate_trace(log, options);
    REQUIRE(same);
    INFO(same->exchanges << " exchanges, " << same->recorded_exchanges << " recorded");
    CHECK(same->found.empty());
    CHECK(same->sent + same->left >= 2 * 24 * 60 / 7);  // each write that was recorded was made
    CHECK(same->left < 20);
    // Its own time is finer than a minute, and no decision is another one's: about as many.
    CHECK(same->exchanges * 10 >= same->recorded_exchanges * 9);
    CHECK(same->exchanges * 10 <= same->recorded_exchanges * 13);
    // A critical write waits for a link at most.
    CHECK(same->longest_wait[0] <= milliseconds{62 * 60'000});

    SECTION("under other options it does otherwise: twice the patience, fewer exchanges and longer waits") {
        schedule_options thrifty = options;
        for (std::size_t i = 0; i < sync_classes; ++i) {
            thrifty.patience[i] = 2 * options.patience[i] + milliseconds{600'000};
            thrifty.interval[i] *= 4;
            thrifty.stale_max[i] *= 4;
        }
        auto const other = simulate_trace(log, thrifty);
        REQUIRE(other);
        CHECK(other->found.empty());
        CHECK(other->exchanges < same->exchanges);
        CHECK(other->longest_wait[0] > same->longest_wait[0] - milliseconds{1'200'000});
        CHECK(other->longest_wait[2] > same->longest_wait[2]);
    }
    SECTION("and what it recorded while links failed, fails") {
        traced_schedule s(schedule_memory(5), options);
        conditions c;
        c.network.online = true;
        c.pending.add(sync_class::critical, 10, monday);
        random_generator g(1);
        std::size_t failures = 0;
        for (int i = 0; i < 20; ++i) {
            wall_time const now = monday + milliseconds{i * 100'000};
            if (!s.decide(c, now).run) { continue; }
            s.failed({.took = milliseconds{900}}, now, g);
            ++failures;
        }
        auto const failed = simulate_trace(s.encoded(), options);
        REQUIRE(failed);
        CHECK(failed->found.empty());
        CHECK(failures > 4);
        CHECK(failed->failures >= failures / 2);
        CHECK(failed->exchanges == failed->failures + failed->sent);
    }
    SECTION("bytes that are no trace are refused") {
        CHECK(simulate_trace(as_bytes("?"), options).error() == errc::malformed);
    }
}

TEST_CASE("The judge of the schedule hears each promise broken", "[schedule_simulator]") {
    schedule_options const o;
    conditions c;
    c.network.online = true;
    c.pending.add(sync_class::critical, 10, monday);
    sync_plan const good = make_plan(c, schedule_memory(1), o, monday);
    REQUIRE(good.run);
    auto const said = [&](sync_plan const& p, conditions const& k) -> std::string {
        auto const v = schedule_judge(o).decided(p, k, monday, {});
        return v ? v->axiom : "";
    };
    CHECK(said(good, c).empty());
    sync_plan bad = good;
    bad.in = milliseconds{0};
    CHECK(said(bad, c) == schedule_promise::liveness);
    bad = good;
    bad.run = false;
    bad.until = awaited::nothing;
    CHECK(said(bad, c) == schedule_promise::liveness);
    bad = good;
    bad.why[3].because = static_cast<plan_reason>(63);
    CHECK(said(bad, c) == schedule_promise::explained);
    bad = good;
    bad.push = false;
    CHECK(said(bad, c) == schedule_promise::rest);
    conditions other = c;
    other.network.online = false;
    CHECK(said(good, other) == schedule_promise::permission);
    other = c;
    other.server.not_before = monday + milliseconds{1};
    CHECK(said(good, other) == schedule_promise::patience);
    schedule_judge j(o);
    j.exchanged({.good = false, .retry_after = milliseconds{5'000}}, monday);
    CHECK(j.decided(good, c, monday, {})->axiom == schedule_promise::patience);
    j.link_changed();  // the server's word holds on every link
    CHECK(j.decided(good, c, monday, {})->axiom == schedule_promise::patience);

    bad = good;
    bad.in = milliseconds{20'000};
    bad.at = monday + bad.in;
    other = c;
    other.application.foreground = false;
    other.application.window = milliseconds{20'000};
    CHECK(said(bad, other).empty());
    other.application.window = milliseconds{19'999};
    CHECK(said(bad, other) == schedule_promise::window);

    // A class that has used up its bytes, and a write with a deadline in 130 s, of which 120 are for sending.
    schedule_options of_class;
    of_class.class_bytes[0] = 100;
    other = c;
    other.network.metered = true;
    schedule_judge spent(of_class);
    CHECK(!spent.decided(good, other, monday, {}));
    spent.exchanged({.good = true, .metered = true, .class_bytes = {100}}, monday);
    CHECK(spent.decided(good, other, monday, {})->axiom == schedule_promise::budget);
    bad = good;
    bad.run = false;
    bad.until = awaited::work;
    bad.in = milliseconds{10'000} + o.backoff.reconnect_spread;
    bad.at = monday + bad.in;
    other = c;
    other.pending.add(sync_class::normal, 10, monday, monday + milliseconds{130'000});
    CHECK(said(bad, other).empty());
    bad.at += milliseconds{1};
    bad.in += milliseconds{1};
    CHECK(said(bad, other) == schedule_promise::punctual);
}
