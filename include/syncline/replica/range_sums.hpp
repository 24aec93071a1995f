// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Fingerprints of ranges of records: by them a replica that has to be told everything anew is told what differs.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/record.hpp>
#include <syncline/model/schema.hpp>
#include <syncline/reconcile/fingerprint.hpp>
#include <syncline/replica/ranges.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::size_t range_sums_max = 1'024;          ///< of one request
inline constexpr std::uint64_t range_sums_rows_max = 65'536;  ///< that an authority looks at for one request
/// Bytes of them that it hashes for one, but for the last row.
inline constexpr std::uint64_t range_sums_bytes_max = std::uint64_t{16} << 20;

/// What is held of a range of keys, which begins where the one before it ends.
struct range_sum {
    bytes to{};              ///< its end
    std::uint64_t rows = 0;  ///< confirmed, tombstones above the horizon among them; at most `range_sums_rows_max`
    fingerprint sum{};       ///< of them
    friend bool operator==(range_sum const&, range_sum const&) = default;
};
/// What is held of the first range that a request wants, from its beginning to its end.
struct compared_range {
    std::uint64_t round = 0;  ///< of the asker; the answer names it again
    reconcile_key key{};      ///< drawn by the asker: nobody could choose rows to collide under it
    position horizon = 0;     ///< tombstones up to here count as nothing
    std::vector<range_sum> parts{};
    friend bool operator==(compared_range const&, compared_range const&) = default;
};
/// An authority's answer to that: these ranges are as of the reply's head what the asker holds, and are not told.
struct same_ranges {
    std::uint64_t round = 0;  ///< of the request; 0: nothing was compared yet, and the authority can
    std::vector<record_range> ranges{};
    friend bool operator==(same_ranges const&, same_ranges const&) = default;
};

namespace detail {

inline void encode_compared(cbor_writer& w, compared_range const& c) {
    w.array(4);
    w.unsigned_integer(c.round);
    w.byte_string(c.key.bytes);
    w.unsigned_integer(c.horizon);
    w.array(c.parts.size() * 3);
    bytes sum;
    for (range_sum const& p : c.parts) {
        w.byte_string(p.to);
        w.unsigned_integer(p.rows);
        sum.clear();
        append_fingerprint(sum, p.sum);
        w.byte_string(sum);
    }
}
/// Whether its parts lie in the first range of the request is the caller's to look at.
[[nodiscard]] inline compared_range decode_compared(cbor_reader& in) {
    compared_range c;
    if (in.array() != 4) { in.fail({errc::malformed, "sums of the wrong length"}); }
    c.round = in.unsigned_integer();
    bytes_view const key = in.byte_string();
    if (key.size() == c.key.bytes.size()) {
        std::copy(key.begin(), key.end(), c.key.bytes.begin());
    } else {
        in.fail({errc::malformed, "key of the wrong length"});
    }
    c.horizon = in.unsigned_integer();
    std::size_t const n = in.array();
    if (n == 0 || n % 3 != 0) { in.fail({errc::malformed, "sums of the wrong length"}); }
    if (n / 3 > range_sums_max) { in.fail({errc::limit, "too many sums"}); }
    for (std::size_t i = 0; i < n / 3 && !in.failed(); ++i) {
        range_sum p;
        p.to = to_bytes(in.byte_string());
        p.rows = in.unsigned_integer();
        bytes_view const sum = in.byte_string();
        if (sum.size() != fingerprint_bytes || p.to.size() > range_bound_bytes_max) {
            in.fail({errc::malformed, "sum of a range"});
            break;
        }
        if (p.rows > range_sums_rows_max) {
            in.fail({errc::limit, "a sum of too many rows"});
            break;
        }
        p.sum = read_fingerprint(sum);
        c.parts.push_back(std::move(p));
    }
    return c;
}
/// Whether the parts follow each other through the whole of a range.
[[nodiscard]] inline bool makes_up(compared_range const& c, record_range const& whole) noexcept {
    bytes_view last = whole.from;
    for (range_sum const& p : c.parts) {
        if (compare(last, p.to) >= 0) { return false; }
        last = p.to;
    }
    return equal(last, whole.to);
}

inline void encode_same(cbor_writer& w, same_ranges const& s) {
    w.array(2);
    w.unsigned_integer(s.round);
    encode_ranges(w, s.ranges);
}
[[nodiscard]] inline same_ranges decode_same(cbor_reader& in) {
    same_ranges s;
    if (in.array() != 2) { in.fail({errc::malformed, "same ranges of the wrong length"}); }
    s.round = in.unsigned_integer();
    std::size_t const n = in.array();
    if (n % 2 != 0) { in.fail({errc::malformed, "same ranges of the wrong length"}); }
    if (n / 2 > wanted_ranges_max) { in.fail({errc::limit, "too many ranges"}); }
    for (std::size_t i = 0; i < n / 2 && !in.failed(); ++i) {
        s.ranges.push_back(decode_range(in));
        bool const follows = i == 0 || in.failed() || compare(s.ranges[i - 1].to, s.ranges[i].from) <= 0;
        if (!follows) { in.fail({errc::not_deterministic, "same ranges out of order"}); }
    }
    return s;
}

/// What both ends hash of a record: its key, and the row with its version and marks, as a device gets it.
class row_sum {
public:
    explicit row_sum(reconcile_key const& key) noexcept : hasher_(key) {}

    void add(record_key const& k, row const& state) {
        encoded_.clear();
        cbor_writer w{encoded_};
        encode_row(w, state);
        sum_ += hasher_.row(to_bytes(k), encoded_);
        ++rows_;
        hashed_ += encoded_.size();
    }
    /// A row that a device holds. What came before its program knew the newest version is carried up, as the authority does.
    void add_held(record_key const& k, row const& state, schema_table const* schemas) {
        if (schemas == nullptr) { return add(k, state); }
        row carried = state;
        collection_schema const& schema = schemas->of(k.collection);
        (void)schema.cast(carried, schema.version());
        add(k, carried);
    }
    /// What was summed so far; the next begins at nothing.
    [[nodiscard]] fingerprint take() noexcept {
        rows_ = 0;
        return std::exchange(sum_, {});
    }
    [[nodiscard]] std::uint64_t rows() const noexcept { return rows_; }
    /// Bytes of all rows, also of those that were taken.
    [[nodiscard]] std::uint64_t hashed() const noexcept { return hashed_; }
    [[nodiscard]] std::uint32_t key_check() const noexcept { return hasher_.key_check(); }

private:
    row_hasher hasher_;
    fingerprint sum_{};
    std::uint64_t rows_ = 0;
    std::uint64_t hashed_ = 0;
    bytes encoded_{};
};

}  // namespace detail

}  // namespace syncline::inline SYNCLINE_ABI
