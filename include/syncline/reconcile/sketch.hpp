// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A rateless invertible Bloom lookup table: few cells find few differences between two large sets.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/reconcile/fingerprint.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The longest key that a sketch can name. Rows with longer ones are compared by ranges.
inline constexpr std::size_t sketch_key_max = 39;
/// No sketch has more cells.
inline constexpr std::size_t sketch_cells_max = 65'535;
/// Bytes of a cell in storage.
inline constexpr std::size_t sketch_cell_bytes = 64;

/// A row as a sketch holds it: its key and 64 bits that stand for its version.
struct sketch_item {
    std::array<std::uint64_t, 5> key{};  ///< the size, then the bytes, little-endian, zeros behind
    std::uint64_t tag = 0;
    friend constexpr bool operator==(sketch_item const&, sketch_item const&) = default;
};

/// Precondition: the key has at most `sketch_key_max` bytes.
[[nodiscard]] inline sketch_item make_sketch_item(bytes_view key, fingerprint const& row) noexcept {
    SYNCLINE_ASSERT(key.size() <= sketch_key_max);
    std::array<std::byte, 40> raw{};
    raw[0] = static_cast<std::byte>(key.size());
    if (!key.empty()) { std::memcpy(raw.data() + 1, key.data(), key.size()); }
    sketch_item item;
    for (std::size_t i = 0; i < item.key.size(); ++i) { item.key[i] = detail::load_little64(raw.data() + 8 * i); }
    item.tag = row.high;
    return item;
}
/// The key of an item. `malformed` where the item is none: a size over the most, or bytes behind the key.
[[nodiscard]] inline result<bytes> sketch_item_key(sketch_item const& item) {
    auto const at = [&](std::size_t i) { return static_cast<std::byte>(item.key[i / 8] >> (8 * (i % 8))); };
    auto const size = std::to_integer<std::size_t>(at(0));
    if (size == 0 || size > sketch_key_max) { return failure{errc::malformed, "key of a sketch's item"}; }
    bytes out(size);
    for (std::size_t i = 0; i < size; ++i) { out[i] = at(i + 1); }
    for (std::size_t i = size + 1; i < 40; ++i) {
        if (at(i) != std::byte{}) { return failure{errc::malformed, "key of a sketch's item"}; }
    }
    return out;
}

/// The exclusive or of some items, of their checks, and how many they are.
struct sketch_cell {
    sketch_item sum{};
    std::uint64_t check = 0;
    std::int64_t count = 0;

    constexpr void apply(sketch_item const& item, std::uint64_t item_check, std::int64_t sign) noexcept {
        for (std::size_t i = 0; i < sum.key.size(); ++i) { sum.key[i] ^= item.key[i]; }
        sum.tag ^= item.tag;
        check ^= item_check;
        // Numbers from a stranger may wrap; unsigned arithmetic lets them.
        count = static_cast<std::int64_t>(static_cast<std::uint64_t>(count) + static_cast<std::uint64_t>(sign));
    }
    constexpr void subtract(sketch_cell const& o) noexcept {
        apply(o.sum, o.check, static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(o.count)));
    }
    [[nodiscard]] constexpr bool empty() const noexcept { return *this == sketch_cell{}; }
    friend constexpr bool operator==(sketch_cell const&, sketch_cell const&) = default;
};

namespace detail {

/// floor(2^16 / sqrt(h / 1024)) for h = 1 to 1024; at 0 twice that of 1, where the curve would leave for infinity.
using walk_table_type = std::array<std::uint32_t, 1025>;
[[nodiscard]] constexpr walk_table_type make_walk_table() noexcept {
    walk_table_type t{};
    for (std::uint64_t h = 1; h <= 1024; ++h) {
        t[static_cast<std::size_t>(h)] = static_cast<std::uint32_t>(integer_root((std::uint64_t{1} << 42) / h));
    }
    t[0] = 2 * t[1];
    return t;
}
inline constexpr walk_table_type walk_table = make_walk_table();

}  // namespace detail

