// SPDX-License-Identifier: BSL-1.0
#include "worlds.hpp"

#include <limits>
#include <utility>

#include <syncline/testing/adoption_simulator.hpp>
#include <syncline/testing/audit_simulator.hpp>
#include <syncline/testing/conflict_simulator.hpp>
#include <syncline/testing/desk_simulator.hpp>
#include <syncline/testing/fact_simulator.hpp>
#include <syncline/testing/group_simulator.hpp>
#include <syncline/testing/house_simulator.hpp>
#include <syncline/testing/inbox_simulator.hpp>
#include <syncline/testing/live_simulator.hpp>
#include <syncline/testing/peer_simulator.hpp>
#include <syncline/testing/schedule_simulator.hpp>
#include <syncline/testing/scope_simulator.hpp>
#include <syncline/testing/shared_conflict_simulator.hpp>
#include <syncline/testing/standing_simulator.hpp>

namespace {

using namespace syncline::testing;

template <class Options, std::uint32_t Steps>
Options options_of(world_options const& w) {
    Options o;
    if constexpr (Steps != 0) { o.steps = Steps; }
    o.only = w.only;
    o.tell = w.tell;
    if constexpr (requires { o.lie; }) { o.lie = w.lie; }
    return o;
}

world_points points_of(audit_simulation_report const& r) {
    return {{"crash", r.crashes, true}, {"failed call", r.failures, true}};
}
world_points points_of(conflict_simulation_report const& r) {
    return {{"failed call", r.faults, true},
            {"power cut", r.power_cuts, true},
            {"decided", r.decided},
            {"undone", r.undone},
            {"redone", r.redone},
            {"renewed", r.renewed},
            {"refused", r.refused},
            {"forgotten", r.forgotten}};
}
world_points points_of(group_simulation_report const& r) {
    return {{"failed call", r.faults, true},
            {"power cut", r.power_cuts, true},
            {"written", r.written},
            {"refused", r.refused},
            {"kept back", r.kept_back}};
}
world_points points_of(schedule_simulation_report const& r) {
    return {{"crash", r.crashes, true},
            {"exchange", r.exchanges},
            {"failed exchange", r.failures, true},
            {"clock jump", r.jumps, true}};
}
world_points points_of(scope_simulation_report const& r) {
    return {{"failed call", r.faults, true},
            {"power cut", r.power_cuts, true},
            {"written", r.written},
            {"refused", r.refused},
            {"joined", r.joined},
            {"hidden", r.hidden},
            {"row walked over", r.walked}};
}
world_points points_of(peer_simulation_report const& r) {
    return {{"failed call", r.faults, true},
            {"power cut", r.power_cuts, true},
            {"written", r.written},
            {"written to two", r.grouped},
            {"handed", r.handed},
            {"carried home", r.carried},
            {"forged", r.forged},
            {"of a lost device", r.orphans},
            {"carried unseen", r.unseen},
            {"row of shared scopes", r.told},

            {"put back", r.put_back, true}};
}
world_points points_of(fact_simulation_report const& r) {
    return {{"failed call", r.faults, true},
            {"power cut", r.power_cuts, true},
            {"added", r.added},
            {"rival", r.rivals},
            {"refused", r.refused},
            {"tampered with", r.tampered},
            {"checkpoint", r.checkpoints},
            {"let go", r.let_go},
            {"let go early", r.let_go_early}};
}
world_points points_of(shared_conflict_simulation_report const& r) {
    return {{"failed call", r.faults, true},
            {"power cut", r.power_cuts, true},
            {"written", r.written},
            {"decided", r.decided},
            {"late", r.late},
            {"reopened", r.reopened},
            {"refused", r.refused},
            {"closed", r.closed},
            {"open at rest", r.open}};
}
world_points points_of(live_simulation_report const& r) {
    return {{"failed call", r.faults, true},
            {"power cut", r.power_cuts, true},
            {"written", r.written},
            {"shared commit", r.together},
            {"connection", r.connections},
            {"broken connection", r.broken},
            {"gap", r.gaps},
            {"news", r.news},
            {"note", r.notes},
            {"notice", r.notices},
            {"restart of the authority", r.restarts}};
}
world_points points_of(adoption_simulation_report const& r) {
    return {{"failed call", r.faults, true},
            {"power cut", r.power_cuts, true},
            {"dry run", r.dry_runs},
            {"foretold", r.foretold},
            {"no room", r.stopped},
            {"joined", r.rows.joined},
            {"merged", r.rows.merged},
            {"queued", r.rows.queued},
            {"created", r.rows.created},
            {"refused", r.rows.refused},
            {"again", r.again},
            {"decided", r.decided},
            {"renamed", r.renamed},
            {"another source", r.sources},
            {"dead letter", r.dead}};
}
world_points points_of(inbox_simulation_report const& r) {
    return {{"failed call", r.faults, true}, {"power cut", r.power_cuts, true}, {"sent", r.sent},
            {"handed over", r.handed},       {"duplicate", r.duplicates},       {"overtaken", r.overtaken},
            {"no room", r.refused},          {"forgotten", r.forgotten}};
}
world_points points_of(desk_simulation_report const& r) {
    return {{"failed call", r.faults, true},
            {"power cut", r.power_cuts, true},
            {"written", r.written},
            {"decided", r.decided},
            {"undone", r.undone},
            {"redone", r.redone},
            {"by hand", r.by_hand},
            {"outdated", r.outdated},
            {"no room", r.crowded},
            {"open at rest", r.open}};
}
world_points points_of(house_simulation_report const& r) {
    return {{"failed call", r.faults, true}, {"power cut", r.power_cuts, true},
            {"written", r.written},          {"taken", r.taken},
            {"missing", r.missing},          {"needed", r.needed},
            {"forbidden", r.forbidden},      {"invalid", r.invalid},
            {"cascaded", r.cascaded},        {"orphaned", r.orphaned},
            {"retried", r.retried},          {"purged", r.purged},
            {"resolved", r.resolved},        {"backup", r.backups},
            {"put back", r.restored},        {"index built", r.rebuilt}};
}
world_points points_of(standing_simulation_report const& r) {
    return {{"failed call", r.faults, true},
            {"power cut", r.power_cuts, true},
            {"written", r.written},
            {"turned away", r.shed},
            {"quarantined", r.quarantined},
            {"revoked", r.revoked},
            {"wiped", r.wiped},
            {"exported", r.exported}};
}
/// A world whose lives can be told: how it is lived, and how shrunk; `Steps` where they are not the options' own.
template <class Options, auto Simulate, auto Shrink, std::uint32_t Steps = 0>
constexpr simulated_world world(char const* name, std::uint64_t seeds) {
    return {name, seeds,
            [](std::uint64_t seed, world_options const& w) {
                auto r = Simulate(seed, options_of<Options, Steps>(w));
                return simulated_world_report{r.steps,      r.checks,           r.trace,
                                              points_of(r), std::move(r.found), std::move(r.story)};
            },
            [](std::uint64_t seed, world_options const& w) {
                auto o = options_of<Options, Steps>(w);
                auto const failed = Simulate(seed, o);
                if (failed.found.empty()) { return told_world{}; }
                o = Shrink(failed, o, 1'000);
                o.tell = true;
                return told_world{failed.steps, *o.only, Simulate(seed, o).story};
            }};
}

constexpr std::uint64_t every = (std::numeric_limits<std::uint64_t>::max)();

constexpr simulated_world worlds[] = {
    world<audit_simulation_options, simulate_audit, shrink_audit>("audit log", 100),
    world<conflict_simulation_options, simulate_conflicts, shrink_conflicts, 100>("conflicts", every),
    world<group_simulation_options, simulate_groups, shrink_groups, 120>("groups", every),
    world<schedule_simulation_options, simulate_schedule, shrink_schedule>("schedule", 200),
    world<scope_simulation_options, simulate_scopes, shrink_scopes>("scopes", 400),
    world<peer_simulation_options, simulate_peers, shrink_peers>("device to device", 1'000),
    world<fact_simulation_options, simulate_facts, shrink_facts>("facts", 4'000),
    world<shared_conflict_simulation_options, simulate_shared_conflicts, shrink_shared_conflicts>("shared conflicts",
                                                                                                  300),
    world<live_simulation_options, simulate_live, shrink_live>("live", 600),
    world<adoption_simulation_options, simulate_adoptions, shrink_adoptions>("adoptions", 3'000),
    world<inbox_simulation_options, simulate_inbox, shrink_inbox>("inbox", 400),
    world<desk_simulation_options, simulate_desks, shrink_desks>("desk", 400),
    world<house_simulation_options, simulate_houses, shrink_houses>("house", 400),
    world<standing_simulation_options, simulate_standings, shrink_standings>("standings", 600),
};

}  // namespace

std::span<simulated_world const> simulated_worlds() { return worlds; }
