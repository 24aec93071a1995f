// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a reply leaves out is put together: rows in parts, and what the replica's own mutations made of rows.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/pending.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/record_store.hpp>
#include <syncline/replica/row_parts.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::complete_rows(Tx& tx, sync_state const& sync, reply& p,
                                                            own_work& own) const {
    if (p.from != sync.cursor || sync.staged != 0) { return false; }  // of another question than was asked last
    auto whole = complete_own(tx, p, own);
    if (whole && *whole) { whole = complete_parts(tx, p); }
    if (!whole && whole.error() == errc::corrupt) { whole = false; }
    if (whole && !*whole) {
        if (auto ok = tx.put(key('y'), {}); !ok) { return ok.error(); }
    }
    return whole;
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::complete_parts(Tx& tx, reply& p) const {
    row_completer completer{p.from};
    p.rows.reserve(p.rows.size() + p.parts.size());
    for (row_update& u : p.parts) {
        auto const held = find_as_told(tx, u.key);
        if (!held) { return held.error(); }
        if (!*held || !completer.complete((*held)->fields, u.state)) { return false; }
        p.rows.push_back(std::move(u));
    }
    bool const same = p.parts.empty() || completer.sum() == p.parts_sum;
    p.parts.clear();
    return same;
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::complete_own(Tx& tx, reply& p, own_work& own) const {
    if (p.own.empty()) { return true; }
    std::vector<own_mutation>& all = own.mutations;
    all.reserve(p.own.size());
    std::vector<outbox_claim> claims;
    claims.reserve(p.own.size());
    auto said = p.verdicts.cbegin();
    bool good = true;
    auto next = p.own.cbegin();
    auto ok =
        tx.scan({numbered('f', p.own.front()), numbered('f', p.own.back() + 1)}, [&](bytes_view k, bytes_view where) {
            std::uint64_t const sequence = k.size() == 10 ? read_u64(k.subspan(2)) : 0;
            if (next == p.own.cend() || sequence > *next) { return good = false; }
            if (sequence != *next) { return true; }
            ++next;
            while (said->sequence != sequence) { ++said; }
            // One that is offered again lies elsewhere, and may have been sent under another name.
            good = where.size() == 16;
            if (good) {
                claims.push_back({read_u64(where), read_u64(where.subspan(8))});
                all.push_back({{}, {}, &*said, claims.back()});
            }
            return good;
        });
    if (!ok) { return ok.error(); }
    if (!good || next != p.own.cend()) { return false; }  // a verdict that came before
    // What is visible has been made by the same mutations: where it comes out as it did at the authority, nothing need be
    // applied again. Where others wait on a record too, or other rules were there, it doesn't.
    for (bool const anew : {false, true}) {
        auto const same = make_own(tx, p, claims, anew, own);
        if (!same || *same || anew) { return same; }
    }
    return false;
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::make_own(Tx& tx, reply const& p, std::span<outbox_claim const> claims,
                                                       bool anew, own_work& own) const {
    std::vector<own_mutation>& all = own.mutations;
    own.rows.clear();
    if (anew) {
        auto const sent = [](own_mutation const& a, own_mutation const& b) {
            return a.said->sequence < b.said->sequence;
        };
        std::sort(all.begin(), all.end(), sent);  // as the claims are
    }
    status damaged;
    bool known = true;
    auto ok = outbox_.payloads_of(tx, claims, [&](std::size_t i, bytes_view payload) {
        mutation& change = all[i].change;
        if (anew) {
            auto m = pending::mutation_in(payload);
            if (!m) {
                damaged = m.error();
                return false;
            }
            change = std::move(*m);
        } else {
            auto const o = pending::outline_in(payload);
            if (!o) { return known = false; }
            change.kind = o->kind;
            change.record = {o->record.collection, o->record.id};
        }
        all[i].name = to_bytes(change.record);
        return true;
    });
    if (ok) { ok = damaged; }
    if (!ok) { return ok.error() == errc::claim_lost ? result<bool>{false} : result<bool>{ok.error()}; }
    if (!known) { return false; }
    auto const earlier = [](own_mutation const& a, own_mutation const& b) { return compare(a.name, b.name) < 0; };
    if (!std::is_sorted(all.begin(), all.end(), earlier)) { std::stable_sort(all.begin(), all.end(), earlier); }
    own.rows.reserve(all.size());
    for (std::size_t i = 0; i < all.size();) {
        own_row made;
        made.first = i;
        record_key const& k = all[i].change.record;
        auto held = records_.find(tx, k);
        if (!held) { return held.error(); }
        made.waits = *held && (*held)->pending;
        std::size_t const begin = i;
        while (i < all.size() && all[i].name == all[begin].name) { ++i; }
        made.last = i;
        if (!anew) {
            if (!made.waits || i - begin != 1 || !as_confirmed(**held, all[begin], p.author)) { return false; }
            made.was_confirmed = (*held)->confirmed != 0;
            made.before = (*held)->confirmed;
            made.state = std::move((*held)->visible);
            own.rows.push_back(std::move(made));
            continue;
        }
        std::optional<row> now;
        if (*held && (*held)->confirmed != 0) {
            if (made.waits) {
                auto kept = records_.find_confirmed(tx, k);
                if (!kept) { return kept.error(); }
                now = std::move(*kept);
            } else {
                now = (*held)->visible;
            }
        }
        made.was_confirmed = now.has_value();
        made.was_deleted = now && now->deleted;
        made.before = now ? now->version : 0;
        for (std::size_t at = begin; at < i; ++at) {
            apply_context context;
            context.author = p.author;
            context.at = all[at].said->version;
            context.stamp_max = all[at].said->stamp;
            if (!apply(now, all[at].change, rules_.of(k.collection), context).changed) { return false; }
        }
        made.changes = !*held || (*held)->visible.deleted != now->deleted ||
                       (!now->deleted && !equal((*held)->visible.fields, now->fields));
        made.state = std::move(*now);
        own.rows.push_back(std::move(made));
    }
    auto const before = [](own_row const& a, own_row const& b) { return a.state.version < b.state.version; };
    if (!std::is_sorted(own.rows.begin(), own.rows.end(), before)) {
        std::sort(own.rows.begin(), own.rows.end(), before);
    }
    xxh3_64_hasher sum;
    bytes raw;
    for (own_row const& r : own.rows) {
        raw.clear();
        cbor_writer w{raw};
        encode_row(w, r.state);
        sum.update(raw);
    }
    return sum.finish() == p.own_sum;
}

template <class Records, class Journal>
bool basic_replica<Records, Journal>::as_confirmed(held_record& held, own_mutation const& m, author_index author) {
    row& r = held.visible;
    bool const begins = m.change.kind == change_kind::create && held.confirmed == 0;
    bool const edits = m.change.kind == change_kind::update && held.confirmed != 0;
    if (r.deleted || (!begins && !edits)) { return false; }
    auto const confirm = [&](write_mark& w) {
        if (w.at != pending_position) { return; }
        w.at = m.said->version;
        w.author = author;
    };
    r.version = m.said->version;
    confirm(r.floor);
    for (field_mark& e : r.exceptions) { confirm(e.mark); }
    return true;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::match_told(Tx& tx, sync_state const& sync, reply& p, own_work& own) const {
    bool const plain = !options_.scoped && options_.schemas == nullptr && !p.partial && p.ranges.empty() &&
                       p.from == sync.cursor && sync.staged == 0;
    if (!plain || p.rows.empty()) { return {}; }
    std::vector<std::pair<position, std::size_t>> places;
    places.reserve(p.rows.size());
    for (std::size_t i = 0; i < p.rows.size(); ++i) { places.emplace_back(p.rows[i].state.version, i); }
    if (!std::is_sorted(places.begin(), places.end())) { std::sort(places.begin(), places.end()); }
    struct match {
        verdict const* said;
        std::size_t told;
    };
    std::vector<match> matches;
    own.told.assign(p.rows.size(), false);
    for (verdict const& v : p.verdicts) {
        bool const stands =
            v.kind == verdict_kind::applied || v.kind == verdict_kind::merged || v.kind == verdict_kind::overruled;
        auto const at = std::lower_bound(places.begin(), places.end(), std::pair{v.version, std::size_t{0}});
        bool const there = at != places.end() && at->first == v.version && v.version > sync.cursor;
        bool const made = std::binary_search(p.own.begin(), p.own.end(), v.sequence);
        if (!stands || !there || made || own.told[at->second]) { continue; }
        own.told[at->second] = true;  // of no other
        matches.push_back({&v, at->second});
    }
    own.told.assign(p.rows.size(), false);
    if (matches.empty()) { return {}; }
    std::vector<outbox_claim> claims;
    auto next = matches.begin();
    auto kept = matches.begin();
    auto ok = tx.scan({numbered('f', matches.front().said->sequence), prefix_end(key('f'))},
                      [&](bytes_view k, bytes_view where) {
                          std::uint64_t const sequence = k.size() == 10 ? read_u64(k.subspan(2)) : 0;
                          while (next != matches.end() && next->said->sequence < sequence) { ++next; }
                          if (next == matches.end()) { return false; }
                          if (next->said->sequence == sequence && where.size() == 16) {
                              claims.push_back({read_u64(where), read_u64(where.subspan(8))});
                              *kept++ = *next++;
                          }
                          return true;
                      });
    if (!ok) { return ok; }
    own.mutations.reserve(own.mutations.size() + claims.size());
    own.rows.reserve(own.rows.size() + claims.size());
    ok = outbox_.payloads_of(tx, claims, [&](std::size_t i, bytes_view payload) {
        auto const o = pending::outline_in(payload);
        match const& m = matches[i];
        record_key const& k = p.rows[m.told].key;
        if (!o || o->record.collection != k.collection || !equal(o->record.id, k.id)) { return true; }
        own_row r;
        r.first = own.mutations.size();
        r.last = r.first + 1;
        r.told = m.told;
        own_mutation& mine = own.mutations.emplace_back();
        mine.change.kind = o->kind;
        mine.change.record = k;
        mine.name = to_bytes(k);
        mine.said = m.said;
        mine.claim = claims[i];
        own.rows.push_back(std::move(r));
        return true;
    });
    bool const lost = !ok && ok.error() == errc::claim_lost;
    return lost ? status{failure{errc::corrupt, "frozen mutation without its entry"}} : ok;
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::meets_told(Tx& tx, record_key const& k, row const& state,
                                                         own_row& r) const {
    auto held = records_.find(tx, k);
    if (!held && held.error() != errc::corrupt) { return held.error(); }
    if (!held || !*held || (*held)->confirmed >= state.version) { return false; }
    r.waits = (*held)->pending;
    r.was_confirmed = r.was_deleted = (*held)->confirmed != 0;  // perhaps
    r.before = (*held)->confirmed;
    row const& seen = (*held)->visible;
    r.changes = seen.deleted != state.deleted || (!state.deleted && !equal(seen.fields, state.fields));
    return true;
}

template <class Records, class Journal>
bool basic_replica<Records, Journal>::all_said(sync_state const& sync, reply const& p) noexcept {
    std::uint64_t last = sync.settled;
    for (verdict const& v : p.verdicts) {
        if (v.sequence != ++last) { return false; }
    }
    return last == p.decided && last < sync.next_sequence;
}

template <class Records, class Journal>
template <class Tx>
result<std::size_t> basic_replica<Records, Journal>::take_own(Tx& tx, bool at_once, own_work& own, reply& p,
                                                              event_batch& events) const {
    auto const join = [&](own_row& r) {
        if (!r.told) { p.rows.push_back({own.mutations[r.first].change.record, std::move(r.state)}); }
    };
    auto const kept = read_sync(tx);
    if (!kept) { return kept.error(); }
    if (keeps_journal<Journal> || !at_once || kept->kept || options_.relay) {
        for (own_row& r : own.rows) { join(r); }
        return std::size_t{0};
    }
    auto const load = outbox_.load(tx);
    if (!load) { return load.error(); }
    bool const others = load->first != own.mutations.size();
    bool decided = false;
    auto ok = scan_prefix(tx, key('h'), [&](bytes_view, bytes_view) {
        decided = true;
        return false;
    });
    if (!ok) { return ok.error(); }
    std::vector<outbox_claim> done;
    done.reserve(own.mutations.size());
    own.said.reserve(own.mutations.size());
    std::size_t rows = 0;
    for (own_row& r : own.rows) {
        own_mutation const& first = own.mutations[r.first];
        if (r.told) {
            auto const met = meets_told(tx, first.change.record, p.rows[*r.told].state, r);
            if (!met) { return met.error(); }
            if (!*met) { continue; }
        }
        row& state = r.told ? p.rows[*r.told].state : r.state;
        bool alone = r.waits && !rules_.of(first.change.record.collection).strong();
        if (alone && others) {
            std::size_t waiting = 0;
            ok =
                outbox_.scan_record(tx, first.name, [&](outbox_entry const&) { return ++waiting <= r.last - r.first; });
            if (!ok) { return ok.error(); }
            alone = waiting == r.last - r.first;
        }
        if (alone && decided) {
            ok = scan_prefix(tx, decided_prefix(first.name), [&](bytes_view, bytes_view) { return alone = false; });
            if (!ok) { return ok.error(); }
        }
        if (!alone) {
            join(r);
            continue;
        }
        record_key const& k = first.change.record;
        for (std::size_t i = r.first; i < r.last; ++i) {
            own_mutation const& m = own.mutations[i];
            events.add_verdict(k, *m.said);
            done.push_back(m.claim);
            own.said.push_back(m.said->sequence);
            if (ok = tx.erase(numbered('f', m.said->sequence)); !ok) { return ok.error(); }
        }
        if (r.was_deleted) {
            if (ok = tx.erase(numbered('d', r.before)); !ok) { return ok.error(); }
        }
        if (state.deleted) {
            if (ok = tx.put(numbered('d', state.version), first.name); !ok) { return ok.error(); }
        }
        if (r.was_confirmed) {
            if (ok = records_.drop_confirmed(tx, k); !ok) { return ok.error(); }
        }
        if (r.changes) { events.add_change(k, state.deleted); }
        held_record clean{false, state.version, std::move(state)};
        if (ok = records_.put(tx, k, clean, nullptr); !ok) { return ok.error(); }
        if (r.told) {
            own.told[*r.told] = true;
            state = std::move(clean.visible);  // its stamps are to be heard of yet
        }
        ++rows;
    }
    std::sort(own.said.begin(), own.said.end());
    own.taken = done.size();
    auto const gone = outbox_.ack_claims(tx, done);
    if (!gone) { return gone.error(); }
    if (*gone != done.size()) { return failure{errc::corrupt, "frozen mutation without its entry"}; }
    return rows;
}

}  // namespace syncline::inline SYNCLINE_ABI
