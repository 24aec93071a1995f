// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What holds of `decode_record` for any bytes whatever. The fuzzer and the unit tests call it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <syncline/core/describe.hpp>

#include "fuzz_targets/require.hpp"

namespace fuzz {

enum class colour : std::uint8_t { red, green };

struct part {
    std::int16_t a = 3;
    std::optional<std::string> name;
    syncline::unknown_fields rest;
};
constexpr auto describe(part const*) {
    return syncline::record_of<part>("parts", syncline::field("a", &part::a), syncline::field("name", &part::name),
                                     syncline::unknown(&part::rest));
}

/// Every type of field, all there with a default.
struct whole {
    bool yes = false;
    std::uint8_t octet = 7;
    std::int64_t number = -1;
    colour paint = colour::green;
    float single = 0.5F;
    double real = 0.25;
    std::string name;
    syncline::bytes raw;
    std::vector<std::int32_t> numbers;
    std::vector<bool> flags;
    part one;
    std::vector<part> parts;
    syncline::value any;
    syncline::unknown_fields rest;
};
constexpr auto describe(whole const*) {
    using syncline::field;
    return syncline::record_of<whole>(
        "wholes", field("yes", &whole::yes), field("octet", &whole::octet), field("number", &whole::number),
        field("paint", &whole::paint), field("single", &whole::single), field("real", &whole::real),
        field("name", &whole::name), field("raw", &whole::raw), field("numbers", &whole::numbers),
        field("flags", &whole::flags), field("one", &whole::one), field("parts", &whole::parts),
        field("any", &whole::any), syncline::unknown(&whole::rest));
}

/// Nothing has a default: what was missing stays missing.
struct sparse {
    std::optional<std::int64_t> a;
    std::optional<std::string> name;
    std::optional<double> seat;
    std::optional<std::vector<std::uint64_t>> b;
    std::optional<syncline::value> any;
    syncline::unknown_fields rest;
};
constexpr auto describe(sparse const*) {
    using syncline::field;
    return syncline::record_of<sparse>("sparse", field("a", &sparse::a), field("name", &sparse::name),
                                       field("seat", &sparse::seat), field("b", &sparse::b), field("any", &sparse::any),
                                       syncline::unknown(&sparse::rest));
}

/// Knows no field at all.
struct stranger {
    syncline::unknown_fields rest;
};
constexpr auto describe(stranger const*) {
    return syncline::record_of<stranger>("strangers", syncline::unknown(&stranger::rest));
}

inline bool has_text_keys(syncline::bytes_view canonical) {
    syncline::cbor_map_cursor cursor(canonical);
    while (cursor.next()) {}
    return !cursor.failed();
}

inline int fuzz_describe(std::uint8_t const* data, std::size_t size) {
    using namespace syncline;
    bytes_view const in(reinterpret_cast<std::byte const*>(data), size);
    bool const canonical = validate_canonical(in).has_value();

    if (auto const r = decode_record<whole>(in)) {
        SYNCLINE_FUZZ_REQUIRE(canonical && equal_fields(*r, *r));
        auto const once = encode_record(*r);
        SYNCLINE_FUZZ_REQUIRE(once && validate_canonical(*once));
        auto const again = decode_record<whole>(*once);
        SYNCLINE_FUZZ_REQUIRE(again && equal_fields(*again, *r));
        SYNCLINE_FUZZ_REQUIRE(equal(*encode_record(*again), *once));
        cbor_map_cursor cursor(in);
        while (cursor.next()) { SYNCLINE_FUZZ_REQUIRE(*map_find(*once, cursor.key())); }  // nothing is lost
    }
    auto const s = decode_record<sparse>(in);
    if (s) { SYNCLINE_FUZZ_REQUIRE(canonical && equal(*encode_record(*s), in)); }
    auto const t = decode_record<stranger>(in);
    SYNCLINE_FUZZ_REQUIRE(t.has_value() == (canonical && has_text_keys(in)));
    if (t) { SYNCLINE_FUZZ_REQUIRE(equal(*encode_record(*t), in)); }
    if (s && t) { SYNCLINE_FUZZ_REQUIRE(s->rest.size() <= t->rest.size()); }
    return 0;
}

}  // namespace fuzz
