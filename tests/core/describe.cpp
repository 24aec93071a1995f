// SPDX-License-Identifier: BSL-1.0

/// Described records: what is written, what is read, what is kept, what is refused.

#include <syncline/core/describe.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "core/rfc8949.hpp"
#include "fuzz_targets/cbor_model.hpp"
#include "fuzz_targets/describe.hpp"
#include "support/catch.hpp"

using namespace syncline;
using rfc8949::unhex;

namespace app {

struct rule {
    int number = 0;
    friend constexpr bool operator==(rule const&, rule const&) = default;
};
struct is_public {};

struct guest {
    std::string name;
    std::int64_t seat = 0;
    std::optional<std::string> diet;
    unknown_fields rest;
};
constexpr auto describe(guest const*) {
    return record_of<guest>("guests", field("name", &guest::name, rule{3}, is_public{}), field("seat", &guest::seat),
                            field("diet", &guest::diet), unknown(&guest::rest));
}

/// The same collection, as a newer program has it.
struct guest_v2 {
    std::string name;
    std::int64_t seat = 0;
    std::optional<std::string> diet;
    std::optional<std::vector<std::string>> allergies;
    std::optional<value> a;
    double zoom = 1;
    unknown_fields rest;
};
constexpr auto describe(guest_v2 const*) {
    return record_of<guest_v2>("guests", field("zoom", &guest_v2::zoom), field("name", &guest_v2::name),
                               field("seat", &guest_v2::seat), field("diet", &guest_v2::diet),
                               field("allergies", &guest_v2::allergies), field("a", &guest_v2::a),
                               unknown(&guest_v2::rest));
}

/// Keeps nothing that it doesn't know.
struct closed {
    bool open = false;
};
constexpr auto describe(closed const*) { return record_of<closed>("closed", field("open", &closed::open)); }

/// Describes itself inside itself: how deep it goes is the input's choice, up to the limit.
struct tree {
    std::vector<tree> children;
};
constexpr auto describe(tree const*) { return record_of<tree>("trees", field("c", &tree::children)); }

struct plain {};

}  // namespace app

namespace {

static_assert(described<app::guest> && described<app::closed>);
static_assert(!described<app::plain> && !described<int> && !described<std::string>);
static_assert(collection<app::guest>() == "guests");

constexpr int rules_of_guest() {
    int sum = 0;
    for_each_field<app::guest>([&](auto const& f) { sum += f.option(app::rule{100}).number; });
    return sum;
}
static_assert(rules_of_guest() == 203);  // an option is found by its type; two fields have the default
constexpr std::size_t public_fields() {
    std::size_t count = 0;
    for_each_field<app::guest>([&](auto const& f) {
        using described_field = std::remove_cvref_t<decltype(f)>;
        count += described_field::template has_option<app::is_public> ? 1U : 0U;
    });
    return count;
}
static_assert(public_fields() == 1);

template <class M>
std::string hex_of(M const& m) {
    bytes out;
    auto const ok = encode_field(m, out);
    return ok ? to_hex(out) : message(ok.error().code);
}
template <class T>
errc error_of(std::string_view hex) {
    auto const r = decode_record<T>(unhex(hex));
    return r ? errc{} : r.error().code;
}

}  // namespace

TEST_CASE("a record is a canonical map of its fields, the missing ones left out", "[core][describe]") {
    app::guest g;
    g.name = "Ann";
    g.seat = 12;
    // {"diet": ..., "name": "Ann", "seat": 12}: the names have one length, so they are in the order of the alphabet
    CHECK(hex_of(g) == "a2646e616d6563416e6e64736561740c");
    g.diet = "v";
    CHECK(hex_of(g) == "a364646965746176646e616d6563416e6e64736561740c");
    auto const back = decode_record<app::guest>(*encode_record(g));
    REQUIRE(back);
    CHECK(back->name == "Ann");
    CHECK(back->seat == 12);
    CHECK(back->diet == "v");
    CHECK(equal_fields(*back, g));
    app::guest_v2 v2;
    CHECK(hex_of(v2) ==
          "a3646e616d65606473656174006"
          "47a6f6f6df93c00");
}

