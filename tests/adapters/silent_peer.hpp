// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The peer of the transport axioms as a server's handler, that may be told to say nothing for a while.

#include <condition_variable>
#include <mutex>

#include <syncline/adapters/http_server.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/testing/transport_conformance.hpp>
#include <syncline/transport/loopback.hpp>

/// While it is silent its answers are late: the server's thread waits in it.
struct silent_peer {
    syncline::testing::conformance_peer& peer;
    std::mutex mutex{};
    std::condition_variable speaks{};
    bool silent = false;

    syncline::peer_reply operator()(syncline::request_context const&, syncline::bytes_view body) {
        syncline::peer_reply reply = peer(body);
        std::unique_lock lock(mutex);
        speaks.wait(lock, [this] { return !silent; });
        return reply;
    }
    void be_silent(bool now) {
        {
            std::lock_guard const lock(mutex);
            silent = now;
        }
        speaks.notify_all();
    }
};
