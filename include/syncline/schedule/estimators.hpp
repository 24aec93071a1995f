// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Small estimators for what the platform doesn't tell: averages, quantiles, round trips, rates, habits by hour of week.
///
/// Integers in fixed point, the same on every machine; bounded; each is a value with a stored form of a fixed number of
/// bytes, and refuses bytes that it can't have written.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <syncline/core/config.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/state.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Exponentially weighted moving average, an eighth of each sample; the first counts whole.
///
/// The value is kept in 256ths. Cost: O(1).
class moving_average {
public:
    static constexpr std::size_t state_size = 8;

    constexpr void sampled(std::uint32_t x) noexcept {
        std::uint64_t const scaled = std::uint64_t{x} << 8;
        value_ = known() ? value_ - value_ / 8 + scaled / 8 : scaled + 1;
    }
    [[nodiscard]] constexpr bool known() const noexcept { return value_ != 0; }
    [[nodiscard]] constexpr std::optional<std::uint32_t> value() const noexcept {
        if (!known()) { return {}; }
        return static_cast<std::uint32_t>((std::min)(value_ >> 8, std::uint64_t{0xFFFFFFFF}));
    }
    template <class Out>
    constexpr void put(Out& out) const noexcept {
        out.put(value_, 8);
    }
    constexpr void take(detail::state_reader& in) noexcept { value_ = in.take(8, (std::uint64_t{1} << 40) + 256); }
    friend constexpr bool operator==(moving_average const&, moving_average const&) = default;

private:
    std::uint64_t value_ = 0;  ///< in 256ths; 0 = no sample yet
};

/// The quantiles of the last 16 samples, exactly. Cost: 16 steps a sample, O(1) a quantile.
class windowed_quantile {
public:
    static constexpr std::size_t window = 16;
    static constexpr std::size_t state_size = 2 + 4 * window;

    constexpr void sampled(std::uint32_t x) noexcept {
        ring_[next_] = x;
        next_ = static_cast<std::uint8_t>((next_ + 1) % window);
        if (count_ < window) { ++count_; }
        sort();
    }
    [[nodiscard]] constexpr std::size_t samples() const noexcept { return count_; }
    /// The least sample that at least so many per mille don't exceed; empty while there is none. Precondition: <= 1000.
    [[nodiscard]] constexpr std::optional<std::uint32_t> at(std::uint32_t per_mille) const noexcept {
        SYNCLINE_ASSERT(per_mille <= 1000);
        if (count_ == 0) { return {}; }
        std::size_t const rank = (std::size_t{count_} * per_mille + 999) / 1000;
        return sorted_[rank == 0 ? 0 : rank - 1];
    }
    template <class Out>
    constexpr void put(Out& out) const noexcept {
        out.put(count_, 1).put(next_, 1);
        for (std::uint32_t const x : ring_) { out.put(x, 4); }
    }
    constexpr void take(detail::state_reader& in) noexcept {
        count_ = static_cast<std::uint8_t>(in.take(1, window));
        next_ = static_cast<std::uint8_t>(in.take(1, window - 1));
        in.require(count_ == window || next_ == count_);
        for (std::size_t i = 0; i < window; ++i) {
            ring_[i] = static_cast<std::uint32_t>(in.take(4, 0xFFFFFFFF));
            in.require(i < count_ || ring_[i] == 0);
        }
        sort();
    }
    friend constexpr bool operator==(windowed_quantile const&, windowed_quantile const&) = default;

private:
    constexpr void sort() noexcept {
        sorted_ = {};
        for (std::size_t i = 0; i < count_; ++i) {
            std::size_t at = i;
            for (; at != 0 && sorted_[at - 1] > ring_[i]; --at) { sorted_[at] = sorted_[at - 1]; }
            sorted_[at] = ring_[i];
        }
    }
    std::array<std::uint32_t, window> ring_{};
    std::array<std::uint32_t, window> sorted_{};
    std::uint8_t count_ = 0;
    std::uint8_t next_ = 0;
};

/// Smoothed round trip and its variation. Source: Jacobson, "Congestion Avoidance and Control", 1988; RFC 6298 §2.
class round_trip_estimator {
public:
    static constexpr std::size_t state_size = 8;
    static constexpr std::uint32_t most = 1U << 24;  ///< longest round trip that counts, in milliseconds: 4.6 hours

