// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Which entry is the first of a record, in sorted buckets of hashes: an entry alone on its record needs no row of its
/// own.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include <syncline/core/bytes.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/outbox/layout.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {
namespace detail {

/// The buckets, one of them in memory at a time, within one transaction.
///
/// A bucket holds all hashes up to the one in its key that no bucket before it holds, so the bucket of a hash is the
/// first key that isn't less: one row of a scan. It splits when it is full, and goes when it is empty. Hashes are 32 bits: whoever
/// finds one looks into the entry. In the order of hashes a batch loads and writes each bucket once.
class outbox_index {
public:
    struct element {
        std::uint32_t hash = 0;
        std::uint64_t token = 0;
        bool many = false;  ///< the record has had other entries since: there may be followers
    };
    static constexpr std::size_t width = 12;  ///< bytes of an element: hash, token and the mark
    static constexpr std::uint64_t many_bit = std::uint64_t{1} << 63;

    explicit outbox_index(std::string_view prefix) noexcept : prefix_(prefix) {}

    /// Makes the bucket of a hash the current one.
    template <storage_transaction Tx>
    [[nodiscard]] status turn(Tx& tx, std::uint32_t hash) {
        if (loaded_ && from_ <= hash && hash <= last_) { return {}; }
        if (auto s = flush(tx); !s) { return s; }
        raw_.clear();
        from_ = hash;
        last_ = (std::numeric_limits<std::uint32_t>::max)();
        stored_ = false;
        bool damaged = false;
        auto const row = [&](bytes_view k, bytes_view value) {
            damaged = k.size() != prefix_.size() + 5 || value.empty() || value.size() % width != 0;
            if (damaged) { return false; }
            last_ = read_u32(k.last(4));
            stored_ = true;
            raw_.reserve(value.size() + width);
            raw_.assign(value.begin(), value.end());
            return false;
        };
        outbox_key const space{prefix_, outbox_space::index};
        outbox_key end = space;
        end.add((std::numeric_limits<std::uint64_t>::max)());  // after every hash
        if (auto s = tx.scan({bucket_key(hash), end}, row); !s) { return s; }
        if (damaged) { return failure{errc::corrupt, "outbox index"}; }
        std::uint32_t before = 0;
        for (std::byte const *at = raw_.data(), *const last = at + raw_.size(); at != last; at += width) {
            std::uint32_t const here = read_u32({at, 4});
            damaged |= here < before;
            before = here;
        }
        if (damaged || before > last_) { return failure{errc::corrupt, "outbox index"}; }
        loaded_ = true;
        return {};
    }
    // Of the current bucket, until the next turn.

    [[nodiscard]] std::size_t first(std::uint32_t hash) const noexcept {
        std::size_t from = 0;
        std::size_t to = size();
        while (from < to) {
            std::size_t const middle = (from + to) / 2;
            hash_at(middle) < hash ? from = middle + 1 : to = middle;
        }
        return from;
    }
    [[nodiscard]] bool is(std::size_t i, std::uint32_t hash) const noexcept { return i < size() && hash_at(i) == hash; }
    [[nodiscard]] element operator[](std::size_t i) const noexcept {
        std::uint64_t const token = read_u64(bytes_view{raw_}.subspan(i * width + 4));
        return {hash_at(i), token & ~many_bit, (token & many_bit) != 0};
    }
    void insert(element const& e) {
        std::size_t const i = first(e.hash);
        std::array<std::byte, width> const room{};
        raw_.insert(at(i), room.begin(), room.end());
        for (std::size_t n = 0; n < 4; ++n) { raw_[i * width + n] = static_cast<std::byte>(e.hash >> (24 - 8 * n)); }
        set(i, e.token, e.many);
    }
    void erase(std::size_t i) {
        raw_.erase(at(i), at(i + 1));
        changed_ = true;
    }
    void set(std::size_t i, std::uint64_t token, bool many) noexcept {
        std::uint64_t const n = token | (many ? many_bit : 0);
        for (std::size_t b = 0; b < 8; ++b) {
            std::byte const to = static_cast<std::byte>(n >> (56 - 8 * b));
            changed_ = changed_ || raw_[i * width + 4 + b] != to;
            raw_[i * width + 4 + b] = to;
        }
    }

