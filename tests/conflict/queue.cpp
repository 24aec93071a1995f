// SPDX-License-Identifier: BSL-1.0

/// The queue: its calls by example, every storage call failing, damaged stores. Random lives are in
/// testing/conflict_simulator.cpp.

#include <syncline/conflict/queue.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/core/value.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

bytes fields(std::initializer_list<value_entry> entries) { return to_bytes(value::map(entries)->encoded()); }
bytes item(value const& v) { return to_bytes(v.encoded()); }
wall_time at(std::int64_t ms) { return wall_time{milliseconds{ms}}; }

collection_rules const rules{"bookings", rule::last_writer, {{"table", rule::manual}, {"status", rule::manual}}};
conflict_queue const queue;

conflict clash(std::string_view id, std::uint64_t sequence = 1) {
    conflict c;
    c.record = {"bookings", id};
    c.local.sequence = sequence;
    c.local.stamp = timestamp{100 + sequence};
    c.local.record = c.record;
    c.local.base = 4;
    c.local.ops = {{"note", op_kind::set, item("window"), c.local.stamp},
                   {"table", op_kind::set, item("garden"), c.local.stamp}};
    c.base = fields({{"note", "none"}, {"table", "hall"}});
    c.remote.emplace();
    c.remote->version = 9;
    c.remote->floor = {3, timestamp{10}, 2};
    c.remote->exceptions = {{"table", {9, timestamp{200}, 2}}};
    c.remote->fields = fields({{"note", "none"}, {"table", "terrace"}});
    c.fields.push_back({{"table"}, rule::manual, "", 0, 0, {}});
    c.local_by = {to_bytes("ann"), c.local.stamp, 1};
    c.remote_by = {to_bytes("ben"), timestamp{200}, 2};
    return c;
}
decision_maker ann(std::int64_t ms, std::uint64_t stamp) {
    return {as_bytes("ann"), timestamp{stamp}, at(ms), 1, false};
}

/// Runs `f` in a transaction of its own and commits.
template <class S, class F>
auto in(S& store, F&& f) {
    auto tx = store.begin(access_mode::write);
    REQUIRE(tx);
    auto out = f(*tx);
    REQUIRE(tx->commit());
    return out;
}
std::vector<std::uint64_t> ids(memory_storage& store, conflict_query const& q) {
    return in(store, [&](auto& tx) {
        std::vector<std::uint64_t> out;
        REQUIRE(queue.list(tx, q, [&](conflict const& c) {
            out.push_back(c.id);
            return true;
        }));
        return out;
    });
}

}  // namespace

TEST_CASE("raised, previewed, decided, undone and done again, with all of it in the history") {
    memory_storage store;
    auto const id = in(store, [&](auto& tx) { return queue.raise(tx, clash("b1"), at(1000)); });
    REQUIRE(id);
    CHECK(*id == 1);
    auto const how = resolution::use_local();
    auto const shown = in(store, [&](auto& tx) { return queue.preview(tx, *id, how, rules, ann(2000, 300)); });
    auto const done = in(store, [&](auto& tx) { return queue.resolve(tx, *id, 1, how, rules, ann(2000, 300)); });
    REQUIRE((shown && done));
    CHECK(*shown == *done);
    CHECK(done->after->fields == fields({{"note", "window"}, {"table", "garden"}}));
    CHECK(in(store, [&](auto& tx) { return *queue.counts(tx); }) == conflict_counts{0, 1});

    row now = *done->after;
    now.version = 10;
    auto const back = in(store, [&](auto& tx) { return queue.undo(tx, *id, now, rules, ann(3000, 400)); });
    REQUIRE(back);
    CHECK(back->after->fields == clash("b1").remote->fields);
    auto const again = in(store, [&](auto& tx) { return queue.redo(tx, *id, 2, rules, ann(4000, 500)); });
    REQUIRE(again);
    CHECK(again->after->fields == done->after->fields);

    auto const history = in(store, [&](auto& tx) { return queue.history(tx, *id); });
    REQUIRE(history);
    std::vector<conflict_event> what;
    for (conflict_entry const& e : *history) { what.push_back(e.what); }
    CHECK(what ==
          std::vector{conflict_event::opened, conflict_event::decided, conflict_event::undone, conflict_event::redone});
    CHECK((*history)[1].change == done->change);
    CHECK(as_text((*history)[1].by) == "ann");
    CHECK(in(store, [&](auto& tx) { return static_cast<bool>(queue.verify(tx)); }));
}

