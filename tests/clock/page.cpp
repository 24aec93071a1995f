// SPDX-License-Identifier: BSL-1.0
// What docs/clock.md quotes.

#include "support/catch.hpp"

#include <syncline/clock.hpp>
#include <syncline/storage/memory.hpp>

using namespace syncline;

TEST_CASE("the page of clock: stamps that rise across restarts", "[clock]") {
    memory_storage store;
    wall_time const now{milliseconds{1'790'000'000'000}};

    auto const stamp = [&]() -> result<timestamp> {
        // region: reserved
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        auto clock = reserved_clock::open(*tx, as_bytes("clock"));
        if (!clock) { return clock.error(); }
        auto const first = clock->now(*tx, now);  // writes a bound ten seconds ahead
        if (!first) { return first.error(); }
        if (auto ok = tx->commit(); !ok) { return ok.error(); }
        clock->committed();
        auto const second = clock->try_now(now);  // no storage, until the bound is reached
        // endregion: reserved
        return second ? result<timestamp>{*second} : result<timestamp>{errc::limit};
    };
    auto const before = stamp();
    auto const after = stamp();
    REQUIRE(before);
    REQUIRE(after);
    CHECK(*before < *after);
}

TEST_CASE("the page of clock: what they have that we lack", "[clock]") {
    // region: vector
    replica_id const anna{id128{}, 1};
    version_vector ours;
    version_vector theirs;
    ours.add(anna, {1, 4});    // her mutations 1 to 4
    theirs.add(anna, {1, 3});  // 1 to 3, and …
    theirs.add({anna, 6});     // … 6, which overtook 4 and 5
    version_vector const wanted = ours.missing(theirs);
    // endregion: vector
    CHECK(wanted.contains({anna, 6}));
    CHECK_FALSE(wanted.contains({anna, 3}));
    CHECK(theirs.low_water(anna) == 3);
}
