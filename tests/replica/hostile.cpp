// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <syncline/transport/loopback.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

record_key const x{"things", "x"};
record_key const y{"things", "y"};

bytes encoded(mutation const& m) {
    bytes out;
    cbor_writer w{out};
    encode_mutation(w, m);
    return out;
}
mutation change(std::uint64_t sequence, change_kind kind, std::uint64_t life, std::vector<field_op> ops = {}) {
    mutation m;
    m.sequence = sequence;
    m.stamp = timestamp{1};
    m.kind = kind;
    m.record = x;
    m.life = life;
    m.ops = std::move(ops);
    for (field_op& op : m.ops) { op.stamp = m.stamp; }
    return m;
}
verdict told(cloud& c, instant now, mutation const& m) {
    request q;
    q.replica = {id128{}, 77};
    q.mutations.push_back(encoded(m));
    auto const answer = c.answer(encode(q), now);
    REQUIRE(answer);
    auto const p = decode_reply(*answer);
    REQUIRE(p);
    REQUIRE(p->verdicts.size() == 1);
    return p->verdicts[0];
}
void copy(device& from, device& to) {
    auto source = from.store.begin(access_mode::read);
    auto target = to.store.begin(access_mode::write);
    REQUIRE(source->scan({}, [&](bytes_view k, bytes_view v) { return target->put(k, v).has_value(); }));
    REQUIRE(target->commit());
}

/// Memory that says that its commits wait for a barrier.
struct unhurried {
    memory_storage inner{};
    int barriers = 0;
    using transaction = memory_storage::transaction;
    result<transaction> begin(access_mode a) { return inner.begin(a); }
    status barrier() {
        ++barriers;
        return {};
    }
    durability commit_durability() const { return durability::ordered; }
    std::size_t value_bytes_max() const { return inner.value_bytes_max(); }
};

}  // namespace

TEST_CASE("the first contact with the authority makes nobody a stranger to their own pending edits") {
    virtual_clock clock;
    cloud c{clock.now};
    replica_options options;
    options.mutations_max = 1;
    device d{1, options};
    REQUIRE(open(d, clock.now));
    REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, x, fields({{"asked", 1}}), clock.now); }));
    clock.pass(1);
    REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, y, fields({{"asked", 1}, {"ruled", 1}}), clock.now); }));
    auto const reply = c.answer(request_of(d, clock.now), clock.now);
    REQUIRE(reply);
    REQUIRE(absorb(d, *reply, clock.now));
    REQUIRE(d.write([&](auto& tx) { return d.self.update(tx, y, {set("asked", 2), set("ruled", 2)}, clock.now); }));
    CHECK(visible(d)["y"] == fields({{"asked", 2}, {"ruled", 2}}));
}

TEST_CASE("a restored store that has more to send than one request takes sends nothing twice") {
    for (bool const settled : {false, true}) {
        virtual_clock clock;
        cloud c{clock.now};
        replica_options options;
        options.mutations_max = 1;
        device d{1, options};
        REQUIRE(open(d, clock.now));
        for (record_key const& k : {x, y}) {
            REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, k, fields({{"count", 0}}), clock.now); }));
        }
        REQUIRE(sync(d, c, clock.now));
        for (record_key const& k : {x, y}) {
            clock.pass(1);
            REQUIRE(d.write([&](auto& tx) { return d.self.update(tx, k, {add("count", 1)}, clock.now); }));
        }
        device restored{9, options};
        copy(d, restored);
        for (int i = 0; i < 2; ++i) {
            auto const reply = c.answer(request_of(d, clock.now), clock.now);
            REQUIRE(reply);
            REQUIRE(absorb(d, *reply, clock.now));
        }
        if (settled) { REQUIRE(sync(d, c, clock.now)); }
        REQUIRE(sync(restored, c, clock.now));
        CHECK(confirmed(c)["x"] == fields({{"count", 1}}));
        CHECK(confirmed(c)["y"] == fields({{"count", 1}}));
    }
}

TEST_CASE("an authority decides nothing new for a sender that it knows otherwise") {
    virtual_clock clock;
    cloud c{clock.now};
    REQUIRE(told(c, clock.now, change(1, change_kind::create, 1)).kind == verdict_kind::applied);
    request q;
    q.replica = {id128{}, 77};
    q.mutations.push_back(encoded(change(1, change_kind::create, 1, {set("name", 1)})));
    q.mutations.push_back(encoded(change(2, change_kind::update, 1, {add("count", 1)})));
    auto const p = decode_reply(*c.answer(encode(q), clock.now));
    REQUIRE(p);
    CHECK(p->decided == 1);
    REQUIRE(p->verdicts.size() == 1);
    CHECK(p->verdicts[0].reason == errc::identity_fork);
    // The clone issues both again under a new name: an addition that had been decided here would count twice.
    CHECK(confirmed(c)["x"] == fields({}));
}

TEST_CASE("fields that are unset without end are refused before nobody can read the record") {
    virtual_clock clock;
    cloud c{clock.now};
    REQUIRE(told(c, clock.now, change(1, change_kind::create, 1)).kind == verdict_kind::applied);
    bool refused = false;
    for (std::uint64_t n = 2; n < 40 && !refused; ++n) {
        std::vector<field_op> ops;
        for (std::uint64_t i = 0; i < 5'000; ++i) { ops.push_back(unset("f" + std::to_string(n * 10'000 + i))); }
        std::sort(ops.begin(), ops.end(),
                  [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
        verdict const v = told(c, clock.now, change(n, change_kind::update, 1, std::move(ops)));
        refused = v.reason == errc::too_large;
        if (!refused) { REQUIRE(v.kind == verdict_kind::applied); }
    }
    CHECK(refused);
    device d{1};
    REQUIRE(open(d, clock.now));
    REQUIRE(sync(d, c, clock.now));
    CHECK(visible(d).count("x") == 1);
}

TEST_CASE("nobody can use up the lives of a record") {
    virtual_clock clock;
    cloud c{clock.now};
    CHECK(told(c, clock.now, change(1, change_kind::create, ~std::uint64_t{0})).kind == verdict_kind::rejected);
    device d{1};
    REQUIRE(open(d, clock.now));
    REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, x, fields({{"name", 1}}), clock.now); }));
    REQUIRE(sync(d, c, clock.now));
    CHECK(visible(d).count("x") == 1);
}

TEST_CASE("verdicts in another order than they were asked for don't stop the queue") {
    virtual_clock clock;
    cloud c{clock.now};
    replica_options options;
    options.mutations_max = 2;
    device d{1, options};
    REQUIRE(open(d, clock.now));
    for (record_key const& k : {x, y}) {
        REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, k, fields({}), clock.now); }));
    }
    auto p = decode_reply(*c.answer(request_of(d, clock.now), clock.now));
    REQUIRE(p);
    std::swap(p->verdicts[0], p->verdicts[1]);
    REQUIRE(absorb(d, encode(*p), clock.now));
    auto const where = d.read([&](auto& tx) { return d.self.status_of(tx); });
    REQUIRE(where);
    CHECK(where->frozen == 0);
}

TEST_CASE("a peer that repeats an old reply is not asked again without end") {
    virtual_clock clock;
    cloud c{clock.now};
    device d{1};
    REQUIRE(open(d, clock.now));
    REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, x, fields({}), clock.now); }));
    auto const before = c.answer(request_of(d, clock.now), clock.now);
    REQUIRE(before);
    REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, y, fields({}), clock.now); }));
    REQUIRE(sync(d, c, clock.now));
    REQUIRE(d.write([&](auto& tx) { return d.self.update(tx, y, {set("name", 1)}, clock.now); }));
    int asked = 0;
    auto stuck = [&](bytes_view) -> peer_reply {
        REQUIRE(++asked < 10);
        return {bytes{*before}, {}};
    };
    loopback_transport way{stuck};
    REQUIRE(drive(
        d.link, d.store, way, [&] { return clock.now; }, [](event const&) {}));
    CHECK(asked <= 2);
}

TEST_CASE("a message leaves only when what it says is on the disk") {
    virtual_clock clock;
    unhurried store;
    replica const self{rules()};
    syncline::random_generator random{1};
    auto tx = store.begin(access_mode::write);
    REQUIRE(self.open(*tx, "anna", clock.now, random));
    REQUIRE(tx->commit());
    session<unhurried, syncline::random_generator> link{store, self, random};
    auto again = store.begin(access_mode::write);
    REQUIRE(link.handle(tick{}, *again, clock.now));
    REQUIRE(again->commit());
    auto const out = link.poll(clock.now);
    REQUIRE(out);
    REQUIRE(std::holds_alternative<transmit>(*out));
    CHECK(store.barriers == 1);
}
