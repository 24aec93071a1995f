// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The policies that the scheduler's study compares, and the simulation that judges them.
///
/// A policy is asked at each tick and says whether to exchange now, and of which classes. It sees what a device sees:
/// its own writes, notifications, the link, other programs' traffic. The clairvoyant one alone sees the day.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <syncline/schedule/memory.hpp>
#include <syncline/schedule/scheduler.hpp>

#include "schedule_world.hpp"

namespace schedule_study {

/// What waiting costs: a second of an item of a class, in the unit that λ prices. The inverse of the default intervals.
inline constexpr std::array<double, classes> weight{1.0, 0.1, 1.0 / 60, 1.0 / 120};

/// What a device sees at a tick.
struct view {
    std::int64_t tick = 0;
    link now = link::none;
    bool foreign = false, charging = false, active = false;
    bool changed = false;                                 ///< something other than the time
    bool linked = false;                                  ///< the link has just come
    std::array<std::uint32_t, classes> writes{}, told{};  ///< that wait and are known of
    std::array<std::int64_t, classes> oldest_write{}, oldest_told{};
    std::array<std::int64_t, classes> deadline{};  ///< the earliest of the writes; -1 = none
    bool new_write = false, new_urgent_write = false, new_notice = false;
    std::int64_t bulk_deadline = -1, bulk_left = 0;
    std::int64_t last_good = -1;  ///< tick of the last exchange that succeeded
    bool last_failed = false;
};
struct decision {
    bool run = false;
    std::size_t lowest = classes - 1;  ///< of writes
    std::array<bool, classes> pull{true, true, true, true};
    bool bulk = true;
};

struct outcome {
    std::int64_t energy = 0;  ///< microjoules
    std::int64_t bytes_up = 0, bytes_down = 0;
    std::int64_t exchanges = 0, wakeups = 0;
    std::int64_t deadlines = 0, missed = 0, missed_needlessly = 0;  ///< the last: that the optimum meets
    std::array<std::vector<std::int64_t>, classes> avoidable, raw;  ///< seconds, an item each
    double weighted = 0;                                            ///< seconds of avoidable staleness, by weight

    void add(outcome const& o) {
        energy += o.energy;
        bytes_up += o.bytes_up;
        bytes_down += o.bytes_down;
        exchanges += o.exchanges;
        wakeups += o.wakeups;
        deadlines += o.deadlines;
        missed += o.missed;
        missed_needlessly += o.missed_needlessly;
        weighted += o.weighted;
        for (std::size_t c = 0; c < classes; ++c) {
            avoidable[c].insert(avoidable[c].end(), o.avoidable[c].begin(), o.avoidable[c].end());
            raw[c].insert(raw[c].end(), o.raw[c].begin(), o.raw[c].end());
        }
    }
};
[[nodiscard]] inline std::int64_t quantile(std::vector<std::int64_t> v, std::size_t per_cent) {
    if (v.empty()) { return 0; }
    std::size_t const at = (v.size() * per_cent + 99) / 100 - 1;
    std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(at), v.end());
    return v[at];
}

/// The first tick, from one on, in which an exchange succeeds; the end of the day if there is none.
[[nodiscard]] inline std::vector<std::int64_t> first_good(day const& d) {
    std::vector<std::int64_t> out(static_cast<std::size_t>(ticks_per_day) + 1, ticks_per_day);
    for (std::int64_t t = ticks_per_day; t-- > 0;) {
        out[static_cast<std::size_t>(t)] =
            d.fails[static_cast<std::size_t>(t)] ? out[static_cast<std::size_t>(t) + 1] : t;
    }
    return out;
}

