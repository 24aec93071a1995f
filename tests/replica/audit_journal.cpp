// SPDX-License-Identifier: BSL-1.0

#include <syncline/replica/audit_journal.hpp>
#include <syncline/replica/health.hpp>
#include <syncline/replica/integrity.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/operations.hpp>

#include "support/catch.hpp"

#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/storage/archetype.hpp>
#include <syncline/testing/faulty_storage.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

using audited = basic_replica<stored_records, audit_journal<syncline::random_generator>>;
using audited_authority = authority<accept_all, audit_journal<syncline::random_generator>>;

static_assert(!keeps_journal<no_journal>);
static_assert(journal<audit_journal<syncline::random_generator>, storage_transaction_archetype>);
static_assert(!journal<no_journal, storage_transaction_archetype>);

struct full_journal {
    template <class Tx>
    status operator()(Tx&, journal_note const&) const {
        return errc::storage_full;
    }
};

record_key const key_a{"things", "a"};

/// A device whose replica keeps an audit log in its own store.
struct audited_device : storing {
    audit_log<> log;
    syncline::random_generator secrets;
    audited self;

    explicit audited_device(std::uint64_t seed, audit_disclosure shown = {}, audit_options options = {},
                            replica_options as = {})
        : storing(seed),
          log(options, "log"),
          secrets(seed + 1),
          self(rules(), as, {}, {log, secrets, std::move(shown)}) {}

    /// With its log, which comes first.
    void open(instant now, std::string_view principal = "anna") {
        REQUIRE(write([&](auto& tx) {
            auto ok = log.open(tx, now.wall, secrets);
            return ok ? self.open(tx, principal, now, random) : ok;
        }));
    }
};

template <class Store>
std::vector<audit_entry> entries_of(Store& store, audit_log<> const& log) {
    std::vector<audit_entry> out;
    auto tx = store.begin(access_mode::read);
    REQUIRE(log.verify(*tx, {})->sound());
    REQUIRE(log.scan(*tx, 0, log.extent(*tx)->size, [&](audit_entry const& e) {
        out.push_back(e);
        return true;
    }));
    return out;
}
std::map<audit_kind, std::size_t> counts(std::vector<audit_entry> const& all) {
    std::map<audit_kind, std::size_t> out;
    for (audit_entry const& e : all) { ++out[e.kind]; }
    return out;
}
std::vector<event> events_of(audited_device& d) {
    std::vector<event> out;
    REQUIRE(d.read([&](auto& tx) {
        return d.self.events(tx, 0, [&](std::uint64_t, event const& e) {
            out.push_back(e);
            return true;
        });
    }));
    return out;
}
}  // namespace

TEST_CASE("a replica's audit log tells of the write, the push, the verdict, the pull and the decision") {
    virtual_clock clock;
    cloud c{clock.now};
    device other{200};
    REQUIRE(open(other, clock.now));
    audited_device d{100, audit_disclosure{}.show("things", "name")};
    d.open(clock.now);
    REQUIRE(d.write([&](auto& tx) {
        return d.self.create(tx, key_a, fields({{"name", 1}, {"asked", 1}}), clock.now);
    }));
    REQUIRE(sync(d, c, clock.now));
    REQUIRE(sync(other, c, clock.now));

    auto all = entries_of(d.store, d.log);
    REQUIRE(all.size() == 5);
    CHECK(all[0].kind == audit_kind::principal_switch);
    CHECK(equal(all[0].actor, as_bytes("anna")));
    all.erase(all.begin());
    auto const me = d.read([&](auto& tx) { return d.self.self(tx); });
    CHECK(all[0].kind == audit_kind::local_write);
    CHECK(all[0].code == static_cast<std::uint64_t>(change_kind::create));
    CHECK(all[0].collection == "things");
    CHECK(equal(all[0].opened->record, key_a.id));
    CHECK(all[0].device == *me);
    CHECK(equal(all[0].actor, as_bytes("anna")));
    CHECK(map_find(all[0].open, "name")->has_value());  // what is public stands in the leaf, the other behind it
    CHECK_FALSE(map_find(all[0].open, "asked")->has_value());
    CHECK(map_find(all[0].opened->masked, "asked")->has_value());
    CHECK(all[1].kind == audit_kind::push);
    CHECK(all[1].code == 1);
    CHECK(all[2].kind == audit_kind::verdict);
    CHECK(all[2].code == static_cast<std::uint64_t>(verdict_kind::applied));
    CHECK(all[2].sequence == 1);
    CHECK(all[3].kind == audit_kind::pull);
    CHECK(all[3].code == 1);

    // A conflict, and a person's decision.
    clock.pass(10);
    REQUIRE(other.write([&](auto& tx) { return other.self.update(tx, key_a, {set("asked", 2)}, clock.now); }));
    REQUIRE(sync(other, c, clock.now));
    REQUIRE(d.write([&](auto& tx) { return d.self.update(tx, key_a, {set("asked", 3)}, clock.now); }));
    REQUIRE(sync(d, c, clock.now));
    auto const open = parked(d);
    REQUIRE(open.size() == 1);
    SECTION("resolved") {
        REQUIRE(d.write([&](auto& tx) {
            return d.self.resolve(tx, open[0].token, open[0].remote->version,
                                  {{"asked", field_resolution::choice::local, {}}}, clock.now);
        }));
        all = entries_of(d.store, d.log);
        CHECK(all[all.size() - 2].kind == audit_kind::local_write);
        CHECK(all.back().kind == audit_kind::conflict_decision);
        CHECK(all.back().code == static_cast<std::uint64_t>(journal_choice::local));
        CHECK(equal(all.back().opened->record, key_a.id));
    }
    SECTION("dismissed") {
        REQUIRE(d.write([&](auto& tx) { return d.self.dismiss(tx, open[0].token); }));
        all = entries_of(d.store, d.log);
        CHECK(all.back().kind == audit_kind::conflict_decision);
        CHECK(all.back().code == static_cast<std::uint64_t>(journal_choice::remote));
    }
    SECTION("the record is redacted, and the log stays sound") {
        auto const before = all.size();
        REQUIRE(d.write([&](auto& tx) { return d.log.redact(tx, "things", key_a.id, {}, d.secrets); }));
        all = entries_of(d.store, d.log);
        CHECK(all.size() > before + 1);
        CHECK(all[1].redacted());
    }
}

TEST_CASE("a rejection is a denial with its reason") {
    virtual_clock clock;
    struct refuse {
        validation operator()(validation_input const&) const { return {false, errc::forbidden, "no"}; }
    };
    memory_storage store;
    syncline::random_generator random{3};
    audit_log<> const log{{}, "log"};
    authority<refuse, audit_journal<syncline::random_generator>> const home{rules(), {}, {}, {log, random}};
    {
        auto tx = store.begin(access_mode::write);
        REQUIRE(log.open(*tx, clock.now.wall, random));
        REQUIRE(home.open(*tx, clock.now, random));
        REQUIRE(tx->commit());
    }
    audited_device d{100};
    d.open(clock.now);
    REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, key_a, fields({{"name", 1}}), clock.now); }));
    bytes const request = request_of(d, clock.now);
    auto const reply = serve(store, home, "anna", request, clock.now);
    REQUIRE(reply);
    REQUIRE(serve(store, home, "anna", request, clock.now));  // asked once more: it was told
    REQUIRE(absorb(d, *reply, clock.now));
    for (auto const& all : {entries_of(store, log), entries_of(d.store, d.log)}) {
        CHECK(counts(all)[audit_kind::denial] == 1);
        CHECK(counts(all)[audit_kind::verdict] == 0);
        for (audit_entry const& e : all) {
            if (e.kind != audit_kind::denial) { continue; }
            CHECK(e.code == static_cast<std::uint64_t>(errc::forbidden));
            CHECK(e.sequence == 1);
            CHECK(equal(e.actor, as_bytes("anna")));
            CHECK(equal(e.opened->record, key_a.id));
        }
    }
}

TEST_CASE("what is too large for the log is told without its fields, and keeps nobody from writing") {
    virtual_clock clock;
    audit_options narrow;
    narrow.entry_bytes_max = 1024;
    audited_device d{100, {}, narrow};
    d.open(clock.now);
    bytes big;
    cbor_writer w{big};
    w.map(1);
    w.text("name");
    w.text(std::string(4'000, 'x'));
    REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, key_a, big, clock.now); }));
    auto const all = entries_of(d.store, d.log);
    REQUIRE(all.size() == 2);
    CHECK(equal(all[1].opened->record, key_a.id));
    CHECK_FALSE(map_find(all[1].opened->masked, "name")->has_value());
}

