// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Replicas that meet: what one hands another of its own work, of others' and of what is confirmed.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/envelope.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/pending.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/relay.hpp>
#include <syncline/replica/scopes.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::prepare_handover(Tx& tx, instant now) const {
    if (!options_.relay) { return failure{errc::invalid, "a replica that hands nothing on"}; }
    auto sync = read_sync(tx);
    if (!sync) { return sync.error(); }
    std::size_t const in_flight = static_cast<std::size_t>(sync->next_sequence - 1 - sync->settled);
    if (in_flight >= options_.relay->sealed_max) { return {}; }
    std::size_t const room = options_.relay->sealed_max - in_flight;
    constexpr milliseconds for_ever = (milliseconds::max)();
    claim_options claims;
    claims.entries_max = room;
    claims.bytes_max = options_.relay->carried_bytes;
    claims.lease = for_ever;
    claims.record_run_max = room;
    claims.order = claim_order::arrival;
    auto taken = outbox_.claim(tx, claims, now.wall);
    if (!taken) { return taken.error(); }
    // Those behind what was frozen before.
    std::vector<std::uint64_t> behind;
    auto ok = outbox_.scan(tx, [&](outbox_entry const& e) {
        if (e.state == entry_state::blocked) { behind.push_back(e.token); }
        return true;
    });
    if (!ok) { return ok; }
    std::sort(behind.begin(), behind.end());
    for (std::uint64_t const token : behind) {
        if (taken->size() >= room) { break; }
        auto one = outbox_.claim_behind(tx, token, now.wall, for_ever);
        if (!one) { return one.error(); }
        if (*one) { taken->push_back(std::move(**one)); }
    }
    if (taken->empty()) { return {}; }
    std::sort(taken->begin(), taken->end(),
              [](outbox_entry const& a, outbox_entry const& b) { return a.token < b.token; });
    std::size_t frozen = 0;
    std::vector<bytes> stays;  // records whose next is not handed over
    for (outbox_entry const& entry : *taken) {
        auto p = pending::parse(entry.payload);
        // In a strong collection on what waits before it: its base is not known till that has its verdict. Or too
        // large for an authority as far as is known.
        bool waits = p && p->after != 0 && p->after != pending::alone;
        std::vector<bytes> records = entry.more_records;
        records.push_back(entry.record);
        waits = waits || std::any_of(records.begin(), records.end(), [&](bytes const& r) {
                    return std::find(stays.begin(), stays.end(), r) != stays.end();
                });
        if (p && !waits) {
            auto const goes = sendable(tx, *sync, p->encoded.size());
            if (!goes) { return goes.error(); }
            waits = !*goes;
        }
        if (waits) {
            std::move(records.begin(), records.end(), std::back_inserter(stays));
            if (ok = outbox_.give_back(tx, entry.token, entry.fence); !ok) { return ok; }
            continue;
        }
        if (ok = freeze(tx, *sync, entry.token, entry.fence, std::move(p), false); !ok) { return ok; }
        ++frozen;
    }
    if (frozen == 0) { return {}; }
    journal_note note;
    note.what = journal_event::froze;
    note.stamp = timestamp::make(now.wall);
    note.count = frozen;
    if (ok = tell(tx, note); !ok) { return ok; }
    return write_sync(tx, *sync);
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<meeting_state> basic_replica<Records, Journal>::meeting(Tx& tx) const {
    auto mine = read_identity(tx);
    if (!mine) { return mine.error(); }
    auto sync = read_sync(tx);
    if (!sync) { return sync.error(); }
    meeting_state out{mine->self, sync->epoch, sync->cursor, {mine->self, sync->settled, {}}};
    if (sync->settled + 1 < sync->next_sequence) {
        out.own.held.add(interval{sync->settled + 1, sync->next_sequence - 1});
    }
    return out;
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::each_own(
    Tx& tx, function_ref<bool(std::uint64_t sequence, envelope const&)> visit) const {
    auto mine = read_identity(tx);
    if (!mine) { return mine.error(); }
    envelope e;
    e.realm = carried_.options().realm;
    e.principal = mine->principal;
    e.author = mine->self;
    return each_frozen(tx, [&](frozen_mutation& f) {
        e.from = {f.what.line, f.number};
        e.needs = std::move(f.what.needs);
        e.frozen = std::move(f.what.encoded);
        return visit(f.sequence, e);
    });
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<handed_report> basic_replica<Records, Journal>::take_envelopes(Tx& tx, std::span<handed_envelope const> all,
                                                                      handing_peer const& peer, instant now) const {
    if (!options_.relay) { return failure{errc::invalid, "a replica that carries nothing"}; }
    auto mine = read_identity(tx);
    if (!mine) { return mine.error(); }
    auto sync = read_sync(tx);
    if (!sync) { return sync.error(); }
    auto heard = read_clock(tx);
    if (!heard) { return heard.error(); }
    timestamp const before = heard->last();
    handed_report report;
    std::vector<bytes> dirty;
    auto const touch = [&](mutation const& m) {
        each_part(m, [&](mutation const& part) { dirty.push_back(to_bytes(part.record)); });
    };
    for (handed_envelope const& h : all) {
        auto const e = open_envelope(h.sealed, options_.message);
        if (!e) {
            ++report.refused;
            continue;
        }
        if (e->said.author.device == mine->self.device) {
            ++report.known;
            continue;
        }
        bool const ours = e->said.realm == options_.relay->realm;
        relay_gate const* const gate = options_.relay->gate;
        if (!ours || (gate != nullptr && !gate->admits(*e, peer.replica, peer.principal))) {
            ++report.refused;
            report.left_out.push_back(e->id());
            continue;
        }
        bool const distant = !heard->accept(e->change.stamp, now.wall);
        auto const taken = carried_.add(tx, *e, peer.same_epoch ? h.clear : 0, distant);
        if (!taken) { return taken.error(); }
        switch (*taken) {
            case relay_taking::added:
                ++report.added;
                report.distant += distant ? 1 : 0;
                touch(e->change);
                break;
            case relay_taking::known:
                ++report.known;
                touch(e->change);
                break;
            case relay_taking::full:
                ++report.full;
                report.left_out.push_back(e->id());
                break;
            case relay_taking::forked:
                ++report.forked;
                report.left_out.push_back(e->id());
                break;
        }
    }
    if (heard->last() != before) {
        if (auto ok = write_clock(tx, *heard); !ok) { return ok.error(); }
    }
    if (auto ok = show(tx, std::move(dirty), *sync, report); !ok) { return ok.error(); }
    return report;
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<handed_report> basic_replica<Records, Journal>::take_peer_rows(
    Tx& tx, std::span<row_update> rows, position cursor, instant now,
    std::span<std::vector<std::uint64_t> const> members) const {
    if (!options_.relay || !options_.relay->trust_rows) { return failure{errc::invalid, "peers' rows"}; }
    auto sync = read_sync(tx);
    if (!sync) { return sync.error(); }
    handed_report report;
    if (!sync->epoch || cursor <= sync->cursor) { return report; }
    // What a restored authority has lost is told by positions up to the own head.
    if (sync->kept) { return report; }
    auto const held = shared_scopes(tx);
    if (!held) { return held.error(); }
    std::vector<row_update> taken;
    std::vector<std::vector<std::uint64_t>> numbers;
    std::vector<bool> left;
    bool any_left = false;
    std::size_t next = 0;
    for (row_update& u : rows) {
        std::size_t const i = next++;
        if (u.state.version <= sync->cursor) { continue; }
        std::vector<std::uint64_t> in;
        for (held_scope const& h : *held) {
            bool const told =
                i < members.size() && std::find(members[i].begin(), members[i].end(), h.number) != members[i].end();
            if (told) { in.push_back(h.number); }
        }
        if (options_.scoped && in.empty()) { continue; }
        numbers.push_back(std::move(in));
        bool leaves = u.state.version > cursor;
        if (!leaves) {
            auto ok = outbox_.scan_record(tx, to_bytes(u.key), [&](outbox_entry const&) {
                leaves = true;
                return false;
            });
            if (!ok) { return ok.error(); }
        }
        any_left = any_left || leaves;
        left.push_back(leaves);
        taken.push_back(std::move(u));
    }
    if (any_left) {
        leave_groups(taken, sync->cursor, left);
        std::size_t at = 0;
        std::erase_if(taken, [&](row_update const&) { return left[at++]; });
        at = 0;
        std::erase_if(numbers, [&](std::vector<std::uint64_t> const&) { return left[at++]; });
    }
    if (auto ok = learn_clock(tx, taken, now); !ok) { return ok.error(); }
    std::vector<bytes> dirty;
    event_batch events;
    for (std::size_t i = 0; i < taken.size(); ++i) {
        row_update& u = taken[i];
        bytes name = to_bytes(u.key);
        auto const newer = take_row(tx, u, true, false, dirty, events);
        if (!newer) { return newer.error(); }
        report.rows += *newer ? 1 : 0;
        if (options_.scoped && *newer) {
            if (auto ok = scopes_.set_members(tx, name, numbers[i]); !ok) { return ok.error(); }
        }
        dirty.push_back(std::move(name));
    }
    if (options_.scoped && report.rows != 0) {
        // An answer that is under way tells of an older state.
        auto state = scope_state(tx);
        if (!state) { return state.error(); }
        ++state->generation;
        if (auto ok = scopes_.write(tx, *state); !ok) { return ok.error(); }
    }
    if (auto ok = show(tx, std::move(dirty), *sync, report, std::move(events)); !ok) { return ok.error(); }
    return report;
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::shows_others(Tx& tx, bytes_view name) const {
    if (!options_.scoped) { return true; }
    auto const state = scope_state(tx);
    if (!state) { return state.error(); }
    if (state->mask != 0) { return false; }
    auto const in = scopes_.members(tx, name);
    if (!in) { return in.error(); }
    for (std::uint64_t const number : *in) {
        auto const wanted = scopes_.wanted(tx, number);
        if (!wanted || *wanted) { return wanted; }
    }
    return false;
}

}  // namespace syncline::inline SYNCLINE_ABI
