// SPDX-License-Identifier: BSL-1.0
#include <syncline/reconcile/fingerprint.hpp>

#include <algorithm>
#include <set>
#include <type_traits>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

static_assert(std::is_trivially_copyable_v<fingerprint> && sizeof(fingerprint) == fingerprint_bytes);

namespace {

std::array<std::byte, 16> counting_bytes() {
    std::array<std::byte, 16> k{};
    for (std::size_t i = 0; i < k.size(); ++i) { k[i] = static_cast<std::byte>(i); }
    return k;
}

}  // namespace

TEST_CASE("fingerprint: the hash is SipHash, by the vectors of its reference code", "[reconcile]") {
    auto const k = counting_bytes();
    auto const k0 = detail::load_little64(k.data());
    auto const k1 = detail::load_little64(k.data() + 8);
    detail::sip_hash<2, 4> empty(k0, k1);
    CHECK(empty.finish_64(0) == 0x726FDB47DD0E0E31);
    detail::sip_hash<2, 4> fifteen(k0, k1);  // the bytes 0 to 14: the example of the paper
    fifteen.word(0x0706050403020100);
    CHECK(fifteen.finish_64(0x0F0E0D0C0B0A0908) == 0xA129CA6149BE45E5);
    detail::sip_hash<2, 4> wide(k0, k1);
    wide.widen();
    CHECK(wide.finish_128(0) == fingerprint{0x930255C71472F66D, 0xE6A825BA047F81A3});
}

TEST_CASE("fingerprint: a row's hash is pinned, and its parts can't be shifted into one another", "[reconcile]") {
    row_hasher const h(reconcile_key{counting_bytes()});
    bytes out;
    append_fingerprint(out, h.row(as_bytes("key"), as_bytes("version 1")));
    CHECK(to_hex(out) == "6d1b7d9003b52d8412764df8461cb011");
    CHECK(read_fingerprint(out) == h.row(as_bytes("key"), as_bytes("version 1")));
    std::set<std::string> all;
    for (char const* parts : {"abc|", "ab|c", "a|bc", "|abc", "abc|\0", "ab|c\0"}) {
        std::string_view const whole(parts);
        auto const cut = whole.find('|');
        bytes print;
        append_fingerprint(print, h.row(as_bytes(whole.substr(0, cut)), as_bytes(whole.substr(cut + 1))));
        all.insert(to_hex(print));
    }
    CHECK(all.size() == 4);  // the literals with a zero end at it
    CHECK_FALSE(row_hasher(reconcile_key{}).row(as_bytes("a"), {}) == h.row(as_bytes("a"), {}));
    CHECK(row_hasher(reconcile_key{}).key_check() != h.key_check());
}

TEST_CASE("fingerprint: sums form a group, in whatever order rows come and go", "[reconcile]") {
    fingerprint const top{~std::uint64_t{0}, ~std::uint64_t{0}};
    CHECK(top + fingerprint{0, 1} == fingerprint{});
    CHECK(fingerprint{} - fingerprint{0, 1} == top);
    CHECK(fingerprint{0, ~std::uint64_t{0}} + fingerprint{0, 1} == fingerprint{1, 0});
    CHECK(fingerprint{1, 0} - fingerprint{0, 1} == fingerprint{0, ~std::uint64_t{0}});
    random_generator g(1);
    std::vector<fingerprint> some(50);
    fingerprint sum;
    for (auto& f : some) {
        f = {g(), g()};
        sum += f;
    }
    for (std::size_t i = some.size(); i > 1; --i) { std::swap(some[i - 1], some[below(g, i)]); }
    for (auto const& f : some) { sum -= f; }
    CHECK(sum == fingerprint{});
    // Not exclusive or: the same row twice is not none.
    CHECK_FALSE(some[0] + some[0] == fingerprint{});
}
