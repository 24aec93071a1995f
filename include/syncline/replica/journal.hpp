// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a replica or an authority tells, in the transaction of the deed itself, to who keeps a journal of it.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/model/schema.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

enum class journal_event : std::uint8_t {
    wrote,      ///< a mutation was made here, before it was joined with one that waits
    froze,      ///< `count` mutations were made ready to be sent, once for each however often they are
    decided,    ///< a mutation has its verdict: at the authority when it is given, at its author when it comes
    pulled,     ///< `count` rows were taken, and the cursor is `at`
    settled,    ///< a person has decided a conflict of the mutation, `choice` says how
    parked,     ///< the verdict was a conflict: `conflict` waits for a person, with the row that it collides with
    renamed,    ///< the store was a clone or was restored, and has taken a new identity: `device`
    reopened,   ///< a person has taken back how they decided a conflict of the mutation
    evicted,    ///< `record` left this replica, and nobody told of a deletion: the authority has no row of it
    bound,      ///< the store became a replica's, for `principal`
    wiped,      ///< the replica is being erased: the store is nobody's from now on
    regressed,  ///< the authority was put back to `at`; `count` mutations that it lost are offered again
    began,      ///< the store became an authority's, or one that may have been put back was opened
    migrated,   ///< a program was opened that has `collection` in schema version `count`, and not in the one before
};

struct open_conflict;

/// How a parked mutation ended. The numbers are those of `resolve_kind`.
enum class journal_choice : std::uint8_t { local = 1, remote = 2, some = 3 };

/// What happened. Borrowed for the call.
struct journal_note {
    journal_event what = journal_event::wrote;
    timestamp stamp{};                     ///< when, by the clock of who tells
    replica_id device{};                   ///< the replica that does it; at an authority, the one that asked
    std::string_view principal{};          ///< whose that is
    author_index author = unknown_author;  ///< parked, pulled: the replica's number at its authority
    /// wrote, decided, settled, reopened; at an authority null where it does not decode
    mutation const* change = nullptr;
    std::uint64_t sequence = 0;               ///< decided: of the mutation
    verdict const* said = nullptr;            ///< decided, parked
    open_conflict const* conflict = nullptr;  ///< parked
    /// pulled: the confirmed row of any record, as it is now.
    function_ref<result<std::optional<row>>(record_key const&)> const* confirmed = nullptr;
    record_key const* record = nullptr;  ///< evicted
    std::string_view collection{};       ///< migrated
    std::uint64_t count = 0;
    position at = 0;
    journal_choice choice = journal_choice::local;
};

/// Who keeps a journal: `j(tx, note)` answers a status, `tx` being the transaction of what is told.
///
/// Axioms: it writes under keys of its own only; what it answers depends on the transaction and the note.
/// Its errors are the storage's or `errc::corrupt`: none by which a call says that it left all as it was.
/// On an error the call that told it fails with that error, and the transaction is to be rolled back: what can't be
/// told does not happen.
template <class J, class Tx>
concept journal = requires(J const& j, Tx& tx, journal_note const& note) {
    { j(tx, note) } -> std::same_as<status>;
};

/// Nothing is told, nothing is made ready to be told, and nothing is stored.
struct no_journal {};

template <class J>
inline constexpr bool keeps_journal = !std::is_same_v<J, no_journal>;

namespace detail {

/// Tells of each collection whose version is not the one that is stored under `key`, and stores those of `schemas` there:
/// a canonical map of collection and version. What isn't stored is a first version, but in a store that is `fresh` all is
/// as it should be. Errors: the storage's, `errc::corrupt`, those of `tell(note)`.
template <class Tx, class F>
[[nodiscard]] status tell_new_versions(Tx& tx, schema_table const* schemas, bytes const& key, bool fresh, instant now,
                                       F&& tell) {
    if (schemas == nullptr) { return {}; }
    journal_note note;
    note.what = journal_event::migrated;
    note.stamp = timestamp::make(now.wall);
    bytes was;
    auto const found = tx.get(key, was);
    if (!found) { return found.error(); }
    if (!*found) { was = {std::byte{0xA0}}; }
    std::vector<std::pair<std::string, schema_version>> versions;
    cbor_reader in{was};
    for (std::size_t n = in.map(); n != 0 && !in.failed(); --n) {
        std::string const collection{in.text()};
        auto const version = in.unsigned_integer();
        if (version > (std::numeric_limits<schema_version>::max)()) { in.fail({errc::corrupt, "schema version"}); }
        versions.emplace_back(collection, static_cast<schema_version>(version));
    }
    if (!in.finish()) { return failure{errc::corrupt, "schema versions"}; }
    status outcome;
    schemas->each([&](std::string_view collection, schema_version v) {
        if (!outcome) { return; }
        auto at = std::find_if(versions.begin(), versions.end(), [&](auto const& e) { return e.first == collection; });
        if (at == versions.end()) { at = versions.insert(at, {std::string{collection}, fresh ? v : 1}); }
        if (at->second != v) {
            note.collection = collection;
            note.count = v;
            outcome = tell(note);
        }
        at->second = v;
    });
    if (!outcome) { return outcome; }
    std::sort(versions.begin(), versions.end(),
              [](auto const& a, auto const& b) { return compare_keys(a.first, b.first) < 0; });
    bytes encoded;
    cbor_writer w{encoded};
    w.map(versions.size());
    for (auto const& [collection, version] : versions) {
        w.text(collection);
        w.unsigned_integer(version);
    }
    return encoded == was ? status{} : tx.put(key, encoded);
}

}  // namespace detail

}  // namespace syncline::inline SYNCLINE_ABI
