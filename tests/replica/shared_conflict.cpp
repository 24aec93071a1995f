// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/shared_conflict.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include <syncline/core/random.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/conflict_desk.hpp>
#include <syncline/replica/policy.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "world.hpp"

namespace {

using namespace syncline;
using world::field;
using world::integer;
using world::set;

record_key const key_a{"things", "a"};

rule_table house_rules() {
    rule_table t = world::rules();
    t.add(conflict_rules("things"));
    return t;
}
check_table house_checks() {
    check_table t;
    t.add(conflict_check("things"));
    return t;
}
// region: policy
/// Everybody works; who is a "guest" decides nothing.
access_policy<> house_policy() {
    access_rule things;
    things.collection = "things";
    things.creates = things.updates = things.erases = true;
    access_rule opens;
    opens.collection = conflicts_of("things");
    opens.creates = true;
    access_rule decides = opens;
    decides.role = "manager";
    decides.updates = true;
    return access_policy<>{{things, opens, decides}, {[](std::string_view principal, std::string_view, void const*) {
                               return principal != "guest";
                           }}};
}
// endregion: policy

struct house {
    world::virtual_clock clock{};
    rule_table rules = house_rules();
    check_table checks = house_checks();
    memory_storage store{};
    authority<access_policy<>> self;
    syncline::random_generator random{3};
    explicit house(access_policy<> policy = house_policy()) : self(rules, options(), std::move(policy)) {
        auto tx = store.begin(access_mode::write);
        REQUIRE(self.open(*tx, clock.now, random));
        REQUIRE(tx->commit());
    }
    house(house const&) = delete;
    authority_options options() {
        authority_options o;
        o.checks = &checks;
        return o;
    }
};

struct device : world::storing {
    house& home;
    std::string principal;
    conflict_queue queue{};
    conflict_desk desk;
    shared_conflicts shared;
    basic_replica<stored_records, conflict_desk> self;

    device(house& h, std::string who, std::uint64_t seed, bool checked = true)
        : storing(seed),
          home(h),
          principal(std::move(who)),
          desk(queue, h.rules),
          shared({"things"}, queue, h.rules),
          self(h.rules, options(h, checked), {}, desk) {
        REQUIRE(world::open(*this, h.clock.now, principal));
    }
    static replica_options options(house& h, bool checked) {
        replica_options o;
        if (checked) { o.checks = &h.checks; }
        return o;
    }
    status create(std::int64_t asked) {
        auto const done = write([&](auto& tx) {
            return self.create(tx, key_a, world::fields({{"asked", asked}, {"count", 10}, {"name", 1}}),
                               home.clock.now);
        });
        return done ? status{} : status{done.error()};
    }
    status update(std::vector<field_op> ops) {
        home.clock.pass(10);
        auto const done = write([&](auto& tx) { return self.update(tx, key_a, ops, home.clock.now); });
        return done ? status{} : status{done.error()};
    }
    /// One exchange; whether there is more to do.
    bool exchange() {
        instant const now = home.clock.now;
        REQUIRE(write([&](auto& tx) { return self.prepare(tx, now); }));
        auto const q = read([&](auto& tx) { return self.request_message(tx); });
        REQUIRE(q);
        auto const p = serve(home.store, home.self, principal, *q, now);
        REQUIRE(p);
        auto const report = write([&](auto& tx) { return self.absorb(tx, *p, now, random); });
        REQUIRE(report);
        return report->more;
    }
    std::vector<followed> follow() {
        std::vector<followed> out;
        REQUIRE(write([&](auto& tx) -> status {
            auto const n = shared.share(tx, self, 100, home.clock.now);
            if (!n) { return n.error(); }
            return shared.follow(tx, self, home.clock.now, [&](record_key const&, followed f) { out.push_back(f); });
        }));
        return out;
    }
    std::vector<followed> sync() {
        home.clock.pass(10);
        std::vector<followed> out;
        while (exchange()) {}
        for (int i = 0; i < 2; ++i) {
            auto const one = follow();
            out.insert(out.end(), one.begin(), one.end());
            while (exchange()) {}
        }
        return out;
    }
    std::vector<shared_conflict> listed() {
        std::vector<shared_conflict> out;
        REQUIRE(read([&](auto& tx) {
            return shared.list(tx, self, "things", [&](shared_conflict const& c) {
                out.push_back(c);
                return true;
            });
        }));
        return out;
    }
    record_key key(shared_conflict const& c) const { return {conflicts_of("things"), c.id}; }
    result<write_receipt> decide(shared_conflict const& c, resolution const& how) {
        home.clock.pass(1);
        return write([&](auto& tx) {
            return shared.decide(tx, self, key(c), c.about.remote ? c.about.remote->version : 0, how, principal,
                                 home.clock.now);
        });
    }
    std::size_t waiting() {
        auto const n = read([&](auto& tx) { return queue.counts(tx); });
        REQUIRE(n);
        REQUIRE(read([&](auto& tx) { return queue.verify(tx); }));
        return static_cast<std::size_t>(n->open);
    }
    std::size_t parked() {
        std::size_t n = 0;
        REQUIRE(read([&](auto& tx) {
            return self.conflicts(tx, [&](open_conflict const&) {
                ++n;
                return true;
            });
        }));
        return n;
    }
    std::int64_t held(char const* name) {
        auto const r = read([&](auto& tx) { return self.read(tx, key_a); });
        REQUIRE(r);
        REQUIRE(*r);
        return *field((*r)->fields, name);
    }
    std::int64_t asked() { return held("asked"); }
    /// What became of the last mutation that was decided.
    verdict last_verdict() {
        verdict out;
        REQUIRE(read([&](auto& tx) {
            return self.events(tx, 0, [&](std::uint64_t, event const& e) {
                if (e.kind == event_kind::decided) { out = e.said; }
                return true;
            });
        }));
        return out;
    }
    /// Writes to a conflict what no part of the library writes, and what the authority says of it.
    verdict forge(record_key const& k, std::vector<field_op> ops) {
        home.clock.pass(10);
        REQUIRE(write([&](auto& tx) { return self.update(tx, k, ops, home.clock.now); }));
        while (exchange()) {}
        return last_verdict();
    }
};

/// Anna has written what ben has changed before her: 3 over 1, where 2 is.
struct clash {
    house h;
    device anna{h, "anna", 1};
    device ben{h, "ben", 2};
    device cleo{h, "cleo", 3};
    explicit clash(access_policy<> policy = house_policy()) : h(std::move(policy)) {
        REQUIRE(anna.create(1));
        anna.sync();
        ben.sync();
        cleo.sync();
        REQUIRE(ben.update({set("asked", 2)}));
        ben.sync();
        REQUIRE(anna.update({set("asked", 3), world::add("count", 5)}));
        anna.sync();
        ben.sync();
        cleo.sync();
    }
    clash(clash const&) = delete;
    void settle() {
        for (int i = 0; i < 3; ++i) {
            for (device* d : {&anna, &ben, &cleo}) { d->sync(); }
        }
    }
    void same(std::int64_t asked, shared_state state, std::size_t open) {
        for (device* d : {&anna, &ben, &cleo}) {
            CHECK(d->asked() == asked);
            auto const all = d->listed();
            REQUIRE(all.size() == 1);
            CHECK(all[0].state == state);
            CHECK_FALSE(all[0].pending);
        }
        CHECK(anna.waiting() == open);
        CHECK(anna.parked() == open);
    }
};

/// Only editors write things; cleo is none, and may decide about them all the same.
access_policy<> narrow_policy() {
    access_rule sees;
    sees.collection = "things";
    access_rule things = sees;
    things.role = "editor";
    things.creates = things.updates = things.erases = true;
    access_rule decides;
    decides.collection = conflicts_of("things");
    decides.creates = decides.updates = true;
    return access_policy<>{{sees, things, decides}, {[](std::string_view principal, std::string_view, void const*) {
                               return principal != "cleo";
                           }}};
}

field_op yes(std::string_view name) {
    bytes item;
    cbor_writer{item}.boolean(true);
    return {std::string{name}, op_kind::set, item, {}};
}
std::vector<field_op> taking_back() {
    return {world::unset("decided_at"), world::unset("decided_by"), world::unset("decision")};
}

}  // namespace

