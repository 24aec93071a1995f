// SPDX-License-Identifier: BSL-1.0

/// How many bytes a device on poor links sends: its writes as the scheduler batches them, by a real replica, deflated,
/// beside each write at once as gzip-compressed JSON of the whole record. Links with zlib; the library itself doesn't.
///
///     schedule_bytes      prints bytes of bodies, and with a request's head of 350 bytes, over the held-out days

#include <cstdint>
#include <cstdio>
#include <string>
#include <type_traits>
#include <vector>

#include <zlib.h>

#include <syncline/replica.hpp>
#include <syncline/storage.hpp>
#include <syncline/transport.hpp>

#include "schedule_policies.hpp"

namespace {

using namespace schedule_study;
using namespace syncline;

struct guest {
    std::string name, mail, diet, note, event, table;
    std::int64_t seat = 0;
    bool vip = false;
};
constexpr auto describe(guest const*) {
    using g = guest;
    return record_of<g>("guests", field("name", &g::name), field("mail", &g::mail), field("diet", &g::diet),
                        field("note", &g::note), field("event", &g::event), field("table", &g::table),
                        field("seat", &g::seat), field("vip", &g::vip));
}

std::string json(guest const& g, std::string const& id) {
    return "{\"collection\":\"guests\",\"id\":\"" + id + "\",\"fields\":{\"name\":\"" + g.name + "\",\"mail\":\"" +
           g.mail + "\",\"diet\":\"" + g.diet + "\",\"note\":\"" + g.note + "\",\"event\":\"" + g.event +
           "\",\"table\":\"" + g.table + "\",\"seat\":" + std::to_string(g.seat) +
           ",\"vip\":" + (g.vip ? "true" : "false") + "},\"updated_at\":\"2026-09-21T10:00:00Z\"}";
}

/// `window` 31: gzip; -15: raw deflate.
std::size_t compressed(void const* data, std::size_t size, int window) {
    std::vector<unsigned char> out(size + 200);
    z_stream z{};
    if (deflateInit2(&z, 9, Z_DEFLATED, window, 9, Z_DEFAULT_STRATEGY) != Z_OK) { std::abort(); }
    z.next_in = static_cast<unsigned char*>(const_cast<void*>(data));
    z.avail_in = static_cast<unsigned>(size);
    z.next_out = out.data();
    z.avail_out = static_cast<unsigned>(out.size());
    if (deflate(&z, Z_FINISH) != Z_STREAM_END) { std::abort(); }
    std::size_t const n = out.size() - z.avail_out;
    deflateEnd(&z);
    return n;
}

constexpr std::size_t request_head = 350;

struct sent {
    std::size_t writes = 0, requests = 0, bytes = 0, json_bytes = 0;
};

struct noted : ours {
    std::vector<std::int64_t> ran;  ///< ticks of exchanges that succeeded
    explicit noted(ours const& o) : ours(o) {}
    void ended(view const& v, schedule_study::decision const& what, bool good, std::int64_t up, std::int64_t down,
               std::int64_t took) {
        if (good) { ran.push_back(v.tick); }
        ours::ended(v, what, good, up, down, took);
    }
};

/// A day: its writes edit a field of one of 200 guests each; at the ticks of exchanges on poor links what waits is sent.
void play(day const& d, std::vector<std::int64_t> const& ran, std::uint64_t seed, sent& sum) {
    instant now{wall_time{milliseconds{1'789'948'800'000}}, monotonic_time{milliseconds{1}}};
    syncline::random_generator dice(seed);
    memory_storage home, store;
    authority<> const house(rule_table::of<guest>());
    auto const write = [](auto& s, auto f) {
        auto tx = s.begin(access_mode::write);
        if (!tx || !f(*tx) || !tx->commit()) { std::abort(); }
    };
    write(home, [&](auto& tx) { return house.open(tx, now, dice); });
    // What a batch may be on a poor link, by the table; it adapts up to four times that.
    replica const self(rule_table::of<guest>(), replica_options{.mutations_max = 5 * 4});
    write(store, [&](auto& tx) { return self.open(tx, "device", now, dice); });
    session<memory_storage, syncline::random_generator> link_session{store, self, dice};
    bool counting = false;
    auto const answer = [&](bytes_view request) {
        if (counting) {
            ++sum.requests;
            sum.bytes += compressed(request.data(), request.size(), -15);
        }
        return serve(home, house, "device", request, now);
    };
    auto const exchange = [&] {
        loopback_transport way(answer);
        if (!drive(
                link_session, store, way, [&] { return now; }, [](event const&) {}, hurry{})) {
            std::abort();
        }
    };
    std::vector<guest> guests;
    for (std::size_t i = 0; i < 200; ++i) {
        std::string const n = std::to_string(i);
        guests.push_back({"Zoe Oedegard-Mueller the " + n + "th", "guest." + n + "@example.org",
                          i % 3 == 0 ? "vegetarian" : "none of the usual", "arrives late, sits near a window " + n,
                          "wedding-of-saturday-" + std::to_string(i % 5), "table " + std::to_string(i % 40),
                          static_cast<std::int64_t>(i), i % 7 == 0});
        write(store, [&](auto& tx) { return self.create(tx, "guest-" + n, guests.back(), now); });
    }
    exchange();
    std::size_t next = 0;
    std::vector<item> items;
    for (item const& x : d.items) {
        if (!x.remote) { items.push_back(x); }
    }
    for (std::int64_t const tick : ran) {
        bool const poor = of(d.links[static_cast<std::size_t>(tick)]).down_kbps <= 1'500;
        std::size_t json_bytes = 0, writes = 0;
        for (; next < items.size() && items[next].tick <= tick; ++next) {
            now.wall = wall_time{milliseconds{1'789'948'800'000 + items[next].tick * tick_seconds * 1000}};
            now.monotonic = monotonic_time{milliseconds{1 + items[next].tick * tick_seconds * 1000}};
            std::size_t const who = below(dice, guests.size());
            std::string const id = "guest-" + std::to_string(who);
            guest& g = guests[who];
            switch (below(dice, 3)) {
                case 0: g.table = "table " + std::to_string(below(dice, 40)); break;
                case 1: g.seat = static_cast<std::int64_t>(below(dice, 600)); break;
                default: g.note = "moved by the host at " + std::to_string(below(dice, 2400)); break;
            }
            write(store, [&](auto& tx) {
                return self.template edit<guest>(
                    tx, id, [&](guest& x) { x = g; }, now);
            });
            std::string const text = json(g, id);
            json_bytes += compressed(text.data(), text.size(), 31);
            ++writes;
        }
        if (writes == 0) { continue; }
        counting = poor;
        exchange();
        counting = false;
        if (!poor) { continue; }
        sum.writes += writes;
        sum.json_bytes += json_bytes;
    }
}

}  // namespace

