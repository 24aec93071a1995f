// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What holds of `decode` and `value` for any bytes whatever. The fuzzer and the unit tests call it.

#include <cstddef>
#include <cstdint>

#include <syncline/core/value.hpp>

#include "fuzz_targets/cbor_model.hpp"
#include "fuzz_targets/require.hpp"

namespace fuzz {

inline int fuzz_value(std::uint8_t const* data, std::size_t size) {
    using namespace syncline;
    bytes_view const in(reinterpret_cast<std::byte const*>(data), size);
    auto const model = cbor_model::judge(in);
    auto const strict = decode(in);
    auto const any = decode(in, {}, cbor_form::any);

    SYNCLINE_FUZZ_REQUIRE(strict.has_value() == validate_canonical(in).has_value());
    SYNCLINE_FUZZ_REQUIRE(strict.has_value() == (any && equal(any->encoded(), in)));
    if (strict) { SYNCLINE_FUZZ_REQUIRE(*strict == *any && equal(encode(*strict), in)); }
    if (any) {
        SYNCLINE_FUZZ_REQUIRE(model.what == cbor_model::verdict::fine && as_text(any->encoded()) == model.canonical);
        auto const again = decode(any->encoded());
        SYNCLINE_FUZZ_REQUIRE(again && *again == *any);
        value_cursor cursor(*any);
        std::size_t seen = 0;
        while (cursor.next()) {
            if (any->is_map()) {
                SYNCLINE_FUZZ_REQUIRE(any->find(cursor.key()) == cursor.item());
            } else {
                SYNCLINE_FUZZ_REQUIRE(seen > 50 || any->at(seen) == cursor.item());
            }
            ++seen;
        }
        SYNCLINE_FUZZ_REQUIRE(seen == any->size());
    } else {
        switch (any.error().code) {
            case errc::malformed: SYNCLINE_FUZZ_REQUIRE(model.what != cbor_model::verdict::fine); break;
            case errc::unsupported:
                SYNCLINE_FUZZ_REQUIRE(model.what != cbor_model::verdict::fine &&
                                      model.what != cbor_model::verdict::malformed);
                break;
            default: SYNCLINE_FUZZ_REQUIRE(any.error() == errc::limit);
        }
    }
    return 0;
}

}  // namespace fuzz
