// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Whether a replica holds what its authority has: a bounded, resumable walk over fingerprints of ranges of keys, at one
/// position; ranges that differ are fetched again, and scopes joined again.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/model/record.hpp>
#include <syncline/model/schema.hpp>
#include <syncline/reconcile/fingerprint.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/range_sums.hpp>
#include <syncline/replica/ranges.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/scopes.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::size_t integrity_parts_max = 1'024;    ///< of one answer
inline constexpr std::size_t integrity_moved_max = 1'024;    ///< keys of changed records in one answer
inline constexpr std::uint64_t integrity_rows_max = 65'536;  ///< that one answer is asked to look at

/// Of a replica that holds scopes: the one that is asked about.
struct integrity_scope {
    std::uint64_t generation = 0;  ///< of what the asker holds; the answer names it again
    std::uint64_t mask = 0;        ///< of the fields that are hidden from it, as it was told
    scope what{};
    friend bool operator==(integrity_scope const&, integrity_scope const&) = default;
};

/// What one end asks: the fingerprints of what follows `from`, as it was at `at`.
struct integrity_ask {
    reconcile_key key{};               ///< drawn for the walk: nobody could choose rows to collide under it
    position at = 0;                   ///< the asker holds everything up to here, and nothing later
    bytes from{};                      ///< a key, or nothing: from the first
    std::uint64_t rows_part = 0;       ///< rows of one part
    std::uint64_t rows_max = 0;        ///< rows of the answer
    std::vector<schema_of> schemas{};  ///< as in a request
    std::optional<integrity_scope> scope{};
    friend bool operator==(integrity_ask const&, integrity_ask const&) = default;
};

/// A range of keys, from where the part before it ends.
struct integrity_part {
    bytes to{};                  ///< its end
    fingerprint sum{};           ///< of its living records, but for those in `moved`
    std::vector<bytes> moved{};  ///< keys of records in it that changed after `at`: they come with the next pull
    friend bool operator==(integrity_part const&, integrity_part const&) = default;
};
struct integrity_answer {
    std::uint32_t key_check = 0;  ///< of the walk that it answers
    position at = 0;
    bytes from{};
    std::vector<integrity_part> parts{};  ///< one at least; the last ends at `key_space_end()` when nothing follows
    std::uint64_t generation = 0;         ///< of an ask about a scope; else 0
    friend bool operator==(integrity_answer const&, integrity_answer const&) = default;
};

namespace detail {

inline constexpr std::array<std::byte, 3> integrity_magic{std::byte{'S'}, std::byte{'Y'}, std::byte{'I'}};

[[nodiscard]] inline bytes read_bound(cbor_reader& in) {
    bytes b = to_bytes(in.byte_string());
    if (b.size() > range_bound_bytes_max) { in.fail({errc::malformed, "a bound that is too long"}); }
    return b;
}

}  // namespace detail

/// True for a message that `answer_integrity` is for, so that a server with one address knows where it belongs.
[[nodiscard]] inline bool is_integrity_ask(bytes_view message) noexcept {
    return message.size() >= frame_bytes && starts_with(message, detail::integrity_magic);
}

