// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Constraints across records, decided at the authority: values that one record alone may hold, and what becomes of
/// records whose parent is deleted.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/record.hpp>
#include <syncline/model/schema.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// No two records of a collection have the same values in these fields: a natural key, a seat that is taken once.
///
/// Values are the same when their canonical bytes are. A record that lacks one of the fields, or has null there, is
/// not bound.
struct unique_constraint {
    std::string name;  ///< 1 to 64 of A-Z a-z 0-9 _ . -, unique in its table; it comes back with a refusal
    std::string collection;
    std::vector<std::string> fields;
    /// Whether a record with these fields is bound; null: each is. "Of the bookings that are not cancelled." Pure.
    bool (*binds)(bytes_view fields) = nullptr;
    bool tells_holder = true;  ///< whoever is refused is told which record holds the values; false: only that one does
};

/// What becomes of a record when the one that it refers to is deleted.
enum class parent_deletion : std::uint8_t {
    refused,   ///< the parent stays while such a record is there, unless that one is deleted by the same deletion
    cascades,  ///< the record is deleted too
    orphans,   ///< its field is unset
};

/// A field whose value, where it is there and not null, is the id (a text or a byte string) of a record that must live.
struct reference_constraint {
    std::string name;  ///< as a unique constraint's; the names of a table's constraints all differ
    std::string collection;
    std::string field;
    std::string parent;  ///< the collection that it refers to; may be its own
    parent_deletion deletion = parent_deletion::refused;
};

/// The constraints of a program. Field names are those of the newest schema version.
struct constraint_table {
    std::vector<unique_constraint> uniques{};
    std::vector<reference_constraint> references{};
    std::size_t reach_max = 1'000;  ///< records that one deletion deletes or orphans beside its own; more refuse it
    std::uint64_t version = 1;      ///< raise it when what a `binds` answers changes: functions can't be compared
};

/// Why a constraint refuses a change. Values travel as words in a verdict's text.
enum class refusal_kind : std::uint8_t {
    taken,    ///< another record has these values; `errc::already_exists`
    missing,  ///< the record that it refers to is not there; `errc::not_found`
    needed,   ///< a record refers to the one that is to be deleted; `errc::rejected`
    reach,    ///< the deletion would take along more records than may be; `errc::limit`
};

/// What a device is told when a constraint refuses what it wrote: which constraint, and which record stands against it.
struct refusal {
    refusal_kind kind = refusal_kind::taken;
    std::string constraint;
    std::optional<record_key> other{};  ///< who holds, lacks or needs; nothing where that is not told
    friend bool operator==(refusal const&, refusal const&) = default;
};

/// The reason of the verdict that tells a refusal.
[[nodiscard]] constexpr errc code_of(refusal_kind k) noexcept {
    switch (k) {
        case refusal_kind::taken: return errc::already_exists;
        case refusal_kind::missing: return errc::not_found;
        case refusal_kind::needed: return errc::rejected;
        case refusal_kind::reach: return errc::limit;
    }
    return errc::rejected;
}

namespace detail {

inline constexpr std::array<std::string_view, 4> refusal_words{"taken by", "needs", "needed by", "reaches too far"};

[[nodiscard]] constexpr bool plain_character(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
}
inline void append_escaped(std::string& out, bytes_view raw) {
    constexpr std::string_view digits = "0123456789abcdef";
    for (std::byte const b : raw) {
        auto const n = std::to_integer<unsigned char>(b);
        char const c = static_cast<char>(n);
        if (n < 128 && plain_character(c)) {
            out += c;
        } else {
            out += '%';
            out += digits[n >> 4U];
            out += digits[n & 15U];
        }
    }
}
/// The bytes that `append_escaped` wrote; nothing for anything else.
[[nodiscard]] inline std::optional<bytes> unescaped(std::string_view text) {
    auto const digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
    bytes out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            if (!plain_character(text[i])) { return std::nullopt; }
            out.push_back(static_cast<std::byte>(text[i]));
            continue;
        }
        if (text.size() - i < 3 || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0) { return std::nullopt; }
        out.push_back(static_cast<std::byte>(digit(text[i + 1]) * 16 + digit(text[i + 2])));
        i += 2;
    }
    return out;
}

