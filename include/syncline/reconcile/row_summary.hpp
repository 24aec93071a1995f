// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What is kept in storage about a set of rows, so that it can be compared with another at once.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/reconcile/fingerprint.hpp>
#include <syncline/reconcile/range_tree.hpp>
#include <syncline/reconcile/row_source.hpp>
#include <syncline/reconcile/sketch.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How much is kept. Only `cells` is stored; the rest may change from one opening to the next.
struct summary_options {
    std::size_t cells = 1024;          ///< of the sketch, 64 bytes each; it finds up to some 70 differences a hundred
    std::size_t pending_max = 16'384;  ///< changes that wait in the log before they are folded in
    std::size_t leaf_rows_max = 512;   ///< rows that a range without a fingerprint of its parts may have
    friend constexpr bool operator==(summary_options const&, summary_options const&) = default;
};
[[nodiscard]] constexpr bool valid(summary_options const& o) noexcept {
    return o.cells >= 16 && o.cells <= sketch_cells_max && o.leaf_rows_max >= 4;
}

/// The changes of one transaction, collected until `row_summary::flush` writes them down. A value.
///
/// The versions before must be what the summary was told: a wrong one leaves a difference that is none, which
/// `verify` finds and `rebuild` mends. When the transaction is rolled back, so must this be: clear it.
/// Cost: two hashes and some 60 bytes a change.
class row_changes {
public:
    explicit row_changes(reconcile_key const& key) noexcept : hasher_(key) {}

    /// Precondition: the key has 1 to `reconcile_key_bytes_max` bytes.
    void insert(bytes_view key, bytes_view version) { add(key, nullptr, &version); }
    void update(bytes_view key, bytes_view before, bytes_view version) { add(key, &before, &version); }
    void erase(bytes_view key, bytes_view before) { add(key, &before, nullptr); }

    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    void clear() noexcept {
        log_.clear();
        cuts_.clear();
        total_ = {};
        long_rows_ = {};
        rows_ = 0;
        count_ = 0;
    }

private:
    friend class row_summary;

    void add(bytes_view key, bytes_view const* before, bytes_view const* after) {
        SYNCLINE_ASSERT(!key.empty() && key.size() <= reconcile_key_bytes_max);
        if (log_.size() - (cuts_.empty() ? 0 : cuts_.back()) >= piece_bytes) { cuts_.push_back(log_.size()); }
        fingerprint delta;
        append_varint(log_, key.size());
        append(log_, key);
        log_.push_back(static_cast<std::byte>((before != nullptr ? 1U : 0U) | (after != nullptr ? 2U : 0U)));
        if (before != nullptr) { delta -= note(key, *before); }
        if (after != nullptr) { delta += note(key, *after); }
        total_ += delta;
        if (key.size() > sketch_key_max) { long_rows_ += delta; }
        rows_ += (after != nullptr ? 1 : 0) - (before != nullptr ? 1 : 0);
        ++count_;
    }
    fingerprint note(bytes_view key, bytes_view version) {
        fingerprint const f = hasher_.row(key, version);
        append_fingerprint(log_, f);
        return f;
    }

    static constexpr std::size_t piece_bytes = std::size_t{1} << 20;

    row_hasher hasher_;
    bytes log_{};
    std::vector<std::size_t> cuts_{};  // where a new value of the log begins, so that none gets too long
    fingerprint total_{};
    fingerprint long_rows_{};
    std::int64_t rows_ = 0;
    std::size_t count_ = 0;
};

/// What a summary says about all of its rows.
struct summary_state {
    fingerprint total{};      ///< of every row
    fingerprint long_rows{};  ///< of those that a sketch can't name
    std::uint64_t rows = 0;
    std::size_t cells = 0;
    std::uint64_t pending = 0;   ///< changes that are in the totals and not yet in ranges and sketch
    std::uint64_t log_from = 0;  ///< their place in the log
    std::uint64_t log_to = 0;
    range_root ranges{};
    friend bool operator==(summary_state const&, summary_state const&) = default;
};

