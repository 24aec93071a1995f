// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/replica_asking.hpp>
#include <syncline/replica/replica_comparing.hpp>
#include <syncline/replica/replica_completing.hpp>
#include <syncline/replica/replica_identity.hpp>
#include <syncline/replica/replica_meeting.hpp>
#include <syncline/replica/replica_offering.hpp>
#include <syncline/replica/replica_reading.hpp>
#include <syncline/replica/replica_rebasing.hpp>
#include <syncline/replica/replica_resolving.hpp>
#include <syncline/replica/replica_scoping.hpp>
#include <syncline/replica/replica_staging.hpp>
#include <syncline/replica/replica_taking.hpp>
#include <syncline/replica/replica_verdicts.hpp>
#include <syncline/replica/replica_writing.hpp>
#include <syncline/testing/faulty_storage.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

record_key const key_a{"things", "a"};
record_key const key_b{"things", "b"};

/// A cloud and two devices that both hold record a.
struct pair_of_devices {
    virtual_clock clock{};
    cloud c{clock.now};
    device one{100};
    device two{200};
    pair_of_devices() {
        REQUIRE(open(one, clock.now));
        REQUIRE(open(two, clock.now));
        REQUIRE(create(one, key_a, {{"name", 1}, {"count", 10}, {"asked", 1}}));
        REQUIRE(sync(one, c, clock.now));
        REQUIRE(sync(two, c, clock.now));
    }
    result<write_receipt> create(device& d, record_key const& k, std::vector<std::pair<std::string, std::int64_t>> f,
                                 priority urgency = priority::normal) {
        clock.pass(10);
        return d.write([&](auto& tx) { return d.self.create(tx, k, fields(f), clock.now, urgency); });
    }
    result<write_receipt> update(device& d, record_key const& k, std::vector<field_op> ops) {
        clock.pass(10);
        return d.write([&](auto& tx) { return d.self.update(tx, k, ops, clock.now); });
    }
    result<write_receipt> erase(device& d, record_key const& k) {
        clock.pass(10);
        return d.write([&](auto& tx) { return d.self.erase(tx, k, clock.now); });
    }
    std::optional<record> read(device& d, record_key const& k) {
        return *d.read([&](auto& tx) { return d.self.read(tx, k); });
    }
    std::vector<open_conflict> conflicts(device& d) {
        std::vector<open_conflict> out;
        REQUIRE(d.read([&](auto& tx) {
            return d.self.conflicts(tx, [&](open_conflict const& o) {
                out.push_back(o);
                return true;
            });
        }));
        return out;
    }
    std::vector<event> events(device& d) {
        std::vector<event> out;
        REQUIRE(d.read([&](auto& tx) {
            return d.self.events(tx, 0, [&](std::uint64_t, event const& e) {
                out.push_back(e);
                return true;
            });
        }));
        return out;
    }
};

std::uint64_t waiting(device& d) {
    return d.read([&](auto& tx) { return d.self.queue().summary(tx); })->entries;
}

}  // namespace

TEST_CASE("a local write is read at once, pending until the authority has confirmed it") {
    pair_of_devices w;
    REQUIRE(w.update(w.one, key_a, {set("name", 2)}));
    auto r = w.read(w.one, key_a);
    REQUIRE(r);
    CHECK(field(r->fields, "name") == 2);
    CHECK(r->pending);
    auto const confirmed_row = w.one.read([&](auto& tx) { return w.one.self.read_confirmed(tx, key_a); });
    CHECK(field((*confirmed_row)->fields, "name") == 1);
    REQUIRE(sync(w.one, w.c, w.clock.now));
    r = w.read(w.one, key_a);
    CHECK(field(r->fields, "name") == 2);
    CHECK_FALSE(r->pending);
    CHECK(waiting(w.one) == 0);
}

TEST_CASE("what a write can't do is an error, and nothing has changed") {
    pair_of_devices w;
    auto const before = w.one.store.snapshot();
    CHECK(w.create(w.one, key_a, {{"name", 3}}).error() == errc::already_exists);
    CHECK(w.update(w.one, key_b, {set("name", 3)}).error() == errc::not_found);
    CHECK(w.erase(w.one, key_b).error() == errc::not_found);
    CHECK(w.update(w.one, key_a, {set("name", 1), set("name", 2)}).error() == errc::invalid);
    CHECK(w.update(w.one, key_a, {set("", 1)}).error() == errc::invalid);
    CHECK(w.update(w.one, key_a, {set("\xC3", 1)}).error() == errc::invalid);
    CHECK(w.update(w.one, key_a, {field_op{"name", op_kind::set, to_bytes("\x18\x01"), {}}}).error() == errc::invalid);
    CHECK(w.update(w.one, key_a, {add("count", (std::numeric_limits<std::int64_t>::max)())}).error() == errc::overflow);
    CHECK(w.update(w.one, record_key{"", "a"}, {set("name", 1)}).error() == errc::invalid);
    CHECK(w.one.write([&](auto& tx) { return w.one.self.create(tx, key_b, integer(3), w.clock.now); }).error() ==
          errc::type_mismatch);
    replica_options narrow;
    narrow.record_max = 8;
    device three{300, narrow};
    REQUIRE(open(three, w.clock.now));
    CHECK(w.create(three, key_b, {{"a long name of a field", 3}}).error() == errc::limit);
    CHECK(w.one.store.snapshot() == before);
}

TEST_CASE("edits that wait are coalesced; what was sent is never changed") {
    pair_of_devices w;
    REQUIRE(w.update(w.one, key_a, {set("name", 2)}));
    CHECK(w.update(w.one, key_a, {add("count", 1)})->coalesced);
    CHECK(w.update(w.one, key_a, {add("count", 1)})->coalesced);
    CHECK(waiting(w.one) == 1);
    bytes const sent = request_of(w.one, w.clock.now);
    CHECK_FALSE(w.update(w.one, key_a, {add("count", 1)})->coalesced);
    CHECK(waiting(w.one) == 2);
    CHECK(request_of(w.one, w.clock.now) == sent);  // the second waits for the first
    CHECK(field(w.read(w.one, key_a)->fields, "count") == 13);
    REQUIRE(absorb(w.one, *w.c.answer(sent, w.clock.now), w.clock.now));
    CHECK(field(w.read(w.one, key_a)->fields, "count") == 13);
    REQUIRE(sync(w.one, w.c, w.clock.now));
    CHECK(field(confirmed(w.c).at("a"), "count") == 13);

    SECTION("a creation and its deletion annihilate each other, before anything was sent") {
        REQUIRE(w.create(w.one, key_b, {{"name", 1}}));
        REQUIRE(w.update(w.one, key_b, {set("name", 2)}));
        CHECK(w.erase(w.one, key_b)->token == 0);
        CHECK(waiting(w.one) == 0);
        CHECK_FALSE(w.read(w.one, key_b));
        CHECK(w.create(w.one, key_b, {{"name", 3}})->coalesced == false);
        REQUIRE(sync(w.one, w.c, w.clock.now));
        CHECK(field(confirmed(w.c).at("b"), "name") == 3);
    }
}

TEST_CASE("a reply that was lost is asked for again, and nothing counts twice") {
    pair_of_devices w;
    REQUIRE(w.update(w.one, key_a, {add("count", 5)}));
    bytes const request = request_of(w.one, w.clock.now);
    REQUIRE(w.c.answer(request, w.clock.now));
    REQUIRE(w.c.answer(request, w.clock.now));
    CHECK(request_of(w.one, w.clock.now) == request);
    auto const reply = w.c.answer(request, w.clock.now);
    REQUIRE(absorb(w.one, *reply, w.clock.now));
    auto const after = w.one.store.snapshot();
    REQUIRE(absorb(w.one, *reply, w.clock.now));
    CHECK(w.one.store.snapshot() == after);  // the same reply twice changes nothing
    CHECK(field(confirmed(w.c).at("a"), "count") == 15);
    REQUIRE(sync(w.one, w.c, w.clock.now));
    REQUIRE(w.c.answer(request, w.clock.now));  // an old session replayed, after its verdicts were forgotten
    CHECK(field(confirmed(w.c).at("a"), "count") == 15);
}

TEST_CASE("concurrent edits are rebased: both stay where the rule lets them") {
    pair_of_devices w;
    REQUIRE(w.update(w.one, key_a, {set("name", 2), add("count", 1)}));
    REQUIRE(w.update(w.two, key_a, {add("count", 2)}));
    REQUIRE(sync(w.one, w.c, w.clock.now));
    REQUIRE(sync(w.two, w.c, w.clock.now));
    auto const r = w.read(w.two, key_a);
    CHECK(field(r->fields, "name") == 2);
    CHECK(field(r->fields, "count") == 13);
    REQUIRE(sync(w.one, w.c, w.clock.now));
    CHECK(visible(w.one) == visible(w.two));
}

TEST_CASE("pending work stays visible over what is pulled, without a flicker, page by page") {
    pair_of_devices w;
    replica_options narrow;
    narrow.rows_max = 1;
    device three{300, narrow};
    REQUIRE(open(three, w.clock.now));
    REQUIRE(sync(three, w.c, w.clock.now));
    for (char const* id : {"p", "q", "r"}) { REQUIRE(w.create(w.two, {"things", id}, {{"name", 1}})); }
    REQUIRE(sync(w.two, w.c, w.clock.now));
    REQUIRE(w.update(three, key_a, {add("count", 1)}));
    for (int exchange = 0; exchange < 6; ++exchange) {
        CHECK(field(w.read(three, key_a)->fields, "count") == 11);
        // Somebody else writes the record, too, so that its row moves behind pages that were not pulled yet.
        if (exchange == 1) {
            REQUIRE(w.update(w.one, key_a, {set("name", 9)}));
            REQUIRE(sync(w.one, w.c, w.clock.now));
        }
        auto const reply = w.c.answer(request_of(three, w.clock.now), w.clock.now);
        REQUIRE(reply);
        REQUIRE(absorb(three, *reply, w.clock.now));
        CHECK(field(w.read(three, key_a)->fields, "count") == 11);
    }
    REQUIRE(sync(three, w.c, w.clock.now));
    CHECK(visible(three) == confirmed(w.c));
}

