// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `inbox`: the outbox's counterpart, which hands over the messages of each conversation once and in order.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Limits of an inbox, for each conversation. How many conversations there may be is for the host to say: whose messages it
/// hands in.
struct inbox_options {
    std::uint64_t held_max = 1000;                          ///< messages that came before their turn; > 0
    std::uint64_t held_bytes_max = std::uint64_t{1} << 20;  ///< their payloads
    friend constexpr bool operator==(inbox_options const&, inbox_options const&) = default;
};
[[nodiscard]] constexpr bool valid(inbox_options const& o) noexcept { return o.held_max > 0; }

/// Longest name of a conversation, in bytes.
inline constexpr std::size_t conversation_bytes_max = 400;

/// What an inbox did with a message.
struct inbox_receipt {
    std::uint64_t delivered = 0;  ///< messages handed over: this one, and those that it let go; 0 = none
    bool duplicate = false;       ///< it was here before
    std::uint64_t through = 0;    ///< all up to here were handed over: what to acknowledge
    friend constexpr bool operator==(inbox_receipt const&, inbox_receipt const&) = default;
};

/// Sequence numbers that a conversation lacks: both ends included.
struct sequence_gap {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    friend constexpr bool operator==(sequence_gap const&, sequence_gap const&) = default;
};

/// Numbers messages on the sending side: 1, 2, 3, … for each conversation, in the transaction that enqueues them, so
/// that none is given twice and none is left out. Use the conversation as the entry's record: then they are sent in
/// order, and what was lost is sent again when its lease ends or `outbox::hurry_all` says so.
class conversation_numbers {
public:
    /// Precondition: the prefix has 1 to 64 bytes and belongs to nothing else.
    explicit conversation_numbers(std::string_view prefix = "cn") : prefix_(prefix) {
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }
    /// The next number. Errors: `errc::invalid` (name empty or too long), `errc::corrupt`. Cost: a get and a put.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::uint64_t> next(Tx& tx, bytes_view conversation) const {
        if (conversation.empty() || conversation.size() > conversation_bytes_max) {
            return failure{errc::invalid, "conversation"};
        }
        bytes key = to_bytes(prefix_);
        append(key, conversation);
        bytes value;
        auto const found = tx.get(key, value);
        if (!found) { return found.error(); }
        if (*found && value.size() != 8) { return failure{errc::corrupt, "conversation's number"}; }
        std::uint64_t const n = (*found ? read_u64(value) : 0) + 1;
        value.clear();
        append_u64(value, n);
        if (auto s = tx.put(key, value); !s) { return s.error(); }
        return n;
    }

private:
    std::string prefix_;
};

/// Takes messages in as they come, and hands each conversation's over once, in order, in the caller's transaction.
///
/// Holds options and nothing else. What comes before its turn is kept until the gap closes; `gaps` says what to ask the
/// sender for. Errors: those of the storage; after one of them, roll the transaction back.
class inbox {
public:
    /// Precondition: valid(options); the prefix has 1 to 64 bytes and belongs to nothing else.
    explicit inbox(inbox_options options = {}, std::string_view prefix = "i") : options_(options), prefix_(prefix) {
        SYNCLINE_ASSERT(valid(options));
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }

    /// Called with each message whose turn has come; it may write through the transaction. An error ends the call.
    using deliver_function = function_ref<status(std::uint64_t sequence, bytes_view payload)>;

