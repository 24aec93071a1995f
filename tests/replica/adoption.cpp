// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/adoption.hpp>

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
#include <syncline/replica/conflict_desk.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "world.hpp"

namespace {

using namespace syncline;

using texts = std::map<std::string, std::string>;

/// Fields that are texts; one whose text is digits alone is a number.
bytes encoded(texts const& f) {
    std::vector<std::pair<std::string, std::string>> all{f.begin(), f.end()};
    std::sort(all.begin(), all.end(), [](auto const& a, auto const& b) { return compare_keys(a.first, b.first) < 0; });
    bytes out;
    cbor_writer w{out};
    w.map(all.size());
    for (auto const& [name, text] : all) {
        w.text(name);
        if (!text.empty() && text.find_first_not_of("0123456789") == std::string::npos) {
            w.integer(std::stoll(text));
        } else {
            w.text(text);
        }
    }
    return out;
}
texts decoded(bytes_view fields) {
    texts out;
    cbor_map_cursor at{fields};
    while (!fields.empty() && at.next()) {
        cbor_reader in{at.value()};
        out[std::string{at.key()}] =
            in.peek() == cbor_type::text ? std::string{in.text()} : std::to_string(in.integer());
    }
    return out;
}

struct source_row {
    std::string id;
    texts fields;
    std::optional<wall_time> written{};
};
/// A program's tables, in the order in which its rows were entered.
struct tables {
    std::map<std::string, std::vector<source_row>> all{};
    status scan(std::string_view collection, bytes_view after, function_ref<bool(source_record const&)> visit) const {
        auto const at = all.find(std::string{collection});
        if (at == all.end()) { return {}; }
        bool on = after.empty();
        for (source_row const& r : at->second) {
            bytes const fields = encoded(r.fields);
            if (on && !visit({as_bytes(r.id), fields, r.written})) { return {}; }
            on = on || as_text(after) == r.id;
        }
        return {};
    }
    [[nodiscard]] std::size_t size() const {
        std::size_t n = 0;
        for (auto const& [name, rows] : all) { n += rows.size(); }
        return n;
    }
};
static_assert(adoption_source<tables>);

rule_table house_rules() {
    rule_table t;
    t.add({"events",
           rule::last_writer,
           {{"seats", rule::counter}, {"note", rule::manual}, {"least", rule::minimum}, {"text", rule::text_lines}}});
    return t;
}
adoption_plan house_plan() {
    adoption_plan p;
    p.source = "till 3";
    p.collections = {{"halls", {"name"}, {{"next", "halls"}}}, {"events", {"hall", "day"}, {{"hall", "halls"}}}};
    return p;
}

constexpr instant now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{0}}};
wall_time at(std::int64_t ms) { return now.wall + milliseconds{ms}; }

/// Runs `f(tx)` in a transaction, which commits when it succeeds.
template <class Store, class F>
auto in(Store& s, F f) {
    auto tx = s.begin(access_mode::write);
    REQUIRE(tx);
    auto out = f(*tx);
    if (out) { REQUIRE(tx->commit()); }
    return out;
}

/// A device whose replica is full, and the authority that it has it from.
struct shop {
    memory_storage home_store{};
    authority<> home{house_rules()};
    memory_storage store{};
    rule_table table = house_rules();
    conflict_queue queue{};
    conflict_desk desk{queue, table};
    syncline::random_generator random;
    basic_replica<stored_records, conflict_desk> self;

    explicit shop(std::uint64_t seed = 3, replica_options options = {})
        : random(seed), self(table, std::move(options), {}, desk) {
        REQUIRE(in(home_store, [&](auto& tx) { return home.open(tx, now, random); }));
        REQUIRE(in(store, [&](auto& tx) { return self.open(tx, "anna", now, random); }));
    }
    shop(shop const&) = delete;

    void create(record_key const& k, texts const& f, instant when = now) {
        REQUIRE(in(store, [&](auto& tx) { return self.create(tx, k, encoded(f), when); }));
    }
    void sync() {
        for (;;) {
            REQUIRE(in(store, [&](auto& tx) { return self.prepare(tx, now); }));
            auto const q = in(store, [&](auto& tx) { return self.request_message(tx); });
            auto const p = serve(home_store, home, "anna", *q, now);
            REQUIRE(p);
            auto const report = in(store, [&](auto& tx) { return self.absorb(tx, *p, now, random); });
            REQUIRE(report);
            if (!report->more) { return; }
        }
    }
    std::map<std::string, texts> shown(std::string_view collection) {
        std::map<std::string, texts> out;
        auto tx = store.begin(access_mode::read);
        REQUIRE(self.scan(*tx, collection, [&](record_key const& k, record const& r) {
            out[std::string{k.id_text()}] = decoded(r.fields);
            return true;
        }));
        return out;
    }
    std::vector<conflict> queued() {
        std::vector<conflict> out;
        auto tx = store.begin(access_mode::read);
        REQUIRE(queue.list(*tx, {}, [&](conflict const& c) {
            out.push_back(c);
            return true;
        }));
        return out;
    }
};

struct told_row {
    std::string source, target;
    adopted how;
    texts after;
    std::vector<std::string> contested;
    errc why;
    friend bool operator==(told_row const&, told_row const&) = default;
};
told_row told(adopted_row const& r) {
    return {r.source.collection + '/' + std::string{r.source.id_text()},
            std::string{r.target.id_text()},
            r.how,
            decoded(r.after),
            r.contested,
            r.why.code};
}

/// Runs to the end; a step is lost now and then.
adoption_report run(shop& s, adoption const& a, tables& from, std::vector<told_row>* rows = nullptr,
                    syncline::random_generator* chance = nullptr) {
    for (;;) {
        std::vector<told_row> heard;
        std::size_t const budget = chance != nullptr ? static_cast<std::size_t>((*chance)() % 5) + 1 : 100;
        bool const lost = chance != nullptr && (*chance)() % 3 == 0;
        auto tx = s.store.begin(access_mode::write);
        auto const report =
            a.step(*tx, s.self, from, now, budget, [&](adopted_row const& r) { heard.push_back(told(r)); });
        REQUIRE(report);
        if (lost) { continue; }
        REQUIRE(tx->commit());
        if (rows != nullptr) { rows->insert(rows->end(), heard.begin(), heard.end()); }
        if (!report->more || report->full) { return *report; }
    }
}
std::string target_of(shop& s, adoption const& a, record_key const& k) {
    auto tx = s.store.begin(access_mode::read);
    auto const t = a.target_of(*tx, k);
    REQUIRE(t);
    return *t ? std::string{(*t)->id_text()} : std::string{};
}

}  // namespace

