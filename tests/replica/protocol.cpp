// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <string>

#include <syncline/testing/first_codec.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

request sample_request() {
    request q;
    q.replica.device.bytes[0] = std::byte{1};
    q.replica.incarnation = 5;
    q.epoch = id128{};
    q.cursor = 10;
    q.receipts = 3;
    q.mutations = {integer(1), integer(2)};
    return q;
}
reply sample_reply() {
    reply p;
    p.epoch.bytes[3] = std::byte{9};
    p.replica = sample_request().replica;
    p.head = 30;
    p.author = 2;
    p.decided = 5;
    p.from = 10;
    p.to = 20;
    p.time = wall_time{milliseconds{1'790'000'000'000}};
    verdict v;
    v.sequence = 4;
    v.kind = verdict_kind::merged;
    v.version = 19;
    v.stamp = timestamp{77};
    v.decisions = {{"a", rule::minimum, winner::mutation}};
    v.text = "später";
    p.verdicts = {v};
    row r;
    r.version = 19;
    r.floor = {12, timestamp{70}, 1};
    r.exceptions = {{"a", {19, timestamp{77}, 2}}};
    r.fields = fields({{"a", 1}, {"b", 2}});
    row gone;
    gone.version = 20;
    gone.deleted = true;
    gone.floor = {20, timestamp{71}, 1};
    p.rows = {{{"things", "x"}, r}, {{"things", "y"}, gone}};
    return p;
}
/// The same message with another body, the frame made anew.
bytes reframed(bytes_view body) {
    bytes out(frame_bytes);
    append(out, body);
    detail::seal_frame(out);
    return out;
}

/// A request of fifty mutations.
request request_of_many(std::uint64_t features) {
    request q = sample_request();
    q.features = features;
    q.mutations.clear();
    for (unsigned i = 0; i < 50; ++i) {
        mutation m;
        m.sequence = 1 + i;
        m.record = {"things", "x" + std::to_string(i)};
        m.ops = {set("a", i)};
        cbor_writer w{q.mutations.emplace_back()};
        encode_mutation(w, m);
        q.origins.push_back({7, i});
    }
    return q;
}

}  // namespace

TEST_CASE("requests and replies give themselves back") {
    CHECK(*decode_request(encode(sample_request())) == sample_request());
    request first = sample_request();
    first.epoch.reset();
    first.mutations.clear();
    CHECK(*decode_request(encode(first)) == first);
    CHECK(*decode_reply(encode(sample_reply())) == sample_reply());
}

TEST_CASE("what is relayed and what is said of it give themselves back, an unknown outcome as one to come again") {
    request q = sample_request();
    q.relayed.emplace();
    CHECK(*decode_request(encode(q)) == q);
    q.relayed = std::vector<relayed_item>{{{q.replica, 7}, integer(1)}, {{q.replica, 8}, integer(2)}};
    CHECK(*decode_request(encode(q)) == q);
    reply p = sample_reply();
    dot const d{q.replica, 7};
    p.relayed = std::vector<relay_answer>{{d, relay_outcome::home, 12, {}, {}},
                                          {d, relay_outcome::needs, 0, {}, {q.replica, 6}},
                                          {d, relay_outcome::refused, 0, errc::forbidden, {}},
                                          {d, relay_outcome::later, 0, {}, {}},
                                          {d, relay_outcome::settled, 9, {}, {}},
                                          {d, relay_outcome::needs, 0, {}, {q.replica, 6}, id128{{std::byte{1}}}},
                                          {d, relay_outcome::refused, 0, errc::forbidden, {}, id128{{std::byte{2}}}},
                                          {d, relay_outcome::later, 0, {}, {}, id128{{std::byte{3}}}}};
    CHECK(*decode_reply(encode(p)) == p);
    p.relayed = std::vector<relay_answer>{{d, relay_outcome::home, 12, {}, {}, {}, {11, 0, 12}},
                                          {d, relay_outcome::settled, 9, {}, {}, {}, {9, 9}}};
    CHECK(*decode_reply(encode(p)) == p);
    // The version is the last of a group's.
    p.relayed->front().version = 13;
    CHECK(decode_reply(encode(p)).error() == errc::malformed);
    // An outcome of a later version, with something behind it.
    bytes raw;
    cbor_writer w{raw};
    w.array(1);
    w.array(4);
    w.byte_string(to_array(d.replica));
    w.unsigned_integer(7);
    w.unsigned_integer(77);
    w.text("new");
    cbor_reader in{raw};
    auto const all = detail::decode_relay_answers(in);
    REQUIRE(in.finish());
    CHECK(all == std::vector<relay_answer>{{d, relay_outcome::later, 0, {}, {}}});
    // Of the wrong length.
    raw[1] = std::byte{0x83};
    raw[1 + 1 + 21 + 1] = std::byte{1};
    cbor_reader shorter{raw};
    (void)detail::decode_relay_answers(shorter);
    CHECK(shorter.failed());
}

