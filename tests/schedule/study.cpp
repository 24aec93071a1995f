// SPDX-License-Identifier: BSL-1.0

/// The scheduler's study on a small scale: two held-out days of two personas, and a day of the host's own.

#include <sstream>

#include "../../benchmarks/studies/schedule_policies.hpp"
#include "support/catch.hpp"

using namespace schedule_study;

namespace {

template <class Fresh>
outcome on(std::vector<day> const& days, Fresh const& fresh) {
    outcome sum;
    for (day const& d : days) {
        auto policy = fresh(d);
        sum.add(live(d, policy));
    }
    return sum;
}

}  // namespace

TEST_CASE("the study: at the staleness of a fixed interval we spend less than half, and the optimum less than we") {
    for (std::size_t const who : {0U, 2U}) {
        persona const p = personas()[who];
        std::vector<day> const days{make_day(p, seeds_held_out[0]), make_day(p, seeds_held_out[1])};
        outcome const fixed = on(days, [](day const&) { return fixed_interval(30); });
        outcome const mine = on(days, [](day const&) { return ours(); });
        outcome const best = on(days, [](day const& d) { return follows(clairvoyant(d, 0.1)); });
        INFO(p.name << ": fixed " << fixed.energy << " ours " << mine.energy << " optimum " << best.energy);
        CHECK(quantile(mine.avoidable[0], 95) <= quantile(fixed.avoidable[0], 95));
        CHECK(mine.energy * 2 <= fixed.energy);
        CHECK(static_cast<double>(best.energy) + 1e5 * best.weighted <=
              static_cast<double>(mine.energy) + 1e5 * mine.weighted);
        CHECK(best.missed_needlessly == 0);
    }
}

TEST_CASE("the study: the same seed is the same day, and another seed another") {
    persona const p = personas()[1];
    day const a = make_day(p, 7), b = make_day(p, 7), c = make_day(p, 8);
    CHECK((a.links == b.links && a.items.size() == b.items.size()));
    CHECK(a.links != c.links);
}

TEST_CASE("the study: a host's own day is read, and nonsense is not") {
    std::istringstream good(
        "# a day\n0 link wifi\n60 write 0 120\n100 remote 2 300 0\n3600 link none\n7200 link lte\n7300 foreign 1\n");
    day const d = read_day(good, 1);
    REQUIRE(d.links.size() == static_cast<std::size_t>(ticks_per_day));
    CHECK(d.items.size() == 2);
    CHECK((d.links[5] == link::wifi && d.links[400] == link::none && d.links[730] == link::lte && d.foreign[731]));
    for (char const* const bad :
         {"0 link tin-can\n", "5 write 9 1\n", "100 link wifi\n50 link none\n", "x\n", "99999 link wifi\n"}) {
        std::istringstream in(bad);
        CHECK(read_day(in, 1).links.empty());
    }
}
