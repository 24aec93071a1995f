// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/constraints.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <support/catch.hpp>
#include "support/sanitized.hpp"
#include <syncline/core/random.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "world.hpp"

namespace {

using namespace syncline;

using record_fields = std::map<std::string, std::string>;

bytes encoded(record_fields const& f) {
    std::vector<std::pair<std::string, std::string>> all{f.begin(), f.end()};
    std::sort(all.begin(), all.end(), [](auto const& a, auto const& b) { return compare_keys(a.first, b.first) < 0; });
    bytes out;
    cbor_writer w{out};
    w.map(all.size());
    for (auto const& [name, text] : all) {
        w.text(name);
        w.text(text);
    }
    return out;
}
record_fields decoded(bytes_view fields) {
    record_fields out;
    cbor_map_cursor at{fields};
    while (!fields.empty() && at.next()) { out[std::string{at.key()}] = std::string{cbor_reader{at.value()}.text()}; }
    return out;
}
field_op set_text(std::string_view name, std::string_view text) {
    bytes b;
    cbor_writer{b}.text(text);
    return {std::string{name}, op_kind::set, b, {}};
}

bool not_cancelled(bytes_view fields) { return decoded(fields)["state"] != "cancelled"; }

/// Events have halls and bookings; a hall's events go with it, an event with bookings stays, a person who leaves leaves
/// their bookings without one; a hall may be part of another.
constraint_table house() {
    constraint_table t;
    t.uniques = {{"one_a_seat", "bookings", {"event", "seat"}, not_cancelled}, {"hall_name", "halls", {"name"}}};
    t.references = {{"booking_event", "bookings", "event", "events", parent_deletion::refused},
                    {"booking_person", "bookings", "person", "people", parent_deletion::orphans},
                    {"event_hall", "events", "hall", "halls", parent_deletion::cascades},
                    {"part_of", "halls", "within", "halls", parent_deletion::cascades}};
    return t;
}

/// An authority, and one device that does what it is told and hears at once what came of it.
struct office {
    constraint_table table;
    memory_storage store{};
    authority<> self;
    syncline::random_generator random{3};
    world::virtual_clock time{};
    replica_id who{id128{{std::byte{9}}}, 1};
    std::uint64_t sequence = 0;
    std::optional<id128> epoch{};

    explicit office(constraint_table t = house(), rule_table rules = {}) : table(std::move(t)), self(rules, options()) {
        REQUIRE(valid(table));
        auto tx = store.begin(access_mode::write);
        REQUIRE(self.open(*tx, time.now, random));
        REQUIRE(tx->commit());
    }
    office(office const&) = delete;

    authority_options options() {
        authority_options o;
        o.constraints = &table;
        return o;
    }
    std::optional<row> find(record_key const& k) {
        auto tx = store.begin(access_mode::read);
        auto r = self.find(*tx, k);
        REQUIRE(r);
        return *r;
    }
    bytes request_for(mutation m) {
        request q;
        q.replica = who;
        q.epoch = epoch;
        q.receipts = sequence;
        m.sequence = sequence + 1;
        m.stamp = timestamp{(static_cast<std::uint64_t>(time.now.wall.time_since_epoch().count()) << 16U) + sequence};
        for (field_op& op : m.ops) { op.stamp = m.stamp; }
        bytes raw;
        cbor_writer w{raw};
        encode_mutation(w, m);
        q.mutations.push_back(raw);
        return encode(q);
    }
    /// The mutation as one that has seen what is there.
    mutation change(change_kind kind, record_key const& k, std::vector<field_op> ops) {
        auto const now = find(k);
        mutation m;
        m.kind = kind;
        m.record = k;
        m.life = now ? now->life + (kind == change_kind::create ? 1 : 0) : 1;
        m.base = now ? now->version : 0;
        m.ops = std::move(ops);
        return m;
    }
    verdict decide(mutation const& m) {
        auto const answer = serve(store, self, "anna", request_for(m), time.now);
        REQUIRE(answer);
        auto const p = decode_reply(*answer, {});
        REQUIRE(p);
        REQUIRE(p->verdicts.size() == 1);
        epoch = p->epoch;
        ++sequence;
        return p->verdicts[0];
    }
    verdict create(record_key const& k, record_fields const& f) {
        std::vector<field_op> ops;
        for (auto const& [name, text] : f) { ops.push_back(set_text(name, text)); }
        std::sort(ops.begin(), ops.end(),
                  [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
        return decide(change(change_kind::create, k, std::move(ops)));
    }
    verdict set(record_key const& k, std::string_view name, std::string_view text) {
        return decide(change(change_kind::update, k, {set_text(name, text)}));
    }
    verdict unset(record_key const& k, std::string_view name) {
        return decide(change(change_kind::update, k, {world::unset(name)}));
    }
    verdict erase(record_key const& k) { return decide(change(change_kind::erase, k, {})); }

    std::map<bytes, bytes> index() {
        std::map<bytes, bytes> out;
        auto tx = store.begin(access_mode::read);
        for (char const* prefix : {"ax", "ay"}) {
            REQUIRE(scan_prefix(*tx, as_bytes(std::string_view{prefix}), [&](bytes_view k, bytes_view v) {
                out[to_bytes(k)] = to_bytes(v);
                return true;
            }));
        }
        return out;
    }
    /// Every living record, and that each position names one record which is of it.
    std::map<std::pair<std::string, std::string>, record_fields> all() {
        std::map<std::pair<std::string, std::string>, record_fields> out;
        auto tx = store.begin(access_mode::read);
        std::size_t rows = 0;
        REQUIRE(self.scan(*tx, [&](record_key const& k, row const& r) {
            ++rows;
            if (!r.deleted) { out[{k.collection, std::string{k.id_text()}}] = decoded(r.fields); }
            return true;
        }));
        std::size_t positions = 0;
        REQUIRE(scan_prefix(*tx, as_bytes(std::string_view{"ap"}), [&](bytes_view at, bytes_view record) {
            ++positions;
            auto const k = record_key_from(record);
            REQUIRE(k);
            auto const r = self.find(*tx, *k);
            REQUIRE(r);
            REQUIRE(*r);
            CHECK((*r)->version == read_u64(at.subspan(2)));
            return true;
        }));
        CHECK(positions == rows);
        return out;
    }
    struct step {
        std::size_t rows = 0;
        std::vector<std::string> broken{};
        std::size_t calls = 0;
    };
    step build(std::size_t budget) {
        step done;
        for (;;) {
            auto tx = store.begin(access_mode::write);
            auto const r = self.build_constraints(*tx, budget, [&](record_key const& k, refusal const& why) {
                done.broken.push_back(std::string{k.id_text()} + " " + to_text(why));
            });
            REQUIRE(r);
            REQUIRE(tx->commit());
            done.rows += r->rows;
            ++done.calls;
            if (!r->more) { return done; }
            REQUIRE(done.calls < 10'000);
        }
    }
};

record_key booking(std::string_view id) { return {"bookings", id}; }
record_key event_of(std::string_view id) { return {"events", id}; }
record_key hall(std::string_view id) { return {"halls", id}; }
record_key person(std::string_view id) { return {"people", id}; }

refusal told(verdict const& v) {
    REQUIRE(v.kind == verdict_kind::rejected);
    auto const r = refusal_from(v.text);
    REQUIRE(r);
    CHECK(v.reason == code_of(r->kind));
    return *r;
}
bool applied(verdict const& v) { return v.kind == verdict_kind::applied; }

void furnish(office& o) {
    REQUIRE(applied(o.create(hall("h"), {{"name", "big"}})));
    REQUIRE(applied(o.create(event_of("e"), {{"hall", "h"}})));
    REQUIRE(applied(o.create(person("p"), {{"name", "Ann"}})));
}

/// What the house's constraints make of a change, said a second time and as simply as can be.
class naive_house {
public:
    using name = std::pair<std::string, std::string>;
    std::map<name, record_fields> records{};

    /// Whether the record may be so; if it may, it is.
    bool put(name const& n, record_fields const& f) {
        auto const was = records.find(n);
        record_fields const before = was == records.end() ? record_fields{} : was->second;
        auto const refers = [&](char const* collection, char const* field, char const* parent) {
            if (n.first != collection || !f.contains(field)) { return true; }
            if (before.contains(field) && before.at(field) == f.at(field)) { return true; }
            name const p{parent, f.at(field)};
            return p == n || records.contains(p);
        };
        bool const there = refers("bookings", "event", "events") && refers("bookings", "person", "people") &&
                           refers("events", "hall", "halls") && refers("halls", "within", "halls");
        if (!there) { return false; }
        for (auto const& [other, g] : records) {
            if (other == n || other.first != n.first) { continue; }
            if (n.first == "halls" && f.contains("name") && g.contains("name") && f.at("name") == g.at("name")) {
                return false;
            }
            auto const bound = [](record_fields const& r) {
                return r.contains("event") && r.contains("seat") &&
                       !(r.contains("state") && r.at("state") == "cancelled");
            };
            if (n.first == "bookings" && bound(f) && bound(g) && f.at("event") == g.at("event") &&
                f.at("seat") == g.at("seat")) {
                return false;
            }
        }
        records[n] = f;
        return true;
    }
    bool erase(name const& n) {
        std::set<name> gone{n};
        for (bool more = true; more;) {
            more = false;
            for (auto const& [other, g] : records) {
                bool const hall_gone =
                    (other.first == "events" && g.contains("hall") && gone.contains({"halls", g.at("hall")})) ||
                    (other.first == "halls" && g.contains("within") && gone.contains({"halls", g.at("within")}));
                if (hall_gone && gone.insert(other).second) { more = true; }
            }
        }
        for (auto const& [other, g] : records) {
            bool const needs = other.first == "bookings" && g.contains("event") &&
                               gone.contains({"events", g.at("event")}) && !gone.contains(other);
            if (needs) { return false; }
        }
        for (name const& g : gone) { records.erase(g); }
        for (auto& [other, g] : records) {
            if (other.first == "bookings" && g.contains("person") && gone.contains({"people", g.at("person")})) {
                g.erase("person");
            }
        }
        return true;
    }
};

}  // namespace

TEST_CASE("two devices take one seat: the second is told which constraint, and who has it", "[replica][constraints]") {
    office o;
    furnish(o);
    CHECK(applied(o.create(booking("b1"), {{"event", "e"}, {"seat", "12"}})));
    auto const second = o.create(booking("b2"), {{"event", "e"}, {"seat", "12"}});
    CHECK(told(second) == refusal{refusal_kind::taken, "one_a_seat", booking("b1")});
    CHECK(second.text == "one_a_seat: taken by bookings/b1");
    CHECK_FALSE(o.find(booking("b2")));
    // Another seat, and the same seat of another event, are free.
    CHECK(applied(o.create(booking("b2"), {{"event", "e"}, {"seat", "13"}})));
    CHECK(told(o.set(booking("b2"), "seat", "12")).other == booking("b1"));
    CHECK(applied(o.create(event_of("f"), {})));
    CHECK(applied(o.set(booking("b2"), "event", "f")));
    CHECK(applied(o.set(booking("b2"), "seat", "12")));
}

TEST_CASE("what is moved, unset, deleted or no longer bound frees its values", "[replica][constraints]") {
    office o;
    furnish(o);
    auto const take = [&](char const* id) { return o.create(booking(id), {{"event", "e"}, {"seat", "12"}}); };
    CHECK(applied(take("b1")));
    CHECK_FALSE(applied(take("b2")));
    CHECK(applied(o.set(booking("b1"), "seat", "14")));
    CHECK(applied(take("b2")));
    CHECK(applied(o.unset(booking("b2"), "seat")));
    CHECK(applied(take("b3")));
    CHECK(applied(o.set(booking("b3"), "state", "cancelled")));
    CHECK(applied(take("b4")));
    CHECK(told(o.set(booking("b3"), "state", "open")).other == booking("b4"));
    CHECK(applied(o.erase(booking("b4"))));
    CHECK(applied(o.set(booking("b3"), "state", "open")));
    CHECK(told(take("b4")).other == booking("b3"));
    CHECK(applied(o.erase(booking("b3"))));
    CHECK(applied(take("b4")));
    CHECK(applied(o.erase(booking("b4"))));
    CHECK(applied(take("b4")));
}

TEST_CASE("a merge that makes two records the same is refused whole", "[replica][constraints]") {
    office o;
    furnish(o);
    CHECK(applied(o.create(event_of("f"), {})));
    CHECK(applied(o.create(booking("b1"), {{"event", "f"}, {"seat", "2"}})));
    CHECK(applied(o.create(booking("b2"), {{"event", "e"}, {"seat", "1"}})));
    // Each of two edits that don't know of each other is harmless; both together are not.
    mutation const seat = o.change(change_kind::update, booking("b2"), {set_text("seat", "2")});
    CHECK(applied(o.set(booking("b2"), "event", "f")));
    CHECK(told(o.decide(seat)).other == booking("b1"));
    CHECK(decoded(o.find(booking("b2"))->fields) == record_fields{{"event", "f"}, {"seat", "1"}});
}

TEST_CASE("who holds the values is told only where the constraint says so", "[replica][constraints]") {
    constraint_table t = house();
    t.uniques[1].tells_holder = false;
    office o{t};
    furnish(o);
    auto const v = o.create(hall("x"), {{"name", "big"}});
    CHECK(told(v) == refusal{refusal_kind::taken, "hall_name", std::nullopt});
    CHECK(v.text == "hall_name: taken by");
}

TEST_CASE("a reference to nothing is refused, a reference to itself is not", "[replica][constraints]") {
    office o;
    furnish(o);
    CHECK(told(o.create(booking("b"), {{"event", "none"}})) ==
          refusal{refusal_kind::missing, "booking_event", event_of("none")});
    CHECK(applied(o.create(booking("b"), {})));
    CHECK(applied(o.set(booking("b"), "event", "e")));
    CHECK_FALSE(applied(o.set(booking("b"), "person", "q")));
    CHECK(applied(o.create(hall("ring"), {{"within", "ring"}})));
    CHECK(applied(o.erase(hall("ring"))));
    // A value that can't be an id.
    auto const v = o.decide(o.change(change_kind::update, booking("b"), {world::set("person", 7)}));
    CHECK(v.kind == verdict_kind::rejected);
    CHECK(v.reason == errc::type_mismatch);
}

TEST_CASE("deleting a parent refuses, cascades and orphans as declared", "[replica][constraints]") {
    office o;
    furnish(o);
    REQUIRE(applied(o.create(hall("annex"), {{"within", "h"}})));
    REQUIRE(applied(o.create(event_of("f"), {{"hall", "annex"}})));
    REQUIRE(applied(o.create(booking("b"), {{"event", "f"}, {"seat", "1"}, {"person", "p"}})));
    CHECK(told(o.erase(hall("h"))) == refusal{refusal_kind::needed, "booking_event", booking("b")});
    CHECK(o.all().size() == 6);
    CHECK(applied(o.erase(person("p"))));
    CHECK(decoded(o.find(booking("b"))->fields) == record_fields{{"event", "f"}, {"seat", "1"}});
    CHECK(applied(o.erase(booking("b"))));
    position const parents_last = o.erase(hall("h")).version;
    CHECK(o.all().empty());
    CHECK(o.index().empty());
    // Children have gone before their parents, whatever position a page ends at.
    CHECK(o.find(hall("h"))->version == parents_last);
    CHECK(o.find(hall("annex"))->version < parents_last);
    CHECK(o.find(event_of("f"))->version < o.find(hall("annex"))->version);
    CHECK(o.find(event_of("e"))->version < parents_last);
}

TEST_CASE("a deletion reaches so far and no further", "[replica][constraints]") {
    for (std::size_t children : {std::size_t{5}, std::size_t{6}}) {
        constraint_table t = house();
        t.reach_max = 5;
        office o{t};
        furnish(o);
        REQUIRE(applied(o.erase(event_of("e"))));
        for (std::size_t i = 0; i < children; ++i) {
            REQUIRE(applied(o.create(event_of(std::to_string(i)), {{"hall", "h"}})));
        }
        auto const v = o.erase(hall("h"));
        CHECK(applied(v) == (children <= t.reach_max));
        if (!applied(v)) { CHECK(told(v) == refusal{refusal_kind::reach, "event_hall", std::nullopt}); }
        CHECK(o.all().size() == (children <= t.reach_max ? 1 : children + 2));
    }
    // Many that hold it back are told as that, not as too many.
    constraint_table t = house();
    t.reach_max = 3;
    office o{t};
    furnish(o);
    for (int i = 0; i < 10; ++i) { REQUIRE(applied(o.create(booking(std::to_string(i)), {{"event", "e"}}))); }
    CHECK(told(o.erase(event_of("e"))).kind == refusal_kind::needed);
}

TEST_CASE("an edit that would bring a child back to a deleted parent is refused", "[replica][constraints]") {
    rule_table rules;
    collection_rules events{"events"};
    events.deletes = deletion::loses;
    rules.add(events);
    office o{house(), rules};
    furnish(o);
    mutation const edit = o.change(change_kind::update, event_of("e"), {set_text("title", "ball")});
    // By another device: the deletion is somebody else's.
    o.who.incarnation = 2;
    std::uint64_t const mine = std::exchange(o.sequence, 0);
    CHECK(applied(o.erase(hall("h"))));
    o.who.incarnation = 1;
    o.sequence = mine;
    CHECK(told(o.decide(edit)) == refusal{refusal_kind::missing, "event_hall", hall("h")});
    CHECK(o.find(event_of("e"))->deleted);
}

TEST_CASE("constraints against a naive model", "[replica][constraints]") {
    std::size_t taken_along = 0;
    for (std::uint64_t seed = 1; seed <= rounds(40U); ++seed) {
        syncline::random_generator random{seed};
        office o;
        naive_house model;
        std::size_t refused = 0;
        std::array<std::string, 4> const collections{"bookings", "events", "halls", "people"};
        auto const pick = [&](std::uint64_t n) { return static_cast<std::size_t>(random() % n); };
        for (int i = 0; i < 150; ++i) {
            std::string const collection = collections[pick(4)];
            record_key const k{collection, std::to_string(pick(5))};
            naive_house::name const n{collection, std::string{k.id_text()}};
            bool const there = model.records.contains(n);
            std::array<std::string, 4> const names =
                collection == "bookings" ? std::array<std::string, 4>{"event", "seat", "person", "state"}
                : collection == "events" ? std::array<std::string, 4>{"hall", "hall", "title", "title"}
                                         : std::array<std::string, 4>{"name", "within", "name", "within"};
            auto const text = [&](std::string const& field) {
                if (field == "state") { return std::string{pick(2) == 0 ? "cancelled" : "open"}; }
                return std::to_string(pick(5));
            };
            record_fields next = there ? model.records[n] : record_fields{};
            bool expected = false;
            std::size_t const before = model.records.size();
            verdict v;
            if (there && pick(4) == 0) {
                expected = model.erase(n);
                v = o.erase(k);
                taken_along += before > model.records.size() + 1 ? 1 : 0;
            } else if (there) {
                std::string const field = names[pick(4)];
                bool const drops = pick(5) == 0;
                std::string const to = text(field);
                if (drops) {
                    next.erase(field);
                } else {
                    next[field] = to;
                }
                expected = model.put(n, next);
                v = drops ? o.unset(k, field) : o.set(k, field, to);
            } else {
                for (std::string const& field : names) {
                    if (pick(2) == 0) { next[field] = text(field); }
                }
                expected = model.put(n, next);
                v = o.create(k, next);
            }
            INFO("seed " << seed << ", step " << i << ": " << collection << '/' << k.id_text() << ' ' << v.text);
            REQUIRE(applied(v) == expected);
            refused += expected ? 0 : 1;
            REQUIRE(o.all() == model.records);
        }
        CHECK(refused > 10);
        // The index that grew is the one that is built from the rows.
        auto const grown = o.index();
        o.table.version = 2;
        authority<> const later{{}, o.options()};
        {
            auto tx = o.store.begin(access_mode::write);
            for (bool more = true; more;) {
                auto const r =
                    later.build_constraints(*tx, 3, [](record_key const&, refusal const&) { FAIL("broken"); });
                REQUIRE(r);
                more = r->more;
            }
            REQUIRE(tx->commit());
        }
        CHECK(o.index() == grown);
    }
    CHECK(taken_along > (sanitized ? 0U : rounds(40U)));
}

TEST_CASE("rows that were there before their constraints are indexed first", "[replica][constraints]") {
    office o;
    furnish(o);
    REQUIRE(applied(o.create(booking("b1"), {{"event", "e"}, {"seat", "12"}})));
    // An authority that has no constraints decides in the same store.
    authority<> const free_hand{};
    mutation twin = o.change(change_kind::create, booking("b2"), {set_text("seat", "12"), set_text("event", "e")});
    REQUIRE(serve(o.store, free_hand, "anna", o.request_for(twin), o.time.now));
    ++o.sequence;
    twin.record = booking("b3");
    twin.ops[1] = set_text("event", "nowhere");
    REQUIRE(serve(o.store, free_hand, "anna", o.request_for(twin), o.time.now));
    ++o.sequence;
    // That is noticed, and nothing is decided until the index is one of these rows.
    mutation const other = o.change(change_kind::create, booking("b4"), {set_text("seat", "1")});
    auto const refused = serve(o.store, o.self, "anna", o.request_for(other), o.time.now);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::busy);

    auto const done = o.build(2);
    CHECK(done.rows == 6);
    CHECK(done.calls > 3);
    CHECK(done.broken ==
          std::vector<std::string>{"b2 one_a_seat: taken by bookings/b1", "b3 booking_event: needs events/nowhere"});
    CHECK(o.build(2).rows == 0);
    CHECK(applied(o.create(booking("b4"), {{"seat", "1"}})));
    // What is broken stays editable, and is mended.
    CHECK(applied(o.set(booking("b3"), "person", "p")));
    CHECK(applied(o.set(booking("b2"), "person", "p")));
    CHECK(told(o.create(booking("b5"), {{"event", "e"}, {"seat", "12"}})).other == booking("b1"));
    CHECK(applied(o.set(booking("b2"), "seat", "13")));
    CHECK(told(o.create(booking("b5"), {{"event", "e"}, {"seat", "12"}})).other == booking("b1"));
}

TEST_CASE("a new schema version asks for the index anew, and older programs are held to it", "[replica][constraints]") {
    schema_table schemas;
    constraint_table table;
    table.uniques = {{"one_a_seat", "bookings", {"place"}}};
    office o{constraint_table{}};
    REQUIRE(applied(o.create(booking("1"), {{"seat", "12"}})));
    REQUIRE(applied(o.create(booking("2"), {{"seat", "13"}})));
    schemas.collection("bookings").next({schema_step::rename("seat", "place")});
    authority_options options;
    options.schemas = &schemas;
    options.constraints = &table;
    authority<> const later{{}, options};
    auto const decide = [&](mutation const& m) {
        auto const answer = serve(o.store, later, "anna", o.request_for(m), o.time.now);
        if (!answer) { return result<verdict>{answer.error()}; }
        auto const p = decode_reply(*answer, {});
        REQUIRE(p);
        ++o.sequence;
        return result<verdict>{p->verdicts[0]};
    };
    // Last year's program writes the old name.
    mutation const third = o.change(change_kind::create, booking("3"), {set_text("seat", "12")});
    CHECK(decide(third).error().code == errc::busy);
    {
        auto tx = o.store.begin(access_mode::write);
        for (bool more = true; more;) {
            auto const r = later.build_constraints(*tx, 1, [](record_key const&, refusal const&) { FAIL("broken"); });
            REQUIRE(r);
            more = r->more;
        }
        REQUIRE(tx->commit());
    }
    CHECK(told(*decide(third)).other == booking("1"));
    // A row that is stored as of the first version lets go of its value, and gets it back.
    CHECK(applied(*decide(o.change(change_kind::update, booking("1"), {set_text("seat", "14")}))));
    CHECK(applied(*decide(o.change(change_kind::create, booking("3"), {set_text("seat", "12")}))));
    CHECK(told(*decide(o.change(change_kind::update, booking("2"), {set_text("seat", "14")}))).other == booking("1"));
    CHECK(applied(*decide(o.change(change_kind::erase, booking("2"), {}))));
    CHECK(applied(*decide(o.change(change_kind::create, booking("4"), {set_text("seat", "13")}))));
}

TEST_CASE("devices that write offline agree in the end, and no constraint is broken", "[replica][constraints]") {
    constraint_table const table = house();
    authority_options options;
    options.constraints = &table;
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        syncline::random_generator random{seed};
        auto const pick = [&](std::uint64_t n) { return static_cast<std::size_t>(random() % n); };
        world::virtual_clock time;
        world::cloud home{time.now};
        authority<> const strict{rule_table{}, options};
        replica_options own;
        own.constraints = seed % 2 == 0 ? &table : nullptr;
        world::device a{seed * 10, own};
        world::device b{seed * 10 + 2, own};
        world::device c{seed * 10 + 4, own};
        std::array<world::device*, 3> const all{&a, &b, &c};
        for (world::device* d : all) { REQUIRE(world::open(*d, time.now)); }
        std::size_t refused = 0;
        auto const exchange = [&](world::device& d) {
            bytes const q = world::request_of(d, time.now);
            auto const answer = serve(home.store, strict, "anna", q, time.now);
            REQUIRE(answer);
            auto const p = decode_reply(*answer, {});
            REQUIRE(p);
            for (verdict const& v : p->verdicts) { refused += refusal_from(v.text) && !v.again ? 1 : 0; }
            if (pick(4) == 0) { return true; }  // the reply is lost
            auto const report = world::absorb(d, *answer, time.now);
            REQUIRE(report);
            return report->more;
        };
        for (int i = 0; i < 300; ++i) {
            time.pass(10);
            world::device& d = *all[pick(3)];
            if (pick(4) == 0) {
                (void)exchange(d);
                continue;
            }
            std::array<std::string, 4> const collections{"bookings", "events", "halls", "people"};
            record_key const k{collections[pick(4)], std::to_string(pick(4))};
            record_fields f;
            auto const maybe = [&](char const* name) {
                if (pick(2) == 0) { f[name] = std::to_string(pick(4)); }
            };
            if (k.collection == "bookings") {
                maybe("event");
                maybe("seat");
                maybe("person");
            } else if (k.collection == "events") {
                maybe("hall");
            } else {
                maybe("name");
                maybe("within");
            }
            // What fails here (a reference that the device knows to be dangling) is the device's to refuse.
            (void)d.write([&](auto& tx) {
                if (pick(5) == 0) { return d.self.erase(tx, k, time.now); }
                return d.self.put(tx, k, encoded(f), time.now);
            });
        }
        for (world::device* d : {&a, &b, &c, &a, &b, &c}) {
            for (int i = 0; i < 100 && exchange(*d); ++i) { time.pass(10); }
        }
        for (int i = 0; i < 20; ++i) {
            for (world::device* d : all) { (void)exchange(*d); }
        }
        CHECK(refused > 5);
        std::map<naive_house::name, record_fields> confirmed;
        for (char const* collection : {"bookings", "events", "halls", "people"}) {
            auto const rows = world::confirmed(home, collection);
            for (world::device* d : all) { CHECK(world::visible(*d, collection) == rows); }
            for (auto const& [id, fields] : rows) { confirmed[{collection, id}] = decoded(fields); }
        }
        std::set<std::string> names;
        std::set<std::pair<std::string, std::string>> seats;
        for (auto const& [name, fields] : confirmed) {
            if (name.first == "halls" && fields.contains("name")) { CHECK(names.insert(fields.at("name")).second); }
            if (name.first == "bookings" && fields.contains("event") && fields.contains("seat")) {
                CHECK(seats.insert({fields.at("event"), fields.at("seat")}).second);
            }
        }
        // Everything that is there could be put there anew, one after the other, in an order that has parents first.
        naive_house model;
        for (std::size_t left = confirmed.size() + 1; left > confirmed.size();) {
            left = confirmed.size();
            std::erase_if(confirmed, [&](auto const& one) { return model.put(one.first, one.second); });
            if (confirmed.size() < left) { left = confirmed.size() + 1; }
        }
        // What is left refers in a circle: halls within each other.
        for (auto const& [name, fields] : confirmed) {
            INFO(name.first << '/' << name.second);
            CHECK((name.first == "halls" || name.first == "events" || name.first == "bookings"));
            for (auto const& [field, parent] : std::map<std::string, std::string>{
                     {"within", "halls"}, {"hall", "halls"}, {"event", "events"}, {"person", "people"}}) {
                if (!fields.contains(field) || (field == "within" && name.first != "halls")) { continue; }
                naive_house::name const p{parent, fields.at(field)};
                CHECK((confirmed.contains(p) || model.records.contains(p)));
            }
        }
    }
}

TEST_CASE("a device hears why, and what it wrote waits among its dead letters", "[replica][constraints]") {
    constraint_table const table = house();
    authority_options options;
    options.constraints = &table;
    world::virtual_clock time;
    world::cloud home{time.now};
    authority<> const strict{world::rules(), options};
    world::device anna{1};
    world::device ben{2};
    REQUIRE(world::open(anna, time.now));
    REQUIRE(world::open(ben, time.now));
    std::uint64_t token = 0;
    for (world::device* d : {&anna, &ben}) {
        auto const wrote = d->write([&](auto& tx) {
            return d->self.create(tx, hall(d == &anna ? "a" : "b"), encoded({{"name", "big"}}), time.now);
        });
        REQUIRE(wrote);
        token = wrote->token;
    }
    std::optional<verdict> said;
    for (world::device* d : {&anna, &ben, &anna}) {
        auto const reply = serve(home.store, strict, "anna", world::request_of(*d, time.now), time.now);
        REQUIRE(reply);
        REQUIRE(world::absorb(*d, *reply, time.now));
        (void)d->read([&](auto& tx) {
            return d->self.events(tx, 0, [&](std::uint64_t, event const& e) {
                if (e.kind == event_kind::decided && d == &ben) { said = e.said; }
                return true;
            });
        });
    }
    REQUIRE(said);
    CHECK(told(*said) == refusal{refusal_kind::taken, "hall_name", hall("a")});
    CHECK(world::visible(ben, "halls") == world::visible(anna, "halls"));
    CHECK(world::visible(ben, "halls").size() == 1);
    bool kept = false;
    (void)ben.read([&](auto& tx) {
        return ben.self.queue().scan_dead(tx, [&](outbox_entry const& e) {
            kept = kept || e.token == token;
            return true;
        });
    });
    CHECK(kept);
}

TEST_CASE("a cascade is whole wherever the storage fails", "[replica][constraints]") {
    constraint_table const table = house();
    authority_options options;
    options.constraints = &table;
    authority<> const self{{}, options};
    auto const request_number = [](std::uint64_t sequence, mutation m) {
        request q;
        q.replica = {id128{{std::byte{9}}}, 1};
        m.sequence = sequence;
        m.stamp = timestamp{sequence << 16U};
        for (field_op& op : m.ops) { op.stamp = m.stamp; }
        bytes raw;
        cbor_writer w{raw};
        encode_mutation(w, m);
        q.mutations.push_back(raw);
        return encode(q);
    };
    instant const now = world::virtual_clock{}.now;
    auto const make = [&](testing::failing_storage& store) {
        syncline::random_generator random{3};
        auto tx = store.begin(access_mode::write);
        REQUIRE(self.open(*tx, now, random));
        mutation m;
        m.kind = change_kind::create;
        m.record = hall("h");
        REQUIRE(self.handle(*tx, "anna", request_number(1, m), now));
        m.record = event_of("e");
        m.ops = {set_text("hall", "h")};
        REQUIRE(self.handle(*tx, "anna", request_number(2, m), now));
        m.record = hall("i");
        m.ops = {set_text("within", "h")};
        REQUIRE(self.handle(*tx, "anna", request_number(3, m), now));
        REQUIRE(tx->commit());
    };
    auto const operate = [&](testing::failing_storage& store) {
        mutation m;
        m.kind = change_kind::erase;
        m.record = hall("h");
        m.base = 1;
        return serve(store, self, "anna", request_number(4, m), now);
    };
    testing::nth_failure_options again;
    again.repeatable = true;
    auto const report = testing::nth_failure(make, operate, again);
    for (testing::violation const& v : report.violations) { FAIL_CHECK(v.axiom << ": " << v.what); }
    CHECK(report.runs > 50);
}

TEST_CASE("a refusal survives its way through text", "[replica][constraints]") {
    syncline::random_generator random{5};
    for (int i = 0; i < 2'000; ++i) {
        refusal r;
        r.kind = static_cast<refusal_kind>(random() % 4);
        r.constraint = "c_" + std::to_string(random() % 100);
        if (random() % 3 != 0) {
            bytes id;
            for (std::uint64_t n = random() % 5 + 1; n != 0; --n) {
                id.push_back(static_cast<std::byte>(random() & 255U));
            }
            r.other = record_key{random() % 2 == 0 ? "pl\xC3\xA4tze/a b" : "seats", id};
        }
        std::string const text = to_text(r);
        CHECK(valid_utf8(text));
        CHECK(refusal_from(text) == r);
        // Whatever else stands there is no refusal, or one that says itself so.
        std::string bent = text;
        bent[random() % bent.size()] = static_cast<char>(random() & 127U);
        if (auto const other = refusal_from(bent)) { CHECK(refusal_from(to_text(*other)) == other); }
    }
    for (char const* other :
         {"", ": ", "the house holds 200", "a: b", "a: taken by x", "a: taken by x/", "a b: needs x/y",
          "a: taken by x/%", "a: taken by x/%G0", "a: taken by /y", "a: needs x/y z"}) {
        CHECK_FALSE(refusal_from(other));
    }
}

TEST_CASE("an id made of a natural key is the same on every device", "[replica][constraints]") {
    std::array<std::string_view, 2> const key{"event", "seat"};
    bytes const a = natural_id(encoded({{"event", "e"}, {"seat", "12"}, {"guest", "Ann"}}), key);
    CHECK(a.size() == 16);
    CHECK(a == natural_id(encoded({{"event", "e"}, {"seat", "12"}, {"guest", "Ben"}}), key));
    CHECK_FALSE(a == natural_id(encoded({{"event", "e"}, {"seat", "13"}}), key));
    CHECK_FALSE(a == natural_id(encoded({{"event", "12"}, {"seat", "e"}}), key));
    CHECK(natural_id(encoded({{"event", "e"}}), key).empty());
    CHECK(natural_id({}, key).empty());
}

TEST_CASE("tables that can't be kept", "[replica][constraints]") {
    CHECK(valid(house()));
    CHECK(valid(constraint_table{}));
    auto const spoiled = [](auto spoil) {
        constraint_table t = house();
        spoil(t);
        return !valid(t);
    };
    CHECK(spoiled([](auto& t) { t.uniques[0].name = ""; }));
    CHECK(spoiled([](auto& t) { t.uniques[0].name = "a b"; }));
    CHECK(spoiled([](auto& t) { t.uniques[0].name = "part_of"; }));
    CHECK(spoiled([](auto& t) { t.uniques[0].fields.clear(); }));
    CHECK(spoiled([](auto& t) { t.uniques[0].fields = {"seat", "seat"}; }));
    CHECK(spoiled([](auto& t) { t.references[0].collection.clear(); }));
    CHECK(spoiled([](auto& t) { t.references[0].field.clear(); }));
    CHECK(spoiled([](auto& t) { t.references[0].parent.clear(); }));
    // An authority with such a table decides nothing.
    office o;
    o.table.uniques[0].fields.clear();
    authority<> const bad{{}, o.options()};
    mutation const any = o.change(change_kind::create, hall("h"), {});
    auto const refused = serve(o.store, bad, "anna", o.request_for(any), o.time.now);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::invalid);
}
