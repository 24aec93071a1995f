// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <string>

#include <syncline/core/random.hpp>
#include <syncline/model/mutation.hpp>

using namespace syncline;

namespace {

bytes encoded(mutation const& m) {
    bytes out;
    cbor_writer w{out};
    encode_mutation(w, m);
    return out;
}
mutation sample() {
    mutation m;
    m.sequence = 7;
    m.stamp = timestamp{1000};
    m.record = {"guests", "Zoë"};
    m.base = 12;
    bytes five;
    cbor_writer{five}.integer(5);
    m.ops = {{"a", op_kind::add, five, timestamp{1000}},
             {"b", op_kind::unset, {}, timestamp{999}},
             {"cc", op_kind::set, five, timestamp{998}},
             {"dd", op_kind::unset, {}, timestamp{1000}}};
    return m;
}

}  // namespace

TEST_CASE("a mutation has one encoding, which gives it back") {
    mutation const m = sample();
    bytes const raw = encoded(m);
    cbor_reader in{raw};
    CHECK(decode_mutation(in) == m);
    CHECK(in.finish());
    CHECK(validate_canonical(raw));
}

TEST_CASE("a mutation's bytes are pinned: they are on disks and wires") {
    CHECK(to_hex(encoded(sample())) ==
          "88071903e80266677565737473445a6fc3ab010c84830361610584026162f61903e7840162636305"
          "1903e682026264"
          "64");
}

TEST_CASE("what is no mutation is refused, whatever it is") {
    auto const refuse = [](mutation const& m) {
        bytes const raw = encoded(m);
        cbor_reader in{raw};
        (void)decode_mutation(in);
        return !in.finish();
    };
    mutation m = sample();
    m.record.collection.clear();
    CHECK(refuse(m));
    m = sample();
    m.record.id.assign(256, std::byte{1});
    CHECK(refuse(m));
    m = sample();
    std::swap(m.ops[0], m.ops[1]);
    CHECK(refuse(m));
    m = sample();
    m.ops[1].field = m.ops[0].field;
    CHECK(refuse(m));
    m = sample();
    m.kind = change_kind::erase;
    CHECK(refuse(m));
    m = sample();
    m.kind = static_cast<change_kind>(9);
    CHECK(refuse(m));
    m = sample();
    m.ops[0].field.clear();
    CHECK(refuse(m));
}

TEST_CASE("a damaged mutation is an error or another mutation, never anything else") {
    bytes const raw = encoded(sample());
    syncline::random_generator dice{4};
    for (std::size_t n = 0; n < raw.size(); ++n) {
        cbor_reader in{bytes_view{raw}.first(n)};
        (void)decode_mutation(in);
        CHECK_FALSE(in.finish());
    }
    for (int i = 0; i < 20'000; ++i) {
        bytes bad = raw;
        for (std::uint64_t k = 0; k <= dice() % 3; ++k) { bad[dice() % bad.size()] = static_cast<std::byte>(dice()); }
        cbor_reader in{bad};
        mutation const m = decode_mutation(in);
        if (in.finish()) { CHECK(encoded(m) == bad); }
    }
}

TEST_CASE("record keys keep collections together and ids in order") {
    CHECK(compare(to_bytes(record_key{"a", "z"}), to_bytes(record_key{"b", "a"})) == std::strong_ordering::less);
    CHECK(compare(to_bytes(record_key{"a", "1"}), to_bytes(record_key{"a", "10"})) == std::strong_ordering::less);
    record_key const k{"guests", "Zoë"};
    CHECK(*record_key_from(to_bytes(k)) == k);
    CHECK_FALSE(record_key_from({}));
    bytes const short_one{std::byte{5}, std::byte{'a'}};
    CHECK(record_key_from(short_one).error() == errc::corrupt);
    CHECK_FALSE(valid(record_key{"", "a"}));
    CHECK_FALSE(valid(record_key{"a", ""}));
    CHECK_FALSE(valid(record_key{"\xFF", "a"}));
    CHECK_FALSE(valid(record_key{std::string(65, 'c'), "a"}));
    CHECK(valid(record_key{std::string(64, 'c'), std::string(255, 'i')}));
}
