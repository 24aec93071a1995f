// SPDX-License-Identifier: BSL-1.0
// The smallest user of the library: what every way of getting it has to build and run.
#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>

#include <cstdio>

int main() {
    // region: first
    syncline::result<int> const answer = syncline::errc::not_found;
    std::printf("syncline %d.%d.%d: %s\n", syncline::version{}.major, syncline::version{}.minor,
                syncline::version{}.patch, syncline::message(answer.error().code));
    // endregion: first
    return syncline::to_hex(syncline::as_bytes("ok")) == "6f6b" ? 0 : 1;
}
