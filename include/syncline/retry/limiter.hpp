// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Rate limiters: how often something may happen, by a bucket of tokens or by the generic cell rate algorithm.

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/state.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// `count` in each `per`, of which `burst` may come at once.
struct rate_options {
    std::uint32_t count = 10;  ///< > 0
    milliseconds per{1000};    ///< 1 to 2^31 - 1
    std::uint32_t burst = 10;  ///< > 0
    friend constexpr bool operator==(rate_options const&, rate_options const&) = default;
};
[[nodiscard]] constexpr bool valid(rate_options const& o) noexcept {
    return o.count > 0 && o.per.count() > 0 && o.per.count() < (std::int64_t{1} << 31) && o.burst > 0;
}

/// Says whether one more may happen.
///
/// | expression    | result       | meaning                                                                        |
/// | l.take(now)   | milliseconds | zero: it may, and was counted; else how long to wait, and nothing was counted  |
/// | to_array(l, now), l.restore(b, now) | | as with every value here: what a restart must not forget, and back      |
/// Axioms: never more than the rate's burst and count allow in any span of time; after the wait it may, unless another
/// came first.
template <class L>
concept rate_limiter = std::copyable<L> && state_bytes<typename L::state> &&
    requires(L& l, L const& c, monotonic_time now, instant both, bytes_view b) {
    { l.take(now) } -> std::same_as<milliseconds>;
    { to_array(c, both) } -> std::same_as<typename L::state>;
    { l.restore(b, both) } -> std::same_as<status>;
};

/// Limits nothing.
struct no_limiter {
    using state = std::array<std::byte, 0>;
    [[nodiscard]] constexpr milliseconds take(monotonic_time) noexcept { return milliseconds{0}; }
    [[nodiscard]] friend constexpr state to_array(no_limiter, instant) noexcept { return {}; }
    [[nodiscard]] constexpr status restore(bytes_view b, instant) noexcept {
        if (!b.empty()) { return failure(errc::malformed, "no limiter has no bytes"); }
        return {};
    }
    friend constexpr bool operator==(no_limiter, no_limiter) = default;
};

namespace detail {

/// What both limiters are: a debt that grows with each event and falls with time.
///
/// Time is counted in milliseconds times `count`, so that one event costs exactly `per` and no rate is rounded.
class rate_debt {
public:
    using state = std::array<std::byte, 16>;

    constexpr explicit rate_debt(rate_options options) noexcept : options_(options) { SYNCLINE_ASSERT(valid(options)); }

    [[nodiscard]] constexpr std::uint64_t per() const noexcept {
        return static_cast<std::uint64_t>(options_.per.count());
    }
    /// The most that may be owed: `burst` events.
    [[nodiscard]] constexpr std::uint64_t most() const noexcept { return options_.burst * per(); }
    [[nodiscard]] constexpr rate_options const& options() const noexcept { return options_; }
    [[nodiscard]] constexpr std::uint64_t owed() const noexcept { return debt_; }

    constexpr void settle(monotonic_time now) noexcept {
        auto const passed = static_cast<std::uint64_t>(elapsed(at_, now).count());
        debt_ = passed > debt_ / options_.count ? 0 : debt_ - passed * options_.count;
        if (now > at_) { at_ = now; }
    }
    /// Adds to the debt if it is then at most `most()`; else how long until it would be.
    [[nodiscard]] constexpr milliseconds add(std::uint64_t cost) noexcept {
        if (cost <= most() - debt_) {
            debt_ += cost;
            return milliseconds{0};
        }
        std::uint64_t const over = debt_ - (most() - cost);
        return milliseconds{static_cast<milliseconds::rep>((over - 1) / options_.count + 1)};
    }
    /// Takes `cost` off what is owed.
    constexpr void give_back(std::uint64_t cost) noexcept { debt_ -= cost < debt_ ? cost : debt_; }

    /// Debt in ms until it is paid, times `count` (8), wall time (8), big-endian.
    [[nodiscard]] constexpr state save(instant now) const noexcept {
        rate_debt copy = *this;
        copy.settle(now.monotonic);
        return state_writer<16>().put(copy.debt_, 8).put(now.wall).done();
    }
    [[nodiscard]] constexpr status restore(bytes_view b, instant now) noexcept {
        state_reader in(b);
        std::uint64_t const debt = in.take(8, ~std::uint64_t{0});
        wall_time const written = in.take_wall();
        if (!in.done()) { return failure(errc::malformed, "a rate limiter has 16 bytes"); }
        debt_ = debt < most() ? debt : most();
        auto const passed = static_cast<std::uint64_t>(elapsed_by_restart(written, now.wall).count());
        debt_ = passed > debt_ / options_.count ? 0 : debt_ - passed * options_.count;
        at_ = now.monotonic;
        return {};
    }
    friend constexpr bool operator==(rate_debt const&, rate_debt const&) = default;

private:
    rate_options options_;
    std::uint64_t debt_ = 0;
    monotonic_time at_{};
};

}  // namespace detail

