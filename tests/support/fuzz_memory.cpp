// SPDX-License-Identifier: BSL-1.0
// Counts what a fuzz target takes from the heap.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#include "fuzz_targets/target.hpp"

std::uint64_t fuzz::allocated = 0;

#if defined(__has_feature)
    #if __has_feature(address_sanitizer)
        #define SYNCLINE_FUZZ_ASAN
    #endif
#endif
#if defined(__SANITIZE_ADDRESS__)
    #define SYNCLINE_FUZZ_ASAN
#endif

#if defined(SYNCLINE_FUZZ_ASAN)

// Replacing the operators would keep AddressSanitizer from seeing which of them a pointer came from.
extern "C" void __sanitizer_malloc_hook(void const volatile*, std::size_t n) { fuzz::allocated += n; }

#else

void* operator new(std::size_t n) {
    fuzz::allocated += n;
    if (void* const p = std::malloc(n == 0 ? 1 : n)) { return p; }
    std::abort();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

#endif
