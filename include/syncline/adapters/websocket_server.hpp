// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A small WebSocket server (RFC 6455) that tells subscribed devices of news, over Boost.Beast.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>

#include <syncline/adapters/http_beast.hpp>
#include <syncline/adapters/http_server.hpp>
#include <syncline/adapters/http_status.hpp>
#include <syncline/adapters/websocket_client.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/transport/carried.hpp>
#include <syncline/transport/live_frame.hpp>
#include <syncline/transport/live_hub.hpp>
#include <syncline/transport/loopback.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Where a server listens and what it takes of a stranger.
///
/// Memory: at most about `connections_max` times the limits on one request, its reply, the header and what the hub lets
/// wait for one member.
struct websocket_server_options {
    std::string address = "127.0.0.1";  ///< to listen on; "0.0.0.0" or "::" for all
    std::uint16_t port = 0;             ///< 0: any that is free; `port()` tells
    std::string path = "/live";         ///< of the one resource that is a WebSocket; a query is not looked at
    std::size_t request_bytes_max = std::size_t{16} << 20;  ///< a longer message ends the connection
    std::uint32_t header_bytes_max = 16 * 1024;             ///< a longer header is answered with 431
    std::size_t connections_max = 1024;                     ///< one more is answered with 503
    milliseconds handshake_timeout{10'000};  ///< from the connection to the end of the WebSocket's handshake; > 0
    milliseconds idle_timeout{75'000};       ///< one that sends nothing for up to twice this is closed; > 0
};
/// Whether every member is in its range.
[[nodiscard]] inline bool valid(websocket_server_options const& o) noexcept {
    return !o.path.empty() && o.path.front() == '/' && o.header_bytes_max > 0 && o.connections_max > 0 &&
           o.handshake_timeout.count() > 0 && o.idle_timeout.count() > 0;
}

/// Listens, lets devices subscribe with a hub, and answers their other requests by a handler.
///
/// A device's requests are answered one at a time, in order; the next is read when the reply is written. What the hub
/// has for it goes out between replies; one that reads too slowly makes the hub's queue of it overflow, and hears that
/// it missed some. One that sends nothing, not even a heartbeat, and one that does not read at all, is closed.
/// Threads: everything runs on the thread that calls `run`, handler and hooks too; only `publish` and `stop` may be called
/// from another. The hub is the server's own; handler and hooks are borrowed and must outlive it.
template <class Link>
class basic_websocket_server {
public:
    using security_options = typename Link::options_type;

    /// `life` is the hub's: random, another one for each server that is made.
    template <http_handler H, topic_policy M>
    basic_websocket_server(websocket_server_options options, id128 life, H& handler, M& may,
                           live_hub_options const& hub = {}, security_options const& security = {})
        : options_(std::move(options)),
          security_(security),
          hub_(life, hub),
          handler_{&handler, [](void* object, request_context const& who,
                                bytes_view body) { return peer_reply((*static_cast<H*>(object))(who, body)); }},
          may_(may) {}
    basic_websocket_server(basic_websocket_server const&) = delete;
    basic_websocket_server& operator=(basic_websocket_server const&) = delete;
    ~basic_websocket_server() = default;

    /// Asks `authorise` about the token of each handshake. Before `listen`.
    template <http_authoriser A>
    void authorise_by(A& authorise) noexcept {
        authoriser_ = {&authorise, [](void* object, std::string_view bearer) -> result<std::string> {
                           return (*static_cast<A*>(object))(bearer);
                       }};
    }

    /// Begins to listen. Once. Errors as of `basic_http_server::listen`.
    [[nodiscard]] status listen() {
        if (!valid(options_)) { return failure{errc::invalid, "WebSocket server options out of range"}; }
        if (status const ready = security_.ready(); !ready) { return ready.error(); }
        if (auto const refused = detail::open_acceptor(io_, options_.address, options_.port, acceptor_)) {
            return *refused;
        }
        detail::asio_error e;
        port_ = acceptor_->local_endpoint(e).port();
        accept();
        return {};
    }
    /// The port that it listens on; 0 before `listen` succeeded.
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

    /// Serves until `stop` is called; at once back when it does not listen.
    void run() {
        io_.restart();
        io_.run();
    }
    /// Serves for so long, or until `stop` is called.
    void run_for(milliseconds duration) {
        io_.restart();
        io_.run_for(duration);
    }
    /// Makes the `run` that is under way, or else the next one, return. Callable from any thread. Connections stay open.
    void stop() {
        if (!stopping_.exchange(true)) {
            detail::asio::post(io_, [this] {
                stopping_ = false;
                io_.stop();
            });
        }
    }
    /// Tells those who subscribed that there is something new at a topic, up to a position: after the commit. Callable from
    /// any thread; it is done by `run`. Precondition: `valid_live_topic(topic)`.
    void publish(std::string_view topic, std::uint64_t newest) {
        SYNCLINE_ASSERT(valid_live_topic(topic));
        detail::asio::post(io_, [this, name = std::string(topic), newest] {
            hub_.publish(name, newest);
            tell();
        });
    }
    /// Sends every connection a message in the host's own words. Callable from any thread.
    void tell_all(bytes_view message) {
        detail::asio::post(io_, [this, copy = to_bytes(message)] {
            for (auto const& [member, s] : members_) { (void)hub_.tell(member, copy); }
            tell();
        });
    }
    /// How many connections are open. Where `run` runs, or while it doesn't.
    [[nodiscard]] std::size_t connections() const noexcept { return sessions_.size(); }
    /// How many devices have shaken hands. As above.
    [[nodiscard]] std::size_t members() const noexcept { return members_.size(); }

private:
    using tcp = detail::asio_tcp;
    using clock = std::chrono::steady_clock;

    struct handler_hook {
        void* object = nullptr;
        peer_reply (*call)(void*, request_context const&, bytes_view) = nullptr;
    };
    struct authoriser_hook {
        void* object = nullptr;
        result<std::string> (*call)(void*, std::string_view) = nullptr;
    };

    [[nodiscard]] static monotonic_time now() { return std::chrono::time_point_cast<milliseconds>(clock::now()); }

    /// One connection, from accept to close; kept alive by its pending operations.
    class session : public std::enable_shared_from_this<session> {
    public:
        session(basic_websocket_server& server, tcp::socket socket)
            : server_(server), link_(std::move(socket), server.security_), peer_(detail::peer_name(link_.tcp())) {
            detail::asio_error e;
            link_.tcp().socket().set_option(tcp::no_delay(true), e);
            server_.sessions_.push_back(this);
        }
        session(session const&) = delete;
        session& operator=(session const&) = delete;
        ~session() {
            leave();
            std::erase(server_.sessions_, this);
        }

        void start() {
            link_.tcp().expires_after(server_.options_.handshake_timeout);
            if constexpr (Link::secure) {
                link_.async_handshake([self = this->shared_from_this()](detail::asio_error e) {
                    if (!e) { self->read_header(); }
                });
            } else {
                read_header();
            }
        }
        /// Sends the next message, if there is one and none is on its way.
        void pump() {
            if (writing_ || !member_) { return; }
            if (reply_) {
                outgoing_ = std::move(*reply_);
                reply_.reset();
                write(true);
            } else if (auto const message = server_.hub_.take(*member_)) {
                outgoing_ = encode(carried{carried_kind::unasked, 0, *message, {}, {}});
                write(false);
            }
        }

    private:
        using field = detail::beast_http::field;

        void read_header() {
            parser_.header_limit(server_.options_.header_bytes_max);
            parser_.body_limit(0);
            detail::beast_http::async_read(link_.stream(), buffer_, parser_,
                                           [self = this->shared_from_this()](detail::asio_error e, std::size_t) {
                                               if (!e) {
                                                   self->judge();
                                               } else if (e == detail::beast_http::error::header_limit) {
                                                   self->refuse(431);
                                               } else if (detail::is_http_syntax_error(e)) {
                                                   self->refuse(e == detail::beast_http::error::body_limit ? 413 : 400);
                                               }
                                           });
        }

        void judge() {
            auto const& head = parser_.get();
            std::string_view const target = head.target();
            if (target.substr(0, target.find('?')) != server_.options_.path) { return refuse(404); }
            if (!detail::beast_websocket::is_upgrade(head)) { return refuse(426); }
            if (head[field::sec_websocket_protocol] != websocket_subprotocol) { return refuse(400); }
            bearer_ = detail::bearer_token(head[field::authorization]);
            if (server_.authoriser_.object != nullptr) {
                auto principal = server_.authoriser_.call(server_.authoriser_.object, bearer_);
                if (!principal) { return refuse(to_http_status(principal.error().code)); }
                principal_ = std::move(*principal);
            }
            if (server_.members_.size() >= server_.options_.connections_max) { return refuse(503, milliseconds{1000}); }
            accept();
        }

        void accept() {
            namespace websocket = detail::beast_websocket;
            link_.tcp().expires_never();  // from now on the WebSocket's own times count
            socket_.emplace(link_.stream());
            websocket::stream_base::timeout times{};
            times.handshake_timeout = server_.options_.handshake_timeout;
            times.idle_timeout = server_.options_.idle_timeout;
            times.keep_alive_pings = false;
            socket_->set_option(times);
            socket_->set_option(websocket::stream_base::decorator([](websocket::response_type& head) {
                head.set(field::sec_websocket_protocol, websocket_subprotocol);
            }));
            socket_->binary(true);
            socket_->read_message_max(server_.options_.request_bytes_max + carried_bytes_max);
            socket_->async_accept(parser_.get(), [self = this->shared_from_this()](detail::asio_error e) {
                if (!e) { self->join(); }
            });
        }

        void join() {
            auto const joined = server_.hub_.join(principal_, now());
            if (!joined) { return link_.tcp().close(); }
            member_ = *joined;
            server_.members_.emplace(*member_, this);
            read();
        }
        void leave() {
            if (!member_) { return; }
            server_.hub_.leave(*member_);
            server_.members_.erase(*member_);
            member_.reset();
        }
        /// Ends the connection; the operations under way fail and let go of it.
        void end() {
            leave();
            link_.tcp().close();
        }

        void read() {
            socket_->async_read(buffer_, [self = this->shared_from_this()](detail::asio_error e, std::size_t) {
                if (e) { return self->end(); }
                self->on_message();
            });
        }

        void on_message() {
            auto const data = buffer_.cdata();
            auto const m = decode_carried({static_cast<std::byte const*>(data.data()), data.size()});
            if (socket_->got_text() || !m || m->kind != carried_kind::request) { return end(); }
            peer_reply answer = m->body.size() > server_.options_.request_bytes_max ? peer_reply(errc::too_large)
                                                                                    : server_.answer(*this, m->body);
            carried out{carried_kind::reply, m->number, {}, {}, answer.retry_after};
            if (answer.message) {
                out.body = *answer.message;
            } else {
                out.kind = carried_kind::failed;
                out.error = answer.message.error().code;
                if (out.retry_after && out.retry_after->count() < 0) { out.retry_after.reset(); }
            }
            reply_ = encode(out);
            buffer_.consume(data.size());
            pump();
            server_.tell();
        }

        void write(bool reply) {
            writing_ = true;
            socket_->async_write(detail::asio::buffer(outgoing_.data(), outgoing_.size()),
                                 [self = this->shared_from_this(), reply](detail::asio_error e, std::size_t) {
                                     self->writing_ = false;
                                     if (e) { return self->end(); }
                                     if (reply) { self->read(); }
                                     self->pump();
                                 });
        }

        void refuse(int code, std::optional<milliseconds> retry_after = {}) {
            namespace http = detail::beast_http;
            response_.result(static_cast<unsigned>(code));
            response_.version(11);
            response_.set(field::date,
                          format_http_date(std::chrono::floor<milliseconds>(std::chrono::system_clock::now())));
            response_.set(field::content_type, "text/plain; charset=utf-8");
            if (code == 401) { response_.set(field::www_authenticate, "Bearer"); }
            if (code == 426) { response_.set(field::upgrade, "websocket"); }
            if (retry_after) {
                response_.set(field::retry_after,
                              std::to_string(std::chrono::ceil<std::chrono::seconds>(*retry_after).count()));
            }
            response_.keep_alive(false);
            response_.body() = std::string(http::obsolete_reason(response_.result()));
            response_.prepare_payload();
            http::async_write(link_.stream(), response_,
                              [self = this->shared_from_this()](detail::asio_error e, std::size_t) {
                                  if (!e) { self->part(); }
                              });
        }
        /// Closing while bytes are on their way here would reset the connection and destroy the answer.
        void part() {
            link_.tcp().expires_after(lingering_max);
            if constexpr (Link::secure) {
                link_.stream().async_shutdown(
                    [self = this->shared_from_this()](detail::asio_error) { self->link_.tcp().close(); });
            } else {
                detail::asio_error e;
                link_.tcp().socket().shutdown(tcp::socket::shutdown_send, e);
                if (!e) { linger(); }
            }
        }
        void linger() {
            buffer_.clear();
            link_.tcp().async_read_some(buffer_.prepare(4096),
                                        [self = this->shared_from_this()](detail::asio_error e, std::size_t) {
                                            if (!e) { self->linger(); }
                                        });
        }

        static constexpr milliseconds lingering_max{2000};

        friend basic_websocket_server;

        basic_websocket_server& server_;
        Link link_;
        std::string peer_;
        detail::beast::flat_buffer buffer_;
        detail::beast_http::request_parser<detail::beast_http::empty_body> parser_;
        detail::beast_http::response<detail::beast_http::string_body> response_;
        std::optional<detail::websocket_over<Link>> socket_;
        std::string bearer_;
        std::string principal_;
        std::optional<live_hub::member> member_;
        std::optional<bytes> reply_;  ///< to be written before anything else
        bytes outgoing_;              ///< what is on its way
        bool writing_ = false;
    };

    [[nodiscard]] peer_reply answer(session& s, bytes_view body) {
        if (is_live_frame(body)) { return hub_.answer(*s.member_, body, now(), may_); }
        hub_.heard(*s.member_, now());
        return handler_.call(handler_.object, request_context{s.principal_, s.bearer_, s.peer_}, body);
    }
    /// Begins to send what the hub has for those who are not being sent anything.
    void tell() {
        while (auto const member = hub_.next_ready()) {
            auto const at = members_.find(*member);
            if (at != members_.end()) { at->second->pump(); }
        }
    }

    void accept() {
        acceptor_->async_accept([this](detail::asio_error e, tcp::socket socket) {
            if (e == detail::asio::error::operation_aborted) { return; }
            if (e) {  // descriptors ran out, most likely: asking again at once would spin
                pause_.expires_after(accept_pause);
                pause_.async_wait([this](detail::asio_error cancelled) {
                    if (!cancelled) { accept(); }
                });
                return;
            }
            // Those that have not shaken hands are bounded too, and by their time.
            if (sessions_.size() < options_.connections_max + strangers_max) {
                std::make_shared<session>(*this, std::move(socket))->start();
            }
            accept();
        });
    }

    static constexpr std::size_t strangers_max = 64;  ///< connections beyond the limit that are told so
    static constexpr milliseconds accept_pause{100};

    websocket_server_options options_;
    typename Link::security_type security_;
    live_hub hub_;
    handler_hook handler_;
    function_ref<bool(std::string_view, std::string_view)> may_;
    authoriser_hook authoriser_{};
    std::uint16_t port_ = 0;
    std::atomic<bool> stopping_{false};
    std::vector<session*> sessions_;                ///< these before io_, whose end destroys the sessions
    std::map<live_hub::member, session*> members_;  ///< that have shaken hands
    detail::asio::io_context io_{1};
    detail::asio::steady_timer pause_{io_};
    std::optional<tcp::acceptor> acceptor_;
};

/// A WebSocket server without TLS: for tests, for a closed network, behind a proxy.
using websocket_server = basic_websocket_server<detail::plain_link>;

}  // namespace syncline::inline SYNCLINE_ABI
