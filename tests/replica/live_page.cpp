// SPDX-License-Identifier: BSL-1.0
// What docs/live.md quotes: a device that hears of news and pulls, over a hub in the same process.

#include "support/catch.hpp"

#include <string>
#include <variant>
#include <vector>

#include <syncline/replica/session.hpp>
#include <syncline/transport/hub_loopback.hpp>
#include <syncline/transport/live_listener.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

// region: turn
/// Called when the timer fires and when something has arrived: hears what there is, asks the authority if that is news,
/// and answers when to come again.
template <class Listener, class Session, class Store, class Way, class Clock, class Tell, class Note>
result<live_wait> turn(Listener& ear, Session& link, Store& store, Way& way, Clock clock, Tell tell, Note note) {
    session_input first = tick{};
    auto const hear = [&](live_output const& out) {
        if (auto const* n = std::get_if<live_news>(&out)) { first = news{n->position}; }
        if (std::holds_alternative<live_gap>(out)) { first = news{}; }
        if (auto const* said = std::get_if<live_note>(&out)) { note(*said); }
    };
    live_wait const wait = attend(
        ear, way, [&] { return clock().monotonic; }, hear);
    auto const done = drive(link, store, way, clock, tell, first);
    if (!done) { return done.error(); }
    return wait;
}
// endregion: turn

/// An authority with a hub, and a device that listens to it.
struct venue {
    virtual_clock clock{};
    cloud home{clock.now};
    live_hub hub{id128{{std::byte{1}}}};

    // region: commit
    /// Answers a request; when it moved the authority, those who listen are told, after the commit.
    peer_reply answer(bytes_view request) {
        auto reply = home.answer(request, clock.now);
        if (auto const at = head(); reply && at != told) { hub.publish("rooms", told = at); }
        return reply ? peer_reply(std::move(*reply)) : peer_reply(reply.error());
    }
    // endregion: commit
    position told = 0;

    position head() {
        auto tx = home.store.begin(access_mode::read);
        REQUIRE(tx);
        return *home.self.head(*tx);
    }
};

}  // namespace

TEST_CASE("the page of live: a device hears of another's write and pulls it, without an interval") {
    venue v;
    auto handler = [&](bytes_view m) { return v.answer(m); };
    auto const may = [](std::string_view, std::string_view topic) { return topic == "rooms"; };
    auto const time = [&] { return v.clock.now.monotonic; };
    auto const clock = [&] { return v.clock.now; };
    device anna{100};
    device ben{200};
    REQUIRE(open(anna, v.clock.now));
    REQUIRE(open(ben, v.clock.now));
    hub_loopback anna_way(v.hub, handler, "anna", may, time);
    hub_loopback ben_way(v.hub, handler, "ben", may, time);
    live_listener anna_ear({{"rooms"}}, random_generator(1));
    live_listener ben_ear({{"rooms"}}, random_generator(2));
    std::vector<std::string> told;
    std::vector<std::string> notes;
    auto const tell = [&](event const& e) {
        if (e.kind == event_kind::changed) { told.push_back(std::string(as_text(e.record.id))); }
    };
    auto const note = [&](live_note const& n) { notes.push_back(n.from + " has " + std::to_string(n.body.size())); };
    auto const quiet = [](auto const&) {};
    auto const anna_turn = [&] { REQUIRE(turn(anna_ear, anna.link, anna.store, anna_way, clock, quiet, quiet)); };
    auto const ben_turn = [&] { REQUIRE(turn(ben_ear, ben.link, ben.store, ben_way, clock, tell, note)); };
    anna_turn();
    ben_turn();
    told.clear();

    record_key const key{"things", "a"};
    REQUIRE(anna.write([&](auto& tx) { return anna.self.put(tx, key, fields({{"name", 1}}), v.clock.now); }));
    anna_turn();
    ben_turn();  // no time has passed
    CHECK(told == std::vector<std::string>{"a"});

    // Who listens again after a loss pulls what was written meanwhile, before its interval is over.
    ben_way.disconnect();
    ben_turn();
    REQUIRE(anna.write([&](auto& tx) { return anna.self.put(tx, key, fields({{"name", 2}}), v.clock.now); }));
    anna_turn();
    ben_way.reconnect();
    v.clock.pass(5'001);
    ben_turn();
    CHECK(told == std::vector<std::string>{"a", "a"});

    // region: say
    auto const progress = [&](std::uint64_t pending, position held) {
        return live_say{"rooms", live_note_kind::progress, encode(live_progress{pending, held})};
    };
    REQUIRE(anna_ear.say(progress(3, v.told)));
    // endregion: say
    anna_turn();
    ben_turn();
    REQUIRE(notes.size() == 1);
    CHECK(notes[0].starts_with("anna has "));
}
