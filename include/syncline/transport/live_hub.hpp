// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The peer's end of live connections: who is subscribed to what, and what still has to be said to whom.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/retry/limiter.hpp>
#include <syncline/transport/fifo.hpp>
#include <syncline/transport/live_frame.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How much a hub keeps, and of whom.
struct live_hub_options {
    std::size_t members_max = 10'000;      ///< one more is `throttled`; > 0
    std::size_t topics_kept_max = 10'000;  ///< whose newest position is remembered while nobody listens
    std::size_t waiting_max = 64;          ///< notes that wait for one member; one more: all go, it missed some; > 0
    std::size_t waiting_bytes_max = std::size_t{256} * 1024;  ///< and their bytes together
    milliseconds idle_timeout{75'000};             ///< a member that was not heard of for so long is gone; > 0
    rate_options notes{.count = 20, .burst = 40};  ///< what one member may say; more is `throttled`
};
[[nodiscard]] constexpr bool valid(live_hub_options const& o) noexcept {
    return o.members_max > 0 && o.waiting_max > 0 && o.idle_timeout.count() > 0 && valid(o.notes);
}

/// Says whether a principal may hear of a topic, and speak there. It must not throw.
template <class M>
concept topic_policy = requires(M& m, std::string_view principal, std::string_view topic) {
    { m(principal, topic) } -> std::same_as<bool>;
};

/// Tells those who are connected that there is news, and carries notes between them. In memory only: nothing that it
/// loses matters, as a device that missed some pulls.
///
/// A driver (a server) joins each connection, hands in what it asks (`answer`), and after each call sends to those that
/// `next_ready` names what `take` gives. After a commit the host calls `publish`. A topic is whatever the host names so:
/// a principal, a scope, a collection. News of one topic that wait for a slow member become one, the newest; notes that
/// are too many are dropped, and the member hears that it missed some. What waits never grows beyond the options.
///
/// A hub remembers the newest position of each topic, so that one who comes back learns whether there was news. Its life
/// says whether it remembers at all: made anew, say after a restart, it needs another.
/// Threads: the caller serialises. Cost: `publish` is linear in the topic's members; the rest O(log n), a member's
/// subscription and end linear in its topics.
class live_hub {
public:
    using member = std::uint64_t;  ///< a connection's name, never used again

    /// `life` is random: `make_id`. Precondition: valid(options).
    explicit live_hub(id128 life, live_hub_options options = {}) : life_(life), options_(options) {
        SYNCLINE_ASSERT(valid(options));
    }
    live_hub(live_hub const&) = delete;
    live_hub& operator=(live_hub const&) = delete;
    ~live_hub() = default;

    /// A connection, subscribed to nothing yet, whose principal the host has authenticated. `throttled` when there are
    /// `members_max`; `invalid` for a principal that no note can carry.
    [[nodiscard]] result<member> join(std::string_view principal, monotonic_time now) {
        if (principal.size() > live_from_bytes_max || !valid_utf8(principal)) {
            return failure{errc::invalid, "principal that no note can carry"};
        }
        if (members_.size() >= options_.members_max) { return failure{errc::throttled, "as many as may listen do"}; }
        member const id = ++last_;
        members_.try_emplace(id, std::string(principal), token_bucket(options_.notes), now);
        return id;
    }
    /// The connection is gone. One that is not there is no error.
    void leave(member id) {
        auto const at = members_.find(id);
        if (at == members_.end()) { return; }
        unsubscribe(id, at->second);
        members_.erase(at);
    }

