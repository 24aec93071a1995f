// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/merge/again.hpp>

#include "merge/folding.hpp"

using namespace syncline;
using namespace folding;

namespace {

collection_rules rules() {
    collection_rules out{"things", rule::authority_time, {}};
    out.fields = {{"seats", rule::counter}, {"text", rule::text_words}, {"tags", rule::add_wins}};
    return out;
}
std::optional<row> record() {
    auto r = start(std::nullopt);
    r->fields = map_item({{"name", number_item(0)}, {"seats", number_item(10)}});
    return r;
}
mutation change(position base, std::uint64_t stamp, std::vector<field_op> ops) {
    mutation m;
    m.sequence = 7;
    m.stamp = timestamp{stamp};
    m.record = {"things", "x"};
    m.base = base;
    for (field_op& op : ops) { op.stamp = m.stamp; }
    m.ops = std::move(ops);
    return m;
}
apply_outcome decide(std::optional<row>& r, mutation const& m, author_index author, position at) {
    apply_context c;
    c.author = author;
    c.at = at;
    return apply(r, m, rules(), c);
}
std::int64_t number(std::optional<row> const& r, char const* field) { return *detail::integer_of(*value_of(r, field)); }

}  // namespace

TEST_CASE("again: who came second says the same of what was first, and each change counts once") {
    auto r = record();
    mutation const mine =
        change(1, 50, {{"name", op_kind::set, number_item(2), {}}, {"seats", op_kind::add, number_item(5), {}}});
    REQUIRE(
        decide(r,
               change(1, 9, {{"name", op_kind::set, number_item(1), {}}, {"seats", op_kind::add, number_item(3), {}}}),
               2, 2)
            .verdict == verdict_kind::applied);
    REQUIRE(decide(r, mine, 3, 3).reason == errc::contended);
    CHECK(number(r, "seats") == 13);

    auto const once_more = issue_again(mine, r, timestamp{51});
    REQUIRE(once_more);
    CHECK(once_more->sequence == 0);
    CHECK(once_more->base == 2);
    CHECK(once_more->stamp == timestamp{51});
    CHECK(decide(r, *once_more, 3, 3).verdict == verdict_kind::applied);
    CHECK(number(r, "name") == 2);
    CHECK(number(r, "seats") == 18);
}

TEST_CASE("again: before the pull, or of a record that is gone, there is nothing to issue") {
    auto r = record();
    mutation const mine = change(1, 50, {{"name", op_kind::set, number_item(2), {}}});
    CHECK(issue_again(mine, r, timestamp{51}).error().code == errc::contended);
    CHECK(issue_again(mine, std::nullopt, timestamp{51}).error().code == errc::not_found);
    r->version = 9;
    r->deleted = true;
    CHECK(issue_again(mine, r, timestamp{51}).error().code == errc::not_found);
    r->deleted = false;
    r->life = 2;
    CHECK(issue_again(mine, r, timestamp{51}).error().code == errc::not_found);
}

TEST_CASE("again: two who created the same record: the second's becomes an update of the first's") {
    std::optional<row> r;
    mutation first = change(0, 5, {{"name", op_kind::set, number_item(1), {}}});
    first.kind = change_kind::create;
    mutation second = change(0, 6, {{"name", op_kind::set, number_item(2), {}}});
    second.kind = change_kind::create;
    REQUIRE(decide(r, first, 2, 1).changed);
    REQUIRE(decide(r, second, 3, 2).reason == errc::contended);
    auto const again = issue_again(second, r, timestamp{7});
    REQUIRE(again);
    CHECK(again->kind == change_kind::update);
    CHECK(decide(r, *again, 3, 2).verdict == verdict_kind::applied);
    CHECK(number(r, "name") == 2);
}

TEST_CASE(
    "again: many devices that are refused, pull and issue again all come through, and every addition counts once") {
    random_generator dice{31};
    for (int round = 0; round != 300; ++round) {
        auto r = record();
        position at = 1;
        std::uint64_t stamp = 10;
        std::int64_t sum = 10;
        struct device {
            author_index author;
            std::optional<mutation> waits;
        };
        std::vector<device> devices{{2, {}}, {3, {}}, {4, {}}};
        std::size_t begun = 0;
        std::size_t through = 0;
        for (std::size_t steps = 0; through != 12; ++steps) {
            REQUIRE(steps < 10'000);
            device& d = devices[static_cast<std::size_t>(dice() % devices.size())];
            if (!d.waits) {
                if (begun == 12) { continue; }
                auto const n = static_cast<std::int64_t>(dice() % 9) - 4;
                sum += n;
                ++begun;
                // Seen some time ago, or just now.
                position const base = 1 + dice() % at;
                ++stamp;
                d.waits = change(base, stamp,
                                 {{"name", op_kind::set, number_item(static_cast<std::int64_t>(stamp)), {}},
                                  {"seats", op_kind::add, number_item(n), {}}});
            }
            auto const out = decide(r, *d.waits, d.author, at + 1);
            if (out.verdict == verdict_kind::rejected) {
                REQUIRE(out.reason == errc::contended);
                auto again = issue_again(*d.waits, r, timestamp{++stamp});
                REQUIRE(again);
                d.waits = std::move(*again);
                continue;
            }
            ++at;
            ++through;
            CHECK(number(r, "name") != 0);
            d.waits.reset();
        }
        CHECK(number(r, "seats") == sum);
    }
}
