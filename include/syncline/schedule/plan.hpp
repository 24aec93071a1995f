// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a schedule decides: when to wake, what to run and how much, and of each choice why, and when it would be otherwise.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include <syncline/core/config.hpp>
#include <syncline/core/time.hpp>
#include <syncline/schedule/conditions.hpp>
#include <syncline/schedule/options.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Why a choice was made. The first are the gates, by their numbers. Stored: append, never renumber.
enum class plan_reason : std::uint8_t {
    offline,
    backing_off,
    server_asked,
    server_loaded,
    roaming,
    metered,
    data_saver,
    battery_low,
    battery_critical,
    low_power_mode,
    hot,
    too_hot,
    storage_full,
    quiet_hours,
    no_window,
    day_budget,
    class_budget,
    weak_link,
    // What speaks for an exchange.
    due = 24,      ///< the interval of the class is over
    deadline,      ///< it has to arrive by a time
    told,          ///< a notification told of a change
    never_pulled,  ///< there is nothing of the collection yet
    riding,        ///< another program keeps the radio busy
    cheap_link,    ///< the link costs next to nothing
    window,        ///< the system granted time
    leaving,       ///< this link usually goes soon
    event,         ///< the calendar wants a collection whole by a time
    clock_moved,   ///< a time lies in the future: the clock was set back
    stale,         ///< it has waited so long that thrift no longer counts
    joining,       ///< comes along with an exchange that happens anyway
    // What speaks for waiting, beside the gates.
    nothing_to_do = 40,
    gathering,     ///< the interval isn't over: more may come to share the cost
    better_link,   ///< an unmetered link usually comes in time
    reconnecting,  ///< the link has just come back: devices spread out
    fresh,         ///< the collection is fresh enough
    // Where a size comes from.
    link_aggressive = 48,
    link_moderate,
    link_conservative,
    adapted,  ///< learned from how exchanges fared
    unlimited,
    window_length,  ///< what fits into the granted time
    budget_left,
    not_running,  ///< nothing is run now
};
[[nodiscard]] constexpr plan_reason reason_of(schedule_gate g) noexcept { return static_cast<plan_reason>(g); }

/// A reason in words, for people. "unknown reason" for a number that none has.
[[nodiscard]] constexpr char const* words(plan_reason r) noexcept {
    switch (r) {
        case plan_reason::offline: return "there is no network";
        case plan_reason::backing_off: return "the last exchange failed and its wait is not over";
        case plan_reason::server_asked: return "the server asked to wait";
        case plan_reason::server_loaded: return "the server is loaded";
        case plan_reason::roaming: return "the device is roaming";
        case plan_reason::metered: return "the link is metered";
        case plan_reason::data_saver: return "the data saver is on";
        case plan_reason::battery_low: return "the battery is low";
        case plan_reason::battery_critical: return "the battery is nearly empty";
        case plan_reason::low_power_mode: return "the low-power mode is on";
        case plan_reason::hot: return "the device is hot";
        case plan_reason::too_hot: return "the device is too hot";
        case plan_reason::storage_full: return "the storage is nearly full";
        case plan_reason::quiet_hours: return "these are quiet hours";
        case plan_reason::no_window: return "the system has granted no time in the background";
        case plan_reason::day_budget: return "today's bytes are used up";
        case plan_reason::class_budget: return "today's bytes of this class are used up";
        case plan_reason::weak_link: return "the link is too weak for this class";
        case plan_reason::due: return "it has waited as long as its class may";
        case plan_reason::deadline: return "it has to arrive by a time";
        case plan_reason::told: return "a notification told of a change";
        case plan_reason::never_pulled: return "it was never pulled";
        case plan_reason::riding: return "another program keeps the radio busy";
        case plan_reason::cheap_link: return "this link costs next to nothing";
        case plan_reason::window: return "the system has granted time";
        case plan_reason::leaving: return "this link usually goes soon";
        case plan_reason::event: return "the calendar wants it whole by a time";
        case plan_reason::clock_moved: return "the clock was set back";
        case plan_reason::stale: return "it has waited too long to save any longer";
        case plan_reason::joining: return "it comes along with an exchange that happens anyway";
        case plan_reason::nothing_to_do: return "there is nothing to do";
        case plan_reason::gathering: return "it may wait for more to come";
        case plan_reason::better_link: return "an unmetered link usually comes in time";
        case plan_reason::reconnecting: return "the link has just come back and devices spread out";
        case plan_reason::fresh: return "it is fresh enough";
        case plan_reason::link_aggressive: return "the link is good";
        case plan_reason::link_moderate: return "the link is fair, or unknown";
        case plan_reason::link_conservative: return "the link is poor";
        case plan_reason::adapted: return "that is how exchanges have fared";
        case plan_reason::unlimited: return "nothing limits it";
        case plan_reason::window_length: return "so much fits into the granted time";
        case plan_reason::budget_left: return "so much is left of today's bytes";
        case plan_reason::not_running: return "nothing is run now";
    }
    return "unknown reason";
}

