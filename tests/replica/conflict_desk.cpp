// SPDX-License-Identifier: BSL-1.0

#include <syncline/replica/conflict_desk.hpp>

#include "support/catch.hpp"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <syncline/conflict/automatic.hpp>
#include <syncline/conflict/suggester.hpp>
#include <syncline/replica/audit_journal.hpp>
#include <syncline/testing/faulty_storage.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

record_key const key_a{"things", "a"};

/// A device whose conflicts stand in a queue in its own store.
struct desk_device : storing {
    rule_table table;
    conflict_queue queue;
    conflict_desk desk{queue, table};
    basic_replica<stored_records, conflict_desk> self{table, {}, {}, desk};

    explicit desk_device(std::uint64_t seed, conflict_options options = {}, rule_table by = rules(),
                         merge_host const* host = nullptr)
        : storing(seed), table(std::move(by)), queue(options), desk(queue, table, host) {}

    status update(std::vector<field_op> ops, instant now) {
        auto const done = write([&](auto& tx) { return self.update(tx, key_a, ops, now); });
        return done ? status{} : status{done.error()};
    }
    std::vector<conflict> queued() {
        std::vector<conflict> out;
        REQUIRE(read([&](auto& tx) {
            auto ok = queue.list(tx, {}, [&](conflict const& c) {
                out.push_back(c);
                return true;
            });
            return ok ? queue.verify(tx) : ok;
        }));
        return out;
    }
    std::int64_t asked() {
        auto const r = read([&](auto& tx) { return self.read(tx, key_a); });
        REQUIRE(r);
        REQUIRE(*r);
        return *field((*r)->fields, "asked");
    }
};

/// Both have edited what a person must decide, and theirs came first.
struct clash {
    virtual_clock clock{};
    cloud c{clock.now};
    device other{200};
    desk_device mine;
    explicit clash(conflict_options options = {}) : mine(100, options) {
        REQUIRE(open(other, clock.now));
        REQUIRE(open(mine, clock.now));
        REQUIRE(mine.write([&](auto& tx) {
            return mine.self.create(tx, key_a, fields({{"asked", 1}, {"count", 10}, {"name", 1}}), clock.now);
        }));
        REQUIRE(sync(mine, c, clock.now));
        theirs(2);
        REQUIRE(mine.update({set("asked", 3), add("count", 5)}, clock.now));
    }
    void theirs(std::int64_t n) {
        clock.pass(10);
        REQUIRE(sync(other, c, clock.now));
        REQUIRE(other.write([&](auto& tx) { return other.self.update(tx, key_a, {set("asked", n)}, clock.now); }));
        REQUIRE(sync(other, c, clock.now));
        clock.pass(10);
    }
    result<settled> resolve(conflict const& c_, resolution const& how, std::uint64_t seen) {
        return mine.write(
            [&](auto& tx) { return mine.desk.resolve(tx, mine.self, c_.id, seen, how, as_bytes("anna"), clock.now); });
    }
};

}  // namespace

namespace {

/// Two devices that have a record of one collection, under any rules, with what the host knows.
struct pair_of {
    virtual_clock clock{};
    rule_table table;
    cloud c{clock.now};
    device other{200};
    desk_device mine;

    pair_of(collection_rules of_things, bytes const& base, merge_host const* host = nullptr,
            merge_host const* known_here = nullptr)
        : table(), mine(100, {}, rule_table{}.add(of_things), known_here) {
        table.add(std::move(of_things));
        c.self = authority<>{table, {.merging = host}};
        other.self = replica{table};
        REQUIRE(open(other, clock.now));
        REQUIRE(open(mine, clock.now));
        REQUIRE(mine.write([&](auto& tx) { return mine.self.create(tx, key_a, base, clock.now); }));
        REQUIRE(sync(mine, c, clock.now));
        REQUIRE(sync(other, c, clock.now));
        clock.pass(10);
    }
    template <class D>
    void edit(D& d, bytes const& to) {
        REQUIRE(d.write([&](auto& tx) -> result<write_receipt> {
            auto const r = d.self.read(tx, key_a);
            if (!r) { return r.error(); }
            auto ops = diff((*r)->fields, to, table.of("things"), timestamp::make(clock.now.wall));
            if (!ops) { return ops.error(); }
            return d.self.update(tx, key_a, *ops, clock.now);
        }));
    }
    void theirs(bytes const& to) {
        REQUIRE(sync(other, c, clock.now));
        edit(other, to);
        REQUIRE(sync(other, c, clock.now));
        clock.pass(10);
    }
    std::vector<conflict> meet(bytes const& to) {
        edit(mine, to);
        REQUIRE(sync(mine, c, clock.now));
        return mine.queued();
    }
    result<settled> resolve(conflict const& one, resolution const& how) {
        return mine.write([&](auto& tx) {
            return mine.desk.resolve(tx, mine.self, one.id, one.revision, how, as_bytes("anna"), clock.now);
        });
    }
    bytes everywhere() {
        REQUIRE(sync(mine, c, clock.now));
        REQUIRE(sync(other, c, clock.now));
        auto const at = [&](auto& d) { return (*d.read([&](auto& tx) { return d.self.read(tx, key_a); }))->fields; };
        CHECK(at(mine) == at(other));
        return at(mine);
    }
};
bytes map_of(std::initializer_list<value_entry> entries) { return to_bytes(value::map(entries)->encoded()); }

}  // namespace

TEST_CASE("a conflict in a text is decided although sets were edited beside it, and follows later edits of those") {
    auto const doc = [](char const* note, std::initializer_list<value> tags) {
        return map_of({{"note", note}, {"tags", *value::array(tags)}});
    };
    collection_rules const by{"things", rule::last_writer, {{"note", rule::text_lines}, {"tags", rule::add_wins}}};
    for (auto const& [how, note] :
         {std::pair{resolution::use_local(), "c\n"}, std::pair{resolution::use_remote(), "e\n"},
          std::pair{resolution::merge_fields({{{"note"}, field_take::custom, to_bytes(value{"d\n"}.encoded())}}),
                    "d\n"}}) {
        pair_of w(by, doc("a\n", {}));
        w.theirs(doc("b\n", {"x", "y"}));
        auto const open = w.meet(doc("c\n", {"m"}));
        REQUIRE(open.size() == 1);
        // It is brought up to date with what has marks inside of a field.
        w.theirs(doc("e\n", {"x", "y", "z"}));
        REQUIRE(sync(w.mine, w.c, w.clock.now));
        auto const now = w.mine.queued();
        REQUIRE(now.size() == 1);
        CHECK(now[0].revision == 2);
        CHECK(now[0].remote->version > open[0].remote->version);
        heuristics model;
        REQUIRE(w.mine.write([&](auto& tx) { return suggest_all(tx, now[0], model, as_bytes("anna"), {}); }));
        auto const done = w.resolve(now[0], how);
        REQUIRE(done);
        CHECK(done->after->fields == doc(note, {"m", "x", "y", "z"}));
        CHECK(w.everywhere() == doc(note, {"m", "x", "y", "z"}));
        REQUIRE(w.mine.write(
            [&](auto& tx) { return w.mine.desk.undo(tx, w.mine.self, now[0].id, as_bytes("anna"), w.clock.now); }));
        CHECK(w.everywhere() == doc("e\n", {"x", "y", "z"}));
    }
}

TEST_CASE("of a nested field the part that waits is in the queue, and its other parts are merged") {
    collection_rules by{"things", rule::last_writer, {{"a", rule::nested}}};
    by.fields[0].inner = {{"x", rule::manual}, {"y", rule::counter}};
    auto const doc = [](int x, int y) { return map_of({{"a", *value::map({{"x", x}, {"y", y}})}}); };
    pair_of w(by, doc(0, 10));
    w.theirs(doc(7, 13));
    auto const open = w.meet(doc(8, 15));
    REQUIRE(open.size() == 1);
    REQUIRE(open[0].fields.size() == 1);
    CHECK(open[0].fields[0].path == field_path{"a", "x"});
    CHECK(open[0].fields[0].by == rule::manual);
    REQUIRE(w.resolve(open[0], resolution::use_local()));
    CHECK(w.everywhere() == doc(8, 18));
}

TEST_CASE("the guard that asks is named, and a preview asks it where it is known") {
    merge_host host;
    host.guards.push_back({"no more than ten",
                           {"count"},
                           [](guard_input const& in, void const*) {
                               auto const n = in.new_value("count");
                               bool const fits = !n || compare_values(*n, value{10}.encoded()) <= 0;
                               return guard_answer{fits ? guard_answer::kind::accept : guard_answer::kind::veto, {}};
                           },
                           nullptr});
    collection_rules const by{"things", rule::last_writer, {{"count", rule::counter}}};
    auto const doc = [](int n) { return map_of({{"count", n}}); };
    for (bool const known : {false, true}) {
        pair_of w(by, doc(4), &host, known ? &host : nullptr);
        w.theirs(doc(8));
        w.edit(w.mine, doc(9));
        // The first answer is lost: the verdict is told again, and who asks with it.
        if (known) { REQUIRE(w.c.answer(request_of(w.mine, w.clock.now), w.clock.now)); }
        REQUIRE(sync(w.mine, w.c, w.clock.now));
        auto const open = w.mine.queued();
        REQUIRE(open.size() == 1);
        REQUIRE(open[0].fields.size() == 1);
        CHECK(open[0].fields[0].path == field_path{"count"});
        CHECK(open[0].fields[0].guard == "no more than ten");
        auto const most = resolution::merge_fields({{{"count"}, field_take::custom, to_bytes(value{11}.encoded())}});
        if (known) {
            auto const no = w.resolve(open[0], most);
            REQUIRE(!no);
            CHECK(no.error() == errc::forbidden);
        }
        REQUIRE(w.resolve(open[0], resolution::use_local()));
        CHECK(w.everywhere() == doc(9));
    }
}

TEST_CASE("a field by rank is for a person where ranks are not known, and keeps its rank where they are") {
    merge_host host;
    host.role_of = [](author_index a, void const*) -> std::uint32_t { return a; };  // who came later ranks higher
    collection_rules const by{"things", rule::last_writer, {{"asked", rule::manual}, {"pay", rule::role}}};
    auto const doc = [](int asked, int pay) { return map_of({{"asked", asked}, {"pay", pay}}); };
    for (bool const known : {false, true}) {
        pair_of w(by, doc(1, 1), &host, known ? &host : nullptr);
        w.theirs(doc(2, 5));
        auto const open = w.meet(doc(3, 9));
        REQUIRE(open.size() == 1);
        CHECK(open[0].fields.size() == (known ? 1U : 2U));
        REQUIRE(w.resolve(open[0], resolution::use_remote()));
        CHECK(w.everywhere() == doc(2, 5));
    }
}

TEST_CASE("an edit of what another deleted is in the queue where a person decides on deletions") {
    virtual_clock clock;
    rule_table ask;
    collection_rules of_things{"things", rule::last_writer, {{"count", rule::counter}}};
    of_things.deletes = deletion::manual;
    ask.add(of_things);
    cloud c{clock.now};
    c.self = authority<>{ask};
    device other{200};
    other.self = replica{ask};
    desk_device mine{100, {}, ask};
    REQUIRE(open(other, clock.now));
    REQUIRE(open(mine, clock.now));
    REQUIRE(mine.write([&](auto& tx) {
        return mine.self.create(tx, key_a, fields({{"asked", 1}, {"count", 10}}), clock.now);
    }));
    REQUIRE(sync(mine, c, clock.now));
    REQUIRE(sync(other, c, clock.now));
    clock.pass(10);
    REQUIRE(other.write([&](auto& tx) { return other.self.erase(tx, key_a, clock.now); }));
    REQUIRE(sync(other, c, clock.now));
    clock.pass(10);
    REQUIRE(mine.update({set("asked", 3)}, clock.now));
    REQUIRE(sync(mine, c, clock.now));
    auto const open = mine.queued();
    REQUIRE(open.size() == 1);
    CHECK(open[0].remote->deleted);
    REQUIRE(mine.write([&](auto& tx) {
        return mine.desk.resolve(tx, mine.self, open[0].id, open[0].revision, resolution::use_local(), as_bytes("anna"),
                                 clock.now);
    }));
    REQUIRE(sync(mine, c, clock.now));
    REQUIRE(sync(other, c, clock.now));
    CHECK(mine.asked() == 3);
    CHECK(field(confirmed(c).at("a"), "asked") == 3);
    CHECK(field(confirmed(c).at("a"), "count") == 10);  // what it did not touch comes back with it
    CHECK(mine.queued().empty());
}

TEST_CASE("a conflict comes into the queue with its verdict, with all that a person needs") {
    clash w;
    REQUIRE(sync(w.mine, w.c, w.clock.now));
    auto const open = w.mine.queued();
    REQUIRE(open.size() == 1);
    CHECK(open[0].record == key_a);
    REQUIRE(open[0].fields.size() == 1);
    CHECK(open[0].fields[0].path == field_path{"asked"});
    CHECK(open[0].fields[0].by == rule::manual);
    CHECK(field(open[0].base, "asked") == 1);
    CHECK(field(*local_fields(open[0]), "asked") == 3);
    CHECK(field(open[0].remote->fields, "asked") == 2);
    CHECK(equal(open[0].local_by.writer, as_bytes("anna")));
    CHECK(open[0].local_by.stamp > open[0].remote_by.stamp);
    CHECK(open[0].revision == 1);
    CHECK(w.mine.asked() == 2);

    SECTION("it takes suggestions, and a preview is what the decision makes") {
        REQUIRE(w.mine.write([&](auto& tx) -> status {
            heuristics model;
            auto const all = suggest_all(tx, open[0], model, as_bytes("anna"), {});
            if (!all) { return all.error(); }
            return w.mine.queue.suggest(tx, open[0].id, *all, w.clock.now.wall);
        }));
        CHECK(w.mine.queued()[0].fields[0].suggested);
        auto const would = w.mine.read([&](auto& tx) {
            return w.mine.queue.preview(tx, open[0].id, resolution::use_local(), w.mine.table.of("things"),
                                        {as_bytes("anna"), {}, w.clock.now.wall, unknown_author, false});
        });
        REQUIRE(would);
        auto const done = w.resolve(open[0], resolution::use_local(), open[0].revision);
        REQUIRE(done);
        auto const now = w.mine.read([&](auto& tx) { return w.mine.self.read(tx, key_a); });
        CHECK((*now)->fields == would->after->fields);
        CHECK(w.mine.asked() == 3);
        CHECK(field((*now)->fields, "count") == 15);
        CHECK(w.mine.queued().empty());
        CHECK(parked(w.mine).empty());
        REQUIRE(sync(w.mine, w.c, w.clock.now));
        CHECK(field(confirmed(w.c).at("a"), "asked") == 3);
        CHECK(field(confirmed(w.c).at("a"), "count") == 15);
    }
    SECTION("for the other side, what was not contested still goes along") {
        REQUIRE(w.resolve(open[0], resolution::use_remote(), open[0].revision));
        REQUIRE(sync(w.mine, w.c, w.clock.now));
        CHECK(field(confirmed(w.c).at("a"), "asked") == 2);
        CHECK(field(confirmed(w.c).at("a"), "count") == 15);
    }
    SECTION("a decision is undone and done again once it is confirmed") {
        REQUIRE(w.resolve(open[0], resolution::use_local(), open[0].revision));
        auto const undo = [&] {
            return w.mine.write(
                [&](auto& tx) { return w.mine.desk.undo(tx, w.mine.self, open[0].id, as_bytes("anna"), w.clock.now); });
        };
        CHECK(undo().error() == errc::contended);  // not confirmed yet
        REQUIRE(sync(w.mine, w.c, w.clock.now));
        REQUIRE(undo());
        CHECK(w.mine.asked() == 2);
        REQUIRE(sync(w.mine, w.c, w.clock.now));
        CHECK(field(confirmed(w.c).at("a"), "asked") == 2);
        auto const again = w.mine.queued();
        REQUIRE(again.size() == 1);
        REQUIRE(w.mine.write([&](auto& tx) {
            return w.mine.desk.redo(tx, w.mine.self, again[0].id, again[0].revision, as_bytes("anna"), w.clock.now);
        }));
        REQUIRE(sync(w.mine, w.c, w.clock.now));
        CHECK(field(confirmed(w.c).at("a"), "asked") == 3);
    }
    SECTION("another remote renews it in the pull's transaction, and an old look decides nothing") {
        w.theirs(7);
        REQUIRE(sync(w.mine, w.c, w.clock.now));
        auto const renewed = w.mine.queued();
        REQUIRE(renewed.size() == 1);
        CHECK(field(renewed[0].remote->fields, "asked") == 7);
        CHECK(renewed[0].revision == 2);
        auto const before = w.mine.store.snapshot();
        CHECK(w.resolve(open[0], resolution::use_local(), open[0].revision).error() == errc::contended);
        CHECK(w.mine.store.snapshot() == before);
        REQUIRE(w.resolve(renewed[0], resolution::use_local(), renewed[0].revision));
        CHECK(w.resolve(renewed[0], resolution::use_local(), renewed[0].revision).error() == errc::invalid);
        REQUIRE(sync(w.mine, w.c, w.clock.now));
        CHECK(field(confirmed(w.c).at("a"), "asked") == 3);
    }
    SECTION("the record deleted meanwhile: this side begins its next life, or lets it go") {
        REQUIRE(sync(w.other, w.c, w.clock.now));
        REQUIRE(w.other.write([&](auto& tx) { return w.other.self.erase(tx, key_a, w.clock.now); }));
        REQUIRE(sync(w.other, w.c, w.clock.now));
        REQUIRE(sync(w.mine, w.c, w.clock.now));
        auto const renewed = w.mine.queued();
        REQUIRE(renewed.size() == 1);
        CHECK(renewed[0].remote->deleted);
        bool const keeps = GENERATE(true, false);
        REQUIRE(w.resolve(renewed[0], keeps ? resolution::use_local() : resolution::use_remote(), renewed[0].revision));
        REQUIRE(sync(w.mine, w.c, w.clock.now));
        CHECK(confirmed(w.c).size() == (keeps ? 1U : 0U));
    }
}

TEST_CASE("a merge that the authority's guard refuses waits for a person, whose decision it is asked of, too") {
    merge_host host;
    host.guards = {{"room",
                    {"name", "count"},
                    [](guard_input const& in, void const*) {
                        auto const name = in.new_value("name");
                        auto const count = in.new_value("count");
                        bool const ok =
                            !name || !count || cbor_reader{*name}.integer() != 9 || cbor_reader{*count}.integer() <= 12;
                        return guard_answer{ok ? guard_answer::kind::accept : guard_answer::kind::veto, {}};
                    },
                    nullptr}};
    virtual_clock clock;
    cloud c{clock.now};
    authority_options options;
    options.merging = &host;
    c.self = authority<>{rules(), options};
    device other{200};
    desk_device mine{100};
    mine.desk = conflict_desk{mine.queue, mine.table, &host};
    REQUIRE(open(other, clock.now));
    REQUIRE(open(mine, clock.now));
    REQUIRE(mine.write([&](auto& tx) {
        return mine.self.create(tx, key_a, fields({{"asked", 1}, {"count", 10}, {"name", 1}}), clock.now);
    }));
    REQUIRE(sync(mine, c, clock.now));
    clock.pass(10);
    REQUIRE(sync(other, c, clock.now));
    REQUIRE(other.write([&](auto& tx) { return other.self.update(tx, key_a, {set("name", 9)}, clock.now); }));
    REQUIRE(sync(other, c, clock.now));
    clock.pass(10);
    REQUIRE(mine.update({add("count", 5)}, clock.now));  // each would do alone
    REQUIRE(sync(mine, c, clock.now));
    CHECK(field(confirmed(c).at("a"), "count") == 10);
    CHECK(parked(mine).size() == 1);
    auto const held = mine.queued();
    REQUIRE(held.size() == 1);
    REQUIRE(held[0].fields.size() == 1);
    CHECK(held[0].fields[0].path == field_path{"count"});
    CHECK(field(*local_fields(held[0]), "count") == 15);
    auto const decide = [&](resolution const& how) {
        return mine.write([&](auto& tx) {
            return mine.desk.resolve(tx, mine.self, held[0].id, held[0].revision, how, as_bytes("anna"), clock.now);
        });
    };
    CHECK(decide(resolution::use_local()).error() == errc::forbidden);
    CHECK(mine.queued().size() == 1);
    CHECK(parked(mine).size() == 1);
    bytes twelve;
    cbor_writer{twelve}.integer(12);
    REQUIRE(decide(resolution::merge_fields({{{"count"}, field_take::custom, twelve}})));
    REQUIRE(sync(mine, c, clock.now));
    REQUIRE(sync(other, c, clock.now));
    CHECK(field(confirmed(c).at("a"), "count") == 12);
    CHECK(field(confirmed(c).at("a"), "name") == 9);
    CHECK(mine.queued().empty());
    CHECK(parked(mine).empty());
}

TEST_CASE("a full queue keeps no pull from happening; the conflict is gathered later") {
    conflict_options one;
    one.open_max = 1;
    clash w{one};
    REQUIRE(sync(w.mine, w.c, w.clock.now));
    auto const first = w.mine.queued();
    REQUIRE(first.size() == 1);
    w.theirs(5);
    REQUIRE(w.mine.update({set("asked", 6)}, w.clock.now));
    REQUIRE(sync(w.mine, w.c, w.clock.now));
    CHECK(parked(w.mine).size() == 2);
    CHECK(w.mine.queued().size() == 1);
    auto const gather = [&] {
        return w.mine.write([&](auto& tx) { return w.mine.desk.gather(tx, w.mine.self, w.clock.now); });
    };
    CHECK(*gather() == 1);
    auto const now = w.mine.queued();
    REQUIRE(w.resolve(now[0], resolution::use_remote(), now[0].revision));
    CHECK(*gather() == 1);
    REQUIRE(w.mine.queued().size() == 1);
    CHECK(equal(w.mine.queued()[0].local_by.writer, as_bytes("anna")));  // as of one that was raised at once
    CHECK(w.mine.queued()[0].local_by.writer == first[0].local_by.writer);
    CHECK(parked(w.mine).size() == 1);
}

TEST_CASE("whatever storage call fails, verdict and conflict, decision and mutation are both there or neither") {
    clash w;
    bytes const request = request_of(w.mine, w.clock.now);
    auto const reply = w.c.answer(request, w.clock.now);
    REQUIRE(reply);
    auto const each_failing = [&](auto const& f) {
        auto const before = w.mine.store.snapshot();
        testing::faulty_storage<memory_storage> store{w.mine.store};
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
            if (ok) { return; }
            REQUIRE(w.mine.store.snapshot() == before);
        }
    };
    each_failing([&](auto& tx) { return w.mine.self.absorb(tx, *reply, w.clock.now, w.mine.random); });
    auto const open = w.mine.queued();
    REQUIRE(open.size() == 1);
    CHECK(parked(w.mine).size() == 1);
    each_failing([&](auto& tx) {
        return w.mine.desk.resolve(tx, w.mine.self, open[0].id, open[0].revision, resolution::use_local(),
                                   as_bytes("anna"), w.clock.now);
    });
    CHECK(w.mine.queued().empty());
    CHECK(parked(w.mine).empty());
    REQUIRE(sync(w.mine, w.c, w.clock.now));
    each_failing(
        [&](auto& tx) { return w.mine.desk.undo(tx, w.mine.self, open[0].id, as_bytes("anna"), w.clock.now); });
}

TEST_CASE("a pull costs a look at each open conflict, and writes to those whose record it has changed") {
    rule_table const table = rules();
    conflict_queue const queue;
    conflict_desk const desk{queue, table};
    memory_storage inner;
    testing::faulty_storage<memory_storage> store{inner};
    std::map<bytes, row> rows;
    std::uint64_t const many = 100;
    auto tx = store.begin(access_mode::write);
    REQUIRE(tx);
    for (std::uint64_t i = 0; i < many; ++i) {
        conflict c;
        c.record = {"things", "of " + std::to_string(i % 90)};  // of some there are two
        c.local.record = c.record;
        c.local.stamp = timestamp{i + 1};
        c.local.ops = {set("asked", 1)};
        c.base = fields({{"asked", 0}});
        c.remote.emplace();
        c.remote->version = 1;
        c.remote->fields = fields({{"asked", 2}});
        c.fields.resize(1);
        c.fields[0].path = {"asked"};
        REQUIRE(queue.raise(*tx, c, wall_time{milliseconds{1}}));
        rows[c.record.id] = *c.remote;
    }
    std::uint64_t looks = 0;
    auto const look = [&](record_key const& k) -> result<std::optional<row>> {
        ++looks;
        return std::optional<row>{rows.at(k.id)};
    };
    function_ref<result<std::optional<row>>(record_key const&)> const confirmed = look;
    journal_note pulled;
    pulled.what = journal_event::pulled;
    pulled.confirmed = &confirmed;
    std::uint64_t before = store.calls();
    REQUIRE(desk(*tx, pulled));
    CHECK(looks == many);
    CHECK(store.calls() - before <= many + 1);  // each is read once

    for (std::uint64_t const i : {7U, 50U}) {
        row& r = rows.at(record_key{"things", "of " + std::to_string(i)}.id);
        r.version = 2;
        r.fields = fields({{"asked", static_cast<std::int64_t>(i)}});
    }
    before = store.calls();
    REQUIRE(desk(*tx, pulled));
    CHECK(store.calls() - before < many + 60);
    std::size_t renewed = 0;
    REQUIRE(queue.list(*tx, {}, [&](conflict const& c) {
        CHECK(c.remote == rows.at(c.record.id));
        renewed += c.revision == 2 ? 1 : 0;
        return true;
    }));
    CHECK(renewed == 3);
    REQUIRE(queue.verify(*tx));
}

TEST_CASE("a desk and an audit log are told of the same") {
    memory_storage store;
    rule_table const table = rules();
    conflict_queue const queue;
    audit_log<> const log{{}, "log"};
    syncline::random_generator random{5};
    using both = two_journals<conflict_desk, audit_journal<syncline::random_generator>>;
    basic_replica<stored_records, both> const self{table, {}, {}, {{queue, table}, {log, random}}};
    virtual_clock clock;
    auto tx = store.begin(access_mode::write);
    REQUIRE(log.open(*tx, clock.now.wall, random));
    REQUIRE(self.open(*tx, "anna", clock.now, random));
    REQUIRE(self.create(*tx, key_a, fields({{"name", 1}}), clock.now));
    CHECK(log.extent(*tx)->size == 2);  // whose the store is, and the write
    CHECK(queue.counts(*tx)->open == 0);
}

TEST_CASE("a log is told of each decision in the queue, of its undo and of what is done again") {
    virtual_clock clock;
    cloud c{clock.now};
    device other{200};
    REQUIRE(open(other, clock.now));
    using both = two_journals<conflict_desk, audit_journal<syncline::random_generator>>;
    struct logged_device : storing {
        rule_table table = rules();
        conflict_queue queue{};
        conflict_desk desk{queue, table};
        audit_log<> log{{}, "log"};
        syncline::random_generator secrets{6};
        basic_replica<stored_records, both> self{table, {}, {}, {desk, {log, secrets}}};
        using storing::storing;
        /// The codes of the entries about decisions.
        std::vector<std::uint64_t> told() {
            std::vector<std::uint64_t> out;
            REQUIRE(read([&](auto& tx) {
                return log.scan(tx, 0, log.extent(tx)->size, [&](audit_entry const& e) {
                    if (e.kind == audit_kind::conflict_decision) { out.push_back(e.code); }
                    return true;
                });
            }));
            return out;
        }
    };
    logged_device d{100};
    REQUIRE(d.write([&](auto& tx) { return d.log.open(tx, clock.now.wall, d.secrets); }));
    REQUIRE(open(d, clock.now));
    REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, key_a, fields({{"asked", 1}}), clock.now); }));
    REQUIRE(sync(d, c, clock.now));
    clock.pass(10);
    REQUIRE(sync(other, c, clock.now));
    REQUIRE(other.write([&](auto& tx) { return other.self.update(tx, key_a, {set("asked", 2)}, clock.now); }));
    REQUIRE(sync(other, c, clock.now));
    clock.pass(10);
    REQUIRE(d.write([&](auto& tx) { return d.self.update(tx, key_a, {set("asked", 3)}, clock.now); }));
    REQUIRE(sync(d, c, clock.now));
    auto const seen = [&] {
        std::optional<conflict> out;
        REQUIRE(d.read([&](auto& tx) {
            return d.queue.list(tx, {}, [&](conflict const& q) {
                out = q;
                return false;
            });
        }));
        REQUIRE(out);
        return *out;
    };
    conflict open = seen();
    REQUIRE(d.write([&](auto& tx) {
        return d.desk.resolve(tx, d.self, open.id, open.revision, resolution::use_local(), as_bytes("anna"), clock.now);
    }));
    CHECK(d.told() == std::vector<std::uint64_t>{1});
    REQUIRE(sync(d, c, clock.now));
    REQUIRE(d.write([&](auto& tx) { return d.desk.undo(tx, d.self, open.id, as_bytes("anna"), clock.now); }));
    CHECK(d.told() == std::vector<std::uint64_t>{1, 0});
    REQUIRE(sync(d, c, clock.now));
    open = seen();
    REQUIRE(d.write(
        [&](auto& tx) { return d.desk.redo(tx, d.self, open.id, open.revision, as_bytes("anna"), clock.now); }));
    CHECK(d.told() == std::vector<std::uint64_t>{1, 0, 1});
    REQUIRE(sync(d, c, clock.now));
    REQUIRE(d.write([&](auto& tx) { return d.desk.undo(tx, d.self, open.id, as_bytes("anna"), clock.now); }));
    REQUIRE(sync(d, c, clock.now));
    open = seen();
    // No longer in the replica's own list, and told all the same.
    REQUIRE(d.write([&](auto& tx) {
        return d.desk.resolve(tx, d.self, open.id, open.revision, resolution::use_remote(), as_bytes("anna"),
                              clock.now);
    }));
    CHECK(d.told() == std::vector<std::uint64_t>{1, 0, 1, 0, 2});
}

TEST_CASE("over random lives the queue holds what is parked, and all converge when it is decided") {
    std::size_t decisions = 0;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        CAPTURE(seed);
        syncline::random_generator dice{seed};
        auto const roll = [&](std::uint64_t n) { return dice() % n; };
        virtual_clock clock;
        cloud c{clock.now};
        desk_device one{seed * 1'000};
        desk_device two{seed * 1'000 + 10};
        desk_device* const all[]{&one, &two};
        REQUIRE(open(one, clock.now));
        REQUIRE(open(two, clock.now));
        auto const decide = [&](desk_device& d) {
            for (conflict const& open : d.queued()) {
                auto const how = roll(2) == 0 ? resolution::use_local() : resolution::use_remote();
                auto const done = d.write([&](auto& tx) {
                    return d.desk.resolve(tx, d.self, open.id, open.revision, how, as_bytes("anna"), clock.now);
                });
                decisions += done ? 1U : 0U;
                if (!done) {
                    // A record that waits to be deleted or created here, or another field that is contested now.
                    CAPTURE(static_cast<int>(done.error().code), done.error().detail);
                    bool const expected = done.error() == errc::not_found || done.error() == errc::already_exists ||
                                          done.error() == errc::contended;
                    CHECK(expected);
                }
            }
        };
        auto const agree = [&](desk_device& d) {
            std::set<std::pair<std::uint64_t, std::uint64_t>> in_queue;
            std::set<std::pair<std::uint64_t, std::uint64_t>> in_list;
            for (conflict const& q : d.queued()) { in_queue.emplace(q.local.stamp.raw, q.local.sequence); }
            for (open_conflict const& p : parked(d)) { in_list.emplace(p.local.stamp.raw, p.local.sequence); }
            CHECK(in_queue == in_list);
        };
        for (int step = 0; step < 60; ++step) {
            desk_device& d = *all[roll(2)];
            clock.pass(5);
            record_key const k{"things", std::string(1, static_cast<char>('a' + roll(3)))};
            auto const value = static_cast<std::int64_t>(roll(9));
            switch (roll(7)) {
                case 0:
                    (void)d.write([&](auto& tx) {
                        return d.self.create(tx, k, fields({{"name", value}, {"asked", value}}), clock.now);
                    });
                    break;
                case 1:
                case 2:
                    (void)d.write([&](auto& tx) {
                        return d.self.update(tx, k, {set("asked", value), set("name", value)}, clock.now);
                    });
                    break;
                case 3:
                    if (roll(3) == 0) {
                        (void)d.write([&](auto& tx) { return d.self.erase(tx, k, clock.now); });
                    }
                    break;
                case 4: decide(d); break;
                default: REQUIRE(sync(d, c, clock.now)); break;
            }
            agree(d);
        }
        for (int round = 0; round < 20; ++round) {
            for (desk_device* d : all) {
                clock.pass(5);
                REQUIRE(sync(*d, c, clock.now));
                decide(*d);
                REQUIRE(sync(*d, c, clock.now));
            }
        }
        REQUIRE(sync(one, c, clock.now));
        for (desk_device* d : all) {
            CHECK(d->queued().empty());
            CHECK(parked(*d).empty());
            std::map<std::string, bytes> seen;
            REQUIRE(d->read([&](auto& tx) {
                return d->self.scan(tx, "things", [&](record_key const& k, record const& r) {
                    seen[std::string{k.id_text()}] = r.fields;
                    return true;
                });
            }));
            CHECK(seen == confirmed(c));
        }
    }
    CHECK(decisions > 40);
}
