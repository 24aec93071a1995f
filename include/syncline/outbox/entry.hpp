// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What goes into an outbox, how it stands there, and what a claim asks for.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How long an entry may stand behind others. Stored: append, never renumber.
enum class priority : std::uint8_t {
    critical = 0,    ///< a band of its own, before all others
    important = 1,   ///< the rest goes by deadline: time of entry plus the patience of the class
    normal = 2,      ///<
    background = 3,  ///<
};

/// The class of a numeric priority, 9 the most urgent as in JMS: 9 is critical, 7 and 8 important, 3 to 6 normal,
/// below background; more than 9 counts as 9.
[[nodiscard]] constexpr priority priority_of(unsigned number) noexcept {
    return number >= 9   ? priority::critical
           : number >= 7 ? priority::important
           : number >= 3 ? priority::normal
                         : priority::background;
}

/// Where an entry is: in exactly one of these.
enum class entry_state : std::uint8_t {
    ready,    ///< nothing holds it, and it may be claimed
    waiting,  ///< nothing holds it, not before a time
    blocked,  ///< stands behind another entry of a record of its, or after one that is not done
    claimed,  ///< a claimant has it, until it says what became of it or its lease ends
    dead,     ///< given up, kept with its verdict until a person revives or discards it
};

/// Limits and patience. All times in milliseconds, none negative.
struct outbox_options {
    milliseconds patience_important{std::chrono::minutes{5}};  ///< deadline after entry, important class
    milliseconds patience_normal{std::chrono::minutes{30}};    ///< deadline after entry, normal class
    milliseconds patience_background{std::chrono::hours{1}};   ///< deadline after entry, background class
    milliseconds lease{std::chrono::seconds{60}};              ///< how long a claim holds, unless the claim says; > 0
    /// The longest wait, lease or patience of an entry's own that is believed. What is due later than this from now was
    /// written under a clock that has since been set back, and is due at once. Longer ones are cut to it; > 0.
    milliseconds wait_max{std::chrono::hours{24}};
    std::uint64_t entries_max = 0;       ///< living entries; one more is refused; 0 = no limit
    std::uint64_t bytes_max = 0;         ///< records and payloads of living entries; more is refused; 0 = no limit
    std::uint32_t promotions_max = 256;  ///< waits, leases and lives, each, that one claim ends; > 0
    friend constexpr bool operator==(outbox_options const&, outbox_options const&) = default;
};
[[nodiscard]] constexpr bool valid(outbox_options const& o) noexcept {
    return o.patience_important.count() >= 0 && o.patience_normal.count() >= 0 && o.patience_background.count() >= 0 &&
           o.lease.count() > 0 && o.wait_max.count() > 0 && o.promotions_max > 0;
}

/// What may wait in one lane, beside the limits of the whole outbox.
struct lane_limit {
    std::uint8_t lane = 0;
    std::uint64_t entries_max = 0;  ///< living entries of the lane; one more is refused; 0 = no limit
    std::uint64_t bytes_max = 0;    ///< their records and payloads; more is refused; 0 = no limit
    friend constexpr bool operator==(lane_limit const&, lane_limit const&) = default;
};

/// Longest order key of an entry.
inline constexpr std::size_t outbox_record_bytes_max = 400;
/// Records of one entry, and entries that it names as to be done before it.
inline constexpr std::size_t outbox_records_max = 16;
inline constexpr std::size_t outbox_after_max = 256;
/// Entries that may be after one and the same.
inline constexpr std::uint32_t outbox_dependants_max = 4096;
/// Entries that the search for a circle looks at.
inline constexpr std::size_t outbox_search_max = 4096;
/// Most bytes that a stored value holds beside the payload, the records (each with two bytes of length) and eight
/// bytes for each entry that it is after.
inline constexpr std::size_t outbox_overhead_max = 64;

/// What enters. Borrowed for the call.
struct outbox_item {
    priority urgency = priority::normal;
    bytes_view record{};    ///< entries of one record keep their order; at most 400 bytes; empty = in no order
    bytes_view payload{};   ///< opaque; at most what the storage takes, less `outbox_overhead_max`
    std::uint8_t lane = 0;  ///< where it goes: a claim takes from one lane, or from all; the host's own numbers
    /// Its own patience instead of its class's: not negative, cut to `wait_max`. It takes its place by deadline among
    /// the others, in the orders `strict` and `arrival` among those of its class with a patience of their own. What is
    /// critical has no use for one.
    std::optional<milliseconds> patience{};
    /// Never claimed within this time, it becomes a dead letter; it has no effect once claimed; empty = never.
    std::optional<milliseconds> time_to_live{};
    /// Tokens of entries that have to be done before: gone, not dead. At most `outbox_after_max`.
    std::span<std::uint64_t const> after{};
    /// The same for entries of one `enqueue_all`, by their index.
    std::span<std::size_t const> after_items{};
    /// A group that must land together is one entry of several records: it keeps the order of each. None of them
    /// empty or twice; with `record` at most `outbox_records_max`.
    std::span<bytes_view const> more_records{};
};

/// An entry as it stands in the queue.
struct outbox_entry {
    std::uint64_t token = 0;                ///< its name, rising with every entry, never used twice
    std::uint64_t fence = 0;                ///< of its last claim; 0 = never claimed; a later claim has a greater one
    priority urgency = priority::normal;    ///< as it entered
    priority served_as = priority::normal;  ///< its own class, or that of the most urgent one that is after it
    std::uint8_t lane = 0;
    entry_state state = entry_state::ready;
    wall_time entered{};  ///< when it was enqueued, or revived
    wall_time
        not_before{};  ///< waiting, or blocked after a wait: until when; claimed: end of the lease, `max()` = never
    std::uint32_t attempts = 0;    ///< claims that ended in a release or with their lease
    std::uint32_t batch_max = 0;   ///< given in no larger batch, as one was refused; 0 = any
    std::uint32_t dependants = 0;  ///< entries that are after it
    /// Its own patience, or what is left of that of an entry which is after it.
    std::optional<milliseconds> patience{};
    std::optional<wall_time> expires{};  ///< becomes a dead letter unless claimed until then
    std::vector<std::uint64_t> after{};  ///< entries that have to be done before
    bytes record{};
    std::vector<bytes> more_records{};
    bytes payload{};
    errc reason{};    ///< dead: why; `errc::cancelled` with the verdict "expired" when its time to live was over
    bytes verdict{};  ///< dead: what was said about it, opaque
    friend bool operator==(outbox_entry const&, outbox_entry const&) = default;
};

/// In what order a claim takes. The order of a record, and what is after what, hold in each of them.
enum class claim_order : std::uint8_t {
    deadline,  ///< critical first; the rest by time of entry plus patience: urgency without starvation
    strict,    ///< class by class: a less urgent one only when no more urgent one is ready
    arrival,   ///< first in, first out, whatever the classes
};

/// What one call of `claim` takes.
struct claim_options {
    std::size_t entries_max = 100;
    std::size_t bytes_max = std::size_t{1} << 20;  ///< of payloads; one entry is given even when longer
    priority lowest = priority::background;        ///< entries of less urgent classes are passed over
    std::optional<milliseconds> lease{};           ///< empty = the outbox's; `milliseconds::max()` = never ends
    /// Entries of one record that one call gives, in order. Above one, the claimant must not let a later one
    /// take effect when an earlier one did not: it releases the later ones too.
    std::size_t record_run_max = 1;
    std::optional<std::uint8_t> lane{};  ///< empty = all
    claim_order order = claim_order::deadline;
    /// How long a batch that is not full may wait for more, from the entry of its oldest. What is critical or was
    /// claimed before waits for nothing.
    milliseconds linger{0};
};

/// How batches of one lane are made: 100 entries, or what there is after 5 seconds. `claim(lane)` is what to ask for.
struct lane_options {
    std::size_t entries_max = 100;  ///< 50, say, for a stream of events
    std::size_t bytes_max = std::size_t{1} << 20;
    milliseconds linger{std::chrono::seconds{5}};
    claim_order order = claim_order::deadline;
    std::optional<milliseconds> lease{};

    [[nodiscard]] constexpr claim_options claim(std::uint8_t lane) const {
        claim_options what;
        what.entries_max = entries_max;
        what.bytes_max = bytes_max;
        what.lease = lease;
        what.lane = lane;
        what.order = order;
        what.linger = linger;
        return what;
    }
    friend constexpr bool operator==(lane_options const&, lane_options const&) = default;
};

/// A claim that is held: what the entry of a claim says of itself.
struct outbox_claim {
    std::uint64_t token = 0;
    std::uint64_t fence = 0;
};
/// A claimed entry, and what it holds from now on.
struct outbox_payload {
    std::uint64_t token = 0;
    std::uint64_t fence = 0;
    bytes payload{};
};

/// What became of one entry of a batch.
enum class answer_kind : std::uint8_t {
    done,        ///< it arrived: it leaves
    retry,       ///< not yet: it waits until `not_before`, with an attempt more
    rejected,    ///< it never will: a dead letter with reason and verdict
    collateral,  ///< its batch failed, not it: ready again at once, as if nothing had been
};
/// The verdict on one claimed entry, for `answer_all`. Borrowed for the call.
struct outbox_answer {
    std::uint64_t token = 0;
    std::uint64_t fence = 0;
    answer_kind kind = answer_kind::done;
    wall_time not_before{};        ///< retry
    errc reason = errc::rejected;  ///< rejected
    bytes_view verdict{};          ///< rejected
};

/// What is in an outbox.
struct outbox_summary {
    /// Entries by class and state: `count[class][state]`.
    std::array<std::array<std::uint64_t, 5>, 4> count{};
    std::uint64_t entries = 0;          ///< living: all but the dead
    std::uint64_t bytes = 0;            ///< records and payloads of the living
    std::uint64_t dead = 0;             ///< dead letters
    std::optional<wall_time> oldest{};  ///< earliest entry among the living
    [[nodiscard]] std::uint64_t of(priority p, entry_state s) const noexcept {
        return count[static_cast<std::size_t>(p)][static_cast<std::size_t>(s)];
    }
    friend bool operator==(outbox_summary const&, outbox_summary const&) = default;
};

}  // namespace syncline::inline SYNCLINE_ABI
