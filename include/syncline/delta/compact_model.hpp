// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The model by which compact deltas write literals: one prefix code for each class of context, fixed for ever.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>

namespace syncline::inline SYNCLINE_ABI::detail {

/// Classes of bytes: digit, lower case, other ASCII, the rest (which holds the heads of CBOR's items).
inline constexpr std::size_t compact_classes = 4;
inline constexpr std::array<std::uint8_t, 256> compact_class_table = [] {
    std::array<std::uint8_t, 256> t{};
    for (unsigned c = 0; c < 256; ++c) {
        t[c] = c >= '0' && c <= '9' ? 0 : c >= 'a' && c <= 'z' ? 1 : c >= 32 && c < 127 ? 2 : 3;
    }
    return t;
}();
[[nodiscard]] inline std::size_t compact_class(std::byte b) noexcept {
    return compact_class_table[std::to_integer<std::size_t>(b)];
}
/// A class of the byte that stands in the base where the literal goes, or of the byte before it.
inline constexpr std::size_t compact_contexts = 2 * compact_classes;

/// Bits of the longest code; escaped bytes take eight more.
inline constexpr unsigned compact_code_bits = 10;

/// The lengths of the codes: for each context the 256 bytes and the escape, a hexadecimal digit each; 0 is a byte that
/// has none and is written as the escape and itself.
/// Made by benchmarks/studies/delta_model.cpp of records that no measurement uses.
inline constexpr std::array<std::string_view, compact_contexts> compact_lengths{
    "000000000000000000000000000000008aaaaaaaaaaaaaaa3334444444aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa77777788888888889888888888aaaa0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000008",
    "000000000000000000000000080000005aaaaaaaaaaaaaaa6666666666aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa8946554566487565467454576878aaaa0000000000000000000000000000000000007000000000000000000000000000000000000000000000000000000000000000000000000000000000900000000007",
    "000000000000000000000000000000006aaa9a9aa9aa952a88888888882aaaaaaa88aaa8a8aaaaaaaa873a8aaaaaa9aaa68776778688776788777788888aaaa0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000006",
    "0665554555555679999999999899999979a9a9a99aa9aaaa8888888888aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa78786888788888788787888888a9aa00a07766667777899a09a9a0aaaaaaaaaaa9aa0aaaaaaa0a99aaaaaaa0aaa9aaaa9a9a9aa9a00aaaaaaa0aa9aaa990aa0aaa9aaaaaaaaaaaaaa9a64a9a9a9aaaa7",
    "0000000000000000000000000000000089899999999984594444545545499a9999999999999999999999599a996a9999966656688888888888888888888999a0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000009",
    "00000000000000000000000008000000496999999999999977777777779999999999999999999999999999999999999994655466548746556845467686899990000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000009000000000007",
    "000000000000000000000000000000009a4aaaaaaaaa4aaa34455577775aaaaaaaaaaaaaaaaaaaaaaaa9aaaaaaa9aaaaa445676776997667677759769995aaa0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000009",
    "775666656666566899980080589000988a99999999a9a8a98888888888888999a9a9998a999999999aa999aa999899989737865788888778788878878889a999009009000900908809900900908900009880000400909009090009090980099908000009000990008000009990099099000998980090000009099900999999905",
};

struct compact_code {
    std::uint16_t bits = 0;  ///< the first bit lowest
    std::uint8_t size = 0;
};
struct compact_symbol {
    std::uint8_t byte = 0;
    std::uint8_t size : 7 = 0;
    std::uint8_t escape : 1 = 0;
};
struct compact_tables {
    std::array<std::array<compact_code, 257>, compact_contexts> codes{};
    std::array<std::array<compact_symbol, std::size_t{1} << compact_code_bits>, compact_contexts> symbols{};
};

/// Canonical codes: by length, then by byte, the escape last.
[[nodiscard]] constexpr compact_tables make_compact_tables() noexcept {
    compact_tables t{};
    for (std::size_t context = 0; context < compact_contexts; ++context) {
        std::uint32_t next = 0;
        for (unsigned size = 1; size <= compact_code_bits; ++size, next <<= 1) {
            for (unsigned s = 0; s <= 256; ++s) {
                char const digit = compact_lengths[context][s];
                if (static_cast<unsigned>(digit <= '9' ? digit - '0' : digit - 'a' + 10) != size) { continue; }
                std::uint32_t reversed = 0;
                for (unsigned i = 0; i < size; ++i) { reversed |= ((next >> i) & 1) << (size - 1 - i); }
                ++next;
                t.codes[context][s] = {static_cast<std::uint16_t>(reversed), static_cast<std::uint8_t>(size)};
                for (std::uint32_t k = reversed; k < 1U << compact_code_bits; k += 1U << size) {
                    auto& symbol = t.symbols[context][k];
                    symbol.byte = static_cast<std::uint8_t>(s & 255);
                    symbol.size = static_cast<std::uint8_t>(size & 127);
                    symbol.escape = s == 256;
                }
            }
        }
    }
    return t;
}
inline constexpr compact_tables compact_codes = make_compact_tables();

/// Writes codes, from the lowest bit up.
class compact_bits_writer {
public:
    /// Bytes that `n` literals take at most, and that may be written beyond them.
    [[nodiscard]] static constexpr std::size_t room_for(std::size_t n) noexcept {
        return n * (compact_code_bits + 8) / 8 + 16;
    }