    /// Answers what a member asks: the reply's bytes. `may(principal, topic)` says whether it may hear, and speak, there.
    /// Errors: those of `decode_live_frame`; `malformed` for a frame that no device sends; `not_found` for a member that
    /// is gone; `forbidden` and `throttled` for what it says. State unchanged then.
    [[nodiscard]] result<bytes> answer(member id, bytes_view frame, monotonic_time now,
                                       function_ref<bool(std::string_view principal, std::string_view topic)> may) {
        auto const at = members_.find(id);
        if (at == members_.end()) { return failure{errc::not_found, "a member that is gone"}; }
        auto asked = decode_live_frame(frame);
        if (!asked) { return asked.error(); }
        entry& e = at->second;
        e.heard = (std::max)(e.heard, now);
        if (auto const* s = std::get_if<live_subscribe>(&*asked)) { return encode(subscribe(id, e, *s, may)); }
        if (auto const* s = std::get_if<live_say>(&*asked)) {
            if (!may(e.principal, s->topic)) { return failure{errc::forbidden, "not for this principal"}; }
            if (e.notes.take(now).count() > 0) { return failure{errc::throttled, "too many notes"}; }
            say(id, e, *s);
            return encode(live_done{});
        }
        if (std::holds_alternative<live_ping>(*asked)) { return encode(live_done{}); }
        return failure{errc::malformed, "a frame that no device sends"};
    }

    /// There is something new at a topic, up to a position: after the commit. How many members will hear of it. A
    /// position that is not above the newest, or 0, is no news. Precondition: `valid_live_topic(name)`.
    std::size_t publish(std::string_view name, std::uint64_t newest) {
        SYNCLINE_ASSERT(valid_live_topic(name));
        auto at = topics_.find(name);
        if (at == topics_.end()) {
            if (newest == 0 || unheard_ >= options_.topics_kept_max) { return 0; }
            at = topics_.try_emplace(std::string(name)).first;
            ++unheard_;
        }
        topic& t = at->second;
        if (newest <= t.newest) { return 0; }
        t.newest = newest;
        for (auto& [id, one] : t.members) {
            if (!one.waiting) {
                one.waiting = true;
                one.who->news.push(&*at);
            }
            ready(id, *one.who);
        }
        return t.members.size();
    }
    /// Tells one member something in the host's own words, in order with notes. False: it is gone, or so much waits for
    /// it that this was dropped.
    bool tell(member id, bytes_view message) {
        auto const at = members_.find(id);
        return at != members_.end() && enqueue(id, at->second, message);
    }

    /// A member for whom something waits, each once until more comes for it; nothing when there is none.
    [[nodiscard]] std::optional<member> next_ready() {
        while (!ready_.empty()) {
            member const id = ready_.pop();
            auto const at = members_.find(id);
            if (at == members_.end()) { continue; }
            at->second.ready = false;
            if (waits(at->second)) { return id; }
        }
        return std::nullopt;
    }
    /// The next message for a member, which is then taken for told. Nothing when none waits.
    [[nodiscard]] std::optional<bytes> take(member id) {
        auto const at = members_.find(id);
        if (at == members_.end()) { return std::nullopt; }
        entry& e = at->second;
        if (!e.news.empty()) {
            auto& [name, t] = *e.news.pop();
            t.members.find(id)->second.waiting = false;
            return encode(live_news{name, t.newest});
        }
        if (e.missed) {
            e.missed = false;
            return encode(live_missed{});
        }
        if (e.waiting.empty()) { return std::nullopt; }
        bytes message = e.waiting.pop();
        e.waiting_bytes -= message.size();
        return message;
    }
    /// Whether something waits for a member.
    [[nodiscard]] bool waiting(member id) const {
        auto const at = members_.find(id);
        return at != members_.end() && waits(at->second);
    }

    /// A member was heard of by other ways than `answer`.
    void heard(member id, monotonic_time now) {
        auto const at = members_.find(id);
        if (at != members_.end()) { at->second.heard = (std::max)(at->second.heard, now); }
    }
    /// Ends those that were not heard of for `idle_timeout`; `gone(member)` hears of each. Linear in the members.
    void expire(monotonic_time now, function_ref<void(member)> gone) {
        for (auto at = members_.begin(); at != members_.end();) {
            auto const next = std::next(at);
            if (now >= at->second.heard + options_.idle_timeout) {
                member const id = at->first;
                leave(id);
                gone(id);
            }
            at = next;
        }
    }

