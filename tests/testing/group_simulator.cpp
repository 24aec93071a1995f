// SPDX-License-Identifier: BSL-1.0

/// The bank: many short lives, the same each time; its books are right in every snapshot.

#include <syncline/testing/group_simulator.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "testing/told_life.hpp"

using namespace syncline;
using namespace syncline::testing;

TEST_CASE("the books of a bank, judged after every step at every branch") {
    // SYNCLINE_GROUP_SEEDS for a long run.
    char const* const wanted = std::getenv("SYNCLINE_GROUP_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 15;
    group_simulation_report sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_groups(seed);
        INFO("seed " << seed);
        REQUIRE(to_text(r.found) == "");
        sum.faults += r.faults;
        sum.power_cuts += r.power_cuts;
        sum.written += r.written;
        sum.refused += r.refused;
        sum.kept_back += r.kept_back;
    }
    CHECK((sum.faults > 50 && sum.power_cuts > 50 && sum.written > 200 && sum.refused > 10 && sum.kept_back > 100));
}

TEST_CASE("lives that once showed a mistake") {
    // A late answer to a first sync was taken for the end of what was kept back.
    CHECK(to_text(simulate_groups(1768).found) == "");
}

TEST_CASE("a bank's life is the same each time, on every machine") {
    told_life::check_repeats<group_simulation_options>(simulate_groups);
}

TEST_CASE("a bank's life can be told, and lived again in part") {
    told_life::check_told<group_simulation_options>(simulate_groups, 20);
}
