// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `reconcile`.

#include <syncline/reconcile/estimate.hpp>     // IWYU pragma: export
#include <syncline/reconcile/fingerprint.hpp>  // IWYU pragma: export
#include <syncline/reconcile/message.hpp>      // IWYU pragma: export
#include <syncline/reconcile/range_tree.hpp>   // IWYU pragma: export
#include <syncline/reconcile/reconciler.hpp>   // IWYU pragma: export
#include <syncline/reconcile/row_source.hpp>   // IWYU pragma: export
#include <syncline/reconcile/row_summary.hpp>  // IWYU pragma: export
#include <syncline/reconcile/sketch.hpp>       // IWYU pragma: export
