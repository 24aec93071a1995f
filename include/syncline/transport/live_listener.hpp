// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The device's end of a live connection: subscribes, notices a dead peer, comes back by the retry policy.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/backoff.hpp>
#include <syncline/retry/policy.hpp>
#include <syncline/transport/fifo.hpp>
#include <syncline/transport/live_frame.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Time has passed. A spurious one does nothing.
struct live_tick {};
/// The peer said something unasked; borrowed for the call only.
struct live_heard {
    bytes_view message;
};
/// The reply to the last `live_ask`; borrowed for the call only.
struct live_answered {
    bytes_view message;
};
/// The last `live_ask` got no reply.
struct live_failed {
    failure why{};
    std::optional<milliseconds> retry_after{};
};
/// The connection is gone, or `receive` told of a gap.
struct live_lost {};
/// What stopped it was mended (signed in again), or the network is back: try now.
struct live_resume {};
using live_input = std::variant<live_tick, live_heard, live_answered, live_failed, live_lost, live_resume>;

/// Send this to the peer, by an exchange; valid until the next call.
struct live_ask {
    bytes_view message;
};
/// News may have been missed at this topic: ask the authority. So too after each new subscription that does not go on
/// where the last one ended.
struct live_gap {
    std::string topic{};
    friend bool operator==(live_gap const&, live_gap const&) = default;
};
/// The principal may not hear of this topic.
struct live_refused {
    std::string topic{};
    friend bool operator==(live_refused const&, live_refused const&) = default;
};
/// Close the connection: the peer does not answer, or what it says is no frame.
struct live_close {};
/// Nothing to do until then. `paused`: it waits for `live_resume`, and this is why.
struct live_wait {
    std::optional<monotonic_time> deadline{};
    bool subscribed = false;  ///< news will be heard
    std::optional<failure> paused{};
};
using live_output =
    std::variant<live_ask, live_news, live_note, live_gap, live_refused, live_missed, live_close, live_wait>;

