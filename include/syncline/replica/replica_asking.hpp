// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a replica asks an authority: mutations made ready and frozen, the request, and the limits that it keeps to.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/core/value.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/model/record.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/envelope.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/limits.hpp>
#include <syncline/replica/pending.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/scopes.hpp>
#include <syncline/replica/strong.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::prepare(Tx& tx, instant now) const {
    auto sync = read_sync(tx);
    if (!sync) { return sync.error(); }
    std::size_t const in_flight = static_cast<std::size_t>(sync->next_sequence - 1 - sync->settled);
    if (in_flight >= options_.mutations_max) { return {}; }
    claim_options claims;
    claims.entries_max = options_.mutations_max - in_flight;
    claims.bytes_max = options_.mutation_bytes;
    claims.lease = (milliseconds::max)();
    auto taken = outbox_.claim(tx, claims, now.wall);
    if (!taken) { return taken.error(); }
    event_batch events;
    std::vector<bytes> dirty;
    std::vector<outbox_payload> frozen;
    frozen.reserve(taken->size());
    for (outbox_entry const& entry : *taken) {
        auto p = pending::parse(entry.payload);
        auto const goes = p ? sendable(tx, *sync, p->encoded.size()) : result<bool>{true};
        if (!goes) { return goes.error(); }
        if (!*goes) {
            auto const ok = sync->epoch ? refuse_unsent(tx, entry, *p, now, dirty, events)
                                        : outbox_.give_back(tx, entry.token, entry.fence);
            if (!ok) { return ok; }
            continue;
        }
        if (auto ok = freeze(tx, *sync, entry.token, entry.fence, std::move(p), false, &frozen); !ok) { return ok; }
    }
    if (auto ok = outbox_.set_payloads(tx, frozen); !ok) { return ok; }
    if (auto ok = rebase_all(tx, std::move(dirty), *sync, events); !ok) { return ok; }
    if (!events.empty()) {
        ++sync->events;
        if (auto ok = tx.put(numbered('e', sync->events), events.encode()); !ok) { return ok; }
    }
    if (frozen.empty()) { return events.empty() ? status{} : write_sync(tx, *sync); }
    journal_note note;
    note.what = journal_event::froze;
    note.stamp = timestamp::make(now.wall);
    note.count = frozen.size();
    if (auto ok = tell(tx, note); !ok) { return ok; }
    return write_sync(tx, *sync);
}

