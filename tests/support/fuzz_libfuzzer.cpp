// SPDX-License-Identifier: BSL-1.0
// What libFuzzer asks of a program. `fuzz_x --seeds FOLDER` writes the inputs to begin with and ends.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "fuzz_targets/target.hpp"
#include "support/fuzz_files.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    return fuzz::this_target->body(data, size);
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t size_max,
                                               unsigned seed) {
    auto* const own = fuzz::this_target->mutate;
    return own != nullptr ? own(data, size, size_max, seed) : LLVMFuzzerMutate(data, size, size_max);
}

extern "C" int LLVMFuzzerInitialize(int const* argc, char*** argv) {
    if (*argc == 3 && std::string_view((*argv)[1]) == "--seeds") {
        fuzz::write_seeds((*argv)[2]);
        std::exit(0);
    }
    return 0;
}
