// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Thresholds that raise alerts, escalate them, and clear them with hysteresis.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <syncline/core/config.hpp>
#include <syncline/core/time.hpp>
#include <syncline/metrics/snapshot.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What a rule looks at. Stored: append, never renumber.
enum class alert_signal : std::uint8_t {
    conflict_share,  ///< of late, in millionths
    failures_in_a_row,
    integrity_loss,  ///< rows that are not sound, in millionths of those checked
    failure_share,   ///< of late, in millionths
    exchange_p95,    ///< of late, in microseconds
    staleness,       ///< milliseconds
    oldest_pending,  ///< milliseconds
};
inline constexpr std::size_t signal_count = 7;
[[nodiscard]] constexpr char const* words(alert_signal s) noexcept {
    constexpr std::array<char const*, signal_count> names{"conflicts",
                                                          "failures in a row",
                                                          "rows that are not sound",
                                                          "failed exchanges",
                                                          "95th percentile of an exchange",
                                                          "staleness",
                                                          "oldest pending entry"};
    return static_cast<std::size_t>(s) < signal_count ? names[static_cast<std::size_t>(s)] : "unknown signal";
}
/// How much it matters.
enum class alert_severity : std::uint8_t { notice, warning, critical };

/// When an alert is raised and when it ends. Every signal is such that more is worse.
struct alert_rule {
    alert_signal what = alert_signal::failures_in_a_row;
    std::uint64_t raise_above = 0;  ///< raised when the signal is greater
    std::uint64_t clear_at = 0;     ///< cleared when it is no greater than this; <= raise_above
    alert_severity first = alert_severity::warning;
    std::uint64_t critical_above = ~std::uint64_t{0};       ///< critical at once when greater; >= raise_above
    milliseconds escalate_after{std::chrono::minutes{30}};  ///< a step more severe after each such time; > 0
    std::uint64_t samples_min = 0;  ///< of what a share or percentile is of: with fewer nothing is raised
    friend constexpr bool operator==(alert_rule const&, alert_rule const&) = default;
};
[[nodiscard]] constexpr bool valid(alert_rule const& r) noexcept {
    return r.clear_at <= r.raise_above && r.critical_above >= r.raise_above && r.escalate_after.count() > 0 &&
           static_cast<std::size_t>(r.what) < signal_count;
}

/// The defaults: conflicts above 1 %, three failures in a row, integrity below 99.9 %, success below 99.5 %, the 95th
/// percentile of an exchange above 500 ms, an hour of staleness.
inline constexpr std::array<alert_rule, 6> default_alert_rules{{
    {alert_signal::conflict_share, 10'000, 5'000, alert_severity::warning, 100'000, std::chrono::hours{1}, 20},
    {alert_signal::failures_in_a_row, 2, 0, alert_severity::warning, 9, std::chrono::minutes{30}, 0},
    {alert_signal::integrity_loss, 1'000, 500, alert_severity::critical, 1'000, std::chrono::hours{1}, 1},
    {alert_signal::failure_share, 5'000, 2'500, alert_severity::notice, 200'000, std::chrono::hours{1}, 20},
    {alert_signal::exchange_p95, 500'000, 400'000, alert_severity::notice, 5'000'000, std::chrono::hours{1}, 20},
    {alert_signal::staleness, 3'600'000, 1'800'000, alert_severity::warning, 86'400'000, std::chrono::hours{4}, 0},
}};

/// A signal's value in a snapshot, and how many samples it rests on; empty where nothing is known.
struct signal_value {
    std::uint64_t value = 0;
    std::uint64_t samples = 0;
    friend constexpr bool operator==(signal_value const&, signal_value const&) = default;
};
[[nodiscard]] inline std::optional<signal_value> value_of(alert_signal what, metrics_snapshot const& s) noexcept {
    auto const sum = [&](counter_values const& n, std::initializer_list<metric_counter> of_them) {
        std::uint64_t total = 0;
        for (metric_counter const c : of_them) { total = saturating_add(total, value_in(n, c)); }
        return total;
    };
    switch (what) {
        case alert_signal::conflict_share: {
            auto const part = conflict_ratio(s.recent);
            if (!part) { return {}; }
            return signal_value{*part,
                                sum(s.recent, {metric_counter::entries_applied, metric_counter::entries_overruled,
                                               metric_counter::entries_conflicted, metric_counter::entries_rejected})};
        }
        case alert_signal::failures_in_a_row: return signal_value{s.failures_in_a_row, s.failures_in_a_row};
        case alert_signal::integrity_loss: {
            auto const part = integrity(s.total);
            if (!part) { return {}; }
            return signal_value{whole_share - *part, s.of(metric_counter::rows_checked)};
        }
        case alert_signal::failure_share: {
            auto const part = success_ratio(s.recent);
            if (!part) { return {}; }
            return signal_value{whole_share - *part,
                                sum(s.recent, {metric_counter::exchanges, metric_counter::exchanges_failed})};
        }
        case alert_signal::exchange_p95: {
            auto const p95 = s.recent_exchanges.quantile(950);
            if (!p95) { return {}; }
            return signal_value{*p95, s.recent_exchanges.count()};
        }
        case alert_signal::staleness:
        case alert_signal::oldest_pending: {
            // Stale is what either reporter says: the session of the whole, the schedule of the worst collection.
            auto const g =
                s.of(what == alert_signal::staleness ? metric_gauge::staleness : metric_gauge::oldest_pending);
            auto const worst = what == alert_signal::staleness ? s.of(metric_gauge::stalest_collection) : std::nullopt;
            if (!g && !worst) { return {}; }
            return signal_value{(std::max)(g.value_or(0), worst.value_or(0)), 1};
        }
    }
    return {};
}

/// What an alert does.
enum class alert_change : std::uint8_t { raised, escalated, cleared };
struct alert {
    alert_change change = alert_change::raised;
    std::size_t rule = 0;  ///< its index
    alert_signal what = alert_signal::failures_in_a_row;
    alert_severity level = alert_severity::notice;
    std::uint64_t value = 0;
    wall_time since{};  ///< raised
    friend constexpr bool operator==(alert const&, alert const&) = default;
};

/// Watches snapshots for the alerts of some rules.
///
/// A value that stays between `clear_at` and `raise_above` changes nothing, so that an alert doesn't flutter. A signal of
/// which nothing is known any more leaves its alert as it is. A clock that is set back escalates nothing.
/// Cost: O(rules) a look; a quantile where a rule asks for one.
class alerts {
public:
    /// Precondition: each rule is valid.
    explicit alerts(std::span<alert_rule const> rules = default_alert_rules) {
        for (alert_rule const& r : rules) {
            SYNCLINE_ASSERT(valid(r));
            states_.push_back({r, false, alert_severity::notice, {}, {}});
        }
    }

    /// What has changed with this snapshot, in the order of the rules.
    [[nodiscard]] std::vector<alert> look(metrics_snapshot const& s, wall_time at) {
        wall_time const now = detail::sane_time(at);
        std::vector<alert> out;
        for (std::size_t i = 0; i < states_.size(); ++i) {
            state& a = states_[i];
            auto const v = value_of(a.rule.what, s);
            if (!v) { continue; }
            a.value = v->value;
            if (now < a.stepped) { a.stepped = now; }  // else nothing would escalate until the clock is there again
            auto const tell = [&](alert_change change) {
                out.push_back({change, i, a.rule.what, a.level, v->value, a.since});
            };
            if (!a.active) {
                if (v->value <= a.rule.raise_above || v->samples < a.rule.samples_min) { continue; }
                a.active = true;
                a.since = now;
                a.stepped = now;
                a.level = v->value > a.rule.critical_above ? alert_severity::critical : a.rule.first;
                tell(alert_change::raised);
            } else if (v->value <= a.rule.clear_at) {
                a.active = false;
                tell(alert_change::cleared);
            } else if (a.level != alert_severity::critical) {
                bool const lasts = now > a.stepped && now - a.stepped >= a.rule.escalate_after;
                bool const worse = v->value > a.rule.critical_above;
                if (!lasts && !worse) { continue; }
                a.level =
                    worse || a.level == alert_severity::warning ? alert_severity::critical : alert_severity::warning;
                a.stepped = now;
                tell(alert_change::escalated);
            }
        }
        return out;
    }
    /// The alerts that are raised now.
    [[nodiscard]] std::vector<alert> active() const {
        std::vector<alert> out;
        for (std::size_t i = 0; i < states_.size(); ++i) {
            state const& a = states_[i];
            if (a.active) { out.push_back({alert_change::raised, i, a.rule.what, a.level, a.value, a.since}); }
        }
        return out;
    }

private:
    struct state {
        alert_rule rule;
        bool active;
        alert_severity level;
        wall_time since;
        wall_time stepped;  ///< when it was raised or last escalated
        std::uint64_t value = 0;
    };
    std::vector<state> states_;
};

}  // namespace syncline::inline SYNCLINE_ABI
