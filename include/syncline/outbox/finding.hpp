// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Where entries are: by token, by claim, in a queue, and as others see them.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

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
result<bool> outbox_moves<Tx>::find_aside(std::uint64_t token, stored_entry& e) {
    auto const found = read(key(outbox_space::aside).add(token), token, e, false);
    if (!found || !*found) { return found; }
    e.rows = e.rows_due(mark_of(e));
    if (e.rows.at != place::aside) { return failure{errc::corrupt, "outbox entry in a wrong place"}; }
    return true;
}

template <storage_transaction Tx>
result<bool> outbox_moves<Tx>::find_dead(std::uint64_t token, stored_entry& e) {
    auto const found = read(key(outbox_space::dead).add(token), token, e, true);
    if (found && *found) { e.rows = e.rows_due(0); }
    return found;
}

template <storage_transaction Tx>
result<bool> outbox_moves<Tx>::find_living(std::uint64_t token, stored_entry& e) {
    auto const own = static_cast<unsigned>(outbox_class(token));
    auto found = find_ready(token, outbox_queue::fresh, own, e);
    if (found && !*found) { found = find_aside(token, e); }
    for (unsigned c = own + 1; found && !*found && c != 0; --c) {  // it may be served as a more urgent one
        if (c != own + 1) { found = find_ready(token, outbox_queue::fresh, c - 1, e); }
        bool const behind = token < counters.mark(outbox_lane(token), static_cast<priority>(c - 1));
        if (found && !*found && behind) { found = find_ready(token, outbox_queue::again, c - 1, e); }
    }
    return !found || *found ? found : find_own(token, e);
}

