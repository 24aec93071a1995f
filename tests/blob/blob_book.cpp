// SPDX-License-Identifier: BSL-1.0
#include <syncline/blob/blob_book.hpp>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

chunk_options const small{.min = 64, .average = 256, .max = 1024};

/// Content made of pieces that other content shares.
bytes any_content(random_generator& g) {
    bytes out;
    for (std::uint64_t parts = below(g, 5); parts > 0; --parts) {
        random_generator part(below(g, 8));
        bytes piece(1500);
        fill(part, piece);
        append(out, piece);
    }
    return out;
}

}  // namespace

TEST_CASE("blob book: whatever comes and goes, what has an owner is there and what has none goes", "[blob]") {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
        random_generator g(seed);
        memory_storage store;
        blob_book const book;
        std::map<sha256_digest, std::pair<bytes, std::set<std::string>>> model;  // content and owners by blob
        std::string const owners[] = {"row a", "row b", "mutation 1", "mutation 2"};
        for (int step = 0; step < 250; ++step) {
            auto tx = store.begin(access_mode::write);
            storage_chunks chunks(*tx);
            auto const before = model;
            std::string const owner = owners[below(g, 4)];
            auto any = [&] {
                return std::next(model.begin(), static_cast<std::ptrdiff_t>(below(g, model.size())))->first;
            };
            std::uint64_t const what = below(g, 8);
            if (what < 2) {
                bytes const content = any_content(g);
                auto const b = book.store(*tx, chunks, content, "t", as_bytes(owner), small);
                REQUIRE(b);
                REQUIRE(b->size == content.size());
                model[b->id].first = content;
                model[b->id].second.insert(owner);
            } else if (what == 2 && !model.empty()) {
                auto const b = any();
                REQUIRE(book.retain(*tx, b, as_bytes(owner)));
                model[b].second.insert(owner);
            } else if (what < 5 && !model.empty()) {
                auto const b = any();
                REQUIRE(book.release(*tx, b, as_bytes(owner)));
                model[b].second.erase(owner);
            } else if (what == 5) {
                REQUIRE(book.release_all(*tx, as_bytes(owner)));
                for (auto& [id, b] : model) { b.second.erase(owner); }
            } else if (what == 6) {
                auto const c = book.collect(*tx, 1 + static_cast<std::size_t>(below(g, 40)));
                REQUIRE(c);
                std::size_t gone = 0;
                for (auto at = model.begin(); at != model.end();) {
                    auto const there = book.manifest(*tx, at->first);
                    REQUIRE(there);
                    if (*there) {
                        ++at;
                        continue;
                    }
                    REQUIRE(at->second.second.empty());
                    ++gone;
                    at = model.erase(at);
                }
                REQUIRE(gone == c->blobs);
                if (!c->more) {
                    for (auto const& [id, b] : model) { REQUIRE_FALSE(b.second.empty()); }
                }
            } else if (what == 7) {
                REQUIRE(book.sweep(*tx, chunks, 1 + static_cast<std::size_t>(below(g, 30))));
            }
            // What is to stay is whole; each count is that of the blobs which have the chunk.
            std::map<sha256_digest, std::uint64_t> counts;
            bytes got;
            for (auto const& [id, b] : model) {
                auto const from = below(g, b.first.size() + 2);
                auto const most = static_cast<std::size_t>(below(g, 4000));
                REQUIRE(book.read(*tx, chunks, id, from, most, got));
                bytes_view wanted = b.first;
                wanted = wanted.subspan((std::min)(wanted.size(), static_cast<std::size_t>(from)));
                REQUIRE(equal(got, wanted.first((std::min)(wanted.size(), most))));
                std::set<sha256_digest> own;
                for (chunk_ref const& c : make_manifest(b.first, "t", small).chunks) { own.insert(c.id); }
                for (auto const& c : own) { ++counts[c]; }
            }
            for (auto const& [id, n] : counts) { REQUIRE(*book.references(*tx, id) == n); }
            if (below(g, 5) == 0) {
                model = before;  // rolled back
            } else {
                REQUIRE(tx->commit());
            }
        }
        // In the end nothing stays.
        auto tx = store.begin(access_mode::write);
        storage_chunks chunks(*tx);
        for (auto const& o : owners) { REQUIRE(book.release_all(*tx, as_bytes(o))); }
        while (book.collect(*tx, 10)->more) {}
        while (*book.sweep(*tx, chunks, 10) != 0) {}
        std::size_t left = 0;
        REQUIRE(tx->scan({}, [&](bytes_view, bytes_view) { return ++left != 0; }));
        CHECK(left == 0);
    }
}

TEST_CASE("blob book: a collection that is rolled back frees no bytes, and what is swept comes back when it is wanted",
          "[blob]") {
    memory_storage store, files;
    blob_book const book;
    auto chunk_tx = files.begin(access_mode::write);
    storage_chunks chunks(*chunk_tx);  // in no transaction with the book
    bytes const content(5000, std::byte{1});
    sha256_digest id;
    {
        auto tx = store.begin(access_mode::write);
        id = book.store(*tx, chunks, content, "", as_bytes("row"), small)->id;
        REQUIRE(tx->commit());
    }
    {
        auto tx = store.begin(access_mode::write);
        REQUIRE(book.release(*tx, id, as_bytes("row")));
        CHECK(book.collect(*tx, 100)->blobs == 1);
    }  // rolled back
    bytes got;
    {
        auto tx = store.begin(access_mode::write);
        REQUIRE(book.read(*tx, chunks, id, 0, 9999, got));
        CHECK(got == content);
        REQUIRE(book.release(*tx, id, as_bytes("row")));
        CHECK(book.collect(*tx, 100)->blobs == 1);
        REQUIRE(tx->commit());
    }
    auto tx = store.begin(access_mode::write);
    // Wanted again before the sweep: the bytes stay.
    id = book.store(*tx, chunks, content, "", as_bytes("row"), small)->id;
    REQUIRE(book.sweep(*tx, chunks, 100));
    REQUIRE(book.read(*tx, chunks, id, 0, 9999, got));
    CHECK(got == content);
}

