// SPDX-License-Identifier: BSL-1.0

/// The HTTP server over TLS: with our own client, with clients that send what they like, and with what is no TLS.

#include <syncline/adapters/https_server.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <syncline/adapters/https.hpp>
#include <syncline/adapters/https_openssl.hpp>
#include <syncline/testing/transport_conformance.hpp>

#include "adapters/asking.hpp"
#include "adapters/http_ends.hpp"
#include "adapters/raw_http.hpp"
#include "adapters/tls_identity.hpp"
#include "support/catch.hpp"

using namespace syncline;
using namespace std::chrono_literals;
using asking::ask;
using asking::outcome;
using http_ends::body_of;
using http_ends::echo;
using http_ends::post;
using http_ends::status_of;
using raw_http::header;
using running = http_ends::running<https_server>;
using tls_identity::identity;
using tls_identity::self_signed;

namespace {

tls_server_options as(identity const& who) { return {.certificate_pem = who.certificate, .private_key_pem = who.key}; }
tls_server_options as(identity const& who, milliseconds handshake_timeout) {
    tls_server_options o = as(who);
    o.handshake_timeout = handshake_timeout;
    return o;
}

http_options to(std::uint16_t port) {
    http_options o;
    o.host = "127.0.0.1";
    o.port = port;
    o.limits = {.request_bytes_max = std::size_t{8} << 20, .reply_bytes_max = std::size_t{8} << 20};
    return o;
}

/// Whether the server at that port answers a client that believes it, and that on a busy machine may be slow itself.
bool serves(std::uint16_t port, identity const& who) {
    for (int i = 0; i < 5; ++i) {
        https_transport t(to(port), tls_options{.ca_pem = who.certificate});
        if (ask(t).text == "echo question") { return true; }
    }
    return false;
}

/// A TLS connection that sends text as it stands, to whomever.
class tls_client {
public:
    explicit tls_client(std::uint16_t port, int version_max = 0)
        : context_(boost::asio::ssl::context::tls_client), stream_(io_, (limit(context_, version_max), context_)) {
        raw_http::error e;
        stream_.next_layer().connect(raw_http::here(port), e);
        stream_.handshake(boost::asio::ssl::stream_base::client, e);
        shaken_ = !e;
    }
    [[nodiscard]] bool shaken() const { return shaken_; }
    [[nodiscard]] std::string version() { return SSL_get_version(stream_.native_handle()); }
    bool send(std::string_view text) {
        raw_http::error e;
        boost::asio::write(stream_, boost::asio::buffer(text.data(), text.size()), e);
        return !e;
    }
    std::string message() { return raw_http::read_message(stream_); }
    /// All that comes until the other side ends it.
    std::string rest() {
        std::string text;
        char part[4096];
        for (;;) {
            std::size_t const n = stream_.read_some(boost::asio::buffer(part), end_);
            if (end_) { return text; }
            text.append(part, n);
        }
    }
    /// Whether `rest` saw the other side say its farewell, so that nothing can have been cut off.
    [[nodiscard]] bool ended_well() const { return end_ == boost::asio::error::eof; }

private:
    static void limit(boost::asio::ssl::context& context, int version_max) {
        if (version_max == 0) { return; }
        SSL_CTX_set_security_level(context.native_handle(), 0);
        SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_VERSION);
        SSL_CTX_set_max_proto_version(context.native_handle(), version_max);
    }

    boost::asio::io_context io_;
    boost::asio::ssl::context context_;
    boost::asio::ssl::stream<raw_http::tcp::socket> stream_;
    bool shaken_ = false;
    raw_http::error end_;
};

}  // namespace

TEST_CASE("messages of all sizes go through TLS, many over one connection", "[threads]") {
    identity const who = self_signed("IP:127.0.0.1");
    std::set<std::string> connections;
    auto handler = [&](request_context const& from, bytes_view body) {
        connections.emplace(from.peer);
        return echo{}(from, body);
    };
    {
        running const server(handler, {}, as(who));
        https_transport t(to(server.port()), tls_options{.ca_pem = who.certificate});
        for (std::size_t const size :
             {std::size_t{0}, std::size_t{1}, std::size_t{16'384}, std::size_t{100'001}, std::size_t{6} << 20}) {
            std::string question(size, '\0');
            for (std::size_t i = 0; i < size; ++i) { question[i] = static_cast<char>(i * 31 % 251); }
            outcome const out = ask(t, question);
            CHECK(!out.failed);
            CHECK((out.text == "echo " + question));
        }
    }
    CHECK(connections.size() == 1);
}

