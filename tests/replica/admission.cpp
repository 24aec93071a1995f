// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/admission.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <syncline/core/random.hpp>

namespace {

using namespace syncline;

monotonic_time at(std::int64_t ms) { return monotonic_time{milliseconds{ms}}; }

struct taken {
    std::int64_t when = 0;
    std::uint64_t kilobytes = 0;
};

}  // namespace

TEST_CASE("in no span of time does a principal have more than its budget", "[replica][admission]") {
    admission_options o;
    o.requests = {3, milliseconds{1'000}, 5};
    o.kilobytes = {10, milliseconds{1'000}, 40};
    o.busy_from = 8;
    o.busy_max = 8;
    syncline::random_generator random{7};
    admission door{o};
    std::array<std::string, 3> const who{"anna", "ben", "cas"};
    std::array<std::vector<taken>, 3> let_in;
    std::size_t refused = 0;
    std::size_t promised = 0;
    std::int64_t now = 0;
    for (int i = 0; i < 6'000; ++i) {
        now += static_cast<std::int64_t>(random() % 120);
        std::size_t const p = static_cast<std::size_t>(random() % 3);
        std::size_t const size = static_cast<std::size_t>(random() % 12'000);
        auto const wait = door.admit(who[p], size, 0, at(now), random);
        std::uint64_t const kilobytes = (size + 1'023) / 1'024;
        if (wait.count() == 0) {
            let_in[p].push_back({now, kilobytes});
            continue;
        }
        ++refused;
        // Who waits as long as was said is let in by that budget: the same at once, on a copy of the door.
        admission later = door;
        auto again = later.admit(who[p], size, 0, at(now + wait.count()), random);
        for (int tries = 0; again.count() != 0 && tries < 2; ++tries) {
            again = later.admit(who[p], size, 0, at(now + wait.count() + again.count()), random);
        }
        CHECK(again.count() == 0);
        promised += again.count() == 0 ? 1 : 0;
    }
    CHECK(refused > 1'000);
    CHECK(promised == refused);
    for (auto const& all : let_in) {
        REQUIRE(all.size() > 100);
        for (std::size_t from = 0; from < all.size(); from += 7) {
            std::uint64_t kilobytes = 0;
            for (std::size_t to = from; to < all.size() && to < from + 200; ++to) {
                kilobytes += all[to].kilobytes;
                std::int64_t const span = all[to].when - all[from].when;
                CHECK(static_cast<std::int64_t>(to - from + 1) * 1'000 <= 5 * 1'000 + span * 3);
                CHECK(static_cast<std::int64_t>(kilobytes) * 1'000 <= 40 * 1'000 + span * 10);
            }
        }
    }
}

TEST_CASE("a request larger than the burst is let in all the same, by a full budget", "[replica][admission]") {
    admission_options o;
    o.kilobytes = {10, milliseconds{1'000}, 40};
    syncline::random_generator random{7};
    admission door{o};
    CHECK(door.admit("anna", std::size_t{1} << 30, 0, at(0), random).count() == 0);
    CHECK(door.admit("anna", 1, 0, at(0), random).count() == 100);
    CHECK(door.admit("ben", 1, 0, at(0), random).count() == 0);
}

TEST_CASE("under load who has asked for little goes first, and beyond it nobody", "[replica][admission]") {
    admission_options o;
    o.requests = {1, milliseconds{1'000}, 10};
    o.busy_from = 4;
    o.busy_max = 6;
    syncline::random_generator random{7};
    admission door{o};
    for (int i = 0; i < 8; ++i) { CHECK(door.admit("greedy", 1, 0, at(0), random).count() == 0); }
    for (std::size_t in_work = 0; in_work < 8; ++in_work) {
        admission here = door;
        CHECK((here.admit("greedy", 1, in_work, at(0), random).count() == 0) == (in_work < o.busy_from));
        CHECK((here.admit("modest", 1, in_work, at(0), random).count() == 0) == (in_work < o.busy_max));
    }
    // Who is turned away comes back spread over half of the wait.
    std::int64_t least = 1'000'000;
    std::int64_t most = 0;
    for (int i = 0; i < 1'000; ++i) {
        auto const wait = door.admit("modest", 1, 6, at(0), random).count();
        least = (std::min)(least, std::int64_t{wait});
        most = (std::max)(most, std::int64_t{wait});
    }
    CHECK(least >= 1'000);
    CHECK(least < 1'050);
    CHECK(most <= 2'000);
    CHECK(most > 1'950);
    // Nothing was counted: it is let in as if it had not come.
    CHECK(door.admit("modest", 1, 0, at(0), random).count() == 0);
}

TEST_CASE("who owes nothing is forgotten, and memory is bounded", "[replica][admission]") {
    admission_options o;
    o.requests = {1, milliseconds{1'000}, 10};
    o.principals_max = 50;
    syncline::random_generator random{7};
    admission door{o};
    for (int i = 0; i < 50; ++i) { CHECK(door.admit(std::to_string(i), 1, 0, at(0), random).count() == 0); }
    CHECK(door.admit("late", 1, 0, at(10), random).count() != 0);
    CHECK(door.principals() == 50);
    CHECK(door.admit("7", 1, 0, at(10), random).count() == 0);  // who is known goes on
    CHECK(door.admit("late", 1, 0, at(1'500), random).count() == 0);
    CHECK(door.principals() == 2);  // one of them owes still
    for (std::int64_t t = 0; t < 200; ++t) {
        (void)door.admit("x" + std::to_string(t), 1, 0, at(2'000 + t * 100), random);
        CHECK(door.principals() <= 50);
    }
}

TEST_CASE("options that can't be", "[replica][admission]") {
    CHECK(valid(admission_options{}));
    admission_options o;
    o.busy_max = o.busy_from - 1;
    CHECK_FALSE(valid(o));
    o = {};
    o.shed_wait = milliseconds{0};
    CHECK_FALSE(valid(o));
    o = {};
    o.principals_max = 0;
    CHECK_FALSE(valid(o));
}
