// SPDX-License-Identifier: BSL-1.0
#include <syncline/audit/merkle.hpp>

#include <string>
#include <vector>

#include "audit/model.hpp"
#include "support/sanitized.hpp"

using namespace audit_tests;

namespace {

sha256_function const hash;

// The leaves, roots and proofs with which implementations of Certificate Transparency are tested: test vectors of
// google/certificate-transparency (cpp/merkletree/merkle_verifier_test.cc, python/ct/crypto/merkle_test.py).

constexpr std::string_view reference_leaves[] = {"",
                                                 "00",
                                                 "10",
                                                 "2021",
                                                 "3031",
                                                 "40414243",
                                                 "5051525354555657",
                                                 "606162636465666768696a6b"
                                                 "6c6d6e6f"};
constexpr std::string_view reference_roots[] = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                                "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                                "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                                "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                                "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                                "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                                "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
constexpr std::string_view h96 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
constexpr std::string_view h5f = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
constexpr std::string_view h6b = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
constexpr std::string_view hbc = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
constexpr std::string_view hca = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
constexpr std::string_view h0e = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

struct vector_proof {
    std::uint64_t first;
    std::uint64_t second;
    std::vector<std::string_view> path;
};

std::vector<sha256_digest> digests(std::vector<std::string_view> const& hex) {
    std::vector<sha256_digest> out;
    for (auto const h : hex) { out.push_back(digest(h)); }
    return out;
}

naive_tree made_of(std::size_t n) {
    naive_tree t;
    for (std::size_t i = 0; i < n; ++i) { t.push(sl::to_bytes("leaf " + std::to_string(i * i))); }
    return t;
}
auto nodes_of(naive_tree& t) {
    return [&t](unsigned level, std::uint64_t index) { return t.node(level, index); };
}

}  // namespace

