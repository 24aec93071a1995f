// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `outbox`: the durable queue of what waits to be sent.

#include <syncline/outbox/outbox.hpp>  // IWYU pragma: export
