// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Live connections over plain HTTP: a server that holds a device's question until there is news for it.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <syncline/adapters/http_server.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/transport/carried.hpp>
#include <syncline/transport/live_frame.hpp>
#include <syncline/transport/live_hub.hpp>
#include <syncline/transport/loopback.hpp>
#include <syncline/transport/polled.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How long a question is held, and what the HTTP server takes of a stranger. `http.path` is the resource's.
struct long_poll_server_options {
    /// A device takes two connections. What waits for one is the hub's to bound.
    http_server_options http{.path = "/live", .connections_max = 2048};
    milliseconds hold{25'000};  ///< a question without news is answered after that; less than what proxies allow; > 0
    std::size_t answer_bytes_max = std::size_t{64} << 10;  ///< of one answer, unless a single message is longer
    /// Of one principal, of its devices together; one more ends the one least recently heard. > 0. Those whom no
    /// `authorise_by` names are not bounded so.
    std::size_t sessions_per_principal_max = 64;
};
/// Whether every member is in its range.
[[nodiscard]] inline bool valid(long_poll_server_options const& o) noexcept {
    return valid(o.http) && o.hold.count() > 0 && o.sessions_per_principal_max > 0;
}

/// Lets devices subscribe with a hub, and answers their other requests by a handler, as `basic_websocket_server` does, where
/// no WebSocket passes.
///
/// A device asks for a session with its first request, and gets it if that is answered, and then for news, with a question that is held until there are
/// some or `hold` is over. A session ends when the device has neither asked nor spoken for the hub's `idle_timeout`, which
/// must be longer than `hold`; nobody but its principal can use it. A held question whose connection ends is nobody's:
/// what would have been its answer waits for the next one. Where the hub is full, requests are answered without a session.
/// Threads: as `basic_http_server`; `publish`, `tell_all` and `stop` may be called from any.
template <class Link>
class basic_long_poll_server {
public:
    using security_options = typename Link::options_type;

    /// `life` is the hub's; sessions are named by `random`, which is seeded from the system's randomness.
    template <http_handler H, topic_policy M>
    basic_long_poll_server(long_poll_server_options options, id128 life, random_generator random, H& handler, M& may,
                           live_hub_options const& hub = {}, security_options const& security = {})
        : options_(std::move(options)),
          hub_(life, hub),
          random_(random),
          handler_{&handler, [](void* object, request_context const& who,
                                bytes_view body) { return peer_reply((*static_cast<H*>(object))(who, body)); }},
          may_(may),
          server_(options_.http, *this, security) {}
    basic_long_poll_server(basic_long_poll_server const&) = delete;
    basic_long_poll_server& operator=(basic_long_poll_server const&) = delete;
    ~basic_long_poll_server() = default;

    /// Asks `authorise` about the token of each request. Before `listen`.
    template <http_authoriser A>
    void authorise_by(A& authorise) noexcept {
        server_.authorise_by(authorise);
    }
    /// Begins to listen. Once. Errors as of `basic_http_server::listen`.
    [[nodiscard]] status listen() {
        if (!valid(options_) || hub_.options().idle_timeout <= options_.hold) {
            return failure{errc::invalid, "long poll server options out of range"};
        }
        return server_.listen();
    }
    [[nodiscard]] std::uint16_t port() const noexcept { return server_.port(); }
    /// Serves until `stop` is called; at once back when it does not listen.
    void run() { server_.run(); }
    void run_for(milliseconds duration) { server_.run_for(duration); }
    void stop() { server_.stop(); }
    /// Tells those who subscribed that there is something new at a topic, up to a position: after the commit. Callable from
    /// any thread; it is done by `run`. Precondition: `valid_live_topic(topic)`.
    void publish(std::string_view topic, std::uint64_t newest) {
        SYNCLINE_ASSERT(valid_live_topic(topic));
        detail::asio::post(server_.context(), [this, name = std::string(topic), newest] {
            hub_.publish(name, newest);
            tell();
        });
    }
    /// Sends every session a message in the host's own words. Callable from any thread.
    void tell_all(bytes_view message) {
        detail::asio::post(server_.context(), [this, copy = to_bytes(message)] {
            for (auto const& [number, s] : sessions_) { (void)hub_.tell(s.member, copy); }
            tell();
        });
    }
    /// How many sessions there are. Where `run` runs, or while it doesn't.
    [[nodiscard]] std::size_t members() const noexcept { return sessions_.size(); }
    /// How many connections are open. As above.
    [[nodiscard]] std::size_t connections() const noexcept { return server_.connections(); }

