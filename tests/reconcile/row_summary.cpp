// SPDX-License-Identifier: BSL-1.0
#include <syncline/reconcile/row_summary.hpp>

#include <string>
#include <utility>
#include <vector>

#include <syncline/testing/nth_failure.hpp>

#include "reconcile/world.hpp"
#include "support/catch.hpp"

using namespace reconcile_tests;

static_assert(valid(summary_options{}) && !valid(summary_options{.cells = 0}) &&
              !valid(summary_options{.leaf_rows_max = 3}));

namespace {

using batch = std::vector<std::pair<std::string, std::optional<std::string>>>;

batch any_batch(random_generator& g, std::size_t most, std::uint64_t spread) {
    batch out(below(g, most + 1));
    for (auto& [k, v] : out) {
        k = "key" + std::to_string(below(g, spread));
        if (below(g, 30) == 0) { k += std::string(50, 'x'); }
        if (below(g, 4) != 0) { v = std::to_string(g()); }
    }
    return out;
}

}  // namespace

TEST_CASE("row summary: after any writes, at any moment, it is what a rebuild makes of the rows", "[reconcile]") {
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
        random_generator g(seed);
        replica_world w({.cells = 64, .pending_max = 1 + below(g, 60), .leaf_rows_max = 4 + below(g, 20)});
        for (int round = 0; round < 40; ++round) {
            bool const give_up = below(g, 6) == 0;
            REQUIRE(w.write(any_batch(g, 40, 500), give_up) == !give_up);
            if (below(g, 5) != 0) { continue; }
            REQUIRE(w.verified());
            row_summary const fresh("z", test_key(), {.cells = 64, .leaf_rows_max = 16});
            REQUIRE(w.in_transaction([&](auto& tx, auto& in) -> status {
                if (auto s = fresh.rebuild(tx, in); !s) { return s; }
                auto const a = fresh.state(tx);
                auto const b = w.summary.state(tx);
                REQUIRE((a && b && a->total == b->total && a->long_rows == b->long_rows && a->rows == b->rows));
                REQUIRE(b->rows == w.rows.size());
                std::vector<sketch_cell> mine, theirs;
                REQUIRE(fresh.cells(tx, *a, 64, mine));
                REQUIRE(w.summary.cells(tx, *b, 64, theirs));
                REQUIRE(mine == theirs);
                return fresh.erase(tx);
            }));
        }
    }
}

TEST_CASE("row summary: a write that it was not told is found, and mended by a rebuild", "[reconcile]") {
    for (plant const bad : {plant::forgets_a_change, plant::tells_a_wrong_version}) {
        replica_world w({.cells = 64});
        REQUIRE(w.write({{"a", "1"}, {"b", "1"}}));
        CHECK(w.verified());
        REQUIRE(w.write({{"a", "2"}, {"b", "2"}}, false, bad));
        CHECK_FALSE(w.verified());
        REQUIRE(w.in_transaction([&](auto& tx, auto& in) { return w.summary.rebuild(tx, in); }));
        CHECK(w.verified());
    }
    replica_world w({.cells = 64});
    REQUIRE(w.write({{"a", "1"}}));
    CHECK_FALSE(w.write({{"b", "1"}}, true, plant::keeps_rolled_back));
    REQUIRE(w.write({{"c", "1"}}));
    CHECK_FALSE(w.verified());
}

TEST_CASE("row summary: every failing call leaves rows and summary as they were or as they are to be", "[reconcile]") {
    summary_options const options{.cells = 32, .pending_max = 8, .leaf_rows_max = 4};
    row_summary const summary("x", test_key(), options);
    auto const write = [&](auto& store, int from, int to) -> status {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        keyspace in(*tx, as_bytes("r"));
        auto changes = summary.changes();
        for (int i = from; i < to; ++i) {
            std::string const k = "k" + std::to_string(i);
            if (auto s = in.put(as_bytes(k), as_bytes("v")); !s) { return s; }
            changes.insert(as_bytes(k), as_bytes("v"));
        }
        if (auto s = summary.flush(*tx, in, changes); !s) { return s; }
        return tx->commit();
    };
    auto const make = [&](testing::failing_storage& s) {
        (void)write(s, 0, 13);
        (void)write(s, 13, 17);
    };
    auto const report = testing::nth_failure(make, [&](testing::failing_storage& s) { return write(s, 17, 30); });
    for (auto const& v : report.violations) { UNSCOPED_INFO(v.axiom << ": " << v.what); }
    CHECK(report.violations.empty());
    CHECK(report.runs > 20);
}