template <class Records, class Journal>
template <storage_transaction Tx, observer O>
result<bytes> basic_replica<Records, Journal>::request_message(Tx& tx, O&& told) const {
    auto mine = read_identity(tx);
    if (!mine) { return mine.error(); }
    auto sync = read_sync(tx);
    if (!sync) { return sync.error(); }
    request q;
    q.replica = mine->self;
    q.epoch = sync->epoch;
    q.cursor = sync->reached();
    if (sync->staged != 0) { q.whole = sync->cursor; }
    q.receipts = sync->settled;
    q.rows_max = options_.rows_max;
    exchange_limits const own = own_limits();
    q.bytes_max = (std::min)(options_.bytes_max, own.message_max);
    if (own != exchange_limits{}) { q.limits = own; }
    q.line = sync->line;
    if (sync->kept) {
        q.known = sync->told();
        q.horizon = sync->kept->horizon;
    }
    q.features = feature_columns | feature_marks;
    if (options_.rows_in_parts) {
        bytes raw;
        auto const whole = tx.get(key('y'), raw);
        if (!whole) { return whole.error(); }
        q.features |= *whole ? 0 : feature_parts;
    }
    if (options_.schemas != nullptr) {
        options_.schemas->each([&](std::string_view name, schema_version v) {
            if (v != 1) { q.schemas.push_back({std::string(name), v}); }
        });
    }
    if (options_.scoped) {
        auto asked = scopes_asked(tx);
        if (!asked) { return asked.error(); }
        q.scopes = std::move(*asked);
    } else {
        if (options_.compared_rows != 0) { q.features |= feature_sums; }
        if (auto ok = ask_ranges(tx, *sync, own, q); !ok) { return ok.error(); }
    }
    auto const understood = authority_understands(tx);
    if (!understood) { return understood.error(); }
    bool waits_for_needs = false;
    std::uint64_t room = 0;
    std::uint64_t relayed = 0;
    if (options_.relay) {
        auto left = read_left(tx);
        if (!left) { return left.error(); }
        q.left = std::move(*left);
    }
    // An authority that takes none beside scopes would refuse all of it.
    if (options_.relay && (!options_.scoped || (*understood & feature_scoped_relay) != 0)) {
        auto const most = relayed_max(tx, *sync);
        if (!most) { return most.error(); }
        room = *most;
        auto home = carried_.due(tx, room);
        if (!home) { return home.error(); }
        for (relayed_item const& item : *home) { relayed += item.sealed.size(); }
        q.relayed = std::move(*home);
        auto const untaken = carried_.untaken(tx);
        if (!untaken) { return untaken.error(); }
        waits_for_needs = !*untaken;
    }
    std::size_t size = 0;
    std::optional<exchange_limits> told_by_authority;
    status looked;
    auto ok = each_frozen(tx, [&](frozen_mutation& f) {
        pending& p = f.what;
        // What it builds on goes first: the authority is to have answered about it once.
        for (dot const& d : p.needs) {
            if (!waits_for_needs) { break; }
            auto const comes = still_comes(tx, d, room, {mine->self, f.sequence}, sync->settled);
            if (!comes) { looked = comes.error(); }
            if (!comes || *comes) { return false; }
        }
        if (q.mutations.size() >= options_.mutations_max ||
            (size != 0 && size + p.encoded.size() > options_.mutation_bytes)) {
            return false;
        }
        bool const first = size == 0 && relayed == 0;
        std::size_t const together = relayed + size + p.encoded.size();
        auto const goes = first ? result<bool>{true} : sendable(tx, *sync, together, true, &told_by_authority);
        if (!goes) { looked = goes.error(); }
        if (!goes || (!*goes && size != 0)) { return false; }
        if (!*goes && q.relayed) {
            q.relayed->clear();
            relayed = 0;
        }
        size += p.encoded.size();
        q.mutations.push_back(std::move(p.encoded));
        q.origins.push_back({p.line, f.number});
        return true;
    });
    if (ok) { ok = looked; }
    if (!ok) { return ok.error(); }
    told.counted(metric_counter::entries_sent, q.mutations.size());
    return encode(q, *understood);
}

