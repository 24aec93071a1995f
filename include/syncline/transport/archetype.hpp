// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Archetypes of the transport concepts: exactly what an algorithm may use, and what a concept must refuse.

#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Models `transport` and nothing else: algorithms are instantiated with it, so that a use of more fails the build.
struct transport_archetype {
    transport_archetype() = delete;
    transport_archetype(transport_archetype const&) = delete;
    transport_archetype& operator=(transport_archetype const&) = delete;
    ~transport_archetype() = default;
    void exchange(bytes_view message, completion done);
    transport_limits limits() const;
};
static_assert(transport<transport_archetype>);
static_assert(!live_transport<transport_archetype>);

/// Models `live_transport` and nothing else.
struct live_transport_archetype {
    live_transport_archetype() = delete;
    live_transport_archetype(live_transport_archetype const&) = delete;
    live_transport_archetype& operator=(live_transport_archetype const&) = delete;
    ~live_transport_archetype() = default;
    void exchange(bytes_view message, completion done);
    transport_limits limits() const;
    status receive(message_visitor visit);
    bool connected() const;
};
static_assert(live_transport<live_transport_archetype>);

/// Lacks one requirement of `live_transport`, counted from 1; with 0 it lacks none.
template <int Missing>
struct transport_without {
    void exchange(bytes_view message, completion done) requires(Missing != 1);
    transport_limits limits() const requires(Missing != 2);
    status receive(message_visitor visit) requires(Missing != 3);
    bool connected() const requires(Missing != 4);
};
static_assert(live_transport<transport_without<0>>);
static_assert(!transport<transport_without<1>> && !transport<transport_without<2>>);
static_assert(transport<transport_without<3>> && !live_transport<transport_without<3>>);
static_assert(transport<transport_without<4>> && !live_transport<transport_without<4>>);

/// Has every name of `live_transport`, one with a wrong result or constness, counted from 1.
template <int Wrong>
struct transport_altered {
    bool exchange(bytes_view message, completion done) requires(Wrong == 1);
    void exchange(bytes_view message, completion done) requires(Wrong != 1);
    transport_limits limits() requires(Wrong == 2);
    transport_limits limits() const requires(Wrong != 2);
    void receive(message_visitor visit) requires(Wrong == 3);
    status receive(message_visitor visit) requires(Wrong != 3);
    bool connected() requires(Wrong == 4);
    bool connected() const requires(Wrong != 4);
};
static_assert(live_transport<transport_altered<0>>);
static_assert(!transport<transport_altered<1>> && !transport<transport_altered<2>>);
static_assert(!live_transport<transport_altered<3>> && !live_transport<transport_altered<4>>);

}  // namespace syncline::inline SYNCLINE_ABI
