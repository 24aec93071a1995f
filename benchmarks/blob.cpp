// SPDX-License-Identifier: BSL-1.0

/// Chunking 32 MB of random bytes (8 KB on average, the first 6 KB of each chunk skipped, normalised) beside FastCDC's
/// reference loop, written here from its publication: a byte at a time, two masks, the same table. Then hashing of
/// chunks, with the built-in SHA-256 and with OpenSSL's, and OpenSSL's kept from the processor's own instructions where
/// the environment says so (OPENSSL_ia32cap=~0x1000020000000000:~0x20000128 leaves its portable path).

#include <cstddef>
#include <cstdint>

#include <benchmark/benchmark.h>
#include <openssl/evp.h>

#include <syncline/adapters/openssl_hash.hpp>
#include <syncline/blob.hpp>

namespace {

using namespace syncline;

constexpr chunk_options options{.min = 6144, .average = 8192, .max = 65'536};

bytes const& content() {
    static bytes const all = [] {
        bytes out(std::size_t{32} << 20);
        random_generator g(1);
        fill(g, out);
        return out;
    }();
    return all;
}

void ours(benchmark::State& state) {
    std::size_t chunks = 0;
    for (auto _ : state) {
        chunks = 0;
        for (bytes_view rest = content(); !rest.empty(); ++chunks) { rest = rest.subspan(next_chunk(rest, options)); }
        benchmark::DoNotOptimize(chunks);
    }
    state.counters["chunks"] = static_cast<double>(chunks);
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(content().size()));
}

/// The algorithm as it is printed: FastCDC8KB with normalised chunking, ATC 2016, algorithm 1.
std::size_t reference_cut(std::byte const* p, std::size_t n) {
    constexpr std::uint64_t mask_s = 0x0003590703530000;
    constexpr std::uint64_t mask_l = 0x0000D90003530000;
    std::uint64_t fp = 0;
    std::size_t i = options.min;
    std::size_t normal = options.average;
    if (n <= options.min) { return n; }
    if (n >= options.max) {
        n = options.max;
    } else if (n <= normal) {
        normal = n;
    }
    for (; i < normal; ++i) {
        fp = (fp << 1) + detail::gear_table[std::to_integer<std::size_t>(p[i])];
        if ((fp & mask_s) == 0) { return i; }
    }
    for (; i < n; ++i) {
        fp = (fp << 1) + detail::gear_table[std::to_integer<std::size_t>(p[i])];
        if ((fp & mask_l) == 0) { return i; }
    }
    return i;
}
void reference(benchmark::State& state) {
    std::size_t chunks = 0;
    for (auto _ : state) {
        chunks = 0;
        for (bytes_view rest = content(); !rest.empty(); ++chunks) {
            rest = rest.subspan(reference_cut(rest.data(), rest.size()));
        }
        benchmark::DoNotOptimize(chunks);
    }
    state.counters["chunks"] = static_cast<double>(chunks);
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(content().size()));
}
BENCHMARK(ours)->Name("blob/chunk/ours")->Unit(benchmark::kMillisecond);
BENCHMARK(reference)->Name("blob/chunk/fastcdc_loop")->Unit(benchmark::kMillisecond);

template <class H>
void hash(benchmark::State& state) {
    bytes_view const chunk = bytes_view{content()}.first(32'768);
    for (auto _ : state) {
        H h;
        h.update(chunk);
        benchmark::DoNotOptimize(h.finish());
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(chunk.size()));
}
void hash_openssl(benchmark::State& state) {
    bytes_view const chunk = bytes_view{content()}.first(32'768);
    EVP_MD_CTX* const context = EVP_MD_CTX_new();
    std::array<unsigned char, 32> digest{};
    for (auto _ : state) {
        unsigned size = 0;
        EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
        EVP_DigestUpdate(context, chunk.data(), chunk.size());
        EVP_DigestFinal_ex(context, digest.data(), &size);
        benchmark::DoNotOptimize(digest);
    }
    EVP_MD_CTX_free(context);
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(chunk.size()));
}
BENCHMARK(hash<sha256_hasher>)->Name("blob/hash_32k/ours");
BENCHMARK(hash<openssl_sha256>)->Name("blob/hash_32k/ours_adapter");
BENCHMARK(hash_openssl)->Name("blob/hash_32k/openssl");
BENCHMARK(hash_openssl)->Name("blob/hash_32k/adapter/openssl");

}  // namespace