int main() {
    std::printf("persona,writes,requests,bytes,json_bytes,with_heads,json_with_heads,fewer,fewer_with_heads\n");
    sent all;
    auto const row = [](char const* who, sent const& s) {
        auto const ours_heads = s.bytes + s.requests * request_head;
        auto const json_heads = s.json_bytes + s.writes * request_head;
        std::printf("%s,%zu,%zu,%zu,%zu,%zu,%zu,%.3f,%.3f\n", who, s.writes, s.requests, s.bytes, s.json_bytes,
                    ours_heads, json_heads, 1 - static_cast<double>(s.bytes) / static_cast<double>(s.json_bytes),
                    1 - static_cast<double>(ours_heads) / static_cast<double>(json_heads));
    };
    for (persona const& p : personas()) {
        if (std::string(p.name) == "home") { continue; }
        ours learner;
        for (std::uint64_t i = 0; i < learning_days; ++i) {
            learner.begin_day(static_cast<std::int64_t>(i));
            static_cast<void>(live(make_day(p, 500'000 + i), learner));
        }
        sent sum;
        for (std::uint64_t const seed : seeds_held_out) {
            day const d = make_day(p, seed);
            noted policy(learner);
            policy.begin_day(static_cast<std::int64_t>(learning_days));
            static_cast<void>(live(d, policy));
            play(d, policy.ran, seed, sum);
        }
        row(p.name, sum);
        all.writes += sum.writes;
        all.requests += sum.requests;
        all.bytes += sum.bytes;
        all.json_bytes += sum.json_bytes;
    }
    row("all", all);
}
