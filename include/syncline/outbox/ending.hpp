// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What time ends: waits, leases and lives.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/checked.hpp>
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
result<std::size_t> outbox_moves<Tx>::end_waits(wall_time now, bool all) {
    if (counters.waits == 0) { return std::size_t{0}; }
    std::vector<std::uint64_t> due;
    auto const found = collect_due(outbox_space::waits, now, all, [&](bytes_view k, bytes_view) {
        due.push_back(token_of(k));
        return due.size() < options_.promotions_max;
    });
    if (!found) { return found.error(); }
    for (std::uint64_t const token : due) {
        stored_entry e;
        auto const there = find_aside(token, e);
        if (!there) { return there.error(); }
        if (!*there || !e.rows.wait) { return failure{errc::corrupt, "outbox wait without its entry"}; }
        e.header.state = phase::pending;
        e.header.time = {};
        if (auto s = write(e); !s) { return s.error(); }
    }
    return due.size();
}

template <storage_transaction Tx>
status outbox_moves<Tx>::end_leases(wall_time now) {
    if (counters.leased == 0) { return {}; }
    // What a life that has ended let go may have been claimed: the scan has to see it where it is now.
    if (auto s = leases_.flush(tx_); !s) { return s; }
    struct due_row {
        std::vector<std::uint64_t> elements;
        std::uint64_t fence;
        wall_time end;
    };
    std::vector<due_row> due;
    std::size_t named = 0;
    bool damaged = false;
    std::size_t const lead = prefix_.size() + 9;
    auto const found = collect_due(outbox_space::leases, now, false, [&](bytes_view k, bytes_view elements) {
        due_row& r = due.emplace_back();
        r.end = time_of(k);
        r.fence = k.size() < lead ? 0 : outbox_leases::fence_of(k.subspan(lead));
        damaged = damaged || r.fence == 0 || elements.empty();
        while (!damaged && !elements.empty()) {
            auto const element = take_varint(elements);
            damaged = !element;
            r.elements.push_back(element.value_or(0));
        }
        named += r.elements.size();
        return !damaged && named < options_.promotions_max;
    });
    if (!found) { return found; }
    if (damaged) { return failure{errc::corrupt, "outbox lease"}; }
    std::size_t ended = 0;
    std::vector<stored_entry> row;
    for (due_row const& r : due) {
        row.clear();
        for (std::uint64_t const element : r.elements) {
            if (auto s = leased_as(element, row); !s) { return s; }
        }
        std::sort(row.begin(), row.end(),
                  [](stored_entry const& a, stored_entry const& b) { return a.token < b.token; });
        for (stored_entry& e : row) {
            if (ended == options_.promotions_max) { return {}; }
            ++ended;
            bool const same = e.header.state == phase::claimed && e.header.fence == r.fence && e.header.time == r.end;
            if (!same) { return failure{errc::corrupt, "outbox lease"}; }
            if (auto s = put_back(e, phase::pending, {}); !s) { return s; }
        }
    }
    return {};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::end_lives(wall_time now) {
    if (counters.lives == 0) { return {}; }
    std::vector<std::uint64_t> due;
    bytes const end = outbox_to_bytes(key(outbox_space::lives), outbox_time_bits(now));
    auto const row = [&](bytes_view k, bytes_view) {
        due.push_back(token_of(k));
        return due.size() < options_.promotions_max;
    };
    if (auto s = tx_.scan({key(outbox_space::lives), end}, row); !s) { return s; }
    for (std::uint64_t const token : due) {
        stored_entry e;
        auto const there = find_living(token, e);
        if (!there) { return there.error(); }
        if (!*there || !e.rows.life) { return failure{errc::corrupt, "outbox life without its entry"}; }
        if (auto s = bury(e, errc::cancelled, as_bytes("expired")); !s) { return s; }
    }
    return {};
}

}  // namespace detail
}  // namespace syncline::inline SYNCLINE_ABI
