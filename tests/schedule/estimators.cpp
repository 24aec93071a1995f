// SPDX-License-Identifier: BSL-1.0

/// Each estimator against a naive model, and its stored form against hostile bytes.

#include <syncline/schedule/estimators.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

template <class E>
std::array<std::byte, E::state_size> stored(E const& e) {
    detail::state_writer<E::state_size> out;
    e.put(out);
    return out.done();
}
template <class E>
bool reads(E& e, bytes_view b) {
    detail::state_reader in(b);
    e.take(in);
    return in.done();
}
template <class E>
void comes_back(E const& e) {
    E again;
    REQUIRE(reads(again, stored(e)));
    REQUIRE(again == e);
}

static_assert(std::regular<moving_average> && std::regular<windowed_quantile> && std::regular<round_trip_estimator> &&
              std::regular<success_rate> && std::regular<hourly_habit> && std::regular<adapted_size>);

// 1 January 1970 was a Thursday, 5 January a Monday.
static_assert(hour_of_week(wall_time{}) == 72);
static_assert(hour_of_week(wall_time{milliseconds{4 * 86'400'000LL}}) == 0);
static_assert(hour_of_week(wall_time{milliseconds{-1}}) == 71);
static_assert(hour_of_week(wall_time{milliseconds{-73 * 3'600'000LL}}) == 167);

}  // namespace

TEST_CASE("a moving average follows an average in floating point") {
    random_generator g(1);
    moving_average a;
    CHECK_FALSE(a.value());
    double model = 0;
    for (int i = 0; i < 2000; ++i) {
        auto const x = static_cast<std::uint32_t>(below(g, i % 100 == 0 ? 4'000'000'000U : 10'000));
        a.sampled(x);
        model = i == 0 ? x : model + (x - model) / 8;
        REQUIRE(a.value());
        REQUIRE(std::abs(static_cast<double>(*a.value()) - model) <= 2);
        comes_back(a);
    }
    a.sampled(0xFFFFFFFF);
    for (int i = 0; i < 400; ++i) { a.sampled(0); }
    CHECK(a.value() == 0U);
    CHECK(a.known());
}

TEST_CASE("windowed quantiles are those of the last sixteen samples") {
    random_generator g(2);
    windowed_quantile q;
    CHECK_FALSE(q.at(500));
    std::vector<std::uint32_t> all;
    for (int i = 0; i < 500; ++i) {
        auto const x = static_cast<std::uint32_t>(below(g, 50));
        q.sampled(x);
        all.push_back(x);
        std::vector<std::uint32_t> late(all.end() - static_cast<std::ptrdiff_t>(std::min<std::size_t>(all.size(), 16)),
                                        all.end());
        std::sort(late.begin(), late.end());
        for (std::uint32_t const p : {0U, 1U, 250U, 500U, 950U, 1000U}) {
            auto const rank = static_cast<std::size_t>(std::ceil(static_cast<double>(late.size()) * p / 1000));
            REQUIRE(q.at(p) == late[rank == 0 ? 0 : rank - 1]);
        }
        comes_back(q);
    }
}

TEST_CASE("the round trip and its variation are those of RFC 6298") {
    random_generator g(3);
    round_trip_estimator r;
    CHECK_FALSE(r.timeout());
    double srtt = 0, rttvar = 0;
    for (int i = 0; i < 2000; ++i) {
        auto const x = static_cast<std::int64_t>(20 + below(g, 400));
        r.sampled(milliseconds{x});
        if (i == 0) {
            srtt = static_cast<double>(x);
            rttvar = static_cast<double>(x) / 2;
        } else {
            rttvar += (std::abs(srtt - static_cast<double>(x)) - rttvar) / 4;
            srtt += (static_cast<double>(x) - srtt) / 8;
        }
        REQUIRE(std::abs(static_cast<double>(r.smoothed()->count()) - srtt) <= 2);
        REQUIRE(std::abs(static_cast<double>(r.timeout()->count()) - (srtt + 4 * rttvar)) <= 10);
        comes_back(r);
    }
    for (milliseconds const odd : {milliseconds{-5}, milliseconds{0}, (milliseconds::max)()}) {
        r.sampled(odd);
        comes_back(r);
    }
}

TEST_CASE("a success rate is a plain average first and forgets later") {
    success_rate s;
    CHECK_FALSE(s.per_mille());
    int good = 0;
    for (int i = 1; i <= 16; ++i) {
        s.sampled(i % 3 != 0);
        good += i % 3 != 0 ? 1 : 0;
        REQUIRE(std::abs(static_cast<int>(*s.per_mille()) - good * 1000 / i) <= 2);
        comes_back(s);
    }
    for (int i = 0; i < 200; ++i) { s.sampled(false); }
    CHECK(*s.per_mille() == 0);
    for (int i = 0; i < 400; ++i) { s.sampled(true); }
    CHECK(*s.per_mille() >= 995);
}

TEST_CASE("an hour's habit is learned over weeks, and its like lends it what isn't known") {
    hourly_habit h;
    CHECK_FALSE(h.per_mille(9));
    h.learned(9, 1000);  // Monday, nine
    CHECK(h.per_mille(9) == 1000U);
    CHECK(h.per_mille(9 + 24) == 1000U);  // Tuesday's nine, lent
    CHECK_FALSE(h.per_mille(10));
    h.learned(9 + 24, 0);
    CHECK(h.per_mille(9 + 48) == 498U);
    for (int i = 0; i < 3; ++i) { h.learned(9, 1000); }
    CHECK(h.per_mille(9) == 1000U);
    CHECK(h.weeks(9) == 4);
    for (int week = 0; week < 40; ++week) { h.learned(9, 0); }
    CHECK(h.per_mille(9) == 0U);  // what no longer holds is forgotten wholly
    for (int week = 0; week < 300; ++week) { h.learned(9, 700); }
    CHECK(h.weeks(9) == 255);
    CHECK(std::abs(static_cast<int>(*h.per_mille(9)) - 700) <= 10);
    comes_back(h);
}

TEST_CASE("sizes grow by addition, shrink by halves, and keep their limits") {
    adapted_size s;
    CHECK(s.size(25, 100) == 25);
    for (int i = 0; i < 8; ++i) { s.good(25, 100); }
    CHECK(s.size(25, 100) == 50);
    for (int i = 0; i < 100; ++i) { s.good(25, 100); }
    CHECK(s.size(25, 100) == 100);
    s.bad(25, 100);
    CHECK(s.size(25, 100) == 50);
    for (int i = 0; i < 20; ++i) { s.bad(25, 100); }
    CHECK(s.size(25, 100) == 1);
    comes_back(s);
    for (int i = 0; i < 4; ++i) { s.good(1, 4); }
    CHECK(s.size(1, 4) == 2);
}

TEST_CASE("bytes that no estimator writes are refused") {
    windowed_quantile q;
    auto raw = stored(q);
    raw[0] = std::byte{17};  // more samples than the window has
    CHECK_FALSE(reads(q, raw));
    raw = stored(windowed_quantile{});
    raw[1] = std::byte{3};  // a place that the count doesn't allow
    CHECK_FALSE(reads(q, raw));
    success_rate s;
    std::array<std::byte, 4> unsampled{std::byte{1}, std::byte{0}, std::byte{0}, std::byte{0}};
    CHECK_FALSE(reads(s, unsampled));
    adapted_size a;
    std::array<std::byte, 4> below_one{std::byte{0}, std::byte{0}, std::byte{0}, std::byte{255}};
    CHECK_FALSE(reads(a, below_one));
    moving_average m;
    std::array<std::byte, 8> huge{std::byte{255}};
    CHECK_FALSE(reads(m, huge));
    CHECK_FALSE(reads(m, bytes_view(huge).first(7)));
}
