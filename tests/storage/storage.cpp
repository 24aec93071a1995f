// SPDX-License-Identifier: BSL-1.0
#include <syncline/storage/storage.hpp>

#include <string>
#include <vector>

#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

namespace {

using namespace syncline;

TEST_CASE("the end of a prefix is the first key after all that begin with it") {
    CHECK(prefix_end(as_bytes("ab")) == to_bytes("ac"));
    CHECK(prefix_end({}).empty());
    bytes const full(3, std::byte{0xFF});
    CHECK(prefix_end(full).empty());
    bytes const carried{std::byte{1}, std::byte{0xFF}, std::byte{0xFF}};
    CHECK(prefix_end(carried) == bytes{std::byte{2}});
}

TEST_CASE("every short key is below the end of a prefix exactly when it begins with it or is smaller") {
    std::vector<std::byte> const alphabet{std::byte{0}, std::byte{1}, std::byte{0xFE}, std::byte{0xFF}};
    std::vector<bytes> words{{}};
    for (std::size_t i = 0; i < words.size() && words[i].size() < 3; ++i) {
        for (std::byte const b : alphabet) {
            bytes longer = words[i];
            longer.push_back(b);
            words.push_back(longer);
        }
    }
    int wrong = 0;
    for (bytes const& prefix : words) {
        bytes const end = prefix_end(prefix);
        for (bytes const& key : words) {
            bool const below = end.empty() || compare(key, end) < 0;
            bool const wanted = starts_with(key, prefix) || compare(key, prefix) < 0;
            wrong += below != wanted;
        }
    }
    CHECK(wrong == 0);
}

TEST_CASE("get tells the absent from the empty, and scan_prefix visits what begins with the prefix, in order") {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    REQUIRE(tx);
    for (char const* key : {"a", "b", "b1", "b\xFF", "c"}) { REQUIRE(tx->put(as_bytes(key), {})); }
    auto const empty = get(*tx, as_bytes("a"));
    REQUIRE(empty);
    REQUIRE(empty->has_value());
    CHECK((*empty)->empty());
    auto const absent = get(*tx, as_bytes("d"));
    REQUIRE(absent);
    CHECK_FALSE(absent->has_value());
    CHECK(get(*tx, {}).error() == errc::invalid);

    std::vector<std::string> seen;
    auto const visit = [&](bytes_view key, bytes_view) {
        seen.emplace_back(as_text(key));
        return true;
    };
    REQUIRE(scan_prefix(*tx, as_bytes("b"), visit));
    CHECK(seen == std::vector<std::string>{"b", "b1", "b\xFF"});
}

/// What a storage without a `view` of its own has.
struct plain_transaction {
    memory_storage::transaction& tx;
    result<bool> get(bytes_view key, bytes& out) { return tx.get(key, out); }
    status put(bytes_view key, bytes_view value) { return tx.put(key, value); }
    status erase(bytes_view key) { return tx.erase(key); }
    status scan(key_range range, scan_visitor visit) { return tx.scan(range, visit); }
};

TEST_CASE("view_value hands over what get would, with a view of the transaction's own and without") {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    REQUIRE(tx);
    REQUIRE(tx->put(as_bytes("a"), as_bytes("one")));
    REQUIRE(tx->put(as_bytes("b"), {}));
    plain_transaction plain{*tx};
    auto const check = [](auto& any) {
        std::vector<std::string> seen;
        auto const read = [&](bytes_view value) { seen.emplace_back(as_text(value)); };
        CHECK(*view_value(any, as_bytes("a"), read));
        CHECK(*view_value(any, as_bytes("b"), read));
        CHECK_FALSE(*view_value(any, as_bytes("c"), read));
        CHECK(view_value(any, {}, read).error() == errc::invalid);
        CHECK(seen == std::vector<std::string>{"one", ""});
    };
    check(*tx);
    check(plain);
}

}  // namespace
