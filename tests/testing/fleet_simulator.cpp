// SPDX-License-Identifier: BSL-1.0

/// The fleet's world: many short lives, the same each time, in which everything that it is for happens.

#include <syncline/testing/fleet_simulator.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "support/catch.hpp"
#include "testing/told_life.hpp"

using namespace syncline;
using namespace syncline::testing;

TEST_CASE("lives of a fleet, each judged after every step and at rest") {
    // SYNCLINE_FLEET_SEEDS for a long run.
    char const* const wanted = std::getenv("SYNCLINE_FLEET_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 60;
    fleet_report sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_fleet(seed);
        INFO("seed " << seed);
        REQUIRE(to_text(r.found) == "");
        sum.first_version += r.first_version;
        sum.newer += r.newer;
        sum.mandatory += r.mandatory;
        sum.upgrades += r.upgrades;
        sum.closed += r.closed;
        sum.forbidden += r.forbidden;
        sum.held_back += r.held_back;
        sum.rotted += r.rotted;
        sum.healed += r.healed;
        sum.put_back += r.put_back;
        sum.regressed += r.regressed;
        sum.crashes += r.crashes;
        sum.faults += r.faults;
        sum.first_authority += r.first_authority;
        sum.older_authority += r.older_authority;
        sum.unread += r.unread;
        sum.in_columns += r.in_columns;
        sum.replaced += r.replaced;
    }
    CHECK((sum.first_version > 20 && sum.newer > 100 && sum.mandatory > 10 && sum.upgrades > 5 && sum.closed > 2));
    CHECK((sum.forbidden > 100 && sum.held_back > 30 && sum.rotted > 5 && sum.healed > 4));
    CHECK((sum.first_authority > 100 && sum.older_authority > 20));
    CHECK((seeds < 300 || sum.unread > 0));
    CHECK((sum.in_columns > 100 && sum.replaced > 3));
    CHECK((sum.put_back > 30 && sum.regressed > 30 && sum.crashes > 100 && sum.faults > 50));
}

TEST_CASE("a fleet's life is the same each time, on every machine") {
    CHECK(simulate_fleet(3).trace == simulate_fleet(3).trace);
    CHECK(simulate_fleet(3).trace != simulate_fleet(4).trace);
}

TEST_CASE("a fleet's life can be told") {
    auto const r = simulate_fleet(3, {.steps = 60, .tell = true});
    CHECK(to_text(r.found) == "");
    CHECK(r.story.size() > 20);
}

TEST_CASE("a fleet's steps can be left out, and those that are kept have the same dice") {
    auto const whole = simulate_fleet(3);
    fleet_options some;
    some.only.emplace();
    for (std::uint32_t step = 1; step <= some.steps; ++step) { some.only->push_back(step); }
    CHECK(simulate_fleet(3, some).trace == whole.trace);
    some.only->erase(some.only->begin() + 20, some.only->end() - 20);
    CHECK(simulate_fleet(3, some).trace != whole.trace);
    CHECK(simulate_fleet(3, some).trace == simulate_fleet(3, some).trace);
}

TEST_CASE("a life of a fleet that breaks a promise is shrunk to the few steps that it takes") {
    fleet_options careless;
    careless.older_backups = true;
    fleet_report const failed = told_life::first_failure(
        fleet_promise::liveness, [&](std::uint64_t seed) { return simulate_fleet(seed, careless); });
    REQUIRE_FALSE(failed.found.empty());
    fleet_options const few = shrink_fleet(failed, careless);
    CAPTURE(failed.seed, failed.steps, few.only->size());
    CHECK(few.only->size() <= 10);
    told_life::check_smallest(failed, few, simulate_fleet);
    told_life::check_story(SYNCLINE_TESTS_DIR "/testing/fleet_simulator_story.txt", failed, few, simulate_fleet);
}
