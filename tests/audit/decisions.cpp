// SPDX-License-Identifier: BSL-1.0
#include <syncline/audit/decisions.hpp>

#include <string>
#include <vector>

#include <syncline/conflict/queue.hpp>
#include <syncline/merge/apply.hpp>

#include "audit/model.hpp"
#include "merge/folding.hpp"

using namespace audit_tests;
using sl::audit_kind;
using sl::audit_log;

static_assert(sl::audited_decision<sl::decision> && !sl::audited_decision<sl::mutation>);
static_assert(sl::audited_conflict<sl::conflict_note> && !sl::audited_conflict<sl::decision>);
static_assert(sl::conflict_audit<sl::audited_conflicts<transaction, sl::random_generator>>);

namespace {

std::uint64_t open_number(sl::audit_entry const& e, std::string_view field) {
    auto const found = sl::map_find(e.open, field);
    REQUIRE((found && *found));
    return sl::cbor_reader{**found}.unsigned_integer();
}
sl::conflict clash() {
    sl::conflict c;
    c.record = {"bookings", "b1"};
    c.local.sequence = 3;
    c.local.stamp = sl::timestamp{100};
    c.local.record = c.record;
    c.local.base = 4;
    c.local.ops = {{"table", sl::op_kind::set, text("garden"), sl::timestamp{100}}};
    c.base = folding::map_item({{"table", text("hall")}});
    c.remote.emplace();
    c.remote->version = 9;
    c.remote->floor = {9, sl::timestamp{200}, 2};
    c.remote->fields = folding::map_item({{"table", text("terrace")}});
    c.fields = {{{"table"}, sl::rule::manual, "", 0, 0, {}}};
    return c;
}

}  // namespace

TEST_CASE("decisions: each field that a rule decided is an entry that says who won and why, and no value", "[audit]") {
    sl::collection_rules const rules{"things", sl::rule::last_writer, {{"seats", sl::rule::maximum}}};
    std::optional<sl::row> r = folding::start(std::nullopt);
    (void)folding::lay(r, 1, 2, 1, 5, {{"seats", sl::op_kind::set, number(8), {}}}, rules);
    sl::mutation m;
    m.stamp = sl::timestamp{6};
    m.sequence = 4;
    m.record = {"things", "x"};
    m.base = 1;
    m.ops = {{"seats", sl::op_kind::set, number(6), m.stamp}};
    sl::apply_context context;
    context.author = 2;
    context.at = 3;
    auto const out = sl::apply(r, m, rules, context);
    REQUIRE(out.decisions.size() == 1);
    sl::memory_storage store;
    audit_log<> const log;
    sl::random_generator random{1};
    auto tx = write(store);
    REQUIRE(log.open(tx, {}, random));
    auto draft = draft_of(out.decisions[0], m);
    REQUIRE(log.append(tx, draft.finish(), random));
    auto nested = out.decisions[0];
    nested.inside = "left.rows";
    auto deeper = draft_of(nested, m);
    REQUIRE(log.append(tx, deeper.finish(), random));
    auto verdict = draft_of(out.verdict, out.reason, m, {});
    REQUIRE(log.append(tx, verdict.finish(), random));
    auto denial = draft_of(sl::verdict_kind::rejected, errc::forbidden, m, {});
    REQUIRE(log.append(tx, denial.finish(), random));

    auto const e = **log.find(tx, 0);
    CHECK(e.kind == audit_kind::merge_decision);
    CHECK((e.code == static_cast<std::uint64_t>(sl::rule::maximum) && e.sequence == 4 && e.collection == "things"));
    CHECK(open_number(e, "won") == static_cast<std::uint64_t>(sl::winner::confirmed));
    CHECK(open_number(e, "why") == static_cast<std::uint64_t>(sl::reason::by_value));
    CHECK(sl::equal(**sl::map_find(e.opened->masked, "field"), text("seats")));
    CHECK(sl::equal(**sl::map_find((**log.find(tx, 1)).opened->masked, "field"), text("seats.left.rows")));
    CHECK((**log.find(tx, 2)).kind == audit_kind::verdict);
    CHECK((**log.find(tx, 2)).code == static_cast<std::uint64_t>(sl::verdict_kind::overruled));
    CHECK((**log.find(tx, 3)).kind == audit_kind::denial);
    CHECK((**log.find(tx, 3)).code == static_cast<std::uint64_t>(errc::forbidden));
    CHECK(log.verify(tx)->sound());
}

TEST_CASE("decisions: what becomes of a conflict is in the log exactly when it happened", "[audit]") {
    sl::memory_storage store;
    audit_log<> const log;
    sl::random_generator random{1};
    sl::conflict_queue const queue;
    sl::collection_rules const rules{"bookings", sl::rule::last_writer, {{"table", sl::rule::manual}}};
    sl::wall_time const now{sl::milliseconds{1'790'000'000'000}};
    {
        // Without a log nothing is taken in: both, or neither.
        auto lost = write(store);
        sl::audited_conflicts nowhere{log, lost, random};
        CHECK(queue.raise(lost, clash(), now, nowhere).error() == errc::not_found);
    }
    auto tx = write(store);
    sl::audited_conflicts audit{log, tx, random};
    REQUIRE(log.open(tx, now, random));
    auto const id = queue.raise(tx, clash(), now, audit);
    REQUIRE(id);
    auto const c = *queue.find(tx, *id);
    sl::decision_maker who{sl::as_bytes("ann"), sl::timestamp{300}, now, 1, false};
    REQUIRE(queue.resolve(tx, *id, c.revision, sl::resolution::use_local(), rules, who, audit));
    REQUIRE(log.extent(tx)->size == 2);
    auto const opened = **log.find(tx, 0);
    auto const decided = **log.find(tx, 1);
    CHECK((opened.kind == audit_kind::conflict_decision && decided.kind == audit_kind::conflict_decision));
    CHECK(opened.code == static_cast<std::uint64_t>(sl::conflict_event::opened));
    CHECK(decided.code == static_cast<std::uint64_t>(sl::conflict_event::decided));
    CHECK(sl::as_text(decided.actor) == "ann");
    CHECK(opened.actor.empty());
    CHECK(open_number(decided, "id") == *id);
    CHECK(open_number(decided, "how") == static_cast<std::uint64_t>(sl::resolution::use_local().kind));
    CHECK(sl::to_hex(**sl::map_find(decided.open, "self")) == "f4");
    CHECK(sl::to_hex(**sl::map_find(decided.opened->masked, "fields")) == "8181657461626c65");
    CHECK(decided.stamp == sl::timestamp::make(now));
    for (auto const& [k, v] : raw(tx)) {
        if (k.front() != 'a') { continue; }
        CHECK(v.find("garden") == std::string::npos);
        CHECK(v.find("terrace") == std::string::npos);
    }
    CHECK(log.verify(tx)->sound());
}

TEST_CASE("decisions: what is about a record, and what is about none", "[audit]") {
    sl::record_key const key{"guests", "g1"};
    auto const evicted = sl::item_of(audit_kind::eviction, key);
    CHECK((evicted.kind == audit_kind::eviction && evicted.collection == "guests" && evicted.code == 0));
    CHECK(sl::as_text(evicted.record) == "g1");
    CHECK(evicted.has_private());
    auto const migrated = sl::item_of(audit_kind::migration, 7);
    CHECK((migrated.code == 7 && !migrated.has_private() && sl::check(migrated)));
}
