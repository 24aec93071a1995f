// SPDX-License-Identifier: BSL-1.0

/// The fuzz target of `fuzz_describe`, which unit tests call too.

#include "fuzz_targets/describe.hpp"
#include "fuzz_targets/target.hpp"

SYNCLINE_FUZZ_TARGET(.body = fuzz::fuzz_describe)
