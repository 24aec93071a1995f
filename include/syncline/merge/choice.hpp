// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Which of two whole values stays, by the rules that choose one.

#include <algorithm>
#include <cstdint>

#include <syncline/merge/context.hpp>
#include <syncline/merge/fields.hpp>
#include <syncline/merge/order.hpp>

namespace syncline::inline SYNCLINE_ABI::detail {

/// Who won, and why.
struct choice {
    winner won = winner::mutation;
    reason why = reason::none;
};

[[nodiscard]] inline std::uint32_t role_of(write_mark const& w, merge_host const* host) {
    return host != nullptr && host->role_of != nullptr ? host->role_of(w.author, host->data) : 0;
}

/// Whether the writer of `a` has a higher right to a field than the one of `b`; what the two wrote aside.
[[nodiscard]] inline bool outranks(rule by, write_mark const& a, write_mark const& b, merge_host const* host) {
    if (by == rule::first_writer) { return wins(b, a); }
    if (by == rule::role) {
        std::uint32_t const x = role_of(a, host);
        std::uint32_t const y = role_of(b, host);
        if (x != y) { return x > y; }
    }
    return wins(a, b);
}

/// How a flag's states rank under its rule: the greater stays.
[[nodiscard]] inline int flag_rank(rule by, bool present, bytes_view item) noexcept {
    bool const on = present && !item.empty() && item.front() == std::byte{0xF5};
    if (by == rule::enable_wins) { return on ? 2 : present ? 1 : 0; }
    return on ? 0 : present ? 2 : 1;
}

/// Decides between a concurrent write, whose mark is `mine`, and what is there, whose mark is `mark`. The two differ.
[[nodiscard]] inline choice choose(rule by, write_mark const& mine, write_mark const& mark, merge_hint hint,
                                   merge_host const* host) {
    auto const decided = [](bool mutation, reason why) {
        return choice{mutation ? winner::mutation : winner::confirmed, why};
    };
    winner won = winner::mutation;
    if (by == rule::manual) { return {winner::nobody, reason::asked}; }
    if (hint != merge_hint::merge) { return decided(hint == merge_hint::local, reason::by_hint); }
    reason const by_clock = mine.stamp == mark.stamp ? reason::by_author : reason::by_time;
    switch (by) {
        case rule::authority: return decided(false, reason::by_order);
        case rule::local: return decided(true, reason::by_order);
        case rule::first_writer: return decided(outranks(by, mine, mark, host), by_clock);
        case rule::role: {
            bool const differ = role_of(mine, host) != role_of(mark, host);
            return decided(outranks(by, mine, mark, host), differ ? reason::by_role : by_clock);
        }
        default: won = wins(mine, mark) ? winner::mutation : winner::confirmed; return {won, by_clock};
    }
}

}  // namespace syncline::inline SYNCLINE_ABI::detail
