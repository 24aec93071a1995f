// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The rows of one entry: what its state asks for is put, what it asked for before is erased.

#include <cstdint>

#include <syncline/core/bytes.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/outbox/layout.hpp>
#include <syncline/outbox/moves.hpp>
#include <syncline/outbox/record_index.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {
namespace detail {

template <storage_transaction Tx>
status outbox_moves<Tx>::write(stored_entry& e, bytes_view records, bytes_view payload) {
    outbox_rows const due = e.rows_due(mark_of(e));
    if (auto s = erase_rows(e, due); !s) { return s; }
    if (due.wait && due.wait != e.rows.wait) {
        ++counters.waits;
        if (auto s = tx_.put(timed_key(outbox_space::waits, *due.wait, e.token), {}); !s) { return s; }
    }
    if (due.life && due.life != e.rows.life) {
        ++counters.lives;
        if (auto s = tx_.put(timed_key(outbox_space::lives, *due.life, e.token), {}); !s) { return s; }
    }
    if (due.deadline && (due.deadline != e.rows.deadline || due.queue != e.rows.queue)) {
        bytes where;
        append_varint(where, outbox_time_after(*due.deadline, {}));
        where.push_back(static_cast<std::byte>(due.queue));
        if (auto s = tx_.put(key(outbox_space::own).add(e.token), where); !s) { return s; }
    }
    if (due.lease && !same_lease(due, e.rows)) {
        ++counters.leased;
        bool const fresh = due.fence > fence_before_;
        auto const s = leases_.add(tx_, *due.lease, due.fence, outbox_leases::entry_element(e.token), fresh);
        if (!s) { return s; }
    }
    encode_entry(scratch_, e, records, payload);
    e.rows = due;
    return tx_.put(place_key(e.token, due), scratch_);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::exchange(stored_entry& e, bytes_view payload) {
    outbox_lane_counters& lane = counters.of(outbox_lane(e.token));
    if (lane.bytes < e.payload_size()) { return failure{errc::corrupt, "outbox counters"}; }
    lane.bytes = lane.bytes - e.payload_size() + payload.size();
    bool const in_place = e.rows.at == place::taken || e.rows.at == place::kept;
    if (!in_place || e.header.apart || payload.size() > outbox_inline_max) {
        return write_with(e, e.records(), payload);
    }
    // Header and records are as they stand there: of what was taken, as it was when it was ready.
    e.value.resize(e.payload_at);
    append(e.value, payload);
    e.inline_bytes = payload.size();
    return tx_.put(place_key(e.token, e.rows), e.value);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::write_with(stored_entry& e, bytes_view records, bytes_view payload) {
    auto const own = key(outbox_space::payload).add(e.token);
    if (payload.size() > outbox_inline_max) {
        e.header.apart = static_cast<std::uint32_t>(payload.size());
        if (auto s = tx_.put(own, payload); !s) { return s; }
        return write(e, records, {});
    }
    if (e.header.apart) {
        if (auto s = tx_.erase(own); !s) { return s; }
        e.header.apart.reset();
    }
    return write(e, records, payload);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::erase_rows(stored_entry const& e, outbox_rows const& due) {
    outbox_rows const& old = e.rows;
    if (old.at == place::none) { return {}; }
    bool const moves =
        old.at != due.at || (old.at == place::ready && (old.queue != due.queue || old.deadline != due.deadline));
    if (moves) {
        if (auto s = tx_.erase(place_key(e.token, old)); !s) { return s; }
    }
    if (old.at == place::taken) {
        if (auto s = leave_run(e); !s) { return s; }
    }
    if (old.deadline && !due.deadline) {
        if (auto s = tx_.erase(key(outbox_space::own).add(e.token)); !s) { return s; }
    }
    if (old.wait && old.wait != due.wait) {
        if (auto s = count_down(counters.waits); !s) { return s; }
        if (auto s = tx_.erase(timed_key(outbox_space::waits, *old.wait, e.token)); !s) { return s; }
    }
    if (old.life && old.life != due.life) {
        if (auto s = erase_life(e); !s) { return s; }
    }
    if (old.lease && !same_lease(old, due)) {
        if (auto s = count_down(counters.leased); !s) { return s; }
        return leases_.drop(tx_, *old.lease, old.fence, outbox_leases::entry_element(e.token));
    }
    return {};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::erase_life(stored_entry const& e) {
    if (auto s = count_down(counters.lives); !s) { return s; }
    return tx_.erase(timed_key(outbox_space::lives, *e.rows.life, e.token));
}

template <storage_transaction Tx>
status outbox_moves<Tx>::end_life(stored_entry& e) {
    if (!e.rows.life) { return {}; }
    if (auto s = erase_life(e); !s) { return s; }
    e.rows.life.reset();
    return {};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::leave_run(stored_entry const& e) {
    auto const run = runs_.find(tx_, outbox_lane(e.token), static_cast<priority>(e.rows.queue), e.token);
    if (!run) { return run.error(); }
    if (!runs_.leave()) { return {}; }
    outbox_run const r = runs_.current();
    if (r.end == (wall_time::max)()) { return {}; }
    if (auto s = count_down(counters.leased); !s) { return s; }
    return leases_.drop(tx_, r.end, r.fence, outbox_leases::run_element(r.last, r.served_as));
}

template <storage_transaction Tx>
status outbox_moves<Tx>::remove_row(stored_entry const& e) {
    if (auto s = uncount(e); !s) { return s; }
    if (auto s = erase_rows(e, {}); !s) { return s; }
    return e.header.apart ? tx_.erase(key(outbox_space::payload).add(e.token)) : status{};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::uncount(stored_entry const& e) {
    outbox_lane_counters* const l = counters.find(outbox_lane(e.token));
    if (l == nullptr || l->entries == 0 || l->bytes < e.size()) { return failure{errc::corrupt, "outbox counters"}; }
    --l->entries;
    l->bytes -= e.size();
    return {};
}

}  // namespace detail
}  // namespace syncline::inline SYNCLINE_ABI
