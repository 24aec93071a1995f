// SPDX-License-Identifier: BSL-1.0
#include <syncline/storage/memory.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/sanitized.hpp"

using namespace syncline;

namespace {

using model = std::map<std::string, std::string>;

/// splitmix64: the same numbers from the same seed on every machine.
struct generator {
    std::uint64_t state;
    std::uint64_t operator()() {
        std::uint64_t z = (state += 0x9E3779B97F4A7C15U);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        return z ^ (z >> 31);
    }
    std::size_t below(std::size_t n) { return static_cast<std::size_t>((*this)() % n); }
};

template <class T>
model content(T& tx, key_range range = {}) {
    model m;
    std::string last;
    REQUIRE(tx.scan(range, [&](bytes_view k, bytes_view v) {
        std::string key{as_text(k)};
        REQUIRE((m.empty() || last < key));
        last = key;
        m.emplace(std::move(key), std::string{as_text(v)});
        return true;
    }));
    return m;
}
model content(memory_snapshot const& s) {
    model m;
    s.scan({}, [&](bytes_view k, bytes_view v) { return m.emplace(std::string{as_text(k)}, as_text(v)).second; });
    return m;
}

std::string number(std::size_t n) {
    std::string text = std::to_string(n);
    return std::string(8 - text.size(), '0') + text;
}

}  // namespace

TEST_CASE("memory_storage: what is put is read, in order, and what is not committed is gone", "[storage]") {
    memory_storage s;
    {
        auto tx = s.begin(access_mode::write);
        REQUIRE(tx);
        REQUIRE(tx->put(as_bytes("b"), as_bytes("2")));
        REQUIRE(tx->put(as_bytes("a"), as_bytes("1")));
        REQUIRE(tx->put(as_bytes("a"), as_bytes("")));
        REQUIRE(content(*tx) == model{{"a", ""}, {"b", "2"}});
        REQUIRE(tx->commit());
    }
    {
        auto tx = s.begin(access_mode::write);
        REQUIRE(tx->erase(as_bytes("a")));
        REQUIRE(tx->erase(as_bytes("absent")));
        REQUIRE(tx->put(as_bytes("b"), as_bytes("3")));
        REQUIRE(tx->put(as_bytes("c"), as_bytes("4")));
        bytes out = to_bytes("left over");
        REQUIRE(!*tx->get(as_bytes("a"), out));
        REQUIRE(out.empty());
        REQUIRE(*tx->get(as_bytes("b"), out));
        REQUIRE(as_text(out) == "3");
    }
    REQUIRE(content(s.snapshot()) == model{{"a", ""}, {"b", "2"}});
    REQUIRE(s.store().size_bytes() == 3);
}

TEST_CASE("memory_storage: a reader keeps its state, a second writer waits, one handle has one transaction",
          "[storage]") {
    memory_store store;
    memory_storage a(store);
    memory_storage b(store);
    memory_storage c(store);
    auto writer = a.begin(access_mode::write);
    REQUIRE(writer->put(as_bytes("k"), as_bytes("old")));
    REQUIRE(writer->commit());

    auto before = b.begin(access_mode::read);
    writer = a.begin(access_mode::write);
    REQUIRE(a.begin(access_mode::read).error() == errc::busy);
    REQUIRE(c.begin(access_mode::write).error() == errc::busy);
    REQUIRE(writer->put(as_bytes("k"), as_bytes("new")));
    REQUIRE(writer->put(as_bytes("l"), as_bytes("new")));
    auto during = c.begin(access_mode::read);
    REQUIRE(writer->commit());
    for (auto* reader : {&before, &during}) {
        REQUIRE(content(**reader) == model{{"k", "old"}});
        REQUIRE((*reader)->put(as_bytes("k"), {}).error() == errc::read_only);
        REQUIRE((*reader)->erase(as_bytes("k")).error() == errc::read_only);
        REQUIRE((*reader)->commit());
    }
    REQUIRE(content(store.snapshot()) == model{{"k", "new"}, {"l", "new"}});
}

TEST_CASE("memory_storage: refuses what is out of range and goes on", "[storage]") {
    memory_storage s(memory_options{.bytes_max = 600});
    auto tx = s.begin(access_mode::write);
    bytes const longest(key_bytes_max, std::byte{7});
    bytes const too_long(key_bytes_max + 1, std::byte{7});
    bytes out;
    REQUIRE(tx->put({}, {}).error() == errc::invalid);
    REQUIRE(tx->put(too_long, {}).error() == errc::invalid);
    REQUIRE(tx->erase({}).error() == errc::invalid);
    REQUIRE(tx->get(too_long, out).error() == errc::invalid);
    REQUIRE(tx->put(longest, as_bytes("v")));
    SECTION("a full store") {
        REQUIRE(tx->put(as_bytes("k"), bytes(88)).error() == errc::storage_full);
        REQUIRE(tx->put(as_bytes("k"), bytes(87)));
        REQUIRE(tx->put(as_bytes("l"), {}).error() == errc::storage_full);
        REQUIRE(tx->put(as_bytes("k"), bytes(80)));
        REQUIRE(tx->put(as_bytes("l"), {}));
        REQUIRE(tx->commit());
        s.store().bytes_max(10);
        tx = s.begin(access_mode::write);
        REQUIRE(tx->put(as_bytes("m"), {}).error() == errc::storage_full);
        REQUIRE(tx->erase(longest));
        REQUIRE(tx->commit());
        REQUIRE(s.store().size_bytes() == 82);
    }
    SECTION("a value over the limit") {
        REQUIRE(tx->put(as_bytes("k"), bytes(value_bytes_min_max + 1)).error() == errc::limit);
        REQUIRE(content(*tx).size() == 1);
    }
}

