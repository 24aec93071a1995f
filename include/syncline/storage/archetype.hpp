// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Archetypes of `storage`: types that offer exactly what the concept asks for, to compile templates against.

#include <cstddef>

#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Models `storage_transaction` and is movable, as `storage` wants it; nothing else. Every call fails.
///
/// Instantiate a template with it: a use of anything that the concept does not promise fails the build.
class storage_transaction_archetype {
public:
    storage_transaction_archetype() = delete;
    storage_transaction_archetype(storage_transaction_archetype&&) noexcept = default;
    storage_transaction_archetype& operator=(storage_transaction_archetype&&) noexcept = default;
    ~storage_transaction_archetype() = default;

    result<bool> get(bytes_view, bytes&) { return errc::unsupported; }
    status put(bytes_view, bytes_view) { return errc::unsupported; }
    status erase(bytes_view) { return errc::unsupported; }
    status scan(key_range, scan_visitor) { return errc::unsupported; }
    status commit() { return errc::unsupported; }

    template <class U>
    void operator,(U&&) const = delete;
};

/// Models `storage` and nothing else: it can't be constructed, copied or moved. Every call fails.
class storage_archetype {
public:
    using transaction = storage_transaction_archetype;

    storage_archetype() = delete;
    storage_archetype(storage_archetype const&) = delete;
    storage_archetype& operator=(storage_archetype const&) = delete;
    ~storage_archetype() = default;

    result<transaction> begin(access_mode) { return errc::unsupported; }
    status barrier() { return errc::unsupported; }
    durability commit_durability() const { return durability::none; }
    std::size_t value_bytes_max() const { return value_bytes_min_max; }

    template <class U>
    void operator,(U&&) const = delete;
};

/// The concept's requirements one by one, in the order in which they are documented.
enum class storage_requirement {
    none,
    get,
    put,
    erase,
    scan,
    commit,
    movable,
    begin,
    barrier,
    durability,
    value_bytes
};

/// A transaction that lacks one requirement: the concepts must refuse it.
template <storage_requirement Missing>
class storage_transaction_without {
    using want = storage_requirement;

public:
    storage_transaction_without(storage_transaction_without&&) requires(Missing != want::movable) = default;
    storage_transaction_without& operator=(storage_transaction_without&&) requires(Missing != want::movable) = default;

    result<bool> get(bytes_view, bytes&) requires(Missing != want::get) { return errc::unsupported; }
    status put(bytes_view, bytes_view) requires(Missing != want::put) { return errc::unsupported; }
    status erase(bytes_view) requires(Missing != want::erase) { return errc::unsupported; }
    status scan(key_range, scan_visitor) requires(Missing != want::scan) { return errc::unsupported; }
    status commit() requires(Missing != want::commit) { return errc::unsupported; }
};

/// A storage that lacks one requirement.
template <storage_requirement Missing>
class storage_without {
    using want = storage_requirement;

public:
    using transaction = storage_transaction_without<Missing>;

    result<transaction> begin(access_mode) requires(Missing != want::begin);
    status barrier() requires(Missing != want::barrier) { return errc::unsupported; }
    syncline::durability commit_durability() const requires(Missing != want::durability) {
        return syncline::durability::none;
    }
    std::size_t value_bytes_max() const requires(Missing != want::value_bytes) { return value_bytes_min_max; }
};

static_assert(storage_transaction<storage_transaction_archetype> && storage<storage_archetype>);
static_assert(storage<storage_without<storage_requirement::none>>);
static_assert(!storage_transaction<storage_transaction_without<storage_requirement::get>>);
static_assert(!storage_transaction<storage_transaction_without<storage_requirement::put>>);
static_assert(!storage_transaction<storage_transaction_without<storage_requirement::erase>>);
static_assert(!storage_transaction<storage_transaction_without<storage_requirement::scan>>);
static_assert(!storage<storage_without<storage_requirement::get>> &&
              !storage<storage_without<storage_requirement::put>>);
static_assert(!storage<storage_without<storage_requirement::erase>>);
static_assert(!storage<storage_without<storage_requirement::scan>>);
static_assert(!storage<storage_without<storage_requirement::commit>>);
static_assert(!storage<storage_without<storage_requirement::movable>>);
static_assert(!storage<storage_without<storage_requirement::begin>>);
static_assert(!storage<storage_without<storage_requirement::barrier>>);
static_assert(!storage<storage_without<storage_requirement::durability>>);
static_assert(!storage<storage_without<storage_requirement::value_bytes>>);

}  // namespace syncline::inline SYNCLINE_ABI
