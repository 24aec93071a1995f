// SPDX-License-Identifier: BSL-1.0

#include <syncline/replica/dry_run.hpp>

#include "support/catch.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <syncline/testing/faulty_storage.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

record_key const key_a{"things", "a"};
record_key const key_b{"things", "b"};

status create(device& d, virtual_clock& clock, record_key const& k,
              std::vector<std::pair<std::string, std::int64_t>> f) {
    clock.pass(10);
    auto const done = d.write([&](auto& tx) { return d.self.create(tx, k, fields(f), clock.now); });
    return done ? status{} : status{done.error()};
}
status update(device& d, virtual_clock& clock, record_key const& k, std::vector<field_op> ops) {
    clock.pass(10);
    auto const done = d.write([&](auto& tx) { return d.self.update(tx, k, ops, clock.now); });
    return done ? status{} : status{done.error()};
}
/// A request that sends nothing, and the authority's answer.
bytes pulled(device& d, cloud& c, instant now) {
    auto const asked = d.read([&](auto& tx) { return pull_message(tx, d.self); });
    REQUIRE(asked);
    auto const reply = c.answer(*asked, now);
    REQUIRE(reply);
    return *reply;
}
result<pull_preview> rehearse(device& d, bytes_view reply, instant now) {
    auto random = d.random;
    return dry_run(d.store, d.self, reply, now, random);
}

std::map<bytes, record> records_of(device& d) {
    std::map<bytes, record> out;
    REQUIRE(d.read([&](auto& tx) {
        return d.self.scan(tx, "things", [&](record_key const& k, record const& r) {
            out[to_bytes(k)] = r;
            return true;
        });
    }));
    return out;
}
std::vector<open_conflict> conflicts_of(device& d) {
    std::vector<open_conflict> out;
    REQUIRE(d.read([&](auto& tx) {
        return d.self.conflicts(tx, [&](open_conflict const& c) {
            out.push_back(c);
            return true;
        });
    }));
    return out;
}
std::vector<event> decided_of(device& d) {
    std::vector<event> out;
    REQUIRE(d.read([&](auto& tx) {
        return d.self.events(tx, 0, [&](std::uint64_t, event const& e) {
            if (e.kind == event_kind::decided) { out.push_back(e); }
            return true;
        });
    }));
    return out;
}
bool same(exchange_report const& a, exchange_report const& b) {
    return a.verdicts == b.verdicts && a.rows == b.rows && a.changed == b.changed && a.advanced == b.advanced &&
           a.more == b.more && a.wait == b.wait && a.rejoined == b.rejoined && a.reincarnated == b.reincarnated &&
           a.fallback == b.fallback && a.same == b.same;
}
bool same(open_conflict const& a, open_conflict const& b) {
    return a.token == b.token && a.local == b.local && a.base == b.base && a.fields == b.fields && a.remote == b.remote;
}

/// Takes a reply in after a dry run of it: the store was as it had been, and what was told is what happens.
void take(device& d, bytes_view reply, instant now) {
    auto const bytes_before = d.store.snapshot();
    auto const said = rehearse(d, reply, now);
    REQUIRE(d.store.snapshot() == bytes_before);

    auto const records_before = records_of(d);
    auto const conflicts_before = conflicts_of(d);
    auto const verdicts_before = decided_of(d);
    auto const report = absorb(d, reply, now);
    REQUIRE(said.has_value() == report.has_value());
    if (!report) {
        CHECK(said.error() == report.error());
        return;
    }
    CHECK(same(said->report, *report));

    auto expected = records_before;
    for (record_preview const& p : said->records) {
        auto const was = records_before.find(to_bytes(p.key));
        CHECK(p.before == (was == records_before.end() ? std::optional<record>{} : std::optional<record>{was->second}));
        CHECK(p.before != p.after);
        if (p.after) {
            expected[to_bytes(p.key)] = *p.after;
        } else {
            expected.erase(to_bytes(p.key));
        }
    }
    CHECK(expected == records_of(d));

    auto verdicts = verdicts_before;
    verdicts.insert(verdicts.end(), said->verdicts.begin(), said->verdicts.end());
    CHECK(verdicts == decided_of(d));

    // What was open stays, its remote side perhaps another; what the dry run adds is what comes to it.
    auto const conflicts_after = conflicts_of(d);
    REQUIRE(conflicts_after.size() == conflicts_before.size() + said->conflicts.size());
    for (open_conflict const& c : said->conflicts) {
        CHECK(std::count_if(conflicts_after.begin(), conflicts_after.end(),
                            [&](open_conflict const& o) { return same(o, c); }) == 1);
    }
}

}  // namespace

