// SPDX-License-Identifier: BSL-1.0

/// Failover: the nearest endpoint, another when it fails, and back; and the axioms of every transport.

#include <syncline/transport/failover.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/testing/transport_conformance.hpp>
#include <syncline/transport/loopback.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

constexpr milliseconds ms(std::int64_t n) { return milliseconds{n}; }

/// A clock that the test moves.
struct hand_clock {
    monotonic_time now{ms(1000)};
    monotonic_time operator()() const { return now; }
};

/// An endpoint that takes so long and answers its name, or fails.
struct site {
    hand_clock* clock = nullptr;
    char const* name = "";
    milliseconds takes{10};
    std::optional<failure> fails{};
    std::optional<milliseconds> hint{};
    int asked = 0;
    transport_limits bounds{};

    void exchange(bytes_view, completion done) {
        ++asked;
        clock->now += takes;
        if (fails) {
            done({*fails, hint});
        } else {
            done({as_bytes(name), {}});
        }
    }
    [[nodiscard]] transport_limits limits() const { return bounds; }
};

struct outcome {
    int calls = 0;
    std::string said;
    std::optional<failure> failed;
    std::optional<milliseconds> retry_after;
    void operator()(transport_reply const& r) {
        ++calls;
        retry_after = r.retry_after;
        said.clear();
        failed.reset();
        if (r.message) {
            said = std::string(as_text(*r.message));
        } else {
            failed = r.message.error();
        }
    }
};

/// Three sites, the middle one nearest.
struct world {
    hand_clock clock{};
    site a{&clock, "a", ms(80)};
    site b{&clock, "b", ms(10)};
    site c{&clock, "c", ms(40)};
    std::array<transport_ref, 3> ways{a, b, c};
    failover_transport way;

    explicit world(failover_options o = {}) : way(ways, clock, o) {}

    outcome ask() {
        outcome out;
        way.exchange(as_bytes("?"), completion::to(out));
        CHECK(out.calls == 1);
        return out;
    }
};

}  // namespace

static_assert(transport<failover_transport> && transport<transport_ref> &&
              !std::is_copy_constructible_v<failover_transport>);
static_assert(valid(failover_options{}) && !valid(failover_options{.tries_max = 0}));
static_assert(!valid(failover_options{.nearer_per_mille = 1001}) && !valid(failover_options{.measure_after = ms(0)}));

TEST_CASE("each endpoint is measured once, then the nearest is asked") {
    world w;
    CHECK(w.ask().said == "a");
    CHECK(w.ask().said == "b");
    CHECK(w.ask().said == "c");
    for (int i = 0; i < 20; ++i) { CHECK(w.ask().said == "b"); }
    CHECK(w.way.current() == 1);
    CHECK(w.way.round_trip(0) == ms(80));
    CHECK(w.way.round_trip(1) == ms(10));
}

