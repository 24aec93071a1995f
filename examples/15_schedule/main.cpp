// SPDX-License-Identifier: BSL-1.0
// A device asks the scheduler all day when to synchronise, says why nothing syncs when nothing does, counts what happens,
// and draws the day: day.html shows links, exchanges with their reasons, staleness and energy.

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include <syncline/metrics.hpp>
#include <syncline/schedule.hpp>

#include "day.hpp"
#include "page.hpp"

using namespace syncline;

namespace {

class device {
public:
    // region: conditions
    /// What the host knows at a moment: here from the script of the day, in a program from the platform.
    [[nodiscard]] conditions see(std::int64_t second) const {
        day::stretch const& s = day::stretch_at(second);
        conditions c;
        c.network.online = s.kbps != 0;
        if (s.kbps != 0) {
            c.network.kind = s.wifi ? link_kind::wifi : link_kind::cellular;
            c.network.metered = !s.wifi;
            c.network.downlink_kbps = s.kbps;
            c.network.transferring = day::others(second);
        }
        c.power.charging = s.charging;
        c.application.foreground = s.in_hand;
        c.application.notices_live = true;
        for (day::thing const& t : open_) {
            if (!t.remote) { c.pending.add(t.urgency, 120, day::at(number_, t.second)); }
        }
        for (std::size_t i = 0; i < sync_classes; ++i) {
            collection_state k{.id = static_cast<std::uint16_t>(i + 1), .urgency = static_cast<sync_class>(i)};
            k.fresh_at = fresh_[i];
            for (day::thing const& t : open_) {
                if (t.remote && t.told && t.urgency == k.urgency && !k.told_at && s.kbps != 0) {
                    k.told_at = day::at(number_, t.second);
                }
            }
            static_cast<void>(c.collections.push_back(k));
        }
        return c;
    }
    // endregion: conditions

    /// Lives through a day; from the seed 0 on there is no work, only habits to be learned.
    day::record live(std::int64_t number, std::uint64_t seed) {
        number_ = number;
        told_ = false;
        day::record out;
        std::vector<day::thing> const work = seed == 0 ? std::vector<day::thing>{} : day::work(seed);
        std::size_t next = 0;
        std::int64_t ask_at = 0;
        char const* link = "";
        bool busy = false;
        for (std::int64_t second = 0; second < 86'400; second += day::step) {
            day::stretch const& s = day::stretch_at(second);
            bool changed = s.name != link || busy != day::others(second);
            link = s.name;
            busy = day::others(second);
            for (; next < work.size() && work[next].second <= second; ++next) {
                open_.push_back(work[next]);
                changed = changed || !work[next].remote || work[next].told;
            }
            if (changed || second >= ask_at) { ask_at = ask(second, changed, out); }
            if (second % 120 == 0) { out.samples.push_back({second, waits(second), out.joules, why_}); }
        }
        return out;
    }

    [[nodiscard]] traced_schedule const& schedule() const { return schedule_; }
    [[nodiscard]] metrics const& numbers() const { return metrics_; }

private:
    // region: ask
    /// Asks what to do now, does it, and says when to ask again.
    std::int64_t ask(std::int64_t second, bool changed, day::record& out) {
        wall_time const now = day::at(number_, second);
        sync_plan const p = schedule_.decide(see(second), now);
        metrics_.pass(now);
        metrics_.counted(metric_counter::decisions, 1);
        if (!changed) {
            metrics_.counted(metric_counter::wake_ups, 1);
            ++out.wake_ups;
        }
        why_ = p[plan_choice::when].because;
        if (!p.run) {
            bool const offline = second == 7 * 3600 + 2700;
            if (offline || (second > 9 * 3600 && !told_ && !open_.empty())) {
                std::cout << day::clock(second) << '\n' << to_text(p, now) << '\n';
                told_ = !offline;
            }
            return second + (p.in.count() + 999) / 1000;
        }
        exchange(p, second, now, out);
        return second + day::step;
    }
    // endregion: ask

    void exchange(sync_plan const& p, std::int64_t second, wall_time now, day::record& out) {
        day::stretch const& s = day::stretch_at(second);
        double const joules = s.exchange + (day::others(second) ? 0 : s.wake);
        auto const goes = [&](day::thing const& t) {
            return t.remote ? (p.collections >> static_cast<unsigned>(t.urgency) & 1U) != 0
                            : p.push && t.urgency <= p.lowest;
        };
        std::size_t moved = 0;
        for (day::thing const& t : open_) {
            if (!goes(t)) { continue; }
            ++moved;
            out.delays[static_cast<std::size_t>(t.urgency)].push_back(second - t.second);
        }
        std::erase_if(open_, goes);
        for (std::size_t i = 0; i < sync_classes; ++i) {
            if ((p.collections >> i & 1U) != 0) { fresh_[i] = now; }
        }
        out.joules += joules;
        out.exchanges.push_back({second, joules, moved, p, now});
        milliseconds const round_trip{s.wifi ? 30 : 70};
        schedule_.succeeded({.good = true,
                             .took = 4 * round_trip,
                             .round_trip = round_trip,
                             .bytes_up = 900,
                             .bytes_down = 2'000,
                             .metered = !s.wifi},
                            now);
        metrics_.counted(metric_counter::exchanges, 1);
        metrics_.counted(metric_counter::entries_applied, moved);
        metrics_.counted(metric_counter::bytes_up, 900);
        metrics_.counted(metric_counter::bytes_down, 2'000);
        metrics_.took(metric_latency::exchange, 4 * round_trip);
    }
    [[nodiscard]] std::array<std::int64_t, sync_classes> waits(std::int64_t second) const {
        std::array<std::int64_t, sync_classes> out{};
        for (day::thing const& t : open_) {
            auto& w = out[static_cast<std::size_t>(t.urgency)];
            w = (std::max)(w, second - t.second);
        }
        return out;
    }

    traced_schedule schedule_{schedule_memory(42), {}, {.events_max = 4000, .bytes_max = std::size_t{1} << 20}};
    metrics metrics_;
    std::vector<day::thing> open_;
    std::array<wall_time, sync_classes> fresh_{day::monday, day::monday, day::monday, day::monday};
    std::int64_t number_ = 0;
    bool told_ = false;  ///< why it waits with a network
    plan_reason why_ = plan_reason::nothing_to_do;
};

std::int64_t percentile(std::vector<std::int64_t> v, std::size_t per_cent) {
    if (v.empty()) { return 0; }
    std::sort(v.begin(), v.end());
    return v[(v.size() * per_cent + 99) / 100 - 1];
}

}  // namespace

int main() {
    device d;
    std::cout << "Why is nothing syncing?\n\n";
    {
        // A fortnight in which nothing is written: the device learns when there is Wi-Fi.
        std::streambuf* const out = std::cout.rdbuf(nullptr);
        for (std::int64_t i = 0; i < 14; ++i) { static_cast<void>(d.live(i, 0)); }
        std::cout.clear();
        std::cout.rdbuf(out);
    }
    day::record const r = d.live(14, 2026);

    std::map<std::string, std::pair<int, double>> reasons;
    for (day::exchange const& e : r.exchanges) {
        auto& [times, joules] = reasons[words(e.plan[plan_choice::when].because)];
        ++times;
        joules += e.joules;
    }
    std::cout << "Exchanges of the day\n\n";
    for (auto const& [why, sum] : reasons) {
        std::cout << std::setw(6) << sum.first << std::setw(9) << std::fixed << std::setprecision(1) << sum.second
                  << " J  as " << why << '\n';
    }
    std::cout << std::setw(6) << r.exchanges.size() << std::setw(9) << r.joules << " J  in all; " << r.wake_ups
              << " decisions that time alone asked for\n\n";
    std::cout << "Seconds until it was on the other side, half / 95 % / 99 %\n\n";
    constexpr std::array<char const*, sync_classes> names{"critical", "important", "normal", "background"};
    for (std::size_t i = 0; i < sync_classes; ++i) {
        std::cout << std::setw(12) << names[i];
        for (std::size_t const q : {50U, 95U, 99U}) { std::cout << std::setw(7) << percentile(r.delays[i], q); }
        std::cout << '\n';
    }

    // region: replay
    // Every decision of late can be made again from the log, and is the same.
    auto const replayed = traced_schedule::replay(d.schedule().encoded(), d.schedule().options());
    // endregion: replay
    if (!replayed) { return 1; }
    std::cout << "\nReplayed " << replayed->decisions
              << " decisions: " << (replayed->differs ? "one differs" : "all the same") << '\n';
    auto const text = to_text(d.numbers().snapshot(), metrics_text::open_metrics);
    if (!text) { return 1; }
    std::ofstream("metrics.txt") << *text;
    std::ofstream("day.html") << day::page(r);
}
