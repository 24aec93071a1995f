// SPDX-License-Identifier: BSL-1.0

/// Generators: the same values everywhere, valid ones, often equal, with the edges among them; made smaller they end,
/// and what is shown can be read.

#include <syncline/testing/generator.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/hash.hpp>

#include "support/catch.hpp"

namespace {

using namespace syncline;
using namespace syncline::testing;

struct pet {
    std::string name;
    std::optional<std::int64_t> legs{};
    std::vector<bool> tricks{};
};
constexpr auto describe(pet const*) {
    return record_of<pet>("pets", field("name", &pet::name), field("legs", &pet::legs), field("tricks", &pet::tricks));
}

/// A type that is not described, with all three customisations.
struct colour {
    int hue = 0;
};
colour generate(random_generator& r, colour const*) { return {static_cast<int>(below(r, 360))}; }
std::string show(colour const& c) { return "hue " + std::to_string(c.hue); }
std::vector<colour> shrink(colour const& c) {
    return c.hue == 0 ? std::vector<colour>{} : std::vector<colour>{{c.hue - 1}};
}

/// Some steps down from a value until there are none; which, by chance.
template <class T>
void walk_down(random_generator& r, T x) {
    std::size_t n = 0;
    for (auto less = smaller(x); !less.empty(); less = smaller(x)) {
        x = less[static_cast<std::size_t>(below(r, less.size()))];
        REQUIRE(++n < 2'000);
    }
}

}  // namespace

TEST_CASE("generators give the same values from one seed, whatever the compiler") {
    random_generator r{42};
    std::string all;
    auto const one = [&](auto const& make) { all += shown(make(r)); };
    for (int i = 0; i < 50; ++i) {
        one(any<value>{});
        one(any<row>{});
        one(any<mutation>{});
        one(any<reply>{});
        one(any<request>{});
        one(any<version_vector>{});
        one(any<event>{});
        one(any<pet>{});
        one(any<std::pair<double, std::int8_t>>{});
    }
    CHECK(to_hex(sha256(as_bytes(all))) == "4e07f7f86ea3ff5f13e7f86ed6d31687c3907adaafbab5eb186b62fc331451a8");
}

TEST_CASE("generated values are valid, often equal, and reach the edges") {
    random_generator r{1};
    std::size_t equal_ones = 0;
    bool least = false;
    bool below_int64 = false;
    bool nan = false;
    for (int i = 0; i < 3'000; ++i) {
        CHECK(validate_canonical(any<value>{}(r).encoded()));
        CHECK(valid(any<record_key>{}(r)));
        auto const made = any<row>{}(r);
        CHECK((made.deleted ? made.fields.empty() : validate_fields(made.fields).has_value()));
        CHECK(decode_request(encode(any<request>{}(r))));
        CHECK(decode_reply(encode(any<reply>{}(r))));
        equal_ones += any<std::int64_t>{}(r) == any<std::int64_t>{}(r) ? 1 : 0;
        least = least || any<std::int64_t>{}(r) == (std::numeric_limits<std::int64_t>::min)();
        value const v = any<value>{}(r);
        below_int64 = below_int64 || (v.type() == cbor_type::negative_integer && !v.as_int64());
        nan = nan || (v.as_double() && *v.as_double() != *v.as_double());
    }
    CHECK(equal_ones > 300);
    CHECK(least);
    CHECK(below_int64);
    CHECK(nan);
}

TEST_CASE("every way down ends, at the simplest value") {
    random_generator r{7};
    for (int i = 0; i < 200; ++i) {
        walk_down(r, any<value>{}(r));
        walk_down(r, any<pet>{}(r));
        walk_down(r, any<mutation>{}(r));
        walk_down(r, any<row>{}(r));
        walk_down(r, any<version_vector>{}(r));
        walk_down(r, any<double>{}(r));
        walk_down(r, any<std::int64_t>{}(r));
        walk_down(r, any<std::vector<std::string>>{}(r));
    }
    CHECK(smaller(0).empty());
    CHECK(smaller(-3) == std::vector<int>{0, 1, 3, -2});
    CHECK(smaller(8) == std::vector<int>{0, 1, 4, 6, 7});
    CHECK(smaller(std::string{"ab"}) == std::vector<std::string>{"", "b", "a", "aa"});
    CHECK(smaller(std::string{"\xC3\xA9"}) == std::vector<std::string>{""});  // never half a character
    CHECK(smaller(std::optional<int>{1}) == std::vector<std::optional<int>>{std::nullopt, 0});
}

TEST_CASE("values are shown as a person reads them") {
    CHECK(shown(true) == "true");
    CHECK(shown(std::string{"a\"\n"}) == "\"a\\\"\\x0a\"");
    CHECK(shown(0.1) == "0.1");
    CHECK(shown(-0.0) == "-0.0");
    CHECK(shown(1e300) == "1e+300");
    CHECK(shown(to_bytes("ab")) == "h'6162'");
    CHECK(shown(*value::map({{"b", 2}, {"a", *value::array({nullptr, 1.5, "x"})}})) ==
          "{\"a\": [null, 1.5, \"x\"], \"b\": 2}");
    CHECK(shown(pet{"Rex", 4, {true, false}}) == "{name: \"Rex\", legs: 4, tricks: [true, false]}");
    CHECK(shown(pet{"Ray", {}, {}}) == "{name: \"Ray\", tricks: []}");
    CHECK(shown(timestamp::make(wall_time{milliseconds{12}}, 3)) == "12.3");
    CHECK(shown(result<int>{errc::limit}) == "error: limit exceeded");
    CHECK(shown(std::pair{1, std::optional<bool>{}}) == "(1, none)");
    CHECK(shown(record_key{"guests", "anna"}) == "guests/anna");
    CHECK(shown(field_map{{{"a", 1}}}) == "{a: 1}");
}

TEST_CASE("a type of one's own brings its own generator, steps and text; a generator may keep what it makes small") {
    random_generator r{3};
    colour const c = any<colour>{}(r);
    CHECK(shown(std::vector<colour>{c}) == "[hue " + std::to_string(c.hue) + "]");
    walk_down(r, c);
    only_those const even{any<int>{}, [](int n) { return n % 2 == 0; }};
    for (int i = 0; i < 100; ++i) { CHECK(even(r) % 2 == 0); }
    CHECK(smaller(even, 8) == std::vector<int>{0, 4, 6});
}

TEST_CASE("what is the same goes by fields and bits") {
    CHECK(same(pet{"a", {}, {}}, pet{"a", {}, {}}));
    CHECK_FALSE(same(pet{"a", {}, {}}, pet{"a", 0, {}}));
    CHECK_FALSE(same(0.0, -0.0));
    double const nan = std::numeric_limits<double>::quiet_NaN();
    CHECK(same(nan, nan));
    CHECK(same(std::optional<double>{nan}, std::optional<double>{nan}));
    CHECK_FALSE(same(std::vector<double>{0.0}, std::vector<double>{-0.0}));
    CHECK_FALSE(same(std::vector<double>{}, std::vector<double>{0.0}));
}
