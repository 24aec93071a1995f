// SPDX-License-Identifier: BSL-1.0

/// What the matcher says makes the target, whatever it looks for, and doesn't depend on what its memory was used for.

#include <syncline/delta/matcher.hpp>

#include <vector>

#include "delta/pairs.hpp"
#include "support/catch.hpp"

namespace {

using namespace syncline;

struct step {
    int kind = 0;
    std::size_t at = 0;
    std::size_t n = 0;
    friend bool operator==(step const&, step const&) = default;
};
/// Replays each instruction byte by byte.
struct replay {
    bytes_view base;
    bytes_view target;
    bytes made{};
    std::vector<step> steps{};

    void add(std::size_t at, std::size_t n) {
        steps.push_back({0, at, n});
        REQUIRE(at == made.size());
        append(made, target.subspan(at, n));
    }
    void copy(std::size_t from, std::size_t n) {
        steps.push_back({1, from, n});
        append(made, base.subspan(from, n));
    }
    void self(std::size_t from, std::size_t n) {
        steps.push_back({2, from, n});
        REQUIRE(from < made.size());
        for (std::size_t i = 0; i < n; ++i) { made.push_back(std::byte{made[from + i]}); }
    }
    std::size_t copy_cost(std::size_t) const { return 3; }
    std::size_t self_cost(std::size_t, std::size_t) const { return 3; }
};

std::size_t naive_prefix(bytes_view a, bytes_view b) {
    std::size_t i = 0;
    while (i < a.size() && i < b.size() && a[i] == b[i]) { ++i; }
    return i;
}

match_options const all_options[] = {
    {},
    {.near_gram = 4, .near_bits = 8, .near_first = 64, .near_most = 256, .straight_min = 4, .gain_min = 1},
    {.near_gram = 5, .near_chain = 4, .far_step = 4, .far_after = 1, .self_gram = 5, .lazy = 3, .skip = 4},
    {.near_gram = 5,
     .near_bits = 8,
     .near_step = 2,
     .near_room = 12,
     .near_chain = 20,
     .near_first = 512,
     .near_most = 4096,
     .far_step = 10,
     .far_after = 1,
     .self_gram = 5,
     .straight_min = 5,
     .gain_min = 1,
     .lazy = 1,
     .lazy_chain = 2,
     .over = 4},
    {.near_gram = 8, .near_step = 2, .solid = 64, .far_step = 16, .self_gram = 4, .self_bits = 8, .self_step = 1},
};

}  // namespace

TEST_CASE("common beginnings and ends are found to the byte") {
    random_generator r(11);
    for (unsigned i = 0; i < delta_tests::rounds(400); ++i) {
        auto const [a, b] = delta_tests::pair(r, 200);
        CHECK(common_prefix(a, b) == naive_prefix(a, b));
        bytes const x(a.rbegin(), a.rend());
        bytes const y(b.rbegin(), b.rend());
        CHECK(common_suffix(x, y) == naive_prefix(a, b));
    }
}

TEST_CASE("the instructions make the target, and are the same with used memory") {
    random_generator r(12);
    delta_scratch used;
    for (unsigned i = 0; i < delta_tests::rounds(150); ++i) {
        auto const [base, target] = delta_tests::pair(r, 5000);
        for (auto const& options : all_options) {
            replay first{base, target};
            delta_matcher(base, options, used).run(target, first);
            REQUIRE(first.made == target);
            delta_scratch fresh;
            replay second{base, target};
            delta_matcher(base, options, fresh).run(target, second);
            REQUIRE(first.steps == second.steps);
        }
    }
}

TEST_CASE("positions of an earlier use are never seen, however many uses there were") {
    syncline::detail::position_table table;
    for (int use = 0; use < 50; ++use) {
        table.begin((std::size_t{1} << 31) - 40'000'000U * static_cast<unsigned>(use), 8);
        for (std::size_t slot = 0; slot < 256; ++slot) {
            REQUIRE(table.get(slot) == syncline::detail::position_table::none);
        }
        for (std::size_t slot = 0; slot < 256; slot += 3) { table.put(slot, slot * 100); }
        for (std::size_t slot = 0; slot < 256; slot += 3) { REQUIRE(table.get(slot) == slot * 100); }
    }
}

