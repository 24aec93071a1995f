// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a schedule has learned: how links and exchanges fare, when which link is there, when the user opens what.

#include <algorithm>
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
#include <syncline/schedule/conditions.hpp>
#include <syncline/schedule/estimators.hpp>
#include <syncline/schedule/options.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How one exchange fared.
struct transfer_report {
    bool good = false;
    milliseconds took{0};
    milliseconds round_trip{0};  ///< zero = unknown
    std::uint64_t bytes_up = 0;
    std::uint64_t bytes_down = 0;
    std::uint32_t entries = 0;                              ///< that were sent
    bool metered = false;                                   ///< whether the bytes count against the budgets
    std::array<std::uint64_t, sync_classes> class_bytes{};  ///< of both ways, as far as they belong to a class
    std::optional<milliseconds> retry_after{};              ///< the authority's hint
    friend constexpr bool operator==(transfer_report const&, transfer_report const&) = default;
};

/// Collections whose use is learned; others share their places.
inline constexpr std::size_t learned_collections = 8;

/// True where the link costs by the byte, by all that is known.
[[nodiscard]] constexpr bool costs_by_byte(network_conditions const& n, schedule_options const& o) noexcept {
    if (n.metered) { return *n.metered; }
    if (n.kind) { return *n.kind == link_kind::cellular || *n.kind == link_kind::satellite; }
    return o.unknown_cost_is_metered;
}
/// True where waking the radio costs next to nothing: mains, a cable, Wi-Fi. Metered Wi-Fi (a phone's hotspot) is cheap
/// in energy all the same.
[[nodiscard]] constexpr bool cheap_radio(network_conditions const& n) noexcept {
    if (n.kind) { return *n.kind == link_kind::wired || *n.kind == link_kind::wifi; }
    return n.metered && !*n.metered;
}

/// What a schedule keeps between decisions: a value, to be stored by `to_array` in the transaction that records the
/// exchange it learned from.
///
/// `saw` after every change of conditions and every decision, `succeeded` or `failed` after every exchange, `opened` when
/// the user opens a collection. Deterministic; integers; bounded: `state_size` bytes stored, under 4 KB.
/// Cost: each call O(1), at most 24 steps of an hour after a long sleep; nothing is allocated.
class schedule_memory {
public:
    static constexpr std::size_t state_size =
        1 + 8 + 4 + 2 * moving_average::state_size + 2 * windowed_quantile::state_size +
        round_trip_estimator::state_size + success_rate::state_size +
        (2 + learned_collections) * hourly_habit::state_size + 2 * strategies * adapted_size::state_size + 8 +
        sync_classes * 8 + 12 + 8 + 8 + 4 + 8 + 8 + 8 + 12;
    using state = std::array<std::byte, state_size>;
    static_assert(state_size < 4096);

    /// `device` spreads the looks of a fleet: any number that differs between devices, say random bits kept with the state.
    constexpr explicit schedule_memory(std::uint64_t device = 0) noexcept : device_(device) {}

    /// The host tells what is so now, whenever something changed and before every decision.
    constexpr void saw(conditions const& c, schedule_options const& o, wall_time at) noexcept {
        wall_time const now = local_time(at, milliseconds{0});
        pass_time(o, now);
        // What carries the bytes is there; of neither anything known, the link of before stands, and nothing is learned.
        bool const told = c.network.online || c.network.kind;
        bool const online = c.network.online.value_or(c.network.kind ? true : online_);
        if (online && !online_ && seen_at_) { online_since_ = now; }
        auto const link = static_cast<std::uint8_t>(!online          ? 0
                                                    : c.network.kind ? 2 + static_cast<int>(*c.network.kind)
                                                                     : 1);
        if (link != link_) {  // another link, another chance
            if (!pause_is_asked_) { paused_for_ = milliseconds{0}; }
            round_trip_ = {};
        }
        link_ = link;
        online_ = online;
        cheap_ = online && cheap_radio(c.network);
        link_unknown_ = !told;
        if (c.power.level) { low_battery_ = battery_low(c.power, o); }
        link_strategy const s = next_strategy(c.network, o, now);
        if (s != strategy_) {
            strategy_ = s;
            strategy_since_ = now;
        }
        day_of(o, now);
        seen_at_ = now;
    }