    /// The HTTP server's call.
    [[nodiscard]] std::optional<peer_reply> operator()(request_context const& who, bytes_view message,
                                                       http_later const& later) {
        if (now() >= expiry_) {  // linear in the sessions, so not for each request
            hub_.expire(now(), [this](live_hub::member id) { forget(id); });
            expiry_ = now() + expiry_interval;
        }
        if (is_live_poll(message)) { return poll(who, message, later); }
        return ask(who, message);
    }

private:
    using clock = std::chrono::steady_clock;

    struct handler_hook {
        void* object = nullptr;
        peer_reply (*call)(void*, request_context const&, bytes_view) = nullptr;
    };
    /// One device's.
    struct session {
        live_hub::member member = 0;
        std::string principal{};
        clock::time_point heard{};
        std::optional<http_later> held{};  ///< the question that waits
        clock::time_point until{};         ///< for so long
    };

    [[nodiscard]] static monotonic_time now() { return std::chrono::time_point_cast<milliseconds>(clock::now()); }

    [[nodiscard]] session* find(std::uint64_t number, request_context const& who) {
        auto const at = sessions_.find(number);
        return at == sessions_.end() || at->second.principal != who.principal ? nullptr : &at->second;
    }
    void hear(session& s) {
        s.heard = clock::now();
        hub_.heard(s.member, now());
    }
    /// A member that the hub has no more.
    void forget(live_hub::member id) {
        auto const at = numbers_.find(id);
        if (at == numbers_.end()) { return; }
        std::uint64_t const number = at->second;
        session& s = sessions_.at(number);
        held_.erase({s.until, number});
        if (s.held) { (void)(*s.held)(refusal(0, errc::not_found)); }
        auto const own = of_.find(s.principal);
        own->second.erase(number);
        if (own->second.empty()) { of_.erase(own); }
        numbers_.erase(at);
        sessions_.erase(number);
    }
    void end(session const& s) {
        live_hub::member const id = s.member;
        hub_.leave(id);
        forget(id);
    }
    /// A new session's number. Errors: the hub's.
    [[nodiscard]] result<std::uint64_t> begin(request_context const& who) {
        auto const own = of_.find(who.principal);
        if (own != of_.end() && !who.principal.empty() && own->second.size() >= options_.sessions_per_principal_max) {
            end(sessions_.at(*std::min_element(own->second.begin(), own->second.end(), [this](auto a, auto b) {
                return sessions_.at(a).heard < sessions_.at(b).heard;
            })));
        }
        auto const joined = hub_.join(who.principal, now());
        if (!joined) { return joined.error(); }
        std::uint64_t number = 0;
        while (number == 0 || sessions_.contains(number)) { number = random_(); }
        session& s = sessions_[number];
        s.member = *joined;
        s.principal = std::string{who.principal};
        numbers_.emplace(*joined, number);
        of_[s.principal].insert(number);
        return number;
    }
    /// Of a session; 0 where there is none, or none that the device may use.
    [[nodiscard]] static bytes refusal(std::uint64_t number, errc why, std::optional<milliseconds> retry_after = {}) {
        carried out{carried_kind::failed, number, {}, why, retry_after};
        if (out.retry_after && out.retry_after->count() < 0) { out.retry_after.reset(); }
        return encode(out);
    }

