// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Small worlds that simulate.cpp runs beside its own; compiled apart, as each is the whole library once more.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <syncline/testing/simulated_disk.hpp>
#include <syncline/testing/step_dice.hpp>
#include <syncline/testing/violation.hpp>

struct world_options {
    syncline::testing::step_choice only{};
    syncline::testing::disk_lie lie = syncline::testing::disk_lie::none;  ///< where the world's disks can lie
    bool tell = false;                                                    ///< write the story
};
/// What should happen now and then in some life of a world, and how often it did in one.
struct world_point {
    char const* name;
    std::uint64_t count = 0;
    bool is_fault = false;  ///< it was done to the world
};
using world_points = std::vector<world_point>;
struct simulated_world_report {
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t trace = 0;
    world_points points{};
    std::vector<syncline::testing::violation> found{};
    std::vector<std::string> story{};
};
/// A life that broke a promise, shrunk.
struct told_world {
    std::uint64_t steps = 0;  ///< of the whole life
    std::vector<std::uint32_t> kept{};
    std::vector<std::string> story{};
};
struct simulated_world {
    char const* name;
    std::uint64_t seeds;  ///< it is run for the first so many, and each thirty-second
    simulated_world_report (*run)(std::uint64_t seed, world_options const& o);
    /// What failed there, told; no steps where nothing did.
    told_world (*explain)(std::uint64_t seed, world_options const& o);
};
[[nodiscard]] std::span<simulated_world const> simulated_worlds();
