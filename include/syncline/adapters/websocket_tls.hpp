// SPDX-License-Identifier: BSL-1.0
#pragma once

/// WebSockets over TLS, both ends, by OpenSSL (link with ssl and crypto).

#include <syncline/adapters/https.hpp>
#include <syncline/adapters/https_server.hpp>
#include <syncline/adapters/websocket_client.hpp>
#include <syncline/adapters/websocket_server.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// A WebSocket over TLS 1.2 or later; the peer's certificate is verified as `https_transport` does it.
using tls_websocket_transport = basic_websocket_transport<detail::tls_link>;
static_assert(live_transport<tls_websocket_transport>);

/// A WebSocket server over TLS; devices are known by their tokens, not by certificates.
using tls_websocket_server = basic_websocket_server<detail::tls_server_link>;

}  // namespace syncline::inline SYNCLINE_ABI
