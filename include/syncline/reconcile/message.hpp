// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What two ends of a reconciliation say to each other: an ask and its answer, in deterministic CBOR.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/reconcile/fingerprint.hpp>
#include <syncline/reconcile/row_source.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::uint64_t reconcile_format = 1;
/// Ranges of one ask, parts of one range, rows of one list.
inline constexpr std::size_t reconcile_ranges_max = 64;
inline constexpr std::size_t reconcile_parts_max = 16;
inline constexpr std::size_t reconcile_rows_max = 64;

/// On the wire: append, never renumber.
enum class reconcile_kind : std::uint8_t {
    total = 0,      ///< is everything equal? / it is
    cells = 1,      ///< cells of the sketch
    ranges = 2,     ///< what is in these ranges
    other_key = 3,  ///< an answer: this end hashes under another key
};

/// From a key (empty: the first) up to another, excluded (empty: the last).
struct asked_range {
    bytes from{};
    bytes to{};
    friend bool operator==(asked_range const&, asked_range const&) = default;
};

/// `[format, kind, number, key check, …]`.
struct reconcile_ask {
    reconcile_kind kind{};
    std::uint64_t number = 0;  ///< of the exchange; the answer repeats it
    std::uint32_t key_check = 0;
    fingerprint total{};                ///< total: `…, total]`
    std::uint64_t first = 0;            ///< cells: `…, first, count, probes]`
    std::uint64_t count = 0;            ///<
    bool probes = false;                ///<
    std::vector<asked_range> ranges{};  ///< ranges: `…, [from, to, from, to, …]]`
    friend bool operator==(reconcile_ask const&, reconcile_ask const&) = default;
};

/// A row of a list.
struct listed_row {
    bytes key{};
    std::uint64_t tag = 0;  ///< the upper half of its hash
    friend bool operator==(listed_row const&, listed_row const&) = default;
};

/// One range's answer: parts, or rows.
struct range_answer {
    /// `[0, [bound, …], sums]`: one sum of sixteen bytes more than inner bounds. `[1, through, [key, tag, …]]`.
    bool is_list = false;
    std::vector<bytes> bounds{};
    std::vector<fingerprint> sums{};
    bytes through{};  ///< the list ends before this key; empty: with the range
    std::vector<listed_row> rows{};
    friend bool operator==(range_answer const&, range_answer const&) = default;
};

/// `[format, kind, number, …]`.
struct reconcile_answer {
    reconcile_kind kind{};
    std::uint64_t number = 0;
    std::uint64_t stamp = 0;  ///< cells: `…, stamp, rows, long, kept, first, cells, probes]`; names the set of rows
    std::uint64_t rows = 0;   ///< that the answering end has
    fingerprint long_rows{};  ///< of those that a sketch can't name; an empty string when zero
    std::uint64_t kept = 0;   ///< cells that it has
    std::uint64_t first = 0;  ///<
    bytes cells{};            ///< as `encode_cells` writes them
    bytes probes{};           ///< two bytes of each cell that `probe_at` names
    std::vector<range_answer> ranges{};  ///< ranges: `…, [answer, …]]`, to the first of those asked for, in order
    friend bool operator==(reconcile_answer const&, reconcile_answer const&) = default;
};

inline void encode(reconcile_ask const& a, bytes& out) {
    cbor_writer w(out);
    bool const is_cells = a.kind == reconcile_kind::cells;
    w.array(is_cells ? 7 : 5);
    w.unsigned_integer(reconcile_format);
    w.unsigned_integer(static_cast<std::uint64_t>(a.kind));
    w.unsigned_integer(a.number);
    w.unsigned_integer(a.key_check);
    if (is_cells) {
        w.unsigned_integer(a.first);
        w.unsigned_integer(a.count);
        w.boolean(a.probes);
    } else if (a.kind == reconcile_kind::ranges) {
        w.array(2 * a.ranges.size());
        for (asked_range const& r : a.ranges) {
            w.byte_string(r.from);
            w.byte_string(r.to);
        }
    } else {
        bytes total;
        append_fingerprint(total, a.total);
        w.byte_string(total);
    }
}

