// SPDX-License-Identifier: BSL-1.0
// Hundreds of whole devices come back at once to an authority that can take a few exchanges a second.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <syncline/core/random.hpp>

#include "replica/world.hpp"
#include "support/catch.hpp"
#include "support/sanitized.hpp"

using namespace world;

namespace {

// Fewer where nothing is optimised: it is the same storm, and ten times as slow.
constexpr std::size_t herd_size = sanitized ? 50 : optimised ? 300 : 100;
constexpr milliseconds service{50};          // an exchange keeps the authority busy for so long: 20 a second
constexpr std::size_t queue_max = 10;        // more than so many under way are turned away
constexpr milliseconds outage{120'000};      // nothing is answered before
constexpr milliseconds patience{3'600'000};  // by when all must be over

struct member {
    device self;
    session<memory_storage, syncline::random_generator> link;
    std::optional<monotonic_time> wake{};
    bytes request{};
    bool under_way = false;
    bool waiting = true;  ///< has something to send or to fetch

    member(std::uint64_t seed, session_options const& o)
        : self(seed), link(self.store, self.self, syncline::random_generator{seed + 1}, o) {}
};

struct outcome {
    std::size_t attempts = 0;  ///< requests that reached the authority's door after the outage
    std::size_t served = 0;    ///< of these, those that were answered
    std::size_t refused = 0;   ///< requests that got no answer, in the outage and after
    std::size_t crowd = 0;     ///< most requests within one second after the outage
    milliseconds drained{};    ///< after the outage, until every write was decided
};

/// Plays it: all have written offline, and all begin at the first moment. In the outage each request fails like that.
outcome play(session_options const& options, std::uint64_t seed, errc in_outage = errc::throttled) {
    virtual_clock clock;
    cloud home(clock.now);
    std::vector<std::unique_ptr<member>> herd;
    for (std::size_t i = 0; i < herd_size; ++i) {
        herd.push_back(std::make_unique<member>(seed + 1'000 * i, options));
        device& d = herd.back()->self;
        REQUIRE(open(d, clock.now));
        for (int n = 0; n < 3; ++n) {
            record_key const k{"things", "d" + std::to_string(i) + "." + std::to_string(n)};
            REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, k, fields({{"count", n}}), clock.now); }));
        }
        herd.back()->wake = clock.now.monotonic;
    }
    monotonic_time const begin = clock.now.monotonic;
    monotonic_time const open_at = begin + outage;
    std::vector<std::pair<monotonic_time, std::size_t>> busy;  // what is being served, by when it is done
    std::vector<std::size_t> per_second(static_cast<std::size_t>(patience.count() / 1'000) + 2);
    outcome out;

    auto const turn = [&](std::size_t who, session_input const& in) {
        member& m = *herd[who];
        (void)m.self.write([&](auto& tx) { return m.link.handle(in, tx, clock.now); });
        for (;;) {
            auto const next = m.link.poll(clock.now);
            REQUIRE(next);
            if (auto const* send = std::get_if<transmit>(&*next)) {
                m.request = to_bytes(send->message);
                m.under_way = true;
            } else if (auto const* wait = std::get_if<wait_until>(&*next)) {
                if (wait->paused || !wait->deadline) { FAIL("waits for ever"); }
                m.wake = wait->deadline;
                return;
            }
        }
    };
    // The door: answers later, or at once that it can't.
    auto const arrive = [&](std::size_t who) {
        member& m = *herd[who];
        m.under_way = false;
        if (clock.now.monotonic >= open_at) {
            ++out.attempts;
            auto& n = per_second[static_cast<std::size_t>((clock.now.monotonic - open_at).count() / 1'000)];
            out.crowd = (std::max)(out.crowd, ++n);
            if (busy.size() < queue_max) {
                auto const from = busy.empty() ? clock.now.monotonic : busy.back().first;
                busy.emplace_back((std::max)(from, clock.now.monotonic) + service, who);
                return;
            }
        }
        ++out.refused;
        bool const over = clock.now.monotonic >= open_at;
        turn(who, failed{{over ? errc::throttled : in_outage, "too many at once"}, {}});
    };

    for (;;) {
        if (clock.now.monotonic - begin >= outage + patience) { FAIL("not all was decided in time"); }
        if (std::none_of(herd.begin(), herd.end(), [](auto const& m) { return m->waiting; })) { break; }
        // The next moment at which anything happens.
        monotonic_time next = busy.empty() ? monotonic_time::max() : busy.front().first;
        for (auto const& m : herd) { next = (std::min)(next, *m->wake); }
        clock.pass((std::max)(milliseconds{0}, next - clock.now.monotonic).count());
        while (!busy.empty() && busy.front().first <= clock.now.monotonic) {
            std::size_t const who = busy.front().second;
            busy.erase(busy.begin());
            ++out.served;
            auto const reply = home.answer(herd[who]->request, clock.now);
            REQUIRE(reply);
            turn(who, received{*reply});
            device& d = herd[who]->self;
            herd[who]->waiting = *d.read([&](auto& tx) { return d.self.work_left(tx, clock.now); });
            if (herd[who]->under_way) { arrive(who); }
        }
        for (std::size_t who = 0; who < herd.size(); ++who) {
            if (*herd[who]->wake > clock.now.monotonic) { continue; }
            turn(who, tick{});
            if (herd[who]->under_way) { arrive(who); }
        }
    }
    out.drained = clock.now.monotonic - open_at;
    REQUIRE(confirmed(home).size() == herd_size * 3);
    return out;
}

}  // namespace

TEST_CASE("a herd of whole devices: all is decided, and nobody storms the door", "[replica]") {
    session_options options;
    SECTION("backoff alone") {
        outcome const o = play(options, 11);
        CAPTURE(o.attempts, o.served, o.refused, o.crowd, o.drained.count());
        REQUIRE(o.attempts * 100 <= o.served * 105);
        REQUIRE(o.refused <= herd_size * 14);
        REQUIRE(o.crowd <= herd_size / 10);
        REQUIRE(o.drained <= outage);
    }
    SECTION("a whole policy") {
        options.retry = retry_policy_options{};
        outcome const o = play(options, 12);
        CAPTURE(o.attempts, o.served, o.refused, o.crowd, o.drained.count());
        REQUIRE(o.attempts * 100 <= o.served * 105);
        REQUIRE(o.refused <= herd_size * 3);
        REQUIRE(o.crowd <= herd_size / 10);
        // The second refusal below the budget's threshold waits four to six minutes, whatever the outage's length.
        REQUIRE(o.drained >= retry_budget_options{}.wait_min - outage);
        REQUIRE(o.drained <= 3 * outage);
    }
    SECTION("a whole policy, and in the outage nobody gets there: that costs the budget nothing") {
        options.retry = retry_policy_options{};
        outcome const o = play(options, 12, errc::unreachable);
        CAPTURE(o.attempts, o.served, o.refused, o.crowd, o.drained.count());
        REQUIRE(o.attempts * 100 <= o.served * 105);
        REQUIRE(o.crowd <= herd_size / 10);
        REQUIRE(o.drained <= outage);
    }
    SECTION("a whole policy whose budget waits a minute") {
        options.retry = retry_policy_options{};
        options.retry->budget.wait_min = milliseconds{60'000};
        outcome const o = play(options, 12);
        CAPTURE(o.attempts, o.served, o.refused, o.crowd, o.drained.count());
        REQUIRE(o.attempts * 100 <= o.served * 105);
        REQUIRE(o.refused <= herd_size * 4);
        REQUIRE(o.drained <= outage);
    }
}
