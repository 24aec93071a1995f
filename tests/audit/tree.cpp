// SPDX-License-Identifier: BSL-1.0
#include <syncline/audit/tree.hpp>

#include <limits>
#include <string>
#include <vector>

#include "audit/model.hpp"

using namespace audit_tests;

namespace {

sha256_function const hash;
constexpr std::string_view prefix = "t";

struct failing {
    transaction& tx;
    std::uint64_t n = 0;
    std::uint64_t calls = 0;
    sl::result<bool> get(bytes_view k, bytes& out) {
        if (++calls == n) { return errc::storage_io; }
        return tx.get(k, out);
    }
    sl::status put(bytes_view k, bytes_view v) {
        if (++calls == n) { return errc::storage_io; }
        return tx.put(k, v);
    }
    sl::status erase(bytes_view k) { return tx.erase(k); }
    sl::status scan(sl::key_range r, sl::scan_visitor visit) { return tx.scan(r, visit); }
};

sha256_digest leaf_of(std::uint64_t i) { return sl::merkle_leaf(hash, sl::as_bytes(std::to_string(i))); }

}  // namespace

TEST_CASE("tree: all sizes to 300, read back from its state and tiles, against the definition", "[audit]") {
    sl::memory_storage store;
    auto tx = write(store);
    naive_tree naive;
    sl::merkle_tree tree;
    std::size_t wrong = 0;
    auto const expect = [&](bool good) { wrong += good ? 0 : 1; };
    for (std::size_t n = 0; n <= 300; ++n) {
        bytes state;
        sl::cbor_writer w{state};
        tree.encode(w);
        sl::cbor_reader in{state};
        auto const opened = sl::merkle_tree::decode(in);
        REQUIRE(in.finish());
        expect(opened == tree && opened.size() == n);
        expect(*opened.root(tx, prefix, hash, n) == naive.root(n));
        expect(opened.frontier(tx, prefix, hash, n)->root(hash) == naive.root(n));
        std::size_t const step = n < 70 || n % 16 < 2 || n > 290 ? 1 : 17;
        for (std::size_t m = 0; m < n; m += step) {
            expect(opened.prove_inclusion(tx, prefix, hash, m, n)->path == naive.path(m, n));
            expect(*opened.leaf(tx, prefix, hash, m) == naive.leaf(m));
            expect(*opened.root(tx, prefix, hash, m) == naive.root(m));
            expect(m == 0 || opened.prove_consistency(tx, prefix, hash, m, n)->path == naive.proof(m, n));
        }
        if (n == 300) { break; }
        naive.push(sl::to_bytes(std::to_string(n)));
        REQUIRE(tree.add(tx, prefix, hash, naive.leaf(n)));
    }
    CHECK(wrong == 0);
    // An earlier tree is read from the later one's storage.
    for (std::size_t n = 1; n <= 300; n += 13) {
        for (std::size_t m = 1; m < n; m += 11) {
            REQUIRE(tree.prove_inclusion(tx, prefix, hash, m, n)->path == naive.path(m, n));
            REQUIRE(tree.prove_consistency(tx, prefix, hash, m, n)->path == naive.proof(m, n));
        }
    }
    // A full tile is put once: one for each sixteen leaves and one for each sixteen of those.
    CHECK(raw(tx).size() == 300 / 16 + 300 / 256);
}

TEST_CASE("tree: tiles upon tiles upon tiles", "[audit]") {
    sl::memory_storage store;
    auto tx = write(store);
    sl::merkle_tree tree;
    sl::merkle_frontier frontier;
    std::vector<sha256_digest> roots{frontier.root(hash)};
    for (std::uint64_t i = 0; i < 4'200; ++i) {
        REQUIRE(tree.add(tx, prefix, hash, leaf_of(i)));
        frontier.add(hash, leaf_of(i));
        roots.push_back(frontier.root(hash));
    }
    std::size_t wrong = 0;
    for (std::uint64_t const n : {255U, 256U, 257U, 4'095U, 4'096U, 4'097U, 4'111U, 4'112U, 4'200U}) {
        wrong += *tree.root(tx, prefix, hash, n) == roots[n] ? 0U : 1U;
        for (std::uint64_t m = 0; m < n; m += 97) {
            auto const p = tree.prove_inclusion(tx, prefix, hash, m, n);
            wrong += sl::verify_inclusion(hash, leaf_of(m), *p, roots[n]) ? 0U : 1U;
            auto const c = tree.prove_consistency(tx, prefix, hash, m, n);
            wrong += sl::verify_consistency(hash, *c, roots[m], roots[n]) ? 0U : 1U;
        }
    }
    CHECK(wrong == 0);

    // A proof reads each tile on its way once.
    failing counted{tx};
    REQUIRE(tree.prove_inclusion(counted, prefix, hash, 17, 4'096));
    CHECK(counted.calls <= 4);
}

TEST_CASE("tree: what fails or is damaged is said", "[audit]") {
    sl::memory_storage store;
    auto tx = write(store);
    sl::merkle_tree tree;
    for (std::uint64_t i = 0; i < 40; ++i) { REQUIRE(tree.add(tx, prefix, hash, leaf_of(i))); }
    for (std::uint64_t n = 1;; ++n) {
        failing f{tx, n};
        auto const p = tree.prove_inclusion(f, prefix, hash, 3, 40);
        if (p) { break; }
        CHECK(p.error() == errc::storage_io);
    }
    bytes const key = sl::merkle_tree::tile_key(prefix, 0, 0);
    bytes tile;
    REQUIRE(*tx.get(key, tile));
    CHECK(tile.size() == sl::merkle_tile_bytes);
    REQUIRE(tx.put(key, bytes_view{tile}.first(959)));
    CHECK(tree.prove_inclusion(tx, prefix, hash, 3, 40).error() == errc::corrupt);
    REQUIRE(tx.erase(key));
    CHECK(tree.leaf(tx, prefix, hash, 3).error() == errc::corrupt);

    {
        failing f{tx, 1};
        auto full = tree;
        for (std::uint64_t i = 40; i < 47; ++i) { REQUIRE(full.add(f, prefix, hash, leaf_of(i))); }
        CHECK(full.add(f, prefix, hash, leaf_of(47)).error() == errc::storage_io);
    }
    bytes state;
    sl::cbor_writer w{state};
    w.unsigned_integer(41);  // nine hashes for eleven
    w.byte_string(bytes(32 * 9));
    sl::cbor_reader in{state};
    (void)sl::merkle_tree::decode(in);
    CHECK(in.finish().error() == errc::malformed);
}

TEST_CASE("tree: a state of more leaves than there can be is none", "[audit]") {
    std::size_t open = 0;
    for (std::uint64_t const size :
         {std::uint64_t{1} << 63, (std::uint64_t{1} << 63) + 1, (std::numeric_limits<std::uint64_t>::max)()}) {
        open = 0;
        for (std::uint64_t n = size; n != 0; n /= 16) { open += static_cast<std::size_t>(n % 16); }
        bytes state;
        sl::cbor_writer w{state};
        w.unsigned_integer(size);
        w.byte_string(bytes(32 * open));
        sl::cbor_reader in{state};
        auto tree = sl::merkle_tree::decode(in);
        bool const most = size == std::uint64_t{1} << 63;
        CHECK(static_cast<bool>(in.finish()) == most);
        if (!most) { continue; }
        sl::memory_storage store;
        auto tx = write(store);
        CHECK(tree.add(tx, prefix, hash, {}).error() == errc::overflow);
    }
}