TEST_CASE("a rejection rolls back, says why, and keeps the mutation among the dead letters") {
    struct no_negative {
        validation operator()(validation_input const& in) const {
            auto const n = field(in.after.fields, "count");
            if (n && *n < 0) { return {false, errc::rejected, "the count can't be negative"}; }
            return {};
        }
    };
    pair_of_devices w;
    authority<no_negative> strict{rules()};
    REQUIRE(w.update(w.one, key_a, {add("count", -20), set("name", 5)}));
    CHECK(field(w.read(w.one, key_a)->fields, "count") == -10);
    auto const reply = serve(w.c.store, strict, "anna", request_of(w.one, w.clock.now), w.clock.now);
    REQUIRE(reply);
    REQUIRE(absorb(w.one, *reply, w.clock.now));
    auto const r = w.read(w.one, key_a);
    CHECK(field(r->fields, "count") == 10);
    CHECK(field(r->fields, "name") == 1);
    CHECK_FALSE(r->pending);
    auto const told = w.events(w.one);
    bool said = false;
    for (event const& e : told) {
        said = said || (e.kind == event_kind::decided && e.said.kind == verdict_kind::rejected &&
                        e.said.text == "the count can't be negative" && e.record == key_a);
    }
    CHECK(said);
    std::vector<mutation> dead;
    REQUIRE(w.one.read([&](auto& tx) {
        return w.one.self.queue().scan_dead(tx, [&](outbox_entry const& e) {
            CHECK(e.reason == errc::rejected);
            dead.push_back(*replica::mutation_of(e));
            return true;
        });
    }));
    REQUIRE(dead.size() == 1);
    CHECK(dead[0].ops.size() == 2);
    // The queue goes on behind it.
    REQUIRE(w.update(w.one, key_a, {add("count", -1)}));
    auto const next = serve(w.c.store, strict, "anna", request_of(w.one, w.clock.now), w.clock.now);
    REQUIRE(absorb(w.one, *next, w.clock.now));
    CHECK(field(confirmed(w.c).at("a"), "count") == 9);
}

TEST_CASE("what a decision takes along beats nothing that it would not have beaten alone") {
    pair_of_devices w;
    REQUIRE(w.update(w.two, key_a, {add("count", 3), set("asked", 6), set("name", 7)}));
    w.clock.pass(10);
    REQUIRE(w.update(w.one, key_a, {add("count", 4), set("asked", 5), set("name", 9)}));  // later
    REQUIRE(sync(w.one, w.c, w.clock.now));
    REQUIRE(sync(w.two, w.c, w.clock.now));
    auto const open_ones = w.conflicts(w.two);
    REQUIRE(open_ones.size() == 1);
    w.clock.pass(10);
    REQUIRE(w.two.write([&](auto& tx) {
        return w.two.self.resolve(tx, open_ones[0].token, open_ones[0].remote->version,
                                  {{"asked", field_resolution::choice::local, {}}}, w.clock.now);
    }));
    REQUIRE(sync(w.two, w.c, w.clock.now));
    CHECK(field(confirmed(w.c).at("a"), "asked") == 6);
    CHECK(field(confirmed(w.c).at("a"), "name") == 9);
    CHECK(field(confirmed(w.c).at("a"), "count") == 17);
}

TEST_CASE("what a decision takes along does not come back over what its own writer has written since") {
    pair_of_devices w;
    REQUIRE(w.update(w.one, key_a, {set("asked", 5)}));
    REQUIRE(w.update(w.two, key_a, {add("count", 3), set("asked", 6), set("most", 40), set("name", 7)}));
    REQUIRE(sync(w.one, w.c, w.clock.now));
    REQUIRE(sync(w.two, w.c, w.clock.now));
    w.clock.pass(10);
    REQUIRE(w.update(w.two, key_a, {set("most", 30), set("name", 8)}));
    REQUIRE(sync(w.two, w.c, w.clock.now));
    auto const open_ones = w.conflicts(w.two);
    REQUIRE(open_ones.size() == 1);
    w.clock.pass(10);
    REQUIRE(w.two.write([&](auto& tx) {
        return w.two.self.resolve(tx, open_ones[0].token, open_ones[0].remote->version,
                                  {{"asked", field_resolution::choice::local, {}}}, w.clock.now);
    }));
    REQUIRE(sync(w.two, w.c, w.clock.now));
    CHECK(field(confirmed(w.c).at("a"), "asked") == 6);
    CHECK(field(confirmed(w.c).at("a"), "name") == 8);
    CHECK(field(confirmed(w.c).at("a"), "most") == 40);  // an extreme is of all that was written
    CHECK(field(confirmed(w.c).at("a"), "count") == 13);
}

TEST_CASE("what a decision takes along adds to what others begin meanwhile") {
    pair_of_devices w;
    record_key const key_n{"things", "n"};
    REQUIRE(w.one.write([&](auto& tx) { return w.one.self.create(tx, key_n, fields({{"asked", 1}}), w.clock.now); }));
    REQUIRE(sync(w.one, w.c, w.clock.now));
    REQUIRE(sync(w.two, w.c, w.clock.now));
    REQUIRE(w.update(w.one, key_n, {set("asked", 5)}));
    REQUIRE(w.update(w.two, key_n, {add("count", 3), set("asked", 6)}));
    REQUIRE(sync(w.one, w.c, w.clock.now));
    REQUIRE(sync(w.two, w.c, w.clock.now));
    auto const open_ones = w.conflicts(w.two);
    REQUIRE(open_ones.size() == 1);
    w.clock.pass(10);
    REQUIRE(w.update(w.one, key_n, {add("count", 4)}));
    REQUIRE(sync(w.one, w.c, w.clock.now));
    w.clock.pass(10);
    REQUIRE(w.two.write([&](auto& tx) {
        return w.two.self.resolve(tx, open_ones[0].token, open_ones[0].remote->version,
                                  {{"asked", field_resolution::choice::local, {}}}, w.clock.now);
    }));
    REQUIRE(sync(w.two, w.c, w.clock.now));
    CHECK(field(confirmed(w.c).at("n"), "asked") == 6);
    CHECK(field(confirmed(w.c).at("n"), "count") == 7);  // there was no count where the person decided
}

