// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What every part may report to: one small concept, free when nobody listens.

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What is counted. It only rises. Stored: append, never renumber.
enum class metric_counter : std::uint8_t {
    exchanges,  ///< that succeeded
    exchanges_failed,
    entries_sent,
    entries_applied,     ///< the authority applied them, merged or not
    entries_conflicted,  ///< they became conflicts for a person
    entries_rejected,
    entries_dead,  ///< given up: dead letters
    retries,
    rows_pulled,
    bytes_up,
    bytes_down,
    saved_by_delta,  ///< bytes that were not sent, by what saved them
    saved_by_compression,
    saved_by_coalescing,
    saved_by_batching,
    saved_by_cache,
    rows_checked,  ///< for integrity
    rows_bad_fingerprint,
    rows_bad_schema,
    rows_bad_rule,
    rows_bad_reference,
    decisions,          ///< of the schedule
    wake_ups,           ///< decisions that time alone asked for
    entries_merged,     ///< of those applied, the ones that were merged with another's change
    entries_overruled,  ///< another's change took their place
    entries_duplicate,  ///< they had their verdict long ago
    conflicts_opened,   ///< in the queue of conflicts
    conflicts_decided,
    rows_differing,  ///< that a reconciliation found
    audit_entries,
    blobs_moved,
    blobs_refused,
};
inline constexpr std::size_t metric_counters = 32;
/// What goes up and down.
enum class metric_gauge : std::uint8_t {
    pending_entries,
    pending_bytes,
    oldest_pending,  ///< milliseconds that the oldest has waited
    staleness,       ///< milliseconds since the replica was last whole: its last exchange that succeeded
    open_conflicts,
    battery,             ///< per cent
    storage_free,        ///< bytes
    stalest_collection,  ///< milliseconds since the collection was whole that has waited longest
};
inline constexpr std::size_t metric_gauges = 8;
/// What takes time.
enum class metric_latency : std::uint8_t { exchange, push, pull, apply, merge, commit };
inline constexpr std::size_t metric_latencies = 6;

[[nodiscard]] constexpr unsigned last_of(metric_counter) noexcept { return metric_counters - 1; }
[[nodiscard]] constexpr unsigned last_of(metric_gauge) noexcept { return metric_gauges - 1; }
[[nodiscard]] constexpr unsigned last_of(metric_latency) noexcept { return metric_latencies - 1; }

/// A component's name, for the cache of recent failures.
enum class observed_part : std::uint8_t { session, outbox, storage, transport, merge, schedule, cache, blob, other };
[[nodiscard]] constexpr unsigned last_of(observed_part) noexcept { return 8; }
[[nodiscard]] constexpr char const* words(observed_part c) noexcept {
    constexpr std::array<char const*, 9> names{"session",  "outbox", "storage", "transport", "merge",
                                               "schedule", "cache",  "blob",    "other"};
    return static_cast<std::size_t>(c) < names.size() ? names[static_cast<std::size_t>(c)] : "unknown";
}

/// Hears what happens.
///
/// | expression              | result | meaning                                                        |
/// |-------------------------|--------|----------------------------------------------------------------|
/// | o.counted(c, n)         | void   | `n` more of counter `c`                                        |
/// | o.measured(g, v)        | void   | gauge `g` is `v` now                                           |
/// | o.took(l, t)            | void   | something of kind `l` took `t`, a `std::chrono::microseconds`  |
/// | o.failed(who, why, now) | void   | a part failed; `why` holds no user's value, by its own promise |
///
/// Axioms: **silent** — a call changes nothing but the observer, and never fails; **additive** — counting n and then m
/// is counting n + m; **ordered** — calls are heard in the order in which they are made; **masked** — an observer is told
/// numbers and names of parts, never keys or values.
/// Threads: the caller serialises. A part that lives takes an observer as its last template parameter and keeps it in
/// `SYNCLINE_NO_UNIQUE_ADDRESS`; a call that works in a transaction takes it as its last argument. With `no_observer`
/// nothing is stored, called or read. What such a call tells is true when its transaction commits: a host that may roll
/// back passes `until_commit`.
template <class O>
concept observer = requires(O& o, metric_counter c, metric_gauge g, metric_latency l, observed_part who,
                            failure const& why, std::uint64_t n, std::chrono::microseconds t, wall_time now) {
    { o.counted(c, n) }
    noexcept->std::same_as<void>;
    { o.measured(g, n) }
    noexcept->std::same_as<void>;
    { o.took(l, t) }
    noexcept->std::same_as<void>;
    { o.failed(who, why, now) }
    noexcept->std::same_as<void>;
};

