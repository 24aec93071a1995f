// SPDX-License-Identifier: BSL-1.0

/// What of a mutation the rules can apply alone, and what waits for a person.

#include <syncline/merge/partial.hpp>

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include <syncline/core/value.hpp>
#include <syncline/merge/diff.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

bytes fields(std::initializer_list<value_entry> entries) { return to_bytes(value::map(entries)->encoded()); }
/// One row that somebody else has made of `base`, and what this side made of it; both at their stamps.
struct meeting {
    row remote;
    mutation mine;
};
meeting meet(collection_rules const& by, bytes const& base, bytes const& theirs, bytes const& ours) {
    std::optional<row> r;
    mutation create;
    create.kind = change_kind::create;
    create.stamp = timestamp{1};
    auto first = diff({}, base, by, create.stamp);
    REQUIRE(first);
    create.ops = std::move(*first);
    REQUIRE(apply(r, create, by, {.author = 9, .at = 1}).changed);
    auto const edit = [&](bytes const& to, std::uint64_t stamp) {
        mutation m;
        m.kind = change_kind::update;
        m.stamp = timestamp{stamp};
        m.base = 1;
        auto ops = diff(base, to, by, m.stamp);
        REQUIRE(ops);
        m.ops = std::move(*ops);
        return m;
    };
    REQUIRE(apply(r, edit(theirs, 20), by, {.author = 2, .at = 2}).changed);
    return {*r, edit(ours, 10)};
}
std::vector<field_path> paths(std::vector<detail::asked_field> const& asked) {
    std::vector<field_path> out;
    for (auto const& f : asked) { out.push_back(f.path); }
    return out;
}

}  // namespace

TEST_CASE("what a person decides waits, and the rules have the rest") {
    collection_rules const by{"c", rule::last_writer, {{"asked", rule::manual}, {"n", rule::counter}}};
    auto const v = [](int asked, int n, int name, int free) {
        return fields({{"asked", asked}, {"n", n}, {"name", name}, {"free", free}});
    };
    auto m = meet(by, v(1, 10, 1, 1), v(2, 13, 2, 1), v(3, 15, 3, 3));
    auto const done = detail::apply_rest(m.remote, m.mine, by, 1, nullptr);
    REQUIRE(done);
    CHECK(paths(done->asked) == std::vector<field_path>{{"asked"}});
    CHECK(done->after->fields == v(2, 18, 2, 3));  // theirs is later
    CHECK(m.mine.ops.size() == 3);                 // without what waits
}

TEST_CASE("of a nested field the part inside waits") {
    collection_rules by{"c", rule::last_writer, {{"a", rule::nested}}};
    by.fields.back().inner = {{"x", rule::manual}, {"y", rule::counter}};
    auto const v = [](int x, int y) { return fields({{"a", *value::map({{"x", x}, {"y", y}})}}); };
    auto m = meet(by, v(1, 10), v(2, 13), v(3, 15));
    auto const done = detail::apply_rest(m.remote, m.mine, by, 1, nullptr);
    REQUIRE(done);
    CHECK(paths(done->asked) == std::vector<field_path>{{"a", "x"}});
    CHECK(done->after->fields == v(2, 18));
}

TEST_CASE("ranks that are not known wait, those that are decide") {
    collection_rules const by{"c", rule::last_writer, {{"pay", rule::role}}};
    auto const v = [](int pay, int name) { return fields({{"pay", pay}, {"name", name}}); };
    auto m = meet(by, v(1, 1), v(2, 1), v(3, 3));
    auto copy = m;
    auto const blind = detail::apply_rest(m.remote, m.mine, by, 1, nullptr);
    REQUIRE(blind);
    CHECK(paths(blind->asked) == std::vector<field_path>{{"pay"}});
    CHECK(blind->after->fields == v(2, 3));
    merge_host host;
    host.role_of = [](author_index a, void const*) -> std::uint32_t { return a == 1 ? 5 : 1; };
    auto const knowing = detail::apply_rest(copy.remote, copy.mine, by, 1, &host);
    REQUIRE(knowing);
    CHECK(knowing->asked.empty());
    CHECK(knowing->after->fields == v(3, 3));  // the earlier, and of the higher rank
}

TEST_CASE("what was first by the authority's time is asked about alone") {
    collection_rules const by{"c", rule::last_writer, {{"p", rule::authority_time}, {"q", rule::authority_time}}};
    auto const v = [](int p, int q, int name) { return fields({{"p", p}, {"q", q}, {"name", name}}); };
    auto m = meet(by, v(1, 1, 1), v(2, 1, 1), v(3, 3, 3));
    auto const done = detail::apply_rest(m.remote, m.mine, by, 1, nullptr);
    REQUIRE(done);
    CHECK(paths(done->asked) == std::vector<field_path>{{"p"}});
    CHECK(done->after->fields == v(2, 3, 3));
}

TEST_CASE("what can't be applied is an error, and nothing is made") {
    collection_rules const by{"c", rule::last_writer, {{"n", rule::counter}}};
    auto m = meet(by, fields({{"n", 1}}), fields({{"n", 2}}), fields({{"n", 3}}));
    m.mine.ops[0].kind = op_kind::add;
    m.mine.ops[0].value = to_bytes(value{"no number"}.encoded());
    CHECK(detail::apply_rest(m.remote, m.mine, by, 1, nullptr).error() == errc::type_mismatch);
    m.mine.ops.clear();
    auto const nothing = detail::apply_rest(m.remote, m.mine, by, 1, nullptr);
    REQUIRE(nothing);
    CHECK(nothing->after == m.remote);
}
