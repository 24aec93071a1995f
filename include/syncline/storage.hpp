// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `storage`: the concept of a store, keyspaces and the in-memory model.

#include <syncline/storage/checksummed.hpp>  // IWYU pragma: export
#include <syncline/storage/keyspace.hpp>     // IWYU pragma: export
#include <syncline/storage/memory.hpp>       // IWYU pragma: export
#include <syncline/storage/storage.hpp>      // IWYU pragma: export
