// SPDX-License-Identifier: BSL-1.0

#include <syncline/replica/strong.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <syncline/merge/rule_codec.hpp>
#include <syncline/replica/again.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "replica/strong_world.hpp"

using namespace syncline;
using namespace strong_world;

namespace {

/// Two devices that hold the same seat.
struct two_sellers : house {
    seller ann{1, clock.now};
    seller ben{2, clock.now};

    two_sellers() {
        create(ann, 0);
        sync(ann);
        sync(ben);
        (void)ann.news();
        (void)ben.news();
    }
};

std::vector<verdict> decided(std::vector<event> const& all) {
    std::vector<verdict> out;
    for (event const& e : all) {
        if (e.kind == event_kind::decided) { out.push_back(e.said); }
    }
    return out;
}
std::size_t changes(std::vector<event> const& all) {
    return static_cast<std::size_t>(
        std::count_if(all.begin(), all.end(), [](event const& e) { return e.kind != event_kind::decided; }));
}

}  // namespace

TEST_CASE("a strong write is pending until its exchange, and then confirmed") {
    two_sellers w;
    w.update(w.ann, {set("sold", 1)});
    CHECK(w.ann.value("sold") == 0);
    CHECK(w.ann.hope("sold") == 1);
    CHECK(w.ann.shown()->pending);
    CHECK(w.ann.hoped()->pending);
    std::int64_t scanned = -1;
    REQUIRE(w.ann.read([&](auto& tx) {
        return w.ann.self.scan(tx, "seats", [&](record_key const&, record const& r) {
            scanned = *field(r.fields, "sold");
            return true;
        });
    }));
    CHECK(scanned == 0);
    REQUIRE(w.ann.read([&](auto& tx) {
        return w.ann.self.scan_pending(tx, "seats", [&](record_key const&, record const& r) {
            scanned = *field(r.fields, "sold");
            return true;
        });
    }));
    CHECK(scanned == 1);

    w.exchange(w.ann);
    CHECK(w.ann.value("sold") == 1);
    CHECK_FALSE(w.ann.shown()->pending);
    auto const told = w.ann.news();
    REQUIRE(decided(told).size() == 1);
    CHECK(decided(told)[0].kind == verdict_kind::applied);
    CHECK(changes(told) == 1);  // what is confirmed has changed
}

TEST_CASE("of two strong writes on one version the second is refused in its exchange, and is told the version") {
    two_sellers w;
    w.update(w.ben, {set("sold", 2)});
    w.sync(w.ben);
    // Other fields, and a counter: what would be merged elsewhere is refused here.
    w.update(w.ann, {set("name", 1), add("count", 1)});
    w.exchange(w.ann);
    CHECK(w.value("sold") == 2);
    CHECK(w.value("name") == -1);
    CHECK(w.value("count") == 1);
    auto const told = w.ann.news();
    REQUIRE(decided(told).size() == 1);
    CHECK(decided(told)[0].kind == verdict_kind::rejected);
    CHECK(decided(told)[0].reason == errc::contended);
    CHECK(decided(told)[0].version == w.find()->version);
    CHECK(w.ann.value("sold") == 2);
    CHECK(w.ann.hope("name") == -1);
    REQUIRE(w.ann.letters().size() == 1);
    CHECK(w.ann.letters()[0].reason == errc::contended);
}

TEST_CASE("a refused strong write is issued on what its writer has seen since, and never by itself") {
    two_sellers w;
    w.update(w.ben, {set("sold", 2)});
    w.sync(w.ben);
    w.update(w.ann, {add("count", 1)});
    w.sync(w.ann);
    auto const letter = w.ann.letters().at(0).token;
    auto const none = w.ann.write([&](auto& tx) { return issue_refused(tx, w.ann.self, w.clock.now); });
    REQUIRE(none);
    CHECK(*none == 0);

    position const there = w.find()->version;
    auto const issue = [&](position seen) {
        return w.ann.write([&](auto& tx) { return issue_on(tx, w.ann.self, letter, seen, w.clock.now); });
    };
    CHECK(issue(there - 1).error() == errc::contended);
    CHECK(issue(there));
    CHECK(w.ann.letters().empty());
    CHECK(issue(there).error() == errc::not_found);
    w.sync(w.ann);
    CHECK(w.value("count") == 2);
    CHECK(w.value("sold") == 2);
}

TEST_CASE("a letter is not issued over what waits, nor on a record that is gone") {
    two_sellers w;
    w.update(w.ben, {set("sold", 2)});
    w.sync(w.ben);
    w.update(w.ann, {set("sold", 3)});
    w.sync(w.ann);
    auto const letter = w.ann.letters().at(0).token;
    auto const issue = [&] {
        position const seen = version_of(*w.ann.read([&](auto& tx) { return w.ann.self.read_confirmed(tx, seat); }));
        return w.ann.write([&](auto& tx) { return issue_on(tx, w.ann.self, letter, seen, w.clock.now); });
    };
    SECTION("something waits") {
        w.update(w.ann, {set("name", 1)});
        CHECK(issue().error() == errc::contended);
        w.sync(w.ann);
        CHECK(issue());
        w.sync(w.ann);
        CHECK(w.value("sold") == 3);
    }
    SECTION("gone") {
        w.erase(w.ben);
        w.sync(w.ben);
        w.sync(w.ann);
        CHECK(issue().error() == errc::not_found);
        CHECK(w.ann.letters().size() == 1);
    }
}

TEST_CASE("edits that build on an own pending one are confirmed as a chain") {
    two_sellers w;
    w.update(w.ann, {set("sold", 1)});
    bytes const first = w.ann.request(w.clock.now);  // frozen: what follows stands apart
    w.update(w.ann, {add("count", 1)});
    bytes const answered = w.answer(first);
    w.update(w.ann, {set("name", 5)});
    CHECK(w.ann.hope("count") == 2);
    SECTION("one verdict after the other") {
        w.ann.absorb(answered, w.clock.now);
        w.sync(w.ann);
    }
    SECTION("the first reply is lost") { w.sync(w.ann); }
    CHECK(w.ann.letters().empty());
    CHECK(w.value("sold") == 1);
    CHECK(w.value("count") == 2);
    CHECK(w.value("name") == 5);
    CHECK(w.ann.value("name") == 5);
    CHECK_FALSE(w.ann.shown()->pending);
}

TEST_CASE("a chain falls with its first, whyever that was refused") {
    two_sellers w;
    bool const lost = GENERATE(true, false);
    if (lost) {
        w.update(w.ben, {set("sold", 2)});
        w.sync(w.ben);
        w.update(w.ann, {set("sold", 1)});
    } else {
        w.update(w.ann, {set("count", 101)});  // the house says no
    }
    (void)w.ann.request(w.clock.now);
    w.update(w.ann, {set("count", 7)});
    w.clock.pass(10);
    // Another class stands apart from what waits.
    REQUIRE(w.ann.write(
        [&](auto& tx) { return w.ann.self.update(tx, seat, {set("name", 8)}, w.clock.now, priority::important); }));
    CHECK(w.ann.hope("name") == 8);
    w.exchange(w.ann);
    auto const told = decided(w.ann.news());
    REQUIRE(told.size() == 3);
    CHECK(told[0].kind == verdict_kind::rejected);
    CHECK(told[1].kind == verdict_kind::collateral);
    CHECK(told[2].kind == verdict_kind::collateral);
    CHECK(told[2].reason == errc::contended);
    auto const letters = w.ann.letters();
    REQUIRE(letters.size() == 3);
    CHECK(w.ann.hope("name") == -1);
    w.sync(w.ann);
    CHECK(w.value("count") == 1);
    CHECK(w.value("name") == -1);

    // Sent anew as they are they are refused: they were made on what never was.
    REQUIRE(w.ann.write([&](auto& tx) { return w.ann.self.queue().revive(tx, letters[1].token, w.clock.now.wall); }));
    CHECK(w.ann.hope("count") == 1);
    w.sync(w.ann);
    CHECK(w.value("count") == 1);
    CHECK(w.ann.letters().size() == 3);
}

TEST_CASE("what is written on a newer version does not fall with what was written on an older one") {
    two_sellers w;
    w.update(w.ann, {set("sold", 1)});
    (void)w.ann.request(w.clock.now);
    w.update(w.ben, {set("sold", 2)});
    w.sync(w.ben);
    // The row comes before the verdict, by a request that sends nothing.
    bytes const only_pull = [&] {
        auto q = *decode_request(*w.ann.read([&](auto& tx) { return w.ann.self.request_message(tx); }));
        q.mutations.clear();
        q.origins.clear();
        return encode(q);
    }();
    w.ann.absorb(w.answer(only_pull), w.clock.now);
    CHECK(w.ann.value("sold") == 2);
    CHECK(w.ann.hope("sold") == 2);  // what can't be confirmed any more is in nobody's sight
    w.update(w.ann, {set("name", 5)});
    CHECK(w.ann.hope("name") == 5);
    std::vector<foreseen> ahead;
    REQUIRE(w.ann.read([&](auto& tx) {
        return w.ann.self.foresee(tx, seat, [&](foreseen const& f) {
            ahead.push_back(f);
            return true;
        });
    }));
    REQUIRE(ahead.size() == 2);
    CHECK(ahead[0].outcome.reason == errc::contended);
    CHECK(ahead[1].outcome.verdict == verdict_kind::applied);
    w.sync(w.ann);
    CHECK(w.value("sold") == 2);
    CHECK(w.value("name") == 5);
    CHECK(w.ann.letters().size() == 1);
}

TEST_CASE("strong creations and deletions are conditional too") {
    two_sellers w;
    SECTION("one of two creations") {
        w.erase(w.ann);
        w.sync(w.ann);
        w.sync(w.ben);
        w.create(w.ann, 1);
        w.create(w.ben, 2);
        CHECK(w.ann.value("sold") == -2);
        CHECK(w.ann.hope("sold") == 1);
        w.sync(w.ben);
        w.sync(w.ann);
        CHECK(w.value("sold") == 2);
        CHECK(w.ann.value("sold") == 2);
        REQUIRE(w.ann.letters().size() == 1);
        CHECK(w.ann.letters()[0].reason == errc::contended);
    }
    SECTION("a creation where a record lives that was never seen") {
        seller cat{3, w.clock.now};
        w.create(cat, 3);
        w.sync(cat);
        CHECK(w.value("sold") == 0);
        CHECK(cat.value("sold") == 0);
        CHECK(cat.letters().size() == 1);
    }
    SECTION("a deletion of what was changed since") {
        w.update(w.ben, {set("sold", 2)});
        w.sync(w.ben);
        w.erase(w.ann);
        CHECK(w.ann.value("sold") == 0);
        CHECK(w.ann.hope("sold") == -2);
        w.sync(w.ann);
        CHECK(w.value("sold") == 2);
        CHECK(w.ann.letters().size() == 1);
    }
    SECTION("a change of what was deleted since") {
        w.erase(w.ben);
        w.sync(w.ben);
        w.update(w.ann, {set("sold", 1)});
        w.sync(w.ann);
        CHECK(w.find()->deleted);
        CHECK(w.ann.letters().size() == 1);
    }
    SECTION("a creation behind the own deletion") {
        w.erase(w.ann);
        (void)w.ann.request(w.clock.now);
        w.create(w.ann, 4);
        CHECK(w.ann.value("sold") == 0);
        CHECK(w.ann.hope("sold") == 4);
        w.sync(w.ann);
        CHECK(w.value("sold") == 4);
        CHECK(w.ann.letters().empty());
    }
    SECTION("created and deleted before it was sent: nothing happened") {
        w.erase(w.ann);
        w.sync(w.ann);
        w.create(w.ann, 4);
        w.erase(w.ann);
        CHECK_FALSE(w.ann.hoped());
        w.sync(w.ann);
        CHECK(w.ann.letters().empty());
        CHECK(w.find()->deleted);
    }
}

TEST_CASE("what a stranger names is compared, whatever it is") {
    two_sellers w;
    auto const send = [&](mutation m) {
        request q;
        q.replica = {{}, 1};
        m.stamp = timestamp::make(w.clock.now.wall);
        m.sequence = 1;
        q.replica.device.bytes[0] = std::byte{9};
        bytes one;
        cbor_writer out{one};
        encode_mutation(out, m);
        q.mutations.push_back(one);
        auto const p = decode_reply(w.answer(encode(q)));
        REQUIRE(p);
        REQUIRE(p->verdicts.size() == 1);
        return p->verdicts[0];
    };
    position const there = w.find()->version;
    mutation m;
    m.record = seat;
    m.ops = {set("sold", 9)};
    m.ops[0].stamp = timestamp::make(w.clock.now.wall);
    m.base = there;
    SECTION("the version itself") {
        CHECK(send(m).kind == verdict_kind::applied);
        CHECK(w.value("sold") == 9);
        return;
    }
    SECTION("none") { m.base = 0; }
    SECTION("an earlier one, with a wish") {
        m.base = there - 1;
        m.hint = merge_hint::local;
    }
    SECTION("a creation on what lives") { m.kind = change_kind::create; }
    SECTION("a later life of what lives") {
        m.kind = change_kind::create;
        m.life = 2;
    }
    SECTION("a deletion on none") {
        m.kind = change_kind::erase;
        m.ops.clear();
        m.base = 0;
    }
    auto const v = send(m);
    CHECK(v.kind == verdict_kind::rejected);
    CHECK(v.reason == errc::contended);
    CHECK(v.version == there);
    CHECK(w.find()->version == there);
}

