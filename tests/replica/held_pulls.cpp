// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/held_pulls.hpp>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include <syncline/replica/dry_run.hpp>

#include "replica/world.hpp"
#include "support/catch.hpp"

using namespace world;

namespace {

/// An authority that holds questions, and devices of one person.
struct venue {
    virtual_clock clock{};
    cloud home{clock.now};
    held_pulls held{};

    /// Both have met the authority.
    void welcome(std::initializer_list<device*> devices) {
        for (device* d : devices) {
            REQUIRE(open(*d, clock.now));
            REQUIRE(sync(*d, home, clock.now));
        }
    }
    position head() {
        auto tx = home.store.begin(access_mode::read);
        return *home.self.head(*tx);
    }
    bytes question(device& d) {
        auto const q = d.read([&](auto& tx) { return pull_message(tx, d.self); });
        REQUIRE(q);
        return *q;
    }
    bool holds(held_pulls::asker who, bytes_view q) {
        auto const taken = held.hold(who, "anna", q, head());
        REQUIRE(taken);
        return *taken;
    }
    void put(device& d, std::string_view id, std::int64_t n) {
        REQUIRE(d.write([&](auto& tx) { return d.self.put(tx, {"things", id}, fields({{"count", n}}), clock.now); }));
    }
    /// Those that were woken, and what each is answered.
    std::vector<std::pair<held_pulls::asker, bytes>> wake() {
        std::vector<std::pair<held_pulls::asker, bytes>> out;
        auto const n = held.wake(head(), [&](held_pulls::asker who, std::string_view principal, bytes_view q) {
            auto const said = home.answer(q, clock.now, principal);
            REQUIRE(said);
            out.emplace_back(who, *said);
        });
        CHECK(n == out.size());
        return out;
    }
};

}  // namespace

TEST_CASE("rows come with the change to who has a question held, as the next pull would bring them", "[replica]") {
    venue v;
    device anna{100};
    device ben{200};
    v.welcome({&anna, &ben});
    bytes const q = v.question(ben);
    REQUIRE(v.holds(7, q));
    CHECK(v.wake().empty());

    v.put(anna, "a", 1);
    REQUIRE(sync(anna, v.home, v.clock.now));
    auto const first = v.wake();
    REQUIRE(first.size() == 1);
    CHECK(first[0].first == 7);
    CHECK(v.held.size() == 0);
    // It is what a pull that is asked now is answered, in each byte.
    CHECK(first[0].second == *v.home.answer(q, v.clock.now));

    // One that is missed is made good by any later one, and by an exchange; none counts twice.
    REQUIRE(!v.holds(7, q));
    v.put(anna, "b", 2);
    REQUIRE(sync(anna, v.home, v.clock.now));
    bytes const second = *v.home.answer(q, v.clock.now);
    REQUIRE(absorb(ben, second, v.clock.now));
    CHECK(visible(ben) == visible(anna));
    auto const before = ben.store.snapshot();
    REQUIRE(absorb(ben, first[0].second, v.clock.now));  // late
    REQUIRE(absorb(ben, second, v.clock.now));           // doubled
    CHECK(ben.store.snapshot() == before);
    auto const again = sync(ben, v.home, v.clock.now);
    REQUIRE(again);
    CHECK(again->rows == 0);

    // It asks anew from where it is; the session takes the place of none that has come.
    REQUIRE(v.holds(7, v.question(ben)));
    CHECK(v.held.size() == 1);
}

TEST_CASE("a row that may hold what waits here comes with its verdict, not by a held question", "[replica]") {
    venue v;
    device anna{100};
    device ben{200};
    v.welcome({&anna, &ben});
    v.put(anna, "a", 0);
    REQUIRE(sync(anna, v.home, v.clock.now));
    REQUIRE(sync(ben, v.home, v.clock.now));
    bytes const q = v.question(ben);
    REQUIRE(v.holds(7, q));
    // Ben counts one, which is decided, and whose answer is under way while the held question is answered.
    REQUIRE(ben.write([&](auto& tx) { return ben.self.update(tx, {"things", "a"}, {add("count", 1)}, v.clock.now); }));
    bytes const late = *v.home.answer(request_of(ben, v.clock.now), v.clock.now);
    auto const woken = v.wake();
    REQUIRE(woken.size() == 1);
    REQUIRE(absorb(ben, woken[0].second, v.clock.now));
    CHECK(field(visible(ben).at("a"), "count") == 1);
    REQUIRE(absorb(ben, late, v.clock.now));
    CHECK(field(visible(ben).at("a"), "count") == 1);
}

TEST_CASE("what is no question is not held, and no more than there is room for", "[replica]") {
    venue v;
    v.held = held_pulls{{2, 4'096, {}}};
    device anna{100};
    REQUIRE(open(anna, v.clock.now));
    // Who was never here has all to hear.
    CHECK(!v.holds(1, v.question(anna)));
    REQUIRE(sync(anna, v.home, v.clock.now));
    bytes const q = v.question(anna);
    for (held_pulls::asker const who : {1U, 2U}) { REQUIRE(v.holds(who, q)); }
    CHECK(v.held.hold(3, "anna", q, v.head()).error() == errc::limit);
    REQUIRE(v.holds(2, q));  // in the place of its last
    CHECK(v.held.size() == 2);
    v.held.drop(2);
    v.held.drop(9);
    CHECK(v.held.size() == 1);
    v.put(anna, "a", 1);
    CHECK(v.held.hold(3, "anna", request_of(anna, v.clock.now), v.head()).error() == errc::invalid);
    CHECK(v.held.hold(3, "anna", bytes(5'000), v.head()).error() == errc::limit);
    CHECK(v.held.hold(3, "anna", as_bytes("no message"), v.head()).error() == errc::foreign);
    CHECK(v.held.hold(1, "anna", as_bytes("no message"), v.head()).error() == errc::foreign);
    CHECK(v.held.size() == 0);
}