/// A field of a canonical map; nothing where it is missing or null.
[[nodiscard]] inline std::optional<bytes_view> filled(bytes_view fields, std::string_view name) {
    if (fields.empty()) { return std::nullopt; }
    auto const found = map_find(fields, name);
    if (!found || !*found || cbor_reader{**found}.peek() == cbor_type::null) { return std::nullopt; }
    return **found;
}
[[nodiscard]] inline bool living(std::optional<row> const& r) noexcept { return r && !r->deleted; }

/// The id in a reference's field; empty where it is neither a text nor a byte string.
[[nodiscard]] inline bytes referred_id(bytes_view item) {
    cbor_reader in{item};
    switch (in.peek()) {
        case cbor_type::text: return to_bytes(as_bytes(in.text()));
        case cbor_type::byte_string: return to_bytes(in.byte_string());
        default: return {};
    }
}

}  // namespace detail

/// A refusal as it stands in a verdict's text: "one_a_seat: taken by bookings/b7". Bytes that are no letter, digit, '_',
/// '.' or '-' are escaped as '%' and two digits.
[[nodiscard]] inline std::string to_text(refusal const& r) {
    std::string out = r.constraint + ": " + std::string{detail::refusal_words[static_cast<std::size_t>(r.kind)]};
    if (r.other) {
        out += ' ';
        detail::append_escaped(out, as_bytes(r.other->collection));
        out += '/';
        detail::append_escaped(out, r.other->id);
    }
    return out;
}

/// The refusal that a verdict's text tells; nothing where it tells another thing.
[[nodiscard]] inline std::optional<refusal> refusal_from(std::string_view text) {
    std::size_t const colon = text.find(": ");
    if (colon == std::string_view::npos || colon == 0) { return std::nullopt; }
    refusal r;
    r.constraint = std::string{text.substr(0, colon)};
    if (!std::all_of(r.constraint.begin(), r.constraint.end(), detail::plain_character)) { return std::nullopt; }
    text.remove_prefix(colon + 2);
    for (std::size_t k = 0; k != detail::refusal_words.size(); ++k) {
        std::string_view const words = detail::refusal_words[k];
        if (text.substr(0, words.size()) != words) { continue; }
        std::string_view rest = text.substr(words.size());
        r.kind = static_cast<refusal_kind>(k);
        if (rest.empty()) { return r; }
        std::size_t const slash = rest.find('/');
        if (rest[0] != ' ' || slash == std::string_view::npos) { continue; }
        auto const collection = detail::unescaped(rest.substr(1, slash - 1));
        auto const id = detail::unescaped(rest.substr(slash + 1));
        if (!collection || !id) { return std::nullopt; }
        r.other = record_key{as_text(*collection), *id};
        if (!valid(*r.other)) { return std::nullopt; }
        return r;
    }
    return std::nullopt;
}

/// Whether a table can be kept: names as they should be and all different, fields and collections named, no reference
/// and no field of a constraint twice.
[[nodiscard]] inline bool valid(constraint_table const& table) {
    std::vector<std::string_view> names;
    auto const fits = [&](std::string const& name, std::string const& collection) {
        bool const fresh = std::find(names.begin(), names.end(), name) == names.end();
        names.push_back(name);
        return fresh && !name.empty() && name.size() <= 64 &&
               std::all_of(name.begin(), name.end(), detail::plain_character) && !collection.empty() &&
               collection.size() <= collection_bytes_max && valid_utf8(collection);
    };
    auto const is_field = [](std::string const& f) {
        return !f.empty() && f.size() <= field_name_bytes_max && valid_utf8(f);
    };
    for (unique_constraint const& c : table.uniques) {
        if (!fits(c.name, c.collection) || c.fields.empty()) { return false; }
        for (auto f = c.fields.begin(); f != c.fields.end(); ++f) {
            if (!is_field(*f) || std::find(f + 1, c.fields.end(), *f) != c.fields.end()) { return false; }
        }
    }
    for (reference_constraint const& c : table.references) {
        if (!fits(c.name, c.collection) || !is_field(c.field) || !valid(record_key{c.parent, "1"})) { return false; }
    }
    return true;
}

