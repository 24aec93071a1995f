// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What the HTTP client and server share of Boost.Beast: short names and the reading of its errors.

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/http/error.hpp>

#include <syncline/core/config.hpp>

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

}  // namespace syncline::inline SYNCLINE_ABI::detail
