// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/replica/row_parts.hpp>
#include <syncline/testing/generator.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

bytes encoded(row const& r) {
    bytes out;
    cbor_writer w{out};
    encode_row(w, r);
    return out;
}
field_op note(std::string_view name, std::string_view text) {
    field_op op{std::string{name}, op_kind::set, {}, {}};
    cbor_writer{op.value}.text(text);
    return op;
}
bytes noted(std::uint64_t n) {
    bytes out;
    cbor_writer w{out};
    w.map(3);
    w.text("a");
    w.integer(static_cast<std::int64_t>(n));
    w.text("note");
    w.text("a text that is long enough to be left out of a row, " + std::to_string(n));
    w.text("count");
    w.integer(1);
    return out;
}

struct outcome {
    std::vector<std::pair<bytes, bytes>> rows{};  ///< of the authority and of every device, and what is visible
    std::size_t wire = 0;
    std::size_t own = 0;
    std::size_t parts = 0;
    friend bool operator==(outcome const& a, outcome const& b) { return a.rows == b.rows; }
};

/// Two devices write and exchange at random; some replies get lost, with `late` some come a second time.
outcome live(std::uint64_t seed, bool in_parts, bool late) {
    syncline::random_generator dice{seed};
    virtual_clock clock;
    cloud c{clock.now};
    replica_options options;
    options.rows_in_parts = in_parts;
    options.rows_max = seed % 3 == 0 ? 2 : 1'000;
    options.mutations_max = seed % 2 == 0 ? 3 : 100;
    device one{seed + 10, options}, two{seed + 20, options};
    device* const both[]{&one, &two};
    outcome out;
    for (device* d : both) { REQUIRE(open(*d, clock.now)); }
    auto const exchange = [&](device& d, bool lost) {
        auto const reply = c.answer(request_of(d, clock.now), clock.now);
        REQUIRE(reply);
        auto const p = decode_reply(*reply);
        REQUIRE(p);
        out.wire += reply->size();
        out.own += p->own.size();
        out.parts += p->parts.size();
        if (lost) { return true; }
        auto const report = absorb(d, *reply, clock.now);
        REQUIRE(report);
        if (late && dice() % 3 == 0) { REQUIRE(absorb(d, *reply, clock.now)); }
        return report->more;
    };
    for (int step = 0; step < 60; ++step) {
        clock.pass(static_cast<std::int64_t>(dice() % 2'000));
        device& d = *both[dice() % 2];
        std::string const id(1, static_cast<char>('a' + dice() % 5));
        record_key const k{"things", id};
        std::uint64_t const what = dice() % 12;
        std::uint64_t const n = dice() % 1'000;
        auto const m = static_cast<std::int64_t>(n);
        (void)d.write([&](auto& tx) -> result<write_receipt> {
            switch (what) {
                case 0: return d.self.erase(tx, k, clock.now);
                case 1: return d.self.update(tx, k, {add("count", m)}, clock.now);
                case 2: return d.self.update(tx, k, {set("asked", m), set("b", m)}, clock.now);
                case 3: return d.self.update(tx, k, {unset("b"), set("least", m)}, clock.now);
                case 4:
                    return d.self.update(tx, k, {note("note", "another text, as long as the first one was, or so")},
                                         clock.now);
                case 5:
                case 6: return d.self.update(tx, k, {set("a", m), set("ruled", m)}, clock.now);
                case 7:
                case 8: return d.self.create(tx, k, noted(n), clock.now);
                default: return errc::not_found;
            }
        });
        if (what >= 9) { (void)exchange(d, dice() % 5 == 0); }
    }
    for (int round = 0; round < 2; ++round) {
        for (device* d : both) {
            for (int n = 0; exchange(*d, false); ++n) { REQUIRE(n < 200); }
        }
    }
    auto tx = c.store.begin(access_mode::read);
    REQUIRE(c.self.scan(*tx, [&](record_key const& k, row const& r) {
        out.rows.emplace_back(to_bytes(k), encoded(r));
        return true;
    }));
    for (device* d : both) {
        (void)d->read([&](auto& t) {
            return d->self.scan_confirmed(t, every_record(), [&](record_key const& k, row const& r) {
                out.rows.emplace_back(to_bytes(k), encoded(r));
                return true;
            });
        });
        for (auto& [id, fields] : visible(*d)) { out.rows.emplace_back(to_bytes(as_bytes(id)), fields); }
    }
    return out;
}

reply reply_in_parts() {
    reply p;
    p.epoch.bytes.fill(std::byte{0x22});
    p.replica.device.bytes.fill(std::byte{0x11});
    p.replica.incarnation = 1;
    p.head = 9;
    p.from = 7;
    p.to = 9;
    p.author = 3;
    p.decided = 2;
    verdict v;
    v.sequence = 2;
    v.version = 8;
    v.stamp = timestamp{0x01a0'c450'6c00'0000};
    p.verdicts.push_back(v);
    p.own = {2};
    p.own_sum = 5;
    row r;
    r.version = 9;
    r.floor = {3, v.stamp, 1};
    r.exceptions.push_back({"guests", {9, v.stamp, 4}, {}});
    r.fields = fields({{"guests", 103}});
    p.parts.push_back({{"rooms", std::string_view{"a"}}, r});
    p.parts_sum = 6;
    return p;
}

}  // namespace

TEST_CASE("what is cut out of a row comes back from the row that is held", "[row_parts]") {
    syncline::random_generator dice{7};
    int cut = 0;
    for (int i = 0; i < 4'000; ++i) {
        row now = testing::any<row>{}(dice);
        now.deleted = false;
        now.schema = 1;
        if (now.fields.empty()) { now.fields = noted(dice() % 100); }
        position const since = now.version == 0 ? 0 : dice() % now.version;
        // As it was then: fields that were written since had another value, or were not there.
        row was = now;
        std::vector<detail::field_change> before;
        bytes const other = integer(static_cast<std::int64_t>(dice() % 100));
        cbor_map_cursor at{now.fields};
        auto mark = now.exceptions.cbegin();
        auto const view = [](field_mark const& m) { return detail::mark_view{m.field, !m.path.empty(), m.mark.at}; };
        while (at.next()) {
            if (detail::last_written(at.key(), mark, now.exceptions.cend(), now.floor.at, view) > since) {
                before.push_back({at.key(), dice() % 2 == 0, other});
            }
        }
        was.fields = detail::rewrite_fields(now.fields, before);
        bytes told;
        row_cutter cutter{since};
        bytes const whole = encoded(now);
        if (!cutter.cut(whole, told)) {
            CHECK(told.empty());
            continue;
        }
        ++cut;
        CHECK(told.size() + row_parts_min <= whole.size() + 9);
        cbor_reader in{told};
        row part = decode_row(in);
        REQUIRE(in.finish());
        row_completer completer{since};
        REQUIRE(completer.complete(was.fields, part));
        CHECK(part == now);
        CHECK(completer.sum() == cutter.sum());
        // What is held is something else: the sum says so.
        row_completer wrong{since};
        cbor_reader again{told};
        row twice = decode_row(again);
        bytes const strange = noted(dice());
        if (wrong.complete(strange, twice)) { CHECK((twice == now || wrong.sum() != cutter.sum())); }
    }
    CHECK(cut > 200);
}

TEST_CASE("a request's own changes are told only where they begin at a row that is held", "[row_parts]") {
    std::vector<own_change> const all{{4, 11, 1}, {7, 12, 2}, {11, 13, 3}, {12, 14, 4}, {9, 15, 5}};
    own_changes own{all, 5};
    CHECK(own.tell(13));        // two steps from 4
    CHECK_FALSE(own.tell(14));  // from 7, which the author was not told
    CHECK_FALSE(own.tell(15));
    CHECK_FALSE(own.tell(16));
    CHECK(own.told() == std::vector<std::uint64_t>{1, 3});
    CHECK(own.rows() == 1);
}

TEST_CASE("rows in parts leave every store as whole rows do, with fewer bytes", "[row_parts]") {
    std::size_t whole = 0;
    std::size_t less = 0;
    outcome all;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        outcome const a = live(seed, true, false);
        outcome const b = live(seed, false, false);
        CHECK(a == b);
        CHECK((b.own == 0 && b.parts == 0));
        less += a.wire;
        whole += b.wire;
        all.own += a.own;
        all.parts += a.parts;
    }
    CHECK(all.own > 200);
    CHECK(all.parts > 200);
    CHECK(less < whole);
}

TEST_CASE("replies that come twice in parts do no harm", "[row_parts]") {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        auto const rows = live(seed, true, true).rows;
        // The authority's, then what each of the two devices holds and shows: all the same.
        std::size_t const n =
            std::size_t(std::count_if(rows.begin(), rows.end(), [&](auto const& r) { return r == rows[0]; }));
        CHECK(n == 3);
    }
}

