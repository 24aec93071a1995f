// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Scopes: what a replica holds of the authority's records, joined, left, and changed by others.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/record.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/constraints.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/ranges.hpp>
#include <syncline/replica/relay.hpp>
#include <syncline/replica/scopes.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::join(Tx& tx, scope const& what) const {
    if (!valid(what)) { return failure{errc::invalid, "no scope"}; }
    auto state = scope_state(tx);
    if (!state) { return state.error(); }
    auto all = scopes_.list(tx);
    if (!all) { return all.error(); }
    auto const same = [&](held_scope const& h) { return scope_book::asked(h) && h.what == what; };
    if (std::any_of(all->begin(), all->end(), same)) { return {}; }
    if (std::count_if(all->begin(), all->end(), scope_book::asked) >= static_cast<std::ptrdiff_t>(scopes_max)) {
        return failure{errc::limit, "too many scopes"};
    }
    if (auto ok = scopes_.put(tx, {state->next++, held_scope::state::joining, what, {}, 0}); !ok) { return ok; }
    ++state->generation;
    return scopes_.write(tx, *state);
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::leave(Tx& tx, scope const& what) const {
    auto state = scope_state(tx);
    if (!state) { return state.error(); }
    auto all = scopes_.list(tx);
    if (!all) { return all.error(); }
    auto const same = [&](held_scope const& h) { return scope_book::asked(h) && h.what == what; };
    auto const found = std::find_if(all->begin(), all->end(), same);
    if (found == all->end()) { return failure{errc::not_found, "no such scope is joined"}; }
    found->is = held_scope::state::leaving;
    if (auto ok = scopes_.put(tx, *found); !ok) { return ok; }
    if (auto ok = scopes_.end_replaced(tx, found->number, *all); !ok) { return ok; }
    ++state->generation;
    return scopes_.write(tx, *state);
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::scopes(Tx& tx, function_ref<bool(held_scope const&)> visit) const {
    auto all = scopes_.list(tx);
    if (!all) { return all.error(); }
    for (held_scope const& h : *all) {
        if (!visit(h)) { break; }
    }
    return {};
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::rejoin(Tx& tx, std::uint64_t number) const {
    auto state = scope_state(tx);
    if (!state) { return state.error(); }
    auto all = scopes_.list(tx);
    if (!all) { return all.error(); }
    auto const found = std::find_if(all->begin(), all->end(), [&](held_scope const& h) {
        return h.number == number && h.is == held_scope::state::complete;
    });
    if (found == all->end()) { return failure{errc::not_found, "no such scope is complete"}; }
    held_scope const old = *found;
    if (auto ok = scopes_.join_again(tx, *state, old, false, *all); !ok) { return ok; }
    ++state->generation;
    return scopes_.write(tx, *state);
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::scan_scope(Tx& tx, std::uint64_t number, record_range const& r,
                                                   function_ref<bool(record_key const&, row const&)> visit) const {
    status outcome;
    auto const ok = scopes_.scan(tx, number, r.from, r.to, [&](bytes_view name) {
        auto const k = record_key_from(name);
        auto held =
            k ? read_confirmed(tx, *k) : result<std::optional<row>>{failure{errc::corrupt, "scopes of a record"}};
        if (!held) { outcome = held.error(); }
        return outcome.has_value() && (!*held || visit(*k, **held));
    });
    return ok ? outcome : ok;
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<bool> basic_replica<Records, Journal>::evict(Tx& tx, std::size_t budget) const {
    if (auto state = scope_state(tx); !state) { return state.error(); }
    event_batch events;
    std::vector<bytes> hidden;
    auto const more = evict_left(tx, budget, hidden, events);
    if (!more) { return more; }
    auto sync = read_sync(tx);
    if (!sync) { return sync.error(); }
    if (auto ok = rebase_all(tx, std::move(hidden), *sync, events); !ok) { return ok.error(); }
    if (events.empty()) { return more; }
    ++sync->events;
    if (auto ok = tx.put(numbered('e', sync->events), events.encode()); !ok) { return ok.error(); }
    if (auto ok = write_sync(tx, *sync); !ok) { return ok.error(); }
    return more;
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<std::vector<held_scope>> basic_replica<Records, Journal>::shared_scopes(Tx& tx) const {
    std::vector<held_scope> whole;
    if (!options_.scoped) { return whole; }
    auto const state = scope_state(tx);
    if (!state) { return state.error(); }
    auto all = scopes_.list(tx);
    if (!all || state->mask != 0) { return all ? result<std::vector<held_scope>>{whole} : all; }
    for (held_scope& h : *all) {
        if (h.is == held_scope::state::joining) { return std::vector<held_scope>{}; }
        if (h.is == held_scope::state::complete) { whole.push_back(std::move(h)); }
    }
    return whole;
}

template <class Records, class Journal>
template <class Tx>
result<scope_book::state> basic_replica<Records, Journal>::scope_state(Tx& tx) const {
    auto state = scopes_.read(tx);
    if (!state) { return state.error(); }
    if (!*state || !options_.scoped) { return failure{errc::invalid, "the replica holds everything"}; }
    return **state;
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::nothing_to_come(Tx& tx) const {
    if (!options_.scoped) { return wanted_.empty(tx); }
    auto all = scopes_.list(tx);
    if (!all) { return all.error(); }
    return std::none_of(all->begin(), all->end(),
                        [](held_scope const& h) { return h.is == held_scope::state::joining; });
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::begin_scopes(Tx& tx, reply const& p, position cursor,
                                                           scope_taking& t) const {
    auto state = scope_state(tx);
    if (!state) { return state.error(); }
    t.state = *state;
    if (p.scopes->generation != t.state.generation) { return false; }
    auto all = scopes_.list(tx);
    if (!all) { return all.error(); }
    t.all = std::move(*all);
    for (std::size_t i = 0; i < t.all.size(); ++i) {
        if (scope_book::asked(t.all[i])) { t.asked.push_back(i); }
    }
    failure const unfit{errc::foreign, "scopes that were not asked for"};
    for (scope_answer const& a : p.scopes->answers) {
        if (a.index >= t.asked.size()) { return unfit; }
    }
    for (scope_run const& r : p.scopes->runs) {
        if (r.members.back() >= t.asked.size()) { return unfit; }
    }
    if (p.from <= cursor) { return true; }
    // It begins further on than what is held: right where nothing is held for which the cursor stands.
    std::size_t answered = 0;
    for (std::size_t i = 0; i < t.asked.size(); ++i) {
        auto const& answers = p.scopes->answers;
        while (answered < answers.size() && answers[answered].index < i) { ++answered; }
        bool const told = answered < answers.size() && answers[answered].index == i;
        bool const stays = t.all[t.asked[i]].is == held_scope::state::complete;
        if (stays && (!told || answers[answered].standing == scope_standing::complete ||
                      answers[answered].standing == scope_standing::joining)) {
            return failure{errc::foreign, "a page that does not follow the cursor"};
        }
    }
    return true;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::note_untaken(Tx& tx, scope_taking const& t, reply& p) const {
    std::size_t next = 0;
    for (scope_run const& r : p.scopes->runs) {
        std::vector<std::uint64_t> begun;
        for (std::uint64_t const m : r.members) {
            held_scope const& h = t.all[t.asked[static_cast<std::size_t>(m)]];
            if (h.is == held_scope::state::complete || h.place.since != 0) { begun.push_back(h.number); }
        }
        std::sort(begun.begin(), begun.end());
        for (std::uint64_t i = 0; i < r.rows; ++i, ++next) {
            bytes name = to_bytes(p.rows[next].key);
            if (begun.empty()) {
                p.scopes->gone.push_back(std::move(name));
            } else if (auto ok = scopes_.set_members(tx, name, begun); !ok) {
                return ok;
            }
        }
    }
    return {};
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::still_comes(Tx& tx, dot id, std::uint64_t room, dot const& own,
                                                          std::uint64_t settled) const {
    for (int depth = 0; depth < needs_depth_max; ++depth) {
        if (id.replica == own.replica) { return id.sequence > settled && id.sequence < own.sequence; }
        auto const c = carried_.find(tx, id);
        if (!c) { return c.error(); }
        if (!*c || (*c)->sealed.size() > room) { return false; }
        if (!(*c)->asked) { return true; }
        if ((*c)->decided || (*c)->missing.sequence == 0) { return false; }
        id = (*c)->missing;
    }
    return false;
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::take_scopes(Tx& tx, reply const& p, scope_taking& t,
                                                          std::vector<bytes>& dirty, event_batch& events) const {
    std::size_t next = 0;
    std::vector<std::uint64_t> numbers;
    for (scope_run const& r : p.scopes->runs) {
        numbers.clear();
        for (std::uint64_t const m : r.members) {
            numbers.push_back(t.all[t.asked[static_cast<std::size_t>(m)]].number);
        }
        std::sort(numbers.begin(), numbers.end());
        for (std::uint64_t i = 0; i < r.rows; ++i) {
            if (auto ok = scopes_.set_members(tx, to_bytes(p.rows[next++].key), numbers); !ok) { return ok.error(); }
        }
    }
    for (bytes const& name : p.scopes->gone) {
        if (auto ok = let_go(tx, name, dirty, events); !ok) { return ok.error(); }
    }
    bool moved = t.state.mask != p.scopes->mask;
    t.state.mask = p.scopes->mask;
    for (scope_answer const& a : p.scopes->answers) {
        held_scope h = t.all[t.asked[static_cast<std::size_t>(a.index)]];
        held_scope const was = h;
        switch (a.standing) {
            case scope_standing::refused:
                if (h.is == held_scope::state::refused) { break; }
                if (auto ok = scopes_.join_again(tx, t.state, h, true, t.all); !ok) { return ok.error(); }
                moved = true;
                break;
            case scope_standing::anew:
                if (auto ok = scopes_.join_again(tx, t.state, h, false, t.all); !ok) { return ok.error(); }
                moved = true;
                break;
            case scope_standing::joining:
            case scope_standing::complete:
                h.is =
                    a.standing == scope_standing::complete ? held_scope::state::complete : held_scope::state::joining;
                h.place = a.place;
                if (h == was) { break; }
                moved = true;
                if (auto ok = scopes_.put(tx, h); !ok) { return ok.error(); }
                if (h.is == held_scope::state::complete) {
                    if (auto ok = scopes_.end_replaced(tx, h.number, t.all); !ok) { return ok.error(); }
                }
                break;
        }
    }
    return moved;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::take_mask(Tx& tx, scope_book::state const& now,
                                                  std::vector<bytes>& dirty) const {
    if (auto ok = scopes_.write(tx, now); !ok) { return ok; }
    std::vector<bytes> names;
    auto ok = carried_.scan(tx, dot{}, [&](carried_envelope const& c) {
        for (carried_part const& part : c.parts) { names.push_back(part.record); }
        return true;
    });
    for (bytes& name : names) {
        auto const ended = ok ? end_carried(tx, name, no_position, dirty) : result<bool>{ok.error()};
        if (!ended) { return ended.error(); }
        dirty.push_back(std::move(name));
    }
    return ok;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::join_all_again(Tx& tx) const {
    auto state = scope_state(tx);
    if (!state) { return state.error(); }
    auto all = scopes_.list(tx);
    if (!all) { return all.error(); }
    std::vector<held_scope> const before = *all;
    for (held_scope const& h : before) {
        if (!scope_book::asked(h) || h.is == held_scope::state::refused) { continue; }
        if (auto ok = scopes_.join_again(tx, *state, h, false, *all); !ok) { return ok; }
    }
    ++state->generation;
    return scopes_.write(tx, *state);
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::end_overlay(Tx& tx, bytes const& name, position head,
                                                    std::vector<bytes>& dirty) const {
    std::vector<bytes> over;
    auto ok = scan_prefix(tx, decided_prefix(name), [&](bytes_view at, bytes_view raw) {
        cbor_reader in{raw};
        bool const offered = in.array() == 5;  // has no effect yet
        if (!offered && in.unsigned_integer() <= head) { over.push_back(to_bytes(at)); }
        return true;
    });
    for (std::size_t i = 0; i < over.size() && ok; ++i) { ok = tx.erase(over[i]); }
    if (!over.empty()) { dirty.push_back(name); }
    return ok;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::let_go(Tx& tx, bytes const& name, std::vector<bytes>& hidden,
                                               event_batch& events) const {
    if (auto ok = scopes_.set_members(tx, name, {}); !ok) { return ok; }
    if (options_.relay) {
        if (auto ended = end_carried(tx, name, no_position, hidden); !ended) { return ended.error(); }
        hidden.push_back(name);
    }
    auto const k = record_key_from(name);
    if (!k) { return k.error(); }
    auto found = records_.find(tx, *k);
    if (!found && found.error() != errc::corrupt) { return found.error(); }
    bool const held = found && *found;
    if (held && (*found)->pending) {
        bool waits = false;
        std::vector<bytes> over;
        auto ok = outbox_.scan_record(tx, name, [&](outbox_entry const&) {
            waits = true;
            return false;
        });
        if (!ok) { return ok; }
        ok = scan_prefix(tx, decided_prefix(name), [&](bytes_view at, bytes_view raw) {
            cbor_reader in{raw};
            bool const offered = in.array() == 5;  // it waits for another verdict
            waits = waits || offered;
            if (!offered) { over.push_back(to_bytes(at)); }
            return true;
        });
        if (!ok) { return ok; }
        if (waits) { return scopes_.keep_for_now(tx, name); }
        for (bytes const& at : over) {
            if (ok = tx.erase(at); !ok) { return ok; }
        }
    }
    if (held && !(*found)->visible.deleted) { events.add_eviction(*k); }
    if (held) {
        if (auto ok = tx.erase(numbered('d', (*found)->confirmed)); !ok) { return ok; }
    }
    if (auto ok = scopes_.kept_no_more(tx, name); !ok) { return ok; }
    return records_.erase(tx, *k);
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::evict_left(Tx& tx, std::size_t budget, std::vector<bytes>& hidden,
                                                         event_batch& events) const {
    auto all = scopes_.list(tx);
    if (!all) { return all.error(); }
    for (held_scope const& h : *all) {
        if (h.is != held_scope::state::leaving) { continue; }
        auto names = scopes_.first_of(tx, h.number, budget);
        if (!names) { return names.error(); }
        for (bytes const& name : *names) {
            auto in = scopes_.members(tx, name);
            if (!in) { return in.error(); }
            std::erase(*in, h.number);
            auto ok = in->empty() ? let_go(tx, name, hidden, events) : scopes_.set_members(tx, name, *in);
            if (!ok) { return ok.error(); }
        }
        if (names->size() == budget) { return true; }
        budget -= names->size();
        if (auto ok = scopes_.drop(tx, h.number); !ok) { return ok.error(); }
    }
    auto kept = scopes_.all_kept_for_now(tx, budget);
    if (!kept) { return kept.error(); }
    for (bytes const& name : *kept) {
        if (auto ok = release(tx, name, hidden, events); !ok) { return ok.error(); }
    }
    return false;
}

}  // namespace syncline::inline SYNCLINE_ABI
