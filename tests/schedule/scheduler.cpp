// SPDX-License-Identifier: BSL-1.0

/// The properties of a plan, over random and enumerated conditions; and that steps with planted mistakes break them.

#include <syncline/schedule/scheduler.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include <syncline/core/random.hpp>
#include <syncline/schedule/trace.hpp>

#include "schedule/generate.hpp"
#include "support/catch.hpp"

using namespace syncline;
using schedule_test::monday;

namespace {

constexpr milliseconds minutes(std::int64_t n) { return milliseconds{n * 60'000}; }

conditions good_link() {
    conditions c;
    c.network.online = true;
    c.network.kind = link_kind::cellular;
    c.network.metered = false;
    c.network.effective = effective_type::type_4g;
    return c;
}

/// Every plan has a next time, and says what it waits for.
std::string answers(conditions const& c, schedule_options const& o, wall_time now, sync_plan const& p) {
    wall_time const sane = local_time(now, milliseconds{0});
    if (p.at != sane + p.in || p.in.count() <= 0) { return "no next time"; }
    if (p.in > o.look_max && !p.run) { return "no next time within the longest wait"; }
    bool work = c.collections.size() != 0;
    for (auto const& pending : c.pending.of) { work = work || pending.entries != 0; }
    if (p.run && !p.push && !p.pull) { return "runs nothing"; }
    if (p.run && !work) { return "runs without work"; }
    if (!p.run && work && !p[plan_choice::when].until_time && p.until == awaited::work) { return "waits for nothing"; }
    if (p.run && p.bytes_max == 0) { return "runs with no byte allowed"; }
    if (p.batch == 0 || p.parallel == 0) { return "a size of zero"; }
    std::uint32_t seen = 0;
    for (std::size_t i = 0; i < p.pulls; ++i) {
        if (p.order[i] >= c.collections.size() || (p.collections >> p.order[i] & 1U) == 0) {
            return "order and set differ";
        }
        if ((seen >> p.order[i] & 1U) != 0) { return "one collection twice"; }
        seen |= 1U << p.order[i];
    }
    if (seen != p.collections) { return "order and set differ"; }
    for (plan_explanation const& e : p.why) {
        if (std::string(words(e.because)) == "unknown reason") { return "a reason without words"; }
    }
    return {};
}

/// Nothing runs against a gate that yields to nobody.
std::string gates_hold(conditions const& c, schedule_memory const& m, schedule_options const& o, wall_time now,
                       sync_plan const& p) {
    if (!p.run) { return {}; }
    if (c.network.online == false) { return "runs offline"; }
    if (m.paused_until(now)) { return "runs in a pause"; }
    if (c.server.not_before && *c.server.not_before > now && elapsed(now, *c.server.not_before) <= o.wait_max) {
        return "runs although the server asked to wait";
    }
    if (c.application.foreground == false && c.application.window && *c.application.window <= o.window_reserve) {
        return "runs without a window";
    }
    bool const roams = c.network.roaming.value_or(false);
    bool const empty = c.power.level && *c.power.level <= o.battery_critical && !c.power.charging.value_or(false);
    bool const too_hot = c.power.thermal == thermal_state::critical;
    bool const full = (c.storage.free_bytes && *c.storage.free_bytes < o.free_bytes_min) ||
                      (c.storage.quota_left && *c.storage.quota_left < o.free_bytes_min);
    for (std::size_t i = 0; i < c.collections.size(); ++i) {
        if ((p.collections >> i & 1U) != 0 && c.collections[i].urgency != sync_class::critical &&
            (roams || empty || too_hot || full)) {
            return "pulls what isn't critical against a gate";
        }
    }
    if (p.push && p.lowest != sync_class::critical && (roams || empty || too_hot)) { return "pushes against a gate"; }
    if (p.large_values && (costs_by_byte(c.network, o) || c.network.data_saver.value_or(false))) {
        return "large values on a metered link";
    }
    return {};
}

/// What is worse never makes more of it.
template <class Steps>
std::string monotone(conditions const& c, schedule_memory const& m, schedule_options const& o, wall_time now,
                     sync_plan const& p, random_generator& g) {
    conditions worse = c;
    switch (below(g, 9)) {
        case 0: worse.network.online = false; break;
        case 1: worse.network.roaming = true; break;
        case 2: worse.power.level = static_cast<std::uint8_t>(below(g, c.power.level.value_or(100) + 1U)); break;
        case 3:
            if (c.power.thermal.value_or(thermal_state::nominal) < thermal_state::serious) {
                worse.power.thermal = thermal_state::serious;
            }
            break;
        case 4: worse.power.thermal = thermal_state::critical; break;
        case 5: worse.server.load = 100; break;
        case 6: worse.server.not_before = now + minutes(7); break;
        case 7: worse.storage.free_bytes = 0; break;
        default: worse.application.quiet = true; break;
    }
    sync_plan const w = make_plan<Steps>(worse, m, o, now);
    if (w.run && !p.run) { return "runs where better conditions don't"; }
    if (w.run && w.push && w.lowest > p.lowest) { return "serves a less urgent class in worse conditions"; }
    if (w.run && (w.collections & ~p.collections) != 0) { return "pulls more in worse conditions"; }
    if (w.large_values && !p.large_values) { return "moves large values in worse conditions"; }
    if (w.parallel > p.parallel || w.batch > p.batch) { return "asks more of worse conditions"; }
    return {};
}

template <class Steps>
std::string random_conditions(std::uint64_t seed, int rounds) {
    random_generator g(seed);
    schedule_options o;
    o.day_bytes = 1'000'000;
    o.class_bytes[3] = 100'000;
    schedule_memory m(g());
    wall_time now = monday;
    for (int i = 0; i < rounds; ++i) {
        now += milliseconds{static_cast<std::int64_t>(below(g, below(g, 50) == 0 ? 200'000'000 : 400'000))};
        if (below(g, 60) == 0) { now -= milliseconds{static_cast<std::int64_t>(below(g, 100'000'000))}; }
        schedule_test::live(m, o, now, g);
        conditions const c = schedule_test::any_conditions(g, now);
        m.saw(c, o, now);
        schedule_memory const before = m;
        sync_plan const p = make_plan<Steps>(c, m, o, now);
        conditions const copy = c;
        if (!(make_plan<Steps>(copy, before, o, now) == p) || !(m == before)) { return "not a pure function"; }
        if (auto bad = answers(c, o, now, p); !bad.empty()) { return bad; }
        if (auto bad = gates_hold(c, m, o, now, p); !bad.empty()) { return bad; }
        if (auto bad = monotone<Steps>(c, m, o, now, p, g); !bad.empty()) { return bad; }
    }
    return {};
}

/// A host that asks when it is told to: what is permitted gets its turn within the bound of its class.
template <class Steps>
std::string nobody_starves(conditions c, milliseconds slack) {
    schedule_options const o;
    for (std::size_t i = 0; i < sync_classes; ++i) {
        schedule_memory m(3);
        conditions asked = c;
        asked.pending = {};
        asked.pending.add(static_cast<sync_class>(i), 100, monday);
        wall_time now = monday;
        bool served = false;
        for (int rounds = 0; rounds < 10'000 && !served; ++rounds) {
            m.saw(asked, o, now);
            sync_plan const p = make_plan<Steps>(asked, m, o, now);
            served = p.run && p.push && static_cast<std::size_t>(p.lowest) >= i;
            if (served) { break; }
            now = p.at;
        }
        if (!served) { return "a class is never served"; }
        if (now - monday > (std::max)(o.stale_max[i], o.interval[i]) + slack) { return "a class waits too long"; }
    }
    return {};
}

/// Collections of all classes and scopes under one exchange a minute that takes only the first of the order.
template <class Steps>
std::string fair_to_collections() {
    schedule_options const o;
    schedule_memory m(4);
    conditions c = good_link();
    for (std::uint16_t i = 0; i < 12; ++i) {
        collection_state k{
            .id = i, .scope = static_cast<std::uint16_t>(i % 3), .urgency = static_cast<sync_class>(i % 4)};
        k.fresh_at = monday;
        static_cast<void>(c.collections.push_back(k));
    }
    for (int minute = 1; minute < 24 * 60; ++minute) {
        wall_time const now = monday + minutes(minute);
        m.saw(c, o, now);
        sync_plan const p = make_plan<Steps>(c, m, o, now);
        if (p.run && p.pull) {
            c.collections[p.order[0]].fresh_at = now;
            m.succeeded({.good = true}, o, now);
        }
        for (collection_state const& k : c.collections) {
            // Twelve collections share sixty exchanges an hour; each has its turn before it has waited for ten intervals.
            if (now - *k.fresh_at > 10 * o.interval[static_cast<std::size_t>(k.urgency)] + minutes(60)) {
                return "a collection starves";
            }
        }
    }
    return {};
}

template <class Steps>
std::string a_fleet_spreads() {
    schedule_options const o;
    std::uint32_t kinds = 0;
    milliseconds last{-1};
    for (std::uint64_t device = 0; device < 50; ++device) {
        schedule_memory const m(device * 7919);
        conditions c = good_link();
        collection_state k{.urgency = sync_class::normal};
        k.fresh_at = monday;
        static_cast<void>(c.collections.push_back(k));
        sync_plan const p = make_plan<Steps>(c, m, o, monday);
        kinds += p.in != last ? 1 : 0;
        last = p.in;
        if (p.in < o.interval[2] || p.in > o.interval[2] * 11 / 10) { return "jitter out of its range"; }
    }
    return kinds > 40 ? "" : "devices look at the same time";
}

/// All that a plan promises, for one kind of steps; empty when it keeps it.
template <class Steps>
std::string broken(int rounds) {
    if (auto bad = random_conditions<Steps>(11, rounds); !bad.empty()) { return bad; }
    if (auto bad = nobody_starves<Steps>(good_link(), minutes(1)); !bad.empty()) { return bad; }
    conditions thrifty = good_link();
    thrifty.network.metered = true;
    thrifty.network.data_saver = true;
    thrifty.network.effective = effective_type::slow_2g;
    thrifty.power.low_power_mode = true;
    thrifty.power.level = 14;
    thrifty.application.quiet = true;
    thrifty.server.load = 95;
    if (auto bad = nobody_starves<Steps>(thrifty, minutes(5)); !bad.empty()) { return bad; }
    if (auto bad = fair_to_collections<Steps>(); !bad.empty()) { return bad; }
    return a_fleet_spreads<Steps>();
}

// Mistakes.

struct forgets_offline : schedule_steps {
    static constexpr closed_gates closed(schedule_situation const& s) noexcept {
        auto out = schedule_steps::closed(s);
        out.bits &= ~1U;
        return out;
    }
};
struct waits_for_ever : schedule_steps {
    static constexpr milliseconds longest_wait(schedule_situation const&) noexcept { return retry_time_max; }
};
struct starves : schedule_steps {
    static constexpr bool yields(schedule_situation const&, schedule_gate) noexcept { return false; }
};
struct herds : schedule_steps {
    static constexpr milliseconds jitter(schedule_situation const&, milliseconds, std::size_t) noexcept {
        return milliseconds{0};
    }
};
struct ignores_pause : schedule_steps {
    static constexpr closed_gates closed(schedule_situation const& s) noexcept {
        auto out = schedule_steps::closed(s);
        out.bits &= ~(1U << static_cast<unsigned>(schedule_gate::backing_off));
        return out;
    }
};
struct greedy_when_hot : schedule_steps {
    static constexpr std::uint32_t batch(schedule_situation const& s) noexcept {
        return schedule_steps::batch(s) + (s.c.power.thermal ? static_cast<std::uint32_t>(*s.c.power.thermal) : 0);
    }
};
struct roams : schedule_steps {
    static constexpr std::size_t stops_from(schedule_situation const& s, schedule_gate g) noexcept {
        return g == schedule_gate::roaming ? sync_classes : schedule_steps::stops_from(s, g);
    }
};
struct never_normal : schedule_steps {
    static constexpr milliseconds interval(schedule_situation const& s, want w, sync_class c) noexcept {
        return c == sync_class::normal ? minutes(100'000) : schedule_steps::interval(s, w, c);
    }
};
struct not_pure : schedule_steps {
    static std::uint32_t batch(schedule_situation const& s) noexcept {
        static std::uint32_t calls = 0;
        return schedule_steps::batch(s) + ++calls % 2;
    }
};

}  // namespace

TEST_CASE("a plan keeps what it promises, over random conditions, memories and clocks") {
    CHECK(broken<schedule_steps>(20'000) == "");
}

TEST_CASE("planted mistakes in the steps are found") {
    CHECK(broken<forgets_offline>(4000) != "");
    CHECK(broken<waits_for_ever>(4000) == "no next time within the longest wait");
    CHECK_THAT(broken<starves>(4000), Catch::Matchers::Contains("class"));
    CHECK(broken<herds>(4000) == "devices look at the same time");
    CHECK(broken<ignores_pause>(4000) == "runs in a pause");
    CHECK(broken<greedy_when_hot>(4000) == "asks more of worse conditions");
    CHECK(broken<roams>(4000) != "");
    CHECK_THAT(broken<never_normal>(4000), Catch::Matchers::Contains("class"));
    CHECK(broken<not_pure>(4000) == "not a pure function");
}

TEST_CASE("what is unknown closes no gate: every combination of three truths, eight conditions deep") {
    schedule_options const o;
    schedule_memory const m(5);
    int unknown_ran = 0;
    for (int n = 0; n < 6561; ++n) {
        int rest = n;
        auto const next = [&rest]() -> std::optional<bool> {
            int const digit = rest % 3;
            rest /= 3;
            if (digit == 0) { return {}; }
            return digit == 2;
        };
        conditions c;
        c.network.online = next();
        c.network.metered = next();
        c.network.roaming = next();
        c.network.data_saver = next();
        c.power.charging = next();
        c.power.low_power_mode = next();
        c.application.foreground = next();
        c.application.quiet = next();
        c.pending.add(sync_class::critical, 10, monday);
        sync_plan const p = make_plan(c, m, o, monday);
        CHECK(answers(c, o, monday, p) == "");
        // Of these only the lack of a network holds critical work back.
        REQUIRE(p.run == (c.network.online != false));
        unknown_ran += p.run && !c.network.online ? 1 : 0;
        if (!p.run) { CHECK(has(p.until, awaited::network)); }
    }
    CHECK(unknown_ran == 2187);
    sync_plan const p = make_plan({}, m, o, monday);
    CHECK_FALSE(p.run);
    CHECK(p[plan_choice::when].because == plan_reason::nothing_to_do);
    CHECK(p.at == monday + o.look_max);
}

TEST_CASE("a lone write is due when its class's patience is over, and a naive clock agrees") {
    schedule_options const o;
    schedule_memory const m(6);
    random_generator g(12);
    for (int i = 0; i < 3000; ++i) {
        auto const cls = static_cast<std::size_t>(below(g, 4));
        milliseconds const age{static_cast<std::int64_t>(below(g, 5'000'000))};
        conditions c = good_link();
        c.pending.add(static_cast<sync_class>(cls), 10, monday - age);
        sync_plan const p = make_plan(c, m, o, monday);
        REQUIRE(p.run == (age >= o.patience[cls]));
        if (!p.run) { REQUIRE(p.in == o.patience[cls] - age); }
    }
}

TEST_CASE("the table of strategies is followed") {
    schedule_options const o;
    schedule_memory const m;
    auto const ask = [&](effective_type e, std::optional<std::uint32_t> kbps) {
        conditions c;
        c.network.online = true;
        c.network.metered = false;
        c.network.effective = e;
        c.network.downlink_kbps = kbps;
        c.pending.add(sync_class::critical, 10, monday);
        c.pending.add(sync_class::normal, 10, monday);
        return make_plan(c, m, o, monday);
    };
    sync_plan const fast = ask(effective_type::type_4g, 10'001);
    CHECK((fast.batch == 100 && fast.parallel == 5 && fast.compression == compression_level::low && fast.large_values));
    CHECK(fast.lowest == sync_class::background);
    sync_plan const fair = ask(effective_type::type_3g, {});
    CHECK((fair.batch == 25 && fair.parallel == 2 && fair.compression == compression_level::medium &&
           !fair.large_values));
    CHECK(ask(effective_type::type_4g, 10'000) == ask(effective_type::type_3g, 5'000));
    for (effective_type const e : {effective_type::type_2g, effective_type::slow_2g}) {
        sync_plan const poor = ask(e, {});
        CHECK((poor.batch == 5 && poor.parallel == 1 && poor.compression == compression_level::high &&
               !poor.large_values));
        CHECK(poor.lowest == sync_class::critical);  // of what waits, only priorities 7 and up: here the critical one
        CHECK(poor[plan_choice::lowest].because == plan_reason::weak_link);
    }
    CHECK(ask(effective_type::type_4g, 999).batch == 5);
}

TEST_CASE("large values move on a good link only, and not when it is metered or the data saver is on") {
    schedule_options const o;
    schedule_memory const m;
    conditions c = good_link();
    CHECK(make_plan(c, m, o, monday).large_values);
    c.network.data_saver = true;
    CHECK(make_plan(c, m, o, monday)[plan_choice::large_values].because == plan_reason::data_saver);
    c.network.data_saver = {};
    c.network.metered = true;
    CHECK(make_plan(c, m, o, monday)[plan_choice::large_values].because == plan_reason::metered);
    c.network.metered = {};
    CHECK_FALSE(make_plan(c, m, o, monday).large_values);  // cellular costs where nobody says otherwise
    c.network.kind = {};
    CHECK_FALSE(make_plan(c, m, o, monday).large_values);
}

TEST_CASE("an event day is made ready overnight, and at the latest when it would no longer be done in time") {
    schedule_options const o;
    schedule_memory const m;
    conditions c = good_link();
    c.network.kind = link_kind::wifi;
    c.power.charging = true;
    collection_state k{.id = 1, .urgency = sync_class::normal};
    k.fresh_at = monday;
    k.complete_by = monday + minutes(480);
    k.bytes_left = 50'000'000;
    static_cast<void>(c.collections.push_back(k));
    sync_plan p = make_plan(c, m, o, monday);
    CHECK((p.run && p.pull && p[plan_choice::when].because == plan_reason::event));
    c.network.kind = link_kind::cellular;
    c.network.metered = true;
    p = make_plan(c, m, o, monday);
    CHECK_FALSE(p.run);
    // Fifty megabytes at the guessed 500 kbit/s take 800 s; twice that, and an hour, before eight o'clock.
    milliseconds const latest = minutes(480 - 60) - milliseconds{1'600'000};
    wall_time const then = monday + latest;
    CHECK_FALSE(make_plan(c, m, o, then - milliseconds{1}).run);
    p = make_plan(c, m, o, then);
    CHECK((p.run && p[plan_choice::when].because == plan_reason::event));
    c.collections[0].bytes_left = 0;
    CHECK_FALSE(make_plan(c, m, o, monday + minutes(1)).run);
}

TEST_CASE("a calendar's date far away lets nothing that was pulled before grow stale") {
    schedule_options const o;
    for (std::size_t i = 0; i < sync_classes; ++i) {
        schedule_memory m(3);
        conditions c = good_link();
        collection_state k{.id = 1, .urgency = static_cast<sync_class>(i)};
        k.fresh_at = monday;
        k.complete_by = monday + minutes(7 * 24 * 60);
        REQUIRE(c.collections.push_back(k));
        wall_time now = monday;
        sync_plan p = make_plan(c, m, o, now);
        CHECK_FALSE(p.run);
        while (!p.run && now < monday + minutes(24 * 60)) {
            now = p.at;
            m.saw(c, o, now);
            p = make_plan(c, m, o, now);
        }
        CAPTURE(i);
        CHECK((p.run && p.collections == 1U));
        CHECK(now - monday <= (std::max)(o.stale_max[i], o.interval[i] * 11 / 10));
        // But what is large waits for its date where each byte costs.
        c.network.metered = true;
        c.collections[0].bytes_left = 50'000'000;
        CHECK_FALSE(make_plan(c, m, o, monday + minutes(24 * 60)).run);
        c.collections[0].bytes_left = 100'000;
        CHECK(make_plan(c, m, o, monday + minutes(24 * 60)).run);
        CHECK(make_plan(c, m, o, monday - minutes(24 * 60)).run);  // pulled under another clock
    }
}

TEST_CASE("another program's transfer is ridden, and only as long as the radio is on") {
    schedule_options const o;
    schedule_memory const m;
    conditions c = good_link();
    c.pending.add(sync_class::background, 10, monday - minutes(4));
    CHECK_FALSE(make_plan(c, m, o, monday).run);
    c.network.transferring = true;
    c.network.radio_on_for = milliseconds{9'000};
    sync_plan const p = make_plan(c, m, o, monday);
    CHECK((p.run && p[plan_choice::when].because == plan_reason::riding && p.lease == milliseconds{9'000}));
}

TEST_CASE("a push notification wakes for what it is about, and for what waits beside it") {
    schedule_options const o;
    schedule_memory const m;
    conditions c = good_link();
    c.application.notices_live = true;
    for (std::uint16_t i = 0; i < 2; ++i) {
        collection_state k{.id = i, .urgency = i == 0 ? sync_class::critical : sync_class::normal};
        k.fresh_at = monday - minutes(20);
        static_cast<void>(c.collections.push_back(k));
    }
    CHECK_FALSE(make_plan(c, m, o, monday).run);
    c.application.woken_for = sync_class::critical;
    sync_plan const p = make_plan(c, m, o, monday);
    CHECK((p.run && (p.collections & 1U) != 0));
}

TEST_CASE("a granted window is used for all that waits, by urgency, within its length") {
    schedule_options const o;
    schedule_memory const m;
    conditions c = good_link();
    c.application.foreground = false;
    c.application.window = milliseconds{0};
    c.pending.add(sync_class::normal, 10, monday);
    sync_plan p = make_plan(c, m, o, monday);
    CHECK_FALSE(p.run);
    CHECK((p[plan_choice::when].because == plan_reason::no_window && has(p.until, awaited::window)));
    c.application.window = milliseconds{30'000};
    for (std::uint16_t i = 0; i < 4; ++i) {
        collection_state k{.id = i, .urgency = static_cast<sync_class>(3 - i)};
        k.fresh_at = monday - minutes(5);
        static_cast<void>(c.collections.push_back(k));
    }
    p = make_plan(c, m, o, monday);
    CHECK((p.run && p.push && p.pulls == 4));
    CHECK((p.order[0] == 3 && p.order[1] == 2 && p.order[2] == 1 && p.order[3] == 0));
    CHECK(p.bytes_max == 27'000ULL * 500 / 8);
    CHECK(p[plan_choice::allowance].because == plan_reason::window_length);
    CHECK(p.in <= milliseconds{30'000});
}

TEST_CASE("a day's bytes are kept to on metered links; critical work may exceed them") {
    schedule_options o;
    o.day_bytes = 10'000;
    schedule_memory m;
    conditions c = good_link();
    c.network.metered = true;
    m.saw(c, o, monday + minutes(60));
    m.succeeded({.good = true, .bytes_up = 9'000, .metered = true}, o, monday + minutes(60));
    c.pending.add(sync_class::important, 10, monday);
    sync_plan p = make_plan(c, m, o, monday + minutes(60));
    CHECK((p.run && p[plan_choice::allowance].because == plan_reason::budget_left));
    m.succeeded({.good = true, .bytes_up = 2'000, .metered = true}, o, monday + minutes(60));
    p = make_plan(c, m, o, monday + minutes(60));
    CHECK_FALSE(p.run);
    CHECK(p[plan_choice::when].because == plan_reason::day_budget);
    CHECK(p[plan_choice::when].until_time >= monday + minutes(1440));
    CHECK(p[plan_choice::when].until_time <= monday + minutes(1440) + o.backoff.reconnect_spread);
    c.pending.add(sync_class::critical, 10, monday);
    CHECK(make_plan(c, m, o, monday + minutes(60)).run);
    c.network.metered = false;
    c.pending = {};
    c.pending.add(sync_class::important, 10, monday);
    CHECK(make_plan(c, m, o, monday + minutes(60)).run);
}

TEST_CASE("what is left of the classes' bytes is all that is allowed, where every class that is served has a budget") {
    schedule_options o;
    o.class_bytes[2] = 5'000;
    o.class_bytes[3] = 10'000;
    schedule_memory m;
    conditions c = good_link();
    c.network.metered = true;
    m.saw(c, o, monday);
    m.succeeded({.good = true, .bytes_up = 9'000, .metered = true, .class_bytes = {0, 0, 0, 9'000}}, o, monday);
    c.pending.add(sync_class::background, 5'000'000, monday - minutes(600));
    sync_plan p = make_plan(c, m, o, monday);
    REQUIRE(p.run);
    CHECK(p.bytes_max == 1'000);
    CHECK(p[plan_choice::allowance].because == plan_reason::budget_left);
    CHECK(has(p[plan_choice::allowance].until, awaited::unmetered));
    collection_state k{.id = 1, .urgency = sync_class::normal};
    REQUIRE(c.collections.push_back(k));
    CHECK(make_plan(c, m, o, monday).bytes_max == 6'000);
    o.day_bytes = 12'000;  // the least of all
    CHECK(make_plan(c, m, o, monday).bytes_max == 6'000);
    m.succeeded({.good = true, .bytes_up = 1'000, .metered = true}, o, monday);
    CHECK(make_plan(c, m, o, monday).bytes_max >= 2'000);
    c.pending.add(sync_class::important, 10, monday - minutes(600));  // whose bytes nobody counts
    o.day_bytes = {};
    CHECK(make_plan(c, m, o, monday).bytes_max == ~std::uint64_t{0});
    c.network.metered = false;
    CHECK(make_plan(c, m, o, monday)[plan_choice::allowance].because == plan_reason::unlimited);
    c.network.metered = true;
    c.pending = {};
    c.collections = {};
    c.pending.add(sync_class::background, 5'000'000, monday - minutes(600));
    o.class_bytes[3] = 9'000;  // used up, and told to hold nothing
    o.stops[static_cast<std::size_t>(schedule_gate::class_budget)] = sync_classes;
    p = make_plan(c, m, o, monday);
    CHECK((p.run && p.bytes_max != 0));
}

TEST_CASE("a class without bytes left doesn't leave with a less urgent one") {
    schedule_options o;
    o.class_bytes[1] = 1'000;
    schedule_memory m;
    conditions c = good_link();
    c.network.metered = true;
    m.saw(c, o, monday);
    m.succeeded({.good = true, .bytes_up = 1'000, .metered = true, .class_bytes = {0, 1'000, 0, 0}}, o, monday);
    c.pending.add(sync_class::normal, 10, monday - minutes(600));
    sync_plan p = make_plan(c, m, o, monday);
    CHECK((p.run && p.lowest == sync_class::normal));
    c.pending.add(sync_class::important, 10, monday - minutes(600));
    p = make_plan(c, m, o, monday);
    CHECK_FALSE(p.run);
    CHECK(p[plan_choice::when].because == plan_reason::class_budget);
    c.pending.add(sync_class::critical, 10, monday);
    p = make_plan(c, m, o, monday);
    CHECK((p.run && p.push && p.lowest == sync_class::critical));
}

TEST_CASE("what holds a class back is told with what would open it, and when time alone would") {
    schedule_options const o;
    schedule_memory m(9);
    conditions c = good_link();
    c.server.not_before = monday + minutes(7);
    c.pending.add(sync_class::normal, 10, monday - minutes(60));
    plan_explanation e = make_plan(c, m, o, monday)[plan_choice::lowest];
    CHECK(e.because == plan_reason::server_asked);
    CHECK(e.until == awaited::nothing);  // a server's wait holds on every link
    REQUIRE(e.until_time);
    CHECK(*e.until_time >= monday + minutes(7));
    c.network.metered = true;
    c.pending.add(sync_class::background, 10, monday);
    c.server.not_before = {};
    e = make_plan(c, m, o, monday)[plan_choice::lowest];
    CHECK((e.because == plan_reason::metered && e.until == awaited::unmetered && !e.until_time));
}

TEST_CASE("a moment that many devices wait for doesn't bring them all at once") {
    schedule_options o;
    o.day_bytes = 1'000;
    for (int what = 0; what < 3; ++what) {
        std::array<bool, 50> comes{};
        int kinds = 0;
        for (std::uint64_t device = 0; device < 50; ++device) {
            schedule_memory m(device * 7919);
            conditions c = good_link();
            wall_time const then = monday + minutes(24 * 60);
            wall_time const now = then - minutes(7);
            if (what == 0) { c.server.not_before = then; }
            if (what == 1) { c.application.quiet_until = then; }
            if (what == 2) { c.network.metered = true; }
            m.saw(c, o, now);
            m.succeeded({.good = true, .bytes_up = 2'000, .metered = what == 2}, o, now);
            c.pending.add(what == 1 ? sync_class::normal : sync_class::important, 10, now - minutes(40));
            sync_plan const p = make_plan(c, m, o, now);
            REQUIRE_FALSE(p.run);
            REQUIRE(p.at >= then);
            REQUIRE(p.at <= then + o.backoff.reconnect_spread);
            auto const place =
                static_cast<std::size_t>((p.at - then).count() * 49 / o.backoff.reconnect_spread.count());
            kinds += comes[place] ? 0 : 1;
            comes[place] = true;
            CHECK(make_plan(c, m, o, then).run);  // who is asked at that moment may go
        }
        CAPTURE(what);
        CHECK(kinds > 20);
    }
}

TEST_CASE("within a granted window, scopes that are equally overdue are first equally often") {
    schedule_options const o;
    schedule_memory m(3);
    conditions c = good_link();
    c.application.foreground = false;
    c.application.window = milliseconds{30'000};
    for (std::uint16_t i = 0; i < 3; ++i) {
        collection_state k{.id = i, .scope = i};
        k.fresh_at = monday - minutes(60);
        REQUIRE(c.collections.push_back(k));
    }
    std::array<int, 3> first{};
    for (int i = 0; i < 300; ++i) {
        ++first[make_plan(c, m, o, monday).order[0]];
        m.succeeded({.good = true}, o, monday);
    }
    for (int const n : first) { CHECK(n > 60); }
}

TEST_CASE("after a long sleep all is due at once, and a clock that jumps holds nothing back") {
    schedule_options const o;
    schedule_memory m(8);
    conditions c = good_link();
    for (std::uint16_t i = 0; i < 4; ++i) {
        collection_state k{.id = i, .urgency = static_cast<sync_class>(i)};
        k.fresh_at = monday;
        static_cast<void>(c.collections.push_back(k));
    }
    m.saw(c, o, monday);
    sync_plan p = make_plan(c, m, o, monday + minutes(60 * 24 * 30));
    CHECK((p.run && p.pulls == 4));
    p = make_plan(c, m, o, monday - minutes(60 * 24 * 365));  // the clock was set back by a year
    CHECK((p.run && p.pulls == 4 && p[plan_choice::when].because == plan_reason::clock_moved));
    c.server.not_before = monday + minutes(60 * 20);
    p = make_plan(c, m, o, monday - minutes(60));
    CHECK_FALSE(p.run);
    c.server.not_before = monday + minutes(60 * 24 * 365);  // a hint under another clock: it would hold for a year
    c.application.quiet_until = c.server.not_before;
    CHECK(make_plan(c, m, o, monday - minutes(60)).run);
}

TEST_CASE("thrift holds nothing of which nobody knows how long it has waited") {
    schedule_options const o;
    schedule_memory m(8);
    conditions c;
    c.network.online = true;
    c.network.kind = link_kind::cellular;
    c.network.data_saver = true;
    c.power.low_power_mode = true;
    wall_time const later_clock = monday + minutes(60 * 24 * 365);
    SECTION("an entry that was written under a clock that was set back since") {
        c.pending.add(sync_class::background, 10, later_clock);
    }
    SECTION("a collection that was pulled under such a clock") {
        collection_state k{.urgency = sync_class::background};
        k.fresh_at = later_clock;
        REQUIRE(c.collections.push_back(k));
    }
    SECTION("a collection that was never pulled") {
        REQUIRE(c.collections.push_back({.urgency = sync_class::background}));
    }
    m.saw(c, o, monday);
    CHECK(make_plan(c, m, o, monday).run);
    c.network.roaming = true;  // no thrift: a person's money
    CHECK_FALSE(make_plan(c, m, o, monday).run);
}

TEST_CASE("with the link just back, devices come one after the other, what is critical at once") {
    schedule_options const o;
    int at_once = 0;
    for (std::uint64_t device = 0; device < 200; ++device) {
        schedule_memory m(device * 104'729);
        conditions c = good_link();
        c.network.online = false;
        m.saw(c, o, monday - minutes(60));
        c.network.online = true;
        m.saw(c, o, monday);
        c.pending.add(sync_class::important, 10, monday - minutes(50));
        sync_plan const p = make_plan(c, m, o, monday);
        at_once += p.run ? 1 : 0;
        if (!p.run) {
            CHECK(p.in <= o.backoff.reconnect_spread);
            CHECK(p[plan_choice::when].because == plan_reason::reconnecting);
        }
        c.pending.add(sync_class::critical, 10, monday);
        CHECK(make_plan(c, m, o, monday).run);
    }
    CHECK(at_once < 10);
}

TEST_CASE("why is nothing syncing has an answer in words") {
    schedule_options const o;
    schedule_memory const m;
    conditions c = good_link();
    c.network.online = false;
    c.pending.add(sync_class::normal, 10, monday - minutes(90));
    std::string const text = to_text(make_plan(c, m, o, monday), monday);
    CHECK_THAT(text, Catch::Matchers::Contains("when: in 6:00:00, as there is no network"));
    CHECK_THAT(text, Catch::Matchers::Contains("otherwise with a network"));
}

TEST_CASE("what must arrive by a time passes what is thrift, and the plan asks again when it does") {
    schedule_options o;
    o.steady_link = 0;  // no hurry for fear of the link
    schedule_memory const memory(1);
    conditions c = good_link();
    c.application.quiet = true;  // holds the class, until thrift no longer counts
    c.pending.add(sync_class::normal, 100, monday, monday + minutes(20));
    sync_plan const before = make_plan(c, memory, o, monday);
    CHECK((!before.run && before[plan_choice::when].because == plan_reason::quiet_hours));
    CHECK(before.at == monday + minutes(20) - o.send_reserve);
    CHECK(before[plan_choice::when].until_time == before.at);
    sync_plan const then = make_plan(c, memory, o, before.at);
    CHECK((then.run && then.push && then[plan_choice::when].because == plan_reason::deadline));

    SECTION("so does a calendar's collection, when it has to be begun") {
        c.pending = {};
        c.collections.push_back({.id = 1,
                                 .urgency = sync_class::normal,
                                 .fresh_at = monday,
                                 .complete_by = monday + minutes(90),
                                 .bytes_left = std::uint64_t{1} << 20});
        sync_plan const waits = make_plan(c, memory, o, monday);
        REQUIRE(!waits.run);
        CHECK(make_plan(c, memory, o, waits.at).run);
        CHECK(waits.at < monday + minutes(30));
    }
}