namespace {

// region: sell
/// Sells a seat once: whoever is second has it refused, and looks again. True when it was sold in this exchange; nothing
/// when the authority was not reached, or the seat is somebody's already.
template <class Exchange>
std::optional<bool> sell(seller& till, record_key const& k, std::int64_t guest, Exchange exchange, instant now) {
    auto const seen = till.shown(k);
    if (!seen || field(seen->fields, "sold") != 0) { return std::nullopt; }
    auto const written = till.write([&](auto& tx) { return till.self.update(tx, k, {set("sold", guest)}, now); });
    if (!written || !exchange()) { return std::nullopt; }
    auto const after = till.shown(k);
    return after && !after->pending && field(after->fields, "sold") == guest;
}
// endregion: sell

}  // namespace

TEST_CASE("a seat is sold once") {
    two_sellers w;
    auto const through = [&](seller& d) {
        return [&] {
            w.exchange(d);
            return true;
        };
    };
    CHECK(sell(w.ben, seat, 2, through(w.ben), w.clock.now) == true);
    CHECK(sell(w.ann, seat, 1, through(w.ann), w.clock.now) == false);
    CHECK_FALSE(sell(w.ann, seat, 1, through(w.ann), w.clock.now));
    CHECK(w.value("sold") == 2);
}

TEST_CASE("a group with a part in a strong collection counts on that part's version only") {
    record_key const note{"notes", "n"};
    for (bool const raced : {false, true}) {
        two_sellers w;
        w.clock.pass(10);
        auto const sell = [&](seller& d, std::int64_t to, record_key const& k) {
            record_group both;
            both.update(seat, {set("sold", to)}).create(k, fields({{"count", to}}));
            return d.write([&](auto& tx) { return d.self.write_group(tx, both, w.clock.now); });
        };
        REQUIRE(sell(w.ann, 1, note));
        CHECK(w.ann.value("sold") == 0);
        CHECK(w.ann.hope("sold") == 1);
        CHECK(w.ann.shown(note));
        // What is written on it stands and falls with it.
        w.update(w.ann, {set("asked", 5)});
        CHECK(w.ann.hope("asked") == 5);
        CHECK(sell(w.ann, 3, {"notes", "m"}).error() == errc::contended);
        if (raced) {
            w.update(w.ben, {set("sold", 2)});
            w.sync(w.ben);
        }
        w.sync(w.ann);
        auto const told = decided(w.ann.news());
        REQUIRE(told.size() == 3);  // of each part, and of what was written on it
        auto const those = [&](verdict_kind kind) {
            return std::count_if(told.begin(), told.end(), [&](verdict const& v) { return v.kind == kind; });
        };
        if (raced) {
            CHECK(those(verdict_kind::rejected) == 2);
            CHECK(those(verdict_kind::collateral) == 1);
            CHECK(told[0].reason == errc::contended);
            CHECK(told[0].part == 0);
            CHECK(w.ann.letters().size() == 2);
            // It is not written anew in part.
            auto const seen = w.ann.read([&](auto& tx) { return w.ann.self.read_confirmed(tx, seat); });
            for (outbox_entry const& letter : w.ann.letters()) {
                if (w.ann.self.mutation_of(letter)->kind != change_kind::group) { continue; }
                auto const done = w.ann.write(
                    [&](auto& tx) { return issue_on(tx, w.ann.self, letter.token, version_of(*seen), w.clock.now); });
                CHECK(done.error() == errc::invalid);
            }
            CHECK(w.ann.letters().size() == 2);
            CHECK_FALSE(w.ann.shown(note));
            CHECK_FALSE(w.find(note));
        } else {
            CHECK(those(verdict_kind::applied) == 3);
            CHECK(w.value("asked") == 5);
            CHECK(w.find(note));
        }
        CHECK(w.value("sold") == (raced ? 2 : 1));
        CHECK(w.ann.value("sold") == (raced ? 2 : 1));
        CHECK(w.ann.hope("asked") == w.value("asked"));
    }
}

