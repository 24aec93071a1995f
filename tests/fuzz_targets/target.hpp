// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What each fuzz target says of itself; a driver (support/fuzz_main.cpp, or libFuzzer's by support/fuzz_libfuzzer.cpp)
/// does the rest.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <syncline/core/bytes.hpp>
#include <syncline/core/function_ref.hpp>

namespace fuzz {

/// Takes an input to begin with, and its name.
using seed_sink = syncline::function_ref<void(std::string_view name, syncline::bytes_view input)>;

struct target {
    /// Whether all that is promised holds of an input; the process ends where it doesn't. Answers 0.
    int (*body)(std::uint8_t const* data, std::size_t size);
    unsigned cost = 1;        ///< of one input, in those of the target cbor: what has a dearer one gets fewer
    std::size_t length = 64;  ///< up to so long are inputs that our own driver makes from nothing
    void (*seeds)(seed_sink) = nullptr;
    /// Changes `size` bytes in a room for `size_max`; the new size. None: bits and bytes.
    std::size_t (*mutate)(std::uint8_t* data, std::size_t size, std::size_t size_max, unsigned seed) = nullptr;
};

/// Each program has its own.
extern target const this_target;

/// Bytes that the program has ever taken from the heap.
extern std::uint64_t allocated;

}  // namespace fuzz

/// Changes bits and bytes: libFuzzer's own, or our driver's.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t size_max);