TEST_CASE("what a type doesn't know is kept byte for byte, in its place", "[core][describe]") {
    app::guest_v2 v2;
    v2.name = "Bo";
    v2.a = value::map({{"x", 1.5}, {3, nullptr}}).value_or(value());
    v2.allergies = std::vector<std::string>{"nuts", "milk"};
    bytes const newer = *encode_record(v2);
    auto older = decode_record<app::guest>(newer);
    REQUIRE(older);
    CHECK(older->rest.size() == 3);
    CHECK(older->rest.find("zoom")->as_double() == 1.0);
    CHECK(older->rest.find("allergies")->at(1)->as_text() == "milk");
    CHECK(!older->rest.find("name"));
    CHECK(*encode_record(*older) == newer);

    older->seat = 40;
    older->diet = "vegan";
    bytes const changed = *encode_record(*older);
    REQUIRE(validate_canonical(changed));
    auto const again = decode_record<app::guest_v2>(changed);
    REQUIRE(again);
    CHECK(again->seat == 40);
    CHECK(again->diet == "vegan");
    CHECK(again->allergies == v2.allergies);
    CHECK(again->a == v2.a);
    CHECK(again->rest.empty());

    // unknown fields of another type's record that name a field here: the member counts
    app::guest_v2 mixed;
    mixed.name = "Cy";
    mixed.rest = decode_record<fuzz::stranger>(newer)->rest;
    REQUIRE(mixed.rest.size() == 5);
    bytes const once = *encode_record(mixed);
    REQUIRE(validate_canonical(once));
    CHECK(decode_record<app::guest_v2>(once)->name == "Cy");
    CHECK(!decode_record<app::guest_v2>(once)->allergies);

    CHECK(error_of<app::closed>("a1646f70656ef5") == errc{});
    CHECK(error_of<app::closed>("a2616101646f70656ef5") == errc::unsupported);
}

TEST_CASE("missing, null and a default differ", "[core][describe]") {
    CHECK(decode_record<app::guest_v2>(unhex("a0"))->zoom == 1);
    CHECK(!decode_record<app::guest_v2>(unhex("a0"))->diet);
    CHECK(error_of<app::guest_v2>("a16464696574f6") == errc::type_mismatch);
    CHECK(error_of<app::guest_v2>("a1646e616d65f6") == errc::type_mismatch);
    auto const null = decode_record<app::guest_v2>(unhex("a16161f6"));
    REQUIRE(null);
    REQUIRE(null->a);
    CHECK(null->a->is_null());
    CHECK(!equal_fields(*null, *decode_record<app::guest_v2>(unhex("a0"))));
    CHECK(hex_of(value()) == "f6");
}

TEST_CASE("numbers that don't fit their member are an overflow", "[core][describe]") {
    auto const take = [](auto member, std::string_view hex) {
        auto const r = decode_field<decltype(member)>(unhex(hex));
        return r ? errc{} : r.error().code;
    };
    CHECK(take(std::uint8_t{}, "18ff") == errc{});
    CHECK(take(std::uint8_t{}, "190100") == errc::overflow);
    CHECK(take(std::uint8_t{}, "20") == errc::overflow);
    CHECK(take(std::int8_t{}, "387f") == errc{});
    CHECK(take(std::int8_t{}, "3880") == errc::overflow);
    CHECK(take(std::int8_t{}, "1880") == errc::overflow);
    CHECK(take(std::int64_t{}, "1b8000000000000000") == errc::overflow);
    CHECK(take(std::uint64_t{}, "1bffffffffffffffff") == errc{});
    CHECK(take(std::int32_t{}, "f5") == errc::type_mismatch);
    CHECK(take(fuzz::colour{}, "1864") == errc{});
    CHECK(take(fuzz::colour{}, "190100") == errc::overflow);
    CHECK(take(float{}, "fa47c35000") == errc{});
    CHECK(take(float{}, "fb3ff199999999999a") == errc::overflow);
    CHECK(take(float{}, "fb7e37e43c8800759c") == errc::overflow);
    CHECK(take(float{}, "f97e00") == errc{});
    CHECK(take(float{}, "01") == errc::type_mismatch);
    CHECK(take(bool{}, "00") == errc::type_mismatch);
}

TEST_CASE("each type of field is written as its item", "[core][describe]") {
    CHECK(hex_of(true) == "f5");
    CHECK(hex_of(std::int16_t{-300}) == "39012b");
    CHECK(hex_of(fuzz::colour::green) == "01");
    CHECK(hex_of(1.5F) == "f93e00");
    CHECK(hex_of(1.1) == "fb3ff199999999999a");
    CHECK(hex_of(std::string("a")) == "6161");
    CHECK(hex_of(unhex("0102")) == "420102");
    CHECK(hex_of(std::vector<std::uint8_t>{1, 2}) == "820102");
    CHECK(hex_of(std::vector<bool>{true, false}) == "82f5f4");
    CHECK(hex_of(std::vector<std::vector<std::string>>{{"a"}, {}}) == "8281616180");
    CHECK(hex_of(fuzz::part{}) == "a1616103");
    CHECK(hex_of(value(7)) == "07");
    bytes out = unhex("aa");
    auto const refused = encode_field(std::vector<std::string>{"ok", "\xFF"}, out);
    REQUIRE(!refused);
    CHECK(refused.error() == errc::invalid);
    CHECK(to_hex(out) == "aa");
    app::guest bad;
    bad.name = "\xC3";
    CHECK(encode_record(bad).error() == errc::invalid);
}

TEST_CASE("equality of records is that of their encodings", "[core][describe]") {
    double const nan = std::numeric_limits<double>::quiet_NaN();
    fuzz::whole a;
    fuzz::whole b;
    CHECK(equal_fields(a, b));
    a.real = nan;
    CHECK(!equal_fields(a, b));
    b.real = -nan;
    CHECK(equal_fields(a, b));
    a.single = 0.0F;
    b.single = -0.0F;
    CHECK(!equal_fields(a, b));
    b.single = 0.0F;
    a.flags = {true};
    CHECK(!equal_fields(a, b));
    b.flags = {true};
    a.parts.emplace_back();
    b.parts.emplace_back();
    CHECK(equal_fields(a, b));
    b.parts[0].name = "";
    CHECK(!equal_fields(a, b));
}

TEST_CASE("a map that isn't canonical is refused, whether its keys are known or not", "[core][describe]") {
    CHECK(error_of<app::guest>("a1646e616d656142") == errc{});
    CHECK(error_of<app::guest>("a2646e616d656142646e616d656143") == errc::malformed);  // a known key twice
    CHECK(error_of<app::guest>("a2617801617802") == errc::malformed);                  // an unknown one
    CHECK(error_of<app::guest>("a26473656174016464696574616"
                               "1") == errc::not_deterministic);
    CHECK(error_of<app::guest>("a2617801616101") == errc::not_deterministic);
    CHECK(error_of<app::guest>("a2647365617401617801") == errc::not_deterministic);
    CHECK(error_of<app::guest>("a2647365617401647365617a") == errc::malformed);  // truncated
    CHECK(error_of<app::guest>("a1646e616d65614200") == errc::malformed);        // bytes after the end
    CHECK(error_of<app::guest>("a10102") == errc::type_mismatch);                // a key that is no text
    CHECK(error_of<app::guest>("80") == errc::type_mismatch);
    CHECK(error_of<app::guest>("a1617861ff") == errc::malformed);  // UTF-8, also of what is kept
}

TEST_CASE("how deep and how large a record grows is bounded", "[core][describe]") {
    auto const nested = [](std::size_t levels) {
        std::string hex;
        for (std::size_t i = 0; i < levels; ++i) { hex += "a1616381"; }
        return unhex(hex + "a0");
    };
    CHECK(decode_record<app::tree>(nested(31)));
    CHECK(decode_record<app::tree>(nested(32)).error() == errc::limit);
    CHECK(!validate_canonical(nested(32)));
    CHECK(decode_record<app::tree>(nested(1000), {.depth_max = 100000}).error() == errc::limit);
    // what takes a byte on the wire and much in memory is charged as memory
    bytes many = unhex("a165706172747399ffff");
    many.resize(many.size() + 0xFFFF, std::byte{0xA0});
    CHECK(decode_record<fuzz::whole>(many));
    CHECK(decode_record<fuzz::whole>(many, {.work_max = 1000000}).error() == errc::limit);
    // kept fields count their depth from the record's own
    bytes inside = unhex("a1617881818180");
    CHECK(decode_record<app::guest>(inside, {.depth_max = 5}));
    CHECK(decode_record<app::guest>(inside, {.depth_max = 4}).error() == errc::limit);
}

TEST_CASE("random records, and their bytes changed and cut, hold what the fuzzer asks", "[core][describe][fuzz]") {
    syncline::random_generator g(4242);
    auto const text = [&] { return cbor_model::random_text(g); };
    for (int i = 0; i < 3000; ++i) {
        fuzz::whole r;
        r.yes = below(g, 2) == 0;
        r.octet = static_cast<std::uint8_t>(g());
        r.number = static_cast<std::int64_t>(cbor_model::random_number(g));
        r.paint = static_cast<fuzz::colour>(below(g, 3));
        r.real = cbor_model::random_real(g);
        r.name = text();
        for (std::uint64_t n = below(g, 4); n > 0; --n) {
            r.raw.push_back(static_cast<std::byte>(g()));
            r.numbers.push_back(static_cast<std::int32_t>(g()));
            r.flags.push_back(below(g, 2) == 0);
            r.parts.emplace_back().name = text();
        }
        cbor_model::verdict v = cbor_model::verdict::fine;
        r.any = *decode(as_bytes(cbor_model::canonical(cbor_model::random_node(g, 2), v)));
        auto const encoded = encode_record(r);
        REQUIRE(encoded);
        auto const back = decode_record<fuzz::whole>(*encoded);
        REQUIRE(back);
        REQUIRE(equal_fields(*back, r));
        std::string const node = cbor_model::canonical(cbor_model::random_node(g, 3), v);
        std::string const whole(as_text(*encoded));
        for (bytes const& in : {*encoded, cbor_model::mutate(whole, g), cbor_model::mutate(whole, g), to_bytes(node),
                                cbor_model::mutate(node, g)}) {
            fuzz::fuzz_describe(reinterpret_cast<std::uint8_t const*>(in.data()), in.size());
        }
    }
    bytes in = *encode_record(fuzz::whole{});
    for (std::size_t at = 0; at < in.size(); ++at) {
        fuzz::fuzz_describe(reinterpret_cast<std::uint8_t const*>(in.data()), at);
        std::byte const old = in[at];
        for (unsigned b = 0; b < 256; ++b) {
            in[at] = static_cast<std::byte>(b);
            fuzz::fuzz_describe(reinterpret_cast<std::uint8_t const*>(in.data()), in.size());
        }
        in[at] = old;
    }
}
