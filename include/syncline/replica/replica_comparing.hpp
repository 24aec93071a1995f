// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Range by range: fingerprints are compared, and what is told of a range replaces what is held of it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/ranges.hpp>
#include <syncline/replica/record_store.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <class Tx>
auto basic_replica<Records, Journal>::read_comparison(Tx& tx) const -> result<std::optional<comparison>> {
    bytes raw;
    auto const found = tx.get(key('n'), raw);
    if (!found) { return found.error(); }
    if (!*found) { return std::optional<comparison>{}; }
    cbor_reader in{raw};
    bool const whole = in.array() == 3;
    comparison c;
    c.round = in.unsigned_integer();
    c.key.bytes = detail::read_id(in).bytes;
    c.horizon = in.unsigned_integer();
    if (!whole || !in.finish()) { return failure{errc::corrupt, "comparison of ranges"}; }
    return std::optional<comparison>{c};
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::write_comparison(Tx& tx, comparison const& c) const {
    bytes raw;
    cbor_writer w{raw};
    w.array(3);
    w.unsigned_integer(c.round);
    w.byte_string(c.key.bytes);
    w.unsigned_integer(c.horizon);
    return tx.put(key('n'), raw);
}

template <class Records, class Journal>
template <class Tx, class G>
result<fallback_kind> basic_replica<Records, Journal>::begin_comparison(Tx& tx, reply const& p, bool holds,
                                                                        G& random) const {
    if (!p.same || !holds || options_.compared_rows == 0) {
        if (auto ok = tx.erase(key('n')); !ok) { return ok.error(); }
        return fallback_kind::full;
    }
    auto const before = read_comparison(tx);
    if (!before) { return before.error(); }
    comparison c;
    if (*before) { c.round = (*before)->round + 1; }
    for (std::size_t half = 0; half < 2; ++half) {
        std::uint64_t const drawn = random();
        for (std::size_t i = 0; i < 8; ++i) { c.key.bytes[half * 8 + i] = static_cast<std::byte>(drawn >> (8 * i)); }
    }
    c.horizon = (std::min)(p.horizon, p.head);  // of a stranger's answer it was not looked at
    if (auto ok = write_comparison(tx, c); !ok) { return ok.error(); }
    return fallback_kind::compared;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::next_round(Tx& tx) const {
    auto c = read_comparison(tx);
    if (!c) { return c.error(); }
    if (!*c) { return {}; }
    ++(*c)->round;
    return write_comparison(tx, **c);
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::sum_up(Tx& tx, comparison const& c, std::uint64_t size, record_range& range,
                                               request& q) const {
    compared_range out{c.round, c.key, c.horizon, {}};
    detail::row_sum sum{c.key};
    bool whole = true;
    std::uint64_t const rows_max = (std::min)(options_.compared_rows, range_sums_rows_max);
    auto const close = [&](bytes_view to) {
        std::uint64_t const rows = sum.rows();
        out.parts.push_back({to_bytes(to), rows, sum.take()});
        size -= (std::min)(size, to.size() + fingerprint_bytes + 8);
    };
    auto const ok = scan_confirmed(tx, range, [&](record_key const& k, row const& state) {
        if (state.deleted && state.version <= c.horizon) { return true; }
        if (sum.rows() == rows_max) {
            close(to_bytes(k));
            whole = out.parts.size() < range_sums_max && size > range_bound_bytes_max + fingerprint_bytes + 8;
            if (!whole) { return false; }
        }
        sum.add_held(k, state, options_.schemas);
        return true;
    });
    if (!ok && ok.error() != errc::corrupt) { return ok; }
    if (!ok && out.parts.empty()) { return {}; }
    if (ok && whole) { close(bytes{range.to}); }
    range.to = out.parts.back().to;
    q.compared = std::move(out);
    return {};
}

template <class Records, class Journal>
template <class Tx>
result<std::size_t> basic_replica<Records, Journal>::take_same(Tx& tx, reply& p, std::vector<bytes>& dirty,
                                                               event_batch& events, instant now) const {
    if (!p.same && p.ranges.empty() && p.rows.empty()) { return std::size_t{0}; }
    auto const c = read_comparison(tx);
    if (!c) { return c.error(); }
    if (!*c) { return std::size_t{0}; }
    std::size_t same = 0;
    bool const counts = p.same && p.same->round == (*c)->round;
    if (counts) {
        for (record_range& r : p.same->ranges) {
            auto const taken = take_range(tx, r, {}, {}, p.head, dirty, events, now, true);
            if (!taken) { return taken.error(); }
            if (auto ok = forget_withheld(tx, r); !ok) { return ok.error(); }
            ++same;
        }
    }
    auto const none = wanted_.empty(tx);
    if (!none) { return none.error(); }
    auto const ok = *none ? tx.erase(key('n')) : counts ? next_round(tx) : status{};
    if (!ok) { return ok.error(); }
    return same;
}

template <class Records, class Journal>
template <class Tx>
result<std::size_t> basic_replica<Records, Journal>::take_range(Tx& tx, record_range& covered,
                                                                std::span<row_update> told,
                                                                std::span<bytes const> kept_back, position head,
                                                                std::vector<bytes>& dirty, event_batch& events,
                                                                instant now, bool same) const {
    std::vector<bool> held(told.size());
    std::vector<record_key> gone;
    std::optional<bool> again;  // nothing of it is wanted: it was told before
    std::size_t next = 0;
    auto const look = [&](record_key const& k, held_record& h) {
        record_entry const name{"", k};
        while (next < told.size() && compare(record_entry{"", told[next].key}, name) < 0) { ++next; }
        if (next < told.size() && told[next].key == k) {
            held[next] = true;
            return true;
        }
        if (same && h.confirmed != 0) { return true; }
        // It is there, and was not told as it is too large.
        bool const back = std::binary_search(kept_back.begin(), kept_back.end(), bytes_view{name},
                                             [](bytes_view a, bytes_view b) { return compare(a, b) < 0; });
        if (back) { return true; }
        // What came in later than the answer was given is no part of what it tells.
        bool const voided = h.confirmed == 0 && h.visible.deleted;
        if (h.confirmed == 0 ? !h.pending && !voided : h.confirmed > head) { return true; }
        if (gone.size() >= options_.rows_max) {
            covered.to = to_bytes(name);
            std::fill(held.begin() + static_cast<std::ptrdiff_t>(next), held.end(), true);
            return false;
        }
        gone.push_back(k);
        return true;
    };
    auto ok = records_.scan_range(tx, covered.from, covered.to, look);
    if (!ok && ok.error() == errc::corrupt) {
        // Of damaged records those go that are told anew; then there may be none left.
        for (row_update const& u : told) {
            auto const whole = records_.find(tx, u.key);
            if (!whole) { ok = forget_damaged(tx, u.key, whole.error(), dirty); }
            if (!whole && !ok) { return ok.error(); }
        }
        held.assign(told.size(), false);
        again = false;
        gone.clear();
        next = 0;
        ok = records_.scan_range(tx, covered.from, covered.to, look);
    }
    if (!ok) { return ok.error(); }
    for (record_key const& k : gone) {
        if (auto taken = take_end(tx, k, head, dirty, events, now); !taken) { return taken.error(); }
    }
    std::size_t taken = 0;
    for (std::size_t i = 0; i < told.size(); ++i) {
        if (told[i].state.deleted && !held[i]) {
            auto const complete = again ? result<bool>{*again} : wanted_.complete(tx, covered);
            if (!complete) { return complete.error(); }
            again = *complete;
            if (*again) { continue; }  // perhaps a tombstone that everybody has and that is gone here too
        }
        auto const newer = take_row(tx, told[i], held[i], true, dirty, events);
        if (!newer) { return newer.error(); }
        taken += *newer ? 1 : 0;
    }
    if (auto covers = wanted_.cover(tx, covered); !covers) { return covers.error(); }
    return taken;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::take_end(Tx& tx, record_key const& k, position head, std::vector<bytes>& dirty,
                                                 event_batch& events, instant now) const {
    auto found = records_.find(tx, k);
    if (!found) { return found.error(); }
    if (!*found) { return {}; }
    held_record& held = **found;
    bytes name = to_bytes(k);
    bool carried_ended = false;
    if (options_.relay) {
        auto const done = end_carried(tx, name, head, dirty);
        if (!done) { return done.error(); }
        carried_ended = *done;
    }
    if (!held.pending) {
        if (!held.visible.deleted) {
            events.add_change(k, true);
            journal_note note;
            note.what = journal_event::evicted;
            note.stamp = timestamp::make(now.wall);
            note.record = &k;
            if (auto ok = tell(tx, note); !ok) { return ok; }
        }
        if (auto ok = tx.erase(numbered('d', held.confirmed)); !ok) { return ok; }
        return records_.erase(tx, k);
    }
    // What was decided by then had its effect, and that has ended too.
    std::vector<bytes> ended;
    auto ok = scan_prefix(tx, decided_prefix(name), [&](bytes_view at, bytes_view raw) {
        cbor_reader in{raw};
        bool const offered = in.array() == 5;  // has no effect yet
        if (!offered && in.unsigned_integer() <= head) { ended.push_back(to_bytes(at)); }
        return true;
    });
    for (std::size_t i = 0; i < ended.size() && ok; ++i) { ok = tx.erase(ended[i]); }
    if (!ok) { return ok; }
    if (held.confirmed == 0 && ended.empty() && !carried_ended) { return {}; }
    if (ok = tell_end(tx, k, held, events); !ok) { return ok; }
    if (ok = records_.drop_confirmed(tx, k); !ok) { return ok; }
    if (ok = tx.erase(numbered('d', held.confirmed)); !ok) { return ok; }
    held.confirmed = 0;
    dirty.push_back(std::move(name));
    return records_.put(tx, k, held, nullptr);
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::tell_end(Tx& tx, record_key const& k, held_record const& held,
                                                 event_batch& events) const {
    if (!rules_.of(k.collection).strong() || held.confirmed == 0) { return {}; }
    bool lived = !held.visible.deleted;
    if (held.pending) {
        auto const was = records_.find_confirmed(tx, k);
        if (!was && was.error() != errc::corrupt) { return was.error(); }
        lived = was && *was && !(*was)->deleted;
    }
    if (lived) { events.add_change(k, true); }
    return {};
}

}  // namespace syncline::inline SYNCLINE_ABI
