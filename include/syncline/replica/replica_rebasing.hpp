// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Pending mutations are laid over what is confirmed, again whenever that has changed.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/model/schema.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/envelope.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/pending.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/record_store.hpp>
#include <syncline/replica/relay.hpp>
#include <syncline/replica/strong.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <class Tx, class F, class G>
result<bool> basic_replica<Records, Journal>::lay_over(Tx& tx, record_key const& k, sync_state const& sync,
                                                       std::optional<row>& now, F&& told, G&& done_with,
                                                       std::vector<group_laid>* groups) const {
    collection_schema const& schema = schema_of_record(k);
    collection_rules const& rules = rules_.of(k.collection);
    position const known = now ? now->version : 0;
    bool const closed = now && !schema.cast(*now, schema.version());
    bool any = false;
    strong_chain chain{known};
    status outcome;
    bool took = false;  // the last that was laid
    auto const lay = [&](bytes_view encoded, timestamp stamp_max, std::uint64_t token, author_index author) {
        cbor_reader in{encoded};
        mutation m = decode_mutation(in);
        if (!in.finish()) {
            outcome = failure{errc::corrupt, "pending mutation"};
            return false;
        }
        if (m.kind == change_kind::group) {
            mutation const* const mine = part_on(m, k);
            if (mine == nullptr) {
                outcome = failure{errc::corrupt, "a group without the record that it waits on"};
                return false;
            }
            mutation part = *mine;
            m = std::move(part);
        }
        any = true;
        took = false;
        if (closed || !schema.carry_up(m, now)) { return true; }  // it shows nothing; what it becomes is decided
        apply_context context;
        context.author = author;
        context.stamp_max = stamp_max;
        // What a preview rejects or can't decide leaves the record as it is.
        apply_outcome done = apply(now, m, rules, context);
        if (now) { now->schema = schema.version(); }
        took = done.verdict == verdict_kind::applied || done.verdict == verdict_kind::merged;
        told(token, m, done);
        return true;
    };

    std::vector<bytes> contained;
    bytes const name = to_bytes(k);
    std::vector<dot> home;
    struct carried_over {
        timestamp stamp{};
        bytes frozen{};
        dot id{};
        bool grouped = false;
        bool shows = true;  // of a group: on its other records
        replica_id author{};
        origin from{};
    };
    std::vector<carried_over> others;
    std::optional<bool> open;  // whether anything that is carried may show
    if (options_.relay) {
        auto const sort_out = [&](carried_envelope const& c, carried_part const& part, timestamp stamp) {
            if (c.decided && part.version <= known) {
                home.push_back(c.id);
                return true;
            }
            bool const grouped = c.parts.size() > 1;
            if (!open) {
                auto const shown = shows_others(tx, name);
                if (!shown) { outcome = shown.error(); }
                open = shown && *shown;
            }
            if (!*open || !c.shows_over(part, known)) {
                if (grouped && groups != nullptr) { groups->push_back({c.id, part.applies, false}); }
                return outcome.has_value();
            }
            auto e = open_envelope(c.sealed);
            if (!e) {
                outcome = failure{errc::corrupt, "carried envelope"};
                return false;
            }
            auto const lost = in_vain(tx, c, *e);
            if (lost && *lost) {
                if (grouped && groups != nullptr) { groups->push_back({c.id, part.applies, false}); }
                return true;
            }
            // The same under an earlier name of its device, which took another when the authority was put back.
            bool const again = std::any_of(others.begin(), others.end(), [&](carried_over const& o) {
                return o.shows && o.from == e->said.from && o.author.device == e->said.author.device;
            });
            if (again && e->said.from.line != 0) {
                if (grouped && groups != nullptr) { groups->push_back({c.id, false, false}); }
                return true;
            }
            auto const over = lost && grouped ? shows(tx, c, part, known) : result<bool>{true};
            if (lost && over) {
                others.push_back(
                    {stamp, std::move(e->said.frozen), c.id, grouped, *over, e->said.author, e->said.from});
            } else {
                outcome = lost ? over.error() : lost.error();
            }
            return outcome.has_value();
        };
        auto ok = carried_.each_of(tx, name, sort_out);
        if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
    }
    constexpr timestamp latest{(std::numeric_limits<std::uint64_t>::max)()};
    std::size_t next = 0;
    auto const lay_others = [&](std::size_t count) {
        for (; next < count; ++next) {
            carried_over const& o = others[next];
            std::optional<row> before = now;
            if (!lay(o.frozen, latest, 0, unknown_author)) { return false; }
            bool const large = now && now->fields.size() > options_.record_max;
            took = took && !large;
            if (large || (o.grouped && !(took && o.shows))) { now = std::move(before); }
            if (o.grouped && groups != nullptr) { groups->push_back({o.id, took, took && o.shows}); }
        }
        return true;
    };
    auto const earlier_than = [&](timestamp stamp) {
        std::size_t n = next;
        while (n < others.size() && others[n].stamp < stamp) { ++n; }
        return n;
    };
    auto const lay_earlier_than = [&](bytes_view encoded) {
        cbor_reader head{encoded};
        (void)head.array();
        (void)head.unsigned_integer();
        return lay_others(earlier_than(timestamp{head.unsigned_integer()}));
    };
    bytes const decided = decided_prefix(name);
    auto ok = scan_prefix(tx, decided, [&](bytes_view key_bytes, bytes_view raw) {
        cbor_reader in{raw};
        std::size_t const parts = in.array();
        position const version = in.unsigned_integer();
        timestamp const stamp{in.unsigned_integer()};
        bytes_view const encoded = in.byte_string();
        for (std::size_t i = 3; i < parts; ++i) { (void)in.skip(); }  // of one that is offered again
        bool const orphan = parts == 5 && version == 0;
        if (!in.finish()) {
            outcome = failure{errc::corrupt, "decided mutation"};
            return false;
        }
        if (orphan) { return true; }
        if (version <= known) {
            contained.push_back(to_bytes(key_bytes));
            return true;
        }
        if (parts == 3) { chain.confirm(version); }
        // It may be made on what somebody else's made.
        return lay_earlier_than(encoded) && lay(encoded, stamp, 0, sync.author);
    });
    if (ok) { ok = outcome; }
    if (ok) { ok = done_with(contained, home); }
    if (!ok) { return ok.error(); }
    ok = outbox_.scan_record(tx, name, [&](outbox_entry const& e) {
        auto p = pending::parse(e.payload);
        if (!p) {
            outcome = p.error();
            return false;
        }
        if (rules.strong()) {
            auto m = p->decoded();
            if (!m) {
                outcome = m.error();
                return false;
            }
            if (!chain.take(e, *p, of_record(*m, k))) {
                any = true;
                apply_outcome missed;
                missed.verdict = verdict_kind::rejected;
                missed.reason = errc::contended;
                told(e.token, *m, missed);
                return true;
            }
        }
        return lay_earlier_than(p->encoded) && lay(p->encoded, latest, e.token, sync.author);
    });
    if (!ok) { return ok.error(); }
    if (outcome) { (void)lay_others(others.size()); }
    if (!outcome) { return outcome.error(); }
    return any;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::rebase_all(Tx& tx, std::vector<bytes> names, sync_state const& sync,
                                                   event_batch& events) const {
    std::size_t const most = names.size() + spread_max;
    for (std::size_t i = 0; i < names.size() && i < most; ++i) {
        bytes const name = names[i];
        if (auto ok = rebase(tx, name, sync, events, names); !ok) { return ok; }
    }
    return {};
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::rebase(Tx& tx, bytes_view name, sync_state const& sync, event_batch& events,
                                               std::vector<bytes>& spread) const {
    auto const k = record_key_from(name);
    if (!k) { return k.error(); }
    auto found = records_.find(tx, *k);
    if (!found) { return found.error(); }
    collection_schema const& schema = schema_of_record(*k);
    std::optional<visible> held{visible{}};
    if (*found) { held = visible{true, (*found)->pending, (*found)->confirmed, std::move((*found)->visible)}; }
    (void)schema.cast(held->state, schema.version());  // one that is closed stays as it is
    std::optional<row> confirmed;
    if (held->dirty) {
        auto base = records_.find_confirmed(tx, *k);
        if (!base) { return base.error(); }
        confirmed = std::move(*base);
    } else if (held->present) {
        confirmed = held->state;  // a revived mutation has its verdict: the first that pends on the record
    }

    std::optional<row> now = confirmed;
    position const known = now ? now->version : 0;
    auto const forget = [&](std::vector<bytes> const& contained, std::vector<dot> const& home) {
        status ok;
        for (std::size_t i = 0; i < contained.size() && ok; ++i) { ok = tx.erase(contained[i]); }
        for (std::size_t i = 0; i < home.size() && ok; ++i) {
            auto const others = carried_.contained(tx, home[i], name);
            if (!others) { return status{others.error()}; }
            spread.insert(spread.end(), others->begin(), others->end());
        }
        return ok;
    };
    std::vector<group_laid> groups;
    auto const laid = lay_over(
        tx, *k, sync, now, [](std::uint64_t, mutation&, apply_outcome&) {}, forget, &groups);
    if (!laid) { return laid.error(); }
    for (group_laid const& g : groups) {
        auto others = carried_.note_shown(tx, g.id, name, g.applies, g.shown);
        if (!others) { return others.error(); }
        std::move(others->begin(), others->end(), std::back_inserter(spread));
    }
    bool const dirty = *laid;

    if (!dirty && !held->dirty) { return {}; }
    bool const was_there = held->present && !held->state.deleted;
    bool const is_there = now && !now->deleted;
    if (was_there != is_there || (is_there && !equal(now->fields, held->state.fields))) {
        // Of a strong collection what is confirmed counts, and is told where that changes.
        if (!rules_.of(k->collection).strong()) { events.add_change(*k, !is_there); }
    }
    if (!dirty) {
        if (!now) { return records_.erase(tx, *k); }
        if (auto dropped = records_.drop_confirmed(tx, *k); !dropped) { return dropped; }
    }
    row nothing;
    nothing.deleted = true;
    // As where an authority was put back: who creates it anew joins what comes again.
    bool const remembers = sync.kept && sync.kept->shared != no_position && held->present;
    nothing.life = remembers ? ended_life(held->state) : 0;
    bool const keeps = dirty && !held->dirty && confirmed;
    held_record const shown{dirty, known, now ? std::move(*now) : std::move(nothing)};
    return records_.put(tx, *k, shown, keeps ? &*confirmed : nullptr);
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::park(Tx& tx, std::uint64_t token, pending const& p, verdict const& v) {
    bytes raw;
    cbor_writer w{raw};
    w.array(3);
    w.byte_string(p.encoded);
    w.byte_string(p.base);
    auto const waits = [](decision const& d) { return d.won == winner::nobody; };
    w.array(static_cast<std::size_t>(std::count_if(v.decisions.begin(), v.decisions.end(), waits)));
    for (decision const& d : v.decisions) {
        if (waits(d)) { w.text(d.field); }
    }
    return tx.put(numbered('c', token), raw);
}

}  // namespace syncline::inline SYNCLINE_ABI