    /// Errors: `errc::invalid` (number 0, name empty or too long), `errc::limit` (too much before its turn: the message
    /// was not taken, and may come again), `errc::corrupt`, and whatever `deliver` answers.
    /// Cost: a get and, unless it is a duplicate, a put; for each message that it lets go a get and an erase.
    template <storage_transaction Tx>
    [[nodiscard]] result<inbox_receipt> receive(Tx& tx, bytes_view conversation, std::uint64_t sequence,
                                                bytes_view payload, deliver_function deliver) const {
        if (sequence == 0) { return failure{errc::invalid, "sequence number"}; }
        auto opened = open(tx, conversation);
        if (!opened) { return opened.error(); }
        state& s = *opened;
        inbox_receipt receipt;
        receipt.through = s.through;
        if (sequence <= s.through) {
            receipt.duplicate = true;
            return receipt;
        }
        if (sequence != s.through + 1) {
            bytes const key = message_key(conversation, sequence);
            bytes there;
            auto const held = tx.get(key, there);
            if (!held) { return held.error(); }
            if (*held) {
                receipt.duplicate = true;
                return receipt;
            }
            bool const fits = s.held < options_.held_max && s.bytes <= options_.held_bytes_max &&
                              payload.size() <= options_.held_bytes_max - s.bytes;
            if (!fits) { return failure{errc::limit, "messages before their turn"}; }
            ++s.held;
            s.bytes += payload.size();
            if (auto done = tx.put(key, payload); !done) { return done.error(); }
            if (auto done = store(tx, conversation, s); !done) { return done.error(); }
            return receipt;
        }
        if (auto done = deliver(sequence, payload); !done) { return done.error(); }
        s.through = sequence;
        ++receipt.delivered;
        bytes next;
        while (s.held != 0 && s.through != (std::numeric_limits<std::uint64_t>::max)()) {
            bytes const key = message_key(conversation, s.through + 1);
            auto const held = tx.get(key, next);
            if (!held) { return held.error(); }
            if (!*held) { break; }
            if (s.bytes < next.size()) { return failure{errc::corrupt, "inbox counters"}; }
            if (auto done = deliver(s.through + 1, next); !done) { return done.error(); }
            if (auto done = tx.erase(key); !done) { return done.error(); }
            --s.held;
            s.bytes -= next.size();
            ++s.through;
            ++receipt.delivered;
        }
        if (auto done = store(tx, conversation, s); !done) { return done.error(); }
        receipt.through = s.through;
        return receipt;
    }
    /// All up to this number were handed over; 0 = none. Errors: `errc::invalid`, `errc::corrupt`.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::uint64_t> through(Tx& tx, bytes_view conversation) const {
        auto const s = open(tx, conversation);
        return s ? result<std::uint64_t>{s->through} : result<std::uint64_t>{s.error()};
    }
    /// What is missing before messages that are here, the earliest first, at most `most`.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<sequence_gap>> gaps(Tx& tx, bytes_view conversation,
                                                         std::size_t most = 100) const {
        auto const s = open(tx, conversation);
        if (!s) { return s.error(); }
        std::vector<sequence_gap> out;
        std::uint64_t expected = s->through + 1;
        bytes const lead = message_prefix(conversation);
        auto const row = [&](bytes_view k, bytes_view) {
            if (k.size() != lead.size() + 8) { return true; }
            std::uint64_t const sequence = read_u64(k.last(8));
            if (sequence > expected) { out.push_back({expected, sequence - 1}); }
            expected = sequence + 1;
            return out.size() < most;
        };
        if (most == 0 || s->held == 0) { return out; }
        if (auto done = scan_prefix(tx, lead, row); !done) { return done.error(); }
        return out;
    }
    /// Forgets a conversation that is over, with what is held of it; its numbers begin again at 1.
    /// Cost: a scan and an erase for each message held.
    template <storage_transaction Tx>
    [[nodiscard]] status forget(Tx& tx, bytes_view conversation) const {
        if (auto s = open(tx, conversation); !s) { return s.error(); }
        std::vector<bytes> keys;
        auto const row = [&](bytes_view k, bytes_view) {
            keys.push_back(to_bytes(k));
            return true;
        };
        if (auto s = scan_prefix(tx, message_prefix(conversation), row); !s) { return s; }
        for (bytes const& k : keys) {
            if (auto s = tx.erase(k); !s) { return s; }
        }
        return tx.erase(state_key(conversation));
    }

private:
    struct state {
        std::uint64_t through = 0;
        std::uint64_t held = 0;
        std::uint64_t bytes = 0;
    };
    // Prefix, 's' or 'm', two bytes of length, conversation; a message's number behind it.

    [[nodiscard]] bytes key_of(char space, bytes_view conversation) const {
        bytes out = to_bytes(prefix_);
        out.push_back(static_cast<std::byte>(space));
        out.push_back(static_cast<std::byte>(conversation.size() >> 8));
        out.push_back(static_cast<std::byte>(conversation.size() & 0xFFU));
        append(out, conversation);
        return out;
    }
    [[nodiscard]] bytes state_key(bytes_view conversation) const { return key_of('s', conversation); }
    [[nodiscard]] bytes message_prefix(bytes_view conversation) const { return key_of('m', conversation); }
    [[nodiscard]] bytes message_key(bytes_view conversation, std::uint64_t sequence) const {
        bytes out = message_prefix(conversation);
        append_u64(out, sequence);
        return out;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<state> open(Tx& tx, bytes_view conversation) const {
        if (conversation.empty() || conversation.size() > conversation_bytes_max) {
            return failure{errc::invalid, "conversation"};
        }
        bytes value;
        auto const found = tx.get(state_key(conversation), value);
        if (!found) { return found.error(); }
        state s;
        if (!*found) { return s; }
        if (value.size() != 24) { return failure{errc::corrupt, "inbox conversation"}; }
        bytes_view const in{value};
        s.through = read_u64(in);
        s.held = read_u64(in.subspan(8));
        s.bytes = read_u64(in.subspan(16));
        return s;
    }
    template <storage_transaction Tx>
    [[nodiscard]] status store(Tx& tx, bytes_view conversation, state const& s) const {
        bytes value;
        append_u64(value, s.through);
        append_u64(value, s.held);
        append_u64(value, s.bytes);
        return tx.put(state_key(conversation), value);
    }

    inbox_options options_;
    std::string prefix_;
};

}  // namespace syncline::inline SYNCLINE_ABI
