// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Ranges of record keys: what a replica still wants to be told, and what an authority answers of it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/record.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::size_t wanted_ranges_max = 64;       ///< ranges of one request, and answers of one reply
inline constexpr std::size_t range_bound_bytes_max = 321;  ///< a bound is a record key, or one with a zero behind it

/// The record keys from `from` on, up to before `to`, as `to_bytes(record_key)` orders them.
/// An empty `from` is before every key; `key_space_end` is after every key.
struct record_range {
    bytes from{};
    bytes to{};
    friend bool operator==(record_range const&, record_range const&) = default;
};

/// What a reply tells of a range: every row in it as of the reply's head, and what is not told is not there.
struct told_range {
    record_range covered{};
    std::size_t rows = 0;  ///< so many of the page's rows are in it, in the order of keys
    friend bool operator==(told_range const&, told_range const&) = default;
};

/// A bound after every record key: none begins with this byte.
[[nodiscard]] inline bytes key_space_end() { return {std::byte{0xFF}}; }

[[nodiscard]] inline record_range every_record() { return {{}, key_space_end()}; }

/// Precondition: the name has 1 to `collection_bytes_max` bytes of UTF-8.
[[nodiscard]] inline record_range range_of(std::string_view collection) {
    record_range all;
    append_key(all.from, collection, {});
    all.to = prefix_end(all.from);
    return all;
}
/// Precondition: `valid(key)`.
[[nodiscard]] inline record_range range_of(record_key const& key) {
    record_range one{to_bytes(key), to_bytes(key)};
    one.to.push_back(std::byte{});
    return one;
}

[[nodiscard]] inline bool valid(record_range const& r) noexcept {
    return r.from.size() <= range_bound_bytes_max && r.to.size() <= range_bound_bytes_max && compare(r.from, r.to) < 0;
}

namespace detail {

inline void encode_range(cbor_writer& w, record_range const& r) {
    w.byte_string(r.from);
    w.byte_string(r.to);
}
[[nodiscard]] inline record_range decode_range(cbor_reader& in) {
    record_range r;
    r.from = to_bytes(in.byte_string());
    r.to = to_bytes(in.byte_string());
    if (!in.failed() && !valid(r)) { in.fail({errc::malformed, "range out of order"}); }
    return r;
}

/// Ranges wanted are an array of their bounds.
inline void encode_ranges(cbor_writer& w, std::vector<record_range> const& all) {
    w.array(all.size() * 2);
    for (record_range const& r : all) { encode_range(w, r); }
}
[[nodiscard]] inline std::vector<record_range> decode_ranges(cbor_reader& in) {
    std::vector<record_range> all;
    std::size_t const n = in.array();
    if (n == 0 || n % 2 != 0) { in.fail({errc::malformed, "ranges of the wrong length"}); }
    if (n / 2 > wanted_ranges_max) { in.fail({errc::limit, "too many ranges"}); }
    for (std::size_t i = 0; i < n / 2 && !in.failed(); ++i) { all.push_back(decode_range(in)); }
    return all;
}

/// Answers are an array of bounds and counts.
inline void encode_answers(cbor_writer& w, std::vector<told_range> const& all) {
    w.array(all.size() * 3);
    for (told_range const& a : all) {
        encode_range(w, a.covered);
        w.unsigned_integer(a.rows);
    }
}
[[nodiscard]] inline std::vector<told_range> decode_answers(cbor_reader& in) {
    std::vector<told_range> all;
    std::size_t const n = in.array();
    if (n == 0 || n % 3 != 0) { in.fail({errc::malformed, "answered ranges of the wrong length"}); }
    if (n / 3 > wanted_ranges_max) { in.fail({errc::limit, "too many ranges"}); }
    for (std::size_t i = 0; i < n / 3 && !in.failed(); ++i) {
        told_range a;
        a.covered = decode_range(in);
        a.rows = static_cast<std::size_t>(in.unsigned_integer());
        all.push_back(std::move(a));
    }
    return all;
}

}  // namespace detail

/// The ranges that a replica has yet to be told, in storage: disjoint, those of a lower band first.
///
/// Holds its prefix and nothing else. Under a key of prefix, band and the range's end lies where the range begins, so
/// that one scan finds what touches a given range. Errors: the storage's, and `errc::corrupt`.
class range_list {
public:
    explicit range_list(std::string_view prefix) : prefix_(to_bytes(prefix)) {}

