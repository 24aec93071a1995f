// SPDX-License-Identifier: BSL-1.0
// Your row and the entry that says what has to be sent about it, in one transaction of your own SQLite connection:
// both are there, or neither.

#include <iostream>
#include <string_view>

#include <sqlite3.h>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/outbox.hpp>

using namespace syncline;

namespace {

wall_time const now{milliseconds{1'790'000'000'000}};

/// Runs one statement; a '?' in it is `text`.
status run(sqlite3* db, char const* sql, std::string_view text = {}) {
    sqlite3_stmt* statement = nullptr;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, nullptr);
    if (rc == SQLITE_OK && sqlite3_bind_parameter_count(statement) == 1) {
        rc = sqlite3_bind_text(statement, 1, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
    }
    if (rc == SQLITE_OK) { rc = sqlite3_step(statement); }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? status{} : status{failure{from_sqlite(rc), sql, rc}};
}

// region: save
/// Inside the transaction that the program has open on `db`: its own row, and what is to be sent about it.
status save_order(sqlite3* db, sqlite_storage& store, outbox const& box, std::string_view dish) {
    if (auto ok = run(db, "INSERT INTO orders (dish) VALUES (?)", dish); !ok) { return ok; }
    auto tx = store.begin(access_mode::write);  // a savepoint in the open transaction
    if (!tx) { return tx.error(); }
    auto const token = box.enqueue(*tx, {.urgency = priority::important, .payload = as_bytes(dish)}, now);
    return token ? tx->commit() : status{token.error()};
}
// endregion: save

status print_orders(sqlite3* db) {
    auto const print = [](void*, int, char** columns, char**) {
        std::cout << "in the table:  " << columns[0] << '\n';
        return 0;
    };
    int const rc = sqlite3_exec(db, "SELECT dish FROM orders", print, nullptr, nullptr);
    return rc == SQLITE_OK ? status{} : status{failure{from_sqlite(rc), "select", rc}};
}

/// Later, when there is a network: claim, send with no transaction open, then acknowledge.
status send_orders(sqlite_storage& store, outbox const& box) {
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    auto const claimed = box.claim(*tx, {.entries_max = 10}, now);
    if (!claimed) { return claimed.error(); }
    if (auto ok = tx->commit(); !ok) { return ok; }
    for (outbox_entry const& entry : *claimed) {
        std::cout << "to be sent:    " << as_text(entry.payload) << '\n';
        auto answer = store.begin(access_mode::write);
        if (!answer) { return answer.error(); }
        if (auto ok = box.ack(*answer, entry.token, entry.fence); !ok) { return ok; }
        if (auto ok = answer->commit(); !ok) { return ok; }
    }
    return {};
}

status order(sqlite3* db) {
    if (auto ok = run(db, "CREATE TABLE orders (number INTEGER PRIMARY KEY, dish TEXT NOT NULL)"); !ok) { return ok; }
    auto store = sqlite_storage::attach(db);
    if (!store) { return store.error(); }
    outbox const box;

    // region: transactions
    if (auto ok = run(db, "BEGIN IMMEDIATE"); !ok) { return ok; }
    if (auto ok = save_order(db, *store, box, "soup"); !ok) { return ok; }
    if (auto ok = run(db, "COMMIT"); !ok) { return ok; }

    if (auto ok = run(db, "BEGIN IMMEDIATE"); !ok) { return ok; }
    if (auto ok = save_order(db, *store, box, "cake"); !ok) { return ok; }
    if (auto ok = run(db, "ROLLBACK"); !ok) { return ok; }  // the guest has changed their mind
    // endregion: transactions

    if (auto ok = print_orders(db); !ok) { return ok; }
    return send_orders(*store, box);
}

}  // namespace

int main() {
    sqlite3* db = nullptr;
    int const rc = sqlite3_open(":memory:", &db);
    status const outcome = rc == SQLITE_OK ? order(db) : status{failure{from_sqlite(rc), "open", rc}};
    sqlite3_close(db);  // rolls back what an error left open
    if (!outcome) {
        std::cerr << message(outcome.error().code) << ": " << outcome.error().detail << '\n';
        return 1;
    }
}
