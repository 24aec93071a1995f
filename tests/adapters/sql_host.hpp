// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A connection as a program has one, and what it asks.

#include <string>

#include <sqlite3.h>

#include "support/catch.hpp"

/// The first column of every row, each with a `;` behind.
inline std::string text_of(sqlite3* db, std::string const& sql) {
    sqlite3_stmt* q = nullptr;
    if (sqlite3_prepare_v2(db, sql.c_str(), -1, &q, nullptr) != SQLITE_OK) { FAIL(sql << ": " << sqlite3_errmsg(db)); }
    std::string all;
    while (sqlite3_step(q) == SQLITE_ROW) {
        auto const* const t = reinterpret_cast<char const*>(sqlite3_column_text(q, 0));
        all += std::string(t == nullptr ? "null" : t) + ';';
    }
    sqlite3_finalize(q);
    return all;
}

class sql_host {
public:
    explicit sql_host(std::string const& path = ":memory:") { REQUIRE(sqlite3_open(path.c_str(), &db_) == SQLITE_OK); }
    sql_host(sql_host const&) = delete;
    sql_host& operator=(sql_host const&) = delete;
    // Statements of a test's tables may still be there.
    ~sql_host() { CHECK(sqlite3_close_v2(db_) == SQLITE_OK); }

    void operator()(std::string const& sql) const {
        char* why = nullptr;
        int const rc = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, &why);
        if (rc != SQLITE_OK) { FAIL(sql << ": " << why); }
    }
    [[nodiscard]] std::string text(std::string const& sql) const { return text_of(db_, sql); }
    [[nodiscard]] sqlite3* raw() const noexcept { return db_; }

private:
    sqlite3* db_ = nullptr;
};
