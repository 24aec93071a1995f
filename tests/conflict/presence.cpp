// SPDX-License-Identifier: BSL-1.0

/// Presence: leases that end, warnings before a write, words that come late or from strangers.

#include <syncline/conflict/presence.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include <syncline/core/random.hpp>
#include <syncline/core/value.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

wall_time at(std::int64_t seconds) { return wall_time{milliseconds{seconds * 1000}}; }
presence editing(std::string_view who, std::uint64_t stamp, std::uint32_t seconds = 30, std::string_view id = "b1") {
    presence p;
    p.record = {"bookings", id};
    p.who = to_bytes(who);
    p.stamp = timestamp{stamp};
    p.seconds = seconds;
    return p;
}

}  // namespace

TEST_CASE("a lease holds until it ends, is renewed, and given up") {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    presences const here;
    record_key const record{"bookings", "b1"};
    auto const who = [&](std::int64_t now) {
        std::string out;
        auto const all = here.of(*tx, record, at(now));
        REQUIRE(all);
        for (held_presence const& h : *all) { out += std::string{as_text(h.said.who)} + ' '; }
        return out;
    };
    CHECK(*here.take(*tx, editing("ann", 1), at(100)));
    CHECK(*here.take(*tx, editing("ben", 1, 60), at(110)));
    CHECK(who(120) == "ann ben ");
    CHECK(who(130) == "ben ");
    CHECK(*here.take(*tx, editing("ann", 2), at(140)));
    CHECK(who(150) == "ann ben ");
    CHECK(*here.take(*tx, editing("ben", 2, 0), at(150)));  // done
    CHECK(who(151) == "ann ");
    CHECK_FALSE(*here.take(*tx, editing("ben", 1, 60), at(152)));  // an old word that comes late
    CHECK(who(153) == "ann ");
    // Nobody holds a record by asking for long, and a clock that is set back holds nothing.
    CHECK(*here.take(*tx, editing("carl", 1, 4'000'000'000), at(160)));
    CHECK(who(279) == "carl ");
    CHECK(who(281) == "");
    CHECK(who(-100'000) == "");
    CHECK(who(159) == "ann ");  // set back by a second, which is enough
    CHECK(here.of(*tx, {"bookings", "b"}, at(160))->empty());
}

TEST_CASE("those that are over make room, those that hold don't") {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    presences const here({.per_record_max = 3});
    for (char const* who : {"ann", "ben", "carl"}) { REQUIRE(*here.take(*tx, editing(who, 1), at(100))); }
    CHECK(here.take(*tx, editing("dora", 1), at(120)).error() == errc::limit);
    CHECK(here.take(*tx, editing("dora", 1), at(140)).error() == errc::limit);  // an old word may still come
    CHECK(*here.take(*tx, editing("dora", 1), at(100 + 30 + 120)));
    CHECK(here.of(*tx, {"bookings", "b1"}, at(251))->size() == 1);
    CHECK(here.sweep(*tx, at(251), 100)->gone == 2);
}

TEST_CASE("before a write: who has the same fields in hand, and what has changed since") {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    presences const here;
    collection_rules const rules{"bookings", rule::last_writer, {{"table", rule::manual}}};
    presence ben = editing("ben", 1);
    ben.fields = {"table"};
    REQUIRE(here.take(*tx, ben, at(100)));
    presence watching = editing("carl", 1);
    watching.intent = presence_intent::viewing;
    REQUIRE(here.take(*tx, watching, at(100)));
    REQUIRE(here.take(*tx, editing("ann", 1), at(100)));
    mutation m;
    m.record = {"bookings", "b1"};
    m.stamp = timestamp{50};
    m.base = 3;
    m.ops = {{"note", op_kind::set, to_bytes(value{"x"}.encoded()), m.stamp}};
    CHECK(here.before_write(*tx, m, {}, rules, as_bytes("ann"), at(110))->empty());
    m.ops.push_back({"table", op_kind::set, to_bytes(value{"bar"}.encoded()), m.stamp});
    auto const one = here.before_write(*tx, m, {}, rules, as_bytes("ann"), at(110));
    REQUIRE((one && one->size() == 1));
    CHECK((*one)[0].by->said.who == to_bytes("ben"));
    CHECK((*one)[0].fields == std::vector<std::string>{"table"});
    CHECK(here.before_write(*tx, m, {}, rules, as_bytes("ann"), at(131))->empty());

    row confirmed;
    confirmed.version = 4;
    confirmed.floor = {2, timestamp{10}, 1};
    confirmed.exceptions = {{"table", {4, timestamp{40}, 2}}};
    confirmed.fields = to_bytes(value::map({{"note", "a"}, {"table", "garden"}})->encoded());
    auto const two = here.before_write(*tx, m, confirmed, rules, as_bytes("ann"), at(131));
    REQUIRE((two && two->size() == 1));
    CHECK((*two)[0].what == write_warning::kind::changed_since);
    CHECK((*two)[0].fields == std::vector<std::string>{"table"});
    // One's own write is nobody else's.
    apply_context mine;
    mine.author = 2;
    CHECK(here.before_write(*tx, m, confirmed, rules, as_bytes("ann"), at(131), mine)->empty());
    // Deleted meanwhile, where that is a person's matter: of the whole record no field is told.
    collection_rules asking = rules;
    asking.deletes = deletion::manual;
    row ended = confirmed;
    ended.deleted = true;
    ended.floor = {4, timestamp{40}, 2};
    auto const three = here.before_write(*tx, m, ended, asking, as_bytes("ann"), at(131));
    REQUIRE((three && three->size() == 1));
    CHECK((*three)[0].what == write_warning::kind::changed_since);
    CHECK((*three)[0].fields.empty());
    m.base = 4;  // who has seen it may change it
    CHECK(here.before_write(*tx, m, confirmed, rules, as_bytes("ann"), at(131))->empty());
    mutation gone;
    gone.record = m.record;
    gone.kind = change_kind::erase;
    CHECK(here.before_write(*tx, gone, {}, rules, as_bytes("ann"), at(110))->size() == 1);
}

TEST_CASE("against a map of leases, over random words") {
    random_generator g(9);
    for (int life = 0; life < 40; ++life) {
        memory_storage store;
        presences const here({.lease_max = milliseconds{40'000}, .per_record_max = 3});
        std::map<std::pair<std::string, std::string>, std::pair<std::uint64_t, std::int64_t>> model;
        std::int64_t now = 1'000;
        for (int i = 0; i < 120; ++i) {
            now += static_cast<std::int64_t>(below(g, 8));
            auto tx = store.begin(access_mode::write);
            std::string const id = below(g, 2) == 0 ? "a" : "ab";
            std::string const who(1, static_cast<char>('p' + below(g, 4)));
            if (below(g, 6) == 0) {
                auto const swept = here.sweep(*tx, at(now), 100);
                REQUIRE(swept);
                CHECK(swept->next.empty());
                for (auto it = model.begin(); it != model.end();) {
                    it = it->second.second <= now - 40 ? model.erase(it) : std::next(it);
                }
            } else {
                std::uint64_t const stamp = below(g, 60);
                auto const seconds = static_cast<std::uint32_t>(below(g, 60));
                auto const news = here.take(*tx, editing(who, stamp, seconds, id), at(now));
                auto const known = model.find({id, who});
                std::size_t held = 0;
                for (auto const& [k, v] : model) { held += k.first == id ? 1 : 0; }
                // The first that has been over for long makes room.
                if (known == model.end() && held == 3) {
                    auto const over = std::find_if(model.begin(), model.end(), [&](auto const& m) {
                        return m.first.first == id && m.second.second <= now - 40;
                    });
                    if (over != model.end()) {
                        model.erase(over);
                        --held;
                    }
                }
                if (known == model.end() && held == 3) {
                    REQUIRE_FALSE(news);
                    CHECK(news.error() == errc::limit);
                } else {
                    bool const expected = known == model.end() || known->second.first < stamp;
                    REQUIRE(*news == expected);
                    if (expected) {
                        model[{id, who}] = {stamp, now + (std::min)(std::int64_t{seconds}, std::int64_t{40})};
                    }
                }
            }
            std::string got;
            auto const all = here.of(*tx, {"bookings", id}, at(now));
            REQUIRE(all);
            for (held_presence const& h : *all) { got += std::string{as_text(h.said.who)}; }
            std::string expected;
            for (auto const& [k, v] : model) {
                if (k.first == id && v.second > now) { expected += k.second; }
            }
            REQUIRE(got == expected);
            REQUIRE(tx->commit());
        }
    }
}

TEST_CASE("golden bytes, and what strangers say") {
    presence p = editing("ann", 256);
    p.device = to_bytes("tab");
    p.fields = {"note", "table"};
    bytes raw;
    cbor_writer w{raw};
    encode_presence(w, p);
    CHECK(to_hex(raw) == "8868626f6f6b696e677342623143616e6e437461620282646e6f7465657461626c65190100181e");
    for (std::size_t n = 0; n < raw.size(); ++n) {
        cbor_reader in{bytes_view{raw}.first(n)};
        (void)decode_presence(in);
        CHECK_FALSE(in.finish());
    }
    random_generator g(4);
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    presences const here;
    for (int i = 0; i < 5'000; ++i) {
        bytes bad = raw;
        bad[static_cast<std::size_t>(below(g, bad.size()))] ^= static_cast<std::byte>(1 + below(g, 255));
        cbor_reader in{bad};
        presence const got = decode_presence(in);
        if (!in.finish()) { continue; }
        REQUIRE(valid(got));
        bytes again;
        cbor_writer out{again};
        encode_presence(out, got);
        REQUIRE(again == bad);
    }
    p.fields = {"table", "note"};
    CHECK(here.take(*tx, p, at(1)).error() == errc::invalid);
    p.fields.clear();
    p.who.clear();
    CHECK(here.take(*tx, p, at(1)).error() == errc::invalid);
    REQUIRE(here.take(*tx, editing("ann", 1), at(1)));
    bytes key;
    (void)tx->scan({}, [&](bytes_view k, bytes_view) {
        key = to_bytes(k);
        return true;
    });
    CHECK(to_hex(key) == "6b7708626f6f6b696e677302623103616e6e");
    REQUIRE(tx->put(key, raw));
    CHECK(here.of(*tx, {"bookings", "b1"}, at(2)).error() == errc::corrupt);
    CHECK(here.take(*tx, editing("ann", 2), at(2)).error() == errc::corrupt);
    CHECK(here.sweep(*tx, at(2), 10)->gone == 1);  // told again every few seconds: it heals by itself
}

TEST_CASE("every storage call fails: told or not, never half") {
    auto const report = testing::nth_failure(
        [](auto& store) {
            auto tx = store.begin(access_mode::write);
            (void)presences{}.take(*tx, editing("ann", 1), at(1));
            (void)tx->commit();
        },
        [](auto& store) -> status {
            auto tx = store.begin(access_mode::write);
            if (!tx) { return tx.error(); }
            if (auto ok = presences{}.take(*tx, editing("ben", 1), at(500)); !ok) { return ok.error(); }
            if (auto ok = presences{}.sweep(*tx, at(500), 10); !ok) { return ok.error(); }
            return tx->commit();
        });
    CHECK(testing::to_text(report.violations) == "");
}
