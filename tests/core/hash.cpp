// SPDX-License-Identifier: BSL-1.0

/// Hashes against published vectors, against libxxhash, and against themselves however the input is cut.

#include <syncline/core/hash.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#if __has_include(<xxhash.h>)
    #define XXH_INLINE_ALL
    #include <xxhash.h>
#endif

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

namespace sl = syncline;

namespace {

sl::bytes noise(sl::random_generator& g, std::size_t n) {
    sl::bytes out(n);
    sl::fill(g, out);
    return out;
}

std::string sha256_hex(std::string_view text) { return sl::to_hex(sl::sha256(sl::as_bytes(text))); }

/// The bit-by-bit definition, straight from the polynomial.
std::uint32_t naive_crc32c(sl::bytes_view b) {
    std::uint32_t c = 0xFFFFFFFF;
    for (std::byte const x : b) {
        c ^= std::to_integer<std::uint32_t>(x);
        for (int i = 0; i < 8; ++i) { c = (c & 1) != 0 ? (c >> 1) ^ 0x82F63B78 : c >> 1; }
    }
    return ~c;
}

template <sl::hasher H>
void check_cuts(H const& fresh, sl::random_generator& g) {
    for (std::size_t n = 0; n < 1500; n += 1 + static_cast<std::size_t>(sl::below(g, 7))) {
        auto const data = noise(g, n);
        H whole = fresh;
        whole.update(data);
        H pieces = fresh;
        auto const widest = 1 + sl::below(g, 400);
        for (std::size_t at = 0; at < n;) {
            auto const step = (std::min)(n - at, static_cast<std::size_t>(sl::below(g, widest + 1)));
            pieces.update(sl::bytes_view(data).subspan(at, step));
            at += step;
            if (at % 3 == 0) { (void)pieces.finish(); }  // finishing must not disturb the stream
        }
        REQUIRE(pieces.finish() == whole.finish());
    }
}

/// The exact archetype of a hasher, and what is missing a part.
struct hasher_archetype {
    using digest_type = int;
    void update(sl::bytes_view) noexcept {}
    int finish() const noexcept { return 0; }
};
static_assert(sl::hasher<hasher_archetype>);
struct no_update {
    using digest_type = int;
    int finish() const noexcept { return 0; }
};
struct no_finish {
    using digest_type = int;
    void update(sl::bytes_view) noexcept {}
};
struct consuming_finish {
    using digest_type = int;
    void update(sl::bytes_view) noexcept {}
    int finish() noexcept { return 0; }
};
static_assert(!sl::hasher<no_update> && !sl::hasher<no_finish> && !sl::hasher<consuming_finish> && !sl::hasher<int>);

}  // namespace