template <storage_transaction Tx>
result<bool> outbox_moves<Tx>::find(std::uint64_t token, stored_entry& e) {
    auto const found = find_living(token, e);
    return !found || *found ? found : find_dead(token, e);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::find_claimed(std::uint64_t token, std::uint64_t fence, stored_entry& e) {
    auto const own = static_cast<unsigned>(outbox_class(token));
    result<bool> found = false;
    for (unsigned c = own + 1; found && !*found && c != 0; --c) {
        bool const behind = token < counters.mark(outbox_lane(token), static_cast<priority>(c - 1));
        if (behind) { found = find_ready(token, outbox_queue::fresh, c - 1, e); }
        if (found && !*found && c == own + 1) { found = find_aside(token, e); }
    }
    if (!found) { return found.error(); }
    if (!*found || e.header.state != phase::claimed || e.header.fence != fence) { return errc::claim_lost; }
    return {};
}

template <storage_transaction Tx>
template <class F>
status outbox_moves<Tx>::each_claimed(std::span<outbox_claim const> claims, F&& visit) {
    std::vector<stored_entry> piece;
    stored_entry one;
    for (std::size_t next = 0; next < claims.size();) {
        std::size_t const n = (std::min)(claims.size() - next, claims_a_piece);
        for (stored_entry& e : piece) { spare_.push_back(std::move(e.value)); }
        piece.clear();
        if (n > 3) {
            std::vector<std::pair<std::uint64_t, std::uint64_t>> named;
            named.reserve(n);
            for (outbox_claim const& c : claims.subspan(next, n)) { named.emplace_back(c.token, c.fence); }
            constexpr std::size_t whole = (std::numeric_limits<std::size_t>::max)();
            if (auto s = find_all_claimed(std::move(named), piece, whole); !s) { return s; }
        }
        bool together = piece.size() == n;
        for (std::size_t i = 0; together && i < n; ++i) { together = piece[i].token == claims[next + i].token; }
        for (std::size_t const end = next + n; next != end; ++next) {
            stored_entry& e = together ? piece[piece.size() - (end - next)] : one;
            if (!together) {
                if (auto s = find_claimed(claims[next].token, claims[next].fence, e); !s) { return s; }
            }
            result<bool> const more = visit(next, e);
            if (!more) { return more.error(); }
            if (!*more) { return {}; }
        }
    }
    return {};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::read_queued(bytes_view k, bytes_view value, stored_entry& e, std::size_t most) {
    constexpr failure bad{errc::corrupt, "outbox ready key"};
    std::size_t const lead = prefix_.size() + 1;
    bool const timed = k.size() == lead + 18;
    if (k.size() != lead + 10 && !timed) { return bad; }
    e.token = token_of(k);
    auto const queue = std::to_integer<std::uint8_t>(k[lead + 1]);
    if (std::to_integer<std::uint8_t>(k[lead]) != outbox_lane(e.token) || queue >= outbox_queue_bytes) { return bad; }
    if (auto s = decode_entry(e, value, false); !s) { return s; }
    bytes_view const kept = value.first(e.payload_at + (std::min)(most, e.inline_bytes));
    if (e.value.capacity() == 0 && !spare_.empty()) {
        e.value = std::move(spare_.back());
        spare_.pop_back();
    }
    e.value.assign(kept.begin(), kept.end());
    std::optional<wall_time> deadline;
    if (timed) { deadline = outbox_time(read_u64(k.subspan(lead + 2))); }
    return stands_in(e, queue, deadline);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::read_row(bytes_view k, bytes_view value, bool letter, stored_entry& e) {
    e.token = token_of(k);
    e.value.assign(value.begin(), value.end());
    if (auto s = decode_entry(e, value, letter); !s) { return s; }
    e.rows = e.rows_due(mark_of(e));
    return e.rows.at == (letter ? place::dead : place::aside) ? status{}
                                                              : failure{errc::corrupt, "outbox entry in a wrong place"};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::find_fresh(std::uint64_t token, stored_entry& e) {
    auto const found = find_living(token, e);
    if (!found) { return found.error(); }
    if (!*found) { return errc::not_found; }
    if (e.header.fence != 0) { return errc::claim_lost; }
    return {};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::show(stored_entry const& e, outbox_entry& out) {
    outbox_header const& h = e.header;
    out.token = e.token;
    out.fence = h.fence;
    out.urgency = outbox_class(e.token);
    out.served_as = h.urgency;
    out.lane = outbox_lane(e.token);
    out.state = state_of(e);
    out.entered = h.entered;
    out.not_before = h.time;
    out.attempts = h.attempts;
    out.batch_max = h.batch_max;
    out.dependants = h.dependants;
    out.patience = h.patience;
    out.expires = h.expires;
    out.after = h.parents;
    out.record.clear();
    out.more_records.clear();
    bool first = true;
    e.each_record([&](bytes_view record) {
        if (std::exchange(first, false)) {
            out.record.assign(record.begin(), record.end());
        } else {
            out.more_records.push_back(to_bytes(record));
        }
        return true;
    });
    out.reason = e.reason;
    out.verdict = e.verdict;
    if (!h.apart) {
        bytes_view const payload = e.inline_payload();
        out.payload.assign(payload.begin(), payload.end());
        return {};
    }
    return load_payload(e, out.payload);
}

template <storage_transaction Tx>
status outbox_moves<Tx>::give(stored_entry& e, outbox_entry& out) {
    if (e.header.apart) { return show(e, out); }
    std::size_t const size = std::exchange(e.inline_bytes, 0);
    if (auto s = show(e, out); !s) { return s; }
    out.payload = std::move(e.value);
    out.payload.erase(out.payload.begin(), out.payload.end() - static_cast<std::ptrdiff_t>(size));
    return {};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::load_payload(stored_entry const& e, bytes& out) {
    auto const found = tx_.get(key(outbox_space::payload).add(e.token), out);
    if (!found) { return found.error(); }
    if (!*found || out.size() != *e.header.apart) { return failure{errc::corrupt, "outbox payload"}; }
    return {};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::find_all_claimed(std::vector<std::pair<std::uint64_t, std::uint64_t>> claims,
                                          std::vector<stored_entry>& out, std::size_t most) {
    auto const queue_of = [](std::uint64_t token) { return static_cast<std::uint16_t>(token & 0x3FFU); };
    std::sort(claims.begin(), claims.end(), [&](auto const& a, auto const& b) {
        auto const qa = queue_of(a.first);
        auto const qb = queue_of(b.first);
        return qa != qb ? qa < qb : a < b;
    });
    out.reserve(claims.size());
    for (std::size_t next = 0; next < claims.size();) {
        std::size_t end = next;
        while (end != claims.size() && queue_of(claims[end].first) == queue_of(claims[next].first)) { ++end; }
        auto const group = std::span{claims}.subspan(next, end - next);
        if (auto s = find_taken(group, out, most); !s) { return s; }
        next = end;
    }
    return {};
}

template <storage_transaction Tx>
result<bool> outbox_moves<Tx>::read(bytes_view k, std::uint64_t token, stored_entry& e, bool letter) {
    e.token = token;
    auto const found = tx_.get(k, e.value);
    if (!found || !*found) { return found; }
    if (auto s = decode_entry(e, e.value, letter); !s) { return s.error(); }
    return true;
}

template <storage_transaction Tx>
result<bool> outbox_moves<Tx>::find_ready(std::uint64_t token, outbox_queue kind, unsigned served_as, stored_entry& e,
                                          std::optional<wall_time> deadline) {
    std::uint8_t const queue = outbox_queue_byte(kind, static_cast<priority>(served_as));
    auto const found = read(ready_key(token, queue, deadline), token, e, false);
    if (!found || !*found) { return found; }
    if (auto s = stands_in(e, queue, deadline); !s) { return s.error(); }
    return true;
}

template <storage_transaction Tx>
result<bool> outbox_moves<Tx>::find_own(std::uint64_t token, stored_entry& e) {
    auto const found = tx_.get(key(outbox_space::own).add(token), scratch_);
    if (!found || !*found) { return found; }
    constexpr failure bad{errc::corrupt, "outbox deadline"};
    bytes_view value = scratch_;
    auto const deadline = take_varint(value);
    if (!deadline || value.size() != 1) { return bad; }
    unsigned const served_as = std::to_integer<unsigned>(value[0]) - static_cast<unsigned>(outbox_queue::own);
    if (served_as > static_cast<unsigned>(priority::background)) { return bad; }
    auto const there = find_ready(token, outbox_queue::own, served_as, e, outbox_time_from({}, *deadline));
    return there && !*there ? result<bool>{bad} : there;
}

template <storage_transaction Tx>
status outbox_moves<Tx>::stands_in(stored_entry& e, std::uint8_t queue, std::optional<wall_time> deadline) {
    constexpr failure bad{errc::corrupt, "outbox entry in a wrong place"};
    std::uint64_t const mark = mark_of(e);
    e.rows = e.rows_due(mark);
    bool const fresh = queue < static_cast<std::uint8_t>(outbox_queue::own);
    bool const claimed = e.header.state == phase::claimed && !e.header.held() && fresh && e.token < mark;
    if ((e.rows.at != place::ready && !claimed) || e.rows.deadline != deadline) { return bad; }
    if (fresh && e.token < mark) {  // where it was written as ready; what has become of it since, its run says
        e.rows.queue = outbox_queue_byte(outbox_queue::fresh, e.header.urgency);
        if (e.rows.queue != queue) { return bad; }
        if (e.header.state == phase::claimed) {  // alone
            e.rows.at = place::kept;
            return {};
        }
        auto const run = runs_.find(tx_, outbox_lane(e.token), e.header.urgency, e.token);
        if (!run) { return run.error(); }
        e.header.state = phase::claimed;
        e.header.fence = (*run)->fence;
        e.header.time = (*run)->end;
        e.header.expires.reset();
        e.rows.at = place::taken;
        e.rows.life.reset();
        return {};
    }
    return e.rows.queue == queue ? status{} : status{bad};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::find_taken(std::span<std::pair<std::uint64_t, std::uint64_t> const> claims,
                                    std::vector<stored_entry>& out, std::size_t most) {
    std::vector<bool> done(claims.size());
    if (claims.size() > 3) {
        std::uint8_t const queue = outbox_queue_byte(outbox_queue::fresh, outbox_class(claims[0].first));
        std::size_t next = 0;
        std::size_t room = 2 * claims.size() + 16;  // rows that may be read in vain
        status damaged;
        auto const row = [&](bytes_view k, bytes_view value) {
            std::uint64_t const token = token_of(k);
            while (next != claims.size() && claims[next].first < token) { ++next; }
            if (next == claims.size()) { return false; }
            if (claims[next].first != token) { return --room != 0; }
            stored_entry& e = out.emplace_back();
            damaged = read_queued(k, value, e, most);
            if (!damaged) { return false; }
            bool const claimed = e.header.state == phase::claimed;
            bool any = false;
            for (; next != claims.size() && claims[next].first == token; ++next) {
                done[next] = true;
                any = any || (claimed && e.header.fence == claims[next].second);
            }
            if (!any) { out.pop_back(); }
            return true;
        };
        auto const to = ready_key(claims.back().first, queue).add(std::uint8_t{0});
        if (auto s = tx_.scan({ready_key(claims.front().first, queue), to}, row); !s) { return s; }
        if (!damaged) { return damaged; }
    }
    for (std::size_t i = 0; i < claims.size(); ++i) {
        if (done[i]) { continue; }
        bool const again = i != 0 && claims[i] == claims[i - 1];  // the same claim may be named twice
        stored_entry e;
        if (again) { continue; }
        auto const s = find_claimed(claims[i].first, claims[i].second, e);
        if (!s && s.error() == errc::claim_lost) { continue; }
        if (!s) { return s; }
        out.push_back(std::move(e));
    }
    return {};
}

template <storage_transaction Tx>
status outbox_moves<Tx>::leased_as(std::uint64_t element, std::vector<stored_entry>& out) {
    constexpr failure bad{errc::corrupt, "outbox lease without its entry"};
    std::uint64_t const token = outbox_leases::token_of(element);
    if (!outbox_leases::is_run(element)) {
        stored_entry e;
        auto const there = find_living(token, e);
        if (!there) { return there.error(); }
        if (!*there || !e.rows.lease) { return bad; }
        out.push_back(std::move(e));
        return {};
    }
    priority const served_as = outbox_leases::class_of(element);
    auto const run = runs_.find(tx_, outbox_lane(token), served_as, token);
    if (!run) { return run.error(); }
    std::uint8_t const queue = outbox_queue_byte(outbox_queue::fresh, served_as);
    status damaged;
    std::size_t const before = out.size();
    auto const row = [&](bytes_view k, bytes_view value) {
        out.emplace_back();
        damaged = read_queued(k, value, out.back());
        return damaged.has_value();
    };
    auto const to = ready_key(token, queue).add(std::uint8_t{0});
    if (auto s = tx_.scan({ready_key((*run)->first, queue), to}, row); !s) { return s; }
    if (!damaged) { return damaged; }
    return out.size() == before ? status{bad} : status{};
}

}  // namespace detail
}  // namespace syncline::inline SYNCLINE_ABI
