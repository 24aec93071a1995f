// SPDX-License-Identifier: BSL-1.0
// What docs/storage.md quotes.

#include "support/catch.hpp"

#include <cstdint>

#include <syncline/storage.hpp>

using namespace syncline;

namespace {

// region: count
/// Counts visits, in any store, among keys of its own.
template <storage S>
result<std::uint64_t> count_visit(S& store, bytes_view visitor) {
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    keyspace visits(*tx, as_bytes("visits/"));
    auto const before = get(visits, visitor);
    if (!before) { return before.error(); }
    std::uint64_t const n = *before && (*before)->size() == 8 ? read_u64(**before) + 1 : 1;
    bytes value;
    append_u64(value, n);
    if (auto ok = visits.put(visitor, value); !ok) { return ok.error(); }
    if (auto ok = tx->commit(); !ok) { return ok.error(); }  // without it all is rolled back
    return n;
}
// endregion: count

}  // namespace

TEST_CASE("the page of storage: a component over any store") {
    memory_storage store;
    CHECK(*count_visit(store, as_bytes("ada")) == 1);
    CHECK(*count_visit(store, as_bytes("ada")) == 2);
    CHECK(*count_visit(store, as_bytes("ben")) == 1);
}

TEST_CASE("the page of storage: a store that notices what rots") {
    memory_storage database{{.value_bytes_max = value_bytes_min_max + storage_checksum_bytes}};
    // region: checksummed
    checksummed_storage store{database};  // a storage as any other
    // endregion: checksummed
    CHECK(*count_visit(store, as_bytes("ada")) == 1);
    auto tx = database.begin(access_mode::write);
    CHECK(tx->put(as_bytes("visits/ada"), as_bytes("rotten!!")));
    CHECK(tx->commit());
    CHECK(count_visit(store, as_bytes("ada")).error() == errc::corrupt);
}
