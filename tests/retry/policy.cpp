// SPDX-License-Identifier: BSL-1.0

/// The composed policy: what it decides, which part says so, against a naive composition, and across restarts.

#include <syncline/retry/policy.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

using enum retry_action;

constexpr milliseconds ms(std::int64_t n) { return milliseconds{n}; }
constexpr monotonic_time at(std::int64_t n) { return monotonic_time{ms(n)}; }
constexpr instant both(std::int64_t wall, std::int64_t monotonic) { return {wall_time{ms(wall)}, at(monotonic)}; }

static_assert(std::regular<retry_policy<>> && valid(retry_policy_options{}));
static_assert(!valid(retry_policy_options{.backoff = {.base = ms(0)}}));
static_assert(!valid(retry_policy_options{.budget = {.capacity = 0}}));
static_assert(!valid(retry_policy_options{.breaker = {.calls_min = 0}}));
static_assert(!valid(retry_policy_options{.hedge = {.samples_min = 0}}));
static_assert(sizeof(retry_policy<>) <= 640);
// There is nothing in them that could allocate.
static_assert(std::is_trivially_copyable_v<retry_policy<>> && std::is_trivially_destructible_v<retry_policy<>>);
static_assert(std::is_trivially_copyable_v<retry_policy<decorrelated_jitter, gcra, gradient_limit>>);

constexpr bool decides_at_compile_time() {
    retry_policy<no_jitter> p;
    random_generator g(1);
    if (p.begin(at(0)).action != go) { return false; }
    auto const d = p.failed({.why = errc::peer_failed}, at(10), g);
    return d.action == wait && d.wait == ms(200) && d.part == retry_part::backoff;
}
static_assert(decides_at_compile_time());

}  // namespace

TEST_CASE("each class of failure has its action, and only what may pass is waited for") {
    struct row {
        failure why;
        retry_action action;
        retry_part part;
    };
    random_generator g(1);
    for (row const& r :
         {row{errc::timed_out, wait, retry_part::backoff}, row{errc::unreachable, wait, retry_part::backoff},
          row{errc::throttled, wait, retry_part::backoff}, row{errc::unauthorised, sign_in, retry_part::classification},
          row{errc::rejected, give_up, retry_part::classification},
          row{failure{errc::peer_failed, "", 409}, resolve, retry_part::classification},
          row{errc::too_large, shrink, retry_part::classification},
          row{errc::identity_fork, park, retry_part::classification},
          row{static_cast<errc>(200), park, retry_part::classification}}) {
        retry_policy<> p;
        REQUIRE(p.begin(at(0)).action == go);
        auto const d = p.failed({.why = r.why}, at(100), g);
        INFO(message(r.why.code));
        CHECK(d.action == r.action);
        CHECK(d.part == r.part);
        CHECK(std::string(d.why) != "");
        CHECK((d.action == wait || d.wait == ms(0)));
        CHECK(p.concurrency().in_flight() == 0);
    }
}