/// An id made of a natural key, the same on every device: who creates the same thing offline creates the same record,
/// and the two creations merge field by field, where a unique constraint would refuse the second.
///
/// `fields` is a canonical map that has all of `names`, in the order that is always used. 16 bytes; empty where one of
/// the fields is missing or null. What has such an id must not change the fields it is made of.
[[nodiscard]] inline bytes natural_id(bytes_view fields, std::span<std::string_view const> names) {
    bytes said;
    cbor_writer w{said};
    w.array(names.size());
    for (std::string_view const name : names) {
        auto const item = detail::filled(fields, name);
        if (!item) { return {}; }
        w.raw(*item);
    }
    auto const digest = sha256(said);
    return to_bytes(bytes_view{digest}.first(16));
}

/// A record and what becomes of it.
struct record_effect {
    record_key record;
    std::optional<row> before{};
    row after{};
};

/// The reference of `after` that a change makes and that nobody lives behind; nothing where all is well. `lives` says of
/// a record whether it does. The same on a device and at the authority. Errors: those of `lives`, and
/// `errc::type_mismatch` for a value that can't be an id.
[[nodiscard]] inline result<std::optional<refusal>> missing_reference(
    constraint_table const& table, record_key const& record, std::optional<row> const& before, row const& after,
    function_ref<result<bool>(record_key const&)> lives) {
    if (after.deleted) { return std::optional<refusal>{}; }
    for (reference_constraint const& c : table.references) {
        if (c.collection != record.collection) { continue; }
        auto const now = detail::filled(after.fields, c.field);
        if (!now) { continue; }
        auto const was = detail::living(before) ? detail::filled(before->fields, c.field) : std::nullopt;
        if (was && equal(*was, *now)) { continue; }
        record_key const parent{c.parent, detail::referred_id(*now)};
        if (!valid(parent)) { return failure{errc::type_mismatch, "a reference that is no id"}; }
        if (parent == record) { continue; }
        auto const there = lives(parent);
        if (!there) { return there.error(); }
        if (!*there) { return std::optional<refusal>{refusal{refusal_kind::missing, c.name, parent}}; }
    }
    return std::optional<refusal>{};
}

/// The records that a deletion takes along.
struct deletion_reach {
    struct orphan {
        record_key record;
        row state;
        std::vector<std::string> fields;  ///< to unset, in canonical key order
    };
    std::vector<record_effect> deleted{};  ///< a parent stands before its children; `after` is not filled in
    std::vector<orphan> orphaned{};
    std::optional<refusal> refused{};  ///< then the deletion may not be
};

/// The index of an authority's constraints, in its storage: what is unique, and who refers to whom.
///
/// Keys: "ax" and a digest of constraint and values -> the record that holds them; "ay", a digest of constraint and
/// parent, the child's key -> nothing; "ac" -> the table's fingerprint and the head at which the index holds. It changes
/// in the transaction of the rows. An index that is not of this table, or not of this head (an authority without
/// constraints has decided since), is found out and must be built before anything is decided.
///
/// Holds pointers to the table and the schemas, which outlive it. Errors: the storage's, and `errc::corrupt`.
class constraint_book {
public:
    constraint_book(constraint_table const& table, schema_table const& schemas)
        : table_(&table), print_(fingerprint(table, schemas)), valid_(syncline::valid(table)) {}

    [[nodiscard]] constraint_table const& table() const noexcept { return *table_; }

    /// `errc::busy` when the index has to be built first, `errc::invalid` for a table that can't be kept. Cost: one get.
    template <storage_transaction Tx>
    [[nodiscard]] status current(Tx& tx, position head) const {
        if (!valid_) { return failure{errc::invalid, "constraints that can't be kept"}; }
        auto state = read(tx);
        if (!state) { return state.error(); }
        bool const holds =
            *state ? (*state)->print == print_ && (*state)->head == head && !(*state)->building : head == 0;
        return holds ? status{} : status{failure{errc::busy, "the constraints' index is not of these rows; build it"}};
    }
    /// The index holds as of `head`.
    template <storage_transaction Tx>
    [[nodiscard]] status mark(Tx& tx, position head) const {
        return write(tx, {print_, head, false, {}});
    }

