// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Three-way merge on its own: `diff(base, local)` applied to `remote`, by the same apply as everywhere.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/merge/apply.hpp>
#include <syncline/merge/diff.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Who wrote a side of a merge, and when: what last writer wins goes by.
struct side {
    timestamp stamp{};
    author_index author = 0;
};

/// A merged record of type `R` (`bytes` for dynamic records), and how it came about.
template <class R>
struct merged {
    R record{};
    std::vector<decision> decisions{};     ///< one for each field that both sides changed
    std::vector<std::string> conflicts{};  ///< fields that a person must decide; they hold the remote value
};

/// Merges two descendants of `base`, all three canonical maps with text keys.
///
/// A field that one side changed takes that side's value; a field that both changed is decided by its rule.
/// The sides must differ in (stamp, author), else the remote one wins ties.
/// Errors: `errc::malformed` for what is no such map, `errc::type_mismatch` and `errc::overflow` for a
/// counter that can't be added to. Cost: O(length of the three).
[[nodiscard]] inline result<merged<bytes>> three_way(bytes_view base, bytes_view local, bytes_view remote,
                                                     collection_rules const& rules, side local_side = {timestamp{1}, 1},
                                                     side remote_side = {timestamp{1}, 2}) {
    for (bytes_view const fields : {base, local, remote}) {
        if (auto ok = validate_fields(fields); !ok) { return ok.error(); }
    }
    auto theirs = diff(base, remote, rules, remote_side.stamp);
    if (!theirs) { return theirs.error(); }
    auto ours = diff(base, local, rules, local_side.stamp);
    if (!ours) { return ours.error(); }

    // What one side alone made of a minimum or maximum is its value, also against the way that the rule moves it. An
    // addition to what the other side did not add to is this side's value against that one's, whichever side is which.
    std::vector<detail::field_change> alone;
    auto other = theirs->begin();
    for (field_op& op : *ours) {
        while (other != theirs->end() && compare_keys(other->field, op.field) < 0) { ++other; }
        bool const both = other != theirs->end() && other->field == op.field;
        rule const by = rules.of(op.field);
        if (!both && op.kind == op_kind::set && (by == rule::minimum || by == rule::maximum)) {
            alone.push_back({op.field, true, op.value});
        } else if (both && op.kind == op_kind::add && other->kind != op_kind::add) {
            auto const mine = map_find(local, op.field);
            SYNCLINE_ASSERT(mine && *mine);
            op.kind = op_kind::set;
            op.value = to_bytes(**mine);
        }
    }

    // The base stands at position 1, what the remote side did at 2; the local side saw 1.
    row current;
    current.version = 2;
    current.floor.at = 1;
    current.fields = alone.empty() ? to_bytes(remote) : detail::rewrite_fields(remote, alone);
    for (field_op const& op : *theirs) {
        current.exceptions.push_back({op.field, {2, remote_side.stamp, remote_side.author}});
    }
    mutation m;
    m.stamp = local_side.stamp;
    m.base = 1;
    m.ops = std::move(*ours);

    // Authors tell the sides apart here: a merge of two edits by one author is still a merge.
    apply_context context;
    context.author = local_side.author != remote_side.author ? local_side.author : remote_side.author + 1;

    merged<bytes> out;
    std::optional<row> after = current;
    apply_outcome outcome = apply(after, m, rules, context);
    out.decisions = outcome.decisions;
    if (outcome.verdict == verdict_kind::conflict) {
        for (decision const& d : outcome.decisions) {
            if (d.won == winner::nobody) { out.conflicts.push_back(d.field); }
        }
        m.ops.erase(std::remove_if(m.ops.begin(), m.ops.end(),
                                   [&](field_op const& op) {
                                       return std::find(out.conflicts.begin(), out.conflicts.end(), op.field) !=
                                              out.conflicts.end();
                                   }),
                    m.ops.end());
        after = current;
        outcome = apply(after, m, rules, context);
    }
    if (outcome.verdict == verdict_kind::rejected) { return outcome.reason; }
    out.record = std::move(after->fields);
    return out;
}

/// The same for described structs; the rules stand beside the members.
/// Errors: those of `encode_record` and `decode_record` too.
template <described T>
[[nodiscard]] result<merged<T>> three_way(T const& base, T const& local, T const& remote,
                                          side local_side = {timestamp{1}, 1}, side remote_side = {timestamp{1}, 2}) {
    auto const b = encode_record(base);
    if (!b) { return b.error(); }
    auto const l = encode_record(local);
    if (!l) { return l.error(); }
    auto const r = encode_record(remote);
    if (!r) { return r.error(); }
    auto both = three_way(*b, *l, *r, rules_of<T>(), local_side, remote_side);
    if (!both) { return both.error(); }
    auto record = decode_record<T>(both->record);
    if (!record) { return record.error(); }
    return merged<T>{std::move(*record), std::move(both->decisions), std::move(both->conflicts)};
}

}  // namespace syncline::inline SYNCLINE_ABI
