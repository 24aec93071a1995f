// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Adaptive concurrency: how many requests may be under way at once, learned from how they fare.

#include <array>
#include <chrono>
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

using std::chrono::microseconds;

/// How one request fared.
struct concurrency_sample {
    microseconds round_trip{0};   ///< how long it took; what is negative counts as zero
    std::uint32_t in_flight = 0;  ///< how many were under way when it began, itself included
    bool dropped = false;         ///< the peer was overloaded: it refused, or did not answer in time
};

/// Learns how many requests a peer bears at once.
///
/// | expression     | result        | meaning                                             |
/// | l.limit()      | std::uint32_t | how many may be under way; at least one             |
/// | l.sampled(s)   | void          | takes account of a request that has ended           |
/// | l.to_array()   | bytes, fixed  | what it has learned                                 |
/// | l.restore(b)   | status        | goes on from it; `malformed`, and nothing changed   |
template <class L>
concept concurrency_limit = std::copyable<L> && state_bytes<typename L::state> &&
    requires(L& l, L const& c, concurrency_sample s, bytes_view b) {
    { c.limit() } -> std::same_as<std::uint32_t>;
    { l.sampled(s) } -> std::same_as<void>;
    { c.to_array() } -> std::same_as<typename L::state>;
    { l.restore(b) } -> std::same_as<status>;
};

/// How `aimd_limit` moves.
struct aimd_options {
    std::uint32_t initial = 4;               ///< limit_min to limit_max
    std::uint32_t limit_min = 1;             ///< > 0
    std::uint32_t limit_max = 64;            ///< limit_min to 65 535
    std::uint32_t decrease_per_mille = 900;  ///< the limit is multiplied by this after a drop; < 1000
    friend constexpr bool operator==(aimd_options const&, aimd_options const&) = default;
};
[[nodiscard]] constexpr bool valid(aimd_options const& o) noexcept {
    return o.limit_min > 0 && o.limit_max >= o.limit_min && o.limit_max <= 65'535 && o.initial >= o.limit_min &&
           o.initial <= o.limit_max && o.decrease_per_mille < 1000;
}

/// Additive increase, multiplicative decrease: one more for each round of successes, a tenth less for a drop.
///
/// It grows only while the limit is being used: at least half of it under way. Learned state is an integer in fixed
/// point (16 bits of fraction), the same on every machine. Cost: O(1), allocates nothing.
/// Sources: Chiu and Jain, "Analysis of the Increase and Decrease Algorithms", 1989; Netflix, concurrency-limits
/// (AIMDLimit: 0.9 and half of the limit are its).
class aimd_limit {
public:
    using state = std::array<std::byte, 4>;

    /// Precondition: valid(options).
    constexpr explicit aimd_limit(aimd_options options = {}) noexcept
        : options_(options), limit_(options.initial << 16) {
        SYNCLINE_ASSERT(valid(options));
    }

    [[nodiscard]] constexpr std::uint32_t limit() const noexcept { return limit_ >> 16; }

