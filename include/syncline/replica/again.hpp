// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What the authority refused because somebody was first, issued again on what was pulled since.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/merge/again.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {

/// Takes away what was written on the record since, in the same fields; false where that builds on what was refused.
[[nodiscard]] inline bool yield_to(std::vector<field_op>& ops, mutation const& later) {
    if (later.kind != change_kind::update) { return false; }
    for (field_op const& since : later.ops) {
        auto const same =
            std::find_if(ops.begin(), ops.end(), [&](field_op const& op) { return op.field == since.field; });
        if (same == ops.end()) { continue; }
        if (since.kind != op_kind::set && since.kind != op_kind::unset) { return false; }
        ops.erase(same);
    }
    return true;
}

}  // namespace detail

/// Writes anew what was rejected as `errc::contended` (the rule `authority_time`: somebody was first), where the row that
/// was first is held by now; its dead letter goes in the same transaction. How many were written or had nothing left to say.
///
/// What was written on the record since wins in its fields. A dead letter stays for a person where the record or its life
/// is gone, where later writes build on what was refused (an addition to it, a deletion), where the change can't be made
/// on what is there now, and where other entries wait for it. What is written may be refused again, when somebody was
/// first again: each time somebody else's write has been taken, so it ends when they rest.
/// Errors: the storage's, `errc::corrupt`, the journal's: roll back. Cost: a scan of the dead letters; for each one that
/// is written a look-up, a scan of the record's queue, an update and a discard.
template <storage_transaction Tx, class Records, class Journal>
[[nodiscard]] result<std::size_t> issue_refused(Tx& tx, basic_replica<Records, Journal> const& r, instant now) {
    std::vector<outbox_entry> letters;
    auto ok = r.queue().scan_dead(tx, [&](outbox_entry const& e) {
        if (e.reason == errc::contended && e.dependants == 0) { letters.push_back(e); }
        return true;
    });
    if (!ok) { return ok.error(); }
    std::size_t issued = 0;
    for (outbox_entry const& e : letters) {
        auto const refused = r.mutation_of(e);
        if (!refused) { return refused.error(); }
        auto const held = r.read_confirmed(tx, refused->record);
        if (!held && held.error() != errc::unsupported) { return held.error(); }
        if (!held) { continue; }  // closed to the program
        auto again = issue_again(*refused, *held, refused->stamp);
        if (!again) { continue; }
        bool stands = true;
        status outcome;
        bool const had_ops = !again->ops.empty();
        ok = r.queue().scan_record(tx, e.record, [&](outbox_entry const& waits) {
            auto const later = r.mutation_of(waits);
            if (!later) {
                outcome = later.error();
                return false;
            }
            stands = detail::yield_to(again->ops, *later);
            return stands;
        });
        if (ok) { ok = outcome; }
        if (!ok) { return ok.error(); }
        if (!stands) { continue; }
        if (again->kind == change_kind::erase || !again->ops.empty() || !had_ops) {
            auto const written = again->kind == change_kind::erase
                                     ? r.erase(tx, again->record, now, e.urgency)
                                     : r.update(tx, again->record, std::move(again->ops), now, e.urgency);
            if (!written) {
                switch (written.error().code) {
                    case errc::not_found:
                    case errc::type_mismatch:
                    case errc::overflow:
                    case errc::contended:
                    case errc::invalid:
                    case errc::limit: continue;  // unchanged: a person decides
                    default: return written.error();
                }
            }
        }
        if (auto gone = r.queue().discard(tx, e.token); !gone) { return gone.error(); }
        ++issued;
    }
    return issued;
}

}  // namespace syncline::inline SYNCLINE_ABI
