// SPDX-License-Identifier: BSL-1.0

/// Devices of two schema versions, and one that is brought from the first to the second, on one authority; and authorities
/// that know less than their devices.

#include "support/catch.hpp"

#include <string>
#include <utility>
#include <vector>

#include <syncline/replica.hpp>
#include <syncline/storage.hpp>
#include <syncline/testing/first_codec.hpp>

#include "model/schema_world.hpp"
#include "replica/world.hpp"

using namespace syncline;
using schema_tests::applied;
using schema_tests::fields;
using schema_tests::item;
using schema_tests::text;

namespace {

schema_table versions() {
    schema_table all;
    all.collection("guests").next({
        schema_step::split("name", {"first", "last"}, casts::apart<' '>, casts::together<' '>),
        schema_step::convert("paid", casts::times<100>, casts::over<100>, true),
        schema_step::rename("paid", "cents"),
        schema_step::add("status", value("open")),
        schema_step::feature("sealed"),
    });
    return all;
}

struct pair_of_ends {
    schema_table newest = versions();
    schema_table first{};
    memory_storage home{};
    authority<> cloud;
    instant now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1'000}}};
    syncline::random_generator random{5};

    explicit pair_of_ends(bool upgraded = true) : cloud({}, {.schemas = upgraded ? &newest : &first}) {
        auto tx = home.begin(access_mode::write);
        REQUIRE(cloud.open(*tx, now, random));
        REQUIRE(tx->commit());
    }
};

struct device {
    pair_of_ends& world;
    memory_storage store{};
    replica self;

    device(pair_of_ends& w, schema_table const& known) : world(w), self({}, {.schemas = &known}) {
        auto tx = store.begin(access_mode::write);
        REQUIRE(self.open(*tx, "anna", w.now, w.random));
        REQUIRE(tx->commit());
    }
    device(device const&) = delete;

    template <class F>
    auto write(F&& f) {
        auto tx = store.begin(access_mode::write);
        auto out = f(*tx);
        if (out) { REQUIRE(tx->commit()); }
        return out;
    }
    void put(char const* id, bytes_view what) {
        REQUIRE(write([&](auto& tx) { return self.put(tx, {"guests", id}, what, world.now); }));
    }
    void update(char const* id, std::vector<field_op> ops) {
        REQUIRE(write([&](auto& tx) { return self.update(tx, {"guests", id}, std::move(ops), world.now); }));
    }
    std::string seen(char const* id) {
        auto tx = store.begin(access_mode::read);
        auto r = self.read(*tx, {"guests", id});
        return !r ? message(r.error().code) : *r ? text((*r)->fields) : "nothing";
    }
    /// Both ways, until nothing is left; the verdicts that weren't for it.
    std::string exchange() {
        std::string said;
        for (int i = 0; i < 6; ++i) {
            world.now.wall += milliseconds{10};
            world.now.monotonic += milliseconds{10};
            REQUIRE(write([&](auto& tx) { return self.prepare(tx, world.now); }));
            auto tx = store.begin(access_mode::read);
            auto const message_out = self.request_message(*tx);
            REQUIRE(message_out);
            REQUIRE(tx->commit());
            auto const back = serve(world.home, world.cloud, "anna", *message_out, world.now);
            REQUIRE(back);
            auto const p = decode_reply(*back);
            REQUIRE(p);
            for (verdict const& v : p->verdicts) {
                if (v.kind == verdict_kind::rejected && !v.again) { said += std::string(message(v.reason)) + ';'; }
            }
            REQUIRE(write([&](auto& t) { return self.absorb(t, *back, world.now, world.random); }));
        }
        return said;
    }
};

}  // namespace

