// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A small HTTP/1.1 server for one handler, over Boost.Beast: for examples, tests and small deployments.

#include <algorithm>
#include <atomic>
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

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <syncline/adapters/http_beast.hpp>
#include <syncline/adapters/http_status.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/transport/loopback.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {

/// The token of an Authorization header of scheme Bearer, whose name is matched without case; else empty.
[[nodiscard]] inline std::string_view bearer_token(std::string_view authorization) noexcept {
    constexpr std::string_view scheme = "Bearer ";
    if (!beast::iequals(authorization.substr(0, scheme.size()), scheme)) { return {}; }
    authorization.remove_prefix(scheme.size());
    authorization.remove_prefix((std::min)(authorization.find_first_not_of(' '), authorization.size()));
    return authorization;
}

/// Listens at an address; why it can't, with the system's number, `acceptor` then empty.
[[nodiscard]] inline std::optional<failure> open_acceptor(asio::io_context& io, std::string const& address,
                                                          std::uint16_t port,
                                                          std::optional<asio_tcp::acceptor>& acceptor) {
    asio_error e;
    auto const parsed = asio::ip::make_address(address, e);
    if (e) { return failure{errc::invalid, "not an address to listen on", e.value()}; }
    try {
        asio_tcp::endpoint const at(parsed, port);
        acceptor.emplace(io);
        acceptor->open(at.protocol(), e);
        if (!e) { acceptor->set_option(asio_tcp::acceptor::reuse_address(true), e); }
        if (!e) { acceptor->bind(at, e); }
        if (!e) { acceptor->listen(asio::socket_base::max_listen_connections, e); }
        if (!e) { static_cast<void>(acceptor->local_endpoint(e)); }
    } catch (boost::system::system_error const& refused) {  // Asio has no other way to say it
        e = refused.code();
    }
    if (!e) { return std::nullopt; }
    acceptor.reset();
    return failure{errc::unreachable, "can't listen", e.value()};
}

/// Address and port of the other end; empty when it has gone.
[[nodiscard]] inline std::string peer_name(beast::tcp_stream& stream) {
    asio_error e;
    auto const remote = stream.socket().remote_endpoint(e);
    if (e) { return {}; }
    bool const six = remote.address().is_v6();
    return (six ? "[" : "") + remote.address().to_string() + (six ? "]:" : ":") + std::to_string(remote.port());
}

}  // namespace detail