    template <storage_transaction Tx>
    [[nodiscard]] status flush(Tx& tx) {
        if (!std::exchange(changed_, false)) { return {}; }
        loaded_ = false;
        if (raw_.empty()) { return stored_ ? tx.erase(bucket_key(last_)) : status{}; }
        std::size_t const all = size();
        std::size_t const parts = all <= most ? 1 : (all + split - 1) / split;
        std::size_t from = 0;
        for (std::size_t part = 1; part <= parts && from != all; ++part) {
            std::size_t to = part == parts ? all : (std::max)(from + 1, all * part / parts);
            while (to != all && hash_at(to) == hash_at(to - 1)) { ++to; }
            auto const value = bytes_view{raw_}.subspan(from * width, (to - from) * width);
            if (auto s = tx.put(bucket_key(to == all ? last_ : hash_at(to - 1)), value); !s) { return s; }
            from = to;
        }
        return {};
    }

private:
    static constexpr std::size_t most = 32;   ///< elements of a bucket, unless their hashes are equal
    static constexpr std::size_t split = 20;  ///< about so many in each part of a fuller one

    [[nodiscard]] std::size_t size() const noexcept { return raw_.size() / width; }
    [[nodiscard]] std::uint32_t hash_at(std::size_t i) const noexcept {
        return read_u32(bytes_view{raw_}.subspan(i * width));
    }
    [[nodiscard]] bytes::iterator at(std::size_t i) { return raw_.begin() + static_cast<std::ptrdiff_t>(i * width); }
    [[nodiscard]] outbox_key bucket_key(std::uint32_t hash) const noexcept {
        outbox_key k{prefix_, outbox_space::index};
        for (unsigned shift = 32; shift != 0; shift -= 8) { k.add(static_cast<std::uint8_t>(hash >> (shift - 8))); }
        return k;
    }

    std::string_view prefix_;
    bytes raw_;               ///< the current bucket's elements, sorted by hash
    std::uint32_t from_ = 0;  ///< it holds all hashes from here ...
    std::uint32_t last_ = 0;  ///< ... to here
    bool loaded_ = false;
    bool stored_ = false;
    bool changed_ = false;
};

/// The rows of leases, one of them in memory at a time, within one transaction. A row's elements are entries, or runs.
class outbox_leases {
public:
    explicit outbox_leases(std::string_view prefix) noexcept : prefix_(prefix) {}

    /// The number that stands for an entry, and for a run: by its last token, and its class.
    [[nodiscard]] static constexpr std::uint64_t entry_element(std::uint64_t token) noexcept { return token << 1; }
    [[nodiscard]] static constexpr std::uint64_t run_element(std::uint64_t last, priority served_as) noexcept {
        return last << 3 | static_cast<std::uint64_t>(served_as) << 1 | 1U;
    }
    [[nodiscard]] static constexpr bool is_run(std::uint64_t element) noexcept { return (element & 1U) != 0; }
    [[nodiscard]] static constexpr std::uint64_t token_of(std::uint64_t element) noexcept {
        return is_run(element) ? element >> 3 : element >> 1;
    }
    [[nodiscard]] static constexpr priority class_of(std::uint64_t element) noexcept {
        return static_cast<priority>(element >> 1 & 3U);
    }
    /// Appends a fence to a key: how many bytes it has, and they, so that keys are in the order of fences and most are
    /// short.
    static outbox_key& add_fence(outbox_key& k, std::uint64_t fence) noexcept {
        std::uint8_t n = 1;
        while (n < 8 && fence >> (8 * n) != 0) { ++n; }
        k.add(n);
        for (unsigned shift = 8U * n; shift != 0; shift -= 8) {
            k.add(static_cast<std::uint8_t>(fence >> (shift - 8)));
        }
        return k;
    }
    /// What stands there behind the time; 0 when it is none.
    [[nodiscard]] static std::uint64_t fence_of(bytes_view b) noexcept {
        if (b.size() < 2 || std::to_integer<std::size_t>(b[0]) != b.size() - 1 || b.size() > 9) { return 0; }
        std::uint64_t fence = 0;
        for (std::byte const digit : b.subspan(1)) { fence = fence << 8 | std::to_integer<std::uint64_t>(digit); }
        return b[1] == std::byte{0} ? 0 : fence;
    }