TEST_CASE("what waits on a strong write that was handed over goes on with it, or falls with it") {
    for (bool const raced : {false, true}) {
        house w;
        replica_options carries;
        carries.relay.emplace();
        seller ann{1, w.clock.now, carries};
        seller ben{2, w.clock.now};
        w.create(ann, 0);
        w.sync(ann);
        w.sync(ben);
        (void)ann.news();
        w.update(ann, {set("sold", 1)});
        REQUIRE(ann.write([&](auto& tx) { return ann.self.prepare_handover(tx, w.clock.now); }));
        w.update(ann, {set("name", 2)});
        REQUIRE(ann.write([&](auto& tx) { return ann.self.prepare_handover(tx, w.clock.now); }));
        w.update(ann, {set("name", 3)});
        if (raced) {
            w.update(ben, {set("sold", 9)});
            w.sync(ben);
        }
        w.sync(ann);
        CHECK(w.value("sold") == (raced ? 9 : 1));
        CHECK(w.value("name") == (raced ? -1 : 3));
        CHECK(ann.hope("name") == w.value("name"));
        CHECK(ann.letters().size() == (raced ? 2 : 0));
    }
}

TEST_CASE("a table says which collections are strong, and says it in bytes") {
    rule_table const table = strong_rules();
    CHECK(table.of("seats").strong());
    CHECK_FALSE(table.of("things").strong());
    CHECK(rule_table{}.make_strong("new").of("new").strong());
    bytes const encoded = encode(table);
    auto const again = decode_rule_table(encoded);
    REQUIRE(again);
    CHECK(*again == table);

    bytes one;
    cbor_writer w{one};
    encode_rules(w, table.of("seats"));
    for (unsigned n = 0; n < 24; ++n) {
        one.back() = static_cast<std::byte>(n);
        cbor_reader in{one};
        (void)decode_rules(in);
        CHECK(in.finish().has_value() == (n == 2));
    }
    collection_rules unheard;
    unheard.keeps = static_cast<consistency>(3);
    CHECK(validate(unheard).error() == errc::unsupported);
}

TEST_CASE("a strong write counts exactly if what its writer saw is there, whatever the network does") {
    std::size_t confirmed = 0, refused = 0, collateral = 0;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        crowd all{seed};
        std::string const wrong = all.run(120);
        INFO("seed " << seed);
        CHECK(wrong == "");
        confirmed += all.confirmed;
        refused += all.refused;
        collateral += all.collateral;
    }
    CHECK(confirmed > 400);
    CHECK(refused > 400);
    CHECK(collateral > 20);
}

TEST_CASE("a reply with strong verdicts is taken whole or not at all, whatever storage call fails") {
    // Made once: a chain whose first was refused, one whose first stands, and what another did.
    two_sellers w;
    record_key const other{"seats", "2b"};
    REQUIRE(w.ann.write([&](auto& tx) { return w.ann.self.create(tx, other, fields({{"sold", 0}}), w.clock.now); }));
    w.sync(w.ann);
    w.update(w.ben, {set("sold", 2)});
    w.sync(w.ben);
    w.update(w.ann, {set("sold", 1)});
    REQUIRE(w.ann.write([&](auto& tx) { return w.ann.self.update(tx, other, {set("sold", 1)}, w.clock.now); }));
    bytes const asked = w.ann.request(w.clock.now);
    w.update(w.ann, {set("name", 1)});
    REQUIRE(w.ann.write([&](auto& tx) { return w.ann.self.update(tx, other, {set("name", 1)}, w.clock.now); }));
    bytes const answered = w.answer(asked);

    auto const make = [&](auto& store) {
        auto from = w.ann.store.begin(access_mode::read);
        auto to = store.begin(access_mode::write);
        REQUIRE(from->scan({}, [&](bytes_view k, bytes_view v) {
            REQUIRE(to->put(k, v));
            return true;
        }));
        REQUIRE(to->commit());
    };
    auto const operate = [&](auto& store) -> status {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        syncline::random_generator random{1};
        auto const done = w.ann.self.absorb(*tx, answered, w.clock.now, random);
        if (!done) { return done.error(); }
        return tx->commit();
    };
    testing::nth_failure_options again;
    again.repeatable = true;
    auto const report = testing::nth_failure(make, operate, again);
    for (auto const& v : report.violations) { FAIL_CHECK(v.axiom << ": " << v.what); }
    CHECK(report.runs > 100);
}
