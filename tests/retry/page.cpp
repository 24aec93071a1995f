// SPDX-License-Identifier: BSL-1.0
// What docs/retry.md quotes.

#include "support/catch.hpp"

#include <syncline/retry.hpp>

using namespace syncline;

TEST_CASE("the page of retry: waits that double, are capped, then jittered") {
    // region: backoff
    syncline::random_generator dice(1);                               // a program takes the system's entropy
    backoff<> patience({.base = milliseconds{200}});                  // full jitter, a minute at most, for ever
    auto const first = patience.next(dice);                           // in 0 … 200 ms
    auto const second = patience.next(dice);                          // in 0 … 400 ms
    auto const told = patience.next(dice, std::chrono::seconds{10});  // the server said 10 s: 10 s … 10.8 s
    patience.reset();                                                 // after a success
    // endregion: backoff
    REQUIRE(first);
    REQUIRE(second);
    REQUIRE(told);
    CHECK(*first <= milliseconds{200});
    CHECK(*second <= milliseconds{400});
    CHECK(*told >= std::chrono::seconds{10});
    CHECK(*told <= milliseconds{10'800});
    CHECK(patience.attempts() == 0);
}
