// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <optional>
#include <string>
#include <vector>

#include <syncline/merge/record_delta.hpp>
#include <syncline/merge/three_way.hpp>
#include <syncline/testing/generator.hpp>

#include "merge/folding.hpp"

using namespace syncline;
using namespace folding;
using testing::field_map;

TEST_CASE("record_delta: applied it makes the other one, inverted it takes it back, composed it is one") {
    random_generator dice{41};
    testing::any<field_map> const make{};
    for (int round = 0; round < 3'000; ++round) {
        bytes const a = make(dice).encode();
        bytes const b = make(dice).encode();
        bytes const c = make(dice).encode();
        auto const ab = delta_between(a, b);
        auto const bc = delta_between(b, c);
        REQUIRE((ab && bc));
        CHECK(apply_delta(*ab, a)->fields == b);
        CHECK(apply_delta(*ab, a)->conflicts.empty());
        CHECK(apply_delta(*ab, b)->fields == b);  // once more changes nothing
        CHECK(apply_delta(inverse(*ab), b)->fields == a);
        CHECK(inverse(inverse(*ab)) == *ab);
        auto const ac = compose(*ab, *bc);
        REQUIRE(ac);
        CHECK(*ac == *delta_between(a, c));
        CHECK(compose(*ab, inverse(*ab))->empty());
        CHECK(ab->empty() == (a == b));
        bytes raw;
        cbor_writer w{raw};
        encode_delta(w, *ab);
        cbor_reader in{raw};
        CHECK(decode_delta(in) == *ab);
        CHECK(in.finish());
    }
}

TEST_CASE("record_delta: an undo leaves what others have changed since, and names it") {
    bytes const before = map_item({{"a", number_item(1)}, {"b", number_item(2)}});
    bytes const after = map_item({{"a", number_item(5)}, {"b", number_item(6)}});
    bytes const later = map_item({{"a", number_item(5)}, {"b", number_item(9)}});
    auto const undo = inverse(*delta_between(before, after));
    auto const undone = apply_delta(undo, later);
    CHECK(undone->fields == map_item({{"a", number_item(1)}, {"b", number_item(9)}}));
    CHECK(undone->conflicts == std::vector<std::string>{"b"});
    CHECK(compose(undo, undo).error() == errc::contended);
    // Of a counter it is a subtraction: others' additions stay.
    collection_rules const rules{"things", rule::last_writer, {{"a", rule::counter}}};
    auto const ops = operations_of(undo, rules, timestamp{7});
    REQUIRE(ops);
    CHECK((*ops)[0].kind == op_kind::add);
    CHECK(detail::integer_of((*ops)[0].value) == -4);
    CHECK(delta_between(number_item(1), before).error() == errc::malformed);
    CHECK(apply_delta(undo, number_item(1)).error() == errc::malformed);
}

TEST_CASE("record_delta: of a group its operations take nothing away that the delta doesn't know") {
    bytes const before = map_item({{"amount", number_item(1)}, {"currency", text_item("EUR")}});
    bytes const after = map_item({{"amount", number_item(2)}, {"currency", text_item("EUR")}});
    collection_rules rules{"things", rule::last_writer, {}};
    rules.groups = {{"money", rule::last_writer, {"amount", "currency"}}};
    auto const undo = inverse(*delta_between(before, after));
    auto const some = operations_of(undo, rules, timestamp{7});
    REQUIRE(some);
    REQUIRE(some->size() == 1);
    CHECK(some->front().field == "amount");
    CHECK(some->front().value == number_item(1));
    // With the record at hand the group goes whole.
    auto const all = operations_of(undo, after, rules, timestamp{7});
    REQUIRE(all);
    CHECK(*all == *diff(after, before, rules, timestamp{7}));
    CHECK(all->size() == 2);
    CHECK(operations_of(undo, number_item(1), rules, timestamp{7}).error() == errc::malformed);
}

TEST_CASE("record_delta: a stranger's delta is an error or a delta") {
    bytes raw;
    cbor_writer w{raw};
    encode_delta(w, *delta_between(map_item({{"a", number_item(1)}}), map_item({{"b", number_item(2)}})));
    random_generator dice{42};
    for (int round = 0; round < 5'000; ++round) {
        bytes b = raw;
        b[static_cast<std::size_t>(dice() % b.size())] = static_cast<std::byte>(dice());
        cbor_reader in{b};
        record_delta const d = decode_delta(in);
        if (!in.finish()) { continue; }
        bytes again;
        cbor_writer out{again};
        encode_delta(out, d);
        REQUIRE(again == b);
    }
}