/// Tokens come at a steady rate and are saved up to `burst`; an event takes as many as it weighs.
///
/// For what has a size: bytes, rows. A value: copy it, store it, compare it; it reads no clock, and a `now` that goes
/// back counts as no time passed. Exact: no rate is rounded. Cost: O(1), allocates nothing.
class token_bucket {
public:
    using state = std::array<std::byte, 16>;

    /// Full. Precondition: valid(options).
    constexpr explicit token_bucket(rate_options options = {}) noexcept : debt_(options) {}

    /// Takes `tokens`: zero, and they are taken, or how long to wait for them, and nothing is. More than `burst`, which
    /// no wait brings, are taken as `burst`.
    [[nodiscard]] constexpr milliseconds take(monotonic_time now, std::uint32_t tokens = 1) noexcept {
        debt_.settle(now);
        return debt_.add(cost(tokens));
    }
    /// Returns tokens that were not used.
    constexpr void give_back(std::uint32_t tokens) noexcept { debt_.give_back(cost(tokens)); }

    /// Whole tokens that are there now.
    [[nodiscard]] constexpr std::uint32_t tokens(monotonic_time now) const noexcept {
        auto copy = debt_;
        copy.settle(now);
        return static_cast<std::uint32_t>((copy.most() - copy.owed()) / copy.per());
    }
    [[nodiscard]] constexpr rate_options const& options() const noexcept { return debt_.options(); }

    [[nodiscard]] friend constexpr state to_array(token_bucket const& b, instant now) noexcept {
        return b.debt_.save(now);
    }
    /// Goes on from what `to_array` wrote, under this object's options. Time that passed meanwhile counts as
    /// `elapsed_by_restart` says. `malformed`, and nothing changed, unless there are 16 bytes.
    [[nodiscard]] constexpr status restore(bytes_view b, instant now) noexcept { return debt_.restore(b, now); }

    friend constexpr bool operator==(token_bucket const&, token_bucket const&) = default;

private:
    [[nodiscard]] constexpr std::uint64_t cost(std::uint32_t tokens) const noexcept {
        return (tokens < options().burst ? tokens : options().burst) * debt_.per();
    }
    detail::rate_debt debt_;
};
static_assert(rate_limiter<token_bucket>);

/// The generic cell rate algorithm: each event has a theoretical arrival time, `per / count` after the one before, and
/// may come `burst - 1` intervals early.
///
/// For what comes one at a time: requests. It keeps one number, how far the theoretical arrival time lies ahead. Lets
/// pass exactly what a `token_bucket` of the same options does for tokens taken singly. Otherwise as `token_bucket`.
/// Source: ITU-T Recommendation I.371, Annex A, the virtual scheduling algorithm: T = per / count, tau = (burst - 1) T.
class gcra {
public:
    using state = std::array<std::byte, 16>;

    /// Precondition: valid(options).
    constexpr explicit gcra(rate_options options = {}) noexcept : debt_(options) {}

    /// One event: zero, and it conforms, or how long to wait, and nothing changed.
    [[nodiscard]] constexpr milliseconds take(monotonic_time now) noexcept {
        debt_.settle(now);
        return debt_.add(debt_.per());
    }
    /// When the next event is expected: how long from now, rounded up; zero when it is late.
    [[nodiscard]] constexpr milliseconds ahead(monotonic_time now) const noexcept {
        auto copy = debt_;
        copy.settle(now);
        std::uint64_t const count = copy.options().count;
        return milliseconds{static_cast<milliseconds::rep>((copy.owed() + count - 1) / count)};
    }
    [[nodiscard]] constexpr rate_options const& options() const noexcept { return debt_.options(); }

    [[nodiscard]] friend constexpr state to_array(gcra const& g, instant now) noexcept { return g.debt_.save(now); }
    /// As `token_bucket::restore`.
    [[nodiscard]] constexpr status restore(bytes_view b, instant now) noexcept { return debt_.restore(b, now); }

    friend constexpr bool operator==(gcra const&, gcra const&) = default;

private:
    detail::rate_debt debt_;
};
static_assert(rate_limiter<gcra>);

}  // namespace syncline::inline SYNCLINE_ABI
