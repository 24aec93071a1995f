// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `https_server`: the HTTP server over TLS, by OpenSSL (link with ssl and crypto).

#include <optional>
#include <string>
#include <utility>

#include <boost/asio/ssl.hpp>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <syncline/adapters/http_server.hpp>
#include <syncline/adapters/https_openssl.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Who we are. All is PEM; files are read when the server is made, so a renewed certificate needs a new server.
struct tls_server_options {
    std::string certificate_file{};          ///< our own certificate first, then those that lead to its authority
    std::string certificate_pem{};           ///< the same as text; exactly one of the two
    std::string private_key_file{};          ///< of our own certificate, without a password
    std::string private_key_pem{};           ///< the same as text; exactly one of the two
    milliseconds handshake_timeout{10'000};  ///< from the connection to the end of the handshake; > 0
};

/// Whether every member is in its range.
[[nodiscard]] inline bool valid(tls_server_options const& o) noexcept {
    return o.certificate_file.empty() != o.certificate_pem.empty() &&
           o.private_key_file.empty() != o.private_key_pem.empty() && o.handshake_timeout.count() > 0;
}

namespace detail {

/// The OpenSSL context that all connections of one server share.
class tls_server_security {
public:
    explicit tls_server_security(tls_server_options const& options)
        : handshake_timeout_(options.handshake_timeout), ready_(load(options)) {}
    [[nodiscard]] status ready() const noexcept { return ready_; }
    [[nodiscard]] asio::ssl::context& context() noexcept { return *context_; }
    [[nodiscard]] milliseconds handshake_timeout() const noexcept { return handshake_timeout_; }

private:
    [[nodiscard]] status load(tls_server_options const& o) {
        if (!valid(o)) { return failure{errc::invalid, "TLS server options out of range"}; }
        if (status const opened = open_tls_context(context_, asio::ssl::context::tls_server); !opened) {
            return opened.error();
        }
        SSL_CTX* const native = context_->native_handle();
        // A stranger must not make us work or remember: no renegotiation, and resumption by tickets alone.
        SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION);
        SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
        asio_error e;
        if (o.certificate_pem.empty()) {
            context_->use_certificate_chain_file(o.certificate_file, e);
        } else {
            context_->use_certificate_chain(asio::buffer(o.certificate_pem), e);
        }
        if (e) { return failure{errc::invalid, "the certificate chain can't be loaded", e.value()}; }
        if (o.private_key_pem.empty()) {
            context_->use_private_key_file(o.private_key_file, asio::ssl::context::pem, e);
        } else {
            context_->use_private_key(asio::buffer(o.private_key_pem), asio::ssl::context::pem, e);
        }
        bool const loaded = !e;
        // OpenSSL itself compares a key only with a certificate of its own kind, an RSA key not with one for a curve.
        ERR_clear_error();
        if (loaded && SSL_CTX_check_private_key(native) == 1) { return {}; }
        return failure{errc::invalid, "the private key can't be loaded, or is not the certificate's",
                       loaded ? static_cast<int>(ERR_get_error()) : e.value()};
    }

    milliseconds handshake_timeout_;
    std::optional<asio::ssl::context> context_;  ///< before ready_, which makes it
    status ready_;
};

/// One connection with TLS that was accepted.
class tls_server_link {
public:
    using options_type = tls_server_options;
    using security_type = tls_server_security;
    static constexpr bool secure = true;

    tls_server_link(asio_tcp::socket accepted, tls_server_security& security)
        : stream_(std::move(accepted), security.context()) {}
    [[nodiscard]] tls_stream& stream() noexcept { return stream_; }
    [[nodiscard]] beast::tcp_stream& tcp() noexcept { return stream_.next_layer(); }

    template <class Handler>
    void async_handshake(Handler handler) {
        stream_.async_handshake(asio::ssl::stream_base::server, std::move(handler));
    }

private:
    tls_stream stream_;
};

}  // namespace detail

/// HTTP over TLS 1.2 or later; clients are known by their tokens, not by certificates. A connection that has not
/// shaken hands counts as idle, is dropped without an answer when that fails or takes too long, and is as much within
/// `connections_max` as any. A connection that ends after a reply is closed in TLS's way too, so that the client can
/// tell its end from a cut.
/// Memory: OpenSSL's buffers for each connection come on top of what `http_server_options` says.
using https_server = basic_http_server<detail::tls_server_link>;

}  // namespace syncline::inline SYNCLINE_ABI
