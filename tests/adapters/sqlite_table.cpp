// SPDX-License-Identifier: BSL-1.0
#include <syncline/adapters/sqlite_table.hpp>

#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/testing/record_store_conformance.hpp>

#include "adapters/sql_host.hpp"
#include "support/catch.hpp"
#include "support/sanitized.hpp"

using namespace syncline;

namespace {

enum class table_place : std::uint8_t { hall, garden };

struct guest {
    std::string name;
    std::optional<std::int64_t> seat;
    bool paid = false;
    double share = 0;
    bytes photo;
    std::uint64_t code = 0;
    table_place where{};
    std::vector<std::string> tags;
    unknown_fields rest;
};
constexpr auto describe(guest const*) {
    return record_of<guest>("guests", field("name", &guest::name), field("seat", &guest::seat),
                            field("paid", &guest::paid), field("share", &guest::share), field("photo", &guest::photo),
                            field("code", &guest::code), field("where", &guest::where), field("tags", &guest::tags),
                            unknown(&guest::rest));
}
struct older_guest {
    std::string name;
    unknown_fields rest;
};
constexpr auto describe(older_guest const*) {
    return record_of<older_guest>("guests", field("name", &older_guest::name), unknown(&older_guest::rest));
}
struct hostile {
    std::string a, b, c;
};
constexpr auto describe(hostile const*) {
    return record_of<hostile>("x\"; DROP TABLE t; --", field("select", &hostile::a), field("a\"b'c]`", &hostile::b),
                              field("Zo\xC3\xAB\n", &hostile::c));
}
struct nul_name {
    std::string a;
};
constexpr auto describe(nul_name const*) {
    return record_of<nul_name>("n", field(std::string_view("a\0b", 3), &nul_name::a));
}
struct twins {
    std::string a, b;
};
constexpr auto describe(twins const*) {
    return record_of<twins>("t", field("name", &twins::a), field("NAME", &twins::b));
}

std::vector<std::string> const fields_of_guest{"name", "seat", "paid", "share", "photo", "code", "where", "tags"};

held_record held(guest const& g, position at = 7) {
    held_record h;
    h.confirmed = at;
    h.visible.version = at;
    h.visible.floor = {at, timestamp{std::uint64_t{1'800'000'000'000} << 16}, 3};
    auto fields = encode_record(g);
    REQUIRE(fields);
    h.visible.fields = *fields;
    return h;
}
guest anna() {
    guest g;
    g.name = "Anna";
    g.seat = 12;
    g.paid = true;
    g.share = 2.5;
    g.photo = {std::byte{0}, std::byte{255}};
    g.code = 9;
    g.where = table_place::garden;
    return g;
}

template <class T = guest>
sqlite_table opened(sql_host const& db, sqlite_table_options const& o = {}) {
    db("SAVEPOINT making");
    auto t = sqlite_table::open<T>(db.raw(), o);
    if (!t) { FAIL(message(t.error().code) << ' ' << t.error().detail << ' ' << sqlite3_errmsg(db.raw())); }
    db("RELEASE making");
    return std::move(*t);
}
void put(sql_host const& db, sqlite_table const& t, std::string_view id, held_record const& h,
         row const* confirmed = nullptr) {
    db("BEGIN");
    REQUIRE(t.put(as_bytes(id), h, confirmed));
    db("COMMIT");
}

/// What others have done since, each change put back: "a=Eva;b gone;", and "c!;" where it was refused.
std::string taken_from(sql_host const& db, sqlite_table const& t, std::string_view refused = {}) {
    db("BEGIN");
    std::string said;
    auto const take = [&](sqlite_table::outside_change const& c) -> status {
        if (!refused.empty() && as_text(c.id) == refused) { return errc::invalid; }
        auto g = c.fields ? decode_record<guest>(*c.fields) : result<guest>{guest{}};
        REQUIRE(g);
        said += std::string(as_text(c.id)) + (c.fields ? '=' + g->name : std::string(" gone")) + ';';
        return {};
    };
    auto const all = t.each_outside_change(take, 100);
    REQUIRE(all);
    for (auto const& r : all->refused) { said += std::string(as_text(r.id)) + "!;"; }
    auto const again = t.each_outside_change(take, 100);
    REQUIRE(again);
    CHECK(again->taken == 0);
    CHECK(again->refused.size() == all->refused.size());
    db("COMMIT");
    return said;
}

}  // namespace