TEST_CASE("over random lives each deed has one entry, however often a message comes") {
    std::size_t rules_decided = 0;
    for (std::uint64_t seed = 1; seed <= 25; ++seed) {
        CAPTURE(seed);
        syncline::random_generator dice{seed};
        auto const roll = [&](std::uint64_t n) { return dice() % n; };
        virtual_clock clock;
        syncline::random_generator random{seed + 77};
        memory_storage home_store;
        audit_log<> const home_log{{}, "log"};
        audited_authority const home{rules(), {}, {}, {home_log, random}};
        {
            auto tx = home_store.begin(access_mode::write);
            REQUIRE(home_log.open(*tx, clock.now.wall, random));
            REQUIRE(home.open(*tx, clock.now, random));
            REQUIRE(tx->commit());
        }
        audited_device one{seed * 1'000};
        audited_device two{seed * 1'000 + 10};
        audited_device* const all[]{&one, &two};
        std::map<audited_device*, std::map<audit_kind, std::size_t>> expected;
        std::size_t given = 0;    // verdicts
        std::size_t decided = 0;  // fields, by a rule
        one.open(clock.now);
        two.open(clock.now);
        std::vector<std::pair<audited_device*, bytes>> replies;
        for (int step = 0; step < 80; ++step) {
            audited_device& d = *all[roll(2)];
            auto& told = expected[&d];
            clock.pass(5);
            record_key const k{"things", std::string(1, static_cast<char>('a' + roll(3)))};
            auto const value = static_cast<std::int64_t>(roll(9));
            auto const wrote = [&](auto const& f) { told[audit_kind::local_write] += d.write(f) ? 1U : 0U; };
            switch (roll(7)) {
                case 0:
                    wrote([&](auto& tx) {
                        return d.self.create(tx, k, fields({{"name", value}, {"asked", value}}), clock.now);
                    });
                    break;
                case 1: wrote([&](auto& tx) { return d.self.update(tx, k, {set("name", value)}, clock.now); }); break;
                case 2: wrote([&](auto& tx) { return d.self.update(tx, k, {set("asked", value)}, clock.now); }); break;
                case 3: wrote([&](auto& tx) { return d.self.erase(tx, k, clock.now); }); break;
                case 4: {
                    auto const before = d.read([&](auto& tx) { return d.self.status_of(tx); })->frozen;
                    bytes const message = request_of(d, clock.now);
                    auto const after = d.read([&](auto& tx) { return d.self.status_of(tx); })->frozen;
                    told[audit_kind::push] += after != before ? 1U : 0U;
                    std::uint64_t const times = 1 + roll(2);
                    for (std::uint64_t i = 0; i < times; ++i) {
                        auto const reply = serve(home_store, home, "anna", message, clock.now);
                        REQUIRE(reply);
                        auto const p = decode_reply(*reply, decode_limits{});
                        REQUIRE(p);
                        for (verdict const& v : p->verdicts) {
                            given += v.again ? 0U : 1U;
                            decided += v.again ? 0U : v.decisions.size();
                        }
                        replies.emplace_back(&d, *reply);
                    }
                    break;
                }
                case 5:
                    if (!replies.empty()) {
                        auto const& [whose, reply] =
                            replies[replies.size() - 1 - roll((std::min)(replies.size(), std::size_t{4}))];
                        auto const report = absorb(*whose, reply, clock.now);
                        REQUIRE(report);
                        expected[whose][audit_kind::verdict] += report->verdicts;
                        expected[whose][audit_kind::pull] += report->rows != 0 || report->advanced ? 1U : 0U;
                    }
                    break;
                default:
                    for (open_conflict const& c : parked(d)) {
                        if (!d.write([&](auto& tx) { return d.self.dismiss(tx, c.token); })) { continue; }
                        ++told[audit_kind::conflict_decision];
                    }
                    break;
            }
        }
        for (audited_device* d : all) {
            auto is = counts(entries_of(d->store, d->log));
            is[audit_kind::verdict] += is[audit_kind::denial];
            for (audit_kind const k : {audit_kind::local_write, audit_kind::push, audit_kind::verdict, audit_kind::pull,
                                       audit_kind::conflict_decision}) {
                CAPTURE(name(k));
                CHECK(is[k] == expected[d][k]);
            }
            std::size_t heard = 0;
            std::size_t by_rule = 0;
            for (event const& e : events_of(*d)) {
                if (e.kind != event_kind::decided) { continue; }
                ++heard;
                by_rule += e.said.decisions.size();
            }
            CHECK(is[audit_kind::verdict] == heard);
            CHECK(is[audit_kind::merge_decision] == by_rule);
        }
        auto is = counts(entries_of(home_store, home_log));
        CHECK(is[audit_kind::verdict] + is[audit_kind::denial] == given);
        CHECK(is[audit_kind::merge_decision] == decided);
        CHECK(is[audit_kind::reset] == 1);
        rules_decided += decided;
    }
    CHECK(rules_decided > 50);
}

TEST_CASE("whatever storage call fails, deed and entry are both there or neither") {
    virtual_clock clock;
    cloud c{clock.now};
    device other{200};
    REQUIRE(open(other, clock.now));
    audited_device d{100};
    d.open(clock.now);
    using store_type = testing::faulty_storage<memory_storage>;

    /// Lets each call of `f` fail in turn: the store stays as it was. Then `f` succeeds, with so many entries more.
    auto const each_failing = [&](auto const& f, std::size_t entries) {
        auto const before = d.store.snapshot();
        auto const logged = entries_of(d.store, d.log).size();
        store_type store{d.store};
        for (std::uint64_t n = 1;; ++n) {
            REQUIRE(n < 10'000);
            auto const faults = store.faults();
            store.inject({n, errc::storage_io, testing::fault_moment::before, false});
            bool ok = false;
            {
                auto tx = store.begin(access_mode::write);
                if (tx) {
                    auto const done = f(*tx);
                    ok = done && tx->commit();
                }
            }
            bool const failed = store.faults() != faults;
            store.heal();
            REQUIRE(ok != failed);
            if (ok) { break; }
            REQUIRE(d.store.snapshot() == before);
        }
        CHECK(entries_of(d.store, d.log).size() == logged + entries);
    };
    each_failing([&](auto& tx) { return d.self.create(tx, key_a, fields({{"asked", 1}}), clock.now); }, 1);
    each_failing([&](auto& tx) { return d.self.prepare(tx, clock.now); }, 1);
    auto reply = c.answer(request_of(d, clock.now), clock.now);
    REQUIRE(reply);
    each_failing([&](auto& tx) { return d.self.absorb(tx, *reply, clock.now, d.random); }, 2);
    REQUIRE(sync(d, c, clock.now));

    clock.pass(10);
    REQUIRE(sync(other, c, clock.now));
    REQUIRE(other.write([&](auto& tx) { return other.self.update(tx, key_a, {set("asked", 2)}, clock.now); }));
    REQUIRE(sync(other, c, clock.now));
    REQUIRE(d.write([&](auto& tx) { return d.self.update(tx, key_a, {set("asked", 3)}, clock.now); }));
    reply = c.answer(request_of(d, clock.now), clock.now);
    REQUIRE(reply);
    each_failing([&](auto& tx) { return d.self.absorb(tx, *reply, clock.now, d.random); },
                 3);  // the verdict, its field, the pull
    auto const open = parked(d);
    REQUIRE(open.size() == 1);
    each_failing(
        [&](auto& tx) {
            return d.self.resolve(tx, open[0].token, open[0].remote->version,
                                  {{"asked", field_resolution::choice::local, {}}}, clock.now);
        },
        2);
}

TEST_CASE("what a rule decided of a field is an entry, at both ends") {
    virtual_clock clock;
    memory_storage store;
    syncline::random_generator random{3};
    audit_log<> const log{{}, "log"};
    audited_authority const home{rules(), {}, {}, {log, random}};
    {
        auto tx = store.begin(access_mode::write);
        REQUIRE(log.open(*tx, clock.now.wall, random));
        REQUIRE(home.open(*tx, clock.now, random));
        REQUIRE(tx->commit());
    }
    audited_device one{100};
    audited_device two{200};
    auto const meet = [&](audited_device& d) {
        auto const reply = serve(store, home, "anna", request_of(d, clock.now), clock.now);
        REQUIRE(reply);
        REQUIRE(absorb(d, *reply, clock.now));
    };
    for (audited_device* d : {&one, &two}) { d->open(clock.now); }
    REQUIRE(one.write([&](auto& tx) { return one.self.create(tx, key_a, fields({{"count", 1}}), clock.now); }));
    meet(one);
    meet(two);
    for (audited_device* d : {&one, &two}) {
        clock.pass(10);
        REQUIRE(d->write([&](auto& tx) { return d->self.update(tx, key_a, {add("count", 5)}, clock.now); }));
        meet(*d);
    }
    CHECK(counts(entries_of(one.store, one.log))[audit_kind::merge_decision] == 0);
    for (auto const& all : {entries_of(store, log), entries_of(two.store, two.log)}) {
        REQUIRE(counts(all)[audit_kind::merge_decision] == 1);
        for (std::size_t i = 0; i != all.size(); ++i) {
            audit_entry const& e = all[i];
            if (e.kind != audit_kind::merge_decision) { continue; }
            CHECK(all[i - 1].kind == audit_kind::verdict);
            CHECK(e.code == static_cast<std::uint64_t>(rule::counter));
            CHECK(e.sequence == all[i - 1].sequence);
            CHECK(e.device == all[i - 1].device);
            CHECK(equal(e.opened->record, key_a.id));
            CHECK(cbor_reader{**map_find(e.opened->masked, "field")}.text() == "count");
        }
    }
}

TEST_CASE("a store that is wiped and another's from then on says so in its log") {
    virtual_clock clock;
    audited_device d{100};
    d.open(clock.now);
    d.open(clock.now);  // the next start of the program tells of nothing
    REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, key_a, fields({{"name", 1}}), clock.now); }));
    auto const me = d.read([&](auto& tx) { return d.self.self(tx); });
    for (;;) {
        auto const more = d.write([&](auto& tx) { return d.self.wipe(tx, 1); });
        REQUIRE(more);
        if (!*more) { break; }
    }
    clock.pass(10);
    d.open(clock.now, "berta");
    auto const all = entries_of(d.store, d.log);
    REQUIRE(all.size() == 4);
    CHECK(all[0].kind == audit_kind::principal_switch);
    CHECK(all[1].kind == audit_kind::local_write);
    CHECK(all[2].kind == audit_kind::reset);
    CHECK(all[2].code == static_cast<std::uint64_t>(journal_reset::erased));
    CHECK(all[2].device == *me);
    CHECK(equal(all[2].actor, as_bytes("anna")));
    CHECK(all[3].kind == audit_kind::principal_switch);
    CHECK(equal(all[3].actor, as_bytes("berta")));
    CHECK(all[3].stamp.time() == clock.now.wall);
}

TEST_CASE("a damaged store is wiped too, and its log says that it was") {
    virtual_clock clock;
    audited_device d{100};
    d.open(clock.now);
    REQUIRE(d.write([&](auto& tx) { return tx.put(bytes{std::byte{'r'}, std::byte{'i'}}, bytes{std::byte{0xFF}}); }));
    REQUIRE(d.write([&](auto& tx) { return d.self.wipe(tx, 1'000); }));
    auto const all = entries_of(d.store, d.log);
    REQUIRE(all.size() == 2);
    CHECK(all[1].kind == audit_kind::reset);
    CHECK(all[1].actor.empty());
}

TEST_CASE("a new name that the host asks for, and an authority that was put back, are resets") {
    virtual_clock clock;
    memory_storage store;
    syncline::random_generator random{3};
    audit_log<> const log{{}, "log"};
    authority_options expecting;
    expecting.backups = true;
    audited_authority const home{rules(), expecting, {}, {log, random}};
    auto const start = [&] {
        auto tx = store.begin(access_mode::write);
        REQUIRE(log.open(*tx, clock.now.wall, random));
        REQUIRE(home.open(*tx, clock.now, random));
        REQUIRE(tx->commit());
    };
    audited_device d{100};
    auto const meet = [&] {
        for (;;) {
            auto const reply = serve(store, home, "anna", request_of(d, clock.now), clock.now);
            REQUIRE(reply);
            auto const report = absorb(d, *reply, clock.now);
            REQUIRE(report);
            if (!report->more) { return; }
        }
    };
    auto const resets = [](std::vector<audit_entry> const& all) {
        std::vector<std::uint64_t> out;
        for (audit_entry const& e : all) {
            if (e.kind == audit_kind::reset) { out.push_back(e.code); }
        }
        return out;
    };
    auto const code = [](journal_reset r) { return static_cast<std::uint64_t>(r); };
    start();
    d.open(clock.now);
    meet();
    auto const backup = store.snapshot();
    REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, key_a, fields({{"name", 1}}), clock.now); }));
    meet();
    clock.pass(1'000);
    store.restore(backup);
    start();
    // Somebody else's change begins the new epoch.
    audited_device other{200};
    other.open(clock.now);
    REQUIRE(other.write([&](auto& tx) {
        return other.self.create(tx, {"things", "b"}, fields({{"name", 2}}), clock.now);
    }));
    REQUIRE(serve(store, home, "anna", request_of(other, clock.now), clock.now));
    meet();
    CHECK(resets(entries_of(store, log)) ==
          std::vector<std::uint64_t>{code(journal_reset::epoch), code(journal_reset::epoch)});
    CHECK(resets(entries_of(d.store, d.log)) == std::vector<std::uint64_t>{code(journal_reset::authority)});
    REQUIRE(d.write([&](auto& tx) { return d.self.renew(tx, d.random); }));
    CHECK(resets(entries_of(d.store, d.log)).back() == code(journal_reset::identity));
}

TEST_CASE("a record that goes without a deletion that was told is an eviction") {
    virtual_clock clock;
    cloud c{clock.now};
    authority_options leasing;
    leasing.leases.length = milliseconds{1'000};
    leasing.leases.step_max = milliseconds{1'000'000};
    authority<> const home{rules(), leasing};
    auto const meet = [&](auto& d) {
        for (;;) {
            auto const reply = serve(c.store, home, "anna", request_of(d, clock.now), clock.now);
            REQUIRE(reply);
            auto const report = absorb(d, *reply, clock.now);
            REQUIRE(report);
            if (!report->more) { return; }
        }
    };
    device other{200};
    REQUIRE(open(other, clock.now));
    audited_device d{100};
    d.open(clock.now);
    record_key const key_b{"things", "b"};
    for (record_key const& k : {key_a, key_b}) {
        REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, k, fields({{"name", 1}}), clock.now); }));
    }
    meet(d);
    meet(other);
    REQUIRE(other.write([&](auto& tx) { return other.self.erase(tx, key_b, clock.now); }));
    meet(other);
    meet(d);  // a deletion that it is told of
    CHECK(counts(entries_of(d.store, d.log))[audit_kind::eviction] == 0);
    REQUIRE(other.write([&](auto& tx) { return other.self.erase(tx, key_a, clock.now); }));
    meet(other);
    clock.pass(900'000);  // d's lease ends
    meet(other);
    {
        auto tx = c.store.begin(access_mode::write);
        auto const report = home.collect(*tx, 1'000);
        REQUIRE(report);
        REQUIRE(report->tombstones != 0);
        REQUIRE(tx->commit());
    }
    meet(d);
    auto const all = entries_of(d.store, d.log);
    REQUIRE(counts(all)[audit_kind::eviction] == 1);
    for (audit_entry const& e : all) {
        if (e.kind != audit_kind::eviction) { continue; }
        CHECK(e.collection == "things");
        CHECK(equal(e.opened->record, key_a.id));
        CHECK(equal(e.actor, as_bytes("anna")));
    }
}

TEST_CASE("a program with other schema versions is a migration, once") {
    virtual_clock clock;
    schema_table first;
    (void)first.collection("things");
    schema_table second;
    second.collection("things").next({schema_step::rename("name", "title")});
    second.collection("places").next({schema_step::rename("name", "title")});
    memory_storage store;
    syncline::random_generator random{3};
    audit_log<> const log{{}, "log"};
    auto const start = [&](schema_table const& known, bool at_home) {
        auto tx = store.begin(access_mode::write);
        REQUIRE(log.open(*tx, clock.now.wall, random));
        if (at_home) {
            REQUIRE(audited_authority{rules(), {.schemas = &known}, {}, {log, random}}.open(*tx, clock.now, random));
        } else {
            REQUIRE(audited{rules(), {.schemas = &known}, {}, {log, random}}.open(*tx, "anna", clock.now, random));
        }
        REQUIRE(tx->commit());
    };
    using pairs = std::vector<std::pair<std::string, std::uint64_t>>;
    auto const told = [&] {
        pairs out;
        for (audit_entry const& e : entries_of(store, log)) {
            if (e.kind == audit_kind::migration) { out.emplace_back(e.collection, e.code); }
        }
        return out;
    };
    for (bool const at_home : {false, true}) {
        pairs before = at_home ? told() : pairs{};
        start(first, at_home);
        start(first, at_home);
        CHECK(told() == before);
        start(second, at_home);
        start(second, at_home);
        before.insert(before.end(), {{"places", 2}, {"things", 2}});
        CHECK(told() == before);
        start(first, at_home);  // last year's program once more
        before.emplace_back("things", 1);
        CHECK(told() == before);
    }
    SECTION("a store that begins with later versions has none to come from") {
        store.restore(memory_storage{}.snapshot());
        start(second, false);
        CHECK(told().empty());
    }
    SECTION("what is stored there is not trusted") {
        auto tx = store.begin(access_mode::write);
        REQUIRE(tx->put(bytes{std::byte{'r'}, std::byte{'q'}}, bytes{std::byte{0x81}}));
        auto const again =
            audited{rules(), {.schemas = &first}, {}, {log, random}}.open(*tx, "anna", clock.now, random);
        CHECK(again.error() == errc::corrupt);
    }
}

TEST_CASE("whatever call fails when a store is opened or wiped, it is told or did not happen") {
    virtual_clock clock;
    audited_device d{100};
    REQUIRE(d.write([&](auto& tx) { return d.log.open(tx, clock.now.wall, d.secrets); }));
    auto const each_failing = [&](auto const& f) {
        auto const before = d.store.snapshot();
        auto const logged = entries_of(d.store, d.log).size();
        testing::faulty_storage<memory_storage> store{d.store};
        for (std::uint64_t n = 1;; ++n) {
            REQUIRE(n < 10'000);
            auto const faults = store.faults();
            store.inject({n, errc::storage_io, testing::fault_moment::before, false});
            bool ok = false;
            {
                auto tx = store.begin(access_mode::write);
                ok = tx && f(*tx) && tx->commit();
            }
            bool const failed = store.faults() != faults;
            store.heal();
            REQUIRE(ok != failed);
            if (ok) { break; }
            REQUIRE(d.store.snapshot() == before);
        }
        CHECK(entries_of(d.store, d.log).size() == logged + 1);
    };
    each_failing([&](auto& tx) { return d.self.open(tx, "anna", clock.now, d.random); });
    each_failing([&](auto& tx) { return d.self.renew(tx, d.random); });
    each_failing([&](auto& tx) { return d.self.wipe(tx, 1'000); });
}

TEST_CASE(
    "a replica with an audit log is looked at, operated and checked as any other, and the log tells of decisions") {
    virtual_clock clock;
    memory_storage home_store;
    syncline::random_generator random{3};
    audit_log<> const home_log{{}, "log"};
    struct full_house {
        validation operator()(validation_input const& in) const {
            auto const n = field(in.after.fields, "name");
            return n && *n > 200 ? validation{false, errc::rejected, "the house holds 200"} : validation{};
        }
    };
    authority<full_house, audit_journal<syncline::random_generator>> const home{rules(), {}, {}, {home_log, random}};
    {
        auto tx = home_store.begin(access_mode::write);
        REQUIRE(home_log.open(*tx, clock.now.wall, random));
        REQUIRE(home.open(*tx, clock.now, random));
        REQUIRE(tx->commit());
    }
    audited_device d{100};
    d.open(clock.now);
    device other{200};
    REQUIRE(open(other, clock.now));
    auto const exchange = [&](auto& by) {
        for (int i = 0; i < 10; ++i) {
            clock.pass(10);
            auto const reply = serve(home_store, home, "anna", request_of(by, clock.now), clock.now);
            REQUIRE(reply);
            auto const report = absorb(by, *reply, clock.now);
            REQUIRE(report);
            if (!report->more) { return; }
        }
        FAIL("never at rest");
    };
    auto const standing = [&] {
        std::vector<write_report> out;
        REQUIRE(d.read([&](auto& tx) {
            return scan_writes(tx, d.self, {}, [&](write_report const& w) {
                out.push_back(w);
                return true;
            });
        }));
        return out;
    };
    REQUIRE(d.write([&](auto& tx) {
        return d.self.create(tx, key_a, fields({{"name", 1}, {"asked", 1}}), clock.now);
    }));
    exchange(d);
    exchange(other);

    // Refused, tried again, given up.
    auto const refused = d.write([&](auto& tx) { return d.self.update(tx, key_a, {set("name", 500)}, clock.now); });
    REQUIRE(refused);
    exchange(d);
    REQUIRE(standing().size() == 1);
    CHECK(standing()[0].why == "refused: rejected: the house holds 200");
    REQUIRE(d.write([&](auto& tx) { return retry_write(tx, d.self, refused->token, clock.now); }));
    CHECK(standing()[0].standing == write_standing::next);
    exchange(d);
    CHECK(d.read([&](auto& tx) { return stored_health(tx, d.self, health_log{}, clock.now); })->dead == 1);
    auto const purged = d.write([&](auto& tx) { return purge_refused(tx, d.self, (wall_time::max)(), 9); });
    REQUIRE(purged);
    CHECK(*purged == 1);
    CHECK(standing().empty());

    // A conflict, decided by an operator; another, given up.
    for (bool const decide : {true, false}) {
        clock.pass(10);
        REQUIRE(d.write([&](auto& tx) { return d.self.update(tx, key_a, {set("asked", decide ? 2 : 4)}, clock.now); }));
        REQUIRE(other.write(
            [&](auto& tx) { return other.self.update(tx, key_a, {set("asked", decide ? 3 : 5)}, clock.now); }));
        exchange(other);
        exchange(d);
        REQUIRE(standing().size() == 1);
        std::uint64_t const token = standing()[0].token;
        CHECK(d.read([&](auto& tx) { return explain(tx, d.self, token); })->standing == write_standing::conflict);
        if (decide) {
            REQUIRE(d.write([&](auto& tx) {
                return decide_conflict(tx, d.self, token, field_resolution::choice::local, clock.now);
            }));
        } else {
            REQUIRE(d.write([&](auto& tx) { return purge_write(tx, d.self, token); }));
        }
        auto const last = entries_of(d.store, d.log).back();
        CHECK(last.kind == audit_kind::conflict_decision);
        CHECK(last.code == static_cast<std::uint64_t>(decide ? journal_choice::local : journal_choice::remote));
        exchange(d);
        exchange(other);
    }

    // Both hold the same, and a session of its own says how it is.
    integrity_check const check{{.rows_part = 4, .rows_max = 16}};
    REQUIRE(d.write([&](auto& tx) { return check.begin(tx, d.random); }));
    for (;;) {
        auto const ask = *d.read([&](auto& tx) { return check.ask(tx, d.self); });
        if (!ask) { break; }
        auto const answer = serve_integrity(home_store, home, *ask);
        REQUIRE(answer);
        REQUIRE(d.write([&](auto& tx) { return check.absorb(tx, d.self, *answer); }));
    }
    auto const report = d.read([&](auto& tx) { return check.report(tx); });
    REQUIRE((report && *report));
    CHECK((*report)->done);
    CHECK((*report)->differing == 0);
    session<memory_storage, syncline::random_generator, no_observer, stored_records,
            audit_journal<syncline::random_generator>> const link{d.store, d.self, syncline::random_generator{9}};
    auto const health = d.read([&](auto& tx) { return health_of(tx, d.self, link, health_log{}, clock.now); });
    REQUIRE(health);
    CHECK(health->conflicts == 0);
    CHECK(health->dead == 0);
}

TEST_CASE("a journal that fails keeps the deed from happening") {
    virtual_clock clock;
    basic_replica<stored_records, full_journal> const self{rules()};
    authority<accept_all, full_journal> const home{rules()};
    memory_storage store;
    syncline::random_generator random{1};
    {
        auto tx = store.begin(access_mode::write);
        CHECK(self.open(*tx, "anna", clock.now, random).error() == errc::storage_full);
        CHECK(home.open(*tx, clock.now, random).error() == errc::storage_full);
    }
    auto tx = store.begin(access_mode::write);
    REQUIRE(replica{rules()}.open(*tx, "anna", clock.now, random));
    CHECK(self.create(*tx, key_a, fields({{"name", 1}}), clock.now).error() == errc::storage_full);
    CHECK(self.wipe(*tx, 10).error() == errc::storage_full);
}
