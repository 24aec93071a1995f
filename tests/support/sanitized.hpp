// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstddef>

/// Whether a sanitizer watches, under which a test takes ten times as long, and whether the compiler optimises: long
/// tests then do a slice.

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    #define SYNCLINE_SANITIZED 1
#elif defined(__has_feature)
    #if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
        #define SYNCLINE_SANITIZED 1
    #endif
#endif

#ifdef SYNCLINE_SANITIZED
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

#ifdef __OPTIMIZE__
inline constexpr bool optimised = true;
#else
inline constexpr bool optimised = false;
#endif

/// How often a long test goes round.
template <class N>
constexpr N rounds(N most) {
    return sanitized ? (most + 9) / 10 : most;
}

/// Whether a long enumeration looks at this one: at all of them, or where a sanitizer watches at each seventh.
inline bool in_slice(std::size_t& turn) { return turn++ % (sanitized ? 7 : 1) == 0; }
