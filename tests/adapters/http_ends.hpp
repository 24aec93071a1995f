// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Our own two ends of HTTP as tests run them, with TLS and without.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <syncline/adapters/http_client.hpp>
#include <syncline/adapters/http_server.hpp>
#include <syncline/testing/transport_conformance.hpp>

#include "raw_http.hpp"
#include "silent_peer.hpp"
#include "support/catch.hpp"

namespace http_ends {

struct echo {
    syncline::result<syncline::bytes> operator()(syncline::request_context const&, syncline::bytes_view body) const {
        return syncline::to_bytes("echo " + std::string(syncline::as_text(body)));
    }
};

/// A request of ours, or one that differs from it.
inline std::string post(std::string_view body, std::string_view more = "", std::string_view path = "/sync",
                        std::string_view type = "application/vnd.syncline") {
    return "POST " + std::string(path) + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + std::string(type) + "\r\n" +
           std::string(more) + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

/// The status of a response's text; 0 if it is none.
inline int status_of(std::string const& text) {
    return text.starts_with("HTTP/1.1 ") ? std::stoi(text.substr(9, 3)) : 0;
}
inline std::string body_of(std::string const& text) { return text.substr(text.find("\r\n\r\n") + 4); }

/// A server that runs on a thread of its own while the object lives.
template <class Server>
class running {
public:
    using security = typename Server::security_options;

    template <class H, class Prepare>
    running(syncline::http_server_options options, H& handler, Prepare&& prepare, security const& tls = {})
        : server_(std::move(options), handler, tls) {
        prepare(server_);
        REQUIRE(server_.listen());
        thread_ = std::thread([this] { server_.run(); });
    }
    template <class H>
    explicit running(H& handler, syncline::http_server_options options = {}, security const& tls = {})
        : running(
              std::move(options), handler, [](Server&) {}, tls) {}
    running(running const&) = delete;
    running& operator=(running const&) = delete;
    ~running() {
        server_.stop();
        thread_.join();
    }
    [[nodiscard]] std::uint16_t port() const { return server_.port(); }

private:
    Server server_;
    std::thread thread_;
};

/// Both ends under the transport axioms, as `testing::certify_transport` wants them. The peer may fall silent, for which the
/// client waits two seconds. `Plain`: without TLS, so that a portal may also stand in its place.
template <class Client, class Server, bool Plain = false>
class pair {
public:
    using client_security = typename Client::security_options;
    using server_security = typename Server::security_options;

    explicit pair(syncline::testing::conformance_peer& peer, client_security const& client = {},
                  server_security server = {})
        : handler_{peer}, server_security_(std::move(server)), client_(client_options(start(0)), client) {}
    pair(pair const&) = delete;
    pair& operator=(pair const&) = delete;
    ~pair() { disconnect(); }
    Client& subject() { return client_; }
    void drive() {}
    void disconnect() {
        portal_.reset();
        handler_.be_silent(false);
        if (!server_) { return; }
        server_->stop();
        thread_.join();
        port_ = server_->port();
        server_.reset();
    }
    void reconnect() { start(port_); }
    void silence() { handler_.be_silent(true); }
    void speak() { handler_.be_silent(false); }
    void intercept(syncline::bytes_view page) requires(Plain) {
        disconnect();
        portal_.emplace(raw_http::portal(syncline::as_text(page)), port_);
    }
    void release() requires(Plain) {
        portal_.reset();
        reconnect();
    }

private:
    static constexpr std::size_t bytes_max = 400'000;

    std::uint16_t start(std::uint16_t port) {
        syncline::http_server_options o;
        o.port = port;
        o.request_bytes_max = bytes_max;
        server_.emplace(o, handler_, server_security_);
        REQUIRE(server_->listen());
        thread_ = std::thread([this] { server_->run(); });
        return server_->port();
    }
    static syncline::http_options client_options(std::uint16_t port) {
        syncline::http_options o;
        o.host = "127.0.0.1";
        o.port = port;
        o.limits = {.request_bytes_max = bytes_max, .reply_bytes_max = bytes_max + 3};
        o.exchange_timeout = syncline::milliseconds{2000};
        return o;
    }

    silent_peer handler_;
    server_security server_security_;
    std::optional<Server> server_;
    std::thread thread_;
    std::uint16_t port_ = 0;
    std::optional<raw_http::server> portal_;
    Client client_;
};

}  // namespace http_ends
