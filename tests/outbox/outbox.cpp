// SPDX-License-Identifier: BSL-1.0
#include <syncline/outbox/entry.hpp>
#include <syncline/outbox/changing.hpp>
#include <syncline/outbox/ending.hpp>
#include <syncline/outbox/entering.hpp>
#include <syncline/outbox/finding.hpp>
#include <syncline/outbox/layout.hpp>
#include <syncline/outbox/moves.hpp>
#include <syncline/outbox/order.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/outbox/selection.hpp>
#include <syncline/outbox/writing.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/retry/backoff.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"
#include "support/sanitized.hpp"

#include "model.hpp"

using namespace outbox_tests;

namespace {

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

namespace {

/// Every seed is a life of its own, in one of three sizes; each step one transaction, of which some are left.
void compare(std::uint64_t first, std::uint64_t seeds, int steps) {
    sl::outbox_options const all[] = {tight(), hasty(), roomy()};
    std::map<std::string, std::uint64_t> done;
    for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
        sl::memory_store store;
        sl::memory_storage one(store);
        sl::memory_storage two(store);
        comparison c{{}, generator{seed}, 1'700'000'000'000, seed % 2 == 0 ? "o" : "outbox/"};
        c.expected.options = all[seed % 3];
        if (seed % 4 == 1) { c.expected.lanes = {{255, 6, 0}, {0, 0, 300}}; }
        for (int i = 0; i < steps; ++i) {
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
        for (auto const& [what, n] : c.done) { done[what] += n; }
    }
    if (sanitized) { return; }  // a slice is too short for all of it to have come
    auto const each = seeds * static_cast<std::uint64_t>(steps);
    for (auto const& [what, n] : std::map<std::string, std::uint64_t>{{"given", 10},
                                                                      {"refused", 50},
                                                                      {"circle", 2'500},
                                                                      {"after", 100},
                                                                      {"group", 200},
                                                                      {"raised", 300},
                                                                      {"expired", 300},
                                                                      {"split", 100},
                                                                      {"lane full", 800},
                                                                      {"patience", 90},
                                                                      {"after later", 300},
                                                                      {"circle later", 800},
                                                                      {"holding", 1'500}}) {
        CAPTURE(what);
        CHECK(done[what] > each / n);
    }
}

}  // namespace

TEST_CASE("outbox: does what a list searched from end to end does, whatever the clock", "[outbox]") {
    compare(0, sanitized ? 3 : 9, rounds(8'000));
}
// Millions of steps; SYNCLINE_OUTBOX_SEED says where to begin.
TEST_CASE("outbox: does what a list searched from end to end does, for long", "[.long]") {
    char const* const from = std::getenv("SYNCLINE_OUTBOX_SEED");
    compare(from == nullptr ? 1'000 : std::strtoull(from, nullptr, 10), 150, 20'000);
}

namespace {

/// Every call of the outbox, each answering only its error: for tests that make something else fail.
constexpr std::size_t call_count = 30;
template <class Tx>
errc call(std::size_t which, outbox const& box, Tx& tx, outbox_entry const& e, std::int64_t now) {
    std::string const payload = "another payload";
    std::string const long_payload(1200, 'l');
    auto const nothing = [](outbox_entry const&) { return true; };
    sl::claim_options what;
    what.entries_max = 3;
    what.record_run_max = 2;
    generator random{7};
    outbox_entry const entries[] = {e, e};
    switch (which) {
        case 0: return code(box.enqueue(tx, {priority::important, e.record, view(payload)}, at(now)));
        case 1: return code(box.amend(tx, e.token, view(payload)));
        case 2: return code(box.withdraw(tx, e.token));
        case 3: return code(box.scan_record(tx, e.record, nothing));
        case 4: return code(box.claim(tx, what, at(now)));
        case 5: return code(box.set_payload(tx, e.token, e.fence, view(long_payload)));
        case 6: return code(box.ack(tx, e.token, e.fence));
        case 7: return code(box.release(tx, e.token, e.fence, at(now + 5)));
        case 8: return code(box.bury(tx, e.token, e.fence, errc::rejected, view(payload)));
        case 9: return code(box.scan_dead(tx, nothing));
        case 10: return code(box.revive(tx, e.token, at(now)));
        case 11: return code(box.discard(tx, e.token));
        case 12: return code(box.find(tx, e.token));
        case 13: return code(box.summary(tx));
        case 14: {
            std::size_t const first[] = {1};
            bytes_view const more[] = {sl::as_bytes("another"), sl::as_bytes("b")};
            sl::outbox_item items[] = {{priority::critical, sl::as_bytes("a"), view(long_payload)}, {}};
            items[0].after = {&e.token, 1};
            items[0].after_items = first;
            items[0].time_to_live = milliseconds{50};
            items[0].more_records = more;
            return code(box.enqueue_all(tx, items, at(now)));
        }
        case 15: return code(box.ack_all(tx, entries));
        case 16: return code(box.renew(tx, e.token, e.fence, at(now)));
        case 17: return code(box.nack(tx, e.token, e.fence, sl::backoff<>{}, random, at(now)));
        case 18: return code(box.split(tx, entries));
        case 19: {
            sl::outbox_answer const answers[] = {{e.token, e.fence, sl::answer_kind::collateral, {}, {}, {}}};
            return code(box.answer_all(tx, answers));
        }
        case 20: {
            sl::outbox_answer const answers[] = {{e.token, e.fence, sl::answer_kind::rejected, {}, {}, view(payload)}};
            return code(box.answer_all(tx, answers));
        }
        case 21: return code(box.hurry(tx, e.token));
        case 22: return code(box.hurry_all(tx, at(now)));
        case 23: return code(box.release_dependants(tx, e.token));
        case 24: return code(box.bury_dependants(tx, e.token, errc::rejected, view(payload)));
        case 25: return code(box.scan_dependants(tx, e.token, [](std::uint64_t) { return true; }));
        case 26: return code(box.load(tx));
        case 27: return code(box.revive(tx, e.token, at(now), view(long_payload)));
        case 28: {
            what.linger = milliseconds{1000};
            what.order = sl::claim_order::strict;
            return code(box.next_due(tx, at(now), what));
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
        std::array<std::uint64_t, 5> n{};
        std::uint64_t after = 0;
        for (model::entry const& e : c.expected.living) {
            ++n[static_cast<std::size_t>(c.expected.seen(e).state)];
            after += e.after.size();
        }
        bool held_by_dead = false;
        for (model::entry const& e : c.expected.dead) {
            held_by_dead = held_by_dead || c.expected.dependants(e.token) != 0;
        }
        if (n[0] > 0 && n[1] > 0 && n[2] > 0 && n[3] > 0 && after > 1 && held_by_dead) { return c; }
    }
    FAIL("no state with everything in it");
    return c;
}
std::vector<outbox_entry> everything(comparison const& c) {
    std::vector<outbox_entry> out;
    for (model::entry const& e : c.expected.living) { out.push_back(c.expected.seen(e)); }
    for (model::entry const& e : c.expected.dead) { out.push_back(c.expected.seen(e, true)); }
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
    std::size_t turn = 0;
    for (auto const& [k, v] : good) {
        for (std::size_t size = 0; size < v.size(); ++size) {
            if (!in_slice(turn)) { continue; }
            auto tx = write(store);
            REQUIRE(tx.put(view(k), view(v.substr(0, size))));
            try_all(tx, salt++);
        }
        for (std::size_t i = 0; i < v.size(); ++i) {
            for (int const flip : {0x01, 0x80, 0xFF}) {
                if (!in_slice(turn)) { continue; }
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

TEST_CASE("outbox: a payload is exchanged where its entry stands", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const n = static_cast<std::size_t>(GENERATE(1, 2, 5, 300));  // alone, in a run, read together
    std::vector<std::uint64_t> tokens;
    for (std::size_t i = 0; i < n; ++i) { tokens.push_back(put_one(box, tx, i % 3 == 0 ? "" : std::to_string(i))); }
    auto const given = box.claim(tx, {n, 1U << 20, priority::background, milliseconds{100}}, at(0));
    REQUIRE(tokens_of(given) == tokens);
    std::uint64_t const fence = (*given)[0].fence;
    std::string const large(sl::detail::outbox_inline_max + 1, 'x');
    auto const payload_of = [&](std::size_t i) { return i % 7 == 6 ? large : "frozen " + std::to_string(i); };
    std::vector<sl::outbox_payload> frozen;
    std::vector<sl::outbox_claim> claims;
    for (std::size_t i = 0; i < n; ++i) {
        frozen.push_back({tokens[i], fence, sl::to_bytes(payload_of(i))});
        claims.push_back({tokens[i], fence});
    }
    REQUIRE(box.set_payloads(tx, frozen));
    for (std::size_t i = 0; i < n; ++i) {
        bool const stays = i % 7 != 6;  // one apart has another header
        auto const there = sl::get(tx, view(std::string("oq\0\2", 4) + model::number(tokens[i])));
        CHECK((there && there->has_value() == stays));
    }
    std::size_t seen = 0;
    REQUIRE(box.payloads_of(tx, claims, [&](std::size_t i, bytes_view payload) {
        CHECK(i == seen++);
        CHECK(sl::as_text(payload) == payload_of(i));
        return true;
    }));
    CHECK(seen == n);
    std::swap(claims.front(), claims.back());
    seen = 0;
    REQUIRE(box.payloads_of(tx, claims, [&](std::size_t i, bytes_view payload) {
        std::size_t const at = i == 0 ? n - 1 : i == n - 1 ? 0 : i;
        CHECK(sl::as_text(payload) == payload_of(at));
        return ++seen < n;
    }));
    SECTION("one that is named twice has the later payload, and counts once") {
        auto const bytes_before = box.load(tx)->second;
        std::vector<sl::outbox_payload> twice = frozen;
        twice.push_back({tokens[n - 1], fence, sl::to_bytes(std::string(90, 'y'))});
        twice.push_back({tokens[n - 1], fence, sl::to_bytes(std::string(50, 'z'))});
        REQUIRE(box.set_payloads(tx, twice));
        CHECK(box.load(tx)->second == bytes_before - payload_of(n - 1).size() + 50);
    }
    SECTION("one is lost") {
        REQUIRE(box.ack(tx, tokens[n / 2], fence));
        CHECK(code(box.payloads_of(tx, claims, [](std::size_t, bytes_view) { return true; })) == errc::claim_lost);
        CHECK(code(box.set_payloads(tx, frozen)) == errc::claim_lost);
        CHECK(box.ack_claims(tx, claims).value_or(0) == n - 1);
        CHECK(box.load(tx)->second == 0);
    }
    SECTION("all are done") {
        CHECK(box.ack_claims(tx, claims).value_or(0) == n);
        CHECK(box.load(tx)->first == 0);
        CHECK(box.load(tx)->second == 0);
    }
    SECTION("the lease ends") {
        auto const again = box.claim(tx, {n, 1U << 20, priority::background, milliseconds{100}}, at(200));
        REQUIRE((again && !again->empty()));  // a call ends so many
        for (outbox_entry const& e : *again) {
            auto const i = std::find(tokens.begin(), tokens.end(), e.token) - tokens.begin();
            CHECK(sl::as_text(e.payload) == payload_of(static_cast<std::size_t>(i)));
        }
    }
}

TEST_CASE("outbox: what is damaged is named corrupt", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    std::uint64_t first = 0;
    {
        auto tx = write(store);
        first = put_one(box, tx, "a");
        put_one(box, tx, "");
        REQUIRE(tx.commit());
    }
    std::string const ready_key = std::string("oq\0\2", 4) + model::number(first);
    auto tx = write(store);
    SECTION("counters") {
        REQUIRE(tx.put(view("oc"), view("no counters")));
        CHECK(code(box.enqueue(tx, {}, at(0))) == errc::corrupt);
        CHECK(code(box.claim(tx, {}, at(0))) == errc::corrupt);
    }
    SECTION("an entry") {
        REQUIRE(tx.put(view(ready_key), view("short")));
        CHECK(code(box.find(tx, first)) == errc::corrupt);
        CHECK(code(box.withdraw(tx, first)) == errc::corrupt);
        CHECK(code(box.claim(tx, {}, at(0))) == errc::corrupt);
        CHECK(code(box.summary(tx)) == errc::corrupt);
        CHECK(code(box.scan_record(tx, view("a"), [](outbox_entry const&) { return true; })) == errc::corrupt);
    }
    SECTION("an entry in a state that there isn't, or claimed without a fence") {
        std::string const key = "ob" + model::number(first);
        auto const given = box.claim(tx, {}, at(0));
        REQUIRE(tokens_of(given).size() == 2);
        REQUIRE(box.renew(tx, first, (*given)[0].fence, at(0)));  // it moves aside
        auto body = sl::get(tx, view(key));
        REQUIRE((body && body->has_value() && (**body)[0] == std::byte{0xA2}));
        bytes no_state = **body;
        no_state[0] = std::byte{0xA3};
        REQUIRE(tx.put(view(key), no_state));
        CHECK(code(box.find(tx, first)) == errc::corrupt);
        bytes no_fence = **body;
        REQUIRE(no_fence[3] == std::byte{1});
        no_fence[3] = std::byte{0};
        REQUIRE(tx.put(view(key), no_fence));
        CHECK(code(box.ack(tx, first, 0)) == errc::corrupt);
        bytes no_claim = **body;
        no_claim[1] &= ~std::byte{4};
        REQUIRE(tx.put(view(key), no_claim));
        CHECK(code(box.find(tx, first)) == errc::corrupt);
    }
    SECTION("a missing entry") {
        REQUIRE(tx.erase(view(ready_key)));
        CHECK(code(box.enqueue(tx, {priority::normal, view("a"), {}}, at(0))) == errc::corrupt);
        CHECK(code(box.scan_record(tx, view("a"), [](outbox_entry const&) { return true; })) == errc::corrupt);
    }
    SECTION("a claimed entry without its run") {
        REQUIRE(tokens_of(box.claim(tx, {}, at(0))).size() == 2);
        std::string run;
        REQUIRE(sl::scan_prefix(tx, view("oi"), [&](bytes_view k, bytes_view) {
            run = std::string(sl::as_text(k));
            return true;
        }));
        REQUIRE(tx.erase(view(run)));
        CHECK(code(box.find(tx, first)) == errc::corrupt);
        CHECK(code(box.ack(tx, first, 1)) == errc::corrupt);
        CHECK(code(box.claim(tx, {}, at(60'000))) == errc::corrupt);
    }
    SECTION("a missing payload") {
        REQUIRE(box.amend(tx, first, view(std::string(1025, 'p'))));
        REQUIRE(tx.erase(view("op" + model::number(first))));
        CHECK(code(box.find(tx, first)) == errc::corrupt);
        CHECK(code(box.claim(tx, {}, at(0))) == errc::corrupt);
    }
    SECTION("a dead letter") {
        REQUIRE(tx.put(view(std::string("oz\0\0\0\0\0\0\0\1", 10)), view("not a letter at all, is it? no")));
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

TEST_CASE("outbox: what is given back is as if it had not been claimed", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const first = put_one(box, tx, "r", priority::normal, 0);
    auto const second = put_one(box, tx, "r", priority::normal, 0);
    auto const before = *box.find(tx, second);
    sl::claim_options what;
    what.record_run_max = 2;
    auto const given = box.claim(tx, what, at(5));
    REQUIRE(tokens_of(given) == tokens{first, second});
    CHECK(code(box.give_back(tx, second, (*given)[1].fence + 1)) == errc::claim_lost);
    REQUIRE(box.give_back(tx, second, (*given)[1].fence));
    auto const after = *box.find(tx, second);
    REQUIRE(after);
    CHECK(after->state == before->state);
    CHECK(after->attempts == before->attempts);
    CHECK(code(box.give_back(tx, second, (*given)[1].fence)) == errc::claim_lost);
    REQUIRE(box.amend(tx, second, view("y")));  // nobody has seen its bytes
    REQUIRE(box.ack(tx, first, (*given)[0].fence));
    CHECK(tokens_of(box.claim(tx, what, at(6))) == tokens{second});
}

TEST_CASE("outbox: what stands behind claimed ones only may be claimed too, and goes in order", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const first = put_one(box, tx, "r", priority::normal, 0);
    auto const second = put_one(box, tx, "r", priority::normal, 0);
    auto const third = put_one(box, tx, "r", priority::normal, 0);
    auto const other = put_one(box, tx, "s", priority::normal, 1);
    // Nobody has the first: the second is not free, and what stands behind nothing is for `claim`.
    CHECK(!*box.claim_behind(tx, second, at(5)));
    CHECK(!*box.claim_behind(tx, other, at(5)));
    CHECK(code(box.claim_behind(tx, first + 1'000'000, at(5))) == errc::not_found);
    auto const given = box.claim(tx, {}, at(5));
    REQUIRE(tokens_of(given) == tokens{first, other});
    CHECK(!*box.claim_behind(tx, third, at(5)));
    auto const behind = box.claim_behind(tx, second, at(5), (sl::milliseconds::max)());
    REQUIRE((behind && *behind));
    CHECK((*behind)->fence != 0);
    CHECK(!*box.claim_behind(tx, second, at(5)));
    auto const last = box.claim_behind(tx, third, at(5), (sl::milliseconds::max)());
    REQUIRE((last && *last));
    // Each is answered in its turn, and nothing is given twice.
    CHECK(box.claim(tx, {}, at(6))->empty());
    REQUIRE(box.ack(tx, first, (*given)[0].fence));
    REQUIRE(box.bury(tx, second, (*behind)->fence, errc::rejected, {}));
    REQUIRE(box.ack(tx, third, (*last)->fence));
    CHECK(!*box.find(tx, third));
    REQUIRE(box.ack(tx, other, (*given)[1].fence));
    CHECK(box.load(tx)->first == 0);

    SECTION("a group when what stands before it on each of its records is claimed") {
        auto const left = put_one(box, tx, "r", priority::normal, 6);
        auto const right = put_one(box, tx, "s", priority::normal, 6);
        std::vector<sl::bytes_view> const more{sl::as_bytes("s")};
        sl::outbox_item both;
        both.record = sl::as_bytes("r");
        both.more_records = more;
        both.payload = sl::as_bytes("both");
        auto const group = box.enqueue(tx, both, at(6));
        REQUIRE(group);
        auto const one = box.claim(tx, {.entries_max = 1}, at(7));
        REQUIRE(tokens_of(one) == tokens{left});
        CHECK(!*box.claim_behind(tx, *group, at(7)));
        auto const two = box.claim(tx, {}, at(7));
        REQUIRE(tokens_of(two) == tokens{right});
        auto const taken = box.claim_behind(tx, *group, at(7));
        REQUIRE((taken && *taken));
        CHECK((*taken)->more_records.size() == 1);
        REQUIRE(box.ack(tx, left, (*one)[0].fence));
        REQUIRE(box.ack(tx, *group, (*taken)->fence));
        REQUIRE(box.ack(tx, right, (*two)[0].fence));
        CHECK(box.load(tx)->first == 0);
    }
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
    tokens all;
    for (int i = 0; i < 5; ++i) { all.push_back(put_one(box, tx, "", priority::normal, 0, std::string(40, 'p'))); }
    sl::claim_options what;
    what.bytes_max = 100;
    CHECK(tokens_of(box.claim(tx, what, at(0))) == tokens{all[0], all[1]});
    what.bytes_max = 0;
    CHECK(tokens_of(box.claim(tx, what, at(0))) == tokens{all[2]});
}

TEST_CASE("outbox: two of them under two prefixes don't meet", "[outbox]") {
    sl::memory_storage store;
    outbox const a({}, "a");
    outbox const b({}, "b");
    auto tx = write(store);
    auto const in_a = put_one(a, tx, "r");
    CHECK_FALSE(b.next_due(tx, at(0))->has_value());
    auto const in_b = put_one(b, tx, "r");
    CHECK(tokens_of(a.claim(tx, {}, at(0))) == tokens{in_a});
    CHECK(tokens_of(b.claim(tx, {}, at(0))) == tokens{in_b});
}

namespace {

/// Bytes in a store, and what has come to them since.
std::size_t size_of(sl::memory_storage& store) {
    std::size_t n = 0;
    for (auto const& [k, v] : raw(store)) { n += k.size() + v.size(); }
    return n;
}
/// As after so many claims: fences only rise.
void set_fences(sl::memory_storage& store, std::uint64_t fence) {
    auto tx = write(store);
    auto counters = sl::get(tx, view("oc"));
    REQUIRE((counters && counters->has_value()));
    for (std::size_t i = 0; i < 8; ++i) { (**counters)[9 + i] = static_cast<std::byte>(fence >> (56 - 8 * i) & 0xFFU); }
    REQUIRE(tx.put(view("oc"), **counters));
    REQUIRE(tx.commit());
}
/// As after so many entries.
void set_sequence(sl::memory_storage& store, std::uint64_t sequence) {
    auto tx = write(store);
    auto counters = sl::get(tx, view("oc"));
    REQUIRE((counters && counters->has_value()));
    for (std::size_t i = 0; i < 8; ++i) {
        (**counters)[1 + i] = static_cast<std::byte>(sequence >> (56 - 8 * i) & 0xFFU);
    }
    REQUIRE(tx.put(view("oc"), **counters));
    REQUIRE(tx.commit());
}
constexpr std::int64_t some_day = 1'790'000'000'000;  // in 2026: a time of today takes six bytes

}  // namespace

TEST_CASE("outbox: storage beside record and payload stays under 64 bytes an entry", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto const grow = [&](std::string const& record) {
        std::size_t const before = size_of(store);
        auto tx = write(store);
        put_one(box, tx, record, priority::normal, some_day, std::string(100, 'p'));
        REQUIRE(tx.commit());
        return size_of(store) - before - 100;
    };
    grow("first");  // and the counters, and the index
    set_sequence(store, 1'000'000);
    CHECK(grow("") == 20);
    CHECK(grow("record") == 33 + 6);
    CHECK(grow("record") == 34 + 2 * 6);  // blocked: a row among the followers, none in the index
    CHECK(grow("another") == 33 + 7);
    {
        std::string const hurried = "hurried";
        sl::outbox_item of_its_own{.record = view(hurried)};
        of_its_own.patience = milliseconds{60'000};
        std::size_t const before = size_of(store);
        auto tx = write(store);
        auto const token = box.enqueue(tx, of_its_own, at(some_day));
        REQUIRE(token);
        std::string const short_lived = "mortal";
        sl::outbox_item mortal{.record = view(short_lived)};
        mortal.time_to_live = milliseconds{86'400'000};
        auto const other = box.enqueue(tx, mortal, at(some_day));
        REQUIRE(other);
        REQUIRE(tx.commit());
        CHECK(size_of(store) - before == (33 + 7 + 28) + (33 + 6 + 22));
        auto gone = write(store);
        REQUIRE(box.withdraw(gone, *token));
        REQUIRE(box.withdraw(gone, *other));
        REQUIRE(gone.commit());
    }
    set_fences(store, 1'000'000);
    std::size_t const ready = size_of(store);
    auto const claim_and = [&](auto&& then) {
        auto tx = write(store);
        auto const given = box.claim(tx, {}, at(some_day));
        REQUIRE(given);
        REQUIRE(given->size() == 4);  // a record's second entry stays as it was
        for (outbox_entry const& e : *given) { then(tx, e); }
        REQUIRE(tx.commit());
    };
    claim_and([](auto&, outbox_entry const&) {});
    // They stay where they are: a run, a lease and a mark for all four.
    CHECK(size_of(store) - ready == 27 + 19 + 8);
    {
        auto tx = write(store);
        std::vector<outbox_entry> all;
        REQUIRE(box.scan(tx, [&](outbox_entry const& e) {
            if (e.state == entry_state::claimed) { all.push_back(e); }
            return true;
        }));
        for (outbox_entry const& e : all) { REQUIRE(box.release(tx, e.token, e.fence, at(some_day))); }
        REQUIRE(tx.commit());
    }
    claim_and([](auto&, outbox_entry const&) {});
    // The second time they move aside, and a row of leases has a key for all four.
    CHECK(size_of(store) - ready == 4 * (38 - 33) + 14 + (3 * 5 + 2) + 8);
}

TEST_CASE("outbox: an entry claimed alone stays under 64 bytes too", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    bool const old = GENERATE(false, true);
    {
        auto tx = write(store);
        put_one(box, tx, "first");
        REQUIRE(tx.commit());
    }
    // As on the first day; and after 16 million entries and claims, when it has waited for a year.
    if (old) {
        set_sequence(store, 16'000'000);
        set_fences(store, 16'000'000);
    }
    std::int64_t const when = old ? some_day + 365 * std::int64_t{86'400'000} : some_day;
    auto tx = write(store);
    auto const bytes_there = [&] {
        std::size_t n = 0;
        REQUIRE(tx.scan({}, [&](bytes_view k, bytes_view v) {
            n += k.size() + v.size();
            return true;
        }));
        return n;
    };
    sl::claim_options what;
    what.lowest = priority::normal;
    put_one(box, tx, "anchor", priority::background, some_day);  // the lane, its mark and a bucket of the index stay
    auto given = box.claim(tx, what, at(some_day));
    REQUIRE(given->size() == 1);
    REQUIRE(box.ack(tx, (*given)[0].token, (*given)[0].fence));
    std::size_t const before = bytes_there();
    put_one(box, tx, "record", priority::normal, some_day, "");
    CHECK(bytes_there() - before == 33 + 6);
    given = box.claim(tx, what, at(when));
    REQUIRE(given->size() == 1);
    CHECK(bytes_there() - before == (old ? 63 : 52) + 6);
    CHECK(box.find(tx, (*given)[0].token)->value() == (*given)[0]);
    for (int again = 0; again < 2; ++again) {
        REQUIRE(box.release(tx, (*given)[0].token, (*given)[0].fence, at(when)));
        given = box.claim(tx, what, at(when));
        REQUIRE(given->size() == 1);
        CHECK(bytes_there() - before == (old ? 61 : 50) + 6);
    }
    REQUIRE(box.ack(tx, (*given)[0].token, (*given)[0].fence));
    CHECK(bytes_there() == before);
}

TEST_CASE("outbox: a claim of many that move and of one that stays loses no lease", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    std::vector<std::uint64_t> all;
    for (int i = 0; i < 70; ++i) { all.push_back(put_one(box, tx, "", priority::critical)); }
    auto const first = box.claim(tx, {}, at(0));
    REQUIRE(tokens_of(first) == all);
    for (outbox_entry const& e : *first) { REQUIRE(box.release(tx, e.token, e.fence, at(0))); }
    all.push_back(put_one(box, tx, "", priority::normal));
    all.push_back(put_one(box, tx, "", priority::background));
    all.push_back(put_one(box, tx, "", priority::background));
    for (std::int64_t turn = 0; turn < 3; ++turn) {  // the lease of each of them ends
        auto const given = box.claim(tx, {}, at(turn * 60'000));
        REQUIRE(tokens_of(given) == all);
        for (outbox_entry const& e : *given) { REQUIRE(box.find(tx, e.token)->value() == e); }
    }
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

// What was named: dependencies, groups, lanes, orders, linger, times to live, splitting.

TEST_CASE("outbox: a child waits for its parent, and lends it its urgency", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const other = put_one(box, tx, "", priority::normal);
    auto const blocker = put_one(box, tx, "r", priority::background);
    auto const parent = put_one(box, tx, "r", priority::background);
    auto const child = box.enqueue(tx, {.urgency = priority::critical, .after = {&parent, 1}}, at(0));
    REQUIRE(child);
    CHECK((*box.find(tx, *child))->state == entry_state::blocked);
    CHECK((*box.find(tx, *child))->after == tokens{parent});
    // What stands before the parent is as urgent as the child from now on.
    for (auto const next : {blocker, parent, *child, other}) {
        auto const given = box.claim(tx, {.entries_max = 1}, at(0));
        REQUIRE(tokens_of(given) == tokens{next});
        CHECK((*given)[0].served_as == (next == other ? priority::normal : priority::critical));
        REQUIRE(box.ack(tx, next, (*given)[0].fence));
    }
    // After what is done nobody waits; after what never was nobody can.
    CHECK((*box.find(tx, *box.enqueue(tx, {.after = {&parent, 1}}, at(0))))->state == entry_state::ready);
    std::uint64_t const unknown = *child + 100'000;
    CHECK(code(box.enqueue(tx, {.after = {&unknown, 1}}, at(0))) == errc::not_found);
}

TEST_CASE("outbox: entries that wait for each other in a circle are refused, also through their records", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    std::size_t const zero[] = {0};
    std::size_t const one[] = {1};
    std::vector<sl::outbox_item> items(2);
    items[0].after_items = zero;
    CHECK(code(box.enqueue_all(tx, items, at(0))) == errc::invalid);
    items[0].after_items = one;
    items[1].after_items = zero;
    CHECK(code(box.enqueue_all(tx, items, at(0))) == errc::invalid);
    items[1].after_items = {};
    items[0].record = items[1].record = sl::as_bytes("r");
    CHECK(code(box.enqueue_all(tx, items, at(0))) == errc::invalid);  // the second stands behind the first
    CHECK(box.summary(tx)->entries == 0);
    items[1].record = sl::as_bytes("s");
    auto const first = box.enqueue_all(tx, items, at(0));
    REQUIRE(first);
    CHECK(tokens_of(box.claim(tx, {}, at(0))) == tokens{outbox::token_after(*first, 1, items[1])});
}

TEST_CASE("outbox: a dead parent holds its children, in sight, until the host decides", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const parent = put_one(box, tx, "r");
    auto const child = *box.enqueue(tx, {.after = {&parent, 1}}, at(0));
    auto const grandchild = *box.enqueue(tx, {.after = {&child, 1}}, at(0));
    auto const given = box.claim(tx, {}, at(0));
    REQUIRE(box.bury(tx, parent, (*given)[0].fence, errc::rejected, view("no")));
    CHECK(tokens_of(box.claim(tx, {}, at(0))).empty());
    CHECK((*box.find(tx, parent))->dependants == 1);
    CHECK(code(box.discard(tx, parent)) == errc::invalid);
    SECTION("it lives again, and is done") {
        REQUIRE(box.revive(tx, parent, at(0), view("better")));
        auto const again = box.claim(tx, {}, at(0));
        REQUIRE(tokens_of(again) == tokens{parent});
        CHECK(text((*again)[0].payload) == "better");
        REQUIRE(box.ack(tx, parent, (*again)[0].fence));
        CHECK(tokens_of(box.claim(tx, {}, at(0))) == tokens{child});
    }
    SECTION("released") {
        REQUIRE(box.release_dependants(tx, parent));
        CHECK(tokens_of(box.claim(tx, {}, at(0))) == tokens{child});
        CHECK(box.discard(tx, parent));
    }
    SECTION("taken along") {
        CHECK(*box.bury_dependants(tx, parent, errc::rejected, view("with its parent")) == 2);
        for (auto const t : {child, grandchild}) { CHECK((*box.find(tx, t))->state == entry_state::dead); }
        CHECK(box.summary(tx)->entries == 0);
        CHECK(box.discard(tx, parent));
    }
}

TEST_CASE("outbox: a group is one entry that keeps the order of each of its records", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const a = put_one(box, tx, "a");
    auto const b = put_one(box, tx, "b");
    bytes_view const more[] = {sl::as_bytes("b"), sl::as_bytes("c")};
    auto const group = *box.enqueue(tx, {.record = sl::as_bytes("a"), .more_records = more}, at(0));
    auto const c = put_one(box, tx, "c");
    auto const given = box.claim(tx, {}, at(0));
    REQUIRE(tokens_of(given) == tokens{a, b});
    REQUIRE(box.ack(tx, a, (*given)[0].fence));
    CHECK(tokens_of(box.claim(tx, {}, at(0))).empty());
    REQUIRE(box.ack(tx, b, (*given)[1].fence));
    auto const landed = box.claim(tx, {}, at(0));
    REQUIRE(tokens_of(landed) == tokens{group});
    REQUIRE(box.ack(tx, group, (*landed)[0].fence));
    CHECK(tokens_of(box.claim(tx, {}, at(0))) == tokens{c});
}

TEST_CASE("outbox: trouble of one lane doesn't stop another", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const photo = *box.enqueue(tx, {.urgency = priority::critical, .lane = 1}, at(0));
    auto const row = *box.enqueue(tx, {.urgency = priority::background, .lane = 2}, at(0));
    CHECK(tokens_of(box.claim(tx, {.lane = std::uint8_t{2}}, at(0))) == tokens{row});
    CHECK(tokens_of(box.claim(tx, {.lane = std::uint8_t{3}}, at(0))).empty());
    CHECK(tokens_of(box.claim(tx, {}, at(0))) == tokens{photo});
}

TEST_CASE("outbox: by deadline nothing starves, strictly the urgent always go first, by arrival nobody does",
          "[outbox]") {
    std::int64_t const hour = 3'600'000;
    for (auto const order : {sl::claim_order::deadline, sl::claim_order::strict, sl::claim_order::arrival}) {
        sl::memory_storage store;
        outbox const box;
        auto tx = write(store);
        auto const background = put_one(box, tx, "", priority::background, 0);
        auto const important = put_one(box, tx, "", priority::important, hour);
        auto const critical = put_one(box, tx, "", priority::critical, hour);
        tokens const should = order == sl::claim_order::deadline ? tokens{critical, background, important}
                              : order == sl::claim_order::strict ? tokens{critical, important, background}
                                                                 : tokens{background, important, critical};
        CHECK(tokens_of(box.claim(tx, {.order = order}, at(hour))) == should);
    }
}

TEST_CASE("outbox: a batch waits for more until it is full or old enough", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    sl::lane_options lane;
    CHECK(lane.entries_max == 100);
    lane.entries_max = 3;
    auto const what = lane.claim(0);
    put_one(box, tx, "a", priority::normal, 1'000);
    put_one(box, tx, "b", priority::normal, 2'000);
    CHECK(tokens_of(box.claim(tx, what, at(5'999))).empty());
    CHECK(**box.next_due(tx, at(5'999), what) == at(6'000));
    CHECK(**box.next_due(tx, at(5'999)) == at(5'999));  // for a claim that doesn't linger
    SECTION("old enough") { CHECK(tokens_of(box.claim(tx, what, at(6'000))).size() == 2); }
    SECTION("full") {
        put_one(box, tx, "c", priority::background, 5'000);
        CHECK(tokens_of(box.claim(tx, what, at(5'000))).size() == 3);
    }
    SECTION("something critical") {
        put_one(box, tx, "c", priority::critical, 5'000);
        CHECK(tokens_of(box.claim(tx, what, at(5'000))).size() == 3);
    }
    SECTION("the clock was set back") { CHECK(tokens_of(box.claim(tx, what, at(0))).size() == 2); }
}

TEST_CASE("outbox: what was never claimed in its time to live is a dead letter that says so", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const late = *box.enqueue(tx, {.record = sl::as_bytes("r"), .time_to_live = milliseconds{100}}, at(0));
    auto const next = put_one(box, tx, "r");
    auto const taken = *box.enqueue(tx, {.time_to_live = milliseconds{300}}, at(0));
    CHECK((*box.find(tx, late))->expires == at(100));
    CHECK(**box.next_due(tx, at(50), sl::claim_options{.lane = std::uint8_t{9}}) == at(100));
    CHECK(tokens_of(box.claim(tx, {}, at(100))) == tokens{next, taken});
    auto const letter = *box.find(tx, late);
    REQUIRE(letter);
    CHECK(letter->state == entry_state::dead);
    CHECK(letter->reason == errc::cancelled);
    CHECK(text(letter->verdict) == "expired");
    // Once claimed it may have arrived: it doesn't expire any more.
    CHECK(tokens_of(box.claim(tx, {}, at(60'100))) == tokens{next, taken});
    REQUIRE(box.revive(tx, late, at(60'100)));
    CHECK_FALSE((*box.find(tx, late))->expires);
}

TEST_CASE("outbox: a poison entry stands alone after log2 of its batch more refusals, and the rest flows", "[outbox]") {
    for (std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{100}}) {
        for (std::size_t poison = 0; poison < size; poison += 1 + size / 9) {
            sl::memory_storage store;
            outbox const box;
            std::vector<std::uint64_t> all;
            {
                auto tx = write(store);
                for (std::size_t i = 0; i < size; ++i) { all.push_back(put_one(box, tx, "r" + std::to_string(i))); }
                REQUIRE(tx.commit());
            }
            std::size_t refusals = 0;
            std::size_t tries = 0;
            std::optional<std::uint64_t> alone;
            for (; tries < 1'000; ++tries) {
                auto tx = write(store);
                auto const given = box.claim(tx, {.entries_max = size}, at(0));
                REQUIRE(given);
                if (given->empty()) { break; }
                bool const bad = std::any_of(given->begin(), given->end(),
                                             [&](outbox_entry const& e) { return e.token == all[poison]; });
                if (!bad) {
                    REQUIRE(*box.ack_all(tx, *given) == given->size());
                } else {
                    ++refusals;
                    alone = *box.split(tx, *given);
                    if (alone) {
                        REQUIRE(*alone == all[poison]);
                        REQUIRE(box.bury(tx, *alone, (*given)[0].fence, errc::rejected, view("poison")));
                    }
                }
                REQUIRE(tx.commit());
            }
            CHECK(alone == all[poison]);
            std::size_t log = 0;
            while ((std::size_t{1} << log) < size) { ++log; }
            CHECK(refusals <= log + 1);
            CHECK(tries <= 2 * log + 1);
            auto tx = write(store);
            CHECK(box.summary(tx)->entries == 0);
            CHECK(box.summary(tx)->dead == 1);
        }
    }
}

TEST_CASE("outbox: each entry's backoff grows with its own attempts, and a server's word is the least", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const token = put_one(box, tx, "r");
    sl::backoff<sl::no_jitter> const policy({.base = milliseconds{100}, .cap = milliseconds{1'000}, .attempts_max = 3});
    generator random{1};
    std::int64_t now = 0;
    for (std::int64_t const wait : {100, 5'200, 400}) {
        auto const given = box.claim(tx, {}, at(now));
        REQUIRE(tokens_of(given) == tokens{token});
        std::optional<milliseconds> hint;
        if (wait > 1'000) { hint = milliseconds{5'000}; }
        auto const until = box.nack(tx, token, (*given)[0].fence, policy, random, at(now), hint);
        REQUIRE(until);
        CHECK(**until == at(now + wait));
        CHECK(tokens_of(box.claim(tx, {}, at(now + wait - 1))).empty());
        now += wait;
    }
    auto const last = box.claim(tx, {}, at(now));
    auto const until = box.nack(tx, token, (*last)[0].fence, policy, random, at(now));
    REQUIRE(until);
    CHECK_FALSE(until->has_value());
    CHECK((*box.find(tx, token))->state == entry_state::dead);
}

TEST_CASE("outbox: a renewed lease holds from now on, under the same fence", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const token = put_one(box, tx, "r");
    auto const given = box.claim(tx, {}, at(0));
    auto const fence = (*given)[0].fence;
    CHECK(*box.renew(tx, token, fence, at(50'000)) == at(110'000));
    CHECK(tokens_of(box.claim(tx, {}, at(109'999))).empty());
    CHECK(code(box.renew(tx, token, fence + 1, at(50'000))) == errc::claim_lost);
    CHECK(tokens_of(box.claim(tx, {}, at(110'000))) == tokens{token});
    CHECK(code(box.renew(tx, token, fence, at(110'000))) == errc::claim_lost);
}

TEST_CASE("outbox: a wait ends when a person or the network says so", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    for (int i = 0; i < 3; ++i) { put_one(box, tx, ""); }
    auto const given = box.claim(tx, {}, at(0));
    for (outbox_entry const& e : *given) { REQUIRE(box.release(tx, e.token, e.fence, at(5'000))); }
    REQUIRE(box.hurry(tx, (*given)[1].token));
    CHECK(tokens_of(box.claim(tx, {}, at(1))) == tokens{(*given)[1].token});
    CHECK(code(box.hurry(tx, (*given)[1].token)) == errc::claim_lost);
    CHECK(*box.hurry_all(tx, at(1)) == 2);
    CHECK(tokens_of(box.claim(tx, {}, at(1))).size() == 2);
}

TEST_CASE("outbox: what one principal enqueued, another's session never claims, and can be exported", "[outbox]") {
    CHECK(sl::outbox_prefix("o", "anna") != sl::outbox_prefix("o", "annabel"));
    sl::memory_storage store;
    outbox const anna({}, sl::outbox_prefix("o", "a"));
    outbox const annabel({}, sl::outbox_prefix("o", std::string("a\1b", 3)));
    auto tx = write(store);
    auto const hers = put_one(anna, tx, "r");
    CHECK(tokens_of(annabel.claim(tx, {}, at(0))).empty());
    CHECK(annabel.summary(tx)->entries == 0);
    std::vector<outbox_entry> exported;
    REQUIRE(anna.scan(tx, [&](outbox_entry const& e) {
        exported.push_back(e);
        return true;
    }));
    REQUIRE(exported.size() == 1);
    CHECK(text(exported[0].payload) == "x");
    CHECK(tokens_of(anna.claim(tx, {}, at(0))) == tokens{hers});
}

TEST_CASE("outbox: numeric priorities map to classes", "[outbox]") {
    priority const should[] = {priority::background, priority::background, priority::background, priority::normal,
                               priority::normal,     priority::normal,     priority::normal,     priority::important,
                               priority::important,  priority::critical,   priority::critical};
    for (unsigned n = 0; n < std::size(should); ++n) { CHECK(sl::priority_of(n) == should[n]); }
}

TEST_CASE("outbox: records of one hash stand well in one group and in several, in every order", "[outbox]") {
    // Two records with one hash in the index, and two that differ; every set of two to four entries on them.
    std::string const all[] = {"record/39798", "record/21701", "x"};
    REQUIRE(sl::detail::outbox_hash(view(all[0])) == sl::detail::outbox_hash(view(all[1])));
    for (std::size_t code_of_sets = 0; code_of_sets < 7 * 7 * 7; ++code_of_sets) {
        std::size_t const sets[] = {1 + code_of_sets % 7, 1 + code_of_sets / 7 % 7, 1 + code_of_sets / 49};
        sl::memory_storage store;
        outbox const box;
        auto tx = write(store);
        std::vector<std::vector<std::string>> records;
        std::vector<std::uint64_t> given_tokens;
        for (std::size_t const set : sets) {
            std::vector<std::string> mine;
            for (std::size_t i = 0; i < 3; ++i) {
                if ((set >> i & 1U) != 0) { mine.push_back(all[i]); }
            }
            std::vector<bytes_view> more;
            for (std::size_t i = 1; i < mine.size(); ++i) { more.push_back(view(mine[i])); }
            sl::outbox_item item;
            item.record = view(mine[0]);
            item.more_records = more;
            auto const token = box.enqueue(tx, item, at(0));
            REQUIRE(token);
            given_tokens.push_back(*token);
            records.push_back(mine);
        }
        // Round and round: what is given is first of all its records; each is buried and revived once.
        std::vector<std::uint64_t> left = given_tokens;
        std::vector<std::uint64_t> buried;
        for (int turns = 0; !left.empty(); ++turns) {
            REQUIRE(turns < 20);
            auto const given = box.claim(tx, {.entries_max = 1}, at(0));
            REQUIRE(given);
            REQUIRE(given->size() == 1);
            outbox_entry const& e = (*given)[0];
            std::size_t const at_index = static_cast<std::size_t>(
                std::find(given_tokens.begin(), given_tokens.end(), e.token) - given_tokens.begin());
            for (std::string const& r : records[at_index]) {
                std::uint64_t first = 0;
                REQUIRE(box.scan_record(tx, view(r), [&](outbox_entry const& o) {
                    first = o.token;
                    return false;
                }));
                REQUIRE(first == e.token);
            }
            if (std::count(buried.begin(), buried.end(), e.token) == 0) {
                buried.push_back(e.token);
                REQUIRE(box.bury(tx, e.token, e.fence, errc::rejected, {}));
                REQUIRE(box.revive(tx, e.token, at(0)));
                continue;
            }
            REQUIRE(box.ack(tx, e.token, e.fence));
            left.erase(std::find(left.begin(), left.end(), e.token));
        }
        std::size_t rows = 0;
        REQUIRE(sl::scan_prefix(tx, view("o"), [&](bytes_view, bytes_view) {
            ++rows;
            return true;
        }));
        REQUIRE(rows == 1);
    }
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    bytes_view const same[] = {view(all[0])};
    CHECK(code(box.enqueue(tx, {.record = view(all[0]), .more_records = same}, at(0))) == errc::invalid);
}

TEST_CASE("outbox: an entry may be put after another later, and a circle is refused then too", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const a = put_one(box, tx, "a", priority::background);
    auto const b = put_one(box, tx, "b", priority::important);
    auto const c = put_one(box, tx, "b", priority::normal);
    REQUIRE(box.put_after(tx, b, a));
    REQUIRE(box.put_after(tx, b, a));  // it is already
    CHECK((*box.find(tx, b))->after == tokens{a});
    CHECK((*box.find(tx, a))->served_as == priority::important);
    CHECK(code(box.put_after(tx, a, a)) == errc::invalid);
    CHECK(code(box.put_after(tx, a, b)) == errc::invalid);
    CHECK(code(box.put_after(tx, a, c)) == errc::invalid);  // through the record of b
    CHECK(code(box.put_after(tx, c + (5 << 10), a)) == errc::not_found);
    CHECK(code(box.put_after(tx, a, c + (5 << 10))) == errc::not_found);
    auto const given = box.claim(tx, {}, at(0));
    REQUIRE(tokens_of(given) == tokens{a});
    CHECK(code(box.put_after(tx, a, b)) == errc::claim_lost);
    REQUIRE(box.ack(tx, a, (*given)[0].fence));
    REQUIRE(box.put_after(tx, c, a));  // what is done holds nothing
    CHECK(tokens_of(box.claim(tx, {}, at(0))) == tokens{b});
}

TEST_CASE("outbox: a dead letter that would wait for itself is not revived before it lets go", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    auto const first = put_one(box, tx, "r");
    auto const second = put_one(box, tx, "s");
    bytes_view const more[] = {sl::as_bytes("s")};
    auto const both = *box.enqueue(tx, {.record = view("r"), .more_records = more}, at(0));
    auto given = box.claim(tx, {}, at(0));
    for (outbox_entry const& e : *given) { REQUIRE(box.bury(tx, e.token, e.fence, errc::rejected, {})); }
    given = box.claim(tx, {}, at(0));
    REQUIRE(tokens_of(given) == tokens{both});
    REQUIRE(box.bury(tx, both, (*given)[0].fence, errc::rejected, {}));
    REQUIRE(box.revive(tx, first, at(0)));
    REQUIRE(box.put_after(tx, first, both));  // it stood behind it on a record, and will again
    CHECK(code(box.revive(tx, both, at(0))) == errc::invalid);
    REQUIRE(box.release_dependants(tx, both));
    REQUIRE(box.revive(tx, both, at(0)));
    REQUIRE(box.revive(tx, second, at(0)));
    CHECK(tokens_of(box.claim(tx, {}, at(0))) == tokens{first, second});
}

TEST_CASE("outbox: an entry may have a patience of its own", "[outbox]") {
    sl::memory_storage store;
    outbox const box;
    auto tx = write(store);
    std::int64_t const minute = 60'000;
    auto const with = [&](priority p, std::int64_t patience, std::int64_t now) {
        auto const token = box.enqueue(tx, {.urgency = p, .patience = milliseconds{patience}}, at(now));
        REQUIRE(token);
        return *token;
    };
    auto const slow = with(priority::important, 90 * minute, 0);
    auto const background = put_one(box, tx, "", priority::background, 0);    // due at 60
    auto const quick = with(priority::background, 1 * minute, 30 * minute);   // due at 31
    auto const normal = put_one(box, tx, "", priority::normal, 10 * minute);  // due at 40
    auto const critical = with(priority::critical, 500 * minute, 30 * minute);
    CHECK((*box.find(tx, quick))->patience == milliseconds{minute});
    SECTION("by deadline") {
        CHECK(tokens_of(box.claim(tx, {}, at(30 * minute))) == tokens{critical, quick, normal, background, slow});
    }
    SECTION("strictly by class") {
        CHECK(tokens_of(box.claim(tx, {.order = sl::claim_order::strict}, at(30 * minute))) ==
              tokens{critical, slow, normal, background, quick});
    }
    SECTION("none of the less urgent") {
        CHECK(tokens_of(box.claim(tx, {.lowest = priority::important}, at(30 * minute))) == tokens{critical, slow});
    }
    SECTION("what it waits for goes as soon as it has to") {
        auto const parent = put_one(box, tx, "", priority::background, 30 * minute);
        auto const child = *box.enqueue(
            tx, {.urgency = priority::background, .patience = milliseconds{0}, .after = {&parent, 1}}, at(30 * minute));
        CHECK((*box.find(tx, parent))->patience == milliseconds{0});
        auto const given = box.claim(tx, {.entries_max = 2}, at(30 * minute));
        REQUIRE(tokens_of(given) == tokens{critical, parent});
        REQUIRE(box.ack(tx, parent, (*given)[1].fence));
        CHECK(tokens_of(box.claim(tx, {.entries_max = 1}, at(30 * minute))) == tokens{child});
    }
    SECTION("from a clock that was set back since, it counts as of now") {
        auto const odd = with(priority::normal, 5 * minute, 400'000 * minute);
        CHECK(tokens_of(box.claim(tx, {.entries_max = 3}, at(31 * minute))) == tokens{critical, quick, odd});
    }
    CHECK(code(box.enqueue(tx, {.patience = milliseconds{-1}}, at(0))) == errc::invalid);
}

TEST_CASE("outbox: a lane that is full refuses, and no other", "[outbox]") {
    sl::memory_storage store;
    outbox const box({.entries_max = 5}, "o", {{.lane = 1, .entries_max = 2}, {.lane = 2, .bytes_max = 10}});
    auto tx = write(store);
    auto const put = [&](std::uint8_t lane, std::string const& payload) {
        return box.enqueue(tx, {.payload = view(payload), .lane = lane}, at(0));
    };
    REQUIRE(put(1, "a"));
    REQUIRE(put(1, "a"));
    CHECK(code(put(1, "a")) == errc::limit);
    auto const grows = put(2, "123456789");
    REQUIRE(grows);
    CHECK(code(put(2, "12")) == errc::limit);
    CHECK(code(box.amend(tx, *grows, view("12345678901"))) == errc::limit);
    REQUIRE(put(0, std::string(100, 'p')));
    std::vector<sl::outbox_item> const two(2);
    CHECK(code(box.enqueue_all(tx, two, at(0))) == errc::limit);  // of all lanes
    auto const given = box.claim(tx, {.lane = std::uint8_t{1}}, at(0));
    REQUIRE(*box.ack_all(tx, *given) == 2);
    CHECK(put(1, "a"));
}

TEST_CASE("payloads of many claims are read, changed and done with together, or none is") {
    sl::memory_storage store;
    outbox const box{{}, "o"};
    auto tx = *store.begin(sl::access_mode::write);
    std::vector<sl::outbox_claim> claims;
    std::vector<sl::outbox_payload> fresh;
    std::string const old = "old";
    for (int n = 0; n < 5; ++n) {
        sl::outbox_item item;
        item.payload = view(old);
        REQUIRE(box.enqueue(tx, item, at(0)));
    }
    sl::claim_options five;
    five.entries_max = 5;
    auto const given = box.claim(tx, five, at(0));
    REQUIRE((given && given->size() == 5));
    bytes const apart(2'000, std::byte{7});
    for (outbox_entry const& e : *given) {
        claims.push_back({e.token, e.fence});
        fresh.push_back({e.token, e.fence, fresh.size() == 2 ? apart : bytes{static_cast<std::byte>(fresh.size())}});
    }
    REQUIRE(box.set_payloads(tx, fresh));
    std::size_t seen = 0;
    REQUIRE(box.payloads_of(tx, claims, [&](std::size_t i, bytes_view payload) {
        CHECK((i == seen && sl::equal(payload, fresh[i].payload) &&
               (*box.find(tx, claims[i].token))->payload == fresh[i].payload));
        return ++seen != 4;
    }));
    CHECK(seen == 4);
    CHECK(box.load(tx)->first == 5);
    auto stale = claims;
    stale[3].fence += 1;
    CHECK(code(box.payloads_of(tx, stale, [](std::size_t, bytes_view) { return true; })) == errc::claim_lost);
    fresh[3].fence += 1;
    CHECK(code(box.set_payloads(tx, fresh)) == errc::claim_lost);
    CHECK(*box.ack_claims(tx, stale) == 4);
    CHECK(box.load(tx)->first == 1);
    CHECK(*box.ack_claims(tx, claims) == 1);
    CHECK((box.load(tx)->first == 0 && box.load(tx)->second == 0));
}