/// Lives through a day with a policy: `decide(view)` and `ended(view, decision, good, up, down, ms)`.
template <class Policy>
outcome live(day const& d, Policy& policy) {
    outcome out;
    radio r;
    auto const good_from = first_good(d);
    std::vector<std::int64_t> delivered(d.items.size(), -1);
    std::vector<std::size_t> open;  // arisen and not delivered
    std::vector<bool> known(d.items.size(), false);
    std::size_t next = 0;
    std::int64_t foreign_hot = 0;
    view v;
    for (std::int64_t t = 0; t < ticks_per_day; ++t) {
        auto const i = static_cast<std::size_t>(t);
        link const now = d.links[i];
        v.changed = t == 0 || now != v.now || d.foreign[i] != v.foreign || d.charging[i] != v.charging ||
                    d.active[i] != v.active;
        v.linked = now != link::none && v.now == link::none && t != 0;
        v.tick = t;
        v.now = now;
        v.foreign = d.foreign[i];
        v.charging = d.charging[i];
        v.active = d.active[i];
        v.new_write = v.new_urgent_write = v.new_notice = false;
        for (; next < d.items.size() && d.items[next].tick <= t; ++next) { open.push_back(next); }
        v.writes = {};
        v.told = {};
        v.deadline = {-1, -1, -1, -1};
        v.bulk_deadline = -1;
        v.bulk_left = 0;
        for (std::size_t const n : open) {
            item const& x = d.items[n];
            bool const sees = !x.remote || (x.notice >= 0 && x.notice <= t && now != link::none);
            if (sees && !known[n]) {
                known[n] = true;
                v.changed = true;
                (x.remote ? v.new_notice : v.new_write) = true;
                if (!x.remote && x.cls < 2) { v.new_urgent_write = true; }
            }
            if (!known[n]) { continue; }
            if (x.bulk) {
                v.bulk_deadline = x.deadline;
                v.bulk_left = x.bytes;
                continue;
            }
            auto& count = x.remote ? v.told : v.writes;
            auto& oldest = x.remote ? v.oldest_told : v.oldest_write;
            if (count[x.cls]++ == 0) { oldest[x.cls] = x.tick; }
            if (!x.remote && x.deadline >= 0 && (v.deadline[x.cls] < 0 || x.deadline < v.deadline[x.cls])) {
                v.deadline[x.cls] = x.deadline;
            }
        }
        if (v.foreign) { foreign_hot = (t + 1) * tick_seconds * 1000 + of(now).tail_ms; }
        decision const what = policy.decide(v);
        if (!what.run || now == link::none) { continue; }
        std::int64_t up = 0, down = 0;
        auto const takes = [&](item const& x) {
            return x.bulk ? what.bulk : x.remote ? what.pull[x.cls] : x.cls <= what.lowest;
        };
        bool const good = !d.fails[i];
        if (good) {
            for (std::size_t const n : open) {
                if (takes(d.items[n])) { (d.items[n].remote ? down : up) += d.items[n].bytes; }
            }
        }
        out.energy += r.exchange(t * tick_seconds * 1000, now, up, down, now == link::none ? 0 : foreign_hot);
        std::int64_t const took = exchange_ms(now, up, down);
        out.bytes_up += up + overhead_up;
        out.bytes_down += down + overhead_down;
        ++out.exchanges;
        if (good) {
            v.last_good = t;
            std::erase_if(open, [&](std::size_t n) {
                if (!takes(d.items[n])) { return false; }
                delivered[n] = t + took / (tick_seconds * 1000);
                return true;
            });
        }
        v.last_failed = !good;
        policy.ended(v, what, good, up, down, took);
    }
    for (std::size_t n = 0; n < d.items.size(); ++n) {
        item const& x = d.items[n];
        std::int64_t const end = delivered[n] < 0 ? ticks_per_day : delivered[n];
        std::int64_t const least = good_from[static_cast<std::size_t>(x.tick)];
        if (x.deadline >= 0 && x.deadline < ticks_per_day) {
            ++out.deadlines;
            bool const missed = end > x.deadline;
            out.missed += missed ? 1 : 0;
            out.missed_needlessly += missed && least + (x.bulk ? 1 : 0) <= x.deadline ? 1 : 0;
        }
        if (x.bulk) { continue; }
        std::int64_t const avoidable = std::max<std::int64_t>(end - least, 0) * tick_seconds;
        out.raw[x.cls].push_back((end - x.tick) * tick_seconds);
        out.avoidable[x.cls].push_back(avoidable);
        out.weighted += weight[x.cls] * static_cast<double>(avoidable);
    }
    out.wakeups = policy.wakeups;
    return out;
}

struct simple_policy {
    std::int64_t wakeups = 0;
    void ended(view const&, decision const&, bool, std::int64_t, std::int64_t, std::int64_t) {}
};

/// Every so many seconds, whatever happens.
struct fixed_interval : simple_policy {
    std::int64_t seconds, phase;
    explicit fixed_interval(std::int64_t s, std::int64_t p = 0) : seconds(s), phase(p) {}
    decision decide(view const& v) {
        bool const now = (v.tick * tick_seconds + phase) % seconds < tick_seconds;
        wakeups += now ? 1 : 0;
        return {.run = now};
    }
};

