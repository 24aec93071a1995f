// SPDX-License-Identifier: BSL-1.0

/// A trace replays to the same decisions, whatever fell out of it; conditions come back; hostile bytes are refused.

#include <syncline/schedule/trace.hpp>

#include <array>

#include <cstdint>
#include <string>

#include "schedule/generate.hpp"
#include "support/catch.hpp"

using namespace syncline;
using schedule_test::monday;

namespace {

/// A life of a host, its decisions counted.
int live(traced_schedule& s, std::uint64_t seed, int rounds) {
    random_generator g(seed);
    wall_time now = monday;
    int ran = 0;
    for (int i = 0; i < rounds; ++i) {
        now += milliseconds{static_cast<std::int64_t>(below(g, 600'000))};
        sync_plan const p = s.decide(schedule_test::any_conditions(g, now), now);
        if (!p.run) { continue; }
        ++ran;
        transfer_report r{.took = milliseconds{static_cast<std::int64_t>(below(g, 5000))},
                          .bytes_down = below(g, 50'000)};
        if (below(g, 4) == 0) {
            s.failed(r, now, g);
        } else {
            r.good = true;
            s.succeeded(r, now);
        }
        if (below(g, 5) == 0) { s.opened(static_cast<std::uint16_t>(below(g, 9)), now); }
    }
    return ran;
}

/// Conditions with the times that have a stored form.
conditions tame(conditions c) {
    auto const time = [](auto& t) {
        if (t) { *t = local_time(*t, milliseconds{0}); }
    };
    auto const span = [](auto& d) {
        if (d) { *d = (std::clamp)(*d, -retry_time_max, retry_time_max); }
    };
    span(c.network.round_trip);
    span(c.network.radio_on_for);
    span(c.application.window);
    span(c.server.interval);
    time(c.application.quiet_until);
    time(c.server.not_before);
    for (auto& p : c.pending.of) {
        time(p.oldest);
        time(p.deadline);
    }
    for (std::size_t i = 0; i < c.collections.size(); ++i) {
        time(c.collections[i].fresh_at);
        time(c.collections[i].told_at);
        time(c.collections[i].complete_by);
    }
    return c;
}

}  // namespace

TEST_CASE("conditions come back from their bytes") {
    random_generator g(1);
    for (int i = 0; i < 2000; ++i) {
        conditions const c = tame(schedule_test::any_conditions(g, monday));
        bytes raw;
        cbor_writer out(raw);
        encode(c, out);
        REQUIRE(validate_canonical(raw));
        cbor_reader in(raw);
        conditions const again = decode_conditions(in);
        REQUIRE(in.finish());
        REQUIRE(again == c);
    }
}

TEST_CASE("the bytes of conditions are these") {
    conditions c;
    c.network.online = true;
    c.network.kind = link_kind::wifi;
    c.power.level = std::uint8_t{80};
    c.pending.add(sync_class::important, 300, monday, {}, 2);
    collection_state k{.id = 7, .scope = 1, .urgency = sync_class::critical};
    k.fresh_at = monday;
    static_cast<void>(c.collections.push_back(k));
    bytes raw;
    cbor_writer out(raw);
    encode(c, out);
    CHECK(
        to_hex(raw) ==
        "982bf501f6f6f6f6f6f6f6f61850f6f6f6f6f6f6f6f6f6f6f6f6f6f6f60000f6f60219012c1b000001a0c1432c00f60000f6f60000f6f6"
        "81870701001b000001a0c1432c00f6f6f6");
}

TEST_CASE("a trace replays to the same decisions and the same memory") {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        traced_schedule s{schedule_memory(seed)};
        REQUIRE(live(s, seed, 400) > 20);
        auto const replayed = traced_schedule::replay(s.encoded(), s.options());
        REQUIRE(replayed);
        CHECK(replayed->events == s.events());
        CHECK(replayed->decisions >= 400);
        CHECK_FALSE(replayed->differs);
        CHECK(replayed->memory == s.memory());
    }
}

TEST_CASE("times at the ends of their range replay to the same decisions") {
    random_generator g(14);
    for (int i = 0; i < 300; ++i) {
        traced_schedule s{schedule_memory(g())};
        for (int k = 0; k < 5; ++k) {
            wall_time const now{milliseconds{static_cast<std::int64_t>(g())}};
            static_cast<void>(s.decide(schedule_test::any_conditions(g, now), now));
        }
        auto const replayed = traced_schedule::replay(s.encoded(), s.options());
        REQUIRE(replayed);
        REQUIRE_FALSE(replayed->differs);
    }
}

TEST_CASE("a trace that has forgotten its beginning replays all the same, and stays within its bounds") {
    traced_schedule s(schedule_memory(9), {}, {.events_max = 64, .bytes_max = 6'000});
    for (int i = 0; i < 20; ++i) {
        static_cast<void>(live(s, 100 + static_cast<std::uint64_t>(i), 30));
        REQUIRE(s.events() <= 64);
        bytes const raw = s.encoded();
        REQUIRE(raw.size() <= 6'000 + schedule_memory::state_size + 2'000);
        auto const replayed = traced_schedule::replay(raw, s.options());
        REQUIRE(replayed);
        REQUIRE_FALSE(replayed->differs);
        REQUIRE(replayed->memory == s.memory());
    }
}

TEST_CASE("a replay under other options shows the first decision that is another") {
    traced_schedule s{schedule_memory(10)};
    static_cast<void>(live(s, 10, 200));
    schedule_options other = s.options();
    other.patience[2] = milliseconds{1};
    int seen = 0;
    auto const count = [&](conditions const&, wall_time, sync_plan const&) { ++seen; };
    auto const replayed = traced_schedule::replay(s.encoded(), other, count);
    REQUIRE(replayed);
    CHECK(replayed->differs);
    CHECK(static_cast<std::size_t>(seen) == replayed->decisions);
}

TEST_CASE("a trace's events are read one by one, until the reader has enough") {
    traced_schedule s{schedule_memory(13)};
    static_cast<void>(live(s, 13, 100));
    s.opened(7, schedule_test::monday);
    bytes const log = s.encoded();
    std::array<std::size_t, 4> kinds{};
    trace_event last;
    auto const before = traced_schedule::read(log, [&](trace_event const& e) {
        ++kinds[static_cast<std::size_t>(e.kind)];
        last = e;
        return true;
    });
    REQUIRE(before);
    CHECK(*before == schedule_memory(13));
    CHECK(kinds[0] >= 100);
    CHECK(kinds[0] + kinds[1] + kinds[2] + kinds[3] == s.events());
    CHECK((last.kind == trace_kind::opened && last.collection == 7 && last.at == schedule_test::monday));
    std::size_t seen = 0;
    CHECK(traced_schedule::read(log, [&](trace_event const&) { return ++seen < 5; }));
    CHECK(seen == 5);
}

TEST_CASE("hostile traces are refused without harm") {
    traced_schedule s{schedule_memory(11)};
    static_cast<void>(live(s, 11, 60));
    bytes const good = s.encoded();
    random_generator g(12);
    int refused = 0;
    for (int i = 0; i < 3000; ++i) {
        bytes raw = good;
        if (below(g, 3) == 0) { raw.resize(below(g, raw.size())); }
        for (std::uint64_t n = below(g, 4); n != 0 && !raw.empty(); --n) {
            raw[below(g, raw.size())] = static_cast<std::byte>(g());
        }
        refused += traced_schedule::replay(raw, s.options()) ? 0 : 1;
    }
    CHECK(refused > 1500);
    bytes other = good;
    other[1] = std::byte{2};
    CHECK(traced_schedule::replay(other, s.options()).error() == errc::unsupported);
    CHECK(traced_schedule::replay({}, s.options()).error() == errc::malformed);
}
