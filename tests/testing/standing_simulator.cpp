// SPDX-License-Identifier: BSL-1.0

/// Devices and what is thought of them: many short lives; nothing of who is held back is decided, nothing is lost, nobody
/// is let in beyond a limit.

#include <syncline/testing/standing_simulator.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "testing/told_life.hpp"
#include "support/sanitized.hpp"

using namespace syncline;
using namespace syncline::testing;

TEST_CASE("devices are held back, revoked, wiped and turned away, and what they wrote counts once or is exported") {
    // SYNCLINE_STANDING_SEEDS for a long run.
    char const* const wanted = std::getenv("SYNCLINE_STANDING_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : rounds(std::uint64_t{60});
    standing_simulation_report sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_standings(seed);
        INFO("seed " << seed);
        REQUIRE(to_text(r.found) == "");
        sum.faults += r.faults;
        sum.power_cuts += r.power_cuts;
        sum.written += r.written;
        sum.shed += r.shed;
        sum.quarantined += r.quarantined;
        sum.revoked += r.revoked;
        sum.wiped += r.wiped;
        sum.exported += r.exported;
    }
    CAPTURE(sum.faults, sum.power_cuts, sum.written, sum.shed, sum.quarantined, sum.revoked, sum.wiped, sum.exported);
    CHECK((sum.faults > 2 * seeds && sum.power_cuts > 2 * seeds && sum.written > 10 * seeds && sum.shed > 5 * seeds));
    // Rarer: the few lives that there are under a sanitizer may have none.
    CHECK((seeds < 20 || (sum.quarantined > seeds && sum.revoked > seeds && sum.wiped > seeds / 2)));
    CHECK((seeds < 20 || sum.exported > seeds));
}

TEST_CASE("a life of devices and what is thought of them is the same each time, on every machine") {
    told_life::check_repeats<standing_simulation_options>(simulate_standings);
}
