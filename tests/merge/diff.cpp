// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <syncline/merge/diff.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

TEST_CASE("diff: the operations that make one record of another, a counter's as an addition") {
    auto const ops =
        diff(fields({{"name", 1}, {"count", 5}, {"gone", 1}, {"same", 1}}),
             fields({{"name", 2}, {"count", 3}, {"new", 1}, {"same", 1}}), rules().of("things"), timestamp{9});
    REQUIRE(ops);
    REQUIRE(ops->size() == 4);
    for (field_op const& op : *ops) {
        CHECK(op.stamp == timestamp{9});
        if (op.field == "name") { CHECK((op.kind == op_kind::set && op.value == integer(2))); }
        if (op.field == "count") { CHECK((op.kind == op_kind::add && op.value == integer(-2))); }
        if (op.field == "gone") { CHECK((op.kind == op_kind::unset && op.value.empty())); }
        if (op.field == "new") { CHECK((op.kind == op_kind::set && op.value == integer(1))); }
    }
    CHECK(diff({}, {}, collection_rules{}, {})->empty());
    CHECK(diff(fields({{"a", 1}}), integer(1), collection_rules{}, {}).error() == errc::malformed);
}

TEST_CASE("diff, applied to what it was taken from, gives what it was taken to") {
    syncline::random_generator dice{5};
    auto const some = [&] {
        std::vector<std::pair<std::string, std::int64_t>> out;
        for (char const* name : {"a", "bb", "count", "c", "dddd"}) {
            if (dice() % 2 == 0) { out.emplace_back(name, static_cast<std::int64_t>(dice() % 4)); }
        }
        return fields(out);
    };
    for (int i = 0; i < 2000; ++i) {
        bytes const from = some();
        bytes const to = some();
        std::optional<row> r = row{};
        r->fields = from;
        mutation m;
        m.ops = *diff(from, to, rules().of("things"), timestamp{1});
        (void)apply(r, m, rules().of("things"), {});
        REQUIRE(r->fields == to);
    }
}
