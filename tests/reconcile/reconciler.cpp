// SPDX-License-Identifier: BSL-1.0
#include <syncline/reconcile/reconciler.hpp>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <syncline/testing/nth_failure.hpp>

#include "reconcile/world.hpp"
#include "support/catch.hpp"
#include "support/sanitized.hpp"

using namespace reconcile_tests;

static_assert(valid(reconcile_options{}) && !valid(reconcile_options{.message_bytes_max = 100}));

namespace {

std::string any_key(random_generator& g, std::uint64_t spread, bool long_ones) {
    std::string k = "key" + std::to_string(below(g, spread));
    if (long_ones && below(g, 20) == 0) { k += std::string(30 + below(g, 360), 'x'); }
    return k.substr(0, reconcile_key_bytes_max);
}
/// `rows` in common, then `differences` random changes at either end.
void diverge(replica_world& a, replica_world& b, random_generator& g, std::size_t rows, std::size_t differences,
             bool long_ones = false) {
    std::vector<std::pair<std::string, std::optional<std::string>>> common;
    for (std::size_t i = 0; i < rows; ++i) {
        common.emplace_back(any_key(g, rows * 4 + 1, long_ones), std::to_string(g()));
    }
    REQUIRE(a.write(common));
    REQUIRE(b.write(common));
    for (std::size_t i = 0; i < differences; ++i) {
        auto& w = below(g, 2) == 0 ? a : b;
        if (!w.rows.empty() && below(g, 3) != 0) {
            auto at = w.rows.lower_bound(any_key(g, rows * 4 + 1, false));
            if (at == w.rows.end()) { at = w.rows.begin(); }
            std::string const k = at->first;
            REQUIRE(w.write({{k, below(g, 2) == 0 ? std::optional<std::string>{} : std::to_string(g())}}));
        } else {
            REQUIRE(w.write({{any_key(g, rows * 4 + 1, long_ones), std::to_string(g())}}));
        }
    }
}

}  // namespace