    [[nodiscard]] peer_reply ask(request_context const& who, bytes_view message) {
        auto const m = decode_carried(message);
        if (!m || m->kind != carried_kind::request) { return errc::malformed; }
        std::uint64_t number = m->number;
        bool const frame = is_live_frame(m->body);
        if (number == 0) {
            if (auto const begun = begin(who)) {
                number = *begun;
            } else if (frame) {  // else it is answered without
                return refusal(0, begun.error().code, milliseconds{1000});
            }
        }
        session* const s = number != 0 ? find(number, who) : nullptr;
        if (s == nullptr && number != 0) { return refusal(0, errc::not_found); }
        if (s != nullptr) { hear(*s); }
        peer_reply answer = frame ? peer_reply(hub_.answer(s->member, m->body, now(), may_))
                                  : handler_.call(handler_.object, who, m->body);
        tell();
        if (!answer.message) {
            if (s != nullptr && m->number == 0) {  // nobody could be sure to have heard of it
                end(*s);
                number = 0;
            }
            return refusal(number, answer.message.error().code, answer.retry_after);
        }
        return encode(carried{carried_kind::reply, number, *answer.message, {}, {}});
    }

    [[nodiscard]] std::optional<peer_reply> poll(request_context const& who, bytes_view message,
                                                 http_later const& later) {
        auto const asked = decode_live_poll(message);
        if (!asked) { return peer_reply(errc::malformed); }
        session* const s = find(asked->session, who);
        if (s == nullptr) { return peer_reply(refusal(0, errc::not_found)); }
        hear(*s);
        if (s->held) { release(asked->session, *s, {}); }
        if (auto news = take(*s); !news.empty()) { return peer_reply(encode_polled(news)); }
        s->held = later;
        s->until = clock::now() + options_.hold;
        held_.emplace(s->until, asked->session);
        if (held_.size() == 1) { await(); }
        return std::nullopt;
    }

    /// What the hub has for a session, as much as goes into one answer.
    [[nodiscard]] std::vector<bytes> take(session const& s) {
        std::vector<bytes> all;
        std::size_t size = 0;
        while (size < options_.answer_bytes_max) {
            auto next = hub_.take(s.member);
            if (!next) { break; }
            size += next->size() + polled_bytes_max;
            all.push_back(std::move(*next));
        }
        return all;
    }
    void release(std::uint64_t number, session& s, std::vector<bytes> const& news) {
        held_.erase({s.until, number});
        http_later const later = *std::exchange(s.held, std::nullopt);
        (void)later(encode_polled(news));
    }
    /// Answers the held questions of those for whom something waits.
    void tell() {
        while (auto const member = hub_.next_ready()) {
            auto const at = numbers_.find(*member);
            if (at == numbers_.end()) { continue; }
            session& s = sessions_.at(at->second);
            if (!s.held) { continue; }  // it waits for the next question
            if (s.held->waits()) {
                release(at->second, s, take(s));
            } else {
                held_.erase({s.until, at->second});
                s.held.reset();
            }
        }
    }
    /// Until the first question's time is over.
    void await() {
        timer_.expires_at(held_.begin()->first);
        timer_.async_wait([this](detail::asio_error e) {
            if (e) { return; }
            while (!held_.empty() && held_.begin()->first <= clock::now()) {
                std::uint64_t const number = held_.begin()->second;
                session& s = sessions_.at(number);
                hear(s);  // it has waited all the while
                release(number, s, {});
            }
            if (!held_.empty()) { await(); }
        });
    }

    static constexpr milliseconds expiry_interval{1000};

    long_poll_server_options options_;
    live_hub hub_;
    random_generator random_;
    handler_hook handler_;
    function_ref<bool(std::string_view, std::string_view)> may_;
    std::map<std::uint64_t, session> sessions_;                       ///< by number
    std::map<live_hub::member, std::uint64_t> numbers_;               ///< of the sessions
    std::map<std::string, std::set<std::uint64_t>, std::less<>> of_;  ///< the sessions' numbers by principal
    std::set<std::pair<clock::time_point, std::uint64_t>> held_;      ///< by the time at which a question is answered
    monotonic_time expiry_{};
    basic_http_server<Link> server_;
    detail::asio::steady_timer timer_{server_.context()};
};

/// Without TLS: for tests, for a closed network, behind a proxy.
using long_poll_server = basic_long_poll_server<detail::plain_link>;

}  // namespace syncline::inline SYNCLINE_ABI
