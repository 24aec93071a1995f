// SPDX-License-Identifier: BSL-1.0

/// Runs the study of suggestions and prints what came of it as comma-separated values, for conflict_charts.py.
///
///     conflict study     the held-out seeds: with a team's experience and without, other thresholds, other offices
///     conflict curve     how it gets better with the conflicts that a person has had
///     conflict tuning    the seeds that may be looked at while tuning

#include "conflict_study.hpp"

#include <cstdio>
#include <cstring>

namespace {

using namespace conflict_study;

template <std::size_t N>
tally play(std::array<std::uint64_t, N> const& seeds, play_options const& o) {
    tally sum;
    for (std::uint64_t const seed : seeds) { sum.add(play_office(seed, o)); }
    return sum;
}
void row(char const* name, tally const& t) {
    std::printf("%s,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f\n", name, tally::share(t.open, t.pairs),
                t.needs_nobody(), t.resolved_share(), t.right_share(), tally::share(t.optimum_right, t.resolved),
                t.calibration_error(), tally::share(t.best_right, t.fields), tally::share(t.local, t.fields),
                tally::share(t.remote, t.fields), tally::share(t.latest, t.fields), tally::share(t.optimum, t.fields));
    std::fflush(stdout);
}
constexpr char const* header =
    "setting,left_open,needs_nobody,resolved,right,optimum_right,calibration_error,best_guess,always_local,always_remote,"
    "latest,optimum";

template <std::size_t N>
void table(std::array<std::uint64_t, N> const& seeds, bool all) {
    std::puts(header);
    play_options o;
    row("with the team's experience", play(seeds, o));
    o.team = false;
    row("from nothing", play(seeds, o));
    if (!all) { return; }
    for (unsigned const percent : {75U, 80U, 90U, 95U}) {
        play_options p;
        p.threshold = syncline::share_one * percent / 100;
        char name[32];
        std::snprintf(name, sizeof name, "threshold %u %%", percent);
        row(name, play(seeds, p));
    }
    play_options p;
    p.office.noise = 3;
    row("three times the errors", play(seeds, p));
    p = {};
    p.office.drift_in = 2;
    row("half of the habits drift", play(seeds, p));
    p = {};
    p.office.rotate = 3;
    row("another office", play(seeds, p));
}
void curve() {
    std::puts("start,conflicts,resolved,right");
    for (bool const team : {true, false}) {
        play_options o;
        o.team = team;
        tally const t = play(seeds_held_out, o);
        for (std::size_t i = 0; i < t.curve_open.size() && t.curve_open[i] > 400; ++i) {
            std::printf("%s,%zu,%.4f,%.4f\n", team ? "team" : "nothing", (i + 1) * tally::curve_step,
                        tally::share(t.curve_resolved[i], t.curve_open[i]),
                        tally::share(t.curve_right[i], t.curve_resolved[i]));
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    char const* const what = argc > 1 ? argv[1] : "";
    if (std::strcmp(what, "study") == 0) {
        table(seeds_held_out, true);
    } else if (std::strcmp(what, "curve") == 0) {
        curve();
    } else if (std::strcmp(what, "tuning") == 0) {
        table(seeds_tuning, false);
    } else {
        std::fputs("usage: conflict study|curve|tuning\n", stderr);
        return 2;
    }
    return 0;
}
