// SPDX-License-Identifier: BSL-1.0

/// What it costs to put entries into the outbox and to take them through claim and acknowledgement, with so many
/// waiting: ours over SQLite beside the prepared statements that one would write by hand on one table, with the two
/// indexes that the same order needs and with the one of priority alone; ours in memory beside a std::multiset and a
/// std::priority_queue. Records are random.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <limits>
#include <memory>
#include <queue>
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

#include "database_file.hpp"

namespace {

using namespace syncline;

constexpr std::size_t payload_size = 120;
constexpr std::int64_t start = 1'764'500'400'000;
/// The n-th record: as random as an identifier is, and never the same for two.
std::string record_of(std::int64_t n) {
    auto z = static_cast<std::uint64_t>(n) * 0x9E3779B97F4A7C15U;
    z = (z ^ (z >> 31)) * 0xBF58476D1CE4E5B9U;
    z ^= z >> 29;
    std::string out = "g/";
    for (int i = 0; i < 12; ++i, z >>= 5) { out.push_back("0123456789abcdefghijklmnopqrstuv"[z & 31U]); }
    return out;
}

enum class phase { enqueue, drain, both };

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

/// By hand: one table, an index for the order of claims over what is ready and, with `records`, one for records and the
/// same order per record. It has fences and the columns of leases, but ends none; it has no limits, counts no bytes and
/// keeps no dead letters.
class sql {
public:
    sql(char const* path, int synchronous, bool records) : records_(records) {
        good_ =
            sqlite3_open_v2(path, &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr) ==
                SQLITE_OK &&
            run("PRAGMA journal_mode = WAL") &&
            run(synchronous == 2 ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL") &&
            run("CREATE TABLE entries(id INTEGER PRIMARY KEY AUTOINCREMENT, band INTEGER NOT NULL, deadline INTEGER "
                "NOT NULL, entered INTEGER NOT NULL, state INTEGER NOT NULL, fence INTEGER NOT NULL DEFAULT 0, "
                "time INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, record BLOB, payload BLOB)") &&
            run("CREATE INDEX ready ON entries(band, deadline, id) WHERE state = 0") &&
            (!records || run("CREATE INDEX records ON entries(record, id)"));
        char const* const statements[] = {
            "BEGIN IMMEDIATE",
            "COMMIT",
            records ? "SELECT 1 FROM entries WHERE record = ?1 LIMIT 1" : "SELECT 0",
            "INSERT INTO entries(band, deadline, entered, state, record, payload) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            "SELECT id, record, payload FROM entries WHERE state = 0 ORDER BY band, deadline, id LIMIT ?1",
            "UPDATE entries SET state = 2, fence = ?2, time = ?3 WHERE id = ?1",
            "DELETE FROM entries WHERE id = ?1 AND state = 2 AND fence = ?2",
            records ? "UPDATE entries SET state = 0 WHERE state = 3 AND id = (SELECT min(id) FROM entries WHERE "
                      "record = ?1)"
                    : "SELECT 0",
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
            bool blocked = false;
            if (records_) {
                sqlite3_stmt* const look = all_[2];
                bind(look, 1, record);
                blocked = sqlite3_step(look) == SQLITE_ROW;
                sqlite3_reset(look);
            }
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
        sqlite3_stmt* const select = all_[4];
        sqlite3_bind_int64(select, 1, static_cast<std::int64_t>(count));
        while (sqlite3_step(select) == SQLITE_ROW) {
            claimed.push_back({sqlite3_column_int64(select, 0), ++fence_, text(select, 1), text(select, 2)});
        }
        sqlite3_reset(select);
        if (claimed.size() != count) { return false; }
        for (taken const& t : claimed) {
            sqlite3_bind_int64(all_[5], 1, t.id);
            sqlite3_bind_int64(all_[5], 2, t.fence);
            sqlite3_bind_int64(all_[5], 3, start + now + 60'000);
            if (!done(all_[5])) { return false; }
        }
        if (!done(all_[1]) || !done(all_[0])) { return false; }
        for (taken const& t : claimed) {
            sqlite3_bind_int64(all_[6], 1, t.id);
            sqlite3_bind_int64(all_[6], 2, t.fence);
            if (!done(all_[6]) || sqlite3_changes(db_) != 1) { return false; }
            if (!records_) { continue; }
            bind(all_[7], 1, t.record);
            if (!done(all_[7])) { return false; }
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
    std::array<sqlite3_stmt*, 8> all_{};
    bool records_;
    bool good_ = false;
    std::int64_t fence_ = 0;
    std::string payload_ = std::string(payload_size, '\7');
};

/// The order of claims and nothing else: no record's order, lease, fence or transaction.
struct ordered_entry {
    int band;
    std::int64_t deadline;
    std::uint64_t token;
    std::string record;
    std::string payload;
    friend bool operator<(ordered_entry const& a, ordered_entry const& b) {
        return std::tie(a.band, a.deadline, a.token) < std::tie(b.band, b.deadline, b.token);
    }
    friend bool operator>(ordered_entry const& a, ordered_entry const& b) { return b < a; }
};
template <class Container>
class ordered {
public:
    bool enqueue(std::int64_t first, std::size_t count, priority urgency) {
        std::int64_t const patience[] = {0, 300'000, 1'800'000, 3'600'000};
        for (std::size_t i = 0; i < count; ++i) {
            std::int64_t const n = first + static_cast<std::int64_t>(i);
            ordered_entry e{urgency == priority::critical ? 0 : 1,
                            start + n + patience[static_cast<std::size_t>(urgency)], ++token_, record_of(n), payload_};
            put(all_, std::move(e));
        }
        return true;
    }
    bool drain(std::int64_t, std::size_t count) {
        std::vector<ordered_entry> claimed;
        for (std::size_t i = 0; i < count && !all_.empty(); ++i) { claimed.push_back(take(all_)); }
        benchmark::DoNotOptimize(claimed.data());
        return claimed.size() == count;
    }

private:
    using heap = std::priority_queue<ordered_entry, std::vector<ordered_entry>, std::greater<>>;
    static void put(std::multiset<ordered_entry>& to, ordered_entry e) { to.insert(std::move(e)); }
    static void put(heap& to, ordered_entry e) { to.push(std::move(e)); }
    static ordered_entry take(std::multiset<ordered_entry>& from) {
        return std::move(from.extract(from.begin()).value());
    }
    static ordered_entry take(heap& from) {
        ordered_entry e = from.top();
        from.pop();
        return e;
    }

    Container all_;
    std::uint64_t token_ = 0;
    std::string payload_ = std::string(payload_size, '\7');
};
using multiset = ordered<std::multiset<ordered_entry>>;
using heap = ordered<std::priority_queue<ordered_entry, std::vector<ordered_entry>, std::greater<>>>;

/// Something to be measured, with what it stands on. Made once for all the runs of one benchmark.
class subject {
public:
    subject() = default;
    subject(subject const&) = delete;
    subject& operator=(subject const&) = delete;
    virtual ~subject() = default;
    virtual bool enqueue(std::int64_t first, std::size_t count, priority urgency) = 0;
    virtual bool drain(std::int64_t now, std::size_t count) = 0;
    std::int64_t next = 0;
};
template <class Queue>
class plain_subject final : public subject {
public:
    bool enqueue(std::int64_t first, std::size_t count, priority u) override { return queue_.enqueue(first, count, u); }
    bool drain(std::int64_t now, std::size_t count) override { return queue_.drain(now, count); }

private:
    Queue queue_;
};
class memory_subject final : public subject {
public:
    bool enqueue(std::int64_t first, std::size_t count, priority u) override { return queue_.enqueue(first, count, u); }
    bool drain(std::int64_t now, std::size_t count) override { return queue_.drain(now, count); }

private:
    memory_storage storage_;
    ours<memory_storage> queue_{storage_};
};
class sqlite_subject final : public subject {
public:
    explicit sqlite_subject(bool full) : storage_(sqlite_storage::open(file_.path(), options(full))) {}
    bool enqueue(std::int64_t first, std::size_t count, priority u) override {
        return storage_ && ours<sqlite_storage>(*storage_).enqueue(first, count, u);
    }
    bool drain(std::int64_t now, std::size_t count) override {
        return storage_ && ours<sqlite_storage>(*storage_).drain(now, count);
    }

private:
    static sqlite_options options(bool full) {
        sqlite_options o;
        o.synchronous = full ? sqlite_synchronous::full : sqlite_synchronous::normal;
        return o;
    }
    database_file file_;
    result<sqlite_storage> storage_;
};
class sql_subject final : public subject {
public:
    sql_subject(bool full, bool records) : queue_(file_.path(), full ? 2 : 1, records) {}
    bool enqueue(std::int64_t first, std::size_t count, priority u) override {
        return queue_.good() && queue_.enqueue(first, count, u);
    }
    bool drain(std::int64_t now, std::size_t count) override { return queue_.drain(now, count); }

private:
    database_file file_;
    sql queue_;
};

/// Each turn puts a batch in and takes it out again, and counts the time of one of the two, or of both. What stands is
/// less urgent than what is measured, and put in once for all runs.
template <class Make>
void measure(benchmark::State& state, Make make, std::string const& name, phase what, std::size_t batch,
             std::int64_t standing) {
    static std::unique_ptr<subject> current;
    static std::string whose;
    bool good = true;
    if (whose != name) {
        current.reset();
        current = make();
        whose = name;
        for (; good && current->next < standing; current->next += 1'000) {
            good = current->enqueue(current->next, 1'000, priority::background);
        }
    }
    std::int64_t& next = current->next;
    double processor = 0;  // what a busy machine's clock on the wall doesn't tell
    for (auto _ : state) {
        std::clock_t const began = std::clock();
        auto const before = std::chrono::steady_clock::now();
        good = good && current->enqueue(next, batch, priority::important);
        auto const between = std::chrono::steady_clock::now();
        std::clock_t const middle = std::clock();
        next += static_cast<std::int64_t>(batch);
        good = good && current->drain(next, batch);
        auto const after = std::chrono::steady_clock::now();
        processor += static_cast<double>(what == phase::enqueue ? middle - began
                                         : what == phase::drain ? std::clock() - middle
                                                                : std::clock() - began);
        std::chrono::duration<double> const time = what == phase::enqueue ? between - before
                                                   : what == phase::drain ? after - between
                                                                          : after - before;
        state.SetIterationTime(time.count());
    }
    state.counters["processor_us_an_entry"] = processor * 1e6 / static_cast<double>(CLOCKS_PER_SEC) /
                                              static_cast<double>(state.iterations()) / static_cast<double>(batch);
    if (!good) { state.SkipWithError("the queue did not do what it was asked for"); }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch));
}

template <class Make>
void add(std::string const& group, std::string const& who, phase what, std::size_t batch, std::int64_t standing,
         std::string const& label, Make make) {
    std::string const verb = what == phase::enqueue ? "enqueue" : what == phase::drain ? "claim_ack" : "life";
    std::string const name =
        "outbox/" + group + "/" + verb + "/" + std::to_string(standing) + "/" + std::to_string(batch) + "/" + who;
    benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
        measure(state, make, group + who + std::to_string(standing), what, batch, standing);
        state.SetLabel(label);
    })->UseManualTime();
}

bool registered() {
    std::string const all = "features=priority+record-order+dependencies+lanes+lease+fence+wait+limits+dead-letters";
    for (bool const full : {false, true}) {
        std::string const group = full ? "sqlite_full" : "sqlite";
        std::string const durable = full ? ";durability=full" : ";durability=ordered";
        for (std::int64_t const standing : {1'000, 10'000, 200'000}) {
            for (phase const what : {phase::enqueue, phase::drain}) {
                for (std::size_t const batch : {1U, 10U, 100U, 1000U}) {
                    add(group, "ours", what, batch, standing, all + durable,
                        [=] { return std::unique_ptr<subject>(new sqlite_subject(full)); });
                }
                for (std::size_t const batch : {1U, 10U, 100U, 1000U}) {
                    add(group, "sql", what, batch, standing, "features=priority+record-order+fence" + durable,
                        [=] { return std::unique_ptr<subject>(new sql_subject(full, true)); });
                }
                for (std::size_t const batch : {1U, 10U, 100U, 1000U}) {
                    add(group, "plain", what, batch, standing, "features=priority+fence" + durable,
                        [=] { return std::unique_ptr<subject>(new sql_subject(full, false)); });
                }
            }
        }
    }
    for (std::int64_t const standing : {1'000, 100'000, 1'000'000}) {
        for (std::size_t const batch : {1U, 100U}) {
            add("memory", "ours", phase::both, batch, standing, all + ";durability=none",
                [] { return std::unique_ptr<subject>(new memory_subject); });
            add("memory", "multiset", phase::both, batch, standing, "features=priority;durability=none",
                [] { return std::unique_ptr<subject>(new plain_subject<multiset>); });
            add("memory", "priority_queue", phase::both, batch, standing, "features=priority;durability=none",
                [] { return std::unique_ptr<subject>(new plain_subject<heap>); });
        }
    }
    return true;
}
[[maybe_unused]] bool const at_start = registered();

}  // namespace