TEST_CASE("blob book: scrubbing finds what is missing, damaged and stray, and asks for it again", "[blob]") {
    memory_storage store;
    blob_book const book;
    auto tx = store.begin(access_mode::write);
    storage_chunks chunks(*tx);
    random_generator g(1);
    bytes content(20'000);
    fill(g, content);
    auto const b = book.store(*tx, chunks, content, "", as_bytes("row"), small);
    auto const m = **book.manifest(*tx, b->id);
    CHECK(*book.scrub(*tx, chunks) == blob_damage{});
    REQUIRE(chunks.erase(m.chunks[3].id));
    REQUIRE(chunks.put(m.chunks[5].id, as_bytes("rot")));
    REQUIRE(chunks.put(sha256(as_bytes("stray")), as_bytes("stray")));
    bytes got;
    CHECK(book.read(*tx, chunks, b->id, 0, 99'999, got).error() == errc::not_found);
    auto const damage = book.scrub(*tx, chunks);
    REQUIRE(damage);
    CHECK(damage->missing == std::vector<sha256_digest>{m.chunks[3].id});
    CHECK(damage->damaged == std::vector<sha256_digest>{m.chunks[5].id});
    CHECK(damage->stray == 1);
    CHECK(*book.missing(*tx, m) == std::vector<std::uint32_t>{3, 5});
    CHECK(*book.scrub(*tx, chunks) == blob_damage{});
    REQUIRE(book.store(*tx, chunks, content, "", as_bytes("row"), small));
    REQUIRE(book.read(*tx, chunks, b->id, 0, 99'999, got));
    CHECK(got == content);
}

TEST_CASE("blob book: what nobody expects, and what is not what its name says, is refused", "[blob]") {
    memory_storage store;
    blob_book const book;
    auto tx = store.begin(access_mode::write);
    storage_chunks chunks(*tx);
    auto const id = sha256(as_bytes("x"));
    CHECK(book.arrived(*tx, chunks, id, as_bytes("x")).error() == errc::not_found);
    blob_manifest m;
    m.chunks.push_back({id, 1});
    auto const b = book.expect(*tx, m, as_bytes("row"));
    CHECK(book.arrived(*tx, chunks, id, as_bytes("y")).error() == errc::malformed);
    CHECK_FALSE(*book.has(*tx, id));
    manifest_limits tight;
    tight.chunk_bytes_max = 1;
    CHECK(blob_book{"b", tight}.arrived(*tx, chunks, id, as_bytes("xy")).error() == errc::limit);
    REQUIRE(book.arrived(*tx, chunks, id, as_bytes("x")));
    REQUIRE(book.arrived(*tx, chunks, id, as_bytes("x")));
    CHECK(*book.has(*tx, id));
    CHECK(book.retain(*tx, sha256(as_bytes("none")), as_bytes("row")).error() == errc::not_found);
    CHECK(book.retain(*tx, b->id, {}).error() == errc::invalid);
    CHECK(book.retain(*tx, b->id, bytes(blob_owner_bytes_max + 1)).error() == errc::invalid);
    m.chunks[0].size = 0;
    CHECK(book.expect(*tx, m, as_bytes("row")).error() == errc::malformed);
}

TEST_CASE("blob book: every failing call leaves book and chunks as they were or as they are to be", "[blob]") {
    blob_book const book;
    bytes content(3000, std::byte{5});
    for (std::size_t i = 0; i < content.size(); ++i) { content[i] = static_cast<std::byte>(i * i / 7); }
    auto const in = [](auto& store, auto&& f) -> status {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        storage_chunks chunks(*tx);
        if (auto s = f(*tx, chunks); !s) { return s; }
        return tx->commit();
    };
    auto const put = [&](auto& tx, auto& chunks) -> status {
        auto const b = book.store(tx, chunks, content, "", as_bytes("row"), small);
        return b ? status{} : status{b.error()};
    };
    auto const drop = [&](auto& tx, auto&) -> status {
        if (auto s = book.release_all(tx, as_bytes("row")); !s) { return s; }
        auto const c = book.collect(tx, 100);
        return c ? status{} : status{c.error()};
    };
    auto const sweep = [&](auto& tx, auto& chunks) -> status {
        auto const n = book.sweep(tx, chunks, 100);
        return n ? status{} : status{n.error()};
    };
    using testing::failing_storage;
    auto const stored = testing::nth_failure([](failing_storage&) {}, [&](failing_storage& s) { return in(s, put); });
    CHECK(testing::to_text(stored.violations) == "");
    auto const dropped = testing::nth_failure([&](failing_storage& s) { (void)in(s, put); },
                                              [&](failing_storage& s) { return in(s, drop); });
    CHECK(testing::to_text(dropped.violations) == "");
    auto const swept = testing::nth_failure(
        [&](failing_storage& s) {
            (void)in(s, put);
            (void)in(s, drop);
        },
        [&](failing_storage& s) { return in(s, sweep); });
    CHECK(testing::to_text(swept.violations) == "");
}
