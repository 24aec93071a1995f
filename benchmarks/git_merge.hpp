// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A case of text merge, and what libgit2 makes of it in the same process: for the benchmark and the study of histories.

#include <string>

#include <git2.h>

struct text_case {
    std::string base, local, remote;
};

struct git_merged {
    std::string text{};  ///< conflicts marked in it; empty when it fails
    bool clean = false;
};

/// What git makes of a case. libgit2 has been initialised.
inline git_merged merge_by_git(text_case const& c) {
    auto const input = [](std::string const& s) {
        git_merge_file_input in = GIT_MERGE_FILE_INPUT_INIT;
        in.ptr = s.data();
        in.size = s.size();
        return in;
    };
    auto const base = input(c.base);
    auto const local = input(c.local);
    auto const remote = input(c.remote);
    git_merge_file_result out{};
    if (git_merge_file(&out, &base, &local, &remote, nullptr) != 0) { return {}; }
    git_merged merged{std::string(out.ptr, out.len), out.automergeable != 0};
    git_merge_file_result_free(&out);
    return merged;
}
inline std::string merged_by_git(text_case const& c) { return merge_by_git(c).text; }
