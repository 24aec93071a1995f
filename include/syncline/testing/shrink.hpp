// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Finds the few parts of a failing case that it takes to fail.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <syncline/core/config.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What `shrink` came to.
template <class T>
struct shrunk {
    std::vector<T> parts{};
    std::size_t tries = 0;
    bool smallest = false;  ///< no single part can be left out; false: the tries ran out before
};

/// Leaves parts out for as long as `fails(parts)` stays true, in the order given.
///
/// Precondition: `fails(parts)`; a case that does not fail is given back as it is, after one try. `tries_max` bounds
/// the calls. Cost: O(n log n) calls when few parts matter, O(n^2) at worst.
/// Source: Zeller, Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002.
template <class T, class Fails>
[[nodiscard]] shrunk<T> shrink(std::vector<T> parts, Fails&& fails, std::size_t tries_max = 2'000) {
    shrunk<T> out;
    ++out.tries;
    if (!fails(std::as_const(parts))) {
        out.parts = std::move(parts);
        return out;
    }
    std::size_t pieces = 2;
    while (!parts.empty() && out.tries < tries_max) {
        pieces = (std::min)(pieces, parts.size());
        bool smaller = false;
        for (std::size_t i = 0; i < pieces && out.tries < tries_max; ++i) {
            auto const from = static_cast<std::ptrdiff_t>(parts.size() * i / pieces);
            auto const to = static_cast<std::ptrdiff_t>(parts.size() * (i + 1) / pieces);
            std::vector<T> rest(parts.begin(), parts.begin() + from);
            rest.insert(rest.end(), parts.begin() + to, parts.end());
            ++out.tries;
            if (!fails(std::as_const(rest))) { continue; }
            parts = std::move(rest);
            pieces = (std::max)(pieces - 1, std::size_t{2});
            smaller = true;
            break;
        }
        if (smaller) { continue; }
        if (pieces >= parts.size()) {
            out.smallest = true;
            break;
        }
        pieces *= 2;
    }
    out.smallest = out.smallest || parts.empty();
    out.parts = std::move(parts);
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
