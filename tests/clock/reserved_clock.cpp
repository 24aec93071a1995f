// SPDX-License-Identifier: BSL-1.0

/// The reserving clock: monotonic through restarts, rollbacks, failures and clocks set back, at few writes.

#include <syncline/clock/reserved_clock.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include <syncline/core/random.hpp>
#include <syncline/storage/archetype.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

namespace sl = syncline;
using sl::milliseconds;
using sl::timestamp;
using sl::wall_time;

namespace {

static_assert(std::regular<sl::reserved_clock_options>);

constexpr wall_time at(std::int64_t ms) { return wall_time{milliseconds{ms}}; }
constexpr std::int64_t today = 1'750'000'000'000;
sl::bytes const key = sl::to_bytes("clock");

/// A transaction that counts writes and fails its n-th call.
struct counting {
    sl::memory_storage::transaction tx;
    int* puts;
    int* fuse;  ///< calls until failure; negative is never

    sl::result<bool> get(sl::bytes_view k, sl::bytes& out) {
        if (blown()) { return sl::errc::storage_io; }
        return tx.get(k, out);
    }
    sl::status put(sl::bytes_view k, sl::bytes_view v) {
        if (blown()) { return sl::errc::storage_io; }
        ++*puts;
        return tx.put(k, v);
    }
    sl::status erase(sl::bytes_view k) { return tx.erase(k); }
    sl::status scan(sl::key_range r, sl::scan_visitor v) { return tx.scan(r, v); }
    bool blown() const { return *fuse >= 0 && (*fuse)-- == 0; }
};
static_assert(sl::storage_transaction<counting>);

struct world {
    sl::memory_storage store;
    int puts = 0;
    int fuse = -1;

    counting begin() { return {std::move(*store.begin(sl::access_mode::write)), &puts, &fuse}; }
    sl::reserved_clock open(sl::reserved_clock_options o = {}) {
        auto tx = begin();
        auto c = sl::reserved_clock::open(tx, key, o);
        REQUIRE(c);
        return std::move(*c);
    }
    timestamp bound() {
        auto tx = begin();
        sl::bytes out;
        auto const found = tx.get(key, out);
        REQUIRE(found);
        if (!*found) { return {}; }
        auto const t = sl::timestamp_from(out);
        REQUIRE(t);
        return *t;
    }
    timestamp now(sl::reserved_clock& c, std::int64_t ms) {
        if (auto const t = c.try_now(at(ms))) { return *t; }
        auto tx = begin();
        auto const t = c.now(tx, at(ms));
        REQUIRE(t);
        REQUIRE(tx.tx.commit());
        c.committed();
        return *t;
    }
};

}  // namespace

TEST_CASE("One write serves ten seconds of stamps", "[clock]") {
    world w;
    auto c = w.open();
    timestamp before{};
    for (std::int64_t ms = 0; ms < 60'000; ms += 5) {
        auto const t = w.now(c, today + ms);
        REQUIRE(t > before);
        REQUIRE(t == timestamp::make(at(today + ms)));
        before = t;
    }
    CHECK(w.puts == 6);
}

TEST_CASE("A restart under a clock set back goes on above everything issued", "[clock]") {
    world w;
    timestamp before{};
    {
        auto c = w.open();
        for (int i = 0; i < 10; ++i) { before = w.now(c, today + i); }
    }
    auto c = w.open();
    CHECK(c.last() >= before);
    auto const t = w.now(c, 0);
    CHECK(t > before);
    CHECK(w.now(c, 0) > t);
}

