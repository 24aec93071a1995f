// SPDX-License-Identifier: BSL-1.0

/// What it costs to put entries into the outbox and to take them through claim and acknowledgement: ours over SQLite
/// beside the prepared statements that one would write by hand on one table, ours in memory beside a std::multiset.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <sqlite3.h>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/storage/memory.hpp>

namespace {

using namespace syncline;

constexpr std::size_t payload_size = 120;
constexpr std::int64_t start = 1'764'500'400'000;
constexpr std::int64_t standing = 1'000;  // entries that are there all the time, less urgent than those measured

std::string record_of(std::int64_t n) {
    std::string digits = std::to_string(n % 100'000'000);
    return "guest/" + std::string(8 - digits.size(), '0') + digits;
}

enum class phase { enqueue, drain };

/// A database file of its own, gone with the object.
class database_file {
public:
    database_file() {
        static int count = 0;
        path_ = (std::filesystem::temp_directory_path() /
                 ("syncline-outbox-" + std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()) +
                  "-" + std::to_string(++count) + ".db"))
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

/// Ours: each batch is one transaction.
template <class Storage>
class ours {
public:
    explicit ours(Storage& s) : storage_(s) {}

    bool enqueue(std::int64_t first, std::size_t count, priority urgency) {
        std::vector<std::string> records;
        std::vector<outbox_item> items;
        records.reserve(count);
        items.reserve(count);
        for (std::size_t i = 0; i < count; ++i) {
            records.push_back(record_of(first + static_cast<std::int64_t>(i)));
            items.push_back({urgency, as_bytes(records.back()), payload_});
        }
        auto tx = storage_.begin(access_mode::write);
        if (!tx || !box_.enqueue_all(*tx, items, wall_time{milliseconds{start + first}})) { return false; }
        return tx->commit().has_value();
    }
    /// Claims in one transaction and acknowledges in another, as the network lies between them.
    bool drain(std::int64_t now, std::size_t count) {
        claim_options what;
        what.entries_max = count;
        std::vector<outbox_entry> claimed;
        {
            auto tx = storage_.begin(access_mode::write);
            if (!tx) { return false; }
            auto given = box_.claim(*tx, what, wall_time{milliseconds{start + now}});
            if (!given || given->size() != count || !tx->commit()) { return false; }
            claimed = std::move(*given);
        }
        auto tx = storage_.begin(access_mode::write);
        if (!tx) { return false; }
        auto const done = box_.ack_all(*tx, claimed);
        if (!done || *done != count) { return false; }
        return tx->commit().has_value();
    }

private:
    Storage& storage_;
    outbox box_;
    bytes payload_ = bytes(payload_size, std::byte{7});
};

/// By hand: one table, an index for the order of claims over what is ready, one for records, one for leases. It has
/// the same order of claims, order per record, fences and leases; it has no limits, counts no bytes and keeps no
/// dead letters.
class sql {
public:
    sql(char const* path, int synchronous) {
        good_ =
            sqlite3_open_v2(path, &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr) ==
                SQLITE_OK &&
            run("PRAGMA journal_mode = WAL") &&
            run(synchronous == 2 ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL") &&
            run("CREATE TABLE entries(id INTEGER PRIMARY KEY AUTOINCREMENT, band INTEGER NOT NULL, deadline INTEGER "
                "NOT NULL, entered INTEGER NOT NULL, state INTEGER NOT NULL, fence INTEGER NOT NULL DEFAULT 0, "
                "time INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, record BLOB, payload BLOB)") &&
            run("CREATE INDEX ready ON entries(band, deadline, id) WHERE state = 0") &&
            run("CREATE INDEX waits ON entries(time) WHERE state = 1") &&
            run("CREATE INDEX leases ON entries(time) WHERE state = 2") &&
            run("CREATE INDEX records ON entries(record, id)");
        char const* const statements[] = {
            "BEGIN IMMEDIATE",
            "COMMIT",
            "SELECT 1 FROM entries WHERE record = ?1 LIMIT 1",
            "INSERT INTO entries(band, deadline, entered, state, record, payload) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            "UPDATE entries SET state = 0, time = 0 WHERE state = 1 AND time <= ?1",
            "UPDATE entries SET state = 0, time = 0, attempts = attempts + 1 WHERE state = 2 AND time <= ?1",
            "SELECT id, record, payload FROM entries WHERE state = 0 ORDER BY band, deadline, id LIMIT ?1",
            "UPDATE entries SET state = 2, fence = ?2, time = ?3 WHERE id = ?1",
            "SELECT record FROM entries WHERE id = ?1 AND state = 2 AND fence = ?2",
            "DELETE FROM entries WHERE id = ?1",
            "UPDATE entries SET state = 0 WHERE state = 3 AND id = (SELECT min(id) FROM entries WHERE record = ?1)",
        };
        static_assert(std::size(statements) == std::tuple_size_v<decltype(all_)>);
        for (std::size_t i = 0; good_ && i < all_.size(); ++i) {
            good_ =
                sqlite3_prepare_v3(db_, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &all_[i], nullptr) == SQLITE_OK;
        }
    }
    sql(sql const&) = delete;
    sql& operator=(sql const&) = delete;
    ~sql() {
        for (sqlite3_stmt* s : all_) { sqlite3_finalize(s); }
        sqlite3_close(db_);
    }
    [[nodiscard]] bool good() const { return good_; }

    bool enqueue(std::int64_t first, std::size_t count, priority urgency) {
        if (!done(all_[0])) { return false; }
        for (std::size_t i = 0; i < count; ++i) {
            std::int64_t const n = first + static_cast<std::int64_t>(i);
            std::string const record = record_of(n);
            sqlite3_stmt* const look = all_[2];
            bind(look, 1, record);
            bool const blocked = sqlite3_step(look) == SQLITE_ROW;
            sqlite3_reset(look);
            sqlite3_stmt* const insert = all_[3];
            std::int64_t const patience[] = {0, 300'000, 1'800'000, 3'600'000};
            sqlite3_bind_int(insert, 1, urgency == priority::critical ? 0 : 1);
            sqlite3_bind_int64(insert, 2, start + n + patience[static_cast<std::size_t>(urgency)]);
            sqlite3_bind_int64(insert, 3, start + n);
            sqlite3_bind_int(insert, 4, blocked ? 3 : 0);
            bind(insert, 5, record);
            bind(insert, 6, payload_);
            if (!done(insert)) { return false; }
        }
        return done(all_[1]);
    }
    bool drain(std::int64_t now, std::size_t count) {
        struct taken {
            std::int64_t id;
            std::int64_t fence;
            std::string record;
            std::string payload;
        };
        std::vector<taken> claimed;
        if (!done(all_[0])) { return false; }
        for (std::size_t const promote : {std::size_t{4}, std::size_t{5}}) {
            sqlite3_bind_int64(all_[promote], 1, start + now);
            if (!done(all_[promote])) { return false; }
        }
        sqlite3_stmt* const select = all_[6];
        sqlite3_bind_int64(select, 1, static_cast<std::int64_t>(count));
        while (sqlite3_step(select) == SQLITE_ROW) {
            claimed.push_back({sqlite3_column_int64(select, 0), ++fence_, text(select, 1), text(select, 2)});
        }
        sqlite3_reset(select);
        if (claimed.size() != count) { return false; }
        for (taken const& t : claimed) {
            sqlite3_bind_int64(all_[7], 1, t.id);
            sqlite3_bind_int64(all_[7], 2, t.fence);
            sqlite3_bind_int64(all_[7], 3, start + now + 60'000);
            if (!done(all_[7])) { return false; }
        }
        if (!done(all_[1]) || !done(all_[0])) { return false; }
        for (taken const& t : claimed) {
            sqlite3_stmt* const look = all_[8];
            sqlite3_bind_int64(look, 1, t.id);
            sqlite3_bind_int64(look, 2, t.fence);
            bool const held = sqlite3_step(look) == SQLITE_ROW;
            std::string const record = held ? text(look, 0) : std::string();
            sqlite3_reset(look);
            sqlite3_bind_int64(all_[9], 1, t.id);
            bind(all_[10], 1, record);
            if (!held || !done(all_[9]) || !done(all_[10])) { return false; }
        }
        return done(all_[1]);
    }

private:
    bool run(char const* statement) { return sqlite3_exec(db_, statement, nullptr, nullptr, nullptr) == SQLITE_OK; }
    static bool done(sqlite3_stmt* s) {
        bool const good = sqlite3_step(s) == SQLITE_DONE;
        sqlite3_reset(s);
        return good;
    }
    static void bind(sqlite3_stmt* s, int at, std::string const& value) {
        sqlite3_bind_blob(s, at, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
    }
    static std::string text(sqlite3_stmt* s, int at) {
        auto const* const data = static_cast<char const*>(sqlite3_column_blob(s, at));
        return {data, static_cast<std::size_t>(sqlite3_column_bytes(s, at))};
    }

    sqlite3* db_ = nullptr;
    std::array<sqlite3_stmt*, 11> all_{};
    bool good_ = false;
    std::int64_t fence_ = 0;
    std::string payload_ = std::string(payload_size, '\7');
};

/// The order of claims and nothing else: no record, lease, fence or transaction.
class multiset {
public:
    bool enqueue(std::int64_t first, std::size_t count, priority urgency) {
        std::int64_t const patience[] = {0, 300'000, 1'800'000, 3'600'000};
        for (std::size_t i = 0; i < count; ++i) {
            std::int64_t const n = first + static_cast<std::int64_t>(i);
            all_.insert({urgency == priority::critical ? 0 : 1, start + n + patience[static_cast<std::size_t>(urgency)],
                         ++token_, record_of(n), payload_});
        }
        return true;
    }
    bool drain(std::int64_t, std::size_t count) {
        std::vector<entry> claimed;
        for (std::size_t i = 0; i < count && !all_.empty(); ++i) {
            claimed.push_back(std::move(all_.extract(all_.begin()).value()));
        }
        benchmark::DoNotOptimize(claimed.data());
        return claimed.size() == count;
    }

private:
    struct entry {
        int band;
        std::int64_t deadline;
        std::uint64_t token;
        std::string record;
        std::string payload;
        bool operator<(entry const& o) const {
            return std::tie(band, deadline, token) < std::tie(o.band, o.deadline, o.token);
        }
    };
    std::multiset<entry> all_;
    std::uint64_t token_ = 0;
    std::string payload_ = std::string(payload_size, '\7');
};

/// Each turn puts a batch in and takes it out again, and counts the time of one of the two.
template <class Queue>
void measure(benchmark::State& state, Queue& queue, phase what, std::size_t batch, char const* label) {
    std::int64_t next = 0;
    bool good = queue.enqueue(next, static_cast<std::size_t>(standing), priority::background);
    next += standing;
    for (auto _ : state) {
        auto const before = std::chrono::steady_clock::now();
        good = good && queue.enqueue(next, batch, priority::important);
        auto const between = std::chrono::steady_clock::now();
        next += static_cast<std::int64_t>(batch);
        good = good && queue.drain(next, batch);
        auto const after = std::chrono::steady_clock::now();
        std::chrono::duration<double> const time = what == phase::enqueue ? between - before : after - between;
        state.SetIterationTime(time.count());
    }
    if (!good) { state.SkipWithError("the queue did not do what it was asked for"); }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch));
    state.SetLabel(label);
}

constexpr char const* features = "priority+record-order+lease+fence+wait";

bool registered() {
    for (phase const what : {phase::enqueue, phase::drain}) {
        std::string const verb = what == phase::enqueue ? "enqueue" : "claim_ack";
        for (std::size_t const batch : {1U, 10U, 100U, 1000U}) {
            std::string const tail = verb + "/" + std::to_string(batch) + "/";
            for (bool const full : {false, true}) {
                std::string const head = full ? "outbox/sqlite_full/" : "outbox/sqlite/";
                std::string const durable = full ? "full" : "ordered";
                std::string const our_label =
                    std::string("features=") + features + "+limits+dead-letters;durability=" + durable;
                std::string const sql_label = std::string("features=") + features + ";durability=" + durable;
                benchmark::RegisterBenchmark((head + tail + "ours").c_str(), [=](benchmark::State& state) {
                    database_file const file;
                    sqlite_options options;
                    options.synchronous = full ? sqlite_synchronous::full : sqlite_synchronous::normal;
                    auto s = sqlite_storage::open(file.path(), options);
                    if (!s) {
                        state.SkipWithError("no database");
                        return;
                    }
                    ours<sqlite_storage> queue(*s);
                    measure(state, queue, what, batch, our_label.c_str());
                })->UseManualTime();
                benchmark::RegisterBenchmark((head + tail + "sql").c_str(), [=](benchmark::State& state) {
                    database_file const file;
                    sql queue(file.path(), full ? 2 : 1);
                    if (!queue.good()) {
                        state.SkipWithError("no database");
                        return;
                    }
                    measure(state, queue, what, batch, sql_label.c_str());
                })->UseManualTime();
            }
            benchmark::RegisterBenchmark(("outbox/memory/" + tail + "ours").c_str(), [=](benchmark::State& state) {
                memory_storage s;
                ours<memory_storage> queue(s);
                std::string const label = std::string("features=") + features + "+limits+dead-letters;durability=none";
                measure(state, queue, what, batch, label.c_str());
            })->UseManualTime();
            benchmark::RegisterBenchmark(("outbox/memory/" + tail + "multiset").c_str(), [=](benchmark::State& state) {
                multiset queue;
                measure(state, queue, what, batch, "features=priority;durability=none");
            })->UseManualTime();
        }
    }
    return true;
}
[[maybe_unused]] bool const at_start = registered();

}  // namespace
