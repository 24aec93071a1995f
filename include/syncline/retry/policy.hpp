// SPDX-License-Identifier: BSL-1.0
#pragma once

/// One value that says whether to ask a peer, when to ask again, and which of its parts decided that and why.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/backoff.hpp>
#include <syncline/retry/breaker.hpp>
#include <syncline/retry/budget.hpp>
#include <syncline/retry/classification.hpp>
#include <syncline/retry/concurrency.hpp>
#include <syncline/retry/deadline.hpp>
#include <syncline/retry/hedge.hpp>
#include <syncline/retry/limiter.hpp>
#include <syncline/retry/state.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What to do. Values travel in logs: append, never renumber.
enum class retry_action : std::uint8_t {
    go = 1,       ///< begin the attempt now; it was counted: say what came of it
    wait = 2,     ///< nothing for `wait`, then ask `begin` again
    hold = 3,     ///< nothing until an attempt that is under way has ended
    sign_in = 4,  ///< get other credentials, then try again
    give_up = 5,  ///< a dead letter: it will not succeed, or has been tried enough
    resolve = 6,  ///< merge with the peer's state, then send what comes of it
    shrink = 7,   ///< send less at a time
    park = 8,     ///< a dead letter for a person to look at: nobody knows what is wrong
    expire = 9,   ///< too late: nobody waits for the answer any more
};
/// Which part decided. Values travel in logs: append, never renumber.
enum class retry_part : std::uint8_t {
    none = 0,  ///< nothing stood in the way
    classification = 1,
    hint = 2,  ///< the peer's Retry-After
    backoff = 3,
    attempts = 4,  ///< `backoff_options::attempts_max`
    budget = 5,
    breaker = 6,
    limiter = 7,
    concurrency = 8,
    deadline = 9,
};

/// A word for logs. "unknown" for a number that no enumerator has.
[[nodiscard]] constexpr char const* name(retry_action a) noexcept {
    switch (a) {
        case retry_action::go: return "go";
        case retry_action::wait: return "wait";
        case retry_action::hold: return "hold";
        case retry_action::sign_in: return "sign in";
        case retry_action::give_up: return "give up";
        case retry_action::resolve: return "resolve";
        case retry_action::shrink: return "shrink";
        case retry_action::park: return "park";
        case retry_action::expire: return "expire";
    }
    return "unknown";
}
[[nodiscard]] constexpr char const* name(retry_part p) noexcept {
    switch (p) {
        case retry_part::none: return "none";
        case retry_part::classification: return "classification";
        case retry_part::hint: return "hint";
        case retry_part::backoff: return "backoff";
        case retry_part::attempts: return "attempts";
        case retry_part::budget: return "budget";
        case retry_part::breaker: return "breaker";
        case retry_part::limiter: return "limiter";
        case retry_part::concurrency: return "concurrency";
        case retry_part::deadline: return "deadline";
    }
    return "unknown";
}

/// What a `retry_policy` says.
struct retry_decision {
    retry_action action = retry_action::go;
    milliseconds wait{0};  ///< with `retry_action::wait`: how long; else zero
    retry_part part = retry_part::none;
    char const* why = "";  ///< in English, for logs; of static lifetime
    friend constexpr bool operator==(retry_decision const& a, retry_decision const& b) noexcept {
        return a.action == b.action && a.wait == b.wait && a.part == b.part;
    }
};

/// What is known of an attempt that failed.
struct failed_attempt {
    failure why{};
    std::optional<milliseconds> retry_after{};  ///< the peer's hint, as it came
    std::uint32_t attempts = 1;                 ///< made so far for this entry or exchange, this one included
    microseconds round_trip{0};                 ///< how long it took
    deadline until{};
};