    /// Wants a range; what of it is wanted already stays in its band. Precondition: `valid(r)`.
    template <storage_transaction Tx>
    [[nodiscard]] status add(Tx& tx, std::uint8_t band, record_range const& r) const {
        auto had = touched(tx, r);
        if (!had) { return had.error(); }
        std::sort(had->begin(), had->end(),
                  [](entry const& a, entry const& b) { return compare(a.range.from, b.range.from) < 0; });
        bytes from = r.from;
        for (entry& e : *had) {
            if (compare(from, e.range.from) < 0) {
                if (auto ok = tx.put(key(band, e.range.from), from); !ok) { return ok; }
            }
            from = std::move(e.range.to);
        }
        return compare(from, r.to) < 0 ? tx.put(key(band, r.to), from) : status{};
    }

    /// A range was told: it is wanted no more. Cost: a scan for each band, a put or an erase for each range it touches.
    template <storage_transaction Tx>
    [[nodiscard]] status cover(Tx& tx, record_range const& r) const {
        auto had = touched(tx, r);
        if (!had) { return had.error(); }
        for (entry const& e : *had) {
            bool const rest = compare(r.to, e.range.to) < 0;
            auto ok = rest ? tx.put(key(e.band, e.range.to), r.to) : tx.erase(key(e.band, e.range.to));
            if (ok && compare(e.range.from, r.from) < 0) { ok = tx.put(key(e.band, r.from), e.range.from); }
            if (!ok) { return ok; }
        }
        return {};
    }

    /// The first `count` ranges, of bands up to `band_max`.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<record_range>> first(Tx& tx, std::size_t count,
                                                          std::uint8_t band_max = 0xFF) const {
        std::vector<record_range> out;
        status outcome;
        auto ok = scan_prefix(tx, prefix_, [&](bytes_view k, bytes_view v) {
            if (out.size() == count) { return false; }
            auto e = parse(k, v);
            if (!e) {
                outcome = e.error();
                return false;
            }
            if (e->band > band_max) { return false; }
            out.push_back(std::move(e->range));
            return true;
        });
        if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
        return out;
    }

    template <storage_transaction Tx>
    [[nodiscard]] result<bool> empty(Tx& tx) const {
        bool any = false;
        auto ok = scan_prefix(tx, prefix_, [&](bytes_view, bytes_view) {
            any = true;
            return false;
        });
        if (!ok) { return ok.error(); }
        return !any;
    }

    /// Whether nothing of `r` is wanted. Precondition: `valid(r)`.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> complete(Tx& tx, record_range const& r) const {
        bool open = false;
        auto ok = touching(tx, r, [&](entry const&) {
            open = true;
            return false;
        });
        if (!ok) { return ok.error(); }
        return !open;
    }

private:
    struct entry {
        std::uint8_t band = 0;
        record_range range{};
    };

    [[nodiscard]] bytes key(std::uint8_t band, bytes_view end) const {
        bytes k = prefix_;
        k.push_back(std::byte{band});
        append(k, end);
        return k;
    }
    [[nodiscard]] result<entry> parse(bytes_view k, bytes_view v) const {
        if (k.size() < prefix_.size() + 2) { return failure{errc::corrupt, "wanted range"}; }
        entry e{std::to_integer<std::uint8_t>(k[prefix_.size()]),
                {to_bytes(v), to_bytes(k.subspan(prefix_.size() + 1))}};
        if (!valid(e.range)) { return failure{errc::corrupt, "wanted range"}; }
        return e;
    }

    template <class Tx>
    [[nodiscard]] result<std::vector<entry>> touched(Tx& tx, record_range const& r) const {
        std::vector<entry> all;
        auto ok = touching(tx, r, [&](entry e) {
            all.push_back(std::move(e));
            return true;
        });
        if (!ok) { return ok.error(); }
        return all;
    }
    /// Visits what shares a key with `r`, band after band, in each in order; `visit` answers whether to go on.
    template <class Tx, class F>
    [[nodiscard]] status touching(Tx& tx, record_range const& r, F&& visit) const {
        bytes const end = prefix_end(prefix_);
        for (unsigned band = 0; band <= 0xFF; ++band) {
            bytes first = prefix_;
            first.push_back(static_cast<std::byte>(band));
            bool any = false;
            bool on = true;
            status outcome;
            auto const look = [&](bytes_view k, bytes_view v) {
                auto e = parse(k, v);
                if (!e) {
                    outcome = e.error();
                    return false;
                }
                any = true;
                if (e->band != band) {  // nothing more in this band: go on with the next that there is
                    band = e->band - 1U;
                    return false;
                }
                if (compare(e->range.to, r.from) <= 0) { return true; }
                if (compare(r.to, e->range.from) <= 0) { return false; }
                return on = visit(std::move(*e));
            };
            append(first, r.from);
            auto ok = tx.scan({first, end}, look);
            if (!ok || !outcome) { return ok ? outcome : ok; }
            if (!any || !on) { return {}; }
        }
        return {};
    }

    bytes prefix_;
};

}  // namespace syncline::inline SYNCLINE_ABI