    /// An exchange succeeded.
    constexpr void succeeded(transfer_report const& r, schedule_options const& o, wall_time at) noexcept {
        wall_time const now = local_time(at, milliseconds{0});
        exchanged(r, o, now);
        success_.sampled(true);
        attempts_ = 0;
        paused_for_ = milliseconds{0};
        pause_is_asked_ = false;
        auto const& row = o.table[static_cast<std::size_t>(strategy_)];
        bool const slow = round_trip_.timeout() && r.round_trip > *round_trip_.timeout() &&
                          r.round_trip > 2 * *round_trip_.smoothed();
        adapt(row, o, !slow, r.entries);
        if (r.round_trip.count() > 0) { round_trip_.sampled(r.round_trip); }
    }
    /// An exchange failed: nothing more before a wait that doubles with each failure, or the authority's hint if longer.
    template <random_source G>
    constexpr void failed(transfer_report const& r, schedule_options const& o, wall_time at, G& random) noexcept {
        wall_time const now = local_time(at, milliseconds{0});
        exchanged(r, o, now);
        success_.sampled(false);
        backoff<equal_jitter> wait(o.backoff);
        static_cast<void>(wait.restore(detail::state_writer<12>().put(attempts_, 4).put(0, 8).done()));
        auto const length = r.retry_after ? wait.next(random, *r.retry_after) : wait.next(random);
        if (attempts_ != 0xFFFFFFFF) { ++attempts_; }
        paused_for_ = clamped(length.value_or(o.backoff.cap), o.wait_max);
        paused_at_ = now;
        pause_is_asked_ = r.retry_after.has_value();
        adapt(o.table[static_cast<std::size_t>(strategy_)], o, false, r.entries);
    }
    /// The user opened a collection (or the program: id 0).
    constexpr void opened(std::uint16_t collection, schedule_options const& o, wall_time at) noexcept {
        wall_time const now = local_time(at, milliseconds{0});
        pass_time(o, now);
        opened_ |= static_cast<std::uint8_t>(1U << (collection % learned_collections));
        seen_at_ = now;
    }

    /// Until when nothing may be tried; empty = now. What was written under a clock that was set back is over.
    [[nodiscard]] constexpr std::optional<wall_time> paused_until(wall_time now) const noexcept {
        if (paused_for_.count() == 0 || paused_at_ > now || elapsed(paused_at_, now) >= paused_for_) { return {}; }
        return paused_at_ + paused_for_;
    }
    /// Per mille of the hour after so many hours in which there usually is a link that costs next to nothing.
    [[nodiscard]] constexpr std::optional<std::uint32_t> cheap_link(wall_time at,
                                                                    schedule_options const& o) const noexcept {
        return cheap_habit_.per_mille(hour_of_week(local_time(at, o.utc_offset)));
    }
    [[nodiscard]] constexpr std::optional<std::uint32_t> any_link(wall_time at,
                                                                  schedule_options const& o) const noexcept {
        return online_habit_.per_mille(hour_of_week(local_time(at, o.utc_offset)));
    }
    /// How likely, per mille, the user opens this collection in the hour of a time.
    [[nodiscard]] constexpr std::optional<std::uint32_t> use(std::uint16_t collection, wall_time at,
                                                             schedule_options const& o) const noexcept {
        return use_habit_[collection % learned_collections].per_mille(hour_of_week(local_time(at, o.utc_offset)));
    }
    /// What an exchange is likely to move at least: the lower quartile of late, else the average.
    [[nodiscard]] constexpr std::optional<std::uint32_t> throughput_kbps() const noexcept {
        if (down_late_.samples() >= 4) { return down_late_.at(250); }
        return down_.value();
    }
    [[nodiscard]] constexpr moving_average const& up_kbps() const noexcept { return up_; }
    [[nodiscard]] constexpr moving_average const& down_kbps() const noexcept { return down_; }
    [[nodiscard]] constexpr windowed_quantile const& round_trips() const noexcept { return round_trips_late_; }
    [[nodiscard]] constexpr round_trip_estimator const& round_trip() const noexcept { return round_trip_; }
    [[nodiscard]] constexpr success_rate const& success() const noexcept { return success_; }
    [[nodiscard]] constexpr std::uint32_t failures() const noexcept { return attempts_; }
    [[nodiscard]] constexpr link_strategy now_strategy() const noexcept { return strategy_; }
    [[nodiscard]] constexpr std::optional<wall_time> online_since() const noexcept { return online_since_; }
    [[nodiscard]] constexpr std::uint64_t device() const noexcept { return device_; }
    [[nodiscard]] constexpr std::uint32_t exchanges() const noexcept { return exchanges_; }

