// SPDX-License-Identifier: BSL-1.0

/// Live connections over plain HTTP: both ends together, faults between them, and a device's listener over them.

#include <syncline/adapters/long_poll.hpp>
#include <syncline/adapters/long_poll_client.hpp>
#include <syncline/adapters/long_poll_server.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/testing/transport_conformance.hpp>
#include <syncline/transport/live_listener.hpp>

#include "adapters/asking.hpp"
#include "adapters/raw_http.hpp"
#include "adapters/silent_peer.hpp"
#include "adapters/websocket_ends.hpp"
#include "support/catch.hpp"

using namespace syncline;
using namespace std::chrono_literals;
using asking::ask;
using asking::outcome;
using websocket_ends::echo;
using websocket_ends::life;

namespace {

/// A server that runs on a thread of its own while the object lives.
class running {
public:
    template <class H>
    explicit running(H& handler, long_poll_server_options options = {}, unsigned of_life = 1,
                     live_hub_options const& hub = {})
        : server_(std::move(options), life(of_life), random_generator{of_life}, handler, policy_, hub) {
        server_.authorise_by(who_);
        REQUIRE(server_.listen());
        thread_ = std::thread([this] { server_.run(); });
    }
    running(running const&) = delete;
    running& operator=(running const&) = delete;
    ~running() {
        server_.stop();
        thread_.join();
    }
    [[nodiscard]] std::uint16_t port() const { return server_.port(); }
    long_poll_server* operator->() { return &server_; }
    std::size_t connections() {
        return standing([](long_poll_server const& s) { return s.connections(); });
    }
    std::size_t members() {
        return standing([](long_poll_server const& s) { return s.members(); });
    }

private:
    template <class F>
    std::size_t standing(F count) {
        server_.stop();
        thread_.join();
        std::size_t const n = count(server_);
        thread_ = std::thread([this] { server_.run(); });
        return n;
    }
    struct naming {
        result<std::string> operator()(std::string_view bearer) const {
            if (bearer == "old") { return failure{errc::unauthorised}; }
            return std::string{bearer};
        }
    };
    websocket_ends::policy policy_;
    naming who_;
    long_poll_server server_;
    std::thread thread_;
};

long_poll_options to(std::uint16_t port) {
    long_poll_options o;
    o.http.host = "127.0.0.1";
    o.http.port = port;
    o.http.connect_timeout = 2s;
    o.http.exchange_timeout = 5s;
    return o;
}

/// Both ends under the axioms of `live_transport`, as `testing::certify_transport` wants them.
class pair {
public:
    explicit pair(testing::conformance_peer& peer) : handler_{peer}, client_(client_options(start(0))) { ping(); }
    pair(pair const&) = delete;
    pair& operator=(pair const&) = delete;
    ~pair() { disconnect(); }
    long_poll_transport& subject() { return client_; }
    /// What was pushed has arrived: it goes with the held question's answer or with the next one's, and both ends are quick
    /// here. When nothing came for a while, that was all.
    void drive() {
        for (int quiet = 0; pushed_ && quiet < 30; ++quiet) {
            std::size_t const before = client_.waiting();
            ping();
            if (client_.waiting() != before) { quiet = 0; }
        }
        pushed_ = false;
    }
    void disconnect() {
        portal_.reset();
        handler_.be_silent(false);
        if (!server_) { return; }
        server_->stop();
        thread_.join();
        port_ = server_->port();
        server_.reset();
        while (client_.connected()) { (void)client_.wait(1ms); }
    }
    void reconnect() {
        start(port_);
        ping();
    }
    void silence() { handler_.be_silent(true); }
    void speak() { handler_.be_silent(false); }
    void intercept(bytes_view page) {
        disconnect();
        portal_.emplace(raw_http::portal(as_text(page)), port_);
    }
    void release() {
        portal_.reset();
        reconnect();
    }
    void push(bytes_view m) {
        if (!server_) { return; }
        server_->tell_all(m);
        pushed_ = true;
    }

private:
    static constexpr std::size_t bytes_max = 400'000;

    void ping() {
        auto nothing = [](transport_reply const&) {};
        client_.exchange(encode(live_frame{live_ping{}}), completion::to(nothing));
    }
    std::uint16_t start(std::uint16_t port) {
        long_poll_server_options o;
        o.http.port = port;
        o.http.request_bytes_max = bytes_max + carried_bytes_max;
        server_.emplace(o, life(1), random_generator{++started_}, handler_, policy_);
        REQUIRE(server_->listen());
        thread_ = std::thread([this] { server_->run(); });
        return server_->port();
    }
    static long_poll_options client_options(std::uint16_t port) {
        long_poll_options o = to(port);
        o.http.limits = {.request_bytes_max = bytes_max, .reply_bytes_max = bytes_max + 3};
        o.http.exchange_timeout = 2s;
        return o;
    }

