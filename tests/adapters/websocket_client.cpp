// SPDX-License-Identifier: BSL-1.0

/// The WebSocket transport against our own server and against peers that are none.

#include <syncline/adapters/websocket.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include <syncline/testing/transport_conformance.hpp>

#include "adapters/asking.hpp"
#include "adapters/raw_http.hpp"
#include "adapters/websocket_ends.hpp"
#include "support/catch.hpp"

using namespace syncline;
using namespace std::chrono_literals;
using asking::ask;
using asking::outcome;
using raw_http::header;
using raw_http::reply;
using after = raw_http::step::after;

namespace {

using running = websocket_ends::running<websocket_server>;
using websocket_ends::to;

/// What comes of a handshake that a scripted peer answers.
outcome shaken(std::string const& text, after then = after::close) {
    raw_http::server s({{{text, then}}});
    websocket_options o = to(s.port());
    o.connect_timeout = 1s;
    websocket_transport t(o);
    outcome const out = ask(t);
    CHECK(!t.connected());
    return out;
}

}  // namespace

TEST_CASE("both ends of a WebSocket are a live transport by all its axioms") {
    using fixture = websocket_ends::pair<websocket_transport, websocket_server, true>;
    static_assert(testing::silent_fixture<fixture> && testing::intercepted_fixture<fixture>);
    auto const broken =
        testing::certify_transport([](testing::conformance_peer& peer) { return std::make_unique<fixture>(peer); });
    for (auto const& v : broken) { UNSCOPED_INFO(v.axiom << ": " << v.what); }
    CHECK(broken.empty());
}

TEST_CASE("a handshake that is refused, or answered by somebody else, is the failure that it says") {
    CHECK(shaken(reply("", "401 Unauthorized", "")).failed == errc::unauthorised);
    CHECK(shaken(reply("", "403 Forbidden", "")).failed == errc::forbidden);
    outcome const busy = shaken(reply("", "503 Service Unavailable", "", "Retry-After: 7\r\n"));
    CHECK(busy.failed == from_http_status(503).error().code);
    CHECK(busy.retry_after == 7000ms);
    CHECK(shaken(reply("<html>Sign in</html>", "200 OK", "text/html")).failed == errc::foreign);
    CHECK(shaken(reply("", "302 Found", "text/html", "Location: http://portal.example/\r\n")).failed == errc::foreign);
    CHECK(shaken("SSH-2.0-OpenSSH_9.2p1\r\n\r\n").failed == errc::foreign);
    CHECK(shaken("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: wrong\r\n\r\n")
              .failed == errc::foreign);
    CHECK(shaken("").failed == errc::unreachable);
    auto const begun = std::chrono::steady_clock::now();
    CHECK(shaken("", after::hang).failed == errc::unreachable);
    CHECK(std::chrono::steady_clock::now() - begun < 3s);
    websocket_options nobody = to(1);
    websocket_transport t(nobody);
    CHECK(ask(t).failed == errc::unreachable);
    nobody.target = "no slash";
    websocket_transport wrong(nobody);
    CHECK(ask(wrong).failed == errc::invalid);
}

TEST_CASE("the handshake carries the token, and another after the first was refused") {
    websocket_ends::echo handler;
    auto authorise = [](std::string_view bearer) -> result<std::string> {
        if (bearer == "good") { return std::string("anna"); }
        return failure{errc::unauthorised};
    };
    running s(websocket_server_options{}, handler, [&](websocket_server& server) { server.authorise_by(authorise); });
    websocket_ends::tokens t{{"old", "good"}};
    websocket_transport way(to(s.port()), t);
    CHECK(ask(way, "who").text == "anna");
    websocket_ends::tokens bad{{"old"}};
    websocket_transport other(to(s.port()), bad);
    CHECK(ask(other).failed == errc::unauthorised);
    websocket_ends::tokens smuggled{{"a\r\nb"}};
    websocket_transport third(to(s.port()), smuggled);
    CHECK(ask(third).failed == errc::invalid);
}

TEST_CASE("what the peer's handler fails with arrives, with its hint, and the connection stands") {
    websocket_ends::echo handler;
    running s(handler);
    websocket_transport way(to(s.port()));
    outcome const out = ask(way, "fail");
    CHECK(out.failed == errc::throttled);
    CHECK(out.retry_after == 7000ms);
    CHECK(way.connected());
    CHECK(ask(way, "x").text == "echo x");
    CHECK(s->connections() == 1);
}

