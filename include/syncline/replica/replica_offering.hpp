// SPDX-License-Identifier: BSL-1.0
#pragma once

/// An authority that was put back: what it lost is told from what it holds, and offered again.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/pending.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/ranges.hpp>
#include <syncline/replica/record_store.hpp>
#include <syncline/replica/strong.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::keep_decided(Tx& tx, kept_state& kept, decided_mutation const& d) const {
    bytes raw;
    cbor_writer w{raw};
    w.array(5);
    w.unsigned_integer(d.version);
    w.unsigned_integer(d.token);
    w.byte_string(d.what.encoded);
    w.byte_string(d.what.base);
    w.unsigned_integer(d.what.line);
    return tx.put(numbered('k', kept.next++), raw);
}

template <class Records, class Journal>
auto basic_replica<Records, Journal>::parse_decided(bytes_view raw) -> result<decided_mutation> {
    cbor_reader in{raw};
    decided_mutation d;
    bool const right = in.array() == 5;
    d.version = in.unsigned_integer();
    d.token = in.unsigned_integer();
    d.what.encoded = to_bytes(in.byte_string());
    d.what.base = to_bytes(in.byte_string());
    d.what.line = in.unsigned_integer();
    if (!right || !in.finish()) { return failure{errc::corrupt, "decided mutation"}; }
    return d;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::forget_decided(Tx& tx, kept_state& kept, position stable) const {
    bytes raw;
    for (std::size_t n = 0; kept.first != kept.next && n < decided_forgotten_max; ++n, ++kept.first) {
        bool const many = kept.next - kept.first > options_.decided_max;
        if (!many && stable <= kept.from) { return {}; }
        auto found = tx.get(numbered('k', kept.first), raw);
        if (!found) { return found.error(); }
        if (!*found) { continue; }  // it was offered again
        auto const d = parse_decided(raw);
        if (!d) { return d.error(); }
        if (d->version > stable) {
            if (!many) { break; }
            kept.from = (std::max)(kept.from, d->version);
        }
        if (auto ok = tx.erase(numbered('k', kept.first)); !ok) { return ok; }
    }
    auto const oldest = [&]() -> result<bool> {  // whether nothing that is left is in the backup
        if (kept.first == kept.next) { return true; }
        auto found = tx.get(numbered('k', kept.first), raw);
        if (!found) { return found.error(); }
        if (!*found) { return false; }
        auto const d = parse_decided(raw);
        if (!d) { return d.error(); }
        return d->version > stable;
    };
    if (stable <= kept.from) { return {}; }
    auto const done = oldest();
    if (!done) { return done.error(); }
    if (*done) { kept.from = stable; }
    return {};
}

template <class Records, class Journal>
template <class Tx>
auto basic_replica<Records, Journal>::find_offered(Tx& tx, bytes_view at) const -> result<decided_mutation> {
    bytes raw;
    auto found = tx.get(at, raw);
    if (!found) { return found.error(); }
    cbor_reader in{raw};
    decided_mutation d;
    bool const right = *found && at.size() > 8 && in.array() == 5;
    d.version = in.unsigned_integer();
    (void)in.unsigned_integer();
    d.what.encoded = to_bytes(in.byte_string());
    d.what.base = to_bytes(in.byte_string());
    d.what.line = in.unsigned_integer();
    if (!right || !in.finish()) { return failure{errc::corrupt, "frozen mutation without its entry"}; }
    d.token = read_u64(at.subspan(at.size() - 8));
    return d;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::offer_again(Tx& tx, sync_state& sync, decided_mutation const& d,
                                                    position base_max) const {
    auto m = d.what.decoded();
    if (!m) { return m.error(); }
    bytes const name = to_bytes(m->record);
    m->sequence = sync.next_sequence;
    each_part(*m, [&](mutation& part) { part.base = base_within(part, base_max, rules_.of(part.record.collection)); });
    pending again;
    cbor_writer body{again.encoded};
    encode_mutation(body, *m);
    again.base = d.what.base;
    again.line = d.what.line;
    if (auto ok = put_offered(tx, {no_position, d.token, std::move(again)}, name); !ok) { return ok; }
    // The whole of a group lies under its first record, the other parts under theirs.
    for (std::size_t i = 1; i < m->parts.size(); ++i) {
        pending part;
        cbor_writer own{part.encoded};
        encode_mutation(own, m->parts[i]);
        bytes const record = to_bytes(m->parts[i].record);
        if (auto ok = put_offered(tx, {no_position, d.token, std::move(part)}, record); !ok) { return ok; }
    }
    bytes where;
    append_u64(where, 0);
    append(where, decided_prefix(name));
    append_u64(where, d.token);
    return tx.put(numbered('f', sync.next_sequence++), where);
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::put_offered(Tx& tx, decided_mutation const& d, bytes_view record) {
    bytes raw;
    cbor_writer w{raw};
    w.array(5);
    w.unsigned_integer(d.version);
    w.unsigned_integer((std::numeric_limits<std::uint64_t>::max)());
    w.byte_string(d.what.encoded);
    w.byte_string(d.what.base);
    w.unsigned_integer(d.what.line);
    bytes at = decided_prefix(record);
    append_u64(at, d.token);
    return tx.put(at, raw);
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::each_orphaned(Tx& tx, std::vector<bytes>& names) {
    return scan_prefix(tx, key('h'), [&](bytes_view k, bytes_view raw) {
        cbor_reader in{raw};
        bool const orphan = in.array() == 5 && in.unsigned_integer() == 0;
        if (orphan && k.size() > 12) { names.push_back(to_bytes(k.subspan(4, k.size() - 12))); }
        return true;
    });
}

template <class Records, class Journal>
template <class Tx>
auto basic_replica<Records, Journal>::arrivals_of(Tx& tx, reply const& p) const -> result<arrivals> {
    arrivals out;
    for (row_update const& u : p.rows) {
        auto const held = read_confirmed(tx, u.key);
        bool const unreadable = !held && (held.error() == errc::unsupported || held.error() == errc::corrupt);
        if (!held && !unreadable) { return held.error(); }
        // What waits on a record that is here waits for another: a change of this one is no reason to offer it.
        bool const here = held && *held && !(*held)->deleted && (*held)->life == u.state.life;
        if (!here) { out.names.push_back(to_bytes(u.key)); }
        out.ids.push_back(u.key.id);
    }
    for (withheld_record const& one : p.withheld) {
        out.names.push_back(to_bytes(one.key));
        out.ids.push_back(one.key.id);
    }
    sort_names(out.names, 0);
    sort_names(out.ids, 0);
    return out;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::offer_orphans(Tx& tx, bytes_view name, arrivals const& came,
                                                      sync_state& sync) const {
    if (!sync.kept || sync.kept->orphans == 0) { return {}; }
    std::vector<bytes> at;
    auto ok = scan_prefix(tx, decided_prefix(name), [&](bytes_view k, bytes_view raw) {
        cbor_reader in{raw};
        if (in.array() == 5 && in.unsigned_integer() == 0) { at.push_back(to_bytes(k)); }
        return true;
    });
    if (!ok || at.empty()) { return ok; }
    auto const k = record_key_from(name);
    if (!k) { return k.error(); }
    auto const come = read_confirmed(tx, *k);
    if (!come) { return come.error(); }
    bool const there = *come && (*come)->version != 0;
    bytes raw;
    for (bytes const& one : at) {
        auto d = find_offered(tx, one);
        if (!d) { return d.error(); }
        auto const m = d->what.decoded();
        if (!m) { return m.error(); }
        // It would be refused as before, and the person be told so. Of a scope's records those outside are not told.
        if (!options_.scoped && !came.concern(name, *m)) { continue; }
        mutation const* const part = part_on(*m, *k);
        // What creates the record waits for another, one that it refers to.
        if (part == nullptr || part->kind != change_kind::create) {
            if (!there) { continue; }
            // What has come may be an earlier life, the tombstone of one say: it would be refused as before, for ever.
            if (part != nullptr && part->life > (*come)->life) { continue; }
        }
        auto parked = tx.get(numbered('c', d->token), raw);
        if (!parked) { return parked.error(); }
        auto const conflict = numbered('c', d->token);
        if (ok = tx.erase(*parked ? bytes_view{conflict} : bytes_view{one}); !ok) { return ok; }
        --sync.kept->orphans;
        if (!*parked) { continue; }
        if (ok = offer_again(tx, sync, *d, sync.kept->shared); !ok) { return ok; }
    }
    return ok;
}

template <class Records, class Journal>
template <class Tx, class G>
result<exchange_report> basic_replica<Records, Journal>::regress(Tx& tx, reply const& p, sync_state& sync,
                                                                 std::vector<past_epoch> past, instant now,
                                                                 G& random) const {
    std::optional<position> shared;
    for (past_epoch const& mine : past) {
        for (past_epoch const& theirs : p.past) {
            if (mine.name == theirs.name) { shared = (std::max)(shared.value_or(0), (std::min)(mine.end, theirs.end)); }
        }
    }
    kept_state& kept = *sync.kept;
    if (!shared || *shared > p.head) { return failure{errc::authority_changed, "another authority answered"}; }
    if (*shared < kept.from) {
        return failure{errc::authority_changed, "the authority was put back further than what is kept"};
    }
    // What is kept of this replica's past: those it shares, and the names of those it leaves.
    auto const told = [&](past_epoch const& e) {
        return std::any_of(p.past.begin(), p.past.end(), [&](past_epoch const& t) { return t.name == e.name; });
    };
    past.erase(std::remove_if(past.begin(), past.end(), told), past.end());
    for (past_epoch& e : past) { e.end = (std::min)(e.end, *shared); }
    past.insert(past.end(), p.past.begin(), p.past.end());
    if (auto ok = write_past(tx, std::move(past)); !ok) { return ok.error(); }
    bool const verdicts_lost = p.decided < sync.settled;
    bool const frozen = sync.settled + 1 != sync.next_sequence;
    sync.epoch = p.epoch;
    // Between pages a record that changed again has moved behind the cursor, and the page that it was in is told: where
    // the authority goes back it lies there once more, and no page would bring it.
    bool const between_pages = sync.cursor < sync.head;
    if (auto ok = drop_staged(tx, sync); !ok) { return ok.error(); }
    sync.cursor = (std::min)(sync.cursor, *shared);
    sync.head = p.head;
    kept.shared = (std::min)(kept.shared, *shared);

    std::vector<bytes> dirty;
    event_batch events;
    bool const all = between_pages || kept.horizon > *shared || sync.cursor == 0;
    auto voided = void_rows(tx, *shared, all, dirty, events);
    if (!voided) { return voided.error(); }
    kept.horizon = (std::min)(kept.horizon, *shared);
    auto lost = take_lost(tx, *shared, dirty);
    if (!lost) { return lost.error(); }
    std::size_t const offered = lost->size();
    if (auto ok = void_bases(tx, *shared, p.decided); !ok) { return ok.error(); }
    // Where the authority has a verdict that is not known here yet, it is to be had under this name only.
    if ((verdicts_lost || frozen || !lost->empty()) && p.decided <= sync.settled) {
        if (auto ok = note_left(tx); !ok) { return ok.error(); }
        if (auto ok = reincarnate(tx, sync, random, std::move(*lost), *shared); !ok) { return ok.error(); }
    } else {
        for (decided_mutation const& d : *lost) {
            if (auto ok = offer_again(tx, sync, d, *shared); !ok) { return ok.error(); }
        }
    }
    if (options_.relay) {
        auto doubted = carried_.doubt(tx, *shared);
        if (!doubted) { return doubted.error(); }
        dirty.insert(dirty.end(), doubted->begin(), doubted->end());
    }
    std::sort(dirty.begin(), dirty.end(), [](bytes const& a, bytes const& b) { return compare(a, b) < 0; });
    dirty.erase(std::unique(dirty.begin(), dirty.end()), dirty.end());
    if (auto ok = rebase_all(tx, std::move(dirty), sync, events); !ok) { return ok.error(); }
    for (auto& [k, life] : *voided) {
        auto const left = records_.find(tx, k);
        if (!left) { return left.error(); }
        if (*left) { continue; }
        // Who creates it before it has come again begins the life that was seen, so that the two join; after one that
        // had ended a later one.
        held_record ended{};
        ended.visible.deleted = true;
        ended.visible.life = life;
        if (auto ok = records_.put(tx, k, ended, nullptr); !ok) { return ok.error(); }
    }
    if (options_.scoped) {
        if (auto ok = join_all_again(tx); !ok) { return ok.error(); }
    }
    if (auto ok = want_withheld(tx, *shared); !ok) { return ok.error(); }
    exchange_report report;
    report.regressed = true;
    report.fallback = fallback_kind::older_cursor;
    if (options_.scoped) {
        report.fallback = fallback_kind::full;
    } else if (all) {
        auto const begun = begin_comparison(tx, p, true, random);
        if (!begun) { return begun.error(); }
        report.fallback = *begun;
    } else if (auto ok = next_round(tx); !ok) {
        return ok.error();
    }
    report.changed = events.changed();
    events.add_regress({offered, voided->size()});
    ++sync.events;
    if (auto ok = tx.put(numbered('e', sync.events), events.encode()); !ok) { return ok.error(); }
    journal_note note;
    note.what = journal_event::regressed;
    note.stamp = timestamp::make(now.wall);
    note.count = offered;
    note.at = *shared;
    if (auto ok = tell(tx, note); !ok) { return ok.error(); }
    if (auto ok = write_sync(tx, sync); !ok) { return ok.error(); }
    auto work = work_left(tx, now);
    if (!work) { return work.error(); }
    report.more = *work;
    return report;
}

template <class Records, class Journal>
template <class Tx>
result<std::vector<std::pair<record_key, std::uint64_t>>> basic_replica<Records, Journal>::void_rows(
    Tx& tx, position shared, bool all, std::vector<bytes>& dirty, event_batch& events) const {
    std::vector<std::pair<record_key, std::uint64_t>> gone;
    record_range const every = every_record();
    auto ok = records_.scan_range(tx, every.from, every.to, [&](record_key const& k, held_record& h) {
        if (h.confirmed > shared) { gone.emplace_back(k, ended_life(h.visible)); }
        return true;
    });
    if (!ok) { return ok.error(); }
    for (auto const& [k, life] : gone) {
        auto held = records_.find(tx, k);
        if (!held) { return held.error(); }
        if (!*held) { return failure{errc::corrupt, "visible record"}; }
        if (ok = tx.erase(numbered('d', (*held)->confirmed)); !ok) { return ok.error(); }
        if (ok = tell_end(tx, k, **held, events); !ok) { return ok.error(); }
        if (ok = records_.drop_confirmed(tx, k); !ok) { return ok.error(); }
        // Computed anew below, from no confirmed row.
        (*held)->pending = true;
        (*held)->confirmed = 0;
        if (ok = records_.put(tx, k, **held, nullptr); !ok) { return ok.error(); }
        dirty.push_back(to_bytes(k));
        if (!all) { ok = want(tx, band_repair, range_of(k)); }
        if (!ok) { return ok.error(); }
    }
    if (all) {
        if (ok = want_everything(tx); !ok) { return ok.error(); }
    }
    return gone;
}

template <class Records, class Journal>
template <class Tx>
auto basic_replica<Records, Journal>::take_lost(Tx& tx, position shared, std::vector<bytes>& dirty) const
    -> result<std::vector<decided_mutation>> {
    std::vector<decided_mutation> lost;
    std::vector<bytes> keys;
    status outcome;
    auto ok = scan_prefix(tx, key('k'), [&](bytes_view k, bytes_view raw) {
        auto d = parse_decided(raw);
        if (!d) {
            outcome = d.error();
            return false;
        }
        if (d->version > shared) {
            keys.push_back(to_bytes(k));
            lost.push_back(std::move(*d));
        }
        return true;
    });
    if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
    for (std::size_t i = 0; i < lost.size(); ++i) {
        if (auto gone = tx.erase(keys[i]); !gone) { return gone.error(); }
        auto m = lost[i].what.decoded();
        if (!m) { return m.error(); }
        each_part(*m, [&](mutation const& part) { dirty.push_back(to_bytes(part.record)); });
    }
    sort_as_written(lost);
    return lost;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::void_bases(Tx& tx, position shared, std::uint64_t decided) const {
    struct rewritten {
        std::uint64_t token, fence;
        bytes payload;
    };
    std::vector<rewritten> all;
    status outcome;
    auto ok = outbox_.scan(tx, [&](outbox_entry const& e) {
        auto p = pending::parse(e.payload);
        auto m = p ? p->decoded() : result<mutation>{p.error()};
        if (!m) {
            outcome = m.error();
            return false;
        }
        bool beyond = false;
        each_part(*m, [&](mutation& part) {
            beyond = beyond || part.base > shared;
            part.base = base_within(part, shared, rules_.of(part.record.collection));
        });
        if (!beyond || (e.fence != 0 && m->sequence <= decided)) { return true; }
        p->change = std::move(*m);
        all.push_back({e.token, e.fence, p->encode()});
        return true;
    });
    if (!ok || !outcome) { return ok ? outcome : ok; }
    for (rewritten const& r : all) {
        auto const done =
            r.fence == 0 ? outbox_.amend(tx, r.token, r.payload) : outbox_.set_payload(tx, r.token, r.fence, r.payload);
        // One that was revived and waits is mended when it is sent.
        if (!done && done.error() != errc::claim_lost) { return done; }
    }
    return {};
}

}  // namespace syncline::inline SYNCLINE_ABI
