// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A hybrid clock for use alone, monotonic across restarts: it reserves an upper bound in storage ahead of use.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How far a `reserved_clock` reserves.
struct reserved_clock_options {
    clock_options clock{};
    milliseconds reserve{10'000};  ///< how long one write lasts while the wall time runs as it should; >= 0
    friend constexpr bool operator==(reserved_clock_options const&, reserved_clock_options const&) = default;
};
[[nodiscard]] constexpr bool valid(reserved_clock_options const& o) noexcept {
    return valid(o.clock) && o.reserve.count() >= 0;
}

/// Issues stamps that rise across restarts, even under a wall clock that was set back, at one write for many.
///
/// Storage holds, under one key, eight bytes: a bound such that every stamp issued or accepted so far is at most
/// the bound. A restart goes on above it. A replica does not need this: its stamps are written with its mutations.
///
/// The bound counts once its transaction has committed; only the host knows when, and says so by `committed()`.
/// Until then each call reads the key again, and writes it again if the transaction was rolled back: forgetting
/// to call it costs a read a stamp, never a stamp twice. Stamps of a transaction that is rolled back are burnt.
/// One clock at a time on one key: processes that share a store keep the stamp in the mutation's transaction.
/// Cost: within the reservation nothing but the clock; else one get and one put of 8 bytes. One allocation, the key.
class reserved_clock {
public:
    /// The clock of `key`, going on above what was ever reserved.
    ///
    /// `corrupt` when the value is not eight bytes, or what storage answers.
    /// Preconditions: valid(options); a key of 1 to 511 bytes.
    template <storage_transaction T>
    [[nodiscard]] static result<reserved_clock> open(T& tx, bytes_view key, reserved_clock_options options = {}) {
        SYNCLINE_ASSERT(valid(options) && !key.empty() && key.size() <= key_bytes_max);
        reserved_clock clock(key, options);
        auto const stored = clock.read(tx);
        if (!stored) { return stored.error(); }
        clock.clock_ = hybrid_clock(options.clock, *stored);
        clock.bound_ = *stored;
        return clock;
    }

    /// A stamp greater than all before, or what storage answers: then nothing changed.
    ///
    /// The reservation, if one is due, is written in `tx`. Without storage there is no promise to keep across
    /// a restart, so this is the one place where issuing can fail; a host that must go on uses a plain
    /// `hybrid_clock` from `last()`.
    template <storage_transaction T>
    [[nodiscard]] result<timestamp> now(T& tx, wall_time physical) {
        hybrid_clock next = clock_;
        timestamp stamp = next.now(physical);
        auto const floor = cover(tx, stamp, physical);
        if (!floor) { return floor.error(); }
        if (*floor >= stamp) {
            next = hybrid_clock(options_.clock, *floor);
            stamp = next.now(physical);
        }
        clock_ = next;
        return stamp;
    }

    /// A stamp out of the committed reservation, without storage; empty, and nothing changed, when a
    /// reservation is due.
    [[nodiscard]] std::optional<timestamp> try_now(wall_time physical) noexcept {
        hybrid_clock next = clock_;
        timestamp const stamp = next.now(physical);
        if (pending_ || stamp > bound_) { return std::nullopt; }
        clock_ = next;
        return stamp;
    }

    /// Learns of a remote stamp, so that every later stamp is greater, also after a restart.
    ///
    /// `stamp_too_far` when it is too far ahead of `physical` (see `hybrid_clock::accept`), or what storage
    /// answers: in both cases nothing changed.
    template <storage_transaction T>
    [[nodiscard]] status accept(T& tx, timestamp remote, wall_time physical) {
        hybrid_clock next = clock_;
        if (auto const s = next.accept(remote, physical); !s) { return s; }
        // Also when the clock stands above it already: it may stand there by a transaction that was rolled back.
        if (auto const floor = cover(tx, next.last(), physical); !floor) { return floor.error(); }
        clock_ = next;
        return {};
    }

    /// A transaction in which `now` or `accept` succeeded, no later one having been given to either since, has
    /// committed: its bound holds. Where commits are not durable by themselves, a power loss takes the bound
    /// along; call `barrier()` before this then.
    void committed() noexcept { pending_ = false; }

    [[nodiscard]] timestamp last() const noexcept { return clock_.last(); }
    /// Every stamp up to this one needs no write; of use to reserve ahead in a quiet moment.
    [[nodiscard]] timestamp bound() const noexcept { return bound_; }

private:
    reserved_clock(bytes_view key, reserved_clock_options options)
        : key_(to_bytes(key)), options_(options), clock_(options.clock) {}

    template <storage_transaction T>
    [[nodiscard]] result<timestamp> read(T& tx) const {
        bytes value;
        auto const found = tx.get(key_, value);
        if (!found) { return found.error(); }
        if (!*found) { return timestamp{}; }
        auto const stored = timestamp_from(value);
        if (!stored) { return failure(errc::corrupt, "a reserved clock's bound has 8 bytes"); }
        return *stored;
    }

    /// Sees to it that `stamp` is at most the bound in storage. Answers what storage held before, above which is
    /// what nobody has used. Leaves the object alone on error.
    template <storage_transaction T>
    [[nodiscard]] result<timestamp> cover(T& tx, timestamp stamp, wall_time physical) {
        if (!pending_ && stamp <= bound_) { return timestamp{}; }
        auto const stored = read(tx);
        if (!stored) { return stored; }
        if (pending_ && *stored == bound_ && stamp <= bound_) { return timestamp{}; }
        timestamp const least = stamp > *stored ? stamp : *stored;
        timestamp const ahead = latest_within(physical, options_.reserve);
        // At least another 2^16 stamps, one millisecond: a clock that was set back, or a loop of crashes,
        // does not walk into the future by whole reservations.
        timestamp const more{saturating_add(least.raw, 0xFFFF)};
        timestamp const bound = ahead > more ? ahead : more;
        if (auto const s = tx.put(key_, to_array(bound)); !s) { return s.error(); }
        bound_ = bound;
        pending_ = true;
        return stored;
    }

    bytes key_;
    reserved_clock_options options_;
    hybrid_clock clock_;
    timestamp bound_{};     ///< in storage, unless `pending_` and rolled back
    bool pending_ = false;  ///< the bound's transaction is not known to have committed
};

}  // namespace syncline::inline SYNCLINE_ABI
