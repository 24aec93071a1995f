// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `retry`: when to try again, and whether.

#include <syncline/retry/backoff.hpp>  // IWYU pragma: export
