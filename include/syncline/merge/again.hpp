// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a device does when the authority refused its mutation because somebody was first: the same change once more,
/// on what is confirmed now.

#include <optional>

#include <syncline/core/result.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The mutation to issue in place of one that was rejected with `errc::contended` (the rule `authority_time`), after its
/// author has pulled.
///
/// `confirmed`: the record as the device holds it now, without what is pending. The new mutation says the same of each
/// field, with `stamp`, as of that version: additions add to what is there, edits of elements and revisions go into it.
/// It has no sequence, so its author's outbox gives it one: the rejected one stays what it was. Nothing of a rejected
/// mutation took effect, so nothing counts twice. It may be refused again, when somebody else was first again.
/// Errors: `errc::contended` when the device has not seen yet who was first: pull, then ask again. `errc::not_found`
/// when the record or its life is gone meanwhile: then a person decides what to do with the change.
/// Cost: a copy.
[[nodiscard]] inline result<mutation> issue_again(mutation const& refused, std::optional<row> const& confirmed,
                                                  timestamp stamp) {
    if (!confirmed || confirmed->deleted || confirmed->life != refused.life) {
        return failure{errc::not_found, "the record that was to be changed is gone"};
    }
    if (confirmed->version <= refused.base) { return failure{errc::contended, "what was first is not pulled yet"}; }
    mutation out = refused;
    out.sequence = 0;
    out.stamp = stamp;
    out.base = confirmed->version;
    if (out.kind == change_kind::create) { out.kind = change_kind::update; }  // it is there: somebody else created it
    for (field_op& op : out.ops) { op.stamp = stamp; }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
