// SPDX-License-Identifier: BSL-1.0

/// The WebSocket server: who is let in, who hears of what, and what it bears of strangers and of the slow.

#include <syncline/adapters/websocket.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/transport/live_listener.hpp>

#include "adapters/asking.hpp"
#include "adapters/raw_http.hpp"
#include "adapters/websocket_ends.hpp"
#include "support/catch.hpp"

using namespace syncline;
using namespace std::chrono_literals;
using asking::ask;

namespace {

using running = websocket_ends::running<websocket_server>;
using websocket_ends::to;

monotonic_time now() { return std::chrono::time_point_cast<milliseconds>(std::chrono::steady_clock::now()); }

live_options quick() {
    live_options o;
    o.retry.backoff.base = 10ms;
    o.retry.backoff.cap = 50ms;
    o.retry.backoff.reconnect_spread = 20ms;
    o.retry.breaker.calls_min = 1000;
    o.stable_after = 0ms;
    return o;
}

/// A device that listens to "rooms".
struct device {
    websocket_transport way;
    live_listener<random_generator> self;
    std::vector<std::string> heard{};

    explicit device(std::uint16_t port, unsigned seed = 1, live_options const& o = quick())
        : way(to(port)), self({{"rooms"}}, random_generator(seed), o) {}

    live_wait step() {
        return attend(self, way, now, [&](live_output const& out) {
            if (auto const* n = std::get_if<live_news>(&out)) {
                heard.push_back("news " + std::to_string(n->position));
            }
            if (auto const* n = std::get_if<live_note>(&out)) {
                heard.push_back("note " + std::string(as_text(n->body)));
            }
            if (std::holds_alternative<live_gap>(out)) { heard.push_back("gap"); }
        });
    }
    /// Until it has heard so much, or too long.
    bool hears(std::size_t count) {
        auto const until = now() + 5s;
        while (heard.size() < count && now() < until) {
            step();
            (void)way.wait(20ms);
        }
        return heard.size() >= count;
    }
};

std::string upgrade(std::string_view more, std::string_view path = "/live") {
    return "GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n" + std::string(more) + "\r\n";
}
constexpr std::string_view proper =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: vnd.syncline.1\r\n";

/// What a server answers to these bytes, up to the header's end.
std::string answer_to(std::uint16_t port, std::string const& bytes_sent) {
    boost::asio::io_context io;
    raw_http::tcp::socket socket(io);
    socket.connect(raw_http::here(port));
    boost::asio::write(socket, boost::asio::buffer(bytes_sent));
    return raw_http::read_message(socket);
}

}  // namespace

TEST_CASE("devices hear of news and of each other's notes, and a restart shows as a gap") {
    websocket_ends::echo handler;
    auto s = std::make_unique<running>(handler);
    std::uint16_t const port = s->port();
    device a(port, 1);
    device b(port, 2);
    REQUIRE(a.hears(1));
    REQUIRE(b.hears(1));
    CHECK(a.heard == std::vector<std::string>{"gap"});
    (*s)->publish("rooms", 7);
    REQUIRE(a.hears(2));
    REQUIRE(b.hears(2));
    CHECK(a.heard.back() == "news 7");
    REQUIRE(a.self.say({"rooms", live_note_kind::own, to_bytes("here I am")}));
    a.step();
    REQUIRE(b.hears(3));
    CHECK(b.heard.back() == "note here I am");
    // Other requests go to the handler.
    CHECK(ask(a.way, "x").text == "echo x");

    s.reset();
    for (int i = 0; i < 5; ++i) {
        (void)a.way.wait(10ms);
        a.step();
    }
    CHECK(!a.self.subscribed());
    websocket_server_options o;
    o.port = port;
    s = std::make_unique<running>(handler, o, live_hub_options{}, 2);
    REQUIRE(a.hears(3));
    CHECK(a.heard.back() == "gap");
    (*s)->publish("rooms", 8);
    REQUIRE(a.hears(4));
    CHECK(a.heard.back() == "news 8");
}

TEST_CASE("a connection that breaks without news in between is no gap") {
    websocket_ends::echo handler;
    running s(handler);
    device a(s.port());
    REQUIRE(a.hears(1));
    s->publish("rooms", 3);
    REQUIRE(a.hears(2));
    a.way.close();
    auto const until = now() + 5s;
    a.step();
    while (!a.self.subscribed() && now() < until) {
        a.step();
        (void)a.way.wait(5ms);
    }
    CHECK(a.self.subscribed());
    CHECK(a.heard == std::vector<std::string>{"gap", "news 3"});
}

TEST_CASE("bad handshakes are answered as HTTP says") {
    websocket_ends::echo handler;
    websocket_server_options o;
    o.header_bytes_max = 2000;
    auto authorise = [](std::string_view bearer) -> result<std::string> {
        if (bearer == "banned") { return failure{errc::forbidden}; }
        return std::string(bearer);
    };
    running s(o, handler, [&](websocket_server& server) { server.authorise_by(authorise); });
    auto const status_of = [&](std::string const& text) {
        std::string const a = answer_to(s.port(), text);
        return a.size() < 12 ? 0 : std::stoi(a.substr(9, 3));
    };
    CHECK(status_of(upgrade(proper)) == 101);
    CHECK(status_of(upgrade(proper, "/live?shard=1")) == 101);
    CHECK(status_of(upgrade(proper, "/other")) == 404);
    CHECK(status_of(upgrade("")) == 426);
    CHECK(status_of(upgrade("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")) == 400);
    CHECK(status_of(upgrade(std::string(proper) + "Authorization: Bearer banned\r\n")) == 403);
    CHECK(status_of(upgrade("X: " + std::string(3000, 'x') + "\r\n")) == 431);
    CHECK(status_of("not HTTP at all\r\n\r\n") == 400);
}

