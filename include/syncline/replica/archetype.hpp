// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Archetypes of the concepts `record_store` and `journal`, for compiling algorithms against nothing more than it says.

#include <optional>
#include <string_view>

#include <syncline/replica/record_store.hpp>
#include <syncline/storage/archetype.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Models `record_store` over any storage, and nothing else. Declared only.
struct record_store_archetype {
    record_store_archetype() = delete;
    record_store_archetype(record_store_archetype const&) = delete;
    record_store_archetype& operator=(record_store_archetype const&) = delete;
    template <class Tx>
    result<std::optional<held_record>> find(Tx& tx, record_key const& k) const;
    template <class Tx>
    result<std::optional<row>> find_confirmed(Tx& tx, record_key const& k) const;
    template <class Tx>
    status put(Tx& tx, record_key const& k, held_record const& h, row const* confirmed) const;
    template <class Tx>
    status drop_confirmed(Tx& tx, record_key const& k) const;
    template <class Tx>
    status erase(Tx& tx, record_key const& k) const;
    template <class Tx>
    status scan(Tx& tx, std::string_view collection, held_visitor visit) const;
    template <class Tx>
    status scan_range(Tx& tx, bytes_view from, bytes_view to, held_visitor visit) const;
};

/// Models it but for one of its requirements: 1 find, 2 find_confirmed, 3 put, 4 drop_confirmed, 5 erase, 6 scan,
/// 7 scan_range; 0 takes away none.
template <int Missing>
struct record_store_without {
    template <class Tx>
    result<std::optional<held_record>> find(Tx& tx, record_key const& k) const requires(Missing != 1);
    template <class Tx>
    result<std::optional<row>> find_confirmed(Tx& tx, record_key const& k) const requires(Missing != 2);
    template <class Tx>
    status put(Tx& tx, record_key const& k, held_record const& h, row const* confirmed) const requires(Missing != 3);
    template <class Tx>
    status drop_confirmed(Tx& tx, record_key const& k) const requires(Missing != 4);
    template <class Tx>
    status erase(Tx& tx, record_key const& k) const requires(Missing != 5);
    template <class Tx>
    status scan(Tx& tx, std::string_view collection, held_visitor visit) const requires(Missing != 6);
    template <class Tx>
    status scan_range(Tx& tx, bytes_view from, bytes_view to, held_visitor visit) const requires(Missing != 7);
};

struct journal_note;

/// Models `journal` over any storage, and nothing else. Declared only.
struct journal_archetype {
    journal_archetype() = delete;
    journal_archetype(journal_archetype const&) = delete;
    journal_archetype& operator=(journal_archetype const&) = delete;
    template <class Tx>
    status operator()(Tx& tx, journal_note const& note) const;
};

}  // namespace syncline::inline SYNCLINE_ABI
