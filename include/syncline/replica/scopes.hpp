// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Scopes: the part of the records that a device holds. What it asks and is answered of them, and what it keeps of it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/model/record.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::size_t scope_name_bytes_max = 64;        ///< 1 to so many bytes of UTF-8
inline constexpr std::size_t scope_parameter_bytes_max = 255;  ///< of its canonical item
inline constexpr std::size_t scopes_max = 4'096;               ///< of one device
inline constexpr std::size_t told_records_max = 65'536;        ///< that one reply names

/// Some of the records: what the authority's rule of this name says of them, for this parameter.
struct scope {
    std::string name{};
    bytes parameter{};  ///< one canonical CBOR item; empty for a rule without
    friend bool operator==(scope const&, scope const&) = default;
};
[[nodiscard]] inline bool operator<(scope const& a, scope const& b) noexcept {
    if (auto const order = a.name.compare(b.name); order != 0) { return order < 0; }
    return compare(a.parameter, b.parameter) < 0;
}
[[nodiscard]] inline bool valid(scope const& s) noexcept {
    return !s.name.empty() && s.name.size() <= scope_name_bytes_max && valid_utf8(s.name) &&
           s.parameter.size() <= scope_parameter_bytes_max &&
           (s.parameter.empty() || validate_canonical(s.parameter).has_value());
}
/// The scope of a rule whose parameter is a text: a name, an id.
[[nodiscard]] inline scope scope_of(std::string_view name, std::string_view parameter) {
    scope s{std::string{name}, {}};
    cbor_writer{s.parameter}.text(parameter);
    return s;
}

/// How far the joining of a scope is.
struct scope_place {
    position at = 0;     ///< what changed in it up to here was told
    position since = 0;  ///< it began here: what left before was never told
    friend bool operator==(scope_place const&, scope_place const&) = default;
};
/// A scope that is asked for; with a place while it is being joined, else the request's cursor holds.
struct asked_scope {
    scope what{};
    std::optional<scope_place> joining{};
    friend bool operator==(asked_scope const&, asked_scope const&) = default;
};
struct scope_request {
    std::uint64_t generation = 0;    ///< of all that is asked here; the reply repeats it
    std::uint64_t mask = 0;          ///< fingerprint of the fields that its principal could read; 0: of all
    std::vector<asked_scope> all{};  ///< each once
    friend bool operator==(scope_request const&, scope_request const&) = default;
};

/// Values travel: append, never renumber.
enum class scope_standing : std::uint8_t {
    joining = 1,   ///< told up to its place
    complete = 2,  ///< told up to the reply's `to`
    refused = 3,   ///< there is no such scope for the asker
    anew = 4,      ///< what was told of it is of no use: it is to be joined again
};
/// What a reply says of one of the scopes that were asked for. None: it is complete, as it was.
struct scope_answer {
    std::uint64_t index = 0;  ///< in the request
    scope_standing standing = scope_standing::complete;
    scope_place place{};  ///< of `joining`
    friend bool operator==(scope_answer const&, scope_answer const&) = default;
};
/// So many of the reply's rows, from where the last run ended, are in these of the scopes asked for, and in no other.
struct scope_run {
    std::uint64_t rows = 0;
    std::vector<std::uint64_t> members{};  ///< indices in the request, ascending; not empty
    friend bool operator==(scope_run const&, scope_run const&) = default;
};
struct scope_reply {
    std::uint64_t generation = 0;
    std::uint64_t mask = 0;
    std::vector<scope_answer> answers{};  ///< by index, ascending
    std::vector<scope_run> runs{};
    std::vector<bytes> gone{};  ///< record keys: in none of them
    friend bool operator==(scope_reply const&, scope_reply const&) = default;
};

