// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `sqlite_table`: a collection's records in an ordinary SQL table, a column a field; `sqlite_records`: a record store
/// of such tables.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <sqlite3.h>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/describe.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/record_store.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What becomes of a row that somebody else has changed: another statement of the program's, or another program.
enum class outside_changes : std::uint8_t {
    ignored,    ///< it is read as it stands, nobody is told, and the next write of the record goes over it
    refused,    ///< a hash in the row tells: reading the record is `corrupt` until it is put back
    collected,  ///< triggers keep what it was; `take_outside_changes` makes a mutation of it
};

struct sqlite_table_options {
    std::string_view table{};           ///< the table's name; empty: the collection's
    std::string_view id_column = "id";  ///< no field has this name, in whatever case
    std::string_view deleted_at{};      ///< a column for the time of deletion, in milliseconds since 1970, of records
                                        ///< that then stay in the table; empty: a deleted record leaves it
    outside_changes outside = outside_changes::refused;
};

namespace detail {

/// What a column holds; anything else of its field is in the extra column.
enum class column_kind : std::uint8_t { integer, boolean, real, text, blob };

struct table_column {
    std::string field;
    column_kind kind;
};

template <class M>
[[nodiscard]] constexpr std::optional<column_kind> column_kind_of() noexcept {
    if constexpr (is_optional<M>::value) {
        return column_kind_of<typename M::value_type>();
    } else if constexpr (std::same_as<M, bool>) {
        return column_kind::boolean;
    } else if constexpr (std::integral<M> || std::is_enum_v<M>) {
        return column_kind::integer;
    } else if constexpr (is_floating<M>) {
        return column_kind::real;
    } else if constexpr (std::same_as<M, std::string>) {
        return column_kind::text;
    } else if constexpr (std::same_as<M, bytes>) {
        return column_kind::blob;
    } else {
        return std::nullopt;
    }
}

[[nodiscard]] constexpr std::string_view declared_type(column_kind k) noexcept {
    switch (k) {
        case column_kind::integer:
        case column_kind::boolean: return "INTEGER";
        case column_kind::real: return "REAL";
        case column_kind::text: return "TEXT";
        case column_kind::blob: return "BLOB";
    }
    return "";
}

/// ASCII letters alone, as SQLite compares names.
[[nodiscard]] inline bool same_name(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && sqlite3_strnicmp(a.data(), b.data(), static_cast<int>(a.size())) == 0;
}
struct sqlite_value_free {
    void operator()(sqlite3_value* v) const noexcept { sqlite3_value_free(v); }
};
using sqlite_value = std::unique_ptr<sqlite3_value, sqlite_value_free>;

/// An identifier as SQL has it, whatever is in it but NUL.
[[nodiscard]] inline std::string quoted(std::string_view name) {
    std::string out = "\"";
    for (char const c : name) {
        if (c == '"') { out += '"'; }
        out += c;
    }
    return out + '"';
}

}  // namespace detail

/// The records of one collection in an SQL table (SQLite 3.24 or later), which the program queries and indexes as ever.
///
/// A column a field: INTEGER for integers and bool (0 and 1), REAL, TEXT, BLOB; NULL is a missing field. What doesn't
/// come back the same from its column, and fields without one, are in `syncline_extra`, a canonical CBOR map: arrays,
/// maps, null, NaN and -0.0, integers beyond 64 bits with a sign, values of another type than the column's, and fields
/// that the type doesn't know. An id that is UTF-8 without NUL is TEXT, any other a BLOB. `syncline_meta` has the row's
/// version and marks, `syncline_base` the confirmed row while mutations wait, `syncline_hash` is there where outside
/// changes are refused. Columns that the program added are left alone; they have to take NULL or have a default.
///
/// Everything is written in the transaction that is open on the connection, of whoever's: in autocommit mode it is
/// `transaction_lost`, and nothing is done. A deleted record is in `<table>_tombstones`, or where it was with
/// `deleted_at` set; so that the program filters by it.
/// Cost: a call is one or two statements, prepared once. A scan sorts by the bytes of the ids.
/// Threads: the caller serialises the use of the connection.
class sqlite_table {
public:
    /// Makes the table of a described type, or checks the one that is there and adds the columns that it lacks, in the
    /// open transaction; fields that were in the extra column until then go to theirs.
    ///
    /// The connection outlives the object. Errors: `invalid` for options or names of fields that can't be columns
    /// (NUL inside, twice but for case); `type_mismatch` for a column of another declared type, or a key that isn't the
    /// id alone; `unsupported` for a database in UTF-16; `transaction_lost`; SQLite's own as of `from_sqlite`.
    template <described T>
    [[nodiscard]] static result<sqlite_table> open(sqlite3* db, sqlite_table_options const& options = {}) {
        sqlite_table t{db, collection<T>(), options};
        for_each_field<T>([&](auto const& f) {
            using member = typename std::remove_cvref_t<decltype(f)>::member_type;
            if (auto const kind = detail::column_kind_of<member>()) {
                t.columns_.push_back({std::string(f.name), *kind});
            }
        });
        if (auto ok = t.set_up(); !ok) { return ok.error(); }
        return t;
    }

    [[nodiscard]] std::string_view collection_name() const noexcept { return collection_; }
    [[nodiscard]] sqlite3* connection() const noexcept { return db_; }

