// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `sqlite_storage`: a `storage` in a table of an SQLite database, the host's own connection included.

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How hard a connection waits for the disk; the values are SQLite's own.
enum class sqlite_synchronous : std::uint8_t {
    off = 0,     ///< not at all: `durability::none`
    normal = 1,  ///< at checkpoints: `durability::ordered` in WAL mode, none elsewhere
    full = 2,    ///< at each commit: `durability::full` in WAL mode
};

/// How to use a database. `attach` changes nothing on the host's connection: it takes the first two only.
struct sqlite_options {
    /// Names our tables, `<prefix>_kv` and `<prefix>_meta`: a letter or `_`, then up to 31 letters, digits or `_`,
    /// not beginning with `sqlite_`. Each prefix is a store of its own. Read by open() and attach() only.
    std::string_view table_prefix = "syncline";
    /// Longest value, at least 16 MiB; the connection's SQLITE_LIMIT_LENGTH bounds it too.
    std::size_t value_bytes_max = std::size_t{64} << 20;
    milliseconds busy_timeout{5'000};                           ///< wait for another's lock so long, then `busy`
    sqlite_synchronous synchronous = sqlite_synchronous::full;  ///< what commits wait for
    bool write_ahead_log = true;  ///< switch the database to WAL mode; false leaves it in the mode that it is in
    char const* vfs = nullptr;    ///< name of the VFS to open in; null: SQLite's default. Read by open() only
};
[[nodiscard]] constexpr bool valid(sqlite_options const& o) noexcept {
    auto const letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    std::string_view const p = o.table_prefix;
    if (p.empty() || p.size() > 32 || !letter(p[0])) { return false; }
    for (char const c : p) {
        if (!letter(c) && !(c >= '0' && c <= '9')) { return false; }
    }
    constexpr std::string_view reserved = "sqlite_";
    bool is_reserved = p.size() >= reserved.size();
    for (std::size_t i = 0; is_reserved && i < reserved.size(); ++i) {
        is_reserved = (p[i] >= 'A' && p[i] <= 'Z' ? static_cast<char>(p[i] - 'A' + 'a') : p[i]) == reserved[i];
    }
    return !is_reserved && o.value_bytes_max >= value_bytes_min_max && o.busy_timeout.count() >= 0 &&
           o.busy_timeout.count() <= 0x7FFFFFFF;
}

/// What an SQLite result code, primary or extended, means here. `errc{}` for what is no error
/// (OK, ROW, DONE, NOTICE, WARNING); `storage_io` for a code that SQLite has not had yet.
/// Source: https://www.sqlite.org/rescode.html
[[nodiscard]] constexpr errc from_sqlite(int code) noexcept {
    // Extended codes that mean something else than their primary one. By number, as old headers lack some names.
    switch (code) {
        case SQLITE_ERROR | (3 << 8): return errc::contended;         // ERROR_SNAPSHOT: the snapshot is gone
        case SQLITE_ABORT | (2 << 8): return errc::transaction_lost;  // ABORT_ROLLBACK: rolled back under a statement
        case SQLITE_BUSY | (2 << 8): return errc::contended;          // BUSY_SNAPSHOT: another wrote since we read
        case SQLITE_READONLY | (4 << 8): return errc::poisoned;       // READONLY_DBMOVED: the file is another one now
        case SQLITE_IOERR | (12 << 8): return errc::storage_full;     // IOERR_NOMEM
        case SQLITE_IOERR | (32 << 8):                                // IOERR_DATA: a checksum does not match
        case SQLITE_IOERR | (33 << 8): return errc::corrupt;          // IOERR_CORRUPTFS
        default: break;
    }
    switch (code & 0xFF) {
        case SQLITE_OK:
        case SQLITE_NOTICE:
        case SQLITE_WARNING:
        case SQLITE_ROW:
        case SQLITE_DONE: return errc{};
        case SQLITE_ERROR: return errc::corrupt;      // our statements are sound, so our tables are not
        case SQLITE_INTERNAL: return errc::poisoned;  // SQLite's own invariants are broken
        case SQLITE_PERM: return errc::forbidden;
        case SQLITE_ABORT: return errc::cancelled;  // a callback of the host's asked for it
        case SQLITE_BUSY: return errc::busy;        // another connection holds the lock
        case SQLITE_LOCKED: return errc::busy;      // another statement or the shared cache holds the table
        case SQLITE_NOMEM: return errc::storage_full;
        case SQLITE_READONLY: return errc::read_only;
        case SQLITE_INTERRUPT: return errc::cancelled;
        case SQLITE_IOERR: return errc::storage_io;
        case SQLITE_CORRUPT: return errc::corrupt;
        case SQLITE_NOTFOUND: return errc::unsupported;
        case SQLITE_FULL: return errc::storage_full;
        case SQLITE_CANTOPEN: return errc::storage_io;
        case SQLITE_PROTOCOL: return errc::busy;     // too many races for the lock of the log
        case SQLITE_EMPTY: return errc::storage_io;  // unused by SQLite
        case SQLITE_SCHEMA: return errc::contended;  // the schema kept changing
        case SQLITE_TOOBIG: return errc::limit;
        case SQLITE_CONSTRAINT: return errc::invalid;  // a trigger or constraint that the host put on our table
        case SQLITE_MISMATCH: return errc::type_mismatch;
        case SQLITE_MISUSE: return errc::poisoned;     // the host closed the connection under us, say
        case SQLITE_NOLFS: return errc::limit;         // the file system can't hold so large a file
        case SQLITE_AUTH: return errc::forbidden;      // the host's authoriser refused
        case SQLITE_FORMAT: return errc::unsupported;  // unused by SQLite
        case SQLITE_RANGE: return errc::invalid;
        case SQLITE_NOTADB: return errc::corrupt;
        default: return errc::storage_io;
    }
}

namespace detail {

inline constexpr std::int64_t sqlite_format = 1;  // of our two tables

/// A prepared statement; finalised with its owner.
class sqlite_statement {
public:
    sqlite_statement() = default;
    explicit sqlite_statement(sqlite3_stmt* s) noexcept : raw_(s) {}
    sqlite_statement(sqlite_statement&& o) noexcept : raw_(std::exchange(o.raw_, nullptr)) {}
    sqlite_statement& operator=(sqlite_statement&& o) noexcept {
        std::swap(raw_, o.raw_);
        return *this;
    }
    ~sqlite_statement() { sqlite3_finalize(raw_); }
    [[nodiscard]] sqlite3_stmt* get() const noexcept { return raw_; }

private:
    sqlite3_stmt* raw_ = nullptr;
};

/// Resets a statement however the scope is left: one that is not reset holds its locks.
struct sqlite_reset {
    sqlite3_stmt* statement;
    ~sqlite_reset() { sqlite3_reset(statement); }
};

/// Everything of a `sqlite_storage`, at an address that stays while the object and its transactions move.
class sqlite_connection {
public:
    sqlite_connection(sqlite3* db, bool owned) noexcept : db_(db), owned_(owned) {}
    sqlite_connection(sqlite_connection const&) = delete;
    sqlite_connection& operator=(sqlite_connection const&) = delete;
    ~sqlite_connection() {
        finalise();
        // A host may still hold statements on a connection that we own: then it lives until they go.
        if (owned_) { sqlite3_close_v2(db_); }
    }