/// A set of rows in numbers: their sum, the sums of their ranges, and a sketch.
///
/// Holds its prefix, its key and its options. Every write to the rows is told to a `row_changes`, which is flushed in
/// the same transaction: that costs a log entry and new totals. Ranges and sketch take the log in when it has become
/// long, or when somebody asks.
/// Every call answers what storage and rows answer; `corrupt` for a damaged value; `invalid` when the key is another
/// than the one that the store was written under. What fails leaves the transaction to be rolled back.
class row_summary {
public:
    /// Preconditions: the prefix has 1 to 32 bytes and belongs to nothing else; the options are valid.
    row_summary(std::string_view prefix, reconcile_key const& key, summary_options const& options = {})
        : prefix_(prefix),
          key_(key),
          hasher_(key),
          options_(options),
          tree_(std::string(prefix) + 't', hasher_, options.leaf_rows_max) {
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 32 && valid(options));
    }

    [[nodiscard]] row_changes changes() const noexcept { return row_changes{key_}; }
    [[nodiscard]] row_hasher const& hasher() const noexcept { return hasher_; }

    /// Writes changes down. The rows themselves have been written: what is folded is read from them. Cost: two puts, whatever their number; and `fold` once `pending_max` of them wait.
    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] status flush(Tx& tx, Rows& rows, row_changes const& changes) const {
        if (changes.empty()) { return {}; }
        auto s = state(tx);
        if (!s) { return s.error(); }
        std::size_t from = 0;
        for (std::size_t i = 0; i <= changes.cuts_.size(); ++i) {
            std::size_t const to = i < changes.cuts_.size() ? changes.cuts_[i] : changes.log_.size();
            bytes_view const piece = bytes_view{changes.log_}.subspan(from, to - from);
            if (auto done = tx.put(log_key(s->log_to++), piece); !done) { return done; }
            from = to;
        }
        s->total += changes.total_;
        s->long_rows += changes.long_rows_;
        s->rows += static_cast<std::uint64_t>(changes.rows_);
        s->pending += changes.count();
        if (s->pending >= options_.pending_max) { return fold_into(tx, rows, *s); }
        return store(tx, *s);
    }

    /// Takes the log into ranges and sketch. Nothing to do: one get.
    /// Cost: O(log n) a change, shared by changes that are near one another; the sketch is read and written once.
    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] status fold(Tx& tx, Rows& rows) const {
        auto s = state(tx);
        if (!s) { return s.error(); }
        if (s->pending == 0) { return {}; }
        return fold_into(tx, rows, *s);
    }

    /// Begins anew from the rows: after an import, a repair, or with other options. Cost: a scan of all rows.
    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] status rebuild(Tx& tx, Rows& rows) const {
        if (auto done = erase(tx); !done) { return done; }
        summary_state s;
        s.cells = options_.cells;
        std::vector<sketch_cell> cells(s.cells);
        auto const take = [&](bytes_view key, bytes_view version) {
            fingerprint const f = hasher_.row(key, version);
            s.total += f;
            ++s.rows;
            if (key.size() > sketch_key_max) {
                s.long_rows += f;
            } else {
                apply_to_sketch(cells, 0, hasher_, make_sketch_item(key, f), 1);
            }
            return true;
        };
        if (auto done = rows.scan({}, take); !done) { return done; }
        bool any = false;
        if (auto done = tree_.build(tx, rows, s.ranges, any); !done) { return done; }
        if (auto done = store_pages(tx, cells); !done) { return done; }
        return store(tx, s);
    }

    /// Forgets everything. Cost: a scan and an erase for each value.
    template <storage_transaction Tx>
    [[nodiscard]] status erase(Tx& tx) const {
        std::vector<bytes> keys;
        auto const note = [&](bytes_view key, bytes_view) {
            keys.push_back(to_bytes(key));
            return true;
        };
        if (auto s = scan_prefix(tx, as_bytes(prefix_), note); !s) { return s; }
        for (bytes const& k : keys) {
            if (auto s = tx.erase(k); !s) { return s; }
        }
        return {};
    }

    /// Whether totals, ranges and sketch are what the rows make them: the integrity check. Precondition: folded.
    /// Cost: a scan of all rows; the sketch anew in memory.
    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] result<bool> verify(Tx& tx, Rows& rows) const {
        auto s = state(tx);
        if (!s) { return s.error(); }
        SYNCLINE_ASSERT(s->pending == 0);
        std::vector<row_range> leaves;
        if (auto done = tree_.leaves(tx, s->ranges, [&](row_range r) { leaves.push_back(std::move(r)); }); !done) {
            return done.error();
        }
        std::vector<sketch_cell> cells;
        if (auto done = load_pages(tx, *s, 0, s->cells, cells); !done) { return done.error(); }
        summary_state found;
        std::size_t leaf = 0;
        bool in_place = true;
        auto const take = [&](bytes_view key, bytes_view version) {
            fingerprint const f = hasher_.row(key, version);
            found.total += f;
            ++found.rows;
            if (key.size() > sketch_key_max) {
                found.long_rows += f;
            } else {
                apply_to_sketch(cells, 0, hasher_, make_sketch_item(key, f), -1);
            }
            while (leaf + 1 < leaves.size() && compare(leaves[leaf + 1].from, key) <= 0) { ++leaf; }
            if (leaves.empty()) {
                in_place = false;
                return false;
            }
            leaves[leaf].sum -= f;
            --leaves[leaf].rows;
            return true;
        };
        if (auto done = rows.scan({}, take); !done) { return done.error(); }
        for (row_range const& r : leaves) { in_place = in_place && r.sum == fingerprint{} && r.rows == 0; }
        for (sketch_cell const& c : cells) { in_place = in_place && c.empty(); }
        return in_place && found.total == s->total && found.rows == s->rows && found.long_rows == s->long_rows;
    }

    /// The totals. Cost: one get.
    template <storage_transaction Tx>
    [[nodiscard]] result<summary_state> state(Tx& tx) const {
        bytes value;
        auto const found = tx.get(key('m'), value);
        if (!found) { return found.error(); }
        summary_state s;
        if (!*found) {
            s.cells = options_.cells;
            return s;
        }
        cbor_reader in(value);
        bool const shaped = in.array() == 12 && in.unsigned_integer() == format;
        bool const same_key = in.unsigned_integer() == hasher_.key_check();
        bytes_view const total = in.byte_string();
        bytes_view const long_rows = in.byte_string();
        s.rows = in.unsigned_integer();
        std::uint64_t const cells = in.unsigned_integer();
        s.pending = in.unsigned_integer();
        s.log_from = in.unsigned_integer();
        s.log_to = in.unsigned_integer();
        s.ranges.node = in.unsigned_integer();
        std::uint64_t const height = in.unsigned_integer();
        s.ranges.next = in.unsigned_integer();
        bool const fits = cells <= sketch_cells_max && height <= range_tree::height_max && s.log_from <= s.log_to &&
                          total.size() == fingerprint_bytes && long_rows.size() == fingerprint_bytes;
        if (!in.finish() || !shaped || !fits) { return failure{errc::corrupt, "row summary"}; }
        if (!same_key) { return failure{errc::invalid, "another key than the row summary's"}; }
        s.total = read_fingerprint(total);
        s.long_rows = read_fingerprint(long_rows);
        s.cells = static_cast<std::size_t>(cells);
        s.ranges.height = static_cast<std::uint32_t>(height);
        return s;
    }
    /// The first cells of the sketch, at most so many, appended to `out`. Precondition: folded.
    template <storage_transaction Tx>
    [[nodiscard]] status cells(Tx& tx, summary_state const& s, std::size_t most, std::vector<sketch_cell>& out) const {
        return load_pages(tx, s, 0, most, out);
    }
    /// Some cells from one on, appended to `out`. Preconditions: folded; the sketch has them.
    template <storage_transaction Tx>
    [[nodiscard]] status cells_at(Tx& tx, summary_state const& s, std::size_t first, std::size_t count,
                                  std::vector<sketch_cell>& out) const {
        SYNCLINE_ASSERT(first <= s.cells && count <= s.cells - first);
        return load_pages(tx, s, first, first + count, out);
    }
    /// Sum and count of a range. Precondition: folded. Cost: as `range_tree::sum`.
    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] result<row_range> sum(Tx& tx, Rows& rows, summary_state const& s, key_range range) const {
        return tree_.sum(tx, rows, s.ranges, range);
    }
    /// Precondition: folded. As `range_tree::divide`.
    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] result<std::vector<row_range>> divide(Tx& tx, Rows& rows, summary_state const& s, key_range range,
                                                        std::uint64_t count, std::size_t parts) const {
        return tree_.divide(tx, rows, s.ranges, range, count, parts);
    }

