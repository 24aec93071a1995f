// SPDX-License-Identifier: BSL-1.0

/// The fuzz target of `fuzz_value`, which unit tests call too.

#include "fuzz_targets/value.hpp"
#include "fuzz_targets/target.hpp"

SYNCLINE_FUZZ_TARGET(.body = fuzz::fuzz_value)
