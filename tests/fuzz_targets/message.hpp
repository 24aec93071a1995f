// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What holds for every message that is decoded.

#include <cstdint>

#include <syncline/core/bytes.hpp>
#include <syncline/core/error.hpp>

#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace fuzz {

/// Decodes `m`, which may be anything: memory stays within what its length allows, what is refused is refused as a
/// stranger's, and what is taken is encoded to the same bytes again.
template <class Decode>
void check_message(syncline::bytes_view m, Decode&& decode) {
    std::uint64_t const before = allocated;
    auto const got = decode(m);
    SYNCLINE_FUZZ_REQUIRE(allocated - before <= 512 * m.size() + 4096);
    if (!got) {
        SYNCLINE_FUZZ_REQUIRE(got.error() != syncline::errc::corrupt && got.error() != syncline::errc::invalid);
        return;
    }
    if constexpr (requires { encode(*got); }) {
        SYNCLINE_FUZZ_REQUIRE(syncline::equal(encode(*got), m));
    } else {
        syncline::bytes again;
        encode(*got, again);
        SYNCLINE_FUZZ_REQUIRE(syncline::equal(again, m));
    }
}

}  // namespace fuzz