TEST_CASE("a manual conflict is parked for a person, who decides it by a new mutation") {
    pair_of_devices w;
    REQUIRE(w.update(w.one, key_a, {set("asked", 5)}));
    REQUIRE(w.update(w.two, key_a, {set("asked", 6), set("name", 7)}));
    REQUIRE(sync(w.one, w.c, w.clock.now));
    REQUIRE(sync(w.two, w.c, w.clock.now));
    CHECK(waiting(w.two) == 0);
    CHECK(field(w.read(w.two, key_a)->fields, "asked") == 5);  // the confirmed one, until somebody decides
    auto open_ones = w.conflicts(w.two);
    REQUIRE(open_ones.size() == 1);
    open_conflict const& o = open_ones[0];
    CHECK(o.fields == std::vector<std::string>{"asked"});
    CHECK(field(o.base, "asked") == 1);
    REQUIRE(o.remote);
    CHECK(field(o.remote->fields, "asked") == 5);
    position const seen = o.remote->version;
    auto const resolve = [&](std::vector<field_resolution> decisions, position at) {
        w.clock.pass(10);
        return w.two.write([&](auto& tx) { return w.two.self.resolve(tx, o.token, at, decisions, w.clock.now); });
    };
    using choice = field_resolution::choice;

    SECTION("bad decisions change nothing") {
        CHECK(resolve({}, seen).error() == errc::invalid);
        CHECK(resolve({{"name", choice::local, {}}}, seen).error() == errc::invalid);
        CHECK(resolve({{"asked", choice::custom, {}}}, seen).error() == errc::invalid);
        CHECK(resolve({{"asked", choice::local, {}}}, seen - 1).error() == errc::contended);
        CHECK(w.conflicts(w.two).size() == 1);
    }
    SECTION("local") {
        REQUIRE(resolve({{"asked", choice::local, {}}}, seen));
        CHECK(field(w.read(w.two, key_a)->fields, "asked") == 6);
        REQUIRE(sync(w.two, w.c, w.clock.now));
        CHECK(field(confirmed(w.c).at("a"), "asked") == 6);
        CHECK(field(confirmed(w.c).at("a"), "name") == 7);
        CHECK(w.conflicts(w.two).empty());
    }
    SECTION("remote: what was not in conflict still counts") {
        REQUIRE(resolve({{"asked", choice::remote, {}}}, seen));
        REQUIRE(sync(w.two, w.c, w.clock.now));
        CHECK(field(confirmed(w.c).at("a"), "asked") == 5);
        CHECK(field(confirmed(w.c).at("a"), "name") == 7);
    }
    SECTION("something else") {
        REQUIRE(resolve({{"asked", choice::custom, integer(8)}}, seen));
        REQUIRE(sync(w.two, w.c, w.clock.now));
        CHECK(field(confirmed(w.c).at("a"), "asked") == 8);
    }
    SECTION("a change that comes in between is a new conflict, not a silent loss") {
        REQUIRE(w.update(w.one, key_a, {set("asked", 9)}));
        REQUIRE(sync(w.one, w.c, w.clock.now));
        REQUIRE(resolve({{"asked", choice::local, {}}}, seen));
        REQUIRE(sync(w.two, w.c, w.clock.now));
        REQUIRE(w.conflicts(w.two).size() == 1);
        CHECK(field(w.conflicts(w.two)[0].remote->fields, "asked") == 9);
    }
    SECTION("the record was deleted meanwhile") {
        REQUIRE(w.erase(w.one, key_a));
        REQUIRE(sync(w.one, w.c, w.clock.now));
        REQUIRE(sync(w.two, w.c, w.clock.now));
        position const now_at = w.conflicts(w.two)[0].remote->version;
        CHECK(resolve({{"asked", choice::local, {}}}, now_at).error() == errc::not_found);
        CHECK(w.conflicts(w.two).size() == 1);
        REQUIRE(w.two.write([&](auto& tx) { return w.two.self.dismiss(tx, o.token); }));
        CHECK(w.conflicts(w.two).empty());
    }
}

TEST_CASE("deleted records stay deleted, and a new life is another record") {
    pair_of_devices w;
    REQUIRE(w.erase(w.one, key_a));
    CHECK_FALSE(w.read(w.one, key_a));
    REQUIRE(w.update(w.two, key_a, {set("name", 5)}));
    REQUIRE(sync(w.one, w.c, w.clock.now));
    REQUIRE(sync(w.two, w.c, w.clock.now));
    CHECK_FALSE(w.read(w.two, key_a));
    REQUIRE(w.create(w.two, key_a, {{"name", 6}}));
    REQUIRE(sync(w.two, w.c, w.clock.now));
    REQUIRE(sync(w.one, w.c, w.clock.now));
    auto const r = w.read(w.one, key_a);
    REQUIRE(r);
    CHECK(r->fields == fields({{"name", 6}}));
    CHECK((*w.one.read([&](auto& tx) { return w.one.self.read_confirmed(tx, key_a); }))->life == 2);
}

