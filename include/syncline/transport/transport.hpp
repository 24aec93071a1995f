// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The `transport` concept: carries one message to the peer and hands one reply back.

#include <concepts>
#include <cstddef>
#include <optional>

#include <syncline/core/bytes.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What a transport can carry.
struct transport_limits {
    std::size_t request_bytes_max = std::size_t{16} << 20;
    std::size_t reply_bytes_max = std::size_t{16} << 20;
    friend constexpr bool operator==(transport_limits const&, transport_limits const&) = default;
};

/// How an exchange ended.
struct transport_reply {
    /// The peer's reply, borrowed until the completion returns, or why there is none.
    result<bytes_view> message = errc::cancelled;
    /// What the peer asked to wait at least, as it said it: unchecked, the retry policy clamps it.
    std::optional<milliseconds> retry_after{};
};

/// Called exactly once for each exchange, on the thread that drives the transport. Two pointers; the
/// object behind `context` must outlive the exchange.
struct completion {
    void (*call)(void* context, transport_reply const& reply) = nullptr;
    void* context = nullptr;
    void operator()(transport_reply const& reply) const { call(context, reply); }

    /// A completion that calls `f(reply)`; `f` is borrowed.
    template <class F>
    [[nodiscard]] static completion to(F& f) noexcept {
        return {[](void* object, transport_reply const& reply) { (*static_cast<F*>(object))(reply); },
                const_cast<void*>(static_cast<void const*>(&f))};
    }
};

/// A way to the peer.
///
/// Notation: `t` lvalue of T, `m` request bytes, `c` completion.
/// | expression        | result            | meaning                                                                    |
/// | t.exchange(m, c)  | void              | sends `m` (borrowed for the call only) and completes `c` once, now or later |
/// | t.limits()        | transport_limits  | a longer request completes with `errc::too_large`, nothing is sent          |
/// Which failure says what: `unreachable` the peer did not act; `timed_out`, `connection_lost`, `cancelled` it
/// may have acted; `unauthorised`, `forbidden`, `throttled`, `too_large`, `rejected`, `peer_failed` the peer
/// answered so; `foreign` someone else answered.
/// Axioms (testing/transport_conformance.hpp checks them by these names):
///   exactly_one      each exchange completes exactly once, also when the transport is destroyed (`cancelled`)
///   fidelity         the peer gets the request and the completion the reply, bit for bit, of any length
///                    from 0 to the limits
///   pairing          a completion gets the reply to its own request
///   limits           a longer request or reply completes with `errc::too_large`
///   recovery         after a failure the next exchange works if the peer does
///   reason           a failure is the one that happened, as said above; `retry_after` is what the peer said, or none:
///                    rounded up to whole seconds where that is all it can carry, and for more than a hundred years
///                    so long at least
/// Threads: the caller serialises.
template <class T>
concept transport = requires(T& t, T const& ct, bytes_view m, completion c) {
    { t.exchange(m, c) } -> std::same_as<void>;
    { ct.limits() } -> std::same_as<transport_limits>;
};

/// Called with each unsolicited message, in order; the bytes live for the call.
using message_visitor = function_ref<void(bytes_view message)>;

/// A transport over which the peer also speaks unasked.
/// | expression        | result  | meaning                                                                          |
/// | t.receive(visit)  | status  | hands over what has arrived since the last call, without waiting; an error says   |
/// |                   |         | that the connection is gone and messages may have been missed: fall back to asking |
/// | t.connected()     | bool    | whether unsolicited messages can arrive now                                       |
/// Axiom:
///   in_order         unsolicited messages arrive in the order sent, each at most once; a gap is an error first
template <class T>
concept live_transport = transport<T> && requires(T& t, T const& ct, message_visitor visit) {
    { t.receive(visit) } -> std::same_as<status>;
    { ct.connected() } -> std::same_as<bool>;
};

}  // namespace syncline::inline SYNCLINE_ABI
