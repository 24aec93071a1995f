// SPDX-License-Identifier: BSL-1.0

/// Live connections over TLS: WebSockets, both ends together, and each with what is not the other; long polling.

#include <syncline/adapters/websocket_tls.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include <syncline/adapters/long_poll_tls.hpp>
#include <syncline/core/random.hpp>
#include <syncline/testing/transport_conformance.hpp>
#include <syncline/transport/live_listener.hpp>

#include "adapters/asking.hpp"
#include "adapters/raw_http.hpp"
#include "adapters/tls_identity.hpp"
#include "adapters/websocket_ends.hpp"
#include "support/catch.hpp"

using namespace syncline;
using namespace std::chrono_literals;
using asking::ask;
using asking::outcome;
using tls_identity::identity;
using tls_identity::self_signed;
using websocket_ends::to;

namespace {

using running = websocket_ends::running<websocket_tls_server>;

tls_server_options as(identity const& who) { return {.certificate_pem = who.certificate, .private_key_pem = who.key}; }
void no_preparation(websocket_tls_server&) {}

}  // namespace

TEST_CASE("both ends of a WebSocket over TLS are a live transport by all its axioms", "[threads]") {
    identity const who = self_signed("IP:127.0.0.1");
    using fixture = websocket_ends::pair<websocket_tls_transport, websocket_tls_server>;
    auto const found = testing::certify_transport([&](testing::conformance_peer& peer) {
        return std::make_unique<fixture>(peer, tls_options{.ca_pem = who.certificate}, as(who));
    });
    CHECK(testing::to_text(found) == "");
}

TEST_CASE("a device hears of news over TLS, and listens again after its server was another's") {
    identity const who = self_signed("IP:127.0.0.1");
    websocket_ends::echo handler;
    auto s =
        std::make_unique<running>(websocket_server_options{}, handler, no_preparation, live_hub_options{}, as(who));
    websocket_tls_transport way(to(s->port()), tls_options{.ca_pem = who.certificate});
    live_listener ear({{"rooms"}}, random_generator(1));
    monotonic_time now{milliseconds{1'000}};
    std::optional<std::uint64_t> news;
    int gaps = 0;
    auto const listen = [&] {
        (void)attend(
            ear, way, [&] { return now; },
            [&](live_output const& out) {
                if (auto const* n = std::get_if<live_news>(&out)) { news = n->position; }
                gaps += std::holds_alternative<live_gap>(out) ? 1 : 0;
            });
    };
    listen();
    REQUIRE(ear.subscribed());
    CHECK(gaps == 1);
    (*s)->publish("rooms", 7);
    CHECK(way.wait(5s));
    listen();
    CHECK(news == 7U);

    // Somebody else at the same address: nothing is said to them, and it goes on when the right one is back.
    std::uint16_t const port = s->port();
    websocket_server_options at;
    at.port = port;
    identity const other = self_signed("IP:127.0.0.1");
    s.reset();
    while (way.connected()) { (void)way.wait(1ms); }
    s = std::make_unique<running>(at, handler, no_preparation, live_hub_options{}, as(other));
    now += 10'000ms;
    listen();
    now += 10'000ms;
    listen();
    CHECK_FALSE(ear.subscribed());
    CHECK(ask(way).failed == errc::foreign);
    s.reset();
    s = std::make_unique<running>(at, handler, no_preparation, live_hub_options{}, as(who), 2U);
    for (int i = 0; i < 20 && !ear.subscribed(); ++i) {
        now += 60'000ms;
        listen();
    }
    CHECK(ear.subscribed());
    CHECK(gaps == 2);
}

TEST_CASE("what is no TLS, or shakes no hands, is no member, and the next one is served") {
    identity const who = self_signed("IP:127.0.0.1");
    websocket_ends::echo handler;
    websocket_server_options o;
    o.handshake_timeout = 300ms;
    running s(o, handler, no_preparation, live_hub_options{}, as(who));
    CHECK(ask(*std::make_unique<websocket_transport>(to(s.port()))).failed);
    boost::asio::io_context io;
    raw_http::tcp::socket silent(io);
    silent.connect(raw_http::here(s.port()));
    char byte = 0;
    raw_http::error e;
    auto const begun = std::chrono::steady_clock::now();
    CHECK(silent.read_some(boost::asio::buffer(&byte, 1), e) == 0);  // until it is let go
    CHECK(std::chrono::steady_clock::now() - begun < 5s);
    websocket_tls_transport way(to(s.port()), tls_options{.ca_pem = who.certificate});
    CHECK(ask(way, "x").text == "echo x");
    websocket_tls_transport stranger(to(s.port()), tls_options{.ca_pem = self_signed("IP:127.0.0.1").certificate});
    CHECK(ask(stranger).failed == errc::foreign);
    websocket_ends::policy anybody;
    websocket_tls_server unready({}, websocket_ends::life(1), handler, anybody, {},
                                 tls_server_options{.certificate_pem = who.certificate, .private_key_pem = "no key"});
    CHECK(unready.listen().error() == errc::invalid);
}

TEST_CASE("long polling goes over TLS, its held question too", "[threads]") {
    identity const who = self_signed("IP:127.0.0.1");
    websocket_ends::echo handler;
    websocket_ends::policy may;
    long_poll_tls_server s({}, websocket_ends::life(1), random_generator{1}, handler, may, {}, as(who));
    REQUIRE(s.listen());
    std::thread serving([&] { s.run(); });
    {
        long_poll_options o;
        o.http.host = "127.0.0.1";
        o.http.port = s.port();
        long_poll_tls_transport way(o, tls_options{.ca_pem = who.certificate});
        CHECK(ask(way, "x").text == "echo x");
        for (std::string_view const said : {"one", "two"}) {
            s.tell_all(as_bytes(said));
            std::string heard;
            CHECK(way.wait(5s));
            auto const visit = [&](bytes_view m) { heard += as_text(m); };
            CHECK(way.receive(visit));
            CHECK(heard == said);
        }
        long_poll_tls_transport stranger(o, tls_options{.ca_pem = self_signed("IP:127.0.0.1").certificate});
        CHECK(ask(stranger).failed == errc::foreign);
        CHECK_FALSE(stranger.connected());
    }
    s.stop();
    serving.join();
}
