// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/archetype.hpp>

#include <type_traits>

#include <syncline/replica/journal.hpp>

#include "support/catch.hpp"

using namespace syncline;

static_assert(!std::is_default_constructible_v<record_store_archetype>);
static_assert(!std::is_copy_constructible_v<record_store_archetype>);
static_assert(record_store<record_store_archetype, storage_archetype>);
static_assert(record_store<stored_records, storage_archetype>);

static_assert(journal<journal_archetype, storage_archetype::transaction>);
static_assert(!journal<no_journal, storage_archetype::transaction>);
static_assert(!std::is_copy_constructible_v<journal_archetype>);

TEST_CASE("record store archetypes: each requirement taken away is missed") {
    CHECK(record_store<record_store_without<0>, storage_archetype>);
    CHECK_FALSE(record_store<record_store_without<1>, storage_archetype>);
    CHECK_FALSE(record_store<record_store_without<2>, storage_archetype>);
    CHECK_FALSE(record_store<record_store_without<3>, storage_archetype>);
    CHECK_FALSE(record_store<record_store_without<4>, storage_archetype>);
    CHECK_FALSE(record_store<record_store_without<5>, storage_archetype>);
    CHECK_FALSE(record_store<record_store_without<6>, storage_archetype>);
    CHECK_FALSE(record_store<record_store_without<7>, storage_archetype>);
    CHECK_FALSE(record_store<int, storage_archetype>);
}
