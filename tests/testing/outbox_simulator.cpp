// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/outbox_simulator.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <syncline/storage/memory.hpp>
#include <syncline/testing/shrink.hpp>

#include "support/catch.hpp"

namespace {

using namespace syncline;
using namespace syncline::testing;

simulation_options brief() {
    simulation_options o;
    o.steps = 500;
    return o;
}

/// The first of some seeds in which a setup is found out; nothing: none of them.
template <class Setup>
outbox_simulation_report found_with(Setup const& setup, simulation_options const& o) {
    outbox_simulation_report r;
    for (std::uint64_t seed = 1; seed <= 60 && r.found.empty(); ++seed) { r = simulate_outbox(seed, o, setup); }
    return r;
}

/// A medium whose storages go wrong in one way, for the outbox's rows.
enum class slip { none, erase_forgotten, put_forgotten, scan_skips };

class slipping_medium {
public:
    class storage_type {
    public:
        using inner_type = simulated_disk::storage_type;
        class transaction {
        public:
            transaction(slip s, inner_type::transaction inner, std::uint64_t* calls)
                : slip_(s), inner_(std::move(inner)), calls_(calls) {}
            result<bool> get(bytes_view k, bytes& out) { return inner_.get(k, out); }
            status put(bytes_view k, bytes_view v) {
                return slips(slip::put_forgotten, k) ? status{} : inner_.put(k, v);
            }
            status erase(bytes_view k) { return slips(slip::erase_forgotten, k) ? status{} : inner_.erase(k); }
            status scan(key_range range, scan_visitor visit) {
                return inner_.scan(
                    range, [&](bytes_view k, bytes_view v) { return slips(slip::scan_skips, k) || visit(k, v); });
            }
            status commit() { return inner_.commit(); }

        private:
            bool slips(slip what, bytes_view k) {
                // A life erases little: a lone claim leaves no row behind.
                std::uint64_t const each = what == slip::erase_forgotten ? 50 : 400;
                return slip_ == what && as_text(k).substr(0, 1) == "o" && ++*calls_ % each == 0;
            }
            slip slip_;
            inner_type::transaction inner_;
            std::uint64_t* calls_;
        };
        storage_type(slip s, std::unique_ptr<inner_type> inner) : slip_(s), inner_(std::move(inner)) {}
        result<transaction> begin(access_mode a) {
            auto tx = inner_->begin(a);
            if (!tx) { return tx.error(); }
            return transaction{slip_, std::move(*tx), &calls_};
        }
        status barrier() { return inner_->barrier(); }
        durability commit_durability() const noexcept { return inner_->commit_durability(); }
        std::size_t value_bytes_max() const noexcept { return inner_->value_bytes_max(); }

    private:
        slip slip_;
        std::unique_ptr<inner_type> inner_;
        std::uint64_t calls_ = 0;
    };

    slipping_medium(slip s, durability promise, disk_lie lie) : slip_(s), disk_(promise, lie) {}
    std::unique_ptr<storage_type> open() { return std::make_unique<storage_type>(slip_, disk_.open()); }
    void power_cut(random_generator& g) { disk_.power_cut(g); }

private:
    slip slip_;
    simulated_disk disk_;
};

struct slipping_setup {
    using medium = slipping_medium;
    slip how = slip::none;
    std::unique_ptr<medium> make(durability promise, disk_lie lie) const {
        return std::make_unique<medium>(how, promise, lie);
    }
};

TEST_CASE("The outbox's world holds all promises, whatever goes wrong", "[outbox_simulator]") {
    outbox_simulation_report sum;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        auto const r = simulate_outbox(seed, brief());
        INFO("seed " << seed << ", " << to_text(r.found));
        REQUIRE(r.found.empty());
        CHECK(r.steps >= brief().steps);
        for (std::size_t i = 0; i < r.points.size(); ++i) { sum.points[i] += r.points[i]; }
        for (std::size_t i = 0; i < r.outbox_points.size(); ++i) { sum.outbox_points[i] += r.outbox_points[i]; }
        for (std::size_t i = 0; i < r.faults.size(); ++i) { sum.faults[i] += r.faults[i]; }
    }
    SECTION("and the generator reaches what it should") {
        for (std::size_t i = 0; i < sum.outbox_points.size(); ++i) {
            INFO(outbox_point_names[i]);
            CHECK(sum.outbox_points[i] != 0);
        }
        for (sim_fault const f : {sim_fault::power_cut, sim_fault::crash, sim_fault::storage_error_after,
                                  sim_fault::clock_jump, sim_fault::clock_stuck, sim_fault::host_rollback}) {
            INFO(sim_fault_names[static_cast<std::size_t>(f)]);
            CHECK(sum.faults[static_cast<std::size_t>(f)] != 0);
        }
        CHECK(sum.points[static_cast<std::size_t>(sim_point::quiet_after_trouble)] == 60);
        CHECK(sum.points[static_cast<std::size_t>(sim_point::commits_lost_to_power)] != 0);
        CHECK(sum.points[static_cast<std::size_t>(sim_point::effect_without_reply)] != 0);
    }
}

