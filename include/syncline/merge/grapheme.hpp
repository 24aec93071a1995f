// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Where a text in UTF-8 may be cut: between what people see as characters; and its places in UTF-16.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <syncline/core/config.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {

struct code_point_range {
    std::uint32_t first, last;
};

/// What never begins a character: Grapheme_Extend, spacing marks, joiners, skin tones (Unicode 17). Code points that
/// are not assigned yet and lie between such ones count too.
inline constexpr std::array<code_point_range, 267> continuing_code_points{{
    {0x300, 0x36F},     {0x483, 0x489},     {0x591, 0x5BD},     {0x5BF, 0x5BF},     {0x5C1, 0x5C2},
    {0x5C4, 0x5C5},     {0x5C7, 0x5C7},     {0x610, 0x61A},     {0x64B, 0x65F},     {0x670, 0x670},
    {0x6D6, 0x6DC},     {0x6DF, 0x6E4},     {0x6E7, 0x6E8},     {0x6EA, 0x6ED},     {0x711, 0x711},
    {0x730, 0x74A},     {0x7A6, 0x7B0},     {0x7EB, 0x7F3},     {0x7FD, 0x7FD},     {0x816, 0x819},
    {0x81B, 0x823},     {0x825, 0x827},     {0x829, 0x82D},     {0x859, 0x85B},     {0x897, 0x89F},
    {0x8CA, 0x8E1},     {0x8E3, 0x903},     {0x93A, 0x93C},     {0x93E, 0x94F},     {0x951, 0x957},
    {0x962, 0x963},     {0x981, 0x983},     {0x9BC, 0x9BC},     {0x9BE, 0x9CD},     {0x9D7, 0x9D7},
    {0x9E2, 0x9E3},     {0x9FE, 0xA03},     {0xA3C, 0xA51},     {0xA70, 0xA71},     {0xA75, 0xA75},
    {0xA81, 0xA83},     {0xABC, 0xABC},     {0xABE, 0xACD},     {0xAE2, 0xAE3},     {0xAFA, 0xB03},
    {0xB3C, 0xB3C},     {0xB3E, 0xB57},     {0xB62, 0xB63},     {0xB82, 0xB82},     {0xBBE, 0xBCD},
    {0xBD7, 0xBD7},     {0xC00, 0xC04},     {0xC3C, 0xC3C},     {0xC3E, 0xC56},     {0xC62, 0xC63},
    {0xC81, 0xC83},     {0xCBC, 0xCBC},     {0xCBE, 0xCD6},     {0xCE2, 0xCE3},     {0xCF3, 0xD03},
    {0xD3B, 0xD3C},     {0xD3E, 0xD4D},     {0xD57, 0xD57},     {0xD62, 0xD63},     {0xD81, 0xD83},
    {0xDCA, 0xDDF},     {0xDF2, 0xDF3},     {0xE31, 0xE31},     {0xE33, 0xE3A},     {0xE47, 0xE4E},
    {0xEB1, 0xEB1},     {0xEB3, 0xEBC},     {0xEC8, 0xECE},     {0xF18, 0xF19},     {0xF35, 0xF35},
    {0xF37, 0xF37},     {0xF39, 0xF39},     {0xF3E, 0xF3F},     {0xF71, 0xF84},     {0xF86, 0xF87},
    {0xF8D, 0xFBC},     {0xFC6, 0xFC6},     {0x102B, 0x103E},   {0x1056, 0x1059},   {0x105E, 0x1060},
    {0x1062, 0x1064},   {0x1067, 0x106D},   {0x1071, 0x1074},   {0x1082, 0x108D},   {0x108F, 0x108F},
    {0x109A, 0x109D},   {0x135D, 0x135F},   {0x1712, 0x1715},   {0x1732, 0x1734},   {0x1752, 0x1753},
    {0x1772, 0x1773},   {0x17B4, 0x17D3},   {0x17DD, 0x17DD},   {0x180B, 0x180D},   {0x180F, 0x180F},
    {0x1885, 0x1886},   {0x18A9, 0x18A9},   {0x1920, 0x193B},   {0x1A17, 0x1A1B},   {0x1A55, 0x1A7F},
    {0x1AB0, 0x1B04},   {0x1B34, 0x1B44},   {0x1B6B, 0x1B73},   {0x1B80, 0x1B82},   {0x1BA1, 0x1BAD},
    {0x1BE6, 0x1BF3},   {0x1C24, 0x1C37},   {0x1CD0, 0x1CD2},   {0x1CD4, 0x1CE8},   {0x1CED, 0x1CED},
    {0x1CF4, 0x1CF4},   {0x1CF7, 0x1CF9},   {0x1DC0, 0x1DFF},   {0x200C, 0x200D},   {0x20D0, 0x20F0},
    {0x2CEF, 0x2CF1},   {0x2D7F, 0x2D7F},   {0x2DE0, 0x2DFF},   {0x302A, 0x302F},   {0x3099, 0x309A},
    {0xA66F, 0xA672},   {0xA674, 0xA67D},   {0xA69E, 0xA69F},   {0xA6F0, 0xA6F1},   {0xA802, 0xA802},
    {0xA806, 0xA806},   {0xA80B, 0xA80B},   {0xA823, 0xA827},   {0xA82C, 0xA82C},   {0xA880, 0xA881},
    {0xA8B4, 0xA8C5},   {0xA8E0, 0xA8F1},   {0xA8FF, 0xA8FF},   {0xA926, 0xA92D},   {0xA947, 0xA953},
    {0xA980, 0xA983},   {0xA9B3, 0xA9C0},   {0xA9E5, 0xA9E5},   {0xAA29, 0xAA36},   {0xAA43, 0xAA43},
    {0xAA4C, 0xAA4D},   {0xAA7B, 0xAA7D},   {0xAAB0, 0xAAB0},   {0xAAB2, 0xAAB4},   {0xAAB7, 0xAAB8},
    {0xAABE, 0xAABF},   {0xAAC1, 0xAAC1},   {0xAAEB, 0xAAEF},   {0xAAF5, 0xAAF6},   {0xABE3, 0xABEA},
    {0xABEC, 0xABED},   {0xFB1E, 0xFB1E},   {0xFE00, 0xFE0F},   {0xFE20, 0xFE2F},   {0xFF9E, 0xFF9F},
    {0x101FD, 0x101FD}, {0x102E0, 0x102E0}, {0x10376, 0x1037A}, {0x10A01, 0x10A0F}, {0x10A38, 0x10A3F},
    {0x10AE5, 0x10AE6}, {0x10D24, 0x10D27}, {0x10D69, 0x10D6D}, {0x10EAB, 0x10EAC}, {0x10EFA, 0x10EFF},
    {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11000, 0x11002}, {0x11038, 0x11046}, {0x11070, 0x11070},
    {0x11073, 0x11074}, {0x1107F, 0x11082}, {0x110B0, 0x110BA}, {0x110C2, 0x110C2}, {0x11100, 0x11102},
    {0x11127, 0x11134}, {0x11145, 0x11146}, {0x11173, 0x11173}, {0x11180, 0x11182}, {0x111B3, 0x111C0},
    {0x111C9, 0x111CC}, {0x111CE, 0x111CF}, {0x1122C, 0x11237}, {0x1123E, 0x1123E}, {0x11241, 0x11241},
    {0x112DF, 0x112EA}, {0x11300, 0x11303}, {0x1133B, 0x1133C}, {0x1133E, 0x1134D}, {0x11357, 0x11357},
    {0x11362, 0x11374}, {0x113B8, 0x113D0}, {0x113D2, 0x113D2}, {0x113E1, 0x113E2}, {0x11435, 0x11446},
    {0x1145E, 0x1145E}, {0x114B0, 0x114C3}, {0x115AF, 0x115C0}, {0x115DC, 0x115DD}, {0x11630, 0x11640},
    {0x116AB, 0x116B7}, {0x1171D, 0x1172B}, {0x1182C, 0x1183A}, {0x11930, 0x1193E}, {0x11940, 0x11940},
    {0x11942, 0x11943}, {0x119D1, 0x119E0}, {0x119E4, 0x119E4}, {0x11A01, 0x11A0A}, {0x11A33, 0x11A39},
    {0x11A3B, 0x11A3E}, {0x11A47, 0x11A47}, {0x11A51, 0x11A5B}, {0x11A8A, 0x11A99}, {0x11B60, 0x11B67},
    {0x11C2F, 0x11C3F}, {0x11C92, 0x11CB6}, {0x11D31, 0x11D45}, {0x11D47, 0x11D47}, {0x11D8A, 0x11D97},
    {0x11EF3, 0x11EF6}, {0x11F00, 0x11F01}, {0x11F03, 0x11F03}, {0x11F34, 0x11F42}, {0x11F5A, 0x11F5A},
    {0x13440, 0x13440}, {0x13447, 0x13455}, {0x1611E, 0x1612F}, {0x16AF0, 0x16AF4}, {0x16B30, 0x16B36},
    {0x16F4F, 0x16F4F}, {0x16F51, 0x16F92}, {0x16FE4, 0x16FF1}, {0x1BC9D, 0x1BC9E}, {0x1CF00, 0x1CF46},
    {0x1D165, 0x1D169}, {0x1D16D, 0x1D172}, {0x1D17B, 0x1D182}, {0x1D185, 0x1D18B}, {0x1D1AA, 0x1D1AD},
    {0x1D242, 0x1D244}, {0x1DA00, 0x1DA36}, {0x1DA3B, 0x1DA6C}, {0x1DA75, 0x1DA75}, {0x1DA84, 0x1DA84},
    {0x1DA9B, 0x1DAAF}, {0x1E000, 0x1E02A}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}, {0x1E5EE, 0x1E5EF}, {0x1E6E3, 0x1E6E3}, {0x1E6E6, 0x1E6E6},
    {0x1E6EE, 0x1E6EF}, {0x1E6F5, 0x1E6F5}, {0x1E8D0, 0x1E8D6}, {0x1E944, 0x1E94A}, {0x1F3FB, 0x1F3FF},
    {0xE0020, 0xE007F}, {0xE0100, 0xE01EF},
}};

