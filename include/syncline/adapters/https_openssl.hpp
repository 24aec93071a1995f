// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What the HTTPS client and server share of OpenSSL: the stream and the making of a context.

#include <optional>

#include <boost/asio/ssl.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/ssl.hpp>
#include <openssl/ssl.h>

#include <syncline/adapters/http_beast.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI::detail {

using tls_stream = beast::ssl_stream<beast::tcp_stream>;

/// Makes a context for TLS 1.2 or later that asks nobody for the password of a key: OpenSSL would, on the terminal.
[[nodiscard]] inline status open_tls_context(std::optional<asio::ssl::context>& context,
                                             asio::ssl::context::method method) {
    try {
        context.emplace(method);
    } catch (boost::system::system_error const& e) {  // Asio has no other way to say it
        return failure{errc::invalid, "OpenSSL gives no TLS context", e.code().value()};
    }
    SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
    SSL_CTX_set_default_passwd_cb(context->native_handle(), [](char*, int, int, void*) { return -1; });
    return {};
}

}  // namespace syncline::inline SYNCLINE_ABI::detail
