// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What changed between two states of a record as a value that can be applied, inverted, composed, kept and sent: preview
/// and undo are the same code.

#include <algorithm>
#include <compare>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/result.hpp>
#include <syncline/merge/diff.hpp>
#include <syncline/merge/fields.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// One field before and after; nothing where it was, or is, missing. The two differ.
struct field_delta {
    std::string field;
    std::optional<bytes> before{};
    std::optional<bytes> after{};
    friend bool operator==(field_delta const&, field_delta const&) = default;
};

/// What changed between two states of a record: fields in canonical key order, each once.
struct record_delta {
    std::vector<field_delta> fields{};

    [[nodiscard]] bool empty() const noexcept { return fields.empty(); }
    friend bool operator==(record_delta const&, record_delta const&) = default;
};

/// The delta that makes `after` of `before`, both canonical maps with text keys (or empty). `errc::malformed` when either
/// is none. Cost: O(length of both).
[[nodiscard]] inline result<record_delta> delta_between(bytes_view before, bytes_view after) {
    record_delta out;
    cbor_map_cursor was{before};
    cbor_map_cursor is{after};
    bool more_was = !before.empty() && was.next();
    bool more_is = !after.empty() && is.next();
    while (more_was || more_is) {
        auto const order = !more_was  ? std::strong_ordering::greater
                           : !more_is ? std::strong_ordering::less
                                      : compare_keys(was.key(), is.key());
        if (order != 0 || !equal(was.value(), is.value())) {
            field_delta d{std::string{order <= 0 ? was.key() : is.key()}, {}, {}};
            if (order <= 0) { d.before = to_bytes(was.value()); }
            if (order >= 0) { d.after = to_bytes(is.value()); }
            out.fields.push_back(std::move(d));
        }
        if (order <= 0) { more_was = was.next(); }
        if (order >= 0) { more_is = is.next(); }
    }
    if ((!before.empty() && was.failed()) || (!after.empty() && is.failed())) {
        return failure{errc::malformed, "fields that are no canonical map"};
    }
    return out;
}

/// What undoes it.
[[nodiscard]] inline record_delta inverse(record_delta delta) {
    for (field_delta& d : delta.fields) { std::swap(d.before, d.after); }
    return delta;
}

/// Both, one after the other; fields that come back to what they were fall out.
/// `errc::contended` when the second does not follow the first: a field that it knows otherwise.
[[nodiscard]] inline result<record_delta> compose(record_delta const& first, record_delta const& second) {
    record_delta out;
    auto a = first.fields.begin();
    auto b = second.fields.begin();
    while (a != first.fields.end() || b != second.fields.end()) {
        auto const order = a == first.fields.end()    ? std::strong_ordering::greater
                           : b == second.fields.end() ? std::strong_ordering::less
                                                      : compare_keys(a->field, b->field);
        if (order < 0) {
            out.fields.push_back(*a++);
        } else if (order > 0) {
            out.fields.push_back(*b++);
        } else {
            if (a->after != b->before) { return failure{errc::contended, "a delta that does not follow the other"}; }
            if (a->before != b->after) { out.fields.push_back({a->field, a->before, b->after}); }
            ++a;
            ++b;
        }
    }
    return out;
}

/// A record with a delta applied.
struct delta_applied {
    bytes fields{};
    std::vector<std::string> conflicts{};  ///< fields that held something else than the delta knew; left as they were
};