TEST_CASE("tables keep the axioms of a record store, whatever is noticed and wherever the deleted go") {
    for (auto const outside : {outside_changes::ignored, outside_changes::refused, outside_changes::collected}) {
        for (char const* deleted_at : {"", "deleted_at"}) {
            for (std::uint64_t seed = 1; seed <= rounds(3u); ++seed) {
                sql_host const db;
                sqlite_table const t = opened(db, {.deleted_at = deleted_at, .outside = outside});
                auto storage = sqlite_storage::attach(db.raw());
                REQUIRE(storage);
                sqlite_records const records({&t});
                auto const broken = testing::certify_record_store(
                    *storage, records, {.seed = seed, .rounds = 150, .fields = fields_of_guest});
                INFO("seed " << seed << " deleted_at '" << deleted_at << "'");
                CHECK(testing::to_text(broken) == "");
            }
        }
    }
}

TEST_CASE("the program queries its table as ever") {
    sql_host const db;
    sqlite_table const t = opened(db);
    put(db, t, "a", held(anna()));
    guest ben = anna();
    ben.name = "Ben";
    ben.seat.reset();
    ben.paid = false;
    ben.code = (std::numeric_limits<std::uint64_t>::max)();
    put(db, t, "b", held(ben));
    CHECK(db.text("SELECT id || ' ' || name || ' ' || ifnull(seat, '-') || ' ' || paid || ' ' || share || ' ' || "
                  "hex(photo) || ' ' || ifnull(code, '-') || ' ' || \"where\" FROM guests ORDER BY id") ==
          "a Anna 12 1 2.5 00FF 9 1;b Ben - 0 2.5 00FF - 1;");
    db("CREATE INDEX by_seat ON guests(seat)");
    CHECK(db.text("SELECT name FROM guests WHERE seat = 12") == "Anna;");
    CHECK(db.text("SELECT typeof(syncline_base) FROM guests WHERE id = 'a'") == "null;");
    auto back = t.find(as_bytes("b"));
    REQUIRE(back);
    CHECK((*back)->visible == held(ben).visible);
}

TEST_CASE("at rest a row carries little beside its fields and its key") {
    sql_host const db;
    sqlite_table const t = opened(db, {.outside = outside_changes::ignored});
    guest g;  // `tags` has no column; an empty array is in the extra one
    put(db, t, "a", held(g, 4'000'000'000));
    CHECK(db.text("SELECT length(syncline_meta) <= 22 FROM guests") == "1;");
}

TEST_CASE("what has no column, and what it can't hold, comes back byte for byte") {
    sql_host const db;
    sqlite_table const t = opened<older_guest>(db, {.table = "g"});
    guest g = anna();
    g.tags = {"x", "y"};
    held_record const h = held(g);
    put(db, t, "a", h);
    CHECK((*t.find(as_bytes("a")))->visible == h.visible);
    CHECK(db.text("SELECT name FROM g") == "Anna;");

    std::string huge(5'000'000, 'h');
    huge[77] = '\0';
    g.name = huge;
    held_record const large = held(g);
    put(db, t, "a", large);
    CHECK((*t.find(as_bytes("a")))->visible == large.visible);
}

TEST_CASE("a newer description adds columns, and what was kept for them goes there") {
    sql_host const db;
    {
        sqlite_table const t = opened<older_guest>(db);
        put(db, t, "a", held(anna()));
        db("ALTER TABLE guests ADD COLUMN \"the program's own\" TEXT DEFAULT 'x'");
    }
    sqlite_table const t = opened<guest>(db);
    CHECK(db.text("SELECT name || seat || paid || hex(photo) || \"the program's own\" FROM guests") == "Anna12100FFx;");
    CHECK((*t.find(as_bytes("a")))->visible == held(anna()).visible);
    put(db, t, "a", held(guest{}));
    CHECK(db.text("SELECT \"the program's own\" FROM guests") == "x;");
    // The older description on the newer table leaves what it doesn't know where it is.
    sqlite_table const old = opened<older_guest>(db, {.outside = outside_changes::ignored});
    CHECK(old.find(as_bytes("a")));
}

TEST_CASE("a table that doesn't fit is refused and left alone") {
    auto const tried = [](char const* made) {
        sql_host const db;
        db(made);
        db("BEGIN");
        auto t = sqlite_table::open<older_guest>(db.raw());
        db("ROLLBACK");
        return t ? errc{} : t.error().code;
    };
    CHECK(tried("CREATE TABLE guests(id TEXT PRIMARY KEY, name TEXT)") == errc{});
    CHECK(tried("CREATE TABLE guests(ID TEXT PRIMARY KEY, NAME text) WITHOUT ROWID") == errc{});
    CHECK(tried("CREATE TABLE guests(id TEXT PRIMARY KEY, name INTEGER)") == errc::type_mismatch);
    CHECK(tried("CREATE TABLE guests(id INTEGER PRIMARY KEY, name TEXT)") == errc::type_mismatch);
    CHECK(tried("CREATE TABLE guests(id TEXT, name TEXT PRIMARY KEY)") == errc::type_mismatch);
    CHECK(tried("CREATE TABLE guests(id TEXT, name TEXT)") == errc::type_mismatch);
    CHECK(tried("CREATE TABLE guests(name TEXT)") == errc::type_mismatch);
    CHECK(tried("PRAGMA encoding = 'UTF-16'") == errc::unsupported);
    sql_host const db;
    CHECK(sqlite_table::open<older_guest>(db.raw()).error() == errc::transaction_lost);
    db("BEGIN");
    CHECK(sqlite_table::open<nul_name>(db.raw()).error() == errc::invalid);
    CHECK(sqlite_table::open<twins>(db.raw()).error() == errc::invalid);
    CHECK(sqlite_table::open<older_guest>(db.raw(), {.id_column = "Name"}).error() == errc::invalid);
    CHECK(sqlite_table::open<older_guest>(db.raw(), {.deleted_at = "syncline_META"}).error() == errc::invalid);
    CHECK(sqlite_table::open<older_guest>(db.raw(), {.table = std::string_view("a\0b", 3)}).error() == errc::invalid);
}

TEST_CASE("hostile names are names") {
    for (auto const outside : {outside_changes::refused, outside_changes::collected}) {
        sql_host const db;
        db("CREATE TABLE t(x)");
        sqlite_table const t = opened<hostile>(db, {.id_column = "i\"d", .deleted_at = "'gone'", .outside = outside});
        hostile x{"1", "2", "3"};
        held_record h;
        h.visible.fields = *encode_record(x);
        put(db, t, "'); DROP TABLE t; --", h);
        CHECK((*t.find(as_bytes("'); DROP TABLE t; --")))->visible == h.visible);
        std::size_t seen = 0;
        CHECK(t.scan([&](record_key const&, held_record& found) {
            seen += found == h ? 1U : 0U;
            return true;
        }));
        CHECK(seen == 1);
        CHECK(db.text("SELECT count(*) FROM t") == "0;");
    }
}

TEST_CASE("nothing is written but in the caller's transaction, and it goes with it") {
    sql_host const db;
    sqlite_table const t = opened(db);
    CHECK(t.put(as_bytes("a"), held(anna()), nullptr).error() == errc::transaction_lost);
    CHECK(t.erase(as_bytes("a")).error() == errc::transaction_lost);
    db("BEGIN");
    REQUIRE(t.put(as_bytes("a"), held(anna()), nullptr));
    db("SAVEPOINT inner");
    REQUIRE(t.put(as_bytes("b"), held(anna()), nullptr));
    db("ROLLBACK TO inner; COMMIT");
    CHECK(db.text("SELECT id FROM guests") == "a;");
    db("BEGIN");
    REQUIRE(t.erase(as_bytes("a")));
    db("ROLLBACK");
    CHECK(db.text("SELECT id FROM guests") == "a;");
}

TEST_CASE("another connection sees what is committed, and waits for what is not") {
    std::string const path = "sqlite_table_two.db";
    std::remove(path.c_str());
    {
        sql_host const one(path);
        sql_host const two(path);
        sqlite_table const mine = opened(one);
        sqlite_table const theirs = opened(two);
        one("BEGIN IMMEDIATE");
        REQUIRE(mine.put(as_bytes("a"), held(anna()), nullptr));
        CHECK(!theirs.find(as_bytes("a"))->has_value());
        two("BEGIN");
        CHECK(theirs.put(as_bytes("a"), held(anna()), nullptr).error() == errc::busy);
        two("ROLLBACK");
        one("COMMIT");
        CHECK(theirs.find(as_bytes("a"))->has_value());
    }
    std::remove(path.c_str());
}

TEST_CASE("a deleted record leaves the table, or stays with the time of its deletion") {
    held_record gone = held(anna());
    gone.visible.deleted = true;
    gone.visible.fields.clear();
    {
        sql_host const db;
        sqlite_table const t = opened(db);
        put(db, t, "a", held(anna()));
        put(db, t, "a", gone);
        CHECK(db.text("SELECT count(*) FROM guests") == "0;");
        CHECK(**t.find(as_bytes("a")) == gone);
        put(db, t, "a", held(anna()));
        CHECK(db.text("SELECT count(*) FROM guests_tombstones") == "0;");
    }
    sql_host const db;
    sqlite_table const t = opened(db, {.deleted_at = "deleted_at"});
    put(db, t, "a", held(anna()));
    CHECK(db.text("SELECT name FROM guests WHERE deleted_at IS NULL") == "Anna;");
    put(db, t, "a", gone);
    CHECK(db.text("SELECT name || deleted_at FROM guests") == "Anna1800000000000;");
    CHECK(**t.find(as_bytes("a")) == gone);
}

TEST_CASE("refused: a row that someone changed, made or damaged is corrupt, and that one only") {
    sql_host const db;
    sqlite_table const t = opened(db);
    put(db, t, "a", held(anna()));
    put(db, t, "b", held(anna()));
    guest other = anna();
    other.name = "Cal";
    put(db, t, "c", held(other));
    for (char const* change :
         {"UPDATE guests SET name = 'Eve' WHERE id = 'a'", "UPDATE guests SET seat = NULL WHERE id = 'a'",
          "UPDATE guests SET syncline_meta = x'00' WHERE id = 'a'",
          "UPDATE guests SET syncline_extra = x'ff' WHERE id = 'a'",
          "UPDATE guests SET name = CAST(x'ff' AS TEXT) WHERE id = 'a'",
          "DELETE FROM guests WHERE id = 'a'; INSERT INTO guests(id, name) VALUES('a', 'Eve')",
          "DELETE FROM guests WHERE id = 'a'; UPDATE guests SET id = 'a' WHERE id = 'c'"}) {
        INFO(change);
        db("BEGIN");
        db(change);
        CHECK(t.find(as_bytes("a")).error() == errc::corrupt);
        CHECK(t.find(as_bytes("b"))->has_value());
        db("ROLLBACK");
        CHECK(t.find(as_bytes("a"))->has_value());
    }
}

TEST_CASE("collected: each change from outside is told once, against the row as it was before the first") {
    sql_host const db;
    sqlite_table const t = opened(db, {.outside = outside_changes::collected});
    auto const taken = [&] { return taken_from(db, t); };
    put(db, t, "a", held(anna()));
    CHECK(taken() == "");  // what we write ourselves is no change from outside
    db("UPDATE guests SET name = 'Eve' WHERE id = 'a'");
    db("UPDATE guests SET name = 'Eva' WHERE id = 'a'");
    db("BEGIN");
    CHECK(t.put(as_bytes("a"), held(anna()), nullptr).error() == errc::contended);
    db("ROLLBACK");
    CHECK(taken() == "a=Eva;");
    CHECK(**t.find(as_bytes("a")) == held(anna()));  // put back: the mutation makes it anew
    db("DELETE FROM guests");
    CHECK(taken() == "a gone;");
    CHECK(**t.find(as_bytes("a")) == held(anna()));
    db("INSERT OR REPLACE INTO guests(id, name) VALUES('a', 'Ria')");
    CHECK(taken() == "a=Ria;");
    CHECK(**t.find(as_bytes("a")) == held(anna()));
    db("INSERT INTO guests(id, name) VALUES('n', 'Nils')");
    CHECK(!t.find(as_bytes("n"))->has_value());
    CHECK(taken() == "n=Nils;");
    db("DELETE FROM guests WHERE id = 'n'");
    CHECK(taken() == "");  // it was nobody's record, and is none
    db("UPDATE guests SET id = 'z' WHERE id = 'a'");
    CHECK(taken() == "a gone;z=Anna;");
    db("BEGIN; UPDATE guests SET name = 'x'; ROLLBACK");
    CHECK(taken() == "");
}

TEST_CASE("collected, with soft deletes: the program deletes by setting the time") {
    sql_host const db;
    sqlite_table const t = opened(db, {.deleted_at = "deleted_at", .outside = outside_changes::collected});
    put(db, t, "a", held(anna()));
    db("UPDATE guests SET deleted_at = 5 WHERE id = 'a'");
    CHECK(taken_from(db, t) == "a gone;");
    CHECK(**t.find(as_bytes("a")) == held(anna()));
}

TEST_CASE("collected: a row with another id, or a copy of one, is a new record; what it takes the place of is not") {
    sql_host const db;
    sqlite_table const t = opened(db, {.outside = outside_changes::collected});
    put(db, t, "a", held(anna()));
    guest other = anna();
    other.name = "Ben";
    put(db, t, "b", held(other, 9));
    db("UPDATE guests SET id = 'z' WHERE id = 'a'");
    CHECK(taken_from(db, t) == "a gone;z=Anna;");
    CHECK(**t.find(as_bytes("a")) == held(anna()));
    CHECK(!t.find(as_bytes("z"))->has_value());  // not a record yet, whatever marks the row brought along
    db("DELETE FROM guests WHERE id = 'z'");
    CHECK(taken_from(db, t).empty());
    db("CREATE TEMP TABLE copies AS SELECT * FROM guests WHERE id = 'a'; UPDATE copies SET id = 'y';"
       "INSERT INTO guests SELECT * FROM copies");
    CHECK(taken_from(db, t) == "y=Anna;");
    CHECK(!t.find(as_bytes("y"))->has_value());
    db("UPDATE OR REPLACE guests SET id = 'b' WHERE id = 'a'");
    CHECK(taken_from(db, t) == "a gone;b=Anna;");
    CHECK(**t.find(as_bytes("b")) == held(other, 9));
}

TEST_CASE("collected: what can't be taken is told, stays, and keeps nothing else from being taken") {
    sql_host const db;
    // A table that the program made: its ids keep the type that they are written in.
    db("CREATE TABLE guests(id PRIMARY KEY NOT NULL)");
    sqlite_table const t = opened(db, {.outside = outside_changes::collected});
    put(db, t, "a", held(anna()));
    put(db, t, "b", held(anna()));
    db("INSERT INTO guests(id, name) VALUES(7, 'number'), (x'41', 'a text, as a blob'), ('', 'none'),"
       "(printf('%.*c', 600, 'x'), 'long')");
    db("UPDATE guests SET name = CAST(x'ff' AS TEXT) WHERE id = 'a'; UPDATE guests SET name = 'Bea' WHERE id = 'b'");
    CHECK(taken_from(db, t) == "b=Bea;7!;!;a!;" + std::string(600, 'x') + "!;A!;");
    db("UPDATE guests SET name = 'Eve' WHERE id = 'a'; DELETE FROM guests WHERE name IN ('number', 'none', 'long')");
    CHECK(taken_from(db, t, "a") == "a!;A!;");
    CHECK(db.text("SELECT name FROM guests WHERE id = 'a'") == "Eve;");
    CHECK(t.each_outside_change([](auto const&) -> status { return {}; }, 5).error() == errc::transaction_lost);
    db("BEGIN");
    CHECK(t.each_outside_change([](auto const&) -> status { return errc::storage_io; }, 5).error() == errc::storage_io);
    db("ROLLBACK");
    db("DELETE FROM guests WHERE id = x'41'");
    CHECK(taken_from(db, t) == "a=Eve;");
    // In a table of ours a number is a text as any id.
    sql_host const ours;
    sqlite_table const u = opened(ours, {.outside = outside_changes::collected});
    ours("INSERT INTO guests(id, name) VALUES(7, 'number')");
    CHECK(taken_from(ours, u) == "7=number;");
}

TEST_CASE("collected: a trigger that is not as it should be is made anew, and others are left alone") {
    sql_host const db;
    (void)opened(db, {.outside = outside_changes::collected});
    std::string const made = db.text("PRAGMA schema_version");
    (void)opened(db, {.outside = outside_changes::collected});
    CHECK(db.text("PRAGMA schema_version") == made);
    db("DROP TRIGGER guests_update_before; CREATE TRIGGER guests_update_before BEFORE UPDATE ON guests BEGIN SELECT 1; END");
    sqlite_table const t = opened(db, {.outside = outside_changes::collected});
    put(db, t, "a", held(anna()));
    db("UPDATE guests SET name = 'Eve' WHERE id = 'a'");
    CHECK(taken_from(db, t) == "a=Eve;");
    CHECK(**t.find(as_bytes("a")) == held(anna()));
}
