// SPDX-License-Identifier: BSL-1.0
#include <syncline/adapters/openssl_sign.hpp>

#include <cstddef>
#include <string>
#include <string_view>

#include "support/catch.hpp"

using namespace syncline;

namespace {

bytes of_hex(std::string_view hex) {
    bytes out;
    auto const digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        out.push_back(static_cast<std::byte>(digit(hex[i]) * 16 + digit(hex[i + 1])));
    }
    return out;
}
bytes secret(unsigned n) { return bytes(32, static_cast<std::byte>(n)); }
id128 named(unsigned n) { return {{static_cast<std::byte>(n)}}; }

envelope sample() {
    mutation m;
    m.sequence = 2;
    m.record = {"things", "a"};
    bytes one;
    cbor_writer{one}.integer(1);
    m.ops = {{"name", op_kind::set, one, {}}};
    m.stamp = m.ops[0].stamp = timestamp{1U << 16U};
    envelope e{"venue", "anna", {named(1), 1}, {11, 3}, {}, {}};
    cbor_writer w{e.frozen};
    encode_mutation(w, m);
    return e;
}

}  // namespace

TEST_CASE("Ed25519: the vectors of RFC 8032", "[sign]") {
    struct {
        char const* secret;
        char const* known;
        char const* message;
        char const* signature;
    } const all[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe"
         "24655141438e7a100b"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302a"
         "eeb00d291612bb0c00"},
    };
    for (auto const& v : all) {
        auto const signer = ed25519_signer::make(as_bytes("k"), of_hex(v.secret));
        REQUIRE(signer);
        CHECK(to_hex(signer->public_key()) == v.known);
        bytes out;
        REQUIRE(signer->sign(of_hex(v.message), out));
        CHECK(to_hex(out) == v.signature);
        CHECK(ed25519_verify(signer->public_key(), of_hex(v.message), out));
        for (std::size_t i = 0; i < out.size(); ++i) {
            bytes bad = out;
            bad[i] ^= std::byte{1};
            CHECK_FALSE(ed25519_verify(signer->public_key(), of_hex(v.message), bad));
        }
        CHECK_FALSE(ed25519_verify(signer->public_key(), as_bytes("other"), out));
        CHECK_FALSE(ed25519_verify(signer->public_key(), of_hex(v.message), {}));
    }
    CHECK(ed25519_signer::make(as_bytes("k"), bytes(31)).error() == errc::invalid);
}

TEST_CASE("Ed25519: an envelope is taken from its author, and from nobody else", "[sign]") {
    auto const anna = ed25519_signer::make(as_bytes("annas"), secret(1));
    auto const forger = ed25519_signer::make(as_bytes("annas"), secret(2));
    auto const ben = ed25519_signer::make(as_bytes("bens"), secret(3));
    REQUIRE((anna && forger && ben));
    ed25519_keys keys;
    keys.add(as_bytes("annas"), anna->public_key(), named(1), "anna");
    keys.add(as_bytes("bens"), ben->public_key(), named(2), "ben");
    relay_gate const gate = gate_of("venue", keys);
    auto const ask = [&](envelope const& e, ed25519_signer const& by) {
        auto const sealed = seal(e, by);
        REQUIRE(sealed);
        auto const opened = open_envelope(*sealed);
        REQUIRE(opened);
        return gate.admits(*opened, {named(9), 1}, "carrier");
    };
    CHECK(ask(sample(), *anna));
    CHECK(ask(sample(), *forger).error() == errc::forbidden);
    CHECK(ask(sample(), *ben).error() == errc::unauthorised);
    auto const sealed = seal(sample(), *anna);
    REQUIRE(sealed);
    for (std::size_t i = 0; i < sealed->size(); ++i) {
        bytes bad = *sealed;
        bad[i] ^= std::byte{1};
        auto const opened = open_envelope(bad);
        CHECK_FALSE((opened && gate.admits(*opened, {named(9), 1}, "carrier")));
    }
    keys.remove(as_bytes("annas"));
    CHECK(ask(sample(), *anna).error() == errc::unauthorised);
}

TEST_CASE("Ed25519: a log's head is signed and verified", "[sign]") {
    auto signer = ed25519_signer::make(as_bytes("house"), secret(4));
    REQUIRE(signer);
    ed25519_keys trusted;
    trusted.add(as_bytes("house"), signer->public_key(), {}, "");
    audit_head head;
    head.size = 3;
    auto const one = sign_head(*signer, head);
    REQUIRE(one);
    CHECK(verify_head(trusted, *one));
    auto other = *one;
    other.head.size = 4;
    CHECK(verify_head(trusted, other).error() == errc::forbidden);
    other = *one;
    other.key_id.clear();
    CHECK(verify_head(trusted, other).error() == errc::unauthorised);
}