TEST_CASE("a decision that a guard refuses leaves the conflict open; one that it repairs is undone and done again") {
    static bool strict = true;
    merge_host host;
    host.guards = {{"garden",
                    {"table"},
                    [](guard_input const& g, void const*) {
                        auto const table = g.new_value("table");
                        if (!table || !equal(*table, item("garden"))) { return guard_answer{}; }
                        return strict ? guard_answer{guard_answer::kind::veto, {}}
                                      : guard_answer{guard_answer::kind::repair,
                                                     {{"table", op_kind::set, item("garden, heated"), {}}}};
                    },
                    nullptr}};
    auto const by = [&](std::int64_t ms, std::uint64_t stamp) {
        decision_maker who = ann(ms, stamp);
        who.host = &host;
        return who;
    };
    memory_storage store;
    auto const id = in(store, [&](auto& tx) { return *queue.raise(tx, clash("b1"), at(1000)); });
    auto const how = resolution::use_local();
    auto const shown = in(store, [&](auto& tx) { return queue.preview(tx, id, how, rules, by(2000, 300)); });
    auto const done = in(store, [&](auto& tx) { return queue.resolve(tx, id, 1, how, rules, by(2000, 300)); });
    CHECK(shown.error() == errc::forbidden);
    CHECK(done.error() == errc::forbidden);
    auto const batch = in(store, [&](auto& tx) {
        return queue.resolve_all(
            tx, {}, [&](conflict const&) { return std::optional{how}; }, rules, by(2000, 300));
    });
    REQUIRE(batch);
    CHECK(in(store, [&](auto& tx) { return *queue.counts(tx); }) == conflict_counts{1, 0});
    CHECK(in(store, [&](auto& tx) { return *queue.find(tx, id); }).remote == clash("b1").remote);

    strict = false;
    auto const decided = in(store, [&](auto& tx) { return queue.resolve(tx, id, 1, how, rules, by(2000, 300)); });
    REQUIRE(decided);
    CHECK(value_view{decided->after->fields}.find("table") == value_view{item("garden, heated")});
    row now = *decided->after;
    now.version = 10;
    // While the guard is strict, the row holds what a guard made, and nobody can say so any more.
    strict = true;
    auto const held = in(store, [&](auto& tx) { return queue.undo(tx, id, now, rules, by(3000, 400)); });
    CHECK(held.error() == errc::contended);
    strict = false;
    auto const back = in(store, [&](auto& tx) { return queue.undo(tx, id, now, rules, by(3000, 400)); });
    REQUIRE(back);
    CHECK(back->after->fields == clash("b1").remote->fields);
    auto const again = in(store, [&](auto& tx) { return queue.redo(tx, id, 2, rules, by(4000, 500)); });
    REQUIRE(again);
    CHECK(again->after->fields == decided->after->fields);
    // What was done again says itself what the guard had made of it.
    strict = true;
    REQUIRE(in(store, [&](auto& tx) { return queue.undo(tx, id, now, rules, by(5000, 600)); }));
    now.version = 12;
    now.fields = fields({{"note", "cake"}, {"table", "terrace"}});
    REQUIRE(in(store, [&](auto& tx) {
        return queue.remote_changed(tx, {"bookings", "b1"}, now, {}, rules, at(5500));
    }));
    CHECK(in(store, [&](auto& tx) { return queue.redo(tx, id, 4, rules, by(6000, 700)); }).error() == errc::forbidden);
    CHECK(in(store, [&](auto& tx) { return *queue.counts(tx); }) == conflict_counts{1, 0});
    CHECK(in(store, [&](auto& tx) { return static_cast<bool>(queue.verify(tx)); }));
}

TEST_CASE("a new remote updates an open conflict and never loses it") {
    memory_storage store;
    auto const id = *in(store, [&](auto& tx) { return queue.raise(tx, clash("b1"), at(1000)); });
    row later = *clash("b1").remote;
    later.version = 11;
    later.fields = fields({{"note", "cake"}, {"table", "bar"}});
    later.exceptions = {{"note", {10, timestamp{250}, 2}}, {"table", {11, timestamp{260}, 2}}};
    collection_rules strict = rules;
    strict.fields.push_back({"note", rule::manual});
    conflict_writer const carl{to_bytes("carl"), timestamp{260}, 3};
    auto const n = in(store, [&](auto& tx) {
        return queue.remote_changed(tx, {"bookings", "b1"}, later, carl, strict, at(1500));
    });
    CHECK(*n == 1);
    auto const c = *in(store, [&](auto& tx) { return queue.find(tx, id); });
    CHECK(c.remote == later);
    CHECK(c.revision == 2);
    CHECK(c.fields.size() == 2);  // the note is contested now too
    CHECK(c.remote_by == carl);
    // Who decides what they have not seen is told so.
    auto const old =
        in(store, [&](auto& tx) { return queue.resolve(tx, id, 1, resolution::use_local(), rules, ann(2000, 300)); });
    CHECK(old.error() == errc::contended);
    auto const history = in(store, [&](auto& tx) { return queue.history(tx, id); });
    CHECK((*history)[1].remote == clash("b1").remote);
    // The same row, or an older one, told again is no news; nor is the mutation.
    CHECK(*in(store, [&](auto& tx) {
        return queue.remote_changed(tx, {"bookings", "b1"}, later, carl, strict, at(1600));
    }) == 0);
    CHECK(*in(store, [&](auto& tx) { return queue.raise(tx, clash("b1"), at(1700)); }) == id);
    CHECK(in(store, [&](auto& tx) { return queue.find(tx, id); })->remote == later);
}

