// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `checksummed_storage`: a storage around another that notices when what it reads is not what was written.

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <syncline/core/bytes.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The bytes that a value is longer by.
inline constexpr std::size_t storage_checksum_bytes = 4;

/// Keeps a CRC-32C of key and value behind each value, and answers `errc::corrupt` for a value that does not fit it.
///
/// For media that flip bits, and for writes that went astray: a value that stands under another key does not fit
/// either. It finds accidents, never a forger; a value that is gone, or an older one that came back, has no sign of it
/// (a replica's comparison with its authority has). SQLite, LMDB and most databases don't check what they read.
/// As good a model of `storage` as the inner one, whose values then hold 4 bytes more, so that `value_bytes_max()` is
/// 4 less than the inner one's; a store is read through it from its first write on. After `errc::corrupt` nothing has
/// changed and the transaction goes on; a scan ends at the damaged value, those before it were visited.
/// The inner storage must outlive it. Cost: half a nanosecond a byte, and a copy of each value that is written.
template <storage S>
class checksummed_storage {
public:
    /// One open transaction of the inner storage.
    class transaction {
    public:
        [[nodiscard]] result<bool> get(bytes_view key, bytes& out) {
            auto found = inner_.get(key, out);
            if (!found || !*found) { return found; }
            if (!fits(key, out)) {
                out.clear();
                return damaged();
            }
            out.resize(out.size() - storage_checksum_bytes);
            return true;
        }
        [[nodiscard]] status put(bytes_view key, bytes_view value) {
            if (value.size() > value_max_) { return failure{errc::limit, "value too long"}; }
            buffer_.assign(value.begin(), value.end());
            std::uint32_t const sum = check(key, value);
            for (unsigned shift = 0; shift < 32; shift += 8) {
                buffer_.push_back(static_cast<std::byte>((sum >> shift) & 0xFF));
            }
            return inner_.put(key, buffer_);
        }
        [[nodiscard]] status erase(bytes_view key) { return inner_.erase(key); }
        [[nodiscard]] status scan(key_range range, scan_visitor visit) {
            bool sound = true;
            auto ok = inner_.scan(range, [&](bytes_view key, bytes_view value) {
                sound = fits(key, value);
                return sound && visit(key, value.first(value.size() - storage_checksum_bytes));
            });
            if (ok && !sound) { return damaged(); }
            return ok;
        }
        [[nodiscard]] status commit() { return inner_.commit(); }

    private:
        friend class checksummed_storage;
        transaction(typename S::transaction inner, std::size_t value_max)
            : inner_(std::move(inner)), value_max_(value_max) {}

        [[nodiscard]] static failure damaged() noexcept { return {errc::corrupt, "a stored value is damaged"}; }
        [[nodiscard]] static std::uint32_t check(bytes_view key, bytes_view value) noexcept {
            // The length parts key from value: no byte can move from the one to the other.
            std::array<std::byte, 2> const length{static_cast<std::byte>(key.size() >> 8),
                                                  static_cast<std::byte>(key.size() & 0xFF)};
            crc32c_hasher h;
            h.update(length);
            h.update(key);
            h.update(value);
            return h.finish();
        }
        [[nodiscard]] static bool fits(bytes_view key, bytes_view stored) noexcept {
            if (stored.size() < storage_checksum_bytes) { return false; }
            std::size_t const n = stored.size() - storage_checksum_bytes;
            std::uint32_t sum = 0;
            for (unsigned i = 0; i < storage_checksum_bytes; ++i) {
                sum |= std::to_integer<std::uint32_t>(stored[n + i]) << (8 * i);
            }
            return sum == check(key, stored.first(n));
        }

        typename S::transaction inner_;
        std::size_t value_max_;
        bytes buffer_{};
    };

    explicit checksummed_storage(S& inner) noexcept : inner_(&inner) {}

    [[nodiscard]] result<transaction> begin(access_mode a) {
        auto tx = inner_->begin(a);
        if (!tx) { return tx.error(); }
        return transaction{std::move(*tx), value_bytes_max()};
    }
    [[nodiscard]] status barrier() { return inner_->barrier(); }
    [[nodiscard]] durability commit_durability() const { return std::as_const(*inner_).commit_durability(); }
    [[nodiscard]] std::size_t value_bytes_max() const {
        return std::as_const(*inner_).value_bytes_max() - storage_checksum_bytes;
    }
    [[nodiscard]] S& inner() noexcept { return *inner_; }

private:
    S* inner_;
};

}  // namespace syncline::inline SYNCLINE_ABI
