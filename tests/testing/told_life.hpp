// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Lives that break a promise: found, shrunk, and told as docs/testing.md quotes one.

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>

#include <syncline/testing/simulated_disk.hpp>

#include "support/catch.hpp"

namespace told_life {

/// That a life is the same each time, and another seed's another.
template <class Options, class Simulate>
void check_repeats(Simulate&& simulate) {
    Options o;
    o.steps = 60;
    CHECK(simulate(3, o).trace == simulate(3, o).trace);
    CHECK(simulate(3, o).trace != simulate(4, o).trace);
}

/// That a life can be told without being changed, and lived again in part. In `idle` of its steps there may be nothing to
/// do, so nothing to tell.
template <class Options, class Simulate>
void check_told(Simulate&& simulate, std::size_t idle = 0) {
    Options o;
    o.steps = 60;
    auto const whole = simulate(3, o);
    o.tell = true;
    auto const told = simulate(3, o);
    CHECK(told.trace == whole.trace);
    CHECK(told.story.size() + idle > o.steps);
    o.only = {{1, 5, 6, 7, 20, 21, 22, 23, 24, 25}};
    auto const part = simulate(3, o);
    CHECK(to_text(part.found) == "");
    CHECK(part.story.size() < told.story.size());
    CHECK(simulate(3, o).story == part.story);
}

/// The first life that breaks that promise, of some hundred; `simulate(seed)` lives one.
template <class Simulate>
[[nodiscard]] auto first_failure(std::string const& promise, Simulate&& simulate) {
    for (std::uint64_t seed = 1; seed <= 400; ++seed) {
        auto failed = simulate(seed);
        if (!failed.found.empty() && failed.found[0].axiom == promise) { return failed; }
    }
    return decltype(simulate(1)){};
}

/// That the steps of `few` break what `failed` broke first, and that none of them can be left out.
template <class Simulate, class Report, class Options>
void check_smallest(Report const& failed, Options const& few, Simulate&& simulate) {
    auto const breaks = [&](Options const& o) {
        auto const r = simulate(failed.seed, o);
        return !r.found.empty() && r.found[0].axiom == failed.found[0].axiom;
    };
    CHECK(breaks(few));
    for (std::size_t i = 0; i < few.only->size(); ++i) {
        Options fewer = few;
        fewer.only->erase(fewer.only->begin() + static_cast<std::ptrdiff_t>(i));
        CHECK_FALSE(breaks(fewer));
    }
}

/// That each disk that lies about power cuts is found among the first `seed_max` lives, in at most `steps_max` steps.
template <class Options, class Simulate, class Shrink>
void check_lies(std::string const& promise, std::uint64_t seed_max, std::size_t steps_max, Simulate&& simulate,
                Shrink&& shrink) {
    using syncline::testing::disk_lie;
    for (disk_lie const lie : {disk_lie::forgets_synced, disk_lie::tears_commits}) {
        Options o;
        o.lie = lie;
        auto const failed = first_failure(promise, [&](std::uint64_t seed) { return simulate(seed, o); });
        REQUIRE(!failed.found.empty());
        CHECK(failed.seed <= seed_max);
        Options const few = shrink(failed, o, 1'000);
        CHECK(few.only->size() <= steps_max);
        check_smallest(failed, few, simulate);
    }
}

/// That the story, without what is before the first step, is the one in a file.
template <class Simulate, class Report, class Options>
void check_story(char const* file, Report const& failed, Options few, Simulate&& simulate) {
    few.tell = true;
    std::string text = "seed " + std::to_string(failed.seed) + ": " + failed.found[0].axiom + "\n" +
                       std::to_string(failed.steps) + " steps, shrunk to " + std::to_string(few.only->size()) + ":\n";
    for (std::string const& line : simulate(failed.seed, few).story) {
        if (line.rfind("0 ", 0) != 0) { text += "  " + line + "\n"; }
    }
    std::ifstream in(file);
    std::string const kept{std::istreambuf_iterator<char>{in}, {}};
    CHECK(text == kept);
}

}  // namespace told_life