    [[nodiscard]] constexpr std::uint32_t batch(link_strategy s, schedule_options const& o) const noexcept {
        auto const& row = o.table[static_cast<std::size_t>(s)];
        return batch_[static_cast<std::size_t>(s)].size(row.batch, most(row.batch, o));
    }
    [[nodiscard]] constexpr std::uint32_t parallel(link_strategy s, schedule_options const& o) const noexcept {
        auto const& row = o.table[static_cast<std::size_t>(s)];
        return parallel_[static_cast<std::size_t>(s)].size(row.parallel, row.parallel);
    }
    /// What was moved today on metered links, by class and in all. Zero on another day than that of the last exchange.
    [[nodiscard]] constexpr std::uint64_t spent(std::size_t c, schedule_options const& o,
                                                wall_time now) const noexcept {
        return local_day(o, now) == day_ ? spent_[c] : 0;
    }
    [[nodiscard]] constexpr std::uint64_t spent(schedule_options const& o, wall_time now) const noexcept {
        return local_day(o, now) == day_ ? spent_all_ : 0;
    }
    [[nodiscard]] static constexpr std::int64_t local_day(schedule_options const& o, wall_time now) noexcept {
        return calendar_day(local_time(now, o.utc_offset));
    }
    /// Low, with hysteresis: it stays low until the battery is some per cent above the bound.
    [[nodiscard]] constexpr bool battery_low(power_conditions const& p, schedule_options const& o) const noexcept {
        if (!p.level || p.charging.value_or(false)) { return false; }
        return *p.level <= o.battery_low + (low_battery_ ? o.battery_hysteresis : 0);
    }
    /// The strategy for a link, with hysteresis: worse at once, better only well above the bound and after a while.
    [[nodiscard]] constexpr link_strategy next_strategy(network_conditions const& n, schedule_options const& o,
                                                        wall_time now) const noexcept {
        auto const wanted = plain_strategy(n, o, 0);
        if (!wanted || !seen_at_) { return wanted.value_or(strategy_); }
        if (*wanted >= strategy_) { return *wanted; }
        bool const held = strategy_since_ <= now && elapsed(strategy_since_, now) < o.strategy_hold;
        if (held) { return strategy_; }
        auto const sure = plain_strategy(n, o, o.hysteresis_per_mille);
        return sure && *sure < strategy_ ? *sure : strategy_;
    }
    /// The table's row for what is known of a link: the worse of its type and its downlink; of neither, of what was
    /// learned; of nothing, none.
    [[nodiscard]] constexpr std::optional<link_strategy> plain_strategy(network_conditions const& n,
                                                                        schedule_options const& o,
                                                                        std::uint32_t margin_per_mille) const noexcept {
        std::optional<link_strategy> out;
        auto const at_worst = [&out](link_strategy s) { out = out && *out > s ? *out : s; };
        if (n.effective) {
            at_worst(*n.effective == effective_type::type_4g   ? link_strategy::aggressive
                     : *n.effective == effective_type::type_3g ? link_strategy::moderate
                                                               : link_strategy::conservative);
        }
        std::optional<std::uint32_t> const kbps = n.downlink_kbps                             ? n.downlink_kbps
                                                  : n.effective || n.kind == link_kind::wired ? std::nullopt
                                                                                              : throughput_kbps();
        if (kbps) {
            auto const above = [&](std::uint32_t bound) {
                return std::uint64_t{*kbps} * 1000 > std::uint64_t{bound} * (1000 + margin_per_mille);
            };
            at_worst(above(o.aggressive_kbps) ? link_strategy::aggressive
                     : above(o.moderate_kbps) ? link_strategy::moderate
                                              : link_strategy::conservative);
        }
        if (!out && n.kind == link_kind::wired) { return link_strategy::aggressive; }
        return out;
    }

