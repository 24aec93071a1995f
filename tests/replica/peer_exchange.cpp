// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/peer_exchange.hpp>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <syncline/testing/nth_failure.hpp>
#include <syncline/transport/loopback.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

/// Devices of several people and their authority, which knows a key of each device.
struct venue {
    virtual_clock clock{};
    mac_keys keys{};
    relay_gate gate = gate_of("venue", keys);
    memory_storage home_store{};
    authority<> home{rules(), {.relays = &gate}};

    struct person {
        std::string name;
        memory_storage store{};
        replica self;
        syncline::random_generator random;
        std::optional<mac_sealer> sealer{};

        person(std::string who, std::uint64_t seed, relay_options o)
            : name(std::move(who)), self(rules(), {.relay = std::move(o)}), random(seed) {}
        person(person const&) = delete;

        template <class F>
        auto write(F&& f) {
            auto tx = store.begin(access_mode::write);
            auto out = f(*tx);
            if (out) { (void)tx->commit(); }
            return out;
        }
        template <class F>
        auto read(F&& f) {
            auto tx = store.begin(access_mode::read);
            return f(*tx);
        }
        [[nodiscard]] std::optional<std::int64_t> sees(std::string_view id, std::string_view name_of_field = "count") {
            auto const r = read([&](auto& tx) { return self.read(tx, record_key{"things", id}); });
            if (!r || !*r) { return std::nullopt; }
            return field((*r)->fields, name_of_field);
        }
        [[nodiscard]] carried_totals carries() {
            return *read([&](auto& tx) { return self.carried().totals(tx); });
        }
        [[nodiscard]] std::size_t dead() {
            std::size_t n = 0;
            (void)read([&](auto& tx) {
                return self.queue().scan_dead(tx, [&](outbox_entry const&) {
                    ++n;
                    return true;
                });
            });
            return n;
        }
    };
    std::vector<std::unique_ptr<person>> people{};

    explicit venue(std::vector<std::string> const& names, relay_options o = {}) {
        syncline::random_generator dice(99);
        auto tx = home_store.begin(access_mode::write);
        REQUIRE(home.open(*tx, clock.now, dice));
        REQUIRE(tx->commit());
        o.realm = "venue";
        for (std::string const& n : names) { add(n, o); }
    }
    person& add(std::string const& name, relay_options const& o) {
        people.push_back(std::make_unique<person>(name, 100 + people.size(), o));
        person& p = *people.back();
        REQUIRE(p.write([&](auto& tx) { return p.self.open(tx, p.name, clock.now, p.random); }));
        auto const self = p.read([&](auto& tx) { return p.self.self(tx); });
        bytes const key = to_bytes(as_bytes("0123456789abcdef " + name));
        p.sealer.emplace(as_bytes(name), key);
        keys.add(as_bytes(name), key, self->device, name);
        return p;
    }
    person& operator[](std::size_t i) { return *people[i]; }

    result<bytes> ask_home(person& p, bytes_view message) {
        return serve(home_store, home, p.name, message, clock.now);
    }
    /// Whole exchanges with the authority until nothing is left to do.
    void go_home(person& p) {
        for (int i = 0; i < 50; ++i) {
            REQUIRE(p.write([&](auto& tx) { return p.self.prepare(tx, clock.now); }));
            auto const reply = ask_home(p, *p.read([&](auto& tx) { return p.self.request_message(tx); }));
            REQUIRE(reply);
            auto const report = p.write([&](auto& tx) { return p.self.absorb(tx, *reply, clock.now, p.random); });
            REQUIRE(report);
            if (!report->more) { return; }
        }
        FAIL("an exchange that does not end");
    }
    meeting_report meets(person& a, person& b) {
        peer_exchange mine(a.self, *a.sealer);
        peer_exchange theirs(b.self, *b.sealer);
        auto answer = [&](bytes_view m) { return serve_peer(b.store, theirs, a.name, m, clock.now); };
        loopback_transport way(answer);
        auto const met = meet(a.store, mine, way, b.name, clock.now);
        REQUIRE(met);
        return *met;
    }
    status create(person& p, std::string_view id) {
        auto const done = p.write([&](auto& tx) {
            return p.self.create(tx, record_key{"things", id}, fields({{"count", 0}}), clock.now);
        });
        return done ? status{} : status{done.error()};
    }
    status count(person& p, std::string_view id, std::int64_t n = 1) {
        auto const done = p.write([&](auto& tx) {
            return p.self.update(tx, record_key{"things", id}, {add_to("count", n)}, clock.now);
        });
        return done ? status{} : status{done.error()};
    }
    static field_op add_to(std::string_view name, std::int64_t n) { return world::add(name, n); }
    std::map<std::string, bytes> confirmed() {
        std::map<std::string, bytes> out;
        auto tx = home_store.begin(access_mode::read);
        (void)home.scan(*tx, [&](record_key const& k, row const& r) {
            if (!r.deleted) { out[std::string{k.id_text()}] = r.fields; }
            return true;
        });
        return out;
    }
};

}  // namespace

TEST_CASE("what one device wrote is seen on the next, and goes home with either, once", "[replica]") {
    venue v({"anna", "ben", "cleo"});
    REQUIRE(v.create(v[0], "a"));
    REQUIRE(v.count(v[0], "a", 3));
    auto const met = v.meets(v[1], v[0]);
    CHECK(!met.failed);
    CHECK(met.taken.added == 1);  // they were joined before they were frozen
    CHECK(v[1].sees("a") == 3);

    // A chain: Anna writes on, Ben builds on it, Cleo hears of both from Ben.
    REQUIRE(v.count(v[0], "a", 10));
    (void)v.meets(v[0], v[1]);
    CHECK(v[1].sees("a") == 13);
    REQUIRE(v.count(v[1], "a", 100));
    (void)v.meets(v[2], v[1]);
    CHECK(v[2].sees("a") == 113);
    CHECK(v[2].carries().count == 3);

    // Cleo comes home, and nobody else.
    v.go_home(v[2]);
    CHECK(field(v.confirmed().at("a"), "count") == 113);
    CHECK(v[2].carries().count == 0);
    CHECK(v[2].sees("a") == 113);

    // The authors hear their first verdicts when they come themselves.
    for (std::size_t i = 0; i < 3; ++i) {
        std::size_t decided = 0;
        v.go_home(v[i]);
        (void)v[i].read([&](auto& tx) {
            return v[i].self.events(tx, 0, [&](std::uint64_t, event const& e) {
                if (e.kind == event_kind::decided) {
                    ++decided;
                    CHECK((e.said.kind == verdict_kind::applied || e.said.kind == verdict_kind::merged));
                    CHECK(e.said.again);
                }
                return true;
            });
        });
        CHECK(decided == (i == 0 ? 2U : i == 1 ? 1U : 0U));
        CHECK(v[i].sees("a") == 113);
        CHECK(v[i].carries().count == 0);
        CHECK(v[i].dead() == 0);
    }
    CHECK(field(v.confirmed().at("a"), "count") == 113);
}
