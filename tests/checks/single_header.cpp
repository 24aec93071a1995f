// SPDX-License-Identifier: BSL-1.0
// The joined header stands alone: no include path of the library is given.
#include <syncline.hpp>
#include <syncline.hpp>

static_assert(syncline::version{}.major == SYNCLINE_VERSION_MAJOR);
#if __has_include(<syncline/core/config.hpp>)
    #error "the library's own folder is on the include path: this test would prove nothing"
#endif
