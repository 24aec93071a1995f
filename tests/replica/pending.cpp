// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <optional>
#include <vector>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

pending make(change_kind kind, std::vector<field_op> ops, std::uint64_t stamp, bytes_view seen = {},
             position base = 3) {
    pending p;
    p.change.kind = kind;
    p.change.record = {"things", "t"};
    p.change.stamp = timestamp{stamp};
    p.change.base = base;
    std::sort(ops.begin(), ops.end(),
              [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
    for (field_op& op : ops) { op.stamp = p.change.stamp; }
    p.change.ops = std::move(ops);
    p.saw(seen);
    return p;
}

collection_rules const the_rules{"things", rule::last_writer, {{"b", rule::maximum}, {"c", rule::minimum}}};

coalescing take(pending& p, pending const& later) { return p.absorb(later, the_rules); }

}  // namespace

TEST_CASE("the algebra of coalescing, as its table says") {
    pending const creation = make(change_kind::create, {set("a", 1)}, 1, {}, 0);
    pending const update = make(change_kind::update, {set("b", 2)}, 2, {}, 0);
    pending const erase = make(change_kind::erase, {}, 3, {}, 0);

    pending p = creation;
    CHECK(take(p, update) == coalescing::absorbed);
    CHECK(p.change.kind == change_kind::create);
    CHECK(p.change.ops.size() == 2);
    CHECK(p.change.ops[0].stamp == timestamp{1});  // each operation keeps its stamp
    CHECK(p.change.ops[1].stamp == timestamp{2});

    p = update;
    CHECK(take(p, erase) == coalescing::absorbed);
    CHECK(p.change.kind == change_kind::erase);
    p = creation;
    CHECK(take(p, erase) == coalescing::annihilated);
    p = erase;
    CHECK(take(p, creation) == coalescing::kept_apart);
    CHECK(p.change == erase.change);

    SECTION("another base or life keeps them apart") {
        pending later = update;
        later.change.base = 9;
        p = update;
        CHECK(take(p, later) == coalescing::kept_apart);
        later = update;
        later.change.life = 2;
        CHECK(take(p, later) == coalescing::kept_apart);
    }
    SECTION("sums add up, and are kept apart where they can't") {
        p = make(change_kind::update, {add("n", 2), set("s", 5), unset("u")}, 1);
        CHECK(take(p, make(change_kind::update, {add("n", 3), add("s", 1), add("u", 4)}, 2)) == coalescing::absorbed);
        CHECK(p.change.ops[0].kind == op_kind::add);
        CHECK(p.change.ops[0].value == integer(5));
        CHECK(p.change.ops[1].kind == op_kind::set);
        CHECK(p.change.ops[1].value == integer(6));
        CHECK(p.change.ops[2].kind == op_kind::set);
        CHECK(p.change.ops[2].value == integer(4));
        pending const most = make(change_kind::update, {add("n", (std::numeric_limits<std::int64_t>::max)())}, 3);
        pending const kept = p;
        CHECK(take(p, most) == coalescing::kept_apart);
        CHECK(p.change == kept.change);
    }
    SECTION("of two extremes the more extreme stays, with its stamp; anything else on one is kept apart") {
        p = make(change_kind::update, {set("b", 9), set("c", 9)}, 1);
        CHECK(take(p, make(change_kind::update, {set("b", 3), set("c", 3)}, 2)) == coalescing::absorbed);
        CHECK(p.change.ops[0].value == integer(9));
        CHECK(p.change.ops[0].stamp == timestamp{1});
        CHECK(p.change.ops[1].value == integer(3));
        CHECK(p.change.ops[1].stamp == timestamp{2});
        CHECK(take(p, make(change_kind::update, {unset("b")}, 3)) == coalescing::kept_apart);
        CHECK(take(p, make(change_kind::update, {add("b", 1)}, 3)) == coalescing::kept_apart);
    }
    SECTION("what was seen first counts") {
        p = make(change_kind::update, {set("a", 1)}, 1, fields({{"a", 10}, {"b", 20}}));
        CHECK(take(p, make(change_kind::update, {set("a", 2), set("b", 2)}, 2, fields({{"a", 1}, {"b", 20}}))) ==
              coalescing::absorbed);
        CHECK(p.base == fields({{"a", 10}, {"b", 20}}));
    }
}

TEST_CASE("a coalesced mutation does what the two did, applied to anything") {
    syncline::random_generator dice{17};
    auto const some_ops = [&] {
        std::vector<field_op> ops;
        for (char const* name : {"a", "b", "c"}) {
            switch (dice() % 4) {
                case 0: ops.push_back(set(name, static_cast<std::int64_t>(dice() % 9))); break;
                case 1: ops.push_back(unset(name)); break;
                case 2: ops.push_back(add(name, static_cast<std::int64_t>(dice() % 9))); break;
                default: break;
            }
        }
        return ops;
    };
    std::size_t absorbed = 0;
    for (int i = 0; i < 5'000; ++i) {
        std::optional<row> start;
        bool const exists = dice() % 2 == 0;
        if (exists) {
            start = row{};
            start->fields = fields({{"a", 1}, {"b", 2}});
        }
        pending const first = make(exists ? change_kind::update : change_kind::create, some_ops(), 10, {}, 0);
        pending const later = make(dice() % 5 == 0 ? change_kind::erase : change_kind::update, {}, 20, {}, 0);
        pending second = later;
        if (second.change.kind == change_kind::update) { second = make(change_kind::update, some_ops(), 20, {}, 0); }

        std::optional<row> one_by_one = start;
        (void)apply(one_by_one, first.change, the_rules, {});
        (void)apply(one_by_one, second.change, the_rules, {});
        pending both = first;
        std::optional<row> at_once = start;
        switch (take(both, second)) {
            case coalescing::absorbed:
                ++absorbed;
                (void)apply(at_once, both.change, the_rules, {});
                REQUIRE(at_once->deleted == one_by_one->deleted);
                REQUIRE(at_once->fields == one_by_one->fields);
                break;
            case coalescing::annihilated: REQUIRE((!start && one_by_one->deleted)); break;
            case coalescing::kept_apart: {
                bool unlike = false;
                for (field_op const& x : first.change.ops) {
                    for (field_op const& y : second.change.ops) {
                        unlike = unlike || (x.field == y.field && x.field != "a" && x.kind != y.kind);
                    }
                }
                REQUIRE(unlike);
                break;
            }
        }
    }
    CHECK(absorbed > 2'000);
}

TEST_CASE("a pending mutation in an outbox gives itself back, or says that it is damaged") {
    pending p = make(change_kind::update, {set("a", 1), add("b", 2)}, 1, fields({{"a", 10}}));
    p.line = 5;
    bytes const raw = p.encode();
    auto const q = pending::parse(raw);
    REQUIRE(q);
    CHECK(q->base == p.base);
    CHECK(q->line == 5);
    CHECK(*q->decoded() == p.change);
    CHECK(*pending::mutation_in(raw) == p.change);
    for (std::size_t n = 0; n < raw.size(); ++n) {
        CHECK(pending::parse(bytes_view{raw}.first(n)).error() == errc::corrupt);
        CHECK(pending::mutation_in(bytes_view{raw}.first(n)).error() == errc::corrupt);
    }
}

TEST_CASE("a mutation that gets its sequence is the same one, encoded anew") {
    pending p = make(change_kind::update, {set("a", 1), add("b", 2)}, 70'000, fields({{"a", 5}, {"b", 6}}));
    p.line = 12;
    for (std::uint64_t const sequence : {1ULL, 23ULL, 24ULL, 70'000ULL, 5'000'000'000ULL}) {
        (void)p.encode();
        auto const first = pending::never_frozen(p.encoded);
        REQUIRE(first);
        CHECK(first->kind == change_kind::update);
        CHECK(first->record.collection == "things");
        CHECK(equal(first->record.id, as_bytes("t")));
        pending anew = p;
        anew.change.sequence = sequence;
        bytes const wanted = anew.encode();
        pending given = p;
        given.put_sequence(sequence);
        CHECK(given.encoded == anew.encoded);
        CHECK(given.whole() == wanted);
        CHECK_FALSE(pending::never_frozen(given.encoded));
        auto const o = pending::outline_in(wanted);
        REQUIRE(o);
        CHECK(o->sequence == sequence);
        for (std::size_t n = 0; n < p.encoded.size(); ++n) {
            CHECK_FALSE(pending::never_frozen(bytes_view{p.encoded}.first(n)));
        }
    }
    mutation group;
    group.kind = change_kind::group;
    group.parts = {make(change_kind::update, {set("a", 1)}, 5).change, make(change_kind::erase, {}, 5).change};
    group.parts[1].record = {"things", "u"};
    group.stamp = timestamp{5};
    bytes encoded;
    cbor_writer w{encoded};
    encode_mutation(w, group);
    CHECK_FALSE(pending::never_frozen(encoded));
}

TEST_CASE("a pending mutation from before there were origins has none") {
    pending p = make(change_kind::update, {set("a", 1)}, 1, fields({{"a", 10}}));
    (void)p.encode();
    bytes old;
    cbor_writer w{old};
    w.array(2);
    w.byte_string(p.encoded);
    w.byte_string(p.base);
    auto const q = pending::parse(old);
    REQUIRE(q);
    CHECK(q->line == 0);
    CHECK(*q->decoded() == p.change);
    CHECK(*pending::mutation_in(old) == p.change);
}

TEST_CASE("what was written before the store was opened anew is not joined with what comes after") {
    pending p = make(change_kind::update, {set("a", 1)}, 1, fields({{"a", 10}}));
    pending later = make(change_kind::update, {set("a", 2)}, 1, fields({{"a", 1}}));
    later.line = p.line + 1;
    pending const before = p;
    CHECK(p.absorb(later, collection_rules{}) == coalescing::kept_apart);
    CHECK(p.change == before.change);
}
