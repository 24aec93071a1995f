// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `model`: records, fields, mutations and what they do to each other; who hears what happens.

#include <syncline/model/mutation.hpp>  // IWYU pragma: export
#include <syncline/model/observer.hpp>  // IWYU pragma: export
#include <syncline/model/record.hpp>    // IWYU pragma: export
