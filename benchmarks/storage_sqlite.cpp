// SPDX-License-Identifier: BSL-1.0

// sqlite_storage against the same statements by hand, on the same table layout. Both sides prepare once, bind
// without copying and step; the hand-written one checks nothing but result codes. Final states are compared.

#include <benchmark/benchmark.h>

#include <stdlib.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <sqlite3.h>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/core/bytes.hpp>

namespace {

namespace sl = syncline;

constexpr std::size_t rows = 10'000;
constexpr std::size_t value_size =
    100;  // so that all of it fits in SQLite's page cache, and calls are what is measured

void require(bool holds, char const* what) {
    if (!holds) {
        std::fprintf(stderr, "failed: %s\n", what);
        std::abort();
    }
}

struct folder {
    folder() {
        std::string name = (std::filesystem::temp_directory_path() / "syncline-bench-XXXXXX").string();
        require(mkdtemp(name.data()) != nullptr, "mkdtemp");
        path = name;
    }
    folder(folder const&) = delete;
    folder& operator=(folder const&) = delete;
    ~folder() { std::filesystem::remove_all(path); }
    std::filesystem::path path;
};

/// Shuffled keys, so that a get is no walk through neighbouring pages.
std::vector<std::string> const& keys() {
    static std::vector<std::string> const all = [] {
        std::vector<std::string> k;
        for (std::size_t i = 0; i < rows; ++i) {
            std::array<char, 40> text{};
            int const n = std::snprintf(text.data(), text.size(), "collection/record/%08zu", (i * 7919) % rows);
            k.emplace_back(text.data(), static_cast<std::size_t>(n));
        }
        return k;
    }();
    return all;
}

sl::bytes value(std::size_t n) { return sl::bytes(value_size, static_cast<std::byte>(n)); }

/// What a program would write that needs no more than this.
class by_hand {
public:
    by_hand(std::string const& path, sl::sqlite_synchronous synchronous) {
        require(sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                                nullptr) == SQLITE_OK,
                "open");
        std::string const settings =
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = " + std::to_string(static_cast<int>(synchronous)) +
            "; CREATE TABLE syncline_kv(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID";
        require(sqlite3_exec(db_, settings.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK, "settings");
        begin_read_ = prepare("BEGIN");
        begin_write_ = prepare("BEGIN IMMEDIATE");
        commit_ = prepare("COMMIT");
        get_ = prepare("SELECT value FROM syncline_kv WHERE key = ?1");
        put_ = prepare("INSERT OR REPLACE INTO syncline_kv(key, value) VALUES(?1, ?2)");
        scan_ = prepare("SELECT key, value FROM syncline_kv WHERE key >= ?1 AND key < ?2 ORDER BY key");
    }
    by_hand(by_hand const&) = delete;
    by_hand& operator=(by_hand const&) = delete;
    ~by_hand() {
        for (sqlite3_stmt* s : {begin_read_, begin_write_, commit_, get_, put_, scan_}) { sqlite3_finalize(s); }
        sqlite3_close(db_);
    }

