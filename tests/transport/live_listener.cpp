// SPDX-License-Identifier: BSL-1.0
#include <syncline/transport/live_listener.hpp>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/transport/hub_loopback.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

monotonic_time at(std::int64_t ms) { return monotonic_time{milliseconds{ms}}; }

id128 life(unsigned n) {
    id128 id;
    id.bytes[15] = static_cast<std::byte>(n);
    return id;
}

/// A listener by hand.
struct device {
    live_listener<random_generator> self;
    live_wait wait{};
    explicit device(live_options o = {}, std::vector<std::string> topics = {"rooms"})
        : self({std::move(topics)}, random_generator(1), o) {}

    /// All that it wants, by its words; a frame that it asks as its kind.
    std::string step(live_input const& in, std::int64_t now) {
        self.handle(in, at(now));
        std::string said;
        for (;;) {
            auto const out = self.poll(at(now));
            if (auto const* w = std::get_if<live_wait>(&out)) {
                wait = *w;
                return said;
            }
            std::visit(
                [&](auto const& o) {
                    using what = std::decay_t<decltype(o)>;
                    if constexpr (std::is_same_v<what, live_ask>) {
                        said += "ask" + std::to_string(decode_live_frame(o.message)->index() + 1) + ' ';
                    } else if constexpr (std::is_same_v<what, live_news>) {
                        said += "news:" + o.topic + ':' + std::to_string(o.position) + ' ';
                    } else if constexpr (std::is_same_v<what, live_note>) {
                        said += "note:" + o.from + ' ';
                    } else if constexpr (std::is_same_v<what, live_gap>) {
                        said += "gap:" + o.topic + ' ';
                    } else if constexpr (std::is_same_v<what, live_refused>) {
                        said += "refused:" + o.topic + ' ';
                    } else if constexpr (std::is_same_v<what, live_missed>) {
                        said += "missed ";
                    } else if constexpr (std::is_same_v<what, live_close>) {
                        said += "close ";
                    }
                },
                out);
        }
    }
    std::string answer(live_frame const& f, std::int64_t now) {
        bytes const m = encode(f);
        return step(live_answered{m}, now);
    }
    std::string hear(live_frame const& f, std::int64_t now) {
        bytes const m = encode(f);
        return step(live_heard{m}, now);
    }
    [[nodiscard]] std::int64_t due() const { return wait.deadline->time_since_epoch().count(); }
};

live_welcome welcome(std::uint64_t newest, unsigned in_life = 1) { return {life(in_life), {newest}}; }

}  // namespace

