// SPDX-License-Identifier: BSL-1.0

/// `lz4_codec` keeps the axioms of `codec`.

#include <syncline/adapters/lz4.hpp>

#include <syncline/testing/codec_conformance.hpp>

#include "support/catch.hpp"

using namespace syncline;

TEST_CASE("the codec keeps the axioms: lz4") {
    lz4_codec c;
    CHECK(testing::to_text(testing::certify_codec(c)).empty());
    CHECK(c.name() == "lz4");
}
