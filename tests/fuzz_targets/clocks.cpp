// SPDX-License-Identifier: BSL-1.0

/// Logical time as lists of operations: the hybrid clock against a pair of milliseconds and counter, sets of sequences
/// and version vectors against sets of dots.

#include <cstdint>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/clock/version_vector.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;
using fuzz::choices;

// --- the hybrid clock -------------------------------------------------------------------------------------------------

/// The clock of the paper: milliseconds and a counter, each as wide as it needs to be.
struct naive_clock {
    std::int64_t ms = 0;
    std::int64_t counter = 0;
    static constexpr std::int64_t ms_max = (std::int64_t{1} << 47) - 1;
    static constexpr std::int64_t counter_max = 0xFFFF;

    static std::int64_t clamped(std::int64_t physical) { return (std::clamp)(physical, std::int64_t{0}, ms_max); }
    void now(std::int64_t physical) {
        if (counter == counter_max) {
            // Stands still at the largest number there is.
            if (ms < (std::int64_t{1} << 48) - 1) {
                ++ms;
                counter = 0;
            }
        } else {
            ++counter;
        }
        if (clamped(physical) > ms) {
            ms = clamped(physical);
            counter = 0;
        }
    }
    bool accept(std::int64_t their_ms, std::int64_t their_counter, std::int64_t physical, std::int64_t ahead) {
        std::int64_t const p = clamped(physical);
        std::int64_t const last = ahead > ms_max - p ? ms_max : p + ahead;
        if (their_ms > last) { return false; }
        if (std::tie(their_ms, their_counter) > std::tie(ms, counter)) {
            ms = their_ms;
            counter = their_counter;
        }
        return true;
    }
    bool is(timestamp t) const {
        return t.time().time_since_epoch().count() == ms && t.counter() == static_cast<std::uint16_t>(counter);
    }
};

