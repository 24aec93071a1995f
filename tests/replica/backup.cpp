// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/backup.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "world.hpp"

namespace {

using namespace syncline;
using world::add;
using world::fields;
using world::set;

record_key const key_a{"things", "a"};

std::map<bytes, bytes> content(memory_storage& store) {
    std::map<bytes, bytes> all;
    auto tx = store.begin(access_mode::read);
    REQUIRE(tx->scan({}, [&](bytes_view k, bytes_view v) {
        all[to_bytes(k)] = to_bytes(v);
        return true;
    }));
    return all;
}

// region: write
/// A copy of a store as it is now; `sink` would write to a file.
template <class Store>
result<bytes> back_up(Store& store, std::size_t page_bytes = std::size_t{64} << 10) {
    bytes out;
    auto const sink = [&](bytes_view piece) -> status {
        append(out, piece);
        return {};
    };
    auto tx = store.begin(access_mode::read);  // one state, whatever others write meanwhile
    if (!tx) { return tx.error(); }
    auto const done = write_backup(*tx, sink, page_bytes);
    if (!done) { return done.error(); }
    return out;
}
// endregion: write

// region: restore
/// Puts a copy into an empty store. `pieces` would be read from the file.
template <class Store>
status put_back(Store& store, std::vector<bytes> const& pieces) {
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    backup_reader reader;
    for (bytes const& piece : pieces) {
        if (auto ok = reader.take(*tx, piece); !ok) { return ok; }
    }
    if (auto const whole = reader.finish(); !whole) { return whole.error(); }
    return tx->commit();
}
// endregion: restore

void fill(memory_storage& store, syncline::random_generator& random, std::size_t keys, std::size_t longest) {
    auto tx = store.begin(access_mode::write);
    for (std::size_t i = 0; i < keys; ++i) {
        bytes k(1 + random() % 40);
        bytes v(random() % longest);
        for (std::byte& b : k) { b = static_cast<std::byte>(random()); }
        for (std::byte& b : v) { b = static_cast<std::byte>(random()); }
        REQUIRE(tx->put(k, v));
    }
    REQUIRE(tx->commit());
}

}  // namespace