    silent_peer handler_;
    websocket_ends::policy policy_;
    std::optional<long_poll_server> server_;
    std::thread thread_;
    std::uint16_t port_ = 0;
    std::uint64_t started_ = 0;
    bool pushed_ = false;
    std::optional<raw_http::server> portal_{};
    long_poll_transport client_;
};

/// What comes within a while; '!' at a gap.
std::string heard(long_poll_transport& way) {
    (void)way.wait(5s);
    std::string all;
    auto const visit = [&](bytes_view m) { all += as_text(m); };
    if (!way.receive(visit)) { all += '!'; }
    return all;
}

}  // namespace

TEST_CASE("both ends of long polling are a live transport by all its axioms", "[threads]") {
    static_assert(testing::silent_fixture<pair> && testing::intercepted_fixture<pair>);
    auto const found =
        testing::certify_transport([](testing::conformance_peer& peer) { return std::make_unique<pair>(peer); });
    CHECK(testing::to_text(found) == "");
}

TEST_CASE("a question is held until there is news, and no longer than it says", "[threads]") {
    echo handler;
    long_poll_server_options o;
    o.hold = 100ms;
    running s(handler, o);
    long_poll_options patient = to(s.port());
    patient.poll_timeout = 1s;
    long_poll_transport way(patient);
    CHECK(ask(way, "x").text == "echo x");
    CHECK(way.connected());
    CHECK_FALSE(way.wait(1300ms));  // questions come back empty: nothing to receive, and no time-out
    CHECK(way.connected());
    std::thread later([&] {
        std::this_thread::sleep_for(50ms);
        s->tell_all(as_bytes("hear"));
        s->tell_all(as_bytes("hear"));
    });
    CHECK(heard(way).starts_with("hear"));
    later.join();
    outcome const refused = ask(way, "fail");
    CHECK(refused.failed == errc::throttled);
    CHECK(refused.retry_after == 7000ms);
    CHECK(way.connected());
    std::thread stop([&] {
        std::this_thread::sleep_for(50ms);
        way.cancel();
    });
    while (!way.wait(5s) && way.receive([](bytes_view) {}) && stop.joinable()) { stop.join(); }
    if (stop.joinable()) { stop.join(); }
}

TEST_CASE("a cancel ends what is under way, and no session that begins later", "[threads]") {
    std::optional<long_poll_transport> way;
    auto handler = [&](request_context const&, bytes_view body) {
        if (as_text(body) == "cancel") { way->cancel(); }
        return to_bytes("done");
    };
    running s(handler);
    way.emplace(to(s.port()));
    SECTION("nothing was under way") { way->cancel(); }
    SECTION("an exchange was") { (void)ask(*way, "cancel"); }
    CHECK(ask(*way).text == "done");
    CHECK(way->connected());
    auto const nothing = [](bytes_view) {};
    CHECK(way->receive(nothing));
}

TEST_CASE("an exchange hands over its reply before it connects for news", "[threads]") {
    echo handler;
    running s(handler);
    long_poll_options o = to(s.port());
    long_poll_transport way(o);
    std::size_t open = 0;
    auto count = [&](transport_reply const& r) {
        CHECK(r.message);
        open = s.connections();
    };
    way.exchange(as_bytes("x"), completion::to(count));
    CHECK(open == 1);
    o.poll_timeout = 0ms;
    long_poll_transport wrong(o);
    CHECK(ask(wrong).failed == errc::invalid);
}

TEST_CASE("a session is its principal's, and one that is forgotten begins anew with a gap", "[threads]") {
    echo handler;
    std::optional<running> s(std::in_place, handler);
    std::uint16_t const port = s->port();
    websocket_ends::tokens annas{{"old", "anna"}};
    long_poll_transport way(to(port), annas);
    CHECK(ask(way, "who").text == "anna");
    CHECK(annas.at == 1);
    // Somebody else with the session's number: as if there were none.
    websocket_ends::tokens bens{{"ben"}};
    http_options plain = to(port).http;
    http_transport stranger(plain, bens);
    for (std::uint64_t const number : {random_generator{1}(), std::uint64_t{5}}) {
        auto const asked = [&](bytes const& message) {
            bytes reply;
            auto take = [&](transport_reply const& r) { reply = to_bytes(*r.message); };
            stranger.exchange(message, completion::to(take));
            auto const m = decode_carried(reply);
            return m && m->kind == carried_kind::failed && m->number == 0 && m->error == errc::not_found;
        };
        CHECK(asked(encode(carried{carried_kind::request, number, as_bytes("who"), {}, {}})));
        CHECK(asked(encode(live_poll{number})));
    }
    CHECK(ask(stranger, "neither of ours").failed);

    s.reset();
    long_poll_server_options at;
    at.http.port = port;
    s.emplace(handler, at, 2U);
    CHECK(ask(way, "who").text == "anna");  // the same call, in a session of the new server's
    CHECK(way.connected());
    std::string seen;
    auto const visit = [&](bytes_view m) { seen += as_text(m); };
    CHECK(way.receive(visit).error() == errc::connection_lost);
    CHECK(way.receive(visit));
    (*s)->tell_all(as_bytes("new"));
    CHECK(heard(way) == "new");
}