[[nodiscard]] constexpr bool continues_character(std::uint32_t c) noexcept {
    if (c < continuing_code_points.front().first) { return false; }
    std::size_t low = 0;
    std::size_t high = continuing_code_points.size();
    while (low != high) {
        std::size_t const mid = (low + high) / 2;
        if (continuing_code_points[mid].last < c) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low != continuing_code_points.size() && continuing_code_points[low].first <= c;
}

/// Signs that belong to what follows them: of numbers, and repha and prefixed letters of Indic scripts.
[[nodiscard]] constexpr bool precedes_character(std::uint32_t c) noexcept {
    return (c >= 0x600 && c <= 0x605) || c == 0x6DD || c == 0x70F || c == 0x890 || c == 0x891 || c == 0x8E2 ||
           c == 0xD4E || c == 0x110BD || c == 0x110CD || c == 0x111C2 || c == 0x111C3 || c == 0x113D1 || c == 0x1193F ||
           c == 0x11941 || (c >= 0x11A84 && c <= 0x11A89) || c == 0x11D46 || c == 0x11F02;
}

/// The kinds of Hangul: leading consonant, vowel, trailing consonant, syllable without and with one.
enum class hangul : std::uint8_t { none, leading, vowel, trailing, open, closed };
[[nodiscard]] constexpr hangul hangul_of(std::uint32_t c) noexcept {
    if (c < 0x1100 || c > 0xD7FB) { return hangul::none; }
    if ((c >= 0x1100 && c <= 0x115F) || (c >= 0xA960 && c <= 0xA97C)) { return hangul::leading; }
    if ((c >= 0x1160 && c <= 0x11A7) || (c >= 0xD7B0 && c <= 0xD7C6)) { return hangul::vowel; }
    if ((c >= 0x11A8 && c <= 0x11FF) || c >= 0xD7CB) { return hangul::trailing; }
    if (c >= 0xAC00 && c <= 0xD7A3) { return (c - 0xAC00) % 28 == 0 ? hangul::open : hangul::closed; }
    return hangul::none;
}
[[nodiscard]] constexpr bool joins_hangul(hangul a, hangul b) noexcept {
    switch (a) {
        case hangul::leading: return b != hangul::none && b != hangul::trailing;
        case hangul::vowel:
        case hangul::open: return b == hangul::vowel || b == hangul::trailing;
        case hangul::trailing:
        case hangul::closed: return b == hangul::trailing;
        case hangul::none: break;
    }
    return false;
}
[[nodiscard]] constexpr bool is_control(std::uint32_t c) noexcept {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x61C || c == 0x200B || c == 0x200E ||
           c == 0x200F || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
           (c >= 0xFFF0 && c <= 0xFFFB);
}
/// The signs that bind an Indic consonant to the next one.
[[nodiscard]] constexpr bool is_linker(std::uint32_t c) noexcept {
    return c == 0x94D || c == 0x9CD || c == 0xACD || c == 0xB4D || c == 0xC4D || c == 0xD4D;
}

/// The code point at `at` and how many bytes it has. Precondition: valid UTF-8, not at the end.
struct decoded_code_point {
    std::uint32_t value;
    std::size_t size;
};
[[nodiscard]] constexpr decoded_code_point code_point_at(std::string_view text, std::size_t at) noexcept {
    auto const byte = [&](std::size_t k) {
        return at + k < text.size() ? static_cast<std::uint32_t>(static_cast<unsigned char>(text[at + k])) : 0U;
    };
    std::uint32_t const lead = byte(0);
    if (lead < 0xC0) { return {lead, 1}; }
    if (lead < 0xE0) { return {((lead & 0x1FU) << 6) | (byte(1) & 0x3FU), 2}; }
    if (lead < 0xF0) { return {((lead & 0x0FU) << 12) | ((byte(1) & 0x3FU) << 6) | (byte(2) & 0x3FU), 3}; }
    return {((lead & 0x07U) << 18) | ((byte(1) & 0x3FU) << 12) | ((byte(2) & 0x3FU) << 6) | (byte(3) & 0x3FU), 4};
}

}  // namespace detail

