// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a conformance suite answers: the axioms that a model was seen to break.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/core/config.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// One axiom that was seen broken, by the name that its concept's documentation gives it.
struct violation {
    std::string axiom{};
    std::string what{};  ///< what was seen, for a person
    friend bool operator==(violation const&, violation const&) = default;
};

/// Whether an axiom is among the broken ones.
[[nodiscard]] inline bool breaks(std::vector<violation> const& found, std::string_view axiom) {
    return std::any_of(found.begin(), found.end(), [axiom](violation const& v) { return v.axiom == axiom; });
}

/// All of it as text, a line each; empty when nothing was found.
[[nodiscard]] inline std::string to_text(std::vector<violation> const& found) {
    std::string out;
    for (violation const& v : found) { out += v.axiom + ": " + v.what + '\n'; }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
