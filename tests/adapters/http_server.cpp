// SPDX-License-Identifier: BSL-1.0

/// The HTTP server against clients that send what they like; and the pair of both ends under the transport axioms.

#include <syncline/adapters/http_server.hpp>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <syncline/adapters/http.hpp>
#include <syncline/testing/transport_conformance.hpp>

#include "adapters/http_ends.hpp"
#include "adapters/raw_http.hpp"
#include "support/catch.hpp"

using namespace syncline;
using namespace std::chrono_literals;
using http_ends::body_of;
using http_ends::echo;
using http_ends::post;
using http_ends::status_of;
using raw_http::header;
using running = http_ends::running<http_server>;

namespace {

/// The status that a fresh connection gets for such bytes.
int asked(std::uint16_t port, std::string_view text) {
    raw_http::client c(port);
    c.send(text);
    return status_of(c.message());
}

static_assert(http_handler<echo>);
static_assert(!http_handler<int>);

}  // namespace

TEST_CASE("a request is handed to the handler and its answer sent back, many over one connection", "[threads]") {
    echo handler;
    running const server(handler);
    raw_http::client c(server.port());
    for (std::string const& body : {std::string("one"), std::string(), std::string(100'000, 'x')}) {
        c.send(post(body));
        std::string const answer = c.message();
        CHECK(status_of(answer) == 200);
        CHECK(body_of(answer) == "echo " + body);
        CHECK(header(answer, "Content-Type") == "application/vnd.syncline");
        CHECK(header(answer, "Cache-Control") == "no-store");
        CHECK(parse_http_date(header(answer, "Date"), {}).has_value());
    }
    SECTION("two at once are answered in order") {
        c.send(post("first") + post("second", "", "/sync?query=1"));
        CHECK(body_of(c.message()) == "echo first");
        CHECK(body_of(c.message()) == "echo second");
    }
    SECTION("chunks are put together") {
        c.send(
            "POST /sync HTTP/1.1\r\nHost: x\r\nContent-Type: application/vnd.syncline\r\n"
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        CHECK(body_of(c.message()) == "echo abcde");
    }
    SECTION("who waits to be invited is invited") {
        c.send(
            "POST /sync HTTP/1.1\r\nHost: x\r\nContent-Type: application/vnd.syncline\r\n"
            "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
        CHECK(status_of(c.message()) == 100);
        c.send("abc");
        CHECK(body_of(c.message()) == "echo abc");
    }
    SECTION("close is honoured") {
        c.send(post("last", "Connection: close\r\n"));
        std::string const answer = c.rest();
        CHECK(c.ended());
        CHECK(body_of(answer) == "echo last");
        CHECK(header(answer, "Connection") == "close");
    }
    SECTION("an old client's connection ends too") {
        c.send("POST /sync HTTP/1.0\r\nContent-Type: application/vnd.syncline\r\nContent-Length: 1\r\n\r\nz");
        CHECK(body_of(c.rest()) == "echo z");
        CHECK(c.ended());
    }
}

TEST_CASE("what is not for the handler does not reach it, and says why") {
    int calls = 0;
    auto handler = [&](request_context const&, bytes_view) {
        ++calls;
        return bytes{};
    };
    {
        running const server(handler, {.request_bytes_max = 1000});
        raw_http::client c(server.port());
        c.send(post("x", "", "/other"));
        CHECK(status_of(c.message()) == 404);
        c.send("GET /sync HTTP/1.1\r\nHost: x\r\n\r\n");
        std::string const wrong_method = c.message();
        CHECK(status_of(wrong_method) == 405);
        CHECK(header(wrong_method, "Allow") == "POST");
        c.send(post("x", "", "/sync", "text/plain"));
        CHECK(status_of(c.message()) == 415);
        c.send(post("x", "Content-Encoding: gzip\r\n"));
        CHECK(status_of(c.message()) == 415);
        c.send(post(std::string(1000, 'x')));
        CHECK(status_of(c.message()) == 200);
        CHECK(asked(server.port(), post(std::string(1001, 'x'))) == 413);
        // Too long by its word, whether or not it comes; and in chunks, which say nothing before.
        CHECK(asked(server.port(),
                    "POST /sync HTTP/1.1\r\nContent-Type: application/vnd.syncline\r\n"
                    "Content-Length: 18446744073709551615\r\n\r\n") == 413);
        std::string chunks =
            "POST /sync HTTP/1.1\r\nContent-Type: application/vnd.syncline\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (int i = 0; i < 20; ++i) { chunks += "64\r\n" + std::string(100, 'c') + "\r\n"; }
        CHECK(asked(server.port(), chunks) == 413);
        // A long body on a wrong path is not waited for.
        CHECK(asked(server.port(), "POST /other HTTP/1.1\r\nContent-Length: 900000000\r\n\r\n") == 404);
        // The refusal arrives although the client is still sending.
        raw_http::client big(server.port());
        big.send(post(std::string(std::size_t{4} << 20, 'x')));
        CHECK(status_of(big.message()) == 413);
    }
    CHECK(calls == 1);
}

TEST_CASE("each failure of the handler has its status, a hint its header") {
    int code = 0;
    std::optional<milliseconds> hint;
    auto handler = [&](request_context const&, bytes_view) {
        return peer_reply{failure{static_cast<errc>(code)}, hint};
    };
    http_server server({}, handler);
    REQUIRE(server.listen());
    raw_http::client c(server.port());
    for (code = 1; code <= 40; ++code) {
        hint = code % 2 == 0 ? std::optional<milliseconds>{code * 1000 - 1} : std::nullopt;
        c.send(post("x"));
        std::string answer;
        std::thread reader([&] {
            answer = c.message();
            server.stop();
        });
        server.run();
        reader.join();
        CHECK(status_of(answer) == to_http_status(static_cast<errc>(code)));
        CHECK(header(answer, "Retry-After") == (hint ? std::to_string(code) : ""));
        CHECK(header(answer, "WWW-Authenticate") == (status_of(answer) == 401 ? "Bearer" : ""));
    }
}

TEST_CASE("a token is asked for before the body, and the handler is told whose it is") {
    std::string seen;
    auto handler = [&](request_context const& who, bytes_view) {
        seen = std::string(who.principal) + '/' + std::string(who.bearer);
        CHECK(who.peer.starts_with("127.0.0.1:"));
        return bytes{};
    };
    auto authorise = [](std::string_view bearer) -> result<std::string> {
        if (bearer == "barred") { return errc::forbidden; }
        if (bearer != "secret") { return errc::unauthorised; }
        return std::string("anna");
    };
    auto pages = [](std::string_view path) -> std::optional<http_page> {
        if (path == "/health") { return http_page{.body = "fine"}; }
        if (path == "/ill") { return http_page{.http_status = 503, .content_type = "application/json", .body = "{}"}; }
        return std::nullopt;
    };
    {
        running const server({}, handler, [&](http_server& s) {
            s.authorise_by(authorise);
            s.get_by(pages);
        });
        raw_http::client c(server.port());
        c.send(post("x"));
        std::string const refused = c.message();
        CHECK(status_of(refused) == 401);
        CHECK(header(refused, "WWW-Authenticate") == "Bearer");
        c.send(post("x", "Authorization: Bearer wrong\r\n"));
        CHECK(status_of(c.message()) == 401);
        c.send(post("x", "Authorization: Basic secret\r\n"));
        CHECK(status_of(c.message()) == 401);
        c.send(post("x", "Authorization: Bearer barred\r\n"));
        CHECK(status_of(c.message()) == 403);
        c.send(post("x", "Authorization: bearer  secret\r\n"));
        CHECK(status_of(c.message()) == 200);
        c.send("GET /health?deep=1 HTTP/1.1\r\nHost: x\r\n\r\n");
        std::string const health = c.message();
        CHECK(status_of(health) == 200);
        CHECK(body_of(health) == "fine");
        c.send("GET /ill HTTP/1.1\r\nHost: x\r\n\r\n");
        std::string const ill = c.message();
        CHECK(status_of(ill) == 503);
        CHECK(header(ill, "Content-Type") == "application/json");
        c.send("GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
        CHECK(status_of(c.message()) == 404);
        CHECK(asked(server.port(), "POST /sync HTTP/1.1\r\nContent-Length: 900000000\r\n\r\n") == 401);
    }
    CHECK(seen == "anna/secret");
}

TEST_CASE("malformed requests are refused or dropped, and the next client is served") {
    echo handler;
    running const server(handler, {.header_timeout = 100ms, .body_timeout = 100ms});
    for (std::string const& text : std::vector<std::string>{
             "\r\n\r\n\r\n", "GARBAGE\r\n\r\n", "POST\r\n\r\n", "POST /sync\r\n\r\n", "POST /sync HTTP/9.9\r\n\r\n",
             "POST /sync HTTP/1.1\r\nContent-Length: x\r\n\r\n", "POST /sync HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
             "POST /sync HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
             "POST /sync HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
             "POST /sync HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
             "POST /sync HTTP/1.1\r\nno colon here\r\n\r\n", "POST /sync HTTP/1.1\r\n: empty\r\n\r\n",
             std::string("POST /sync HTTP/1.1\r\nX: \0\r\n\r\n", 28), "POST /sync HTTP/1.1\nHost: x\n\n"}) {
        int const code = asked(server.port(), text);
        INFO(text << " -> " << code);
        CHECK((code == 400 || code == 0));
    }
    CHECK(asked(server.port(), "POST /sync HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n") == 431);
    CHECK(asked(server.port(),
                "POST /sync HTTP/1.1\r\nContent-Type: application/vnd.syncline\r\n"
                "Transfer-Encoding: chunked\r\n\r\nZZ\r\n") == 400);

    // Spoil any byte of a good request: whatever comes of it, the server lives.
    std::string const good = post("body", "Authorization: Bearer t\r\nConnection: close\r\n");
    std::uint64_t x = 88172645463325252U;
    for (int i = 0; i < 300; ++i) {
        std::string bad = good;
        for (int spoils = 0; spoils < 3; ++spoils) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            bad[static_cast<std::size_t>(x >> 8) % bad.size()] = static_cast<char>(x & 0xFF);
        }
        raw_http::client c(server.port());
        c.send(bad.substr(0, i % 3 == 0 ? static_cast<std::size_t>(x >> 40) % bad.size() : bad.size()));
    }
    CHECK(asked(server.port(), good) == 200);
}

TEST_CASE("who is slow is let go") {
    echo handler;
    running const server(handler, {.header_timeout = 80ms, .body_timeout = 80ms, .idle_timeout = 80ms});
    auto const let_go = [&](std::string_view begun) {
        auto const from = std::chrono::steady_clock::now();
        raw_http::client c(server.port());
        c.send(begun);
        c.rest();
        return c.ended() && std::chrono::steady_clock::now() - from < 2s;
    };
    std::string const whole = post("body");
    CHECK(let_go(""));
    CHECK(let_go("POST /sy"));
    CHECK(let_go(whole.substr(0, whole.size() - 1)));
    CHECK(let_go(whole));  // idle after its answer

    // A byte now and then does not prolong it.
    raw_http::client c(server.port());
    auto const from = std::chrono::steady_clock::now();
    bool open = true;
    for (std::size_t i = 0; open && i < whole.size(); ++i) {
        open = c.send(whole.substr(i, 1));
        std::this_thread::sleep_for(10ms);
    }
    CHECK(!open);
    CHECK(std::chrono::steady_clock::now() - from < 1s);
}

TEST_CASE("connections are bounded: the longest idle makes room, and if none is idle the new one is told") {
    echo handler;
    running const server(handler, {.connections_max = 2});
    raw_http::client first(server.port());
    first.send(post("1"));
    CHECK(status_of(first.message()) == 200);
    raw_http::client second(server.port());
    second.send(post("2"));
    CHECK(status_of(second.message()) == 200);

    raw_http::client third(server.port());
    third.send(post("3"));
    CHECK(status_of(third.message()) == 200);
    CHECK(first.rest().empty());
    CHECK(first.ended());

    second.send("POST /sy");
    third.send("POST /sy");
    std::this_thread::sleep_for(20ms);
    raw_http::client fourth(server.port());
    fourth.send(post("4"));
    std::string const told = fourth.message();
    CHECK(status_of(told) == 503);
    CHECK(header(told, "Retry-After") == "1");

    std::string const whole = post("5");
    second.send(whole.substr(8));
    CHECK(body_of(second.message()) == "echo 5");
}

TEST_CASE("it stops when told, before, during and between runs, and by a signal", "[threads]") {
    echo handler;
    http_server server({}, handler);
    CHECK(server.port() == 0);
    server.run();  // does not listen: nothing to do
    REQUIRE(server.listen());
    CHECK(server.port() != 0);
    server.stop();
    server.stop();
    server.run();
    auto const from = std::chrono::steady_clock::now();
    server.run_for(30ms);
    CHECK(std::chrono::steady_clock::now() - from >= 29ms);

    raw_http::client c(server.port());
    c.send(post("x"));
    std::thread other([&] {
        CHECK(status_of(c.message()) == 200);
        server.stop();
    });
    server.run();
    other.join();
    CHECK(server.connections() == 1);

    REQUIRE(server.stop_on_signal(SIGUSR1));
    REQUIRE(server.stop_on_signal(SIGUSR2));
    CHECK(!server.stop_on_signal(-5));
    std::raise(SIGUSR2);
    server.run();
    std::raise(SIGUSR1);
    server.run();
}

TEST_CASE("where it can't listen it says so") {
    echo handler;
    http_server first({}, handler);
    REQUIRE(first.listen());
    http_server second({.port = first.port()}, handler);
    status const taken = second.listen();
    REQUIRE(!taken);
    CHECK(taken.error().code == errc::unreachable);
    CHECK(taken.error().native != 0);
    http_server nowhere({.address = "not an address"}, handler);
    CHECK(nowhere.listen().error().code == errc::invalid);
    http_server wrong({.path = "no-slash"}, handler);
    CHECK(wrong.listen().error().code == errc::invalid);
    CHECK(!valid(http_server_options{.connections_max = 0}));
    CHECK(!valid(http_server_options{.header_timeout = 0ms}));
    CHECK(valid(http_server_options{}));
}

TEST_CASE("client and server together keep the transport axioms", "[threads]") {
    using fixture = http_ends::pair<http_transport, http_server, true>;
    static_assert(testing::breakable_fixture<fixture> && testing::silent_fixture<fixture> &&
                  testing::intercepted_fixture<fixture>);
    auto const found =
        testing::certify_transport([](testing::conformance_peer& peer) { return std::make_unique<fixture>(peer); });
    CHECK(testing::to_text(found) == "");
}

TEST_CASE("a failure and its hint come through the pair as they were given") {
    errc code{};
    auto handler = [&](request_context const&, bytes_view) { return peer_reply{failure{code}, milliseconds{2000}}; };
    http_server server({}, handler);
    REQUIRE(server.listen());
    for (errc const e : {errc::unauthorised, errc::forbidden, errc::throttled, errc::too_large, errc::rejected,
                         errc::peer_failed, errc::timed_out}) {
        code = e;
        http_options o;
        o.host = "127.0.0.1";
        o.port = server.port();
        std::thread loop([&] { server.run(); });
        http_transport t(o);
        int calls = 0;
        auto const done = [&](transport_reply const& r) {
            ++calls;
            REQUIRE(!r.message);
            CHECK(r.message.error().code == e);
            CHECK(r.retry_after == 2000ms);
        };
        t.exchange(as_bytes("x"), completion::to(done));
        server.stop();
        loop.join();
        CHECK(calls == 1);
    }
}

TEST_CASE("a client cancelled from another thread leaves a server that serves the next", "[threads]") {
    std::atomic<bool> reached{false};
    std::atomic<bool> slow{true};
    auto handler = [&](request_context const&, bytes_view) {
        reached = true;
        while (slow) { std::this_thread::sleep_for(1ms); }
        return to_bytes("done");
    };
    running const server(handler);
    http_options o;
    o.host = "localhost";  // a name: looked up on a thread of its own
    o.port = server.port();
    http_transport t(o);
    std::optional<errc> failed;
    std::string text;
    auto const done = [&](transport_reply const& r) {
        failed.reset();
        if (r.message) {
            text = std::string(as_text(*r.message));
        } else {
            failed = r.message.error().code;
        }
    };
    std::thread other([&] {
        while (!reached) { std::this_thread::sleep_for(1ms); }
        t.cancel();
    });
    t.exchange(as_bytes("x"), completion::to(done));
    other.join();
    CHECK(failed == errc::cancelled);
    slow = false;
    t.exchange(as_bytes("y"), completion::to(done));
    CHECK(!failed);
    CHECK(text == "done");
}

TEST_CASE("a handler may answer by `later` before it returns, once", "[threads]") {
    std::atomic<int> wrong{0};
    auto handler = [&](request_context const&, bytes_view body, http_later const& later) -> std::optional<peer_reply> {
        bool const waited = later.waits();
        bool const first = later(to_bytes("at once"));
        bool const second = later(to_bytes("again"));
        wrong += waited && first && !second && !later.waits() ? 0 : 1;
        if (as_text(body) == "both") { return to_bytes("returned"); }
        return std::nullopt;
    };
    running const server(handler);
    raw_http::client c(server.port());
    for (std::string_view const body : {"later", "both", "later"}) {
        c.send(post(body));
        CHECK(body_of(c.message()) == "at once");
    }
    CHECK(wrong == 0);
}