/// Applies a delta to `fields`, a canonical map or empty. A field that holds neither what the delta found nor what it
/// makes was changed by somebody since: it is left, and named. So an undo touches nothing that came later.
/// `errc::malformed` when `fields` is no such map. Cost: O(fields).
[[nodiscard]] inline result<delta_applied> apply_delta(record_delta const& delta, bytes_view fields) {
    delta_applied out;
    std::vector<detail::field_change> changes;
    cbor_map_cursor at{fields};
    bool more = !fields.empty() && at.next();
    for (field_delta const& d : delta.fields) {
        while (more && compare_keys(at.key(), d.field) < 0) { more = at.next(); }
        bool const had = more && at.key() == d.field;
        auto const holds = [&](std::optional<bytes> const& value) {
            return had ? value && equal(at.value(), *value) : !value;
        };
        if (holds(d.after)) { continue; }
        if (!holds(d.before)) {
            out.conflicts.push_back(d.field);
            continue;
        }
        changes.push_back({d.field, d.after.has_value(), d.after ? bytes_view{*d.after} : bytes_view{}});
    }
    while (more) { more = at.next(); }
    if (!fields.empty() && at.failed()) { return failure{errc::malformed, "fields that are no canonical map"}; }
    out.fields = detail::rewrite_fields(fields, changes);
    return out;
}

/// The delta as a mutation's operations, each as its field's rule wants it: an undo that others merge with, as with any
/// change. Of a group only the fields that the delta knows: see below. Errors: those of `diff`.
[[nodiscard]] inline result<std::vector<field_op>> operations_of(record_delta const& delta,
                                                                 collection_rules const& rules, timestamp stamp) {
    std::vector<detail::field_change> before;
    std::vector<detail::field_change> after;
    for (field_delta const& d : delta.fields) {
        if (d.before) { before.push_back({d.field, true, *d.before}); }
        if (d.after) { after.push_back({d.field, true, *d.after}); }
    }
    detail::group_index const groups(rules, delta.fields.size());
    return detail::diff_fields(detail::rewrite_fields({}, before), detail::rewrite_fields({}, after), rules.view(),
                               &groups, stamp, 0);
}

/// The same for the record as it is now, `fields`: a group of which a field changes goes whole, with its others as they are
/// there, so that they win together. What somebody has changed since is left, as `apply_delta` leaves it.
/// Errors: those of `apply_delta` and `diff`.
[[nodiscard]] inline result<std::vector<field_op>> operations_of(record_delta const& delta, bytes_view fields,
                                                                 collection_rules const& rules, timestamp stamp) {
    auto const applied = apply_delta(delta, fields);
    if (!applied) { return applied.error(); }
    return diff(fields, applied->fields, rules, stamp);
}

/// Appends the canonical form: an array of [field, [before], [after]], the inner arrays empty for what is missing.
inline void encode_delta(cbor_writer& w, record_delta const& delta) {
    auto const part = [&](std::optional<bytes> const& value) {
        w.array(value ? 1 : 0);
        if (value) { w.raw(*value); }
    };
    w.array(delta.fields.size());
    for (field_delta const& d : delta.fields) {
        w.array(3);
        w.text(d.field);
        part(d.before);
        part(d.after);
    }
}
/// Reads what `encode_delta` wrote, of a stranger too. On anything else the reader has failed.
[[nodiscard]] inline record_delta decode_delta(cbor_reader& in) {
    record_delta out;
    auto const part = [&](std::optional<bytes>& value) {
        std::size_t const n = in.array();
        if (n > 1) { in.fail({errc::malformed, "more than one value"}); }
        if (n == 1) { value = to_bytes(in.skip(3)); }
    };
    std::size_t const n = in.array();
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        field_delta d;
        if (in.array() != 3) { in.fail({errc::malformed, "delta of the wrong length"}); }
        d.field = std::string{in.text()};
        if (d.field.empty() || d.field.size() > field_name_bytes_max) {
            in.fail({errc::malformed, "field name of the wrong length"});
        }
        part(d.before);
        part(d.after);
        if (!in.failed() && d.before == d.after) { in.fail({errc::not_deterministic, "a field that did not change"}); }
        if (!out.fields.empty() && compare_keys(out.fields.back().field, d.field) >= 0) {
            in.fail({errc::not_deterministic, "fields out of order"});
        }
        if (!in.charge(sizeof(field_delta))) { break; }
        out.fields.push_back(std::move(d));
    }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