TEST_CASE("equal rows are joined, others merged by rule, queued or created, and references follow", "[replica]") {
    shop s;
    s.create({"halls", "h-great"}, {{"name", "Great"}, {"rows", "20"}});
    s.create({"halls", "h-small"}, {{"name", "Small"}});
    s.create({"events", "e1"},
             {{"hall", "h-great"}, {"day", "mon"}, {"note", "theirs"}, {"least", "5"}, {"seats", "9"}});
    s.create({"events", "e2"}, {{"hall", "h-small"}, {"day", "mon"}, {"title", "old"}});
    s.sync();
    tables from;
    from.all["events"] = {{"7", {{"hall", "1"}, {"day", "mon"}, {"note", "ours"}, {"least", "3"}, {"seats", "9"}}},
                          {"8", {{"hall", "2"}, {"day", "mon"}, {"title", "new"}}, at(1'000)},
                          {"9", {{"hall", "2"}, {"day", "tue"}}},
                          {"10", {{"hall", "4"}, {"day", "tue"}}}};
    from.all["halls"] = {{"1", {{"name", "Great"}, {"rows", "20"}}},
                         {"2", {{"name", "Small"}, {"next", "3"}}},
                         {"3", {{"name", "Attic"}, {"next", "2"}}}};
    // Ids of this source are numbers that look like others': references are texts here.
    for (auto& [name, rows] : from.all) {
        for (source_row& r : rows) {
            for (char const* f : {"hall", "next"}) {
                if (r.fields.contains(f)) { r.fields[f] = "n" + r.fields[f]; }
            }
            r.id = "n" + r.id;
        }
    }
    adoption const a{house_plan(), s.queue};
    std::vector<told_row> rows;
    auto const report = run(s, a, from, &rows);
    CHECK_FALSE(report.more);
    adoption_counts expected;
    expected.joined = 1;
    expected.merged = 2;
    expected.queued = 1;
    expected.created = 2;
    expected.refused = 1;
    expected.indexed = 4;
    CHECK(report.counts == expected);

    std::string const attic = target_of(s, a, {"halls", "n3"});
    CHECK(attic.size() == 32);
    CHECK(target_of(s, a, {"halls", "n1"}) == "h-great");
    auto const halls = s.shown("halls");
    CHECK(halls.size() == 3);
    CHECK(halls.at("h-small") == texts{{"name", "Small"}, {"next", attic}});
    CHECK(halls.at(attic) == texts{{"name", "Attic"}, {"next", "h-small"}});
    auto const events = s.shown("events");
    CHECK(events.size() == 3);
    CHECK(events.at("e1") ==
          texts{{"hall", "h-great"}, {"day", "mon"}, {"note", "theirs"}, {"least", "3"}, {"seats", "9"}});
    CHECK(events.at("e2") == texts{{"hall", "h-small"}, {"day", "mon"}, {"title", "new"}});
    CHECK(events.at(target_of(s, a, {"events", "n9"})) == texts{{"hall", "h-small"}, {"day", "tue"}});

    // What nobody can point to is refused, and stays in the source until a later run.
    std::vector<std::pair<std::string, errc>> left;
    {
        auto tx = s.store.begin(access_mode::read);
        REQUIRE(a.left(*tx, [&](record_key const& k, errc why) {
            left.emplace_back(k.id_text(), why);
            return true;
        }));
    }
    CHECK(left == std::vector<std::pair<std::string, errc>>{{"n10", errc::not_found}});

    auto const open = s.queued();
    REQUIRE(open.size() == 1);
    CHECK(open[0].record == record_key{"events", "e1"});
    REQUIRE(open[0].fields.size() == 1);
    CHECK(open[0].fields[0].path == field_path{"note"});
    CHECK(as_text(open[0].local_by.writer) == "till 3");
    // It is decided like any other.
    s.sync();
    auto const fresh = s.queued();
    REQUIRE(fresh.size() == 1);
    resolution mine;
    mine.kind = resolve_kind::use_local;
    REQUIRE(in(s.store, [&](auto& tx) {
        return s.desk.resolve(tx, s.self, fresh[0].id, fresh[0].revision, mine, as_bytes("anna"), now);
    }));
    s.sync();
    CHECK(s.shown("events").at("e1").at("note") == "ours");
    CHECK(s.queued().empty());

    // The missing hall has come: a second run adopts what was left, and nothing twice.
    from.all["halls"].push_back({"n4", {{"name", "Yard"}}});
    REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
    auto const again = run(s, a, from).counts;
    CHECK(again.kept == 6);
    CHECK(again.created == 2);
    CHECK(again.records() == 8);
    CHECK(s.shown("events").at("e1").at("note") == "ours");
}

TEST_CASE("values that only a base could bring together are for a person", "[replica]") {
    shop s;
    s.create({"events", "e"}, {{"hall", "h"}, {"day", "mon"}, {"seats", "9"}, {"text", "a"}, {"least", "4"}});
    s.sync();
    adoption_plan p;
    p.source = "till";
    p.collections = {{"events", {"day"}}};
    tables from;
    from.all["events"] = {{"1", {{"day", "mon"}, {"seats", "8"}, {"text", "b"}, {"least", "7"}, {"hall", "other"}}}};
    SECTION("by the replica's rules") {
        adoption const a{p, s.queue};
        auto const counts = run(s, a, from).counts;
        CHECK(counts.queued == 1);
        auto const open = s.queued();
        REQUIRE(open.size() == 1);
        std::set<std::string> contested;
        for (contested_field const& f : open[0].fields) { contested.insert(to_text(f.path)); }
        CHECK(contested == std::set<std::string>{"seats", "text"});
        // Nobody knows when the source's was written: what the authority has stays.
        CHECK(s.shown("events").at("e") ==
              texts{{"hall", "h"}, {"day", "mon"}, {"seats", "9"}, {"text", "a"}, {"least", "4"}});
    }
    SECTION("by rules of the plan's own") {
        p.collections[0].rules = collection_rules{"events", rule::local, {{"seats", rule::maximum}}};
        adoption const a{p, s.queue};
        CHECK(run(s, a, from).counts.merged == 1);
        CHECK(s.queued().empty());
        CHECK(s.shown("events").at("e") ==
              texts{{"hall", "other"}, {"day", "mon"}, {"seats", "9"}, {"text", "b"}, {"least", "4"}});
        // What is written is still an ordinary write: a minimum can't be raised by it.
    }
}

TEST_CASE("two rows of one side with one natural key are never made one unasked", "[replica]") {
    shop s;
    s.create({"halls", "a"}, {{"name", "Great"}, {"rows", "1"}});
    s.create({"halls", "b"}, {{"name", "Great"}, {"rows", "2"}});
    s.sync();
    tables from;
    from.all["halls"] = {{"1", {{"name", "Great"}, {"rows", "1"}}},
                         {"2", {{"name", "Great"}, {"rows", "7"}}},
                         {"3", {{"name", "Great"}, {"rows", "8"}}},
                         {"4", {{"name", "Great"}, {"rows", "1"}}},
                         {"5", {{"name", "New"}, {"rows", "1"}}},
                         {"6", {{"name", "New"}, {"rows", "2"}}},
                         {"7", {{"rows", "3"}}},
                         {"8", {{"rows", "3"}}}};
    adoption const a{house_plan(), s.queue};
    auto const counts = run(s, a, from).counts;
    CHECK(counts.ambiguous == 1);
    CHECK(counts.duplicates == 4);
    CHECK(counts.joined == 2);
    CHECK(counts.queued == 3);
    CHECK(counts.created == 3);
    CHECK(s.queued().size() == 3);
    CHECK(s.shown("halls").size() == 5);
}

TEST_CASE("ids are kept where they are unique, and two devices that adopt the same make one record", "[replica]") {
    shop s;
    s.create({"halls", "7"}, {{"name", "Other"}});
    s.sync();
    tables from;
    from.all["halls"] = {{"7", {{"name", "Great"}}}, {"8", {{"name", "Small"}}}};
    SECTION("kept") {
        adoption_plan p = house_plan();
        p.collections[0].ids = adopted_id::kept;
        adoption const a{p, s.queue};
        CHECK(run(s, a, from).counts.created == 2);
        CHECK(target_of(s, a, {"halls", "8"}) == "8");
        CHECK(target_of(s, a, {"halls", "7"}).size() == 32);
        CHECK(s.shown("halls").size() == 3);
    }
    SECTION("natural") {
        shop other{9};
        other.sync();
        adoption_plan p = house_plan();
        adoption const a{p, s.queue};
        p.source = "till 4";
        adoption const b{p, other.queue};
        from.all["halls"].push_back({"9", {{"rows", "5"}}});
        CHECK(run(s, a, from).counts.created == 3);
        CHECK(run(other, b, from).counts.created == 3);
        CHECK(target_of(s, a, {"halls", "7"}) == target_of(other, b, {"halls", "7"}));
        CHECK(target_of(s, a, {"halls", "9"}) != target_of(other, b, {"halls", "9"}));
    }
}

TEST_CASE("another replica's records can be the source", "[replica]") {
    shop s;
    s.create({"halls", "a"}, {{"name", "Great"}});
    s.sync();
    shop other{9};
    other.create({"halls", "x"}, {{"name", "Great"}, {"rows", "4"}});
    other.create({"halls", "y"}, {{"name", "Small"}});
    other.create({"halls", "z"}, {{"name", "Gone"}});
    REQUIRE(in(other.store, [&](auto& tx) { return other.self.erase(tx, {"halls", "z"}, now); }));
    auto theirs = other.store.begin(access_mode::read);
    replica_source from{*theirs, other.self};
    adoption_plan p = house_plan();
    p.collections.pop_back();
    adoption const a{p, s.queue};
    adoption_report report;
    while (report.more) {
        auto tx = s.store.begin(access_mode::write);
        auto const step = a.step(*tx, s.self, from, now, 1, [](adopted_row const&) {});
        REQUIRE(step);
        REQUIRE(tx->commit());
        report = *step;
    }
    CHECK(report.counts.merged == 1);
    CHECK(report.counts.created == 1);
    CHECK(s.shown("halls").at("a") == texts{{"name", "Great"}, {"rows", "4"}});
}

TEST_CASE("what the authority did not accept is matched anew by a later run", "[replica]") {
    constraint_table unique;
    unique.uniques = {{"hall_name", "halls", {"name"}}};
    shop s;
    authority_options o;
    o.constraints = &unique;
    s.home = authority<>{house_rules(), o};
    s.sync();
    tables from;
    from.all["halls"] = {{"1", {{"name", "Great"}, {"rows", "4"}}}};
    adoption const a{house_plan(), s.queue};
    CHECK(run(s, a, from).counts.created == 1);
    // Meanwhile somebody else has made such a hall.
    {
        shop other{9};
        other.create({"halls", "theirs"}, {{"name", "Great"}});
        REQUIRE(in(other.store, [&](auto& tx) { return other.self.prepare(tx, now); }));
        auto const q = in(other.store, [&](auto& tx) { return other.self.request_message(tx); });
        REQUIRE(serve(s.home_store, s.home, "anna", *q, now));
    }
    s.sync();
    CHECK(s.shown("halls") == std::map<std::string, texts>{{"theirs", {{"name", "Great"}}}});
    REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
    CHECK(run(s, a, from).counts.merged == 1);
    s.sync();
    CHECK(s.shown("halls") == std::map<std::string, texts>{{"theirs", {{"name", "Great"}, {"rows", "4"}}}});
}

TEST_CASE("a question about a record that the authority refuses can be closed, and is asked anew of theirs",
          "[replica]") {
    constraint_table unique;
    unique.uniques = {{"one_a_day", "events", {"hall", "day"}}};
    shop s;
    authority_options o;
    o.constraints = &unique;
    s.home = authority<>{house_rules(), o};
    s.sync();
    // Theirs has come first, and is not known here.
    {
        shop other{9};
        other.create({"events", "theirs"}, {{"day", "mon"}, {"hall", "x"}, {"note", "c"}});
        REQUIRE(in(other.store, [&](auto& tx) { return other.self.prepare(tx, now); }));
        auto const q = in(other.store, [&](auto& tx) { return other.self.request_message(tx); });
        REQUIRE(serve(s.home_store, s.home, "anna", *q, now));
    }
    s.create({"events", "mine"}, {{"day", "mon"}, {"hall", "x"}, {"note", "a"}});
    adoption_plan plan = house_plan();
    plan.collections = {{"events", {"hall", "day"}}};
    adoption const a{plan, s.queue};
    tables from;
    from.all["events"] = {{"1", {{"day", "mon"}, {"hall", "x"}, {"note", "b"}}}};
    CHECK(run(s, a, from).counts.queued == 1);
    auto const decide = [&](conflict const& c, resolution const& how) {
        return in(s.store,
                  [&](auto& tx) { return s.desk.resolve(tx, s.self, c.id, c.revision, how, as_bytes("anna"), now); });
    };
    // While it waits for its verdict nothing of it is decided.
    CHECK(decide(s.queued()[0], resolution::use_remote()).error() == errc::contended);
    s.sync();
    CHECK(s.shown("events").size() == 1);
    REQUIRE(s.queued().size() == 1);
    conflict const lost = s.queued()[0];
    CHECK_FALSE(lost.remote);
    bool const first = GENERATE(true, false);
    auto const close = [&] {
        CHECK(decide(lost, resolution::use_local()).error() == errc::not_found);
        REQUIRE(decide(lost, resolution::use_remote()));
        CHECK(decide(lost, resolution::use_remote()).error() == errc::invalid);
        auto tx = s.store.begin(access_mode::write);
        CHECK(s.queue.verify(*tx));
        CHECK(s.desk.undo(*tx, s.self, lost.id, as_bytes("anna"), now).error() == errc::not_found);
        decision_maker const who{as_bytes("anna")};
        CHECK(s.queue.undo(*tx, lost.id, row{}, collection_rules{}, who).error() == errc::invalid);
        CHECK(s.queue.find(*tx, lost.id)->local == lost.local);  // what the source says is not lost
    };
    if (first) { close(); }
    // The next run asks about theirs.
    REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
    CHECK(run(s, a, from).counts.queued == 1);
    if (!first) { close(); }
    auto const asked = s.queued();
    REQUIRE(asked.size() == 1);
    CHECK(asked[0].record == record_key{"events", "theirs"});
    REQUIRE(decide(asked[0], resolution::use_local()));
    s.sync();
    CHECK(s.shown("events") ==
          std::map<std::string, texts>{{"theirs", {{"day", "mon"}, {"hall", "x"}, {"note", "b"}}}});
    CHECK(s.queued().empty());
}

TEST_CASE("of two rows with one natural key and ids of their own one record is made", "[replica]") {
    shop s;
    s.sync();
    tables from;
    from.all["halls"] = {{"x", {{"name", "New"}, {"rows", "1"}}},
                         {"y", {{"name", "New"}, {"rows", "2"}}},
                         {"z", {{"name", "New"}, {"rows", "1"}}}};
    adoption_plan p = house_plan();
    p.collections[0].ids = adopted_id::kept;
    adoption const a{p, s.queue};
    auto const counts = run(s, a, from).counts;
    CHECK(counts.created == 1);
    CHECK(counts.queued == 1);
    CHECK(counts.joined == 1);
    CHECK(counts.duplicates == 2);
    CHECK(s.shown("halls") == std::map<std::string, texts>{{"x", {{"name", "New"}, {"rows", "1"}}}});
}

TEST_CASE("a match whose record is deleted before it is adopted is looked for anew", "[replica]") {
    shop s;
    s.create({"halls", "h"}, {{"name", "Great"}});
    s.sync();
    tables from;
    from.all["halls"] = {{"1", {{"name", "Great"}, {"rows", "4"}}}};
    adoption const a{house_plan(), s.queue};
    while (target_of(s, a, {"halls", "1"}).empty()) {
        REQUIRE(in(s.store, [&](auto& tx) { return a.step(tx, s.self, from, now, 1, [](auto&) {}); }));
    }
    REQUIRE(target_of(s, a, {"halls", "1"}) == "h");
    REQUIRE(in(s.store, [&](auto& tx) { return s.self.erase(tx, {"halls", "h"}, now); }));
    s.create({"halls", "i"}, {{"name", "Great"}});
    s.sync();
    SECTION("not adopted yet") {
        REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
        CHECK(run(s, a, from).counts.merged == 1);
        CHECK(s.shown("halls") == std::map<std::string, texts>{{"i", {{"name", "Great"}, {"rows", "4"}}}});
    }
    SECTION("adopted, and deleted since: it stays so until the row changes") {
        CHECK(run(s, a, from).counts.created == 1);
        REQUIRE(in(s.store, [&](auto& tx) { return s.self.erase(tx, {"halls", "h"}, now); }));
        s.sync();
        REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
        CHECK(run(s, a, from).counts.kept == 1);
        from.all["halls"][0].fields["rows"] = "5";
        REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
        CHECK(run(s, a, from).counts.merged == 1);
        CHECK(s.shown("halls") == std::map<std::string, texts>{{"i", {{"name", "Great"}, {"rows", "5"}}}});
    }
}

TEST_CASE("a row takes the place of one that was to be created, and is no more", "[replica]") {
    shop s;
    s.sync();
    tables from;
    from.all["halls"] = {{"1", {{"name", "Great"}, {"rows", "1"}}}, {"2", {{"name", "Great"}, {"rows", "2"}}}};
    adoption const a{house_plan(), s.queue};
    while (target_of(s, a, {"halls", "2"}).empty()) {
        REQUIRE(in(s.store, [&](auto& tx) { return a.step(tx, s.self, from, now, 1, [](auto&) {}); }));
    }
    source_row const first = from.all["halls"][0];
    from.all["halls"].erase(from.all["halls"].begin());
    CHECK(run(s, a, from).counts.created == 1);
    std::string const id = target_of(s, a, {"halls", "2"});
    CHECK(s.shown("halls") == std::map<std::string, texts>{{id, {{"name", "Great"}, {"rows", "2"}}}});
    // Should it come back, a person makes the two one.
    from.all["halls"].push_back(first);
    REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
    auto const counts = run(s, a, from).counts;
    CHECK(counts.kept == 1);
    CHECK(counts.queued == 1);
    CHECK(s.shown("halls").at(id).at("rows") == "2");
}

TEST_CASE("a reference follows a record that the authority did not accept to the one that it became", "[replica]") {
    constraint_table unique;
    unique.uniques = {{"hall_name", "halls", {"name"}}};
    shop s;
    authority_options o;
    o.constraints = &unique;
    s.home = authority<>{house_rules(), o};
    s.sync();
    tables from;
    from.all["halls"] = {{"n1", {{"name", "Attic"}, {"next", "n2"}}}, {"n2", {{"name", "Great"}}}};
    adoption const a{house_plan(), s.queue};
    CHECK(run(s, a, from).counts.created == 2);
    {
        shop other{9};
        other.create({"halls", "theirs"}, {{"name", "Great"}});
        REQUIRE(in(other.store, [&](auto& tx) { return other.self.prepare(tx, now); }));
        auto const q = in(other.store, [&](auto& tx) { return other.self.request_message(tx); });
        REQUIRE(serve(s.home_store, s.home, "anna", *q, now));
    }
    s.sync();
    std::string const attic = target_of(s, a, {"halls", "n1"});
    for (int again = 0; again < 2; ++again) {
        REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
        auto const counts = run(s, a, from).counts;
        CHECK(counts.joined == (again == 0 ? 1U : 0U));
        CHECK(counts.merged == (again == 0 ? 1U : 0U));
        CHECK(counts.kept == (again == 0 ? 0U : 2U));
        s.sync();
        CHECK(s.shown("halls").at(attic) == texts{{"name", "Attic"}, {"next", "theirs"}});
    }
    CHECK(s.shown("halls").size() == 2);
}

TEST_CASE("where there is no room for a row nothing of it is written, nor asked", "[replica]") {
    replica_options small_outbox;
    small_outbox.outbox.entries_max = 1;
    shop s{3, small_outbox};
    s.create({"events", "e"}, {{"hall", "h"}, {"day", "mon"}, {"note", "theirs"}});
    s.sync();
    tables from;
    from.all["events"] = {{"1", {{"day", "mon"}, {"note", "ours"}, {"title", "new"}}}};
    adoption_plan p;
    p.source = "till";
    p.collections = {{"events", {"day"}}};
    SECTION("in the outbox") {
        adoption const a{p, s.queue};
        s.create({"halls", "other"}, {{"name", "Other"}});
        CHECK(run(s, a, from).full);
        CHECK(s.queued().empty());
        s.sync();
        CHECK(run(s, a, from).counts.queued == 1);
        CHECK(s.queued().size() == 1);
        CHECK(s.shown("events").at("e").at("title") == "new");
    }
    SECTION("in the queue") {
        conflict_queue const none{conflict_options{1}};
        adoption const a{p, none};
        from.all["events"].push_back({"2", {{"day", "mon"}, {"note", "others"}, {"text", "more"}}});
        CHECK(run(s, a, from).full);
        CHECK_FALSE(s.shown("events").at("e").contains("text"));
    }
    SECTION("for one that never fits") {
        conflict_options little;
        little.bytes_max = 1'000;
        conflict_queue const none{little};
        adoption const a{p, none};
        from.all["events"][0].fields["note"] = std::string(900, 'x');
        auto const report = run(s, a, from);
        CHECK_FALSE(report.full);
        CHECK(report.counts.refused == 1);
        CHECK_FALSE(s.shown("events").at("e").contains("title"));
    }
}

TEST_CASE("a row that is asked about again is asked about with all that is contested then", "[replica]") {
    shop s;
    s.create({"events", "e"}, {{"day", "mon"}, {"note", "theirs"}, {"seats", "2"}});
    s.sync();
    tables from;
    from.all["events"] = {{"1", {{"day", "mon"}, {"note", "ours"}, {"seats", "2"}}}};
    adoption_plan p;
    p.source = "till";
    p.collections = {{"events", {"day"}}};
    adoption const a{p, s.queue};
    CHECK(run(s, a, from).counts.queued == 1);
    REQUIRE(in(s.store, [&](auto& tx) {
        return s.self.put(tx, {"events", "e"}, encoded({{"day", "mon"}, {"note", "theirs"}, {"seats", "3"}}), now);
    }));
    s.sync();
    // Its memory is lost.
    {
        auto tx = s.store.begin(access_mode::write);
        std::vector<bytes> keys;
        REQUIRE(scan_prefix(*tx, as_bytes("da"), [&](bytes_view k, bytes_view) {
            keys.push_back(to_bytes(k));
            return true;
        }));
        for (bytes const& k : keys) { REQUIRE(tx->erase(k)); }
        REQUIRE(tx->commit());
    }
    CHECK(run(s, a, from).counts.queued == 1);
    std::set<std::string> asked;
    for (conflict const& c : s.queued()) {
        for (contested_field const& f : c.fields) {
            bool const said = std::any_of(c.local.ops.begin(), c.local.ops.end(),
                                          [&](field_op const& op) { return field_path{op.field} == f.path; });
            CHECK(said);
            asked.insert(to_text(f.path));
        }
    }
    CHECK(asked == std::set<std::string>{"note", "seats"});
}

TEST_CASE("rows find each other's records although what those refer to has become another", "[replica]") {
    shop s;
    s.create({"halls", "h"}, {{"name", "Great"}});
    s.sync();
    tables from;
    from.all["halls"] = {{"n1", {{"name", "Great"}}}};
    from.all["events"] = {{"1", {{"hall", "n1"}, {"day", "mon"}, {"title", "one"}}}};
    adoption const a{house_plan(), s.queue};
    CHECK(run(s, a, from).counts.created == 1);
    s.sync();
    REQUIRE(in(s.store, [&](auto& tx) { return s.self.erase(tx, {"halls", "h"}, now); }));
    s.sync();
    from.all["halls"][0].fields["rows"] = "5";
    from.all["events"].push_back({"2", {{"hall", "n1"}, {"day", "mon"}, {"text", "more"}}});
    REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
    CHECK(run(s, a, from).counts.created == 1);  // the hall
    std::string const hall = target_of(s, a, {"halls", "n1"});
    CHECK(hall != "h");
    std::string const event = target_of(s, a, {"events", "1"});
    CHECK(target_of(s, a, {"events", "2"}) == event);
    CHECK(s.shown("events") ==
          std::map<std::string, texts>{{event, {{"hall", hall}, {"day", "mon"}, {"title", "one"}, {"text", "more"}}}});
}

TEST_CASE("a match that was not adopted is looked for anew when its record has got another key", "[replica]") {
    shop s;
    s.create({"halls", "h"}, {{"name", "Great"}});
    s.sync();
    tables from;
    from.all["halls"] = {{"1", {{"name", "Great"}, {"rows", "4"}}}};
    adoption const a{house_plan(), s.queue};
    while (target_of(s, a, {"halls", "1"}).empty()) {
        REQUIRE(in(s.store, [&](auto& tx) { return a.step(tx, s.self, from, now, 1, [](auto&) {}); }));
    }
    REQUIRE(in(s.store, [&](auto& tx) { return s.self.put(tx, {"halls", "h"}, encoded({{"name", "Small"}}), now); }));
    s.create({"halls", "i"}, {{"name", "Great"}});
    s.sync();
    REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
    CHECK(run(s, a, from).counts.merged == 1);
    CHECK(s.shown("halls") ==
          std::map<std::string, texts>{{"h", {{"name", "Small"}}}, {"i", {{"name", "Great"}, {"rows", "4"}}}});
}

TEST_CASE("two sources whose rows have the same ids are adopted one after the other", "[replica]") {
    shop s;
    s.sync();
    tables one;
    one.all["halls"] = {{"1", {{"name", "Great"}, {"rows", "4"}}}, {"2", {{"name", "Small"}}}};
    tables two;
    two.all["halls"] = {{"1", {{"name", "Cellar"}, {"rows", "7"}}}, {"2", {{"name", "Great"}, {"bar", "y"}}}};
    adoption_plan other = house_plan();
    other.source = "till 4";
    adoption const first{house_plan(), s.queue};
    adoption const second{other, s.queue};
    CHECK(run(s, first, one).counts.created == 2);
    REQUIRE(in(s.store, [&](auto& tx) { return second.restart(tx); }));
    auto const report = run(s, second, two);
    CHECK((report.counts.created == 1 && report.counts.merged == 1 && report.counts.duplicates == 0));
    std::map<std::string, texts> by_name;
    for (auto const& [id, f] : s.shown("halls")) { by_name[f.at("name")] = f; }
    CHECK(by_name == std::map<std::string, texts>{{"Great", {{"name", "Great"}, {"rows", "4"}, {"bar", "y"}}},
                                                  {"Small", {{"name", "Small"}}},
                                                  {"Cellar", {{"name", "Cellar"}, {"rows", "7"}}}});
    CHECK(target_of(s, first, {"halls", "1"}) == target_of(s, second, {"halls", "2"}));
    CHECK(target_of(s, first, {"halls", "1"}) != target_of(s, second, {"halls", "1"}));
    // Each has its own memory.
    auto const before = s.shown("halls");
    for (bool const is_first : {true, false}) {
        adoption const& a = is_first ? first : second;
        REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
        CHECK(run(s, a, is_first ? one : two).counts.kept == 2);
    }
    CHECK(s.shown("halls") == before);
}

TEST_CASE("a row follows its record when its natural key is edited, on either side", "[replica]") {
    shop s;
    s.create({"halls", "h"}, {{"name", "Great"}});
    s.sync();
    tables from;
    from.all["halls"] = {{"1", {{"name", "Great"}, {"rows", "4"}}, at(-5)}, {"2", {{"name", "Small"}}, at(-5)}};
    adoption const a{house_plan(), s.queue};
    auto const again = [&] {
        s.sync();
        REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
        auto const counts = run(s, a, from).counts;
        s.sync();
        return counts;
    };
    SECTION("here, before what was matched is adopted: it is another record's now") {
        while (target_of(s, a, {"halls", "1"}).empty()) {
            REQUIRE(in(s.store, [&](auto& tx) { return a.step(tx, s.self, from, now, 1, [](auto&) {}); }));
        }
        REQUIRE(in(s.store, [&](auto& tx) { return s.self.put(tx, {"halls", "h"}, encoded({{"name", "Old"}}), now); }));
        auto const counts = run(s, a, from).counts;
        CHECK((counts.created == 2 && counts.merged == 0));
        CHECK(s.shown("halls").at("h") == texts{{"name", "Old"}});
        CHECK(s.shown("halls").size() == 3);
    }
    SECTION("here, before what was matched is adopted, and another has its name") {
        while (target_of(s, a, {"halls", "1"}).empty()) {
            REQUIRE(in(s.store, [&](auto& tx) { return a.step(tx, s.self, from, now, 1, [](auto&) {}); }));
        }
        REQUIRE(in(s.store, [&](auto& tx) { return s.self.put(tx, {"halls", "h"}, encoded({{"name", "Old"}}), now); }));
        s.create({"halls", "i"}, {{"name", "Great"}});
        auto const counts = run(s, a, from).counts;
        CHECK((counts.created == 1 && counts.merged == 1));
        CHECK(s.shown("halls").at("h") == texts{{"name", "Old"}});
        CHECK(s.shown("halls").at("i") == texts{{"name", "Great"}, {"rows", "4"}});
    }
    SECTION("here, after it is adopted") {
        run(s, a, from);
        REQUIRE(in(s.store, [&](auto& tx) {
            return s.self.put(tx, {"halls", "h"}, encoded({{"name", "Grand"}, {"rows", "4"}}), now);
        }));
        CHECK(again().kept == 2);
        from.all["halls"][0].fields["rows"] = "5";  // written before the new name was
        CHECK(again().merged == 1);
        CHECK(s.shown("halls").at("h") == texts{{"name", "Grand"}, {"rows", "4"}});
        CHECK(s.shown("halls").size() == 2);
    }
    SECTION("in the source, after it is adopted: to a name that nobody has") {
        run(s, a, from);
        from.all["halls"][0].fields["name"] = "Grand";
        from.all["halls"][0].written = at(5);
        CHECK(again().merged == 1);
        CHECK(s.shown("halls").at("h") == texts{{"name", "Grand"}, {"rows", "4"}});
        CHECK(s.shown("halls").size() == 2);
    }
    SECTION("in the source: two rows swap their names") {
        run(s, a, from);
        std::string const small = target_of(s, a, {"halls", "2"});
        from.all["halls"][0].fields["name"] = "Small";
        from.all["halls"][1].fields["name"] = "Great";
        from.all["halls"][0].written = from.all["halls"][1].written = at(5);
        CHECK(again().merged == 2);
        CHECK(s.shown("halls") ==
              std::map<std::string, texts>{{"h", {{"name", "Small"}, {"rows", "4"}}}, {small, {{"name", "Great"}}}});
    }
    SECTION("in the source, while the run goes: it is what it says now") {
        while (target_of(s, a, {"halls", "1"}).empty()) {
            REQUIRE(in(s.store, [&](auto& tx) { return a.step(tx, s.self, from, now, 1, [](auto&) {}); }));
        }
        from.all["halls"][0].fields["name"] = "Other";
        run(s, a, from);
        CHECK(s.shown("halls").at("h") == texts{{"name", "Great"}});
        CHECK(s.shown("halls").size() == 3);
    }
}

TEST_CASE("adoption refuses what it can't do, and waits where there is no room", "[replica]") {
    replica_options small_outbox;
    small_outbox.outbox.entries_max = 2;
    shop s{3, small_outbox};
    tables from;
    for (int i = 0; i < 7; ++i) {
        from.all["halls"].push_back({std::to_string(i), {{"name", "H" + std::to_string(i)}}});
    }
    adoption const a{house_plan(), s.queue};
    auto const step = [&](adoption const& of, std::size_t budget) {
        return in(s.store, [&](auto& tx) { return of.step(tx, s.self, from, now, budget, [](auto&) {}); });
    };
    CHECK(step(a, 5).error() == errc::busy);
    s.sync();
    CHECK(step(a, 0).error() == errc::invalid);
    for (int i = 0; i < 4; ++i) {
        auto const report = run(s, a, from);
        CHECK(report.full == (i != 3));
        CHECK(report.counts.created == std::min<std::uint64_t>(7, static_cast<std::uint64_t>(i + 1) * 2));
        s.sync();
    }
    CHECK(s.shown("halls").size() == 7);

    adoption_plan other = house_plan();
    other.source = "till 4";
    CHECK(step(adoption{other, s.queue}, 5).error() == errc::invalid);
    for (int wrong = 0; wrong < 7; ++wrong) {
        adoption_plan p = house_plan();
        switch (wrong) {
            case 0: p.source.clear(); break;
            case 1: p.collections.clear(); break;
            case 2: p.collections[1].collection = "halls"; break;
            case 3: p.collections[1].key.push_back("day"); break;
            case 4: p.collections[0].key.push_back("next"); break;  // a record's key would depend on its like's
            case 5: p.collections[1].references[0].parent = "nowhere"; break;
            case 6: p.collections[1].references.push_back({"hall", "halls"}); break;
        }
        CHECK_FALSE(valid(p));
    }
    constraint_table t;
    t.references = {{"event_hall", "events", "hall", "halls"}};
    t.uniques = {{"one", "events", {"hall", "day"}}, {"two", "halls", {"name"}}};
    auto const plan = adoption_plan_of("till", t);
    CHECK(valid(plan));
    CHECK(plan.collections[0].collection == "halls");
    CHECK(plan.collections[1].key == std::vector<std::string>{"hall", "day"});
}

TEST_CASE("damaged state and rows that are none end nothing but themselves", "[replica]") {
    shop s;
    s.sync();
    struct raw_rows {
        std::vector<std::pair<std::string, bytes>> rows;
        status scan(std::string_view, bytes_view after, function_ref<bool(source_record const&)> visit) const {
            bool on = after.empty();
            for (auto const& [id, fields] : rows) {
                if (on && !visit({as_bytes(id), fields, {}})) { return {}; }
                on = on || as_text(after) == id;
            }
            return {};
        }
    };
    bytes list;
    cbor_writer{list}.array(0);
    bytes nested_reference;
    {
        cbor_writer w{nested_reference};
        w.map(1);
        w.text("next");
        w.array(1);
        w.array(1);
        w.text("a");
    }
    raw_rows from{{{"a", {}},
                   {"b", list},
                   {"c", bytes(7, std::byte{0xFF})},
                   {"d", encoded({{"name", "D"}})},
                   {"e", nested_reference}}};
    adoption_plan p = house_plan();
    p.collections.pop_back();
    adoption const a{p, s.queue};
    adoption_report report;
    while (report.more) {
        auto const step = in(s.store, [&](auto& tx) { return a.step(tx, s.self, from, now, 2, [](auto&) {}); });
        REQUIRE(step);
        report = *step;
    }
    CHECK(report.counts.refused == 4);
    CHECK(report.counts.created == 1);

    from.rows = {{std::string(256, 'x'), encoded({})}};
    REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
    for (int i = 0; i < 2; ++i) {
        REQUIRE(in(s.store, [&](auto& tx) { return a.step(tx, s.self, from, now, 9, [](auto&) {}); }));
    }
    CHECK(in(s.store, [&](auto& tx) { return a.step(tx, s.self, from, now, 9, [](auto&) {}); }).error() ==
          errc::invalid);

    // Every byte of the state and of a match bent: an error, or another state, and never worse.
    for (std::string_view const prefix : {"das", "dam"}) {
        bytes k;
        bytes v;
        {
            auto tx = s.store.begin(access_mode::read);
            REQUIRE(scan_prefix(*tx, as_bytes(prefix), [&](bytes_view at, bytes_view raw) {
                k = to_bytes(at);
                v = to_bytes(raw);
                return false;
            }));
        }
        REQUIRE_FALSE(k.empty());
        from.rows = {{"a", encoded({{"name", "D2"}})}};
        std::size_t errors = 0;
        for (std::size_t i = 0; i < v.size(); ++i) {
            for (unsigned const bit : {1U, 0x20U, 0x80U}) {
                bytes bent = v;
                bent[i] ^= static_cast<std::byte>(bit);
                auto tx = s.store.begin(access_mode::write);
                REQUIRE(tx->put(k, bent));
                for (int n = 0; n < 12; ++n) {
                    auto const step = a.step(*tx, s.self, from, now, 3, [](auto&) {});
                    errors += step ? 0 : 1;
                    if (!step || !step->more) { break; }
                }
            }
        }
        CHECK(errors > 10);
    }
}

namespace {

/// What any right adoption makes of the two sides, computed all at once and in memory.
struct model {
    std::map<std::string, std::map<std::string, texts>> target;  ///< collection -> id -> fields
    std::map<std::string, std::string> where;                    ///< "collection/id" of the source -> id
    std::multiset<std::array<std::string, 4>> contested;         ///< collection, id, field, value
    adoption_counts counts{};

    void adopt(std::string const& collection, std::vector<std::string> const& key, source_row const& r, texts fields,
               std::set<std::string>& claimed, std::map<std::string, std::string>& created, bool match_only) {
        std::string const name = collection + '/' + r.id;
        auto const said = [&](texts const& f) {
            std::string out;
            for (std::string const& k : key) {
                if (!f.contains(k)) { return std::string{}; }
                out += f.at(k) + '\n';
            }
            return out;
        };
        if (match_only) {
            std::string const mine = said(fields);
            std::string id;
            if (!mine.empty()) {
                for (auto const& [other, f] : target[collection]) {
                    if (id.empty() && said(f) == mine) { id = other; }
                }
                if (id.empty() && created.contains(mine)) { id = created[mine]; }
            }
            if (id.empty()) {
                id = "new " + name;
                if (!mine.empty()) { created[mine] = id; }
            }
            where[name] = id;
            return;
        }
        std::string const id = where[name];
        bool const duplicate = !claimed.insert(collection + '/' + id).second;
        counts.duplicates += duplicate ? 1 : 0;
        auto& rows = target[collection];
        if (!rows.contains(id)) {
            rows[id] = fields;
            ++counts.created;
            return;
        }
        texts& there = rows[id];
        if (there == fields) {
            ++counts.joined;
            return;
        }
        bool asks = false;
        for (auto const& [f, value] : fields) {
            if (!there.contains(f)) {
                there[f] = value;
            } else if (there[f] != value) {
                if (duplicate || f == "note" || f == "seats") {
                    contested.insert({collection, id, f, value});
                    asks = true;
                } else if (f == "least") {
                    if (std::stoi(value) < std::stoi(there[f])) { there[f] = value; }
                } else if (r.written && *r.written > now.wall) {
                    there[f] = value;
                }
            }
        }
        ++(asks ? counts.queued : counts.merged);
    }
};

bytes all_of(memory_storage& store, std::string_view but = {}) {
    bytes out;
    auto tx = store.begin(access_mode::read);
    REQUIRE(tx->scan({bytes{}, bytes(1, std::byte{0xFF})}, [&](bytes_view k, bytes_view v) {
        if (!but.empty() && starts_with(k, as_bytes(but))) { return true; }
        append(out, sha256(k));
        append(out, sha256(v));
        return true;
    }));
    return out;
}

}  // namespace

TEST_CASE("two random stores are adopted as a naive model says, with steps lost, dry and again",
          "[replica][property]") {
    for (std::uint64_t seed = 1; seed <= rounds(60U); ++seed) {
        CAPTURE(seed);
        syncline::random_generator random{seed};
        auto const draw = [&](std::uint64_t n) { return static_cast<std::size_t>(random() % n); };
        shop s{seed};
        model m;
        std::size_t const halls = draw(5);
        for (std::size_t i = 0; i < halls; ++i) {
            texts f{{"name", "H" + std::to_string(draw(6))}};
            if (draw(2) == 0) { f["rows"] = std::to_string(draw(3)); }
            std::string const id = "t" + std::to_string(i);
            m.target["halls"][id] = f;
            s.create({"halls", id}, f);
        }
        auto const event = [&](std::string const& hall) {
            texts f{{"hall", hall}, {"day", "d" + std::to_string(draw(3))}};
            for (char const* name : {"note", "seats", "least", "title"}) {
                if (draw(2) == 0) { f[name] = std::to_string(draw(3)); }
            }
            if (draw(8) == 0) { f.erase("day"); }
            return f;
        };
        for (std::size_t i = draw(8); i-- != 0;) {
            if (halls == 0) { break; }
            std::string const id = "e" + std::to_string(i);
            std::string const hall = "t" + std::to_string(draw(halls));
            m.target["events"][id] = event(hall);
            s.create({"events", id}, m.target["events"][id]);
        }
        s.sync();
        tables from;
        auto const when = [&]() -> std::optional<wall_time> {
            switch (draw(3)) {
                case 0: return std::nullopt;
                case 1: return at(-5'000);
                default: return at(5'000);
            }
        };
        std::size_t const own_halls = draw(6) + 1;
        for (std::size_t i = 0; i < own_halls; ++i) {
            texts f{{"name", "H" + std::to_string(draw(6))}};
            if (draw(2) == 0) { f["rows"] = std::to_string(draw(3)); }
            if (draw(3) == 0) { f["next"] = "s" + std::to_string(draw(own_halls)); }
            from.all["halls"].push_back({"s" + std::to_string(i), f, when()});
        }
        for (std::size_t i = draw(10); i-- != 0;) {
            std::string const hall = "s" + std::to_string(draw(own_halls));
            from.all["events"].push_back({"v" + std::to_string(i), event(hall), when()});
        }
        // The model: match all, then write all.
        std::set<std::string> claimed;
        std::map<std::string, std::string> created;
        for (bool const match_only : {true, false}) {
            for (adopted_collection const& c : house_plan().collections) {
                created.clear();
                for (source_row const& r : from.all[c.collection]) {
                    texts f = r.fields;
                    for (adopted_reference const& ref : c.references) {
                        bool const known = f.contains(ref.field) && m.where.contains("halls/" + f[ref.field]);
                        if (known) { f[ref.field] = m.where["halls/" + f[ref.field]]; }
                    }
                    m.adopt(c.collection, c.key, r, f, claimed, created, match_only);
                }
            }
        }

        adoption const a{house_plan(), s.queue};
        bytes const before = all_of(s.store);
        std::vector<told_row> dry;
        auto const foretold =
            dry_run(s.store, a, s.self, from, now, [&](adopted_row const& r) { dry.push_back(told(r)); });
        REQUIRE(foretold);
        CHECK(all_of(s.store) == before);
        std::vector<told_row> rows;
        auto const report = run(s, a, from, &rows, &random);
        CHECK(report.counts == foretold->counts);
        CHECK(rows == dry);
        CHECK(rows.size() == from.size());
        CHECK(report.counts.records() == from.size());

        m.counts.indexed = report.counts.indexed;
        m.counts.ambiguous = report.counts.ambiguous;
        CHECK(report.counts == m.counts);
        std::map<std::string, std::string> real;  // the model's names of new records -> theirs
        for (auto const& [name, id] : m.where) {
            auto const slash = name.find('/');
            std::string const got = target_of(s, a, {name.substr(0, slash), name.substr(slash + 1)});
            if (id.starts_with("new ")) {
                auto const put = real.emplace(id, got);
                CHECK(put.first->second == got);
            } else {
                CHECK(got == id);
            }
        }
        auto const named = [&](std::string const& id) { return real.contains(id) ? real.at(id) : id; };
        for (auto const& [collection, records] : m.target) {
            std::map<std::string, texts> expected;
            for (auto const& [id, fields] : records) {
                texts f = fields;
                for (char const* ref : {"hall", "next"}) {
                    if (f.contains(ref)) { f[ref] = named(f[ref]); }
                }
                expected[named(id)] = f;
            }
            CHECK(s.shown(collection) == expected);
        }
        std::multiset<std::array<std::string, 4>> waiting;
        for (conflict const& c : s.queued()) {
            for (field_op const& op : c.local.ops) {
                bytes one;
                cbor_writer w{one};
                w.map(1);
                w.text("x");
                w.raw(op.value);
                waiting.insert({c.record.collection, std::string{c.record.id_text()}, op.field, decoded(one)["x"]});
            }
        }
        std::multiset<std::array<std::string, 4>> expected;
        for (auto [collection, id, f, value] : m.contested) {
            expected.insert({collection, named(id), f, f == "next" || f == "hall" ? named(value) : value});
        }
        CHECK(waiting == expected);

        // Again: nothing more happens, whether it remembers or has forgotten everything.
        auto const halls_now = s.shown("halls");
        auto const events_now = s.shown("events");
        REQUIRE(in(s.store, [&](auto& tx) { return a.restart(tx); }));
        bytes const settled = all_of(s.store, "da");
        CHECK(run(s, a, from, nullptr, &random).counts.kept == from.size());
        CHECK(all_of(s.store, "da") == settled);
        {
            auto tx = s.store.begin(access_mode::write);
            std::vector<bytes> keys;
            REQUIRE(scan_prefix(*tx, as_bytes("da"), [&](bytes_view k, bytes_view) {
                keys.push_back(to_bytes(k));
                return true;
            }));
            for (bytes const& k : keys) { REQUIRE(tx->erase(k)); }
            REQUIRE(tx->commit());
        }
        std::size_t const open = s.queued().size();
        auto const anew = run(s, a, from, nullptr, &random).counts;
        CHECK(anew.created == 0);
        CHECK(anew.records() == from.size());
        CHECK(s.shown("halls").size() == halls_now.size());
        CHECK(s.shown("events").size() == events_now.size());
        CHECK(s.queued().size() >= open);
        s.sync();
        auto const halls_then = s.shown("halls");
        auto tx = s.home_store.begin(access_mode::read);
        std::size_t at_home = 0;
        REQUIRE(s.home.scan(*tx, [&](record_key const& k, row const& r) {
            if (k.collection == "halls") {
                ++at_home;
                CHECK(halls_then.at(std::string{k.id_text()}) == decoded(r.fields));
            }
            return true;
        }));
        CHECK(at_home == halls_then.size());
    }
}

TEST_CASE("whatever storage call of an adoption fails, it goes on from a whole state", "[replica][nth]") {
    tables from;
    from.all["halls"] = {{"1", {{"name", "Great"}, {"rows", "4"}}}, {"2", {{"name", "Small"}, {"next", "1"}}}};
    from.all["events"] = {{"1", {{"hall", "1"}, {"day", "mon"}, {"note", "ours"}}}};
    for (auto& [name, rows] : from.all) {
        for (source_row& r : rows) {
            for (char const* f : {"hall", "next"}) {
                if (r.fields.contains(f)) { r.fields[f] = "n" + r.fields[f]; }
            }
            r.id = "n" + r.id;
        }
    }
    rule_table const table = house_rules();
    conflict_queue const queue{};
    replica const self{table};
    adoption const a{house_plan(), queue};
    auto const make = [&](auto& store) {
        memory_storage home_store{};
        authority<> const home{table};
        syncline::random_generator random{5};
        REQUIRE(in(home_store, [&](auto& tx) { return home.open(tx, now, random); }));
        REQUIRE(in(store, [&](auto& tx) { return self.open(tx, "anna", now, random); }));
        REQUIRE(in(store, [&](auto& tx) {
            return self.create(tx, {"halls", "h"}, encoded({{"name", "Great"}}), now);
        }));
        REQUIRE(in(store, [&](auto& tx) {
            return self.create(tx, {"events", "e"}, encoded({{"hall", "h"}, {"day", "mon"}, {"note", "x"}}), now);
        }));
        for (int i = 0; i < 3; ++i) {
            REQUIRE(in(store, [&](auto& tx) { return self.prepare(tx, now); }));
            auto const q = in(store, [&](auto& tx) { return self.request_message(tx); });
            auto const p = serve(home_store, home, "anna", *q, now);
            REQUIRE(p);
            REQUIRE(in(store, [&](auto& tx) { return self.absorb(tx, *p, now, random); }));
        }
    };
    auto const operate = [&](auto& store) -> status {
        for (;;) {
            auto tx = store.begin(access_mode::write);
            if (!tx) { return tx.error(); }
            auto const report = a.step(*tx, self, from, now, 2, [](adopted_row const&) {});
            if (!report) { return report.error(); }
            if (auto ok = tx->commit(); !ok) { return ok; }
            if (!report->more) { return {}; }
        }
    };
    testing::nth_failure_options steps;
    steps.several_transactions = true;
    auto const report = testing::nth_failure(make, operate, steps);
    for (testing::violation const& v : report.violations) { FAIL_CHECK(v.axiom << ": " << v.what); }
    CHECK(report.runs > 100);
}
