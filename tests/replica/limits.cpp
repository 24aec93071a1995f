// SPDX-License-Identifier: BSL-1.0

#include <syncline/replica/limits.hpp>

#include "support/catch.hpp"

#include <string>
#include <vector>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

record_key const one{"things", "one"};

bytes text_of(std::size_t size) {
    bytes out;
    cbor_writer{out}.text(std::string(size, 'x'));
    return out;
}
/// Arrays inside each other.
bytes nest(std::size_t depth) {
    bytes out(depth - 1, std::byte{0x81});
    out.push_back(std::byte{0x80});
    return out;
}
field_op put_value(std::string_view name, bytes value) {
    return {std::string{name}, op_kind::set, std::move(value), {}};
}

/// An authority of other limits than the usual.
struct house {
    virtual_clock clock{};
    memory_storage store{};
    authority<> self;

    explicit house(authority_options options = {}) : self(rules(), options) {
        syncline::random_generator random{7};
        auto tx = store.begin(access_mode::write);
        REQUIRE(self.open(*tx, clock.now, random));
        REQUIRE(tx->commit());
    }
    status exchange(device& d) {
        clock.pass(10);
        auto const reply = serve(store, self, "anna", request_of(d, clock.now), clock.now);
        if (!reply) { return reply.error(); }
        auto const taken = absorb(d, *reply, clock.now);
        return taken ? status{} : taken.error();
    }
    void sync(device& d) {
        do {
            auto const done = exchange(d);
            INFO((done ? "" : message(done.error().code)) << ' ' << (done ? "" : done.error().detail));
            REQUIRE(done);
        } while (work(d));
    }
    bool work(device& d) {
        return *d.read([&](auto& tx) { return d.self.work_left(tx, clock.now); });
    }
    result<write_receipt> create(device& d, record_key const& k, std::int64_t n) {
        clock.pass(10);
        return d.write([&](auto& tx) { return d.self.create(tx, k, fields({{"n", n}}), clock.now); });
    }
    result<write_receipt> update(device& d, record_key const& k, std::vector<field_op> ops) {
        clock.pass(10);
        return d.write([&](auto& tx) { return d.self.update(tx, k, ops, clock.now); });
    }
};

std::vector<withheld_record> withheld(device& d) {
    std::vector<withheld_record> out;
    REQUIRE(d.read([&](auto& tx) {
        return d.self.withheld(tx, [&](withheld_record const& w) {
            out.push_back(w);
            return true;
        });
    }));
    return out;
}
std::size_t letters(device& d, errc why) {
    std::size_t n = 0;
    REQUIRE(d.read([&](auto& tx) {
        return d.self.queue().scan_dead(tx, [&](outbox_entry const& e) {
            CHECK(e.reason == why);
            ++n;
            return true;
        });
    }));
    return n;
}

authority_options narrow_house() {
    authority_options o;
    o.record_max = 8'000;
    o.message.bytes_max = 100'000;
    o.message.depth_max = 20;
    return o;
}

}  // namespace

TEST_CASE("a record that nobody could read again is not written, and not taken") {
    // Its fields are a map around what is in them: a value that is as deep as can be read is too deep.
    house home;
    device mine{1}, other{2};
    REQUIRE(open(mine, home.clock.now));
    REQUIRE(open(other, home.clock.now));
    REQUIRE(home.create(mine, one, 1));
    CHECK(home.update(mine, one, {put_value("deep", nest(64))}).error() == errc::limit);
    CHECK(home.update(mine, one, {put_value("deep", nest(63))}));
    home.sync(mine);
    home.sync(other);
    CHECK(visible(other) == visible(mine));

    // From a stranger, who asks no such thing.
    request q;
    q.replica.device.bytes[0] = std::byte{9};
    q.replica.incarnation = 1;
    mutation m;
    m.sequence = 1;
    m.stamp = timestamp::make(home.clock.now.wall);
    m.kind = change_kind::create;
    m.record = {"things", "two"};
    m.ops = {put_value("deep", nest(64))};
    m.ops[0].stamp = m.stamp;
    bytes encoded;
    cbor_writer w{encoded};
    encode_mutation(w, m);
    q.mutations.push_back(encoded);
    auto const reply = serve(home.store, home.self, "anna", encode(q), home.clock.now);
    REQUIRE(reply);
    auto const p = decode_reply(*reply);
    REQUIRE(p);
    CHECK(p->verdicts.at(0).reason == errc::limit);
    CHECK_FALSE(p->limits);
    home.sync(other);
}

TEST_CASE("what an authority would not take is refused where it is written, once it has said so") {
    house home{narrow_house()};
    device mine{1};
    REQUIRE(open(mine, home.clock.now));
    REQUIRE(home.create(mine, one, 1));
    SECTION("before they met it goes into the outbox, and comes back with a reason") {
        REQUIRE(home.update(mine, one, {put_value("long", text_of(9'000))}));
        home.sync(mine);
        CHECK(letters(mine, errc::too_large) == 1);
    }
    SECTION("a message that it takes not at all is never sent") {
        REQUIRE(home.create(mine, {"things", "two"}, 1));
        REQUIRE(home.update(mine, {"things", "two"}, {put_value("long", text_of(200'000))}));
        home.sync(mine);
        CHECK(letters(mine, errc::too_large) == 1);
        CHECK(visible(mine)["two"] == fields({{"n", 1}}));
    }
    SECTION("after it, each limit") {
        home.sync(mine);
        CHECK(home.update(mine, one, {put_value("long", text_of(9'000))}).error() == errc::limit);
        CHECK(home.update(mine, one, {put_value("deep", nest(20))}).error() == errc::limit);
        CHECK(home.update(mine, one, {put_value("deep", nest(19))}));
        CHECK(home.update(mine, one, {put_value("long", text_of(5'000))}));
        home.sync(mine);
        CHECK(letters(mine, errc{}) == 0);
        // It takes more from now on.
        house wide;
        device again{3};
        REQUIRE(open(again, wide.clock.now));
        REQUIRE(wide.create(again, one, 1));
        wide.sync(again);
        CHECK(wide.update(again, one, {put_value("long", text_of(9'000))}));
    }
    SECTION("many together go in messages that it takes") {
        for (int i = 0; i < 60; ++i) {
            record_key const k{"things", "k" + std::to_string(i)};
            REQUIRE(home.create(mine, k, i));
            REQUIRE(home.update(mine, k, {put_value("long", text_of(4'000))}));
        }
        home.sync(mine);
        CHECK(letters(mine, errc{}) == 0);
        device other{4};
        REQUIRE(open(other, home.clock.now));
        home.sync(other);
        CHECK(visible(other).size() == 61);
    }
}

TEST_CASE("a record past a replica's limits does not hold up its pull, and comes when it fits") {
    house home;
    device mine{1};
    REQUIRE(open(mine, home.clock.now));
    replica_options narrow;
    narrow.record_max = 5'000;
    narrow.message.bytes_max = 70'000;
    std::optional<device> other;
    other.emplace(2, narrow);
    REQUIRE(open(*other, home.clock.now));
    record_key const big{"things", "big"};
    bool const first = GENERATE(true, false);  // told by a range, or by the page
    if (!first) { home.sync(*other); }
    for (int i = 0; i < 40; ++i) {
        record_key const k{"things", "k" + std::to_string(i)};
        REQUIRE(home.create(mine, k, i));
        REQUIRE(home.update(mine, k, {put_value("long", text_of(4'000))}));
    }
    REQUIRE(home.create(mine, big, 7));
    home.sync(mine);
    home.sync(*other);
    CHECK(visible(*other).size() == 41);
    REQUIRE(home.update(mine, big, {put_value("long", text_of(6'000))}));
    REQUIRE(home.update(mine, {"things", "k1"}, {set("n", 100)}));
    home.sync(mine);
    home.sync(*other);
    REQUIRE(withheld(*other).size() == 1);
    CHECK(withheld(*other)[0].key == big);
    CHECK(withheld(*other)[0].size > 6'000);
    CHECK(field(visible(*other)["k1"], "n") == 100);
    // What is held of it is what was, and it has not ended, also where all is told anew.
    CHECK(field(visible(*other)["big"], "n") == 7);
    REQUIRE(other->write([&](auto& tx) { return other->self.refetch(tx, every_record()); }));
    home.sync(*other);
    CHECK(visible(*other).count("big") == 1);
    CHECK(withheld(*other).size() == 1);

    SECTION("it shrinks") {
        REQUIRE(home.update(mine, big, {unset("long"), set("n", 8)}));
        home.sync(mine);
        home.sync(*other);
        CHECK(field(visible(*other)["big"], "n") == 8);
        CHECK(withheld(*other).empty());
    }
    SECTION("it goes") {
        REQUIRE(mine.write([&](auto& tx) { return mine.self.erase(tx, big, home.clock.now); }));
        home.sync(mine);
        home.sync(*other);
        CHECK(visible(*other).count("big") == 0);
        CHECK(withheld(*other).empty());
    }
    SECTION("the replica takes more") {
        replica const wide{rules()};
        syncline::random_generator random{5};
        REQUIRE(other->write([&](auto& tx) { return wide.open(tx, "anna", home.clock.now, random); }));
        bool more = true;
        while (more) {
            bytes const ask = *other->read([&](auto& tx) { return wide.request_message(tx); });
            auto const reply = serve(home.store, home.self, "anna", ask, home.clock.now);
            REQUIRE(reply);
            auto const taken = other->write([&](auto& tx) { return wide.absorb(tx, *reply, home.clock.now, random); });
            REQUIRE(taken);
            more = taken->more;
        }
        CHECK(visible(*other) == visible(mine));
        CHECK(withheld(*other).empty());
    }
}

TEST_CASE("a group too large for the authority is refused where it is written, once it has said so") {
    house home{narrow_house()};
    device mine{1};
    REQUIRE(open(mine, home.clock.now));
    REQUIRE(home.create(mine, one, 1));
    home.sync(mine);
    bytes seven;  // kilobytes
    cbor_writer w{seven};
    w.map(1);
    w.text("long");
    w.raw(text_of(7'000));
    auto const create_together = [&](std::size_t n) {
        record_group g;
        for (std::size_t i = 0; i < n; ++i) { g.create({"things", "k" + std::to_string(i)}, seven); }
        home.clock.pass(10);
        return mine.write([&](auto& tx) { return mine.self.write_group(tx, g, home.clock.now); });
    };
    CHECK(create_together(15).error() == errc::limit);
    CHECK(visible(mine).size() == 1);
    CHECK(create_together(13));
    home.sync(mine);
    CHECK(letters(mine, errc{}) == 0);
    device other{2};
    REQUIRE(open(other, home.clock.now));
    home.sync(other);
    CHECK(visible(other).size() == 14);
}

TEST_CASE("values as deep as an authority takes come in groups too, and many in one request") {
    std::size_t const depth = GENERATE(std::size_t{20}, std::size_t{64});
    CAPTURE(depth);
    authority_options o = narrow_house();
    o.message.depth_max = static_cast<std::uint32_t>(depth);
    house home{o};
    device mine{1}, other{2};
    REQUIRE(open(mine, home.clock.now));
    REQUIRE(open(other, home.clock.now));
    home.sync(mine);
    bytes deepest;
    cbor_writer w{deepest};
    w.map(1);
    w.text("deep");
    w.raw(nest(depth - 1));
    for (int i = 0; i < 20; ++i) {
        record_group g;
        for (std::string_view const half : {"l", "r"}) {
            g.create({"things", std::string{half} + std::to_string(i)}, deepest);
        }
        home.clock.pass(10);
        REQUIRE(mine.write([&](auto& tx) { return mine.self.write_group(tx, g, home.clock.now); }));
    }
    home.sync(mine);
    CHECK(letters(mine, errc{}) == 0);
    home.sync(other);
    CHECK(visible(other).size() == 40);
}

TEST_CASE("what an authority may not take is not handed to another device either") {
    house home;
    replica_options carries;
    carries.relay.emplace();
    device mine{1, carries};
    REQUIRE(open(mine, home.clock.now));
    record_key const two{"things", "two"};
    REQUIRE(home.create(mine, one, 1));
    REQUIRE(home.update(mine, one, {put_value("long", text_of(200'000))}));
    REQUIRE(home.update(mine, one, {set("n", 2)}));  // in its turn, behind what does not go
    REQUIRE(home.create(mine, two, 1));
    auto const frozen = [&] {
        REQUIRE(mine.write([&](auto& tx) { return mine.self.prepare_handover(tx, home.clock.now); }));
        return mine.read([&](auto& tx) { return mine.self.status_of(tx); })->frozen;
    };
    CHECK(frozen() == 2);
    CHECK(frozen() == 2);
    // What does not go was not touched: it can be joined with what follows it, as ever.
    auto const again = home.update(mine, one, {set("n", 3)});
    REQUIRE(again);
    CHECK(again->coalesced);
    SECTION("it goes to an authority that takes it") {
        home.sync(mine);
        CHECK(letters(mine, errc{}) == 0);
        device other{2};
        REQUIRE(open(other, home.clock.now));
        home.sync(other);
        CHECK(visible(other) == visible(mine));
        CHECK(field(visible(other)["one"], "n") == 3);
        CHECK(visible(other)["one"].size() > 200'000);
    }
    SECTION("it comes back from one that doesn't") {
        house narrow{narrow_house()};
        narrow.sync(mine);
        CHECK(letters(mine, errc::too_large) == 1);
        CHECK(field(visible(mine)["one"], "n") == 3);
        CHECK(visible(mine)["one"].size() < 100);
    }
}

TEST_CASE("a row that was kept back does not end that a later one is withheld") {
    house home;
    device mine{1};
    replica_options narrow;
    narrow.record_max = 5'000;
    narrow.rows_max = 1;
    device other{2, narrow};
    REQUIRE(open(mine, home.clock.now));
    REQUIRE(open(other, home.clock.now));
    record_key const two{"things", "two"};
    record_key const three{"things", "three"};
    for (record_key const& k : {one, two, three}) { REQUIRE(home.create(mine, k, 1)); }
    home.sync(mine);
    home.sync(other);
    // A group is kept back until all of it is there: of its first page one row, as it is then.
    record_group both;
    both.update(one, {set("n", 2)}).update(two, {set("n", 2)});
    home.clock.pass(10);
    REQUIRE(mine.write([&](auto& tx) { return mine.self.write_group(tx, both, home.clock.now); }));
    home.sync(mine);
    REQUIRE(home.exchange(other));
    CHECK(field(visible(other)["one"], "n") == 1);
    REQUIRE(home.update(mine, one, {put_value("long", text_of(6'000))}));
    home.sync(mine);
    REQUIRE(home.update(mine, three, {set("n", 2)}));
    home.sync(mine);
    home.sync(other);
    CHECK(field(visible(other)["two"], "n") == 2);
    CHECK(field(visible(other)["three"], "n") == 2);
    REQUIRE(withheld(other).size() == 1);
    CHECK(withheld(other)[0].key == one);
}

TEST_CASE("limits in bytes: only what is not usual, never less than the floor, and what is unknown is passed over") {
    auto const read = [](std::vector<std::uint64_t> const& items) -> result<exchange_limits> {
        bytes raw;
        cbor_writer w{raw};
        w.array(items.size());
        for (std::uint64_t const n : items) { w.unsigned_integer(n); }
        cbor_reader in{raw};
        exchange_limits const l = read_limits(in);
        if (auto ok = in.finish(); !ok) { return ok.error(); }
        return l;
    };
    CHECK(*read({2, 5'000}) == exchange_limits{.record_max = 5'000});
    CHECK(*read({1, 0, 2, 0, 3, 0, 4, 0}) == exchange_floor);
    CHECK(*read({4, 17, 9, 1}) == exchange_limits{.depth_max = 17});
    CHECK(read({}).error() == errc::malformed);
    CHECK(read({1}).error() == errc::malformed);
    CHECK(read({2, 1, 1, 1}).error() == errc::not_deterministic);
    CHECK(read({0, 1}).error() == errc::not_deterministic);
    CHECK(read(std::vector<std::uint64_t>(66, 1)).error() == errc::malformed);

    request q;
    q.limits = exchange_limits{.message_max = 1'000'000, .depth_max = 20};
    auto const same = decode_request(encode(q));
    REQUIRE(same);
    CHECK(*same == q);
    reply p;
    p.author = 1;
    p.limits = exchange_limits{.fields_max = 300};
    p.withheld = {{one, 0, 9}, {{"things", "two"}, 0, 0}};
    auto const told = decode_reply(encode(p));
    REQUIRE(told);
    CHECK(*told == p);

    exchange_limits few;
    few.fields_max = 2;
    CHECK(fits(fields({{"a", 1}, {"b", 2}}), few));
    CHECK(fits(fields({{"a", 1}, {"b", 2}, {"c", 3}}), few).error() == errc::limit);
}