template <class Records, class Journal>
template <class Tx>
result<exchange_limits> basic_replica<Records, Journal>::told_limits(Tx& tx) const {
    bytes raw;
    auto found = tx.get(key('l'), raw);
    if (!found) { return found.error(); }
    if (!*found) { return exchange_limits{}; }
    cbor_reader in{raw};
    exchange_limits const l = read_limits(in);
    if (!in.finish()) { return failure{errc::corrupt, "authority's limits"}; }
    return l;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::note_limits(Tx& tx, std::optional<exchange_limits> const& said) const {
    auto const known = told_limits(tx);
    if (!known) { return known.error(); }
    exchange_limits const now = said.value_or(exchange_limits{});
    if (now == *known) { return {}; }
    if (now == exchange_limits{}) { return tx.erase(key('l')); }
    bytes raw;
    cbor_writer w{raw};
    write_limits(w, now);
    return tx.put(key('l'), raw);
}

template <class Records, class Journal>
template <class Tx>
result<std::uint64_t> basic_replica<Records, Journal>::authority_understands(Tx& tx) const {
    bytes raw;
    auto found = tx.get(key('a'), raw);
    if (!found) { return found.error(); }
    if (!*found) { return std::uint64_t{0}; }
    cbor_reader in{raw};
    std::uint64_t const features = in.unsigned_integer();
    if (!in.finish()) { return failure{errc::corrupt, "authority's features"}; }
    return features;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::note_understood(Tx& tx, std::uint64_t features) const {
    auto const known = authority_understands(tx);
    if (!known) { return known.error(); }
    if (features == *known) { return {}; }
    if (features == 0) { return tx.erase(key('a')); }
    bytes raw;
    cbor_writer{raw}.unsigned_integer(features);
    return tx.put(key('a'), raw);
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::sendable(Tx& tx, sync_state const& sync, std::size_t size, bool together,
                                                       std::optional<exchange_limits>* known) const {
    auto const room = [&](std::uint64_t message_max) {
        return together ? content_max(message_max) : message_max - message_overhead;
    };
    if (size <= room(exchange_floor.message_max)) { return true; }
    if (!sync.epoch) { return false; }
    if (known != nullptr && *known) { return size <= room((*known)->message_max); }
    auto const told = told_limits(tx);
    if (!told) { return told.error(); }
    if (known != nullptr) { *known = *told; }
    return size <= room(told->message_max);
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::refuse_unsent(Tx& tx, outbox_entry const& entry, pending const& p, instant now,
                                                      std::vector<bytes>& dirty, event_batch& events) const {
    auto const m = p.decoded();
    if (!m) { return m.error(); }
    verdict v;
    v.kind = verdict_kind::rejected;
    v.reason = errc::too_large;
    bytes said;
    cbor_writer w{said};
    encode_verdict(w, v);
    if (auto ok = outbox_.bury(tx, entry.token, entry.fence, v.reason, said); !ok) { return ok; }
    events.add_verdict(m->record, v);
    journal_note note;
    note.what = journal_event::decided;
    note.stamp = timestamp::make(now.wall);
    note.change = &*m;
    note.said = &v;
    if (auto ok = tell(tx, note); !ok) { return ok; }
    each_part(*m, [&](mutation const& part) { dirty.push_back(to_bytes(part.record)); });
    return settle_followers(tx, *m, entry.token, v, note, events);
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::freeze(Tx& tx, sync_state& sync, std::uint64_t token, std::uint64_t fence,
                                               result<pending> p, bool renamed,
                                               std::vector<outbox_payload>* together) const {
    if (!p) { return p.error(); }
    // Most are frozen as they wait, but for the sequence.
    auto const first = renamed || p->after != 0 ? std::nullopt : pending::never_frozen(p->encoded);
    if (first) {
        p->put_sequence(sync.next_sequence);
        return freeze_as(tx, sync, token, fence, p->whole(), together);
    }
    auto m = p->decoded();
    if (!m) { return m.error(); }
    p->change = std::move(*m);
    bool const anew = p->change.sequence != 0 && !renamed;
    bool strong = false;
    each_part(p->change, [&](mutation const& part) { strong = strong || rules_.of(part.record.collection).strong(); });
    if (p->change.sequence != 0 && !renamed && p->line != 0) { ++p->line; }
    // It may have lain aside while the authority was put back: of what it saw then nothing is sure.
    if (anew && sync.kept) {
        each_part(p->change, [&](mutation& part) {
            part.base = base_within(part, sync.kept->shared, rules_.of(part.record.collection));
        });
    }
    // What was given up with another, and is sent anew, was made on what never was.
    if (p->after != 0 && p->after != pending::alone) { p->change.base = 0; }
    if (strong && (anew || p->after != 0)) { p->after = pending::alone; }
    p->change.sequence = sync.next_sequence;
    return freeze_as(tx, sync, token, fence, p->encode(), together);
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::freeze_as(Tx& tx, sync_state& sync, std::uint64_t token, std::uint64_t fence,
                                                  bytes payload, std::vector<outbox_payload>* together) const {
    if (together != nullptr) {
        together->push_back({token, fence, std::move(payload)});
    } else if (auto ok = outbox_.set_payload(tx, token, fence, payload); !ok) {
        return ok;
    }
    std::array<std::byte, 16> where;
    write_u64(where.data(), token);
    write_u64(where.data() + 8, fence);
    if (auto ok = tx.put(numbered('f', sync.next_sequence), where); !ok) { return ok; }
    ++sync.next_sequence;
    return {};
}

template <class Records, class Journal>
template <class Tx>
auto basic_replica<Records, Journal>::find_frozen(Tx& tx, bytes_view where) const -> result<frozen_mutation> {
    frozen_mutation f;
    if (where.size() < 16) { return failure{errc::corrupt, "frozen mutation"}; }
    f.token = read_u64(where);
    if (where.size() != 16) {
        f.again = to_bytes(where.subspan(8));
        if (auto ok = read_offered(tx, f); !ok) { return ok.error(); }
        return f;
    }
    f.fence = read_u64(where.subspan(8));
    auto entry = outbox_.find(tx, f.token);
    if (!entry) { return entry.error(); }
    if (!*entry || (*entry)->fence != f.fence) { return failure{errc::corrupt, "frozen mutation without its entry"}; }
    auto p = pending::parse((*entry)->payload);
    if (!p) { return p.error(); }
    f.number = detail::outbox_sequence(f.token);
    f.what = std::move(*p);
    return f;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::read_offered(Tx& tx, frozen_mutation& f) const {
    auto offered = find_offered(tx, f.again);
    if (!offered) { return offered.error(); }
    f.token = offered->token;
    f.number = detail::outbox_sequence(offered->token);
    f.what = std::move(offered->what);
    return {};
}

template <class Records, class Journal>
template <class Tx, class F>
status basic_replica<Records, Journal>::each_frozen(Tx& tx, F&& visit) const {
    // Those in the outbox are read together, a few at first: the visitor may want no more.
    std::vector<frozen_mutation> piece;
    std::vector<outbox_claim> claims;
    std::uint64_t next = 0;
    for (std::size_t piece_max = 16;; piece_max = 256) {
        piece.clear();
        claims.clear();
        bool good = true;
        bool more = false;
        auto ok = tx.scan({numbered('f', next), prefix_end(key('f'))}, [&](bytes_view k, bytes_view where) {
            more = piece.size() == piece_max;
            good = k.size() == 10 && where.size() >= 16;
            if (more || !good) { return false; }
            frozen_mutation& f = piece.emplace_back();
            f.sequence = read_u64(k.subspan(2));
            f.token = read_u64(where);
            if (where.size() != 16) {
                f.again = to_bytes(where.subspan(8));
                return true;
            }
            f.fence = read_u64(where.subspan(8));
            claims.push_back({f.token, f.fence});
            return true;
        });
        if (!ok) { return ok; }
        auto f = piece.begin();
        bool wanted = true;
        auto const offered = [&]() -> status {  // up to the next that is in the outbox
            for (; wanted && f != piece.end() && !f->again.empty(); ++f) {
                if (auto read = read_offered(tx, *f); !read) { return read; }
                wanted = visit(*f);
            }
            return {};
        };
        if (ok = offered(); !ok) { return ok; }
        status damaged;
        auto const in_outbox = [&](std::size_t, bytes_view payload) {
            auto p = pending::parse(payload);
            if (!p) {
                damaged = p.error();
                return false;
            }
            f->number = detail::outbox_sequence(f->token);
            f->what = std::move(*p);
            wanted = visit(*f);
            ++f;
            damaged = offered();
            return wanted && damaged;
        };
        if (wanted) { ok = outbox_.payloads_of(tx, claims, in_outbox); }
        if (!ok && ok.error() == errc::claim_lost) {
            return failure{errc::corrupt, "frozen mutation without its entry"};
        }
        if (!ok) { return ok; }
        if (!damaged || !wanted) { return damaged; }
        if (!good) { return failure{errc::corrupt, "frozen mutation"}; }
        if (!more) { return {}; }
        next = piece.back().sequence + 1;
    }
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::ask_ranges(Tx& tx, sync_state const& sync, exchange_limits const& own,
                                                   request& q) const {
    auto const c = read_comparison(tx);
    if (!c) { return c.error(); }
    auto wanted = wanted_.first(tx, wanted_ranges_max, *c ? band_repair : band_rest);
    if (wanted && wanted->empty() && *c) {
        wanted = wanted_.first(tx, 1);
        if (wanted && !wanted->empty()) {
            auto const theirs = told_limits(tx);
            if (!theirs) { return theirs.error(); }
            auto const message_max = lower_of(own, sync.epoch ? *theirs : exchange_floor).message_max;
            if (auto ok = sum_up(tx, **c, message_max / 32, wanted->front(), q); !ok) { return ok; }
        }
    }
    if (!wanted) { return wanted.error(); }
    q.ranges = std::move(*wanted);
    return {};
}

template <class Records, class Journal>
template <class Tx>
result<scope_request> basic_replica<Records, Journal>::scopes_asked(Tx& tx) const {
    auto state = scope_state(tx);
    if (!state) { return state.error(); }
    auto all = scopes_.list(tx);
    if (!all) { return all.error(); }
    scope_request q{state->generation, state->mask, {}};
    for (held_scope& h : *all) {
        if (!scope_book::asked(h)) { continue; }
        asked_scope a{std::move(h.what), std::nullopt};
        if (h.is != held_scope::state::complete) { a.joining = h.place; }
        q.all.push_back(std::move(a));
    }
    return q;
}

}  // namespace syncline::inline SYNCLINE_ABI
