// SPDX-License-Identifier: BSL-1.0
#pragma once

/// How many differences there are, from a few bytes of a few cells far down a sketch.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/reconcile/sketch.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Cells that are looked at of each octave [2^k, 2^(k + 1)) of a sketch, and the first octave.
inline constexpr std::size_t probes_per_octave = 8;
inline constexpr std::size_t probe_first_octave = 4;

/// How many probes a sketch of so many cells has: of the octaves whose first eight cells it holds.
[[nodiscard]] constexpr std::size_t probe_count(std::size_t cells) noexcept {
    std::size_t n = 0;
    for (std::size_t k = probe_first_octave; k < 16 && (std::size_t{1} << k) + probes_per_octave <= cells; ++k) {
        n += probes_per_octave;
    }
    return n;
}
/// The cell of the n-th probe. Neighbours, so that an octave costs a page of storage.
[[nodiscard]] constexpr std::size_t probe_at(std::size_t n) noexcept {
    return (std::size_t{1} << (probe_first_octave + n / probes_per_octave)) + n % probes_per_octave;
}
/// Sixteen bits that tell whether two cells are equal, but for one time in 65,536.
[[nodiscard]] constexpr std::uint16_t probe_of(sketch_cell const& c) noexcept {
    std::uint64_t const mixed = (c.check + static_cast<std::uint64_t>(c.count)) * 0x9E3779B97F4A7C15;
    return static_cast<std::uint16_t>(mixed >> 48);
}

/// How many cells it takes, with room for a half more, when `equal` of `probes` cells are equal at both ends.
///
/// A cell i is equal with a chance of exp(-2 d / i) at d differences. So twice the differences take away the equal
/// cells of one octave: of eight a octave, `equal` are at log2 2 d = K - depth, K the last octave, where depth is
/// equal / 8 + 0.33 (Euler and Maclaurin's sum) but for the last few octaves, which are cut off: those are a table of
/// 8 depth. The deviation is about a third of d. Nothing when no cell is equal: more than the sketch can find; or when
/// all are: fewer than a handful.
[[nodiscard]] constexpr std::optional<std::size_t> estimated_cells(std::size_t equal, std::size_t probes) noexcept {
    if (equal == 0 || equal >= probes) { return std::nullopt; }
    constexpr std::array<std::int32_t, 24> depths{-9, -5, -3, 0,  2,  3,  5,  7,  8,  9,  11, 12,
                                                  13, 14, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26};
    constexpr std::array<std::uint32_t, 8> powers{65'536, 71'468, 77'936, 84'990, 92'682, 101'070, 110'218, 120'194};
    auto const last = static_cast<std::int32_t>(probe_first_octave + probes / probes_per_octave - 1);
    std::int32_t const depth = equal <= depths.size() ? depths[equal - 1] : static_cast<std::int32_t>(equal) + 3;
    std::int32_t const eighths = 8 * last - depth - 8 + 5;  // 8 log2 1.5 = 4.7
    if (eighths < 0) { return std::size_t{1}; }
    auto const e = static_cast<std::uint32_t>(eighths);
    return static_cast<std::size_t>((std::uint64_t{powers[e % 8]} << (e / 8)) >> 16);
}

}  // namespace syncline::inline SYNCLINE_ABI
