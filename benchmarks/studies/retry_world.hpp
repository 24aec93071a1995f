// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The worlds in which the retry policies are studied: who asks, when, and what the authority can do. No policy is here.
///
/// Two studies. `contention` is the one of "Exponential Backoff and Jitter" (Brooker, AWS Architecture Blog, 2015):
/// clients that each have to write one row once, under optimistic concurrency control. `recovery` is ours: many
/// clients and an authority that loses half its capacity for an hour.
///
/// What is counted is fixed here, with the generator and its seeds, before a policy is tuned. `seeds_tuning` may be
/// looked at while tuning; `seeds_held_out` are run once it is over, and are what is reported.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <queue>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/backoff.hpp>

namespace retry_study {

using syncline::milliseconds;
using syncline::random_generator;
using syncline::splitmix64;

inline constexpr std::array<std::uint64_t, 5> seeds_tuning{1, 2, 3, 4, 5};
inline constexpr std::array<std::uint64_t, 5> seeds_held_out{1001, 1002, 1003, 1004, 1005};

/// In (0, 1).
inline double open_unit(std::uint64_t word) noexcept {
    return (static_cast<double>(word >> 12) + 0.5) / 4503599627370496.0;  // 2^52
}

// ---------------------------------------------------------------------------------------------------------------
// Contention

/// What became of one run.
struct contention_result {
    std::int64_t microseconds = 0;  ///< until the last client was done
    std::uint64_t calls = 0;        ///< writes that reached the server
};

/// `clients` clients read a row's version, then write under it; a write under an old version fails, and the client
/// waits as `Policy` says and reads again. Each message takes |normal(10 ms, 2 ms)|. The server takes no time.
///
/// `Policy`: `std::int64_t failed(random_generator&)`, the wait in microseconds.
template <class Policy>
contention_result contention(std::uint64_t seed, std::size_t clients, Policy const& fresh) {
    enum class step : std::uint8_t { read, write, answer };
    struct message {
        std::int64_t time;
        std::uint64_t order;  ///< among equal times, so that nothing depends on the queue's inside
        std::size_t client;
        step what;
        std::uint64_t version;
        bool good;
        bool operator<(message const& o) const { return time != o.time ? time > o.time : order > o.order; }
    };
    random_generator network(seed), waits(seed ^ 0x9E3779B97F4A7C15);
    auto const delay = [&network] {  // Box and Muller
        double const radius = std::sqrt(-2.0 * std::log(open_unit(network())));
        double const normal = radius * std::cos(6.283185307179586 * open_unit(network()));
        return static_cast<std::int64_t>(std::abs(10'000.0 + 2'000.0 * normal));
    };
    std::vector<Policy> policies(clients, fresh);
    std::priority_queue<message> queue;
    std::uint64_t order = 0;
    for (std::size_t i = 0; i < clients; ++i) { queue.push({delay(), order++, i, step::read, 0, false}); }
    contention_result out;
    std::uint64_t version = 0;
    while (!queue.empty()) {
        message m = queue.top();
        queue.pop();
        out.microseconds = m.time;
        switch (m.what) {
            case step::read:
                queue.push({m.time + delay() + delay(), order++, m.client, step::write, version, false});
                break;
            case step::write: {
                ++out.calls;
                bool const good = m.version == version;
                version += good ? 1 : 0;
                queue.push({m.time + delay(), order++, m.client, step::answer, 0, good});
                break;
            }
            case step::answer:
                if (!m.good) {
                    queue.push(
                        {m.time + delay() + policies[m.client].failed(waits), order++, m.client, step::read, 0, false});
                }
                break;
        }
    }
    return out;
}

// ---------------------------------------------------------------------------------------------------------------
// Recovery

/// The world of the recovery study.
///
/// Every client edits now and then, by a Poisson process. An edit of a client that is idle begins an *exchange*: a
/// first attempt at once, and further attempts, after the waits that its policy says, until one succeeds. What a client
/// edits meanwhile rides along, as a session sends all that its outbox holds. The authority does `capacity` exchanges a
/// second, whatever they carry, holds `queue` of work, and refuses at once what comes on top; a refusal costs it nothing
/// unless `refusal_cost` is set.
/// It gives no hint unless `hint` is set.
///
/// *Offered load*: edits a second, `load` of the full capacity, before, during and after.
/// *Backlog*: what is offered during the outage beyond what the authority can do in it.
/// *Amplification*: attempts per exchange, counted over the exchanges and attempts from the beginning of the outage
/// until the backlog is drained. *Drained*: the first moment after the heal at which no exchange is open that was open
/// at the heal.
struct recovery_world {
    std::size_t clients = 100'000;
    milliseconds between_edits{60'000};  ///< of one client, on average
    double load = 0.6;                   ///< edits a second over the capacity
    double outage_capacity = 0.5;        ///< of the full one
    milliseconds before{600'000};
    milliseconds outage{3'600'000};
    milliseconds after{3'600'000};
    milliseconds queue{500};
    milliseconds round_trip_min{50};
    milliseconds round_trip_max{150};
    milliseconds hint{0};                             ///< what a refusal asks to wait; zero = nothing
    double refusal_cost = 0;                          ///< what a refusal takes of the authority's work, in exchanges
    [[nodiscard]] double capacity() const noexcept {  ///< exchanges a millisecond
        return static_cast<double>(clients) / static_cast<double>(between_edits.count()) / load;
    }
};

/// What happened in one minute.
struct recovery_minute {
    std::uint64_t attempts = 0;
    std::uint64_t served = 0;
    std::uint64_t waiting = 0;  ///< clients with an open exchange at the end of the minute
};

struct recovery_result {
    double backlog = 0;                         ///< exchanges: offered in the outage beyond what could be done
    double backlog_over_capacity_ms = 0;        ///< at full capacity
    std::uint64_t open_at_heal = 0;             ///< exchanges
    std::uint64_t edits_at_heal = 0;            ///< that wait, on all clients
    milliseconds drained{-1};                   ///< after the heal; -1 = not until the end
    milliseconds drained_99{-1};                ///< the same for 99 of 100 of them
    std::uint64_t attempts = 0, exchanges = 0;  ///< from the outage's beginning until drained
    std::uint64_t attempts_outage = 0, exchanges_outage = 0;  ///< in the outage
    std::uint64_t attempts_all = 0, exchanges_all = 0;        ///< the whole run
    std::uint64_t peak_second = 0;                            ///< most attempts in a second, from the outage on
    milliseconds wait_longest{0};                             ///< of an exchange, from its edit to its success
    std::vector<recovery_minute> minutes{};
    [[nodiscard]] double amplification() const {
        return static_cast<double>(attempts) / static_cast<double>(exchanges);
    }
    [[nodiscard]] double amplification_outage() const {
        return static_cast<double>(attempts_outage) / static_cast<double>(exchanges_outage);
    }
    [[nodiscard]] double amplification_all() const {
        return static_cast<double>(attempts_all) / static_cast<double>(exchanges_all);
    }
    /// Time to drain, over the backlog over the capacity.
    [[nodiscard]] double drain_ratio() const { return static_cast<double>(drained.count()) / backlog_over_capacity_ms; }
};

/// Runs the world with a copy of `fresh` in each client.
///
/// `Policy`: `milliseconds failed(milliseconds now, milliseconds hint, random_generator&)`, how long to wait after an
/// attempt that was refused; `void succeeded(milliseconds now)`. `now` counts from the beginning of the run.
/// Edits depend on the seed alone: every policy sees the same.
template <class Policy>
recovery_result recovery(std::uint64_t seed, recovery_world const& w, Policy const& fresh) {
    struct client {
        splitmix64 edits;
        double next_edit = 0;  ///< the first that no exchange has taken yet
        std::int64_t open_since = -1;
        bool at_heal = false;
    };
    struct event {
        std::int64_t time;
        std::uint64_t lot;  ///< who comes first in one millisecond; by number, the first clients would always win
        std::uint32_t client;
        bool operator<(event const& o) const { return time != o.time ? time > o.time : lot > o.lot; }
    };
    splitmix64 seeds(seed);
    random_generator network(seeds()), waits(seeds()), lots(seeds());
    double const gap = static_cast<double>(w.between_edits.count());
    auto const edit_gap = [gap](client& c) { return -std::log(open_unit(c.edits())) * gap; };

    std::vector<client> clients(w.clients);
    std::vector<Policy> policies(w.clients, fresh);
    std::priority_queue<event> queue;
    for (std::uint32_t i = 0; i < w.clients; ++i) {
        clients[i].edits = splitmix64(seeds());
        clients[i].next_edit = edit_gap(clients[i]);
        queue.push({static_cast<std::int64_t>(clients[i].next_edit), lots(), i});
    }
    std::int64_t const begin = w.before.count(), heal = begin + w.outage.count(), end = heal + w.after.count();
    double const full = w.capacity();
    recovery_result out;
    out.backlog = (std::max)(0.0, w.load - w.outage_capacity) * full * static_cast<double>(w.outage.count());
    out.backlog_over_capacity_ms = out.backlog / full;
    out.minutes.resize(static_cast<std::size_t>((end + 59'999) / 60'000));

    double work = 0;  // exchanges that the authority holds, as of `work_at`
    std::int64_t work_at = 0, second = -1;
    std::uint64_t in_second = 0, open = 0, left_of_heal = 0;
    bool healed = false;
    auto const rate = [&](std::int64_t t) { return t >= begin && t < heal ? full * w.outage_capacity : full; };
    std::size_t minute = 0;
    while (!queue.empty()) {
        auto const [now, lot, id] = queue.top();
        queue.pop();
        while (minute < out.minutes.size() && now >= static_cast<std::int64_t>(minute + 1) * 60'000) {
            out.minutes[minute++].waiting = open;
        }
        if (now >= end) { break; }
        if (now >= heal && !healed) {
            healed = true;
            for (client& c : clients) {
                c.at_heal = c.open_since >= 0;
                left_of_heal += c.at_heal ? 1 : 0;
                while (c.at_heal && c.next_edit < static_cast<double>(heal)) {
                    ++out.edits_at_heal;
                    c.next_edit += edit_gap(c);
                }
            }
            out.edits_at_heal += left_of_heal;
            out.open_at_heal = left_of_heal;
            if (left_of_heal == 0) { out.drained = out.drained_99 = milliseconds{0}; }
        }
        client& c = clients[id];
        bool const counts = now >= begin && out.drained.count() < 0;
        bool const in_outage = now >= begin && now < heal;
        if (c.open_since < 0) {
            c.open_since = now;
            ++open;
            ++out.exchanges_all;
            out.exchanges += counts ? 1 : 0;
            out.exchanges_outage += in_outage ? 1 : 0;
            c.next_edit += edit_gap(c);
        }
        ++out.attempts_all;
        out.attempts += counts ? 1 : 0;
        out.attempts_outage += in_outage ? 1 : 0;
        ++out.minutes[static_cast<std::size_t>(now / 60'000)].attempts;
        if (now / 1000 != second) {
            second = now / 1000;
            in_second = 0;
        }
        ++in_second;
        if (now >= begin) { out.peak_second = (std::max)(out.peak_second, in_second); }

        work = (std::max)(0.0, work - static_cast<double>(now - work_at) * rate(now));
        work_at = now;
        std::int64_t answered = now + syncline::uniform(w.round_trip_min, w.round_trip_max, network).count();
        if (work + 1 > static_cast<double>(w.queue.count()) * rate(now)) {
            work += w.refusal_cost;
            milliseconds const wait = policies[id].failed(milliseconds{answered}, w.hint, waits);
            queue.push({answered + wait.count(), lots(), id});
            continue;
        }
        work += 1;
        answered += static_cast<std::int64_t>(work / rate(now));
        policies[id].succeeded(milliseconds{answered});
        ++out.minutes[static_cast<std::size_t>(now / 60'000)].served;
        if (now >= begin) { out.wait_longest = (std::max)(out.wait_longest, milliseconds{answered - c.open_since}); }
        c.open_since = -1;
        --open;
        if (c.at_heal) {
            c.at_heal = false;
            --left_of_heal;
            if (left_of_heal <= out.open_at_heal / 100 && out.drained_99.count() < 0) {
                out.drained_99 = milliseconds{answered - heal};
            }
            if (left_of_heal == 0) { out.drained = milliseconds{answered - heal}; }
        }
        // The attempt carried what was edited before it was sent; what came meanwhile begins the next exchange.
        while (c.next_edit < static_cast<double>(now)) { c.next_edit += edit_gap(c); }
        queue.push({(std::max)(answered, static_cast<std::int64_t>(c.next_edit)), lots(), id});
    }
    return out;
}

}  // namespace retry_study
