// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Content-defined chunking: cuts that stay where they are when something before them is inserted or removed.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/random.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Sizes of chunks, in bytes. Two ends find the same chunks only with the same options.
struct chunk_options {
    std::size_t min = std::size_t{16} << 10;      ///< no cut before it, but for the end; at least 64
    std::size_t average = std::size_t{32} << 10;  ///< about that; a power of two from 256 to 2^30
    std::size_t max = std::size_t{128} << 10;     ///< always a cut there
    unsigned normalisation = 2;  ///< bits by which cuts are rarer before the average and more frequent behind
    friend constexpr bool operator==(chunk_options const&, chunk_options const&) = default;
};
[[nodiscard]] constexpr bool valid(chunk_options const& o) noexcept {
    return o.min >= 64 && o.average >= 256 && o.average <= (std::size_t{1} << 30) && std::has_single_bit(o.average) &&
           o.min <= o.average && o.average <= o.max && o.normalisation <= 4;
}

namespace detail {

/// 256 numbers of `splitmix64` from the seed "Syncline" in ASCII. Part of the format: it decides where cuts are.
using gear_table_type = std::array<std::uint64_t, 256>;
[[nodiscard]] constexpr gear_table_type make_gear_table() noexcept {
    gear_table_type t{};
    splitmix64 words(0x53796E636C696E65);
    for (auto& w : t) { w = words(); }
    return t;
}
inline constexpr gear_table_type gear_table = make_gear_table();

/// The first place in (from, to] where the hash of what is before it falls below `limit`; 0 when there is none. `hash` goes
/// on from call to call.
[[nodiscard]] inline std::size_t gear_cut(std::byte const* p, std::size_t from, std::size_t to, std::uint64_t limit,
                                          std::uint64_t& hash) noexcept {
    auto const& gear = gear_table;
    std::uint64_t h = hash;
    std::size_t i = from;
    // Each step waits for the one before. Two runs side by side keep the processor busy: the second begins 64 bytes
    // early, which is all that its hash depends on.
    constexpr std::size_t run = 384;
    for (; to - i >= 2 * run; i += 2 * run) {
        std::byte const* const early = p + i + run - 64;
        std::byte const* const second = p + i + run;
        std::uint64_t ahead = 0;
        for (std::size_t k = 0; k < 64; ++k) { ahead = (ahead << 1) + gear[std::to_integer<std::size_t>(early[k])]; }
        std::size_t found = 0;
        for (std::size_t k = 0; k < run; ++k) {
            h = (h << 1) + gear[std::to_integer<std::size_t>(p[i + k])];
            ahead = (ahead << 1) + gear[std::to_integer<std::size_t>(second[k])];
            if (h < limit) { return i + k + 1; }
            if (ahead < limit && found == 0) { found = i + run + k + 1; }
        }
        if (found != 0) { return found; }
        h = ahead;
    }
    for (; i < to; ++i) {
        h = (h << 1) + gear[std::to_integer<std::size_t>(p[i])];
        if (h < limit) { return i + 1; }
    }
    hash = h;
    return 0;
}

}  // namespace detail

/// The length of the first chunk of `in`: 0 for nothing, at most `max`.
///
/// `in` is all that is left of the content, or at least its next `max` bytes: a cut depends on nothing behind `max` and
/// on nothing before `in`. The hash begins at the minimum; a byte's part has left it after 64 more.
/// Source: Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach", USENIX ATC 2016, with its
/// normalised chunking; the judgement here is on the upper bits, which hold the longest part of the window.
/// Cost: nothing for the bytes below the minimum, about a cycle for each behind; no allocation.
[[nodiscard]] inline std::size_t next_chunk(bytes_view in, chunk_options const& options = {}) noexcept {
    SYNCLINE_ASSERT(valid(options));
    if (in.size() <= options.min) { return in.size(); }
    std::size_t const end = in.size() < options.max ? in.size() : options.max;
    std::size_t const middle = end < options.average ? end : options.average;
    auto const bits = static_cast<unsigned>(std::bit_width(options.average) - 1);
    std::uint64_t hash = 0;
    std::uint64_t const rare = std::uint64_t{1} << (64 - bits - options.normalisation);
    if (std::size_t const cut = detail::gear_cut(in.data(), options.min, middle, rare, hash); cut != 0) { return cut; }
    std::uint64_t const frequent = std::uint64_t{1} << (64 - bits + options.normalisation);
    if (std::size_t const cut = detail::gear_cut(in.data(), middle, end, frequent, hash); cut != 0) { return cut; }
    return end;
}

}  // namespace syncline::inline SYNCLINE_ABI
