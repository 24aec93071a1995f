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
    for (disk_lie const lie : {disk_lie::forgets_synced, disk_lie::tears_commits}) {
        audit_simulation_options o;
        o.lie = lie;
        auto const failed = told_life::first_failure(audit_promise::atomicity,
                                                     [&](std::uint64_t seed) { return simulate_audit(seed, o); });
        REQUIRE(!failed.found.empty());
        CHECK(failed.seed <= 40);
        auto const few = shrink_audit(failed, o);
        CHECK(few.only->size() <= 6);
        told_life::check_smallest(failed, few, simulate_audit);
    }
}