inline void encode(range_answer const& a, bytes& out) {
    cbor_writer w(out);
    w.array(3);
    w.unsigned_integer(a.is_list ? 1 : 0);
    if (a.is_list) {
        w.byte_string(a.through);
        w.array(2 * a.rows.size());
        for (listed_row const& r : a.rows) {
            w.byte_string(r.key);
            w.unsigned_integer(r.tag);
        }
        return;
    }
    w.array(a.bounds.size());
    for (bytes const& b : a.bounds) { w.byte_string(b); }
    bytes sums;
    for (fingerprint const& f : a.sums) { append_fingerprint(sums, f); }
    w.byte_string(sums);
}

inline void encode(reconcile_answer const& a, bytes& out) {
    cbor_writer w(out);
    w.array(a.kind == reconcile_kind::cells ? 10 : a.kind == reconcile_kind::ranges ? 4 : 3);
    w.unsigned_integer(reconcile_format);
    w.unsigned_integer(static_cast<std::uint64_t>(a.kind));
    w.unsigned_integer(a.number);
    if (a.kind == reconcile_kind::cells) {
        w.unsigned_integer(a.stamp);
        w.unsigned_integer(a.rows);
        bytes long_rows;
        if (!(a.long_rows == fingerprint{})) { append_fingerprint(long_rows, a.long_rows); }
        w.byte_string(long_rows);
        w.unsigned_integer(a.kept);
        w.unsigned_integer(a.first);
        w.byte_string(a.cells);
        w.byte_string(a.probes);
    } else if (a.kind == reconcile_kind::ranges) {
        w.array(a.ranges.size());
        for (range_answer const& r : a.ranges) { encode(r, out); }
    }
}

namespace detail {

[[nodiscard]] inline bytes take_bound(cbor_reader& in) {
    bytes_view const b = in.byte_string();
    if (b.size() > reconcile_key_bytes_max) {
        in.fail({errc::limit, "key of a reconciliation"});
        return {};
    }
    return to_bytes(b);
}
[[nodiscard]] inline fingerprint take_fingerprint(cbor_reader& in, bool may_be_empty) noexcept {
    bytes_view const b = in.byte_string();
    if (may_be_empty && b.empty()) { return {}; }
    if (b.size() != fingerprint_bytes) {
        in.fail({errc::malformed, "fingerprint"});
        return {};
    }
    fingerprint const f = read_fingerprint(b);
    if (may_be_empty && f == fingerprint{}) { in.fail({errc::not_deterministic, "fingerprint"}); }
    return f;
}
inline void take_range_answer(cbor_reader& in, range_answer& out) {
    if (in.array() != 3) { in.fail({errc::malformed, "answer to a range"}); }
    std::uint64_t const what = in.unsigned_integer();
    if (what > 1) { in.fail({errc::unsupported, "answer to a range"}); }
    out.is_list = what == 1;
    if (!out.is_list) {
        std::size_t const bounds = in.array();
        if (bounds >= reconcile_parts_max) { in.fail({errc::limit, "parts of a range"}); }
        for (std::size_t i = 0; i < bounds && !in.failed(); ++i) { out.bounds.push_back(take_bound(in)); }
        bytes_view const sums = in.byte_string();
        if (sums.size() != (out.bounds.size() + 1) * fingerprint_bytes) { in.fail({errc::malformed, "sums of parts"}); }
        for (std::size_t i = 0; i < sums.size() && !in.failed(); i += fingerprint_bytes) {
            out.sums.push_back(read_fingerprint(sums.subspan(i)));
        }
        return;
    }
    out.through = take_bound(in);
    std::size_t const items = in.array();
    if (items % 2 != 0) { in.fail({errc::malformed, "rows of a range"}); }
    if (items > 2 * reconcile_rows_max) { in.fail({errc::limit, "rows of a range"}); }
    for (std::size_t i = 0; i < items && !in.failed(); i += 2) {
        listed_row r;
        r.key = take_bound(in);
        r.tag = in.unsigned_integer();
        bool const rises = out.rows.empty() || compare(out.rows.back().key, r.key) < 0;
        if (!in.failed() && (!rises || r.key.empty())) { in.fail({errc::malformed, "order of rows"}); }
        out.rows.push_back(std::move(r));
    }
}

}  // namespace detail

