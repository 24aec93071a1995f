// SPDX-License-Identifier: BSL-1.0
#pragma once

// What an outbox is, said without keys: a list in order of entry, searched from end to end; and random operations on
// both, after each of which all that can be seen is compared, to the last key.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <syncline/outbox/outbox.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

namespace outbox_tests {

namespace sl = syncline;
using sl::bytes;
using sl::bytes_view;
using sl::entry_state;
using sl::errc;
using sl::milliseconds;
using sl::outbox;
using sl::outbox_entry;
using sl::priority;
using sl::wall_time;

using raw_map = std::map<std::string, std::string>;
using transaction = sl::memory_storage::transaction;

inline wall_time at(std::int64_t ms) { return wall_time{milliseconds{ms}}; }
inline bytes_view view(std::string const& s) { return sl::as_bytes(s); }
inline std::string text(bytes const& b) { return std::string(sl::as_text(b)); }

inline transaction write(sl::memory_storage& s) {
    auto tx = s.begin(sl::access_mode::write);
    REQUIRE(tx);
    return std::move(*tx);
}
template <class Storage>
raw_map raw(Storage& s) {
    raw_map out;
    auto tx = s.begin(sl::access_mode::read);
    REQUIRE(tx);
    REQUIRE(tx->scan({}, [&](bytes_view k, bytes_view v) {
        out.emplace(sl::as_text(k), sl::as_text(v));
        return true;
    }));
    return out;
}

/// The n-th call fails as a medium does, and for a process that is no more all after it; calls are counted.
template <class Tx>
struct failing {
    Tx& tx;
    std::uint64_t n = 0;  ///< 0 = none
    bool for_good = false;
    std::uint64_t calls = 0;

    bool fails() { return ++calls == n || (for_good && n != 0 && calls > n); }
    sl::result<bool> get(bytes_view k, bytes& out) {
        if (fails()) { return errc::storage_io; }
        return tx.get(k, out);
    }
    sl::status put(bytes_view k, bytes_view v) {
        if (fails()) { return errc::storage_io; }
        return tx.put(k, v);
    }
    sl::status erase(bytes_view k) {
        if (fails()) { return errc::storage_io; }
        return tx.erase(k);
    }
    sl::status scan(sl::key_range r, sl::scan_visitor visit) {
        if (fails()) { return errc::storage_io; }
        return tx.scan(r, visit);
    }
};
template <class Tx>
failing(Tx&) -> failing<Tx>;
template <class Tx>
failing(Tx&, std::uint64_t) -> failing<Tx>;
template <class Tx>
failing(Tx&, std::uint64_t, bool) -> failing<Tx>;

/// SplitMix64: the same numbers everywhere.
struct generator {
    std::uint64_t state;
    std::uint64_t operator()() noexcept {
        std::uint64_t z = (state += 0x9E3779B97F4A7C15U);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        return z ^ (z >> 31);
    }
    std::uint64_t below(std::uint64_t n) { return (*this)() % n; }
    bool once_in(std::uint64_t n) { return below(n) == 0; }
};

struct model {
    enum phase { pending, waiting, claimed };
    struct entry {
        std::uint64_t token = 0;
        std::uint64_t fence = 0;
        priority urgency = priority::normal;
        priority served_as = priority::normal;
        phase state = pending;
        std::int64_t entered = 0;
        std::int64_t time = 0;
        std::uint32_t attempts = 0;
        std::uint32_t batch_max = 0;
        std::optional<std::int64_t> patience;
        std::optional<std::int64_t> expires;
        std::vector<std::uint64_t> after;
        std::vector<std::string> records;
        std::string payload;
        errc reason{};
        std::string verdict;
        bool kept = false;  ///< the last claim took no other from its queue: it says itself who has it
        std::uint8_t lane() const { return static_cast<std::uint8_t>(token >> 2); }
        bool has(std::string const& r) const { return std::count(records.begin(), records.end(), r) != 0; }
        std::uint64_t size() const {
            std::uint64_t n = payload.size();
            for (std::string const& r : records) { n += r.size(); }
            return n;
        }
    };
    struct place {  // in the order of claims
        int band = 0;
        std::int64_t deadline = 0;
        std::uint64_t token = 0;
        std::size_t run = 1;
        bool operator<(place const& o) const {
            return std::tie(band, deadline, token) < std::tie(o.band, o.deadline, o.token);
        }
    };
    static constexpr std::int64_t never = (std::numeric_limits<std::int64_t>::max)();

    sl::outbox_options options;
    std::vector<entry> living;
    std::vector<entry> dead;
    std::uint64_t sequence = 0;
    std::uint64_t fences = 0;
    std::vector<sl::lane_limit> lanes;
    /// By lane and class: what stands before it in its queue has been claimed there.
    std::map<std::pair<int, int>, std::uint64_t> marks;

