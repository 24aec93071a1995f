// SPDX-License-Identifier: BSL-1.0

/// The outbox as a list of operations against a vector that is searched from end to end; and over a store whose values
/// somebody has damaged, where every operation has to answer, in a number of steps that the store's size bounds.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <syncline/outbox/outbox.hpp>
#include <syncline/storage/memory.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/damage.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;
using fuzz::choices;

wall_time at(std::int64_t ms) { return wall_time{milliseconds{ms}}; }
constexpr std::int64_t never = (std::numeric_limits<std::int64_t>::max)();

// --- the naive outbox -------------------------------------------------------------------------------------------------

struct naive_outbox {
    struct entry {
        outbox_entry seen{};        // its state is told by `held`, `waits` and its place
        std::int64_t deadline = 0;  // while it lives
        bool held = false;          // claimed
        bool waits = false;         // not before seen.not_before
    };
    outbox_options options{};
    std::vector<entry> living{};           // in order of token
    std::vector<entry> dead{};             // so too
    std::vector<std::uint64_t> tokens{};   // that were ever given
    std::uint64_t last_fence = 0;          // given
    std::array<std::uint64_t, 4> marks{};  // by class: what is older was claimed once, and queues apart from then on

    entry* find(std::uint64_t token) {
        for (entry& e : living) {
            if (e.seen.token == token) { return &e; }
        }
        return nullptr;
    }
    bool head(entry const& e) const {
        for (entry const& o : living) {
            if (o.seen.record == e.seen.record) { return e.seen.record.empty() || o.seen.token == e.seen.token; }
        }
        return true;
    }
    outbox_entry view(entry const& e) const {
        outbox_entry out = e.seen;
        out.state = e.held     ? entry_state::claimed
                    : !head(e) ? entry_state::blocked
                    : e.waits  ? entry_state::waiting
                               : entry_state::ready;
        return out;
    }
    std::uint64_t size() const {
        std::uint64_t n = 0;
        for (entry const& e : living) { n += e.seen.record.size() + e.seen.payload.size(); }
        return n;
    }
    std::int64_t deadline(priority p, std::int64_t now) const {
        milliseconds const all[] = {milliseconds{0}, options.patience_important, options.patience_normal,
                                    options.patience_background};
        return now + all[static_cast<std::size_t>(p)].count();
    }

    bool takes(outbox_item const& item) const {
        std::uint64_t const more = item.record.size() + item.payload.size();
        return (options.entries_max == 0 || living.size() < options.entries_max) &&
               (options.bytes_max == 0 || size() + more <= options.bytes_max);
    }
    void enqueue(std::uint64_t token, outbox_item const& item, std::int64_t now) {
        tokens.push_back(token);
        entry e;
        e.seen.token = token;
        e.seen.urgency = item.urgency;
        e.seen.served_as = item.urgency;
        e.seen.entered = at(now);
        e.seen.record = to_bytes(item.record);
        e.seen.payload = to_bytes(item.payload);
        e.deadline = deadline(item.urgency, now);
        living.push_back(e);
    }
    errc amend(std::uint64_t token, bytes_view payload) {
        entry* const e = find(token);
        if (e == nullptr) { return errc::not_found; }
        if (e->seen.fence != 0) { return errc::claim_lost; }
        bool const grows = payload.size() > e->seen.payload.size();
        std::uint64_t const then = size() - e->seen.payload.size() + payload.size();
        if (grows && options.bytes_max != 0 && then > options.bytes_max) { return errc::limit; }
        e->seen.payload = to_bytes(payload);
        return {};
    }
    errc withdraw(std::uint64_t token) {
        entry const* const e = find(token);
        if (e == nullptr) { return errc::not_found; }
        if (e->seen.fence != 0) { return errc::claim_lost; }
        drop(token);
        return {};
    }
    bool due(entry const& e, std::int64_t now) const {
        std::int64_t const time = e.seen.not_before.time_since_epoch().count();
        if (time == never && e.held) { return false; }
        return time <= now || time > now + options.wait_max.count();
    }
    void promote(std::int64_t now) {
        for (entry& e : living) {
            if (!(e.held || (e.waits && head(e))) || !due(e, now)) { continue; }
            e.seen.attempts += e.held ? 1 : 0;
            e.held = e.waits = false;
            e.seen.not_before = {};
        }
    }
    std::vector<outbox_entry> claim(claim_options const& what, std::int64_t now) {
        std::vector<outbox_entry> out;
        if (what.entries_max == 0) { return out; }
        promote(now);
        struct place {
            int band;
            std::int64_t deadline;
            std::uint64_t token;
            std::size_t run;
        };
        auto const place_of = [](entry const& e, std::size_t run) {
            if (e.seen.urgency == priority::critical) { return place{0, 0, e.seen.token, run}; }  // by age alone
            return place{1, e.deadline, e.seen.token, run};
        };
        std::vector<place> ready;
        for (entry const& e : living) {
            if (!e.held && !e.waits && head(e)) { ready.push_back(place_of(e, 0)); }
        }
        milliseconds const lease = what.lease.value_or(options.lease);
        std::int64_t const end =
            lease == (milliseconds::max)() ? never : now + (std::min)(lease, options.wait_max).count();
        std::size_t given = 0;
        std::vector<std::uint64_t> taken;
        while (out.size() < what.entries_max) {
            auto best = ready.end();
            for (auto i = ready.begin(); i != ready.end(); ++i) {
                priority const urgency = find(i->token)->seen.urgency;
                // A class is a queue in order of token, a revived entry's too; those behind its first wait.
                std::uint64_t const mark = marks[static_cast<std::size_t>(urgency)];
                bool const behind = std::any_of(ready.begin(), ready.end(), [&](place const& o) {
                    return i->run == 0 && o.run == 0 && o.token < i->token && find(o.token)->seen.urgency == urgency &&
                           (o.token < mark) == (i->token < mark);
                });
                bool const first = best == ready.end() || std::tie(i->band, i->deadline, i->token) <
                                                              std::tie(best->band, best->deadline, best->token);
                if (urgency <= what.lowest && !behind && first) { best = i; }
            }
            if (best == ready.end()) { break; }
            place const p = *best;
            ready.erase(best);
            entry& e = *find(p.token);
            if (!out.empty() && given + e.seen.payload.size() > what.bytes_max) { break; }
            given += e.seen.payload.size();
            std::uint64_t const mark = marks[static_cast<std::size_t>(e.seen.urgency)];
            if (p.run == 0 && p.token >= mark) { taken.push_back(p.token); }
            e.held = true;
            e.waits = false;
            e.seen.not_before = at(end);
            out.push_back(view(e));
            if (e.seen.record.empty() || p.run + 1 >= what.record_run_max) { continue; }
            for (entry const& o : living) {
                if (o.seen.record != e.seen.record || o.seen.token <= e.seen.token) { continue; }
                if (!o.held && (!o.waits || o.seen.not_before <= at(now))) {
                    place next = place_of(o, p.run + 1);
                    next.band = (std::max)(next.band, p.band);
                    next.deadline = (std::max)(next.deadline, p.deadline);
                    ready.push_back(next);
                }
                break;
            }
        }
        for (std::uint64_t const t : taken) { marks[static_cast<std::size_t>(find(t)->seen.urgency)] = t + 1; }
        return out;
    }
    entry* ours(std::uint64_t token, std::uint64_t fence) {
        entry* const e = find(token);
        return e != nullptr && e->held && e->seen.fence == fence ? e : nullptr;
    }
    void drop(std::uint64_t token) {
        std::erase_if(living, [&](entry const& e) { return e.seen.token == token; });
        if (living.empty()) { marks = {}; }
    }
    static void insert(std::vector<entry>& into, entry const& e) {
        into.push_back(e);
        std::sort(into.begin(), into.end(), [](entry const& a, entry const& b) { return a.seen.token < b.seen.token; });
    }
    void release(entry& e, std::int64_t not_before) {
        e.held = false;
        e.waits = true;
        e.seen.not_before = at(not_before);
        ++e.seen.attempts;
    }
    void bury(entry const& e, errc reason, bytes_view verdict) {
        entry letter = e;
        letter.seen.state = entry_state::dead;
        letter.seen.not_before = {};
        letter.seen.reason = reason;
        letter.seen.verdict = to_bytes(verdict);
        drop(e.seen.token);
        insert(dead, letter);
    }
    bool revive(std::uint64_t token, std::int64_t now) {
        for (entry const& letter : dead) {
            if (letter.seen.token != token) { continue; }
            entry e;
            e.seen = letter.seen;
            e.seen.entered = at(now);
            e.seen.attempts = 0;
            e.seen.reason = {};
            e.seen.verdict.clear();
            e.deadline = deadline(e.seen.urgency, now);
            discard(token);
            insert(living, e);
            return true;
        }
        return false;
    }
    bool discard(std::uint64_t token) {
        return std::erase_if(dead, [&](entry const& e) { return e.seen.token == token; }) != 0;
    }
    std::optional<std::int64_t> next_due(std::int64_t now, priority lowest) const {
        std::optional<std::int64_t> out;
        for (entry const& e : living) {
            std::optional<std::int64_t> mine;
            std::int64_t const time = e.seen.not_before.time_since_epoch().count();
            if (e.held || (e.waits && head(e))) {
                if (!(e.held && time == never)) { mine = due(e, now) ? now : time; }
            } else if (head(e) && !e.waits && e.seen.urgency <= lowest) {
                mine = now;
            }
            if (mine && (!out || *mine < *out)) { out = mine; }
        }
        return out;
    }
};

// --- what is done -----------------------------------------------------------------------------------------------------

/// Counts calls and rows: what an operation costs.
struct counted {
    memory_storage::transaction& tx;
    std::uint64_t steps = 0;

    result<bool> get(bytes_view k, bytes& out) {
        ++steps;
        return tx.get(k, out);
    }
    status put(bytes_view k, bytes_view v) {
        ++steps;
        return tx.put(k, v);
    }
    status erase(bytes_view k) {
        ++steps;
        return tx.erase(k);
    }
    status scan(key_range r, scan_visitor visit) {
        ++steps;
        return tx.scan(r, [&](bytes_view k, bytes_view v) {
            ++steps;
            return visit(k, v);
        });
    }
};

struct run {
    explicit run(choices& c) : in(c) {
        if (in.one_in(4)) { model.options.entries_max = 1 + in.below(6); }
        if (in.one_in(4)) { model.options.bytes_max = 1 + in.below(100); }
    }
    choices& in;
    memory_storage store{};
    naive_outbox model{};
    bool damaged = false;  // from then on only that it answers counts
    std::int64_t now = 1'700'000'000'000;

    /// One operation in a transaction of its own, which is rolled back when it failed: a failed commit, so to say.
    template <class F>
    auto operation(F&& f) {
        std::size_t const keys = store.store().count();
        auto tx = store.begin(access_mode::write);
        SYNCLINE_FUZZ_REQUIRE(tx);
        counted t{*tx};
        auto out = f(t);
        SYNCLINE_FUZZ_REQUIRE(t.steps <= 200 + 40 * keys);
        if (out) { SYNCLINE_FUZZ_REQUIRE(tx->commit()); }
        return out;
    }
    /// The errors must be the same, or, of a damaged store, any.
    template <class R>
    bool agree(R const& got, errc expected) {
        if (damaged) { return false; }
        SYNCLINE_FUZZ_REQUIRE(got.has_value() ? expected == errc{} : got.error() == expected);
        return true;
    }
    outbox box() const { return outbox(model.options); }

    bytes any_record() {
        static std::string const records[] = {"", "a", "ab", std::string("a\0\1", 3), "b", std::string(400, 'r')};
        return to_bytes(as_bytes(in.of(records)));
    }
    /// One that was given, or its neighbour.
    std::uint64_t any_token() {
        if (model.tokens.empty() || in.one_in(8)) { return in.below(3); }
        std::size_t const count = model.tokens.size();
        std::uint64_t const token = model.tokens[count - 1 - static_cast<std::size_t>(in.below(count))];
        return in.one_in(16) ? token + 1 : token;
    }
    std::uint64_t any_fence(std::uint64_t token) {
        auto const* const e = model.find(token);
        return (e == nullptr ? 1 : e->seen.fence) - (in.one_in(8) ? 1 : 0);
    }

    void step() {
        now += static_cast<std::int64_t>(in.one_in(8) ? in.below(90'000'000) : in.below(256) * 16);
        switch (in.below(damaged ? 16 : 15)) {
            case 0:
            case 1:
            case 2: {
                bytes const record = any_record();
                bytes const payload = to_bytes(in.some(40));
                outbox_item const item{static_cast<priority>(in.below(4)), record, payload};
                auto const token = operation([&](auto& tx) { return box().enqueue(tx, item, at(now)); });
                bool const room = model.takes(item);
                if (damaged) { break; }
                agree(token, room ? errc{} : errc::limit);
                if (!room) { break; }
                SYNCLINE_FUZZ_REQUIRE(model.tokens.empty() || *token > model.tokens.back());
                model.enqueue(*token, item, now);
                break;
            }
            case 3: {
                std::uint64_t const token = any_token();
                bytes const payload = to_bytes(in.some(40));
                agree(operation([&](auto& tx) { return box().amend(tx, token, payload); }),
                      model.amend(token, payload));
                break;
            }
            case 4: {
                std::uint64_t const token = any_token();
                agree(operation([&](auto& tx) { return box().withdraw(tx, token); }), model.withdraw(token));
                break;
            }
            case 5:
            case 6:
            case 7: {
                claim_options what;
                what.entries_max = static_cast<std::size_t>(in.below(6));
                if (in.one_in(4)) { what.bytes_max = in.below(60); }
                if (in.one_in(4)) { what.lowest = static_cast<priority>(in.below(4)); }
                what.record_run_max = 1 + in.below(3);
                if (in.one_in(3)) { what.lease = milliseconds{in.below(256) * 1000}; }
                if (in.one_in(4)) { what.lease = (milliseconds::max)(); }
                auto const given = operation([&](auto& tx) { return box().claim(tx, what, at(now)); });
                if (!agree(given, {})) { break; }
                std::uint64_t const before = model.last_fence;
                auto expected = model.claim(what, now);
                SYNCLINE_FUZZ_REQUIRE(given->size() == expected.size());
                for (std::size_t i = 0; i < expected.size(); ++i) {
                    // Greater than those of all calls before; entries of one call may share theirs.
                    std::uint64_t const fence = (*given)[i].fence;
                    SYNCLINE_FUZZ_REQUIRE(fence > before && fence >= model.last_fence);
                    model.find(expected[i].token)->seen.fence = expected[i].fence = model.last_fence = fence;
                }
                SYNCLINE_FUZZ_REQUIRE(*given == expected);
                break;
            }
            case 8:
            case 9:
            case 10:
            case 11: {
                std::uint64_t const what = in.below(4);
                std::uint64_t const token = any_token();
                std::uint64_t const fence = any_fence(token);
                bytes const data = to_bytes(in.some(20));
                std::int64_t const until =
                    now + static_cast<std::int64_t>(in.one_in(6) ? 200'000'000 : in.below(256) * 64);
                auto const s = operation([&](auto& tx) {
                    switch (what) {
                        case 0: return box().ack(tx, token, fence);
                        case 1: return box().release(tx, token, fence, at(until));
                        case 2: return box().bury(tx, token, fence, errc::rejected, data);
                        default: return box().set_payload(tx, token, fence, data);
                    }
                });
                auto* const e = model.ours(token, fence);
                agree(s, e != nullptr ? errc{} : errc::claim_lost);
                if (e == nullptr) { break; }
                switch (what) {
                    case 0: model.drop(token); break;
                    case 1: model.release(*e, until); break;
                    case 2: model.bury(naive_outbox::entry(*e), errc::rejected, data); break;
                    default: e->seen.payload = data; break;
                }
                break;
            }
            case 12: {
                std::uint64_t const token = any_token();
                bool const again = in.below(2) == 0;
                auto const s = operation(
                    [&](auto& tx) { return again ? box().revive(tx, token, at(now)) : box().discard(tx, token); });
                bool const there = again ? model.revive(token, now) : model.discard(token);
                agree(s, there ? errc{} : errc::not_found);
                break;
            }
            case 13: {
                auto const lowest = static_cast<priority>(in.below(4));
                auto const due = operation([&](auto& tx) { return box().next_due(tx, at(now), lowest); });
                auto const expected = model.next_due(now, lowest);
                if (!agree(due, {})) { break; }
                SYNCLINE_FUZZ_REQUIRE(due->has_value() == expected.has_value());
                if (expected) { SYNCLINE_FUZZ_REQUIRE(**due == at(*expected)); }
                break;
            }
            case 14: compare(); break;
            default: fuzz::damage(in, store, "o"); break;
        }
    }

    /// All that can be seen.
    void compare() {
        bytes const record = any_record();
        std::vector<outbox_entry> seen;
        auto const collect = [&](outbox_entry const& e) {
            seen.push_back(e);
            return seen.size() < 1000;
        };
        auto const dead = operation([&](auto& tx) { return box().scan_dead(tx, collect); });
        std::vector<outbox_entry> expected;
        for (auto const& e : model.dead) { expected.push_back(e.seen); }
        if (agree(dead, {})) { SYNCLINE_FUZZ_REQUIRE(seen == expected); }

        seen.clear();
        expected.clear();
        auto const ordered = operation([&](auto& tx) { return box().scan_record(tx, record, collect); });
        for (auto const& e : model.living) {
            if (e.seen.record == record) { expected.push_back(model.view(e)); }
        }
        bool const asked = agree(ordered, record.empty() ? errc::invalid : errc{});
        if (asked && !record.empty()) { SYNCLINE_FUZZ_REQUIRE(seen == expected); }

        for (std::uint64_t const token : model.tokens) {
            auto const found = operation([&](auto& tx) { return box().find(tx, token); });
            if (!agree(found, {})) { continue; }
            auto const* const e = model.find(token);
            auto const letter = std::find_if(model.dead.begin(), model.dead.end(),
                                             [&](auto const& d) { return d.seen.token == token; });
            bool const there = e != nullptr || letter != model.dead.end();
            SYNCLINE_FUZZ_REQUIRE(found->has_value() == there);
            if (there) { SYNCLINE_FUZZ_REQUIRE(**found == (e != nullptr ? model.view(*e) : letter->seen)); }
        }

        auto const sum = operation([&](auto& tx) { return box().summary(tx); });
        if (!agree(sum, {})) { return; }
        SYNCLINE_FUZZ_REQUIRE(sum->entries == model.living.size() && sum->bytes == model.size());
        SYNCLINE_FUZZ_REQUIRE(sum->dead == model.dead.size());
        std::optional<wall_time> oldest;
        for (auto const& e : model.living) {
            if (!oldest || e.seen.entered < *oldest) { oldest = e.seen.entered; }
        }
        SYNCLINE_FUZZ_REQUIRE(sum->oldest == oldest);
    }
};

int body(std::uint8_t const* data, std::size_t size) {
    choices in(data, (std::min)(size, std::size_t{600}));
    run r(in);
    bool const damages = in.one_in(3);
    std::uint64_t const sound = damages ? in.below(30) : 0;
    for (std::uint64_t steps = 0; !in.done(); ++steps) {
        r.damaged = damages && steps >= sound;
        r.step();
    }
    r.compare();
    return 0;
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 10, .length = 300)
