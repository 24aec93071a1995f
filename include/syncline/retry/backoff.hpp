// SPDX-License-Identifier: BSL-1.0
#pragma once

/// When to try again: growing ceilings, capped first and jittered after, with a server's hint as a floor.

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/state.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The longest time that a wait can be set to.
inline constexpr milliseconds backoff_max = retry_time_max;

/// How the ceilings of a `backoff` grow from one attempt to the next, until the cap.
enum class backoff_growth : std::uint8_t {
    constant,     ///< base, base, base, …
    linear,       ///< base, 2 base, 3 base, …
    exponential,  ///< base, 2 base, 4 base, …
};

/// How a `backoff` grows and ends.
struct backoff_options {
    milliseconds base{200};          ///< first ceiling; > 0
    milliseconds cap{60'000};        ///< largest ceiling; base to backoff_max
    std::uint32_t attempts_max = 0;  ///< afterwards next() is empty; 0 = no limit
    milliseconds hint_max{900'000};  ///< a server's hint counts as no more than this; 0 to backoff_max
    backoff_growth growth = backoff_growth::exponential;
    milliseconds reconnect_spread{5'000};  ///< a first reconnect comes anywhere in this span; 0 to backoff_max
    milliseconds stable_after{0};          ///< a success forgets the failures if it lasted that long; 0 to backoff_max
    friend constexpr bool operator==(backoff_options const&, backoff_options const&) = default;
};
[[nodiscard]] constexpr bool valid(backoff_options const& o) noexcept {
    return o.base.count() > 0 && o.cap >= o.base && o.cap <= backoff_max && o.hint_max.count() >= 0 &&
           o.hint_max <= backoff_max && o.growth <= backoff_growth::exponential && o.reconnect_spread.count() >= 0 &&
           o.reconnect_spread <= backoff_max && o.stable_after.count() >= 0 && o.stable_after <= backoff_max;
}

/// What a jitter chooses from.
struct backoff_step {
    milliseconds base{};      ///< the first ceiling
    milliseconds cap{};       ///< the largest ceiling
    milliseconds ceiling{};   ///< of this attempt: base grown once an attempt, capped
    milliseconds previous{};  ///< the wait chosen last; zero before the first
};

/// Chooses a wait: `jitter(step, random)` in [0, step.cap].
template <class J, class G>
concept backoff_jitter = std::copyable<J> && random_source<G> && requires(J const& j, backoff_step const& s, G& g) {
    { j(s, g) }
    noexcept->std::same_as<milliseconds>;
};

/// In [first, last], each millisecond equally likely. Precondition: first <= last.
template <random_source G>
[[nodiscard]] constexpr milliseconds uniform(milliseconds first, milliseconds last, G& random) noexcept {
    SYNCLINE_ASSERT(first <= last);
    auto const span = static_cast<std::uint64_t>((last - first).count()) + 1;
    return first + milliseconds{static_cast<milliseconds::rep>(below(random, span))};
}

/// The ceiling itself. A fleet that fails together comes back together: for one client only, or a test.
struct no_jitter {
    template <random_source G>
    [[nodiscard]] constexpr milliseconds operator()(backoff_step const& s, G&) const noexcept {
        return s.ceiling;
    }
    friend constexpr bool operator==(no_jitter, no_jitter) = default;
};
/// Anywhere in [0, ceiling]: least load on the server. Source: Brooker, "Exponential Backoff and Jitter", AWS 2015.
struct full_jitter {
    template <random_source G>
    [[nodiscard]] constexpr milliseconds operator()(backoff_step const& s, G& random) const noexcept {
        return uniform(milliseconds{0}, s.ceiling, random);
    }
    friend constexpr bool operator==(full_jitter, full_jitter) = default;
};
/// In [ceiling / 2, ceiling]: never at once. Source: as `full_jitter`.
struct equal_jitter {
    template <random_source G>
    [[nodiscard]] constexpr milliseconds operator()(backoff_step const& s, G& random) const noexcept {
        return uniform(s.ceiling / 2, s.ceiling, random);
    }
    friend constexpr bool operator==(equal_jitter, equal_jitter) = default;
};
/// In [base, 3 * previous], the upper end capped before the choice. Source: as `full_jitter`, there capped
/// after it, which heaps the waits of a fleet on the cap.
struct decorrelated_jitter {
    template <random_source G>
    [[nodiscard]] constexpr milliseconds operator()(backoff_step const& s, G& random) const noexcept {
        milliseconds const before = s.previous < s.base ? s.base : s.previous;
        milliseconds const last = before > s.cap / 3 ? s.cap : before * 3;
        return uniform(s.base, last < s.base ? s.base : last, random);
    }
    friend constexpr bool operator==(decorrelated_jitter, decorrelated_jitter) = default;
};

/// When to try again.
///
/// A value: copy it, store it (`to_array`), compare it. It never sleeps and reads no clock. Ask `reconnect` before the
/// first attempt after an outage or a start, so that a fleet does not come back as one.
/// Cost: next() is O(1), allocates nothing.
template <class Jitter = full_jitter>
class backoff {
public:
    using state = std::array<std::byte, 12>;

    /// Precondition: valid(options).
    constexpr explicit backoff(backoff_options options = {}, Jitter jitter = {}) noexcept
        : options_(options), jitter_(jitter) {
        SYNCLINE_ASSERT(valid(options));
    }

    /// The next wait, in [0, cap]; empty, and nothing changed, when the attempts are used up.
    template <random_source G>
        requires(backoff_jitter<Jitter, G>)
    [[nodiscard]] constexpr std::optional<milliseconds> next(G& random) noexcept { return step(random); }

    /// The next wait after a server said to wait at least `retry_after`.
    ///
    /// The hint, clamped to [0, hint_max] as it comes from outside, is a floor, and the jitter is added to it:
    /// nobody comes before the hint, and those who got the same hint don't come back at once. In
    /// [hint, hint + cap].
    template <random_source G>
        requires(backoff_jitter<Jitter, G>)
    [[nodiscard]] constexpr std::optional<milliseconds> next(G& random, milliseconds retry_after) noexcept {
        auto const wait = step(random);
        if (!wait) { return std::nullopt; }
        milliseconds const most = options_.hint_max;
        milliseconds const hint = retry_after.count() < 0 ? milliseconds{0} : retry_after > most ? most : retry_after;
        return hint + *wait;
    }

    /// The wait before the first attempt after the network, the peer or this device came back: in
    /// [0, reconnect_spread]. Nothing failed, so nothing changes.
    template <random_source G>
    [[nodiscard]] constexpr milliseconds reconnect(G& random) const noexcept {
        return uniform(milliseconds{0}, options_.reconnect_spread, random);
    }

    /// After something that succeeded and then went well for `lasted`: as new when that is `stable_after` or longer, else
    /// one attempt less, so that a peer that accepts and then drops every connection is not asked ever faster.
    constexpr void recover(milliseconds lasted) noexcept {
        if (lasted >= options_.stable_after) {
            reset();
        } else {
            attempts_ -= attempts_ > 0 ? 1 : 0;
        }
    }
    /// After a success: as new.
    constexpr void reset() noexcept {
        attempts_ = 0;
        previous_ = milliseconds{0};
    }

    /// How often next() gave a wait since the last reset; stays at 2^32 - 1.
    [[nodiscard]] constexpr std::uint32_t attempts() const noexcept { return attempts_; }
    /// True when next() is empty.
    [[nodiscard]] constexpr bool exhausted() const noexcept {
        return options_.attempts_max != 0 && attempts_ >= options_.attempts_max;
    }
    [[nodiscard]] constexpr backoff_options const& options() const noexcept { return options_; }

    /// What a restart must not forget: attempts (4 bytes) and the last wait in ms (8), big-endian.
    [[nodiscard]] friend constexpr state to_array(backoff const& b) noexcept {
        state out{};
        auto const previous = static_cast<std::uint64_t>(b.previous_.count());
        for (std::size_t i = 0; i < 4; ++i) { out[i] = static_cast<std::byte>(b.attempts_ >> (24 - 8 * i)); }
        for (std::size_t i = 0; i < 8; ++i) { out[4 + i] = static_cast<std::byte>(previous >> (56 - 8 * i)); }
        return out;
    }
    /// Goes on from what `to_array` wrote, under this object's options, which may have changed since.
    /// `malformed`, and nothing changed, unless there are 12 bytes and the wait is at most `backoff_max`.
    [[nodiscard]] constexpr status restore(bytes_view b) noexcept {
        if (b.size() != std::tuple_size_v<state>) { return failure(errc::malformed, "a backoff has 12 bytes"); }
        std::uint32_t attempts = 0;
        std::uint64_t previous = 0;
        for (std::size_t i = 0; i < 4; ++i) { attempts = (attempts << 8) | std::to_integer<std::uint32_t>(b[i]); }
        for (std::size_t i = 4; i < 12; ++i) { previous = (previous << 8) | std::to_integer<std::uint64_t>(b[i]); }
        if (previous > static_cast<std::uint64_t>(backoff_max.count())) {
            return failure(errc::malformed, "a backoff's last wait is out of range");
        }
        attempts_ = attempts;
        previous_ = milliseconds{static_cast<milliseconds::rep>(previous)};
        return {};
    }

    friend constexpr bool operator==(backoff const&, backoff const&) = default;

private:
    template <class G>
    [[nodiscard]] constexpr std::optional<milliseconds> step(G& random) noexcept {
        if (exhausted()) { return std::nullopt; }
        milliseconds const ceiling = grown();
        if (attempts_ != 0xFFFFFFFF) { ++attempts_; }
        milliseconds const wait = jitter_(backoff_step{options_.base, options_.cap, ceiling, previous_}, random);
        SYNCLINE_ASSERT(wait.count() >= 0 && wait <= options_.cap);
        previous_ = wait;
        return wait;
    }

    /// The ceiling of the next attempt, at most the cap.
    [[nodiscard]] constexpr milliseconds grown() const noexcept {
        std::int64_t const base = options_.base.count();
        std::int64_t const cap = options_.cap.count();
        switch (options_.growth) {
            case backoff_growth::constant: return options_.base;
            case backoff_growth::linear:
                return attempts_ >= cap / base ? options_.cap : milliseconds{base * (std::int64_t{attempts_} + 1)};
            case backoff_growth::exponential: break;
        }
        // base <= cap <= 2^48, so that at 48 doublings the cap is reached, and base << attempts < 2^49 before.
        bool const capped = attempts_ >= 48 || base > (cap >> attempts_);
        return capped ? options_.cap : milliseconds{base << attempts_};
    }

    backoff_options options_;
    std::uint32_t attempts_ = 0;
    milliseconds previous_{0};
    SYNCLINE_NO_UNIQUE_ADDRESS Jitter jitter_;
};

}  // namespace syncline::inline SYNCLINE_ABI
