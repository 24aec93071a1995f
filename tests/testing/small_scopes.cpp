// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/small_scopes.hpp>

#include <memory>
#include <string>
#include <vector>

#include <syncline/storage/memory.hpp>

#include "simulation/small_scopes_planted.hpp"
#include "support/catch.hpp"

using namespace syncline;
using testing::scope_operation;
using testing::scope_options;
using testing::scope_oracle;
using testing::scope_report;
using testing::scope_start;

namespace {

rule_table rules() {
    rule_table table;
    table.add({"things",
               rule::last_writer,
               {{"count", rule::counter},
                {"label", rule::last_writer},
                {"least", rule::minimum},
                {"ruled", rule::authority},
                {"asked", rule::manual}}});
    return table;
}
auto const memory = [] { return std::make_unique<memory_storage>(); };

scope_operation const create{"create", change_kind::create, {{"label", op_kind::set, {}}, {"count", op_kind::set, {}}}};
scope_operation const add{"add to count", change_kind::update, {{"count", op_kind::add, {}}}};
scope_operation const erase{"erase", change_kind::erase, {}};

scope_options scope(char const* name, std::size_t devices, std::size_t operations, scope_start start) {
    scope_options o;
    o.name = name;
    o.devices = devices;
    o.operations = operations;
    o.start = start;
    return o;
}

/// Everything was visited, and nothing is broken.
void whole(scope_options const& o) {
    scope_report const r = testing::explore(memory, rules(), o);
    INFO(testing::to_text(r));
    CHECK(r.complete);
    CHECK_FALSE(r.broken);
    CHECK(r.path.empty());
    CHECK(r.leaves > 0);
    CHECK(r.transitions > r.states);
    CHECK(r.lost > 0);
    CHECK(r.idle > 0);
    for (std::size_t i = 0; i < testing::scope_oracles; ++i) {
        if (i != static_cast<std::size_t>(scope_oracle::faults)) { CHECK(r.checks[i] > 0); }
    }
}

}  // namespace

TEST_CASE("two writes of every kind by two devices hold in every order, with every loss, double and replay") {
    whole(scope("two", 2, 2, scope_start::met));
}

TEST_CASE("devices that never met their authority come together in every order") {
    auto o = scope("nothing", 2, 2, scope_start::nothing);
    o.alphabet = {create, add, erase};
    whole(o);
    whole(scope("founded", 2, 1, scope_start::founded));
}

TEST_CASE("three devices, two records, pages of one row and refusals hold in every order") {
    whole(scope("three", 3, 1, scope_start::met));
    auto o = scope("narrow", 2, 2, scope_start::met);
    o.records = 2;
    o.rows_max = 1;
    o.mutations_max = 1;
    o.alphabet = {add, erase};
    whole(o);
    o = scope("refused", 2, 2, scope_start::met);
    o.alphabet = {{"set what is refused", change_kind::update, {{"bad", op_kind::set, {}}}}, add, erase};
    o.refused = "bad";
    whole(o);
}

TEST_CASE("a late message beside the one under way, and replies that reach the wrong device, change nothing") {
    auto o = scope("window", 2, 1, scope_start::met);
    o.window = 2;
    o.misdeliveries = true;
    o.alphabet = {add};
    whole(o);
}

TEST_CASE("every storage call of every step may fail, before and after its effect") {
    auto o = scope("faults", 2, 2, scope_start::met);
    o.storage_faults = true;
    o.alphabet = {add, erase};
    whole(o);
    scope_report const r = testing::explore(memory, rules(), o);
    CHECK(r.unacknowledged > 0);
    for (auto const call : {testing::storage_call::begin, testing::storage_call::get, testing::storage_call::put,
                            testing::storage_call::erase, testing::storage_call::scan, testing::storage_call::commit}) {
        CHECK(r.faults[static_cast<std::size_t>(call)][0] > 0);
        CHECK(r.faults[static_cast<std::size_t>(call)][1] > 0);
    }
}

TEST_CASE("each planted mistake is found, by the oracle that is for it, with the steps to it") {
    auto o = scope("planted", 2, 2, scope_start::met);
    o.records = 2;
    o.rows_max = 1;
    o.alphabet = {add, erase, create};
    CHECK(planted::all().size() == 12);
    for (planted::mistake const& m : planted::all()) {
        scope_report const r = testing::explore(memory, rules(), o, m);
        INFO(m.name() << '\n' << testing::to_text(r));
        CHECK_FALSE(r.complete);
        REQUIRE(r.broken);
        CHECK(r.broken->axiom == testing::name(m.by()));
        CHECK_FALSE(r.path.empty());
        CHECK(r.path.size() <= 8);
    }
}

TEST_CASE("the way to what is broken is the shortest, and readable") {
    planted::mistake const m{"tombstone_dropped", scope_oracle::model, planted::tombstone_dropped{}};
    scope_report const r = testing::explore(memory, rules(), scope("path", 2, 2, scope_start::met), m);
    REQUIRE(r.path.size() == 2);
    CHECK(r.path[0] == "device 1 writes: erase (record a)");
    CHECK(testing::to_text(r).find("BROKEN model: ") != std::string::npos);
}

TEST_CASE("an exploration that is cut short says so") {
    auto o = scope("cut", 2, 2, scope_start::met);
    o.states_max = 100;
    scope_report const r = testing::explore(memory, rules(), o);
    CHECK_FALSE(r.complete);
    CHECK_FALSE(r.broken);
    CHECK(testing::to_text(r).find("not all") != std::string::npos);
}

TEST_CASE("the naive model holds a few facts that can be seen by eye") {
    namespace s = testing::scopes;
    auto const table = rules();
    auto const& by = table.of("things");
    auto const op = [](char const* field, op_kind kind, std::int64_t n) {
        field_op out{field, kind, {}, timestamp{5}};
        cbor_writer{out.value}.integer(n);
        return out;
    };
    s::scope_row r;
    mutation m;
    m.stamp = timestamp{5};
    m.record = {"things", "a"};
    m.life = 1;
    m.kind = change_kind::update;
    m.ops = {op("count", op_kind::add, 2)};
    CHECK(s::scope_apply(r, m, by, 1, 1) == verdict_kind::rejected);
    m.kind = change_kind::create;
    CHECK(s::scope_apply(r, m, by, 1, 1) == verdict_kind::applied);
    CHECK(r.fields.at("count").value == 2);
    // Another, who saw nothing of it.
    m.kind = change_kind::update;
    CHECK(s::scope_apply(r, m, by, 2, 2) == verdict_kind::merged);
    CHECK(r.fields.at("count").value == 4);
    m.ops = {op("asked", op_kind::set, 1)};
    CHECK(s::scope_apply(r, m, by, 2, 3) == verdict_kind::applied);
    m.ops = {op("asked", op_kind::set, 2)};
    CHECK(s::scope_apply(r, m, by, 1, 4) == verdict_kind::conflict);
    m.ops = {op("asked", op_kind::set, 1)};
    CHECK(s::scope_apply(r, m, by, 1, 4) == verdict_kind::merged);
    m.kind = change_kind::erase;
    m.ops.clear();
    CHECK(s::scope_apply(r, m, by, 1, 5) == verdict_kind::merged);
    CHECK_FALSE(r.alive);
    m.kind = change_kind::update;
    m.ops = {op("count", op_kind::add, 2)};
    CHECK(s::scope_apply(r, m, by, 1, 6) == verdict_kind::overruled);
    CHECK(r.version == 5);
}