struct live_options {
    retry_policy_options retry{};        ///< between attempts to subscribe
    milliseconds heartbeat{25'000};      ///< the peer is asked whether it is there when it was silent for so long; > 0
    milliseconds reply_timeout{10'000};  ///< a peer that does not answer for so long is gone; > 0
    milliseconds stable_after{10'000};   ///< a connection that breaks sooner counts as a failed attempt; >= 0
    std::size_t says_max = 16;           ///< own notes that wait to be sent; > 0
};
[[nodiscard]] constexpr bool valid(live_options const& o) noexcept {
    return valid(o.retry) && o.heartbeat.count() > 0 && o.reply_timeout.count() > 0 && o.stable_after.count() >= 0 &&
           o.says_max > 0;
}

/// Hears of news from a peer, over any `live_transport`, as a state machine: `handle(input, now)`, then `poll(now)` until
/// it answers `live_wait`. `attend` does both.
///
/// It subscribes by an exchange, and again when the connection is lost, when the retry policy lets it; the first time
/// after a loss at a moment that is spread over `backoff_options::reconnect_spread`, so that a fleet does not come back as
/// one. While there is no subscription nothing is heard, and the session asks at its interval, as it does without a
/// live connection. When a subscription stands again, each topic at which something may have been missed is told
/// as `live_gap`: hand `news{}` to the session. A peer that is silent for `heartbeat` is asked whether it is there; one that
/// does not answer is gone.
/// Notes are kept nowhere: what waits when the connection is lost is dropped, as it may not be true any more when it is back.
/// `now` never decreases. No storage: everything here may be lost. Threads: the caller serialises.
/// Cost: a call is O(log topics) and what it tells; subscribing is linear in the topics.
template <random_source G>
class live_listener {
public:
    /// Preconditions: valid(options), valid(topics).
    explicit live_listener(live_subscribe topics, G random, live_options options = {})
        : topics_(std::move(topics)), random_(std::move(random)), options_(options), policy_(options.retry) {
        SYNCLINE_ASSERT(valid(options) && valid(topics_));
    }

    /// Listens to other topics from the next `handle` on. Precondition: valid(topics).
    void subscribe(live_subscribe topics) {
        SYNCLINE_ASSERT(valid(topics));
        topics_ = std::move(topics);
        changed_ = true;
    }
    /// Tells the others of a topic, with the next `handle`. One of the same topic and kind that still waits is replaced.
    /// `errc::unreachable` while there is no subscription, `errc::limit` when `says_max` others wait: it is dropped.
    /// Precondition: valid(note).
    [[nodiscard]] status say(live_say note) {
        SYNCLINE_ASSERT(valid(note));
        if (!subscribed_) { return failure{errc::unreachable, "nobody hears it"}; }
        for (live_say& s : says_) {
            if (s.topic == note.topic && s.kind == note.kind) {
                s.body = std::move(note.body);
                return {};
            }
        }
        if (says_.size() >= options_.says_max) { return failure{errc::limit, "too many notes wait"}; }
        says_.push(std::move(note));
        return {};
    }

    /// Takes one input. Never fails: what can't be taken ends the connection.
    void handle(live_input const& in, monotonic_time now) {
        if (auto const* m = std::get_if<live_heard>(&in)) {
            hear(m->message, now);
        } else if (auto const* a = std::get_if<live_answered>(&in)) {
            answered(a->message, now);
        } else if (auto const* f = std::get_if<live_failed>(&in)) {
            failed(f->why, f->retry_after, now);
        } else if (std::holds_alternative<live_lost>(in)) {
            if (subscribed_) { lose(failure{errc::connection_lost, "the connection broke"}, {}, now); }
        } else if (std::holds_alternative<live_resume>(in)) {
            paused_.reset();
            if (!subscribed_) { not_before_ = now; }
        }
        if (asked_ && now >= sent_ + options_.reply_timeout) {
            out_.push(live_close{});
            failed(failure{errc::timed_out, "the peer does not answer"}, {}, now);
        }
        if (attempt_ && subscribed_ && now >= since_ + options_.stable_after) { settle(now); }
        ask(now);
    }

    /// The next thing to do.
    [[nodiscard]] live_output poll(monotonic_time now) {
        if (!out_.empty()) { return out_.pop(); }
        if (send_) {
            send_ = false;
            return live_ask{message_};
        }
        live_wait wait{{}, subscribed_, paused_};
        if (asked_) {
            wait.deadline = sent_ + options_.reply_timeout;
        } else if (subscribed_) {
            wait.deadline = heard_ + options_.heartbeat;
            if (attempt_) { wait.deadline = (std::min)(*wait.deadline, since_ + options_.stable_after); }
            if (changed_ || !says_.empty()) { wait.deadline = now; }
        } else if (!paused_) {
            wait.deadline = (std::max)(not_before_, now);
        }
        return wait;
    }

    /// Whether news will be heard.
    [[nodiscard]] bool subscribed() const noexcept { return subscribed_; }
    /// Why the last attempt or the last connection ended; empty while all is well.
    [[nodiscard]] std::optional<failure> const& last_failure() const noexcept { return last_failure_; }

private:
    enum class question : std::uint8_t { subscribe = 1, say = 2, ping = 3 };

    /// Asks what is due, if no question is open.
    void ask(monotonic_time now) {
        if (asked_ || paused_) { return; }
        if (!subscribed_ || changed_) {
            if (!subscribed_) {
                if (now < not_before_ || !begin(now)) { return; }
            }
            changed_ = false;
            pending_ = topics_;
            send(question::subscribe, encode(topics_), now);
        } else if (!says_.empty()) {
            send(question::say, encode(says_.pop()), now);
        } else if (now >= heard_ + options_.heartbeat) {
            send(question::ping, encode(live_ping{}), now);
        }
    }
    [[nodiscard]] bool begin(monotonic_time now) {
        retry_decision const may = policy_.begin(now);
        if (may.action != retry_action::go) {
            not_before_ = later(now, (std::max)(may.wait, milliseconds{1}));
            return false;
        }
        attempt_ = true;
        return true;
    }
    void send(question q, bytes frame, monotonic_time now) {
        asked_ = q;
        sent_ = now;
        message_ = std::move(frame);
        send_ = true;
    }

    void hear(bytes_view message, monotonic_time now) {
        if (!subscribed_) { return; }  // of a connection that was given up
        auto frame = decode_live_frame(message);
        if (!frame) { return give_up(frame.error(), now); }
        heard_ = now;
        if (auto* news = std::get_if<live_news>(&*frame)) {
            auto const at = newest_.find(news->topic);
            if (at == newest_.end() || news->position <= at->second) { return; }
            at->second = news->position;
            out_.push(std::move(*news));
        } else if (auto* note = std::get_if<live_note>(&*frame)) {
            if (newest_.find(note->topic) != newest_.end()) { out_.push(std::move(*note)); }
        } else if (std::holds_alternative<live_missed>(*frame)) {
            out_.push(live_missed{});
        } else {
            give_up(failure{errc::malformed, "a frame that no peer sends unasked"}, now);
        }
    }
    void answered(bytes_view message, monotonic_time now) {
        if (!asked_) { return; }  // given up meanwhile
        auto frame = decode_live_frame(message);
        if (!frame) { return give_up(frame.error(), now); }
        question const q = *asked_;
        if (q == question::subscribe) {
            auto const* w = std::get_if<live_welcome>(&*frame);
            if (w == nullptr || w->newest.size() != pending_.topics.size()) {
                return give_up(failure{errc::malformed, "an answer to something else"}, now);
            }
            asked_.reset();
            welcome(*w, now);
        } else if (std::holds_alternative<live_done>(*frame)) {
            asked_.reset();
            heard_ = now;
        } else {
            give_up(failure{errc::malformed, "an answer to something else"}, now);
        }
    }
    void welcome(live_welcome const& w, monotonic_time now) {
        std::map<std::string, std::uint64_t> newest;
        for (std::size_t i = 0; i < w.newest.size(); ++i) {
            std::string const& topic = pending_.topics[i];
            if (!w.newest[i]) {
                out_.push(live_refused{topic});
                continue;
            }
            auto const known = newest_.find(topic);
            bool const whole = known != newest_.end() && w.life == life_ && known->second >= *w.newest[i];
            if (!whole) { out_.push(live_gap{topic}); }
            newest.emplace(topic, *w.newest[i]);
        }
        newest_ = std::move(newest);
        life_ = w.life;
        if (!subscribed_) { since_ = now; }
        subscribed_ = true;
        heard_ = now;
        last_failure_.reset();
    }

    void failed(failure why, std::optional<milliseconds> retry_after, monotonic_time now) {
        if (!asked_) { return; }
        question const q = *asked_;
        // A note that the peer answered and did not take is gone; the connection stands.
        if (q == question::say && !blames_connection(why.code)) {
            asked_.reset();
            heard_ = now;
            return;
        }
        lose(why, retry_after, now);
    }
    [[nodiscard]] static bool blames_connection(errc e) noexcept {
        return e == errc::unreachable || e == errc::timed_out || e == errc::connection_lost || e == errc::cancelled ||
               e == errc::foreign || e == errc::not_found;
    }
    /// What is no frame of ours comes from somebody else, or from a peer of another version.
    void give_up(failure const& why, monotonic_time now) {
        out_.push(live_close{});
        lose(why == errc::unsupported ? why : failure{errc::foreign, why.detail}, {}, now);
    }
    void lose(failure why, std::optional<milliseconds> retry_after, monotonic_time now) {
        bool const stood = subscribed_;
        subscribed_ = false;
        asked_.reset();
        send_ = false;
        says_.clear();
        last_failure_ = why;
        if (stood && attempt_ && now >= since_ + options_.stable_after) { settle(now); }
        if (!attempt_) {  // it stood long enough: a new beginning
            not_before_ = later(now, policy_.reconnect(random_));
            return;
        }
        attempt_ = false;
        retry_decision const next = policy_.failed({.why = why, .retry_after = retry_after}, now, random_);
        if (why == errc::unauthorised || why == errc::forbidden || why == errc::unsupported) {
            paused_ = why;
        } else if (next.action == retry_action::wait) {
            not_before_ = later(now, next.wait);
        } else {  // what the policy would end is worth a try now and then
            not_before_ = later(now, options_.retry.backoff.cap);
        }
    }
    void settle(monotonic_time now) {
        attempt_ = false;
        policy_.succeeded(now);
    }

    live_subscribe topics_;
    G random_;
    live_options options_;
    retry_policy<> policy_;

    live_subscribe pending_{};  ///< what was asked for last
    std::map<std::string, std::uint64_t> newest_{};
    id128 life_{};
    detail::fifo<live_say> says_{};
    detail::fifo<live_output> out_{};
    bytes message_{};
    std::optional<question> asked_{};
    bool send_ = false;
    bool subscribed_ = false;
    bool changed_ = false;
    bool attempt_ = false;  ///< the policy waits to hear what came of the attempt
    monotonic_time sent_{};
    monotonic_time heard_{};
    monotonic_time since_{};  ///< of `subscribed_`
    monotonic_time not_before_{};
    std::optional<failure> paused_{};
    std::optional<failure> last_failure_{};
};

/// Does what is due over a transport that completes before `exchange` returns, and answers when to come again, or sooner
/// when something arrives.
///
/// `clock()` is the host's monotonic time; `tell(out)` hears each `live_news`, `live_note`, `live_gap`, `live_refused` and
/// `live_missed`. A transport with a `close()` is closed when the listener wants it.
template <random_source G, live_transport T, class Clock, class Tell>
[[nodiscard]] live_wait attend(live_listener<G>& l, T& way, Clock&& clock, Tell&& tell) {
    live_wait wait;
    auto const drain = [&] {
        for (;;) {
            live_output out = l.poll(clock());
            if (auto const* w = std::get_if<live_wait>(&out)) {
                wait = *w;
                return;
            }
            if (auto const* ask = std::get_if<live_ask>(&out)) {
                [[maybe_unused]] bool done = false;
                auto take = [&](transport_reply const& r) {
                    done = true;
                    if (r.message) {
                        l.handle(live_answered{*r.message}, clock());
                    } else {
                        l.handle(live_failed{r.message.error(), r.retry_after}, clock());
                    }
                };
                way.exchange(ask->message, completion::to(take));
                SYNCLINE_ASSERT(done);
            } else if (std::holds_alternative<live_close>(out)) {
                if constexpr (requires { way.close(); }) { way.close(); }
            } else {
                tell(out);
            }
        }
    };
    status const heard = way.receive([&](bytes_view message) { l.handle(live_heard{message}, clock()); });
    if (!heard && l.subscribed()) { l.handle(live_lost{}, clock()); }
    l.handle(live_tick{}, clock());
    drain();
    return wait;
}

}  // namespace syncline::inline SYNCLINE_ABI
