// SPDX-License-Identifier: BSL-1.0

/// One value of two: texts, lists and maps, and what is left to a person.

#include <syncline/conflict/combine.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/core/value.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

bytes item(value const& v) { return to_bytes(v.encoded()); }
std::optional<std::string> texts(std::string_view b, std::string_view l, std::string_view r) {
    auto const both = combine(item(b), item(l), item(r));
    return both ? std::optional<std::string>{std::string{cbor_reader{*both}.text()}} : std::nullopt;
}
value list(std::initializer_list<value> items) { return *value::array(items); }
std::optional<value> lists(value const& b, value const& l, value const& r) {
    auto const both = combine(b.encoded(), l.encoded(), r.encoded());
    return both ? std::optional<value>{value{value_view{*both}}} : std::nullopt;
}

}  // namespace

TEST_CASE("texts: changes that don't touch become one") {
    CHECK(texts("one two three", "ONE two three", "one two THREE") == "ONE two THREE");
    CHECK(texts("one two three", "one two THREE", "ONE two three") == "ONE two THREE");
    CHECK(texts("notes", "notes; cake", "notes; nuts") == "notes; cake; nuts");
    CHECK(texts("", "b", "a") == "ab");
    CHECK(texts("a", "a", "b") == "b");
    CHECK(texts("a", "c", "c") == "c");
    CHECK_FALSE(texts("red", "blue", "green"));
    CHECK_FALSE(texts("abc", "abXc", "aYc"));
    // What is put at the edge of what the other replaced is a guess.
    CHECK_FALSE(texts("abc", "abcd", "abX"));
    CHECK_FALSE(texts("abc", "", "abcd"));
}

TEST_CASE("texts: never inside a character") {
    // Two characters that share their first byte, changed beside each other.
    std::string const base = "x \xC3\xA9 y z";
    std::string const left = "x \xC3\xA8 y z";
    std::string const right = "x \xC3\xA9 y w";
    auto const both = texts(base, left, right);
    REQUIRE(both);
    CHECK(*both == "x \xC3\xA8 y w");
    CHECK_FALSE(texts("\xC3\xA9", "\xC3\xA8", "\xC3\xAA"));
    CHECK(texts("\xC3\xA9x\xC3\xA9", "\xC3\xA8x\xC3\xA9", "\xC3\xA9x\xC3\xA9!") == "\xC3\xA8x\xC3\xA9!");
}

TEST_CASE("texts: never inside a character as people see it") {
    std::string const accent = "\xCC\x81";
    CHECK_FALSE(texts("e", "e!", "e" + accent));
    CHECK(texts("e and o", "e and o!", "e" + accent + " and o") == "e" + accent + " and o!");
    // Flags are paired from the left: one letter more before them makes others of all.
    std::string const d = "\xF0\x9F\x87\xA9", e = "\xF0\x9F\x87\xAA", f = "\xF0\x9F\x87\xAB", r = "\xF0\x9F\x87\xB7";
    CHECK_FALSE(texts(d + e + f + r, f + d + e + f + r, d + e + f + r + "!"));
    CHECK(texts("at " + d + e, "in " + d + e, "at " + d + e + "!") == "in " + d + e + "!");
    CHECK(texts("line\r\nline", "line!\r\nline", "line\r\nline?") == "line!\r\nline?");
}

TEST_CASE("lists: what touches is left to a person") {
    auto const n = [](std::int64_t i) { return value{i}; };
    // Another order against an addition; an order alone is its side's.
    CHECK_FALSE(lists(list({n(1), n(2), n(3)}), list({n(3), n(2), n(1)}), list({n(1), n(2), n(3), n(4)})));
    CHECK(lists(list({n(1), n(2)}), list({n(2), n(1)}), list({n(1), n(2)})) == list({n(2), n(1)}));
    CHECK(lists(list({n(1), n(2)}), list({n(2), n(1)}), list({n(2), n(1)})) == list({n(2), n(1)}));
    // The first item of an array tells it from the others.
    auto const seat = [&](std::int64_t id, char const* who) { return list({n(id), value{std::string_view{who}}}); };
    value const two = list({seat(1, "Ada"), seat(2, "Ben")});
    CHECK_FALSE(lists(two, list({seat(1, "Eve"), seat(2, "Ben")}), list({seat(1, "Ida"), seat(2, "Ben")})));
    CHECK_FALSE(lists(two, list({seat(2, "Ben")}), list({seat(1, "Ida"), seat(2, "Ben")})));
    CHECK(lists(two, list({seat(1, "Eve"), seat(2, "Ben")}), list({seat(1, "Ada"), seat(2, "Ida")})) ==
          list({seat(1, "Eve"), seat(2, "Ida")}));
    CHECK(lists(two, list({seat(1, "Eve"), seat(2, "Ben")}), list({seat(1, "Ada")})) == list({seat(1, "Eve")}));
    CHECK_FALSE(lists(two, list({seat(1, "Ada"), seat(2, "Ben"), seat(3, "Eve")}),
                      list({seat(1, "Ada"), seat(2, "Ben"), seat(3, "Ida")})));
    CHECK_FALSE(lists(list({}), list({seat(1, "Ada"), seat(1, "Ben")}), list({n(7)})));
}