TEST_CASE("an exchange that fails leaves no session at the server, and one that it was given is used", "[threads]") {
    SECTION("ours") {
        echo handler;
        running s(handler);
        long_poll_transport way(to(s.port()));
        for (int i = 0; i < 3; ++i) { CHECK(ask(way, "fail").failed == errc::throttled); }
        CHECK_FALSE(way.connected());
        CHECK(s.members() == 0);
        CHECK(ask(way, "x").text == "echo x");
        CHECK(ask(way, "fail").failed == errc::throttled);
        CHECK(way.connected());
        CHECK(s.members() == 1);
    }
    SECTION("another's, that keeps it") {
        auto const text = [](carried const& m) { return raw_http::reply(as_text(encode(m))); };
        raw_http::server s({{{text({carried_kind::failed, 7, {}, errc::peer_failed, {}})},
                             {text({carried_kind::reply, 7, as_bytes("done"), {}, {}})}}});
        long_poll_transport way(to(s.port()));
        CHECK(ask(way).failed == errc::peer_failed);
        CHECK(ask(way).text == "done");
        auto const requests = s.requests();
        REQUIRE(requests.size() == 2);
        std::string const body = requests[1].substr(requests[1].find("\r\n\r\n") + 4);
        auto const second = decode_carried(as_bytes(body));
        REQUIRE(second);
        CHECK(second->number == 7);
    }
}

TEST_CASE("nobody's sessions keep others from exchanging", "[threads]") {
    echo handler;
    websocket_ends::tokens mallorys{{"mallory"}};
    long_poll_server_options o;
    o.sessions_per_principal_max = 2;
    auto const begin = [&](std::uint16_t port) {
        http_transport stranger(to(port).http, mallorys);
        bytes reply;
        auto take = [&](transport_reply const& r) { reply = to_bytes(*r.message); };
        stranger.exchange(encode(carried{carried_kind::request, 0, as_bytes("who"), {}, {}}), completion::to(take));
        auto const m = decode_carried(reply);
        REQUIRE(m);
        CHECK((m->kind == carried_kind::reply && as_text(m->body) == "mallory"));
    };
    websocket_ends::tokens annas{{"anna"}};
    SECTION("one principal has so many, and the one least recently heard ends") {
        running s(handler, o);
        long_poll_transport first(to(s.port()), mallorys);
        long_poll_transport other(to(s.port()), annas);
        CHECK(ask(first, "who").text == "mallory");
        CHECK(ask(other, "who").text == "anna");
        for (int i = 0; i < 5; ++i) { begin(s.port()); }
        CHECK(s.members() == 3);
        CHECK(first.wait(5s));  // its question is answered at once
        CHECK_FALSE(first.connected());
        CHECK(ask(other, "who").text == "anna");
        auto const nothing = [](bytes_view) {};
        CHECK(other.receive(nothing));
    }
    SECTION("where no more can listen, exchanges go on without a session") {
        live_hub_options hub;
        hub.members_max = 2;
        running s(handler, o, 1, hub);
        begin(s.port());
        begin(s.port());
        long_poll_transport way(to(s.port()), annas);
        CHECK(ask(way, "who").text == "anna");
        CHECK_FALSE(way.connected());
        CHECK(ask(way, as_text(encode(live_frame{live_ping{}}))).failed == errc::throttled);
        CHECK(ask(way, "fail").failed == errc::throttled);
        CHECK(ask(way, "who").text == "anna");
    }
}

