// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What the HTTP client and server share of Boost.Beast: short names, the reading of its errors, connections without TLS.

#include <cstdint>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/error.hpp>

#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI::detail {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace beast_http = boost::beast::http;
using asio_tcp = boost::asio::ip::tcp;
using asio_error = boost::system::error_code;

/// Whether a read failed because of what was sent, not because the connection ended.
[[nodiscard]] inline bool is_http_syntax_error(asio_error e) noexcept {
    return e.category() == beast_http::make_error_code(beast_http::error::bad_method).category() &&
           e != beast_http::error::end_of_stream && e != beast_http::error::partial_message;
}

/// What there is to configure for a connection without TLS.
struct plain_options {};

/// What all connections of one transport or server share: nothing, without TLS.
class plain_security {
public:
    explicit plain_security(plain_options const&) noexcept {}
    [[nodiscard]] status ready() const noexcept { return {}; }
};

/// One connection without TLS, of either end.
class plain_link {
public:
    using options_type = plain_options;
    using security_type = plain_security;
    static constexpr std::uint16_t default_port = 80;
    static constexpr bool secure = false;

    plain_link(asio::io_context& io, plain_security&) : stream_(io) {}
    plain_link(asio_tcp::socket accepted, plain_security&) : stream_(std::move(accepted)) {}
    [[nodiscard]] beast::tcp_stream& stream() noexcept { return stream_; }
    [[nodiscard]] beast::tcp_stream& tcp() noexcept { return stream_; }

private:
    beast::tcp_stream stream_;
};

}  // namespace syncline::inline SYNCLINE_ABI::detail