/// The parts' options. Each is valid by itself.
struct retry_policy_options {
    backoff_options backoff{};
    retry_budget_options budget{};
    circuit_breaker_options breaker{};
    hedge_options hedge{};
};
[[nodiscard]] constexpr bool valid(retry_policy_options const& o) noexcept {
    return valid(o.backoff) && valid(o.budget) && valid(o.breaker) && valid(o.hedge);
}

/// Whether a failure shows that the peer is not well, or not there: what opens a breaker.
[[nodiscard]] constexpr bool blames_peer(errc e) noexcept {
    return e == errc::unreachable || e == errc::timed_out || e == errc::connection_lost || e == errc::throttled ||
           e == errc::peer_failed || e == errc::foreign;
}
/// Whether the failed attempt was load on the peer: what empties a budget. One that never got there was none.
[[nodiscard]] constexpr bool burdens_peer(errc e) noexcept {
    return e == errc::timed_out || e == errc::connection_lost || e == errc::throttled || e == errc::peer_failed;
}

/// When and whether to ask one peer.
///
/// Before an attempt: `begin`. After one that it let go: `succeeded`, `failed` or `cancelled`, exactly one of them. It
/// never sleeps and reads no clock; one object serves all that is sent to one peer.
///
/// `failed` goes through the parts in this order, and the first that has something to say decides: classification, tried
/// enough, budget refuses, then how long: the longest of the peer's hint, the budget's wait and the breaker's, and the
/// backoff's jittered wait on top, so that those who were told the same do not come back as one; then the deadline.
/// The part that is named is the one that the larger share of the wait is due to.
///
/// A value: copy it, store it (`to_array`), compare it. Cost: each call is O(1) and allocates nothing.
template <class Jitter = full_jitter, rate_limiter Limiter = no_limiter, concurrency_limit Limit = aimd_limit>
class retry_policy {
public:
    static constexpr std::size_t state_size =
        1 + std::tuple_size_v<typename backoff<Jitter>::state> + std::tuple_size_v<retry_budget::state> +
        std::tuple_size_v<circuit_breaker::state> + std::tuple_size_v<typename Limiter::state> +
        std::tuple_size_v<typename Limit::state> + std::tuple_size_v<hedge_delay::state>;
    using state = std::array<std::byte, state_size>;

    /// Precondition: valid(options).
    constexpr explicit retry_policy(retry_policy_options const& options = {}, Limiter limiter = Limiter{},
                                    Limit limit = Limit{}, Jitter jitter = Jitter{}) noexcept
        : backoff_(options.backoff, jitter),
          budget_(options.budget),
          breaker_(options.breaker),
          limiter_(limiter),
          concurrency_(limit),
          hedge_(options.hedge) {}

    /// Whether an attempt may begin now: `go`, `wait`, `hold` or `expire`.
    [[nodiscard]] constexpr retry_decision begin(monotonic_time now, deadline until = {}) noexcept {
        if (until.expired(now)) { return {retry_action::expire, {}, retry_part::deadline, "the deadline has passed"}; }
        breaker_answer const answer = breaker_.allow(now);
        if (!answer.allowed) {
            return within(until, now, {retry_action::wait, answer.wait, retry_part::breaker, "the peer keeps failing"});
        }
        if (!concurrency_.begin()) {
            breaker_.cancelled(now);
            return {retry_action::hold, {}, retry_part::concurrency, "as many as the peer bears are under way"};
        }
        milliseconds const wait = limiter_.take(now);
        if (wait.count() > 0) {
            concurrency_.cancel();
            breaker_.cancelled(now);
            return within(until, now, {retry_action::wait, wait, retry_part::limiter, "the rate is used up"});
        }
        return {retry_action::go, {}, retry_part::none, "nothing stands in the way"};
    }

    /// An attempt succeeded, after so long; `retried` if it was not the first of its entry or exchange.
    constexpr void succeeded(monotonic_time now, microseconds round_trip = {}, bool retried = false) noexcept {
        end(round_trip, false);
        breaker_.succeeded(now);
        budget_.succeeded(retried);
        backoff_.recover(backoff_.options().stable_after);
        hedge_.sampled(std::chrono::duration_cast<milliseconds>(round_trip));
    }

