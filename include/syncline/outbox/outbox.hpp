// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A durable priority queue of what has to be sent: order per record, leases with fences, dead letters.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How long an entry may stand behind others. Stored: append, never renumber.
enum class priority : std::uint8_t {
    critical = 0,    ///< a band of its own, before all others
    important = 1,   ///< the rest goes by deadline: time of entry plus the patience of the class
    normal = 2,      ///<
    background = 3,  ///<
};

/// Where an entry is: in exactly one of these.
enum class entry_state : std::uint8_t {
    ready,    ///< the head of its record, or without one, and may be claimed
    waiting,  ///< the head of its record, not before a time
    blocked,  ///< stands behind another entry of its record
    claimed,  ///< a claimant has it, until it says what became of it or its lease ends
    dead,     ///< given up, kept with its verdict until a person revives or discards it
};

/// Limits and patience. All times in milliseconds, none negative.
struct outbox_options {
    milliseconds patience_important{std::chrono::minutes{5}};  ///< deadline after entry, important class
    milliseconds patience_normal{std::chrono::minutes{30}};    ///< deadline after entry, normal class
    milliseconds patience_background{std::chrono::hours{1}};   ///< deadline after entry, background class
    milliseconds lease{std::chrono::seconds{60}};              ///< how long a claim holds, unless the claim says; > 0
    /// The longest wait or lease that is believed. What is due later than this from now was written under a clock
    /// that has since been set back, and is due at once. Longer leases are cut to it; > 0.
    milliseconds wait_max{std::chrono::hours{24}};
    std::uint64_t entries_max = 0;       ///< living entries; one more is refused; 0 = no limit
    std::uint64_t bytes_max = 0;         ///< records and payloads of living entries; more is refused; 0 = no limit
    std::uint32_t promotions_max = 256;  ///< waits and leases, each, that one claim ends; > 0
    friend constexpr bool operator==(outbox_options const&, outbox_options const&) = default;
};
[[nodiscard]] constexpr bool valid(outbox_options const& o) noexcept {
    return o.patience_important.count() >= 0 && o.patience_normal.count() >= 0 && o.patience_background.count() >= 0 &&
           o.lease.count() > 0 && o.wait_max.count() > 0 && o.promotions_max > 0;
}

/// What enters. Borrowed for the call.
struct outbox_item {
    priority urgency = priority::normal;
    bytes_view record{};   ///< entries of one record keep their order; at most 400 bytes; empty = in no order
    bytes_view payload{};  ///< opaque; at most what the storage takes, less `outbox_overhead_max`
};

/// Longest order key of an entry.
inline constexpr std::size_t outbox_record_bytes_max = 400;
/// Most bytes that a stored value holds beside the payload (a dead letter's: record and verdict come on top).
inline constexpr std::size_t outbox_overhead_max = 64;

/// An entry as it stands in the queue.
struct outbox_entry {
    std::uint64_t token = 0;  ///< its name, in order of entry, never used twice
    std::uint64_t fence = 0;  ///< of its last claim; 0 = never claimed; a later claim has a greater one
    priority urgency = priority::normal;
    entry_state state = entry_state::ready;
    wall_time entered{};  ///< when it was enqueued, or revived
    wall_time
        not_before{};  ///< waiting, or blocked after a wait: until when; claimed: end of the lease, `max()` = never
    std::uint32_t attempts = 0;  ///< claims that ended in a release or with their lease
    bytes record{};
    bytes payload{};
    errc reason{};    ///< dead: why
    bytes verdict{};  ///< dead: what was said about it, opaque
    friend bool operator==(outbox_entry const&, outbox_entry const&) = default;
};

/// What one call of `claim` takes.
struct claim_options {
    std::size_t entries_max = 100;
    std::size_t bytes_max = std::size_t{1} << 20;  ///< of payloads; one entry is given even when longer
    priority lowest = priority::background;        ///< entries of less urgent classes are passed over
    std::optional<milliseconds> lease{};           ///< empty = the outbox's; `milliseconds::max()` = never ends
    /// Entries of one record that one call gives, in order. Above one, the claimant must not let a later one
    /// take effect when an earlier one did not: it releases the later ones too.
    std::size_t record_run_max = 1;
};

/// What is in an outbox.
struct outbox_summary {
    /// Entries by class and state: `count[class][state]`.
    std::array<std::array<std::uint64_t, 5>, 4> count{};
    std::uint64_t entries = 0;          ///< living: all but the dead
    std::uint64_t bytes = 0;            ///< records and payloads of the living
    std::uint64_t dead = 0;             ///< dead letters
    std::optional<wall_time> oldest{};  ///< earliest entry among the living
    [[nodiscard]] std::uint64_t of(priority p, entry_state s) const noexcept {
        return count[static_cast<std::size_t>(p)][static_cast<std::size_t>(s)];
    }
    friend bool operator==(outbox_summary const&, outbox_summary const&) = default;
};

