// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Adoption: records that a program had before it synchronised, or that another store holds, brought into a replica
/// that is full already. The two have no common base; they are matched by natural key.

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/conflict/conflict.hpp>
#include <syncline/conflict/queue.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/merge/three_way.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/constraints.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// A record of the store that is adopted. Borrowed for the call that tells it.
struct source_record {
    bytes_view id{};                     ///< 1 to 255 bytes, unique in its collection of this source
    bytes_view fields{};                 ///< a canonical map with text keys
    std::optional<wall_time> written{};  ///< when it was written last; nothing where nobody knows
};

/// What is adopted: a program's own tables, or another store.
///
/// Notation: `s` lvalue of S, `collection` one of the plan's, `after` an id that `s` has told, or empty, `visit` a
/// visitor that answers whether to go on.
/// | expression                        | result | meaning |
/// | s.scan(collection, after, visit)  | status | tells the collection's records that come after `after`; empty: all |
/// Axioms:
///   order: the order is always the same one, and each record is told once in it, whatever was told before;
///   resumption: it goes on after an id also where that record is gone since.
/// A visitor only takes copies. The source is never written.
template <class S>
concept adoption_source = requires(S& s, std::string_view collection, bytes_view after,
                                   function_ref<bool(source_record const&)> visit) {
    { s.scan(collection, after, visit) } -> std::same_as<status>;
};

/// What another replica shows, as a source: of whatever authority, in the caller's transaction on its store.
template <storage_transaction Tx, class Records, class Journal>
class replica_source {
public:
    /// Both outlive it.
    replica_source(Tx& tx, basic_replica<Records, Journal> const& from) noexcept : tx_(&tx), from_(&from) {}

    [[nodiscard]] status scan(std::string_view collection, bytes_view after,
                              function_ref<bool(source_record const&)> visit) const {
        bytes first;
        append_key(first, collection, after);
        bytes const end = prefix_end(first_of(collection));
        return from_->records().scan_range(*tx_, first, end, [&](record_key const& k, held_record& h) {
            if (h.visible.deleted || equal(k.id, after)) { return true; }
            timestamp last = h.visible.floor.stamp;
            for (field_mark const& m : h.visible.exceptions) { last = (std::max)(last, m.mark.stamp); }
            return visit({k.id, h.visible.fields, last.time()});
        });
    }

private:
    [[nodiscard]] static bytes first_of(std::string_view collection) {
        bytes out;
        append_key(out, collection, {});
        return out;
    }
    Tx* tx_;
    basic_replica<Records, Journal> const* from_;
};

/// How a record that is created gets its id.
enum class adopted_id : std::uint8_t {
    /// Made of the natural key by `natural_id`: two devices that adopt the same thing create the same record. Where the
    /// natural key isn't complete, made of the source's name and the old id.
    natural,
    /// The old one: where ids are unique over all stores. One that another record has is made as above. Records that no
    /// natural key matches are matched by it.
    kept,
};

/// A field that holds the id, or an array of ids, of records of a collection that is adopted too.
struct adopted_reference {
    std::string field;
    std::string parent;
};

/// How the records of one collection are adopted.
struct adopted_collection {
    std::string collection;
    std::vector<std::string> key{};  ///< the natural key's fields, in the order that is always used; empty: none
    std::vector<adopted_reference> references{};
    adopted_id ids = adopted_id::natural;
    /// Ids that are made are 32 hexadecimal digits, which a text field can hold; false: the 16 bytes of `natural_id`.
    bool text_ids = true;
    /// What decides a field that both have with different values; null: the replica's rules. As there is no base, a
    /// counter's sum, a text's or a sequence's merge would mean nothing: those fields are for a person, as `manual` is.
    std::optional<collection_rules> rules{};
};

/// What is adopted, and how.
struct adoption_plan {
    std::string source;  ///< the source's name, 1 to 255 bytes of UTF-8: always the same, and no other store's
    /// Parents before their children where a natural key has a reference in it.
    std::vector<adopted_collection> collections{};
};

/// What became of a record of the source. Stored: append, never renumber.
enum class adopted : std::uint8_t {
    joined = 1,   ///< its match was equal
    merged = 2,   ///< its match took what the rules say, which may be nothing
    queued = 3,   ///< some of its fields wait in the conflict queue for a person; the others are merged
    created = 4,  ///< nothing matched it
    refused = 5,  ///< it may not be written as it is: listed by `left`; a later run tries again
    kept = 6,     ///< adopted by an earlier run, and not changed in the source since
};
[[nodiscard]] constexpr char const* name(adopted a) noexcept {
    switch (a) {
        case adopted::joined: return "joined";
        case adopted::merged: return "merged";
        case adopted::queued: return "queued";
        case adopted::created: return "created";
        case adopted::refused: return "refused";
        case adopted::kept: return "kept";
    }
    return "unknown outcome";
}

/// One record and what became of it. Borrowed for the call that tells it.
struct adopted_row {
    record_key const& source;
    record_key const& target;
    adopted how = adopted::joined;
    bytes_view before{};                        ///< the target's fields; empty: it was not there
    bytes_view after{};                         ///< those that it has now; of a refused record what was refused
    std::vector<std::string> const& contested;  ///< those that wait for a person
    failure why{};                              ///< of a refused one
};

/// Each record of the source counts once among the first six.
struct adoption_counts {
    std::uint64_t joined = 0;
    std::uint64_t merged = 0;
    std::uint64_t queued = 0;
    std::uint64_t created = 0;
    std::uint64_t refused = 0;
    std::uint64_t kept = 0;
    std::uint64_t indexed = 0;     ///< records of the replica that were looked at
    std::uint64_t ambiguous = 0;   ///< of these, with a natural key that one before had: nothing is matched to them
    std::uint64_t duplicates = 0;  ///< of the source's, with a match that one before had: never merged, but queued
    [[nodiscard]] constexpr std::uint64_t records() const noexcept {
        return joined + merged + queued + created + refused + kept;
    }
    friend bool operator==(adoption_counts const&, adoption_counts const&) = default;
};

struct adoption_report {
    adoption_counts counts{};  ///< since the run began
    bool more = true;          ///< call again
    /// The outbox or the conflict queue is full: exchange, or let conflicts be decided, before the next call.
    bool full = false;
    friend bool operator==(adoption_report const&, adoption_report const&) = default;
};

