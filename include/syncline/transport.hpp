// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `transport`: the concept of a way to the peer, and the in-process model.

#include <syncline/transport/carried.hpp>        // IWYU pragma: export
#include <syncline/transport/failover.hpp>       // IWYU pragma: export
#include <syncline/transport/fifo.hpp>           // IWYU pragma: export
#include <syncline/transport/hub_loopback.hpp>   // IWYU pragma: export
#include <syncline/transport/live_frame.hpp>     // IWYU pragma: export
#include <syncline/transport/live_hub.hpp>       // IWYU pragma: export
#include <syncline/transport/live_inbox.hpp>     // IWYU pragma: export
#include <syncline/transport/live_listener.hpp>  // IWYU pragma: export
#include <syncline/transport/loopback.hpp>       // IWYU pragma: export
#include <syncline/transport/polled.hpp>         // IWYU pragma: export
#include <syncline/transport/transport.hpp>      // IWYU pragma: export
