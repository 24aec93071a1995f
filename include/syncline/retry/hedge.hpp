// SPDX-License-Identifier: BSL-1.0
#pragma once

/// When to ask a second time without waiting for the first answer: after most answers would have come.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/state.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// When `hedge_delay` says to ask again.
struct hedge_options {
    std::uint32_t quantile_per_mille = 950;  ///< after so many of the answers would have come; 1 to 999
    milliseconds delay_min{10};              ///< never sooner; > 0
    milliseconds delay_max{10'000};          ///< never later; delay_min to `retry_time_max`
    std::uint32_t samples_min = 20;          ///< before so many answers nothing is said; 1 to 16 384
    friend constexpr bool operator==(hedge_options const&, hedge_options const&) = default;
};
[[nodiscard]] constexpr bool valid(hedge_options const& o) noexcept {
    return o.quantile_per_mille > 0 && o.quantile_per_mille < 1000 && o.delay_min.count() > 0 &&
           o.delay_max >= o.delay_min && o.delay_max <= retry_time_max && o.samples_min > 0 && o.samples_min <= 16'384;
}

/// How long to wait for an answer before asking a second peer too: a quantile of how long answers have taken.
///
/// Only for requests that may be acted on twice, and only while the retry budget allows: a hedge is a retry that came
/// early. Answers are counted in four steps an octave, from one millisecond to 65 seconds, so that the delay is at most
/// a quarter too long; when the counts reach 32 768, all are halved, so that old answers fade.
/// A value of integers: copy it, store it, compare it. Cost: O(1) to count, 64 steps to ask; allocates nothing.
/// Source: Dean and Barroso, "The Tail at Scale", 2013: a second request after the 95th percentile costs some 5 %.
class hedge_delay {
public:
    static constexpr std::size_t steps = 64;
    using state = std::array<std::byte, 2 * steps>;

    /// Precondition: valid(options).
    constexpr explicit hedge_delay(hedge_options options = {}) noexcept : options_(options) {
        SYNCLINE_ASSERT(valid(options));
    }

    /// An answer took so long.
    constexpr void sampled(milliseconds took) noexcept {
        ++counts_[step_of(took)];
        if (++total_ < 32'768) { return; }
        total_ = 0;
        for (auto& n : counts_) {
            n = static_cast<std::uint16_t>(n / 2);
            total_ += n;
        }
    }

    /// When to ask again, from the first request on; empty while too little is known.
    [[nodiscard]] constexpr std::optional<milliseconds> delay() const noexcept {
        if (total_ < options_.samples_min) { return std::nullopt; }
        std::uint32_t const wanted = (total_ * options_.quantile_per_mille + 999) / 1000;
        std::uint32_t seen = 0;
        std::size_t step = 0;
        while (step + 1 < steps && (seen += counts_[step]) < wanted) { ++step; }
        milliseconds const end = end_of(step);
        return end < options_.delay_min ? options_.delay_min : clamped(end, options_.delay_max);
    }
    /// How many answers it reckons with.
    [[nodiscard]] constexpr std::uint32_t samples() const noexcept { return total_; }

    /// The counts of the steps, 2 bytes each, big-endian.
    [[nodiscard]] friend constexpr state to_array(hedge_delay const& h) noexcept {
        detail::state_writer<2 * steps> out;
        for (std::uint16_t const n : h.counts_) { out.put(n, 2); }
        return out.done();
    }
    /// Goes on from what `to_array` wrote. `malformed`, and nothing changed, for anything else.
    [[nodiscard]] constexpr status restore(bytes_view b) noexcept {
        detail::state_reader in(b);
        std::array<std::uint16_t, steps> counts{};
        std::uint32_t total = 0;
        for (auto& n : counts) {
            n = static_cast<std::uint16_t>(in.take(2, 0x7FFF));
            total += n;
        }
        in.require(total < 32'768);
        if (!in.done()) { return failure(errc::malformed, "not the state of a hedge delay"); }
        counts_ = counts;
        total_ = total;
        return {};
    }
    friend constexpr bool operator==(hedge_delay const&, hedge_delay const&) = default;

private:
    /// The step that holds a time: of [2^k, 2^(k+1)) the quarters are 4 k to 4 k + 3.
    [[nodiscard]] static constexpr std::size_t step_of(milliseconds took) noexcept {
        auto const n = static_cast<std::uint64_t>(clamped(took, milliseconds{65'535}).count());
        if (n < 4) { return n < 2 ? 0 : 4 + 2 * (n - 2); }
        std::size_t octave = 2;
        while (n >> (octave + 1) != 0) { ++octave; }
        return 4 * octave + ((n >> (octave - 2)) & 3);
    }
    /// The first time beyond a step.
    [[nodiscard]] static constexpr milliseconds end_of(std::size_t step) noexcept {
        std::size_t const octave = step / 4;
        std::uint64_t const quarters = 5 + step % 4;
        return milliseconds{static_cast<milliseconds::rep>(((quarters << octave) + 3) / 4)};
    }

    hedge_options options_;
    std::array<std::uint16_t, steps> counts_{};
    std::uint32_t total_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI
