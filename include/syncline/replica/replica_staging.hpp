// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What of a reply waits for its end, what is asked for once more, and what is withheld or dropped meanwhile.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/record.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/constraints.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/ranges.hpp>
#include <syncline/replica/scopes.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::forget_withheld(Tx& tx, record_range const& told) {
    std::vector<bytes> over;
    auto ok = tx.scan({withheld_at(told.from), withheld_at(told.to)}, [&](bytes_view k, bytes_view) {
        over.push_back(to_bytes(k));
        return true;
    });
    for (std::size_t i = 0; i < over.size() && ok; ++i) { ok = tx.erase(over[i]); }
    return ok;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::take_withheld(Tx& tx, reply const& p) const {
    bool any = !p.withheld.empty();
    if (p.rows.empty() && p.ranges.empty() && !any) { return {}; }
    if (!any) {
        auto ok = scan_prefix(tx, key('u'), [&](bytes_view, bytes_view) {
            any = true;
            return false;
        });
        if (!ok || !any) { return ok; }
    }
    bytes known;
    for (row_update const& u : p.rows) {
        bytes const at = withheld_at(to_bytes(u.key));
        auto const found = tx.get(at, known);
        if (!found) { return found.error(); }
        // A row that was kept back may be older than what is withheld.
        if (!*found || (known.size() == 16 && read_u64(known) > u.state.version)) { continue; }
        if (auto ok = tx.erase(at); !ok) { return ok; }
    }
    for (told_range const& a : p.ranges) {
        if (auto ok = forget_withheld(tx, a.covered); !ok) { return ok; }
    }
    for (withheld_record const& one : p.withheld) {
        bytes raw;
        append_u64(raw, one.version);
        append_u64(raw, one.size);
        if (auto ok = tx.put(withheld_at(to_bytes(one.key)), raw); !ok) { return ok; }
    }
    return {};
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::want_withheld(Tx& tx, std::optional<position> shared) const {
    std::vector<record_key> all;
    auto ok = withheld(tx, [&](withheld_record const& one) {
        if (shared ? one.version > *shared : one.size <= options_.record_max) { all.push_back(one.key); }
        return true;
    });
    for (std::size_t i = 0; i < all.size() && ok; ++i) {
        ok = want(tx, band_repair, range_of(all[i]));
        if (ok && shared) { ok = tx.erase(withheld_at(to_bytes(all[i]))); }
    }
    return ok;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::stage(Tx& tx, reply& p) {
    bytes raw;
    for (row_update const& u : p.rows) {
        bytes const k = staged_key(to_bytes(u.key));
        auto found = tx.get(k, raw);
        if (!found) { return found.error(); }
        if (*found) {
            cbor_reader in{raw};
            row const there = decode_row(in);
            if (!in.finish()) { return failure{errc::corrupt, "a row that is kept back"}; }
            if (there.version >= u.state.version) { continue; }
        }
        raw.clear();
        cbor_writer w{raw};
        encode_row(w, u.state);
        if (auto ok = tx.put(k, raw); !ok) { return ok; }
    }
    p.rows.clear();
    return {};
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::unstage(Tx& tx, reply& p, sync_state& sync) {
    std::vector<bytes> anew;
    anew.reserve(p.rows.size());
    for (row_update const& u : p.rows) { anew.push_back(staged_key(to_bytes(u.key))); }
    auto const before = [](bytes_view a, bytes_view b) { return compare(a, b) < 0; };
    std::sort(anew.begin(), anew.end(), before);
    std::vector<row_update> rows;
    status outcome;
    auto ok = scan_prefix(tx, key('g'), [&](bytes_view k, bytes_view raw) {
        if (std::binary_search(anew.begin(), anew.end(), k, before)) { return true; }
        auto record = record_key_from(k.subspan(2));
        cbor_reader in{raw};
        row state = decode_row(in);
        if (!record || !in.finish()) {
            outcome = failure{errc::corrupt, "a row that is kept back"};
            return false;
        }
        rows.push_back({std::move(*record), std::move(state)});
        return true;
    });
    if (!ok || !outcome) { return ok ? outcome : ok; }
    if (ok = drop_staged(tx, sync); !ok) { return ok; }
    rows.insert(rows.end(), std::make_move_iterator(p.rows.begin()), std::make_move_iterator(p.rows.end()));
    p.rows = std::move(rows);
    return {};
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::drop_staged(Tx& tx, sync_state& sync) {
    if (sync.staged == 0) { return {}; }
    sync.staged = 0;
    std::vector<bytes> keys;
    auto ok = scan_prefix(tx, key('g'), [&](bytes_view k, bytes_view) {
        keys.push_back(to_bytes(k));
        return true;
    });
    for (std::size_t i = 0; i < keys.size() && ok; ++i) { ok = tx.erase(keys[i]); }
    return ok;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::want_everything(Tx& tx) const {
    std::size_t band = band_repair + std::size_t{1};
    for (std::string const& name : options_.essential) {
        if (!valid(record_key{name, "-"}) || band == band_rest) {
            return failure{errc::invalid, "essential collection"};
        }
        if (auto ok = want(tx, static_cast<std::uint8_t>(band++), range_of(name)); !ok) { return ok; }
    }
    return want(tx, band_rest, every_record());
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::wants_everything(Tx& tx) const {
    auto all = wanted_.first(tx, (std::numeric_limits<std::size_t>::max)());
    if (!all) { return all.error(); }
    std::sort(all->begin(), all->end(),
              [](record_range const& a, record_range const& b) { return compare(a.from, b.from) < 0; });
    record_range const whole = every_record();
    bytes at = whole.from;
    for (record_range const& r : *all) {
        if (compare(at, r.from) < 0) { return false; }
        if (compare(at, r.to) < 0) { at = r.to; }
    }
    return compare(at, whole.to) >= 0;
}

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::reads_log(Tx& tx, sync_state& sync) const {
    auto const reads = reading_log(tx);
    if (!reads || *reads) { return reads; }
    bool const begins = sync.reached() == 0;
    if (!begins) {
        if (auto ok = want_everything(tx); !ok) { return ok.error(); }
        if (auto ok = tx.erase(key('n')); !ok) { return ok.error(); }
        if (auto ok = drop_staged(tx, sync); !ok) { return ok.error(); }
        sync.cursor = 0;
    }
    if (auto ok = tx.put(key('j'), {}); !ok) { return ok.error(); }
    return begins;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::drop_tombstones(Tx& tx, position horizon) const {
    std::vector<std::pair<position, bytes>> old;
    auto ok = tx.scan({key('d'), numbered('d', horizon + 1)}, [&](bytes_view k, bytes_view name) {
        old.emplace_back(k.size() == 10 ? read_u64(k.subspan(2)) : 0, to_bytes(name));
        return old.size() < tombstones_dropped_max;
    });
    for (std::size_t i = 0; i < old.size() && ok; ++i) {
        auto const k = record_key_from(old[i].second);
        if (!k) { return k.error(); }
        auto held = records_.find(tx, *k);
        if (!held) { return held.error(); }
        // Where mutations wait it is what they lie over, and goes when they are decided.
        if (*held && (*held)->pending) { continue; }
        bool const same = *held && (*held)->visible.deleted && (*held)->confirmed == old[i].first;
        if (same) { ok = records_.erase(tx, *k); }
        if (ok && same && options_.scoped) { ok = scopes_.set_members(tx, old[i].second, {}); }
        if (ok) { ok = tx.erase(numbered('d', old[i].first)); }
    }
    return ok;
}

}  // namespace syncline::inline SYNCLINE_ABI