    enum class scope : std::uint8_t { none, own, savepoint, host };  // host: reading inside the host's transaction

    [[nodiscard]] status set_up(sqlite_options const& o) {
        std::string const kv = '"' + std::string(o.table_prefix) + "_kv\"";
        std::string const meta = '"' + std::string(o.table_prefix) + "_meta\"";
        int const longest = sqlite3_limit(db_, SQLITE_LIMIT_LENGTH, -1);
        // The limit is a row's, so key and header take their part of it.
        std::size_t const room = longest < 2048 ? 0 : static_cast<std::size_t>(longest) - 2048;
        value_bytes_max_ = o.value_bytes_max < room ? o.value_bytes_max : room;
        if (value_bytes_max_ < value_bytes_min_max) { return failure{errc::limit, "SQLITE_LIMIT_LENGTH too low"}; }

        auto format = read_format(meta);
        if (!format) {
            // No such table, in all likelihood; if it is anything else, this answers the same again.
            if (status const s = create(kv, meta); !s) { return s; }
            format = read_format(meta);
            if (!format) { return format.error(); }
        }
        if (*format > sqlite_format) { return failure{errc::unsupported, "tables of a newer format"}; }
        if (*format != sqlite_format) { return failure{errc::corrupt, "no format number"}; }

        struct {
            sqlite_statement* to;
            std::string sql;
        } const all[] = {
            {&begin_read_, "BEGIN"},
            {&begin_write_, "BEGIN IMMEDIATE"},
            {&commit_, "COMMIT"},
            {&rollback_, "ROLLBACK"},
            {&savepoint_, "SAVEPOINT syncline_transaction"},
            {&release_, "RELEASE syncline_transaction"},
            {&rollback_to_, "ROLLBACK TO syncline_transaction"},
            {&touch_, "SELECT 1 FROM " + meta + " LIMIT 1"},
            {&barrier_, "UPDATE " + meta + " SET value = value + 1 WHERE name = 'barrier'"},
            {&get_, "SELECT value FROM " + kv + " WHERE key = ?1"},
            {&put_, "INSERT OR REPLACE INTO " + kv + "(key, value) VALUES(?1, ?2)"},
            {&erase_, "DELETE FROM " + kv + " WHERE key = ?1"},
        };
        for (auto const& [to, sql] : all) {
            auto made = prepare(sql);
            if (!made) { return made.error(); }
            *to = std::move(*made);
        }
        std::string const scan = "SELECT key, value FROM " + kv + " WHERE key >= ?1";
        scans_[0].sql = scan + " ORDER BY key";
        scans_[1].sql = scan + " AND key < ?2 ORDER BY key";
        path_ = sqlite3_db_filename(db_, "main") != nullptr && *sqlite3_db_filename(db_, "main") != '\0';
        return refresh_durability();
    }

