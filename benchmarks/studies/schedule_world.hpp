// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The world of the scheduler's study: what a radio costs, and device days from a seed or from a file.
///
/// Committed before the scheduler's defaults were tuned, with the seeds that may be looked at while tuning and those
/// that are held out. Nothing here knows the scheduler.
///
/// Radio. A transfer wakes the radio (promotion), costs while it lasts, and leaves the radio in its high-power state for
/// a tail. Milliwatts and milliseconds: their product is a microjoule.
///
/// | link      | promotion      | tail             | while transferring: base, per Mbit/s up, down | source |
/// |-----------|----------------|------------------|------------------------------------------------|--------|
/// | 3G        | 582 ms 659 mW  | 8 912 ms 785 mW  | 818 mW, 869, 122                               | [1]; two tails, DCH 8 088 ms 804 mW and FACH 824 ms 601 mW, as one |
/// | LTE       | 260 ms 1211 mW | 11 576 ms 1060 mW | 1 288 mW, 438, 52                             | [1]    |
/// | 5G (NSA)  | 520 ms 1400 mW | 20 000 ms 1060 mW | 2 576 mW, 100, 15                             | [2], [3], rounded: twice LTE's power, where [2] says two to three times; promotion and tail about twice as long |
/// | Wi-Fi     | 79 ms 124 mW   | 238 ms 119 mW    | 133 mW, 283, 137                               | [1]    |
///
/// [1] Huang et al., "A Close Examination of Performance and Power Characteristics of 4G LTE Networks", MobiSys 2012,
///     tables 3 and 4. That tails dominate was shown first by Balasubramanian et al., "Energy Consumption in Mobile
///     Phones", IMC 2009, which also proves that no on-line policy with deadlines is always near the clairvoyant one.
/// [2] Xu et al., "Understanding Operational 5G", SIGCOMM 2020.
/// [3] Narayanan et al., "A Variegated Look at 5G in the Wild", SIGCOMM 2021.
///
/// What is sure of this: that tails dominate and that LTE comes to as much as 23 times of Wi-Fi's energy ([1], abstract),
/// and the factor between 5G and LTE ([2], abstract). The single figures were written down from memory of the papers'
/// tables and not compared with them since; those of 5G's promotion, tail and cost by the bit are rounded guesses in their
/// spirit. Every policy is priced by the same radio, so that ratios depend on them less than joules do.
///
/// Days. A persona has phases; in a phase the link is drawn anew with a chance at every tick, from the phase's mix. Local
/// writes come in bursts, changes of others one by one, traffic of other programs in sessions; all are Poisson with a
/// rate for each phase, so that a policy may know the generator in full.

#include <array>
#include <cstdint>
#include <istream>
#include <sstream>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>

