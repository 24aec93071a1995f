// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <syncline/merge/three_way.hpp>
#include <syncline/testing/generator.hpp>

#include "merge/folding.hpp"

using namespace syncline;

namespace {

struct address {
    std::string city;
    std::int64_t visits = 0;
};
constexpr auto describe(address const*) {
    return record_of<address>("addresses", field("city", &address::city),
                              field("visits", &address::visits, rule::counter));
}
struct client {
    std::string name;
    std::int64_t seats = 0;
    double paid = 0;
    bool active = false;
    std::vector<std::string> tags;
    address where;
    std::optional<std::string> note;
    std::string text;
    unknown_fields rest;
};
constexpr auto describe(client const*) {
    return record_of<client>("clients", field("name", &client::name), field("seats", &client::seats, rule::counter),
                             field("paid", &client::paid, rule::maximum),
                             field("active", &client::active, rule::enable_wins),
                             field("tags", &client::tags, rule::add_wins), field("where", &client::where, rule::nested),
                             field("note", &client::note, rule::manual), field("text", &client::text, rule::text_words),
                             unknown(&client::rest));
}
struct money {
    std::int64_t amount = 0;
    std::string currency;
    std::string title;
};
constexpr auto describe(money const*) {
    return record_of<money>("prices", field("amount", &money::amount, in_group{1}),
                            field("currency", &money::currency, in_group{1}), field("title", &money::title));
}

side const early{timestamp{10}, 2};
side const late{timestamp{20}, 1};

}  // namespace

TEST_CASE("member_merge: described structs and their encodings merge alike") {
    random_generator dice{21};
    testing::any<client> const make{};
    for (int round = 0; round < 2'000; ++round) {
        client const base = make(dice);
        client local = base;
        client remote = base;
        client const other = make(dice);
        client const third = make(dice);
        auto const some = [&](auto client::*m) {
            if (dice() % 3 == 0) { local.*m = other.*m; }
            if (dice() % 3 == 0) { remote.*m = third.*m; }
        };
        some(&client::name);
        some(&client::seats);
        some(&client::paid);
        some(&client::active);
        some(&client::tags);
        some(&client::where);
        some(&client::note);
        some(&client::text);
        auto const members = three_way(base, local, remote, late, early);
        auto const encoded = three_way(*encode_record(base), *encode_record(local), *encode_record(remote),
                                       rules_of<client>(), late, early);
        REQUIRE(members.has_value() == encoded.has_value());
        if (!members || !encoded->conflicts.empty()) { continue; }
        REQUIRE(*encode_record(members->record) == encoded->record);
    }
}

TEST_CASE("member_merge: every rule of a struct, once") {
    client base;
    base.name = "Dahl";
    base.seats = 10;
    base.tags = {"a", "b"};
    base.where = {"Bern", 1};
    base.text = "one two three";
    client local = base;
    local.seats = 12;
    local.paid = 5;
    local.active = true;
    local.tags = {"b", "c"};
    local.where.city = "Thun";
    local.note = "mine";
    local.text = "ONE two three";
    client remote = base;
    remote.seats = 9;
    remote.paid = 4;
    remote.tags = {"a", "b", "d"};
    remote.where.visits = 2;
    remote.note = "theirs";
    remote.text = "one two THREE";
    auto const m = three_way(base, local, remote, late, early);
    REQUIRE(m);
    CHECK(m->record.seats == 11);
    CHECK(m->record.paid == 5);
    CHECK(m->record.active);
    CHECK(m->record.tags == std::vector<std::string>{"b", "c", "d"});
    CHECK(m->record.where.city == "Thun");
    CHECK(m->record.where.visits == 2);
    CHECK(m->record.text == "ONE two THREE");
    CHECK(m->record.note == "theirs");
    CHECK(m->conflicts == std::vector<std::string>{"note"});
}

TEST_CASE("member_merge: members of a group win together") {
    money const base{100, "CHF", "hall"};
    money local = base;
    local.amount = 90;
    local.title = "the hall";
    money remote = base;
    remote.currency = "EUR";
    auto const m = three_way(base, local, remote, late, early);
    REQUIRE(m);
    CHECK(m->record.amount == 90);
    CHECK(m->record.currency == "CHF");  // never 90 EUR, which nobody wrote
    CHECK(m->record.title == "the hall");
    auto const other = three_way(base, local, remote, early, late);
    CHECK(other->record.amount == 100);
    CHECK(other->record.currency == "EUR");
}

TEST_CASE("member_merge: NaN is one value, zero has two, missing is not null") {
    client base;
    base.paid = std::numeric_limits<double>::quiet_NaN();
    client local = base;
    client remote = base;
    remote.name = "x";
    CHECK(three_way(base, local, remote)->decisions.empty());
    base.paid = 0.0;
    local = remote = base;
    local.paid = -0.0;
    auto const m = three_way(base, local, remote);
    CHECK(std::signbit(m->record.paid));  // it is a change
}