TEST_CASE("what tells of epochs gives itself back, and names no position outside of the log") {
    request q = sample_request();
    q.known = 12;
    CHECK(*decode_request(encode(q)) == q);
    q.horizon = 9;
    CHECK(*decode_request(encode(q)) == q);
    reply p = sample_reply();
    p.asked.emplace().bytes[0] = std::byte{3};
    p.stable = 30;
    p.past = {{id128{}, 4}, {p.epoch, 30}};
    CHECK(*decode_reply(encode(p)) == p);
    p.stable = 0;
    CHECK(*decode_reply(encode(p)) == p);
    p.stable = 31;
    CHECK(decode_reply(encode(p)).error() == errc::malformed);
    p.stable.reset();
    p.past.back().end = 31;
    CHECK(decode_reply(encode(p)).error() == errc::malformed);
    p.author = unknown_author;
    CHECK(decode_reply(encode(p)).error() == errc::malformed);
    p.past.assign(past_epochs_max + 1, {});
    CHECK(decode_reply(encode(p)).error() == errc::limit);
}

TEST_CASE("messages are pinned: another version of this library reads them") {
    CHECK(to_hex(encode(sample_request())) ==
          "53594c01"
          "64cb0e16"
          "a70154010000000000000000000000000000000000000502500000000000000000000000000000000003"
          "0a04030582410141020619"
          "03e8071a00100000");
}

TEST_CASE("origins and lines travel with messages, in runs, and are there for all mutations or for none") {
    request q = sample_request();
    q.line = 0x77;
    q.origins = {{0x66, 3}, {0x77, 1}};
    bytes const message = encode(q);
    CHECK(*decode_request(message) == q);
    CHECK(to_hex(bytes_view{message}.last(13)) == "08828218660382187701091877");
    q.origins = {{0x77, 1}, {0x77, 2}};
    CHECK(*decode_request(encode(q)) == q);
    q.origins.pop_back();
    CHECK(decode_request(encode(q)).error() == errc::malformed);
    reply p = sample_reply();
    p.line = 0x77;
    CHECK(*decode_reply(encode(p)) == p);
    bytes again = encode(p);
    CHECK(to_hex(bytes_view{again}.last(3)) == "0b1877");
    // Ends of a body that no writer makes, in the place of what ours wrote.
    auto const with = [&](auto const& write) {
        bytes out = to_bytes(bytes_view{message}.subspan(frame_bytes, message.size() - frame_bytes - 13));
        cbor_writer w{out};
        write(w);
        auto const read = decode_request(reframed(out));
        return read ? errc{} : read.error().code;
    };
    auto const run = [](cbor_writer& w, std::uint64_t line, std::size_t numbers) {
        w.array(1 + numbers);
        w.unsigned_integer(line);
        for (std::size_t i = 0; i < numbers; ++i) { w.unsigned_integer(i); }
    };
    auto const origins = [&](std::vector<std::pair<std::uint64_t, std::size_t>> const& runs, std::uint64_t line) {
        return with([&](cbor_writer& w) {
            w.unsigned_integer(8);
            w.array(runs.size());
            for (auto const& [name, n] : runs) { run(w, name, n); }
            w.unsigned_integer(9);
            w.unsigned_integer(line);
        });
    };
    CHECK(origins({{5, 1}, {6, 1}}, 6) == errc{});
    CHECK(origins({{5, 1}, {5, 1}}, 6) == errc::not_deterministic);  // one line in two runs
    CHECK(origins({{5, 2}, {6, 0}}, 6) == errc::malformed);          // a run of nothing
    CHECK(origins({{5, 3}}, 6) == errc::malformed);                  // more than there are mutations
    CHECK(origins({}, 6) == errc::malformed);
    CHECK(origins({{5, 2}}, 0) == errc::malformed);  // a line without a name
}

