// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Fingerprints of ranges of rows, kept in storage as a tree in the order of keys.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/reconcile/fingerprint.hpp>
#include <syncline/reconcile/row_source.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Rows from a key on, up to where the next range begins.
struct row_range {
    bytes from{};
    fingerprint sum{};
    std::uint64_t rows = 0;
    friend bool operator==(row_range const&, row_range const&) = default;
};

/// What one row adds to the range that holds its key. The key is borrowed.
struct range_delta {
    bytes_view key{};
    fingerprint sum{};
    std::int64_t rows = 0;
};

/// Where a tree begins; kept by its owner.
struct range_root {
    std::uint64_t node = 0;    ///< 0: no row was ever in it
    std::uint32_t height = 0;  ///< of that node; a leaf node has 0
    std::uint64_t next = 1;    ///< number of the next new node
    friend constexpr bool operator==(range_root const&, range_root const&) = default;
};

/// A B-tree whose leaves are ranges of the host's rows, not rows: it holds a key, a sum and a count for some hundreds
/// of rows, and asks the `row_source` where it has to look into a range.
///
/// Holds its prefix and nothing else. Every call may answer what the storage and the rows answer, and `corrupt`.
class range_tree {
public:
    static constexpr std::size_t fanout_max = 64;
    static constexpr std::uint32_t height_max = 16;

    /// Preconditions: the prefix has at most 64 bytes, `leaf_rows_max` is at least 4.
    range_tree(std::string_view prefix, row_hasher const& hasher, std::size_t leaf_rows_max)
        : prefix_(prefix), hasher_(hasher), leaf_max_(leaf_rows_max) {
        SYNCLINE_ASSERT(prefix.size() <= 64 && leaf_rows_max >= 4);
    }

    /// Adds deltas, sorted by key. The rows already are as the deltas make them.
    ///
    /// Cost: a get and a put for each node on the way to a delta's range, shared by deltas that are near one another;
    /// a range that grew over its most is split by a scan of its rows, which so many inserts have paid for.
    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] status fold(Tx& tx, Rows& rows, range_root& root, std::span<range_delta const> deltas) const {
        if (deltas.empty()) { return {}; }
        range_root to = root;
        if (to.node == 0) {
            to.node = to.next++;
            to.height = 0;
            entry const all{};
            if (auto s = store(tx, to.node, 0, {&all, 1}); !s) { return s; }
        }
        auto top = fold_node(tx, rows, to, to.node, to.height, {}, deltas);
        if (!top) { return top.error(); }
        while (top->size() > 1) {
            if (to.height == height_max) { return failure{errc::corrupt, "height of the range tree"}; }
            ++to.height;
            auto above = cut(tx, to, to.next++, to.height, std::move(*top));
            if (!above) { return above.error(); }
            top = std::move(above);
            to.node = (*top)[0].child;
        }
        if (auto s = lower(tx, to); !s) { return s; }
        root = to;
        return {};
    }

    /// Builds the tree of all rows of the source. The owner has erased what was there.
    /// Cost: a scan of all rows; the ranges are in memory meanwhile, some 50 bytes for each few hundred rows.
    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] status build(Tx& tx, Rows& rows, range_root& root, bool& any) const {
        std::vector<entry> level;
        auto const s = cut_rows(rows, {}, leaf_max_ * 2 / 3 + 1, level);
        if (!s) { return s; }
        any = !level.empty();
        range_root to;
        if (level.empty()) { level.push_back({}); }
        for (;; ++to.height) {
            if (to.height > height_max) { return failure{errc::corrupt, "height of the range tree"}; }
            auto above = cut(tx, to, to.next++, to.height, std::move(level));
            if (!above) { return above.error(); }
            level = std::move(*above);
            if (level.size() == 1) { break; }
        }
        to.node = level[0].child;
        root = to;
        return {};
    }

    /// Sum and count of the rows in a range. Cost: O(log n) gets, and a scan of at most two leaves.
    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] result<row_range> sum(Tx& tx, Rows& rows, range_root const& root, key_range range) const {
        row_range out;
        out.from = to_bytes(range.from);
        if (root.node == 0) { return out; }
        if (auto s = add(tx, rows, root.node, root.height, {}, range, out); !s) { return s.error(); }
        return out;
    }

    /// Divides a range of so many rows into at most `parts`, of about as many rows each. Precondition: parts > 1.
    ///
    /// Cost: O(parts) gets, and a scan of at most a few leaves.
    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] result<std::vector<row_range>> divide(Tx& tx, Rows& rows, range_root const& root, key_range range,
                                                        std::uint64_t count, std::size_t parts) const {
        SYNCLINE_ASSERT(parts > 1);
        std::vector<row_range> out;
        if (root.node != 0 && count > 4 * leaf_max_) {
            std::vector<piece> pieces{{{}, {}, root.node}};
            for (std::uint32_t height = root.height + 1; height > 0 && pieces.size() < parts; --height) {
                std::vector<piece> next;
                for (piece const& p : pieces) {
                    if (auto s = open(tx, p, height - 1, range, next); !s) { return s.error(); }
                }
                pieces = std::move(next);
            }
            std::uint64_t const each = count / parts + 1;
            for (piece const& p : pieces) {
                bool const starts = out.empty() || out.back().rows >= each;
                auto part = sum(tx, rows, root, {p.from, p.to});
                if (!part) { return part.error(); }
                if (starts) {
                    out.push_back(std::move(*part));
                } else {
                    out.back().sum += part->sum;
                    out.back().rows += part->rows;
                }
            }
            if (out.size() > 1) { return out; }
            out.clear();
        }
        std::vector<entry> cut_up;
        auto const each = static_cast<std::size_t>(count / parts + 1);
        if (auto s = cut_rows(rows, range, each, cut_up); !s) { return s.error(); }
        for (entry& e : cut_up) { out.push_back({std::move(e.from), e.sum, e.rows}); }
        if (out.empty()) { out.push_back({to_bytes(range.from), {}, 0}); }
        return out;
    }

    /// Every leaf in order, with its sum as it is kept: for a check against the rows.
    template <storage_transaction Tx, class Visit>
    [[nodiscard]] status leaves(Tx& tx, range_root const& root, Visit&& visit) const {
        if (root.node == 0) { return {}; }
        return leaves_of(tx, root.node, root.height, visit);
    }

private:
    struct entry {
        bytes from{};
        fingerprint sum{};
        std::uint64_t rows = 0;
        std::uint64_t child = 0;
    };
    struct piece {
        bytes from{};
        bytes to{};
        std::uint64_t child = 0;
    };

    // ---- Nodes as bytes: height, number of entries; for each the key with its size, sum, rows, child.

    [[nodiscard]] bytes node_key(std::uint64_t id) const {
        bytes out = to_bytes(prefix_);
        append_u64(out, id);
        return out;
    }
    template <storage_transaction Tx>
    [[nodiscard]] status store(Tx& tx, std::uint64_t id, std::uint32_t height, std::span<entry const> entries) const {
        bytes value;
        value.reserve(entries.size() * 48);
        append_varint(value, height);
        append_varint(value, entries.size());
        for (entry const& e : entries) {
            append_varint(value, e.from.size());
            append(value, e.from);
            append_fingerprint(value, e.sum);
            append_varint(value, e.rows);
            append_varint(value, e.child);
        }
        return tx.put(node_key(id), value);
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<entry>> load(Tx& tx, std::uint64_t id, std::uint32_t height) const {
        failure const damaged{errc::corrupt, "node of the range tree"};
        bytes value;
        auto const found = tx.get(node_key(id), value);
        if (!found) { return found.error(); }
        bytes_view in = value;
        auto const h = take_varint(in);
        auto const n = take_varint(in);
        if (!*found || !h || !n || *h != height || *n == 0 || *n > fanout_max) { return damaged; }
        std::vector<entry> out(static_cast<std::size_t>(*n));
        for (entry& e : out) {
            auto const size = take_varint(in);
            if (!size || *size > in.size() || in.size() - *size < fingerprint_bytes) { return damaged; }
            e.from = to_bytes(in.first(static_cast<std::size_t>(*size)));
            in = in.subspan(static_cast<std::size_t>(*size));
            e.sum = read_fingerprint(in);
            in = in.subspan(fingerprint_bytes);
            auto const rows = take_varint(in);
            auto const child = take_varint(in);
            if (!rows || !child) { return damaged; }
            e.rows = *rows;
            e.child = *child;
            bool const first = &e == out.data();
            if (!first && !(compare((&e)[-1].from, e.from) < 0)) { return damaged; }
        }
        if (!in.empty()) { return damaged; }
        return out;
    }

    // ---- Changing

    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] result<std::vector<entry>> fold_node(Tx& tx, Rows& rows, range_root& root, std::uint64_t id,
                                                       std::uint32_t height, bytes_view to,
                                                       std::span<range_delta const> deltas) const {
        auto node = load(tx, id, height);
        if (!node) { return node.error(); }
        std::vector<entry> after;
        after.reserve(node->size() + 8);
        for (std::size_t i = 0; i < node->size(); ++i) {
            entry& e = (*node)[i];
            bytes_view const end = i + 1 < node->size() ? bytes_view{(*node)[i + 1].from} : to;
            std::size_t n = 0;
            while (n < deltas.size() && (end.empty() || compare(deltas[n].key, end) < 0)) { ++n; }
            auto const own = deltas.first(n);
            deltas = deltas.subspan(n);
            if (own.empty()) {
                after.push_back(std::move(e));
                continue;
            }
            if (height != 0) {
                auto below = fold_node(tx, rows, root, e.child, height - 1, end, own);
                if (!below) { return below.error(); }
                for (entry& b : *below) { after.push_back(std::move(b)); }
                continue;
            }
            for (range_delta const& d : own) {
                e.sum += d.sum;
                e.rows += static_cast<std::uint64_t>(d.rows);
            }
            if (auto s = e.rows > leaf_max_ ? split(rows, std::move(e), end, after) : keep(std::move(e), after); !s) {
                return s.error();
            }
        }
        if (auto s = join(tx, after, height); !s) { return s.error(); }
        return cut(tx, root, id, height, std::move(after));
    }
    [[nodiscard]] static status keep(entry e, std::vector<entry>& after) {
        after.push_back(std::move(e));
        return {};
    }

    /// One range becomes several. What its sum has that no row explains stays with the first, for a check to find.
    template <row_source Rows>
    [[nodiscard]] status split(Rows& rows, entry e, bytes_view end, std::vector<entry>& after) const {
        std::vector<entry> parts;
        if (auto s = cut_rows(rows, {e.from, end}, leaf_max_ / 2, parts); !s) { return s; }
        if (parts.size() < 2) { return keep(std::move(e), after); }
        for (entry const& p : parts) {
            e.sum -= p.sum;
            e.rows -= p.rows;
        }
        parts[0].sum += e.sum;
        parts[0].rows += e.rows;
        for (entry& p : parts) { after.push_back(std::move(p)); }
        return {};
    }
    /// The rows of a range in parts of so many, each with the shortest key that begins it.
    template <row_source Rows>
    [[nodiscard]] status cut_rows(Rows& rows, key_range range, std::size_t each, std::vector<entry>& out) const {
        bytes before;
        return rows.scan(range, [&](bytes_view key, bytes_view version) {
            if (out.empty()) {
                out.push_back({to_bytes(range.from), {}, 0, 0});
            } else if (out.back().rows == each) {
                out.push_back({between(before, key), {}, 0, 0});
            }
            out.back().sum += hasher_.row(key, version);
            ++out.back().rows;
            before.assign(key.begin(), key.end());
            return true;
        });
    }
    /// The shortest beginning of `key` that is behind `before`.
    [[nodiscard]] static bytes between(bytes_view before, bytes_view key) {
        std::size_t n = 0;
        while (n < before.size() && n < key.size() && before[n] == key[n]) { ++n; }
        return to_bytes(key.first(n + 1 < key.size() ? n + 1 : key.size()));
    }

    /// Joins neighbours that have become small: two ranges, or a node that holds no row with the one before it.
    template <storage_transaction Tx>
    [[nodiscard]] status join(Tx& tx, std::vector<entry>& entries, std::uint32_t height) const {
        std::size_t last = 0;
        for (std::size_t i = 1; i < entries.size(); ++i) {
            entry& e = entries[i];
            bool const empty = e.rows == 0 && e.sum == fingerprint{};
            bool const few = height == 0 && saturating_add(entries[last].rows, e.rows) <= leaf_max_ / 4;
            if (empty || few) {
                if (height != 0) {
                    if (auto s = erase(tx, e.child, height - 1); !s) { return s; }
                }
                entries[last].sum += e.sum;
                entries[last].rows += e.rows;
                continue;
            }
            if (++last != i) { entries[last] = std::move(e); }
        }
        entries.resize(last + 1);
        return {};
    }
    template <storage_transaction Tx>
    [[nodiscard]] status erase(Tx& tx, std::uint64_t id, std::uint32_t height) const {
        if (height != 0) {
            auto const node = load(tx, id, height);
            if (!node) { return node.error(); }
            for (entry const& e : *node) {
                if (auto s = erase(tx, e.child, height - 1); !s) { return s; }
            }
        }
        return tx.erase(node_key(id));
    }

    /// Stores entries as one node, or as several when they are too many; what their parent holds of them.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<entry>> cut(Tx& tx, range_root& root, std::uint64_t id, std::uint32_t height,
                                                 std::vector<entry> entries) const {
        std::size_t const nodes =
            entries.size() <= fanout_max ? 1 : (entries.size() + fanout_max / 2 - 1) / (fanout_max / 2);
        std::vector<entry> out;
        out.reserve(nodes);
        for (std::size_t i = 0; i < nodes; ++i) {
            std::size_t const from = entries.size() * i / nodes;
            std::size_t const to = entries.size() * (i + 1) / nodes;
            std::span<entry const> const part{entries.data() + from, to - from};
            entry above{part[0].from, {}, 0, i == 0 ? id : root.next++};
            for (entry const& e : part) {
                above.sum += e.sum;
                above.rows += e.rows;
            }
            if (auto s = store(tx, above.child, height, part); !s) { return s.error(); }
            out.push_back(std::move(above));
        }
        return out;
    }
    /// Takes nodes of one entry off the top.
    template <storage_transaction Tx>
    [[nodiscard]] status lower(Tx& tx, range_root& root) const {
        while (root.height != 0) {
            auto const node = load(tx, root.node, root.height);
            if (!node) { return node.error(); }
            if (node->size() > 1) { return {}; }
            if (auto s = tx.erase(node_key(root.node)); !s) { return s; }
            root.node = (*node)[0].child;
            --root.height;
        }
        return {};
    }

    // ---- Asking

    [[nodiscard]] static bool before_or_at(bytes_view key, bytes_view to) {
        return to.empty() || (!key.empty() && compare(key, to) <= 0);
    }
    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] status add(Tx& tx, Rows& rows, std::uint64_t id, std::uint32_t height, bytes_view to, key_range range,
                             row_range& out) const {
        auto const node = load(tx, id, height);
        if (!node) { return node.error(); }
        for (std::size_t i = 0; i < node->size(); ++i) {
            entry const& e = (*node)[i];
            bytes_view const end = i + 1 < node->size() ? bytes_view{(*node)[i + 1].from} : to;
            if (!end.empty() && compare(end, range.from) <= 0) { continue; }
            if (!range.to.empty() && compare(e.from, range.to) >= 0) { break; }
            bool const from_inside = compare(e.from, range.from) >= 0;
            bool const to_inside = before_or_at(end, range.to);
            if (from_inside && to_inside) {
                out.sum += e.sum;
                out.rows += e.rows;
                continue;
            }
            if (height != 0) {
                if (auto s = add(tx, rows, e.child, height - 1, end, range, out); !s) { return s; }
                continue;
            }
            key_range const part{from_inside ? bytes_view{e.from} : range.from, to_inside ? end : range.to};
            auto const s = rows.scan(part, [&](bytes_view key, bytes_view version) {
                out.sum += hasher_.row(key, version);
                ++out.rows;
                return true;
            });
            if (!s) { return s; }
        }
        return {};
    }
    /// The parts of a piece that lie in the range, cut to it.
    template <storage_transaction Tx>
    [[nodiscard]] status open(Tx& tx, piece const& p, std::uint32_t height, key_range range,
                              std::vector<piece>& out) const {
        auto const node = load(tx, p.child, height);
        if (!node) { return node.error(); }
        for (std::size_t i = 0; i < node->size(); ++i) {
            entry const& e = (*node)[i];
            bytes_view const end = i + 1 < node->size() ? bytes_view{(*node)[i + 1].from} : bytes_view{p.to};
            if (!end.empty() && compare(end, range.from) <= 0) { continue; }
            if (!range.to.empty() && compare(e.from, range.to) >= 0) { break; }
            piece part;
            part.from = compare(e.from, range.from) >= 0 ? e.from : to_bytes(range.from);
            part.to = to_bytes(before_or_at(end, range.to) ? end : range.to);
            part.child = e.child;
            out.push_back(std::move(part));
        }
        return {};
    }
    template <storage_transaction Tx, class Visit>
    [[nodiscard]] status leaves_of(Tx& tx, std::uint64_t id, std::uint32_t height, Visit& visit) const {
        auto const node = load(tx, id, height);
        if (!node) { return node.error(); }
        for (entry const& e : *node) {
            if (height == 0) {
                visit(row_range{e.from, e.sum, e.rows});
            } else if (auto s = leaves_of(tx, e.child, height - 1, visit); !s) {
                return s;
            }
        }
        return {};
    }

    std::string prefix_;
    row_hasher hasher_;
    std::size_t leaf_max_;
};

}  // namespace syncline::inline SYNCLINE_ABI
