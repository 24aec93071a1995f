// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/envelope.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "support/catch.hpp"

#include <syncline/core/random.hpp>

using namespace syncline;

namespace {

replica_id device(std::uint8_t n) {
    replica_id r;
    r.device.bytes[15] = std::byte{n};
    r.incarnation = 7;
    return r;
}
bytes frozen(std::uint64_t sequence) {
    mutation m;
    m.sequence = sequence;
    m.stamp = timestamp{5};
    m.kind = change_kind::erase;
    m.record = {"things", "a"};
    bytes out;
    cbor_writer w{out};
    encode_mutation(w, m);
    return out;
}
envelope sample() { return {"venue", "anna", device(1), {11, 3}, {{device(2), 4}, {device(3), 1}}, frozen(2)}; }

}  // namespace

TEST_CASE("an envelope comes back as it was sealed", "[replica]") {
    mac_sealer sealer(as_bytes("k1"), as_bytes("a key of sixteen"));
    auto const sealed = seal(sample(), sealer);
    REQUIRE(sealed);
    auto const e = open_envelope(*sealed);
    REQUIRE(e);
    CHECK(e->said == sample());
    CHECK(e->id() == dot{device(1), 2});
    CHECK(e->proof.size() == 32);
    CHECK(encode_sealed(e->statement, e->key_id, e->proof) == *sealed);
}

TEST_CASE("an envelope is its author's, or is nothing", "[replica]") {
    bytes const key = to_bytes(as_bytes("a key of sixteen"));
    mac_sealer sealer(as_bytes("k1"), key);
    mac_keys keys;
    keys.add(as_bytes("k1"), key, device(1).device, "anna");
    relay_gate const gate = gate_of("venue", keys);
    auto const ask = [&](envelope const& e, auto& by) {
        auto const opened = open_envelope(*seal(e, by));
        return opened ? gate.admits(*opened, device(9), "ben") : status{opened.error()};
    };
    CHECK(ask(sample(), sealer));
    auto e = sample();
    e.realm = "elsewhere";
    CHECK(ask(e, sealer).error() == errc::forbidden);
    e = sample();
    e.principal = "ben";
    CHECK(ask(e, sealer).error() == errc::unauthorised);
    e = sample();
    e.author = device(4);
    CHECK(ask(e, sealer).error() == errc::unauthorised);
    mac_sealer forger(as_bytes("k1"), as_bytes("another of sixteen"));
    CHECK(ask(sample(), forger).error() == errc::forbidden);
    mac_sealer stranger(as_bytes("k2"), key);
    CHECK(ask(sample(), stranger).error() == errc::unauthorised);
    keys.remove(as_bytes("k1"));
    CHECK(ask(sample(), sealer).error() == errc::unauthorised);
    no_seal none;
    CHECK(ask(sample(), none).error() == errc::unauthorised);

    trusted_group group;
    group.add(device(1).device, "anna");
    relay_gate const trusting = gate_of("venue", group);
    auto const open = open_envelope(*seal(sample(), none));
    CHECK(trusting.admits(*open, device(9), "ben").error() == errc::unauthorised);
    group.add(device(9).device, "ben");
    CHECK(trusting.admits(*open, device(9), "ben"));
    CHECK(trusting.admits(*open, device(9), "cleo").error() == errc::unauthorised);
}

TEST_CASE("what is no envelope is an error, and a changed byte is no proof", "[replica]") {
    bytes const key = to_bytes(as_bytes("a key of sixteen"));
    mac_sealer sealer(as_bytes("k1"), key);
    mac_keys keys;
    keys.add(as_bytes("k1"), key, device(1).device, "anna");
    relay_gate const gate = gate_of("venue", keys);
    bytes const sealed = *seal(sample(), sealer);
    for (std::size_t n = 0; n < sealed.size(); ++n) { CHECK(!open_envelope(bytes_view{sealed}.first(n))); }
    random_generator dice(3);
    for (int i = 0; i < 4'000; ++i) {
        bytes worse = sealed;
        std::size_t const changes = 1 + dice() % 3;
        for (std::size_t k = 0; k < changes; ++k) { worse[dice() % worse.size()] ^= std::byte{1} << (dice() % 8); }
        if (worse == sealed) { continue; }
        auto const e = open_envelope(worse);
        if (e) { CHECK(!gate.admits(*e, device(9), "ben")); }
    }
    auto e = sample();
    e.needs = {{device(3), 1}, {device(2), 4}};
    CHECK(open_envelope(*seal(e, sealer)).error() == errc::not_deterministic);
    e = sample();
    e.needs = {{device(1), 1}};
    CHECK(open_envelope(*seal(e, sealer)).error() == errc::malformed);
    e = sample();
    e.frozen = frozen(0);
    CHECK(open_envelope(*seal(e, sealer)).error() == errc::malformed);
    e = sample();
    e.needs.clear();
    for (std::uint8_t n = 10; n < 30; ++n) { e.needs.push_back({device(n), 1}); }
    CHECK(open_envelope(*seal(e, sealer)).error() == errc::limit);
    e = sample();
    e.principal = std::string(300, 'x');
    CHECK(seal(e, sealer).error() == errc::limit);
}
