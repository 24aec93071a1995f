// SPDX-License-Identifier: BSL-1.0

/// Scopes and masks: many short lives in two worlds, which differ only in what is hidden.

#include <syncline/testing/scope_simulator.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "testing/told_life.hpp"

using namespace syncline;
using namespace syncline::testing;

TEST_CASE("who may not read something is told the same bytes, whatever it is") {
    // SYNCLINE_SCOPE_SEEDS for a long run.
    char const* const wanted = std::getenv("SYNCLINE_SCOPE_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 20;
    scope_simulation_report sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_scopes(seed);
        INFO("seed " << seed);
        REQUIRE(to_text(r.found) == "");
        sum.faults += r.faults;
        sum.power_cuts += r.power_cuts;
        sum.written += r.written;
        sum.refused += r.refused;
        sum.joined += r.joined;
        sum.hidden += r.hidden;
        sum.compared += r.compared;
    }
    CHECK((sum.faults > 10 && sum.power_cuts > 20 && sum.written > 100 && sum.refused > 30));
    CHECK((sum.joined > 100 && sum.hidden > 100 && sum.compared > 500'000));
}

TEST_CASE("lives with scopes that once showed a mistake") {
    for (std::uint64_t const seed : {
             3U,     // how far tombstones were collected hung on hidden changes
             97U,    // what was written outside of every scope stayed, where another reply had overtaken the verdict's
             1139U,  // … and what had left a scope before its joining began
             2761U,  // … or what was in one that was left before the page came again
         }) {
        CHECK(to_text(simulate_scopes(seed).found) == "");
    }
}

TEST_CASE("a life with scopes is the same each time, on every machine") {
    told_life::check_repeats<scope_simulation_options>(simulate_scopes);
}

TEST_CASE("a life with scopes that breaks a promise is shrunk to the few steps that it takes, and told") {
    scope_simulation_options careless;
    careless.stale_predicate = true;
    scope_simulation_report const failed = told_life::first_failure(
        scope_promise::whole, [&](std::uint64_t seed) { return simulate_scopes(seed, careless); });
    REQUIRE_FALSE(failed.found.empty());
    scope_simulation_options const few = shrink_scopes(failed, careless);
    CAPTURE(failed.seed, failed.steps, few.only->size());
    CHECK(few.only->size() <= 5);
    told_life::check_smallest(failed, few, simulate_scopes);
    told_life::check_story(SYNCLINE_TESTS_DIR "/testing/scope_simulator_story.txt", failed, few, simulate_scopes);
}
