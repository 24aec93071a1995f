// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `retry`: when to try again, and whether.

#include <syncline/retry/backoff.hpp>         // IWYU pragma: export
#include <syncline/retry/breaker.hpp>         // IWYU pragma: export
#include <syncline/retry/budget.hpp>          // IWYU pragma: export
#include <syncline/retry/classification.hpp>  // IWYU pragma: export
#include <syncline/retry/concurrency.hpp>     // IWYU pragma: export
#include <syncline/retry/deadline.hpp>        // IWYU pragma: export
#include <syncline/retry/hedge.hpp>           // IWYU pragma: export
#include <syncline/retry/limiter.hpp>         // IWYU pragma: export
#include <syncline/retry/policy.hpp>          // IWYU pragma: export
#include <syncline/retry/state.hpp>           // IWYU pragma: export
