// SPDX-License-Identifier: BSL-1.0

/// `brotli_codec` keeps the axioms of `codec`.

#include <syncline/adapters/brotli.hpp>

#include <syncline/testing/codec_conformance.hpp>

#include "support/catch.hpp"

using namespace syncline;

TEST_CASE("the codec keeps the axioms: brotli") {
    brotli_codec c;
    CHECK(testing::to_text(testing::certify_codec(c)).empty());
    CHECK(c.name() == "brotli");
}
