// SPDX-License-Identifier: BSL-1.0

// A process that dies after every single step: of each call after each of its storage operations, and over SQLite before
// each step of the disk. Each time every entry is in exactly one place, as before the call or as after it, and all of
// them still go.

#include <syncline/outbox/outbox.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/testing/sqlite_power_loss.hpp>

#include "support/catch.hpp"

#include "model.hpp"

using namespace outbox_tests;

namespace {

/// What a worker remembers.
struct memory {
    std::vector<std::uint64_t> tokens;
    std::vector<outbox_entry> claimed;
    generator dice{7};
};

constexpr std::int64_t start = 1'700'000'000'000;

/// The calls of a life, in order: each leaves something for the later ones.
constexpr std::size_t life_length = 31;
template <class Tx>
errc live(std::size_t which, outbox const& box, Tx& tx, memory& m) {
    std::string const long_payload(1200, 'l');
    std::int64_t const now = start + static_cast<std::int64_t>(which) * 1'000;
    auto const put = [&](sl::outbox_item const& item) {
        auto const token = box.enqueue(tx, item, at(now));
        if (token) { m.tokens.push_back(*token); }
        return code(token);
    };
    auto const claim = [&](sl::claim_options const& what, std::int64_t when) {
        auto given = box.claim(tx, what, at(when));
        if (given) { m.claimed = *given; }
        return code(given);
    };
    auto const of = [&](std::size_t i) -> outbox_entry const& {
        static outbox_entry const none;
        return i < m.claimed.size() ? m.claimed[i] : none;
    };
    switch (which) {
        case 0: return put({priority::normal, sl::as_bytes("a"), sl::as_bytes("1")});
        case 1: return put({priority::important, sl::as_bytes("a"), view(long_payload)});
        case 2: return put({.urgency = priority::background, .patience = milliseconds{500}});
        case 3: return put({.lane = 9, .time_to_live = milliseconds{2'500}});
        case 4: {
            std::size_t const first[] = {0};
            bytes_view const more[] = {sl::as_bytes("record/39798"), sl::as_bytes("record/21701"), sl::as_bytes("a")};
            std::vector<sl::outbox_item> items(6);
            items[0].record = sl::as_bytes("b");
            items[1].after_items = first;
            items[2].record = sl::as_bytes("c");
            items[2].more_records = more;
            items[3].record = sl::as_bytes("record/21701");
            items[4].urgency = priority::critical;
            items[4].after = {m.tokens.data(), 1};
            auto const token = box.enqueue_all(tx, items, at(now));
            for (std::size_t i = 0; token && i < items.size(); ++i) {
                m.tokens.push_back(outbox::token_after(*token, i, items[i]));
            }
            return code(token);
        }
        case 5: return code(box.put_after(tx, m.tokens[2], m.tokens[4]));
        case 6: return code(box.amend(tx, m.tokens[4], view(long_payload)));
        case 7: return code(box.withdraw(tx, m.tokens[5]));
        case 8: return claim({.entries_max = 3}, now);  // and a life ends
        case 9: return code(box.renew(tx, of(0).token, of(0).fence, at(now)));
        case 10: return code(box.set_payload(tx, of(1).token, of(1).fence, sl::as_bytes("frozen")));
        case 11: return code(box.release(tx, of(0).token, of(0).fence, at(now + 500)));
        case 12: return code(box.ack(tx, of(1).token, of(1).fence));
        case 13: return claim({.entries_max = 10, .record_run_max = 2}, now);
        case 14: return code(box.split(tx, m.claimed));
        case 15: return claim({.entries_max = 2}, now);
        case 16: return code(box.nack(tx, of(0).token, of(0).fence, sl::backoff<>{}, m.dice, at(now)));
        case 17: return code(box.hurry(tx, of(0).token));
        case 18: return claim({.entries_max = 10}, now + 100'000);  // leases end
        case 19: return code(box.bury(tx, of(0).token, of(0).fence, errc::rejected, sl::as_bytes("no")));
        case 20: {
            std::vector<sl::outbox_answer> answers;
            for (std::size_t i = 1; i < m.claimed.size(); ++i) {
                answers.push_back(
                    {of(i).token, of(i).fence, static_cast<sl::answer_kind>(i % 4), at(now + 9'000), {}, {}});
            }
            return code(box.answer_all(tx, answers));
        }
        case 21: return code(box.hurry_all(tx, at(now)));
        case 22: return code(box.bury_dependants(tx, m.tokens[3], errc::rejected, {}));
        case 23: return code(box.revive(tx, m.tokens[3], at(now), sl::as_bytes("again")));
        case 24: return claim({.entries_max = 10}, now + 300'000);
        case 25: return code(box.ack_all(tx, m.claimed));
        case 26: return put({.record = sl::as_bytes("alone"), .lane = 7, .time_to_live = milliseconds{9'000}});
        case 27: return claim({.lane = 7}, now);  // one alone: it says itself who has it
        case 28: return claim({.lane = 7}, now + 400'000);
        case 29: return code(box.ack(tx, of(0).token, of(0).fence));
        default: {
            std::vector<std::uint64_t> dead;
            auto const s = box.scan_dead(tx, [&](outbox_entry const& e) {
                dead.push_back(e.token);
                return true;
            });
            if (!s) { return code(s); }
            if (dead.empty()) { return {}; }
            if (auto const r = box.release_dependants(tx, dead[0]); !r) { return code(r); }
            return code(box.discard(tx, dead[0]));
        }
    }
}

/// That every entry is in one place, and how many there are.
std::map<std::string, int> places(raw_map const& rows) {
    std::map<std::string, int> of_token;
    for (auto const& [k, v] : rows) {
        bool const place = k[1] == 'q' || k[1] == 'b' || k[1] == 'z';
        if (place) { ++of_token[k.substr(k.size() - 8)]; }
    }
    for (auto const& [token, n] : of_token) { REQUIRE(n == 1); }
    return of_token;
}

/// Whoever comes after the crash sends all that lives, each entry once, and nothing is left of it.
template <class Storage>
void finish(Storage& s, outbox const& box) {
    auto tx = s.begin(sl::access_mode::write);
    REQUIRE(tx);
    std::vector<std::uint64_t> living;
    REQUIRE(box.scan(*tx, [&](outbox_entry const& e) {
        living.push_back(e.token);
        return true;
    }));
    std::vector<std::uint64_t> dead;
    REQUIRE(box.scan_dead(*tx, [&](outbox_entry const& e) {
        dead.push_back(e.token);
        return true;
    }));
    for (std::uint64_t const t : dead) {
        REQUIRE(box.release_dependants(*tx, t));
        REQUIRE(box.discard(*tx, t));
    }
    std::vector<std::uint64_t> sent;
    for (int turn = 0; turn < 40 && sent.size() != living.size(); ++turn) {
        auto const given = box.claim(*tx, {}, at(start + 1'000'000));
        REQUIRE(given);
        for (outbox_entry const& e : *given) { sent.push_back(e.token); }
        REQUIRE(*box.ack_all(*tx, *given) == given->size());
    }
    std::sort(living.begin(), living.end());
    std::sort(sent.begin(), sent.end());
    // What would expire is sent by nobody: the script's has a life of its own.
    std::size_t expired = 0;
    REQUIRE(box.scan_dead(*tx, [&](outbox_entry const&) {
        ++expired;
        return true;
    }));
    REQUIRE(sent.size() + expired == living.size());
    REQUIRE(std::adjacent_find(sent.begin(), sent.end()) == sent.end());
    std::size_t rows = 0;
    REQUIRE(sl::scan_prefix(*tx, sl::as_bytes("o"), [&](bytes_view, bytes_view) {
        ++rows;
        return true;
    }));
    REQUIRE(rows == 1 + expired);
}

}  // namespace

TEST_CASE("outbox: a process that dies after any storage operation of any call leaves what was, or what is to be") {
    sl::memory_store store;
    outbox const box;
    memory m;
    std::uint64_t crashes = 0;
    for (std::size_t which = 0; which < life_length; ++which) {
        raw_map before;
        {
            sl::memory_storage handle(store);
            before = raw(handle);
        }
        std::uint64_t steps = 0;
        for (std::uint64_t n = 0; n <= steps; ++n) {
            {
                sl::memory_storage handle(store);
                auto tx = write(handle);
                memory own = m;
                failing<transaction> d{tx, n, true};
                errc const said = live(which, box, d, own);
                CAPTURE(which);
                if (n == 0) {
                    REQUIRE(said == errc{});
                    steps = d.calls;  // and now die after 0, 1, … of them
                } else {
                    REQUIRE(said == errc::storage_io);
                    ++crashes;
                }
            }
            sl::memory_storage handle(store);
            REQUIRE(raw(handle) == before);
        }
        {
            sl::memory_storage handle(store);
            auto tx = write(handle);
            REQUIRE(live(which, box, tx, m) == errc{});
            REQUIRE(tx.commit());  // and dies: nobody heard of it
        }
        auto const snapshot = store.snapshot();
        {
            sl::memory_storage handle(store);
            places(raw(handle));
            finish(handle, box);
        }
        store.restore(snapshot);
    }
    CHECK(crashes > 250);
}

TEST_CASE("outbox: over SQLite a crash or power cut before any step of the disk leaves every entry in one place") {
    using sl::testing::sqlite_disk;
    auto const open = [](char const* vfs) {
        return sl::sqlite_storage::open("store.db", {.busy_timeout = milliseconds{0}, .vfs = vfs});
    };
    outbox const box;
    sqlite_disk disk;
    std::vector<raw_map> states;          // after each commit
    std::vector<std::uint64_t> begun;     // steps of the disk before each
    std::vector<std::uint64_t> answered;  // and after it
    {
        auto s = open(disk.vfs());
        REQUIRE(s);
        states.push_back({});
        begun.push_back(0);
        answered.push_back(disk.steps());
        memory m;
        for (std::size_t which = 0; which < life_length; ++which) {
            begun.push_back(disk.steps());
            {
                auto tx = s->begin(sl::access_mode::write);
                REQUIRE(tx);
                REQUIRE(live(which, box, *tx, m) == errc{});
                REQUIRE(tx->commit());
            }
            answered.push_back(disk.steps());
            states.push_back(raw(*s));
            places(states.back());
        }
    }
    std::uint64_t cuts = 0;
    sl::testing::sqlite_disk_replay replay(disk);
    for (std::uint64_t step = 0; step <= answered.back(); ++step) {
        replay.advance(step);
        for (std::uint64_t choice = 0; choice < (replay.unsynced() ? 2U : 1U); ++choice) {
            ++cuts;
            sqlite_disk after(disk.options(), replay.survivors(step * 31 + choice));
            auto s = open(after.vfs());
            REQUIRE(s);
            auto const now = raw(*s);
            // The last commit that was answered, or one that had begun since.
            bool known = false;
            for (std::size_t i = 0; i < states.size(); ++i) {
                bool const possible =
                    (i + 1 == states.size() || answered[i + 1] > step) && (i == 0 || begun[i] <= step);
                known = known || (possible && now == states[i]);
            }
            CAPTURE(step, choice);
            REQUIRE(known);
            places(now);
        }
    }
    CHECK(cuts > 150);
}
