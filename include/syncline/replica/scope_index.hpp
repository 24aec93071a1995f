// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The authority's end of scopes: which record is in which, worked out when it is written, and what changed in each.

#include <algorithm>
#include <cstddef>
#include <cstdint>
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
#include <syncline/core/result.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/policy.hpp>
#include <syncline/replica/read_mask.hpp>
#include <syncline/replica/scopes.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::size_t record_scopes_max = 64;  ///< that one record may be in
inline constexpr std::size_t scopes_left_max = 32;    ///< that one record has left, and is still told to have

/// Which records are in a scope, and who may have it. What is left empty is not asked.
struct scope_rule {
    std::string name{};
    std::string collection{};
    bytes prefix{};     ///< that the id begins with
    std::string by{};   ///< a field whose value is the scope's parameter; empty: the scope has none
    bool each = false;  ///< the value is an array, and each of its items a parameter
    /// The host's own word on a record that is not deleted, as of its newest schema version. Pure: it is asked when the
    /// record is written, and never else.
    bool (*holds)(record_key const& k, row const& r, void const* data) = nullptr;
    std::string role{};  ///< who may have it; empty: everybody who is authenticated
    bool own = false;    ///< only who is named by the parameter, a text, may have it
    /// The host's own word on who may have it; asked at each exchange, so that what is taken away is gone with the next.
    bool (*permits)(std::string_view principal, bytes_view parameter, void const* data) = nullptr;
    void const* data = nullptr;  ///< the host's own, handed to both
    std::uint64_t revision = 1;  ///< raised when `holds` means something else: the index is then built anew
};

/// The scopes that there are. Every replica that is no `unscoped_role`'s must ask for some.
class scope_table {
public:
    explicit scope_table(std::vector<scope_rule> rules, role_source roles = {}, std::string unscoped_role = {})
        : rules_(std::move(rules)), roles_(roles), unscoped_(std::move(unscoped_role)) {}

    /// Each rule has a name of its own.
    [[nodiscard]] bool valid() const {
        for (std::size_t i = 0; i < rules_.size(); ++i) {
            scope_rule const& r = rules_[i];
            if (!syncline::valid(scope{r.name, {}}) || ((r.each || r.own) && r.by.empty())) { return false; }
            for (std::size_t k = 0; k < i; ++k) {
                if (rules_[k].name == r.name) { return false; }
            }
        }
        return true;
    }
    /// Whether the principal may hold everything.
    [[nodiscard]] bool unscoped(std::string_view principal) const { return has(principal, unscoped_); }
    /// Whether there is such a scope for the principal. What isn't and what is another's look the same.
    [[nodiscard]] bool permits(std::string_view principal, scope const& s) const {
        for (scope_rule const& r : rules_) {
            if (r.name == s.name) { return permits(principal, r, s.parameter); }
        }
        return false;
    }
    /// The scopes that a living record is in, in order. More than `record_scopes_max` are `errc::limit`.
    [[nodiscard]] result<std::vector<scope>> of(record_key const& k, row const& r) const {
        std::vector<scope> all;
        for (scope_rule const& rule : rules_) {
            if (!rule.collection.empty() && rule.collection != k.collection) { continue; }
            if (!starts_with(k.id, rule.prefix)) { continue; }
            if (rule.by.empty()) {
                if (holds(rule, k, r)) { all.push_back({rule.name, {}}); }
                continue;
            }
            if (r.fields.empty()) { continue; }
            auto const found = map_find(r.fields, rule.by);
            if (!found || !*found) { continue; }
            cbor_reader in{**found};
            if (!rule.each) {
                if (in.peek() != cbor_type::null) { add(all, rule, k, r, **found); }
                continue;
            }
            if (in.peek() != cbor_type::array) { continue; }
            std::size_t const n = in.array();
            if (n > 16 * record_scopes_max) { return failure{errc::limit, "a record in too many scopes"}; }
            for (std::size_t i = 0; i < n; ++i) { add(all, rule, k, r, in.skip(1)); }
        }
        std::sort(all.begin(), all.end());
        all.erase(std::unique(all.begin(), all.end()), all.end());
        if (all.size() > record_scopes_max) { return failure{errc::limit, "a record in too many scopes"}; }
        return all;
    }
    /// Of the rules, but for what their functions do: `revision` says that.
    [[nodiscard]] sha256_digest print() const {
        bytes raw;
        cbor_writer w{raw};
        for (scope_rule const& r : rules_) {
            w.text(r.name);
            w.text(r.collection);
            w.byte_string(r.prefix);
            w.text(r.by);
            w.boolean(r.each);
            w.boolean(r.holds != nullptr);
            w.unsigned_integer(r.revision);
        }
        return sha256(raw);
    }

private:
    [[nodiscard]] bool has(std::string_view principal, std::string const& role) const {
        return !role.empty() && roles_.has != nullptr && roles_.has(principal, role, roles_.data);
    }
    [[nodiscard]] bool permits(std::string_view principal, scope_rule const& r, bytes_view parameter) const {
        if (r.by.empty() != parameter.empty()) { return false; }
        if (!r.role.empty() && !has(principal, r.role)) { return false; }
        if (r.own) {
            cbor_reader in{parameter};
            if (in.peek() != cbor_type::text || in.text() != principal) { return false; }
        }
        return r.permits == nullptr || r.permits(principal, parameter, r.data);
    }
    [[nodiscard]] static bool holds(scope_rule const& rule, record_key const& k, row const& r) {
        return rule.holds == nullptr || rule.holds(k, r, rule.data);
    }
    static void add(std::vector<scope>& all, scope_rule const& rule, record_key const& k, row const& r,
                    bytes_view item) {
        if (item.empty() || item.size() > scope_parameter_bytes_max || !holds(rule, k, r)) { return; }
        all.push_back({rule.name, to_bytes(item)});
    }

    std::vector<scope_rule> rules_;
    role_source roles_;
    std::string unscoped_;
};

/// Whether a record is in a scope, and since when it is, or isn't any more.
struct scope_membership {
    scope what{};
    bool inside = false;
    position moved = 0;
};
/// What is known of a record beside its row.
struct scoped_record {
    std::vector<position> groups{};          ///< at which each group of its fields changed last
    std::vector<scope_membership> scopes{};  ///< in order
    /// The version of the record as somebody sees it who reads these groups.
    [[nodiscard]] position version_of(std::uint32_t seen) const noexcept {
        position at = 0;
        for (std::size_t g = 0; g < groups.size(); ++g) {
            if (((seen >> g) & 1U) != 0) { at = (std::max)(at, groups[g]); }
        }
        return at;
    }
};

/// Which records are in which scopes, in an authority's storage.
///
/// Under its prefix: 't' record -> a scoped_record; 'i' tag, group, position, record -> whether it is in it or has left;
/// 'd' position, tag, record -> nothing, of what has left; 'h' tag -> its horizon; 'f' -> of which tables and as of which
/// head all this is. A tag is the first 16 bytes of the SHA-256 of a scope.
/// Holds its prefix and nothing else. Errors: the storage's, `errc::corrupt`, and `errc::limit` of the table.
class scope_index {
public:
    explicit scope_index(std::string_view prefix) : prefix_(to_bytes(prefix)) {}

    /// `errc::busy` while the index is not of these tables and this head: build it. `errc::invalid` for tables that can't be.
    template <storage_transaction Tx>
    [[nodiscard]] status current(Tx& tx, scope_table const& table, read_mask const& mask, position head) const {
        if (!table.valid() || !mask.valid()) { return failure{errc::invalid, "scopes or masks that can't be"}; }
        auto now = read_print(tx);
        if (!now) { return now.error(); }
        bool const holds = *now ? (*now)->head == head && !(*now)->building && equal((*now)->table, table.print()) &&
                                      equal((*now)->mask, mask.print())
                                : head == 0;
        return holds ? status{} : status{failure{errc::busy, "the scopes' index is not of these rows; build it"}};
    }
    /// The index is of `head`.
    template <storage_transaction Tx>
    [[nodiscard]] status mark(Tx& tx, scope_table const& table, read_mask const& mask, position head) const {
        auto const t = table.print();
        auto const m = mask.print();
        return write_print(tx, {to_bytes(bytes_view{t}), to_bytes(bytes_view{m}), head, false, false, {}});
    }

