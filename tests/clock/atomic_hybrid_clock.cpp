// SPDX-License-Identifier: BSL-1.0

/// The shared clock: the value's rules step by step, and no stamp twice between threads. Run under ThreadSanitizer.

#include <syncline/clock/atomic_hybrid_clock.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

namespace sl = syncline;
using sl::milliseconds;
using sl::timestamp;
using sl::wall_time;

namespace {

static_assert(!std::is_copy_constructible_v<sl::atomic_hybrid_clock>);
constexpr wall_time at(std::int64_t ms) { return wall_time{milliseconds{ms}}; }
constexpr std::int64_t today = 1'750'000'000'000;
constinit sl::atomic_hybrid_clock global_clock;  // no initialisation order to get wrong

}  // namespace

TEST_CASE("On one thread it is the hybrid clock", "[clock]") {
    sl::random_generator g(1);
    sl::hybrid_clock model;
    sl::atomic_hybrid_clock c;
    for (int i = 0; i < 20'000; ++i) {
        auto const physical =
            sl::below(g, 4) == 0 ? static_cast<std::int64_t>(g()) >> sl::below(g, 40) : today + i / 10;
        if (sl::below(g, 2) == 0) {
            timestamp const remote{timestamp::make(at(physical)).raw + (g() >> (33 + sl::below(g, 20)))};
            REQUIRE(c.accept(remote, at(physical)).has_value() == model.accept(remote, at(physical)).has_value());
        } else {
            REQUIRE(c.now(at(physical)) == model.now(at(physical)));
        }
        REQUIRE(c.last() == model.last());
        REQUIRE(c.snapshot() == model);
    }
    sl::atomic_hybrid_clock last({}, timestamp{(std::numeric_limits<std::uint64_t>::max)()});
    CHECK(last.now(at(0)) == last.last());
}

TEST_CASE("Threads never share a stamp, and each sees them rise", "[clock]") {
    constexpr std::size_t threads = 4, each = 20'000;
    std::vector<std::vector<timestamp>> got(threads);
    std::vector<int> wrong(threads);
    auto const start = global_clock.last();
    {
        std::vector<std::thread> crew;
        for (std::size_t k = 0; k < threads; ++k) {
            crew.emplace_back([&, k] {
                sl::random_generator g(k);
                auto& mine = got[k];
                mine.reserve(each);
                std::int64_t physical = today;
                for (std::size_t i = 0; i < each; ++i) {
                    if (sl::below(g, 100) == 0) {
                        physical = today + static_cast<std::int64_t>(sl::below(g, 2000)) - 1000;
                    }
                    if (sl::below(g, 10) == 0) {
                        auto const remote = timestamp::make(at(physical + 10), static_cast<std::uint16_t>(g()));
                        if (!global_clock.accept(remote, at(physical)) || global_clock.last() < remote) { ++wrong[k]; }
                        if (!(global_clock.now(at(physical)) > remote)) { ++wrong[k]; }
                    }
                    mine.push_back(global_clock.now(at(physical)));
                }
            });
        }
        for (auto& t : crew) { t.join(); }
    }
    std::vector<timestamp> all;
    for (std::size_t k = 0; k < threads; ++k) {
        CHECK(wrong[k] == 0);
        CHECK(std::is_sorted(got[k].begin(), got[k].end()));
        all.insert(all.end(), got[k].begin(), got[k].end());
    }
    std::sort(all.begin(), all.end());
    CHECK(std::adjacent_find(all.begin(), all.end()) == all.end());
    CHECK(all.front() > start);
    CHECK(all.back() <= global_clock.last());
}

TEST_CASE("What another thread handed over is exceeded", "[clock]") {
    // The stamp travels through a plain variable and a join; relaxed order inside the clock is enough.
    sl::atomic_hybrid_clock c;
    timestamp before{};
    for (int i = 0; i < 200; ++i) {
        timestamp handed{};
        std::thread([&] { handed = c.now(at(today)); }).join();
        REQUIRE(handed > before);
        before = c.now(at(today - i));
        REQUIRE(before > handed);
    }
}
