// SPDX-License-Identifier: BSL-1.0
// Runs a fuzz body where there is no libFuzzer: the files named on the command line, then inputs made from them and
// from nothing, the same on every machine.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

namespace {

using input = std::vector<std::uint8_t>;

std::uint64_t state = 0x5EED;
std::uint64_t next() {  // splitmix64
    std::uint64_t z = (state += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
}
std::size_t below(std::size_t n) { return static_cast<std::size_t>(next() % n); }
std::uint8_t byte() { return static_cast<std::uint8_t>(next()); }

input fresh() {
    input made(below(65));
    for (auto& b : made) { b = below(2) == 0 ? byte() : static_cast<std::uint8_t>(below(8) * 32 + below(25)); }
    return made;
}

input changed(input made) {
    for (std::size_t edits = 1 + below(4); edits != 0; --edits) {
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
    return made;
}

}  // namespace

int main(int argc, char** argv) {
    // fuzz_x ROUNDS [FOLDER...]
    if (argc < 2) { return 2; }
    long const rounds = std::strtol(argv[1], nullptr, 10);
    std::vector<input> corpus{input{}};
    for (int i = 2; i < argc; ++i) {
        if (!std::filesystem::is_directory(argv[i])) { continue; }
        for (auto const& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
            if (!entry.is_regular_file()) { continue; }
            std::ifstream file(entry.path(), std::ios::binary);
            corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
        }
    }
    for (input const& seed : corpus) { (void)LLVMFuzzerTestOneInput(seed.data(), seed.size()); }
    for (long round = 0; round < rounds; ++round) {
        input const made = below(3) == 0 ? fresh() : changed(corpus[below(corpus.size())]);
        (void)LLVMFuzzerTestOneInput(made.data(), made.size());
        // What was made is built upon: structure grows over the rounds.
        if (below(16) == 0 && made.size() < 4096) {
            if (corpus.size() < 4096) {
                corpus.push_back(made);
            } else {
                corpus[below(corpus.size())] = made;
            }
        }
    }
    std::printf("%zu inputs kept, %ld made\n", corpus.size(), rounds);
    return 0;
}
