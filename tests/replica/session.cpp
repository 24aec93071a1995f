// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <syncline/testing/faulty_storage.hpp>

#include "replica/asking.hpp"
#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

record_key const key_a{"things", "a"};

/// A transport that completes at once, by a script: what goes wrong with the next exchange.
struct scripted_transport {
    cloud& c;
    virtual_clock& clock;
    std::optional<failure> before{};  ///< fails, the authority didn't hear
    std::optional<failure> after{};   ///< fails, the authority acted
    std::optional<bytes> instead{};   ///< this comes for a reply
    std::optional<milliseconds> retry_after{};
    std::size_t calls = 0;

    void exchange(bytes_view message, completion done) {
        ++calls;
        transport_reply reply;
        if (before) {
            reply.message = *before;
            reply.retry_after = retry_after;
            done(reply);
            return;
        }
        auto const answer = c.answer(message, clock.now);
        if (after || !answer) {
            reply.message = after ? *after : answer.error();
        } else {
            reply.message = bytes_view{instead ? *instead : *answer};
        }
        done(reply);
    }
    transport_limits limits() const { return {}; }
};
static_assert(transport<scripted_transport>);

struct linked {
    virtual_clock clock{};
    cloud c{clock.now};
    device d{100};
    scripted_transport way{c, clock};
    std::vector<event> seen{};

    linked() { REQUIRE(open(d, clock.now)); }
    result<drive_report> go() {
        return drive(
            d.link, d.store, way, [&] { return clock.now; }, [&](event const& e) { seen.push_back(e); });
    }
    void write(std::int64_t n) {
        REQUIRE(d.write([&](auto& tx) { return d.self.put(tx, key_a, fields({{"name", n}}), clock.now); }));
    }
    wait_until waits() {
        for (;;) {
            auto out = d.link.poll(clock.now);
            REQUIRE(out);
            if (auto const* w = std::get_if<wait_until>(&*out)) { return *w; }
        }
    }
};

}  // namespace

