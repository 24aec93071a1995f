// SPDX-License-Identifier: BSL-1.0

/// Shared conflicts: many short lives; the first decision stands, and no value is lost on the way.

#include <syncline/testing/shared_conflict_simulator.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "testing/told_life.hpp"
#include "support/sanitized.hpp"

using namespace syncline;
using namespace syncline::testing;

TEST_CASE("each conflict is seen on all devices and decided once, by who may, and no value is lost") {
    // SYNCLINE_SHARED_CONFLICT_SEEDS for a long run.
    char const* const wanted = std::getenv("SYNCLINE_SHARED_CONFLICT_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : rounds(std::uint64_t{20});
    shared_conflict_simulation_report sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_shared_conflicts(seed);
        INFO("seed " << seed);
        REQUIRE(to_text(r.found) == "");
        sum.faults += r.faults;
        sum.power_cuts += r.power_cuts;
        sum.written += r.written;
        sum.decided += r.decided;
        sum.late += r.late;
        sum.reopened += r.reopened;
        sum.refused += r.refused;
        sum.unwritten += r.unwritten;
        sum.forged += r.forged;
        sum.closed += r.closed;
        sum.open += r.open;
    }
    CAPTURE(sum.faults, sum.power_cuts, sum.written, sum.decided, sum.late, sum.reopened, sum.refused, sum.unwritten,
            sum.forged, sum.closed, sum.open);
    CHECK((sum.faults > 4 * seeds && sum.power_cuts > seeds && sum.written > 10 * seeds && sum.decided > 2 * seeds));
    CHECK((sum.late > seeds / 4 && sum.reopened > seeds / 4 && sum.forged > seeds / 4 && sum.open > seeds));
    // Rarer: the two lives that there are under a sanitizer may have none.
    CHECK((seeds < 20 || (sum.closed > seeds / 4 && sum.unwritten > seeds / 40)));
}

TEST_CASE("a life of shared conflicts is the same each time, on every machine") {
    told_life::check_repeats<shared_conflict_simulation_options>(simulate_shared_conflicts);
}

TEST_CASE("a life of shared conflicts can be told, and lived again in part") {
    told_life::check_told<shared_conflict_simulation_options>(simulate_shared_conflicts);
}
