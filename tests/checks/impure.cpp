// SPDX-License-Identifier: BSL-1.0
// A planted bug: everything that check.purity has to find. It proves that the check can fail.
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <random>
#include <stdexcept>
#include <thread>

#include <sys/socket.h>
#include <unistd.h>

// expect: system_clock::now
// expect: steady_clock::now
// expect: time
// expect: clock_gettime
// expect: random_device
// expect: rand
// expect: fopen
// expect: getenv
// expect: socket
// expect: thread
// expect: condition_variable
// expect: basic_ofstream
// expect: __cxa_throw
// expect: __cxa_guard_acquire
// expect: puts

namespace syncline {

long impure(int n);
int compute();
long impure(int n) {
    static int const guarded = compute();
    if (n == 42) { throw std::runtime_error("planted"); }
    std::timespec t{};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    std::random_device device;
    std::ofstream file("/dev/null");
    std::condition_variable condition;
    condition.notify_all();
    std::thread([] {}).join();
    std::puts("planted");
    if (std::FILE* f = std::fopen("/dev/null", "r"); f != nullptr && std::getenv("PLANTED") != nullptr) { return 1; }
    return std::rand() + guarded + std::time(nullptr) + t.tv_sec + static_cast<long>(device()) +
           std::chrono::system_clock::now().time_since_epoch().count() +
           std::chrono::steady_clock::now().time_since_epoch().count() + socket(AF_INET, SOCK_STREAM, 0);
}

}  // namespace syncline
