// SPDX-License-Identifier: BSL-1.0
#include <syncline/transport/hub_loopback.hpp>

#include <memory>
#include <string_view>

#include <syncline/testing/transport_conformance.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

/// A hub with one member, as the suite wants it.
class pair {
public:
    explicit pair(testing::conformance_peer& peer) : way_(hub_, peer, "anna", may_, now_) { join(); }
    hub_loopback& subject() { return way_; }
    void drive() {}
    void disconnect() { way_.disconnect(); }
    void reconnect() {
        way_.reconnect();
        join();
    }
    void push(bytes_view m) {
        if (way_.member()) { (void)hub_.tell(*way_.member(), m); }
    }

private:
    void join() {
        auto nothing = [](transport_reply const&) {};
        way_.exchange(encode(live_frame{live_ping{}}), completion::to(nothing));
    }
    static constexpr auto may_ = [](std::string_view, std::string_view) { return true; };
    static constexpr auto now_ = [] { return monotonic_time{}; };
    live_hub hub_{id128{{std::byte{1}}}};
    hub_loopback way_;
};

}  // namespace

TEST_CASE("hub loopback: a live transport by all its axioms") {
    auto const broken =
        testing::certify_transport([](testing::conformance_peer& peer) { return std::make_unique<pair>(peer); });
    for (auto const& v : broken) { UNSCOPED_INFO(v.axiom << ": " << v.what); }
    CHECK(broken.empty());
}

TEST_CASE("hub loopback: a member that the hub has ended hears so once, and joins again") {
    live_hub hub(id128{{std::byte{1}}}, {.members_max = 1, .idle_timeout = milliseconds{10}});
    monotonic_time now{};
    auto const time = [&] { return now; };
    auto const may = [](std::string_view, std::string_view) { return true; };
    auto handler = [](bytes_view) -> peer_reply { return errc::rejected; };
    hub_loopback way(hub, handler, "anna", may, time);
    hub_loopback other(hub, handler, "ben", may, time);
    errc said{};
    auto take = [&](transport_reply const& r) { said = r.message ? errc{} : r.message.error().code; };
    auto const nothing = [](bytes_view) {};
    bytes const ping = encode(live_frame{live_ping{}});
    way.exchange(ping, completion::to(take));
    CHECK(said == errc{});
    CHECK(way.receive(nothing));
    other.exchange(ping, completion::to(take));
    CHECK(said == errc::throttled);
    way.exchange(as_bytes("other"), completion::to(take));
    CHECK(said == errc::rejected);
    now += milliseconds{10};
    hub.expire(now, [](live_hub::member) {});
    CHECK(!way.connected());
    way.exchange(ping, completion::to(take));
    CHECK(said == errc{});
    CHECK(way.receive(nothing).error() == errc::connection_lost);
    CHECK(way.receive(nothing));
}