namespace schedule_study {

using syncline::random_generator;
using syncline::splitmix64;

inline constexpr std::int64_t tick_seconds = 10;
inline constexpr std::int64_t ticks_per_day = 86'400 / tick_seconds;
inline constexpr std::size_t classes = 4;  // critical, important, normal, background

/// Days to look at while tuning, and days that only the report sees.
inline constexpr std::array<std::uint64_t, 6> seeds_tuning{1, 2, 3, 4, 5, 6};
inline constexpr std::array<std::uint64_t, 8> seeds_held_out{1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008};
/// Days that a learning policy lives through before the one that is measured.
inline constexpr std::uint64_t learning_days = 14;

enum class link : std::uint8_t { none, umts, lte, nr, wifi, wifi_busy };
inline constexpr std::size_t links = 6;
inline constexpr std::array<char const*, links> link_names{"none", "3g", "lte", "5g", "wifi", "wifi-busy"};

struct link_facts {
    std::int64_t promotion_ms, promotion_mw, tail_ms, tail_mw, base_mw, up_mw, down_mw;
    std::int64_t up_kbps, down_kbps, rtt_ms;
    std::uint64_t fails_per_mille;  // exchanges that come to nothing
    bool metered;
};
inline constexpr std::array<link_facts, links> facts{{
    {0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1000, false},
    {582, 659, 8'912, 785, 818, 869, 122, 600, 1'500, 180, 80, true},
    {260, 1'211, 11'576, 1'060, 1'288, 438, 52, 5'600, 12'700, 70, 10, true},
    {520, 1'400, 20'000, 1'060, 2'576, 100, 15, 40'000, 200'000, 35, 10, true},
    {79, 124, 238, 119, 133, 283, 137, 20'000, 40'000, 25, 5, false},
    {79, 124, 238, 119, 133, 283, 137, 400, 800, 400, 250, false},
}};
[[nodiscard]] inline constexpr link_facts const& of(link l) { return facts[static_cast<std::size_t>(l)]; }

/// What an exchange carries beside its content: requests' and replies' heads, and a resumed session's greeting.
inline constexpr std::int64_t overhead_up = 900;
inline constexpr std::int64_t overhead_down = 700;

/// How long an exchange takes, in milliseconds: two round trips and its bytes.
[[nodiscard]] inline constexpr std::int64_t exchange_ms(link l, std::int64_t up, std::int64_t down) {
    auto const& f = of(l);
    return 2 * f.rtt_ms + (up + overhead_up) * 8 / f.up_kbps + (down + overhead_down) * 8 / f.down_kbps;
}

/// The radio of a device over a day: when it cools down, and what our exchanges added.
///
/// Only what comes on top of other programs' traffic is counted: their promotions and tails are theirs.
class radio {
public:
    /// An exchange at a time in milliseconds; `foreign_hot_until`: how long others keep this radio hot. Microjoules.
    std::int64_t exchange(std::int64_t at, link l, std::int64_t up, std::int64_t down, std::int64_t foreign_hot_until) {
        auto const& f = of(l);
        std::int64_t const own = l == last_ ? hot_until_ : 0;
        std::int64_t const hot = own > foreign_hot_until ? own : foreign_hot_until;
        std::int64_t const took = exchange_ms(l, up, down);
        std::int64_t energy = at >= hot ? f.promotion_ms * f.promotion_mw : 0;
        energy += took * f.base_mw + ((up + overhead_up) * f.up_mw + (down + overhead_down) * f.down_mw) * 8 / 1000;
        std::int64_t const end = at + took + f.tail_ms;
        std::int64_t const from = at + took > hot ? at + took : hot;
        if (end > from) { energy += (end - from) * f.tail_mw; }
        last_ = l;
        hot_until_ = end > own ? end : own;
        return energy;
    }
    [[nodiscard]] std::int64_t hot_until(link l) const { return l == last_ ? hot_until_ : 0; }

private:
    link last_ = link::none;
    std::int64_t hot_until_ = 0;
};

/// Something that has to get to the other side.
struct item {
    std::int64_t tick = 0;  ///< arises
    std::size_t cls = 0;    ///< 0 critical to 3 background
    bool remote = false;    ///< a change of others, to be pulled; else a write of this device
    std::int64_t bytes = 0;
    std::int64_t notice =
        -1;  ///< remote: the tick at which a push notification tells of it if there is a link; -1 = never
    std::int64_t deadline = -1;  ///< tick; -1 = none
    bool bulk = false;           ///< known ahead and large: what an event day needs
};

struct day {
    std::vector<link> links;    ///< a tick each
    std::vector<bool> foreign;  ///< other programs transfer
    std::vector<bool> fails;    ///< an exchange in this tick comes to nothing
    std::vector<bool> charging;
    std::vector<bool> active;  ///< the user has the device in hand
    std::vector<item> items;   ///< by tick
};

/// A stretch of a persona's day.
struct phase {
    std::int64_t begin_minute;
    std::array<std::uint64_t, schedule_study::links> mix;  ///< in hundredths
    std::int64_t dwell_seconds;                            ///< until the link is drawn anew, on average
    std::uint64_t bursts_per_100h;                         ///< of local writes
    std::uint64_t remote_per_100h;                         ///< changes of others
    std::uint64_t sessions_per_100h;                       ///< of other programs' traffic, 90 s each on average
    bool charging;
};
struct persona {
    char const* name;
    std::vector<phase> phases;
    std::int64_t event_minute;  ///< something large has to be complete by then; -1 = nothing
};
inline constexpr std::int64_t session_seconds = 90;
inline constexpr std::array<std::uint64_t, classes> local_mix{10, 25, 50, 15};
inline constexpr std::array<std::uint64_t, classes> remote_mix{6, 19, 50, 25};
inline constexpr std::uint64_t burst_most = 5;  ///< writes of a burst: 1 to this, each as likely
inline constexpr std::uint64_t notice_per_mille = 970;
inline constexpr std::int64_t local_bytes = 90, remote_bytes = 220, bulk_bytes = 8'000'000;

[[nodiscard]] inline std::vector<persona> personas() {
    return {
        {"commuter",
         {{0, {2, 0, 0, 0, 98, 0}, 3600, 5, 60, 10, true},
          {7 * 60, {15, 15, 50, 20, 0, 0}, 180, 300, 900, 800, false},
          {8 * 60, {2, 3, 60, 25, 10, 0}, 1200, 400, 1200, 400, false},
          {17 * 60, {15, 15, 50, 20, 0, 0}, 180, 300, 900, 800, false},
          {18 * 60, {1, 0, 4, 0, 95, 0}, 3600, 150, 700, 500, false},
          {23 * 60, {2, 0, 0, 0, 98, 0}, 3600, 5, 100, 20, true}},
         -1},
        {"field worker",
         {{0, {2, 0, 3, 0, 95, 0}, 3600, 2, 60, 5, true},
          {6 * 60, {35, 35, 30, 0, 0, 0}, 600, 700, 900, 200, false},
          {17 * 60, {1, 0, 4, 0, 95, 0}, 3600, 100, 500, 400, false},
          {22 * 60, {2, 0, 3, 0, 95, 0}, 3600, 2, 60, 5, true}},
         6 * 60},
        {"venue",
         {{0, {2, 0, 0, 0, 98, 0}, 3600, 5, 60, 10, true},
          {8 * 60, {10, 10, 60, 20, 0, 0}, 240, 200, 500, 400, false},
          {9 * 60, {15, 0, 25, 0, 0, 60}, 240, 900, 1800, 300, false},
          {22 * 60, {2, 0, 0, 0, 98, 0}, 3600, 5, 60, 10, true}},
         8 * 60},
        {"home",
         {{0, {2, 0, 0, 0, 98, 0}, 3600, 5, 60, 10, true},
          {8 * 60, {2, 0, 8, 0, 90, 0}, 2400, 250, 700, 500, false},
          {23 * 60, {2, 0, 0, 0, 98, 0}, 3600, 5, 60, 10, true}},
         -1},
    };
}

[[nodiscard]] inline phase const& phase_at(persona const& p, std::int64_t tick) {
    std::int64_t const minute = tick * tick_seconds / 60;
    phase const* now = &p.phases.front();
    for (phase const& f : p.phases) {
        if (f.begin_minute <= minute) { now = &f; }
    }
    return *now;
}

/// One of a mix in hundredths.
template <std::size_t N>
[[nodiscard]] std::size_t draw(random_generator& g, std::array<std::uint64_t, N> const& mix) {
    std::uint64_t at = below(g, 100);
    for (std::size_t i = 0; i < N; ++i) {
        if (at < mix[i]) { return i; }
        at -= mix[i];
    }
    return N - 1;
}
/// True so many times in a hundred hours of ticks, on average.
[[nodiscard]] inline bool arises(random_generator& g, std::uint64_t per_100h) {
    return below(g, 360'000 / static_cast<std::uint64_t>(tick_seconds)) < per_100h;
}

/// The day of a persona from a seed.
[[nodiscard]] inline day make_day(persona const& p, std::uint64_t seed) {
    random_generator g(seed * 0x9E3779B97F4A7C15 + p.phases.size() * 1000 + static_cast<std::uint64_t>(p.name[0]));
    day d;
    link now = link::wifi;
    bool session = false;
    std::int64_t in_hand = -1;
    for (std::int64_t t = 0; t < ticks_per_day; ++t) {
        phase const& f = phase_at(p, t);
        bool const begins = t * tick_seconds == f.begin_minute * 60;
        if (begins || below(g, static_cast<std::uint64_t>(f.dwell_seconds / tick_seconds)) == 0) {
            now = static_cast<link>(draw(g, f.mix));
        }
        session = session ? below(g, session_seconds / tick_seconds) != 0 : arises(g, f.sessions_per_100h);
        if (arises(g, f.bursts_per_100h)) {
            in_hand = t + 6;
            for (std::uint64_t n = 1 + below(g, burst_most); n != 0; --n) {
                item i{.tick = t, .cls = draw(g, local_mix), .bytes = local_bytes};
                if (i.cls == 1 && below(g, 20) == 0) {
                    i.deadline = t + (600 + static_cast<std::int64_t>(below(g, 600))) / tick_seconds;
                }
                d.items.push_back(i);
            }
        }
        if (arises(g, f.remote_per_100h)) {
            item i{.tick = t, .cls = draw(g, remote_mix), .remote = true, .bytes = remote_bytes};
            if (i.cls < 2 && below(g, 1000) < notice_per_mille) { i.notice = t; }
            d.items.push_back(i);
        }
        if (p.event_minute >= 0 && t == 0) {
            d.items.push_back({.tick = 0,
                               .cls = 2,
                               .remote = true,
                               .bytes = bulk_bytes,
                               .notice = 0,
                               .deadline = p.event_minute * 60 / tick_seconds,
                               .bulk = true});
        }
        d.links.push_back(now);
        d.foreign.push_back(session && now != link::none);
        d.fails.push_back(now == link::none || below(g, 1000) < of(now).fails_per_mille);
        d.charging.push_back(f.charging);
        d.active.push_back(session || t <= in_hand);
    }
    return d;
}

/// The host's own day, a line a change, times in seconds of the day and rising:
///
///     SECOND link none|3g|lte|5g|wifi|wifi-busy     SECOND foreign 0|1     SECOND charging 0|1     SECOND active 0|1
///     SECOND write CLASS BYTES [DEADLINE]           SECOND remote CLASS BYTES NOTIFIED(0|1)
///
/// Empty when a line can't be read. Exchanges fail by the link's rate, drawn from the seed.
[[nodiscard]] inline day read_day(std::istream& in, std::uint64_t seed) {
    random_generator g(seed);
    day d;
    link now = link::none;
    bool foreign = false, charging = false, active = false, good = true;
    auto const until = [&](std::int64_t tick) {
        while (static_cast<std::int64_t>(d.links.size()) < tick) {
            d.links.push_back(now);
            d.foreign.push_back(foreign && now != link::none);
            d.charging.push_back(charging);
            d.active.push_back(active);
            d.fails.push_back(now == link::none || below(g, 1000) < of(now).fails_per_mille);
        }
    };
    for (std::string line; good && std::getline(in, line);) {
        if (line.empty() || line[0] == '#') { continue; }
        std::istringstream words(line);
        std::int64_t second = -1;
        std::string what;
        words >> second >> what;
        std::int64_t const tick = second / tick_seconds;
        good =
            !words.fail() && second >= 0 && tick >= static_cast<std::int64_t>(d.links.size()) && tick < ticks_per_day;
        if (!good) { break; }
        until(tick);
        if (what == "link") {
            std::string name;
            words >> name;
            good = false;
            for (std::size_t i = 0; i < links; ++i) {
                if (name == link_names[i]) {
                    now = static_cast<link>(i);
                    good = true;
                }
            }
        } else if (what == "write" || what == "remote") {
            item i{.tick = tick, .remote = what == "remote"};
            words >> i.cls >> i.bytes;
            good = !words.fail() && i.cls < classes && i.bytes >= 0;
            std::int64_t more = 0;
            if (words >> more) {
                (i.remote ? i.notice : i.deadline) = i.remote ? (more != 0 ? tick : -1) : more / tick_seconds;
            }
            d.items.push_back(i);
        } else {
            int on = 0;
            words >> on;
            good = !words.fail() && (what == "foreign" || what == "charging" || what == "active");
            (what == "foreign" ? foreign : what == "charging" ? charging : active) = on != 0;
        }
    }
    if (!good) { return {}; }
    until(ticks_per_day);
    return d;
}

}  // namespace schedule_study
