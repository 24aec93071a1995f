// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What holds of the CBOR reader, writer and checks for any bytes whatever. The fuzzer and the unit tests call it.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <syncline/core/cbor.hpp>

#include "fuzz_targets/cbor_model.hpp"
#include "fuzz_targets/require.hpp"

namespace fuzz {

/// Reads one item with the getters and writes it with the writer. Recursion is bounded by the reader's depth.
inline void copy_item(syncline::cbor_reader& in, syncline::cbor_writer& out, std::size_t depth) {
    using syncline::cbor_type;
    if (depth > in.depth_max()) { return in.fail(syncline::errc::limit); }
    switch (in.peek()) {
        case cbor_type::null:
            if (in.null()) { out.null(); }
            return;
        case cbor_type::boolean: return out.boolean(in.boolean());
        case cbor_type::unsigned_integer: return out.unsigned_integer(in.unsigned_integer());
        case cbor_type::negative_integer: {
            syncline::cbor_reader ahead = in;
            std::int64_t const n = ahead.integer();
            if (ahead.failed() && ahead.error() == syncline::errc::overflow) { return out.raw(in.skip()); }
            in = ahead;
            return out.integer(n);
        }
        case cbor_type::floating: return out.floating(in.floating());
        case cbor_type::text: return out.text(in.text());
        case cbor_type::byte_string: return out.byte_string(in.byte_string());
        case cbor_type::array: {
            std::size_t const n = in.array();
            out.array(n);
            for (std::size_t i = 0; i < n && !in.failed(); ++i) { copy_item(in, out, depth + 1); }
            return;
        }
        case cbor_type::map: {
            std::size_t const n = in.map();
            out.map(n);
            for (std::size_t i = 0; i < 2 * n && !in.failed(); ++i) { copy_item(in, out, depth + 1); }
            return;
        }
        case cbor_type::tag:
        case cbor_type::simple:
        case cbor_type::invalid: static_cast<void>(in.integer()); return;
    }
}

/// Calls the getters in an order that the bytes themselves give, so that wrong types are asked for too.
inline void ask_anything(syncline::bytes_view data) {
    syncline::cbor_reader in(data);
    for (std::byte const order : data) {
        std::size_t const before = in.position();
        bool const failed = in.failed();
        std::uint64_t got = 0;
        switch (std::to_integer<unsigned>(order) % 10) {
            case 0: got = in.null() ? 1 : 0; break;
            case 1: got = in.boolean() ? 1 : 0; break;
            case 2: got = static_cast<std::uint64_t>(in.integer()); break;
            case 3: got = in.unsigned_integer(); break;
            case 4: got = in.floating() != 0 ? 1 : 0; break;
            case 5: got = in.text().size(); break;
            case 6: got = in.byte_string().size(); break;
            case 7: got = in.array(); break;
            case 8: got = in.map(); break;
            default: got = in.skip().size(); break;
        }
        SYNCLINE_FUZZ_REQUIRE(in.position() <= data.size());
        SYNCLINE_FUZZ_REQUIRE(got <= data.size() || in.position() > before);
        if (in.failed()) { SYNCLINE_FUZZ_REQUIRE(got == 0); }
        if (failed) { SYNCLINE_FUZZ_REQUIRE(in.failed() && in.position() == before); }
        if (failed) { SYNCLINE_FUZZ_REQUIRE(in.at_end() && in.peek() == syncline::cbor_type::invalid); }
    }
}

inline int fuzz_cbor(std::uint8_t const* data, std::size_t size) {
    using namespace syncline;
    bytes_view const in(reinterpret_cast<std::byte const*>(data), size);
    auto const model = cbor_model::judge(in);
    auto const well = well_formed(in);
    auto const strict = validate_canonical(in);

    // The checks say what the RFC, read naively, says. (Deeper than the limit the model does not count.)
    if (well) {
        SYNCLINE_FUZZ_REQUIRE(model.what != cbor_model::verdict::malformed);
        bool const canonical = model.what == cbor_model::verdict::fine && model.canonical == as_text(in);
        SYNCLINE_FUZZ_REQUIRE(canonical == strict.has_value());
    } else {
        // What is too deep may be malformed further on, where it is not looked at.
        SYNCLINE_FUZZ_REQUIRE(well.error() == errc::limit ||
                              (well.error() == errc::malformed && model.what == cbor_model::verdict::malformed));
        SYNCLINE_FUZZ_REQUIRE(!strict);
    }
    if (!strict) {
        errc const e = strict.error().code;
        SYNCLINE_FUZZ_REQUIRE(e == errc::malformed || e == errc::not_deterministic || e == errc::unsupported ||
                              e == errc::limit);
    }

    // What skip passes over is what the getters read and the writer writes.
    cbor_reader reader(in);
    bytes again;
    cbor_writer writer(again);
    copy_item(reader, writer, 0);
    bool const read = reader.finish().has_value();
    if (strict) {
        SYNCLINE_FUZZ_REQUIRE(read && equal(again, in));
        cbor_reader skipper(in);
        SYNCLINE_FUZZ_REQUIRE(equal(skipper.skip(), in) && skipper.finish());
        for (std::size_t n = 0; n < size && size < 200; ++n) {
            auto const cut = validate_canonical(in.first(n));
            SYNCLINE_FUZZ_REQUIRE(!cut && cut.error() == errc::malformed);
        }
    }
    if (read) { SYNCLINE_FUZZ_REQUIRE(equal(again, in)); }  // but for the order of keys it was canonical

    // A cursor sees all pairs of a map with text keys, and map_find each one of them.
    cbor_map_cursor cursor(in);
    std::size_t pairs = 0;
    while (cursor.next()) {
        ++pairs;
        auto const found = map_find(in, cursor.key());
        SYNCLINE_FUZZ_REQUIRE(found && *found && (*found)->data() == cursor.value().data());
        SYNCLINE_FUZZ_REQUIRE(validate_canonical(cursor.value()));
        if (pairs == 50) { return 0; }
    }
    if (!cursor.failed()) {
        cbor_reader map(in);
        SYNCLINE_FUZZ_REQUIRE(strict && map.map() == pairs);
    }

    ask_anything(in);
    return 0;
}

}  // namespace fuzz