    static std::int64_t later(std::int64_t t, milliseconds d) {
        return d.count() > 0 && t > never - d.count() ? never : t + d.count();
    }
    std::int64_t patience(priority p) const {
        std::int64_t const all[] = {0, options.patience_important.count(), options.patience_normal.count(),
                                    options.patience_background.count()};
        return all[static_cast<std::size_t>(p)];
    }
    static entry* find_in(std::vector<entry>& all, std::uint64_t token) {
        for (entry& e : all) {
            if (e.token == token) { return &e; }
        }
        return nullptr;
    }
    entry* find(std::uint64_t token) { return find_in(living, token); }
    entry* claim_of(std::uint64_t token, std::uint64_t fence) {
        entry* const e = find(token);
        return e != nullptr && e->state == claimed && e->fence == fence ? e : nullptr;
    }
    bool held(entry const& e) const {
        if (!e.after.empty()) { return true; }
        for (entry const& o : living) {
            for (std::string const& r : e.records) {
                if (o.token < e.token && o.has(r)) { return true; }
            }
        }
        return false;
    }
    bool ready(entry const& e) const { return e.state == pending && !held(e); }
    std::uint32_t dependants(std::uint64_t token) const {
        std::uint32_t n = 0;
        for (entry const& e : living) {
            n += static_cast<std::uint32_t>(std::count(e.after.begin(), e.after.end(), token));
        }
        return n;
    }
    std::uint64_t bytes_total() const {
        std::uint64_t n = 0;
        for (entry const& e : living) { n += e.size(); }
        return n;
    }
    bool fits(std::uint64_t more) const { return options.bytes_max == 0 || bytes_total() + more <= options.bytes_max; }
    bool lane_fits(int lane, std::uint64_t entries, std::uint64_t more) const {
        std::uint64_t count = 0;
        std::uint64_t size = 0;
        for (entry const& e : living) {
            if (e.lane() != lane) { continue; }
            ++count;
            size += e.size();
        }
        for (sl::lane_limit const& l : lanes) {
            if (l.lane != lane) { continue; }
            if (entries != 0 && l.entries_max != 0 && count + entries > l.entries_max) { return false; }
            if (l.bytes_max != 0 && size + more > l.bytes_max) { return false; }
        }
        return true;
    }
    std::uint64_t mark(entry const& e) const {
        auto const at = marks.find({int{e.lane()}, static_cast<int>(e.served_as)});
        return at == marks.end() ? 0 : at->second;
    }
    static std::optional<std::int64_t> own_deadline(entry const& e) {
        if (!e.patience || e.served_as == priority::critical) { return {}; }
        return later(e.entered, milliseconds{*e.patience});
    }
    /// Which of the queues of its lane and class: 0 by token, 1 by deadline, 2 by token too, behind the mark.
    int queue(entry const& e) const { return own_deadline(e) ? 1 : e.token < mark(e) ? 2 : 0; }
    /// A lane in which nothing lives has no marks.
    void tidy() {
        for (auto i = marks.begin(); i != marks.end();) {
            bool const lives = std::any_of(living.begin(), living.end(),
                                           [&](entry const& e) { return int{e.lane()} == i->first.first; });
            i = lives ? std::next(i) : marks.erase(i);
        }
    }
    /// Whether an entry waits, through whatever, for the target.
    bool waits_for(std::uint64_t token, std::uint64_t target, std::vector<std::uint64_t>& seen) const {
        if (token == target) { return true; }
        if (std::count(seen.begin(), seen.end(), token) != 0) { return false; }
        seen.push_back(token);
        auto const e = std::find_if(living.begin(), living.end(), [&](entry const& o) { return o.token == token; });
        if (e == living.end()) { return false; }
        for (std::uint64_t const p : e->after) {
            if (waits_for(p, target, seen)) { return true; }
        }
        for (entry const& o : living) {
            bool const before = o.token < token && std::any_of(e->records.begin(), e->records.end(),
                                                               [&](std::string const& r) { return o.has(r); });
            if (before && waits_for(o.token, target, seen)) { return true; }
        }
        return false;
    }
    /// Whether anything that lives waits for itself.
    bool circle() const {
        for (entry const& e : living) {
            for (std::uint64_t const p : e.after) {
                std::vector<std::uint64_t> seen;
                if (waits_for(p, e.token, seen)) { return true; }
            }
        }
        return false;
    }
    void let_go(std::uint64_t token) {
        for (entry& e : living) { e.after.erase(std::remove(e.after.begin(), e.after.end(), token), e.after.end()); }
    }
    entry take(std::vector<entry>& all, std::uint64_t token) {
        auto const i = std::find_if(all.begin(), all.end(), [&](entry const& e) { return e.token == token; });
        entry e = *i;
        all.erase(i);
        return e;
    }
    static void put(std::vector<entry>& all, entry const& e) {
        all.insert(std::find_if(all.begin(), all.end(), [&](entry const& o) { return o.token > e.token; }), e);
    }
    void drop(std::uint64_t token) {
        take(living, token);
        let_go(token);
    }
    void bury(std::uint64_t token, errc reason, std::string const& verdict) {
        entry e = take(living, token);
        e.state = pending;
        e.time = 0;
        e.expires.reset();
        e.after.clear();
        e.reason = reason;
        e.verdict = verdict;
        put(dead, e);
    }
    void raise(std::uint64_t token, priority to, std::optional<std::int64_t> deadline) {
        entry* const e = find(token);
        if (e == nullptr) { return; }
        bool changed = e->served_as > to;
        if (changed) { e->served_as = to; }
        if (deadline && e->served_as != priority::critical &&
            later(e->entered, milliseconds{e->patience.value_or(patience(e->served_as))}) > *deadline) {
            std::int64_t const left =
                (std::min)((std::max)(*deadline - e->entered, std::int64_t{0}), std::int64_t{options.wait_max.count()});
            changed = changed || e->patience != left;
            e->patience = left;
        }
        if (!changed) { return; }
        for (std::uint64_t const p : e->after) { raise(p, to, deadline); }
        for (entry const& o : living) {
            for (std::string const& r : e->records) {
                if (o.token < e->token && o.has(r)) { raise(o.token, to, deadline); }
            }
        }
    }
    outbox_entry seen(entry const& e, bool is_dead = false) const {
        outbox_entry out;
        out.token = e.token;
        out.fence = e.fence;
        out.urgency = e.urgency;
        out.served_as = e.served_as;
        out.lane = e.lane();
        out.state = is_dead              ? entry_state::dead
                    : e.state == claimed ? entry_state::claimed
                    : held(e)            ? entry_state::blocked
                    : e.state == waiting ? entry_state::waiting
                                         : entry_state::ready;
        out.entered = at(e.entered);
        out.not_before = at(e.time);
        out.attempts = e.attempts;
        out.batch_max = e.batch_max;
        out.dependants = dependants(e.token);
        if (e.patience) { out.patience = milliseconds{*e.patience}; }
        if (e.expires) { out.expires = at(*e.expires); }
        out.after = e.after;
        for (std::string const& r : e.records) {
            if (out.record.empty()) {
                out.record = sl::to_bytes(r);
            } else {
                out.more_records.push_back(sl::to_bytes(r));
            }
        }
        out.payload = sl::to_bytes(e.payload);
        out.reason = e.reason;
        out.verdict = sl::to_bytes(e.verdict);
        return out;
    }

    template <class Key>
    std::vector<std::uint64_t> due(std::int64_t now, bool all, bool back, Key key) {
        std::vector<std::tuple<std::int64_t, std::uint64_t, std::uint64_t, std::uint64_t>> timed;
        for (entry const& e : living) {
            if (auto const k = key(e)) {
                timed.push_back({std::get<0>(*k), std::get<1>(*k), std::get<2>(*k), e.token});
            }
        }
        std::sort(timed.begin(), timed.end());
        std::vector<std::uint64_t> out;
        for (bool const implausible : {false, true}) {
            for (auto const& t : timed) {
                bool const over = all || std::get<0>(t) <= now;
                bool const late = back && !over && std::get<0>(t) > later(now, options.wait_max);
                if (implausible ? late : over) { out.push_back(std::get<3>(t)); }
            }
        }
        if (out.size() > options.promotions_max) { out.resize(options.promotions_max); }
        return out;
    }
    using timed_key = std::optional<std::tuple<std::int64_t, std::uint64_t, std::uint64_t>>;
    std::size_t end_waits(std::int64_t now, bool all) {
        auto const tokens = due(now, all, !all, [&](entry const& e) {
            return e.state == waiting && !held(e) ? timed_key{{e.time, e.token, 0}} : timed_key{};
        });
        for (std::uint64_t const t : tokens) {
            find(t)->state = pending;
            find(t)->time = 0;
        }
        return tokens.size();
    }
    void end_leases(std::int64_t now) {
        for (std::uint64_t const t : due(now, false, true, [&](entry const& e) {
                 return e.state == claimed && e.time != never ? timed_key{{e.time, e.fence, e.token}} : timed_key{};
             })) {
            ++find(t)->attempts;
            find(t)->state = pending;
            find(t)->time = 0;
        }
    }
    void end_lives(std::int64_t now) {
        for (std::uint64_t const t : due(now, false, false, [&](entry const& e) {
                 return e.fence == 0 && e.expires ? timed_key{{*e.expires, e.token, 0}} : timed_key{};
             })) {
            bury(t, errc::cancelled, "expired");
        }
    }

