// SPDX-License-Identifier: BSL-1.0
#pragma once

/// How entries come in: limits, circles and records are looked at before the first is written.

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
#include <syncline/outbox/entry.hpp>
#include <syncline/outbox/layout.hpp>
#include <syncline/outbox/moves.hpp>
#include <syncline/outbox/record_index.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {
namespace detail {

template <storage_transaction Tx>
result<std::uint64_t> outbox_moves<Tx>::admit(std::span<outbox_item const> items, wall_time now) {
    outbox_counters more;  // what comes in, by lane
    std::uint64_t size = 0;
    bool edges = false;
    for (outbox_item const& item : items) {
        if (!well_formed(item, items.size())) { return failure{errc::invalid, "outbox item"}; }
        if (item.payload.size() > (std::numeric_limits<std::uint32_t>::max)()) {
            return failure{errc::limit, "outbox payload"};
        }
        std::uint64_t own = item.record.size() + item.payload.size();
        for (bytes_view const r : item.more_records) { own += r.size(); }
        outbox_lane_counters& lane = more.of(item.lane);
        ++lane.entries;
        lane.bytes += own;
        size += own;
        edges = edges || !item.after_items.empty();
    }
    std::uint64_t const first = counters.sequence + 1;
    auto const token_at = [&](std::size_t i) { return outbox_token(first + i, items[i].lane, items[i].urgency); };

    // By hash, so that a bucket is loaded once; within a record in order of entry.
    std::vector<reference> refs;
    refs.reserve(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (!items[i].record.empty()) { refs.push_back({outbox_hash(items[i].record), i, items[i].record}); }
        for (bytes_view const r : items[i].more_records) { refs.push_back({outbox_hash(r), i, r}); }
    }
    std::sort(refs.begin(), refs.end(), [](reference const& a, reference const& b) {
        return a.hash != b.hash ? a.hash < b.hash : a.item < b.item;
    });
    for (std::size_t i = 0; i + 1 < refs.size(); ++i) {
        for (std::size_t j = i + 1; j < refs.size() && refs[j].hash == refs[i].hash && refs[j].item == refs[i].item;
             ++j) {
            if (equal(refs[i].record, refs[j].record)) { return failure{errc::invalid, "outbox record twice"}; }
        }
    }
    if (!room(options_.entries_max, counters.entries(), items.size())) {
        return failure{errc::limit, "outbox entries"};
    }
    if (!room(options_.bytes_max, counters.bytes(), size)) { return failure{errc::limit, "outbox bytes"}; }
    for (outbox_lane_counters const& lane : more.lanes) {
        if (auto s = lane_fits(lane.lane, lane.entries, lane.bytes); !s) { return s.error(); }
    }
    if (edges && cyclic(items, refs)) { return failure{errc::invalid, "outbox entries after each other"}; }
    std::vector<std::vector<std::size_t>> after(edges ? items.size() : 0);
    for (std::size_t i = 0; edges && i < items.size(); ++i) {
        for (std::size_t const p : items[i].after_items) {
            after[p].push_back(i);
            if (after[p].size() > outbox_dependants_max) { return failure{errc::limit, "outbox dependants"}; }
        }
    }
    if (auto s = check_parents(items); !s) { return s.error(); }

    std::vector<std::uint8_t> behind(items.size());
    for (reference const& r : refs) {
        if (auto s = index_.turn(tx_, r.hash); !s) { return s.error(); }
        bool any = false;
        std::size_t at = index_.first(r.hash);
        for (; !any && index_.is(at, r.hash); at += any ? 0 : 1) {
            std::uint64_t const token = index_[at].token;
            if (outbox_sequence(token) < first) {
                auto const same = leads(token, r.record, r.hash);
                if (!same) { return same.error(); }
                any = *same;
                continue;
            }
            std::uint64_t const item = outbox_sequence(token) - first;
            if (item >= items.size()) { return failure{errc::corrupt, "outbox index"}; }
            if (item == r.item || !item_has(items[item], r.record)) { continue; }
            auto const stands = stands_behind(r.record, token);
            if (!stands) { return stands.error(); }
            any = !*stands;
        }
        if (!any) {
            index_.insert({r.hash, token_at(r.item), false});
            continue;
        }
        index_.set(at, index_[at].token, true);
        ++behind[r.item];
        if (auto s = tx_.put(followers_key(r.record).add(token_at(r.item)), {}); !s) { return s.error(); }
    }
    bytes records;
    for (std::size_t i = 0; i < items.size(); ++i) {
        outbox_item const& item = items[i];
        stored_entry e;
        e.token = token_at(i);
        e.header.urgency = item.urgency;
        e.header.entered = now;
        e.header.behind = behind[i];
        if (item.patience) {
            e.header.patience = (std::clamp)(*item.patience, milliseconds::zero(), options_.wait_max);
        }
        if (item.time_to_live) {
            e.header.expires = outbox_later(now, (std::max)(*item.time_to_live, milliseconds::zero()));
        }
        for (std::uint64_t const p : item.after) {
            auto const holds = link(p, e.token);
            if (!holds) { return holds.error(); }
            if (*holds) { e.header.parents.push_back(p); }
        }
        for (std::size_t const p : item.after_items) { e.header.parents.push_back(token_at(p)); }
        for (std::size_t n = 0; edges && n < after[i].size(); ++n) {
            std::size_t const j = after[i][n];
            ++e.header.dependants;
            if (auto s = tx_.put(key(outbox_space::dependants).add(e.token).add(token_at(j)), {}); !s) {
                return s.error();
            }
        }
        encode_records(records, item.record, item.more_records);
        if (auto s = write_with(e, records, item.payload); !s) { return s.error(); }
    }
    counters.sequence += items.size();
    for (outbox_lane_counters const& lane : more.lanes) {
        outbox_lane_counters& l = counters.of(lane.lane);
        l.entries += lane.entries;
        l.bytes += lane.bytes;
    }
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (items[i].after.empty() && items[i].after_items.empty()) { continue; }
        std::optional<wall_time> deadline;
        if (items[i].patience && items[i].urgency != priority::critical) {
            deadline = outbox_later(now, (std::clamp)(*items[i].patience, milliseconds::zero(), options_.wait_max));
        }
        for (std::uint64_t const p : items[i].after) {
            if (auto s = raise(p, items[i].urgency, deadline); !s) { return s.error(); }
        }
        for (std::size_t const p : items[i].after_items) {
            if (auto s = raise(token_at(p), items[i].urgency, deadline); !s) { return s.error(); }
        }
    }
    return items.empty() ? std::uint64_t{0} : token_at(0);
}

