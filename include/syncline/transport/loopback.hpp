// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Transports to a peer in the same process: `loopback_transport` answers at once, `live_loopback` when driven.

#include <concepts>
#include <cstddef>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What a peer's handler answers: the reply's bytes or why there is none, and how long to wait before asking again.
///
/// Made from `bytes`, a `result<bytes>`, a `failure` or an `errc`, so that a handler may return any of them.
struct peer_reply {
    result<bytes> message = errc::cancelled;
    std::optional<milliseconds> retry_after{};

    peer_reply() = default;
    template <class M>
        requires(!std::same_as<std::remove_cvref_t<M>, peer_reply> && std::is_constructible_v<result<bytes>, M>)
    peer_reply(M&& m, std::optional<milliseconds> retry = {})  // implicit: a handler returns what it has
        : message(std::forward<M>(m)), retry_after(retry) {}
};

/// A peer: answers one request, which lives for the call only. Answers `peer_reply` or anything that makes one.
template <class H>
concept peer_handler = requires(H& h, bytes_view request) {
    { h(request) } -> std::convertible_to<peer_reply>;
};

/// Calls a handler in the same process; each exchange is complete when `exchange` returns.
///
/// Allocates nothing of its own. The handler is borrowed and must outlive the transport. Both the handler and
/// a completion may start another exchange: they nest.
class loopback_transport {
public:
    template <peer_handler H>
    explicit loopback_transport(H& handler, transport_limits limits = {}) noexcept
        : handler_(handler), limits_(limits) {}

    /// Completes with the handler's answer, or with `errc::too_large` where the request (the handler is not called
    /// then) or the reply is over the limits.
    void exchange(bytes_view request, completion done) {
        if (request.size() > limits_.request_bytes_max) {
            done({failure{errc::too_large, "request over the transport's limit"}, {}});
            return;
        }
        peer_reply const reply = handler_(request);
        if (!reply.message) {
            done({reply.message.error(), reply.retry_after});
        } else if (reply.message->size() > limits_.reply_bytes_max) {
            done({failure{errc::too_large, "reply over the transport's limit"}, reply.retry_after});
        } else {
            done({bytes_view{*reply.message}, reply.retry_after});
        }
    }
    [[nodiscard]] transport_limits limits() const noexcept { return limits_; }

private:
    function_ref<peer_reply(bytes_view)> handler_;
    transport_limits limits_;
};
static_assert(transport<loopback_transport>);

/// How much a `live_loopback` keeps.
struct live_loopback_options {
    transport_limits limits{};                                  ///< also for each unsolicited message, as a reply
    std::size_t unsolicited_max = 1024;                         ///< messages not yet received; one more is a gap
    std::size_t unsolicited_bytes_max = std::size_t{64} << 20;  ///< and their bytes together
};

/// A live transport in the same process, driven by hand: nothing happens before `step()` or `run()`.
///
/// The peer's side is `push()`; `disconnect()` and `reconnect()` play the network. An exchange's handler runs when
/// the exchange is stepped, so that a test chooses the order in which replies come. What still waits when the
/// object is destroyed completes with `errc::cancelled`. Handlers, completions and visitors may start exchanges
/// and push; they must not step, receive or destroy the transport.
/// Cost: a copy of each request and of each unsolicited message; stepping is linear in what waits.
class live_loopback {
public:
    template <peer_handler H>
    explicit live_loopback(H& handler, live_loopback_options options = {}) noexcept
        : handler_(handler), options_(options) {}
    live_loopback(live_loopback const&) = delete;
    live_loopback& operator=(live_loopback const&) = delete;
    ~live_loopback() {
        closing_ = true;
        while (!waiting_.empty()) { take(0).done({failure{errc::cancelled, "the transport was destroyed"}, {}}); }
    }