TEST_CASE("a token that ran out is refreshed over the same TLS connection", "[threads]") {
    identity const who = self_signed("IP:127.0.0.1");
    std::vector<std::string> seen;
    auto handler = [&](request_context const& from, bytes_view) {
        seen.push_back(std::string(from.principal));
        return to_bytes("welcome");
    };
    auto authorise = [](std::string_view bearer) -> result<std::string> {
        if (bearer != "new") { return errc::unauthorised; }
        return std::string("anna");
    };
    struct {
        std::string now = "old";
        int refreshed = 0;
        result<std::string> token() { return now; }
        status refresh() {
            ++refreshed;
            now = "new";
            return {};
        }
    } tokens;
    {
        running const server(
            {}, handler, [&](https_server& s) { s.authorise_by(authorise); }, as(who));
        https_transport t(to(server.port()), tokens, tls_options{.ca_pem = who.certificate});
        CHECK(ask(t).text == "welcome");
        CHECK(ask(t).text == "welcome");
        https_transport stranger(to(server.port()), tls_options{.ca_pem = who.certificate});
        CHECK(ask(stranger).failed == failure{errc::unauthorised});
    }
    CHECK(tokens.refreshed == 1);
    CHECK(seen == std::vector<std::string>{"anna", "anna"});
}

TEST_CASE("who does not believe the certificate sends nothing") {
    identity const who = self_signed("IP:127.0.0.1");
    identity const other = self_signed("IP:127.0.0.1");
    int calls = 0;
    auto handler = [&](request_context const&, bytes_view) {
        ++calls;
        return bytes{};
    };
    {
        running const server(handler, {}, as(who));
        https_transport t(to(server.port()), tls_options{.ca_pem = other.certificate});
        CHECK(ask(t).failed == failure{errc::foreign});
    }
    CHECK(calls == 0);
}

TEST_CASE("TLS 1.2 is spoken, nothing older") {
    identity const who = self_signed("IP:127.0.0.1");
    echo handler;
    running const server(handler, {}, as(who));
    tls_client now(server.port());
    CHECK(now.shaken());
    CHECK(now.version() == "TLSv1.3");
    tls_client before(server.port(), TLS1_2_VERSION);
    CHECK(before.shaken());
    before.send(post("x"));
    CHECK(body_of(before.message()) == "echo x");
    CHECK(!tls_client(server.port(), TLS1_1_VERSION).shaken());
    std::optional<boost::asio::ssl::context> context;
    REQUIRE(detail::open_tls_context(context, boost::asio::ssl::context::tls_server));
    CHECK(SSL_CTX_get_min_proto_version(context->native_handle()) == TLS1_2_VERSION);
}

TEST_CASE("a connection is ended in TLS's way, and a refusal arrives while the client still sends") {
    identity const who = self_signed("IP:127.0.0.1");
    echo handler;
    running const server(handler, {.request_bytes_max = 1000}, as(who));
    for (int const version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        tls_client c(server.port(), version);
        c.send(post("last", "Connection: close\r\n"));
        CHECK(body_of(c.rest()) == "echo last");
        CHECK(c.ended_well());

        tls_client big(server.port(), version);
        big.send(post(std::string(std::size_t{4} << 20, 'x')));
        CHECK(status_of(big.rest()) == 413);
        CHECK(big.ended_well());

        tls_client invited(server.port(), version);
        invited.send(
            "POST /sync HTTP/1.1\r\nHost: x\r\nContent-Type: application/vnd.syncline\r\n"
            "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
        CHECK(status_of(invited.message()) == 100);
        invited.send("abc" + post("next"));
        CHECK(body_of(invited.message()) == "echo abc");
        CHECK(body_of(invited.message()) == "echo next");
    }
}

TEST_CASE("who never shakes hands is let go in time, and so is who is slow afterwards") {
    identity const who = self_signed("IP:127.0.0.1");
    echo handler;
    auto const quick = [](auto const& wait) {
        auto const from = std::chrono::steady_clock::now();
        bool const ended = wait();
        return ended && std::chrono::steady_clock::now() - from < 2s;
    };
    SECTION("before") {
        running const server(handler, {}, as(who, 200ms));
        auto const let_go = [&](std::string_view begun) {
            return quick([&] {
                raw_http::client c(server.port());
                c.send(begun);
                c.rest();
                return c.ended();
            });
        };
        CHECK(let_go(""));
        CHECK(let_go("\x16"));
        CHECK(let_go(std::string_view("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11)));
        // A byte now and then does not prolong it.
        CHECK(quick([&] {
            raw_http::client c(server.port());
            std::string const hello("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
            bool open = c.send(hello);
            for (int i = 0; open && i < 300; ++i) {
                std::this_thread::sleep_for(10ms);
                open = c.send("a");
            }
            return !open;
        }));
        CHECK(serves(server.port(), who));
    }
    SECTION("after") {
        running const server(handler, {.header_timeout = 80ms, .body_timeout = 80ms, .idle_timeout = 80ms}, as(who));
        std::string const whole = post("body");
        for (std::string const& begun : {std::string(), whole.substr(0, 8), whole.substr(0, whole.size() - 1), whole}) {
            CHECK(quick([&] {
                tls_client c(server.port());
                c.send(begun);
                c.rest();
                return c.shaken();
            }));
        }
        CHECK(serves(server.port(), who));
    }
}

TEST_CASE("what is no TLS is dropped, and the next client is served") {
    identity const who = self_signed("IP:127.0.0.1");
    echo handler;
    running const server(handler, {.header_timeout = 500ms}, as(who, 500ms));
    {
        raw_http::client plain(server.port());
        plain.send(post("hello"));
        CHECK(status_of(plain.rest()) == 0);
        CHECK(plain.ended());
        http_transport t(to(server.port()));
        int calls = 0;
        auto const done = [&](transport_reply const& r) {
            ++calls;
            CHECK(!r.message);
        };
        t.exchange(as_bytes("hello"), completion::to(done));
        CHECK(calls == 1);
    }
    CHECK(serves(server.port(), who));

    // Noise, half of it in what looks like records of TLS, some of it after a good handshake.
    std::uint64_t x = 88172645463325252U;
    auto const next = [&x] {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        return static_cast<std::size_t>(x >> 16);
    };
    for (int i = 0; i < 200; ++i) {
        std::string noise(next() % 600, '\0');
        for (char& c : noise) { c = static_cast<char>(next() & 0xFF); }
        if (i % 2 == 0 && noise.size() >= 10) {
            std::size_t const length = noise.size() - 5;
            noise.replace(0, 3, "\x16\x03\x01");
            noise[3] = static_cast<char>(length >> 8);
            noise[4] = static_cast<char>(length & 0xFF);
            noise[5] = '\x01';
        }
        if (i % 10 == 9) {
            tls_client c(server.port());
            CHECK(c.shaken());
            c.send(noise);
        } else {
            raw_http::client c(server.port());
            c.send(noise);
        }
    }
    CHECK(serves(server.port(), who));
}

TEST_CASE("connections without a handshake make room, and one too many is told so over TLS") {
    identity const who = self_signed("IP:127.0.0.1");
    echo handler;
    running const server(handler, {.connections_max = 2}, as(who));
    raw_http::client silent(server.port());
    raw_http::client silent_too(server.port());
    tls_client first(server.port());
    CHECK(first.shaken());
    tls_client second(server.port());
    CHECK(second.shaken());
    CHECK(silent.rest().empty());
    CHECK(silent.ended());
    CHECK(silent_too.rest().empty());
    CHECK(silent_too.ended());

    first.send(post("1") + "POST /sy");
    CHECK(body_of(first.message()) == "echo 1");
    second.send(post("2") + "POST /sy");
    CHECK(body_of(second.message()) == "echo 2");
    tls_client third(server.port());
    CHECK(third.shaken());
    std::string const told = third.rest();
    CHECK(status_of(told) == 503);
    CHECK(header(told, "Retry-After") == "1");
    CHECK(third.ended_well());

    second.send(post("3").substr(8));
    CHECK(body_of(second.message()) == "echo 3");
}

TEST_CASE("it stops and goes on with its TLS connections, and ends with some open") {
    identity const who = self_signed("IP:127.0.0.1");
    echo handler;
    std::optional<tls_client> half;
    {
        https_server server({}, handler, as(who));
        REQUIRE(server.listen());
        https_transport t(to(server.port()), tls_options{.ca_pem = who.certificate});
        for (int i = 0; i < 3; ++i) {
            std::thread loop([&] { server.run(); });
            CHECK(ask(t).text == "echo question");
            server.stop();
            loop.join();
            CHECK(server.connections() == 1);
        }
        std::thread loop([&] { server.run(); });
        half.emplace(server.port());
        half->send("POST /sy");
        raw_http::client silent(server.port());
        CHECK(serves(server.port(), who));
        server.stop();
        loop.join();
        CHECK(server.connections() >= 3);
    }
    CHECK(half->rest().empty());
    CHECK(!half->ended_well());
}

TEST_CASE("a certificate or a key that can't be used is said by listen") {
    identity const who = self_signed("IP:127.0.0.1");
    identity const other = self_signed("IP:127.0.0.1");
    auto const folder = std::filesystem::temp_directory_path() /
                        ("syncline-tls-" + std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()));
    std::filesystem::create_directory(folder);
    std::string const chain_file = (folder / "chain.pem").string();
    std::string const key_file = (folder / "key.pem").string();
    // A chain may have more than our own certificate, and a file of both is common.
    std::ofstream(chain_file) << who.certificate << other.certificate;
    std::ofstream(key_file) << who.certificate << who.key;
    std::string const locked_key = tls_identity::locked(who.key, "password");
    std::string const rsa_key = tls_identity::rsa_key();

    echo handler;
    auto const listening = [&](tls_server_options const& o) { return https_server({}, handler, o).listen(); };
    CHECK(listening({.certificate_file = chain_file, .private_key_file = key_file}));
    CHECK(listening({.certificate_file = chain_file, .private_key_pem = who.key}));
    CHECK(listening({.certificate_pem = who.certificate, .private_key_file = key_file}));

    auto const refused = [&](tls_server_options const& o, std::string_view part) {
        https_server server({}, handler, o);
        status const s = server.listen();
        if (s) { return false; }
        INFO(s.error().detail);
        CHECK(s.error().code == errc::invalid);
        CHECK(std::string_view(s.error().detail).find(part) != std::string_view::npos);
        server.run();  // does not listen: nothing to do
        return server.port() == 0;
    };
    CHECK(refused({}, "options"));
    CHECK(refused({.certificate_pem = who.certificate}, "options"));
    CHECK(refused({.private_key_pem = who.key}, "options"));
    CHECK(refused({.certificate_file = chain_file, .certificate_pem = who.certificate, .private_key_pem = who.key},
                  "options"));
    CHECK(refused(as(who, 0ms), "options"));
    CHECK(refused({.certificate_file = "/nonexistent/chain.pem", .private_key_pem = who.key}, "certificate"));
    CHECK(refused({.certificate_pem = "no certificate", .private_key_pem = who.key}, "certificate"));
    CHECK(refused({.certificate_pem = who.certificate, .private_key_file = "/nonexistent/key.pem"}, "key"));
    CHECK(refused({.certificate_pem = who.certificate, .private_key_pem = "no key"}, "key"));
    CHECK(refused({.certificate_pem = who.certificate, .private_key_pem = other.key}, "key"));
    CHECK(refused({.certificate_pem = who.certificate, .private_key_pem = rsa_key}, "key"));
    CHECK(refused({.certificate_pem = who.certificate, .private_key_pem = locked_key}, "key"));
    std::filesystem::remove_all(folder);
}

TEST_CASE("client and server together keep the transport axioms over TLS", "[threads]") {
    identity const who = self_signed("IP:127.0.0.1");
    using fixture = http_ends::pair<https_transport, https_server>;
    static_assert(testing::breakable_fixture<fixture>);
    auto const found = testing::certify_transport([&](testing::conformance_peer& peer) {
        return std::make_unique<fixture>(peer, tls_options{.ca_pem = who.certificate}, as(who));
    });
    CHECK(testing::to_text(found) == "");
}
