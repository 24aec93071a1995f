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
    std::vector<decision> decisions{};  ///< one for each field that both sides changed, in canonical key order
    std::vector<std::string>
        conflicts{};  ///< fields that a person must decide; they hold the remote value; in order, too
};

namespace detail {

/// Whether the remote side's operation must be applied to the base, as what it wrote has marks inside of the field.
[[nodiscard]] inline bool marks_inside(field_op const& op, rule by, as_written const& taken) {
    if (op.kind == op_kind::elements || op.kind == op_kind::nested) { return true; }
    as_written const* const here = taken.find(op.field);
    return op.kind != op_kind::add && by == rule::siblings && (here == nullptr || !here->taken);
}

/// The two sides' operations on the base, looked at field by field before they are applied, inside of nested fields too.
/// What one side alone has written is its value as it stands: no rule is asked, neither of the way that a minimum moves nor
/// of the type. What both wrote the same is that.
struct side_by_side {
    timestamp their_stamp{}, our_stamp{};
    as_written theirs{}, ours{};
    errc refused{};       ///< both wrote a field, and its rule can't take the remote side's value, or what a side added
    std::string where{};  ///< … that field, or the way to it with dots

    /// A field that one side alone has written; `made` is what it is there.
    static void alone(field_op& op, rule by, std::optional<bytes_view> made, as_written& taken) {
        if (op.kind == op_kind::elements || op.kind == op_kind::nested) { whole(op, made); }
        bool const refusable = op.kind == op_kind::set && (is_extreme(by) || mistyped(op.value, by));
        if (refusable || (by == rule::siblings && op.kind != op_kind::add)) {
            taken.inside.push_back({op.field, true, {}});
        }
    }
    /// One that both have written, and what it was and is; `by_itself`: not together with a group.
    void both(field_op& their, field_op& our, rule by, rule_view inside, std::optional<bytes_view> was,
              std::optional<bytes_view> they_made, std::optional<bytes_view> we_made, bool by_itself) {
        bool const agree = they_made.has_value() == we_made.has_value() && (!we_made || equal(*they_made, *we_made));
        if (agree && by_itself && by != rule::counter && by != rule::nested) {
            whole(their, they_made);
            whole(our, we_made);
            theirs.inside.push_back({our.field, true, {}});
            ours.inside.push_back({our.field, true, {}});
            return;
        }
        if (by == rule::counter && (too_far(their, was, they_made) || too_far(our, was, we_made))) {
            refuse(errc::overflow, our.field);
        }
        if (their.kind == op_kind::set && mistyped(their.value, by)) { refuse(errc::type_mismatch, our.field); }
        if (our.kind == op_kind::nested && their.kind == op_kind::nested) {
            return nested(their, our, inside, *was, *they_made, *we_made);
        }
        if (their.kind == op_kind::set && is_extreme(by)) { theirs.inside.push_back({our.field, true, {}}); }
        // An addition to what the other side did not add to, or an edit inside of what it replaced, is this side's value
        // against that one's, whichever side is which. Edits of a set know to stand beside one who replaced it.
        if (our.kind == their.kind || is_set(by)) { return; }
        whole(their, they_made);
        whole(our, we_made);
    }

private:
    void refuse(errc why, std::string field) {
        refused = why;
        where = std::move(field);
    }
    /// Whether a counter was set to what it is as no addition leads there.
    [[nodiscard]] static bool too_far(field_op const& op, std::optional<bytes_view> was,
                                      std::optional<bytes_view> made) {
        return op.kind == op_kind::set && was && made && integer_of(*was) && integer_of(*made);
    }
    /// The operation as what it made of its field.
    static void whole(field_op& op, std::optional<bytes_view> made) {
        op.kind = made ? op_kind::set : op_kind::unset;
        op.value = made ? to_bytes(*made) : bytes{};
    }
    void nested(field_op& their, field_op& our, rule_view rules, bytes_view was, bytes_view they_made,
                bytes_view we_made) {
        cbor_reader in_their{their.value};
        cbor_reader in_our{our.value};
        std::vector<field_op> their_ops = decode_operations(in_their, their_stamp);
        std::vector<field_op> our_ops = decode_operations(in_our, our_stamp);
        fields_in_order before{was}, there{they_made}, here{we_made};
        side_by_side inside{their_stamp, our_stamp};
        inside.theirs.field = inside.ours.field = our.field;
        auto other = their_ops.begin();
        auto const pass = [&](auto const& up_to) {
            for (; other != their_ops.end() && up_to(*other); ++other) {
                alone(*other, rules.of(other->field), there.find(other->field), inside.theirs);
            }
        };
        for (field_op& op : our_ops) {
            pass([&](field_op const& o) { return compare_keys(o.field, op.field) < 0; });
            rule const by = rules.of(op.field);
            if (other == their_ops.end() || other->field != op.field) {
                alone(op, by, here.find(op.field), inside.ours);
                continue;
            }
            inside.both(*other, op, by, rules.inside(op.field), before.find(op.field), there.find(op.field),
                        here.find(op.field), true);
            ++other;
        }
        pass([](field_op const&) { return true; });
        if (inside.refused != errc{}) { refuse(inside.refused, our.field + '.' + inside.where); }
        theirs.inside.push_back(std::move(inside.theirs));
        ours.inside.push_back(std::move(inside.ours));
        encode(their, their_ops, their_stamp);
        encode(our, our_ops, our_stamp);
    }
    static void encode(field_op& op, std::vector<field_op> const& ops, timestamp stamp) {
        op.value.clear();
        cbor_writer w{op.value};
        encode_operations(w, ops, stamp);
    }
};

/// Whether the remote side, at position 2, has written a field or something inside of it. `path`: of that, or nothing for the
/// field.
[[nodiscard]] inline bool was_first(row const& r, std::string_view field, bytes const& path = {}) {
    auto at = std::lower_bound(r.exceptions.begin(), r.exceptions.end(), field,
                               [&](field_mark const& e, std::string_view wanted) {
                                   auto const order = compare_keys(e.field, wanted);
                                   return order != 0 ? order < 0 : compare(e.path, path) < 0;
                               });
    for (; at != r.exceptions.end() && at->field == field && starts_with(at->path, path); ++at) {
        if (at->mark.at == 2 && (!path.empty() || at->path.empty())) { return true; }
    }
    return false;
}

/// Takes out of a nested field's operations those under `authority_time` where the remote side, at position 2, was first,
/// and tells of them. `path`: of the map in its field; `agreed`: fields of it in which both wrote the same. False: nothing
/// is left of it.
[[nodiscard]] inline bool yield_inside(field_op& op, rule_view rules, row const& before, std::string_view field,
                                       bytes const& path, std::string const& named, as_written const* agreed,
                                       std::vector<decision>& told) {
    cbor_reader in{op.value};
    std::vector<field_op> const all = decode_operations(in, op.stamp);
    std::vector<field_op> left;
    for (field_op inner : all) {
        bytes at = path;
        cbor_writer{at}.text(inner.field);
        std::string const name_here = named.empty() ? inner.field : named + '.' + inner.field;
        bool const met = was_first(before, field, at);
        as_written const* const here = agreed == nullptr ? nullptr : agreed->find(inner.field);
        bool const same = here != nullptr && here->taken;
        if (met && !same && rules.of(inner.field) == rule::authority_time) {
            told.push_back({std::string{field}, rule::authority_time, winner::confirmed, reason::by_order, name_here});
            continue;
        }
        bool const deeper = inner.kind == op_kind::nested;
        if (deeper && !yield_inside(inner, rules.inside(inner.field), before, field, at, name_here, here, told)) {
            continue;
        }
        left.push_back(std::move(inner));
    }
    op.value.clear();
    cbor_writer w{op.value};
    encode_operations(w, left, op.stamp);
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

/// Takes back the operations that wait for a person: those on fields for which one is asked among `decisions`, and on
/// those that win together with them. False: there is none.
[[nodiscard]] inline bool take_back(std::vector<field_op>& ops, std::vector<decision> const& decisions,
                                    collection_rules const& rules, group_index const& groups,
                                    std::vector<std::string>& conflicts, std::vector<decision>& told) {
    std::vector<decision const*> asked;
    std::vector<decision const*> of_group(rules.groups.size());
    for (decision const& d : decisions) {
        if (d.won != winner::nobody) { continue; }
        asked.push_back(&d);
        field_group const* const g = groups.of(d.field);
        if (g != nullptr) { of_group[groups.place(*g)] = &d; }
    }
    std::stable_sort(asked.begin(), asked.end(),
                     [](decision const* a, decision const* b) { return compare_keys(a->field, b->field) < 0; });
    auto const is_asked = [&](std::string_view field) {
        auto const at = std::lower_bound(asked.begin(), asked.end(), field, [](decision const* d, std::string_view f) {
            return compare_keys(d->field, f) < 0;
        });
        return at != asked.end() && (*at)->field == field;
    };
    // Of a nested field that waits nothing inside is taken, so nothing else is told of it.
    told.erase(std::remove_if(told.begin(), told.end(),
                              [&](decision const& inner) {
                                  return !inner.inside.empty() && inner.won != winner::nobody && is_asked(inner.field);
                              }),
               told.end());
    std::vector<std::string> before = conflicts;
    std::sort(before.begin(), before.end());
    for (decision const* const d : asked) {
        bool const again = (!conflicts.empty() && conflicts.back() == d->field) ||
                           std::binary_search(before.begin(), before.end(), d->field);
        if (!again) { conflicts.push_back(d->field); }
        told.push_back(*d);
    }
    std::vector<field_op> left;
    for (field_op& op : ops) {
        if (is_asked(op.field)) { continue; }
        field_group const* const g = groups.of(op.field);
        decision const* const with = asked.empty()  ? nullptr
                                     : rules.whole  ? asked.front()
                                     : g != nullptr ? of_group[groups.place(*g)]
                                                    : nullptr;
        if (with == nullptr) {
            left.push_back(std::move(op));
            continue;
        }
        conflicts.push_back(op.field);
        told.push_back({op.field, with->by, winner::nobody, with->why});
    }
    bool const any = left.size() != ops.size();
    ops = std::move(left);
    return any;
}

/// Tells, where somebody asks, which field it is that can't be merged.
inline void tell_field(std::string* asked, std::string field) {
    if (asked != nullptr) { *asked = std::move(field); }
}

/// The merge by two mutations on the base: what the remote side did, then what the local one did, having seen the base.
/// `refused`: told of an error's field, where it is one's.
[[nodiscard]] inline result<merged<bytes>> merge_by_apply(bytes_view base, bytes_view local, bytes_view remote,
                                                          collection_rules const& rules, side local_side,
                                                          side remote_side, merge_host const* host,
                                                          std::string* refused = nullptr) {
    // What one side alone has written is its value, however far it moved.
    auto theirs = diff_record(base, remote, rules, remote_side.stamp, far_counter::is_set);
    if (!theirs) { return theirs.error(); }
    auto ours = diff_record(base, local, rules, local_side.stamp, far_counter::is_set);
    if (!ours) { return ours.error(); }
    group_index const groups(rules, ours->size());

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

    std::vector<field_change> unapplied;  // what has marks inside of it is applied to the base
    side_by_side sides{remote_side.stamp, local_side.stamp};
    auto other = theirs->begin();
    auto const pass_theirs = [&](auto const& up_to) {
        for (; other != theirs->end() && up_to(*other); ++other) {
            current.exceptions.push_back({other->field, {2, remote_side.stamp, remote_side.author}});
        }
    };
    fields_in_order in_base{base}, in_remote{remote}, in_local{local};
    for (field_op& op : *ours) {
        pass_theirs([&](field_op const& o) { return compare_keys(o.field, op.field) < 0; });
        bool const both = other != theirs->end() && other->field == op.field;
        rule const by = groups.decides(op.field);
        if (!both) {
            sides.alone(op, by, in_local.find(op.field), sides.ours);
            continue;
        }
        bool const by_itself = !rules.whole && groups.of(op.field) == nullptr;
        auto const was = in_base.find(op.field);
        rule_view const inside = by == rule::nested ? rules.view().inside(op.field) : rule_view{};
        sides.both(*other, op, by, inside, was, in_remote.find(op.field), in_local.find(op.field), by_itself);
        if (sides.refused != errc{}) {
            tell_field(refused, std::move(sides.where));
            return rejection(sides.refused);
        }
        if (!marks_inside(*other, by, sides.theirs)) { continue; }
        unapplied.push_back({op.field, was.has_value(), was.value_or(bytes_view{})});
        first.ops.push_back(std::move(*other));
        ++other;
    }
    pass_theirs([](field_op const&) { return true; });
    current.fields = unapplied.empty() ? to_bytes(remote) : rewrite_fields(remote, unapplied);

    merged<bytes> out;
    std::optional<row> before = std::move(current);
    if (!first.ops.empty()) {
        apply_context theirs_context;
        theirs_context.author = remote_side.author;
        theirs_context.at = 2;
        apply_outcome done = apply_as_written(before, first, rules, theirs_context, &sides.theirs);
        if (done.verdict == verdict_kind::rejected) {
            tell_field(refused, std::move(done.field));
            return rejection(done.reason);
        }
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
        apply_outcome outcome = apply_as_written(after, m, rules, context, &sides.ours);
        if (outcome.verdict == verdict_kind::rejected && outcome.reason == errc::contended) {
            // By the authority's time the remote side was first.
            std::vector<field_op> left;
            std::size_t const held = told.size();
            for (field_op& op : m.ops) {
                as_written const* const here = sides.ours.find(op.field);
                if (op.kind == op_kind::nested) {
                    bool const stays =
                        yield_inside(op, rules.view().inside(op.field), *before, op.field, {}, {}, here, told);
                    if (stays) { left.push_back(std::move(op)); }
                } else if ((here != nullptr && here->taken) || groups.decides(op.field) != rule::authority_time) {
                    left.push_back(std::move(op));
                } else if (was_first(*before, op.field)) {
                    told.push_back({op.field, rule::authority_time, winner::confirmed, reason::by_order});
                } else {
                    left.push_back(std::move(op));
                }
            }
            if (told.size() == held) { return rejection(outcome.reason); }
            m.ops = std::move(left);
            continue;
        }
        if (outcome.verdict == verdict_kind::rejected) {
            tell_field(refused, std::move(outcome.field));
            return rejection(outcome.reason);
        }
        if (outcome.verdict != verdict_kind::conflict) {
            before = std::move(after);
            out.decisions = std::move(outcome.decisions);
            break;
        }
        // About none of them: the remote side stays.
        if (!take_back(m.ops, outcome.decisions, rules, groups, out.conflicts, told)) { m.ops.clear(); }
    }
    out.record = std::move(before->fields);
    std::vector<field_change> as_it_was;  // what no operation is left on is the remote side's, byte for byte
    auto left = m.ops.begin();
    for (field_op const& op : first.ops) {
        while (left != m.ops.end() && compare_keys(left->field, op.field) < 0) { ++left; }
        if (left != m.ops.end() && left->field == op.field) { continue; }
        auto const made = map_find(remote, op.field);
        if (made) { as_it_was.push_back({op.field, made->has_value(), made->value_or(bytes_view{})}); }
    }
    if (!as_it_was.empty()) { out.record = rewrite_fields(out.record, as_it_was); }
    std::move(told.begin(), told.end(), std::back_inserter(out.decisions));
    put_in_order(out.decisions);
    put_in_order(out.conflicts);
    return out;
}

}  // namespace detail

}  // namespace syncline::inline SYNCLINE_ABI
