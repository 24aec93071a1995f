// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"
#include "support/sanitized.hpp"

#include <memory>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

record_key thing(std::uint64_t n) { return {"things", "t" + std::to_string(n)}; }

/// One seed: three devices write at random over a network that loses, doubles, reorders and replays, and
/// crash between any two steps; then the network heals. A ledger outside of them counts what was acknowledged.
void run(std::uint64_t seed) {
    syncline::random_generator dice{seed};
    auto const roll = [&](std::uint64_t n) { return dice() % n; };
    virtual_clock clock;
    cloud c{clock.now};
    std::vector<std::unique_ptr<device>> devices;
    for (std::uint64_t i = 0; i < 3; ++i) {
        replica_options options;
        options.rows_max = 1 + roll(4);  // pages and batches so narrow that they end in the middle of things
        options.mutations_max = 1 + roll(4);
        devices.push_back(std::make_unique<device>(seed * 10 + i, options));
        REQUIRE(open(*devices.back(), clock.now));
    }
    std::int64_t added = 0;                              // the ledger: increments that were acknowledged locally
    std::vector<std::pair<std::size_t, bytes>> replies;  // under way, and old ones
    std::vector<bytes> requests;
    // The counters live in records that are never deleted.
    REQUIRE(devices[0]->write([&](auto& tx) {
        return devices[0]->self.create(tx, thing(0), fields({{"count", 0}}), clock.now);
    }));
    REQUIRE(sync(*devices[0], c, clock.now));
    for (auto& d : devices) { REQUIRE(sync(*d, c, clock.now)); }

    for (int step = 0; step < 150; ++step) {
        clock.pass(static_cast<std::int64_t>(roll(5'000)));
        std::size_t const who = roll(devices.size());
        device& d = *devices[who];
        instant now = clock.now;
        now.wall += milliseconds{static_cast<std::int64_t>(roll(3)) * 60'000 *
                                 static_cast<std::int64_t>(who)};  // skewed clocks
        switch (roll(12)) {
            case 0: {
                auto const w = d.write([&](auto& tx) { return d.self.update(tx, thing(0), {add("count", 1)}, now); });
                REQUIRE(w);
                ++added;
                break;
            }
            case 1:
            case 2: {
                record_key const k = thing(1 + roll(4));
                auto const w = d.write([&](auto& tx) {
                    return d.self.put(tx, k,
                                      fields({{"name", static_cast<std::int64_t>(roll(100))},
                                              {"least", static_cast<std::int64_t>(roll(100))}}),
                                      now);
                });
                REQUIRE(w);
                break;
            }
            case 3: {
                auto const w = d.write([&](auto& tx) {
                    return d.self.update(tx, thing(1 + roll(4)), {set("ruled", static_cast<std::int64_t>(roll(9)))},
                                         now);
                });
                REQUIRE((w || w.error() == errc::not_found));
                break;
            }
            case 4: {
                auto const w = d.write([&](auto& tx) { return d.self.erase(tx, thing(1 + roll(4)), now); });
                REQUIRE((w || w.error() == errc::not_found));
                break;
            }
            case 5: {  // a transaction that the host rolls back
                auto tx = d.store.begin(access_mode::write);
                (void)d.self.update(*tx, thing(0), {add("count", 1000)}, now);
                break;
            }
            case 6:
            case 7:
            case 8: requests.push_back(request_of(d, now)); break;
            case 9: {  // deliver some request, maybe an old one, maybe twice
                if (requests.empty()) { break; }
                bytes const request = requests[roll(requests.size())];
                auto const answer = c.answer(request, clock.now);
                REQUIRE(answer);
                for (std::size_t i = 0; i < devices.size(); ++i) { replies.emplace_back(i, *answer); }
                break;
            }
            default: {  // deliver some reply, to whom it belongs or not, maybe an old one
                if (replies.empty()) { break; }
                auto const& [to, reply] = replies[roll(replies.size())];
                auto const report = absorb(*devices[to], reply, now);
                INFO((report ? "" : message(report.error().code)));
                REQUIRE((report || report.error() == errc::foreign));
                break;
            }
        }
    }
    for (int round = 0; round < 3; ++round) {
        for (auto& d : devices) {
            clock.pass(1'000);
            auto const report = sync(*d, c, clock.now);
            INFO((report ? "" : message(report.error().code)));
            REQUIRE(report);
        }
    }
    auto const truth = confirmed(c);
    CHECK(field(truth.at("t0"), "count") == added);
    for (auto& d : devices) {
        CHECK(visible(*d) == truth);
        auto const left = d->read([&](auto& tx) { return d->self.queue().summary(tx); });
        REQUIRE(left);
        CHECK(left->entries == 0);
        // At rest nothing but records, counters and state is stored: no base, no decided mutation is left behind.
        auto tx = d->store.begin(access_mode::read);
        REQUIRE(scan_prefix(*tx, as_bytes("rb"), [](bytes_view, bytes_view) {
            FAIL("a base left behind");
            return true;
        }));
        REQUIRE(scan_prefix(*tx, as_bytes("rh"), [](bytes_view, bytes_view) {
            FAIL("a decided mutation left behind");
            return true;
        }));
        REQUIRE(scan_prefix(*tx, as_bytes("rf"), [](bytes_view, bytes_view) {
            FAIL("a frozen mutation left behind");
            return true;
        }));
    }
}

}  // namespace

TEST_CASE("replicas converge to the authority's bytes, every increment counted once, whatever the network does") {
    for (std::uint64_t seed = 1; seed <= rounds(300U); ++seed) {
        INFO("seed " << seed);
        run(seed);
    }
}