TEST_CASE("lists by record, age and collection, page by page") {
    memory_storage store;
    for (std::uint64_t n = 1; n <= 6; ++n) {
        conflict c = clash(n % 2 == 0 ? "b" : "bb", n);
        if (n == 5) { c.record.collection = c.local.record.collection = "book"; }
        CHECK(*in(store, [&](auto& tx) { return queue.raise(tx, c, at(static_cast<std::int64_t>(n) * 1000)); }) == n);
    }
    using list = std::vector<std::uint64_t>;
    record_key const b{"bookings", "b"};
    CHECK(ids(store, {}) == list{1, 2, 3, 4, 5, 6});
    CHECK(ids(store, {.collection = "bookings"}) == list{1, 2, 3, 4, 6});
    CHECK(ids(store, {.collection = "book"}) == list{5});
    CHECK(ids(store, {.record = &b}) == list{2, 4, 6});
    CHECK(ids(store, {.opened_from = at(2000), .opened_before = at(5000)}) == list{2, 3, 4});
    CHECK(ids(store, {.after = 2, .count_max = 2}) == list{3, 4});
    auto const batch = in(store, [&](auto& tx) {
        return queue.resolve_all(
            tx, {.collection = "bookings"},
            [](conflict const& c) { return c.id == 3 ? std::nullopt : std::optional{resolution::use_remote()}; }, rules,
            ann(7000, 300));
    });
    REQUIRE(batch);
    CHECK(batch->done.size() == 4);
    CHECK(batch->left.empty());
    CHECK(ids(store, {}) == list{3, 5});
    CHECK(ids(store, {.state = conflict_state::decided, .collection = "bookings"}) == list{1, 2, 4, 6});
    CHECK(ids(store, {.state = {}, .record = &b}) == list{2, 4, 6});
    CHECK(*in(store, [&](auto& tx) { return queue.forget(tx, at(8000), 3); }) == 3);
    CHECK(ids(store, {.state = conflict_state::decided}) == list{6});
    CHECK(in(store, [&](auto& tx) { return static_cast<bool>(queue.verify(tx)); }));
}

TEST_CASE("a row with many marks inside of one field is taken in, and a new one too") {
    memory_storage store;
    collection_rules const with_tags{
        "bookings", rule::last_writer, {{"table", rule::manual}, {"tags", rule::add_wins}}};
    conflict c = clash("b1");
    auto const tagged = [](std::initializer_list<value> tags) {
        return fields({{"note", "none"}, {"table", "terrace"}, {"tags", *value::array(tags)}});
    };
    auto const set = [&](row& r, bytes const& to, std::uint64_t stamp) {
        mutation m;
        m.record = c.record;
        m.base = r.version;
        m.stamp = timestamp{stamp};
        m.ops = *diff(r.fields, to, with_tags, m.stamp);
        std::optional<row> after = r;
        apply_context as;
        as.author = 2;
        as.at = r.version + 1;
        REQUIRE(apply(after, m, with_tags, as).changed);
        r = *after;
    };
    c.remote->fields = tagged({});
    set(*c.remote, tagged({"a", "b"}), 210);
    REQUIRE(std::count_if(c.remote->exceptions.begin(), c.remote->exceptions.end(),
                          [](field_mark const& m) { return m.field == "tags"; }) > 1);
    auto const id = in(store, [&](auto& tx) { return queue.raise(tx, c, at(1000)); });
    REQUIRE(id);
    CHECK(in(store, [&](auto& tx) { return queue.find(tx, *id); })->remote == c.remote);
    row later = *c.remote;
    set(later, tagged({"a", "b", "c"}), 220);
    auto const n =
        in(store, [&](auto& tx) { return queue.remote_changed(tx, c.record, later, {}, with_tags, at(2000)); });
    REQUIRE(n);
    CHECK(*n == 1);
    CHECK(in(store, [&](auto& tx) { return queue.find(tx, *id); })->remote == later);
    auto const done = in(
        store, [&](auto& tx) { return queue.resolve(tx, *id, 2, resolution::use_local(), with_tags, ann(3000, 300)); });
    REQUIRE(done);
    CHECK(done->after->fields ==
          fields({{"note", "window"}, {"table", "garden"}, {"tags", *value::array({"a", "b", "c"})}}));
    CHECK(in(store, [&](auto& tx) { return static_cast<bool>(queue.verify(tx)); }));
    // Two marks of one place are still none.
    c.remote->exceptions.push_back(c.remote->exceptions.back());
    CHECK(in(store, [&](auto& tx) { return queue.raise(tx, c, at(1)); }).error() == errc::invalid);
}

