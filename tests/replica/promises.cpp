// SPDX-License-Identifier: BSL-1.0

#include "replica/promises.hpp"

#include "support/catch.hpp"
#include "support/sanitized.hpp"

TEST_CASE("a peer that is well again is asked soon, whatever its breaker and budget were", "[replica][promises]") {
    for (std::uint64_t seed = 1; seed <= rounds(200U); ++seed) {
        CAPTURE(seed);
        CHECK(promises::the_healed_are_asked(seed));
    }
}
TEST_CASE("a put with an older base writes what differs from that base", "[replica][promises]") {
    for (std::uint64_t seed = 1; seed <= rounds(200U); ++seed) {
        CAPTURE(seed);
        CHECK(promises::a_put_is_what_changed(seed));
    }
}
TEST_CASE("requests that are answered together are durable before they are answered", "[replica][promises]") {
    for (std::uint64_t seed = 1; seed <= rounds(100U); ++seed) {
        CAPTURE(seed);
        CHECK(promises::answers_are_durable(seed));
    }
}
TEST_CASE("a wipe that is done has left nothing, interrupted or not", "[replica][promises]") {
    for (std::uint64_t seed = 1; seed <= rounds(200U); ++seed) {
        CAPTURE(seed);
        CHECK(promises::a_wipe_leaves_nothing(seed));
    }
}
TEST_CASE("a device that is not heard asks at lengthening intervals", "[replica][promises]") {
    for (std::uint64_t seed = 1; seed <= rounds(20U); ++seed) {
        CAPTURE(seed);
        CHECK(promises::the_unheard_are_patient(seed));
    }
}