TEST_CASE("a conflict that opens on one device is listed on all, with the same values", "[replica][shared]") {
    clash c;
    c.same(2, shared_state::open, 1);
    auto const all = c.cleo.listed();
    CHECK(all[0].about.record == key_a);
    REQUIRE(all[0].about.fields.size() == 1);
    CHECK(all[0].about.fields[0].path == field_path{"asked"});
    CHECK(all[0].about.fields[0].by == rule::manual);
    CHECK(all[0].masked.empty());
    CHECK(field(all[0].about.base, "asked") == 1);
    CHECK(field(*local_fields(all[0].about), "asked") == 3);
    CHECK(field(all[0].about.remote->fields, "asked") == 2);
    CHECK(all[0].about.local == c.anna.listed()[0].about.local);
    CHECK(as_text(all[0].about.local_by.writer) == "anna");
}

TEST_CASE("a decision on any device closes it on the others once it is confirmed", "[replica][shared]") {
    clash c;
    bool const own = GENERATE(true, false);
    device& who = own ? c.anna : c.cleo;
    auto const open = who.listed()[0];
    SECTION("for this side") {
        auto const would = who.read([&](auto& tx) {
            return who.shared.preview(tx, who.self, who.key(open), resolution::use_local(), c.h.clock.now);
        });
        REQUIRE(would);
        CHECK(field(would->after->fields, "asked") == 3);
        REQUIRE(who.decide(open, resolution::use_local()));
        CHECK(who.listed()[0].pending);
        CHECK(who.listed()[0].state == shared_state::decided);
        CHECK(who.decide(open, resolution::use_local()).error() == errc::already_exists);
        CHECK(who.asked() == 2);  // not before it is confirmed
        CHECK(who.sync() == std::vector<followed>{followed::carried_out});
        c.settle();
        c.same(3, shared_state::closed, 0);
        auto const count = c.ben.read([&](auto& tx) { return c.ben.self.read(tx, key_a); });
        CHECK(field((*count)->fields, "count") == 15);  // what was not contested goes along
    }
    SECTION("for the other side") {
        REQUIRE(who.decide(open, resolution::use_remote()));
        who.sync();
        c.settle();
        c.same(2, shared_state::closed, 0);
    }
    SECTION("for a value of the person's own") {
        REQUIRE(who.decide(open, resolution::merge_fields({{{"asked"}, field_take::custom, integer(44)}})));
        who.sync();
        c.settle();
        c.same(44, shared_state::closed, 0);
        CHECK(c.ben.listed()[0].how->fields[0].value == integer(44));
    }
    auto const closed = c.ben.listed()[0];
    CHECK(closed.decided_by == who.principal);
    CHECK(closed.late.empty());
    CHECK(c.ben.decide(closed, resolution::use_remote()).error() == errc::already_exists);
}

TEST_CASE("what a guard has come to refuse of that which goes along is contested for whoever decides",
          "[replica][shared]") {
    clash c;
    merge_host host;
    host.guards = {{"not too many",
                    {"count"},
                    [](guard_input const& in, void const*) {
                        auto const n = in.new_value("count");
                        bool const ok = !n || detail::integer_of(*n).value_or(0) <= 32;
                        return guard_answer{ok ? guard_answer::kind::accept : guard_answer::kind::veto, {}};
                    },
                    nullptr}};
    shared_conflicts const knowing({"things"}, c.cleo.queue, c.h.rules, "dc", &host);
    record_key const k = c.cleo.key(c.cleo.listed()[0]);
    auto const shown = [&] {
        auto found = c.cleo.read([&](auto& tx) { return knowing.find(tx, c.cleo.self, k); });
        REQUIRE(found);
        return std::move(*found);
    };
    auto const preview = [&](resolution const& how) {
        return c.cleo.read([&](auto& tx) { return knowing.preview(tx, c.cleo.self, k, how, c.h.clock.now); });
    };
    CHECK(shown().about.fields.size() == 1);
    // The five that go along would be too many now.
    REQUIRE(c.ben.update({world::add("count", 20)}));
    c.settle();
    auto const now = shown();
    REQUIRE(now.about.fields.size() == 2);
    CHECK(now.about.fields[1].path == field_path{"count"});
    CHECK(now.about.fields[1].guard == "not too many");
    auto const theirs = preview(resolution::use_remote());
    REQUIRE(theirs);
    CHECK(field(theirs->after->fields, "count") == 30);
    auto const some = preview(
        resolution::merge_fields({{{"asked"}, field_take::local, {}}, {{"count"}, field_take::custom, integer(32)}}));
    REQUIRE(some);
    CHECK(field(some->after->fields, "asked") == 3);
    CHECK(field(some->after->fields, "count") == 32);
    CHECK(preview(resolution::use_local()));
}

TEST_CASE("what goes along with another's edit beats nothing of who decides", "[replica][shared]") {
    house h;
    device anna{h, "anna", 1};
    device ben{h, "ben", 2};
    REQUIRE(anna.create(1));
    anna.sync();
    ben.sync();
    REQUIRE(anna.update({set("asked", 3), set("name", 5)}));
    REQUIRE(ben.update({set("asked", 2), set("name", 6)}));  // later, and confirmed first
    ben.sync();
    anna.sync();
    ben.sync();
    auto const all = ben.listed();
    REQUIRE(all.size() == 1);
    REQUIRE(ben.decide(all[0], resolution::use_local()));
    ben.sync();
    anna.sync();
    for (device* const d : {&anna, &ben}) {
        auto const r = d->read([&](auto& tx) { return d->self.read(tx, key_a); });
        CHECK(field((*r)->fields, "asked") == 3);
        CHECK(field((*r)->fields, "name") == 6);
    }
}

TEST_CASE("of two who decide differently the first counts, the second is told, and the history has both",
          "[replica][shared]") {
    clash c;
    REQUIRE(c.cleo.decide(c.cleo.listed()[0], resolution::use_local()));
    REQUIRE(c.ben.decide(c.ben.listed()[0], resolution::merge_fields({{{"asked"}, field_take::custom, integer(9)}})));
    CHECK(c.ben.sync() == std::vector<followed>{followed::carried_out});
    CHECK(c.cleo.sync() == std::vector<followed>{followed::too_late});
    std::vector<std::string> reasons;
    REQUIRE(c.cleo.read([&](auto& tx) {
        return c.cleo.self.events(tx, 0, [&](std::uint64_t, event const& e) {
            if (e.kind == event_kind::decided && e.said.kind == verdict_kind::rejected) {
                reasons.push_back(e.said.text);
            }
            return true;
        });
    }));
    CHECK(reasons == std::vector<std::string>{"decided already by ben"});
    c.settle();
    c.same(9, shared_state::closed, 0);
    for (device* d : {&c.anna, &c.ben, &c.cleo}) {
        auto const one = d->listed()[0];
        CHECK(one.decided_by == "ben");
        REQUIRE(one.late.size() == 1);
        CHECK(one.late[0].by == "cleo");
        CHECK(one.late[0].kind == resolve_kind::use_local);
    }
}

