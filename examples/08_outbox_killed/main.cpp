// SPDX-License-Identifier: BSL-1.0
// A row of your own table and its outbox entry share one SQLite transaction, and the process is killed in the middle:
// before the commit neither is there, after it both are, and what was being sent when the process died is sent again.

#include <iostream>
#include <string>
#include <string_view>

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/outbox.hpp>

using namespace syncline;

namespace {

char const* const file = "orders.db";
wall_time const start{milliseconds{1'790'000'000'000}};

enum class moment { after_the_row, after_the_entry, after_the_commit, while_sending, never };

/// Power loss, as far as a process can have it: no destructor runs, nothing is flushed.
void die_at(moment here, moment wanted) {
    if (here == wanted) { kill(getpid(), SIGKILL); }
}

/// A connection of the program's own.
class database {
public:
    database() { good_ = sqlite3_open(file, &db_) == SQLITE_OK && run("PRAGMA journal_mode = WAL"); }
    database(database const&) = delete;
    database& operator=(database const&) = delete;
    ~database() { sqlite3_close(db_); }
    [[nodiscard]] bool good() const { return good_; }
    [[nodiscard]] sqlite3* raw() const { return db_; }
    bool run(std::string const& sql) const {
        return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK;
    }
    [[nodiscard]] int count(char const* sql) const {
        sqlite3_stmt* statement = nullptr;
        int n = -1;
        if (sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr) == SQLITE_OK &&
            sqlite3_step(statement) == SQLITE_ROW) {
            n = sqlite3_column_int(statement, 0);
        }
        sqlite3_finalize(statement);
        return n;
    }

private:
    sqlite3* db_ = nullptr;
    bool good_ = false;
};

// region: order
/// An order: a row of the program's table and what has to be sent about it, in the program's own transaction.
status order(database const& db, sqlite_storage& store, outbox const& box, std::string const& dish, moment death) {
    if (!db.run("BEGIN IMMEDIATE") || !db.run("INSERT INTO orders (dish) VALUES ('" + dish + "')")) {
        return errc::busy;
    }
    die_at(moment::after_the_row, death);
    {
        auto tx = store.begin(access_mode::write);  // inside it: a savepoint
        if (!tx) { return tx.error(); }
        auto const token = box.enqueue(*tx, {.record = as_bytes("table 4"), .payload = as_bytes(dish)}, start);
        if (!token) { return token.error(); }
        if (auto ok = tx->commit(); !ok) { return ok; }
    }
    die_at(moment::after_the_entry, death);
    if (!db.run("COMMIT")) { return errc::busy; }
    die_at(moment::after_the_commit, death);
    return {};
}
// endregion: order

/// Claims, "sends", acknowledges: three steps, and none of them holds a transaction while it waits for the network.
status send(sqlite_storage& store, outbox const& box, wall_time now, moment death) {
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    auto const claimed = box.claim(*tx, {}, now);
    if (!claimed) { return claimed.error(); }
    if (auto ok = tx->commit(); !ok) { return ok; }
    die_at(moment::while_sending, death);
    for (outbox_entry const& e : *claimed) {
        std::cout << "  sent: " << as_text(e.payload) << (e.attempts != 0 ? " (again)" : "") << '\n';
    }
    auto answer = store.begin(access_mode::write);
    if (!answer) { return answer.error(); }
    if (auto const n = box.ack_all(*answer, *claimed); !n) { return n.error(); }
    return answer->commit();
}

/// A life of the program: one order, then sending.
status live(std::string const& dish, moment death, wall_time now) {
    database const db;
    if (!db.good() || !db.run("CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, dish TEXT)")) {
        return errc::storage_io;
    }
    auto store = sqlite_storage::attach(db.raw());
    if (!store) { return store.error(); }
    outbox const box;
    if (!dish.empty()) {
        if (auto ok = order(db, *store, box, dish, death); !ok) { return ok; }
    }
    return send(*store, box, now, death);
}

/// Lives it in a process of its own, and looks at what it left.
bool lived(std::string_view title, std::string const& dish, moment death, wall_time now) {
    std::cout << title << std::endl;
    pid_t const child = fork();
    if (child == 0) {
        bool const good = live(dish, death, now).has_value();
        std::cout.flush();
        _exit(good ? 0 : 1);
    }
    int how = 0;
    if (child < 0 || waitpid(child, &how, 0) != child) { return false; }
    database const db;
    auto store = sqlite_storage::attach(db.raw());
    if (!store) { return false; }
    auto tx = store->begin(access_mode::read);
    if (!tx) { return false; }
    auto const load = outbox{}.load(*tx);
    if (!load) { return false; }
    std::cout << (WIFSIGNALED(how) ? "  killed; " : "  ended; ")
              << "orders in the table: " << db.count("SELECT count(*) FROM orders")
              << ", entries in the outbox: " << load->first << '\n';
    return WIFSIGNALED(how) ? death != moment::never : WEXITSTATUS(how) == 0;
}

}  // namespace

int main() {
    for (char const* const end : {"", "-wal", "-shm"}) { unlink((file + std::string(end)).c_str()); }
    wall_time const later = start + std::chrono::minutes{2};  // the lease of the dead has ended
    bool const good = lived("killed after the row:", "soup", moment::after_the_row, start) &&
                      lived("killed after the entry, before the commit:", "soup", moment::after_the_entry, start) &&
                      lived("killed after the commit:", "soup", moment::after_the_commit, start) &&
                      lived("killed while sending:", "cake", moment::while_sending, start) &&
                      lived("started again at once:", "", moment::never, start) &&
                      lived("and two minutes later:", "", moment::never, later) &&
                      lived("what stood behind it:", "", moment::never, later);
    return good ? 0 : 1;
}