    /// The stored form: a version, then each part, big-endian.
    [[nodiscard]] friend constexpr state to_array(schedule_memory const& m) noexcept {
        detail::state_writer<state_size> out;
        out.put(1, 1).put(m.device_, 8).put(m.exchanges_, 4);
        m.up_.put(out);
        m.down_.put(out);
        m.down_late_.put(out);
        m.round_trips_late_.put(out);
        m.round_trip_.put(out);
        m.success_.put(out);
        m.cheap_habit_.put(out);
        m.online_habit_.put(out);
        for (auto const& h : m.use_habit_) { h.put(out); }
        for (auto const& s : m.batch_) { s.put(out); }
        for (auto const& s : m.parallel_) { s.put(out); }
        out.put(m.spent_all_, 8);
        for (std::uint64_t const n : m.spent_) { out.put(n, 8); }
        out.put(static_cast<std::uint64_t>(m.day_), 8).put(m.attempts_, 4);
        out.put(m.paused_at_).put(m.paused_for_);
        unsigned const flags = (m.online_ ? 1U : 0U) | (m.cheap_ ? 2U : 0U) | (m.low_battery_ ? 4U : 0U) |
                               (m.seen_at_ ? 8U : 0U) | (m.online_since_ ? 16U : 0U) | (m.pause_is_asked_ ? 32U : 0U) |
                               (m.link_unknown_ ? 64U : 0U) | (m.hour_unknown_ ? 128U : 0U);
        out.put(static_cast<std::uint64_t>(m.strategy_), 1).put(flags, 1).put(m.opened_, 1).put(m.link_, 1);
        out.put(m.strategy_since_).put(m.seen_at_.value_or(wall_time{})).put(m.online_since_.value_or(wall_time{}));
        return out.put(m.hour_ms_, 4).put(m.hour_cheap_ms_, 4).put(m.hour_online_ms_, 4).done();
    }
    /// Goes on from what `to_array` wrote. Errors, nothing changed: `unsupported` for another version, `malformed` for
    /// bytes that no memory writes.
    [[nodiscard]] constexpr status restore(bytes_view b) noexcept {
        if (!b.empty() && b[0] != std::byte{1}) {
            return failure(errc::unsupported, "another version of a schedule's memory");
        }
        detail::state_reader in(b);
        schedule_memory m;
        static_cast<void>(in.take(1, 1));
        m.device_ = in.take(8, ~std::uint64_t{0});
        m.exchanges_ = static_cast<std::uint32_t>(in.take(4, 0xFFFFFFFF));
        m.up_.take(in);
        m.down_.take(in);
        m.down_late_.take(in);
        m.round_trips_late_.take(in);
        m.round_trip_.take(in);
        m.success_.take(in);
        m.cheap_habit_.take(in);
        m.online_habit_.take(in);
        for (auto& h : m.use_habit_) { h.take(in); }
        for (auto& s : m.batch_) { s.take(in); }
        for (auto& s : m.parallel_) { s.take(in); }
        m.spent_all_ = in.take(8, ~std::uint64_t{0});
        for (std::uint64_t& n : m.spent_) { n = in.take(8, ~std::uint64_t{0}); }
        m.day_ = static_cast<std::int64_t>(in.take(8, ~std::uint64_t{0}));
        m.attempts_ = static_cast<std::uint32_t>(in.take(4, 0xFFFFFFFF));
        m.paused_at_ = in.take_wall();
        m.paused_for_ = in.take_time();
        m.strategy_ = static_cast<link_strategy>(in.take(1, last_of(link_strategy{})));
        auto const flags = static_cast<unsigned>(in.take(1, 255));
        m.online_ = (flags & 1U) != 0;
        m.cheap_ = (flags & 2U) != 0;
        m.low_battery_ = (flags & 4U) != 0;
        m.pause_is_asked_ = (flags & 32U) != 0;
        m.link_unknown_ = (flags & 64U) != 0;
        m.hour_unknown_ = (flags & 128U) != 0;
        m.opened_ = static_cast<std::uint8_t>(in.take(1, 0xFF));
        m.link_ = static_cast<std::uint8_t>(in.take(1, 2 + last_of(link_kind{})));
        m.strategy_since_ = in.take_wall();
        wall_time const seen = in.take_wall();
        wall_time const since = in.take_wall();
        if ((flags & 8U) != 0) { m.seen_at_ = seen; }
        if ((flags & 16U) != 0) { m.online_since_ = since; }
        in.require((m.seen_at_ || seen == wall_time{}) && (m.online_since_ || since == wall_time{}));
        m.hour_ms_ = static_cast<std::uint32_t>(in.take(4, hour_length));
        m.hour_cheap_ms_ = static_cast<std::uint32_t>(in.take(4, m.hour_ms_));
        m.hour_online_ms_ = static_cast<std::uint32_t>(in.take(4, m.hour_ms_));
        // Near the ends of their range sums of times would overflow.
        in.require(sane(m.paused_at_) && sane(m.strategy_since_) && sane(seen) && sane(since));
        if (!in.done()) { return failure(errc::malformed, "not a schedule's memory"); }
        *this = m;
        return {};
    }
    friend constexpr bool operator==(schedule_memory const&, schedule_memory const&) = default;

private:
    static constexpr std::uint32_t hour_length = 3'600'000;

