// SPDX-License-Identifier: BSL-1.0

/// HTTP over TLS: who is believed, who is not, and that the rest is as without.

#include <syncline/adapters/https.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "adapters/asking.hpp"
#include "adapters/raw_http.hpp"
#include "adapters/tls_identity.hpp"
#include "support/catch.hpp"

using namespace syncline;
using namespace std::chrono_literals;
using asking::ask;
using asking::outcome;
using asking::to;
using raw_http::reply;
using tls_identity::identity;
using tls_identity::self_signed;

namespace {

/// Answers every request of every TLS connection with the same text; a connection serves so many.
class tls_server {
public:
    explicit tls_server(identity const& who, std::string answer = reply("answer"), int per_connection = 100)
        : context_(boost::asio::ssl::context::tls_server),
          answer_(std::move(answer)),
          per_connection_(per_connection),
          acceptor_(io_, raw_http::here(0)),
          port_(acceptor_.local_endpoint().port()) {
        context_.use_certificate(boost::asio::buffer(who.certificate), boost::asio::ssl::context::pem);
        context_.use_private_key(boost::asio::buffer(who.key), boost::asio::ssl::context::pem);
        thread_ = std::thread([this] { serve(); });
    }
    tls_server(tls_server const&) = delete;
    tls_server& operator=(tls_server const&) = delete;
    ~tls_server() {
        stopping_ = true;
        raw_http::error e;
        raw_http::tcp::socket waker(io_);
        waker.connect(raw_http::here(port_), e);
        waker.close(e);
        thread_.join();
    }
    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] int handshakes() const { return handshakes_; }
    [[nodiscard]] int requests() const { return requests_; }

private:
    void serve() {
        for (;;) {
            boost::asio::ssl::stream<raw_http::tcp::socket> stream(io_, context_);
            raw_http::error e;
            acceptor_.accept(stream.next_layer(), e);
            if (stopping_ || e) { return; }
            stream.handshake(boost::asio::ssl::stream_base::server, e);
            if (e) { continue; }
            ++handshakes_;
            for (int i = 0; i < per_connection_; ++i) {
                if (raw_http::read_message(stream).empty()) { break; }
                ++requests_;
                boost::asio::write(stream, boost::asio::buffer(answer_), e);
            }
        }
    }

    boost::asio::io_context io_;
    boost::asio::ssl::context context_;
    std::string answer_;
    int per_connection_;
    std::atomic<int> handshakes_{0};
    std::atomic<int> requests_{0};
    std::atomic<bool> stopping_{false};
    raw_http::tcp::acceptor acceptor_;
    std::uint16_t port_;
    std::thread thread_;
};

}  // namespace

TEST_CASE("a pinned certificate is believed, as text or from a file, and the connection is kept") {
    identity const peer = self_signed("IP:127.0.0.1");
    tls_server server(peer);
    SECTION("text") {
        https_transport t(to(server.port()), tls_options{.ca_pem = peer.certificate});
        CHECK(ask(t).text == "answer");
        CHECK(ask(t).text == "answer");
        CHECK(server.handshakes() == 1);
        CHECK(server.requests() == 2);
    }
    SECTION("file") {
        auto const file =
            std::filesystem::temp_directory_path() / ("syncline-ca-" + std::to_string(server.port()) + ".pem");
        std::ofstream(file) << peer.certificate;
        https_transport t(to(server.port()), tls_options{.ca_file = file.string()});
        CHECK(ask(t).text == "answer");
        std::filesystem::remove(file);
        CHECK(ask(t).text == "answer");
    }
    SECTION("with tokens") {
        struct {
            result<std::string> token() { return std::string("secret"); }
            status refresh() { return {}; }
        } tokens;
        https_transport t(to(server.port()), tokens, tls_options{.ca_pem = peer.certificate});
        CHECK(ask(t).text == "answer");
    }
}

TEST_CASE("another's certificate is foreign, and nothing of the request leaves") {
    identity const peer = self_signed("IP:127.0.0.1");
    identity const other = self_signed("IP:127.0.0.1");
    SECTION("an authority that nobody told us of") {
        tls_server server(peer);
        https_transport t(to(server.port()), tls_options{.ca_pem = other.certificate});
        outcome const out = ask(t);
        REQUIRE(out.failed);
        CHECK(out.failed->code == errc::foreign);
        CHECK(server.requests() == 0);
    }
    SECTION("the system's authorities don't know it either") {
        tls_server server(peer);
        https_transport t(to(server.port()));
        CHECK(ask(t).failed == failure{errc::foreign});
        CHECK(server.requests() == 0);
    }
    SECTION("another name") {
        identity const elsewhere = self_signed("DNS:elsewhere.example");
        tls_server server(elsewhere);
        https_transport t(to(server.port()), tls_options{.ca_pem = elsewhere.certificate});
        CHECK(ask(t).failed == failure{errc::foreign});
        https_transport named(to(server.port()),
                              tls_options{.ca_pem = elsewhere.certificate, .server_name = "elsewhere.example"});
        CHECK(ask(named).text == "answer");
    }
    SECTION("a date that has passed") {
        identity const late = self_signed("IP:127.0.0.1", -60);
        tls_server server(late);
        https_transport t(to(server.port()), tls_options{.ca_pem = late.certificate});
        CHECK(ask(t).failed == failure{errc::foreign});
    }
    SECTION("believed all the same by who asks not to verify") {
        tls_server server(peer);
        https_transport t(to(server.port()), tls_options{.verify_peer = false});
        CHECK(ask(t).text == "answer");
    }
}

TEST_CASE("what speaks no TLS is unreachable, what is silent too, in time") {
    raw_http::server plain({{{"HTTP/1.1 400 Bad Request\r\n\r\n", raw_http::step::after::close, false}}});
    https_transport t(to(plain.port()));
    outcome const out = ask(t);
    REQUIRE(out.failed);
    CHECK(out.failed->code == errc::unreachable);

    raw_http::server silent({{{"", raw_http::step::after::hang, false}}});
    http_options o = to(silent.port());
    o.connect_timeout = 100ms;
    https_transport waiting(o);
    auto const from = std::chrono::steady_clock::now();
    CHECK(ask(waiting).failed == failure{errc::unreachable});
    CHECK(std::chrono::steady_clock::now() - from < 2s);
}

TEST_CASE("a kept TLS connection that the peer dropped is replaced, and a cut reply is noticed") {
    identity const peer = self_signed("IP:127.0.0.1");
    {
        tls_server server(peer, reply("answer"), 1);
        https_transport t(to(server.port()), tls_options{.ca_pem = peer.certificate});
        CHECK(ask(t).text == "answer");
        CHECK(ask(t).text == "answer");
        CHECK(server.handshakes() == 2);
    }
    std::string const whole = reply("answer");
    tls_server server(peer, whole.substr(0, whole.size() - 2), 1);
    https_transport t(to(server.port()), tls_options{.ca_pem = peer.certificate});
    CHECK(ask(t).failed == failure{errc::connection_lost});
}

TEST_CASE("certificates that can't be loaded are said before anything is sent") {
    identity const peer = self_signed("IP:127.0.0.1");
    tls_server server(peer);
    for (tls_options const& o : {tls_options{.ca_file = "/nonexistent/ca.pem"}, tls_options{.ca_pem = "no certificate"},
                                 tls_options{.certificate_file = "/nonexistent/me.pem"}}) {
        https_transport t(to(server.port()), o);
        CHECK(ask(t).failed == failure{errc::invalid});
    }
    CHECK(server.handshakes() == 0);
}
