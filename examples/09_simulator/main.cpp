// SPDX-License-Identifier: BSL-1.0
//
// The simulator judges your storage: this one says that a commit survives a power cut, and forgets the last ones.
// Every run of a seed is the same world, so a failure can be shrunk to the few deeds that it takes, and told.

#include <cstdio>
#include <string>

#include <syncline/testing/simulator.hpp>

using namespace syncline;
using namespace syncline::testing;

/// What processes open their stores on. Yours opens your database, and cuts its power.
struct forgetful : simulated_setup {
    [[nodiscard]] std::unique_ptr<simulated_disk> make(durability promise, disk_lie) {
        return std::make_unique<simulated_disk>(promise, disk_lie::forgets_synced);
    }
};

int main() {
    simulation_options options;
    options.machines_max = 2;
    simulation_report failed;
    for (std::uint64_t seed = 1; failed.found.empty(); ++seed) { failed = simulate<forgetful>(seed, options); }
    std::printf("seed %llu: %s\n%u deeds and mishaps, %llu events\n", static_cast<unsigned long long>(failed.seed),
                failed.found[0].axiom.c_str(), failed.planned, static_cast<unsigned long long>(failed.steps));

    options = shrink_simulation(
        failed, options, [&](simulation_options const& tried) { return simulate<forgetful>(failed.seed, tried); });
    options.tell = true;
    simulation_report const told = simulate<forgetful>(failed.seed, options);
    std::printf("shrunk to %zu:\n", options.only->size());

    for (std::string const& line : told.story) {
        bool const idle =
            line.find("sends nothing") != std::string::npos || line.find("0 verdicts and 0 rows") != std::string::npos;
        if (!idle) { std::printf("  %s\n", line.c_str()); }
    }
}
