// SPDX-License-Identifier: BSL-1.0

/// The queue's world: many short lives, the same each time, and disks that lie are found out.

#include <syncline/testing/conflict_simulator.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "testing/told_life.hpp"

using namespace syncline;
using namespace syncline::testing;

TEST_CASE("lives of a queue, each judged after every step") {
    // SYNCLINE_CONFLICT_SEEDS for a long run.
    char const* const wanted = std::getenv("SYNCLINE_CONFLICT_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 20;
    conflict_simulation_report sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_conflicts(seed);
        INFO("seed " << seed);
        REQUIRE(to_text(r.found) == "");
        sum.faults += r.faults;
        sum.power_cuts += r.power_cuts;
        sum.decided += r.decided;
        sum.undone += r.undone;
        sum.redone += r.redone;
        sum.renewed += r.renewed;
        sum.refused += r.refused;
        sum.forgotten += r.forgotten;
    }
    CHECK((sum.faults > 100 && sum.power_cuts > 50 && sum.decided > 200 && sum.undone > 10 && sum.redone > 1));
    CHECK((sum.renewed > 200 && sum.refused > 200 && sum.forgotten > 50));
}

TEST_CASE("a queue's life is the same each time, on every machine") {
    told_life::check_repeats<conflict_simulation_options>(simulate_conflicts);
}

TEST_CASE("a queue's life can be told, and lived again in part") {
    told_life::check_told<conflict_simulation_options>(simulate_conflicts, 5);
}

TEST_CASE("disks that lie are found out") {
    told_life::check_lies<conflict_simulation_options>(conflict_promise::atomicity, 20, 10, simulate_conflicts,
                                                       shrink_conflicts);
}
