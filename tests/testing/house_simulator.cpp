// SPDX-License-Identifier: BSL-1.0

/// Houses: many short lives; constraints hold after each decision, refusals are true, and operators see what there is.

#include <syncline/testing/house_simulator.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "testing/told_life.hpp"
#include "support/sanitized.hpp"

using namespace syncline;
using namespace syncline::testing;

TEST_CASE("constraints, checks and rights hold after each decision, and who runs a house sees all that waits") {
    // SYNCLINE_HOUSE_SEEDS for a long run.
    char const* const wanted = std::getenv("SYNCLINE_HOUSE_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : rounds(std::uint64_t{20});
    house_simulation_report sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_houses(seed);
        INFO("seed " << seed);
        REQUIRE(to_text(r.found) == "");
        sum.faults += r.faults;
        sum.power_cuts += r.power_cuts;
        sum.written += r.written;
        sum.decided += r.decided;
        sum.taken += r.taken;
        sum.missing += r.missing;
        sum.needed += r.needed;
        sum.forbidden += r.forbidden;
        sum.invalid += r.invalid;
        sum.cascaded += r.cascaded;
        sum.orphaned += r.orphaned;
        sum.retried += r.retried;
        sum.purged += r.purged;
        sum.resolved += r.resolved;
        sum.backups += r.backups;
        sum.restored += r.restored;
        sum.rebuilt += r.rebuilt;
    }
    CAPTURE(sum.faults, sum.power_cuts, sum.written, sum.decided, sum.taken, sum.missing, sum.needed, sum.forbidden,
            sum.invalid, sum.cascaded, sum.orphaned, sum.retried, sum.purged, sum.resolved, sum.backups, sum.restored,
            sum.rebuilt);
    CHECK((sum.faults > 4 * seeds && sum.power_cuts > 4 * seeds && sum.written > 20 * seeds && sum.backups > seeds));
    CHECK((sum.decided > 20 * seeds && sum.taken > seeds && sum.forbidden > seeds && sum.retried > seeds / 2));
    // Rarer: the two lives that there are under a sanitizer may have none.
    CHECK((seeds < 20 || (sum.missing > seeds / 2 && sum.needed > seeds / 4 && sum.cascaded > seeds / 8)));
    CHECK((seeds < 20 || (sum.orphaned > seeds / 8 && sum.invalid > 0 && sum.purged > seeds / 4)));
    CHECK((seeds < 100 || sum.resolved > seeds / 50));
    CHECK((seeds < 20 || (sum.restored > seeds / 4 && sum.rebuilt > seeds / 4)));
}

TEST_CASE("a life of a house is the same each time, on every machine") {
    told_life::check_repeats<house_simulation_options>(simulate_houses);
}

TEST_CASE("a life of a house can be told, and lived again in part") {
    told_life::check_told<house_simulation_options>(simulate_houses);
}