namespace detail {

inline void encode_scope(cbor_writer& w, scope const& s) {
    w.text(s.name);
    w.byte_string(s.parameter);
}
[[nodiscard]] inline scope decode_scope(cbor_reader& in) {
    scope s;
    s.name = std::string{in.text()};
    s.parameter = to_bytes(in.byte_string());
    if (!in.failed() && !valid(s)) { in.fail({errc::malformed, "scope out of range"}); }
    return s;
}

/// An array of generation, mask, and each scope: an array of name and parameter, and of its place while it is joined.
inline void encode_scopes(cbor_writer& w, scope_request const& q) {
    w.array(2 + q.all.size());
    w.unsigned_integer(q.generation);
    w.unsigned_integer(q.mask);
    for (asked_scope const& a : q.all) {
        w.array(a.joining ? 4 : 2);
        encode_scope(w, a.what);
        if (a.joining) {
            w.unsigned_integer(a.joining->at);
            w.unsigned_integer(a.joining->since);
        }
    }
}
[[nodiscard]] inline scope_request decode_scopes(cbor_reader& in) {
    scope_request q;
    std::size_t const n = in.array();
    if (n < 2) { in.fail({errc::malformed, "scopes of the wrong length"}); }
    if (n > 2 + scopes_max) { in.fail({errc::limit, "too many scopes"}); }
    q.generation = in.unsigned_integer();
    q.mask = in.unsigned_integer();
    for (std::size_t i = 2; i < n && !in.failed(); ++i) {
        asked_scope a;
        std::size_t const parts = in.array();
        if (parts != 2 && parts != 4) { in.fail({errc::malformed, "scope of the wrong length"}); }
        a.what = decode_scope(in);
        if (parts == 4) {
            scope_place p;
            p.at = in.unsigned_integer();
            p.since = in.unsigned_integer();
            a.joining = p;
        }
        q.all.push_back(std::move(a));
    }
    std::vector<scope const*> sorted;
    for (asked_scope const& a : q.all) { sorted.push_back(&a.what); }
    std::sort(sorted.begin(), sorted.end(), [](scope const* a, scope const* b) { return *a < *b; });
    auto const same = [](scope const* a, scope const* b) { return *a == *b; };
    if (!in.failed() && std::adjacent_find(sorted.begin(), sorted.end(), same) != sorted.end()) {
        in.fail({errc::malformed, "a scope named twice"});
    }
    return q;
}

/// An array of runs, each an array of rows and members.
inline void encode_scope_runs(cbor_writer& w, std::vector<scope_run> const& runs) {
    w.array(runs.size());
    for (scope_run const& r : runs) {
        w.array(1 + r.members.size());
        w.unsigned_integer(r.rows);
        for (std::uint64_t const m : r.members) { w.unsigned_integer(m); }
    }
}
[[nodiscard]] inline std::vector<scope_run> decode_scope_runs(cbor_reader& in) {
    std::vector<scope_run> all;
    std::size_t const runs = in.array();
    if (runs > told_records_max) { in.fail({errc::limit, "too many records in one message"}); }
    for (std::size_t i = 0; i < runs && !in.failed(); ++i) {
        scope_run r;
        std::size_t const n = in.array();
        if (n < 2 || n > 1 + scopes_max) { in.fail({errc::malformed, "members of the wrong length"}); }
        r.rows = in.unsigned_integer();
        if (r.rows == 0 || r.rows > told_records_max) { in.fail({errc::malformed, "a run without rows"}); }
        for (std::size_t k = 1; k < n && !in.failed(); ++k) {
            std::uint64_t const m = in.unsigned_integer();
            if (m >= scopes_max || (!r.members.empty() && m <= r.members.back())) {
                in.fail({errc::malformed, "members out of order"});
            }
            r.members.push_back(m);
        }
        all.push_back(std::move(r));
    }
    return all;
}

/// An array of generation, mask, answers (index and standing, with its place of one that is joined: two items or four),
/// runs (an array of rows and members each), record keys.
inline void encode_scope_reply(cbor_writer& w, scope_reply const& p) {
    w.array(5);
    w.unsigned_integer(p.generation);
    w.unsigned_integer(p.mask);
    w.array(p.answers.size());
    for (scope_answer const& a : p.answers) {
        bool const placed = a.standing == scope_standing::joining;
        w.array(placed ? 4 : 2);
        w.unsigned_integer(a.index);
        w.unsigned_integer(static_cast<std::uint64_t>(a.standing));
        if (placed) {
            w.unsigned_integer(a.place.at);
            w.unsigned_integer(a.place.since);
        }
    }
    encode_scope_runs(w, p.runs);
    w.array(p.gone.size());
    for (bytes const& k : p.gone) { w.byte_string(k); }
}
[[nodiscard]] inline scope_reply decode_scope_reply(cbor_reader& in) {
    scope_reply p;
    if (in.array() != 5) { in.fail({errc::malformed, "scopes of the wrong length"}); }
    p.generation = in.unsigned_integer();
    p.mask = in.unsigned_integer();
    std::size_t const answers = in.array();
    if (answers > scopes_max) { in.fail({errc::limit, "too many scopes"}); }
    for (std::size_t i = 0; i < answers && !in.failed(); ++i) {
        scope_answer a;
        std::size_t const parts = in.array();
        a.index = in.unsigned_integer();
        std::uint64_t const standing = in.unsigned_integer();
        bool const placed = standing == static_cast<std::uint64_t>(scope_standing::joining);
        if (standing < 1 || standing > 4 || parts != (placed ? 4U : 2U) || a.index >= scopes_max ||
            (!p.answers.empty() && a.index <= p.answers.back().index)) {
            in.fail({errc::malformed, "a scope's answer out of range"});
            break;
        }
        a.standing = static_cast<scope_standing>(standing);
        if (placed) { a.place = {in.unsigned_integer(), 0}; }
        if (placed) { a.place.since = in.unsigned_integer(); }
        p.answers.push_back(a);
    }
    p.runs = decode_scope_runs(in);
    std::size_t const gone = in.array();
    if (gone > 2 * told_records_max) { in.fail({errc::limit, "too many records in one message"}); }
    for (std::size_t i = 0; i < gone && !in.failed(); ++i) {
        bytes_view const k = in.byte_string();
        if (!in.failed() && !record_key_from(k)) { in.fail({errc::malformed, "record key out of range"}); }
        p.gone.push_back(to_bytes(k));
    }
    return p;
}

}  // namespace detail

