// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The tables that a schedule follows: defaults after common practice, each of which a host may replace.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include <syncline/core/config.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/backoff.hpp>
#include <syncline/schedule/conditions.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How much to ask of a link.
enum class link_strategy : std::uint8_t { aggressive, moderate, conservative };
inline constexpr std::size_t strategies = 3;
[[nodiscard]] constexpr unsigned last_of(link_strategy) noexcept { return 2; }

/// How hard to compress. What each means is the codec's.
enum class compression_level : std::uint8_t { low, medium, high };
[[nodiscard]] constexpr unsigned last_of(compression_level) noexcept { return 2; }

/// A row of the table of strategies.
struct strategy_options {
    std::uint32_t batch = 100;   ///< entries of one request to begin with; 1 to 65 535
    std::uint32_t parallel = 5;  ///< requests at once; 1 to 65 535
    compression_level compression = compression_level::low;
    bool large_values = false;                   ///< those that a host keeps apart from records: photos, documents
    sync_class lowest = sync_class::background;  ///< less urgent classes wait for a better link
    friend constexpr bool operator==(strategy_options const&, strategy_options const&) = default;
};

/// What may hold work back. Each stops the classes from one on.
enum class schedule_gate : std::uint8_t {
    offline,
    backing_off,   ///< the last exchange failed, and its wait is not over
    server_asked,  ///< the authority's Retry-After
    server_loaded,
    roaming,
    metered,
    data_saver,
    battery_low,
    battery_critical,
    low_power_mode,
    hot,
    too_hot,
    storage_full,  ///< pulls only: sending makes room
    quiet_hours,
    no_window,  ///< in the background, and the system has granted no time
    day_budget,
    class_budget,
    weak_link,  ///< the strategy's `lowest`
};
inline constexpr std::size_t gates = 18;
using class_times = std::array<milliseconds, sync_classes>;

namespace detail {
constexpr class_times schedule_seconds(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) noexcept {
    return {milliseconds{a * 1000}, milliseconds{b * 1000}, milliseconds{c * 1000}, milliseconds{d * 1000}};
}
}  // namespace detail