private:
    static constexpr std::uint64_t format = 1;
    static constexpr std::size_t page_cells = 256;
    static constexpr std::size_t fold_bytes = std::size_t{4} << 20;

    // Prefix, then 'm': the state; 'l' and a number: a piece of the log; 's' and two bytes: a page of the sketch;
    // 't' and a number: a node of the ranges.

    [[nodiscard]] bytes key(char what) const {
        bytes out = to_bytes(prefix_);
        out.push_back(static_cast<std::byte>(what));
        return out;
    }
    [[nodiscard]] bytes log_key(std::uint64_t n) const {
        bytes out = key('l');
        append_u64(out, n);
        return out;
    }
    [[nodiscard]] bytes page_key(std::size_t n) const {
        bytes out = key('s');
        out.push_back(static_cast<std::byte>(n >> 8));
        out.push_back(static_cast<std::byte>(n & 0xFF));
        return out;
    }
    template <storage_transaction Tx>
    [[nodiscard]] status store(Tx& tx, summary_state const& s) const {
        bytes value, print;
        cbor_writer out(value);
        out.array(12);
        out.unsigned_integer(format);
        out.unsigned_integer(hasher_.key_check());
        for (fingerprint const& f : {s.total, s.long_rows}) {
            print.clear();
            append_fingerprint(print, f);
            out.byte_string(print);
        }
        for (std::uint64_t const n : {s.rows, static_cast<std::uint64_t>(s.cells), s.pending, s.log_from, s.log_to,
                                      s.ranges.node, static_cast<std::uint64_t>(s.ranges.height), s.ranges.next}) {
            out.unsigned_integer(n);
        }
        return tx.put(key('m'), value);
    }
    /// Cells [first, last), those that there are.
    template <storage_transaction Tx>
    [[nodiscard]] status load_pages(Tx& tx, summary_state const& s, std::size_t first, std::size_t last,
                                    std::vector<sketch_cell>& out) const {
        last = (std::min)(last, s.cells);
        if (first < last) { out.reserve(out.size() + last - first); }
        bytes value;
        while (first < last) {
            std::size_t const page = first / page_cells;
            std::size_t const begin = page * page_cells;
            std::size_t const here = (std::min)(page_cells, s.cells - begin);
            std::size_t const end = (std::min)(begin + here, last);
            auto const found = tx.get(page_key(page), value);
            if (!found) { return found.error(); }
            if (!*found) {
                out.resize(out.size() + end - first);  // nothing was folded yet
            } else {
                if (value.size() != here * sketch_cell_bytes) { return failure{errc::corrupt, "page of the sketch"}; }
                bytes_view const part =
                    bytes_view{value}.subspan((first - begin) * sketch_cell_bytes, (end - first) * sketch_cell_bytes);
                if (auto done = load_cells(part, out); !done) { return done; }
            }
            first = end;
        }
        return {};
    }
    template <storage_transaction Tx>
    [[nodiscard]] status store_pages(Tx& tx, std::span<sketch_cell const> cells) const {
        bytes value;
        for (std::size_t page = 0; page * page_cells < cells.size(); ++page) {
            std::size_t const from = page * page_cells;
            store_cells(cells.subspan(from, (std::min)(page_cells, cells.size() - from)), value);
            if (auto s = tx.put(page_key(page), value); !s) { return s; }
        }
        return {};
    }

    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] status fold_into(Tx& tx, Rows& rows, summary_state s) const {
        std::vector<sketch_cell> cells;
        if (auto done = load_pages(tx, s, 0, s.cells, cells); !done) { return done; }
        while (s.log_from != s.log_to) {
            std::vector<bytes> pieces;
            std::size_t size = 0;
            while (s.log_from != s.log_to && size < fold_bytes) {
                bytes const at = log_key(s.log_from++);
                bytes piece;
                auto const found = tx.get(at, piece);
                if (!found) { return found.error(); }
                if (!*found) { return failure{errc::corrupt, "log of the row summary"}; }
                if (auto done = tx.erase(at); !done) { return done; }
                size += piece.size();
                pieces.push_back(std::move(piece));
            }
            std::vector<range_delta> deltas;
            for (bytes const& piece : pieces) {
                if (auto done = read_log(piece, cells, deltas); !done) { return done; }
            }
            sort(deltas);
            if (auto done = tree_.fold(tx, rows, s.ranges, deltas); !done) { return done; }
        }
        s.pending = 0;
        if (auto done = store_pages(tx, cells); !done) { return done; }
        return store(tx, s);
    }
    /// By key; most pairs are told apart by their first eight bytes, which then are at hand.
    static void sort(std::vector<range_delta>& deltas) {
        struct entry {
            std::uint64_t begins;
            std::uint32_t at;
        };
        std::vector<entry> order;
        order.reserve(deltas.size());
        for (range_delta const& d : deltas) {
            std::uint64_t const begins = detail::little_word(d.key.data(), d.key.size());
            order.push_back({detail::reverse_bytes(begins), static_cast<std::uint32_t>(order.size())});
        }
        std::sort(order.begin(), order.end(), [&](entry const& a, entry const& b) {
            if (a.begins != b.begins) { return a.begins < b.begins; }
            return compare(deltas[a.at].key, deltas[b.at].key) < 0;
        });
        std::vector<range_delta> sorted;
        sorted.reserve(deltas.size());
        for (entry const& e : order) { sorted.push_back(deltas[e.at]); }
        deltas = std::move(sorted);
    }
    [[nodiscard]] status read_log(bytes_view in, std::span<sketch_cell> cells, std::vector<range_delta>& out) const {
        failure const damaged{errc::corrupt, "log of the row summary"};
        while (!in.empty()) {
            auto const size = take_varint(in);
            if (!size || *size > reconcile_key_bytes_max || *size >= in.size()) { return damaged; }
            range_delta d;
            d.key = in.first(static_cast<std::size_t>(*size));
            auto const flags = std::to_integer<unsigned>(in[d.key.size()]);
            in = in.subspan(d.key.size() + 1);
            if (flags > 3) { return damaged; }
            for (unsigned const side : {1U, 2U}) {
                if ((flags & side) == 0) { continue; }
                if (in.size() < fingerprint_bytes) { return damaged; }
                fingerprint const f = read_fingerprint(in);
                in = in.subspan(fingerprint_bytes);
                std::int64_t const sign = side == 1 ? -1 : 1;
                if (side == 1) {
                    d.sum -= f;
                } else {
                    d.sum += f;
                }
                d.rows += sign;
                if (d.key.size() <= sketch_key_max) {
                    apply_to_sketch(cells, 0, hasher_, make_sketch_item(d.key, f), sign);
                }
            }
            out.push_back(d);
        }
        return {};
    }

    std::string prefix_;
    reconcile_key key_;
    row_hasher hasher_;
    summary_options options_;
    range_tree tree_;
};

}  // namespace syncline::inline SYNCLINE_ABI