TEST_CASE("who may not decide is refused, and nobody decides in another's name or twice", "[replica][shared]") {
    clash c;
    device guest{c.h, "guest", 9};
    guest.sync();
    REQUIRE(guest.decide(guest.listed()[0], resolution::use_local()));
    while (guest.exchange()) {}
    // The first is answered before there is a second, lest nobody hears of it.
    CHECK(guest.decide(guest.listed()[0], resolution::use_remote()).error() == errc::busy);
    CHECK(guest.sync() == std::vector<followed>{followed::refused});
    c.settle();
    c.same(2, shared_state::open, 1);

    // A program without the checks.
    device wild{c.h, "wild", 10, false};
    wild.sync();
    record_key const k = wild.key(wild.listed()[0]);
    auto const now = [&] { return c.h.clock.now; };
    bytes word;
    cbor_writer{word}.text("anna");
    bytes own;
    cbor_writer{own}.text("wild");
    bytes yes;
    cbor_writer{yes}.boolean(true);
    bytes entry;
    {
        cbor_writer w{entry};
        w.array(1);
        w.array(3);
        w.text("anna");
        w.unsigned_integer(1);
        w.unsigned_integer(1);
    }
    std::vector<std::vector<field_op>> const bad{
        {{"done", op_kind::set, yes, {}}},
        {{"decision", op_kind::set, yes, {}}, {"decided_by", op_kind::set, word, {}}},
        {{"decided_by", op_kind::set, word, {}}},
        {{"decision", op_kind::set, yes, {}},
         {"decided_by", op_kind::set, own, {}},
         {"decided_at", op_kind::set, yes, {}}},
        {{"local:asked", op_kind::set, yes, {}}},
        {{"contested", op_kind::unset, {}, {}}},
        {{"late", op_kind::set, entry, {}}},
    };
    bytes const before = (*wild.read([&](auto& tx) { return wild.self.read(tx, k); }))->fields;
    for (auto const& ops : bad) {
        REQUIRE(wild.write([&](auto& tx) { return wild.self.update(tx, k, ops, now()); }));
        wild.sync();
        CHECK((*wild.read([&](auto& tx) { return wild.self.read(tx, k); }))->fields == before);
    }
    REQUIRE(wild.write([&](auto& tx) { return wild.self.erase(tx, k, now()); }));
    wild.sync();
    c.settle();
    c.same(2, shared_state::open, 1);
    // It decides for itself, closes, and then nobody takes it back.
    REQUIRE(wild.decide(wild.listed()[0], resolution::use_remote()));
    wild.sync();
    CHECK(wild.listed()[0].state == shared_state::closed);
    REQUIRE(c.anna.write([&](auto& tx) { return c.anna.self.erase(tx, k, now()); }).error() == errc::rejected);
    REQUIRE(wild.write([&](auto& tx) {
        return wild.self.update(tx, k, {{"decision", op_kind::unset, {}, {}}, {"decided_by", op_kind::unset, {}, {}}},
                                now());
    }));
    wild.sync();
    CHECK(wild.listed()[0].state == shared_state::closed);
}

TEST_CASE("a decision on a remote that has changed since does not count", "[replica][shared]") {
    clash c;
    auto const open = c.cleo.listed()[0];
    REQUIRE(c.cleo.decide(open, resolution::use_local()));
    SECTION("in what is contested: the conflict is open again") {
        REQUIRE(c.ben.update({set("asked", 7)}));
        c.ben.sync();
        CHECK(c.cleo.sync() == std::vector<followed>{followed::reopened});
        c.settle();
        c.same(7, shared_state::open, 1);
        CHECK(c.cleo.decide(open, resolution::use_local()).error() == errc::contended);
        REQUIRE(c.cleo.decide(c.cleo.listed()[0], resolution::use_local()));
        c.cleo.sync();
        c.settle();
        c.same(3, shared_state::closed, 0);
    }
    SECTION("elsewhere: it counts") {
        REQUIRE(c.ben.update({set("name", 7)}));
        c.ben.sync();
        CHECK(c.cleo.sync() == std::vector<followed>{followed::carried_out});
        c.settle();
        c.same(3, shared_state::closed, 0);
    }
}

TEST_CASE("nobody is told that they came too late before the authority has said so", "[replica][shared]") {
    clash c;
    auto const asked = c.cleo.read([&](auto& tx) { return c.cleo.self.request_message(tx); });
    REQUIRE(asked);
    REQUIRE(c.cleo.decide(c.cleo.listed()[0], resolution::use_remote()));
    REQUIRE(c.ben.decide(c.ben.listed()[0], resolution::use_local()));
    while (c.ben.exchange()) {}
    auto const answer = serve(c.h.store, c.h.self, "cleo", *asked, c.h.clock.now);
    REQUIRE(answer);
    REQUIRE(c.cleo.write([&](auto& tx) { return c.cleo.self.absorb(tx, *answer, c.h.clock.now, c.cleo.random); }));
    CHECK(c.cleo.follow().empty());  // ben's is confirmed, and hers is not even sent
    REQUIRE(c.anna.update({set("asked", 7)}));
    while (c.anna.exchange()) {}
    CHECK(c.ben.sync() == std::vector<followed>{followed::reopened});
    CHECK(c.cleo.sync() == std::vector<followed>{followed::reopened});
    c.settle();
    c.same(7, shared_state::open, 1);
}

TEST_CASE("what a lost device has decided another carries out", "[replica][shared]") {
    clash c;
    record_key const k = c.cleo.key(c.cleo.listed()[0]);
    {
        device lost{c.h, "dora", 11};
        lost.sync();
        CHECK(lost.write([&](auto& tx) { return lost.shared.take_over(tx, lost.self, k); }).error() == errc::invalid);
        REQUIRE(lost.decide(lost.listed()[0], resolution::use_local()));
        while (lost.exchange()) {}
    }
    c.ben.sync();
    c.cleo.sync();
    for (device* d : {&c.ben, &c.cleo}) {
        REQUIRE(d->write([&](auto& tx) { return d->shared.take_over(tx, d->self, k); }));
    }
    c.settle();
    c.same(3, shared_state::closed, 0);
    CHECK(c.anna.held("count") == 15);  // once, though two have carried it out
    CHECK(c.ben.listed()[0].decided_by == "dora");
    CHECK(c.ben.listed()[0].late.empty());
}

TEST_CASE("a conflict about a record that the authority refused is closed by who asks, on all", "[replica][shared]") {
    clash c;
    record_key const key_b{"things", "b"};
    // As an adoption asks about a record that waits for its verdict, which will be that nothing comes of it.
    conflict asked;
    asked.record = asked.local.record = key_b;
    asked.local.life = 1;
    asked.local.sequence = 77;
    asked.local.ops = {set("asked", 5)};
    asked.local_by.writer = to_bytes("till 3");
    asked.fields.push_back({{"asked"}, rule::manual});
    REQUIRE(c.anna.write([&](auto& tx) { return c.anna.queue.raise(tx, asked, c.h.clock.now.wall); }));
    c.anna.sync();
    c.settle();
    auto const about_b = [&](device& d) {
        for (shared_conflict const& one : d.listed()) {
            if (one.about.record == key_b) { return one; }
        }
        FAIL("it is not listed");
        return shared_conflict{};
    };
    shared_conflict const open = about_b(c.anna);
    CHECK_FALSE(open.about.remote);
    // Who only doesn't hold the record can't know.
    CHECK(c.cleo.decide(about_b(c.cleo), resolution::use_remote()).error() == errc::contended);
    CHECK(c.anna.decide(open, resolution::use_local()).error() == errc::not_found);
    SECTION("it is not there") {
        REQUIRE(c.anna.decide(open, resolution::use_remote()));
        CHECK(c.anna.sync() == std::vector<followed>{followed::carried_out});
        c.settle();
        for (device* const d : {&c.anna, &c.ben, &c.cleo}) { CHECK(about_b(*d).state == shared_state::closed); }
        CHECK(c.anna.waiting() == 1);  // the other one
    }
    SECTION("it is there after all when the decision is confirmed") {
        REQUIRE(c.anna.decide(open, resolution::use_remote()));
        REQUIRE(c.ben.write([&](auto& tx) {
            return c.ben.self.create(tx, key_b, world::fields({{"asked", 8}}), c.h.clock.now);
        }));
        c.ben.sync();
        CHECK(c.anna.sync() == std::vector<followed>{followed::reopened});
        c.settle();
        CHECK(about_b(c.ben).state == shared_state::open);
        REQUIRE(c.ben.decide(about_b(c.ben), resolution::use_local()));
        c.ben.sync();
        c.settle();
        auto const r = c.anna.read([&](auto& tx) { return c.anna.self.read(tx, key_b); });
        CHECK(field((*r)->fields, "asked") == 5);
        CHECK(c.anna.waiting() == 1);
    }
}

TEST_CASE("a conflict that may not be shared is tried once, and stands in the own queue", "[replica][shared]") {
    clash c;
    c.h.self = authority<access_policy<>>{c.h.rules, c.h.options(), [] {
                                              access_rule things;
                                              things.collection = "things";
                                              things.creates = things.updates = things.erases = true;
                                              return access_policy<>{{things}, {}};
                                          }()};
    REQUIRE(c.ben.update({set("asked", 12)}));
    REQUIRE(c.anna.update({set("asked", 13)}));
    c.ben.sync();
    for (int i = 0; i < 4; ++i) { c.anna.sync(); }
    std::vector<std::uint64_t> dead;
    auto const look = [&] {
        dead.clear();
        REQUIRE(c.anna.read([&](auto& tx) {
            return c.anna.self.queue().scan_dead(tx, [&](outbox_entry const& e) {
                dead.push_back(e.token);
                return true;
            });
        }));
        return dead.size();
    };
    CHECK(look() == 1);
    CHECK(c.anna.waiting() == 2);
    CHECK(c.anna.listed().size() == 1);
    // Once it may be, the letter is sent anew.
    c.h.self = authority<access_policy<>>{c.h.rules, c.h.options(), house_policy()};
    REQUIRE(c.anna.write([&](auto& tx) { return c.anna.self.queue().revive(tx, dead[0], c.h.clock.now.wall); }));
    c.anna.sync();
    c.settle();
    CHECK(look() == 0);
    CHECK(c.cleo.listed().size() == 2);
}

TEST_CASE("who may decide and not write the record is told so, and the conflict is open for the others",
          "[replica][shared]") {
    clash c{narrow_policy()};
    auto const how = GENERATE(resolution::use_local(), resolution::use_remote(),
                              resolution::merge_fields({{{"asked"}, field_take::custom, integer(44)}}));
    REQUIRE(c.cleo.decide(c.cleo.listed()[0], how));
    CHECK(c.cleo.follow().empty());
    while (c.cleo.exchange()) {}
    CHECK(c.cleo.follow().empty());  // confirmed, and on its way
    CHECK(c.cleo.decide(c.cleo.listed()[0], how).error() == errc::already_exists);
    while (c.cleo.exchange()) {}
    verdict const why = c.cleo.last_verdict();
    CHECK(why.kind == verdict_kind::rejected);
    CHECK(why.reason == errc::forbidden);
    CHECK(c.cleo.sync() == std::vector<followed>{followed::not_written});
    c.settle();
    c.same(2, shared_state::open, 1);  // anna's edit waits with her
    CHECK(c.anna.held("count") == 10);
    CHECK(c.anna.listed()[0].decided_by.empty());
    REQUIRE(c.ben.decide(c.ben.listed()[0], resolution::use_local()));
    CHECK(c.ben.sync() == std::vector<followed>{followed::carried_out});
    c.settle();
    c.same(3, shared_state::closed, 0);
    CHECK(c.cleo.held("count") == 15);
}

TEST_CASE("a decision about a row that has changed on the way is carried out nowhere in part", "[replica][shared]") {
    clash c;
    REQUIRE(c.cleo.decide(c.cleo.listed()[0], resolution::use_local()));
    while (c.cleo.exchange()) {}
    CHECK(c.cleo.follow().empty());
    CHECK(c.cleo.asked() == 3);  // as whatever is written here
    CHECK(c.cleo.follow().empty());
    REQUIRE(c.ben.update({set("asked", 7)}));
    c.ben.sync();
    CHECK(c.cleo.sync() == std::vector<followed>{followed::reopened});
    CHECK(c.cleo.last_verdict().kind == verdict_kind::applied);  // that it is open again
    c.settle();
    c.same(7, shared_state::open, 1);
    CHECK(c.ben.held("count") == 10);
}

TEST_CASE("that a conflict is closed is said with what closes it, once, and never taken back", "[replica][shared]") {
    clash c;
    device mallory{c.h, "mallory", 9, false};  // a program of its own making, which may decide
    mallory.sync();
    record_key const k = mallory.key(mallory.listed()[0]);
    bool const local = GENERATE(true, false);
    REQUIRE(c.ben.decide(c.ben.listed()[0], local ? resolution::use_local() : resolution::use_remote()));
    while (c.ben.exchange()) {}
    while (mallory.exchange()) {}
    SECTION("not by another, before it is carried out") {
        // What is not contested goes along, so that the other side's value alone says nothing either.
        verdict const said = mallory.forge(k, {yes("done")});
        CHECK(said.kind == verdict_kind::rejected);
        CHECK(said.text == "what was decided is not written");
        c.h.clock.pass(10);
        record_group both;
        both.update(key_a, {set("name", 7)}).update(k, {yes("done")});
        REQUIRE(mallory.write([&](auto& tx) { return mallory.self.write_group(tx, both, c.h.clock.now); }));
        while (mallory.exchange()) {}
        CHECK(mallory.last_verdict().kind == (local ? verdict_kind::rejected : verdict_kind::applied));
        CHECK(c.ben.sync() == std::vector<followed>{followed::carried_out});
        c.settle();
        c.same(local ? 3 : 2, shared_state::closed, 0);
        if (local) { CHECK(c.anna.held("count") == 15); }
    }
    SECTION("not with the decision itself, or half") {
        device wild{c.h, "wild", 10, false};
        wild.sync();
        CHECK(wild.forge(k, {world::unset("done")}).kind == verdict_kind::rejected);
        CHECK(wild.forge(k, {set("done", 1)}).kind == verdict_kind::rejected);
        std::vector<field_op> all = taking_back();
        all.push_back(yes("done"));
        CHECK(wild.forge(k, all).kind == verdict_kind::rejected);
        CHECK(c.ben.sync() == std::vector<followed>{followed::carried_out});
    }
    SECTION("not taken back in any number of steps") {
        CHECK(c.ben.sync() == std::vector<followed>{followed::carried_out});
        mallory.sync();
        bytes nothing;
        cbor_writer{nothing}.null();
        std::vector<field_op> all = taking_back();
        all.push_back(world::unset("done"));
        std::vector<std::vector<field_op>> const tries{{world::unset("done")}, {{"done", op_kind::set, nothing, {}}},
                                                       {set("done", 0)},       {yes("done")},
                                                       taking_back(),          all};
        for (int round = 0; round < 2; ++round) {
            for (auto const& ops : tries) { CHECK(mallory.forge(k, ops).kind == verdict_kind::rejected); }
        }
        c.settle();
        c.same(local ? 3 : 2, shared_state::closed, 0);
        CHECK(c.cleo.decide(c.cleo.listed()[0], resolution::use_remote()).error() == errc::already_exists);
    }
}

TEST_CASE("a device of before, which writes and then notes, closes what it has written and nothing else",
          "[replica][shared]") {
    bool const may = GENERATE(true, false);
    clash c{may ? house_policy() : narrow_policy()};
    record_key const k = c.cleo.key(c.cleo.listed()[0]);
    REQUIRE(c.cleo.decide(c.cleo.listed()[0], resolution::use_local()));
    while (c.cleo.exchange()) {}
    REQUIRE(c.cleo.update({set("asked", 3), world::add("count", 5)}));
    CHECK(c.cleo.forge(k, {yes("done")}).kind == (may ? verdict_kind::applied : verdict_kind::rejected));
    if (!may) {
        c.ben.sync();
        REQUIRE(c.ben.write([&](auto& tx) { return c.ben.shared.take_over(tx, c.ben.self, k); }));
        CHECK(c.ben.sync() == std::vector<followed>{followed::carried_out});
    }
    c.settle();
    c.same(3, shared_state::closed, 0);
    CHECK(c.anna.held("count") == 15);
}

TEST_CASE("a decision for what is there already is closed with nothing written", "[replica][shared]") {
    house h;
    device anna{h, "anna", 1};
    device ben{h, "ben", 2};
    REQUIRE(anna.create(1));
    anna.sync();
    ben.sync();
    REQUIRE(ben.update({set("asked", 2)}));
    ben.sync();
    REQUIRE(anna.update({set("asked", 3)}));
    anna.sync();
    ben.sync();
    auto const before = ben.listed()[0].about.remote->version;
    auto const how =
        GENERATE(resolution::use_remote(), resolution::merge_fields({{{"asked"}, field_take::custom, integer(2)}}));
    REQUIRE(ben.decide(ben.listed()[0], how));
    while (ben.exchange()) {}
    std::optional<std::int64_t> now;
    SECTION("as it is") { now = 2; }
    SECTION("unless it isn't there any more") {
        if (how.kind == resolve_kind::use_remote) { return; }
        CHECK(ben.follow().empty());
        REQUIRE(anna.update({set("asked", 8)}));
        anna.sync();
    }
    CHECK(ben.sync() == std::vector<followed>{now ? followed::carried_out : followed::reopened});
    anna.sync();
    CHECK(anna.listed()[0].state == (now ? shared_state::closed : shared_state::open));
    CHECK(anna.waiting() == (now ? 0 : 1));
    if (now) { CHECK(anna.listed()[0].about.remote->version == before); }
}

TEST_CASE("masked values are named and missing, and who can't see them doesn't decide", "[replica][shared]") {
    clash c;
    // As a device holds the record that may not read `asked`.
    CHECK(conflict_value_fields("asked") == std::vector<std::string>{"base:asked", "decided:asked", "local:asked"});
    record_key const k = c.cleo.key(c.cleo.listed()[0]);
    REQUIRE(c.cleo.write([&](auto& tx) -> status {
        auto held = c.cleo.self.records().find(tx, k);
        if (!held || !*held) { return errc::not_found; }
        std::vector<detail::field_change> hidden;
        std::vector<std::string> const names = conflict_value_fields("asked");
        for (std::string const& f : names) { hidden.push_back({f, false, {}}); }
        std::sort(hidden.begin(), hidden.end(), [](detail::field_change const& a, detail::field_change const& b) {
            return compare_keys(a.field, b.field) < 0;
        });
        (*held)->visible.fields = detail::rewrite_fields((*held)->visible.fields, hidden);
        return c.cleo.self.records().put(tx, k, **held, nullptr);
    }));
    auto const seen = c.cleo.listed();
    REQUIRE(seen.size() == 1);
    CHECK(seen[0].masked == std::vector<std::string>{"asked"});
    CHECK(seen[0].about.fields[0].path == field_path{"asked"});
    CHECK(seen[0].about.local.ops.size() == 1);  // the other field's
    CHECK(c.cleo.decide(seen[0], resolution::use_local()).error() == errc::forbidden);
    CHECK(c.cleo.decide(seen[0], resolution::use_remote()).error() == errc::forbidden);
    CHECK(c.cleo.write([&](auto& tx) { return c.cleo.shared.take_over(tx, c.cleo.self, k); }).error() == errc::invalid);
    // It still sees that it is over.
    REQUIRE(c.ben.decide(c.ben.listed()[0], resolution::use_remote()));
    c.ben.sync();
    c.cleo.sync();
    CHECK(c.cleo.listed()[0].state == shared_state::closed);
}

TEST_CASE("records that are no conflicts are passed over, whatever stands in them", "[replica][shared]") {
    clash c;
    record_key const k = c.cleo.key(c.cleo.listed()[0]);
    auto const held = c.cleo.read([&](auto& tx) { return c.cleo.self.records().find(tx, k); });
    REQUIRE(held);
    std::size_t odd = 0;
    auto tx = c.cleo.store.begin(access_mode::write);
    for (std::size_t i = 0; i < (*held)->visible.fields.size(); ++i) {
        for (unsigned const bit : {1U, 8U, 0x20U, 0x80U}) {
            held_record bent = **held;
            bent.visible.fields[i] ^= static_cast<std::byte>(bit);
            REQUIRE(c.cleo.self.records().put(*tx, k, bent, nullptr));
            bool shown = false;
            auto const ok = c.cleo.shared.list(*tx, c.cleo.self, "things", [&](shared_conflict const& one) {
                shown = true;
                (void)c.cleo.shared.preview(*tx, c.cleo.self, k, resolution::use_local(), c.h.clock.now);
                return one.state == shared_state::open;
            });
            CHECK((ok || ok.error() == errc::corrupt));
            odd += shown ? 0 : 1;
            (void)c.cleo.shared.follow(*tx, c.cleo.self, c.h.clock.now, [](record_key const&, followed) {});
        }
    }
    CHECK(odd > 100);
    CHECK(c.cleo.shared.list(*tx, c.cleo.self, "other", [](shared_conflict const&) { return true; }).error() ==
          errc::not_found);
    CHECK_FALSE(shared_conflicts({std::string(60, 'x')}, c.cleo.queue, c.h.rules).shares(std::string(60, 'x')));
}

TEST_CASE("whoever decides what whenever, all devices end with the same, and each conflict is decided once",
          "[replica][shared][property]") {
    for (std::uint64_t seed = 1; seed <= 25; ++seed) {
        CAPTURE(seed);
        syncline::random_generator random{seed};
        auto const draw = [&](std::uint64_t n) { return static_cast<std::size_t>(random() % n); };
        house h;
        device a{h, "anna", seed * 10};
        device b{h, "ben", seed * 10 + 1};
        device c{h, "cleo", seed * 10 + 2};
        std::vector<device*> const all{&a, &b, &c};
        REQUIRE(a.create(0));
        for (device* d : all) { d->sync(); }
        std::int64_t next = 1;
        std::size_t tries = 0;
        std::map<followed, std::size_t> told;
        auto const hear = [&](std::vector<followed> const& some) {
            for (followed const f : some) { ++told[f]; }
        };
        for (int step = 0; step < 80; ++step) {
            device& d = *all[draw(3)];
            switch (draw(6)) {
                case 0:
                case 1: REQUIRE(d.update({set("asked", next++)})); break;
                case 2:
                    h.clock.pass(5);
                    (void)d.exchange();
                    break;
                case 3: hear(d.follow()); break;
                default: {
                    auto const some = d.listed();
                    if (some.empty()) { break; }
                    shared_conflict const& one = some[draw(some.size())];
                    resolution how = resolution::use_remote();
                    if (draw(3) == 0) { how = resolution::use_local(); }
                    if (draw(3) == 0) {
                        how = resolution::merge_fields({{{"asked"}, field_take::custom, integer(next++)}});
                    }
                    auto const done = d.decide(one, how);
                    tries += done ? 1 : 0;
                    if (!done) {
                        bool const fits = done.error() == errc::already_exists || done.error() == errc::contended ||
                                          done.error() == errc::not_found || done.error() == errc::busy;
                        CHECK(fits);
                    }
                    break;
                }
            }
        }
        for (int i = 0; i < 4; ++i) {
            for (device* d : all) { hear(d->sync()); }
        }
        auto const end = a.listed();
        std::size_t late = 0;
        for (shared_conflict const& one : end) {
            CHECK(one.state != shared_state::decided);
            late += one.late.size();
        }
        CHECK(late == told[followed::too_late]);
        CHECK(tries == told[followed::carried_out] + told[followed::too_late] + told[followed::reopened] +
                           told[followed::refused]);
        // Everybody may decide: refused is only what came after a decision that did not last.
        CHECK((told[followed::refused] == 0 || told[followed::reopened] != 0));
        std::set<bytes> open;
        for (shared_conflict const& one : end) {
            if (one.state == shared_state::open) { open.insert(one.id); }
        }
        std::size_t queued = 0;
        for (device* d : all) {
            auto const other = d->listed();
            REQUIRE(other.size() == end.size());
            for (std::size_t i = 0; i < end.size(); ++i) {
                CHECK(other[i].id == end[i].id);
                CHECK(other[i].state == end[i].state);
                CHECK(other[i].decided_by == end[i].decided_by);
                CHECK(other[i].how == end[i].how);
                CHECK(other[i].late == end[i].late);
                CHECK_FALSE(other[i].pending);
            }
            CHECK(d->asked() == a.asked());
            CHECK(d->waiting() == d->parked());
            queued += d->waiting();
        }
        CHECK(queued == open.size());  // each stands in its author's queue, and in no other
    }
}

TEST_CASE("whatever storage call fails, a decision is followed up whole or not at all", "[replica][shared]") {
    clash c;
    REQUIRE(c.anna.decide(c.anna.listed()[0], resolution::use_local()));
    while (c.anna.exchange()) {}
    std::vector<std::pair<bytes, bytes>> state;
    REQUIRE(c.anna.read([&](auto& tx) {
        return tx.scan({bytes{}, bytes(1, std::byte{0xFF})}, [&](bytes_view k, bytes_view v) {
            state.emplace_back(to_bytes(k), to_bytes(v));
            return true;
        });
    }));
    auto const make = [&](auto& store) {
        auto tx = store.begin(access_mode::write);
        REQUIRE(tx);
        for (auto const& [k, v] : state) { REQUIRE(tx->put(k, v)); }
        REQUIRE(tx->commit());
    };
    auto const operate = [&](auto& store) -> status {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        auto ok = c.anna.shared.follow(*tx, c.anna.self, c.h.clock.now, [](record_key const&, followed) {});
        return ok ? tx->commit() : ok;
    };
    auto const report = testing::nth_failure(make, operate);
    for (testing::violation const& v : report.violations) { FAIL_CHECK(v.axiom << ": " << v.what); }
    CHECK(report.runs > 30);
}
