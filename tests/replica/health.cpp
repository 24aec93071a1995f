// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/health.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <syncline/testing/nth_failure.hpp>
#include <syncline/transport/loopback.hpp>

#include "world.hpp"

namespace {

using namespace syncline;

constexpr std::int64_t hour = 3'600'000;
record_key const key_a{"things", "a"};

/// A transport that completes at once and fails with what it is told.
struct way_home {
    world::cloud& home;
    instant const& now;
    std::optional<failure> fails{};
    void exchange(bytes_view message, completion done) {
        transport_reply reply;
        auto const answer = home.answer(message, now);
        if (fails || !answer) {
            reply.message = fails ? *fails : answer.error();
        } else {
            reply.message = bytes_view{*answer};
        }
        done(reply);
    }
    [[nodiscard]] transport_limits limits() const { return {}; }
};

/// A device whose program keeps a health log, as docs/operations.md says.
struct shown {
    world::virtual_clock clock{};
    world::cloud home{clock.now};
    world::device d{100};
    way_home way{home, clock.now};
    health_log log{};

    shown() { REQUIRE(world::open(d, clock.now)); }

    // region: log
    /// Exchanges what is due, and notes how it went.
    status sync() {
        std::vector<verdict_kind> verdicts;
        auto const run = drive(
            d.link, d.store, way, [&] { return clock.now; },
            [&](event const& e) {
                if (e.kind == event_kind::decided) { verdicts.push_back(e.said.kind); }
            },
            hurry{});
        if (!run) { return run.error(); }
        return d.write([&](auto& tx) -> status {
            for (verdict_kind const k : verdicts) {
                if (auto ok = log.decided(tx, k, clock.now.wall); !ok) { return ok; }
            }
            return log.exchanged(tx, *run, milliseconds{200}, clock.now.wall);
        });
    }
    // endregion: log
    device_health health() {
        // region: show
        auto const now = d.read([&](auto& tx) { return health_of(tx, d.self, d.link, log, clock.now); });
        // endregion: show
        REQUIRE(now);
        return *now;
    }
    void create(record_key const& k) {
        clock.pass(10);
        REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, k, world::fields({{"name", 1}}), clock.now); }));
    }
};

}  // namespace

