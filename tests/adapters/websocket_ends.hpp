// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Both ends of our WebSockets as tests run them.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <syncline/adapters/websocket_client.hpp>
#include <syncline/adapters/websocket_server.hpp>
#include <syncline/testing/transport_conformance.hpp>

#include "adapters/raw_http.hpp"
#include "adapters/silent_peer.hpp"
#include "support/catch.hpp"

namespace websocket_ends {

inline syncline::id128 life(unsigned n) {
    syncline::id128 id;
    id.bytes[15] = static_cast<std::byte>(n);
    return id;
}

/// Whoever comes may hear all topics but "secret".
struct policy {
    bool operator()(std::string_view, std::string_view topic) const { return topic != "secret"; }
};
struct echo {
    syncline::peer_reply operator()(syncline::request_context const& who, syncline::bytes_view body) const {
        if (syncline::as_text(body) == "fail") { return {syncline::errc::throttled, syncline::milliseconds{7000}}; }
        if (syncline::as_text(body) == "who") { return {syncline::to_bytes(who.principal)}; }
        return {syncline::to_bytes("echo " + std::string(syncline::as_text(body)))};
    }
};

/// Tokens that a client shows one after the other.
struct tokens {
    std::vector<std::string> given;
    std::size_t at = 0;
    syncline::result<std::string> token() { return given[at]; }
    syncline::status refresh() {
        if (at + 1 < given.size()) { ++at; }
        return {};
    }
};

/// A server that runs on a thread of its own while the object lives.
template <class Server>
class running {
public:
    using security = typename Server::security_options;

    template <class H, class Prepare>
    running(syncline::websocket_server_options options, H& handler, Prepare&& prepare,
            syncline::live_hub_options const& hub = {}, security const& tls = {}, unsigned of_life = 1)
        : server_(std::move(options), life(of_life), handler, policy_, hub, tls) {
        prepare(server_);
        REQUIRE(server_.listen());
        thread_ = std::thread([this] { server_.run(); });
    }
    template <class H>
    explicit running(H& handler, syncline::websocket_server_options options = {},
                     syncline::live_hub_options const& hub = {}, unsigned of_life = 1)
        : running(
              std::move(options), handler, [](Server&) {}, hub, {}, of_life) {}
    running(running const&) = delete;
    running& operator=(running const&) = delete;
    ~running() {
        server_.stop();
        thread_.join();
    }
    [[nodiscard]] std::uint16_t port() const { return server_.port(); }
    Server& operator*() { return server_; }
    Server* operator->() { return &server_; }

private:
    policy policy_;
    Server server_;
    std::thread thread_;
};

inline syncline::websocket_options to(std::uint16_t port) {
    syncline::websocket_options o;
    o.host = "127.0.0.1";
    o.port = port;
    o.connect_timeout = std::chrono::seconds{2};
    o.exchange_timeout = std::chrono::seconds{3};
    return o;
}

/// Both ends under the axioms of `live_transport`, as `testing::certify_transport` wants them. The peer may fall silent, for
/// which the client waits two seconds. `Plain`: without TLS, so that a portal may also stand in its place.
template <class Client, class Server, bool Plain = false>
class pair {
public:
    using client_security = typename Client::security_options;
    using server_security = typename Server::security_options;

    explicit pair(syncline::testing::conformance_peer& peer, client_security const& client = {},
                  server_security server = {})
        : handler_{peer}, server_security_(std::move(server)), client_(client_options(start(0)), client) {
        ping();
    }
    pair(pair const&) = delete;
    pair& operator=(pair const&) = delete;
    ~pair() { disconnect(); }
    Client& subject() { return client_; }
    /// What was pushed has arrived: between two replies goes one message at least.
    void drive() {
        for (std::size_t left = std::exchange(pushed_, 0); left != 0; --left) { ping(); }
    }
    void disconnect() {
        portal_.reset();
        handler_.be_silent(false);
        if (!server_) { return; }
        server_->stop();
        thread_.join();
        port_ = server_->port();
        server_.reset();
        while (client_.connected()) { (void)client_.wait(syncline::milliseconds{1}); }
    }
    void reconnect() {
        start(port_);
        ping();
    }
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
    void push(syncline::bytes_view m) {
        if (!server_) { return; }
        server_->tell_all(m);
        pushed_ += pushed_ == 0 ? 2 : 1;
    }

private:
    static constexpr std::size_t bytes_max = 400'000;

    void ping() {
        auto nothing = [](syncline::transport_reply const&) {};
        client_.exchange(encode(syncline::live_frame{syncline::live_ping{}}), syncline::completion::to(nothing));
    }
    std::uint16_t start(std::uint16_t port) {
        syncline::websocket_server_options o;
        o.port = port;
        o.request_bytes_max = bytes_max;
        server_.emplace(o, life(1), handler_, policy_, syncline::live_hub_options{}, server_security_);
        REQUIRE(server_->listen());
        thread_ = std::thread([this] { server_->run(); });
        return server_->port();
    }
    static syncline::websocket_options client_options(std::uint16_t port) {
        syncline::websocket_options o = to(port);
        o.limits = {.request_bytes_max = bytes_max, .reply_bytes_max = bytes_max + 3};
        o.exchange_timeout = syncline::milliseconds{2000};
        return o;
    }

    silent_peer handler_;
    policy policy_;
    server_security server_security_;
    std::optional<Server> server_;
    std::thread thread_;
    std::uint16_t port_ = 0;
    std::size_t pushed_ = 0;
    std::optional<raw_http::server> portal_{};
    Client client_;
};

}  // namespace websocket_ends
