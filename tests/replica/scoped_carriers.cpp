// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/peer_exchange.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <syncline/replica/authority.hpp>
#include <syncline/replica/scopes.hpp>
#include <syncline/transport/loopback.hpp>

#include "replica/world.hpp"
#include "support/catch.hpp"

using namespace world;

namespace {

/// A house with rooms: who works in one holds its records; who is paid reads prices.
struct house {
    struct rights {
        std::set<std::pair<std::string, std::int64_t>> rooms{};
        std::set<std::string> paid{};
    };
    struct person : device {
        std::string name;
        no_seal seal{};
        person(std::string_view who, std::uint64_t seed, replica_options o) : device(seed, std::move(o)), name(who) {}
    };

    virtual_clock clock{};
    rights may{};
    relay_gate gate{"house"};
    memory_storage store{};
    syncline::random_generator random{7};
    scope_table table;
    read_mask mask;
    std::optional<authority<>> self{};
    std::vector<std::unique_ptr<person>> people{};

    [[nodiscard]] static role_source roles(rights const& r) {
        return {[](std::string_view who, std::string_view role, void const* data) {
                    return (role == "all" && who == "root") ||
                           (role == "paid" && static_cast<rights const*>(data)->paid.contains(std::string{who}));
                },
                &r};
    }
    [[nodiscard]] static scope_rule by_room(rights const& r) {
        scope_rule rule;
        rule.name = "room";
        rule.by = "room";
        rule.permits = [](std::string_view who, bytes_view parameter, void const* data) {
            auto const n = syncline::detail::integer_of(parameter);
            return n && static_cast<rights const*>(data)->rooms.contains({std::string{who}, *n});
        };
        rule.data = &r;
        return rule;
    }
    explicit house(std::vector<std::string> const& names, relay_options relay = {}, bool relays = true)
        : table({by_room(may)}, roles(may), "all"), mask({{"things", {"price"}, "paid", {}}}, roles(may)) {
        may.paid = {"anna", "ben", "cleo", "root"};
        authority_options o;
        o.scopes = &table;
        o.mask = &mask;
        if (relays) { o.relays = &gate; }
        self.emplace(rules(), o);
        auto tx = store.begin(access_mode::write);
        REQUIRE(self->open(*tx, clock.now, random));
        REQUIRE(tx->commit());
        relay.realm = "house";
        for (std::string const& n : names) {
            replica_options all;
            all.scoped = n != "root";
            all.relay = relay;
            people.push_back(std::make_unique<person>(n, 100 + people.size(), all));
            REQUIRE(open(*people.back(), clock.now, n));
        }
    }
    person& operator[](std::size_t i) { return *people[i]; }

