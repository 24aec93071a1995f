// SPDX-License-Identifier: BSL-1.0
#include <syncline/blob/chunker.hpp>

#include <set>
#include <string>
#include <vector>

#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

static_assert(valid(chunk_options{}) && !valid(chunk_options{.min = 10}) && !valid(chunk_options{.average = 10'000}));
static_assert(!valid(chunk_options{.min = 1 << 20}) && !valid(chunk_options{.max = 1024}));

namespace {

bytes noise(std::size_t n, std::uint64_t seed) {
    random_generator g(seed);
    bytes out(n);
    fill(g, out);
    return out;
}
std::vector<std::size_t> cuts(bytes_view in, chunk_options const& o) {
    std::vector<std::size_t> out;
    while (!in.empty()) {
        out.push_back(next_chunk(in, o));
        in = in.subspan(out.back());
    }
    return out;
}
/// The same said slowly: at each place the hash of all bytes from the minimum on.
std::size_t naive_chunk(bytes_view in, chunk_options const& o) {
    unsigned bits = 0;
    while ((std::size_t{1} << bits) < o.average) { ++bits; }
    std::uint64_t h = 0;
    for (std::size_t i = 0; i < in.size(); ++i) {
        if (i >= o.max) { return o.max; }
        if (i < o.min) { continue; }
        h = 2 * h + detail::gear_table[std::to_integer<std::size_t>(in[i])];
        unsigned const zeros = i < o.average ? bits + o.normalisation : bits - o.normalisation;
        if (h >> (64 - zeros) == 0) { return i + 1; }
    }
    return in.size();
}

}  // namespace

TEST_CASE("chunker: the fast loop cuts where the slow one does, within the sizes asked for", "[blob]") {
    chunk_options const all[] = {{},
                                 {.min = 64, .average = 256, .max = 1000},
                                 {.min = 100, .average = 1024, .max = 1024},
                                 {.min = 512, .average = 512, .max = 4096, .normalisation = 0},
                                 {.min = 6144, .average = 8192, .max = 65'536}};
    for (chunk_options const& o : all) {
        for (std::uint64_t seed = 0; seed < 4; ++seed) {
            bytes const content = noise(200'000 + static_cast<std::size_t>(seed) * 77, seed);
            bytes_view rest = content;
            while (!rest.empty()) {
                std::size_t const n = next_chunk(rest, o);
                REQUIRE(n == naive_chunk(rest, o));
                REQUIRE(n <= o.max);
                REQUIRE((n >= o.min || n == rest.size()));
                // Nothing behind the largest chunk counts.
                REQUIRE(next_chunk(rest.first((std::min)(rest.size(), o.max)), o) == n);
                rest = rest.subspan(n);
            }
        }
    }
    CHECK(next_chunk({}) == 0);
    CHECK(next_chunk(bytes(5)) == 5);
    CHECK(next_chunk(bytes(1 << 20)) <= chunk_options{}.max);
}

TEST_CASE("chunker: an edit changes a few chunks, wherever it is and whatever its length", "[blob]") {
    chunk_options const o{.min = 1024, .average = 4096, .max = 16'384};
    bytes const content = noise(500'000, 9);
    std::set<sha256_digest> before;
    bytes_view rest = content;
    for (std::size_t const n : cuts(content, o)) {
        before.insert(sha256(rest.first(n)));
        rest = rest.subspan(n);
    }
    random_generator g(3);
    for (int edit = 0; edit < 30; ++edit) {
        bytes changed = content;
        auto const at = static_cast<std::ptrdiff_t>(below(g, content.size()));
        switch (below(g, 3)) {
            case 0:
                changed.insert(changed.begin() + at, 1 + static_cast<std::size_t>(below(g, 3)), std::byte{7});
                break;
            case 1: changed.erase(changed.begin() + at); break;
            default: changed[static_cast<std::size_t>(at)] ^= std::byte{1}; break;
        }
        std::size_t fresh = 0;
        rest = changed;
        for (std::size_t const n : cuts(changed, o)) {
            fresh += before.count(sha256(rest.first(n))) == 0 ? 1U : 0U;
            rest = rest.subspan(n);
        }
        CHECK(fresh <= 6);
    }
}

TEST_CASE("chunker: sizes gather around the average, and where the cuts are is pinned", "[blob]") {
    bytes const content = noise(4 << 20, 5);
    chunk_options const o{.min = 2048, .average = 8192, .max = 65'536};
    auto const sizes = cuts(content, o);
    std::size_t const average = content.size() / sizes.size();
    CHECK(average > 7000);
    CHECK(average < 11'000);
    std::string first;
    for (std::size_t i = 0; i < 8; ++i) { first += std::to_string(sizes[i]) + ' '; }
    CHECK(first == "9717 11788 9330 9368 8362 9064 8333 8731 ");
    CHECK(detail::gear_table[0] == 0x5A221E632655880A);
    CHECK(detail::gear_table[255] == 0x54EC20A02E061954);
}