TEST_CASE("a cloned store takes a new identity by itself, and the work of both copies survives") {
    pair_of_devices w;
    device copy{900};
    copy.store.restore(w.one.store.snapshot());
    REQUIRE(open(copy, w.clock.now));
    REQUIRE(w.update(w.one, key_a, {add("count", 1)}));
    REQUIRE(sync(w.one, w.c, w.clock.now));
    REQUIRE(w.update(copy, key_a, {add("count", 10)}));
    auto const report = absorb(copy, *w.c.answer(request_of(copy, w.clock.now), w.clock.now), w.clock.now);
    REQUIRE(report);
    CHECK(report->reincarnated);
    REQUIRE(sync(copy, w.c, w.clock.now));
    REQUIRE(sync(w.one, w.c, w.clock.now));
    CHECK(field(confirmed(w.c).at("a"), "count") == 21);
    CHECK(visible(copy) == visible(w.one));
    auto const a = w.one.read([&](auto& tx) { return w.one.self.self(tx); });
    auto const b = copy.read([&](auto& tx) { return copy.self.self(tx); });
    CHECK(a->device == b->device);
    CHECK(a->incarnation != b->incarnation);
}

namespace {
/// Dead letters of a device, all of which say that a copy has sent them.
std::size_t sent_by_a_copy(device& d) {
    std::size_t dead = 0;
    REQUIRE(d.read([&](auto& tx) {
        return d.self.queue().scan_dead(tx, [&](outbox_entry const& e) {
            CHECK(e.reason == errc::identity_fork);
            ++dead;
            return true;
        });
    }));
    return dead;
}
}  // namespace

TEST_CASE(
    "a store put back from a backup, whose receipts went further: what is written in it is neither lost nor "
    "taken for what its earlier life sent") {
    pair_of_devices w;
    auto const backup = w.one.store.snapshot();
    REQUIRE(w.update(w.one, key_a, {add("count", 1)}));
    REQUIRE(sync(w.one, w.c, w.clock.now));
    REQUIRE(w.update(w.one, key_a, {add("count", 1)}));
    REQUIRE(sync(w.one, w.c, w.clock.now));  // carries the receipt of the first
    w.one.store.restore(backup);
    REQUIRE(open(w.one, w.clock.now));
    REQUIRE(w.update(w.one, key_a, {add("count", 10)}));
    auto const report = absorb(w.one, *w.c.answer(request_of(w.one, w.clock.now), w.clock.now), w.clock.now);
    REQUIRE(report);
    CHECK(report->reincarnated);
    REQUIRE(sync(w.one, w.c, w.clock.now));
    CHECK(sent_by_a_copy(w.one) == 0);
    CHECK(field(confirmed(w.c).at("a"), "count") == 22);
    REQUIRE(w.update(w.one, key_a, {add("count", 100)}));
    REQUIRE(sync(w.one, w.c, w.clock.now));
    CHECK(field(confirmed(w.c).at("a"), "count") == 122);
}

TEST_CASE("work that waited in a backup counts once, whatever its earlier life has joined it with and sent") {
    pair_of_devices w;
    REQUIRE(w.update(w.one, key_a, {add("count", 1)}));
    auto const backup = w.one.store.snapshot();
    bool const receipted = GENERATE(false, true);
    bool const joined = GENERATE(false, true);
    if (joined) { REQUIRE(w.update(w.one, key_a, {add("count", 10)})); }
    REQUIRE(sync(w.one, w.c, w.clock.now));
    if (receipted) {
        REQUIRE(w.update(w.one, key_a, {set("name", 4)}));
        REQUIRE(sync(w.one, w.c, w.clock.now));
    }
    w.one.store.restore(backup);
    REQUIRE(open(w.one, w.clock.now));
    bool const goes_on = GENERATE(false, true);
    if (goes_on) { REQUIRE(w.update(w.one, key_a, {add("count", 100)})); }
    for (int n = 0; n < 3; ++n) { REQUIRE(sync(w.one, w.c, w.clock.now)); }
    CHECK(field(confirmed(w.c).at("a"), "count") == 11 + (joined ? 10 : 0) + (goes_on ? 100 : 0));
    CHECK(visible(w.one) == confirmed(w.c));
    // Where its first verdict is still kept for the same bytes it has that; else a person sees it.
    CHECK(sent_by_a_copy(w.one) == (joined || receipted ? 1 : 0));
}

TEST_CASE("two live copies that share work send it once, and each keeps what it wrote since") {
    pair_of_devices w;
    REQUIRE(w.update(w.one, key_a, {add("count", 1)}));
    device copy{900};
    copy.store.restore(w.one.store.snapshot());
    REQUIRE(open(copy, w.clock.now));
    REQUIRE(w.create(copy, {"things", "before"}, {{"name", 1}}, priority::critical));  // another order than the other's
    REQUIRE(w.update(copy, key_a, {add("count", 10)}));
    REQUIRE(w.create(w.one, {"things", "other"}, {{"name", 2}}));
    for (int n = 0; n < 3; ++n) {
        REQUIRE(sync(copy, w.c, w.clock.now));
        REQUIRE(sync(w.one, w.c, w.clock.now));
    }
    CHECK(field(confirmed(w.c).at("a"), "count") == 10 + 1 + 10);
    CHECK(confirmed(w.c).count("before") == 1);
    CHECK(confirmed(w.c).count("other") == 1);
    CHECK(visible(copy) == confirmed(w.c));
    CHECK(visible(w.one) == confirmed(w.c));
    CHECK(sent_by_a_copy(copy) + sent_by_a_copy(w.one) == 1);
}

TEST_CASE("what two copies write at the same moment, byte for byte the same, counts twice") {
    pair_of_devices w;
    device copy{900};
    copy.store.restore(w.one.store.snapshot());
    REQUIRE(open(copy, w.clock.now));
    instant const once = w.clock.now;
    for (device* d : {&copy, &w.one}) {
        REQUIRE(d->write([&](auto& tx) { return d->self.update(tx, key_a, {add("count", 1)}, once); }));
    }
    for (int n = 0; n < 2; ++n) {
        REQUIRE(sync(copy, w.c, w.clock.now));
        REQUIRE(sync(w.one, w.c, w.clock.now));
    }
    CHECK(field(confirmed(w.c).at("a"), "count") == 12);
}

TEST_CASE("a reply to what a store was before it was put back settles nothing") {
    pair_of_devices w;
    auto const backup = w.one.store.snapshot();
    REQUIRE(w.update(w.one, key_a, {add("count", 1)}));
    bytes const late = *w.c.answer(request_of(w.one, w.clock.now), w.clock.now);
    w.one.store.restore(backup);
    REQUIRE(open(w.one, w.clock.now));
    REQUIRE(w.update(w.one, key_a, {add("count", 100)}));
    (void)request_of(w.one, w.clock.now);  // frozen under the number that the other one had
    auto const before = w.one.store.snapshot();
    REQUIRE(absorb(w.one, late, w.clock.now));
    CHECK(w.one.store.snapshot() == before);
    REQUIRE(sync(w.one, w.c, w.clock.now));
    CHECK(field(confirmed(w.c).at("a"), "count") == 111);
}

TEST_CASE("a letter that a person sends anew is a new write, in one copy of the store or in two") {
    pair_of_devices w;
    authority<> const home{rules()};
    struct refuse {
        validation operator()(validation_input const&) const { return {false, errc::rejected, "closed"}; }
    };
    authority<refuse> const closed{rules(), {}, {}};
    REQUIRE(w.update(w.one, key_a, {add("count", 1)}));
    bytes const said = *serve(w.c.store, closed, "anna", request_of(w.one, w.clock.now), w.clock.now);
    REQUIRE(absorb(w.one, said, w.clock.now));
    device copy{900};
    copy.store.restore(w.one.store.snapshot());
    REQUIRE(open(copy, w.clock.now));
    for (device* d : {&w.one, &copy}) {
        std::uint64_t token = 0;
        REQUIRE(d->read([&](auto& tx) {
            return d->self.queue().scan_dead(tx, [&](outbox_entry const& e) {
                token = e.token;
                return true;
            });
        }));
        REQUIRE(d->write([&](auto& tx) { return d->self.queue().revive(tx, token, w.clock.now.wall); }));
    }
    for (int n = 0; n < 2; ++n) {
        REQUIRE(sync(w.one, w.c, w.clock.now));
        REQUIRE(sync(copy, w.c, w.clock.now));
    }
    CHECK(field(confirmed(w.c).at("a"), "count") == 11);
}

TEST_CASE("an authority that is another, or was put back to an older state, is refused and nothing is lost") {
    pair_of_devices w;
    auto const older = w.c.store.snapshot();
    REQUIRE(w.update(w.one, key_a, {add("count", 1)}));
    REQUIRE(sync(w.one, w.c, w.clock.now));
    REQUIRE(w.update(w.one, key_a, {add("count", 1)}));
    auto const before = visible(w.one);
    SECTION("older") {
        w.c.store.restore(older);
        CHECK(sync(w.one, w.c, w.clock.now).error() == errc::authority_changed);
    }
    SECTION("older, and gone on since, so that its head is ahead again") {
        w.c.store.restore(older);
        for (std::int64_t n = 0; n < 4; ++n) {
            REQUIRE(w.create(w.two, {"things", "n" + std::to_string(n)}, {{"name", n}}));
        }
        REQUIRE(sync(w.two, w.c, w.clock.now));
        auto const at_authority = w.c.store.snapshot();
        CHECK(sync(w.one, w.c, w.clock.now).error() == errc::authority_changed);
        CHECK(w.c.store.snapshot() == at_authority);
    }
    SECTION("another") {
        cloud other{w.clock.now, 99};
        CHECK(sync(w.one, other, w.clock.now).error() == errc::authority_changed);
        CHECK(confirmed(other).empty());
    }
    CHECK(visible(w.one) == before);
    CHECK(waiting(w.one) == 1);
}

TEST_CASE("a store and its replica belong to one principal") {
    pair_of_devices w;
    CHECK(open(w.one, w.clock.now, "berta").error() == errc::forbidden);
    CHECK(open(w.one, w.clock.now, "\xFF").error() == errc::invalid);
    CHECK(open(w.one, w.clock.now));
    auto const before = w.c.store.snapshot();
    CHECK(w.c.answer(request_of(w.one, w.clock.now), w.clock.now, "berta").error() == errc::forbidden);
    CHECK(w.c.store.snapshot() == before);
}

TEST_CASE("a poison mutation gets its verdict and blocks nobody") {
    pair_of_devices w;
    bytes poison;
    cbor_writer body{poison};
    body.array(2);
    body.unsigned_integer(2);  // the next sequence of device one
    body.text("not a mutation");
    request q = *decode_request(request_of(w.one, w.clock.now));
    q.mutations = {poison};
    auto const reply_to_poison = w.c.answer(encode(q), w.clock.now);
    REQUIRE(reply_to_poison);
    auto const p = decode_reply(*reply_to_poison);
    REQUIRE(p->verdicts.size() == 1);
    CHECK(p->verdicts[0].kind == verdict_kind::rejected);
    CHECK(p->decided == 2);
    SECTION("the same identity with another content is refused") {
        bytes other = poison;
        other.back() = std::byte{'!'};
        q.mutations = {other};
        auto const again = decode_reply(*w.c.answer(encode(q), w.clock.now));
        CHECK(again->verdicts[0].reason == errc::identity_fork);
    }
    SECTION("one without a readable sequence refuses the request, and nothing has changed") {
        auto const before = w.c.store.snapshot();
        q.mutations = {integer(1)};
        CHECK(w.c.answer(encode(q), w.clock.now).error() == errc::malformed);
        CHECK(w.c.store.snapshot() == before);
    }
    SECTION("a gap is not decided") {
        q.mutations = {};
        bytes late;
        cbor_writer w2{late};
        w2.array(2);
        w2.unsigned_integer(9);
        w2.null();
        q.mutations = {late};
        auto const again = decode_reply(*w.c.answer(encode(q), w.clock.now));
        CHECK(again->verdicts.empty());
        CHECK(again->decided == 2);
    }
}

TEST_CASE("a replica that never confirms receipts makes the authority keep a bounded number of verdicts") {
    pair_of_devices w;
    authority_options narrow;
    narrow.verdicts_max = 3;
    authority<> const strict{rules(), narrow};
    for (std::int64_t n = 0; n < 6; ++n) {
        REQUIRE(w.create(w.one, {"things", "n" + std::to_string(n)}, {{"name", n}}));
    }
    request q = *decode_request(request_of(w.one, w.clock.now));
    REQUIRE(q.mutations.size() == 6);
    auto const send = [&] { return *decode_reply(*serve(w.c.store, strict, "anna", encode(q), w.clock.now)); };
    reply const first = send();
    CHECK(first.verdicts.size() == 3);
    CHECK(send().decided == first.decided);  // the same verdicts again, and no more
    q.receipts = first.decided;
    q.mutations.erase(q.mutations.begin(), q.mutations.begin() + 3);
    q.origins.erase(q.origins.begin(), q.origins.begin() + 3);
    CHECK(send().verdicts.size() == 3);
}

TEST_CASE("a local write never fails on clock grounds, and stamps rise") {
    pair_of_devices w;
    timestamp last{};
    for (std::int64_t const ms : {std::int64_t{0}, std::int64_t{-62'000'000'000'000}, std::int64_t{4'000'000'000'000},
                                  std::int64_t{1'790'000'000'000}, std::int64_t{1} << 60}) {
        instant const now{wall_time{milliseconds{ms}}, w.clock.now.monotonic};
        REQUIRE(w.one.write([&](auto& tx) { return w.one.self.update(tx, key_a, {set("name", ms & 0xFF)}, now); }));
        std::optional<timestamp> stamp;
        REQUIRE(w.one.read([&](auto& tx) {
            return w.one.self.queue().scan_record(tx, to_bytes(key_a), [&](outbox_entry const& e) {
                stamp = replica::mutation_of(e)->stamp;
                return true;
            });
        }));
        REQUIRE(stamp);
        CHECK(*stamp > last);
        last = *stamp;
    }
    REQUIRE(sync(w.one, w.c, w.clock.now));
    auto tx = w.c.store.begin(access_mode::read);
    auto row = w.c.self.find(*tx, key_a);
    CHECK((*row)->mark_of("name").stamp <= latest_within(w.clock.now.wall, w.c.self.options().stamp_ahead_max));
}

