// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A circuit breaker: leaves a peer that keeps failing alone for a while, then asks it carefully.

#include <array>
#include <cstddef>
#include <cstdint>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/state.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Stored: append, never renumber.
enum class breaker_state : std::uint8_t {
    closed = 0,     ///< all may pass
    open = 1,       ///< none may pass, for a time
    half_open = 2,  ///< a few may pass, to see how they fare
};

/// When a `circuit_breaker` opens and closes.
struct circuit_breaker_options {
    milliseconds window{60'000};             ///< how far back outcomes count; 8 ms to `retry_time_max`
    std::uint32_t calls_min = 10;            ///< with fewer outcomes in the window it stays closed; > 0
    std::uint32_t failures_per_mille = 500;  ///< opens at this share of failures; 1 to 1000
    milliseconds open_for{15'000};           ///< how long it stays open, doubled each time the probes fail; > 0
    milliseconds open_max{300'000};          ///< but no longer than this; open_for to `retry_time_max`
    std::uint32_t probes_max = 1;            ///< attempts under way at a time while it is half open; > 0
    std::uint32_t successes_to_close = 2;    ///< of probes; > 0
    milliseconds probe_timeout{120'000};     ///< a probe that said nothing for so long counts as failed; > 0
    friend constexpr bool operator==(circuit_breaker_options const&, circuit_breaker_options const&) = default;
};
[[nodiscard]] constexpr bool valid(circuit_breaker_options const& o) noexcept {
    return o.window.count() >= 8 && o.window <= retry_time_max && o.calls_min > 0 && o.failures_per_mille > 0 &&
           o.failures_per_mille <= 1000 && o.open_for.count() > 0 && o.open_max >= o.open_for &&
           o.open_max <= retry_time_max && o.probes_max > 0 && o.successes_to_close > 0 &&
           o.probe_timeout.count() > 0 && o.probe_timeout <= retry_time_max;
}

/// Whether an attempt may begin.
struct breaker_answer {
    bool allowed = false;
    milliseconds wait{0};  ///< until asking again makes sense; zero when allowed
    friend constexpr bool operator==(breaker_answer const&, breaker_answer const&) = default;
};

/// Leaves a peer alone that keeps failing.
///
///     closed --(share of failures in the window)--> open --(time)--> half open --(successes)--> closed
///                                                     ^                  |
///                                                     +----(a failure)---+
///
/// Outcomes are counted in eight slices of the window, so that old ones leave an eighth at a time. An attempt that was
/// allowed while the breaker was closed and ends when it no longer is changes nothing while it is open.
/// A value: copy it, store it, compare it. It reads no clock: `now` is an argument, and one that goes back counts as
/// no time passed. Cost: each call is O(1), allocates nothing.
/// Source: Nygard, "Release It!", 2007; the window as in Resilience4j.
class circuit_breaker {
public:
    using state = std::array<std::byte, 29>;

    /// Precondition: valid(options).
    constexpr explicit circuit_breaker(circuit_breaker_options options = {}) noexcept
        : options_(options), open_for_(options.open_for) {
        SYNCLINE_ASSERT(valid(options));
    }

    /// Whether an attempt may begin now. While half open, one that may is a probe: tell what came of it.
    [[nodiscard]] constexpr breaker_answer allow(monotonic_time now) noexcept {
        advance(now);
        switch (state_) {
            case breaker_state::closed: return {true, milliseconds{0}};
            case breaker_state::open: return {false, lasts_ - elapsed(since_, now)};
            case breaker_state::half_open: break;
        }
        if (probes_ < options_.probes_max) {
            ++probes_;
            since_ = now;
            return {true, milliseconds{0}};
        }
        return {false, options_.probe_timeout - elapsed(since_, now)};
    }

    /// An attempt succeeded.
    constexpr void succeeded(monotonic_time now) noexcept {
        advance(now);
        if (state_ == breaker_state::closed) {
            count(slices_[slice_].good);
        } else if (state_ == breaker_state::half_open) {
            probes_ -= probes_ > 0 ? 1 : 0;
            if (++successes_ >= options_.successes_to_close) { close(now); }
        }
    }
    /// An attempt failed, in a way that says something of the peer.
    constexpr void failed(monotonic_time now) noexcept {
        advance(now);
        if (state_ == breaker_state::closed) {
            count(slices_[slice_].bad);
            std::uint64_t good = 0;
            std::uint64_t bad = 0;
            for (slice const& s : slices_) {
                good += s.good;
                bad += s.bad;
            }
            if (good + bad >= options_.calls_min && bad * 1000 >= (good + bad) * options_.failures_per_mille) {
                open(now, options_.open_for);
            }
        } else if (state_ == breaker_state::half_open) {
            reopen(now);
        }
    }
    /// An attempt ended in a way that says nothing of the peer: given up by the host, say. Frees a probe's place.
    constexpr void cancelled(monotonic_time now) noexcept {
        advance(now);
        if (state_ == breaker_state::half_open) { probes_ -= probes_ > 0 ? 1 : 0; }
    }

    /// How long it stays open still; zero when it is not open.
    [[nodiscard]] constexpr milliseconds open_left(monotonic_time now) const noexcept {
        if (state_ != breaker_state::open) { return milliseconds{0}; }
        return lasts_ - clamped(elapsed(since_, now), lasts_);
    }
    /// Where it stands now.
    [[nodiscard]] constexpr breaker_state where(monotonic_time now) const noexcept {
        circuit_breaker copy = *this;
        copy.advance(now);
        return copy.state_;
    }
    [[nodiscard]] constexpr circuit_breaker_options const& options() const noexcept { return options_; }

    /// What a restart must not forget: whether it was open, for how long still, and how long it opens the next time.
    /// The window's counts are forgotten, and so are probes under way. Layout, big-endian: state (1), what is left of
    /// the opening in ms (8), the length it began with (8), successes of probes (4), wall time (8).
    [[nodiscard]] friend constexpr state to_array(circuit_breaker b, instant now) noexcept {
        b.advance(now.monotonic);
        milliseconds const left =
            b.state_ == breaker_state::open ? b.lasts_ - elapsed(b.since_, now.monotonic) : milliseconds{0};
        return detail::state_writer<29>()
            .put(static_cast<std::uint64_t>(b.state_), 1)
            .put(left)
            .put(b.open_for_)
            .put(b.successes_, 4)
            .put(now.wall)
            .done();
    }
    /// Goes on from what `to_array` wrote, under this object's options. Time that passed meanwhile counts as
    /// `elapsed_by_restart` says. `malformed`, and nothing changed, for anything else.
    [[nodiscard]] constexpr status restore(bytes_view b, instant now) noexcept {
        detail::state_reader in(b);
        auto const where = static_cast<breaker_state>(in.take(1, 2));
        milliseconds const left = in.take_time();
        milliseconds const length = in.take_time();
        auto const successes = static_cast<std::uint32_t>(in.take(4, 0xFFFFFFFF));
        wall_time const written = in.take_wall();
        in.require(left <= length);
        if (!in.done()) { return failure(errc::malformed, "not the state of a circuit breaker"); }
        *this = circuit_breaker(options_);
        state_ = where;
        open_for_ = length < options_.open_for ? options_.open_for : clamped(length, options_.open_max);
        successes_ = successes < options_.successes_to_close ? successes : options_.successes_to_close - 1;
        milliseconds const still = clamped(left, open_for_);
        lasts_ = still - clamped(elapsed_by_restart(written, now.wall), still);
        since_ = now.monotonic;
        slice_since_ = now.monotonic;
        return {};
    }

    friend constexpr bool operator==(circuit_breaker const&, circuit_breaker const&) = default;

private:
    struct slice {
        std::uint32_t good = 0;
        std::uint32_t bad = 0;
        friend constexpr bool operator==(slice const&, slice const&) = default;
    };
    static constexpr std::size_t slices = 8;

    static constexpr void count(std::uint32_t& n) noexcept { n += n != 0xFFFFFFFF ? 1 : 0; }

    constexpr void advance(monotonic_time now) noexcept {
        if (state_ == breaker_state::open && elapsed(since_, now) >= lasts_) {
            state_ = breaker_state::half_open;
            probes_ = 0;
            successes_ = 0;
            since_ = now;
        }
        if (state_ == breaker_state::half_open && probes_ > 0 && elapsed(since_, now) >= options_.probe_timeout) {
            reopen(now);
        }
        if (state_ == breaker_state::closed) {
            milliseconds const width = options_.window / static_cast<milliseconds::rep>(slices);
            milliseconds const gone = elapsed(slice_since_, now);
            if (gone >= width * static_cast<milliseconds::rep>(slices)) {
                slices_ = {};
                slice_since_ = now;
            } else {
                for (milliseconds left = gone; left >= width; left -= width) {
                    slice_ = (slice_ + 1) % slices;
                    slices_[slice_] = {};
                    slice_since_ += width;
                }
            }
        }
    }
    constexpr void open(monotonic_time now, milliseconds length) noexcept {
        state_ = breaker_state::open;
        open_for_ = length;
        lasts_ = length;
        since_ = now;
        probes_ = 0;
        successes_ = 0;
    }
    constexpr void reopen(monotonic_time now) noexcept {
        open(now, open_for_ > options_.open_max / 2 ? options_.open_max : open_for_ * 2);
    }
    constexpr void close(monotonic_time now) noexcept {
        state_ = breaker_state::closed;
        open_for_ = options_.open_for;
        slices_ = {};
        slice_ = 0;
        slice_since_ = now;
        probes_ = 0;
        successes_ = 0;
    }

    circuit_breaker_options options_;
    std::array<slice, slices> slices_{};
    std::size_t slice_ = 0;
    monotonic_time slice_since_{};  ///< when the current slice began
    monotonic_time since_{};        ///< open: since when; half open: of the last probe
    milliseconds open_for_;         ///< length of the present opening, or of the next one
    milliseconds lasts_{0};         ///< the present opening: less than `open_for_` where a restart came in between
    breaker_state state_ = breaker_state::closed;
    std::uint32_t probes_ = 0;
    std::uint32_t successes_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI
