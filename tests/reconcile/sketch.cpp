// SPDX-License-Identifier: BSL-1.0
#include <syncline/reconcile/sketch.hpp>

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

static_assert(sizeof(sketch_cell) == sketch_cell_bytes);

namespace {

row_hasher const keyed(reconcile_key{});

sketch_item any_item(random_generator& g, std::size_t size = 16) {
    bytes key(size);
    fill(g, key);
    return make_sketch_item(key, {g(), g()});
}
std::set<std::string> names(std::vector<sketch_item> const& items) {
    std::set<std::string> out;
    for (sketch_item const& i : items) { out.insert(to_hex(*sketch_item_key(i)) + ' ' + std::to_string(i.tag)); }
    return out;
}

}  // namespace

TEST_CASE("sketch: a key comes out of an item as it went in; what is no key is refused", "[reconcile]") {
    random_generator g(1);
    for (std::size_t size = 1; size <= sketch_key_max; ++size) {
        bytes key(size);
        fill(g, key);
        CHECK(*sketch_item_key(make_sketch_item(key, {1, 2})) == key);
        CHECK(make_sketch_item(key, {1, 2}).tag == 1);
    }
    CHECK(sketch_item_key(sketch_item{}).error() == errc::malformed);
    CHECK(sketch_item_key(sketch_item{{40, 0, 0, 0, 0}, 0}).error() == errc::malformed);
    CHECK(sketch_item_key(sketch_item{{0x616101, 0, 0, 0, 0}, 0}).error() == errc::malformed);  // bytes behind the key
}

