// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Limits that every decoder takes, and the budget of work that it charges before it allocates.

#include <cstddef>
#include <cstdint>

#include <syncline/core/config.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How much a decoder takes of a stranger. Exceeding any of them is `errc::limit`, the state untouched.
struct decode_limits {
    std::size_t bytes_max = std::size_t{64} << 20;    ///< length of the whole input
    std::size_t string_max = std::size_t{16} << 20;   ///< bytes of one text or byte string
    std::size_t items_max = std::size_t{1} << 20;     ///< elements of one array, pairs of one map
    std::uint32_t depth_max = 64;                     ///< arrays and maps inside each other
    std::uint64_t work_max = std::uint64_t{1} << 28;  ///< total work, about one unit an input byte and one an item
    friend constexpr bool operator==(decode_limits const&, decode_limits const&) = default;
};

/// What is left of the work that a caller allows. A value; charge first, then do the work.
class work_budget {
public:
    constexpr explicit work_budget(std::uint64_t units) noexcept : left_(units) {}
    /// False, and nothing charged, when less than `units` is left.
    [[nodiscard]] constexpr bool charge(std::uint64_t units) noexcept {
        if (units > left_) { return false; }
        left_ -= units;
        return true;
    }
    [[nodiscard]] constexpr std::uint64_t left() const noexcept { return left_; }

private:
    std::uint64_t left_;
};

}  // namespace syncline::inline SYNCLINE_ABI