    /// The settings of a connection that is ours.
    [[nodiscard]] status configure(sqlite_options const& o) {
        sqlite3_busy_timeout(db_, static_cast<int>(o.busy_timeout.count()));
        if (o.write_ahead_log) {
            if (status const s = execute("PRAGMA main.journal_mode = WAL"); !s) { return s; }
        }
        if (status const s = execute(synchronous_sql(static_cast<int>(o.synchronous))); !s) { return s; }
        // Elsewhere than on Apple's systems, where fsync alone does not reach the medium, these do nothing.
        if (o.synchronous != sqlite_synchronous::off) {
            if (status const s = execute("PRAGMA fullfsync = 1"); !s) { return s; }
            if (status const s = execute("PRAGMA checkpoint_fullfsync = 1"); !s) { return s; }
        }
        return {};
    }

    [[nodiscard]] status begin(access_mode a) {
        if (scope_ != scope::none) { return failure{errc::busy, "a transaction is open on this object"}; }
        if (poisoned_) { return errc::poisoned; }
        writes_ = a == access_mode::write;
        // BEGIN IMMEDIATE would succeed, and the first write be what fails.
        if (writes_ && sqlite3_db_readonly(db_, "main") != 0) { return failure{errc::read_only, "database"}; }
        lost_ = false;
        if (sqlite3_get_autocommit(db_) == 0) {
            if (writes_) {
                if (status const s = run(savepoint_); !s) { return s; }
            }
            scope_ = writes_ ? scope::savepoint : scope::host;
            return {};
        }
        if (status const s = run(writes_ ? begin_write_ : begin_read_); !s) { return s; }
        scope_ = scope::own;
        if (!writes_) {
            // BEGIN alone fixes nothing: the first read takes the snapshot.
            if (status const s = run(touch_); !s) {
                roll_back();
                return s;
            }
        }
        return {};
    }

    [[nodiscard]] status commit() {
        SYNCLINE_ASSERT(scope_ != scope::none);
        if (status const s = alive(); !s) {
            roll_back();
            return s;
        }
        if (scope_ == scope::host) {
            scope_ = scope::none;
            return {};
        }
        status const s = run(scope_ == scope::own ? commit_ : release_);
        if (!s) {
            // A savepoint that is gone was ended by the host, with all that we wrote in it or without.
            bool const gone = scope_ == scope::savepoint && (s.error().native & 0xFF) == SQLITE_ERROR;
            bool const own = scope_ == scope::own;
            if (gone) { lost_ = true; }
            roll_back();
            if (gone) { return failure{errc::transaction_lost, "savepoint ended by the host", s.error().native}; }
            // Here nothing of the host's was lost that was not in our own transaction: the reason says more.
            if (own && s.error() == errc::transaction_lost) {
                errc const why = from_sqlite(s.error().native);
                return failure{why, "commit", s.error().native};
            }
            return s;
        }
        scope_ = scope::none;
        return {};
    }

    void roll_back() noexcept {
        scope const was = std::exchange(scope_, scope::none);
        if (lost_ || was == scope::none || was == scope::host || sqlite3_get_autocommit(db_) != 0) { return; }
        if (was == scope::own) {
            step_quietly(rollback_);
            if (sqlite3_get_autocommit(db_) == 0) { poisoned_ = true; }
        } else if (!step_quietly(rollback_to_) || !step_quietly(release_)) {
            poisoned_ = true;
        }
    }

    [[nodiscard]] result<bool> get(bytes_view key, bytes& out) {
        out.clear();
        if (!key_fits(key)) { return bad_key(); }
        if (status const s = alive(); !s) { return s.error(); }
        sqlite3_stmt* const q = get_.get();
        sqlite_reset const later{q};
        if (int const rc = bind(q, 1, key); rc != SQLITE_OK) { return fail("bind"); }
        int const rc = sqlite3_step(q);
        if (rc == SQLITE_DONE) { return false; }
        if (rc != SQLITE_ROW) { return fail("get"); }
        bytes_view value;
        if (!column(q, 0, value)) { return fail("column"); }
        out.assign(value.begin(), value.end());
        return true;
    }

    [[nodiscard]] status put(bytes_view key, bytes_view value) {
        if (status const s = writable(key); !s) { return s; }
        if (value.size() > value_bytes_max_) { return failure{errc::limit, "value too long"}; }
        sqlite3_stmt* const q = put_.get();
        sqlite_reset const later{q};
        if (bind(q, 1, key) != SQLITE_OK || bind(q, 2, value) != SQLITE_OK) { return fail("bind"); }
        if (sqlite3_step(q) != SQLITE_DONE) { return fail("put"); }
        return {};
    }

    [[nodiscard]] status erase(bytes_view key) {
        if (status const s = writable(key); !s) { return s; }
        sqlite3_stmt* const q = erase_.get();
        sqlite_reset const later{q};
        if (bind(q, 1, key) != SQLITE_OK) { return fail("bind"); }
        if (sqlite3_step(q) != SQLITE_DONE) { return fail("erase"); }
        return {};
    }

    [[nodiscard]] status scan(key_range range, scan_visitor visit) {
        if (status const s = alive(); !s) { return s; }
        scan_statements& shape = scans_[range.to.empty() ? 0 : 1];
        sqlite_statement mine;
        if (shape.idle.empty()) {                // the first scan, or one inside another's visitor
            shape.idle.reserve(shape.made + 1);  // so that giving it back can't fail
            auto made = prepare(shape.sql);
            if (!made) { return made.error(); }
            ++shape.made;
            mine = std::move(*made);
        } else {
            mine = std::move(shape.idle.back());
            shape.idle.pop_back();
        }
        struct give_back {
            scan_statements& shape;
            sqlite_statement& statement;
            ~give_back() {
                sqlite3_reset(statement.get());
                shape.idle.push_back(std::move(statement));
            }
        } const later{shape, mine};
        sqlite3_stmt* const q = mine.get();
        if (bind(q, 1, range.from) != SQLITE_OK) { return fail("bind"); }
        if (!range.to.empty() && bind(q, 2, range.to) != SQLITE_OK) { return fail("bind"); }
        for (;;) {
            int const rc = sqlite3_step(q);
            if (rc == SQLITE_DONE) { return {}; }
            if (rc != SQLITE_ROW) { return fail("scan"); }
            bytes_view key;
            bytes_view value;
            if (!column(q, 0, key) || !column(q, 1, value)) { return fail("column"); }
            if (!key_fits(key)) { return failure{errc::corrupt, "a key that is none of ours"}; }
            if (!visit(key, value)) { return {}; }
        }
    }

