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
#include <syncline/merge/grapheme.hpp>
#include <syncline/merge/three_way.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {

/// What one side made of `base`: the bytes from `from` to `to` became `put`.
struct text_change {
    std::size_t from = 0;
    std::size_t to = 0;
    std::string_view put{};
};
/// The last place up to `at` where a character, as people see it, begins, or the end.
[[nodiscard]] inline std::size_t character_before(std::string_view text, std::size_t at) noexcept {
    // Between two of ASCII one ends, but for a line's two: from there on they are counted.
    auto const plain = [&](std::size_t k) {
        return static_cast<unsigned char>(text[k]) < 0x80 && text[k] != '\r' && text[k] != '\n';
    };
    std::size_t from = at;
    while (from != 0 && !(from < text.size() && plain(from) && plain(from - 1))) { --from; }
    while (from < at) {
        std::size_t const next = next_character(text, from);
        if (next > at) { break; }
        from = next;
    }
    return from;
}
/// The first place from `at` on where one begins, or the end.
[[nodiscard]] inline std::size_t character_after(std::string_view text, std::size_t at) noexcept {
    std::size_t const before = character_before(text, at);
    return before == at ? at : next_character(text, before);
}
/// The smallest change by common beginning and end, never inside a character as people see it.
[[nodiscard]] inline text_change change_between(std::string_view base, std::string_view side) noexcept {
    std::size_t const least = (std::min)(base.size(), side.size());
    std::size_t from = 0;
    while (from < least && base[from] == side[from]) { ++from; }
    from = (std::min)(character_before(base, from), character_before(side, from));
    std::size_t end = 0;
    while (end < least - from && base[base.size() - 1 - end] == side[side.size() - 1 - end]) { ++end; }
    // What begins there in one need not in the other: a flag's halves are paired from the left. On to the first place where
    // one begins in both.
    std::size_t in_base = character_after(base, base.size() - end);
    std::size_t in_side = character_after(side, side.size() - end);
    while (base.size() - in_base != side.size() - in_side) {
        if (base.size() - in_base > side.size() - in_side) {
            in_base = next_character(base, in_base);
        } else {
            in_side = next_character(side, in_side);
        }
    }
    end = base.size() - in_base;
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
struct known_item {
    bytes_view id;  ///< its identity, or itself
    bytes_view item;
};
/// A list's items in the order of their identities; nothing where two share one.
[[nodiscard]] inline std::optional<std::vector<known_item>> by_identity(std::vector<bytes_view> const& items) {
    std::vector<known_item> out;
    out.reserve(items.size());
    for (bytes_view const item : items) {
        bytes_view const id = element_identity(item);
        out.push_back({id.empty() ? item : id, item});
    }
    std::sort(out.begin(), out.end(), [](known_item const& a, known_item const& b) { return compare(a.id, b.id) < 0; });
    bool const one_twice = std::adjacent_find(out.begin(), out.end(), [](known_item const& a, known_item const& b) {
                               return equal(a.id, b.id);
                           }) != out.end();
    if (one_twice) { return std::nullopt; }
    return out;
}
/// What a list has under an identity; nothing where there is none.
[[nodiscard]] inline std::optional<bytes_view> item_of(std::vector<known_item> const& all, bytes_view id) {
    auto const at = std::lower_bound(all.begin(), all.end(), id,
                                     [](known_item const& k, bytes_view b) { return compare(k.id, b) < 0; });
    if (at == all.end() || !equal(at->id, id)) { return std::nullopt; }
    return at->item;
}
/// Whether a side left the base's items in their order, whatever it made of them.
[[nodiscard]] inline bool keeps_order(std::vector<bytes_view> const& base, std::vector<known_item> const& base_ids,
                                      std::vector<bytes_view> const& side) {
    auto const id_of = [](bytes_view item) {
        bytes_view const id = element_identity(item);
        return id.empty() ? item : id;
    };
    auto at = base.begin();
    for (bytes_view const item : side) {
        bytes_view const id = id_of(item);
        if (!item_of(base_ids, id)) { continue; }
        at = std::find_if(at, base.end(), [&](bytes_view b) { return equal(id_of(b), id); });
        if (at == base.end()) { return false; }
    }
    return true;
}
/// Lists as sets: what either removed is gone, what either added is there, the base's order, then what was added in the
/// order of bytes. An item that one side made another of its identity (element_identity) is that. Nothing for lists with
/// one item or identity twice, where a side put the base's items in another order, and where both changed one item, or one
/// changed what the other removed: such changes touch each other.
[[nodiscard]] inline std::optional<bytes> combine_arrays(bytes_view base, bytes_view local, bytes_view remote) {
    auto const b = items_of(base);
    auto const l = items_of(local);
    auto const r = items_of(remote);
    if (!b || !l || !r) { return std::nullopt; }
    if (equal(local, remote) || equal(remote, base)) { return to_bytes(local); }
    if (equal(local, base)) { return to_bytes(remote); }
    auto const ids = by_identity(*b);
    auto const mine = by_identity(*l);
    auto const theirs = by_identity(*r);
    if (!ids || !mine || !theirs || !keeps_order(*b, *ids, *l) || !keeps_order(*b, *ids, *r)) { return std::nullopt; }
    std::vector<bytes_view> out;
    for (bytes_view const item : *b) {
        bytes_view const identity = element_identity(item);
        bytes_view const id = identity.empty() ? item : identity;
        auto const here = item_of(*mine, id);
        auto const there = item_of(*theirs, id);
        bool const kept_here = here && equal(*here, item);
        bool const kept_there = there && equal(*there, item);
        if ((here && !kept_here && !kept_there) || (there && !kept_there && !kept_here)) { return std::nullopt; }
        if (here && there) { out.push_back(kept_here ? *there : *here); }
    }
    std::vector<bytes_view> added;
    for (auto const* side : {&*mine, &*theirs}) {
        for (known_item const& k : *side) {
            if (!item_of(*ids, k.id)) { added.push_back(k.item); }
        }
    }
    added = sorted(std::move(added));
    added.erase(std::unique(added.begin(), added.end(), [](bytes_view x, bytes_view y) { return equal(x, y); }),
                added.end());
    if (!by_identity(added)) { return std::nullopt; }
    out.insert(out.end(), added.begin(), added.end());
    bytes encoded;
    cbor_writer w{encoded};
    w.array(out.size());
    for (bytes_view const item : out) { w.raw(item); }
    return encoded;
}

}  // namespace detail

/// The one value that holds both changes, or nothing when they touch each other or the types have no such value.
///
/// All three are canonical items. Texts: two changes with something of the base between them, or two insertions; never
/// inside a character as people see it. Lists of distinct items: as sets, where nobody put them in another order, and no
/// item was changed by both, or changed by one and removed by the other. Maps with text keys: key by key, when no key was
/// changed by both. It is the same whichever side is local.
/// Cost: linear for texts and maps, n log n for lists; allocates the result.
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