TEST_CASE("a sparse table knows the last step of a hash, of this use only") {
    syncline::detail::sparse_table table;
    random_generator r(15);
    auto const mix = [](std::byte const* p) { return syncline::detail::load_little64(p) * 0x9E3779B185EBCA87; };
    for (int use = 0; use < 50; ++use) {
        std::size_t const step = 1 + below(r, 8);
        std::size_t const count = below(r, 300);
        bytes const base = delta_tests::stretch(r, count * step + 8);
        std::vector<std::uint64_t> hashes;
        for (std::size_t i = 0; i < count; ++i) { hashes.push_back(mix(base.data() + i * step)); }
        // As many numbers as a base of gigabytes takes, so that the table has to begin anew now and then.
        table.begin((std::size_t{1} << 26) - 1, 8);
        for (std::uint64_t const h : hashes) { REQUIRE(table.get(h) == table.none); }
        table.begin(count, 8);
        for (std::uint64_t const h : hashes) { REQUIRE(table.get(h) == table.none); }
        table.fill(base.data(), step, mix);
        for (std::size_t i = 0; i < count; ++i) {
            // The last one of those whose hashes begin with the eight bits of a slot, if it has the next four, too.
            std::size_t last = i;
            for (std::size_t j = i; j < count; ++j) {
                if (hashes[j] >> 56 == hashes[i] >> 56) { last = j; }
            }
            REQUIRE(table.get(hashes[i]) == (hashes[last] >> 52 == hashes[i] >> 52 ? last : table.none));
        }
    }
    table.begin(std::size_t{1} << 31, 8);  // no bits of the hash are left beside such numbers
    CHECK(table.get(0) == table.none);
}

TEST_CASE("a short match gives way to one that has all of it and is found from its end") {
    // The index of the base knows the last of equal beginnings, which goes on for seven bytes; the six bytes that begin
    // four before that end are of the longer one only.
    bytes const base = to_bytes("....0123456789abcdefghij....0123456/////////////////");
    bytes const target = to_bytes("#########################0123456789abcdefghij");
    delta_scratch scratch;
    std::size_t copies[2]{};
    for (std::uint8_t const over : {std::uint8_t{0}, std::uint8_t{4}}) {
        replay out{base, target};
        delta_matcher(base, {.near_gram = 6, .near_bits = 12, .over = over}, scratch).run(target, out);
        REQUIRE(out.made == target);
        copies[over / 4] = static_cast<std::size_t>(
            std::count_if(out.steps.begin(), out.steps.end(), [](step const& s) { return s.kind == 1; }));
    }
    CHECK(copies[0] == 2);
    CHECK(copies[1] == 1);
}

TEST_CASE("what is equal is one instruction, and an insertion two") {
    random_generator r(13);
    bytes base(100'000);
    fill(r, base);
    delta_scratch scratch;
    replay same{base, base};
    delta_matcher(base, {}, scratch).run(base, same);
    CHECK(same.steps == std::vector<step>{{1, 0, base.size()}});
    bytes target = base;
    target.insert(target.begin() + 50'000, 5, std::byte{7});
    replay longer{base, target};
    delta_matcher(base, {}, scratch).run(target, longer);
    CHECK(longer.steps.size() == 3);
    CHECK(scratch.bytes_held() > 0);
}

TEST_CASE("windows go on where the one before ended") {
    random_generator r(14);
    bytes base(10'000);
    fill(r, base);
    delta_scratch scratch;
    delta_matcher matcher(base, {}, scratch);
    replay first{base, bytes_view(base).first(6000)};
    matcher.run(first.target, first);
    replay second{base, bytes_view(base).subspan(6000)};
    matcher.run(second.target, second);
    CHECK(second.steps == std::vector<step>{{1, 6000, 4000}});
}
