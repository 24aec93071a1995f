// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What changed between two states of a record, as the operations of a mutation.

#include <algorithm>
#include <compare>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/checked.hpp>
#include <syncline/core/result.hpp>
#include <syncline/merge/elements.hpp>
#include <syncline/merge/fields.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/model/mutation.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {

inline constexpr std::size_t diff_depth_max = 8;  ///< nested maps that operations reach into; deeper ones are set whole

/// What becomes of a counter's change that no addition within int64 makes.
enum class far_counter : std::uint8_t { overflows, is_set };

[[nodiscard]] result<std::vector<field_op>> diff_fields(bytes_view before, bytes_view after, rule_view rules,
                                                        group_index const* record, timestamp stamp, std::size_t depth,
                                                        far_counter beyond = far_counter::overflows);

/// The operation that makes `to` of `from`, two different values of one field.
[[nodiscard]] inline result<field_op> diff_values(std::string_view field, bytes_view from, bytes_view to, rule by,
                                                  rule_view inside, timestamp stamp, std::size_t depth,
                                                  far_counter beyond) {
    field_op op{std::string{field}, op_kind::set, {}, stamp};
    std::optional<bytes> edits;
    switch (by) {
        case rule::counter: {
            auto const a = integer_of(from);
            auto const b = integer_of(to);
            if (!a || !b) { break; }
            auto const delta = checked_subtract(*b, *a);
            if (!delta && beyond == far_counter::is_set) { break; }
            if (!delta) { return failure{errc::overflow, "a counter's change leaves int64"}; }
            op.kind = op_kind::add;
            cbor_writer{op.value}.integer(*delta);
            return op;
        }
        case rule::add_wins:
        case rule::remove_wins: edits = diff_set(from, to); break;
        case rule::list: edits = diff_list(from, to); break;
        case rule::nested: {
            if (!text_keyed(from) || !text_keyed(to) || depth == diff_depth_max) { break; }
            auto ops = diff_fields(from, to, inside, nullptr, stamp, depth + 1, beyond);
            if (!ops) { return ops.error(); }
            // A key inside may be one that no field can have: then the map goes as one value.
            bool const named = std::all_of(ops->begin(), ops->end(), [](field_op const& inner) {
                return !inner.field.empty() && inner.field.size() <= field_name_bytes_max;
            });
            if (!named) { break; }
            op.kind = op_kind::nested;
            cbor_writer w{op.value};
            encode_operations(w, *ops, stamp);
            return op;
        }
        case rule::sequence:
        case rule::text_lines:
        case rule::text_words:
        case rule::text_characters: {
            cbor_type const wanted = by == rule::sequence ? cbor_type::array : cbor_type::text;
            if (type_of(from) != wanted || type_of(to) != wanted) { break; }
            op.kind = op_kind::revise;
            op.value.reserve(from.size() + to.size() + 1);
            cbor_writer w{op.value};
            w.array(2);
            w.raw(from);
            w.raw(to);
            return op;
        }
        default: break;
    }
    if (edits) {
        op.kind = op_kind::elements;
        op.value = std::move(*edits);
    } else {
        op.value = to_bytes(to);
    }
    return op;
}

