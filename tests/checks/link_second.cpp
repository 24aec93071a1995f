// SPDX-License-Identifier: BSL-1.0
// The second translation unit: what isn't inline in a header is defined twice, and the linker says so.
#include "everything.hpp"

int second();
int second() { return syncline::version{}.minor; }