/// The cells of an item, in rising order: always the first, then the i-th with a chance of 1 / (1 + i / 2).
///
/// From cell i the next is ceil((i + 1.5) / sqrt(r) - 1.5) for a uniform r in (0, 1], which is that density exactly
/// (Yang et al., "Practical Rateless Set Reconciliation", SIGCOMM 2024, §4.2). The root comes from a table of integers
/// with linear steps, so that each machine walks the same way. Cost: some 3 ns a cell.
class cell_walk {
public:
    constexpr explicit cell_walk(std::uint64_t check) noexcept : random_(check) {}
    [[nodiscard]] constexpr std::uint64_t index() const noexcept { return index_; }
    constexpr void next() noexcept {
        std::uint64_t const r = random_() >> 32;
        auto const& t = detail::walk_table;
        auto const h = static_cast<std::size_t>(r >> 22);
        std::uint64_t const part = r & 0x3FFFFF;
        std::uint64_t const root = t[h] - (((t[h] - t[h + 1]) * part) >> 22);
        std::uint64_t const to = ((2 * index_ + 3) * root - 65'537) >> 17;  // 1.5 off, rounded up
        index_ = to > index_ ? to : index_ + 1;
    }

private:
    splitmix64 random_;
    std::uint64_t index_ = 0;
};

/// What a sketch's difference was found to consist of.
struct sketch_difference {
    std::vector<sketch_item> added{};    ///< of the cells that were subtracted from
    std::vector<sketch_item> removed{};  ///< of the cells that were subtracted
};

/// Adds (`sign` 1) or removes (-1) an item in the cells [first, first + cells.size()). Cost: O(log cells).
inline void apply_to_sketch(std::span<sketch_cell> cells, std::size_t first, row_hasher const& hasher,
                            sketch_item const& item, std::int64_t sign) noexcept {
    std::uint64_t const check = hasher.words(item.key, item.tag);
    for (cell_walk at(check); at.index() < first + cells.size(); at.next()) {
        if (at.index() >= first) { cells[static_cast<std::size_t>(at.index()) - first].apply(item, check, sign); }
    }
}

/// Takes the items out of a difference of sketches, a prefix of them from the first cell on. False when they don't
/// come out: more cells are needed. `cells` is used up.
///
/// The cells may be a stranger's: at most one item a cell is taken out, so the work is O(cells log cells). What comes
/// out is what somebody claims; look at each row before you believe it.
[[nodiscard]] inline bool decode_sketch(std::vector<sketch_cell>& cells, row_hasher const& hasher,
                                        sketch_difference& out) {
    auto const pure = [&](sketch_cell const& c) {
        return (c.count == 1 || c.count == -1) && c.check == hasher.words(c.sum.key, c.sum.tag);
    };
    std::vector<std::uint32_t> ready;
    for (std::size_t i = 0; i < cells.size(); ++i) {
        if (pure(cells[i])) { ready.push_back(static_cast<std::uint32_t>(i)); }
    }
    std::size_t taken = 0;
    while (!ready.empty() && taken < cells.size()) {
        sketch_cell const c = cells[ready.back()];
        ready.pop_back();
        if (!pure(c)) { continue; }
        ++taken;
        (c.count == 1 ? out.added : out.removed).push_back(c.sum);
        for (cell_walk at(c.check); at.index() < cells.size(); at.next()) {
            auto const i = static_cast<std::size_t>(at.index());
            cells[i].apply(c.sum, c.check, -c.count);
            if (pure(cells[i])) { ready.push_back(static_cast<std::uint32_t>(i)); }
        }
    }
    return std::all_of(cells.begin(), cells.end(), [](sketch_cell const& c) { return c.empty(); });
}

// ---- Cells as bytes --------------------------------------------------------------------------------------------

namespace detail {

inline void store_little64(std::byte* p, std::uint64_t n) noexcept {
    if constexpr (std::endian::native != std::endian::little) { n = reverse_bytes(n); }
    std::memcpy(p, &n, sizeof n);
}
/// How many of so many rows a cell holds on average.
[[nodiscard]] constexpr std::uint64_t expected_count(std::uint64_t rows, std::uint64_t index) noexcept {
    std::uint64_t const most = std::uint64_t{1} << 62;
    return (rows < most ? rows : most) * 2 / (index + 2);
}

}  // namespace detail

/// Eight little-endian words a cell: five of key, tag, check, count. For storage.
inline void store_cells(std::span<sketch_cell const> cells, bytes& out) {
    out.resize(cells.size() * sketch_cell_bytes);
    std::byte* p = out.data();
    for (sketch_cell const& c : cells) {
        for (std::uint64_t const w : c.sum.key) {
            detail::store_little64(p, w);
            p += 8;
        }
        detail::store_little64(p, c.sum.tag);
        detail::store_little64(p + 8, c.check);
        detail::store_little64(p + 16, static_cast<std::uint64_t>(c.count));
        p += 24;
    }
}
/// What `store_cells` wrote, appended to `out`. `corrupt` when it is no whole number of cells.
[[nodiscard]] inline status load_cells(bytes_view in, std::vector<sketch_cell>& out) {
    if (in.size() % sketch_cell_bytes != 0) { return failure{errc::corrupt, "sketch's cells"}; }
    for (std::byte const* p = in.data(); p != in.data() + in.size(); p += sketch_cell_bytes) {
        sketch_cell c;
        for (std::size_t i = 0; i < c.sum.key.size(); ++i) { c.sum.key[i] = detail::load_little64(p + 8 * i); }
        c.sum.tag = detail::load_little64(p + 40);
        c.check = detail::load_little64(p + 48);
        c.count = static_cast<std::int64_t>(detail::load_little64(p + 56));
        out.push_back(c);
    }
    return {};
}

/// For the wire: a byte that says how many bytes of the key area are sent (the rest of each is zero); then for each
/// cell the difference of its count from the average as a zigzag varint, the key area, tag and check, little-endian.
/// `first` is the index of the first cell, `rows` how many rows the sketch is of.
inline void encode_cells(std::span<sketch_cell const> cells, std::size_t first, std::uint64_t rows, bytes& out) {
    std::size_t width = 0;
    std::array<std::byte, sketch_cell_bytes> raw;
    auto const area = [&](sketch_cell const& c) {
        for (std::size_t i = 0; i < c.sum.key.size(); ++i) { detail::store_little64(raw.data() + 8 * i, c.sum.key[i]); }
        detail::store_little64(raw.data() + 40, c.sum.tag);
        detail::store_little64(raw.data() + 48, c.check);
    };
    for (sketch_cell const& c : cells) {
        area(c);
        for (std::size_t i = 40; i > width; --i) {
            if (raw[i - 1] != std::byte{}) {
                width = i;
                break;
            }
        }
    }
    out.push_back(static_cast<std::byte>(width));
    out.reserve(out.size() + cells.size() * (width + 20));
    for (std::size_t i = 0; i < cells.size(); ++i) {
        area(cells[i]);
        std::uint64_t const average = detail::expected_count(rows, first + i);
        append_varint(out, zigzag(static_cast<std::int64_t>(static_cast<std::uint64_t>(cells[i].count) - average)));
        append(out, bytes_view{raw}.first(width));
        append(out, bytes_view{raw}.subspan(40, 16));
    }
}
/// The cells that `encode_cells` wrote, appended to `out`.
/// Errors, `out` untouched: `malformed`, `not_deterministic`, `limit` (more than `most`).
[[nodiscard]] inline status decode_cells(bytes_view in, std::size_t first, std::uint64_t rows, std::size_t most,
                                         std::vector<sketch_cell>& out) {
    if (in.empty()) { return failure{errc::malformed, "cells"}; }
    auto const width = std::to_integer<std::size_t>(in[0]);
    if (width > 40) { return failure{errc::malformed, "width of cells"}; }
    in = in.subspan(1);
    std::size_t const before = out.size();
    auto const give_up = [&](failure const& f) {
        out.resize(before);
        return status{f};
    };
    while (!in.empty()) {
        if (out.size() - before == most) { return give_up({errc::limit, "cells"}); }
        auto const count = take_varint(in);
        if (!count) { return give_up(count.error()); }
        if (in.size() < width + 16) { return give_up({errc::malformed, "cells"}); }
        std::array<std::byte, 40> raw{};
        if (width != 0) { std::memcpy(raw.data(), in.data(), width); }
        sketch_cell c;
        for (std::size_t i = 0; i < c.sum.key.size(); ++i) { c.sum.key[i] = detail::load_little64(raw.data() + 8 * i); }
        c.sum.tag = detail::load_little64(in.data() + width);
        c.check = detail::load_little64(in.data() + width + 8);
        std::uint64_t const average = detail::expected_count(rows, first + (out.size() - before));
        c.count = static_cast<std::int64_t>(static_cast<std::uint64_t>(unzigzag(*count)) + average);
        in = in.subspan(width + 16);
        out.push_back(c);
    }
    return {};
}

}  // namespace syncline::inline SYNCLINE_ABI
