// SPDX-License-Identifier: BSL-1.0
#include <syncline/reconcile/range_tree.hpp>

#include <map>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/storage/keyspace.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"
#include "support/sanitized.hpp"

using namespace syncline;

namespace {

using model = std::map<std::string, std::string>;
row_hasher const keyed(reconcile_key{});

std::string any_key(random_generator& g, std::uint64_t spread) {
    std::string k = "k" + std::to_string(below(g, spread));
    if (below(g, 40) == 0) { k += std::string(below(g, 60), static_cast<char>('a' + below(g, 26))); }
    return k;
}
row_range naive_sum(model const& m, std::string const& from, std::string const& to) {
    row_range out;
    for (auto const& [k, v] : m) {
        if (k < from || (!to.empty() && k >= to)) { continue; }
        out.sum += keyed.row(as_bytes(k), as_bytes(v));
        ++out.rows;
    }
    return out;
}

}  // namespace

TEST_CASE("range tree: whatever is folded in, each range has the sum that its rows have", "[reconcile]") {
    for (std::uint64_t seed = 0; seed < (sanitized ? 2U : 6U); ++seed) {
        random_generator g(seed);
        memory_storage store;
        auto tx = store.begin(access_mode::write);
        keyspace rows(*tx, as_bytes("r"));
        range_tree const tree("t", keyed, 4 + seed);
        range_root root;
        model m;
        std::uint32_t tallest = 0;
        for (int round = 0; round < 60; ++round) {
            std::map<std::string, range_delta> deltas;
            std::vector<std::string> names;
            // Growth, then decline.
            std::size_t const n = below(g, 150);
            for (std::size_t i = 0; i < n; ++i) {
                std::string k = any_key(g, 3000);
                auto const at = m.find(k);
                range_delta d;
                if (at != m.end()) {
                    d.sum -= keyed.row(as_bytes(k), as_bytes(at->second));
                    --d.rows;
                }
                if (below(g, 10) < (round < 35 ? 8U : 2U)) {
                    m[k] = std::to_string(g());
                    d.sum += keyed.row(as_bytes(k), as_bytes(m[k]));
                    ++d.rows;
                    REQUIRE(rows.put(as_bytes(k), as_bytes(m[k])));
                } else {
                    m.erase(k);
                    REQUIRE(rows.erase(as_bytes(k)));
                }
                auto& sum = deltas[k];
                sum.sum += d.sum;
                sum.rows += d.rows;
            }
            std::vector<range_delta> sorted;
            for (auto& [k, d] : deltas) {
                d.key = as_bytes(k);
                sorted.push_back(d);
            }
            REQUIRE(tree.fold(*tx, rows, root, sorted));
            tallest = (std::max)(tallest, root.height);
            for (int ask = 0; ask < 12; ++ask) {
                std::string const from = below(g, 5) == 0 ? "" : any_key(g, 3000);
                std::string const to = below(g, 5) == 0 ? "" : any_key(g, 3000);
                if (!to.empty() && to <= from) { continue; }
                key_range const range{as_bytes(from), as_bytes(to)};
                auto const wanted = naive_sum(m, from, to);
                auto const got = tree.sum(*tx, rows, root, range);
                REQUIRE(got);
                REQUIRE(got->sum == wanted.sum);
                REQUIRE(got->rows == wanted.rows);
                std::size_t const most = 2 + below(g, 15);
                auto const parts = tree.divide(*tx, rows, root, range, wanted.rows, most);
                REQUIRE(parts);
                REQUIRE(parts->size() <= most);
                REQUIRE(as_text((*parts)[0].from) == from);
                for (std::size_t i = 0; i < parts->size(); ++i) {
                    std::string const a(as_text((*parts)[i].from));
                    std::string const b = i + 1 < parts->size() ? std::string(as_text((*parts)[i + 1].from)) : to;
                    REQUIRE((b.empty() || a < b));
                    auto const part = naive_sum(m, a, b);
                    REQUIRE(part.sum == (*parts)[i].sum);
                    REQUIRE(part.rows == (*parts)[i].rows);
                    if (wanted.rows > 200) { REQUIRE(part.rows < wanted.rows); }
                }
            }
        }
        CHECK(tallest >= 1);
        // Built anew it says the same.
        range_tree const again("u", keyed, 4 + seed);
        range_root built;
        bool any = false;
        REQUIRE(again.build(*tx, rows, built, any));
        CHECK(any == !m.empty());
        auto const all = again.sum(*tx, rows, built, {});
        CHECK(all->sum == naive_sum(m, "", "").sum);
        auto const half = again.sum(*tx, rows, built, {as_bytes("k15"), {}});
        CHECK(half->sum == naive_sum(m, "k15", "").sum);
    }
}

TEST_CASE("range tree: emptied, it keeps no nodes of what was there", "[reconcile]") {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    keyspace rows(*tx, as_bytes("r"));
    range_tree const tree("t", keyed, 8);
    range_root root;
    std::vector<std::string> keys;
    std::vector<range_delta> in, out;
    for (int i = 10'000; i < 14'000; ++i) { keys.push_back(std::to_string(i)); }
    for (auto const& k : keys) {
        REQUIRE(rows.put(as_bytes(k), as_bytes("v")));
        in.push_back({as_bytes(k), keyed.row(as_bytes(k), as_bytes("v")), 1});
        out.push_back({as_bytes(k), fingerprint{} - in.back().sum, -1});
    }
    auto const nodes = [&] {
        std::size_t n = 0;
        REQUIRE(scan_prefix(*tx, as_bytes("t"), [&](bytes_view, bytes_view) { return ++n != 0; }));
        return n;
    };
    REQUIRE(tree.fold(*tx, rows, root, in));
    CHECK(root.height >= 1);
    CHECK(nodes() > 10);
    for (auto const& k : keys) { REQUIRE(rows.erase(as_bytes(k))); }
    REQUIRE(tree.fold(*tx, rows, root, out));
    CHECK(nodes() == 1);
    CHECK(root.height == 0);
    CHECK(tree.sum(*tx, rows, root, {})->rows == 0);
}

TEST_CASE("range tree: a damaged node is said to be, wherever it is cut or changed", "[reconcile]") {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    keyspace rows(*tx, as_bytes("r"));
    range_tree const tree("t", keyed, 4);
    range_root root;
    std::vector<range_delta> in;
    std::vector<std::string> keys;
    for (int i = 100; i < 140; ++i) { keys.push_back(std::to_string(i)); }
    for (auto const& k : keys) {
        REQUIRE(rows.put(as_bytes(k), as_bytes("v")));
        in.push_back({as_bytes(k), keyed.row(as_bytes(k), as_bytes("v")), 1});
    }
    REQUIRE(tree.fold(*tx, rows, root, in));
    bytes at;
    bytes value;
    REQUIRE(scan_prefix(*tx, as_bytes("t"), [&](bytes_view k, bytes_view v) {
        at = to_bytes(k);
        value = to_bytes(v);
        return false;
    }));
    for (std::size_t n = 0; n < value.size(); ++n) {
        REQUIRE(tx->put(at, bytes_view{value}.first(n)));
        auto const got = tree.sum(*tx, rows, root, {});
        REQUIRE_FALSE(got);
        CHECK(got.error() == errc::corrupt);
        CHECK(tree.fold(*tx, rows, root, in).error() == errc::corrupt);
    }
    REQUIRE(tx->erase(at));
    CHECK(tree.sum(*tx, rows, root, {}).error() == errc::corrupt);
}