    [[nodiscard]] status barrier() {
        if (scope_ != scope::none || sqlite3_get_autocommit(db_) == 0) {
            return failure{errc::busy, "a transaction is open on the connection"};
        }
        if (poisoned_) { return errc::poisoned; }
        auto const before = number("PRAGMA main.synchronous");
        if (!before) { return before.error(); }
        if (status const s = execute(synchronous_sql(3)); !s) { return s; }
        status done = synced_write();
        if (done && *before == 0 && journal_ == journal::log) {
            // Without any syncing, pages may have left the log for the database unsynced. A checkpoint has at
            // least the page just written to carry over, and syncs the whole database after it.
            int in_log = 0;
            int carried = 0;
            int const rc = sqlite3_wal_checkpoint_v2(db_, "main", SQLITE_CHECKPOINT_FULL, &in_log, &carried);
            if (rc != SQLITE_OK) { done = fail("checkpoint"); }
        }
        status const restored = execute(synchronous_sql(static_cast<int>(*before)));
        return done ? restored : done;
    }

    [[nodiscard]] durability promised() {
        if (scope_ == scope::savepoint || scope_ == scope::host) { return durability::none; }
        if (scope_ == scope::none && sqlite3_get_autocommit(db_) == 0) { return durability::none; }
        // The host may have changed its settings; what can't be read is not promised.
        if (!owned_ && !refresh_durability()) { return durability::none; }
        return durability_;
    }

    [[nodiscard]] status close() {
        SYNCLINE_ASSERT(scope_ == scope::none);
        finalise();
        if (!owned_) { return {}; }
        int const rc = sqlite3_close(db_);
        if (rc != SQLITE_OK) { return failure{from_sqlite(rc), "close", rc}; }
        owned_ = false;
        db_ = nullptr;
        return {};
    }

    [[nodiscard]] sqlite3* raw() const noexcept { return db_; }
    [[nodiscard]] std::size_t value_bytes_max() const noexcept { return value_bytes_max_; }

private:
    enum class journal : std::uint8_t { log, deleted, kept, unsafe };

    struct scan_statements {
        std::string sql;
        std::size_t made = 0;
        std::vector<sqlite_statement> idle;
    };

    [[nodiscard]] static bool key_fits(bytes_view key) noexcept { return !key.empty() && key.size() <= key_bytes_max; }
    [[nodiscard]] static failure bad_key() noexcept { return {errc::invalid, "key not of 1 to 511 bytes"}; }

    /// Borrows until the statement is reset. A null pointer would be NULL, not an empty value.
    [[nodiscard]] static int bind(sqlite3_stmt* q, int at, bytes_view b) noexcept {
        void const* const data = b.empty() ? static_cast<void const*>("") : b.data();
        return sqlite3_bind_blob64(q, at, data, b.size(), SQLITE_STATIC);
    }
    /// The bytes of a column, until the next step. False: no memory to put them together.
    /// Its type is not asked for: a key is a blob, as nothing else is greater than one, and a value that somebody
    /// else put there is bytes to be decoded with suspicion, whatever its type.
    [[nodiscard]] static bool column(sqlite3_stmt* q, int at, bytes_view& out) noexcept {
        void const* const data = sqlite3_column_blob(q, at);
        auto const n = static_cast<std::size_t>(sqlite3_column_bytes(q, at));
        out = {static_cast<std::byte const*>(data), n};
        return data != nullptr || n == 0;
    }

    /// The last error of the connection, and what it did to us.
    [[nodiscard]] failure fail(char const* what) noexcept {
        int const rc = sqlite3_extended_errcode(db_);
        errc const e = from_sqlite(rc);
        if (e == errc::storage_io || e == errc::poisoned) { poisoned_ = true; }
        if (e == errc::transaction_lost || (scope_ != scope::none && sqlite3_get_autocommit(db_) != 0)) {
            lost_ = true;
            return {errc::transaction_lost, what, rc};
        }
        return {e, what, rc};
    }
    /// Without this, a write after a rollback that the engine or the host did would commit all by itself.
    [[nodiscard]] status alive() noexcept {
        SYNCLINE_ASSERT(scope_ != scope::none);
        if (lost_ || sqlite3_get_autocommit(db_) != 0) {
            lost_ = true;
            return failure{errc::transaction_lost, "ended by the engine or the host"};
        }
        if (poisoned_) { return errc::poisoned; }
        return {};
    }
    [[nodiscard]] status writable(bytes_view key) noexcept {
        if (status const s = alive(); !s) { return s; }
        if (!writes_) { return failure{errc::read_only, "transaction for reading"}; }
        if (!key_fits(key)) { return bad_key(); }
        return {};
    }

    [[nodiscard]] result<sqlite_statement> prepare(std::string_view sql) {
        sqlite3_stmt* raw = nullptr;
        int const rc =
            sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
        if (rc != SQLITE_OK) { return fail("prepare"); }
        return sqlite_statement(raw);
    }
    [[nodiscard]] status run(sqlite_statement const& s) {
        sqlite_reset const later{s.get()};
        int const rc = sqlite3_step(s.get());
        if (rc != SQLITE_DONE && rc != SQLITE_ROW) { return fail("transaction"); }
        return {};
    }
    bool step_quietly(sqlite_statement const& s) noexcept {
        sqlite_reset const later{s.get()};
        return sqlite3_step(s.get()) == SQLITE_DONE;
    }
    [[nodiscard]] status execute(std::string const& sql) {
        if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) { return fail("execute"); }
        return {};
    }
    [[nodiscard]] result<std::int64_t> number(std::string_view sql) {
        auto const q = prepare(sql);
        if (!q) { return q.error(); }
        int const rc = sqlite3_step(q->get());
        if (rc == SQLITE_DONE) { return std::int64_t{0}; }
        if (rc != SQLITE_ROW) { return fail("read"); }
        return std::int64_t{sqlite3_column_int64(q->get(), 0)};
    }
    [[nodiscard]] static std::string synchronous_sql(int level) {
        return "PRAGMA main.synchronous = " + std::to_string(level);
    }

    [[nodiscard]] result<std::int64_t> read_format(std::string const& meta) {
        return number("SELECT value FROM " + meta + " WHERE name = 'format'");
    }
    /// In one transaction, ours or the host's: two processes may be here at once.
    [[nodiscard]] status create(std::string const& kv, std::string const& meta) {
        bool const own = sqlite3_get_autocommit(db_) != 0;
        if (status const s = execute(own ? "BEGIN IMMEDIATE" : "SAVEPOINT syncline_create"); !s) { return s; }
        status done =
            execute("CREATE TABLE IF NOT EXISTS " + kv + "(key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID");
        if (done) {
            done = execute("CREATE TABLE IF NOT EXISTS " + meta +
                           "(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID");
        }
        if (done) {
            done = execute("INSERT OR IGNORE INTO " + meta + " VALUES('format', " + std::to_string(sqlite_format) +
                           "), ('barrier', 0)");
        }
        if (done) { done = execute(own ? "COMMIT" : "RELEASE syncline_create"); }
        if (!done && sqlite3_get_autocommit(db_) == 0) {
            sqlite3_exec(db_, own ? "ROLLBACK" : "ROLLBACK TO syncline_create; RELEASE syncline_create", nullptr,
                         nullptr, nullptr);
        }
        return done;
    }

    [[nodiscard]] status synced_write() {
        if (status const s = run(begin_write_); !s) { return s; }
        scope_ = scope::own;
        lost_ = false;
        if (status const s = run(barrier_); !s) {
            roll_back();
            return s;
        }
        return commit();
    }

    [[nodiscard]] status refresh_durability() {
        auto const synchronous = number("PRAGMA main.synchronous");
        if (!synchronous) { return synchronous.error(); }
        auto const mode = prepare("PRAGMA main.journal_mode");
        if (!mode) { return mode.error(); }
        journal_ = journal::unsafe;
        if (sqlite3_step(mode->get()) == SQLITE_ROW) {
            auto const* const text = reinterpret_cast<char const*>(sqlite3_column_text(mode->get(), 0));
            std::string_view const name = text == nullptr ? "" : text;
            if (name == "wal") {
                journal_ = journal::log;
            } else if (name == "delete") {
                journal_ = journal::deleted;
            } else if (name == "truncate" || name == "persist") {
                journal_ = journal::kept;
            }
        }
        // With a rollback journal level 1 (NORMAL) syncs its records and their number at once: a power loss may leave
        // the number without the records, and the database damaged. After DELETE the journal's directory is synced
        // from level 3 (EXTRA) on only: until then a journal that comes back takes the last commit back.
        std::int64_t const ordered_from = journal_ == journal::log ? 1 : 2;
        std::int64_t const full_from = journal_ == journal::deleted ? 3 : 2;
        durability_ = !path_ || journal_ == journal::unsafe || *synchronous < ordered_from ? durability::none
                      : *synchronous < full_from                                           ? durability::ordered
                                                                                           : durability::full;
#if defined(__APPLE__)
        auto const to_medium = number("PRAGMA fullfsync");
        if (!to_medium || *to_medium == 0) { durability_ = durability::none; }
#endif
        return {};
    }

    void finalise() noexcept {
        for (sqlite_statement* s : {&begin_read_, &begin_write_, &commit_, &rollback_, &savepoint_, &release_,
                                    &rollback_to_, &touch_, &barrier_, &get_, &put_, &erase_}) {
            sqlite_statement gone;
            *s = std::move(gone);
        }
        for (scan_statements& s : scans_) { s.idle.clear(); }
    }

    sqlite3* db_;
    bool owned_;
    bool poisoned_ = false;
    bool lost_ = false;    // the open transaction is
    bool writes_ = false;  // the open transaction may
    bool path_ = false;    // the database is a file
    scope scope_ = scope::none;
    journal journal_ = journal::unsafe;
    durability durability_ = durability::none;
    std::size_t value_bytes_max_ = 0;
    sqlite_statement get_;
    sqlite_statement put_;
    sqlite_statement erase_;
    std::array<scan_statements, 2> scans_;  // without and with an upper bound
    sqlite_statement begin_read_;
    sqlite_statement begin_write_;
    sqlite_statement commit_;
    sqlite_statement rollback_;
    sqlite_statement savepoint_;
    sqlite_statement release_;
    sqlite_statement rollback_to_;
    sqlite_statement touch_;
    sqlite_statement barrier_;
};

}  // namespace detail

/// A `storage` in two tables of an SQLite database (3.20 or later): its own connection, or the host's.
///
/// Outside a transaction of the host's, begin(write) is BEGIN IMMEDIATE, which waits for the lock as long as the
/// connection's busy timeout says and then answers `busy`; begin(read) takes a snapshot at once. Whatever the
/// host writes through connection() until commit() commits or rolls back with ours.
/// Inside one, begin(write) is a savepoint and begin(read) nothing at all: our commit is then part of theirs, and
/// `commit_durability()` is none. Theirs must outlive ours. If it only reads so far, its first write may find that
/// it is too late: that is `contended`, and the host's whole transaction has to be run again.
/// Errors: each SQLite code by `from_sqlite`, with the extended code in `failure::native`; `transaction_lost` when
/// the engine (disk full, interrupted, out of memory) or the host ended the transaction; after `storage_io` the
/// object is `poisoned`, and has to be made again. A failed commit is rolled back.
/// Cost: a call is its statement, prepared once; get and put allocate nothing of their own.
/// Threads: the caller serialises the use of the connection.
class sqlite_storage {
public:
    class transaction;

    /// Opens, or creates, the database at a path in UTF-8 (":memory:" too) on a connection of its own.
    /// Errors: `invalid` for options that are not valid, `unsupported` for tables of a newer format, SQLite's own.
    [[nodiscard]] static result<sqlite_storage> open(char const* path, sqlite_options const& options = {}) {
        if (!valid(options)) { return failure{errc::invalid, "options"}; }
        sqlite3* db = nullptr;
        int const rc =
            sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, options.vfs);
        if (rc != SQLITE_OK) {
            int const extended = db == nullptr ? rc : sqlite3_extended_errcode(db);
            sqlite3_close(db);
            return failure{from_sqlite(extended), "open", extended};
        }
        auto c = std::make_unique<detail::sqlite_connection>(db, true);
        if (status const s = c->configure(options); !s) { return s.error(); }
        if (status const s = c->set_up(options); !s) { return s.error(); }
        return sqlite_storage(std::move(c));
    }
    /// Works on the host's connection, whose settings stay as they are and which must outlive the object.
    /// It creates the tables when they are not there, in the host's transaction if one is open: should that roll
    /// back, attach again. Errors: as open().
    [[nodiscard]] static result<sqlite_storage> attach(sqlite3* host, sqlite_options const& options = {}) {
        if (!valid(options)) { return failure{errc::invalid, "options"}; }
        if (host == nullptr) { return failure{errc::invalid, "no connection"}; }
        auto c = std::make_unique<detail::sqlite_connection>(host, false);
        if (status const s = c->set_up(options); !s) { return s.error(); }
        return sqlite_storage(std::move(c));
    }

    /// `busy` also when another connection kept the lock for longer than the timeout; begun or not, never half.
    [[nodiscard]] result<transaction> begin(access_mode a);

    /// A small commit of its own with `synchronous` at its highest: syncing the journal or the log for it covers all
    /// that is in there before it, and no reader can hold it up, as it could a checkpoint. Under
    /// `synchronous = off` a full checkpoint follows, which waits for readers. `busy` while a transaction is
    /// open on the connection. A database in memory has no power loss to survive: there it just succeeds.
    /// Where commits promise none, what it made durable lasts until the next of them, which may damage the database.
    [[nodiscard]] status barrier() { return c_->barrier(); }

    /// Of the next commit, read back from the connection: WAL, TRUNCATE and PERSIST are full from
    /// `synchronous = FULL`, DELETE from EXTRA; ordered are WAL at NORMAL and DELETE at FULL. None below that, without
    /// a journal on disk, in memory, and inside the host's transaction. tests/testing/sqlite_power_loss.cpp tries them.
    [[nodiscard]] durability commit_durability() const { return c_->promised(); }
    [[nodiscard]] std::size_t value_bytes_max() const noexcept { return c_->value_bytes_max(); }

    /// The connection, for the host's own statements.
    [[nodiscard]] sqlite3* connection() const noexcept { return c_->raw(); }

    /// Closes a connection of our own and says whether that went well; `busy` when the host left statements on it.
    /// After it, whatever it answers, the object may only be destroyed or assigned to. Precondition: no transaction.
    [[nodiscard]] status close() { return c_->close(); }

private:
    explicit sqlite_storage(std::unique_ptr<detail::sqlite_connection> c) noexcept : c_(std::move(c)) {}

    std::unique_ptr<detail::sqlite_connection> c_;
};

/// One open transaction; movable. It must not outlive its storage. After commit() it may only be destroyed or
/// assigned to.
class sqlite_storage::transaction {
public:
    transaction(transaction&& o) noexcept : c_(std::exchange(o.c_, nullptr)) {}
    transaction& operator=(transaction&& o) noexcept {
        if (this != &o) {
            roll_back();
            c_ = std::exchange(o.c_, nullptr);
        }
        return *this;
    }
    ~transaction() { roll_back(); }

    [[nodiscard]] result<bool> get(bytes_view key, bytes& out) { return open().get(key, out); }
    [[nodiscard]] status put(bytes_view key, bytes_view value) { return open().put(key, value); }
    [[nodiscard]] status erase(bytes_view key) { return open().erase(key); }
    [[nodiscard]] status scan(key_range range, scan_visitor visit) { return open().scan(range, visit); }
    [[nodiscard]] status commit() {
        detail::sqlite_connection& c = open();
        c_ = nullptr;
        return c.commit();
    }

private:
    friend class sqlite_storage;

    explicit transaction(detail::sqlite_connection& c) noexcept : c_(&c) {}

    [[nodiscard]] detail::sqlite_connection& open() noexcept {
        SYNCLINE_ASSERT(c_ != nullptr);
        return *c_;
    }
    void roll_back() noexcept {
        if (c_ != nullptr) { std::exchange(c_, nullptr)->roll_back(); }
    }

    detail::sqlite_connection* c_;
};

inline result<sqlite_storage::transaction> sqlite_storage::begin(access_mode a) {
    if (status const s = c_->begin(a); !s) { return s.error(); }
    return transaction(*c_);
}

static_assert(storage<sqlite_storage>);

}  // namespace syncline::inline SYNCLINE_ABI
