// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A transport over several endpoints of one peer: the nearest that works, another when it fails, and back again.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/breaker.hpp>
#include <syncline/retry/state.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Any transport, borrowed: two functions and a pointer.
class transport_ref {
public:
    template <transport T>
        requires(!std::same_as<T, transport_ref>)
    transport_ref(T& way)
    noexcept  // implicit: a list of endpoints is a list of transports
        : object_(&way),
          exchange_([](void* object, bytes_view m, completion c) { static_cast<T*>(object)->exchange(m, c); }),
          limits_([](void const* object) { return static_cast<T const*>(object)->limits(); }) {}

    void exchange(bytes_view request, completion done) { exchange_(object_, request, done); }
    [[nodiscard]] transport_limits limits() const { return limits_(object_); }

private:
    void* object_;
    void (*exchange_)(void*, bytes_view, completion);
    transport_limits (*limits_)(void const*);
};

/// How a `failover_transport` chooses.
struct failover_options {
    /// Of each endpoint. Opens sooner than elsewhere, as there is another way.
    circuit_breaker_options breaker{.calls_min = 3, .successes_to_close = 1};
    std::uint32_t tries_max = 2;           ///< endpoints that one exchange may try; > 0
    std::uint32_t nearer_per_mille = 800;  ///< another is preferred when its round trip is below this share; 1 to 1000
    milliseconds measure_after{600'000};   ///< an endpoint that was not asked for so long is asked once; > 0
};
[[nodiscard]] constexpr bool valid(failover_options const& o) noexcept {
    return valid(o.breaker) && o.tries_max > 0 && o.nearer_per_mille > 0 && o.nearer_per_mille <= 1000 &&
           o.measure_after.count() > 0;
}

/// Sends each request to the nearest endpoint that works.
///
/// Nearest is the one of the shortest smoothed round trip (RFC 6298's average, an eighth for each new one). Each endpoint
/// is asked once at first, in the order given, and again when it was not for `measure_after`. An exchange that fails with
/// `unreachable`, `timed_out`, `connection_lost`, `foreign` or `peer_failed` is tried at the next nearest, `tries_max` in
/// all: the peer may then get a request twice, which the transport contract allows. Other failures are answers and are
/// handed on; a peer that throttles is not asked elsewhere.
/// An endpoint whose breaker is open is passed over; when the time has come, the next exchange goes there as a probe
/// and, if that fails, on to another: so it returns to the nearest by itself, and no exchange is lost over it. When no
/// endpoint may be asked, the exchange completes with `unreachable` and, as a hint, when one may.
///
/// `now` is the host's monotonic clock, borrowed as the endpoints are; all outlive this object. When it is destroyed,
/// what is under way completes with `cancelled`; what the endpoints answer later is dropped.
/// Threads: the caller serialises. Cost: a copy of the request and one allocation an exchange; linear in the endpoints.
class failover_transport {
public:
    /// Preconditions: valid(options), 1 to 64 endpoints.
    failover_transport(std::span<transport_ref const> endpoints, function_ref<monotonic_time()> now,
                       failover_options options = {})
        : now_(now), options_(options) {
        SYNCLINE_ASSERT(valid(options) && !endpoints.empty() && endpoints.size() <= 64);
        endpoints_.reserve(endpoints.size());
        for (transport_ref const& way : endpoints) { endpoints_.push_back(endpoint{way, options.breaker}); }
    }
    failover_transport(failover_transport const&) = delete;
    failover_transport& operator=(failover_transport const&) = delete;
    ~failover_transport() {
        closing_ = true;
        while (under_way_ != nullptr) {
            pending* const p = under_way_;
            unlink(*p);
            p->owner = nullptr;  // the endpoint's completion frees it
            p->done({failure{errc::cancelled, "the transport was destroyed"}, {}});
        }
    }

    void exchange(bytes_view request, completion done) {
        if (closing_) {
            done({failure{errc::cancelled, "the transport is being destroyed"}, {}});
        } else if (request.size() > limits().request_bytes_max) {
            done({failure{errc::too_large, "request over the transport's limit"}, {}});
        } else {
            pending* const p = new pending{this, done, to_bytes(request)};
            p->next = std::exchange(under_way_, p);
            if (p->next != nullptr) { p->next->before = p; }
            advance(*p, request, {failure{errc::unreachable, "every endpoint keeps failing"}, {}});
        }
    }
    /// The least of the endpoints' limits.
    [[nodiscard]] transport_limits limits() const {
        transport_limits least = endpoints_.front().way.limits();
        for (endpoint const& e : endpoints_) {
            transport_limits const l = e.way.limits();
            least.request_bytes_max = (std::min)(least.request_bytes_max, l.request_bytes_max);
            least.reply_bytes_max = (std::min)(least.reply_bytes_max, l.reply_bytes_max);
        }
        return least;
    }

