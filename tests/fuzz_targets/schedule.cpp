// SPDX-License-Identifier: BSL-1.0

/// The stored states of schedule and metrics: whatever bytes come, an error, or something that works and is written the
/// same; and a life of a schedule as a list of operations, whose plans keep what they promise.

#include <cstdint>

#include <syncline/metrics.hpp>
#include <syncline/schedule.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;
using fuzz::choices;

constexpr decode_limits narrow{.bytes_max = 1 << 16, .string_max = 1 << 13, .items_max = 1 << 12, .work_max = 1 << 20};

void promises(conditions const& c, schedule_memory const& m, schedule_options const& o, wall_time now) {
    sync_plan const p = make_plan(c, m, o, now);
    SYNCLINE_FUZZ_REQUIRE(p.in.count() > 0);
    SYNCLINE_FUZZ_REQUIRE(p.run || p.in <= o.look_max);
    SYNCLINE_FUZZ_REQUIRE(!p.run || p.push || p.pull);
    SYNCLINE_FUZZ_REQUIRE(!p.run || c.network.online != false);
    SYNCLINE_FUZZ_REQUIRE(!p.run || p.bytes_max > 0);
    SYNCLINE_FUZZ_REQUIRE(p.batch > 0 && p.parallel > 0);
    SYNCLINE_FUZZ_REQUIRE(p == make_plan(c, m, o, now));
}

/// What is restored is written as a value that is restored as the same.
template <class T, class Options>
void again(bytes_view in, Options const& options) {
    T first(options), second(options);
    if (!first.restore(in, narrow)) { return; }
    bytes once, twice;
    cbor_writer a(once), b(twice);
    first.encode(a);
    SYNCLINE_FUZZ_REQUIRE(second.restore(once));
    second.encode(b);
    SYNCLINE_FUZZ_REQUIRE(once == twice);
}

void stored(bytes_view in) {
    schedule_memory m;
    if (m.restore(in)) {
        auto const again = to_array(m);
        SYNCLINE_FUZZ_REQUIRE(equal(again, in));
        promises({}, m, schedule_options{}, wall_time{});
    }
    cbor_reader reader(in, narrow);
    conditions const c = decode_conditions(reader);
    if (reader.finish()) {
        bytes out;
        cbor_writer w(out);
        encode(c, w);
        SYNCLINE_FUZZ_REQUIRE(equal(out, in));
        promises(c, schedule_memory(1), schedule_options{}, wall_time{});
    }
    static_cast<void>(traced_schedule::replay(
        in, schedule_options{}, [](conditions const&, wall_time, sync_plan const&) {}, narrow));
    if (auto const s = decode_metrics_snapshot(in, narrow)) {
        SYNCLINE_FUZZ_REQUIRE(to_text(*s, metrics_text::open_metrics));
    }
    again<metrics>(in, metrics_options{.days = 366});
    again<weekday_patterns>(in, pattern_options{.mask = 1});
}

/// A decision for each step, under conditions that the input chooses.
void lives(choices& in) {
    schedule_options o;
    o.day_bytes = 100'000;
    schedule_memory m(in.number());
    wall_time now{milliseconds{1'790'000'000'000}};
    random_generator g(in.number());
    while (!in.done()) {
        conditions c;
        if (!in.one_in(3)) { c.network.online = !in.one_in(4); }
        if (!in.one_in(3)) { c.network.kind = static_cast<link_kind>(in.below(5)); }
        if (!in.one_in(3)) { c.network.downlink_kbps = static_cast<std::uint32_t>(in.number()); }
        if (in.one_in(3)) { c.power.level = static_cast<std::uint8_t>(in.below(101)); }
        if (in.one_in(3)) { c.application.window = milliseconds{in.signed_number()}; }
        if (in.one_in(3)) { c.application.foreground = in.one_in(2); }
        if (in.one_in(4)) { c.server.not_before = wall_time{milliseconds{in.signed_number()}}; }
        auto const urgency = static_cast<sync_class>(in.below(4));
        std::uint64_t const size = in.below(5000);
        c.pending.add(urgency, size, now - milliseconds{static_cast<std::int64_t>(in.below(10'000'000))});
        collection_state k{.urgency = static_cast<sync_class>(in.below(4))};
        if (!in.one_in(3)) {
            k.fresh_at = in.one_in(9) ? wall_time{milliseconds{in.signed_number()}}
                                      : now - milliseconds{static_cast<std::int64_t>(in.below(10'000'000))};
        }
        if (in.one_in(4)) { k.complete_by = now + milliseconds{static_cast<std::int64_t>(in.below(100'000'000))}; }
        static_cast<void>(c.collections.push_back(k));
        m.saw(c, o, now);
        promises(c, m, o, now);
        transfer_report r{.good = !in.one_in(3),
                          .took = milliseconds{in.signed_number()},
                          .round_trip = milliseconds{in.signed_number()},
                          .bytes_down = in.number(),
                          .metered = true};
        if (r.good) {
            m.succeeded(r, o, now);
        } else {
            m.failed(r, o, now, g);
        }
        now = in.one_in(9) ? wall_time{milliseconds{in.signed_number()}}
                           : now + milliseconds{static_cast<std::int64_t>(in.below(1'000'000))};
        schedule_memory again;
        SYNCLINE_FUZZ_REQUIRE(again.restore(to_array(m)));
        SYNCLINE_FUZZ_REQUIRE(again == m);
        now = local_time(now, milliseconds{0});
    }
}

int body(std::uint8_t const* data, std::size_t size) {
    bytes_view const in(reinterpret_cast<std::byte const*>(data), size);
    if (size != 0 && data[0] % 2 == 1) {
        choices rest(in.subspan(1));
        lives(rest);
    } else {
        stored(in);
        if (size != 0) { stored(in.subspan(1)); }
    }
    return 0;
}

void seeds(fuzz::seed_sink sink) {
    traced_schedule s;
    conditions c;
    c.network.online = true;
    c.pending.add(sync_class::normal, 5, wall_time{});
    static_cast<void>(c.collections.push_back({}));
    static_cast<void>(s.decide(c, wall_time{}));
    s.succeeded({.good = true}, wall_time{});
    bytes const log = s.encoded();
    sink("trace", log);
    sink("memory", to_array(s.memory()));
    bytes raw;
    cbor_writer w(raw);
    encode(c, w);
    sink("conditions", raw);
    bytes snapshot;
    cbor_writer v(snapshot);
    encode(metrics_snapshot{}, v);
    sink("snapshot", snapshot);
    bytes kept;
    cbor_writer k(kept);
    metrics{}.encode(k);
    sink("metrics", kept);
    weekday_patterns p({.mask = 1});
    p.occurred(pattern_subject::field, "a", wall_time{}, true);
    bytes patterns;
    cbor_writer q(patterns);
    p.encode(q);
    sink("patterns", patterns);
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 60, .length = 200, .seeds = seeds)
