// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/replica/event.hpp>

using namespace syncline;

namespace {

event_batch sample() {
    event_batch b;
    b.add_change({"guests", "a"}, false);
    b.add_change({"guests", "b"}, true);
    verdict v;
    v.sequence = 3;
    v.kind = verdict_kind::rejected;
    v.reason = errc::rejected;
    v.text = "voll";
    b.add_verdict({"guests", "c"}, v);
    b.add_reincarnation();
    b.add_regress({3, 1'000});
    b.add_eviction({"guests", "d"});
    return b;
}
std::vector<event> all(bytes_view stored) {
    std::vector<event> out;
    REQUIRE(event_batch::read(stored, [&](event const& e) {
        out.push_back(e);
        return true;
    }));
    return out;
}

}  // namespace

TEST_CASE("a batch of events gives back what was put in, in order") {
    CHECK(event_batch{}.empty());
    CHECK(sample().changed() == 3);
    auto const events = all(sample().encode());
    REQUIRE(events.size() == 6);
    CHECK(events[0].kind == event_kind::changed);
    CHECK(events[0].record == record_key{"guests", "a"});
    CHECK(events[1].kind == event_kind::removed);
    CHECK(events[2].kind == event_kind::decided);
    CHECK(events[2].said.text == "voll");
    CHECK(events[3].kind == event_kind::reincarnated);
    CHECK(events[4].kind == event_kind::regressed);
    CHECK(events[4].lost == lost_work{3, 1'000});
    CHECK(events[5].kind == event_kind::evicted);
    CHECK(events[5].record == record_key{"guests", "d"});
}

TEST_CASE("a visitor may stop") {
    std::size_t seen = 0;
    CHECK(event_batch::read(sample().encode(), [&](event const&) { return ++seen < 2; }));
    CHECK(seen == 2);
}

TEST_CASE("a batch is read on from wherever a reader stopped") {
    bytes const stored = sample().encode();
    auto const whole = all(stored);
    for (std::size_t most = 1; most <= 8; ++most) {
        event_place at;
        std::vector<event> out;
        for (;;) {
            std::size_t const had = out.size();
            auto const ended = event_batch::read_on(stored, at, most, out);
            REQUIRE(ended);
            CHECK(out.size() - had <= most);
            CHECK(at.index == out.size());
            CHECK(*ended == (out.size() == whole.size()));
            if (*ended) { break; }
        }
        CHECK(out == whole);
        CHECK(at.offset == stored.size());
    }
    event_place beyond{1, stored.size() + 1};
    std::vector<event> none;
    CHECK(event_batch::read_on(stored, beyond, 1, none).error() == errc::corrupt);
}

TEST_CASE("what comes before a damage is read on, as a visitor has it") {
    bytes const good = sample().encode();
    random_generator dice{10};
    std::size_t damaged = 0;
    for (int i = 0; i < 10'000; ++i) {
        bytes bad = good;
        bad[dice() % bad.size()] = static_cast<std::byte>(dice());
        if (dice() % 4 == 0) { bad.resize(dice() % bad.size()); }
        std::vector<event> visited;
        status const whole = event_batch::read(bad, [&](event const& e) {
            visited.push_back(e);
            return true;
        });
        event_place at;
        std::vector<event> out;
        result<bool> ended = false;
        std::size_t const most = 1 + dice() % 3;
        while (ended && !*ended) { ended = event_batch::read_on(bad, at, most, out); }
        CHECK(out == visited);
        CHECK(ended.has_value() == whole.has_value());
        damaged += whole ? 0 : 1;
    }
    CHECK(damaged > 1'000);
}

TEST_CASE("a damaged batch is an error, never anything else") {
    bytes const good = sample().encode();
    for (std::size_t n = 0; n < good.size(); ++n) {
        CHECK(event_batch::read(bytes_view{good}.first(n), [](event const&) { return true; }).error() == errc::corrupt);
    }
    random_generator dice{9};
    for (int i = 0; i < 10'000; ++i) {
        bytes bad = good;
        bad[dice() % bad.size()] = static_cast<std::byte>(dice());
        status const read = event_batch::read(bad, [](event const&) { return true; });
        CHECK((read || read.error() == errc::corrupt));
    }
}