/// A frame like that of a request, under "SYI"; the body is a map: 1 key, 2 position, 3 from, 4 rows of a part, 5 rows,
/// 6 of a scope an array of generation, mask, name and parameter, 14 schemas, where there are some.
[[nodiscard]] inline bytes encode(integrity_ask const& q) {
    bytes out(frame_bytes);
    cbor_writer w{out};
    w.map(std::size_t{5} + (q.schemas.empty() ? 0 : 1) + (q.scope ? 1 : 0));
    w.unsigned_integer(1);
    w.byte_string(q.key.bytes);
    w.unsigned_integer(2);
    w.unsigned_integer(q.at);
    w.unsigned_integer(3);
    w.byte_string(q.from);
    w.unsigned_integer(4);
    w.unsigned_integer(q.rows_part);
    w.unsigned_integer(5);
    w.unsigned_integer(q.rows_max);
    if (q.scope) {
        w.unsigned_integer(6);
        w.array(4);
        w.unsigned_integer(q.scope->generation);
        w.unsigned_integer(q.scope->mask);
        detail::encode_scope(w, q.scope->what);
    }
    if (!q.schemas.empty()) {
        w.unsigned_integer(schemas_key);
        w.array(q.schemas.size() * 2);
        for (schema_of const& s : q.schemas) {
            w.text(s.collection);
            w.unsigned_integer(s.version);
        }
    }
    detail::seal_frame(out, detail::integrity_magic);
    return out;
}
/// Errors: as of `decode_request`.
[[nodiscard]] inline result<integrity_ask> decode_integrity_ask(bytes_view message, decode_limits const& limits = {}) {
    auto const body = detail::open_frame(message, detail::integrity_magic);
    if (!body) { return body.error(); }
    integrity_ask q;
    unsigned seen = 0;
    cbor_reader in{*body, limits};
    auto const ok = detail::read_body(in, [&](std::uint64_t key) {
        if (key <= 5) { seen |= 1U << key; }
        switch (key) {
            case 1: q.key.bytes = detail::read_id(in).bytes; return true;
            case 2: q.at = in.unsigned_integer(); return true;
            case 3: q.from = detail::read_bound(in); return true;
            case 4: q.rows_part = in.unsigned_integer(); return true;
            case 5: q.rows_max = in.unsigned_integer(); return true;
            case 6: {
                if (in.array() != 4) { in.fail({errc::malformed, "a scope of the wrong length"}); }
                integrity_scope s;
                s.generation = in.unsigned_integer();
                s.mask = in.unsigned_integer();
                s.what = detail::decode_scope(in);
                q.scope = std::move(s);
                return true;
            }
            case schemas_key: q.schemas = detail::decode_schemas(in); return true;
            default: return false;
        }
    });
    if (!ok) { return ok.error(); }
    if (seen != 0b111110) { return failure{errc::malformed, "a part of the ask is missing"}; }
    if (q.rows_part == 0 || q.rows_max == 0 || compare(q.from, key_space_end()) >= 0) {
        return failure{errc::malformed, "an ask for nothing"};
    }
    return q;
}

/// The body is a map: 1 the key's check, 2 position, 3 from, 4 parts: an array of end, sum and an array of keys for each;
/// 5 the generation, of an ask about a scope.
[[nodiscard]] inline bytes encode(integrity_answer const& a) {
    bytes out(frame_bytes);
    cbor_writer w{out};
    w.map(a.generation == 0 ? 4 : 5);
    w.unsigned_integer(1);
    w.unsigned_integer(a.key_check);
    w.unsigned_integer(2);
    w.unsigned_integer(a.at);
    w.unsigned_integer(3);
    w.byte_string(a.from);
    w.unsigned_integer(4);
    w.array(a.parts.size() * 3);
    bytes sum;
    for (integrity_part const& p : a.parts) {
        w.byte_string(p.to);
        sum.clear();
        append_fingerprint(sum, p.sum);
        w.byte_string(sum);
        w.array(p.moved.size());
        for (bytes const& k : p.moved) { w.byte_string(k); }
    }
    if (a.generation != 0) {
        w.unsigned_integer(5);
        w.unsigned_integer(a.generation);
    }
    detail::seal_frame(out, detail::integrity_magic);
    return out;
}
/// Errors: as of `decode_reply`.
[[nodiscard]] inline result<integrity_answer> decode_integrity_answer(bytes_view message,
                                                                      decode_limits const& limits = {}) {
    auto const body = detail::open_frame(message, detail::integrity_magic);
    if (!body) { return body.error(); }
    integrity_answer a;
    unsigned seen = 0;
    cbor_reader in{*body, limits};
    auto const parts = [&] {
        std::size_t const n = in.array();
        if (n == 0 || n % 3 != 0) { in.fail({errc::malformed, "parts of the wrong length"}); }
        if (n / 3 > integrity_parts_max) { in.fail({errc::limit, "too many parts"}); }
        std::size_t moved = 0;
        for (std::size_t i = 0; i < n / 3 && !in.failed(); ++i) {
            integrity_part p;
            p.to = detail::read_bound(in);
            bytes_view const sum = in.byte_string();
            if (sum.size() != fingerprint_bytes) {
                in.fail({errc::malformed, "fingerprint of the wrong length"});
                break;
            }
            p.sum = read_fingerprint(sum);
            std::size_t const keys = in.array();
            if (keys > integrity_moved_max - moved) { in.fail({errc::limit, "too many changed records"}); }
            for (std::size_t k = 0; k < keys && !in.failed(); ++k) { p.moved.push_back(detail::read_bound(in)); }
            moved += p.moved.size();
            a.parts.push_back(std::move(p));
        }
    };
    auto const ok = detail::read_body(in, [&](std::uint64_t key) {
        if (key <= 4) { seen |= 1U << key; }
        switch (key) {
            case 1: {
                std::uint64_t const check = in.unsigned_integer();
                if (check > 0xFFFFFFFF) { in.fail({errc::malformed, "check out of range"}); }
                a.key_check = static_cast<std::uint32_t>(check);
                return true;
            }
            case 2: a.at = in.unsigned_integer(); return true;
            case 3: a.from = detail::read_bound(in); return true;
            case 4: parts(); return true;
            case 5: a.generation = in.unsigned_integer(); return true;
            default: return false;
        }
    });
    if (!ok) { return ok.error(); }
    if (seen != 0b11110) { return failure{errc::malformed, "a part of the answer is missing"}; }
    bytes_view last = a.from;
    bytes const end = key_space_end();
    for (integrity_part const& p : a.parts) {
        if (compare(last, p.to) >= 0 || compare(p.to, end) > 0) {
            return failure{errc::malformed, "parts out of order"};
        }
        bytes_view before = last;
        for (std::size_t i = 0; i < p.moved.size(); ++i) {
            bool const in_order = i == 0 ? compare(before, p.moved[i]) <= 0 : compare(before, p.moved[i]) < 0;
            if (!in_order || compare(p.moved[i], p.to) >= 0) {
                return failure{errc::malformed, "a changed record outside of its part"};
            }
            before = p.moved[i];
        }
        last = p.to;
    }
    return a;
}

/// The authority's end: answers an ask from what it holds; reads only, and keeps nothing.
///
/// `message` is a stranger's, and `principal` who sent it, as with a request: an answer tells keys. Beside scopes it is about
/// one of them, and hangs on nothing but what its asker is told of that; about everything only who holds everything is
/// answered. Errors: those of `decode_integrity_ask`; `errc::authority_changed` when the asker holds more than this authority
/// ever had; `errc::forbidden` for what is not the asker's to hold, `errc::contended` when other fields are hidden by now:
/// exchange first; `errc::unsupported` for a scope where there are none; `errc::busy` while the scopes' index has to be
/// built; `errc::corrupt` when a row here does not decode; the storage's. Cost: reads at most `rows_max` rows, of the ask and
/// of `integrity_rows_max` the fewer, tombstones among them, and hashes them; of a scope its index too.
template <storage_transaction Tx, class Validate, class Journal>
[[nodiscard]] result<bytes> answer_integrity(Tx& tx, authority<Validate, Journal> const& a, std::string_view principal,
                                             bytes_view message) {
    auto const q = decode_integrity_ask(message, a.options().message);
    if (!q) { return q.error(); }
    scope_table const* const scopes = a.options().scopes;
    if (q->scope && scopes == nullptr) { return failure{errc::unsupported, "there are no scopes here"}; }
    if (!q->scope && scopes != nullptr) {
        // Sums over all rows would tell of what the asker may not read.
        bool const hides = a.options().mask != nullptr && a.options().mask->fingerprint(principal) != 0;
        if (hides || !scopes->unscoped(principal)) { return failure{errc::forbidden, "scopes must be asked for"}; }
    }
    auto const head = a.head(tx);
    if (!head) { return head.error(); }
    if (q->at > *head) {
        return failure{errc::authority_changed, "the asker has seen more than was ever decided here"};
    }

    schema_table const& schemas = a.options().schemas == nullptr ? detail::first_versions : *a.options().schemas;
    auto const carry_down = [&](std::string_view collection, row& r) {
        collection_schema const& schema = schemas.of(collection);
        // One that is closed to it is told as it is.
        (void)schema.cast(r, (std::min)(detail::known_version(q->schemas, collection), schema.version()));
    };

    integrity_answer answer;
    detail::row_sum sum{q->key};
    answer.key_check = sum.key_check();
    answer.at = q->at;
    answer.from = q->from;
    answer.generation = q->scope ? q->scope->generation : 0;
    std::uint64_t const rows_max = (std::min)(q->rows_max, integrity_rows_max);
    std::uint64_t const rows_part = (std::max)(q->rows_part, rows_max / integrity_parts_max + 1);
    std::uint64_t looked = 0;
    std::uint64_t in_part = 0;
    std::size_t moved = 0;
    std::vector<bytes> changed;
    bytes end = key_space_end();
    auto const look = [&](record_key const& k, row& r, bool later) {
        if (looked == rows_max || moved == integrity_moved_max) {
            end = to_bytes(k);
            return false;
        }
        if (in_part == rows_part) {
            answer.parts.push_back({to_bytes(k), sum.take(), std::exchange(changed, {})});
            in_part = 0;
        }
        ++looked;
        ++in_part;
        if (later) {
            changed.push_back(to_bytes(k));
            ++moved;
        } else if (!r.deleted) {
            carry_down(k.collection, r);
            sum.add(k, r);
        }
        return true;
    };
    status ok;
    if (q->scope) {
        ok = a.scan_scope(
            tx, principal, q->scope->what, q->scope->mask, q->from, q->at, static_cast<std::size_t>(rows_max) + 1,
            [&](auto& one) { return look(one.key, one.state, one.moved > q->at || one.state.version > q->at); });
    } else {
        ok = a.scan_range(tx, {q->from, key_space_end()},
                          [&](record_key const& k, row& r) { return look(k, r, r.version > q->at); });
    }
    if (!ok) { return ok.error(); }
    answer.parts.push_back({std::move(end), sum.take(), std::move(changed)});
    return encode(answer);
}
/// The same of an authority without scopes, where who asks may hold everything; beside scopes `errc::unsupported`.
template <storage_transaction Tx, class Validate, class Journal>
[[nodiscard]] result<bytes> answer_integrity(Tx& tx, authority<Validate, Journal> const& a, bytes_view message) {
    if (a.options().scopes != nullptr) { return failure{errc::unsupported, "beside scopes it matters who asks"}; }
    return answer_integrity(tx, a, {}, message);
}
/// The same over a store.
template <storage S, class Validate, class Journal>
[[nodiscard]] result<bytes> serve_integrity(S& store, authority<Validate, Journal> const& a, std::string_view principal,
                                            bytes_view message) {
    auto tx = store.begin(access_mode::read);
    if (!tx) { return tx.error(); }
    return answer_integrity(*tx, a, principal, message);
}
template <storage S, class Validate, class Journal>
[[nodiscard]] result<bytes> serve_integrity(S& store, authority<Validate, Journal> const& a, bytes_view message) {
    auto tx = store.begin(access_mode::read);
    if (!tx) { return tx.error(); }
    return answer_integrity(*tx, a, message);
}

