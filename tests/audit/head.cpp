// SPDX-License-Identifier: BSL-1.0
#include <syncline/audit/head.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "audit/model.hpp"

using namespace audit_tests;
using sl::anchor_finding;
using sl::audit_head;

namespace {

/// Signs by a hash under a key: enough to tell who holds it.
struct keyed {
    bytes key = sl::to_bytes("secret");
    bytes name = sl::to_bytes("device 1");
    std::size_t length = 32;
    errc fails{};

    bytes_view key_id() { return name; }
    sl::status sign(bytes_view m, bytes& out) {
        if (fails != errc{}) { return fails; }
        bytes whole = key;
        sl::append(whole, m);
        auto const d = sl::sha256(whole);
        out.assign(d.begin(), d.end());
        out.resize(length);
        return {};
    }
    sl::status verify(bytes_view id, bytes_view m, bytes_view signature) {
        if (!sl::equal(id, name)) { return errc::unauthorised; }
        bytes expected;
        if (auto const ok = sign(m, expected); !ok) { return ok; }
        return sl::equal(expected, signature) ? sl::status{} : sl::status{errc::forbidden};
    }
};
static_assert(sl::head_signer<keyed> && sl::head_verifier<keyed>);

struct notary {
    std::optional<bytes> kept;
    errc fails{};
    sl::status publish(bytes_view head) {
        if (fails != errc{}) { return fails; }
        kept = sl::to_bytes(head);
        return {};
    }
    sl::result<std::optional<bytes>> latest() {
        if (fails != errc{}) { return fails; }
        return kept;
    }
};
static_assert(sl::head_anchor<notary>);

audit_head some_head() {
    audit_head h;
    h.log.bytes[0] = std::byte{7};
    h.size = 300;
    h.root.fill(std::byte{0x33});
    h.stamp = {65536};
    return h;
}

}  // namespace

TEST_CASE("head: golden bytes", "[audit]") {
    CHECK(sl::to_hex(encode(some_head())) ==
          "8601"
          "7373796e636c696e652061756469742068656164"
          "5007000000000000000000000000000000"
          "19012c"
          "5820" +
              std::string(64, '3') + "1a00010000");
    CHECK(*sl::decode_head(encode(some_head())) == some_head());
    sl::signed_head const s{some_head(), sl::to_bytes("k"), sl::to_bytes("sig")};
    std::string const inner = sl::to_hex(encode(some_head()));
    CHECK(sl::to_hex(encode(s)) == "835851" + inner + "416b43736967");
    CHECK(*sl::decode_signed_head(encode(s)) == s);
}

TEST_CASE("head: what was changed is refused or not what was signed", "[audit]") {
    keyed signer;
    auto const s = sign_head(signer, some_head());
    REQUIRE(s);
    CHECK(verify_head(signer, *s));
    bytes const raw = encode(*s);
    for (std::size_t at = 0; at < raw.size(); ++at) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            bytes changed = raw;
            changed[at] ^= static_cast<std::byte>(1U << bit);
            auto const d = sl::decode_signed_head(changed);
            REQUIRE((!d || !verify_head(signer, *d)));
        }
        REQUIRE_FALSE(sl::decode_signed_head(bytes_view{raw}.first(at)));
    }
    bytes later = encode(some_head());
    later[1] = std::byte{2};
    CHECK(sl::decode_head(later).error() == errc::unsupported);
    keyed stranger;
    stranger.key = sl::to_bytes("guessed");
    CHECK(verify_head(signer, *sign_head(stranger, some_head())).error() == errc::forbidden);
    stranger.name = sl::to_bytes("device 2");
    CHECK(verify_head(signer, *sign_head(stranger, some_head())).error() == errc::unauthorised);
}

TEST_CASE("head: what signer and anchor answer is handed on", "[audit]") {
    keyed signer;
    notary anchor;
    CHECK_FALSE(*sl::anchored_head(signer, anchor));
    REQUIRE(anchor_head(signer, anchor, some_head()));
    CHECK(**sl::anchored_head(signer, anchor) == some_head());
    anchor.fails = errc::unreachable;
    CHECK(anchor_head(signer, anchor, some_head()).error() == errc::unreachable);
    CHECK(sl::anchored_head(signer, anchor).error() == errc::unreachable);
    anchor.fails = {};
    signer.fails = errc::busy;
    CHECK(anchor_head(signer, anchor, some_head()).error() == errc::busy);
    signer.fails = {};
    signer.length = 4097;
    CHECK(sign_head(signer, some_head()).error() == errc::invalid);
    signer.length = 32;
    anchor.kept = sl::to_bytes("a page of a captive portal");
    CHECK_FALSE(sl::anchored_head(signer, anchor));
}

TEST_CASE("head: a later one extends an earlier one, or is shorter, other, or a stranger's", "[audit]") {
    sha256_function const hash;
    naive_tree t;
    for (int i = 0; i < 20; ++i) { t.push(sl::to_bytes(std::to_string(i))); }
    auto const at = [&](std::size_t n) {
        audit_head h = some_head();
        h.size = n;
        h.root = t.root(n);
        return h;
    };
    for (std::size_t m = 0; m <= 20; ++m) {
        for (std::size_t n = 0; n <= 20; ++n) {
            sl::consistency_proof p{m, n, {}};
            if (m != 0 && m <= n) { p.path = t.proof(m, n); }
            CHECK(compare_heads(hash, at(m), at(n), p) ==
                  (m <= n ? anchor_finding::extends : anchor_finding::truncated));
            auto other = at(n);
            other.root[5] ^= std::byte{1};
            if (m <= n && m != 0) { CHECK(compare_heads(hash, at(m), other, p) == anchor_finding::forked); }
        }
    }
    auto stranger = at(20);
    stranger.log = {};
    CHECK(compare_heads(hash, at(3), stranger, {3, 20, t.proof(3, 20)}) == anchor_finding::other_log);
    CHECK(compare_heads(hash, at(3), at(20), {4, 20, t.proof(4, 20)}) == anchor_finding::forked);
    for (std::uint8_t f = 1; f <= 4; ++f) {
        CHECK(sl::name(static_cast<anchor_finding>(f)) != std::string("unknown finding"));
    }
}

TEST_CASE("head: a proof is for the size that the head has: the root alone doesn't tell one index from another",
          "[audit]") {
    sl::sha256_function const hash;
    std::vector<sl::sha256_digest> leaves;
    for (char const c : std::string_view{"abcde"}) {
        leaves.push_back(sl::merkle_leaf(hash, sl::as_bytes(std::string_view{&c, 1})));
    }
    auto const node = [&](sl::sha256_digest const& l, sl::sha256_digest const& r) {
        return sl::merkle_node(hash, l, r);
    };
    auto const four = node(node(leaves[0], leaves[1]), node(leaves[2], leaves[3]));
    sl::audit_head const head{{}, 5, node(four, leaves[4]), {}};
    sl::inclusion_proof const true_one{4, 5, {four}};
    // The fifth of five told as the second of two.
    sl::inclusion_proof const lie{1, 2, {four}};
    CHECK(sl::verify_inclusion(hash, leaves[4], true_one, head));
    CHECK(sl::verify_inclusion(hash, leaves[4], lie, head.root));
    CHECK_FALSE(sl::verify_inclusion(hash, leaves[4], lie, head));
    CHECK_FALSE(sl::verify_inclusion(hash, leaves[3], true_one, head));
}