TEST_CASE("damaged storage is an error, never undefined") {
    pair_of_devices w;
    REQUIRE(w.update(w.one, key_a, {set("name", 9)}));
    (void)request_of(w.one, w.clock.now);
    auto const healthy = w.one.store.snapshot();
    syncline::random_generator dice{6};
    std::vector<std::pair<bytes, bytes>> all;
    {
        auto tx = w.one.store.begin(access_mode::read);
        REQUIRE(tx->scan({}, [&](bytes_view k, bytes_view v) {
            all.emplace_back(to_bytes(k), to_bytes(v));
            return true;
        }));
    }
    for (int i = 0; i < 3'000; ++i) {
        w.one.store.restore(healthy);
        auto& [k, v] = all[dice() % all.size()];
        bytes bad = v;
        if (bad.empty() || dice() % 4 == 0) {
            bad.resize(dice() % (bad.size() + 2));
        } else {
            bad[dice() % bad.size()] = static_cast<std::byte>(dice());
        }
        {
            auto tx = w.one.store.begin(access_mode::write);
            REQUIRE(tx->put(k, bad));
            REQUIRE(tx->commit());
        }
        // Whatever comes of it is a result; the sanitizers watch.
        (void)w.one.read([&](auto& tx) { return w.one.self.read(tx, key_a); });
        (void)w.one.write([&](auto& tx) { return w.one.self.update(tx, key_a, {set("name", 10)}, w.clock.now); });
        auto const q = w.one.read([&](auto& tx) { return w.one.self.request_message(tx); });
        if (!q) { continue; }
        auto const p = w.c.answer(*q, w.clock.now);
        if (p) { (void)absorb(w.one, *p, w.clock.now); }
    }
}

TEST_CASE("an exchange that brings nothing writes nothing") {
    pair_of_devices w;
    REQUIRE(sync(w.two, w.c, w.clock.now));
    auto const reply = w.c.answer(request_of(w.two, w.clock.now), w.clock.now);
    REQUIRE(reply);
    testing::faulty_storage<memory_storage> counted{w.two.store};
    auto tx = counted.begin(access_mode::write);
    REQUIRE(tx);
    REQUIRE(w.two.self.absorb(*tx, *reply, w.clock.now, w.two.random));
    CHECK(counted.calls(testing::storage_call::put) == 0);
    CHECK(counted.calls(testing::storage_call::erase) == 0);
}

TEST_CASE("a store that a later version wrote is refused and left as it is") {
    pair_of_devices w;
    auto const later = [](memory_storage& store, std::string_view name) {
        auto tx = store.begin(access_mode::write);
        bytes raw;
        REQUIRE(*tx->get(as_bytes(name), raw));
        REQUIRE(raw[1] == std::byte{1});  // the format's version, first in its array
        raw[1] = std::byte{2};
        REQUIRE(tx->put(as_bytes(name), raw));
        REQUIRE(tx->commit());
        return store.snapshot();
    };
    bytes const request = request_of(w.one, w.clock.now);
    auto const device_store = later(w.one.store, "ri");
    CHECK(open(w.one, w.clock.now).error() == errc::unsupported);
    CHECK(w.one.store.snapshot() == device_store);
    auto const cloud_store = later(w.c.store, "am");
    CHECK(w.c.answer(request, w.clock.now).error() == errc::unsupported);
    CHECK(w.c.store.snapshot() == cloud_store);
}

TEST_CASE("an overtaken reply whose rows already hold what still waits for its verdict shows it once") {
    pair_of_devices w;
    bytes const early = request_of(w.one, w.clock.now);
    REQUIRE(w.update(w.one, key_a, {add("count", 1)}));
    bytes const late = request_of(w.one, w.clock.now);
    auto const decided = w.c.answer(late, w.clock.now);  // its reply comes last, or never
    auto const overtaken = w.c.answer(early, w.clock.now);
    REQUIRE(decided);
    REQUIRE(overtaken);

    auto const report = absorb(w.one, *overtaken, w.clock.now);
    REQUIRE(report);
    CHECK(report->more);
    CHECK(field(w.read(w.one, key_a)->fields, "count") == 11);
    SECTION("the verdict comes after it") { REQUIRE(absorb(w.one, *decided, w.clock.now)); }
    SECTION("the verdict was lost") { REQUIRE(sync(w.one, w.c, w.clock.now)); }
    CHECK(field(w.read(w.one, key_a)->fields, "count") == 11);
    CHECK_FALSE(w.read(w.one, key_a)->pending);
    CHECK(visible(w.one) == confirmed(w.c));
}

TEST_CASE("a restored store asks for the verdicts of all that it had frozen before it takes a new name") {
    virtual_clock clock;
    cloud c{clock.now};
    replica_options options;
    options.mutation_bytes = 1;  // one mutation a request, while more are frozen
    device d{1, options};
    REQUIRE(open(d, clock.now));
    for (char const* id : {"t1", "t2", "t3"}) {
        REQUIRE(d.write([&](auto& tx) {
            return d.self.create(tx, {"things", id}, fields({{"count", 0}}), clock.now);
        }));
    }
    REQUIRE(sync(d, c, clock.now));
    for (char const* id : {"t1", "t2", "t3"}) {
        clock.pass(1);
        REQUIRE(d.write([&](auto& tx) { return d.self.update(tx, {"things", id}, {add("count", 5)}, clock.now); }));
        (void)request_of(d, clock.now);  // each is frozen
    }
    auto const backup = d.store.snapshot();
    REQUIRE(sync(d, c, clock.now));
    REQUIRE(sync(d, c, clock.now));  // the receipts arrive: the first verdicts are forgotten
    d.store.restore(backup);
    for (int round = 0; round < 4; ++round) {
        clock.pass(1'000);
        REQUIRE(sync(d, c, clock.now));
    }
    for (char const* id : {"t1", "t2", "t3"}) { CHECK(field(confirmed(c).at(id), "count") == 5); }
}