    static scope room(std::int64_t n) { return {"room", integer(n)}; }
    void join(person& p, std::int64_t n) {
        may.rooms.insert({p.name, n});
        REQUIRE(p.write([&](auto& tx) { return p.self.join(tx, room(n)); }));
    }
    result<bytes> answer(person& p, bytes_view q) { return serve(store, *self, p.name, q, clock.now); }
    void go_home(person& p) {
        for (int i = 0; i < 50; ++i) {
            auto const said = answer(p, request_of(p, clock.now));
            REQUIRE(said);
            auto const report = absorb(p, *said, clock.now);
            REQUIRE(report);
            if (!report->more) { return; }
        }
        FAIL("an exchange that does not end");
    }
    meeting_report meets(person& a, person& b) {
        peer_exchange mine(a.self, a.seal);
        peer_exchange theirs(b.self, b.seal);
        auto said = [&](bytes_view m) { return serve_peer(b.store, theirs, a.name, m, clock.now); };
        loopback_transport way(said);
        auto const met = meet(a.store, mine, way, b.name, clock.now);
        REQUIRE(met);
        CHECK(!met->failed);
        return *met;
    }
    void create(person& p, std::string_view id, std::int64_t in, std::int64_t price = 0) {
        clock.pass(1);
        REQUIRE(p.write([&](auto& tx) {
            return p.self.create(tx, {"things", id}, fields({{"count", 0}, {"price", price}, {"room", in}}), clock.now);
        }));
    }
    void update(person& p, std::string_view id, field_op op) {
        clock.pass(1);
        REQUIRE(p.write([&](auto& tx) { return p.self.update(tx, {"things", id}, {std::move(op)}, clock.now); }));
    }
    [[nodiscard]] static std::optional<std::int64_t> sees(person& p, std::string_view id,
                                                          std::string_view name = "count") {
        auto const all = visible(p);
        auto const at = all.find(std::string{id});
        return at == all.end() ? std::nullopt : field(at->second, name);
    }
    [[nodiscard]] std::optional<std::int64_t> has(std::string_view id, std::string_view name = "count") {
        std::optional<std::int64_t> out;
        auto tx = store.begin(access_mode::read);
        REQUIRE(self->scan(*tx, [&](record_key const& k, row const& r) {
            if (k.id_text() == id && !r.deleted) { out = field(r.fields, name); }
            return true;
        }));
        return out;
    }
    [[nodiscard]] static std::uint64_t carries(person& p) {
        return p.read([&](auto& tx) { return p.self.carried().totals(tx); })->count;
    }
    /// Anna works in both rooms, Ben in the first, Cleo in the second; each room has a thing.
    void begin() {
        person& root = *people.back();
        create(root, "a", 1);
        create(root, "b", 2);
        go_home(root);
        join((*this)[0], 1);
        join((*this)[0], 2);
        join((*this)[1], 1);
        join((*this)[2], 2);
        for (auto const& p : people) { go_home(*p); }
    }
};

}  // namespace

TEST_CASE("a carrier of scopes brings home what it may not see, shows none of it, and keeps none") {
    house h({"anna", "ben", "cleo", "root"});
    h.begin();
    h.update(h[0], "a", add("count", 1));
    h.update(h[0], "b", add("count", 10));
    CHECK(h.meets(h[0], h[1]).messages != 0);
    CHECK(house::carries(h[1]) == 2);
    CHECK(house::sees(h[1], "a") == 1);
    CHECK(!house::sees(h[1], "b"));
    // Ben tells on what he can't see himself, and Cleo sees her part of it.
    (void)h.meets(h[1], h[2]);
    CHECK(house::carries(h[2]) == 2);
    CHECK(house::sees(h[2], "b") == 10);
    CHECK(!house::sees(h[2], "a"));

    // The answer names no version of what is out of his scopes.
    auto const said = h.answer(h[1], request_of(h[1], h.clock.now));
    REQUIRE(said);
    auto const p = decode_reply(*said);
    REQUIRE(p);
    REQUIRE(p->relayed);
    REQUIRE(p->relayed->size() == 2);
    for (relay_answer const& a : *p->relayed) { CHECK(a.outcome == relay_outcome::home); }
    CHECK((*p->relayed)[0].version == 3);
    CHECK((*p->relayed)[1].version == 0);
    REQUIRE(absorb(h[1], *said, h.clock.now));
    CHECK(h.has("a") == 1);
    CHECK(h.has("b") == 10);
    CHECK(house::carries(h[1]) == 0);
    CHECK(house::sees(h[1], "a") == 1);
    CHECK(!house::sees(h[1], "b"));
    for (auto const& one : h.people) { h.go_home(*one); }
    for (auto const& one : h.people) { CHECK(house::carries(*one) == 0); }
    CHECK(h.has("a") == 1);
    CHECK(h.has("b") == 10);
    CHECK(house::sees(h[0], "b") == 10);
    CHECK(house::sees(h[2], "b") == 10);
}

TEST_CASE("what is carried is judged by its author's scopes, whoever brings it") {
    house h({"anna", "ben", "cleo", "root"});
    h.begin();
    h.update(h[1], "a", add("count", 1));
    (void)h.meets(h[1], h[0]);
    // Ben loses his room before Anna comes home, who has it still.
    h.may.rooms.erase({"ben", 1});
    h.go_home(h[0]);
    CHECK(house::carries(h[0]) == 0);
    CHECK(h.has("a") == 0);
    CHECK(house::sees(h[0], "a") == 0);
}

TEST_CASE("what is carried of a record that leaves the carrier's scopes is seen no more, and gets home") {
    bool const waits = GENERATE(false, true);
    bool const leaves = GENERATE(false, true);
    house h({"anna", "ben", "cleo", "root"});
    h.begin();
    h.update(h[0], "a", add("count", 1));
    (void)h.meets(h[1], h[0]);
    CHECK(house::sees(h[1], "a") == 1);
    // It goes with what Ben himself writes on it, or without, and comes not home first, as its like is quarantined.
    if (waits) { h.update(h[1], "a", add("count", 100)); }
    if (leaves) {
        REQUIRE(h[1].write([&](auto& tx) { return h[1].self.leave(tx, house::room(1)); }));
        REQUIRE(h[1].write([&](auto& tx) { return h[1].self.evict(tx, 100); }));
        CHECK(house::sees(h[1], "a") == (waits ? std::optional<std::int64_t>{100} : std::nullopt));
        CHECK(house::carries(h[1]) == 1);
        // Nor does another meeting bring it back.
        (void)h.meets(h[1], h[0]);
        CHECK(house::sees(h[1], "a") == (waits ? std::optional<std::int64_t>{100} : std::nullopt));
    } else {
        h.update(h[3], "a", set("room", 2));
        h.go_home(h[3]);
    }
    h.go_home(h[1]);
    CHECK(!house::sees(h[1], "a"));
    CHECK(house::carries(h[1]) == 0);
    CHECK(h.has("a") == (waits && leaves ? 101 : 1));
    h.go_home(h[0]);
    CHECK(house::sees(h[0], "a") == h.has("a"));
}

TEST_CASE("who does not read all fields is shown nothing of what it carries") {
    house h({"anna", "ben", "cleo", "root"});
    h.may.paid.erase("ben");
    h.begin();
    CHECK(house::sees(h[1], "a") == 0);
    CHECK(!house::sees(h[1], "a", "price"));
    h.update(h[0], "a", set("price", 7));
    h.update(h[0], "a", add("count", 1));
    (void)h.meets(h[1], h[0]);
    CHECK(house::carries(h[1]) != 0);
    CHECK(house::sees(h[1], "a") == 0);
    CHECK(!house::sees(h[1], "a", "price"));
    h.go_home(h[1]);
    CHECK(h.has("a", "price") == 7);
    CHECK(house::sees(h[1], "a") == 1);
    CHECK(!house::sees(h[1], "a", "price"));
    CHECK(house::carries(h[1]) == 0);

    // Fields that are hidden from now on go with the exchange that says so.
    h.go_home(h[2]);
    h.go_home(h[0]);
    h.update(h[0], "b", set("price", 9));
    (void)h.meets(h[2], h[0]);
    CHECK(house::sees(h[2], "b", "price") == 9);
    h.may.paid.erase("cleo");
    auto const said = h.answer(h[2], [&] {
        auto q = decode_request(request_of(h[2], h.clock.now));
        REQUIRE(q);
        q->relayed->clear();  // home is not asked about it yet
        return encode(*q);
    }());
    REQUIRE(said);
    REQUIRE(absorb(h[2], *said, h.clock.now));
    CHECK(house::carries(h[2]) == 1);
    CHECK(house::sees(h[2], "b", "price") != 9);
    h.go_home(h[2]);
    CHECK(h.has("b", "price") == 9);
    CHECK(house::sees(h[2], "b") == 0);
    CHECK(!house::sees(h[2], "b", "price"));
    CHECK(house::carries(h[2]) == 0);
}

TEST_CASE("a group that is in a carrier's scopes in part shows when it is home") {
    house h({"anna", "ben", "cleo", "root"});
    h.begin();
    record_group both;
    both.update({"things", "a"}, {add("count", 1)});
    both.update({"things", "b"}, {add("count", 10)});
    REQUIRE(h[0].write([&](auto& tx) { return h[0].self.write_group(tx, both, h.clock.now); }));
    (void)h.meets(h[1], h[0]);
    CHECK(house::carries(h[1]) == 1);
    CHECK(house::sees(h[1], "a") == 0);
    CHECK(!house::sees(h[1], "b"));
    h.go_home(h[1]);
    CHECK(house::sees(h[1], "a") == 1);
    CHECK(!house::sees(h[1], "b"));
    CHECK(house::carries(h[1]) == 0);
    CHECK(h.has("b") == 10);
}

TEST_CASE("a carrier of scopes asks no authority that takes nothing beside them") {
    house h({"anna", "ben", "cleo", "root"}, {}, false);
    h.begin();
    h.update(h[0], "a", add("count", 1));
    (void)h.meets(h[1], h[0]);
    h.update(h[1], "a", add("count", 10));
    auto const q = decode_request(request_of(h[1], h.clock.now));
    REQUIRE(q);
    CHECK(!q->relayed);
    h.go_home(h[1]);
    CHECK(h.has("a") == 10);
    CHECK(house::carries(h[1]) == 1);  // its author comes, or it finds another authority
    CHECK(house::sees(h[1], "a") == 10);
    h.go_home(h[0]);
    CHECK(h.has("a") == 11);
}

