// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Small worlds that simulate.cpp runs beside its own; compiled apart, as each is the whole library once more.

#include <cstdint>
#include <span>
#include <vector>

#include <syncline/testing/violation.hpp>

struct simulated_world_report {
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t trace = 0;
    std::vector<syncline::testing::violation> found{};
};
struct simulated_world {
    char const* name;
    std::uint64_t seeds;  ///< it is run for the first so many
    simulated_world_report (*run)(std::uint64_t seed);
};
[[nodiscard]] std::span<simulated_world const> simulated_worlds();
