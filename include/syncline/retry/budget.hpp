// SPDX-License-Identifier: BSL-1.0
#pragma once

/// How much retrying a peer may be asked to bear: a bucket of tokens that failures empty and successes fill.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/backoff.hpp>
#include <syncline/retry/state.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// A token, in the thousandths in which a budget counts.
inline constexpr std::uint32_t retry_token = 1000;

/// What fills and empties a `retry_budget`.
///
/// The default lets a client that has been well retry at once after its first failure. When failures go on, each retry
/// waits minutes, and longer for each failure that ten successes have not paid for. So the retries of a client settle
/// below a tenth of its successes, which holds a fleet's retry amplification at 1.1 (docs/retry.md has the study).
/// That needs waits of about four times the client's usual time between exchanges: raise `wait_min` for clients that
/// exchange less often than once a minute.
struct retry_budget_options {
    std::uint32_t capacity = 10 * retry_token;  ///< most that is saved up, and what it begins with; > 0
    std::uint32_t threshold = 8 * retry_token;  ///< with more than this left a retry is free; < capacity
    std::uint32_t failure_cost = retry_token;   ///< taken by each attempt that failed, first or not
    /// Instead of it, where no answer came: the network loses some while the peer is well. A client of which one in twenty
    /// messages is lost each way must not stay away for minutes, one that hears nothing at all must.
    std::uint32_t lost_cost = retry_token / 4;
    std::uint32_t retry_cost = 0;         ///< taken by each retry that is allowed
    std::uint32_t timeout_cost = 0;       ///< instead of it, where the attempt before timed out
    std::uint32_t success_gain = 100;     ///< given by a success
    bool refund = false;                  ///< a success that a retry brought gives back that retry's cost instead
    bool waits = true;                    ///< below the threshold a retry waits; false: it is refused
    milliseconds wait_min{240'000};       ///< what it waits at least; 0 to 2^31
    milliseconds wait_per_token{15'000};  ///< and for each token that is missing; 0 to 2^31
    friend constexpr bool operator==(retry_budget_options const&, retry_budget_options const&) = default;
};
[[nodiscard]] constexpr bool valid(retry_budget_options const& o) noexcept {
    return o.capacity > 0 && o.threshold < o.capacity && o.retry_cost <= o.capacity && o.timeout_cost <= o.capacity &&
           o.wait_min.count() >= 0 && o.wait_min <= milliseconds{std::int64_t{1} << 31} &&
           o.wait_per_token.count() >= 0 && o.wait_per_token <= milliseconds{std::int64_t{1} << 31};
}

/// gRPC's retry throttling: a failure takes a token, a success gives `token_ratio` thousandths of one, and nothing is
/// retried with half of `tokens_max` or less. Preconditions: tokens_max from 1 to 1000, token_ratio > 0.
/// Source: gRPC proposal A6, "Throttling Retry Attempts and Hedged RPCs" (maxTokens 10, tokenRatio 0.1 in its example).
[[nodiscard]] constexpr retry_budget_options grpc_retry_throttling(std::uint32_t tokens_max = 10,
                                                                   std::uint32_t token_ratio = 100) noexcept {
    SYNCLINE_ASSERT(tokens_max > 0 && tokens_max <= 1000 && token_ratio > 0);
    return {.capacity = tokens_max * retry_token,
            .threshold = tokens_max * retry_token / 2,
            .lost_cost = retry_token,
            .success_gain = token_ratio,
            .waits = false};
}
/// The AWS SDKs' standard mode: 500 tokens; a retry takes 5, after a timeout 10; its success gives them back, a success
/// without retry gives 1. Source: AWS SDKs and Tools Reference, "Retry behavior"; botocore/retries/standard.py.
[[nodiscard]] constexpr retry_budget_options aws_retry_quota() noexcept {
    return {.capacity = 500 * retry_token,
            .threshold = 0,
            .failure_cost = 0,
            .lost_cost = 0,
            .retry_cost = 5 * retry_token,
            .timeout_cost = 10 * retry_token,
            .success_gain = retry_token,
            .refund = true,
            .waits = false};
}

/// How much retrying one peer may be asked to bear, over all that is sent to it.
///
/// A value: copy it, store it (`to_array`), compare it. It reads no clock: what fills it is success, not time, so a
/// restart or a wrong clock forgives nothing. Tell it of every attempt that counts against the peer: not of those that
/// never reached it. Cost: each call is O(1), allocates nothing; 56 bytes.
/// Sources: gRPC A6; AWS SDKs, standard mode; Beyer et al., "Site Reliability Engineering", ch. 21 (a client's retries
/// are held to a tenth of its requests).
class retry_budget {
public:
    using state = std::array<std::byte, 8>;

    /// Full. Precondition: valid(options).
    constexpr explicit retry_budget(retry_budget_options options = {}) noexcept
        : options_(options), tokens_(options.capacity) {
        SYNCLINE_ASSERT(valid(options));
    }

    /// An attempt failed on the peer's side; `lost` if it was not answered at all.
    constexpr void failed(bool lost = false) noexcept { spend(lost ? options_.lost_cost : options_.failure_cost); }

    /// Asks for a retry: how long it must wait at least, and it is paid; empty when it is refused, and nothing changed.
    /// A wait is jittered upward by at most its half, as a fleet that lost its peer runs out of tokens together.
    template <random_source G>
    [[nodiscard]] constexpr std::optional<milliseconds> retry(G& random, bool timed_out = false) noexcept {
        std::uint32_t const cost = timed_out ? options_.timeout_cost : options_.retry_cost;
        std::uint32_t const needed = cost > options_.threshold ? cost : options_.threshold + 1;
        milliseconds wait{0};
        if (tokens_ < needed) {
            if (!options_.waits) { return std::nullopt; }
            wait = options_.wait_min + (needed - tokens_) * options_.wait_per_token / retry_token;
            wait += uniform(milliseconds{0}, wait / 2, random);
        }
        spend(cost);
        last_cost_ = cost;
        return wait;
    }

    /// An attempt succeeded; `retried` if it was not the first of its exchange.
    constexpr void succeeded(bool retried = false) noexcept {
        std::uint32_t const gain = retried && options_.refund ? last_cost_ : options_.success_gain;
        tokens_ = gain < options_.capacity - tokens_ ? tokens_ + gain : options_.capacity;
        last_cost_ = 0;
    }

    /// Thousandths of a token that are left.
    [[nodiscard]] constexpr std::uint32_t tokens() const noexcept { return tokens_; }
    [[nodiscard]] constexpr retry_budget_options const& options() const noexcept { return options_; }

    /// What a restart must not forget: tokens and the last retry's cost (4 bytes each), big-endian.
    [[nodiscard]] friend constexpr state to_array(retry_budget const& b) noexcept {
        return detail::state_writer<8>().put(b.tokens_, 4).put(b.last_cost_, 4).done();
    }
    /// Goes on from what `to_array` wrote, under this object's options: what exceeds them is cut to them.
    /// `malformed`, and nothing changed, unless there are 8 bytes.
    [[nodiscard]] constexpr status restore(bytes_view b) noexcept {
        detail::state_reader in(b);
        auto const tokens = static_cast<std::uint32_t>(in.take(4, 0xFFFFFFFF));
        auto const cost = static_cast<std::uint32_t>(in.take(4, 0xFFFFFFFF));
        if (!in.done()) { return failure(errc::malformed, "a retry budget has 8 bytes"); }
        tokens_ = tokens < options_.capacity ? tokens : options_.capacity;
        last_cost_ = cost < options_.capacity ? cost : options_.capacity;
        return {};
    }

    friend constexpr bool operator==(retry_budget const&, retry_budget const&) = default;

private:
    constexpr void spend(std::uint32_t cost) noexcept { tokens_ -= cost < tokens_ ? cost : tokens_; }

    retry_budget_options options_;
    std::uint32_t tokens_;
    std::uint32_t last_cost_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI
