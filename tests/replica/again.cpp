// SPDX-License-Identifier: BSL-1.0

#include <syncline/replica/again.hpp>

#include "support/catch.hpp"

#include <string>
#include <utility>
#include <vector>

#include <syncline/testing/faulty_storage.hpp>
#include <syncline/transport/loopback.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

record_key const key_a{"things", "a"};

rule_table timed_rules() {
    rule_table table;
    table.add({"things", rule::last_writer, {{"price", rule::authority_time}, {"count", rule::counter}}});
    return table;
}

struct timed_device : storing {
    replica self{timed_rules()};
    using storing::storing;
};

/// Two devices with the same record; the other's price came first.
struct race {
    virtual_clock clock{};
    memory_storage home{};
    authority<> self{timed_rules()};
    timed_device mine{100};
    timed_device other{200};

    race() {
        syncline::random_generator random{7};
        auto tx = home.begin(access_mode::write);
        REQUIRE(self.open(*tx, clock.now, random));
        REQUIRE(tx->commit());
        for (timed_device* d : {&mine, &other}) { REQUIRE(open(*d, clock.now)); }
        REQUIRE(mine.write([&](auto& t) {
            return mine.self.create(t, key_a, fields({{"price", 1}, {"count", 10}, {"name", 1}}), clock.now);
        }));
        sync(mine);
        sync(other);
    }
    void update(timed_device& d, std::vector<field_op> ops) {
        clock.pass(10);
        REQUIRE(d.write([&](auto& t) { return d.self.update(t, key_a, ops, clock.now); }));
    }
    void exchange(timed_device& d) {
        auto const reply = serve(home, self, "anna", request_of(d, clock.now), clock.now);
        REQUIRE(reply);
        REQUIRE(absorb(d, *reply, clock.now));
    }
    void sync(timed_device& d) {
        do { exchange(d); } while (*d.read([&](auto& t) { return d.self.work_left(t, clock.now); }));
    }
    std::size_t again(timed_device& d) {
        auto const n = d.write([&](auto& t) { return issue_refused(t, d.self, clock.now); });
        REQUIRE(n);
        return *n;
    }
    std::size_t dead(timed_device& d) {
        std::size_t n = 0;
        REQUIRE(d.read([&](auto& t) {
            return d.self.queue().scan_dead(t, [&](outbox_entry const& e) {
                CHECK(e.reason == errc::contended);
                ++n;
                return true;
            });
        }));
        return n;
    }
    std::int64_t at_home(std::string_view name) {
        auto tx = home.begin(access_mode::read);
        return *field((*self.find(*tx, key_a))->fields, name);
    }
};

}  // namespace

TEST_CASE("what came second by the authority's time is issued again on what was first, and counts once") {
    race w;
    w.update(w.other, {set("price", 2)});
    w.sync(w.other);
    w.update(w.mine, {set("price", 3), add("count", 5)});
    w.sync(w.mine);
    CHECK(w.at_home("price") == 2);
    CHECK(w.at_home("count") == 10);
    CHECK(w.dead(w.mine) == 1);

    CHECK(w.again(w.mine) == 1);
    CHECK(w.dead(w.mine) == 0);
    CHECK(w.again(w.mine) == 0);
    w.sync(w.mine);
    CHECK(w.at_home("price") == 3);
    CHECK(w.at_home("count") == 15);
}

TEST_CASE("what was written since wins in its fields; what builds on the refused change is a person's") {
    race w;
    w.update(w.other, {set("price", 2)});
    w.sync(w.other);
    w.update(w.mine, {set("price", 3), set("name", 3)});
    w.sync(w.mine);
    REQUIRE(w.dead(w.mine) == 1);
    SECTION("a later value") {
        w.update(w.mine, {set("price", 4)});
        CHECK(w.again(w.mine) == 1);
        w.sync(w.mine);
        CHECK(w.at_home("price") == 4);
        CHECK(w.at_home("name") == 3);
    }
    SECTION("later values of all of it: nothing is left to say") {
        w.update(w.mine, {set("price", 4), set("name", 4)});
        CHECK(w.again(w.mine) == 1);
        CHECK(w.dead(w.mine) == 0);
        w.sync(w.mine);
        CHECK(w.at_home("price") == 4);
        CHECK(w.at_home("name") == 4);
    }
    SECTION("a later addition") {
        w.update(w.mine, {add("price", 1)});
        CHECK(w.again(w.mine) == 0);
        CHECK(w.dead(w.mine) == 1);
    }
    SECTION("a later deletion") {
        REQUIRE(w.mine.write([&](auto& t) { return w.mine.self.erase(t, key_a, w.clock.now); }));
        CHECK(w.again(w.mine) == 0);
        CHECK(w.dead(w.mine) == 1);
    }
    SECTION("the record is gone") {
        w.sync(w.other);
        REQUIRE(w.other.write([&](auto& t) { return w.other.self.erase(t, key_a, w.clock.now); }));
        w.sync(w.other);
        w.sync(w.mine);
        CHECK(w.again(w.mine) == 0);
        CHECK(w.dead(w.mine) == 1);
    }
}

