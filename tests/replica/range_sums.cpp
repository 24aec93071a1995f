// SPDX-License-Identifier: BSL-1.0
// A replica that has to be told everything anew compares what it holds, and is told what differs.
#include <syncline/replica/range_sums.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/storage/memory.hpp>

#include "replica/world.hpp"
#include "support/catch.hpp"
#include "support/sanitized.hpp"

using namespace syncline;
using namespace world;

namespace {

constexpr std::int64_t hour = 3'600'000;

record_key thing(std::int64_t n) {
    std::string id = std::to_string(n);
    return {"things", std::string(5 - id.size(), '0') + id};
}

/// An authority with leases, one device that is always there, and what passes on the wire.
struct office {
    virtual_clock time{};
    cloud home{time.now};
    device here{1};
    std::uint64_t told = 0;  ///< bytes of replies
    std::uint64_t asked = 0;
    std::size_t rows = 0;
    std::size_t same = 0;
    std::vector<fallback_kind> fallbacks{};
    random_generator dice{5};

    explicit office(authority_options o = {}) {
        o.leases.length = milliseconds{100 * hour};
        o.leases.step_max = milliseconds{24 * hour};
        home.self = authority<>{rules(), o};
        REQUIRE(open(here, time.now));
    }
    exchange_report meet(device& d) {
        time.pass(10);
        bytes const q = request_of(d, time.now);
        auto const p = home.answer(q, time.now);
        REQUIRE(p);
        asked += q.size();
        told += p->size();
        auto const report = absorb(d, *p, time.now);
        REQUIRE(report);
        rows += report->rows;
        same += report->same;
        if (report->fallback != fallback_kind::none) { fallbacks.push_back(report->fallback); }
        return *report;
    }
    void settle(device& d) {
        for (int i = 0; i < 2'000; ++i) {
            if (!meet(d).more) { return; }
        }
        FAIL("a device that never comes to rest");
    }
    /// The same, with nothing counted before.
    void come_back(device& d) {
        told = asked = 0;
        rows = same = 0;
        fallbacks.clear();
        settle(d);
    }
    void create(device& d, record_key const& k, std::int64_t n) {
        time.pass(10);
        bytes f;
        cbor_writer out{f};
        out.map(2);
        out.text("n");
        out.integer(n);
        out.text("text");
        std::string text;
        while (text.size() < 60) { text += static_cast<char>('a' + dice() % 26); }
        out.text(text);
        REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, k, f, time.now); }));
    }
    void update(device& d, record_key const& k, std::int64_t n) {
        time.pass(10);
        REQUIRE(d.write([&](auto& tx) { return d.self.update(tx, k, {set("n", n)}, time.now); }));
    }
    void erase(device& d, record_key const& k) {
        time.pass(10);
        REQUIRE(d.write([&](auto& tx) { return d.self.erase(tx, k, time.now); }));
    }
    /// Until the leases of who was not here are over, and all that was deleted is gone.
    void long_time() {
        for (int i = 0; i < 10; ++i) {
            time.pass(20 * hour);
            settle(here);
        }
        auto tx = home.store.begin(access_mode::write);
        auto const report = home.self.collect(*tx, 10'000);
        REQUIRE(report);
        CHECK(report->lapsed != 0);
        CHECK(!report->more);
        REQUIRE(tx->commit());
    }
    std::map<std::string, bytes> confirmed() { return world::confirmed(home); }
};

std::size_t keys_under(memory_storage& store, std::string_view prefix) {
    auto tx = store.begin(access_mode::read);
    std::size_t n = 0;
    REQUIRE(scan_prefix(*tx, as_bytes(prefix), [&](bytes_view, bytes_view) {
        ++n;
        return true;
    }));
    return n;
}
std::vector<std::string> conflicts(device& d) {
    std::vector<std::string> out;
    for (open_conflict const& c : parked(d)) { out.emplace_back(c.local.record.id_text()); }
    return out;
}
bytes without_same(bytes_view reply_bytes) {
    auto p = decode_reply(reply_bytes);
    REQUIRE(p);
    p->same.reset();
    return encode(*p);
}
replica_options comparing(std::uint64_t rows) {
    replica_options o;
    o.compared_rows = rows;
    return o;
}

/// As the authority's program does when it starts: over a store that was put back too.
void reopen(cloud& home, instant now) {
    auto tx = home.store.begin(access_mode::write);
    REQUIRE(home.self.open(*tx, now, home.random));
    REQUIRE(tx->commit());
}
void keep_backups(cloud& home, instant now) {
    authority_options o;
    o.backups = true;
    home.self = authority<>{rules(), o};
    reopen(home, now);
}

}  // namespace

TEST_CASE("a device past its lease is told what differs, and comes to what one that is told all comes to") {
    office w;
    for (int i = 0; i < 3'000; ++i) { w.create(w.here, thing(i), i); }
    w.settle(w.here);
    device all{2, comparing(0)};
    device some{3};
    for (device* d : {&all, &some}) {
        REQUIRE(open(*d, w.time.now));
        w.settle(*d);
    }
    // What they do while they are away; the same on both, in other records.
    std::int64_t base = 0;
    for (device* d : {&all, &some}) {
        w.update(*d, thing(base + 1), 77);
        w.update(*d, thing(base + 2), 77);  // is deleted meanwhile
        w.erase(*d, thing(base + 3));
        w.create(*d, {"things", "own" + std::to_string(base)}, 5);
        base += 1'000;
    }
    for (std::int64_t const n : {2, 1'002, 500, 501, 502, 2'999}) { w.erase(w.here, thing(n)); }
    for (std::int64_t const n : {0, 1'500, 1'501}) { w.update(w.here, thing(n), -1); }
    for (int i = 0; i < 40; ++i) { w.create(w.here, {"things", "2000x" + std::to_string(i)}, i); }
    w.settle(w.here);
    w.long_time();
    w.create(w.here, thing(501), 1);  // an id that is used again
    w.settle(w.here);

    w.come_back(all);
    CHECK(w.fallbacks == std::vector<fallback_kind>{fallback_kind::full});
    CHECK(w.same == 0);
    std::uint64_t const whole = w.told;
    w.come_back(some);
    CHECK(w.fallbacks == std::vector<fallback_kind>{fallback_kind::compared});
    CHECK(w.same > 3);
    CHECK(w.rows < 200);
    CHECK((w.told + w.asked) * 3 < whole);
    w.settle(all);
    w.settle(some);
    w.settle(w.here);
    for (device* d : {&all, &some}) {
        CHECK(visible(*d) == w.confirmed());
        CHECK(d->read([&](auto& tx) { return d->self.status_of(tx); })->complete);
        CHECK(keys_under(d->store, "rn") == 0);
    }
    CHECK(conflicts(all) == std::vector<std::string>{"00002"});
    CHECK(conflicts(some) == std::vector<std::string>{"01002"});
    // No row is another in a byte, nor is there one more.
    auto tx = w.home.store.begin(access_mode::read);
    std::size_t rows = 0;
    REQUIRE(w.home.self.scan(*tx, [&](record_key const& k, row const& r) {
        auto const held = some.read([&](auto& t) { return some.self.read_confirmed(t, k); });
        REQUIRE(held);
        CHECK(*held == r);
        rows += r.deleted ? 0 : 1;
        return true;
    }));
    CHECK(visible(some).size() == rows);
}

TEST_CASE("where nothing changed, coming back costs the sums alone") {
    office w;
    for (int i = 0; i < 3'000; ++i) { w.create(w.here, thing(i), i); }
    w.settle(w.here);
    device away{2};
    REQUIRE(open(away, w.time.now));
    w.settle(away);
    w.create(w.here, {"things", "soon gone"}, 1);
    w.settle(w.here);
    w.erase(w.here, {"things", "soon gone"});
    w.long_time();
    w.come_back(away);
    CHECK(w.fallbacks == std::vector<fallback_kind>{fallback_kind::compared});
    CHECK(w.rows == 0);
    CHECK(w.told < 1'000);
    CHECK(w.asked < 3'000 / 16 * 60);
    CHECK(visible(away) == w.confirmed());
}

TEST_CASE("a deletion that is above the horizon is told, also of what was never held") {
    office w;
    for (int i = 0; i < 100; ++i) { w.create(w.here, thing(i), i); }
    w.settle(w.here);
    device away{2};
    REQUIRE(open(away, w.time.now));
    w.settle(away);
    w.erase(w.here, thing(3));
    w.settle(w.here);
    w.long_time();
    record_key const brief{"things", "00050x"};
    w.create(w.here, brief, 1);
    w.settle(w.here);
    w.erase(w.here, brief);
    w.settle(w.here);
    w.come_back(away);
    CHECK(w.fallbacks == std::vector<fallback_kind>{fallback_kind::compared});
    auto const held = away.read([&](auto& tx) { return away.self.read_confirmed(tx, brief); });
    REQUIRE(held);
    REQUIRE(*held);
    CHECK((*held)->deleted);
    // So that who uses the id again begins its next life.
    w.create(away, brief, 2);
    w.settle(away);
    w.settle(w.here);
    CHECK(visible(w.here).count("00050x") == 1);
    CHECK(visible(away) == w.confirmed());
}

TEST_CASE("with an authority that can't compare all is told, and nothing is summed up for it") {
    office w;
    for (int i = 0; i < 200; ++i) { w.create(w.here, thing(i), i); }
    w.settle(w.here);
    device away{2};
    REQUIRE(open(away, w.time.now));
    w.settle(away);
    w.erase(w.here, thing(3));
    w.settle(w.here);
    w.long_time();
    std::size_t rows = 0;
    for (int i = 0; i < 50; ++i) {
        auto const q = decode_request(request_of(away, w.time.now));
        REQUIRE(q);
        CHECK_FALSE(q->compared);
        bytes const answer = without_same(*w.home.answer(encode(*q), w.time.now));
        rows += decode_reply(answer)->rows.size();
        auto const report = absorb(away, answer, w.time.now);
        REQUIRE(report);
        CHECK(report->fallback == (report->rejoined ? fallback_kind::full : fallback_kind::none));
        if (!report->more) { break; }
    }
    CHECK(rows == 199);
    CHECK(visible(away) == w.confirmed());
}

TEST_CASE("an answer about what is the same counts for what was asked last, and for nothing that is to be told whole") {
    office w;
    for (int i = 0; i < 100; ++i) { w.create(w.here, thing(i), i); }
    w.settle(w.here);
    device away{2};
    REQUIRE(open(away, w.time.now));
    w.settle(away);
    w.erase(w.here, thing(3));
    w.settle(w.here);
    w.long_time();
    CHECK(w.meet(away).rejoined);
    auto const answer = [&] {
        bytes const asked = request_of(away, w.time.now);
        CHECK(decode_request(asked)->compared);
        return *w.home.answer(asked, w.time.now);
    };
    bytes const late = answer();
    REQUIRE(decode_reply(late)->same);
    CHECK(!decode_reply(late)->same->ranges.empty());
    SECTION("it comes twice") {
        REQUIRE(absorb(away, late, w.time.now));
        auto const after = away.store.snapshot();
        auto const again = absorb(away, late, w.time.now);
        REQUIRE(again);
        CHECK(again->same == 0);
        CHECK(away.store.snapshot() == after);
    }
    SECTION("a range was found to be damaged meanwhile") {
        REQUIRE(away.write([&](auto& tx) { return away.self.refetch(tx, every_record()); }));
        auto const report = absorb(away, late, w.time.now);
        REQUIRE(report);
        CHECK(report->same == 0);
        CHECK(keys_under(away.store, "rw") != 0);
    }
    SECTION("of another round") {
        auto p = decode_reply(late);
        ++p->same->round;
        auto const report = absorb(away, encode(*p), w.time.now);
        REQUIRE(report);
        CHECK(report->same == 0);
        CHECK(keys_under(away.store, "rw") != 0);
    }
    w.settle(away);
    CHECK(keys_under(away.store, "rw") == 0);
    CHECK(keys_under(away.store, "rn") == 0);
    CHECK(visible(away) == w.confirmed());
}

TEST_CASE("what does not decode is told, and all else is compared") {
    office w;
    for (int i = 0; i < 200; ++i) { w.create(w.here, thing(i), i); }
    w.settle(w.here);
    device away{2};
    REQUIRE(open(away, w.time.now));
    w.settle(away);
    w.erase(w.here, thing(3));
    w.settle(w.here);
    w.long_time();
    std::int64_t const which = GENERATE(0, 100, 199);
    REQUIRE(away.write([&](auto& tx) {
        bytes k = to_bytes(as_bytes("rv"));
        append(k, to_bytes(thing(which)));
        bytes raw;
        CHECK(*tx.get(k, raw));
        return tx.put(k, to_bytes(as_bytes("rot")));
    }));
    w.come_back(away);
    CHECK(w.rows >= 1);
    // Of a range whose first rows do not decode nothing can be summed up.
    CHECK((w.same != 0) == (which != 0));
    CHECK(visible(away) == w.confirmed());
}

TEST_CASE("an authority hashes so much for a request and no more, and the next goes on from there") {
    office w;
    std::string const much(900'000, 'x');
    authority_options o;
    o.leases.length = milliseconds{100 * hour};
    o.leases.step_max = milliseconds{24 * hour};
    w.home.self = authority<>{rules(), o};
    replica_options wide = comparing(GENERATE(std::uint64_t{3}, std::uint64_t{50}));
    device here{5, wide};
    device away{6, wide};
    REQUIRE(open(here, w.time.now));
    REQUIRE(open(away, w.time.now));
    for (std::int64_t i = 0; i < 24; ++i) {
        bytes f;
        cbor_writer out{f};
        out.map(1);
        out.text("text");
        out.text(much);
        REQUIRE(here.write([&](auto& tx) { return here.self.create(tx, thing(i), f, w.time.now); }));
        w.settle(here);
    }
    w.settle(away);
    w.create(here, thing(900), 1);
    w.settle(here);
    w.erase(here, thing(900));
    w.settle(here);
    w.long_time();
    CHECK(w.meet(away).rejoined);
    REQUIRE(decode_request(request_of(away, w.time.now))->compared);
    auto const first = w.meet(away);
    CHECK(keys_under(away.store, "rw") != 0);
    CHECK(first.same == (wide.compared_rows == 50 ? 0 : 1));
    w.come_back(away);
    CHECK(keys_under(away.store, "rw") == 0);
    CHECK(keys_under(away.store, "rn") == 0);
    CHECK(visible(away) == w.confirmed());
}

TEST_CASE("the report names each fallback: an older cursor, fingerprints, or everything") {
    virtual_clock time;
    cloud home{time.now};
    keep_backups(home, time.now);
    auto const between_pages = GENERATE(false, true);
    replica_options narrow;
    narrow.rows_max = 5;
    device one{1}, two{2, narrow};
    REQUIRE(open(one, time.now));
    REQUIRE(open(two, time.now));
    auto const write = [&](std::int64_t n, bool fresh) {
        time.pass(10);
        REQUIRE(one.write([&](auto& tx) {
            return fresh ? one.self.create(tx, thing(n), fields({{"n", n}}), time.now)
                         : one.self.update(tx, thing(n), {set("n", -n)}, time.now);
        }));
    };
    for (int i = 0; i < 60; ++i) { write(i, true); }
    REQUIRE(sync(one, home, time.now));
    REQUIRE(sync(two, home, time.now));
    auto const backup = home.store.snapshot();
    for (int i = 50; i < 60; ++i) { write(i, false); }
    REQUIRE(sync(one, home, time.now));
    if (between_pages) {
        REQUIRE(absorb(two, *home.answer(request_of(two, time.now), time.now), time.now));
    } else {
        REQUIRE(sync(two, home, time.now));
    }
    home.store.restore(backup);
    reopen(home, time.now);
    auto const report = absorb(two, *home.answer(request_of(two, time.now), time.now), time.now);
    REQUIRE(report);
    CHECK(report->regressed);
    CHECK(report->fallback == (between_pages ? fallback_kind::compared : fallback_kind::older_cursor));
    std::size_t rows = 0;
    std::size_t same = 0;
    for (bool more = true; more;) {
        auto const next = absorb(two, *home.answer(request_of(two, time.now), time.now), time.now);
        REQUIRE(next);
        CHECK(next->fallback == fallback_kind::none);
        rows += next->rows;
        same += next->same;
        more = next->more;
    }
    CHECK(visible(two) == confirmed(home));
    CHECK((same != 0) == between_pages);
    CHECK(rows <= 32);
    REQUIRE(sync(one, home, time.now));
    REQUIRE(sync(two, home, time.now));
    CHECK(visible(two) == visible(one));
    CHECK(std::string{name(fallback_kind::compared)} == "compared");
}

TEST_CASE("what is compared with an authority that was put back leaves out the tombstones that it has no more") {
    office w;
    std::int64_t const things = 60;
    replica_options narrow;
    narrow.rows_max = 5;
    device two{2, narrow};
    REQUIRE(open(two, w.time.now));
    w.settle(two);
    for (std::int64_t i = 0; i < things; ++i) { w.create(w.here, thing(i), i); }
    w.erase(w.here, thing(7));
    w.settle(w.here);
    w.long_time();
    // Backups from now on; the tombstone went while leases were kept.
    keep_backups(w.home, w.time.now);
    w.settle(w.here);
    w.settle(two);
    auto const backup = w.home.store.snapshot();
    for (std::int64_t i = 50; i < things; ++i) { w.update(w.here, thing(i), -i); }
    w.settle(w.here);
    w.meet(two);
    w.home.store.restore(backup);
    reopen(w.home, w.time.now);
    CHECK(w.meet(two).fallback == fallback_kind::compared);
    auto const asked = decode_request(request_of(two, w.time.now));
    REQUIRE(asked->compared);
    CHECK(asked->compared->horizon != 0);
    w.settle(two);
    CHECK(visible(two) == w.confirmed());
}

TEST_CASE("a comparison that begins at nothing goes on when the authority's horizon is met") {
    virtual_clock time;
    cloud home{time.now};
    keep_backups(home, time.now);
    device one{1};
    REQUIRE(open(one, time.now));
    REQUIRE(sync(one, home, time.now));
    auto const empty = home.store.snapshot();
    REQUIRE(one.write([&](auto& tx) { return one.self.create(tx, thing(1), fields({{"n", 1}}), time.now); }));
    REQUIRE(sync(one, home, time.now));
    home.store.restore(empty);
    reopen(home, time.now);
    auto const report = absorb(one, *home.answer(request_of(one, time.now), time.now), time.now);
    REQUIRE(report);
    CHECK(report->regressed);
    CHECK(report->fallback == fallback_kind::compared);
    auto next = decode_reply(*home.answer(request_of(one, time.now), time.now));
    REQUIRE(next);
    REQUIRE(next->from > 0);
    next->horizon = next->head;
    next->ranges.clear();
    next->rows.clear();
    next->same = same_ranges{};
    REQUIRE(absorb(one, encode(*next), time.now));
    CHECK(keys_under(one.store, "rn") != 0);
    REQUIRE(sync(one, home, time.now));
    CHECK(visible(one) == confirmed(home));
    CHECK(keys_under(one.store, "rn") == 0);
}

TEST_CASE("what is to be told whole while ranges are compared is told, also where the sums are the same") {
    office w;
    for (int i = 0; i < 100; ++i) { w.create(w.here, thing(i), i); }
    w.settle(w.here);
    device away{2};
    REQUIRE(open(away, w.time.now));
    w.settle(away);
    w.erase(w.here, thing(3));
    w.settle(w.here);
    w.long_time();
    CHECK(w.meet(away).rejoined);
    record_range const damaged{to_bytes(thing(40)), to_bytes(thing(50))};
    REQUIRE(away.write([&](auto& tx) { return away.self.refetch(tx, damaged); }));
    auto const asked = decode_request(request_of(away, w.time.now));
    REQUIRE(asked);
    CHECK_FALSE(asked->compared);
    CHECK(asked->ranges == std::vector<record_range>{damaged});
    auto const answer = decode_reply(*w.home.answer(encode(*asked), w.time.now));
    REQUIRE(answer);
    CHECK(answer->rows.size() == 10);
    w.settle(away);
    CHECK(keys_under(away.store, "rw") == 0);
    CHECK(keys_under(away.store, "rn") == 0);
    CHECK(visible(away) == w.confirmed());
}

TEST_CASE("whoever comes back when, over whatever network: all hold what there is") {
    std::size_t compared = 0;
    std::size_t same = 0;
    std::uint64_t const seeds = rounds(60u);
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        CAPTURE(seed);
        random_generator dice{seed};
        authority_options o;
        if (seed % 4 == 0) { o.rows_max = 3; }
        office w{o};
        std::vector<std::unique_ptr<device>> away;
        for (std::uint64_t i = 0; i < 3; ++i) {
            replica_options r = comparing(1 + (seed + i) % 3);
            r.rows_max = 1 + dice() % 5;
            if (seed % 5 == 0) { r.essential = {"notes"}; }
            if (seed % 7 == 0) { r.message.bytes_max = std::size_t{64} << 10; }
            away.push_back(std::make_unique<device>(seed * 10 + i, r));
            REQUIRE(open(*away.back(), w.time.now));
        }
        std::vector<std::pair<std::size_t, bytes>> late;
        for (int step = 0; step < 220; ++step) {
            std::size_t const who = dice() % 3;
            device& d = dice() % 2 == 0 ? w.here : *away[who];
            record_key const k{dice() % 4 == 0 ? "notes" : "things", std::to_string(dice() % 25)};
            w.time.pass(static_cast<std::int64_t>(dice() % 9) * hour);
            switch (dice() % 10) {
                case 0:
                case 1:
                case 2:
                    (void)d.write([&](auto& tx) { return d.self.create(tx, k, fields({{"n", step}}), w.time.now); });
                    break;
                case 3:
                    (void)d.write([&](auto& tx) { return d.self.update(tx, k, {set("n", step)}, w.time.now); });
                    break;
                case 4: (void)d.write([&](auto& tx) { return d.self.erase(tx, k, w.time.now); }); break;
                case 5: {
                    auto tx = w.home.store.begin(access_mode::write);
                    REQUIRE(w.home.self.collect(*tx, 1 + dice() % 30));
                    REQUIRE(tx->commit());
                    break;
                }
                case 6:
                case 7: w.settle(w.here); break;
                case 8:
                    // Seldom, and then for a while, over a bad network.
                    for (std::uint64_t n = dice() % 8; n != 0; --n) {
                        auto const reply = w.home.answer(request_of(*away[who], w.time.now), w.time.now);
                        REQUIRE(reply);
                        std::uint64_t const fate = dice() % 6;
                        if (fate == 0) { break; }
                        if (fate == 1) {
                            late.emplace_back(who, *reply);
                            continue;
                        }
                        auto const report = absorb(*away[who], *reply, w.time.now);
                        REQUIRE(report);
                        compared += report->fallback == fallback_kind::compared ? 1 : 0;
                        same += report->same;
                    }
                    break;
                default:
                    if (late.empty()) { break; }
                    auto const& [to, reply] = late[dice() % late.size()];
                    REQUIRE(absorb(*away[to], reply, w.time.now));
            }
        }
        for (int round = 0; round < 3; ++round) {
            w.settle(w.here);
            for (auto& d : away) { w.settle(*d); }
        }
        for (device* d : {&w.here, away[0].get(), away[1].get(), away[2].get()}) {
            std::size_t living = 0;
            auto tx = w.home.store.begin(access_mode::read);
            REQUIRE(w.home.self.scan(*tx, [&](record_key const& k, row const& r) {
                if (r.deleted) { return true; }
                auto const held = d->read([&](auto& t) { return d->self.read_confirmed(t, k); });
                REQUIRE(held);
                CHECK(*held == r);
                ++living;
                return true;
            }));
            CHECK(visible(*d).size() + visible(*d, "notes").size() == living);
            CHECK(keys_under(d->store, "rw") == 0);
            CHECK(keys_under(d->store, "rn") == 0);
        }
    }
    CHECK(compared > seeds / 3);
    CHECK(same > seeds / 3);
}

// ---- On the wire ---------------------------------------------------------------------------------------------------

TEST_CASE("sums and ranges that are the same come as they went, and nothing else is taken for them") {
    request q;
    q.ranges = {{{}, key_space_end()}};
    q.compared.emplace();
    q.compared->round = 7;
    q.compared->key.bytes[3] = std::byte{9};
    q.compared->horizon = 5;
    q.compared->parts = {{to_bytes(thing(4)), 16, {1, 2}}, {key_space_end(), 3, {3, 4}}};
    auto const back = decode_request(encode(q));
    REQUIRE(back);
    CHECK(*back == q);
    auto const refused = [&](auto change) {
        request bad = q;
        change(bad);
        return decode_request(encode(bad)).error();
    };
    CHECK(refused([](request& r) { r.ranges.clear(); }) == errc::malformed);
    CHECK(refused([](request& r) { r.ranges = {r.ranges[0], range_of(thing(1))}; }) == errc::malformed);
    CHECK(refused([](request& r) { r.ranges[0].from = to_bytes(thing(5)); }) == errc::malformed);
    CHECK(refused([](request& r) { r.compared->parts.clear(); }) == errc::malformed);
    CHECK(refused([](request& r) { r.compared->parts.pop_back(); }) == errc::malformed);
    CHECK(refused([](request& r) { std::swap(r.compared->parts[0], r.compared->parts[1]); }) == errc::malformed);
    CHECK(refused([](request& r) { r.compared->parts[0].to.resize(400); }) == errc::malformed);
    CHECK(refused([](request& r) { r.compared->parts.resize(range_sums_max + 1); }) == errc::limit);
    CHECK(refused([](request& r) { r.compared->parts[0].rows = range_sums_rows_max + 1; }) == errc::limit);

    reply p;
    p.author = 1;
    p.head = p.from = p.to = 9;
    p.same = same_ranges{7, {{{}, to_bytes(thing(4))}, range_of(thing(8))}};
    auto const told = decode_reply(encode(p));
    REQUIRE(told);
    CHECK(*told == p);
    reply early = p;
    early.from = early.to = 8;
    CHECK(decode_reply(encode(early)).error() == errc::malformed);
    reply mixed = p;
    std::swap(mixed.same->ranges[0], mixed.same->ranges[1]);
    CHECK(decode_reply(encode(mixed)).error() == errc::not_deterministic);
    mixed.same->ranges.assign(wanted_ranges_max + 1, range_of(thing(1)));
    CHECK(decode_reply(encode(mixed)).error() == errc::limit);
}