    /// A record was written, at its version.
    /// Cost: a get and a put, and two operations for each scope and changed group.
    template <storage_transaction Tx>
    [[nodiscard]] status enter(Tx& tx, scope_table const& table, read_mask const& mask, record_key const& k,
                               row const* before, row const& after) const {
        bytes const name = to_bytes(k);
        auto known = find(tx, name);
        if (!known) { return known.error(); }
        std::vector<scope> now;
        if (after.deleted) {
            for (scope_membership const& m : known->scopes) {
                if (m.inside) { now.push_back(m.what); }
            }
        } else {
            auto in = table.of(k, after);
            if (!in) { return in.error(); }
            now = std::move(*in);
        }
        std::uint32_t const changed = mask.changed(before, after, k.collection);
        std::vector<position> groups = known->groups;
        groups.resize(mask.groups_of(k.collection), 0);
        for (std::size_t g = 0; g < groups.size(); ++g) {
            if (((changed >> g) & 1U) != 0 || groups[g] == 0) { groups[g] = after.version; }
        }
        return move(tx, name, *known, std::move(groups), now, after.version);
    }
    /// A tombstone went.
    template <storage_transaction Tx>
    [[nodiscard]] status forget(Tx& tx, bytes_view name) const {
        auto known = find(tx, name);
        if (!known) { return known.error(); }
        for (scope_membership const& m : known->scopes) {
            if (auto ok = erase_entries(tx, m, *known, name); !ok) { return ok; }
        }
        return tx.erase(named('t', name));
    }
    /// Forgets up to `budget` marks of what has left, of positions up to `horizon`; whether there are more.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> collect(Tx& tx, position horizon, std::size_t budget) const {
        struct left {
            bytes tag, name;
        };
        std::vector<left> all;
        bytes const prefix = key('d');
        bytes end = prefix;
        append_u64(end, horizon + 1);
        bool more = false;
        auto ok = tx.scan({prefix, end}, [&](bytes_view at, bytes_view) {
            more = all.size() == budget;
            bytes_view const rest = at.subspan(prefix.size() + 8);
            if (!more) { all.push_back({to_bytes(rest.first(tag_bytes)), to_bytes(rest.subspan(tag_bytes))}); }
            return !more;
        });
        for (std::size_t i = 0; i < all.size() && ok; ++i) {
            auto known = find(tx, all[i].name);
            if (!known) { return known.error(); }
            for (auto m = known->scopes.begin(); m != known->scopes.end(); ++m) {
                if (m->inside || !equal(tag_of(m->what), all[i].tag)) { continue; }
                if (ok = erase_entries(tx, *m, *known, all[i].name); ok) {
                    known->scopes.erase(m);
                    ok = write(tx, all[i].name, *known);
                }
                break;
            }
        }
        if (!ok) { return ok.error(); }
        return more;
    }

    /// What a step of building did.
    struct build_report {
        std::size_t rows = 0;   ///< looked at
        std::size_t moved = 0;  ///< whose scopes are others now: each took a position
        position head = 0;      ///< after it
        bool more = false;
    };
    /// Works the scopes of up to `budget` records out anew, from where the last step ended. `rows(from, visit)` visits the
    /// records from a key on, in order, each as of its newest schema version. A record whose scopes change takes a
    /// position after `head`, so that who pulls is told. Where the index is current, nothing is done.
    template <storage_transaction Tx>
    [[nodiscard]] result<build_report> build(
        Tx& tx, scope_table const& table, read_mask const& mask, position head, std::size_t budget,
        function_ref<status(bytes_view from, function_ref<bool(record_key const&, row const&)>)> rows) const {
        build_report out;
        out.head = head;
        auto const now = current(tx, table, mask, head);
        if (now) { return out; }
        if (now.error() != errc::busy) { return now.error(); }
        auto found = read_print(tx);
        if (!found) { return found.error(); }
        auto const t = table.print();
        auto const m = mask.print();
        print p = *found ? std::move(**found) : print{};
        bool const same = equal(p.table, t) && equal(p.mask, m) && p.building && p.head == head;
        if (!same) {
            p.regroup = !equal(p.mask, m) || p.regroup;
            p.from.clear();
        }
        p.table = to_bytes(bytes_view{t});
        p.mask = to_bytes(bytes_view{m});
        p.building = true;
        struct one {
            record_key key;
            row state;
        };
        std::vector<one> all;
        auto ok = rows(p.from, [&](record_key const& k, row const& r) {
            out.more = all.size() == budget;
            if (!out.more) { all.push_back({k, r}); }
            if (out.more) { p.from = to_bytes(k); }
            return !out.more;
        });
        if (!ok) { return ok.error(); }
        for (one const& o : all) {
            bytes const name = to_bytes(o.key);
            auto known = find(tx, name);
            if (!known) { return known.error(); }
            std::vector<scope> was;
            for (scope_membership const& s : known->scopes) {
                if (s.inside) { was.push_back(s.what); }
            }
            auto in = o.state.deleted ? result<std::vector<scope>>{was} : table.of(o.key, o.state);
            if (!in) { return in.error(); }
            bool const moves = !(was == *in);
            std::vector<position> groups = known->groups;
            bool const regroups = p.regroup || groups.size() != mask.groups_of(o.key.collection);
            if (regroups) { groups.assign(mask.groups_of(o.key.collection), o.state.version); }
            if (moves) { ++out.head; }
            if (moves || regroups) {
                if (ok = move(tx, name, *known, std::move(groups), *in, out.head); !ok) { return ok.error(); }
            }
            out.moved += moves ? 1 : 0;
        }
        out.rows = all.size();
        p.head = out.head;
        if (!out.more) {
            p.building = p.regroup = false;
            p.from.clear();
        }
        if (ok = write_print(tx, p); !ok) { return ok.error(); }
        return out;
    }

    /// What is known of a record; empty where nothing is. `name`: `to_bytes` of its key.
    template <storage_transaction Tx>
    [[nodiscard]] result<scoped_record> find(Tx& tx, bytes_view name) const {
        scoped_record r;
        bytes raw;
        auto found = tx.get(named('t', name), raw);
        if (!found) { return found.error(); }
        if (!*found) { return r; }
        cbor_reader in{raw};
        bool const whole = in.array() == 2;
        std::size_t const groups = in.array();
        for (std::size_t i = 0; i < groups && !in.failed(); ++i) { r.groups.push_back(in.unsigned_integer()); }
        std::size_t const n = in.array();
        for (std::size_t i = 0; i < n / 4 && !in.failed(); ++i) {
            scope_membership m;
            m.what = detail::decode_scope(in);
            m.inside = in.boolean();
            m.moved = in.unsigned_integer();
            r.scopes.push_back(std::move(m));
        }
        if (!whole || n % 4 != 0 || !in.finish()) { return failure{errc::corrupt, "authority's scopes"}; }
        return r;
    }
    /// Marks of positions up to there may be gone for this scope.
    template <storage_transaction Tx>
    [[nodiscard]] result<position> horizon(Tx& tx, scope const& s) const {
        bytes raw;
        auto found = tx.get(tagged('h', tag_of(s)), raw);
        if (!found) { return found.error(); }
        if (*found && raw.size() != 8) { return failure{errc::corrupt, "authority's scopes"}; }
        return *found ? read_u64(raw) : position{0};
    }

    /// Visits the names of the records that are in a scope, and of those that have left it after `since`, each once, in the
    /// order of positions. Cost: a scan of them, and of what has left.
    template <storage_transaction Tx>
    [[nodiscard]] status each_of(Tx& tx, scope const& s, position since,
                                 function_ref<void(bytes_view name)> visit) const {
        status outcome;
        bytes first = tagged('i', tag_of(s));
        first.push_back(std::byte{0});  // every record has an entry for the first group
        auto ok = scan_prefix(tx, first, [&](bytes_view k, bytes_view v) {
            if (k.size() <= first.size() + 8 || v.size() != 1) {
                outcome = failure{errc::corrupt, "authority's scopes"};
                return false;
            }
            if (v[0] == std::byte{0} || read_u64(k.subspan(first.size())) > since) {
                visit(k.subspan(first.size() + 8));
            }
            return true;
        });
        return ok ? outcome : ok;
    }

    /// A record that something happened to in a scope.
    struct due {
        position at = 0;
        bytes name{};
    };
    /// Adds what happened in a scope in (from, to], of the first `groups` groups and of these only what `reads(group, name)`;
    /// without what left up to `since`. A group's scan is stopped after `count` of them: `to` comes down to the last position
    /// up to which all are there.
    template <storage_transaction Tx>
    [[nodiscard]] status add_due(Tx& tx, scope const& s, std::size_t groups, position from, position& to,
                                 position since, std::size_t count, function_ref<bool(std::size_t, bytes_view)> reads,
                                 std::vector<due>& all) const {
        bytes const tag = tag_of(s);
        for (std::size_t g = 0; g < groups && from < to; ++g) {
            std::size_t const before = all.size();
            status outcome;
            auto ok =
                tx.scan({entry(tag, g, from + 1, {}), entry(tag, g, to + 1, {})}, [&](bytes_view k, bytes_view v) {
                    std::size_t const head = prefix_.size() + 2 + tag_bytes;
                    if (k.size() <= head + 8 || v.size() != 1) {
                        outcome = failure{errc::corrupt, "authority's scopes"};
                        return false;
                    }
                    position const at = read_u64(k.subspan(head));
                    // One position is never parted.
                    if (all.size() - before >= count && all.back().at != at) {
                        to = all.back().at;
                        return false;
                    }
                    bytes_view const name = k.subspan(head + 8);
                    bool const told = v[0] == std::byte{0} || at > since;
                    if (told && reads(g, name)) { all.push_back({at, to_bytes(name)}); }
                    return true;
                });
            if (!ok || !outcome) { return ok ? outcome : ok; }
        }
        return {};
    }

