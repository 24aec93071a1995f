// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Tables on a terminal.

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace venue {

/// How many columns a text takes: its code points, near enough.
inline std::size_t columns(std::string_view text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}
inline std::string pad(std::string const& text, std::size_t width, bool right = false) {
    std::size_t const have = columns(text);
    std::string const space(width > have ? width - have : 0, ' ');
    return right ? space + text : text + space;
}

/// Prints rows; the first column stands left, the others right. An empty row is a line across.
inline void print_table(std::vector<std::vector<std::string>> const& rows) {
    std::vector<std::size_t> widths;
    for (auto const& row : rows) {
        widths.resize((std::max)(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) { widths[i] = (std::max)(widths[i], columns(row[i])); }
    }
    std::size_t whole = 0;
    for (std::size_t const w : widths) { whole += w + 2; }
    for (auto const& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) { line += pad(row[i], widths[i], i != 0) + "  "; }
        if (row.empty()) { line.assign(whole - 2, '-'); }
        line.resize(line.find_last_not_of(' ') + 1);
        std::printf("%s\n", line.c_str());
    }
}

}  // namespace venue
