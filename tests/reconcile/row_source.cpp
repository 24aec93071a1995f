// SPDX-License-Identifier: BSL-1.0
#include <syncline/reconcile/row_source.hpp>

#include <syncline/storage/archetype.hpp>
#include <syncline/storage/keyspace.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

using namespace syncline;

static_assert(row_source<keyspace<storage_transaction_archetype>>);
static_assert(row_source<memory_storage::transaction>);
static_assert(!row_source<int>);

TEST_CASE("row source: a keyspace whose values are the versions is one", "[reconcile]") {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    keyspace rows(*tx, as_bytes("rows/"));
    REQUIRE(rows.put(as_bytes("a"), as_bytes("1")));
    bytes version;
    CHECK(*rows.get(as_bytes("a"), version));
    CHECK(as_text(version) == "1");
}