TEST_CASE("a device that has exchanged everything is idle, and says when") {
    shown w;
    CHECK(w.health().state == health_state::syncing);  // its first sync is due
    CHECK_FALSE(w.health().last_success);
    w.clock.pass(1'000);
    REQUIRE(w.sync());
    device_health const h = w.health();
    CHECK(h.state == health_state::idle);
    CHECK(h.last_success == w.clock.now.wall);
    CHECK(h.complete);
    CHECK(h.pending == 0);
    CHECK_FALSE(h.oldest);
    CHECK_FALSE(h.conflict_rate);
    CHECK_FALSE(h.why);
}

TEST_CASE("what waits is counted, and how long the oldest has") {
    shown w;
    REQUIRE(w.sync());
    w.create({"things", "a"});
    wall_time const first = w.clock.now.wall;
    w.create({"things", "b"});
    w.clock.pass(hour);
    device_health const h = w.health();
    CHECK(h.state == health_state::syncing);
    CHECK(h.pending == 2);
    CHECK(h.pending_bytes > 0);
    CHECK(h.oldest == first);
    CHECK(h.oldest_age(w.clock.now.wall) == milliseconds{hour + 10});
    CHECK(h.oldest_age(first - milliseconds{1}) == milliseconds{0});
    CHECK_FALSE(h.estimate);  // no pace is known yet
    REQUIRE(w.sync());
    CHECK(w.health().pending == 0);
    w.create({"things", "c"});
    CHECK(w.health().estimate == milliseconds{200});  // two took as many as 400 with the first run's
}

TEST_CASE("what failed says what is to be done") {
    struct expected {
        errc code;
        health_state state;
    };
    for (auto const& [code, state] : std::vector<expected>{{errc::unreachable, health_state::offline},
                                                           {errc::timed_out, health_state::offline},
                                                           {errc::connection_lost, health_state::offline},
                                                           {errc::foreign, health_state::offline},
                                                           {errc::throttled, health_state::waiting},
                                                           {errc::peer_failed, health_state::waiting},
                                                           {errc::unauthorised, health_state::sign_in},
                                                           {errc::forbidden, health_state::blocked},
                                                           {errc::unsupported, health_state::blocked},
                                                           {errc::authority_changed, health_state::blocked}}) {
        shown w;
        REQUIRE(w.sync());
        w.way.fails = code;
        w.create(key_a);
        REQUIRE(w.sync());
        device_health const h = w.health();
        INFO(message(code));
        CHECK(h.state == state);
        CHECK((h.why && *h.why == code));
        CHECK(h.pending == 1);
        CHECK(std::string{name(h.state)} != "unknown state");
        w.way.fails.reset();
        REQUIRE(w.d.write([&](auto& tx) { return w.d.link.handle(resume{}, tx, w.clock.now); }));
        if (w.d.link.paused()) { continue; }
        w.clock.pass(hour);
        REQUIRE(w.sync());
        CHECK(w.health().state == health_state::idle);
    }
}

TEST_CASE("failing long is an outage, until an exchange succeeds") {
    shown w;
    REQUIRE(w.sync());
    w.way.fails = errc::unreachable;
    for (int i = 0; i < 3; ++i) {
        w.clock.pass(hour);
        REQUIRE(w.sync());
    }
    CHECK(w.health().outage);
    CHECK(w.health().last_success == w.clock.now.wall - milliseconds{3 * hour});
    w.way.fails.reset();
    REQUIRE(w.sync());
    CHECK_FALSE(w.health().outage);
}

TEST_CASE("the conflict rate counts the verdicts of the last days") {
    memory_storage store;
    health_log const log{{.days = 2}};
    wall_time const noon{milliseconds{1'790'000'000'000}};
    auto tx = store.begin(access_mode::write);
    for (int i = 0; i < 7; ++i) { REQUIRE(log.decided(*tx, verdict_kind::applied, noon)); }
    REQUIRE(log.decided(*tx, verdict_kind::conflict, noon));
    REQUIRE(log.decided(*tx, verdict_kind::rejected, noon));
    REQUIRE(log.decided(*tx, verdict_kind::conflict, noon + milliseconds{24 * hour}));
    auto const at = [&](std::int64_t hours) { return *log.history(*tx, noon + milliseconds{hours * hour}); };
    CHECK(at(0).decided == 9);  // tomorrow's doesn't count yet
    CHECK(at(0).conflict_rate() == 111U);
    CHECK(at(24).decided == 10);
    CHECK(at(24).conflicts == 2);
    CHECK(at(24).rejections == 1);
    CHECK(at(24).conflict_rate() == 200U);
    CHECK(at(48).decided == 1);
    CHECK_FALSE(at(72).conflict_rate());
}

TEST_CASE("a log keeps a month, whatever the clock says") {
    memory_storage store;
    health_log const log{{.days = 32}};
    auto tx = store.begin(access_mode::write);
    wall_time now{milliseconds{0}};
    syncline::random_generator random{3};
    for (int i = 0; i < 400; ++i) {
        std::int64_t const day = static_cast<std::int64_t>(random() % 4'000) - 2'000;
        REQUIRE(log.decided(*tx, verdict_kind::applied, now + milliseconds{day * 24 * hour}));
    }
    for (int day = 0; day < 40; ++day) {
        now += milliseconds{24 * hour};
        REQUIRE(log.decided(*tx, verdict_kind::applied, now));
        CHECK(log.history(*tx, now)->decided >= 1);
    }
}

TEST_CASE("a damaged log is an error, and so is a store that is no replica's") {
    memory_storage store;
    health_log const log;
    auto tx = store.begin(access_mode::write);
    REQUIRE(tx->put(as_bytes("hlv"), as_bytes("\x81\x01")));
    CHECK(log.history(*tx, {}).error() == errc::corrupt);
    CHECK(log.decided(*tx, verdict_kind::applied, {}).error() == errc::corrupt);
    replica const r{world::rules()};
    CHECK(stored_health(*tx, r, log, {}).error() == errc::not_found);
}

TEST_CASE("a log's calls are whole, whatever storage call fails") {
    health_log const log;
    auto const report = testing::nth_failure([](auto&) {},
                                             [&](auto& s) -> status {
                                                 auto tx = s.begin(access_mode::write);
                                                 if (!tx) { return tx.error(); }
                                                 drive_report run;
                                                 run.exchanges = 2;
                                                 run.failed = errc::unreachable;
                                                 if (auto ok = log.decided(*tx, verdict_kind::conflict, {}); !ok) {
                                                     return ok;
                                                 }
                                                 if (auto ok = log.exchanged(*tx, run, milliseconds{5}, {}); !ok) {
                                                     return ok;
                                                 }
                                                 return tx->commit();
                                             });
    CHECK(report.runs > 5);
    CHECK(report.violations.empty());
}
