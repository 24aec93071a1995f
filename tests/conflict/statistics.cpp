// SPDX-License-Identifier: BSL-1.0

/// Which fields conflict most, and the rule that would have spared it.

#include <syncline/conflict/statistics.hpp>

#include <string>

#include <syncline/core/random.hpp>
#include <syncline/core/value.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

bytes fields(std::initializer_list<value_entry> entries) { return to_bytes(value::map(entries)->encoded()); }
collection_rules const rules{"bookings", rule::last_writer, {{"price", rule::manual}, {"table", rule::manual}}};

conflict clash(std::string_view field, value const& base, value const& local, value const& remote, std::uint64_t mine,
               std::uint64_t theirs) {
    conflict c;
    c.record = {"bookings", "b1"};
    c.local.record = c.record;
    c.local.stamp = timestamp{mine};
    c.local.base = 4;
    c.local.ops = {{std::string{field}, op_kind::set, to_bytes(local.encoded()), timestamp{mine}}};
    c.base = fields({{field, base}});
    c.remote.emplace();
    c.remote->version = 9;
    c.remote->floor = {9, timestamp{theirs}, 2};
    c.remote->fields = fields({{field, remote}});
    c.fields = {{{std::string{field}}, rule::manual, "", 0, 0, {}}};
    return c;
}

}  // namespace

TEST_CASE("the most contested first, and the rule that would have done") {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    conflict_statistics const s;
    random_generator g(1);
    for (int i = 0; i < 30; ++i) {
        // People always take the greater price, and any table.
        auto const mine = static_cast<std::int64_t>(below(g, 1000));
        auto const theirs = static_cast<std::int64_t>(below(g, 1000));
        conflict const price = clash("price", 500, mine, theirs, 100 + below(g, 50), 100 + below(g, 50));
        auto const how = mine > theirs ? resolution::use_local() : resolution::use_remote();
        REQUIRE(s.raised(*tx, price));
        REQUIRE(s.decided(*tx, price, *settle(price, how, rules, timestamp{300}, 1), rules, false));
        if (i % 2 != 0) { continue; }
        conflict const table = clash("table", "hall", "garden", "bar", 100 + below(g, 50), 100 + below(g, 50));
        REQUIRE(s.raised(*tx, table));
        auto const any = below(g, 2) == 0 ? resolution::use_local() : resolution::use_remote();
        REQUIRE(s.decided(*tx, table, *settle(table, any, rules, timestamp{300}, 1), rules, false));
    }
    auto const most = s.most(*tx, 10);
    REQUIRE((most && most->size() == 2));
    CHECK(((*most)[0].field == "price" && (*most)[0].conflicts == 30 && (*most)[0].decided == 30));
    CHECK(((*most)[1].field == "table" && (*most)[1].conflicts == 15));
    auto const advice = s.advice(*tx);
    REQUIRE((advice && advice->size() == 1));
    CHECK(words((*advice)[0]) == "bookings.price: maximum would have decided 30 of 30 conflicts as people did");
    CHECK(s.advice(*tx, 31)->empty());
}

TEST_CASE("a sum, an undo, and what happened without asking") {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    conflict_statistics const s;
    for (std::int64_t i = 1; i <= 12; ++i) {
        conflict const c = clash("guests", 40, 40 + i, 40 - i, 100, 100 + static_cast<std::uint64_t>(i));
        auto const both = resolution::merge_fields({{{"guests"}, field_take::custom, to_bytes(value{40}.encoded())}});
        REQUIRE(s.decided(*tx, c, *settle(c, both, rules, timestamp{300}, 1), rules, false));
        REQUIRE(s.decided(*tx, c, *settle(c, resolution::use_local(), rules, timestamp{300}, 1), rules, true));
        REQUIRE(s.undone(*tx, c));
    }
    auto const advice = *s.advice(*tx);
    REQUIRE(advice.size() == 1);
    CHECK(advice[0].use == rule::counter);
    auto const one = (*s.most(*tx, 1))[0];
    CHECK((one.decided == 12 && one.automatic == 12 && one.undone == 12));
}

TEST_CASE("whole records and too many fields are counted together") {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    conflict_statistics const s("ks", 3);
    for (char const* f : {"a", "b", "c", "d", "e", "a"}) { REQUIRE(s.raised(*tx, clash(f, 1, 2, 3, 1, 2))); }
    conflict whole = clash("a", 1, 2, 3, 1, 2);
    whole.fields = {contested_field{}};
    REQUIRE(s.raised(*tx, whole));
    std::string told;
    auto const most = s.most(*tx, 10);
    REQUIRE(most);
    for (field_statistic const& f : *most) { told += f.field + '=' + std::to_string(f.conflicts) + ' '; }
    CHECK(told == "=3 a=2 b=1 c=1 ");
}

TEST_CASE("golden bytes, damage, and failures") {
    memory_storage store;
    auto const once = [](auto& tx) -> status {
        conflict const c = clash("price", 1, 2, 3, 100, 200);
        conflict_statistics const s;
        if (auto ok = s.raised(tx, c); !ok) { return ok; }
        return s.decided(tx, c, *settle(c, resolution::use_remote(), rules, timestamp{300}, 1), rules, false);
    };
    auto tx = store.begin(access_mode::write);
    REQUIRE(once(*tx));
    bytes key;
    bytes raw;
    (void)tx->scan({}, [&](bytes_view k, bytes_view v) {
        key = to_bytes(k);
        raw = to_bytes(v);
        return true;
    });
    CHECK(to_hex(key) == "6b7308626f6f6b696e67737072696365");
    CHECK(to_hex(raw) ==
          "8b010101000001010201"
          "0401");
    random_generator g(2);
    for (int i = 0; i < 2'000; ++i) {
        bytes bad = raw;
        if (below(g, 3) == 0) {
            bad.resize(static_cast<std::size_t>(below(g, bad.size())));
        } else {
            bad[static_cast<std::size_t>(below(g, bad.size()))] ^= static_cast<std::byte>(1 + below(g, 255));
        }
        REQUIRE(tx->put(key, bad));
        auto const all = conflict_statistics{}.most(*tx, 10);
        REQUIRE((all || all.error() == errc::corrupt));
    }
    auto const report = testing::nth_failure([](auto&) {},
                                             [&](auto& s) -> status {
                                                 auto t = s.begin(access_mode::write);
                                                 if (!t) { return t.error(); }
                                                 if (auto ok = once(*t); !ok) { return ok; }
                                                 return t->commit();
                                             });
    CHECK(testing::to_text(report.violations) == "");
}
