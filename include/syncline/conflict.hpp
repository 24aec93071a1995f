// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `conflict`: the durable queue, decisions that can be undone, suggestions that learn, presence.

#include <syncline/conflict/automatic.hpp>   // IWYU pragma: export
#include <syncline/conflict/combine.hpp>     // IWYU pragma: export
#include <syncline/conflict/conflict.hpp>    // IWYU pragma: export
#include <syncline/conflict/learned.hpp>     // IWYU pragma: export
#include <syncline/conflict/presence.hpp>    // IWYU pragma: export
#include <syncline/conflict/queue.hpp>       // IWYU pragma: export
#include <syncline/conflict/resolution.hpp>  // IWYU pragma: export
#include <syncline/conflict/statistics.hpp>  // IWYU pragma: export
#include <syncline/conflict/suggester.hpp>   // IWYU pragma: export
