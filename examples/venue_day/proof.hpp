// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The proof that databases hold the same records: read back from the files, hashed in one canonical order.

#include <cstdint>
#include <string>

namespace venue {

struct contents {
    std::string name;
    std::string hash;           ///< SHA-256 in hexadecimal over every record's key and fields, in order
    std::uint64_t records = 0;  ///< alive
    std::uint64_t waiting = 0;  ///< mutations, conflicts and dead letters that are still open
    std::string failed;         ///< why it can't be read; empty if it can
};

contents contents_of(std::string const& name, std::string const& database);

}  // namespace venue
