// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `clock`: logical time: hybrid clocks and version vectors.

#include <syncline/clock/atomic_hybrid_clock.hpp>  // IWYU pragma: export
#include <syncline/clock/hybrid_clock.hpp>         // IWYU pragma: export
#include <syncline/clock/reserved_clock.hpp>       // IWYU pragma: export
#include <syncline/clock/version_vector.hpp>       // IWYU pragma: export