TEST_CASE("One seed of the outbox's world is one life, told or not", "[outbox_simulator]") {
    auto told = brief();
    told.tell = true;
    auto const first = simulate_outbox(7, brief());
    auto const again = simulate_outbox(7, told);
    CHECK(first.trace == again.trace);
    CHECK(first.steps == again.steps);
    CHECK(first.checks == again.checks);
    CHECK(first.story.empty());
    CHECK_FALSE(again.story.empty());
    CHECK(simulate_outbox(8, brief()).trace != first.trace);
}

TEST_CASE("A slip of the storage shows in the outbox's world, and a sound one does not", "[outbox_simulator]") {
    CHECK(found_with(slipping_setup{slip::none}, brief()).found.empty());
    for (slip const s : {slip::erase_forgotten, slip::put_forgotten, slip::scan_skips}) {
        auto const r = found_with(slipping_setup{s}, brief());
        INFO(static_cast<int>(s));
        CHECK_FALSE(r.found.empty());
    }
}

TEST_CASE("A disk that lies about power cuts is found by the outbox's world", "[outbox_simulator]") {
    for (disk_lie const lie : {disk_lie::forgets_synced, disk_lie::tears_commits}) {
        auto o = brief();
        o.lie = lie;
        auto const r = found_with(simulated_setup{}, o);
        CHECK_FALSE(r.found.empty());
        CHECK(breaks(r.found, outbox_promise::atomicity));
    }
}

TEST_CASE("A failing life of the outbox's world shrinks to the few steps that it takes", "[outbox_simulator]") {
    auto o = brief();
    slipping_setup const setup{slip::put_forgotten};
    auto const whole = found_with(setup, o);
    REQUIRE_FALSE(whole.found.empty());
    std::vector<std::uint32_t> plan(whole.planned);
    std::iota(plan.begin(), plan.end(), 0U);
    auto const small_one = shrink(
        plan,
        [&](std::vector<std::uint32_t> const& kept) {
            o.only = kept;
            return !simulate_outbox(whole.seed, o, setup).found.empty();
        },
        200);
    CHECK(small_one.parts.size() <= whole.planned);
    o.only = small_one.parts;
    CHECK_FALSE(simulate_outbox(whole.seed, o, setup).found.empty());
    // A life in which nothing is done, and nothing happens by itself, ends too.
    o.only.emplace();
    o.faults_off = ~std::uint64_t{0};
    CHECK(simulate_outbox(1, o).found.empty());
}

TEST_CASE("Faults that are turned off do not happen in the outbox's world", "[outbox_simulator]") {
    auto o = brief();
    o.faults_off = ~std::uint64_t{0};
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        auto const r = simulate_outbox(seed, o);
        INFO(to_text(r.found));
        CHECK(r.found.empty());
        for (std::uint64_t const n : r.faults) { CHECK(n == 0); }
    }
}

}  // namespace
