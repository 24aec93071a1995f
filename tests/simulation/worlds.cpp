// SPDX-License-Identifier: BSL-1.0
#include "worlds.hpp"

#include <utility>

#include <syncline/testing/adoption_simulator.hpp>
#include <syncline/testing/fact_simulator.hpp>
#include <syncline/testing/live_simulator.hpp>
#include <syncline/testing/peer_simulator.hpp>
#include <syncline/testing/scope_simulator.hpp>
#include <syncline/testing/shared_conflict_simulator.hpp>

namespace {

using namespace syncline::testing;

/// A world whose lives can be told: how it is lived, and how shrunk.
template <class Options, auto Simulate, auto Shrink>
constexpr simulated_world world(char const* name, std::uint64_t seeds) {
    return {name, seeds,
            [](std::uint64_t seed, step_choice const& only) {
                Options o;
                o.only = only;
                auto r = Simulate(seed, o);
                return simulated_world_report{r.steps, r.checks, r.trace, std::move(r.found)};
            },
            [](std::uint64_t seed, step_choice const& only) {
                Options o;
                o.only = only;
                auto const failed = Simulate(seed, o);
                if (failed.found.empty()) { return told_world{}; }
                o = Shrink(failed, o, 1'000);
                o.tell = true;
                return told_world{failed.steps, *o.only, Simulate(seed, o).story};
            }};
}

constexpr simulated_world worlds[] = {
    world<scope_simulation_options, simulate_scopes, shrink_scopes>("scopes", 400),
    world<peer_simulation_options, simulate_peers, shrink_peers>("device to device", 1'000),
    world<fact_simulation_options, simulate_facts, shrink_facts>("facts", 300),
    world<shared_conflict_simulation_options, simulate_shared_conflicts, shrink_shared_conflicts>("shared conflicts",
                                                                                                  300),
    world<live_simulation_options, simulate_live, shrink_live>("live", 600),
    world<adoption_simulation_options, simulate_adoptions, shrink_adoptions>("adoptions", 450),
};

}  // namespace

std::span<simulated_world const> simulated_worlds() { return worlds; }
