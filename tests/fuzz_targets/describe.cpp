// SPDX-License-Identifier: BSL-1.0

/// A libFuzzer program around `fuzz_describe`.

#include "fuzz_targets/describe.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    return fuzz::fuzz_describe(data, size);
}
