// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Typed notices for an app: synced, a conflict to decide, a write that was refused, a pause until somebody signs in.

#include <concepts>
#include <cstddef>

#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/protocol.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Exchanges succeeded, and nothing is left that is known of: what was written has its verdict, what the authority had
/// is held. Once for each run of exchanges that came so far, not for each exchange. What the host rolled back does not
/// count.
struct synced {
    std::size_t exchanges = 0;  ///< since the last such notice; those that failed are not among them
    std::size_t verdicts = 0;   ///< that they brought
    std::size_t rows = 0;       ///< that they brought
};
/// A mutation of this replica waits for a person's decision. Borrowed for the call.
struct conflict_opened {
    record_key const& record;
    verdict const& said;
};
/// A mutation of this replica has no effect. `said.kind` is `rejected`, or `collateral` where what it was made on was.
/// It is a dead letter; what an authority that was put back had decided before, and what waits for a record that it lost,
/// is an open conflict with no fields, and may be offered and refused once more. Borrowed for the call.
struct mutation_rejected {
    record_key const& record;
    verdict const& said;
};
/// The session waits for `resume`. Once for each pause.
struct sync_paused {
    failure why{};
    /// Signing in again mends it; else somebody has to look.
    [[nodiscard]] constexpr bool for_sign_in() const noexcept { return why.code == errc::unauthorised; }
};

/// An observer that hears notices too.
///
/// | expression   | result | meaning                                              |
/// |--------------|--------|------------------------------------------------------|
/// | o.noticed(n) | void   | `n` is one of the four above, each an overload       |
///
/// Axioms: those of `observer`, but that two notices name a record; none holds a field's value, but for what a guard of
/// the host's put into the verdict's text. A session that is given such an observer tells it in `poll`, so only of what
/// was committed, and each at least once. With any other observer nothing is stored, read or called.
template <class O>
concept notice_observer = observer<O> &&
    requires(O& o, synced const& s, conflict_opened const& c, mutation_rejected const& r, sync_paused const& p) {
    { o.noticed(s) }
    noexcept->std::same_as<void>;
    { o.noticed(c) }
    noexcept->std::same_as<void>;
    { o.noticed(r) }
    noexcept->std::same_as<void>;
    { o.noticed(p) }
    noexcept->std::same_as<void>;
};

/// Hears everything and does nothing: an app derives from it, says `using no_notices::noticed;` and has the overloads that
/// it wants.
struct no_notices : no_observer {
    constexpr void noticed(synced const&) const noexcept {}
    constexpr void noticed(conflict_opened const&) const noexcept {}
    constexpr void noticed(mutation_rejected const&) const noexcept {}
    constexpr void noticed(sync_paused const&) const noexcept {}
};
static_assert(notice_observer<no_notices> && notice_observer<no_notices const>);
static_assert(!notice_observer<no_observer>);

namespace detail {

/// What a session has not told yet; nothing where nobody hears it.
template <bool Hears>
struct untold_notices {
    synced since{};
    bool paused = false;  ///< the pause is to be told
};
template <>
struct untold_notices<false> {};

}  // namespace detail

}  // namespace syncline::inline SYNCLINE_ABI