TEST_CASE("two persons' mutations of one stamp and number are two conflicts") {
    memory_storage store;
    conflict bens = clash("b1");
    bens.local_by.writer = to_bytes("ben");
    in(store, [&](auto& tx) {
        CHECK(*queue.raise(tx, clash("b1"), at(1)) == 1);
        CHECK(*queue.raise(tx, bens, at(1)) == 2);
        CHECK(*queue.raise(tx, bens, at(2)) == 2);
        // Told without a writer, it is the same where all of it is.
        conflict nobodys = clash("b1");
        nobodys.local_by.writer.clear();
        CHECK(*queue.raise(tx, nobodys, at(3)) == 1);
        nobodys.local.ops[1].value = item("bar");
        CHECK(*queue.raise(tx, nobodys, at(3)) == 3);
        return 0;
    });
}

TEST_CASE("what a deletion leaves nothing of comes back whole") {
    memory_storage store;
    conflict c = clash("b1");
    c.remote->fields = fields({{"client", "Dahl"}, {"note", "none"}, {"table", "terrace"}});
    auto const id = *in(store, [&](auto& tx) { return queue.raise(tx, c, at(1000)); });
    row gone;
    gone.version = 12;
    gone.deleted = true;
    gone.floor = {12, timestamp{400}, 2};
    REQUIRE(*in(store, [&](auto& tx) { return queue.remote_changed(tx, c.record, gone, {}, rules, at(2000)); }) == 1);
    auto const done =
        in(store, [&](auto& tx) { return queue.resolve(tx, id, 2, resolution::use_local(), rules, ann(3000, 500)); });
    REQUIRE(done);
    CHECK(done->change.kind == change_kind::create);
    CHECK(done->after->fields == fields({{"client", "Dahl"}, {"note", "window"}, {"table", "garden"}}));
    row now = *done->after;
    now.version = 13;
    auto const back = in(store, [&](auto& tx) { return queue.undo(tx, id, now, rules, ann(4000, 600)); });
    REQUIRE(back);
    CHECK(back->after->deleted);
}

TEST_CASE("each conflict by the rules of its own collection") {
    memory_storage store;
    conflict room = clash("r1");
    room.record.collection = room.local.record.collection = "rooms";
    in(store, [&](auto& tx) {
        CHECK(*queue.raise(tx, clash("b1"), at(1)) == 1);
        CHECK(*queue.raise(tx, room, at(1)) == 2);
        auto const one = queue.resolve(tx, 2, 1, resolution::use_local(), rules, ann(2000, 300));
        CHECK((!one && one.error() == errc::invalid));
        auto const mine = [](conflict const&) { return std::optional{resolution::use_local()}; };
        auto const some = queue.resolve_all(tx, {}, mine, rules, ann(2000, 300));
        REQUIRE(some);
        CHECK(some->done.size() == 1);
        REQUIRE(some->left.size() == 1);
        CHECK(some->left[0].why == errc::invalid);
        rule_table all;
        all.add(rules).add({"rooms", rule::last_writer, {{"table", rule::manual}}});
        auto const rest = queue.resolve_all(tx, {}, mine, all, ann(2000, 300));
        REQUIRE(rest);
        CHECK(rest->done.size() == 1);
        return 0;
    });
}

TEST_CASE("of a batch what can't be decided is left and told, whatever the reason, and the rest is decided") {
    memory_storage store;
    conflict_queue const tight({.bytes_max = 2000});
    for (std::uint64_t n = 1; n <= 3; ++n) {
        auto const raised =
            in(store, [&](auto& tx) { return tight.raise(tx, clash("b" + std::to_string(n), n), at(1000)); });
        REQUIRE(raised);
    }
    // The second is decided by a text that its history has no room for; the third by a value for a field that is not
    // contested.
    auto const batch = in(store, [&](auto& tx) {
        return tight.resolve_all(
            tx, {},
            [](conflict const& c) {
                resolution how = resolution::use_local();
                if (c.id == 2) { how = resolution::custom(fields({{"table", value(std::string(1500, 'x'))}})); }
                if (c.id == 3) { how = resolution::merge_fields({{{"note"}, field_take::local, {}}}); }
                return std::optional{how};
            },
            rules, ann(2000, 300));
    });
    REQUIRE(batch);
    REQUIRE(batch->done.size() == 1);
    CHECK(batch->done[0].first == 1);
    REQUIRE(batch->left.size() == 2);
    CHECK(batch->left[0].id == 2);
    CHECK(batch->left[0].why.code == errc::limit);
    CHECK(batch->left[1].id == 3);
    CHECK(batch->left[1].why.code == errc::invalid);
    CHECK(ids(store, {}) == std::vector<std::uint64_t>{2, 3});
    CHECK(in(store, [&](auto& tx) { return static_cast<bool>(tight.verify(tx)); }));
    // Who decides has too long a name: for none of them.
    auto const before = testing::content_fingerprint{}(store);
    bytes const name(writer_bytes_max + 1, std::byte{'a'});
    decision_maker long_name = ann(2000, 300);
    long_name.by = name;
    auto const nobody = in(store, [&](auto& tx) {
        return tight.resolve_all(
            tx, {}, [](conflict const&) { return std::optional{resolution::use_local()}; }, rules, long_name);
    });
    REQUIRE(nobody);
    CHECK(nobody->done.empty());
    CHECK(nobody->left.size() == 2);
    CHECK(testing::content_fingerprint{}(store) == before);
}

TEST_CASE("what is refused leaves the queue as it was") {
    memory_storage store;
    conflict_queue const small({.open_max = 1, .bytes_max = 4000, .events_max = 2});
    auto const id = *in(store, [&](auto& tx) { return small.raise(tx, clash("b1"), at(1000)); });
    auto const before = testing::content_fingerprint{}(store);
    auto const why = [&](auto&& call) {
        auto const code = in(store, [&](auto& tx) { return call(tx).error().code; });
        CHECK(testing::content_fingerprint{}(store) == before);
        return code;
    };
    CHECK(why([&](auto& tx) { return small.raise(tx, clash("b2"), at(1)); }) == errc::limit);
    conflict large = clash("b1", 2);
    large.base = fields({{"table", std::string(5000, 'x')}});
    CHECK(why([&](auto& tx) { return conflict_queue({.bytes_max = 4000}).raise(tx, large, at(1)); }) == errc::limit);
    row larger = *clash("b1").remote;
    larger.version = 20;
    larger.fields = large.base;
    CHECK(why([&](auto& tx) {
              return small.remote_changed(tx, {"bookings", "b1"}, larger, {}, rules, at(1));
          }) == errc::limit);
    CHECK(why([&](auto& tx) { return small.find(tx, 99); }) == errc::not_found);
    CHECK(why([&](auto& tx) { return small.resolve(tx, 99, 1, {}, rules, ann(1, 1)); }) == errc::not_found);
    CHECK(why([&](auto& tx) { return small.undo(tx, id, *clash("b1").remote, rules, ann(1, 1)); }) == errc::invalid);
    CHECK(why([&](auto& tx) { return small.redo(tx, id, 1, rules, ann(1, 1)); }) == errc::invalid);
    CHECK(why([&](auto& tx) { return small.suggest(tx, id, {}, at(1)); }) == errc::invalid);
    conflict bad = clash("b1", 3);
    bad.fields.clear();
    CHECK(why([&](auto& tx) { return small.raise(tx, bad, at(1)); }) == errc::invalid);
    // An audit that fails takes the decision with it.
    auto tx = store.begin(access_mode::write);
    auto const no = [](conflict_note const&) -> status { return errc::storage_full; };
    CHECK(small.resolve(*tx, id, 1, resolution::use_local(), rules, ann(1, 1), no).error() == errc::storage_full);
}

