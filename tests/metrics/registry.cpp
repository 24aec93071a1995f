// SPDX-License-Identifier: BSL-1.0

/// The observer that keeps: totals, what was of late, days, failures.

#include <syncline/metrics/registry.hpp>

#include <cstdint>
#include <deque>

#include <syncline/core/random.hpp>
#include <syncline/metrics/alert.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

constexpr wall_time noon{milliseconds{1'790'035'200'000}};
constexpr milliseconds minutes(std::int64_t n) { return milliseconds{n * 60'000}; }

struct may_throw : no_observer {
    void counted(metric_counter, std::uint64_t) {}
};
static_assert(!observer<may_throw>);

}  // namespace

TEST_CASE("what is counted is counted, and several parts report to one") {
    metrics m;
    m.pass(noon);
    observer_ref const a(m);
    observer_ref const b(m);
    a.counted(metric_counter::entries_sent, 3);
    b.counted(metric_counter::entries_sent, 4);
    CHECK(m.snapshot().of(metric_counter::entries_sent) == 7);
    m.counted(metric_counter::entries_sent, ~std::uint64_t{0});
    CHECK(m.snapshot().of(metric_counter::entries_sent) == ~std::uint64_t{0});
}

TEST_CASE("what is of late covers the last half to whole hour, as a list of all events says") {
    random_generator g(1);
    metrics m;
    std::deque<std::pair<wall_time, std::uint64_t>> all;
    wall_time now = noon;
    m.pass(now);
    for (int i = 0; i < 5000; ++i) {
        now += milliseconds{static_cast<std::int64_t>(below(g, below(g, 200) == 0 ? 8'000'000 : 60'000))};
        m.pass(now);
        auto const n = below(g, 10);
        m.counted(metric_counter::rows_pulled, n);
        all.emplace_back(now, n);
        auto const since = [&](milliseconds age) {
            std::uint64_t sum = 0;
            for (auto at = all.rbegin(); at != all.rend() && now - at->first <= age; ++at) { sum += at->second; }
            return sum;
        };
        auto const s = m.snapshot();
        std::uint64_t const recent = s.recent[static_cast<std::size_t>(metric_counter::rows_pulled)];
        REQUIRE(s.recent_span >= milliseconds{0});
        REQUIRE(recent >= n);
        REQUIRE(recent <= since(minutes(121)));
        REQUIRE(s.recent_span <= minutes(121));
    }
    CHECK(m.snapshot().per_minute(metric_counter::rows_pulled));
}

TEST_CASE("failures are counted in a row, and the last sixteen kinds are remembered") {
    metrics m;
    m.pass(noon);
    m.counted(metric_counter::exchanges_failed, 2);
    m.counted(metric_counter::exchanges_failed, 1);
    CHECK(m.snapshot().failures_in_a_row == 3);
    m.counted(metric_counter::exchanges, 1);
    CHECK(m.snapshot().failures_in_a_row == 0);
    for (int i = 0; i < 40; ++i) {
        m.failed(observed_part::transport, failure(errc::timed_out, "", i / 2), noon + minutes(i));
    }
    auto const s = m.snapshot();
    REQUIRE(s.failures.size() == recent_failures_max);
    CHECK(s.failures.front().native == 4);
    CHECK(s.failures.back().native == 19);
    CHECK(s.failures.back().times == 2);
    CHECK(s.failures.back().at == noon + minutes(39));
}

TEST_CASE("days end at local midnight, and only so many are kept") {
    metrics m({.days = 3, .utc_offset = minutes(120)});
    for (int hour = 0; hour < 24 * 7; ++hour) {
        m.pass(noon + minutes(60 * hour));
        m.counted(metric_counter::exchanges, 1);
        m.took(metric_latency::exchange, std::chrono::microseconds{1000 * (1 + hour / 24)});
    }
    REQUIRE(m.days().size() == 3);
    for (auto const& d : m.days()) { CHECK(value_in(d.total, metric_counter::exchanges) == 24); }
    CHECK(m.days()[0].day + 2 == m.days()[2].day);
    CHECK(m.days()[2].exchange_p95 > 5'500);
    auto const before = m.days().size();
    m.pass(noon - minutes(60 * 24 * 400));  // the clock was set back
    CHECK(m.days().size() == before);
}

TEST_CASE("a clock that is set back loses nothing of what is of late, and days stay in order, each once") {
    metrics m;
    m.pass(noon);
    m.counted(metric_counter::exchanges_failed, 7);
    m.pass(noon + minutes(20));
    m.pass(noon - minutes(600));
    CHECK(value_in(m.snapshot().recent, metric_counter::exchanges_failed) == 7);
    CHECK(m.snapshot().recent_span == minutes(20));
    m.pass(noon - minutes(590));
    CHECK(m.snapshot().recent_span == minutes(30));
    m.pass(noon - minutes(400));
    CHECK(value_in(m.snapshot().recent, metric_counter::exchanges_failed) == 0);

    metrics n;
    constexpr std::int64_t day = 24 * 60;
    for (std::int64_t const d : {0, 30, 31, 0, 1, 31, 32}) {
        n.pass(noon + minutes(d * day));
        n.counted(metric_counter::exchanges, 1);
    }
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < n.days().size(); ++i) {
        if (i != 0) { CHECK(n.days()[i - 1].day < n.days()[i].day); }
        sum += value_in(n.days()[i].total, metric_counter::exchanges);
    }
    CHECK(sum == 6);  // the seventh is today's
}

TEST_CASE("totals, failures and days go on after a restart, whenever it comes; hostile bytes change nothing") {
    random_generator g(5);
    metrics straight({.days = 5}), restarted({.days = 5});
    bytes kept;
    auto const keep = [&](metrics const& m) {
        kept.clear();
        cbor_writer out(kept);
        m.encode(out);
    };
    keep(metrics{});
    REQUIRE(restarted.restore(kept));
    wall_time now = noon;
    for (int i = 0; i < 400; ++i) {
        now += milliseconds{static_cast<std::int64_t>(below(g, 5'000'000))};
        auto const kind = below(g, 3);
        for (metrics* const m : {&straight, &restarted}) {
            m->pass(now);
            if (kind == 0) { m->counted(metric_counter::exchanges_failed, 1); }
            if (kind == 1) { m->took(metric_latency::exchange, std::chrono::microseconds{i * 1000}); }
            if (kind == 2) { m->failed(observed_part::outbox, failure(errc::timed_out, "", i % 3), now); }
        }
        if (below(g, 3) == 0) {
            keep(restarted);
            REQUIRE(validate_canonical(kept));
            metrics next({.days = 5});
            REQUIRE(next.restore(kept));
            restarted = next;
        }
        auto a = straight.snapshot(), b = restarted.snapshot();
        REQUIRE((a.total == b.total && a.times == b.times && a.failures == b.failures && a.since == b.since));
        REQUIRE((a.failures_in_a_row == b.failures_in_a_row && straight.days() == restarted.days()));
    }
    CHECK(restarted.days().size() == 5);
    metrics fewer({.days = 2});
    keep(restarted);
    REQUIRE(fewer.restore(kept));
    REQUIRE(fewer.days().size() == 2);
    CHECK(fewer.days()[1] == restarted.days()[4]);

    bytes const good = kept;
    int refused = 0;
    for (int i = 0; i < 3000; ++i) {
        bytes raw = good;
        if (below(g, 4) == 0) { raw.resize(below(g, raw.size())); }
        for (std::uint64_t n = 1 + below(g, 3); n != 0 && !raw.empty(); --n) {
            raw[below(g, raw.size())] = static_cast<std::byte>(g());
        }
        metrics m = restarted;
        if (m.restore(raw)) {
            m.pass(now + minutes(1440));
            REQUIRE(m.days().size() <= 5);
            continue;
        }
        ++refused;
        REQUIRE((m.snapshot() == restarted.snapshot() && m.days() == restarted.days()));
    }
    CHECK(refused > 500);
    kept[1] = std::byte{2};
    CHECK(fewer.restore(kept).error() == errc::unsupported);
    CHECK(fewer.restore({}).error() == errc::malformed);
}

TEST_CASE("clocks at the ends of their range do no harm") {
    metrics m;
    alerts watch;
    for (wall_time const t : {noon, (wall_time::max)(), (wall_time::min)(), noon, (wall_time::max)()}) {
        m.pass(t);
        m.counted(metric_counter::exchanges_failed, 3);
        static_cast<void>(watch.look(m.snapshot(), t));
        CHECK(m.snapshot().recent_span >= milliseconds{0});
    }
}
