// SPDX-License-Identifier: BSL-1.0

/// Hashes beside OpenSSL's SHA-256, which may use the processor's instructions for it, and libxxhash.

#include <array>
#include <cstddef>
#include <cstdint>

#include <benchmark/benchmark.h>
#include <openssl/evp.h>
#include <xxhash.h>

#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>

namespace {

using namespace syncline;

bytes input(benchmark::State const& state) {
    syncline::random_generator g(1);
    bytes out(static_cast<std::size_t>(state.range(0)));
    fill(g, out);
    return out;
}
void count(benchmark::State& state) { state.SetBytesProcessed(state.iterations() * state.range(0)); }

void sha256_ours(benchmark::State& state) {
    auto const data = input(state);
    for (auto _ : state) { benchmark::DoNotOptimize(sha256(data)); }
    count(state);
}
void sha256_openssl(benchmark::State& state) {
    auto const data = input(state);
    EVP_MD_CTX* const context = EVP_MD_CTX_new();
    std::array<unsigned char, 32> digest{};
    for (auto _ : state) {
        unsigned size = 0;
        EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
        EVP_DigestUpdate(context, data.data(), data.size());
        EVP_DigestFinal_ex(context, digest.data(), &size);
        benchmark::DoNotOptimize(digest);
    }
    EVP_MD_CTX_free(context);
    count(state);
}
void crc32c_ours(benchmark::State& state) {
    auto const data = input(state);
    for (auto _ : state) { benchmark::DoNotOptimize(crc32c(data)); }
    count(state);
}
void xxh3_ours(benchmark::State& state) {
    auto const data = input(state);
    for (auto _ : state) { benchmark::DoNotOptimize(xxh3_64(data)); }
    count(state);
}
void xxh3_libxxhash(benchmark::State& state) {
    auto const data = input(state);
    for (auto _ : state) { benchmark::DoNotOptimize(XXH3_64bits(data.data(), data.size())); }
    count(state);
}
BENCHMARK(sha256_ours)->Name("core/sha256/ours")->Arg(232)->Arg(65536);
BENCHMARK(sha256_openssl)->Name("core/sha256/openssl")->Arg(232)->Arg(65536);
BENCHMARK(crc32c_ours)->Name("core/crc32c/ours")->Arg(232)->Arg(65536);
BENCHMARK(xxh3_ours)->Name("core/xxh3/ours")->Arg(16)->Arg(232)->Arg(65536);
BENCHMARK(xxh3_libxxhash)->Name("core/xxh3/libxxhash")->Arg(16)->Arg(232)->Arg(65536);

}  // namespace
