// SPDX-License-Identifier: BSL-1.0
#pragma once

/// HTTP without TLS, both ends: `http_transport` and `http_server`. Needs Boost 1.81, headers only.

// IWYU pragma: begin_exports
#include <syncline/adapters/http_client.hpp>
#include <syncline/adapters/http_server.hpp>
#include <syncline/adapters/http_status.hpp>
// IWYU pragma: end_exports
