// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What goes before what: the order of a record, dependencies, and the urgency that they hand on.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
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
status outbox_moves<Tx>::release_dependants(stored_entry& e) {
    if (e.header.dependants == 0) { return {}; }
    std::vector<std::uint64_t> after;
    if (auto s = dependants_of(e.token, after); !s) { return s; }
    for (std::uint64_t const token : after) {
        if (auto s = tx_.erase(key(outbox_space::dependants).add(e.token).add(token)); !s) { return s; }
        stored_entry one;
        auto const found = find_living(token, one);
        if (!found) { return found.error(); }
        auto& parents = one.header.parents;
        auto const at = std::find(parents.begin(), parents.end(), e.token);
        if (!*found || at == parents.end()) { return failure{errc::corrupt, "outbox dependant"}; }
        parents.erase(at);
        if (auto s = write(one); !s) { return s; }
    }
    e.header.dependants = 0;
    return {};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::dependants_of(std::uint64_t token, std::vector<std::uint64_t>& out) {
    return scan_prefix(tx_, key(outbox_space::dependants).add(token), [&](bytes_view k, bytes_view) {
        out.push_back(token_of(k));
        return out.size() < outbox_dependants_max;
    });
}

template <storage_transaction Tx>
status outbox_moves<Tx>::raise(std::uint64_t token, priority to, std::optional<wall_time> deadline) {
    std::vector<std::uint64_t> work{token};
    std::size_t raised = 0;
    for (std::size_t next = 0; next < work.size() && raised < raise_max; ++next) {
        stored_entry e;
        auto const found = find_living(work[next], e);
        if (!found) { return found.error(); }
        if (!*found || !hurries(e.header, to, deadline)) { continue; }
        ++raised;
        if (auto s = write(e); !s) { return s; }
        work.insert(work.end(), e.header.parents.begin(), e.header.parents.end());
        if (e.header.behind == 0) { continue; }
        status failed;
        e.each_record([&](bytes_view record) {
            failed = collect_before(record, e.token, work);
            return failed.has_value();
        });
        if (!failed) { return failed; }
    }
    return {};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::put_after(stored_entry& e, std::uint64_t parent) {
    std::uint64_t const sequence = outbox_sequence(parent);
    if (sequence == 0 || sequence > counters.sequence) { return failure{errc::not_found, "outbox after"}; }
    auto& parents = e.header.parents;
    if (std::find(parents.begin(), parents.end(), parent) != parents.end()) { return {}; }
    stored_entry p;
    auto const found = find(parent, p);
    if (!found) { return found.error(); }
    if (!*found) { return {}; }
    if (parents.size() == outbox_after_max) { return failure{errc::limit, "outbox after"}; }
    if (p.header.dependants >= outbox_dependants_max) { return failure{errc::limit, "outbox dependants"}; }
    auto const circle = waits_for({parent}, {e.token});
    if (!circle) { return circle.error(); }
    if (*circle) { return failure{errc::invalid, "outbox entries after each other"}; }
    auto const holds = link(parent, e.token);
    if (!holds) { return holds.error(); }
    parents.push_back(parent);
    if (auto s = write(e); !s) { return s; }
    return raise(parent, e.header.urgency, e.header.own_deadline());
}

template <storage_transaction Tx>
result<bool> outbox_moves<Tx>::revives_into_circle(stored_entry const& e) {
    std::vector<std::uint64_t> before;
    std::vector<std::uint64_t> targets{e.token};
    status failed;
    e.each_record([&](bytes_view record) {
        failed = each_of(record, [&](std::uint64_t other) {
            (other < e.token ? before : targets).push_back(other);
            return before.size() + targets.size() <= outbox_search_max;
        });
        return failed.has_value();
    });
    if (!failed) { return failed.error(); }
    if (before.empty()) { return false; }
    return waits_for(std::move(before), std::move(targets));
}

template <storage_transaction Tx>
result<std::optional<std::size_t>> outbox_moves<Tx>::first_of(bytes_view record, std::uint32_t hash,
                                                              std::uint64_t but) {
    if (auto s = index_.turn(tx_, hash); !s) { return s.error(); }
    for (std::size_t i = index_.first(hash); index_.is(i, hash); ++i) {
        if (index_[i].token == but) { continue; }
        auto const same = leads(index_[i].token, record, hash);
        if (!same) { return same.error(); }
        if (*same) { return std::optional<std::size_t>{i}; }
    }
    return std::optional<std::size_t>{};
}

template <storage_transaction Tx>
result<std::uint64_t> outbox_moves<Tx>::follower_of(bytes_view record, std::uint64_t token) {
    std::uint64_t next = 0;
    auto const row = [&](bytes_view k, bytes_view) {
        next = token_of(k);
        return false;
    };
    bytes const end = prefix_end(followers_key(record));
    auto const from = followers_key(record).add(token).add(std::uint8_t{0});
    if (auto s = tx_.scan({from, end}, row); !s) { return s.error(); }
    return next;
}

template <storage_transaction Tx>
bool outbox_moves<Tx>::hurries(outbox_header& h, priority to, std::optional<wall_time> deadline) const {
    bool const more = h.urgency > to;
    if (more) { h.urgency = to; }
    if (!deadline || h.urgency == priority::critical) { return more; }
    milliseconds const had = h.patience.value_or(outbox_patience(options_, h.urgency));
    if (outbox_later(h.entered, had) <= *deadline) { return more; }
    milliseconds const left = *deadline <= h.entered ? milliseconds::zero() : *deadline - h.entered;
    if (h.patience == (std::min)(left, options_.wait_max)) { return more; }
    h.patience = (std::min)(left, options_.wait_max);
    return true;
}

template <storage_transaction Tx>
result<bool> outbox_moves<Tx>::leads(std::uint64_t token, bytes_view record, std::uint32_t hash) {
    auto const found = find_living(token, probe_);
    if (!found) { return found.error(); }
    if (!*found) { return failure{errc::corrupt, "outbox index without its entry"}; }
    bool has = false;
    std::size_t alike = 0;
    probe_.each_record([&](bytes_view r) {
        bool const same = equal(r, record);
        has = has || same;
        alike += same || (probe_.record_count() > 1 && outbox_hash(r) == hash) ? 1 : 0;
        return true;
    });
    if (!has || alike < 2) { return has; }
    // Of two records with one hash it may be the first of the other.
    auto const stands = stands_behind(record, token);
    return stands ? result<bool>{!*stands} : stands;
}

template <storage_transaction Tx>
result<bool> outbox_moves<Tx>::stands_behind(bytes_view record, std::uint64_t token) {
    return tx_.get(followers_key(record).add(token), scratch_);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::leave_records(stored_entry const& e) {
    status failed;
    bool const several = e.record_count() > 1;
    e.each_record([&](bytes_view record) {
        failed = leave(record, e.token, several);
        return failed.has_value();
    });
    return failed;
}

template <storage_transaction Tx>
status outbox_moves<Tx>::leave(bytes_view record, std::uint64_t token, bool several) {
    std::uint32_t const hash = outbox_hash(record);
    if (auto s = index_.turn(tx_, hash); !s) { return s; }
    std::size_t at = index_.first(hash);
    while (index_.is(at, hash) && index_[at].token != token) { ++at; }
    bool behind = !index_.is(at, hash);
    if (!behind && several) {  // the element may be that of another record of its with the same hash
        auto const stands = stands_behind(record, token);
        if (!stands) { return stands.error(); }
        behind = *stands;
    }
    if (behind) { return tx_.erase(followers_key(record).add(token)); }
    std::uint64_t next = 0;
    if (index_[at].many || several) {
        auto const found = follower_of(record, 0);
        if (!found) { return found.error(); }
        next = *found;
    }
    if (next == 0) {
        // Two records of one entry may have one hash; which element is whose is all one, but for the mark.
        bool const many = index_[at].many;
        index_.erase(at);
        if (many && index_.is(at, hash) && index_[at].token == token) { index_.set(at, token, true); }
        return {};
    }
    index_.set(at, next, true);
    if (auto s = tx_.erase(followers_key(record).add(next)); !s) { return s; }
    stored_entry e;
    auto const found = find_living(next, e);
    if (!found) { return found.error(); }
    if (!*found || e.header.behind == 0) { return failure{errc::corrupt, "outbox record"}; }
    --e.header.behind;
    return write(e);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::hold(std::uint64_t token) {
    stored_entry e;
    auto const found = find_living(token, e);
    if (!found) { return found.error(); }
    if (!*found || e.header.behind == outbox_records_max) { return failure{errc::corrupt, "outbox record"}; }
    ++e.header.behind;
    return write(e);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::collect_before(bytes_view record, std::uint64_t token, std::vector<std::uint64_t>& out) {
    std::size_t room = raise_max;
    return each_of(record, [&](std::uint64_t other) {
        if (other < token) { out.push_back(other); }
        return other < token && --room != 0;
    });
}

template <storage_transaction Tx>
result<bool> outbox_moves<Tx>::link(std::uint64_t parent, std::uint64_t child) {
    stored_entry e;
    auto const found = find(parent, e);
    if (!found || !*found) { return found; }
    ++e.header.dependants;
    if (auto s = write(e); !s) { return s.error(); }
    if (auto s = tx_.put(key(outbox_space::dependants).add(parent).add(child), {}); !s) { return s.error(); }
    return true;
}

template <storage_transaction Tx>
status outbox_moves<Tx>::unlink_parents(stored_entry& e) {
    for (std::uint64_t const parent : std::exchange(e.header.parents, {})) {
        stored_entry p;
        auto const found = find(parent, p);
        if (!found) { return found.error(); }
        if (!*found || p.header.dependants == 0) { return failure{errc::corrupt, "outbox dependant"}; }
        --p.header.dependants;
        if (auto s = write(p); !s) { return s; }
        if (auto s = tx_.erase(key(outbox_space::dependants).add(parent).add(e.token)); !s) { return s; }
    }
    return {};
}

template <storage_transaction Tx>
result<bool> outbox_moves<Tx>::waits_for(std::vector<std::uint64_t> work, std::vector<std::uint64_t> targets) {
    std::sort(targets.begin(), targets.end());
    std::vector<std::uint64_t> seen;                       // sorted
    std::vector<std::pair<bytes, std::uint64_t>> records;  // all before the token is looked at already
    while (!work.empty()) {
        std::uint64_t const token = work.back();
        work.pop_back();
        if (std::binary_search(targets.begin(), targets.end(), token)) { return true; }
        auto const at = std::lower_bound(seen.begin(), seen.end(), token);
        if (at != seen.end() && *at == token) { continue; }
        if (seen.size() == outbox_search_max) { return failure{errc::limit, "outbox entries after each other"}; }
        seen.insert(at, token);
        stored_entry e;
        auto const found = find_living(token, e);
        if (!found) { return found.error(); }
        if (!*found) { continue; }  // dead: it waits for nothing
        work.insert(work.end(), e.header.parents.begin(), e.header.parents.end());
        if (e.header.behind == 0) { continue; }
        status failed;
        e.each_record([&](bytes_view record) {
            auto known =
                std::find_if(records.begin(), records.end(), [&](auto const& r) { return equal(r.first, record); });
            if (known == records.end()) { known = records.insert(known, {to_bytes(record), 0}); }
            if (known->second >= token) { return true; }
            std::uint64_t const from = std::exchange(known->second, token);
            failed = each_of(record, [&](std::uint64_t other) {
                if (other >= from && other < token) { work.push_back(other); }
                return other < token && work.size() <= outbox_search_max;
            });
            return failed.has_value();
        });
        if (!failed) { return failed.error(); }
        if (work.size() > outbox_search_max) { return failure{errc::limit, "outbox entries after each other"}; }
    }
    return false;
}

}  // namespace detail
}  // namespace syncline::inline SYNCLINE_ABI
