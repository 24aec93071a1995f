// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A store that somebody else has written in: a value changed, cut, lengthened or gone, or a key that nobody made.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <syncline/storage/memory.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/require.hpp"

namespace fuzz {

/// Damages one place of a store in which no transaction is open. A new key begins with `prefix`.
inline void damage(choices& in, syncline::memory_storage& store, std::string_view prefix) {
    using syncline::bytes;
    using syncline::bytes_view;
    std::vector<std::pair<bytes, bytes>> all;
    store.snapshot().scan({}, [&](bytes_view k, bytes_view v) {
        all.emplace_back(syncline::to_bytes(k), syncline::to_bytes(v));
        return true;
    });
    auto tx = store.begin(syncline::access_mode::write);
    bytes key = syncline::to_bytes(prefix);
    bytes value;
    std::uint64_t const how = in.below(6);
    if (!all.empty() && how != 0) { std::tie(key, value) = all[static_cast<std::size_t>(in.below(all.size()))]; }
    switch (how) {
        case 0: syncline::append(key, in.some(30)); [[fallthrough]];
        case 1: value = syncline::to_bytes(in.some(60)); break;
        case 2: value.resize(static_cast<std::size_t>(in.below(value.size() + 1))); break;
        case 3: syncline::append(value, in.some(20)); break;
        case 4: SYNCLINE_FUZZ_REQUIRE(tx->erase(key) && tx->commit()); return;
        default:
            if (!value.empty()) {
                auto const place = static_cast<std::size_t>(in.below(value.size()));
                value[place] ^= static_cast<std::byte>(in.byte());
            }
            break;
    }
    SYNCLINE_FUZZ_REQUIRE(tx->put(key, value) && tx->commit());
}

}  // namespace fuzz
