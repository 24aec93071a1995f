// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/group.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <support/catch.hpp>
#include <syncline/core/random.hpp>
#include <syncline/replica/again.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/dry_run.hpp>
#include <syncline/replica/operations.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "world.hpp"

namespace {

using namespace syncline;
using world::absorb;
using world::add;
using world::field;
using world::fields;
using world::set;

record_key thing(std::string_view id) { return {"things", id}; }
record_key note(std::string_view id) { return {"notes", id}; }

/// Two devices that have met their authority, and hold two things of 100 each.
struct pair_of_devices {
    world::virtual_clock time{};
    world::cloud home{time.now};
    world::device a;
    world::device b;

    explicit pair_of_devices(replica_options options = {}) : a(1, options), b(2, options) {
        REQUIRE(world::open(a, time.now));
        REQUIRE(world::open(b, time.now));
        for (char const* id : {"x", "y"}) {
            REQUIRE(a.write([&](auto& tx) {
                return a.self.create(tx, thing(id), fields({{"count", 100}}), time.now);
            }));
        }
        settle();
    }
    void settle() {
        for (int i = 0; i < 2; ++i) {
            REQUIRE(world::sync(a, home, time.now));
            REQUIRE(world::sync(b, home, time.now));
        }
    }
    [[nodiscard]] result<write_receipt> write(world::device& d, record_group const& g) {
        time.pass(10);
        return d.write([&](auto& tx) { return d.self.write_group(tx, g, time.now); });
    }
    [[nodiscard]] std::optional<std::int64_t> count(world::device& d, std::string_view id) {
        auto const all = world::visible(d);
        auto const found = all.find(std::string{id});
        return found == all.end() ? std::nullopt : field(found->second, "count");
    }
    [[nodiscard]] std::vector<outbox_entry> letters(world::device& d) {
        std::vector<outbox_entry> all;
        (void)d.read([&](auto& tx) {
            return d.self.queue().scan_dead(tx, [&](outbox_entry const& e) {
                all.push_back(e);
                return true;
            });
        });
        return all;
    }
};

// region: transfer
/// Both counters change, or neither does.
record_group transfer(std::string_view from, std::string_view to, std::int64_t n) {
    record_group g;
    g.update(thing(from), {add("count", -n)}).update(thing(to), {add("count", n)});
    return g;
}
// endregion: transfer

}  // namespace

TEST_CASE("a group is seen at once where it is written, and goes as one mutation", "[replica][group]") {
    pair_of_devices w;
    record_group g = transfer("x", "y", 30);
    g.create(note("n"), fields({{"amount", 30}}));
    auto const receipt = w.write(w.a, g);
    REQUIRE(receipt);
    CHECK(w.count(w.a, "x") == 70);
    CHECK(w.count(w.a, "y") == 130);
    CHECK(world::visible(w.a, "notes").size() == 1);

    auto const q = decode_request(world::request_of(w.a, w.time.now));
    REQUIRE(q);
    REQUIRE(q->mutations.size() == 1);
    cbor_reader in{q->mutations[0]};
    mutation const m = decode_mutation(in);
    REQUIRE(in.finish());
    CHECK(m.kind == change_kind::group);
    CHECK(m.parts.size() == 3);
    CHECK(m.sequence == 3);
    bytes again;
    cbor_writer body{again};
    encode_mutation(body, m);
    CHECK(again == q->mutations[0]);

    auto const answer = w.home.answer(encode(*q), w.time.now);
    REQUIRE(answer);
    auto const p = decode_reply(*answer);
    REQUIRE(p);
    REQUIRE(p->verdicts.size() == 1);
    CHECK(p->verdicts[0].kind == verdict_kind::applied);
    CHECK(p->verdicts[0].versions == std::vector<position>{3, 4, 5});
    CHECK(p->verdicts[0].version == 5);
    REQUIRE(absorb(w.a, *answer, w.time.now));
    CHECK(w.count(w.a, "x") == 70);
    w.settle();
    CHECK(w.count(w.b, "x") == 70);
    CHECK(w.count(w.b, "y") == 130);
    CHECK(world::visible(w.a) == world::visible(w.b));
    CHECK(world::visible(w.a, "notes") == world::visible(w.b, "notes"));
    // Nothing is laid over what is confirmed any more.
    CHECK_FALSE((*w.a.read([&](auto& tx) { return w.a.self.read(tx, thing("x")); }))->pending);
}

TEST_CASE("one part that can't be takes the whole back, and is named", "[replica][group]") {
    pair_of_devices w;
    // The other device deletes y before the group arrives.
    REQUIRE(w.b.write([&](auto& tx) { return w.b.self.erase(tx, thing("y"), w.time.now); }));
    REQUIRE(world::sync(w.b, w.home, w.time.now));
    auto const before = world::confirmed(w.home);

    record_group g = transfer("x", "y", 30);
    g.create(note("n"), fields({{"amount", 30}}));
    REQUIRE(w.write(w.a, g));
    CHECK(w.count(w.a, "x") == 70);
    w.settle();
    CHECK(world::confirmed(w.home) == before);
    CHECK(world::confirmed(w.home, "notes").empty());
    CHECK(w.count(w.a, "x") == 100);
    CHECK(world::visible(w.a, "notes").empty());
    CHECK(world::visible(w.a) == world::visible(w.b));

    auto const dead = w.letters(w.a);
    REQUIRE(dead.size() == 1);
    CHECK(dead[0].reason == errc::contended);
    auto const m = replica::mutation_of(dead[0]);
    REQUIRE(m);
    CHECK(m->parts.size() == 3);
    cbor_reader in{dead[0].verdict};
    verdict const said = decode_verdict(in);
    REQUIRE(in.finish());
    REQUIRE(said.part);
    CHECK(*said.part == 1);
    std::string why;
    (void)w.a.read([&](auto& tx) {
        return scan_writes(tx, w.a.self, {}, [&](write_report const& r) {
            why = r.why;
            return true;
        });
    });
    CHECK(why.find("part 2 of the group") != std::string::npos);
    // Nobody writes a part of it by itself: the letter stays for a person.
    auto const issued = w.a.write([&](auto& tx) { return issue_refused(tx, w.a.self, w.time.now); });
    REQUIRE(issued);
    CHECK(*issued == 0);
    CHECK(w.letters(w.a).size() == 1);
}

TEST_CASE("a person's conflict in one part refuses the group", "[replica][group]") {
    pair_of_devices w;
    REQUIRE(w.b.write([&](auto& tx) { return w.b.self.update(tx, thing("y"), {set("asked", 1)}, w.time.now); }));
    REQUIRE(world::sync(w.b, w.home, w.time.now));
    record_group g;
    g.update(thing("x"), {add("count", -1)}).update(thing("y"), {set("asked", 2)});
    REQUIRE(w.write(w.a, g));
    w.settle();
    CHECK(w.count(w.a, "x") == 100);
    REQUIRE(w.letters(w.a).size() == 1);
    std::size_t parked = 0;
    (void)w.a.read([&](auto& tx) {
        return w.a.self.conflicts(tx, [&](open_conflict const&) {
            ++parked;
            return true;
        });
    });
    CHECK(parked == 0);
}

TEST_CASE("a group whose every part lost to others is overruled, one that lost in part is refused",
          "[replica][group]") {
    for (bool const both : {true, false}) {
        pair_of_devices w;
        record_group mine;
        mine.update(thing("x"), {set("note", 1)}).update(thing("y"), {set("note", 1)});
        REQUIRE(w.write(w.a, mine));
        // Later by the clock, and first at the authority.
        record_group theirs;
        theirs.update(thing("x"), {set("note", 2)});
        if (both) { theirs.update(thing("y"), {set("note", 2)}); }
        REQUIRE(w.write(w.b, theirs));
        REQUIRE(world::sync(w.b, w.home, w.time.now));
        w.settle();
        CHECK(field(world::confirmed(w.home).at("x"), "note") == 2);
        CHECK(field(world::confirmed(w.home).at("y"), "note") ==
              (both ? std::optional<std::int64_t>{2} : std::nullopt));
        CHECK(w.letters(w.a).size() == (both ? 0 : 1));
        CHECK(world::visible(w.a) == world::confirmed(w.home));
    }
}

TEST_CASE("a deletion of what is deleted has had its effect", "[replica][group]") {
    pair_of_devices w;
    REQUIRE(w.b.write([&](auto& tx) { return w.b.self.erase(tx, thing("y"), w.time.now); }));
    REQUIRE(world::sync(w.b, w.home, w.time.now));
    record_group g;
    g.update(thing("x"), {add("count", 5)}).erase(thing("y"));
    REQUIRE(w.write(w.a, g));
    w.settle();
    CHECK(w.letters(w.a).empty());
    CHECK(w.count(w.a, "x") == 105);
    CHECK_FALSE((*w.a.read([&](auto& tx) { return w.a.self.read(tx, thing("x")); }))->pending);
    CHECK(world::visible(w.a) == world::confirmed(w.home));
    CHECK(world::visible(w.b) == world::confirmed(w.home));
}

TEST_CASE("a group keeps the order of each of its records, and nothing is joined with it", "[replica][group]") {
    pair_of_devices w;
    auto const update = [&](std::string_view id, std::int64_t n) {
        w.time.pass(1);
        return w.a.write([&](auto& tx) { return w.a.self.update(tx, thing(id), {add("count", n)}, w.time.now); });
    };
    REQUIRE(update("y", 1));
    auto const g = w.write(w.a, transfer("x", "y", 30));
    REQUIRE(g);
    auto const after = update("x", 2);
    REQUIRE(after);
    CHECK_FALSE(after->coalesced);
    auto const joined = update("x", 3);
    REQUIRE(joined);
    CHECK(joined->token == after->token);  // among themselves they are
    auto const state = [&](std::uint64_t token) {
        return (*w.a.read([&](auto& tx) { return w.a.self.queue().find(tx, token); }))->state;
    };
    CHECK(state(g->token) == entry_state::blocked);
    CHECK(state(after->token) == entry_state::blocked);
    // A creation under it is not annihilated by a deletion after it.
    REQUIRE(w.a.write([&](auto& tx) { return w.a.self.create(tx, note("n"), fields({{"v", 1}}), w.time.now); }));
    record_group touch;
    touch.update(note("n"), {set("v", 2)}).update(thing("x"), {add("count", 0)});
    REQUIRE(w.write(w.a, touch));
    auto const gone = w.a.write([&](auto& tx) { return w.a.self.erase(tx, note("n"), w.time.now); });
    REQUIRE(gone);
    CHECK(gone->token != 0);
    CHECK_FALSE(gone->coalesced);
    w.settle();
    CHECK(w.count(w.b, "x") == 75);
    CHECK(w.count(w.b, "y") == 131);
    CHECK(world::visible(w.b, "notes").empty());
}

TEST_CASE("what can't be written leaves the store as it was", "[replica][group]") {
    replica_options options;
    options.record_max = 400;
    pair_of_devices w{options};
    auto const fails = [&](record_group const& g, errc why) {
        auto const said = w.write(w.a, g);
        REQUIRE_FALSE(said);
        CHECK(said.error() == why);
        CHECK(world::visible(w.a).size() == 2);
        CHECK(w.count(w.a, "x") == 100);
    };
    fails({}, errc::invalid);
    record_group twice = transfer("x", "y", 1);
    twice.erase(thing("x"));
    fails(twice, errc::invalid);
    record_group many;
    for (int i = 0; i < 17; ++i) { many.create(thing("n" + std::to_string(i)), fields({})); }
    fails(many, errc::limit);
    fails(transfer("x", "nobody", 1), errc::not_found);
    record_group there;
    there.update(thing("x"), {add("count", 1)}).create(thing("y"), fields({}));
    fails(there, errc::already_exists);
    record_group large;
    std::string const name(150, 'n');
    for (char const* id : {"p", "q", "r"}) { large.create(thing(id), fields({{name, 1}})); }
    fails(large, errc::limit);
    // Of one change it is a plain write; of a change that changes nothing it is none.
    record_group one;
    one.put(thing("x"), fields({{"count", 1}}), fields({{"count", 1}}));
    auto const nothing = w.write(w.a, one);
    REQUIRE(nothing);
    CHECK(nothing->token == 0);
    record_group plain;
    plain.put(thing("x"), fields({{"note", 1}}), fields({{"note", 4}}));
    REQUIRE(w.write(w.a, plain));
    auto const q = decode_request(world::request_of(w.a, w.time.now));
    REQUIRE(q);
    REQUIRE(q->mutations.size() == 1);
    cbor_reader in{q->mutations[0]};
    CHECK(decode_mutation(in).kind == change_kind::update);
}

TEST_CASE("a duplicate has its first verdict, another content under its name is a fork", "[replica][group]") {
    pair_of_devices w;
    REQUIRE(w.write(w.a, transfer("x", "y", 30)));
    bytes const sent = world::request_of(w.a, w.time.now);
    auto const first = decode_reply(*w.home.answer(sent, w.time.now));
    auto const again = decode_reply(*w.home.answer(sent, w.time.now));
    REQUIRE(first);
    REQUIRE(again);
    CHECK(again->verdicts[0].again);
    CHECK(again->verdicts[0].versions == first->verdicts[0].versions);
    CHECK(world::confirmed(w.home).at("x") == fields({{"count", 70}}));

    auto q = decode_request(sent);
    REQUIRE(q);
    cbor_reader in{q->mutations[0]};
    mutation m = decode_mutation(in);
    m.parts[1].ops[0].value = world::integer(31);
    q->mutations[0].clear();
    cbor_writer w2{q->mutations[0]};
    encode_mutation(w2, m);
    auto const forked = decode_reply(*w.home.answer(encode(*q), w.time.now));
    REQUIRE(forked);
    CHECK(forked->verdicts[0].reason == errc::identity_fork);
    CHECK(world::confirmed(w.home).at("y") == fields({{"count", 130}}));
}

TEST_CASE("a group of a stranger decodes to its limits, and to nothing else", "[replica][group]") {
    mutation m;
    m.sequence = 1;
    m.stamp = timestamp{77};
    m.kind = change_kind::group;
    for (char const* id : {"a", "b", "c"}) {
        mutation part;
        part.stamp = m.stamp;
        part.record = thing(id);
        part.ops = {{"n", op_kind::set, world::integer(1), m.stamp}};
        m.parts.push_back(part);
    }
    m.record = m.parts[0].record;
    auto const read = [](mutation const& what) -> result<mutation> {
        bytes raw;
        cbor_writer w{raw};
        encode_mutation(w, what);
        cbor_reader in{raw};
        mutation out = decode_mutation(in);
        if (auto ok = in.finish(); !ok) { return ok.error(); }
        return out;
    };
    auto const same = read(m);
    REQUIRE(same);
    CHECK(*same == m);
    auto const refuses = [&](auto&& bend, errc why) {
        mutation bent = m;
        bend(bent);
        auto const out = read(bent);
        REQUIRE_FALSE(out);
        CHECK(out.error() == why);
    };
    refuses([](mutation& g) { g.parts.resize(1); }, errc::malformed);
    refuses([](mutation& g) { g.parts[1].record = g.parts[0].record; }, errc::malformed);
    refuses([](mutation& g) { g.parts[1].sequence = 4; }, errc::malformed);
    refuses([](mutation& g) { g.parts[1].stamp = timestamp{78}; }, errc::malformed);
    refuses([](mutation& g) { g.parts[1] = g; }, errc::malformed);
    refuses(
        [](mutation& g) {
            for (int i = 0; i < 14; ++i) {
                g.parts.push_back(g.parts[0]);
                g.parts.back().record = thing("n" + std::to_string(i));
            }
        },
        errc::limit);
    // Cut anywhere it is an error; whatever byte is bent, it is an error or a group that is written back as it was read.
    bytes raw;
    cbor_writer w{raw};
    encode_mutation(w, m);
    for (std::size_t i = 0; i < raw.size(); ++i) {
        cbor_reader cut{bytes_view{raw}.first(i)};
        (void)decode_mutation(cut);
        CHECK_FALSE(cut.finish());
        for (unsigned bit = 0; bit < 8; ++bit) {
            bytes bent = raw;
            bent[i] ^= static_cast<std::byte>(1U << bit);
            cbor_reader in{bent};
            mutation const out = decode_mutation(in);
            if (!in.finish()) { continue; }
            bytes back;
            cbor_writer b{back};
            encode_mutation(b, out);
            CHECK(back == bent);
        }
    }
}

TEST_CASE("unique values move between the records of a group", "[replica][group]") {
    constraint_table table;
    table.uniques = {{"one_seat", "things", {"seat"}}};
    table.references = {{"of", "notes", "thing", "things", parent_deletion::cascades},
                        {"under", "notes", "note", "notes", parent_deletion::refused}};
    authority_options options;
    options.constraints = &table;
    world::virtual_clock time;
    memory_storage store;
    authority<> const home{world::rules(), options};
    syncline::random_generator random{3};
    {
        auto tx = store.begin(access_mode::write);
        REQUIRE(home.open(*tx, time.now, random));
        REQUIRE(tx->commit());
    }
    world::device d{1};
    REQUIRE(world::open(d, time.now));
    auto const run = [&](record_group const& g) {
        time.pass(10);
        REQUIRE(d.write([&](auto& tx) { return d.self.write_group(tx, g, time.now); }));
        std::optional<verdict> said;
        for (int i = 0; i < 2; ++i) {
            auto const answer = serve(store, home, "anna", world::request_of(d, time.now), time.now);
            REQUIRE(answer);
            auto const p = decode_reply(*answer);
            REQUIRE(p);
            if (!p->verdicts.empty()) { said = p->verdicts.back(); }
            REQUIRE(absorb(d, *answer, time.now));
        }
        REQUIRE(said);
        return *said;
    };
    auto const named = [](std::string_view id) {
        bytes out;
        cbor_writer w{out};
        w.map(1);
        w.text("thing");
        w.text(id);
        return out;
    };
    record_group begin;
    begin.create(thing("x"), fields({{"seat", 1}})).create(thing("y"), fields({{"seat", 2}}));
    // A child before its parent: they come at once.
    begin.create(note("of z"), named("z")).create(thing("z"), fields({{"seat", 3}}));
    CHECK(run(begin).kind == verdict_kind::applied);
    record_group swap;
    swap.update(thing("x"), {set("seat", 2)}).update(thing("y"), {set("seat", 1)});
    CHECK(run(swap).kind == verdict_kind::applied);
    record_group taken;
    taken.update(thing("x"), {set("seat", 9)}).update(thing("y"), {set("seat", 3)});
    auto const refused = run(taken);
    CHECK(refused.kind == verdict_kind::rejected);
    CHECK(refused.reason == errc::already_exists);
    REQUIRE(refused.part);
    CHECK(*refused.part == 1);
    record_group same;
    same.update(thing("x"), {set("seat", 9)}).update(thing("y"), {set("seat", 9)});
    CHECK(run(same).kind == verdict_kind::rejected);
    // What the swap left in the index still binds.
    record_group third;
    third.create(thing("w"), fields({{"seat", 1}})).create(note("n"), fields({}));
    CHECK(run(third).kind == verdict_kind::rejected);
    // Its child goes elsewhere in the same group: the deletion takes nothing along.
    record_group moved;
    bytes x;
    cbor_writer{x}.text("x");
    moved.update(note("of z"), {{"thing", op_kind::set, x, {}}}).erase(thing("z"));
    CHECK(run(moved).kind == verdict_kind::applied);
    CHECK(world::visible(d, "notes").size() == 1);
    CHECK(world::visible(d).size() == 2);
    // And this one does, of a record that the group itself has changed.
    record_group along;
    along.update(note("of z"), {set("v", 1)}).erase(thing("x"));
    CHECK(run(along).kind == verdict_kind::applied);
    CHECK(world::visible(d, "notes").empty());
    // A parent that may not go alone goes with who needs it, or once they need it no more, whichever part comes first.
    auto const under = [](std::string_view id) {
        bytes out;
        cbor_writer w{out};
        w.map(1);
        w.text("note");
        w.text(id);
        return out;
    };
    record_group tree;
    tree.create(note("1"), fields({})).create(note("2"), under("1")).create(note("3"), under("1"));
    CHECK(run(tree).kind == verdict_kind::applied);
    record_group some;
    some.erase(note("1")).erase(note("2"));
    auto const needed = run(some);
    CHECK(needed.kind == verdict_kind::rejected);
    CHECK(needed.text == "under: needed by notes/3");
    REQUIRE(needed.part);
    CHECK(*needed.part == 0);
    record_group touched;  // a later part that leaves it where it is
    touched.erase(note("1")).erase(note("2")).update(note("3"), {set("v", 1)});
    auto const left = run(touched);
    CHECK(left.text == "under: needed by notes/3");
    REQUIRE(left.part);
    CHECK(*left.part == 0);
    record_group all;
    all.erase(note("1")).erase(note("2")).update(note("3"), {world::unset("note")});
    CHECK(run(all).kind == verdict_kind::applied);
    CHECK(world::visible(d, "notes").size() == 1);
    auto tx = store.begin(access_mode::read);
    std::size_t living = 0;
    REQUIRE(home.scan(*tx, [&](record_key const&, row const& r) {
        living += r.deleted ? 0 : 1;
        return true;
    }));
    CHECK(living == 2);
}

TEST_CASE("a group is all or nothing whichever storage call fails", "[replica][group]") {
    instant const now = world::virtual_clock{}.now;
    replica const self{world::rules()};
    authority<> const home{world::rules()};
    auto const make_device = [&](testing::failing_storage& store) {
        syncline::random_generator random{3};
        auto tx = store.begin(access_mode::write);
        REQUIRE(self.open(*tx, "anna", now, random));
        for (char const* id : {"x", "y"}) { REQUIRE(self.create(*tx, thing(id), fields({{"count", 9}}), now)); }
        REQUIRE(tx->commit());
    };
    auto const write = [&](testing::failing_storage& store) -> status {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        auto const done = self.write_group(*tx, transfer("x", "y", 4), now);
        return done ? tx->commit() : status{done.error()};
    };
    auto const report = testing::nth_failure(make_device, write);
    for (testing::violation const& v : report.violations) { FAIL_CHECK(v.axiom << ": " << v.what); }
    CHECK(report.runs > 30);

    pair_of_devices w;
    REQUIRE(w.write(w.a, transfer("x", "y", 30)));
    bytes const request = world::request_of(w.a, w.time.now);
    auto const make_home = [&](testing::failing_storage& store) {
        auto from = w.home.store.begin(access_mode::read);
        auto to = store.begin(access_mode::write);
        REQUIRE(from->scan({}, [&](bytes_view k, bytes_view v) { return to->put(k, v).has_value(); }));
        REQUIRE(to->commit());
    };
    auto const decide = [&](testing::failing_storage& store) -> status {
        auto const answer = serve(store, home, "anna", request, now);
        return answer ? status{} : status{answer.error()};
    };
    testing::nth_failure_options again;
    again.repeatable = true;
    auto const decided = testing::nth_failure(make_home, decide, again);
    for (testing::violation const& v : decided.violations) { FAIL_CHECK(v.axiom << ": " << v.what); }
    CHECK(decided.runs > 20);
}