TEST_CASE("devices of two versions converge: each sees in its own version what both have done") {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        pair_of_ends w;
        device old(w, w.first), now(w, w.newest);
        syncline::random_generator random(seed);
        old.put("a", fields({{"name", "Anna Dahl"}, {"paid", 12}, {"fax", 7}}));
        REQUIRE(old.exchange().empty());
        REQUIRE(now.exchange().empty());
        for (int step = 0; step < 12; ++step) {
            switch (random() % 6) {
                case 0:
                    old.update("a", {{"name", op_kind::set, item(random() % 2 == 0 ? "Ben Holm" : "Ida"), {}}});
                    break;
                case 1:
                    old.update("a", {{"paid", op_kind::set, item(static_cast<std::int64_t>(random() % 50)), {}}});
                    break;
                case 2: now.update("a", {{"first", op_kind::set, item("Maria Anna"), {}}}); break;
                case 3:
                    now.update("a", {{"cents", op_kind::set, item(static_cast<std::int64_t>(random() % 5000)), {}}});
                    break;
                case 4: CHECK(old.exchange() == ""); break;
                default: CHECK(now.exchange() == ""); break;
            }
        }
        CHECK(old.exchange() == "");
        CHECK(now.exchange() == "");
        CHECK(old.exchange() == "");
        auto t1 = old.store.begin(access_mode::read);
        auto t2 = now.store.begin(access_mode::read);
        auto const a = old.self.read(*t1, {"guests", "a"});
        auto const b = now.self.read(*t2, {"guests", "a"});
        REQUIRE((a && *a && b && *b));
        INFO(seed << ": " << text((*a)->fields) << " and " << text((*b)->fields));
        CHECK(*w.newest.of("guests").cast((*a)->fields, 1, 2) == (*b)->fields);
        CHECK(text((*b)->fields).find("\"fax\": 7") != std::string::npos);
    }
}

TEST_CASE("a program that is brought to the next version takes its rows and its waiting mutations along") {
    pair_of_ends w;
    device old(w, w.first);
    old.put("a", fields({{"name", "Anna Dahl"}, {"paid", 12}}));
    old.exchange();
    old.update("a", {{"name", op_kind::set, item("Ben Holm"), {}}});
    device other(w, w.newest);
    other.exchange();
    other.update("a", {{"cents", op_kind::set, item(1450), {}}});
    other.exchange();

    replica const newer({}, {.schemas = &w.newest});
    {
        auto tx = old.store.begin(access_mode::read);
        auto const r = newer.read(*tx, {"guests", "a"});
        REQUIRE((r && *r));
        CHECK(text((*r)->fields) == R"({"last": "Holm", "cents": 1200, "first": "Ben", "status": "open"})");
    }
    old.self = newer;
    old.update("a", {{"status", op_kind::set, item("late"), {}}});  // kept apart from the older one
    CHECK(old.exchange() == "");
    CHECK(old.seen("a") == R"({"last": "Holm", "cents": 1450, "first": "Ben", "status": "late"})");
    other.exchange();
    CHECK(other.seen("a") == old.seen("a"));
}

TEST_CASE("a record with a feature that must not be overlooked is closed to older programs, and no other is") {
    pair_of_ends w;
    device old(w, w.first), now(w, w.newest);
    old.put("a", fields({{"name", "Anna Dahl"}}));
    old.put("b", fields({{"name", "Ben Holm"}}));
    old.exchange();
    now.exchange();
    now.update("a", {{"sealed", op_kind::set, item(true), {}}});
    now.exchange();
    old.update("a", {{"name", op_kind::set, item("Eve"), {}}});  // before it hears of that
    CHECK(old.exchange() == "unsupported version or feature;");
    CHECK(old.seen("a") == "unsupported version or feature");
    CHECK(old.seen("b") == R"({"name": "Ben Holm", "status": "open"})");
    auto tx = old.store.begin(access_mode::write);
    CHECK(old.self.update(*tx, {"guests", "a"}, {{"name", op_kind::set, item("Eve"), {}}}, w.now).error() ==
          errc::unsupported);
    std::string all;
    REQUIRE(old.self.scan(*tx, "guests", [&](record_key const& k, record const& r) {
        all += std::string(k.id_text()) + (r.closed ? " closed;" : " open;");
        return true;
    }));
    CHECK(all == "a closed;b open;");
    // What was refused is in the dead letters, and the record opens with the newer program.
    std::size_t dead = 0;
    REQUIRE(old.self.queue().scan_dead(*tx, [&](auto const&) {
        ++dead;
        return true;
    }));
    CHECK(dead == 1);
    replica const newer({}, {.schemas = &w.newest});
    CHECK(newer.read(*tx, {"guests", "a"})->has_value());
}

TEST_CASE("an authority that is older than a device refuses what it can't read, and it can be sent again") {
    pair_of_ends w(false);
    device now(w, w.newest);
    now.put("a", fields({{"first", "Anna"}}));
    CHECK(now.exchange() == "unsupported version or feature;");
}

