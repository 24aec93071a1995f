// SPDX-License-Identifier: BSL-1.0

/// Interval sets and version vectors against plain sets of numbers and dots.

#include <syncline/clock/version_vector.hpp>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

namespace sl = syncline;
using sl::causality;
using sl::dot;
using sl::interval;
using sl::interval_set;
using sl::replica_id;
using sl::version_vector;

namespace {

static_assert(std::regular<interval_set> && std::regular<version_vector> && std::totally_ordered<dot>);
static_assert(std::is_nothrow_move_constructible_v<version_vector>);

constexpr std::uint64_t top = (std::numeric_limits<std::uint64_t>::max)();

/// Sorted, disjoint, not touching: what every operation must leave.
void check_canonical(interval_set const& s) {
    auto const runs = s.intervals();
    for (std::size_t i = 0; i < runs.size(); ++i) {
        REQUIRE(runs[i].first <= runs[i].last);
        if (i > 0) {
            REQUIRE(runs[i].first > runs[i - 1].last);
            REQUIRE(runs[i].first - runs[i - 1].last > 1);
        }
    }
}

interval_set from_mask(unsigned mask) {
    interval_set s;
    for (unsigned i = 0; i < 16; ++i) {
        if ((mask >> i & 1) != 0) { s.add(i); }
    }
    return s;
}
unsigned to_mask(interval_set const& s) {
    unsigned mask = 0;
    for (interval const& r : s.intervals()) {
        for (std::uint64_t n = r.first; n <= r.last; ++n) { mask |= 1U << n; }
    }
    return mask;
}

sl::bytes encoded(interval_set const& s) {
    sl::bytes out;
    sl::cbor_writer w(out);
    sl::encode_interval_set(w, s);
    return out;
}
sl::result<interval_set> decoded(sl::bytes_view b, sl::decode_limits const& limits = {}) {
    sl::cbor_reader in(b, limits);
    auto s = sl::decode_interval_set(in);
    if (auto const done = in.finish(); !done) {
        CHECK((in.position() > 0 || s.empty()));
        return done.error();
    }
    return s;
}

replica_id replica(unsigned n) {
    replica_id r;
    r.device.bytes[0] = static_cast<std::byte>(n / 2);
    r.incarnation = n % 2;
    return r;
}

using dots = std::set<dot>;

version_vector from_dots(dots const& all) {
    version_vector v;
    for (auto const& d : all) { v.add(d); }
    return v;
}
dots to_dots(version_vector const& v) {
    dots out;
    for (auto const& e : v.entries()) {
        REQUIRE(!e.sequences.empty());
        check_canonical(e.sequences);
        for (interval const& r : e.sequences.intervals()) {
            for (std::uint64_t n = r.first; n <= r.last; ++n) { out.insert({e.replica, n}); }
        }
    }
    return out;
}
dots random_dots(sl::random_generator& g) {
    dots out;
    auto const count = sl::below(g, 40);
    auto const width = 1 + sl::below(g, 30);
    for (std::uint64_t i = 0; i < count; ++i) {
        out.insert({replica(static_cast<unsigned>(sl::below(g, 5))), 1 + sl::below(g, width)});
    }
    return out;
}

sl::bytes from_hex(std::string const& hex) {
    sl::bytes out;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        out.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    return out;
}

}  // namespace

TEST_CASE("An interval set is a set: every pair of sets of eight numbers", "[clock]") {
    for (unsigned a = 0; a < 256; ++a) {
        auto const sa = from_mask(a);
        check_canonical(sa);
        REQUIRE(to_mask(sa) == a);
        for (unsigned b = 0; b < 256; ++b) {
            auto const sb = from_mask(b);
            REQUIRE((sa == sb) == (a == b));
            REQUIRE(sa.contains(sb) == ((a & b) == b));
            auto const d = sa.difference(sb);
            check_canonical(d);
            REQUIRE(to_mask(d) == (a & ~b));
            auto m = sa;
            REQUIRE(m.merge(sb) == ((a | b) != a));
            check_canonical(m);
            REQUIRE(to_mask(m) == (a | b));
        }
    }
}

TEST_CASE("An interval set is a set: every interval added to every set of eight numbers", "[clock]") {
    for (unsigned a = 0; a < 256; ++a) {
        for (unsigned first = 0; first < 9; ++first) {
            for (unsigned last = first; last < 9; ++last) {
                unsigned const added = ((1U << (last + 1)) - 1) & ~((1U << first) - 1);
                auto s = from_mask(a);
                REQUIRE(s.add(interval{first, last}) == ((a | added) != a));
                check_canonical(s);
                REQUIRE(to_mask(s) == (a | added));
            }
        }
        auto const s = from_mask(a);
        std::uint64_t count = 0;
        for (unsigned n = 0; n < 9; ++n) {
            REQUIRE(s.contains(n) == ((a >> n & 1) != 0));
            count += a >> n & 1;
            if (n > 0) {
                unsigned water = n - 1;
                while ((a >> (water + 1) & 1) != 0) { ++water; }
                REQUIRE(s.low_water(n) == water);
            }
        }
        REQUIRE(s.count() == count);
        REQUIRE(s.empty() == (a == 0));
        REQUIRE(s.highest().has_value() == (a != 0));
    }
}