TEST_CASE("what is held and is not what the authority takes it for is asked for whole", "[row_parts]") {
    for (bool const own : {false, true}) {
        virtual_clock clock;
        cloud c{clock.now};
        device one{1}, two{2};
        for (device* d : {&one, &two}) { REQUIRE(open(*d, clock.now)); }
        record_key const k{"things", std::string_view{"x"}};
        REQUIRE(one.write([&](auto& tx) { return one.self.create(tx, k, noted(1), clock.now); }));
        REQUIRE(sync(one, c, clock.now));
        REQUIRE(sync(two, c, clock.now));
        auto const damage = [&](char kind) {
            (void)two.write([&](auto& tx) -> status {
                bytes name{std::byte{'r'}, static_cast<std::byte>(kind)};
                append(name, to_bytes(k));
                bytes raw;
                if (!*tx.get(name, raw)) { return {}; }
                auto const at = std::search(raw.begin(), raw.end(), reinterpret_cast<std::byte const*>("enough"),
                                            reinterpret_cast<std::byte const*>("enough") + 6);
                REQUIRE(at != raw.end());
                *at = std::byte{'X'};
                return tx.put(name, raw);
            });
        };
        device& writer = own ? two : one;
        REQUIRE(writer.write([&](auto& tx) { return writer.self.update(tx, k, {set("a", 5)}, clock.now); }));
        damage('v');
        damage('b');
        if (!own) { REQUIRE(sync(one, c, clock.now)); }
        auto const first = c.answer(request_of(two, clock.now), clock.now);
        REQUIRE(first);
        CHECK(decode_reply(*first)->parts.size() + decode_reply(*first)->own.size() == 1);
        auto const report = absorb(two, *first, clock.now);
        REQUIRE(report);
        CHECK((report->rows == 0 && report->more && report->verdicts == (own ? 1U : 0U)));
        bytes const again = request_of(two, clock.now);
        CHECK((decode_request(again)->features & feature_parts) == 0);
        auto const second = c.answer(again, clock.now);
        CHECK(decode_reply(*second)->rows.size() == 1);
        REQUIRE(absorb(two, *second, clock.now));
        CHECK(visible(two) == confirmed(c));
        CHECK((decode_request(request_of(two, clock.now))->features & feature_parts) != 0);
    }
}

