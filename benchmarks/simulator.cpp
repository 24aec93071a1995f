// SPDX-License-Identifier: BSL-1.0

/// How many worlds, and steps of them, the simulator judges a second. One thread.

#include <cstdint>

#include <benchmark/benchmark.h>

#include <syncline/testing/simulator.hpp>

namespace {

using namespace syncline::testing;

/// Whole worlds of devices and their authority, every fault and oracle on; 2,000 steps of trouble, then the calm.
void worlds(benchmark::State& state) {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    for (auto _ : state) {
        auto const r = simulate(++seed);
        if (!r.found.empty()) { state.SkipWithError("a seed failed"); }
        steps += r.steps;
        checks += r.checks;
    }
    state.counters["steps"] = benchmark::Counter(static_cast<double>(steps), benchmark::Counter::kIsRate);
    state.counters["checks"] = benchmark::Counter(static_cast<double>(checks), benchmark::Counter::kIsRate);
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(worlds)->Name("simulator/worlds")->Unit(benchmark::kMillisecond);

}  // namespace
