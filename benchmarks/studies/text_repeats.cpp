// SPDX-License-Identifier: BSL-1.0
// Merges of generated texts of few short lines that repeat, and of some like programs, ours beside libgit2's in the same
// process. text_repeats [FIRST_SEED [CASES [SHOWN]]]: it fails where both are clean and differ, or where ours alone is in
// conflict. Run by text_histories, or built with -Iinclude and -lgit2.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/merge/text.hpp>

#include "../git_merge.hpp"

namespace {

using namespace syncline;

using lines = std::vector<std::uint32_t>;

/// A text of lines out of few, some of them standing in runs and blocks that come again, as in lists and in code.
lines repeated(random_generator& dice, std::size_t length, std::uint32_t kinds) {
    lines out;
    while (out.size() < length) {
        if (out.size() >= 4 && below(dice, 6) == 0) {
            std::size_t const from = static_cast<std::size_t>(below(dice, out.size() - 2));
            std::size_t const n = 1 + static_cast<std::size_t>(below(dice, 4));
            for (std::size_t i = 0; i != n && from + i < out.size(); ++i) { out.push_back(out[from + i]); }
        } else {
            out.push_back(static_cast<std::uint32_t>(below(dice, kinds)));
        }
    }
    out.resize(length);
    return out;
}
/// Lines inserted, deleted, changed and moved, out of the same few and now and then a new one.
lines edited(random_generator& dice, lines out, std::uint32_t kinds, std::uint64_t edits) {
    auto const some = [&] {
        return below(dice, 8) == 0 ? 100 + static_cast<std::uint32_t>(below(dice, 3))
                                   : static_cast<std::uint32_t>(below(dice, kinds));
    };
    for (; edits != 0; --edits) {
        auto at = static_cast<std::ptrdiff_t>(below(dice, out.size() + 1));
        auto const n = 1 + static_cast<std::ptrdiff_t>(below(dice, 3));
        switch (below(dice, 4)) {
            case 0:
                for (std::ptrdiff_t i = 0; i != n; ++i) { out.insert(out.begin() + at, some()); }
                break;
            case 1:
            case 3: {
                lines moved;
                bool const moves = below(dice, 3) == 0;
                for (std::ptrdiff_t i = 0; i != n && at != static_cast<std::ptrdiff_t>(out.size()); ++i) {
                    moved.push_back(out[static_cast<std::size_t>(at)]);
                    out.erase(out.begin() + at);
                }
                at = static_cast<std::ptrdiff_t>(below(dice, out.size() + 1));
                if (moves) { out.insert(out.begin() + at, moved.begin(), moved.end()); }
                break;
            }
            default:
                if (at != static_cast<std::ptrdiff_t>(out.size())) { out[static_cast<std::size_t>(at)] = some(); }
        }
    }
    return out;
}
/// A text like a program's: most lines are there once, some are everywhere.
lines program(random_generator& dice, std::size_t length, std::uint32_t kinds) {
    lines out;
    for (std::size_t i = 0; i != length; ++i) {
        out.push_back(
            static_cast<std::uint32_t>(below(dice, 3) == 0 ? below(dice, kinds) : 1'000 + below(dice, 2 * length)));
    }
    return out;
}
std::string text_of(lines const& all, bool last_feed) {
    std::string out;
    for (std::uint32_t const l : all) {
        if (l < 200) {
            out += std::string(1, static_cast<char>(l < 26 ? 'a' + l : 'A' + l % 26)) + "\n";
        } else {
            out += "    call_" + std::to_string(l) + "(argument);\n";
        }
    }
    if (!last_feed && !out.empty()) { out.pop_back(); }
    return out;
}
std::string shown(std::string_view text) {
    std::string out;
    for (char const c : text) {
        if (c != '\n') { out += c; }
    }
    return out;
}

struct counts {
    std::size_t cases = 0, clean = 0, both = 0, git = 0, ours = 0, different = 0;
};
struct shape {
    bool program;
    std::uint32_t kinds;
    std::size_t length;
};

}  // namespace

int main(int count, char** arguments) {
    auto const number = [&](int which, std::uint64_t otherwise) {
        return which < count ? std::strtoull(arguments[which], nullptr, 10) : otherwise;
    };
    std::uint64_t const first = number(1, 1);
    std::uint64_t const cases = number(2, 20'000);
    std::uint64_t left = number(3, 10);
    git_libgit2_init();
    counts all;
    std::vector<shape> shapes;
    for (std::uint32_t const kinds : {1U, 2U, 3U, 4U, 6U, 10U, 20U}) {
        for (std::size_t const length : {8U, 30U, 150U, 600U, 5'000U}) { shapes.push_back({false, kinds, length}); }
    }
    for (std::size_t const length : {50U, 500U, 5'000U}) { shapes.push_back({true, 4, length}); }
    for (shape const& of : shapes) {
        random_generator dice{first * 1'000'000 + of.kinds * 10'000 + of.length + (of.program ? 1 : 0)};
        counts c;
        for (std::uint64_t i = 0; i != cases * 8 / (8 + of.length); ++i) {
            std::size_t const length = 1 + static_cast<std::size_t>(below(dice, of.length));
            lines const base = of.program ? program(dice, length, of.kinds) : repeated(dice, length, of.kinds);
            bool const feed = below(dice, 20) != 0;
            std::uint64_t const edits = 1 + below(dice, 2 + of.length / 20);
            text_case const t{text_of(base, feed), text_of(edited(dice, base, of.kinds, edits), feed),
                              text_of(edited(dice, base, of.kinds, edits), below(dice, 20) != 0)};
            auto const ours = merge_text(t.base, t.local, t.remote);
            auto const git = merge_by_git(t);
            ++c.cases;
            char const* wrong = nullptr;
            if (git.clean && ours->conflicts.empty()) {
                ++c.clean;
                if (git.text != ours->text) {
                    ++c.different;
                    wrong = "clean but different";
                }
            } else if (git.clean) {
                ++c.ours;
                wrong = "only ours in conflict";
            } else if (ours->conflicts.empty()) {
                ++c.git;
            } else {
                ++c.both;
            }
            if (wrong != nullptr && left != 0) {
                --left;
                std::printf("%s: %s | %s | %s: git %s, ours %s\n", wrong, shown(t.base).c_str(), shown(t.local).c_str(),
                            shown(t.remote).c_str(), shown(git.text).c_str(), shown(ours->text).c_str());
            }
        }
        std::printf(
            "%s%2u lines, up to %4zu of them: %6zu cases, both clean %6zu, both in conflict %6zu, only git %zu, "
            "only ours %zu, clean but different %zu\n",
            of.program ? "program, " : "", of.kinds, of.length, c.cases, c.clean, c.both, c.git, c.ours, c.different);
        all.cases += c.cases;
        all.clean += c.clean;
        all.both += c.both;
        all.git += c.git;
        all.ours += c.ours;
        all.different += c.different;
    }
    git_libgit2_shutdown();
    std::printf(
        "all: %zu cases, both clean %zu, both in conflict %zu, only git %zu, only ours %zu, clean but different %zu\n",
        all.cases, all.clean, all.both, all.git, all.ours, all.different);
    return all.ours != 0 || all.different != 0 ? 1 : 0;
}