    /// Why these effects may not be: a value that another record holds, a reference to nothing. `lives` answers for
    /// records that are not among the effects. Errors as `missing_reference`. Cost: a get for each value that is new to
    /// its record and each reference.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<refusal>> refuses(Tx& tx, std::span<record_effect const> effects,
                                                         function_ref<result<bool>(record_key const&)> lives,
                                                         std::size_t* which = nullptr) const {
        std::vector<bytes> claimed;
        bytes holder;
        auto const given_up = [&](unique_constraint const& c, record_key const& by, bytes const& values) {
            return std::any_of(effects.begin(), effects.end(), [&](record_effect const& e) {
                return e.record == by && value_key(c, e.after) != values;
            });
        };
        for (record_effect const& e : effects) {
            if (which != nullptr) { *which = static_cast<std::size_t>(&e - effects.data()); }
            auto const missing = missing_reference(*table_, e.record, e.before, e.after, lives);
            if (!missing || *missing) { return missing; }
            for (unique_constraint const& c : table_->uniques) {
                if (c.collection != e.record.collection) { continue; }
                bytes const now = value_key(c, e.after);
                if (now.empty() || (e.before && value_key(c, *e.before) == now)) { continue; }
                auto const held = tx.get(now, holder);
                if (!held) { return held.error(); }
                if (*held) {
                    auto other = record_key_from(holder);
                    if (!other) { return failure{errc::corrupt, "constraints' index"}; }
                    if (*other == e.record) { continue; }
                    if (!given_up(c, *other, now)) {
                        refusal r{refusal_kind::taken, c.name, {}};
                        if (c.tells_holder) { r.other = std::move(*other); }
                        return std::optional<refusal>{std::move(r)};
                    }
                }
                if (std::find(claimed.begin(), claimed.end(), now) != claimed.end()) {
                    return std::optional<refusal>{refusal{refusal_kind::taken, c.name, {}}};
                }
                claimed.push_back(now);
            }
        }
        return std::optional<refusal>{};
    }

    /// The index after an effect that was not refused. Cost: for each constraint whose values change a get, an erase
    /// and a put; for each reference that changes an erase and a put.
    template <storage_transaction Tx>
    [[nodiscard]] status enter(Tx& tx, record_effect const& e) const {
        return enter(tx, e.record, e.before, e.after);
    }

    /// Before effects that come together are entered: takes the values that they give up out of the index, so that another of
    /// them may have them. Cost: a get and an erase for each.
    template <storage_transaction Tx>
    [[nodiscard]] status release(Tx& tx, std::span<record_effect const> effects) const {
        bytes holder;
        for (record_effect const& e : effects) {
            for (unique_constraint const& c : table_->uniques) {
                if (effects.size() == 1 || c.collection != e.record.collection || !e.before) { continue; }
                bytes const was = value_key(c, *e.before);
                if (was.empty() || was == value_key(c, e.after)) { continue; }
                auto const held = tx.get(was, holder);
                if (!held) { return held.error(); }
                if (!*held || holder != to_bytes(e.record)) { continue; }
                if (auto ok = tx.erase(was); !ok) { return ok; }
            }
        }
        return {};
    }

    /// What the deletion of a record takes along: breadth first along the references, as declared, at most as far as
    /// `reach_max`. `find` reads a row, after the effects `made` that are not entered yet. Of who needs it the records of
    /// `later`, in order, hold nothing up: parts of the same group are still to change them. Cost: a get and a scan of each
    /// reference to it for each record in reach.
    template <storage_transaction Tx>
    [[nodiscard]] result<deletion_reach> reach_of(Tx& tx, record_key const& record,
                                                  function_ref<result<std::optional<row>>(record_key const&)> find,
                                                  std::span<record_effect const> made = {},
                                                  std::span<bytes const> later = {}) const {
        deletion_reach out;
        auto const refers_no_more = [&](reference_constraint const& c, bytes const& child, bytes_view entry) {
            return std::any_of(made.begin(), made.end(), [&](record_effect const& e) {
                return to_bytes(e.record) == child && !equal(reference_key(c, e.record, e.after), entry);
            });
        };
        struct child {
            record_key record;
            std::string constraint;
        };
        std::map<bytes, child> needing;
        std::map<bytes, std::vector<std::string>> orphans;
        std::vector<bytes> doomed{to_bytes(record)};  // in the order of reach
        std::map<bytes, std::size_t> known{{doomed[0], 0}};
        for (std::size_t i = 0; i != doomed.size(); ++i) {
            auto const parent = record_key_from(doomed[i]);
            if (!parent) { return failure{errc::corrupt, "constraints' index"}; }
            for (reference_constraint const& c : table_->references) {
                if (c.parent != parent->collection) { continue; }
                bytes const prefix = parent_prefix(c, *parent);
                bool beyond = false;
                auto const ok = scan_prefix(tx, prefix, [&](bytes_view k, bytes_view) {
                    bytes const name = to_bytes(k.subspan(prefix.size()));
                    if (known.contains(name) || refers_no_more(c, name, k)) { return true; }
                    switch (c.deletion) {
                        case parent_deletion::refused:
                            if (std::binary_search(later.begin(), later.end(), name)) { break; }
                            // With more of them than can be deleted along, one of them stays and refuses.
                            if (auto const key = record_key_from(name)) { needing.emplace(name, child{*key, c.name}); }
                            return needing.size() <= table_->reach_max;
                        case parent_deletion::cascades:
                            known.emplace(name, doomed.size());
                            doomed.push_back(name);
                            break;
                        case parent_deletion::orphans: orphans[name].push_back(c.field); break;
                    }
                    beyond = doomed.size() - 1 + orphans.size() > table_->reach_max;
                    return !beyond;
                });
                if (!ok) { return ok.error(); }
                if (beyond) {
                    // Those that are both orphaned and deleted count once in the end, but twice is bounded too.
                    out.refused = refusal{refusal_kind::reach, c.name, {}};
                    return out;
                }
            }
        }
        for (auto const& [name, c] : needing) {
            if (known.contains(name)) { continue; }
            out.refused = refusal{refusal_kind::needed, c.constraint, c.record};
            return out;
        }
        auto const living = [&](bytes const& name) -> result<record_effect> {
            auto key = record_key_from(name);
            if (!key) { return failure{errc::corrupt, "constraints' index"}; }
            auto state = find(*key);
            if (!state) { return state.error(); }
            if (!detail::living(*state)) { return failure{errc::corrupt, "constraints' index"}; }
            return record_effect{std::move(*key), std::move(*state), {}};
        };
        for (std::size_t i = 1; i < doomed.size(); ++i) {
            auto e = living(doomed[i]);
            if (!e) { return e.error(); }
            out.deleted.push_back(std::move(*e));
        }
        for (auto& [name, fields] : orphans) {
            if (known.contains(name)) { continue; }
            auto e = living(name);
            if (!e) { return e.error(); }
            std::sort(fields.begin(), fields.end(),
                      [](std::string const& a, std::string const& b) { return compare_keys(a, b) < 0; });
            fields.erase(std::unique(fields.begin(), fields.end()), fields.end());
            out.orphaned.push_back({std::move(e->record), std::move(*e->before), std::move(fields)});
        }
        return out;
    }

    /// What a step of building did.
    struct build_report {
        std::size_t rows = 0;  ///< entered
        bool more = false;     ///< the budget ended it: call again
    };
    /// Builds the index for rows that were there before their constraints, a step at a time: the old one is erased, then
    /// the rows are entered in the order of their keys. `visit` hears of what breaks a constraint already: the record, and
    /// what stands against it. It stays as it is: the first in the order of keys holds the values, and the other must
    /// change them or go. `find` reads a row, as of the newest schema version; rows live under `rows` and their keys.
    /// Cost: O(`budget`) storage operations.
    template <storage_transaction Tx>
    [[nodiscard]] result<build_report> build(Tx& tx, position head, std::size_t budget, bytes_view rows,
                                             function_ref<result<std::optional<row>>(record_key const&)> find,
                                             function_ref<void(record_key const&, refusal const&)> visit) const {
        build_report report;
        auto state = read(tx);
        if (!state) { return state.error(); }
        build_state s;
        if (*state && (*state)->print == print_ && (*state)->head == head) {
            s = std::move(**state);
            if (!s.building) { return report; }
        } else {
            s = {print_, head, true, {}};
        }
        if (s.next.empty()) {
            std::vector<bytes> old;
            for (char const kind : {'x', 'y'}) {
                auto const ok = scan_prefix(tx, key(kind), [&](bytes_view k, bytes_view) {
                    if (old.size() < budget) { old.push_back(to_bytes(k)); }
                    return old.size() < budget;
                });
                if (!ok) { return ok.error(); }
            }
            for (bytes const& k : old) {
                if (auto ok = tx.erase(k); !ok) { return ok.error(); }
            }
            report.more = true;
            if (old.size() < budget) { s.next = to_bytes(rows); }
            if (auto ok = write(tx, s); !ok) { return ok.error(); }
            return report;
        }
        std::vector<bytes> found;
        bytes const end = prefix_end(rows);
        auto const ok = tx.scan({s.next, end}, [&](bytes_view k, bytes_view) {
            if (found.size() == budget) {
                report.more = true;
                s.next = to_bytes(k);
                return false;
            }
            found.push_back(to_bytes(k));
            return true;
        });
        if (!ok) { return ok.error(); }
        auto const lives = [&](record_key const& k) -> result<bool> {
            auto r = find(k);
            if (!r) { return r.error(); }
            return detail::living(*r);
        };
        for (bytes const& k : found) {
            auto const record = record_key_from(bytes_view{k}.subspan(rows.size()));
            if (!record) { return failure{errc::corrupt, "authority's row"}; }
            auto state_of = find(*record);
            if (!state_of) { return state_of.error(); }
            if (!detail::living(*state_of)) { continue; }
            record_effect const e{*record, std::nullopt, std::move(**state_of)};
            ++report.rows;
            auto const against = refuses(tx, std::span{&e, 1}, lives);
            if (!against && against.error().code != errc::type_mismatch) { return against.error(); }
            if (against && *against) { visit(*record, **against); }
            if (auto entered = enter(tx, e); !entered) { return entered.error(); }
        }
        s.building = report.more;
        if (auto written = write(tx, s); !written) { return written.error(); }
        return report;
    }

