// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The observer that keeps what it hears: totals, what was of late, gauges, times, failures, and a line for each day.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/metrics/histogram.hpp>
#include <syncline/metrics/snapshot.hpp>
#include <syncline/model/observer.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What is kept, and how long.
struct metrics_options {
    milliseconds recent{std::chrono::hours{1}};  ///< "of late" is the last half to whole of this; > 0
    std::uint32_t days = 30;                     ///< that the history keeps, today not counted; at most 366
    milliseconds utc_offset{0};                  ///< of the local day
    friend constexpr bool operator==(metrics_options const&, metrics_options const&) = default;
};
[[nodiscard]] constexpr bool valid(metrics_options const& o) noexcept {
    return o.recent.count() > 1 && o.recent <= milliseconds{std::chrono::hours{24 * 366}} && o.days <= 366 &&
           o.utc_offset >= milliseconds{-86'400'000} && o.utc_offset <= milliseconds{86'400'000};
}

/// One local day in numbers.
struct metrics_day {
    std::int64_t day = 0;  ///< days since 1970-01-01
    counter_values total{};
    std::uint64_t exchange_p95 = 0;  ///< microseconds
    friend constexpr bool operator==(metrics_day const&, metrics_day const&) = default;
};

/// Counts, measures and remembers; models `observer`.
///
/// Tell it the time with `pass` before the first call and now and then, at least every half of `recent`: it reads no
/// clock. Bounded: 45 KB, and a few hundred bytes for each day that is kept. One object, one thread. It lives in memory:
/// `encode` and `restore` carry totals, times, failures and days over a restart.
/// Cost: `counted` a few additions, `took` one or two counts more; `pass` O(1), a day's end O(days).
class metrics {
public:
    /// Precondition: valid(options).
    explicit metrics(metrics_options options = {}) : options_(options) {
        SYNCLINE_ASSERT(valid(options));
        days_.reserve(options.days + 1U);
    }

    void counted(metric_counter c, std::uint64_t n) noexcept {
        auto const i = static_cast<std::size_t>(c);
        total_[i] = saturating_add(total_[i], n);
        now_.total[i] = saturating_add(now_.total[i], n);
        today_[i] = saturating_add(today_[i], n);
        if (c == metric_counter::exchanges && n != 0) { in_a_row_ = 0; }
        if (c == metric_counter::exchanges_failed) {
            in_a_row_ = n < 0xFFFFFFFF - in_a_row_ ? in_a_row_ + static_cast<std::uint32_t>(n) : 0xFFFFFFFF;
        }
    }
    void measured(metric_gauge g, std::uint64_t v) noexcept { gauges_[static_cast<std::size_t>(g)] = v; }
    void took(metric_latency l, std::chrono::microseconds t) noexcept {
        auto const us = t.count() > 0 ? static_cast<std::uint64_t>(t.count()) : 0;
        times_[static_cast<std::size_t>(l)].sampled(us);
        if (l != metric_latency::exchange) { return; }
        now_.exchanges.sampled(us);
        today_exchanges_.sampled(us);
    }
    void failed(observed_part who, failure const& why, wall_time now) noexcept {
        if (failures_ != 0) {
            recent_failure& last = ring_[(first_ + failures_ - 1) % recent_failures_max];
            if (last.who == who && last.code == why.code && last.native == why.native) {
                last.at = now;
                if (last.times != 0xFFFFFFFF) { ++last.times; }
                return;
            }
        }
        if (failures_ == recent_failures_max) {
            first_ = (first_ + 1) % recent_failures_max;
            --failures_;
        }
        ring_[(first_ + failures_++) % recent_failures_max] = {now, who, why.code, why.native, 1};
    }

    /// It is `now`: what is of late moves on, and at midnight a day ends. A clock that is set back ends nothing: what is
    /// of late goes on from where it was.
    void pass(wall_time at) {
        wall_time const now = detail::sane_time(at);
        std::int64_t const day = day_of(now);
        if (!since_) {
            since_ = now;
            slot_began_ = now;
            at_ = now;
            day_ = day;
        }
        if (now < at_) { slot_began_ = detail::sane_time(now - (at_ - slot_began_)); }
        milliseconds const half = options_.recent / 2;
        milliseconds const in_slot = now - slot_began_;
        if (in_slot >= half) {
            // Nothing of the slot before counts when more than a whole one has passed since.
            before_ = in_slot < 2 * half ? now_ : slot{};
            before_span_ = in_slot < 2 * half ? in_slot : milliseconds{0};
            now_ = {};
            slot_began_ = now;
        }
        if (day != day_) {
            if (day > day_) { end_day(); }
            day_ = day;
        }
        at_ = now;
    }

    [[nodiscard]] metrics_snapshot snapshot() const {
        metrics_snapshot s;
        s.at = at_;
        s.since = since_.value_or(wall_time{});
        s.total = total_;
        for (std::size_t i = 0; i < metric_counters; ++i) {
            s.recent[i] = saturating_add(before_.total[i], now_.total[i]);
        }
        s.recent_span = before_span_ + (at_ - slot_began_);
        s.gauge_values = gauges_;
        s.times = times_;
        s.recent_exchanges = before_.exchanges;
        s.recent_exchanges.merge(now_.exchanges);
        s.failures_in_a_row = in_a_row_;
        for (std::size_t i = 0; i < failures_; ++i) { s.failures.push_back(ring_[(first_ + i) % recent_failures_max]); }
        return s;
    }
    /// The days that have ended, the oldest first.
    [[nodiscard]] std::vector<metrics_day> const& days() const noexcept { return days_; }

