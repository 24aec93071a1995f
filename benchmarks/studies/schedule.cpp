// SPDX-License-Identifier: BSL-1.0

/// Runs the scheduler's study and prints what came of it as comma-separated values, for schedule_charts.py.
///
///     schedule report          every policy on the held-out days
///     schedule tuning          the same on the days that may be looked at while tuning
/// The row `deadlines` has many more days; its parameter is how many of them missed a deadline that the optimum meets.
/// `ours-all` lets every class pass on weak links, where the defaults let only urgent ones pass.
///
///     schedule trace FILE      the policies on a day of the host's own (see schedule_world.hpp)

#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "schedule_policies.hpp"

namespace {

using namespace schedule_study;

constexpr std::array<double, 6> lambdas{0.03, 0.05, 0.07, 0.1, 0.2, 0.4};
constexpr std::array<double, 9> scales{0.25, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.8, 4};
constexpr std::uint64_t more_days = 100;
constexpr std::array<std::int64_t, 8> intervals{20, 30, 60, 120, 300, 600, 900, 3600};

void row(char const* who, char const* policy, double parameter, outcome const& o, double days) {
    std::printf("%s,%s,%g,%.2f,%.0f,%.0f,%.1f,%.1f,%lld,%lld,%lld", who, policy, parameter,
                static_cast<double>(o.energy) / 1e6 / days, static_cast<double>(o.bytes_up) / days,
                static_cast<double>(o.bytes_down) / days, static_cast<double>(o.exchanges) / days,
                static_cast<double>(o.wakeups) / days, static_cast<long long>(o.deadlines),
                static_cast<long long>(o.missed), static_cast<long long>(o.missed_needlessly));
    for (std::size_t c = 0; c < classes; ++c) {
        for (std::size_t const q : {50U, 95U, 99U}) {
            std::printf(",%lld", static_cast<long long>(quantile(o.avoidable[c], q)));
        }
    }
    for (std::size_t c = 0; c < classes; ++c) { std::printf(",%lld", static_cast<long long>(quantile(o.raw[c], 95))); }
    std::printf(",%.2f\n", o.weighted / days);
    std::fflush(stdout);
}
void head() {
    std::printf(
        "persona,policy,parameter,energy_j,bytes_up,bytes_down,exchanges,wakeups,deadlines,missed,missed_needlessly");
    for (char const* c : {"critical", "important", "normal", "background"}) {
        for (char const* q : {"50", "95", "99"}) { std::printf(",%s_%s", c, q); }
    }
    for (char const* c : {"critical", "important", "normal", "background"}) { std::printf(",raw_%s_95", c); }
    std::printf(",weighted_s\n");
}

/// Lives the learning days first, then each of the days with what it knew by then.
ours learned(persona const& p, double scale) {
    ours learner(scale);
    for (std::uint64_t i = 0; i < learning_days; ++i) {
        learner.begin_day(static_cast<std::int64_t>(i));
        static_cast<void>(live(make_day(p, 500'000 + i), learner));
    }
    return learner;
}
outcome ours_on(persona const& p, std::vector<day> const& days, double scale, bool weak_links_carry_all = false) {
    ours learner(scale);
    if (weak_links_carry_all) { learner.options.table[2].lowest = syncline::sync_class::background; }
    for (std::uint64_t i = 0; i < learning_days; ++i) {
        learner.begin_day(static_cast<std::int64_t>(i));
        static_cast<void>(live(make_day(p, 500'000 + i), learner));
    }
    outcome sum;
    for (day const& d : days) {
        ours policy = learner;
        policy.begin_day(static_cast<std::int64_t>(learning_days));
        sum.add(live(d, policy));
    }
    return sum;
}

template <class Seeds>
void study(Seeds const& seeds) {
    head();
    struct total {
        std::string policy;
        double parameter;
        outcome sum;
    };
    std::vector<total> totals;
    double const n = static_cast<double>(seeds.size());
    auto const tell = [&](char const* who, char const* policy, double parameter, outcome const& o) {
        row(who, policy, parameter, o, n);
        for (auto& t : totals) {
            if (t.policy == policy && t.parameter == parameter) { return t.sum.add(o); }
        }
        totals.push_back({policy, parameter, o});
    };
    for (persona const& p : personas()) {
        std::vector<day> days;
        for (std::uint64_t const seed : seeds) { days.push_back(make_day(p, seed)); }
        auto const all = [&](auto const& fresh) {
            outcome sum;
            for (day const& d : days) {
                auto policy = fresh(d);
                sum.add(live(d, policy));
            }
            return sum;
        };
        for (std::int64_t const s : intervals) {
            tell(p.name, "fixed", static_cast<double>(s), all([&](day const&) { return fixed_interval(s, s / 3); }));
        }
        tell(p.name, "every write", 0, all([](day const&) { return every_write(); }));
        tell(p.name, "platform", 0, all([](day const&) { return platform_style(); }));
        for (double const scale : scales) { tell(p.name, "ours", scale, ours_on(p, days, scale)); }
        for (double const scale : scales) { tell(p.name, "ours-all", scale, ours_on(p, days, scale, true)); }
        for (double const lambda : lambdas) {
            knows_generator const best(p, lambda);
            tell(p.name, "on-line", lambda, all([&](day const&) { return best; }));
            tell(p.name, "clairvoyant", lambda, all([&](day const& d) { return follows(clairvoyant(d, lambda)); }));
        }
    }
    // Deadlines are few a day: the defaults on many more days.
    outcome many;
    std::int64_t days_missed = 0;
    for (persona const& p : personas()) {
        ours const learner = learned(p, 1);
        for (std::uint64_t i = 0; i < more_days; ++i) {
            ours policy = learner;
            policy.begin_day(static_cast<std::int64_t>(learning_days));
            outcome const o = live(make_day(p, seeds.front() * 1000 + i), policy);
            days_missed += o.missed_needlessly != 0 ? 1 : 0;
            many.add(o);
        }
    }
    row("all", "deadlines", static_cast<double>(days_missed), many, static_cast<double>(4 * more_days));
    for (auto const& t : totals) { row("all", t.policy.c_str(), t.parameter, t.sum, n * 4); }
}

int trace(char const* file) {
    std::ifstream in(file);
    day const d = read_day(in, 1);
    if (d.links.empty()) {
        std::fprintf(stderr, "%s: not a day\n", file);
        return 1;
    }
    head();
    for (std::int64_t const s : intervals) {
        fixed_interval policy(s);
        row("trace", "fixed", static_cast<double>(s), live(d, policy), 1);
    }
    every_write each;
    row("trace", "every write", 0, live(d, each), 1);
    platform_style platform;
    row("trace", "platform", 0, live(d, platform), 1);
    for (double const scale : scales) {
        ours policy(scale);
        row("trace", "ours", scale, live(d, policy), 1);
    }
    for (double const lambda : lambdas) {
        follows best(clairvoyant(d, lambda));
        row("trace", "clairvoyant", lambda, live(d, best), 1);
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], "report") == 0) { return study(seeds_held_out), 0; }
    if (argc == 2 && std::strcmp(argv[1], "tuning") == 0) { return study(seeds_tuning), 0; }
    if (argc == 3 && std::strcmp(argv[1], "trace") == 0) { return trace(argv[2]); }
    std::fprintf(stderr, "usage: schedule report|tuning|trace FILE\n");
    return 2;
}