/// Whether a plan can be carried out.
[[nodiscard]] inline bool valid(adoption_plan const& plan) {
    if (plan.source.empty() || plan.source.size() > 255 || !valid_utf8(plan.source)) { return false; }
    auto const is_field = [](std::string const& f) {
        return !f.empty() && f.size() <= field_name_bytes_max && valid_utf8(f);
    };
    auto const place_of = [&](std::string const& collection) {
        auto const at = std::find_if(plan.collections.begin(), plan.collections.end(),
                                     [&](adopted_collection const& c) { return c.collection == collection; });
        return static_cast<std::size_t>(at - plan.collections.begin());
    };
    for (std::size_t i = 0; i < plan.collections.size(); ++i) {
        adopted_collection const& c = plan.collections[i];
        if (!valid(record_key{c.collection, "-"}) || place_of(c.collection) != i) { return false; }
        for (auto f = c.key.begin(); f != c.key.end(); ++f) {
            if (!is_field(*f) || std::find(f + 1, c.key.end(), *f) != c.key.end()) { return false; }
        }
        for (auto r = c.references.begin(); r != c.references.end(); ++r) {
            std::size_t const parent = place_of(r->parent);
            bool const in_key = std::find(c.key.begin(), c.key.end(), r->field) != c.key.end();
            bool const again = std::any_of(r + 1, c.references.end(),
                                           [&](adopted_reference const& other) { return other.field == r->field; });
            if (!is_field(r->field) || parent == plan.collections.size() || (in_key && parent >= i) || again) {
                return false;
            }
        }
    }
    return !plan.collections.empty() && plan.collections.size() <= 1'000;
}

/// The plan that a program's constraints come to: the first unique constraint of a collection is its natural key, its
/// references are rewritten, and parents come before their children. Collections that no constraint names are not in it.
[[nodiscard]] inline adoption_plan adoption_plan_of(std::string_view source, constraint_table const& table) {
    adoption_plan plan;
    plan.source = std::string{source};
    std::vector<adopted_collection> all;
    auto const of = [&](std::string const& collection) -> adopted_collection& {
        for (adopted_collection& c : all) {
            if (c.collection == collection) { return c; }
        }
        all.push_back({collection});
        return all.back();
    };
    for (unique_constraint const& c : table.uniques) {
        adopted_collection& one = of(c.collection);
        if (one.key.empty()) { one.key = c.fields; }
    }
    for (reference_constraint const& c : table.references) {
        of(c.collection).references.push_back({c.field, c.parent});
        (void)of(c.parent);
    }
    // A circle of references is broken where it is met: such a plan is only `valid` while no natural key is in it.
    auto const free = [&](adopted_collection const& c) {
        return std::none_of(c.references.begin(), c.references.end(), [&](adopted_reference const& r) {
            return r.parent != c.collection &&
                   std::any_of(all.begin(), all.end(),
                               [&](adopted_collection const& other) { return other.collection == r.parent; });
        });
    };
    while (!all.empty()) {
        auto next = std::find_if(all.begin(), all.end(), free);
        if (next == all.end()) { next = all.begin(); }
        plan.collections.push_back(std::move(*next));
        all.erase(next);
    }
    return plan;
}

/// Brings the records of a source into a replica, a step at a time, each in the caller's transaction.
///
/// First every record is matched, and only then is anything written, so that references find their records in whatever
/// order these come. A record is matched to the one with the same natural key; equal ones are joined; of others each
/// field is merged by its rule as if both had been written over nothing, and what a person must decide goes into the
/// conflict queue, where the desk decides it like any other. What nothing matches is created. What is written are the
/// replica's ordinary mutations.
///
/// Where it stands is in the replica's storage, and changes in the transaction of what was done: after a crash the next
/// step goes on, and nothing is done twice. After the end a step does nothing; `restart` begins a run that keeps what
/// is adopted and not changed since, and tries the rest.
/// In memory: the records of one step. Keys begin with `prefix`: "s" the state, "x" the index of natural keys while it
/// runs, "m" source, its record -> its target and outcome, for ever, "t" source, target -> the source's record that came
/// first to it. A source is 8 bytes of the SHA-256 of its name. Several sources are adopted one after the other, `restart`
/// between them.
///
/// The queue outlives it. Whoever uses a desk adopts into the desk's queue.
class adoption {
public:
    /// Precondition: the prefix has 1 to 64 bytes and is neither another component's, nor the beginning of one, nor
    /// begins with one.
    adoption(adoption_plan plan, conflict_queue const& queue, std::string_view prefix = "da")
        : plan_(std::move(plan)), queue_(&queue), prefix_(prefix), print_(fingerprint(plan_)) {
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }

    [[nodiscard]] adoption_plan const& plan() const noexcept { return plan_; }

    /// Goes on with at most `budget` records. `visit` hears of each that got its outcome.
    ///
    /// Errors, all to be rolled back: `errc::invalid` (a plan that is not `valid`, another plan than the run began with,
    /// a source's id that is none, `budget` 0); `errc::busy` where not all of a collection is held yet: exchange first;
    /// `errc::corrupt`, the storage's, the source's.
    /// Cost: O(`budget`) storage operations and replica writes; a scan of the collection for each record whose match got
    /// another natural key since it was matched.
    template <storage_transaction Tx, class Records, class Journal, adoption_source S>
    [[nodiscard]] result<adoption_report> step(Tx& tx, basic_replica<Records, Journal> const& r, S& source, instant now,
                                               std::size_t budget, function_ref<void(adopted_row const&)> visit) const {
        if (!valid(plan_) || budget == 0) { return failure{errc::invalid, "a plan that can't be carried out"}; }
        auto read = read_state(tx);
        if (!read) { return read.error(); }
        state s = *read ? std::move(**read) : state{};
        if (!*read) { s.print = print_; }
        if (s.print != print_) { return failure{errc::invalid, "another plan than the run began with"}; }
        adoption_report report;
        if (s.at == phase::done) {
            report.counts = s.counts;
            report.more = false;
            return report;
        }
        for (adopted_collection const& c : plan_.collections) {
            auto const all = r.complete(tx, c.collection);
            if (!all) { return all.error(); }
            if (!*all) { return failure{errc::busy, "not all of a collection is held yet"}; }
        }
        status ok;
        switch (s.at) {
            case phase::clearing:
            case phase::clearing_up: ok = clear(tx, s, budget); break;
            case phase::indexing: ok = index(tx, r, s, budget); break;
            case phase::matching: ok = match(tx, r, source, s, budget); break;
            case phase::writing: {
                writer<Tx, Records, Journal> w{*this, tx, r, now};
                ok = write(w, source, s, budget, visit);
                report.full = w.full;
                break;
            }
            case phase::done: break;
        }
        if (!ok) { return ok.error(); }
        if (auto kept = write_state(tx, s); !kept) { return kept.error(); }
        report.counts = s.counts;
        report.more = s.at != phase::done;
        return report;
    }

