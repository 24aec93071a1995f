// SPDX-License-Identifier: BSL-1.0

/// `zlib_codec` keeps the axioms of `codec`.

#include <syncline/adapters/zlib.hpp>

#include <syncline/testing/codec_conformance.hpp>

#include "support/catch.hpp"

using namespace syncline;

TEST_CASE("the codec keeps the axioms: zlib") {
    zlib_codec c;
    CHECK(testing::to_text(testing::certify_codec(c)).empty());
    CHECK(c.name() == "zlib");
}