TEST_CASE("a dry run tells what a pull would change, record by record, and changes nothing") {
    virtual_clock clock;
    cloud c{clock.now};
    device one{100};
    device two{200};
    REQUIRE(open(one, clock.now));
    REQUIRE(open(two, clock.now));
    REQUIRE(create(one, clock, key_a, {{"name", 1}, {"asked", 1}}));
    REQUIRE(create(one, clock, key_b, {{"name", 1}}));
    REQUIRE(sync(one, c, clock.now));
    REQUIRE(sync(two, c, clock.now));

    REQUIRE(update(one, clock, key_a, {set("asked", 2)}));
    REQUIRE(one.write([&](auto& tx) { return one.self.erase(tx, key_b, clock.now); }));
    REQUIRE(sync(one, c, clock.now));
    REQUIRE(update(two, clock, key_a, {set("asked", 3)}));

    bytes const reply = pulled(two, c, clock.now);
    auto const before = two.store.snapshot();
    auto const said = rehearse(two, reply, clock.now);
    REQUIRE(said);
    CHECK(two.store.snapshot() == before);

    REQUIRE(said->records.size() == 2);
    record_preview const& a = said->records[0];
    CHECK(a.key == key_a);
    CHECK(field(a.before->fields, "asked") == 3);  // ours, while nobody else's is known
    CHECK(field(a.after->fields, "asked") == 2);   // ours can't be applied to theirs: a person must decide
    CHECK(a.after->pending);
    CHECK(a.shows());
    record_preview const& b = said->records[1];
    CHECK(b.key == key_b);
    CHECK(b.before);
    CHECK_FALSE(b.after);
    CHECK(said->verdicts.empty());
    CHECK(said->conflicts.empty());
    CHECK(said->report.rows == 2);

    // What will become of the edit that nobody has sent yet.
    REQUIRE(said->ahead.size() == 1);
    CHECK(said->ahead[0].outcome.verdict == verdict_kind::conflict);
    CHECK(said->ahead[0].change.record == key_a);
    take(two, reply, clock.now);

    // With it sent, the verdict and the conflict are told before they are taken.
    auto const answer = c.answer(request_of(two, clock.now), clock.now);
    REQUIRE(answer);
    auto const next = rehearse(two, *answer, clock.now);
    REQUIRE(next);
    REQUIRE(next->verdicts.size() == 1);
    CHECK(next->verdicts[0].said.kind == verdict_kind::conflict);
    REQUIRE(next->conflicts.size() == 1);
    CHECK(next->conflicts[0].fields == std::vector<std::string>{"asked"});
    CHECK(next->ahead.empty());
    take(two, *answer, clock.now);
}

TEST_CASE("a request for a dry run sends nothing") {
    virtual_clock clock;
    cloud c{clock.now};
    device one{100};
    REQUIRE(open(one, clock.now));
    REQUIRE(create(one, clock, key_a, {{"name", 1}}));
    (void)request_of(one, clock.now);  // frozen, and never sent
    auto const asked = one.read([&](auto& tx) { return pull_message(tx, one.self); });
    REQUIRE(asked);
    auto const q = decode_request(*asked);
    REQUIRE(q);
    CHECK(q->mutations.empty());
    CHECK(q->origins.empty());
    take(one, pulled(one, c, clock.now), clock.now);
    CHECK(confirmed(c).empty());
    REQUIRE(sync(one, c, clock.now));
    CHECK(confirmed(c).size() == 1);
}

TEST_CASE("a dry run of a first sync tells every record") {
    virtual_clock clock;
    cloud c{clock.now};
    device one{100};
    device two{200};
    REQUIRE(open(one, clock.now));
    REQUIRE(open(two, clock.now));
    for (int i = 0; i < 20; ++i) { REQUIRE(create(one, clock, {"things", "r" + std::to_string(i)}, {{"name", i}})); }
    REQUIRE(sync(one, c, clock.now));
    bytes const reply = pulled(two, c, clock.now);
    auto const said = rehearse(two, reply, clock.now);
    REQUIRE(said);
    CHECK(said->records.size() == 20);
    CHECK(records_of(two).empty());
    take(two, reply, clock.now);
}

TEST_CASE("a dry run fails as the absorb would, and leaves the store as it was") {
    virtual_clock clock;
    cloud c{clock.now};
    cloud other{clock.now, 8};
    device one{100};
    REQUIRE(open(one, clock.now));
    REQUIRE(create(one, clock, key_a, {{"name", 1}}));
    REQUIRE(sync(one, c, clock.now));
    take(one, as_bytes("nonsense"), clock.now);
    auto const strange = other.answer(request_of(one, clock.now), clock.now);
    REQUIRE(strange);
    take(one, *strange, clock.now);
    auto const open_one = one.store.begin(access_mode::read);
    REQUIRE(open_one);
    CHECK(rehearse(one, *strange, clock.now).error() == errc::busy);
}