TEST_CASE("A loop of crashes does not walk the clock into the future", "[clock]") {
    world w;
    timestamp before{};
    for (int i = 0; i < 500; ++i) {
        auto c = w.open();
        auto const t = w.now(c, today);
        REQUIRE(t > before);
        before = t;
    }
    CHECK(before.time() <= at(today + 10'000 + 500));
    CHECK(w.puts == 500);
}

TEST_CASE("Under a stuck clock one write serves 65,536 stamps", "[clock]") {
    world w;
    {
        auto c = w.open();
        (void)w.now(c, today);
    }
    auto c = w.open();
    w.puts = 0;
    for (int i = 0; i < 65'536; ++i) { (void)w.now(c, 0); }
    CHECK(w.puts == 1);
    (void)w.now(c, 0);
    CHECK(w.puts == 2);
}

TEST_CASE("A rolled-back reservation is not relied on", "[clock]") {
    world w;
    auto c = w.open();
    {
        auto tx = w.begin();
        REQUIRE(c.now(tx, at(today)));
    }
    CHECK(w.bound() == timestamp{});
    CHECK(!c.try_now(at(today)));
    auto const t = w.now(c, today);
    CHECK(w.bound() >= t);
}

TEST_CASE("Forgetting to say committed costs reads, not stamps", "[clock]") {
    world w;
    auto c = w.open();
    timestamp before{};
    for (int i = 0; i < 100; ++i) {
        auto tx = w.begin();
        auto const t = c.now(tx, at(today));
        REQUIRE(t);
        REQUIRE(*t > before);
        before = *t;
        REQUIRE(tx.tx.commit());
    }
    CHECK(w.puts == 1);
}

TEST_CASE("What was accepted is exceeded after a restart", "[clock]") {
    world w;
    auto const remote = timestamp::make(at(today + 200'000), 5);
    {
        auto c = w.open();
        auto tx = w.begin();
        REQUIRE(c.accept(tx, remote, at(today)));
        REQUIRE(tx.tx.commit());
        c.committed();
        CHECK(c.last() == remote);
    }
    auto c = w.open();
    CHECK(w.now(c, today) > remote);
}

TEST_CASE("A stamp too far ahead is refused without a look at storage", "[clock]") {
    world w;
    auto c = w.open();
    w.fuse = 0;
    auto tx = w.begin();
    CHECK(c.accept(tx, timestamp::make(at(today + 300'001)), at(today)).error() == sl::errc::stamp_too_far);
    CHECK(c.last() == timestamp{});
    CHECK(w.fuse == 0);
}

TEST_CASE("A stored bound of another size is corrupt", "[clock]") {
    world w;
    auto tx = w.begin();
    REQUIRE(tx.put(key, sl::bytes(7)));
    CHECK(sl::reserved_clock::open(tx, key).error() == sl::errc::corrupt);
}

TEST_CASE("A clock that finds another's bound goes above it", "[clock]") {
    world w;
    sl::reserved_clock_options const options{.reserve = milliseconds{0}};
    auto a = w.open(options);
    auto const first = w.now(a, today);
    auto b = w.open(options);
    auto const second = w.now(b, today);
    CHECK(second > a.bound());
    CHECK(second > first);
    while (auto const t = a.try_now(at(today))) { REQUIRE(*t < second); }  // a's own reservation lies below b's
    auto const third = w.now(a, today);
    CHECK(third > b.bound());
    CHECK(w.bound() >= third);
}

TEST_CASE("If the n-th call on storage fails, nothing changed and the next attempt works", "[clock]") {
    for (int n = 0; n < 2; ++n) {
        world w;
        auto c = w.open();
        auto const before = w.now(c, today);
        auto const bound = c.bound();
        {
            auto tx = w.begin();
            w.fuse = n;
            CHECK(c.now(tx, at(today + 50'000)).error() == sl::errc::storage_io);
            CHECK(c.last() == before);
            CHECK(c.bound() == bound);
            w.fuse = n;
            CHECK(c.accept(tx, timestamp::make(at(today + 50'000)), at(today)).error() == sl::errc::storage_io);
            CHECK(c.last() == before);
            w.fuse = -1;
        }
        CHECK(c.try_now(at(today)).has_value());
        CHECK(w.now(c, today + 50'000) == timestamp::make(at(today + 50'000)));
    }
}

TEST_CASE("Whatever happens, committed stamps rise and stay under the committed bound", "[clock]") {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
        sl::random_generator g(seed);
        world w;
        std::optional<sl::reserved_clock> c(w.open());
        timestamp before{};  // the greatest that left the process
        std::int64_t physical = today;
        for (int i = 0; i < 400; ++i) {
            switch (sl::below(g, 8)) {
                case 0: physical = today + static_cast<std::int64_t>(sl::below(g, 100'000)); break;
                case 1: physical = sl::below(g, 4) == 0 ? 0 : physical + 3000; break;
                case 2: c.emplace(w.open()); break;
                case 3:
                    if (auto const t = c->try_now(at(physical))) {
                        REQUIRE(*t > before);
                        before = *t;
                    }
                    break;
                default: {
                    auto tx = w.begin();
                    timestamp highest = before;
                    bool succeeded = false;
                    auto const calls = sl::below(g, 5);
                    for (std::uint64_t k = 0; k < calls; ++k) {
                        if (sl::below(g, 3) == 0) {
                            auto const remote =
                                timestamp::make(at(physical + static_cast<std::int64_t>(sl::below(g, 400'000))), 9);
                            if (c->accept(tx, remote, at(physical))) {
                                highest = (std::max)(highest, remote);
                                succeeded = true;
                            }
                        } else {
                            auto const t = c->now(tx, at(physical));
                            REQUIRE(t);
                            REQUIRE(*t > highest);
                            highest = *t;
                            succeeded = true;
                        }
                    }
                    if (sl::below(g, 3) == 0) { break; }  // rolled back
                    REQUIRE(tx.tx.commit());
                    before = highest;
                    if (succeeded && sl::below(g, 2) == 0) { c->committed(); }
                }
            }
            REQUIRE(w.bound() >= before);
        }
    }
}
