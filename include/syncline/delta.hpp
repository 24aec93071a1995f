// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `delta`: differences of sequences.

#include <syncline/delta/sequence.hpp>  // IWYU pragma: export
