// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Arithmetic on lengths and counters that says when it does not fit, and the variable-length integer.

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Unsigned integers of at least `int`'s width, so that nothing is promoted to a signed type on the way.
template <class T>
concept counting = std::unsigned_integral<T> && !std::same_as<T, bool> && sizeof(T) >= sizeof(unsigned);

/// a + b, or nothing when it leaves the range.
template <counting T>
[[nodiscard]] constexpr std::optional<T> checked_add(T a, std::type_identity_t<T> b) noexcept {
    if (b > (std::numeric_limits<T>::max)() - a) { return std::nullopt; }
    return a + b;
}
/// a - b, or nothing when it leaves the range.
template <counting T>
[[nodiscard]] constexpr std::optional<T> checked_subtract(T a, std::type_identity_t<T> b) noexcept {
    if (b > a) { return std::nullopt; }
    return a - b;
}
/// a * b, or nothing when it leaves the range.
template <counting T>
[[nodiscard]] constexpr std::optional<T> checked_multiply(T a, std::type_identity_t<T> b) noexcept {
    if (b != 0 && a > (std::numeric_limits<T>::max)() / b) { return std::nullopt; }
    return a * b;
}
/// a + b, or the largest value when it leaves the range.
template <counting T>
[[nodiscard]] constexpr T saturating_add(T a, std::type_identity_t<T> b) noexcept {
    return checked_add(a, b).value_or((std::numeric_limits<T>::max)());
}

/// a + b, or nothing when it leaves the range.
[[nodiscard]] constexpr std::optional<std::int64_t> checked_add(std::int64_t a, std::int64_t b) noexcept {
    constexpr auto least = (std::numeric_limits<std::int64_t>::min)();
    constexpr auto most = (std::numeric_limits<std::int64_t>::max)();
    if (b > 0 ? a > most - b : a < least - b) { return std::nullopt; }
    return a + b;
}
/// a - b, or nothing when it leaves the range.
[[nodiscard]] constexpr std::optional<std::int64_t> checked_subtract(std::int64_t a, std::int64_t b) noexcept {
    constexpr auto least = (std::numeric_limits<std::int64_t>::min)();
    constexpr auto most = (std::numeric_limits<std::int64_t>::max)();
    if (b > 0 ? a < least + b : a > most + b) { return std::nullopt; }
    return a - b;
}

/// The same number as another integer type, or nothing when that type can't hold it.
template <std::integral To, std::integral From>
[[nodiscard]] constexpr std::optional<To> checked_narrow(From n) noexcept {
    auto const m = static_cast<To>(n);
    if (static_cast<From>(m) != n || (m < To{}) != (n < From{})) { return std::nullopt; }
    return m;
}

/// The 128 bits of a product.
struct wide_product {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend constexpr bool operator==(wide_product const&, wide_product const&) = default;
};
/// a * b in full.
[[nodiscard]] constexpr wide_product multiply_wide(std::uint64_t a, std::uint64_t b) noexcept {
#if defined(__SIZEOF_INT128__)
    __extension__ using wide = unsigned __int128;
    wide const p = static_cast<wide>(a) * b;
    return {static_cast<std::uint64_t>(p >> 64), static_cast<std::uint64_t>(p)};
#else
    std::uint64_t const a0 = a & 0xFFFFFFFF, a1 = a >> 32, b0 = b & 0xFFFFFFFF, b1 = b >> 32;
    std::uint64_t const low = a0 * b0, mid = a1 * b0 + (low >> 32), cross = a0 * b1 + (mid & 0xFFFFFFFF);
    return {a1 * b1 + (mid >> 32) + (cross >> 32), (cross << 32) | (low & 0xFFFFFFFF)};
#endif
}

/// Bytes that the longest variable-length integer takes.
inline constexpr std::size_t varint_bytes_max = 10;

/// How many bytes `append_varint` writes: 1 to 10.
[[nodiscard]] constexpr std::size_t varint_size(std::uint64_t n) noexcept {
    std::size_t size = 1;
    for (; n >= 0x80; n >>= 7) { ++size; }
    return size;
}

/// Appends `n` as unsigned LEB128: seven bits a byte, lowest first, the top bit set on all but the last.
inline void append_varint(bytes& out, std::uint64_t n) {
    for (; n >= 0x80; n >>= 7) { out.push_back(static_cast<std::byte>(n | 0x80)); }
    out.push_back(static_cast<std::byte>(n));
}

/// Reads a variable-length integer from the front of `in` and takes it off.
///
/// Errors, `in` untouched: `malformed` when it ends too early or exceeds 64 bits, `not_deterministic` when
/// it is longer than it need be (so that each number has one encoding).
/// Cost: O(1), at most ten bytes are looked at.
[[nodiscard]] inline result<std::uint64_t> take_varint(bytes_view& in) noexcept {
    std::uint64_t n = 0;
    for (std::size_t i = 0; i < varint_bytes_max; ++i) {
        if (i == in.size()) { return failure(errc::malformed, "variable-length integer ends too early"); }
        auto const b = std::to_integer<std::uint64_t>(in[i]);
        if (i == varint_bytes_max - 1 && b > 1) { break; }
        n |= (b & 0x7F) << (7 * i);
        if (b < 0x80) {
            if (b == 0 && i > 0) { return failure(errc::not_deterministic, "variable-length integer is padded"); }
            in = in.subspan(i + 1);
            return n;
        }
    }
    return failure(errc::malformed, "variable-length integer exceeds 64 bits");
}

/// Signed numbers as unsigned ones, the small ones first: 0, -1, 1, -2, ... `unzigzag` is its inverse.
[[nodiscard]] constexpr std::uint64_t zigzag(std::int64_t n) noexcept {
    return (static_cast<std::uint64_t>(n) << 1) ^ (n < 0 ? ~std::uint64_t{0} : 0);
}
[[nodiscard]] constexpr std::int64_t unzigzag(std::uint64_t n) noexcept {
    return static_cast<std::int64_t>((n >> 1) ^ (0 - (n & 1)));
}

/// The largest integer whose square is not above `n`. Cost: a few divisions.
[[nodiscard]] constexpr std::uint64_t integer_root(std::uint64_t n) noexcept {
    if (n == 0) { return 0; }
    std::uint64_t x = std::uint64_t{1} << ((static_cast<unsigned>(std::bit_width(n)) + 1) / 2);
    for (;;) {
        std::uint64_t const y = (x + n / x) / 2;
        if (y >= x) { return x; }
        x = y;
    }
}

}  // namespace syncline::inline SYNCLINE_ABI
