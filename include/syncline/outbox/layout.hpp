// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The outbox's stored form: keys, an entry's body, and which rows an entry has, as a function of its state.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {
namespace detail {

/// The byte after the prefix. docs/decisions/0002-outbox-layout.md says why these.
enum class outbox_space : char {
    // What every call writes lies together, for a storage that writes pages.
    dependants = 'a',  ///< token, token of one after it ->
    aside = 'b',       ///< token -> body of what is waiting, blocked or claimed a second time
    counters = 'c',    ///< -> counters
    own = 'd',         ///< token -> deadline of what is ready with a patience of its own
    runs = 'i',        ///< lane, class, last token -> what a claim took out of a queue and left in its place
    leases = 'l',      ///< end of lease, fence -> entries and runs
    payload = 'p',     ///< token -> a payload too long to be rewritten with its body
    ready = 'q',       ///< lane, queue, token -> body; before the token a deadline, where patience is the entry's own
    followers = 'r',   ///< length, record, token -> of the other entries of a record
    index = 's',       ///< last hash -> (hash, token of a record's first entry)...
    waits = 'w',       ///< not before, token ->
    lives = 'x',       ///< end of the time to live, token ->
    dead = 'z',        ///< token -> letter
};

/// A storage key in the making, without allocation.
class outbox_key {
public:
    outbox_key(std::string_view prefix, outbox_space space) noexcept {
        add(as_bytes(prefix));
        add(static_cast<std::uint8_t>(space));
    }
    // A copy takes what is there, not the room for more.
    outbox_key(outbox_key const& o) noexcept : size_(o.size_) { std::memcpy(raw_.data(), o.raw_.data(), o.size_); }
    outbox_key& operator=(outbox_key const& o) noexcept {
        size_ = o.size_;
        std::memmove(raw_.data(), o.raw_.data(), o.size_);
        return *this;
    }
    ~outbox_key() = default;

