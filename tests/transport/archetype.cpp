// SPDX-License-Identifier: BSL-1.0

/// The archetypes assert themselves when included; here is that the concepts refuse near misses too.

#include <syncline/transport/archetype.hpp>

#include "support/catch.hpp"

using namespace syncline;

static_assert(!transport<int>);
static_assert(!transport<transport_archetype const>, "exchange changes the transport");
static_assert(transport<live_transport_archetype>, "a live transport is a transport");

TEST_CASE("a completion calls what it borrowed") {
    int calls = 0;
    auto const count = [&](transport_reply const& reply) {
        ++calls;
        CHECK(reply.message.error() == errc::timed_out);
    };
    completion const done = completion::to(count);
    done({errc::timed_out, {}});
    CHECK(calls == 1);
}
