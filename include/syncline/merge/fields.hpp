// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A record's fields rewritten with some changed, and the small readings of items that rules need.

#include <algorithm>
#include <array>
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

/// A canonical map whose fields are asked for in its own order.
class fields_in_order {
public:
    explicit fields_in_order(bytes_view map) : at_(map), more_(!map.empty() && at_.next()) {}
    [[nodiscard]] std::optional<bytes_view> find(std::string_view field) {
        while (more_ && compare_keys(at_.key(), field) < 0) { more_ = at_.next(); }
        return more_ && at_.key() == field ? std::optional{at_.value()} : std::nullopt;
    }

private:
    cbor_map_cursor at_;
    bool more_;
};

struct field_change {
    std::string_view field;
    bool present = false;
    bytes_view value{};
    // Where its pair stands in the map that is changed, or would stand: for `rewrite_fields_at`.
    std::size_t begin = 0;
    std::size_t end = 0;
};

/// The canonical map `fields` with `changes` (in key order) put in.
[[nodiscard]] inline bytes rewrite_fields(bytes_view fields, std::vector<field_change> const& changes) {
    std::size_t count = 0;
    std::size_t size = fields.size() + cbor_head_max;
    for (field_change const& c : changes) { size += cbor_head_max + c.field.size() + c.value.size(); }
    bytes whole;
    whole.reserve(size + cbor_head_max);
    whole.resize(cbor_head_max);  // of the map, once it is known how long it is
    cbor_writer out{whole};
    cbor_map_cursor old{fields};
    bool more = !fields.empty() && old.next();
    auto next = changes.begin();
    // What stays is copied as it stands, many fields at a time: those from `kept` on, before `at`, where the pair begins.
    std::size_t at = fields.empty() ? 0 : cbor_read_any_head(fields).size;
    std::size_t kept = at;
    auto const end_of_pair = [&] {
        return static_cast<std::size_t>(old.value().data() - fields.data()) + old.value().size();
    };
    auto const copy = [&] { out.raw(fields.subspan(kept, at - kept)); };
    while (next != changes.end()) {
        auto const order = more ? compare_keys(old.key(), next->field) : std::strong_ordering::greater;
        if (order < 0) {
            ++count;
        } else {
            copy();
            if (next->present) {
                out.text(next->field);
                out.raw(next->value);
                ++count;
            }
            kept = order == 0 ? end_of_pair() : at;
            ++next;
        }
        if (order <= 0) {
            at = end_of_pair();
            more = old.next();
        }
    }
    if (more) {
        at = fields.size();
        count += 1 + old.left();
    }
    copy();
    std::array<std::byte, cbor_head_max> head;
    std::byte const* const end = cbor_put_head(head.data(), 5, count);
    auto const length = end - static_cast<std::byte const*>(head.data());
    auto const spare = static_cast<std::ptrdiff_t>(cbor_head_max) - length;
    std::copy(static_cast<std::byte const*>(head.data()), end, whole.begin() + spare);
    whole.erase(whole.begin(), whole.begin() + spare);
    return whole;
}

/// The same where each change says where its pair stands: the map is not walked again.
[[nodiscard]] inline bytes rewrite_fields_at(bytes_view fields, std::vector<field_change> const& changes) {
    cbor_any_head const old = fields.empty() ? cbor_any_head{} : cbor_read_any_head(fields);
    auto count = static_cast<std::size_t>(old.number);
    std::size_t size = fields.size() - old.size;
    std::size_t kept = old.size;
    for (field_change const& c : changes) {
        if (c.begin < kept || c.end < c.begin) { return rewrite_fields(fields, changes); }  // not in their order
        kept = c.end;
        if (c.end != c.begin) { --count; }
        size -= c.end - c.begin;
        if (c.present) {
            ++count;
            size += cbor_head_size(c.field.size()) + c.field.size() + c.value.size();
        }
    }
    bytes whole(cbor_head_size(count) + size);
    cbor_room_writer out{whole};
    out.map(count);
    kept = old.size;
    for (field_change const& c : changes) {
        out.raw(fields.subspan(kept, c.begin - kept));
        if (c.present) {
            out.text(c.field);
            out.raw(c.value);
        }
        kept = c.end;
    }
    out.raw(fields.subspan(kept));
    return whole;
}

}  // namespace syncline::inline SYNCLINE_ABI::detail
