// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Version, the inline ABI namespace and the one assertion macro.

#define SYNCLINE_VERSION_MAJOR 0
#define SYNCLINE_VERSION_MINOR 1
#define SYNCLINE_VERSION_PATCH 0

/// `SYNCLINE_ASSERT(condition)` states a precondition: a failure is the caller's bug.
///
/// It is on where `NDEBUG` is not defined, and can be set by defining `SYNCLINE_CHECKED` as 0 or 1.
/// A program may define `SYNCLINE_ASSERT` itself, the same in every translation unit. The mode is part
/// of the inline namespace's name, so that units built under different settings link side by side
/// instead of breaking the one definition rule.
#if defined(SYNCLINE_ASSERT)
    #define SYNCLINE_ABI v0_custom
#else
    #if !defined(SYNCLINE_CHECKED)
        #if defined(NDEBUG)
            #define SYNCLINE_CHECKED 0
        #else
            #define SYNCLINE_CHECKED 1
        #endif
    #endif
    #if SYNCLINE_CHECKED
        #define SYNCLINE_ABI v0_checked
        #if defined(_MSC_VER) && !defined(__clang__)
            #define SYNCLINE_ASSERT(condition) ((condition) ? (void)0 : __fastfail(7))
        #else
            #define SYNCLINE_ASSERT(condition) ((condition) ? (void)0 : __builtin_trap())
        #endif
    #else
        #define SYNCLINE_ABI v0
        #define SYNCLINE_ASSERT(condition) ((void)0)
    #endif
#endif

#if defined(_MSC_VER)
    #define SYNCLINE_NO_UNIQUE_ADDRESS [[msvc::no_unique_address]]
#else
    #define SYNCLINE_NO_UNIQUE_ADDRESS [[no_unique_address]]
#endif

namespace syncline::inline SYNCLINE_ABI {

/// The library's version, as a value.
struct version {
    int major = SYNCLINE_VERSION_MAJOR;
    int minor = SYNCLINE_VERSION_MINOR;
    int patch = SYNCLINE_VERSION_PATCH;
    friend constexpr bool operator==(version const&, version const&) = default;
};

}  // namespace syncline::inline SYNCLINE_ABI
