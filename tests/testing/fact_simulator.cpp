// SPDX-License-Identifier: BSL-1.0

/// Facts: many short lives; each counts once, as it was written, in its place.

#include <syncline/testing/fact_simulator.hpp>
#include <syncline/testing/small_world.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "testing/told_life.hpp"
#include "support/sanitized.hpp"

using namespace syncline;
using namespace syncline::testing;

TEST_CASE("each fact counts once and in its place, whoever adds, lets go, tampers or dies") {
    // SYNCLINE_FACT_SEEDS for a long run.
    char const* const wanted = std::getenv("SYNCLINE_FACT_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : rounds(std::uint64_t{60});
    fact_simulation_report sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_facts(seed);
        INFO("seed " << seed);
        REQUIRE(to_text(r.found) == "");
        sum.faults += r.faults;
        sum.power_cuts += r.power_cuts;
        sum.added += r.added;
        sum.rivals += r.rivals;
        sum.refused += r.refused;
        sum.tampered += r.tampered;
        sum.checkpoints += r.checkpoints;
        sum.let_go += r.let_go;
        sum.let_go_early += r.let_go_early;
    }
    CAPTURE(sum.faults, sum.power_cuts, sum.added, sum.rivals, sum.refused, sum.tampered, sum.checkpoints, sum.let_go);
    CHECK((sum.faults > 4 * seeds && sum.power_cuts > seeds && sum.added > 15 * seeds && sum.tampered > seeds));
    CHECK((sum.checkpoints > 2 * seeds && sum.let_go > 3 * seeds && sum.let_go_early > seeds / 4));
    CHECK((sum.rivals > seeds / 4 && sum.refused > seeds / 8));
}

TEST_CASE("lives of facts that once showed a mistake") {
    for (std::uint64_t const seed : {
             6U,    // a first sync jumped over what it had been told of an empty authority
             150U,  // what two devices wrote alike counted twice once a checkpoint had it
             190U,  // what waited over a confirmed fact stood in its place
             185U,  // a lesser checkpoint took the place of one by which facts were gone
             506U,  // the judge: a checkpoint can be told before the rows that it has
         }) {
        CHECK(to_text(simulate_facts(seed).found) == "");
    }
}

TEST_CASE("a life of facts is the same each time, on every machine") {
    told_life::check_repeats<fact_simulation_options>(simulate_facts);
}

TEST_CASE("a life of facts can be told, and lived again in part") {
    told_life::check_told<fact_simulation_options>(simulate_facts);
}
