// SPDX-License-Identifier: BSL-1.0
// Runs a fuzz target where there is no libFuzzer: the target's seeds, the files that are named, then inputs made from
// them and from nothing, the same on every machine. Without coverage to guide it, it is the lesser driver of the two.
//
//     fuzz_x [--rounds N] [--seconds N] [--seed N] [--findings PREFIX] [FILE or FOLDER...]
//     fuzz_all --target X, and the same
//
// Rounds are divided by the target's cost. An input at which the process ends is kept in the file PREFIX and a number.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz_targets/target.hpp"
#include "support/fuzz_files.hpp"

#if defined(SYNCLINE_FUZZ_JOINED)
fuzz::target const* fuzz::this_target = nullptr;
#endif

namespace {

using fuzz::input;

std::uint64_t state = 0x5EED;
std::uint64_t next() {  // splitmix64
    std::uint64_t z = (state += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}
std::size_t below(std::size_t n) { return static_cast<std::size_t>(next() % n); }
std::uint8_t byte() { return static_cast<std::uint8_t>(next()); }

constexpr std::size_t size_max = 4096;

input fresh() {
    input made(below(fuzz::this_target->length + 1));
    for (auto& b : made) { b = below(2) == 0 ? byte() : static_cast<std::uint8_t>(below(8) * 32 + below(25)); }
    return made;
}

void edit(input& made) {
    auto const at = made.begin() + static_cast<std::ptrdiff_t>(below(made.size() + 1));
    switch (below(4)) {
        case 0: made.insert(at, byte()); break;
        case 1: made.resize(below(made.size() + 1)); break;
        case 2:
            if (at != made.end()) { made.erase(at); }
            break;
        default:
            if (at != made.end()) { *at = static_cast<std::uint8_t>(*at ^ (1U << below(8))); }
            break;
    }
}

input changed(input made) {
    auto* const mutate = fuzz::this_target->mutate;
    if (mutate == nullptr || below(4) == 0) {
        for (std::size_t edits = 1 + below(4); edits != 0; --edits) { edit(made); }
        return made;
    }
    std::size_t const size = made.size();
    made.resize((std::max)(size, size_max));
    made.resize(mutate(made.data(), size, made.size(), static_cast<unsigned>(next())));
    return made;
}

input const* running = nullptr;
std::uint64_t number = 0;
std::string findings = "crash-";

void run(input const& in) {
    running = &in;
    ++number;
    static_cast<void>(fuzz::this_target->body(in.data(), in.size()));
}

/// The process is about to end: what it has to do needn't be safe, only likely to work.
void keep(int signal) {
    std::signal(signal, SIG_DFL);
    std::string const name = findings + std::to_string(number);
    std::FILE* const file = running != nullptr ? std::fopen(name.c_str(), "wb") : nullptr;
    if (file != nullptr) {
        std::fwrite(running->data(), 1, running->size(), file);
        std::fclose(file);
        std::fprintf(stderr, "the input is kept in %s\n", name.c_str());
    }
    std::raise(signal);
}

}  // namespace

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t room) {
    input made(data, data + size);
    edit(made);
    made.resize((std::min)(made.size(), room));
    std::copy(made.begin(), made.end(), data);
    return made.size();
}

int main(int argc, char** argv) {
    using clock = std::chrono::steady_clock;
    std::uint64_t rounds = 0;
    std::chrono::seconds patience{0};
    std::vector<std::filesystem::path> named;
    for (int i = 1; i < argc; ++i) {
        std::string_view const option = argv[i];
        if (!option.starts_with("--")) {
            named.emplace_back(option);
            continue;
        }
        if (++i == argc) { return 2; }
#if defined(SYNCLINE_FUZZ_JOINED)
        if (option == "--target") {
            fuzz::this_target = fuzz::known_target::find(argv[i]);
            continue;
        }
        if (fuzz::this_target == nullptr) { return 2; }
#endif
        std::uint64_t const n = std::strtoull(argv[i], nullptr, 10);
        if (option == "--rounds") {
            rounds = (std::max)(n / fuzz::this_target->cost, std::uint64_t{1});
        } else if (option == "--seconds") {
            patience = std::chrono::seconds{n};
        } else if (option == "--seed") {
            state = n;
        } else if (option == "--findings") {
            findings = argv[i];
        } else {
            return 2;
        }
    }
    if (fuzz::this_target == nullptr) { return 2; }
    for (int const signal : {SIGABRT, SIGSEGV, SIGFPE, SIGILL}) { std::signal(signal, keep); }

    std::vector<input> corpus{input{}};
    if (fuzz::this_target->seeds != nullptr) {
        auto const take = [&](std::string_view, syncline::bytes_view in) {
            auto const* const first = reinterpret_cast<std::uint8_t const*>(in.data());
            corpus.emplace_back(first, first + in.size());
        };
        fuzz::this_target->seeds(take);
    }
    for (auto const& path : named) {
        if (std::filesystem::is_regular_file(path)) { corpus.push_back(fuzz::read_input(path)); }
        if (!std::filesystem::is_directory(path)) { continue; }
        std::vector<std::filesystem::path> files;
        for (auto const& entry : std::filesystem::recursive_directory_iterator(path)) {
            if (entry.is_regular_file()) { files.push_back(entry.path()); }
        }
        std::sort(files.begin(), files.end());  // the same order on every machine
        for (auto const& file : files) { corpus.push_back(fuzz::read_input(file)); }
    }
    auto const begin = clock::now();
    for (input const& seed : corpus) { run(seed); }
    while (number < rounds || clock::now() - begin < patience) {
        input const made = below(3) == 0 ? fresh() : changed(corpus[below(corpus.size())]);
        run(made);
        // What was made is built upon: structure grows over the rounds.
        if (below(16) == 0 && made.size() < size_max) {
            if (corpus.size() < 4096) {
                corpus.push_back(made);
            } else {
                corpus[below(corpus.size())] = made;
            }
        }
    }
    double const seconds = std::chrono::duration<double>(clock::now() - begin).count();
    std::printf("executions %llu\nexecutions per second %.0f\ninputs kept %zu\n",
                static_cast<unsigned long long>(number), static_cast<double>(number) / (std::max)(seconds, 0.001),
                corpus.size());
    return 0;
}
