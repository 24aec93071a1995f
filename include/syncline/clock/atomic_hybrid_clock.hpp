// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The hybrid logical clock for many threads: one atomic number, no lock.

#include <atomic>
#include <cstdint>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// A `hybrid_clock` that threads share: the same rules, each call one atomic step.
///
/// No two calls of `now` return the same stamp, and the stamps that one thread gets, or that reach it from
/// another through any synchronisation, rise. Not copyable, as an atomic is not; `snapshot()` gives the value.
/// Memory order is relaxed: the order of changes to one atomic is total, and the clock publishes nothing else.
/// Lock-free; a call that loses a race tries again. Cost: one compare-and-swap, no allocation.
class atomic_hybrid_clock {
public:
    /// Precondition: valid(options).
    constexpr explicit atomic_hybrid_clock(clock_options options = {}, timestamp last = {}) noexcept
        : options_(options), last_(last.raw) {
        SYNCLINE_ASSERT(valid(options));
    }
    atomic_hybrid_clock(atomic_hybrid_clock const&) = delete;
    atomic_hybrid_clock& operator=(atomic_hybrid_clock const&) = delete;

    /// A stamp greater than all before, and not before `physical`. See `hybrid_clock::now`.
    timestamp now(wall_time physical) noexcept {
        timestamp const at = timestamp::make(physical);
        std::uint64_t last = last_.load(std::memory_order_relaxed);
        std::uint64_t next = detail::next_stamp(last, at);
        while (!last_.compare_exchange_weak(last, next, std::memory_order_relaxed)) {
            next = detail::next_stamp(last, at);
        }
        return {next};
    }

    /// Learns of a remote stamp, or answers `stamp_too_far` and does not move. See `hybrid_clock::accept`.
    status accept(timestamp remote, wall_time physical) noexcept {
        if (remote > latest_within(physical, options_.accept_ahead_max)) { return errc::stamp_too_far; }
        std::uint64_t last = last_.load(std::memory_order_relaxed);
        while (last < remote.raw && !last_.compare_exchange_weak(last, remote.raw, std::memory_order_relaxed)) {}
        return {};
    }

    [[nodiscard]] timestamp last() const noexcept { return {last_.load(std::memory_order_relaxed)}; }
    [[nodiscard]] clock_options const& options() const noexcept { return options_; }
    /// The clock as a value, as it stood at some moment during the call.
    [[nodiscard]] hybrid_clock snapshot() const noexcept { return hybrid_clock(options_, last()); }

private:
    clock_options options_;
    std::atomic<std::uint64_t> last_;
};

}  // namespace syncline::inline SYNCLINE_ABI
