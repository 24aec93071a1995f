// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `metrics`.

#include <syncline/metrics/alert.hpp>      // IWYU pragma: export
#include <syncline/metrics/histogram.hpp>  // IWYU pragma: export
#include <syncline/metrics/pattern.hpp>    // IWYU pragma: export
#include <syncline/metrics/registry.hpp>   // IWYU pragma: export
#include <syncline/metrics/snapshot.hpp>   // IWYU pragma: export