namespace detail {

/// A storage key in the making, without allocation.
class outbox_key {
public:
    outbox_key(std::string_view prefix, char keyspace) noexcept {
        add(as_bytes(prefix));
        add(static_cast<std::uint8_t>(keyspace));
    }
    outbox_key& add(std::uint8_t n) noexcept {
        raw_[size_++] = static_cast<std::byte>(n);
        return *this;
    }
    outbox_key& add(std::uint64_t n) noexcept {
        for (unsigned shift = 64; shift != 0; shift -= 8) { add(static_cast<std::uint8_t>(n >> (shift - 8))); }
        return *this;
    }
    outbox_key& add(bytes_view b) noexcept {
        SYNCLINE_ASSERT(b.size() <= raw_.size() - size_);
        std::copy(b.begin(), b.end(), raw_.begin() + static_cast<std::ptrdiff_t>(size_));
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
/// `t + d` for `d` not negative, at most the last moment.
[[nodiscard]] constexpr wall_time outbox_later(wall_time t, milliseconds d) noexcept {
    return d > milliseconds::zero() && t > (wall_time::max)() - d ? (wall_time::max)() : t + d;
}

/// The one value that counts.
struct outbox_counters {
    std::uint64_t token = 0;    ///< last given
    std::uint64_t fence = 0;    ///< last given
    std::uint64_t entries = 0;  ///< living
    std::uint64_t bytes = 0;    ///< records and payloads of the living
    /// No ready entry has a later deadline (time bits): only when this is implausible has the clock been set back.
    std::uint64_t deadline_high = 0;
};

/// What is stored before the payload of a living entry.
struct outbox_header {
    enum class phase : std::uint8_t { pending = 0, waiting = 1, claimed = 2 };
    phase state = phase::pending;
    priority urgency = priority::normal;
    wall_time entered{};
    wall_time deadline{};
    std::uint64_t fence = 0;  ///< 0 = never claimed, and the rest is not stored
    wall_time time{};         ///< waiting: not before; claimed: end of the lease
    std::uint32_t attempts = 0;
};

inline constexpr std::uint8_t outbox_form_fresh = 0x10;    ///< entered, deadline
inline constexpr std::uint8_t outbox_form_claimed = 0x20;  ///< and fence, time, attempts
inline constexpr std::uint8_t outbox_form_record = 0x30;   ///< under a token: the body is under this record
inline constexpr std::uint8_t outbox_form_dead = 0x40;     ///< a dead letter
inline constexpr std::uint8_t outbox_form_counters = 0x50;

inline void append_u32(bytes& out, std::uint32_t n) {
    std::array<std::byte, 4> raw;
    for (std::size_t i = 0; i < 4; ++i) { raw[i] = static_cast<std::byte>(n >> (24 - 8 * i)); }
    append(out, raw);
}
[[nodiscard]] inline std::uint32_t read_u32(bytes_view b) noexcept {
    std::uint32_t n = 0;
    for (std::size_t i = 0; i < 4; ++i) { n = (n << 8) | std::to_integer<std::uint32_t>(b[i]); }
    return n;
}

/// A living entry's value: header, then payload.
inline void outbox_encode(bytes& out, outbox_header const& h, bytes_view payload) {
    bool const fresh = h.fence == 0;
    out.clear();
    out.reserve((fresh ? 17U : 37U) + payload.size());
    unsigned const form = fresh ? outbox_form_fresh : outbox_form_claimed;
    out.push_back(
        static_cast<std::byte>(form | static_cast<unsigned>(h.state) | static_cast<unsigned>(h.urgency) << 2));
    append_u64(out, outbox_time_bits(h.entered));
    append_u64(out, outbox_time_bits(h.deadline));
    if (!fresh) {
        append_u64(out, h.fence);
        append_u64(out, outbox_time_bits(h.time));
        append_u32(out, h.attempts);
    }
    append(out, payload);
}
/// The header, and where the payload begins; `errc::corrupt` when it is none.
[[nodiscard]] inline result<std::size_t> outbox_decode(bytes_view in, outbox_header& h) noexcept {
    if (in.size() < 17) { return failure{errc::corrupt, "outbox entry too short"}; }
    auto const lead = std::to_integer<unsigned>(in[0]);
    bool const fresh = (lead & 0xF0U) == outbox_form_fresh;
    if (!fresh && (lead & 0xF0U) != outbox_form_claimed) { return failure{errc::corrupt, "outbox entry's form"}; }
    h.state = static_cast<outbox_header::phase>(lead & 3U);
    h.urgency = static_cast<priority>((lead >> 2) & 3U);
    h.entered = outbox_time(read_u64(in.subspan(1)));
    h.deadline = outbox_time(read_u64(in.subspan(9)));
    h.fence = 0;
    h.time = {};
    h.attempts = 0;
    if (fresh) {
        if (h.state != outbox_header::phase::pending) { return failure{errc::corrupt, "outbox entry's state"}; }
        return std::size_t{17};
    }
    if (in.size() < 37) { return failure{errc::corrupt, "outbox entry too short"}; }
    h.fence = read_u64(in.subspan(17));
    h.time = outbox_time(read_u64(in.subspan(25)));
    h.attempts = read_u32(in.subspan(33));
    if (h.state > outbox_header::phase::claimed || h.fence == 0) {
        return failure{errc::corrupt, "outbox entry's state"};
    }
    return std::size_t{37};
}

}  // namespace detail

/// A durable priority outbox over any storage.
///
/// Holds options and nothing else: every call reads and writes the transaction that it is given, so the caller's
/// own rows and the outbox commit or roll back together, and any number of objects and processes may work on one
/// store. All keys begin with the prefix. Nothing leaves but by `ack`, `withdraw` or `discard`.
///
/// Order: critical entries first, by age; the rest by deadline = time of entry + patience of the class. Entries of
/// one record are given in order of entry, whatever their classes: only the head of a record is ready.
///
/// Errors: those of the storage; after one of them in a call that writes, roll the transaction back. `errc::corrupt`
/// for a damaged value: roll back as well. Every other error leaves the outbox as it was.
/// Cost: stated in storage operations at each call; memory in proportion to what is returned.
class outbox {
public:
    /// Precondition: valid(options); the prefix has 1 to 64 bytes and is neither another component's, nor the
    /// beginning of one, nor begins with one.
    explicit outbox(outbox_options options = {}, std::string_view prefix = "o") : options_(options), prefix_(prefix) {
        SYNCLINE_ASSERT(valid(options));
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }

    [[nodiscard]] outbox_options const& options() const noexcept { return options_; }

    /// Takes an entry in; its token, one more than the last.
    /// Errors: `errc::limit` (entries_max, bytes_max), `errc::invalid` (record longer than 400 bytes).
    /// Cost: one get, four puts and a scan of one row; without a record one get and three puts.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::uint64_t> enqueue(Tx& tx, outbox_item const& item, wall_time now) const {
        return enqueue_all(tx, std::span<outbox_item const>{&item, 1}, now);
    }

    /// Takes several in, all or none; the token of the first, the others follow. Errors: as `enqueue`.
    /// Cost: one get and one put, and for an entry three puts and a scan of one row, without a record two puts.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::uint64_t> enqueue_all(Tx& tx, std::span<outbox_item const> items, wall_time now) const {
        counters c;
        if (auto s = load(tx, c); !s) { return s.error(); }
        std::uint64_t const first = c.token + 1;
        std::uint64_t size = 0;
        for (outbox_item const& item : items) {
            if (item.record.size() > outbox_record_bytes_max || item.urgency > priority::background) {
                return failure{errc::invalid, "outbox item"};
            }
            size += item.record.size() + item.payload.size();
        }
        if (options_.entries_max != 0 &&
            (c.entries > options_.entries_max || items.size() > options_.entries_max - c.entries)) {
            return failure{errc::limit, "outbox entries"};
        }
        if (!fits(c, size)) { return failure{errc::limit, "outbox bytes"}; }
        c.entries += items.size();
        c.bytes += size;
        for (outbox_item const& item : items) {
            located e;
            e.token = ++c.token;
            e.record = to_bytes(item.record);
            e.header.urgency = item.urgency;
            e.header.entered = now;
            e.header.deadline = detail::outbox_later(now, patience(item.urgency));
            raise(c, e.header);
            bool head = true;
            if (!e.record.empty()) {
                auto const before = first_of(tx, e.record);
                if (!before) { return before.error(); }
                head = !before->has_value();
            }
            if (auto s = put_pointer(tx, e); !s) { return s.error(); }
            if (auto s = put_body(tx, e, item.payload); !s) { return s.error(); }
            if (head) {
                if (auto s = put_ready(tx, e); !s) { return s.error(); }
            }
        }
        if (items.empty()) { return first; }
        if (auto s = store(tx, c); !s) { return s.error(); }
        return first;
    }

