// SPDX-License-Identifier: BSL-1.0
#include <syncline/core/result.hpp>

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace {

using syncline::errc;
using syncline::failure;
using syncline::result;
using syncline::status;

/// Counts the living, so that a lost or doubled destruction shows.
struct counted {
    static inline int alive = 0;
    int n = 0;
    explicit counted(int m) : n(m) { ++alive; }
    counted(counted const& o) : n(o.n) { ++alive; }
    counted(counted&& o) noexcept : n(std::exchange(o.n, -1)) { ++alive; }
    counted& operator=(counted const&) = delete;
    ~counted() { --alive; }
};

static_assert(!std::is_convertible_v<result<int>, bool>, "a result is asked on purpose");
static_assert(std::is_nothrow_move_constructible_v<result<std::string>>);
static_assert(!std::is_copy_constructible_v<result<std::unique_ptr<int>>>);
static_assert(*result<int>{7} == 7 && !result<int>{errc::busy});

TEST_CASE("a result holds a value or a failure") {
    result<std::string> const good = std::string{"yes"};
    REQUIRE(good.has_value());
    CHECK(*good == "yes");
    CHECK(good->size() == 3);
    CHECK(good.value_or("no") == "yes");

    result<std::string> const bad = failure{errc::corrupt, "page", 11};
    REQUIRE_FALSE(bad);
    CHECK(bad.error() == errc::corrupt);
    CHECK(std::string{bad.error().detail} == "page");
    CHECK(bad.error().native == 11);
    CHECK(bad.value_or("no") == "no");
}

TEST_CASE("what a value can be made of makes a result") {
    result<std::optional<int>> const some = 3;
    CHECK(**some == 3);
    result<std::vector<int>> moved = std::vector<int>{1, 2};
    CHECK((std::move(moved).value_or(std::vector<int>{}) == std::vector<int>{1, 2}));
    result<std::unique_ptr<int>> owner = std::make_unique<int>(5);
    std::unique_ptr<int> const taken = *std::move(owner);
    CHECK(*taken == 5);
}

TEST_CASE("failures are equal when their codes are") {
    CHECK(failure{errc::limit, "a"} == failure{errc::limit, "b", 3});
    CHECK_FALSE(failure{errc::limit} == failure{errc::busy});
}

TEST_CASE("every assignment between values and failures destroys what was there, once") {
    for (int from = 0; from < 2; ++from) {
        for (int to = 0; to < 2; ++to) {
            for (int how = 0; how < 3; ++how) {
                {
                    auto const make = [](int kind) {
                        return kind == 0 ? result<counted>{counted{1}} : result<counted>{errc::busy};
                    };
                    result<counted> target = make(to);
                    result<counted> source = make(from);
                    if (how == 0) {
                        target = source;
                    } else if (how == 1) {
                        target = std::move(source);
                    } else {
                        result<counted> const& itself = target;
                        target = itself;
                        CHECK(target.has_value() == (to == 0));
                        continue;
                    }
                    REQUIRE(target.has_value() == (from == 0));
                    if (from == 0) { CHECK(target->n == 1); }
                    if (from == 1) { CHECK(target.error() == errc::busy); }
                }
                CHECK(counted::alive == 0);
            }
        }
    }
    CHECK(counted::alive == 0);
}

TEST_CASE("a status is success or a failure") {
    status const good;
    CHECK(good.has_value());
    status const bad = errc::read_only;
    REQUIRE_FALSE(bad);
    CHECK(bad.error() == errc::read_only);
}

}  // namespace