/// Where the character, as people see it, that begins at `at` ends: an extended grapheme cluster, or a little more. It
/// joins whatever follows a zero-width joiner, and letters of one Indic script around a sign that links them; so it
/// never cuts a cluster of UAX #29, and may keep two together.
///
/// Precondition: `text` is valid UTF-8, `at` a place in it before the end, where a character begins. Cost: O(its length).
/// Source: UAX #29, Unicode 17, rules GB3 to GB13.
[[nodiscard]] constexpr std::size_t next_character(std::string_view text, std::size_t at) noexcept {
    // ASCII but CR, before ASCII: nothing there joins.
    auto const plain = [&](std::size_t k) { return static_cast<unsigned char>(text[k]) < 0x80; };
    if (plain(at) && text[at] != '\r' && (at + 1 == text.size() || plain(at + 1))) { return at + 1; }

    auto before = detail::code_point_at(text, at);
    std::size_t next = at + before.size;
    bool const flag = before.value >= 0x1F1E6 && before.value <= 0x1F1FF;
    std::size_t flags = flag ? 1 : 0;
    std::uint32_t linker = 0;
    while (next < text.size()) {
        auto const c = detail::code_point_at(text, next);
        if (before.value == '\r' && c.value == '\n') { return next + 1; }
        if (detail::is_control(before.value) || detail::is_control(c.value)) { break; }
        bool const is_flag = c.value >= 0x1F1E6 && c.value <= 0x1F1FF;
        bool const linked = linker != 0 && (c.value & ~0x7FU) == (linker & ~0x7FU);
        bool const joins = detail::continues_character(c.value) || before.value == 0x200D || linked ||
                           detail::precedes_character(before.value) ||
                           detail::joins_hangul(detail::hangul_of(before.value), detail::hangul_of(c.value)) ||
                           (is_flag && flags == 1 && before.value >= 0x1F1E6 && before.value <= 0x1F1FF);
        if (!joins) { break; }
        flags = is_flag ? flags + 1 : 0;
        if (detail::is_linker(c.value)) {
            linker = c.value;
        } else if (!detail::continues_character(c.value)) {
            linker = 0;
        }
        before = c;
        next += c.size;
    }
    return next < text.size() ? next : text.size();
}

