// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Long polling over HTTPS, both ends, by OpenSSL (link with ssl and crypto): `long_poll_tls_transport`,
/// `long_poll_tls_server`.

#include <syncline/adapters/https.hpp>
#include <syncline/adapters/https_server.hpp>
#include <syncline/adapters/long_poll_client.hpp>
#include <syncline/adapters/long_poll_server.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Over TLS 1.2 or later, for both of its connections. Whom it believes is as of `https_transport`.
using long_poll_tls_transport = basic_long_poll_transport<detail::tls_link>;
static_assert(live_transport<long_poll_tls_transport>);

/// Over TLS 1.2 or later, as `https_server`.
using long_poll_tls_server = basic_long_poll_server<detail::tls_server_link>;

}  // namespace syncline::inline SYNCLINE_ABI
