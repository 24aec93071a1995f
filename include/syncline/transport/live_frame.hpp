// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What the two ends of a live connection say to each other: subscriptions, news, notes that are kept nowhere.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/utf8.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::uint64_t live_format = 1;
inline constexpr std::size_t live_topics_max = 256;                         ///< of one subscription
inline constexpr std::size_t live_topic_bytes_max = 256;                    ///< of one name; 1 at least
inline constexpr std::size_t live_from_bytes_max = 256;                     ///< of a principal's name
inline constexpr std::size_t live_body_bytes_max = std::size_t{16} * 1024;  ///< of a note

/// What a note is about. On the wire: append, never renumber; from 64 on they are the host's own.
enum class live_note_kind : std::uint64_t {
    presence = 1,  ///< who has which record in hand and with what intent: `encode_presence` in conflict/presence.hpp
    progress = 2,  ///< how far a device is: `live_progress`
    own = 64,
};

/// Device: this is all that I want to hear of, from now on. Answered by `live_welcome`.
struct live_subscribe {
    std::vector<std::string> topics{};  ///< UTF-8, ascending by their bytes; at most `live_topics_max`
    friend bool operator==(live_subscribe const&, live_subscribe const&) = default;
};
/// Device: tell the others of the topic. Answered by `live_done`, once it is on its way to those who are there.
struct live_say {
    std::string topic{};
    live_note_kind kind = live_note_kind::own;
    bytes body{};
    friend bool operator==(live_say const&, live_say const&) = default;
};
/// Device: are you there? Answered by `live_done`.
struct live_ping {
    friend bool operator==(live_ping const&, live_ping const&) = default;
};
/// Peer: subscribed. For each topic asked for, in order, what is newest there; nothing where it may not be heard.
struct live_welcome {
    id128 life{};  ///< of the hub: another one remembers nothing of what was told before
    std::vector<std::optional<std::uint64_t>> newest{};
    friend bool operator==(live_welcome const&, live_welcome const&) = default;
};
/// Peer: done as you asked.
struct live_done {
    friend bool operator==(live_done const&, live_done const&) = default;
};
/// Peer, unasked: there is something new at the topic, up to that position. An older one may be left out.
struct live_news {
    std::string topic{};
    std::uint64_t position = 0;
    friend bool operator==(live_news const&, live_news const&) = default;
};
/// Peer, unasked: what somebody else said.
struct live_note {
    std::string topic{};
    std::string from{};  ///< the principal, as the peer knows them
    live_note_kind kind = live_note_kind::own;
    bytes body{};
    friend bool operator==(live_note const&, live_note const&) = default;
};
/// Peer, unasked: notes were left out, as you were too slow.
struct live_missed {
    friend bool operator==(live_missed const&, live_missed const&) = default;
};

/// `[format, kind, ...]` in deterministic CBOR; the kinds are the alternatives' numbers from 1 on: append, never reorder.
using live_frame =
    std::variant<live_subscribe, live_say, live_ping, live_welcome, live_done, live_news, live_note, live_missed>;

/// Whether a message begins as a frame does: then a handler that takes other messages too, which begin otherwise ("SYL"),
/// leaves it to the hub.
[[nodiscard]] inline bool is_live_frame(bytes_view message) noexcept {
    constexpr auto kinds = std::variant_size_v<live_frame>;
    return message.size() >= 3 && message[0] >= std::byte{0x82} && message[0] <= std::byte{0x86} &&
           message[1] == std::byte{live_format} && message[2] >= std::byte{1} && message[2] <= std::byte{kinds};
}

/// Whether it may be a topic's name.
[[nodiscard]] inline bool valid_live_topic(std::string_view topic) noexcept {
    return !topic.empty() && topic.size() <= live_topic_bytes_max && valid_utf8(topic);
}
[[nodiscard]] inline bool valid(live_subscribe const& s) noexcept {
    if (s.topics.size() > live_topics_max) { return false; }
    for (std::size_t i = 0; i < s.topics.size(); ++i) {
        if (!valid_live_topic(s.topics[i]) || (i != 0 && s.topics[i - 1] >= s.topics[i])) { return false; }
    }
    return true;
}
[[nodiscard]] inline bool valid(live_say const& s) noexcept {
    return valid_live_topic(s.topic) && s.body.size() <= live_body_bytes_max;
}

/// How far a device is, to be shown by others; the body of a note of kind `progress`.
struct live_progress {
    std::uint64_t pending = 0;   ///< mutations that wait to be confirmed
    std::uint64_t position = 0;  ///< up to where it holds what was confirmed
    friend bool operator==(live_progress const&, live_progress const&) = default;
};
[[nodiscard]] inline bytes encode(live_progress const& p) {
    bytes out;
    cbor_writer w(out);
    w.array(2);
    w.unsigned_integer(p.pending);
    w.unsigned_integer(p.position);
    return out;
}
/// A stranger's. Errors: those of `cbor_reader`.
[[nodiscard]] inline result<live_progress> decode_live_progress(bytes_view body) {
    cbor_reader in(body);
    live_progress p;
    if (in.array() != 2) { in.fail({errc::malformed, "progress of the wrong length"}); }
    p.pending = in.unsigned_integer();
    p.position = in.unsigned_integer();
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    return p;
}

