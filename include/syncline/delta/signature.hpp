// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Deltas against a base that only the other end has: it sends a signature of it, a rolling and a strong checksum of
/// each block, and gets VCDIFF back. Source: Tridgell, "Efficient Algorithms for Sorting and Synchronization", 1999.

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/delta/vcdiff_encoder.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// 16 bytes that a stranger can't foresee, new for each signature: blocks made to collide beforehand then don't.
using signature_salt = std::array<std::byte, 16>;

/// The block for a base of this length: the square root of its half, down to a multiple of 64; in [256, 64 KiB]. rsync
/// takes that of the whole; as edits are seldom alone, smaller blocks spare more literals than they cost checksums.
[[nodiscard]] constexpr std::size_t signature_block(std::uint64_t length) noexcept {
    std::uint64_t root = 0;
    for (std::uint64_t bit = std::uint64_t{1} << 17; bit != 0; bit >>= 1) {
        if (2 * (root | bit) * (root | bit) <= length) { root |= bit; }
    }
    constexpr std::uint64_t least = 256;
    constexpr std::uint64_t most = 65536;
    return static_cast<std::size_t>((std::min)(most, (std::max)(least, root / 64 * 64)));
}

namespace detail {

inline constexpr std::size_t signature_strong = 16;
inline constexpr std::size_t signature_entry = 4 + signature_strong;
inline constexpr std::byte signature_magic{0xB5};
inline constexpr std::byte signature_version{1};

/// A polynomial in an odd number, modulo 2^32: rolls in two multiplications.
inline constexpr std::uint32_t rolling_factor = 0x08104225;
[[nodiscard]] inline std::uint32_t rolling_of(bytes_view block) noexcept {
    constexpr std::uint32_t f = rolling_factor;
    constexpr std::uint32_t f2 = f * f;
    constexpr std::uint32_t f3 = f2 * f;
    constexpr std::uint32_t f4 = f2 * f2;
    std::uint32_t h = 1;
    std::byte const* p = block.data();
    std::size_t n = block.size();
    auto const at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(p[i]); };
    // Eight bytes a step, so that a multiplication waits for the one before once in eight bytes.
    for (; n >= 8; n -= 8, p += 8) {
        std::uint32_t const first = at(0) * f3 + at(1) * f2 + at(2) * f + at(3);
        std::uint32_t const second = at(4) * f3 + at(5) * f2 + at(6) * f + at(7);
        h = h * (f4 * f4) + first * f4 + second;
    }
    for (; n != 0; --n, ++p) { h = h * f + at(0); }
    return h;
}
/// The factor to the power of a block's length.
[[nodiscard]] inline std::uint32_t rolling_power(std::size_t n) noexcept {
    std::uint32_t power = 1;
    for (std::uint32_t f = rolling_factor; n != 0; n >>= 1, f *= f) {
        if ((n & 1) != 0) { power *= f; }
    }
    return power;
}
/// The hash of the salt, from which each block's goes on.
template <hasher H>
[[nodiscard]] H signature_hasher(signature_salt const& salt, H fresh) noexcept {
    fresh.update(salt);
    return fresh;
}

}  // namespace detail

/// Appends the signature of `base`, 20 bytes a block.
///
///   B5 01          mark and version
///   salt           16 bytes
///   length         varint
///   block          varint, in 64 bytes: 4 to 1,024
///   for each block, the last one maybe shorter: rolling checksum, 4 bytes big-endian; SHA-256(salt, block), its first
///   16 bytes
/// `fresh` is an unused SHA-256, the built-in one or an adapter's. One that fails makes a signature in which little or
/// the wrong is found: as always, the result's hash tells.
/// Cost: that of hashing the base.
template <hasher H = sha256_hasher>
    requires std::same_as<typename H::digest_type, sha256_digest>
void signature_encode(bytes_view base, signature_salt const& salt, bytes& out, H const& fresh = {}) {
    std::size_t const block = signature_block(base.size());
    out.push_back(detail::signature_magic);
    out.push_back(detail::signature_version);
    append(out, salt);
    append_varint(out, base.size());
    append_varint(out, block / 64);
    H const salted = detail::signature_hasher(salt, fresh);
    for (; !base.empty(); base = base.subspan((std::min)(block, base.size()))) {
        bytes_view const b = base.first((std::min)(block, base.size()));
        std::uint32_t const rolling = detail::rolling_of(b);
        for (unsigned shift = 32; shift != 0; shift -= 8) {
            out.push_back(static_cast<std::byte>((rolling >> (shift - 8)) & 0xFF));
        }
        auto h = salted;
        h.update(b);
        append(out, bytes_view(h.finish()).first(detail::signature_strong));
    }
}

/// A signature that was read, ready to be searched.
class signature_index {
public:
    /// Errors: `malformed`, `not_deterministic`, `unsupported` (a later version), `limit` (a base of more than
    /// `base_max` bytes).
    /// Cost: linear; memory of about 12 bytes a block beside the signature, which is borrowed.
    [[nodiscard]] static result<signature_index> read(bytes_view in, std::uint64_t base_max = std::uint64_t{1} << 40) {
        if (in.size() < 18 || in[0] != detail::signature_magic) { return failure{errc::malformed, "not a signature"}; }
        if (in[1] != detail::signature_version) { return failure{errc::unsupported, "version of signature"}; }
        signature_index s;
        std::memcpy(s.salt_.data(), in.data() + 2, s.salt_.size());
        in = in.subspan(18);
        auto const length = take_varint(in);
        if (!length) { return length.error(); }
        auto const block = take_varint(in);
        if (!block) { return block.error(); }
        if (*length > base_max || *length > std::uint64_t{1} << 46) { return failure{errc::limit, "base too long"}; }
        if (*block < 4 || *block > 1024) { return failure{errc::malformed, "block's length"}; }
        s.length_ = *length;
        s.block_ = static_cast<std::size_t>(*block) * 64;
        std::uint64_t const count = (*length + s.block_ - 1) / s.block_;
        if (count > in.size() || in.size() != count * detail::signature_entry) {
            return failure{errc::malformed, "signature's length"};
        }
        s.entries_ = in;
        s.index(static_cast<std::size_t>(count));
        return s;
    }

    [[nodiscard]] std::uint64_t base_size() const noexcept { return length_; }
    [[nodiscard]] std::size_t block() const noexcept { return block_; }

    /// Appends the VCDIFF delta that makes `target` of the base of the signature.
    ///
    /// `scratch` is memory to use again. The receiver compares the result's hash with one from the sender: blocks are
    /// told apart by 128 bits of a salted hash, and what it has may have changed meanwhile.
    /// `fresh` is an unused SHA-256, the built-in one or an adapter's.
    /// Cost: one multiplication and a look-up in a filter a byte; SHA-256 of what matches, and of few others.
    template <hasher H = sha256_hasher>
        requires std::same_as<typename H::digest_type, sha256_digest>
    void encode(bytes_view target, bytes& out, delta_scratch& scratch, vcdiff_options const& options = {},
                H const& fresh = {}) const {
        SYNCLINE_ASSERT(valid(options));
        vcdiff_writer writer(out, static_cast<std::size_t>(length_), options.checksum, scratch);
        std::uint32_t const leaving = detail::rolling_power(block_);
        H const salted = detail::signature_hasher(salt_, fresh);
        std::size_t expected = 0;
        while (!target.empty()) {
            bytes_view const window = target.first((std::min)(target.size(), options.window));
            target = target.subspan(window.size());
            writer.begin(window);
            encode_window(window, writer, salted, leaving, expected);
            writer.end();
        }
    }

private:
    signature_index() = default;

    [[nodiscard]] std::size_t count() const noexcept { return entries_.size() / detail::signature_entry; }
    [[nodiscard]] std::size_t size_of(std::size_t i) const noexcept {
        return i + 1 < count() ? block_ : static_cast<std::size_t>(length_ - std::uint64_t{i} * block_);
    }
    [[nodiscard]] std::uint32_t rolling(std::size_t i) const noexcept {
        return detail::load_big32(entries_.data() + i * detail::signature_entry);
    }
    [[nodiscard]] bytes_view strong(std::size_t i) const noexcept {
        return entries_.subspan(i * detail::signature_entry + 4, detail::signature_strong);
    }
    [[nodiscard]] static std::uint32_t spread(std::uint32_t rolling) noexcept { return rolling * 0x9E3779B1U; }

    void index(std::size_t n) {
        unsigned bits = 8;
        while (bits < 28 && (std::size_t{1} << bits) < n) { ++bits; }
        shift_ = 32 - bits;
        heads_.assign(std::size_t{1} << bits, none);
        next_.assign(n, none);
        filter_.assign((std::size_t{1} << 16) / 64, 0);
        for (std::size_t i = n; i-- > 0;) {  // so that the first of equal blocks is found first
            if (size_of(i) != block_) { continue; }
            std::uint32_t const r = spread(rolling(i));
            filter_[r >> 22] |= std::uint64_t{1} << ((r >> 16) & 63);
            std::uint32_t& head = heads_[r >> shift_];
            next_[i] = head;
            head = static_cast<std::uint32_t>(i);
        }
    }
    template <hasher H>
    [[nodiscard]] bool is_block(std::size_t i, bytes_view b, H h) const noexcept {
        h.update(b);
        return equal(bytes_view(h.finish()).first(detail::signature_strong), strong(i));
    }
    /// The block that these bytes are, or none. `expected` is tried first. `vain` is how many strong hashes may still
    /// find nothing, and few candidates are compared: a signature made to collide costs no more than another.
    template <hasher H>
    [[nodiscard]] std::uint32_t find(std::uint32_t rolling_now, bytes_view b, H const& salted, std::size_t expected,
                                     std::size_t& vain) const noexcept {
        std::uint32_t const r = spread(rolling_now);
        if ((filter_[r >> 22] >> ((r >> 16) & 63) & 1) == 0 || vain == 0) { return none; }
        sha256_digest digest{};
        bool hashed = false;
        auto const is = [&](std::size_t i) {
            if (rolling(i) != rolling_now || size_of(i) != b.size()) { return false; }
            if (!hashed) {
                H h = salted;
                h.update(b);
                digest = h.finish();
                hashed = true;
            }
            return equal(bytes_view(digest).first(detail::signature_strong), strong(i));
        };
        if (expected < count() && is(expected)) { return static_cast<std::uint32_t>(expected); }
        unsigned looked = 0;
        for (std::uint32_t i = heads_[r >> shift_]; i != none && looked < 64; i = next_[i], ++looked) {
            if (is(i)) { return i; }
        }
        if (hashed) { --vain; }
        return none;
    }
    template <hasher H>
    void encode_window(bytes_view window, vcdiff_writer& writer, H const& salted, std::uint32_t leaving,
                       std::size_t& expected) const {
        std::size_t at = 0;
        std::size_t anchor = 0;
        std::uint64_t run_from = 0;  // blocks in a row become one copy
        std::size_t run = 0;
        auto const flush_run = [&] {
            if (run != 0) { writer.copy(static_cast<std::size_t>(run_from), run); }
            run = 0;
        };
        std::uint32_t h = 0;
        bool fresh = true;
        std::size_t vain = 16 + 4 * (window.size() / block_);
        while (window.size() - at >= block_) {
            bytes_view const b = window.subspan(at, block_);
            if (fresh) { h = detail::rolling_of(b); }
            fresh = false;
            std::uint32_t const i = find(h, b, salted, expected, vain);
            if (i != none) {
                if (at > anchor) {
                    flush_run();
                    writer.add(anchor, at - anchor);
                }
                std::uint64_t const from = std::uint64_t{i} * block_;
                if (run == 0 || run_from + run != from) {
                    flush_run();
                    run_from = from;
                }
                run += block_;
                at += block_;
                anchor = at;
                expected = i + std::size_t{1};
                fresh = true;
                continue;
            }
            // The seed 1 of the polynomial leaves with the block's first byte.
            if (at + block_ == window.size()) { break; }
            auto const out = std::to_integer<std::uint32_t>(window[at]);
            auto const in = std::to_integer<std::uint32_t>(window[at + block_]);
            h = (h - leaving) * detail::rolling_factor + in - (out * leaving) + leaving;
            ++at;
        }
        // The base's last, shorter block can only be the target's end.
        std::size_t const last = count() == 0 ? 0 : size_of(count() - 1);
        bool const ends_alike = last != 0 && last != block_ && window.size() - anchor >= last &&
                                detail::rolling_of(window.last(last)) == rolling(count() - 1) &&
                                is_block(count() - 1, window.last(last), salted);
        std::size_t const literals_end = ends_alike ? window.size() - last : window.size();
        if (literals_end > anchor) {
            flush_run();
            writer.add(anchor, literals_end - anchor);
        }
        if (ends_alike) {
            std::uint64_t const from = length_ - last;
            if (run == 0 || run_from + run != from) {
                flush_run();
                run_from = from;
            }
            run += last;
        }
        flush_run();
    }

    static constexpr std::uint32_t none = 0xFFFFFFFF;
    signature_salt salt_{};
    std::uint64_t length_ = 0;
    std::size_t block_ = 256;
    bytes_view entries_{};
    unsigned shift_ = 24;
    std::vector<std::uint32_t> heads_;
    std::vector<std::uint32_t> next_;
    std::vector<std::uint64_t> filter_;
};

}  // namespace syncline::inline SYNCLINE_ABI
