// SPDX-License-Identifier: BSL-1.0
#include "worlds.hpp"

#include <utility>

#include <syncline/testing/fact_simulator.hpp>
#include <syncline/testing/peer_simulator.hpp>
#include <syncline/testing/scope_simulator.hpp>
#include <syncline/testing/shared_conflict_simulator.hpp>

namespace {

using namespace syncline::testing;

template <class Report>
simulated_world_report brief(Report&& r) {
    return {r.steps, r.checks, r.trace, std::move(r.found)};
}

constexpr simulated_world worlds[] = {
    {"scopes", 400, [](std::uint64_t seed) { return brief(simulate_scopes(seed)); }},
    {"device to device", 400, [](std::uint64_t seed) { return brief(simulate_peers(seed)); }},
    {"facts", 300, [](std::uint64_t seed) { return brief(simulate_facts(seed)); }},
    {"shared conflicts", 300, [](std::uint64_t seed) { return brief(simulate_shared_conflicts(seed)); }},
};

}  // namespace

std::span<simulated_world const> simulated_worlds() { return worlds; }
