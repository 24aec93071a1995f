// SPDX-License-Identifier: BSL-1.0

/// Runs the two retry studies and prints what came of them as comma-separated values, for retry_charts.py.
///
///     retry contention [RUNS]     10 to 200 clients, the waits of five policies; RUNS (default 20) for each held-out seed
///     retry recovery [CLIENTS]    the outage and what follows: a seed for each backoff alone, all held-out seeds for our
///                                 defaults; then other worlds
///     retry tuning [CLIENTS]      the recovery with the seeds that may be looked at while tuning, for our defaults

#include "retry_world.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <syncline/retry/policy.hpp>

namespace {

using namespace retry_study;
using namespace syncline;

// Contention. Times are microseconds here, which the waits don't know: they count in whatever unit they are given. The
// original raises its counter before it first asks for a wait, so that its first ceiling is twice its base of 5 ms.

struct at_once {
    std::int64_t failed(random_generator&) { return 0; }
};
template <class Jitter>
struct waits {
    backoff<Jitter> b;
    std::int64_t failed(random_generator& g) { return b.next(g)->count(); }
};

template <class Policy>
void contend(char const* name, std::size_t clients, int runs, Policy const& fresh) {
    double time = 0;
    double calls = 0;
    int n = 0;
    for (std::uint64_t const seed : seeds_held_out) {
        splitmix64 seeds(seed);
        for (int i = 0; i < runs; ++i, ++n) {
            auto const r = contention(seeds(), clients, fresh);
            time += static_cast<double>(r.microseconds) / 1000;
            calls += static_cast<double>(r.calls);
        }
    }
    std::printf("contention,%s,%zu,%.0f,%.0f\n", name, clients, time / n, calls / n);
}

void contention_study(int runs) {
    std::puts("study,policy,clients,completion_ms,calls");
    backoff_options const doubled{.base = milliseconds{10'000}, .cap = milliseconds{2'000'000}};
    backoff_options const single{.base = milliseconds{5'000}, .cap = milliseconds{2'000'000}};
    for (std::size_t clients = 10; clients <= 200; clients += 10) {
        contend("no wait", clients, runs, at_once{});
        contend("exponential", clients, runs, waits<no_jitter>{backoff<no_jitter>(doubled)});
        contend("equal jitter", clients, runs, waits<equal_jitter>{backoff<equal_jitter>(doubled)});
        contend("full jitter", clients, runs, waits<full_jitter>{backoff<full_jitter>(doubled)});
        contend("decorrelated jitter", clients, runs, waits<decorrelated_jitter>{backoff<decorrelated_jitter>(single)});
        std::fflush(stdout);
    }
}

// Recovery.

template <class Jitter>
struct only_backoff {
    backoff<Jitter> b{};
    milliseconds failed(milliseconds, milliseconds hint, random_generator& g) {
        return hint.count() > 0 ? *b.next(g, hint) : *b.next(g);
    }
    void succeeded(milliseconds) { b.reset(); }
};

/// Our defaults. A refusal is what a transport makes of the status 503.
struct whole_policy {
    retry_policy<> p{};
    bool retried = false;

    milliseconds failed(milliseconds now, milliseconds hint, random_generator& g) {
        retried = true;
        failed_attempt a{.why = errc::peer_failed};
        if (hint.count() > 0) { a.retry_after = hint; }
        retry_decision const d = p.failed(a, monotonic_time{now}, g);
        if (d.action != retry_action::wait) { std::abort(); }
        milliseconds wait = d.wait;
        for (;;) {  // it asks once more before it begins
            retry_decision const next = p.begin(monotonic_time{now + wait});
            if (next.action == retry_action::go) { return wait; }
            if (next.action != retry_action::wait) { std::abort(); }
            wait += next.wait;
        }
    }
    void succeeded(milliseconds now) {
        p.succeeded(monotonic_time{now}, microseconds{100'000}, retried);
        retried = false;
    }
};

void row(char const* what, char const* world, std::uint64_t seed, recovery_result const& r) {
    std::printf("%s,%s,%llu,%.4f,%.4f,%.4f,%.1f,%.1f,%.3f,%.0f,%llu,%llu,%llu,%.0f\n", what, world,
                static_cast<unsigned long long>(seed), r.amplification(), r.amplification_outage(),
                r.amplification_all(), static_cast<double>(r.drained.count()) / 1000,
                static_cast<double>(r.drained_99.count()) / 1000, r.drain_ratio(), r.backlog_over_capacity_ms / 1000,
                static_cast<unsigned long long>(r.open_at_heal), static_cast<unsigned long long>(r.edits_at_heal),
                static_cast<unsigned long long>(r.peak_second), static_cast<double>(r.wait_longest.count()) / 1000);
    std::fflush(stdout);
}

template <class Policy>
void recover(char const* name, recovery_world const& w, Policy const& fresh, bool all_seeds) {
    for (std::uint64_t const seed : seeds_held_out) {
        if (!all_seeds && seed != seeds_held_out.front()) { return; }
        auto const r = recovery(seed, w, fresh);
        row(name, "main", seed, r);
        if (seed != seeds_held_out.front()) { continue; }
        double const offered = w.capacity() * w.load * 60'000;
        for (std::size_t i = 0; i < r.minutes.size(); ++i) {
            std::printf("minute,%s,%zu,%.4f,%.4f,%llu\n", name, i, static_cast<double>(r.minutes[i].attempts) / offered,
                        static_cast<double>(r.minutes[i].served) / offered,
                        static_cast<unsigned long long>(r.minutes[i].waiting));
        }
    }
}

void heading() {
    std::puts(
        "policy,world,seed,amplification,amplification_outage,amplification_all,drained_s,drained_99_s,drain_over_backlog,"
        "backlog_over_capacity_s,open_at_heal,edits_at_heal,peak_second,longest_wait_s");
}

void recovery_study(std::size_t clients) {
    heading();
    recovery_world w;
    w.clients = clients;
    recover("exponential", w, only_backoff<no_jitter>{}, false);
    recover("equal jitter", w, only_backoff<equal_jitter>{}, false);
    recover("full jitter", w, only_backoff<full_jitter>{}, false);
    recover("decorrelated jitter", w, only_backoff<decorrelated_jitter>{}, false);
    recover("retry_policy", w, whole_policy{}, true);
    // Other worlds, for which nothing was tuned.
    std::uint64_t const seed = seeds_held_out.front();
    for (int const seconds : {30, 120, 300}) {
        auto other = w;
        other.between_edits = std::chrono::seconds{seconds};
        row("retry_policy", ("an edit each " + std::to_string(seconds) + " s").c_str(), seed,
            recovery(seed, other, whole_policy{}));
    }
    auto hinted = w;
    hinted.hint = std::chrono::seconds{60};
    row("retry_policy", "hint of 60 s", seed, recovery(seed, hinted, whole_policy{}));
    auto dear = w;
    dear.refusal_cost = 0.2;
    row("full jitter", "a refusal costs a fifth", seed, recovery(seed, dear, only_backoff<full_jitter>{}));
    row("retry_policy", "a refusal costs a fifth", seed, recovery(seed, dear, whole_policy{}));
    for (int const percent : {40, 25, 0}) {
        auto other = w;
        other.outage_capacity = percent / 100.0;
        row("retry_policy", (std::to_string(percent) + " % capacity left").c_str(), seed,
            recovery(seed, other, whole_policy{}));
    }
}

void tuning(std::size_t clients) {
    heading();
    recovery_world w;
    w.clients = clients;
    for (std::uint64_t const seed : seeds_tuning) {
        row("retry_policy", "main", seed, recovery(seed, w, whole_policy{}));
    }
}

}  // namespace

int main(int argc, char** argv) {
    char const* const what = argc > 1 ? argv[1] : "";
    int const number = argc > 2 ? std::atoi(argv[2]) : 0;
    if (std::strcmp(what, "contention") == 0) {
        contention_study(number > 0 ? number : 20);
    } else if (std::strcmp(what, "recovery") == 0) {
        recovery_study(number > 0 ? static_cast<std::size_t>(number) : 100'000);
    } else if (std::strcmp(what, "tuning") == 0) {
        tuning(number > 0 ? static_cast<std::size_t>(number) : 100'000);
    } else {
        std::fputs("usage: retry contention [RUNS] | recovery [CLIENTS] | tuning [CLIENTS]\n", stderr);
        return 2;
    }
    return 0;
}
