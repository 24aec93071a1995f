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
    struct place {
        position at;
        author_index author;
        std::size_t most;
    };
    // The key's two bytes of prefix count apart.
    for (place const p :
         {place{1'000, 3, 17}, place{60'000, 900, 19}, place{1'000'000, 3, 19}, place{1'000'000'000, 3, 19},
          place{1'000'000'000, 60'000, 21}, place{position{1} << 62, 200, 24}}) {
        memory_storage storage;
        auto tx = storage.begin(access_mode::write);
        REQUIRE(tx);
        held_record h;
        h.confirmed = p.at;
        h.visible.version = p.at;
        h.visible.floor = {p.at, timestamp{std::uint64_t{1'800'000'000'000} << 16}, p.author};
        h.visible.fields = {std::byte{0xA0}};
        record_key const k{"guests", "anna"};
        REQUIRE(stored_records{}.put(*tx, k, h, nullptr));
        CHECK(stored_records{}.find(*tx, k)->value() == h);
        std::size_t bytes_held = 0;
        REQUIRE(tx->scan({}, [&](bytes_view key, bytes_view value) {
            bytes_held += key.size() + value.size();
            return true;
        }));
        CHECK(bytes_held - to_bytes(k).size() - h.visible.fields.size() - 2 == p.most);
    }
}

TEST_CASE("what is held is told apart whether or not the row is the confirmed one") {
    memory_storage storage;
    auto tx = storage.begin(access_mode::write);
    REQUIRE(tx);
    record_key const k{"guests", "anna"};
    for (bool const pending : {false, true}) {
        for (position const confirmed : {position{0}, position{6}, position{7}, pending_position}) {
            for (position const version : {position{7}, pending_position}) {
                for (schema_version const schema : {1U, 2U}) {
                    held_record h;
                    h.pending = pending;
                    h.confirmed = confirmed;
                    h.visible.version = version;
                    h.visible.fields = {std::byte{0xA0}};
                    h.visible.schema = schema;
                    REQUIRE(stored_records{}.put(*tx, k, h, nullptr));
                    CHECK(stored_records{}.find(*tx, k)->value() == h);
                }
            }
        }
    }
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