    /// The endpoint that the last success came from, by its place; the first before one.
    [[nodiscard]] std::size_t current() const noexcept { return current_; }
    /// An endpoint's smoothed round trip; empty before it was measured. Precondition: i < number of endpoints.
    [[nodiscard]] std::optional<milliseconds> round_trip(std::size_t i) const noexcept {
        SYNCLINE_ASSERT(i < endpoints_.size());
        if (!endpoints_[i].measured) { return std::nullopt; }
        return milliseconds{static_cast<milliseconds::rep>(endpoints_[i].round_trip >> 8)};
    }
    /// An endpoint's breaker. Precondition: i < number of endpoints.
    [[nodiscard]] circuit_breaker const& breaker(std::size_t i) const noexcept {
        SYNCLINE_ASSERT(i < endpoints_.size());
        return endpoints_[i].breaker;
    }

    /// What a restart need not learn again: for each endpoint whether it was measured (1), its round trip in 256ths of a
    /// millisecond (8), its breaker's state; before them the number of endpoints (2) and the current one (2).
    [[nodiscard]] bytes save(instant now) const {
        bytes out;
        auto const add = [&out](std::uint64_t n, std::size_t width) {
            for (std::size_t i = width; i != 0; --i) { out.push_back(static_cast<std::byte>(n >> (8 * (i - 1)))); }
        };
        add(endpoints_.size(), 2);
        add(current_, 2);
        for (endpoint const& e : endpoints_) {
            add(e.measured ? 1 : 0, 1);
            add(e.round_trip, 8);
            append(out, to_array(e.breaker, now));
        }
        return out;
    }
    /// Goes on from what `save` wrote, for as many endpoints in the same order. `malformed`, and nothing changed,
    /// for anything else.
    [[nodiscard]] status restore(bytes_view b, instant now) {
        detail::state_reader in(b);
        in.require(in.take(2, 0xFFFF) == endpoints_.size());
        auto const current = static_cast<std::size_t>(in.take(2, endpoints_.size() - 1));
        auto copy = endpoints_;
        for (endpoint& e : copy) {
            e.measured = in.take(1, 1) == 1;
            e.round_trip = in.take(8, round_trip_max << 8);
            bytes_view const state = in.take_bytes(std::tuple_size_v<circuit_breaker::state>);
            in.require(e.breaker.restore(state, now).has_value());
            e.asked = now.monotonic;
            e.ever_asked = e.measured;
        }
        if (!in.done()) { return failure(errc::malformed, "not the state of these endpoints"); }
        endpoints_ = std::move(copy);
        current_ = current;
        return {};
    }

private:
    static constexpr std::uint64_t round_trip_max = std::uint64_t{1} << 31;  ///< 24 days

    struct endpoint {
        transport_ref way;
        circuit_breaker breaker;
        bool measured = false;
        bool ever_asked = false;
        std::uint64_t round_trip = 0;  ///< in 256ths of a millisecond
        monotonic_time asked{};

        endpoint(transport_ref w, circuit_breaker_options const& o) : way(w), breaker(o) {}
    };
    struct pending {
        failover_transport* owner;
        completion done;
        bytes request;
        std::uint64_t tried = 0;  ///< a bit for each endpoint
        std::uint32_t tries = 0;
        std::size_t at = 0;
        monotonic_time since{};
        pending* before = nullptr;
        pending* next = nullptr;
    };

    void unlink(pending& p) noexcept {
        (p.before != nullptr ? p.before->next : under_way_) = p.next;
        if (p.next != nullptr) { p.next->before = p.before; }
        p.before = p.next = nullptr;
    }
    void finish(pending& p, transport_reply const& reply) {
        unlink(p);
        completion const done = p.done;
        delete &p;
        done(reply);
    }