    /// An attempt failed. What to do: `wait`, or one of those that end it.
    template <random_source G>
        requires(backoff_jitter<Jitter, G>)
    [[nodiscard]] constexpr retry_decision failed(failed_attempt const& a, monotonic_time now, G& random) noexcept {
        errc const code = a.why.code;
        end(a.round_trip, code == errc::throttled || code == errc::timed_out);
        if (blames_peer(code)) {
            breaker_.failed(now);
        } else if (code == errc::cancelled) {
            breaker_.cancelled(now);
        } else {
            breaker_.succeeded(now);  // it answered
        }
        if (burdens_peer(code)) { budget_.failed(code == errc::timed_out || code == errc::connection_lost); }

        failure_class const kind = classify(a.why);
        switch (kind) {
            case failure_class::transient:
            case failure_class::throttled: break;
            case failure_class::unauthorised: return final(retry_action::sign_in, "the credentials are not accepted");
            case failure_class::rejected: return final(retry_action::give_up, "it will fail again as it is");
            case failure_class::conflict: return final(retry_action::resolve, "the peer's state is another");
            case failure_class::too_large: return final(retry_action::shrink, "the peer takes less at a time");
            case failure_class::unknown: return final(retry_action::park, "nobody knows what is wrong");
        }
        std::uint32_t const most = backoff_.options().attempts_max;
        if (most != 0 && a.attempts >= most) {
            return {retry_action::give_up, {}, retry_part::attempts, "it has been tried as often as it may"};
        }

        struct {
            milliseconds wait{0};
            retry_part part = retry_part::none;
            char const* why = "";
        } floor;
        auto const raise = [&floor](milliseconds wait, retry_part part, char const* why) {
            if (wait > floor.wait) { floor = {wait, part, why}; }
        };
        if (a.retry_after) {
            raise(clamped(*a.retry_after, backoff_.options().hint_max), retry_part::hint, "the peer asked for it");
        }
        raise(breaker_.open_left(now), retry_part::breaker, "the peer keeps failing");
        if (burdens_peer(code)) {
            auto const paid = budget_.retry(random, code == errc::timed_out);
            if (!paid) { return {retry_action::give_up, {}, retry_part::budget, "the retry budget is used up"}; }
            raise(*paid, retry_part::budget, "the retry budget is used up");
        }
        milliseconds const step = backoff_.next(random).value_or(backoff_.options().cap);
        bool const by_floor = floor.wait > step;
        return within(a.until, now,
                      {retry_action::wait, floor.wait + step, by_floor ? floor.part : retry_part::backoff,
                       by_floor ? floor.why : "it may pass"});
    }

    /// An attempt was given up by the host: it says nothing of the peer.
    constexpr void cancelled(monotonic_time now) noexcept {
        if (concurrency_.in_flight() > 0) { concurrency_.cancel(); }
        breaker_.cancelled(now);
    }

    /// The wait before the first attempt after the network, the peer or this device came back.
    template <random_source G>
    [[nodiscard]] constexpr milliseconds reconnect(G& random) const noexcept {
        return backoff_.reconnect(random);
    }

    /// When to ask a second peer although the first has not failed, from the first request on. Empty while too little is
    /// known, or when the peers have no strength for it: the breaker is not closed or the budget is below its threshold.
    [[nodiscard]] constexpr std::optional<milliseconds> hedge_after(monotonic_time now) const noexcept {
        bool const well =
            breaker_.where(now) == breaker_state::closed && budget_.tokens() > budget_.options().threshold;
        return well ? hedge_.delay() : std::nullopt;
    }

