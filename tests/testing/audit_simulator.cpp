// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/audit_simulator.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "testing/told_life.hpp"

namespace {

using namespace syncline;
using namespace syncline::testing;

}  // namespace

TEST_CASE("The audit log's world holds all promises, whatever goes wrong", "[audit_simulator]") {
    char const* const more = std::getenv("SYNCLINE_AUDIT_SEEDS");
    std::uint64_t const seeds = more != nullptr ? std::strtoull(more, nullptr, 10) : 40;
    std::uint64_t crashes = 0;
    std::uint64_t failures = 0;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_audit(seed);
        INFO("seed " << seed << ", " << to_text(r.found));
        REQUIRE(r.found.empty());
        crashes += r.crashes;
        failures += r.failures;
    }
    CHECK(crashes > 5 * seeds);
    CHECK(failures > 5 * seeds);
}

TEST_CASE("The audit log's life is the same each time, can be told, and lived again in part", "[audit_simulator]") {
    told_life::check_repeats<audit_simulation_options>(simulate_audit);
    told_life::check_told<audit_simulation_options>(simulate_audit);
}

TEST_CASE("The audit log's world finds a disk that lies", "[audit_simulator]") {
    told_life::check_lies<audit_simulation_options>(audit_promise::atomicity, 40, 6, simulate_audit, shrink_audit);
}