template <storage_transaction Tx>
bool outbox_moves<Tx>::well_formed(outbox_item const& item, std::size_t count) {
    if (item.urgency > priority::background || item.record.size() > outbox_record_bytes_max) { return false; }
    if (item.after.size() + item.after_items.size() > outbox_after_max) { return false; }
    if (item.more_records.size() >= outbox_records_max || (item.record.empty() && !item.more_records.empty())) {
        return false;
    }
    for (bytes_view const r : item.more_records) {
        if (r.empty() || r.size() > outbox_record_bytes_max) { return false; }
    }
    if (item.patience && item.patience->count() < 0) { return false; }
    return std::all_of(item.after_items.begin(), item.after_items.end(), [&](std::size_t i) { return i < count; }) &&
           !repeats(item.after) && !repeats(item.after_items);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::check_parents(std::span<outbox_item const> items) {
    std::vector<std::uint64_t> named;
    for (outbox_item const& item : items) { named.insert(named.end(), item.after.begin(), item.after.end()); }
    std::sort(named.begin(), named.end());
    for (std::size_t i = 0; i < named.size();) {
        std::size_t const from = i;
        while (i < named.size() && named[i] == named[from]) { ++i; }
        std::uint64_t const sequence = outbox_sequence(named[from]);
        if (sequence == 0 || sequence > counters.sequence) { return failure{errc::not_found, "outbox after"}; }
        stored_entry e;
        auto const found = find(named[from], e);
        if (!found) { return found.error(); }
        if (*found && e.header.dependants + (i - from) > outbox_dependants_max) {
            return failure{errc::limit, "outbox dependants"};
        }
    }
    return {};
}

template <storage_transaction Tx>
bool outbox_moves<Tx>::cyclic(std::span<outbox_item const> items, std::span<reference const> refs) {
    std::vector<std::vector<std::size_t>> next(items.size());
    std::vector<std::size_t> holds(items.size());
    auto const edge = [&](std::size_t before, std::size_t after) {
        next[before].push_back(after);
        ++holds[after];
    };
    for (std::size_t i = 0; i < items.size(); ++i) {
        for (std::size_t const p : items[i].after_items) { edge(p, i); }
    }
    for (std::size_t i = 0; i < refs.size(); ++i) {
        for (std::size_t j = i; j != 0 && refs[j - 1].hash == refs[i].hash; --j) {
            if (!equal(refs[j - 1].record, refs[i].record)) { continue; }
            edge(refs[j - 1].item, refs[i].item);
            break;
        }
    }
    std::vector<std::size_t> free;
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (holds[i] == 0) { free.push_back(i); }
    }
    for (std::size_t at = 0; at < free.size(); ++at) {
        for (std::size_t const i : next[free[at]]) {
            if (--holds[i] == 0) { free.push_back(i); }
        }
    }
    return free.size() != items.size();
}

}  // namespace detail
}  // namespace syncline::inline SYNCLINE_ABI
