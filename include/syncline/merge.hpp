// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `merge`: three-way merge by rules, differences and their application.

#include <syncline/merge/again.hpp>         // IWYU pragma: export
#include <syncline/merge/apply.hpp>         // IWYU pragma: export
#include <syncline/merge/choice.hpp>        // IWYU pragma: export
#include <syncline/merge/context.hpp>       // IWYU pragma: export
#include <syncline/merge/decision.hpp>      // IWYU pragma: export
#include <syncline/merge/diff.hpp>          // IWYU pragma: export
#include <syncline/merge/elements.hpp>      // IWYU pragma: export
#include <syncline/merge/field_index.hpp>   // IWYU pragma: export
#include <syncline/merge/field_merge.hpp>   // IWYU pragma: export
#include <syncline/merge/fields.hpp>        // IWYU pragma: export
#include <syncline/merge/grapheme.hpp>      // IWYU pragma: export
#include <syncline/merge/member_merge.hpp>  // IWYU pragma: export
#include <syncline/merge/merged.hpp>        // IWYU pragma: export
#include <syncline/merge/order.hpp>         // IWYU pragma: export
#include <syncline/merge/partial.hpp>       // IWYU pragma: export
#include <syncline/merge/record_delta.hpp>  // IWYU pragma: export
#include <syncline/merge/rule.hpp>          // IWYU pragma: export
#include <syncline/merge/rule_codec.hpp>    // IWYU pragma: export
#include <syncline/merge/text.hpp>          // IWYU pragma: export
#include <syncline/merge/three_way.hpp>     // IWYU pragma: export