TEST_CASE("a peer that is not there any more shows as a time-out, and the connection is given up") {
    // It shakes hands, then reads nothing and says nothing: half open.
    boost::asio::io_context io;
    raw_http::tcp::acceptor acceptor(io, raw_http::here(0));
    std::thread peer([&] {
        raw_http::tcp::socket socket(io);
        acceptor.accept(socket);
        boost::beast::websocket::stream<raw_http::tcp::socket&> ws(socket);
        ws.set_option(boost::beast::websocket::stream_base::decorator(
            [](auto& head) { head.set(boost::beast::http::field::sec_websocket_protocol, websocket_subprotocol); }));
        ws.accept();
        char byte = 0;
        raw_http::error e;
        std::this_thread::sleep_for(700ms);
        while (socket.read_some(boost::asio::buffer(&byte, 1), e) != 0 && !e) {}
    });
    websocket_options o = to(acceptor.local_endpoint().port());
    o.exchange_timeout = 300ms;
    {
        websocket_transport way(o);
        outcome const out = ask(way);
        CHECK(out.failed == errc::timed_out);
        CHECK(!way.connected());
        auto const nothing = [](bytes_view) {};
        CHECK(way.receive(nothing).error() == errc::connection_lost);
    }
    peer.join();
}

TEST_CASE("what a peer sends that is not ours, or is too large, ends the connection") {
    for (int const what : {0, 1, 2, 3}) {
        boost::asio::io_context io;
        raw_http::tcp::acceptor acceptor(io, raw_http::here(0));
        std::thread peer([&] {
            raw_http::tcp::socket socket(io);
            acceptor.accept(socket);
            boost::beast::websocket::stream<raw_http::tcp::socket&> ws(socket);
            ws.set_option(boost::beast::websocket::stream_base::decorator([](auto& head) {
                head.set(boost::beast::http::field::sec_websocket_protocol, websocket_subprotocol);
            }));
            ws.accept();
            raw_http::error e;
            boost::beast::flat_buffer buffer;
            ws.read(buffer, e);
            if (what == 0) {
                ws.text(true);
                ws.write(boost::asio::buffer("hello", 5), e);
            } else if (what == 1) {
                ws.binary(true);
                ws.write(boost::asio::buffer("hello", 5), e);
            } else if (what == 2) {
                ws.binary(true);
                std::string const long_one(5000, 'x');
                ws.write(boost::asio::buffer(long_one), e);
            } else {
                boost::asio::write(socket, boost::asio::buffer("\x83\x01x", 3), e);
                socket.shutdown(raw_http::tcp::socket::shutdown_send, e);
            }
            char byte = 0;
            while (socket.read_some(boost::asio::buffer(&byte, 1), e) != 0 && !e) {}
        });
        websocket_options o = to(acceptor.local_endpoint().port());
        o.limits.reply_bytes_max = 1000;
        {
            websocket_transport way(o);
            INFO(what);
            outcome const out = ask(way);
            CHECK(out.failed == (what == 2 ? errc::too_large : errc::foreign));
            CHECK(!way.connected());
        }
        peer.join();
    }
}

TEST_CASE("wait wakes for a message, for a lost connection and for cancel, and not before") {
    websocket_ends::echo handler;
    auto s = std::make_unique<running>(handler);
    websocket_transport way(to(s->port()));
    CHECK(!way.wait(20ms));
    CHECK(ask(way, "x").text == "echo x");
    CHECK(!way.wait(20ms));
    std::thread later([&] {
        std::this_thread::sleep_for(50ms);
        (*s)->tell_all(as_bytes("hear"));
    });
    CHECK(way.wait(5s));
    later.join();
    std::string heard;
    auto const visit = [&](bytes_view m) { heard += as_text(m); };
    CHECK(way.receive(visit));
    CHECK(heard == "hear");
    std::thread stop([&] {
        std::this_thread::sleep_for(50ms);
        way.cancel();
    });
    auto const begun = std::chrono::steady_clock::now();
    CHECK(!way.wait(5s));
    stop.join();
    CHECK(std::chrono::steady_clock::now() - begun < 3s);
    std::thread end([&] {
        std::this_thread::sleep_for(50ms);
        s.reset();
    });
    CHECK(way.wait(5s));
    end.join();
    CHECK(way.receive(visit).error() == errc::connection_lost);
}

TEST_CASE("messages that nobody receives are bounded, and the gap shows in its place") {
    websocket_ends::echo handler;
    running s(handler);
    websocket_options o = to(s.port());
    o.unasked_max = 2;
    websocket_transport way(o);
    CHECK(ask(way, "x").text == "echo x");
    for (std::string_view const m : {"1", "2", "3", "4"}) { s->tell_all(as_bytes(m)); }
    for (int i = 0; i < 6; ++i) { ask(way, "x"); }
    std::string heard;
    auto const visit = [&](bytes_view m) { heard += as_text(m); };
    CHECK(way.receive(visit).error() == errc::connection_lost);
    CHECK(heard == "12");
    CHECK(way.connected());
    CHECK(way.receive(visit));
}
