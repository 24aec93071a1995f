// SPDX-License-Identifier: BSL-1.0

/// What a stamp costs beside the reading of the physical clock that it contains.

#include <atomic>
#include <chrono>
#include <cstdint>

#include <benchmark/benchmark.h>

#include <syncline/clock/atomic_hybrid_clock.hpp>
#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/clock/version_vector.hpp>

namespace {

using namespace syncline;

wall_time read_clock() noexcept { return std::chrono::time_point_cast<milliseconds>(std::chrono::system_clock::now()); }

void now_ours(benchmark::State& state) {
    hybrid_clock clock;
    for (auto _ : state) { benchmark::DoNotOptimize(clock.now(read_clock())); }
    state.SetLabel("features=monotonic,causal");
}
void now_physical(benchmark::State& state) {
    for (auto _ : state) { benchmark::DoNotOptimize(std::chrono::system_clock::now()); }
    state.SetLabel("features=none");
}
BENCHMARK(now_ours)->Name("clock/now/ours");
BENCHMARK(now_physical)->Name("clock/now/physical");

/// The stamp alone: the physical time is at hand.
void stamp_ours(benchmark::State& state) {
    hybrid_clock clock;
    auto physical = read_clock();
    for (auto _ : state) {
        benchmark::DoNotOptimize(physical);
        benchmark::DoNotOptimize(clock.now(physical));
    }
}
BENCHMARK(stamp_ours)->Name("clock/stamp/ours");

void accept_ours(benchmark::State& state) {
    hybrid_clock clock;
    auto const physical = read_clock();
    timestamp remote = timestamp::make(physical);
    for (auto _ : state) {
        ++remote.raw;
        benchmark::DoNotOptimize(clock.accept(remote, physical).has_value());
    }
}
BENCHMARK(accept_ours)->Name("clock/accept/ours");

atomic_hybrid_clock shared_clock;
std::atomic<std::uint64_t> shared_number{0};

void atomic_ours(benchmark::State& state) {
    for (auto _ : state) { benchmark::DoNotOptimize(shared_clock.now(read_clock())); }
    state.SetLabel("features=monotonic,causal,shared");
}
/// The least that a shared clock must do: read the time, and one compare-and-swap that may lose.
void atomic_swap(benchmark::State& state) {
    for (auto _ : state) {
        auto const time = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
        auto last = shared_number.load(std::memory_order_relaxed);
        benchmark::DoNotOptimize(shared_number.compare_exchange_strong(last, time, std::memory_order_relaxed));
    }
    state.SetLabel("features=shared");
}
void atomic_physical(benchmark::State& state) {
    for (auto _ : state) { benchmark::DoNotOptimize(std::chrono::system_clock::now()); }
    state.SetLabel("features=none");
}
BENCHMARK(atomic_ours)->Name("clock/atomic/ours")->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(atomic_swap)->Name("clock/atomic/compare_and_swap")->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(atomic_physical)->Name("clock/atomic/physical")->Threads(1)->UseRealTime();

/// A thousand replicas, each with a run and a few gaps.
version_vector many(std::uint64_t seed) {
    syncline::random_generator g(seed);
    version_vector v;
    for (std::uint32_t n = 0; n < 1000; ++n) {
        replica_id r;
        r.incarnation = n;
        v.add(r, {1, 1000});
        for (int i = 0; i < 4; ++i) { v.add(dot{r, 1002 + below(g, 100)}); }
    }
    return v;
}
void vector_missing(benchmark::State& state) {
    auto const a = many(1), b = many(2);
    for (auto _ : state) { benchmark::DoNotOptimize(a.missing(b)); }
}
void vector_merge(benchmark::State& state) {
    auto const a = many(1), b = many(2);
    for (auto _ : state) {
        auto c = a;
        benchmark::DoNotOptimize(c.merge(b));
    }
}
BENCHMARK(vector_missing)->Name("clock/version_vector/missing/ours")->Unit(benchmark::kMicrosecond);
BENCHMARK(vector_merge)->Name("clock/version_vector/merge/ours")->Unit(benchmark::kMicrosecond);

}  // namespace
