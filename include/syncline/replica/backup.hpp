// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A copy of a store as it is at one moment, in a stream of bytes, taken while others go on; and the way back.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The version of the stream; a later one is `errc::unsupported`.
inline constexpr std::uint64_t backup_format = 1;
inline constexpr std::size_t backup_page_bytes_max = std::size_t{64} << 20;  ///< a longer page is refused

struct backup_summary {
    std::uint64_t keys = 0;
    std::uint64_t size = 0;  ///< bytes of the stream
    friend bool operator==(backup_summary const&, backup_summary const&) = default;
};

/// Takes the next bytes of a stream; borrowed for the call. A failure ends the backup with it.
using backup_sink = function_ref<status(bytes_view)>;

// The stream is pages: four bytes of length, four of CRC-32C of the body, both big-endian, and the body in CBOR. The
// first body is ["syncline backup", version]; then arrays of key, value, key, value, … in ascending order; the last is
// a map of one pair: the number of keys, and the SHA-256 of all bytes before this page.

/// Writes what a transaction sees: of a replica's or an authority's store and whatever else the host keeps in it, one
/// consistent state, as a transaction for reading has. Where the storage lets others write meanwhile, they do.
///
/// Pages have at least `page_bytes` (more for a long value), so that no more than a page is ever held in memory.
/// Errors: the storage's and the sink's; `errc::limit` for a value of nearly 64 MiB or more. What the sink has taken then is no backup, and is refused as one.
/// Cost: a scan.
template <storage_transaction Tx>
[[nodiscard]] result<backup_summary> write_backup(Tx& tx, backup_sink sink,
                                                  std::size_t page_bytes = std::size_t{64} << 10) {
    backup_summary sum;
    sha256_hasher all;
    status outcome;
    bytes frame;
    auto const page = [&](bytes_view body) {
        if (body.size() > backup_page_bytes_max) { return outcome = failure{errc::limit, "a value for a page"}; }
        frame.clear();
        std::uint32_t const check = crc32c(body);
        append_u64(frame, (static_cast<std::uint64_t>(body.size()) << 32) | check);
        append(frame, body);
        all.update(frame);
        sum.size += frame.size();
        return outcome = sink(frame);
    };
    bytes body;
    {
        cbor_writer w{body};
        w.array(2);
        w.text("syncline backup");
        w.unsigned_integer(backup_format);
    }
    if (!page(body)) { return outcome.error(); }

    bytes pairs;
    std::size_t count = 0;
    auto const flush = [&] {
        body.clear();
        cbor_writer{body}.array(count * 2);
        append(body, pairs);
        pairs.clear();
        count = 0;
        return page(body);
    };
    auto const ok = tx.scan({}, [&](bytes_view k, bytes_view v) {
        cbor_writer w{pairs};
        w.byte_string(k);
        w.byte_string(v);
        ++count;
        ++sum.keys;
        return pairs.size() < page_bytes || flush().has_value();
    });
    if (!ok) { return ok.error(); }
    if (!outcome || (count != 0 && !flush())) { return outcome.error(); }
    auto const digest = all.finish();
    body.clear();
    cbor_writer w{body};
    w.map(1);
    w.unsigned_integer(sum.keys);
    w.byte_string(digest);
    if (!page(body)) { return outcome.error(); }
    return sum;
}

/// Puts a backup into an empty store, piece by piece as the stream comes, in one transaction of the host's.
///
///     backup_reader reader;
///     for each piece: reader.take(tx, piece)
///     reader.finish(); tx.commit();
///
/// Commit only what `finish` has said yes to: before, a stream may turn out to be cut short or damaged. After an error
/// roll back; the reader is of no more use.
class backup_reader {
public:
    /// Errors: `errc::already_exists` when the store is not empty; `errc::foreign` for a stream that is no backup,
    /// `errc::unsupported` for one of a later version, `errc::corrupt` for a damaged one; the storage's.
    template <storage_transaction Tx>
    [[nodiscard]] status take(Tx& tx, bytes_view piece) {
        append(held_, piece);
        bytes_view rest = held_;
        while (rest.size() >= head_bytes) {
            std::uint64_t const head = read_u64(rest);
            auto const length = static_cast<std::size_t>(head >> 32);
            if (length == 0 || length > backup_page_bytes_max) { return wrong("a page of no known length"); }
            if (rest.size() - head_bytes < length) { break; }
            bytes_view const page = rest.first(head_bytes + length);
            bytes_view const body = page.subspan(head_bytes);
            if (crc32c(body) != static_cast<std::uint32_t>(head & 0xFFFFFFFF)) { return wrong("a damaged page"); }
            if (auto ok = read_page(tx, body); !ok) { return ok; }
            if (!done_) { all_.update(page); }
            sum_.size += page.size();
            rest = rest.subspan(page.size());
        }
        held_.erase(held_.begin(), held_.end() - static_cast<std::ptrdiff_t>(rest.size()));
        return {};
    }
    /// The stream is over. `errc::corrupt` when it was cut short.
    [[nodiscard]] result<backup_summary> finish() const {
        if (!done_ || !held_.empty()) { return failure{errc::corrupt, "a backup that was cut short"}; }
        return sum_;
    }

private:
    static constexpr std::size_t head_bytes = 8;

