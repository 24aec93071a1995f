// SPDX-License-Identifier: BSL-1.0
// Makes the code lengths of delta/compact_model.hpp out of records that delta_corpus.py made with other seeds than the
// measured one:  delta_model RECORDS...  prints the lines that stand there.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <syncline/delta/compact.hpp>

namespace {

using namespace syncline;

using counts = std::array<std::array<std::uint64_t, 257>, syncline::detail::compact_contexts>;

/// The versions of each document, six after each other.
std::vector<bytes> records_of(char const* file) {
    std::ifstream in(file, std::ios::binary);
    std::string const all{std::istreambuf_iterator<char>(in), {}};
    bytes_view rest = as_bytes(all);
    std::vector<bytes> out;
    while (rest.size() >= 4) {
        std::size_t const n = syncline::detail::load_little32(rest.data());
        out.push_back(to_bytes(rest.subspan(4, n)));
        rest = rest.subspan(4 + n);
    }
    return out;
}

void count(bytes_view base, bytes_view target, delta_scratch& scratch, counts& seen) {
    bytes ignored;
    compact_encode(base, target, ignored, scratch);
    bytes_view const edits = scratch.first;
    std::size_t at = 0;
    std::size_t cursor = 0;
    bytes_view rest = edits;
    while (!rest.empty()) {
        auto const e = syncline::detail::compact_take_edit(rest);
        at += e->copied;
        cursor += e->copied;
        syncline::detail::compact_context context(base, cursor, e->moved, at == 0 ? std::byte{0} : target[at - 1]);
        for (std::size_t i = 0; i < e->inserted; ++i) {
            ++seen[context.of(i)][std::to_integer<std::size_t>(target[at + i])];
            context.wrote(target[at + i]);
        }
        at += e->inserted;
        cursor = static_cast<std::size_t>(static_cast<std::int64_t>(cursor) + e->moved);
    }
}

/// Lengths of Huffman's codes, none above the limit: the counts are flattened until they are.
std::string lengths(std::array<std::uint64_t, 257> weight) {
    // Bytes that are rare take the escape.
    std::uint64_t total = 0;
    for (auto const n : weight) { total += n; }
    std::uint64_t escaped = total / 500 + 1;
    for (std::size_t i = 0; i < 256; ++i) {
        bool const text = i >= 32 && i < 127;
        if (weight[i] * 1500 < total && !(text && weight[i] * 20000 >= total)) {
            escaped += weight[i];
            weight[i] = 0;
        }
    }
    weight[256] = escaped;
    for (;;) {
        std::array<unsigned, 257> depth{};
        std::vector<std::pair<std::uint64_t, std::vector<std::size_t>>> trees;
        for (std::size_t i = 0; i < 257; ++i) {
            if (weight[i] != 0) { trees.push_back({weight[i], {i}}); }
        }
        while (trees.size() > 1) {
            std::sort(trees.begin(), trees.end(), [](auto const& a, auto const& b) { return a.first > b.first; });
            auto last = std::move(trees.back());
            trees.pop_back();
            for (std::size_t const i : last.second) { ++depth[i]; }
            for (std::size_t const i : trees.back().second) { ++depth[i]; }
            trees.back().first += last.first;
            trees.back().second.insert(trees.back().second.end(), last.second.begin(), last.second.end());
        }
        if (*std::max_element(depth.begin(), depth.end()) <= syncline::detail::compact_code_bits) {
            std::string out;
            for (unsigned const d : depth) { out += "0123456789abcdef"[d]; }
            return out;
        }
        for (auto& n : weight) { n = n == 0 ? 0 : n / 2 + total / 4096 + 1; }
    }
}

}  // namespace

int main(int argc, char** argv) {
    counts seen{};
    delta_scratch scratch;
    for (int i = 1; i < argc; ++i) {
        auto const records = records_of(argv[i]);
        for (std::size_t k = 1; k < records.size(); ++k) {
            if (k % 6 != 0) { count(records[k - 1], records[k], scratch, seen); }
        }
    }
    for (std::size_t c = 0; c < seen.size(); ++c) {
        auto& context = seen[c];
        // What any text may hold, so that a language or a spelling not seen here isn't dear.
        std::uint64_t total = 0;
        for (auto const n : context) { total += n; }
        for (std::size_t b = 32; b < 127; ++b) { context[b] += total / 3000 + 1; }
        for (char const b : std::string_view("abcdefghijklmnopqrstuvwxyz0123456789 ")) {
            context[static_cast<unsigned char>(b)] += total / 400 + 1;
        }
        std::printf("    \"%s\",\n", lengths(context).c_str());
    }
}
