// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/operations.hpp>

#include <cstdint>
#include <functional>
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

record_key const key_a{"things", "a"};
record_key const key_b{"things", "b"};

/// The house holds 200.
struct full_house {
    validation operator()(validation_input const& in) const {
        auto const n = world::field(in.after.fields, "name");
        if (n && *n > 200) { return {false, errc::rejected, "the house holds 200"}; }
        return {};
    }
};

struct operated {
    world::virtual_clock clock{};
    memory_storage store{};
    authority<full_house> home{world::rules(), {.leases = {.length = milliseconds{1'000'000}}}};
    world::device one;
    world::device two{200};

    explicit operated(replica_options options = {}) : one(100, options) {
        syncline::random_generator random{7};
        auto tx = store.begin(access_mode::write);
        REQUIRE(home.open(*tx, clock.now, random));
        REQUIRE(tx->commit());
        REQUIRE(world::open(one, clock.now));
        REQUIRE(world::open(two, clock.now));
        create(one, key_a, {{"name", 1}, {"asked", 1}});
        sync(one);
        sync(two);
    }
    void sync(world::device& d) {
        for (int i = 0; i < 100; ++i) {
            auto const reply = serve(store, home, "anna", world::request_of(d, clock.now), clock.now);
            REQUIRE(reply);
            auto const report = world::absorb(d, *reply, clock.now);
            REQUIRE(report);
            if (!report->more) { return; }
        }
        FAIL("a device that never comes to rest");
    }
    std::uint64_t create(world::device& d, record_key const& k,
                         std::vector<std::pair<std::string, std::int64_t>> const& f) {
        clock.pass(10);
        auto const r = d.write([&](auto& tx) { return d.self.create(tx, k, fields(f), clock.now); });
        REQUIRE(r);
        return r->token;
    }
    std::uint64_t update(world::device& d, record_key const& k, std::vector<field_op> const& ops) {
        clock.pass(10);
        auto const r = d.write([&](auto& tx) { return d.self.update(tx, k, ops, clock.now); });
        REQUIRE(r);
        return r->token;
    }
    std::vector<write_report> writes(world::device& d, std::optional<failure> const& link = {}) {
        std::vector<write_report> out;
        REQUIRE(d.read([&](auto& tx) {
            return scan_writes(tx, d.self, link, [&](write_report const& w) {
                out.push_back(w);
                return true;
            });
        }));
        return out;
    }
    /// Both have edited the field that people decide about; the second to come has a conflict.
    std::uint64_t conflict() {
        std::uint64_t const token = update(one, key_a, {set("asked", 5)});
        update(two, key_a, {set("asked", 6)});
        sync(two);
        sync(one);
        return token;
    }
};

std::optional<std::int64_t> shown(world::device& d, std::string_view field_name) {
    return world::field(world::visible(d).at("a"), field_name);
}

}  // namespace

TEST_CASE("a write that is free to go says so, and what keeps the device from it") {
    operated w;
    std::uint64_t const token = w.update(w.one, key_a, {set("name", 2)});
    auto const all = w.writes(w.one);
    REQUIRE(all.size() == 1);
    CHECK(all[0].token == token);
    CHECK(all[0].standing == write_standing::next);
    CHECK(all[0].record == key_a);
    CHECK(all[0].fields == std::vector<std::string>{"name"});
    CHECK(all[0].entered == w.clock.now.wall);
    CHECK(all[0].why == "goes with the next exchange");
    CHECK(w.writes(w.one, failure{errc::unreachable, "no route"})[0].why ==
          "goes with the next exchange; peer unreachable (no route)");
    w.sync(w.one);
    CHECK(w.writes(w.one).empty());
}

TEST_CASE("what was sent has no verdict yet, and what is behind it says so") {
    operated w;
    std::uint64_t const first = w.update(w.one, key_a, {set("name", 2)});
    std::uint64_t const other = w.create(w.one, key_b, {{"name", 1}});
    (void)world::request_of(w.one, w.clock.now);
    std::uint64_t const second = w.update(w.one, key_a, {set("name", 3)});
    auto const all = w.writes(w.one);
    REQUIRE(all.size() == 3);
    CHECK(all[0].token == first);
    CHECK(all[0].standing == write_standing::sent);
    CHECK(all[0].why == "sent, and no verdict has come yet: the next exchange asks again");
    CHECK(all[1].token == other);
    CHECK(all[1].standing == write_standing::sent);
    CHECK(all[1].behind == first);
    CHECK(all[2].token == second);
    CHECK(all[2].standing == write_standing::behind);
    CHECK(all[2].behind == first);
    CHECK(all[2].why ==
          "behind an earlier write on its record: sent, and no verdict has come yet: the next exchange asks again");
}

TEST_CASE("more than one request carries wait their turn") {
    operated w{{.mutations_max = 2}};
    for (int i = 0; i < 3; ++i) { w.create(w.one, {"things", "n" + std::to_string(i)}, {{"name", 1}}); }
    for (write_report const& r : w.writes(w.one)) { CHECK(r.standing == write_standing::turn); }
}

