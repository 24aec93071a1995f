// SPDX-License-Identifier: BSL-1.0

/// Thresholds: the defaults, hysteresis, escalation; and patterns, masked.

#include <syncline/metrics/alert.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/metrics/pattern.hpp>

#include <cstdint>

#include <syncline/core/random.hpp>
#include <syncline/metrics/registry.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

constexpr wall_time noon{milliseconds{1'790'035'200'000}};
constexpr milliseconds minutes(std::int64_t n) { return milliseconds{n * 60'000}; }
constexpr bool all_valid() {
    for (alert_rule const& r : default_alert_rules) {
        if (!valid(r)) { return false; }
    }
    return true;
}
static_assert(all_valid());

/// What the defaults say of one measure.
std::vector<alert> first_look(void (*happens)(metrics&)) {
    metrics m;
    m.pass(noon);
    happens(m);
    alerts a;
    return a.look(m.snapshot(), noon);
}

}  // namespace

TEST_CASE("the defaults raise where they say, and not a step before") {
    CHECK(first_look([](metrics&) {}).empty());
    CHECK(first_look([](metrics& m) {
              m.counted(metric_counter::entries_applied, 990);
              m.counted(metric_counter::entries_conflicted, 10);
          }).empty());
    auto a = first_look([](metrics& m) {
        m.counted(metric_counter::entries_applied, 989);
        m.counted(metric_counter::entries_conflicted, 11);
    });
    REQUIRE(a.size() == 1);
    CHECK((a[0].what == alert_signal::conflict_share && a[0].level == alert_severity::warning));
    CHECK(first_look([](metrics& m) { m.counted(metric_counter::exchanges_failed, 2); }).empty());
    a = first_look([](metrics& m) { m.counted(metric_counter::exchanges_failed, 3); });
    REQUIRE(a.size() == 1);
    CHECK(a[0].what == alert_signal::failures_in_a_row);
    CHECK(first_look([](metrics& m) {
              m.counted(metric_counter::rows_checked, 1000);
              m.counted(metric_counter::rows_bad_schema, 1);
          }).empty());
    a = first_look([](metrics& m) {
        m.counted(metric_counter::rows_checked, 1000);
        m.counted(metric_counter::rows_bad_schema, 2);
    });
    REQUIRE(a.size() == 1);
    CHECK((a[0].what == alert_signal::integrity_loss && a[0].level == alert_severity::critical));
    CHECK(first_look([](metrics& m) {
              m.counted(metric_counter::exchanges_failed, 1);
              m.counted(metric_counter::exchanges, 199);
          }).empty());
    a = first_look([](metrics& m) {
        m.counted(metric_counter::exchanges_failed, 1);
        m.counted(metric_counter::exchanges, 198);
    });
    REQUIRE(a.size() == 1);
    CHECK(a[0].what == alert_signal::failure_share);
    a = first_look([](metrics& m) {
        for (int i = 0; i < 20; ++i) {
            m.took(metric_latency::exchange, std::chrono::milliseconds{i < 18 ? 100 : 600});
        }
    });
    REQUIRE(a.size() == 1);
    CHECK(a[0].what == alert_signal::exchange_p95);
    CHECK(first_look([](metrics& m) { m.measured(metric_gauge::staleness, 3'600'000); }).empty());
    CHECK(first_look([](metrics& m) { m.measured(metric_gauge::staleness, 3'600'001); }).size() == 1);
}

TEST_CASE("an alert doesn't flutter, escalates while it lasts, and clears below its lower bound") {
    alert_rule const rule{alert_signal::staleness, 100, 50, alert_severity::notice, 1000, minutes(10), 0};
    std::array<alert_rule, 1> const rules{rule};
    alerts a(rules);
    metrics m;
    m.pass(noon);
    int changes = 0;
    random_generator g(1);
    m.measured(metric_gauge::staleness, 120);
    changes += static_cast<int>(a.look(m.snapshot(), noon).size());
    for (int i = 0; i < 100; ++i) {  // around the bound
        m.measured(metric_gauge::staleness, 60 + below(g, 80));
        changes += static_cast<int>(a.look(m.snapshot(), noon + milliseconds{i}).size());
    }
    CHECK(changes == 1);
    auto step = a.look(m.snapshot(), noon + minutes(10));
    REQUIRE(step.size() == 1);
    CHECK((step[0].change == alert_change::escalated && step[0].level == alert_severity::warning));
    CHECK(a.look(m.snapshot(), noon - minutes(1000)).empty());  // the clock was set back
    step = a.look(m.snapshot(), noon + minutes(20));
    REQUIRE(step.size() == 1);
    CHECK(step[0].level == alert_severity::critical);
    CHECK(step[0].since == noon);
    CHECK(a.active().size() == 1);
    m.measured(metric_gauge::staleness, 50);
    step = a.look(m.snapshot(), noon + minutes(21));
    REQUIRE(step.size() == 1);
    CHECK(step[0].change == alert_change::cleared);
    CHECK(a.active().empty());
    m.measured(metric_gauge::staleness, 5000);  // far above: critical at once
    CHECK(a.look(m.snapshot(), noon + minutes(22))[0].level == alert_severity::critical);
}

TEST_CASE("a clock that is set back escalates nothing, and doesn't keep what lasts from escalating") {
    metrics m;
    m.pass(noon);
    m.counted(metric_counter::exchanges_failed, 3);
    alerts a;
    REQUIRE(a.look(m.snapshot(), noon).size() == 1);
    wall_time const earlier = noon - minutes(60 * 24 * 365);
    CHECK(a.look(m.snapshot(), earlier).empty());
    CHECK(a.look(m.snapshot(), earlier + minutes(29)).empty());
    auto const step = a.look(m.snapshot(), earlier + minutes(30));
    REQUIRE(step.size() == 1);
    CHECK(step[0].change == alert_change::escalated);
}

TEST_CASE("what happens on Mondays is found, by a number that says nothing") {
    weekday_patterns p({.mask = 7});
    for (int day = 0; day < 70; ++day) {
        wall_time const local{milliseconds{(20'000 + day) * 86'400'000LL}};
        bool const is_monday = weekday_patterns::weekday_of(local) == 0;
        for (int i = 0; i < (is_monday ? 6 : 1); ++i) { p.occurred(pattern_subject::field, "bookings.table", local); }
        p.occurred(pattern_subject::field, "bookings.note", local, true);  // every day the same
        p.occurred(pattern_subject::user, "ada", local);
    }
    auto const found = p.found();
    REQUIRE(found.size() == 1);
    CHECK(found[0].weekday == 0);
    CHECK(found[0].name.empty());
    CHECK(found[0].masked != 0);
    CHECK(found[0].on_weekday == 60);
    weekday_patterns other({.mask = 8});
    for (int i = 0; i < 20; ++i) { other.occurred(pattern_subject::field, "bookings.table", wall_time{}); }
    REQUIRE(other.found().size() == 1);
    CHECK(other.found()[0].masked != found[0].masked);  // another key, another number
    CHECK(other.found()[0].weekday == 3);
    other.fade();
    CHECK(other.found()[0].on_weekday == 10);
    weekday_patterns open({.mask = 7});
    for (int i = 0; i < 20; ++i) { open.occurred(pattern_subject::field, "bookings.table", wall_time{}, true); }
    CHECK(open.found()[0].name == "bookings.table");
}

TEST_CASE("a name is kept as long as nobody says that it is not public, and there is no mask without a key") {
    static_assert(!valid(pattern_options{}) && valid(pattern_options{.mask = 1}));
    static_assert(!std::is_default_constructible_v<weekday_patterns>);
    weekday_patterns p({.mask = 7});
    auto const name = [&] { return p.found().at(0).name; };
    for (int i = 0; i < 20; ++i) { p.occurred(pattern_subject::user, "ada", wall_time{}); }
    CHECK(name().empty());
    p.occurred(pattern_subject::user, "ada", wall_time{}, true);
    CHECK(name() == "ada");
    p.occurred(pattern_subject::user, "ada", wall_time{});
    CHECK(name().empty());
}

TEST_CASE("a table of patterns goes on after a restart; hostile bytes change nothing") {
    random_generator g(6);
    weekday_patterns p({.entries_max = 8, .occurrences_min = 2, .share_min = 100, .mask = 7});
    auto const some = [&](weekday_patterns& of) {
        random_generator same(9);
        for (int i = 0; i < 300; ++i) {
            of.occurred(static_cast<pattern_subject>(below(same, 2)), std::to_string(below(same, 12)),
                        wall_time{milliseconds{static_cast<std::int64_t>(below(same, 7)) * 86'400'000}},
                        below(same, 2) == 0);
        }
    };
    some(p);
    bytes kept;
    cbor_writer out(kept);
    p.encode(out);
    REQUIRE(validate_canonical(kept));
    weekday_patterns again({.entries_max = 8, .occurrences_min = 2, .share_min = 100, .mask = 7});
    REQUIRE(again.restore(kept));
    CHECK_FALSE(p.found().empty());
    CHECK(again.found() == p.found());
    some(p);
    some(again);  // the key is the same: subjects are known again
    CHECK(again.found() == p.found());
    weekday_patterns smaller({.entries_max = 7, .mask = 7});
    CHECK(smaller.restore(kept).error() == errc::limit);
    int refused = 0;
    for (int i = 0; i < 3000; ++i) {
        bytes raw = kept;
        if (below(g, 4) == 0) { raw.resize(below(g, raw.size())); }
        for (std::uint64_t n = 1 + below(g, 3); n != 0 && !raw.empty(); --n) {
            raw[below(g, raw.size())] = static_cast<std::byte>(g());
        }
        weekday_patterns hostile = p;
        if (hostile.restore(raw)) {
            some(hostile);
            REQUIRE(hostile.size() <= 8);
            continue;
        }
        ++refused;
        REQUIRE(hostile.found() == p.found());
    }
    CHECK(refused > 500);
    kept[1] = std::byte{2};
    CHECK(p.restore(kept).error() == errc::unsupported);
    CHECK(p.restore({}).error() == errc::malformed);
}

TEST_CASE("what is frequent is never lost from a small table") {
    random_generator g(3);
    weekday_patterns p({.entries_max = 8, .occurrences_min = 50, .mask = 7});
    for (int i = 0; i < 20'000; ++i) {
        if (below(g, 3) == 0) {
            p.occurred(pattern_subject::field, "the frequent one", wall_time{}, true);
        } else {
            p.occurred(pattern_subject::field, std::to_string(below(g, 5000)),
                       wall_time{milliseconds{static_cast<std::int64_t>(below(g, 7)) * 86'400'000}});
        }
    }
    CHECK(p.size() == 8);
    REQUIRE_FALSE(p.found().empty());
    CHECK(p.found()[0].name == "the frequent one");
}
