// SPDX-License-Identifier: BSL-1.0
#include <syncline/storage/checksummed.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <syncline/storage/memory.hpp>
#include <syncline/testing/storage_conformance.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

constexpr memory_options roomy{0, value_bytes_min_max + storage_checksum_bytes};

/// A memory store and the check around it, in one object.
class checksummed_memory {
public:
    using transaction = checksummed_storage<memory_storage>::transaction;
    explicit checksummed_memory(memory_options const& o) : inner_(o) {}
    explicit checksummed_memory(memory_store& shared) : inner_(shared) {}
    checksummed_memory(checksummed_memory const&) = delete;
    checksummed_memory& operator=(checksummed_memory const&) = delete;
    result<transaction> begin(access_mode a) { return outer_.begin(a); }
    status barrier() { return outer_.barrier(); }
    durability commit_durability() const { return outer_.commit_durability(); }
    std::size_t value_bytes_max() const { return outer_.value_bytes_max(); }

private:
    memory_storage inner_;
    checksummed_storage<memory_storage> outer_{inner_};
};

void put(auto& store, std::string_view key, bytes_view value) {
    auto tx = store.begin(access_mode::write);
    REQUIRE(tx);
    REQUIRE(tx->put(as_bytes(key), value));
    REQUIRE(tx->commit());
}
result<std::optional<bytes>> read(auto& store, std::string_view key) {
    auto tx = store.begin(access_mode::read);
    REQUIRE(tx);
    return get(*tx, as_bytes(key));
}

}  // namespace

TEST_CASE("checksummed storage: is a storage", "[storage]") {
    static_assert(storage<checksummed_storage<memory_storage>>);
    testing::storage_factory<checksummed_memory> factory;
    memory_store shared{roomy};
    factory.fresh = [&] {
        shared.restore(memory_store{roomy}.snapshot());
        return std::make_unique<checksummed_memory>(shared);
    };
    factory.another = [&] { return std::make_unique<checksummed_memory>(shared); };
    auto const broken = testing::certify_storage(factory);
    for (auto const& b : broken) { INFO(b.axiom << ": " << b.what); }
    REQUIRE(broken.empty());
}

TEST_CASE("checksummed storage: each flipped bit and each cut is noticed", "[storage]") {
    memory_storage inner{roomy};
    checksummed_storage store{inner};
    bytes const value = to_bytes("what was written");
    put(store, "k", value);
    auto const stored = read(inner, "k");
    REQUIRE(stored->has_value());
    REQUIRE((*stored)->size() == value.size() + storage_checksum_bytes);
    for (std::size_t bit = 0; bit < (*stored)->size() * 8; ++bit) {
        bytes rotten = **stored;
        rotten[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        put(inner, "k", rotten);
        REQUIRE(read(store, "k").error() == errc::corrupt);
    }
    for (std::size_t n = 0; n < (*stored)->size(); ++n) {
        put(inner, "k", bytes_view{**stored}.first(n));
        REQUIRE(read(store, "k").error() == errc::corrupt);
    }
    put(inner, "k", **stored);
    REQUIRE(*read(store, "k") == value);
}

TEST_CASE("checksummed storage: what stands under another key is noticed", "[storage]") {
    memory_storage inner{roomy};
    checksummed_storage store{inner};
    put(store, "ab", as_bytes("cd"));
    put(store, "x", as_bytes("y"));
    bytes const stray = **read(inner, "ab");
    put(inner, "x", stray);
    REQUIRE(read(store, "x").error() == errc::corrupt);
    // Nor does a byte move from the key to the value.
    put(inner, "a", [&] {
        bytes moved = to_bytes("b");
        append(moved, stray);
        return moved;
    }());
    REQUIRE(read(store, "a").error() == errc::corrupt);
    REQUIRE(*read(store, "ab") == to_bytes("cd"));
}

TEST_CASE("checksummed storage: a scan ends at the damaged value, and the transaction goes on", "[storage]") {
    memory_storage inner{roomy};
    checksummed_storage store{inner};
    for (char const* k : {"a", "b", "c"}) { put(store, k, as_bytes(k)); }
    put(inner, "b", as_bytes("rotten"));
    auto tx = store.begin(access_mode::write);
    std::vector<std::string> seen;
    auto const see = [&](bytes_view k, bytes_view v) {
        REQUIRE(equal(k, v));
        seen.emplace_back(as_text(k));
        return true;
    };
    REQUIRE(tx->scan({}, see).error() == errc::corrupt);
    REQUIRE(seen == std::vector<std::string>{"a"});
    bytes out = to_bytes("left");
    REQUIRE(tx->get(as_bytes("b"), out).error() == errc::corrupt);
    REQUIRE(out.empty());
    // One that the visitor ended before the damage is none.
    REQUIRE(tx->scan({}, [](bytes_view, bytes_view) { return false; }));
    REQUIRE(tx->put(as_bytes("b"), as_bytes("b")));
    seen.clear();
    REQUIRE(tx->scan({}, see));
    REQUIRE(seen == std::vector<std::string>{"a", "b", "c"});
    REQUIRE(tx->erase(as_bytes("b")));
    REQUIRE(tx->commit());
    REQUIRE(!*read(store, "b"));
}

TEST_CASE("checksummed storage: the longest value is four bytes shorter", "[storage]") {
    memory_storage inner{roomy};
    checksummed_storage store{inner};
    REQUIRE(store.value_bytes_max() == value_bytes_min_max);
    auto tx = store.begin(access_mode::write);
    bytes const longest(value_bytes_min_max, std::byte{1});
    REQUIRE(tx->put(as_bytes("k"), longest));
    bytes const longer(value_bytes_min_max + 1, std::byte{1});
    REQUIRE(tx->put(as_bytes("k"), longer).error() == errc::limit);
    REQUIRE(*tx->get(as_bytes("k"), *std::make_unique<bytes>()));
}
