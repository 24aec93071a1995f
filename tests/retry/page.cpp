// SPDX-License-Identifier: BSL-1.0
// What docs/retry.md and docs/retry/ quote.

#include "support/catch.hpp"

#include <array>

#include <syncline/retry.hpp>
#include <syncline/transport.hpp>

using namespace syncline;

TEST_CASE("the page of retry: one policy for all that is sent to a peer") {
    monotonic_time now{std::chrono::hours{1}};  // the host's clock, read by the host
    syncline::random_generator dice(1);         // a program takes the system's entropy
    failure const why{errc::peer_failed};
    std::optional<milliseconds> const retry_after;
    bool sent = false;
    retry_decision decision;
    // region: policy
    retry_policy<> policy;
    decision = policy.begin(now);
    if (decision.action == retry_action::go) {
        // … the exchange …
        if (sent) {
            policy.succeeded(now);
        } else {
            decision = policy.failed({.why = why, .retry_after = retry_after}, now, dice);
        }
    }
    // decision.action: wait, for decision.wait; sign_in; give_up; resolve; shrink; park …
    // decision.part and decision.why: which part decided, and why
    // endregion: policy
    CHECK(decision.action == retry_action::wait);
    CHECK(decision.part == retry_part::backoff);
    // region: restart
    instant const before{wall_time{std::chrono::hours{500'000}}, now};
    auto const saved = to_array(policy, before);  // bytes, to be kept where the host keeps things

    instant const after{before.wall + std::chrono::minutes{3}, monotonic_time{}};  // another process
    retry_policy<> again;
    bool const good = again.restore(saved, after).has_value();
    // endregion: restart
    CHECK(good);
    CHECK(again.budget() == policy.budget());
}

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

TEST_CASE("the page of retry: what a failure is") {
    // region: classification
    failure_class const a = classify_http_status(429);                // throttled
    failure_class const b = classify(std::errc::connection_refused);  // transient
    failure_class const c = classify_sqlite(5);                       // SQLITE_BUSY: transient
    failure_class const d = classify(errc::identity_fork);            // unknown: it parks
    // endregion: classification
    CHECK(a == failure_class::throttled);
    CHECK(b == failure_class::transient);
    CHECK(c == failure_class::transient);
    CHECK(d == failure_class::unknown);
}

TEST_CASE("the page of retry: a budget") {
    syncline::random_generator dice(1);
    // region: budget
    retry_budget budget;                   // waits below its threshold
    budget.failed();                       // an attempt failed on the peer's side
    auto const soon = budget.retry(dice);  // zero: at once, or when backoff says
    budget.failed();
    auto const later = budget.retry(dice);  // four to six minutes
    budget.succeeded(true);                 // a tenth of a token back

    retry_budget like_grpc(grpc_retry_throttling(10, 100));  // refuses below half of 10 tokens
    retry_budget like_aws(aws_retry_quota());                // 500 tokens, 5 or 10 a retry
    // endregion: budget
    CHECK(soon == milliseconds{0});
    CHECK(later >= std::chrono::minutes{4});
    CHECK(like_grpc.retry(dice));
    CHECK(like_aws.retry(dice));
}

TEST_CASE("the page of retry: a breaker") {
    monotonic_time now{};
    // region: breaker
    circuit_breaker breaker({.calls_min = 2, .open_for = std::chrono::seconds{15}});
    breaker.failed(now);
    breaker.failed(now);                           // half of two failed: open
    breaker_answer const no = breaker.allow(now);  // not allowed, wait 15 s
    now += no.wait;
    breaker_answer const probe = breaker.allow(now);  // half open: one may pass
    breaker.succeeded(now);
    // endregion: breaker
    CHECK(!no.allowed);
    CHECK(no.wait == std::chrono::seconds{15});
    CHECK(probe.allowed);
}

TEST_CASE("the page of retry: limiters") {
    monotonic_time const now{};
    // region: limiter
    gcra requests({.count = 5, .per = std::chrono::seconds{1}, .burst = 2});
    auto const first = requests.take(now);   // zero: it may
    auto const second = requests.take(now);  // zero
    auto const third = requests.take(now);   // in 200 ms

    token_bucket kilobytes({.count = 100, .per = std::chrono::seconds{1}, .burst = 1000});
    auto const upload = kilobytes.take(now, 800);  // zero: 800 are taken
    // endregion: limiter
    CHECK(first == milliseconds{0});
    CHECK(second == milliseconds{0});
    CHECK(third == milliseconds{200});
    CHECK(upload == milliseconds{0});
}

TEST_CASE("the page of retry: concurrency") {
    // region: concurrency
    adaptive_concurrency<> uploads;                      // AIMD, from four on
    adaptive_concurrency<gradient_limit> round_trips{};  // or by the round trip
    if (uploads.begin()) {
        // … an upload …
        uploads.end(microseconds{40'000}, false);  // how long it took, and whether the peer dropped it
    }
    // endregion: concurrency
    CHECK(uploads.in_flight() == 0);
    CHECK(round_trips.begin());
}

TEST_CASE("the page of retry: hedging") {
    // region: hedge
    hedge_delay hedge;
    for (int i = 0; i < 100; ++i) { hedge.sampled(milliseconds{20 + i % 10}); }
    auto const delay = hedge.delay();  // after 95 of 100 answers would have come: 32 ms
    // endregion: hedge
    CHECK(delay == milliseconds{32});
}

TEST_CASE("the page of retry: deadlines") {
    monotonic_time const now{};
    // region: deadline
    deadline const mine = deadline::after(std::chrono::seconds{10}, now);
    deadline const theirs = mine.hand_on(milliseconds{300}, now);  // less what the way takes
    std::string const header = to_timeout(theirs.left(now));       // "9700m", for grpc-timeout
    auto const read = parse_timeout(header);                       // on the other side
    milliseconds const share = mine.share(3, now);                 // for one of three attempts
    // endregion: deadline
    CHECK(header == "9700m");
    CHECK(read == milliseconds{9700});
    CHECK(share == milliseconds{3333});
}

TEST_CASE("the page of retry: failover") {
    auto echo = [](bytes_view m) { return to_bytes(m); };
    loopback_transport paris(echo);
    loopback_transport oslo(echo);
    auto clock = [] { return monotonic_time{std::chrono::hours{1}}; };
    int answers = 0;
    auto count = [&](transport_reply const& r) { answers += r.message ? 1 : 0; };
    // region: failover
    std::array<transport_ref, 2> const ways{paris, oslo};  // any transports, also of different types
    failover_transport way(ways, clock);
    way.exchange(as_bytes("hello"), completion::to(count));  // the nearest that works
    // endregion: failover
    CHECK(answers == 1);
}
