// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A property that a fuzz body states: broken, it ends the process, so that a fuzzer keeps the input.

#include <cstdio>
#include <cstdlib>

#define SYNCLINE_FUZZ_REQUIRE(condition)                                                          \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            std::fprintf(stderr, "%s:%d: property broken: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                                         \
        }                                                                                         \
    } while (false)