    /// Queues the request. It completes in a later `step()`: with the handler's answer; with `errc::too_large`
    /// where request or reply is over the limits; with `errc::unreachable` if the peer is disconnected now, and with
    /// `errc::connection_lost` if it disconnects before the step (the handler is not called in either case).
    void exchange(bytes_view request, completion done) {
        if (closing_) {
            done({failure{errc::cancelled, "the transport is being destroyed"}, {}});
        } else if (request.size() > options_.limits.request_bytes_max) {
            waiting_.push_back({{}, done, failure{errc::too_large, "request over the transport's limit"}});
        } else if (!connected_) {
            waiting_.push_back({{}, done, failure{errc::unreachable, "disconnected"}});
        } else {
            waiting_.push_back({to_bytes(request), done, {}});
        }
    }
    [[nodiscard]] transport_limits limits() const noexcept { return options_.limits; }

    /// Hands over what was pushed up to the next gap. `errc::connection_lost` after the messages before a gap, and
    /// whenever there is no connection.
    [[nodiscard]] status receive(message_visitor visit) {
        for (std::size_t left = arrived_.size(); left != 0; --left) {
            arrival const next = std::move(arrived_.front());
            arrived_.erase(arrived_.begin());
            if (next.gap) { return failure{errc::connection_lost, "messages may have been missed"}; }
            arrived_bytes_ -= next.message.size();
            visit(next.message);
        }
        if (!connected_) { return failure{errc::connection_lost, "disconnected"}; }
        return {};
    }
    [[nodiscard]] bool connected() const noexcept { return connected_; }

    /// Completes the exchange that has waited longest, or, given `which`, the one that `which` others precede.
    /// False when there is none.
    bool step(std::size_t which = 0) {
        if (which >= waiting_.size()) { return false; }
        waiting const next = take(which);
        if (next.failed) {
            next.done({*next.failed, {}});
            return true;
        }
        loopback_transport peer(handler_, options_.limits);
        peer.exchange(next.request, next.done);
        return true;
    }
    /// Steps until nothing waits, at most `steps_max` times; how many it were. Completions that always start a new
    /// exchange need the bound.
    std::size_t run(std::size_t steps_max = (std::numeric_limits<std::size_t>::max)()) {
        std::size_t steps = 0;
        while (steps < steps_max && step()) { ++steps; }
        return steps;
    }
    /// How many exchanges wait.
    [[nodiscard]] std::size_t pending() const noexcept { return waiting_.size(); }

    /// The peer sends a message unasked. `errc::too_large` over the limit of a reply, nothing sent;
    /// `errc::connection_lost` without a connection and `errc::limit` where too much is kept already: the message
    /// is lost, and `receive` tells of the gap.
    status push(bytes_view message) {
        if (message.size() > options_.limits.reply_bytes_max) { return errc::too_large; }
        if (!connected_) { return errc::connection_lost; }
        if (arrived_.size() >= options_.unsolicited_max ||
            message.size() > options_.unsolicited_bytes_max - arrived_bytes_) {
            gap();
            return errc::limit;
        }
        arrived_.push_back({to_bytes(message), false});
        arrived_bytes_ += message.size();
        return {};
    }

    /// The connection breaks: what waits will complete with `errc::connection_lost`, pushes are missed.
    void disconnect() {
        if (!connected_) { return; }
        connected_ = false;
        for (waiting& w : waiting_) {
            if (!w.failed) { w.failed = failure{errc::connection_lost, "disconnected"}; }
        }
        gap();
    }
    /// The connection stands again; `receive` still tells first that messages may have been missed.
    void reconnect() noexcept { connected_ = true; }

private:
    struct waiting {
        bytes request{};
        completion done{};
        std::optional<failure> failed{};
    };

    struct arrival {
        bytes message{};
        bool gap = false;  ///< instead of a message: here some may be missing
    };

    [[nodiscard]] waiting take(std::size_t which) {
        auto const at = waiting_.begin() + static_cast<std::ptrdiff_t>(which);
        waiting taken = std::move(*at);
        waiting_.erase(at);
        return taken;
    }
    void gap() {
        if (arrived_.empty() || !arrived_.back().gap) { arrived_.push_back({{}, true}); }
    }

    function_ref<peer_reply(bytes_view)> handler_;
    live_loopback_options options_;
    std::vector<waiting> waiting_;
    std::vector<arrival> arrived_;  ///< in order
    std::size_t arrived_bytes_ = 0;
    bool connected_ = true;
    bool closing_ = false;
};
static_assert(live_transport<live_loopback>);

}  // namespace syncline::inline SYNCLINE_ABI