    [[nodiscard]] constexpr syncline::backoff<Jitter> const& backoff_part() const noexcept { return backoff_; }
    [[nodiscard]] constexpr retry_budget const& budget() const noexcept { return budget_; }
    [[nodiscard]] constexpr circuit_breaker const& breaker() const noexcept { return breaker_; }
    [[nodiscard]] constexpr Limiter const& limiter() const noexcept { return limiter_; }
    [[nodiscard]] constexpr adaptive_concurrency<Limit> const& concurrency() const noexcept { return concurrency_; }
    [[nodiscard]] constexpr hedge_delay const& hedge() const noexcept { return hedge_; }

    /// What a restart must not forget: a version (1 byte, 1), then the parts' states: backoff, budget, breaker, limiter,
    /// concurrency limit, hedge delay. What is under way is forgotten.
    [[nodiscard]] friend constexpr state to_array(retry_policy const& p, instant now) noexcept {
        return detail::state_writer<state_size>()
            .put(1, 1)
            .put(to_array(p.backoff_))
            .put(to_array(p.budget_))
            .put(to_array(p.breaker_, now))
            .put(to_array(p.limiter_, now))
            .put(to_array(p.concurrency_))
            .put(to_array(p.hedge_))
            .done();
    }
    /// Goes on from what `to_array` wrote, under this object's options, which may have changed since.
    /// `malformed`, and nothing changed, for anything else; `unsupported` for a later version.
    [[nodiscard]] constexpr status restore(bytes_view b, instant now) noexcept {
        if (b.size() == state_size && std::to_integer<unsigned>(b[0]) > 1) {
            return failure(errc::unsupported, "a retry policy of a later version");
        }
        detail::state_reader in(b);
        in.require(in.take(1, 1) == 1);
        retry_policy copy = *this;
        copy.concurrency_ = adaptive_concurrency<Limit>(concurrency_.limit());
        auto const part = [&in](std::size_t width, auto const& restore_it) {
            bytes_view const own = in.take_bytes(width);
            in.require(own.size() == width && restore_it(own).has_value());
        };
        part(std::tuple_size_v<typename syncline::backoff<Jitter>::state>,
             [&](bytes_view v) { return copy.backoff_.restore(v); });
        part(std::tuple_size_v<retry_budget::state>, [&](bytes_view v) { return copy.budget_.restore(v); });
        part(std::tuple_size_v<circuit_breaker::state>, [&](bytes_view v) { return copy.breaker_.restore(v, now); });
        part(std::tuple_size_v<typename Limiter::state>, [&](bytes_view v) { return copy.limiter_.restore(v, now); });
        part(std::tuple_size_v<typename Limit::state>, [&](bytes_view v) { return copy.concurrency_.restore(v); });
        part(std::tuple_size_v<hedge_delay::state>, [&](bytes_view v) { return copy.hedge_.restore(v); });
        if (!in.done()) { return failure(errc::malformed, "not the state of a retry policy"); }
        *this = copy;
        return {};
    }

    friend constexpr bool operator==(retry_policy const&, retry_policy const&) = default;

private:
    constexpr void end(microseconds round_trip, bool dropped) noexcept {
        if (concurrency_.in_flight() > 0) { concurrency_.end(round_trip, dropped); }
    }
    [[nodiscard]] static constexpr retry_decision final(retry_action action, char const* why) noexcept {
        return {action, {}, retry_part::classification, why};
    }
    /// `d`, unless the deadline comes before the wait is over.
    [[nodiscard]] static constexpr retry_decision within(deadline until, monotonic_time now,
                                                         retry_decision const& d) noexcept {
        if (until.allows(d.wait, now)) { return d; }
        return {retry_action::expire, {}, retry_part::deadline, "the deadline comes before the next attempt"};
    }

    syncline::backoff<Jitter> backoff_;
    retry_budget budget_;
    circuit_breaker breaker_;
    SYNCLINE_NO_UNIQUE_ADDRESS Limiter limiter_;
    adaptive_concurrency<Limit> concurrency_;
    hedge_delay hedge_;
};

}  // namespace syncline::inline SYNCLINE_ABI
