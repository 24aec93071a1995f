// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A histogram with bounded relative error that can be merged, in integers alone.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <syncline/core/cbor.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Counts numbers in buckets of equal relative width: 16 to each doubling, those below 32 exactly.
///
/// A quantile is off by at most a 32nd of the value, 3.2 per cent; merging adds no error and gives what one histogram of
/// all samples would have been, in any order. Numbers above 2^40 count as 2^40. Counts saturate.
/// A value. Cost: a sample is a few instructions and one count; a quantile and a merge are linear in the 593 buckets;
/// 4.8 KB; nothing is allocated but by `encode`.
/// Sources: Tene, HdrHistogram (linear steps in each doubling); Masson, Rim, Lee, "DDSketch", VLDB 2019 (relative error,
/// full mergeability).
class histogram {
public:
    static constexpr unsigned sub_bits = 4;
    static constexpr std::uint64_t value_max = std::uint64_t{1} << 40;
    static constexpr std::size_t buckets = (40 - sub_bits + 1) * (std::size_t{1} << sub_bits) + 1;

    constexpr void sampled(std::uint64_t value, std::uint64_t times = 1) noexcept {
        std::uint64_t const v = (std::min)(value, value_max);
        auto& n = counts_[bucket_of(v)];
        n = saturating_add(n, times);
        count_ = saturating_add(count_, times);
        sum_ = saturating_add(sum_, checked_multiply(v, times).value_or(~std::uint64_t{0}));
        if (times != 0) {
            least_ = (std::min)(least_, v);
            most_ = (std::max)(most_, v);
        }
    }
    constexpr void merge(histogram const& o) noexcept {
        for (std::size_t i = 0; i < buckets; ++i) { counts_[i] = saturating_add(counts_[i], o.counts_[i]); }
        count_ = saturating_add(count_, o.count_);
        sum_ = saturating_add(sum_, o.sum_);
        least_ = (std::min)(least_, o.least_);
        most_ = (std::max)(most_, o.most_);
    }
    [[nodiscard]] constexpr std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] constexpr std::uint64_t sum() const noexcept { return sum_; }
    /// Exactly; empty while nothing was counted.
    [[nodiscard]] constexpr std::optional<std::uint64_t> least() const noexcept {
        return count_ == 0 ? std::nullopt : std::optional(least_);
    }
    [[nodiscard]] constexpr std::optional<std::uint64_t> most() const noexcept {
        return count_ == 0 ? std::nullopt : std::optional(most_);
    }
    /// A number that at least so many per mille of the samples don't exceed, within a 32nd. Precondition: <= 1000.
    [[nodiscard]] constexpr std::optional<std::uint64_t> quantile(std::uint32_t per_mille) const noexcept {
        SYNCLINE_ASSERT(per_mille <= 1000);
        if (count_ == 0) { return {}; }
        std::uint64_t const whole = count_ / 1000 * per_mille;
        std::uint64_t rank = whole + (count_ % 1000 * per_mille + 999) / 1000;
        rank = (std::max)(rank, std::uint64_t{1});
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < buckets; ++i) {
            seen = saturating_add(seen, counts_[i]);
            if (seen < rank) { continue; }
            std::uint64_t const middle = first_of(i) + (end_of(i) - first_of(i)) / 2;
            return (std::clamp)(middle, least_, most_);
        }
        return most_;
    }
    /// How many samples are at most a number, to within its bucket.
    [[nodiscard]] constexpr std::uint64_t at_most(std::uint64_t value) const noexcept {
        std::size_t const last = bucket_of((std::min)(value, value_max));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i <= last; ++i) { seen = saturating_add(seen, counts_[i]); }
        return seen;
    }

    /// Appends [count, sum, least, most, [gap, n, gap, n, …]]: a pair for each bucket that isn't empty, its distance from
    /// the one before and its count.
    void encode(cbor_writer& out) const {
        out.array(5);
        out.unsigned_integer(count_);
        out.unsigned_integer(sum_);
        out.unsigned_integer(count_ == 0 ? 0 : least_);
        out.unsigned_integer(most_);
        std::size_t used = 0;
        for (std::uint64_t const n : counts_) { used += n != 0 ? 1 : 0; }
        out.array(2 * used);
        std::size_t last = 0;
        for (std::size_t i = 0; i < buckets; ++i) {
            if (counts_[i] == 0) { continue; }
            out.unsigned_integer(i - last);
            out.unsigned_integer(counts_[i]);
            last = i;
        }
    }
    /// Reads what `encode` wrote. On an error, and where the parts contradict each other (`malformed`), the reader has
    /// failed and what is returned means nothing.
    [[nodiscard]] static histogram decode(cbor_reader& in) noexcept {
        histogram h;
        if (in.array() != 5) { in.fail({errc::malformed, "not a histogram"}); }
        h.count_ = in.unsigned_integer();
        h.sum_ = in.unsigned_integer();
        h.least_ = in.unsigned_integer();
        h.most_ = in.unsigned_integer();
        std::size_t const n = in.array();
        if (n % 2 != 0 || n > 2 * buckets) { in.fail({errc::malformed, "not a histogram's buckets"}); }
        std::size_t at = 0;
        std::uint64_t total = 0;
        std::size_t first = buckets;
        for (std::size_t i = 0; i < n / 2 && !in.failed(); ++i) {
            std::uint64_t const gap = in.unsigned_integer();
            std::uint64_t const times = in.unsigned_integer();
            bool const good = (i == 0 || gap != 0) && gap < buckets - at && times != 0;
            if (!good) { in.fail({errc::malformed, "not a histogram's bucket"}); }
            if (in.failed()) { return h; }
            at += static_cast<std::size_t>(gap);
            h.counts_[at] = times;
            total = saturating_add(total, times);
            if (first == buckets) { first = at; }
        }
        bool const fits = n == 0 ? h.most_ == 0 && h.least_ == 0 && h.sum_ == 0
                                 : h.most_ <= value_max && bucket_of(h.most_) == at && h.least_ <= value_max &&
                                       bucket_of(h.least_) == first && h.least_ <= h.most_;
        if (!in.failed() && (total != h.count_ || !fits)) {
            in.fail({errc::malformed, "a histogram that contradicts itself"});
        }
        if (n == 0) { h.least_ = ~std::uint64_t{0}; }
        return h;
    }
    friend constexpr bool operator==(histogram const&, histogram const&) = default;

private:
    /// Numbers below 32 each have a bucket; of [2^k, 2^(k+1)) the 16 parts follow.
    [[nodiscard]] static constexpr std::size_t bucket_of(std::uint64_t v) noexcept {
        if (v < (1U << sub_bits)) { return static_cast<std::size_t>(v); }
        auto const octave = static_cast<unsigned>(std::bit_width(v)) - 1 - sub_bits;
        return (std::size_t{octave} << sub_bits) + static_cast<std::size_t>(v >> octave);
    }
    [[nodiscard]] static constexpr std::uint64_t first_of(std::size_t i) noexcept {
        if (i < (2U << sub_bits)) { return i; }
        std::size_t const octave = (i >> sub_bits) - 1;
        return std::uint64_t{i - (octave << sub_bits)} << octave;
    }
    /// The last number of a bucket.
    [[nodiscard]] static constexpr std::uint64_t end_of(std::size_t i) noexcept {
        return i + 1 < buckets ? first_of(i + 1) - 1 : value_max;
    }

    std::array<std::uint64_t, buckets> counts_{};
    std::uint64_t count_ = 0;
    std::uint64_t sum_ = 0;
    std::uint64_t least_ = ~std::uint64_t{0};
    std::uint64_t most_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI
