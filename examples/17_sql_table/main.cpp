// SPDX-License-Identifier: BSL-1.0
// A program keeps its guests in an ordinary SQL table, queries and indexes it as ever, and even writes to it with its
// own SQL, while a replica syncs it.

#include <sqlite3.h>

#include <cstdint>
#include <iostream>
#include <string>
#include <type_traits>
#include <utility>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/adapters/sqlite_table.hpp>
#include <syncline/replica.hpp>
#include <syncline/storage.hpp>
#include <syncline/transport.hpp>

using namespace syncline;

namespace {

struct guest {
    std::string name;
    std::int64_t seat = 0;
    bool paid = false;
    unknown_fields rest;
};
constexpr auto describe(guest const*) {
    return record_of<guest>("guests", field("name", &guest::name), field("seat", &guest::seat),
                            field("paid", &guest::paid), unknown(&guest::rest));
}

instant now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{0}}};

/// Runs `f(tx)` in a transaction, which commits when it succeeds.
template <class Store, class F>
auto write(Store& store, F f) -> std::invoke_result_t<F, typename Store::transaction&> {
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    auto out = f(*tx);
    if (!out) { return out; }
    if (auto ok = tx->commit(); !ok) { return ok.error(); }
    return out;
}

struct server {
    memory_storage store{};
    authority<> self{rule_table::of<guest>()};
};

/// The program's own SQL: prints the rows of a query.
void query(sqlite3* db, char const* sql) {
    auto const print = [](void*, int n, char** values, char**) {
        std::cout << "   ";
        for (int i = 0; i < n; ++i) { std::cout << ' ' << (values[i] == nullptr ? "-" : values[i]); }
        std::cout << '\n';
        return 0;
    };
    char* why = nullptr;
    std::cout << "  " << sql << '\n';
    if (sqlite3_exec(db, sql, print, nullptr, &why) != SQLITE_OK) { std::cout << "    " << why << '\n'; }
}

struct till {
    sqlite_storage store;
    sqlite_table guests;
    basic_replica<sqlite_records> self;
    syncline::random_generator random;  // seeded, to print the same each time; a program takes the system's entropy
    session<sqlite_storage, syncline::random_generator, no_observer, sqlite_records> link;

    till(sqlite_storage s, sqlite_table t, std::uint64_t seed)
        : store(std::move(s)),
          guests(std::move(t)),
          self(rule_table::of<guest>(), {}, sqlite_records({&guests})),
          random(seed),
          link(store, self, random) {}
    till(till const&) = delete;

    status sync(server& home) {
        now.wall += milliseconds{1'000};
        now.monotonic += milliseconds{1'000};
        // region: collect
        // What the program's own SQL has changed since becomes mutations, which then travel like any other.
        auto taken = write(store, [&](auto& tx) { return take_outside_changes(guests, self, tx, now); });
        if (!taken) { return taken.error(); }
        for (auto const& r : taken->refused) { std::cout << "mend this row: " << as_text(r.id) << '\n'; }
        // endregion: collect
        auto answer = [&](bytes_view request) { return serve(home.store, home.self, "anna", request, now); };
        loopback_transport way(answer);
        auto const done = drive(
            link, store, way, [] { return now; }, [](event const&) {}, hurry{});
        if (!done) { return done.error(); }
        return done->failed ? status{*done->failed} : status{};
    }
};

// region: open
/// The table is made, or checked and given the columns that it lacks, in a transaction of the program's.
result<sqlite_table> open_guests(sqlite_storage& store) {
    sqlite_table_options const options{.deleted_at = "deleted_at", .outside = outside_changes::collected};
    return write(store, [&](auto&) { return sqlite_table::open<guest>(store.connection(), options); });
}
// endregion: open

status run() {
    server home;
    syncline::random_generator dice(1);
    if (auto ok = write(home.store, [&](auto& tx) { return home.self.open(tx, now, dice); }); !ok) { return ok; }
    auto one = sqlite_storage::open(":memory:");
    auto two = sqlite_storage::open(":memory:");
    if (!one || !two) { return errc::storage_io; }
    auto table_one = open_guests(*one);
    auto table_two = open_guests(*two);
    if (!table_one || !table_two) { return errc::storage_io; }
    till bar(std::move(*one), std::move(*table_one), 2);
    till door(std::move(*two), std::move(*table_two), 3);
    for (till* t : {&bar, &door}) {
        auto ok = write(t->store, [&](auto& tx) { return t->self.open(tx, "anna", now, t->random); });
        if (!ok) { return ok; }
    }

    std::cout << "The door writes guests through its replica.\n";
    auto made = write(door.store, [&](auto& tx) -> status {
        if (auto ok = door.self.create(tx, "g1", guest{"Anna Dahl", 4, false, {}}, now); !ok) { return ok.error(); }
        if (auto ok = door.self.create(tx, "g2", guest{"Ben Holm", 4, true, {}}, now); !ok) { return ok.error(); }
        return {};
    });
    if (!made) { return made; }
    if (auto ok = door.sync(home); !ok) { return ok; }
    if (auto ok = bar.sync(home); !ok) { return ok; }

    std::cout << "The bar asks its own table, by an index of its own.\n";
    query(bar.store.connection(), "CREATE INDEX by_seat ON guests(seat)");
    query(bar.store.connection(),
          "SELECT id, name, paid FROM guests WHERE seat = 4 AND deleted_at IS NULL ORDER BY id");

    std::cout << "The bar's old report tool writes SQL, and the door hears of it.\n";
    query(bar.store.connection(), "UPDATE guests SET paid = 1, seat = 7 WHERE id = 'g1'");
    query(bar.store.connection(), "INSERT INTO guests(id, name, seat, paid) VALUES('g3', 'Ida Berg', 7, 0)");
    query(bar.store.connection(), "DELETE FROM guests WHERE id = 'g2'");
    if (auto ok = bar.sync(home); !ok) { return ok; }
    if (auto ok = door.sync(home); !ok) { return ok; }
    query(door.store.connection(), "SELECT id, name, seat, paid, deleted_at IS NOT NULL FROM guests ORDER BY id");
    return {};
}

}  // namespace

int main() {
    auto const done = run();
    if (!done) { std::cout << message(done.error().code) << ' ' << done.error().detail << '\n'; }
    return done ? 0 : 1;
}