TEST_CASE("a peer's rows are those of scopes that both hold") {
    bool const asks_table = GENERATE(false, true);
    relay_options o;
    o.trust_rows = true;
    house h({"anna", "ben", "cleo", "root"}, o);
    if (asks_table) {
        // Each device has the table; people are added anew with it.
        o.scopes = &h.table;
        o.realm = "house";
        for (auto& p : h.people) {
            replica_options all;
            all.scoped = p->name != "root";
            all.relay = o;
            std::string const name = p->name;
            p = std::make_unique<house::person>(name, p->random(), all);
            REQUIRE(open(*p, h.clock.now, name));
        }
    }
    h.begin();
    h.update(h[3], "a", add("count", 1));
    h.update(h[3], "b", add("count", 10));
    h.create(h[3], "c", 1);
    h.create(h[3], "d", 2);
    h.go_home(h[3]);
    h.go_home(h[0]);

    // Anna holds all that Ben does: he gets what is his, new records too.
    auto const met = h.meets(h[1], h[0]);
    CHECK(met.taken.rows == 2);
    CHECK(house::sees(h[1], "a") == 1);
    CHECK(house::sees(h[1], "c") == 0);
    CHECK(!house::sees(h[1], "b"));
    CHECK(!house::sees(h[1], "d"));
    // Who holds everything knows no scopes, and who holds one of two would tell a group in half.
    CHECK(h.meets(h[2], h[3]).taken.rows == 0);
    h.join(h[2], 1);
    h.go_home(h[2]);
    h.update(h[3], "a", add("count", 100));
    h.go_home(h[3]);
    h.go_home(h[1]);
    CHECK(h.meets(h[2], h[1]).taken.rows == 0);
    CHECK(house::sees(h[2], "a") == 1);

    // What leaves after a peer told it goes, although the cursor never stood where it came.
    h.go_home(h[0]);
    h.create(h[3], "e", 1);
    h.go_home(h[3]);
    h.go_home(h[0]);
    CHECK(h.meets(h[1], h[0]).taken.rows == 1);
    CHECK(house::sees(h[1], "e") == 0);
    h.update(h[3], "e", set("room", 2));
    h.go_home(h[3]);
    h.go_home(h[1]);
    CHECK(!house::sees(h[1], "e"));
    CHECK(house::sees(h[1], "a") == 101);

    // Who says to hold what it may not have is told nothing where the table is known.
    h.may.rooms.erase({"ben", 1});
    h.update(h[3], "a", add("count", 1'000));
    h.go_home(h[3]);
    h.go_home(h[0]);
    CHECK(h.meets(h[1], h[0]).taken.rows == (asks_table ? 0 : 1));
    h.go_home(h[1]);
    CHECK(!house::sees(h[1], "a"));
}

TEST_CASE("an answer that was under way when a peer told rows is passed over") {
    relay_options o;
    o.trust_rows = true;
    house h({"anna", "ben", "cleo", "root"}, o);
    h.begin();
    bytes const q = request_of(h[1], h.clock.now);
    auto const late = h.answer(h[1], q);
    REQUIRE(late);
    h.update(h[3], "a", add("count", 1));
    h.go_home(h[3]);
    h.go_home(h[0]);
    CHECK(h.meets(h[1], h[0]).taken.rows == 1);
    REQUIRE(absorb(h[1], *late, h.clock.now));
    CHECK(house::sees(h[1], "a") == 1);
    h.go_home(h[1]);
    CHECK(house::sees(h[1], "a") == 1);
}

TEST_CASE("a peer that tells rows of no scope, or of others, is not believed") {
    relay_options o;
    o.trust_rows = true;
    house h({"anna", "ben", "cleo", "root"}, o);
    h.begin();
    h.update(h[3], "b", add("count", 10));
    h.go_home(h[3]);
    h.go_home(h[0]);
    peer_exchange mine(h[1].self, h[1].seal);
    peer_exchange theirs(h[0].self, h[0].seal);
    auto const ask = [&] {
        auto const q = h[1].write([&](auto& tx) { return mine.ask(tx, h.clock.now); });
        REQUIRE(q);
        auto const said = h[0].write([&](auto& tx) { return theirs.answer(tx, *q, "ben", h.clock.now); });
        REQUIRE(said);
        auto m = decode_peer_message(*said);
        REQUIRE(m);
        return *m;
    };
    peer_message m = ask();
    CHECK(m.rows.empty());
    row r;
    r.version = 3;
    r.fields = fields({{"count", 10}, {"room", 2}});
    m.rows.push_back({{"things", "b"}, r});
    if (GENERATE(false, true)) { m.runs.push_back({1, {1}}); }
    auto const taken = h[1].write([&](auto& tx) { return mine.take(tx, encode(m), "anna", h.clock.now); });
    REQUIRE(taken);
    CHECK(taken->rows == 0);
    CHECK(!house::sees(h[1], "b"));
}

TEST_CASE("a message of peers that hold scopes is read as it was written, and refused where it is damaged") {
    peer_message m;
    m.replica = {id128{{std::byte{1}}}, 1};
    m.realm = "house";
    m.rows_from.emplace();
    m.scopes = {{"room", integer(1)}, {"room", integer(2)}};
    row r;
    r.version = 3;
    r.fields = fields({{"count", 10}});
    m.rows = {{{"things", "a"}, r}, {{"things", "b"}, r}};
    m.runs = {{1, {0}}, {1, {0, 1}}};
    auto const again = decode_peer_message(encode(m));
    REQUIRE(again);
    CHECK(*again == m);
    peer_message const good = m;
    std::swap(m.scopes[0], m.scopes[1]);
    CHECK(decode_peer_message(encode(m)).error() == errc::not_deterministic);
    m = good;
    m.scopes[1] = m.scopes[0];
    CHECK(decode_peer_message(encode(m)).error() == errc::not_deterministic);
    m = good;
    m.scopes[0].name.clear();
    CHECK(decode_peer_message(encode(m)).error() == errc::malformed);
    m = good;
    m.runs[1].members = {1, 0};
    CHECK(decode_peer_message(encode(m)).error() == errc::malformed);
    m = good;
    m.runs[0].rows = 0;
    CHECK(decode_peer_message(encode(m)).error() == errc::malformed);
    m = good;
    m.runs[0].members.clear();
    CHECK(decode_peer_message(encode(m)).error() == errc::malformed);
}
