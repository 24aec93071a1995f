// SPDX-License-Identifier: BSL-1.0

/// Conversations: many short lives on bad disks; each message is handed over once, in order.

#include <syncline/testing/inbox_simulator.hpp>

#include <cstdint>
#include <cstdlib>

#include "support/catch.hpp"
#include "testing/told_life.hpp"

using namespace syncline;
using namespace syncline::testing;

TEST_CASE("each message of a conversation is handed over once and in order, whatever becomes of both ends") {
    // SYNCLINE_INBOX_SEEDS for a long run.
    char const* const wanted = std::getenv("SYNCLINE_INBOX_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 60;
    inbox_simulation_report sum;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto const r = simulate_inbox(seed);
        INFO("seed " << seed);
        REQUIRE(to_text(r.found) == "");
        sum.faults += r.faults;
        sum.power_cuts += r.power_cuts;
        sum.sent += r.sent;
        sum.handed += r.handed;
        sum.duplicates += r.duplicates;
        sum.overtaken += r.overtaken;
        sum.refused += r.refused;
        sum.forgotten += r.forgotten;
    }
    CAPTURE(sum.faults, sum.power_cuts, sum.sent, sum.handed, sum.duplicates, sum.overtaken, sum.refused);
    CAPTURE(sum.forgotten);
    CHECK((sum.faults > 200 && sum.power_cuts > 200 && sum.sent > 1'500 && sum.handed > 1'500));
    CHECK((sum.duplicates > 500 && sum.overtaken > 250 && sum.refused > 200 && sum.forgotten > 30));
}

TEST_CASE("a life of conversations is the same each time, on every machine") {
    told_life::check_repeats<inbox_simulation_options>(simulate_inbox);
}

TEST_CASE("disks of conversations that lie are found out") {
    for (disk_lie const lie : {disk_lie::forgets_synced, disk_lie::tears_commits}) {
        inbox_simulation_options o;
        o.lie = lie;
        auto const failed = told_life::first_failure(inbox_promise::atomicity,
                                                     [&](std::uint64_t seed) { return simulate_inbox(seed, o); });
        CHECK_FALSE(failed.found.empty());
    }
}

TEST_CASE("a host that acknowledges too early loses messages, and that is shrunk to few steps") {
    inbox_simulation_options careless;
    careless.hasty = true;
    auto const failed = told_life::first_failure(inbox_promise::kept,
                                                 [&](std::uint64_t seed) { return simulate_inbox(seed, careless); });
    REQUIRE_FALSE(failed.found.empty());
    inbox_simulation_options const few = shrink_inbox(failed, careless);
    CAPTURE(failed.seed, failed.steps, few.only->size());
    CHECK(few.only->size() <= 12);
    told_life::check_smallest(failed, few, simulate_inbox);
}