struct integrity_options {
    std::uint64_t rows_part = 128;   ///< that one fingerprint covers, and that one difference fetches again; > 0
    std::uint64_t rows_max = 8'192;  ///< that one ask covers: what bounds a step at either end; 1 to 65,536
    decode_limits message{};
    friend constexpr bool operator==(integrity_options const&, integrity_options const&) = default;
};
[[nodiscard]] constexpr bool valid(integrity_options const& o) noexcept {
    return o.rows_part > 0 && o.rows_max > 0 && o.rows_max <= integrity_rows_max;
}

/// How far a walk is, and what it found.
struct integrity_report {
    std::uint64_t rows = 0;         ///< living records that were compared
    std::uint64_t compared = 0;     ///< ranges of them
    std::uint64_t differing = 0;    ///< ranges that differed, and are fetched again
    std::uint64_t passed_over = 0;  ///< ranges that were not held yet, or were being fetched already
    bool done = false;              ///< the walk has come to the last key
    friend bool operator==(integrity_report const&, integrity_report const&) = default;
};

/// The replica's end of the walk. It is in storage: after a crash it goes on where it was.
///
/// `begin`, then `ask`, the exchange and `absorb` until `ask` answers nothing; between them the replica may write and sync
/// as ever. What differs is wanted again (`replica::refetch`, of a scope `replica::rejoin`), and the next exchanges of the session bring it: pending
/// mutations are laid over it, nothing that was written here is lost. What is compared are the living records as they are
/// confirmed. Holds options and its prefix, and nothing else.
class integrity_check {
public:
    /// Precondition: valid(options); the prefix has 1 to 64 bytes and belongs to nothing else.
    explicit integrity_check(integrity_options options = {}, std::string_view prefix = "ck")
        : options_(options), key_(to_bytes(prefix)) {
        SYNCLINE_ASSERT(valid(options));
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }

    /// Begins a walk at the first key; one that is under way is forgotten.
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] status begin(Tx& tx, G& random) const {
        walk w;
        for (std::size_t half = 0; half < 2; ++half) {
            std::uint64_t const drawn = random();
            for (std::size_t i = 0; i < 8; ++i) {
                w.key.bytes[half * 8 + i] = static_cast<std::byte>(drawn >> (8 * i));
            }
        }
        return write(tx, w);
    }
    /// What the last walk found, so far; nothing when none was begun. Errors: the storage's, `errc::corrupt`.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<integrity_report>> report(Tx& tx) const {
        auto const w = read(tx);
        if (!w) { return w.error(); }
        return *w ? std::optional<integrity_report>{(*w)->found} : std::nullopt;
    }
    /// What is to be asked next; nothing when the walk is done, or none was begun. Of a replica that holds scopes those are
    /// walked over that are complete, one after the other: nothing while none is. Reads only.
    template <storage_transaction Tx, class Records, class Journal>
    [[nodiscard]] result<std::optional<bytes>> ask(Tx& tx, basic_replica<Records, Journal> const& r) const {
        auto const w = read(tx);
        if (!w) { return w.error(); }
        if (!*w || (*w)->found.done) { return std::optional<bytes>{}; }
        auto const stands = r.status_of(tx);
        if (!stands) { return stands.error(); }
        integrity_ask q;
        q.key = (*w)->key;
        q.at = stands->cursor;
        q.from = (*w)->from;
        q.rows_part = options_.rows_part;
        q.rows_max = options_.rows_max;
        if (r.options().scoped) {
            auto const on = next_scope(tx, r, **w);
            if (!on) { return on.error(); }
            if (!*on) { return std::optional<bytes>{}; }
            auto const all = r.scopes_state(tx);
            if (!all) { return all.error(); }
            if ((*on)->number != (*w)->number) { q.from.clear(); }
            q.scope = integrity_scope{all->generation, all->mask, (*on)->what};
        }
        if (r.options().schemas != nullptr) {
            r.options().schemas->each([&](std::string_view name, schema_version v) {
                if (v != 1) { q.schemas.push_back({std::string(name), v}); }
            });
        }
        return std::optional<bytes>{encode(q)};
    }
    /// Takes an answer in: compares, wants again what differs, and goes on behind it.
    ///
    /// `message` is a stranger's. An answer to another ask, or as of a position that the replica has left meanwhile, changes
    /// nothing: ask again. Errors, to be rolled back: those of `decode_integrity_answer`, the storage's, `errc::corrupt` for
    /// the walk itself. Records that do not decode are no error: their range differs.
    /// Cost: reads the ranges of the answer once. An observer hears how many rows were checked, and how many ranges were bad.
    template <storage_transaction Tx, class Records, class Journal, observer O = no_observer>
    [[nodiscard]] status absorb(Tx& tx, basic_replica<Records, Journal> const& r, bytes_view message,
                                O&& told = {}) const {
        auto const a = decode_integrity_answer(message, options_.message);
        if (!a) { return a.error(); }
        auto w = read(tx);
        if (!w) { return w.error(); }
        auto const stands = r.status_of(tx);
        if (!stands) { return stands.error(); }
        if (!*w || (*w)->found.done) { return {}; }
        walk& now = **w;
        detail::row_sum sum{now.key};
        if (r.options().scoped) {
            auto const on = next_scope(tx, r, now);
            if (!on) { return on.error(); }
            auto const all = r.scopes_state(tx);
            if (!all) { return all.error(); }
            if (!*on || a->generation != all->generation) { return {}; }
            if (now.until == 0) { now.until = all->next; }
            if ((*on)->number != now.number) {
                now.number = (*on)->number;
                now.from.clear();
            }
        }
        if (a->key_check != sum.key_check() || a->at != stands->cursor || !equal(a->from, now.from)) { return {}; }

        integrity_report const before = now.found;
        for (integrity_part const& p : a->parts) {
            record_range const range{std::exchange(now.from, p.to), p.to};
            auto const whole = now.number == 0 ? r.complete(tx, range) : result<bool>{true};
            if (!whole) { return whole.error(); }
            if (!*whole) {
                ++now.found.passed_over;
                continue;
            }
            auto const same = compare_part(tx, r, range, p, now.number, sum, now.found.rows);
            if (!same) { return same.error(); }
            ++now.found.compared;
            if (*same) { continue; }
            ++now.found.differing;
            if (now.number == 0) {
                if (auto ok = r.refetch(tx, range); !ok) { return ok; }
                continue;
            }
            // A scope is told whole or not at all.
            if (auto ok = r.rejoin(tx, now.number); !ok) { return ok; }
            now.from = key_space_end();
            break;
        }
        now.found.done = equal(now.from, key_space_end());
        if (now.found.done && now.number != 0) {
            ++now.number;
            now.from.clear();
            auto const on = next_scope(tx, r, now);
            if (!on) { return on.error(); }
            now.found.done = !*on;
        }
        if (auto ok = write(tx, now); !ok) { return ok; }
        told.counted(metric_counter::rows_checked, now.found.rows - before.rows);
        told.counted(metric_counter::rows_bad_fingerprint, now.found.differing - before.differing);
        return {};
    }