    [[nodiscard]] status wrong(char const* what) const {
        return begun_ ? failure{errc::corrupt, what} : failure{errc::foreign, "not a backup"};
    }
    template <class Tx>
    [[nodiscard]] status read_page(Tx& tx, bytes_view body) {
        if (done_) { return wrong("more after the end"); }
        decode_limits limits;
        limits.bytes_max = backup_page_bytes_max;
        limits.string_max = backup_page_bytes_max;
        limits.items_max = backup_page_bytes_max;
        cbor_reader in{body, limits};
        if (!begun_) { return begin(tx, in); }
        if (in.peek() == cbor_type::map) { return end(in); }
        std::size_t const n = in.array();
        if (n % 2 != 0) { return wrong("a key without its value"); }
        for (std::size_t i = 0; i < n / 2 && !in.failed(); ++i) {
            bytes_view const k = in.byte_string();
            bytes_view const v = in.byte_string();
            if (in.failed()) { break; }
            if (k.empty() || k.size() > key_bytes_max || (sum_.keys != 0 && compare(last_, k) >= 0)) {
                return wrong("keys out of order");
            }
            if (auto ok = tx.put(k, v); !ok) { return ok; }
            last_.assign(k.begin(), k.end());
            ++sum_.keys;
        }
        return in.finish() ? status{} : wrong("a page that does not decode");
    }
    template <class Tx>
    [[nodiscard]] status begin(Tx& tx, cbor_reader& in) {
        bool const ours = in.array() == 2 && in.text() == "syncline backup";
        std::uint64_t const format = in.unsigned_integer();
        if (!ours || !in.finish()) { return wrong("its beginning"); }
        if (format > backup_format) { return failure{errc::unsupported, "a backup of a later version"}; }
        bool any = false;
        auto const ok = tx.scan({}, [&](bytes_view, bytes_view) {
            any = true;
            return false;
        });
        if (!ok) { return ok; }
        if (any) { return failure{errc::already_exists, "the store is not empty"}; }
        begun_ = true;
        return {};
    }
    [[nodiscard]] status end(cbor_reader& in) {
        bool const one = in.map() == 1;
        std::uint64_t const keys = in.unsigned_integer();
        bytes_view const digest = in.byte_string();
        if (!one || !in.finish() || keys != sum_.keys || !equal(digest, all_.finish())) {
            return wrong("what was written is not what has come");
        }
        done_ = true;
        return {};
    }

    bytes held_{};
    bytes last_{};
    sha256_hasher all_{};
    backup_summary sum_{};
    bool begun_ = false;
    bool done_ = false;
};

/// Which backups to keep.
struct backup_retention {
    std::size_t last = 3;     ///< the newest, whenever they were taken
    std::size_t days = 7;     ///< the newest of each of so many days (UTC) that have one
    std::size_t weeks = 4;    ///< of each of so many weeks, Monday to Sunday
    std::size_t months = 12;  ///< of each of so many spans of 30 days since 1970
};

/// For each of `taken`, in ascending order of time, whether it is to be kept. What lies in the future, of a clock that was
/// wrong, counts like any other. Precondition: sorted. Cost: O(n), one allocation.
[[nodiscard]] inline std::vector<bool> kept_backups(std::span<wall_time const> taken, backup_retention const& keep) {
    std::vector<bool> out(taken.size(), false);
    auto const each = [&](std::size_t most, auto const& period) {
        std::optional<std::int64_t> before;
        for (std::size_t i = taken.size(); i-- != 0 && most != 0;) {
            std::int64_t const p = period(i);
            if (before && p == *before) { continue; }
            before = p;
            out[i] = true;
            --most;
        }
    };
    auto const spans = [&](std::size_t i, std::int64_t length, std::int64_t offset) {
        std::int64_t const day = calendar_day(taken[i]) + offset;
        return day / length - (day % length < 0 ? 1 : 0);
    };
    each(keep.last, [](std::size_t i) { return static_cast<std::int64_t>(i); });
    each(keep.days, [&](std::size_t i) { return spans(i, 1, 0); });
    each(keep.weeks, [&](std::size_t i) { return spans(i, 7, 3); });  // 1970 began on a Thursday
    each(keep.months, [&](std::size_t i) { return spans(i, 30, 0); });
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
