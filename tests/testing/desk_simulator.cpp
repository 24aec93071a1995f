// SPDX-License-Identifier: BSL-1.0

/// Conflict desks: many short lives; what a person chose is what the record becomes, and each write counts once.

#include <syncline/testing/desk_simulator.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "testing/told_life.hpp"

using namespace syncline;
using namespace syncline::testing;

TEST_CASE("what a person decides at a desk is what the record becomes, and each write counts once") {
    // SYNCLINE_DESK_SEEDS for a long run.
    char const* const wanted = std::getenv("SYNCLINE_DESK_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 25;
    desk_simulation_report sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_desks(seed);
        INFO("seed " << seed);
        REQUIRE(to_text(r.found) == "");
        sum.faults += r.faults;
        sum.power_cuts += r.power_cuts;
        sum.written += r.written;
        sum.decided += r.decided;
        sum.undone += r.undone;
        sum.redone += r.redone;
        sum.by_hand += r.by_hand;
        sum.outdated += r.outdated;
        sum.crowded += r.crowded;
        sum.open += r.open;
    }
    CAPTURE(sum.faults, sum.power_cuts, sum.written, sum.decided, sum.undone, sum.redone, sum.by_hand);
    CAPTURE(sum.outdated, sum.crowded, sum.open);
    CHECK((sum.faults > 100 && sum.power_cuts > 100 && sum.written > 500 && sum.open > 10));
    CHECK((sum.decided > 100 && sum.undone > 20 && sum.redone > 5 && sum.by_hand > 20));
    CHECK((sum.outdated > 10 && sum.crowded > 10));
}

TEST_CASE("a life of desks is the same each time, on every machine") {
    told_life::check_repeats<desk_simulation_options>(simulate_desks);
}

TEST_CASE("a host that shows what it chose and writes something else is found out, in a few steps") {
    desk_simulation_options careless;
    careless.blind = true;
    auto const failed = told_life::first_failure(desk_promise::choices,
                                                 [&](std::uint64_t seed) { return simulate_desks(seed, careless); });
    REQUIRE_FALSE(failed.found.empty());
    desk_simulation_options const few = shrink_desks(failed, careless, 300);
    CAPTURE(failed.seed, failed.steps, few.only->size());
    CHECK(few.only->size() <= 20);
    told_life::check_smallest(failed, few, simulate_desks);
}
