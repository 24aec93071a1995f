// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Keyed 128-bit hashes of rows and their sums, by which sets of rows are compared.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The secret under which rows are hashed: one for each authority and scope, the same at all replicas of it.
struct reconcile_key {
    std::array<std::byte, 16> bytes{};
    friend constexpr bool operator==(reconcile_key const&, reconcile_key const&) = default;
};

/// The sum, modulo 2^128, of the keyed hashes of a set of rows: what is left when a row leaves is the sum without it.
///
/// Equal sums mean equal sets, but for a chance of 2^-128, against everybody who does not know the key: whoever merely
/// chooses rows can't make two sets look alike. Who knows the key, a replica, can look for rows that cancel (Wagner's
/// generalised birthday attack makes that affordable for sums of many): replicas of one scope trust one another not
/// to hide rows from one another.
struct fingerprint {
    std::uint64_t high = 0;
    std::uint64_t low = 0;

    constexpr fingerprint& operator+=(fingerprint const& o) noexcept {
        low += o.low;
        high += o.high + (low < o.low ? 1U : 0U);
        return *this;
    }
    constexpr fingerprint& operator-=(fingerprint const& o) noexcept {
        high -= o.high + (low < o.low ? 1U : 0U);
        low -= o.low;
        return *this;
    }
    friend constexpr fingerprint operator+(fingerprint a, fingerprint const& b) noexcept { return a += b; }
    friend constexpr fingerprint operator-(fingerprint a, fingerprint const& b) noexcept { return a -= b; }
    friend constexpr bool operator==(fingerprint const&, fingerprint const&) = default;
};

inline constexpr std::size_t fingerprint_bytes = 16;

inline void append_fingerprint(bytes& out, fingerprint const& f) {
    append_u64(out, f.high);
    append_u64(out, f.low);
}
/// Reads the first sixteen bytes, big-endian. Precondition: there are sixteen.
[[nodiscard]] inline fingerprint read_fingerprint(bytes_view b) noexcept {
    return {read_u64(b), read_u64(b.subspan(8))};
}

namespace detail {

/// SipHash with `Compress` rounds a word and `Finish` at the end, fed with little-endian words.
/// Source: Aumasson, Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012, and the 128-bit variant of
/// its reference code.
template <int Compress, int Finish>
class sip_hash {
public:
    constexpr sip_hash(std::uint64_t k0, std::uint64_t k1) noexcept
        : v0_(k0 ^ 0x736F6D6570736575),
          v1_(k1 ^ 0x646F72616E646F6D),
          v2_(k0 ^ 0x6C7967656E657261),
          v3_(k1 ^ 0x7465646279746573) {}

    constexpr void word(std::uint64_t m) noexcept {
        v3_ ^= m;
        rounds<Compress>();
        v0_ ^= m;
    }
    /// The last word holds the bytes that are left and, on top, the length modulo 256.
    [[nodiscard]] constexpr std::uint64_t finish_64(std::uint64_t last) noexcept {
        word(last);
        v2_ ^= 0xFF;
        rounds<Finish>();
        return v0_ ^ v1_ ^ v2_ ^ v3_;
    }
    /// To be called before the first word when 128 bits are wanted.
    constexpr void widen() noexcept { v1_ ^= 0xEE; }
    [[nodiscard]] constexpr fingerprint finish_128(std::uint64_t last) noexcept {
        word(last);
        v2_ ^= 0xEE;
        rounds<Finish>();
        std::uint64_t const low = v0_ ^ v1_ ^ v2_ ^ v3_;
        v1_ ^= 0xDD;
        rounds<Finish>();
        return {v0_ ^ v1_ ^ v2_ ^ v3_, low};
    }

private:
    template <int N>
    constexpr void rounds() noexcept {
        for (int i = 0; i < N; ++i) {
            v0_ += v1_;
            v2_ += v3_;
            v1_ = std::rotl(v1_, 13) ^ v0_;
            v3_ = std::rotl(v3_, 16) ^ v2_;
            v0_ = std::rotl(v0_, 32);
            v2_ += v1_;
            v0_ += v3_;
            v1_ = std::rotl(v1_, 17) ^ v2_;
            v3_ = std::rotl(v3_, 21) ^ v0_;
            v2_ = std::rotl(v2_, 32);
        }
    }
    std::uint64_t v0_, v1_, v2_, v3_;
};

/// Up to eight bytes as a little-endian word, zeros above.
[[nodiscard]] inline std::uint64_t little_word(std::byte const* p, std::size_t n) noexcept {
    if (n >= 8) { return load_little64(p); }
    std::uint64_t w = 0;
    for (std::size_t i = 0; i < n; ++i) { w |= std::to_integer<std::uint64_t>(p[i]) << (8 * i); }
    return w;
}

}  // namespace detail

/// Hashes rows under a key. A value.
class row_hasher {
public:
    explicit row_hasher(reconcile_key const& key) noexcept
        : k0_(detail::load_little64(key.bytes.data())), k1_(detail::load_little64(key.bytes.data() + 8)) {}

    /// SipHash-2-4-128 of: the two sizes as 32-bit little-endian numbers, the key, the version, each filled up with
    /// zeros to a multiple of eight. Cost: some 25 ns for a key and a version of sixteen bytes; no allocation.
    [[nodiscard]] fingerprint row(bytes_view key, bytes_view version) const noexcept {
        detail::sip_hash<2, 4> h(k0_, k1_);
        h.widen();
        h.word(static_cast<std::uint64_t>(key.size() & 0xFFFFFFFF) |
               (static_cast<std::uint64_t>(version.size()) << 32));
        std::size_t words = 1 + feed(h, key);
        words += feed(h, version);
        return h.finish_128(static_cast<std::uint64_t>(words * 8) << 56);
    }
    /// The check of a sketch's cell: SipHash-1-3 of so many words.
    template <std::size_t N>
    [[nodiscard]] std::uint64_t words(std::array<std::uint64_t, N> const& w, std::uint64_t more) const noexcept {
        detail::sip_hash<1, 3> h(k0_, k1_);
        for (std::uint64_t const x : w) { h.word(x); }
        h.word(more);
        return h.finish_64(std::uint64_t{8 * (N + 1)} << 56);
    }
    /// Four bytes by which two ends tell whether they hash under the same key.
    [[nodiscard]] std::uint32_t key_check() const noexcept {
        return static_cast<std::uint32_t>(words(std::array<std::uint64_t, 1>{0x6B6579}, 0) & 0xFFFFFFFF);
    }

private:
    template <class H>
    static std::size_t feed(H& h, bytes_view b) noexcept {
        std::size_t n = 0;
        for (std::size_t at = 0; at < b.size(); at += 8, ++n) {
            h.word(detail::little_word(b.data() + at, b.size() - at));
        }
        return n;
    }
    std::uint64_t k0_;
    std::uint64_t k1_;
};

}  // namespace syncline::inline SYNCLINE_ABI