TEST_CASE("what comes back is what was there, whatever pages and pieces it came in") {
    syncline::random_generator random{4};
    for (int round = 0; round < 40; ++round) {
        memory_storage store;
        fill(store, random, random() % 200, 1 + random() % 3'000);
        auto const copy = back_up(store, 1 + random() % 9'000);
        REQUIRE(copy);
        std::vector<bytes> pieces;
        for (std::size_t at = 0; at < copy->size();) {
            std::size_t const n = (std::min)(copy->size() - at, static_cast<std::size_t>(random() % 5'000));
            pieces.push_back(to_bytes(bytes_view{*copy}.subspan(at, n)));
            at += n;
        }
        memory_storage back;
        REQUIRE(put_back(back, pieces));
        CHECK(content(back) == content(store));
    }
}

TEST_CASE("the summary says what was written and read") {
    memory_storage store;
    syncline::random_generator random{5};
    fill(store, random, 50, 100);
    std::size_t size = 0;
    auto tx = store.begin(access_mode::read);
    auto const sum = write_backup(*tx, [&](bytes_view piece) -> status {
        size += piece.size();
        return {};
    });
    REQUIRE(sum);
    CHECK(sum->keys == 50);
    CHECK(sum->size == size);
}

TEST_CASE("others write while a backup is taken, and it is of one moment") {
    memory_store shared;
    memory_storage store{shared};
    memory_storage other{shared};
    syncline::random_generator random{6};
    fill(store, random, 300, 50);
    auto const before = content(store);
    bytes copy;
    auto tx = store.begin(access_mode::read);
    REQUIRE(write_backup(
        *tx,
        [&](bytes_view piece) -> status {
            fill(other, random, 5, 50);
            append(copy, piece);
            return {};
        },
        200));
    memory_storage back;
    REQUIRE(put_back(back, {copy}));
    CHECK(content(back) == before);
    CHECK(content(other).size() > before.size());
}

TEST_CASE("a sink that fails ends the backup, and what it has is none") {
    memory_storage store;
    syncline::random_generator random{7};
    fill(store, random, 100, 100);
    for (std::size_t most = 0; most < 20; ++most) {
        bytes copy;
        std::size_t left = most;
        auto tx = store.begin(access_mode::read);
        auto const sum = write_backup(
            *tx,
            [&](bytes_view piece) -> status {
                if (left-- == 0) { return errc::storage_full; }
                append(copy, piece);
                return {};
            },
            100);
        CHECK(sum.error() == errc::storage_full);
        memory_storage back;
        CHECK_FALSE(put_back(back, {copy}));
        CHECK(content(back).empty());
    }
}

TEST_CASE("a copy that is cut, damaged or of something else puts nothing in the store") {
    memory_storage store;
    syncline::random_generator random{8};
    fill(store, random, 20, 60);
    bytes const copy = *back_up(store, 150);
    auto const refused = [&](bytes const& bad) {
        memory_storage back;
        auto const ok = put_back(back, {bad});
        CHECK_FALSE(ok);
        CHECK(content(back).empty());
        return ok ? errc{} : ok.error().code;
    };
    for (std::size_t cut = 0; cut < copy.size(); ++cut) {
        CHECK(refused(to_bytes(bytes_view{copy}.first(cut))) == errc::corrupt);
    }
    for (int i = 0; i < 2'000; ++i) {
        bytes bad = copy;
        bad[random() % bad.size()] ^= static_cast<std::byte>(1U << (random() % 8));
        errc const why = refused(bad);
        CHECK((why == errc::corrupt || why == errc::foreign));
    }
    bytes twice = copy;
    append(twice, copy);
    CHECK(refused(twice) == errc::corrupt);
    CHECK(refused(to_bytes(std::string_view{"<!doctype html>, and so on"})) == errc::foreign);
    bytes later;
    {
        bytes body;
        cbor_writer w{body};
        w.array(2);
        w.text("syncline backup");
        w.unsigned_integer(backup_format + 1);
        append_u64(later, (static_cast<std::uint64_t>(body.size()) << 32) | crc32c(body));
        append(later, body);
    }
    CHECK(refused(later) == errc::unsupported);
    CHECK(put_back(store, {copy}).error() == errc::already_exists);
}

TEST_CASE("a restore is whole or was not, whatever storage call fails") {
    memory_storage store;
    syncline::random_generator random{9};
    fill(store, random, 12, 60);
    bytes const copy = *back_up(store, 150);
    auto const report = testing::nth_failure([](auto&) {}, [&](auto& s) { return put_back(s, {copy}); });
    CHECK(report.runs > 12);
    CHECK(report.violations.empty());
}

TEST_CASE("a device that is put back counts what it shares with the lost one once, and bears a new name") {
    for (int what = 0; what < 16; ++what) {
        bool const frozen = (what & 1) != 0;   // something was under way when the copy was taken
        bool const sent = (what & 2) != 0;     // the lost one sent what waited in the copy
        bool const went_on = (what & 4) != 0;  // … and more
        bool const lives = (what & 8) != 0;    // and is not lost at all
        INFO(frozen << sent << went_on << lives);
        world::virtual_clock clock;
        world::cloud home{clock.now};
        world::device one{100};
        REQUIRE(world::open(one, clock.now));
        auto const raise = [&](world::device& d, std::int64_t n) {
            clock.pass(10);
            REQUIRE(d.write([&](auto& tx) { return d.self.update(tx, key_a, {add("count", n)}, clock.now); }));
        };
        REQUIRE(one.write([&](auto& tx) { return one.self.create(tx, key_a, fields({{"count", 1}}), clock.now); }));
        REQUIRE(world::sync(one, home, clock.now));
        std::int64_t all = 1;
        raise(one, 10);
        all += 10;
        if (frozen) {
            (void)world::request_of(one, clock.now);
            raise(one, 100);
            all += 100;
        }
        bytes const copy = *back_up(one.store);
        if (sent) { REQUIRE(world::sync(one, home, clock.now)); }
        if (went_on) {
            raise(one, 1'000);
            if (sent) {
                all += 1'000;
                REQUIRE(world::sync(one, home, clock.now));
            }
        }

        world::device two{200};
        REQUIRE(put_back(two.store, {copy}));
        // region: renew
        // As at each start of the program; then the first exchange, in which what it shares with the lost one is known.
        REQUIRE(world::open(two, clock.now));
        raise(two, 10'000);
        all += 10'000;
        replica_id const old = *two.read([&](auto& tx) { return two.self.self(tx); });
        REQUIRE(world::sync(two, home, clock.now));
        if (*two.read([&](auto& tx) { return two.self.self(tx); }) == old) {
            REQUIRE(two.write([&](auto& tx) { return two.self.renew(tx, two.random); }));
        }
        // endregion: renew
        CHECK_FALSE(*two.read([&](auto& tx) { return two.self.self(tx); }) == old);
        raise(two, 100'000);
        all += 100'000;
        REQUIRE(world::sync(two, home, clock.now));
        if (lives) {
            REQUIRE(world::sync(one, home, clock.now));
            raise(one, 1'000'000);
            all += 1'000'000;
            REQUIRE(world::sync(one, home, clock.now));
            REQUIRE(world::sync(two, home, clock.now));
            CHECK(world::visible(one) == world::confirmed(home));
            // What the copy has sent first, the living one keeps for a person to see, with what it has joined to it since.
            auto const waits = *one.read([&](auto& tx) { return one.self.queue().summary(tx); });
            CHECK(waits.dead == (sent ? 0U : frozen ? 2U : 1U));
            CHECK(waits.entries == 0);
        }
        CHECK(world::visible(two) == world::confirmed(home));
        CHECK(world::field(world::confirmed(home).at("a"), "count") == all);
    }
}

TEST_CASE("a new incarnation issues again what is frozen, and what is pending stays") {
    world::virtual_clock clock;
    world::cloud home{clock.now};
    world::device d{100};
    REQUIRE(world::open(d, clock.now));
    REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, key_a, fields({{"count", 1}}), clock.now); }));
    bytes const lost = world::request_of(d, clock.now);
    REQUIRE(home.answer(lost, clock.now));  // and the reply is lost
    REQUIRE(d.write([&](auto& tx) { return d.self.update(tx, key_a, {add("count", 5)}, clock.now); }));
    REQUIRE(d.write([&](auto& tx) { return d.self.renew(tx, d.random); }));
    std::vector<event> told;
    REQUIRE(d.read([&](auto& tx) {
        return d.self.events(tx, 0, [&](std::uint64_t, event const& e) {
            told.push_back(e);
            return true;
        });
    }));
    REQUIRE(told.size() == 1);
    CHECK(told[0].kind == event_kind::reincarnated);
    REQUIRE(world::sync(d, home, clock.now));
    CHECK(world::field(world::confirmed(home).at("a"), "count") == 6);
    CHECK(world::visible(d) == world::confirmed(home));
}

TEST_CASE("retention keeps the newest of each period") {
    constexpr std::int64_t hour = 3'600'000;
    wall_time const start{milliseconds{1'790'000'000'000}};
    std::vector<wall_time> taken;
    for (int i = 0; i < 24 * 100; i += 6) { taken.push_back(start + milliseconds{i * hour}); }
    auto const kept = kept_backups(taken, {.last = 2, .days = 3, .weeks = 2, .months = 3});
    std::vector<std::int64_t> ages;
    for (std::size_t i = 0; i < taken.size(); ++i) {
        if (kept[i]) { ages.push_back((taken.back() - taken[i]).count() / hour); }
    }
    REQUIRE(ages.size() == 7);
    CHECK(ages.back() == 0);
    CHECK(ages[5] == 6);
    CHECK(ages.front() >= 24 * 30);
    CHECK(kept_backups({}, {}).empty());
    std::vector<wall_time> const one{wall_time{milliseconds{-5 * hour}}};
    CHECK(kept_backups(one, {}) == std::vector<bool>{true});
    CHECK(kept_backups(one, {.last = 0, .days = 0, .weeks = 0, .months = 0}) == std::vector<bool>{false});
}

TEST_CASE("retention never keeps more than it says, nor drops the newest") {
    syncline::random_generator random{10};
    for (int round = 0; round < 200; ++round) {
        std::vector<wall_time> taken;
        for (std::uint64_t n = random() % 60; n != 0; --n) {
            taken.push_back(
                wall_time{milliseconds{static_cast<std::int64_t>(random() % 20'000'000'000) - 5'000'000'000}});
        }
        std::sort(taken.begin(), taken.end());
        backup_retention const keep{random() % 4, random() % 4, random() % 4, random() % 4};
        auto const kept = kept_backups(taken, keep);
        auto const n = static_cast<std::size_t>(std::count(kept.begin(), kept.end(), true));
        CHECK(n <= keep.last + keep.days + keep.weeks + keep.months);
        bool const any = keep.last + keep.days + keep.weeks + keep.months != 0;
        if (!taken.empty() && any) { CHECK(kept.back()); }
        // What was thinned out once is not thinned out further by the same rule.
        std::vector<wall_time> left;
        for (std::size_t i = 0; i < taken.size(); ++i) {
            if (kept[i]) { left.push_back(taken[i]); }
        }
        auto const again = kept_backups(left, keep);
        CHECK(std::count(again.begin(), again.end(), false) == 0);
    }
}