private:
    struct build_state {
        sha256_digest print{};
        position head = 0;
        bool building = false;
        bytes next{};  ///< of a building: the key of the next row; empty while the old index is erased
    };

    [[nodiscard]] static bytes key(char kind) { return {std::byte{'a'}, static_cast<std::byte>(kind)}; }

    [[nodiscard]] static sha256_digest fingerprint(constraint_table const& table, schema_table const& schemas) {
        bytes said;
        cbor_writer w{said};
        w.array(2 + table.uniques.size() + table.references.size());
        w.unsigned_integer(table.version);
        w.unsigned_integer(table.uniques.size());
        for (unique_constraint const& c : table.uniques) {
            w.array(4 + c.fields.size());
            w.text(c.name);
            w.text(c.collection);
            w.unsigned_integer(schemas.of(c.collection).version());
            w.boolean(c.binds != nullptr);
            for (std::string const& f : c.fields) { w.text(f); }
        }
        for (reference_constraint const& c : table.references) {
            w.array(5);
            w.text(c.name);
            w.text(c.collection);
            w.unsigned_integer(schemas.of(c.collection).version());
            w.text(c.field);
            w.text(c.parent);
        }
        return sha256(said);
    }

    /// Where the values of a record stand in the index; empty where it is not bound.
    [[nodiscard]] static bytes value_key(unique_constraint const& c, row const& r) {
        if (r.deleted) { return {}; }
        bytes said;
        cbor_writer w{said};
        w.array(1 + c.fields.size());
        w.text(c.name);
        for (std::string const& f : c.fields) {
            auto const item = detail::filled(r.fields, f);
            if (!item) { return {}; }
            w.raw(*item);
        }
        if (c.binds != nullptr && !c.binds(r.fields)) { return {}; }
        bytes k = key('x');
        append(k, sha256(said));
        return k;
    }
    [[nodiscard]] static bytes parent_prefix(reference_constraint const& c, record_key const& parent) {
        bytes said;
        cbor_writer w{said};
        w.array(2);
        w.text(c.name);
        w.byte_string(to_bytes(parent));
        bytes k = key('y');
        append(k, sha256(said));
        return k;
    }
    /// Where the reference of a record stands in the index; empty where it has none.
    [[nodiscard]] static bytes reference_key(reference_constraint const& c, record_key const& record, row const& r) {
        if (r.deleted) { return {}; }
        auto const item = detail::filled(r.fields, c.field);
        record_key const parent{c.parent, item ? detail::referred_id(*item) : bytes{}};
        if (!valid(parent)) { return {}; }
        bytes k = parent_prefix(c, parent);
        append(k, to_bytes(record));
        return k;
    }

    template <class Tx>
    [[nodiscard]] status enter(Tx& tx, record_key const& record, std::optional<row> const& before,
                               row const& after) const {
        bytes const name = to_bytes(record);
        bytes holder;
        for (unique_constraint const& c : table_->uniques) {
            if (c.collection != record.collection) { continue; }
            bytes const was = before ? value_key(c, *before) : bytes{};
            bytes const now = value_key(c, after);
            if (was == now) { continue; }
            // Rows that were there before their constraint may hold the same values; one of them has the entry.
            if (!was.empty()) {
                auto const held = tx.get(was, holder);
                if (!held) { return held.error(); }
                if (*held && holder == name) {
                    if (auto ok = tx.erase(was); !ok) { return ok; }
                }
            }
            if (!now.empty()) {
                auto const held = tx.get(now, holder);
                if (!held) { return held.error(); }
                if (*held) { continue; }
                if (auto ok = tx.put(now, name); !ok) { return ok; }
            }
        }
        for (reference_constraint const& c : table_->references) {
            if (c.collection != record.collection) { continue; }
            bytes const was = before ? reference_key(c, record, *before) : bytes{};
            bytes const now = reference_key(c, record, after);
            if (was == now) { continue; }
            if (!was.empty()) {
                if (auto ok = tx.erase(was); !ok) { return ok; }
            }
            if (!now.empty()) {
                if (auto ok = tx.put(now, {}); !ok) { return ok; }
            }
        }
        return {};
    }

    template <class Tx>
    [[nodiscard]] result<std::optional<build_state>> read(Tx& tx) const {
        bytes raw;
        auto const found = tx.get(key('c'), raw);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<build_state>{}; }
        cbor_reader in{raw};
        build_state s;
        if (in.array() != 4) { return failure{errc::corrupt, "constraints' index"}; }
        bytes_view const print = in.byte_string();
        if (print.size() != s.print.size()) { return failure{errc::corrupt, "constraints' index"}; }
        std::copy(print.begin(), print.end(), s.print.begin());
        s.head = in.unsigned_integer();
        s.building = in.boolean();
        s.next = to_bytes(in.byte_string());
        if (!in.finish()) { return failure{errc::corrupt, "constraints' index"}; }
        return std::optional<build_state>{std::move(s)};
    }
    template <class Tx>
    [[nodiscard]] status write(Tx& tx, build_state const& s) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(4);
        w.byte_string(s.print);
        w.unsigned_integer(s.head);
        w.boolean(s.building);
        w.byte_string(s.building ? bytes_view{s.next} : bytes_view{});
        return tx.put(key('c'), raw);
    }

    constraint_table const* table_;
    sha256_digest print_;
    bool valid_;
};

}  // namespace syncline::inline SYNCLINE_ABI