TEST_CASE("merkle: the reference vectors of Certificate Transparency", "[audit]") {
    CHECK(sl::merkle_empty(hash) == digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    CHECK(sl::merkle_leaf(hash, {}) == digest(reference_roots[0]));
    CHECK(sl::merkle_leaf(hash, from_hex("101112131415161718191a1b1c1d1e1f")) ==
          digest("3bfb960453ebaebf33727da7a1f4db38acc051d381b6da20d6d4e88f0eabfd7a"));
    CHECK(sl::merkle_node(hash, digest("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
                          digest("202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f")) ==
          digest("1a378704c17da31e2d05b6d121c2bb2c7d76f6ee6fa8f983e596c2d034963c57"));

    sl::merkle_frontier frontier;
    std::vector<sha256_digest> leaves;
    naive_tree naive;
    for (std::size_t i = 0; i < 8; ++i) {
        naive.push(from_hex(reference_leaves[i]));
        leaves.push_back(sl::merkle_leaf(hash, from_hex(reference_leaves[i])));
        frontier.add(hash, leaves.back());
        CHECK(frontier.root(hash) == digest(reference_roots[i]));
    }
    auto const node = nodes_of(naive);
    vector_proof const inclusions[] = {{0, 1, {}},
                                       {0, 8, {h96, h5f, h6b}},
                                       {5, 8, {hbc, hca, reference_roots[3]}},
                                       {2, 3, {reference_roots[1]}},
                                       {1, 5, {reference_roots[0], h5f, hbc}}};
    for (auto const& v : inclusions) {
        auto const p = sl::make_inclusion_proof(hash, v.first, v.second, node);
        REQUIRE(p);
        CHECK(p->path == digests(v.path));
        CHECK(sl::verify_inclusion(hash, leaves[v.first], *p, digest(reference_roots[v.second - 1])));
    }
    vector_proof const consistencies[] = {
        {1, 1, {}}, {1, 8, {h96, h5f, h6b}}, {6, 8, {h0e, hca, reference_roots[3]}}, {2, 5, {h5f, hbc}}};
    for (auto const& v : consistencies) {
        auto const p = sl::make_consistency_proof(hash, v.first, v.second, node);
        REQUIRE(p);
        CHECK(p->path == digests(v.path));
        CHECK(sl::verify_consistency(hash, *p, digest(reference_roots[v.first - 1]),
                                     digest(reference_roots[v.second - 1])));
    }
}

TEST_CASE("merkle: an audit path of a public log of millions", "[audit]") {
    // Leaf 848049 of 3630887 of a public log, from the same suite.
    sl::inclusion_proof p{848049, 3630887,
                          digests({"1a208aeebcd1b39fe2de247ee8db9454e1e93a312d206b87f6ca9cc6ec6f1ddd",
                                   "0a1b78b383f580856f433c01a5741e160d451c185910027f6cc9f828687a40c4",
                                   "3d1745789bc63f2da15850de1c12a5bf46ed81e1cc90f086148b1662e79aab3d",
                                   "9095b61e14d8990acf390905621e62b1714fb8e399fbb71de5510e0aef45affe",
                                   "0a332b91b8fab564e6afd1dd452449e04619b18accc0ff9aa8393cd4928451f2",
                                   "2336f0181d264aed6d8f3a6507ca14a8d3b3c3a23791ac263e845d208c1ee330",
                                   "b4ce56e300590500360c146c6452edbede25d4ed83919278749ee5dbe178e048",
                                   "933f6ddc848ea562e4f9c5cfb5f176941301dad0c6fdb9d1fbbe34fac1be6966",
                                   "b95a6222958a86f74c030be27c44f57dbe313e5e7c7f4ffb98bcbd3a03bb52f2",
                                   "daeeb3ce5923defd0faeb8e0c210b753b85b809445d7d3d3cd537a9aabaa9c45",
                                   "7fadd0a13e9138a2aa6c3fdec4e2275af233b94812784f66bcca9aa8e989f2bc",
                                   "1864e6ba3e32878610546539734fb5eeae2529991f130c575c73a7e25a2a7c56",
                                   "12842d1202b1dc6828a17ab253c02e7ce9409b5192430feba44189f39cc02d66",
                                   "29af64b16fa3053c13d02ac63aa75b23aa468506e44c3a2315edc85d2dc22b11",
                                   "b527b99934a0bd9edd154e449b0502e2c499bba783f3bc3dfe23364b6b532009",
                                   "4584db8ae8e351ace08e01f306378a92bfd43611714814f3d834a2842d69faa8",
                                   "86a9a41573b0d6e4292f01e93243d6cc65b30f06606fc6fa57390e7e90ed580f",
                                   "a88b98fbe84d4c6aae8db9d1605dfac059d9f03fe0fcb0d5dff1295dacba09e6",
                                   "06326dc617a6d1f7021dc536026dbfd5fffc6f7c5531d48ef6ccd1ed1569f2a1",
                                   "f41fe8fdc3a2e4e8345e30216e7ebecffee26ff266eeced208a6c2a3cf08f960",
                                   "40cf5bde8abb76983f3e98ba97aa36240402975674e120f234b3448911090f8d",
                                   "b3222dc8658538079883d980d7fdc2bef9285344ea34338968f736b04aeb387a"})};
    auto const leaf = digest("7a395c866d5ecdb0cccb623e011dbc392cd348d1d1d72776174e127a24b09c78");
    auto const root = digest("78316a05c9bcf14a3a4548f5b854a9adfcd46a4c034401b3ce7eb7ac2f1d0ecb");
    CHECK(sl::verify_inclusion(hash, leaf, p, root));
    for (std::size_t i = 0; i < p.path.size(); ++i) {
        auto other = p;
        other.path[i][0] ^= std::byte{1};
        CHECK_FALSE(sl::verify_inclusion(hash, leaf, other, root));
    }
    p.index = 848048;
    CHECK_FALSE(sl::verify_inclusion(hash, leaf, p, root));
}

TEST_CASE("merkle: the example of RFC 9162, section 2.1.5", "[audit]") {
    // d0 to d6 with a to f and j below, g, h, i, k, l above.
    naive_tree t = made_of(7);
    std::vector<sha256_digest> leaves;
    for (std::size_t i = 0; i < 7; ++i) { leaves.push_back(t.leaf(i)); }
    auto const a = leaves[0], b = leaves[1], c = leaves[2], d = leaves[3], e = leaves[4], f = leaves[5], j = leaves[6];
    auto const g = sl::merkle_node(hash, a, b), h = sl::merkle_node(hash, c, d), i = sl::merkle_node(hash, e, f);
    auto const k = sl::merkle_node(hash, g, h), l = sl::merkle_node(hash, i, j);
    using path = std::vector<sha256_digest>;
    auto const node = nodes_of(t);
    CHECK(sl::make_inclusion_proof(hash, 0, 7, node)->path == path{b, h, l});
    CHECK(sl::make_inclusion_proof(hash, 3, 7, node)->path == path{c, g, l});
    CHECK(sl::make_inclusion_proof(hash, 4, 7, node)->path == path{f, j, k});
    CHECK(sl::make_inclusion_proof(hash, 6, 7, node)->path == path{i, k});
    CHECK(sl::make_consistency_proof(hash, 3, 7, node)->path == path{c, d, g, l});
    CHECK(sl::make_consistency_proof(hash, 4, 7, node)->path == path{l});
    CHECK(sl::make_consistency_proof(hash, 6, 7, node)->path == path{i, j, k});
}

TEST_CASE("merkle: all trees of up to 200 leaves, against the definition", "[audit]") {
    constexpr std::size_t most = sanitized ? 70 : 200;
    naive_tree t = made_of(most);
    std::vector<sha256_digest> leaves;
    sl::merkle_frontier frontier;
    std::size_t wrong = 0;
    auto const expect = [&](bool good) { wrong += good ? 0 : 1; };
    for (std::size_t n = 0; n <= most; ++n) {
        auto const node = nodes_of(t);
        auto const root = t.root(n);
        expect(frontier.root(hash) == root && frontier.size() == n);
        // The paths of all leaves; each proves its own leaf in its own tree only.
        for (std::size_t m = 0; m < n; ++m) {
            auto const p = *sl::make_inclusion_proof(hash, m, n, node);
            expect(p.path == t.path(m, n));
            expect(sl::verify_inclusion(hash, leaves[m], p, root));
            expect(m == 0 || !sl::verify_inclusion(hash, leaves[m - 1], p, root));
            expect(n == 1 || !sl::verify_inclusion(hash, leaves[m], p, t.root(n - 1)));
        }
        for (std::size_t m = 0; m <= n; ++m) {
            auto const p = *sl::make_consistency_proof(hash, m, n, node);
            expect(p.path == (m == 0 ? std::vector<sha256_digest>{} : t.proof(m, n)));
            expect(sl::verify_consistency(hash, p, t.root(m), root));
            expect(m == 0 || m == n || !sl::verify_consistency(hash, p, t.root(m - 1), root));
            expect(m == 0 || m == n || !sl::verify_consistency(hash, p, t.root(m), t.root(n - 1)));
        }
        if (n == most) { break; }
        leaves.push_back(t.leaf(n));
        frontier.add(hash, leaves.back());
    }
    CHECK(wrong == 0);
}

TEST_CASE("merkle: a proof that was changed proves nothing", "[audit]") {
    naive_tree t = made_of(40);
    std::vector<sha256_digest> leaves;
    for (std::size_t i = 0; i < 40; ++i) { leaves.push_back(t.leaf(i)); }
    auto const node = nodes_of(t);
    std::size_t wrong = 0;
    auto const refused = [&](bool proves) { wrong += proves ? 1 : 0; };
    for (std::size_t n = 1; n <= 40; ++n) {
        for (std::size_t m = 0; m < n; ++m) {
            auto const good = *sl::make_inclusion_proof(hash, m, n, node);
            auto const tried = [&](sl::inclusion_proof const& p) {
                refused(sl::verify_inclusion(hash, leaves[m], p, t.root(n)));
            };
            for (std::size_t i = 0; i < good.path.size(); ++i) {
                auto p = good;
                p.path[i][31] ^= std::byte{0x80};
                tried(p);
                p = good;
                p.path.erase(p.path.begin() + static_cast<std::ptrdiff_t>(i));
                tried(p);
                p = good;
                p.path.insert(p.path.begin() + static_cast<std::ptrdiff_t>(i), good.path[i]);
                tried(p);
            }
            auto p = good;
            p.path.push_back(t.root(n));
            tried(p);
            for (std::size_t other = 0; other < n + 2; ++other) {
                p = good;
                p.index = other;
                if (other != m) { tried(p); }
            }
        }
        for (std::size_t m = 1; m < n; ++m) {
            auto const good = *sl::make_consistency_proof(hash, m, n, node);
            auto const tried = [&](sl::consistency_proof const& p) {
                refused(sl::verify_consistency(hash, p, t.root(m), t.root(n)));
            };
            for (std::size_t i = 0; i < good.path.size(); ++i) {
                auto p = good;
                p.path[i][0] ^= std::byte{1};
                tried(p);
                p = good;
                p.path.erase(p.path.begin() + static_cast<std::ptrdiff_t>(i));
                tried(p);
            }
            auto p = good;
            p.path.push_back(t.root(n));
            tried(p);
            p = good;
            p.path.clear();
            tried(p);
            p = good;
            std::swap(p.first, p.second);
            tried(p);
        }
    }
    CHECK(wrong == 0);
    // At the ends of the numbers nothing overflows.
    sl::inclusion_proof const wide{~std::uint64_t{0} - 1, ~std::uint64_t{0}, std::vector<sha256_digest>(64)};
    CHECK_FALSE(sl::verify_inclusion(hash, leaves[0], wide, t.root(1)));
    for (std::uint64_t const first : {std::uint64_t{1}, std::uint64_t{1} << 63, ~std::uint64_t{0} - 1}) {
        sl::consistency_proof const c{first, ~std::uint64_t{0}, std::vector<sha256_digest>(64)};
        CHECK_FALSE(sl::verify_consistency(hash, c, t.root(1), t.root(2)));
    }
}

TEST_CASE("merkle: proofs travel in one form, and nothing else is taken", "[audit]") {
    sl::inclusion_proof const p{5, 8, digests({hbc, hca})};
    bytes const golden = from_hex("830508825820" + std::string(hbc) + "5820" + std::string(hca));
    CHECK(encode(p) == golden);
    CHECK(*sl::decode_inclusion_proof(golden) == p);
    sl::consistency_proof const c{5, 8, p.path};
    CHECK(encode(c) == golden);
    CHECK(*sl::decode_consistency_proof(golden) == c);
    for (std::size_t n = 0; n < golden.size(); ++n) {
        CHECK_FALSE(sl::decode_inclusion_proof(bytes_view{golden}.first(n)));
        CHECK_FALSE(sl::decode_consistency_proof(bytes_view{golden}.first(n)));
    }
    CHECK(sl::decode_inclusion_proof(encode(sl::inclusion_proof{8, 8, {}})).error() == errc::malformed);
    CHECK(sl::decode_consistency_proof(encode(sl::consistency_proof{9, 8, {}})).error() == errc::malformed);
    sl::inclusion_proof const high{0, 2, std::vector<sha256_digest>(65)};
    CHECK(sl::decode_inclusion_proof(encode(high)).error() == errc::malformed);
    CHECK(sl::merkle_frontier::from(5, std::vector<sha256_digest>(3)).error() == errc::malformed);
    CHECK(sl::merkle_frontier::from(5, std::vector<sha256_digest>(2)));
}
