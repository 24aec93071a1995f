// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Byte strings: owning `bytes`, borrowed `bytes_view`, and the few operations that everything here needs.

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/core/config.hpp>

namespace syncline::inline SYNCLINE_ABI {

using bytes = std::vector<std::byte>;
using bytes_view = std::span<std::byte const>;

/// The bytes of a text, borrowed.
[[nodiscard]] inline bytes_view as_bytes(std::string_view text) noexcept {
    return {reinterpret_cast<std::byte const*>(text.data()), text.size()};
}
/// Bytes seen as characters, borrowed; nothing is checked.
[[nodiscard]] inline std::string_view as_text(bytes_view b) noexcept {
    return {reinterpret_cast<char const*>(b.data()), b.size()};
}
[[nodiscard]] inline bytes to_bytes(bytes_view b) { return {b.begin(), b.end()}; }
[[nodiscard]] inline bytes to_bytes(std::string_view text) { return to_bytes(as_bytes(text)); }

/// Lexicographic order of unsigned bytes, a prefix before what it begins: the order of storage keys.
[[nodiscard]] inline std::strong_ordering compare(bytes_view a, bytes_view b) noexcept {
    std::size_t const n = (std::min)(a.size(), b.size());
    int const c = n == 0 ? 0 : std::memcmp(a.data(), b.data(), n);
    if (c != 0) { return c < 0 ? std::strong_ordering::less : std::strong_ordering::greater; }
    return a.size() <=> b.size();
}
[[nodiscard]] inline bool equal(bytes_view a, bytes_view b) noexcept {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}
[[nodiscard]] inline bool starts_with(bytes_view b, bytes_view prefix) noexcept {
    return b.size() >= prefix.size() && equal(b.first(prefix.size()), prefix);
}

inline void append(bytes& out, bytes_view more) { out.insert(out.end(), more.begin(), more.end()); }

/// Fixed-width big-endian, so that the order of bytes is the order of numbers.
inline void write_u64(std::byte* to, std::uint64_t n) noexcept {
    // Written out, so that a compiler sees one store.
    to[0] = static_cast<std::byte>(n >> 56);
    to[1] = static_cast<std::byte>(n >> 48 & 0xFFU);
    to[2] = static_cast<std::byte>(n >> 40 & 0xFFU);
    to[3] = static_cast<std::byte>(n >> 32 & 0xFFU);
    to[4] = static_cast<std::byte>(n >> 24 & 0xFFU);
    to[5] = static_cast<std::byte>(n >> 16 & 0xFFU);
    to[6] = static_cast<std::byte>(n >> 8 & 0xFFU);
    to[7] = static_cast<std::byte>(n & 0xFFU);
}
inline void append_u64(bytes& out, std::uint64_t n) {
    std::array<std::byte, 8> raw;
    write_u64(raw.data(), n);
    append(out, raw);
}
/// Reads the first eight bytes. Precondition: there are eight.
[[nodiscard]] inline std::uint64_t read_u64(bytes_view b) noexcept {
    SYNCLINE_ASSERT(b.size() >= 8);
    // Written out, so that a compiler sees one load.
    auto const at = [&](std::size_t i) { return std::to_integer<std::uint64_t>(b[i]); };
    return at(0) << 56 | at(1) << 48 | at(2) << 40 | at(3) << 32 | at(4) << 24 | at(5) << 16 | at(6) << 8 | at(7);
}

/// Lower-case hexadecimal, two characters a byte.
[[nodiscard]] inline std::string to_hex(bytes_view b) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    out.reserve(b.size() * 2);
    for (std::byte const x : b) {
        out.push_back(digits[std::to_integer<unsigned>(x >> 4)]);
        out.push_back(digits[std::to_integer<unsigned>(x & std::byte{15})]);
    }
    return out;
}

namespace detail {

/// Room for some bytes that are written before they are read: on the stack, where they are few.
template <std::size_t Near>
class scratch_room {
public:
    explicit scratch_room(std::size_t n) : size_(n) {
        if (n > Near) { far_.resize(n); }
    }
    scratch_room(scratch_room const&) = delete;
    scratch_room& operator=(scratch_room const&) = delete;
    operator std::span<std::byte>() noexcept { return {size_ > Near ? far_.data() : near_.data(), size_}; }

private:
    std::size_t size_;
    bytes far_{};
    std::array<std::byte, Near> near_;  // not initialised
};

/// Bytes that are appended a few at a time, many times: room is made ahead, so that an append is a copy.
class byte_tail {
public:
    /// Where the next `n` bytes may be written; `end` then says how far they were.
    [[nodiscard]] std::byte* room(std::size_t n) {
        if (held_.size() - size_ < n) { held_.resize((std::max)({size_ + n, 2 * held_.size(), std::size_t{128}})); }
        return held_.data() + size_;
    }
    void end(std::byte const* at) noexcept { size_ = static_cast<std::size_t>(at - held_.data()); }
    void append(bytes_view b) {
        std::byte* const to = room(b.size());
        if (!b.empty()) { std::memcpy(to, b.data(), b.size()); }
        size_ += b.size();
    }
    [[nodiscard]] bytes_view view() const noexcept { return {held_.data(), size_}; }

private:
    bytes held_{};  // longer than what was written
    std::size_t size_ = 0;
};

}  // namespace detail

}  // namespace syncline::inline SYNCLINE_ABI
