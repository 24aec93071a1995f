// SPDX-License-Identifier: BSL-1.0
#include <syncline/blob/archetype.hpp>

#include "support/catch.hpp"

using namespace syncline;

static_assert(!std::is_default_constructible_v<chunk_store_archetype> &&
              !std::is_copy_constructible_v<chunk_store_archetype>);

TEST_CASE("chunk store archetype: the concept asks for no less and no more", "[blob]") {
    STATIC_REQUIRE(chunk_store<chunk_store_archetype>);
    STATIC_REQUIRE_FALSE(chunk_store<int>);
}
