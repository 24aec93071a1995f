// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/leases.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include "support/sanitized.hpp"
#include <syncline/core/random.hpp>
#include <syncline/storage/memory.hpp>

#include "world.hpp"

namespace {

using namespace syncline;

constexpr std::int64_t hour = 3'600'000;

wall_time at(std::int64_t ms) { return wall_time{milliseconds{1'790'000'000'000 + ms}}; }

authority<> with_leases() {
    authority_options options;
    options.leases.length = milliseconds{100 * hour};
    options.leases.step_max = milliseconds{24 * hour};
    return authority<>{world::rules(), options};
}

exchange_report meet(world::device& d, world::cloud& home, instant now) {
    bytes const q = world::request_of(d, now);
    auto const p = home.answer(q, now);
    REQUIRE(p);
    auto const report = d.write([&](auto& tx) { return d.self.absorb(tx, *p, now, d.random); });
    REQUIRE(report);
    return *report;
}
bool sync_all(world::device& d, world::cloud& home, instant now) {
    bool rejoined = false;
    for (int i = 0; i < 200; ++i) {
        exchange_report const r = meet(d, home, now);
        rejoined = rejoined || r.rejoined;
        if (!r.more) { return rejoined; }
    }
    FAIL("a device that never comes to rest");
    return rejoined;
}
authority<>::collection_report collect(world::cloud& home, std::size_t budget = 1'000) {
    auto tx = home.store.begin(access_mode::write);
    auto const report = home.self.collect(*tx, budget);
    REQUIRE(report);
    REQUIRE(tx->commit());
    return *report;
}
std::size_t keys_under(memory_storage& store, std::string_view prefix) {
    auto tx = store.begin(access_mode::read);
    std::size_t n = 0;
    REQUIRE(scan_prefix(*tx, as_bytes(prefix), [&](bytes_view, bytes_view) {
        ++n;
        return true;
    }));
    return n;
}
std::optional<std::int64_t> seen(world::device& d, record_key const& k, std::string_view field) {
    auto const r = d.read([&](auto& tx) { return d.self.read(tx, k); });
    REQUIRE(r);
    return *r ? world::field((*r)->fields, field) : std::nullopt;
}

}  // namespace