    explicit compact_bits_writer(std::byte* to) noexcept : to_(to) {}

    void put(std::size_t context, std::byte b) noexcept {
        auto const& codes = compact_codes.codes[context];
        auto const raw = std::to_integer<std::size_t>(b);
        compact_code const code = codes[raw];
        if (code.size != 0) {
            put_bits(code.bits, code.size);
        } else {
            put_bits(codes[256].bits, codes[256].size);
            put_bits(raw, 8);
        }
    }
    /// Behind the last byte.
    [[nodiscard]] std::byte* end() noexcept {
        store_little64(to_, held_);
        return to_ + (used_ + 7) / 8;
    }

private:
    void put_bits(std::uint64_t bits, unsigned n) noexcept {
        held_ |= bits << used_;
        used_ += n;
        if (used_ < 32) { return; }
        store_little64(to_, held_);
        to_ += 4;
        held_ >>= 32;
        used_ -= 32;
    }
    static void store_little64(std::byte* p, std::uint64_t n) noexcept {
        if constexpr (std::endian::native == std::endian::big) { n = reverse_bytes(n); }
        std::memcpy(p, &n, sizeof n);
    }

    std::byte* to_;
    std::uint64_t held_ = 0;
    unsigned used_ = 0;
};

/// Reads them. Behind the end are zeros: whether it was passed is known by `ended_well()`.
class compact_bits_reader {
public:
    explicit compact_bits_reader(bytes_view in) noexcept : in_(in) {}

    [[nodiscard]] std::byte take(std::size_t context) noexcept {
        while (held_ <= 56) {
            if (at_ < in_.size()) { window_ |= std::to_integer<std::uint64_t>(in_[at_]) << held_; }
            ++at_;
            held_ += 8;
        }
        auto const& s = compact_codes.symbols[context][window_ & ((1U << compact_code_bits) - 1)];
        drop(s.size);
        if (s.escape == 0) { return static_cast<std::byte>(s.byte); }
        auto const b = static_cast<std::byte>(window_ & 0xFF);
        drop(8);
        // One way to write each: what has a code is not escaped.
        escaped_in_vain_ = escaped_in_vain_ || compact_codes.codes[context][std::to_integer<std::size_t>(b)].size != 0;
        return b;
    }
    /// All bytes were used, and what is left of the last is zeros.
    [[nodiscard]] bool ended_well() const noexcept {
        std::size_t const bits = at_ * 8 - held_;
        return !escaped_in_vain_ && (bits + 7) / 8 == in_.size() && window_ == 0;
    }

private:
    void drop(unsigned n) noexcept {
        window_ >>= n;
        held_ -= n;
    }

    bytes_view in_;
    std::uint64_t window_ = 0;
    std::size_t at_ = 0;
    unsigned held_ = 0;
    bool escaped_in_vain_ = false;
};

}  // namespace syncline::inline SYNCLINE_ABI::detail