/// A scope as a replica has it.
struct held_scope {
    /// Values are stored: append, never renumber.
    enum class state : std::uint8_t {
        joining = 1,   ///< incomplete: its records are on the way
        complete = 2,  ///< all of it is held, as of the cursor
        refused =
            3,  ///< the authority has none of this name and parameter for the principal; asked for again each time
        leaving = 4,   ///< left: its records go, but those of other scopes and those with pending work
        replaced = 5,  ///< it is joined again; what that does not tell goes
    };
    std::uint64_t number = 0;  ///< of this joining; never given twice in a store
    state is = state::joining;
    scope what{};
    scope_place place{};
    std::uint64_t by = 0;  ///< of `replaced`: the number of the joining that takes its place
    friend bool operator==(held_scope const&, held_scope const&) = default;
};

/// What a replica keeps of scopes, in storage: those that it asks for, and which of its records are in which.
///
/// Under its prefix: 's' -> generation, mask, next number; 'l' number -> a held_scope; 'm' record -> the numbers that it
/// is in; 'n' number, record -> nothing; 'x' record -> nothing: in none, and kept until nothing pends on it.
/// Holds its prefix and nothing else. Errors: the storage's, and `errc::corrupt`.
class scope_book {
public:
    struct state {
        std::uint64_t generation = 1;
        std::uint64_t mask = 0;
        std::uint64_t next = 1;  ///< number of the next joining
        friend bool operator==(state const&, state const&) = default;
    };

    explicit scope_book(std::string_view prefix) : prefix_(to_bytes(prefix)) {}

