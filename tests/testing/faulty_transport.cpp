// SPDX-License-Identifier: BSL-1.0

/// Each fault does what it says, to the exchange that was named and to no other, and a completion still comes once.

#include <syncline/testing/faulty_transport.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <syncline/testing/transport_conformance.hpp>
#include <syncline/transport/loopback.hpp>

#include "support/catch.hpp"

using namespace syncline;
using namespace syncline::testing;

namespace {

struct outcome {
    int calls = 0;
    std::optional<errc> failed;
    std::string text;
    void operator()(transport_reply const& reply) {
        ++calls;
        failed.reset();
        text.clear();
        if (reply.message) {
            text = std::string(as_text(*reply.message));
        } else {
            failed = reply.message.error().code;
        }
    }
};

/// Counts, so that two answers to one request differ.
struct counting_peer {
    std::vector<std::string> seen;
    result<bytes> operator()(bytes_view request) {
        seen.emplace_back(as_text(request));
        return to_bytes("answer " + std::to_string(seen.size()));
    }
};

using texts = std::vector<std::string>;

}  // namespace

TEST_CASE("each fault is what it says, and the exchanges around it are whole") {
    counting_peer peer;
    loopback_transport inner(peer);
    faulty_transport t(inner);
    outcome out;
    auto const ask = [&](char const* request) {
        out = {};
        t.exchange(as_bytes(request), completion::to(out));
        CHECK(out.calls == 1);
    };
    ask("a");
    CHECK(out.text == "answer 1");
    CHECK(t.spoiled() == 0);

    SECTION("undelivered") {
        t.spoil(1, transport_fault::undelivered);
        ask("b");
        CHECK(out.failed == errc::unreachable);
        ask("c");
        CHECK(peer.seen == texts{"a", "c"});
    }
    SECTION("refused") {
        t.spoil(1, transport_fault::refused);
        ask("b");
        CHECK(out.failed == errc::peer_failed);
        ask("c");
        CHECK(peer.seen == texts{"a", "c"});
    }
    SECTION("reply lost") {
        t.spoil(1, transport_fault::reply_lost);
        ask("b");
        CHECK(out.failed == errc::connection_lost);
        ask("c");
        CHECK(peer.seen == texts{"a", "b", "c"});
    }
    SECTION("late reply") {
        t.spoil(1, transport_fault::late_reply);
        ask("b");
        CHECK(out.failed == errc::timed_out);
        ask("c");
        CHECK(peer.seen == texts{"a", "b", "c"});
    }
    SECTION("delivered twice") {
        t.spoil(1, transport_fault::delivered_twice);
        ask("b");
        CHECK(out.text == "answer 3");
        ask("c");
        CHECK(peer.seen == texts{"a", "b", "b", "c"});
    }
    SECTION("replayed") {
        t.spoil(1, transport_fault::replayed);
        ask("b");
        CHECK(out.text == "answer 2");
        ask("c");
        CHECK(out.text == "answer 4");
        ask("d");
        CHECK(peer.seen == texts{"a", "b", "b", "c", "d"});
    }
    SECTION("truncated reply") {
        t.spoil(1, transport_fault::truncated_reply);
        ask("b");
        CHECK(out.text == "answ");
        ask("c");
        CHECK(out.text == "answer 3");
    }
    SECTION("corrupted reply") {
        t.spoil(1, transport_fault::corrupted_reply, 8 * 7 + 1);
        ask("b");
        CHECK(out.text == "answer 0");  // '2' without its second bit
        ask("c");
        CHECK(out.text == "answer 3");
    }
    SECTION("foreign reply") {
        t.spoil(1, transport_fault::foreign_reply);
        ask("b");
        CHECK(out.text == foreign_page);
        ask("c");
        CHECK(peer.seen == texts{"a", "c"});
    }
    CHECK(t.spoiled() == 1);
    CHECK(t.exchanges() >= 3);
}

