// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/record_store.hpp>

#include "support/catch.hpp"
#include "support/sanitized.hpp"

#include <syncline/storage/memory.hpp>
#include <syncline/testing/record_store_conformance.hpp>

using namespace syncline;

TEST_CASE("the default record store keeps its axioms") {
    for (std::uint64_t seed = 1; seed <= rounds(8U); ++seed) {
        memory_storage storage;
        CHECK(testing::to_text(testing::certify_record_store(storage, stored_records{}, {.seed = seed})).empty());
    }
}

TEST_CASE("a clean record carries little beside its fields") {
    memory_storage storage;
    auto tx = storage.begin(access_mode::write);
    REQUIRE(tx);
    held_record h;
    h.confirmed = 60'000;
    h.visible.version = 60'000;
    h.visible.floor = {60'000, timestamp{std::uint64_t{1'800'000'000'000} << 16}, 900};
    h.visible.fields = {std::byte{0xA0}};
    record_key const k{"guests", "anna"};
    REQUIRE(stored_records{}.put(*tx, k, h, nullptr));
    std::size_t bytes_held = 0;
    REQUIRE(tx->scan({}, [&](bytes_view key, bytes_view value) {
        bytes_held += key.size() + value.size();
        return true;
    }));
    // The key's two bytes of prefix count too.
    CHECK(bytes_held - to_bytes(k).size() - h.visible.fields.size() <= 24 + 2);
}

TEST_CASE("a record that does not decode is corrupt, and that one only") {
    memory_storage storage;
    auto tx = storage.begin(access_mode::write);
    REQUIRE(tx);
    held_record h;
    h.visible.fields = {std::byte{0xA0}};
    REQUIRE(stored_records{}.put(*tx, {"guests", "a"}, h, nullptr));
    bytes k = to_bytes("rv");
    append_key(k, "guests", as_bytes("b"));
    REQUIRE(tx->put(k, as_bytes("x")));
    CHECK(stored_records{}.find(*tx, {"guests", "a"})->value() == h);
    CHECK(stored_records{}.find(*tx, {"guests", "b"}).error() == errc::corrupt);
    CHECK(stored_records{}.scan(*tx, "guests", [](record_key const&, held_record&) { return true; }).error() ==
          errc::corrupt);
}