    /// Replaces the payload of an entry that was never claimed; its place stays.
    /// Errors: `errc::not_found` (no living entry), `errc::claim_lost` (claimed at least once), `errc::limit`.
    /// Cost: three gets, two puts.
    template <storage_transaction Tx>
    [[nodiscard]] status amend(Tx& tx, std::uint64_t token, bytes_view payload) const {
        located e;
        auto const found = locate(tx, token, e);
        if (!found) { return found.error(); }
        if (!*found) { return errc::not_found; }
        if (e.header.fence != 0) { return errc::claim_lost; }
        counters c;
        if (auto s = load(tx, c); !s) { return s; }
        if (payload.size() > e.payload().size() && !fits(c, payload.size() - e.payload().size())) {
            return failure{errc::limit, "outbox bytes"};
        }
        return replace(tx, e, c, payload);
    }

    /// Removes an entry that was never claimed; the next of its record moves up.
    /// Errors: as `amend`. Cost: three gets, a scan of one row, up to three erases and two puts.
    template <storage_transaction Tx>
    [[nodiscard]] status withdraw(Tx& tx, std::uint64_t token) const {
        located e;
        auto const found = locate(tx, token, e);
        if (!found) { return found.error(); }
        if (!*found) { return errc::not_found; }
        if (e.header.fence != 0) { return errc::claim_lost; }
        return remove(tx, e);
    }