TEST_CASE("a refused write is kept with the authority's words; it is retried, or purged") {
    operated w;
    std::uint64_t const token = w.update(w.one, key_a, {set("name", 500)});
    w.sync(w.one);
    auto const why = w.one.read([&](auto& tx) { return explain(tx, w.one.self, token); });
    REQUIRE(why);
    CHECK(why->standing == write_standing::refused);
    CHECK(why->why == "refused: rejected: the house holds 200");
    REQUIRE(w.one.write([&](auto& tx) { return retry_write(tx, w.one.self, token, w.clock.now); }));
    CHECK(w.writes(w.one)[0].standing == write_standing::next);
    CHECK(w.one.write([&](auto& tx) { return purge_write(tx, w.one.self, token); }).error() == errc::invalid);
    w.sync(w.one);  // and is refused again
    REQUIRE(w.one.write([&](auto& tx) { return purge_write(tx, w.one.self, token); }));
    CHECK(w.writes(w.one).empty());
    CHECK(w.one.read([&](auto& tx) { return explain(tx, w.one.self, token); }).error() == errc::not_found);
    CHECK(w.one.write([&](auto& tx) { return retry_write(tx, w.one.self, token, w.clock.now); }).error() ==
          errc::not_found);
    CHECK(w.one.write([&](auto& tx) { return purge_write(tx, w.one.self, token); }).error() == errc::not_found);
}

TEST_CASE("old refusals are purged, the oldest first, so many at most") {
    operated w;
    wall_time middle{};
    for (int i = 0; i < 6; ++i) {
        w.create(w.one, {"things", "n" + std::to_string(i)}, {{"name", 500}});
        if (i == 3) { middle = w.clock.now.wall; }
    }
    w.sync(w.one);
    auto const purge = [&](std::size_t most) {
        return *w.one.write([&](auto& tx) { return purge_refused(tx, w.one.self, middle, most); });
    };
    CHECK(purge(0) == 0);
    CHECK(purge(2) == 2);
    CHECK(purge(10) == 1);
    CHECK(purge(10) == 0);
    auto const left = w.writes(w.one);
    REQUIRE(left.size() == 3);
    CHECK(left[0].record.id_text() == "n3");
}

TEST_CASE("a conflict says about what, and is decided for either side") {
    for (bool const local : {true, false}) {
        operated w;
        std::uint64_t const token = w.conflict();
        auto const all = w.writes(w.one);
        REQUIRE(all.size() == 1);
        CHECK(all[0].token == token);
        CHECK(all[0].standing == write_standing::conflict);
        CHECK(all[0].fields == std::vector<std::string>{"asked"});
        CHECK(all[0].why == "somebody else has changed the same: a person has to decide about asked");
        CHECK(w.one.write([&](auto& tx) { return retry_write(tx, w.one.self, token, w.clock.now); }).error() ==
              errc::invalid);
        auto const decide = [&](field_resolution::choice side) {
            return w.one.write([&](auto& tx) { return decide_conflict(tx, w.one.self, token, side, w.clock.now); });
        };
        CHECK(decide(field_resolution::choice::custom).error() == errc::invalid);
        REQUIRE(decide(local ? field_resolution::choice::local : field_resolution::choice::remote));
        CHECK(decide(field_resolution::choice::remote).error() == errc::not_found);
        w.sync(w.one);
        CHECK(shown(w.one, "asked") == (local ? 5 : 6));
    }
}

TEST_CASE("a conflict is given up for the remote") {
    operated w;
    std::uint64_t const token = w.conflict();
    REQUIRE(w.one.write([&](auto& tx) { return purge_write(tx, w.one.self, token); }));
    CHECK(w.writes(w.one).empty());
    CHECK(shown(w.one, "asked") == 6);
}

TEST_CASE("a conflict over a record that is gone can only be dismissed") {
    operated w;
    std::uint64_t const token = w.update(w.one, key_a, {set("name", 9)});
    w.clock.pass(10);
    REQUIRE(w.two.write([&](auto& tx) { return w.two.self.erase(tx, key_a, w.clock.now); }));
    w.sync(w.two);
    // Its tombstone is collected once the one device's lease is over: what that edited becomes a conflict without fields.
    w.clock.pass(2'000'000);
    w.sync(w.two);
    {
        auto tx = w.store.begin(access_mode::write);
        REQUIRE(w.home.collect(*tx, 100));
        REQUIRE(tx->commit());
    }
    w.sync(w.one);
    auto const all = w.writes(w.one);
    REQUIRE(all.size() == 1);
    CHECK(all[0].standing == write_standing::conflict);
    CHECK(all[0].fields.empty());
    auto const decide = [&](field_resolution::choice side) {
        return w.one.write([&](auto& tx) { return decide_conflict(tx, w.one.self, token, side, w.clock.now); });
    };
    CHECK(decide(field_resolution::choice::local).error() == errc::invalid);
    REQUIRE(decide(field_resolution::choice::remote));
    CHECK(w.writes(w.one).empty());
}

