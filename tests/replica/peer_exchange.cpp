// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/peer_exchange.hpp>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
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

namespace {

/// Draws what happens next in a venue; writes add to counters, so that what is lost, or counts twice, shows at once.
class restless_venue {
public:
    restless_venue(std::uint64_t seed, relay_options const& o) : v_({"anna", "ben", "cleo", "dora"}, o), dice_(seed) {}

    void run(int steps) {
        for (int i = 0; i < steps; ++i) {
            v_.clock.pass(1'000);
            std::uint64_t const what = draw(10);
            auto& p = v_[static_cast<std::size_t>(draw(4))];
            if (what < 4) {
                change(p);
            } else if (what < 7) {
                auto& other = v_[static_cast<std::size_t>(draw(4))];
                if (&p != &other) { meet_badly(p, other); }
            } else if (what < 9) {
                exchange_badly(p);
            } else {
                replay();
            }
            nothing_twice();
        }
        for (int round = 0; round < 3; ++round) {
            for (auto& p : v_.people) { v_.go_home(*p); }
        }
        everything_once();
    }

private:
    using person = venue::person;
    std::uint64_t draw(std::uint64_t n) { return dice_() % n; }

    void change(person& p) {
        std::string const id(1, static_cast<char>('a' + draw(6)));
        if (!p.sees(id)) {
            if (made_.count(id) != 0) { return; }
            REQUIRE(v_.create(p, id));
            made_[id] = 0;
            return;
        }
        REQUIRE(v_.count(p, id));
        ++made_[id];
    }
    /// Some messages of a meeting are lost, doubled or come late, and either end may crash before it commits.
    void meet_badly(person& a, person& b) {
        peer_exchange mine(a.self, *a.sealer);
        peer_exchange theirs(b.self, *b.sealer);
        for (int i = 0; i < 8 && !mine.done(); ++i) {
            auto const q = a.write([&](auto& tx) { return mine.ask(tx, v_.clock.now); });
            REQUIRE(q);
            old_peer_messages_.push_back(*q);
            if (draw(8) == 0) { return; }
            bool const crashes = draw(8) == 0;
            auto tx = b.store.begin(access_mode::write);
            auto const r = theirs.answer(*tx, *q, a.name, v_.clock.now);
            REQUIRE(r);
            if (crashes) { return; }
            REQUIRE(tx->commit());
            old_peer_messages_.push_back(*r);
            if (draw(8) == 0) { return; }
            bytes const& heard = draw(10) == 0 ? old_peer_messages_[draw(old_peer_messages_.size())] : *r;
            auto own = a.store.begin(access_mode::write);
            auto const taken = mine.take(*own, heard, b.name, v_.clock.now);
            REQUIRE(taken);
            CHECK(taken->forked == 0);
            CHECK(taken->refused == 0);
            if (draw(8) == 0) { return; }
            REQUIRE(own->commit());
        }
    }
    void exchange_badly(person& p) {
        std::uint64_t const exchanges = 1 + draw(3);
        for (std::uint64_t i = 0; i < exchanges; ++i) {
            REQUIRE(p.write([&](auto& tx) { return p.self.prepare(tx, v_.clock.now); }));
            bytes const q = *p.read([&](auto& tx) { return p.self.request_message(tx); });
            requests_.emplace_back(&p, q);
            if (draw(6) == 0) { return; }
            auto const r = v_.ask_home(p, q);
            REQUIRE(r);
            replies_.emplace_back(&p, *r);
            if (draw(4) == 0) { return; }
            auto tx = p.store.begin(access_mode::write);
            REQUIRE(p.self.absorb(*tx, *r, v_.clock.now, p.random));
            if (draw(6) != 0) { REQUIRE(tx->commit()); }
        }
    }
    /// What was sent long ago comes once more.
    void replay() {
        if (!requests_.empty() && draw(2) == 0) {
            auto const& [who, q] = requests_[draw(requests_.size())];
            (void)v_.ask_home(*who, q);
        }
        if (!replies_.empty()) {
            auto const& [who, r] = replies_[draw(replies_.size())];
            auto tx = who->store.begin(access_mode::write);
            if (who->self.absorb(*tx, r, v_.clock.now, who->random)) { (void)tx->commit(); }
        }
    }
    void nothing_twice() {
        for (auto& p : v_.people) {
            for (auto const& [id, n] : made_) {
                auto const seen = p->sees(id);
                if (seen) {
                    CAPTURE(p->name, id);
                    REQUIRE(*seen <= n);
                }
            }
        }
    }
    void everything_once() {
        auto const confirmed = v_.confirmed();
        REQUIRE(confirmed.size() == made_.size());
        for (auto const& [id, n] : made_) {
            CAPTURE(id);
            REQUIRE(field(confirmed.at(id), "count") == n);
            for (auto& p : v_.people) { REQUIRE(p->sees(id) == n); }
        }
        for (auto& p : v_.people) {
            CHECK(p->carries().count == 0);
            CHECK(p->carries().size == 0);
            CHECK(p->carries().unasked == 0);
            CHECK(p->carries().forks == 0);
            CHECK(p->dead() == 0);
        }
    }

    venue v_;
    syncline::random_generator dice_;
    std::map<std::string, std::int64_t> made_{};
    std::vector<bytes> old_peer_messages_{};
    std::vector<std::pair<person*, bytes>> requests_{};
    std::vector<std::pair<person*, bytes>> replies_{};
};

}  // namespace

TEST_CASE("whoever meets whom, and whatever is lost: every write counts once", "[replica]") {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        CAPTURE(seed);
        relay_options o;
        if (seed % 3 == 1) { o.submit_max = 2; }
        if (seed % 3 == 2) { o.page_max = 2; }
        restless_venue(seed, o).run(120);
    }
}
