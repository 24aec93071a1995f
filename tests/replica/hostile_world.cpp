// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"
#include "support/sanitized.hpp"

#include <array>
#include <map>
#include <memory>
#include <new>

#include <syncline/testing/faulty_storage.hpp>
#include <syncline/transport/loopback.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

using faulty = syncline::testing::faulty_storage<memory_storage>;
using link = session<faulty, syncline::random_generator>;

/// Sums the additions to `count` in a mutation.
std::int64_t added_by(mutation const& m) {
    std::int64_t sum = 0;
    for (field_op const& op : m.ops) {
        if (op.field == "count" && op.kind == op_kind::add) { sum += *detail::integer_of(op.value); }
    }
    return sum;
}

/// Refuses every seventh name.
struct picky {
    validation operator()(validation_input const& in) const {
        for (field_op const& op : in.change.ops) {
            auto const n = op.kind == op_kind::set ? detail::integer_of(op.value) : std::nullopt;
            if (op.field == "name" && n && *n % 7 == 0) { return {false, errc::rejected, "no sevenths"}; }
        }
        return {};
    }
};

/// One store that two processes use, each with a handle and a session of its own.
struct machine {
    memory_store shared{};
    std::array<memory_storage, 2> handles{memory_storage{shared}, memory_storage{shared}};
    std::array<faulty, 2> stores{faulty{handles[0]}, faulty{handles[1]}};
    replica self;
    syncline::random_generator random;
    std::array<link, 2> links;

    machine(std::uint64_t seed, replica_options options)
        : self(rules(), options),
          random(seed),
          links{link{stores[0], self, syncline::random_generator{seed + 1}},
                link{stores[1], self, syncline::random_generator{seed + 2}}} {}
    machine(machine const&) = delete;

    template <class F>
    auto write(F&& f) {
        auto tx = handles[0].begin(access_mode::write);
        auto out = f(*tx);
        if (out) {
            if (auto ok = tx->commit(); !ok) { out = ok.error(); }
        }
        return out;
    }
    /// Makes this store a copy of another.
    void take(std::map<bytes, bytes> const& image) {
        auto tx = handles[0].begin(access_mode::write);
        std::vector<bytes> old;
        REQUIRE(tx->scan({}, [&](bytes_view k, bytes_view) {
            old.push_back(to_bytes(k));
            return true;
        }));
        for (bytes const& k : old) { REQUIRE(tx->erase(k)); }
        for (auto const& [k, v] : image) { REQUIRE(tx->put(k, v)); }
        REQUIRE(tx->commit());
        for (std::size_t i = 0; i < 2; ++i) {
            links[i].~link();
            new (&links[i]) link{stores[i], self, syncline::random_generator{random()}};
        }
    }
    std::map<bytes, bytes> image() {
        std::map<bytes, bytes> out;
        auto tx = handles[0].begin(access_mode::read);
        REQUIRE(tx->scan({}, [&](bytes_view k, bytes_view v) {
            out[to_bytes(k)] = to_bytes(v);
            return true;
        }));
        return out;
    }
    std::map<std::string, bytes> seen() {
        std::map<std::string, bytes> out;
        auto tx = handles[0].begin(access_mode::read);
        REQUIRE(self.scan(*tx, "things", [&](record_key const& k, record const& r) {
            out[std::string{k.id_text()}] = r.fields;
            return true;
        }));
        return out;
    }
    std::vector<outbox_entry> dead() {
        std::vector<outbox_entry> out;
        auto tx = handles[0].begin(access_mode::read);
        REQUIRE(self.queue().scan_dead(*tx, [&](outbox_entry const& e) {
            out.push_back(e);
            return true;
        }));
        return out;
    }
    std::vector<open_conflict> open_conflicts() {
        std::vector<open_conflict> out;
        auto tx = handles[0].begin(access_mode::read);
        REQUIRE(self.conflicts(*tx, [&](open_conflict const& c) {
            out.push_back(c);
            return true;
        }));
        return out;
    }
    std::uint64_t waiting() {
        auto tx = handles[0].begin(access_mode::read);
        auto const sum = self.queue().summary(*tx);
        REQUIRE(sum);
        return sum->entries;
    }
    bool quiet() { return waiting() == 0 && dead().empty() && open_conflicts().empty(); }

