// SPDX-License-Identifier: BSL-1.0
#pragma once

/// WebSockets over TLS, both ends, by OpenSSL (link with ssl and crypto): `websocket_tls_transport`, `websocket_tls_server`.

#include <syncline/adapters/https.hpp>
#include <syncline/adapters/https_server.hpp>
#include <syncline/adapters/websocket_client.hpp>
#include <syncline/adapters/websocket_server.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// A WebSocket over TLS 1.2 or later. Whom it believes and what a handshake fails with is as of `https_transport`.
using websocket_tls_transport = basic_websocket_transport<detail::tls_link>;
static_assert(live_transport<websocket_tls_transport>);

/// A WebSocket server over TLS 1.2 or later. Devices are known by their tokens, not by certificates. A connection that has
/// not shaken hands in `websocket_server_options::handshake_timeout`, TLS and WebSocket together, is dropped.
/// Memory: OpenSSL's buffers for each connection come on top of what `websocket_server_options` says.
using websocket_tls_server = basic_websocket_server<detail::tls_server_link>;

}  // namespace syncline::inline SYNCLINE_ABI