TEST_CASE("drive exchanges until nothing is due, and tells what happened") {
    linked l;
    l.write(1);
    auto const report = l.go();
    REQUIRE(report);
    CHECK_FALSE(report->failed);
    CHECK(report->verdicts == 1);
    CHECK(report->rows == 1);
    CHECK(confirmed(l.c).size() == 1);
    REQUIRE(l.seen.size() == 1);  // the record itself did not change: the writer saw it so already
    CHECK(l.seen[0].kind == event_kind::decided);
    CHECK(l.seen[0].said.kind == verdict_kind::applied);
    CHECK(l.seen[0].record == key_a);

    SECTION("with nothing to do it waits for the interval, and a local write ends the waiting") {
        auto const w = l.waits();
        REQUIRE(w.deadline);
        CHECK(*w.deadline == l.clock.now.monotonic + session_options{}.poll_interval);
        std::size_t const calls = l.way.calls;
        REQUIRE(l.go());
        CHECK(l.way.calls == calls);
        l.write(2);
        CHECK(*l.waits().deadline <= l.clock.now.monotonic);
        REQUIRE(l.go());
        CHECK(field(confirmed(l.c).at("a"), "name") == 2);
        l.clock.pass(30'000);
        std::size_t const before = l.way.calls;
        REQUIRE(l.go());
        CHECK(l.way.calls == before + 1);
    }
}

TEST_CASE("a failed exchange is tried again after a wait that grows, and nothing is lost or doubled") {
    linked l;
    l.write(1);
    SECTION("the peer was not reached") { l.way.before = failure{errc::unreachable}; }
    SECTION("its answer was lost") { l.way.after = failure{errc::timed_out}; }
    for (int i = 0; i < 8; ++i) {
        auto const report = l.go();
        REQUIRE(report);
        REQUIRE(report->failed);
        auto const w = l.waits();
        REQUIRE(w.deadline);
        CHECK_FALSE(w.paused);
        l.clock.pass((*w.deadline - l.clock.now.monotonic).count() + 1);
    }
    l.way.before.reset();
    l.way.after.reset();
    auto const report = l.go();
    CHECK_FALSE(report->failed);
    CHECK(confirmed(l.c).size() == 1);
}

TEST_CASE("the peer's hint is a floor for the wait") {
    linked l;
    l.write(1);
    l.way.before = failure{errc::throttled};
    l.way.retry_after = milliseconds{20'000};
    REQUIRE(l.go());
    CHECK(*l.waits().deadline >= l.clock.now.monotonic + milliseconds{20'000});
}

TEST_CASE("what time does not mend pauses the session until it is resumed") {
    for (errc const why : {errc::unauthorised, errc::forbidden, errc::unsupported}) {
        linked l;
        l.write(1);
        l.way.before = failure{why};
        REQUIRE(l.go());
        auto const w = l.waits();
        CHECK_FALSE(w.deadline);
        REQUIRE(w.paused);
        CHECK(w.paused->code == why);
        l.clock.pass(1'000'000);
        std::size_t const calls = l.way.calls;
        REQUIRE(l.go());
        CHECK(l.way.calls == calls);
        l.way.before.reset();
        REQUIRE(l.d.write([&](auto& tx) { return l.d.link.handle(resume{}, tx, l.clock.now); }));
        REQUIRE(l.go());
        CHECK(confirmed(l.c).size() == 1);
    }
}

TEST_CASE("a reply that is not ours, or damaged, is a failed exchange and changes nothing") {
    linked l;
    l.write(1);
    for (bytes const& bad : {to_bytes("<html>"), bytes{}, to_bytes("SYL\x01\0\0\0\0garbage")}) {
        l.way.instead = bad;
        auto const report = l.go();
        REQUIRE(report);
        REQUIRE(report->failed);
        CHECK(*l.waits().deadline > l.clock.now.monotonic);
        l.clock.pass(100'000);
    }
    l.way.instead.reset();
    CHECK_FALSE(l.go()->failed);
    CHECK(field(confirmed(l.c).at("a"), "name") == 1);
}

TEST_CASE("a transaction that the host rolls back leaks no event and no acknowledgement") {
    linked l;
    l.write(1);
    bytes const request = request_of(l.d, l.clock.now);
    auto const reply = l.c.answer(request, l.clock.now);
    {
        auto tx = l.d.store.begin(access_mode::write);
        REQUIRE(l.d.link.handle(received{*reply}, *tx, l.clock.now));
    }
    auto const out = l.d.link.poll(l.clock.now);
    REQUIRE(out);
    CHECK(std::get_if<notify>(&*out) == nullptr);
    CHECK(request_of(l.d, l.clock.now) == request);
    REQUIRE(l.d.link.last_failure());
    CHECK(l.d.link.last_failure()->code == errc::cancelled);
    l.clock.now.monotonic = *l.waits().deadline;  // the next wait of the backoff, lest a full disk asks without end
    REQUIRE(l.go());
    CHECK(l.seen.size() == 1);
}

TEST_CASE("events that were not told before a crash are told after it") {
    linked l;
    l.write(1);
    REQUIRE(absorb(l.d, *l.c.answer(request_of(l.d, l.clock.now), l.clock.now), l.clock.now));
    session<memory_storage, syncline::random_generator> after_crash{l.d.store, l.d.self, syncline::random_generator{5}};
    std::size_t told = 0;
    REQUIRE(drive(
        after_crash, l.d.store, l.way, [&] { return l.clock.now; }, [&](event const&) { ++told; }));
    CHECK(told == 1);
    // Told and forgotten by the next step.
    REQUIRE(l.d.write([&](auto& tx) { return after_crash.handle(tick{}, tx, l.clock.now); }));
    REQUIRE(l.d.read([&](auto& tx) {
        return l.d.self.events(tx, 0, [&](std::uint64_t, event const&) {
            FAIL("an event that was told is still kept");
            return true;
        });
    }));
}

TEST_CASE("what a reply changed is told at the cost of its events, whatever comes between") {
    linked l;
    std::size_t const many = 2'000;
    for (std::size_t i = 0; i < many; ++i) {
        record_key const k{"things", "n" + std::to_string(i)};
        REQUIRE(l.d.write([&](auto& tx) { return l.d.self.create(tx, k, fields({{"asked", 1}}), l.clock.now); }));
    }
    REQUIRE(l.go());
    device other{101};
    REQUIRE(open(other, l.clock.now));
    std::uint64_t const page = other.self.options().rows_max;
    REQUIRE(page >= 600);    // more than is read at once
    std::uint64_t last = 0;  // batch
    std::vector<std::string> stored;
    auto const pull = [&] {
        REQUIRE(absorb(other, *l.c.answer(request_of(other, l.clock.now), l.clock.now), l.clock.now));
        REQUIRE(other.read([&](auto& tx) {
            return other.self.events(tx, last, [&](std::uint64_t batch, event const& e) {
                last = batch;
                stored.emplace_back(e.record.id_text());
                return true;
            });
        }));
    };
    pull();
    std::size_t const first = stored.size();
    REQUIRE(first == page);
    bool const disturbed = GENERATE(false, true);
    testing::faulty_storage counted{other.store};
    session link{counted, other.self, syncline::random_generator{7}};
    std::vector<std::string> told;
    for (;;) {
        auto out = link.poll(l.clock.now);
        REQUIRE(out);
        if (std::holds_alternative<wait_until>(*out)) { break; }
        auto const* const note = std::get_if<notify>(&*out);
        if (note == nullptr) { continue; }
        told.emplace_back(note->what->record.id_text());
        if (!disturbed) { continue; }
        // The next reply comes while the last is being told, and what was told whole is forgotten, nothing else.
        if (told.size() == 3) { pull(); }
        if (told.size() % 150 == 0) {
            auto tx = counted.begin(access_mode::write);
            REQUIRE(tx);
            REQUIRE(link.handle(tick{}, *tx, l.clock.now));
            REQUIRE(tx->commit());
        }
    }
    CHECK(told == stored);
    CHECK(stored.size() == (disturbed ? 2 * first : first));
    if (!disturbed) { CHECK(counted.calls() < 50); }
}

TEST_CASE("with a whole policy the waits are the budget's and the breaker's, and survive a restart") {
    linked l;
    l.write(1);
    session_options const fleet{.retry =
                                    retry_policy_options{.breaker = {.calls_min = 2, .open_for = milliseconds{9'000}}}};
    session<memory_storage, syncline::random_generator> link{l.d.store, l.d.self, syncline::random_generator{3}, fleet};
    auto const go = [&](auto& s) {
        return drive(
            s, l.d.store, l.way, [&] { return l.clock.now; }, [](event const&) {});
    };
    auto const wait_of = [&](auto& s) {
        for (;;) {
            auto out = s.poll(l.clock.now);
            REQUIRE(out);
            if (auto const* w = std::get_if<wait_until>(&*out)) {
                REQUIRE(w->deadline);
                return (*w->deadline - l.clock.now.monotonic).count();
            }
        }
    };
    l.way.before = failure{errc::peer_failed};
    REQUIRE(go(link)->failed);
    auto const first = wait_of(link);
    CHECK(first <= 200);
    l.clock.pass(first);
    REQUIRE(go(link)->failed);
    CHECK(link.policy().breaker().where(l.clock.now.monotonic) == breaker_state::open);
    auto const second = wait_of(link);
    CHECK(second >= 240'000);  // the budget's, which is longer than the breaker's

    auto const saved = to_array(link.policy(), l.clock.now);
    session<memory_storage, syncline::random_generator> again{l.d.store, l.d.self, syncline::random_generator{4},
                                                              fleet};
    REQUIRE(again.policy().restore(saved, l.clock.now));
    std::size_t const calls = l.way.calls;
    REQUIRE(go(again));
    CHECK(l.way.calls == calls);  // the breaker is open still
    CHECK(wait_of(again) == 9'000);
    l.clock.pass(9'000);
    l.way.before.reset();
    REQUIRE(go(again));
    CHECK(confirmed(l.c).size() == 1);
    CHECK(again.policy().budget().tokens() == 8'100);
}

TEST_CASE("an exchange that never completes is given up after its time-out") {
    linked l;
    l.write(1);
    REQUIRE(l.d.write([&](auto& tx) { return l.d.link.handle(tick{}, tx, l.clock.now); }));
    auto out = l.d.link.poll(l.clock.now);
    REQUIRE(std::get_if<transmit>(&*out) != nullptr);
    auto const w = l.waits();
    REQUIRE(w.deadline);
    CHECK(*w.deadline == l.clock.now.monotonic + session_options{}.reply_timeout);
    l.clock.pass(60'001);
    REQUIRE(l.d.write([&](auto& tx) { return l.d.link.handle(tick{}, tx, l.clock.now); }));
    CHECK_FALSE(l.d.link.in_flight());
    l.clock.pass(60'001);
    REQUIRE(l.go());
    CHECK(confirmed(l.c).size() == 1);
}

TEST_CASE("no lost wake-up, events equal to state: at random, step by step") {
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        INFO("seed " << seed);
        syncline::random_generator dice{seed};
        linked l;
        device other{500 + seed};
        REQUIRE(open(other, l.clock.now));
        std::map<std::string, bytes> shadow;  // rebuilt from local writes and events alone
        auto const look = [&](record_key const& k) {
            auto r = l.d.read([&](auto& tx) { return l.d.self.read(tx, k); });
            REQUIRE(r);
            if (*r) {
                shadow[std::string{k.id_text()}] = (*r)->fields;
            } else {
                shadow.erase(std::string{k.id_text()});
            }
        };
        for (int step = 0; step < 60; ++step) {
            l.clock.pass(static_cast<std::int64_t>(dice() % 3'000));
            record_key const k{"things", std::string(1, static_cast<char>('a' + dice() % 3))};
            switch (dice() % 6) {
                case 0:
                    (void)l.d.write([&](auto& tx) {
                        return l.d.self.put(tx, k,
                                            fields({{"name", static_cast<std::int64_t>(dice() % 50)},
                                                    {"asked", static_cast<std::int64_t>(dice() % 50)}}),
                                            l.clock.now);
                    });
                    look(k);
                    break;
                case 1:
                    (void)l.d.write([&](auto& tx) { return l.d.self.erase(tx, k, l.clock.now); });
                    look(k);
                    break;
                case 2:
                    (void)other.write([&](auto& tx) {
                        return other.self.put(tx, k,
                                              fields({{"name", static_cast<std::int64_t>(dice() % 50)}, {"ruled", 1}}),
                                              l.clock.now);
                    });
                    break;
                case 3: (void)sync(other, l.c, l.clock.now); break;
                default: {
                    l.way.before = dice() % 4 == 0 ? std::optional{failure{errc::unreachable}} : std::nullopt;
                    l.way.after = dice() % 4 == 0 ? std::optional{failure{errc::connection_lost}} : std::nullopt;
                    l.seen.clear();
                    REQUIRE(l.go());
                    for (event const& e : l.seen) {
                        if (e.kind == event_kind::changed || e.kind == event_kind::removed) { look(e.record); }
                    }
                    CHECK(shadow == visible(l.d));
                    break;
                }
            }
            auto const w = l.waits();
            CHECK((w.deadline || w.paused || l.d.link.in_flight()));
            if (w.deadline) { CHECK(*w.deadline <= l.clock.now.monotonic + milliseconds{60'000}); }
        }
    }
}

TEST_CASE("hurry goes at once, also when the exchange before it has timed out meanwhile") {
    linked l;
    l.write(1);
    REQUIRE(l.d.write([&](auto& tx) { return l.d.link.handle(tick{}, tx, l.clock.now); }));
    auto out = l.d.link.poll(l.clock.now);
    REQUIRE(std::get_if<transmit>(&*out) != nullptr);
    l.clock.pass(60'001);
    REQUIRE(l.d.write([&](auto& tx) { return l.d.link.handle(hurry{}, tx, l.clock.now); }));
    out = l.d.link.poll(l.clock.now);
    CHECK(std::get_if<transmit>(&*out) != nullptr);
}

TEST_CASE("drive asks at once when it is told to hurry, though nothing is due") {
    linked l;
    REQUIRE(l.go());
    std::size_t const calls = l.way.calls;
    REQUIRE(l.go());
    CHECK(l.way.calls == calls);
    auto const time = [&] { return l.clock.now; };
    auto const tell = [](event const&) {};
    REQUIRE(drive(l.d.link, l.d.store, l.way, time, tell, hurry{}));
    CHECK(l.way.calls == calls + 1);
}

TEST_CASE("news are asked for once, unless they are held, after a wait for backoff, and again when that failed") {
    linked l;
    l.write(1);
    REQUIRE(l.go());
    auto const time = [&] { return l.clock.now; };
    auto const quiet = [](event const&) {};
    auto const told = [&](position at) {
        std::size_t const before = l.way.calls;
        auto const report = drive(l.d.link, l.d.store, l.way, time, quiet, news{at});
        REQUIRE(report);
        return l.way.calls - before;
    };
    position const held = l.d.write([&](auto& tx) { return l.d.self.status_of(tx); })->cursor;
    REQUIRE(held > 0);
    CHECK(told(held) == 0);
    CHECK(told(held + 5) == 1);  // whether or not the authority has them
    CHECK(told(0) == 1);
    REQUIRE(l.go());
    CHECK(*l.waits().deadline > l.clock.now.monotonic + milliseconds{20'000});

    l.way.before = failure{errc::throttled};
    l.way.retry_after = milliseconds{20'000};
    CHECK(told(held + 5) == 1);
    CHECK(told(held + 6) == 0);
    CHECK(*l.waits().deadline >= l.clock.now.monotonic + milliseconds{20'000});
    CHECK(*l.waits().deadline <= l.clock.now.monotonic + milliseconds{20'200});
    l.way.before.reset();
    l.clock.pass(20'201);
    std::size_t const before = l.way.calls;
    REQUIRE(l.go());
    CHECK(l.way.calls == before + 1);
    REQUIRE(l.go());
    CHECK(l.way.calls == before + 1);
}

TEST_CASE("news that come while an exchange is under way are asked for after it, if it did not bring them") {
    linked l;
    REQUIRE(l.go());
    device other{200};
    REQUIRE(open(other, l.clock.now));
    auto const input = [&](session_input const& in) {
        REQUIRE(l.d.write([&](auto& tx) { return l.d.link.handle(in, tx, l.clock.now); }));
    };
    auto const asks = [&] {
        auto const out = l.d.link.poll(l.clock.now);
        REQUIRE(out);
        auto const* t = std::get_if<transmit>(&*out);
        return t == nullptr ? bytes{} : to_bytes(t->message);
    };
    input(hurry{});
    bytes const first = asks();
    REQUIRE(!first.empty());
    bytes const early = *l.c.answer(first, l.clock.now);
    REQUIRE(other.write([&](auto& tx) { return other.self.put(tx, key_a, fields({{"name", 1}}), l.clock.now); }));
    scripted_transport way{l.c, l.clock};
    REQUIRE(drive(
        other.link, other.store, way, [&] { return l.clock.now; }, [](event const&) {}));
    position const at = other.write([&](auto& tx) { return other.self.status_of(tx); })->head;
    input(news{at});
    CHECK(asks().empty());
    SECTION("it did not") {
        input(received{early});
        input(tick{});
        CHECK(!asks().empty());
    }
    SECTION("it did") {
        input(received{*l.c.answer(first, l.clock.now)});
        (void)l.waits();
        input(tick{});
        CHECK(asks().empty());
    }
}

TEST_CASE("news are spread over time where the host wants that") {
    std::vector<std::int64_t> waits;
    for (unsigned seed = 1; seed <= 8; ++seed) {
        linked l;
        REQUIRE(l.go());
        session_options o;
        o.news_spread = milliseconds{4'000};
        session link(l.d.store, l.d.self, random_generator(seed), o);
        REQUIRE(drive(
            link, l.d.store, l.way, [&] { return l.clock.now; }, [](event const&) {}));
        REQUIRE(l.d.write([&](auto& tx) { return link.handle(news{1'000}, tx, l.clock.now); }));
        auto const out = link.poll(l.clock.now);
        REQUIRE(out);
        auto const* wait = std::get_if<wait_until>(&*out);
        REQUIRE(wait != nullptr);
        waits.push_back((*wait->deadline - l.clock.now.monotonic).count());
        CHECK(waits.back() <= 4'000);
    }
    std::sort(waits.begin(), waits.end());
    CHECK(waits.back() - waits.front() > 500);
}

TEST_CASE("a peer that moves nothing is not asked again at once, whatever it answers") {
    enum class cause : std::uint8_t { quarantined, withheld, too_large, cached, waits, full };
    auto const why =
        GENERATE(cause::quarantined, cause::withheld, cause::too_large, cause::cached, cause::waits, cause::full);
    CAPTURE(static_cast<int>(why));
    std::uint64_t const seed = GENERATE(range(1U, 6U));
    virtual_clock clock;
    cloud c{clock.now};
    authority_options rules_of_house;
    rules_of_house.standings = true;
    if (why == cause::full) { rules_of_house.authors_max = 1; }
    c.self = authority<>{rules(), rules_of_house};
    device other{50};
    REQUIRE(open(other, clock.now));
    REQUIRE(sync(other, c, clock.now));

    replica_options o;
    if (why == cause::withheld) { o.record_max = 64; }
    device d{seed, o};
    REQUIRE(open(d, clock.now));
    if (why != cause::full) { REQUIRE(sync(d, c, clock.now)); }
    std::optional<bytes> cache;
    if (why == cause::quarantined) {
        auto const name = d.read([&](auto& tx) { return d.self.self(tx); });
        REQUIRE(name);
        auto tx = c.store.begin(access_mode::write);
        REQUIRE(c.self.set_standing(*tx, name->device, device_standing::quarantined));
        REQUIRE(tx->commit());
    }
    if (why == cause::cached) { cache = *c.answer(request_of(d, clock.now), clock.now); }
    if (why == cause::withheld) {
        bytes large;
        cbor_writer w{large};
        w.map(1);
        w.text("name");
        w.text(std::string(1'000, 'x'));
        REQUIRE(other.write([&](auto& tx) { return other.self.create(tx, key_a, large, clock.now); }));
        REQUIRE(sync(other, c, clock.now));
    }
    REQUIRE(d.write([&](auto& tx) {
        return d.self.create(tx, record_key{"things", "b"}, fields({{"name", 1}}), clock.now);
    }));
    std::size_t answers = 0;
    auto const answer = [&](bytes_view request, instant now) -> asking::answered {
        ++answers;
        if (why == cause::too_large && request.size() > 40) { return {errc::limit}; }
        if (why == cause::cached) { return {*cache}; }
        auto reply = c.answer(request, now);
        if (reply && why == cause::waits) {
            auto p = decode_reply(*reply);
            REQUIRE(p);
            for (verdict& v : p->verdicts) { v = {.sequence = v.sequence, .kind = verdict_kind::retry_after}; }
            return {encode(*p)};
        }
        return {reply};
    };
    auto const at = asking::requests(d.link, d.store, clock.now, milliseconds{600'000}, answer);
    CAPTURE(at);
    CHECK(at.size() >= 2);
    CHECK(at.size() <= 120);
    CHECK(asking::most_within(at, 1'000) <= 12);
}