    outbox_key& add(std::uint8_t n) noexcept {
        raw_[size_++] = static_cast<std::byte>(n);
        return *this;
    }
    outbox_key& add(std::uint64_t n) noexcept {
        SYNCLINE_ASSERT(raw_.size() - size_ >= 8);
        write_u64(raw_.data() + size_, n);
        size_ += 8;
        return *this;
    }
    outbox_key& add(bytes_view b) noexcept {
        SYNCLINE_ASSERT(b.size() <= raw_.size() - size_);
        if (!b.empty()) { std::memcpy(raw_.data() + size_, b.data(), b.size()); }
        size_ += b.size();
        return *this;
    }
    operator bytes_view() const noexcept { return {raw_.data(), size_}; }

private:
    std::array<std::byte, key_bytes_max + 1> raw_;
    std::size_t size_ = 0;
};

/// Milliseconds as a number whose unsigned order is the order in time.
[[nodiscard]] constexpr std::uint64_t outbox_time_bits(wall_time t) noexcept {
    return static_cast<std::uint64_t>(t.time_since_epoch().count()) ^ (std::uint64_t{1} << 63);
}
[[nodiscard]] constexpr wall_time outbox_time(std::uint64_t bits) noexcept {
    return wall_time{milliseconds{static_cast<milliseconds::rep>(bits ^ (std::uint64_t{1} << 63))}};
}
/// `t` as seen from `from`, for a varint: short where they are close, exact for any two.
[[nodiscard]] constexpr std::uint64_t outbox_time_after(wall_time t, wall_time from) noexcept {
    return zigzag(static_cast<std::int64_t>(static_cast<std::uint64_t>(t.time_since_epoch().count()) -
                                            static_cast<std::uint64_t>(from.time_since_epoch().count())));
}
[[nodiscard]] constexpr wall_time outbox_time_from(wall_time from, std::uint64_t after) noexcept {
    return wall_time{milliseconds{static_cast<milliseconds::rep>(
        static_cast<std::uint64_t>(from.time_since_epoch().count()) + static_cast<std::uint64_t>(unzigzag(after)))}};
}
/// `t + d` for `d` not negative, at most the last moment.
[[nodiscard]] constexpr wall_time outbox_later(wall_time t, milliseconds d) noexcept {
    return d > milliseconds::zero() && t > (wall_time::max)() - d ? (wall_time::max)() : t + d;
}

// A token says where its entry stands when it is ready: sequence, 8 bits of lane, 2 of class.

inline constexpr unsigned outbox_token_shift = 10;
[[nodiscard]] constexpr std::uint64_t outbox_token(std::uint64_t sequence, std::uint8_t lane, priority p) noexcept {
    return sequence << outbox_token_shift | std::uint64_t{lane} << 2 | static_cast<std::uint64_t>(p);
}
[[nodiscard]] constexpr std::uint64_t outbox_sequence(std::uint64_t token) noexcept {
    return token >> outbox_token_shift;
}
[[nodiscard]] constexpr std::uint8_t outbox_lane(std::uint64_t token) noexcept {
    return static_cast<std::uint8_t>(token >> 2);
}
[[nodiscard]] constexpr priority outbox_class(std::uint64_t token) noexcept {
    return static_cast<priority>(token & 3U);
}

[[nodiscard]] inline std::uint32_t outbox_hash(bytes_view record) noexcept {
    return static_cast<std::uint32_t>(xxh3_64(record) >> 32);
}

inline void append_u16(bytes& out, std::uint16_t n) {
    out.push_back(static_cast<std::byte>(n >> 8));
    out.push_back(static_cast<std::byte>(n & 0xFFU));
}
inline void append_u32(bytes& out, std::uint32_t n) {
    std::array<std::byte, 4> raw;
    for (std::size_t i = 0; i < 4; ++i) { raw[i] = static_cast<std::byte>(n >> (24 - 8 * i)); }
    append(out, raw);
}
[[nodiscard]] inline std::uint16_t read_u16(bytes_view b) noexcept {
    return static_cast<std::uint16_t>(std::to_integer<unsigned>(b[0]) << 8 | std::to_integer<unsigned>(b[1]));
}
[[nodiscard]] inline std::uint32_t read_u32(bytes_view b) noexcept {
    auto const byte = [&](std::size_t i) { return std::to_integer<std::uint32_t>(b[i]); };
    return byte(0) << 24 | byte(1) << 16 | byte(2) << 8 | byte(3);
}

/// The queues of a lane: one of each kind for each class.
enum class outbox_queue : std::uint8_t {
    fresh = 0,  ///< by token. A claim takes the first of them and leaves them where they are, before the mark
    own = 4,    ///< by deadline
    again = 8,  ///< by token: what became ready behind the mark
};
[[nodiscard]] constexpr std::uint8_t outbox_queue_byte(outbox_queue q, priority served_as) noexcept {
    return static_cast<std::uint8_t>(static_cast<unsigned>(q) + static_cast<unsigned>(served_as));
}
inline constexpr unsigned outbox_queue_bytes = 12;

/// A lane that has living entries.
struct outbox_lane_counters {
    std::uint8_t lane = 0;
    std::uint64_t entries = 0;
    std::uint64_t bytes = 0;
    /// For each class: what stands in the fresh queue before this token is claimed, all else there is ready.
    std::array<std::uint64_t, 4> marks{};
};

/// The one value that counts.
struct outbox_counters {
    std::uint64_t sequence = 0;                 ///< last given
    std::uint64_t fence = 0;                    ///< last given
    std::uint64_t waits = 0;                    ///< rows in `waits`: where there are none, nobody has to look
    std::uint64_t lives = 0;                    ///< rows in `lives`
    std::uint64_t leased = 0;                   ///< entries and runs in `leases`
    std::vector<outbox_lane_counters> lanes{};  ///< by number

