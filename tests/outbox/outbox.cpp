// SPDX-License-Identifier: BSL-1.0
#include <syncline/outbox/outbox.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

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

namespace {

using raw_map = std::map<std::string, std::string>;
using transaction = sl::memory_storage::transaction;

wall_time at(std::int64_t ms) { return wall_time{milliseconds{ms}}; }
bytes_view view(std::string const& s) { return sl::as_bytes(s); }
std::string text(bytes const& b) { return std::string(sl::as_text(b)); }

transaction write(sl::memory_storage& s) {
    auto tx = s.begin(sl::access_mode::write);
    REQUIRE(tx);
    return std::move(*tx);
}
raw_map raw(sl::memory_storage& s) {
    raw_map out;
    auto tx = s.begin(sl::access_mode::read);
    REQUIRE(tx);
    REQUIRE(tx->scan({}, [&](bytes_view k, bytes_view v) {
        out.emplace(sl::as_text(k), sl::as_text(v));
        return true;
    }));
    return out;
}

/// The n-th call fails as a medium does; calls are counted.
struct failing {
    transaction& tx;
    std::uint64_t n = 0;  ///< 0 = none
    std::uint64_t calls = 0;

    bool fails() { return ++calls == n; }
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

/// SplitMix64: the same numbers everywhere.
struct generator {
    std::uint64_t state;
    std::uint64_t operator()() {
        std::uint64_t z = (state += 0x9E3779B97F4A7C15U);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        return z ^ (z >> 31);
    }
    std::uint64_t below(std::uint64_t n) { return (*this)() % n; }
};

/// What an outbox is, said without keys: a list in order of token, searched from end to end.
struct model {
    enum phase { pending, waiting, claimed };
    struct entry {
        std::uint64_t token = 0;
        std::uint64_t fence = 0;
        priority urgency = priority::normal;
        phase state = pending;
        std::int64_t entered = 0;
        std::int64_t deadline = 0;
        std::int64_t time = 0;
        std::uint32_t attempts = 0;
        std::string record;
        std::string payload;
        errc reason{};
        std::string verdict;
    };
    struct place {  // in the order of claims
        int band = 0;
        std::int64_t deadline = 0;
        std::uint64_t token = 0;
        std::size_t run = 0;
        bool operator<(place const& o) const {
            return std::tie(band, deadline, token) < std::tie(o.band, o.deadline, o.token);
        }
    };
    static constexpr std::int64_t never = (std::numeric_limits<std::int64_t>::max)();

    sl::outbox_options options;
    std::vector<entry> living;
    std::vector<entry> dead;
    std::uint64_t tokens = 0;
    std::uint64_t fences = 0;

    static std::int64_t later(std::int64_t t, milliseconds d) { return t > never - d.count() ? never : t + d.count(); }
    std::int64_t patience(priority p) const {
        std::int64_t const all[] = {0, options.patience_important.count(), options.patience_normal.count(),
                                    options.patience_background.count()};
        return all[static_cast<std::size_t>(p)];
    }
    std::int64_t deadline(priority p, std::int64_t now) const { return later(now, milliseconds{patience(p)}); }
    std::int64_t patience_max() const {
        return (std::max)(patience(priority::important),
                          (std::max)(patience(priority::normal), patience(priority::background)));
    }
    entry* find(std::uint64_t token) {
        for (entry& e : living) {
            if (e.token == token) { return &e; }
        }
        return nullptr;
    }
    bool head(entry const& e) const {
        if (e.record.empty()) { return true; }
        for (entry const& o : living) {
            if (o.record == e.record) { return o.token == e.token; }
        }
        return false;
    }
    std::uint64_t bytes_total() const {
        std::uint64_t n = 0;
        for (entry const& e : living) { n += e.record.size() + e.payload.size(); }
        return n;
    }
    bool fits(std::uint64_t more) const { return options.bytes_max == 0 || bytes_total() + more <= options.bytes_max; }
    void drop(std::uint64_t token) {
        living.erase(std::find_if(living.begin(), living.end(), [&](entry const& e) { return e.token == token; }));
    }
    outbox_entry seen(entry const& e) const {
        outbox_entry out;
        out.token = e.token;
        out.fence = e.fence;
        out.urgency = e.urgency;
        out.state = e.state == claimed   ? entry_state::claimed
                    : !head(e)           ? entry_state::blocked
                    : e.state == waiting ? entry_state::waiting
                                         : entry_state::ready;
        out.entered = at(e.entered);
        out.not_before = at(e.time);
        out.attempts = e.attempts;
        out.record = sl::to_bytes(e.record);
        out.payload = sl::to_bytes(e.payload);
        return out;
    }
    outbox_entry seen_dead(entry const& e) const {
        outbox_entry out = seen(e);
        out.state = entry_state::dead;
        out.not_before = {};
        out.reason = e.reason;
        out.verdict = sl::to_bytes(e.verdict);
        return out;
    }

    void promote(phase from, std::int64_t now) {
        std::vector<entry*> due;
        std::vector<entry*> implausible;
        for (entry& e : living) {
            bool const timed = e.state == from && (from == claimed ? e.time != never : head(e));
            if (timed && e.time <= now) { due.push_back(&e); }
            if (timed && e.time > later(now, options.wait_max)) { implausible.push_back(&e); }
        }
        auto const by_time = [](entry const* a, entry const* b) {
            return std::tie(a->time, a->token) < std::tie(b->time, b->token);
        };
        std::sort(due.begin(), due.end(), by_time);
        std::sort(implausible.begin(), implausible.end(), by_time);
        due.insert(due.end(), implausible.begin(), implausible.end());
        if (due.size() > options.promotions_max) { due.resize(options.promotions_max); }
        for (entry* e : due) {
            if (from == claimed) { ++e->attempts; }
            e->state = pending;
            e->time = 0;
            calm(*e, now);
        }
    }
    void calm(entry& e, std::int64_t now) const {
        if (e.deadline > later(now, milliseconds{patience_max()})) { e.deadline = deadline(e.urgency, now); }
    }
    static place place_of(entry const& e) { return {e.urgency == priority::critical ? 0 : 1, e.deadline, e.token, 0}; }

    std::vector<outbox_entry> claim(sl::claim_options const& what, std::int64_t now) {
        std::vector<outbox_entry> out;
        if (what.entries_max == 0) { return out; }
        promote(claimed, now);
        promote(waiting, now);
        std::vector<place> ready;
        for (entry& e : living) {
            if (e.state == pending && head(e)) { ready.push_back(place_of(e)); }
        }
        std::sort(ready.begin(), ready.end());
        std::size_t calmed = 0;
        for (place const& p : ready) {
            if (p.deadline > later(now, milliseconds{patience_max()}) && calmed < options.promotions_max) {
                calm(*find(p.token), now);
                ++calmed;
            }
        }
        for (place& p : ready) { p = place_of(*find(p.token)); }
        milliseconds const lease = what.lease.value_or(options.lease);
        std::int64_t const end = lease == (milliseconds::max)()
                                     ? never
                                     : (std::min)(later(now, (std::min)(lease, options.wait_max)), never - 1);
        std::size_t size = 0;
        while (out.size() < what.entries_max) {
            auto best = ready.end();
            for (auto i = ready.begin(); i != ready.end(); ++i) {
                if (find(i->token)->urgency <= what.lowest && (best == ready.end() || *i < *best)) { best = i; }
            }
            if (best == ready.end()) { break; }
            place const p = *best;
            ready.erase(best);
            entry& e = *find(p.token);
            if (!out.empty() && size + e.payload.size() > what.bytes_max) { break; }
            size += e.payload.size();
            e.state = claimed;
            e.fence = ++fences;
            e.time = end;
            out.push_back(seen(e));
            if (e.record.empty() || p.run + 1 >= what.record_run_max) { continue; }
            for (entry const& o : living) {
                if (o.record != e.record || o.token <= e.token) { continue; }
                if (o.state == pending || (o.state == waiting && o.time <= now)) {
                    place const own = place_of(o);
                    ready.push_back(
                        {(std::max)(own.band, p.band), (std::max)(own.deadline, p.deadline), o.token, p.run + 1});
                }
                break;
            }
        }
        return out;
    }
    std::optional<std::int64_t> next_due(std::int64_t now, priority lowest) const {
        std::optional<std::int64_t> due;
        for (entry const& e : living) {
            std::optional<std::int64_t> mine;
            if (e.state == pending && head(e) && e.urgency <= lowest) { mine = now; }
            if ((e.state == waiting && head(e)) || (e.state == claimed && e.time != never)) {
                mine = e.time <= now || e.time > later(now, options.wait_max) ? now : e.time;
            }
            if (mine && (!due || *mine < *due)) { due = mine; }
        }
        return due;
    }
    /// Every key that there has to be, and no other: one place an entry.
    std::vector<std::string> keys(std::string const& prefix) const {
        auto const number = [](std::uint64_t n) {
            std::string out;
            for (int shift = 56; shift >= 0; shift -= 8) { out.push_back(static_cast<char>((n >> shift) & 0xFFU)); }
            return out;
        };
        auto const time = [&](std::int64_t t) {
            return number(static_cast<std::uint64_t>(t) + (std::uint64_t{1} << 63));
        };
        std::vector<std::string> out;
        if (tokens != 0) { out.push_back(prefix + "n"); }
        for (entry const& e : living) {
            out.push_back(prefix + "t" + number(e.token));
            if (!e.record.empty()) {
                std::string const size{static_cast<char>(e.record.size() >> 8),
                                       static_cast<char>(e.record.size() & 0xFFU)};
                out.push_back(prefix + "r" + size + e.record + number(e.token));
            }
            if (e.state == claimed && e.time != never) { out.push_back(prefix + "c" + time(e.time) + number(e.token)); }
            if (e.state == waiting && head(e)) { out.push_back(prefix + "w" + time(e.time) + number(e.token)); }
            if (e.state == pending && head(e)) {
                char const band = e.urgency == priority::critical ? '\0' : '\1';
                out.push_back(prefix + "q" + band + time(e.deadline) + number(e.token));
            }
        }
        for (entry const& e : dead) { out.push_back(prefix + "d" + number(e.token)); }
        std::sort(out.begin(), out.end());
        return out;
    }
};

template <class T>
errc code(sl::result<T> const& r) {
    return r ? errc{} : r.error().code;
}

/// Runs random operations on an outbox and on the model, and compares all that can be seen after each.
struct comparison {
    model expected;
    generator random;
    std::int64_t now;
    std::string prefix = "o";
    std::uint64_t claims_given = 0;
    std::uint64_t refused = 0;

    std::string pick_record() {
        // One is a beginning of another, and one has the bytes of a length in it.
        static std::string const records[] = {"", "a", "ab", std::string("a\0\x01", 3), "b", "", std::string(400, 'r')};
        return records[random.below(7)];
    }
    std::string pick_payload() { return std::string(random.below(random.below(8) == 0 ? 60 : 6), 'p'); }
    std::uint64_t pick_token() {
        if (!expected.living.empty() && random.below(3) != 0) {
            return expected.living[random.below(expected.living.size())].token;
        }
        std::uint64_t const back = random.below(30);
        return back >= expected.tokens ? random.below(3) : expected.tokens - back;
    }
    std::int64_t pick_time() {
        switch (random.below(8)) {
            case 0: return now - 1000;
            case 1: return now + 500'000'000;
            case 2: return model::never;
            default: return now + static_cast<std::int64_t>(random.below(4000));
        }
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
        outbox const box(expected.options, prefix);  // fresh: nothing lives in memory
        std::uint64_t const kind = random.below(20);
        if (kind < 5) {
            std::string const record = pick_record();
            std::string const payload = pick_payload();
            auto const urgency = static_cast<priority>(random.below(4));
            std::size_t const count = random.below(4) == 0 ? random.below(4) : 1;
            sl::outbox_item const item{urgency, view(record), view(payload)};
            std::vector<sl::outbox_item> const items(count, item);
            auto const token = count == 1 ? box.enqueue(tx, item, at(now)) : box.enqueue_all(tx, items, at(now));
            bool const full =
                expected.options.entries_max != 0 && expected.living.size() + count > expected.options.entries_max;
            // What dead letters brought back above the limits stays, and nothing enters.
            if (full || !expected.fits(count * (record.size() + payload.size()))) {
                REQUIRE(code(token) == errc::limit);
                ++refused;
                return;
            }
            REQUIRE(token);
            REQUIRE(*token == expected.tokens + 1);
            model::entry e;
            e.urgency = urgency;
            e.entered = now;
            e.deadline = expected.deadline(urgency, now);
            e.record = record;
            e.payload = payload;
            for (std::size_t i = 0; i < count; ++i) {
                e.token = ++expected.tokens;
                expected.living.push_back(e);
            }
        } else if (kind < 7) {
            std::uint64_t const token = pick_token();
            std::string const payload = pick_payload();
            bool const amend = kind == 5;
            auto const s = amend ? box.amend(tx, token, view(payload)) : box.withdraw(tx, token);
            model::entry* const e = expected.find(token);
            if (e == nullptr) {
                REQUIRE(code(s) == errc::not_found);
            } else if (e->fence != 0) {
                REQUIRE(code(s) == errc::claim_lost);
            } else if (!amend) {
                REQUIRE(s);
                expected.drop(token);
            } else if (payload.size() > e->payload.size() && !expected.fits(payload.size() - e->payload.size())) {
                REQUIRE(code(s) == errc::limit);
            } else {
                REQUIRE(s);
                e->payload = payload;
            }
        } else if (kind < 11) {
            sl::claim_options what;
            what.entries_max = random.below(6);
            what.bytes_max = random.below(3) == 0 ? random.below(20) : std::size_t{1} << 20;
            what.lowest = random.below(2) == 0 ? priority::background : static_cast<priority>(random.below(4));
            what.record_run_max = 1 + random.below(3);
            if (random.below(3) == 0) { what.lease = (milliseconds::max)(); }
            if (random.below(3) == 0) {
                what.lease =
                    milliseconds{static_cast<std::int64_t>(random.below(8) == 0 ? 200'000 : random.below(3000))};
            }
            auto const given = box.claim(tx, what, at(now));
            REQUIRE(given);
            auto const should = expected.claim(what, now);
            REQUIRE(given->size() == should.size());
            for (std::size_t i = 0; i < should.size(); ++i) { REQUIRE((*given)[i] == should[i]); }
            claims_given += should.size();
            check_order(*given, what.record_run_max);
        } else if (kind == 11 && random.below(2) == 0) {
            std::vector<outbox_entry> done;
            std::vector<std::uint64_t> gone;
            for (model::entry const& e : expected.living) {
                if (random.below(4) == 0) { done.push_back(expected.seen(e)); }
                if (!done.empty() && random.below(8) == 0) { ++done.back().fence; }
                if (!done.empty() && random.below(8) == 0) { done.push_back(done.back()); }
            }
            for (outbox_entry const& d : done) {
                model::entry const* const e = expected.find(d.token);
                if (e == nullptr || e->state != model::claimed || e->fence != d.fence) { continue; }
                gone.push_back(d.token);
                expected.drop(d.token);
            }
            auto const n = box.ack_all(tx, done);
            REQUIRE(n);
            REQUIRE(*n == gone.size());
        } else if (kind < 16) {
            std::uint64_t const token = pick_token();
            model::entry* const e = expected.find(token);
            std::uint64_t fence = e == nullptr ? 1 : e->fence;
            if (random.below(8) == 0) { --fence; }
            bool const ours = e != nullptr && e->state == model::claimed && e->fence == fence;
            std::string const payload = pick_payload();
            std::int64_t const time = pick_time();
            sl::status s;
            if (kind <= 12) {
                s = box.ack(tx, token, fence);
                if (ours) { expected.drop(token); }
            } else if (kind == 13) {
                s = box.release(tx, token, fence, at(time));
                if (ours) {
                    e->state = model::waiting;
                    e->time = time;
                    ++e->attempts;
                }
            } else if (kind == 14) {
                s = box.bury(tx, token, fence, errc::rejected, view(payload));
                if (ours) {
                    e->reason = errc::rejected;
                    e->verdict = payload;
                    auto const place = std::find_if(expected.dead.begin(), expected.dead.end(),
                                                    [&](model::entry const& d) { return d.token > token; });
                    expected.dead.insert(place, *e);
                    expected.drop(token);
                }
            } else {
                s = box.set_payload(tx, token, fence, view(payload));
                if (ours) { e->payload = payload; }
            }
            REQUIRE(code(s) == (ours ? errc{} : errc::claim_lost));
        } else if (kind < 18) {
            bool const revive = random.below(3) != 0;
            std::uint64_t const token = expected.dead.empty() || random.below(5) == 0
                                            ? pick_token()
                                            : expected.dead[random.below(expected.dead.size())].token;
            auto const d = std::find_if(expected.dead.begin(), expected.dead.end(),
                                        [&](model::entry const& e) { return e.token == token; });
            auto const s = revive ? box.revive(tx, token, at(now)) : box.discard(tx, token);
            REQUIRE(code(s) == (d == expected.dead.end() ? errc::not_found : errc{}));
            if (d == expected.dead.end()) { return; }
            model::entry e = *d;
            expected.dead.erase(d);
            if (!revive) { return; }
            e.state = model::pending;
            e.entered = now;
            e.deadline = expected.deadline(e.urgency, now);
            e.time = 0;
            e.attempts = 0;
            auto const place = std::find_if(expected.living.begin(), expected.living.end(),
                                            [&](model::entry const& o) { return o.token > token; });
            expected.living.insert(place, e);
        } else {
            auto const lowest = static_cast<priority>(random.below(4));
            auto const due = box.next_due(tx, at(now), lowest);
            auto const should = expected.next_due(now, lowest);
            REQUIRE(due);
            REQUIRE(due->has_value() == should.has_value());
            if (should) { REQUIRE(**due == at(*should)); }
        }
    }
    /// Entries of one record come in order, no more than asked for, and none before one that is still there
    /// and not claimed.
    void check_order(std::vector<outbox_entry> const& given, std::size_t run_max) {
        std::map<std::string, std::vector<std::uint64_t>> runs;
        for (outbox_entry const& e : given) {
            if (!e.record.empty()) { runs[text(e.record)].push_back(e.token); }
        }
        for (auto const& [record, tokens] : runs) {
            REQUIRE(tokens.size() <= run_max);
            REQUIRE(std::is_sorted(tokens.begin(), tokens.end()));
            for (model::entry const& e : expected.living) {
                if (e.record == record && e.token < tokens.back()) { REQUIRE(e.state == model::claimed); }
            }
        }
    }

    template <class Tx>
    void look(Tx& tx) {
        outbox const box(expected.options, prefix);
        std::vector<std::string> keys;
        REQUIRE(sl::scan_prefix(tx, view(prefix), [&](bytes_view k, bytes_view) {
            keys.emplace_back(sl::as_text(k));
            return true;
        }));
        REQUIRE(keys == expected.keys(prefix));

        std::uint64_t const token = pick_token();
        auto const found = box.find(tx, token);
        REQUIRE(found);
        std::optional<outbox_entry> should;
        if (model::entry const* const e = expected.find(token)) { should = expected.seen(*e); }
        for (model::entry const& e : expected.dead) {
            if (e.token == token) { should = expected.seen_dead(e); }
        }
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
            if (!record.empty() && e.record == record) { record_should.push_back(expected.seen(e)); }
        }
        REQUIRE(in_record == record_should);
    }
    template <class Tx>
    void look_at_all(Tx& tx) {
        outbox const box(expected.options, prefix);
        sl::outbox_summary should;
        for (model::entry const& e : expected.living) {
            ++should.count[static_cast<std::size_t>(e.urgency)][static_cast<std::size_t>(expected.seen(e).state)];
            ++should.entries;
            if (!should.oldest || at(e.entered) < *should.oldest) { should.oldest = at(e.entered); }
        }
        should.bytes = expected.bytes_total();
        should.dead = expected.dead.size();
        for (model::entry const& e : expected.dead) { ++should.count[static_cast<std::size_t>(e.urgency)][4]; }
        auto const sum = box.summary(tx);
        REQUIRE(sum);
        REQUIRE(*sum == should);

        std::vector<outbox_entry> letters;
        REQUIRE(box.scan_dead(tx, [&](outbox_entry const& e) {
            letters.push_back(e);
            return true;
        }));
        std::vector<outbox_entry> letters_should;
        for (model::entry const& e : expected.dead) { letters_should.push_back(expected.seen_dead(e)); }
        REQUIRE(letters == letters_should);
    }
};

sl::outbox_options tight() {
    sl::outbox_options o;
    o.entries_max = 14;
    o.bytes_max = 900;
    o.promotions_max = 2;
    o.wait_max = milliseconds{100'000};
    return o;
}
sl::outbox_options hasty() {
    sl::outbox_options o;
    o.patience_important = milliseconds{100};
    o.patience_normal = milliseconds{1000};
    o.patience_background = milliseconds{4000};
    o.entries_max = 25;
    o.promotions_max = 1;
    return o;
}
sl::outbox_options roomy() {
    sl::outbox_options o;
    o.entries_max = 40;
    return o;
}

std::uint64_t put_one(outbox const& box, transaction& tx, std::string const& record, priority p = priority::normal,
                      std::int64_t now = 0, std::string const& payload = "x") {
    auto const token = box.enqueue(tx, {p, view(record), view(payload)}, at(now));
    REQUIRE(token);
    return *token;
}
std::vector<std::uint64_t> tokens_of(sl::result<std::vector<outbox_entry>> const& given) {
    REQUIRE(given);
    std::vector<std::uint64_t> out;
    for (outbox_entry const& e : *given) { out.push_back(e.token); }
    return out;
}
using tokens = std::vector<std::uint64_t>;

}  // namespace

static_assert(sl::valid(sl::outbox_options{}));
static_assert(!sl::valid(sl::outbox_options{.lease = milliseconds{0}}));
static_assert(!sl::valid(sl::outbox_options{.wait_max = milliseconds{0}}));
static_assert(!sl::valid(sl::outbox_options{.promotions_max = 0}));
static_assert(!sl::valid(sl::outbox_options{.patience_normal = milliseconds{-1}}));
static_assert(std::is_copy_assignable_v<outbox> && std::is_nothrow_move_constructible_v<outbox>);

TEST_CASE("outbox: does what a list searched from end to end does, whatever the clock", "[outbox]") {
    sl::outbox_options const all[] = {tight(), hasty(), roomy()};
    std::uint64_t given = 0;
    std::uint64_t refused = 0;
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
        sl::memory_store store;
        sl::memory_storage one(store);
        sl::memory_storage two(store);
        comparison c{{}, generator{seed}, 1'700'000'000'000, seed % 2 == 0 ? "o" : "outbox/"};
        c.expected.options = all[seed % 3];
        for (int i = 0; i < 20'000; ++i) {
            model const before = c.expected;
            auto tx = write(c.random.below(2) == 0 ? one : two);
            c.pass_time();
            c.step(tx);
            c.look(tx);
            if (i % 16 == 0) { c.look_at_all(tx); }
            if (c.random.below(16) == 0) {
                c.expected = before;  // the transaction is left: all of it never was
            } else {
                REQUIRE(tx.commit());
            }
        }
        given += c.claims_given;
        refused += c.refused;
    }
    CHECK(given > 30'000);
    CHECK(refused > 1'000);
}

namespace {

/// Every call of the outbox, each answering only its error: for tests that make something else fail.
constexpr std::size_t call_count = 17;
template <class Tx>
errc call(std::size_t which, outbox const& box, Tx& tx, outbox_entry const& e, std::int64_t now) {
    std::string const payload = "another payload";
    auto const nothing = [](outbox_entry const&) { return true; };
    sl::claim_options what;
    what.entries_max = 3;
    what.record_run_max = 2;
    switch (which) {
        case 0: return code(box.enqueue(tx, {priority::important, e.record, view(payload)}, at(now)));
        case 1: return code(box.amend(tx, e.token, view(payload)));
        case 2: return code(box.withdraw(tx, e.token));
        case 3: return code(box.scan_record(tx, e.record, nothing));
        case 4: return code(box.claim(tx, what, at(now)));
        case 5: return code(box.set_payload(tx, e.token, e.fence, view(payload)));
        case 6: return code(box.ack(tx, e.token, e.fence));
        case 7: return code(box.release(tx, e.token, e.fence, at(now + 5)));
        case 8: return code(box.bury(tx, e.token, e.fence, errc::rejected, view(payload)));
        case 9: return code(box.scan_dead(tx, nothing));
        case 10: return code(box.revive(tx, e.token, at(now)));
        case 11: return code(box.discard(tx, e.token));
        case 12: return code(box.find(tx, e.token));
        case 13: return code(box.summary(tx));
        case 14: {
            sl::outbox_item const items[] = {{priority::normal, e.record, {}}, {}};
            return code(box.enqueue_all(tx, items, at(now)));
        }
        case 15: {
            outbox_entry const entries[] = {e, e};
            return code(box.ack_all(tx, entries));
        }
        default: return code(box.next_due(tx, at(now)));
    }
}

/// A store after some hundred random operations, with something in every state.
comparison populated(sl::memory_storage& store, std::uint64_t seed) {
    comparison c{{}, generator{seed}, 1'700'000'000'000};
    c.expected.options = roomy();
    for (int i = 0; i < 20'000; ++i) {
        auto tx = write(store);
        c.now += 400;
        c.step(tx);
        REQUIRE(tx.commit());
        sl::outbox_summary sum;
        for (model::entry const& e : c.expected.living) {
            ++sum.count[0][static_cast<std::size_t>(c.expected.seen(e).state)];
        }
        auto const& n = sum.count[0];
        if (n[0] > 0 && n[1] > 0 && n[2] > 0 && n[3] > 0 && !c.expected.dead.empty()) { return c; }
    }
    FAIL("no state with everything in it");
    return c;
}
std::vector<outbox_entry> everything(comparison const& c) {
    std::vector<outbox_entry> out;
    for (model::entry const& e : c.expected.living) { out.push_back(c.expected.seen(e)); }
    for (model::entry const& e : c.expected.dead) { out.push_back(c.expected.seen_dead(e)); }
    out.emplace_back();  // and one that isn't there
    return out;
}

}  // namespace

TEST_CASE("outbox: a call that the storage fails says so, and leaves what was once rolled back", "[outbox]") {
    std::uint64_t failures = 0;
    for (std::uint64_t seed = 100; seed < 104; ++seed) {
        sl::memory_storage store;
        comparison const c = populated(store, seed);
        outbox const box(c.expected.options);
        raw_map const old = raw(store);
        // Once with a clock that has passed all, once with one that was set back.
        for (std::int64_t const now : {c.now + 1'000'000, c.now - 90'000'000'000}) {
            for (outbox_entry const& e : everything(c)) {
                for (std::size_t which = 0; which < call_count; ++which) {
                    std::uint64_t calls = 0;
                    {
                        auto tx = write(store);
                        failing counting{tx};
                        static_cast<void>(call(which, box, counting, e, now));
                        calls = counting.calls;
                    }
                    for (std::uint64_t n = 1; n <= calls; ++n) {
                        {
                            auto tx = write(store);
                            failing f{tx, n};
                            REQUIRE(call(which, box, f, e, now) == errc::storage_io);
                            REQUIRE(f.calls == n);
                        }
                        ++failures;
                    }
                }
            }
            REQUIRE(raw(store) == old);
        }
    }
    CHECK(failures > 5'000);
}

TEST_CASE("outbox: a damaged value is an error, never more", "[outbox]") {
    sl::memory_storage store;
    comparison const c = populated(store, 7);
    outbox const box(c.expected.options);
    raw_map const good = raw(store);
    auto const all = everything(c);
    std::map<errc, std::uint64_t> answers;
    auto const try_all = [&](transaction& tx, std::size_t salt) {
        outbox_entry const& e = all[salt % all.size()];
        for (std::size_t which = 0; which < call_count; ++which) {
            errc const answer = call(which, box, tx, e, c.now + 1'000'000);
            ++answers[answer];
            bool const expected = answer == errc{} || answer == errc::corrupt || answer == errc::claim_lost ||
                                  answer == errc::not_found || answer == errc::invalid || answer == errc::limit;
            REQUIRE(expected);
        }
    };
    std::size_t salt = 0;
    for (auto const& [k, v] : good) {
        for (std::size_t size = 0; size < v.size(); ++size) {
            auto tx = write(store);
            REQUIRE(tx.put(view(k), view(v.substr(0, size))));
            try_all(tx, salt++);
        }
        for (std::size_t i = 0; i < v.size(); ++i) {
            for (int const flip : {0x01, 0x80, 0xFF}) {
                auto tx = write(store);
                std::string damaged = v;
                damaged[i] = static_cast<char>(damaged[i] ^ flip);
                REQUIRE(tx.put(view(k), view(damaged)));
                try_all(tx, salt++);
            }
        }
        auto tx = write(store);
        REQUIRE(tx.erase(view(k)));
        try_all(tx, salt++);
        // A key of the same keyspace that no outbox writes.
        REQUIRE(tx.put(view(k.substr(0, 2)), view(v)));
        REQUIRE(tx.put(view(k.substr(0, (std::min)(k.size(), std::size_t{6}))), view(v)));
        try_all(tx, salt++);
    }
    CHECK(answers[errc::corrupt] > 1'000);
    CHECK(answers[errc{}] > 1'000);
    REQUIRE(raw(store) == good);
}

TEST_CASE("outbox: what is damaged is named corrupt", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    {
        auto tx = write(store);
        put_one(box, tx, "a");
        put_one(box, tx, "");
        REQUIRE(tx.commit());
    }
    auto tx = write(store);
    SECTION("counters") {
        REQUIRE(tx.put(view("on"), view("no counters")));
        CHECK(code(box.enqueue(tx, {}, at(0))) == errc::corrupt);
        CHECK(code(box.claim(tx, {}, at(0))) == errc::corrupt);
    }
    SECTION("an entry") {
        REQUIRE(tx.put(view(std::string("or\0\1a\0\0\0\0\0\0\0\1", 13)), view("short")));
        CHECK(code(box.find(tx, 1)) == errc::corrupt);
        CHECK(code(box.withdraw(tx, 1)) == errc::corrupt);
        CHECK(code(box.claim(tx, {}, at(0))) == errc::corrupt);
        CHECK(code(box.summary(tx)) == errc::corrupt);
        CHECK(code(box.scan_record(tx, view("a"), [](outbox_entry const&) { return true; })) == errc::corrupt);
    }
    SECTION("an entry in a state that there isn't, or claimed without a fence") {
        std::string const key("or\0\1a\0\0\0\0\0\0\0\1", 13);
        REQUIRE(tokens_of(box.claim(tx, {}, at(0))).size() == 2);
        auto body = sl::get(tx, view(key));
        REQUIRE((body && body->has_value() && (**body)[0] == std::byte{0x2A}));
        bytes no_state = **body;
        no_state[0] = std::byte{0x2B};
        REQUIRE(tx.put(view(key), no_state));
        CHECK(code(box.find(tx, 1)) == errc::corrupt);
        bytes no_fence = **body;
        std::fill(no_fence.begin() + 17, no_fence.begin() + 25, std::byte{0});
        REQUIRE(tx.put(view(key), no_fence));
        CHECK(code(box.ack(tx, 1, 0)) == errc::corrupt);
    }
    SECTION("a missing entry") {
        REQUIRE(tx.erase(view(std::string("or\0\1a\0\0\0\0\0\0\0\1", 13))));
        CHECK(code(box.find(tx, 1)) == errc::corrupt);
        CHECK(code(box.claim(tx, {}, at(0))) == errc::corrupt);
    }
    SECTION("a dead letter") {
        REQUIRE(tx.put(view(std::string("od\0\0\0\0\0\0\0\1", 10)), view("not a letter at all, is it? no")));
        CHECK(code(box.scan_dead(tx, [](outbox_entry const&) { return true; })) == errc::corrupt);
        CHECK(code(box.revive(tx, 1, at(0))) == errc::corrupt);
        CHECK(box.discard(tx, 1));  // the way out
    }
}

TEST_CASE("outbox: critical entries go first, the rest by deadline", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    std::int64_t const minute = 60'000;
    auto const background = put_one(box, tx, "", priority::background, 0);
    auto const normal = put_one(box, tx, "", priority::normal, 31 * minute);        // due at 61: after background at 60
    auto const important = put_one(box, tx, "", priority::important, 54 * minute);  // due at 59
    auto const critical = put_one(box, tx, "", priority::critical, 58 * minute);
    CHECK(tokens_of(box.claim(tx, {}, at(58 * minute))) == tokens{critical, important, background, normal});
}

TEST_CASE("outbox: one record's entries go one after the other, whatever their classes", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const first = put_one(box, tx, "r", priority::background);
    auto const second = put_one(box, tx, "r", priority::critical);
    auto const other = put_one(box, tx, "s", priority::normal);
    auto given = box.claim(tx, {}, at(0));
    REQUIRE(tokens_of(given) == tokens{other, first});
    REQUIRE(tokens_of(box.claim(tx, {}, at(0))).empty());
    SECTION("acknowledged: the next moves up") {
        REQUIRE(box.ack(tx, first, (*given)[1].fence));
        CHECK(tokens_of(box.claim(tx, {}, at(0))) == tokens{second});
    }
    SECTION("released: the next stays behind") {
        REQUIRE(box.release(tx, first, (*given)[1].fence, at(1000)));
        CHECK(tokens_of(box.claim(tx, {}, at(999))).empty());
        CHECK(**box.next_due(tx, at(999)) == at(1000));
        CHECK(tokens_of(box.claim(tx, {}, at(1000))) == tokens{first});
        CHECK((*box.find(tx, first))->attempts == 1);
    }
    SECTION("buried: the next moves up, and a revived one stands before it again") {
        REQUIRE(box.bury(tx, first, (*given)[1].fence, errc::rejected, view("because")));
        CHECK((*box.find(tx, second))->state == entry_state::ready);
        REQUIRE(box.revive(tx, first, at(5)));
        CHECK((*box.find(tx, second))->state == entry_state::blocked);
        CHECK(tokens_of(box.claim(tx, {}, at(5))) == tokens{first});
        CHECK(code(box.amend(tx, first, view("y"))) == errc::claim_lost);  // its bytes have been seen outside
    }
}

TEST_CASE("outbox: a claim may give a run of one record, in order and in the place of its urgency", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const first = put_one(box, tx, "r", priority::normal, 0);
    auto const second = put_one(box, tx, "r", priority::background, 0);
    auto const third = put_one(box, tx, "r", priority::critical, 0);
    auto const other = put_one(box, tx, "s", priority::normal, 1);
    sl::claim_options what;
    what.record_run_max = 3;
    auto const given = box.claim(tx, what, at(10));
    REQUIRE(tokens_of(given) == tokens{first, other, second, third});
    // The first comes back: the others are out still, and nothing of the record is given a second time.
    REQUIRE(box.release(tx, first, (*given)[0].fence, at(20)));
    CHECK(tokens_of(box.claim(tx, what, at(20))) == tokens{first});
    REQUIRE(box.release(tx, third, (*given)[3].fence, at(20)));
    CHECK((*box.find(tx, third))->state == entry_state::blocked);
}

TEST_CASE("outbox: a lease that ends lets another claim, and its holder is told", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const token = put_one(box, tx, "r");
    auto const one = box.claim(tx, {}, at(0));
    REQUIRE(tokens_of(one) == tokens{token});
    CHECK((*one)[0].not_before == at(60'000));
    CHECK(**box.next_due(tx, at(1)) == at(60'000));
    CHECK(tokens_of(box.claim(tx, {}, at(59'999))).empty());
    auto const two = box.claim(tx, {}, at(60'000));
    REQUIRE(tokens_of(two) == tokens{token});
    CHECK((*two)[0].fence > (*one)[0].fence);
    CHECK((*two)[0].attempts == 1);
    for (auto const& late :
         {box.ack(tx, token, (*one)[0].fence), box.release(tx, token, (*one)[0].fence, at(0)),
          box.set_payload(tx, token, (*one)[0].fence, {}), box.bury(tx, token, (*one)[0].fence, errc::rejected, {})}) {
        CHECK(code(late) == errc::claim_lost);
    }
    REQUIRE(box.ack(tx, token, (*two)[0].fence));
    CHECK(code(box.ack(tx, token, (*two)[0].fence)) == errc::claim_lost);
    CHECK_FALSE(box.next_due(tx, at(0))->has_value());
}

TEST_CASE("outbox: a claim without end holds until it is answered", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const token = put_one(box, tx, "r");
    sl::claim_options what;
    what.lease = (milliseconds::max)();
    auto const given = box.claim(tx, what, at(0));
    REQUIRE(tokens_of(given) == tokens{token});
    CHECK((*given)[0].not_before == (wall_time::max)());
    CHECK_FALSE(box.next_due(tx, at(0))->has_value());
    CHECK(tokens_of(box.claim(tx, {}, (wall_time::max)())).empty());
    REQUIRE(box.ack(tx, token, (*given)[0].fence));
}

TEST_CASE("outbox: a lease longer than wait_max is cut to it, or a claim would take it for one of another clock",
          "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const token = put_one(box, tx, "r");
    sl::claim_options what;
    what.lease = milliseconds{std::chrono::hours{48}};
    auto const given = box.claim(tx, what, at(0));
    REQUIRE(tokens_of(given) == tokens{token});
    CHECK((*given)[0].not_before == at(86'400'000));
    CHECK(tokens_of(box.claim(tx, {}, at(1))).empty());
    REQUIRE(box.ack(tx, token, (*given)[0].fence));
}

TEST_CASE("outbox: a clock that is set back keeps nothing for ever", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    std::int64_t const day = 86'400'000;
    std::int64_t const future = 10'000 * day;
    auto const token = put_one(box, tx, "r", priority::normal, future);
    auto given = box.claim(tx, {}, at(future));
    REQUIRE(tokens_of(given) == tokens{token});
    SECTION("a wait") {
        REQUIRE(box.release(tx, token, (*given)[0].fence, at(future + 1000)));
        CHECK(**box.next_due(tx, at(future)) == at(future + 1000));
        CHECK(**box.next_due(tx, at(0)) == at(0));
        CHECK(tokens_of(box.claim(tx, {}, at(0))) == tokens{token});
    }
    SECTION("a wait of no more than wait_max is believed") {
        REQUIRE(box.release(tx, token, (*given)[0].fence, at(day)));
        CHECK(tokens_of(box.claim(tx, {}, at(0))).empty());
        CHECK(**box.next_due(tx, at(0)) == at(day));
    }
    SECTION("a lease") { CHECK(tokens_of(box.claim(tx, {}, at(0))) == tokens{token}); }
    SECTION("a deadline: an entry of the future is not behind all that come") {
        auto const odd = put_one(box, tx, "s", priority::normal, future);
        auto const later = put_one(box, tx, "t", priority::background, 0);
        auto const critical = put_one(box, tx, "u", priority::critical, future);
        auto const sooner = put_one(box, tx, "v", priority::critical, 0);
        sl::claim_options what;
        what.entries_max = 2;
        given = box.claim(tx, what, at(0));
        CHECK(tokens_of(given) == tokens{critical, sooner});
        for (outbox_entry const& e : *given) { REQUIRE(box.ack(tx, e.token, e.fence)); }
        what.entries_max = 3;
        // The claim of the future was also let go; it waited under the same deadline.
        CHECK(tokens_of(box.claim(tx, what, at(1))) == tokens{token, odd, later});
    }
}

TEST_CASE("outbox: times at the ends of the calendar saturate", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const last = box.enqueue(tx, {}, (wall_time::max)());
    auto const first = box.enqueue(tx, {}, (wall_time::min)());
    REQUIRE((last && first));
    for (wall_time const now : {(wall_time::min)(), (wall_time::max)()}) {
        auto const given = box.claim(tx, {}, now);
        REQUIRE(tokens_of(given).size() == 2);
        for (outbox_entry const& e : *given) { REQUIRE(box.release(tx, e.token, e.fence, (wall_time::max)())); }
    }
    CHECK(tokens_of(box.claim(tx, {}, at(0))).size() == 2);
}

TEST_CASE("outbox: a deadline past the end of the calendar is late, not early", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const last = box.enqueue(tx, {.urgency = priority::background}, (wall_time::max)());
    REQUIRE(last);
    auto const normal = put_one(box, tx, "", priority::normal, 0);
    CHECK(tokens_of(box.claim(tx, {}, at(0))) == tokens{normal, *last});
}

TEST_CASE("outbox: work is bounded by what is asked for, not by what waits", "[outbox]") {
    sl::memory_storage store;
    sl::outbox_options options;
    options.promotions_max = 8;
    outbox const box(options);
    auto tx = write(store);
    sl::claim_options all;
    all.entries_max = 2000;
    for (int i = 0; i < 2000; ++i) { put_one(box, tx, "r" + std::to_string(i)); }
    auto const given = box.claim(tx, all, at(0));
    REQUIRE(given->size() == 2000);
    for (outbox_entry const& e : *given) { REQUIRE(box.release(tx, e.token, e.fence, at(1000 + e.attempts))); }
    auto const sendable = put_one(box, tx, "new");
    sl::claim_options one;
    one.entries_max = 1;
    {
        failing counting{tx};
        CHECK(tokens_of(box.claim(counting, one, at(10))) == tokens{sendable});
        CHECK(counting.calls < 16);
    }
    // All are due at once: a call ends some waits, and says that there are more.
    failing counting{tx};
    REQUIRE(tokens_of(box.claim(counting, all, at(2000))).size() == 8);
    CHECK(counting.calls < 80);
    CHECK(**box.next_due(tx, at(2000)) == at(2000));
    std::size_t more = 0;
    for (int i = 0; i < 300; ++i) { more += tokens_of(box.claim(tx, all, at(2000))).size(); }
    CHECK(more == 1992);
}

TEST_CASE("outbox: limits refuse before anything is written", "[outbox]") {
    sl::memory_storage store;
    sl::outbox_options options;
    options.entries_max = 2;
    options.bytes_max = 10;
    outbox const box(options);
    auto tx = write(store);
    CHECK(code(box.enqueue(tx, {priority::normal, view(std::string(401, 'r')), {}}, at(0))) == errc::invalid);
    CHECK(code(box.enqueue(tx, {priority::normal, view("record"), view("12345")}, at(0))) == errc::limit);
    auto const one = put_one(box, tx, "r", priority::normal, 0, "1234");
    CHECK(code(box.amend(tx, one, view("1234567890"))) == errc::limit);
    REQUIRE(box.amend(tx, one, view("123456789")));
    CHECK(code(box.enqueue(tx, {priority::normal, {}, view("1")}, at(0))) == errc::limit);
    REQUIRE(box.amend(tx, one, view("1")));
    put_one(box, tx, "", priority::normal, 0, "");
    CHECK(code(box.enqueue(tx, {}, at(0))) == errc::limit);
    CHECK(box.summary(tx)->bytes == 2);
    // A dead letter is not a living entry; and coming back is not refused.
    auto const given = box.claim(tx, {}, at(0));
    REQUIRE(box.bury(tx, one, (*given)[0].fence, errc::rejected, {}));
    put_one(box, tx, "");
    REQUIRE(box.revive(tx, one, at(0)));
    CHECK(box.summary(tx)->entries == 3);
}

TEST_CASE("outbox: a claim keeps to its bytes, but gives one entry at least", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    for (int i = 0; i < 5; ++i) { put_one(box, tx, "", priority::normal, 0, std::string(40, 'p')); }
    sl::claim_options what;
    what.bytes_max = 100;
    CHECK(tokens_of(box.claim(tx, what, at(0))) == tokens{1, 2});
    what.bytes_max = 0;
    CHECK(tokens_of(box.claim(tx, what, at(0))) == tokens{3});
}

TEST_CASE("outbox: two of them under two prefixes don't meet", "[outbox]") {
    sl::memory_storage store;
    outbox const a({}, "a");
    outbox const b({}, "b");
    auto tx = write(store);
    put_one(a, tx, "r");
    CHECK_FALSE(b.next_due(tx, at(0))->has_value());
    put_one(b, tx, "r");
    CHECK(tokens_of(a.claim(tx, {}, at(0))) == tokens{1});
    CHECK(tokens_of(b.claim(tx, {}, at(0))) == tokens{1});
}

TEST_CASE("outbox: storage beside record and payload stays under 64 bytes an entry", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto const size = [&] {
        std::size_t n = 0;
        for (auto const& [k, v] : raw(store)) { n += k.size() + v.size(); }
        return n;
    };
    auto const grow = [&](std::string const& record) {
        std::size_t const before = size();
        auto tx = write(store);
        put_one(box, tx, record, priority::normal, 0, std::string(100, 'p'));
        REQUIRE(tx.commit());
        return size() - before - 100;
    };
    grow("first");  // and the counters
    CHECK(grow("") == 47);
    CHECK(grow("record") == 60 + 3 * 6);
    CHECK(grow("record") == 40 + 2 * 6);  // blocked: not in the order of claims
}

TEST_CASE("outbox: the page's example", "[outbox]") {
    using namespace syncline;
    memory_storage store;
    wall_time now = at(1'700'000'000'000);
    std::vector<std::string> sent;
    auto const send = [&](outbox_entry const& e) {
        sent.push_back(text(e.payload));
        return true;
    };
    // region: write
    outbox const box({.entries_max = 10'000});  // cheap: only its options

    auto const save = [&](auto& tx) -> status {
        // Your own rows go through the same transaction; then what has to be sent about them:
        auto const token = box.enqueue(
            tx, {.urgency = priority::important, .record = as_bytes("guest/7"), .payload = as_bytes("table 4")}, now);
        return token ? tx.commit() : status{token.error()};
    };
    // endregion: write
    {
        auto tx = write(store);
        REQUIRE(save(tx));
    }
    // region: send
    auto const take = [&](auto& tx) -> result<std::vector<outbox_entry>> {
        auto claimed = box.claim(tx, {.entries_max = 50}, now);
        if (!claimed) { return claimed; }
        if (auto const s = tx.commit(); !s) { return s.error(); }
        return claimed;  // and now send them, with no transaction open
    };
    auto const answer = [&](auto& tx, outbox_entry const& e, bool arrived) -> status {
        auto const s =
            arrived ? box.ack(tx, e.token, e.fence) : box.release(tx, e.token, e.fence, now + std::chrono::seconds{30});
        // Our lease had ended and another took the entry over: it is theirs.
        if (!s && s.error() != errc::claim_lost) { return s; }
        return tx.commit();
    };
    // endregion: send
    auto claiming = write(store);
    auto const batch = take(claiming);
    REQUIRE(batch);
    for (outbox_entry const& e : *batch) {
        auto tx = write(store);
        REQUIRE(answer(tx, e, send(e)));
    }
    CHECK(sent == std::vector<std::string>{"table 4"});
    // region: wait
    auto const when = [&](auto& tx) { return box.next_due(tx, now); };  // nothing: not before something is enqueued
    // endregion: wait
    auto tx = write(store);
    CHECK_FALSE(when(tx)->has_value());
}