TEST_CASE("a dry run whose storage fails at any step is an error, and leaves the store as it was") {
    virtual_clock clock;
    cloud c{clock.now};
    device one{100};
    device two{200};
    REQUIRE(open(one, clock.now));
    REQUIRE(open(two, clock.now));
    REQUIRE(create(one, clock, key_a, {{"name", 1}, {"asked", 1}}));
    REQUIRE(sync(one, c, clock.now));
    REQUIRE(sync(two, c, clock.now));
    REQUIRE(update(one, clock, key_a, {set("asked", 2)}));
    REQUIRE(sync(one, c, clock.now));
    REQUIRE(update(two, clock, key_a, {set("asked", 3)}));
    auto const reply = c.answer(request_of(two, clock.now), clock.now);
    REQUIRE(reply);
    auto const before = two.store.snapshot();
    testing::faulty_storage<memory_storage> store{two.store};
    auto random = two.random;
    std::uint64_t n = 1;
    for (;; ++n) {
        auto const faults = store.faults();
        store.inject({n, errc::storage_io, testing::fault_moment::before, false});
        auto const said = dry_run(store, two.self, *reply, clock.now, random);
        bool const failed = store.faults() != faults;
        store.heal();
        CHECK(two.store.snapshot() == before);
        if (!failed) {
            REQUIRE(said);
            CHECK(said->conflicts.size() == 1);
            break;
        }
        REQUIRE_FALSE(said);
        CHECK(said.error() == errc::storage_io);
    }
    CHECK(n > 20);
}

TEST_CASE("over random lives, what a dry run tells is what the absorb does") {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        CAPTURE(seed);
        syncline::random_generator dice{seed};
        auto const roll = [&](std::uint64_t n) { return dice() % n; };
        virtual_clock clock;
        cloud c{clock.now};
        device one{seed * 1'000};
        device two{seed * 1'000 + 10};
        device* const all[]{&one, &two};
        REQUIRE(open(one, clock.now));
        REQUIRE(open(two, clock.now));
        std::vector<std::pair<device*, bytes>> late;  // replies that come once more, or after others
        for (int step = 0; step < 60; ++step) {
            device& d = *all[roll(2)];
            record_key const k{"things", std::string(1, static_cast<char>('a' + roll(4)))};
            auto const value = static_cast<std::int64_t>(roll(9));
            switch (roll(8)) {
                case 0: (void)create(d, clock, k, {{"name", value}, {"asked", value}, {"count", value}}); break;
                case 1: (void)update(d, clock, k, {set("name", value)}); break;
                case 2: (void)update(d, clock, k, {set("asked", value), add("count", 1)}); break;
                case 3: (void)d.write([&](auto& tx) { return d.self.erase(tx, k, clock.now); }); break;
                case 4: take(d, pulled(d, c, clock.now), clock.now); break;
                case 5: {
                    auto const reply = c.answer(request_of(d, clock.now), clock.now);
                    REQUIRE(reply);
                    late.emplace_back(&d, *reply);
                    break;
                }
                case 6: {
                    auto const reply = c.answer(request_of(d, clock.now), clock.now);
                    REQUIRE(reply);
                    take(d, *reply, clock.now);
                    break;
                }
                default:
                    if (!late.empty()) {
                        auto const& [whose, reply] = late[roll(late.size())];
                        take(*whose, reply, clock.now);
                    }
                    break;
            }
        }
    }
}

TEST_CASE("what is foreseen of an edit is its verdict, when nobody else writes before it is sent") {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        CAPTURE(seed);
        syncline::random_generator dice{seed};
        auto const roll = [&](std::uint64_t n) { return static_cast<std::int64_t>(dice() % n); };
        virtual_clock clock;
        cloud c{clock.now};
        device one{seed * 1'000};
        device two{seed * 1'000 + 10};
        REQUIRE(open(one, clock.now));
        REQUIRE(open(two, clock.now));
        REQUIRE(create(one, clock, key_a, {{"name", 1}, {"asked", 1}, {"ruled", 1}, {"count", 1}}));
        REQUIRE(sync(one, c, clock.now));
        REQUIRE(sync(two, c, clock.now));
        auto const edit = [&](device& d) {
            char const* const names[]{"name", "asked", "ruled", "count", "most"};
            switch (roll(7)) {
                case 0: (void)d.write([&](auto& tx) { return d.self.erase(tx, key_a, clock.now); }); break;
                case 1: (void)update(d, clock, key_a, {add("count", 1)}); break;
                default: (void)update(d, clock, key_a, {set(names[roll(5)], roll(9))}); break;
            }
        };
        for (int i = 0; i < 3; ++i) {
            edit(one);
            edit(two);
        }
        REQUIRE(sync(one, c, clock.now));
        auto const said = rehearse(two, pulled(two, c, clock.now), clock.now);
        REQUIRE(said);
        std::vector<verdict_kind> expected;
        for (foreseen const& f : said->ahead) { expected.push_back(f.outcome.verdict); }
        REQUIRE(sync(two, c, clock.now));
        std::vector<verdict_kind> told;
        for (event const& e : decided_of(two)) {
            if (e.said.kind != verdict_kind::applied) { told.push_back(e.said.kind); }
        }
        CHECK(told == expected);
    }
}
