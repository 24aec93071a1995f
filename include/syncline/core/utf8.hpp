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

/// True when `text` is UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF.
///
/// The text isn't trusted. Cost: linear, eight bytes a step through ASCII; no allocation.
[[nodiscard]] constexpr bool valid_utf8(std::string_view text) noexcept {
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