TEST_CASE("the part with the larger share of the wait is named") {
    random_generator g(2);
    retry_policy<no_jitter> p({.backoff = {.base = ms(1000), .cap = ms(4000)}});
    auto d = p.failed({.why = errc::unreachable, .retry_after = ms(500)}, at(0), g);
    CHECK(d == retry_decision{wait, ms(1500), retry_part::backoff, ""});
    d = p.failed({.why = errc::unreachable, .retry_after = ms(60'000)}, at(0), g);
    CHECK(d == retry_decision{wait, ms(62'000), retry_part::hint, ""});
    d = p.failed({.why = errc::unreachable, .retry_after = milliseconds::max()}, at(0), g);
    CHECK(d == retry_decision{wait, ms(904'000), retry_part::hint, ""});  // clamped to a quarter of an hour
    d = p.failed({.why = errc::unreachable, .retry_after = milliseconds::min()}, at(0), g);
    CHECK(d == retry_decision{wait, ms(4000), retry_part::backoff, ""});
    d = p.failed({.why = errc::unreachable, .attempts = 9, .until = deadline::after(ms(3999), at(0))}, at(0), g);
    CHECK(d == retry_decision{expire, {}, retry_part::deadline, ""});
}

TEST_CASE("the second failure in a row waits for the budget; an unreachable peer was no load") {
    random_generator g(3);
    retry_policy<> p;
    CHECK(p.failed({.why = errc::peer_failed}, at(0), g).part == retry_part::backoff);
    auto const d = p.failed({.why = errc::peer_failed}, at(0), g);
    CHECK(d.part == retry_part::budget);
    CHECK(d.wait >= ms(240'000));
    CHECK(d.wait <= ms(362'000));
    retry_policy<> q({.breaker = {.calls_min = 1000}});
    for (int i = 0; i < 50; ++i) { CHECK(q.failed({.why = errc::unreachable}, at(0), g).part == retry_part::backoff); }
    retry_policy<> refusing({.budget = grpc_retry_throttling(2)});
    CHECK(refusing.failed({.why = errc::peer_failed}, at(0), g) == retry_decision{give_up, {}, retry_part::budget, ""});
}

TEST_CASE("attempts end, the breaker opens, the rate and the concurrency hold") {
    random_generator g(4);
    retry_policy<> p({.backoff = {.attempts_max = 3}});
    CHECK(p.failed({.why = errc::unreachable, .attempts = 2}, at(0), g).action == wait);
    CHECK(p.failed({.why = errc::unreachable, .attempts = 3}, at(0), g) ==
          retry_decision{give_up, {}, retry_part::attempts, ""});

    retry_policy<no_jitter> q({.backoff = {.base = ms(1)}, .breaker = {.calls_min = 2, .open_for = ms(5000)}});
    (void)q.failed({.why = errc::unreachable}, at(0), g);
    CHECK(q.failed({.why = errc::unreachable}, at(0), g) == retry_decision{wait, ms(5002), retry_part::breaker, ""});
    CHECK(q.begin(at(1000)) == retry_decision{wait, ms(4000), retry_part::breaker, ""});
    CHECK(q.begin(at(1000), deadline::after(ms(3000), at(1000))).action == expire);
    CHECK(q.begin(at(5000)).action == go);  // a probe
    CHECK(q.begin(at(5000)).part == retry_part::breaker);

    retry_policy<full_jitter, gcra, aimd_limit> r({}, gcra({.count = 1, .per = ms(100), .burst = 2}),
                                                  aimd_limit({.initial = 1}));
    CHECK(r.begin(at(0)).action == go);
    CHECK(r.begin(at(0)) == retry_decision{hold, {}, retry_part::concurrency, ""});
    r.succeeded(at(1));
    CHECK(r.begin(at(1)).action == go);
    r.cancelled(at(2));
    CHECK(r.begin(at(2)) == retry_decision{wait, ms(98), retry_part::limiter, ""});
    CHECK(r.concurrency().in_flight() == 0);  // what was not let go is not under way
    CHECK(r.begin(at(100)).action == go);
    CHECK(r.begin(at(100), deadline(at(100))) == retry_decision{expire, {}, retry_part::deadline, ""});
}

TEST_CASE("a probe that the rate holds back does not take the breaker's place") {
    random_generator g(5);
    retry_policy<full_jitter, gcra> p({.breaker = {.calls_min = 1, .open_for = ms(10)}},
                                      gcra({.count = 1, .per = ms(1000), .burst = 1}));
    CHECK(p.begin(at(0)).action == go);
    (void)p.failed({.why = errc::unreachable}, at(0), g);
    CHECK(p.begin(at(20)).part == retry_part::limiter);
    CHECK(p.begin(at(1000)).action == go);
}

TEST_CASE("a hedge is sent only while the peer is well") {
    random_generator g(6);
    retry_policy<> p;
    for (int i = 0; i < 30; ++i) { p.succeeded(at(i), microseconds{40'000}); }
    REQUIRE(p.hedge_after(at(50)));
    CHECK(*p.hedge_after(at(50)) >= ms(40));
    CHECK(*p.hedge_after(at(50)) <= ms(50));
    (void)p.failed({.why = errc::peer_failed}, at(60), g);
    (void)p.failed({.why = errc::peer_failed}, at(60), g);
    CHECK(!p.hedge_after(at(60)));
}

TEST_CASE("the policy decides as its parts do when they are asked one by one") {
    for (std::uint64_t seed = 0; seed < 30; ++seed) {
        random_generator g(seed);
        retry_policy_options const o{.backoff = {.base = ms(100), .cap = ms(5000), .hint_max = ms(20'000)},
                                     .breaker = {.window = ms(8000), .calls_min = 5, .open_for = ms(700)}};
        retry_policy<equal_jitter> p(o);
        backoff<equal_jitter> waits(o.backoff);
        retry_budget budget(o.budget);
        circuit_breaker breaker(o.breaker);
        random_generator mine(seed + 100);
        random_generator theirs(seed + 100);
        std::int64_t now = 0;
        for (int i = 0; i < 2000; ++i) {
            now += static_cast<std::int64_t>(below(g, 400));
            auto const let = breaker.allow(at(now));
            auto const said = p.begin(at(now));
            REQUIRE((said.action == go) == let.allowed);
            REQUIRE(said.wait == let.wait);
            if (!let.allowed) { continue; }
            if (below(g, 3) != 0) {
                bool const retried = below(g, 2) == 0;
                p.succeeded(at(now), microseconds{1000}, retried);
                breaker.succeeded(at(now));
                budget.succeeded(retried);
                waits.reset();
                continue;
            }
            constexpr errc codes[] = {errc::timed_out, errc::unreachable, errc::throttled, errc::foreign,
                                      errc::rejected};
            errc const code = codes[below(g, 5)];
            std::optional<milliseconds> hint;
            if (below(g, 2) == 0) { hint = ms(static_cast<std::int64_t>(below(g, 40'000))); }
            auto const d = p.failed({.why = code, .retry_after = hint}, at(now), mine);
            if (code == errc::rejected) {
                breaker.succeeded(at(now));
                REQUIRE(d.action == give_up);
                continue;
            }
            breaker.failed(at(now));
            milliseconds floor = hint ? (std::min)(*hint, ms(20'000)) : ms(0);
            floor = (std::max)(floor, breaker.open_left(at(now)));
            if (code == errc::timed_out || code == errc::throttled) {
                budget.failed(code == errc::timed_out);
                floor = (std::max)(floor, *budget.retry(theirs, code == errc::timed_out));
            }
            REQUIRE(d.action == wait);
            REQUIRE(d.wait == floor + *waits.next(theirs));
        }
        CHECK(p.budget() == budget);
    }
}

TEST_CASE(
    "where one in twenty messages is lost each way, hardly an exchange waits for minutes; where all are, each does") {
    constexpr int exchanges = 20'000;
    int late = 0;
    random_generator g(11);
    retry_policy<> p;
    std::int64_t now = 0;
    for (int i = 0; i < exchanges; ++i) {
        now += 60'000;
        std::int64_t const began = now;
        for (bool retried = false;; retried = true) {
            retry_decision const may = p.begin(at(now));
            if (may.action != go) {
                now += may.wait.count();
                continue;
            }
            now += 200;
            if (below(g, 400) >= 39) {  // both got through
                p.succeeded(at(now), microseconds{200'000}, retried);
                break;
            }
            errc const code = below(g, 2) == 0 ? errc::timed_out : errc::connection_lost;
            retry_decision const d = p.failed({.why = code}, at(now), g);
            REQUIRE(d.action == wait);
            now += d.wait.count();
        }
        late += now - began > 60'000 ? 1 : 0;
    }
    CAPTURE(late);
    CHECK(late * 1'000 < exchanges);  // one in a thousand; one in two hundred is what is promised

    retry_policy<> cut;
    int attempts = 0;
    for (std::int64_t t = 0; t < 3'600'000;) {
        retry_decision const may = cut.begin(at(t));
        t += may.wait.count();
        if (may.action != go) { continue; }
        ++attempts;
        t += cut.failed({.why = errc::timed_out}, at(t), g).wait.count();
    }
    CAPTURE(attempts);
    CHECK(attempts < 20);
}

TEST_CASE("all that was learned survives a restart; the clocks may say what they will") {
    using policy = retry_policy<decorrelated_jitter, gcra, gradient_limit>;
    static_assert(policy::state_size == 1 + 12 + 8 + 29 + 16 + 16 + 128);
    random_generator g(7);
    policy a({.breaker = {.calls_min = 3}});
    for (int i = 0; i < 40; ++i) {
        if (a.begin(at(1'000'000 + i)).action == go) { a.succeeded(at(1'000'000 + i), microseconds{30'000}); }
    }
    for (int i = 0; i < 50; ++i) { (void)a.failed({.why = errc::throttled}, at(1'000'100), g); }
    auto const saved = to_array(a, both(1'700'000'000'000, 1'000'200));
    CHECK(to_hex(bytes_view(saved).first(9)) == "010000003200000000");
    constexpr std::int64_t year = 31'557'600'000;
    for (std::int64_t const shift : {std::int64_t{0}, std::int64_t{5000}, 20 * year, -20 * year}) {
        policy b({.breaker = {.calls_min = 3}});
        REQUIRE(b.restore(saved, both(1'700'000'000'000 + shift, 5)));
        CHECK(b.budget() == a.budget());
        CHECK(b.backoff_part().attempts() == 50);
        CHECK(b.hedge() == a.hedge());
        CHECK(b.concurrency().in_flight() == 0);
        auto const d = b.begin(at(5));
        CHECK(d.wait <= ms(300'000));
        CHECK((d.action == go) == (shift >= 15'000));
        auto const e = b.begin(at(5 + d.wait.count()));  // after one that may go, the next has to wait for it
        CHECK((d.action == go || e.action == go));       // nobody is blocked for ever
    }
    policy c;
    auto const before = c;
    for (std::size_t n : {std::size_t{0}, std::size_t{1}, policy::state_size - 1, policy::state_size + 1}) {
        CHECK(c.restore(bytes(n, std::byte{1}), both(0, 0)).error() == errc::malformed);
    }
    bytes later_version(saved.begin(), saved.end());
    later_version[0] = std::byte{2};
    CHECK(c.restore(later_version, both(0, 0)).error() == errc::unsupported);
    later_version[0] = std::byte{0};
    CHECK(c.restore(later_version, both(0, 0)).error() == errc::malformed);
    CHECK(c == before);
    for (int i = 0; i < 3000; ++i) {
        bytes raw(saved.begin(), saved.end());
        for (std::uint64_t n = 1 + below(g, 3); n != 0; --n) {
            raw[below(g, raw.size())] = static_cast<std::byte>(g());
        }
        policy d;
        if (d.restore(raw, both(0, 0))) {
            REQUIRE(d.begin(at(0)).wait <= ms(300'000));
            (void)d.failed({.why = errc::timed_out}, at(0), g);
        } else {
            REQUIRE(d == before);
        }
    }
}

TEST_CASE("names of actions and parts are there for all") {
    for (int n = 1; n <= 9; ++n) { CHECK(std::string(name(static_cast<retry_action>(n))) != "unknown"); }
    for (int n = 0; n <= 9; ++n) { CHECK(std::string(name(static_cast<retry_part>(n))) != "unknown"); }
    CHECK(std::string(name(static_cast<retry_action>(0))) == "unknown");
    CHECK(std::string(name(static_cast<retry_part>(10))) == "unknown");
}