TEST_CASE("row summary: another key, damaged values", "[reconcile]") {
    replica_world w({.cells = 64, .pending_max = 4});
    REQUIRE(w.write({{"a", "1"}, {"b", "1"}, {"c", "1"}, {"d", "1"}, {"e", "1"}}));
    REQUIRE(w.write({{"f", "1"}}));
    REQUIRE(w.in_transaction([&](auto& tx, auto&) -> status {
        row_summary const other("x", test_key(3));
        CHECK(other.state(tx).error() == errc::invalid);
        return {};
    }));
    std::vector<std::pair<bytes, bytes>> all;
    w.memory.snapshot().scan({}, [&](bytes_view k, bytes_view v) {
        if (k[0] == std::byte{'x'}) { all.emplace_back(to_bytes(k), to_bytes(v)); }
        return true;
    });
    CHECK(all.size() == 4);  // state, log, a page, a node
    for (auto const& [k, v] : all) {
        for (std::size_t n = 0; n < v.size(); n += 1 + v.size() / 40) {
            auto tx = w.memory.begin(access_mode::write);
            keyspace in(*tx, as_bytes("r"));
            REQUIRE(tx->put(k, bytes_view{v}.first(n)));
            auto const folded = w.summary.fold(*tx, in);
            // A cut log may end between two changes.
            bool const whole = folded && k[1] == std::byte{'l'};
            CHECK((whole || (!folded && folded.error() == errc::corrupt)));
        }
    }
}

TEST_CASE("row summary: its stored bytes are pinned", "[reconcile]") {
    replica_world w({.cells = 16, .leaf_rows_max = 4});
    REQUIRE(w.write({{"a", "1"}, {"b", "2"}}));
    std::string state, log;
    w.memory.snapshot().scan({}, [&](bytes_view k, bytes_view v) {
        if (as_text(k) == "xm") { state = to_hex(v); }
        if (as_text(k).substr(0, 2) == "xl") { log = to_hex(k) + ' ' + to_hex(v); }
        return true;
    });
    CHECK(state ==
          "8c011a0f6a6cd250bfba7131642e5e08f7166bc9acc8a6a650000000000000000000000000000000000210020001000001");
    CHECK(log ==
          "786c0000000000000000 "
          "016102b2e81bb08e0a6ebe6849bd46532fe2c30162020cd25580d623ef4a8eccae835998c3e3");
}

TEST_CASE("row summary: what its page quotes", "[reconcile]") {
    memory_storage store;
    // region: write
    row_summary const summary("sum", test_key(), {.cells = 1024});

    auto const save = [&](auto& tx, bytes_view key, bytes_view before, bytes_view version) -> status {
        keyspace rows(tx, as_bytes("rows/"));  // your own table, seen as keys and versions
        auto changes = summary.changes();
        if (before.empty()) {
            changes.insert(key, version);
        } else {
            changes.update(key, before, version);
        }
        if (auto s = rows.put(key, version); !s) { return s; }
        return summary.flush(tx, rows, changes);  // in the transaction of the rows
    };
    // endregion: write
    auto tx = store.begin(access_mode::write);
    REQUIRE(save(*tx, as_bytes("a"), {}, as_bytes("1")));
    REQUIRE(save(*tx, as_bytes("a"), as_bytes("1"), as_bytes("2")));
    CHECK(summary.state(*tx)->rows == 1);

    memory_storage other_store;
    auto there = other_store.begin(access_mode::write);
    REQUIRE(save(*there, as_bytes("a"), {}, as_bytes("1")));
    keyspace here_rows(*tx, as_bytes("rows/")), there_rows(*there, as_bytes("rows/"));
    std::size_t found = 0;
    // region: pass
    reconciler const asks("rec", summary);
    auto const pass = [&]() -> status {
        if (auto s = asks.begin(*tx); !s) { return s; }
        for (;;) {
            auto const ask = asks.ask(*tx);  // what storage says is to be asked next
            if (!ask) { return ask.error(); }
            if (!*ask) { break; }
            // Here the ask travels; the other end answers:
            auto const answer = answer_reconcile(*there, there_rows, summary, **ask);
            if (!answer) { return answer.error(); }
            if (auto s = asks.absorb(*tx, here_rows, *answer); !s) { return s; }
            // Here you would commit: after a crash the pass goes on from here.
        }
        return asks.differences(*tx, [&](row_difference const& d) {
            ++found;  // fetch d.key from there, or send it, by your own rules; then settle it
            return d.here != d.there;
        });
    };
    // endregion: pass
    REQUIRE(pass());
    CHECK(found == 1);
}
