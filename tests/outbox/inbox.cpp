// SPDX-License-Identifier: BSL-1.0
#include <syncline/outbox/inbox.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

#include <syncline/outbox/outbox.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

#include "model.hpp"

using namespace outbox_tests;
using sl::inbox;
using sl::sequence_gap;

static_assert(sl::valid(sl::inbox_options{}));
static_assert(!sl::valid(sl::inbox_options{.held_max = 0}));

namespace {

auto const nothing = [](std::uint64_t, bytes_view) { return sl::status{}; };

}  // namespace

TEST_CASE("inbox: whatever is lost, doubled and out of order, each message is handed over once and in order",
          "[outbox]") {
    std::uint64_t duplicates = 0;
    std::uint64_t refused = 0;
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        sl::memory_storage store;
        inbox const box({.held_max = 6, .held_bytes_max = 40});
        generator random{seed};
        std::map<std::string, std::vector<std::string>> delivered;
        std::map<std::string, std::set<std::uint64_t>> here;
        std::string const conversations[] = {"a", "ab", "b"};
        for (int i = 0; i < 600; ++i) {
            std::string const c = conversations[random.below(3)];
            std::uint64_t const first = delivered[c].size() + 1;
            std::uint64_t const n = random.once_in(5) ? 1 + random.below(first) : first + random.below(9);
            std::string const payload = c + std::to_string(n) + std::string(n % 11, 'p');
            auto tx = write(store);
            auto const old = delivered;
            auto const receipt = box.receive(tx, view(c), n, view(payload), [&](std::uint64_t sequence, bytes_view p) {
                delivered[c].push_back(std::string(sl::as_text(p)));
                REQUIRE(sequence == delivered[c].size());
                return sl::status{};
            });
            bool const leave = random.once_in(7);
            if (!receipt) {
                REQUIRE(receipt.error() == errc::limit);
                REQUIRE(n > first);
                ++refused;
                continue;
            }
            bool const known = n < first || here[c].count(n) != 0;
            REQUIRE(receipt->duplicate == known);
            duplicates += known ? 1 : 0;
            REQUIRE(receipt->through == delivered[c].size());
            REQUIRE(receipt->delivered == delivered[c].size() - (first - 1));
            if (leave) {  // the transaction is left: nothing was received
                delivered = old;
                continue;
            }
            here[c].insert(n);
            while (!here[c].empty() && *here[c].begin() <= delivered[c].size()) { here[c].erase(here[c].begin()); }
            REQUIRE(tx.commit());
            auto reading = write(store);
            std::vector<sequence_gap> should;
            std::uint64_t expected = delivered[c].size() + 1;
            for (std::uint64_t const held : here[c]) {
                if (held > expected) { should.push_back({expected, held - 1}); }
                expected = held + 1;
            }
            REQUIRE(*box.gaps(reading, view(c)) == should);
            REQUIRE(*box.through(reading, view(c)) == delivered[c].size());
        }
        for (auto const& [c, list] : delivered) {
            for (std::size_t i = 0; i < list.size(); ++i) {
                REQUIRE(list[i] == c + std::to_string(i + 1) + std::string((i + 1) % 11, 'p'));
            }
        }
    }
    CHECK(duplicates > 1'000);
    CHECK(refused > 100);
}

TEST_CASE("inbox: a call that the storage or the host fails says so", "[outbox]") {
    sl::memory_storage store;
    inbox const box;
    {
        auto tx = write(store);
        for (std::uint64_t const n : {1U, 3U, 4U, 7U}) { REQUIRE(box.receive(tx, view("c"), n, view("x"), nothing)); }
        REQUIRE(tx.commit());
    }
    raw_map const old = raw(store);
    for (std::uint64_t const n : {2U, 6U}) {
        for (std::uint64_t fail = 1;; ++fail) {
            auto tx = write(store);
            failing f{tx, fail};
            auto const r = box.receive(f, view("c"), n, view("y"), nothing);
            if (r) { break; }
            REQUIRE(r.error() == errc::storage_io);
            REQUIRE(f.calls == fail);
        }
    }
    auto tx = write(store);
    auto const refuse = [](std::uint64_t sequence, bytes_view) {
        return sequence == 3 ? sl::status{errc::rejected} : sl::status{};
    };
    CHECK(box.receive(tx, view("c"), 2, view("y"), refuse).error() == errc::rejected);
    CHECK(box.receive(tx, view("c"), 0, view("y"), nothing).error() == errc::invalid);
    CHECK(box.receive(tx, {}, 1, view("y"), nothing).error() == errc::invalid);
    CHECK(box.receive(tx, view(std::string(401, 'c')), 1, view("y"), nothing).error() == errc::invalid);
    for (auto const& [k, v] : old) {
        if (v.size() != 24) { continue; }
        REQUIRE(tx.put(view(k), view("damaged")));
        CHECK(box.receive(tx, view("c"), 2, view("y"), nothing).error() == errc::corrupt);
        CHECK(box.through(tx, view("c")).error() == errc::corrupt);
    }
}

TEST_CASE("inbox: a conversation that is over leaves nothing behind", "[outbox]") {
    sl::memory_storage store;
    inbox const box;
    auto tx = write(store);
    for (std::uint64_t const n : {1U, 3U}) { REQUIRE(box.receive(tx, view("c"), n, view("x"), nothing)); }
    REQUIRE(box.receive(tx, view("cd"), 2, view("x"), nothing));
    REQUIRE(box.forget(tx, view("c")));
    CHECK(*box.through(tx, view("c")) == 0);
    CHECK(*box.gaps(tx, view("cd")) == std::vector<sequence_gap>{{1, 1}});
    REQUIRE(box.forget(tx, view("cd")));
    REQUIRE(tx.commit());
    CHECK(raw(store).empty());
}

TEST_CASE("inbox: messages numbered into an outbox arrive in order over a channel that loses and doubles", "[outbox]") {
    sl::memory_storage here;
    sl::memory_storage there;
    outbox const out;
    sl::conversation_numbers const numbers;
    inbox const in;
    generator random{11};
    std::vector<std::string> arrived;
    std::int64_t now = 0;
    int sent = 0;
    auto const turn = [&](bool reconnected) {
        now += 1000;
        std::vector<outbox_entry> batch;
        {
            auto tx = write(here);
            if (reconnected) { REQUIRE(out.hurry_all(tx, at(now))); }
            batch = *out.claim(tx, {.entries_max = 4, .record_run_max = 4}, at(now));
            REQUIRE(tx.commit());
        }
        bool lost = false;
        for (outbox_entry const& e : batch) {
            lost = lost || random.once_in(4);
            std::uint64_t const n = sl::read_u64(e.payload);
            for (std::uint64_t copies = lost ? 0 : 1 + random.below(2); copies != 0; --copies) {
                auto tx = write(there);
                REQUIRE(in.receive(tx, e.record, n, bytes_view{e.payload}.subspan(8), [&](std::uint64_t, bytes_view p) {
                    arrived.push_back(std::string(sl::as_text(p)));
                    return sl::status{};
                }));
                REQUIRE(tx.commit());
            }
            auto tx = write(here);
            bool const answer_lost = random.once_in(5);
            REQUIRE((lost || answer_lost ? out.release(tx, e.token, e.fence, at(now + 60'000))
                                         : out.ack(tx, e.token, e.fence)));
            REQUIRE(tx.commit());
        }
    };
    for (int i = 0; i < 400; ++i) {
        auto tx = write(here);
        auto const n = numbers.next(tx, view("talk"));
        REQUIRE(n);
        bytes payload;
        sl::append_u64(payload, *n);
        sl::append(payload, view("message " + std::to_string(++sent)));
        REQUIRE(out.enqueue(tx, {priority::normal, view("talk"), payload}, at(now)));
        if (random.once_in(9)) {
            --sent;  // left: neither the entry nor its number ever was
            continue;
        }
        REQUIRE(tx.commit());
        turn(random.once_in(2));
    }
    for (int i = 0; i < 1000 && static_cast<int>(arrived.size()) < sent; ++i) { turn(true); }
    REQUIRE(static_cast<int>(arrived.size()) == sent);
    for (int i = 0; i < sent; ++i) {
        REQUIRE(arrived[static_cast<std::size_t>(i)] == "message " + std::to_string(i + 1));
    }
}