    constexpr void sampled(milliseconds took) noexcept {
        auto const r = static_cast<std::uint32_t>(clamped(took, milliseconds{most}).count());
        if (!known()) {
            smoothed_ = 8 * r + 1;
            variation_ = 2 * r;
            return;
        }
        std::uint32_t const s = smoothed_ / 8;
        variation_ = variation_ - variation_ / 4 + (s > r ? s - r : r - s);
        smoothed_ = (std::max)(smoothed_ - s + r, 1U);
    }
    [[nodiscard]] constexpr bool known() const noexcept { return smoothed_ != 0; }
    [[nodiscard]] constexpr std::optional<milliseconds> smoothed() const noexcept {
        if (!known()) { return {}; }
        return milliseconds{smoothed_ / 8};
    }
    [[nodiscard]] constexpr milliseconds variation() const noexcept { return milliseconds{variation_ / 4}; }
    /// Smoothed plus four variations: what a round trip hardly ever exceeds.
    [[nodiscard]] constexpr std::optional<milliseconds> timeout() const noexcept {
        if (!known()) { return {}; }
        return milliseconds{smoothed_ / 8 + variation_};
    }
    template <class Out>
    constexpr void put(Out& out) const noexcept {
        out.put(smoothed_, 4).put(variation_, 4);
    }
    constexpr void take(detail::state_reader& in) noexcept {
        smoothed_ = static_cast<std::uint32_t>(in.take(4, 8 * std::uint64_t{most} + 8));
        variation_ = static_cast<std::uint32_t>(in.take(4, 4 * std::uint64_t{most} + 4));
    }
    friend constexpr bool operator==(round_trip_estimator const&, round_trip_estimator const&) = default;

private:
    std::uint32_t smoothed_ = 0;   ///< eighths of a millisecond; 0 = no sample yet
    std::uint32_t variation_ = 0;  ///< quarters of a millisecond
};

/// How often something comes off, in thousandths; recent samples count more. It begins in the middle of what is unknown.
class success_rate {
public:
    static constexpr std::size_t state_size = 4;

    constexpr void sampled(bool good) noexcept {
        if (count_ != 0xFFFF) { ++count_; }
        // A plain average at first, then a sixteenth of each sample.
        std::uint32_t const share = count_ < 16 ? count_ : 16;
        std::uint32_t const goal = good ? 65'535 : 0;
        rate_ = static_cast<std::uint16_t>((std::uint64_t{rate_} * (share - 1) + goal) / share);
    }
    [[nodiscard]] constexpr std::uint32_t samples() const noexcept { return count_; }
    /// Per mille; empty while nothing was sampled.
    [[nodiscard]] constexpr std::optional<std::uint32_t> per_mille() const noexcept {
        if (count_ == 0) { return {}; }
        return (std::uint32_t{rate_} * 1000 + 32'767) / 65'535;
    }
    template <class Out>
    constexpr void put(Out& out) const noexcept {
        out.put(rate_, 2).put(count_, 2);
    }
    constexpr void take(detail::state_reader& in) noexcept {
        rate_ = static_cast<std::uint16_t>(in.take(2, 0xFFFF));
        count_ = static_cast<std::uint16_t>(in.take(2, 0xFFFF));
        in.require(count_ != 0 || rate_ == 0);
    }
    friend constexpr bool operator==(success_rate const&, success_rate const&) = default;

private:
    std::uint16_t rate_ = 0;
    std::uint16_t count_ = 0;
};

inline constexpr std::size_t hours_of_week = 168;

/// The hour of the week of a local time, Monday 00:00 being 0.
[[nodiscard]] constexpr std::size_t hour_of_week(wall_time local) noexcept {
    std::int64_t const slot = (calendar_hour(local) % 168 + 72) % 168;  // 1 January 1970 was a Thursday
    return static_cast<std::size_t>(slot < 0 ? slot + 168 : slot);
}
/// The wall time of a place: moved by its offset, within the range that times are reckoned in.
[[nodiscard]] constexpr wall_time local_time(wall_time t, milliseconds utc_offset) noexcept {
    std::int64_t const ms = t.time_since_epoch().count();
    std::int64_t const most = retry_time_max.count();
    return wall_time{milliseconds{(ms < -most ? -most : ms > most ? most : ms)} + utc_offset};
}

/// What an hour of the week is usually like: a share of the hour, learned with recency, and how well it is known.
///
/// A plain average over the first weeks, then an eighth of each new week. An hour that was seen less than twice answers
/// with what the same hour of the other days is like. Cost: O(1) to learn, at most 7 steps to ask; 336 bytes.
class hourly_habit {
public:
    static constexpr std::size_t state_size = 2 * hours_of_week;

