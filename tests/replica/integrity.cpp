// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/integrity.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <syncline/testing/faulty_storage.hpp>

#include "world.hpp"

namespace {

using namespace syncline;
using world::fields;
using world::set;

bytes name_of(record_key const& k) {
    bytes out = to_bytes(std::string_view{"rv"});
    append_key(out, k.collection, k.id);
    return out;
}
record_key thing(int i) {
    std::string id = std::to_string(i);
    return {"things", std::string(4 - id.size(), '0') + id};
}

/// An authority with some records, and a device that holds them.
struct checked_pair {
    world::virtual_clock clock{};
    world::cloud home{clock.now};
    world::device writer{100};
    world::device d{200};
    integrity_check check{{.rows_part = 4, .rows_max = 16}};
    int asks = 0;

    explicit checked_pair(int records = 50) {
        REQUIRE(world::open(writer, clock.now));
        REQUIRE(world::open(d, clock.now));
        for (int i = 0; i < records; ++i) { create(writer, thing(i), i); }
        sync(writer);
        sync(d);
    }
    void create(world::device& by, record_key const& k, std::int64_t n) {
        clock.pass(10);
        REQUIRE(by.write([&](auto& tx) {
            return by.self.create(tx, k, fields({{"name", n}, {"count", n}}), clock.now);
        }));
    }
    void update(world::device& by, record_key const& k, std::vector<field_op> ops) {
        clock.pass(10);
        REQUIRE(by.write([&](auto& tx) { return by.self.update(tx, k, ops, clock.now); }));
    }
    void erase(world::device& by, record_key const& k) {
        clock.pass(10);
        REQUIRE(by.write([&](auto& tx) { return by.self.erase(tx, k, clock.now); }));
    }
    void sync(world::device& by) {
        clock.pass(1'000);
        REQUIRE(world::sync(by, home, clock.now));
    }
    void begin() {
        REQUIRE(d.write([&](auto& tx) { return check.begin(tx, d.random); }));
    }
    /// One ask and its answer; false when the walk is done.
    bool step() {
        auto const ask = *d.read([&](auto& tx) { return check.ask(tx, d.self); });
        if (!ask) { return false; }
        ++asks;
        CHECK(is_integrity_ask(*ask));
        auto const answer = serve_integrity(home.store, home.self, *ask);
        REQUIRE(answer);
        REQUIRE(d.write([&](auto& tx) { return check.absorb(tx, d.self, *answer); }));
        return true;
    }
    integrity_report report() {
        return **d.read([&](auto& tx) { return check.report(tx); });
    }
    // region: walk
    /// Walks over everything that the device holds, and says what it found.
    integrity_report walk() {
        begin();
        for (;;) {
            auto const ask = *d.read([&](auto& tx) { return check.ask(tx, d.self); });
            if (!ask) { return report(); }
            // Here the ask travels; at the authority `is_integrity_ask` tells it from a request.
            auto const answer = serve_integrity(home.store, home.self, *ask);
            REQUIRE(answer);
            REQUIRE(d.write([&](auto& tx) { return check.absorb(tx, d.self, *answer); }));
        }
    }
    // endregion: walk
    /// Puts other bytes where a record of the device is.
    template <class F>
    void damage(record_key const& k, F change) {
        REQUIRE(d.write([&](auto& tx) -> status {
            bytes raw;
            if (auto const found = tx.get(name_of(k), raw); !found || !*found) { return errc::not_found; }
            change(raw);
            return tx.put(name_of(k), raw);
        }));
    }
    /// Another row in the place of a clean one.
    void replace(record_key const& k, row const& r) {
        REQUIRE(d.write([&](auto& tx) {
            return stored_records{}.put(tx, k, held_record{false, r.version, r}, nullptr);
        }));
    }
    row held(record_key const& k) {
        return **d.read([&](auto& tx) { return d.self.read_confirmed(tx, k); });
    }
};

}  // namespace

TEST_CASE("a replica that holds what its authority has differs nowhere") {
    checked_pair w;
    integrity_report const r = w.walk();
    CHECK(r.done);
    CHECK(r.rows == 50);
    CHECK(r.compared == 13);  // asks of sixteen rows in parts of four, and the last of two
    CHECK(r.differing == 0);
    CHECK(r.passed_over == 0);
    w.update(w.d, thing(3), {set("name", 77)});  // what is pending is no difference
    CHECK(w.walk().differing == 0);
}

TEST_CASE("a damaged row is found and fetched again, and pending edits stay") {
    checked_pair w;
    w.update(w.d, thing(21), {world::add("count", 5)});
    w.clock.pass(10);
    for (auto const& [k, fields_now] : std::vector<std::pair<record_key, bytes>>{
             {thing(20), fields({{"name", 20}, {"count", 999}})}, {thing(22), fields({})}}) {
        row r = w.held(k);
        r.fields = fields_now;
        w.replace(k, r);
    }
    integrity_report const r = w.walk();
    CHECK(r.done);
    CHECK(r.differing == 1);  // all of them lie in one part
    CHECK(world::visible(w.d) != world::confirmed(w.home));
    w.sync(w.d);
    CHECK(world::visible(w.d) == world::confirmed(w.home));
    CHECK(world::field(world::confirmed(w.home).at("0021"), "count") == 26);
    CHECK(w.walk().differing == 0);
}

TEST_CASE("whatever is wrong with a row heals") {
    enum class wrong { fields, version, lost, risen, gone_bad, confirmed, visible_and_confirmed };
    for (wrong const what : {wrong::fields, wrong::version, wrong::lost, wrong::risen, wrong::gone_bad,
                             wrong::confirmed, wrong::visible_and_confirmed}) {
        INFO(static_cast<int>(what));
        checked_pair w;
        record_key const k = thing(30);
        w.erase(w.writer, thing(31));
        w.sync(w.writer);
        w.sync(w.d);
        bool const pends = what >= wrong::gone_bad;
        if (pends) { w.update(w.d, k, {set("name", 5), world::add("count", 7)}); }
        switch (what) {
            case wrong::fields: {
                row r = w.held(k);
                r.fields = fields({{"name", 1}});
                w.replace(k, r);
                break;
            }
            case wrong::version: {
                row r = w.held(k);
                r.version = 45;
                r.fields = fields({{"name", 1}});
                w.replace(k, r);
                break;
            }
            case wrong::lost: REQUIRE(w.d.write([&](auto& tx) { return tx.erase(name_of(k)); })); break;
            case wrong::risen: w.replace({"things", "0030a"}, w.held(k)); break;
            case wrong::gone_bad: w.damage(k, [](bytes& raw) { raw.resize(raw.size() / 2); }); break;
            case wrong::confirmed:
            case wrong::visible_and_confirmed: {
                bytes base = name_of(k);
                base[1] = std::byte{'b'};
                row r = w.held(k);
                r.fields = fields({{"name", 1}, {"count", 1'000}});
                bytes raw;
                cbor_writer out{raw};
                encode_row(out, r);
                if (what == wrong::visible_and_confirmed) {
                    raw.pop_back();
                    w.damage(k, [](bytes& v) { v.clear(); });
                }
                REQUIRE(w.d.write([&](auto& tx) { return tx.put(base, raw); }));
                break;
            }
        }
        CHECK(w.walk().differing == 1);
        if (pends) {
            // Before the edit has left, so that what is seen is the told row with the edit over it.
            bytes const asked = *w.d.read([&](auto& tx) { return w.d.self.request_message(tx); });
            auto const reply = w.home.answer(asked, w.clock.now);
            REQUIRE(reply);
            REQUIRE(world::absorb(w.d, *reply, w.clock.now));
            auto const seen = world::visible(w.d).at("0030");
            CHECK(world::field(seen, "name") == 5);
            CHECK(world::field(seen, "count") == 37);
            auto const now = *w.d.read([&](auto& tx) { return w.d.self.read(tx, k); });
            CHECK((now && now->pending));
        }
        w.sync(w.d);
        CHECK(world::visible(w.d) == world::confirmed(w.home));
        CHECK(world::visible(w.d).size() == 49);
        CHECK(w.walk().differing == 0);
    }
}

TEST_CASE("a row that does not decode blocks no exchange that tells it anew") {
    checked_pair w;
    w.damage(thing(7), [](bytes& raw) { raw.assign(3, std::byte{0xFF}); });
    w.update(w.d, thing(8), {set("name", 1)});
    w.update(w.writer, thing(7), {set("name", 70)});
    w.sync(w.writer);
    w.sync(w.d);
    CHECK(world::visible(w.d) == world::confirmed(w.home));
}

TEST_CASE("records that change during the walk are no difference") {
    checked_pair w;
    w.begin();
    REQUIRE(w.step());
    w.update(w.writer, thing(20), {set("name", 1)});
    w.erase(w.writer, thing(22));
    w.create(w.writer, {"things", "0022a"}, 1);
    w.sync(w.writer);
    while (w.step()) {}
    CHECK(w.report().differing == 0);
    CHECK(w.report().rows == 48);
    w.sync(w.d);
    CHECK(w.walk().differing == 0);
}

TEST_CASE("an answer as of a position that the replica has left is asked for again") {
    checked_pair w;
    w.begin();
    auto const ask = **w.d.read([&](auto& tx) { return w.check.ask(tx, w.d.self); });
    auto const answer = *serve_integrity(w.home.store, w.home.self, ask);
    w.update(w.writer, thing(2), {set("name", 1)});
    w.sync(w.writer);
    w.sync(w.d);
    REQUIRE(w.d.write([&](auto& tx) { return w.check.absorb(tx, w.d.self, answer); }));
    CHECK(w.report() == integrity_report{});
    while (w.step()) {}
    auto const whole = w.report();
    CHECK(whole.differing == 0);
    CHECK(whole.done);
    // Late, twice, or to another walk: nothing changes.
    REQUIRE(w.d.write([&](auto& tx) { return w.check.absorb(tx, w.d.self, answer); }));
    CHECK(w.report() == whole);
}

TEST_CASE("a walk goes on after a crash at any step") {
    checked_pair w;
    REQUIRE(w.d.write([&](auto& tx) { return tx.erase(name_of(thing(33))); }));
    w.begin();
    for (;;) {
        auto const ask = *w.d.read([&](auto& tx) { return w.check.ask(tx, w.d.self); });
        if (!ask) { break; }
        auto const answer = *serve_integrity(w.home.store, w.home.self, *ask);
        integrity_report const before = w.report();
        for (std::uint64_t n = 1;; ++n) {
            testing::faulty_storage<memory_storage> store{w.d.store};
            store.inject({.nth = n});
            auto const absorb = [&]() -> status {
                auto tx = store.begin(access_mode::write);
                if (!tx) { return tx.error(); }
                auto const ok = w.check.absorb(*tx, w.d.self, answer);
                return ok ? tx->commit() : ok;
            };
            auto const ok = absorb();
            if (ok) { break; }
            CHECK(ok.error() == errc::storage_io);
            CHECK(w.report() == before);
        }
    }
    CHECK(w.report().differing == 1);
    w.sync(w.d);
    CHECK(world::visible(w.d) == world::confirmed(w.home));
}

TEST_CASE("what is not held yet is passed over") {
    checked_pair w;
    world::device fresh{300};
    REQUIRE(world::open(fresh, w.clock.now));
    REQUIRE(fresh.write([&](auto& tx) { return w.check.begin(tx, fresh.random); }));
    for (;;) {
        auto const ask = *fresh.read([&](auto& tx) { return w.check.ask(tx, fresh.self); });
        if (!ask) { break; }
        auto const answer = serve_integrity(w.home.store, w.home.self, *ask);
        REQUIRE(answer);
        REQUIRE(fresh.write([&](auto& tx) { return w.check.absorb(tx, fresh.self, *answer); }));
    }
    auto const r = **fresh.read([&](auto& tx) { return w.check.report(tx); });
    CHECK(r.done);
    CHECK(r.compared == 0);
    CHECK(r.passed_over > 0);
}

TEST_CASE("tombstones, which each end forgets when it likes, are no difference") {
    checked_pair w;
    for (int i = 0; i < 50; i += 3) { w.erase(w.writer, thing(i)); }
    w.sync(w.writer);
    w.sync(w.d);
    REQUIRE(w.d.write([&](auto& tx) { return stored_records{}.erase(tx, thing(3)); }));
    CHECK(w.walk().differing == 0);
}

TEST_CASE("any damage to any rows is found and heals: against a fresh device, over random worlds") {
    syncline::random_generator random{11};
    auto const below = [&](std::uint64_t n) { return random() % n; };
    for (int round = 0; round < 30; ++round) {
        checked_pair w{static_cast<int>(1 + below(40))};
        auto const records = world::confirmed(w.home);
        int const edits = static_cast<int>(below(6));
        std::map<std::string, std::int64_t> mine;
        for (int i = 0; i < edits; ++i) {
            record_key const k = thing(static_cast<int>(below(records.size())));
            w.update(w.d, k, {set("name", 1'000 + i)});
            mine[std::string{k.id_text()}] = 1'000 + i;
        }
        int const hits = static_cast<int>(below(5));
        for (int i = 0; i < hits; ++i) {
            record_key const k = thing(static_cast<int>(below(records.size())));
            REQUIRE(w.d.write([&](auto& tx) -> status {
                bytes raw;
                bytes at = name_of(k);
                if (below(3) == 0) { at[1] = std::byte{'b'}; }
                if (auto const found = tx.get(at, raw); !found || !*found) { return {}; }
                // A bit of the fields, so that the row may decode, or the whole row.
                if (below(2) == 0) {
                    raw[raw.size() - 1 - below(raw.size() / 2)] ^= static_cast<std::byte>(1U << below(8));
                    return tx.put(at, raw);
                }
                return at[1] == std::byte{'b'} ? status{} : tx.erase(at);
            }));
        }
        (void)w.walk();
        w.sync(w.d);
        w.sync(w.d);
        CHECK(world::visible(w.d) == world::confirmed(w.home));
        for (auto const& [id, n] : mine) {
            INFO(round << ' ' << id);
            CHECK(world::field(world::confirmed(w.home).at(id), "name") == n);
        }
        CHECK(w.walk().differing == 0);
    }
}

TEST_CASE("devices of older and newer programs are compared in the version that they know") {
    schema_table const first;
    schema_table newest;
    newest.collection("things").next({schema_step::rename("name", "title")});
    world::virtual_clock clock;
    syncline::random_generator random{5};
    memory_storage home_store;
    authority<> const home{world::rules(), {.schemas = &newest}};
    {
        auto tx = home_store.begin(access_mode::write);
        REQUIRE(home.open(*tx, clock.now, random));
        REQUIRE(tx->commit());
    }
    world::device d{1, {.schemas = &first}};
    world::device modern{2, {.schemas = &newest}};
    replica const upgraded{world::rules(), {.schemas = &newest}};  // the first one's store, after its program's update
    auto const sync = [&](world::device& by, replica const& self) {
        for (int i = 0; i < 4; ++i) {
            clock.pass(10);
            REQUIRE(by.write([&](auto& tx) { return self.prepare(tx, clock.now); }));
            auto const q = *by.read([&](auto& tx) { return self.request_message(tx); });
            auto const p = serve(home_store, home, "anna", q, clock.now);
            REQUIRE(p);
            REQUIRE(by.write([&](auto& tx) { return self.absorb(tx, *p, clock.now, by.random); }));
        }
    };
    auto const differing = [&](world::device& by, replica const& self) {
        integrity_check const check;
        REQUIRE(by.write([&](auto& tx) { return check.begin(tx, by.random); }));
        for (;;) {
            auto const ask = *by.read([&](auto& tx) { return check.ask(tx, self); });
            if (!ask) { break; }
            auto const answer = serve_integrity(home_store, home, *ask);
            REQUIRE(answer);
            REQUIRE(by.write([&](auto& tx) { return check.absorb(tx, self, *answer); }));
        }
        auto const found = **by.read([&](auto& tx) { return check.report(tx); });
        CHECK(found.rows == 2);
        return found.differing;
    };
    REQUIRE(world::open(d, clock.now));
    REQUIRE(world::open(modern, clock.now));
    REQUIRE(d.write([&](auto& tx) {
        return d.self.create(tx, thing(1), fields({{"name", 1}, {"count", 2}}), clock.now);
    }));
    REQUIRE(modern.write([&](auto& tx) {
        return modern.self.create(tx, thing(2), fields({{"title", 3}}), clock.now);
    }));
    sync(d, d.self);
    sync(modern, modern.self);
    sync(d, d.self);
    CHECK(differing(d, d.self) == 0);
    CHECK(differing(modern, modern.self) == 0);
    CHECK(differing(d, upgraded) == 0);
    row r = **d.read([&](auto& tx) { return d.self.read_confirmed(tx, thing(2)); });
    r.fields = fields({{"name", 4}});
    REQUIRE(d.write([&](auto& tx) { return stored_records{}.put(tx, thing(2), {false, r.version, r}, nullptr); }));
    CHECK(differing(d, upgraded) == 1);
    sync(d, upgraded);
    CHECK(differing(d, upgraded) == 0);
}

TEST_CASE("messages come back as they were, and what is none is an error") {
    integrity_ask q;
    q.key.bytes[3] = std::byte{7};
    q.at = 12;
    q.from = to_bytes(thing(3));
    q.rows_part = 4;
    q.rows_max = 16;
    q.schemas = {{"things", 3}};
    CHECK(*decode_integrity_ask(encode(q)) == q);
    integrity_answer a;
    a.key_check = 99;
    a.at = 12;
    a.parts = {{to_bytes(thing(4)), {1, 2}, {to_bytes(thing(3))}}, {key_space_end(), {}, {}}};
    CHECK(*decode_integrity_answer(encode(a)) == a);

    syncline::random_generator random{5};
    for (bytes const& good : {encode(q), encode(a)}) {
        for (std::size_t cut = 0; cut < good.size(); ++cut) {
            CHECK_FALSE(decode_integrity_ask(bytes_view{good}.first(cut)));
            CHECK_FALSE(decode_integrity_answer(bytes_view{good}.first(cut)));
        }
        for (int i = 0; i < 3'000; ++i) {
            bytes bad = good;
            for (std::uint64_t n = 1 + random() % 3; n != 0; --n) {
                bad[frame_bytes + random() % (bad.size() - frame_bytes)] = static_cast<std::byte>(random());
            }
            detail::seal_frame(bad, detail::integrity_magic);  // so that the body is looked at
            if (auto const read = decode_integrity_ask(bad)) { CHECK(read->rows_part != 0); }
            if (auto const read = decode_integrity_answer(bad)) { CHECK_FALSE(read->parts.empty()); }
        }
    }
    CHECK(decode_integrity_ask(encode(request{})).error() == errc::foreign);
    q.rows_part = 0;
    CHECK(decode_integrity_ask(encode(q)).error() == errc::malformed);
    std::swap(a.parts[0], a.parts[1]);
    CHECK(decode_integrity_answer(encode(a)).error() == errc::malformed);
}

TEST_CASE("an authority that was put back refuses, and a store that is none says so") {
    checked_pair w;
    w.begin();
    auto const ask = **w.d.read([&](auto& tx) { return w.check.ask(tx, w.d.self); });
    world::cloud other{w.clock.now, 9};
    CHECK(serve_integrity(other.store, other.self, ask).error() == errc::authority_changed);
    memory_storage empty;
    CHECK(serve_integrity(empty, other.self, ask).error() == errc::not_found);
    CHECK(serve_integrity(w.home.store, w.home.self, as_bytes("SYL")).error() == errc::foreign);
    REQUIRE(w.d.write([&](auto& tx) { return tx.put(as_bytes("ck"), as_bytes("x")); }));
    CHECK(w.d.read([&](auto& tx) { return w.check.ask(tx, w.d.self); }).error() == errc::corrupt);
}
