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
#include <vector>

#include <syncline/core/bytes.hpp>
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

    explicit outbox_index(std::string_view prefix) noexcept : prefix_(prefix) {}

    /// Makes the bucket of a hash the current one.
    template <storage_transaction Tx>
    [[nodiscard]] status turn(Tx& tx, std::uint32_t hash) {
        if (loaded_ && from_ <= hash && hash <= last_) { return {}; }
        if (auto s = flush(tx); !s) { return s; }
        elements_.clear();
        from_ = hash;
        last_ = (std::numeric_limits<std::uint32_t>::max)();
        stored_ = false;
        bool damaged = false;
        auto const row = [&](bytes_view k, bytes_view value) {
            damaged = k.size() != prefix_.size() + 5 || value.empty() || value.size() % width != 0;
            if (damaged) { return false; }
            last_ = read_u32(k.last(4));
            stored_ = true;
            elements_.reserve(value.size() / width + 1);
            for (; !value.empty(); value = value.subspan(width)) {
                std::uint64_t const token = read_u64(value.subspan(4));
                element const e{read_u32(value), token & ~many_bit, (token & many_bit) != 0};
                damaged = damaged || e.hash > last_ || (!elements_.empty() && e.hash < elements_.back().hash);
                elements_.push_back(e);
            }
            return false;
        };
        bytes const end = prefix_end(outbox_key{prefix_, outbox_space::index});
        if (auto s = tx.scan({bucket_key(hash), end}, row); !s) { return s; }
        if (damaged) { return failure{errc::corrupt, "outbox index"}; }
        loaded_ = true;
        return {};
    }
    // Of the current bucket, until the next turn.

    [[nodiscard]] std::size_t first(std::uint32_t hash) const noexcept {
        auto const at = std::lower_bound(elements_.begin(), elements_.end(), hash,
                                         [](element const& e, std::uint32_t h) { return e.hash < h; });
        return static_cast<std::size_t>(at - elements_.begin());
    }
    [[nodiscard]] bool is(std::size_t i, std::uint32_t hash) const noexcept {
        return i < elements_.size() && elements_[i].hash == hash;
    }
    [[nodiscard]] element const& operator[](std::size_t i) const noexcept { return elements_[i]; }
    void insert(element const& e) {
        elements_.insert(elements_.begin() + static_cast<std::ptrdiff_t>(first(e.hash)), e);
        changed_ = true;
    }
    void erase(std::size_t i) {
        elements_.erase(elements_.begin() + static_cast<std::ptrdiff_t>(i));
        changed_ = true;
    }
    void set(std::size_t i, std::uint64_t token, bool many) noexcept {
        changed_ = changed_ || elements_[i].token != token || elements_[i].many != many;
        elements_[i].token = token;
        elements_[i].many = many;
    }

    template <storage_transaction Tx>
    [[nodiscard]] status flush(Tx& tx) {
        if (!std::exchange(changed_, false)) { return {}; }
        loaded_ = false;
        if (elements_.empty()) { return stored_ ? tx.erase(bucket_key(last_)) : status{}; }
        std::size_t const parts = elements_.size() <= most ? 1 : (elements_.size() + split - 1) / split;
        std::size_t at = 0;
        bytes value;
        for (std::size_t part = 1; part <= parts && at != elements_.size(); ++part) {
            std::size_t end = part == parts ? elements_.size() : (std::max)(at + 1, elements_.size() * part / parts);
            while (end != elements_.size() && elements_[end].hash == elements_[end - 1].hash) { ++end; }
            value.clear();
            value.reserve((end - at) * width);
            for (; at != end; ++at) {
                append_u32(value, elements_[at].hash);
                append_u64(value, elements_[at].token | (elements_[at].many ? many_bit : 0));
            }
            std::uint32_t const last = at == elements_.size() ? last_ : elements_[at - 1].hash;
            if (auto s = tx.put(bucket_key(last), value); !s) { return s; }
        }
        return {};
    }

    static constexpr std::size_t width = 12;
    static constexpr std::uint64_t many_bit = std::uint64_t{1} << 63;

private:
    static constexpr std::size_t most = 64;   ///< elements of a bucket, unless their hashes are equal
    static constexpr std::size_t split = 40;  ///< about so many in each part of a fuller one

    [[nodiscard]] outbox_key bucket_key(std::uint32_t hash) const noexcept {
        outbox_key k{prefix_, outbox_space::index};
        for (unsigned shift = 32; shift != 0; shift -= 8) { k.add(static_cast<std::uint8_t>(hash >> (shift - 8))); }
        return k;
    }

    std::string_view prefix_;
    std::vector<element> elements_;
    std::uint32_t from_ = 0;  ///< the current bucket holds all from here ...
    std::uint32_t last_ = 0;  ///< ... to here
    bool loaded_ = false;
    bool stored_ = false;
    bool changed_ = false;
};

/// The rows of leases, one of them in memory at a time, within one transaction.
class outbox_leases {
public:
    explicit outbox_leases(std::string_view prefix) noexcept : prefix_(prefix) {}

    template <storage_transaction Tx>
    [[nodiscard]] status add(Tx& tx, wall_time end, std::uint64_t fence, std::uint64_t token) {
        if (auto s = turn(tx, end, fence); !s) { return s; }
        append_u64(tokens_, token);
        changed_ = true;
        return {};
    }
    template <storage_transaction Tx>
    [[nodiscard]] status drop(Tx& tx, wall_time end, std::uint64_t fence, std::uint64_t token) {
        if (auto s = turn(tx, end, fence); !s) { return s; }
        for (std::size_t at = 0; at + 8 <= tokens_.size(); at += 8) {
            if (read_u64(bytes_view{tokens_}.subspan(at)) != token) { continue; }
            auto const from = tokens_.begin() + static_cast<std::ptrdiff_t>(at);
            tokens_.erase(from, from + 8);
            changed_ = true;
            return {};
        }
        return failure{errc::corrupt, "outbox lease without its entry"};
    }
    template <storage_transaction Tx>
    [[nodiscard]] status flush(Tx& tx) {
        if (!std::exchange(changed_, false)) { return {}; }
        if (!tokens_.empty()) { return tx.put(row_key(), tokens_); }
        return tx.erase(row_key());
    }

private:
    [[nodiscard]] outbox_key row_key() const noexcept {
        return outbox_key{prefix_, outbox_space::leases}.add(outbox_time_bits(end_)).add(fence_);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status turn(Tx& tx, wall_time end, std::uint64_t fence) {
        if (fence != 0 && fence == fence_ && end == end_) { return {}; }
        if (auto s = flush(tx); !s) { return s; }
        end_ = end;
        fence_ = fence;
        auto const found = tx.get(row_key(), tokens_);
        if (!found) {
            fence_ = 0;
            return found.error();
        }
        if (tokens_.size() % 8 != 0) { return failure{errc::corrupt, "outbox lease"}; }
        return {};
    }

    std::string_view prefix_;
    wall_time end_{};
    std::uint64_t fence_ = 0;  ///< 0 = none in memory
    bytes tokens_;
    bool changed_ = false;
};

}  // namespace detail
}  // namespace syncline::inline SYNCLINE_ABI