TEST_CASE("it falls back within the exchange, leaves a dead endpoint alone, and returns when it lives") {
    world w;
    for (int i = 0; i < 3; ++i) { (void)w.ask(); }
    w.b.fails = errc::unreachable;
    int const before = w.b.asked;
    for (int i = 0; i < 20; ++i) { CHECK(w.ask().said == "c"); }  // no exchange is lost
    CHECK(w.b.asked <= before + 3);
    CHECK(w.way.breaker(1).where(w.clock.now) == breaker_state::open);
    w.clock.now += ms(15'000);
    CHECK(w.ask().said == "c");  // a probe failed
    w.b.fails.reset();
    CHECK(w.ask().said == "c");
    w.clock.now += ms(30'000);
    CHECK(w.ask().said == "b");
    CHECK(w.ask().said == "b");
    CHECK(w.way.breaker(1).where(w.clock.now) == breaker_state::closed);
}

TEST_CASE("an endpoint that has become slow is left for one that is clearly nearer, and no sooner") {
    world w;
    for (int i = 0; i < 5; ++i) { (void)w.ask(); }
    w.b.takes = ms(45);
    for (int i = 0; i < 100; ++i) { CHECK(w.ask().said == "b"); }  // c is not a fifth nearer
    w.b.takes = ms(200);
    int changed = 0;
    for (int i = 0; i < 20; ++i) { changed += w.ask().said == "c" ? 1 : 0; }
    CHECK(changed >= 15);
    w.b.takes = ms(5);
    CHECK(w.ask().said == "c");
    w.clock.now += ms(600'000);  // after which the others are measured again
    for (int i = 0; i < 40; ++i) { (void)w.ask(); }
    CHECK(w.way.round_trip(1).value() < ms(200));
}

TEST_CASE("an answer is handed on, not asked for elsewhere; what may pass is") {
    for (errc const e :
         {errc::unauthorised, errc::forbidden, errc::throttled, errc::too_large, errc::rejected, errc::cancelled}) {
        world w;
        w.a.fails = e;
        w.a.hint = ms(77);
        auto const out = w.ask();
        REQUIRE(out.failed);
        CHECK(*out.failed == e);
        CHECK(out.retry_after == ms(77));
        CHECK(w.b.asked + w.c.asked == 0);
    }
    for (errc const e : {errc::unreachable, errc::timed_out, errc::connection_lost, errc::foreign, errc::peer_failed}) {
        world w;
        w.a.fails = e;
        CHECK(!w.ask().failed);
        CHECK(w.b.asked + w.c.asked == 1);
    }
}

TEST_CASE("an exchange tries no more endpoints than it may, and says what the last one said") {
    world w({.tries_max = 2});
    w.a.fails = errc::unreachable;
    w.b.fails = errc::timed_out;
    auto const out = w.ask();
    REQUIRE(out.failed);
    CHECK(*out.failed == errc::timed_out);
    CHECK(w.c.asked == 0);
    world all({.tries_max = 9});
    all.a.fails = all.b.fails = all.c.fails = errc::peer_failed;
    CHECK(*all.ask().failed == errc::peer_failed);
    CHECK(all.a.asked + all.b.asked + all.c.asked == 3);
}

TEST_CASE("when every breaker is open nobody is asked, and the hint says when") {
    world w({.tries_max = 3});
    w.a.fails = w.b.fails = w.c.fails = errc::unreachable;
    for (int i = 0; i < 3; ++i) { (void)w.ask(); }
    int const asked = w.a.asked + w.b.asked + w.c.asked;
    auto const out = w.ask();
    REQUIRE(out.failed);
    CHECK(*out.failed == errc::unreachable);
    REQUIRE(out.retry_after);
    CHECK(*out.retry_after > ms(0));
    CHECK(*out.retry_after <= ms(15'000));
    CHECK(w.a.asked + w.b.asked + w.c.asked == asked);
    w.a.fails.reset();
    w.b.fails.reset();
    w.clock.now += ms(15'000);
    CHECK(!w.ask().failed);
}

TEST_CASE("the least of the limits holds, whichever endpoint is asked") {
    world w;
    w.c.bounds.request_bytes_max = 0;
    CHECK(w.way.limits().request_bytes_max == 0);
    CHECK(*w.ask().failed == errc::too_large);
    w.c.bounds = {100, 0};
    CHECK(*w.ask().failed == errc::too_large);  // the reply
    CHECK(w.a.asked == 1);
}

TEST_CASE("what is under way when it is destroyed completes once, and what comes later is dropped") {
    hand_clock clock;
    auto echo = [](bytes_view m) { return to_bytes(m); };
    live_loopback slow(echo);
    outcome out;
    outcome nested;
    {
        std::array<transport_ref, 1> const ways{slow};
        failover_transport way(ways, clock);
        way.exchange(as_bytes("x"), completion::to(out));
        way.exchange(as_bytes("y"), completion::to(nested));
        CHECK(out.calls == 0);
    }
    CHECK(out.calls == 1);
    CHECK(*out.failed == errc::cancelled);
    CHECK(nested.calls == 1);
    slow.run();
    CHECK(out.calls == 1);
}

TEST_CASE("a late failure is tried elsewhere with the same request") {
    hand_clock clock;
    auto echo = [](bytes_view m) { return to_bytes(m); };
    live_loopback first(echo);
    live_loopback second(echo);
    std::array<transport_ref, 2> const ways{first, second};
    failover_transport way(ways, clock);
    outcome out;
    {
        bytes gone = to_bytes("hello");
        way.exchange(gone, completion::to(out));
        gone.assign(gone.size(), std::byte{0});
    }
    first.disconnect();
    first.run();
    CHECK(out.calls == 0);
    second.run();
    CHECK(out.calls == 1);
    CHECK(out.said == "hello");
}

TEST_CASE("what was learned survives a restart") {
    world w;
    for (int i = 0; i < 3; ++i) { (void)w.ask(); }
    w.b.fails = errc::unreachable;
    for (int i = 0; i < 5; ++i) { (void)w.ask(); }
    instant const then{wall_time{ms(5'000'000)}, w.clock.now};
    bytes const saved = w.way.save(then);
    CHECK(saved.size() == 4 + 3 * (9 + 29));
    world later_on;
    REQUIRE(later_on.way.restore(saved, {wall_time{ms(5'000'000)}, later_on.clock.now}));
    CHECK(later_on.way.current() == w.way.current());
    CHECK(later_on.way.round_trip(1) == ms(10));
    CHECK(later_on.way.breaker(1).where(later_on.clock.now) == breaker_state::open);
    CHECK(later_on.ask().said == "c");
    random_generator g(1);
    for (std::size_t n = 0; n < saved.size(); ++n) {
        CHECK(later_on.way.restore(bytes_view(saved).first(n), then).error() == errc::malformed);
    }
    for (int i = 0; i < 3000; ++i) {
        bytes raw = saved;
        raw[below(g, raw.size())] = static_cast<std::byte>(g());
        if (later_on.way.restore(raw, then)) { (void)later_on.way.current(); }
        CHECK(later_on.way.current() < 3);
    }
    (void)later_on.ask();
}

namespace {

/// Two endpoints of one peer, for the suite.
template <std::uint32_t Tries>
class two_ways {
public:
    explicit two_ways(testing::conformance_peer& peer)
        : near_(peer), other_(peer), ways_{near_, other_}, way_(ways_, clock_, {.tries_max = Tries}) {}
    failover_transport& subject() { return way_; }
    void drive() {
        while (near_.run() + other_.run() != 0) {}
    }
    void disconnect() {
        near_.disconnect();
        other_.disconnect();
    }
    void reconnect() {
        near_.reconnect();
        other_.reconnect();
    }

private:
    hand_clock clock_{};
    live_loopback near_;
    live_loopback other_;
    std::array<transport_ref, 2> ways_;
    failover_transport way_;
};

}  // namespace

TEST_CASE("failover keeps the axioms of transports") {
    auto const broken =
        testing::certify_transport([](testing::conformance_peer& peer) { return std::make_unique<two_ways<1>>(peer); });
    for (auto const& v : broken) { UNSCOPED_INFO(v.axiom << ": " << v.what); }
    CHECK(broken.empty());
    // With a second try, one failure of the peer's does not show, which the suite notices; nothing else.
    auto const mended =
        testing::certify_transport([](testing::conformance_peer& peer) { return std::make_unique<two_ways<2>>(peer); });
    for (auto const& v : mended) { CHECK(v.what.ends_with("came as success")); }
}
