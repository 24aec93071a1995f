// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a replica holds, as its host reads it: records visible, confirmed and pending, progress, events.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/describe.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/core/value.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/model/schema.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/constraints.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/ranges.hpp>
#include <syncline/replica/record_store.hpp>
#include <syncline/replica/scopes.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <storage_transaction Tx>
result<std::optional<record>> basic_replica<Records, Journal>::read(Tx& tx, record_key const& k) const {
    if (!rules_.of(k.collection).strong()) { return read_pending(tx, k); }
    auto held = find_held(tx, k);
    if (!held) { return held.error(); }
    if (auto ok = reveal_confirmed(tx, k, *held); !ok) { return ok.error(); }
    auto r = as_read(k, std::move(*held));
    if (r && r->closed) { return failure{errc::unsupported, "a record of a later schema version"}; }
    return r;
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<std::optional<record>> basic_replica<Records, Journal>::read_pending(Tx& tx, record_key const& k) const {
    auto entry = read_visible(tx, k);
    if (!entry) { return entry.error(); }
    if (!entry->present || entry->state.deleted) { return std::optional<record>{}; }
    return std::optional<record>{record{std::move(entry->state.fields), entry->confirmed, entry->dirty}};
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<std::optional<row>> basic_replica<Records, Journal>::read_confirmed(Tx& tx, record_key const& k) const {
    auto entry = read_visible(tx, k);
    if (!entry) { return entry.error(); }
    if (!entry->dirty) {
        if (!entry->present) { return std::optional<row>{}; }
        return std::optional<row>{std::move(entry->state)};
    }
    return records_.find_confirmed(tx, k);
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<position> basic_replica<Records, Journal>::decided_at(Tx& tx, record_key const& k) const {
    if (!valid(k)) { return failure{errc::invalid, "record key"}; }
    position last = 0;
    status outcome;
    bytes const head = decided_prefix(to_bytes(k));
    auto const ok = scan_prefix(tx, head, [&](bytes_view, bytes_view raw) {
        cbor_reader in{raw};
        bool const offered = in.array() != 3;  // again: it has no verdict any more
        position const at = in.unsigned_integer();
        if (!offered) { last = (std::max)(last, at); }
        if (in.failed()) { outcome = failure{errc::corrupt, "decided mutation"}; }
        return outcome.has_value();
    });
    if (!ok) { return ok.error(); }
    if (!outcome) { return outcome.error(); }
    return last;
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::scan(Tx& tx, std::string_view collection,
                                             function_ref<bool(record_key const&, record const&)> visit) const {
    if (!rules_.of(collection).strong()) { return scan_pending(tx, collection, visit); }
    status outcome;
    auto ok = records_.scan(tx, collection, [&](record_key const& k, held_record& h) {
        std::optional<held_record> held{std::move(h)};
        outcome = reveal_confirmed(tx, k, held);
        if (!outcome) { return false; }
        auto const r = as_read(k, std::move(held));
        return r ? visit(k, *r) : true;
    });
    return ok ? outcome : ok;
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::scan_pending(Tx& tx, std::string_view collection,
                                                     function_ref<bool(record_key const&, record const&)> visit) const {
    return records_.scan(tx, collection, [&](record_key const& k, held_record& h) {
        auto const r = as_read(k, std::move(h));
        return r ? visit(k, *r) : true;
    });
}

template <class Records, class Journal>
std::optional<record> basic_replica<Records, Journal>::as_read(record_key const& k,
                                                               std::optional<held_record> held) const {
    if (!held || held->visible.deleted) { return std::nullopt; }
    collection_schema const& schema = schema_of_record(k);
    bool const closed = !schema.cast(held->visible, schema.version());
    return record{std::move(held->visible.fields), held->confirmed, held->pending, closed};
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::foresee(Tx& tx, record_key const& k,
                                                function_ref<bool(foreseen const&)> visit) const {
    if (!valid(k)) { return failure{errc::invalid, "record key"}; }
    auto sync = read_sync(tx);
    if (!sync) { return sync.error(); }
    auto held = records_.find(tx, k);
    if (!held) { return held.error(); }
    std::optional<row> over;
    if (*held && (*held)->pending) {
        auto confirmed = records_.find_confirmed(tx, k);
        if (!confirmed) { return confirmed.error(); }
        over = std::move(*confirmed);
    } else if (*held) {
        over = std::move((*held)->visible);
    }
    bool go_on = true;
    auto const tell = [&](std::uint64_t token, mutation& m, apply_outcome& outcome) {
        if (token != 0 && go_on) { go_on = visit(foreseen{token, std::move(m), std::move(outcome)}); }
    };
    auto const laid = lay_over(tx, k, *sync, over, tell, [](auto const&, auto const&) { return status{}; });
    return laid ? status{} : laid.error();
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<bool> basic_replica<Records, Journal>::work_left(Tx& tx, instant now) const {
    auto sync = read_sync(tx);
    if (!sync) { return sync.error(); }
    if (!sync->epoch || sync->cursor < sync->head || sync->staged != 0 || sync->settled + 1 < sync->next_sequence) {
        return true;
    }
    auto const told = nothing_to_come(tx);
    if (!told) { return told.error(); }
    if (!*told) { return true; }
    if (options_.relay) {
        auto const untaken = carried_.untaken(tx);
        if (!untaken) { return untaken.error(); }
        auto const room = relayed_max(tx, *sync);
        if (!room) { return room.error(); }
        auto const asks = carried_.asks(tx, *room);
        if (!asks) { return asks.error(); }
        if (*asks && !*untaken) { return true; }
    }
    auto due = outbox_.next_due(tx, now.wall);
    if (!due) { return due.error(); }
    return *due && **due <= now.wall;
}

template <class Records, class Journal>
template <storage_transaction Tx>
auto basic_replica<Records, Journal>::status_of(Tx& tx) const -> result<progress> {
    auto sync = read_sync(tx);
    if (!sync) { return sync.error(); }
    auto const told = nothing_to_come(tx);
    if (!told) { return told.error(); }
    return progress{sync->cursor, sync->head,   sync->next_sequence - 1 - sync->settled, sync->epoch.has_value(),
                    *told,        sync->settled};
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::withheld(Tx& tx, function_ref<bool(withheld_record const&)> visit) const {
    status outcome;
    auto ok = scan_prefix(tx, key('u'), [&](bytes_view k, bytes_view raw) {
        auto name = record_key_from(k.subspan(2));
        if (!name || raw.size() != 16) {
            outcome = failure{errc::corrupt, "withheld record"};
            return false;
        }
        return visit(withheld_record{std::move(*name), read_u64(raw), read_u64(raw.subspan(8))});
    });
    return ok ? outcome : ok;
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::refetch(Tx& tx, record_range const& r) const {
    if (!valid(r)) { return failure{errc::invalid, "range of records"}; }
    if (options_.scoped) { return failure{errc::unsupported, "no ranges beside scopes"}; }
    // An answer that is on its way says what was held before.
    if (auto ok = next_round(tx); !ok) { return ok; }
    // What is wanted already would stay where it is, and be compared.
    if (auto ok = wanted_.cover(tx, r); !ok) { return ok; }
    return want(tx, band_repair, r);
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::scan_confirmed(Tx& tx, record_range const& r,
                                                       function_ref<bool(record_key const&, row const&)> visit) const {
    status outcome;
    auto ok = records_.scan_range(tx, r.from, r.to, [&](record_key const& k, held_record& h) {
        if (h.confirmed == 0) { return true; }
        if (!h.pending) { return visit(k, h.visible); }
        auto const kept = records_.find_confirmed(tx, k);
        if (!kept || !*kept) {
            outcome = kept ? failure{errc::corrupt, "a confirmed record that is not kept"} : kept.error();
            return false;
        }
        return visit(k, **kept);
    });
    return ok ? outcome : ok;
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::events(Tx& tx, std::uint64_t seen,
                                               function_ref<bool(std::uint64_t batch, event const&)> visit) const {
    bytes first = key('e');
    append_u64(first, seen + 1);
    status outcome;
    bytes const end = prefix_end(key('e'));
    auto ok = tx.scan({first, end}, [&](bytes_view k, bytes_view v) {
        std::uint64_t const batch = k.size() == 10 ? read_u64(k.subspan(2)) : 0;
        bool on = true;
        outcome = event_batch::read(v, [&](event const& e) { return on = visit(batch, e); });
        return outcome.has_value() && on;
    });
    return ok ? outcome : ok;
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::next_events(Tx& tx, event_cursor& from, std::size_t most,
                                                    std::vector<event>& out) const {
    bytes first = key('e');
    append_u64(first, from.whole + 1);
    status outcome;
    std::size_t const before = out.size();
    auto ok = tx.scan({first, prefix_end(key('e'))}, [&](bytes_view k, bytes_view v) {
        std::uint64_t const batch = k.size() == 10 ? read_u64(k.subspan(2)) : 0;
        if (batch != from.batch) {
            from.batch = batch;
            from.at = {};
        }
        auto const ended = event_batch::read_on(v, from.at, most, out);
        if (!ended) {
            outcome = ended.error();
            return false;
        }
        if (*ended) { from.whole = batch; }
        return out.size() == before;
    });
    return ok ? outcome : ok;
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::forget_events(Tx& tx, std::uint64_t through) const {
    std::vector<std::uint64_t> old;
    bytes const prefix = key('e');
    auto ok = scan_prefix(tx, prefix, [&](bytes_view k, bytes_view) {
        std::uint64_t const batch = k.size() == 10 ? read_u64(k.subspan(2)) : 0;
        if (batch > through) { return false; }
        old.push_back(batch);
        return true;
    });
    for (std::size_t i = 0; i < old.size() && ok; ++i) { ok = tx.erase(numbered('e', old[i])); }
    return ok;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::reveal_confirmed(Tx& tx, record_key const& k,
                                                         std::optional<held_record>& held) const {
    if (!held || !held->pending) { return {}; }
    auto confirmed = records_.find_confirmed(tx, k);
    if (!confirmed) { return confirmed.error(); }
    if (!*confirmed) {
        held.reset();
    } else {
        held->visible = std::move(**confirmed);
    }
    return {};
}

template <class Records, class Journal>
template <described T>
result<std::optional<T>> basic_replica<Records, Journal>::decoded(result<std::optional<record>> const& r) {
    if (!r) { return r.error(); }
    if (!*r) { return std::optional<T>{}; }
    auto value = decode_record<T>((*r)->fields);
    if (!value) { return value.error(); }
    return std::optional<T>{std::move(*value)};
}

template <class Records, class Journal>
template <class Tx>
auto basic_replica<Records, Journal>::read_visible(Tx& tx, record_key const& k) const -> result<visible> {
    auto held = find_held(tx, k);
    if (!held) { return held.error(); }
    if (!*held) { return visible{}; }
    collection_schema const& schema = schema_of_record(k);
    if (auto ok = schema.cast((*held)->visible, schema.version()); !ok) { return ok.error(); }
    return visible{true, (*held)->pending, (*held)->confirmed, std::move((*held)->visible)};
}

}  // namespace syncline::inline SYNCLINE_ABI
