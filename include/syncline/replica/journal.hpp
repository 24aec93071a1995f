// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a replica or an authority tells, in the transaction of the deed itself, to who keeps a journal of it.

#include <concepts>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include <syncline/core/function_ref.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

enum class journal_event : std::uint8_t {
    wrote,    ///< a mutation was made here, before it was joined with one that waits
    froze,    ///< `count` mutations were made ready to be sent, once for each however often they are
    decided,  ///< a mutation has its verdict: at the authority when it is given, at its author when it comes
    pulled,   ///< `count` rows were taken, and the cursor is `at`
    settled,  ///< a person has decided a conflict of the mutation, `choice` says how
    parked,   ///< the verdict was a conflict: `conflict` waits for a person, with the row that it collides with
    renamed,  ///< the store was a clone or was restored, and has taken a new identity: `device`
};

struct open_conflict;

/// How a parked mutation ended. The numbers are those of `resolve_kind`.
enum class journal_choice : std::uint8_t { local = 1, remote = 2, some = 3 };

/// What happened. Borrowed for the call.
struct journal_note {
    journal_event what = journal_event::wrote;
    timestamp stamp{};                 ///< when, by the clock of who tells
    replica_id device{};               ///< the replica that does it; at an authority, the one that asked
    std::string_view principal{};      ///< whose that is
    mutation const* change = nullptr;  ///< wrote, decided, settled; at an authority null where it does not decode
    std::uint64_t sequence = 0;        ///< decided: of the mutation
    verdict const* said = nullptr;     ///< decided, parked
    open_conflict const* conflict = nullptr;  ///< parked
    /// pulled: the confirmed row of any record, as it is now.
    function_ref<result<std::optional<row>>(record_key const&)> const* confirmed = nullptr;
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

}  // namespace syncline::inline SYNCLINE_ABI