/// At each write and notification, when the link comes back, and every hour for what nobody tells of.
struct every_write : simple_policy {
    bool waiting = false;
    std::int64_t last = 0;
    decision decide(view const& v) {
        waiting = waiting || v.new_write || v.new_notice;
        bool const hour = v.tick - last >= 3600 / tick_seconds;
        wakeups += hour ? 1 : 0;
        return {.run = waiting || hour || v.linked};
    }
    void ended(view const& v, decision const&, bool good, std::int64_t, std::int64_t, std::int64_t) {
        waiting = waiting && !good;
        if (good) { last = v.tick; }
    }
};

/// As the platforms' schedulers are used: periodic work of 15 minutes and work for urgent writes and notifications at
/// once, both with the constraint of a network, and an exponential backoff from 30 seconds on.
struct platform_style : simple_policy {
    std::int64_t next_periodic = 0, not_before = 0, backoff = 30;
    bool expedited = false;
    decision decide(view const& v) {
        expedited = expedited || v.new_urgent_write || v.new_notice;
        bool const periodic = v.tick >= next_periodic;
        if (v.now == link::none || v.tick < not_before || !(periodic || expedited)) { return {}; }
        wakeups += periodic ? 1 : 0;
        return {.run = true};
    }
    void ended(view const& v, decision const&, bool good, std::int64_t, std::int64_t, std::int64_t) {
        if (good) {
            expedited = false;
            next_periodic = v.tick + 900 / tick_seconds;
            backoff = 30;
        } else {
            not_before = v.tick + backoff / tick_seconds;
            backoff = std::min<std::int64_t>(backoff * 2, 18'000);
        }
    }
};

/// Ours.
struct ours : simple_policy {
    syncline::schedule_options options;
    syncline::schedule_memory memory{42};
    syncline::random_generator random{99};
    std::int64_t day_number = 0;
    std::int64_t next = 0;
    std::array<std::int64_t, classes> fresh{};  ///< milliseconds since 1970
    std::int64_t decisions = 0;

    static constexpr std::int64_t monday = 1'789'948'800'000;  // 2026-09-21

    explicit ours(double scale = 1) {
        for (auto* table : {&options.interval, &options.interval_noticed, &options.patience}) {
            for (auto& t : *table) {
                t = syncline::milliseconds{static_cast<std::int64_t>(static_cast<double>(t.count()) * scale)};
            }
        }
        fresh.fill(monday);
    }
    void begin_day(std::int64_t number) {
        day_number = number;
        next = 0;
        wakeups = 0;
    }
    [[nodiscard]] std::int64_t ms(std::int64_t tick) const {
        return monday + day_number * 86'400'000 + tick * tick_seconds * 1000;
    }
    [[nodiscard]] syncline::wall_time wall(std::int64_t tick) const {
        return syncline::wall_time{syncline::milliseconds{ms(tick)}};
    }

