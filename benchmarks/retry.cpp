// SPDX-License-Identifier: BSL-1.0

/// What one decision of each retry value costs. Time stands in a register: no clock is read..

#include <cstdint>

#include <benchmark/benchmark.h>

#include <syncline/retry.hpp>

namespace {

using namespace syncline;

constexpr monotonic_time start{std::chrono::hours{1}};

/// Time that passes by `step` a call.
struct ticking {
    monotonic_time now = start;
    monotonic_time operator()(milliseconds step) noexcept { return now += step; }
};

void backoff_next(benchmark::State& state) {
    random_generator g(1);
    backoff<> b;
    for (auto _ : state) { benchmark::DoNotOptimize(b.next(g)); }
}
BENCHMARK(backoff_next)->Name("retry/backoff_next/ours");

/// What a decision costs at least: one number of the generator.
void backoff_generator(benchmark::State& state) {
    random_generator g(1);
    for (auto _ : state) { benchmark::DoNotOptimize(g()); }
}
BENCHMARK(backoff_generator)->Name("retry/backoff_next/generator");

void budget_retry(benchmark::State& state) {
    random_generator g(1);
    retry_budget b;
    for (auto _ : state) {
        b.failed();
        benchmark::DoNotOptimize(b.retry(g));
        b.succeeded(true);
    }
}
BENCHMARK(budget_retry)->Name("retry/budget_failed_retry_succeeded/ours");

void breaker_allow(benchmark::State& state) {
    circuit_breaker b;
    ticking clock;
    for (auto _ : state) {
        auto const now = clock(milliseconds{1});
        benchmark::DoNotOptimize(b.allow(now));
        b.succeeded(now);
    }
}
BENCHMARK(breaker_allow)->Name("retry/breaker_allow_succeeded/ours");

void breaker_failed(benchmark::State& state) {
    circuit_breaker b({.failures_per_mille = 1000});
    ticking clock;
    b.succeeded(start);
    for (auto _ : state) {
        auto const now = clock(milliseconds{1});
        b.succeeded(now);
        b.failed(now);
        benchmark::DoNotOptimize(b);
    }
}
BENCHMARK(breaker_failed)->Name("retry/breaker_succeeded_failed/ours");

void limiter_gcra(benchmark::State& state) {
    gcra l({.count = 1000, .per = milliseconds{1000}, .burst = 100});
    ticking clock;
    for (auto _ : state) { benchmark::DoNotOptimize(l.take(clock(milliseconds{1}))); }
}
BENCHMARK(limiter_gcra)->Name("retry/gcra_take/ours");

void limiter_bucket(benchmark::State& state) {
    token_bucket l({.count = 1000, .per = milliseconds{1000}, .burst = 100});
    ticking clock;
    for (auto _ : state) { benchmark::DoNotOptimize(l.take(clock(milliseconds{1}), 1)); }
}
BENCHMARK(limiter_bucket)->Name("retry/token_bucket_take/ours");

template <class Limit>
void concurrency(benchmark::State& state) {
    adaptive_concurrency<Limit> c;
    for (auto _ : state) {
        benchmark::DoNotOptimize(c.begin());
        c.end(microseconds{20'000}, false);
    }
}
BENCHMARK(concurrency<aimd_limit>)->Name("retry/aimd_begin_end/ours");
BENCHMARK(concurrency<gradient_limit>)->Name("retry/gradient_begin_end/ours");

void hedge_sampled(benchmark::State& state) {
    hedge_delay h;
    std::int64_t n = 0;
    for (auto _ : state) { h.sampled(milliseconds{n++ & 1023}); }
    benchmark::DoNotOptimize(h);
}
BENCHMARK(hedge_sampled)->Name("retry/hedge_sampled/ours");

void hedge_asked(benchmark::State& state) {
    hedge_delay h;
    for (int i = 0; i < 1000; ++i) { h.sampled(milliseconds{i}); }
    for (auto _ : state) {
        benchmark::DoNotOptimize(h);
        benchmark::DoNotOptimize(h.delay());
    }
}
BENCHMARK(hedge_asked)->Name("retry/hedge_delay/ours");

void deadline_left(benchmark::State& state) {
    deadline d = deadline::after(std::chrono::hours{1}, start);
    for (auto _ : state) {
        benchmark::DoNotOptimize(d);
        benchmark::DoNotOptimize(d.hand_on(milliseconds{20}, start).left(start));
    }
}
BENCHMARK(deadline_left)->Name("retry/deadline_hand_on/ours");

void classification(benchmark::State& state) {
    int status = 100;
    for (auto _ : state) {
        benchmark::DoNotOptimize(classify_http_status(status));
        status = status < 599 ? status + 1 : 100;
    }
}
BENCHMARK(classification)->Name("retry/classify_http_status/ours");

/// All parts together: an attempt begins and succeeds.
void policy_succeeded(benchmark::State& state) {
    retry_policy<> p;
    ticking clock;
    for (auto _ : state) {
        auto const now = clock(milliseconds{1});
        benchmark::DoNotOptimize(p.begin(now));
        p.succeeded(now, microseconds{20'000});
    }
}
BENCHMARK(policy_succeeded)->Name("retry/policy_begin_succeeded/ours");

/// All parts together: an attempt begins and fails.
void policy_failed(benchmark::State& state) {
    random_generator g(1);
    retry_policy<> p({.breaker = {.calls_min = 0xFFFFFFFF}});
    ticking clock;
    for (auto _ : state) {
        auto const now = clock(milliseconds{1});
        benchmark::DoNotOptimize(p.begin(now));
        benchmark::DoNotOptimize(p.failed({.why = errc::peer_failed}, now, g));
    }
}
BENCHMARK(policy_failed)->Name("retry/policy_begin_failed/ours");

void policy_stored(benchmark::State& state) {
    retry_policy<> p;
    instant const now{wall_time{std::chrono::hours{1}}, start};
    for (auto _ : state) {
        benchmark::DoNotOptimize(p);
        auto const raw = to_array(p, now);
        benchmark::DoNotOptimize(p.restore(raw, now));
    }
}
BENCHMARK(policy_stored)->Name("retry/policy_to_array_restore/ours");

}  // namespace