    /// What is visible is what is confirmed, then what was decided and is not held, then what waits. A dead letter
    /// that lives again is shown when something else makes the record be computed anew: not compared.
    void check_visible() {
        bool const resting = waiting() == 0;
        auto tx = handles[0].begin(access_mode::read);
        auto const called = self.self(*tx);
        REQUIRE(called);
        renamed = *called != known_as || (renamed && !resting);
        known_as = *called;
        bytes raw;
        REQUIRE(*tx->get(as_bytes("rs"), raw));
        cbor_reader in{raw};
        (void)in.array();
        (void)in.skip();
        (void)in.skip();
        (void)in.skip();
        auto const author = static_cast<author_index>(in.unsigned_integer());
        for (int n = 0; n < 8; ++n) {
            record_key const k{"things", "t" + std::to_string(n)};
            auto const confirmed = self.read_confirmed(*tx, k);
            REQUIRE(confirmed);
            std::optional<row> now = *confirmed;
            apply_context context;
            context.author = author;
            bool revived = false;
            bytes const name = to_bytes(k);
            bytes prefix = to_bytes(as_bytes("rh"));
            prefix.push_back(std::byte{0});
            prefix.push_back(static_cast<std::byte>(name.size()));
            append(prefix, name);
            REQUIRE(scan_prefix(*tx, prefix, [&](bytes_view, bytes_view v) {
                cbor_reader d{v};
                (void)d.array();
                position const version = d.unsigned_integer();
                context.stamp_max = timestamp{d.unsigned_integer()};
                bytes_view const encoded = d.byte_string();
                cbor_reader e{encoded};
                mutation const m = decode_mutation(e);
                if (version > (*confirmed ? (*confirmed)->version : 0)) {
                    (void)apply(now, m, self.rules().of("things"), context);
                }
                return true;
            }));
            context.stamp_max = timestamp{~std::uint64_t{0}};
            REQUIRE(self.queue().scan_record(*tx, name, [&](outbox_entry const& e) {
                auto const m = replica::mutation_of(e);
                REQUIRE(m);
                revived = revived || revivals.count(e.token) != 0;
                (void)apply(now, *m, self.rules().of("things"), context);
                return true;
            }));
            auto const shown = self.read(*tx, k);
            REQUIRE(shown);
            bool const there = now && !now->deleted;
            if (revived || renamed) { continue; }
            INFO("record t" << n);
            REQUIRE(shown->has_value() == there);
            if (there) { REQUIRE(equal((*shown)->fields, now->fields)); }
        }
    }

    std::map<std::uint64_t, bool> revivals;
    replica_id known_as{};
    bool renamed = false;  // what waits was first shown under another name, whose own writes count as another's now
};

