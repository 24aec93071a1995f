// SPDX-License-Identifier: BSL-1.0

/// Requests and replies as they come off a wire: raw, and with a frame whose checksum is right, under the limits that
/// a host has by default and under narrow ones.

#include <cstdint>
#include <optional>
#include <string>

#include <syncline/replica/protocol.hpp>

#include "fuzz_targets/cbor_model.hpp"
#include "fuzz_targets/cbor_mutator.hpp"
#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;

bool expected_error(errc e) {
    return e == errc::foreign || e == errc::unsupported || e == errc::malformed || e == errc::not_deterministic ||
           e == errc::limit || e == errc::invalid || e == errc::overflow || e == errc::type_mismatch;
}

decode_limits narrow(std::uint8_t how) {
    decode_limits l;
    l.bytes_max = 1U << (4 + how % 4 * 3);
    l.string_max = 1U << (how / 4 % 4 * 3);
    l.items_max = 1U << (how / 16 % 4 * 2);
    l.depth_max = 2 + how / 64;
    return l;
}

/// Whether a part of the message is in columns, which say in a few bytes what takes many.
bool in_columns(bytes_view message) {
    if (message.size() < frame_bytes) { return false; }
    cbor_reader in(message.subspan(frame_bytes));
    bool found = false;
    for (std::size_t n = in.map(); n != 0 && !in.failed(); --n) {
        std::uint64_t const key = in.unsigned_integer();
        found = found || key == 16 || key == 18 || key == 20;
        (void)in.skip();
    }
    return found;
}

/// `T` of a message: a value or an error, written again as it was read, and never more memory than by a factor, or
/// than the limits say where columns are.
template <class Decode>
void check(bytes_view message, std::uint8_t how, Decode&& decode) {
    bool const columns = in_columns(message);
    std::uint64_t const before = fuzz::allocated;
    auto const got = decode(message, decode_limits{});
    std::uint64_t const most = 256 * message.size() + (std::size_t{256} << 10);
    SYNCLINE_FUZZ_REQUIRE(fuzz::allocated - before <= most + (columns ? 8 * decode_limits{}.bytes_max : 0));

    auto const bounded = decode(message, narrow(how));
    if (bounded) {
        SYNCLINE_FUZZ_REQUIRE(got && *got == *bounded);
    } else {
        SYNCLINE_FUZZ_REQUIRE(!got || bounded.error() == errc::limit);
    }
    decode_limits enough;
    enough.work_max = 64 * message.size() + 1024;
    SYNCLINE_FUZZ_REQUIRE(decode(message, enough).has_value() == got.has_value());
    if (!got) {
        SYNCLINE_FUZZ_REQUIRE(expected_error(got.error().code));
        return;
    }
    // Whatever is taken is canonical as a whole, what was skipped in it too.
    auto const form = cbor_model::judge(message.subspan(frame_bytes));
    SYNCLINE_FUZZ_REQUIRE(form.what == cbor_model::verdict::fine &&
                          form.canonical == as_text(message.subspan(frame_bytes)));
    bytes const again = encode(*got);
    auto const second = decode(again, decode_limits{});
    SYNCLINE_FUZZ_REQUIRE(second && *second == *got && equal(encode(*second), again));
    // One bit on its way changed is never a message.
    bytes damaged = to_bytes(message);
    damaged[how * 7919U % damaged.size()] ^= static_cast<std::byte>(1U << how % 8);
    SYNCLINE_FUZZ_REQUIRE(!decode(damaged, decode_limits{}));
    SYNCLINE_FUZZ_REQUIRE(!decode(message.first(message.size() - 1), decode_limits{}));
}

/// A request has one form: what isn't in the value is an unknown key, or the empty list of features.
void check_form(bytes_view message, request const& q) {
    cbor_reader in(message.subspan(frame_bytes));
    std::size_t const keys = in.map();
    if (in_columns(message)) { return; }  // there are many ways to pack the same
    if (keys == 6U + (q.features == 0 ? 0 : 1) + (q.ranges.empty() ? 0 : 1) + (q.epoch ? 1 : 0) +
                    (q.origins.empty() ? 0 : 1) + (q.line == 0 ? 0 : 1) + (q.known ? 1 : 0)) {
        SYNCLINE_FUZZ_REQUIRE(equal(encode(q), message));
    }
}