TEST_CASE("The ends of the range are numbers like others", "[clock]") {
    interval_set s;
    CHECK(s.add(top));
    CHECK(s.add(0));
    CHECK(!s.add(top));
    CHECK(s.intervals().size() == 2);
    CHECK(s.add(top - 1));
    CHECK(s.add(1));
    CHECK(s.intervals().size() == 2);
    CHECK(*s.highest() == top);
    CHECK(s.count() == 4);
    CHECK(s.low_water(top) == top);
    interval_set all;
    CHECK(all.add(interval{0, top}));
    CHECK(!all.add(interval{0, top}));
    CHECK(all.count() == top);
    CHECK(all.contains(s));
    CHECK(s.difference(all).empty());
    auto const rest = all.difference(s);
    CHECK(rest.intervals().size() == 1);
    CHECK(rest.intervals()[0] == interval{2, top - 2});
    CHECK(s.merge(all));
    CHECK(s == all);
    for (auto const& each : {s, rest, interval_set{}}) {
        auto const back = decoded(encoded(each));
        REQUIRE(back);
        CHECK(*back == each);
    }
    interval_set ends;
    for (auto const n : {top, top - 2, std::uint64_t{0}, std::uint64_t{2}}) { ends.add(n); }
    CHECK(*decoded(encoded(ends)) == ends);
}

TEST_CASE("A long run is one interval however it arrives", "[clock]") {
    sl::random_generator g(1);
    std::vector<std::uint64_t> order;
    for (std::uint64_t n = 1; n <= 2000; ++n) { order.push_back(n); }
    for (std::size_t i = order.size(); i > 1; --i) { std::swap(order[i - 1], order[sl::below(g, i)]); }
    interval_set s;
    for (auto const n : order) { REQUIRE(s.add(n)); }
    CHECK(s.intervals().size() == 1);
    CHECK(s.low_water() == 2000);
    CHECK(encoded(s).size() == 5);
}

TEST_CASE("Dots are ordered by replica, then sequence", "[clock]") {
    CHECK(dot{replica(1), 9} < dot{replica(2), 1});
    CHECK(dot{replica(2), 1} < dot{replica(2), 2});
}

TEST_CASE("A version vector is a set of dots", "[clock]") {
    sl::random_generator g(2);
    for (int i = 0; i < 3000; ++i) {
        auto const a = random_dots(g);
        auto b = random_dots(g);
        switch (sl::below(g, 4)) {
            case 0: b.insert(a.begin(), a.end()); break;
            case 1: b = a; break;
            default: break;
        }
        auto const va = from_dots(a), vb = from_dots(b);
        REQUIRE(to_dots(va) == a);
        REQUIRE((va == vb) == (a == b));
        REQUIRE(va.empty() == a.empty());

        bool const a_in_b = std::includes(b.begin(), b.end(), a.begin(), a.end());
        bool const b_in_a = std::includes(a.begin(), a.end(), b.begin(), b.end());
        REQUIRE(vb.contains(va) == a_in_b);
        auto const expected = a_in_b && b_in_a ? causality::equal
                              : a_in_b         ? causality::before
                              : b_in_a         ? causality::after
                                               : causality::concurrent;
        REQUIRE(sl::compare(va, vb) == expected);

        dots lacked;
        std::set_difference(b.begin(), b.end(), a.begin(), a.end(), std::inserter(lacked, lacked.end()));
        REQUIRE(to_dots(va.missing(vb)) == lacked);

        auto both = a;
        both.insert(b.begin(), b.end());
        auto merged = va;
        REQUIRE(merged.merge(vb) == !b_in_a);
        REQUIRE(to_dots(merged) == both);
        REQUIRE(merged == from_dots(both));
        auto handed = va;
        handed.merge(va.missing(vb));
        REQUIRE(handed == merged);

        for (unsigned r = 0; r < 6; ++r) {
            std::uint64_t water = 0;
            while (a.count({replica(r), water + 1}) != 0) { ++water; }
            REQUIRE(va.low_water(replica(r)) == water);
            for (std::uint64_t n = 0; n < 32; ++n) {
                REQUIRE(va.contains(dot{replica(r), n}) == (a.count({replica(r), n}) != 0));
            }
        }
    }
}

TEST_CASE("Merging is commutative, associative and idempotent", "[clock]") {
    sl::random_generator g(3);
    for (int i = 0; i < 500; ++i) {
        auto const a = from_dots(random_dots(g)), b = from_dots(random_dots(g)), c = from_dots(random_dots(g));
        auto const join = [](version_vector x, version_vector const& y) {
            x.merge(y);
            return x;
        };
        REQUIRE(join(a, b) == join(b, a));
        REQUIRE(join(join(a, b), c) == join(a, join(b, c)));
        REQUIRE(join(a, a) == a);
        auto same = a;
        REQUIRE(!same.merge(same));
        REQUIRE(same == a);
    }
}

