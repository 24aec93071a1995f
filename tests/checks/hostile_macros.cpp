// SPDX-License-Identifier: BSL-1.0
// Macros that <windows.h>, <sys/param.h>, <X.h> and friends define, before our headers.
// The standard library comes first: only our own text has to survive.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <new>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#undef unix
#undef linux
#undef assert
#undef major
#undef minor
#undef LITTLE_ENDIAN
#undef BIG_ENDIAN

#define min(a, b) hostile macro min
#define max(a, b) hostile macro max
#define near hostile macro near
#define far hostile macro far
#define small hostile macro small
#define interface hostile macro interface
#define ERROR hostile macro ERROR
#define DELETE hostile macro DELETE
#define IN hostile macro IN
#define OUT hostile macro OUT
#define OPTIONAL hostile macro OPTIONAL
#define CONST hostile macro CONST
#define TRUE hostile macro TRUE
#define FALSE hostile macro FALSE
#define VOID hostile macro VOID
#define STRICT hostile macro STRICT
#define NO_ERROR hostile macro NO_ERROR
#define Bool hostile macro Bool
#define None hostile macro None
#define Status hostile macro Status
#define Success hostile macro Success
#define unix hostile macro unix
#define linux hostile macro linux
#define assert(x) hostile macro assert
#define major(x) hostile macro major
#define minor(x) hostile macro minor
#define emit hostile macro emit
#define slots hostile macro slots
#define signals hostile macro signals
#define B0 hostile macro B0
#define LITTLE_ENDIAN hostile macro LITTLE_ENDIAN
#define BIG_ENDIAN hostile macro BIG_ENDIAN

#include "core.hpp"