    void begin_read() { run(begin_read_); }
    void begin_write() { run(begin_write_); }
    void commit() { run(commit_); }
    void put(sl::bytes_view key, sl::bytes_view v) {
        bind(put_, 1, key);
        bind(put_, 2, v);
        run(put_);
    }
    bool get(sl::bytes_view key, sl::bytes& out) {
        bind(get_, 1, key);
        int const rc = sqlite3_step(get_);
        if (rc == SQLITE_ROW) {
            auto const* const data = static_cast<std::byte const*>(sqlite3_column_blob(get_, 0));
            out.assign(data, data + sqlite3_column_bytes(get_, 0));
        }
        sqlite3_reset(get_);
        return rc == SQLITE_ROW;
    }
    template <class Visit>
    void scan(sl::bytes_view from, sl::bytes_view to, Visit&& visit) {
        bind(scan_, 1, from);
        bind(scan_, 2, to);
        while (sqlite3_step(scan_) == SQLITE_ROW) {
            auto const* const k = static_cast<std::byte const*>(sqlite3_column_blob(scan_, 0));
            auto const kn = static_cast<std::size_t>(sqlite3_column_bytes(scan_, 0));
            auto const* const v = static_cast<std::byte const*>(sqlite3_column_blob(scan_, 1));
            auto const vn = static_cast<std::size_t>(sqlite3_column_bytes(scan_, 1));
            visit(sl::bytes_view{k, kn}, sl::bytes_view{v, vn});
        }
        sqlite3_reset(scan_);
    }

private:
    sqlite3_stmt* prepare(char const* sql) {
        sqlite3_stmt* s = nullptr;
        require(sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, nullptr) == SQLITE_OK, sql);
        return s;
    }
    static void bind(sqlite3_stmt* s, int at, sl::bytes_view b) {
        sqlite3_bind_blob64(s, at, b.data(), b.size(), SQLITE_STATIC);
    }
    static void run(sqlite3_stmt* s) {
        require(sqlite3_step(s) == SQLITE_DONE, "step");
        sqlite3_reset(s);
    }

    sqlite3* db_ = nullptr;
    sqlite3_stmt* begin_read_ = nullptr;
    sqlite3_stmt* begin_write_ = nullptr;
    sqlite3_stmt* commit_ = nullptr;
    sqlite3_stmt* get_ = nullptr;
    sqlite3_stmt* put_ = nullptr;
    sqlite3_stmt* scan_ = nullptr;
};

/// The same calls on ours.
class ours {
public:
    ours(std::string const& path, sl::sqlite_synchronous synchronous)
        : store_(*sl::sqlite_storage::open(path.c_str(), {.synchronous = synchronous})) {}

    void begin_read() { begin(sl::access_mode::read); }
    void begin_write() { begin(sl::access_mode::write); }
    void commit() {
        require(static_cast<bool>(tx_->commit()), "commit");
        tx_ = sl::errc::busy;
    }
    void put(sl::bytes_view key, sl::bytes_view v) { require(static_cast<bool>(tx_->put(key, v)), "put"); }
    bool get(sl::bytes_view key, sl::bytes& out) { return *tx_->get(key, out); }
    template <class Visit>
    void scan(sl::bytes_view from, sl::bytes_view to, Visit&& visit) {
        auto const r = tx_->scan({from, to}, [&](sl::bytes_view k, sl::bytes_view v) {
            visit(k, v);
            return true;
        });
        require(static_cast<bool>(r), "scan");
    }

private:
    void begin(sl::access_mode a) {
        tx_ = store_.begin(a);
        require(static_cast<bool>(tx_), "begin");
    }

    sl::sqlite_storage store_;
    sl::result<sl::sqlite_storage::transaction> tx_ = sl::errc::busy;
};

template <class Store>
void fill(Store& s) {
    s.begin_write();
    for (std::size_t i = 0; i < rows; ++i) { s.put(sl::as_bytes(keys()[i]), value(i)); }
    s.commit();
}

std::string content(std::string const& path) {
    sqlite3* db = nullptr;
    require(sqlite3_open(path.c_str(), &db) == SQLITE_OK, "open to compare");
    sqlite3_stmt* q = nullptr;
    require(sqlite3_prepare_v2(db, "SELECT hex(key) || '=' || hex(value) FROM syncline_kv ORDER BY key", -1, &q,
                               nullptr) == SQLITE_OK,
            "compare");
    std::string all;
    while (sqlite3_step(q) == SQLITE_ROW) { all += reinterpret_cast<char const*>(sqlite3_column_text(q, 0)); }
    sqlite3_finalize(q);
    sqlite3_close(db);
    return all;
}

/// Both ways of writing the same leave the same rows.
void compare_states() {
    static bool const same = [] {
        folder here;
        std::string const a = (here.path / "a.db").string();
        std::string const b = (here.path / "b.db").string();
        {
            ours s(a, sl::sqlite_synchronous::normal);
            fill(s);
            by_hand t(b, sl::sqlite_synchronous::normal);
            fill(t);
        }
        std::string const x = content(a);
        return x.size() > rows * value_size && x == content(b);
    }();
    require(same, "the final states are the same");
}

template <class Store>
void put(benchmark::State& state) {
    compare_states();
    folder here;
    Store s((here.path / "a.db").string(), sl::sqlite_synchronous::normal);
    fill(s);
    sl::bytes const v = value(1);
    s.begin_write();
    std::size_t i = 0;
    for (auto _ : state) { s.put(sl::as_bytes(keys()[i++ % rows]), v); }
    s.commit();
    state.SetItemsProcessed(state.iterations());
}

template <class Store>
void get(benchmark::State& state) {
    folder here;
    Store s((here.path / "a.db").string(), sl::sqlite_synchronous::normal);
    fill(s);
    s.begin_read();
    std::size_t i = 0;
    sl::bytes out;
    for (auto _ : state) {
        bool const found = s.get(sl::as_bytes(keys()[i++ % rows]), out);
        benchmark::DoNotOptimize(found);
        benchmark::DoNotOptimize(out.data());
    }
    require(out.size() == value_size, "get");
    s.commit();
    state.SetItemsProcessed(state.iterations());
}

template <class Store>
void scan(benchmark::State& state) {
    folder here;
    Store s((here.path / "a.db").string(), sl::sqlite_synchronous::normal);
    fill(s);
    s.begin_read();
    for (auto _ : state) {
        std::size_t sum = 0;
        std::size_t n = 0;
        s.scan(sl::as_bytes("collection/"), sl::as_bytes("collection0"), [&](sl::bytes_view k, sl::bytes_view v) {
            sum += k.size() + std::to_integer<std::size_t>(v[0]);
            ++n;
        });
        benchmark::DoNotOptimize(sum);
        require(n == rows, "scan");
    }
    s.commit();
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(rows));
}

template <class Store, sl::sqlite_synchronous Synchronous>
void commit(benchmark::State& state) {
    folder here;
    Store s((here.path / "a.db").string(), Synchronous);
    fill(s);
    auto const batch = static_cast<std::size_t>(state.range(0));
    sl::bytes const v = value(1);
    std::size_t i = 0;
    for (auto _ : state) {
        s.begin_write();
        for (std::size_t n = 0; n < batch; ++n) { s.put(sl::as_bytes(keys()[i++ % rows]), v); }
        s.commit();
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch));
}

constexpr auto normal = sl::sqlite_synchronous::normal;
constexpr auto full = sl::sqlite_synchronous::full;

BENCHMARK(put<ours>)->Name("storage/sqlite/put/ours");
BENCHMARK(put<by_hand>)->Name("storage/sqlite/put/by_hand");
BENCHMARK(get<ours>)->Name("storage/sqlite/get/ours");
BENCHMARK(get<by_hand>)->Name("storage/sqlite/get/by_hand");
BENCHMARK(scan<ours>)->Name("storage/sqlite/scan/ours")->Unit(benchmark::kMicrosecond);
BENCHMARK(scan<by_hand>)->Name("storage/sqlite/scan/by_hand")->Unit(benchmark::kMicrosecond);
BENCHMARK(commit<ours, normal>)->Name("storage/sqlite/commit_normal/ours")->Arg(1)->Arg(100)->Arg(1000);
BENCHMARK(commit<by_hand, normal>)->Name("storage/sqlite/commit_normal/by_hand")->Arg(1)->Arg(100)->Arg(1000);
BENCHMARK(commit<ours, full>)->Name("storage/sqlite/commit_full/ours")->Arg(1)->Arg(100)->Arg(1000);
BENCHMARK(commit<by_hand, full>)->Name("storage/sqlite/commit_full/by_hand")->Arg(1)->Arg(100)->Arg(1000);

}  // namespace
