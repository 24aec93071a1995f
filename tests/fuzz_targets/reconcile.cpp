// SPDX-License-Identifier: BSL-1.0

/// Messages of a reconciliation and cells of a sketch as they come off a wire, and lists of writes, folds, passes,
/// hostile answers and damage against two maps.

#include <cstdint>
#include <string>
#include <vector>

#include <syncline/reconcile/reconciler.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/damage.hpp"
#include "fuzz_targets/message.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"
#include "reconcile/world.hpp"

namespace {

using namespace reconcile_tests;
using fuzz::check_message;
using fuzz::choices;

void check_cells(choices& in) {
    std::size_t const first = static_cast<std::size_t>(in.below(300));
    std::uint64_t const rows = in.number();
    bytes_view const wire = in.rest();
    std::vector<sketch_cell> cells;
    if (!decode_cells(wire, first, rows, 64, cells)) {
        SYNCLINE_FUZZ_REQUIRE(cells.empty());
        return;
    }
    bytes again;
    encode_cells(cells, first, rows, again);
    std::vector<sketch_cell> back;
    SYNCLINE_FUZZ_REQUIRE(decode_cells(again, first, rows, 64, back) && back == cells);
    sketch_difference d;
    (void)decode_sketch(cells, row_hasher(test_key()), d);
    SYNCLINE_FUZZ_REQUIRE(d.added.size() + d.removed.size() <= cells.size());
}

void live(choices& in) {
    reconcile_options pass{.message_bytes_max = 2048,
                           .list_rows = 1 + static_cast<std::size_t>(in.below(8)),
                           .rows_max = 1 + static_cast<std::size_t>(in.below(8)),
                           .exchanges_max = 300};
    if (in.below(2) == 0) { pass.cells_max = 0; }
    summary_options const kept{.cells = 16, .pending_max = 1 + in.below(6), .leaf_rows_max = 4};
    replica_world a(kept, pass), b(kept, pass);
    bool damaged = false;
    for (int step = 0; step < 60 && !in.done(); ++step) {
        auto& w = in.below(2) == 0 ? a : b;
        switch (in.below(8)) {
            default: {
                std::string k = "k" + std::to_string(in.below(40));
                if (in.below(6) == 0) { k += std::string(45, 'l'); }
                std::optional<std::string> v;
                if (in.below(3) != 0) { v = std::to_string(in.below(3)); }
                bool const give_up = in.one_in(5);
                SYNCLINE_FUZZ_REQUIRE(w.write({{k, v}}, give_up) == !give_up || damaged);
                break;
            }
            case 5: SYNCLINE_FUZZ_REQUIRE(w.verified() || damaged); break;
            case 6: {
                auto const ask = a.ask();
                SYNCLINE_FUZZ_REQUIRE(ask || damaged);
                if (!ask || !*ask) {
                    SYNCLINE_FUZZ_REQUIRE(a.begin() || damaged);
                    break;
                }
                auto answer = b.answer(**ask);
                SYNCLINE_FUZZ_REQUIRE(answer || damaged);
                if (!answer) { break; }
                if (in.below(2) == 0) {
                    (*answer)[static_cast<std::size_t>(in.below(answer->size()))] ^= static_cast<std::byte>(in.byte());
                }
                auto const s = a.absorb(*answer);
                SYNCLINE_FUZZ_REQUIRE(s || s.error() != errc::corrupt || damaged);
                break;
            }
            case 7:
                if (in.one_in(8)) {
                    fuzz::damage(in, w.memory, "x");
                    damaged = true;
                }
                break;
        }
    }
    if (damaged) { return; }
    pass_cost cost;
    SYNCLINE_FUZZ_REQUIRE(run_pass(a, b, cost) && judged(a, b) && cost.longest <= 2048);
}

int body(std::uint8_t const* data, std::size_t size) {
    choices in(data, size);
    switch (in.below(4)) {
        case 0: check_message(in.rest(), [](bytes_view m) { return decode_reconcile_ask(m); }); break;
        case 1: check_message(in.rest(), [](bytes_view m) { return decode_reconcile_answer(m); }); break;
        case 2: check_cells(in); break;
        default: live(in); break;
    }
    return 0;
}

void seeds(fuzz::seed_sink sink) {
    bytes out{std::byte{0}};
    reconcile_ask ask{.kind = reconcile_kind::ranges, .number = 1, .key_check = 7};
    ask.ranges = {{{}, to_bytes("m")}, {to_bytes("m"), {}}};
    encode(ask, out);
    sink("ask", out);
    out.assign(1, std::byte{1});
    reconcile_answer answer{.kind = reconcile_kind::ranges, .number = 1};
    answer.ranges.resize(2);
    answer.ranges[0].bounds = {to_bytes("b")};
    answer.ranges[0].sums = {{1, 2}, {3, 4}};
    answer.ranges[1].is_list = true;
    answer.ranges[1].rows = {{to_bytes("x"), 9}};
    encode(answer, out);
    sink("answer", out);
    out.assign(1, std::byte{3});
    for (int i = 0; i < 300; ++i) { out.push_back(static_cast<std::byte>(i * 37)); }
    sink("life", out);
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 20, .length = 400, .seeds = seeds)
