// SPDX-License-Identifier: BSL-1.0
#include <syncline/blob/writer.hpp>

#include <set>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "support/catch.hpp"
#include "support/sanitized.hpp"

using namespace syncline;

namespace {

chunk_options const little{.min = 64, .average = 256, .max = 1024};

/// All rows of a store.
std::vector<std::pair<bytes, bytes>> rows(memory_storage& store) {
    std::vector<std::pair<bytes, bytes>> out;
    auto tx = store.begin(access_mode::read);
    REQUIRE(tx->scan({}, [&](bytes_view k, bytes_view v) {
        out.emplace_back(to_bytes(k), to_bytes(v));
        return true;
    }));
    return out;
}

}  // namespace

TEST_CASE("blob writer: however the content comes, all is as if it were stored at once, in little memory", "[blob]") {
    blob_book const book;
    for (std::uint64_t seed = 0; seed < rounds(40u); ++seed) {
        random_generator g(seed);
        bytes content(below(g, 4) == 0 ? static_cast<std::size_t>(below(g, 70))
                                       : static_cast<std::size_t>(below(g, 40'000)));
        fill(g, content);
        if (below(g, 3) == 0) { append(content, bytes(5000, std::byte{7})); }
        if (below(g, 3) == 0) { append(content, bytes(content)); }
        memory_storage at_once, piecewise;
        {
            auto tx = at_once.begin(access_mode::write);
            storage_chunks chunks(*tx);
            REQUIRE(book.store(*tx, chunks, content, "video/mp4", as_bytes("row"), little));
            REQUIRE(tx->commit());
        }
        blob_writer writer(book, as_bytes("row"), "video/mp4", little);
        std::uint64_t const most = 1 + below(g, below(g, 2) == 0 ? 20'000 : 300);
        auto tx = piecewise.begin(access_mode::write);
        for (bytes_view rest = content; !rest.empty();) {
            storage_chunks chunks(*tx);
            auto const piece = rest.first((std::min)(rest.size(), static_cast<std::size_t>(below(g, most + 1))));
            rest = rest.subspan(piece.size());
            REQUIRE(writer.write(*tx, chunks, piece));
            CHECK(writer.size() == content.size() - rest.size());
            CHECK(writer.bytes_held() <= 3 * little.max);
            if (below(g, 3) == 0) {
                // Between transactions anything may be collected: not what is being written.
                REQUIRE(book.collect(*tx, 1000));
                REQUIRE(tx->commit());
                tx = piecewise.begin(access_mode::write);
                storage_chunks later(*tx);
                REQUIRE(book.sweep(*tx, later, 1000));
            }
        }
        storage_chunks chunks(*tx);
        auto const b = writer.finish(*tx, chunks);
        REQUIRE(b);
        CHECK(b->size == content.size());
        REQUIRE(tx->commit());
        CHECK(rows(piecewise) == rows(at_once));
        auto again = piecewise.begin(access_mode::read);
        storage_chunks there(*again);
        bytes back;
        REQUIRE(book.read(*again, there, b->id, 0, content.size() + 1, back));
        CHECK(back == content);
    }
}

TEST_CASE("blob writer: content of 128 MB needs no more memory than a few chunks", "[blob]") {
    blob_book const book;
    memory_storage store;
    bytes period(std::size_t{1} << 20);
    random_generator g(3);
    fill(g, period);
    blob_writer writer(book, as_bytes("row"), "");
    for (int i = 0; i < 128; ++i) {
        auto tx = store.begin(access_mode::write);
        storage_chunks chunks(*tx);
        REQUIRE(writer.write(*tx, chunks, period));
        REQUIRE(tx->commit());
    }
    CHECK(writer.bytes_held() <= 3 * chunk_options{}.max);
    auto tx = store.begin(access_mode::write);
    storage_chunks chunks(*tx);
    auto const b = writer.finish(*tx, chunks);
    REQUIRE(b);
    CHECK(b->size == std::uint64_t{128} << 20);
    bytes part;
    REQUIRE(book.read(*tx, chunks, b->id, (std::uint64_t{77} << 20) + 5, 1000, part));
    CHECK(equal(part, bytes_view{period}.subspan(5, 1000)));
}

TEST_CASE("blob writer: what a crash left half written goes, and takes nothing along that others have", "[blob]") {
    blob_book const book;
    memory_storage store;
    bytes shared(5000);
    random_generator g(4);
    fill(g, shared);
    bytes both = shared;
    both.resize(12'000, std::byte{9});
    auto const in = [&](auto&& f) {
        auto tx = store.begin(access_mode::write);
        storage_chunks chunks(*tx);
        f(*tx, chunks);
        REQUIRE(tx->commit());
    };
    blob_ref kept;
    in([&](auto& tx, auto& chunks) { kept = *book.store(tx, chunks, shared, "", as_bytes("row"), little); });
    auto const before = rows(store);
    {
        blob_writer dies(book, as_bytes("draft 1"), "", little);
        in([&](auto& tx, auto& chunks) { REQUIRE(dies.write(tx, chunks, both)); });
        blob_writer other(book, as_bytes("draft 2"), "", little);
        in([&](auto& tx, auto& chunks) { REQUIRE(other.write(tx, chunks, both)); });
    }
    CHECK(rows(store).size() > before.size());
    in([&](auto& tx, auto& chunks) {
        CHECK(*book.scrub(tx, chunks) == blob_damage{});  // a draft's chunks are no strays
        REQUIRE(book.discard_drafts(tx, as_bytes("draft 1")));
        CHECK(*book.scrub(tx, chunks) == blob_damage{});
        REQUIRE(book.discard_drafts(tx));
    });
    in([&](auto& tx, auto& chunks) {
        REQUIRE(book.collect(tx, 1000));
        CHECK(*book.sweep(tx, chunks, 1000) > 0);
    });
    CHECK(rows(store) == before);
    in([&](auto& tx, auto& chunks) {
        CHECK(book.discard_drafts(tx, bytes(blob_owner_bytes_max + 1)).error() == errc::invalid);
        bytes back;
        REQUIRE(book.read(tx, chunks, kept.id, 0, 10'000, back));
        CHECK(back == shared);
    });
}

TEST_CASE("blob writer: a transaction that was rolled back, a limit or a failed hash leaves no blob", "[blob]") {
    struct no_hash {
        using digest_type = sha256_digest;
        void update(bytes_view) noexcept {}
        sha256_digest finish() const noexcept { return {}; }
    };
    memory_storage store;
    bytes content(6000);
    random_generator g(5);
    fill(g, content);
    blob_book const book("bb", {.chunks_max = 40, .chunk_bytes_max = 1024, .bytes_max = 10'000});
    {
        blob_writer writer(book, as_bytes("row"), "", little);
        {
            auto tx = store.begin(access_mode::write);
            storage_chunks chunks(*tx);
            REQUIRE(writer.write(*tx, chunks, content));
        }
        auto tx = store.begin(access_mode::write);
        storage_chunks chunks(*tx);
        CHECK(writer.finish(*tx, chunks).error() == errc::invalid);
        CHECK(writer.write(*tx, chunks, content).error() == errc::invalid);
    }
    auto const refuses = [&](auto writer, bytes_view first, bytes_view second, errc why) {
        auto tx = store.begin(access_mode::write);
        storage_chunks chunks(*tx);
        status done = writer.write(*tx, chunks, first);
        if (done) { done = writer.write(*tx, chunks, second); }
        CHECK(done.error() == why);
        CHECK(writer.finish(*tx, chunks).error() == errc::invalid);
    };
    refuses(blob_writer(book, as_bytes("row"), "", little), content, content, errc::limit);
    blob_book const few("bb", {.chunks_max = 3});
    refuses(blob_writer(few, as_bytes("row"), "", little), content, {}, errc::limit);
    blob_book const tiny("bb", {.chunk_bytes_max = 65});
    refuses(blob_writer(tiny, as_bytes("row"), "", little), content, {}, errc::limit);
    refuses(blob_writer(book, {}, "", little), content, {}, errc::invalid);
    refuses(blob_writer<no_hash>(book, as_bytes("row"), "", little), content, {}, errc::unsupported);
    CHECK(rows(store).empty());
}

TEST_CASE("blob writer: every failing call leaves book and chunks as they were or as they are to be", "[blob]") {
    using testing::failing_storage;
    blob_book const book;
    bytes content(3000);
    random_generator g(6);
    fill(g, content);
    auto const write = [&](failing_storage& store) -> status {
        blob_writer writer(book, as_bytes("row"), "", little);
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        storage_chunks chunks(*tx);
        if (auto s = writer.write(*tx, chunks, content); !s) { return s; }
        if (auto const b = writer.finish(*tx, chunks); !b) { return b.error(); }
        return tx->commit();
    };
    auto const written = testing::nth_failure([](failing_storage&) {}, write);
    CHECK(testing::to_text(written.violations) == "");
}