TEST_CASE("every storage call fails once, and from then on: the old state or the new one") {
    auto const begun = [](auto& store) {
        auto tx = store.begin(access_mode::write);
        (void)queue.raise(*tx, clash("b1", 1), at(1000));
        (void)queue.raise(*tx, clash("b1", 2), at(1000));
        (void)queue.raise(*tx, clash("b3", 3), at(1000));
        (void)queue.resolve(*tx, 3, 1, resolution::use_local(), rules, ann(1500, 300));
        (void)queue.raise(*tx, clash("b4", 4), at(1000));
        (void)queue.resolve(*tx, 4, 1, resolution::use_local(), rules, ann(1500, 300));
        row now = *clash("b4").remote;
        now.version = 10;
        now.fields = fields({{"note", "window"}, {"table", "garden"}});
        (void)queue.undo(*tx, 4, now, rules, ann(1600, 400));
        (void)tx->commit();
    };
    auto const check = [&](auto const& call) {
        auto const report = testing::nth_failure(begun, [&](auto& store) -> status {
            auto tx = store.begin(access_mode::write);
            if (!tx) { return tx.error(); }
            auto const r = call(*tx);
            if (!r) { return r.error(); }
            return tx->commit();
        });
        CHECK(testing::to_text(report.violations) == "");
        CHECK(report.runs > 20);
    };
    row later = *clash("b1").remote;
    later.version = 11;
    row now = *clash("b3").remote;
    now.version = 10;
    now.fields = fields({{"note", "window"}, {"table", "garden"}});
    check([](auto& tx) { return queue.raise(tx, clash("b9", 9), at(2000)); });
    check([&](auto& tx) { return queue.remote_changed(tx, {"bookings", "b1"}, later, {}, rules, at(2000)); });
    check([](auto& tx) { return queue.resolve(tx, 1, 1, resolution::use_local(), rules, ann(2000, 300)); });
    check([&](auto& tx) { return queue.undo(tx, 3, now, rules, ann(2000, 300)); });
    check([](auto& tx) { return queue.redo(tx, 4, 2, rules, ann(2000, 300)); });
    check([](auto& tx) { return queue.forget(tx, at(9000), 5); });
    check([](auto& tx) { return queue.suggest(tx, 1, std::array{suggestion{}}, at(2000)); });
    check([](auto& tx) {
        return queue.resolve_all(
            tx, {}, [](conflict const&) { return std::optional{resolution::use_local()}; }, rules, ann(2000, 300));
    });
}

TEST_CASE("a damaged store: an error, never a crash, and nothing half done is taken for whole") {
    random_generator g(8);
    for (int round = 0; round < 1500; ++round) {
        memory_storage store;
        (void)in(store, [&](auto& tx) {
            (void)queue.raise(tx, clash("b1", 1), at(1000));
            (void)queue.raise(tx, clash("b1", 2), at(1000));
            return queue.resolve(tx, 1, 1, resolution::use_local(), rules, ann(1500, 300));
        });
        std::vector<std::pair<bytes, bytes>> all;
        (void)in(store, [&](auto& tx) {
            return tx.scan({}, [&](bytes_view k, bytes_view v) {
                all.emplace_back(to_bytes(k), to_bytes(v));
                return true;
            });
        });
        auto& damaged = all[static_cast<std::size_t>(below(g, all.size()))];
        bytes const& key = damaged.first;
        bytes& value = damaged.second;
        bool const gone = below(g, 6) == 0;
        (void)in(store, [&](auto& tx) {
            if (gone) { return tx.erase(key); }
            if (below(g, 3) == 0) {
                value.resize(static_cast<std::size_t>(below(g, value.size() + 1)));
            } else {
                value[static_cast<std::size_t>(below(g, value.size()))] ^= static_cast<std::byte>(1 + below(g, 255));
            }
            return tx.put(key, value);
        });
        auto tx = store.begin(access_mode::write);
        auto const fine = [](auto const& r) {
            return r || r.error() == errc::corrupt || r.error() == errc::unsupported || r.error() == errc::not_found ||
                   r.error() == errc::invalid || r.error() == errc::contended || r.error() == errc::rejected ||
                   r.error() == errc::limit || r.error() == errc::overflow || r.error() == errc::type_mismatch;
        };
        (void)queue.verify(*tx);
        REQUIRE(fine(queue.list(*tx, {.state = {}}, [](conflict const&) { return true; })));
        REQUIRE(fine(queue.counts(*tx)));
        REQUIRE(fine(queue.history(*tx, 1)));
        row now = *clash("b1").remote;
        now.fields = fields({{"note", "window"}, {"table", "garden"}});
        REQUIRE(fine(queue.resolve(*tx, 2, 1, resolution::use_local(), rules, ann(2000, 300))));
        REQUIRE(fine(queue.undo(*tx, 1, now, rules, ann(2000, 300))));
        REQUIRE(fine(queue.redo(*tx, 1, 2, rules, ann(2000, 300))));
        REQUIRE(fine(queue.raise(*tx, clash("b1", 2), at(1))));
        REQUIRE(fine(queue.forget(*tx, at(9000), 5)));
    }
}

TEST_CASE("golden bytes of the keys") {
    memory_storage store;
    (void)in(store, [&](auto& tx) {
        (void)queue.raise(tx, clash("b1", 1), at(1000));
        (void)queue.raise(tx, clash("b2", 2), at(1000));
        return queue.resolve(tx, 2, 1, resolution::use_local(), rules, ann(1500, 300));
    });
    std::string keys;
    std::string values;
    (void)in(store, [&](auto& tx) {
        return tx.scan({}, [&](bytes_view k, bytes_view v) {
            keys += to_hex(k) + '\n';
            if (k[2] != std::byte{'i'}) { values += to_hex(v) + '\n'; }
            return true;
        });
    });
    CHECK(keys ==
          "6b716308626f6f6b696e67730000000000000001\n"
          "6b716800000000000000010000000000000001\n"
          "6b716800000000000000020000000000000001\n"
          "6b716800000000000000020000000000000002\n"
          "6b71690000000000000001\n"
          "6b71690000000000000002\n"
          "6b716e\n"
          "6b716f0000000000000001\n"
          "6b717208626f6f6b696e67730262310000000000000001\n"
          "6b717208626f6f6b696e67730262320000000000000002\n"
          "6b717a80000000000005dc0000000000000002\n");
    CHECK(
        values ==
        "01\n"
        "88010143616e6ef41903e8f6830180f6f6\n"
        "88010143616e6ef41903e8f6830180f6f6\n"
        "88010343616e6ef41905dc870901060a0284657461626c650018c802a2646e6f7465646e6f6e65657461626c65677465727261636"
        "5830180f6880019012c0268626f6f6b696e67734262320109828301646e6f74656677696e646f778301657461626c656667617264656e\n"
        "84010201"
        "01\n"
        "01\n01\n02\n02\n");
}

TEST_CASE("whatever others do, a conflict that is held can be decided") {
    memory_storage store;
    conflict_queue const small({.open_max = 5, .bytes_max = 4000, .events_max = 6});
    auto const id = *in(store, [&](auto& tx) { return small.raise(tx, clash("b1"), at(1000)); });
    conflict const first = clash("b1");
    row last;
    for (std::uint64_t n = 10; n != 40; ++n) {
        last = *first.remote;
        last.version = n;
        last.fields = fields({{"note", "none"}, {"table", "table " + std::to_string(n)}});
        auto const told = in(store, [&](auto& tx) {
            return small.remote_changed(tx, first.record, last, first.remote_by, rules, at(1001));
        });
        REQUIRE(told);
        CHECK(*told == 1);
    }
    auto const c = in(store, [&](auto& tx) { return small.find(tx, id); });
    REQUIRE(c);
    CHECK(c->events == 3);
    CHECK(c->remote == last);
    auto const how = resolution::use_local();
    auto const done =
        in(store, [&](auto& tx) { return small.resolve(tx, id, c->revision, how, rules, ann(2000, 300)); });
    REQUIRE(done);
    // And what is undone is open with room for the decision that follows.
    auto const back = in(store, [&](auto& tx) { return small.undo(tx, id, *done->after, rules, ann(3000, 400)); });
    REQUIRE(back);
    auto const open = in(store, [&](auto& tx) { return small.find(tx, id); });
    auto const again = in(store, [&](auto& tx) { return small.redo(tx, id, open->revision, rules, ann(4000, 500)); });
    REQUIRE(again);
    auto const more = in(store, [&](auto& tx) { return small.undo(tx, id, *again->after, rules, ann(5000, 600)); });
    CHECK(more.error() == errc::limit);
    CHECK(in(store, [&](auto& tx) { return *small.counts(tx); }) == conflict_counts{0, 1});
    CHECK(in(store, [&](auto& tx) { return static_cast<bool>(small.verify(tx)); }));
}

TEST_CASE("a conflict that suggestions have made larger than the limit can be decided") {
    memory_storage store;
    conflict const c = clash("b1");
    bytes raw;
    cbor_writer w{raw};
    encode_conflict(w, c);
    conflict_queue const tight({.bytes_max = raw.size() + 8});
    auto const id = *in(store, [&](auto& tx) { return tight.raise(tx, c, at(1000)); });
    suggestion said;
    said.what = conflict_action::local;
    said.confidence = share_one / 2;
    REQUIRE(in(store, [&](auto& tx) { return tight.suggest(tx, id, std::span{&said, 1}, at(1001)); }));
    CHECK(
        in(store, [&](auto& tx) { return tight.resolve(tx, id, 1, resolution::use_remote(), rules, ann(2000, 300)); }));
}