TEST_CASE("SHA-256 gives the digests of FIPS 180-4 and the NIST examples", "[core][hash]") {
    CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(sha256_hex("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
                     "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu") ==
          "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    CHECK(sha256_hex(std::string(1'000'000, 'a')) ==
          "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("HMAC-SHA-256 gives the codes of RFC 4231, with short, whole and long keys", "[core][hash]") {
    auto const code = [](sl::bytes const& key, std::string_view text) {
        return sl::to_hex(sl::hmac_sha256(key, sl::as_bytes(text)));
    };
    CHECK(code(sl::bytes(20, std::byte{0x0B}), "Hi There") ==
          "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    CHECK(code(sl::to_bytes(sl::as_bytes("Jefe")), "what do ya want for nothing?") ==
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    CHECK(code(sl::bytes(131, std::byte{0xAA}), "Test Using Larger Than Block-Size Key - Hash Key First") ==
          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    CHECK(sl::equal_secret(sl::as_bytes("ab"), sl::as_bytes("ab")));
    CHECK(!sl::equal_secret(sl::as_bytes("ab"), sl::as_bytes("aB")));
    CHECK(!sl::equal_secret(sl::as_bytes("ab"), sl::as_bytes("abc")));
}

TEST_CASE("SHA-256 pads right at every length around a block", "[core][hash]") {
    // The digest of the concatenated digests of 0 to 199 zero bytes, from hashlib.
    sl::sha256_hasher all;
    for (std::size_t n = 0; n < 200; ++n) { all.update(sl::sha256(sl::bytes(n))); }
    CHECK(sl::to_hex(all.finish()) == "59e350876ff46da193f0d152dd874fa876d2020a80910c6b83b1537e21104a9f");
}

TEST_CASE("CRC-32C gives the values of RFC 3720", "[core][hash]") {
    sl::bytes b(32);
    CHECK(sl::crc32c({}) == 0);
    CHECK(sl::crc32c(sl::as_bytes("123456789")) == 0xE3069283);
    CHECK(sl::crc32c(b) == 0x8A9136AA);
    for (auto& x : b) { x = std::byte{0xFF}; }
    CHECK(sl::crc32c(b) == 0x62A8AB43);
    for (std::size_t i = 0; i < 32; ++i) { b[i] = static_cast<std::byte>(i); }
    CHECK(sl::crc32c(b) == 0x46DD794E);
    for (std::size_t i = 0; i < 32; ++i) { b[i] = static_cast<std::byte>(31 - i); }
    CHECK(sl::crc32c(b) == 0x113FDB5C);
}

TEST_CASE("CRC-32C by tables is CRC-32C bit by bit", "[core][hash]") {
    sl::random_generator g(2);
    for (std::size_t n = 0; n < 300; ++n) {
        auto const data = noise(g, n);
        REQUIRE(sl::crc32c(data) == naive_crc32c(data));
    }
}

TEST_CASE("The processor's instructions give what tables and plain rounds give", "[core][hash]") {
    sl::random_generator g(5);
    auto const data = noise(g, 1'100);
    for (std::size_t n = 0; n < 300; ++n) {
        std::byte const* const from = data.data() + n % 17;  // aligned seldom
        auto const start = static_cast<std::uint32_t>(g());
        REQUIRE(sl::detail::crc32c_onward(start, from, n) == sl::detail::crc32c_plain(start, from, n));
        std::array<std::uint32_t, 8> one{};
        for (std::uint32_t& word : one) { word = static_cast<std::uint32_t>(g()); }
        auto other = one;
        sl::detail::sha256_blocks(one, from, n % 16);
        sl::detail::sha256_blocks_plain(other, from, n % 16);
        REQUIRE(one == other);
    }
}

TEST_CASE("XXH3 gives the published values", "[core][hash]") {
    CHECK(sl::xxh3_64({}) == 0x2D06800538D394C2);
    CHECK(sl::xxh3_64(sl::as_bytes("a")) == 0xE6C632B61E964E1F);
    CHECK(sl::xxh3_64(sl::as_bytes("abc")) == 0x78AF5F94892F3950);
}

#if defined(XXH_INLINE_ALL)
TEST_CASE("XXH3 equals libxxhash at every length and seed", "[core][hash]") {
    sl::random_generator g(3);
    auto const data = noise(g, 2048 + 1);
    for (std::size_t n = 0; n <= 2048; ++n) {
        auto const part = sl::bytes_view(data).subspan(n % 2, n);  // unaligned every other time
        for (std::uint64_t const seed : {std::uint64_t{0}, g(), g() & 0xFF}) {
            auto const expected = XXH3_64bits_withSeed(part.data(), n, seed);
            REQUIRE(sl::xxh3_64(part, seed) == expected);
            sl::xxh3_64_hasher h(seed);
            h.update(part);
            REQUIRE(h.finish() == expected);
        }
    }
    auto const longer = noise(g, 100'003);
    for (std::size_t n = 2048; n < longer.size(); n += 977) {
        REQUIRE(sl::xxh3_64(sl::bytes_view(longer).first(n), n) == XXH3_64bits_withSeed(longer.data(), n, n));
    }
}
#endif

TEST_CASE("A digest does not depend on how the input was cut", "[core][hash]") {
    sl::random_generator g(4);
    check_cuts(sl::sha256_hasher{}, g);
    check_cuts(sl::crc32c_hasher{}, g);
    check_cuts(sl::xxh3_64_hasher{}, g);
    check_cuts(sl::xxh3_64_hasher{g()}, g);
}

TEST_CASE("A copied hasher forks the stream", "[core][hash]") {
    sl::sha256_hasher h;
    h.update(sl::as_bytes("ab"));
    auto other = h;
    h.update(sl::as_bytes("c"));
    other.update(sl::as_bytes("d"));
    CHECK(h.finish() == sl::sha256(sl::as_bytes("abc")));
    CHECK(other.finish() == sl::sha256(sl::as_bytes("abd")));
}
