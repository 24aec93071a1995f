// SPDX-License-Identifier: BSL-1.0
#pragma once

/// WebSockets without TLS, both ends: `websocket_transport` and `websocket_server`. Needs Boost 1.81, headers only.

// IWYU pragma: begin_exports
#include <syncline/adapters/websocket_client.hpp>
#include <syncline/adapters/websocket_server.hpp>
// IWYU pragma: end_exports