TEST_CASE("reconciler: it finds what differs, all of it and nothing else, whatever the sizes and limits",
          "[reconcile]") {
    std::size_t by_ranges = 0;
    std::size_t by_sketch = 0;
    for (std::uint64_t seed = 0; seed < rounds(60U); ++seed) {
        random_generator g(seed);
        summary_options const kept{
            .cells = 16 + below(g, 300), .pending_max = 1 + below(g, 100), .leaf_rows_max = 4 + below(g, 60)};
        reconcile_options pass;
        pass.message_bytes_max = below(g, 3) == 0 ? 2048 : 2048 + below(g, 60'000);
        pass.list_rows = 1 + below(g, 64);
        pass.rows_max = 1 + below(g, 50);
        if (below(g, 4) == 0) { pass.cells_max = 0; }
        replica_world a(kept, pass);
        replica_world b({.cells = 16 + below(g, 300), .leaf_rows_max = 4 + below(g, 30)}, pass);
        diverge(a, b, g, below(g, 900), below(g, below(g, 2) == 0 ? 12 : 150), below(g, 3) == 0);
        INFO(seed);
        pass_cost cost;
        REQUIRE(run_pass(a, b, cost));
        CHECK(a.progress().phase == reconcile_phase::complete);
        CHECK(judged(a, b));
        CHECK(cost.longest <= pass.message_bytes_max);
        CHECK(a.progress().bytes == cost.bytes);
        (a.progress().used_ranges ? by_ranges : by_sketch) += 1;
        // The other way round it finds the same.
        pass_cost back;
        REQUIRE(run_pass(b, a, back));
        CHECK(judged(b, a));
    }
    CHECK(by_ranges > rounds(5U));
    CHECK(by_sketch > rounds(5U));
}

TEST_CASE("reconciler: every pair of small sets, by sketch and by ranges", "[reconcile]") {
    // Three keys, each missing or in one of two versions, at both ends: 27 * 27 pairs.
    for (std::size_t const cells : {std::size_t{0}, std::size_t{16}}) {
        for (int pair = 0; pair < 729; pair += sanitized ? 7 : 1) {
            reconcile_options pass{.cells_max = cells, .list_rows = 1};
            replica_world a({.cells = 16, .leaf_rows_max = 4}, pass);
            replica_world b({.cells = 16, .leaf_rows_max = 4}, pass);
            int rest = pair;
            for (auto* w : {&a, &b}) {
                std::vector<std::pair<std::string, std::optional<std::string>>> rows;
                for (char const* k : {"a", "aa", "b"}) {
                    if (rest % 3 != 0) { rows.emplace_back(k, std::to_string(rest % 3)); }
                    rest /= 3;
                }
                REQUIRE(w->write(rows));
            }
            pass_cost cost;
            REQUIRE(run_pass(a, b, cost));
            REQUIRE(judged(a, b));
            if (a.rows == b.rows) {
                REQUIRE(cost.trips == 1);
                REQUIRE(cost.bytes <= 30);
            }
        }
    }
}

TEST_CASE("reconciler: killed at any call it goes on, and finds the same", "[reconcile]") {
    random_generator g(5);
    for (std::size_t const cells : {std::size_t{0}, std::size_t{64}}) {
        reconcile_options pass{.message_bytes_max = 2048, .cells_max = cells, .list_rows = 4};
        replica_world a({.cells = 64, .leaf_rows_max = 8}, pass);
        replica_world b({.cells = 64, .leaf_rows_max = 8}, pass);
        diverge(a, b, g, 200, 15);
        auto const start = a.memory.snapshot();
        auto const other = b.memory.snapshot();
        std::uint64_t n = 1;
        for (;; n += 1 + n / 8) {
            a.memory.restore(start);
            b.memory.restore(other);
            a.store.inject({n, errc::storage_io,
                            n % 2 == 0 ? testing::fault_moment::before : testing::fault_moment::after, false,
                            std::nullopt});
            auto const faults = a.store.faults();
            if (!a.begin()) { REQUIRE(a.begin()); }
            std::size_t trips = 0;
            bytes last;
            for (;;) {
                auto ask = a.ask();
                if (!ask) { continue; }
                if (!*ask) { break; }
                auto const answer = b.answer(**ask);
                REQUIRE(answer);
                if (!last.empty()) {
                    REQUIRE((a.absorb(last) || a.absorb(last)));
                }                         // an old one, late, changes nothing
                (void)a.absorb(*answer);  // it may fail: then the same is asked again
                last = *answer;
                REQUIRE(++trips < 500);
            }
            bool const spared = a.store.faults() == faults;
            a.store.heal();
            REQUIRE(judged(a, b));
            if (spared) { break; }
        }
        CHECK(n > 50);
    }
}

TEST_CASE("reconciler: rows that change under a pass are found by the next, and no call fails", "[reconcile]") {
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
        random_generator g(seed);
        reconcile_options pass{.message_bytes_max = 2048, .list_rows = 8};
        replica_world a({.cells = 128, .leaf_rows_max = 16}, pass);
        replica_world b({.cells = 128, .leaf_rows_max = 16}, pass);
        diverge(a, b, g, 300, 60);
        REQUIRE(a.begin());
        for (int trips = 0;; ++trips) {
            auto const ask = a.ask();
            REQUIRE(ask);
            if (!*ask) { break; }
            auto const answer = b.answer(**ask);
            REQUIRE(answer);
            auto& w = below(g, 2) == 0 ? a : b;
            REQUIRE(w.write({{any_key(g, 1200, false), std::to_string(g())}}));
            REQUIRE(a.absorb(*answer));
            REQUIRE(trips < 2000);
        }
        pass_cost cost;
        REQUIRE(run_pass(a, b, cost));
        CHECK(judged(a, b));
        CHECK(a.progress().restarts <= 4);
    }
}

TEST_CASE("reconciler: differences stay until they are settled, and a new pass forgets them", "[reconcile]") {
    replica_world a({.cells = 16}), b({.cells = 16});
    REQUIRE(a.write({{"a", "1"}, {"b", "1"}}));
    REQUIRE(b.write({{"b", "2"}, {"c", "1"}}));
    pass_cost cost;
    REQUIRE(run_pass(a, b, cost));
    CHECK(a.found().size() == 3);
    REQUIRE(a.in_transaction([&](auto& tx, auto&) { return a.asks.settle(tx, as_bytes("b")); }));
    CHECK(a.found().count("b") == 0);
    CHECK(a.found().size() == 2);
    CHECK(a.progress().found == 3);
    REQUIRE(a.begin());
    CHECK(a.found().empty());
}