    /// How far it is. Errors: the storage's, `errc::corrupt`.
    template <storage_transaction Tx>
    [[nodiscard]] result<adoption_report> report(Tx& tx) const {
        auto s = read_state(tx);
        if (!s) { return s.error(); }
        adoption_report out;
        if (*s) {
            out.counts = (*s)->counts;
            out.more = (*s)->at != phase::done;
        }
        return out;
    }

    /// Begins a new run, also with another plan, of another source too; what is adopted stays so. For what was refused, for what the source
    /// has got since, and for what the authority did not accept.
    template <storage_transaction Tx>
    [[nodiscard]] status restart(Tx& tx) const {
        state s;
        s.print = print_;
        return write_state(tx, s);
    }

    /// Which record a record of the source has become, or is to become; nothing where it was not met yet. For what a
    /// program keeps beside, with old ids in it. Errors: `errc::corrupt`, the storage's.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<record_key>> target_of(Tx& tx, record_key const& source) const {
        if (!valid(source)) { return std::optional<record_key>{}; }
        auto m = find_match(tx, source);
        if (!m) { return m.error(); }
        if (!*m) { return std::optional<record_key>{}; }
        return std::optional<record_key>{record_key{source.collection, (*m)->target}};
    }

    /// Visits the records that were refused, and why, until the visitor says false. Cost: a scan of all matches.
    template <storage_transaction Tx>
    [[nodiscard]] status left(Tx& tx, function_ref<bool(record_key const&, errc why)> visit) const {
        status outcome;
        bytes const head = sourced('m');
        auto const ok = scan_prefix(tx, head, [&](bytes_view k, bytes_view raw) {
            auto const source = record_key_from(k.subspan(head.size()));
            auto const m = decode_match(raw);
            if (!source || !m) {
                outcome = failure{errc::corrupt, "adoption's match"};
                return false;
            }
            return m->outcome != adopted::refused || visit(*source, m->why);
        });
        return ok ? outcome : ok;
    }

