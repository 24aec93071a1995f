// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A record's fields rewritten with some changed, and the small readings of items that rules need.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>

namespace syncline::inline SYNCLINE_ABI::detail {

/// The integer in a canonical item, or nothing.
[[nodiscard]] inline std::optional<std::int64_t> integer_of(bytes_view item) {
    cbor_reader in{item};
    std::int64_t const n = in.integer();
    if (!in.finish()) { return std::nullopt; }
    return n;
}

/// The type of an item without looking into it.
[[nodiscard]] inline cbor_type type_of(bytes_view item) noexcept { return cbor_reader{item}.peek(); }

struct field_change {
    std::string_view field;
    bool present = false;
    bytes_view value{};
};

/// The canonical map `fields` with `changes` (in key order) put in.
[[nodiscard]] inline bytes rewrite_fields(bytes_view fields, std::vector<field_change> const& changes) {
    std::size_t count = 0;
    std::size_t size = fields.size() + cbor_head_max;
    for (field_change const& c : changes) { size += cbor_head_max + c.field.size() + c.value.size(); }
    bytes body;
    cbor_writer out{body};
    cbor_map_cursor old{fields};
    bool more = !fields.empty() && old.next();
    auto next = changes.begin();
    body.reserve(size);
    auto const put = [&](std::string_view key, bytes_view value) {
        out.text(key);
        out.raw(value);
        ++count;
    };
    while (more || next != changes.end()) {
        auto const order = !more                   ? std::strong_ordering::greater
                           : next == changes.end() ? std::strong_ordering::less
                                                   : compare_keys(old.key(), next->field);
        if (order < 0) {
            put(old.key(), old.value());
        } else if (next->present) {
            put(next->field, next->value);
        }
        if (order <= 0) { more = old.next(); }
        if (order >= 0) { ++next; }
    }
    bytes whole;
    cbor_writer head{whole};
    whole.reserve(body.size() + cbor_head_max);
    head.map(count);
    append(whole, body);
    return whole;
}

}  // namespace syncline::inline SYNCLINE_ABI::detail