void clock_operations(choices& in) {
    constexpr std::int64_t aheads[] = {300'000, 0, 1, (std::numeric_limits<std::int64_t>::max)()};
    std::int64_t const ahead = in.of(aheads);
    timestamp const start{in.one_in(2) ? in.number() : 0};
    hybrid_clock clock({milliseconds{ahead}}, start);
    naive_clock model{start.time().time_since_epoch().count(), start.counter()};
    std::int64_t physical = 1'700'000'000'000;
    while (!in.done()) {
        switch (in.below(6)) {
            case 0: physical = in.signed_number(); break;
            case 1: physical = 1'700'000'000'000 + static_cast<std::int64_t>(in.below(256)); break;
            case 2: {
                timestamp remote{in.number()};
                if (in.one_in(2)) {
                    remote = timestamp{clock.last().raw + in.below(256) - 128};
                } else if (in.one_in(2)) {
                    remote = latest_within(wall_time{milliseconds{physical}}, milliseconds{ahead});
                    remote.raw += in.below(3) - 1;
                }
                bool const taken = clock.accept(remote, wall_time{milliseconds{physical}}).has_value();
                bool const should =
                    model.accept(remote.time().time_since_epoch().count(), remote.counter(), physical, ahead);
                SYNCLINE_FUZZ_REQUIRE(taken == should);
                break;
            }
            default: {
                timestamp const before = clock.last();
                timestamp const stamp = clock.now(wall_time{milliseconds{physical}});
                model.now(physical);
                SYNCLINE_FUZZ_REQUIRE(stamp > before || before.raw == (std::numeric_limits<std::uint64_t>::max)());
                SYNCLINE_FUZZ_REQUIRE(stamp == clock.last());
                break;
            }
        }
        SYNCLINE_FUZZ_REQUIRE(model.is(clock.last()));
    }
}

// --- sets of dots -----------------------------------------------------------------------------------------------------

// Sequences from 0 to 39 stand for numbers at both ends of the range, with the gap between them in one place.
constexpr unsigned places = 40;
std::uint64_t sequence(unsigned place) {
    return place < places / 2 ? place : (std::numeric_limits<std::uint64_t>::max)() - (places - 1 - place);
}

struct naive_vector {
    std::set<std::pair<std::uint32_t, unsigned>> dots;

    /// A part of the range that lies on one side of the gap.
    bool add(std::uint32_t replica, unsigned first, unsigned last) {
        bool fresh = false;
        for (unsigned p = first; p <= last; ++p) { fresh = dots.insert({replica, p}).second || fresh; }
        return fresh;
    }
    bool holds(naive_vector const& o) const {
        for (auto const& d : o.dots) {
            if (dots.count(d) == 0) { return false; }
        }
        return true;
    }
};

replica_id id_of(std::uint32_t n) {
    replica_id r;
    r.device.bytes[0] = static_cast<std::byte>(n % 2);
    r.incarnation = n;
    return r;
}

/// Everything that can be seen of a vector.
void compare_all(version_vector const& v, naive_vector const& model) {
    std::size_t replicas = 0;
    for (std::uint32_t r = 0; r < 4; ++r) {
        bool any = false;
        std::uint64_t low = 0;
        bool unbroken = true;
        std::uint64_t count = 0;
        for (unsigned p = 0; p < places; ++p) {
            bool const held = model.dots.count({r, p}) != 0;
            SYNCLINE_FUZZ_REQUIRE(v.contains(dot{id_of(r), sequence(p)}) == held);
            any = any || held;
            count += held ? 1 : 0;
            if (p == 0) { continue; }
            unbroken = unbroken && held && p < places / 2;
            if (unbroken) { low = sequence(p); }
        }
        SYNCLINE_FUZZ_REQUIRE(v.low_water(id_of(r)) == low);
        interval_set const* const set = v.find(id_of(r));
        SYNCLINE_FUZZ_REQUIRE((set != nullptr) == any);
        if (set == nullptr) { continue; }
        ++replicas;
        SYNCLINE_FUZZ_REQUIRE(set->count() == count && set->contains(*set->highest()));
        interval const* last = nullptr;
        for (interval const& i : set->intervals()) {
            SYNCLINE_FUZZ_REQUIRE(i.first <= i.last && (last == nullptr || last->last < i.first - 1));
            last = &i;
        }
        SYNCLINE_FUZZ_REQUIRE(set->highest() == last->last);
    }
    SYNCLINE_FUZZ_REQUIRE(v.entries().size() == replicas && v.empty() == model.dots.empty());
    bytes const encoded = encode(v);
    auto const again = version_vector_from(encoded);
    SYNCLINE_FUZZ_REQUIRE(again && *again == v);
}

void vector_operations(choices& in) {
    version_vector held[2];
    naive_vector model[2];
    while (!in.done()) {
        auto const which = static_cast<std::size_t>(in.below(2));
        switch (in.below(4)) {
            case 0: {
                auto const r = static_cast<std::uint32_t>(in.below(4));
                auto const p = static_cast<unsigned>(in.below(places));
                SYNCLINE_FUZZ_REQUIRE(held[which].add({id_of(r), sequence(p)}) == model[which].add(r, p, p));
                break;
            }
            case 1: {
                auto const r = static_cast<std::uint32_t>(in.below(4));
                auto const first = static_cast<unsigned>(in.below(places));
                auto last = first + static_cast<unsigned>(in.below(6));
                last = (std::min)(last, first < places / 2 ? places / 2 - 1 : places - 1);
                bool const fresh = held[which].add(id_of(r), {sequence(first), sequence(last)});
                SYNCLINE_FUZZ_REQUIRE(fresh == model[which].add(r, first, last));
                break;
            }
            case 2: {
                bool const changed = held[which].merge(held[1 - which]);
                SYNCLINE_FUZZ_REQUIRE(changed == !model[which].holds(model[1 - which]));
                model[which].dots.insert(model[1 - which].dots.begin(), model[1 - which].dots.end());
                break;
            }
            default: {
                naive_vector lacked;
                for (auto const& d : model[1 - which].dots) {
                    if (model[which].dots.count(d) == 0) { lacked.dots.insert(d); }
                }
                compare_all(held[which].missing(held[1 - which]), lacked);
                break;
            }
        }
        compare_all(held[which], model[which]);
        bool const first_holds = model[0].holds(model[1]);
        bool const second_holds = model[1].holds(model[0]);
        SYNCLINE_FUZZ_REQUIRE(held[0].contains(held[1]) == first_holds);
        SYNCLINE_FUZZ_REQUIRE(compare(held[0], held[1]) == (first_holds
                                                                ? second_holds ? causality::equal : causality::after
                                                            : second_holds ? causality::before
                                                                           : causality::concurrent));
    }
}

int body(std::uint8_t const* data, std::size_t size) {
    choices in(data, (std::min)(size, std::size_t{400}));
    if (in.below(2) == 0) {
        clock_operations(in);
    } else {
        vector_operations(in);
    }
    return 0;
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 20, .length = 100)
