// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Archetypes of `chunk_store`: types that offer exactly what the concept asks for, to compile templates against.

#include <syncline/blob/chunk_store.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Models `chunk_store` and nothing else. Every call fails.
class chunk_store_archetype {
public:
    chunk_store_archetype() = delete;
    chunk_store_archetype(chunk_store_archetype const&) = delete;
    chunk_store_archetype& operator=(chunk_store_archetype const&) = delete;
    ~chunk_store_archetype() = default;

    status put(sha256_digest const&, bytes_view) { return errc::unsupported; }
    result<bool> get(sha256_digest const&, bytes&) { return errc::unsupported; }
    status erase(sha256_digest const&) { return errc::unsupported; }
    status scan(chunk_visitor) { return errc::unsupported; }
    status flush() { return errc::unsupported; }
};

/// Lacks one requirement, in the order in which they are documented: the concept must refuse it.
template <int Missing>
struct chunk_store_without {
    status put(sha256_digest const&, bytes_view) requires(Missing != 1) { return errc::unsupported; }
    result<bool> get(sha256_digest const&, bytes&) requires(Missing != 2) { return errc::unsupported; }
    status erase(sha256_digest const&) requires(Missing != 3) { return errc::unsupported; }
    status scan(chunk_visitor) requires(Missing != 4) { return errc::unsupported; }
    status flush() requires(Missing != 5) { return errc::unsupported; }
};

static_assert(chunk_store<chunk_store_archetype> && chunk_store<chunk_store_without<0>>);
static_assert(!chunk_store<chunk_store_without<1>> && !chunk_store<chunk_store_without<2>>);
static_assert(!chunk_store<chunk_store_without<3>> && !chunk_store<chunk_store_without<4>>);
static_assert(!chunk_store<chunk_store_without<5>>);

}  // namespace syncline::inline SYNCLINE_ABI