    /// Nothing where the store holds everything, not scopes.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<state>> read(Tx& tx) const {
        bytes raw;
        auto found = tx.get(key('s'), raw);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<state>{}; }
        cbor_reader in{raw};
        state s;
        bool const whole = in.array() == 3;
        s.generation = in.unsigned_integer();
        s.mask = in.unsigned_integer();
        s.next = in.unsigned_integer();
        if (!whole || !in.finish()) { return failure{errc::corrupt, "replica's scopes"}; }
        return std::optional<state>{s};
    }
    template <storage_transaction Tx>
    [[nodiscard]] status write(Tx& tx, state const& s) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(3);
        w.unsigned_integer(s.generation);
        w.unsigned_integer(s.mask);
        w.unsigned_integer(s.next);
        return tx.put(key('s'), raw);
    }

    /// Every scope in the order of numbers, those that are being left too.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<held_scope>> list(Tx& tx) const {
        std::vector<held_scope> all;
        status outcome;
        bytes const prefix = key('l');
        auto ok = scan_prefix(tx, prefix, [&](bytes_view k, bytes_view raw) {
            cbor_reader in{raw};
            held_scope h;
            bool const whole = in.array() == 6 && k.size() == prefix.size() + 8;
            std::uint64_t const is = in.unsigned_integer();
            h.what = detail::decode_scope(in);
            h.place.at = in.unsigned_integer();
            h.place.since = in.unsigned_integer();
            h.by = in.unsigned_integer();
            if (!whole || !in.finish() || is < 1 || is > 5) {
                outcome = failure{errc::corrupt, "replica's scope"};
                return false;
            }
            h.number = read_u64(k.subspan(prefix.size()));
            h.is = static_cast<held_scope::state>(is);
            all.push_back(std::move(h));
            return true;
        });
        if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
        return all;
    }
    /// Whether the scope of a number is asked for, or is joined again: neither left nor refused.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> wanted(Tx& tx, std::uint64_t number) const {
        bytes raw;
        auto found = tx.get(numbered('l', number), raw);
        if (!found) { return found.error(); }
        if (!*found) { return false; }
        cbor_reader in{raw};
        (void)in.array();
        std::uint64_t const is = in.unsigned_integer();
        if (in.failed()) { return failure{errc::corrupt, "replica's scope"}; }
        return is != static_cast<std::uint64_t>(held_scope::state::leaving) &&
               is != static_cast<std::uint64_t>(held_scope::state::refused);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status put(Tx& tx, held_scope const& h) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(6);
        w.unsigned_integer(static_cast<std::uint64_t>(h.is));
        detail::encode_scope(w, h.what);
        w.unsigned_integer(h.place.at);
        w.unsigned_integer(h.place.since);
        w.unsigned_integer(h.by);
        return tx.put(numbered('l', h.number), raw);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status drop(Tx& tx, std::uint64_t number) const {
        return tx.erase(numbered('l', number));
    }
    [[nodiscard]] static bool asked(held_scope const& h) noexcept {
        return h.is == held_scope::state::joining || h.is == held_scope::state::complete ||
               h.is == held_scope::state::refused;
    }

    /// The scope is joined once more, under a new number, or is `refused`; what is held of it stays for now.
    template <storage_transaction Tx>
    [[nodiscard]] status join_again(Tx& tx, state& s, held_scope const& old, bool refused,
                                    std::vector<held_scope>& all) const {
        held_scope fresh{s.next++, refused ? held_scope::state::refused : held_scope::state::joining, old.what, {}, 0};
        for (held_scope& h : all) {
            if (h.number == old.number || (h.is == held_scope::state::replaced && h.by == old.number)) {
                h.is = refused ? held_scope::state::leaving : held_scope::state::replaced;
                h.by = refused ? 0 : fresh.number;
                if (auto ok = put(tx, h); !ok) { return ok; }
            }
        }
        all.push_back(fresh);
        return put(tx, fresh);
    }
    /// What the joining of this number took the place of is being left.
    template <storage_transaction Tx>
    [[nodiscard]] status end_replaced(Tx& tx, std::uint64_t number, std::vector<held_scope>& all) const {
        for (held_scope& h : all) {
            if (h.is != held_scope::state::replaced || h.by != number) { continue; }
            h.is = held_scope::state::leaving;
            h.by = 0;
            if (auto ok = put(tx, h); !ok) { return ok; }
        }
        return {};
    }

    /// The numbers that a record is in, ascending. `name`: `to_bytes` of its key.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<std::uint64_t>> members(Tx& tx, bytes_view name) const {
        std::vector<std::uint64_t> all;
        bytes raw;
        auto found = tx.get(named('m', name), raw);
        if (!found) { return found.error(); }
        if (!*found) { return all; }
        cbor_reader in{raw};
        std::size_t const n = in.array();
        for (std::size_t i = 0; i < n && !in.failed(); ++i) { all.push_back(in.unsigned_integer()); }
        if (!in.finish()) { return failure{errc::corrupt, "scopes of a record"}; }
        return all;
    }
    /// A record is in these and no others. `now` ascends. Cost: a get; where it changes, a put and one for each change.
    template <storage_transaction Tx>
    [[nodiscard]] status set_members(Tx& tx, bytes_view name, std::vector<std::uint64_t> const& now) const {
        auto was = members(tx, name);
        if (!was) { return was.error(); }
        if (!now.empty()) {
            if (auto ok = tx.erase(named('x', name)); !ok) { return ok; }
        }
        if (*was == now) { return {}; }
        for (std::uint64_t const n : *was) {
            if (std::binary_search(now.begin(), now.end(), n)) { continue; }
            if (auto ok = tx.erase(member(n, name)); !ok) { return ok; }
        }
        for (std::uint64_t const n : now) {
            if (std::binary_search(was->begin(), was->end(), n)) { continue; }
            if (auto ok = tx.put(member(n, name), {}); !ok) { return ok; }
        }
        if (now.empty()) { return tx.erase(named('m', name)); }
        bytes raw;
        cbor_writer w{raw};
        w.array(now.size());
        for (std::uint64_t const n : now) { w.unsigned_integer(n); }
        return tx.put(named('m', name), raw);
    }
    /// Visits the names of the records of a number from one key to another, in their order.
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, std::uint64_t number, bytes_view from, bytes_view to,
                              function_ref<bool(bytes_view name)> visit) const {
        bytes const first = member(number, from);
        bytes const end = member(number, to);
        std::size_t const head = member(number, {}).size();
        return tx.scan({first, end}, [&](bytes_view k, bytes_view) { return visit(k.subspan(head)); });
    }
    /// The first `count` records of a number.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<bytes>> first_of(Tx& tx, std::uint64_t number, std::size_t count) const {
        return names(tx, numbered('n', number), count);
    }

    // Records in no scope on which something pends.

    template <storage_transaction Tx>
    [[nodiscard]] status keep_for_now(Tx& tx, bytes_view name) const {
        return tx.put(named('x', name), {});
    }
    template <storage_transaction Tx>
    [[nodiscard]] status kept_no_more(Tx& tx, bytes_view name) const {
        return tx.erase(named('x', name));
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> kept_for_now(Tx& tx, bytes_view name) const {
        bytes raw;
        return tx.get(named('x', name), raw);
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<bytes>> all_kept_for_now(Tx& tx, std::size_t count) const {
        return names(tx, key('x'), count);
    }

private:
    [[nodiscard]] bytes key(char kind) const {
        bytes k = prefix_;
        k.push_back(static_cast<std::byte>(kind));
        return k;
    }
    [[nodiscard]] bytes numbered(char kind, std::uint64_t n) const {
        bytes k = key(kind);
        append_u64(k, n);
        return k;
    }
    [[nodiscard]] bytes named(char kind, bytes_view name) const {
        bytes k = key(kind);
        append(k, name);
        return k;
    }
    [[nodiscard]] bytes member(std::uint64_t n, bytes_view name) const {
        bytes k = numbered('n', n);
        append(k, name);
        return k;
    }
    template <class Tx>
    [[nodiscard]] static result<std::vector<bytes>> names(Tx& tx, bytes const& prefix, std::size_t count) {
        std::vector<bytes> all;
        if (count == 0) { return all; }
        auto ok = scan_prefix(tx, prefix, [&](bytes_view k, bytes_view) {
            all.push_back(to_bytes(k.subspan(prefix.size())));
            return all.size() < count;
        });
        if (!ok) { return ok.error(); }
        return all;
    }

    bytes prefix_;
};

}  // namespace syncline::inline SYNCLINE_ABI
