// SPDX-License-Identifier: BSL-1.0

/// The in-process transports: what they promise beyond the transport axioms (those: testing/transport_conformance.cpp).

#include <syncline/transport/loopback.hpp>

#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"

using namespace syncline;

namespace {

/// How an exchange ended, kept.
struct outcome {
    int calls = 0;
    std::optional<errc> failed;
    std::string text;
    std::optional<milliseconds> retry_after;

    void operator()(transport_reply const& reply) {
        ++calls;
        retry_after = reply.retry_after;
        if (reply.message) {
            failed.reset();
            text = std::string(as_text(*reply.message));
        } else {
            failed = reply.message.error().code;
        }
    }
};

struct echo {
    int calls = 0;
    result<bytes> operator()(bytes_view request) {
        ++calls;
        return to_bytes("echo " + std::string(as_text(request)));
    }
};

}  // namespace

static_assert(!std::is_constructible_v<loopback_transport, echo>, "a temporary handler would dangle");
static_assert(!std::is_copy_constructible_v<live_loopback>);

TEST_CASE("the loopback completes before exchange returns, with what the handler answered") {
    echo peer;
    loopback_transport t(peer);
    outcome out;
    t.exchange(as_bytes("hello"), completion::to(out));
    CHECK(out.calls == 1);
    CHECK(out.text == "echo hello");
    CHECK(!out.failed);
}

TEST_CASE("a handler may answer bytes, an error, or an error with a hint") {
    outcome out;
    SECTION("bytes") {
        auto peer = [](bytes_view) { return to_bytes("plain"); };
        loopback_transport t(peer);
        t.exchange({}, completion::to(out));
        CHECK(out.text == "plain");
    }
    SECTION("an error") {
        auto const peer = [](bytes_view) { return errc::forbidden; };
        loopback_transport t(peer);
        t.exchange({}, completion::to(out));
        CHECK(out.failed == errc::forbidden);
    }
    SECTION("a hint") {
        auto peer = [](bytes_view) { return peer_reply{failure{errc::throttled, "later"}, milliseconds{1500}}; };
        loopback_transport t(peer);
        t.exchange({}, completion::to(out));
        CHECK(out.failed == errc::throttled);
        CHECK(out.retry_after == milliseconds{1500});
    }
}

TEST_CASE("the loopback holds its limits on both sides") {
    echo peer;
    loopback_transport t(peer, {.request_bytes_max = 5, .reply_bytes_max = 8});
    outcome out;
    t.exchange(as_bytes("123"), completion::to(out));
    CHECK(out.text == "echo 123");
    t.exchange(as_bytes("1234"), completion::to(out));
    CHECK(out.failed == errc::too_large);
    CHECK(peer.calls == 2);
    t.exchange(as_bytes("123456"), completion::to(out));
    CHECK(out.failed == errc::too_large);
    CHECK(peer.calls == 2);
    CHECK(out.calls == 3);
}

TEST_CASE("an exchange may start another from its completion") {
    echo peer;
    loopback_transport t(peer);
    outcome inner;
    auto outer = [&](transport_reply const& reply) {
        t.exchange(as_bytes("again"), completion::to(inner));
        CHECK(as_text(*reply.message) == "echo first");
    };
    t.exchange(as_bytes("first"), completion::to(outer));
    CHECK(inner.text == "echo again");
}

TEST_CASE("the live loopback does nothing before it is stepped, and completes in the order asked for") {
    echo peer;
    live_loopback t(peer);
    outcome a;
    outcome b;
    outcome c;
    t.exchange(as_bytes("a"), completion::to(a));
    t.exchange(as_bytes("b"), completion::to(b));
    t.exchange(as_bytes("c"), completion::to(c));
    CHECK(peer.calls == 0);
    CHECK(t.pending() == 3);
    CHECK(!t.step(3));
    CHECK(t.step(1));
    CHECK(b.text == "echo b");
    CHECK(a.calls + c.calls == 0);
    CHECK(t.run() == 2);
    CHECK(a.text == "echo a");
    CHECK(c.text == "echo c");
    CHECK(!t.step());
}

TEST_CASE("a run is bounded where completions start new exchanges") {
    echo peer;
    live_loopback t(peer);
    struct endless {
        live_loopback& t;
        bool on = true;
        void operator()(transport_reply const&) {
            if (on) { t.exchange(as_bytes("more"), completion::to(*this)); }
        }
    } again{t};
    t.exchange(as_bytes("first"), completion::to(again));
    CHECK(t.run(10) == 10);
    CHECK(t.pending() == 1);
    again.on = false;
    CHECK(t.run() == 1);
}