void run(std::uint64_t seed) {
    syncline::random_generator dice{seed};
    auto const roll = [&](std::uint64_t n) { return dice() % n; };
    virtual_clock clock;
    memory_storage cloud_store;
    authority_options home_options;
    home_options.rows_max = 1 + roll(5);
    home_options.verdicts_max = 1 + roll(6);
    authority<picky> home{rules(), home_options, {}};
    {
        syncline::random_generator random{seed + 99};
        auto tx = cloud_store.begin(access_mode::write);
        REQUIRE(home.open(*tx, clock.now, random));
        REQUIRE(tx->commit());
    }
    std::vector<std::unique_ptr<machine>> machines;
    for (std::uint64_t i = 0; i < 3; ++i) {
        replica_options options;
        options.rows_max = 1 + roll(4);
        options.bytes_max = roll(200);
        options.mutations_max = 1 + roll(4);
        options.mutation_bytes = roll(300);
        options.outbox.entries_max = 6;
        options.record_max = 300;
        machines.push_back(std::make_unique<machine>(seed * 10 + i, options));
        machine& m = *machines.back();
        REQUIRE(m.write([&](auto& tx) { return m.self.open(tx, "anna", clock.now, m.random); }));
    }
    std::int64_t ledger = 0;  // additions acknowledged, less those that ended by a person's call
    std::vector<bytes> requests;
    auto const drive_once = [&](std::size_t who, bool faults, bool network) {
        machine& m = *machines[who];
        std::size_t const p = roll(2);
        auto handler = [&](bytes_view request) -> peer_reply {
            requests.push_back(to_bytes(request));
            if (network && roll(5) == 0) { return {failure{errc::connection_lost}, {}}; }
            if (network && roll(4) == 0) {  // an old request comes late, from whomever
                REQUIRE(serve(cloud_store, home, "anna", requests[roll(requests.size())], clock.now));
            }
            auto answer = serve(cloud_store, home, "anna", request, clock.now);
            INFO((answer ? "" : message(answer.error().code)));
            REQUIRE(answer);
            if (network && roll(5) == 0) { return {failure{errc::timed_out}, {}}; }
            return {std::move(*answer), {}};
        };
        loopback_transport way{handler};
        if (faults) {
            m.stores[p].inject(
                {1 + roll(120),
                 errc::storage_io,
                 roll(2) == 0 ? syncline::testing::fault_moment::before : syncline::testing::fault_moment::after,
                 false,
                 {}});
        }
        auto const done = drive(
            m.links[p], m.stores[p], way, [&] { return clock.now; }, [](event const&) {});
        m.stores[p].heal();
        if (!faults) { REQUIRE(done); }
        return done.has_value();
    };

    REQUIRE(machines[0]->write([&](auto& tx) {
        return machines[0]->self.create(tx, {"things", "t0"}, fields({{"count", 0}, {"asked", 0}}), clock.now);
    }));
    clock.pass(1);
    REQUIRE(machines[0]->write([&](auto& tx) {
        return machines[0]->self.create(tx, {"things", "t1"}, fields({{"count", 0}}), clock.now);
    }));
    for (std::size_t i = 0; i < 3; ++i) { drive_once(i, false, false); }
    std::map<bytes, bytes> backup[3];
    auto const tidy = [&](machine& m, std::size_t who) {
        drive_once(who, false, false);
        for (outbox_entry const& e : m.dead()) {
            REQUIRE(m.write([&](auto& tx) { return m.self.queue().discard(tx, e.token); }));
            ledger -= added_by(*replica::mutation_of(e));
        }
        for (open_conflict const& c : m.open_conflicts()) {
            REQUIRE(m.write([&](auto& tx) { return m.self.dismiss(tx, c.token); }));
            ledger -= added_by(c.local);
        }
    };

    for (int step = 0; step < 120; ++step) {
        clock.pass(static_cast<std::int64_t>(roll(3'000)));
        std::size_t const who = roll(3);
        machine& m = *machines[who];
        instant now = clock.now;
        now.wall += milliseconds{static_cast<std::int64_t>(roll(3)) * 60'000 * static_cast<std::int64_t>(who)};
        auto const urgency = static_cast<priority>(roll(4));
        switch (roll(14)) {
            case 0:
            case 1:
            case 2: {  // a counted record
                std::vector<field_op> ops;
                auto const n = static_cast<std::int64_t>(1 + roll(9));
                ops.push_back(add("count", n));
                if (roll(3) == 0) { ops.push_back(set("asked", static_cast<std::int64_t>(roll(5)))); }
                if (roll(4) == 0) { ops.push_back(set("name", static_cast<std::int64_t>(roll(20)))); }
                if (roll(4) == 0) { ops.push_back(set("ruled", static_cast<std::int64_t>(roll(5)))); }
                record_key const k{"things", "t" + std::to_string(roll(2))};
                auto const w = m.write([&](auto& tx) { return m.self.update(tx, k, ops, now, urgency); });
                if (w) { ledger += n; }
                REQUIRE((w || w.error() == errc::limit || w.error() == errc::not_found));
                break;
            }
            case 3:
            case 4: {  // a record that comes and goes
                record_key const k{"things", "t" + std::to_string(2 + roll(4))};
                auto const w = m.write([&](auto& tx) -> result<write_receipt> {
                    if (roll(3) == 0) { return m.self.erase(tx, k, now, urgency); }
                    return m.self.put(tx, k,
                                      fields({{"name", static_cast<std::int64_t>(roll(20))},
                                              {"asked", static_cast<std::int64_t>(roll(4))},
                                              {"least", static_cast<std::int64_t>(roll(50))}}),
                                      now, urgency);
                });
                REQUIRE((w || w.error() == errc::limit || w.error() == errc::not_found));
                break;
            }
            case 5: {  // a person decides about a conflict
                auto const open = m.open_conflicts();
                if (open.empty()) { break; }
                open_conflict const& c = open[roll(open.size())];
                if (roll(4) == 0) {
                    REQUIRE(m.write([&](auto& tx) { return m.self.dismiss(tx, c.token); }));
                    ledger -= added_by(c.local);
                    break;
                }
                std::vector<field_resolution> decisions;
                for (std::string const& f : c.fields) {
                    decisions.push_back({f, static_cast<field_resolution::choice>(roll(3)), integer(77)});
                }
                position const version = c.remote ? c.remote->version : 0;
                auto const w = m.write([&](auto& tx) { return m.self.resolve(tx, c.token, version, decisions, now); });
                REQUIRE((w || w.error() == errc::limit || w.error() == errc::not_found));
                break;
            }
            case 6: {  // a person decides about a dead letter
                auto const dead = m.dead();
                if (dead.empty()) { break; }
                outbox_entry const& e = dead[roll(dead.size())];
                if (roll(2) == 0) {
                    REQUIRE(m.write([&](auto& tx) { return m.self.queue().revive(tx, e.token, now.wall); }));
                    m.revivals[e.token] = true;
                    break;
                }
                REQUIRE(m.write([&](auto& tx) { return m.self.queue().discard(tx, e.token); }));
                ledger -= added_by(*replica::mutation_of(e));
                break;
            }
            case 7: {
                tidy(m, who);
                if (m.quiet()) { backup[who] = m.image(); }
                break;
            }
            case 8: {  // a store is put back, or copied to another machine: only where nothing is lost or doubled by it
                std::size_t const from = roll(3);
                tidy(m, who);
                if (!backup[from].empty() && m.quiet()) { m.take(backup[from]); }
                break;
            }
            default: drive_once(who, roll(3) == 0, true); break;
        }
        m.check_visible();
    }

    // The network heals; letters that can't be taken and open questions remain where they are.
    for (int round = 0; round < 40; ++round) {
        for (std::size_t i = 0; i < 3; ++i) {
            clock.pass(400'000);
            drive_once(i, false, false);
        }
    }
    std::map<std::string, bytes> truth;
    {
        auto tx = cloud_store.begin(access_mode::read);
        REQUIRE(home.scan(*tx, [&](record_key const& k, row const& r) {
            if (!r.deleted) { truth[std::string{k.id_text()}] = r.fields; }
            return true;
        }));
    }
    std::int64_t sum = *field(truth.at("t0"), "count") + *field(truth.at("t1"), "count");
    for (auto& m : machines) {
        CHECK(m->waiting() == 0);
        CHECK(m->seen() == truth);
        for (outbox_entry const& e : m->dead()) { sum += added_by(*replica::mutation_of(e)); }
        for (open_conflict const& c : m->open_conflicts()) { sum += added_by(c.local); }
        for (auto const& [k, v] : m->image()) {
            bool const left =
                k[0] == std::byte{'r'} && (k[1] == std::byte{'b'} || k[1] == std::byte{'h'} || k[1] == std::byte{'f'});
            CHECK_FALSE(left);
        }
    }
    CHECK(sum == ledger);
}

}  // namespace

TEST_CASE("nothing is lost or counted twice through faults, clones, restores, conflicts, refusals and two processes") {
    for (std::uint64_t seed = 1; seed <= rounds(150U); ++seed) {
        INFO("seed " << seed);
        run(seed);
    }
}
