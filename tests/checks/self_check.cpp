// SPDX-License-Identifier: BSL-1.0
// A program that checks itself without a test framework, for builds without exceptions and run-time type
// information. It answers 0 when all held, and says which line did not.
#include <cstdio>

#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>

namespace {

int failures = 0;

void expect(bool held, int line) {
    if (!held) {
        std::printf("self_check.cpp:%d does not hold\n", line);
        ++failures;
    }
}
#define EXPECT(condition) expect((condition), __LINE__)

void core() {
    using namespace syncline;
    bytes b;
    append_u64(b, 0x0102030405060708U);
    EXPECT(to_hex(b) == "0102030405060708");
    EXPECT(read_u64(b) == 0x0102030405060708U);
    result<int> const good = 1;
    result<int> const bad = errc::malformed;
    EXPECT(good && *good == 1);
    EXPECT(!bad && bad.error() == errc::malformed);
}

}  // namespace

int main() {
    core();
    return failures == 0 ? 0 : 1;
}
