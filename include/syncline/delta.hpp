// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `delta`: what changed, in as few bytes as can be.

#include <syncline/delta/choose.hpp>          // IWYU pragma: export
#include <syncline/delta/codec.hpp>           // IWYU pragma: export
#include <syncline/delta/compact.hpp>         // IWYU pragma: export
#include <syncline/delta/compact_model.hpp>   // IWYU pragma: export
#include <syncline/delta/field.hpp>           // IWYU pragma: export
#include <syncline/delta/lines.hpp>           // IWYU pragma: export
#include <syncline/delta/matcher.hpp>         // IWYU pragma: export
#include <syncline/delta/sequence.hpp>        // IWYU pragma: export
#include <syncline/delta/signature.hpp>       // IWYU pragma: export
#include <syncline/delta/vcdiff_decoder.hpp>  // IWYU pragma: export
#include <syncline/delta/vcdiff_encoder.hpp>  // IWYU pragma: export
#include <syncline/delta/vcdiff_format.hpp>   // IWYU pragma: export