    /// Appends what outlives a restart, one array of CBOR: [1, now, since or null, [totals], [histograms], failures in a
    /// row, [failures], today, [today's totals], today's exchanges, [[day, [totals], p95], …]]. Not what is of late, nor
    /// gauges: those are measured anew.
    void encode(cbor_writer& out) const {
        out.array(11);
        out.unsigned_integer(1);
        out.integer(at_.time_since_epoch().count());
        since_ ? out.integer(since_->time_since_epoch().count()) : out.null();
        detail::encode_counters(total_, out);
        out.array(metric_latencies);
        for (histogram const& h : times_) { h.encode(out); }
        out.unsigned_integer(in_a_row_);
        out.array(failures_);
        for (std::size_t i = 0; i < failures_; ++i) {
            detail::encode_failure(ring_[(first_ + i) % recent_failures_max], out);
        }
        out.integer(day_);
        detail::encode_counters(today_, out);
        today_exchanges_.encode(out);
        out.array(days_.size());
        for (metrics_day const& d : days_) {
            out.array(3);
            out.integer(d.day);
            detail::encode_counters(d.total, out);
            out.unsigned_integer(d.exchange_p95);
        }
    }
    /// Goes on from what `encode` wrote, under its own options; of more days than they keep, with the latest. Errors, nothing
    /// changed: those of the reader, `unsupported` for another version, `malformed`, `limit`.
    [[nodiscard]] status restore(bytes_view raw, decode_limits const& limits = {}) {
        cbor_reader in(raw, limits);
        metrics m(options_);
        if (in.array() != 11) { in.fail({errc::malformed, "not kept metrics"}); }
        if (in.unsigned_integer() != 1 && !in.failed()) {
            return failure(errc::unsupported, "another version of kept metrics");
        }
        m.at_ = detail::sane_time(wall_time{milliseconds{in.integer()}});
        m.slot_began_ = m.at_;
        if (!in.null()) { m.since_ = detail::sane_time(wall_time{milliseconds{in.integer()}}); }
        m.total_ = detail::decode_counters(in);
        detail::decode_known(in, metric_latencies, [&](std::size_t i) { m.times_[i] = histogram::decode(in); });
        m.in_a_row_ = static_cast<std::uint32_t>((std::min)(in.unsigned_integer(), std::uint64_t{0xFFFFFFFF}));
        std::size_t const failures = in.array();
        if (failures > recent_failures_max) { in.fail({errc::limit, "more than recent_failures_max"}); }
        for (std::size_t i = 0; i < failures && !in.failed(); ++i) {
            m.ring_[m.failures_++] = detail::decode_failure(in);
        }
        m.day_ = in.integer();
        m.today_ = detail::decode_counters(in);
        m.today_exchanges_ = histogram::decode(in);
        std::size_t const days = in.array();
        if (days > days_max) { in.fail({errc::limit, "more days than are ever kept"}); }
        for (std::size_t i = 0; i < days && !in.failed(); ++i) {
            if (in.array() != 3) { in.fail({errc::malformed, "not a day"}); }
            metrics_day d;
            d.day = in.integer();
            d.total = detail::decode_counters(in);
            d.exchange_p95 = in.unsigned_integer();
            if (!m.days_.empty() && m.days_.back().day >= d.day) { in.fail({errc::malformed, "days out of order"}); }
            m.days_.push_back(d);
        }
        if (auto ok = in.finish(); !ok) { return ok.error(); }
        m.keep_days();
        *this = std::move(m);
        return {};
    }

private:
    static constexpr std::size_t days_max = 366;

    struct slot {
        counter_values total{};
        histogram exchanges{};
    };
    [[nodiscard]] std::int64_t day_of(wall_time t) const noexcept {
        std::int64_t const ms = t.time_since_epoch().count();
        std::int64_t const offset = options_.utc_offset.count();
        return calendar_day(wall_time{milliseconds{checked_add(ms, offset).value_or(ms)}});
    }
    void end_day() {
        std::uint64_t const p95 = today_exchanges_.quantile(950).value_or(0);
        // Where the clock was set back, a day may end twice, and after later ones.
        auto const at = std::lower_bound(days_.begin(), days_.end(), day_,
                                         [](metrics_day const& d, std::int64_t day) { return d.day < day; });
        if (at != days_.end() && at->day == day_) {
            for (std::size_t i = 0; i < metric_counters; ++i) {
                at->total[i] = saturating_add(at->total[i], today_[i]);
            }
            at->exchange_p95 = (std::max)(at->exchange_p95, p95);
        } else {
            days_.insert(at, {day_, today_, p95});
        }
        today_ = {};
        today_exchanges_ = {};
        keep_days();
    }
    void keep_days() {
        std::size_t const most = options_.days;
        if (days_.size() > most) { days_.erase(days_.begin(), days_.end() - static_cast<std::ptrdiff_t>(most)); }
    }

    metrics_options options_;
    counter_values total_{};
    std::array<std::optional<std::uint64_t>, metric_gauges> gauges_{};
    std::array<histogram, metric_latencies> times_{};
    slot now_{}, before_{};
    milliseconds before_span_{0};
    wall_time slot_began_{};
    wall_time at_{};
    std::optional<wall_time> since_{};
    std::uint32_t in_a_row_ = 0;
    std::array<recent_failure, recent_failures_max> ring_{};
    std::size_t first_ = 0;
    std::size_t failures_ = 0;
    counter_values today_{};
    histogram today_exchanges_{};
    std::int64_t day_ = 0;
    std::vector<metrics_day> days_;
};
static_assert(observer<metrics> && observer<observer_ref<metrics> const>);

}  // namespace syncline::inline SYNCLINE_ABI
