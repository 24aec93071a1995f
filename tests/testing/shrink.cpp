// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <set>

#include <syncline/core/random.hpp>
#include <syncline/testing/shrink.hpp>

using namespace syncline;

namespace {

std::vector<int> numbers(int n) {
    std::vector<int> out;
    for (int i = 0; i < n; ++i) { out.push_back(i); }
    return out;
}

}  // namespace

TEST_CASE("what a failure takes is found, whatever it is, in order and with nothing to spare") {
    random_generator dice{1};
    for (int round = 0; round < 200; ++round) {
        int const n = 1 + static_cast<int>(below(dice, 60));
        std::set<int> needed;
        for (std::uint64_t k = below(dice, 5); k > 0; --k) {
            needed.insert(static_cast<int>(below(dice, static_cast<std::uint64_t>(n))));
        }
        auto const fails = [&](std::vector<int> const& parts) {
            return std::includes(parts.begin(), parts.end(), needed.begin(), needed.end());
        };
        auto const small = testing::shrink(numbers(n), fails);
        CHECK(small.smallest);
        CHECK(small.parts == std::vector<int>(needed.begin(), needed.end()));
    }
}

TEST_CASE("shrinking keeps to its bound, and leaves what does not fail as it is") {
    std::size_t calls = 0;
    auto const many = [&](std::vector<int> const& parts) {
        ++calls;
        return parts.size() >= 40;  // any forty of them: every single one can be left out in turn
    };
    auto const cut = testing::shrink(numbers(100), many, 7);
    CHECK(cut.tries == 7);
    CHECK(calls == 7);
    CHECK_FALSE(cut.smallest);
    CHECK(cut.parts.size() >= 40);
    CHECK(testing::shrink(numbers(100), many).parts.size() == 40);

    auto const never = testing::shrink(numbers(5), [](std::vector<int> const&) { return false; });
    CHECK(never.parts == numbers(5));
    CHECK(never.tries == 1);
}