TEST_CASE("what is not a message of ours is told from what is damaged") {
    CHECK(decode_reply(as_bytes("<html>Welcome to the hotel</html>")).error() == errc::foreign);
    CHECK(decode_reply({}).error() == errc::foreign);
    bytes other = encode(sample_reply());
    other[3] = std::byte{2};
    CHECK(decode_reply(other).error() == errc::unsupported);
    bytes const good = encode(sample_reply());
    for (std::size_t i = frame_bytes; i < good.size(); ++i) {
        bytes bad = good;
        bad[i] ^= std::byte{0x10};
        CHECK(decode_reply(bad).error() == errc::malformed);
    }
    for (std::size_t n = frame_bytes; n < good.size(); ++n) {
        CHECK(decode_reply(bytes_view{good}.first(n)).error() == errc::malformed);
    }
}

TEST_CASE("an unknown part of a message is skipped, an unknown mandatory feature refuses it") {
    bytes const good = encode(sample_request());
    bytes body = to_bytes(bytes_view{good}.subspan(frame_bytes));
    SECTION("optional") {
        body[0] = static_cast<std::byte>(std::to_integer<unsigned>(body[0]) + 1);
        cbor_writer w{body};
        w.unsigned_integer(90);
        w.text("from a later version");
        CHECK(*decode_request(reframed(body)) == sample_request());
    }
    SECTION("mandatory") {
        bytes more;
        cbor_writer w{more};
        w.map(8);
        w.unsigned_integer(0);
        w.array(1);
        w.text("telepathy");
        append(more, bytes_view{body}.subspan(1));
        CHECK(decode_request(reframed(more)).error() == errc::unsupported);
    }
    SECTION("a part is missing") {
        bytes less;
        cbor_writer w{less};
        w.map(1);
        w.unsigned_integer(1);
        w.byte_string(to_array(sample_request().replica));
        CHECK(decode_request(reframed(less)).error() == errc::malformed);
    }
}

TEST_CASE("a reply that lies about its page is refused") {
    reply p = sample_reply();
    p.to = 31;
    CHECK(decode_reply(encode(p)).error() == errc::malformed);
    p = sample_reply();
    p.from = 21;
    CHECK(decode_reply(encode(p)).error() == errc::malformed);
    p = sample_reply();
    p.rows[0].state.version = 21;
    CHECK(decode_reply(encode(p)).error() == errc::malformed);
    p = sample_reply();
    p.rows[0].state.fields = integer(1);
    CHECK(decode_reply(encode(p)).error() == errc::malformed);
}

TEST_CASE("damaged bodies behind a good checksum are errors or other messages, never anything else") {
    syncline::random_generator dice{8};
    for (bool const is_reply : {false, true}) {
        bytes const good = is_reply ? encode(sample_reply()) : encode(sample_request());
        for (int i = 0; i < 20'000; ++i) {
            bytes body = to_bytes(bytes_view{good}.subspan(frame_bytes));
            for (std::uint64_t k = 0; k <= dice() % 4; ++k) {
                body[dice() % body.size()] = static_cast<std::byte>(dice());
            }
            if (dice() % 8 == 0) { body.resize(dice() % body.size()); }
            bytes const message = reframed(body);
            if (is_reply) {
                if (auto p = decode_reply(message)) { CHECK(decode_reply(encode(*p))); }
            } else {
                if (auto q = decode_request(message)) { CHECK(*decode_request(encode(*q)) == *q); }
            }
        }
    }
}

TEST_CASE("limits bind before anything is allocated") {
    decode_limits narrow;
    narrow.items_max = 1;
    CHECK(decode_request(encode(sample_request()), narrow).error() == errc::limit);
    narrow = {};
    narrow.bytes_max = 20;
    CHECK(decode_reply(encode(sample_reply()), narrow).error() == errc::limit);
}

TEST_CASE("the guards that ask travel beside the verdicts, and who doesn't know them misses nothing else") {
    reply p = sample_reply();
    p.verdicts.clear();
    for (std::uint64_t n = 1; n <= 6; ++n) {
        verdict v;
        v.sequence = n;
        v.kind = n % 2 == 0 ? verdict_kind::conflict : verdict_kind::applied;
        if (n == 2 || n == 6) { v.guard = "ends after it begins"; }
        p.verdicts.push_back(v);
    }
    CHECK(*decode_reply(encode(p)) == p);
    p.verdicts.resize(2);
    bytes const said = encode(p);
    CHECK(*decode_reply(said) == p);
    // The last pair of the body.
    CHECK(to_hex(bytes_view{said}.last(25)) == "182b820274" + to_hex(as_bytes("ends after it begins")));
    p.verdicts[0].guard = "of no conflict";
    CHECK(decode_reply(encode(p)).error() == errc::malformed);
    p.verdicts[0].guard.clear();
    p.verdicts[1].guard = std::string(guard_bytes_max + 1, 'x');
    CHECK(decode_reply(encode(p)).error() == errc::malformed);
}