private:
    enum class phase : std::uint8_t {
        clearing = 0,
        indexing = 1,
        matching = 2,
        writing = 3,
        clearing_up = 4,
        done = 5
    };
    struct state {
        sha256_digest print{};
        phase at = phase::clearing;
        std::uint64_t collection = 0;
        bytes after{};  ///< the last id that was looked at, of the replica or of the source
        adoption_counts counts{};
    };
    enum class match_kind : std::uint8_t { none = 0, found = 1, duplicate = 2 };
    struct match_entry {
        match_kind kind = match_kind::none;
        bytes target{};
        adopted outcome{};  ///< 0: none yet
        errc why{};
        bytes content{};  ///< hash of the source's record that got the outcome
    };
    static constexpr std::uint64_t form = 1;
    static constexpr std::size_t hash_bytes = 16;
    static constexpr std::size_t room_of_conflict =
        512;  ///< for what the queue adds to it: a history's entry has a name

    /// A copy of what the source told.
    struct taken_record {
        record_key key;
        bytes fields;
        std::optional<wall_time> written;
    };

    [[nodiscard]] bytes key(char kind) const {
        bytes k = to_bytes(prefix_);
        k.push_back(static_cast<std::byte>(kind));
        return k;
    }
    /// Of this source: another has the same ids for other things.
    [[nodiscard]] bytes sourced(char kind) const {
        bytes k = key(kind);
        auto const digest = sha256(as_bytes(plan_.source));
        append(k, bytes_view{digest}.first(8));
        return k;
    }
    [[nodiscard]] bytes named(char kind, record_key const& record) const {
        bytes k = sourced(kind);
        append_key(k, record.collection, record.id);
        return k;
    }
    [[nodiscard]] static sha256_digest fingerprint(adoption_plan const& plan) {
        bytes said;
        cbor_writer w{said};
        w.text(plan.source);
        for (adopted_collection const& c : plan.collections) {
            w.array(4 + c.key.size() + 2 * c.references.size());
            w.text(c.collection);
            w.unsigned_integer(c.key.size());
            w.unsigned_integer(static_cast<std::uint64_t>(c.ids));
            w.boolean(c.text_ids);
            for (std::string const& f : c.key) { w.text(f); }
            for (adopted_reference const& r : c.references) {
                w.text(r.field);
                w.text(r.parent);
            }
        }
        return sha256(said);
    }

    template <class Tx>
    [[nodiscard]] result<std::optional<state>> read_state(Tx& tx) const {
        bytes raw;
        auto const found = tx.get(key('s'), raw);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<state>{}; }
        cbor_reader in{raw};
        state s;
        bool const whole = in.array() == 14;
        std::uint64_t const written = in.unsigned_integer();
        if (!in.failed() && written > form) { return failure{errc::unsupported, "written by a later version"}; }
        bytes_view const print = in.byte_string();
        if (print.size() == s.print.size()) { std::copy(print.begin(), print.end(), s.print.begin()); }
        std::uint64_t const at = in.unsigned_integer();
        s.collection = in.unsigned_integer();
        s.after = to_bytes(in.byte_string());
        for (std::uint64_t* const n : counters(s.counts)) { *n = in.unsigned_integer(); }
        bool const fits = whole && print.size() == s.print.size() && at <= static_cast<std::uint64_t>(phase::done);
        // Of another plan the numbers mean another thing, and are not looked at.
        bool const within = s.print != print_ || s.collection < plan_.collections.size() || s.collection == 0;
        if (!fits || !within || !in.finish()) { return failure{errc::corrupt, "adoption's state"}; }
        s.at = static_cast<phase>(at);
        return std::optional<state>{std::move(s)};
    }
    template <class Tx>
    [[nodiscard]] status write_state(Tx& tx, state& s) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(14);
        w.unsigned_integer(form);
        w.byte_string(s.print);
        w.unsigned_integer(static_cast<std::uint64_t>(s.at));
        w.unsigned_integer(s.collection);
        w.byte_string(s.after);
        for (std::uint64_t const* const n : counters(s.counts)) { w.unsigned_integer(*n); }
        return tx.put(key('s'), raw);
    }
    [[nodiscard]] static std::array<std::uint64_t*, 9> counters(adoption_counts& c) noexcept {
        return {&c.joined, &c.merged,  &c.queued,    &c.created,   &c.refused,
                &c.kept,   &c.indexed, &c.ambiguous, &c.duplicates};
    }

    // Matches.

    [[nodiscard]] static result<match_entry> decode_match(bytes_view raw) {
        cbor_reader in{raw};
        match_entry m;
        bool const whole = in.array() == 5;
        std::uint64_t const kind = in.unsigned_integer();
        m.target = to_bytes(in.byte_string());
        std::uint64_t const outcome = in.unsigned_integer();
        std::uint64_t const why = in.unsigned_integer();
        m.content = to_bytes(in.byte_string());
        bool const fits = whole && kind <= static_cast<std::uint64_t>(match_kind::duplicate) && !m.target.empty() &&
                          m.target.size() <= record_id_bytes_max &&
                          outcome <= static_cast<std::uint64_t>(adopted::kept) && why <= 255;
        if (!fits || !in.finish()) { return failure{errc::corrupt, "adoption's match"}; }
        m.kind = static_cast<match_kind>(kind);
        m.outcome = static_cast<adopted>(outcome);
        m.why = static_cast<errc>(why);
        return m;
    }
    template <class Tx>
    [[nodiscard]] result<std::optional<match_entry>> find_match(Tx& tx, record_key const& source) const {
        bytes raw;
        auto const found = tx.get(named('m', source), raw);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<match_entry>{}; }
        auto m = decode_match(raw);
        if (!m) { return m.error(); }
        return std::optional<match_entry>{std::move(*m)};
    }
    template <class Tx>
    [[nodiscard]] status put_match(Tx& tx, record_key const& source, match_entry const& m) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(5);
        w.unsigned_integer(static_cast<std::uint64_t>(m.kind));
        w.byte_string(m.target);
        w.unsigned_integer(static_cast<std::uint64_t>(m.outcome));
        w.unsigned_integer(static_cast<std::uint64_t>(m.why));
        w.byte_string(m.content);
        return tx.put(named('m', source), raw);
    }

    /// Where a natural key stands in the index; empty where `fields` don't have all of it.
    [[nodiscard]] bytes index_key(adopted_collection const& c, bytes_view fields) const {
        if (c.key.empty() || fields.empty()) { return {}; }
        bytes said;
        cbor_writer w{said};
        w.array(1 + c.key.size());
        w.text(c.collection);
        for (std::string const& f : c.key) {
            auto const item = detail::filled(fields, f);
            if (!item) { return {}; }
            w.raw(*item);
        }
        bytes k = key('x');
        append(k, sha256(said));
        return k;
    }

    /// A reference's item with each id in it replaced by its target's: a text stays one where the new id can be one.
    template <class Tx>
    [[nodiscard]] status translate(Tx& tx, std::string const& parent, bytes_view item, cbor_writer& out) const {
        cbor_reader in{item};
        switch (in.peek()) {
            case cbor_type::null: out.null(); return {};
            case cbor_type::array: {
                std::size_t const n = in.array();
                out.array(n);
                for (std::size_t i = 0; i < n; ++i) {
                    bytes_view const inner = in.skip();
                    if (in.failed() || cbor_reader{inner}.peek() == cbor_type::array) {
                        return failure{errc::type_mismatch, "a reference that is no id"};
                    }
                    if (auto ok = translate(tx, parent, inner, out); !ok) { return ok; }
                }
                return {};
            }
            default: break;
        }
        record_key const old{parent, detail::referred_id(item)};
        if (!valid(old)) { return failure{errc::type_mismatch, "a reference that is no id"}; }
        auto const m = find_match(tx, old);
        if (!m) { return m.error(); }
        if (!*m) { return failure{errc::not_found, "it refers to a record that the source does not have"}; }
        if (in.peek() == cbor_type::text && valid_utf8(as_text((*m)->target))) {
            out.text(as_text((*m)->target));
        } else {
            out.byte_string((*m)->target);
        }
        return {};
    }
    /// The fields with the ids of this side; `only`: no other references than those in the natural key.
    template <class Tx>
    [[nodiscard]] result<bytes> translated(Tx& tx, adopted_collection const& c, bytes_view fields, bool only) const {
        std::vector<detail::field_change> changes;
        std::vector<bytes> made;
        made.reserve(c.references.size());
        for (adopted_reference const& r : c.references) {
            if (only && std::find(c.key.begin(), c.key.end(), r.field) == c.key.end()) { continue; }
            auto const item = map_find(fields, r.field);
            if (!item) { return item.error(); }
            if (!*item) { continue; }
            made.emplace_back();
            cbor_writer w{made.back()};
            if (auto ok = translate(tx, r.parent, **item, w); !ok) { return ok.error(); }
            changes.push_back({r.field, true, made.back()});
        }
        if (changes.empty()) { return to_bytes(fields); }
        std::sort(changes.begin(), changes.end(), [](detail::field_change const& a, detail::field_change const& b) {
            return compare_keys(a.field, b.field) < 0;
        });
        return detail::rewrite_fields(fields, changes);
    }

    /// Of the ids in a reference's item, whether any leads to a record that lives, and whether each does.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] static result<std::pair<bool, bool>> leads(Tx& tx, basic_replica<Records, Journal> const& r,
                                                             std::string const& parent, bytes_view item) {
        cbor_reader in{item};
        bool const many = in.peek() == cbor_type::array;
        std::pair<bool, bool> out{false, true};
        for (std::size_t n = many ? in.array() : 1; n != 0 && !in.failed(); --n) {
            record_key const to{parent, detail::referred_id(many ? in.skip() : item)};
            auto const there = valid(to) ? r.read(tx, to) : result<std::optional<record>>{std::optional<record>{}};
            if (!there) { return there.error(); }
            out.first = out.first || *there;
            out.second = out.second && *there;
        }
        return out;
    }
    /// The fields of a record of this side, where a reference to what doesn't live leads to what lives for `mine`: what it led
    /// to was refused by the authority, or deleted, and another was found for that record of the source. `to_come`: also to
    /// what is to be created.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] result<bytes> followed(Tx& tx, basic_replica<Records, Journal> const& r, adopted_collection const& c,
                                         bytes_view theirs, bytes_view mine, bool to_come = false) const {
        std::vector<detail::field_change> changes;
        for (adopted_reference const& f : c.references) {
            auto const was = map_find(theirs, f.field);
            auto const is = map_find(mine, f.field);
            if (!was || !is || !*was || !*is || equal(**was, **is)) { continue; }
            auto const old = leads(tx, r, f.parent, **was);
            if (!old) { return old.error(); }
            auto const other = leads(tx, r, f.parent, **is);
            if (!other) { return other.error(); }
            if (!old->first && (other->second || to_come)) { changes.push_back({f.field, true, **is}); }
        }
        if (changes.empty()) { return to_bytes(theirs); }
        std::sort(changes.begin(), changes.end(), [](detail::field_change const& a, detail::field_change const& b) {
            return compare_keys(a.field, b.field) < 0;
        });
        return detail::rewrite_fields(theirs, changes);
    }

    [[nodiscard]] bytes id_from(adopted_collection const& c, bytes raw) const {
        return c.text_ids ? to_bytes(to_hex(raw)) : raw;
    }
    /// An id that nobody else gives: of the source's name and the old id.
    [[nodiscard]] bytes own_id(adopted_collection const& c, record_key const& source) const {
        bytes said;
        cbor_writer w{said};
        w.array(3);
        w.text(plan_.source);
        w.text(source.collection);
        w.byte_string(source.id);
        auto const digest = sha256(said);
        return id_from(c, to_bytes(bytes_view{digest}.first(hash_bytes)));
    }

    /// The record of the source that came first to a target, by its id, with what it is for now; nothing: none did.
    template <class Tx>
    [[nodiscard]] result<std::optional<std::pair<bytes, match_entry>>> claimed(Tx& tx, record_key const& target) const {
        using claim = std::optional<std::pair<bytes, match_entry>>;
        bytes holder;
        auto const held = tx.get(named('t', target), holder);
        if (!held) { return held.error(); }
        record_key const source{target.collection, *held ? holder : bytes{}};
        if (!valid(source)) { return claim{}; }
        auto m = find_match(tx, source);
        if (!m) { return m.error(); }
        return *m ? claim{{std::move(holder), std::move(**m)}} : claim{};
    }
    /// Makes a record the first of its target where no other is; whether it is.
    template <class Tx>
    [[nodiscard]] result<bool> claim(Tx& tx, record_key const& source, bytes const& target) const {
        record_key const to{source.collection, target};
        auto const first = claimed(tx, to);
        if (!first) { return first.error(); }
        if (*first && (*first)->second.target == target) { return (*first)->first == source.id; }
        if (auto ok = tx.put(named('t', to), source.id); !ok) { return ok.error(); }
        return true;
    }

    /// The fields with the ids of this side in the natural key; empty where they are none, or refer to nothing.
    template <class Tx>
    [[nodiscard]] result<bytes> key_fields(Tx& tx, adopted_collection const& c, taken_record const& from) const {
        if (!validate_fields(from.fields)) { return bytes{}; }
        auto out = translated(tx, c, from.fields, true);
        return out || !is_refusal(out.error()) ? std::move(out) : result<bytes>{bytes{}};
    }

    /// Finds a record's target, and claims it.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] result<match_entry> place(Tx& tx, basic_replica<Records, Journal> const& r,
                                            adopted_collection const& c, taken_record const& from) const {
        match_entry m;
        auto const fields = key_fields(tx, c, from);
        if (!fields) { return fields.error(); }
        bytes const natural = index_key(c, *fields);
        auto const living = [&](bytes const& id) -> result<std::optional<record>> {
            return r.read(tx, record_key{c.collection, id});
        };
        if (!natural.empty()) {
            bytes target;
            auto const found = tx.get(natural, target);
            if (!found) { return found.error(); }
            if (*found && !target.empty()) {
                auto const there = living(target);
                if (!there) { return there.error(); }
                // What has changed since the index was made is none; what is to be created for another record is one.
                bool fits = false;
                if (*there) {
                    auto const theirs = followed(tx, r, c, (*there)->fields, *fields, true);
                    if (!theirs) { return theirs.error(); }
                    fits = index_key(c, *theirs) == natural;
                } else {
                    record_key const to{c.collection, target};
                    auto const first = claimed(tx, to);
                    if (!first) { return first.error(); }
                    bytes holder;
                    auto const held = tx.get(named('t', to), holder);
                    if (!held) { return held.error(); }
                    // It may be its own from before, and another record be meant to join it.
                    fits = (*held && holder == from.key.id) || (*first && (*first)->second.target == target);
                }
                if (fits) {
                    m.kind = match_kind::found;
                    m.target = std::move(target);
                }
            }
        }
        /// Whether an id may be taken, by this record or by one that is the same.
        auto const fits = [&](bytes const& id) -> result<bool> {
            auto const there = living(id);
            if (!there) { return there.error(); }
            if (!*there) { return true; }
            return index_key(c, (*there)->fields) == natural;
        };
        if (m.target.empty() && c.ids == adopted_id::kept) {
            auto const free = fits(from.key.id);
            if (!free) { return free.error(); }
            if (*free) { m.target = from.key.id; }
        }
        if (m.target.empty() && !natural.empty()) {
            std::vector<std::string_view> const names{c.key.begin(), c.key.end()};
            bytes id = id_from(c, natural_id(*fields, names));
            auto const free = fits(id);
            if (!free) { return free.error(); }
            if (*free) { m.target = std::move(id); }
        }
        if (m.target.empty()) { m.target = own_id(c, from.key); }
        if (!natural.empty() && m.kind == match_kind::none) {
            if (auto ok = tx.put(natural, m.target); !ok) { return ok.error(); }
        }
        auto const first = claim(tx, from.key, m.target);
        if (!first) { return first.error(); }
        if (!*first) { m.kind = match_kind::duplicate; }
        if (auto ok = put_match(tx, from.key, m); !ok) { return ok.error(); }
        return m;
    }

    /// The match of an earlier run stands where its record was adopted. It goes where the target never came to be, as the
    /// authority refused it, and where that was deleted and the record has changed since.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] result<std::optional<match_entry>> standing(Tx& tx, basic_replica<Records, Journal> const& r,
                                                              adopted_collection const& c,
                                                              taken_record const& from) const {
        auto m = find_match(tx, from.key);
        if (!m || !*m) { return m; }
        auto const held = r.records().find(tx, record_key{c.collection, (*m)->target});
        if (!held) { return held.error(); }
        bool const there = *held && (!(*held)->visible.deleted || (*m)->content == content_of(from));
        if (there && is_adopted(**m)) { return m; }
        if (auto ok = tx.erase(named('m', from.key)); !ok) { return ok.error(); }
        return std::optional<match_entry>{};
    }
    [[nodiscard]] static bool is_adopted(match_entry const& m) noexcept {
        return m.outcome != adopted{} && m.outcome != adopted::refused;
    }
    /// By which a record that was adopted is known to be as it was.
    [[nodiscard]] static bytes content_of(taken_record const& from) {
        auto const digest = sha256(from.fields);
        return to_bytes(bytes_view{digest}.first(hash_bytes));
    }

    /// Whether a record's match is one still: the record may have got another natural key since, and so may its match.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] result<bool> matches(Tx& tx, basic_replica<Records, Journal> const& r, adopted_collection const& c,
                                       taken_record const& from, match_entry const& m) const {
        auto const there = r.records().find(tx, record_key{c.collection, m.target});
        if (!there) { return there.error(); }
        if (!*there || (*there)->visible.deleted) { return true; }
        auto const fields = key_fields(tx, c, from);
        if (!fields) { return fields.error(); }
        bytes const natural = index_key(c, *fields);
        if (natural.empty()) { return true; }
        auto const theirs = followed(tx, r, c, (*there)->visible.fields, *fields, true);
        if (!theirs) { return theirs.error(); }
        return index_key(c, *theirs) == natural;
    }

    /// The index is of before the run wrote: who has a record's natural key now is looked for among all of the collection.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] status look_again(Tx& tx, basic_replica<Records, Journal> const& r, adopted_collection const& c,
                                    taken_record const& from) const {
        auto const fields = key_fields(tx, c, from);
        if (!fields) { return fields.error(); }
        bytes const natural = index_key(c, *fields);
        if (natural.empty()) { return {}; }
        bytes first;
        append_key(first, c.collection, {});
        bytes holder;
        auto const ok = r.records().scan_range(tx, first, prefix_end(first), [&](record_key const& k, held_record& h) {
            if (!h.visible.deleted && index_key(c, h.visible.fields) == natural) { holder = k.id; }
            return holder.empty();
        });
        if (!ok) { return ok; }
        return holder.empty() ? status{} : tx.put(natural, holder);
    }

    /// Others with the key of a record that was adopted find its target, also where that refers to what is no more and
    /// follows only when it is written.
    template <class Tx>
    [[nodiscard]] status enter(Tx& tx, adopted_collection const& c, taken_record const& from,
                               match_entry const& m) const {
        bool const refers = std::any_of(c.references.begin(), c.references.end(), [&](adopted_reference const& r) {
            return std::find(c.key.begin(), c.key.end(), r.field) != c.key.end();
        });
        if (!refers) { return {}; }
        auto const fields = key_fields(tx, c, from);
        if (!fields) { return fields.error(); }
        bytes const natural = index_key(c, *fields);
        if (natural.empty()) { return {}; }
        bytes raw;
        auto const found = tx.get(natural, raw);
        if (!found) { return found.error(); }
        return *found ? status{} : tx.put(natural, m.target);
    }

    // The phases.

    template <class Tx>
    [[nodiscard]] status clear(Tx& tx, state& s, std::size_t budget) const {
        std::vector<bytes> old;
        auto const ok = scan_prefix(tx, key('x'), [&](bytes_view k, bytes_view) {
            old.push_back(to_bytes(k));
            return old.size() < budget;
        });
        if (!ok) { return ok; }
        for (bytes const& k : old) {
            if (auto gone = tx.erase(k); !gone) { return gone; }
        }
        if (old.size() < budget) { s.at = s.at == phase::clearing ? phase::indexing : phase::done; }
        return {};
    }

    template <class Tx, class Records, class Journal>
    [[nodiscard]] status index(Tx& tx, basic_replica<Records, Journal> const& r, state& s, std::size_t budget) const {
        adopted_collection const& c = plan_.collections[s.collection];
        bytes first;
        append_key(first, c.collection, s.after);
        bytes all;
        append_key(all, c.collection, {});
        std::vector<std::pair<bytes, bytes>> found;
        std::size_t seen = 0;
        bool more = false;
        auto const ok = r.records().scan_range(tx, first, prefix_end(all), [&](record_key const& k, held_record& h) {
            if (equal(k.id, s.after)) { return true; }
            if (seen == budget) {
                more = true;
                return false;
            }
            ++seen;
            found.emplace_back(k.id, h.visible.deleted ? bytes{} : index_key(c, h.visible.fields));
            return true;
        });
        if (!ok) { return ok; }
        bytes raw;
        for (auto& [id, at] : found) {
            ++s.counts.indexed;
            if (!at.empty()) {
                auto const held = tx.get(at, raw);
                if (!held) { return held.error(); }
                if (*held) {
                    ++s.counts.ambiguous;
                } else if (auto put = tx.put(at, id); !put) {
                    return put;
                }
            }
            s.after = std::move(id);
        }
        if (!more) {
            s.at = phase::matching;
            s.after.clear();
        }
        return {};
    }

    /// The next records of the source. `more`: there may be others after them.
    template <class S>
    [[nodiscard]] static result<std::vector<taken_record>> next_of(S& source, std::string const& collection,
                                                                   bytes_view after, std::size_t budget, bool& more) {
        std::vector<taken_record> out;
        status outcome;
        auto const ok = source.scan(collection, after, [&](source_record const& one) {
            if (out.size() == budget) {
                more = true;
                return false;
            }
            out.push_back({record_key{collection, one.id}, to_bytes(one.fields), one.written});
            if (!valid(out.back().key)) { outcome = failure{errc::invalid, "a source's id that is none"}; }
            return outcome.has_value();
        });
        if (!ok) { return ok.error(); }
        if (!outcome) { return outcome.error(); }
        return out;
    }

    template <class Tx, class Records, class Journal, class S>
    [[nodiscard]] status match(Tx& tx, basic_replica<Records, Journal> const& r, S& source, state& s,
                               std::size_t budget) const {
        adopted_collection const& c = plan_.collections[s.collection];
        bool more = false;
        auto records = next_of(source, c.collection, s.after, budget, more);
        if (!records) { return records.error(); }
        for (taken_record& one : *records) {
            auto const known = standing(tx, r, c, one);
            if (!known) { return known.error(); }
            if (!*known) {
                if (auto m = place(tx, r, c, one); !m) { return m.error(); }
            } else if (auto ok = enter(tx, c, one, **known); !ok) {
                return ok;
            }
            s.after = std::move(one.key.id);
        }
        if (more) { return {}; }
        s.after.clear();
        bool const last = ++s.collection == plan_.collections.size();
        s.at = last ? phase::writing : phase::indexing;
        if (last) { s.collection = 0; }
        return {};
    }

    /// What the source says of a record, and what comes of it.
    template <class Tx, class Records, class Journal>
    struct writer {
        adoption const& own;
        Tx& tx;
        basic_replica<Records, Journal> const& r;
        instant now;
        bool full = false;
        // Of the last record.
        bytes before{};
        bytes after{};
        std::vector<std::string> contested{};
        failure why{};

        /// Nothing where there is no room for it.
        [[nodiscard]] result<std::optional<adopted>> put(adopted_collection const& c, taken_record const& from,
                                                         match_entry& m) {
            before.clear();
            after.clear();
            contested.clear();
            why = {};
            if (auto ok = validate_fields(from.fields); !ok) { return refuse(ok.error()); }
            auto mine = own.translated(tx, c, from.fields, false);
            if (!mine) { return refuse(mine.error()); }
            record_key const target{c.collection, m.target};
            auto const there = r.read(tx, target);
            if (!there) { return there.error(); }
            if (!*there) {
                after = std::move(*mine);
                if (after.size() > r.options().record_max) { return refuse({errc::too_large, "record too large"}); }
                auto const done = r.create(tx, target, after, now);
                if (!done) { return written(done.error()); }
                // Another record of the source was to come first, and is not there any more, or was refused.
                m.kind = match_kind::none;
                if (auto ok = tx.put(own.named('t', target), from.key.id); !ok) { return ok.error(); }
                return std::optional<adopted>{adopted::created};
            }
            before = (*there)->fields;
            if (equal(before, *mine)) {
                after = before;
                return std::optional<adopted>{adopted::joined};
            }
            if ((*there)->closed) { return refuse({errc::unsupported, "its match is of a later schema version"}); }
            auto const theirs = own.followed(tx, r, c, before, *mine);
            if (!theirs) { return theirs.error(); }
            if (auto ok = merge(c, target, from, *mine, *theirs, m.kind == match_kind::duplicate); !ok) {
                return refuse(ok.error());
            }
            if (after.size() > r.options().record_max) { return refuse({errc::too_large, "record too large"}); }
            std::optional<conflict> asked;
            if (!contested.empty()) {
                auto made = question(target, c, from, *mine);
                if (!made) { return refuse(made.error()); }
                asked = std::move(*made);
                // What the queue would refuse is refused before anything is written.
                bytes raw;
                cbor_writer w{raw};
                encode_conflict(w, *asked);
                conflict_options const& most = own.queue_->options();
                if (raw.size() + room_of_conflict > most.bytes_max) {
                    return refuse({errc::too_large, "conflict too large for the queue"});
                }
                auto const waiting = own.queue_->counts(tx);
                if (!waiting) { return waiting.error(); }
                full = waiting->open >= most.open_max;
                if (full) { return std::optional<adopted>{}; }
            }
            if (!equal(before, after)) {
                auto const done = r.put(tx, target, before, after, now);
                if (!done) { return written(done.error()); }
                // The replica's own rules had their say: a minimum is not raised.
                auto const now_there = r.read(tx, target);
                if (!now_there) { return now_there.error(); }
                if (*now_there) { after = (*now_there)->fields; }
            }
            if (asked) {
                auto const raised = own.queue_->raise(tx, std::move(*asked), now.wall);
                if (!raised) { return raised.error(); }
            }
            return std::optional<adopted>{contested.empty() ? adopted::merged : adopted::queued};
        }

        /// What was adopted stays as it is; only its references follow what they lead to. Nothing where there is no room.
        [[nodiscard]] result<std::optional<adopted>> keep(adopted_collection const& c, taken_record const& from,
                                                          match_entry const& m) {
            contested.clear();
            why = {};
            if (c.references.empty()) { return std::optional<adopted>{adopted::kept}; }
            auto const mine = own.translated(tx, c, from.fields, false);
            if (!mine && !is_refusal(mine.error())) { return mine.error(); }
            record_key const target{c.collection, m.target};
            auto const there = r.read(tx, target);
            if (!there) { return there.error(); }
            if (!mine || !*there || (*there)->closed) { return std::optional<adopted>{adopted::kept}; }
            before = (*there)->fields;
            auto theirs = own.followed(tx, r, c, before, *mine);
            if (!theirs) { return theirs.error(); }
            after = std::move(*theirs);
            if (equal(before, after)) { return std::optional<adopted>{adopted::kept}; }
            auto const done = r.put(tx, target, before, after, now);
            if (done) { return std::optional<adopted>{adopted::merged}; }
            full = done.error() == errc::limit;
            if (!full && !is_refusal(done.error())) { return done.error(); }
            return full ? std::optional<adopted>{} : std::optional<adopted>{adopted::kept};
        }

    private:
        [[nodiscard]] result<std::optional<adopted>> refuse(failure const& f) {
            if (!is_refusal(f)) { return f; }
            why = f;
            return std::optional<adopted>{adopted::refused};
        }
        /// What a write or the queue answered: no room is nobody's fault.
        [[nodiscard]] result<std::optional<adopted>> written(failure const& f) {
            if (f != errc::limit) { return refuse(f); }
            full = true;
            return std::optional<adopted>{};
        }

        [[nodiscard]] collection_rules const& rules_of(adopted_collection const& c) const {
            return c.rules ? *c.rules : r.rules().of(c.collection);
        }

        /// Fills in `after` and `contested`.
        [[nodiscard]] status merge(adopted_collection const& c, record_key const& target, taken_record const& from,
                                   bytes_view mine, bytes_view there, bool duplicate) {
            auto const held = r.records().find(tx, target);
            if (!held) { return held.error(); }
            timestamp theirs{};
            if (*held) {
                theirs = (*held)->visible.floor.stamp;
                for (field_mark const& e : (*held)->visible.exceptions) { theirs = (std::max)(theirs, e.mark.stamp); }
            }
            collection_rules by = rules_of(c);
            baseless(by, from.written.has_value());
            if (duplicate) {
                // Two records of one store that were never one: nobody but a person makes them one.
                by = {};
                by.fallback = rule::manual;
            }
            timestamp const stamp = from.written ? timestamp::make(*from.written) : timestamp{};
            bytes const nothing{std::byte{0xA0}};
            auto merged = three_way_validated(nothing, mine, there, by, {stamp, 1}, {theirs, 2});
            if (!merged) { return merged.error(); }
            after = std::move(merged->record);
            contested = std::move(merged->conflicts);
            std::sort(contested.begin(), contested.end(),
                      [](std::string const& a, std::string const& b) { return compare_keys(a, b) < 0; });
            contested.erase(std::unique(contested.begin(), contested.end()), contested.end());
            return {};
        }

        [[nodiscard]] result<conflict> question(record_key const& target, adopted_collection const& c,
                                                taken_record const& from, bytes_view mine) {
            auto const held = r.records().find(tx, target);
            if (!held) { return held.error(); }
            auto confirmed = r.read_confirmed(tx, target);
            if (!confirmed) { return confirmed.error(); }
            conflict one;
            one.record = target;
            one.local.record = target;
            one.local.stamp = from.written ? timestamp::make(*from.written) : timestamp{};
            one.local.life = *held ? (*held)->visible.life : 1;
            // Told again by a later run, it is the same conflict; another record's, another content, or one about other
            // fields, is another.
            bytes said = to_bytes(from.key);
            append(said, mine);
            for (std::string const& f : contested) { cbor_writer{said}.text(f); }
            one.local.sequence = read_u64(bytes_view{sha256(said)}.first(8)) | 1U;
            one.local_by.writer = to_bytes(own.plan_.source);
            one.local_by.stamp = one.local.stamp;
            for (std::string const& f : contested) {
                auto const item = map_find(mine, f);
                if (!item) { return item.error(); }
                field_op op;
                op.field = f;
                op.kind = *item ? op_kind::set : op_kind::unset;
                if (*item) { op.value = to_bytes(**item); }
                op.stamp = one.local.stamp;
                one.local.ops.push_back(std::move(op));
                contested_field field;
                field.path = {f};
                field.by = rules_of(c).decides(f);
                one.fields.push_back(std::move(field));
                if (*confirmed) {
                    one.remote_by.stamp = (std::max)(one.remote_by.stamp, (*confirmed)->mark_of(f).stamp);
                }
            }
            one.remote = std::move(*confirmed);
            if (auto ok = check(one); !ok) { return ok.error(); }
            return one;
        }

        /// Rules that need what both came from ask a person; and who was first is not known without a time.
        static void baseless(rule& by, bool timed) noexcept {
            bool const asks = by == rule::counter || by == rule::sequence || is_text(by);
            if (asks) { by = rule::manual; }
            if (by == rule::first_writer && !timed) { by = rule::authority; }
        }
        static void baseless(std::vector<field_rule>& fields, bool timed) noexcept {
            for (field_rule& f : fields) {
                baseless(f.decides, timed);
                baseless(f.inner_fallback, timed);
                baseless(f.inner, timed);
            }
        }
        static void baseless(collection_rules& all, bool timed) noexcept {
            baseless(all.fallback, timed);
            baseless(all.fields, timed);
            for (field_group& g : all.groups) { baseless(g.decides, timed); }
            if (all.whole) { baseless(*all.whole, timed); }
        }
    };

    template <class W, class S>
    [[nodiscard]] status write(W& w, S& source, state& s, std::size_t budget,
                               function_ref<void(adopted_row const&)> visit) const {
        adopted_collection const& c = plan_.collections[s.collection];
        bool more = false;
        auto records = next_of(source, c.collection, s.after, budget, more);
        if (!records) { return records.error(); }
        for (taken_record& one : *records) {
            auto known = find_match(w.tx, one.key);
            if (!known) { return known.error(); }
            if (*known && !is_adopted(**known)) {
                auto const stands = matches(w.tx, w.r, c, one, **known);
                if (!stands) { return stands.error(); }
                if (!*stands) {
                    if (auto ok = look_again(w.tx, w.r, c, one); !ok) { return ok; }
                    known->reset();
                }
            }
            if (!*known) {  // new in the source, or another, since all were matched
                auto m = place(w.tx, w.r, c, one);
                if (!m) { return m.error(); }
                known->emplace(std::move(*m));
            }
            match_entry& m = **known;
            auto const first = claim(w.tx, one.key, m.target);
            if (!first) { return first.error(); }
            m.kind = !*first ? match_kind::duplicate : m.kind == match_kind::duplicate ? match_kind::found : m.kind;
            bytes content = content_of(one);
            auto const done = is_adopted(m) && m.content == content ? w.keep(c, one, m) : w.put(c, one, m);
            if (!done) { return done.error(); }
            if (!*done) { return {}; }  // no room: the next step begins with it
            adopted const how = **done;
            if (how != adopted::kept) {
                m.outcome = how;
                m.why = w.why.code;
                m.content = std::move(content);
                if (auto ok = put_match(w.tx, one.key, m); !ok) { return ok; }
                record_key const target{c.collection, m.target};
                visit(adopted_row{one.key, target, how, w.before, w.after, w.contested, w.why});
            }
            ++*counters(s.counts)[static_cast<std::size_t>(how) - 1];
            if (m.kind == match_kind::duplicate) { ++s.counts.duplicates; }
            s.after = std::move(one.key.id);
        }
        if (more) { return {}; }
        s.after.clear();
        if (++s.collection == plan_.collections.size()) {
            s.collection = 0;
            s.at = phase::clearing_up;
        }
        return {};
    }

    /// Whether an error is about the record, and leaves everything as it was.
    [[nodiscard]] static bool is_refusal(failure const& f) noexcept {
        switch (f.code) {
            case errc::malformed:
            case errc::limit:
            case errc::invalid:
            case errc::not_found:
            case errc::already_exists:
            case errc::type_mismatch:
            case errc::unsupported:
            case errc::not_deterministic:
            case errc::overflow:
            case errc::forbidden:
            case errc::too_large:
            case errc::rejected: return true;
            default: return false;
        }
    }

    adoption_plan plan_;
    conflict_queue const* queue_;
    std::string prefix_;
    sha256_digest print_;
};

/// What the rest of an adoption would do: done by its own steps, in a transaction that is left without a commit. So the
/// store is as it was, whatever this answers, and `visit` hears what it will hear then, if nothing changes meanwhile.
///
/// It ends where the outbox or the conflict queue is full: the report says so. Errors: those of `adoption::step`;
/// `errc::busy` while a transaction is open on the store. Cost: that of all steps; the store keeps what they write until
/// the end.
template <storage S, class Records, class Journal, adoption_source From>
[[nodiscard]] result<adoption_report> dry_run(S& store, adoption const& a, basic_replica<Records, Journal> const& r,
                                              From& source, instant now, function_ref<void(adopted_row const&)> visit) {
    constexpr std::size_t budget = 256;
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    for (;;) {
        auto report = a.step(*tx, r, source, now, budget, visit);
        if (!report || !report->more || report->full) { return report; }
    }
}

}  // namespace syncline::inline SYNCLINE_ABI