/// Where a server listens and what it takes of a stranger.
///
/// Memory: at most about `connections_max` times the two limits on bytes, and the replies under way.
struct http_server_options {
    std::string address = "127.0.0.1";  ///< to listen on; "0.0.0.0" or "::" for all
    std::uint16_t port = 0;             ///< 0: any that is free; `http_server::port()` tells
    std::string path = "/sync";         ///< of the one resource that takes requests; a query is not looked at
    std::size_t request_bytes_max = std::size_t{16} << 20;  ///< a longer body is answered with 413
    std::uint32_t header_bytes_max = 16 * 1024;             ///< a longer header is answered with 431
    std::size_t connections_max = 64;     ///< one more takes the place of the longest idle, or is answered with 503
    milliseconds header_timeout{10'000};  ///< from a request's first byte, or the connection, to the header's last
    milliseconds body_timeout{30'000};    ///< for a body
    milliseconds write_timeout{30'000};   ///< for a reply
    milliseconds idle_timeout{60'000};    ///< between requests on one connection; 0: a connection is for one request
};

/// Whether every member is in its range.
[[nodiscard]] inline bool valid(http_server_options const& o) noexcept {
    return !o.path.empty() && o.path.front() == '/' && o.header_bytes_max > 0 && o.connections_max > 0 &&
           o.header_timeout.count() > 0 && o.body_timeout.count() > 0 && o.write_timeout.count() > 0 &&
           o.idle_timeout.count() >= 0;
}

/// Who asks. Borrowed for the handler's call.
struct request_context {
    std::string_view principal{};  ///< what `authorise` made of the token; empty without such a hook
    std::string_view bearer{};     ///< the bearer token as it came, unchecked where there is no hook; may be empty
    std::string_view peer{};       ///< address and port of the other end, which may be a proxy's
};

/// What a GET hook answers.
struct http_page {
    int http_status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::string body{};
};

/// Answers a request. The bytes and the context live for the call only; it must not throw.
template <class H>
concept http_handler = requires(H& h, request_context const& who, bytes_view body) {
    { h(who, body) } -> std::convertible_to<peer_reply>;
};

/// The answer to one request that is given later. A copy is as good; what it answers once is answered.
class http_later {
public:
    http_later() = default;
    http_later(std::weak_ptr<void> connection, std::uint64_t request,
               bool (*answer)(void*, std::uint64_t, peer_reply*)) noexcept
        : connection_(std::move(connection)), request_(request), call_(answer) {}

    /// Answers. False when nobody waits for it any more: it was answered, or the connection is gone. Where `run` runs.
    bool operator()(peer_reply reply) const { return call(&reply); }
    /// Whether somebody waits for it. As above.
    [[nodiscard]] bool waits() const { return call(nullptr); }

private:
    bool call(peer_reply* reply) const {
        auto const held = connection_.lock();
        return held && call_(held.get(), request_, reply);
    }

    std::weak_ptr<void> connection_{};
    std::uint64_t request_ = 0;
    bool (*call_)(void*, std::uint64_t, peer_reply*) = nullptr;
};

/// Answers a request as `http_handler` does, or answers nothing, and by `later` when it likes to, once: in the call itself
/// too, and what it returns then is not looked at. Meanwhile the connection has no time-out of its own, and ends when the
/// other end closes it or sends anything.
template <class H>
concept http_late_handler = requires(H& h, request_context const& who, bytes_view body, http_later const& later) {
    { h(who, body, later) } -> std::same_as<std::optional<peer_reply>>;
};

/// Says whose a bearer token is (empty if none was sent), before the body is read. A failure is answered with its
/// status, `errc::unauthorised` for instance, and the handler is not called.
template <class A>
concept http_authoriser = requires(A& a, std::string_view bearer) {
    { a(bearer) } -> std::convertible_to<result<std::string>>;
};

/// Answers GET requests on other paths, health checks for instance; nothing for a path that does not exist. Not
/// asked for authorisation.
template <class P>
concept http_pages = requires(P& p, std::string_view path) {
    { p(path) } -> std::convertible_to<std::optional<http_page>>;
};

/// Listens, and answers POST requests on one path by a handler.
///
/// A handler's failure becomes an HTTP status by `to_http_status`, its hint a Retry-After in whole seconds, rounded
/// up. Requests must have the content type `http_content_type` (415 otherwise, which also keeps forms on foreign web
/// pages out).
/// Threads: everything runs on the thread that calls `run`; only `stop` may be called from another. Handlers and
/// hooks are borrowed, must outlive the server, and run inside `run`.
template <class Link>
class basic_http_server {
public:
    using security_options = typename Link::options_type;

    template <http_handler H>
    basic_http_server(http_server_options options, H& handler, security_options const& security = {})
        : options_(std::move(options)),
          security_(security),
          handler_{&handler, [](void* object, request_context const& who, bytes_view body, http_later const&) {
                       return std::optional<peer_reply>((*static_cast<H*>(object))(who, body));
                   }} {}
    /// With a handler that may answer later.
    template <http_late_handler H>
    basic_http_server(http_server_options options, H& handler, security_options const& security = {})
        : options_(std::move(options)),
          security_(security),
          handler_{&handler, [](void* object, request_context const& who, bytes_view body, http_later const& later) {
                       return (*static_cast<H*>(object))(who, body, later);
                   }} {}
    basic_http_server(basic_http_server const&) = delete;
    basic_http_server& operator=(basic_http_server const&) = delete;
    ~basic_http_server() = default;

    /// Asks `authorise` about the token of each request. Before `listen`.
    template <http_authoriser A>
    void authorise_by(A& authorise) noexcept {
        authoriser_ = {&authorise, [](void* object, std::string_view bearer) -> result<std::string> {
                           return (*static_cast<A*>(object))(bearer);
                       }};
    }
    /// Answers GET requests by `pages`. Before `listen`.
    template <http_pages P>
    void get_by(P& pages) noexcept {
        pages_ = {&pages, [](void* object, std::string_view path) -> std::optional<http_page> {
                      return (*static_cast<P*>(object))(path);
                  }};
    }

    /// Begins to listen. Once. `errc::invalid` for options out of range, `errc::unreachable` where the system does not
    /// let it listen there, the system's number in `native`. With TLS also `errc::invalid` for a certificate or a key
    /// that can't be used.
    [[nodiscard]] status listen() {
        if (!valid(options_)) { return failure{errc::invalid, "HTTP server options out of range"}; }
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
    /// Makes the `run` that is under way, or else the next one, return. Callable from any thread; not from a signal
    /// handler: see `stop_on_signal`. Connections stay open, and a later `run` goes on with them.
    void stop() {
        if (!stopping_.exchange(true)) {
            detail::asio::post(io_, [this] {
                stopping_ = false;
                io_.stop();
            });
        }
    }
    /// Makes such a signal (SIGTERM, SIGINT) call `stop`, in this process, as long as the server lives. Before `run`.
    [[nodiscard]] status stop_on_signal(int signal) {
        detail::asio_error e;
        try {
            if (!signals_) {
                signals_.emplace(io_);
                await_signal();
            }
            signals_->add(signal, e);
        } catch (boost::system::system_error const& refused) { e = refused.code(); }
        if (e) { return failure{errc::invalid, "can't wait for the signal", e.value()}; }
        return {};
    }
    /// What it runs on: for the timers of a handler that answers later, and what is posted to it from other threads.
    [[nodiscard]] detail::asio::io_context& context() noexcept { return io_; }
    /// How many connections are open. Where `run` runs, or while it doesn't.
    [[nodiscard]] std::size_t connections() const noexcept { return sessions_.size(); }

private:
    using tcp = detail::asio_tcp;
    using clock = std::chrono::steady_clock;

    struct handler_hook {
        void* object = nullptr;
        std::optional<peer_reply> (*call)(void*, request_context const&, bytes_view, http_later const&) = nullptr;
    };
    struct authoriser_hook {
        void* object = nullptr;
        result<std::string> (*call)(void*, std::string_view) = nullptr;
    };
    struct pages_hook {
        void* object = nullptr;
        std::optional<http_page> (*call)(void*, std::string_view) = nullptr;
    };

    /// One connection, from accept to close; kept alive by its pending operation.
    class session : public std::enable_shared_from_this<session> {
    public:
        session(basic_http_server& server, tcp::socket socket, bool welcome)
            : server_(server),
              link_(std::move(socket), server.security_),
              welcome_(welcome),
              peer_(detail::peer_name(link_.tcp())) {
            detail::asio_error e;
            link_.tcp().socket().set_option(tcp::no_delay(true), e);
            server_.sessions_.push_back(this);
        }
        session(session const&) = delete;
        session& operator=(session const&) = delete;
        ~session() { std::erase(server_.sessions_, this); }

        void start() {
            if constexpr (Link::secure) {
                shake_hands();
            } else {
                begin();
            }
        }
        /// Since when no request is under way; empty while one is.
        [[nodiscard]] std::optional<clock::time_point> idle_since() const noexcept { return idle_since_; }
        /// Ends it; its pending operation fails and lets go of it. It counts no more from now on.
        void close() {
            std::erase(server_.sessions_, this);
            link_.tcp().close();
        }

    private:
        using request_parser = detail::beast_http::request_parser<detail::beast_http::string_body>;
        using response = detail::beast_http::response<detail::beast_http::span_body<char const>>;
        using field = detail::beast_http::field;

        /// A connection that was not welcome is told so only after this: before it, nothing that it would understand
        /// can be said.
        void shake_hands() {
            if (welcome_) { idle_since_ = clock::now(); }
            link_.tcp().expires_after(server_.security_.handshake_timeout());
            link_.async_handshake([self = this->shared_from_this()](detail::asio_error e) {
                self->idle_since_.reset();
                if (!e) { self->begin(); }
            });
        }

        void begin() {
            if (welcome_) {
                await_request(server_.options_.header_timeout);
            } else {
                refuse(503, false, milliseconds{1000});
            }
        }

        void await_request(milliseconds patience) {
            parser_.reset();
            if (buffer_.size() != 0) {  // the next request came along with the last one
                read_header();
                return;
            }
            idle_since_ = clock::now();
            link_.tcp().expires_after(patience);
            link_.stream().async_read_some(buffer_.prepare(4096),
                                           [self = this->shared_from_this()](detail::asio_error e, std::size_t n) {
                                               self->idle_since_.reset();
                                               if (e) { return; }
                                               self->buffer_.commit(n);
                                               self->read_header();
                                           });
        }

        void read_header() {
            parser_.emplace();
            parser_->header_limit(server_.options_.header_bytes_max);
            parser_->body_limit(boost::none);  // judged when the header is known
            link_.tcp().expires_after(server_.options_.header_timeout);
            detail::beast_http::async_read_header(
                link_.stream(), buffer_, *parser_,
                [self = this->shared_from_this()](detail::asio_error e, std::size_t) { self->on_header(e); });
        }

        void on_header(detail::asio_error e) {
            if (e) {
                if (e == detail::beast_http::error::header_limit) {
                    refuse(431, false);
                } else if (detail::is_http_syntax_error(e)) {
                    refuse(400, false);
                }
                return;
            }
            auto const& head = parser_->get();
            bool const keep = server_.options_.idle_timeout.count() > 0 && head.keep_alive();
            auto const length = parser_->content_length();
            refusal_ = judge();
            bool const too_long = length && *length > server_.options_.request_bytes_max;
            if (refusal_.http_status == 0 && too_long) { refusal_.http_status = 413; }
            if (refusal_.http_status != 0) {
                // The body of a refused request is read only if that is a cheap way to keep the connection.
                bool const brief = !parser_->chunked() && (!length || *length <= discarded_bytes_max);
                if (!brief) {
                    respond_refusal(false);
                    return;
                }
                parser_->body_limit(discarded_bytes_max);
            } else {
                parser_->body_limit(server_.options_.request_bytes_max);
            }
            if (refusal_.http_status == 0 && detail::beast::iequals(head[field::expect], "100-continue")) {
                invite(keep);
            } else {
                read_body(keep);
            }
        }

        /// Tells a client that waits for it to send the body.
        void invite(bool keep) {
            static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
            link_.tcp().expires_after(server_.options_.write_timeout);
            detail::asio::async_write(link_.stream(), detail::asio::buffer(go_on.data(), go_on.size()),
                                      [self = this->shared_from_this(), keep](detail::asio_error e, std::size_t) {
                                          if (!e) { self->read_body(keep); }
                                      });
        }

        void read_body(bool keep) {
            link_.tcp().expires_after(server_.options_.body_timeout);
            detail::beast_http::async_read(
                link_.stream(), buffer_, *parser_,
                [self = this->shared_from_this(), keep](detail::asio_error e, std::size_t) { self->on_body(e, keep); });
        }

        void on_body(detail::asio_error e, bool keep) {
            if (e == detail::beast_http::error::body_limit) {
                refuse(413, false);
            } else if (e && detail::is_http_syntax_error(e)) {
                refuse(400, false);
            } else if (!e && refusal_.http_status != 0) {
                respond_refusal(keep);
            } else if (!e) {
                answer(keep);
            }
        }

        /// What is wrong with the request by its header, as an HTTP status; 0 if nothing is, or a page of the GET hook.
        struct refusal {
            int http_status = 0;
            std::optional<milliseconds> retry_after{};
            std::optional<http_page> page{};
        };

        [[nodiscard]] refusal judge() {
            namespace http = detail::beast::http;
            auto const& head = parser_->get();
            std::string_view const target = head.target();
            std::string_view const path = target.substr(0, target.find('?'));
            if (path != server_.options_.path) {
                if (head.method() == http::verb::get && server_.pages_.object != nullptr) {
                    if (auto page = server_.pages_.call(server_.pages_.object, path)) {
                        return {page->http_status, {}, std::move(page)};
                    }
                }
                return {404, {}, {}};
            }
            if (head.method() != http::verb::post) { return {405, {}, {}}; }
            bearer_ = detail::bearer_token(head[field::authorization]);
            principal_.clear();
            if (server_.authoriser_.object != nullptr) {
                auto principal = server_.authoriser_.call(server_.authoriser_.object, bearer_);
                if (!principal) { return {to_http_status(principal.error().code), {}, {}}; }
                principal_ = std::move(*principal);
            }
            if (!is_http_content_type(head[field::content_type]) || head.find(field::content_encoding) != head.end()) {
                return {415, {}, {}};
            }
            return {};
        }

        void answer(bool keep) {
            std::string const& body = parser_->get().body();
            request_context const who{principal_, bearer_, peer_};
            ++request_;
            http_later const later(this->weak_from_this(), request_, &session::answer_later);
            held_ = keep;  // before the call, which may itself answer by `later`
            auto reply = server_.handler_.call(server_.handler_.object, who, as_bytes(body), later);
            if (!held_) { return; }
            if (reply) {
                held_.reset();
                return give(std::move(*reply), keep);
            }
            link_.tcp().expires_never();
            watch();
        }

        static bool answer_later(void* object, std::uint64_t request, peer_reply* reply) {
            auto& self = *static_cast<session*>(object);
            if (!self.held_ || self.request_ != request) { return false; }
            if (reply != nullptr) {
                bool const keep = *self.held_;
                self.held_.reset();
                detail::asio_error e;
                self.link_.tcp().socket().cancel(e);  // the watch alone is under way
                self.give(std::move(*reply), keep);
            }
            return true;
        }
        /// While an answer is awaited: whoever closes the connection, or speaks out of turn, is gone.
        void watch() {
            link_.tcp().socket().async_wait(tcp::socket::wait_read,
                                            [self = this->shared_from_this()](detail::asio_error e) {
                                                if (e || !self->held_) { return; }
                                                self->held_.reset();
                                                self->close();
                                            });
        }

        void give(peer_reply reply, bool keep) {
            if (!reply.message) {
                refuse(to_http_status(reply.message.error().code), keep, reply.retry_after);
                return;
            }
            payload_ = std::move(*reply.message);
            respond(200, http_content_type, keep, reply.retry_after);
        }

        void refuse(int http_status, bool keep, std::optional<milliseconds> retry_after = {}) {
            refusal_ = {http_status, retry_after, {}};
            respond_refusal(keep);
        }
        void respond_refusal(bool keep) {
            if (refusal_.page) {
                payload_ = to_bytes(refusal_.page->body);
                std::string const type = std::move(refusal_.page->content_type);
                respond(refusal_.http_status, type, keep, {});
                return;
            }
            auto const reason = detail::beast_http::obsolete_reason(
                static_cast<detail::beast_http::status>(static_cast<unsigned>(refusal_.http_status)));
            payload_ = to_bytes(std::string_view(reason.data(), reason.size()));
            respond(refusal_.http_status, "text/plain; charset=utf-8", keep, refusal_.retry_after);
        }

        void respond(int http_status, std::string_view content_type, bool keep,
                     std::optional<milliseconds> retry_after) {
            auto const now = std::chrono::floor<milliseconds>(std::chrono::system_clock::now());
            std::string_view const text = as_text(payload_);
            response_.emplace();
            response_->result(static_cast<unsigned>(http_status));
            response_->version(11);
            response_->set(field::date, format_http_date(now));
            response_->set(field::content_type, content_type);
            response_->set(field::cache_control, "no-store");
            if (http_status == 401) { response_->set(field::www_authenticate, "Bearer"); }
            if (http_status == 405) { response_->set(field::allow, "POST"); }
            if (retry_after && retry_after->count() >= 0) {
                auto const seconds = std::chrono::ceil<std::chrono::seconds>(*retry_after);
                response_->set(field::retry_after, std::to_string(seconds.count()));
            }
            response_->keep_alive(keep);
            response_->body() = detail::beast::span<char const>(text.data(), text.size());
            response_->content_length(text.size());
            link_.tcp().expires_after(server_.options_.write_timeout);
            detail::beast_http::async_write(link_.stream(), *response_,
                                            [self = this->shared_from_this(), keep](detail::asio_error e, std::size_t) {
                                                self->on_written(e, keep);
                                            });
        }

        void on_written(detail::asio_error e, bool keep) {
            if (e) { return; }
            response_.reset();
            payload_ = {};
            if (keep) {
                await_request(server_.options_.idle_timeout);
                return;
            }
            part();
        }

        /// Closing while bytes are on their way here would reset the connection and destroy the answer.
        void part() {
            link_.tcp().expires_after(lingering_max);
            if constexpr (Link::secure) {
                // Waits for the other end's farewell too. If that does not come, for it is still sending, ours is out.
                link_.stream().async_shutdown(
                    [self = this->shared_from_this()](detail::asio_error) { self->end_sending(); });
            } else {
                end_sending();
            }
        }

        void end_sending() {
            detail::asio_error e;
            link_.tcp().socket().shutdown(tcp::socket::shutdown_send, e);
            if (!e) { linger(); }
        }

        /// Reads what comes, and if it was encrypted, it stays so.
        void linger() {
            buffer_.clear();
            link_.tcp().async_read_some(buffer_.prepare(64 * 1024),
                                        [self = this->shared_from_this()](detail::asio_error e, std::size_t) {
                                            if (!e) { self->linger(); }
                                        });
        }

        static constexpr std::uint64_t discarded_bytes_max = 64 * 1024;
        static constexpr milliseconds lingering_max{2000};

        basic_http_server& server_;
        Link link_;
        bool welcome_;
        std::string peer_;
        detail::beast::flat_buffer buffer_;
        std::optional<request_parser> parser_;
        std::optional<response> response_;
        bytes payload_;  ///< what `response_` sends
        refusal refusal_;
        std::string bearer_;
        std::string principal_;
        std::optional<clock::time_point> idle_since_;
        std::uint64_t request_ = 0;  ///< the number of the one that is being answered
        std::optional<bool> held_;   ///< an answer comes later; whether the connection is kept then
    };

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
            admit(std::move(socket));
            accept();
        });
    }

    void admit(tcp::socket socket) {
        if (sessions_.size() >= options_.connections_max) { close_longest_idle(); }
        bool const welcome = sessions_.size() < options_.connections_max;
        if (!welcome && sessions_.size() >= options_.connections_max + refusals_max) { return; }
        std::make_shared<session>(*this, std::move(socket), welcome)->start();
    }

    void close_longest_idle() {
        session* longest = nullptr;
        for (session* s : sessions_) {
            if (s->idle_since() && (longest == nullptr || *s->idle_since() < *longest->idle_since())) { longest = s; }
        }
        if (longest != nullptr) { longest->close(); }
    }

    void await_signal() {
        signals_->async_wait([this](detail::asio_error e, int) {
            if (e) { return; }
            stop();
            await_signal();
        });
    }

    static constexpr std::size_t refusals_max = 16;  ///< connections beyond the limit that are told so
    static constexpr milliseconds accept_pause{100};

    http_server_options options_;
    typename Link::security_type security_;
    handler_hook handler_;
    authoriser_hook authoriser_{};
    pages_hook pages_{};
    std::uint16_t port_ = 0;
    std::atomic<bool> stopping_{false};
    std::vector<session*> sessions_;  ///< before io_, whose end destroys the sessions
    detail::asio::io_context io_{1};
    detail::asio::steady_timer pause_{io_};
    std::optional<tcp::acceptor> acceptor_;
    std::optional<detail::asio::signal_set> signals_;
};

/// HTTP without TLS: for tests, for a closed network, behind a proxy. With TLS: adapters/https_server.hpp.
using http_server = basic_http_server<detail::plain_link>;

}  // namespace syncline::inline SYNCLINE_ABI
