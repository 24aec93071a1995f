// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/core/value.hpp>
#include <syncline/replica/mutation_batch.hpp>
#include <syncline/testing/generator.hpp>

#include "replica/world.hpp"

using namespace syncline;

namespace {

using origins_of_batch = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

bytes encoded(mutation const& m) {
    bytes out;
    cbor_writer w{out};
    encode_mutation(w, m);
    return out;
}
bytes batch_of(std::vector<bytes> const& all, origins_of_batch const& origins = {}) {
    mutation_batch_writer batch;
    for (bytes const& m : all) { REQUIRE(batch.add(m)); }
    for (auto const& [line, number] : origins) { batch.add_origin(line, number); }
    bytes out;
    cbor_writer w{out};
    batch.finish(w);
    return out;
}
result<std::pair<std::vector<bytes>, origins_of_batch>> read(bytes_view batch, decode_limits const& limits = {},
                                                             std::size_t mutations_max = 65'536) {
    std::pair<std::vector<bytes>, origins_of_batch> out;
    cbor_reader in{batch, limits};
    auto ok = decode_mutation_batch(
        in, limits, mutations_max, [&](bytes&& m) { out.first.push_back(std::move(m)); },
        [&](std::uint64_t line, std::uint64_t number) { out.second.emplace_back(line, number); });
    if (ok) { ok = in.finish(); }
    if (!ok) { return ok.error(); }
    for (bytes const& m : out.first) { CHECK(validate_canonical(m)); }
    return out;
}

}  // namespace

TEST_CASE("any frozen mutations come out of a batch byte for byte", "[mutation_batch]") {
    syncline::random_generator dice{20'261'129};
    std::size_t whole = 0;
    for (int round = 0; round < 300; ++round) {
        std::vector<bytes> all;
        origins_of_batch origins;
        std::size_t const n = dice() % 30;
        mutation last;
        for (std::size_t i = 0; i < n; ++i) {
            if (i == 0 || dice() % 3 == 0) { last = testing::any<mutation>{}(dice); }
            last.sequence = 7 + i;
            // What this build does not know, or does not read in this way, goes as it is.
            bool const unknown = dice() % 8 == 0;
            all.push_back(unknown ? encode(testing::any<value>{}(dice)) : encoded(last));
            whole += unknown ? 1 : 0;
            origins.emplace_back(dice() % 3 == 0 ? dice() : 5, i);
        }
        bytes const batch = batch_of(all, round % 2 == 0 ? origins : origins_of_batch{});
        CHECK(validate_canonical(batch));
        auto const back = read(batch);
        REQUIRE(back);
        REQUIRE(back->first == all);
        CHECK(back->second == (round % 2 == 0 ? origins : origins_of_batch{}));
        if (n != 0) {
            CHECK(read(batch, {}, n - 1).error() == errc::limit);
            bytes damaged = batch;
            for (std::uint64_t k = 1 + dice() % 3; k != 0; --k) {
                damaged[static_cast<std::size_t>(dice() % damaged.size())] = static_cast<std::byte>(dice() & 0xFF);
            }
            (void)read(damaged);
            CHECK_FALSE(read(bytes_view{batch}.first(static_cast<std::size_t>(dice() % batch.size()))));
        }
    }
    CHECK(whole > 100);
}

TEST_CASE("an edit of one field with a short id costs less than 14 bytes", "[mutation_batch]") {
    std::vector<bytes> all;
    origins_of_batch origins;
    syncline::random_generator dice{4};
    for (unsigned i = 0; i < 10'000; ++i) {
        mutation m;
        m.sequence = 1 + i;
        m.stamp = timestamp::make(wall_time{milliseconds{1'790'000'000'000 + 700 * i + dice() % 500}});
        m.record = {"guests", "r" + std::to_string(i)};
        m.base = 3 * i;
        m.ops = {{"score", op_kind::set, world::integer(static_cast<std::int64_t>(dice() % 100'000)), m.stamp}};
        all.push_back(encoded(m));
        origins.emplace_back(0x1234'5678'9abc'def0, 1 + i);
    }
    bytes const batch = batch_of(all, origins);
    CHECK(batch.size() < 14 * all.size());
    auto const back = read(batch);
    REQUIRE(back);
    CHECK(back->first == all);
    CHECK(back->second == origins);
}

TEST_CASE("a value goes in a group's batch as deep as it goes alone", "[mutation_batch]") {
    auto const deep = [](std::size_t depth) {
        bytes value(depth - 1, std::byte{0x81});
        value.push_back(std::byte{0x80});
        mutation m;
        m.sequence = 7;
        m.stamp = timestamp{5};
        m.kind = change_kind::update;
        m.record = {"things", "a"};
        m.ops = {{"deep", op_kind::set, std::move(value), m.stamp}};
        return m;
    };
    auto const grouped = [&](std::size_t depth) {
        mutation g;
        g.sequence = 7;
        g.stamp = timestamp{5};
        g.kind = change_kind::group;
        g.parts = {deep(1), deep(depth)};
        for (std::size_t i = 0; i < 2; ++i) {
            g.parts[i].sequence = g.sequence;
            g.parts[i].record.id = to_bytes(as_bytes(i == 0 ? "a" : "b"));
        }
        g.record = g.parts[0].record;
        return g;
    };
    decode_limits narrow;
    narrow.depth_max = 20;
    std::size_t const most = narrow.depth_max - 1;  // fields are a map around it
    for (std::size_t depth = 1; depth <= most; ++depth) {
        CAPTURE(depth);
        std::vector<bytes> const all{encoded(deep(depth)), encoded(grouped(depth)), encoded(grouped(depth))};
        auto const back = read(batch_of(all), narrow);
        REQUIRE(back);
        CHECK(back->first == all);
    }
    CHECK(read(batch_of({encoded(deep(narrow.depth_max + 1))}), narrow).error() == errc::limit);
    CHECK(read(batch_of({encoded(grouped(narrow.depth_max + 8))}), narrow).error() == errc::limit);
}

TEST_CASE("what is no item is refused at once", "[mutation_batch]") {
    mutation_batch_writer batch;
    CHECK_FALSE(batch.add({}));
    CHECK_FALSE(batch.add(bytes{std::byte{1}, std::byte{1}}));
}

TEST_CASE("a batch has no more kinds of mutations than mutations, and bounded operations in them", "[mutation_batch]") {
    auto const batch_with = [](std::size_t count, std::size_t kinds, std::size_t ops) {
        bytes batch;
        cbor_writer w{batch};
        w.array(15);
        w.unsigned_integer(count);
        w.array(kinds);
        for (std::size_t i = 0; i < kinds; ++i) {
            w.array(ops == 0 ? 0 : 3 + 2 * ops);
            if (ops == 0) { continue; }
            w.text("guests");
            w.unsigned_integer(static_cast<std::uint64_t>(change_kind::update));
            w.unsigned_integer(0);
            for (std::size_t n = 0; n < ops; ++n) {
                w.unsigned_integer(static_cast<std::uint64_t>(op_kind::unset));
                w.text("f");
            }
        }
        for (int i = 0; i < 9; ++i) { w.byte_string({}); }
        w.array(0);
        for (int i = 0; i < 3; ++i) { w.byte_string({}); }
        return batch;
    };
    CHECK(read(batch_with(0, 0, 0)));
    CHECK(read(batch_with(0, 1, 0)).error() == errc::malformed);
    CHECK(read(batch_with(0, 100'000, 0)).error() == errc::malformed);
    CHECK(read(batch_with(1, 1, 70'000)).error() == errc::limit);
}
