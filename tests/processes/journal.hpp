// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What the processes of this test and their parent share: the rules, the journal's entries, small helpers.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/merge/rule.hpp>

namespace processes {

using namespace syncline;

inline constexpr unsigned devices = 3;
inline constexpr char const* principal = "anna";
inline constexpr char const* collections[] = {"counters", "hot", "notes"};

/// `counters`: `all` is everybody's, `d<k>` is device k's, `least` and `most` the extremes of what anybody saw.
/// The rest is last writer wins.
inline rule_table rules() {
    rule_table table;
    table.add({"counters",
               rule::last_writer,
               {{"all", rule::counter},
                {"d0", rule::counter},
                {"d1", rule::counter},
                {"d2", rule::counter},
                {"least", rule::minimum},
                {"most", rule::maximum}}});
    return table;
}

/// One write, as the device's own table has it and as the parent hears of it.
///
/// | kind | write                                                              |
/// | c    | counter `key`: `value` added to `all` and to the device's own field |
/// | m    | counter `key`: `least` and `most` set to `value`                   |
/// | n    | note `key` created, its `content` is `value`                       |
/// | w    | note `key`: `field`, which is this device's own, set to `value`    |
/// | x    | note `key` deleted                                                 |
/// | h    | hot record `key`: `field` set to `value`, the record created where there was none |
/// | k    | hot record `key` deleted                                           |
struct entry {
    std::int64_t id = 0;  ///< of this device: grows, is never used again
    char kind = 0;
    std::string key{};
    std::string field{"-"};
    std::int64_t value = 0;
    friend bool operator==(entry const&, entry const&) = default;
};

inline std::string to_line(entry const& e) {
    return "A " + std::to_string(e.id) + ' ' + e.kind + ' ' + e.key + ' ' + e.field + ' ' + std::to_string(e.value);
}
inline std::optional<entry> from_line(std::string const& line) {
    entry e;
    long long id = 0;
    long long value = 0;
    char key[64];
    char field[16];
    if (std::sscanf(line.c_str(), "A %lld %c %63s %15s %lld", &id, &e.kind, key, field, &value) != 5) {
        return std::nullopt;
    }
    e.id = id;
    e.key = key;
    e.field = field;
    e.value = value;
    return e;
}

/// The integer field of a canonical map.
inline std::optional<std::int64_t> field_of(bytes_view fields, std::string_view name) {
    auto const found = map_find(fields, name);
    if (!found || !*found) { return std::nullopt; }
    return detail::integer_of(**found);
}

/// A prepared statement of the host's.
class query {
public:
    query(sqlite3* db, char const* sql) { broken_ = sqlite3_prepare_v2(db, sql, -1, &raw_, nullptr) != SQLITE_OK; }
    query(query const&) = delete;
    query& operator=(query const&) = delete;
    ~query() { sqlite3_finalize(raw_); }

    void bind(int at, std::int64_t n) { broken_ = sqlite3_bind_int64(raw_, at, n) != SQLITE_OK || broken_; }
    void bind(int at, std::string const& text) {
        broken_ =
            sqlite3_bind_text(raw_, at, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT) != SQLITE_OK ||
            broken_;
    }
    /// Whether there is another row; false at the end, and when it failed.
    bool next() {
        if (broken_) { return false; }
        int const rc = sqlite3_step(raw_);
        broken_ = rc != SQLITE_ROW && rc != SQLITE_DONE;
        return rc == SQLITE_ROW;
    }
    /// Runs it to its end, and makes it ready to be run again; false when it failed.
    bool run() {
        while (next()) {}
        sqlite3_reset(raw_);
        return !broken_;
    }
    [[nodiscard]] bool broken() const noexcept { return broken_; }
    [[nodiscard]] std::int64_t number(int column) { return sqlite3_column_int64(raw_, column); }
    [[nodiscard]] std::string text(int column) {
        auto const* const s = reinterpret_cast<char const*>(sqlite3_column_text(raw_, column));
        return s == nullptr ? std::string{} : std::string{s};
    }

private:
    sqlite3_stmt* raw_ = nullptr;
    bool broken_ = false;
};

inline std::string path_of(std::string const& folder, std::string_view role) {
    return folder + '/' + std::string{role} + ".db";
}

}  // namespace processes
