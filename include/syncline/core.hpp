// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `core`: bytes, results, values, CBOR, hashes, identities, randomness and limits.

#include <syncline/core/bytes.hpp>         // IWYU pragma: export
#include <syncline/core/cbor.hpp>          // IWYU pragma: export
#include <syncline/core/checked.hpp>       // IWYU pragma: export
#include <syncline/core/config.hpp>        // IWYU pragma: export
#include <syncline/core/describe.hpp>      // IWYU pragma: export
#include <syncline/core/error.hpp>         // IWYU pragma: export
#include <syncline/core/function_ref.hpp>  // IWYU pragma: export
#include <syncline/core/hash.hpp>          // IWYU pragma: export
#include <syncline/core/id.hpp>            // IWYU pragma: export
#include <syncline/core/limits.hpp>        // IWYU pragma: export
#include <syncline/core/random.hpp>        // IWYU pragma: export
#include <syncline/core/result.hpp>        // IWYU pragma: export
#include <syncline/core/time.hpp>          // IWYU pragma: export
#include <syncline/core/utf8.hpp>          // IWYU pragma: export
#include <syncline/core/value.hpp>         // IWYU pragma: export