TEST_CASE("a question whose connection is cut, or that nobody answers, is a session lost", "[threads]") {
    echo handler;
    long_poll_server_options o;
    o.hold = 20s;
    running s(handler, o);
    SECTION("nobody answers") {
        long_poll_options impatient = to(s.port());
        impatient.poll_timeout = 200ms;
        long_poll_transport way(impatient);
        CHECK(ask(way, "x").text == "echo x");
        CHECK(way.wait(5s));
        CHECK_FALSE(way.connected());
        auto const nothing = [](bytes_view) {};
        CHECK(way.receive(nothing).error() == errc::connection_lost);
        // What is said meanwhile is not lost with the connection that is gone: it waits for no one, and the server lives.
        s->tell_all(as_bytes("x"));
        CHECK(ask(way, "y").text == "echo y");
    }
    SECTION("the device is gone, and its question does not hold the server's connection") {
        {
            long_poll_transport way(to(s.port()));
            CHECK(ask(way, "x").text == "echo x");
        }
        long_poll_transport other(to(s.port()));
        std::size_t open = 9;
        for (int i = 0; i < 100 && open > 2; ++i) {
            CHECK(ask(other, "x").text == "echo x");
            open = s.connections();
        }
        CHECK(open <= 2);
    }
}

TEST_CASE("a question that is refused for a while is asked again when the refusal says so, in the same session",
          "[threads]") {
    using raw_http::reply;
    using raw_http::step;
    std::string const session{as_text(encode(carried{carried_kind::reply, 7, as_bytes("echo x"), {}, {}}))};
    std::string const news{as_text(encode_polled({to_bytes(as_bytes("news"))}))};
    char const* const hint = GENERATE("Retry-After: 1\r\n", "");
    raw_http::server proxy(
        {{step{reply(session), step::after::close}},
         {step{reply("try later", "503 Service Unavailable", "text/plain", hint), step::after::close}},
         {step{reply(news), step::after::hang}}});
    long_poll_options o = to(proxy.port());
    o.busy_wait = 1s;
    long_poll_transport way(o);
    REQUIRE(ask(way, "x").text == "echo x");
    auto const began = std::chrono::steady_clock::now();
    CHECK_FALSE(way.wait(300ms));
    CHECK(way.connected());
    CHECK(proxy.connections() == 2);
    CHECK(heard(way) == "news");
    CHECK(std::chrono::steady_clock::now() - began >= 900ms);
    CHECK(proxy.connections() == 3);
}

TEST_CASE("messages of a long poll that nobody receives are bounded, and the gap shows in its place", "[threads]") {
    echo handler;
    running s(handler);
    long_poll_options o = to(s.port());
    o.unasked_max = 2;
    long_poll_transport way(o);
    CHECK(ask(way, "x").text == "echo x");
    for (std::string_view const m : {"1", "2", "3", "4"}) { s->tell_all(as_bytes(m)); }
    for (int i = 0; i < 1000 && way.waiting() < 3; ++i) { ask(way, "x"); }
    std::string seen;
    auto const visit = [&](bytes_view m) { seen += as_text(m); };
    CHECK(way.receive(visit).error() == errc::connection_lost);
    CHECK(seen == "12");
    CHECK(way.connected());
}

TEST_CASE("a listener over long polling hears news, and comes back by its policy when the server was away",
          "[threads]") {
    echo handler;
    std::optional<running> s(std::in_place, handler);
    long_poll_server_options at;
    at.http.port = s->port();
    long_poll_transport way(to(s->port()));
    live_listener ear({{"rooms", "secret"}}, random_generator(1));
    monotonic_time now{1'000ms};
    std::uint64_t news = 0;
    int gaps = 0;
    auto const listen = [&] {
        return attend(
            ear, way, [&] { return now; },
            [&](live_output const& out) {
                if (auto const* n = std::get_if<live_news>(&out)) { news = n->position; }
                gaps += std::holds_alternative<live_gap>(out) ? 1 : 0;
            });
    };
    (void)listen();
    REQUIRE(ear.subscribed());
    CHECK(gaps == 1);
    (*s)->publish("rooms", 7);
    (*s)->publish("secret", 8);
    CHECK(way.wait(5s));
    (void)listen();
    CHECK(news == 7);
    now += 25'001ms;  // silence: it asks whether anybody is there
    (void)listen();
    CHECK(ear.subscribed());

    s.reset();
    for (int i = 0; i < 100 && way.connected(); ++i) { (void)way.wait(10ms); }
    auto const waits = listen();
    CHECK_FALSE(ear.subscribed());
    REQUIRE(waits.deadline);
    now = *waits.deadline;
    auto const longer = listen();  // refused: nobody listens there
    REQUIRE(longer.deadline);
    CHECK(*longer.deadline > now);
    s.emplace(handler, at, 2U);
    (*s)->publish("rooms", 9);
    for (int i = 0; i < 20 && !ear.subscribed(); ++i) {
        now += 60'000ms;
        (void)listen();
    }
    CHECK(ear.subscribed());
    CHECK(gaps == 2);
}