TEST_CASE("Equal vectors have equal bytes, and bytes go there and back", "[clock]") {
    sl::random_generator g(4);
    for (int i = 0; i < 500; ++i) {
        auto const all = random_dots(g);
        auto const v = from_dots(all);
        version_vector backwards;
        for (auto d = all.rbegin(); d != all.rend(); ++d) { backwards.add(*d); }
        auto const raw = sl::encode(v);
        REQUIRE(raw == sl::encode(backwards));
        sl::cbor_reader in(raw);
        REQUIRE(in.skip().size() == raw.size());  // canonical CBOR for any other reader too
        auto const back = sl::version_vector_from(raw);
        REQUIRE(back);
        REQUIRE(*back == v);
    }
}

TEST_CASE("The bytes are pinned", "[clock]") {
    version_vector v;
    v.add(replica(3), interval{1, 300});
    v.add(replica(3), interval{305, 305});
    v.add(dot{replica(0), 0});
    CHECK(sl::to_hex(sl::encode(v)) ==
          "a2"
          "540000000000000000000000000000000000000000"
          "820000"
          "540100000000000000000000000000000000000001"
          "840119012b0300");
}

TEST_CASE("What is no version vector is refused by its name", "[clock]") {
    std::string const first = "540000000000000000000000000000000000000000";
    std::string const second = "540100000000000000000000000000000000000001";
    auto const fails = [](std::string const& hex, sl::errc e) {
        INFO(hex);
        auto const v = sl::version_vector_from(from_hex(hex));
        REQUIRE(!v);
        CHECK(v.error() == e);
    };
    CHECK(sl::version_vector_from(from_hex("a0")));
    CHECK(sl::version_vector_from(from_hex("a2" + first + "820000" + second + "820000")));
    fails("", sl::errc::malformed);
    fails("80", sl::errc::type_mismatch);
    fails("a000", sl::errc::malformed);
    fails("a1" + first, sl::errc::malformed);
    fails("a1" + first + "80", sl::errc::not_deterministic);
    fails("a1" + first + "8100", sl::errc::malformed);
    fails("a1" + first + "820020", sl::errc::overflow);
    fails("a1" + first + "82001800", sl::errc::not_deterministic);
    fails("a1" + first + "8200f4", sl::errc::type_mismatch);
    CHECK(sl::version_vector_from(from_hex("a1" + first + "82001bffffffffffffffff")));
    fails("a1" + first + "82011bffffffffffffffff", sl::errc::overflow);
    fails("a2" + second + "820000" + first + "820000", sl::errc::not_deterministic);
    fails("a2" + first + "820000" + first + "820000", sl::errc::malformed);
    fails("a14100820000", sl::errc::malformed);
    fails("a100820000", sl::errc::type_mismatch);
    fails("a1" + first + "841bffffffffffffffff000000", sl::errc::overflow);  // nothing can follow the last number
    fails("a1" + first + "841bfffffffffffffffe000000", sl::errc::overflow);
    fails("a1" + first + "821bffffffffffffffff01", sl::errc::overflow);
}

TEST_CASE("Limits hold before memory is had", "[clock]") {
    version_vector v;
    for (std::uint64_t n = 0; n < 1000; ++n) { v.add(dot{replica(0), 2 * n}); }
    auto const raw = sl::encode(v);
    CHECK(sl::version_vector_from(raw));
    CHECK(sl::version_vector_from(raw, {.bytes_max = raw.size() - 1}).error() == sl::errc::limit);
    CHECK(sl::version_vector_from(raw, {.items_max = 1999}).error() == sl::errc::limit);
    CHECK(sl::version_vector_from(raw, {.work_max = 16'000}).error() == sl::errc::limit);
    CHECK(sl::version_vector_from(raw, {.work_max = 40'000}));
}

TEST_CASE("Damaged bytes are an error or another vector's one encoding", "[clock]") {
    sl::random_generator g(5);
    int accepted = 0;
    for (int i = 0; i < 20'000; ++i) {
        auto raw = sl::encode(from_dots(random_dots(g)));
        auto const changes = 1 + sl::below(g, 3);
        for (std::uint64_t k = 0; k < changes && !raw.empty(); ++k) {
            auto const at = static_cast<std::size_t>(sl::below(g, raw.size()));
            switch (sl::below(g, 3)) {
                case 0: raw[at] = static_cast<std::byte>(g()); break;
                case 1: raw.resize(at); break;
                default: raw.insert(raw.begin() + static_cast<std::ptrdiff_t>(at), static_cast<std::byte>(g())); break;
            }
        }
        if (auto const v = sl::version_vector_from(raw)) {
            ++accepted;
            REQUIRE(sl::encode(*v) == raw);
        }
    }
    CHECK(accepted > 0);
}