    /// Visits the living entries of a record in order, until the visitor says false. It may read, not write.
    /// Errors: `errc::invalid` (no record, or a longer one than 400 bytes). Cost: one scan of the entries.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_record(Tx& tx, bytes_view record, function_ref<bool(outbox_entry const&)> visit) const {
        if (record.empty() || record.size() > outbox_record_bytes_max) { return failure{errc::invalid, "record"}; }
        status failed;
        bool head = true;
        outbox_entry entry;
        auto const row = [&](bytes_view key, bytes_view value) {
            if (auto s = view(token_of(key), record, value, head, entry); !s) {
                failed = s;
                return false;
            }
            head = false;
            return visit(entry);
        };
        if (auto s = scan_prefix(tx, record_key(record), row); !s) { return s; }
        return failed;
    }

    /// Takes the most urgent entries that may go now, each with a fresh fence. Waits and leases that are over are
    /// ended first, at most `promotions_max` of each: while more are due, `next_due` says now.
    /// Cost: five scans; for an entry one get, one put of it, one erase and, when its lease ends at all, one put;
    /// entries less urgent than `lowest` that are passed over cost a row of a scan each.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<outbox_entry>> claim(Tx& tx, claim_options const& what, wall_time now) const {
        std::vector<outbox_entry> out;
        if (what.entries_max == 0) { return out; }
        counters c;
        if (auto s = load(tx, c); !s) { return s.error(); }
        std::uint64_t const high = c.deadline_high;
        if (auto s = promote(tx, c, lease_keyspace, now); !s) { return s.error(); }
        if (auto s = promote(tx, c, waiting_keyspace, now); !s) { return s.error(); }
        if (auto s = calm_ready(tx, c, now); !s) { return s.error(); }
        wall_time const lease_end = end_of_lease(what, now);

        ready_source source{key(ready_keyspace), {}, 0, false};
        std::vector<candidate> followers;  // of what was given: sorted, the most urgent last
        std::size_t size = 0;
        while (out.size() < what.entries_max) {
            if (auto s = refill(tx, source, what, what.entries_max - out.size()); !s) { return s.error(); }
            bool const any = source.next < source.rows.size();
            if (!any && followers.empty()) { break; }
            bool const follower = !any || (!followers.empty() && followers.back().before(source.rows[source.next]));
            candidate pick = std::move(follower ? followers.back() : source.rows[source.next]);
            follower ? followers.pop_back() : static_cast<void>(++source.next);

            located e;
            e.token = pick.token;
            e.record = std::move(pick.record);
            auto const found = load_body(tx, e);
            if (!found) { return found.error(); }
            if (!*found || e.header.state == phase::claimed || (!follower && !ready_as(e, pick))) {
                return failure{errc::corrupt, "outbox ready key without its entry"};
            }
            bool const fits_in = size <= what.bytes_max && e.payload().size() <= what.bytes_max - size;
            if (!out.empty() && !fits_in) { break; }
            size += e.payload().size();

            if (!follower) {
                if (auto s = tx.erase(ready_key(e)); !s) { return s.error(); }
            }
            e.header.state = phase::claimed;
            e.header.fence = ++c.fence;
            e.header.time = lease_end;
            if (auto s = put_body(tx, e, e.payload()); !s) { return s.error(); }
            if (auto s = put_index(tx, e); !s) { return s.error(); }
            std::size_t const run = pick.run + 1;
            if (!e.record.empty() && run < what.record_run_max) {
                if (auto s = find_follower(tx, e, pick, run, what, now, followers); !s) { return s.error(); }
            }
            out.push_back(entry_of(e, true));
        }
        if (!out.empty() || c.deadline_high != high) {
            if (auto s = store(tx, c); !s) { return s.error(); }
        }
        return out;
    }

    /// Replaces the payload of a claimed entry: its bytes as they are sent.
    /// Errors: `errc::claim_lost`. Cost: three gets, two puts.
    template <storage_transaction Tx>
    [[nodiscard]] status set_payload(Tx& tx, std::uint64_t token, std::uint64_t fence, bytes_view payload) const {
        located e;
        if (auto s = locate_claimed(tx, token, fence, e); !s) { return s; }
        counters c;
        if (auto s = load(tx, c); !s) { return s; }
        return replace(tx, e, c, payload);
    }

    /// Done: the entry is gone, the next of its record moves up.
    /// Errors: `errc::claim_lost` when another has claimed it since, its lease was ended, or it is gone.
    /// Cost: three gets, a scan of one row, up to three erases and two puts.
    template <storage_transaction Tx>
    [[nodiscard]] status ack(Tx& tx, std::uint64_t token, std::uint64_t fence) const {
        located e;
        if (auto s = locate_claimed(tx, token, fence, e); !s) { return s; }
        return remove(tx, e);
    }

    /// Done, several at once; how many of them: those that `ack` would answer with `claim_lost` are passed over.
    /// Cost: one get and one put, and for an entry two gets, a scan of one row, three erases and at most one put.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::size_t> ack_all(Tx& tx, std::span<outbox_entry const> claimed) const {
        counters c;
        if (auto s = load(tx, c); !s) { return s.error(); }
        std::size_t gone = 0;
        for (outbox_entry const& given : claimed) {
            located e;
            auto const s = locate_claimed(tx, given.token, given.fence, e);
            if (!s && s.error() == errc::claim_lost) { continue; }
            if (!s) { return s.error(); }
            if (auto removed = remove(tx, c, e); !removed) { return removed.error(); }
            ++gone;
        }
        if (gone != 0) {
            if (auto s = store(tx, c); !s) { return s.error(); }
        }
        return gone;
    }

    /// Not done: back to waiting, one more attempt; what stands behind it on its record stays blocked.
    /// A `not_before` further ahead than `wait_max` counts as now. Errors: as `ack`.
    /// Cost: two gets, a scan of one row, two puts and an erase.
    template <storage_transaction Tx>
    [[nodiscard]] status release(Tx& tx, std::uint64_t token, std::uint64_t fence, wall_time not_before) const {
        located e;
        if (auto s = locate_claimed(tx, token, fence, e); !s) { return s; }
        if (auto s = erase_index(tx, e); !s) { return s; }
        e.header.state = phase::waiting;
        e.header.time = not_before;
        return put_back(tx, e);
    }

    /// Given up: a dead letter with payload, reason, verdict and history; the next of its record moves up.
    /// Errors: as `ack`. Cost: as `ack`, and one put.
    template <storage_transaction Tx>
    [[nodiscard]] status bury(Tx& tx, std::uint64_t token, std::uint64_t fence, errc reason, bytes_view verdict) const {
        located e;
        if (auto s = locate_claimed(tx, token, fence, e); !s) { return s; }
        if (verdict.size() > (std::numeric_limits<std::uint32_t>::max)()) { return failure{errc::invalid, "verdict"}; }
        bytes letter;
        letter.reserve(dead_header_size + e.record.size() + verdict.size() + e.payload().size());
        letter.push_back(static_cast<std::byte>(detail::outbox_form_dead | static_cast<unsigned>(e.header.urgency)));
        append_u64(letter, detail::outbox_time_bits(e.header.entered));
        append_u64(letter, e.header.fence);
        detail::append_u32(letter, e.header.attempts);
        letter.push_back(static_cast<std::byte>(reason));
        letter.push_back(static_cast<std::byte>(e.record.size() >> 8));
        letter.push_back(static_cast<std::byte>(e.record.size() & 0xFFU));
        detail::append_u32(letter, static_cast<std::uint32_t>(verdict.size()));
        append(letter, e.record);
        append(letter, verdict);
        append(letter, e.payload());
        if (auto s = tx.put(key(dead_keyspace).add(token), letter); !s) { return s; }
        return remove(tx, e);
    }

    /// Visits the dead letters in order of entry, until the visitor says false. It may read, not write.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_dead(Tx& tx, function_ref<bool(outbox_entry const&)> visit) const {
        status failed;
        outbox_entry entry;
        auto const row = [&](bytes_view k, bytes_view value) {
            if (auto s = view_dead(token_of(k), value, entry); !s) {
                failed = s;
                return false;
            }
            return visit(entry);
        };
        if (auto s = scan_prefix(tx, key(dead_keyspace), row); !s) { return s; }
        return failed;
    }

    /// A dead letter lives again, as if it entered now, without attempts; on its record in its old place, before
    /// what came later and is still there. Limits don't hold it back. Errors: `errc::not_found`.
    /// Cost: two gets, a scan of one row, four puts and up to three erases.
    template <storage_transaction Tx>
    [[nodiscard]] status revive(Tx& tx, std::uint64_t token, wall_time now) const {
        outbox_entry letter;
        auto const found = get_dead(tx, token, letter);
        if (!found) { return found.error(); }
        if (!*found) { return errc::not_found; }
        counters c;
        if (auto s = load(tx, c); !s) { return s; }
        located e;
        e.token = token;
        e.record = std::move(letter.record);
        e.header.urgency = letter.urgency;
        e.header.entered = now;
        e.header.deadline = detail::outbox_later(now, patience(letter.urgency));
        e.header.fence = letter.fence;  // it was claimed: its payload is frozen
        ++c.entries;
        c.bytes += e.record.size() + letter.payload.size();
        raise(c, e.header);
        bool head = true;
        if (!e.record.empty()) {
            auto const first = first_of(tx, e.record);
            if (!first) { return first.error(); }
            if (first->has_value()) {
                located other;
                other.token = **first;
                other.record = e.record;
                head = other.token > token;
                if (head) {
                    if (auto s = demote(tx, other); !s) { return s; }
                }
            }
        }
        if (auto s = tx.erase(key(dead_keyspace).add(token)); !s) { return s; }
        if (auto s = put_pointer(tx, e); !s) { return s; }
        if (auto s = put_body(tx, e, letter.payload); !s) { return s; }
        if (head) {
            if (auto s = put_ready(tx, e); !s) { return s; }
        }
        return store(tx, c);
    }

    /// A dead letter goes for good. Errors: `errc::not_found`. Cost: a get and an erase.
    template <storage_transaction Tx>
    [[nodiscard]] status discard(Tx& tx, std::uint64_t token) const {
        bytes value;
        auto const found = tx.get(key(dead_keyspace).add(token), value);
        if (!found) { return found.error(); }
        if (!*found) { return errc::not_found; }
        return tx.erase(key(dead_keyspace).add(token));
    }

    /// The entry or dead letter of a token, or nothing. Cost: up to three gets and a scan of one row.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<outbox_entry>> find(Tx& tx, std::uint64_t token) const {
        located e;
        auto const found = locate(tx, token, e);
        if (!found) { return found.error(); }
        if (*found) {
            auto const head = is_head(tx, e);
            if (!head) { return head.error(); }
            return std::optional<outbox_entry>{entry_of(e, *head)};
        }
        outbox_entry letter;
        auto const dead = get_dead(tx, token, letter);
        if (!dead) { return dead.error(); }
        if (!*dead) { return std::optional<outbox_entry>{}; }
        return std::optional<outbox_entry>{std::move(letter)};
    }

    /// Counts everything. Cost: reads every entry once: for people and metrics, not for every turn.
    template <storage_transaction Tx>
    [[nodiscard]] result<outbox_summary> summary(Tx& tx) const {
        outbox_summary sum;
        status failed;
        outbox_entry entry;
        auto const count = [&] {
            ++sum.count[static_cast<std::size_t>(entry.urgency)][static_cast<std::size_t>(entry.state)];
            if (entry.state == entry_state::dead) {
                ++sum.dead;
                return;
            }
            ++sum.entries;
            sum.bytes += entry.record.size() + entry.payload.size();
            if (!sum.oldest || entry.entered < *sum.oldest) { sum.oldest = entry.entered; }
        };
        auto const unordered = [&](bytes_view k, bytes_view value) {
            if (points_to_record(value)) { return true; }
            failed = view(token_of(k), {}, value, true, entry);
            if (failed) { count(); }
            return failed.has_value();
        };
        if (auto s = scan_prefix(tx, key(token_keyspace), unordered); !s) { return s.error(); }
        if (!failed) { return failed.error(); }
        std::size_t const lead = prefix_.size() + 1;
        bytes last;  // length and record of the row before
        auto const ordered = [&](bytes_view k, bytes_view value) {
            if (k.size() < lead + 2 + 8) {
                failed = failure{errc::corrupt, "outbox record key"};
                return false;
            }
            bytes_view const record = k.subspan(lead, k.size() - lead - 8);
            bool const head = !equal(record, last);
            if (head) { last = to_bytes(record); }
            failed = view(token_of(k), record.subspan(2), value, head, entry);
            if (failed) { count(); }
            return failed.has_value();
        };
        if (auto s = scan_prefix(tx, key(record_keyspace), ordered); !s) { return s.error(); }
        if (!failed) { return failed.error(); }
        auto const letters = [&](outbox_entry const& letter) {
            entry = letter;
            count();
            return true;
        };
        if (auto s = scan_dead(tx, letters); !s) { return s.error(); }
        return sum;
    }

    /// When a claim of classes down to `lowest` could next give something: `now` when it could at once, else the
    /// earliest end of a wait or a lease; nothing when only another call than `claim` can change that.
    /// Cost: five scans of one row; ready entries less urgent than `lowest` cost a row each. An end may turn out to
    /// be of a class below `lowest`, or of an entry behind another: then the claim gives nothing and this says the next.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<wall_time>> next_due(Tx& tx, wall_time now,
                                                            priority lowest = priority::background) const {
        ready_source source{key(ready_keyspace), {}, 0, false};
        claim_options what;
        what.lowest = lowest;
        if (auto s = refill(tx, source, what, 1); !s) { return s.error(); }
        if (!source.rows.empty()) { return std::optional<wall_time>{now}; }
        std::optional<wall_time> due;
        for (char const keyspace : {lease_keyspace, waiting_keyspace}) {
            std::optional<wall_time> first;
            auto const row = [&](bytes_view k, bytes_view) {
                first = time_of(k);
                return false;
            };
            if (auto s = scan_prefix(tx, key(keyspace), row); !s) { return s.error(); }
            if (!first) { continue; }
            bool over = *first <= now;
            if (!over) {
                auto const implausible = [&](bytes_view, bytes_view) {
                    over = true;
                    return false;
                };
                if (auto s = scan_implausible(tx, keyspace, now, implausible); !s) { return s.error(); }
            }
            if (over) { return std::optional<wall_time>{now}; }
            if (!due || *first < *due) { due = first; }
        }
        return due;
    }

