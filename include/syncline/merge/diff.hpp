// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What changed between two states of a record, as the operations of a mutation.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/merge/apply.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The operations that make `after` of `before`, in canonical key order, each stamped `stamp`.
///
/// Both are canonical maps with text keys; an empty view is a record without fields. A counter's change
/// between two integers is an `add` of the difference, so that concurrent changes all count.
/// Errors: `errc::malformed` when either is no such map, `errc::overflow` when a counter's difference
/// leaves int64. Cost: O(length of both).
[[nodiscard]] inline result<std::vector<field_op>> diff(bytes_view before, bytes_view after,
                                                        collection_rules const& rules, timestamp stamp) {
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
            field_op op{std::string{is.key()}, op_kind::set, {}, stamp};
            auto const from = detail::integer_of(was.value());
            auto const to = detail::integer_of(is.value());
            if (rules.of(is.key()) == rule::counter && from && to) {
                auto const delta = checked_subtract(*to, *from);
                if (!delta) { return failure{errc::overflow, "a counter's change leaves int64"}; }
                op.kind = op_kind::add;
                cbor_writer{op.value}.integer(*delta);
            } else {
                op.value = to_bytes(is.value());
            }
            ops.push_back(std::move(op));
        }
        if (order <= 0) { more_was = was.next(); }
        if (order >= 0) { more_is = is.next(); }
    }
    if ((!before.empty() && was.failed()) || (!after.empty() && is.failed())) {
        return failure{errc::malformed, "fields that are no canonical map"};
    }
    return ops;
}

}  // namespace syncline::inline SYNCLINE_ABI
