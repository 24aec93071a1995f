// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `blob`.

#include <syncline/blob/blob_book.hpp>    // IWYU pragma: export
#include <syncline/blob/chunk_store.hpp>  // IWYU pragma: export
#include <syncline/blob/chunker.hpp>      // IWYU pragma: export
#include <syncline/blob/manifest.hpp>     // IWYU pragma: export
#include <syncline/blob/message.hpp>      // IWYU pragma: export
#include <syncline/blob/transfers.hpp>    // IWYU pragma: export
#include <syncline/blob/writer.hpp>       // IWYU pragma: export
