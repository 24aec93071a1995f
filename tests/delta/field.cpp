// SPDX-License-Identifier: BSL-1.0

/// Field deltas give the target back, ask for the full value when the base is another, and refuse what strangers make up.

#include <syncline/delta/field.hpp>

#include <string>
#include <string_view>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/testing/generator.hpp>

#include "delta/pairs.hpp"
#include "support/catch.hpp"

namespace {

using namespace syncline;

bytes delta_of(value const& base, value const& target) {
    bytes out;
    delta_scratch scratch;
    field_delta_encode(value_view(base.encoded()), value_view(target.encoded()), out, scratch);
    return out;
}
result<bytes> applied(value const& base, bytes_view delta, decode_limits const& limits = {}) {
    bytes out = to_bytes("kept");
    auto const ok = field_delta_apply(value_view(base.encoded()), delta, out, limits);
    CHECK(starts_with(out, as_bytes("kept")));
    if (!ok) {
        CHECK(out.size() == 4);
        return ok.error();
    }
    return to_bytes(bytes_view(out).subspan(4));
}
/// The patch alone, as hexadecimal.
std::string patch_of(value const& base, value const& target) {
    bytes const delta = delta_of(base, target);
    return to_hex(value_view(delta).at(3)->encoded());
}

value list(std::vector<value> const& items) { return *value::array(items); }
value map(std::vector<value_entry> const& entries) { return *value::map(entries); }

/// A value of maps, lists, texts and numbers, with identities.
value random_value(random_generator& r, unsigned depth) {
    switch (below(r, depth == 0 ? 4 : 7)) {
        case 0: return value(static_cast<std::int64_t>(below(r, 100)));
        case 1: return value(std::string(below(r, 60), static_cast<char>('a' + below(r, 3))));
        case 2: return below(r, 2) == 0 ? value(nullptr) : value(below(r, 2) == 0);
        case 3: return value(delta_tests::stretch(r, below(r, 50)));
        case 4:
        case 5: {
            std::vector<value_entry> entries;
            for (std::string_view const key : {"id", "a", "b", "name", "list"}) {
                if (below(r, 3) != 0) {
                    entries.push_back(
                        {value(key), key == "id" ? value(static_cast<int>(below(r, 6))) : random_value(r, depth - 1)});
                }
            }
            return map(entries);
        }
        default: {
            std::vector<value> items;
            for (std::uint64_t n = below(r, 6); n != 0; --n) { items.push_back(random_value(r, depth - 1)); }
            return list(items);
        }
    }
}
/// Another with much in common.
value changed(random_generator& r, value_view v, unsigned depth) {
    if (depth == 0 || below(r, 6) == 0) { return random_value(r, depth); }
    if (v.is_map()) {
        std::vector<value_entry> entries;
        for (value_cursor c(v); c.next();) {
            std::uint64_t const what = below(r, 6);
            if (what != 0) {
                entries.push_back({value(c.key()), what == 1 ? changed(r, c.item(), depth - 1) : value(c.item())});
            }
        }
        return map(entries);
    }
    if (v.is_array()) {
        std::vector<value> items;
        for (value_cursor c(v); c.next();) {
            std::uint64_t const what = below(r, 8);
            if (what == 0) { continue; }
            if (what == 1) { items.push_back(random_value(r, depth - 1)); }
            items.push_back(what == 2 ? changed(r, c.item(), depth - 1) : value(c.item()));
        }
        if (items.size() > 1 && below(r, 3) == 0) {
            std::swap(items[below(r, items.size())], items[below(r, items.size())]);
        }
        return list(items);
    }
    return below(r, 2) == 0 ? value(v) : random_value(r, depth);
}

}  // namespace

TEST_CASE("values come back") {
    random_generator r(71);
    for (unsigned i = 0; i < delta_tests::rounds(3000); ++i) {
        value const base = random_value(r, 4);
        value const target = changed(r, value_view(base.encoded()), 4);
        bytes const delta = delta_of(base, target);
        auto const made = applied(base, delta);
        REQUIRE(made);
        REQUIRE(equal(*made, target.encoded()));
        CHECK(delta.size() <= target.encoded().size() + 32);
    }
}

TEST_CASE("what a patch says: fields, nested paths, elements by identity") {
    auto const item = [](char const* id, int n) { return map({{"id", id}, {"n", n}}); };
    value const base =
        map({{"a", 1}, {"b", map({{"c", 2}, {"d", 3}})}, {"l", list({item("x", 1), item("y", 2), item("z", 3)})}});
    auto const with = [&](value l) { return map({{"a", 1}, {"b", map({{"c", 2}, {"d", 3}})}, {"l", std::move(l)}}); };
    // {"a": [7]}
    CHECK(patch_of(base, map({{"a", 7},
                              {"b", map({{"c", 2}, {"d", 3}})},
                              {"l", list({item("x", 1), item("y", 2), item("z", 3)})}})) == "a161618107");
    // {"b": {"d": null}}
    CHECK(patch_of(base,
                   map({{"a", 1}, {"b", map({{"c", 2}})}, {"l", list({item("x", 1), item("y", 2), item("z", 3)})}})) ==
          "a16162a16164f6");
    // {"l": [false, 1, {"n": [5]}]}
    CHECK(patch_of(base, with(list({item("x", 1), item("y", 5), item("z", 3)}))) == "a1616c83f401a1616e8105");
    // {"l": [false, -1]}
    CHECK(patch_of(base, with(list({item("y", 2), item("z", 3)}))) == "a1616c82f420");
    // {"l": [false, [true, 2], 2, -1]}: the last comes first
    CHECK(patch_of(base, with(list({item("z", 3), item("x", 1), item("y", 2)}))) == "a1616c84f482f5020220");
    // Nothing changed.
    CHECK(patch_of(base, base) == "a0");
}

TEST_CASE("another base is told, and another result") {
    value const base = map({{"a", 1}, {"b", "text"}});
    value const target = map({{"a", 2}, {"b", "text"}});
    bytes const delta = delta_of(base, target);
    CHECK(applied(target, delta).error() == errc::not_found);
    CHECK(applied(value(1), delta).error() == errc::not_found);
    bytes other = delta;
    other.back() ^= std::byte{1};
    CHECK(applied(base, other).error() == errc::corrupt);
}

TEST_CASE("damage never gives another value, and limits hold") {
    random_generator r(72);
    for (unsigned i = 0; i < delta_tests::rounds(60); ++i) {
        value const base = random_value(r, 3);
        value const target = changed(r, value_view(base.encoded()), 3);
        bytes const delta = delta_of(base, target);
        for (std::size_t n = 0; n < delta.size(); ++n) { CHECK(!applied(base, bytes_view(delta).first(n))); }
        for (std::size_t bit = 0; bit < 8 * delta.size(); ++bit) {
            bytes bad = delta;
            bad[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
            auto const made = applied(base, bad);
            if (made) { CHECK(equal(*made, target.encoded())); }
        }
    }
    // A list that repeats a large element.
    value const base = list({value(bytes(10'000))});
    bytes bomb;
    cbor_writer w(bomb);
    w.array(4);
    w.unsigned_integer(1);
    w.byte_string(syncline::detail::field_hash_of(base.encoded()));
    w.byte_string(syncline::detail::field_hash_of({}));
    w.array(1001);
    w.boolean(false);
    for (int i = 0; i < 1000; ++i) {
        w.array(2);
        w.boolean(true);
        w.unsigned_integer(0);
    }
    CHECK(applied(base, bomb, {.bytes_max = 100'000}).error() == errc::limit);
}
