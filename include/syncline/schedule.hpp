// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `schedule`.

#include <syncline/schedule/conditions.hpp>  // IWYU pragma: export
#include <syncline/schedule/estimators.hpp>  // IWYU pragma: export
#include <syncline/schedule/memory.hpp>      // IWYU pragma: export
#include <syncline/schedule/options.hpp>     // IWYU pragma: export
#include <syncline/schedule/plan.hpp>        // IWYU pragma: export
#include <syncline/schedule/scheduler.hpp>   // IWYU pragma: export
#include <syncline/schedule/trace.hpp>       // IWYU pragma: export
