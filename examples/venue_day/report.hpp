// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The page that shows the day: lanes, offline spans, edits, syncs, conflicts and what became of them.

#include <string>
#include <vector>

#include "plan.hpp"
#include "play.hpp"
#include "proof.hpp"

namespace venue {

/// Writes one HTML file that needs no other. False, with a complaint, when it can't be written.
[[nodiscard]] bool write_report(std::string const& path, plan const& p, history const& h,
                                std::vector<contents> const& databases, std::string& complaint);

}  // namespace venue
