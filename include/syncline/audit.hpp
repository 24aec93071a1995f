// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `audit`.

#include <syncline/audit/archive.hpp>    // IWYU pragma: export
#include <syncline/audit/decisions.hpp>  // IWYU pragma: export
#include <syncline/audit/entry.hpp>      // IWYU pragma: export
#include <syncline/audit/head.hpp>       // IWYU pragma: export
#include <syncline/audit/history.hpp>    // IWYU pragma: export
#include <syncline/audit/log.hpp>        // IWYU pragma: export
#include <syncline/audit/merkle.hpp>     // IWYU pragma: export
#include <syncline/audit/tree.hpp>       // IWYU pragma: export
