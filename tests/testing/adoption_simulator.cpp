// SPDX-License-Identifier: BSL-1.0

/// Adoptions: many short lives; no row is lost, none is adopted twice, and what was foretold comes.

#include <syncline/testing/adoption_simulator.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "testing/told_life.hpp"
#include "support/sanitized.hpp"

using namespace syncline;
using namespace syncline::testing;

TEST_CASE("each row of a table is adopted as was foretold, whoever adopts beside it, changes, deletes or dies") {
    // SYNCLINE_ADOPTION_SEEDS for a long run.
    char const* const wanted = std::getenv("SYNCLINE_ADOPTION_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : rounds(std::uint64_t{60});
    adoption_simulation_report sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_adoptions(seed);
        INFO("seed " << seed);
        REQUIRE(to_text(r.found) == "");
        sum.faults += r.faults;
        sum.power_cuts += r.power_cuts;
        sum.dry_runs += r.dry_runs;
        sum.foretold += r.foretold;
        sum.stopped += r.stopped;
        sum.again += r.again;
        sum.decided += r.decided;
        sum.dead += r.dead;
        sum.rows.joined += r.rows.joined;
        sum.rows.merged += r.rows.merged;
        sum.rows.queued += r.rows.queued;
        sum.rows.created += r.rows.created;
        sum.rows.refused += r.rows.refused;
    }
    CAPTURE(sum.faults, sum.power_cuts, sum.dry_runs, sum.foretold, sum.stopped, sum.again, sum.decided, sum.dead);
    CHECK((sum.faults > 4 * seeds && sum.power_cuts > 4 * seeds && sum.dry_runs > 5 * seeds));
    CHECK((sum.foretold > 4 * seeds && sum.stopped > seeds / 2 && sum.again > seeds && sum.decided > 2 * seeds));
    CHECK((sum.rows.joined > seeds && sum.rows.merged > 3 * seeds && sum.rows.queued > 3 * seeds));
    CHECK((sum.rows.created > 5 * seeds && sum.rows.refused > seeds / 8 && sum.dead > seeds / 2));
}

TEST_CASE("lives of adoptions that once showed a mistake") {
    for (std::uint64_t const seed : {
             19U,    // two rows with one key and ids of their own became two records
             28U,    // a match with what was deleted before it was adopted stood, beside another
             39U,    // a reference stayed with a record that the authority had refused
             52U,    // a row whose forerunner's record was deleted was refused for ever
             216U,   // a conflict was raised where there was no room for what goes with it
             828U,   // a match that was never adopted was kept when its record had got another key
             969U,   // a record was created beside one whose reference was to follow
             1250U,  // a decision wrote an older value over its own writer's later one
             1735U,  // this side's edit of a former life could not be chosen
         }) {
        INFO("seed " << seed);
        CHECK(to_text(simulate_adoptions(seed).found) == "");
    }
}

TEST_CASE("a life of adoptions is the same each time, on every machine") {
    told_life::check_repeats<adoption_simulation_options>(simulate_adoptions);
}

TEST_CASE("a life of adoptions can be told, and lived again in part") {
    told_life::check_told<adoption_simulation_options>(simulate_adoptions);
}
