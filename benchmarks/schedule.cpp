// SPDX-License-Identifier: BSL-1.0

/// What a decision of the scheduler costs, and what a memory's parts do.

#include <cstdint>

#include <benchmark/benchmark.h>

#include <syncline/schedule.hpp>

namespace {

using namespace syncline;

constexpr wall_time monday{milliseconds{1'789'948'800'000}};

conditions usual(std::size_t collections) {
    conditions c;
    c.network.online = true;
    c.network.kind = link_kind::cellular;
    c.network.effective = effective_type::type_4g;
    c.network.downlink_kbps = 8'000;
    c.power.level = std::uint8_t{60};
    c.application.foreground = true;
    for (std::size_t i = 0; i < sync_classes; ++i) { c.pending.add(static_cast<sync_class>(i), 300, monday); }
    for (std::size_t i = 0; i < collections; ++i) {
        collection_state k{.id = static_cast<std::uint16_t>(i), .urgency = static_cast<sync_class>(i % 4)};
        k.fresh_at = monday - milliseconds{static_cast<std::int64_t>(i) * 100'000};
        static_cast<void>(c.collections.push_back(k));
    }
    return c;
}

void decide(benchmark::State& state) {
    schedule_options const o;
    schedule_memory m(1);
    conditions const c = usual(static_cast<std::size_t>(state.range(0)));
    wall_time now = monday;
    m.saw(c, o, now);
    for (auto _ : state) {
        now += milliseconds{1};
        benchmark::DoNotOptimize(make_plan(c, m, o, now));
    }
}
BENCHMARK(decide)->Name("schedule/decide/ours")->Arg(0)->Arg(4)->Arg(12)->Arg(32);

void saw(benchmark::State& state) {
    schedule_options const o;
    schedule_memory m(1);
    conditions const c = usual(4);
    wall_time now = monday;
    for (auto _ : state) {
        now += milliseconds{10'000};
        m.saw(c, o, now);
    }
    benchmark::DoNotOptimize(m);
}
BENCHMARK(saw)->Name("schedule/saw/ours");

void exchanged(benchmark::State& state) {
    schedule_options const o;
    schedule_memory m(1);
    transfer_report const r{
        .good = true, .took = milliseconds{300}, .round_trip = milliseconds{60}, .bytes_down = 40'000, .entries = 25};
    for (auto _ : state) { m.succeeded(r, o, monday); }
    benchmark::DoNotOptimize(m);
}
BENCHMARK(exchanged)->Name("schedule/succeeded/ours");

void stored(benchmark::State& state) {
    schedule_memory m(1);
    for (auto _ : state) {
        auto const raw = to_array(m);
        benchmark::DoNotOptimize(m.restore(raw));
    }
}
BENCHMARK(stored)->Name("schedule/to_array_restore/ours");

}  // namespace