TEST_CASE("what a copy of the store has sent says that a retry may count twice") {
    operated w;
    std::uint64_t const token = w.update(w.one, key_a, {set("name", 7)});
    world::device copy{900};
    {
        auto from = w.one.store.begin(access_mode::read);
        auto to = copy.store.begin(access_mode::write);
        REQUIRE(from->scan({}, [&](bytes_view k, bytes_view v) { return to->put(k, v).has_value(); }));
        REQUIRE(to->commit());
    }
    REQUIRE(world::open(copy, w.clock.now));
    w.sync(copy);
    w.update(copy, key_a, {set("name", 8)});
    w.sync(copy);
    w.sync(w.one);
    for (write_report const& r : w.writes(w.one)) {
        CHECK(r.token == token);
        CHECK(r.standing == write_standing::forked);
    }
}

TEST_CASE("a write whose payload is damaged is told as damaged, and can be purged once it is dead") {
    operated w;
    std::uint64_t const token = w.update(w.one, key_a, {set("name", 500)});
    w.sync(w.one);
    REQUIRE(
        w.one.write([&](auto& tx) { return w.one.self.queue().revive(tx, token, w.clock.now.wall, as_bytes("x")); }));
    auto const all = w.writes(w.one);
    REQUIRE(all.size() == 1);
    CHECK(all[0].standing == write_standing::damaged);
    CHECK(all[0].record == key_a);
}

TEST_CASE("an authority lists the replicas that it knows, and where they stand") {
    operated w;
    w.update(w.one, key_a, {set("name", 3)});
    w.sync(w.one);
    std::vector<registered_replica> all;
    auto tx = w.store.begin(access_mode::read);
    // region: replicas
    auto const listed = w.home.replicas(*tx, [&](registered_replica const& r) {
        all.push_back(r);
        return true;
    });
    // endregion: replicas
    REQUIRE(listed);
    REQUIRE(all.size() == 2);
    replica_id const first = *w.one.read([&](auto& t) { return w.one.self.self(t); });
    registered_replica const& one = all[all[0].replica == first ? 0 : 1];
    registered_replica const& two = all[all[0].replica == first ? 1 : 0];
    CHECK(one.replica == first);
    CHECK(one.principal == "anna");
    CHECK(one.decided == 2);
    CHECK(one.unconfirmed <= 1);
    CHECK(two.decided == 0);
    REQUIRE((one.cursor && two.cursor));  // as of their last requests
    CHECK(*one.cursor >= 1);
    CHECK(*one.cursor <= 2);
    CHECK(*two.cursor <= 1);
}

TEST_CASE("each operation leaves the old state or the new one, whatever storage call fails") {
    struct what {
        char const* name;
        std::function<status(testing::faulty_storage<memory_storage>::transaction&, operated&, std::uint64_t)> run;
    };
    auto const content = [](operated& w) {
        std::map<bytes, bytes> all;
        auto tx = w.one.store.begin(access_mode::read);
        REQUIRE(tx->scan({}, [&](bytes_view k, bytes_view v) {
            all[to_bytes(k)] = to_bytes(v);
            return true;
        }));
        return all;
    };
    for (what const &op :
         {what{"retry",
               [](auto&tx, operated&w, std::uint64_t t) { return retry_write(tx, w.one.self, t, w.clock.now); }},
          what{"purge", [](auto&tx, operated&w, std::uint64_t t) { return purge_write(tx, w.one.self, t); }},
          what{"purge all",
               [](auto&tx, operated&w, std::uint64_t) -> status {
                   auto const n = purge_refused(tx, w.one.self, (wall_time::max)(), 9);
                   return n ? status{} : n.error();
               }},
          what{"decide", [](auto&tx, operated&w, std::uint64_t) -> status {
                   std::uint64_t token = 0;
                   auto ok = w.one.self.conflicts(tx, [&](open_conflict const& c) {
                       token = c.token;
                       return false;
                   });
                   if (!ok) { return ok; }
                   auto const d = decide_conflict(tx, w.one.self, token, field_resolution::choice::local, w.clock.now);
                   return d ? status{} : d.error();
               }}}) {
        INFO(op.name);
        operated w;
        (void)w.conflict();
        std::uint64_t const refused = w.update(w.one, key_a, {set("name", 500)});
        w.sync(w.one);
        auto const before = content(w);
        std::uint64_t failed = 0;
        for (std::uint64_t n = 1;; ++n) {
            testing::faulty_storage<memory_storage> store{w.one.store};
            store.inject({.nth = n});
            auto const run = [&]() -> status {
                auto tx = store.begin(access_mode::write);
                if (!tx) { return tx.error(); }
                auto const ok = op.run(*tx, w, refused);
                return ok ? tx->commit() : ok;
            };
            auto const ok = run();
            if (ok) { break; }
            CHECK(ok.error() == errc::storage_io);
            CHECK(content(w) == before);
            ++failed;
        }
        CHECK(failed > 2);
        CHECK_FALSE(content(w) == before);
    }
}
