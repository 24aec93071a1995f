// SPDX-License-Identifier: BSL-1.0

/// The archetypes assert themselves when included; here is that the concepts refuse near misses too.

#include <syncline/transport/archetype.hpp>

#include "support/catch.hpp"

using namespace syncline;

static_assert(!transport<int>);
static_assert(!transport<transport_archetype const>, "exchange changes the transport");
static_assert(transport<live_transport_archetype>, "a live transport is a transport");

TEST_CASE("what models the archetype's concept can be driven through it") {
    struct model {
        int asked = 0;
        void exchange(bytes_view, completion done) {
            ++asked;
            done({errc::timed_out, {}});
        }
        [[nodiscard]] transport_limits limits() const { return {}; }
    };
    static_assert(transport<model> && !live_transport<model>);
    model m;
    int calls = 0;
    auto const count = [&](transport_reply const& reply) { calls += reply.message ? 100 : 1; };
    m.exchange({}, completion::to(count));
    CHECK(calls == 1);
    CHECK(m.asked == 1);
}
