// SPDX-License-Identifier: BSL-1.0
#include <syncline/adapters/sqlite.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/storage/keyspace.hpp>
#include <syncline/testing/storage_conformance.hpp>

#include "adapters/sql_host.hpp"
#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

using namespace syncline;

namespace {

static_assert(!std::is_copy_constructible_v<sqlite_storage> && std::is_nothrow_move_constructible_v<sqlite_storage>);
static_assert(std::is_nothrow_move_constructible_v<sqlite_storage::transaction>);

/// A connection as a host has one.
class host {
public:
    explicit host(std::string const& path, char const* settings = "") {
        REQUIRE(sqlite3_open(path.c_str(), &db_) == SQLITE_OK);
        (*this)(settings);
    }
    host(host const&) = delete;
    host& operator=(host const&) = delete;
    ~host() { CHECK(sqlite3_close(db_) == SQLITE_OK); }

    void operator()(std::string const& sql) const { REQUIRE(run(sql) == SQLITE_OK); }
    [[nodiscard]] int run(std::string const& sql) const {
        return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
    }
    [[nodiscard]] std::string text(std::string const& sql) const { return text_of(db_, sql); }
    [[nodiscard]] sqlite3* raw() const { return db_; }

private:
    sqlite3* db_ = nullptr;
};

sqlite_options quick() { return {.busy_timeout = milliseconds{1}, .synchronous = sqlite_synchronous::off}; }

sqlite_storage opened(std::string const& path, sqlite_options const& o = quick()) {
    auto s = sqlite_storage::open(path.c_str(), o);
    REQUIRE(s);
    return std::move(*s);
}
sqlite_storage attached(host const& h) {
    auto s = sqlite_storage::attach(h.raw());
    REQUIRE(s);
    return std::move(*s);
}

std::string keys(sqlite_storage& s) {
    auto tx = s.begin(access_mode::read);
    REQUIRE(tx);
    std::string all;
    REQUIRE(tx->scan({}, [&](bytes_view k, bytes_view v) {
        all += std::string(as_text(k)) + '=' + std::string(as_text(v)) + ';';
        return true;
    }));
    return all;
}
void put(sqlite_storage& s, char const* key, char const* value) {
    auto tx = s.begin(access_mode::write);
    REQUIRE(tx);
    REQUIRE(tx->put(as_bytes(key), as_bytes(value)));
    REQUIRE(tx->commit());
}

/// SQLite's default file system with faults: from the n-th write or sync on, it fails.
class faulty_disk {
public:
    struct plan {
        int writes_left = -1;  // -1: never fails
        int syncs_left = -1;
        int code = SQLITE_IOERR_WRITE;
    };

    faulty_disk() {
        below() = sqlite3_vfs_find(nullptr);
        vfs_ = *below();
        vfs_.zName = "faulty";
        vfs_.szOsFile = static_cast<int>(sizeof(file)) + below()->szOsFile;
        vfs_.xOpen = [](sqlite3_vfs*, sqlite3_filename name, sqlite3_file* f, int flags, int* out) {
            auto* const self = reinterpret_cast<file*>(f);
            self->base.pMethods = nullptr;
            int const rc = below()->xOpen(below(), name, real(f), flags, out);
            if (rc != SQLITE_OK) { return rc; }
            self->methods = *real(f)->pMethods;
            self->methods.iVersion = (std::min)(self->methods.iVersion, 2);  // no memory maps: they bypass xWrite
            wrap(self->methods);
            self->base.pMethods = &self->methods;
            return rc;
        };
        REQUIRE(sqlite3_vfs_register(&vfs_, 1) == SQLITE_OK);
        now() = plan{};
    }
    ~faulty_disk() {
        sqlite3_vfs_unregister(&vfs_);
        sqlite3_vfs_register(below(), 1);
    }
    static plan& now() {
        static plan p;
        return p;
    }

private:
    struct file {
        sqlite3_file base;
        sqlite3_io_methods methods;
    };
    static sqlite3_vfs*& below() {
        static sqlite3_vfs* v = nullptr;
        return v;
    }
    static sqlite3_file* real(sqlite3_file* f) {
        return reinterpret_cast<sqlite3_file*>(reinterpret_cast<file*>(f) + 1);
    }
    static bool fails(int& left) {
        if (left < 0) { return false; }
        if (left > 0) { --left; }
        return left == 0;
    }
    static void wrap(sqlite3_io_methods& m) {
        m.xClose = [](sqlite3_file* f) { return real(f)->pMethods->xClose(real(f)); };
        m.xRead = [](sqlite3_file* f, void* p, int n, sqlite3_int64 at) {
            return real(f)->pMethods->xRead(real(f), p, n, at);
        };
        m.xWrite = [](sqlite3_file* f, void const* p, int n, sqlite3_int64 at) {
            return fails(now().writes_left) ? now().code : real(f)->pMethods->xWrite(real(f), p, n, at);
        };
        m.xTruncate = [](sqlite3_file* f, sqlite3_int64 n) { return real(f)->pMethods->xTruncate(real(f), n); };
        m.xSync = [](sqlite3_file* f, int flags) {
            return fails(now().syncs_left) ? SQLITE_IOERR_FSYNC : real(f)->pMethods->xSync(real(f), flags);
        };
        m.xFileSize = [](sqlite3_file* f, sqlite3_int64* n) { return real(f)->pMethods->xFileSize(real(f), n); };
        m.xLock = [](sqlite3_file* f, int l) { return real(f)->pMethods->xLock(real(f), l); };
        m.xUnlock = [](sqlite3_file* f, int l) { return real(f)->pMethods->xUnlock(real(f), l); };
        m.xCheckReservedLock = [](sqlite3_file* f, int* r) {
            return real(f)->pMethods->xCheckReservedLock(real(f), r);
        };
        m.xFileControl = [](sqlite3_file* f, int op, void* p) {
            return real(f)->pMethods->xFileControl(real(f), op, p);
        };
        m.xSectorSize = [](sqlite3_file* f) { return real(f)->pMethods->xSectorSize(real(f)); };
        m.xDeviceCharacteristics = [](sqlite3_file* f) { return real(f)->pMethods->xDeviceCharacteristics(real(f)); };
        m.xShmMap = [](sqlite3_file* f, int i, int n, int w, void volatile** p) {
            return real(f)->pMethods->xShmMap(real(f), i, n, w, p);
        };
        m.xShmLock = [](sqlite3_file* f, int o, int n, int l) { return real(f)->pMethods->xShmLock(real(f), o, n, l); };
        m.xShmBarrier = [](sqlite3_file* f) { real(f)->pMethods->xShmBarrier(real(f)); };
        m.xShmUnmap = [](sqlite3_file* f, int d) { return real(f)->pMethods->xShmUnmap(real(f), d); };
    }

    sqlite3_vfs vfs_{};
};

}  // namespace

TEST_CASE("from_sqlite: every code of SQLite has a meaning", "[adapters][sqlite]") {
    struct row {
        int code;
        errc meaning;
    };
    row const primary[] = {
        {SQLITE_OK, errc{}},
        {SQLITE_ERROR, errc::corrupt},
        {SQLITE_INTERNAL, errc::poisoned},
        {SQLITE_PERM, errc::forbidden},
        {SQLITE_ABORT, errc::cancelled},
        {SQLITE_BUSY, errc::busy},
        {SQLITE_LOCKED, errc::busy},
        {SQLITE_NOMEM, errc::storage_full},
        {SQLITE_READONLY, errc::read_only},
        {SQLITE_INTERRUPT, errc::cancelled},
        {SQLITE_IOERR, errc::storage_io},
        {SQLITE_CORRUPT, errc::corrupt},
        {SQLITE_NOTFOUND, errc::unsupported},
        {SQLITE_FULL, errc::storage_full},
        {SQLITE_CANTOPEN, errc::storage_io},
        {SQLITE_PROTOCOL, errc::busy},
        {SQLITE_EMPTY, errc::storage_io},
        {SQLITE_SCHEMA, errc::contended},
        {SQLITE_TOOBIG, errc::limit},
        {SQLITE_CONSTRAINT, errc::invalid},
        {SQLITE_MISMATCH, errc::type_mismatch},
        {SQLITE_MISUSE, errc::poisoned},
        {SQLITE_NOLFS, errc::limit},
        {SQLITE_AUTH, errc::forbidden},
        {SQLITE_FORMAT, errc::unsupported},
        {SQLITE_RANGE, errc::invalid},
        {SQLITE_NOTADB, errc::corrupt},
        {SQLITE_NOTICE, errc{}},
        {SQLITE_WARNING, errc{}},
        {SQLITE_ROW, errc{}},
        {SQLITE_DONE, errc{}},
    };
    for (row const& r : primary) {
        CHECK(from_sqlite(r.code) == r.meaning);
        CHECK(from_sqlite(r.code | (200 << 8)) == r.meaning);  // an extended code of the future
    }
    row const extended[] = {
        {SQLITE_ERROR_SNAPSHOT, errc::contended},    {SQLITE_ABORT_ROLLBACK, errc::transaction_lost},
        {SQLITE_BUSY_SNAPSHOT, errc::contended},     {SQLITE_BUSY_RECOVERY, errc::busy},
        {SQLITE_BUSY_TIMEOUT, errc::busy},           {SQLITE_LOCKED_SHAREDCACHE, errc::busy},
        {SQLITE_READONLY_DBMOVED, errc::poisoned},   {SQLITE_READONLY_DIRECTORY, errc::read_only},
        {SQLITE_IOERR_NOMEM, errc::storage_full},    {SQLITE_IOERR_FSYNC, errc::storage_io},
        {SQLITE_IOERR_DATA, errc::corrupt},          {SQLITE_IOERR_CORRUPTFS, errc::corrupt},
        {SQLITE_CORRUPT_INDEX, errc::corrupt},       {SQLITE_CONSTRAINT_TRIGGER, errc::invalid},
        {SQLITE_CANTOPEN_SYMLINK, errc::storage_io},
    };
    for (row const& r : extended) { CHECK(from_sqlite(r.code) == r.meaning); }
    CHECK(from_sqlite(77) == errc::storage_io);
}

TEST_CASE("sqlite_storage: a table prefix is an identifier and nothing else", "[adapters][sqlite]") {
    for (char const* good : {"a", "_", "syncline", "A9_", "sqlite", "a2345678901234567890123456789012"}) {
        CHECK(valid(sqlite_options{.table_prefix = good}));
    }
    for (char const* bad : {"", "9a", "a b", "a\"b", "a;", "\xC3\xA4", "sqlite_x", "SQLite_", "a-b",
                            "a23456789012345678901234567890123"}) {
        CHECK(!valid(sqlite_options{.table_prefix = bad}));
        CHECK(sqlite_storage::open(":memory:", {.table_prefix = bad}).error() == errc::invalid);
    }
    CHECK(!valid(sqlite_options{.value_bytes_max = value_bytes_min_max - 1}));
    CHECK(!valid(sqlite_options{.busy_timeout = milliseconds{-1}}));
    CHECK(sqlite_storage::attach(nullptr).error() == errc::invalid);
    CHECK(sqlite_storage::open("/nonexistent/folder/a.db").error() == errc::storage_io);
}

TEST_CASE("sqlite_storage: models storage on a file, attached, and inside the host's transaction",
          "[adapters][sqlite]") {
    scratch_folder here;
    int files = 0;
    std::string path;
    std::unique_ptr<host> mine;
    auto const next = [&] { path = here.file((std::to_string(files++) + ".db").c_str()); };
    auto const certify = [](testing::storage_factory<sqlite_storage> const& f) {
        CHECK(testing::to_text(testing::certify_storage(f)) == "");
    };
    auto const open = [&] { return std::make_unique<sqlite_storage>(opened(path)); };
    SECTION("a file in WAL mode") {
        certify({[&] {
                     next();
                     return open();
                 },
                 open, open});
    }
    SECTION("a file with a rollback journal") {
        certify({[&] {
                     next();
                     host{path}("PRAGMA journal_mode = TRUNCATE");
                     return open();
                 },
                 [&] {
                     auto o = quick();
                     o.write_ahead_log = false;
                     return std::make_unique<sqlite_storage>(opened(path, o));
                 },
                 open});
    }
    SECTION("attached, in memory") {
        auto const attach = [&] { return std::make_unique<sqlite_storage>(attached(*mine)); };
        certify({[&] {
                     mine = std::make_unique<host>(":memory:");
                     return attach();
                 },
                 {},
                 attach});
    }
    SECTION("inside the host's transaction") {
        auto const attach = [&] { return std::make_unique<sqlite_storage>(attached(*mine)); };
        certify({[&] {
                     next();
                     mine = std::make_unique<host>(path);
                     (*mine)("BEGIN");
                     return attach();
                 },
                 {},
                 attach});
    }
}

TEST_CASE("sqlite_storage: the host's rows and ours commit and roll back together", "[adapters][sqlite]") {
    scratch_folder here;
    host mine(here.file(), "PRAGMA journal_mode = WAL; CREATE TABLE orders(id INTEGER)");
    sqlite_storage s = attached(mine);
    SECTION("in our transaction") {
        {
            auto tx = s.begin(access_mode::write);
            REQUIRE(tx->put(as_bytes("a"), as_bytes("1")));
            mine("INSERT INTO orders VALUES(1)");
        }
        CHECK(mine.text("SELECT id FROM orders") == "");
        auto tx = s.begin(access_mode::write);
        REQUIRE(tx->put(as_bytes("a"), as_bytes("1")));
        mine("INSERT INTO orders VALUES(2)");
        CHECK(host(here.file()).text("SELECT id FROM orders") == "");
        REQUIRE(tx->commit());
        CHECK(host(here.file()).text("SELECT id FROM orders") == "2;");
        CHECK(keys(s) == "a=1;");
    }
    SECTION("in theirs") {
        mine("BEGIN; INSERT INTO orders VALUES(1)");
        put(s, "a", "1");
        {
            auto tx = s.begin(access_mode::write);
            REQUIRE(tx->put(as_bytes("b"), as_bytes("2")));
            mine("INSERT INTO orders VALUES(2)");  // inside our savepoint, so it goes with it
        }
        CHECK(keys(s) == "a=1;");
        CHECK(mine.text("SELECT id FROM orders") == "1;");
        CHECK(s.commit_durability() == durability::none);
        CHECK(s.barrier().error() == errc::busy);
        {
            sqlite_storage other = opened(here.file());
            CHECK(keys(other) == "");
            CHECK(other.begin(access_mode::write).error() == errc::busy);
        }
        SECTION("that commits") {
            mine("COMMIT");
            CHECK(s.commit_durability() == durability::full);
            CHECK(keys(s) == "a=1;");
        }
        SECTION("that rolls back") {
            mine("ROLLBACK");
            CHECK(keys(s) == "");
            CHECK(mine.text("SELECT id FROM orders") == "");
        }
    }
}

TEST_CASE("sqlite_storage: a transaction that ended under us writes nothing more", "[adapters][sqlite]") {
    scratch_folder here;
    host mine(here.file(), "PRAGMA journal_mode = WAL; CREATE TABLE orders(id INTEGER, blob)");
    sqlite_storage s = attached(mine);
    put(s, "a", "1");
    bytes out;
    SECTION("rolled back by the host") {
        auto tx = s.begin(access_mode::write);
        REQUIRE(tx->put(as_bytes("b"), as_bytes("2")));
        mine("ROLLBACK");
        CHECK(tx->put(as_bytes("c"), as_bytes("3")).error() == errc::transaction_lost);
        CHECK(tx->erase(as_bytes("a")).error() == errc::transaction_lost);
        CHECK(tx->get(as_bytes("a"), out).error() == errc::transaction_lost);
        CHECK(tx->scan({}, [](bytes_view, bytes_view) { return true; }).error() == errc::transaction_lost);
        CHECK(tx->commit().error() == errc::transaction_lost);
    }
    SECTION("rolled back by the host, who began another") {
        mine("BEGIN");
        auto tx = s.begin(access_mode::write);
        REQUIRE(tx->put(as_bytes("b"), as_bytes("2")));
        mine("ROLLBACK; BEGIN");
        CHECK(tx->commit().error() == errc::transaction_lost);
        mine("ROLLBACK");
    }
    SECTION("rolled back by the engine, the disk being full") {
        mine("BEGIN; INSERT INTO orders VALUES(1, NULL)");
        auto tx = s.begin(access_mode::write);
        REQUIRE(tx->put(as_bytes("b"), as_bytes("2")));
        mine("PRAGMA max_page_count = 1");  // the least that it takes is what there is
        status full;
        for (int i = 0; i < 1000 && full; ++i) { full = tx->put(as_bytes("big " + std::to_string(i)), bytes(5000)); }
        REQUIRE(!full);
        CHECK(full.error() == errc::transaction_lost);
        CHECK(full.error().native == SQLITE_FULL);
        CHECK(sqlite3_get_autocommit(mine.raw()) != 0);
        CHECK(tx->commit().error() == errc::transaction_lost);
        CHECK(mine.text("SELECT id FROM orders") == "");
        mine("PRAGMA max_page_count = 1000000");
    }
    SECTION("interrupted") {
        auto tx = s.begin(access_mode::write);
        REQUIRE(tx->put(as_bytes("b"), as_bytes("2")));
        sqlite3_progress_handler(
            mine.raw(), 1, [](void*) { return 1; }, nullptr);
        status const interrupted = tx->put(as_bytes("c"), as_bytes("3"));
        sqlite3_progress_handler(mine.raw(), 0, nullptr, nullptr);
        CHECK(interrupted.error() == errc::transaction_lost);
        CHECK(interrupted.error().native == SQLITE_INTERRUPT);
    }
    CHECK(keys(s) == "a=1;");
    put(s, "z", "26");  // the object itself goes on
    CHECK(keys(s) == "a=1;z=26;");
}

TEST_CASE("sqlite_storage: locks and races of connections", "[adapters][sqlite]") {
    scratch_folder here;
    sqlite_storage a = opened(here.file());
    put(a, "k", "1");
    SECTION("a second writer is told so, in the time that was given") {
        sqlite_storage b = opened(here.file());
        auto tx = a.begin(access_mode::write);
        auto const refused = b.begin(access_mode::write);
        REQUIRE(!refused);
        CHECK(refused.error() == errc::busy);
        CHECK(refused.error().native == SQLITE_BUSY);
        CHECK(keys(b) == "k=1;");
    }
    SECTION("a reader has its snapshot from begin on") {
        sqlite_storage b = opened(here.file());
        auto reader = b.begin(access_mode::read);
        put(a, "k", "2");
        bytes out;
        REQUIRE(*reader->get(as_bytes("k"), out));
        CHECK(as_text(out) == "1");
    }
    SECTION("a host that read too early to write is told to run again") {
        host mine(here.file(), "BEGIN");
        sqlite_storage b = attached(mine);
        CHECK(keys(b) == "k=1;");  // now theirs has a snapshot
        put(a, "k", "2");
        auto tx = b.begin(access_mode::write);
        REQUIRE(tx);
        status const late = tx->put(as_bytes("k"), as_bytes("3"));
        REQUIRE(!late);
        CHECK(late.error() == errc::contended);
        CHECK(late.error().native == SQLITE_BUSY_SNAPSHOT);
        tx = errc::contended;
        mine("ROLLBACK; BEGIN");
        put(b, "k", "3");
        mine("COMMIT");
        CHECK(keys(a) == "k=3;");
    }
    SECTION("a reader in a rollback-journal database makes the commit fail, which rolls back") {
        std::string const other = here.file("journal.db");
        host mine(other);
        sqlite_storage writer = attached(mine);
        put(writer, "k", "1");
        auto o = quick();
        o.write_ahead_log = false;
        sqlite_storage b = opened(other, o);
        {
            auto reader = b.begin(access_mode::read);
            auto tx = writer.begin(access_mode::write);
            REQUIRE(tx->put(as_bytes("k"), as_bytes("2")));
            CHECK(tx->commit().error() == errc::busy);
            CHECK(sqlite3_get_autocommit(mine.raw()) != 0);
        }
        CHECK(keys(writer) == "k=1;");
        put(writer, "k", "3");
        CHECK(keys(b) == "k=3;");
    }
}

TEST_CASE("sqlite_storage: prefixes are stores of their own, user_version stays the host's", "[adapters][sqlite]") {
    scratch_folder here;
    host mine(here.file(), "PRAGMA user_version = 42");
    auto one = sqlite_storage::attach(mine.raw(), {.table_prefix = "one"});
    auto two = sqlite_storage::attach(mine.raw(), {.table_prefix = "two"});
    REQUIRE(one);
    REQUIRE(two);
    put(*one, "k", "1");
    put(*two, "k", "2");
    CHECK(keys(*one) == "k=1;");
    CHECK(keys(*two) == "k=2;");
    CHECK(mine.text("PRAGMA user_version") == "42;");
    CHECK(mine.text("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name") ==
          "one_kv;one_meta;two_kv;two_meta;");
}

TEST_CASE("sqlite_storage: knows its format, and damage when it sees it", "[adapters][sqlite]") {
    scratch_folder here;
    host mine(here.file());
    {
        sqlite_storage s = attached(mine);
        put(s, "k", "v");
    }
    CHECK(mine.text("SELECT value FROM syncline_meta WHERE name = 'format'") == "1;");
    SECTION("a newer one") {
        mine("UPDATE syncline_meta SET value = 2 WHERE name = 'format'");
        CHECK(sqlite_storage::attach(mine.raw()).error() == errc::unsupported);
        CHECK(sqlite_storage::open(here.file().c_str()).error() == errc::unsupported);
    }
    SECTION("none") {
        mine("DELETE FROM syncline_meta");
        CHECK(sqlite_storage::attach(mine.raw()).error() == errc::corrupt);
    }
    SECTION("values and keys that we never write") {
        sqlite_storage s = attached(mine);
        mine("INSERT INTO syncline_kv VALUES(x'61', 'text'), (zeroblob(600), x''), ('text', x''), (7, x'')");
        auto tx = s.begin(access_mode::read);
        bytes out;
        REQUIRE(*tx->get(as_bytes("a"), out));
        CHECK(as_text(out) == "text");
        auto const all = [](bytes_view, bytes_view) { return true; };
        CHECK(tx->scan({{}, as_bytes("a")}, all).error() == errc::corrupt);
        std::size_t n = 0;
        CHECK(tx->scan({as_bytes("a"), {}}, [&](bytes_view, bytes_view) { return ++n != 0; }));
        CHECK(n == 2);  // "a" and "k": keys that are no blobs are before every bound
    }
    SECTION("tables that are gone") {
        sqlite_storage s = attached(mine);
        mine("DROP TABLE syncline_kv");
        auto tx = s.begin(access_mode::write);
        REQUIRE(tx);
        CHECK(tx->put(as_bytes("k"), {}).error() == errc::corrupt);
    }
    SECTION("what is no database") {
        std::string const plain = here.file("text.db");
        std::FILE* const f = std::fopen(plain.c_str(), "wb");
        REQUIRE(f != nullptr);
        for (int i = 0; i < 500; ++i) { std::fputs("no database\n", f); }
        std::fclose(f);
        CHECK(sqlite_storage::open(plain.c_str()).error() == errc::corrupt);
    }
    SECTION("tables created in a host's transaction that rolls back") {
        mine("BEGIN");
        auto s = sqlite_storage::attach(mine.raw(), {.table_prefix = "other"});
        REQUIRE(s);
        put(*s, "k", "v");
        mine("ROLLBACK");
        CHECK(s->begin(access_mode::read).error() == errc::corrupt);
        s = sqlite_storage::attach(mine.raw(), {.table_prefix = "other"});
        REQUIRE(s);
        CHECK(keys(*s) == "");
    }
}

TEST_CASE("sqlite_storage: a database that can only be read", "[adapters][sqlite]") {
    scratch_folder here;
    {
        sqlite_storage s = opened(here.file());
        put(s, "k", "v");
    }
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open_v2(here.file().c_str(), &db, SQLITE_OPEN_READONLY, nullptr) == SQLITE_OK);
    {
        auto s = sqlite_storage::attach(db);
        REQUIRE(s);
        CHECK(keys(*s) == "k=v;");
        CHECK(s->begin(access_mode::write).error() == errc::read_only);
        CHECK(sqlite_storage::attach(db, {.table_prefix = "other"}).error() == errc::read_only);
        CHECK(keys(*s) == "k=v;");
    }
    CHECK(sqlite3_close(db) == SQLITE_OK);
}

TEST_CASE("sqlite_storage: the connection's limit bounds a value", "[adapters][sqlite]") {
    host mine(":memory:");
    sqlite3_limit(mine.raw(), SQLITE_LIMIT_LENGTH, 20 << 20);
    {
        sqlite_storage s = attached(mine);
        CHECK(s.value_bytes_max() == (std::size_t{20} << 20) - 2048);
        auto tx = s.begin(access_mode::write);
        bytes const key(key_bytes_max, std::byte{1});
        REQUIRE(tx->put(key, bytes(s.value_bytes_max())));
        CHECK(tx->put(key, bytes(s.value_bytes_max() + 1)).error() == errc::limit);
    }
    sqlite3_limit(mine.raw(), SQLITE_LIMIT_LENGTH, 16 << 20);
    CHECK(sqlite_storage::attach(mine.raw()).error() == errc::limit);
}

TEST_CASE("sqlite_storage: durability is what the connection's settings make it", "[adapters][sqlite]") {
    scratch_folder here;
    struct row {
        char const* journal;
        durability by_level[4];  // OFF, NORMAL, FULL, EXTRA
    };
    constexpr auto none = durability::none;
    constexpr auto ordered = durability::ordered;
    constexpr auto full = durability::full;
    row const table[] = {{"WAL", {none, ordered, full, full}},   {"DELETE", {none, none, ordered, full}},
                         {"TRUNCATE", {none, none, full, full}}, {"PERSIST", {none, none, full, full}},
                         {"MEMORY", {none, none, none, none}},   {"OFF", {none, none, none, none}}};
    for (row const& r : table) {
        host mine(here.file((std::string(r.journal) + ".db").c_str()), "CREATE TABLE t(a)");
        mine(std::string("PRAGMA journal_mode = ") + r.journal);
        sqlite_storage s = attached(mine);
        for (int level = 0; level < 4; ++level) {
            mine("PRAGMA synchronous = " + std::to_string(level));
            INFO(r.journal << ' ' << level);
            CHECK(s.commit_durability() == r.by_level[level]);
            put(s, "k", "v");
            CHECK(s.barrier());
            CHECK(mine.text("PRAGMA synchronous") == std::to_string(level) + ';');
            auto tx = s.begin(access_mode::write);
            CHECK(s.commit_durability() == r.by_level[level]);  // our own open transaction changes nothing
            CHECK(s.barrier().error() == errc::busy);
        }
    }
    CHECK(opened(":memory:", {.synchronous = sqlite_synchronous::full}).commit_durability() == none);
    CHECK(opened(here.file("a.db"), {}).commit_durability() == full);
    CHECK(opened(here.file("b.db"), {.synchronous = sqlite_synchronous::normal}).commit_durability() == ordered);
    CHECK(opened(here.file("c.db"), quick()).commit_durability() == none);
}

TEST_CASE("sqlite_storage: a barrier syncs, whatever commits do, and no reader holds it up", "[adapters][sqlite]") {
    faulty_disk disk;
    scratch_folder here;
    sqlite_storage s =
        opened(here.file(), {.busy_timeout = milliseconds{1}, .synchronous = sqlite_synchronous::normal});
    sqlite_storage other = opened(here.file());
    put(s, "k", "v");
    auto reader = other.begin(access_mode::read);
    constexpr int many = 1'000'000;
    faulty_disk::now().syncs_left = many;
    put(s, "k", "w");
    CHECK(faulty_disk::now().syncs_left == many);
    CHECK(s.barrier());
    CHECK(faulty_disk::now().syncs_left < many);
}

TEST_CASE("sqlite_storage: after a failed sync it is poisoned until it is opened again", "[adapters][sqlite]") {
    faulty_disk disk;
    scratch_folder here;
    {
        sqlite_storage s = opened(here.file(), {});
        put(s, "k", "old");
        SECTION("of a commit") {
            auto tx = s.begin(access_mode::write);
            REQUIRE(tx->put(as_bytes("k"), as_bytes("new")));
            faulty_disk::now().syncs_left = 1;
            status const failed = tx->commit();
            REQUIRE(!failed);
            CHECK(failed.error() == errc::storage_io);
            CHECK(failed.error().native == SQLITE_IOERR_FSYNC);
        }
        SECTION("of a barrier") {
            faulty_disk::now().syncs_left = 1;
            CHECK(s.barrier().error() == errc::storage_io);
        }
        faulty_disk::now() = {};
        CHECK(s.begin(access_mode::read).error() == errc::poisoned);
        CHECK(s.begin(access_mode::write).error() == errc::poisoned);
        CHECK(s.barrier().error() == errc::poisoned);
    }
    sqlite_storage again = opened(here.file());
    std::string const now = keys(again);
    CHECK((now == "k=old;" || now == "k=new;"));
    put(again, "k", "newer");
}

TEST_CASE("sqlite_storage: whichever write to the disk fails, the state is the old one or the new one",
          "[adapters][sqlite]") {
    faulty_disk disk;
    for (int const code : {int{SQLITE_FULL}, int{SQLITE_IOERR_WRITE}}) {
        for (bool const log : {true, false}) {
            bool done = false;
            for (int n = 1; !done; ++n) {
                REQUIRE(n < 200);
                scratch_folder here;
                auto o = quick();
                o.write_ahead_log = log;
                {
                    sqlite_storage s = opened(here.file(), o);
                    put(s, "k", "old");
                    REQUIRE(sqlite3_exec(s.connection(), "CREATE TABLE t(a); PRAGMA cache_size = 2", nullptr, nullptr,
                                         nullptr) == SQLITE_OK);
                    auto tx = s.begin(access_mode::write);
                    REQUIRE(tx);
                    faulty_disk::now() = {n, -1, code};
                    status r = tx->put(as_bytes("k"), as_bytes("new"));
                    bool const host_wrote = r && sqlite3_exec(s.connection(), "INSERT INTO t VALUES(1)", nullptr,
                                                              nullptr, nullptr) == SQLITE_OK;
                    for (int i = 0; r && i < 8; ++i) { r = tx->put(as_bytes("l" + std::to_string(i)), bytes(3000)); }
                    if (r) { r = tx->commit(); }
                    done = static_cast<bool>(r) && host_wrote;
                    if (!r) {
                        bool const known = r.error() == errc::transaction_lost || r.error() == errc::storage_full ||
                                           r.error() == errc::storage_io || r.error() == errc::poisoned;
                        CHECK(known);
                    }
                    tx = errc::busy;
                    faulty_disk::now() = {};
                }
                sqlite_storage again = opened(here.file(), o);
                std::string const now = keys(again);
                bool const changed = now.rfind("k=new;", 0) == 0;
                CHECK((changed ? now.size() > 8 * 3000 : now == "k=old;"));
                CHECK(text_of(again.connection(), "SELECT count(*) FROM t") == (changed ? "1;" : "0;"));
                if (done) { CHECK(changed); }
            }
        }
    }
}

TEST_CASE("sqlite_storage: closes, and says when the host still holds a statement", "[adapters][sqlite]") {
    scratch_folder here;
    sqlite_storage s = opened(here.file());
    put(s, "k", "v");
    SECTION("nothing is left") { CHECK(s.close()); }
    SECTION("a statement is left") {
        sqlite3_stmt* q = nullptr;
        REQUIRE(sqlite3_prepare_v2(s.connection(), "SELECT 1", -1, &q, nullptr) == SQLITE_OK);
        CHECK(s.close().error() == errc::busy);
        sqlite3_finalize(q);
    }
    SECTION("moved") {
        sqlite_storage moved = std::move(s);
        CHECK(keys(moved) == "k=v;");
        s = std::move(moved);
        CHECK(keys(s) == "k=v;");
    }
}

TEST_CASE("sqlite_storage: a keyspace in it, and scans inside scans", "[adapters][sqlite]") {
    sqlite_storage s = opened(":memory:");
    auto tx = s.begin(access_mode::write);
    keyspace space(*tx, as_bytes("p/"));
    for (int i = 0; i < 5; ++i) { REQUIRE(space.put(as_bytes(std::to_string(i)), as_bytes("v"))); }
    REQUIRE(tx->put(as_bytes("q"), {}));
    std::size_t seen = 0;
    auto const level = [&](auto const& self, int depth) -> bool {
        return static_cast<bool>(space.scan({}, [&](bytes_view k, bytes_view) {
            bytes out;
            REQUIRE(*space.get(k, out));
            ++seen;
            return depth == 0 || self(self, depth - 1);
        }));
    };
    REQUIRE(level(level, 2));
    CHECK(seen == 5 + 25 + 125);
    REQUIRE(tx->commit());
}