TEST_CASE("the live loopback holds its limits") {
    echo peer;
    live_loopback t(peer, {.limits = {.request_bytes_max = 5, .reply_bytes_max = 8}});
    outcome out;
    t.exchange(as_bytes("1234"), completion::to(out));
    CHECK(out.calls == 0);
    t.run();
    CHECK(out.failed == errc::too_large);
    t.exchange(as_bytes("123456"), completion::to(out));
    t.run();
    CHECK(out.failed == errc::too_large);
    CHECK(peer.calls == 1);
    CHECK(t.push(as_bytes("123456789")).error() == errc::too_large);
}

TEST_CASE("destruction cancels what waits, also what a completion starts then") {
    echo peer;
    outcome out;
    outcome late;
    {
        live_loopback* own = nullptr;
        auto restart = [&](transport_reply const& reply) {  // outlives the transport, which calls it at its end
            out(reply);
            own->exchange(as_bytes("late"), completion::to(late));
        };
        live_loopback t(peer);
        own = &t;
        t.exchange(as_bytes("a"), completion::to(restart));
        t.exchange(as_bytes("b"), completion::to(restart));
    }
    CHECK(out.calls == 2);
    CHECK(out.failed == errc::cancelled);
    CHECK(late.calls == 2);
    CHECK(late.failed == errc::cancelled);
    CHECK(peer.calls == 0);
}

TEST_CASE("a broken connection fails what waits and what is asked, and heals") {
    echo peer;
    live_loopback t(peer);
    outcome waiting;
    outcome asked;
    t.exchange(as_bytes("w"), completion::to(waiting));
    t.disconnect();
    CHECK(!t.connected());
    t.exchange(as_bytes("x"), completion::to(asked));
    t.run();
    CHECK(waiting.failed == errc::connection_lost);
    CHECK(asked.failed == errc::unreachable);
    CHECK(peer.calls == 0);
    t.reconnect();
    CHECK(t.connected());
    t.exchange(as_bytes("y"), completion::to(asked));
    t.run();
    CHECK(asked.text == "echo y");
}

TEST_CASE("unsolicited messages come in order, and a gap is told before what follows it") {
    echo peer;
    live_loopback t(peer);
    std::vector<std::string> seen;
    auto const keep = [&](bytes_view m) { seen.emplace_back(as_text(m)); };
    using texts = std::vector<std::string>;

    CHECK(t.receive(keep));
    CHECK(t.push(as_bytes("1")));
    CHECK(t.push(as_bytes("")));
    CHECK(t.receive(keep));
    CHECK(seen == texts{"1", ""});

    CHECK(t.push(as_bytes("3")));
    t.disconnect();
    t.disconnect();
    CHECK(t.push(as_bytes("lost")).error() == errc::connection_lost);
    t.reconnect();
    CHECK(t.push(as_bytes("5")));
    CHECK(t.receive(keep).error() == errc::connection_lost);
    CHECK(seen == texts{"1", "", "3"});
    CHECK(t.receive(keep));
    CHECK(seen == texts{"1", "", "3", "5"});

    t.disconnect();
    CHECK(t.receive(keep).error() == errc::connection_lost);
    CHECK(t.receive(keep).error() == errc::connection_lost);
    t.reconnect();
    CHECK(t.receive(keep));
}

TEST_CASE("too many unsolicited messages make a gap, not a growing queue") {
    echo peer;
    std::vector<std::string> seen;
    auto const keep = [&](bytes_view m) { seen.emplace_back(as_text(m)); };
    SECTION("by number") {
        live_loopback t(peer, {.unsolicited_max = 2});
        CHECK(t.push(as_bytes("1")));
        CHECK(t.push(as_bytes("2")));
        CHECK(t.push(as_bytes("3")).error() == errc::limit);
        CHECK(t.push(as_bytes("4")).error() == errc::limit);
        CHECK(t.receive(keep).error() == errc::connection_lost);
        CHECK(seen == std::vector<std::string>{"1", "2"});
        CHECK(t.push(as_bytes("5")));
        CHECK(t.receive(keep));
        CHECK(seen.back() == "5");
    }
    SECTION("by bytes") {
        live_loopback t(peer, {.unsolicited_bytes_max = 3});
        CHECK(t.push(as_bytes("12")));
        CHECK(t.push(as_bytes("34")).error() == errc::limit);
        CHECK(t.receive(keep).error() == errc::connection_lost);
        CHECK(t.push(as_bytes("345")));
        CHECK(t.receive(keep));
        CHECK(seen == std::vector<std::string>{"12", "345"});
    }
}

TEST_CASE("a visitor may push: the message is for the next receive") {
    echo peer;
    live_loopback t(peer);
    int seen = 0;
    auto const again = [&](bytes_view) {
        ++seen;
        CHECK(t.push(as_bytes("again")));
    };
    CHECK(t.push(as_bytes("first")));
    CHECK(t.receive(again));
    CHECK(seen == 1);
    CHECK(t.receive(again));
    CHECK(seen == 2);
}