    [[nodiscard]] bool has(member id) const { return members_.find(id) != members_.end(); }
    [[nodiscard]] std::size_t members() const noexcept { return members_.size(); }
    [[nodiscard]] std::size_t topics() const noexcept { return topics_.size(); }
    [[nodiscard]] live_hub_options const& options() const noexcept { return options_; }

private:
    struct entry;
    struct listener {
        entry* who = nullptr;  ///< a map's node stays where it is
        bool waiting = false;  ///< the topic is in its `news`
    };
    struct topic {
        std::map<member, listener> members{};  ///< in the order in which they joined the hub
        std::uint64_t newest = 0;              ///< 0: nothing was published
    };
    struct by_name {
        using is_transparent = void;
        bool operator()(std::string_view a, std::string_view b) const noexcept { return a < b; }
    };
    using topic_map = std::map<std::string, topic, by_name>;
    struct entry {
        entry(std::string who, token_bucket rate, monotonic_time now)
            : principal(std::move(who)), notes(rate), heard(now) {}
        std::string principal;
        token_bucket notes;
        monotonic_time heard;
        std::vector<topic_map::value_type*> topics{};
        detail::fifo<topic_map::value_type*> news{};
        detail::fifo<bytes> waiting{};
        std::size_t waiting_bytes = 0;
        bool missed = false;
        bool ready = false;  ///< is in `ready_`
    };

    [[nodiscard]] static bool waits(entry const& e) noexcept {
        return !e.news.empty() || e.missed || !e.waiting.empty();
    }
    void ready(member id, entry& e) {
        if (!std::exchange(e.ready, true)) { ready_.push(id); }
    }
    bool enqueue(member id, entry& e, bytes_view message) {
        bool const room =
            e.waiting.size() < options_.waiting_max && message.size() <= options_.waiting_bytes_max - e.waiting_bytes;
        if (room) {
            e.waiting.push(to_bytes(message));
            e.waiting_bytes += message.size();
        } else {  // what waits is old by now, and a member that is told so asks for the whole
            e.waiting.clear();
            e.waiting_bytes = 0;
            e.missed = true;
        }
        ready(id, e);
        return room;
    }
    void say(member from, entry const& speaker, live_say const& s) {
        auto const at = topics_.find(s.topic);
        if (at == topics_.end()) { return; }
        bytes const note = encode(live_note{s.topic, speaker.principal, s.kind, s.body});
        for (auto& [id, l] : at->second.members) {
            if (id != from) { enqueue(id, *l.who, note); }
        }
    }
    [[nodiscard]] live_welcome subscribe(member id, entry& e, live_subscribe const& s,
                                         function_ref<bool(std::string_view, std::string_view)> may) {
        unsubscribe(id, e);
        live_welcome out{life_, {}};
        for (std::string const& name : s.topics) {
            if (!may(e.principal, name)) {
                out.newest.emplace_back();
                continue;
            }
            auto const [at, made] = topics_.try_emplace(name);
            topic& t = at->second;
            if (!made && t.members.empty()) { --unheard_; }
            t.members.try_emplace(id, listener{&e, false});
            e.topics.push_back(&*at);
            out.newest.emplace_back(t.newest);
        }
        return out;
    }
    void unsubscribe(member id, entry& e) {
        for (auto* const named : e.topics) {
            topic& t = named->second;
            t.members.erase(id);
            if (!t.members.empty()) { continue; }
            if (t.newest != 0 && unheard_ < options_.topics_kept_max) {
                ++unheard_;
            } else {
                topics_.erase(topics_.find(named->first));
            }
        }
        e.topics.clear();
        e.news.clear();
    }

    id128 life_;
    live_hub_options options_;
    topic_map topics_;
    std::map<member, entry> members_;
    detail::fifo<member> ready_;
    std::size_t unheard_ = 0;  ///< topics without a member
    member last_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI
