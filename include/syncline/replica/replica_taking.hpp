// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A reply is taken: its rows over what is held, its order, what it withholds, what of it waits.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/ranges.hpp>
#include <syncline/replica/record_store.hpp>
#include <syncline/replica/scopes.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <storage_transaction Tx, random_source G>
result<exchange_report> basic_replica<Records, Journal>::absorb(Tx& tx, bytes_view message, instant now,
                                                                G& random) const {
    auto p = decode_reply(message, options_.message);
    if (!p) { return p.error(); }
    auto sync = read_sync(tx);
    if (!sync) { return sync.error(); }
    auto mine = read_identity(tx);
    if (!mine) { return mine.error(); }
    if (!(mine->self == p->replica)) { return nothing_taken(tx, now); }  // to an identity that was left behind
    // To what this store was before it was opened anew: its sequences may have named other mutations then.
    if (p->line != 0 && p->line != sync->line) { return nothing_taken(tx, now); }
    // An answer to what was asked in an epoch that was left.
    if (sync->kept && p->asked && p->asked != sync->epoch) { return nothing_taken(tx, now); }
    bool const elsewhere = sync->epoch && *sync->epoch != p->epoch;
    std::vector<past_epoch> past;
    if (elsewhere) {
        if (sync->kept) {
            auto met = read_past(tx);
            if (!met) { return met.error(); }
            past = std::move(*met);
        }
        auto const left = [&](past_epoch const& e) { return e.name == p->epoch; };
        if (std::any_of(past.begin(), past.end(), left)) { return nothing_taken(tx, now); }
        // To what was asked before an authority was known that expects to be put back; another one's tells no `asked`.
        if (sync->kept && !p->asked && p->stable) { return nothing_taken(tx, now); }
        if (!sync->kept || !p->asked) { return failure{errc::authority_changed, "another authority answered"}; }
        if (p->author != unknown_author && knows_more(*sync, *p)) { return nothing_taken(tx, now); }
        if (p->author != unknown_author && !p->past.empty()) {
            past.insert(past.end(), p->past.begin(), p->past.end());
        } else {
            past.push_back({*sync->epoch, sync->told()});
        }
        if (p->author == unknown_author) { return regress(tx, *p, *sync, std::move(past), now, random); }
    }
    if (p->wipe) {
        auto report = nothing_taken(tx, now);
        if (report) { report->wipe = true; }
        return report;
    }
    if (p->author == unknown_author) {
        return failure{errc::authority_changed, "the authority was put back to an older state"};
    }
    if (p->head < sync->reached()) { return nothing_taken(tx, now); }  // an old reply once more
    sync_state const before = *sync;
    exchange_report report;
    bool passed = false;  // a page that is of no use
    scope_taking taking;
    if (options_.scoped) {
        if (!p->scopes) { return failure{errc::unsupported, "the authority knows no scopes"}; }
        auto begun = begin_scopes(tx, *p, sync->cursor, taking);
        if (!begun) { return begun.error(); }
        if (!*begun) { return nothing_taken(tx, now); }  // to what it asked for before
    } else if (p->scopes) {
        return failure{errc::foreign, "scopes that were not asked for"};
    } else if (p->from > sync->reached()) {
        // A first sync begins at the head of its first answer; so does a replica that stands below the horizon. Of
        // another answer to its question the rows are of no use; nor is an answer to what it asked before it began to
        // read the log.
        bool const whole = p->from == p->to;
        auto const reads = reading_log(tx);
        if (!reads) { return reads.error(); }
        bool const late = *reads && (!whole || (p->features & feature_ranges) == 0);
        if (!whole && !late) { return failure{errc::foreign, "a page that does not follow the cursor"}; }
        auto const none = wanted_.empty(tx);
        if (!none) { return none.error(); }
        bool const lapsed = sync->reached() < p->horizon;
        if (late) {
            passed = true;
        } else if (lapsed) {
            auto const all = wants_everything(tx);
            if (!all) { return all.error(); }
            if (auto ok = want_everything(tx); !ok) { return ok.error(); }
            if (auto ok = drop_staged(tx, *sync); !ok) { return ok.error(); }
            report.rejoined = sync->cursor != 0;
            // At the cursor 0 something is held where the authority was put back, and that is being compared.
            auto const compares = read_comparison(tx);
            if (!compares) { return compares.error(); }
            // The answer may come again, or be of no use for now: what was begun and told nothing yet goes on.
            auto const begun = *all && *compares ? result<fallback_kind>{fallback_kind::compared}
                                                 : begin_comparison(tx, *p, report.rejoined || *compares, random);
            if (!begun) { return begun.error(); }
            if (report.rejoined) { report.fallback = *begun; }
        } else {
            passed = sync->reached() != 0 || *none;
            // Some of it may be wanted no more: told when there was nothing, which the head is past.
            if (auto ok = passed ? status{} : want_everything(tx); !ok) { return ok.error(); }
        }
    }
    bool by_log = false;  // an authority that knows no ranges tells its log instead
    bool const follows = !options_.scoped && p->from <= sync->reached();
    if (follows && p->ranges.empty() && (p->features & feature_ranges) == 0) {
        auto const none = wanted_.empty(tx);
        if (!none) { return none.error(); }
        by_log = !*none;
        auto const goes_on = by_log ? reads_log(tx, *sync) : result<bool>{true};
        if (!goes_on) { return goes_on.error(); }
        passed = !*goes_on;
        report.rejoined = passed;
        if (passed) { report.fallback = fallback_kind::full; }
    }
    // A page of nothing that begins after the cursor is the answer to a first sync that went on since: what is kept
    // back is of a later time, and does not lead up to it.
    passed = passed || (sync->staged != 0 && p->from > sync->cursor && p->from == p->to);

    own_work own;
    if (!p->own.empty() || !p->parts.empty()) {
        auto const whole = complete_rows(tx, *sync, *p, own);
        if (!whole) { return whole.error(); }
        if (!*whole) {
            own = {};
            p->rows.clear();
            p->to = p->from;
        }
    }

    event_batch events;
    std::vector<bytes> dirty;  // record keys to compute anew
    if (auto ok = note_limits(tx, p->limits); !ok) { return ok.error(); }
    sync->epoch = p->epoch;
    sync->author = p->author;
    if (elsewhere) {
        if (auto ok = write_past(tx, std::move(past)); !ok) { return ok.error(); }
        if (options_.relay) {
            auto const doubted = carried_.doubt(tx, before.told());
            if (!doubted) { return doubted.error(); }
            dirty.insert(dirty.end(), doubted->begin(), doubted->end());
        }
    }
    if (!before.epoch && !p->past.empty()) {
        if (auto ok = write_past(tx, p->past); !ok) { return ok.error(); }
    }
    if (p->stable && !sync->kept) {
        // What was decided before is not kept: an older state than this is not to be had back.
        sync->kept.emplace();
        sync->kept->from = before.told();
    }

    std::vector<std::pair<std::uint64_t, verdict const*>> parked;  // tokens of new conflicts
    bool fork = false;                                             // another content under our name
    bool unknown = false;                                          // what we never sent, or never settled, was
    bool const at_once = !elsewhere && all_said(*sync, *p);
    if (at_once && !passed) {
        if (auto ok = match_told(tx, *sync, *p, own); !ok) { return ok.error(); }
    }
    if (!own.rows.empty()) {
        auto const taken = take_own(tx, at_once, own, *p, events);
        if (!taken) { return taken.error(); }
        report.verdicts += own.taken;
        report.rows += *taken;
    }
    for (verdict const& v : p->verdicts) {
        if (own.has(v.sequence)) { continue; }
        auto handled = take_verdict(tx, v, now, p->head, *sync, dirty, events, parked);
        if (!handled) { return handled.error(); }
        report.verdicts += *handled == verdict_effect::none ? 0 : 1;
        fork = fork || *handled == verdict_effect::forked;
        unknown = unknown || *handled == verdict_effect::forgotten;
        report.wait = report.wait || v.kind == verdict_kind::retry_after || v.kind == verdict_kind::collateral;
    }

    std::size_t const decided = dirty.size();
    if (report.verdicts != 0) {
        if (auto ok = settle(tx, *sync); !ok) { return ok.error(); }
    }

    if (options_.relay) {
        // It was not asked where it was not yet known to take any beside scopes.
        bool const unasked = options_.scoped && (p->features & feature_scoped_relay) != 0;
        if (auto ok = carried_.set_untaken(tx, !p->relayed && !unasked); !ok) { return ok.error(); }
        if (!p->relayed) { p->relayed.emplace(); }
        for (relay_answer const& a : *p->relayed) {
            auto concerns = carried_.take(tx, a, p->head);
            if (!concerns) { return concerns.error(); }
            if (concerns->empty()) { continue; }
            // Of a record that is not told here no row will come that contains it.
            for (bytes const& name : *concerns) {
                auto const shown = shows_others(tx, name);
                if (!shown) { return shown.error(); }
                auto const ended = *shown ? result<bool>{false} : end_carried(tx, name, no_position, dirty);
                if (!ended) { return ended.error(); }
            }
            std::move(concerns->begin(), concerns->end(), std::back_inserter(dirty));
            ++report.relayed;
        }
        // What builds on an own one that was decided just now came before it, and was answered that it needs it.
        if (report.verdicts != 0) {
            auto ok = carried_.ask_again(tx, {mine->self, sync->settled});
            if (!ok) { return ok.error(); }
        }
    }

    // Overtaken by a reply that told a verdict which this one doesn't: its rows may hold what still waits here,
    // and would show it twice. They come again with the verdict.
    auto const overtaken = unheard(tx, *sync, *p);
    if (!overtaken) { return overtaken.error(); }
    passed = passed || (*overtaken && !fork) || p->to < sync->staged;
    if (passed) {
        if (options_.scoped) {
            if (auto ok = note_untaken(tx, taking, *p); !ok) { return ok.error(); }
        }
        p->rows.clear();
        p->ranges.clear();
        p->same.reset();
        p->withheld.clear();
        // Who hands its own on says with its cursor that nothing up to it contains them.
        if (options_.scoped || options_.relay) { p->from = sync->cursor; }
        p->to = sync->cursor;
    }
    bool const scopes_told = options_.scoped && !passed;
    if (p->partial && !passed) {
        if (auto ok = stage(tx, *p); !ok) { return ok.error(); }
        report.advanced = p->to > sync->reached();
        sync->staged = (std::max)(sync->staged, p->to);
        p->to = sync->cursor;
    } else if (sync->staged != 0 && !passed) {
        if (auto ok = unstage(tx, *p, *sync); !ok) { return ok.error(); }
    }
    if (auto ok = take_withheld(tx, *p); !ok) { return ok.error(); }
    report.withheld = p->withheld.size();
    std::vector<bytes> kept_back;
    for (withheld_record const& one : p->withheld) { kept_back.push_back(to_bytes(one.key)); }
    std::sort(kept_back.begin(), kept_back.end(), [](bytes const& a, bytes const& b) { return compare(a, b) < 0; });
    auto const came = sync->kept && sync->kept->orphans != 0 ? arrivals_of(tx, *p) : result<arrivals>{arrivals{}};
    if (!came) { return came.error(); }
    if (auto ok = learn_clock(tx, p->rows, now); !ok) { return ok.error(); }
    std::size_t in_ranges = 0;
    for (told_range const& a : p->ranges) { in_ranges += a.rows; }
    std::size_t next = p->rows.size() - in_ranges;
    if (options_.scoped) { next = 0; }  // they stand in no order of positions
    for (std::size_t i = 0; i < next; ++i) {
        if (i < own.told.size() && own.told[i]) { continue; }
        // Passed already, and perhaps a tombstone that everybody has and that is gone here too.
        if (p->rows[i].state.version <= sync->cursor) { continue; }
        auto taken = take_row(tx, p->rows[i], true, false, dirty, events);
        if (!taken) { return taken.error(); }
        report.rows += *taken ? 1 : 0;
    }
    if (scopes_told) {
        for (row_update& u : p->rows) {
            // Each reply that is taken is of a later state than all that is held.
            auto taken = take_row(tx, u, true, true, dirty, events);
            if (!taken) { return taken.error(); }
            report.rows += *taken ? 1 : 0;
            if (auto ok = end_overlay(tx, to_bytes(u.key), p->head, dirty); !ok) { return ok.error(); }
        }
        bool const masks = options_.relay && taking.state.mask != p->scopes->mask;
        auto moved = take_scopes(tx, *p, taking, dirty, events);
        if (!moved) { return moved.error(); }
        report.advanced = *moved;
        if (masks) {
            if (auto ok = take_mask(tx, taking.state, dirty); !ok) { return ok.error(); }
        }
        auto const anew = [](scope_answer const& a) { return a.standing == scope_standing::anew; };
        report.rejoined = std::any_of(p->scopes->answers.begin(), p->scopes->answers.end(), anew);
    } else if (options_.scoped) {
        // Where what was written is, is told with its verdict, and not again if it is in no scope.
        for (bytes const& name : p->scopes->gone) {
            if (auto ok = let_go(tx, name, dirty, events); !ok) { return ok.error(); }
        }
    }
    for (told_range& a : p->ranges) {
        std::span<row_update> const told = std::span{p->rows}.subspan(next, a.rows);
        next += a.rows;
        auto taken = take_range(tx, a.covered, told, kept_back, p->head, dirty, events, now);
        if (!taken) { return taken.error(); }
        report.rows += *taken;
        report.advanced = true;
    }
    if (!options_.scoped && !passed) {
        auto const same = take_same(tx, *p, dirty, events, now);
        if (!same) { return same.error(); }
        report.same = *same;
        report.advanced = report.advanced || *same != 0;
    }
    // Where nothing came, what was refused would be refused as before.
    bool const offers = sync->kept && sync->kept->orphans != 0 && (report.rows != 0 || report.withheld != 0);
    if (offers) {
        if (auto ok = each_orphaned(tx, dirty); !ok) { return ok.error(); }
    }
    if (options_.relay) {
        // A row may contain what is carried and shows no more.
        auto const carries = carried_.totals(tx);
        if (!carries) { return carries.error(); }
        for (std::size_t i = 0; carries->count != 0 && i < p->rows.size(); ++i) {
            dirty.emplace_back(to_bytes(p->rows[i].key));
        }
    }
    sort_names(dirty, decided);
    std::vector<bytes> spread;
    for (bytes const& k : dirty) {
        auto ok = offers ? offer_orphans(tx, k, *came, *sync) : status{};
        if (ok) { ok = rebase(tx, k, *sync, events, spread); }
        if (ok && options_.scoped) { ok = release(tx, k, spread, events); }
        if (!ok) { return ok.error(); }
    }
    if (options_.scoped) {
        if (auto more = evict_left(tx, evicted_max, spread, events); !more) { return more.error(); }
    }
    if (auto ok = rebase_all(tx, std::move(spread), *sync, events); !ok) { return ok.error(); }
    if (auto ok = tell_parked(tx, parked, sync->author, now); !ok) { return ok.error(); }

    report.advanced = report.advanced || p->to > sync->cursor;
    if (options_.rows_in_parts && p->to > sync->cursor) {
        if (auto ok = tx.erase(key('y')); !ok) { return ok.error(); }
    }
    if (options_.scoped && ((scopes_told && (report.advanced || !p->rows.empty())) || !p->scopes->gone.empty())) {
        ++taking.state.generation;
        if (auto ok = scopes_.write(tx, taking.state); !ok) { return ok.error(); }
    }
    sync->cursor = (std::max)(sync->cursor, p->to);
    sync->head = (std::max)(sync->head, p->head);
    if (by_log && !passed && sync->cursor == sync->head) {
        if (auto ok = wanted_.cover(tx, every_record()); !ok) { return ok.error(); }
    }
    if (sync->kept) {
        sync->kept->horizon = (std::max)(sync->kept->horizon, p->horizon);
        if (auto ok = forget_decided(tx, *sync->kept, p->stable.value_or(0)); !ok) { return ok.error(); }
    }
    if (p->horizon != 0 && p->horizon <= sync->cursor) {
        if (auto ok = drop_tombstones(tx, p->horizon); !ok) { return ok.error(); }
    }
    if (p->decided >= sync->next_sequence && !fork) {
        // This store never sent those. What still waits in it may be what was sent: it goes under the old name
        // first, where it is recognised, lest it count twice.
        auto waiting = outbox_.next_due(tx, now.wall);
        if (!waiting) { return waiting.error(); }
        fork = !*waiting || **waiting > now.wall;
    } else {
        // What is frozen and was decided comes first too: its verdicts are there to be had under the old name only.
        bool const answered = sync->settled + 1 < sync->next_sequence && sync->settled < p->decided;
        fork = fork || (unknown && !answered);
    }
    if (fork) {
        if (auto ok = reincarnate(tx, *sync, random); !ok) { return ok.error(); }
        report.reincarnated = true;
        events.add_reincarnation();
        journal_note note;
        note.what = journal_event::renamed;
        note.stamp = timestamp::make(now.wall);
        if (auto ok = tell(tx, note); !ok) { return ok.error(); }
    }
    if (report.rows != 0 || report.advanced) {
        journal_note note;
        note.what = journal_event::pulled;
        note.stamp = timestamp::make(now.wall);
        note.count = report.rows;
        note.at = sync->cursor;
        note.author = sync->author;
        auto const look = [&](record_key const& k) { return read_confirmed(tx, k); };
        function_ref<result<std::optional<row>>(record_key const&)> const confirmed = look;
        note.confirmed = &confirmed;
        if (auto ok = tell(tx, note); !ok) { return ok.error(); }
    }
    report.changed = events.changed();
    if (!events.empty()) {
        ++sync->events;
        if (auto ok = tx.put(numbered('e', sync->events), events.encode()); !ok) { return ok.error(); }
    }
    bool const moved = !(*sync == before);
    if (moved) {
        if (auto ok = write_sync(tx, *sync); !ok) { return ok.error(); }
    }
    // One that brings nothing may be an old one, told before another program took the authority's place.
    if (moved || report.verdicts != 0 || report.rows != 0) {
        if (auto ok = note_understood(tx, p->features); !ok) { return ok.error(); }
    }
    auto work = work_left(tx, now);
    if (!work) { return work.error(); }
    report.more = *work;
    return report;
}

template <class Records, class Journal>
bytes basic_replica<Records, Journal>::decided_prefix(bytes_view record) {
    bytes k = key('h');
    k.push_back(static_cast<std::byte>(record.size() >> 8));
    k.push_back(static_cast<std::byte>(record.size() & 0xFF));
    append(k, record);
    return k;
}

template <class Records, class Journal>
template <class Tx>
result<exchange_report> basic_replica<Records, Journal>::nothing_taken(Tx& tx, instant now) const {
    auto work = work_left(tx, now);
    if (!work) { return work.error(); }
    exchange_report report;
    report.more = *work;
    return report;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::settle(Tx& tx, sync_state& sync) const {
    sync.settled = sync.next_sequence - 1;
    bytes const prefix = key('f');
    return scan_prefix(tx, prefix, [&](bytes_view k, bytes_view) {
        if (k.size() == 10) { sync.settled = read_u64(k.subspan(2)) - 1; }
        return false;
    });
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::unheard(Tx& tx, sync_state const& sync, reply const& p) const {
    bool found = false;
    if (sync.settled + 1 == sync.next_sequence || p.decided <= sync.settled) { return found; }
    bytes const prefix = key('f');
    auto ok = scan_prefix(tx, prefix, [&](bytes_view k, bytes_view) {
        std::uint64_t const sequence = k.size() == 10 ? read_u64(k.subspan(2)) : 0;
        found = sequence <= p.decided && std::none_of(p.verdicts.begin(), p.verdicts.end(),
                                                      [&](verdict const& v) { return v.sequence == sequence; });
        return !found && sequence < p.decided;
    });
    if (!ok) { return ok.error(); }
    return found;
}

template <class Records, class Journal>
void basic_replica<Records, Journal>::sort_names(std::vector<bytes>& names, std::size_t first) {
    auto const less = [](bytes const& a, bytes const& b) { return compare(a, b) < 0; };
    auto const middle = names.begin() + static_cast<std::ptrdiff_t>(first);
    if (!std::is_sorted(names.begin(), middle, less)) { std::sort(names.begin(), middle, less); }
    if (!std::is_sorted(middle, names.end(), less)) { std::sort(middle, names.end(), less); }
    std::inplace_merge(names.begin(), middle, names.end(), less);
    names.erase(std::unique(names.begin(), names.end()), names.end());
}

template <class Records, class Journal>
template <class Tx>
result<std::optional<row>> basic_replica<Records, Journal>::find_as_told(Tx& tx, record_key const& k) const {
    auto held = records_.find(tx, k);
    if (!held) { return held.error(); }
    if (!*held || (*held)->confirmed == 0) { return std::optional<row>{}; }
    if ((*held)->pending) { return records_.find_confirmed(tx, k); }
    return std::optional<row>{std::move((*held)->visible)};
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::show(Tx& tx, std::vector<bytes> dirty, sync_state& sync, handed_report& report,
                                             event_batch events) const {
    std::sort(dirty.begin(), dirty.end(), [](bytes const& a, bytes const& b) { return compare(a, b) < 0; });
    dirty.erase(std::unique(dirty.begin(), dirty.end()), dirty.end());
    if (auto ok = rebase_all(tx, std::move(dirty), sync, events); !ok) { return ok; }
    report.changed = events.changed();
    if (events.empty()) { return {}; }
    ++sync.events;
    if (auto ok = tx.put(numbered('e', sync.events), events.encode()); !ok) { return ok; }
    return write_sync(tx, sync);
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::holds(Tx& tx, row_update const& u, held_record const& held) const {
    if (held.confirmed != u.state.version) { return false; }
    if (!held.pending) { return held.visible == u.state; }
    auto const kept = records_.find_confirmed(tx, u.key);
    if (!kept && kept.error() != errc::corrupt) { return kept.error(); }
    return kept && *kept && **kept == u.state;
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::take_row(Tx& tx, row_update& u, bool may_be_held, bool as_told,
                                                       std::vector<bytes>& dirty, event_batch& events) const {
    std::optional<held_record> held;
    if (may_be_held) {
        auto found = records_.find(tx, u.key);
        if (found) {
            held = std::move(*found);
        } else if (auto ok = forget_damaged(tx, u.key, found.error(), dirty); !ok) {
            return ok.error();
        }
    }
    bool changes = !u.state.deleted;
    if (held) {
        if (held->confirmed >= u.state.version) {
            if (!as_told) { return false; }
            auto const same = holds(tx, u, *held);
            if (!same) { return same.error(); }
            if (*same) { return false; }
        }
        if (held->pending || held->visible.deleted) {
            if (auto ok = tx.erase(numbered('d', held->confirmed)); !ok) { return ok.error(); }
        }
        changes = held->visible.deleted != u.state.deleted || !equal(held->visible.fields, u.state.fields);
    }
    if (u.state.deleted) {
        if (auto ok = tx.put(numbered('d', u.state.version), to_bytes(u.key)); !ok) { return ok.error(); }
    }
    if (held && held->pending) {
        if (rules_.of(u.key.collection).strong()) {
            auto const was = records_.find_confirmed(tx, u.key);
            if (!was && was.error() != errc::corrupt) { return was.error(); }
            bool const lived = was && *was && !(*was)->deleted;
            bool const same = lived != u.state.deleted && (!lived || equal((*was)->fields, u.state.fields));
            if (!same) { events.add_change(u.key, u.state.deleted); }
        }
        held->confirmed = u.state.version;
        if (auto ok = records_.put(tx, u.key, *held, &u.state); !ok) { return ok.error(); }
        dirty.push_back(to_bytes(u.key));
        return true;
    }
    held_record const clean{false, u.state.version, std::move(u.state)};
    if (auto ok = records_.put(tx, u.key, clean, nullptr); !ok) { return ok.error(); }
    if (changes) { events.add_change(u.key, clean.visible.deleted); }
    return true;
}

}  // namespace syncline::inline SYNCLINE_ABI