/// How a schedule decides. All times not negative and at most 2^36 ms, two years; per-mille factors
/// up to 10 000.
struct schedule_options {
    /// How often a collection of each class is looked at while nobody tells of its changes and the radio would have to be
    /// woken for it. Not the outbox's patience, which orders entries.
    class_times interval = detail::schedule_seconds(30, 300, 1800, 3600);
    /// The same while push notifications tell what changes: these looks only catch what a lost notification hid.
    class_times interval_noticed = detail::schedule_seconds(1800, 3600, 7200, 14'400);
    /// How long what is known of may wait for company, a write of this device or a change that a notification told of.
    class_times patience = detail::schedule_seconds(0, 900, 1800, 3600);
    std::uint32_t cheap_per_mille = 100;       ///< of a look's interval on a link whose radio costs next to nothing
    std::uint32_t cheap_known_per_mille = 20;  ///< there, of the patience with what is known of
    std::uint32_t idle_per_mille = 3000;       ///< of a look's interval while nobody uses the program
    std::uint32_t save_per_mille = 2000;  ///< of all intervals in a low-power mode, on low battery or with data saver
    std::uint32_t ride_per_mille = 50;    ///< of an interval while another program keeps the radio busy
    std::uint32_t join_per_mille = 100;  ///< what is older than this share of its interval comes along with an exchange
    std::uint32_t leave_per_mille = 250;   ///< of an interval in the last minutes before a link usually goes
    std::uint32_t jitter_per_mille = 100;  ///< a device's looks come later by up to this share, each device another
    /// A class waits longer, up to this many thousandths of its interval, where an unmetered link usually comes in time.
    std::uint32_t better_link_per_mille = 3000;
    std::uint32_t better_link_likely = 600;  ///< how likely, per mille, that has to be
    sync_class better_link_from = sync_class::normal;

    std::array<strategy_options, strategies> table{{
        {100, 5, compression_level::low, true, sync_class::background},
        {25, 2, compression_level::medium, false, sync_class::background},
        {5, 1, compression_level::high, false, sync_class::important},
    }};
    std::uint32_t aggressive_kbps = 10'000;    ///< above: aggressive
    std::uint32_t moderate_kbps = 1'000;       ///< above: moderate
    std::uint32_t hysteresis_per_mille = 250;  ///< so much above a bound a better strategy begins
    milliseconds strategy_hold{30'000};        ///< and only after so long on the worse one
    std::uint32_t batch_growth = 4;            ///< batch and parallelism adapt up to so many times the table's

    /// The most urgent class that each gate stops; `sync_classes` = none. By the numbers of `schedule_gate`.
    std::array<std::uint8_t, gates> stops{0, 0, 0, 2, 1, 3, 3, 2, 1, 3, 2, 1, 1, 2, 0, 1, 0, 2};
    /// Gates that what has waited for `stale_max` passes, so that no class starves: all that are a matter of thrift.
    std::array<bool, gates> yields{false, false, false, true,  false, true,  true,  true,  false,
                                   true,  false, false, false, true,  false, false, false, true};
    /// Gates that only keep a class from waking the radio: with an exchange that happens anyway it comes along.
    std::array<bool, gates> lets_join{false, false, false, false, false, true,  false, true,  false,
                                      true,  false, false, false, true,  false, false, false, false};
    class_times stale_max = detail::schedule_seconds(600, 1800, 7200, 14'400);

    std::uint8_t battery_low = 15;  ///< per cent, when not charging
    std::uint8_t battery_critical = 5;
    std::uint8_t battery_hysteresis = 5;  ///< per cent above, until it counts as better
    std::uint8_t server_load_max = 80;    ///< per cent
    std::uint64_t free_bytes_min = std::uint64_t{50} << 20;
    bool unknown_cost_is_metered = true;  ///< where neither `metered` nor the kind of the link is known

    std::optional<std::uint64_t>
        day_bytes{};  ///< that may be moved a day on metered links; critical work may exceed it
    std::array<std::optional<std::uint64_t>, sync_classes> class_bytes{};
    milliseconds utc_offset{0};  ///< of the local day and week

    milliseconds send_reserve{120'000};         ///< what has a deadline goes out so long before
    std::uint32_t steady_link = 950;            ///< and at once where the hour usually has less of a link, per mille
    milliseconds event_reserve{3'600'000};      ///< a calendar's collection is begun so long before it has to be
    std::uint32_t throughput_guess_kbps = 500;  ///< until throughput was seen
    milliseconds window_reserve{3'000};         ///< of a granted window nothing new is begun in its last part
    milliseconds look_max{6 * 3'600'000};       ///< the longest time without a decision; > 0
    milliseconds wait_max{24 * 3'600'000};      ///< a wait that is longer was written under another clock; > 0
    milliseconds clock_tolerance{60'000};       ///< what lies further ahead than this was written under another clock
    backoff_options backoff{.base = milliseconds{10'000}, .cap = milliseconds{900'000}};
    friend constexpr bool operator==(schedule_options const&, schedule_options const&) = default;
};

[[nodiscard]] constexpr bool valid(schedule_options const& o) noexcept {
    auto const time = [](milliseconds t) { return t.count() >= 0 && t <= milliseconds{std::int64_t{1} << 36}; };
    bool good = valid(o.backoff) && o.look_max.count() > 0 && o.wait_max.count() > 0 && o.battery_low <= 100 &&
                o.battery_critical <= o.battery_low && o.battery_hysteresis <= 50 && o.batch_growth >= 1 &&
                o.batch_growth <= 1000 && o.throughput_guess_kbps > 0 && o.moderate_kbps <= o.aggressive_kbps;
    for (std::uint32_t const n :
         {o.cheap_per_mille, o.cheap_known_per_mille, o.idle_per_mille, o.save_per_mille, o.ride_per_mille,
          o.join_per_mille, o.leave_per_mille, o.jitter_per_mille, o.better_link_per_mille, o.better_link_likely,
          o.hysteresis_per_mille, o.steady_link}) {
        good = good && n <= 10'000;
    }
    for (std::size_t c = 0; c < sync_classes; ++c) {
        good =
            good && time(o.interval[c]) && time(o.interval_noticed[c]) && time(o.patience[c]) && time(o.stale_max[c]);
    }
    for (milliseconds const t : {o.strategy_hold, o.send_reserve, o.event_reserve, o.window_reserve, o.look_max,
                                 o.wait_max, o.clock_tolerance}) {
        good = good && time(t);
    }
    for (auto const& row : o.table) {
        good = good && row.batch >= 1 && row.batch <= 65'535 && row.parallel >= 1 && row.parallel <= 65'535;
    }
    for (std::uint8_t const first : o.stops) { good = good && first <= sync_classes; }
    return good && o.utc_offset >= milliseconds{-86'400'000} && o.utc_offset <= milliseconds{86'400'000};
}

}  // namespace syncline::inline SYNCLINE_ABI
