// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Long polling without TLS, both ends: `long_poll_transport` and `long_poll_server`. Needs Boost 1.81, headers only.

// IWYU pragma: begin_exports
#include <syncline/adapters/long_poll_client.hpp>
#include <syncline/adapters/long_poll_server.hpp>
// IWYU pragma: end_exports
