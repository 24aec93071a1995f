// SPDX-License-Identifier: BSL-1.0

/// Deltas of records and of a file, beside zstd with the old version as its prefix. The corpus is made here, small and
/// from a seed, so that it is the same in each run; the wide comparison is benchmarks/studies/run_delta. A row's time is
/// that of one pass over its corpus; `bytes` is what a delta takes on average.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <zstd.h>

#include <syncline/core/random.hpp>
#include <syncline/delta.hpp>

namespace {

using namespace syncline;

using corpus = std::vector<std::pair<bytes, bytes>>;

std::string line(random_generator& r) {
    return "    \"note " + std::to_string(below(r, 1'000'000)) + "\": \"seat " + std::to_string(below(r, 600)) +
           "\",\n";
}
/// A text and its next version: a few lines edited, put in or left out.
std::pair<bytes, bytes> versions(random_generator& r, std::size_t lines, std::size_t edits) {
    std::vector<std::string> all;
    for (std::size_t i = 0; i < lines; ++i) { all.push_back(line(r)); }
    auto const joined = [&] {
        bytes out;
        for (std::string const& l : all) { append(out, as_bytes(l)); }
        return out;
    };
    bytes base = joined();
    for (std::size_t i = 0; i < edits; ++i) {
        auto const at = all.begin() + static_cast<std::ptrdiff_t>(below(r, all.size()));
        switch (below(r, 3)) {
            case 0: *at = line(r); break;
            case 1: all.insert(at, line(r)); break;
            default: (*at)[12] = static_cast<char>('0' + below(r, 10)); break;
        }
    }
    return {std::move(base), joined()};
}
corpus const& records() {
    static corpus const all = [] {
        random_generator r(1);
        corpus out;
        for (int i = 0; i < 1000; ++i) { out.push_back(versions(r, 90, 3)); }
        return out;
    }();
    return all;
}
corpus const& file() {
    static corpus const all = [] {
        random_generator r(2);
        return corpus{versions(r, 200'000, 400)};
    }();
    return all;
}

template <class Encode>
void encoding(benchmark::State& state, corpus const& all, Encode encode) {
    bytes out;
    std::size_t made = 0;
    for (auto _ : state) {
        made = 0;
        for (auto const& [base, target] : all) {
            out.clear();
            encode(base, target, out);
            made += out.size();
        }
        benchmark::DoNotOptimize(out.data());
    }
    std::size_t taken = 0;
    for (auto const& p : all) { taken += p.second.size(); }
    state.counters["bytes"] = static_cast<double>(made) / static_cast<double>(all.size());
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(taken));
}

void with_zstd(benchmark::State& state, corpus const& all, int level) {
    ZSTD_CCtx* const c = ZSTD_createCCtx();
    encoding(state, all, [&](bytes_view base, bytes_view target, bytes& out) {
        ZSTD_CCtx_reset(c, ZSTD_reset_session_and_parameters);
        ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level);
        if (base.size() > 100'000) {
            ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, 25);
            ZSTD_CCtx_setParameter(c, ZSTD_c_enableLongDistanceMatching, 1);
        }
        ZSTD_CCtx_refPrefix(c, base.data(), base.size());
        out.resize(ZSTD_compressBound(target.size()));
        std::size_t const n = ZSTD_compress2(c, out.data(), out.size(), target.data(), target.size());
        out.resize(ZSTD_isError(n) != 0 ? 0 : n);
    });
    ZSTD_freeCCtx(c);
}
void compact(benchmark::State& state, corpus const& all) {
    delta_scratch scratch;
    encoding(state, all, [&](bytes_view a, bytes_view b, bytes& out) { compact_encode(a, b, out, scratch); });
}
void lines(benchmark::State& state, corpus const& all) {
    delta_scratch scratch;
    encoding(state, all, [&](bytes_view a, bytes_view b, bytes& out) { line_delta_encode(a, b, out, scratch); });
}
void vcdiff(benchmark::State& state, corpus const& all, delta_level level) {
    delta_scratch scratch;
    encoding(state, all,
             [&](bytes_view a, bytes_view b, bytes& out) { vcdiff_encode(a, b, out, scratch, {.level = level}); });
}
void decoding(benchmark::State& state, bool checksum) {
    auto const& [base, target] = file()[0];
    delta_scratch scratch;
    bytes delta;
    vcdiff_encode(base, target, delta, scratch, {.checksum = checksum});
    bytes made;
    for (auto _ : state) {
        made.clear();
        if (!vcdiff_decode(base, delta, made)) { state.SkipWithError("decoding"); }
        benchmark::DoNotOptimize(made.data());
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(target.size()));
}
void copying(benchmark::State& state) {
    bytes const& target = file()[0].second;
    bytes made;
    for (auto _ : state) {
        made.assign(target.begin(), target.end());
        benchmark::DoNotOptimize(made.data());
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(target.size()));
}

struct rows {
    rows() {
        auto const add = [](char const* name, auto&& run) {
            benchmark::RegisterBenchmark(name, run)->Unit(benchmark::kMillisecond);
        };
        add("delta/records/ours_compact", [](benchmark::State& s) { compact(s, records()); });
        add("delta/records/zstd_1", [](benchmark::State& s) { with_zstd(s, records(), 1); });
        add("delta/text/ours_lines", [](benchmark::State& s) { lines(s, file()); });
        add("delta/text/ours_fast", [](benchmark::State& s) { vcdiff(s, file(), delta_level::fast); });
        add("delta/text/ours_smaller", [](benchmark::State& s) { vcdiff(s, file(), delta_level::smaller); });
        add("delta/text/zstd_3_long", [](benchmark::State& s) { with_zstd(s, file(), 3); });
        add("delta/decode/ours", [](benchmark::State& s) { decoding(s, false); });
        add("delta/decode/ours_checksum", [](benchmark::State& s) { decoding(s, true); });
        add("delta/decode/copying", copying);
    }
} const registered;

}  // namespace
