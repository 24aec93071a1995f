// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/sqlite_power_loss.hpp>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <syncline/adapters/sqlite.hpp>

#include "support/catch.hpp"

using namespace syncline;
using testing::power_cut_options;
using testing::power_cuts;
using testing::sqlite_disk;
using testing::sqlite_disk_call;
using testing::sqlite_disk_options;

namespace {

/// A store on a disk, with SQLite's settings as named.
struct settings {
    char const* journal = "WAL";
    int synchronous = 2;

    result<sqlite_storage> operator()(char const* vfs) const {
        bool const log = std::string(journal) == "WAL";
        auto s = sqlite_storage::open("store.db", {.busy_timeout = milliseconds{0},
                                                   .synchronous = synchronous == 0   ? sqlite_synchronous::off
                                                                  : synchronous == 1 ? sqlite_synchronous::normal
                                                                                     : sqlite_synchronous::full,
                                                   .write_ahead_log = log,
                                                   .vfs = vfs});
        if (!s || log) { return s; }
        // The rest is the host's business, who attaches to a connection with settings of its own.
        std::string const sql = "PRAGMA journal_mode = " + std::string(journal) +
                                "; PRAGMA synchronous = " + std::to_string(synchronous) + "; PRAGMA user_version";
        if (sqlite3_exec(s->connection(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
            return failure{from_sqlite(sqlite3_errcode(s->connection())), "settings"};
        }
        return s;  // its promise is as of when it opened: promise() asks for the one with these settings
    }
};

/// What is promised with them, as adapters/sqlite.hpp says.
durability promise(settings const& how) {
    sqlite_disk disk;
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open_v2("store.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, disk.vfs()) == SQLITE_OK);
    std::string const sql = "PRAGMA journal_mode = " + std::string(how.journal) +
                            "; PRAGMA synchronous = " + std::to_string(how.synchronous);
    REQUIRE(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
    durability said{};
    {
        auto s = sqlite_storage::attach(db);
        REQUIRE(s);
        said = s->commit_durability();
    }
    REQUIRE(sqlite3_close(db) == SQLITE_OK);
    return said;
}

/// A storage that changes what another one says, or does at a barrier.
class liar {
public:
    using transaction = sqlite_storage::transaction;
    liar(sqlite_storage s, std::optional<durability> says, bool barriers)
        : inner_(std::move(s)), says_(says), barriers_(barriers) {}

    result<transaction> begin(access_mode a) { return inner_.begin(a); }
    status barrier() { return barriers_ ? inner_.barrier() : status{}; }
    durability commit_durability() const { return says_ ? *says_ : inner_.commit_durability(); }
    std::size_t value_bytes_max() const { return inner_.value_bytes_max(); }

private:
    sqlite_storage inner_;
    std::optional<durability> says_;
    bool barriers_;
};
static_assert(storage<liar>);

/// The kinds of disks.
std::vector<sqlite_disk_options> disks() {
    return {{},
            {.sector_bytes = 4096},
            {.sector_bytes = 4096, .powersafe_overwrite = false},
            {.sector_bytes = 512, .torn_sectors = false}};
}

}  // namespace

TEST_CASE("power loss: SQLite keeps what its settings promise, on every kind of disk", "[testing][sqlite]") {
    struct row {
        settings how;
        durability promised;
    };
    for (row const& r : {row{{"WAL", 2}, durability::full}, row{{"WAL", 1}, durability::ordered},
                         row{{"DELETE", 2}, durability::ordered}, row{{"DELETE", 3}, durability::full},
                         row{{"TRUNCATE", 2}, durability::full}, row{{"PERSIST", 2}, durability::full}}) {
        INFO(r.how.journal << ' ' << r.how.synchronous);
        REQUIRE(promise(r.how) == r.promised);
        std::uint64_t seed = 0;
        for (sqlite_disk_options const& disk : disks()) {
            // The log is what users have: all disks for it, and every other one for the rest.
            if (++seed % 2 == 0 && std::string(r.how.journal) != "WAL") { continue; }
            auto const report =
                power_cuts(r.how, {.seed = seed, .transactions = 10, .promised = r.promised, .disk = disk});
            CHECK(testing::to_text(report.found) == "");
            CHECK(report.broken == 0);
            CHECK(report.cuts > 300);
            CHECK(report.recoveries > 30);
            // That the power losses were such as to show a difference: only what was not promised was ever lost.
            CHECK((report.lost != 0) == (r.promised == durability::ordered));
        }
    }
}

TEST_CASE("power loss: a rollback journal at NORMAL promises nothing, and breaks", "[testing][sqlite]") {
    for (char const* journal : {"DELETE", "TRUNCATE", "PERSIST"}) { CHECK(promise({journal, 1}) == durability::none); }
    // As SQLite's documentation says of it; with TRUNCATE it takes the fewest power losses to see.
    auto const report =
        power_cuts(settings{"TRUNCATE", 1}, {.transactions = 24, .promised = durability::ordered, .disk = {}});
    CHECK(report.broken > 5);
}

TEST_CASE("power loss: without syncing the store breaks, whatever it says", "[testing][sqlite]") {
    for (char const* journal : {"WAL", "DELETE"}) {
        settings const off{journal, 0};
        REQUIRE(promise(off) == durability::none);
        for (durability const said : {durability::full, durability::ordered}) {
            INFO(journal << ' ' << static_cast<int>(said));
            auto const report = power_cuts(off, {.transactions = 16, .promised = said, .disk = {}});
            CHECK(report.broken > 10);
            CHECK(testing::breaks(report.found, "durability"));
        }
        // Honest about it, it only has to keep what a barrier covered, until the next commit.
        auto const honest = power_cuts(off, {.transactions = 16, .promised = durability::none, .disk = {}});
        CHECK(testing::to_text(honest.found) == "");
        CHECK(honest.lost > 10);
    }
}

TEST_CASE("power loss: a barrier that does nothing is found", "[testing][sqlite]") {
    for (bool const barriers : {true, false}) {
        auto const open = [&](char const* vfs) -> result<liar> {
            auto s = settings{"WAL", 1}(vfs);
            if (!s) { return s.error(); }
            return liar(std::move(*s), std::nullopt, barriers);
        };
        auto const report = power_cuts(open, {.transactions = 24});
        INFO(testing::to_text(report.found));
        CHECK((report.broken == 0) == barriers);
        CHECK(testing::breaks(report.found, "durability") == !barriers);
        CHECK(!testing::breaks(report.found, "atomicity"));
    }
}

TEST_CASE("power loss: a store that says full, and is ordered, is found", "[testing][sqlite]") {
    auto const open = [](char const* vfs) -> result<liar> {
        auto s = settings{"WAL", 1}(vfs);
        if (!s) { return s.error(); }
        return liar(std::move(*s), durability::full, true);
    };
    auto const report = power_cuts(open, {.transactions = 16});
    CHECK(testing::breaks(report.found, "durability"));
    CHECK(report.broken > 100);
}

TEST_CASE("power loss: a disk that lies about syncing is found", "[testing][sqlite]") {
    for (char const* journal : {"WAL", "DELETE"}) {
        auto const report =
            power_cuts(settings{journal, 2},
                       {.transactions = 12, .promised = durability::ordered, .disk = {.honest_sync = false}});
        INFO(journal);
        CHECK(report.broken > 100);
    }
}

TEST_CASE("power loss: the same seed does the same, another one doesn't", "[testing][sqlite]") {
    auto const once = [](std::uint64_t seed) {
        return power_cuts(settings{"WAL", 1}, {.seed = seed, .transactions = 6});
    };
    auto const a = once(7);
    auto const b = once(7);
    CHECK(a.cuts == b.cuts);
    CHECK(a.lost == b.lost);
    CHECK(a.kept == b.kept);
    CHECK(once(8).lost != a.lost);
    auto const text = [] {
        return testing::to_text(
            power_cuts(settings{"WAL", 0}, {.transactions = 6, .promised = durability::full}).found);
    };
    CHECK(text() == text());
}

TEST_CASE("sqlite_disk: what was synced survives, of the rest anything", "[testing][sqlite]") {
    sqlite_disk disk;
    {
        auto s = settings{}(disk.vfs());
        REQUIRE(s);
        auto tx = s->begin(access_mode::write);
        REQUIRE(tx->put(as_bytes("k"), as_bytes("v")));
        REQUIRE(tx->commit());
    }
    std::set<testing::sqlite_disk_image> images;
    for (std::uint64_t seed = 0; seed < 32; ++seed) { images.insert(disk.survivors(disk.steps() / 2, seed)); }
    CHECK(images.size() > 8);
    // Before anything was done nothing is there; what is there while the power is on is one of the choices at the end.
    CHECK(disk.survivors(0, 1).empty());
    images.clear();
    for (std::uint64_t seed = 0; seed < 32; ++seed) { images.insert(disk.survivors(disk.steps(), seed)); }
    CHECK(images.count(disk.files()) == 1);
}

TEST_CASE("sqlite_disk: connections lock each other out, and see each other's commits", "[testing][sqlite]") {
    for (char const* journal : {"WAL", "DELETE"}) {
        INFO(journal);
        sqlite_disk disk;
        {
            auto a = settings{journal}(disk.vfs());
            auto b = settings{journal}(disk.vfs());
            REQUIRE(a);
            REQUIRE(b);
            {
                auto tx = a->begin(access_mode::write);
                REQUIRE(tx);
                CHECK(b->begin(access_mode::write).error() == errc::busy);
                REQUIRE(tx->put(as_bytes("k"), as_bytes("v")));
                REQUIRE(tx->commit());
            }
            CHECK(testing::read_content(*b)->size() == 1);
            auto reader = b->begin(access_mode::read);
            auto writer = a->begin(access_mode::write);
            REQUIRE(writer);
            REQUIRE(writer->put(as_bytes("k"), as_bytes("w")));
            // With a rollback journal the reader holds up the commit; the log lets both go on.
            CHECK(static_cast<bool>(writer->commit()) == (std::string(journal) == "WAL"));
        }
        CHECK(testing::integrity_of(disk) == "");
    }
}

TEST_CASE("sqlite_disk: every call that fails is answered as a failure, and leaves the old state or the new",
          "[testing][sqlite]") {
    for (char const* journal : {"WAL", "DELETE"}) {
        for (int const which : {-1, 2, 4}) {  // every call, writes, syncs
            for (std::uint64_t n = 1;; ++n) {
                INFO(journal << ' ' << which << ' ' << n);
                sqlite_disk disk;
                testing::commit_workload workload(n);
                testing::store_content old;
                bool failed = false;
                {
                    auto s = settings{journal, 3}(disk.vfs());
                    REQUIRE(s);
                    {
                        auto tx = s->begin(access_mode::write);
                        REQUIRE(workload.write(*tx));
                        REQUIRE(tx->commit());
                    }
                    old = workload.content();
                    testing::sqlite_disk_fault f{.nth = n};
                    if (which >= 0) { f.only = static_cast<sqlite_disk_call>(which); }
                    disk.inject(f);
                    auto tx = s->begin(access_mode::write);
                    status done = tx ? workload.write(*tx) : status{tx.error()};
                    if (done) { done = tx->commit(); }
                    failed = !done;
                    disk.heal();
                }
                auto s = settings{journal, 3}(disk.vfs());
                REQUIRE(s);
                auto const now = testing::read_content(*s);
                REQUIRE(now);
                CHECK((*now == workload.content() || (failed && *now == old)));
                CHECK(testing::integrity_of(disk) == "");
                // The power loss after it takes nothing that had been acknowledged.
                for (std::uint64_t seed = 0; seed < 4; ++seed) {
                    sqlite_disk later({}, disk.survivors(disk.steps(), seed));
                    auto again = settings{journal, 3}(later.vfs());
                    REQUIRE(again);
                    auto const left = testing::read_content(*again);
                    REQUIRE(left);
                    CHECK((*left == workload.content() || (failed && *left == old)));
                }
                if (!failed) { break; }
            }
        }
    }
}

TEST_CASE("sqlite_disk: a full disk refuses until there is room", "[testing][sqlite]") {
    sqlite_disk disk;
    auto s = settings{}(disk.vfs());
    REQUIRE(s);
    auto const put = [&](std::string const& key, std::size_t n) -> status {
        auto tx = s->begin(access_mode::write);
        if (!tx) { return tx.error(); }
        if (auto ok = tx->put(as_bytes(key), bytes(n)); !ok) { return ok; }
        return tx->commit();
    };
    REQUIRE(put("a", 100));
    disk.set_room(disk.used());
    CHECK(put("b", 50'000).error() == errc::storage_full);
    CHECK(put("b", 50'000).error() == errc::storage_full);
    CHECK(testing::read_content(*s)->size() == 1);
    disk.set_room(1 << 20);
    CHECK(put("b", 50'000));
    CHECK(testing::read_content(*s)->size() == 2);
}

TEST_CASE("sqlite_disk: after a failed sync the data looks written, and is not", "[testing][sqlite]") {
    sqlite_disk disk;
    {
        auto s = settings{}(disk.vfs());
        REQUIRE(s);
        disk.inject({.nth = 1, .only = sqlite_disk_call::sync});
        auto tx = s->begin(access_mode::write);
        REQUIRE(tx->put(as_bytes("k"), as_bytes("v")));
        CHECK(tx->commit().error() == errc::storage_io);
        CHECK(s->begin(access_mode::write).error() == errc::poisoned);
        disk.heal();
        // A process that comes now finds it in the cache; the medium never got it.
        sqlite_disk after({}, disk.files());
        auto cached = settings{}(after.vfs());
        REQUIRE(cached);
        CHECK(testing::read_content(*cached)->size() == 1);
        for (std::uint64_t seed = 0; seed < 16; ++seed) {
            sqlite_disk lost({}, disk.survivors(disk.steps(), seed));
            auto again = settings{}(lost.vfs());
            REQUIRE(again);
            CHECK(testing::read_content(*again)->empty());
        }
    }
}