    std::int64_t end_of_lease(std::optional<milliseconds> asked, std::int64_t now) const {
        milliseconds const lease = asked.value_or(options.lease);
        return lease == (milliseconds::max)() ? never
                                              : (std::min)(later(now, (std::min)(lease, options.wait_max)), never - 1);
    }
    place place_of(entry const& e, sl::claim_order order, std::int64_t now) const {
        switch (order) {
            case sl::claim_order::arrival: return {0, 0, e.token};
            case sl::claim_order::strict: return {static_cast<int>(e.served_as), 0, e.token};
            case sl::claim_order::deadline: break;
        }
        if (e.served_as == priority::critical) { return {0, 0, e.token}; }
        return {1, later((std::min)(e.entered, now), milliseconds{e.patience.value_or(patience(e.served_as))}),
                e.token};
    }
    /// Where it stands in its queue, and in which.
    std::pair<std::pair<int, int>, std::pair<std::int64_t, std::uint64_t>> stands(entry const& e,
                                                                                  std::int64_t now) const {
        int const q = queue(e);
        std::int64_t const deadline = q == 1 ? *own_deadline(e) : 0;
        bool const late = q == 1 && deadline > later(now, options.wait_max);
        return {{int{e.lane()}, static_cast<int>(e.served_as) + 4 * (late ? 3 : q)}, {deadline, e.token}};
    }
    /// Tokens in order, and until when the batch waits for more.
    std::pair<std::vector<std::uint64_t>, std::optional<std::int64_t>> select(sl::claim_options const& what,
                                                                              std::int64_t now) {
        std::vector<std::uint64_t> out;
        std::vector<place> followers;
        auto const wanted = [&](entry const& e) {
            return e.served_as <= what.lowest && (!what.lane || *what.lane == e.lane());
        };
        std::size_t size = 0;
        std::size_t most = what.entries_max;
        bool full = false;
        while (!full) {
            std::map<std::pair<int, int>, std::pair<std::int64_t, std::uint64_t>> heads;  // the first of each queue
            for (entry const& e : living) {
                if (!ready(e) || !wanted(e) || std::count(out.begin(), out.end(), e.token) != 0) { continue; }
                auto const where = stands(e, now);
                auto const head = heads.emplace(where.first, where.second).first;
                head->second = (std::min)(head->second, where.second);
            }
            auto candidates = followers;
            for (auto const& h : heads) {
                candidates.push_back(place_of(*std::find_if(living.begin(), living.end(),
                                                            [&](entry const& e) { return e.token == h.second.second; }),
                                              what.order, now));
            }
            auto const best = std::min_element(candidates.begin(), candidates.end());
            if (best == candidates.end()) { break; }
            place const p = *best;
            entry const& e = *find(p.token);
            std::size_t const own = e.batch_max == 0 ? most : (std::min)(most, std::size_t{e.batch_max});
            full = !out.empty() && (out.size() >= own || size + e.payload.size() > what.bytes_max);
            if (full) { break; }
            most = own;
            size += e.payload.size();
            out.push_back(p.token);
            full = out.size() >= most;
            auto const gone =
                std::find_if(followers.begin(), followers.end(), [&](place const& f) { return f.token == p.token; });
            if (gone != followers.end()) { followers.erase(gone); }
            if (e.records.size() != 1 || p.run >= what.record_run_max) { continue; }
            for (entry const& o : living) {
                if (!o.has(e.records[0]) || o.token <= e.token) { continue; }
                bool const may = o.state == pending || (o.state == waiting && o.time <= now);
                if (may && o.records.size() == 1 && o.after.empty() && wanted(o)) {
                    place const mine = place_of(o, what.order, now);
                    followers.push_back(
                        {(std::max)(mine.band, p.band), (std::max)(mine.deadline, p.deadline), o.token, p.run + 1});
                }
                break;
            }
        }
        if (full || out.empty() || what.linger.count() <= 0) { return {out, {}}; }
        std::int64_t oldest = never;
        for (std::uint64_t const t : out) {
            entry const& e = *find(t);
            if (e.served_as == priority::critical || e.fence != 0 || e.entered > now) { return {out, {}}; }
            oldest = (std::min)(oldest, e.entered);
        }
        if (later(oldest, what.linger) <= now) { return {out, {}}; }
        return {{}, later(oldest, what.linger)};
    }
    std::vector<outbox_entry> claim(sl::claim_options const& what, std::int64_t now) {
        std::vector<outbox_entry> out;
        if (what.entries_max == 0) { return out; }
        end_lives(now);
        end_leases(now);
        end_waits(now, false);
        auto const tokens = select(what, now).first;
        if (!tokens.empty()) { ++fences; }
        std::vector<std::uint64_t> stay;
        for (std::uint64_t const t : tokens) {
            if (ready(*find(t)) && queue(*find(t)) == 0) { stay.push_back(t); }
        }
        for (std::uint64_t const t : tokens) {
            entry& e = *find(t);
            e.state = claimed;
            e.fence = fences;
            e.time = end_of_lease(what.lease, now);
            e.expires.reset();
        }
        for (std::uint64_t const t : stay) {
            entry& e = *find(t);
            marks[{int{e.lane()}, static_cast<int>(e.served_as)}] = t + 1;
            e.kept = std::count_if(stay.begin(), stay.end(), [&](std::uint64_t o) {
                         return find(o)->lane() == e.lane() && find(o)->served_as == e.served_as;
                     }) == 1;
        }
        for (std::uint64_t const t : tokens) { out.push_back(seen(*find(t))); }
        return out;
    }
    std::optional<std::int64_t> next_due(std::int64_t now, sl::claim_options const& what) {
        auto const chosen = select(what, now);
        std::optional<std::int64_t> first = chosen.second;
        if (!chosen.first.empty()) { return now; }
        for (entry const& e : living) {
            bool const waits = e.state == waiting && !held(e);
            bool const leased = e.state == claimed && e.time != never;
            if (waits || leased) {
                std::int64_t const mine = e.time <= now || e.time > later(now, options.wait_max) ? now : e.time;
                first = (std::min)(first.value_or(never), mine);
            }
            if (e.fence == 0 && e.expires) { first = (std::min)(first.value_or(never), (std::max)(*e.expires, now)); }
        }
        return first;
    }

    static std::string number(std::uint64_t n) {
        std::string out;
        for (int shift = 56; shift >= 0; shift -= 8) { out.push_back(static_cast<char>((n >> shift) & 0xFFU)); }
        return out;
    }
    /// In as few bytes as it has, their number before.
    static std::string short_number(std::uint64_t n) {
        std::string const all = number(n);
        std::string const own = all.substr((std::min)(all.find_first_not_of('\0'), std::size_t{7}));
        return static_cast<char>(own.size()) + own;
    }
    static std::string time_key(std::int64_t t) {
        return number(static_cast<std::uint64_t>(t) + (std::uint64_t{1} << 63));
    }
    /// Every key that there has to be, and no other, but those of the index: one place an entry. What is claimed stands
    /// aside, or where it stood when it was ready, as `there` says: then it is counted with its run, unless it is alone.
    template <class There>
    std::vector<std::string> keys(std::string const& prefix, There there,
                                  std::map<std::string, std::uint64_t>& runs) const {
        std::vector<std::string> out;
        if (sequence != 0) { out.push_back(prefix + "c"); }
        for (entry const& e : living) {
            std::string const lane{static_cast<char>(e.lane()), static_cast<char>(e.served_as)};
            std::string const taken = prefix + "q" + lane + number(e.token);
            bool const in_place = e.state == claimed && e.token < mark(e) && there(taken);
            if (ready(e)) {
                int const q = queue(e);
                out.push_back(prefix + "q" + static_cast<char>(e.lane()) +
                              static_cast<char>(static_cast<int>(e.served_as) + 4 * q) +
                              (q == 1 ? time_key(*own_deadline(e)) : "") + number(e.token));
                if (q == 1) { out.push_back(prefix + "d" + number(e.token)); }
            } else if (in_place) {
                out.push_back(taken);
                if (!e.kept) { ++runs[prefix + "i" + lane]; }
            } else {
                out.push_back(prefix + "b" + number(e.token));
            }
            for (std::string const& r : e.records) {
                bool const first = std::none_of(living.begin(), living.end(),
                                                [&](entry const& o) { return o.token < e.token && o.has(r); });
                std::string const size{static_cast<char>(r.size() >> 8), static_cast<char>(r.size() & 0xFFU)};
                if (!first) { out.push_back(prefix + "r" + size + r + number(e.token)); }
            }
            for (std::uint64_t const p : e.after) { out.push_back(prefix + "a" + number(p) + number(e.token)); }
            if (e.state == claimed && e.time != never) {
                out.push_back(prefix + "l" + time_key(e.time) + short_number(e.fence));
            }
            if (e.state == waiting && !held(e)) { out.push_back(prefix + "w" + time_key(e.time) + number(e.token)); }
            if (e.fence == 0 && e.expires) { out.push_back(prefix + "x" + time_key(*e.expires) + number(e.token)); }
            if (e.payload.size() > 1024) { out.push_back(prefix + "p" + number(e.token)); }
        }
        for (entry const& e : dead) {
            out.push_back(prefix + "z" + number(e.token));
            if (e.payload.size() > 1024) { out.push_back(prefix + "p" + number(e.token)); }
        }
        std::sort(out.begin(), out.end());
        out.erase(std::unique(out.begin(), out.end()), out.end());  // leases of one claim are one row
        return out;
    }
    /// Every record's hash and first token, sorted.
    std::vector<std::pair<std::uint32_t, std::uint64_t>> firsts() const {
        std::map<std::string, std::uint64_t> first;
        for (entry const& e : living) {
            for (std::string const& r : e.records) { first.emplace(r, e.token); }
        }
        std::vector<std::pair<std::uint32_t, std::uint64_t>> out;
        for (auto const& [record, token] : first) { out.push_back({sl::detail::outbox_hash(view(record)), token}); }
        std::sort(out.begin(), out.end());
        return out;
    }
};

template <class T>
errc code(sl::result<T> const& r) {
    return r ? errc{} : r.error().code;
}

/// Runs random operations on an outbox and on the model.
struct comparison {
    model expected;
    generator random;
    std::int64_t now;
    std::string prefix = "o";
    std::map<std::string, std::uint64_t> done{};  ///< how often something of note happened

