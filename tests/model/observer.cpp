// SPDX-License-Identifier: BSL-1.0

/// Who hears what happens: nothing is stored or called where nobody listens, and what a transaction told waits for it.

#include <syncline/model/observer.hpp>

#include <chrono>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"

using namespace syncline;

namespace {

/// A part that reports: with nobody listening it is as large as without an observer.
template <observer O = no_observer>
struct part {
    std::uint64_t state = 0;
    SYNCLINE_NO_UNIQUE_ADDRESS O observer_{};
    constexpr std::uint64_t work(std::uint64_t n) noexcept {
        state += n;
        observer_.counted(metric_counter::entries_sent, n);
        return state;
    }
};
static_assert(sizeof(part<>) == sizeof(std::uint64_t));
static_assert(sizeof(no_observer) == 1 && std::is_empty_v<no_observer>);
// The calls are constant expressions without effect: nothing is left of them.
static_assert([] {
    part<> p;
    return p.work(3) + p.work(4);
}() == 10);

/// The exact archetype, and those that lack one thing each.
struct observer_archetype {
    observer_archetype() = delete;
    observer_archetype(observer_archetype const&) = delete;
    observer_archetype& operator=(observer_archetype const&) = delete;
    void counted(metric_counter, std::uint64_t) noexcept;
    void measured(metric_gauge, std::uint64_t) noexcept;
    void took(metric_latency, std::chrono::microseconds) noexcept;
    void failed(observed_part, failure const&, wall_time) noexcept;
};
static_assert(observer<observer_archetype>);
template <int Missing>
struct observer_without {
    void counted(metric_counter, std::uint64_t) noexcept requires(Missing != 1);
    void measured(metric_gauge, std::uint64_t) noexcept requires(Missing != 2);
    void took(metric_latency, std::chrono::microseconds) noexcept requires(Missing != 3);
    void failed(observed_part, failure const&, wall_time) noexcept requires(Missing != 4);
};
static_assert(observer<observer_without<0>> && !observer<observer_without<1>> && !observer<observer_without<2>>);
static_assert(!observer<observer_without<3>> && !observer<observer_without<4>>);
static_assert(!listens<no_observer> && !listens<no_observer const&> && listens<observer_archetype&>);
static_assert(observer<observer_ref<observer_archetype> const> && observer<until_commit<observer_archetype>>);

/// Writes down what it hears.
struct listener {
    std::vector<std::pair<unsigned, std::uint64_t>> counts{}, values{};
    std::size_t times = 0;
    std::size_t failures = 0;
    void counted(metric_counter c, std::uint64_t n) noexcept { counts.emplace_back(static_cast<unsigned>(c), n); }
    void measured(metric_gauge g, std::uint64_t v) noexcept { values.emplace_back(static_cast<unsigned>(g), v); }
    void took(metric_latency, std::chrono::microseconds) noexcept { ++times; }
    void failed(observed_part, failure const&, wall_time) noexcept { ++failures; }
};
void tell_all(observer auto& o) {
    o.counted(metric_counter::exchanges, 1);
    o.counted(metric_counter::bytes_up, 7);
    o.counted(metric_counter::exchanges, 2);
    o.measured(metric_gauge::battery, 9);
    o.measured(metric_gauge::battery, 8);
    o.took(metric_latency::commit, std::chrono::microseconds{3});
    o.failed(observed_part::outbox, failure{errc::limit}, {});
}

}  // namespace

TEST_CASE("what a transaction told is passed on when it has committed, and forgotten when it has not") {
    listener l;
    until_commit held(l);
    tell_all(held);
    CHECK((l.counts.empty() && l.values.empty()));
    CHECK((l.times == 1 && l.failures == 1));  // these were so, whatever becomes of the transaction
    SECTION("committed: sums and last values, once") {
        held.tell();
        held.tell();
        CHECK(l.counts == std::vector<std::pair<unsigned, std::uint64_t>>{{0, 3}, {9, 7}});
        CHECK(l.values == std::vector<std::pair<unsigned, std::uint64_t>>{{5, 8}});
    }
    SECTION("rolled back") {
        held.forget();
        held.tell();
        CHECK((l.counts.empty() && l.values.empty()));
    }
}

TEST_CASE("a reference passes everything on") {
    listener l;
    observer_ref const r(l);
    tell_all(r);
    CHECK((l.counts.size() == 3 && l.values.size() == 2 && l.times == 1 && l.failures == 1));
}