    /// `fresh`: no row of this fence is stored yet.
    template <storage_transaction Tx>
    [[nodiscard]] status add(Tx& tx, wall_time end, std::uint64_t fence, std::uint64_t element, bool fresh) {
        if (auto s = turn(tx, end, fence, fresh); !s) { return s; }
        append_varint(elements_, element);
        changed_ = true;
        return {};
    }
    template <storage_transaction Tx>
    [[nodiscard]] status drop(Tx& tx, wall_time end, std::uint64_t fence, std::uint64_t element) {
        if (auto s = turn(tx, end, fence, false); !s) { return s; }
        for (bytes_view rest{elements_}; !rest.empty();) {
            std::size_t const at = elements_.size() - rest.size();
            auto const here = take_varint(rest);
            if (!here) { return failure{errc::corrupt, "outbox lease"}; }
            if (*here != element) { continue; }
            auto const from = elements_.begin() + static_cast<std::ptrdiff_t>(at);
            elements_.erase(from, elements_.end() - static_cast<std::ptrdiff_t>(rest.size()));
            changed_ = true;
            return {};
        }
        return failure{errc::corrupt, "outbox lease without its entry"};
    }
    template <storage_transaction Tx>
    [[nodiscard]] status flush(Tx& tx) {
        if (!std::exchange(changed_, false)) { return {}; }
        if (!elements_.empty()) { return tx.put(row_key(), elements_); }
        return tx.erase(row_key());
    }

private:
    [[nodiscard]] outbox_key row_key() const noexcept {
        outbox_key k{prefix_, outbox_space::leases};
        return add_fence(k.add(outbox_time_bits(end_)), fence_);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status turn(Tx& tx, wall_time end, std::uint64_t fence, bool fresh) {
        if (fence != 0 && fence == fence_ && end == end_) { return {}; }
        if (auto s = flush(tx); !s) { return s; }
        end_ = end;
        fence_ = fence;
        if (fresh) {
            elements_.clear();
            return {};
        }
        auto const found = tx.get(row_key(), elements_);
        if (!found) {
            fence_ = 0;
            return found.error();
        }
        return {};
    }

    std::string_view prefix_;
    wall_time end_{};
    std::uint64_t fence_ = 0;  ///< 0 = none in memory
    bytes elements_;
    bool changed_ = false;
};

/// What a claim took out of a queue without moving it: all that still stands there between the first token and the last.
struct outbox_run {
    std::uint8_t lane = 0;
    priority served_as{};
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    std::uint64_t fence = 0;
    wall_time end{};         ///< of the lease
    std::uint64_t left = 0;  ///< so many of them are still there
};

/// The runs, one of them in memory at a time, within one transaction.
class outbox_runs {
public:
    explicit outbox_runs(std::string_view prefix) noexcept : prefix_(prefix) {}

    template <storage_transaction Tx>
    [[nodiscard]] status begin(Tx& tx, outbox_run const& r) {
        if (auto s = flush(tx); !s) { return s; }
        run_ = r;
        changed_ = true;
        return {};
    }
    /// The run in which a token stands.
    template <storage_transaction Tx>
    [[nodiscard]] result<outbox_run const*> find(Tx& tx, std::uint8_t lane, priority served_as, std::uint64_t token) {
        if (run_.left != 0 && run_.lane == lane && run_.served_as == served_as && run_.first <= token &&
            token <= run_.last) {
            return &run_;
        }
        if (auto s = flush(tx); !s) { return s.error(); }
        run_ = {};
        outbox_run r;
        r.lane = lane;
        r.served_as = served_as;
        bool good = false;
        auto const row = [&](bytes_view k, bytes_view value) {
            if (k.size() != prefix_.size() + 11) { return false; }
            r.last = read_u64(k.last(8));
            auto const fence = take_varint(value);
            auto const until = take_varint(value);
            auto const span = take_varint(value);
            auto const left = take_varint(value);
            if (!fence || !until || !span || !left || !value.empty() || *span > r.last) { return false; }
            r.fence = *fence;
            r.end = outbox_time_from({}, *until);
            r.first = r.last - *span;
            r.left = *left;
            good = r.first <= token && r.fence != 0 && r.left != 0;
            return false;
        };
        outbox_key end = queue_key(lane, served_as);
        for (int i = 0; i < 9; ++i) { end.add(std::uint8_t{0xFF}); }
        if (auto s = tx.scan({queue_key(lane, served_as).add(token), end}, row); !s) { return s.error(); }
        if (!good) { return failure{errc::corrupt, "outbox entry without its run"}; }
        run_ = r;
        return &run_;
    }
    /// One of the run that was found last leaves it; whether it was the last.
    [[nodiscard]] bool leave() noexcept {
        changed_ = true;
        return --run_.left == 0;
    }
    [[nodiscard]] outbox_run const& current() const noexcept { return run_; }
    template <storage_transaction Tx>
    [[nodiscard]] status flush(Tx& tx) {
        if (!std::exchange(changed_, false)) { return {}; }
        auto const key = queue_key(run_.lane, run_.served_as).add(run_.last);
        if (run_.left == 0) { return tx.erase(key); }
        bytes value;
        append_varint(value, run_.fence);
        append_varint(value, outbox_time_after(run_.end, {}));
        append_varint(value, run_.last - run_.first);
        append_varint(value, run_.left);
        return tx.put(key, value);
    }

private:
    [[nodiscard]] outbox_key queue_key(std::uint8_t lane, priority served_as) const noexcept {
        return outbox_key{prefix_, outbox_space::runs}.add(lane).add(static_cast<std::uint8_t>(served_as));
    }

    std::string_view prefix_;
    outbox_run run_{};  ///< `left` 0: none in memory
    bool changed_ = false;
};

}  // namespace detail
}  // namespace syncline::inline SYNCLINE_ABI
