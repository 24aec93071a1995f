// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The outbox alone in a simulated world: workers, producers, wrong clocks and a bad disk, judged by a naive list.

#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/retry/backoff.hpp>
#include <syncline/testing/faulty_storage.hpp>
#include <syncline/testing/simulated_disk.hpp>
#include <syncline/testing/simulator.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What an outbox promises, by the names under which a breach is reported.
struct outbox_promise {
    static constexpr char const* answers = "answers";              ///< every call answers as a naive list does
    static constexpr char const* contents = "contents";            ///< and leaves behind what that holds
    static constexpr char const* claim_order = "claim_order";      ///< a claim gives what is due, most urgent first
    static constexpr char const* rising_fences = "rising_fences";  ///< a later claim has a greater fence
    static constexpr char const* fresh_tokens = "fresh_tokens";    ///< tokens rise, none is given twice
    static constexpr char const* limits = "limits";              ///< refused when, and only when, it would be too much
    static constexpr char const* next_due = "next_due";          ///< the earliest time at which a claim may give
    static constexpr char const* atomicity = "crash_atomicity";  ///< after a crash a state that there was
    static constexpr char const* host_rows = "together_with_host";   ///< an entry lives and dies with the host's row
    static constexpr char const* record_order = "record_order";      ///< first effects of a record in order of entry
    static constexpr char const* nothing_left = "nothing_left";      ///< an empty outbox is its counters
    static constexpr char const* no_starvation = "no_starvation";    ///< the least urgent goes when its patience ends
    static constexpr char const* liveness = "liveness";              ///< healed, everything goes in bounded time
    static constexpr char const* storage_errors = "storage_errors";  ///< no error where the storage had none
};

/// Order keys of the simulated entries: beginnings of each other, bytes of a length inside, the longest, and two of one
/// hash in the outbox's index.
[[nodiscard]] inline bytes_view naive_record(std::size_t n) noexcept {
    static constexpr std::string_view longest =
        "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr"
        "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr"
        "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr"
        "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr";
    static constexpr std::array<std::string_view, 8> all{
        "a", "ab", std::string_view{"a\0\x01", 3}, "record/39798", "record/21701", "b", longest, "c"};
    return as_bytes(all[n]);
}
inline constexpr std::size_t naive_record_count = 8;

/// A payload, said by two numbers.
struct naive_payload {
    std::uint64_t seed = 0;
    std::uint32_t size = 0;

    [[nodiscard]] bytes made() const {
        bytes out;
        each([&](std::byte b) {
            out.push_back(b);
            return true;
        });
        return out;
    }
    [[nodiscard]] bool is(bytes_view b) const noexcept {
        std::size_t at = 0;
        return b.size() == size && each([&](std::byte one) { return b[at++] == one; });
    }

private:
    template <class F>
    bool each(F&& visit) const {
        splitmix64 words(seed);
        std::uint64_t word = 0;
        for (std::uint32_t i = 0; i < size; ++i) {
            word = i % 8 == 0 ? words() : word >> 8;
            if (!visit(static_cast<std::byte>(word & 0xFFU))) { return false; }
        }
        return true;
    }
};

/// An entry of a naive outbox.
struct naive_entry {
    enum class phase : std::uint8_t { pending, waiting, claimed };
    std::uint64_t token = 0;
    std::uint64_t fence = 0;
    priority urgency = priority::normal;
    priority served_as = priority::normal;
    std::uint8_t lane = 0;
    phase state = phase::pending;
    bool held = false;  ///< as `naive_outbox::mark` found it
    std::uint8_t record_count = 0;
    std::array<std::uint8_t, 4> records{};
    std::uint32_t mask = 0;  ///< a bit for each record
    std::int64_t entered = 0;
    std::int64_t time = 0;
    std::uint32_t attempts = 0;
    std::uint32_t batch_max = 0;
    std::optional<std::int64_t> patience{};
    std::optional<std::int64_t> expires{};
    std::vector<std::uint64_t> after{};
    naive_payload payload{};
    errc reason{};
    char const* verdict = "";
    std::uint64_t id = 0;   ///< of the host's own row
    std::size_t owner = 0;  ///< the process that claimed it last

    [[nodiscard]] std::uint64_t size() const {
        std::uint64_t n = payload.size;
        for (std::size_t i = 0; i < record_count; ++i) { n += naive_record(records[i]).size(); }
        return n;
    }
    [[nodiscard]] bool ready() const { return state == phase::pending && !held; }
    [[nodiscard]] bool waits() const { return state == phase::waiting && !held; }
    [[nodiscard]] bool leases() const {
        return state == phase::claimed && time != (std::numeric_limits<std::int64_t>::max)();
    }
};

/// An outbox said without keys: a list in order of entry that is searched from end to end. A value.
///
/// Tokens and fences are taken from the real one, which has to let them rise and no more.
struct naive_outbox {
    using phase = naive_entry::phase;
    static constexpr std::int64_t never = (std::numeric_limits<std::int64_t>::max)();

    /// The queues of a lane and class: by entry, or by deadline for those with a patience of their own, with what is too
    /// far ahead apart; and of what was claimed once, or became free late, another by entry.
    enum class queue : std::uint8_t { fresh, own, again, late };

    outbox_options options{};
    std::vector<lane_limit> lanes{};
    std::vector<naive_entry> living{};
    std::vector<naive_entry> dead{};
    std::uint64_t serial = 0;  ///< of the commit that made this state
    std::uint64_t last_token = 0;
    std::uint64_t last_fence = 0;
    /// By lane and class: what is older has been claimed once, or comes late.
    std::vector<std::pair<std::size_t, std::uint64_t>> marks{};
    std::vector<std::uint64_t> gone{};  ///< rows of the host that went with their entries, since somebody asked

    [[nodiscard]] static std::int64_t later(std::int64_t t, milliseconds d) {
        return d.count() > 0 && t > never - d.count() ? never : t + d.count();
    }
    [[nodiscard]] std::int64_t patience(priority p) const {
        switch (p) {
            case priority::critical: return 0;
            case priority::important: return options.patience_important.count();
            case priority::normal: return options.patience_normal.count();
            case priority::background: break;
        }
        return options.patience_background.count();
    }
    [[nodiscard]] static naive_entry* find_in(std::vector<naive_entry>& all, std::uint64_t token) {
        for (naive_entry& e : all) {
            if (e.token == token) { return &e; }
        }
        return nullptr;
    }
    [[nodiscard]] naive_entry* find(std::uint64_t token) { return find_in(living, token); }
    [[nodiscard]] naive_entry* find_dead(std::uint64_t token) { return find_in(dead, token); }
    [[nodiscard]] naive_entry* claim_of(std::uint64_t token, std::uint64_t fence) {
        naive_entry* const e = find(token);
        return e != nullptr && e->state == phase::claimed && e->fence == fence ? e : nullptr;
    }
    /// Finds what is held: after others, or not the first of a record.
    void mark() {
        std::uint32_t seen = 0;
        for (naive_entry& e : living) {
            e.held = !e.after.empty() || (seen & e.mask) != 0;
            seen |= e.mask;
        }
    }
    [[nodiscard]] std::uint32_t dependants(std::uint64_t token) const {
        std::uint32_t n = 0;
        for (naive_entry const& e : living) {
            n += static_cast<std::uint32_t>(std::count(e.after.begin(), e.after.end(), token));
        }
        return n;
    }
    [[nodiscard]] std::uint64_t bytes_total() const {
        std::uint64_t n = 0;
        for (naive_entry const& e : living) { n += e.size(); }
        return n;
    }
    [[nodiscard]] bool fits(std::uint64_t more) const {
        return options.bytes_max == 0 || bytes_total() + more <= options.bytes_max;
    }
    [[nodiscard]] bool lane_fits(std::uint8_t lane, std::uint64_t entries, std::uint64_t more) const {
        for (naive_entry const& e : living) {
            if (e.lane != lane) { continue; }
            entries += entries != 0 ? 1 : 0;
            more += e.size();
        }
        return std::all_of(lanes.begin(), lanes.end(), [&](lane_limit const& l) {
            return l.lane != lane ||
                   ((l.entries_max == 0 || entries <= l.entries_max) && (l.bytes_max == 0 || more <= l.bytes_max));
        });
    }
    [[nodiscard]] static std::size_t queue_number(naive_entry const& e) noexcept {
        return std::size_t{e.lane} * 4 + static_cast<std::size_t>(e.served_as);
    }
    [[nodiscard]] static std::optional<std::int64_t> own_deadline(naive_entry const& e) {
        if (!e.patience || e.served_as == priority::critical) { return {}; }
        return later(e.entered, milliseconds{*e.patience});
    }
    [[nodiscard]] queue queue_of(naive_entry const& e, std::int64_t now) const {
        auto const deadline = own_deadline(e);
        if (deadline) { return *deadline > later(now, options.wait_max) ? queue::late : queue::own; }
        for (auto const& [number, mark] : marks) {
            if (number == queue_number(e)) { return e.token < mark ? queue::again : queue::fresh; }
        }
        return queue::fresh;
    }
    void set_mark(naive_entry const& e) {
        for (auto& [number, mark] : marks) {
            if (number != queue_number(e)) { continue; }
            mark = e.token + 1;
            return;
        }
        marks.emplace_back(queue_number(e), e.token + 1);
    }
    /// A lane in which nothing lives begins anew.
    void tidy() {
        std::bitset<256> lives;
        for (naive_entry const& e : living) { lives[e.lane] = true; }
        marks.erase(std::remove_if(marks.begin(), marks.end(), [&](auto const& m) { return !lives[m.first / 4]; }),
                    marks.end());
    }
    /// Whether an entry waits, through whatever, for another.
    [[nodiscard]] bool waits_for(std::uint64_t token, std::uint64_t target, std::vector<std::uint64_t>& seen) {
        if (token == target) { return true; }
        naive_entry const* const e = find(token);
        if (e == nullptr || std::count(seen.begin(), seen.end(), token) != 0) { return false; }
        seen.push_back(token);
        for (std::uint64_t const p : e->after) {
            if (waits_for(p, target, seen)) { return true; }
        }
        for (naive_entry const& o : living) {
            if (o.token < token && (o.mask & e->mask) != 0 && waits_for(o.token, target, seen)) { return true; }
        }
        return false;
    }
    /// Whether anything that lives waits for itself.
    [[nodiscard]] bool in_a_circle() {
        for (naive_entry const& e : living) {
            for (std::uint64_t const p : e.after) {
                std::vector<std::uint64_t> seen;
                if (waits_for(p, e.token, seen)) { return true; }
            }
        }
        return false;
    }

    // Moving one entry.

    [[nodiscard]] static naive_entry take(std::vector<naive_entry>& all, std::uint64_t token) {
        auto const at = std::find_if(all.begin(), all.end(), [&](naive_entry const& e) { return e.token == token; });
        naive_entry e = std::move(*at);
        all.erase(at);
        return e;
    }
    static void put(std::vector<naive_entry>& all, naive_entry e) {
        auto const at = std::find_if(all.begin(), all.end(), [&](naive_entry const& o) { return o.token > e.token; });
        all.insert(at, std::move(e));
    }
    void let_go(std::uint64_t token) {
        for (naive_entry& e : living) {
            e.after.erase(std::remove(e.after.begin(), e.after.end(), token), e.after.end());
        }
    }
    void drop(std::uint64_t token) {
        gone.push_back(take(living, token).id);
        let_go(token);
        tidy();
    }
    void bury(std::uint64_t token, errc reason, char const* verdict) {
        naive_entry e = take(living, token);
        e.state = phase::pending;
        e.time = 0;
        e.expires.reset();
        e.after.clear();
        e.reason = reason;
        e.verdict = verdict;
        put(dead, std::move(e));
        tidy();
    }
    void put_back(naive_entry& e, phase to, std::int64_t time) {
        ++e.attempts;
        e.state = to;
        e.time = time;
    }
    /// What has to go before a more urgent entry is served as that one.
    void raise(std::uint64_t token, priority to, std::optional<std::int64_t> deadline) {
        naive_entry* const e = find(token);
        if (e == nullptr) { return; }
        bool changed = e->served_as > to;
        if (changed) { e->served_as = to; }
        bool const waits = deadline && e->served_as != priority::critical;
        if (waits && later(e->entered, milliseconds{e->patience.value_or(patience(e->served_as))}) > *deadline) {
            std::int64_t const left =
                (std::clamp)(*deadline - e->entered, std::int64_t{0}, std::int64_t{options.wait_max.count()});
            changed = changed || e->patience != left;
            e->patience = left;
        }
        if (!changed) { return; }
        for (std::uint64_t const p : std::vector<std::uint64_t>{e->after}) { raise(p, to, deadline); }
        for (naive_entry const& o : living) {
            if (o.token < token && (o.mask & e->mask) != 0) { raise(o.token, to, deadline); }
        }
    }

    // Calls. Each answers as the outbox should.

    [[nodiscard]] errc change_fresh(std::uint64_t token) {
        naive_entry const* const e = find(token);
        return e == nullptr ? errc::not_found : e->fence != 0 ? errc::claim_lost : errc{};
    }
    [[nodiscard]] errc amend(std::uint64_t token, naive_payload const& p) {
        errc const may = change_fresh(token);
        if (may != errc{}) { return may; }
        naive_entry& e = *find(token);
        std::uint64_t const more = p.size > e.payload.size ? p.size - e.payload.size : 0;
        if (more != 0 && !(fits(more) && lane_fits(e.lane, 0, more))) { return errc::limit; }
        e.payload = p;
        return {};
    }
    [[nodiscard]] errc withdraw(std::uint64_t token) {
        errc const may = change_fresh(token);
        if (may == errc{}) { drop(token); }
        return may;
    }
    [[nodiscard]] errc ack(std::uint64_t token, std::uint64_t fence) {
        if (claim_of(token, fence) == nullptr) { return errc::claim_lost; }
        drop(token);
        return {};
    }
    [[nodiscard]] errc release(std::uint64_t token, std::uint64_t fence, std::int64_t not_before) {
        naive_entry* const e = claim_of(token, fence);
        if (e == nullptr) { return errc::claim_lost; }
        put_back(*e, phase::waiting, not_before);
        return {};
    }
    [[nodiscard]] errc bury_claimed(std::uint64_t token, std::uint64_t fence, errc reason, char const* verdict) {
        if (claim_of(token, fence) == nullptr) { return errc::claim_lost; }
        bury(token, reason, verdict);
        return {};
    }
    [[nodiscard]] errc answer(outbox_answer const& a, char const* verdict) {
        naive_entry* const e = claim_of(a.token, a.fence);
        if (e == nullptr) { return errc::claim_lost; }
        switch (a.kind) {
            case answer_kind::done: drop(a.token); break;
            case answer_kind::rejected: bury(a.token, a.reason, verdict); break;
            case answer_kind::retry: put_back(*e, phase::waiting, a.not_before.time_since_epoch().count()); break;
            case answer_kind::collateral:
                e->state = phase::pending;
                e->time = 0;
                break;
        }
        return {};
    }
    /// When it waits until then; a dead letter when the attempts of the policy are used up.
    [[nodiscard]] std::optional<std::int64_t> nack(naive_entry& e, backoff_options const& policy, std::int64_t now,
                                                   std::optional<milliseconds> hint) {
        if (policy.attempts_max != 0 && e.attempts >= policy.attempts_max) {
            bury(e.token, errc::peer_failed, "attempts used up");
            return std::nullopt;
        }
        milliseconds wait = policy.base;
        for (std::uint32_t n = e.attempts; n != 0 && wait < policy.cap; --n) { wait *= 2; }
        wait = (std::min)(wait, policy.cap) + (hint ? (std::min)(*hint, policy.hint_max) : milliseconds{0});
        put_back(e, phase::waiting, later(now, (std::min)(wait, options.wait_max)));
        return e.time;
    }
    [[nodiscard]] std::int64_t end_of_lease(std::optional<milliseconds> asked, std::int64_t now) const {
        milliseconds const lease = asked.value_or(options.lease);
        if (lease == (milliseconds::max)()) { return never; }
        milliseconds const cut = (std::clamp)(lease, milliseconds::zero(), options.wait_max);
        return (std::min)(later(now, cut), never - 1);
    }
    [[nodiscard]] errc renew(std::uint64_t token, std::uint64_t fence, std::int64_t end) {
        naive_entry* const e = claim_of(token, fence);
        if (e == nullptr) { return errc::claim_lost; }
        e->time = end;
        return {};
    }
    [[nodiscard]] errc set_payload(std::uint64_t token, std::uint64_t fence, naive_payload const& p) {
        naive_entry* const e = claim_of(token, fence);
        if (e == nullptr) { return errc::claim_lost; }
        e->payload = p;
        return {};
    }
    [[nodiscard]] errc hurry(std::uint64_t token) {
        naive_entry* const e = find(token);
        if (e == nullptr) { return errc::not_found; }
        if (e->state == phase::claimed) { return errc::claim_lost; }
        e->state = phase::pending;
        e->time = 0;
        return {};
    }
    [[nodiscard]] errc revive(std::uint64_t token, std::int64_t now, std::optional<naive_payload> const& p) {
        if (find_dead(token) == nullptr) { return errc::not_found; }
        naive_outbox tried = *this;
        put(tried.living, take(tried.dead, token));
        if (tried.in_a_circle()) { return errc::invalid; }
        naive_entry e = take(dead, token);
        if (p) { e.payload = *p; }
        e.entered = now;
        e.attempts = 0;
        e.batch_max = 0;
        e.reason = {};
        e.verdict = "";
        put(living, std::move(e));
        return {};
    }
    [[nodiscard]] errc put_after(std::uint64_t token, std::uint64_t other) {
        naive_entry* const e = find(token);
        if (e == nullptr) { return errc::not_found; }
        if (e->state == phase::claimed) { return errc::claim_lost; }
        if (other >> 10 == 0 || other >> 10 > last_token >> 10) { return errc::not_found; }
        bool const there = find(other) != nullptr || find_dead(other) != nullptr;
        if (!there || std::count(e->after.begin(), e->after.end(), other) != 0) { return {}; }
        std::vector<std::uint64_t> seen;
        if (waits_for(other, token, seen)) { return errc::invalid; }
        e->after.push_back(other);
        raise(other, e->served_as, own_deadline(*e));
        return {};
    }
    [[nodiscard]] errc discard(std::uint64_t token) {
        if (find_dead(token) == nullptr) { return errc::not_found; }
        if (dependants(token) != 0) { return errc::invalid; }
        gone.push_back(take(dead, token).id);
        return {};
    }
    [[nodiscard]] errc release_dependants(std::uint64_t token) {
        if (find_dead(token) == nullptr) { return errc::not_found; }
        let_go(token);
        return {};
    }
    /// How many went along.
    [[nodiscard]] std::size_t bury_dependants(std::uint64_t token, errc reason, char const* verdict) {
        std::vector<std::uint64_t> all{token};
        for (std::size_t i = 0; i < all.size(); ++i) {
            for (naive_entry const& e : living) {
                bool const known = std::count(all.begin(), all.end(), e.token) != 0;
                if (!known && std::count(e.after.begin(), e.after.end(), all[i]) != 0) { all.push_back(e.token); }
            }
        }
        for (std::size_t i = 1; i < all.size(); ++i) { bury(all[i], reason, verdict); }
        return all.size() - 1;
    }

    // Time.

    /// Tokens of what is due, the earliest first; `of(entry)` is the time and what orders equal ones, or nothing.
    template <class F>
    [[nodiscard]] std::vector<std::uint64_t> due(std::int64_t now, bool all, bool too_far, F&& of) {
        struct timed {
            std::int64_t time;
            std::uint64_t first;
            std::uint64_t second;
            std::uint64_t token;
        };
        std::vector<timed> some;
        mark();
        for (naive_entry const& e : living) {
            if (auto const k = of(e)) { some.push_back({std::get<0>(*k), std::get<1>(*k), std::get<2>(*k), e.token}); }
        }
        std::sort(some.begin(), some.end(), [](timed const& a, timed const& b) {
            return std::tie(a.time, a.first, a.second) < std::tie(b.time, b.first, b.second);
        });
        std::vector<std::uint64_t> out;
        for (bool const late : {false, true}) {
            for (timed const& t : some) {
                bool const over = all || t.time <= now;
                if (late ? too_far && !over && t.time > later(now, options.wait_max) : over) { out.push_back(t.token); }
            }
        }
        if (out.size() > options.promotions_max) { out.resize(options.promotions_max); }
        return out;
    }
    using timed_by = std::optional<std::tuple<std::int64_t, std::uint64_t, std::uint64_t>>;

    std::size_t end_waits(std::int64_t now, bool all) {
        auto const tokens = due(now, all, !all, [](naive_entry const& e) {
            return e.waits() ? timed_by{{e.time, e.token, std::uint64_t{0}}} : timed_by{};
        });
        for (std::uint64_t const t : tokens) {
            find(t)->state = phase::pending;
            find(t)->time = 0;
        }
        return tokens.size();
    }
    std::size_t end_leases(std::int64_t now) {
        auto const tokens = due(now, false, true, [](naive_entry const& e) {
            return e.leases() ? timed_by{{e.time, e.fence, e.token}} : timed_by{};
        });
        for (std::uint64_t const t : tokens) { put_back(*find(t), phase::pending, 0); }
        return tokens.size();
    }
    std::size_t end_lives(std::int64_t now) {
        auto const tokens = due(now, false, false, [](naive_entry const& e) {
            return e.fence == 0 && e.expires ? timed_by{{*e.expires, e.token, std::uint64_t{0}}} : timed_by{};
        });
        for (std::uint64_t const t : tokens) { bury(t, errc::cancelled, "expired"); }
        return tokens.size();
    }

    // Choosing.

    struct place {
        int band = 0;
        std::int64_t deadline = 0;
        std::uint64_t token = 0;
        std::size_t run = 1;
        [[nodiscard]] bool before(place const& o) const {
            return std::tie(band, deadline, token) < std::tie(o.band, o.deadline, o.token);
        }
    };
    [[nodiscard]] place place_of(naive_entry const& e, claim_order order, std::int64_t now) const {
        switch (order) {
            case claim_order::arrival: return {0, 0, e.token};
            case claim_order::strict: return {static_cast<int>(e.served_as), 0, e.token};
            case claim_order::deadline: break;
        }
        if (e.served_as == priority::critical) { return {0, 0, e.token}; }
        milliseconds const own{e.patience.value_or(patience(e.served_as))};
        return {1, later((std::min)(e.entered, now), own), e.token};
    }
    struct choice {
        std::vector<std::uint64_t> tokens{};  ///< in order
        std::optional<std::int64_t> until{};  ///< a batch that is not full waits so long for more
    };
    [[nodiscard]] choice choose(claim_options const& what, std::int64_t now) {
        choice out;
        mark();
        std::vector<place> followers;
        std::vector<bool> taken(living.size());
        auto const wanted = [&](naive_entry const& e) {
            return e.served_as <= what.lowest && (!what.lane || *what.lane == e.lane);
        };
        std::size_t size = 0;
        std::size_t most = what.entries_max;
        bool full = most == 0;
        while (!full) {
            // Of each queue the first.
            std::vector<std::pair<std::size_t, naive_entry const*>> heads;
            for (std::size_t i = 0; i < living.size(); ++i) {
                naive_entry const& e = living[i];
                if (taken[i] || !e.ready() || !wanted(e)) { continue; }
                std::size_t const number = queue_number(e) * 4 + static_cast<std::size_t>(queue_of(e, now));
                auto at = std::find_if(heads.begin(), heads.end(), [&](auto const& h) { return h.first == number; });
                if (at == heads.end()) { at = heads.insert(at, {number, &e}); }
                if (own_deadline(e) < own_deadline(*at->second)) { at->second = &e; }
            }
            std::optional<place> best;
            for (auto const& [number, e] : heads) {
                place const p = place_of(*e, what.order, now);
                if (!best || p.before(*best)) { best = p; }
            }
            for (place const& p : followers) {
                if (!best || p.before(*best)) { best = p; }
            }
            if (!best) { break; }
            naive_entry const& e = *find(best->token);
            std::size_t const own = e.batch_max == 0 ? most : (std::min)(most, std::size_t{e.batch_max});
            full = !out.tokens.empty() && (out.tokens.size() >= own || size + e.payload.size > what.bytes_max);
            if (full) { break; }
            most = own;
            size += e.payload.size;
            out.tokens.push_back(e.token);
            full = out.tokens.size() >= most;
            taken[static_cast<std::size_t>(&e - living.data())] = true;
            followers.erase(
                std::remove_if(followers.begin(), followers.end(), [&](place const& f) { return f.token == e.token; }),
                followers.end());
            if (e.record_count != 1 || best->run >= what.record_run_max) { continue; }
            for (naive_entry const& o : living) {
                if ((o.mask & e.mask) == 0 || o.token <= e.token) { continue; }
                bool const may = o.state == phase::pending || (o.state == phase::waiting && o.time <= now);
                if (may && o.record_count == 1 && o.after.empty() && wanted(o)) {
                    place const mine = place_of(o, what.order, now);
                    followers.push_back({(std::max)(mine.band, best->band), (std::max)(mine.deadline, best->deadline),
                                         o.token, best->run + 1});
                }
                break;
            }
        }
        if (full || out.tokens.empty() || what.linger.count() <= 0) { return out; }
        std::int64_t oldest = never;
        for (std::uint64_t const t : out.tokens) {
            naive_entry const& e = *find(t);
            if (e.served_as == priority::critical || e.fence != 0 || e.entered > now) { return out; }
            oldest = (std::min)(oldest, e.entered);
        }
        std::int64_t const until = later(oldest, what.linger);
        if (until <= now) { return out; }
        out.tokens.clear();
        out.until = until;
        return out;
    }
    [[nodiscard]] std::optional<std::int64_t> next_due(claim_options const& what, std::int64_t now) {
        choice const chosen = choose(what, now);
        if (!chosen.tokens.empty()) { return now; }
        std::optional<std::int64_t> first = chosen.until;
        auto const due_at = [&](std::int64_t t) { first = (std::min)(first.value_or(never), (std::max)(t, now)); };
        for (naive_entry const& e : living) {
            if (e.waits() || e.leases()) { due_at(e.time > later(now, options.wait_max) ? now : e.time); }
            if (e.fence == 0 && e.expires) { due_at(*e.expires); }
        }
        return first;
    }

    // Looking.

    [[nodiscard]] static entry_state state_of(naive_entry const& e) {
        return e.state == phase::claimed   ? entry_state::claimed
               : e.held                    ? entry_state::blocked
               : e.state == phase::waiting ? entry_state::waiting
                                           : entry_state::ready;
    }
    /// The name of the first thing in which an entry is not what it should be, after `mark()`; null: it is.
    /// Nothing where they are the same.
    [[nodiscard]] std::string difference(outbox_entry const& seen, naive_entry const& e, bool is_dead = false) const {
        auto const time = [](wall_time t) { return t.time_since_epoch().count(); };
        auto const told = [](char const* field, auto is, auto due) {
            return std::string{field} + ": " + std::to_string(is) + " instead of " + std::to_string(due);
        };
        auto const index = [](auto of) { return static_cast<int>(of); };
        entry_state const state = is_dead ? entry_state::dead : state_of(e);
        if (seen.token != e.token) { return told("token", seen.token, e.token); }
        if (seen.fence != e.fence) { return told("fence", seen.fence, e.fence); }
        if (seen.urgency != e.urgency) { return told("urgency", index(seen.urgency), index(e.urgency)); }
        if (seen.served_as != e.served_as) { return told("served_as", index(seen.served_as), index(e.served_as)); }
        if (seen.lane != e.lane) { return told("lane", seen.lane, e.lane); }
        if (seen.state != state) { return told("state", index(seen.state), index(state)); }
        if (time(seen.entered) != e.entered) { return told("entered", time(seen.entered), e.entered); }
        if (time(seen.not_before) != e.time) { return told("not_before", time(seen.not_before), e.time); }
        if (seen.attempts != e.attempts) { return told("attempts", seen.attempts, e.attempts); }
        if (seen.batch_max != e.batch_max) { return told("batch_max", seen.batch_max, e.batch_max); }
        if (std::size_t const due = dependants(e.token); seen.dependants != due) {
            return told("dependants", seen.dependants, due);
        }
        if (seen.patience.has_value() != e.patience.has_value()) { return "patience"; }
        if (e.patience && seen.patience->count() != *e.patience) {
            return told("patience", seen.patience->count(), *e.patience);
        }
        if (seen.expires.has_value() != e.expires.has_value()) { return "expires"; }
        if (e.expires && time(*seen.expires) != *e.expires) { return told("expires", time(*seen.expires), *e.expires); }
        if (seen.after != e.after) { return "after"; }
        if (seen.more_records.size() + (seen.record.empty() ? 0 : 1) != e.record_count) { return "records"; }
        for (std::size_t i = 0; i < e.record_count; ++i) {
            bytes_view const r = i == 0 ? bytes_view{seen.record} : bytes_view{seen.more_records[i - 1]};
            if (!equal(r, naive_record(e.records[i]))) { return "records"; }
        }
        if (!e.payload.is(seen.payload)) { return "payload"; }
        if (seen.reason != e.reason) { return told("reason", index(seen.reason), index(e.reason)); }
        if (!equal(seen.verdict, as_bytes(std::string_view{e.verdict}))) { return "verdict"; }
        return {};
    }
    /// After `mark()`.
    [[nodiscard]] outbox_summary summary() const {
        outbox_summary sum;
        for (naive_entry const& e : living) {
            ++sum.count[static_cast<std::size_t>(e.urgency)][static_cast<std::size_t>(state_of(e))];
            wall_time const entered{milliseconds{e.entered}};
            if (!sum.oldest || entered < *sum.oldest) { sum.oldest = entered; }
        }
        for (naive_entry const& e : dead) {
            ++sum.count[static_cast<std::size_t>(e.urgency)][static_cast<std::size_t>(entry_state::dead)];
        }
        sum.entries = living.size();
        sum.bytes = bytes_total();
        sum.dead = dead.size();
        return sum;
    }
};

/// What ought to happen sometimes in the outbox's world: what no seed reaches is a hole in the generator.
enum class outbox_point : std::uint8_t {
    claim_lost,
    late_answer_counts,
    lease_ended,
    lease_too_far,
    wait_too_far,
    life_ended,
    urgency_handed_on,
    run_of_a_record,
    lingered,
    refused_entries,
    refused_bytes,
    refused_circle,
    above_the_limit,
    split_to_one,
    attempts_used_up,
    dependants_buried,
    dependants_released,
    discard_refused,
    revived_before_others,
    uncertain_commit_was_one,
    claim_without_end,
    claim_adopted,
    emptied,
    patience_of_its_own,
    refused_by_lane,
    put_after,
    circle_later,
};
inline constexpr std::array<char const*, 27> outbox_point_names{"answer to a lost claim",
                                                                "answer after the end of the lease that counts",
                                                                "lease ended",
                                                                "lease further ahead than believed",
                                                                "wait further ahead than believed",
                                                                "time to live over",
                                                                "urgency handed on",
                                                                "several of one record in a claim",
                                                                "batch waited for more",
                                                                "refused by number",
                                                                "refused by bytes",
                                                                "refused as a circle",
                                                                "above the limit after a revival",
                                                                "split down to one",
                                                                "attempts used up",
                                                                "dependants buried",
                                                                "dependants released",
                                                                "discard refused",
                                                                "revived before later ones of its record",
                                                                "failed commit that was one",
                                                                "claim without end",
                                                                "claim taken on again after a crash",
                                                                "empty in the middle of it",
                                                                "a patience of its own",
                                                                "refused by its lane",
                                                                "put after another later",
                                                                "refused as a circle later"};
inline constexpr std::size_t outbox_point_count = outbox_point_names.size();

struct outbox_simulation_report : simulation_report {
    std::array<std::uint64_t, outbox_point_count> outbox_points{};
};

/// One world of an outbox. Construct, `run()`, and read the report.
///
/// One store, one to three processes on it, each with a handle and a clock of its own; all of them produce and send.
/// Of the options it uses steps, calm_steps, lie, faults_off, only and tell. Everything else as `simulation`.
template <class Setup = simulated_setup>
class outbox_simulation {
    using medium = typename Setup::medium;
    using inner_storage = typename medium::storage_type;
    using store_type = faulty_storage<inner_storage>;
    using transaction = typename store_type::transaction;
    using phase = naive_entry::phase;

public:
    explicit outbox_simulation(std::uint64_t seed, simulation_options options = {}, Setup setup = {})
        : setup_(std::move(setup)), options_(std::move(options)) {
        report_.seed = seed;
        configure();
    }
    outbox_simulation(outbox_simulation const&) = delete;
    outbox_simulation& operator=(outbox_simulation const&) = delete;

    outbox_simulation_report run() {
        for (process& p : processes_) { boot(p); }
        for (std::uint32_t n = 0; report_.steps < options_.steps && fine(); ++n) {
            report_.planned = n + 1;
            random_generator dice{detail::mix(report_.seed, n + 1)};
            pass(pause(dice));
            bool const kept = !options_.only || std::binary_search(options_.only->begin(), options_.only->end(), n);
            if (kept && fine()) { perform(n, dice); }
            if (options_.only && (options_.only->empty() || n >= options_.only->back())) { break; }
        }
        if (fine()) { calm_down(); }
        for (violation const& v : report_.found) { tell("VIOLATED " + v.axiom + ": " + v.what); }
        return std::move(report_);
    }

private:
    static constexpr std::int64_t second = 1'000;
    static constexpr std::int64_t minute = 60 * second;
    static constexpr std::int64_t day = 24 * 60 * minute;
    static constexpr std::int64_t begin_time = 1'790'000'000'000;
    static constexpr std::int64_t never = std::int64_t{1} << 60;
    static constexpr std::size_t living_max = 48;  // below the 64 to which urgency is handed on
    static constexpr std::size_t drafts_max = 4;

    /// What a worker holds: as it was given, and what became of it at the destination.
    struct batch {
        enum class fate : std::uint8_t { untried, done, failed, throttled, refused, skipped };
        struct item {
            outbox_entry given{};
            naive_entry known{};
            fate became = fate::untried;
        };
        std::uint64_t serial = 0;
        std::vector<item> items{};
        bool barred = false;   ///< the claim survives a power cut
        bool refused = false;  ///< as a whole, and nobody knows for which of its entries
        bool resumed = false;  ///< taken up again after a crash, perhaps without those before it on a record
        std::uint32_t tries = 0;
    };
    struct skewed_clock {
        std::int64_t offset = 0;
        std::int64_t drift_ppm = 0;
        std::int64_t drift_from = 0;
        std::optional<std::int64_t> stuck{};
    };
    struct process {
        std::size_t number = 0;
        std::unique_ptr<inner_storage> handle{};
        std::optional<store_type> store{};
        std::vector<batch> batches{};
        skewed_clock clock{};
        std::int64_t wake = never;
        std::int64_t suspended_until = 0;
        std::int64_t full_until = never;
        std::uint32_t recoveries_to_fail = 0;
        bool doomed = false;      ///< the fault that is planned kills it
        bool rolls_back = false;  ///< the host takes the next transaction back
        [[nodiscard]] bool up() const noexcept { return store.has_value(); }
    };
    struct flight {
        enum class kind : std::uint8_t { restart, deliver, answer };
        std::int64_t at = 0;
        std::uint64_t serial = 0;
        kind what{};
        std::size_t process = 0;
        std::uint64_t batch = 0;
    };
    /// An entry on its way in.
    struct draft {
        naive_entry entry{};
        bytes payload{};
        std::vector<bytes_view> more{};
        std::vector<std::size_t> after_items{};
    };

    // Setting up.

    [[nodiscard]] bool off(sim_fault f) const noexcept {
        return calm_ || ((options_.faults_off | swarm_off_) >> static_cast<unsigned>(f) & 1U) != 0;
    }
    void hit(sim_fault f) noexcept { ++report_.faults[static_cast<std::size_t>(f)]; }
    void reached(sim_point p) noexcept { ++report_.points[static_cast<std::size_t>(p)]; }
    void reached(outbox_point p, std::uint64_t n = 1) noexcept {
        report_.outbox_points[static_cast<std::size_t>(p)] += n;
    }
    [[nodiscard]] bool happens(sim_fault f, random_generator& dice) {
        std::uint64_t const n = below(dice, 1'000);  // drawn in any case: the rest of the draws stay the same
        if (off(f) || n >= rate_[static_cast<std::size_t>(f)]) { return false; }
        hit(f);
        return true;
    }

    void configure() {
        random_generator dice{detail::mix(report_.seed, 0)};
        auto const roll = [&](std::uint64_t n) { return below(dice, n); };
        for (std::size_t f = 0; f < sim_fault_count; ++f) {
            if (roll(3) == 0) { swarm_off_ |= std::uint64_t{1} << f; }
            rate_[f] = 1 + roll(roll(4) == 0 ? 300 : 60);  // per mille
        }
        outbox_options o;
        auto const span = [&](std::initializer_list<std::int64_t> some) {
            return milliseconds{some.begin()[roll(some.size())]};
        };
        if (roll(2) == 0) {
            o.patience_important = span({0, second, 30 * second});
            o.patience_normal = span({second, minute, 5 * minute});
            o.patience_background = span({5 * second, 2 * minute, 10 * minute});
        }
        o.lease = span({2 * second, 10 * second, minute});
        o.wait_max = span({10 * second, 5 * minute, 60 * minute, day});
        if (roll(2) == 0) { o.entries_max = 4 + roll(roll(2) == 0 ? 12 : 40); }
        if (roll(2) == 0) { o.bytes_max = 64 + roll(roll(2) == 0 ? 600 : 6'000); }
        if (roll(3) == 0) { o.promotions_max = static_cast<std::uint32_t>(1 + roll(6)); }
        model_.options = o;
        if (roll(3) == 0) {
            model_.lanes.push_back({0, 1 + roll(20), 0});
            model_.lanes.push_back({255, 0, 40 + roll(600)});
        }
        box_ = outbox{o, "o", model_.lanes};
        own_patience_ = roll(3) == 0;
        promise_ = roll(2) == 0 ? durability::full : durability::ordered;
        disk_ = setup_.make(promise_, options_.lie);
        records_ = 1 + roll(naive_record_count);
        loose_ = roll(4);
        lanes_ = roll(2) == 0 ? 1 : 3;
        edges_ = roll(3);
        lives_ = roll(3) == 0;
        large_ = roll(3) == 0;
        slow_ = roll(3) == 0;
        busy_workers_ = roll(3) != 0;
        steady_ = roll(4) == 0;
        std::size_t const processes = 1 + static_cast<std::size_t>(roll(3));
        for (std::size_t i = 0; i < processes; ++i) { processes_.emplace_back().number = i; }
    }

    // Judging.

    [[nodiscard]] bool fine() const noexcept { return report_.found.empty(); }
    template <class F>
    bool check(bool holds, char const* axiom, F&& what) {
        ++report_.checks;
        if (!holds && report_.found.size() < 8) { report_.found.push_back({axiom, what()}); }
        return holds;
    }
    [[nodiscard]] static std::string name(process const& p) { return "process " + std::to_string(p.number); }
    [[nodiscard]] static std::string text(errc e) { return e == errc{} ? "success" : message(e); }
    [[nodiscard]] static std::string text(naive_entry const& e) {
        std::string out = std::to_string(e.token) + ", urgency " + std::to_string(static_cast<int>(e.urgency));
        if (e.lane != 0) { out += ", lane " + std::to_string(e.lane); }
        for (std::size_t i = 0; i < e.record_count; ++i) {
            out += (i == 0 ? ", of record " : " and ") + std::to_string(e.records[i]);
        }
        for (std::size_t i = 0; i < e.after.size(); ++i) {
            out += (i == 0 ? ", after " : " and ") + std::to_string(e.after[i]);
        }
        if (e.patience) { out += ", patience " + std::to_string(*e.patience) + " ms"; }
        if (e.expires) { out += ", expires after " + std::to_string(*e.expires - e.entered) + " ms"; }
        return out;
    }
    static constexpr char const* host_row = "the host's own row";  ///< told of only where it fails
    template <class T>
    [[nodiscard]] static errc code(result<T> const& r) {
        return r ? errc{} : r.error().code;
    }
    /// Whether a call answered as it should. False ends the transaction: the storage failed, or the outbox did.
    template <class R>
    [[nodiscard]] bool agreed(R const& r, errc should, char const* call) {
        errc const said = code(r);
        bool const dull = call == host_row && said == errc{};
        if (options_.tell && !dull) { tell("    " + std::string{call} + ": " + text(said)); }
        if (said != errc{} && struck()) { return false; }
        bool const about_limits = said == errc::limit || should == errc::limit;
        return check(said == should, about_limits ? outbox_promise::limits : outbox_promise::answers, [&] {
            return std::string{call} + " answers " + text(said) +
                   (r ? "" : std::string{" ("} + r.error().detail + ")") + ", where " + text(should) + " is due";
        });
    }
    /// Whether the storage failed in the transaction that is open.
    [[nodiscard]] bool struck() const { return open_ != nullptr && open_->store->faults() != faults_before_; }

    /// Compares all that the outbox holds with the list.
    void look(process& p, char const* axiom, bool closely) {
        if (!fine() || !p.up()) { return; }
        auto tx = p.handle->begin(access_mode::read);
        if (!check(tx.has_value(), outbox_promise::storage_errors, [] { return std::string{"nobody can read"}; })) {
            return;
        }
        model_.mark();
        std::size_t at = 0;
        std::string wrong;
        auto const see = [&](outbox_entry const& seen, naive_entry const* e, bool dead) {
            std::string const field = e == nullptr ? "presence" : model_.difference(seen, *e, dead);
            if (!field.empty()) {
                wrong = (dead ? "dead letter " : "entry ") + std::to_string(seen.token) + " has a wrong " + field;
            }
            return field.empty();
        };
        std::vector<std::uint64_t> visited;
        auto s = box_.scan(*tx, [&](outbox_entry const& seen) {
            visited.push_back(seen.token);
            return see(seen, model_.find(seen.token), false);
        });
        std::sort(visited.begin(), visited.end());
        for (std::size_t i = 0; s && wrong.empty() && i < (std::max)(visited.size(), model_.living.size()); ++i) {
            if (i == model_.living.size()) {
                wrong = "entry " + std::to_string(visited[i]) + " is in two places";
            } else if (i == visited.size() || visited[i] != model_.living[i].token) {
                wrong = "entry " + std::to_string(model_.living[i].token) + " is lost, or another in two places";
            }
        }
        at = 0;
        if (s && wrong.empty()) {
            s = box_.scan_dead(*tx, [&](outbox_entry const& seen) {
                naive_entry const* const e = at < model_.dead.size() ? &model_.dead[at] : nullptr;
                ++at;
                return see(seen, e, true);
            });
            if (s && wrong.empty() && at != model_.dead.size()) {
                wrong = "dead letter " + std::to_string(model_.dead[at].token) + " is lost";
            }
        }
        if (!s) { wrong = std::string{"it can't be read: "} + message(s.error().code) + ", " + s.error().detail; }
        if (!check(wrong.empty(), axiom, [&] { return wrong; })) { return; }

        auto const load = box_.load(*tx);
        std::pair<std::uint64_t, std::uint64_t> const should{model_.living.size(), model_.bytes_total()};
        check(load && *load == should, outbox_promise::limits, [&] {
            return load ? "it counts " + std::to_string(load->first) + " entries and " + std::to_string(load->second) +
                              " bytes instead of " + std::to_string(should.first) + " and " +
                              std::to_string(should.second)
                        : std::string{"its counters can't be read"};
        });
        if (model_.living.empty() && model_.dead.empty()) {
            std::size_t rows = 0;
            (void)scan_prefix(*tx, as_bytes("o"), [&](bytes_view, bytes_view) {
                ++rows;
                return true;
            });
            reached(outbox_point::emptied);
            check(rows <= 1, outbox_promise::nothing_left,
                  [&] { return "an empty outbox has " + std::to_string(rows) + " rows"; });
        }
        if (closely) { look_closely(*tx, axiom); }
    }
    template <class Tx>
    void look_closely(Tx& tx, char const* axiom) {
        auto const sum = box_.summary(tx);
        check(sum && *sum == model_.summary(), axiom, [] { return std::string{"the summary is wrong"}; });

        std::vector<std::uint64_t> rows;
        for (auto const* const all : {&model_.living, &model_.dead}) {
            for (naive_entry const& e : *all) { rows.push_back(e.id); }
        }
        std::sort(rows.begin(), rows.end());
        std::size_t at = 0;
        bool same = true;
        auto const s = scan_prefix(tx, as_bytes("h"), [&](bytes_view k, bytes_view) {
            same = same && at < rows.size() && k.size() == 9 && read_u64(k.subspan(1)) == rows[at];
            ++at;
            return same;
        });
        check(s && same && at == rows.size(), outbox_promise::host_rows,
              [] { return std::string{"entries and the host's rows are not the same"}; });

        for (std::size_t r = 0; r < records_; ++r) {
            std::vector<std::uint64_t> should;
            std::vector<std::uint64_t> seen;
            for (naive_entry const& e : model_.living) {
                if ((e.mask >> r & 1U) != 0) { should.push_back(e.token); }
            }
            auto const ok = box_.scan_record(tx, naive_record(r), [&](outbox_entry const& e) {
                seen.push_back(e.token);
                return true;
            });
            check(ok && seen == should, axiom, [&] { return "record " + std::to_string(r) + " has other entries"; });
        }
        for (auto const* const all : {&model_.living, &model_.dead}) {
            for (naive_entry const& e : *all) {
                if (e.token % 3 != report_.steps % 3) { continue; }
                auto const found = box_.find(tx, e.token);
                check(found && *found && model_.difference(**found, e, all == &model_.dead).empty(), axiom,
                      [&] { return "entry " + std::to_string(e.token) + " is found otherwise than it is scanned"; });
                std::uint32_t after = 0;
                auto const ok = box_.scan_dependants(tx, e.token, [&](std::uint64_t t) {
                    naive_entry const* const d = model_.find(t);
                    after += d != nullptr && std::count(d->after.begin(), d->after.end(), e.token) != 0 ? 1 : 1'000;
                    return true;
                });
                check(ok && after == model_.dependants(e.token), axiom,
                      [&] { return "other entries are after " + std::to_string(e.token); });
            }
        }
    }

    // Time.

    [[nodiscard]] std::int64_t reading(process const& p) const {
        if (p.clock.stuck) { return *p.clock.stuck; }
        return now_ + (now_ - p.clock.drift_from) / 1'000 * p.clock.drift_ppm / 1'000 + p.clock.offset;
    }
    [[nodiscard]] static wall_time wall(std::int64_t t) { return wall_time{milliseconds{t}}; }

    /// Lets time pass and everything happen that is due meanwhile.
    void pass(std::int64_t ms) {
        std::int64_t const until = now_ + ms;
        while (fine() && turn(until)) {}
        now_ = until;
    }
    /// The next thing that happens by itself, no later than `until`; false when there is none.
    bool turn(std::int64_t until) {
        std::int64_t at = never;
        process* sleeper = nullptr;
        for (process& p : processes_) {
            if (!p.up()) { continue; }
            std::int64_t const due = (std::max)(p.wake, p.suspended_until);
            if (p.wake != never && due < at) {
                at = due;
                sleeper = &p;
            }
        }
        auto first = flights_.end();
        std::int64_t first_at = never;
        for (auto it = flights_.begin(); it != flights_.end(); ++it) {
            std::int64_t const due = (std::max)(it->at, processes_[it->process].suspended_until);
            if (first == flights_.end() || due < first_at || (due == first_at && it->serial < first->serial)) {
                first = it;
                first_at = due;
            }
        }
        bool const is_flight = first != flights_.end() && first_at <= at;
        if (is_flight) { at = first_at; }
        if (at > until || at == never) { return false; }
        now_ = (std::max)(now_, at);
        ++report_.steps;
        if (!is_flight) {
            sleeper->wake = never;
            random_generator dice{detail::mix(report_.seed ^ 0xC1A1, report_.steps)};
            take_work(*sleeper, dice);
            return true;
        }
        flight const f = *first;
        *first = flights_.back();
        flights_.pop_back();
        arrive(f);
        return true;
    }
    void post(typename flight::kind what, process const& p, std::uint64_t number, std::int64_t after) {
        flights_.push_back({now_ + (std::max)(std::int64_t{1}, after), ++flights_sent_, what, p.number, number});
    }
    void arrive(flight const& f) {
        process& p = processes_[f.process];
        if (f.what == flight::kind::restart) {
            boot(p);
            return;
        }
        if (!p.up()) { return; }
        auto const it =
            std::find_if(p.batches.begin(), p.batches.end(), [&](batch const& b) { return b.serial == f.batch; });
        if (it == p.batches.end()) { return; }
        if (f.what == flight::kind::deliver) {
            deliver(p, *it);
        } else {
            answer(p, f.batch);
        }
    }

    // Processes.

    void boot(process& p) {
        if (p.up()) { return; }
        p.doomed = false;
        p.rolls_back = false;
        p.full_until = never;
        p.handle = disk_->open();
        p.store.emplace(*p.handle);
        trace(1, p.number, 0);
        tell(name(p) + " starts");
        look(p, outbox_promise::atomicity, true);
        if (!fine()) { return; }
        if (p.recoveries_to_fail != 0) {
            --p.recoveries_to_fail;
            hit(sim_fault::crash_in_recovery);
            p.store->inject(
                {1 + detail::mix(report_.seed, report_.steps) % 40, errc::storage_io, fault_moment::before, false, {}});
            p.doomed = true;
        }
        adopt(p);
        p.wake = now_ + 1;
    }
    /// Takes on again what it had claimed without end, as the host noted beside the claim.
    void adopt(process& p) {
        auto tx = p.handle->begin(access_mode::read);
        if (!tx) { return; }
        batch b;
        b.serial = batches_ + 1;
        b.resumed = true;
        for (naive_entry const& e : model_.living) {
            if (e.state != phase::claimed || e.time != naive_outbox::never || e.owner != p.number) { continue; }
            bool const known = std::any_of(p.batches.begin(), p.batches.end(), [&](batch const& other) {
                return std::any_of(other.items.begin(), other.items.end(), [&](typename batch::item const& i) {
                    return i.given.token == e.token && i.given.fence == e.fence;
                });
            });
            if (known) { continue; }
            auto const found = box_.find(*tx, e.token);
            if (found && *found) { b.items.push_back({**found, e, batch::fate::untried}); }
        }
        if (b.items.empty()) { return; }
        reached(outbox_point::claim_adopted);
        ++batches_;
        post(flight::kind::deliver, p, b.serial, 100);
        p.batches.push_back(std::move(b));
    }
    void kill(process& p, random_generator& dice, bool forgets) {
        if (!p.up()) { return; }
        trace(2, p.number, forgets ? 1 : 0);
        tell(name(p) + " is killed");
        p.store.reset();
        p.handle.reset();
        p.wake = never;
        p.suspended_until = 0;
        // Some hosts write down what they have claimed: they come back to it, perhaps long after its lease.
        p.batches.erase(std::remove_if(p.batches.begin(), p.batches.end(),
                                       [&](batch const& b) { return forgets || !b.barred || below(dice, 2) == 0; }),
                        p.batches.end());
        std::int64_t const after =
            1 + static_cast<std::int64_t>(below(dice, below(dice, 2) == 0 ? 5 * second : 10 * minute));
        post(flight::kind::restart, p, 0, after);
        for (batch& b : p.batches) {
            b.resumed = true;
            post(flight::kind::deliver, p, b.serial, after + 1 + static_cast<std::int64_t>(below(dice, minute)));
        }
    }
    void cut_power(random_generator& dice) {
        tell("the power goes");
        for (process& p : processes_) { kill(p, dice, true); }
        disk_->power_cut(dice);
        auto const handle = disk_->open();
        std::uint64_t const serial = stored_serial(*handle);
        auto const survivor =
            std::find_if(unsynced_.begin(), unsynced_.end(), [&](naive_outbox const& m) { return m.serial == serial; });
        if (serial != model_.serial) {
            if (!check(survivor != unsynced_.end(), outbox_promise::atomicity, [&] {
                    return "after a power cut commit " + std::to_string(serial) + " is the last, of " +
                           std::to_string(model_.serial) + " of which " + std::to_string(unsynced_.size()) +
                           " were not promised to survive";
                })) {
                return;
            }
            reached(sim_point::commits_lost_to_power);
            tell(std::to_string(model_.serial - serial) + " commits are lost");
            model_ = std::move(*survivor);
        }
        unsynced_.clear();
        trace(3, serial, model_.living.size());
    }
    [[nodiscard]] static std::uint64_t stored_serial(inner_storage& handle) {
        auto tx = handle.begin(access_mode::read);
        bytes value;
        if (!tx || !tx->get(as_bytes("g"), value) || value.size() != 8) { return 0; }
        return read_u64(value);
    }

    // Transactions.

    /// One transaction of a process: `f(tx, list)` does the same to both; false rolls back. True when it was committed,
    /// as far as the process knows.
    template <class F>
    bool transact(process& p, F&& f) {
        if (now_ >= p.full_until) {
            p.full_until = never;
            if (!p.store->poisoned()) { p.store->heal(); }
        }
        open_ = &p;
        moved_ = true;
        faults_before_ = p.store->faults();
        naive_outbox next = model_;
        ++next.serial;
        bool done = false;
        bool tried = false;
        {
            auto tx = p.store->begin(access_mode::write);
            if (!tx) {
                (void)agreed(tx, errc{}, "begin");
            } else if (f(*tx, next) && fine() && write_host_rows(*tx, next)) {
                if (p.rolls_back) {
                    hit(sim_fault::host_rollback);
                    tell(name(p) + " rolls back");
                } else {
                    tried = true;
                    done = agreed(tx->commit(), errc{}, "commit");
                }
                p.rolls_back = false;
            }
        }
        bool happened = done;
        if (tried && !done && stored_serial(*p.handle) == next.serial) {
            happened = true;
            reached(outbox_point::uncertain_commit_was_one);
        }
        open_ = nullptr;
        trace(4, p.number, happened ? next.serial : 0);
        if (happened) {
            next.gone.clear();
            if (promise_ != durability::full) { unsynced_.push_back(std::move(model_)); }
            model_ = std::move(next);
            note_dead();
            trace(5, model_.living.size(), model_.last_fence);
            for (process& other : processes_) {
                if (moved_ && other.up()) {
                    other.wake = (std::min)(other.wake, now_ + (other.number == p.number ? 20 : 500));
                }
            }
        }
        ++looks_;
        bool const due = looks_ % 8 == 0 || (happened && model_.living.size() + model_.dead.size() <= 8);
        if (due) { look(p, outbox_promise::contents, looks_ % 32 == 0); }
        if (unsynced_.size() >= 64) { bar(p); }
        return done;
    }
    /// After any use of a process's store: it dies if it was doomed, ends where a sync failed, else it goes on.
    void settle(process& p) {
        if (!p.up() || p.store->faults() == 0) { return; }
        random_generator dice{detail::mix(report_.seed ^ 0xDEAD, report_.steps)};
        if (p.doomed) {
            hit(sim_fault::crash);
            kill(p, dice, false);
        } else if (p.store->poisoned() && below(dice, 4) == 0) {  // some hosts try a few times more
            kill(p, dice, false);
        }
    }
    [[nodiscard]] bool write_host_rows(transaction& tx, naive_outbox& next) {
        bytes key;
        for (std::uint64_t const id : next.gone) {
            key = to_bytes(as_bytes("h"));
            append_u64(key, id);
            if (!agreed(tx.erase(key), errc{}, host_row)) { return false; }
        }
        bytes serial;
        append_u64(serial, next.serial);
        return agreed(tx.put(as_bytes("g"), serial), errc{}, host_row);
    }
    /// What was committed until now survives, if this is true.
    bool bar(process& p) {
        if (!p.store->barrier()) { return false; }
        unsynced_.clear();
        return true;
    }

    // Putting in.

    [[nodiscard]] naive_payload some_payload(random_generator& dice) {
        naive_payload p;
        p.seed = dice();
        std::uint64_t const kind = below(dice, 32);
        p.size = static_cast<std::uint32_t>(kind == 0 && large_ ? 1'000 + below(dice, 60)
                                            : kind < 6          ? below(dice, 120)
                                                                : below(dice, 12));
        return p;
    }
    [[nodiscard]] std::uint64_t some_token(naive_outbox const& m, random_generator& dice, bool rather_dead = false) {
        std::uint64_t const kind = below(dice, 10);
        std::uint64_t const n = dice();
        if (!m.dead.empty() && (kind < 2 || (rather_dead && kind < 9))) { return m.dead[n % m.dead.size()].token; }
        if (!m.living.empty() && kind < 9) { return m.living[n % m.living.size()].token; }
        return n % ((m.last_token >> 10) + 2) << 10 | (n >> 60 & 3U);
    }
    [[nodiscard]] bool enqueue(transaction& tx, naive_outbox& m, std::int64_t now, random_generator& dice) {
        std::size_t const count = below(dice, 4) == 0 ? 2 + below(dice, drafts_max - 1) : 1;
        std::vector<draft> drafts(count);
        std::vector<outbox_item> items(count);
        errc should{};
        bool unknown = false;
        std::uint64_t size = 0;
        for (std::size_t i = 0; i < count; ++i) {
            draft& d = drafts[i];
            naive_entry& e = d.entry;
            outbox_item& item = items[i];
            item.urgency = e.urgency = e.served_as = static_cast<priority>(below(dice, 4));
            item.lane = e.lane = lanes_ == 1 ? std::uint8_t{0} : std::array<std::uint8_t, 3>{0, 1, 255}[below(dice, 3)];
            e.payload = some_payload(dice);
            d.payload = e.payload.made();
            item.payload = d.payload;
            bool const loose = below(dice, 4) < loose_;
            std::size_t const names = loose ? 0 : below(dice, 6) == 0 ? 1 + below(dice, 3) : 1;
            bool twice = false;
            for (std::size_t n = 0; n < names; ++n) {
                auto const r = static_cast<std::uint8_t>(below(dice, records_));
                twice = twice || (e.mask >> r & 1U) != 0;
                e.mask |= std::uint32_t{1} << r;
                e.records[e.record_count++] = r;
                if (e.record_count > 1) { d.more.push_back(naive_record(r)); }
            }
            if (e.record_count != 0) { item.record = naive_record(e.records[0]); }
            item.more_records = d.more;
            if (edges_ != 0 && below(dice, 4) < edges_) {
                for (std::uint64_t n = 1 + below(dice, 2); n != 0; --n) {
                    std::uint64_t const t = some_token(m, dice);
                    twice = twice || std::count(e.after.begin(), e.after.end(), t) != 0;
                    unknown = unknown || t >> 10 == 0 || t >> 10 > m.last_token >> 10;
                    e.after.push_back(t);
                }
            }
            if (count > 1 && edges_ != 0 && below(dice, 2) == 0) { d.after_items.push_back(below(dice, count)); }
            item.after = e.after;
            item.after_items = d.after_items;
            if (own_patience_ && below(dice, 3) == 0) {
                item.patience = milliseconds{static_cast<std::int64_t>(below(dice, 10 * minute))};
                e.patience = (std::min)(item.patience->count(), m.options.wait_max.count());
                reached(outbox_point::patience_of_its_own);
            }
            if (lives_ && below(dice, 6) == 0) {
                item.time_to_live = milliseconds{static_cast<std::int64_t>(below(dice, 20 * minute)) - second};
                e.expires = naive_outbox::later(now, (std::max)(*item.time_to_live, milliseconds{0}));
            }
            e.entered = now;
            if (twice) { should = errc::invalid; }
            size += e.size();
        }
        std::uint64_t const most = m.options.entries_max;
        if (should == errc{} && most != 0 && m.living.size() + count > most) {
            should = errc::limit;
            reached(outbox_point::refused_entries);
            reached(sim_point::outbox_full);
        }
        if (should == errc{} && !m.fits(size)) {
            should = errc::limit;
            reached(outbox_point::refused_bytes);
            reached(sim_point::outbox_full);
        }
        for (std::uint8_t const lane : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{255}}) {
            std::uint64_t entries = 0;
            std::uint64_t more = 0;
            for (draft const& d : drafts) {
                entries += d.entry.lane == lane ? 1 : 0;
                more += d.entry.lane == lane ? d.entry.size() : 0;
            }
            if (should == errc{} && entries != 0 && !m.lane_fits(lane, entries, more)) {
                should = errc::limit;
                reached(outbox_point::refused_by_lane);
            }
        }
        if (should == errc{} && in_a_circle(drafts)) {
            should = errc::invalid;
            reached(outbox_point::refused_circle);
        }
        if (should == errc{} && unknown) { should = errc::not_found; }
        auto const token = count == 1 ? box_.enqueue(tx, items[0], wall(now)) : box_.enqueue_all(tx, items, wall(now));
        if (!agreed(token, should, "enqueue")) { return false; }
        if (should != errc{}) { return true; }
        return enter(tx, m, drafts, items, *token);
    }
    [[nodiscard]] bool enter(transaction& tx, naive_outbox& m, std::vector<draft>& drafts,
                             std::vector<outbox_item> const& items, std::uint64_t first) {
        for (std::size_t i = 0; i < drafts.size(); ++i) {
            drafts[i].entry.token = outbox::token_after(first, i, items[i]);
        }
        for (std::size_t i = 0; i < drafts.size(); ++i) {
            naive_entry& e = drafts[i].entry;
            if (!check(e.token > m.last_token, outbox_promise::fresh_tokens,
                       [&] { return std::to_string(e.token) + " after " + std::to_string(m.last_token); })) {
                return false;
            }
            m.last_token = e.token;
            e.id = ++ids_;
            e.after.erase(
                std::remove_if(e.after.begin(), e.after.end(),
                               [&](std::uint64_t t) { return m.find(t) == nullptr && m.find_dead(t) == nullptr; }),
                e.after.end());
            for (std::size_t const p : drafts[i].after_items) { e.after.push_back(drafts[p].entry.token); }
            bytes key = to_bytes(as_bytes("h"));
            append_u64(key, e.id);
            if (!agreed(tx.put(key, drafts[i].payload), errc{}, host_row)) { return false; }
            if (options_.tell) { tell("        " + text(e)); }
        }
        for (draft const& d : drafts) { m.living.push_back(d.entry); }
        for (draft const& d : drafts) {
            std::optional<std::int64_t> deadline;
            if (d.entry.patience && d.entry.urgency != priority::critical) {
                deadline = naive_outbox::later(d.entry.entered, milliseconds{*d.entry.patience});
            }
            for (std::uint64_t const p : d.entry.after) {
                naive_entry const* const before = m.find(p);
                if (before != nullptr && before->served_as > d.entry.urgency) {
                    reached(outbox_point::urgency_handed_on);
                }
                m.raise(p, d.entry.urgency, deadline);
            }
        }
        return true;
    }
    /// Tries to place them one by one.
    [[nodiscard]] static bool in_a_circle(std::vector<draft> const& drafts) {
        std::array<bool, drafts_max> placed{};
        for (std::size_t round = 0; round < drafts.size(); ++round) {
            for (std::size_t i = 0; i < drafts.size(); ++i) {
                bool may = true;
                for (std::size_t const p : drafts[i].after_items) { may = may && placed[p]; }
                for (std::size_t j = 0; j < i; ++j) {
                    may = may && (placed[j] || (drafts[j].entry.mask & drafts[i].entry.mask) == 0);
                }
                placed[i] = placed[i] || may;
            }
        }
        for (std::size_t i = 0; i < drafts.size(); ++i) {
            if (!placed[i]) { return true; }
        }
        return false;
    }

    // Taking out.

    [[nodiscard]] claim_options some_claim(random_generator& dice) {
        claim_options what;
        what.entries_max = below(dice, 24) == 0 ? below(dice, 2) * 100 : 1 + below(dice, 8);
        if (below(dice, 4) == 0) { what.bytes_max = below(dice, 200); }
        if (below(dice, 4) == 0) { what.lowest = static_cast<priority>(below(dice, 4)); }
        switch (below(dice, 12)) {
            case 0: what.lease = milliseconds{static_cast<std::int64_t>(below(dice, 3 * second))}; break;
            case 1: what.lease = milliseconds{static_cast<std::int64_t>(below(dice, 20 * minute))}; break;
            case 2: what.lease = model_.options.wait_max * 2; break;
            case 3: what.lease = (milliseconds::max)(); break;
            default: break;
        }
        if (below(dice, 3) == 0) { what.record_run_max = 1 + below(dice, 4); }
        if (lanes_ != 1 && below(dice, 3) == 0) { what.lane = std::array<std::uint8_t, 3>{0, 1, 255}[below(dice, 3)]; }
        if (below(dice, 4) == 0) { what.order = static_cast<claim_order>(below(dice, 3)); }
        if (below(dice, 4) == 0) { what.linger = milliseconds{static_cast<std::int64_t>(below(dice, 30 * second))}; }
        return what;
    }
    /// A worker's turn: it claims, and when there is nothing asks when to come again.
    void take_work(process& p, random_generator& dice) {
        claim_options what = some_claim(dice);
        if (calm_) {
            // The last worker leaves nothing behind: it takes from everywhere, and doesn't wait for more.
            what.entries_max = (std::max)(what.entries_max, std::size_t{1});
            what.lowest = priority::background;
            what.lane.reset();
            what.linger = milliseconds{0};
        }
        if (p.batches.size() >= 3) {
            p.wake = now_ + second;
            return;
        }
        trace(6, p.number, what.entries_max);
        bool const given = claim(p, what, dice);
        if (!p.up() || !fine()) { return; }
        if (given) {
            if (busy_workers_ || calm_) { p.wake = (std::min)(p.wake, now_ + 50); }
            return;
        }
        p.wake = never;
        what.entries_max = (std::max)(what.entries_max, std::size_t{1});
        ask_when(p, what);
    }
    void ask_when(process& p, claim_options const& what) {
        std::int64_t const now = reading(p);
        open_ = &p;
        faults_before_ = p.store->faults();
        std::optional<wall_time> due;
        bool asked = false;
        {
            auto tx = p.store->begin(access_mode::read);
            if (agreed(tx, errc{}, "begin")) {
                bool const plain = what.linger.count() == 0 && !what.lane;
                auto const said =
                    plain ? box_.next_due(*tx, wall(now), what.lowest) : box_.next_due(*tx, wall(now), what);
                asked = agreed(said, errc{}, "next_due");
                if (asked) { due = *said; }
            }
        }
        open_ = nullptr;
        settle(p);
        if (!p.up() || !fine()) { return; }
        if (!asked) {
            p.wake = now_ + second;
            return;
        }
        auto const should = model_.next_due(what, now);
        auto const told = [](std::optional<std::int64_t> const& t) {
            return t ? std::to_string(*t) : std::string{"nothing"};
        };
        std::optional<std::int64_t> said;
        if (due) { said = due->time_since_epoch().count(); }
        trace(7, p.number, said ? static_cast<std::uint64_t>(*said) : 1);
        check(said == should, outbox_promise::next_due,
              [&] { return "next_due says " + told(said) + " instead of " + told(should); });
        if (said) { p.wake = now_ + (std::clamp)(*said - now, std::int64_t{1}, calm_ ? 2 * day : 10 * minute); }
    }
    /// True when something was given.
    bool claim(process& p, claim_options const& what, random_generator& dice) {
        std::int64_t const now = reading(p);
        std::vector<typename batch::item> items;
        bool const done = transact(p, [&](transaction& tx, naive_outbox& m) {
            auto const given = box_.claim(tx, what, wall(now));
            if (!agreed(given, errc{}, "claim")) { return false; }
            bool const ended = end_what_is_over(m, what, now);
            auto const should = m.choose(what, now);
            moved_ = ended || !should.tokens.empty();
            if (should.until) { reached(outbox_point::lingered); }
            if (!check(given->size() == should.tokens.size(), outbox_promise::claim_order, [&] {
                    return "a claim gives " + std::to_string(given->size()) + " entries instead of " +
                           std::to_string(should.tokens.size());
                })) {
                return false;
            }
            std::uint64_t const before = m.last_fence;
            std::uint32_t seen = 0;
            std::vector<std::uint64_t> stay;
            for (std::uint64_t const t : should.tokens) {
                naive_entry const& e = *m.find(t);
                if (e.ready() && m.queue_of(e, now) == naive_outbox::queue::fresh) { stay.push_back(t); }
            }
            for (std::uint64_t const t : stay) { m.set_mark(*m.find(t)); }
            for (std::size_t i = 0; i < given->size(); ++i) {
                outbox_entry const& got = (*given)[i];
                if (!check(got.token == should.tokens[i], outbox_promise::claim_order, [&] {
                        return "a claim gives entry " + std::to_string(got.token) + " before " +
                               std::to_string(should.tokens[i]);
                    })) {
                    return false;
                }
                if (!check(got.fence > before, outbox_promise::rising_fences,
                           [&] { return "fence " + std::to_string(got.fence) + " after " + std::to_string(before); })) {
                    return false;
                }
                naive_entry& e = *m.find(got.token);
                m.last_fence = (std::max)(m.last_fence, got.fence);
                e.fence = got.fence;
                e.state = phase::claimed;
                e.time = m.end_of_lease(what.lease, now);
                e.expires.reset();
                e.owner = p.number;
                if ((seen & e.mask) != 0) { reached(outbox_point::run_of_a_record); }
                if (e.time == naive_outbox::never) { reached(outbox_point::claim_without_end); }
                seen |= e.mask;
            }
            m.mark();
            for (std::size_t i = 0; i < given->size(); ++i) {
                naive_entry const& e = *m.find((*given)[i].token);
                std::string const field = m.difference((*given)[i], e);
                if (!check(field.empty(), outbox_promise::answers,
                           [&] { return "a claimed entry " + std::to_string(e.token) + " has a wrong " + field; })) {
                    return false;
                }
                items.push_back({(*given)[i], e, batch::fate::untried});
            }
            return true;
        });
        if (!fine()) { return false; }
        if (!done) {
            p.wake = now_ + second;
            settle(p);
            return true;  // not nothing: it has to come again
        }
        if (items.empty()) {
            settle(p);
            return false;
        }
        for (auto const& other : processes_) {
            if (other.number != p.number && !other.batches.empty()) {
                reached(sim_point::two_processes_sending);
                break;
            }
        }
        tell(name(p) + " claims " + tokens_of(items) + ", fence " + std::to_string(items[0].given.fence));
        for (auto const& i : items) {
            if (archive_.size() < 64) {
                archive_.emplace_back(i.given.token, i.given.fence);
            } else {
                archive_[below(dice, archive_.size())] = {i.given.token, i.given.fence};
            }
        }
        batch b;
        b.serial = ++batches_;
        b.items = std::move(items);
        post(flight::kind::deliver, p, b.serial,
             5 + static_cast<std::int64_t>(below(dice, below(dice, 8) == 0 ? minute : 300)));
        p.batches.push_back(std::move(b));
        settle(p);
        return true;
    }
    /// True when there was any such thing.
    bool end_what_is_over(naive_outbox& m, claim_options const& what, std::int64_t now) {
        if (what.entries_max == 0) { return false; }
        for (naive_entry const& e : m.living) {
            bool const too_far = e.time > naive_outbox::later(now, m.options.wait_max);
            if (e.leases() && too_far) { reached(outbox_point::lease_too_far); }
            if (e.waits() && too_far) { reached(outbox_point::wait_too_far); }
        }
        std::size_t const lives = m.end_lives(now);
        std::size_t const leases = m.end_leases(now);
        reached(outbox_point::life_ended, lives);
        reached(outbox_point::lease_ended, leases);
        return lives + leases + m.end_waits(now, false) != 0;
    }
    [[nodiscard]] static std::string tokens_of(std::vector<typename batch::item> const& items) {
        std::string out;
        for (auto const& i : items) { out += (out.empty() ? "" : ", ") + std::to_string(i.given.token); }
        return out;
    }

    // The destination.

    [[nodiscard]] static bool refused_always(std::uint64_t id) noexcept { return id % 13 == 5; }
    [[nodiscard]] static bool spoils_a_batch(std::uint64_t id) noexcept { return id % 19 == 7; }

    void deliver(process& p, batch& b) {
        random_generator dice{detail::mix(report_.seed ^ 0xDE11, b.serial * 64 + b.tries)};
        ++b.tries;
        // Nothing is sent before the claim is safe.
        if (!b.barred && !bar(p)) {
            post(flight::kind::deliver, p, b.serial, second);
            settle(p);
            return;
        }
        b.barred = true;
        settle(p);
        if (!p.up()) { return; }
        std::uint64_t const serial = b.serial;
        bool const down = !calm_ && now_ < down_until_;
        bool const busy = !calm_ && now_ < throttled_until_;
        b.refused =
            below(dice, 4) == 0 && !down && !busy &&
            std::any_of(b.items.begin(), b.items.end(), [](auto const& i) { return spoils_a_batch(i.known.id); });
        std::uint32_t failed = 0;
        for (auto& i : b.items) {
            bool const lost = happens(sim_fault::request_lost, dice);
            bool const unheard = happens(sim_fault::reply_lost, dice);
            if (b.refused || i.became == batch::fate::done) { continue; }
            if ((failed & i.known.mask) != 0 || (b.resumed && stands_behind(i.known))) {
                i.became = batch::fate::skipped;
                continue;
            }
            i.became = busy                                                       ? batch::fate::throttled
                       : down || lost                                             ? batch::fate::failed
                       : refused_always(i.known.id) || spoils_a_batch(i.known.id) ? batch::fate::refused
                                                                                  : batch::fate::done;
            if (busy) { hit(sim_fault::throttled); }
            if (i.became == batch::fate::refused) { reached(sim_point::rejected); }
            if (i.became == batch::fate::done) {
                take_effect(i.known);
                if (unheard) {
                    i.became = batch::fate::failed;
                    reached(sim_point::effect_without_reply);
                }
            }
            if (i.became != batch::fate::done) { failed |= i.known.mask; }
        }
        trace(8, p.number, serial);
        post(flight::kind::answer, p, serial,
             5 + static_cast<std::int64_t>(below(dice, below(dice, 8) == 0 ? 2 * minute : 300)));
    }
    /// What a host has to look for that comes back to half of a run of a record.
    [[nodiscard]] bool stands_behind(naive_entry const& e) const {
        return std::any_of(model_.living.begin(), model_.living.end(), [&](naive_entry const& o) {
            return o.token < e.token && (o.mask & e.mask) != 0 && !took_effect(o.id);
        });
    }
    [[nodiscard]] bool took_effect(std::uint64_t id) const { return id < applied_.size() && applied_[id] != 0; }
    /// First effects come in order of entry within a record, but for what was a dead letter once.
    void take_effect(naive_entry const& e) {
        if (applied_.size() <= e.id) { applied_.resize(e.id + 64); }
        if (std::exchange(applied_[e.id], char{1}) != 0 || was_dead(e.id)) { return; }
        for (std::size_t r = 0; r < naive_record_count; ++r) {
            if ((e.mask >> r & 1U) == 0) { continue; }
            check(e.id > last_effect_[r], outbox_promise::record_order, [&] {
                return "of record " + std::to_string(r) + " entry " + std::to_string(e.token) +
                       " takes effect after a later one";
            });
            last_effect_[r] = (std::max)(last_effect_[r], e.id);
        }
        for (naive_entry const& o : model_.living) {
            if (o.token >= e.token) { break; }
            bool const first = (o.mask & e.mask) == 0 || was_dead(o.id) || took_effect(o.id);
            check(first, outbox_promise::record_order, [&] {
                return "entry " + std::to_string(e.token) + " takes effect before " + std::to_string(o.token) +
                       " of its record";
            });
        }
    }
    [[nodiscard]] bool was_dead(std::uint64_t id) const { return id < dead_once_.size() && dead_once_[id] != 0; }
    void note_dead() {
        for (naive_entry const& e : model_.dead) {
            if (dead_once_.size() <= e.id) { dead_once_.resize(e.id + 64); }
            dead_once_[e.id] = 1;
        }
    }

    // Answering.

    void answer(process& p, std::uint64_t serial) {
        auto const find = [&] {
            return std::find_if(p.batches.begin(), p.batches.end(), [&](batch const& b) { return b.serial == serial; });
        };
        batch b = *find();
        random_generator dice{detail::mix(report_.seed ^ 0xA5E7, serial * 64 + ++find()->tries)};
        std::int64_t const now = reading(p);
        std::size_t count = b.items.size();
        std::uint64_t const how = below(dice, 4);
        if (how == 3 && !b.refused) { count = 1 + below(dice, count); }  // the rest another time
        bool const done = transact(p, [&](transaction& tx, naive_outbox& m) {
            if (b.refused) { return answer_refused(tx, m, b); }
            switch (how) {
                case 0: return answer_at_once(tx, m, b, now, dice);
                case 1: {
                    if (!acknowledge(tx, m, b)) { return false; }
                    for (auto const& i : b.items) {
                        if (i.became != batch::fate::done && !answer_one(tx, m, i, now, dice)) { return false; }
                    }
                    return true;
                }
                default: break;
            }
            for (std::size_t i = 0; i < count; ++i) {
                if (!answer_one(tx, m, b.items[i], now, dice)) { return false; }
            }
            return true;
        });
        if (!fine()) { return; }
        auto const it = find();
        if (done) {
            tell(name(p) + " answers for " + tokens_of(b.items));
            it->items.erase(it->items.begin(), it->items.begin() + static_cast<std::ptrdiff_t>(count));
            if (it->items.empty()) {
                p.batches.erase(it);
                p.wake = (std::min)(p.wake, now_ + 20);
            } else {
                post(flight::kind::answer, p, serial, 1 + static_cast<std::int64_t>(below(dice, 5 * second)));
            }
        } else {
            bool const endless = std::any_of(b.items.begin(), b.items.end(), [&](auto const& i) {
                naive_entry const* const e = model_.claim_of(i.given.token, i.given.fence);
                return e != nullptr && e->time == naive_outbox::never;
            });
            if (b.tries > 8 && !endless) {
                p.batches.erase(it);
            } else {
                post(flight::kind::answer, p, serial, second * (1 + b.tries % 16));
            }
        }
        settle(p);
    }
    void note_answer(naive_outbox& m, outbox_entry const& given, std::int64_t now) {
        naive_entry const* const e = m.claim_of(given.token, given.fence);
        if (e == nullptr) {
            reached(outbox_point::claim_lost);
        } else if (e->time <= now) {
            reached(outbox_point::late_answer_counts);
        }
    }
    [[nodiscard]] bool answer_one(transaction& tx, naive_outbox& m, typename batch::item const& i, std::int64_t now,
                                  random_generator& dice) {
        outbox_entry const& g = i.given;
        note_answer(m, g, now);
        switch (i.became) {
            case batch::fate::done: return agreed(box_.ack(tx, g.token, g.fence), m.ack(g.token, g.fence), "ack");
            case batch::fate::refused: {
                auto const s = box_.bury(tx, g.token, g.fence, errc::rejected, as_bytes("refused"));
                return agreed(s, m.bury_claimed(g.token, g.fence, errc::rejected, "refused"), "bury");
            }
            case batch::fate::skipped: {
                auto const s = box_.release(tx, g.token, g.fence, wall(now));
                return agreed(s, m.release(g.token, g.fence, now), "release");
            }
            case batch::fate::untried:
            case batch::fate::failed:
            case batch::fate::throttled: break;
        }
        if (below(dice, 2) == 0) {
            std::int64_t const until = some_wait(now, dice);
            auto const s = box_.release(tx, g.token, g.fence, wall(until));
            return agreed(s, m.release(g.token, g.fence, until), "release");
        }
        return put_off(tx, m, g, now, i.became == batch::fate::throttled, dice);
    }
    [[nodiscard]] bool put_off(transaction& tx, naive_outbox& m, outbox_entry const& g, std::int64_t now,
                               bool throttled, random_generator& dice) {
        backoff_options policy;
        policy.base = milliseconds{second};
        policy.cap = milliseconds{20 * second};
        policy.attempts_max = 6;
        policy.hint_max = milliseconds{minute};
        std::optional<milliseconds> hint;
        if (throttled) { hint = milliseconds{static_cast<std::int64_t>(below(dice, 2 * minute))}; }
        auto const until = box_.nack(tx, g.token, g.fence, backoff<no_jitter>{policy}, dice, wall(now), hint);
        naive_entry* const e = m.claim_of(g.token, g.fence);
        if (!agreed(until, e == nullptr ? errc::claim_lost : errc{}, "nack")) { return false; }
        if (e == nullptr) { return true; }
        auto const should = m.nack(*e, policy, now, hint);
        if (!should) { reached(outbox_point::attempts_used_up); }
        bool const same = until->has_value() == should.has_value() && (!should || **until == wall(*should));
        return check(same, outbox_promise::answers, [] { return std::string{"nack says another time"}; });
    }
    [[nodiscard]] std::int64_t some_wait(std::int64_t now, random_generator& dice) {
        switch (below(dice, 12)) {
            case 0: return now - second;
            case 1: return naive_outbox::later(now, model_.options.wait_max * 2);
            case 2: return naive_outbox::later(now, model_.options.wait_max);
            case 3: return naive_outbox::never;
            default: return now + static_cast<std::int64_t>(below(dice, 3 * minute));
        }
    }
    [[nodiscard]] bool acknowledge(transaction& tx, naive_outbox& m, batch const& b) {
        std::vector<outbox_entry> some;
        std::size_t counted = 0;
        for (auto const& i : b.items) {
            if (i.became == batch::fate::done) { some.push_back(i.given); }
        }
        if (!some.empty() && b.serial % 5 == 0) { some.push_back(some.front()); }  // said twice
        auto const n = box_.ack_all(tx, some);
        if (!agreed(n, errc{}, "ack_all")) { return false; }
        for (outbox_entry const& e : some) { counted += m.ack(e.token, e.fence) == errc{} ? 1 : 0; }
        return check(*n == counted, outbox_promise::answers,
                     [&] { return "ack_all counts " + std::to_string(*n) + " instead of " + std::to_string(counted); });
    }
    [[nodiscard]] bool answer_at_once(transaction& tx, naive_outbox& m, batch const& b, std::int64_t now,
                                      random_generator& dice) {
        std::vector<outbox_answer> answers;
        for (auto const& i : b.items) {
            outbox_answer a;
            a.token = i.given.token;
            a.fence = i.given.fence;
            a.verdict = as_bytes("refused");
            switch (i.became) {
                case batch::fate::done: a.kind = answer_kind::done; break;
                case batch::fate::refused: a.kind = answer_kind::rejected; break;
                case batch::fate::skipped: a.kind = answer_kind::collateral; break;
                case batch::fate::untried:
                case batch::fate::failed:
                case batch::fate::throttled:
                    a.kind = answer_kind::retry;
                    a.not_before = wall(some_wait(now, dice));
                    break;
            }
            answers.push_back(a);
        }
        auto const n = box_.answer_all(tx, answers);
        if (!agreed(n, errc{}, "answer_all")) { return false; }
        std::size_t counted = 0;
        for (outbox_answer const& a : answers) { counted += m.answer(a, "refused") == errc{} ? 1 : 0; }
        return check(*n == counted, outbox_promise::answers, [&] {
            return "answer_all counts " + std::to_string(*n) + " instead of " + std::to_string(counted);
        });
    }
    /// The destination refused the batch and does not say for which entry.
    [[nodiscard]] bool answer_refused(transaction& tx, naive_outbox& m, batch const& b) {
        std::vector<outbox_entry> all;
        for (auto const& i : b.items) { all.push_back(i.given); }
        reached(sim_point::batch_split);
        auto const alone = box_.split(tx, all);
        if (!agreed(alone, errc{}, "split")) { return false; }
        bool const one = all.size() == 1;
        if (!check(alone->has_value() == one && (!one || **alone == all[0].token), outbox_promise::answers,
                   [] { return std::string{"split names another entry"}; })) {
            return false;
        }
        if (one) {
            reached(outbox_point::split_to_one);
            auto const s = box_.bury(tx, all[0].token, all[0].fence, errc::rejected, as_bytes("refused"));
            return agreed(s, m.bury_claimed(all[0].token, all[0].fence, errc::rejected, "refused"), "bury");
        }
        for (outbox_entry const& given : all) {
            naive_entry* const e = m.claim_of(given.token, given.fence);
            if (e == nullptr) { continue; }
            e->batch_max = static_cast<std::uint32_t>(all.size() / 2);
            m.put_back(*e, phase::pending, 0);
        }
        return true;
    }

    // Deeds of people and programs, and mishaps.

    [[nodiscard]] std::int64_t pause(random_generator& dice) {
        std::uint64_t const kind = below(dice, 100);
        std::int64_t const stretch = slow_ ? 20 : 1;
        if (kind < 70) { return static_cast<std::int64_t>(below(dice, 800)) * stretch; }
        if (kind < 95) { return static_cast<std::int64_t>(below(dice, 20 * second)) * stretch; }
        return static_cast<std::int64_t>(below(dice, 10 * minute));
    }
    void perform(std::uint32_t number, random_generator& dice) {
        ++report_.steps;
        process& p = processes_[below(dice, processes_.size())];
        trace(10, number, p.number);
        std::uint64_t const what = below(dice, 100);
        if (what >= 78) {
            mishap(p, dice);
            return;
        }
        if (!p.up() || p.suspended_until > now_) { return; }
        if (what < 8) {
            take_work(p, dice);
            return;
        }
        if (what < 12) {
            look(p, outbox_promise::contents, true);
            claim_options const some = some_claim(dice);
            if (fine() && some.entries_max != 0) { ask_when(p, some); }
            return;
        }
        std::uint64_t const deeds = below(dice, 5) == 0 ? 2 + below(dice, 2) : 1;
        (void)transact(p, [&](transaction& tx, naive_outbox& m) {
            for (std::uint64_t n = 0; n < deeds; ++n) {
                if (!deed(p, tx, m, dice)) { return false; }
            }
            return true;
        });
        settle(p);
    }
    [[nodiscard]] bool deed(process& p, transaction& tx, naive_outbox& m, random_generator& dice) {
        std::int64_t const now = reading(p);
        std::uint64_t const what = below(dice, 100);
        if (what < 55) { return m.living.size() + drafts_max > living_max || enqueue(tx, m, now, dice); }
        if (what < 68) {
            std::uint64_t token = some_token(m, dice);
            naive_payload const payload = some_payload(dice);
            if (what < 60) { return agreed(box_.withdraw(tx, token), m.withdraw(token), "withdraw"); }
            if (what < 63) { return agreed(box_.amend(tx, token, payload.made()), m.amend(token, payload), "amend"); }
            if (what < 66) {
                std::uint64_t const other = some_token(m, dice, what != 65);
                if (naive_entry const* const d = m.find_dead(other)) {
                    // After a dead letter that would stand behind it again: what closes a circle when that is revived.
                    for (naive_entry const& o : m.living) {
                        if (o.token < other && (o.mask & d->mask) != 0) { token = o.token; }
                    }
                }
                errc const should = m.put_after(token, other);
                if (should == errc{}) { reached(outbox_point::put_after); }
                if (should == errc::invalid) { reached(outbox_point::circle_later); }
                return agreed(box_.put_after(tx, token, other), should, "put_after");
            }
            return agreed(box_.hurry(tx, token), m.hurry(token), "hurry");
        }
        if (what < 71) {
            auto const n = box_.hurry_all(tx, wall(now));
            if (!agreed(n, errc{}, "hurry_all")) { return false; }
            std::size_t const should = m.end_waits(now, true);
            return check(*n == should, outbox_promise::answers, [&] {
                return "hurry_all ends " + std::to_string(*n) + " waits instead of " + std::to_string(should);
            });
        }
        if (what < 86) { return decide(tx, m, some_token(m, dice, true), now, dice); }
        if (what < 90) { return answer_from_old_times(tx, m, now, dice); }
        if (p.batches.empty()) { return true; }
        batch& b = p.batches[below(dice, p.batches.size())];
        auto& i = b.items[below(dice, b.items.size())];
        note_answer(m, i.given, now);
        if (what < 95) {
            claim_options const some = some_claim(dice);
            auto const end = box_.renew(tx, i.given.token, i.given.fence, wall(now), some.lease);
            std::int64_t const should = m.end_of_lease(some.lease, now);
            if (!agreed(end, m.renew(i.given.token, i.given.fence, should), "renew")) { return false; }
            return !end || check(*end == wall(should), outbox_promise::answers,
                                 [] { return std::string{"renew says another end"}; });
        }
        naive_payload const payload = some_payload(dice);
        return agreed(box_.set_payload(tx, i.given.token, i.given.fence, payload.made()),
                      m.set_payload(i.given.token, i.given.fence, payload), "set_payload");
    }
    /// What a person does with a dead letter.
    [[nodiscard]] bool decide(transaction& tx, naive_outbox& m, std::uint64_t token, std::int64_t now,
                              random_generator& dice) {
        std::uint64_t const what = below(dice, 16);
        if (what < 7) {
            std::optional<naive_payload> other;
            bytes payload;
            std::optional<bytes_view> edited;
            if (below(dice, 3) == 0) {
                other = some_payload(dice);
                payload = other->made();
                edited = payload;
            }
            errc const should = m.revive(token, now, other);
            if (!agreed(box_.revive(tx, token, wall(now), edited), should, "revive")) { return false; }
            if (should != errc{}) { return true; }
            reached(sim_point::dead_letter_revived);
            naive_entry const& e = *m.find(token);
            for (naive_entry const& o : m.living) {
                if (o.token > token && (o.mask & e.mask) != 0) {
                    reached(outbox_point::revived_before_others);
                    break;
                }
            }
            bool const many = m.options.entries_max != 0 && m.living.size() > m.options.entries_max;
            if (many || !m.fits(0)) { reached(outbox_point::above_the_limit); }
            return true;
        }
        if (what < 12) {
            errc const should = m.discard(token);
            if (should == errc{}) { reached(sim_point::dead_letter_discarded); }
            if (should == errc::invalid) { reached(outbox_point::discard_refused); }
            return agreed(box_.discard(tx, token), should, "discard");
        }
        bool const there = m.find_dead(token) != nullptr;
        errc const should = there ? errc{} : errc::not_found;
        if (what < 14) {
            if (m.dependants(token) != 0 && there) { reached(outbox_point::dependants_released); }
            return agreed(box_.release_dependants(tx, token), m.release_dependants(token), "release_dependants");
        }
        auto const n = box_.bury_dependants(tx, token, errc::cancelled, as_bytes("given up"));
        if (!agreed(n, should, "bury_dependants")) { return false; }
        if (!there) { return true; }
        std::size_t const went = m.bury_dependants(token, errc::cancelled, "given up");
        if (went != 0) { reached(outbox_point::dependants_buried); }
        return check(*n == went, outbox_promise::answers, [&] {
            return "bury_dependants counts " + std::to_string(*n) + " instead of " + std::to_string(went);
        });
    }
    /// Somebody who was away for long answers for a claim that is not his any more.
    [[nodiscard]] bool answer_from_old_times(transaction& tx, naive_outbox& m, std::int64_t now,
                                             random_generator& dice) {
        if (archive_.empty()) { return true; }
        auto const old = archive_[below(dice, archive_.size())];
        if (m.claim_of(old.first, old.second) != nullptr) { return true; }
        reached(outbox_point::claim_lost);
        switch (below(dice, 5)) {
            case 0: return agreed(box_.release(tx, old.first, old.second, wall(now)), errc::claim_lost, "release");
            case 1: return agreed(box_.renew(tx, old.first, old.second, wall(now)), errc::claim_lost, "renew");
            case 2: return agreed(box_.bury(tx, old.first, old.second, errc::rejected, {}), errc::claim_lost, "bury");
            case 3: return agreed(box_.set_payload(tx, old.first, old.second, {}), errc::claim_lost, "set_payload");
            default: return agreed(box_.ack(tx, old.first, old.second), errc::claim_lost, "ack");
        }
    }

    void mishap(process& p, random_generator& dice) {
        constexpr std::array<sim_fault, 19> all{sim_fault::storage_error,
                                                sim_fault::storage_error_after,
                                                sim_fault::transaction_lost,
                                                sim_fault::storage_full,
                                                sim_fault::storage_busy,
                                                sim_fault::stall,
                                                sim_fault::crash,
                                                sim_fault::crash_in_recovery,
                                                sim_fault::power_cut,
                                                sim_fault::clock_jump,
                                                sim_fault::clock_stuck,
                                                sim_fault::clock_drift,
                                                sim_fault::suspended,
                                                sim_fault::host_rollback,
                                                sim_fault::throttled,
                                                sim_fault::partition,
                                                sim_fault::herd,
                                                sim_fault::failed_sync,
                                                sim_fault::contended};
        sim_fault const f = all[below(dice, all.size())];
        std::uint64_t const nth = 1 + below(dice, below(dice, 2) == 0 ? 6 : 60);
        std::uint64_t const kind = below(dice, 8);
        auto const moment = [&](std::int64_t most) {
            return 1 + static_cast<std::int64_t>(below(dice, static_cast<std::uint64_t>(most)));
        };
        if (off(f)) { return; }
        trace(11, static_cast<std::uint64_t>(f), p.number);
        auto const inject = [&](storage_fault const& fault) {
            if (!p.up()) { return; }
            hit(f);
            p.store->inject(fault);
        };
        switch (f) {
            case sim_fault::storage_error:
                inject({nth,
                        errc::storage_io,
                        kind % 2 == 0 ? fault_moment::midway : fault_moment::before,
                        kind == 0,
                        {}});
                break;
            case sim_fault::failed_sync:
                inject({.nth = 1 + kind % 3,
                        .moment = kind % 2 == 0 ? fault_moment::after : fault_moment::before,
                        .only = storage_call::commit,
                        .poisons = true});
                break;
            case sim_fault::contended:
                inject({1 + kind % 3, errc::contended, fault_moment::before, false, storage_call::commit});
                break;
            case sim_fault::storage_error_after:
                inject({1, errc::storage_io, fault_moment::after, false,
                        kind == 0 ? storage_call::barrier : storage_call::commit});
                break;
            case sim_fault::transaction_lost:
                inject({nth, errc::transaction_lost, fault_moment::before, false, {}});
                break;
            case sim_fault::storage_full:
                inject({1, errc::storage_full, fault_moment::before, true, storage_call::put});
                p.full_until = now_ + moment(10 * minute);
                break;
            case sim_fault::storage_busy:
                inject({1, errc::busy, fault_moment::before, false, storage_call::begin});
                break;
            case sim_fault::stall:
            case sim_fault::suspended:
                hit(f);
                tell(name(p) + " stands still");
                p.suspended_until = now_ + moment(kind == 0 ? 2 * day : 5 * minute);
                break;
            case sim_fault::crash:
                if (kind < 4) {
                    hit(f);
                    kill(p, dice, kind == 0);
                } else if (p.up()) {
                    p.store->inject(
                        {nth, errc::storage_io, kind < 6 ? fault_moment::before : fault_moment::after, true, {}});
                    p.doomed = true;
                }
                break;
            case sim_fault::crash_in_recovery:
                p.recoveries_to_fail = 1 + static_cast<std::uint32_t>(below(dice, 2));
                break;
            case sim_fault::power_cut:
                hit(f);
                cut_power(dice);
                break;
            case sim_fault::clock_jump: {
                hit(f);
                constexpr std::array<std::int64_t, 8> jumps{
                    -365 * day, 365 * day, -day, day, -minute, 10 * minute, -60 * minute, std::int64_t{1} << 61};
                p.clock.offset = kind == 7 && below(dice, 4) != 0 ? 0 : jumps[kind];
                p.clock.stuck.reset();
                break;
            }
            case sim_fault::clock_stuck:
                hit(f);
                if (p.clock.stuck) {
                    p.clock.stuck.reset();
                } else {
                    p.clock.stuck = reading(p);
                }
                break;
            case sim_fault::clock_drift:
                hit(f);
                p.clock.drift_from = now_;
                p.clock.drift_ppm = kind < 4 ? 0 : static_cast<std::int64_t>(below(dice, 200'000)) - 100'000;
                break;
            case sim_fault::host_rollback: p.rolls_back = true; break;
            case sim_fault::throttled: throttled_until_ = now_ + moment(5 * minute); break;
            case sim_fault::partition:
                hit(f);
                down_until_ = now_ + moment(10 * minute);
                break;
            case sim_fault::herd:
                hit(f);
                for (process& each : processes_) { each.wake = each.up() ? now_ + 1 : never; }
                break;
            default: break;
        }
    }

    // The end: everything is mended, and everything has to go.

    void calm_down() {
        calm_ = true;
        tell("the trouble is over");
        for (process& p : processes_) {
            p.suspended_until = 0;
            p.recoveries_to_fail = 0;
            p.clock = {};
            p.doomed = false;
            p.rolls_back = false;
            if (p.store && p.store->poisoned()) {
                p.store.reset();
                p.handle.reset();
            }
            if (p.store) { p.store->heal(); }
            p.full_until = never;
            boot(p);
            if (!fine()) { return; }
            p.doomed = false;
            p.store->heal();
            adopt(p);
            p.wake = now_ + 1;
        }
        std::int64_t const begun = now_;
        std::int64_t const patience = 2 * model_.options.wait_max.count() + 60 * minute;
        std::size_t turns = 0;
        for (; turns < options_.calm_steps && fine() && !(model_.living.empty() && model_.dead.empty()); ++turns) {
            bool const moved = turn(begun + patience);
            if (!fine()) { return; }
            if (turns % 16 == 0 || !moved) {
                if (!clear_dead() && !moved) { break; }
            }
        }
        bool const empty = model_.living.empty() && model_.dead.empty();
        if (!check(empty, outbox_promise::liveness, [&] {
                model_.mark();
                std::string what = std::to_string(model_.living.size()) + " entries and " +
                                   std::to_string(model_.dead.size()) + " dead letters are left after " +
                                   std::to_string(turns) + " turns";
                for (naive_entry const& e : model_.living) {
                    what += "; " + std::to_string(e.token) + " is in state " +
                            std::to_string(static_cast<int>(naive_outbox::state_of(e)));
                }
                return what;
            })) {
            return;
        }
        look(processes_[0], outbox_promise::contents, true);
        if (!fine()) { return; }
        reached(sim_point::quiet_after_trouble);
        if (steady_) { load_steadily(processes_[0]); }
        trace(14, model_.last_fence, report_.steps);
    }
    /// A person goes through the dead letters: what has a chance lives again, the rest goes. False: there is none.
    bool clear_dead() {
        if (model_.dead.empty()) { return false; }
        process& p = processes_[0];
        std::int64_t const now = reading(p);
        (void)transact(p, [&](transaction& tx, naive_outbox& m) {
            std::vector<std::uint64_t> tokens;
            for (naive_entry const& e : m.dead) { tokens.push_back(e.token); }
            for (std::uint64_t const token : tokens) {
                naive_entry const e = *m.find_dead(token);
                if (!refused_always(e.id) && !spoils_a_batch(e.id)) {
                    errc const should = m.revive(token, now, {});
                    if (!agreed(box_.revive(tx, token, wall(now)), should, "revive")) { return false; }
                    if (should == errc{}) { continue; }
                    if (!agreed(box_.release_dependants(tx, token), m.release_dependants(token),
                                "release_dependants")) {
                        return false;
                    }
                    continue;
                }
                if (m.dependants(token) != 0 &&
                    !agreed(box_.release_dependants(tx, token), m.release_dependants(token), "release_dependants")) {
                    return false;
                }
                if (!agreed(box_.discard(tx, token), m.discard(token), "discard")) { return false; }
            }
            return true;
        });
        return true;
    }
    /// More urgent entries keep coming, as many as go: one of the least urgent still goes when its patience ends.
    void load_steadily(process& p) {
        for (process& each : processes_) { each.wake = never; }
        std::int64_t const patience = model_.options.patience_background.count();
        std::int64_t const tick = patience / 64 + 1;
        std::uint64_t waiting = 0;
        std::int64_t const begun = now_;
        random_generator dice{detail::mix(report_.seed, 0x57EAD7)};
        auto const put = [&](priority urgency) {
            outbox_item item;
            item.urgency = urgency;
            std::uint64_t token = 0;
            (void)transact(p, [&](transaction& tx, naive_outbox& m) {
                std::vector<draft> drafts(1);
                std::vector<outbox_item> const items{item};
                drafts[0].entry.urgency = drafts[0].entry.served_as = urgency;
                drafts[0].entry.entered = reading(p);
                naive_entry const& e = drafts[0].entry;
                bool const full = (m.options.entries_max != 0 && m.living.size() >= m.options.entries_max) ||
                                  !m.lane_fits(e.lane, 1, e.size());
                auto const said = box_.enqueue(tx, item, wall(reading(p)));
                if (!agreed(said, full ? errc::limit : errc{}, "enqueue")) { return false; }
                if (said) { token = *said; }
                return full || enter(tx, m, drafts, items, *said);
            });
            return token;
        };
        (void)put(priority::important);
        (void)put(priority::normal);
        waiting = put(priority::background);
        while (fine() && model_.find(waiting) != nullptr) {
            if (!check(now_ <= begun + patience + 4 * tick, outbox_promise::no_starvation,
                       [] { return std::string{"more urgent entries keep a background one back for ever"}; })) {
                return;
            }
            now_ += tick;
            ++report_.steps;
            for (int n = 0; n < 2; ++n) { (void)put(static_cast<priority>(1 + below(dice, 2))); }
            claim_options what;
            what.entries_max = 2;
            if (!claim(p, what, dice) || !fine()) { return; }
            batch const b = std::move(p.batches.back());
            p.batches.pop_back();
            (void)transact(p, [&](transaction& tx, naive_outbox& m) {
                std::vector<outbox_entry> some;
                for (auto const& i : b.items) { some.push_back(i.given); }
                auto const n = box_.ack_all(tx, some);
                for (outbox_entry const& e : some) { (void)m.ack(e.token, e.fence); }
                return agreed(n, errc{}, "ack_all");
            });
        }
    }

    // Telling.

    void tell(std::string line) {
        if (!options_.tell || report_.story.size() >= 20'000) { return; }
        std::int64_t const t = now_ - begin_time;
        auto const two = [](std::int64_t n) { return (n < 10 ? "0" : "") + std::to_string(n); };
        std::string stamp = "day " + std::to_string(t / day) + " " + two(t / (60 * minute) % 24) + ":" +
                            two(t / minute % 60) + ":" + two(t / second % 60) + "." + std::to_string(t % second);
        stamp.resize(24, ' ');
        report_.story.push_back(stamp + line);
    }
    void trace(std::uint64_t what, std::uint64_t a, std::uint64_t b) noexcept {
        auto const add = [&](std::uint64_t n) {
            report_.trace = ((report_.trace << 7 | report_.trace >> 57) ^ n) * 0x9E3779B97F4A7C15U;
        };
        add(what);
        add(a);
        add(b);
        add(static_cast<std::uint64_t>(now_));
    }

    Setup setup_;
    simulation_options options_;
    outbox_simulation_report report_{};
    std::int64_t now_ = begin_time;
    bool calm_ = false;

    std::uint64_t swarm_off_ = 0;
    std::array<std::uint64_t, sim_fault_count> rate_{};
    std::size_t records_ = 1;
    std::uint64_t loose_ = 1;  ///< of four entries so many are on no record
    std::uint64_t lanes_ = 1;
    std::uint64_t edges_ = 0;  ///< of four entries so many are after others
    bool lives_ = false;
    bool own_patience_ = false;
    bool large_ = false;
    bool slow_ = false;
    bool busy_workers_ = true;  ///< after a claim they take the next at once
    bool steady_ = false;

    outbox box_{};
    durability promise_ = durability::full;
    std::unique_ptr<medium> disk_{};
    std::deque<process> processes_{};
    std::vector<flight> flights_{};
    std::uint64_t flights_sent_ = 0;
    std::int64_t down_until_ = 0;
    std::int64_t throttled_until_ = 0;

    naive_outbox model_{};
    std::vector<naive_outbox> unsynced_{};  ///< states before the present one that a power cut may bring back
    process* open_ = nullptr;
    bool moved_ = true;  ///< the transaction did something that others may have waited for
    std::uint64_t faults_before_ = 0;
    std::uint64_t looks_ = 0;
    std::uint64_t ids_ = 0;
    std::uint64_t batches_ = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> archive_{};
    std::vector<char> applied_{};    ///< by the number of the host's row
    std::vector<char> dead_once_{};  ///< by the same
    std::array<std::uint64_t, naive_record_count> last_effect_{};
};

/// Runs one seed.
template <class Setup = simulated_setup>
[[nodiscard]] outbox_simulation_report simulate_outbox(std::uint64_t seed, simulation_options options = {},
                                                       Setup setup = {}) {
    return outbox_simulation<Setup>{seed, std::move(options), std::move(setup)}.run();
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
