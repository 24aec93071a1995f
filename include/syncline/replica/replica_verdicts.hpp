// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Verdicts are taken: what is decided leaves the queue, and what was written on it follows.

#include <cstddef>
#include <cstdint>
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
#include <syncline/replica/relay.hpp>
#include <syncline/replica/strong.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <class Tx>
auto basic_replica<Records, Journal>::take_verdict(Tx& tx, verdict const& v, instant now, position head,
                                                   sync_state& sync, std::vector<bytes>& dirty, event_batch& events,
                                                   std::vector<std::pair<std::uint64_t, verdict const*>>& parked) const
    -> result<verdict_effect> {
    bytes where;
    auto found = tx.get(numbered('f', v.sequence), where);
    if (!found) { return found.error(); }
    if (!*found) { return verdict_effect::none; }
    if (v.kind == verdict_kind::retry_after || v.kind == verdict_kind::collateral) { return verdict_effect::none; }
    // Another content under our name: it stays frozen and is issued again under a new one.
    if (v.kind == verdict_kind::rejected && v.reason == errc::identity_fork) { return verdict_effect::forked; }
    // A copy of this store has sent it, perhaps joined with more or with less, and what was decided nobody knows here.
    // Neither lost nor sent twice: a person decides.
    bool const bare = v.kind == verdict_kind::duplicate;
    auto f = find_frozen(tx, where);
    if (!f) { return f.error(); }
    std::uint64_t const token = f->token;
    std::uint64_t const fence = f->fence;
    pending* const p = &f->what;
    auto m = p->decoded();
    if (!m) { return m.error(); }

    each_part(*m, [&](mutation const& part) {
        dirty.push_back(to_bytes(part.record));
        events.add_verdict(part.record, v);
    });
    // Of a group that was rejected for one of its parts this is the record that it was for.
    mutation const& named = v.part && *v.part < m->parts.size() ? m->parts[*v.part] : *m;
    journal_note note;
    note.what = journal_event::decided;
    note.stamp = timestamp::make(now.wall);
    note.change = &*m;
    note.sequence = v.sequence;
    note.said = &v;
    if (auto ok = tell(tx, note); !ok) { return ok.error(); }
    // Its record is lost, and whoever created that may offer it yet; of what creates one, the record that it refers to.
    bool const creates = named.kind == change_kind::create && sync.kept && sync.kept->shared != no_position;
    bool const orphaned = v.kind == verdict_kind::rejected && v.reason == errc::not_found && sync.kept &&
                          (!f->again.empty() || named.base >= sync.kept->shared || creates);
    if (!f->again.empty()) {
        if (auto ok = erase_offered(tx, *m, token); !ok) { return ok.error(); }
    } else if (orphaned) {
        if (auto ok = outbox_.ack(tx, token, fence); !ok) { return ok.error(); }
    } else if (v.kind == verdict_kind::rejected || bare) {
        bytes said;
        cbor_writer w{said};
        encode_verdict(w, v);
        errc const why = bare ? errc::identity_fork : v.reason == errc{} ? errc::rejected : v.reason;
        if (auto ok = outbox_.bury(tx, token, fence, why, said); !ok) { return ok.error(); }
    } else {
        if (auto ok = outbox_.ack(tx, token, fence); !ok) { return ok.error(); }
    }
    if (auto ok = settle_followers(tx, *m, token, v, note, events); !ok) { return ok.error(); }
    if (v.kind == verdict_kind::conflict) {
        if (auto ok = park(tx, token, *p, v); !ok) { return ok.error(); }
        parked.emplace_back(token, &v);
    } else if (v.kind == verdict_kind::applied || v.kind == verdict_kind::merged) {
        // In the overlay until a confirmed row holds it; one that was overruled has nothing to show.
        if (auto ok = put_decided(tx, *m, token, v, p->encoded); !ok) { return ok.error(); }
    }
    // An old request of this replica may have come first, to the authority as it was put back, and been refused.
    bool const refused = v.kind == verdict_kind::rejected || (bare && v.reason == errc::rejected);
    if (refused && (orphaned || !f->again.empty())) {
        // There is no entry of it that could be a dead letter: it is a conflict with no fields.
        if (auto ok = park(tx, token, *p, v); !ok) { return ok.error(); }
        if (orphaned) {
            if (auto ok = put_offered(tx, {0, token, *p}, to_bytes(named.record)); !ok) { return ok.error(); }
            ++sync.kept->orphans;
        }
    }
    bool const known = bare && !refused && !f->again.empty();
    bool const stands =
        v.kind == verdict_kind::applied || v.kind == verdict_kind::merged || v.kind == verdict_kind::overruled || known;
    if (stands && sync.kept) {
        // A position that is seen through a mask may be before that of the decision; one too late offers it again in vain.
        decided_mutation const d{known || options_.scoped ? head : v.version, token, std::move(*p)};
        if (auto ok = keep_decided(tx, *sync.kept, d); !ok) { return ok.error(); }
    }
    if (auto ok = tx.erase(numbered('f', v.sequence)); !ok) { return ok.error(); }
    // Where the authority has had our receipt, which we never sent, another bears our name.
    return bare && v.reason == errc{} ? verdict_effect::forgotten : verdict_effect::taken;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::put_decided(Tx& tx, mutation const& m, std::uint64_t token, verdict const& v,
                                                    bytes_view encoded) const {
    status ok;
    std::size_t i = 0;
    bytes own;
    each_part(m, [&](mutation const& part) {
        bool const of_group = m.kind == change_kind::group;
        position const version = of_group && i < v.versions.size() ? v.versions[i] : v.version;
        ++i;
        if (of_group) {
            own.clear();
            cbor_writer body{own};
            encode_mutation(body, part);
        }
        bytes raw;
        cbor_writer w{raw};
        w.array(3);
        w.unsigned_integer(version);
        w.unsigned_integer(v.stamp.raw);
        w.byte_string(of_group ? bytes_view{own} : encoded);
        bytes k = decided_prefix(to_bytes(part.record));
        append_u64(k, token);
        if (ok) { ok = tx.put(k, raw); }
    });
    return ok;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::erase_offered(Tx& tx, mutation const& m, std::uint64_t token) {
    status ok;
    each_part(m, [&](mutation const& part) {
        bytes k = decided_prefix(to_bytes(part.record));
        append_u64(k, token);
        if (ok) { ok = tx.erase(k); }
    });
    return ok;
}

template <class Records, class Journal>
template <class Tx>
result<strong_chain> basic_replica<Records, Journal>::chain_of(Tx& tx, record_key const& k, position confirmed) const {
    strong_chain all{confirmed};
    bytes const name = to_bytes(k);
    status outcome;
    auto ok = scan_prefix(tx, decided_prefix(name), [&](bytes_view, bytes_view raw) {
        cbor_reader in{raw};
        if (in.array() == 3) { all.confirm(in.unsigned_integer()); }
        if (in.failed()) { outcome = failure{errc::corrupt, "decided mutation"}; }
        return !in.failed();
    });
    if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
    ok = outbox_.scan_record(tx, name, [&](outbox_entry const& e) {
        auto const p = pending::parse(e.payload);
        auto const m = p ? p->decoded() : result<mutation>{p.error()};
        if (!m) {
            outcome = m.error();
            return false;
        }
        (void)all.take(e, *p, of_record(*m, k));
        return true;
    });
    if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
    return all;
}

template <class Records, class Journal>
mutation basic_replica<Records, Journal>::of_record(mutation const& m, record_key const& k) {
    mutation const* const part = part_on(m, k);
    mutation own = part != nullptr ? *part : m;
    own.sequence = m.sequence;
    return own;
}

template <class Records, class Journal>
template <class Tx>
auto basic_replica<Records, Journal>::followers_of(Tx& tx, bytes_view name, std::uint64_t token, bool all) const
    -> result<std::vector<follower>> {
    std::vector<follower> found;
    status outcome;
    std::uint64_t last = token;
    auto ok = outbox_.scan_record(tx, name, [&](outbox_entry const& e) {
        auto what = pending::parse(e.payload);
        auto m = what ? what->decoded() : result<mutation>{what.error()};
        if (!m) {
            outcome = m.error();
            return false;
        }
        if (what->after != last) { return true; }
        if (all) { last = e.token; }
        what->change = std::move(*m);
        found.push_back({e.token, std::move(*what)});
        return true;
    });
    if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
    return found;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::settle_followers(Tx& tx, mutation const& m, std::uint64_t token,
                                                         verdict const& v, journal_note& note,
                                                         event_batch& events) const {
    bool const stands = v.kind == verdict_kind::applied || v.kind == verdict_kind::merged;
    status ok;
    std::size_t i = 0;
    each_part(m, [&](mutation const& part) {
        position const version = i < v.versions.size() ? v.versions[i] : v.version;
        ++i;
        if (!ok || !rules_.of(part.record.collection).strong()) { return; }
        bytes const name = to_bytes(part.record);
        ok = stands ? rebase_followers(tx, name, token, version) : give_up_followers(tx, name, token, v, note, events);
    });
    return ok;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::rebase_followers(Tx& tx, bytes_view name, std::uint64_t token,
                                                         position version) const {
    auto next = followers_of(tx, name, token, false);
    if (!next) { return next.error(); }
    for (follower& f : *next) {
        f.what.change.base = version;
        f.what.after = 0;
        if (auto ok = outbox_.amend(tx, f.token, f.what.encode()); !ok) { return ok; }
    }
    return {};
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::give_up_followers(Tx& tx, bytes_view name, std::uint64_t token,
                                                          verdict const& first, journal_note& note,
                                                          event_batch& events) const {
    auto next = followers_of(tx, name, token, true);
    if (!next) { return next.error(); }
    verdict v;
    v.kind = verdict_kind::collateral;
    v.reason = errc::contended;
    v.version = first.version;
    bytes said;
    cbor_writer w{said};
    encode_verdict(w, v);
    for (follower const& f : *next) {
        if (auto ok = outbox_.abandon(tx, f.token, v.reason, said); !ok) { return ok; }
        events.add_verdict(f.what.change.record, v);
        note.change = &f.what.change;
        note.sequence = 0;
        note.said = &v;
        if (auto ok = tell(tx, note); !ok) { return ok; }
    }
    return {};
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::end_carried(Tx& tx, bytes_view name, position head,
                                                          std::vector<bytes>& dirty) const {
    std::vector<dot> done;
    auto ok = carried_.each_of(tx, name, [&](carried_envelope const& c, carried_part const& part, timestamp) {
        if (c.decided && part.version <= head) { done.push_back(c.id); }
        return true;
    });
    if (!ok) { return ok.error(); }
    for (dot const& id : done) {
        auto const others = carried_.contained(tx, id, name);
        if (!others) { return others.error(); }
        dirty.insert(dirty.end(), others->begin(), others->end());
    }
    return !done.empty();
}

}  // namespace syncline::inline SYNCLINE_ABI
