// SPDX-License-Identifier: BSL-1.0
#include <syncline/reconcile/estimate.hpp>

#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

static_assert(probe_count(23) == 0 && probe_count(24) == 8 && probe_count(16'384) == 80 && probe_count(65'535) == 96);
static_assert(probe_at(0) == 16 && probe_at(7) == 23 && probe_at(8) == 32 && probe_at(79) == 8199);
static_assert(!estimated_cells(0, 80) && !estimated_cells(80, 80));

TEST_CASE("estimate: half of all estimates are enough to decode with, and few are three times too many",
          "[reconcile]") {
    row_hasher const hasher(reconcile_key{});
    random_generator g(1);
    std::size_t const kept = 4104;
    std::size_t const probes = probe_count(kept);
    for (std::size_t const d : {30U, 100U, 300U, 1000U}) {
        std::size_t enough = 0;
        std::size_t far_too_many = 0;
        std::size_t const rounds = 30;
        for (std::size_t round = 0; round < rounds; ++round) {
            std::vector<sketch_cell> cells(kept);
            for (std::size_t i = 0; i < d; ++i) {
                sketch_item const item{{g(), g(), 0, 0, 0}, g()};
                apply_to_sketch(cells, 0, hasher, item, i % 2 == 0 ? 1 : -1);
            }
            std::size_t equal = 0;
            for (std::size_t i = 0; i < probes; ++i) { equal += cells[probe_at(i)].empty() ? 1U : 0U; }
            std::size_t const cells_wanted = estimated_cells(equal, probes).value_or(0);
            enough += cells_wanted * 10 >= d * 14 ? 1U : 0U;
            far_too_many += cells_wanted > 3 * d ? 1U : 0U;
        }
        INFO(d << ' ' << enough << ' ' << far_too_many);
        CHECK(enough >= rounds / 3);
        CHECK(far_too_many <= rounds / 6);
    }
}
