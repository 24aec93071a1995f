// SPDX-License-Identifier: BSL-1.0

/// What the first version wrote and read, byte for byte, and that today's reads it and is read by it.

#include <syncline/testing/first_codec.hpp>

#include <string>
#include <utility>

#include <syncline/replica/protocol.hpp>

#include "support/catch.hpp"

using namespace syncline;
using syncline::testing::first_codec;

namespace {

request sample_request() {
    request q;
    q.replica.device.bytes.fill(std::byte{0x11});
    q.replica.incarnation = 1;
    q.epoch.emplace().bytes.fill(std::byte{0x22});
    q.cursor = 7;
    q.receipts = 1;
    mutation m;
    m.sequence = 2;
    m.stamp = timestamp::make(wall_time{milliseconds{1'790'000'000'000}});
    m.record = {"rooms", "a"};
    m.base = 6;
    bytes five;
    cbor_writer{five}.integer(5);
    m.ops = {{"guests", op_kind::add, five, m.stamp}};
    cbor_writer w{q.mutations.emplace_back()};
    encode_mutation(w, m);
    return q;
}
reply sample_reply() {
    reply p;
    p.epoch.bytes.fill(std::byte{0x22});
    p.replica = sample_request().replica;
    p.head = 8;
    p.author = 3;
    p.decided = 2;
    p.from = 7;
    p.to = 8;
    p.time = wall_time{milliseconds{1'790'000'000'500}};
    p.verdicts.emplace_back();
    p.verdicts[0].sequence = 2;
    row r;
    r.version = 8;
    r.life = 1;
    cbor_writer{r.fields}.map(0);
    p.rows = {{{"rooms", "a"}, r}};
    return p;
}

}  // namespace

TEST_CASE("the first version's bytes never change") {
    CHECK(to_hex(first_codec::write(sample_request())) ==
          "53594c016c5102f0a7015411111111111111111111111111111111000000010250222222222222222222222222222222220307040105"
          "81582188021b01a0c4506c0000000265726f6f6d73416101068183036667756573747305061903e8071a00100000");
    CHECK(first_codec::write(sample_request()) == encode(sample_request()));
    CHECK(first_codec::write(sample_reply()) == encode(sample_reply()));
}

TEST_CASE("today's messages are read by the first version, but for what it does not know") {
    request q = sample_request();
    q.origins = {{5, 6}};
    q.line = 5;
    q.ranges = {{to_bytes(as_bytes("a")), to_bytes(as_bytes("b"))}};
    q.schemas = {{"rooms", 2}};
    q.known = 4;
    auto const read = first_codec::read_request(encode(q));
    REQUIRE(read);
    CHECK(*read == sample_request());
    CHECK(*decode_request(first_codec::write(q)) == sample_request());

    reply p = sample_reply();
    p.line = 5;
    p.horizon = 3;
    p.stable = 2;
    p.asked = p.epoch;
    auto const said = first_codec::read_reply(encode(p));
    REQUIRE(said);
    CHECK(*said == sample_reply());
    CHECK(*decode_reply(first_codec::write(p)) == sample_reply());
}

TEST_CASE("what the first version can't read it refuses") {
    bytes message = encode(sample_request());
    SECTION("a mandatory feature") {
        message[8] = std::byte{0xA8};
        message.insert(message.begin() + 9, {std::byte{0}, std::byte{0x81}, std::byte{1}});
        detail::seal_frame(message);
        CHECK(first_codec::read_request(message).error() == errc::unsupported);
    }
    SECTION("another version") {
        message[3] = std::byte{2};
        CHECK(first_codec::read_request(message).error() == errc::unsupported);
    }
    SECTION("something else") {
        CHECK(first_codec::read_request(as_bytes("a captive portal's page")).error() == errc::foreign);
    }
    SECTION("damage, at each byte") {
        for (std::size_t i = 0; i < message.size(); ++i) {
            bytes spoilt = message;
            spoilt[i] ^= std::byte{0x10};
            CHECK(!first_codec::read_request(spoilt));
            CHECK(!first_codec::read_reply(bytes_view{message}.first(i)));
        }
    }
    SECTION("verdicts in columns, which it has not asked for") {
        reply p = sample_reply();
        for (std::uint64_t n = 3; n < 9; ++n) {
            p.verdicts.push_back(p.verdicts[0]);
            p.verdicts.back().sequence = n;
        }
        CHECK(first_codec::read_reply(encode_with_rows(p, 0, {}, feature_columns)).error() == errc::malformed);
        CHECK(first_codec::read_reply(encode_with_rows(p, 0, {}, 0)));
    }
}
