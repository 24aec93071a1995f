// SPDX-License-Identifier: BSL-1.0

/// Deadlines: what is left of them, handed on, written as a timeout, and after a restart.

#include <syncline/retry/deadline.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <string>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

constexpr milliseconds ms(std::int64_t n) { return milliseconds{n}; }
constexpr monotonic_time at(std::int64_t n) { return monotonic_time{ms(n)}; }
constexpr instant both(std::int64_t wall, std::int64_t monotonic) { return {wall_time{ms(wall)}, at(monotonic)}; }

static_assert(std::regular<deadline> && sizeof(deadline) == 8);
static_assert(!deadline{}.limited() && !deadline{}.expired((monotonic_time::max)()));
static_assert(deadline{}.left(at(0)) == retry_time_max && deadline{}.allows(retry_time_max, at(0)));

constexpr deadline ten = deadline::after(ms(10), at(100));
static_assert(ten.at() == at(110) && ten.left(at(104)) == ms(6) && ten.left(at(200)) == ms(0));
static_assert(!ten.expired(at(109)) && ten.expired(at(110)) && ten.left((monotonic_time::min)()) == retry_time_max);
static_assert(ten.allows(ms(9), at(100)) && !ten.allows(ms(10), at(100)) && !ten.allows(ms(0), at(110)));
static_assert(ten.share(3, at(101)) == ms(3) && ten.share(1, at(101)) == ms(9));
static_assert(ten.hand_on(ms(4), at(101)).left(at(101)) == ms(5) && ten.hand_on(ms(99), at(101)).expired(at(101)));
static_assert(ten.hand_on(ms(-4), at(101)) == ten && deadline{}.hand_on(ms(4), at(1)) == deadline{});
static_assert(sooner(ten, deadline{}) == ten && sooner(deadline{}, ten) == ten);
static_assert(deadline::after(ms(-5), at(3)).expired(at(3)) &&
              !deadline::after(retry_time_max, (monotonic_time::max)()).limited());

}  // namespace

TEST_CASE("a timeout is written in at most eight digits and read as gRPC says") {
    CHECK(to_timeout(ms(0)) == "0m");
    CHECK(to_timeout(ms(-1)) == "0m");
    CHECK(to_timeout(ms(99'999'999)) == "99999999m");
    CHECK(to_timeout(ms(100'000'000)) == "100000S");
    CHECK(to_timeout(ms(100'000'000'000)) == "1666666M");
    CHECK(to_timeout(ms(99'999'999 * std::int64_t{60'000})) == "99999999M");
    CHECK(to_timeout(retry_time_max) == "78187493H");
    CHECK(to_timeout(milliseconds::max()) == to_timeout(retry_time_max));
    random_generator g(1);
    for (int i = 0; i < 20'000; ++i) {
        milliseconds const d{static_cast<std::int64_t>(g() >> (16 + below(g, 48)))};
        std::string const text = to_timeout(d);
        REQUIRE(text.size() <= 9);
        auto const back = parse_timeout(text);
        REQUIRE(back);
        REQUIRE(*back <= d);  // cut to the unit: never longer than it was
        REQUIRE(d - *back < (text.back() == 'm'   ? ms(1)
                             : text.back() == 'S' ? ms(1000)
                             : text.back() == 'M' ? ms(60'000)
                                                  : ms(3'600'000)));
    }
    CHECK(parse_timeout("1H") == ms(3'600'000));
    CHECK(parse_timeout("1n") == ms(1));
    CHECK(parse_timeout("1000001n") == ms(2));
    CHECK(parse_timeout("1001u") == ms(2));
    CHECK(parse_timeout("99999999H") == ms(99'999'999 * std::int64_t{3'600'000}));
    for (char const* none : {"", "m", "1", "-1m", "+1m", " 1m", "1 m", "100000000m", "1x", "1mm", "1.5S"}) {
        CHECK(!parse_timeout(none));
    }
}

TEST_CASE("a deadline survives a restart, whatever the clocks say") {
    deadline const d = deadline::after(ms(5000), at(1'000'000));
    auto const saved = to_array(d, both(70'000, 1'001'000));
    CHECK(to_hex(saved) == "010000000000000fa00000000000011170");
    constexpr std::int64_t year = 31'557'600'000;
    struct restart {
        std::int64_t wall;
        std::int64_t left;
    };
    for (restart const r : {restart{70'000, 4000}, restart{71'000, 3000}, restart{80'000, 0},
                            restart{70'000 - year, 4000}, restart{70'000 + year, 0}}) {
        deadline back;
        REQUIRE(back.restore(saved, both(r.wall, 7)));
        CHECK(back.left(at(7)) == ms(r.left));
    }
    deadline back = d;
    REQUIRE(back.restore(to_array(deadline{}, both(0, 0)), both(0, 0)));
    CHECK(back == deadline{});
    for (std::size_t n = 0; n < 30; ++n) {
        if (n != 17) { CHECK(back.restore(bytes(n), both(0, 0)).error() == errc::malformed); }
    }
    bytes odd(saved.begin(), saved.end());
    odd[0] = std::byte{0};  // none, but something is left of it
    CHECK(back.restore(odd, both(0, 0)).error() == errc::malformed);
    odd[0] = std::byte{2};
    CHECK(back.restore(odd, both(0, 0)).error() == errc::malformed);
    CHECK(back == deadline{});
}
