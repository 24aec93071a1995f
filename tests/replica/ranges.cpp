// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/ranges.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <syncline/core/random.hpp>
#include <syncline/storage/memory.hpp>

#include "world.hpp"

namespace {

using namespace syncline;

bytes bound(unsigned n) { return n == 0 ? bytes{} : bytes{std::byte{1}, static_cast<std::byte>(n)}; }

}  // namespace

TEST_CASE("a collection's range holds its records and no others", "[replica][ranges]") {
    auto const inside = [](record_range const& r, record_key const& k) {
        bytes const b = to_bytes(k);
        return compare(r.from, b) <= 0 && compare(b, r.to) < 0;
    };
    record_range const things = range_of("things");
    CHECK(valid(things));
    CHECK(inside(things, {"things", std::string(1, '\0')}));
    CHECK(inside(things, {"things", std::string(255, '\xff')}));
    CHECK_FALSE(inside(things, {"thingr", "x"}));
    CHECK_FALSE(inside(things, {"thingt", "x"}));
    CHECK_FALSE(inside(things, {"thing", "sx"}));
    record_range const one = range_of(record_key{"things", "a"});
    CHECK(valid(one));
    CHECK(inside(one, {"things", "a"}));
    CHECK_FALSE(inside(one, {"things", "b"}));
    CHECK_FALSE(inside(one, {"things", std::string("a\0", 2)}));
    CHECK(inside(every_record(), {std::string(64, 'z'), std::string(255, '\xff')}));
    CHECK_FALSE(valid(record_range{key_space_end(), {}}));
    CHECK_FALSE(valid(record_range{{}, bytes(322)}));
}

TEST_CASE("the list wants what was added and not told since, each key in the band that it came to first",
          "[replica][ranges]") {
    // Held against a naive list: for each of some keys, its band or nothing.
    constexpr unsigned keys = 24;
    random_generator random{42};
    for (int round = 0; round < 60; ++round) {
        memory_storage store;
        range_list const list{"x"};
        std::array<std::optional<std::uint8_t>, keys> wanted{};
        for (int step = 0; step < 25; ++step) {
            auto tx = store.begin(access_mode::write);
            REQUIRE(tx);
            auto const from = static_cast<unsigned>(random() % keys);
            auto const to = from + 1 + static_cast<unsigned>(random() % (keys - from));
            record_range const r{bound(from), to == keys ? key_space_end() : bound(to)};
            std::uint8_t const band = std::array<std::uint8_t, 4>{0, 1, 7, 255}[random() % 4];
            if (random() % 2 == 0) {
                REQUIRE(list.add(*tx, band, r));
                for (unsigned i = from; i < to; ++i) { wanted[i] = wanted[i].value_or(band); }
            } else {
                REQUIRE(list.cover(*tx, r));
                for (unsigned i = from; i < to; ++i) { wanted[i].reset(); }
            }
            REQUIRE(tx->commit());

            auto look = store.begin(access_mode::read);
            auto const all = list.first(*look, 1'000);
            REQUIRE(all);
            std::array<unsigned, keys> count{};
            std::vector<std::uint8_t> bands;
            for (record_range const& w : *all) {
                REQUIRE(valid(w));
                for (unsigned i = 0; i < keys; ++i) {
                    if (compare(w.from, bound(i)) <= 0 && compare(bound(i), w.to) < 0) {
                        ++count[i];
                        REQUIRE(wanted[i]);
                        bands.push_back(*wanted[i]);
                    }
                }
            }
            CHECK(std::is_sorted(bands.begin(), bands.end()));
            bool any = false;
            for (unsigned i = 0; i < keys; ++i) {
                CHECK(count[i] == (wanted[i] ? 1U : 0U));
                any = any || wanted[i];
                auto const complete = list.complete(*look, {bound(i), bound(i + 1)});
                REQUIRE(complete);
                CHECK(*complete == !wanted[i]);
            }
            CHECK(*list.empty(*look) == !any);
            CHECK(list.first(*look, 1)->size() == (any ? 1U : 0U));
        }
    }
}

TEST_CASE("what is no list is corrupt", "[replica][ranges]") {
    memory_storage store;
    range_list const list{"x"};
    auto tx = store.begin(access_mode::write);
    REQUIRE(tx->put(as_bytes("x\x01"
                             "a"),
                    as_bytes("b")));
    CHECK(list.first(*tx, 9).error() == errc::corrupt);
    CHECK(list.cover(*tx, every_record()).error() == errc::corrupt);
    CHECK(list.add(*tx, 1, every_record()).error() == errc::corrupt);
    CHECK(list.complete(*tx, every_record()).error() == errc::corrupt);
}

TEST_CASE("a first sync fetches the essential collections first, goes on where it was interrupted, and misses nothing",
          "[replica][ranges]") {
    world::virtual_clock time;
    world::cloud home{time.now};
    world::device writer{1};
    REQUIRE(world::open(writer, time.now));
    std::array<char const*, 3> const names{"alpha", "beta", "things"};
    for (unsigned i = 0; i < 60; ++i) {
        REQUIRE(writer.write([&](auto& tx) {
            return writer.self.create(tx, {names[i % 3], std::to_string(i)}, world::fields({{"n", i}}), time.now);
        }));
    }
    auto const sync = [&](world::device& d) {
        bytes const q = world::request_of(d, time.now);
        auto const p = home.answer(q, time.now);
        REQUIRE(p);
        auto const report = d.write([&](auto& tx) { return d.self.absorb(tx, *p, time.now, d.random); });
        REQUIRE(report);
        return *report;
    };
    for (int i = 0; i < 5 && sync(writer).more; ++i) {}

    replica_options options;
    options.rows_max = 7;
    options.essential = {"things", "beta"};
    world::device fresh{2, options};
    REQUIRE(world::open(fresh, time.now));
    auto const complete = [&](char const* name) {
        return *fresh.read([&](auto& tx) { return fresh.self.complete(tx, name); });
    };
    auto const count = [&](char const* name) {
        std::size_t n = 0;
        auto const ok = fresh.read([&](auto& tx) {
            return fresh.self.scan(tx, name, [&](auto const&, auto const&) {
                ++n;
                return true;
            });
        });
        REQUIRE(ok);
        return n;
    };
    std::vector<std::string> order;
    unsigned changed = 0;
    int exchanges = 0;
    for (bool more = true; more; ++exchanges) {
        REQUIRE(exchanges < 40);
        // Others write on meanwhile, in what is told already and in what is not.
        auto const n = changed++ % 60;
        if (exchanges < 6) {
            REQUIRE(writer.write([&](auto& tx) {
                return writer.self.update(tx, {names[n % 3], std::to_string(n)}, {world::set("n", 1'000)}, time.now);
            }));
            (void)sync(writer);
        }
        more = sync(fresh).more;
        for (char const* name : names) {
            bool const has = std::find(order.begin(), order.end(), name) != order.end();
            if (complete(name) && !has) {
                order.emplace_back(name);
                CHECK(count(name) == 20);
            }
        }
    }
    CHECK(order == std::vector<std::string>{"things", "beta", "alpha"});
    CHECK(fresh.read([&](auto& tx) { return fresh.self.status_of(tx); })->complete);
    auto tx = home.store.begin(access_mode::read);
    std::size_t rows = 0;
    REQUIRE(home.self.scan(*tx, [&](record_key const& k, row const& r) {
        auto const held = fresh.read([&](auto& t) { return fresh.self.read_confirmed(t, k); });
        REQUIRE(held);
        CHECK(*held == r);
        ++rows;
        return true;
    }));
    CHECK(rows == 60);
}

TEST_CASE("ranges and what is told of them travel; what is out of order is refused", "[replica][ranges]") {
    request q;
    q.ranges = {range_of("things"), every_record()};
    CHECK(*decode_request(encode(q)) == q);
    q.ranges = {record_range{bound(2), bound(2)}};
    CHECK(decode_request(encode(q)).error() == errc::malformed);
    q.ranges.assign(wanted_ranges_max + 1, every_record());
    CHECK(decode_request(encode(q)).error() == errc::limit);

    auto const told = [](std::string_view id, position version) {
        row r;
        r.version = version;
        r.deleted = true;
        return row_update{{"things", id}, r};
    };
    reply p;
    p.author = 1;
    p.head = 9;
    p.from = 8;
    p.to = 9;
    p.horizon = 3;
    p.rows = {told("z", 9), told("b", 2), told("c", 9)};
    p.ranges = {{range_of("things"), 2}, {range_of("others"), 0}};
    CHECK(*decode_reply(encode(p)) == p);
    auto const refused = [&](auto&& change) {
        reply bad = p;
        change(bad);
        auto const out = decode_reply(encode(bad));
        return !out && out.error() == errc::malformed;
    };
    CHECK(refused([](reply& b) { std::swap(b.rows[1], b.rows[2]); }));
    CHECK(refused([](reply& b) { b.rows[2] = b.rows[1]; }));
    CHECK(refused([](reply& b) { b.ranges[0].covered = range_of("thing"); }));
    CHECK(refused([](reply& b) { b.ranges[0].rows = 4; }));
    CHECK(refused([](reply& b) { b.ranges[1].rows = (std::numeric_limits<std::size_t>::max)(); }));
    CHECK(refused([](reply& b) { b.ranges.clear(); }));  // rows that are not of the page
    CHECK(refused([](reply& b) { b.head = 10; }));       // the tail is not told whole
    CHECK(refused([](reply& b) { b.rows[1].state.version = 0; }));
    CHECK(refused([](reply& b) { b.horizon = 10; }));
}

TEST_CASE("a replica that met its authority while that was empty misses nothing that came later", "[replica][ranges]") {
    // What an empty authority told of the ranges stands at the cursor 0, and so does who holds nothing: what such a reply
    // begins at the head is not all there is.
    world::virtual_clock clock;
    world::cloud home{clock.now};
    world::device other{1};
    REQUIRE(world::open(other, clock.now, "ben"));
    replica_options few;
    few.rows_max = 4;
    world::device d{2, few};
    REQUIRE(world::open(d, clock.now));
    record_key const again{"things", "z"};
    bytes const asked = world::request_of(d, clock.now);
    auto const empty = home.answer(asked, clock.now);
    REQUIRE(empty);
    SECTION("more was written meanwhile than one exchange ends") {
        for (int i = 0; i < 9; ++i) {
            record_key const k{"things", "m" + std::to_string(i)};
            REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, k, world::fields({{"n", i}}), clock.now); }));
        }
        REQUIRE(world::absorb(d, *empty, clock.now));
    }
    SECTION("a record is fetched again") {
        REQUIRE(world::absorb(d, *empty, clock.now));
        REQUIRE(d.write([&](auto& tx) { return d.self.refetch(tx, range_of(again)); }));
    }
    for (std::string const id : {"a", "k", "z"}) {
        REQUIRE(other.write([&](auto& tx) {
            return other.self.create(tx, {"things", id}, world::fields({{"n", 1}}), clock.now);
        }));
    }
    auto const theirs = home.answer(world::request_of(other, clock.now), clock.now, "ben");
    REQUIRE(theirs);
    REQUIRE(world::sync(d, home, clock.now));
    CHECK(world::visible(d) == world::confirmed(home));
    CHECK(world::visible(d).contains("a"));
}
