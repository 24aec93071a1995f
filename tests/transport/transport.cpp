// SPDX-License-Identifier: BSL-1.0

/// The contract's own small parts: completions borrow what they call, replies and limits have their defaults.

#include <syncline/transport/transport.hpp>

#include <type_traits>

#include "support/catch.hpp"

using namespace syncline;

static_assert(sizeof(completion) == 2 * sizeof(void*));
static_assert(std::is_trivially_copyable_v<completion>);
static_assert(!transport<int>);
static_assert(!live_transport<int>);

TEST_CASE("a completion calls what it borrowed, and its copies call the same") {
    int calls = 0;
    errc last{};
    auto const keep = [&](transport_reply const& reply) {
        ++calls;
        last = reply.message ? errc{} : reply.message.error().code;
    };
    completion const done = completion::to(keep);
    done({errc::timed_out, {}});
    CHECK(calls == 1);
    CHECK(last == errc::timed_out);
    completion const copy = done;
    copy({bytes_view{}, {}});
    CHECK(calls == 2);
    CHECK(last == errc{});
}

TEST_CASE("a reply that nobody filled in is cancelled, and limits compare") {
    transport_reply const reply;
    REQUIRE(!reply.message);
    CHECK(reply.message.error().code == errc::cancelled);
    CHECK(!reply.retry_after);
    CHECK(transport_limits{} == transport_limits{});
    CHECK(transport_limits{.request_bytes_max = 1} != transport_limits{});
}
