// SPDX-License-Identifier: BSL-1.0
// What docs/transport.md quotes.

#include "support/catch.hpp"

#include <string>

#include <syncline/transport.hpp>

using namespace syncline;

namespace {

// region: ask
/// Asks and keeps what came of it; it lives until the exchange is complete.
struct question {
    std::string said;
    void operator()(transport_reply const& r) {
        said = r.message ? std::string{as_text(*r.message)} : message(r.message.error().code);
    }
};
template <transport T>
void ask(T& way, std::string_view what, question& q) {
    way.exchange(as_bytes(what), completion::to(q));  // completes now or later, exactly once
}
// endregion: ask

}  // namespace

TEST_CASE("the page of transport: ask, and hear now or later") {
    auto peer = [](bytes_view request) { return to_bytes(std::string{as_text(request)} + " yourself"); };
    question q;
    SECTION("now") {
        loopback_transport way(peer);
        ask(way, "hello", q);
        CHECK(q.said == "hello yourself");
    }
    SECTION("later") {
        live_loopback way(peer);
        ask(way, "hello", q);
        CHECK(q.said.empty());
        way.run();
        CHECK(q.said == "hello yourself");
    }
    SECTION("never") {
        {
            live_loopback way(peer);
            ask(way, "hello", q);
        }
        CHECK(q.said == "cancelled");
    }
}
