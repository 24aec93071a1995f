// SPDX-License-Identifier: BSL-1.0
#include <syncline/storage/archetype.hpp>

#include <type_traits>

#include <syncline/storage/keyspace.hpp>

#include "support/catch.hpp"

using namespace syncline;

// What is generic here compiles against the exact archetypes.
template class syncline::keyspace<storage_transaction_archetype>;
static_assert(storage_transaction<keyspace<storage_transaction_archetype>>);
template result<std::optional<bytes>> syncline::get(storage_transaction_archetype&, bytes_view);
template status syncline::scan_prefix(storage_transaction_archetype&, bytes_view, scan_visitor);

static_assert(!std::is_default_constructible_v<storage_transaction_archetype>);
static_assert(!std::is_copy_constructible_v<storage_transaction_archetype>);
static_assert(!std::is_move_constructible_v<storage_archetype> && !std::is_default_constructible_v<storage_archetype>);

TEST_CASE("storage archetypes: each requirement taken away is missed", "[storage]") {
    CHECK(storage<storage_without<storage_requirement::none>>);
    CHECK_FALSE(storage<storage_without<storage_requirement::commit>>);
    CHECK_FALSE(storage_transaction<storage_transaction_without<storage_requirement::scan>>);
    CHECK_FALSE(storage<int>);
}
