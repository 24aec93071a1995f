// SPDX-License-Identifier: BSL-1.0
// Devices that are quarantined, revoked and told to wipe.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/session.hpp>
#include <syncline/testing/nth_failure.hpp>
#include <syncline/transport/loopback.hpp>

#include "world.hpp"

namespace {

using namespace syncline;

struct house {
    world::virtual_clock time{};
    world::cloud home{time.now};
    authority<> self{world::rules(), options()};

    static authority_options options() {
        authority_options o;
        o.standings = true;
        return o;
    }
    void say(world::device& d, device_standing what) {
        auto const name = d.read([&](auto& tx) { return d.self.self(tx); });
        REQUIRE(name);
        auto tx = home.store.begin(access_mode::write);
        REQUIRE(self.set_standing(*tx, name->device, what));
        auto const told = self.standing_of(*tx, name->device);
        REQUIRE(told);
        CHECK(*told == what);
        REQUIRE(tx->commit());
    }
    drive_report run(world::device& d) {
        auto answer = [&](bytes_view request) { return serve(home.store, self, "anna", request, time.now); };
        loopback_transport way(answer);
        auto const done = drive(
            d.link, d.store, way, [&] { return time.now; }, [](event const&) {}, hurry{});
        REQUIRE(done);
        time.pass(1);
        return *done;
    }
    void create(world::device& d, std::string_view id) {
        REQUIRE(d.write([&](auto& tx) {
            return d.self.create(tx, record_key{"things", id}, world::fields({{"ruled", 1}}), time.now);
        }));
    }
};

std::optional<failure> paused(world::device& d, instant now) {
    auto const out = d.link.poll(now);
    REQUIRE(out);
    auto const* wait = std::get_if<wait_until>(&*out);
    REQUIRE(wait != nullptr);
    return wait->paused;
}
std::size_t keys_in(memory_storage& store) {
    auto tx = store.begin(access_mode::read);
    std::size_t n = 0;
    REQUIRE(tx->scan({}, [&](bytes_view, bytes_view) {
        ++n;
        return true;
    }));
    return n;
}

}  // namespace

TEST_CASE("a quarantined device is told and not heard, and loses nothing", "[replica][standing]") {
    house h;
    world::device a{1};
    world::device b{2};
    REQUIRE(world::open(a, h.time.now));
    REQUIRE(world::open(b, h.time.now));
    h.create(a, "1");
    h.run(a);
    h.say(a, device_standing::quarantined);
    h.create(a, "2");
    h.create(b, "3");
    h.run(b);
    auto const report = h.run(a);
    CHECK_FALSE(report.failed);
    CHECK(report.exchanges < 5);  // it doesn't ask again and again
    CHECK(world::confirmed(h.home).size() == 2);
    CHECK(world::visible(a).size() == 3);
    CHECK_FALSE(paused(a, h.time.now));
    h.say(a, device_standing::good);
    h.run(a);
    CHECK(world::confirmed(h.home) == world::visible(a));
    CHECK(world::confirmed(h.home).size() == 3);
}

TEST_CASE("a revoked device is answered with nothing but that", "[replica][standing]") {
    house h;
    world::device a{1};
    REQUIRE(world::open(a, h.time.now));
    h.create(a, "1");
    h.run(a);
    h.say(a, device_standing::revoked);
    h.create(a, "2");
    std::size_t const before = keys_in(h.home.store);
    auto const report = h.run(a);
    REQUIRE(report.failed);
    CHECK(report.failed->code == errc::forbidden);
    CHECK(keys_in(h.home.store) == before);
    auto const why = paused(a, h.time.now);
    REQUIRE(why);
    CHECK(why->code == errc::forbidden);
    CHECK_FALSE(a.link.last_report().wipe);
    CHECK(world::visible(a).size() == 2);
    // Another device of the same principal is not.
    world::device b{2};
    REQUIRE(world::open(b, h.time.now));
    CHECK_FALSE(h.run(b).failed);
}

TEST_CASE("a device that is told to wipe hears it, and wipes when its host says so", "[replica][standing]") {
    house h;
    world::device a{1};
    REQUIRE(world::open(a, h.time.now));
    for (int i = 0; i < 10; ++i) { h.create(a, std::to_string(i)); }
    h.run(a);
    h.create(a, "late");
    h.say(a, device_standing::wiped);
    CHECK_FALSE(h.run(a).failed);
    CHECK(a.link.last_report().wipe);
    REQUIRE(paused(a, h.time.now));
    CHECK(world::confirmed(h.home).size() == 10);
    CHECK(world::visible(a).size() == 11);  // the host decides when, and exports what it wants first

    std::size_t calls = 0;
    for (bool more = true; more; ++calls) {
        auto const step = a.write([&](auto& tx) { return a.self.wipe(tx, 4); });
        REQUIRE(step);
        more = *step;
        if (more) {
            CHECK(world::open(a, h.time.now).error().code == errc::not_found);
            CHECK_FALSE(a.write([&](auto& tx) { return a.self.prepare(tx, h.time.now); }));
        }
    }
    CHECK(calls > 3);
    CHECK(keys_in(a.store) == 0);
    // A store that is empty begins anew, under another name.
    REQUIRE(world::open(a, h.time.now));
    world::device fresh{9};
    REQUIRE(world::open(fresh, h.time.now));
    h.run(fresh);
    CHECK(world::visible(fresh).size() == 10);
}

TEST_CASE("an order to wipe for another, or of another authority, is none", "[replica][standing]") {
    house h;
    world::device a{1};
    world::device b{2};
    REQUIRE(world::open(a, h.time.now));
    REQUIRE(world::open(b, h.time.now));
    h.run(a);
    h.run(b);
    reply order;
    order.wipe = true;
    bytes const raw = encode(order);
    auto const back = decode_reply(raw);
    REQUIRE(back);
    CHECK(*back == order);
    auto const name = a.read([&](auto& tx) { return a.self.self(tx); });
    REQUIRE(name);
    order.replica = *name;
    CHECK(world::absorb(a, encode(order), h.time.now).error().code == errc::authority_changed);
    order.replica = {};
    auto const to_nobody = world::absorb(a, encode(order), h.time.now);
    REQUIRE(to_nobody);
    CHECK_FALSE(to_nobody->wipe);
}

TEST_CASE("a wipe that fails is done again", "[replica][standing]") {
    replica const self{world::rules()};
    instant const now = world::virtual_clock{}.now;
    auto const make = [&](testing::failing_storage& store) {
        syncline::random_generator random{3};
        auto tx = store.begin(access_mode::write);
        REQUIRE(self.open(*tx, "anna", now, random));
        for (int i = 0; i < 3; ++i) {
            REQUIRE(self.create(*tx, record_key{"things", std::to_string(i)}, world::fields({{"ruled", 1}}), now));
        }
        REQUIRE(tx->commit());
    };
    auto const operate = [&](testing::failing_storage& store) -> status {
        for (;;) {
            auto tx = store.begin(access_mode::write);
            if (!tx) { return tx.error(); }
            auto const more = self.wipe(*tx, 5);
            if (!more) { return more.error(); }
            if (auto ok = tx->commit(); !ok) { return ok; }
            if (!*more) { return {}; }
        }
    };
    testing::nth_failure_options several;
    several.several_transactions = true;
    several.repeatable = true;
    auto const report = testing::nth_failure(make, operate, several);
    for (testing::violation const& v : report.violations) { FAIL_CHECK(v.axiom << ": " << v.what); }
    CHECK(report.runs > 30);
}

TEST_CASE("who is known to the authority, and how far", "[replica][standing]") {
    house h;
    world::device a{1};
    REQUIRE(world::open(a, h.time.now));
    h.create(a, "1");
    h.create(a, "2");
    h.run(a);
    auto tx = h.home.store.begin(access_mode::read);
    std::vector<registered_replica> all;
    REQUIRE(h.self.replicas(*tx, [&](registered_replica const& r) {
        all.push_back(r);
        return true;
    }));
    REQUIRE(all.size() == 1);
    CHECK(all[0].principal == "anna");
    CHECK(all[0].decided == 2);
    CHECK(all[0].replica == *a.read([&](auto& t) { return a.self.self(t); }));
}