TEST_CASE("a verdict of an unknown kind is taken as one to ask again for: parked, never dropped") {
    bytes raw;
    cbor_writer w{raw};
    verdict v;
    v.kind = static_cast<verdict_kind>(99);
    encode_verdict(w, v);
    cbor_reader in{raw};
    CHECK(decode_verdict(in).kind == verdict_kind::retry_after);
    CHECK(in.finish());
}

TEST_CASE("a request in columns says the same, and which form it takes is told by its features", "[protocol]") {
    request q = request_of_many(feature_columns);
    bytes const columns = encode(q);
    request rows = q;
    rows.features = 0;
    CHECK(3 * columns.size() < encode(rows).size());
    CHECK(*decode_request(columns) == q);
    CHECK(*decode_request(encode(rows)) == rows);
    // Few go one by one, and so does what is no item.
    q.mutations.resize(columns_mutations_min - 1);
    q.origins.resize(columns_mutations_min - 1);
    CHECK(*decode_request(encode(q)) == q);
    q.mutations.assign(10, bytes{});
    q.origins.clear();
    CHECK(*decode_request(encode(q)) == q);
}

TEST_CASE("an authority tells what it understands, and a request is written for what it does", "[protocol]") {
    reply p = sample_reply();
    p.features = authority_features | 0x1'0000;  // and what is not known yet
    bytes const message = encode(p);
    CHECK(*decode_reply(message) == p);
    CHECK(testing::first_codec::read_reply(message)->rows == p.rows);
    // None is not said at length.
    bytes none;
    cbor_writer w{none};
    w.map(1);
    w.unsigned_integer(understood_key);
    w.unsigned_integer(0);
    CHECK(decode_reply(reframed(none)).error() == errc::not_deterministic);

    request q = request_of_many(feature_columns | feature_sums);
    CHECK(encode(q, feature_columns) == encode(q));
    CHECK(*decode_request(encode(q, 0)) == q);
    CHECK(testing::first_codec::read_request(encode(q, feature_sums))->mutations == q.mutations);
    q.left = {7, 3};
    CHECK(*decode_request(encode(q)) == q);
    CHECK(testing::first_codec::read_request(encode(q, feature_sums))->mutations == q.mutations);
    q.left.assign(left_incarnations_max + 1, 1);
    CHECK(decode_request(encode(q)).error() == errc::limit);
    q.left = {0};
    CHECK(decode_request(encode(q)).error() == errc::malformed);
    CHECK(testing::first_codec::read_request(encode(q, feature_columns)).error() == errc::malformed);
}

TEST_CASE("a page in columns holds the same rows", "[protocol]") {
    reply p = sample_reply();
    p.head = p.to = 500;
    p.verdicts.resize(20, p.verdicts[0]);
    for (unsigned i = 0; i < 15; ++i) {
        p.verdicts[i] = {5 + i, verdict_kind::applied, false, {}, 40 + i, timestamp{90 + i}, {}, {}};
    }
    for (unsigned i = 0; i < 100; ++i) {
        row r;
        r.version = 100 + i;
        r.floor = {100 + i, timestamp{70 + i}, 1};
        r.fields = fields({{"a", i}, {"b", 2}});
        p.rows.push_back({{"things", "y" + std::to_string(1'000 + i)}, r});
    }
    bytes rows;
    cbor_writer w{rows};
    for (row_update const& u : p.rows) {
        bytes one;
        cbor_writer each{one};
        encode_row(each, u.state);
        encode_row_update(w, u.key.collection, u.key.id, one);
    }
    bytes const columns = encode_with_rows(p, p.rows.size(), rows, feature_columns);
    CHECK(3 * columns.size() < encode(p).size());
    CHECK(*decode_reply(columns) == p);
    CHECK(equal(encode_with_rows(p, p.rows.size(), rows), encode(p)));
    // A row outside of the page is found in this form too.
    p.to = 150;
    CHECK(decode_reply(encode_with_rows(p, p.rows.size(), rows, feature_columns)).error() == errc::malformed);
}
