// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Bases and targets to make deltas of: noise, text, repetition, and edits of all kinds.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <utility>

#include <syncline/core/bytes.hpp>
#include <syncline/core/random.hpp>

namespace delta_tests {

using syncline::append;
using syncline::below;
using syncline::bytes;
using syncline::bytes_view;
using syncline::random_generator;

/// How often a random test goes round: a few times by default, as often as SYNCLINE_TEST_DELTA_ROUNDS says.
inline unsigned rounds(unsigned usually) {
    char const* const wanted = std::getenv("SYNCLINE_TEST_DELTA_ROUNDS");
    return wanted == nullptr ? usually : static_cast<unsigned>(std::strtoul(wanted, nullptr, 10));
}

inline bytes stretch(random_generator& r, std::size_t n) {
    bytes out(n);
    switch (below(r, 4)) {
        case 0: fill(r, out); break;
        case 1: {
            constexpr std::string_view text =
                "{\"id\":\"7f3a\",\"status\":\"confirmed\",\"guests\":4,\"notes\":\"by the window\"}";
            for (std::size_t i = 0; i < n; ++i) { out[i] = static_cast<std::byte>(text[(i + i / 50) % text.size()]); }
            break;
        }
        case 2:
            for (std::byte& b : out) { b = static_cast<std::byte>('a' + below(r, 3)); }
            break;
        default: std::fill(out.begin(), out.end(), static_cast<std::byte>(below(r, 256))); break;
    }
    return out;
}

/// A base and what some edits make of it.
inline std::pair<bytes, bytes> pair(random_generator& r, std::size_t most) {
    bytes base;
    std::size_t const size = below(r, 8) == 0 ? below(r, 12) : below(r, most);
    while (base.size() < size) { append(base, stretch(r, 1 + below(r, size))); }
    base.resize(size);
    bytes target = base;
    if (below(r, 10) == 0) { target = stretch(r, below(r, most)); }
    for (std::uint64_t edits = below(r, 8); edits != 0; --edits) {
        auto const at = static_cast<std::ptrdiff_t>(below(r, target.size() + 1));
        auto const n = static_cast<std::ptrdiff_t>(below(r, below(r, 4) == 0 ? 400 : 20));
        auto const end = (std::min)(at + n, static_cast<std::ptrdiff_t>(target.size()));
        bytes const piece(target.begin() + at, target.begin() + end);
        switch (below(r, 5)) {
            case 0: {
                bytes const more = stretch(r, static_cast<std::size_t>(n));
                target.insert(target.begin() + at, more.begin(), more.end());
                break;
            }
            case 1: target.erase(target.begin() + at, target.begin() + end); break;
            case 2:
                for (auto i = at; i < end; ++i) {
                    target[static_cast<std::size_t>(i)] = static_cast<std::byte>('0' + below(r, 10));
                }
                break;
            case 3: append(target, piece); break;
            default: {
                target.erase(target.begin() + at, target.begin() + end);
                auto const to = static_cast<std::ptrdiff_t>(below(r, target.size() + 1));
                target.insert(target.begin() + to, piece.begin(), piece.end());
                break;
            }
        }
    }
    return {std::move(base), std::move(target)};
}

}  // namespace delta_tests
