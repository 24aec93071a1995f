// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A WebSocket (RFC 6455) that models `live_transport`, over Boost.Beast (1.81 or later, header-only).

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>

#include <syncline/adapters/http_beast.hpp>
#include <syncline/adapters/http_client.hpp>
#include <syncline/adapters/http_status.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/transport/carried.hpp>
#include <syncline/transport/live_inbox.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The WebSocket subprotocol of both ends: binary messages as transport/carried.hpp says.
inline constexpr std::string_view websocket_subprotocol = "vnd.syncline.1";

/// Where the peer is, how long to wait for it, and how much to keep of what it says.
struct websocket_options {
    std::string host = "localhost";         ///< a name, or an address without brackets
    std::uint16_t port = 0;                 ///< 0: 80, or 443 with TLS
    std::string target = "/live";           ///< path, and query if any, as they stand in the request line
    milliseconds connect_timeout{10'000};   ///< name, connecting, TLS and WebSocket handshakes together; > 0
    milliseconds exchange_timeout{60'000};  ///< a whole exchange, connecting included; > 0
    transport_limits limits{};              ///< also for each unasked message, as a reply
    std::size_t unasked_max = 1024;         ///< messages not yet received; one more is a gap
    std::size_t unasked_bytes_max = std::size_t{64} << 20;  ///< and their bytes together
    std::string user_agent = "syncline";
};
/// Whether every member is in its range, and no text could smuggle a header in.
[[nodiscard]] inline bool valid(websocket_options const& o) {
    http_options h;
    h.host = o.host;
    h.target = o.target;
    h.user_agent = o.user_agent;
    h.connect_timeout = o.connect_timeout;
    h.exchange_timeout = o.exchange_timeout;
    return valid(h);
}

namespace detail {

namespace beast_websocket = boost::beast::websocket;

/// A WebSocket over a connection of either end, with TLS or without.
template <class Link>
using websocket_over = beast_websocket::stream<std::remove_reference_t<decltype(std::declval<Link&>().stream())>&>;

/// Whether a WebSocket read failed because of what was sent.
[[nodiscard]] inline bool is_websocket_error(asio_error e) noexcept {
    return e.category() == beast_websocket::make_error_code(beast_websocket::error::closed).category() &&
           e != beast_websocket::error::closed;
}

}  // namespace detail

/// Exchanges and unasked messages over one WebSocket; `exchange` completes before it returns.
///
/// An exchange connects where no connection stands. `receive` hands over what arrived, without waiting; `wait` waits for it.
/// A connection that breaks, and a message too many, show in `receive` as `connection_lost`, in their place. An exchange
/// that times out closes the connection: a peer that does not answer is not there, and a late answer can't come.
/// Failures otherwise: `unreachable` where no connection came about, `connection_lost`, `too_large`; where the peer refuses
/// the handshake those of `from_http_status`, and `foreign` where it is no WebSocket of ours; what the peer's handler failed
/// with; `invalid` for options or a token out of range.
/// Threads: as `basic_http_transport`; only `cancel` may be called from another thread. Names and tokens as there.
/// Cost: a copy of each message. Nothing happens between calls: what arrives stays in the system's buffers.
template <class Link>
class basic_websocket_transport {
public:
    using security_options = typename Link::options_type;

    explicit basic_websocket_transport(websocket_options options, security_options const& security = {})
        : options_(std::move(options)), security_(security) {}
    /// With bearer tokens, borrowed, for the handshake. After a 401 it is asked to refresh, once.
    template <bearer_source A>
    basic_websocket_transport(websocket_options options, A& tokens, security_options const& security = {})
        : options_(std::move(options)),
          security_(security),
          tokens_{&tokens, [](void* object) { return static_cast<A*>(object)->token(); },
                  [](void* object) { return static_cast<A*>(object)->refresh(); }} {}
    basic_websocket_transport(basic_websocket_transport const&) = delete;
    basic_websocket_transport& operator=(basic_websocket_transport const&) = delete;
    ~basic_websocket_transport() = default;

    void exchange(bytes_view request, completion done) {
        answer a;
        try {
            forget_cancellations();
            a = perform(request);
        } catch (boost::system::system_error const& e) {  // Asio has no other way to say that descriptors ran out
            drop();
            a.failed = failure{errc::connection_lost, "the system refused a resource", e.code().value()};
        }
        if (cancelled_ && a.failed) { a.failed = failure{errc::cancelled, "cancelled by the program"}; }
        if (a.failed) {
            done({*a.failed, a.retry_after});
        } else {
            done({bytes_view{a.body}, a.retry_after});
        }
    }
    [[nodiscard]] transport_limits limits() const noexcept { return options_.limits; }

    /// Hands over what has arrived up to the next gap.
    [[nodiscard]] status receive(message_visitor visit) {
        pump();
        if (auto ok = arrived_.receive(visit); !ok) { return ok; }
        if (!connection_) { return failure{errc::connection_lost, "not connected"}; }
        return {};
    }
    [[nodiscard]] bool connected() const noexcept { return connection_ != nullptr; }

    /// Waits until something can be received, the connection is lost or `cancel` is called, at most so long. Without a
    /// connection it only waits. True: `receive` has something to say.
    bool wait(milliseconds longest) {
        forget_cancellations();
        auto const deadline = clock::now() + longest;
        bool const stood = connected();
        while (arrived_.empty() && !cancelled_ && (connected() || !stood) && clock::now() < deadline) {
            if (connected()) {
                io_.run_one_until(deadline);
            } else {
                detail::asio::steady_timer sleep(io_, deadline);
                detail::http_operation waking;
                sleep.async_wait(waking.handler());
                io_.run_one_until(deadline);
                sleep.cancel();
                waking.wait(io_);
            }
            io_.restart();
        }
        return !arrived_.empty() || (stood && !connected());
    }

    /// Closes the connection, if any: before the device sleeps, or when the listener wants it.
    void close() { drop(); }

    /// Ends the exchange or the `wait` that is under way; does nothing without one. Callable from any thread.
    void cancel() {
        detail::asio::post(io_, [this] {
            cancelled_ = true;
            if (connecting_ && connecting_->link) { connecting_->link->tcp().close(); }
        });
    }

private:
    using clock = std::chrono::steady_clock;

    struct answer {
        std::optional<failure> failed{};
        std::optional<milliseconds> retry_after{};
        bytes body{};
        int http_status = 0;
    };
    struct token_hooks {
        void* object = nullptr;
        result<std::string> (*token)(void*) = nullptr;
        status (*refresh)(void*) = nullptr;
    };
    /// One WebSocket; its operations keep it alive.
    struct connection {
        std::optional<Link> link{};
        std::optional<detail::websocket_over<Link>> socket{};
        detail::beast::flat_buffer buffer{};
        bytes outgoing{};
        bool writing = false;
    };

    [[nodiscard]] static answer failed(failure const& f) { return {f, {}, {}, 0}; }

    void pump() {
        io_.restart();
        io_.poll();
    }
    void forget_cancellations() {
        pump();
        cancelled_ = false;
        io_.restart();
    }
    /// Ends the connection; what waits in the system's buffers goes with it.
    void drop() {
        if (!connection_) { return; }
        connection_->link->tcp().close();
        connection_.reset();
        arrived_.gap();
    }

    [[nodiscard]] answer perform(bytes_view request) {
        if (!valid(options_)) { return failed({errc::invalid, "WebSocket options out of range"}); }
        if (status const ready = security_.ready(); !ready) { return failed(ready.error()); }
        if (request.size() > options_.limits.request_bytes_max) {
            return failed({errc::too_large, "request over the transport's limit"});
        }
        clock::time_point const deadline = clock::now() + options_.exchange_timeout;
        if (!connection_) {
            answer a = open(deadline);
            if (a.http_status == 401 && tokens_.object != nullptr) {
                if (status const refreshed = tokens_.refresh(tokens_.object); !refreshed) {
                    return failed(refreshed.error());
                }
                a = open(deadline);
            }
            if (a.failed) { return a; }
        }
        return talk(request, deadline);
    }

    [[nodiscard]] answer open(clock::time_point exchange_deadline) {
        namespace http = detail::beast_http;
        namespace websocket = detail::beast_websocket;
        std::string authorization;
        if (tokens_.object != nullptr) {
            result<std::string> const token = tokens_.token(tokens_.object);
            if (!token) { return failed(token.error()); }
            bool const clean = std::all_of(token->begin(), token->end(), [](char c) { return c > ' ' && c <= '~'; });
            if (!clean) { return failed({errc::invalid, "a token that no header can carry"}); }
            if (!token->empty()) { authorization = "Bearer " + *token; }
        }
        auto const deadline = (std::min)(exchange_deadline, clock::now() + options_.connect_timeout);
        auto const c = std::make_shared<connection>();
        connecting_ = c;
        answer const a = shake_hands(*c, authorization, deadline);
        connecting_.reset();
        if (!a.failed) {
            connection_ = c;
            read(c);
        }
        return a;
    }

    [[nodiscard]] answer shake_hands(connection& c, std::string const& authorization, clock::time_point deadline) {
        namespace http = detail::beast_http;
        namespace websocket = detail::beast_websocket;
        if (auto const refused =
                detail::connect_link(io_, security_, c.link, options_.host, options_.port, deadline, cancelled_)) {
            return failed(*refused);
        }
        c.socket.emplace(c.link->stream());
        c.socket->binary(true);
        c.socket->read_message_max(options_.limits.reply_bytes_max + carried_bytes_max);
        c.socket->set_option(websocket::stream_base::decorator([this, authorization](websocket::request_type& head) {
            head.set(http::field::user_agent, options_.user_agent);
            head.set(http::field::sec_websocket_protocol, websocket_subprotocol);
            if (!authorization.empty()) { head.set(http::field::authorization, authorization); }
        }));
        c.link->tcp().expires_at(deadline);
        websocket::response_type response;
        detail::http_operation shaking;
        c.socket->async_handshake(response, detail::host_header<Link>(options_.host, options_.port), options_.target,
                                  shaking.handler());
        shaking.wait(io_);
        c.link->tcp().expires_never();
        detail::asio_error const e = shaking.error();
        if (e == websocket::error::upgrade_declined) { return declined(response); }
        if (e == detail::beast::error::timeout) {
            return failed({errc::unreachable, "no WebSocket handshake in time", e.value()});
        }
        if (detail::is_websocket_error(e) || detail::is_http_syntax_error(e)) {
            return failed({errc::foreign, "the answer is no WebSocket", e.value()});
        }
        if (e) { return failed({errc::unreachable, "the connection broke in the handshake", e.value()}); }
        if (response[http::field::sec_websocket_protocol] != websocket_subprotocol) {
            c.link->tcp().close();
            return failed({errc::foreign, "a WebSocket that is not ours"});
        }
        return {};
    }
    [[nodiscard]] static answer declined(detail::beast_websocket::response_type const& response) {
        namespace http = detail::beast_http;
        auto const local = std::chrono::floor<milliseconds>(std::chrono::system_clock::now());
        int const code = static_cast<int>(response.result_int());
        status const said = from_http_status(code);
        answer a = failed(said ? failure{errc::foreign, "no WebSocket here", code} : said.error());
        a.http_status = code;
        a.retry_after = parse_retry_after(response[http::field::retry_after],
                                          parse_http_date(response[http::field::date], local).value_or(local));
        return a;
    }

    [[nodiscard]] answer talk(bytes_view request, clock::time_point deadline) {
        auto const c = connection_;
        awaited_ = ++number_;
        reply_.reset();
        lost_ = failure{errc::connection_lost, "the connection broke before the reply came"};
        c->outgoing = encode(carried{carried_kind::request, awaited_, request, {}, {}});
        c->writing = true;
        c->socket->async_write(detail::asio::buffer(c->outgoing.data(), c->outgoing.size()),
                               [this, c](detail::asio_error e, std::size_t) {
                                   c->writing = false;
                                   if (e && connection_ == c) { drop(); }
                               });
        while ((!reply_ || c->writing) && connection_ == c && !cancelled_) {
            if (clock::now() >= deadline) {
                lost_ = failure{errc::timed_out, "no reply in time"};
                break;
            }
            io_.restart();
            io_.run_one_until(deadline);
        }
        awaited_ = 0;
        if (reply_) { return std::move(*reply_); }
        if (connection_ == c) { drop(); }
        return failed(lost_);
    }

    void read(std::shared_ptr<connection> const& c) {
        c->socket->async_read(c->buffer, [this, c](detail::asio_error e, std::size_t) {
            if (connection_ != c) { return; }
            if (e) {
                if (e == detail::beast_websocket::error::message_too_big) {
                    lost_ = failure{errc::too_large, "message over the transport's limit"};
                } else if (detail::is_websocket_error(e)) {
                    lost_ = failure{errc::foreign, "not the WebSocket protocol", e.value()};
                }
                drop();
                return;
            }
            auto const data = c->buffer.cdata();
            take({static_cast<std::byte const*>(data.data()), data.size()}, c->socket->got_text());
            c->buffer.consume(data.size());
            if (connection_ == c) { read(c); }
        });
    }
    void take(bytes_view message, bool text) {
        auto const m = decode_carried(message);
        if (text || !m || m->kind == carried_kind::request) {
            lost_ = failure{errc::foreign, "not a message of ours"};
            drop();
            return;
        }
        if (m->kind != carried_kind::unasked) {
            if (m->number != awaited_ || reply_) { return; }  // of an exchange that was given up
            reply_.emplace();
            if (m->kind == carried_kind::failed) {
                reply_->failed = failure{m->error, "the peer answered so"};
                reply_->retry_after = m->retry_after;
            } else if (m->body.size() > options_.limits.reply_bytes_max) {
                reply_->failed = failure{errc::too_large, "reply over the transport's limit"};
            } else {
                reply_->body = to_bytes(m->body);
            }
            return;
        }
        arrived_.add(m->body, {options_.limits.reply_bytes_max, options_.unasked_max, options_.unasked_bytes_max});
    }

    websocket_options options_;
    typename Link::security_type security_;
    token_hooks tokens_{};
    detail::asio::io_context io_{1};  ///< its end destroys what is under way
    std::shared_ptr<connection> connecting_{};
    std::shared_ptr<connection> connection_{};
    detail::live_inbox arrived_{};
    std::uint64_t number_ = 0;
    std::uint64_t awaited_ = 0;  ///< the exchange under way; 0: none
    std::optional<answer> reply_{};
    failure lost_{errc::connection_lost};
    bool cancelled_ = false;  ///< set by `cancel`, on the thread of `exchange`
};

/// A WebSocket without TLS: for tests, for a closed network, behind a tunnel.
using websocket_transport = basic_websocket_transport<detail::plain_link>;
static_assert(live_transport<websocket_transport>);

}  // namespace syncline::inline SYNCLINE_ABI
