// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Inputs of fuzz targets as files.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <ios>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz_targets/target.hpp"

namespace fuzz {

using input = std::vector<std::uint8_t>;

inline input read_input(std::filesystem::path const& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Writes the target's own seeds, a file each, into a folder that is made where it is missing.
inline void write_seeds(std::filesystem::path const& folder) {
    std::filesystem::create_directories(folder);
    auto const write = [&](std::string_view name, syncline::bytes_view in) {
        std::ofstream file(folder / std::string(name), std::ios::binary);
        file.write(reinterpret_cast<char const*>(in.data()), static_cast<std::streamsize>(in.size()));
    };
    if (this_target->seeds != nullptr) { this_target->seeds(write); }
}

}  // namespace fuzz
