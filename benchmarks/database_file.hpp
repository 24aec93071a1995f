// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A database file of a benchmark's own.

#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>

namespace {

/// A path in the temporary folder that nobody else has; the file and SQLite's beside it go with the object.
class database_file {
public:
    database_file() {
        static int count = 0;
        auto const now = std::chrono::steady_clock::now().time_since_epoch().count();
        path_ = (std::filesystem::temp_directory_path() /
                 ("syncline-bench-" + std::to_string(now) + "-" + std::to_string(++count) + ".db"))
                    .string();
    }
    database_file(database_file const&) = delete;
    database_file& operator=(database_file const&) = delete;
    ~database_file() {
        std::error_code ignored;
        for (char const* const end : {"", "-wal", "-shm"}) { std::filesystem::remove(path_ + end, ignored); }
    }
    [[nodiscard]] char const* path() const { return path_.c_str(); }

private:
    std::string path_;
};

}  // namespace
