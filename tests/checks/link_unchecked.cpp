// SPDX-License-Identifier: BSL-1.0
// The third, with assertions off: another inline namespace, side by side with the first two.
#include "everything.hpp"

int unchecked();
int unchecked() { return syncline::version{}.minor; }