/// What would change a choice, beside time. A set of bits.
enum class awaited : std::uint16_t {
    nothing = 0,
    network = 1,
    unmetered = 2,
    home_network = 4,  ///< no longer roaming
    data_saver_off = 8,
    power = 16,  ///< charging, or a fuller battery
    cooler = 32,
    space = 64,
    window = 128,  ///< the foreground, or time granted by the system
    better_link = 256,
    work = 512,     ///< a write, a notification, a user
    server = 1024,  ///< less load at the authority
    quiet_end = 2048,
};
[[nodiscard]] constexpr awaited operator|(awaited a, awaited b) noexcept {
    return static_cast<awaited>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr bool has(awaited set, awaited one) noexcept {
    return (static_cast<unsigned>(set) & static_cast<unsigned>(one)) != 0;
}
/// One of the set's conditions in words; the empty set: "nothing".
[[nodiscard]] constexpr char const* words(awaited one) noexcept {
    switch (one) {
        case awaited::nothing: return "nothing";
        case awaited::network: return "a network";
        case awaited::unmetered: return "an unmetered link";
        case awaited::home_network: return "the end of roaming";
        case awaited::data_saver_off: return "the data saver to be off";
        case awaited::power: return "power";
        case awaited::cooler: return "a cooler device";
        case awaited::space: return "free space";
        case awaited::window: return "the foreground, or time granted by the system";
        case awaited::better_link: return "a better link";
        case awaited::work: return "work";
        case awaited::server: return "the server's load to fall";
        case awaited::quiet_end: return "the end of quiet hours";
    }
    return "several conditions";
}

/// The choices of a plan, each explained.
enum class plan_choice : std::uint8_t {
    when,
    push,
    pull,
    lowest,
    batch,
    parallel,
    compression,
    large_values,
    allowance,
    lease
};
inline constexpr std::size_t plan_choices = 10;
[[nodiscard]] constexpr char const* words(plan_choice c) noexcept {
    constexpr std::array<char const*, plan_choices> names{
        "when", "push", "pull", "lowest class", "batch", "parallel", "compression", "large values", "bytes", "lease"};
    return static_cast<std::size_t>(c) < plan_choices ? names[static_cast<std::size_t>(c)] : "unknown choice";
}

/// Why one choice is what it is.
struct plan_explanation {
    plan_reason because = plan_reason::not_running;
    std::uint64_t considered = 0;           ///< a bit for each reason that was looked at and held: 1 << reason
    awaited until = awaited::nothing;       ///< conditions any of which would change it
    std::optional<wall_time> until_time{};  ///< and when time alone would
    friend constexpr bool operator==(plan_explanation const&, plan_explanation const&) = default;
};
[[nodiscard]] constexpr bool considered(plan_explanation const& e, plan_reason r) noexcept {
    return (e.considered >> static_cast<unsigned>(r) & 1U) != 0;
}

/// What to do. A value; the same for the same conditions, memory, options and time.
struct sync_plan {
    bool run = false;    ///< exchange now; ask again when it is done, or at `at`
    wall_time at{};      ///< when to ask again at the latest: always finite; `run`: when to ask if it didn't end
    milliseconds in{0};  ///< the same from now, for a monotonic timer
    awaited until = awaited::nothing;  ///< ask earlier when one of these comes to hold
    bool push = false;
    bool pull = false;
    sync_class lowest = sync_class::background;  ///< less urgent entries stay in the outbox: `claim_options::lowest`
    std::uint32_t collections = 0;               ///< a bit for each of the collections to pull, by their index
    std::array<std::uint8_t, collections_max> order{};  ///< their indices, the most overdue first; the first `pulls`
    std::uint8_t pulls = 0;
    link_strategy link = link_strategy::moderate;
    std::uint32_t batch = 1;
    std::uint32_t parallel = 1;
    compression_level compression = compression_level::low;
    bool large_values = false;
    std::uint64_t bytes_max = 0;  ///< to be moved now, both ways; 2^64 - 1 = no limit
    milliseconds lease{0};        ///< riding: the plan holds so long, while the radio is on; else zero
    std::array<plan_explanation, plan_choices> why{};

    [[nodiscard]] constexpr plan_explanation const& operator[](plan_choice c) const noexcept {
        return why[static_cast<std::size_t>(c)];
    }
    friend constexpr bool operator==(sync_plan const&, sync_plan const&) = default;
};

/// The plan as lines of text, a choice a line: what, why, what else was considered, and when it would be otherwise.
/// Times are given from `now`. Cost: linear; allocates the text.
[[nodiscard]] inline std::string to_text(sync_plan const& p, wall_time now) {
    auto const span = [](milliseconds d) {
        std::int64_t const s = d.count() / 1000;
        auto const two = [](std::int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
        if (s >= 3600) { return std::to_string(s / 3600) + ':' + two(s / 60 % 60) + ':' + two(s % 60); }
        return std::to_string(s / 60) + ':' + two(s % 60);
    };
    constexpr std::array<char const*, sync_classes> class_names{"critical", "important", "normal", "background"};
    constexpr std::array<char const*, 3> levels{"low", "medium", "high"};
    auto const value = [&](plan_choice c) -> std::string {
        switch (c) {
            case plan_choice::when: return p.run ? "now" : "in " + span(p.in);
            case plan_choice::push: return p.push ? "yes" : "no";
            case plan_choice::pull: return p.pull ? std::to_string(p.pulls) : "no";
            case plan_choice::lowest: return class_names[static_cast<std::size_t>(p.lowest)];
            case plan_choice::batch: return std::to_string(p.batch);
            case plan_choice::parallel: return std::to_string(p.parallel);
            case plan_choice::compression: return levels[static_cast<std::size_t>(p.compression)];
            case plan_choice::large_values: return p.large_values ? "yes" : "no";
            case plan_choice::allowance:
                return p.bytes_max == ~std::uint64_t{0} ? "no limit" : std::to_string(p.bytes_max);
            case plan_choice::lease: return p.lease.count() > 0 ? span(p.lease) : "none";
        }
        return {};
    };
    std::string out;
    for (std::size_t i = 0; i < plan_choices; ++i) {
        auto const c = static_cast<plan_choice>(i);
        plan_explanation const& e = p.why[i];
        out += words(c);
        out += ": " + value(c) + ", as " + words(e.because);
        bool first = true;
        for (unsigned r = 0; r < 64; ++r) {
            if ((e.considered >> r & 1U) == 0 || r == static_cast<unsigned>(e.because)) { continue; }
            out += first ? "; and " : ", ";
            out += words(static_cast<plan_reason>(r));
            first = false;
        }
        if (e.until_time || e.until != awaited::nothing) {
            out += "; otherwise";
            if (e.until_time) { out += " in " + span(*e.until_time > now ? *e.until_time - now : milliseconds{0}); }
            bool any = e.until_time.has_value();
            for (unsigned bit = 1; bit <= 2048; bit *= 2) {
                if ((static_cast<unsigned>(e.until) & bit) == 0) { continue; }
                out += any ? " or with " : " with ";
                out += words(static_cast<awaited>(bit));
                any = true;
            }
        }
        out += '\n';
    }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