TEST_CASE("own rows are taken in whole or not at all, whatever storage call fails", "[row_parts]") {
    virtual_clock clock;
    replica const r{rules()};
    bytes reply_bytes;
    auto const make = [&](testing::failing_storage& store) {
        cloud c{clock.now};
        syncline::random_generator random{3};
        instant now = clock.now;
        auto tx = store.begin(access_mode::write);
        REQUIRE(r.open(*tx, "anna", now, random));
        auto const exchange = [&] {
            REQUIRE(r.prepare(*tx, now));
            return *c.answer(*r.request_message(*tx), now);
        };
        for (char const* id : {"x", "y", "z"}) {
            REQUIRE(r.create(*tx, {"things", std::string_view{id}}, noted(1), now));
        }
        for (int n = 0; n < 3; ++n) { REQUIRE(r.absorb(*tx, exchange(), now, random)); }
        REQUIRE(r.update(*tx, {"things", std::string_view{"x"}}, {set("a", 7)}, now));
        REQUIRE(r.erase(*tx, {"things", std::string_view{"y"}}, now));
        REQUIRE(r.update(*tx, {"things", std::string_view{"z"}}, {set("a", 8)}, now));
        reply_bytes = exchange();
        REQUIRE(r.update(*tx, {"things", std::string_view{"z"}}, {set("b", 9)}, now));  // it waits
        REQUIRE(tx->commit());
        CHECK(decode_reply(reply_bytes)->own.size() == 3);
    };
    auto const operate = [&](testing::failing_storage& store) -> status {
        syncline::random_generator random{4};
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        auto const report = r.absorb(*tx, reply_bytes, clock.now, random);
        if (!report) { return report.error(); }
        CHECK((report->verdicts == 3 && report->rows == 3));
        return tx->commit();
    };
    auto const report = testing::nth_failure(make, operate);
    for (testing::violation const& v : report.violations) { FAIL_CHECK(v.axiom << ": " << v.what); }
    CHECK(report.runs > 20);
}

