// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <syncline/testing/oracles.hpp>
#include <syncline/testing/shrink.hpp>
#include <syncline/testing/simulator.hpp>

using namespace syncline;
using namespace syncline::testing;

namespace {

/// A user's own storage: the simulator takes any medium that opens one.
struct own_medium {
    using storage_type = memory_storage;
    memory_store data{};
    std::unique_ptr<memory_storage> open() { return std::make_unique<memory_storage>(data); }
    void power_cut(random_generator&) {}
};
struct own_setup {
    using medium = own_medium;
    std::unique_ptr<own_medium> make(durability, disk_lie) { return std::make_unique<own_medium>(); }
    /// And any transport around its links: this one carries every request inside of an envelope of its own.
    template <class Link>
    class transport {
    public:
        explicit transport(Link& link) : link_(link) {}
        void exchange(bytes_view request, completion done) { link_.exchange(request, done); }
        [[nodiscard]] transport_limits limits() const { return link_.limits(); }

    private:
        Link& link_;
    };
};

std::optional<simulation_report> first_failure(simulation_options const& options, std::uint64_t seeds) {
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        auto r = simulate(seed, options);
        if (!r.found.empty()) { return r; }
    }
    return std::nullopt;
}

}  // namespace

TEST_CASE("worlds come to rest, and nothing is found in them") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        auto const r = simulate(seed);
        INFO("seed " << seed << '\n' << to_text(r.found));
        CHECK(r.found.empty());
        CHECK(r.steps >= 2'000);
        CHECK(r.checks != 0);
    }
}

TEST_CASE("a seed is the same world each time, and another one another") {
    auto const a = simulate(5);
    auto const b = simulate(5);
    CHECK(a.trace == b.trace);
    CHECK(a.steps == b.steps);
    CHECK(a.trace != simulate(6).trace);
    simulation_options told;
    told.tell = true;
    auto const c = simulate(5, told);
    CHECK(c.trace == a.trace);  // telling changes nothing
    CHECK_FALSE(c.story.empty());
}

TEST_CASE("mistakes of hosts and lies of disks are found, each under its invariant") {
    simulation_options o;
    o.mistake = host_mistake::acknowledges_before_commit;
    auto found = first_failure(o, 20);
    REQUIRE(found);
    CHECK(found->found[0].axiom == invariant::durable_first);
    o.mistake = host_mistake::drops_events;
    found = first_failure(o, 20);
    REQUIRE(found);
    CHECK(found->found[0].axiom == invariant::true_events);
    o.mistake = host_mistake::replies_before_commit;
    CHECK(first_failure(o, 20));
    o.mistake = host_mistake::forgets_deadlines;
    found = first_failure(o, 20);
    REQUIRE(found);
    CHECK(found->found[0].axiom == invariant::liveness);
    o.mistake = host_mistake::none;
    for (disk_lie lie : {disk_lie::forgets_synced, disk_lie::tears_commits}) {
        o.lie = lie;
        found = first_failure(o, 20);
        REQUIRE(found);
        CHECK(found->found[0].axiom == invariant::crash_atomicity);
    }
}

TEST_CASE("a failing world shrinks to the few deeds that it takes") {
    simulation_options o;
    o.mistake = host_mistake::drops_events;
    auto const found = first_failure(o, 20);
    REQUIRE(found);
    std::vector<std::uint32_t> plan(found->planned);
    for (std::uint32_t i = 0; i < found->planned; ++i) { plan[i] = i; }
    auto const fails = [&](std::vector<std::uint32_t> const& kept) {
        o.only = kept;
        auto const r = simulate(found->seed, o);
        return !r.found.empty() && r.found[0].axiom == found->found[0].axiom;
    };
    auto const small = shrink(plan, fails, 300);
    CHECK(small.parts.size() < plan.size());
    CHECK(small.parts.size() <= 20);
    CHECK(fails(small.parts));
}

TEST_CASE("the search for a smaller failure ends when its budget does, with the best so far") {
    simulation_report failed;
    failed.planned = 200;
    failed.found.push_back({"liveness", "never ends"});
    std::size_t runs = 0;
    std::uint64_t steps = 0;
    // Any hundred of the deeds break it, so that every single one can be left out in turn; each run is long.
    auto const run = [&](simulation_options const& o) {
        simulation_report r;
        r.steps = 1'000;
        ++runs;
        steps += r.steps;
        if (!o.only || o.only->size() >= 100) { r.found = failed.found; }
        return r;
    };
    auto const by_steps = shrink_simulation(failed, {}, run, {.steps = 20'000});
    CHECK(runs == 20);
    CHECK(steps == 20'000);
    REQUIRE(by_steps.only);
    CHECK(by_steps.only->size() < 200);
    CHECK(by_steps.only->size() >= 100);
    runs = 0;
    auto const by_runs = shrink_simulation(failed, {}, run, {.runs = 7});
    CHECK(runs == 7);
    REQUIRE(by_runs.only);
    runs = 0;
    CHECK(shrink_simulation(failed, {}, run).only->size() == 100);
    CHECK(runs <= 1'000);
    auto const none = shrink_simulation(failed, {}, run, {.runs = 0});
    CHECK(none.only->size() == 200);
}

TEST_CASE("the worlds run over a user's own storage and transport") {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        simulation_options o;
        auto const r = simulate<own_setup>(seed, o);
        INFO(to_text(r.found));
        CHECK(r.found.empty());
    }
}
