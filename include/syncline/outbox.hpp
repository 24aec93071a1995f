// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `outbox`: the durable queue of what waits to be sent.

#include <syncline/outbox/changing.hpp>      // IWYU pragma: export
#include <syncline/outbox/coalescing.hpp>    // IWYU pragma: export
#include <syncline/outbox/ending.hpp>        // IWYU pragma: export
#include <syncline/outbox/entering.hpp>      // IWYU pragma: export
#include <syncline/outbox/entry.hpp>         // IWYU pragma: export
#include <syncline/outbox/finding.hpp>       // IWYU pragma: export
#include <syncline/outbox/inbox.hpp>         // IWYU pragma: export
#include <syncline/outbox/lane_health.hpp>   // IWYU pragma: export
#include <syncline/outbox/layout.hpp>        // IWYU pragma: export
#include <syncline/outbox/moves.hpp>         // IWYU pragma: export
#include <syncline/outbox/order.hpp>         // IWYU pragma: export
#include <syncline/outbox/outbox.hpp>        // IWYU pragma: export
#include <syncline/outbox/receipts.hpp>      // IWYU pragma: export
#include <syncline/outbox/record_index.hpp>  // IWYU pragma: export
#include <syncline/outbox/selection.hpp>     // IWYU pragma: export
#include <syncline/outbox/writing.hpp>       // IWYU pragma: export