TEST_CASE("the least cursor of the leases that are not over", "[replica][leases]") {
    // Held against a naive book.
    random_generator random{5};
    for (int round = 0; round < 40; ++round) {
        memory_storage store;
        lease_options const options{milliseconds{8'000'000}, milliseconds{1'000'000}};
        lease_book const book{"x", options};
        std::map<author_index, position> cursors;
        std::map<author_index, std::int64_t> renewed;  // at the earliest, in wall time
        std::int64_t now = 1;
        for (int step = 0; step < 60; ++step) {
            auto tx = store.begin(access_mode::write);
            now += static_cast<std::int64_t>(random() % 900'000);
            auto const who = static_cast<author_index>(random() % 5);
            position const cursor = random() % 9;
            REQUIRE(book.renew(*tx, who, cursor, at(now)));
            cursors[who] = cursor;
            renewed[who] = now;
            REQUIRE(book.lapse(*tx, 100));
            auto const least = book.least(*tx);
            REQUIRE(least);
            // Those that must be there, and those that may.
            position must = (std::numeric_limits<position>::max)();
            position may = must;
            for (auto const& [a, c] : cursors) {
                std::int64_t const age = now - renewed[a];
                if (age < 6'900'000) { must = (std::min)(must, c); }
                if (age < 8'200'000) { may = (std::min)(may, c); }
            }
            REQUIRE(*least);
            CHECK(**least <= must);
            CHECK(**least >= may);
            REQUIRE(tx->commit());
        }
    }
}

TEST_CASE("a clock that jumps ends no lease", "[replica][leases]") {
    memory_storage store;
    lease_book const book{"x", {milliseconds{100 * hour}, milliseconds{hour}}};
    auto tx = store.begin(access_mode::write);
    REQUIRE(book.renew(*tx, 1, 7, at(0)));
    REQUIRE(book.renew(*tx, 2, 9, at(100'000 * hour)));
    CHECK(*book.lapse(*tx, 9) == 0);
    REQUIRE(book.renew(*tx, 2, 9, at(-100'000 * hour)));
    REQUIRE(book.renew(*tx, 2, 9, at(0)));
    CHECK(*book.lapse(*tx, 9) == 0);
    CHECK(**book.least(*tx) == 7);
    // Time that passes in steps does.
    for (int i = 1; i < 120; ++i) { REQUIRE(book.renew(*tx, 2, 9, at(i * hour))); }
    CHECK(*book.lapse(*tx, 9) == 1);
    CHECK(**book.least(*tx) == 9);
}

TEST_CASE("tombstones go everywhere once everybody has them", "[replica][leases]") {
    world::virtual_clock time;
    world::cloud home{time.now};
    home.self = with_leases();
    world::device a{1};
    world::device b{2};
    REQUIRE(world::open(a, time.now));
    REQUIRE(world::open(b, time.now, "anna"));
    for (int i = 0; i < 20; ++i) {
        REQUIRE(a.write([&](auto& tx) {
            return a.self.create(tx, {"things", std::to_string(i)}, world::fields({{"n", i}}), time.now);
        }));
    }
    sync_all(a, home, time.now);
    sync_all(b, home, time.now);
    for (int i = 0; i < 15; ++i) {
        REQUIRE(a.write([&](auto& tx) { return a.self.erase(tx, {"things", std::to_string(i)}, time.now); }));
    }
    sync_all(a, home, time.now);
    sync_all(a, home, time.now);
    CHECK(collect(home).tombstones == 0);  // b has not heard of them
    CHECK(keys_under(home.store, "ar") == 20);
    sync_all(b, home, time.now);
    sync_all(b, home, time.now);
    CHECK(keys_under(b.store, "rd") == 15);

    std::size_t calls = 0;
    std::size_t gone = 0;
    for (bool more = true; more; ++calls) {
        auto const report = collect(home, 4);
        gone += report.tombstones;
        more = report.more;
    }
    CHECK(gone == 15);
    CHECK(calls == 4);  // the first look went past what lives
    CHECK(keys_under(home.store, "ar") == 5);
    CHECK(keys_under(home.store, "ap") == 5);
    sync_all(a, home, time.now);
    CHECK_FALSE(sync_all(b, home, time.now));
    for (auto* d : {&a, &b}) {
        CHECK(keys_under(d->store, "rv") == 5);
        CHECK(keys_under(d->store, "rd") == 0);
    }
    // Created anew under the same name.
    REQUIRE(b.write([&](auto& tx) {
        return b.self.create(tx, {"things", "3"}, world::fields({{"n", 33}}), time.now);
    }));
    sync_all(b, home, time.now);
    sync_all(a, home, time.now);
    CHECK(seen(a, {"things", "3"}, "n") == 33);
}

TEST_CASE("a stale note of a tombstone takes nothing that lives along", "[replica][leases]") {
    world::virtual_clock time;
    world::cloud home{time.now};
    home.self = with_leases();
    world::device a{1};
    REQUIRE(world::open(a, time.now));
    for (char const* id : {"lives", "dies"}) {
        REQUIRE(a.write([&](auto& tx) {
            return a.self.create(tx, {"things", id}, world::fields({{"n", 1}}), time.now);
        }));
    }
    sync_all(a, home, time.now);
    // As a damaged store, or an earlier version's mistake, would leave it.
    REQUIRE(a.write([&](auto& tx) {
        bytes note = to_bytes(as_bytes("rd"));
        append_u64(note, 1);
        return tx.put(note, to_bytes(record_key{"things", "lives"}));
    }));
    REQUIRE(a.write([&](auto& tx) { return a.self.erase(tx, {"things", "dies"}, time.now); }));
    for (int i = 0; i < 2; ++i) { sync_all(a, home, time.now); }
    REQUIRE(collect(home).tombstones == 1);
    for (int i = 0; i < 2; ++i) { sync_all(a, home, time.now); }
    CHECK(keys_under(a.store, "rd") == 0);
    CHECK(keys_under(a.store, "rv") == 1);
    CHECK(seen(a, {"things", "lives"}, "n") == 1);
}

TEST_CASE(
    "a device past its lease joins again: what it did not touch goes, what it edited is a conflict, nothing rises",
    "[replica][leases]") {
    world::virtual_clock time;
    world::cloud home{time.now};
    home.self = with_leases();
    world::device a{1};
    world::device away{2};
    REQUIRE(world::open(a, time.now));
    REQUIRE(world::open(away, time.now));
    for (char const* id : {"kept", "gone", "edited", "again", "erased"}) {
        REQUIRE(a.write([&](auto& tx) {
            return a.self.create(tx, {"things", id}, world::fields({{"n", 1}}), time.now);
        }));
    }
    sync_all(a, home, time.now);
    sync_all(away, home, time.now);
    REQUIRE(away.write([&](auto& tx) {
        return away.self.update(tx, {"things", "edited"}, {world::set("n", 2)}, time.now);
    }));
    REQUIRE(away.write([&](auto& tx) {
        return away.self.update(tx, {"things", "again"}, {world::set("n", 3)}, time.now);
    }));
    REQUIRE(away.write([&](auto& tx) {
        return away.self.update(tx, {"things", "kept"}, {world::set("most", 3)}, time.now);
    }));
    REQUIRE(away.write([&](auto& tx) {
        return away.self.create(tx, {"things", "own"}, world::fields({{"n", 8}}), time.now);
    }));
    REQUIRE(away.write([&](auto& tx) { return away.self.erase(tx, {"things", "erased"}, time.now); }));

    for (char const* id : {"gone", "edited", "again", "erased"}) {
        REQUIRE(a.write([&](auto& tx) { return a.self.erase(tx, {"things", id}, time.now); }));
    }
    for (int i = 0; i < 10; ++i) {
        time.pass(20 * hour);
        sync_all(a, home, time.now);
    }
    auto const report = collect(home);
    CHECK(report.lapsed == 1);
    CHECK(report.tombstones == 4);
    // The same name, and the same number of its life.
    REQUIRE(a.write([&](auto& tx) {
        return a.self.create(tx, {"things", "again"}, world::fields({{"n", 50}}), time.now);
    }));
    sync_all(a, home, time.now);

    CHECK(sync_all(away, home, time.now));
    sync_all(a, home, time.now);
    for (auto* d : {&a, &away}) {
        CHECK(seen(*d, {"things", "kept"}, "most") == 3);
        CHECK(seen(*d, {"things", "own"}, "n") == 8);
        CHECK(seen(*d, {"things", "again"}, "n") == 50);
        CHECK_FALSE(seen(*d, {"things", "gone"}, "n"));
        CHECK_FALSE(seen(*d, {"things", "edited"}, "n"));
        CHECK_FALSE(seen(*d, {"things", "erased"}, "n"));
        CHECK(keys_under(d->store, "rv") == 3);
        CHECK(keys_under(d->store, "rb") == 0);
    }
    std::set<std::string> asked;
    REQUIRE(away.read([&](auto& tx) {
        return away.self.conflicts(tx, [&](open_conflict const& c) {
            asked.insert(std::string{c.local.record.id_text()});
            return true;
        });
    }));
    CHECK(asked == std::set<std::string>{"again", "edited"});
}

TEST_CASE("what is decided about a record that two created again does not hang on the horizon", "[replica][leases]") {
    for (bool const collected : {false, true}) {
        CAPTURE(collected);
        world::virtual_clock time;
        world::cloud home{time.now};
        home.self = with_leases();
        world::device a{1};
        world::device b{2};
        REQUIRE(world::open(a, time.now));
        REQUIRE(world::open(b, time.now));
        record_key const k{"things", "twice"};
        REQUIRE(a.write([&](auto& tx) { return a.self.create(tx, k, world::fields({{"n", 1}}), time.now); }));
        sync_all(a, home, time.now);
        REQUIRE(a.write([&](auto& tx) { return a.self.erase(tx, k, time.now); }));
        for (int i = 0; i < 2; ++i) {
            sync_all(a, home, time.now);
            sync_all(b, home, time.now);
        }
        // Both hold the tombstone, and create the second life; one of them takes it back.
        REQUIRE(a.write([&](auto& tx) { return a.self.create(tx, k, world::fields({{"n", 2}}), time.now); }));
        REQUIRE(b.write([&](auto& tx) { return b.self.create(tx, k, world::fields({{"most", 3}}), time.now); }));
        auto const frozen = a.write([&](auto& tx) { return a.self.prepare(tx, time.now); });
        REQUIRE(frozen);
        REQUIRE(a.write([&](auto& tx) { return a.self.erase(tx, k, time.now); }));
        sync_all(b, home, time.now);
        if (collected) {
            for (int i = 0; i < 10; ++i) {
                time.pass(20 * hour);
                sync_all(b, home, time.now);
            }
            REQUIRE(collect(home).horizon >= 2);
        }
        for (int i = 0; i < 3; ++i) { sync_all(a, home, time.now); }
        sync_all(b, home, time.now);
        for (auto* d : {&a, &b}) {
            CHECK_FALSE(d->read([&](auto& tx) { return d->self.read(tx, k); })->has_value());
        }
    }
}

TEST_CASE("a reply that comes once more brings no tombstone back", "[replica][leases]") {
    world::virtual_clock time;
    world::cloud home{time.now};
    home.self = with_leases();
    world::device a{1};
    world::device b{2};
    REQUIRE(world::open(a, time.now));
    REQUIRE(world::open(b, time.now));
    REQUIRE(a.write([&](auto& tx) {
        return a.self.create(tx, {"things", "dies"}, world::fields({{"n", 1}}), time.now);
    }));
    sync_all(a, home, time.now);
    bool const by_ranges = GENERATE(false, true);  // it is told in a first sync; else in the log
    if (!by_ranges) { sync_all(b, home, time.now); }
    REQUIRE(a.write([&](auto& tx) { return a.self.erase(tx, {"things", "dies"}, time.now); }));
    sync_all(a, home, time.now);
    std::vector<bytes> told;
    for (bool more = true; more;) {
        auto const p = home.answer(world::request_of(b, time.now), time.now);
        REQUIRE(p);
        auto const report = b.write([&](auto& tx) { return b.self.absorb(tx, *p, time.now, b.random); });
        REQUIRE(report);
        more = report->more;
        told.push_back(*p);
    }
    CHECK(keys_under(b.store, "rd") == 1);
    sync_all(b, home, time.now);
    sync_all(a, home, time.now);
    REQUIRE(collect(home).tombstones == 1);
    sync_all(b, home, time.now);
    REQUIRE(keys_under(b.store, "rv") == 0);
    for (bytes const& p : told) {
        REQUIRE(b.write([&](auto& tx) { return b.self.absorb(tx, p, time.now, b.random); }));
        CHECK(keys_under(b.store, "rv") == 0);
        CHECK(keys_under(b.store, "rd") == 0);
    }
}

TEST_CASE("whoever comes back when, nothing deleted rises again and all hold the same", "[replica][leases]") {
    for (std::uint64_t seed = 1; seed <= rounds(40U); ++seed) {
        random_generator random{seed};
        world::virtual_clock time;
        world::cloud home{time.now, seed};
        home.self = with_leases();
        std::vector<std::unique_ptr<world::device>> devices;
        for (std::uint64_t i = 0; i < 4; ++i) {
            replica_options options;
            options.rows_max = 1 + random() % 4;
            options.compared_rows = (seed + i) % 4;
            devices.push_back(std::make_unique<world::device>(seed * 10 + i, options));
            REQUIRE(world::open(*devices.back(), time.now));
        }
        // Each record bears the number of its creation: what is seen of one that was deleted has risen.
        std::int64_t births = 0;
        std::set<std::int64_t> dead;
        std::size_t rejoined = 0;
        std::size_t collected = 0;
        auto const judge_home = [&] {
            auto tx = home.store.begin(access_mode::read);
            REQUIRE(home.self.scan(*tx, [&](record_key const&, row const& r) {
                if (!r.deleted) { CHECK(dead.count(*world::field(r.fields, "least")) == 0); }
                return true;
            }));
        };
        for (int step = 0; step < 400; ++step) {
            world::device& d = *devices[random() % devices.size()];
            record_key const k{"things", std::to_string(random() % 6)};
            time.pass(static_cast<std::int64_t>(random() % 3) * hour);
            switch (random() % 9) {
                case 0:
                case 1:
                    (void)d.write([&](auto& tx) {
                        return d.self.create(tx, k, world::fields({{"least", ++births}, {"n", 0}}), time.now);
                    });
                    break;
                case 2:
                    (void)d.write([&](auto& tx) { return d.self.update(tx, k, {world::set("n", step)}, time.now); });
                    break;
                case 3: (void)d.write([&](auto& tx) { return d.self.erase(tx, k, time.now); }); break;
                case 4: collected += collect(home, 1 + random() % 5).tombstones; break;
                case 5: time.pass(static_cast<std::int64_t>(random() % 30) * hour); break;
                default: {
                    if (&d == devices[0].get() && random() % 20 != 0) { break; }  // one is seldom there
                    std::map<std::string, std::int64_t> before;
                    auto const living = [&] {
                        std::map<std::string, std::int64_t> out;
                        auto tx = home.store.begin(access_mode::read);
                        REQUIRE(home.self.scan(*tx, [&](record_key const& name, row const& r) {
                            if (!r.deleted) { out[std::string{name.id_text()}] = *world::field(r.fields, "least"); }
                            return true;
                        }));
                        return out;
                    };
                    before = living();
                    rejoined += meet(d, home, time.now).rejoined ? 1 : 0;
                    auto const after = living();
                    for (auto const& [name, birth] : before) {
                        auto const still = after.find(name);
                        if (still == after.end()) { dead.insert(birth); }
                    }
                    judge_home();
                }
            }
        }
        for (int round = 0; round < 3; ++round) {
            for (auto& d : devices) { rejoined += sync_all(*d, home, time.now) ? 1 : 0; }
            while (collect(home, 3).more) {}
        }
        for (auto& d : devices) {
            sync_all(*d, home, time.now);
            auto tx = home.store.begin(access_mode::read);
            std::size_t rows = 0;
            REQUIRE(home.self.scan(*tx, [&](record_key const& k, row const& r) {
                auto const held = d->read([&](auto& t) { return d->self.read_confirmed(t, k); });
                REQUIRE(held);
                CHECK(*held == r);
                CHECK_FALSE(r.deleted);
                ++rows;
                return true;
            }));
            CHECK(keys_under(d->store, "rv") == rows);
            CHECK(keys_under(d->store, "rd") == 0);
            CHECK(keys_under(d->store, "rw") == 0);
            CHECK(keys_under(d->store, "rn") == 0);
        }
        CHECK(collected > 0);
        if (seed == 1) { CHECK(rejoined > 0); }
    }
}

TEST_CASE("a request that comes again gives nobody a lease on what they don't hold", "[replica][leases]") {
    instant const now = world::virtual_clock{}.now;
    world::cloud home{now};
    home.self = with_leases();
    world::device writer{1};
    world::device reader{2};
    REQUIRE(world::open(writer, now));
    REQUIRE(world::open(reader, now));
    auto const writes = [&](std::string_view id) {
        REQUIRE(writer.write([&](auto& tx) {
            return writer.self.create(tx, record_key{"things", id}, world::fields({{"name", 1}}), now);
        }));
    };
    writes("a");
    sync_all(writer, home, now);
    bytes const first = world::request_of(reader, now);
    sync_all(reader, home, now);
    REQUIRE(seen(reader, record_key{"things", "a"}, "name") == 1);

    writes("b");
    sync_all(writer, home, now);
    REQUIRE(writer.write([&](auto& tx) { return writer.self.erase(tx, record_key{"things", "a"}, now); }));
    sync_all(writer, home, now);
    writes("c");
    sync_all(writer, home, now);
    REQUIRE(home.answer(first, now));  // the network repeats how the reader began
    collect(home);
    CHECK_FALSE(sync_all(reader, home, now));
    CHECK(world::visible(reader) == world::confirmed(home));
}