private:
    static constexpr std::size_t tag_bytes = 16;
    struct print {
        bytes table{};
        bytes mask{};
        position head = 0;
        bool building = false;
        bool regroup = false;  ///< the groups of all records are others
        bytes from{};          ///< the first record that is still to be looked at
    };

    [[nodiscard]] bytes key(char kind) const {
        bytes k = prefix_;
        k.push_back(static_cast<std::byte>(kind));
        return k;
    }
    [[nodiscard]] bytes named(char kind, bytes_view name) const {
        bytes k = key(kind);
        append(k, name);
        return k;
    }
    [[nodiscard]] bytes tagged(char kind, bytes_view tag) const { return named(kind, tag); }
    [[nodiscard]] static bytes tag_of(scope const& s) {
        bytes raw;
        cbor_writer w{raw};
        detail::encode_scope(w, s);
        auto const digest = sha256(raw);
        return to_bytes(bytes_view{digest}.first(tag_bytes));
    }
    [[nodiscard]] bytes entry(bytes_view tag, std::size_t group, position at, bytes_view name) const {
        bytes k = tagged('i', tag);
        k.push_back(static_cast<std::byte>(group));
        append_u64(k, at);
        append(k, name);
        return k;
    }
    [[nodiscard]] bytes left_key(position at, bytes_view tag, bytes_view name) const {
        bytes k = key('d');
        append_u64(k, at);
        append(k, tag);
        append(k, name);
        return k;
    }

    template <class Tx>
    [[nodiscard]] status write(Tx& tx, bytes_view name, scoped_record const& r) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(2);
        w.array(r.groups.size());
        for (position const at : r.groups) { w.unsigned_integer(at); }
        w.array(r.scopes.size() * 4);
        for (scope_membership const& m : r.scopes) {
            detail::encode_scope(w, m.what);
            w.boolean(m.inside);
            w.unsigned_integer(m.moved);
        }
        return tx.put(named('t', name), raw);
    }
    /// All that the index has of one membership.
    template <class Tx>
    [[nodiscard]] status erase_entries(Tx& tx, scope_membership const& m, scoped_record const& r,
                                       bytes_view name) const {
        bytes const tag = tag_of(m.what);
        if (!m.inside) {
            if (auto ok = tx.erase(entry(tag, 0, m.moved, name)); !ok) { return ok; }
            return tx.erase(left_key(m.moved, tag, name));
        }
        status ok;
        for (std::size_t g = 0; g < r.groups.size() && ok; ++g) {
            ok = tx.erase(entry(tag, g, (std::max)(r.groups[g], m.moved), name));
        }
        return ok;
    }
    /// From what is known of a record to other groups and the scopes `now`, at a position.
    template <class Tx>
    [[nodiscard]] status move(Tx& tx, bytes_view name, scoped_record const& was, std::vector<position> groups,
                              std::vector<scope> const& now, position at) const {
        scoped_record next;
        next.groups = std::move(groups);
        auto old = was.scopes.begin();
        auto fresh = now.begin();
        while (old != was.scopes.end() || fresh != now.end()) {
            bool const had = old != was.scopes.end() && (fresh == now.end() || !(*fresh < old->what));
            bool const has = fresh != now.end() && (old == was.scopes.end() || !(old->what < *fresh));
            if (had && !has && !old->inside) {
                next.scopes.push_back(*old++);
                continue;
            }
            scope_membership m{had ? old->what : *fresh, has, had && has && old->inside ? old->moved : at};
            bytes const tag = tag_of(m.what);
            bool const stays = had && has && old->inside;
            if (had && !stays) {
                if (auto ok = erase_entries(tx, *old, was, name); !ok) { return ok; }
            }
            for (std::size_t g = 0; has && g < next.groups.size(); ++g) {
                position const to = (std::max)(next.groups[g], m.moved);
                bool const there = stays && g < was.groups.size();
                if (there && (std::max)(was.groups[g], m.moved) == to) { continue; }
                if (there) {
                    auto ok = tx.erase(entry(tag, g, (std::max)(was.groups[g], m.moved), name));
                    if (!ok) { return ok; }
                }
                if (auto ok = tx.put(entry(tag, g, to, name), bytes{std::byte{0}}); !ok) { return ok; }
            }
            for (std::size_t g = next.groups.size(); stays && g < was.groups.size(); ++g) {
                auto ok = tx.erase(entry(tag, g, (std::max)(was.groups[g], m.moved), name));
                if (!ok) { return ok; }
            }
            if (!has) {
                if (auto ok = tx.put(entry(tag, 0, at, name), bytes{std::byte{1}}); !ok) { return ok; }
                if (auto ok = tx.put(left_key(at, tag, name), {}); !ok) { return ok; }
            }
            next.scopes.push_back(std::move(m));
            if (had) { ++old; }
            if (has) { ++fresh; }
        }
        if (auto ok = drop_oldest(tx, name, next); !ok) { return ok; }
        return write(tx, name, next);
    }
    /// A record that wanders through many scopes keeps the marks of the last that it left.
    template <class Tx>
    [[nodiscard]] status drop_oldest(Tx& tx, bytes_view name, scoped_record& r) const {
        auto const left = [](scope_membership const& m) { return !m.inside; };
        auto count = static_cast<std::size_t>(std::count_if(r.scopes.begin(), r.scopes.end(), left));
        for (; count > scopes_left_max; --count) {
            auto oldest = r.scopes.end();
            for (auto m = r.scopes.begin(); m != r.scopes.end(); ++m) {
                if (left(*m) && (oldest == r.scopes.end() || m->moved < oldest->moved)) { oldest = m; }
            }
            auto reached = horizon(tx, oldest->what);
            if (!reached) { return reached.error(); }
            bytes raw;
            append_u64(raw, (std::max)(*reached, oldest->moved));
            if (auto ok = tx.put(tagged('h', tag_of(oldest->what)), raw); !ok) { return ok; }
            if (auto ok = erase_entries(tx, *oldest, r, name); !ok) { return ok; }
            r.scopes.erase(oldest);
        }
        return {};
    }

    template <class Tx>
    [[nodiscard]] result<std::optional<print>> read_print(Tx& tx) const {
        bytes raw;
        auto found = tx.get(key('f'), raw);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<print>{}; }
        cbor_reader in{raw};
        print p;
        bool const whole = in.array() == 6;
        p.table = to_bytes(in.byte_string());
        p.mask = to_bytes(in.byte_string());
        p.head = in.unsigned_integer();
        p.building = in.boolean();
        p.regroup = in.boolean();
        p.from = to_bytes(in.byte_string());
        if (!whole || !in.finish()) { return failure{errc::corrupt, "authority's scopes"}; }
        return std::optional<print>{std::move(p)};
    }
    template <class Tx>
    [[nodiscard]] status write_print(Tx& tx, print const& p) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(6);
        w.byte_string(p.table);
        w.byte_string(p.mask);
        w.unsigned_integer(p.head);
        w.boolean(p.building);
        w.boolean(p.regroup);
        w.byte_string(p.from);
        return tx.put(key('f'), raw);
    }

    bytes prefix_;
};