private:
    struct walk {
        reconcile_key key{};
        bytes from{};
        integrity_report found{};
        std::uint64_t number = 0;  ///< of the scope that is walked over, or of the first to be; 0: all is
        std::uint64_t until = 0;   ///< scopes of this number on were joined since; 0: not known yet
    };

    /// The scope that is walked over now: the first that is complete from where the walk is.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] static result<std::optional<held_scope>> next_scope(Tx& tx, basic_replica<Records, Journal> const& r,
                                                                      walk const& w) {
        std::optional<held_scope> found;
        auto const ok = r.scopes(tx, [&](held_scope const& h) {
            bool const here = h.number >= w.number && (w.until == 0 || h.number < w.until);
            if (here && h.is == held_scope::state::complete) { found = h; }
            return !found;
        });
        if (!ok) { return ok.error(); }
        return found;
    }

    template <class Tx, class Records, class Journal>
    [[nodiscard]] static result<bool> compare_part(Tx& tx, basic_replica<Records, Journal> const& r,
                                                   record_range const& range, integrity_part const& p,
                                                   std::uint64_t scope, detail::row_sum& sum, std::uint64_t& rows) {
        std::size_t next = 0;
        auto const look = [&](record_key const& k, row const& state) {
            if (state.deleted) { return true; }
            if (next < p.moved.size()) {
                bytes const name = to_bytes(k);
                while (next < p.moved.size() && compare(p.moved[next], name) < 0) { ++next; }
                if (next < p.moved.size() && equal(p.moved[next], name)) { return true; }
            }
            sum.add_held(k, state, r.options().schemas);
            return true;
        };
        auto const ok = scope == 0 ? r.scan_confirmed(tx, range, look) : r.scan_scope(tx, scope, range, look);
        rows += sum.rows();
        fingerprint const here = sum.take();
        if (!ok && ok.error() != errc::corrupt) { return ok.error(); }
        return ok && here == p.sum;
    }

    template <class Tx>
    [[nodiscard]] result<std::optional<walk>> read(Tx& tx) const {
        bytes raw;
        auto const found = tx.get(key_, raw);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<walk>{}; }
        cbor_reader in{raw};
        walk w;
        bool const good = in.array() == 9;
        w.key.bytes = detail::read_id(in).bytes;
        w.from = detail::read_bound(in);
        w.found.rows = in.unsigned_integer();
        w.found.compared = in.unsigned_integer();
        w.found.differing = in.unsigned_integer();
        w.found.passed_over = in.unsigned_integer();
        w.found.done = in.boolean();
        w.number = in.unsigned_integer();
        w.until = in.unsigned_integer();
        if (!good || !in.finish()) { return failure{errc::corrupt, "integrity check"}; }
        return std::optional<walk>{std::move(w)};
    }
    template <class Tx>
    [[nodiscard]] status write(Tx& tx, walk const& w) const {
        bytes raw;
        cbor_writer out{raw};
        out.array(9);
        out.byte_string(w.key.bytes);
        out.byte_string(w.from);
        out.unsigned_integer(w.found.rows);
        out.unsigned_integer(w.found.compared);
        out.unsigned_integer(w.found.differing);
        out.unsigned_integer(w.found.passed_over);
        out.boolean(w.found.done);
        out.unsigned_integer(w.number);
        out.unsigned_integer(w.until);
        return tx.put(key_, raw);
    }

    integrity_options options_;
    bytes key_;
};

}  // namespace syncline::inline SYNCLINE_ABI
