// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `https_transport`: the HTTP transport over TLS, by OpenSSL (link with ssl and crypto). The server: https_server.hpp.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/ssl.hpp>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <syncline/adapters/http_client.hpp>
#include <syncline/adapters/https_openssl.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Whom to believe, and who we are. Files are PEM and read when the transport is made.
struct tls_options {
    bool verify_peer = true;         ///< false takes anyone for the peer: for experiments only
    std::string ca_file{};           ///< the only authorities that are trusted; empty, and no ca_pem: the system's
    std::string ca_pem{};            ///< the same as text; both may be given
    std::string server_name{};       ///< the name that the certificate must bear; empty: the host
    std::string certificate_file{};  ///< our own chain, where the peer asks for one
    std::string private_key_file{};  ///< and its key, without a password
};

namespace detail {

/// The OpenSSL context that all connections of one transport share.
class tls_security {
public:
    explicit tls_security(tls_options options) : options_(std::move(options)) {
        if (status const opened = open_tls_context(context_, asio::ssl::context::tls_client); !opened) {
            broken_ = opened.error();
            return;
        }
        asio_error e;
        if (options_.ca_file.empty() && options_.ca_pem.empty()) { context_->set_default_verify_paths(e); }
        if (!e && !options_.ca_file.empty()) { context_->load_verify_file(options_.ca_file, e); }
        if (!e && !options_.ca_pem.empty()) { context_->add_certificate_authority(asio::buffer(options_.ca_pem), e); }
        if (e) {
            broken_ = failure{errc::invalid, "the trusted certificates can't be loaded", e.value()};
            return;
        }
        if (!options_.certificate_file.empty()) {
            context_->use_certificate_chain_file(options_.certificate_file, e);
            if (!e) { context_->use_private_key_file(options_.private_key_file, asio::ssl::context::pem, e); }
            if (e) { broken_ = failure{errc::invalid, "our own certificate or key can't be loaded", e.value()}; }
        }
    }
    [[nodiscard]] status ready() const noexcept {
        if (broken_) { return *broken_; }
        return {};
    }
    [[nodiscard]] asio::ssl::context& context() noexcept { return *context_; }
    [[nodiscard]] tls_options const& options() const noexcept { return options_; }

private:
    tls_options options_;
    std::optional<asio::ssl::context> context_;
    std::optional<failure> broken_;
};

/// One connection with TLS.
class tls_link {
public:
    using options_type = tls_options;
    using security_type = tls_security;
    static constexpr std::uint16_t default_port = 443;
    static constexpr bool secure = true;

    tls_link(asio::io_context& io, tls_security& security)
        : options_(security.options()), stream_(io, security.context()) {}
    [[nodiscard]] tls_stream& stream() noexcept { return stream_; }
    [[nodiscard]] beast::tcp_stream& tcp() noexcept { return stream_.next_layer(); }

    /// Says whom we expect; before the handshake.
    [[nodiscard]] asio_error prepare(std::string const& host) {
        std::string const& name = options_.server_name.empty() ? host : options_.server_name;
        asio_error e;
        asio::ip::make_address(name, e);
        bool const is_name = static_cast<bool>(e);  // an address is no name for the server to choose by (RFC 6066)
        if (is_name && SSL_set_tlsext_host_name(stream_.native_handle(), name.c_str()) != 1) {
            return asio::error::make_error_code(asio::error::invalid_argument);
        }
        e = {};
        stream_.set_verify_mode(options_.verify_peer ? asio::ssl::verify_peer : asio::ssl::verify_none, e);
        if (!e && options_.verify_peer) { stream_.set_verify_callback(asio::ssl::host_name_verification(name), e); }
        return e;
    }
    template <class Handler>
    void async_handshake(Handler handler) {
        stream_.async_handshake(asio::ssl::stream_base::client, std::move(handler));
    }
    [[nodiscard]] static failure handshake_failure(asio_error e) noexcept {
        bool const refused = e.category() == asio::error::get_ssl_category() &&
                             ERR_GET_REASON(static_cast<unsigned long>(e.value())) == SSL_R_CERTIFICATE_VERIFY_FAILED;
        if (refused) { return {errc::foreign, "the certificate is not one of the peer's", e.value()}; }
        if (e == beast::error::timeout) { return {errc::unreachable, "no TLS handshake in time", e.value()}; }
        return {errc::unreachable, "the TLS handshake failed", e.value()};
    }

private:
    tls_options const& options_;
    tls_stream stream_;
};

}  // namespace detail

/// HTTP over TLS 1.2 or later. The peer's certificate and its name are verified unless `tls_options` says otherwise;
/// one that does not pass is `errc::foreign` (a portal or a proxy in between), as is any answer that isn't ours;
/// another failure of the handshake is `errc::unreachable`. Nothing of the request was sent then.
using https_transport = basic_http_transport<detail::tls_link>;
static_assert(transport<https_transport>);

}  // namespace syncline::inline SYNCLINE_ABI
