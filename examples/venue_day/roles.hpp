// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The two roles in which the program runs itself. Each is a process with a database file of its own that
/// obeys lines of JSON on its standard input; both end when that ends. They return exit codes.

#include <cstdint>
#include <string>

namespace venue {

struct role_options {
    std::string name;        ///< of the device; also what it signs in as
    std::string database;    ///< path of its SQLite file
    std::uint16_t port = 0;  ///< where a device finds the authority
    std::uint64_t seed = 1;  ///< of everything that is random
    std::int64_t ahead = 0;  ///< seconds that the device's clock is wrong by
    std::int64_t now = 0;    ///< the time when it starts, milliseconds since 1970
};

/// Tells its port, {"port": 40123}, then answers {"now": ms} and keeps that as its time.
int run_authority(role_options const& options);

/// Answers {"do": "step" | "look" | "preview" | "decide"}; see device.cpp.
int run_device(role_options const& options);

}  // namespace venue
