// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What nearly every test file includes, compiled once for all. Nothing of ours: a header of ours must bring its own
/// includes, and a change of it must not compile every test anew.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "support/catch.hpp"
