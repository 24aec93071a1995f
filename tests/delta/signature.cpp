// SPDX-License-Identifier: BSL-1.0

/// Deltas by signature make the target of the base, roll as reckoned anew, and no signature makes them slow.

#include <syncline/delta/signature.hpp>

#include <chrono>

#include <syncline/delta/vcdiff_decoder.hpp>

#include "delta/pairs.hpp"
#include "support/catch.hpp"

namespace {

using namespace syncline;

signature_salt salt_of(std::uint64_t seed) {
    random_generator r(seed);
    signature_salt out;
    fill(r, out);
    return out;
}
bytes signature_of(bytes_view base, std::uint64_t seed = 1) {
    bytes out;
    signature_encode(base, salt_of(seed), out);
    return out;
}
bytes delta_by(bytes_view signature, bytes_view target, std::size_t window = std::size_t{8} << 20) {
    auto const index = signature_index::read(signature);
    REQUIRE(index);
    bytes out;
    delta_scratch scratch;
    index->encode(target, out, scratch, {.checksum = true, .window = window});
    return out;
}

}  // namespace

TEST_CASE("pairs come back by signatures alone") {
    random_generator r(61);
    for (unsigned i = 0; i < delta_tests::rounds(60); ++i) {
        auto const [base, target] = delta_tests::pair(r, 8000);
        bytes const delta = delta_by(signature_of(base, i), target, 1 + below(r, 6000));
        bytes made;
        REQUIRE(vcdiff_decode(base, delta, made));
        REQUIRE(made == target);
    }
}

TEST_CASE("what is the same costs next to nothing, an edit about a block") {
    random_generator r(62);
    bytes base(200'001);
    fill(r, base);
    std::size_t const block = signature_block(base.size());
    CHECK(block == 256);
    CHECK(delta_by(signature_of(base), base).size() < 40);
    bytes target = base;
    target.insert(target.begin() + 70'000, 3, std::byte{5});
    CHECK(delta_by(signature_of(base), target).size() < block + 60);
}

TEST_CASE("the blocks grow with the square root") {
    CHECK(signature_block(0) == 256);
    CHECK(signature_block(131'072) == 256);
    CHECK(signature_block(2 * 320 * 320 - 1) == 256);
    CHECK(signature_block(2 * 320 * 320) == 320);
    CHECK(signature_block(1 << 21) == 1024);
    CHECK(signature_block(std::uint64_t{1} << 40) == 65536);
}

TEST_CASE("the rolling checksum is the polynomial, whatever the length") {
    random_generator r(64);
    bytes b(70);
    fill(r, b);
    for (std::size_t n = 0; n <= b.size(); ++n) {
        std::uint32_t h = 1;
        for (std::size_t i = 0; i < n; ++i) {
            h = h * syncline::detail::rolling_factor + std::to_integer<std::uint32_t>(b[i]);
        }
        REQUIRE(syncline::detail::rolling_of(bytes_view(b).first(n)) == h);
    }
}

TEST_CASE("the rolling checksum rolls to what is reckoned anew") {
    random_generator r(63);
    bytes b(600);
    fill(r, b);
    for (std::size_t const n : {1U, 2U, 256U}) {
        std::uint32_t const leaving = syncline::detail::rolling_power(n);
        std::uint32_t h = syncline::detail::rolling_of(bytes_view(b).first(n));
        for (std::size_t i = 0; i + n < b.size(); ++i) {
            auto const out = std::to_integer<std::uint32_t>(b[i]);
            auto const in = std::to_integer<std::uint32_t>(b[i + n]);
            h = (h - leaving) * syncline::detail::rolling_factor + in - (out * leaving) + leaving;
            REQUIRE(h == syncline::detail::rolling_of(bytes_view(b).subspan(i + 1, n)));
        }
    }
}

TEST_CASE("signatures are refused when cut, longer or of other lengths") {
    bytes const good = signature_of(bytes(5000, std::byte{1}));
    for (std::size_t n = 0; n < good.size(); ++n) { CHECK(!signature_index::read(bytes_view(good).first(n))); }
    bytes longer = good;
    longer.push_back(std::byte{0});
    CHECK(signature_index::read(longer).error() == errc::malformed);
    bytes later = good;
    later[1] = std::byte{2};
    CHECK(signature_index::read(later).error() == errc::unsupported);
    CHECK(signature_index::read(good, 4999).error() == errc::limit);
    bytes huge = to_bytes(bytes_view(good).first(18));
    append_varint(huge, std::uint64_t{1} << 45);
    append_varint(huge, 8);
    CHECK(signature_index::read(huge, std::uint64_t{1} << 46).error() == errc::malformed);
}

TEST_CASE("a signature made to collide costs bounded work") {
    // Every block claims the rolling checksum of zeros with a strong one that nothing has.
    std::size_t const count = 2000;
    bytes evil{std::byte{0xB5}, std::byte{1}};
    append(evil, salt_of(9));
    append_varint(evil, count * 65536);
    append_varint(evil, 1024);
    bytes const zeros(65536);
    std::uint32_t const rolling = syncline::detail::rolling_of(zeros);
    for (std::size_t i = 0; i < count; ++i) {
        for (unsigned s = 32; s != 0; s -= 8) { evil.push_back(static_cast<std::byte>((rolling >> (s - 8)) & 0xFF)); }
        evil.insert(evil.end(), 16, std::byte{7});
    }
    auto const start = std::chrono::steady_clock::now();
    CHECK(delta_by(evil, bytes(1 << 20)).size() < 100);  // a run
    // Hashing at each place would take minutes.
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}
