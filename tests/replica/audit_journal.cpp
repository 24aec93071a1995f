// SPDX-License-Identifier: BSL-1.0

#include <syncline/replica/audit_journal.hpp>
#include <syncline/replica/journal.hpp>

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
struct audited_device {
    memory_storage store{};
    audit_log<> log;
    syncline::random_generator random;
    syncline::random_generator secrets;
    audited self;

    explicit audited_device(std::uint64_t seed, audit_disclosure shown = {}, audit_options options = {})
        : log(options, "log"),
          random(seed),
          secrets(seed + 1),
          self(rules(), {}, {}, {log, secrets, std::move(shown)}) {}
    audited_device(audited_device const&) = delete;

    template <class F>
    auto write(F&& f) {
        auto tx = store.begin(access_mode::write);
        auto out = f(*tx);
        if (out) {
            if (auto ok = tx->commit(); !ok) { out = ok.error(); }
        }
        return out;
    }
    template <class F>
    auto read(F&& f) {
        auto tx = store.begin(access_mode::read);
        return f(*tx);
    }
    void open(instant now) {
        REQUIRE(write([&](auto& tx) {
            auto ok = log.open(tx, now.wall, secrets);
            return ok ? self.open(tx, "anna", now, random) : ok;
        }));
    }
    bytes request(instant now) {
        REQUIRE(write([&](auto& tx) { return self.prepare(tx, now); }));
        return *read([&](auto& tx) { return self.request_message(tx); });
    }
    result<exchange_report> absorb(bytes_view reply, instant now) {
        return write([&](auto& tx) { return self.absorb(tx, reply, now, random); });
    }
    void sync(cloud& c, instant now) {
        for (;;) {
            auto const reply = c.answer(request(now), now);
            REQUIRE(reply);
            auto const report = absorb(*reply, now);
            REQUIRE(report);
            if (!report->more) { return; }
        }
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
std::vector<open_conflict> conflicts_of(audited_device& d) {
    std::vector<open_conflict> out;
    REQUIRE(d.read([&](auto& tx) {
        return d.self.conflicts(tx, [&](open_conflict const& c) {
            out.push_back(c);
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
    d.sync(c, clock.now);
    REQUIRE(sync(other, c, clock.now));

    auto all = entries_of(d.store, d.log);
    REQUIRE(all.size() == 4);
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
    d.sync(c, clock.now);
    auto const open = conflicts_of(d);
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
        CHECK(all.size() > before);
        CHECK(all[0].redacted());
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
        REQUIRE(home.open(*tx, clock.now, random));
        REQUIRE(log.open(*tx, clock.now.wall, random));
        REQUIRE(tx->commit());
    }
    audited_device d{100};
    d.open(clock.now);
    REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, key_a, fields({{"name", 1}}), clock.now); }));
    bytes const request = d.request(clock.now);
    auto const reply = serve(store, home, "anna", request, clock.now);
    REQUIRE(reply);
    REQUIRE(serve(store, home, "anna", request, clock.now));  // asked once more: it was told
    REQUIRE(d.absorb(*reply, clock.now));
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
    REQUIRE(all.size() == 1);
    CHECK(equal(all[0].opened->record, key_a.id));
    CHECK_FALSE(map_find(all[0].opened->masked, "name")->has_value());
}

TEST_CASE("over random lives each deed has one entry, however often a message comes") {
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
            REQUIRE(home.open(*tx, clock.now, random));
            REQUIRE(home_log.open(*tx, clock.now.wall, random));
            REQUIRE(tx->commit());
        }
        audited_device one{seed * 1'000};
        audited_device two{seed * 1'000 + 10};
        audited_device* const all[]{&one, &two};
        std::map<audited_device*, std::map<audit_kind, std::size_t>> expected;
        std::size_t given = 0;  // verdicts
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
                    bytes const message = d.request(clock.now);
                    auto const after = d.read([&](auto& tx) { return d.self.status_of(tx); })->frozen;
                    told[audit_kind::push] += after != before ? 1U : 0U;
                    std::uint64_t const times = 1 + roll(2);
                    for (std::uint64_t i = 0; i < times; ++i) {
                        auto const reply = serve(home_store, home, "anna", message, clock.now);
                        REQUIRE(reply);
                        auto const p = decode_reply(*reply, decode_limits{});
                        REQUIRE(p);
                        for (verdict const& v : p->verdicts) { given += v.again ? 0U : 1U; }
                        replies.emplace_back(&d, *reply);
                    }
                    break;
                }
                case 5:
                    if (!replies.empty()) {
                        auto const& [whose, reply] =
                            replies[replies.size() - 1 - roll((std::min)(replies.size(), std::size_t{4}))];
                        auto const report = whose->absorb(reply, clock.now);
                        REQUIRE(report);
                        expected[whose][audit_kind::verdict] += report->verdicts;
                        expected[whose][audit_kind::pull] += report->rows != 0 || report->advanced ? 1U : 0U;
                    }
                    break;
                default:
                    for (open_conflict const& c : conflicts_of(d)) {
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
            std::size_t decided = 0;
            for (event const& e : events_of(*d)) { decided += e.kind == event_kind::decided ? 1U : 0U; }
            CHECK(is[audit_kind::verdict] == decided);
        }
        CHECK(entries_of(home_store, home_log).size() == given);
    }
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
    auto reply = c.answer(d.request(clock.now), clock.now);
    REQUIRE(reply);
    each_failing([&](auto& tx) { return d.self.absorb(tx, *reply, clock.now, d.random); }, 2);
    d.sync(c, clock.now);

    clock.pass(10);
    REQUIRE(sync(other, c, clock.now));
    REQUIRE(other.write([&](auto& tx) { return other.self.update(tx, key_a, {set("asked", 2)}, clock.now); }));
    REQUIRE(sync(other, c, clock.now));
    REQUIRE(d.write([&](auto& tx) { return d.self.update(tx, key_a, {set("asked", 3)}, clock.now); }));
    reply = c.answer(d.request(clock.now), clock.now);
    REQUIRE(reply);
    each_failing([&](auto& tx) { return d.self.absorb(tx, *reply, clock.now, d.random); }, 2);
    auto const open = conflicts_of(d);
    REQUIRE(open.size() == 1);
    each_failing(
        [&](auto& tx) {
            return d.self.resolve(tx, open[0].token, open[0].remote->version,
                                  {{"asked", field_resolution::choice::local, {}}}, clock.now);
        },
        2);
}

TEST_CASE("a journal that fails keeps the deed from happening") {
    virtual_clock clock;
    basic_replica<stored_records, full_journal> const self{rules()};
    memory_storage store;
    syncline::random_generator random{1};
    auto tx = store.begin(access_mode::write);
    REQUIRE(self.open(*tx, "anna", clock.now, random));
    CHECK(self.create(*tx, key_a, fields({{"name", 1}}), clock.now).error() == errc::storage_full);
}
