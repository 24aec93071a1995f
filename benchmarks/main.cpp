// SPDX-License-Identifier: BSL-1.0
// The benchmarks' main function. Names are part/case/.../ours and part/case/.../<peer>: benchmarks/run pairs them.
#include <benchmark/benchmark.h>

BENCHMARK_MAIN();
