// SPDX-License-Identifier: BSL-1.0
// Merges the cases that text_histories has written, tells how fast, and how fast libgit2 is in the same process.
// text_merge FOLDER COUNT; beside each case it writes the merged text, and a file where there is a conflict.

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <syncline/merge/text.hpp>

#if defined(SYNCLINE_LIBGIT2)
    #include "../git_merge.hpp"
#else
struct text_case {
    std::string base, local, remote;
};
#endif

namespace {

std::string read(std::filesystem::path const& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// The best of some runs over all cases, in MB of base a second.
template <class F>
double speed(std::vector<text_case> const& cases, F const& merge) {
    double bytes = 0;
    for (text_case const& c : cases) { bytes += static_cast<double>(c.base.size()); }
    double best = 0;
    for (int run = 0; run < 7; ++run) {
        double const begin = cpu_seconds();
        for (text_case const& c : cases) { merge(c); }
        best = (std::max)(best, bytes / (cpu_seconds() - begin) / 1e6);
    }
    return best;
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 3) { return 2; }
    std::filesystem::path const folder = arguments[1];
    std::vector<text_case> cases;
    for (int n = 0; n < std::stoi(arguments[2]); ++n) {
        auto const at = [&](char const* what) { return folder / (std::to_string(n) + "." + what); };
        cases.push_back({read(at("base")), read(at("local")), read(at("remote"))});
        auto const merged = syncline::merge_text(cases.back().base, cases.back().local, cases.back().remote);
        std::ofstream(at("merged"), std::ios::binary) << merged->text;
        std::filesystem::remove(at("conflict"));
        if (!merged->conflicts.empty()) { std::ofstream(at("conflict")) << merged->conflicts.size(); }
    }
    std::size_t kept = 0;
    double const ours =
        speed(cases, [&](text_case const& c) { kept += syncline::merge_text(c.base, c.local, c.remote)->text.size(); });
    std::printf("ours %.0f MB/s of base", ours);
#if defined(SYNCLINE_LIBGIT2)
    git_libgit2_init();
    double const theirs = speed(cases, [&](text_case const& c) { kept += merged_by_git(c).size(); });
    git_libgit2_shutdown();
    std::printf(", libgit2 %.0f, ratio %.1f", theirs, ours / theirs);
#endif
    std::printf(" (%zu cases)\n", cases.size());
    return kept == 0;
}
