// SPDX-License-Identifier: BSL-1.0

/// Live connections: many short lives; whatever breaks, nobody waits for what there is.

#include <syncline/testing/live_simulator.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "testing/told_life.hpp"

using namespace syncline;
using namespace syncline::testing;

TEST_CASE("whatever happens to connections, no wake-up is lost, and what is told is true") {
    // SYNCLINE_LIVE_SEEDS for a long run.
    char const* const wanted = std::getenv("SYNCLINE_LIVE_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 20;
    live_simulation_report sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_live(seed);
        INFO("seed " << seed);
        REQUIRE(to_text(r.found) == "");
        sum.faults += r.faults;
        sum.power_cuts += r.power_cuts;
        sum.written += r.written;
        sum.together += r.together;
        sum.connections += r.connections;
        sum.broken += r.broken;
        sum.gaps += r.gaps;
        sum.news += r.news;
        sum.notes += r.notes;
        sum.notices += r.notices;
        sum.restarts += r.restarts;
    }
    CAPTURE(sum.faults, sum.power_cuts, sum.written, sum.together, sum.connections, sum.broken);
    CAPTURE(sum.gaps, sum.news, sum.notes, sum.notices, sum.restarts);
    CHECK((sum.faults > 20 && sum.power_cuts > 40 && sum.written > 200 && sum.together > 400));
    CHECK((sum.connections > 200 && sum.broken > 150 && sum.gaps > 200 && sum.news > 400));
    CHECK((sum.notes > 5 && sum.notices > 600 && sum.restarts > 40));
}

TEST_CASE("a life of devices that listen is the same each time, on every machine") {
    told_life::check_repeats<live_simulation_options>(simulate_live);
}

TEST_CASE("a life of devices that listen that breaks a promise is shrunk to the few steps that it takes, and told") {
    live_simulation_options careless;
    careless.news_before_commit = true;
    live_simulation_report const failed =
        told_life::first_failure(live_promise::told, [&](std::uint64_t seed) { return simulate_live(seed, careless); });
    REQUIRE_FALSE(failed.found.empty());
    live_simulation_options const few = shrink_live(failed, careless);
    CAPTURE(failed.seed, failed.steps, few.only->size());
    CHECK(few.only->size() <= 12);
    told_life::check_smallest(failed, few, simulate_live);
    told_life::check_story(SYNCLINE_TESTS_DIR "/testing/live_simulator_story.txt", failed, few, simulate_live);
}
