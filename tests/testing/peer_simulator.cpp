// SPDX-License-Identifier: BSL-1.0

/// Device to device: many short lives; whoever brings it home, each write counts once.

#include <syncline/testing/peer_simulator.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "testing/told_life.hpp"

using namespace syncline;
using namespace syncline::testing;

TEST_CASE("each write counts once, whoever brings it home, and a lost device's too") {
    // SYNCLINE_PEER_SEEDS for a long run.
    char const* const wanted = std::getenv("SYNCLINE_PEER_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 20;
    peer_simulation_report sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_peers(seed);
        INFO("seed " << seed);
        REQUIRE(to_text(r.found) == "");
        sum.faults += r.faults;
        sum.power_cuts += r.power_cuts;
        sum.written += r.written;
        sum.handed += r.handed;
        sum.carried += r.carried;
        sum.forged += r.forged;
        sum.orphans += r.orphans;
    }
    CHECK((sum.faults > 100 && sum.power_cuts > 70 && sum.written > 300 && sum.handed > 300));
    CHECK((sum.carried > 300 && sum.forged > 20 && sum.orphans > 10));
}

TEST_CASE("lives of peers that once showed a mistake") {
    for (std::uint64_t const seed : {
             5U,     // what was decided on a peer's creation was not seen until its row came
             178U,   // a write was refused, as what it builds on had been brought home too early, and had to come again
             296U,   // what built on a forgery was not asked about again, though a later one was known to be home
             1603U,  // the judge: of a lost device's, what came after one that nobody had is carried for ever
             1968U,  // the judge: what is asked about again, one with each exchange, took longer than it waited
             6679U,  // the judge: what was written on a record whose creation was lost with a device is a dead letter
         }) {
        CHECK(to_text(simulate_peers(seed).found) == "");
    }
}

TEST_CASE("a life of peers is the same each time, on every machine") {
    peer_simulation_options o;
    o.steps = 60;
    CHECK(simulate_peers(3, o).trace == simulate_peers(3, o).trace);
    CHECK(simulate_peers(3, o).trace != simulate_peers(4, o).trace);
}

TEST_CASE("a life of peers that breaks a promise is shrunk to the few steps that it takes") {
    peer_simulation_options careless;
    careless.open_gate = true;
    peer_simulation_report const failed = told_life::first_failure(
        peer_promise::sealed, [&](std::uint64_t seed) { return simulate_peers(seed, careless); });
    REQUIRE_FALSE(failed.found.empty());
    peer_simulation_options const few = shrink_peers(failed, careless);
    CAPTURE(failed.seed, failed.steps, few.only->size());
    CHECK(few.only->size() <= 16);
    told_life::check_smallest(failed, few, simulate_peers);
}