TEST_CASE("a reply in parts, byte by byte", "[row_parts]") {
    std::string const hex = to_hex(encode(reply_in_parts()));
    std::string const tail =
        // region: parts
        "15 83 01 41 02 05"          // own rows: one, its sequence: 2, the sum of the rows: 5
        "16 82"                      // rows in parts, and what was left out
        "   8e 01"                   //   a page of one row
        "   81 83 65 726f6f6d73 00"  //   kinds: of "rooms", a record with
        "      66 677565737473"      //     "guests", the one field that is told
        "   41 00"                   //   kinds: 0
        "   41 00  42 41 61"         //   ids: nothing shared, 'a'
        "   41 09  41 01  41 06"     //   version 9, life 1, floor 6 before it
        "   49 1b 000001a0c4506c00"  //   the floor's stamp: milliseconds
        "   41 00"                   //     counter
        "   41 01"                   //   author 1
        "   41 01  44 00 00 00 04"   //   one exception: field 0, at the version, the floor's stamp, author 4
        "   81 42 18 67"             //   a column of values: 103
        "06";                        //   the sum of what was left out: 6
    // endregion: parts
    std::string packed;
    for (char const ch : tail) {
        if (ch != ' ') { packed.push_back(ch); }
    }
    CAPTURE(hex);
    CHECK(hex.find(packed) != std::string::npos);
    CHECK(*decode_reply(encode(reply_in_parts())) == reply_in_parts());
}

TEST_CASE("a reply in parts that does not hold together is refused", "[row_parts]") {
    auto const refused = [](auto&& bend) {
        reply p = reply_in_parts();
        bend(p);
        auto const out = decode_reply(encode(p));
        return !out && out.error() == errc::malformed;
    };
    CHECK(refused([](reply& p) { p.own = {3}; }));
    CHECK(refused([](reply& p) { p.own = {2, 2}; }));
    CHECK(refused([](reply& p) { p.own = {2, 1}; }));
    CHECK(refused([](reply& p) { p.verdicts[0].kind = verdict_kind::merged; }));
    CHECK(refused([](reply& p) { p.verdicts[0].version = 7; }));
    CHECK(refused([](reply& p) { p.verdicts[0].version = 10; }));
    CHECK(refused([](reply& p) { p.parts[0].state.version = 10; }));
    CHECK(refused([](reply& p) {
        p.parts[0].state.deleted = true;
        p.parts[0].state.fields.clear();
    }));
    CHECK(refused([](reply& p) {
        p.from = 8;
        p.verdicts[0].version = 9;
        p.to = 9;
        p.ranges.push_back({every_record(), 0});
    }));
    // Every message that is cut short or has a bit turned is an error or says something valid.
    bytes const good = encode(reply_in_parts());
    for (std::size_t n = frame_bytes; n < good.size(); ++n) {
        bytes bad = good;
        bad.resize(n);
        detail::seal_frame(bad);
        CHECK_FALSE(decode_reply(bad));
        for (unsigned bit = 0; bit < 8; ++bit) {
            bad = good;
            bad[n] ^= static_cast<std::byte>(1U << bit);
            detail::seal_frame(bad);
            if (auto const p = decode_reply(bad)) { CHECK(p->rows.size() + p->parts.size() <= 1); }
        }
    }
}
