// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Long polling over HTTP that models `live_transport`, over Boost.Beast (1.81 or later, header-only).

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <syncline/adapters/http_beast.hpp>
#include <syncline/adapters/http_client.hpp>
#include <syncline/adapters/http_status.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/transport/carried.hpp>
#include <syncline/transport/live_inbox.hpp>
#include <syncline/transport/polled.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Where the peer is, how long to wait for it, and how much to keep of what it says.
struct long_poll_options {
    http_options http{.target = "/live"};  ///< its limits are for each unasked message too, as a reply
    milliseconds poll_timeout{40'000};  ///< a question that is not answered for so long is lost; above the peer's hold
    /// A question that is refused as too much, or for a fault of the peer's, is asked again after so long, or after what the
    /// refusal asks for, at most `busy_wait_max`; and up to half as long again, by the session's number, lest all come at once.
    milliseconds busy_wait{5'000};
    milliseconds busy_wait_max{300'000};
    std::size_t unasked_max = 1024;                         ///< messages not yet received; one more is a gap
    std::size_t unasked_bytes_max = std::size_t{64} << 20;  ///< and their bytes together
};
/// Whether every member is in its range.
[[nodiscard]] inline bool valid(long_poll_options const& o) noexcept {
    return valid(o.http) && o.poll_timeout.count() > 0 && o.busy_wait.count() > 0 && o.busy_wait_max >= o.busy_wait;
}

/// Exchanges and unasked messages over HTTP alone; `exchange` completes before it returns.
///
/// The first exchange gets a session, unless the peer has no room for one: then it is made all the same, and the next asks
/// again. From then on a question for news is under way on a second connection: the peer holds
/// it until there are some, and the next follows its answer. A refusal for a while (429, 5xx) ends no session. `receive` hands over what arrived, without waiting; `wait`
/// waits for it. When a question's connection breaks or its answer does not come, when the peer does not know the session
/// any more, and when a message is too many, `receive` says `connection_lost` in its place; the next exchange begins anew.
/// An exchange's failures are those of `basic_http_transport`, and what the peer's handler failed with.
/// Threads: as `basic_http_transport`; only `cancel` may be called from another thread. Names and tokens as there.
/// Cost: a copy of each message. Nothing happens between calls: call `wait`, `receive` or `exchange` more often than the
/// peer's `idle_timeout`, or it forgets the session.
template <class Link>
class basic_long_poll_transport {
public:
    using security_options = typename Link::options_type;

    explicit basic_long_poll_transport(long_poll_options options, security_options const& security = {})
        : options_(std::move(options)), security_(security), http_(asking(), security) {}
    /// With bearer tokens, borrowed. An exchange that gets a 401 asks for another, once.
    template <bearer_source A>
    basic_long_poll_transport(long_poll_options options, A& tokens, security_options const& security = {})
        : options_(std::move(options)),
          security_(security),
          token_{&tokens, [](void* object) { return static_cast<A*>(object)->token(); }},
          http_(asking(), tokens, security) {}
    basic_long_poll_transport(basic_long_poll_transport const&) = delete;
    basic_long_poll_transport& operator=(basic_long_poll_transport const&) = delete;
    ~basic_long_poll_transport() = default;

    void exchange(bytes_view request, completion done) {
        if (!valid(options_)) { return done({failure{errc::invalid, "long poll options out of range"}, {}}); }
        forget_cancellations();
        if (request.size() > options_.http.limits.request_bytes_max) {
            return done({failure{errc::too_large, "request over the transport's limit"}, {}});
        }
        answer a = ask(request);
        if (a.forgotten) {  // the handler was not called
            drop();
            a = ask(request);
        }
        if (a.failed) {
            done({*a.failed, a.retry_after});
        } else {
            done({bytes_view{a.body}, a.retry_after});
        }
        forget_cancellations();  // what came meanwhile was the exchange's
        keep_asking();           // which may take as long as it may take to connect
    }
    [[nodiscard]] transport_limits limits() const noexcept { return options_.http.limits; }

    /// Hands over what has arrived up to the next gap.
    [[nodiscard]] status receive(message_visitor visit) {
        pump();
        if (auto ok = arrived_.receive(visit); !ok) { return ok; }
        if (!connected()) { return failure{errc::connection_lost, "no session"}; }
        return {};
    }
    [[nodiscard]] bool connected() const noexcept { return session_ != 0; }
    /// How many messages and gaps wait for `receive`.
    [[nodiscard]] std::size_t waiting() const noexcept { return arrived_.size(); }

    /// Waits until something can be received, the session is lost or `cancel` is called, at most so long. Without a
    /// session it only waits. True: `receive` has something to say.
    bool wait(milliseconds longest) {
        auto const deadline = clock::now() + longest;
        forget_cancellations();
        keep_asking();
        bool const stood = connected();
        while (arrived_.empty() && !cancelled_ && (connected() || !stood) && clock::now() < deadline) {
            bool const refused = connected() && !question_;
            auto const until = refused ? (std::min)(deadline, ask_after_) : deadline;
            detail::asio::steady_timer sleep(io_, until);  // so that there is something to wait for in any case
            detail::http_operation waking;
            sleep.async_wait(waking.handler());
            io_.restart();
            io_.run_one_until(until);
            sleep.cancel();
            waking.wait(io_);
            keep_asking();
        }
        return !arrived_.empty() || (stood && !connected());
    }

    /// Ends the session: before the device sleeps, or when the listener wants it.
    void close() {
        drop();
        http_.close();
    }
    /// Ends the exchange or the `wait` that is under way; does nothing without one. Callable from any thread.
    void cancel() {
        http_.cancel();
        detail::asio::post(io_, [this] { cancelled_ = true; });
    }

private:
    using clock = std::chrono::steady_clock;

    struct answer {
        std::optional<failure> failed{};
        std::optional<milliseconds> retry_after{};
        bytes body{};
        bool forgotten = false;  ///< the session is not known there
    };
    struct token_hook {
        void* object = nullptr;
        result<std::string> (*token)(void*) = nullptr;
    };
    /// One question after the other; its operations keep it alive.
    struct question {
        using request_type = boost::beast::http::request<boost::beast::http::vector_body<std::byte>>;
        using parser_type = boost::beast::http::response_parser<boost::beast::http::string_body>;
        std::optional<Link> link{};
        request_type message{};
        detail::beast::flat_buffer buffer{};
        std::optional<parser_type> parser{};
    };

    /// What the exchanges' transport carries: the messages with what is around them.
    [[nodiscard]] http_options asking() const {
        http_options o = options_.http;
        o.limits.request_bytes_max += carried_bytes_max;
        o.limits.reply_bytes_max += carried_bytes_max;
        return o;
    }

    void pump() {
        io_.restart();
        io_.poll();
    }
    /// Lets what has come take place, and no `cancel` that came before what begins now.
    void forget_cancellations() {
        pump();
        cancelled_ = false;
    }
    void drop() {
        if (question_) {
            question_->link->tcp().close();
            question_.reset();
        }
        if (session_ == 0) { return; }
        session_ = 0;
        arrived_.gap();
    }

    [[nodiscard]] answer ask(bytes_view request) {
        answer a;
        auto take = [&](transport_reply const& r) {
            a.retry_after = r.retry_after;
            if (!r.message) {
                a.failed = r.message.error();
                return;
            }
            auto const m = decode_carried(*r.message);
            if (!m || (m->kind != carried_kind::reply && m->kind != carried_kind::failed) ||
                (session_ != 0 && m->number != session_ && m->number != 0)) {
                a.failed = failure{errc::foreign, "not a message of ours"};
            } else if (m->kind == carried_kind::failed) {
                a.failed = failure{m->error, "the peer answered so"};
                a.retry_after = m->retry_after;
                a.forgotten = m->number == 0 && session_ != 0;
                if (session_ == 0) { session_ = m->number; }
            } else if (m->number == 0 && session_ != 0) {
                a.failed = failure{errc::foreign, "an answer without a session"};
            } else {
                session_ = m->number;  // 0: there was no room for one
                if (m->body.size() > options_.http.limits.reply_bytes_max) {
                    a.failed = failure{errc::too_large, "reply over the transport's limit"};
                    return;
                }
                a.body = to_bytes(m->body);
            }
        };
        http_.exchange(encode(carried{carried_kind::request, session_, request, {}, {}}), completion::to(take));
        return a;
    }

    /// Sees to it that a question is under way while there is a session.
    void keep_asking() {
        if (session_ == 0 || question_ || clock::now() < ask_after_) { return; }
        auto const q = std::make_shared<question>();
        try {
            if (detail::connect_link(io_, security_, q->link, options_.http.host, options_.http.port,
                                     clock::now() + options_.http.connect_timeout, cancelled_)) {
                if (!cancelled_) { drop(); }  // else the next call connects
                return;
            }
        } catch (boost::system::system_error const&) {  // Asio has no other way to say that descriptors ran out
            return drop();
        }
        question_ = q;
        send(q);
    }

    void send(std::shared_ptr<question> const& q) {
        namespace http = detail::beast_http;
        std::string authorization;
        if (token_.object != nullptr) {
            result<std::string> const token = token_.token(token_.object);
            bool const clean =
                token && std::all_of(token->begin(), token->end(), [](char c) { return c > ' ' && c <= '~'; });
            if (!clean) { return drop(); }
            if (!token->empty()) { authorization = "Bearer " + *token; }
        }
        q->message = {http::verb::post, options_.http.target, 11};
        q->message.set(http::field::host, detail::host_header<Link>(options_.http.host, options_.http.port));
        q->message.set(http::field::user_agent, options_.http.user_agent);
        q->message.set(http::field::content_type, http_content_type);
        q->message.set(http::field::accept, http_content_type);
        if (!authorization.empty()) { q->message.set(http::field::authorization, authorization); }
        q->message.body() = encode(live_poll{session_});
        q->message.prepare_payload();
        q->link->tcp().expires_after(options_.poll_timeout);
        http::async_write(q->link->stream(), q->message, [this, q](detail::asio_error e, std::size_t) {
            if (question_ != q) { return; }
            if (e) { return drop(); }
            read(q);
        });
    }
    void read(std::shared_ptr<question> const& q) {
        q->parser.emplace();
        q->parser->header_limit(options_.http.header_bytes_max);
        q->parser->body_limit(answer_bytes_max());
        detail::beast_http::async_read(q->link->stream(), q->buffer, *q->parser,
                                       [this, q](detail::asio_error e, std::size_t) {
                                           if (question_ != q) { return; }
                                           bool const refused = !e && for_a_while(*q);
                                           if (e || (!refused && !take(*q))) { return drop(); }
                                           if (!refused && q->parser->get().keep_alive() && q->buffer.size() == 0) {
                                               send(q);
                                           } else {  // the next call that may block connects anew
                                               q->link->tcp().close();
                                               question_.reset();
                                           }
                                       });
    }
    /// An answer may hold several messages, each within the limits.
    [[nodiscard]] std::uint64_t answer_bytes_max() const noexcept {
        return std::uint64_t{options_.http.limits.reply_bytes_max} + (std::uint64_t{1} << 20);
    }
    /// Whether the peer, or what stands before it, has too much to do or is not well: it is left alone, and the session is
    /// still there.
    [[nodiscard]] bool for_a_while(question const& q) {
        namespace http = detail::beast_http;
        auto const& head = q.parser->get();
        auto const said = from_http_status(static_cast<int>(head.result_int()));
        if (said || (said.error() != errc::throttled && said.error() != errc::peer_failed)) { return false; }
        auto const local = std::chrono::floor<milliseconds>(std::chrono::system_clock::now());
        wall_time const now = parse_http_date(head[http::field::date], local).value_or(local);
        auto const hint = parse_retry_after(head[http::field::retry_after], now);
        milliseconds const wait =
            (std::min)((std::max)(hint.value_or(options_.busy_wait), milliseconds{1}), options_.busy_wait_max);
        auto const spread = static_cast<std::uint64_t>(wait.count()) / 2 + 1;
        ask_after_ = clock::now() + wait + milliseconds{static_cast<milliseconds::rep>(session_ % spread)};
        return true;
    }
    /// Whether it is an answer of ours.
    [[nodiscard]] bool take(question& q) {
        auto const& head = q.parser->get();
        if (!from_http_status(static_cast<int>(head.result_int())) ||
            !is_http_content_type(head[detail::beast_http::field::content_type])) {
            return false;
        }
        auto const messages = decode_polled(as_bytes(std::string_view{head.body()}));
        if (!messages) { return false; }  // the session is not known there, or it is somebody else
        for (bytes_view const m : *messages) {
            arrived_.add(m, {options_.http.limits.reply_bytes_max, options_.unasked_max, options_.unasked_bytes_max});
        }
        return true;
    }

    long_poll_options options_;
    typename Link::security_type security_;
    token_hook token_{};
    basic_http_transport<Link> http_;  ///< the exchanges'
    detail::asio::io_context io_{1};   ///< its end destroys what is under way
    std::shared_ptr<question> question_{};
    std::uint64_t session_ = 0;  ///< 0: none
    detail::live_inbox arrived_{};
    bool cancelled_ = false;
    clock::time_point ask_after_{};  ///< a refusal said so
};

/// Without TLS: for tests, for a closed network, behind a tunnel.
using long_poll_transport = basic_long_poll_transport<detail::plain_link>;
static_assert(live_transport<long_poll_transport>);

}  // namespace syncline::inline SYNCLINE_ABI