    [[nodiscard]] outbox_lane_counters* find(std::uint8_t lane) noexcept {
        for (outbox_lane_counters& l : lanes) {
            if (l.lane == lane) { return &l; }
        }
        return nullptr;
    }
    [[nodiscard]] outbox_lane_counters const* find(std::uint8_t lane) const noexcept {
        return const_cast<outbox_counters*>(this)->find(lane);
    }
    [[nodiscard]] outbox_lane_counters& of(std::uint8_t lane) {
        auto at = lanes.begin();
        while (at != lanes.end() && at->lane < lane) { ++at; }
        if (at == lanes.end() || at->lane != lane) {
            at = lanes.insert(at, outbox_lane_counters{});
            at->lane = lane;
        }
        return *at;
    }
    [[nodiscard]] std::uint64_t mark(std::uint8_t lane, priority served_as) const noexcept {
        outbox_lane_counters const* const l = find(lane);
        return l == nullptr ? 0 : l->marks[static_cast<std::size_t>(served_as)];
    }
    [[nodiscard]] std::uint64_t entries() const noexcept {
        std::uint64_t n = 0;
        for (outbox_lane_counters const& l : lanes) { n += l.entries; }
        return n;
    }
    [[nodiscard]] std::uint64_t bytes() const noexcept {
        std::uint64_t n = 0;
        for (outbox_lane_counters const& l : lanes) { n += l.bytes; }
        return n;
    }
};
inline constexpr unsigned outbox_form_counters = 0x53;

inline void encode_counters(bytes& out, outbox_counters const& c) {
    out.clear();
    out.push_back(static_cast<std::byte>(outbox_form_counters));
    for (std::uint64_t const n : {c.sequence, c.fence, c.waits, c.lives, c.leased}) { append_u64(out, n); }
    for (outbox_lane_counters const& l : c.lanes) {
        if (l.entries == 0) { continue; }
        unsigned marked = 0;
        for (std::size_t i = 0; i < 4; ++i) { marked |= l.marks[i] != 0 ? 1U << i : 0U; }
        out.push_back(static_cast<std::byte>(l.lane));
        out.push_back(static_cast<std::byte>(marked));
        append_u64(out, l.entries);
        append_u64(out, l.bytes);
        for (std::uint64_t const mark : l.marks) {
            if (mark != 0) { append_u64(out, mark); }
        }
    }
}
[[nodiscard]] inline status decode_counters(outbox_counters& c, bytes_view in) {
    constexpr failure bad{errc::corrupt, "outbox counters"};
    if (in.size() < 41 || std::to_integer<unsigned>(in[0]) != outbox_form_counters) { return bad; }
    in = in.subspan(1);
    for (std::uint64_t* const n : {&c.sequence, &c.fence, &c.waits, &c.lives, &c.leased}) {
        *n = read_u64(in);
        in = in.subspan(8);
    }
    while (!in.empty()) {
        if (in.size() < 18) { return bad; }
        outbox_lane_counters l;
        l.lane = std::to_integer<std::uint8_t>(in[0]);
        auto const marked = std::to_integer<unsigned>(in[1]);
        l.entries = read_u64(in.subspan(2));
        l.bytes = read_u64(in.subspan(10));
        in = in.subspan(18);
        if (marked > 15 || l.entries == 0 || (!c.lanes.empty() && c.lanes.back().lane >= l.lane)) { return bad; }
        for (std::size_t i = 0; i < 4; ++i) {
            if ((marked >> i & 1U) == 0) { continue; }
            if (in.size() < 8) { return bad; }
            l.marks[i] = read_u64(in);
            in = in.subspan(8);
            if (l.marks[i] == 0) { return bad; }
        }
        c.lanes.push_back(l);
    }
    return {};
}

/// What is stored about an entry, but its records and payload.
struct outbox_header {
    enum class phase : std::uint8_t { pending = 0, waiting = 1, claimed = 2 };
    phase state = phase::pending;
    priority urgency = priority::normal;  ///< as it is served
    wall_time entered{};
    std::uint64_t fence = 0;  ///< 0 = never claimed, and the next three are not stored
    wall_time time{};         ///< waiting: not before; claimed: end of the lease; else not stored
    std::uint32_t attempts = 0;
    std::uint16_t batch_max = 0;
    std::optional<milliseconds> patience{};  ///< its own; from 0
    std::optional<wall_time> expires{};
    std::uint32_t dependants = 0;
    std::uint8_t behind = 0;               ///< records of its in which it is not the first
    std::vector<std::uint64_t> parents{};  ///< what it is after and that is not done
    std::optional<std::uint32_t> apart{};  ///< size of a payload that is kept under a key of its own
    [[nodiscard]] bool held() const noexcept { return behind != 0 || !parents.empty(); }
    /// Where it stands in a queue by deadline, if it does.
    [[nodiscard]] std::optional<wall_time> own_deadline() const noexcept {
        if (!patience || urgency == priority::critical) { return {}; }
        return outbox_later(entered, *patience);
    }
};

/// Payloads longer than this are kept apart, so that a move of their entry doesn't write them again.
inline constexpr std::size_t outbox_inline_max = 1024;

/// The rows that an entry has beside those of its records and dependants. A function of its state: a move is the
/// difference of two.
struct outbox_rows {
    enum class place : std::uint8_t {
        none,
        ready,
        taken,  ///< claimed, and where it stood when it was ready: its run says by whom. Only a claim puts it there
        kept,   ///< the same, but claimed alone: its body says by whom
        aside,
        dead
    };
    place at = place::none;
    std::uint8_t queue = 0;               ///< ready, taken, kept
    std::optional<wall_time> deadline{};  ///< ready in a queue by deadline: in its key, and a row in `own`
    std::optional<wall_time> wait{};      ///< a row in `waits`
    std::optional<wall_time> life{};      ///< a row in `lives`
    std::optional<wall_time> lease{};     ///< a place of its own in a row of `leases`, with `fence`
    std::uint64_t fence = 0;
};

/// An entry as it was read, or is to be written.
struct stored_entry {
    std::uint64_t token = 0;
    outbox_header header{};
    bool dead = false;
    errc reason{};    ///< dead
    bytes verdict{};  ///< dead
    bytes value{};    ///< as read; holds records and payload
    std::size_t records_at = 0;
    std::size_t payload_at = 0;
    std::size_t inline_bytes = 0;  ///< of the payload in the value; 0 when it is apart
    outbox_rows rows{};            ///< that are in the storage

