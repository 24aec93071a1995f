// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A blocking HTTP/1.1 client that models `transport`, over Boost.Beast (1.81 or later, header-only).

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <syncline/adapters/http_beast.hpp>
#include <syncline/adapters/http_status.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Where the peer is and how long to wait for it.
struct http_options {
    std::string host = "localhost";  ///< a name, or an address without brackets
    std::uint16_t port = 0;          ///< 0: 80, or 443 with TLS
    std::string target = "/sync";    ///< path, and query if any, as they stand in the request line
    /// Name resolution, connecting and the TLS handshake together; > 0. Spread evenly over a name's addresses.
    milliseconds connect_timeout{10'000};
    milliseconds exchange_timeout{60'000};  ///< a whole exchange with all its parts and repetitions; > 0
    milliseconds idle_max{30'000};          ///< a connection unused for longer is not used again; 0: none is kept
    transport_limits limits{};
    std::uint32_t header_bytes_max = 16 * 1024;  ///< of a reply; > 0
    std::string user_agent = "syncline";
};

/// Whether every member is in its range, and no text could smuggle a header in.
[[nodiscard]] inline bool valid(http_options const& o) noexcept {
    auto const printable = [](std::string_view text, char from) {
        return std::all_of(text.begin(), text.end(), [from](char c) { return c >= from && c <= '~'; });
    };
    return !o.host.empty() && printable(o.host, '!') && !o.target.empty() && o.target.front() == '/' &&
           printable(o.target, '!') && printable(o.user_agent, ' ') && o.connect_timeout.count() > 0 &&
           o.exchange_timeout.count() > 0 && o.idle_max.count() >= 0 && o.header_bytes_max > 0;
}

/// Gives the bearer token of each request (RFC 6750).
///
/// | expression    | result              | meaning                                                                |
/// | a.token()     | result<std::string> | what to send now: printable ASCII without blanks, empty for none; a    |
/// |               |                     | failure ends the exchange, nothing was sent                            |
/// | a.refresh()   | status              | the peer answered 401: get another token; may block. A failure ends    |
/// |               |                     | the exchange with it                                                   |
template <class A>
concept bearer_source = requires(A& a) {
    { a.token() } -> std::same_as<result<std::string>>;
    { a.refresh() } -> std::same_as<status>;
};

namespace detail {

/// One asynchronous operation that is waited for.
class http_operation {
public:
    /// A handler for any operation whose first argument is an error code. The object must outlive the operation.
    [[nodiscard]] auto handler() noexcept {
        return [this](asio_error e, auto const&...) {
            error_ = e;
            done_ = true;
        };
    }
    void wait(asio::io_context& io) {
        io.restart();
        while (!done_) { io.run_one(); }
    }
    [[nodiscard]] asio_error error() const noexcept { return error_; }

private:
    asio_error error_{};
    bool done_ = false;
};

/// What the Host header says.
template <class Link>
[[nodiscard]] std::string host_header(std::string const& name, std::uint16_t port) {
    std::string host = name.find(':') != std::string::npos ? '[' + name + ']' : name;
    if (port != 0 && port != Link::default_port) { host += ':' + std::to_string(port); }
    return host;
}

/// The failure for an error while a reply was awaited: the peer may have acted.
[[nodiscard]] inline failure http_read_failure(asio_error e) noexcept {
    if (e == beast::error::timeout) { return {errc::timed_out, "no reply in time", e.value()}; }
    if (e == beast_http::error::body_limit) { return {errc::too_large, "reply over the transport's limit"}; }
    if (is_http_syntax_error(e)) { return {errc::foreign, "the answer is not HTTP", e.value()}; }
    return {errc::connection_lost, "the connection broke before the reply was whole", e.value()};
}

/// A name's addresses. `cancelled` may change meanwhile.
[[nodiscard]] inline std::optional<failure> resolve_name(asio::io_context& io, std::string const& host,
                                                         std::uint16_t port,
                                                         std::chrono::steady_clock::time_point deadline,
                                                         bool const& cancelled,
                                                         std::vector<asio_tcp::endpoint>& endpoints) {
    asio_error e;
    auto const address = asio::ip::make_address(host, e);
    if (!e) {
        endpoints.emplace_back(address, port);
        return std::nullopt;
    }
    struct lookup {
        bool done = false;
        asio_error error{};
        asio_tcp::resolver::results_type found{};
    };
    // Shared, because a lookup can't be stopped: it may end long after this call gave it up.
    auto const state = std::make_shared<lookup>();
    asio_tcp::resolver resolver(io);
    resolver.async_resolve(host, std::to_string(port), asio_tcp::resolver::numeric_service,
                           [state](asio_error error, asio_tcp::resolver::results_type found) {
                               *state = {true, error, std::move(found)};
                           });
    io.restart();
    while (!state->done) {
        io.run_one_until(deadline);
        if (!state->done && (cancelled || std::chrono::steady_clock::now() >= deadline)) {
            resolver.cancel();
            return failure{errc::unreachable, "the name was not resolved in time"};
        }
    }
    if (state->error) { return failure{errc::unreachable, "the name does not resolve", state->error.value()}; }
    for (auto const& entry : state->found) { endpoints.push_back(entry.endpoint()); }
    return std::nullopt;
}

/// The TLS handshake, if there is to be one.
template <class Link>
[[nodiscard]] std::optional<failure> secure_link([[maybe_unused]] asio::io_context& io,
                                                 [[maybe_unused]] std::optional<Link>& link,
                                                 [[maybe_unused]] std::string const& host,
                                                 [[maybe_unused]] std::chrono::steady_clock::time_point deadline) {
    if constexpr (Link::secure) {
        link->tcp().expires_at(deadline);
        asio_error e = link->prepare(host);
        if (!e) {
            http_operation shaking;
            link->async_handshake(shaking.handler());
            shaking.wait(io);
            e = shaking.error();
        }
        if (e) {
            failure const why = link->handshake_failure(e);
            link.reset();
            return why;
        }
    }
    return std::nullopt;
}

/// Connects to the first of the peer's addresses that accepts; `link` is empty after a failure.
template <class Link>
[[nodiscard]] std::optional<failure> connect_link(asio::io_context& io, typename Link::security_type& security,
                                                  std::optional<Link>& link, std::string const& host,
                                                  std::uint16_t port, std::chrono::steady_clock::time_point deadline,
                                                  bool const& cancelled) {
    using clock = std::chrono::steady_clock;
    link.reset();
    std::vector<asio_tcp::endpoint> endpoints;
    if (auto const unknown =
            resolve_name(io, host, port != 0 ? port : Link::default_port, deadline, cancelled, endpoints)) {
        return unknown;
    }
    failure last{errc::unreachable, "the name has no address"};
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
        auto const now = clock::now();
        if (cancelled) { return failure{errc::cancelled}; }
        if (now >= deadline) { return failure{errc::unreachable, "no connection in time"}; }
        link.emplace(io, security);
        link->tcp().expires_at(now + (deadline - now) / static_cast<clock::rep>(endpoints.size() - i));
        http_operation connecting;
        link->tcp().async_connect(endpoints[i], connecting.handler());
        connecting.wait(io);
        if (!connecting.error()) {
            asio_error ignored;
            link->tcp().socket().set_option(asio_tcp::no_delay(true), ignored);
            return secure_link(io, link, host, deadline);
        }
        last = failure{
            errc::unreachable,
            connecting.error() == beast::error::timeout ? "no connection in time" : "the peer accepts no connection",
            connecting.error().value()};
        link.reset();
    }
    return last;
}

}  // namespace detail

/// Posts each request to one URL and waits for the reply; `exchange` completes before it returns.
///
/// A connection is kept between exchanges. One that the peer closed while it was idle shows only when it is used:
/// if it breaks before a byte of the reply came, the request is sent once more over a new connection. The peer may
/// then have got it twice, which syncline's messages allow (their effect is idempotent); do not use this class for
/// others that do not. Nothing else is repeated, and redirections are not followed.
/// A reply is ours when its status is 2xx and its content type `http_content_type`; anything else with 2xx is
/// `errc::foreign`. Other statuses: `from_http_status`. A Retry-After date is counted from the reply's own Date if
/// it has one, as the local clock may be wrong.
/// Failures otherwise: `unreachable` where no connection came about (name, refusal, connect timeout, TLS handshake),
/// `timed_out`, `connection_lost`, `too_large` (then the connection is closed), `foreign` where the answer is no
/// HTTP, has no length, or the TLS certificate is another's; `invalid` for options or a token out of range.
/// Bodies of a reply without Content-Length or chunks are refused: their end can't be told from a broken connection.
/// Threads: names are resolved on a thread of Asio's own, for the system can't do it otherwise; one that the system
/// is still looking for makes destruction wait, though no exchange waits for it. The caller serialises, and the completion is called on the caller's thread. A completion may start the next exchange.
/// Cost: the reply is kept in memory; the request is not copied.
template <class Link>
class basic_http_transport {
public:
    using security_options = typename Link::options_type;

    explicit basic_http_transport(http_options options, security_options const& security = {})
        : options_(std::move(options)), security_(security) {}
    /// With bearer tokens from `tokens`, which is borrowed. After a 401 it is asked to refresh, once an exchange, and
    /// the request is sent again; a second 401 is `errc::unauthorised`.
    template <bearer_source A>
    basic_http_transport(http_options options, A& tokens, security_options const& security = {})
        : options_(std::move(options)),
          security_(security),
          tokens_{&tokens, [](void* object) { return static_cast<A*>(object)->token(); },
                  [](void* object) { return static_cast<A*>(object)->refresh(); }} {}
    basic_http_transport(basic_http_transport const&) = delete;
    basic_http_transport& operator=(basic_http_transport const&) = delete;
    ~basic_http_transport() = default;

    void exchange(bytes_view request, completion done) {
        std::string body;
        answer a;
        try {
            forget_cancellations();
            a = perform(request, body);
        } catch (boost::system::system_error const& e) {  // Asio has no other way to say that descriptors ran out
            link_.reset();
            a.failed = failure{errc::connection_lost, "the system refused a resource", e.code().value()};
        }
        if (cancelled_ && a.failed) { a.failed = failure{errc::cancelled, "cancelled by the program"}; }
        if (a.failed) {
            done({*a.failed, a.retry_after});
        } else {
            done({as_bytes(body), a.retry_after});
        }
    }
    [[nodiscard]] transport_limits limits() const noexcept { return options_.limits; }

    /// Closes the kept connection, if any: before the device sleeps, say.
    void close() noexcept { link_.reset(); }

    /// Ends the exchange that is under way with `errc::cancelled`; does nothing without one. Callable from any
    /// thread, also from one that is about to join the thread that waits in `exchange`. What it can't interrupt is a
    /// token's refresh.
    void cancel() {
        detail::asio::post(io_, [this] {
            cancelled_ = true;
            if (link_) { link_->tcp().close(); }
        });
    }

private:
    using clock = std::chrono::steady_clock;

    struct answer {
        std::optional<failure> failed{};
        std::optional<milliseconds> retry_after{};
        int http_status = 0;
        bool stale = false;  ///< the connection broke before a byte of a reply came
    };
    struct token_hooks {
        void* object = nullptr;
        result<std::string> (*token)(void*) = nullptr;
        status (*refresh)(void*) = nullptr;
    };

    [[nodiscard]] static answer failed(failure const& f) { return {f, {}, 0, false}; }

    /// Lets those take place that came when no exchange was under way.
    void forget_cancellations() {
        io_.restart();
        io_.poll();
        if (cancelled_) { link_.reset(); }
        cancelled_ = false;
    }

    [[nodiscard]] answer perform(bytes_view request, std::string& body) {
        if (!valid(options_)) { return failed({errc::invalid, "HTTP options out of range"}); }
        if (status const ready = security_.ready(); !ready) { return failed(ready.error()); }
        if (request.size() > options_.limits.request_bytes_max) {
            return failed({errc::too_large, "request over the transport's limit"});
        }
        clock::time_point const deadline = clock::now() + options_.exchange_timeout;
        answer a = authenticated(request, deadline, body);
        if (a.http_status == 401 && tokens_.object != nullptr) {
            if (status const refreshed = tokens_.refresh(tokens_.object); !refreshed) {
                return {refreshed.error(), a.retry_after, 401, false};
            }
            a = authenticated(request, deadline, body);
        }
        return a;
    }

    [[nodiscard]] answer authenticated(bytes_view request, clock::time_point deadline, std::string& body) {
        std::string authorization;
        if (tokens_.object != nullptr) {
            result<std::string> const token = tokens_.token(tokens_.object);
            if (!token) { return failed(token.error()); }
            bool const clean = std::all_of(token->begin(), token->end(), [](char c) { return c > ' ' && c <= '~'; });
            if (!clean) { return failed({errc::invalid, "a token that no header can carry"}); }
            if (!token->empty()) { authorization = "Bearer " + *token; }
        }
        if (reusable()) {
            answer a = talk(request, authorization, deadline, body);
            if (!a.stale || cancelled_) { return a; }
        }
        if (auto const refused = connect(deadline)) { return failed(*refused); }
        return talk(request, authorization, deadline, body);
    }

    /// Whether the kept connection is young enough and the peer is not seen to have closed it.
    [[nodiscard]] bool reusable() {
        if (!link_) { return false; }
        if (clock::now() - idle_since_ < options_.idle_max) {
            auto& socket = link_->tcp().socket();
            detail::asio_error e;
            socket.non_blocking(true, e);
            char next = 0;
            if (!e) { socket.receive(detail::asio::buffer(&next, 1), detail::asio_tcp::socket::message_peek, e); }
            // Unasked bytes can only be a farewell, but with TLS they may be session tickets.
            if (e == detail::asio::error::would_block || (Link::secure && !e)) { return true; }
        }
        link_.reset();
        return false;
    }

    /// Connects to the first of the peer's addresses that accepts.
    [[nodiscard]] std::optional<failure> connect(clock::time_point exchange_deadline) {
        clock::time_point const deadline = (std::min)(exchange_deadline, clock::now() + options_.connect_timeout);
        return detail::connect_link(io_, security_, link_, options_.host, options_.port, deadline, cancelled_);
    }

    /// One request and its reply over the connection that stands. The connection is dropped unless it can be kept.
    [[nodiscard]] answer talk(bytes_view request, std::string const& authorization, clock::time_point deadline,
                              std::string& body) {
        namespace http = detail::beast_http;
        link_->tcp().expires_at(deadline);

        http::request<http::span_body<char const>> message(http::verb::post, options_.target, 11);
        message.set(http::field::host, detail::host_header<Link>(options_.host, options_.port));
        message.set(http::field::user_agent, options_.user_agent);
        message.set(http::field::content_type, http_content_type);
        message.set(http::field::accept, http_content_type);
        if (!authorization.empty()) { message.set(http::field::authorization, authorization); }
        message.keep_alive(options_.idle_max.count() > 0);
        std::string_view const text = as_text(request);
        message.body() = detail::beast::span<char const>(text.data(), text.size());
        message.content_length(text.size());

        detail::http_operation writing;
        http::async_write(link_->stream(), message, writing.handler());
        writing.wait(io_);
        if (writing.error() == detail::beast::error::timeout) {
            link_.reset();
            return failed({errc::timed_out, "the request could not be sent in time", writing.error().value()});
        }

        // After a broken write there may still be an answer: a server that refuses a request before its end.
        detail::beast::flat_buffer buffer;
        std::optional<http::response_parser<http::string_body>> parser;
        detail::asio_error e;
        bool silent = true;
        for (int informational = 0; informational < 8; ++informational) {
            parser.emplace();
            parser->header_limit(options_.header_bytes_max);
            parser->body_limit(boost::none);  // a status without our body counts whatever its length
            detail::http_operation reading;
            http::async_read_header(link_->stream(), buffer, *parser, reading.handler());
            reading.wait(io_);
            e = reading.error();
            silent = silent && !parser->got_some() && buffer.size() == 0;
            if (e || parser->get().result_int() / 100 != 1) { break; }
        }
        if (e) {
            link_.reset();
            failure const why = detail::http_read_failure(e);
            return {why, {}, 0, silent && why.code == errc::connection_lost};
        }
        return judge(*parser, buffer, deadline, body);
    }

    /// What the header says; then the body, as far as it is wanted.
    template <class Parser>
    [[nodiscard]] answer judge(Parser& parser, detail::beast::flat_buffer& buffer, clock::time_point deadline,
                               std::string& body) {
        namespace http = detail::beast_http;
        auto const& head = parser.get();
        answer a;
        a.http_status = static_cast<int>(head.result_int());
        status const said = from_http_status(a.http_status);
        if (!said) {
            a.failed = said.error();
            a.retry_after = retry_after(head);
        } else if (!is_http_content_type(head[http::field::content_type])) {
            a.failed = failure{errc::foreign, "an answer of another content type", a.http_status};
        } else if (head.find(http::field::content_encoding) != head.end()) {
            a.failed = failure{errc::foreign, "an answer in an encoding that was not asked for", a.http_status};
        } else if (parser.need_eof()) {
            a.failed = failure{errc::foreign, "an answer whose length nobody says", a.http_status};
        } else if (parser.content_length() && *parser.content_length() > options_.limits.reply_bytes_max) {
            a.failed = failure{errc::too_large, "reply over the transport's limit", a.http_status};
        }
        if (a.failed) {
            // The peer's own short refusal is worth reading to its end if that saves the connection.
            bool const brief = parser.content_length() && *parser.content_length() <= discarded_bytes_max;
            if (said || a.failed->code == errc::foreign || !brief) {
                link_.reset();
                return a;
            }
            link_->tcp().expires_at((std::min)(deadline, clock::now() + discarding_max));
            parser.body_limit(discarded_bytes_max);
        } else {
            parser.body_limit(options_.limits.reply_bytes_max);
        }
        detail::http_operation reading;
        http::async_read(link_->stream(), buffer, parser, reading.handler());
        reading.wait(io_);
        if (reading.error()) {
            link_.reset();
            if (!a.failed) { a.failed = detail::http_read_failure(reading.error()); }
            return a;
        }
        bool const keep = options_.idle_max.count() > 0 && head.keep_alive() && buffer.size() == 0;
        if (keep) {
            link_->tcp().expires_never();
            idle_since_ = clock::now();
        } else {
            link_.reset();
        }
        if (!a.failed) { body = std::move(parser.get().body()); }
        return a;
    }

    template <class Head>
    [[nodiscard]] static std::optional<milliseconds> retry_after(Head const& head) {
        namespace http = detail::beast_http;
        auto const local = std::chrono::floor<milliseconds>(std::chrono::system_clock::now());
        std::string_view const date = head[http::field::date];
        wall_time const now = parse_http_date(date, local).value_or(local);
        return parse_retry_after(head[http::field::retry_after], now);
    }

    static constexpr std::uint64_t discarded_bytes_max = 64 * 1024;
    static constexpr milliseconds discarding_max{1000};

    http_options options_;
    typename Link::security_type security_;
    token_hooks tokens_{};
    detail::asio::io_context io_{1};
    std::optional<Link> link_;  ///< the connection that is kept, or in use
    clock::time_point idle_since_{};
    bool cancelled_ = false;  ///< set by `cancel`, on the thread of `exchange`
};

/// HTTP without TLS: for tests, for a closed network, behind a tunnel. With TLS: adapters/https.hpp.
using http_transport = basic_http_transport<detail::plain_link>;
static_assert(transport<http_transport>);

}  // namespace syncline::inline SYNCLINE_ABI