    [[nodiscard]] static constexpr bool sane(wall_time t) noexcept {
        return t.time_since_epoch() <= retry_time_max && t.time_since_epoch() >= -retry_time_max;
    }
    [[nodiscard]] static constexpr std::uint32_t most(std::uint32_t start, schedule_options const& o) noexcept {
        return (std::min)(start * o.batch_growth, std::uint32_t{65'535});
    }

    /// Counts what held since the last call into the hours that have passed.
    constexpr void pass_time(schedule_options const& o, wall_time now) noexcept {
        if (!seen_at_ || *seen_at_ > now) { return start_hour(); }
        milliseconds const passed = elapsed(*seen_at_, now);
        if (passed > milliseconds{24 * std::int64_t{hour_length}}) { return start_hour(); }  // asleep: nobody looked
        std::int64_t at = local_time(*seen_at_, o.utc_offset).time_since_epoch().count();
        std::int64_t const end = at + passed.count();
        while (at < end) {
            std::int64_t const into = ((at % hour_length) + hour_length) % hour_length;
            std::int64_t const step = (std::min)(end - at, hour_length - into);
            hour_ms_ += static_cast<std::uint32_t>(step);
            if (hour_ms_ > hour_length) { hour_ms_ = hour_length; }
            hour_unknown_ = hour_unknown_ || link_unknown_;
            if (cheap_) { hour_cheap_ms_ = (std::min)(hour_cheap_ms_ + static_cast<std::uint32_t>(step), hour_ms_); }
            if (online_) { hour_online_ms_ = (std::min)(hour_online_ms_ + static_cast<std::uint32_t>(step), hour_ms_); }
            if (into + step == hour_length) { end_hour(wall_time{milliseconds{at}}); }
            at += step;
        }
    }
    constexpr void start_hour() noexcept {
        hour_ms_ = 0;
        hour_cheap_ms_ = 0;
        hour_online_ms_ = 0;
        hour_unknown_ = false;
        opened_ = 0;
    }
    constexpr void end_hour(wall_time local) noexcept {
        std::size_t const hour = hour_of_week(local);
        if (hour_ms_ >= hour_length / 2) {
            if (!hour_unknown_) {
                cheap_habit_.learned(hour, static_cast<std::uint32_t>(std::uint64_t{hour_cheap_ms_} * 1000 / hour_ms_));
                online_habit_.learned(hour,
                                      static_cast<std::uint32_t>(std::uint64_t{hour_online_ms_} * 1000 / hour_ms_));
            }
            for (std::size_t i = 0; i < learned_collections; ++i) {
                use_habit_[i].learned(hour, (opened_ >> i & 1U) != 0 ? 1000 : 0);
            }
        }
        start_hour();
    }
    constexpr void day_of(schedule_options const& o, wall_time now) noexcept {
        if (std::int64_t const day = local_day(o, now); day != day_) {
            day_ = day;
            spent_ = {};
            spent_all_ = 0;
        }
    }
    constexpr void exchanged(transfer_report const& r, schedule_options const& o, wall_time now) noexcept {
        if (exchanges_ != 0xFFFFFFFF) { ++exchanges_; }
        day_of(o, now);
        if (r.metered) {
            auto const add = [](std::uint64_t& sum, std::uint64_t n) { sum = n > ~sum ? ~std::uint64_t{0} : sum + n; };
            for (std::size_t c = 0; c < sync_classes; ++c) { add(spent_[c], r.class_bytes[c]); }
            add(spent_all_, r.bytes_up);
            add(spent_all_, r.bytes_down);
        }
        if (!r.good) { return; }
        if (r.round_trip.count() > 0) {
            round_trips_late_.sampled(
                static_cast<std::uint32_t>(clamped(r.round_trip, milliseconds{0xFFFFFFF}).count()));
        }
        // Without the round trip, as far as it is known; small exchanges say nothing about throughput.
        milliseconds const took = clamped(r.took, retry_time_max);
        milliseconds const trip = clamped(r.round_trip, took);
        milliseconds const moving = trip < took ? took - trip : took;
        auto const rate = [&](std::uint64_t size) {
            auto const ms = static_cast<std::uint64_t>((std::max)(moving, milliseconds{1}).count());
            std::uint64_t const bits = (std::min)(size, std::uint64_t{1} << 50) * 8;
            return static_cast<std::uint32_t>((std::min)(bits / ms, std::uint64_t{0xFFFFFFFF}));
        };
        if (r.bytes_up >= throughput_sample_min) { up_.sampled(rate(r.bytes_up)); }
        if (r.bytes_down >= throughput_sample_min) {
            down_.sampled(rate(r.bytes_down));
            down_late_.sampled(rate(r.bytes_down));
        }
    }
    constexpr void adapt(strategy_options const& row, schedule_options const& o, bool good,
                         std::uint32_t entries) noexcept {
        auto& batch = batch_[static_cast<std::size_t>(strategy_)];
        auto& parallel = parallel_[static_cast<std::size_t>(strategy_)];
        if (!good) {
            batch.bad(row.batch, most(row.batch, o));
            parallel.bad(row.parallel, row.parallel);
            return;
        }
        // A batch that wasn't full says nothing about a larger one than the table's.
        std::uint32_t const size = batch.size(row.batch, most(row.batch, o));
        if (entries >= size) {
            batch.good(row.batch, most(row.batch, o));
        } else if (size < row.batch) {
            batch.good(row.batch, row.batch);
        }
        parallel.good(row.parallel, row.parallel);
    }
    static constexpr std::uint64_t throughput_sample_min = 16'384;

    std::uint64_t device_ = 0;
    std::uint32_t exchanges_ = 0;
    moving_average up_, down_;
    windowed_quantile down_late_, round_trips_late_;
    round_trip_estimator round_trip_;
    success_rate success_;
    hourly_habit cheap_habit_, online_habit_;
    std::array<hourly_habit, learned_collections> use_habit_{};
    std::array<adapted_size, strategies> batch_{}, parallel_{};
    std::uint64_t spent_all_ = 0;
    std::array<std::uint64_t, sync_classes> spent_{};
    std::int64_t day_ = 0;
    std::uint32_t attempts_ = 0;
    wall_time paused_at_{};
    milliseconds paused_for_{0};
    link_strategy strategy_ = link_strategy::moderate;
    bool online_ = false;
    bool cheap_ = false;
    bool low_battery_ = false;
    bool pause_is_asked_ = false;  ///< by the authority: it holds on every link
    bool link_unknown_ = false;    ///< the host last said neither whether there is a link nor which
    bool hour_unknown_ = false;    ///< so at some time of this hour
    std::uint8_t link_ = 0;        ///< 0 = none, 1 = unknown, else 2 + its kind
    std::uint8_t opened_ = 0;      ///< a bit for each learned collection, in this hour
    wall_time strategy_since_{};
    std::optional<wall_time> seen_at_{};
    std::optional<wall_time> online_since_{};
    std::uint32_t hour_ms_ = 0;  ///< of this hour, what was watched
    std::uint32_t hour_cheap_ms_ = 0;
    std::uint32_t hour_online_ms_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI
