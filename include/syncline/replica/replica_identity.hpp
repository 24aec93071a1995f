// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a replica keeps of itself: whose it is, its names, how far it has come, its clock; and what its journal is told.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/envelope.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/record_store.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <storage_transaction Tx, random_source G>
status basic_replica<Records, Journal>::open(Tx& tx, std::string_view principal, instant now, G& random) const {
    if (!valid_utf8(principal)) { return failure{errc::invalid, "a principal that is not UTF-8"}; }
    bytes raw;
    auto found = tx.get(key('i'), raw);
    if (!found) { return found.error(); }
    if (*found) {
        auto mine = read_identity(tx);
        if (!mine) { return mine.error(); }
        if (mine->principal != principal) { return failure{errc::forbidden, "the store belongs to another principal"}; }
        auto const scoped = scopes_.read(tx);
        if (!scoped) { return scoped.error(); }
        if (scoped->has_value() != options_.scoped) {
            return failure{errc::invalid, "the store began with scopes, or without"};
        }
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        sync->line = new_line(random);
        if (auto ok = tell_versions(tx, false, now); !ok) { return ok; }
        if (auto ok = want_withheld(tx); !ok) { return ok; }
        return write_sync(tx, *sync);
    }
    identity mine;
    mine.self = {make_id(now.wall, random), static_cast<std::uint32_t>(random() >> 33) + 1};
    mine.principal = std::string{principal};
    if (auto ok = write_identity(tx, mine); !ok) { return ok; }
    sync_state sync;
    sync.line = new_line(random);
    if (auto ok = want_everything(tx); !ok) { return ok; }
    if (options_.scoped) {
        if (auto ok = scopes_.write(tx, {}); !ok) { return ok; }
    }
    journal_note note;
    note.what = journal_event::bound;
    note.stamp = timestamp::make(now.wall);
    if (auto ok = tell(tx, note); !ok) { return ok; }
    if (auto ok = tell_versions(tx, true, now); !ok) { return ok; }
    return write_sync(tx, sync);
}