/// A stranger's ask. Errors: those of `cbor_reader`; `unsupported` for another format or kind.
[[nodiscard]] inline result<reconcile_ask> decode_reconcile_ask(bytes_view message, decode_limits const& limits = {}) {
    cbor_reader in(message, limits);
    std::size_t const items = in.array();
    reconcile_ask a;
    if (in.unsigned_integer() != reconcile_format) { in.fail({errc::unsupported, "format of a reconciliation"}); }
    std::uint64_t const kind = in.unsigned_integer();
    if (kind > 2) { in.fail({errc::unsupported, "kind of a reconciliation's ask"}); }
    a.kind = static_cast<reconcile_kind>(kind & 3);
    bool const is_cells = a.kind == reconcile_kind::cells;
    if (items != (is_cells ? 7U : 5U)) { in.fail({errc::malformed, "reconciliation's ask"}); }
    a.number = in.unsigned_integer();
    std::uint64_t const check = in.unsigned_integer();
    if (check > 0xFFFFFFFF) { in.fail({errc::overflow, "check of a key"}); }
    a.key_check = static_cast<std::uint32_t>(check & 0xFFFFFFFF);
    if (is_cells) {
        a.first = in.unsigned_integer();
        a.count = in.unsigned_integer();
        a.probes = in.boolean();
    } else if (a.kind == reconcile_kind::ranges) {
        std::size_t const bounds = in.array();
        if (bounds % 2 != 0) { in.fail({errc::malformed, "ranges"}); }
        if (bounds > 2 * reconcile_ranges_max) { in.fail({errc::limit, "ranges"}); }
        for (std::size_t i = 0; i < bounds && !in.failed(); i += 2) {
            asked_range r;
            r.from = detail::take_bound(in);
            r.to = detail::take_bound(in);
            if (!in.failed() && !r.to.empty() && compare(r.from, r.to) >= 0) {
                in.fail({errc::malformed, "empty range"});
            }
            a.ranges.push_back(std::move(r));
        }
    } else {
        a.total = detail::take_fingerprint(in, false);
    }
    if (auto s = in.finish(); !s) { return s.error(); }
    return a;
}

/// A stranger's answer. Errors as above.
[[nodiscard]] inline result<reconcile_answer> decode_reconcile_answer(bytes_view message,
                                                                      decode_limits const& limits = {}) {
    cbor_reader in(message, limits);
    std::size_t const items = in.array();
    reconcile_answer a;
    if (in.unsigned_integer() != reconcile_format) { in.fail({errc::unsupported, "format of a reconciliation"}); }
    std::uint64_t const kind = in.unsigned_integer();
    if (kind > 3) { in.fail({errc::unsupported, "kind of a reconciliation's answer"}); }
    a.kind = static_cast<reconcile_kind>(kind & 3);
    std::size_t const wanted = a.kind == reconcile_kind::cells ? 10 : a.kind == reconcile_kind::ranges ? 4 : 3;
    if (items != wanted) { in.fail({errc::malformed, "reconciliation's answer"}); }
    a.number = in.unsigned_integer();
    if (a.kind == reconcile_kind::cells) {
        a.stamp = in.unsigned_integer();
        a.rows = in.unsigned_integer();
        a.long_rows = detail::take_fingerprint(in, true);
        a.kept = in.unsigned_integer();
        a.first = in.unsigned_integer();
        a.cells = to_bytes(in.byte_string());
        a.probes = to_bytes(in.byte_string());
    } else if (a.kind == reconcile_kind::ranges) {
        std::size_t const ranges = in.array();
        if (ranges > reconcile_ranges_max) { in.fail({errc::limit, "ranges"}); }
        for (std::size_t i = 0; i < ranges && !in.failed(); ++i) {
            detail::take_range_answer(in, a.ranges.emplace_back());
        }
    }
    if (auto s = in.finish(); !s) { return s.error(); }
    return a;
}

}  // namespace syncline::inline SYNCLINE_ABI