TEST_CASE("live listener: subscribes, tells news once, and that it may have missed some before") {
    device d;
    CHECK(d.step(live_tick{}, 0) == "ask1 ");
    CHECK(!d.wait.subscribed);
    CHECK(d.due() == 10'000);
    CHECK(d.answer(welcome(5), 10) == "gap:rooms ");
    CHECK(d.wait.subscribed);
    CHECK(d.hear(live_news{"rooms", 6}, 20) == "news:rooms:6 ");
    CHECK(d.hear(live_news{"rooms", 6}, 30).empty());
    CHECK(d.hear(live_news{"rooms", 5}, 30).empty());
    CHECK(d.hear(live_news{"else", 9}, 30).empty());
    CHECK(d.hear(live_note{"rooms", "ben", live_note_kind::own, {}}, 30) == "note:ben ");
    CHECK(d.hear(live_note{"else", "ben", live_note_kind::own, {}}, 30).empty());
    CHECK(d.hear(live_missed{}, 30) == "missed ");
}

TEST_CASE("live listener: comes back at a moment of its own, and goes on where it was") {
    device d;
    d.step(live_tick{}, 0);
    d.answer(welcome(5), 0);
    d.step(live_tick{}, 10'000);  // it has stood long enough
    CHECK(d.step(live_lost{}, 12'000).empty());
    CHECK(!d.wait.subscribed);
    CHECK(d.self.last_failure() == failure{errc::connection_lost});
    auto const back = d.due();
    CHECK(back > 12'000);
    CHECK(back <= 17'000);
    CHECK(d.step(live_lost{}, 12'001).empty());
    CHECK(d.step(live_tick{}, back - 1).empty());
    CHECK(d.step(live_tick{}, back) == "ask1 ");
    SECTION("nothing new meanwhile") { CHECK(d.answer(welcome(5), back).empty()); }
    SECTION("something new") { CHECK(d.answer(welcome(6), back) == "gap:rooms "); }
    SECTION("a peer that remembers nothing") { CHECK(d.answer(welcome(0, 2), back) == "gap:rooms "); }
    SECTION("not allowed any more") {
        CHECK(d.answer(live_welcome{life(1), {std::nullopt}}, back) == "refused:rooms ");
        CHECK(d.hear(live_news{"rooms", 9}, back).empty());
    }
    CHECK(d.wait.subscribed);
    CHECK(!d.self.last_failure());
}

TEST_CASE("live listener: a peer that accepts and drops each connection is asked ever less") {
    device d;
    std::int64_t now = 0;
    std::int64_t longest = 0;
    for (int i = 0; i < 30; ++i) {
        REQUIRE(d.step(live_tick{}, now) == "ask1 ");
        d.answer(welcome(1), now);
        d.step(live_lost{}, now + 1);
        longest = (std::max)(longest, d.due() - now);
        now = d.due();
    }
    CHECK(longest > 20'000);
    CHECK(now > 200'000);
}

TEST_CASE("live listener: failures wait by the retry policy, those that time does not mend wait for the host") {
    device d;
    CHECK(d.step(live_tick{}, 0) == "ask1 ");
    CHECK(d.step(live_failed{errc::throttled, milliseconds{40'000}}, 10).empty());
    CHECK(d.due() >= 40'010);
    CHECK(d.step(live_resume{}, 20) == "ask1 ");
    CHECK(d.step(live_failed{errc::unauthorised, {}}, 30).empty());
    REQUIRE(d.wait.paused);
    CHECK(d.wait.paused->code == errc::unauthorised);
    CHECK(!d.wait.deadline);
    CHECK(d.step(live_tick{}, 1'000'000).empty());
    CHECK(d.step(live_resume{}, 1'000'001) == "ask1 ");
    CHECK(d.answer(welcome(1), 1'000'002) == "gap:rooms ");
}

TEST_CASE("live listener: a silent peer is asked whether it is there, and given up when it does not answer") {
    device d;
    d.step(live_tick{}, 0);
    d.answer(welcome(1), 0);
    d.step(live_tick{}, 10'000);
    CHECK(d.due() == 25'000);
    d.hear(live_news{"rooms", 2}, 20'000);
    CHECK(d.due() == 45'000);
    CHECK(d.step(live_tick{}, 44'999).empty());
    CHECK(d.step(live_tick{}, 45'000) == "ask3 ");
    CHECK(d.answer(live_done{}, 45'100).empty());
    CHECK(d.step(live_tick{}, 70'100) == "ask3 ");
    CHECK(d.step(live_tick{}, 80'099).empty());
    CHECK(d.step(live_tick{}, 80'100) == "close ");
    CHECK(!d.wait.subscribed);
    CHECK(d.self.last_failure() == failure{errc::timed_out});
    CHECK(d.step(live_tick{}, d.due()) == "ask1 ");
}

TEST_CASE("live listener: what is no frame ends the connection") {
    device d;
    d.step(live_tick{}, 0);
    SECTION("as an answer") { CHECK(d.step(live_answered{as_bytes("what?")}, 1) == "close "); }
    SECTION("an answer to something else") { CHECK(d.answer(live_done{}, 1) == "close "); }
    SECTION("an answer for fewer topics") { CHECK(d.answer(live_welcome{life(1), {}}, 1) == "close "); }
    SECTION("unasked") {
        d.answer(welcome(1), 1);
        CHECK(d.step(live_heard{as_bytes("what?")}, 1) == "close ");
        CHECK(d.hear(live_news{"rooms", 2}, 1).empty());
    }
    SECTION("a frame that is never unasked") {
        d.answer(welcome(1), 1);
        CHECK(d.hear(live_ping{}, 1) == "close ");
    }
    CHECK(!d.wait.subscribed);
    CHECK(d.wait.deadline);
    CHECK(d.answer(live_done{}, 1).empty());
    CHECK(d.step(live_failed{errc::timed_out, {}}, 1).empty());
}

TEST_CASE(
    "live listener: notes are sent while it is subscribed, the newest of each kind, and dropped with the connection") {
    device d({.says_max = 2}, {"rooms", "tables"});
    live_say const first{"rooms", live_note_kind::presence, to_bytes("1")};
    CHECK(d.self.say(first).error() == errc::unreachable);
    d.step(live_tick{}, 0);
    d.answer(live_welcome{life(1), {std::uint64_t{0}, std::uint64_t{0}}}, 0);
    CHECK(d.self.say(first));
    CHECK(d.self.say({"rooms", live_note_kind::presence, to_bytes("2")}));
    CHECK(d.self.say({"tables", live_note_kind::presence, {}}));
    CHECK(d.self.say({"rooms", live_note_kind::progress, {}}).error() == errc::limit);
    d.self.handle(live_tick{}, at(1));
    auto const out = d.self.poll(at(1));
    REQUIRE(std::holds_alternative<live_ask>(out));
    CHECK(*decode_live_frame(std::get<live_ask>(out).message) ==
          live_frame{live_say{"rooms", live_note_kind::presence, to_bytes("2")}});
    SECTION("the peer took it") { CHECK(d.answer(live_done{}, 2) == "ask2 "); }
    SECTION("the peer did not take it") { CHECK(d.step(live_failed{errc::throttled, {}}, 2) == "ask2 "); }
    SECTION("the connection broke") {
        CHECK(d.step(live_lost{}, 2).empty());
        CHECK(d.step(live_tick{}, d.due()) == "ask1 ");
        CHECK(d.answer(live_welcome{life(1), {std::uint64_t{0}, std::uint64_t{0}}}, 90'000).empty());
        CHECK(d.wait.subscribed);
    }
}

TEST_CASE("live listener: other topics are asked for over the same connection") {
    device d;
    d.step(live_tick{}, 0);
    d.answer(welcome(4), 0);
    d.self.subscribe({{"rooms", "tables"}});
    CHECK(d.step(live_tick{}, 1) == "ask1 ");
    CHECK(d.answer(live_welcome{life(1), {std::uint64_t{4}, std::uint64_t{2}}}, 2) == "gap:tables ");
    CHECK(d.hear(live_news{"tables", 3}, 3) == "news:tables:3 ");
}

TEST_CASE(
    "live listener: whatever is lost on the way, each one hears of all that was published, or that it missed some") {
    unsigned const seed = GENERATE(1U, 2U, 3U, 4U, 5U, 6U);
    random_generator g(seed);
    monotonic_time now = at(0);
    auto const time = [&] { return now; };
    auto const may = [](std::string_view, std::string_view) { return true; };
    auto handler = [](bytes_view m) { return to_bytes(m); };
    std::optional<live_hub> hub;
    hub.emplace(life(1), live_hub_options{.waiting_max = 2, .idle_timeout = milliseconds{40'000}});
    live_options const options{.heartbeat = milliseconds{5'000}, .stable_after = milliseconds{100}};
    struct one {
        hub_loopback way;
        live_listener<random_generator> self;
        std::map<std::string, std::uint64_t> knows{};
        std::map<std::string, std::uint64_t> const& newest;
        one(live_hub& h, decltype(handler)& peer, decltype(may)& allowed, decltype(time)& clock, unsigned n,
            live_options const& o, std::map<std::string, std::uint64_t> const& all)
            : way(h, peer, "p" + std::to_string(n), allowed, clock),
              self({{"a", "b"}}, random_generator(n), o),
              newest(all) {}
        void operator()(live_output const& out) {
            if (auto const* n = std::get_if<live_news>(&out)) {
                CHECK(n->position > knows[n->topic]);
                knows[n->topic] = n->position;
            } else if (auto const* gap = std::get_if<live_gap>(&out)) {
                auto const found = newest.find(gap->topic);  // it asks the authority
                knows[gap->topic] = found == newest.end() ? 0 : found->second;
            }
        }
    };
    std::map<std::string, std::uint64_t> newest;
    std::vector<std::unique_ptr<one>> all;
    for (unsigned i = 0; i < 4; ++i) {
        all.push_back(std::make_unique<one>(*hub, handler, may, time, seed * 10 + i, options, newest));
    }
    auto const settle = [&] {
        for (int i = 0; i < 400; ++i) {
            now += milliseconds{1'000};
            hub->expire(now, [](live_hub::member) {});
            for (auto& d : all) { (void)attend(d->self, d->way, time, *d); }
        }
    };
    for (int step = 0; step < 2'000; ++step) {
        now += milliseconds{static_cast<std::int64_t>(below(g, 300))};
        auto& d = *all[below(g, all.size())];
        std::string const topic = below(g, 2) == 0 ? "a" : "b";
        switch (below(g, 7)) {
            case 0: d.way.disconnect(); break;
            case 1: d.way.reconnect(); break;
            case 2:  // a frame gets lost together with its connection
                if (d.way.member()) { (void)hub->take(*d.way.member()); }
                d.way.close();
                break;
            case 3: hub->publish(topic, ++newest[topic]); break;
            case 4: (void)d.self.say({topic, live_note_kind::own, bytes(below(g, 9))}); break;
            case 5: hub->expire(now, [](live_hub::member) {}); break;
            default: (void)attend(d.self, d.way, time, d); break;
        }
        if (step % 500 == 499) {
            for (auto& every : all) { every->way.reconnect(); }
            settle();
            for (auto& every : all) {
                CHECK(every->self.subscribed());
                CHECK(every->knows == newest);
            }
        }
    }
    // A hub that was made anew has forgotten all, and says so by its life.
    for (auto& d : all) { d->way.close(); }
    newest["a"] += 5;
    hub.emplace(life(2), live_hub_options{});
    settle();
    for (auto& d : all) { CHECK(d->knows == newest); }
}