TEST_CASE("connections beyond the limit are turned away with a hint, until one ends") {
    websocket_ends::echo handler;
    websocket_server_options o;
    o.connections_max = 1;
    running s(handler, o);
    auto first = std::make_unique<websocket_transport>(to(s.port()));
    CHECK(ask(*first, "x").text == "echo x");
    websocket_transport second(to(s.port()));
    auto const refused = ask(second, "x");
    CHECK(refused.failed == from_http_status(503).error().code);
    CHECK(refused.retry_after == 1000ms);
    first.reset();
    auto const until = now() + 5s;
    while (ask(second, "x").failed && now() < until) { std::this_thread::sleep_for(10ms); }
    CHECK(ask(second, "x").text == "echo x");
}

TEST_CASE("those who say nothing are closed: before the handshake, and after it") {
    websocket_ends::echo handler;
    websocket_server_options o;
    o.handshake_timeout = 200ms;
    o.idle_timeout = 200ms;
    running s(handler, o);
    auto const begun = now();
    CHECK(answer_to(s.port(), "").empty());
    CHECK(answer_to(s.port(), "GET /live HTTP/1.1\r\n").empty());
    CHECK(now() - begun < 3s);
    websocket_transport way(to(s.port()));
    CHECK(ask(way, "x").text == "echo x");
    auto const idle = now();
    while (way.connected() && now() < idle + 5s) { (void)way.wait(20ms); }
    CHECK(!way.connected());
    CHECK(now() - idle >= 150ms);
}

TEST_CASE("an oversized message, one of text and one that is none of ours end the connection, and nothing else") {
    websocket_ends::echo handler;
    websocket_server_options o;
    o.request_bytes_max = 1000;
    running s(handler, o);
    websocket_options large = to(s.port());
    websocket_transport way(large);
    CHECK(ask(way, std::string(1000, 'x')).text.size() == 1005);
    auto const refused = ask(way, std::string(1001, 'x'));
    CHECK(refused.failed == errc::too_large);
    CHECK(way.connected());
    CHECK(ask(way, std::string(100'000, 'x')).failed == errc::connection_lost);
    for (bool const text : {true, false}) {
        boost::asio::io_context io;
        raw_http::tcp::socket socket(io);
        socket.connect(raw_http::here(s.port()));
        boost::beast::websocket::stream<raw_http::tcp::socket&> ws(socket);
        ws.set_option(boost::beast::websocket::stream_base::decorator([](boost::beast::websocket::request_type& head) {
            head.set(boost::beast::http::field::sec_websocket_protocol, websocket_subprotocol);
        }));
        ws.handshake("x", "/live");
        ws.text(text);
        raw_http::error e;
        ws.write(boost::asio::buffer("hello", 5), e);
        boost::beast::flat_buffer buffer;
        ws.read(buffer, e);
        CHECK(e);
    }
    CHECK(ask(way, "x").text == "echo x");
}

TEST_CASE("one who reads too slowly is told that it missed some, and keeps nobody waiting") {
    websocket_ends::echo handler;
    websocket_server_options o;
    live_hub_options hub;
    hub.waiting_max = 4;
    hub.waiting_bytes_max = 100'000;
    running s(handler, o, hub);
    websocket_transport slow(to(s.port()));
    websocket_transport quick_one(to(s.port()));
    CHECK(ask(slow, "x").text == "echo x");
    CHECK(ask(quick_one, "x").text == "echo x");
    // More than the system's buffers take.
    bytes const large(90'000);
    for (int i = 0; i < 300; ++i) {
        s->tell_all(large);
        if (i % 10 == 0) { CHECK(ask(quick_one, "x").text == "echo x"); }
    }
    bool missed = false;
    auto const visit = [&](bytes_view m) {
        auto const f = decode_live_frame(m);
        missed = missed || (f && std::holds_alternative<live_missed>(*f));
    };
    for (int i = 0; i < 20 && !missed; ++i) {
        CHECK(ask(slow, "x").text == "echo x");
        (void)slow.receive(visit);
    }
    CHECK(missed);
}

TEST_CASE("a server that can't listen says why") {
    websocket_ends::echo handler;
    websocket_ends::policy may;
    websocket_server_options o;
    o.address = "nowhere";
    websocket_server wrong(o, websocket_ends::life(1), handler, may);
    CHECK(wrong.listen().error() == errc::invalid);
    o.address = "127.0.0.1";
    o.path = "live";
    websocket_server none(o, websocket_ends::life(1), handler, may);
    CHECK(none.listen().error() == errc::invalid);
    running s(handler);
    o.path = "/live";
    o.port = s.port();
    websocket_server taken(o, websocket_ends::life(1), handler, may);
    CHECK(taken.listen().error() == errc::unreachable);
}
