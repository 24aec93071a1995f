// SPDX-License-Identifier: BSL-1.0

/// A libFuzzer program around `fuzz_value`.

#include "fuzz_targets/value.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    return fuzz::fuzz_value(data, size);
}