TEST_CASE("memory_storage: a snapshot is a value that can be put back", "[storage]") {
    memory_storage s;
    auto tx = s.begin(access_mode::write);
    REQUIRE(tx->put(as_bytes("a"), as_bytes("1")));
    REQUIRE(tx->commit());
    memory_snapshot const first = s.snapshot();
    tx = s.begin(access_mode::write);
    REQUIRE(tx->put(as_bytes("b"), as_bytes("2")));
    REQUIRE(s.snapshot() == first);  // what is not committed is not in it
    REQUIRE(tx->commit());
    REQUIRE(!(s.snapshot() == first));
    memory_storage other;
    other.restore(s.snapshot());
    s.restore(first);
    REQUIRE(s.snapshot() == first);
    REQUIRE(other.snapshot().count() == 2);
}

TEST_CASE("memory_storage: agrees with a map through random transactions, readers and snapshots", "[storage]") {
    for (std::uint64_t seed = 1; seed <= rounds(12U); ++seed) {
        generator random{seed};
        std::size_t const span = seed % 3 == 0 ? 40 : 6000;  // few keys: rewrites; many: splits and joins
        memory_store store;
        memory_storage writer(store);
        memory_storage reader(store);
        model truth;
        for (int round = 0; round < 60; ++round) {
            model draft = truth;
            model const seen = truth;
            auto early = random.below(2) == 0 ? reader.begin(access_mode::read)
                                              : result<memory_storage::transaction>(errc::busy);
            memory_snapshot const kept = store.snapshot();
            auto tx = writer.begin(access_mode::write);
            std::size_t const writes = random.below(4) == 0 ? 1500 : random.below(60);
            bool const erasing = random.below(3) == 0;
            std::size_t next = random.below(span);
            bool const ascending = random.below(3) == 0;
            for (std::size_t i = 0; i < writes; ++i) {
                std::string const key = number(ascending ? next++ : random.below(span));
                if (random.below(4) == 0 || erasing) {
                    REQUIRE(tx->erase(as_bytes(key)));
                    draft.erase(key);
                } else {
                    std::string const value(random.below(9), static_cast<char>('a' + random.below(26)));
                    REQUIRE(tx->put(as_bytes(key), as_bytes(value)));
                    draft[key] = value;
                }
            }
            REQUIRE(content(*tx) == draft);
            std::string const from = number(random.below(span));
            std::string const to = number(random.below(span));
            model const part = content(*tx, {as_bytes(from), as_bytes(to)});
            model const expected = from < to ? model(draft.lower_bound(from), draft.lower_bound(to)) : model{};
            REQUIRE(part == expected);
            for (int i = 0; i < 20; ++i) {
                std::string const key = number(random.below(span));
                bytes out;
                auto const found = tx->get(as_bytes(key), out);
                REQUIRE(*found == (draft.count(key) != 0));
                if (*found) { REQUIRE(as_text(out) == draft[key]); }
            }
            REQUIRE(content(store.snapshot()) == truth);
            if (random.below(3) != 0) {
                REQUIRE(tx->commit());
                truth = draft;
            } else {
                tx = errc::busy;  // rolled back
            }
            if (early) { REQUIRE(content(*early) == seen); }
            REQUIRE(content(kept) == seen);
            REQUIRE(content(store.snapshot()) == truth);
            std::size_t bytes_held = 0;
            for (auto const& [k, v] : truth) { bytes_held += k.size() + v.size(); }
            REQUIRE(store.size_bytes() == bytes_held);
            REQUIRE(store.count() == truth.size());
        }
        auto tx = writer.begin(access_mode::write);
        for (auto const& [k, v] : truth) { REQUIRE(tx->erase(as_bytes(k))); }
        REQUIRE(tx->commit());
        REQUIRE(store.count() == 0);
        REQUIRE(store.size_bytes() == 0);
    }
}

TEST_CASE("memory_storage: a hundred thousand keys, in order and back", "[storage]") {
    memory_storage s;
    auto tx = s.begin(access_mode::write);
    for (std::size_t i = 0; i < 100'000; ++i) { REQUIRE(tx->put(as_bytes(number(i)), as_bytes("v"))); }
    REQUIRE(tx->commit());
    std::size_t n = 0;
    s.snapshot().scan({}, [&](bytes_view k, bytes_view) { return as_text(k) == number(n++); });
    REQUIRE(n == 100'000);
    tx = s.begin(access_mode::write);
    for (std::size_t i = 100'000; i != 0; --i) { REQUIRE(tx->erase(as_bytes(number(i - 1)))); }
    REQUIRE(s.store().count() == 0);
    tx = errc::busy;
    REQUIRE(s.store().count() == 100'000);
}

TEST_CASE("memory_storage: a visitor reads and scans through the same transaction", "[storage]") {
    memory_storage s;
    auto tx = s.begin(access_mode::write);
    for (char c = 'a'; c < 'e'; ++c) { REQUIRE(tx->put(as_bytes(std::string(1, c)), as_bytes("v"))); }
    std::size_t inner = 0;
    std::size_t outer = 0;
    REQUIRE(tx->scan({}, [&](bytes_view k, bytes_view) {
        bytes out;
        REQUIRE(*tx->get(k, out));
        REQUIRE(tx->scan({k, {}}, [&](bytes_view, bytes_view) { return ++inner < 100; }));
        return ++outer < 3;
    }));
    REQUIRE(outer == 3);
    REQUIRE(inner == 4 + 3 + 2);
}

static_assert(!std::is_copy_constructible_v<memory_storage> && !std::is_move_constructible_v<memory_storage>);
static_assert(std::is_nothrow_move_constructible_v<memory_storage::transaction>);
static_assert(std::is_copy_constructible_v<memory_snapshot>);
