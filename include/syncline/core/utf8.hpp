// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Whether a text is valid UTF-8.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include <syncline/core/config.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {

/// Whether no byte has its high bit set. Words that overlap at the end take the place of a loop over single bytes.
[[nodiscard]] inline bool all_ascii(std::string_view text) noexcept {
    constexpr std::uint64_t high_bits = 0x8080808080808080U;
    char const* const p = text.data();
    std::size_t const size = text.size();
    auto const word = [&](std::size_t at) {
        std::uint64_t w = 0;
        std::memcpy(&w, p + at, 8);
        return w;
    };
    auto const half_word = [&](std::size_t at) {
        std::uint32_t w = 0;
        std::memcpy(&w, p + at, 4);
        return w;
    };
    if (size >= 8) {
        std::size_t i = 0;
        for (; size - i >= 32; i += 32) {
            if (((word(i) | word(i + 8) | word(i + 16) | word(i + 24)) & high_bits) != 0) { return false; }
        }
        std::uint64_t seen = word(size - 8);
        for (; size - i >= 8; i += 8) { seen |= word(i); }
        return (seen & high_bits) == 0;
    }
    if (size >= 4) { return ((half_word(0) | half_word(size - 4)) & 0x80808080U) == 0; }
    if (size == 0) { return true; }
    auto const at = [&](std::size_t k) { return static_cast<unsigned>(static_cast<unsigned char>(p[k])); };
    return ((at(0) | at(size / 2) | at(size - 1)) & 0x80U) == 0;
}

}  // namespace detail

/// True when `text` is UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF.
///
/// The text isn't trusted. Cost: linear, eight bytes a step through ASCII; no allocation.
[[nodiscard]] constexpr bool valid_utf8(std::string_view text) noexcept {
    if (!std::is_constant_evaluated() && detail::all_ascii(text)) { return true; }
    std::size_t const size = text.size();
    std::size_t i = 0;
    auto const at = [&](std::size_t k) { return static_cast<unsigned>(static_cast<unsigned char>(text[k])); };
    auto const continues = [&](std::size_t k) { return (at(k) & 0xC0U) == 0x80U; };
    while (i < size) {
        if (!std::is_constant_evaluated()) {
            while (size - i >= 8) {
                std::uint64_t eight = 0;
                std::memcpy(&eight, text.data() + i, 8);
                if ((eight & 0x8080808080808080U) != 0) { break; }
                i += 8;
            }
            if (i == size) { break; }
        }
        unsigned const lead = at(i);
        std::size_t const left = size - i;
        if (lead < 0x80) {
            i += 1;
        } else if (lead < 0xC2) {
            return false;  // a continuation byte without its lead, or an overlong form of ASCII
        } else if (lead < 0xE0) {
            if (left < 2 || !continues(i + 1)) { return false; }
            i += 2;
        } else if (lead < 0xF0) {
            if (left < 3 || !continues(i + 1) || !continues(i + 2)) { return false; }
            if (lead == 0xE0 && at(i + 1) < 0xA0) { return false; }   // overlong
            if (lead == 0xED && at(i + 1) >= 0xA0) { return false; }  // surrogate
            i += 3;
        } else if (lead < 0xF5) {
            if (left < 4 || !continues(i + 1) || !continues(i + 2) || !continues(i + 3)) { return false; }
            if (lead == 0xF0 && at(i + 1) < 0x90) { return false; }   // overlong
            if (lead == 0xF4 && at(i + 1) >= 0x90) { return false; }  // above U+10FFFF
            i += 4;
        } else {
            return false;
        }
    }
    return true;
}

}  // namespace syncline::inline SYNCLINE_ABI
