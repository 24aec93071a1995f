// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What answers do to entries: they are claimed, leave, die, live again or go back.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/outbox/layout.hpp>
#include <syncline/outbox/moves.hpp>
#include <syncline/outbox/record_index.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {
namespace detail {

template <storage_transaction Tx>
status outbox_moves<Tx>::remove(stored_entry& e) {
    if (auto s = remove_row(e); !s) { return s; }
    if (auto s = leave_records(e); !s) { return s; }
    if (auto s = unlink_parents(e); !s) { return s; }
    return release_dependants(e);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::claim(std::span<stored_entry> chosen, wall_time end) {
    if (chosen.empty()) { return {}; }
    std::uint64_t const fence = ++counters.fence;
    std::vector<outbox_run> runs;
    auto const run_of = [&](stored_entry const& e) {
        return std::find_if(runs.begin(), runs.end(), [&](outbox_run const& r) {
            return r.lane == outbox_lane(e.token) && r.served_as == e.header.urgency;
        });
    };
    for (stored_entry const& e : chosen) {
        if (!stays(e)) { continue; }
        std::uint8_t const lane = outbox_lane(e.token);
        auto at = run_of(e);
        if (at == runs.end()) { at = runs.insert(at, {lane, e.header.urgency, e.token, 0, fence, end, 0}); }
        at->last = e.token;
        ++at->left;
        counters.of(lane).marks[static_cast<std::size_t>(e.header.urgency)] = e.token + 1;
    }
    for (outbox_run const& r : runs) {
        if (r.left == 1) { continue; }
        if (auto s = runs_.begin(tx_, r); !s) { return s; }
        if (end == (wall_time::max)()) { continue; }
        ++counters.leased;
        auto const element = outbox_leases::run_element(r.last, r.served_as);
        if (auto s = leases_.add(tx_, end, fence, element, true); !s) { return s; }
    }
    auto const claimed_as = [&](stored_entry& e, std::uint64_t by) {
        e.header.state = phase::claimed;
        e.header.fence = by;
        e.header.time = end;
        e.header.expires.reset();
    };
    // First what stays: its fence, with its row of leases, is the first one's.
    for (stored_entry& e : chosen) {
        if (!stays(e)) { continue; }
        if (auto s = end_life(e); !s) { return s; }
        claimed_as(e, fence);
        e.rows.at = place::taken;
        if (run_of(e)->left != 1) { continue; }
        if (auto s = keep(e); !s) { return s; }
    }
    std::size_t moved = 0;
    for (stored_entry& e : chosen) {
        if (e.rows.at == place::taken || e.rows.at == place::kept) { continue; }
        if (moved != 0 && moved % claims_a_fence == 0) { ++counters.fence; }
        ++moved;
        claimed_as(e, counters.fence);
        if (auto s = write(e); !s) { return s; }
    }
    return {};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::keep(stored_entry& e) {
    e.rows.at = place::kept;
    if (e.header.time != (wall_time::max)()) {
        ++counters.leased;
        auto const element = outbox_leases::entry_element(e.token);
        if (auto s = leases_.add(tx_, e.header.time, e.header.fence, element, true); !s) { return s; }
        e.rows.lease = e.header.time;
        e.rows.fence = e.header.fence;
    }
    encode_entry(scratch_, e, e.records(), e.inline_payload());
    return tx_.put(place_key(e.token, e.rows), scratch_);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::remove_all(std::vector<stored_entry>& all) {
    // The index by hash, so that a bucket is loaded once; the entries by token, as they lie.
    std::vector<reference> refs;
    refs.reserve(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        all[i].each_record([&](bytes_view record) {
            refs.push_back({outbox_hash(record), i, record});
            return true;
        });
    }
    std::sort(refs.begin(), refs.end(), [](reference const& a, reference const& b) {
        return a.hash != b.hash ? a.hash < b.hash : a.item < b.item;
    });
    for (reference const& r : refs) {
        stored_entry const& e = all[r.item];
        if (auto s = leave(r.record, e.token, e.record_count() > 1); !s) { return s; }
    }
    for (stored_entry& e : all) {
        if (auto s = remove_row(e); !s) { return s; }
    }
    for (stored_entry& e : all) {
        if (auto s = release_dependants(e); !s) { return s; }
    }
    return {};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::bury(stored_entry& e, errc reason, bytes_view verdict) {
    if (auto s = uncount(e); !s) { return s; }
    if (auto s = leave_records(e); !s) { return s; }
    if (auto s = unlink_parents(e); !s) { return s; }
    e.header.state = phase::pending;
    e.header.time = {};
    e.header.expires.reset();
    e.header.behind = 0;
    e.dead = true;
    e.reason = reason;
    e.verdict = to_bytes(verdict);
    return write(e);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::revive(stored_entry& e, wall_time now, std::optional<bytes_view> payload) {
    std::vector<bytes_view> records;
    e.each_record([&](bytes_view r) {
        records.push_back(r);
        return true;
    });
    for (bytes_view const record : records) {
        std::uint32_t const hash = outbox_hash(record);
        auto const at = first_of(record, hash, e.token);
        if (!at) { return at.error(); }
        if (!*at) {
            index_.insert({hash, e.token, false});
            continue;
        }
        std::uint64_t const first = index_[**at].token;
        bool const before = e.token < first;
        index_.set(**at, before ? e.token : first, true);
        if (auto s = tx_.put(followers_key(record).add(before ? first : e.token), {}); !s) { return s; }
        if (!before) {
            ++e.header.behind;
        } else if (auto s = hold(first); !s) {
            return s;
        }
    }
    e.dead = false;
    e.reason = {};
    e.verdict.clear();
    e.header.entered = now;
    e.header.attempts = 0;
    e.header.batch_max = 0;
    outbox_lane_counters& lane = counters.of(outbox_lane(e.token));
    ++lane.entries;
    if (!payload) {
        lane.bytes += e.size();
        return write(e);
    }
    lane.bytes += e.size() - e.payload_size() + payload->size();
    return write_with(e, e.records(), *payload);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::put_back(stored_entry& e, phase state, wall_time not_before) {
    if (e.header.attempts != (std::numeric_limits<std::uint32_t>::max)()) { ++e.header.attempts; }
    e.header.state = state;
    e.header.time = not_before;
    return write(e);
}

}  // namespace detail
}  // namespace syncline::inline SYNCLINE_ABI