TEST_CASE("lists: a long one costs no square") {
    std::vector<value> many;
    for (std::int64_t i = 0; i < 60'000; ++i) { many.emplace_back(i); }
    value const base = *value::array(many);
    std::vector<value> fewer(many.begin() + 1, many.end());
    std::vector<value> more = many;
    more.emplace_back(std::int64_t{60'000});
    auto const both = combine(base.encoded(), value::array(fewer)->encoded(), value::array(more)->encoded());
    REQUIRE(both);
    fewer.emplace_back(std::int64_t{60'000});
    CHECK(equal(*both, value::array(fewer)->encoded()));
}

TEST_CASE("texts: flags only, whose halves pair otherwise behind one more, cost no square") {
    // 200,000 halves of flags, any of 26: by the square it would be half an hour.
    random_generator g(7);
    std::string base;
    for (int i = 0; i != 200'000; ++i) {
        base += "\xF0\x9F\x87";
        base += static_cast<char>(0xA6 + g() % 26);
    }
    std::string const flag = "\xF0\x9F\x87\xA6\xF0\x9F\x87\xA7";
    CHECK(texts(base, flag + base, base + flag) == flag + base + flag);
    std::string const half = flag.substr(0, 4);
    CHECK_FALSE(texts(base, half + base, base + flag));  // all behind it is other flags
}

TEST_CASE("texts: the same whichever side is local, valid, and it holds both changes, for random texts") {
    random_generator g(5);
    auto const any = [&](std::string s) {
        static constexpr std::string_view parts[] = {"a", "b", "\xC3\xA9", "\xC3\xA8", "\xE2\x82\xAC", " "};
        for (std::uint64_t n = below(g, 3); n != 0; --n) {
            std::size_t at = static_cast<std::size_t>(below(g, s.size() + 1));
            while (at < s.size() && (static_cast<unsigned char>(s[at]) & 0xC0U) == 0x80U) { ++at; }
            s.insert(at, parts[below(g, 6)]);
        }
        return s;
    };
    std::size_t made = 0;
    for (int i = 0; i < 20'000; ++i) {
        std::string const base = any(any(any("")));
        std::string const l = any(base);
        std::string const r = any(base);
        auto const both = texts(base, l, r);
        REQUIRE(both == texts(base, r, l));
        if (!both) { continue; }
        ++made;
        REQUIRE(valid_utf8(*both));
        if (l == base) { REQUIRE(*both == r); }
        if (l == r) { REQUIRE(*both == l); }
        // Only insertions were made here: nothing of the base is gone, and nothing else came.
        if (l != r) { REQUIRE(both->size() + base.size() == l.size() + r.size()); }
    }
    CHECK(made > 5'000);
}

TEST_CASE("lists as sets, maps key by key") {
    CHECK(lists(list({1, 2, 3}), list({1, 3}), list({1, 2, 3, 4})) == list({1, 3, 4}));
    CHECK(lists(list({3, 1}), list({3, 1, "b"}), list({"a", 3, 1, "b"})) == list({3, 1, "a", "b"}));
    CHECK_FALSE(lists(list({1, 1}), list({1}), list({})));
    value const base = *value::map({{"a", 1}, {"b", 2}});
    CHECK(lists(base, *value::map({{"a", 5}, {"b", 2}}), *value::map({{"a", 1}})) == *value::map({{"a", 5}}));
    CHECK_FALSE(lists(base, *value::map({{"a", 5}, {"b", 2}}), *value::map({{"a", 6}, {"b", 2}})));
    CHECK_FALSE(lists(base, *value::map({{"a", 5}, {"b", 2}}), list({1})));
    CHECK_FALSE(combine(item(1), item(2), item(3)));
    CHECK_FALSE(combine({}, item("a"), item("b")));
}

TEST_CASE("lists against sets, for random ones") {
    random_generator g(6);
    for (int i = 0; i < 3'000; ++i) {
        std::set<std::int64_t> sides[3];
        value encoded[3];
        for (int s = 0; s < 3; ++s) {
            std::vector<value> items;
            for (std::int64_t n = 0; n < 6; ++n) {
                if (below(g, 2) == 0) {
                    sides[s].insert(n);
                    items.push_back(n);
                }
            }
            encoded[s] = *value::array(items);
        }
        std::set<std::int64_t> expected;
        for (std::int64_t n = 0; n < 6; ++n) {
            bool const was = sides[0].count(n) != 0;
            bool const l = sides[1].count(n) != 0;
            bool const r = sides[2].count(n) != 0;
            if (was ? l && r : l || r) { expected.insert(n); }
        }
        auto const both = lists(encoded[0], encoded[1], encoded[2]);
        REQUIRE(both);
        std::set<std::int64_t> got;
        value_cursor c(*both);
        while (c.next()) { got.insert(*c.item().as_int64()); }
        REQUIRE(got == expected);
        REQUIRE(both->size() == got.size());
    }
}