/// Adds what a group's fields hold that did not change themselves: the group goes as a whole.
inline void complete_groups(std::vector<field_op>& ops, bytes_view before, bytes_view after,
                            collection_rules const& rules, group_index const& groups, timestamp stamp) {
    if (before.empty() || ops.empty() || (!rules.whole && rules.groups.empty())) { return; }
    std::vector<bool> touched(rules.groups.size());
    for (field_op const& op : ops) {
        if (auto const* const g = groups.of(op.field); g != nullptr) { touched[groups.place(*g)] = true; }
    }
    // What is missing of a group is missing on purpose.
    std::vector<std::string_view> members;
    for (field_group const& g : rules.groups) {
        if (touched[groups.place(g)]) { members.insert(members.end(), g.fields.begin(), g.fields.end()); }
    }
    std::sort(members.begin(), members.end(),
              [](std::string_view a, std::string_view b) { return compare_keys(a, b) < 0; });
    std::vector<field_op> all;
    all.reserve(ops.size() + members.size());
    auto at = ops.begin();
    auto member = members.begin();
    auto const add = [&](field_op&& op) {
        for (; member != members.end() && compare_keys(*member, op.field) < 0; ++member) {
            all.push_back({std::string{*member}, op_kind::unset, {}, stamp});
        }
        while (member != members.end() && *member == op.field) { ++member; }
        all.push_back(std::move(op));
    };
    cbor_map_cursor is{after};
    while (!after.empty() && is.next()) {
        while (at != ops.end() && compare_keys(at->field, is.key()) < 0) { add(std::move(*at++)); }
        if (at != ops.end() && at->field == is.key()) {
            add(std::move(*at++));
            continue;
        }
        auto const* const g = groups.of(is.key());
        if (rules.whole || (g != nullptr && touched[groups.place(*g)])) {
            add({std::string{is.key()}, op_kind::set, to_bytes(is.value()), stamp});
        }
    }
    while (at != ops.end()) { add(std::move(*at++)); }
    for (; member != members.end(); ++member) { all.push_back({std::string{*member}, op_kind::unset, {}, stamp}); }
    ops = std::move(all);
}

inline result<std::vector<field_op>> diff_fields(bytes_view before, bytes_view after, rule_view rules,
                                                 group_index const* record, timestamp stamp, std::size_t depth,
                                                 far_counter beyond) {
    std::vector<field_op> ops;
    cbor_map_cursor was{before};
    cbor_map_cursor is{after};
    bool more_was = !before.empty() && was.next();
    bool more_is = !after.empty() && is.next();
    while (more_was || more_is) {
        auto const order = !more_was  ? std::strong_ordering::greater
                           : !more_is ? std::strong_ordering::less
                                      : compare_keys(was.key(), is.key());
        if (order < 0) {
            ops.push_back({std::string{was.key()}, op_kind::unset, {}, stamp});
        } else if (order > 0) {
            ops.push_back({std::string{is.key()}, op_kind::set, to_bytes(is.value()), stamp});
        } else if (!equal(was.value(), is.value())) {
            rule const by = record != nullptr ? record->decides(is.key()) : rules.of(is.key());
            rule_view const inside = by == rule::nested ? rules.inside(is.key()) : rule_view{};
            auto op = diff_values(is.key(), was.value(), is.value(), by, inside, stamp, depth, beyond);
            if (!op) { return op.error(); }
            ops.push_back(std::move(*op));
        }
        if (order <= 0) { more_was = was.next(); }
        if (order >= 0) { more_is = is.next(); }
    }
    if ((!before.empty() && was.failed()) || (!after.empty() && is.failed())) {
        return failure{errc::malformed, "fields that are no canonical map"};
    }
    return ops;
}

[[nodiscard]] inline result<std::vector<field_op>> diff_record(bytes_view before, bytes_view after,
                                                               collection_rules const& rules, timestamp stamp,
                                                               far_counter beyond) {
    std::size_t const names = after.empty() ? 0 : static_cast<std::size_t>(cbor_read_any_head(after).number);
    group_index const groups(rules, names);
    auto ops = diff_fields(before, after, rules.view(), &groups, stamp, 0, beyond);
    if (ops) { complete_groups(*ops, before, after, rules, groups, stamp); }
    return ops;
}

}  // namespace detail

/// The operations that make `after` of `before`, in canonical key order, each stamped `stamp`.
///
/// Both are canonical maps with text keys; an empty view is a record without fields. A change goes as the operation of
/// the field's rule, so that concurrent ones can all count: of a counter an addition, of a set or list edits of
/// elements, of a text or sequence a revision, of a nested field the operations inside, else the value. Where a field
/// of a group has changed, the whole group goes. A set is kept sorted, each element once.
/// Errors: `errc::malformed` when either is no such map, `errc::overflow` when a counter's difference
/// leaves int64. Cost: O(length of both); of lists a difference of their identities.
[[nodiscard]] inline result<std::vector<field_op>> diff(bytes_view before, bytes_view after,
                                                        collection_rules const& rules, timestamp stamp) {
    return detail::diff_record(before, after, rules, stamp, detail::far_counter::overflows);
}

}  // namespace syncline::inline SYNCLINE_ABI