/// How many units of UTF-16 the first `at` bytes of `text` are. Precondition: valid UTF-8; `at` is between two code
/// points, or else counts as the next such place. Cost: O(at).
[[nodiscard]] constexpr std::size_t utf16_offset(std::string_view text, std::size_t at) noexcept {
    std::size_t units = 0;
    for (std::size_t i = 0; i < at && i < text.size(); ++i) {
        auto const c = static_cast<unsigned char>(text[i]);
        units += (c & 0xC0U) == 0x80U ? 0U : c >= 0xF0U ? 2U : 1U;
    }
    return units;
}
/// The byte at which the UTF-16 unit `units` of `text` begins; inside of a surrogate pair, where that pair begins; past
/// the end, the end. Precondition: valid UTF-8. Cost: O(result).
[[nodiscard]] constexpr std::size_t utf8_offset(std::string_view text, std::size_t units) noexcept {
    std::size_t i = 0;
    while (i < text.size()) {
        auto const c = static_cast<unsigned char>(text[i]);
        std::size_t const wide = c >= 0xF0U ? 2 : 1;
        if (units < wide) { break; }
        units -= wide;
        std::size_t const size = c < 0x80U ? 1 : c < 0xE0U ? 2 : c < 0xF0U ? 3 : 4;
        i += size;
    }
    return i < text.size() ? i : text.size();
}

}  // namespace syncline::inline SYNCLINE_ABI