TEST_CASE("done again, the record is what it was before the undo, with what others had put in") {
    collection_rules const lists{"bookings", rule::last_writer, {{"table", rule::manual}, {"tags", rule::siblings}}};
    auto const array = [](std::initializer_list<value> items) {
        bytes out;
        cbor_writer w{out};
        w.array(items.size());
        for (value const& v : items) { w.raw(item(v)); }
        return out;
    };
    auto const with = [](std::string_view table, bytes const& tags) {
        bytes out;
        cbor_writer w{out};
        w.map(2);
        w.text("tags");
        w.raw(tags);
        w.text("table");
        w.text(table);
        return out;
    };
    conflict c = clash("b1");
    c.base = with("hall", array({"old"}));
    c.local.ops = {{"tags", op_kind::set, array({"mine"}), c.local.stamp},
                   {"table", op_kind::set, item("garden"), c.local.stamp}};
    c.remote->exceptions = {{"tags", {9, timestamp{200}, 2}, item("theirs")}, {"table", {9, timestamp{200}, 2}}};
    c.remote->fields = with("terrace", array({"theirs"}));
    memory_storage store;
    auto const id = *in(store, [&](auto& tx) { return queue.raise(tx, c, at(1000)); });
    auto const how = resolution::use_local();
    auto const done = in(store, [&](auto& tx) { return queue.resolve(tx, id, 1, how, lists, ann(2000, 300)); });
    REQUIRE(done);
    CHECK(done->after->fields == with("garden", array({"mine", "theirs"})));
    row now = *done->after;
    now.version = 10;
    auto const back = in(store, [&](auto& tx) { return queue.undo(tx, id, now, lists, ann(3000, 400)); });
    REQUIRE(back);
    CHECK(back->after->fields == c.remote->fields);
    // Somebody confirms the undo: the row is another, and says the same.
    row confirmed = *back->after;
    confirmed.version = 11;
    REQUIRE(in(store,
               [&](auto& tx) { return queue.remote_changed(tx, c.record, confirmed, c.local_by, lists, at(3500)); }));
    auto const again = in(store, [&](auto& tx) { return queue.redo(tx, id, 3, lists, ann(4000, 500)); });
    REQUIRE(again);
    CHECK(again->after->fields == done->after->fields);
    CHECK(in(store, [&](auto& tx) { return static_cast<bool>(queue.verify(tx)); }));
    // And it is undone as any other.
    auto const more = in(store, [&](auto& tx) { return queue.undo(tx, id, *again->after, lists, ann(5000, 600)); });
    REQUIRE(more);
    CHECK(more->after->fields == c.remote->fields);
    // Where somebody has changed the record since, the same decision is made anew.
    row changed = *more->after;
    changed.version = 20;
    changed.fields = with("cellar", array({"theirs"}));
    REQUIRE(
        in(store, [&](auto& tx) { return queue.remote_changed(tx, c.record, changed, c.remote_by, lists, at(6000)); }));
    auto const anew = in(store, [&](auto& tx) { return queue.redo(tx, id, 5, lists, ann(7000, 700)); });
    REQUIRE(anew);
    CHECK(equal(**map_find(anew->after->fields, "table"), item("garden")));
}

TEST_CASE("a record that was brought back, taken away again and brought back again is the same") {
    collection_rules keeping{"bookings", rule::last_writer, {{"most", rule::maximum}}};
    keeping.deletes = deletion::manual;
    conflict c = clash("b1");
    c.base = fields({{"most", 3}});
    c.local.ops = {{"most", op_kind::set, item(5), c.local.stamp}};
    c.remote->deleted = true;
    c.remote->floor = {9, timestamp{200}, 2};
    c.remote->exceptions = {{"most", {8, timestamp{150}, 2}}, {"note", {3, timestamp{10}, 2}}};
    c.remote->fields = fields({{"most", 7}, {"note", "none"}});
    c.fields = {{{}, rule::last_writer, "", 0, 0, {}}};
    memory_storage store;
    auto const id = *in(store, [&](auto& tx) { return queue.raise(tx, c, at(1000)); });
    auto const how = resolution::use_local();
    auto const done = in(store, [&](auto& tx) { return queue.resolve(tx, id, 1, how, keeping, ann(2000, 300)); });
    REQUIRE(done);
    CHECK(done->after->fields == c.remote->fields);
    row now = *done->after;
    now.version = 10;
    auto const back = in(store, [&](auto& tx) { return queue.undo(tx, id, now, keeping, ann(3000, 400)); });
    REQUIRE(back);
    CHECK(back->after->deleted);
    auto const again = in(store, [&](auto& tx) { return queue.redo(tx, id, 2, keeping, ann(4000, 500)); });
    REQUIRE(again);
    CHECK(again->change.kind == change_kind::create);
    CHECK(again->after->fields == done->after->fields);
}