    /// An hour has passed: for so many thousandths of it the thing was so. Preconditions: hour < 168, share <= 1000.
    constexpr void learned(std::size_t hour, std::uint32_t share_per_mille) noexcept {
        SYNCLINE_ASSERT(hour < hours_of_week && share_per_mille <= 1000);
        slot& s = slots_[hour];
        if (s.seen != 0xFF) { ++s.seen; }
        int const part = s.seen < 8 ? s.seen : 8;
        int const goal = static_cast<int>(share_per_mille * 255 / 1000);
        int const step = goal - s.share;
        // Away from zero, so that what always holds is learned in full.
        s.share = static_cast<std::uint8_t>(s.share + (step + (step > 0 ? part - 1 : step < 0 ? 1 - part : 0)) / part);
    }
    /// Per mille; empty while nothing is known of this hour or its like.
    [[nodiscard]] constexpr std::optional<std::uint32_t> per_mille(std::size_t hour) const noexcept {
        SYNCLINE_ASSERT(hour < hours_of_week);
        if (slots_[hour].seen >= 2) { return scaled(slots_[hour].share); }
        std::uint32_t sum = 0;
        std::uint32_t days = 0;
        for (std::size_t h = hour % 24; h < hours_of_week; h += 24) {
            if (slots_[h].seen == 0) { continue; }
            sum += slots_[h].share;
            ++days;
        }
        if (days == 0) { return {}; }
        return scaled(sum / days);
    }
    /// How many weeks this hour was seen, up to 255: the confidence.
    [[nodiscard]] constexpr std::uint32_t weeks(std::size_t hour) const noexcept { return slots_[hour].seen; }
    template <class Out>
    constexpr void put(Out& out) const noexcept {
        for (slot const& s : slots_) { out.put(s.share, 1).put(s.seen, 1); }
    }
    constexpr void take(detail::state_reader& in) noexcept {
        for (slot& s : slots_) {
            s.share = static_cast<std::uint8_t>(in.take(1, 0xFF));
            s.seen = static_cast<std::uint8_t>(in.take(1, 0xFF));
            in.require(s.seen != 0 || s.share == 0);
        }
    }
    friend constexpr bool operator==(hourly_habit const&, hourly_habit const&) = default;

private:
    struct slot {
        std::uint8_t share = 0;  ///< in 255ths
        std::uint8_t seen = 0;
        friend constexpr bool operator==(slot const&, slot const&) = default;
    };
    [[nodiscard]] static constexpr std::uint32_t scaled(std::uint32_t share) noexcept {
        return (share * 1000 + 127) / 255;
    }
    std::array<slot, hours_of_week> slots_{};
};

/// Additive increase, multiplicative decrease of a size within limits: an eighth of the start more for a good round,
/// half for a bad one. Kept in 256ths.
/// Source: Chiu and Jain, "Analysis of the Increase and Decrease Algorithms", 1989.
class adapted_size {
public:
    static constexpr std::size_t state_size = 4;

    constexpr void good(std::uint32_t start, std::uint32_t most) noexcept {
        set(std::uint64_t{now(start)} + (std::max)(std::uint64_t{start} * 256 / 8, std::uint64_t{64}), most);
    }
    constexpr void bad(std::uint32_t start, std::uint32_t most) noexcept { set(now(start) / 2, most); }
    /// Between 1 and `most`; the start while nothing was learned.
    [[nodiscard]] constexpr std::uint32_t size(std::uint32_t start, std::uint32_t most) const noexcept {
        std::uint32_t const n = now(start) / 256;
        return n < 1 ? 1 : n < most ? n : most;
    }
    template <class Out>
    constexpr void put(Out& out) const noexcept {
        out.put(size_, 4);
    }
    constexpr void take(detail::state_reader& in) noexcept {
        size_ = static_cast<std::uint32_t>(in.take(4, std::uint64_t{65'535} * 256));
        in.require(size_ == 0 || size_ >= 256);
    }
    friend constexpr bool operator==(adapted_size const&, adapted_size const&) = default;

private:
    [[nodiscard]] constexpr std::uint32_t now(std::uint32_t start) const noexcept {
        return size_ != 0 ? size_ : start * 256;
    }
    constexpr void set(std::uint64_t n, std::uint32_t most) noexcept {
        std::uint64_t const top = std::uint64_t{most} * 256;
        size_ = static_cast<std::uint32_t>(n < 256 ? 256 : n < top ? n : top);
    }
    std::uint32_t size_ = 0;  ///< in 256ths; 0 = nothing learned
};

}  // namespace syncline::inline SYNCLINE_ABI
