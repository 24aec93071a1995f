// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Random conditions, times and lives for the tests of the schedule.

#include <cstdint>
#include <limits>
#include <optional>

#include <syncline/core/random.hpp>
#include <syncline/schedule/conditions.hpp>
#include <syncline/schedule/memory.hpp>
#include <syncline/schedule/options.hpp>

namespace schedule_test {

using namespace syncline;

inline constexpr wall_time monday{milliseconds{1'789'948'800'000}};  // 21 September 2026, 00:00 UTC

/// Unknown once in three, else what `make` makes.
template <class F>
auto maybe(random_generator& g, F make) -> std::optional<decltype(make())> {
    if (below(g, 3) == 0) { return {}; }
    return make();
}
inline std::optional<bool> maybe_bool(random_generator& g) {
    return maybe(g, [&] { return below(g, 2) == 0; });
}
template <class E>
E any_of(random_generator& g) {
    return static_cast<E>(below(g, last_of(E{}) + 1));
}
/// Around now, seldom far away, very seldom at the ends.
inline wall_time any_time(random_generator& g, wall_time now) {
    switch (below(g, 40)) {
        case 0: return (wall_time::min)();
        case 1: return (wall_time::max)();
        case 2: return now + milliseconds{static_cast<std::int64_t>(below(g, 1ULL << 40))};
        default: return now + milliseconds{static_cast<std::int64_t>(below(g, 7'200'000)) - 6'000'000};
    }
}
inline milliseconds any_span(random_generator& g) {
    switch (below(g, 20)) {
        case 0: return (milliseconds::max)();
        case 1: return (milliseconds::min)();
        case 2: return milliseconds{0};
        default: return milliseconds{static_cast<std::int64_t>(below(g, 200'000))};
    }
}

inline conditions any_conditions(random_generator& g, wall_time now) {
    conditions c;
    auto& n = c.network;
    n.online = maybe(g, [&] { return below(g, 4) != 0; });
    n.kind = maybe(g, [&] { return any_of<link_kind>(g); });
    n.metered = maybe_bool(g);
    n.roaming = maybe(g, [&] { return below(g, 6) == 0; });
    n.data_saver = maybe(g, [&] { return below(g, 5) == 0; });
    n.effective = maybe(g, [&] { return any_of<effective_type>(g); });
    n.downlink_kbps = maybe(g, [&] { return static_cast<std::uint32_t>(below(g, 30'000)); });
    n.round_trip = maybe(g, [&] { return any_span(g); });
    n.transferring = maybe(g, [&] { return below(g, 4) == 0; });
    n.radio_on_for = maybe(g, [&] { return any_span(g); });
    c.power.level = maybe(g, [&] { return static_cast<std::uint8_t>(below(g, 101)); });
    c.power.charging = maybe_bool(g);
    c.power.low_power_mode = maybe(g, [&] { return below(g, 5) == 0; });
    c.power.thermal = maybe(g, [&] { return below(g, 4) == 0 ? any_of<thermal_state>(g) : thermal_state::nominal; });
    c.storage.free_bytes = maybe(g, [&] { return below(g, 8) == 0 ? below(g, 1 << 20) : g() >> 20; });
    c.storage.quota_left = maybe(g, [&] { return below(g, 8) == 0 ? below(g, 1 << 20) : g() >> 20; });
    auto& a = c.application;
    a.foreground = maybe_bool(g);
    a.user_active = maybe_bool(g);
    a.window = maybe(g, [&] { return any_span(g); });
    a.quiet = maybe(g, [&] { return below(g, 5) == 0; });
    a.quiet_until = maybe(g, [&] { return any_time(g, now); });
    a.woken_for = maybe(g, [&] { return any_of<sync_class>(g); });
    a.notices_live = maybe_bool(g);
    c.server.not_before = maybe(g, [&] { return any_time(g, now); });
    c.server.load = maybe(g, [&] { return static_cast<std::uint8_t>(below(g, 101)); });
    c.server.interval = maybe(g, [&] { return any_span(g); });
    for (std::uint64_t i = below(g, 4); i != 0; --i) {
        // One after the other: the order in which arguments are evaluated is the compiler's.
        auto const urgency = any_of<sync_class>(g);
        std::uint64_t const size = below(g, 5000);
        wall_time const entered = any_time(g, now);
        auto const deadline = maybe(g, [&] { return any_time(g, now); });
        c.pending.add(urgency, size, entered, deadline, 1 + static_cast<std::uint32_t>(below(g, 50)));
    }
    for (std::uint64_t i = below(g, 8) == 0 ? below(g, collections_max + 1) : below(g, 5); i != 0; --i) {
        collection_state k;
        k.id = static_cast<std::uint16_t>(i);
        k.scope = static_cast<std::uint16_t>(below(g, 3));
        k.urgency = any_of<sync_class>(g);
        k.fresh_at = maybe(g, [&] { return any_time(g, now); });
        k.told_at = maybe(g, [&] { return any_time(g, now); });
        k.complete_by = maybe(g, [&] { return any_time(g, now); });
        k.bytes_left = maybe(g, [&] { return below(g, 100'000'000); });
        static_cast<void>(c.collections.push_back(k));
    }
    return c;
}

/// Something happens to a memory.
inline void live(schedule_memory& m, schedule_options const& o, wall_time now, random_generator& g) {
    transfer_report r;
    r.took = any_span(g);
    r.round_trip = any_span(g);
    r.bytes_up = below(g, 100'000);
    r.bytes_down = below(g, 1'000'000);
    r.entries = static_cast<std::uint32_t>(below(g, 200));
    r.metered = below(g, 2) == 0;
    r.class_bytes[below(g, sync_classes)] = below(g, 10'000);
    switch (below(g, 8)) {
        case 0:
            r.retry_after = maybe(g, [&] { return any_span(g); });
            m.failed(r, o, now, g);
            break;
        case 1:
        case 2:
            r.good = true;
            m.succeeded(r, o, now);
            break;
        case 3: m.opened(static_cast<std::uint16_t>(below(g, 20)), o, now); break;
        default: m.saw(any_conditions(g, now), o, now); break;
    }
}

}  // namespace schedule_test