TEST_CASE("reconciler: ends with different keys or limits say so and don't go on for ever", "[reconcile]") {
    replica_world a({.cells = 16}), b({.cells = 16});
    REQUIRE(a.write({{"a", "1"}}));
    row_summary const other("x", test_key(1), {.cells = 16});
    REQUIRE(a.begin());
    auto const ask = a.ask();
    bytes answer;
    REQUIRE(b.in_transaction([&](auto& tx, auto& in) -> status {
        auto r = answer_reconcile(tx, in, other, **ask);
        if (!r) { return r.error(); }
        answer = *r;
        return {};
    }));
    REQUIRE(a.absorb(answer));
    CHECK(a.progress().phase == reconcile_phase::incomplete);
    CHECK_FALSE(a.ask()->has_value());

    random_generator g(1);
    reconcile_options few{.cells_max = 0, .exchanges_max = 2};
    replica_world c({.cells = 16, .leaf_rows_max = 8}, few), d({.cells = 16, .leaf_rows_max = 8}, few);
    diverge(c, d, g, 500, 100);
    pass_cost cost;
    REQUIRE(run_pass(c, d, cost));
    CHECK(c.progress().phase == reconcile_phase::incomplete);
    CHECK(cost.trips == 2);
}

TEST_CASE("reconciler: a hostile answer is refused or believed for what it may claim, and never costs much",
          "[reconcile]") {
    for (std::uint64_t seed = 0; seed < rounds(40U); ++seed) {
        random_generator g(seed);
        reconcile_options pass{
            .message_bytes_max = 4096, .cells_max = seed % 2 == 0 ? 64U : 0U, .exchanges_max = 60, .queue_max = 200};
        replica_world a({.cells = 64, .leaf_rows_max = 8}, pass), b({.cells = 64, .leaf_rows_max = 8}, pass);
        diverge(a, b, g, 200, 40);
        REQUIRE(a.begin());
        std::size_t trips = 0;
        for (;;) {
            auto const ask = a.ask();
            REQUIRE(ask);
            if (!*ask) { break; }
            bytes odd = **ask;
            odd[below(g, odd.size())] = static_cast<std::byte>(g());
            if (auto const r = b.answer(odd)) {
                CHECK(r->size() <= pass.message_bytes_max);
            } else {
                CHECK(r.error() != errc::corrupt);
            }
            auto bad = b.answer(**ask);
            REQUIRE(bad);
            for (std::uint64_t k = below(g, 4); k > 0; --k) {
                (*bad)[below(g, bad->size())] = static_cast<std::byte>(g());
            }
            auto const calls = a.store.calls();
            auto const s = a.absorb(*bad);
            REQUIRE(a.store.calls() - calls < 40'000);
            if (!s) {
                CHECK(s.error() != errc::corrupt);
                REQUIRE(a.absorb(*b.answer(**ask)));  // refused, it changed nothing: the true one is taken
            }
            if (++trips > 100) { break; }
        }
        CHECK(trips <= 61);
        CHECK(a.verified());
    }
}

TEST_CASE("reconciler: mistakes planted in host, disk and peer are found by the same judge", "[reconcile]") {
    auto const finds = [](plant bad) {
        for (std::uint64_t seed = 0; seed < 10; ++seed) {
            random_generator g(seed);
            reconcile_options pass{.message_bytes_max = 2048, .cells_max = 0, .list_rows = 4};
            replica_world a({.cells = 16, .pending_max = 16, .leaf_rows_max = 8}, pass);
            replica_world b({.cells = 16, .pending_max = 16, .leaf_rows_max = 8}, pass);
            diverge(a, b, g, 200, 20);
            bool const give_up = bad == plant::keeps_rolled_back;
            if (give_up) { (void)a.write({{"new", "1"}}, true, bad); }
            if (bad == plant::disk_drops_log) {
                REQUIRE(a.write({{"logged", "1"}}));
                auto tx = a.memory.begin(access_mode::write);
                std::vector<bytes> log;
                REQUIRE(scan_prefix(*tx, as_bytes("xl"), [&](bytes_view k, bytes_view) {
                    log.push_back(to_bytes(k));
                    return true;
                }));
                for (auto const& k : log) { REQUIRE(tx->put(k, {})); }
                REQUIRE(tx->commit());
            } else {
                REQUIRE(a.write({{"key1", "2"}, {"key2", "2"}}, false, bad));
            }
            pass_cost cost;
            if (!run_pass(a, b, cost, bad) || !judged(a, b) || !a.verified()) { return true; }
        }
        return false;
    };
    CHECK_FALSE(finds(plant::none));
    for (plant const bad :
         {plant::forgets_a_change, plant::tells_a_wrong_version, plant::keeps_rolled_back, plant::peer_says_equal,
          plant::peer_drops_a_part, plant::disk_drops_ranges, plant::disk_drops_log}) {
        INFO(static_cast<int>(bad));
        CHECK(finds(bad));
    }
}

// Its own small world: writes that fail, are given up or crash, passes over a lossy way, repairs; the judge looks after
// every pass. SYNCLINE_RECONCILE_SEEDS=N lives N lives instead of a few.
TEST_CASE("reconciler: whole lives of two replicas, each from a seed", "[reconcile]") {
    char const* const wanted = std::getenv("SYNCLINE_RECONCILE_SEEDS");
    std::uint64_t const seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : rounds(15U);
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
        random_generator g(seed * 7 + 1);
        reconcile_options pass{.message_bytes_max = 2048 + below(g, 8000), .list_rows = 1 + below(g, 40)};
        summary_options const kept{
            .cells = 16 + below(g, 120), .pending_max = 1 + below(g, 50), .leaf_rows_max = 4 + below(g, 30)};
        replica_world a(kept, pass), b(kept, pass);
        INFO(seed);
        for (int day = 0; day < 6; ++day) {
            for (auto* w : {&a, &b}) {
                for (std::uint64_t writes = below(g, 20); writes > 0; --writes) {
                    std::vector<std::pair<std::string, std::optional<std::string>>> batch(below(g, 30));
                    for (auto& [k, v] : batch) {
                        k = any_key(g, 300, true);
                        if (below(g, 4) != 0) { v = std::to_string(below(g, 3)); }
                    }
                    if (below(g, 4) == 0) {
                        w->store.inject({1 + below(g, 60), below(g, 2) == 0 ? errc::storage_io : errc::transaction_lost,
                                         testing::fault_moment::before, below(g, 2) == 0, std::nullopt});
                    }
                    (void)w->write(batch, below(g, 6) == 0);
                    w->store.heal();
                }
                REQUIRE(w->verified());
            }
            REQUIRE(a.begin());
            for (int trips = 0;; ++trips) {
                REQUIRE(trips < 20'000);
                auto const ask = a.ask();
                REQUIRE(ask);
                if (!*ask) { break; }
                if (below(g, 8) == 0) { continue; }  // the ask is lost
                auto const answer = b.answer(**ask);
                REQUIRE(answer);
                if (below(g, 8) == 0) { continue; }  // the answer is
                if (below(g, 6) == 0) {
                    a.store.inject(
                        {1 + below(g, 80), errc::storage_io, testing::fault_moment::before, true, std::nullopt});
                }
                (void)a.absorb(*answer);
                a.store.heal();
                if (below(g, 8) == 0) { REQUIRE(a.absorb(*answer)); }  // twice
            }
            REQUIRE(a.progress().phase == reconcile_phase::complete);
            REQUIRE(judged(a, b));
            // Repair: the greater version wins, a row beats none.
            for (auto const& [k, versions] : naive_differences(a.rows, b.rows)) {
                auto const& best = (std::max)(versions.first, versions.second);
                REQUIRE(a.write({{k, best}}));
                REQUIRE(b.write({{k, best}}));
            }
            pass_cost cost;
            REQUIRE(run_pass(a, b, cost));
            REQUIRE(cost.bytes <= 35);
            REQUIRE(a.rows == b.rows);
        }
    }
}