    [[nodiscard]] result<std::optional<held_record>> find(bytes_view id) const {
        std::optional<held_record> found;
        auto ok = look_up(id, [&](sqlite3_stmt* q) -> result<bool> {
            if (is_foreign(q)) {
                auto may = allowed();
                return may ? result<bool>{false} : may.error();
            }
            auto held = read(q);
            if (!held) { return held.error(); }
            found = std::move(*held);
            return true;
        });
        if (!ok) { return ok.error(); }
        return found;
    }
    [[nodiscard]] result<std::optional<row>> find_confirmed(bytes_view id) const {
        std::optional<row> found;
        auto ok = look_up(id, [&](sqlite3_stmt* q) -> result<bool> {
            if (is_foreign(q)) { return false; }
            if (sqlite3_column_type(q, base_at()) == SQLITE_NULL) { return true; }
            cbor_reader in{blob(q, base_at())};
            row r = decode_row(in);
            if (!in.finish()) { return failure{errc::corrupt, "confirmed record"}; }
            found = std::move(r);
            return true;
        });
        if (!ok) { return ok.error(); }
        return found;
    }
    /// `contended` while a change from outside to this record waits for `take_outside_changes`.
    [[nodiscard]] status put(bytes_view id, held_record const& h, row const* confirmed) const {
        if (auto ok = writable(id); !ok) { return ok; }
        bytes base;
        if (confirmed != nullptr) {
            cbor_writer w{base};
            encode_row(w, *confirmed);
        } else if (h.pending) {
            // The row may move between the two tables: its base goes along.
            auto kept = find_confirmed(id);
            if (!kept) { return kept.error(); }
            if (*kept) {
                cbor_writer w{base};
                encode_row(w, **kept);
            }
        }
        bool const gone = h.visible.deleted && deleted_at_.empty();
        if (!deleted_at_.empty()) {
            // One table.
        } else if (auto ok = run_id(gone ? erase_ : erase_gone_, id); !ok) {
            return ok;
        }
        if (auto ok = gone ? write_gone(id, h, base) : write(id, h, base); !ok) { return ok; }
        return settle(id);
    }
    [[nodiscard]] status drop_confirmed(bytes_view id) const {
        if (auto ok = writable(id); !ok) { return ok; }
        for (detail::sqlite_statement const* s : {&drop_, &drop_gone_}) {
            if (s->get() == nullptr) { break; }
            if (auto ok = run_id(*s, id); !ok) { return ok; }
        }
        return settle(id);
    }
    [[nodiscard]] status erase(bytes_view id) const {
        if (auto ok = writable(id); !ok) { return ok; }
        if (auto ok = run_id(erase_, id); !ok) { return ok; }
        if (deleted_at_.empty()) {
            if (auto ok = run_id(erase_gone_, id); !ok) { return ok; }
        }
        return settle(id);
    }
    [[nodiscard]] status scan(held_visitor visit) const {
        auto s = prepare(scan_sql_);
        if (!s) { return s.error(); }
        for (;;) {
            int const rc = sqlite3_step(s->get());
            if (rc == SQLITE_DONE) { return {}; }
            if (rc != SQLITE_ROW) { return fail("scan"); }
            if (is_foreign(s->get())) {
                if (auto ok = allowed(); !ok) { return ok; }
                continue;
            }
            record_key const k{collection_, blob(s->get(), 0)};
            if (!valid(k)) { return failure{errc::corrupt, "record id"}; }
            auto held = read(s->get());
            if (!held) { return held.error(); }
            if (!visit(k, *held)) { return {}; }
        }
    }

    /// A record that somebody else has changed: what its fields are now, or nothing where it was deleted.
    struct outside_change {
        bytes id;
        std::optional<bytes> fields;
    };
    /// A change that was not taken, and why.
    struct refused_change {
        bytes id;
        failure why;
    };
    struct outside_report {
        std::size_t taken = 0;
        std::vector<refused_change> refused{};  ///< these stay as others have made them
    };
    /// Puts up to `most` records back to what they were, one after the other, and shows `take` what others had made of
    /// each; which, in the same transaction, writes that through the replica. See `take_outside_changes`.
    ///
    /// A change that `take` fails to take, or whose row no record can be (an id that is a number, say), stays as it is and
    /// is told, and the next is taken; after `most` of those it ends. What the storage fails in fails the call.
    [[nodiscard]] result<outside_report> each_outside_change(function_ref<status(outside_change const&)> take,
                                                             std::size_t most) const {
        outside_report all;
        if (outside_ != outside_changes::collected) { return all; }
        if (auto ok = in_transaction(); !ok) { return ok.error(); }
        auto ids = changed_ids(most > SIZE_MAX / 2 ? SIZE_MAX : 2 * most);
        if (!ids) { return ids.error(); }
        for (changed_id& id : *ids) {
            if (all.taken == most || all.refused.size() == most) { break; }
            if (auto ok = execute("SAVEPOINT syncline_outside"); !ok) { return ok.error(); }
            outside_change c{std::move(id.name), std::nullopt};
            auto happened = undo(id, c);
            status ok = happened ? status{} : status{happened.error()};
            if (ok && *happened) { ok = take(c); }
            if (!ok) {
                if (of_storage(ok.error().code)) { return ok.error(); }
                if (auto back = execute("ROLLBACK TO syncline_outside"); !back) { return back.error(); }
                all.refused.push_back({std::move(c.id), ok.error()});
            } else if (*happened) {
                ++all.taken;
            }
            if (auto ended = execute("RELEASE syncline_outside"); !ended) { return ended.error(); }
        }
        return all;
    }

private:
    sqlite_table(sqlite3* db, std::string_view collection, sqlite_table_options const& o)
        : db_(db),
          collection_(collection),
          name_(o.table.empty() ? collection : o.table),
          id_(o.id_column),
          deleted_at_(o.deleted_at),
          outside_(o.outside) {}

    static constexpr char const* own_columns[] = {"syncline_meta", "syncline_extra", "syncline_base", "syncline_hash"};
    // Places in every SELECT: id, meta, extra, base, hash, deleted_at, fields.
    [[nodiscard]] static constexpr int meta_at() noexcept { return 1; }
    [[nodiscard]] static constexpr int extra_at() noexcept { return 2; }
    [[nodiscard]] static constexpr int base_at() noexcept { return 3; }
    [[nodiscard]] static constexpr int hash_at() noexcept { return 4; }
    [[nodiscard]] static constexpr int deleted_place() noexcept { return 5; }
    [[nodiscard]] static constexpr int field_at(std::size_t i) noexcept { return 6 + static_cast<int>(i); }

    // --- statements