    [[nodiscard]] syncline::conditions see(view const& v) const {
        using namespace syncline;
        conditions c;
        c.network.online = v.now != schedule_study::link::none;
        if (v.now != schedule_study::link::none) {
            auto const& f = of(v.now);
            c.network.kind = f.metered ? link_kind::cellular : link_kind::wifi;
            c.network.metered = f.metered;
            c.network.downlink_kbps = static_cast<std::uint32_t>(f.down_kbps);
            c.network.round_trip = milliseconds{f.rtt_ms};
        }
        c.network.transferring = v.foreign;
        c.power.charging = v.charging;
        c.application.foreground = v.active;
        c.application.user_active = v.active;
        c.application.notices_live = true;
        for (std::size_t i = 0; i < classes; ++i) {
            auto const cls = static_cast<sync_class>(i);
            if (v.writes[i] != 0) {
                std::optional<wall_time> deadline;
                if (v.deadline[i] >= 0) { deadline = wall(v.deadline[i]); }
                c.pending.add(cls, v.writes[i] * std::uint64_t{local_bytes}, wall(v.oldest_write[i]), deadline,
                              v.writes[i]);
            }
            collection_state k{.id = static_cast<std::uint16_t>(i + 1), .urgency = cls};
            k.fresh_at = wall_time{milliseconds{fresh[i]}};
            if (v.told[i] != 0) { k.told_at = wall(v.oldest_told[i]) + milliseconds{1}; }
            static_cast<void>(c.collections.push_back(k));
        }
        if (v.bulk_left > 0 && v.bulk_deadline > v.tick) {
            collection_state k{.id = 9, .urgency = sync_class::normal};
            k.fresh_at = wall(v.tick);
            k.complete_by = wall(v.bulk_deadline);
            k.bytes_left = static_cast<std::uint64_t>(v.bulk_left);
            static_cast<void>(c.collections.push_back(k));
        }
        return c;
    }
    decision decide(view const& v) {
        if (!v.changed && v.tick < next) { return {}; }
        wakeups += v.changed ? 0 : 1;
        ++decisions;
        auto const c = see(v);
        memory.saw(c, options, wall(v.tick));
        if (v.active) { memory.opened(0, options, wall(v.tick)); }
        auto const p = make_plan(c, memory, options, wall(v.tick));
        next = v.tick + std::max<std::int64_t>((p.in.count() + tick_seconds * 1000 - 1) / (tick_seconds * 1000), 1);
        if (!p.run) { return {}; }
        decision out{.run = true,
                     .lowest = p.push ? static_cast<std::size_t>(p.lowest) : 0,
                     .pull = {},
                     .bulk = (p.collections >> classes & 1U) != 0};
        for (std::size_t i = 0; i < classes; ++i) { out.pull[i] = (p.collections >> i & 1U) != 0; }
        return out;
    }
    void ended(view const& v, decision const& what, bool good, std::int64_t up, std::int64_t down, std::int64_t took) {
        using namespace syncline;
        transfer_report r{.good = good,
                          .took = milliseconds{took},
                          .round_trip = milliseconds{of(v.now).rtt_ms},
                          .bytes_up = static_cast<std::uint64_t>(up + overhead_up),
                          .bytes_down = static_cast<std::uint64_t>(down + overhead_down),
                          .metered = of(v.now).metered};
        if (good) {
            memory.succeeded(r, options, wall(v.tick));
            for (std::size_t i = 0; i < classes; ++i) {
                if (what.pull[i]) { fresh[i] = ms(v.tick); }
            }
        } else {
            memory.failed(r, options, wall(v.tick), random);
        }
        next = v.tick + 1;
    }
};

/// The clairvoyant optimum of energy plus λ times weighted avoidable staleness, by dynamic programming over the ticks at
/// which an exchange may be worth it: after something arose, when the link or others' traffic changed, as soon as it
/// succeeds.
[[nodiscard]] inline std::vector<bool> clairvoyant(day const& d, double lambda) {
    auto const good_from = first_good(d);
    std::vector<std::int64_t> at{-1};
    std::vector<bool> wanted(static_cast<std::size_t>(ticks_per_day) + 1, false);
    for (item const& x : d.items) {
        wanted[static_cast<std::size_t>(good_from[static_cast<std::size_t>(x.tick)])] = true;
    }
    for (std::size_t t = 1; t < static_cast<std::size_t>(ticks_per_day); ++t) {
        if (d.links[t] != d.links[t - 1] || d.foreign[t] != d.foreign[t - 1]) {
            wanted[static_cast<std::size_t>(good_from[t])] = true;
        }
    }
    for (std::int64_t t = 0; t < ticks_per_day; ++t) {
        if (wanted[static_cast<std::size_t>(t)]) { at.push_back(t); }
    }
    // Sums over the items that have arisen until a tick.
    struct sums {
        double w = 0, wt = 0;
        std::int64_t up = 0, down = 0;
    };
    std::vector<sums> until(static_cast<std::size_t>(ticks_per_day) + 2);
    {
        sums s;
        std::size_t n = 0;
        for (std::int64_t t = 0; t <= ticks_per_day; ++t) {
            for (; n < d.items.size() && d.items[n].tick <= t; ++n) {
                item const& x = d.items[n];
                (x.remote ? s.down : s.up) += x.bytes;
                if (x.bulk) { continue; }
                s.w += weight[x.cls];
                s.wt += weight[x.cls] * static_cast<double>(good_from[static_cast<std::size_t>(x.tick)]);
            }
            until[static_cast<std::size_t>(t) + 1] = s;
        }
    }
    std::vector<std::int64_t> foreign_hot(static_cast<std::size_t>(ticks_per_day), 0);
    std::int64_t hot = 0;
    for (std::int64_t t = 0; t < ticks_per_day; ++t) {
        auto const i = static_cast<std::size_t>(t);
        if (d.foreign[i]) { hot = (t + 1) * tick_seconds * 1000 + of(d.links[i]).tail_ms; }
        foreign_hot[i] = hot;
    }
    auto const stale = [&](std::int64_t from, std::int64_t to) {
        sums const& a = until[static_cast<std::size_t>(from + 1)];
        sums const& b = until[static_cast<std::size_t>(to + 1)];
        double const ticks = (b.w - a.w) * static_cast<double>(to) - (b.wt - a.wt);
        return lambda * 1e6 * (ticks > 0 ? ticks : 0) * static_cast<double>(tick_seconds);
    };
    std::vector<double> best(at.size(), 1e300);
    std::vector<std::size_t> from(at.size(), 0);
    best[0] = 0;
    double end_best = stale(-1, ticks_per_day);
    std::size_t end_from = 0;
    for (std::size_t j = 1; j < at.size(); ++j) {
        std::int64_t const t = at[j];
        auto const k = static_cast<std::size_t>(t);
        link const l = d.links[k];
        auto const& f = of(l);
        std::int64_t const ms = t * tick_seconds * 1000;
        for (std::size_t i = j; i-- > 0;) {
            double const waits = stale(at[i], t);
            if (waits > 1e300) { break; }
            sums const& a = until[static_cast<std::size_t>(at[i] + 1)];
            sums const& b = until[k + 1];
            std::int64_t const up = b.up - a.up, down = b.down - a.down;
            std::int64_t const took = exchange_ms(l, up, down);
            std::int64_t own = 0;
            if (i != 0 && d.links[static_cast<std::size_t>(at[i])] == l) {
                own = at[i] * tick_seconds * 1000 + f.tail_ms + 2 * f.rtt_ms;
            }
            std::int64_t const warm = std::max(own, foreign_hot[k]);
            std::int64_t energy = ms >= warm ? f.promotion_ms * f.promotion_mw : 0;
            energy += took * f.base_mw + ((up + overhead_up) * f.up_mw + (down + overhead_down) * f.down_mw) * 8 / 1000;
            std::int64_t const end = ms + took + f.tail_ms;
            std::int64_t const cold = std::max(ms + took, warm);
            if (end > cold) { energy += (end - cold) * f.tail_mw; }
            double const sum = best[i] + static_cast<double>(energy) + waits;
            if (sum < best[j]) {
                best[j] = sum;
                from[j] = i;
            }
        }
        double const end = best[j] + stale(t, ticks_per_day);
        if (end < end_best) {
            end_best = end;
            end_from = j;
        }
    }
    std::vector<bool> run(static_cast<std::size_t>(ticks_per_day), false);
    for (std::size_t j = end_from; j != 0; j = from[j]) { run[static_cast<std::size_t>(at[j])] = true; }
    return run;
}
struct follows : simple_policy {
    std::vector<bool> run;
    explicit follows(std::vector<bool> r) : run(std::move(r)) {}
    decision decide(view const& v) { return {.run = run[static_cast<std::size_t>(v.tick)]}; }
};

/// The best on-line policy that knows the generator: the persona's phases, every rate and every chance, but not what
/// they will bring. A Markov decision process over (tick, link, others' traffic, ticks since the last exchange, weight
/// that is known to wait), solved backwards from the end of the day for energy plus λ times weighted staleness.
class knows_generator : public simple_policy {
public:
    knows_generator(persona const& p, double lambda) { solve(p, lambda); }

    decision decide(view const& v) {
        if (v.now == link::none) { return {}; }
        double w = 0;
        for (std::size_t c = 0; c < classes; ++c) { w += weight[c] * (v.writes[c] + v.told[c]); }
        std::int64_t const gap = v.last_good < 0 ? v.tick : v.tick - v.last_good;
        std::size_t const state = index(static_cast<std::size_t>(v.now), v.foreign ? 1 : 0,
                                        nearest(gaps, static_cast<double>(gap)), nearest(weights, w));
        return {.run = runs_[static_cast<std::size_t>(v.tick) * states + state]};
    }

private:
    static constexpr std::array<double, 13> gaps{0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096};
    static constexpr std::array<double, 16> weights{0,   0.01, 0.02, 0.035, 0.06, 0.1, 0.15, 0.2,
                                                    0.3, 0.5,  0.8,  1,     1.5,  2.2, 4,    8};
    static constexpr std::size_t states = links * 2 * gaps.size() * weights.size();
    static constexpr std::size_t index(std::size_t l, std::size_t foreign, std::size_t g, std::size_t w) {
        return ((l * 2 + foreign) * gaps.size() + g) * weights.size() + w;
    }
    template <std::size_t N>
    static std::size_t nearest(std::array<double, N> const& grid, double x) {
        std::size_t best = 0;
        for (std::size_t i = 1; i < N; ++i) {
            if (std::abs(grid[i] - x) < std::abs(grid[best] - x)) { best = i; }
        }
        return best;
    }
    /// A place between two points of a grid.
    struct place {
        std::size_t low = 0;
        float share = 0;  ///< of the next point
    };
    template <std::size_t N>
    static place locate(std::array<double, N> const& grid, double x) {
        if (x >= grid[N - 1]) { return {N - 2, 1}; }
        std::size_t i = 0;
        while (grid[i + 1] < x) { ++i; }
        return {i, static_cast<float>((x - grid[i]) / (grid[i + 1] - grid[i]))};
    }

    struct arrival {
        float chance;
        std::array<place, weights.size()> to;
    };
    struct stage {
        std::vector<arrival> arrivals;
        std::array<float, links> mix{};
        float redraw = 0, begins = 0;
        float hidden = 0;  ///< weight that arises unseen in a tick
    };
    static stage stage_of(phase const& f) {
        stage s;
        double const ticks = 360'000.0 / static_cast<double>(tick_seconds);
        double const burst = static_cast<double>(f.bursts_per_100h) / ticks;
        double const remote = static_cast<double>(f.remote_per_100h) / ticks;
        double none = 1;
        auto const add = [&](double chance, double w) {
            arrival a{static_cast<float>(chance), {}};
            for (std::size_t i = 0; i < weights.size(); ++i) { a.to[i] = locate(weights, weights[i] + w); }
            s.arrivals.push_back(a);
            none -= chance;
        };
        for (std::uint64_t n = 1; n <= burst_most; ++n) {  // of a burst of n writes: with and without critical ones
            double const calm = std::pow(1 - static_cast<double>(local_mix[0]) / 100, static_cast<double>(n));
            double rest = 0;
            for (std::size_t c = 1; c < classes; ++c) {
                rest += weight[c] * static_cast<double>(local_mix[c]) / static_cast<double>(100 - local_mix[0]);
            }
            double const share = burst / static_cast<double>(burst_most);
            double const critical = static_cast<double>(n * local_mix[0]) / 100 / (1 - calm);
            add(share * calm, rest * static_cast<double>(n));
            add(share * (1 - calm), critical + rest * (static_cast<double>(n) - critical));
        }
        double hidden = 0;
        for (std::size_t c = 0; c < classes; ++c) {
            double const seen = c < 2 ? static_cast<double>(notice_per_mille) / 1000 : 0;
            double const chance = remote * static_cast<double>(remote_mix[c]) / 100;
            if (seen > 0) { add(chance * seen, weight[c]); }
            hidden += chance * (1 - seen) * weight[c];
        }
        arrival quiet{static_cast<float>(none), {}};
        for (std::size_t i = 0; i < weights.size(); ++i) { quiet.to[i] = locate(weights, weights[i]); }
        s.arrivals.push_back(quiet);
        for (std::size_t l = 0; l < links; ++l) { s.mix[l] = static_cast<float>(f.mix[l]) / 100; }
        s.redraw = static_cast<float>(tick_seconds) / static_cast<float>(f.dwell_seconds);
        s.begins = static_cast<float>(static_cast<double>(f.sessions_per_100h) / ticks);
        s.hidden = static_cast<float>(hidden);
        return s;
    }
    void solve(persona const& p, double lambda) {
        runs_.assign(static_cast<std::size_t>(ticks_per_day) * states, false);
        std::vector<float> value(states, 0), mixed(states), arrived(states);
        std::array<place, gaps.size()> older{};
        for (std::size_t g = 0; g < gaps.size(); ++g) { older[g] = locate(gaps, gaps[g] + 1); }
        std::array<std::array<float, 2>, links> cost{};
        for (std::size_t l = 1; l < links; ++l) {
            auto const& f = facts[l];
            auto const transfer =
                static_cast<float>(exchange_ms(static_cast<link>(l), 200, 500) * f.base_mw +
                                   ((200 + overhead_up) * f.up_mw + (500 + overhead_down) * f.down_mw) * 8 / 1000);
            cost[l] = {transfer + static_cast<float>(f.promotion_ms * f.promotion_mw + f.tail_ms * f.tail_mw),
                       transfer};
        }
        float const price = static_cast<float>(lambda * 1e6 * static_cast<double>(tick_seconds));
        float const ends = static_cast<float>(tick_seconds) / static_cast<float>(session_seconds);
        phase const* last = nullptr;
        stage s;
        for (std::int64_t t = ticks_per_day; t-- > 0;) {
            phase const& f = phase_at(p, t + 1 < ticks_per_day ? t + 1 : t);
            if (&f != last) { s = stage_of(f); }
            bool const redraws = last != nullptr && &f != last;
            last = &f;
            float const redraw = redraws ? 1 : s.redraw;
            expect(value, mixed, s, redraw, ends);
            arrive(mixed, arrived, s);
            for (std::size_t l = 0; l < links; ++l) {
                for (std::size_t foreign = 0; foreign < 2; ++foreign) {
                    for (std::size_t g = 0; g < gaps.size(); ++g) {
                        for (std::size_t w = 0; w < weights.size(); ++w) {
                            std::size_t const i = index(l, foreign, g, w);
                            std::size_t const same = index(l, foreign, older[g].low, w);
                            std::size_t const next = index(l, foreign, older[g].low + 1, w);
                            float const after = arrived[same] + older[g].share * (arrived[next] - arrived[same]);
                            bool const counter_values = l != 0;  // what can't be helped is no cost
                            float const waits =
                                (counter_values
                                     ? price * (static_cast<float>(weights[w]) + s.hidden * static_cast<float>(gaps[g]))
                                     : 0) +
                                after;
                            value[i] = waits;
                            if (l == 0) { continue; }
                            float const fails = static_cast<float>(facts[l].fails_per_mille) / 1000;
                            float const done = arrived[index(l, foreign, 1, 0)];
                            float const sync = cost[l][foreign] + (1 - fails) * done + fails * waits;
                            if (sync < waits) {
                                value[i] = sync;
                                runs_[static_cast<std::size_t>(t) * states + i] = true;
                            }
                        }
                    }
                }
            }
        }
    }
    /// Over what link and which traffic of others the next tick brings.
    static void expect(std::vector<float> const& value, std::vector<float>& out, stage const& s, float redraw,
                       float ends) {
        constexpr std::size_t rest = gaps.size() * weights.size();
        std::vector<float> drawn(2 * rest, 0);
        for (std::size_t l = 0; l < links; ++l) {
            if (s.mix[l] == 0) { continue; }
            for (std::size_t i = 0; i < 2 * rest; ++i) { drawn[i] += s.mix[l] * value[l * 2 * rest + i]; }
        }
        for (std::size_t l = 0; l < links; ++l) {
            float const* const v = &value[l * 2 * rest];
            float* const o = &out[l * 2 * rest];
            for (std::size_t i = 0; i < rest; ++i) {
                float const calm = v[i] + redraw * (drawn[i] - v[i]);
                float const busy = v[rest + i] + redraw * (drawn[rest + i] - v[rest + i]);
                o[i] = calm + s.begins * (busy - calm);
                o[rest + i] = busy + ends * (calm - busy);
            }
        }
    }
    static void arrive(std::vector<float> const& in, std::vector<float>& out, stage const& s) {
        constexpr std::size_t n = weights.size();
        for (std::size_t block = 0; block < states; block += n) {
            for (std::size_t w = 0; w < n; ++w) { out[block + w] = 0; }
            for (arrival const& a : s.arrivals) {
                for (std::size_t w = 0; w < n; ++w) {
                    place const& to = a.to[w];
                    float const low = in[block + to.low];
                    out[block + w] += a.chance * (low + to.share * (in[block + to.low + 1] - low));
                }
            }
        }
    }

    std::vector<bool> runs_;
};

}  // namespace schedule_study
