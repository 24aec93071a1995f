// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Every component but the ends (`adapters/`, `testing/`), which are opt-in, a header each.

#include <syncline/clock.hpp>      // IWYU pragma: export
#include <syncline/core.hpp>       // IWYU pragma: export
#include <syncline/delta.hpp>      // IWYU pragma: export
#include <syncline/merge.hpp>      // IWYU pragma: export
#include <syncline/model.hpp>      // IWYU pragma: export
#include <syncline/outbox.hpp>     // IWYU pragma: export
#include <syncline/replica.hpp>    // IWYU pragma: export
#include <syncline/retry.hpp>      // IWYU pragma: export
#include <syncline/storage.hpp>    // IWYU pragma: export
#include <syncline/transport.hpp>  // IWYU pragma: export