/// A page that a replica may take lies in the log, and its rows in it.
void check_page(reply const& p) {
    if (p.author == unknown_author) { return; }
    SYNCLINE_FUZZ_REQUIRE(p.from <= p.to && p.to <= p.head);
    for (row_update const& u : p.rows) {
        SYNCLINE_FUZZ_REQUIRE(valid(u.key) && u.state.version > p.from && u.state.version <= p.to);
        SYNCLINE_FUZZ_REQUIRE(u.state.deleted ? u.state.fields.empty() : validate_fields(u.state.fields).has_value());
    }
}

int body(std::uint8_t const* data, std::size_t size) {
    if (size < 2) { return 0; }
    bytes_view const in(reinterpret_cast<std::byte const*>(data) + 2, size - 2);
    bytes message;
    if ((data[0] & 2U) != 0) {
        message = to_bytes(in);
    } else {
        message.resize(frame_bytes);
        append(message, in);
        detail::seal_frame(message);
    }
    if ((data[0] & 1U) == 0) {
        check(message, data[1], [](bytes_view m, decode_limits const& l) { return decode_request(m, l); });
        if (auto const q = decode_request(message)) { check_form(message, *q); }
    } else {
        check(message, data[1], [](bytes_view m, decode_limits const& l) { return decode_reply(m, l); });
        if (auto const p = decode_reply(message)) { check_page(*p); }
    }
    return 0;
}

void seeds(fuzz::seed_sink sink) {
    auto const give = [&](int kind, std::string_view name, bytes const& message) {
        bytes out{static_cast<std::byte>(kind), std::byte{0xFF}};
        append(out, bytes_view{message}.subspan(frame_bytes));
        sink(name, out);
        bytes framed{static_cast<std::byte>(kind | 2), std::byte{0xFF}};
        append(framed, message);
        sink(std::string(name) + "_framed", framed);
    };
    request q;
    q.replica = {id128{}, 3};
    give(0, "first_request", encode(q));
    q.epoch = id128{};
    q.cursor = 17;
    q.receipts = 2;
    bytes m;
    cbor_writer w(m);
    encode_mutation(w, {3, timestamp{1000}, change_kind::erase, record_key{"things", "x"}, 1, 12, {}});
    q.mutations = {m, m};
    give(0, "request", encode(q));
    q.origins = {{7, 1}, {9, 1}};
    q.line = 9;
    give(0, "named_request", encode(q));
    q.features = feature_columns;
    q.mutations = {m, m, m, m};
    q.origins = {{7, 1}, {7, 2}, {7, 3}, {9, 1}};
    give(0, "request_in_columns", encode(q));

    reply p;
    p.head = 20;
    p.author = 1;
    p.decided = 3;
    p.from = 16;
    p.to = 20;
    verdict v;
    v.sequence = 3;
    v.version = 20;
    v.decisions = {{"a", rule::last_writer, winner::mutation}};
    p.verdicts = {v, v};
    bytes const fields{std::byte{0xA1}, std::byte{0x61}, std::byte{'a'}, std::byte{0x01}};
    p.rows.push_back({{"things", "x"}, {20, 1, false, {20, timestamp{5}, 1}, {{"a", {18, timestamp{4}, 2}}}, fields}});
    p.rows.push_back({{"things", "y"}, {17, 1, true, {17, timestamp{5}, 1}, {}, {}}});
    give(1, "reply", encode(p));
    p.line = 9;
    give(1, "named_reply", encode(p));
    reply many = p;
    for (unsigned i = 0; i < 8; ++i) {
        many.verdicts.push_back(v);
        many.rows.push_back(p.rows[i % 2]);
    }
    bytes rows;
    cbor_writer all(rows);
    for (row_update const& u : many.rows) {
        bytes one;
        cbor_writer each(one);
        encode_row(each, u.state);
        encode_row_update(all, u.key.collection, u.key.id, one);
    }
    give(1, "reply_in_columns", encode_with_rows(many, many.rows.size(), rows, feature_columns));
    give(1, "reply_with_marks_in_columns",
         encode_with_rows(many, many.rows.size(), rows, feature_columns | feature_marks));
    p.author = unknown_author;
    p.rows.clear();
    give(1, "strange_reply", encode(p));
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 2, .seeds = seeds, .mutate = fuzz::mutate_cbor<2>)
