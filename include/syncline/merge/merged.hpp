// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A merged record, and the merge by two mutations on the base: what the others' shorter ways must agree with.

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
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

namespace detail {

/// Whether the remote side's operation must be applied to the base, as what it wrote has marks inside of the field.
[[nodiscard]] inline bool marks_inside(field_op const& op, collection_rules const& rules) {
    return op.kind == op_kind::elements || op.kind == op_kind::nested ||
           (op.kind != op_kind::add && rules.decides(op.field) == rule::siblings);
}

/// Takes out of a nested field's operations those under `authority_time` where the remote side, at position 2, was first,
/// and tells of them. `path`: of the map in its field. False: nothing is left of it.
[[nodiscard]] inline bool yield_inside(field_op& op, rule_view rules, row const& before, std::string_view field,
                                       bytes const& path, std::string const& named, std::vector<decision>& told) {
    cbor_reader in{op.value};
    std::vector<field_op> const all = decode_operations(in, op.stamp);
    std::vector<field_op> left;
    for (field_op inner : all) {
        bytes at = path;
        cbor_writer{at}.text(inner.field);
        std::string const name_here = named.empty() ? inner.field : named + '.' + inner.field;
        bool const met = std::any_of(before.exceptions.begin(), before.exceptions.end(), [&](field_mark const& e) {
            return e.field == field && e.mark.at == 2 && starts_with(e.path, at);
        });
        if (met && rules.of(inner.field) == rule::authority_time) {
            told.push_back({std::string{field}, rule::authority_time, winner::confirmed, reason::by_order, name_here});
            continue;
        }
        bool const deeper = inner.kind == op_kind::nested;
        if (deeper && !yield_inside(inner, rules.inside(inner.field), before, field, at, name_here, told)) { continue; }
        left.push_back(std::move(inner));
    }
    op.value.clear();
    cbor_writer w{op.value};
    w.array(left.size());
    for (field_op const& inner : left) { encode_operation(w, inner, op.stamp); }
    return !left.empty();
}

/// A rejection in words.
[[nodiscard]] constexpr failure rejection(errc why) noexcept {
    switch (why) {
        case errc::type_mismatch: return {why, "a value that its rule can't take"};
        case errc::overflow: return {why, "a sum that leaves 64 bits"};
        case errc::forbidden: return {why, "a guard refuses what one side did"};
        case errc::not_found: return {why, "a reference to no record"};
        default: return why;
    }
}

/// Takes back the operations that wait for a person with `asked`: on its field, and on those that win together with it.
inline void take_back(std::vector<field_op>& ops, decision const& asked, collection_rules const& rules,
                      std::vector<std::string>& conflicts, std::vector<decision>& told) {
    field_group const* const group = rules.whole ? nullptr : rules.group_of(asked.field);
    auto const waits = [&](field_op const& op) {
        return op.field == asked.field || rules.whole || (group != nullptr && rules.group_of(op.field) == group);
    };
    auto const note = [&](std::string const& field) {
        if (std::find(conflicts.begin(), conflicts.end(), field) == conflicts.end()) { conflicts.push_back(field); }
    };
    note(asked.field);
    told.push_back(asked);
    for (field_op const& op : ops) {
        if (!waits(op) || op.field == asked.field) { continue; }
        note(op.field);
        told.push_back({op.field, asked.by, winner::nobody, asked.why});
    }
    ops.erase(std::remove_if(ops.begin(), ops.end(), waits), ops.end());
}

/// The merge by two mutations on the base: what the remote side did, then what the local one did, having seen the base.
[[nodiscard]] inline result<merged<bytes>> merge_by_apply(bytes_view base, bytes_view local, bytes_view remote,
                                                          collection_rules const& rules, side local_side,
                                                          side remote_side, merge_host const* host) {
    auto theirs = diff(base, remote, rules, remote_side.stamp);
    if (!theirs) { return theirs.error(); }
    auto ours = diff(base, local, rules, local_side.stamp);
    if (!ours) { return ours.error(); }

    // The base stands at position 1, what the remote side did at 2; the local side saw 1.
    row current;
    current.version = 2;
    current.floor.at = 1;
    apply_context context;
    context.host = host;
    // Authors tell the sides apart here: a merge of two edits by one author is still a merge.
    context.author = local_side.author != remote_side.author ? local_side.author : remote_side.author + 1;
    mutation first;
    first.stamp = remote_side.stamp;
    first.base = 1;

    for (field_op const& op : *theirs) {
        if (op.kind == op_kind::set && mistyped(op.value, rules.decides(op.field))) {
            return rejection(errc::type_mismatch);
        }
    }
    std::vector<field_change> alone;
    auto other = theirs->begin();
    auto const pass_theirs = [&](std::string_view up_to, bool to_end) {
        for (; other != theirs->end() && (to_end || compare_keys(other->field, up_to) < 0); ++other) {
            if (!marks_inside(*other, rules)) {
                current.exceptions.push_back({other->field, {2, remote_side.stamp, remote_side.author}});
                continue;
            }
            auto const was = base.empty() ? result<std::optional<bytes_view>>{std::optional<bytes_view>{}}
                                          : map_find(base, other->field);
            if (!was) { continue; }
            alone.push_back({other->field, was->has_value(), was->value_or(bytes_view{})});
            first.ops.push_back(*other);
        }
    };
    for (field_op& op : *ours) {
        pass_theirs(op.field, false);
        bool const both = other != theirs->end() && other->field == op.field;
        rule const by = rules.decides(op.field);
        if (!both && op.kind == op_kind::set && (by == rule::minimum || by == rule::maximum)) {
            // What one side alone made of a minimum or maximum is its value, also against the way that the rule moves.
            alone.push_back({op.field, true, op.value});
        } else if (both && op.kind != other->kind && op.kind != op_kind::set && op.kind != op_kind::unset) {
            // An addition to what the other side did not add to, or an edit inside of what it replaced, is this side's
            // value against that one's, whichever side is which.
            auto const mine = map_find(local, op.field);
            SYNCLINE_ASSERT(mine && *mine);
            op.kind = op_kind::set;
            op.value = to_bytes(**mine);
        }
    }
    pass_theirs({}, true);
    std::sort(alone.begin(), alone.end(),
              [](field_change const& a, field_change const& b) { return compare_keys(a.field, b.field) < 0; });
    current.fields = alone.empty() ? to_bytes(remote) : rewrite_fields(remote, alone);

    merged<bytes> out;
    std::optional<row> before = std::move(current);
    if (!first.ops.empty()) {
        apply_context theirs_context;
        theirs_context.author = remote_side.author;
        theirs_context.at = 2;
        apply_outcome const done = apply(before, first, rules, theirs_context);
        if (done.verdict == verdict_kind::rejected) { return rejection(done.reason); }
    }
    mutation m;
    m.stamp = local_side.stamp;
    m.base = 1;
    m.ops = std::move(*ours);
    // What is told of operations that were taken back: a person decides them, or the remote side was first.
    std::vector<decision> told;
    // Where no operation is left, the remote side stands as it is; no guard is asked of that.
    while (!m.ops.empty()) {
        std::optional<row> after = before;
        apply_outcome outcome = apply(after, m, rules, context);
        if (outcome.verdict == verdict_kind::rejected && outcome.reason == errc::contended) {
            // By the authority's time the remote side was first.
            std::vector<field_op> left;
            std::size_t const held = told.size();
            for (field_op& op : m.ops) {
                if (op.kind == op_kind::nested) {
                    bool const stays = yield_inside(op, rules.view().inside(op.field), *before, op.field, {}, {}, told);
                    if (stays) { left.push_back(std::move(op)); }
                } else if (rules.decides(op.field) != rule::authority_time) {
                    left.push_back(std::move(op));
                } else if (before->mark_of(op.field).at == 2) {
                    told.push_back({op.field, rule::authority_time, winner::confirmed, reason::by_order});
                } else {
                    left.push_back(std::move(op));
                }
            }
            if (told.size() == held) { return rejection(outcome.reason); }
            m.ops = std::move(left);
            continue;
        }
        if (outcome.verdict == verdict_kind::rejected) { return rejection(outcome.reason); }
        if (outcome.verdict != verdict_kind::conflict) {
            before = std::move(after);
            out.decisions = std::move(outcome.decisions);
            break;
        }
        std::size_t const held = m.ops.size();
        for (decision const& d : outcome.decisions) {
            if (d.won != winner::nobody) { continue; }
            // Of a nested field that waits nothing inside is taken, so nothing else is told of it.
            told.erase(std::remove_if(told.begin(), told.end(),
                                      [&](decision const& inner) {
                                          return inner.field == d.field && !inner.inside.empty() &&
                                                 inner.won != winner::nobody;
                                      }),
                       told.end());
            take_back(m.ops, d, rules, out.conflicts, told);
        }
        if (m.ops.size() == held) { m.ops.clear(); }  // about none of them: the remote side stays
    }
    out.record = std::move(before->fields);
    std::move(told.begin(), told.end(), std::back_inserter(out.decisions));
    std::stable_sort(out.decisions.begin(), out.decisions.end(),
                     [](decision const& a, decision const& b) { return compare_keys(a.field, b.field) < 0; });
    return out;
}

}  // namespace detail

}  // namespace syncline::inline SYNCLINE_ABI
