// SPDX-License-Identifier: BSL-1.0
#include <syncline/blob/chunk_store.hpp>

#include <syncline/storage/archetype.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/chunk_store_conformance.hpp>

#include "support/catch.hpp"

using namespace syncline;

static_assert(chunk_store<storage_chunks<storage_transaction_archetype>>);

TEST_CASE("chunk store: the storage's own values are one", "[blob]") {
    memory_storage store;
    auto const broken = testing::check_chunk_store([&](auto&& use) {
        auto tx = store.begin(access_mode::write);
        storage_chunks chunks(*tx);
        use(chunks);
        (void)tx->commit();
    });
    CHECK(testing::to_text(broken) == "");
    auto tx = store.begin(access_mode::write);
    REQUIRE(tx->put(as_bytes("bcx"), {}));
    storage_chunks chunks(*tx);
    CHECK(chunks.scan([](sha256_digest const&) { return true; }).error() == errc::corrupt);
}