/// Tells one replica what its scopes hold that it doesn't: fills the scopes of a reply.
///
/// What it is asked for is a stranger's, but decoded. It holds what one reply needs.
class scope_teller {
public:
    /// Tells a record: encodes its row, as the asker may see it.
    using tell_row = function_ref<status(bytes_view name, scoped_record const&)>;

    scope_teller(scope_index const& index, scope_table const& table, read_mask const& mask, std::string_view principal,
                 scope_request const& asked)
        : index_(index), mask_(mask), principal_(principal), asked_(asked), groups_(mask.groups_most()) {
        out_.generation = asked.generation;
        out_.mask = mask.fingerprint(principal);
        for (std::size_t i = 0; i < asked.all.size(); ++i) {
            permitted_.push_back(table.permits(principal, asked.all[i].what));
            if (permitted_.back()) { members_.push_back(i); }
        }
        std::sort(members_.begin(), members_.end(),
                  [&](std::size_t x, std::size_t y) { return asked.all[x].what < asked.all[y].what; });
    }

    /// What the lease of the asker must protect: what has gone since the first of its joinings began.
    [[nodiscard]] position holds_from(position cursor) const noexcept {
        for (asked_scope const& a : asked_.all) {
            if (a.joining && a.joining->since != 0) { cursor = (std::min)(cursor, a.joining->since); }
        }
        return cursor;
    }

    /// Tells what changed after `from`, up to `to`, which comes down where the page ends before; then, where it didn't,
    /// the scopes that are being joined, in their order. `full(rows)` says whether a page of so many rows is to end, and
    /// `tail_full` and `tail_max` say it of what changed.
    /// Cost: a short scan for each scope and group; nothing where the cursor stands at the head.
    template <storage_transaction Tx>
    [[nodiscard]] status tell(Tx& tx, position& from, position& to, position horizon, std::size_t rows_max,
                              function_ref<bool(std::size_t rows)> full, std::size_t tail_max,
                              function_ref<bool(std::size_t rows)> tail_full, tell_row row_of) {
        bool const useless = asked_.mask != out_.mask;
        bool any_complete = false;
        std::vector<std::size_t> joined;
        std::vector<scope_index::due> due;
        position const head = to;
        for (std::size_t i = 0; i < asked_.all.size(); ++i) {
            asked_scope const& a = asked_.all[i];
            if (!permitted_[i]) {
                out_.answers.push_back({i, scope_standing::refused, {}});
                continue;
            }
            // Of what has gone after this, all must still be known. What went before a joining began was never told.
            position const base = a.joining ? a.joining->since : from;
            bool const begun = !a.joining || *a.joining != scope_place{};
            bool anew = begun && (useless || base > head || (a.joining && a.joining->at > head) || base < horizon);
            if (begun && !anew && base != head) {
                auto const gone = index_.horizon(tx, a.what);
                if (!gone) { return gone.error(); }
                anew = base < *gone;
            }
            if (anew) {
                out_.answers.push_back({i, scope_standing::anew, {}});
            } else if (a.joining) {
                joined.push_back(i);
            } else {
                any_complete = true;
                if (from == head) { continue; }
                if (auto ok = add_due(tx, a.what, from, to, 0, tail_max, due); !ok) { return ok; }
            }
        }
        if (!any_complete) {
            from = to = head;  // the cursor stands for nothing that is held
        } else if (auto ok = tell_all(tx, due, to, tail_full, row_of); !ok) {
            return ok;
        }
        for (std::size_t const i : joined) {
            asked_scope const& a = asked_.all[i];
            scope_place place = *a.joining;
            if (place.since == 0) { place.since = head; }
            if (to == head && !full(rows_)) {
                due.clear();
                position end = head;
                auto ok = add_due(tx, a.what, place.at, end, place.since, rows_max, due);
                if (ok) { ok = tell_all(tx, due, end, full, row_of); }
                if (!ok) { return ok; }
                place.at = end;
            }
            bool const complete = to == head && place.at == head;
            out_.answers.push_back({i, complete ? scope_standing::complete : scope_standing::joining, place});
            if (complete) { out_.answers.back().place = {}; }
        }
        std::sort(out_.answers.begin(), out_.answers.end(),
                  [](scope_answer const& a, scope_answer const& b) { return a.index < b.index; });
        return {};
    }
    /// The asker has changed a record and hears so: it is told at once where that is, however long the page is, as what has
    /// left before a joining begins is not told in it.
    template <storage_transaction Tx>
    [[nodiscard]] status tell_changed(Tx& tx, bytes name, tell_row row_of) {
        if (told_already(name) || out_.gone.size() + rows_ >= told_records_max) { return {}; }
        return tell_one(tx, std::move(name), row_of);
    }

