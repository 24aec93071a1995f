// SPDX-License-Identifier: BSL-1.0
#include <syncline/transport/fifo.hpp>

#include <deque>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

TEST_CASE("fifo: over random operations it is a deque") {
    random_generator g(1);
    detail::fifo<int> f;
    std::deque<int> model;
    for (int i = 0; i < 20'000; ++i) {
        auto const what = below(g, 201);
        if (what < (i / 1000 % 2 == 0 ? 120 : 80)) {
            f.push(i);
            model.push_back(i);
        } else if (what == 200) {
            f.clear();
            model.clear();
        } else if (!model.empty()) {
            CHECK(f.pop() == model.front());
            model.pop_front();
        }
        CHECK(f.size() == model.size());
        CHECK(f.empty() == model.empty());
        if (i % 100 == 0) {
            CHECK(std::vector<int>(f.begin(), f.end()) == std::vector<int>(model.begin(), model.end()));
        }
    }
}
