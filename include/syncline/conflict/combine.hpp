// SPDX-License-Identifier: BSL-1.0
#pragma once

/// One value of two changed ones, where the changes don't touch each other: texts, lists and maps.

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/merge/elements.hpp>
#include <syncline/merge/three_way.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {

/// What one side made of `base`: the bytes from `from` to `to` became `put`.
struct text_change {
    std::size_t from = 0;
    std::size_t to = 0;
    std::string_view put{};
};
/// The smallest change by common beginning and end, never inside a character.
[[nodiscard]] inline text_change change_between(std::string_view base, std::string_view side) noexcept {
    std::size_t const least = (std::min)(base.size(), side.size());
    auto const inside = [](std::string_view s, std::size_t at) {
        return at < s.size() && (static_cast<unsigned char>(s[at]) & 0xC0U) == 0x80U;
    };
    std::size_t from = 0;
    while (from < least && base[from] == side[from]) { ++from; }
    while (inside(base, from) || inside(side, from)) { --from; }
    std::size_t end = 0;
    while (end < least - from && base[base.size() - 1 - end] == side[side.size() - 1 - end]) { ++end; }
    while (end != 0 && (inside(base, base.size() - end) || inside(side, side.size() - end))) { --end; }
    return {from, base.size() - end, side.substr(from, side.size() - end - from)};
}
/// Both changes, when something of the base lies between them. Two insertions at one place stand in the order of their bytes,
/// so that it doesn't matter which side is which; the same insertion of both stands once.
[[nodiscard]] inline std::optional<std::string> combine_texts(std::string_view base, std::string_view local,
                                                              std::string_view remote) {
    text_change a = change_between(base, local);
    text_change b = change_between(base, remote);
    if (local == base) { return std::string{remote}; }
    if (remote == base) { return std::string{local}; }
    bool const same_place = a.from == b.from && a.to == b.to;
    if (same_place && a.put == b.put) { return std::string{local}; }
    bool const inserts = a.from == a.to && b.from == b.to;
    if (same_place && !inserts) { return std::nullopt; }
    if (same_place ? b.put < a.put : b.from < a.from) { std::swap(a, b); }
    // What is put at the very edge of what the other replaced may belong to it: keeping both would be a guess.
    if (!inserts && a.to >= b.from) { return std::nullopt; }
    std::string out{base.substr(0, a.from)};
    out.append(a.put).append(base.substr(a.to, b.from - a.to)).append(b.put).append(base.substr(b.to));
    return out;
}

[[nodiscard]] inline std::vector<bytes_view> sorted(std::vector<bytes_view> items) {
    std::sort(items.begin(), items.end(), [](bytes_view a, bytes_view b) { return compare(a, b) < 0; });
    return items;
}
[[nodiscard]] inline bool holds(std::vector<bytes_view> const& sorted_items, bytes_view item) {
    return std::binary_search(sorted_items.begin(), sorted_items.end(), item,
                              [](bytes_view a, bytes_view b) { return compare(a, b) < 0; });
}
[[nodiscard]] inline bool unique(std::vector<bytes_view> const& sorted_items) {
    return std::adjacent_find(sorted_items.begin(), sorted_items.end(),
                              [](bytes_view a, bytes_view b) { return equal(a, b); }) == sorted_items.end();
}
/// Lists as sets: what either removed is gone, what either added is there, the base's order, then what was added in the
/// order of bytes. Nothing for lists with one item twice.
[[nodiscard]] inline std::optional<bytes> combine_arrays(bytes_view base, bytes_view local, bytes_view remote) {
    auto const b = items_of(base);
    auto const l = items_of(local);
    auto const r = items_of(remote);
    if (!b || !l || !r) { return std::nullopt; }
    auto const bs = sorted(*b);
    auto const ls = sorted(*l);
    auto const rs = sorted(*r);
    if (!unique(bs) || !unique(ls) || !unique(rs)) { return std::nullopt; }
    std::vector<bytes_view> out;
    for (bytes_view const item : *b) {
        if (holds(ls, item) && holds(rs, item)) { out.push_back(item); }
    }
    std::vector<bytes_view> added;
    for (auto const* side : {&ls, &rs}) {
        for (bytes_view const item : *side) {
            if (!holds(bs, item)) { added.push_back(item); }
        }
    }
    added = sorted(std::move(added));
    for (std::size_t i = 0; i < added.size(); ++i) {
        if (i == 0 || !equal(added[i - 1], added[i])) { out.push_back(added[i]); }
    }
    bytes encoded;
    cbor_writer w{encoded};
    w.array(out.size());
    for (bytes_view const item : out) { w.raw(item); }
    return encoded;
}

}  // namespace detail

/// The one value that holds both changes, or nothing when they touch each other or the types have no such value.
///
/// All three are canonical items. Texts: two changes with something of the base between
/// them, or two insertions; never inside a character. Lists of distinct items: as sets. Maps with text keys: key by key, when no key was changed by both. It is
/// the same whichever side is local. Cost: linear for texts and maps, n log n for lists; allocates the result.
[[nodiscard]] inline std::optional<bytes> combine(bytes_view base, bytes_view local, bytes_view remote) {
    cbor_type const type = cbor_reader{base}.peek();
    if (cbor_reader{local}.peek() != type || cbor_reader{remote}.peek() != type) { return std::nullopt; }
    if (type == cbor_type::text) {
        auto const both =
            detail::combine_texts(cbor_reader{base}.text(), cbor_reader{local}.text(), cbor_reader{remote}.text());
        if (!both) { return std::nullopt; }
        bytes out;
        cbor_writer{out}.text(*both);
        return out;
    }
    if (type == cbor_type::array) { return detail::combine_arrays(base, local, remote); }
    if (type == cbor_type::map) {
        auto both = three_way(base, local, remote, collection_rules{{}, rule::manual, {}});
        if (!both || !both->conflicts.empty()) { return std::nullopt; }
        return std::move(both->record);
    }
    return std::nullopt;
}

}  // namespace syncline::inline SYNCLINE_ABI
