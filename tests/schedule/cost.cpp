// SPDX-License-Identifier: BSL-1.0

/// A decision allocates nothing, and can be made by the compiler.

#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>

#include <syncline/schedule/conditions.hpp>
#include <syncline/schedule/options.hpp>
#include <syncline/schedule/plan.hpp>
#include <syncline/schedule/scheduler.hpp>

#include "schedule/generate.hpp"
#include "support/catch.hpp"

using namespace syncline;
using schedule_test::monday;

namespace {

std::size_t allocations = 0;

constexpr bool decided_at_compile_time() {
    conditions c;
    c.network.online = true;
    c.pending.add(sync_class::critical, 100, wall_time{});
    schedule_memory const m(1);
    sync_plan const p = make_plan(c, m, schedule_options{}, wall_time{});
    return p.run && p.push && p[plan_choice::push].because == plan_reason::due;
}
static_assert(decided_at_compile_time());
static_assert(std::is_trivially_copyable_v<sync_plan> && std::is_trivially_copyable_v<schedule_memory> &&
              std::is_trivially_copyable_v<conditions>);
static_assert(noexcept(make_plan(std::declval<conditions const&>(), std::declval<schedule_memory const&>(),
                                 std::declval<schedule_options const&>(), std::declval<wall_time>())));

}  // namespace

void* operator new(std::size_t size) {
    ++allocations;
    if (void* const p = std::malloc(size != 0 ? size : 1)) { return p; }
    std::abort();
}
void* operator new(std::size_t size, std::nothrow_t const&) noexcept {
    ++allocations;
    return std::malloc(size != 0 ? size : 1);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

TEST_CASE("a decision, and all that a memory learns, allocates nothing") {
    schedule_options const o;
    schedule_memory m(1);
    random_generator g(1);
    std::size_t const before = allocations;
    std::uint64_t runs = 0;
    for (int i = 0; i < 2000; ++i) {
        wall_time const now = monday + milliseconds{i * 100'000LL};
        conditions const c = schedule_test::any_conditions(g, now);
        m.saw(c, o, now);
        runs += make_plan(c, m, o, now).run ? 1 : 0;
        schedule_test::live(m, o, now, g);
        auto const raw = to_array(m);
        runs += m.restore(raw) ? 1 : 0;
    }
    std::size_t const after = allocations;
    CHECK(after == before);
    CHECK(runs > 2000);
    CHECK(to_text(make_plan({}, m, o, monday), monday).size() > 300);
    CHECK(allocations > after);  // the count does count
}