    /// Tries the next endpoint, or ends with `last` when there is none.
    void advance(pending& p, bytes_view request, transport_reply const& last) {
        monotonic_time const now = now_();
        auto const chosen = choose(p, now);
        if (!chosen) {
            transport_reply reply = last;
            if (p.tries == 0) { reply.retry_after = soonest(now); }
            finish(p, reply);
            return;
        }
        p.tried |= std::uint64_t{1} << *chosen;
        p.at = *chosen;
        ++p.tries;
        p.since = now;
        endpoint& e = endpoints_[*chosen];
        e.asked = now;
        e.ever_asked = true;
        e.way.exchange(request, completion{&failover_transport::answered, &p});
    }

    /// The endpoint to try, its breaker asked.
    [[nodiscard]] std::optional<std::size_t> choose(pending const& p, monotonic_time now) {
        // One that was never measured, or not for long: but not where another has just failed.
        for (std::size_t i = 0; p.tries == 0 && i < endpoints_.size(); ++i) {
            endpoint& e = endpoints_[i];
            bool const due = !e.ever_asked || elapsed(e.asked, now) >= options_.measure_after;
            if (due && e.breaker.allow(now).allowed) { return i; }
        }
        std::uint64_t passed = p.tried;
        for (;;) {
            std::optional<std::size_t> best;
            for (std::size_t i = 0; i < endpoints_.size(); ++i) {
                if ((passed >> i & 1) == 0 && (!best || nearer(i, *best))) { best = i; }
            }
            if (!best || endpoints_[*best].breaker.allow(now).allowed) { return best; }
            passed |= std::uint64_t{1} << *best;
        }
    }
    /// Whether `a` is to be asked before `b`: the current one unless the other is clearly nearer, the unmeasured last.
    [[nodiscard]] bool nearer(std::size_t a, std::size_t b) const noexcept {
        endpoint const& x = endpoints_[a];
        endpoint const& y = endpoints_[b];
        if (x.measured != y.measured) { return x.measured; }
        if (b == current_) { return x.round_trip * 1000 < y.round_trip * options_.nearer_per_mille; }
        if (a == current_) { return y.round_trip * 1000 >= x.round_trip * options_.nearer_per_mille; }
        return x.round_trip < y.round_trip;
    }
    [[nodiscard]] milliseconds soonest(monotonic_time now) const noexcept {
        milliseconds least = retry_time_max;
        for (endpoint const& e : endpoints_) { least = (std::min)(least, e.breaker.open_left(now)); }
        return least;
    }

    static void answered(void* context, transport_reply const& reply) {
        pending* const p = static_cast<pending*>(context);
        if (p->owner == nullptr) {
            delete p;
            return;
        }
        p->owner->judge(*p, reply);
    }
    void judge(pending& p, transport_reply const& reply) {
        endpoint& e = endpoints_[p.at];
        monotonic_time const now = now_();
        if (reply.message) {
            auto const took = static_cast<std::uint64_t>(elapsed(p.since, now).count());
            std::uint64_t const sample = (std::min)(took, round_trip_max) << 8;
            e.round_trip = e.measured ? e.round_trip - e.round_trip / 8 + sample / 8 : sample;
            e.measured = true;
            e.breaker.succeeded(now);
            current_ = p.at;
            if (reply.message->size() > limits().reply_bytes_max) {
                finish(p, {failure{errc::too_large, "reply over the transport's limit"}, reply.retry_after});
            } else {
                finish(p, reply);
            }
            return;
        }
        switch (reply.message.error().code) {
            case errc::unreachable:
            case errc::timed_out:
            case errc::connection_lost:
            case errc::foreign:
            case errc::peer_failed:
                e.breaker.failed(now);
                // The request must outlive the call, but the exchange may end in it: the last try takes it along.
                if (p.tries < options_.tries_max) {
                    bytes const request = p.tries + 1 == options_.tries_max ? std::move(p.request) : p.request;
                    advance(p, request, reply);
                } else {
                    finish(p, reply);
                }
                break;
            case errc::cancelled:
                e.breaker.cancelled(now);
                finish(p, reply);
                break;
            default:
                e.breaker.succeeded(now);  // it answered
                finish(p, reply);
                break;
        }
    }

    std::vector<endpoint> endpoints_;
    function_ref<monotonic_time()> now_;
    failover_options options_;
    std::size_t current_ = 0;
    pending* under_way_ = nullptr;
    bool closing_ = false;
};
static_assert(transport<failover_transport>);

}  // namespace syncline::inline SYNCLINE_ABI