private:
    using counters = detail::outbox_counters;
    using header_type = detail::outbox_header;
    using phase = detail::outbox_header::phase;

    // Keyspaces: the byte after the prefix. docs/decisions/0002-outbox-layout.md says why these.
    static constexpr char counters_keyspace = 'n';  // -> counters
    static constexpr char token_keyspace = 't';     // token -> body, or the record under which it is
    static constexpr char record_keyspace = 'r';    // length, record, token -> body
    static constexpr char ready_keyspace = 'q';     // band, deadline, token -> class, record
    static constexpr char waiting_keyspace = 'w';   // not before, token -> record
    static constexpr char lease_keyspace = 'c';     // end of lease, token -> record
    static constexpr char dead_keyspace = 'd';      // token -> letter

    static constexpr std::size_t dead_header_size = 1 + 8 + 8 + 4 + 1 + 2 + 4;
    static constexpr std::size_t refill_max = 256;

    /// An entry and where it is.
    struct located {
        std::uint64_t token = 0;
        bytes record;
        header_type header;
        bytes body;  ///< as stored
        std::size_t payload_at = 0;
        [[nodiscard]] bytes_view payload() const noexcept { return bytes_view{body}.subspan(payload_at); }
    };
    /// A row of the ready keyspace, or an entry that the claim of its predecessor lets go.
    struct candidate {
        std::uint8_t band = 0;
        priority urgency = priority::critical;
        std::uint64_t deadline = 0;
        std::uint64_t token = 0;
        std::size_t run = 0;
        bytes record;
        [[nodiscard]] bool before(candidate const& o) const noexcept {
            if (band != o.band) { return band < o.band; }
            if (deadline != o.deadline) { return deadline < o.deadline; }
            return token < o.token;
        }
    };
    struct ready_source {
        detail::outbox_key from;
        std::vector<candidate> rows;
        std::size_t next = 0;
        bool exhausted = false;
    };

    [[nodiscard]] detail::outbox_key key(char keyspace) const noexcept { return {prefix_, keyspace}; }
    [[nodiscard]] detail::outbox_key record_key(bytes_view record) const noexcept {
        auto k = key(record_keyspace);
        k.add(static_cast<std::uint8_t>(record.size() >> 8)).add(static_cast<std::uint8_t>(record.size() & 0xFFU));
        return k.add(record);
    }
    [[nodiscard]] detail::outbox_key body_key(located const& e) const noexcept {
        return e.record.empty() ? key(token_keyspace).add(e.token) : record_key(e.record).add(e.token);
    }
    [[nodiscard]] detail::outbox_key ready_key(located const& e) const noexcept {
        return key(ready_keyspace)
            .add(band_of(e.header.urgency))
            .add(detail::outbox_time_bits(e.header.deadline))
            .add(e.token);
    }
    [[nodiscard]] detail::outbox_key timed_key(char keyspace, located const& e) const noexcept {
        return key(keyspace).add(detail::outbox_time_bits(e.header.time)).add(e.token);
    }
    [[nodiscard]] static std::uint8_t band_of(priority p) noexcept { return p == priority::critical ? 0 : 1; }
    /// The token that ends a key; 0 for a key too short to have one.
    [[nodiscard]] static std::uint64_t token_of(bytes_view k) noexcept {
        return k.size() < 8 ? 0 : read_u64(k.last(8));
    }
    [[nodiscard]] wall_time time_of(bytes_view k) const noexcept {
        std::size_t const lead = prefix_.size() + 1;
        return k.size() < lead + 8 ? (wall_time::min)() : detail::outbox_time(read_u64(k.subspan(lead)));
    }
    [[nodiscard]] milliseconds patience(priority p) const noexcept {
        switch (p) {
            case priority::critical: return milliseconds::zero();
            case priority::important: return options_.patience_important;
            case priority::normal: return options_.patience_normal;
            case priority::background: return options_.patience_background;
        }
        return options_.patience_background;
    }
    [[nodiscard]] milliseconds patience_max() const noexcept {
        return (std::max)({options_.patience_important, options_.patience_normal, options_.patience_background});
    }
    static void raise(counters& c, header_type const& h) noexcept {
        c.deadline_high = (std::max)(c.deadline_high, detail::outbox_time_bits(h.deadline));
    }
    /// A deadline later than any entry's of now could be becomes that of an entry of now.
    void calm(header_type& h, wall_time now) const noexcept {
        if (h.deadline > detail::outbox_later(now, patience_max())) {
            h.deadline = detail::outbox_later(now, patience(h.urgency));
        }
    }
    [[nodiscard]] bool fits(counters const& c, std::uint64_t more) const noexcept {
        return options_.bytes_max == 0 || (c.bytes <= options_.bytes_max && more <= options_.bytes_max - c.bytes);
    }
    [[nodiscard]] wall_time end_of_lease(claim_options const& what, wall_time now) const noexcept {
        milliseconds const lease = what.lease.value_or(options_.lease);
        if (lease == (milliseconds::max)()) { return (wall_time::max)(); }
        milliseconds const cut = (std::clamp)(lease, milliseconds::zero(), options_.wait_max);
        return (std::min)(detail::outbox_later(now, cut), (wall_time::max)() - milliseconds{1});
    }

    template <storage_transaction Tx>
    [[nodiscard]] status load(Tx& tx, counters& c) const {
        bytes value;
        auto const found = tx.get(key(counters_keyspace), value);
        if (!found) { return found.error(); }
        if (!*found) { return {}; }
        if (value.size() != 41 || std::to_integer<unsigned>(value[0]) != detail::outbox_form_counters) {
            return failure{errc::corrupt, "outbox counters"};
        }
        bytes_view const in{value};
        c.token = read_u64(in.subspan(1));
        c.fence = read_u64(in.subspan(9));
        c.entries = read_u64(in.subspan(17));
        c.bytes = read_u64(in.subspan(25));
        c.deadline_high = read_u64(in.subspan(33));
        return {};
    }
    template <storage_transaction Tx>
    [[nodiscard]] status store(Tx& tx, counters const& c) const {
        std::array<std::byte, 41> value;
        value[0] = std::byte{detail::outbox_form_counters};
        std::size_t at = 1;
        for (std::uint64_t const n : {c.token, c.fence, c.entries, c.bytes, c.deadline_high}) {
            for (unsigned shift = 64; shift != 0; shift -= 8) {
                value[at++] = static_cast<std::byte>(n >> (shift - 8));
            }
        }
        return tx.put(key(counters_keyspace), value);
    }

    template <storage_transaction Tx>
    [[nodiscard]] status put_pointer(Tx& tx, located const& e) const {
        if (e.record.empty()) { return {}; }
        std::array<std::byte, 1 + outbox_record_bytes_max> value;
        value[0] = std::byte{detail::outbox_form_record};
        std::copy(e.record.begin(), e.record.end(), value.begin() + 1);
        return tx.put(key(token_keyspace).add(e.token), bytes_view{value}.first(1 + e.record.size()));
    }
    [[nodiscard]] static bool points_to_record(bytes_view value) noexcept {
        return !value.empty() && std::to_integer<unsigned>(value[0]) == detail::outbox_form_record;
    }
    template <storage_transaction Tx>
    [[nodiscard]] status put_body(Tx& tx, located const& e, bytes_view payload) const {
        bytes value;
        detail::outbox_encode(value, e.header, payload);
        return tx.put(body_key(e), value);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status put_ready(Tx& tx, located const& e) const {
        std::array<std::byte, 1 + outbox_record_bytes_max> value;
        value[0] = static_cast<std::byte>(e.header.urgency);
        std::copy(e.record.begin(), e.record.end(), value.begin() + 1);
        return tx.put(ready_key(e), bytes_view{value}.first(1 + e.record.size()));
    }
    /// The key by which a head, or a claimed entry, is found when its time has come.
    template <storage_transaction Tx>
    [[nodiscard]] status put_index(Tx& tx, located const& e) const {
        switch (e.header.state) {
            case phase::pending: return put_ready(tx, e);
            case phase::waiting: return tx.put(timed_key(waiting_keyspace, e), e.record);
            case phase::claimed: break;
        }
        if (e.header.time == (wall_time::max)()) { return {}; }
        return tx.put(timed_key(lease_keyspace, e), e.record);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status erase_index(Tx& tx, located const& e) const {
        switch (e.header.state) {
            case phase::pending: return tx.erase(ready_key(e));
            case phase::waiting: return tx.erase(timed_key(waiting_keyspace, e));
            case phase::claimed: break;
        }
        if (e.header.time == (wall_time::max)()) { return {}; }
        return tx.erase(timed_key(lease_keyspace, e));
    }

    /// Reads the body of an entry whose token and record are known.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> load_body(Tx& tx, located& e) const {
        auto const found = tx.get(body_key(e), e.body);
        if (!found) { return found.error(); }
        if (!*found) { return false; }
        auto const at = detail::outbox_decode(e.body, e.header);
        if (!at) { return at.error(); }
        e.payload_at = *at;
        return true;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> locate(Tx& tx, std::uint64_t token, located& e) const {
        e.token = token;
        auto const found = tx.get(key(token_keyspace).add(token), e.body);
        if (!found) { return found.error(); }
        if (!*found) { return false; }
        if (points_to_record(e.body)) {
            if (e.body.size() < 2 || e.body.size() > 1 + outbox_record_bytes_max) {
                return failure{errc::corrupt, "outbox record of a token"};
            }
            e.record.assign(e.body.begin() + 1, e.body.end());
            auto const there = load_body(tx, e);
            if (there && !*there) { return failure{errc::corrupt, "outbox token without its entry"}; }
            return there;
        }
        auto const at = detail::outbox_decode(e.body, e.header);
        if (!at) { return at.error(); }
        e.payload_at = *at;
        return true;
    }
    template <storage_transaction Tx>
    [[nodiscard]] status locate_claimed(Tx& tx, std::uint64_t token, std::uint64_t fence, located& e) const {
        auto const found = locate(tx, token, e);
        if (!found) { return found.error(); }
        if (!*found || e.header.state != phase::claimed || e.header.fence != fence) { return errc::claim_lost; }
        return {};
    }
    /// The token of a record's head.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<std::uint64_t>> first_of(Tx& tx, bytes_view record) const {
        std::optional<std::uint64_t> token;
        auto const row = [&](bytes_view k, bytes_view) {
            token = token_of(k);
            return false;
        };
        if (auto s = scan_prefix(tx, record_key(record), row); !s) { return s.error(); }
        return token;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> is_head(Tx& tx, located const& e) const {
        if (e.record.empty()) { return true; }
        auto const first = first_of(tx, e.record);
        if (!first) { return first.error(); }
        return *first == e.token;
    }

    template <storage_transaction Tx>
    [[nodiscard]] status replace(Tx& tx, located const& e, counters c, bytes_view payload) const {
        if (c.bytes < e.payload().size()) { return failure{errc::corrupt, "outbox counters"}; }
        c.bytes = c.bytes - e.payload().size() + payload.size();
        if (auto s = put_body(tx, e, payload); !s) { return s; }
        return payload.size() == e.payload().size() ? status{} : store(tx, c);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status remove(Tx& tx, located const& e) const {
        counters c;
        if (auto s = load(tx, c); !s) { return s; }
        if (auto s = remove(tx, c, e); !s) { return s; }
        return store(tx, c);
    }
    /// Takes an entry out; the next of its record moves up.
    template <storage_transaction Tx>
    [[nodiscard]] status remove(Tx& tx, counters& c, located const& e) const {
        std::uint64_t const size = e.record.size() + e.payload().size();
        if (c.entries == 0 || c.bytes < size) { return failure{errc::corrupt, "outbox counters"}; }
        --c.entries;
        c.bytes -= size;
        if (auto s = erase_index(tx, e); !s) { return s; }
        if (auto s = tx.erase(key(token_keyspace).add(e.token)); !s) { return s; }
        if (!e.record.empty()) {
            if (auto s = tx.erase(body_key(e)); !s) { return s; }
            located next;
            next.record = e.record;
            status failed;
            bool any = false;
            auto const row = [&](bytes_view k, bytes_view value) {
                next.token = token_of(k);
                auto const at = detail::outbox_decode(value, next.header);
                if (!at) { failed = at.error(); }
                any = true;
                return false;
            };
            if (auto s = scan_prefix(tx, record_key(e.record), row); !s) { return s; }
            if (!failed) { return failed; }
            if (any && next.header.state != phase::claimed) {  // a head already: the same key again
                raise(c, next.header);
                if (auto s = put_index(tx, next); !s) { return s; }
            }
        }
        return {};
    }
    /// A claimed entry, its new state set and its lease key erased, goes back to its place.
    template <storage_transaction Tx>
    [[nodiscard]] status put_back(Tx& tx, located& e) const {
        if (e.header.attempts != (std::numeric_limits<std::uint32_t>::max)()) { ++e.header.attempts; }
        if (auto s = put_body(tx, e, e.payload()); !s) { return s; }
        auto const head = is_head(tx, e);
        if (!head) { return head.error(); }
        return *head ? put_index(tx, e) : status{};
    }
    /// A record's head that is not the first any more.
    template <storage_transaction Tx>
    [[nodiscard]] status demote(Tx& tx, located& e) const {
        auto const found = load_body(tx, e);
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::corrupt, "outbox record"}; }
        return e.header.state == phase::claimed ? status{} : erase_index(tx, e);
    }

    /// Visits what is due so late that the clock must have been set back since.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_implausible(Tx& tx, char keyspace, wall_time now, scan_visitor visit) const {
        wall_time const last = detail::outbox_later(now, options_.wait_max);
        if (last == (wall_time::max)()) { return {}; }
        auto const from = key(keyspace).add(detail::outbox_time_bits(last + milliseconds{1}));
        bytes const end = prefix_end(key(keyspace));
        return tx.scan({from, end}, visit);
    }
    /// Ends the waits or leases that are over.
    template <storage_transaction Tx>
    [[nodiscard]] status promote(Tx& tx, counters& c, char keyspace, wall_time now) const {
        std::vector<located> due;
        bool damaged = false;
        auto const collect = [&](bytes_view k, bytes_view record) {
            if (k.size() != prefix_.size() + 1 + 16 || record.size() > outbox_record_bytes_max) {
                damaged = true;
                return false;
            }
            located e;
            e.token = token_of(k);
            e.record = to_bytes(record);
            e.header.time = time_of(k);
            due.push_back(std::move(e));
            return due.size() < options_.promotions_max;
        };
        bool more = false;  // after what is due
        auto const until = [&](bytes_view k, bytes_view record) {
            more = time_of(k) > now;
            return !more && collect(k, record);
        };
        if (auto s = scan_prefix(tx, key(keyspace), until); !s) { return s; }
        if (more && due.size() < options_.promotions_max) {
            if (auto s = scan_implausible(tx, keyspace, now, collect); !s) { return s; }
        }
        if (damaged) { return failure{errc::corrupt, "outbox time key"}; }
        for (located& e : due) {
            wall_time const time = e.header.time;
            auto const found = load_body(tx, e);
            if (!found) { return found.error(); }
            bool const lease = keyspace == lease_keyspace;
            if (!*found || e.header.time != time || e.header.state != (lease ? phase::claimed : phase::waiting)) {
                return failure{errc::corrupt, "outbox time key without its entry"};
            }
            if (auto s = erase_index(tx, e); !s) { return s; }
            e.header.state = phase::pending;
            e.header.time = {};
            calm(e.header, now);
            raise(c, e.header);
            if (lease) {
                if (auto s = put_back(tx, e); !s) { return s; }
                continue;
            }
            if (auto s = put_body(tx, e, e.payload()); !s) { return s; }
            if (auto s = put_ready(tx, e); !s) { return s; }  // only heads wait
        }
        return {};
    }

    /// Gives ready entries that entered under a clock that has since been set back the deadline of entries of now:
    /// else they would stand behind all others until the clock is there again.
    template <storage_transaction Tx>
    [[nodiscard]] status calm_ready(Tx& tx, counters& c, wall_time now) const {
        wall_time const last = detail::outbox_later(now, patience_max());
        if (c.deadline_high <= detail::outbox_time_bits(last)) { return {}; }
        std::vector<candidate> rows;
        bool damaged = false;
        for (std::uint8_t band = 0; band < 2; ++band) {
            auto const row = [&](bytes_view k, bytes_view value) {
                candidate late;
                damaged = !read_ready(k, value, late);
                if (damaged || rows.size() == options_.promotions_max) { return false; }
                rows.push_back(std::move(late));
                return true;
            };
            auto const from = key(ready_keyspace).add(band).add(detail::outbox_time_bits(last) + 1);
            bytes const end = prefix_end(key(ready_keyspace).add(band));
            if (auto s = tx.scan({from, end}, row); !s) { return s; }
            if (damaged) { return failure{errc::corrupt, "outbox ready key"}; }
        }
        for (candidate& late : rows) {
            located e;
            e.token = late.token;
            e.record = std::move(late.record);
            auto const found = load_body(tx, e);
            if (!found) { return found.error(); }
            if (!*found || !ready_as(e, late)) { return failure{errc::corrupt, "outbox ready key without its entry"}; }
            if (auto s = erase_index(tx, e); !s) { return s; }
            calm(e.header, now);
            if (auto s = put_body(tx, e, e.payload()); !s) { return s; }
            if (auto s = put_ready(tx, e); !s) { return s; }
        }
        if (rows.size() < options_.promotions_max) { c.deadline_high = detail::outbox_time_bits(last); }
        return {};
    }
    [[nodiscard]] bool read_ready(bytes_view k, bytes_view value, candidate& out) const {
        std::size_t const lead = prefix_.size() + 1;
        if (k.size() != lead + 17 || value.empty() || value.size() > 1 + outbox_record_bytes_max) { return false; }
        out.band = std::to_integer<std::uint8_t>(k[lead]);
        out.urgency = static_cast<priority>(value[0]);
        out.deadline = read_u64(k.subspan(lead + 1));
        out.token = token_of(k);
        out.record = to_bytes(value.subspan(1));
        return out.urgency <= priority::background && out.band == band_of(out.urgency);
    }

    /// Reads more of the ready keyspace when all that was read is used up.
    template <storage_transaction Tx>
    [[nodiscard]] status refill(Tx& tx, ready_source& source, claim_options const& what, std::size_t wanted) const {
        if (source.exhausted || source.next < source.rows.size()) { return {}; }
        source.rows.clear();
        source.next = 0;
        std::size_t const rows_max = (std::min)(wanted, refill_max);
        bool damaged = false;
        bool full = false;
        candidate c;
        auto const row = [&](bytes_view k, bytes_view value) {
            // Before anything is copied: there may be many. Critical entries stand first: when nothing else is
            // wanted, the rest needn't be read.
            bool const known = !value.empty() && static_cast<priority>(value[0]) <= priority::background;
            if (known && static_cast<priority>(value[0]) > what.lowest) { return what.lowest != priority::critical; }
            damaged = !read_ready(k, value, c);
            if (damaged) { return false; }
            source.rows.push_back(std::move(c));
            full = source.rows.size() == rows_max;
            return !full;
        };
        bytes const end = prefix_end(key(ready_keyspace));
        if (auto s = tx.scan({source.from, end}, row); !s) { return s; }
        if (damaged) { return failure{errc::corrupt, "outbox ready key"}; }
        source.exhausted = !full;
        if (full) {
            candidate const& last = source.rows.back();
            source.from = key(ready_keyspace).add(last.band).add(last.deadline).add(last.token).add(std::uint8_t{0});
        }
        return {};
    }
    [[nodiscard]] static bool ready_as(located const& e, candidate const& row) noexcept {
        return e.header.state == phase::pending && e.header.urgency == row.urgency &&
               detail::outbox_time_bits(e.header.deadline) == row.deadline;
    }
    /// What stands behind a given entry on its record, if it may go with it.
    template <storage_transaction Tx>
    [[nodiscard]] status find_follower(Tx& tx, located const& e, candidate const& head, std::size_t run,
                                       claim_options const& what, wall_time now,
                                       std::vector<candidate>& followers) const {
        candidate c;
        header_type h;
        status failed;
        bool any = false;
        auto const row = [&](bytes_view k, bytes_view value) {
            c.token = token_of(k);
            auto const at = detail::outbox_decode(value, h);
            if (!at) { failed = at.error(); }
            any = true;
            return false;
        };
        auto const from = record_key(e.record).add(e.token).add(std::uint8_t{0});
        bytes const end = prefix_end(record_key(e.record));
        if (auto s = tx.scan({from, end}, row); !s) { return s; }
        if (!failed) { return failed; }
        bool const may = any && h.urgency <= what.lowest &&
                         (h.state == phase::pending || (h.state == phase::waiting && h.time <= now));
        if (!may) { return {}; }
        c.band = (std::max)(head.band, band_of(h.urgency));
        c.deadline = (std::max)(head.deadline, detail::outbox_time_bits(h.deadline));
        c.run = run;
        c.record = e.record;
        auto at = followers.begin();
        while (at != followers.end() && c.before(*at)) { ++at; }
        followers.insert(at, std::move(c));
        return {};
    }

    [[nodiscard]] static entry_state state_of(header_type const& h, bool head) noexcept {
        if (h.state == phase::claimed) { return entry_state::claimed; }
        if (!head) { return entry_state::blocked; }
        return h.state == phase::waiting ? entry_state::waiting : entry_state::ready;
    }
    static void fill(outbox_entry& out, header_type const& h, bool head) noexcept {
        out.fence = h.fence;
        out.urgency = h.urgency;
        out.state = state_of(h, head);
        out.entered = h.entered;
        out.not_before = h.time;
        out.attempts = h.attempts;
    }
    [[nodiscard]] static outbox_entry entry_of(located& e, bool head) {
        outbox_entry out;
        out.token = e.token;
        fill(out, e.header, head);
        out.payload = to_bytes(e.payload());
        out.record = std::move(e.record);
        return out;
    }
    [[nodiscard]] static status view(std::uint64_t token, bytes_view record, bytes_view value, bool head,
                                     outbox_entry& out) {
        header_type h;
        auto const at = detail::outbox_decode(value, h);
        if (!at) { return at.error(); }
        out.token = token;
        fill(out, h, head);
        out.record.assign(record.begin(), record.end());
        bytes_view const payload = value.subspan(*at);
        out.payload.assign(payload.begin(), payload.end());
        return {};
    }
    [[nodiscard]] static status view_dead(std::uint64_t token, bytes_view in, outbox_entry& out) {
        if (in.size() < dead_header_size) { return failure{errc::corrupt, "outbox dead letter too short"}; }
        auto const lead = std::to_integer<unsigned>(in[0]);
        if ((lead & 0xFCU) != detail::outbox_form_dead) { return failure{errc::corrupt, "outbox dead letter's form"}; }
        std::size_t const record = std::to_integer<std::size_t>(in[22]) << 8 | std::to_integer<std::size_t>(in[23]);
        std::size_t const verdict = detail::read_u32(in.subspan(24));
        bytes_view const rest = in.subspan(dead_header_size);
        if (record > outbox_record_bytes_max || rest.size() < record || rest.size() - record < verdict) {
            return failure{errc::corrupt, "outbox dead letter's lengths"};
        }
        out.token = token;
        out.urgency = static_cast<priority>(lead & 3U);
        out.state = entry_state::dead;
        out.entered = detail::outbox_time(read_u64(in.subspan(1)));
        out.fence = read_u64(in.subspan(9));
        out.not_before = {};
        out.attempts = detail::read_u32(in.subspan(17));
        out.reason = static_cast<errc>(in[21]);
        out.record = to_bytes(rest.first(record));
        out.verdict = to_bytes(rest.subspan(record, verdict));
        out.payload = to_bytes(rest.subspan(record + verdict));
        return {};
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> get_dead(Tx& tx, std::uint64_t token, outbox_entry& out) const {
        bytes value;
        auto const found = tx.get(key(dead_keyspace).add(token), value);
        if (!found) { return found.error(); }
        if (!*found) { return false; }
        if (auto s = view_dead(token, value, out); !s) { return s.error(); }
        return true;
    }

    outbox_options options_;
    std::string prefix_;
};

}  // namespace syncline::inline SYNCLINE_ABI