TEST_CASE("of what was refused the last word of the device stands, and of others whatever is later") {
    race w;
    w.update(w.other, {set("price", 2)});
    w.sync(w.other);
    SECTION("two were refused") {
        w.update(w.mine, {set("price", 3), add("count", 1)});
        REQUIRE(w.mine.write([&](auto& t) { return w.mine.self.prepare(t, w.clock.now); }));
        w.update(w.mine, {set("price", 4), add("count", 1)});
        w.sync(w.mine);
        REQUIRE(w.dead(w.mine) == 2);
        CHECK(w.again(w.mine) == 2);
        w.sync(w.mine);
        CHECK(w.at_home("price") == 4);
        CHECK(w.at_home("count") == 12);
    }
    SECTION("a later one is confirmed") {
        w.update(w.mine, {set("price", 3)});
        w.sync(w.mine);
        w.update(w.mine, {set("price", 4)});
        w.sync(w.mine);
        REQUIRE(w.at_home("price") == 4);
        CHECK(w.again(w.mine) == 1);
        w.sync(w.mine);
        CHECK(w.at_home("price") == 4);
    }
    SECTION("a field that goes by clocks was written later by another") {
        w.update(w.mine, {set("price", 3), set("name", 3)});
        w.sync(w.mine);
        w.sync(w.other);
        w.update(w.other, {set("name", 9)});
        w.sync(w.other);
        w.sync(w.mine);
        CHECK(w.again(w.mine) == 1);
        w.sync(w.mine);
        CHECK(w.at_home("price") == 3);
        CHECK(w.at_home("name") == 9);
    }
    CHECK(w.dead(w.mine) == 0);
}

TEST_CASE("a session issues again by itself, where it is told to") {
    race w;
    bool const told_to = GENERATE(false, true);
    w.update(w.other, {set("price", 2)});
    w.sync(w.other);
    w.update(w.mine, {set("price", 3)});
    session_options options;
    options.issue_again = told_to;
    session<memory_storage, syncline::random_generator> link{w.mine.store, w.mine.self, syncline::random_generator{5},
                                                             options};
    auto answer = [&](bytes_view request) { return serve(w.home, w.self, "anna", request, w.clock.now); };
    loopback_transport way(answer);
    auto const done = drive(
        link, w.mine.store, way, [&] { return w.clock.now; }, [](event const&) {});
    REQUIRE(done);
    CHECK_FALSE(done->failed);
    CHECK(w.at_home("price") == (told_to ? 3 : 2));
    CHECK(w.dead(w.mine) == (told_to ? 0U : 1U));
}

TEST_CASE("two that contend for one field come to rest, and nothing is lost") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        syncline::random_generator dice{seed};
        race w;
        timed_device* const all[]{&w.mine, &w.other};
        std::int64_t added = 0;
        for (int step = 0; step < 40; ++step) {
            timed_device& d = *all[dice() % 2];
            switch (dice() % 3) {
                case 0:
                    w.update(d, {set("price", static_cast<std::int64_t>(dice() % 90)), add("count", 1)});
                    ++added;
                    break;
                case 1: w.exchange(d); break;
                default: (void)w.again(d); break;
            }
        }
        for (int round = 0; round < 30; ++round) {
            for (timed_device* d : all) {
                w.sync(*d);
                (void)w.again(*d);
            }
        }
        for (timed_device* d : all) {
            w.sync(*d);
            CHECK(w.dead(*d) == 0);
            auto const r = d->read([&](auto& t) { return d->self.read(t, key_a); });
            CHECK(field((*r)->fields, "price") == w.at_home("price"));
        }
        CHECK(w.at_home("count") == 10 + added);
    }
}

TEST_CASE("whatever storage call fails, the letter and what is issued again are never both there, nor neither") {
    race w;
    w.update(w.other, {set("price", 2)});
    w.sync(w.other);
    w.update(w.mine, {set("price", 3)});
    w.sync(w.mine);
    auto const before = w.mine.store.snapshot();
    testing::faulty_storage<memory_storage> store{w.mine.store};
    for (std::uint64_t n = 1;; ++n) {
        REQUIRE(n < 10'000);
        auto const faults = store.faults();
        store.inject({n, errc::storage_io, testing::fault_moment::before, false});
        bool ok = false;
        {
            auto tx = store.begin(access_mode::write);
            if (tx) {
                auto const done = issue_refused(*tx, w.mine.self, w.clock.now);
                ok = done && tx->commit();
            }
        }
        bool const failed = store.faults() != faults;
        store.heal();
        REQUIRE(ok != failed);
        if (ok) { break; }
        REQUIRE(w.mine.store.snapshot() == before);
    }
    w.sync(w.mine);
    CHECK(w.at_home("price") == 3);
    CHECK(w.dead(w.mine) == 0);
}

TEST_CASE("what was refused stays for a person only where a group of fields would be torn") {
    collection_rules by{"things", rule::authority_time};
    by.groups = {{"slot", rule::authority_time, {"from", "to"}}};
    std::vector<field_op> const had{set("from", 1), set("name", 1), set("to", 1)};
    CHECK_FALSE(detail::tears(had, had, by));
    CHECK_FALSE(detail::tears(had, {}, by));
    CHECK_FALSE(detail::tears(had, {set("from", 1), set("to", 1)}, by));
    CHECK_FALSE(detail::tears(had, {set("name", 1)}, by));
    CHECK(detail::tears(had, {set("from", 1)}, by));
    CHECK(detail::tears(had, {set("name", 1), set("to", 1)}, by));
    by.whole = rule::authority_time;
    CHECK(detail::tears(had, {set("name", 1)}, by));
    CHECK_FALSE(detail::tears(had, had, by));
}