    [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
    [[nodiscard]] scope_reply take() { return std::move(out_); }

private:
    static bool before(scope_index::due const& a, scope_index::due const& b) noexcept {
        return a.at != b.at ? a.at < b.at : compare(a.name, b.name) < 0;
    }
    template <class Tx>
    [[nodiscard]] status add_due(Tx& tx, scope const& s, position from, position& to, position since,
                                 std::size_t rows_max, std::vector<scope_index::due>& all) {
        auto const reads = [&](std::size_t group, bytes_view name) {
            if (groups_ == 1 || group == 0) { return true; }
            auto const length = std::to_integer<std::size_t>(name[0]);
            if (length >= name.size()) { return false; }
            std::string_view const collection = as_text(name.subspan(1, length));
            if (collection != collection_) {
                collection_ = std::string{collection};
                readable_ = mask_.readable(principal_, collection);
            }
            return ((readable_ >> group) & 1U) != 0;
        };
        if (auto ok = index_.add_due(tx, s, groups_, from, to, since, rows_max + 1, reads, all); !ok) { return ok; }
        if (all.size() <= 4 * (rows_max + 1)) { return {}; }
        // Of many scopes only what one page holds is kept.
        std::sort(all.begin(), all.end(), before);
        to = (std::min)(to, all[rows_max].at);
        auto const end = std::find_if(all.begin(), all.end(), [&](scope_index::due const& d) { return d.at > to; });
        all.erase(end, all.end());
        return {};
    }
    [[nodiscard]] std::vector<std::uint64_t> members_of(scoped_record const& r) const {
        std::vector<std::uint64_t> in;
        for (scope_membership const& m : r.scopes) {
            if (!m.inside) { continue; }
            auto const at = std::lower_bound(members_.begin(), members_.end(), m.what,
                                             [&](std::size_t i, scope const& s) { return asked_.all[i].what < s; });
            if (at != members_.end() && asked_.all[*at].what == m.what) { in.push_back(*at); }
        }
        std::sort(in.begin(), in.end());
        return in;
    }
    [[nodiscard]] bool told_already(bytes_view name) const {
        return std::binary_search(told_.begin(), told_.end(), name,
                                  [](bytes_view a, bytes_view b) { return compare(a, b) < 0; });
    }
    /// In the order of positions, until the page is full, up to `to`, which comes down then.
    template <class Tx>
    [[nodiscard]] status tell_all(Tx& tx, std::vector<scope_index::due>& due, position& to,
                                  function_ref<bool(std::size_t)> full, tell_row row_of) {
        std::sort(due.begin(), due.end(), before);
        position last = 0;
        for (std::size_t i = 0; i < due.size() && due[i].at <= to; ++i) {
            if (due[i].at != last && (full(rows_) || out_.gone.size() + rows_ >= told_records_max)) {
                to = due[i].at - 1;
                break;
            }
            last = due[i].at;
            if (told_already(due[i].name)) { continue; }
            if (auto ok = tell_one(tx, std::move(due[i].name), row_of); !ok) { return ok; }
        }
        return {};
    }
    /// Where a record is, and its row.
    template <class Tx>
    [[nodiscard]] status tell_one(Tx& tx, bytes name, tell_row row_of) {
        auto known = index_.find(tx, name);
        if (!known) { return known.error(); }
        auto members = members_of(*known);
        if (members.empty()) {
            out_.gone.push_back(name);
        } else {
            if (auto ok = row_of(name, *known); !ok) { return ok; }
            ++rows_;
            if (!out_.runs.empty() && out_.runs.back().members == members) {
                ++out_.runs.back().rows;
            } else {
                out_.runs.push_back({1, std::move(members)});
            }
        }
        auto const place = std::lower_bound(told_.begin(), told_.end(), name,
                                            [](bytes const& a, bytes const& b) { return compare(a, b) < 0; });
        told_.insert(place, std::move(name));
        return {};
    }

    scope_index const& index_;
    read_mask const& mask_;
    std::string_view principal_;
    scope_request const& asked_;
    std::size_t groups_;
    std::string collection_{};      ///< asked for last …
    std::uint32_t readable_ = ~0U;  ///< … and what is read of it
    std::vector<bool> permitted_{};
    std::vector<std::size_t> members_{};  ///< those permitted, in the order of scopes
    std::vector<bytes> told_{};           ///< in order
    std::size_t rows_ = 0;
    scope_reply out_{};
};

}  // namespace syncline::inline SYNCLINE_ABI