TEST_CASE("the n-th exchange from now is the one that is spoiled") {
    counting_peer peer;
    loopback_transport inner(peer);
    for (std::size_t n = 1; n <= 5; ++n) {
        faulty_transport t(inner);
        t.spoil(n, transport_fault::undelivered);
        for (std::size_t i = 1; i <= 4; ++i) {
            outcome out;
            t.exchange(as_bytes("x"), completion::to(out));
            CHECK(out.failed.has_value() == (i == n));
        }
        CHECK(t.spoiled() == (n <= 4 ? 1U : 0U));
        t.spare();
        outcome out;
        t.exchange(as_bytes("x"), completion::to(out));
        CHECK(!out.failed);
    }
}

TEST_CASE("an empty reply can't be cut, and a peer's failure stays what it is") {
    bool fail = false;
    auto peer = [&](bytes_view) -> result<bytes> {
        if (fail) { return errc::forbidden; }
        return bytes{};
    };
    loopback_transport inner(peer);
    faulty_transport t(inner);
    outcome out;
    for (transport_fault const fault : {transport_fault::truncated_reply, transport_fault::corrupted_reply}) {
        fail = false;
        t.spoil(1, fault);
        t.exchange({}, completion::to(out));
        CHECK(!out.failed);
        CHECK(out.text.empty());
        fail = true;
        t.spoil(1, fault);
        t.exchange({}, completion::to(out));
        CHECK(out.failed == errc::forbidden);
    }
}

TEST_CASE("over a deferring transport each fault still completes exactly once, also when either side goes first") {
    for (transport_fault const fault : all_transport_faults) {
        counting_peer peer;
        std::vector<outcome> outs(4);
        {
            live_loopback inner(peer);
            faulty_transport t(inner);
            t.spoil(2, fault);
            for (outcome& out : outs) { t.exchange(as_bytes("x"), completion::to(out)); }
            CHECK(inner.run() >= 3);
            for (outcome const& out : outs) { CHECK(out.calls == 1); }
            CHECK(t.connected());
            CHECK(inner.push(as_bytes("news")));
            int news = 0;
            CHECK(t.receive([&](bytes_view) { ++news; }));
            CHECK(news == 1);
        }
        for (outcome& out : outs) { out = {}; }
        live_loopback inner(peer);
        std::optional<faulty_transport<live_loopback>> t(inner);
        t->spoil(2, fault);
        for (outcome& out : outs) { t->exchange(as_bytes("x"), completion::to(out)); }
        t.reset();
        for (outcome const& out : outs) { CHECK(out.calls == 1); }
        inner.run();
        for (outcome const& out : outs) { CHECK(out.calls == 1); }
        CHECK(outs[0].failed == errc::cancelled);
    }
}

TEST_CASE("with nothing planned it is as good a transport as the one inside") {
    struct fixture {
        conformance_peer& peer;
        live_loopback inner{peer, {.limits = {.request_bytes_max = 70'000, .reply_bytes_max = 70'100}}};
        faulty_transport<live_loopback> transport{inner};
        faulty_transport<live_loopback>& subject() { return transport; }
        void drive() { inner.run(); }
        void push(bytes_view m) { static_cast<void>(inner.push(m)); }
        void disconnect() { inner.disconnect(); }
        void reconnect() { inner.reconnect(); }
    };
    auto const found =
        certify_transport([](conformance_peer& peer) { return std::unique_ptr<fixture>(new fixture{peer}); });
    CHECK(to_text(found) == "");
}

#if defined(__cpp_exceptions)
TEST_CASE("an exchange that is left by an exception is not completed later") {
    auto throwing = [](bytes_view) -> result<bytes> { throw 7; };
    loopback_transport inner(throwing);
    outcome out;
    {
        faulty_transport t(inner);
        CHECK_THROWS_AS(t.exchange(as_bytes("a"), completion::to(out)), int);
    }
    CHECK(out.calls == 0);
}
#endif
