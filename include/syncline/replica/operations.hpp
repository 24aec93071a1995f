// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What the people who run it do: list what waits, say in words why something is stuck, retry, resolve, purge.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Where a write is. Travels in status pages: append, never renumber.
enum class write_standing : std::uint8_t {
    next = 1,      ///< goes with the next exchange
    turn = 2,      ///< free to go, others are before it
    waiting = 3,   ///< not before a time
    behind = 4,    ///< behind an earlier write on its record
    sent = 5,      ///< sent, or to be sent in these bytes; no verdict yet
    conflict = 6,  ///< parked: a person has to decide
    refused = 7,   ///< the authority refused it; kept until a person has seen it
    forked = 8,    ///< a copy of this store has sent it under another name
    damaged = 9,   ///< it does not decode: the store is damaged
};
[[nodiscard]] constexpr char const* name(write_standing s) noexcept {
    switch (s) {
        case write_standing::next: return "next";
        case write_standing::turn: return "turn";
        case write_standing::waiting: return "waiting";
        case write_standing::behind: return "behind";
        case write_standing::sent: return "sent";
        case write_standing::conflict: return "conflict";
        case write_standing::refused: return "refused";
        case write_standing::forked: return "forked";
        case write_standing::damaged: return "damaged";
    }
    return "unknown standing";
}

/// A write that has not come to its end, and why. Names records and fields, never values.
struct write_report {
    std::uint64_t token = 0;  ///< its name in all calls below
    write_standing standing = write_standing::next;
    record_key record{};  ///< of a group that of its first part
    change_kind change = change_kind::update;
    std::vector<std::string>
        fields{};  ///< that it touches, part after part; of a conflict, those that wait for the person
    priority urgency = priority::normal;
    std::optional<wall_time> entered{};  ///< nothing for a conflict, which has left the outbox
    std::uint32_t attempts = 0;
    std::size_t size = 0;              ///< bytes that it takes in a request
    std::uint64_t behind = 0;          ///< the token of what it is behind; 0: nothing
    std::optional<wall_time> until{};  ///< of `waiting`
    std::string why{};                 ///< in words, for people
};

namespace detail {

/// Whether a person can decide a conflict field by field. It is about none where the record itself is gone.
[[nodiscard]] inline bool of_fields(open_conflict const& c) noexcept {
    return std::any_of(c.fields.begin(), c.fields.end(), [](std::string const& f) { return !f.empty(); });
}

/// Looks at a replica's writes in one transaction; holds what would else be looked up for each of them.
template <class Tx, class Records, class Journal>
class write_inspector {
public:
    write_inspector(Tx& tx, basic_replica<Records, Journal> const& r, std::optional<failure> const& link)
        : tx_(tx), r_(r), link_(link) {}

    /// Finds the first of what is frozen. Cost: one look at each pending write.
    [[nodiscard]] status prepare() {
        return r_.queue().scan(tx_, [&](outbox_entry const& e) {
            if (e.state == entry_state::claimed) { frozen_.push_back({sequence_of(e), e.token}); }
            if (e.state == entry_state::ready) { ++ready_; }
            return true;
        });
    }

    [[nodiscard]] result<write_report> entry(outbox_entry const& e) {
        write_report w;
        w.token = e.token;
        w.urgency = e.urgency;
        w.entered = e.entered;
        w.attempts = e.attempts;
        auto const m = basic_replica<Records, Journal>::mutation_of(e);
        if (!m) {
            w.standing = write_standing::damaged;
            w.why = "what is stored of it does not decode: the store is damaged";
            if (auto const k = record_key_from(e.record)) { w.record = *k; }
            return w;
        }
        describe(w, *m);
        w.size = e.payload.size();
        switch (e.state) {
            case entry_state::dead: dead(w, e); break;
            case entry_state::claimed: sent(w, e); break;
            case entry_state::waiting:
                w.standing = write_standing::waiting;
                w.until = e.not_before;
                w.why = "waits until its time, which was set when it was put back";
                break;
            case entry_state::blocked:
                if (auto ok = behind(w, e); !ok) { return ok.error(); }
                break;
            case entry_state::ready:
                // What is in flight leaves that much less room in the next request.
                w.standing =
                    frozen_.size() + ready_ <= r_.options().mutations_max ? write_standing::next : write_standing::turn;
                w.why = w.standing == write_standing::next ? "goes with the next exchange"
                                                           : "free to go; more is pending than one request carries";
                if (link_) { w.why += std::string("; ") + trouble(); }
                break;
        }
        return w;
    }

    [[nodiscard]] static write_report parked(open_conflict const& c) {
        write_report w;
        w.token = c.token;
        describe(w, c.local);
        w.standing = write_standing::conflict;
        w.fields = of_fields(c) ? c.fields : std::vector<std::string>{};
        if (w.fields.empty()) {
            w.why = "the record was deleted or created anew since: a person has to dismiss it";
            return w;
        }
        w.why = "somebody else has changed the same: a person has to decide about ";
        for (std::size_t i = 0; i < c.fields.size(); ++i) { w.why += (i == 0 ? "" : ", ") + c.fields[i]; }
        return w;
    }

private:
    struct frozen {
        std::uint64_t sequence, token;
    };

    [[nodiscard]] static std::uint64_t sequence_of(outbox_entry const& e) {
        auto const m = basic_replica<Records, Journal>::mutation_of(e);
        return m ? m->sequence : (std::numeric_limits<std::uint64_t>::max)();
    }
    static void describe(write_report& w, mutation const& m) {
        w.record = m.record;
        w.change = m.kind;
        each_part(m, [&](mutation const& part) {
            for (field_op const& op : part.ops) { w.fields.push_back(op.field); }
        });
    }
    [[nodiscard]] std::string trouble() const {
        std::string out = message(link_->code);
        if (link_->detail[0] != '\0') { out += std::string(" (") + link_->detail + ")"; }
        return out;
    }

    void sent(write_report& w, outbox_entry const& e) const {
        w.standing = write_standing::sent;
        std::uint64_t const mine = sequence_of(e);
        frozen const* first = nullptr;
        for (frozen const& f : frozen_) {
            if (f.sequence < mine && (first == nullptr || f.sequence < first->sequence)) { first = &f; }
        }
        if (first != nullptr) {
            w.behind = first->token;
            w.why = "sent; the authority decides in order, and an earlier one has no verdict yet";
        } else {
            w.why = "sent, and no verdict has come yet: the next exchange asks again";
        }
        if (link_) { w.why += std::string("; ") + trouble(); }
    }
    [[nodiscard]] status behind(write_report& w, outbox_entry const& e) {
        w.standing = write_standing::behind;
        std::optional<outbox_entry> first;
        auto const look = [&](bytes_view record) {
            return r_.queue().scan_record(tx_, record, [&](outbox_entry const& earlier) {
                first = earlier;
                return false;
            });
        };
        auto ok = look(e.record);
        for (std::size_t i = 0; i < e.more_records.size() && ok && first && first->token == e.token; ++i) {
            ok = look(e.more_records[i]);
        }
        if (!ok) { return ok; }
        if (!first || first->token == e.token || first->state == entry_state::blocked) {
            w.why = "behind another write that is not done";  // of an entry that the host has put after others
            return {};
        }
        w.behind = first->token;
        auto const before = entry(*first);
        if (!before) { return before.error(); }
        w.why = "behind an earlier write on its record: " + before->why;
        return {};
    }
    static void dead(write_report& w, outbox_entry const& e) {
        w.standing = e.reason == errc::identity_fork ? write_standing::forked : write_standing::refused;
        if (w.standing == write_standing::forked) {
            w.why =
                "a copy of this device's store has sent it already, perhaps joined with more: retried, it may count twice";
            return;
        }
        w.why = std::string("refused: ") + message(e.reason);
        cbor_reader in{e.verdict};
        verdict const said = decode_verdict(in);
        if (!in.finish()) { return; }
        if (!said.text.empty()) { w.why += ": " + said.text; }
        if (said.part) { w.why += ", for part " + std::to_string(*said.part + 1) + " of the group"; }
    }

    Tx& tx_;
    basic_replica<Records, Journal> const& r_;
    std::optional<failure> const& link_;
    std::vector<frozen> frozen_{};
    std::size_t ready_ = 0;
};

}  // namespace detail

/// Visits every write that has not come to its end: what is pending, then dead letters, in order of entry each, then
/// conflicts; until the visitor says false. `link` is why the session's last exchange failed, or why it is paused, if so.
/// It may read, not write. One that does not decode is told as `damaged`.
/// Errors: the storage's, `errc::corrupt`. Cost: reads each twice.
template <storage_transaction Tx, class Records, class Journal>
[[nodiscard]] status scan_writes(Tx& tx, basic_replica<Records, Journal> const& r, std::optional<failure> const& link,
                                 function_ref<bool(write_report const&)> visit) {
    detail::write_inspector<Tx, Records, Journal> look{tx, r, link};
    if (auto ok = look.prepare(); !ok) { return ok; }
    std::vector<std::uint64_t> pending;
    auto ok = r.queue().scan(tx, [&](outbox_entry const& e) {
        pending.push_back(e.token);
        return true;
    });
    if (!ok) { return ok; }
    std::sort(pending.begin(), pending.end());
    for (std::uint64_t const token : pending) {
        auto const e = r.queue().find(tx, token);
        if (!e) { return e.error(); }
        if (!*e) { return failure{errc::corrupt, "outbox entry"}; }
        auto const w = look.entry(**e);
        if (!w) { return w.error(); }
        if (!visit(*w)) { return {}; }
    }
    bool on = true;
    status outcome;
    ok = r.queue().scan_dead(tx, [&](outbox_entry const& e) {
        auto const w = look.entry(e);
        if (!w) { outcome = w.error(); }
        return on = w && visit(*w);
    });
    if (!ok || !outcome || !on) { return ok ? outcome : ok; }
    return r.conflicts(
        tx, [&](open_conflict const& c) { return visit(detail::write_inspector<Tx, Records, Journal>::parked(c)); });
}

/// Why one write is stuck. `errc::not_found` when there is none: it has come to its end. Cost and errors as above.
template <storage_transaction Tx, class Records, class Journal>
[[nodiscard]] result<write_report> explain(Tx& tx, basic_replica<Records, Journal> const& r, std::uint64_t token,
                                           std::optional<failure> const& link = {}) {
    std::optional<write_report> found;
    auto const ok = scan_writes(tx, r, link, [&](write_report const& w) {
        if (w.token == token) { found = w; }
        return !found;
    });
    if (!ok) { return ok.error(); }
    if (!found) { return failure{errc::not_found, "no such write: it has come to its end"}; }
    return *found;
}

/// A person wants it sent: a dead letter is sent anew, the wait of one that waits is over, and what goes anyway stays as it
/// is. Then tell the session: `hurry`. Of a conflict `errc::invalid`: decide instead. State unchanged on
/// `errc::not_found` and `errc::invalid`; then the outbox's.
template <storage_transaction Tx, class Records, class Journal>
[[nodiscard]] status retry_write(Tx& tx, basic_replica<Records, Journal> const& r, std::uint64_t token, instant now) {
    auto const e = r.queue().find(tx, token);
    if (!e) { return e.error(); }
    if (!*e) {
        bool parked = false;
        auto const ok = r.conflicts(tx, [&](open_conflict const& c) {
            parked = c.token == token;
            return !parked;
        });
        if (!ok) { return ok; }
        return parked ? failure{errc::invalid, "a conflict is not sent again: decide it"}
                      : failure{errc::not_found, "no such write"};
    }
    switch ((*e)->state) {
        case entry_state::dead: return r.queue().revive(tx, token, now.wall);
        case entry_state::waiting: return r.queue().hurry(tx, token);
        case entry_state::ready:
        case entry_state::blocked:
        case entry_state::claimed: break;
    }
    return {};
}

/// Decides all fields of a conflict for one side, on condition that the remote is still as it is now.
/// Errors: as `replica::resolve`; a conflict without fields can only be dismissed, which `remote` does.
template <storage_transaction Tx, class Records, class Journal>
[[nodiscard]] result<write_receipt> decide_conflict(Tx& tx, basic_replica<Records, Journal> const& r,
                                                    std::uint64_t token, field_resolution::choice side, instant now) {
    if (side == field_resolution::choice::custom) { return failure{errc::invalid, "one value for all fields"}; }
    std::optional<open_conflict> found;
    auto const ok = r.conflicts(tx, [&](open_conflict const& c) {
        if (c.token == token) { found = c; }
        return !found;
    });
    if (!ok) { return ok.error(); }
    if (!found) { return failure{errc::not_found, "no such conflict"}; }
    if (!detail::of_fields(*found)) {
        if (side == field_resolution::choice::local) {
            return failure{errc::invalid, "its record is gone: it can only be dismissed"};
        }
        auto const gone = r.dismiss(tx, token);
        return gone ? result<write_receipt>{write_receipt{}} : gone.error();
    }
    std::vector<field_resolution> decisions;
    for (std::string const& f : found->fields) { decisions.push_back({f, side, {}}); }
    return r.resolve(tx, token, found->remote ? found->remote->version : 0, decisions, now);
}

/// A person gives a write up for good: a dead letter goes, a conflict is dismissed for the remote. Export it first.
/// `errc::invalid` for one that is pending, which may have taken effect already; `errc::not_found`. State unchanged then.
template <storage_transaction Tx, class Records, class Journal>
[[nodiscard]] status purge_write(Tx& tx, basic_replica<Records, Journal> const& r, std::uint64_t token) {
    auto const e = r.queue().find(tx, token);
    bool const damaged = !e && e.error() == errc::corrupt;
    if (!e && !damaged) { return e.error(); }
    if (damaged || (*e && (*e)->state == entry_state::dead)) { return r.queue().discard(tx, token); }
    if (*e) { return failure{errc::invalid, "a pending write ends by a verdict"}; }
    return r.dismiss(tx, token);
}

/// Purges dead letters that were given up as entries from before a time, the oldest first, at most `most`; how many.
template <storage_transaction Tx, class Records, class Journal>
[[nodiscard]] result<std::size_t> purge_refused(Tx& tx, basic_replica<Records, Journal> const& r, wall_time before,
                                                std::size_t most) {
    std::vector<std::uint64_t> old;
    auto const ok = r.queue().scan_dead(tx, [&](outbox_entry const& e) {
        if (old.size() == most) { return false; }
        if (e.entered < before && e.dependants == 0) { old.push_back(e.token); }
        return true;
    });
    if (!ok) { return ok.error(); }
    for (std::uint64_t const token : old) {
        if (auto gone = r.queue().discard(tx, token); !gone) { return gone.error(); }
    }
    return old.size();
}

}  // namespace syncline::inline SYNCLINE_ABI