namespace detail {

[[nodiscard]] inline std::string read_live_topic(cbor_reader& in) {
    std::string_view const topic = in.text();
    if (!in.failed() && !valid_live_topic(topic)) { in.fail({errc::malformed, "topic's name of the wrong length"}); }
    return std::string(in.failed() ? std::string_view{} : topic);
}
[[nodiscard]] inline bytes read_live_body(cbor_reader& in) {
    bytes_view const body = in.byte_string();
    if (body.size() > live_body_bytes_max) { in.fail({errc::limit, "note too long"}); }
    return in.failed() ? bytes{} : to_bytes(body);
}
[[nodiscard]] inline std::size_t read_live_count(cbor_reader& in) {
    std::size_t const n = in.array();
    if (n > live_topics_max) { in.fail({errc::limit, "too many topics"}); }
    return in.failed() ? 0 : n;
}

class live_frame_writer {
public:
    explicit live_frame_writer(bytes& out) noexcept : w_(out) {}

    void operator()(live_subscribe const& f) {
        head(1, 1);
        w_.array(f.topics.size());
        for (std::string const& t : f.topics) { w_.text(t); }
    }
    void operator()(live_say const& f) {
        head(2, 3);
        w_.text(f.topic);
        w_.unsigned_integer(static_cast<std::uint64_t>(f.kind));
        w_.byte_string(f.body);
    }
    void operator()(live_ping const&) { head(3, 0); }
    void operator()(live_welcome const& f) {
        head(4, 2);
        w_.byte_string(f.life.bytes);
        w_.array(f.newest.size());
        for (auto const& n : f.newest) {
            if (n) {
                w_.unsigned_integer(*n);
            } else {
                w_.null();
            }
        }
    }
    void operator()(live_done const&) { head(5, 0); }
    void operator()(live_news const& f) {
        head(6, 2);
        w_.text(f.topic);
        w_.unsigned_integer(f.position);
    }
    void operator()(live_note const& f) {
        head(7, 4);
        w_.text(f.topic);
        w_.text(f.from);
        w_.unsigned_integer(static_cast<std::uint64_t>(f.kind));
        w_.byte_string(f.body);
    }
    void operator()(live_missed const&) { head(8, 0); }

private:
    void head(std::uint64_t kind, std::size_t more) {
        w_.array(2 + more);
        w_.unsigned_integer(live_format);
        w_.unsigned_integer(kind);
    }
    cbor_writer w_;
};

}  // namespace detail

/// Preconditions: names are valid UTF-8 and, like bodies and counts, within the limits above.
[[nodiscard]] inline bytes encode(live_frame const& f) {
    bytes out;
    std::visit(detail::live_frame_writer(out), f);
    return out;
}

/// A stranger's frame. Errors: those of `cbor_reader`; `malformed` for names out of range; `not_deterministic` for topics
/// out of order; `limit`; `unsupported` for another format or an unknown kind.
[[nodiscard]] inline result<live_frame> decode_live_frame(bytes_view message) {
    constexpr decode_limits limits{
        .bytes_max = std::size_t{256} * 1024, .string_max = live_body_bytes_max, .items_max = 1024};
    cbor_reader in(message, limits);
    std::size_t const n = in.array();
    if (!in.failed() && n < 2) { in.fail({errc::malformed, "live frame of the wrong length"}); }
    if (in.unsigned_integer() != live_format) { in.fail({errc::unsupported, "format of a live frame"}); }
    std::uint64_t const kind = in.unsigned_integer();
    auto const more = [&](std::size_t wanted) {
        if (n != 2 + wanted) { in.fail({errc::malformed, "live frame of the wrong length"}); }
    };
    live_frame out;
    switch (in.failed() ? 0 : kind) {
        case 1: {
            more(1);
            live_subscribe f;
            std::size_t const topics = detail::read_live_count(in);
            for (std::size_t i = 0; i < topics && !in.failed(); ++i) {
                f.topics.push_back(detail::read_live_topic(in));
                if (i != 0 && f.topics[i - 1] >= f.topics[i]) {
                    in.fail({errc::not_deterministic, "topics out of order"});
                }
            }
            out = std::move(f);
            break;
        }
        case 2: {
            more(3);
            live_say f;
            f.topic = detail::read_live_topic(in);
            f.kind = static_cast<live_note_kind>(in.unsigned_integer());
            f.body = detail::read_live_body(in);
            out = std::move(f);
            break;
        }
        case 3:
            more(0);
            out = live_ping{};
            break;
        case 4: {
            more(2);
            live_welcome f;
            bytes_view const life = in.byte_string();
            if (life.size() != f.life.bytes.size()) {
                in.fail({errc::malformed, "id of the wrong length"});
            } else {
                std::copy(life.begin(), life.end(), f.life.bytes.begin());
            }
            std::size_t const topics = detail::read_live_count(in);
            for (std::size_t i = 0; i < topics && !in.failed(); ++i) {
                if (in.null()) {
                    f.newest.emplace_back();
                } else {
                    f.newest.emplace_back(in.unsigned_integer());
                }
            }
            out = std::move(f);
            break;
        }
        case 5:
            more(0);
            out = live_done{};
            break;
        case 6: {
            more(2);
            live_news f;
            f.topic = detail::read_live_topic(in);
            f.position = in.unsigned_integer();
            out = std::move(f);
            break;
        }
        case 7: {
            more(4);
            live_note f;
            f.topic = detail::read_live_topic(in);
            std::string_view const from = in.text();
            if (from.size() > live_from_bytes_max) { in.fail({errc::limit, "principal's name too long"}); }
            if (!in.failed()) { f.from = std::string(from); }
            f.kind = static_cast<live_note_kind>(in.unsigned_integer());
            f.body = detail::read_live_body(in);
            out = std::move(f);
            break;
        }
        case 8:
            more(0);
            out = live_missed{};
            break;
        default: in.fail({errc::unsupported, "kind of a live frame"}); break;
    }
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