    constexpr void sampled(concurrency_sample const& s) noexcept {
        if (s.dropped) {
            set(std::uint64_t{limit_} * options_.decrease_per_mille / 1000);
        } else if (std::uint64_t{s.in_flight} * 2 >= limit()) {
            set(limit_ + std::uint64_t{65'536} / limit());
        }
    }

    /// The limit in 65 536ths, big-endian.
    [[nodiscard]] constexpr state to_array() const noexcept { return detail::state_writer<4>().put(limit_, 4).done(); }
    /// Goes on from what `to_array` wrote, within this object's options.
    [[nodiscard]] constexpr status restore(bytes_view b) noexcept {
        detail::state_reader in(b);
        std::uint64_t const limit = in.take(4, 0xFFFFFFFF);
        if (!in.done()) { return failure(errc::malformed, "an AIMD limit has 4 bytes"); }
        set(limit);
        return {};
    }
    friend constexpr bool operator==(aimd_limit const&, aimd_limit const&) = default;

private:
    constexpr void set(std::uint64_t limit) noexcept {
        std::uint64_t const least = std::uint64_t{options_.limit_min} << 16;
        std::uint64_t const most = std::uint64_t{options_.limit_max} << 16;
        limit_ = static_cast<std::uint32_t>(limit < least ? least : limit < most ? limit : most);
    }
    aimd_options options_;
    std::uint32_t limit_;  ///< in 65 536ths
};
static_assert(concurrency_limit<aimd_limit>);

/// How `gradient_limit` moves.
struct gradient_options {
    std::uint32_t initial = 20;                ///< limit_min to limit_max
    std::uint32_t limit_min = 1;               ///< > 0
    std::uint32_t limit_max = 200;             ///< limit_min to 65 535
    std::uint32_t queue = 4;                   ///< requests that may stand in line at the peer; up to 65 535
    std::uint32_t tolerance_per_mille = 1500;  ///< how much longer than usual a round trip may take; 1000 to 10 000
    std::uint32_t smoothing_per_mille = 200;   ///< share of the new limit in each step; 1 to 1000
    std::uint32_t window = 600;                ///< rounds over which the usual round trip is averaged; > 0
    friend constexpr bool operator==(gradient_options const&, gradient_options const&) = default;
};
[[nodiscard]] constexpr bool valid(gradient_options const& o) noexcept {
    return o.limit_min > 0 && o.limit_max >= o.limit_min && o.limit_max <= 65'535 && o.initial >= o.limit_min &&
           o.initial <= o.limit_max && o.queue <= 65'535 && o.tolerance_per_mille >= 1000 &&
           o.tolerance_per_mille <= 10'000 && o.smoothing_per_mille > 0 && o.smoothing_per_mille <= 1000 &&
           o.window > 0;
}

/// Follows the round trip: when it grows beyond the usual one, requests stand in line, and the limit falls in proportion.
///
///     gradient = tolerance * usual / now, within [1/2, 1];   limit = limit * gradient + queue, smoothed
///
/// For peers that slow down before they refuse. It steps once a round, of as many requests as the limit allows, by their
/// average; a round in which something was dropped takes a tenth off. Learned state is integers in fixed point (16 bits of fraction), the same
/// on every machine. Cost: O(1), allocates nothing; six divisions.
/// Sources: Brakmo, Peterson, "TCP Vegas", 1995; Netflix, concurrency-limits, Gradient2Limit, whose defaults these are.
class gradient_limit {
public:
    using state = std::array<std::byte, 16>;
    /// The longest round trip that counts: about an hour.
    static constexpr std::uint64_t round_trip_max = (std::uint64_t{1} << 32) - 1;

    /// Precondition: valid(options).
    constexpr explicit gradient_limit(gradient_options options = {}) noexcept
        : options_(options), limit_(options.initial << 16) {
        SYNCLINE_ASSERT(valid(options));
    }

    [[nodiscard]] constexpr std::uint32_t limit() const noexcept { return limit_ >> 16; }
    /// The usual round trip, zero before the first.
    [[nodiscard]] constexpr microseconds usual() const noexcept {
        return microseconds{static_cast<microseconds::rep>(usual_ >> 16)};
    }

    constexpr void sampled(concurrency_sample const& s) noexcept {
        auto const count = s.round_trip.count();
        if (s.dropped) {
            dropped_ = true;
        } else {
            sum_ += count <= 0                                           ? 1
                    : static_cast<std::uint64_t>(count) < round_trip_max ? static_cast<std::uint64_t>(count)
                                                                         : round_trip_max;
            ++answers_;
        }
        most_in_flight_ = s.in_flight > most_in_flight_ ? s.in_flight : most_in_flight_;
        if (++seen_ < limit()) { return; }
        step();
        sum_ = 0;
        seen_ = answers_ = most_in_flight_ = 0;
        dropped_ = false;
    }

    /// Limit in 65 536ths (4), rounds (4), usual round trip in 65 536ths of a microsecond (8), big-endian.
    [[nodiscard]] constexpr state to_array() const noexcept {
        return detail::state_writer<16>().put(limit_, 4).put(samples_, 4).put(usual_, 8).done();
    }
    /// Goes on from what `to_array` wrote, within this object's options.
    [[nodiscard]] constexpr status restore(bytes_view b) noexcept {
        detail::state_reader in(b);
        std::uint64_t const limit = in.take(4, 0xFFFFFFFF);
        auto const samples = static_cast<std::uint32_t>(in.take(4, 0xFFFFFFFF));
        std::uint64_t const usual = in.take(8, round_trip_max << 16);
        if (!in.done()) { return failure(errc::malformed, "not the state of a gradient limit"); }
        *this = gradient_limit(options_);
        set(limit);
        samples_ = samples < options_.window ? samples : options_.window;
        usual_ = usual;
        return {};
    }
    friend constexpr bool operator==(gradient_limit const&, gradient_limit const&) = default;

private:
    /// A round of requests has ended: one step.
    constexpr void step() noexcept {
        if (answers_ > 0) {
            // The usual round trip: an average of all at first, then one that forgets exponentially.
            std::uint64_t const now = sum_ / answers_;
            std::uint64_t const fixed = now << 16;
            samples_ += samples_ < options_.window ? 1 : 0;
            usual_ = fixed > usual_ ? usual_ + (fixed - usual_) / samples_ : usual_ - (usual_ - fixed) / samples_;
            // After a long overload the usual one is far too long: let it fall faster.
            if (usual_ / 2 > fixed) { usual_ -= usual_ / 20; }
            if (!dropped_ && std::uint64_t{most_in_flight_} * 2 >= limit()) {  // else the limit is not what holds it
                std::uint64_t gradient = (usual_ >> 16) * options_.tolerance_per_mille * 65'536 / 1000 / now;
                gradient = gradient < 32'768 ? 32'768 : gradient > 65'536 ? 65'536 : gradient;
                std::uint64_t const wanted =
                    ((std::uint64_t{limit_} * gradient) >> 16) + (std::uint64_t{options_.queue} << 16);
                set((limit_ * std::uint64_t{1000 - options_.smoothing_per_mille} +
                     wanted * options_.smoothing_per_mille) /
                    1000);
            }
        }
        if (dropped_) { set(std::uint64_t{limit_} * 9 / 10); }
    }
    constexpr void set(std::uint64_t limit) noexcept {
        std::uint64_t const least = std::uint64_t{options_.limit_min} << 16;
        std::uint64_t const most = std::uint64_t{options_.limit_max} << 16;
        limit_ = static_cast<std::uint32_t>(limit < least ? least : limit < most ? limit : most);
    }
    gradient_options options_;
    std::uint32_t limit_;        ///< in 65 536ths
    std::uint32_t samples_ = 0;  ///< at most the window
    std::uint64_t usual_ = 0;    ///< in 65 536ths of a microsecond
    // The round that is under way.
    std::uint64_t sum_ = 0;  ///< of the round trips of the answers
    std::uint32_t seen_ = 0;
    std::uint32_t answers_ = 0;
    std::uint32_t most_in_flight_ = 0;
    bool dropped_ = false;
};
static_assert(concurrency_limit<gradient_limit>);

/// A limit and what is under way under it.
template <concurrency_limit Limit = aimd_limit>
class adaptive_concurrency {
public:
    constexpr explicit adaptive_concurrency(Limit limit = Limit{}) noexcept : limit_(limit) {}

    /// Whether one more may begin; if so it is counted, until `end` or `cancel`.
    [[nodiscard]] constexpr bool begin() noexcept {
        if (in_flight_ >= limit_.limit()) { return false; }
        ++in_flight_;
        return true;
    }
    /// One ended: how long it took, and whether the peer was overloaded. Precondition: in_flight() > 0.
    constexpr void end(microseconds round_trip, bool dropped) noexcept {
        SYNCLINE_ASSERT(in_flight_ > 0);
        limit_.sampled({round_trip, in_flight_, dropped});
        --in_flight_;
    }
    /// One ended in a way that says nothing of the peer. Precondition: in_flight() > 0.
    constexpr void cancel() noexcept {
        SYNCLINE_ASSERT(in_flight_ > 0);
        --in_flight_;
    }
    [[nodiscard]] constexpr std::uint32_t in_flight() const noexcept { return in_flight_; }
    [[nodiscard]] constexpr Limit const& limit() const noexcept { return limit_; }

    /// What was learned; what is under way does not survive a restart.
    [[nodiscard]] friend constexpr typename Limit::state to_array(adaptive_concurrency const& a) noexcept {
        return a.limit_.to_array();
    }
    [[nodiscard]] constexpr status restore(bytes_view b) noexcept { return limit_.restore(b); }

    friend constexpr bool operator==(adaptive_concurrency const&, adaptive_concurrency const&) = default;

private:
    Limit limit_;
    std::uint32_t in_flight_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI
