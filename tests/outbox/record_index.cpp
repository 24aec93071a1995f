// SPDX-License-Identifier: BSL-1.0
#include <syncline/outbox/record_index.hpp>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include <syncline/core/random.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

#include "model.hpp"

using namespace outbox_tests;

TEST_CASE("record_index: holds what a multimap holds, in buckets that split and go", "[outbox]") {
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
        sl::memory_storage store;
        std::multimap<std::uint32_t, std::uint64_t> expected;
        sl::splitmix64 random(seed);
        // Few hashes, so that many are equal; many; and all of them at the upper end.
        std::uint32_t const spread = seed % 3 == 0 ? 7 : 0;
        auto const pick = [&]() -> std::uint32_t {
            auto const h = static_cast<std::uint32_t>(random());
            return spread != 0 ? h % spread * 0x20000000U : seed % 3 == 1 ? h : 0xFFFFFFFFU - h % 3000;
        };
        std::uint64_t token = 0;
        std::size_t largest = 0;
        for (int round = 0; round < 60; ++round) {
            auto tx = write(store);
            sl::detail::outbox_index index("o");
            bool const grow = round < 30;
            for (int i = 0; i < 60; ++i) {
                std::uint32_t const hash = !grow && !expected.empty()
                                               ? expected.lower_bound(pick()) == expected.end()
                                                     ? expected.begin()->first
                                                     : expected.lower_bound(pick() % 0xFFFF)->first
                                               : pick();
                REQUIRE(index.turn(tx, hash));
                std::size_t n = 0;
                std::size_t const first = index.first(hash);
                while (index.is(first + n, hash)) { ++n; }
                REQUIRE(n == expected.count(hash));
                if (grow ? random() % 8 != 0 : n == 0) {
                    index.insert({hash, ++token, false});
                    expected.emplace(hash, token);
                } else if (n != 0) {
                    auto const gone = index[first].token;
                    auto const range = expected.equal_range(hash);
                    auto at = range.first;
                    while (at != range.second && at->second != gone) { ++at; }
                    REQUIRE(at != range.second);
                    expected.erase(at);
                    index.erase(first);
                }
            }
            REQUIRE(index.flush(tx));
            std::multiset<std::pair<std::uint32_t, std::uint64_t>> stored;
            std::int64_t before = -1;
            REQUIRE(tx.scan({}, [&](bytes_view k, bytes_view v) {
                std::uint32_t const last = sl::detail::read_u32(k.last(4));
                REQUIRE(!v.empty());
                std::set<std::uint32_t> hashes;
                for (bytes_view rest = v; !rest.empty(); rest = rest.subspan(12)) {
                    std::uint32_t const hash = sl::detail::read_u32(rest);
                    REQUIRE(std::int64_t{hash} > before);
                    REQUIRE(hash <= last);
                    hashes.insert(hash);
                    stored.emplace(hash, sl::read_u64(rest.subspan(4)));
                }
                if (hashes.size() > 1) { largest = (std::max)(largest, v.size() / 12); }
                before = last;
                return true;
            }));
            REQUIRE(stored == std::multiset<std::pair<std::uint32_t, std::uint64_t>>(expected.begin(), expected.end()));
            REQUIRE(tx.commit());
        }
        if (spread == 0) { CHECK(largest <= 32); }
        CHECK(token > 1'000);
    }
}

TEST_CASE("record_index: thousands of records in an outbox keep their order, and leave no bucket behind", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    std::map<std::string, std::vector<std::uint64_t>> expected;
    sl::splitmix64 random(5);
    std::size_t waiting = 0;
    for (int round = 0; round < 40; ++round) {
        auto tx = write(store);
        std::vector<std::string> names;
        std::vector<sl::outbox_item> items;
        for (int i = 0; i < 100; ++i) { names.push_back("guest/" + std::to_string(random() % 3000)); }
        for (std::string const& n : names) { items.push_back({priority::normal, view(n), view(n)}); }
        auto const first = box.enqueue_all(tx, items, at(round));
        REQUIRE(first);
        for (std::size_t i = 0; i < items.size(); ++i) {
            expected[names[i]].push_back(outbox::token_after(*first, i, items[i]));
        }
        waiting += items.size();
        REQUIRE(tx.commit());
    }
    while (waiting != 0) {
        auto tx = write(store);
        auto const given = box.claim(tx, {.entries_max = 300}, at(100));
        REQUIRE(given);
        REQUIRE(!given->empty());
        for (outbox_entry const& e : *given) {
            auto& of_record = expected[text(e.record)];
            REQUIRE(of_record.front() == e.token);
            of_record.erase(of_record.begin());
        }
        REQUIRE(*box.ack_all(tx, *given) == given->size());
        waiting -= given->size();
        REQUIRE(tx.commit());
    }
    CHECK(raw(store).size() == 1);  // the counters
}