TEST_CASE("sketch: an item is in the first cell, then in cell i with a chance of 1 / (1 + i / 2)", "[reconcile]") {
    random_generator g(2);
    std::size_t const cells = 512;
    std::vector<std::size_t> hits(cells);
    std::size_t const items = 20'000;
    for (std::size_t n = 0; n < items; ++n) {
        std::uint64_t last = 0;
        for (cell_walk at(g()); at.index() < cells; at.next()) {
            REQUIRE((at.index() == 0 || at.index() > last));
            last = at.index();
            ++hits[static_cast<std::size_t>(at.index())];
        }
    }
    CHECK(hits[0] == items);
    for (std::size_t i = 1; i < cells; ++i) {
        double const chance = 1 / (1 + static_cast<double>(i) / 2);
        double const n = static_cast<double>(items);
        double const deviation = std::sqrt(n * chance * (1 - chance));
        INFO(i);
        double const rounding = i == 1 ? 0.03 : 0.002;  // 0.64 instead of 0.67 at the second cell, less later
        CHECK(std::abs(static_cast<double>(hits[i]) - n * chance) < 5 * deviation + rounding * n);
    }
    // The walk is the same on every machine.
    std::string path;
    for (cell_walk at(42); at.index() < 60'000; at.next()) { path += std::to_string(at.index()) + ' '; }
    CHECK(path == "0 1 5 11 20 109 118 255 286 492 627 1387 1977 2760 3828 4694 10409 32347 45954 ");
}

TEST_CASE("sketch: differences come out of about 1.4 cells each, and nothing else does", "[reconcile]") {
    random_generator g(3);
    for (std::size_t const d : {0U, 1U, 2U, 3U, 10U, 50U, 400U}) {
        std::size_t const cells = 8 + d * 2;
        std::size_t decoded = 0;
        for (int round = 0; round < 20; ++round) {
            std::vector<sketch_cell> a(cells), b(cells);
            std::vector<sketch_item> only_a, only_b;
            for (std::size_t i = 0; i < 300; ++i) {
                auto const both = any_item(g);
                apply_to_sketch(a, 0, keyed, both, 1);
                apply_to_sketch(b, 0, keyed, both, 1);
            }
            for (std::size_t i = 0; i < d; ++i) {
                auto const one = any_item(g, 1 + i % sketch_key_max);
                (i % 3 == 0 ? only_b : only_a).push_back(one);
                apply_to_sketch(i % 3 == 0 ? b : a, 0, keyed, one, 1);
            }
            for (std::size_t i = 0; i < cells; ++i) { a[i].subtract(b[i]); }
            sketch_difference out;
            if (!decode_sketch(a, keyed, out)) { continue; }
            ++decoded;
            CHECK(names(out.added) == names(only_a));
            CHECK(names(out.removed) == names(only_b));
        }
        INFO(d);
        CHECK(decoded >= 18);
    }
}

TEST_CASE("sketch: removing undoes adding, and a part of a sketch is made alone", "[reconcile]") {
    random_generator g(4);
    std::vector<sketch_cell> whole(300), front(100), back(200);
    std::vector<sketch_item> items;
    for (int i = 0; i < 100; ++i) {
        items.push_back(any_item(g));
        apply_to_sketch(whole, 0, keyed, items.back(), 1);
        apply_to_sketch(front, 0, keyed, items.back(), 1);
        apply_to_sketch(back, 100, keyed, items.back(), 1);
    }
    front.insert(front.end(), back.begin(), back.end());
    CHECK(front == whole);
    for (auto const& i : items) { apply_to_sketch(whole, 0, keyed, i, -1); }
    CHECK(whole == std::vector<sketch_cell>(300));
}

TEST_CASE("sketch: a stranger's cells cost bounded work and never decode to more items than cells", "[reconcile]") {
    random_generator g(5);
    for (int round = 0; round < 300; ++round) {
        std::vector<sketch_cell> cells(64);
        for (int i = 0; i < 40; ++i) {
            auto const item = any_item(g);
            // Items with a true check in cells where they don't belong, doubled, or with counts that lie.
            auto& c = cells[below(g, cells.size())];
            c.apply(item, keyed.words(item.key, item.tag), below(g, 2) == 0 ? 1 : -1);
            if (below(g, 4) == 0) { c.count = static_cast<std::int64_t>(g()); }
        }
        sketch_difference out;
        CHECK_FALSE(decode_sketch(cells, keyed, out));
        CHECK(out.added.size() + out.removed.size() <= 64);
    }
}

TEST_CASE("sketch: cells for storage and for the wire come back as they were, and their bytes are pinned",
          "[reconcile]") {
    random_generator g(6);
    std::vector<sketch_cell> cells(40);
    for (int i = 0; i < 500; ++i) { apply_to_sketch(cells, 0, keyed, any_item(g, 5), 1); }
    bytes stored, sent;
    store_cells(cells, stored);
    std::vector<sketch_cell> back;
    REQUIRE(load_cells(stored, back));
    CHECK(back == cells);
    CHECK(load_cells(bytes_view{stored}.first(70), back).error() == errc::corrupt);

    encode_cells(std::span<sketch_cell const>{cells}.subspan(8), 8, 500, sent);
    CHECK(sent.size() <= 1 + 32 * (6 + 16 + 2));
    back.clear();
    REQUIRE(decode_cells(sent, 8, 500, 32, back));
    CHECK(back == std::vector<sketch_cell>(cells.begin() + 8, cells.end()));
    CHECK(decode_cells(sent, 8, 500, 31, back).error() == errc::limit);
    CHECK(back.size() == 32);
    for (std::size_t n = 0; n < sent.size(); ++n) {
        std::vector<sketch_cell> some;
        auto const s = decode_cells(bytes_view{sent}.first(n), 8, 500, 32, some);
        CHECK((s || some.empty()));
    }
    std::vector<sketch_cell> one(1);
    apply_to_sketch(one, 0, keyed, make_sketch_item(as_bytes("k"), {0x0102030405060708, 0}), 1);
    bytes golden;
    encode_cells(one, 0, 1, golden);
    CHECK(to_hex(golden) == "0200016b0807060504030201dd32e91ca5ad8543");
}