template <class Records, class Journal>
template <storage_transaction Tx, random_source G>
status basic_replica<Records, Journal>::renew(Tx& tx, G& random) const {
    auto sync = read_sync(tx);
    if (!sync) { return sync.error(); }
    if (auto ok = reincarnate(tx, *sync, random); !ok) { return ok; }
    event_batch events;
    events.add_reincarnation();
    ++sync->events;
    if (auto ok = tx.put(numbered('e', sync->events), events.encode()); !ok) { return ok; }
    if (auto ok = tell_undated(tx, journal_event::renamed, nullptr, {}); !ok) { return ok; }
    return write_sync(tx, *sync);
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<bool> basic_replica<Records, Journal>::wipe(Tx& tx, std::size_t budget) const {
    if constexpr (keeps_journal<Journal>) {
        bytes raw;
        auto const first = tx.get(key('s'), raw);
        if (!first) { return first.error(); }
        if (*first) {
            // Of a damaged store it can't be said whose it was, and it goes all the same.
            auto const mine = read_identity(tx);
            auto const clock = read_clock(tx);
            if (!mine && mine.error() != errc::corrupt) { return mine.error(); }
            if (!clock && clock.error() != errc::corrupt) { return clock.error(); }
            journal_note note;
            note.what = journal_event::wiped;
            if (clock) { note.stamp = clock->last(); }
            if (mine) {
                note.device = mine->self;
                note.principal = mine->principal;
            }
            if (auto ok = journal_(tx, note); !ok) { return ok.error(); }
        }
    }
    if (auto ok = tx.erase(key('s')); !ok) { return ok.error(); }
    // Those in the storage go with all else there, damaged ones too.
    if constexpr (!std::is_same_v<Records, stored_records>) {
        std::vector<record_key> held;
        auto found = records_.scan_range(tx, bytes{}, bytes{std::byte{0xFF}}, [&](record_key const& k, held_record&) {
            if (held.size() < budget) { held.push_back(k); }
            return held.size() < budget;
        });
        if (!found) { return found.error(); }
        for (record_key const& k : held) {
            if (auto gone = records_.erase(tx, k); !gone) { return gone.error(); }
        }
        if (held.size() == budget) { return true; }
    }
    std::vector<bytes> rest;
    bytes const identity_key = key('i');
    auto ok = scan_prefix(tx, bytes{std::byte{'r'}}, [&](bytes_view k, bytes_view) {
        if (rest.size() < budget && !equal(k, identity_key)) { rest.push_back(to_bytes(k)); }
        return rest.size() < budget;
    });
    if (!ok) { return ok.error(); }
    for (bytes const& k : rest) {
        if (auto gone = tx.erase(k); !gone) { return gone.error(); }
    }
    if (rest.size() == budget) { return true; }
    if (auto gone = tx.erase(identity_key); !gone) { return gone.error(); }
    return false;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::tell(Tx& tx, journal_note& note) const {
    if constexpr (keeps_journal<Journal>) {
        static_assert(journal<Journal, Tx>);
        auto mine = read_identity(tx);
        if (!mine) { return mine.error(); }
        note.device = mine->self;
        note.principal = mine->principal;
        if (note.change == nullptr || note.change->kind != change_kind::group) { return journal_(tx, note); }
        status ok;
        mutation const* const group = note.change;
        verdict const* const said = note.said;
        verdict rest = said != nullptr ? *said : verdict{};
        rest.decisions.clear();
        each_part(*group, [&](mutation const& part) {
            note.change = &part;
            if (ok) { ok = journal_(tx, note); }
            if (said != nullptr) { note.said = &rest; }  // what was decided in a group is told once
        });
        note.change = group;
        note.said = said;
        return ok;
    } else {
        (void)tx;
        (void)note;
        return {};
    }
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::tell_undated(Tx& tx, journal_event what, mutation const* change,
                                                     journal_choice choice) const {
    if constexpr (keeps_journal<Journal>) {
        auto clock = read_clock(tx);
        if (!clock) { return clock.error(); }
        journal_note note;
        note.what = what;
        note.stamp = clock->last();
        note.change = change;
        note.choice = choice;
        return tell(tx, note);
    } else {
        (void)tx;
        (void)what;
        (void)change;
        (void)choice;
        return {};
    }
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::tell_versions([[maybe_unused]] Tx& tx, [[maybe_unused]] bool fresh,
                                                      [[maybe_unused]] instant now) const {
    if constexpr (keeps_journal<Journal>) {
        auto const told = [&](journal_note& note) { return tell(tx, note); };
        return detail::tell_new_versions(tx, options_.schemas, key('q'), fresh, now, told);
    } else {
        return {};
    }
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::tell_parked(Tx& tx,
                                                    std::vector<std::pair<std::uint64_t, verdict const*>> const& parked,
                                                    author_index author, instant now) const {
    if constexpr (keeps_journal<Journal>) {
        for (auto const& [token, said] : parked) {
            auto c = find_conflict(tx, token);
            if (!c) { return c.error(); }
            auto remote = read_confirmed(tx, c->local.record);
            // Of a record that is closed to the program the row can't be shown.
            if (!remote && remote.error() != errc::unsupported) { return remote.error(); }
            if (remote) { c->remote = std::move(*remote); }
            journal_note note;
            note.what = journal_event::parked;
            note.stamp = timestamp::make(now.wall);
            note.change = &c->local;
            note.sequence = c->local.sequence;
            note.said = said;
            note.conflict = &*c;
            note.author = author;
            if (auto ok = tell(tx, note); !ok) { return ok; }
        }
    } else {
        (void)tx;
        (void)parked;
        (void)author;
        (void)now;
    }
    return {};
}

template <class Records, class Journal>
template <class Tx>
auto basic_replica<Records, Journal>::read_identity(Tx& tx) const -> result<identity> {
    bytes raw;
    auto found = tx.get(key('i'), raw);
    if (!found) { return found.error(); }
    if (!*found) { return failure{errc::not_found, "the store is not a replica's; open it first"}; }
    cbor_reader in{raw};
    if (in.array() != 3) { return failure{errc::corrupt, "replica's identity"}; }
    std::uint64_t const format = in.unsigned_integer();
    if (!in.failed() && format > replica_format) { return failure{errc::unsupported, "written by a later version"}; }
    auto const id = replica_id_from(in.byte_string());
    identity mine;
    mine.principal = std::string{in.text()};
    if (!id || !in.finish()) { return failure{errc::corrupt, "replica's identity"}; }
    mine.self = *id;
    return mine;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::write_identity(Tx& tx, identity const& mine) const {
    bytes raw;
    cbor_writer w{raw};
    w.array(3);
    w.unsigned_integer(replica_format);
    w.byte_string(to_array(mine.self));
    w.text(mine.principal);
    return tx.put(key('i'), raw);
}

template <class Records, class Journal>
template <class Tx>
auto basic_replica<Records, Journal>::read_sync(Tx& tx) const -> result<sync_state> {
    bytes raw;
    auto found = tx.get(key('s'), raw);
    if (!found) { return found.error(); }
    if (!*found) { return failure{errc::not_found, "the store is not a replica's; open it first"}; }
    cbor_reader in{raw};
    sync_state s;
    std::size_t parts = in.array();
    bool const stages = parts == 9 || parts == 15;
    if (stages) { --parts; }
    if (parts != 7 && parts != 8 && parts != 14) { return failure{errc::corrupt, "replica's sync state"}; }
    if (!in.null()) { s.epoch = detail::read_id(in); }
    s.cursor = in.unsigned_integer();
    s.head = in.unsigned_integer();
    s.author = static_cast<author_index>(in.unsigned_integer());
    s.next_sequence = in.unsigned_integer();
    s.settled = in.unsigned_integer();
    s.events = in.unsigned_integer();
    if (parts >= 8) { s.line = in.unsigned_integer(); }
    if (parts == 14) {
        s.kept.emplace();
        s.kept->from = in.unsigned_integer();
        s.kept->first = in.unsigned_integer();
        s.kept->next = in.unsigned_integer();
        s.kept->horizon = in.unsigned_integer();
        s.kept->shared = in.unsigned_integer();
        s.kept->orphans = in.unsigned_integer();
    }
    if (stages) { s.staged = in.unsigned_integer(); }
    if (!in.finish() || s.settled >= s.next_sequence) { return failure{errc::corrupt, "replica's sync state"}; }
    return s;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::write_sync(Tx& tx, sync_state const& s) const {
    bytes raw;
    cbor_writer w{raw};
    w.array(std::size_t{s.kept ? 14U : 8U} + (s.staged == 0 ? 0 : 1));
    if (s.epoch) {
        w.byte_string(s.epoch->bytes);
    } else {
        w.null();
    }
    w.unsigned_integer(s.cursor);
    w.unsigned_integer(s.head);
    w.unsigned_integer(s.author);
    w.unsigned_integer(s.next_sequence);
    w.unsigned_integer(s.settled);
    w.unsigned_integer(s.events);
    w.unsigned_integer(s.line);
    if (s.kept) {
        w.unsigned_integer(s.kept->from);
        w.unsigned_integer(s.kept->first);
        w.unsigned_integer(s.kept->next);
        w.unsigned_integer(s.kept->horizon);
        w.unsigned_integer(s.kept->shared);
        w.unsigned_integer(s.kept->orphans);
    }
    if (s.staged != 0) { w.unsigned_integer(s.staged); }
    return tx.put(key('s'), raw);
}

template <class Records, class Journal>
template <class Tx>
result<hybrid_clock> basic_replica<Records, Journal>::read_clock(Tx& tx) const {
    bytes raw;
    auto found = tx.get(key('t'), raw);
    if (!found) { return found.error(); }
    timestamp last{};
    if (*found) {
        auto t = timestamp_from(raw);
        if (!t) { return failure{errc::corrupt, "replica's clock"}; }
        last = *t;
    }
    return hybrid_clock{options_.clock, last};
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::learn_clock(Tx& tx, std::vector<row_update> const& rows, instant now) const {
    if (rows.empty()) { return {}; }
    auto clock = read_clock(tx);
    if (!clock) { return clock.error(); }
    timestamp const before = clock->last();
    for (row_update const& u : rows) {
        (void)clock->accept(u.state.floor.stamp, now.wall);
        for (field_mark const& e : u.state.exceptions) { (void)clock->accept(e.mark.stamp, now.wall); }
    }
    return clock->last() == before ? status{} : write_clock(tx, *clock);
}

template <class Records, class Journal>
template <class Tx>
result<std::vector<past_epoch>> basic_replica<Records, Journal>::read_past(Tx& tx) const {
    bytes raw;
    std::vector<past_epoch> past;
    auto found = tx.get(key('p'), raw);
    if (!found) { return found.error(); }
    if (!*found) { return past; }
    cbor_reader in{raw};
    past = detail::decode_past(in);
    if (!in.finish()) { return failure{errc::corrupt, "epochs that were left"}; }
    return past;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::write_past(Tx& tx, std::vector<past_epoch> past) const {
    if (past.size() > past_kept_max) {
        past.erase(past.begin(), past.end() - static_cast<std::ptrdiff_t>(past_kept_max));
    }
    bytes raw;
    cbor_writer w{raw};
    detail::encode_past(w, past);
    return tx.put(key('p'), raw);
}

template <class Records, class Journal>
template <class Tx>
result<std::vector<std::uint32_t>> basic_replica<Records, Journal>::read_left(Tx& tx) const {
    std::vector<std::uint32_t> all;
    bytes raw;
    auto found = tx.get(key('m'), raw);
    if (!found) { return found.error(); }
    if (!*found) { return all; }
    cbor_reader in{raw};
    all = detail::decode_left(in);
    if (!in.finish()) { return failure{errc::corrupt, "incarnations that were left"}; }
    return all;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::note_left(Tx& tx) const {
    if (!options_.relay) { return {}; }
    auto mine = read_identity(tx);
    if (!mine) { return mine.error(); }
    auto all = read_left(tx);
    if (!all) { return all.error(); }
    all->push_back(mine->self.incarnation);
    if (all->size() > left_incarnations_max) { all->erase(all->begin()); }
    bytes raw;
    cbor_writer w{raw};
    detail::encode_left(w, *all);
    return tx.put(key('m'), raw);
}

template <class Records, class Journal>
template <class Tx, class G>
status basic_replica<Records, Journal>::reincarnate(Tx& tx, sync_state& sync, G& random,
                                                    std::vector<decided_mutation> lost, position base_max) const {
    auto mine = read_identity(tx);
    if (!mine) { return mine.error(); }
    std::uint32_t const old = mine->self.incarnation;
    do {
        mine->self.incarnation = static_cast<std::uint32_t>(random() >> 33) + 1;
    } while (mine->self.incarnation == old);
    if (auto ok = write_identity(tx, *mine); !ok) { return ok; }

    std::vector<frozen_mutation> frozen;
    auto ok = each_frozen(tx, [&](frozen_mutation& f) {
        frozen.push_back(std::move(f));
        return true;
    });
    if (!ok) { return ok; }
    for (frozen_mutation& f : frozen) {
        if (!f.again.empty()) { lost.push_back({no_position, f.token, std::move(f.what)}); }
        if (auto erased = tx.erase(numbered('f', f.sequence)); !erased) { return erased; }
    }
    sync.author = unknown_author;
    sync.next_sequence = 1;
    sync.settled = 0;
    sort_as_written(lost);
    for (decided_mutation const& d : lost) {
        if (auto again = offer_again(tx, sync, d, base_max); !again) { return again; }
    }
    for (frozen_mutation& f : frozen) {
        if (!f.again.empty()) { continue; }
        if (auto again = freeze(tx, sync, f.token, f.fence, f.what, true); !again) { return again; }
    }
    return {};
}

}  // namespace syncline::inline SYNCLINE_ABI