    std::string pick_record() {
        // One is a beginning of another, and one has the bytes of a length in it.
        // Two have one hash in the index.
        static std::string const records[] = {
            "", "a", "ab", std::string("a\0\x01", 3), "b", "", std::string(400, 'r'), "record/39798", "record/21701"};
        return records[random.below(9)];
    }
    std::string pick_payload() {
        std::size_t const size = random.once_in(24)  ? 1000 + random.below(60)
                                 : random.once_in(8) ? random.below(60)
                                                     : random.below(6);
        return std::string(size, 'p');
    }
    std::uint64_t pick_token() {
        if (!expected.living.empty() && random.below(3) != 0) {
            return expected.living[random.below(expected.living.size())].token;
        }
        if (!expected.dead.empty() && random.once_in(2)) {
            return expected.dead[random.below(expected.dead.size())].token;
        }
        return random.below((expected.sequence + 2) << 10);
    }
    std::uint64_t pick_dead() {
        return expected.dead.empty() || random.once_in(5) ? pick_token()
                                                          : expected.dead[random.below(expected.dead.size())].token;
    }
    std::int64_t pick_time() {
        switch (random.below(8)) {
            case 0: return now - 1000;
            case 1: return now + 500'000'000;
            case 2: return model::never;
            default: return now + static_cast<std::int64_t>(random.below(4000));
        }
    }
    std::optional<milliseconds> pick_lease() {
        switch (random.below(6)) {
            case 0: return (milliseconds::max)();
            case 1: return milliseconds{static_cast<std::int64_t>(random.once_in(8) ? 200'000 : random.below(3000))};
            default: return {};
        }
    }
    sl::claim_options pick_claim() {
        sl::claim_options what;
        what.entries_max = random.below(6);
        what.bytes_max = random.below(3) == 0 ? random.below(20) : std::size_t{1} << 20;
        what.lowest = random.once_in(2) ? priority::background : static_cast<priority>(random.below(4));
        what.record_run_max = 1 + random.below(3);
        what.lease = pick_lease();
        if (random.once_in(3)) { what.lane = static_cast<std::uint8_t>(random.once_in(2) ? 0 : 255); }
        what.order = static_cast<sl::claim_order>(random.once_in(2) ? 0 : random.below(3));
        if (random.once_in(3)) { what.linger = milliseconds{static_cast<std::int64_t>(random.below(3000))}; }
        return what;
    }
    void pass_time() {
        switch (random.below(64)) {
            case 0: now -= 40'000'000'000; break;  // a dead battery
            case 1: now += 40'000'000'000; break;
            case 2: now = 1'700'000'000'000; break;
            case 3: now = model::never - 5; break;
            case 4: now = (std::numeric_limits<std::int64_t>::min)() / 2; break;
            case 5: now -= 700; break;
            default: now += static_cast<std::int64_t>(random.below(900));
        }
        if (now > model::never - 1'000'000 && random.below(3) == 0) { now = 1'700'000'000'000; }
        if (now < 0 && random.below(3) == 0) { now = 1'700'000'000'000; }
        if (now > model::never - 50'000'000'000 || now < -(model::never / 4)) { now = 1'700'000'000'000; }
    }

    template <class Tx>
    void step(Tx& tx) {
        outbox const box(expected.options, prefix, expected.lanes);  // fresh: nothing lives in memory
        std::uint64_t const kind = random.below(34);
        if (kind < 9) {
            enqueue(tx, box);
        } else if (kind < 11) {
            change_fresh(tx, box, kind == 9);
        } else if (kind < 16) {
            claim(tx, box);
        } else if (kind < 23) {
            answer(tx, box);
        } else if (kind < 25) {
            answer_many(tx, box);
        } else if (kind < 27) {
            hurry(tx, box);
        } else if (kind < 30) {
            decide_dead(tx, box);
        } else if (kind < 32) {
            put_after(tx, box);
        } else {
            sl::claim_options what = pick_claim();
            what.entries_max += 1;
            bool const plain = random.once_in(2);
            auto const due = plain ? box.next_due(tx, at(now), what.lowest) : box.next_due(tx, at(now), what);
            if (plain) {
                priority const lowest = what.lowest;
                what = {};
                what.lowest = lowest;
            }
            auto const should = expected.next_due(now, what);
            REQUIRE(due);
            REQUIRE(due->has_value() == should.has_value());
            if (should) { REQUIRE(**due == at(*should)); }
        }
        expected.tidy();
    }
    template <class Tx>
    void put_after(Tx& tx, outbox const& box) {
        std::uint64_t const token = pick_token();
        std::uint64_t const other = pick_token();
        auto const s = box.put_after(tx, token, other);
        model::entry* const e = expected.find(token);
        bool const there = expected.find(other) != nullptr || model::find_in(expected.dead, other) != nullptr;
        std::vector<std::uint64_t> seen;
        if (e == nullptr) {
            REQUIRE(code(s) == errc::not_found);
        } else if (e->state == model::claimed) {
            REQUIRE(code(s) == errc::claim_lost);
        } else if ((other >> 10) == 0 || (other >> 10) > expected.sequence) {
            REQUIRE(code(s) == errc::not_found);
        } else if (!there || std::count(e->after.begin(), e->after.end(), other) != 0) {
            REQUIRE(s);
        } else if (expected.waits_for(other, token, seen)) {
            REQUIRE(code(s) == errc::invalid);
            ++done["circle later"];
        } else {
            REQUIRE(s);
            e->after.push_back(other);
            ++done["after later"];
            expected.raise(other, e->served_as, model::own_deadline(*e));
        }
    }

    template <class Tx>
    void enqueue(Tx& tx, outbox const& box) {
        std::size_t const count = random.once_in(4) ? random.below(5) : 1;
        struct source {
            std::string record;
            std::string payload;
            std::vector<std::string> more;
            std::vector<bytes_view> more_views;
            std::vector<std::uint64_t> after;
            std::vector<std::size_t> after_items;
        };
        std::vector<source> sources(count);
        std::vector<sl::outbox_item> items(count);
        bool invalid = false;
        bool unknown = false;
        std::uint64_t size = 0;
        for (std::size_t i = 0; i < count; ++i) {
            source& s = sources[i];
            s.record = pick_record();
            s.payload = pick_payload();
            if (!s.record.empty() && random.once_in(3)) {
                for (std::uint64_t n = 1 + random.below(2); n != 0; --n) { s.more.push_back(pick_record()); }
            }
            if (random.once_in(3)) {
                for (std::uint64_t n = random.below(4); n != 0; --n) { s.after.push_back(pick_token()); }
            }
            if (count > 1 && random.once_in(2)) {
                for (std::uint64_t n = random.below(3); n != 0; --n) {
                    s.after_items.push_back(random.below(count + random.below(20) / 19));
                }
            }
            for (std::string const& r : s.more) { s.more_views.push_back(view(r)); }
            sl::outbox_item& item = items[i];
            item.urgency = static_cast<priority>(random.below(4));
            item.record = view(s.record);
            item.payload = view(s.payload);
            item.lane = random.once_in(3) ? std::uint8_t{255} : std::uint8_t{0};
            if (random.once_in(4)) {
                item.patience = milliseconds{static_cast<std::int64_t>(random.below(3000))};
                if (random.once_in(8)) { *item.patience *= 1'000'000; }
                if (random.once_in(200)) { item.patience = milliseconds{-1}; }
                invalid = invalid || item.patience->count() < 0;
            }
            if (random.once_in(6)) {
                item.time_to_live = milliseconds{static_cast<std::int64_t>(random.below(20'000)) - 50};
            }
            item.after = s.after;
            item.after_items = s.after_items;
            item.more_records = s.more_views;
            auto all = s.more;
            all.push_back(s.record);
            std::sort(all.begin(), all.end());
            invalid = invalid || (!s.more.empty() && all.front().empty()) ||
                      std::adjacent_find(all.begin(), all.end()) != all.end();
            auto const twice = [](auto list) {
                std::sort(list.begin(), list.end());
                return std::adjacent_find(list.begin(), list.end()) != list.end();
            };
            invalid = invalid || twice(s.after) || twice(s.after_items);
            for (std::size_t const p : s.after_items) { invalid = invalid || p >= count; }
            for (std::uint64_t const p : s.after) {
                unknown = unknown || (p >> 10) == 0 || (p >> 10) > expected.sequence;
            }
            size += s.payload.size();
            for (std::string const& r : all) { size += r.size(); }
        }
        bool const full =
            expected.options.entries_max != 0 && expected.living.size() + count > expected.options.entries_max;
        auto const token = count == 1 ? box.enqueue(tx, items[0], at(now)) : box.enqueue_all(tx, items, at(now));
        if (invalid) {
            REQUIRE(code(token) == errc::invalid);
            return;
        }
        bool lane_full = false;
        for (int const lane : {0, 255}) {
            std::uint64_t entries = 0;
            std::uint64_t more = 0;
            for (std::size_t i = 0; i < count; ++i) {
                if (items[i].lane != lane) { continue; }
                ++entries;
                more += sources[i].record.size() + sources[i].payload.size();
                for (std::string const& r : sources[i].more) { more += r.size(); }
            }
            lane_full = lane_full || (entries != 0 && !expected.lane_fits(lane, entries, more));
        }
        done["lane full"] += lane_full && !full && expected.fits(size) ? 1 : 0;
        // What dead letters brought back above the limits stays, and nothing enters.
        if (full || lane_full || !expected.fits(size)) {
            REQUIRE(code(token) == errc::limit);
            ++done["refused"];
            return;
        }
        if (circle(sources)) {
            REQUIRE(code(token) == errc::invalid);
            ++done["circle"];
            return;
        }
        if (unknown) {
            REQUIRE(code(token) == errc::not_found);
            return;
        }
        REQUIRE(token);
        std::vector<std::uint64_t> tokens;
        for (std::size_t i = 0; i < count; ++i) {
            tokens.push_back((expected.sequence + 1 + i) << 10 | std::uint64_t{items[i].lane} << 2 |
                             static_cast<std::uint64_t>(items[i].urgency));
            REQUIRE(outbox::token_after(*token, i, items[i]) == tokens[i]);
        }
        REQUIRE(*token == (count == 0 ? 0 : tokens[0]));
        for (std::size_t i = 0; i < count; ++i) {
            model::entry e;
            e.token = tokens[i];
            e.urgency = items[i].urgency;
            e.served_as = e.urgency;
            e.entered = now;
            if (items[i].patience) {
                e.patience = (std::min)(items[i].patience->count(), expected.options.wait_max.count());
                done["patience"] += 1;
            }
            if (items[i].time_to_live) {
                e.expires = model::later(now, (std::max)(*items[i].time_to_live, milliseconds{0}));
            }
            for (std::uint64_t const p : sources[i].after) {
                bool const there = model::find_in(expected.living, p) || model::find_in(expected.dead, p);
                if (there && (p >> 10) <= expected.sequence) { e.after.push_back(p); }
            }
            for (std::size_t const p : sources[i].after_items) { e.after.push_back(tokens[p]); }
            if (!sources[i].record.empty()) { e.records.push_back(sources[i].record); }
            e.records.insert(e.records.end(), sources[i].more.begin(), sources[i].more.end());
            e.payload = sources[i].payload;
            done["after"] += e.after.empty() ? 0 : 1;
            done["group"] += e.records.size() > 1 ? 1 : 0;
            expected.living.push_back(e);
        }
        expected.sequence += count;
        for (std::size_t i = 0; i < count; ++i) {
            model::entry entered = *expected.find(tokens[i]);
            std::optional<std::int64_t> deadline;
            if (items[i].patience && items[i].urgency != priority::critical) {
                deadline = model::later(now, (std::min)(*items[i].patience, expected.options.wait_max));
            }
            for (std::uint64_t const p : entered.after) { expected.raise(p, items[i].urgency, deadline); }
        }
    }
    /// Whether any order of the items is right: tries to place them one by one.
    template <class Sources>
    static bool circle(Sources const& sources) {
        std::vector<bool> placed(sources.size());
        auto const records = [&](std::size_t i) {
            auto all = sources[i].more;
            if (!sources[i].record.empty()) { all.push_back(sources[i].record); }
            return all;
        };
        for (std::size_t round = 0; round < sources.size(); ++round) {
            for (std::size_t i = 0; i < sources.size(); ++i) {
                bool may = true;
                for (std::size_t const p : sources[i].after_items) { may = may && placed[p]; }
                for (std::size_t j = 0; j < i; ++j) {
                    for (std::string const& r : records(j)) {
                        auto const mine = records(i);
                        if (std::count(mine.begin(), mine.end(), r) != 0) { may = may && placed[j]; }
                    }
                }
                if (may) { placed[i] = true; }
            }
        }
        return std::count(placed.begin(), placed.end(), false) != 0;
    }

    template <class Tx>
    void change_fresh(Tx& tx, outbox const& box, bool amend) {
        std::uint64_t const token = pick_token();
        std::string const payload = pick_payload();
        auto const s = amend ? box.amend(tx, token, view(payload)) : box.withdraw(tx, token);
        model::entry* const e = expected.find(token);
        if (e == nullptr) {
            REQUIRE(code(s) == errc::not_found);
        } else if (e->fence != 0) {
            REQUIRE(code(s) == errc::claim_lost);
        } else if (!amend) {
            REQUIRE(s);
            expected.drop(token);
        } else if (payload.size() > e->payload.size() &&
                   (!expected.fits(payload.size() - e->payload.size()) ||
                    !expected.lane_fits(e->lane(), 0, payload.size() - e->payload.size()))) {
            REQUIRE(code(s) == errc::limit);
        } else {
            REQUIRE(s);
            e->payload = payload;
        }
    }
    template <class Tx>
    void claim(Tx& tx, outbox const& box) {
        sl::claim_options const what = pick_claim();
        std::size_t const dead = expected.dead.size();
        auto const given = box.claim(tx, what, at(now));
        CAPTURE(given ? "" : given.error().detail);
        REQUIRE(given);
        auto const should = expected.claim(what, now);
        REQUIRE(given->size() == should.size());
        for (std::size_t i = 0; i < should.size(); ++i) { REQUIRE((*given)[i] == should[i]); }
        done["given"] += should.size();
        done["expired"] += expected.dead.size() - dead;
        for (outbox_entry const& e : should) { done["raised"] += e.served_as != e.urgency ? 1 : 0; }
        check_order(*given, what.record_run_max);
    }
    /// Entries of one record come in order, no more than asked for, and none before one that is still there
    /// and not claimed.
    void check_order(std::vector<outbox_entry> const& given, std::size_t run_max) {
        std::map<std::string, std::vector<std::uint64_t>> runs;
        for (outbox_entry const& e : given) {
            if (!e.record.empty()) { runs[text(e.record)].push_back(e.token); }
            REQUIRE(e.after.empty());
        }
        for (auto const& [record, tokens] : runs) {
            REQUIRE(tokens.size() <= run_max);
            REQUIRE(std::is_sorted(tokens.begin(), tokens.end()));
            for (model::entry const& e : expected.living) {
                if (e.has(record) && e.token < tokens.back()) { REQUIRE(e.state == model::claimed); }
            }
        }
    }
    template <class Tx>
    void answer(Tx& tx, outbox const& box) {
        std::uint64_t const token = pick_token();
        model::entry* e = expected.find(token);
        std::uint64_t fence = e == nullptr ? 1 : e->fence;
        if (random.once_in(8)) { --fence; }
        e = expected.claim_of(token, fence);
        std::string const payload = pick_payload();
        std::int64_t const time = pick_time();
        sl::status s;
        switch (random.below(8)) {
            case 0: {
                s = box.release(tx, token, fence, at(time));
                if (e != nullptr) {
                    e->state = model::waiting;
                    e->time = time;
                    ++e->attempts;
                }
                break;
            }
            case 1: {
                s = box.bury(tx, token, fence, errc::rejected, view(payload));
                if (e != nullptr) { expected.bury(token, errc::rejected, payload); }
                break;
            }
            case 2: {
                s = box.set_payload(tx, token, fence, view(payload));
                if (e != nullptr) { e->payload = payload; }
                break;
            }
            case 3: {
                auto const lease = pick_lease();
                auto const until = box.renew(tx, token, fence, at(now), lease);
                std::int64_t const end = expected.end_of_lease(lease, now);
                if (until) {
                    REQUIRE(*until == at(end));
                } else {
                    s = until.error();
                }
                if (e != nullptr) { e->time = end; }
                break;
            }
            case 4: {
                sl::backoff<sl::no_jitter> const policy({.base = milliseconds{100},
                                                         .cap = milliseconds{500},
                                                         .attempts_max = 4,
                                                         .hint_max = milliseconds{9000}});
                std::optional<milliseconds> hint;
                if (random.once_in(2)) { hint = milliseconds{static_cast<std::int64_t>(random.below(10'000))}; }
                auto const until = box.nack(tx, token, fence, policy, random, at(now), hint);
                if (!until) { s = until.error(); }
                if (e != nullptr && e->attempts >= 4) {
                    REQUIRE(until);
                    REQUIRE_FALSE(until->has_value());
                    expected.bury(token, errc::peer_failed, "attempts used up");
                } else if (e != nullptr) {
                    std::int64_t const wait = (std::min)(std::int64_t{500}, std::int64_t{100} << e->attempts) +
                                              (hint ? (std::min)(std::int64_t{hint->count()}, std::int64_t{9000}) : 0);
                    e->state = model::waiting;
                    e->time = now + wait;
                    ++e->attempts;
                    REQUIRE(until);
                    REQUIRE(**until == at(e->time));
                }
                break;
            }
            default: {
                s = box.ack(tx, token, fence);
                if (e != nullptr) { expected.drop(token); }
            }
        }
        REQUIRE(code(s) == (e != nullptr ? errc{} : errc::claim_lost));
    }
    template <class Tx>
    void answer_many(Tx& tx, outbox const& box) {
        std::vector<outbox_entry> some;
        for (model::entry const& e : expected.living) {
            if (e.state == model::claimed ? random.once_in(2) : random.once_in(8)) { some.push_back(expected.seen(e)); }
            if (!some.empty() && random.once_in(8)) { ++some.back().fence; }
            if (!some.empty() && random.once_in(8)) { some.push_back(some.back()); }
        }
        std::uint64_t const how = random.below(3);
        if (how == 0) {
            std::size_t gone = 0;
            for (outbox_entry const& d : some) {
                if (expected.claim_of(d.token, d.fence) == nullptr) { continue; }
                expected.drop(d.token);
                ++gone;
            }
            auto const n = box.ack_all(tx, some);
            REQUIRE(n);
            REQUIRE(*n == gone);
        } else if (how == 1) {
            auto const alone = box.split(tx, some);
            REQUIRE(alone);
            REQUIRE(*alone == (some.size() == 1 ? std::optional<std::uint64_t>{some[0].token} : std::nullopt));
            for (outbox_entry const& d : some) {
                model::entry* const e = expected.claim_of(d.token, d.fence);
                if (e == nullptr || some.size() == 1) { continue; }
                e->batch_max = static_cast<std::uint32_t>(some.size() / 2);
                ++e->attempts;
                e->state = model::pending;
                e->time = 0;
                ++done["split"];
            }
        } else {
            std::vector<sl::outbox_answer> answers;
            std::string const verdict = pick_payload();
            std::size_t counted = 0;
            for (outbox_entry const& d : some) {
                sl::outbox_answer a{d.token,         d.fence,         static_cast<sl::answer_kind>(random.below(4)),
                                    at(pick_time()), errc::forbidden, view(verdict)};
                answers.push_back(a);
                model::entry* const e = expected.claim_of(d.token, d.fence);
                if (e == nullptr) { continue; }
                ++counted;
                switch (a.kind) {
                    case sl::answer_kind::done: expected.drop(d.token); break;
                    case sl::answer_kind::rejected: expected.bury(d.token, errc::forbidden, verdict); break;
                    case sl::answer_kind::retry:
                        ++e->attempts;
                        e->state = model::waiting;
                        e->time = a.not_before.time_since_epoch().count();
                        break;
                    case sl::answer_kind::collateral:
                        e->state = model::pending;
                        e->time = 0;
                        break;
                }
            }
            auto const n = box.answer_all(tx, answers);
            REQUIRE(n);
            REQUIRE(*n == counted);
        }
    }
    template <class Tx>
    void hurry(Tx& tx, outbox const& box) {
        if (random.once_in(4)) {
            auto const n = box.hurry_all(tx, at(now));
            REQUIRE(n);
            REQUIRE(*n == expected.end_waits(now, true));
            return;
        }
        std::uint64_t const token = pick_token();
        auto const s = box.hurry(tx, token);
        model::entry* const e = expected.find(token);
        REQUIRE(code(s) == (e == nullptr ? errc::not_found : e->state == model::claimed ? errc::claim_lost : errc{}));
        if (e == nullptr || e->state != model::waiting) { return; }
        e->state = model::pending;
        e->time = 0;
    }
    template <class Tx>
    void decide_dead(Tx& tx, outbox const& box) {
        std::uint64_t const token = pick_dead();
        model::entry const* const d = model::find_in(expected.dead, token);
        auto const expect = [&](errc answer) { REQUIRE(answer == (d == nullptr ? errc::not_found : errc{})); };
        std::string const payload = pick_payload();
        switch (random.below(6)) {
            case 0: {
                bool const holds = expected.dependants(token) != 0;
                auto const s = box.discard(tx, token);
                if (d != nullptr && holds) {
                    REQUIRE(code(s) == errc::invalid);
                    ++done["holding"];
                    break;
                }
                expect(code(s));
                if (d != nullptr) { expected.take(expected.dead, token); }
                break;
            }
            case 1: {
                expect(code(box.release_dependants(tx, token)));
                if (d != nullptr) { expected.let_go(token); }
                break;
            }
            case 2: {
                auto const n = box.bury_dependants(tx, token, errc::rejected, view(payload));
                expect(code(n));
                if (d == nullptr) { break; }
                std::vector<std::uint64_t> all{token};
                for (std::size_t i = 0; i < all.size(); ++i) {
                    for (model::entry const& e : expected.living) {
                        bool const known = std::count(all.begin(), all.end(), e.token) != 0;
                        if (!known && std::count(e.after.begin(), e.after.end(), all[i]) != 0) {
                            all.push_back(e.token);
                        }
                    }
                }
                REQUIRE(*n == all.size() - 1);
                for (std::size_t i = 1; i < all.size(); ++i) { expected.bury(all[i], errc::rejected, payload); }
                break;
            }
            default: {
                bool const edit = random.once_in(3);
                auto const s = edit ? box.revive(tx, token, at(now), view(payload)) : box.revive(tx, token, at(now));
                if (d != nullptr) {
                    model after = expected;
                    model::put(after.living, after.take(after.dead, token));
                    if (after.circle()) {
                        REQUIRE(code(s) == errc::invalid);
                        ++done["circle revived"];
                        break;
                    }
                }
                expect(code(s));
                if (d == nullptr) { break; }
                model::entry e = expected.take(expected.dead, token);
                if (edit) { e.payload = payload; }
                e.entered = now;
                e.attempts = 0;
                e.batch_max = 0;
                e.reason = {};
                e.verdict.clear();
                model::put(expected.living, e);
            }
        }
    }

    /// Which of them is not the same: for whoever reads a failure.
    static std::string difference(std::optional<outbox_entry> const& a, std::optional<outbox_entry> const& b) {
        if (!a || !b) { return a ? "is there" : b ? "is not there" : ""; }
        std::string out;
        auto const say = [&](char const* what, bool same) { out += same ? "" : std::string(what) + " "; };
        say("fence", a->fence == b->fence);
        say("served_as", a->served_as == b->served_as);
        say("state", a->state == b->state);
        say("entered", a->entered == b->entered);
        say("not_before", a->not_before == b->not_before);
        say("attempts", a->attempts == b->attempts);
        say("batch_max", a->batch_max == b->batch_max);
        say("dependants", a->dependants == b->dependants);
        say("patience", a->patience == b->patience);
        say("expires", a->expires == b->expires);
        say("after", a->after == b->after);
        say("records", a->record == b->record && a->more_records == b->more_records);
        say("payload", a->payload == b->payload);
        say("verdict", a->reason == b->reason && a->verdict == b->verdict);
        return out;
    }
    template <class Tx>
    void look(Tx& tx) {
        outbox const box(expected.options, prefix, expected.lanes);
        std::vector<std::string> keys;
        std::vector<std::uint64_t> runs_leased;     // by their last tokens: those with a lease that ends
        std::vector<std::uint64_t> runs_named;      // in the rows of leases
        std::map<std::string, std::uint64_t> runs;  // how many each queue's say that they have
        std::vector<std::pair<std::uint32_t, std::uint64_t>> firsts;
        REQUIRE(sl::scan_prefix(tx, view(prefix), [&](bytes_view k, bytes_view v) {
            if (k.size() > prefix.size() && sl::as_text(k)[prefix.size()] == 'i') {
                REQUIRE(k.size() == prefix.size() + 11);
                std::vector<std::uint64_t> said;  // fence, end of the lease, how far its first token is back, how many
                for (bytes_view rest = v; !rest.empty();) { said.push_back(*sl::take_varint(rest)); }
                REQUIRE(said.size() == 4);
                if (said[1] != sl::zigzag(model::never)) { runs_leased.push_back(sl::read_u64(k.last(8))); }
                runs[std::string(sl::as_text(k.first(k.size() - 8)))] += said[3];
                return true;
            }
            if (k.size() > prefix.size() && sl::as_text(k)[prefix.size()] == 'l') {
                for (bytes_view rest = v; !rest.empty();) {
                    std::uint64_t const element = *sl::take_varint(rest);
                    if ((element & 1U) != 0) { runs_named.push_back(element >> 3); }
                }
            }
            if (k.size() != prefix.size() + 5 || sl::as_text(k)[prefix.size()] != 's') {
                keys.emplace_back(sl::as_text(k));
                return true;
            }
            std::uint32_t const last = sl::detail::read_u32(k.last(4));
            REQUIRE(!v.empty());
            for (; !v.empty(); v = v.subspan(12)) {
                std::uint32_t const hash = sl::detail::read_u32(v);
                REQUIRE(hash <= last);
                REQUIRE((firsts.empty() || firsts.back().first <= hash));
                firsts.push_back({hash, sl::read_u64(v.subspan(4)) & ~(std::uint64_t{1} << 63)});
            }
            return true;
        }));
        std::map<std::string, std::uint64_t> runs_should;
        auto const there = [&](std::string const& k) { return std::binary_search(keys.begin(), keys.end(), k); };
        auto const keys_should = expected.keys(prefix, there, runs_should);
        REQUIRE(keys == keys_should);
        REQUIRE(runs == runs_should);
        std::sort(runs_leased.begin(), runs_leased.end());
        std::sort(runs_named.begin(), runs_named.end());
        REQUIRE(runs_leased == runs_named);
        std::sort(firsts.begin(), firsts.end());
        REQUIRE(firsts == expected.firsts());

        std::uint64_t const token = pick_token();
        auto const found = box.find(tx, token);
        REQUIRE(found);
        std::optional<outbox_entry> should;
        if (model::entry const* const e = expected.find(token)) { should = expected.seen(*e); }
        if (model::entry const* const e = model::find_in(expected.dead, token)) { should = expected.seen(*e, true); }
        CAPTURE(difference(*found, should));
        REQUIRE(*found == should);

        std::string const record = pick_record();
        std::vector<outbox_entry> in_record;
        auto const s = box.scan_record(tx, view(record), [&](outbox_entry const& e) {
            in_record.push_back(e);
            return true;
        });
        REQUIRE(code(s) == (record.empty() ? errc::invalid : errc{}));
        std::vector<outbox_entry> record_should;
        for (model::entry const& e : expected.living) {
            if (!record.empty() && e.has(record)) { record_should.push_back(expected.seen(e)); }
        }
        REQUIRE(in_record == record_should);
    }
    template <class Tx>
    void look_at_all(Tx& tx) {
        outbox const box(expected.options, prefix, expected.lanes);
        sl::outbox_summary should;
        std::vector<outbox_entry> all_should;
        for (model::entry const& e : expected.living) {
            ++should.count[static_cast<std::size_t>(e.urgency)][static_cast<std::size_t>(expected.seen(e).state)];
            ++should.entries;
            if (!should.oldest || at(e.entered) < *should.oldest) { should.oldest = at(e.entered); }
            all_should.push_back(expected.seen(e));
        }
        should.bytes = expected.bytes_total();
        should.dead = expected.dead.size();
        for (model::entry const& e : expected.dead) { ++should.count[static_cast<std::size_t>(e.urgency)][4]; }
        auto const sum = box.summary(tx);
        REQUIRE(sum);
        REQUIRE(*sum == should);
        auto const load = box.load(tx);
        REQUIRE(load);
        REQUIRE(*load == std::pair{should.entries, should.bytes});

        std::vector<outbox_entry> all;
        REQUIRE(box.scan(tx, [&](outbox_entry const& e) {
            all.push_back(e);
            return true;
        }));
        std::sort(all.begin(), all.end(),
                  [](outbox_entry const& a, outbox_entry const& b) { return a.token < b.token; });
        REQUIRE(all == all_should);

        std::vector<outbox_entry> letters;
        REQUIRE(box.scan_dead(tx, [&](outbox_entry const& e) {
            letters.push_back(e);
            return true;
        }));
        std::vector<outbox_entry> letters_should;
        for (model::entry const& e : expected.dead) { letters_should.push_back(expected.seen(e, true)); }
        REQUIRE(letters == letters_should);
        for (outbox_entry const& e : letters) {
            std::uint32_t n = 0;
            REQUIRE(box.scan_dependants(tx, e.token, [&](std::uint64_t child) {
                n += expected.find(child) != nullptr ? 1 : 0;
                return true;
            }));
            REQUIRE(n == e.dependants);
        }
    }
};

}  // namespace outbox_tests
