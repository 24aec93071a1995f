// SPDX-License-Identifier: BSL-1.0

/// Three-way merge of texts by lines: ours beside libgit2 in the same process, on generated sources with a few edits.
/// Real histories: benchmarks/studies/text_histories.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>

#include <syncline/core/random.hpp>
#include <syncline/merge/text.hpp>

#include "git_merge.hpp"

namespace {

using namespace syncline;

/// A file of so many lines as programs have them, and two edits of it in different places.
text_case make(std::size_t lines, std::size_t edits, std::uint64_t seed) {
    random_generator dice{seed};
    std::vector<std::string> base;
    for (std::size_t i = 0; i != lines; ++i) {
        switch (below(dice, 8)) {
            case 0: base.emplace_back("}\n"); break;
            case 1: base.emplace_back("\n"); break;
            case 2: base.emplace_back("    return result;\n"); break;
            default:
                base.push_back("    call_" + std::to_string(below(dice, lines)) + "(argument, " +
                               std::to_string(below(dice, 100)) + ");  // what it does\n");
        }
    }
    std::vector<std::string> local = base;
    std::vector<std::string> remote = base;
    for (std::size_t e = 0; e != edits; ++e) {
        // Each side in its own half of every stretch, so that none meets.
        std::size_t const stretch = lines / edits;
        std::size_t const at = e * stretch;
        local[at + static_cast<std::size_t>(below(dice, stretch / 4))] = "    changed_here();\n";
        remote[at + stretch / 2 + static_cast<std::size_t>(below(dice, stretch / 4))] += "    added_there();\n";
    }
    text_case out;
    for (std::string const& l : base) { out.base += l; }
    for (std::string const& l : local) { out.local += l; }
    for (std::string const& l : remote) { out.remote += l; }
    return out;
}
text_case const& of_size(std::int64_t lines) {
    static text_case const small = make(300, 3, 1);
    static text_case const middle = make(5'000, 20, 2);
    static text_case const large = make(150'000, 200, 3);
    return lines == 300 ? small : lines == 5'000 ? middle : large;
}

void ready(benchmark::State& state, text_case const& c) {
    static int const opened = git_libgit2_init();
    static_cast<void>(opened);
    auto const ours = merge_text(c.base, c.local, c.remote);
    if (!ours || !ours->conflicts.empty() || ours->text != merged_by_git(c)) {
        state.SkipWithError("the merges disagree");
    }
}
void speed(benchmark::State& state, text_case const& c) {
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(c.base.size()));
}

void text_ours(benchmark::State& state) {
    text_case const& c = of_size(state.range(0));
    ready(state, c);
    for (auto _ : state) { benchmark::DoNotOptimize(merge_text(c.base, c.local, c.remote)); }
    speed(state, c);
}
BENCHMARK(text_ours)->Name("merge/text/ours")->Arg(300)->Arg(5'000)->Arg(150'000);

void text_libgit2(benchmark::State& state) {
    text_case const& c = of_size(state.range(0));
    ready(state, c);
    for (auto _ : state) { benchmark::DoNotOptimize(merged_by_git(c)); }
    speed(state, c);
}
BENCHMARK(text_libgit2)->Name("merge/text/libgit2")->Arg(300)->Arg(5'000)->Arg(150'000);

}  // namespace
