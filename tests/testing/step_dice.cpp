// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/step_dice.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/testing/violation.hpp>

#include "support/catch.hpp"

using namespace syncline;
using namespace syncline::testing;

namespace {

/// Each step throws dice; what it breaks shows when three of them have fallen so.
struct small_options {
    std::uint32_t steps = 100;
    std::uint64_t bad = 3;  ///< so many steps of a kind are too many
    bool tell = false;
    step_choice only{};
};
struct small_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::map<std::uint64_t, std::uint64_t> thrown{};  ///< by the step's number
    std::uint64_t last = 0;                           ///< thrown after the end
    std::uint64_t checks = 0;
    std::vector<violation> found{};
    std::vector<std::string> story{};
};
class small_world : testing::detail::small_life<small_options, small_report> {
public:
    small_world(std::uint64_t seed, small_options const& o) : small_life(seed, seed, o) {}
    small_report run(step_dice& dice) {
        std::uint64_t sixes = 0;
        live(dice, [&] {
            std::uint64_t const n = draw(40);
            if (n % 2 == 0) { (void)draw(100); }  // not each step throws as often
            report_.thrown[report_.steps] = n;
            sixes += n == 6 ? 1 : 0;
            if (n == 6) { tell("a six"); }
            holds(sixes != options_.bad, "few", "sixes");
            holds(sixes != options_.bad, "fewer", "only the first breach counts");
        });
        report_.last = draw(1'000);
        return finished();
    }
};

small_report live(std::uint64_t seed, small_options const& o) {
    return testing::detail::live_life<small_world>(seed, o);
}

}  // namespace

TEST_CASE("steps that are kept have the dice that they had in the whole life, and so has what follows") {
    small_options o;
    o.bad = 1'000;
    small_report const whole = live(5, o);
    CHECK((whole.steps == 100 && whole.thrown.size() == 100));
    o.only = {2, 3, 50, 100};
    small_report const some = live(5, o);
    CHECK((some.steps == 100 && some.thrown.size() == 4 && some.last == whole.last));
    for (auto const& [step, n] : some.thrown) { CHECK(n == whole.thrown.at(step)); }
    o.only->clear();
    CHECK((live(5, o).thrown.empty() && live(5, o).last == whole.last));
    o.only = {3, 200};
    CHECK(live(5, o).thrown.size() == 1);
}

TEST_CASE("a life that breaks a promise is shrunk to the steps that it takes") {
    std::size_t failed = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        small_report const r = live(seed, {});
        if (r.found.empty()) { continue; }
        ++failed;
        small_options const few = testing::detail::shrink_life<small_world>(r, small_options{}, 1'000);
        REQUIRE(few.only->size() == 3);
        for (std::uint32_t const step : *few.only) { CHECK(r.thrown.at(step) == 6); }
        CHECK(live(seed, few).found == r.found);
        CHECK(live(seed, few).story.empty());
        small_options aloud = few;
        aloud.tell = true;
        std::string const first = std::to_string(few.only->front());
        std::string const last = std::to_string(few.only->back());
        std::string const second = std::to_string((*few.only)[1]);
        CHECK(live(seed, aloud).story == std::vector<std::string>{first + " a six", second + " a six", last + " a six",
                                                                  last + " VIOLATED few: sixes, step " + last});
        // What is shrunk already is shrunk no further, and from fewer steps.
        CHECK(testing::detail::shrink_life<small_world>(r, few, 1'000).only == few.only);
    }
    CHECK(failed > 10);
}
