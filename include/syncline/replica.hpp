// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `replica`: the replica, the authority, their protocol and the session that drives them.

#include <syncline/replica/authority.hpp>  // IWYU pragma: export
#include <syncline/replica/event.hpp>      // IWYU pragma: export
#include <syncline/replica/pending.hpp>    // IWYU pragma: export
#include <syncline/replica/protocol.hpp>   // IWYU pragma: export
#include <syncline/replica/ranges.hpp>     // IWYU pragma: export
#include <syncline/replica/replica.hpp>    // IWYU pragma: export
#include <syncline/replica/session.hpp>    // IWYU pragma: export