    /// The section of records: empty, or each with its length, a byte below 128, else two; before several 0 and their
    /// number.
    [[nodiscard]] bytes_view records() const noexcept {
        return bytes_view{value}.subspan(records_at, payload_at - records_at);
    }
    /// What stands in the value itself: empty when the payload is apart.
    [[nodiscard]] bytes_view inline_payload() const noexcept {
        return bytes_view{value}.subspan(payload_at, (std::min)(inline_bytes, value.size() - payload_at));
    }
    [[nodiscard]] std::size_t payload_size() const noexcept { return header.apart ? *header.apart : inline_bytes; }
    [[nodiscard]] std::size_t record_count() const noexcept {
        if (payload_at == records_at) { return 0; }
        return value[records_at] != std::byte{0} ? 1 : std::to_integer<std::size_t>(value[records_at + 1]);
    }
    /// Calls `visit(record)` for each, until it answers false.
    template <class F>
    void each_record(F&& visit) const {
        bytes_view rest = records();
        if (!rest.empty() && rest[0] == std::byte{0}) { rest = rest.subspan(2); }
        while (!rest.empty()) {
            auto const lead = std::to_integer<std::size_t>(rest[0]);
            std::size_t const at = lead < 128 ? 1 : 2;
            std::size_t const n = at == 1 ? lead : (lead & 127U) << 8 | std::to_integer<std::size_t>(rest[1]);
            if (!visit(rest.subspan(at, n))) { return; }
            rest = rest.subspan(at + n);
        }
    }
    [[nodiscard]] std::uint64_t size() const noexcept {
        std::uint64_t n = payload_size();
        each_record([&](bytes_view record) {
            n += record.size();
            return true;
        });
        return n;
    }
    /// `mark`: of its lane and class.
    [[nodiscard]] outbox_rows rows_due(std::uint64_t mark) const noexcept {
        using phase = outbox_header::phase;
        outbox_rows r;
        if (dead) {
            r.at = outbox_rows::place::dead;
            return r;
        }
        bool const held = header.held();
        bool const ready = header.state == phase::pending && !held;
        r.at = ready ? outbox_rows::place::ready : outbox_rows::place::aside;
        if (ready) {
            r.deadline = header.own_deadline();
            r.queue = outbox_queue_byte(r.deadline     ? outbox_queue::own
                                        : token < mark ? outbox_queue::again
                                                       : outbox_queue::fresh,
                                        header.urgency);
        }
        if (header.state == phase::waiting && !held) { r.wait = header.time; }
        if (header.fence == 0 && header.expires) { r.life = header.expires; }
        if (header.state == phase::claimed && header.time != (wall_time::max)()) {
            r.lease = header.time;
            r.fence = header.fence;
        }
        return r;
    }
};

inline constexpr unsigned outbox_form_body = 0xA0;    ///< and the phase, and what else there is
inline constexpr unsigned outbox_form_letter = 0xD0;  ///< before a body: reason, size of the verdict, verdict

/// A section of records. `more` in the order given.
inline void encode_records(bytes& out, bytes_view record, std::span<bytes_view const> more) {
    out.clear();
    if (record.empty()) { return; }
    auto const add = [&](bytes_view r) {
        if (r.size() >= 128) { out.push_back(static_cast<std::byte>(128 | r.size() >> 8)); }
        out.push_back(static_cast<std::byte>(r.size() & 0xFFU));
        append(out, r);
    };
    if (!more.empty()) {
        out.push_back(std::byte{0});
        out.push_back(static_cast<std::byte>(1 + more.size()));
    }
    add(record);
    for (bytes_view const r : more) { add(r); }
}

/// Writes numbers and bytes one behind the other, where there is room.
class outbox_writer {
public:
    explicit outbox_writer(bytes& out) noexcept : to_(out.data()) {}
    void u8(unsigned n) noexcept { *to_++ = static_cast<std::byte>(n); }
    void u16(std::uint16_t n) noexcept {
        u8(n >> 8);
        u8(n & 0xFFU);
    }
    void u32(std::uint32_t n) noexcept {
        u16(static_cast<std::uint16_t>(n >> 16));
        u16(static_cast<std::uint16_t>(n & 0xFFFFU));
    }
    void u64(std::uint64_t n) noexcept {
        write_u64(to_, n);
        to_ += 8;
    }
    void varint(std::uint64_t n) noexcept {
        for (; n > 0x7F; n >>= 7) { u8(static_cast<unsigned>(n & 0x7FU) | 0x80U); }
        u8(static_cast<unsigned>(n));
    }
    void all(bytes_view b) noexcept {
        if (!b.empty()) { std::memcpy(to_, b.data(), b.size()); }
        to_ += b.size();
    }
    [[nodiscard]] std::byte const* end() const noexcept { return to_; }

private:
    std::byte* to_;
};

/// Makes an entry's value: a letter's lead if it is dead, header, records, payload.
inline void encode_entry(bytes& out, stored_entry const& e, bytes_view records, bytes_view payload) {
    outbox_header const& h = e.header;
    bool const held = h.held();
    bool const batch = h.fence != 0 && h.batch_max != 0;
    bool const timed = h.state != outbox_header::phase::pending;
    std::uint64_t const entered = zigzag(h.entered.time_since_epoch().count());
    std::size_t size = 2 + varint_size(entered) + records.size() + payload.size();
    if (e.dead) { size += 6 + e.verdict.size(); }
    if (h.fence != 0) { size += varint_size(h.fence) + varint_size(h.attempts) + (batch ? 2 : 0); }
    if (h.fence != 0 && timed) { size += varint_size(outbox_time_after(h.time, h.entered)); }
    if (h.patience) { size += varint_size(static_cast<std::uint64_t>(h.patience->count())); }
    if (h.expires) { size += varint_size(outbox_time_after(*h.expires, h.entered)); }
    if (h.dependants != 0) { size += 4; }
    if (held) { size += 3 + 8 * h.parents.size(); }
    if (h.apart) { size += 4; }
    out.resize(size);
    outbox_writer to{out};
    if (e.dead) {
        to.u8(outbox_form_letter);
        to.u8(static_cast<unsigned>(e.reason));
        to.u32(static_cast<std::uint32_t>(e.verdict.size()));
        to.all(e.verdict);
    }
    unsigned flags = static_cast<unsigned>(h.urgency);
    if (h.fence != 0) { flags |= 0x04U; }
    if (h.expires) { flags |= 0x08U; }
    if (h.dependants != 0) { flags |= 0x10U; }
    if (held) { flags |= 0x20U; }
    if (!records.empty()) { flags |= 0x40U; }
    if (h.apart) { flags |= 0x80U; }
    to.u8(outbox_form_body | (h.patience ? 0x08U : 0U) | (batch ? 0x04U : 0U) | static_cast<unsigned>(h.state));
    to.u8(flags);
    to.varint(entered);
    if (h.fence != 0) {
        to.varint(h.fence);
        if (timed) { to.varint(outbox_time_after(h.time, h.entered)); }
        to.varint(h.attempts);
        if (batch) { to.u16(h.batch_max); }
    }
    if (h.patience) { to.varint(static_cast<std::uint64_t>(h.patience->count())); }
    if (h.expires) { to.varint(outbox_time_after(*h.expires, h.entered)); }
    if (h.dependants != 0) { to.u32(h.dependants); }
    if (held) {
        to.u8(h.behind);
        to.u16(static_cast<std::uint16_t>(h.parents.size()));
        for (std::uint64_t const p : h.parents) { to.u64(p); }
    }
    if (h.apart) { to.u32(*h.apart); }
    to.all(records);
    to.all(payload);
    SYNCLINE_ASSERT(to.end() == out.data() + out.size());
}

/// Reads a value, which it doesn't keep; `letter` says what it has to be. `errc::corrupt` for anything that
/// `encode_entry` doesn't write. Which rows the entry has is for the caller to say.
[[nodiscard]] inline status decode_entry(stored_entry& e, bytes_view const value, bool letter) {
    constexpr failure bad{errc::corrupt, "outbox entry"};
    bytes_view in = value;
    e.dead = letter;
    e.reason = {};
    e.verdict.clear();
    if (letter) {
        if (in.size() < 6 || std::to_integer<unsigned>(in[0]) != outbox_form_letter) { return bad; }
        e.reason = static_cast<errc>(in[1]);
        std::size_t const n = read_u32(in.subspan(2));
        in = in.subspan(6);
        if (in.size() < n) { return bad; }
        e.verdict.assign(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(n));
        in = in.subspan(n);
    }
    if (in.size() < 3) { return bad; }
    outbox_header& h = e.header;
    h = outbox_header{};
    auto const lead = std::to_integer<unsigned>(in[0]);
    auto const flags = std::to_integer<unsigned>(in[1]);
    bool const batch = (lead & 0x04U) != 0;
    if ((lead & 0xF0U) != outbox_form_body || (lead & 3U) > 2) { return bad; }
    h.state = static_cast<outbox_header::phase>(lead & 3U);
    h.urgency = static_cast<priority>(flags & 3U);
    in = in.subspan(2);
    auto const entered = take_varint(in);
    if (!entered) { return bad; }
    h.entered = outbox_time_from({}, *entered);
    if ((flags & 0x04U) != 0) {
        auto const fence = take_varint(in);
        if (!fence || *fence == 0) { return bad; }
        h.fence = *fence;
        if (h.state != outbox_header::phase::pending) {
            auto const after = take_varint(in);
            if (!after) { return bad; }
            h.time = outbox_time_from(h.entered, *after);
        }
        auto const attempts = take_varint(in);
        if (!attempts || *attempts > (std::numeric_limits<std::uint32_t>::max)()) { return bad; }
        h.attempts = static_cast<std::uint32_t>(*attempts);
        if (batch) {
            if (in.size() < 2 || read_u16(in) == 0) { return bad; }
            h.batch_max = read_u16(in);
            in = in.subspan(2);
        }
    } else if (batch || h.state != outbox_header::phase::pending) {
        return bad;
    }
    if ((lead & 0x08U) != 0) {
        auto const patience = take_varint(in);
        if (!patience || *patience >> 63 != 0) { return bad; }
        h.patience = milliseconds{static_cast<milliseconds::rep>(*patience)};
    }
    if ((flags & 0x08U) != 0) {
        auto const after = take_varint(in);
        if (!after) { return bad; }
        h.expires = outbox_time_from(h.entered, *after);
    }
    if ((flags & 0x10U) != 0) {
        if (in.size() < 4) { return bad; }
        h.dependants = read_u32(in);
        in = in.subspan(4);
        if (h.dependants == 0) { return bad; }
    }
    if ((flags & 0x20U) != 0) {
        if (in.size() < 3) { return bad; }
        h.behind = std::to_integer<std::uint8_t>(in[0]);
        std::size_t const n = read_u16(in.subspan(1));
        in = in.subspan(3);
        if (n > outbox_after_max || in.size() < 8 * n || (n == 0 && h.behind == 0)) { return bad; }
        h.parents.reserve(n);
        for (std::size_t i = 0; i < n; ++i) { h.parents.push_back(read_u64(in.subspan(8 * i))); }
        in = in.subspan(8 * n);
    }
    if ((flags & 0x80U) != 0) {
        if (in.size() < 4) { return bad; }
        h.apart = read_u32(in);
        in = in.subspan(4);
    }
    e.records_at = value.size() - in.size();
    std::size_t records = 0;
    if ((flags & 0x40U) != 0) {
        if (in.empty()) { return bad; }
        std::size_t n = 1;
        if (in[0] == std::byte{0}) {
            n = in.size() < 2 ? 0 : std::to_integer<std::size_t>(in[1]);
            if (n < 2 || n > outbox_records_max) { return bad; }
            in = in.subspan(2);
        }
        records = n;
        for (std::size_t i = 0; i < n; ++i) {
            if (in.size() < 2) { return bad; }
            auto size = std::to_integer<std::size_t>(in[0]);
            std::size_t const at = size < 128 ? 1 : 2;
            if (at == 2) { size = (size & 127U) << 8 | std::to_integer<std::size_t>(in[1]); }
            if (size == 0 || (at == 2 && size < 128) || size > outbox_record_bytes_max || in.size() - at < size) {
                return bad;
            }
            in = in.subspan(at + size);
        }
    }
    e.payload_at = value.size() - in.size();
    e.inline_bytes = in.size();
    if (h.apart && !in.empty()) { return bad; }
    return h.behind > records ? status{bad} : status{};
}

}  // namespace detail
}  // namespace syncline::inline SYNCLINE_ABI
