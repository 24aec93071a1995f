// SPDX-License-Identifier: BSL-1.0

/// What the retry values share: time that can't overflow, and states that are read whole or not at all.

#include <syncline/retry/state.hpp>

#include <array>
#include <cstdint>

#include <syncline/core/bytes.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

constexpr monotonic_time at(std::int64_t n) { return monotonic_time{milliseconds{n}}; }
constexpr wall_time wall(std::int64_t n) { return wall_time{milliseconds{n}}; }
constexpr milliseconds ms(std::int64_t n) { return milliseconds{n}; }

static_assert(elapsed(at(3), at(10)) == ms(7) && elapsed(at(10), at(3)) == ms(0) && elapsed(at(3), at(3)) == ms(0));
static_assert(elapsed((monotonic_time::min)(), (monotonic_time::max)()) == retry_time_max);
static_assert(elapsed((monotonic_time::max)(), (monotonic_time::min)()) == ms(0));
static_assert(elapsed(at(-5), at(5)) == ms(10));
static_assert(later(at(1), ms(2)) == at(3) && later((monotonic_time::max)(), ms(1)) == (monotonic_time::max)());
static_assert(later((monotonic_time::max)() - ms(1), ms(1)) == (monotonic_time::max)());
static_assert(later((monotonic_time::min)(), retry_time_max) == (monotonic_time::min)() + retry_time_max);
static_assert(clamped(ms(-1), ms(5)) == ms(0) && clamped(ms(6), ms(5)) == ms(5) && clamped(ms(4), ms(5)) == ms(4));

constexpr std::int64_t year = 31'557'600'000;
static_assert(elapsed_by_restart(wall(0), wall(1000)) == ms(1000));
static_assert(elapsed_by_restart(wall(1000), wall(0)) == ms(0), "set back: nothing passed");
static_assert(elapsed_by_restart(wall(0), wall(50 * year)) == restart_elapsed_max, "set forward: an hour at most");
static_assert(elapsed_by_restart((wall_time::max)(), (wall_time::min)()) == ms(0));
static_assert(elapsed_by_restart((wall_time::min)(), (wall_time::max)()) == restart_elapsed_max);

constexpr bool goes_there_and_back() {
    auto const raw = detail::state_writer<20>().put(0x0102, 2).put(ms(7)).put(wall(-1)).put(9, 2).done();
    detail::state_reader in(raw);
    bool const same = in.take(2, 0xFFFF) == 0x0102 && in.take_time() == ms(7) && in.take_wall() == wall(-1);
    return same && in.take(2, 9) == 9 && in.done();
}
static_assert(goes_there_and_back());

}  // namespace

TEST_CASE("a state that is too short, too long or out of range is not good") {
    std::array<std::byte, 4> const raw{std::byte{0}, std::byte{5}, std::byte{0}, std::byte{1}};
    {
        detail::state_reader in(raw);
        CHECK(in.take(2, 4) == 0);
        CHECK(in.take(2, 0xFFFF) == 0);  // nothing is read from what is not good
        CHECK(!in.done());
    }
    {
        detail::state_reader in(raw);
        CHECK(in.take(2, 5) == 5);
        CHECK(!in.done());  // two bytes are left
    }
    {
        detail::state_reader in(raw);
        CHECK(in.take(8, ~std::uint64_t{0}) == 0);
        CHECK(!in.done());
    }
    {
        std::array<std::byte, 8> const negative{std::byte{0x80}};
        detail::state_reader in(negative);
        CHECK(in.take_time() == ms(0));
        CHECK(!in.done());
    }
}
