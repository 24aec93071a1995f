// SPDX-License-Identifier: BSL-1.0

/// A libFuzzer program around `fuzz_cbor`.

#include "fuzz_targets/cbor.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    return fuzz::fuzz_cbor(data, size);
}