/// Nobody listens.
struct no_observer {
    constexpr void counted(metric_counter, std::uint64_t) const noexcept {}
    constexpr void measured(metric_gauge, std::uint64_t) const noexcept {}
    constexpr void took(metric_latency, std::chrono::microseconds) const noexcept {}
    constexpr void failed(observed_part, failure const&, wall_time) const noexcept {}
};
static_assert(observer<no_observer> && observer<no_observer const>);

/// True where somebody listens: what is read only to be told is then read.
template <class O>
inline constexpr bool listens = !std::is_same_v<std::remove_cvref_t<O>, no_observer>;

/// Refers to an observer that lives elsewhere, so that several parts report to one.
template <observer O>
class observer_ref {
public:
    constexpr explicit observer_ref(O& o) noexcept : o_(&o) {}
    constexpr void counted(metric_counter c, std::uint64_t n) const noexcept { o_->counted(c, n); }
    constexpr void measured(metric_gauge g, std::uint64_t v) const noexcept { o_->measured(g, v); }
    constexpr void took(metric_latency l, std::chrono::microseconds t) const noexcept { o_->took(l, t); }
    constexpr void failed(observed_part who, failure const& why, wall_time now) const noexcept {
        o_->failed(who, why, now);
    }
    /// What it hears beside, of whatever type.
    template <class N>
    constexpr void noticed(N const& n) const noexcept requires requires(O& o) {
        { o.noticed(n) }
        noexcept;
    }
    { o_->noticed(n); }

private:
    O* o_;
};

/// Holds what the calls of one transaction tell, until it has committed: then `tell` passes it on. Forgotten otherwise.
///
/// Counts and gauges wait; times and failures pass at once, as they were whatever becomes of the transaction.
/// Cost: some 400 bytes; nothing is allocated.
template <observer O>
class until_commit {
public:
    constexpr explicit until_commit(O& o) noexcept : o_(&o) {}
    constexpr void counted(metric_counter c, std::uint64_t n) noexcept { counts_[static_cast<std::size_t>(c)] += n; }
    constexpr void measured(metric_gauge g, std::uint64_t v) noexcept { gauges_[static_cast<std::size_t>(g)] = v; }
    constexpr void took(metric_latency l, std::chrono::microseconds t) noexcept { o_->took(l, t); }
    constexpr void failed(observed_part who, failure const& why, wall_time now) noexcept { o_->failed(who, why, now); }

    /// The transaction has committed. Nothing is held afterwards.
    constexpr void tell() noexcept {
        for (std::size_t i = 0; i < metric_counters; ++i) {
            if (counts_[i] != 0) { o_->counted(static_cast<metric_counter>(i), counts_[i]); }
        }
        for (std::size_t i = 0; i < metric_gauges; ++i) {
            if (gauges_[i]) { o_->measured(static_cast<metric_gauge>(i), *gauges_[i]); }
        }
        forget();
    }
    /// It has not.
    constexpr void forget() noexcept {
        counts_ = {};
        gauges_ = {};
    }

private:
    O* o_;
    std::array<std::uint64_t, metric_counters> counts_{};
    std::array<std::optional<std::uint64_t>, metric_gauges> gauges_{};
};

}  // namespace syncline::inline SYNCLINE_ABI