TEST_CASE("what a program of the first version decided is known to the next one on its store, and counts once") {
    pair_of_ends w(false);
    device d(w, w.first);
    d.put("a", fields({{"paid", 10}}));
    REQUIRE(d.exchange() == "");
    d.update("a", {{"paid", op_kind::set, item(11), {}}});
    REQUIRE(d.write([&](auto& tx) { return d.self.prepare(tx, w.now); }));
    bytes asked;
    {
        auto tx = d.store.begin(access_mode::read);
        asked = *d.self.request_message(*tx);
    }
    // It reads no names of mutations, and its answer is lost.
    auto const read = syncline::testing::first_codec::read_request(asked);
    REQUIRE(read);
    auto const answer = serve(w.home, w.cloud, "anna", syncline::testing::first_codec::write(*read), w.now);
    REQUIRE(answer);
    REQUIRE(decode_reply(*answer)->verdicts.size() == 1);

    // Another content under the same number is another mutation as ever.
    auto other = *decode_request(asked);
    REQUIRE(other.mutations.size() == 1);
    other.mutations[0].back() ^= std::byte{1};
    auto const refused = serve(w.home, w.cloud, "anna", encode(other), w.now);
    REQUIRE(refused);
    REQUIRE(decode_reply(*refused)->verdicts.size() == 1);
    CHECK(decode_reply(*refused)->verdicts[0].reason == errc::identity_fork);

    auto const again = serve(w.home, w.cloud, "anna", asked, w.now);
    REQUIRE(again);
    auto const said = decode_reply(*again)->verdicts;
    REQUIRE(said.size() == 1);
    CHECK(said[0].again);
    CHECK(said[0].kind == decode_reply(*answer)->verdicts[0].kind);
    REQUIRE(d.write([&](auto& tx) { return d.self.absorb(tx, *again, w.now, w.random); }));
    CHECK(d.exchange() == "");
    CHECK(d.seen("a") == R"({"paid": 11})");
}

namespace {

using syncline::testing::first_codec;

/// An authority whose program may be of the first version, and devices that drive their own sessions.
struct older_world {
    world::virtual_clock clock{};
    world::cloud home{clock.now};
    bool first = true;
    std::size_t refusals = 0;
    std::uint64_t rows_max = 1'000;

    result<bytes> answer(bytes_view message) {
        if (!first) { return home.answer(message, clock.now); }
        auto q = first_codec::read_request(message);
        if (!q) {
            ++refusals;
            return q.error();
        }
        q->rows_max = rows_max;
        auto const said = home.answer(first_codec::write(*q), clock.now);
        if (!said) { return said.error(); }
        return first_codec::write(*decode_reply(*said));
    }
    /// Exchanges until nothing is due for a minute; how many there were.
    std::size_t settle(world::device& d) {
        std::size_t calls = 0;
        for (int second = 0; second < 60; ++second) {
            clock.pass(1'000);
            struct {
                older_world& w;
                std::size_t& calls;
                void exchange(bytes_view message, completion done) {
                    ++calls;
                    auto const back = w.answer(message);
                    done({back ? result<bytes_view>{bytes_view{*back}} : back.error(), {}});
                }
                [[nodiscard]] transport_limits limits() const { return {}; }
            } way{*this, calls};
            REQUIRE(drive(
                d.link, d.store, way, [&] { return clock.now; }, [](event const&) {}));
        }
        return calls;
    }
    void count(world::device& d, int from, int n) {
        for (int i = from; i < from + n; ++i) {
            clock.pass(1);
            REQUIRE(d.write([&](auto& tx) {
                std::string const id = "t" + std::to_string(i);
                record_key const k{"things", std::string_view{id}};
                auto made = d.self.create(tx, k, world::fields({{"count", i}}), clock.now);
                return made ? d.self.update(tx, k, {world::add("count", 1)}, clock.now) : made;
            }));
        }
    }
    bytes next_request(world::device& d) { return world::request_of(d, clock.now); }
    /// Whether it shows those records, each counted once, and says that it has them all.
    bool has(world::device& d, int n) {
        return d.read([&](auto& tx) {
            auto const s = d.self.status_of(tx);
            int good = 0;
            auto const ok = d.self.scan(tx, "things", [&](record_key const& k, record const& r) {
                good +=
                    !r.pending && world::field(r.fields, "count") == std::stoi(std::string{k.id_text().substr(1)}) + 1;
                return true;
            });
            return ok && good == n && s && s->complete && s->cursor == s->head;
        });
    }
};

}  // namespace

TEST_CASE("an authority of the first version is sent what it reads, tells its log, and can be brought up") {
    older_world w;
    world::device d{100}, late{200};
    REQUIRE(world::open(d, w.clock.now));
    REQUIRE(world::open(late, w.clock.now));
    w.count(d, 0, 20);
    CHECK(first_codec::read_request(w.next_request(d)));
    CHECK(w.settle(d) < 8);
    CHECK(w.has(d, 20));
    w.rows_max = 6;  // in several pages
    CHECK(w.settle(late) < 12);
    CHECK(w.has(late, 20));
    CHECK(w.refusals == 0);

    w.first = false;
    w.count(d, 20, 10);
    CHECK(first_codec::read_request(w.next_request(d)));  // nobody has told of more yet
    w.settle(d);
    w.count(d, 30, 10);
    auto const columns = w.next_request(d);
    CHECK(first_codec::read_request(columns).error() == errc::malformed);
    CHECK(decode_request(columns)->mutations.size() == 10);
    w.settle(d);
    w.settle(late);
    CHECK(w.has(d, 40));
    CHECK(w.has(late, 40));
}

TEST_CASE("where an older program takes the authority's place, what it can't read is sent again as it reads it, once") {
    older_world w;
    w.first = false;
    world::device d{100};
    REQUIRE(world::open(d, w.clock.now));
    w.count(d, 0, 5);
    w.settle(d);
    w.first = true;
    w.count(d, 5, 10);
    w.settle(d);
    CHECK(w.refusals == 1);
    CHECK(w.has(d, 15));
    CHECK_FALSE(d.link.paused());
    // It is remembered, by a session that begins anew too.
    w.count(d, 15, 10);
    CHECK(first_codec::read_request(w.next_request(d)));
    w.settle(d);
    CHECK(w.refusals == 1);
    CHECK(w.has(d, 25));
}

TEST_CASE("only a refusal takes back what an authority has told, and a damaged note of it is corrupt") {
    older_world w;
    w.first = false;
    world::device d{100};
    REQUIRE(world::open(d, w.clock.now));
    w.settle(d);
    w.count(d, 0, 10);
    auto const in_columns = [&] { return !first_codec::read_request(w.next_request(d)); };
    REQUIRE(in_columns());
    for (errc const why : {errc::unreachable, errc::timed_out, errc::connection_lost, errc::throttled,
                           errc::peer_failed, errc::unauthorised, errc::too_large}) {
        REQUIRE(d.write([&](auto& tx) { return d.self.refused(tx, why); }));
        CHECK(in_columns());
    }
    for (errc const why : {errc::malformed, errc::rejected, errc::unsupported}) {
        REQUIRE(d.write([&](auto& tx) { return d.self.refused(tx, why); }));
        CHECK_FALSE(in_columns());
        w.settle(d);
        w.count(d, static_cast<int>(why) * 100, 10);
        CHECK(in_columns());
    }
    REQUIRE(d.write([&](auto& tx) { return tx.put(as_bytes("ra"), as_bytes("x")); }));
    CHECK(d.read([&](auto& tx) { return d.self.request_message(tx); }).error() == errc::corrupt);
}

TEST_CASE("ranges that an older program will never tell are read from its log, and none is held for told before that") {
    older_world w;
    w.first = false;
    world::device d{100}, late{200, {.rows_max = 4}};
    REQUIRE(world::open(d, w.clock.now));
    REQUIRE(world::open(late, w.clock.now));
    w.count(d, 0, 30);
    w.settle(d);
    // It was told some of the ranges.
    for (int i = 0; i < 3; ++i) { REQUIRE(world::absorb(late, *w.answer(w.next_request(late)), w.clock.now)); }
    CHECK_FALSE(w.has(late, 30));
    // An answer from before comes late.
    bytes const asked_before = w.next_request(late);
    w.count(d, 30, 1);
    w.settle(d);
    w.first = true;
    bytes const answer_before = *w.answer(asked_before);
    w.rows_max = 7;
    bool began_anew = false;
    for (int i = 0; i < 6; ++i) {
        auto const r = world::absorb(late, *w.answer(w.next_request(late)), w.clock.now);
        REQUIRE(r);
        if (i == 0) {
            auto const again = world::absorb(late, answer_before, w.clock.now);
            REQUIRE(again);
            CHECK((again->rows == 0 && !again->advanced && !again->rejoined));
        }
        CHECK(r->rejoined == !began_anew);
        began_anew = true;
        auto const s = late.read([&](auto& tx) { return late.self.status_of(tx); });
        INFO(i << ": " << s->cursor << " of " << s->head << ", " << r->rows << " rows");
        CHECK(s->complete == (s->cursor == s->head));
        CHECK(r->more == !s->complete);
        if (s->complete) { break; }
        // What is wanted once more on the way is not told by what was read already.
        if (i == 2) {
            REQUIRE(late.write([&](auto& tx) { return late.self.refetch(tx, range_of(record_key{"things", "t0"})); }));
            began_anew = false;
        }
    }
    w.settle(late);
    CHECK(w.has(late, 31));
}