    [[nodiscard]] status fail(char const* what) const {
        int const rc = sqlite3_extended_errcode(db_);
        return failure{from_sqlite(rc), what, rc};
    }
    [[nodiscard]] result<detail::sqlite_statement> prepare(std::string const& sql) const {
        sqlite3_stmt* raw = nullptr;
        int const rc = sqlite3_prepare_v2(db_, sql.data(), static_cast<int>(sql.size()), &raw, nullptr);
        if (rc != SQLITE_OK) { return fail("prepare").error(); }
        return detail::sqlite_statement(raw);
    }
    [[nodiscard]] status execute(std::string const& sql) const {
        return sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK ? status{} : fail("execute");
    }
    [[nodiscard]] status in_transaction() const {
        if (sqlite3_get_autocommit(db_) == 0) { return {}; }
        return failure{errc::transaction_lost, "no transaction is open on the connection"};
    }
    [[nodiscard]] static bool bind(sqlite3_stmt* q, int at, bytes_view b) noexcept {
        void const* const data = b.empty() ? static_cast<void const*>("") : b.data();
        return sqlite3_bind_blob64(q, at, data, b.size(), SQLITE_STATIC) == SQLITE_OK;
    }
    [[nodiscard]] static bool bind_text(sqlite3_stmt* q, int at, std::string_view t) noexcept {
        char const* const data = t.empty() ? "" : t.data();
        return sqlite3_bind_text64(q, at, data, t.size(), SQLITE_STATIC, SQLITE_UTF8) == SQLITE_OK;
    }
    [[nodiscard]] static bool is_text(bytes_view id) noexcept {
        std::string_view const t = as_text(id);
        return valid_utf8(t) && t.find('\0') == std::string_view::npos;
    }
    [[nodiscard]] static bool bind_id(sqlite3_stmt* q, bytes_view id) noexcept {
        return is_text(id) ? bind_text(q, 1, as_text(id)) : bind(q, 1, id);
    }
    [[nodiscard]] static bytes_view blob(sqlite3_stmt* q, int at) noexcept {
        void const* const data = sqlite3_column_blob(q, at);
        return {static_cast<std::byte const*>(data), static_cast<std::size_t>(sqlite3_column_bytes(q, at))};
    }
    [[nodiscard]] status finish(sqlite3_stmt* q) const {
        return sqlite3_step(q) == SQLITE_DONE ? status{} : fail("write");
    }
    [[nodiscard]] status run_id(detail::sqlite_statement const& s, bytes_view id) const {
        detail::sqlite_reset const later{s.get()};
        return bind_id(s.get(), id) ? finish(s.get()) : fail("bind");
    }

    /// Shows `take` the row of an id, in whichever of the two tables it is; false: it is another's, look on.
    template <class F>
    [[nodiscard]] status look_up(bytes_view id, F&& take) const {
        for (detail::sqlite_statement const* s : {&find_, &find_gone_}) {
            if (s->get() == nullptr) { break; }
            detail::sqlite_reset const later{s->get()};
            if (!bind_id(s->get(), id)) { return fail("bind"); }
            int const rc = sqlite3_step(s->get());
            if (rc == SQLITE_DONE) { continue; }
            if (rc != SQLITE_ROW) { return fail("find"); }
            auto taken = take(s->get());
            if (!taken) { return taken.error(); }
            if (*taken) { break; }
        }
        return {};
    }

    // --- the table

    [[nodiscard]] std::vector<std::string> wanted_columns() const {
        std::vector<std::string> all;
        for (char const* c : own_columns) { all.emplace_back(c); }
        if (!deleted_at_.empty()) { all.push_back(deleted_at_); }
        for (detail::table_column const& c : columns_) { all.push_back(c.field); }
        return all;
    }
    [[nodiscard]] std::string_view type_of_column(std::size_t i) const {
        constexpr std::size_t own = std::size(own_columns);
        if (i < own) { return i + 1 == own ? "INTEGER" : "BLOB"; }
        i -= own;
        if (!deleted_at_.empty()) {
            if (i == 0) { return "INTEGER"; }
            --i;
        }
        return detail::declared_type(columns_[i].kind);
    }
    [[nodiscard]] status check_names() const {
        std::vector<std::string> names = wanted_columns();
        names.push_back(id_);
        names.push_back(name_);
        for (std::string const& n : names) {
            if (n.empty() || n.find('\0') != std::string::npos || !valid_utf8(n)) {
                return failure{errc::invalid, "a name that SQL can't have"};
            }
        }
        names.pop_back();  // a table may have a column of its own name
        for (std::size_t i = 0; i < names.size(); ++i) {
            for (std::size_t k = 0; k < i; ++k) {
                if (detail::same_name(names[i], names[k])) { return failure{errc::invalid, "two columns of one name"}; }
            }
        }
        return {};
    }
    [[nodiscard]] status set_up() {
        if (sqlite3_libversion_number() < 3'024'000) { return failure{errc::unsupported, "SQLite before 3.24"}; }
        std::sort(columns_.begin(), columns_.end(), [](detail::table_column const& a, detail::table_column const& b) {
            return compare_keys(a.field, b.field) < 0;
        });
        if (auto ok = check_names(); !ok) { return ok; }
        if (auto ok = in_transaction(); !ok) { return ok; }
        {
            auto s = prepare("PRAGMA encoding");
            if (!s) { return s.error(); }
            if (sqlite3_step(s->get()) != SQLITE_ROW) { return fail("encoding"); }
            if (as_text(blob(s->get(), 0)) != "UTF-8") { return failure{errc::unsupported, "a database in UTF-16"}; }
        }
        table_ = detail::quoted(name_);
        changes_ = detail::quoted(name_ + "_changes");
        gone_ = detail::quoted(name_ + "_tombstones");
        std::string const id = detail::quoted(id_);
        std::vector<std::string> const wanted = wanted_columns();
        if (auto ok = execute("CREATE TABLE IF NOT EXISTS " + table_ + "(" + id + " TEXT PRIMARY KEY NOT NULL" +
                              declared(wanted) + ") WITHOUT ROWID");
            !ok) {
            return ok;
        }
        auto added = add_missing(table_, wanted, true);
        if (!added) { return added.error(); }
        if (deleted_at_.empty()) {
            if (auto ok =
                    execute("CREATE TABLE IF NOT EXISTS " + gone_ +
                            "(id PRIMARY KEY NOT NULL, syncline_meta BLOB, syncline_extra BLOB, syncline_base BLOB,"
                            " syncline_hash INTEGER) WITHOUT ROWID");
                !ok) {
                return ok;
            }
        }
        if (auto ok = triggers(wanted); !ok) { return ok; }
        if (auto ok = statements(); !ok) { return ok; }
        return *added ? spread() : status{};
    }
    [[nodiscard]] std::string declared(std::vector<std::string> const& wanted) const {
        std::string all;
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            all += ", " + detail::quoted(wanted[i]) + ' ' + std::string(type_of_column(i));
        }
        return all;
    }
    /// Whether a table that was there before lacked a column, which it then has.
    [[nodiscard]] result<bool> add_missing(std::string const& table, std::vector<std::string> const& wanted,
                                           bool is_ours) {
        std::vector<bool> there(wanted.size());
        bool keyed = false;
        {
            auto s = prepare("PRAGMA table_info(" + table + ')');
            if (!s) { return s.error(); }
            int rc = SQLITE_ROW;
            while ((rc = sqlite3_step(s->get())) == SQLITE_ROW) {
                std::string_view const name = as_text(blob(s->get(), 1));
                std::string_view const type = as_text(blob(s->get(), 2));
                bool const key = sqlite3_column_int(s->get(), 5) != 0;
                bool const is_id = detail::same_name(name, is_ours ? std::string_view{id_} : "id");
                if (key != is_id ||
                    (is_id && !type.empty() && !detail::same_name(type, "TEXT") && !detail::same_name(type, "BLOB"))) {
                    return failure{errc::type_mismatch, "the table's key is not the id"};
                }
                keyed = keyed || is_id;
                for (std::size_t i = 0; i < wanted.size(); ++i) {
                    if (!detail::same_name(name, wanted[i])) { continue; }
                    if (!detail::same_name(type, type_of_column(i))) {
                        return failure{errc::type_mismatch, "a column of another type"};
                    }
                    there[i] = true;
                }
            }
            if (rc != SQLITE_DONE) { return fail("table_info").error(); }
        }
        if (!keyed) { return failure{errc::type_mismatch, "the table's key is not the id"}; }
        bool added = false;
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            if (there[i]) { continue; }
            if (auto ok = execute("ALTER TABLE " + table + " ADD COLUMN " + detail::quoted(wanted[i]) + ' ' +
                                  std::string(type_of_column(i)));
                !ok) {
                return ok.error();
            }
            added = true;
        }
        return added;
    }
    /// Triggers, where changes are collected, that copy a row before its first change; none where they aren't.
    [[nodiscard]] status triggers(std::vector<std::string> const& wanted) {
        std::string const names[] = {name_ + "_insert_before", name_ + "_insert_after", name_ + "_update_before",
                                     name_ + "_update_after", name_ + "_delete_before"};
        if (outside_ != outside_changes::collected) {
            for (std::string const& n : names) {
                if (auto ok = execute("DROP TRIGGER IF EXISTS " + detail::quoted(n)); !ok) { return ok; }
            }
            return execute("DROP TABLE IF EXISTS " + changes_);
        }
        if (auto ok = execute("CREATE TABLE IF NOT EXISTS " + changes_ + "(id PRIMARY KEY NOT NULL" + declared(wanted) +
                              ") WITHOUT ROWID");
            !ok) {
            return ok;
        }
        if (auto missing = add_missing(changes_, wanted, false); !missing) { return missing.error(); }
        std::string const id = detail::quoted(id_);
        std::string into;
        std::string old;
        for (std::string const& w : wanted) {
            into += ", " + detail::quoted(w);
            old += ", OLD." + detail::quoted(w);
        }
        // OR IGNORE would not do: the OR of the outer statement comes before a trigger's.
        auto const unless = [&](std::string const& what) {
            return "NOT EXISTS (SELECT 1 FROM " + changes_ + " WHERE id = " + what + "." + id + "); ";
        };
        std::string const copy = "INSERT INTO " + changes_ + "(id" + into + ") ";
        std::string const none = "INSERT INTO " + changes_ + "(id) SELECT NEW." + id + " WHERE " + unless("NEW");
        std::string const saved = copy + "SELECT OLD." + id + old + " WHERE " + unless("OLD");
        // What is replaced, by an insert or by a row that is given its id, fires no trigger of its own.
        std::string const replaced = copy + "SELECT " + id + into + " FROM " + table_ + " WHERE " + id + " = NEW." +
                                     id + " AND " + unless("NEW");
        std::string const bodies[] = {
            " BEFORE INSERT ON " + table_ + " BEGIN " + replaced, " AFTER INSERT ON " + table_ + " BEGIN " + none,
            " BEFORE UPDATE ON " + table_ + " BEGIN " + saved + replaced,
            " AFTER UPDATE ON " + table_ + " BEGIN " + none, " BEFORE DELETE ON " + table_ + " BEGIN " + saved};
        for (std::size_t i = 0; i < std::size(names); ++i) {
            if (auto ok = make_trigger(names[i], bodies[i] + "END"); !ok) { return ok; }
        }
        return {};
    }
    /// Writes nothing where it is there as it should be: another program's, or an older description's, is replaced.
    [[nodiscard]] status make_trigger(std::string const& name, std::string const& body) const {
        std::string const sql = "CREATE TRIGGER " + detail::quoted(name) + body;
        {
            auto s = prepare("SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND sql = ?1");
            if (!s) { return s.error(); }
            if (!bind_text(s->get(), 1, sql)) { return fail("bind"); }
            int const rc = sqlite3_step(s->get());
            if (rc == SQLITE_ROW) { return {}; }
            if (rc != SQLITE_DONE) { return fail("triggers"); }
        }
        if (auto ok = execute("DROP TRIGGER IF EXISTS " + detail::quoted(name)); !ok) { return ok; }
        return execute(sql);
    }
    [[nodiscard]] status statements() {
        std::string const id = detail::quoted(id_);
        std::string fields;
        std::string nulls;
        std::string values;
        std::string sets;
        int next = 7;
        for (detail::table_column const& c : columns_) {
            std::string const q = detail::quoted(c.field);
            fields += ", " + q;
            nulls += ", NULL";
            values += ", ?" + std::to_string(next++);
            sets += ", " + q + " = excluded." + q;
        }
        bool const soft = !deleted_at_.empty();
        std::string const when = soft ? detail::quoted(deleted_at_) : "NULL";
        std::string const own = "syncline_meta, syncline_extra, syncline_base, syncline_hash, ";
        std::string const live = "SELECT " + id + ", " + own + when + fields + " FROM " + table_;
        std::string const gone = "SELECT id, " + own + "NULL" + nulls + " FROM " + gone_;
        std::string const into = "INSERT INTO " + table_ + '(' + id +
                                 ", syncline_meta, syncline_extra, syncline_base, "
                                 "syncline_hash" +
                                 (soft ? ", " + when : "");
        std::string const marks = ") VALUES(?1, ?2, ?3, ?4, ?5";
        std::string const update = ") ON CONFLICT(" + id +
                                   ") DO UPDATE SET syncline_meta = excluded.syncline_meta, "
                                   "syncline_extra = excluded.syncline_extra, syncline_base = excluded.syncline_base, "
                                   "syncline_hash = excluded.syncline_hash" +
                                   (soft ? ", " + when + " = excluded." + when : "");
        struct {
            detail::sqlite_statement* to;
            std::string sql;
        } all[] = {
            {&find_, live + " WHERE " + id + " = ?1"},
            {&put_, into + fields + marks + (soft ? ", ?6" : "") + values + update + sets},
            {&erase_, "DELETE FROM " + table_ + " WHERE " + id + " = ?1"},
            {&drop_, "UPDATE " + table_ + " SET syncline_base = NULL WHERE " + id + " = ?1"},
            {&drop_gone_, soft ? "" : "UPDATE " + gone_ + " SET syncline_base = NULL WHERE id = ?1"},
            {&bury_, into + marks + (soft ? ", ?6" : "") + update},
            {&find_gone_, soft ? "" : gone + " WHERE id = ?1"},
            {&put_gone_, soft ? "" : "INSERT OR REPLACE INTO " + gone_ + " VALUES(?1, ?2, ?3, ?4, ?5)"},
            {&erase_gone_, soft ? "" : "DELETE FROM " + gone_ + " WHERE id = ?1"},
            {&changed_, outside_ != outside_changes::collected ? "" : "SELECT 1 FROM " + changes_ + " WHERE id = ?1"},
            {&settle_, outside_ != outside_changes::collected ? "" : "DELETE FROM " + changes_ + " WHERE id = ?1"},
        };
        for (auto& [to, sql] : all) {
            if (sql.empty()) { continue; }
            auto made = prepare(sql);
            if (!made) { return made.error(); }
            *to = std::move(*made);
        }
        scan_sql_ =
            "SELECT * FROM (" + live + (soft ? "" : " UNION ALL " + gone) + ") ORDER BY CAST(" + id + " AS BLOB)";
        return {};
    }
    /// After columns were added: what is in the extra column goes where it now has a place.
    [[nodiscard]] status spread() const {
        std::vector<bytes> ids;
        {
            auto s = prepare("SELECT " + detail::quoted(id_) + " FROM " + table_ +
                             " WHERE syncline_meta IS NOT NULL AND syncline_extra IS NOT NULL");
            if (!s) { return s.error(); }
            int rc = SQLITE_ROW;
            while ((rc = sqlite3_step(s->get())) == SQLITE_ROW) { ids.push_back(to_bytes(blob(s->get(), 0))); }
            if (rc != SQLITE_DONE) { return fail("migrate"); }
        }
        for (bytes const& id : ids) {
            auto h = find(id);
            if (!h) { return h.error(); }
            if (!*h) { continue; }
            if (auto ok = put(id, **h, nullptr); !ok && ok.error() != errc::contended) { return ok; }
        }
        return {};
    }

    // --- rows

    /// Of a row that a statement of the program's made.
    [[nodiscard]] static bool is_foreign(sqlite3_stmt* q) noexcept {
        return sqlite3_column_type(q, meta_at()) == SQLITE_NULL;
    }
    [[nodiscard]] status allowed() const {
        if (outside_ != outside_changes::refused) { return {}; }
        return failure{errc::corrupt, "a row that another has made"};
    }
    [[nodiscard]] status writable(bytes_view id) const {
        if (auto ok = in_transaction(); !ok) { return ok; }
        if (changed_.get() == nullptr) { return {}; }
        detail::sqlite_reset const later{changed_.get()};
        if (!bind_id(changed_.get(), id)) { return fail("bind"); }
        int const rc = sqlite3_step(changed_.get());
        if (rc == SQLITE_ROW) { return failure{errc::contended, "a change from outside waits to be taken"}; }
        return rc == SQLITE_DONE ? status{} : fail("changes");
    }
    /// What our own triggers noted of what we did.
    [[nodiscard]] status settle(bytes_view id) const {
        return settle_.get() == nullptr ? status{} : run_id(settle_, id);
    }

    /// The row's version and marks; its fields are elsewhere. Of a clean row that is all, of others an array of whether
    /// mutations wait, the confirmed version and the row.
    [[nodiscard]] static bytes meta_of(held_record const& h) {
        row r = h.visible;
        if (!r.fields.empty()) { r.fields = {std::byte{0xA0}}; }
        bytes out;
        cbor_writer w{out};
        if (h.pending || h.confirmed != r.version) {
            w.array(3);
            w.boolean(h.pending);
            w.unsigned_integer(h.confirmed);
        }
        encode_row(w, r);
        return out;
    }
    [[nodiscard]] static result<held_record> parse_meta(bytes_view raw) {
        held_record h;
        cbor_reader head{raw};
        std::size_t const parts = head.array();
        cbor_reader in{raw};
        if (parts == 3) {
            (void)in.array();
            h.pending = in.boolean();
            h.confirmed = in.unsigned_integer();
        }
        h.visible = decode_row(in);
        if (parts != 3) { h.confirmed = h.visible.version; }
        if (!in.finish()) { return failure{errc::corrupt, "a row's version"}; }
        return h;
    }
    /// With the id: a row that was given another one is nobody's record.
    [[nodiscard]] static std::int64_t hash_of(bytes_view id, bytes_view meta, bytes_view fields) {
        return static_cast<std::int64_t>(xxh3_64(fields, xxh3_64(meta, xxh3_64(id))));
    }

    /// Whether a column of the kind gives the item back as it is; binds it then.
    [[nodiscard]] static bool bind_item(sqlite3_stmt* q, int at, detail::column_kind kind, bytes_view item, bool& ok) {
        cbor_reader in{item};
        switch (kind) {
            case detail::column_kind::integer: {
                std::int64_t const n = in.integer();
                if (!in.finish()) { return false; }
                ok = sqlite3_bind_int64(q, at, n) == SQLITE_OK && ok;
                return true;
            }
            case detail::column_kind::boolean: {
                bool const b = in.boolean();
                if (!in.finish()) { return false; }
                ok = sqlite3_bind_int(q, at, b ? 1 : 0) == SQLITE_OK && ok;
                return true;
            }
            case detail::column_kind::real: {
                double const d = in.floating();
                if (!in.finish() || d != d || (d == 0 && std::signbit(d))) { return false; }
                ok = sqlite3_bind_double(q, at, d) == SQLITE_OK && ok;
                return true;
            }
            case detail::column_kind::text: {
                std::string_view const t = in.text();
                if (!in.finish()) { return false; }
                ok = bind_text(q, at, t) && ok;
                return true;
            }
            case detail::column_kind::blob: {
                bytes_view const b = in.byte_string();
                if (!in.finish()) { return false; }
                ok = bind(q, at, b) && ok;
                return true;
            }
        }
        return false;
    }
    [[nodiscard]] static bool read_item(sqlite3_stmt* q, int at, detail::column_kind kind, bytes& out) {
        cbor_writer w{out};
        switch (sqlite3_column_type(q, at)) {
            case SQLITE_INTEGER: {
                std::int64_t const n = sqlite3_column_int64(q, at);
                if (kind == detail::column_kind::boolean && (n == 0 || n == 1)) {
                    w.boolean(n == 1);
                } else {
                    w.integer(n);
                }
                return true;
            }
            case SQLITE_FLOAT: w.floating(sqlite3_column_double(q, at)); return true;
            case SQLITE_TEXT: {
                std::string_view const t = as_text(blob(q, at));
                if (!valid_utf8(t)) { return false; }
                w.text(t);
                return true;
            }
            case SQLITE_BLOB: w.byte_string(blob(q, at)); return true;
            default: return true;
        }
    }

    /// The canonical fields in a row of a statement: columns, and the extra ones where a column has none.
    [[nodiscard]] result<bytes> fields_in(sqlite3_stmt* q) const {
        bytes_view const extra = blob(q, extra_at());
        if (!extra.empty() && !validate_fields(extra)) { return failure{errc::corrupt, "extra fields"}; }
        cbor_map_cursor rest{extra};
        bool more = !extra.empty() && rest.next();
        bytes body;
        cbor_writer w{body};
        std::size_t count = 0;
        std::size_t i = 0;
        bytes item;
        while (more || i < columns_.size()) {
            auto const order = !more                  ? std::strong_ordering::greater
                               : i == columns_.size() ? std::strong_ordering::less
                                                      : compare_keys(rest.key(), columns_[i].field);
            item.clear();
            if (order >= 0 && !read_item(q, field_at(i), columns_[i].kind, item)) {
                return failure{errc::corrupt, "a column's text is not UTF-8"};
            }
            bool const of_column = order > 0 || (order == 0 && !item.empty());
            if (!of_column || !item.empty()) {
                w.text(of_column ? std::string_view{columns_[i].field} : rest.key());
                w.raw(of_column ? bytes_view{item} : rest.value());
                ++count;
            }
            if (order <= 0) { more = rest.next(); }
            if (order >= 0) { ++i; }
        }
        bytes whole;
        cbor_writer{whole}.map(count);
        append(whole, body);
        return whole;
    }
    [[nodiscard]] result<held_record> read(sqlite3_stmt* q) const {
        auto h = parse_meta(blob(q, meta_at()));
        if (!h) { return h.error(); }
        if (!h->visible.fields.empty()) {
            auto fields = fields_in(q);
            if (!fields) { return fields.error(); }
            h->visible.fields = std::move(*fields);
        }
        if (outside_ == outside_changes::refused &&
            sqlite3_column_int64(q, hash_at()) != hash_of(blob(q, 0), blob(q, meta_at()), h->visible.fields)) {
            return failure{errc::corrupt, "a row that another has changed"};
        }
        return h;
    }

    [[nodiscard]] bool bind_own(sqlite3_stmt* q, bytes_view id, bytes_view meta, bytes_view base, row const& r) const {
        bool ok = bind_id(q, id) && bind(q, 2, meta);
        ok = (base.empty() ? sqlite3_bind_null(q, 4) == SQLITE_OK : bind(q, 4, base)) && ok;
        bool const hashed = outside_ == outside_changes::refused;
        ok = (hashed ? sqlite3_bind_int64(q, 5, hash_of(id, meta, r.fields)) : sqlite3_bind_null(q, 5)) == SQLITE_OK &&
             ok;
        if (deleted_at_.empty()) { return ok; }
        auto const when = static_cast<std::int64_t>(r.floor.stamp.raw >> 16);
        return (r.deleted ? sqlite3_bind_int64(q, 6, when) : sqlite3_bind_null(q, 6)) == SQLITE_OK && ok;
    }
    [[nodiscard]] static bool bind_extra(sqlite3_stmt* q, bytes_view extra) noexcept {
        return extra.empty() ? sqlite3_bind_null(q, 3) == SQLITE_OK : bind(q, 3, extra);
    }
    [[nodiscard]] status write(bytes_view id, held_record const& h, bytes_view base) const {
        row const& r = h.visible;
        bytes const meta = meta_of(h);
        // A tombstone leaves the columns as they were: the program may still want to see them.
        sqlite3_stmt* const q = r.deleted && r.fields.empty() ? bury_.get() : put_.get();
        detail::sqlite_reset const later{q};
        bool ok = bind_own(q, id, meta, base, r);
        bytes body;
        std::size_t count = 0;
        if (q == put_.get()) {
            cbor_writer w{body};
            cbor_map_cursor at{r.fields};
            std::size_t i = 0;
            int const first = 7;
            auto const skip_to = [&](std::size_t end) {
                for (; i < end; ++i) { ok = sqlite3_bind_null(q, first + static_cast<int>(i)) == SQLITE_OK && ok; }
            };
            while (!r.fields.empty() && at.next()) {
                std::size_t end = i;
                while (end < columns_.size() && compare_keys(columns_[end].field, at.key()) < 0) { ++end; }
                skip_to(end);
                bool const has_column = i < columns_.size() && columns_[i].field == at.key();
                if (has_column && bind_item(q, first + static_cast<int>(i), columns_[i].kind, at.value(), ok)) {
                    ++i;
                    continue;
                }
                if (has_column) { skip_to(i + 1); }
                w.text(at.key());
                w.raw(at.value());
                ++count;
            }
            skip_to(columns_.size());
        }
        bytes extra;
        if (count != 0) {
            cbor_writer{extra}.map(count);
            append(extra, body);
        }
        ok = bind_extra(q, extra) && ok;
        return ok ? finish(q) : fail("bind");
    }
    [[nodiscard]] status write_gone(bytes_view id, held_record const& h, bytes_view base) const {
        bytes const meta = meta_of(h);
        sqlite3_stmt* const q = put_gone_.get();
        detail::sqlite_reset const later{q};
        bool const ok = bind_own(q, id, meta, base, h.visible) && bind_extra(q, h.visible.fields);
        return ok ? finish(q) : fail("bind");
    }

    // --- changes from outside

    /// What fails for one change fails for each.
    [[nodiscard]] static bool of_storage(errc e) noexcept {
        switch (e) {
            case errc::storage_full:
            case errc::storage_io:
            case errc::busy:
            case errc::contended:
            case errc::transaction_lost:
            case errc::poisoned:
            case errc::read_only: return true;
            default: return false;
        }
    }
    /// As it is in the table: one of another type than a record's finds its row by that only.
    struct changed_id {
        detail::sqlite_value value;
        bytes name;
        bool of_record;
    };
    [[nodiscard]] result<std::vector<changed_id>> changed_ids(std::size_t most) const {
        std::vector<changed_id> ids;
        auto s = prepare("SELECT id FROM " + changes_);
        if (!s) { return s.error(); }
        while (ids.size() < most) {
            int const rc = sqlite3_step(s->get());
            if (rc == SQLITE_DONE) { break; }
            if (rc != SQLITE_ROW) { return fail("changes").error(); }
            int const type = sqlite3_column_type(s->get(), 0);
            detail::sqlite_value value{sqlite3_value_dup(sqlite3_column_value(s->get(), 0))};
            if (value == nullptr) { return failure{errc::storage_full, "no memory for an id", SQLITE_NOMEM}; }
            bytes name = to_bytes(blob(s->get(), 0));
            bool const named = valid(collection_, name) && type == (is_text(name) ? SQLITE_TEXT : SQLITE_BLOB);
            ids.push_back({std::move(value), std::move(name), named});
        }
        return ids;
    }
    [[nodiscard]] status run_value(detail::sqlite_statement const& s, sqlite3_value* id) const {
        detail::sqlite_reset const later{s.get()};
        return sqlite3_bind_value(s.get(), 1, id) == SQLITE_OK ? finish(s.get()) : fail("bind");
    }
    /// Puts a record back, and says in `c` what it had become; false: it was nothing before, and is nothing now.
    [[nodiscard]] result<bool> undo(changed_id const& of, outside_change& c) const {
        sqlite3_value* const key = of.value.get();
        bool soft_deleted = false;
        {
            detail::sqlite_reset const later{find_.get()};
            if (sqlite3_bind_value(find_.get(), 1, key) != SQLITE_OK) { return fail("bind").error(); }
            int const rc = sqlite3_step(find_.get());
            if (rc == SQLITE_ROW) {
                if (!of.of_record) { return failure{errc::invalid, "no id of a record"}; }
                auto fields = fields_in(find_.get());
                if (!fields) { return fields.error(); }
                c.fields = std::move(*fields);
                soft_deleted = !deleted_at_.empty() && sqlite3_column_type(find_.get(), deleted_place()) != SQLITE_NULL;
            } else if (rc != SQLITE_DONE) {
                return fail("find").error();
            }
        }
        bool was = false;
        {
            auto s = prepare("SELECT syncline_meta FROM " + changes_ + " WHERE id = ?1");
            if (!s) { return s.error(); }
            if (sqlite3_bind_value(s->get(), 1, key) != SQLITE_OK) { return fail("bind").error(); }
            if (sqlite3_step(s->get()) != SQLITE_ROW) { return fail("changes").error(); }
            was = sqlite3_column_type(s->get(), 0) != SQLITE_NULL;
        }
        bool const happened = was || c.fields;
        if (happened) {
            std::string const id = detail::quoted(id_);
            std::string sql;
            if (was && !c.fields) {
                std::string into;
                for (std::string const& w : wanted_columns()) { into += ", " + detail::quoted(w); }
                sql = "INSERT INTO " + table_ + '(' + id + into + ") SELECT id" + into + " FROM " + changes_ +
                      " WHERE id = ?1";
            } else {
                // A new row that somebody made of a record's, by another id or as a copy, brings that record's marks along.
                std::string sets;
                if (was) {
                    for (std::string const& w : wanted_columns()) {
                        sets += (sets.empty() ? "" : ", ") + detail::quoted(w) + " = (SELECT " + detail::quoted(w) +
                                " FROM " + changes_ + " WHERE id = ?1)";
                    }
                } else {
                    for (char const* w : own_columns) {
                        sets += (sets.empty() ? "" : ", ") + std::string(w) + " = NULL";
                    }
                }
                sql = "UPDATE " + table_ + " SET " + sets + " WHERE " + id + " = ?1";
            }
            auto s = prepare(sql);
            if (!s) { return s.error(); }
            if (auto ok = run_value(*s, key); !ok) { return ok.error(); }
        }
        if (soft_deleted) { c.fields.reset(); }
        if (auto ok = run_value(settle_, key); !ok) { return ok.error(); }
        return happened;
    }

    sqlite3* db_;
    std::string collection_;
    std::string name_;
    std::string id_;
    std::string deleted_at_;
    outside_changes outside_;
    std::vector<detail::table_column> columns_;  // in canonical order
    std::string table_;
    std::string changes_;
    std::string gone_;
    std::string scan_sql_;
    detail::sqlite_statement find_;
    detail::sqlite_statement put_;
    detail::sqlite_statement erase_;
    detail::sqlite_statement drop_;
    detail::sqlite_statement drop_gone_;
    detail::sqlite_statement bury_;
    detail::sqlite_statement find_gone_;
    detail::sqlite_statement put_gone_;
    detail::sqlite_statement erase_gone_;
    detail::sqlite_statement changed_;
    detail::sqlite_statement settle_;
};

/// A record store of SQL tables, one a collection; collections without one are in the storage, as by default.
///
/// The storage is a `sqlite_storage` on the same connection as the tables. The tables outlive it.
class sqlite_records {
public:
    sqlite_records() = default;
    explicit sqlite_records(std::vector<sqlite_table const*> tables) : tables_(std::move(tables)) {}

    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<held_record>> find(Tx& tx, record_key const& k) const {
        sqlite_table const* const t = table(k.collection);
        return t != nullptr ? t->find(k.id) : others_.find(tx, k);
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<row>> find_confirmed(Tx& tx, record_key const& k) const {
        sqlite_table const* const t = table(k.collection);
        return t != nullptr ? t->find_confirmed(k.id) : others_.find_confirmed(tx, k);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status put(Tx& tx, record_key const& k, held_record const& h, row const* confirmed) const {
        sqlite_table const* const t = table(k.collection);
        return t != nullptr ? t->put(k.id, h, confirmed) : others_.put(tx, k, h, confirmed);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status drop_confirmed(Tx& tx, record_key const& k) const {
        sqlite_table const* const t = table(k.collection);
        return t != nullptr ? t->drop_confirmed(k.id) : others_.drop_confirmed(tx, k);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status erase(Tx& tx, record_key const& k) const {
        sqlite_table const* const t = table(k.collection);
        return t != nullptr ? t->erase(k.id) : others_.erase(tx, k);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, std::string_view collection, held_visitor visit) const {
        sqlite_table const* const t = table(collection);
        return t != nullptr ? t->scan(visit) : others_.scan(tx, collection, visit);
    }
    /// A table is read whole, in whatever part its collection lies in the range.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_range(Tx& tx, bytes_view from, bytes_view to, held_visitor visit) const {
        std::vector<std::pair<bytes, sqlite_table const*>> parts;
        for (sqlite_table const* t : tables_) {
            bytes first;
            append_key(first, t->collection_name(), {});
            parts.emplace_back(std::move(first), t);
        }
        std::sort(parts.begin(), parts.end(),
                  [](auto const& a, auto const& b) { return compare(a.first, b.first) < 0; });
        bytes at = to_bytes(from);
        bool on = true;
        auto const see = [&](record_key const& k, held_record& h) { return on = visit(k, h); };
        for (auto const& [first, t] : parts) {
            bytes last = prefix_end(first);
            if (compare(last, at) <= 0 || compare(to, first) <= 0) { continue; }
            if (compare(at, first) < 0) {
                auto ok = others_.scan_range(tx, at, first, see);
                if (!ok || !on) { return ok; }
            }
            auto ok = t->scan([&](record_key const& k, held_record& h) {
                bytes const name = to_bytes(k);
                if (compare(name, at) < 0) { return true; }
                return compare(name, to) < 0 && see(k, h);
            });
            if (!ok || !on) { return ok; }
            at = std::move(last);
        }
        return compare(at, to) < 0 ? others_.scan_range(tx, at, to, see) : status{};
    }

private:
    [[nodiscard]] sqlite_table const* table(std::string_view collection) const noexcept {
        for (sqlite_table const* t : tables_) {
            if (t->collection_name() == collection) { return t; }
        }
        return nullptr;
    }
    std::vector<sqlite_table const*> tables_;
    stored_records others_;
};

/// Makes mutations of what others have done to the table's rows, up to `most` of them, in `tx`, which is a transaction
/// of the replica's storage on the same connection. Called before the replica writes or exchanges: until then a write of
/// such a record is `contended`.
///
/// What the replica can't write (the checks refuse it, a record is too large, a text is no UTF-8, an id is none) is told
/// with its error, stays as others have made it, and keeps nothing else from being taken. Mend the row by SQL: while it
/// waits, an exchange that brings the same record anew fails too. On an error of the call roll back: all stay.
template <class Replica, storage_transaction Tx>
[[nodiscard]] result<sqlite_table::outside_report> take_outside_changes(sqlite_table const& table, Replica const& self,
                                                                        Tx& tx, instant now, std::size_t most = 1'000) {
    auto const take = [&](sqlite_table::outside_change const& c) -> status {
        record_key const k{table.collection_name(), bytes_view{c.id}};
        auto const done = c.fields ? self.put(tx, k, *c.fields, now) : self.erase(tx, k, now);
        if (done || (!c.fields && done.error() == errc::not_found)) { return {}; }
        return done.error();
    };
    return table.each_outside_change(take, most);
}

static_assert(record_store<sqlite_records, sqlite_storage>);

}  // namespace syncline::inline SYNCLINE_ABI
