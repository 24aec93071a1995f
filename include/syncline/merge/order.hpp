// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The total order of values that the rules `minimum` and `maximum` go by.

#include <compare>
#include <cstdint>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {

/// A number as sign, integer part and fraction, so that integers and doubles compare exactly.
struct exact_number {
    bool nan = false;
    bool negative = false;
    bool infinite = false;
    std::uint64_t whole = 0;  ///< of the magnitude, saturated; `beyond` says that it didn't fit
    bool beyond = false;
    double rest = 0;  ///< the magnitude's fraction, or the magnitude itself when `beyond`
};

[[nodiscard]] inline exact_number exact(cbor_reader& in) {
    exact_number n;
    switch (in.peek()) {
        case cbor_type::unsigned_integer: n.whole = in.unsigned_integer(); return n;
        case cbor_type::negative_integer: {
            std::uint64_t const before_zero = cbor_read_any_head(in.skip()).number;  // of -1 - n the n: down to -2^64
            n.negative = true;
            n.whole = before_zero + 1;
            n.beyond = n.whole == 0;
            if (n.beyond) { n.rest = 18446744073709551616.0; }
            return n;
        }
        default: break;
    }
    double d = in.floating();
    n.nan = d != d;
    n.negative = d < 0;
    if (n.negative) { d = -d; }
    if (n.nan) { return n; }
    n.beyond = d >= 18446744073709551616.0;
    if (n.beyond) {
        n.rest = d;
        return n;
    }
    n.whole = static_cast<std::uint64_t>(d);
    n.rest = d - static_cast<double>(n.whole);
    return n;
}

[[nodiscard]] inline std::strong_ordering compare_exact(exact_number const& a, exact_number const& b) noexcept {
    if (a.nan || b.nan) { return a.nan <=> b.nan; }
    if (a.negative != b.negative) { return b.negative <=> a.negative; }
    auto magnitude = a.beyond <=> b.beyond;
    if (magnitude == 0) { magnitude = a.whole <=> b.whole; }
    if (magnitude == 0 && a.rest != b.rest) {
        magnitude = a.rest < b.rest ? std::strong_ordering::less : std::strong_ordering::greater;
    }
    return a.negative ? 0 <=> magnitude : magnitude;
}

[[nodiscard]] constexpr int value_class(cbor_type t) noexcept {
    switch (t) {
        case cbor_type::null: return 0;
        case cbor_type::boolean: return 1;
        case cbor_type::unsigned_integer:
        case cbor_type::negative_integer:
        case cbor_type::floating: return 2;
        case cbor_type::text: return 3;
        case cbor_type::byte_string: return 4;
        default: return 5;
    }
}

}  // namespace detail

/// Orders two canonical CBOR items: null, false, true, numbers by value (integers and doubles together,
/// exactly; NaN after all), texts and byte strings by content, then arrays and maps by encoded bytes.
/// Numerically equal items of different encodings (0.0 and -0.0, 1 and 1.0) are ordered by their bytes, so
/// that equality is that of the encoding. Cost: O(length), no allocation.
[[nodiscard]] inline std::strong_ordering compare_values(bytes_view a, bytes_view b) {
    cbor_reader in_a{a};
    cbor_reader in_b{b};
    int const class_a = detail::value_class(in_a.peek());
    int const class_b = detail::value_class(in_b.peek());
    if (class_a != class_b) { return class_a <=> class_b; }
    auto order = std::strong_ordering::equal;
    switch (class_a) {
        case 2: order = detail::compare_exact(detail::exact(in_a), detail::exact(in_b)); break;
        case 3: order = compare(as_bytes(in_a.text()), as_bytes(in_b.text())); break;
        case 4: order = compare(in_a.byte_string(), in_b.byte_string()); break;
        default: break;
    }
    return order != 0 ? order : compare(a, b);
}

}  // namespace syncline::inline SYNCLINE_ABI
