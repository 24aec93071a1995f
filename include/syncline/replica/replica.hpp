// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The replica: a record is what the authority has confirmed, plus the mutations that it has not confirmed
/// yet, applied in order. Over any storage, in the host's transaction.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/describe.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/random.hpp>
#include <syncline/merge/diff.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/model/schema.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/replica/constraints.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/group.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/pending.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/ranges.hpp>
#include <syncline/replica/record_store.hpp>
#include <syncline/replica/validation.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The version of a replica's layout in storage; a store of a later one is `errc::unsupported`.
inline constexpr std::uint64_t replica_format = 1;

struct replica_options {
    clock_options clock{};
    outbox_options outbox{};
    std::size_t mutations_max = 100;  ///< sent in one request
    std::size_t mutation_bytes = std::size_t{256}
                                 << 10;  ///< sent in one request; one mutation more than fits goes all the same
    std::uint64_t rows_max = 1'000;      ///< asked for in one request
    std::uint64_t bytes_max = std::uint64_t{1} << 20;  ///< asked for in one request
    std::size_t record_max = std::size_t{1} << 20;     ///< bytes of one record's fields; a larger write is refused
    decode_limits message{};
    std::vector<std::string> essential{};  ///< collections that a first sync fetches before all others, in this order
    /// Mutations that are kept after their verdict, until a backup of the authority holds them; the oldest go first.
    /// None is where the authority expects no backups.
    std::size_t decided_max = 10'000;
    /// The versions of every collection up to those that the program is written for: what it writes is of the newest,
    /// and what is older is carried up. Null: all have the first version. Outlives the replica.
    schema_table const* schemas = nullptr;
    /// What must hold of each record: the authority's own table, asked before a write is queued. Outlives the replica.
    check_table const* checks = nullptr;
    /// The authority's constraints. What can be seen here is asked before a write is queued: that what it refers to lives
    /// on this device, once all of that collection was fetched. The rest is the authority's to say. Outlives the replica.
    constraint_table const* constraints = nullptr;
};

/// A record as it is read.
struct record {
    bytes fields{};          ///< canonical CBOR map with text keys
    position confirmed = 0;  ///< the confirmed version underneath; 0: the authority has none yet
    bool pending = false;    ///< whether mutations that are not confirmed are in it
    bool closed = false;     ///< of a later schema version than the program knows; `fields` are as of that
    friend bool operator==(record const&, record const&) = default;
};

/// What a local write came to.
struct write_receipt {
    std::uint64_t token = 0;  ///< of the outbox entry that carries it; 0 when nothing is to be sent
    bool coalesced = false;   ///< went into an entry that was waiting already, or annihilated it
};

/// How one field of a conflict is resolved.
struct field_resolution {
    enum class choice : std::uint8_t { local, remote, custom };
    std::string field;
    choice take = choice::local;
    bytes value{};  ///< of a custom choice: one canonical CBOR item
};

/// A parked mutation that a person must decide about.
struct open_conflict {
    std::uint64_t token = 0;            ///< its name: the token that the write's receipt had
    mutation local{};                   ///< as it was sent
    bytes base{};                       ///< the touched fields as its writer saw them, a map
    std::vector<std::string> fields{};  ///< those that wait for the person
    std::optional<row> remote{};        ///< the confirmed record now; nothing if it is not held yet
};

/// A mutation that waits, and what would become of it were it decided now on what is confirmed here.
struct foreseen {
    std::uint64_t token = 0;  ///< its name: the token that the write's receipt had
    mutation change{};
    apply_outcome outcome{};
};

/// What an exchange brought.
struct exchange_report {
    std::size_t verdicts = 0;
    std::size_t rows = 0;     ///< taken
    std::size_t changed = 0;  ///< visible records that changed
    bool advanced = false;    ///< the cursor moved, or a range was told
    bool more = false;        ///< the authority has more to tell, or the replica more to send
    bool wait = false;        ///< the authority asked to come again later
    bool rejoined = false;    ///< its lease was over, and tombstones are gone: everything is told anew
    bool wipe = false;        ///< an order of the authority, and all there was in its reply: see `basic_replica::wipe`
    bool reincarnated = false;  ///< the store was a clone or was restored: it has a new identity now
    bool regressed = false;     ///< the authority was put back to an older state: what it lost is offered again
};

/// A replica over any storage. It holds options and rules, and no state.
///
/// Every call takes the transaction to work in, so that the host's own rows commit or roll back with it; on
/// an error the transaction is to be rolled back unless the error is said to leave the state unchanged.
/// Keys begin with 'r'. Many processes may use one store: together they are one replica.
///
/// A write never fails on clock grounds. What is read is the confirmed record with the pending mutations
/// applied; it is stored so, and reading costs one look-up. Where, the `Records` say: a record_store over the storage
/// of the transactions. What else the replica keeps is in the storage itself.
///
/// A `Journal` is told of each write, of what is made ready to be sent, of each verdict, of each reply that brought
/// something and of each conflict's end, in the same transaction; when it fails, so does the call. See `journal`.
template <class Records = stored_records, class Journal = no_journal>
class basic_replica {
public:
    explicit basic_replica(rule_table rules = {}, replica_options options = {}, Records records = {}, Journal told = {})
        : rules_(std::move(rules)),
          options_(std::move(options)),
          outbox_(options_.outbox, "ro"),
          records_(std::move(records)),
          journal_(std::move(told)) {}

    [[nodiscard]] rule_table const& rules() const noexcept { return rules_; }
    [[nodiscard]] replica_options const& options() const noexcept { return options_; }
    [[nodiscard]] outbox const& queue() const noexcept { return outbox_; }
    [[nodiscard]] Records const& records() const noexcept { return records_; }

    /// Makes the store a replica's, with a new identity, bound to `principal`, unless it is one already. Call it at each
    /// start of the program: from then on what is written bears a name that no copy of the store gives, so that
    /// what clones and restored backups share is recognised and counts once.
    /// `errc::forbidden` when it is another principal's; `errc::invalid` when `principal` is not UTF-8;
    /// `errc::unsupported` when a later version of this library wrote it. Nothing changed then.
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] status open(Tx& tx, std::string_view principal, instant now, G& random) const {
        if (!valid_utf8(principal)) { return failure{errc::invalid, "a principal that is not UTF-8"}; }
        bytes raw;
        auto found = tx.get(key('i'), raw);
        if (!found) { return found.error(); }
        if (*found) {
            auto mine = read_identity(tx);
            if (!mine) { return mine.error(); }
            if (mine->principal != principal) {
                return failure{errc::forbidden, "the store belongs to another principal"};
            }
            auto sync = read_sync(tx);
            if (!sync) { return sync.error(); }
            sync->line = new_line(random);
            return write_sync(tx, *sync);
        }
        identity mine;
        mine.self = {make_id(now.wall, random), static_cast<std::uint32_t>(random() >> 33) + 1};
        mine.principal = std::string{principal};
        if (auto ok = write_identity(tx, mine); !ok) { return ok; }
        sync_state sync;
        sync.line = new_line(random);
        if (auto ok = want_everything(tx); !ok) { return ok; }
        return write_sync(tx, sync);
    }

    template <storage_transaction Tx>
    [[nodiscard]] result<replica_id> self(Tx& tx) const {
        auto mine = read_identity(tx);
        if (!mine) { return mine.error(); }
        return mine->self;
    }

    /// Takes a new incarnation: from now on this store writes under a name of its own, whoever has a copy of it. What is
    /// frozen is issued again under that name, and counts once. For a store that was put back from a backup, after its
    /// first exchange, in which what it shares with the lost one is recognised. The event `reincarnated` tells of it.
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] status renew(Tx& tx, G& random) const {
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        if (auto ok = reincarnate(tx, *sync, random); !ok) { return ok; }
        event_batch events;
        events.add_reincarnation();
        ++sync->events;
        if (auto ok = tx.put(numbered('e', sync->events), events.encode()); !ok) { return ok; }
        return write_sync(tx, *sync);
    }

    /// The number that the authority's rows name this replica's writes by; `unknown_author` before the first exchange.
    template <storage_transaction Tx>
    [[nodiscard]] result<author_index> author(Tx& tx) const {
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        return sync->author;
    }

    // Reading.

    /// The record as the person sees it: confirmed and pending. Nothing when it is deleted or never was.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<record>> read(Tx& tx, record_key const& k) const {
        auto entry = read_visible(tx, k);
        if (!entry) { return entry.error(); }
        if (!entry->present || entry->state.deleted) { return std::optional<record>{}; }
        return std::optional<record>{record{std::move(entry->state.fields), entry->confirmed, entry->dirty}};
    }
    template <described T, storage_transaction Tx>
    [[nodiscard]] result<std::optional<T>> read(Tx& tx, std::string_view id) const {
        auto r = read(tx, record_key{collection<T>(), id});
        if (!r) { return r.error(); }
        if (!*r) { return std::optional<T>{}; }
        auto decoded = decode_record<T>((*r)->fields);
        if (!decoded) { return decoded.error(); }
        return std::optional<T>{std::move(*decoded)};
    }

    /// The confirmed row alone, a tombstone too; nothing when the authority has confirmed none.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<row>> read_confirmed(Tx& tx, record_key const& k) const {
        auto entry = read_visible(tx, k);
        if (!entry) { return entry.error(); }
        if (!entry->dirty) {
            if (!entry->present) { return std::optional<row>{}; }
            return std::optional<row>{std::move(entry->state)};
        }
        return records_.find_confirmed(tx, k);
    }

    /// Every visible record of a collection in the order of ids.
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, std::string_view collection,
                              function_ref<bool(record_key const&, record const&)> visit) const {
        return records_.scan(tx, collection, [&](record_key const& k, held_record& h) {
            auto const r = as_read(k, std::move(h));
            return r ? visit(k, *r) : true;
        });
    }

    /// A record of the record store as it is read: nothing when nothing is held, or a tombstone; closed when its schema
    /// is of a later version than the program knows.
    [[nodiscard]] std::optional<record> as_read(record_key const& k, std::optional<held_record> held) const {
        if (!held || held->visible.deleted) { return std::nullopt; }
        collection_schema const& schema = schema_of_record(k);
        bool const closed = !schema.cast(held->visible, schema.version());
        return record{std::move(held->visible.fields), held->confirmed, held->pending, closed};
    }

    /// What would become of the mutations that wait on a record, in their order, were the authority to decide them now on
    /// what is confirmed here: decided by the same code, but without the authority's guards and validation. Of a record
    /// that is closed to the program nothing is foreseen. Errors: `errc::corrupt` and the storage's.
    /// Cost: a get, a scan of what was decided and is not yet contained, one of the record's queue.
    template <storage_transaction Tx>
    [[nodiscard]] status foresee(Tx& tx, record_key const& k, function_ref<bool(foreseen const&)> visit) const {
        if (!valid(k)) { return failure{errc::invalid, "record key"}; }
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        auto held = records_.find(tx, k);
        if (!held) { return held.error(); }
        std::optional<row> over;
        if (*held && (*held)->pending) {
            auto confirmed = records_.find_confirmed(tx, k);
            if (!confirmed) { return confirmed.error(); }
            over = std::move(*confirmed);
        } else if (*held) {
            over = std::move((*held)->visible);
        }
        bool go_on = true;
        auto const tell = [&](std::uint64_t token, mutation& m, apply_outcome& outcome) {
            if (token != 0 && go_on) { go_on = visit(foreseen{token, std::move(m), std::move(outcome)}); }
        };
        auto const laid = lay_over(tx, k, *sync, over, tell, [](std::vector<bytes> const&) { return status{}; });
        return laid ? status{} : laid.error();
    }

    // Writing. Each call appends a mutation to the outbox, and the record as read changes at once.
    // What `replica_options::checks` refuse fails with their reason, and what refers to nothing with `errc::not_found`; the
    // state is unchanged. `check` has the words.

    /// What the checks and constraints say of a change that is not made yet, in words for the person who makes it. `ops` as
    /// for `update`; for a creation `set`s. Errors as those of the write itself.
    template <storage_transaction Tx>
    [[nodiscard]] result<validation> check(Tx& tx, record_key const& k, change_kind kind, std::vector<field_op> ops,
                                           instant now) const {
        std::sort(ops.begin(), ops.end(),
                  [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
        auto change = plan(tx, k, kind, std::move(ops), now);
        if (!change) { return change.error(); }
        return permitted(tx, *change);
    }

    /// Creates a record. `fields` is a canonical map with text keys. State unchanged on
    /// `errc::already_exists`, `errc::invalid`, `errc::limit` (record too large, outbox full) and whatever
    /// `validate_fields` says.
    template <storage_transaction Tx>
    [[nodiscard]] result<write_receipt> create(Tx& tx, record_key const& k, bytes_view fields, instant now,
                                               priority urgency = priority::normal) const {
        if (auto ok = validate_fields(fields); !ok) { return ok.error(); }
        auto ops = diff({}, fields, rules_.of(k.collection), {});
        if (!ops) { return ops.error(); }
        return write(tx, k, change_kind::create, std::move(*ops), now, urgency);
    }
    /// Applies operations to a record; they need not be sorted, each field once. `errc::not_found` when there
    /// is none; `errc::type_mismatch`, `errc::overflow` when a counter can't be added to.
    template <storage_transaction Tx>
    [[nodiscard]] result<write_receipt> update(Tx& tx, record_key const& k, std::vector<field_op> ops, instant now,
                                               priority urgency = priority::normal) const {
        std::sort(ops.begin(), ops.end(),
                  [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
        return write(tx, k, change_kind::update, std::move(ops), now, urgency);
    }
    /// Makes the record hold `fields`: creates it, or updates the fields that differ. What differs is found
    /// against the record as it is now; where a person has edited an older copy, use the overload with a base.
    template <storage_transaction Tx>
    [[nodiscard]] result<write_receipt> put(Tx& tx, record_key const& k, bytes_view fields, instant now,
                                            priority urgency = priority::normal) const {
        auto current = read(tx, k);
        if (!current) { return current.error(); }
        if (!*current) { return create(tx, k, fields, now, urgency); }
        return put(tx, k, (*current)->fields, fields, now, urgency);
    }
    /// Writes what a person changed between `base`, the fields that they saw, and `fields`; what others have
    /// changed meanwhile stays.
    template <storage_transaction Tx>
    [[nodiscard]] result<write_receipt> put(Tx& tx, record_key const& k, bytes_view base, bytes_view fields,
                                            instant now, priority urgency = priority::normal) const {
        if (auto ok = validate_fields(fields); !ok) { return ok.error(); }
        auto ops = diff(base, fields, rules_.of(k.collection), {});
        if (!ops) { return ops.error(); }
        if (ops->empty()) { return write_receipt{}; }
        return write(tx, k, change_kind::update, std::move(*ops), now, urgency);
    }
    template <described T, storage_transaction Tx>
    [[nodiscard]] result<write_receipt> create(Tx& tx, std::string_view id, T const& value, instant now,
                                               priority urgency = priority::normal) const {
        auto fields = encode_record(value);
        if (!fields) { return fields.error(); }
        return create(tx, record_key{collection<T>(), id}, *fields, now, urgency);
    }
    /// Reads a described record, lets `change(T&)` edit it and writes the fields that then differ.
    template <described T, storage_transaction Tx, class F>
    [[nodiscard]] result<write_receipt> edit(Tx& tx, std::string_view id, F&& change, instant now,
                                             priority urgency = priority::normal) const {
        auto current = read<T>(tx, id);
        if (!current) { return current.error(); }
        if (!*current) { return errc::not_found; }
        T edited = **current;
        change(edited);
        return put(tx, id, **current, edited, now, urgency);
    }
    /// What a person changed between `base`, which they saw, and `value`.
    template <described T, storage_transaction Tx>
    [[nodiscard]] result<write_receipt> put(Tx& tx, std::string_view id, T const& base, T const& value, instant now,
                                            priority urgency = priority::normal) const {
        auto before = encode_record(base);
        if (!before) { return before.error(); }
        auto after = encode_record(value);
        if (!after) { return after.error(); }
        return put(tx, record_key{collection<T>(), id}, *before, *after, now, urgency);
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<write_receipt> erase(Tx& tx, record_key const& k, instant now,
                                              priority urgency = priority::normal) const {
        return write(tx, k, change_kind::erase, {}, now, urgency);
    }
    /// Writes changes of several records as one mutation: one entry in the outbox, one verdict; at the authority and at every
    /// device that has synced to the end, all of them or none. What others write meanwhile is merged into each record by
    /// its rules as ever: an invariant over several values needs counters.
    ///
    /// It stands behind what waits on each of its records, later writes on any of them stand behind it, and nothing is
    /// joined with it. A part may refer to a record that another part creates. Of one change it is an ordinary write; changes
    /// by `put` that change nothing are left out. State unchanged on what the group's `state` says, `errc::invalid` for
    /// a group of nothing, `errc::limit` (a record too large, all parts together larger than `replica_options::record_max`,
    /// outbox full), and on the errors of `create`, `update` and `erase` for any part.
    template <storage_transaction Tx>
    [[nodiscard]] result<write_receipt> write_group(Tx& tx, record_group const& group, instant now,
                                                    priority urgency = priority::normal) const {
        if (auto ok = group.state(); !ok) { return ok.error(); }
        if (group.changes().empty()) { return failure{errc::invalid, "a group of nothing"}; }
        std::vector<write_plan> plans;
        for (group_change const& c : group.changes()) {
            std::vector<field_op> ops = c.ops;
            if (c.fields) {
                if (auto ok = validate_fields(*c.fields); !ok) { return ok.error(); }
                auto found = diff(c.base, *c.fields, rules_.of(c.record.collection), {});
                if (!found) { return found.error(); }
                if (c.kind == change_kind::update && found->empty()) { continue; }
                ops = std::move(*found);
            }
            std::sort(ops.begin(), ops.end(),
                      [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
            auto change = plan(tx, c.record, c.kind, std::move(ops), now);
            if (!change) { return change.error(); }
            plans.push_back(std::move(*change));
        }
        if (plans.empty()) { return write_receipt{}; }
        return write(tx, plans, now, urgency);
    }

    // Exchanging. The session calls these; a host that drives its own protocol may too.

    /// Freezes what the next request may carry: from then on its bytes, sequences and order never change.
    template <storage_transaction Tx>
    [[nodiscard]] status prepare(Tx& tx, instant now) const {
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        std::size_t const in_flight = static_cast<std::size_t>(sync->next_sequence - 1 - sync->settled);
        if (in_flight >= options_.mutations_max) { return {}; }
        claim_options claims;
        claims.entries_max = options_.mutations_max - in_flight;
        claims.bytes_max = options_.mutation_bytes;
        claims.lease = (milliseconds::max)();
        auto taken = outbox_.claim(tx, claims, now.wall);
        if (!taken) { return taken.error(); }
        for (outbox_entry const& entry : *taken) {
            if (auto ok = freeze(tx, *sync, entry.token, entry.fence, pending::parse(entry.payload), false); !ok) {
                return ok;
            }
        }
        if (taken->empty()) { return {}; }
        journal_note note;
        note.what = journal_event::froze;
        note.stamp = timestamp::make(now.wall);
        note.count = taken->size();
        if (auto ok = tell(tx, note); !ok) { return ok; }
        return write_sync(tx, *sync);
    }

    /// The request that committed storage calls for: what is frozen, and the cursor. Reads only. An observer hears how
    /// many mutations are in it.
    template <storage_transaction Tx, observer O = no_observer>
    [[nodiscard]] result<bytes> request_message(Tx& tx, O&& told = {}) const {
        auto mine = read_identity(tx);
        if (!mine) { return mine.error(); }
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        request q;
        q.replica = mine->self;
        q.epoch = sync->epoch;
        q.cursor = sync->reached();
        if (sync->staged != 0) { q.whole = sync->cursor; }
        q.receipts = sync->settled;
        q.rows_max = options_.rows_max;
        q.bytes_max = options_.bytes_max;
        q.line = sync->line;
        if (sync->kept) { q.known = sync->told(); }
        q.features = feature_columns;
        if (options_.schemas != nullptr) {
            options_.schemas->each([&](std::string_view name, schema_version v) {
                if (v != 1) { q.schemas.push_back({std::string(name), v}); }
            });
        }
        auto wanted = wanted_.first(tx, wanted_ranges_max);
        if (!wanted) { return wanted.error(); }
        q.ranges = std::move(*wanted);
        std::size_t size = 0;
        auto ok = each_frozen(tx, [&](frozen_mutation const& f) {
            pending const& p = f.what;
            if (q.mutations.size() >= options_.mutations_max ||
                (size != 0 && size + p.encoded.size() > options_.mutation_bytes)) {
                return false;
            }
            size += p.encoded.size();
            q.mutations.push_back(p.encoded);
            q.origins.push_back({p.line, f.number});
            return true;
        });
        if (!ok) { return ok.error(); }
        told.counted(metric_counter::entries_sent, q.mutations.size());
        return encode(q);
    }

    /// Takes in a reply: verdicts, rows, cursor and events in this one transaction.
    ///
    /// `message` is a stranger's. Errors, all to be rolled back: those of `decode_reply`;
    /// `errc::authority_changed` when it comes from another authority, or from one that was put back to an
    /// older state and expects no backups, or to one so old that what it lost is no longer kept here: nothing is taken,
    /// pending work stays; `errc::corrupt` and the storage's own. A reply that
    /// was seen before, or that is older than what is held, changes nothing.
    /// Cost: O(verdicts + rows) storage operations; a record with pending mutations is computed anew. Once after an
    /// authority was put back: O(records held).
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] result<exchange_report> absorb(Tx& tx, bytes_view message, instant now, G& random) const {
        auto p = decode_reply(message, options_.message);
        if (!p) { return p.error(); }
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        auto mine = read_identity(tx);
        if (!mine) { return mine.error(); }
        if (!(mine->self == p->replica)) { return nothing_taken(tx, now); }  // to an identity that was left behind
        // To what this store was before it was opened anew: its sequences may have named other mutations then.
        if (p->line != 0 && p->line != sync->line) { return nothing_taken(tx, now); }
        // An answer to what was asked in an epoch that was left.
        if (sync->kept && p->asked && p->asked != sync->epoch) { return nothing_taken(tx, now); }
        bool const elsewhere = sync->epoch && *sync->epoch != p->epoch;
        std::vector<past_epoch> past;
        if (elsewhere) {
            if (sync->kept) {
                auto met = read_past(tx);
                if (!met) { return met.error(); }
                past = std::move(*met);
            }
            auto const left = [&](past_epoch const& e) { return e.name == p->epoch; };
            if (std::any_of(past.begin(), past.end(), left)) { return nothing_taken(tx, now); }
            if (!sync->kept || !p->asked) { return failure{errc::authority_changed, "another authority answered"}; }
            if (p->author != unknown_author && !p->past.empty()) {
                past.insert(past.end(), p->past.begin(), p->past.end());
            } else {
                past.push_back({*sync->epoch, sync->told()});
            }
            if (p->author == unknown_author) { return regress(tx, *p, *sync, std::move(past), now, random); }
        }
        if (p->wipe) {
            auto report = nothing_taken(tx, now);
            if (report) { report->wipe = true; }
            return report;
        }
        if (p->author == unknown_author) {
            return failure{errc::authority_changed, "the authority was put back to an older state"};
        }
        if (p->head < sync->reached()) { return nothing_taken(tx, now); }  // an old reply once more
        exchange_report report;
        bool passed = false;  // a page that is of no use
        if (p->from > sync->reached()) {
            // A first sync begins at the head of its first answer; so does a replica that stands below the horizon. Of
            // another answer to its question the rows are of no use.
            if (p->from != p->to) { return failure{errc::foreign, "a page that does not follow the cursor"}; }
            auto const none = wanted_.empty(tx);
            if (!none) { return none.error(); }
            bool const lapsed = sync->reached() < p->horizon;
            if (lapsed) {
                if (auto ok = want_everything(tx); !ok) { return ok.error(); }
                if (auto ok = drop_staged(tx, *sync); !ok) { return ok.error(); }
                report.rejoined = sync->cursor != 0;
            } else {
                passed = sync->reached() != 0 || *none;
            }
        }
        // A page of nothing that begins after the cursor is the answer to a first sync that went on since: what is kept
        // back is of a later time, and does not lead up to it.
        passed = passed || (sync->staged != 0 && p->from > sync->cursor && p->from == p->to);

        sync_state const before = *sync;
        event_batch events;
        std::vector<bytes> dirty;  // record keys to compute anew
        sync->epoch = p->epoch;
        sync->author = p->author;
        if (elsewhere) {
            if (auto ok = write_past(tx, std::move(past)); !ok) { return ok.error(); }
        }
        if (p->stable && !sync->kept) {
            // What was decided before is not kept: an older state than this is not to be had back.
            sync->kept.emplace();
            sync->kept->from = before.told();
        }

        std::vector<std::pair<std::uint64_t, verdict const*>> parked;  // tokens of new conflicts
        bool fork = false;                                             // another content under our name
        bool unknown = false;                                          // what we never sent, or never settled, was
        for (verdict const& v : p->verdicts) {
            auto handled = take_verdict(tx, v, now, p->head, *sync, dirty, events, parked);
            if (!handled) { return handled.error(); }
            report.verdicts += *handled == verdict_effect::none ? 0 : 1;
            fork = fork || *handled == verdict_effect::forked;
            unknown = unknown || *handled == verdict_effect::forgotten;
            report.wait = report.wait || v.kind == verdict_kind::retry_after || v.kind == verdict_kind::collateral;
        }

        if (report.verdicts != 0) {
            if (auto ok = settle(tx, *sync); !ok) { return ok.error(); }
        }

        // Overtaken by a reply that told a verdict which this one doesn't: its rows may hold what still waits here,
        // and would show it twice. They come again with the verdict.
        auto const overtaken = unheard(tx, *sync, *p);
        if (!overtaken) { return overtaken.error(); }
        passed = passed || (*overtaken && !fork) || p->to < sync->staged;
        if (passed) {
            p->rows.clear();
            p->ranges.clear();
            p->to = sync->cursor;
        }
        if (p->partial && !passed) {
            if (auto ok = stage(tx, *p); !ok) { return ok.error(); }
            report.advanced = p->to > sync->reached();
            sync->staged = (std::max)(sync->staged, p->to);
            p->to = sync->cursor;
        } else if (sync->staged != 0 && !passed) {
            if (auto ok = unstage(tx, *p, *sync); !ok) { return ok.error(); }
        }
        if (auto ok = learn_clock(tx, p->rows, now); !ok) { return ok.error(); }
        std::size_t in_ranges = 0;
        for (told_range const& a : p->ranges) { in_ranges += a.rows; }
        std::size_t next = p->rows.size() - in_ranges;
        for (std::size_t i = 0; i < next; ++i) {
            // Passed already, and perhaps a tombstone that everybody has and that is gone here too.
            if (p->rows[i].state.version <= sync->cursor) { continue; }
            auto taken = take_row(tx, p->rows[i], true, false, dirty, events);
            if (!taken) { return taken.error(); }
            report.rows += *taken ? 1 : 0;
        }
        for (told_range& a : p->ranges) {
            std::span<row_update> const told = std::span{p->rows}.subspan(next, a.rows);
            next += a.rows;
            auto taken = take_range(tx, a.covered, told, p->head, dirty, events);
            if (!taken) { return taken.error(); }
            report.rows += *taken;
            report.advanced = true;
        }
        if (sync->kept && sync->kept->orphans != 0) {
            for (row_update const& u : p->rows) { dirty.emplace_back(to_bytes(u.key)); }
        }
        std::sort(dirty.begin(), dirty.end(), [](bytes const& a, bytes const& b) { return compare(a, b) < 0; });
        dirty.erase(std::unique(dirty.begin(), dirty.end()), dirty.end());
        for (bytes const& k : dirty) {
            auto ok = offer_orphans(tx, k, *sync);
            if (ok) { ok = rebase(tx, k, *sync, events); }
            if (!ok) { return ok.error(); }
        }
        if (auto ok = tell_parked(tx, parked, now); !ok) { return ok.error(); }

        report.advanced = report.advanced || p->to > sync->cursor;
        sync->cursor = (std::max)(sync->cursor, p->to);
        sync->head = (std::max)(sync->head, p->head);
        if (sync->kept) {
            sync->kept->horizon = (std::max)(sync->kept->horizon, p->horizon);
            if (auto ok = forget_decided(tx, *sync->kept, p->stable.value_or(0)); !ok) { return ok.error(); }
        }
        if (p->horizon != 0 && p->horizon <= sync->cursor) {
            if (auto ok = drop_tombstones(tx, p->horizon); !ok) { return ok.error(); }
        }
        if (p->decided >= sync->next_sequence && !fork) {
            // This store never sent those. What still waits in it may be what was sent: it goes under the old name
            // first, where it is recognised, lest it count twice.
            auto waiting = outbox_.next_due(tx, now.wall);
            if (!waiting) { return waiting.error(); }
            fork = !*waiting || **waiting > now.wall;
        } else {
            // What is frozen and was decided comes first too: its verdicts are there to be had under the old name only.
            bool const answered = sync->settled + 1 < sync->next_sequence && sync->settled < p->decided;
            fork = fork || (unknown && !answered);
        }
        if (fork) {
            if (auto ok = reincarnate(tx, *sync, random); !ok) { return ok.error(); }
            report.reincarnated = true;
            events.add_reincarnation();
            journal_note note;
            note.what = journal_event::renamed;
            note.stamp = timestamp::make(now.wall);
            if (auto ok = tell(tx, note); !ok) { return ok.error(); }
        }
        if (report.rows != 0 || report.advanced) {
            journal_note note;
            note.what = journal_event::pulled;
            note.stamp = timestamp::make(now.wall);
            note.count = report.rows;
            note.at = sync->cursor;
            auto const look = [&](record_key const& k) { return read_confirmed(tx, k); };
            function_ref<result<std::optional<row>>(record_key const&)> const confirmed = look;
            note.confirmed = &confirmed;
            if (auto ok = tell(tx, note); !ok) { return ok.error(); }
        }
        report.changed = events.changed();
        if (!events.empty()) {
            ++sync->events;
            if (auto ok = tx.put(numbered('e', sync->events), events.encode()); !ok) { return ok.error(); }
        }
        if (!(*sync == before)) {
            if (auto ok = write_sync(tx, *sync); !ok) { return ok.error(); }
        }
        auto work = work_left(tx, now);
        if (!work) { return work.error(); }
        report.more = *work;
        return report;
    }

    /// Whether an exchange now would send or fetch anything that is known of.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> work_left(Tx& tx, instant now) const {
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        if (!sync->epoch || sync->cursor < sync->head || sync->staged != 0 || sync->settled + 1 < sync->next_sequence) {
            return true;
        }
        auto const told = wanted_.empty(tx);
        if (!told) { return told.error(); }
        if (!*told) { return true; }
        auto due = outbox_.next_due(tx, now.wall);
        if (!due) { return due.error(); }
        return *due && **due <= now.wall;
    }

    /// Where the replica stands.
    struct progress {
        position cursor = 0;       ///< held up to here, but for ranges that are still to come
        position head = 0;         ///< the authority's last position that it told
        std::uint64_t frozen = 0;  ///< mutations sent, or to be sent as they are, without a verdict
        bool met = false;          ///< whether an authority ever answered
        bool complete = false;     ///< no range is still to come
    };
    template <storage_transaction Tx>
    [[nodiscard]] result<progress> status_of(Tx& tx) const {
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        auto const told = wanted_.empty(tx);
        if (!told) { return told.error(); }
        return progress{sync->cursor, sync->head, sync->next_sequence - 1 - sync->settled, sync->epoch.has_value(),
                        *told};
    }
    /// Whether all that the authority had of a collection at the cursor is held: a first sync tells the essential ones
    /// first. `errc::invalid` for what is no name of one.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> complete(Tx& tx, std::string_view collection) const {
        if (!valid(record_key{collection, "-"})) { return failure{errc::invalid, "collection"}; }
        return wanted_.complete(tx, range_of(collection));
    }

    // Looking whether what is held is what the authority has; replica/integrity.hpp does.

    /// Wants a range of records told whole once more, before all others. What is held of it stays until then; what is
    /// told then takes its place even where that says that it is no newer, or does not decode, and pending mutations
    /// are laid over it. `errc::invalid` for what is no range.
    template <storage_transaction Tx>
    [[nodiscard]] status refetch(Tx& tx, record_range const& r) const {
        if (!valid(r)) { return failure{errc::invalid, "range of records"}; }
        return wanted_.add(tx, band_repair, r);
    }
    /// Whether nothing of a range is still to be told. Precondition: `valid(r)`.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> complete(Tx& tx, record_range const& r) const {
        return wanted_.complete(tx, r);
    }
    /// Visits the confirmed rows of a range in the order of keys, tombstones too, until the visitor says false. It may
    /// read, not write. `errc::corrupt` at the first that does not decode. Precondition: `valid(r)`.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_confirmed(Tx& tx, record_range const& r,
                                        function_ref<bool(record_key const&, row const&)> visit) const {
        status outcome;
        auto ok = records_.scan_range(tx, r.from, r.to, [&](record_key const& k, held_record& h) {
            if (h.confirmed == 0) { return true; }
            if (!h.pending) { return visit(k, h.visible); }
            auto const kept = records_.find_confirmed(tx, k);
            if (!kept || !*kept) {
                outcome = kept ? failure{errc::corrupt, "a confirmed record that is not kept"} : kept.error();
                return false;
            }
            return visit(k, **kept);
        });
        return ok ? outcome : ok;
    }

    // Events: at least once, in order, kept until forgotten.

    /// Visits events after `seen` in order; each batch has a number that `forget_events` takes.
    template <storage_transaction Tx>
    [[nodiscard]] status events(Tx& tx, std::uint64_t seen,
                                function_ref<bool(std::uint64_t batch, event const&)> visit) const {
        bytes first = key('e');
        append_u64(first, seen + 1);
        status outcome;
        bytes const end = prefix_end(key('e'));
        auto ok = tx.scan({first, end}, [&](bytes_view k, bytes_view v) {
            std::uint64_t const batch = k.size() == 10 ? read_u64(k.subspan(2)) : 0;
            bool on = true;
            outcome = event_batch::read(v, [&](event const& e) { return on = visit(batch, e); });
            return outcome.has_value() && on;
        });
        return ok ? outcome : ok;
    }
    /// Drops the batches up to `through`.
    template <storage_transaction Tx>
    [[nodiscard]] status forget_events(Tx& tx, std::uint64_t through) const {
        std::vector<std::uint64_t> old;
        bytes const prefix = key('e');
        auto ok = scan_prefix(tx, prefix, [&](bytes_view k, bytes_view) {
            std::uint64_t const batch = k.size() == 10 ? read_u64(k.subspan(2)) : 0;
            if (batch > through) { return false; }
            old.push_back(batch);
            return true;
        });
        for (std::size_t i = 0; i < old.size() && ok; ++i) { ok = tx.erase(numbered('e', old[i])); }
        return ok;
    }

    // Conflicts.

    template <storage_transaction Tx>
    [[nodiscard]] status conflicts(Tx& tx, function_ref<bool(open_conflict const&)> visit) const {
        status outcome;
        bytes const prefix = key('c');
        auto ok = scan_prefix(tx, prefix, [&](bytes_view k, bytes_view v) {
            open_conflict c;
            outcome = parse_conflict(k, v, c);
            if (!outcome) { return false; }
            auto remote = read_confirmed(tx, c.local.record);
            if (!remote) {
                outcome = remote.error();
                return false;
            }
            c.remote = std::move(*remote);
            return visit(c);
        });
        return ok ? outcome : ok;
    }

    /// Ends a conflict by a person's decision: a new mutation that has seen the confirmed record as it is now.
    ///
    /// `seen` is the version of the remote row that the person saw. `decisions` names every field of the
    /// conflict once; the parked mutation's other operations go along. Should somebody change those fields
    /// again before it arrives, that is a new conflict.
    /// Errors, state unchanged: `errc::not_found` (no such conflict; the record was deleted meanwhile, then
    /// `dismiss` it), `errc::contended` (the remote has changed since: show it again), `errc::invalid` (a field is missing, named twice or not in conflict; a value is no CBOR).
    template <storage_transaction Tx>
    [[nodiscard]] result<write_receipt> resolve(Tx& tx, std::uint64_t token, position seen,
                                                std::vector<field_resolution> const& decisions, instant now,
                                                priority urgency = priority::important) const {
        auto found = find_conflict(tx, token);
        if (!found) { return found.error(); }
        if (found->local.kind == change_kind::group) {
            return failure{errc::invalid, "a group waits for a record that is lost: it can only be dismissed"};
        }
        auto remote = read_confirmed(tx, found->local.record);
        if (!remote) { return remote.error(); }
        if ((*remote ? (*remote)->version : 0) != seen) {
            return failure{errc::contended, "the remote has changed since"};
        }
        auto const in_conflict = [&](std::string_view f) {
            return std::find(found->fields.begin(), found->fields.end(), f) != found->fields.end();
        };
        if (decisions.size() != found->fields.size()) {
            return failure{errc::invalid, "each field in conflict takes one decision"};
        }
        for (std::size_t i = 0; i < decisions.size(); ++i) {
            field_resolution const& d = decisions[i];
            bool const twice = std::any_of(decisions.begin(), decisions.begin() + static_cast<std::ptrdiff_t>(i),
                                           [&](field_resolution const& e) { return e.field == d.field; });
            if (twice || !in_conflict(d.field)) {
                return failure{errc::invalid, "a field that is not in conflict, or named twice"};
            }
            if (d.take == field_resolution::choice::custom && !validate_canonical(d.value)) {
                return failure{errc::invalid, "a value that is not canonical CBOR"};
            }
        }
        std::vector<field_op> ops;
        for (field_op op : found->local.ops) {
            for (field_resolution const& d : decisions) {
                if (d.field == op.field && d.take == field_resolution::choice::custom) {
                    op.kind = op_kind::set;
                    op.value = d.value;
                }
            }
            bool const yields = std::any_of(decisions.begin(), decisions.end(), [&](field_resolution const& d) {
                return d.field == op.field && d.take == field_resolution::choice::remote;
            });
            if (!yields) { ops.push_back(std::move(op)); }
        }
        write_receipt receipt;
        if (!ops.empty()) {
            auto written = write(tx, found->local.record, change_kind::update, std::move(ops), now, urgency);
            if (!written) { return written.error(); }
            receipt = *written;
        }
        auto const all = [&](field_resolution::choice c) {
            return std::all_of(decisions.begin(), decisions.end(),
                               [&](field_resolution const& d) { return d.take == c; });
        };
        journal_choice const choice = all(field_resolution::choice::local)    ? journal_choice::local
                                      : all(field_resolution::choice::remote) ? journal_choice::remote
                                                                              : journal_choice::some;
        if (auto ok = end_conflict(tx, *found, timestamp::make(now.wall), choice); !ok) { return ok.error(); }
        return receipt;
    }
    /// Ends a conflict for the remote side in everything: the parked mutation is dropped by this explicit call. Where it
    /// was decided elsewhere, and what it came to is written, `choice` is what the journal is told.
    template <storage_transaction Tx>
    [[nodiscard]] status dismiss(Tx& tx, std::uint64_t token, journal_choice choice = journal_choice::remote) const {
        auto found = find_conflict(tx, token);
        if (!found) { return found.error(); }
        timestamp when{};
        if constexpr (keeps_journal<Journal>) {
            auto clock = read_clock(tx);
            if (!clock) { return clock.error(); }
            when = clock->last();
        }
        return end_conflict(tx, *found, when, choice);
    }

    /// Erases the replica, records, pending work, conflicts and dead letters, a step at a time; true: call again. From the
    /// first step on, all other calls answer `errc::not_found`, and `open` too, until the last has made the store
    /// empty. Export first what is to be kept. Cost: O(`budget`) storage operations; `budget` > 0.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> wipe(Tx& tx, std::size_t budget) const {
        if (auto ok = tx.erase(key('s')); !ok) { return ok.error(); }
        // Those in the storage go with all else there, damaged ones too.
        if constexpr (!std::is_same_v<Records, stored_records>) {
            std::vector<record_key> held;
            auto found =
                records_.scan_range(tx, bytes{}, bytes{std::byte{0xFF}}, [&](record_key const& k, held_record&) {
                    if (held.size() < budget) { held.push_back(k); }
                    return held.size() < budget;
                });
            if (!found) { return found.error(); }
            for (record_key const& k : held) {
                if (auto gone = records_.erase(tx, k); !gone) { return gone.error(); }
            }
            if (held.size() == budget) { return true; }
        }
        std::vector<bytes> rest;
        bytes const identity_key = key('i');
        auto ok = scan_prefix(tx, bytes{std::byte{'r'}}, [&](bytes_view k, bytes_view) {
            if (rest.size() < budget && !equal(k, identity_key)) { rest.push_back(to_bytes(k)); }
            return rest.size() < budget;
        });
        if (!ok) { return ok.error(); }
        for (bytes const& k : rest) {
            if (auto gone = tx.erase(k); !gone) { return gone.error(); }
        }
        if (rest.size() == budget) { return true; }
        if (auto gone = tx.erase(identity_key); !gone) { return gone.error(); }
        return false;
    }

    /// The mutation in an outbox entry's payload, a dead letter's for one. `errc::corrupt` when it is none.
    [[nodiscard]] static result<mutation> mutation_of(outbox_entry const& entry) {
        auto p = pending::parse(entry.payload);
        if (!p) { return p.error(); }
        return p->decoded();
    }

private:
    struct identity {
        replica_id self{};
        std::string principal;
    };
    static constexpr position no_position = (std::numeric_limits<position>::max)();
    /// Where the authority may be put back to a backup.
    struct kept_state {
        position from = 0;              ///< everything of this replica that was decided after it is kept
        std::uint64_t first = 1;        ///< number of the first that is
        std::uint64_t next = 1;         ///< … and of the next to be
        position horizon = 0;           ///< tombstones up to here may have been dropped
        position shared = no_position;  ///< the authority was put back to this: a base beyond it, seen before, is void
        std::uint64_t orphans = 0;      ///< offered again in vain: their records are lost, but may come
        friend bool operator==(kept_state const&, kept_state const&) = default;
    };
    struct sync_state {
        std::optional<id128> epoch{};
        position cursor = 0;
        position staged = 0;  ///< rows up to here are kept back, under 'g'; 0: none are
        position head = 0;
        author_index author = unknown_author;
        std::uint64_t next_sequence = 1;
        std::uint64_t settled = 0;  ///< every sequence up to here has its verdict in storage
        std::uint64_t events = 0;   ///< batches written
        std::uint64_t line = 0;     ///< of the origins of what is written; drawn at each opening
        std::optional<kept_state> kept{};
        friend bool operator==(sync_state const&, sync_state const&) = default;
        /// Where the next page begins.
        [[nodiscard]] position reached() const noexcept { return (std::max)(cursor, staged); }
        /// The last position that it was told of: no row that is held, and no verdict, has a later one.
        [[nodiscard]] position told() const noexcept { return (std::max)(reached(), head); }
    };
    /// A record as it stands in the record store.
    struct visible {
        bool present = false;
        bool dirty = false;
        position confirmed = 0;
        row state{};
    };

    [[nodiscard]] static bytes key(char kind) { return {std::byte{'r'}, static_cast<std::byte>(kind)}; }
    [[nodiscard]] static bytes numbered(char kind, std::uint64_t n) {
        bytes k = key(kind);
        append_u64(k, n);
        return k;
    }

    /// Decided mutations that no held row contains yet: 'h', length and name of the record, token.
    [[nodiscard]] static bytes decided_prefix(bytes_view record) {
        bytes k = key('h');
        k.push_back(static_cast<std::byte>(record.size() >> 8));
        k.push_back(static_cast<std::byte>(record.size() & 0xFF));
        append(k, record);
        return k;
    }

    /// Tells the journal, who does it and for whom filled in.
    template <class Tx>
    [[nodiscard]] status tell(Tx& tx, journal_note& note) const {
        if constexpr (keeps_journal<Journal>) {
            static_assert(journal<Journal, Tx>);
            auto mine = read_identity(tx);
            if (!mine) { return mine.error(); }
            note.device = mine->self;
            note.principal = mine->principal;
            if (note.change == nullptr || note.change->kind != change_kind::group) { return journal_(tx, note); }
            status ok;
            mutation const* const group = note.change;
            each_part(*group, [&](mutation const& part) {
                note.change = &part;
                if (ok) { ok = journal_(tx, note); }
            });
            note.change = group;
            return ok;
        } else {
            (void)tx;
            (void)note;
            return {};
        }
    }

    /// Tells the journal of new conflicts, once the rows that they collide with are held.
    template <class Tx>
    [[nodiscard]] status tell_parked(Tx& tx, std::vector<std::pair<std::uint64_t, verdict const*>> const& parked,
                                     instant now) const {
        if constexpr (keeps_journal<Journal>) {
            for (auto const& [token, said] : parked) {
                auto c = find_conflict(tx, token);
                if (!c) { return c.error(); }
                auto remote = read_confirmed(tx, c->local.record);
                // Of a record that is closed to the program the row can't be shown.
                if (!remote && remote.error() != errc::unsupported) { return remote.error(); }
                if (remote) { c->remote = std::move(*remote); }
                journal_note note;
                note.what = journal_event::parked;
                note.stamp = timestamp::make(now.wall);
                note.change = &c->local;
                note.sequence = c->local.sequence;
                note.said = said;
                note.conflict = &*c;
                if (auto ok = tell(tx, note); !ok) { return ok; }
            }
        } else {
            (void)tx;
            (void)parked;
            (void)now;
        }
        return {};
    }

    // Small rows of state.

    template <random_source G>
    [[nodiscard]] static std::uint64_t new_line(G& random) noexcept {
        std::uint64_t line = 0;
        while (line == 0) { line = random(); }
        return line;
    }

    template <class Tx>
    [[nodiscard]] result<identity> read_identity(Tx& tx) const {
        bytes raw;
        auto found = tx.get(key('i'), raw);
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::not_found, "the store is not a replica's; open it first"}; }
        cbor_reader in{raw};
        if (in.array() != 3) { return failure{errc::corrupt, "replica's identity"}; }
        std::uint64_t const format = in.unsigned_integer();
        if (!in.failed() && format > replica_format) {
            return failure{errc::unsupported, "written by a later version"};
        }
        auto const id = replica_id_from(in.byte_string());
        identity mine;
        mine.principal = std::string{in.text()};
        if (!id || !in.finish()) { return failure{errc::corrupt, "replica's identity"}; }
        mine.self = *id;
        return mine;
    }
    template <class Tx>
    [[nodiscard]] status write_identity(Tx& tx, identity const& mine) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(3);
        w.unsigned_integer(replica_format);
        w.byte_string(to_array(mine.self));
        w.text(mine.principal);
        return tx.put(key('i'), raw);
    }
    template <class Tx>
    [[nodiscard]] result<sync_state> read_sync(Tx& tx) const {
        bytes raw;
        auto found = tx.get(key('s'), raw);
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::not_found, "the store is not a replica's; open it first"}; }
        cbor_reader in{raw};
        sync_state s;
        std::size_t parts = in.array();
        bool const stages = parts == 9 || parts == 15;
        if (stages) { --parts; }
        if (parts != 7 && parts != 8 && parts != 14) { return failure{errc::corrupt, "replica's sync state"}; }
        if (!in.null()) { s.epoch = detail::read_id(in); }
        s.cursor = in.unsigned_integer();
        s.head = in.unsigned_integer();
        s.author = static_cast<author_index>(in.unsigned_integer());
        s.next_sequence = in.unsigned_integer();
        s.settled = in.unsigned_integer();
        s.events = in.unsigned_integer();
        if (parts >= 8) { s.line = in.unsigned_integer(); }
        if (parts == 14) {
            s.kept.emplace();
            s.kept->from = in.unsigned_integer();
            s.kept->first = in.unsigned_integer();
            s.kept->next = in.unsigned_integer();
            s.kept->horizon = in.unsigned_integer();
            s.kept->shared = in.unsigned_integer();
            s.kept->orphans = in.unsigned_integer();
        }
        if (stages) { s.staged = in.unsigned_integer(); }
        if (!in.finish() || s.settled >= s.next_sequence) { return failure{errc::corrupt, "replica's sync state"}; }
        return s;
    }
    template <class Tx>
    [[nodiscard]] status write_sync(Tx& tx, sync_state const& s) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(std::size_t{s.kept ? 14U : 8U} + (s.staged == 0 ? 0 : 1));
        if (s.epoch) {
            w.byte_string(s.epoch->bytes);
        } else {
            w.null();
        }
        w.unsigned_integer(s.cursor);
        w.unsigned_integer(s.head);
        w.unsigned_integer(s.author);
        w.unsigned_integer(s.next_sequence);
        w.unsigned_integer(s.settled);
        w.unsigned_integer(s.events);
        w.unsigned_integer(s.line);
        if (s.kept) {
            w.unsigned_integer(s.kept->from);
            w.unsigned_integer(s.kept->first);
            w.unsigned_integer(s.kept->next);
            w.unsigned_integer(s.kept->horizon);
            w.unsigned_integer(s.kept->shared);
            w.unsigned_integer(s.kept->orphans);
        }
        if (s.staged != 0) { w.unsigned_integer(s.staged); }
        return tx.put(key('s'), raw);
    }
    template <class Tx>
    [[nodiscard]] result<hybrid_clock> read_clock(Tx& tx) const {
        bytes raw;
        auto found = tx.get(key('t'), raw);
        if (!found) { return found.error(); }
        timestamp last{};
        if (*found) {
            auto t = timestamp_from(raw);
            if (!t) { return failure{errc::corrupt, "replica's clock"}; }
            last = *t;
        }
        return hybrid_clock{options_.clock, last};
    }
    template <class Tx>
    [[nodiscard]] status write_clock(Tx& tx, hybrid_clock const& clock) const {
        return tx.put(key('t'), to_array(clock.last()));
    }
    /// The clock hears of every stamp that was confirmed; one too far ahead doesn't move it.
    template <class Tx>
    [[nodiscard]] status learn_clock(Tx& tx, std::vector<row_update> const& rows, instant now) const {
        if (rows.empty()) { return {}; }
        auto clock = read_clock(tx);
        if (!clock) { return clock.error(); }
        timestamp const before = clock->last();
        for (row_update const& u : rows) {
            (void)clock->accept(u.state.floor.stamp, now.wall);
            for (field_mark const& e : u.state.exceptions) { (void)clock->accept(e.mark.stamp, now.wall); }
        }
        return clock->last() == before ? status{} : write_clock(tx, *clock);
    }

    // Visible and confirmed records.

    [[nodiscard]] collection_schema const& schema_of_record(record_key const& k) const noexcept {
        return (options_.schemas == nullptr ? detail::first_versions : *options_.schemas).of(k.collection);
    }
    /// As a person sees it, in the version of the program. `errc::unsupported` for a record that is closed to it.
    template <class Tx>
    [[nodiscard]] result<visible> read_visible(Tx& tx, record_key const& k) const {
        if (!valid(k)) { return failure{errc::invalid, "record key"}; }
        auto held = records_.find(tx, k);
        if (!held) { return held.error(); }
        if (!*held) { return visible{}; }
        collection_schema const& schema = schema_of_record(k);
        if (auto ok = schema.cast((*held)->visible, schema.version()); !ok) { return ok.error(); }
        return visible{true, (*held)->pending, (*held)->confirmed, std::move((*held)->visible)};
    }

    // Writing.

    /// A write that is not made yet: what it changes, and the record after it.
    struct write_plan {
        visible entry;
        sync_state sync;
        hybrid_clock clock;
        pending p;
        std::optional<row> after;
    };

    template <class Tx>
    [[nodiscard]] result<write_plan> plan(Tx& tx, record_key const& k, change_kind kind, std::vector<field_op> ops,
                                          instant now) const {
        if (!valid(k)) { return failure{errc::invalid, "record key"}; }
        for (std::size_t i = 0; i < ops.size(); ++i) {
            if (i != 0 && ops[i].field == ops[i - 1].field) { return failure{errc::invalid, "a field named twice"}; }
            if (ops[i].field.empty() || ops[i].field.size() > field_name_bytes_max || !valid_utf8(ops[i].field)) {
                return failure{errc::invalid, "field name"};
            }
            if (ops[i].kind == op_kind::unset ? !ops[i].value.empty() : !validate_canonical(ops[i].value)) {
                return failure{errc::invalid, "a value that is not canonical CBOR"};
            }
        }
        auto entry = read_visible(tx, k);
        if (!entry) { return entry.error(); }
        bool const alive = entry->present && !entry->state.deleted;
        if (kind == change_kind::create && alive) { return errc::already_exists; }
        if (kind != change_kind::create && !alive) { return errc::not_found; }
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        auto clock = read_clock(tx);
        if (!clock) { return clock.error(); }

        pending p;
        p.change.stamp = clock->now(now.wall);
        p.change.kind = kind;
        p.change.record = k;
        if (kind == change_kind::create && entry->present &&
            entry->state.life == (std::numeric_limits<std::uint64_t>::max)()) {
            return failure{errc::overflow, "a record without a life left"};
        }
        p.change.life = kind == change_kind::create ? (entry->present ? entry->state.life + 1 : 1) : entry->state.life;
        p.change.base = entry->confirmed;
        p.change.schema = schema_of_record(k).version();
        p.change.ops = std::move(ops);
        for (field_op& op : p.change.ops) { op.stamp = p.change.stamp; }
        p.line = sync->line;
        if (alive) { p.saw(entry->state.fields); }

        std::optional<row> after;
        if (entry->present) { after = entry->state; }
        apply_context context;
        context.author = sync->author;
        apply_outcome outcome = apply(after, p.change, rules_.of(k.collection), context);
        if (outcome.verdict == verdict_kind::rejected) { return outcome.reason; }
        if (after && after->fields.size() > options_.record_max) { return failure{errc::limit, "record too large"}; }
        return write_plan{std::move(*entry), *sync, *clock, std::move(p), std::move(after)};
    }

    /// What the checks and constraints say of it. `beside`: what is written with it.
    template <class Tx>
    [[nodiscard]] result<validation> permitted(Tx& tx, write_plan const& w,
                                               std::span<write_plan const> beside = {}) const {
        if ((options_.checks == nullptr && options_.constraints == nullptr) || !w.after) { return validation{}; }
        std::optional<row> before;
        if (w.entry.present) { before = w.entry.state; }
        if (options_.checks != nullptr) {
            auto mine = read_identity(tx);
            if (!mine) { return mine.error(); }
            validation said = (*options_.checks)(validation_input{mine->principal, w.p.change, before, *w.after});
            if (!said.accepted) { return said; }
        }
        if (options_.constraints == nullptr) { return validation{}; }
        auto const lives = [&](record_key const& parent) -> result<bool> {
            for (write_plan const& other : beside) {
                if (other.p.change.record == parent) { return other.after && !other.after->deleted; }
            }
            auto there = read_visible(tx, parent);
            if (!there) { return there.error(); }
            if (there->present) { return !there->state.deleted; }
            auto const all = complete(tx, parent.collection);
            if (!all) { return all.error(); }
            return !*all;  // it may be among what was not fetched yet
        };
        auto const missing = missing_reference(*options_.constraints, w.p.change.record, before, *w.after, lives);
        if (!missing) { return missing.error(); }
        return *missing ? validation{false, code_of((*missing)->kind), to_text(**missing)} : validation{};
    }

    template <class Tx>
    [[nodiscard]] result<write_receipt> write(Tx& tx, record_key const& k, change_kind kind, std::vector<field_op> ops,
                                              instant now, priority urgency) const {
        auto change = plan(tx, k, kind, std::move(ops), now);
        if (!change) { return change.error(); }
        return write(tx, std::span{&*change, 1}, now, urgency);
    }
    /// Writes what is planned, of one moment and of different records: as a group where it is more than one.
    template <class Tx>
    [[nodiscard]] result<write_receipt> write(Tx& tx, std::span<write_plan> plans, instant now,
                                              priority urgency) const {
        for (write_plan const& w : plans) {
            auto const said = permitted(tx, w, plans);
            if (!said) { return said.error(); }
            if (!said->accepted) { return failure{said->reason, "the checks refuse it; `check` says why"}; }
        }
        auto receipt = plans.size() == 1 ? enqueue(tx, to_bytes(plans[0].p.change.record), plans[0].p, now, urgency)
                                         : enqueue_group(tx, plans, now, urgency);
        if (!receipt) { return receipt.error(); }
        if (auto ok = write_clock(tx, plans[0].clock); !ok) { return ok.error(); }
        for (write_plan& w : plans) {
            mutation const& change = w.p.change;
            journal_note note;
            note.what = journal_event::wrote;
            note.stamp = change.stamp;
            note.change = &change;
            if (auto ok = tell(tx, note); !ok) { return ok.error(); }
            if (receipt->token == 0) {
                // A creation and its deletion annihilated each other: back to what was before both.
                event_batch silent;
                if (auto ok = rebase(tx, to_bytes(change.record), w.sync, silent); !ok) { return ok.error(); }
                return *receipt;
            }
            held_record held{true, w.entry.confirmed, w.after ? std::move(*w.after) : row{}};
            held.visible.schema = change.schema;
            row const* const confirmed = !w.entry.dirty && w.entry.present ? &w.entry.state : nullptr;
            if (auto ok = records_.put(tx, change.record, held, confirmed); !ok) { return ok.error(); }
        }
        return *receipt;
    }

    /// Puts a group in the outbox: one entry, in the order of each of its records.
    template <class Tx>
    [[nodiscard]] result<write_receipt> enqueue_group(Tx& tx, std::span<write_plan> plans, instant now,
                                                      priority urgency) const {
        pending p;
        p.change.stamp = plans[0].p.change.stamp;
        p.change.kind = change_kind::group;
        p.change.record = plans[0].p.change.record;
        p.line = plans[0].p.line;
        cbor_writer seen{p.base};
        seen.array(plans.size());
        std::vector<bytes> names;
        for (write_plan const& w : plans) {
            p.change.parts.push_back(w.p.change);
            seen.byte_string(w.p.base);
            names.push_back(to_bytes(w.p.change.record));
        }
        bytes const payload = p.encode();
        if (p.encoded.size() > options_.record_max) { return failure{errc::limit, "group too large"}; }
        std::vector<bytes_view> const more(names.begin() + 1, names.end());
        outbox_item item;
        item.urgency = urgency;
        item.record = names[0];
        item.more_records = more;
        item.payload = payload;
        auto const token = outbox_.enqueue(tx, item, now.wall);
        if (!token) { return token.error(); }
        return write_receipt{*token, false};
    }

    /// Puts a pending mutation in the outbox, into the record's last entry where the algebra allows.
    template <class Tx>
    [[nodiscard]] result<write_receipt> enqueue(Tx& tx, bytes const& name, pending& p, instant now,
                                                priority urgency) const {
        std::optional<outbox_entry> last;
        auto ok = outbox_.scan_record(tx, name, [&](outbox_entry const& e) {
            last = e;
            return true;
        });
        if (!ok) { return ok.error(); }
        if (last && last->fence == 0 && last->urgency == urgency) {
            auto waiting = pending::parse(last->payload);
            if (!waiting) { return waiting.error(); }
            auto earlier = waiting->decoded();
            if (!earlier) { return earlier.error(); }
            waiting->change = std::move(*earlier);
            switch (waiting->absorb(p, rules_.of(p.change.record.collection))) {
                case coalescing::kept_apart: break;
                case coalescing::absorbed:
                    if (auto amended = outbox_.amend(tx, last->token, waiting->encode()); !amended) {
                        return amended.error();
                    }
                    return write_receipt{last->token, true};
                case coalescing::annihilated:
                    if (auto gone = outbox_.withdraw(tx, last->token); !gone) { return gone.error(); }
                    return write_receipt{0, true};
            }
        }
        outbox_item item;
        item.urgency = urgency;
        item.record = name;
        bytes const payload = p.encode();
        item.payload = payload;
        auto const token = outbox_.enqueue(tx, item, now.wall);
        if (!token) { return token.error(); }
        return write_receipt{*token, false};
    }

    // Frozen mutations: 'f' sequence -> token, fence of the outbox entry that holds its bytes; or 0 and the key of a
    // decided one that is offered again.

    /// Gives the next sequence. `renamed`: it was frozen under another identity of this store, and is the same still;
    /// otherwise one that was frozen before was set aside, and a person sends it anew.
    template <class Tx>
    [[nodiscard]] status freeze(Tx& tx, sync_state& sync, std::uint64_t token, std::uint64_t fence, result<pending> p,
                                bool renamed) const {
        if (!p) { return p.error(); }
        auto m = p->decoded();
        if (!m) { return m.error(); }
        p->change = std::move(*m);
        if (p->change.sequence != 0 && !renamed && p->line != 0) { ++p->line; }
        // It may have lain aside while the authority was put back: of what it saw then nothing is sure.
        if (p->change.sequence != 0 && !renamed && sync.kept) {
            each_part(p->change, [&](mutation& part) { part.base = (std::min)(part.base, sync.kept->shared); });
        }
        p->change.sequence = sync.next_sequence;
        if (auto ok = outbox_.set_payload(tx, token, fence, p->encode()); !ok) { return ok; }
        bytes where;
        append_u64(where, token);
        append_u64(where, fence);
        if (auto ok = tx.put(numbered('f', sync.next_sequence), where); !ok) { return ok; }
        ++sync.next_sequence;
        return {};
    }
    struct frozen_mutation {
        std::uint64_t sequence = 0;
        std::uint64_t token = 0;
        std::uint64_t fence = 0;
        std::uint64_t number = 0;  ///< of its origin
        bytes again{};             ///< offered again: the key that it lies under; empty: in the outbox
        pending what{};
    };
    /// The frozen mutation that lies where a row of 'f' says. The sequence is the caller's.
    template <class Tx>
    [[nodiscard]] result<frozen_mutation> find_frozen(Tx& tx, bytes_view where) const {
        frozen_mutation f;
        if (where.size() < 16) { return failure{errc::corrupt, "frozen mutation"}; }
        f.token = read_u64(where);
        if (where.size() != 16) {
            f.again = to_bytes(where.subspan(8));
            auto offered = find_offered(tx, f.again);
            if (!offered) { return offered.error(); }
            f.token = offered->token;
            f.number = detail::outbox_sequence(offered->token);
            f.what = std::move(offered->what);
            return f;
        }
        f.fence = read_u64(where.subspan(8));
        auto entry = outbox_.find(tx, f.token);
        if (!entry) { return entry.error(); }
        if (!*entry || (*entry)->fence != f.fence) {
            return failure{errc::corrupt, "frozen mutation without its entry"};
        }
        auto p = pending::parse((*entry)->payload);
        if (!p) { return p.error(); }
        f.number = detail::outbox_sequence(f.token);
        f.what = std::move(*p);
        return f;
    }
    /// Visits frozen mutations without a verdict, in sequence.
    template <class Tx, class F>
    [[nodiscard]] status each_frozen(Tx& tx, F&& visit) const {
        status outcome;
        bytes const prefix = key('f');
        auto ok = scan_prefix(tx, prefix, [&](bytes_view k, bytes_view where) {
            auto f = k.size() == 10 ? find_frozen(tx, where)
                                    : result<frozen_mutation>{failure{errc::corrupt, "frozen mutation"}};
            if (!f) {
                outcome = f.error();
                return false;
            }
            f->sequence = read_u64(k.subspan(2));
            return visit(*f);
        });
        return ok ? outcome : ok;
    }

    // Taking in a reply.

    /// Of a reply that is none for what this replica is now.
    template <class Tx>
    [[nodiscard]] result<exchange_report> nothing_taken(Tx& tx, instant now) const {
        auto work = work_left(tx, now);
        if (!work) { return work.error(); }
        exchange_report report;
        report.more = *work;
        return report;
    }

    /// Every sequence before the first that is still frozen has its verdict, in whatever order they came.
    template <class Tx>
    [[nodiscard]] status settle(Tx& tx, sync_state& sync) const {
        sync.settled = sync.next_sequence - 1;
        bytes const prefix = key('f');
        return scan_prefix(tx, prefix, [&](bytes_view k, bytes_view) {
            if (k.size() == 10) { sync.settled = read_u64(k.subspan(2)) - 1; }
            return false;
        });
    }

    /// Whether a frozen mutation was decided that the reply has no verdict on, not even one to send it again.
    template <class Tx>
    [[nodiscard]] result<bool> unheard(Tx& tx, sync_state const& sync, reply const& p) const {
        bool found = false;
        if (sync.settled + 1 == sync.next_sequence || p.decided <= sync.settled) { return found; }
        bytes const prefix = key('f');
        auto ok = scan_prefix(tx, prefix, [&](bytes_view k, bytes_view) {
            std::uint64_t const sequence = k.size() == 10 ? read_u64(k.subspan(2)) : 0;
            found = sequence <= p.decided && std::none_of(p.verdicts.begin(), p.verdicts.end(),
                                                          [&](verdict const& v) { return v.sequence == sequence; });
            return !found && sequence < p.decided;
        });
        if (!ok) { return ok.error(); }
        return found;
    }

    enum class verdict_effect : std::uint8_t { none, taken, forgotten, forked };

    template <class Tx>
    [[nodiscard]] result<verdict_effect> take_verdict(
        Tx& tx, verdict const& v, instant now, position head, sync_state& sync, std::vector<bytes>& dirty,
        event_batch& events, std::vector<std::pair<std::uint64_t, verdict const*>>& parked) const {
        bytes where;
        auto found = tx.get(numbered('f', v.sequence), where);
        if (!found) { return found.error(); }
        if (!*found) { return verdict_effect::none; }
        if (v.kind == verdict_kind::retry_after || v.kind == verdict_kind::collateral) { return verdict_effect::none; }
        // Another content under our name: it stays frozen and is issued again under a new one.
        if (v.kind == verdict_kind::rejected && v.reason == errc::identity_fork) { return verdict_effect::forked; }
        // A copy of this store has sent it, perhaps joined with more or with less, and what was decided nobody knows here.
        // Neither lost nor sent twice: a person decides.
        bool const bare = v.kind == verdict_kind::duplicate;
        auto f = find_frozen(tx, where);
        if (!f) { return f.error(); }
        std::uint64_t const token = f->token;
        std::uint64_t const fence = f->fence;
        pending* const p = &f->what;
        auto m = p->decoded();
        if (!m) { return m.error(); }

        each_part(*m, [&](mutation const& part) {
            dirty.push_back(to_bytes(part.record));
            events.add_verdict(part.record, v);
        });
        // Of a group that was rejected for one of its parts this is the record that it was for.
        mutation const& named = v.part && *v.part < m->parts.size() ? m->parts[*v.part] : *m;
        journal_note note;
        note.what = journal_event::decided;
        note.stamp = timestamp::make(now.wall);
        note.change = &*m;
        note.sequence = v.sequence;
        note.said = &v;
        if (auto ok = tell(tx, note); !ok) { return ok.error(); }
        // Its record is lost, and whoever created that may offer it yet.
        bool const orphaned = v.kind == verdict_kind::rejected && v.reason == errc::not_found && sync.kept &&
                              (!f->again.empty() || named.base >= sync.kept->shared);
        if (!f->again.empty()) {
            if (auto ok = erase_offered(tx, *m, token); !ok) { return ok.error(); }
        } else if (orphaned) {
            if (auto ok = outbox_.ack(tx, token, fence); !ok) { return ok.error(); }
        } else if (v.kind == verdict_kind::rejected || bare) {
            bytes said;
            cbor_writer w{said};
            encode_verdict(w, v);
            errc const why = bare ? errc::identity_fork : v.reason == errc{} ? errc::rejected : v.reason;
            if (auto ok = outbox_.bury(tx, token, fence, why, said); !ok) { return ok.error(); }
        } else {
            if (auto ok = outbox_.ack(tx, token, fence); !ok) { return ok.error(); }
        }
        if (v.kind == verdict_kind::conflict) {
            if (auto ok = park(tx, token, *p, v); !ok) { return ok.error(); }
            parked.emplace_back(token, &v);
        } else if (v.kind == verdict_kind::applied || v.kind == verdict_kind::merged) {
            // In the overlay until a confirmed row holds it; one that was overruled has nothing to show.
            if (auto ok = put_decided(tx, *m, token, v, p->encoded); !ok) { return ok.error(); }
        }
        if (v.kind == verdict_kind::rejected && (orphaned || !f->again.empty())) {
            // There is no entry of it that could be a dead letter: it is a conflict with no fields.
            if (auto ok = park(tx, token, *p, v); !ok) { return ok.error(); }
            if (orphaned) {
                if (auto ok = put_offered(tx, {0, token, *p}, to_bytes(named.record)); !ok) { return ok.error(); }
                ++sync.kept->orphans;
            }
        }
        // An old request of this replica may have come first, to the authority as it was put back.
        bool const known = bare && !f->again.empty();
        bool const stands = v.kind == verdict_kind::applied || v.kind == verdict_kind::merged ||
                            v.kind == verdict_kind::overruled || known;
        if (stands && sync.kept) {
            decided_mutation const d{known ? head : v.version, token, std::move(*p)};
            if (auto ok = keep_decided(tx, *sync.kept, d); !ok) { return ok.error(); }
        }
        if (auto ok = tx.erase(numbered('f', v.sequence)); !ok) { return ok.error(); }
        // Where the authority has had our receipt, which we never sent, another bears our name.
        return bare && v.reason == errc{} ? verdict_effect::forgotten : verdict_effect::taken;
    }

    /// Keeps what was decided, each part under its record, for as long as no held row of that contains it.
    template <class Tx>
    [[nodiscard]] status put_decided(Tx& tx, mutation const& m, std::uint64_t token, verdict const& v,
                                     bytes_view encoded) const {
        status ok;
        std::size_t i = 0;
        bytes own;
        each_part(m, [&](mutation const& part) {
            bool const of_group = m.kind == change_kind::group;
            position const version = of_group && i < v.versions.size() ? v.versions[i] : v.version;
            ++i;
            if (of_group) {
                own.clear();
                cbor_writer body{own};
                encode_mutation(body, part);
            }
            bytes raw;
            cbor_writer w{raw};
            w.array(3);
            w.unsigned_integer(version);
            w.unsigned_integer(v.stamp.raw);
            w.byte_string(of_group ? bytes_view{own} : encoded);
            bytes k = decided_prefix(to_bytes(part.record));
            append_u64(k, token);
            if (ok) { ok = tx.put(k, raw); }
        });
        return ok;
    }
    /// Takes away what is offered again, under each record that it changes.
    template <class Tx>
    [[nodiscard]] static status erase_offered(Tx& tx, mutation const& m, std::uint64_t token) {
        status ok;
        each_part(m, [&](mutation const& part) {
            bytes k = decided_prefix(to_bytes(part.record));
            append_u64(k, token);
            if (ok) { ok = tx.erase(k); }
        });
        return ok;
    }

    // Where the authority may be put back to a backup. Decided mutations: 'k' number, in the order of their verdicts.
    // One that is offered again lies with those that no held row contains: no row contains it till its next verdict.

    struct decided_mutation {
        position version = 0;
        std::uint64_t token = 0;
        pending what{};
    };
    static constexpr std::size_t decided_forgotten_max = 1'024;  ///< in one exchange
    static constexpr std::size_t past_kept_max = 16;             ///< epochs

    template <class Tx>
    [[nodiscard]] status keep_decided(Tx& tx, kept_state& kept, decided_mutation const& d) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(5);
        w.unsigned_integer(d.version);
        w.unsigned_integer(d.token);
        w.byte_string(d.what.encoded);
        w.byte_string(d.what.base);
        w.unsigned_integer(d.what.line);
        return tx.put(numbered('k', kept.next++), raw);
    }
    [[nodiscard]] static result<decided_mutation> parse_decided(bytes_view raw) {
        cbor_reader in{raw};
        decided_mutation d;
        bool const right = in.array() == 5;
        d.version = in.unsigned_integer();
        d.token = in.unsigned_integer();
        d.what.encoded = to_bytes(in.byte_string());
        d.what.base = to_bytes(in.byte_string());
        d.what.line = in.unsigned_integer();
        if (!right || !in.finish()) { return failure{errc::corrupt, "decided mutation"}; }
        return d;
    }
    /// Forgets those that a backup holds, and the oldest of more than are to be kept.
    template <class Tx>
    [[nodiscard]] status forget_decided(Tx& tx, kept_state& kept, position stable) const {
        bytes raw;
        for (std::size_t n = 0; kept.first != kept.next && n < decided_forgotten_max; ++n, ++kept.first) {
            bool const many = kept.next - kept.first > options_.decided_max;
            if (!many && stable <= kept.from) { return {}; }
            auto found = tx.get(numbered('k', kept.first), raw);
            if (!found) { return found.error(); }
            if (!*found) { continue; }  // it was offered again
            auto const d = parse_decided(raw);
            if (!d) { return d.error(); }
            if (d->version > stable) {
                if (!many) { break; }
                kept.from = (std::max)(kept.from, d->version);
            }
            if (auto ok = tx.erase(numbered('k', kept.first)); !ok) { return ok; }
        }
        auto const oldest = [&]() -> result<bool> {  // whether nothing that is left is in the backup
            if (kept.first == kept.next) { return true; }
            auto found = tx.get(numbered('k', kept.first), raw);
            if (!found) { return found.error(); }
            if (!*found) { return false; }
            auto const d = parse_decided(raw);
            if (!d) { return d.error(); }
            return d->version > stable;
        };
        if (stable <= kept.from) { return {}; }
        auto const done = oldest();
        if (!done) { return done.error(); }
        if (*done) { kept.from = stable; }
        return {};
    }

    /// What lies under a key of an offered one; with its token.
    template <class Tx>
    [[nodiscard]] result<decided_mutation> find_offered(Tx& tx, bytes_view at) const {
        bytes raw;
        auto found = tx.get(at, raw);
        if (!found) { return found.error(); }
        cbor_reader in{raw};
        decided_mutation d;
        bool const right = *found && at.size() > 8 && in.array() == 5;
        d.version = in.unsigned_integer();
        (void)in.unsigned_integer();
        d.what.encoded = to_bytes(in.byte_string());
        d.what.base = to_bytes(in.byte_string());
        d.what.line = in.unsigned_integer();
        if (!right || !in.finish()) { return failure{errc::corrupt, "frozen mutation without its entry"}; }
        d.token = read_u64(at.subspan(at.size() - 8));
        return d;
    }
    /// Freezes a decided mutation once more, under the next sequence; its base is one that the authority has.
    template <class Tx>
    [[nodiscard]] status offer_again(Tx& tx, sync_state& sync, decided_mutation const& d, position base_max) const {
        auto m = d.what.decoded();
        if (!m) { return m.error(); }
        bytes const name = to_bytes(m->record);
        m->sequence = sync.next_sequence;
        each_part(*m, [&](mutation& part) { part.base = (std::min)(part.base, base_max); });
        pending again;
        cbor_writer body{again.encoded};
        encode_mutation(body, *m);
        again.base = d.what.base;
        again.line = d.what.line;
        if (auto ok = put_offered(tx, {no_position, d.token, std::move(again)}, name); !ok) { return ok; }
        // The whole of a group lies under its first record, the other parts under theirs.
        for (std::size_t i = 1; i < m->parts.size(); ++i) {
            pending part;
            cbor_writer own{part.encoded};
            encode_mutation(own, m->parts[i]);
            bytes const record = to_bytes(m->parts[i].record);
            if (auto ok = put_offered(tx, {no_position, d.token, std::move(part)}, record); !ok) { return ok; }
        }
        bytes where;
        append_u64(where, 0);
        append(where, decided_prefix(name));
        append_u64(where, d.token);
        return tx.put(numbered('f', sync.next_sequence++), where);
    }
    /// With the version 0 it is in no record: it waits for its record to come, as a conflict.
    template <class Tx>
    [[nodiscard]] static status put_offered(Tx& tx, decided_mutation const& d, bytes_view record) {
        bytes raw;
        cbor_writer w{raw};
        w.array(5);
        w.unsigned_integer(d.version);
        w.unsigned_integer((std::numeric_limits<std::uint64_t>::max)());
        w.byte_string(d.what.encoded);
        w.byte_string(d.what.base);
        w.unsigned_integer(d.what.line);
        bytes at = decided_prefix(record);
        append_u64(at, d.token);
        return tx.put(at, raw);
    }
    /// A record that was lost has come: what waited for it is offered, unless a person has dismissed it. As a new
    /// write, since it was decided under its origin.
    template <class Tx>
    [[nodiscard]] status offer_orphans(Tx& tx, bytes_view name, sync_state& sync) const {
        if (!sync.kept || sync.kept->orphans == 0) { return {}; }
        std::vector<bytes> at;
        auto ok = scan_prefix(tx, decided_prefix(name), [&](bytes_view k, bytes_view raw) {
            cbor_reader in{raw};
            if (in.array() == 5 && in.unsigned_integer() == 0) { at.push_back(to_bytes(k)); }
            return true;
        });
        if (!ok || at.empty()) { return ok; }
        auto const k = record_key_from(name);
        if (!k) { return k.error(); }
        auto held = records_.find(tx, *k);
        if (!held) { return held.error(); }
        if (!*held || (*held)->confirmed == 0) { return {}; }
        bytes raw;
        for (bytes const& one : at) {
            auto d = find_offered(tx, one);
            if (!d) { return d.error(); }
            auto parked = tx.get(numbered('c', d->token), raw);
            if (!parked) { return parked.error(); }
            if (ok = tx.erase(*parked ? numbered('c', d->token) : one); !ok) { return ok; }
            --sync.kept->orphans;
            if (!*parked) { continue; }
            if (d->what.line != 0) { ++d->what.line; }
            if (ok = offer_again(tx, sync, *d, sync.kept->shared); !ok) { return ok; }
        }
        return ok;
    }

    // Epochs that were left: 'p', with the last position that this replica and they share, the oldest first.

    template <class Tx>
    [[nodiscard]] result<std::vector<past_epoch>> read_past(Tx& tx) const {
        bytes raw;
        std::vector<past_epoch> past;
        auto found = tx.get(key('p'), raw);
        if (!found) { return found.error(); }
        if (!*found) { return past; }
        cbor_reader in{raw};
        past = detail::decode_past(in);
        if (!in.finish()) { return failure{errc::corrupt, "epochs that were left"}; }
        return past;
    }
    template <class Tx>
    [[nodiscard]] status write_past(Tx& tx, std::vector<past_epoch> past) const {
        if (past.size() > past_kept_max) {
            past.erase(past.begin(), past.end() - static_cast<std::ptrdiff_t>(past_kept_max));
        }
        bytes raw;
        cbor_writer w{raw};
        detail::encode_past(w, past);
        return tx.put(key('p'), raw);
    }

    /// The authority was put back, and what this replica knows and it doesn't is void: back to the last position that
    /// both have. Own mutations that were decided after it are offered again, the records that changed after it are
    /// asked for anew. `past` ends with the epoch that is left.
    template <class Tx, class G>
    [[nodiscard]] result<exchange_report> regress(Tx& tx, reply const& p, sync_state& sync,
                                                  std::vector<past_epoch> past, instant now, G& random) const {
        std::optional<position> shared;
        for (past_epoch const& mine : past) {
            for (past_epoch const& theirs : p.past) {
                if (mine.name == theirs.name) {
                    shared = (std::max)(shared.value_or(0), (std::min)(mine.end, theirs.end));
                }
            }
        }
        kept_state& kept = *sync.kept;
        if (!shared || *shared > p.head) { return failure{errc::authority_changed, "another authority answered"}; }
        if (*shared < kept.from) {
            return failure{errc::authority_changed, "the authority was put back further than what is kept"};
        }
        // What is kept of this replica's past: those it shares, and the names of those it leaves.
        auto const told = [&](past_epoch const& e) {
            return std::any_of(p.past.begin(), p.past.end(), [&](past_epoch const& t) { return t.name == e.name; });
        };
        past.erase(std::remove_if(past.begin(), past.end(), told), past.end());
        for (past_epoch& e : past) { e.end = (std::min)(e.end, *shared); }
        past.insert(past.end(), p.past.begin(), p.past.end());
        if (auto ok = write_past(tx, std::move(past)); !ok) { return ok.error(); }
        bool const verdicts_lost = p.decided < sync.settled;
        bool const frozen = sync.settled + 1 != sync.next_sequence;
        sync.epoch = p.epoch;
        if (auto ok = drop_staged(tx, sync); !ok) { return ok.error(); }
        sync.cursor = (std::min)(sync.cursor, *shared);
        sync.head = p.head;
        kept.shared = (std::min)(kept.shared, *shared);

        std::vector<bytes> dirty;
        event_batch events;
        auto voided = void_rows(tx, *shared, kept.horizon > *shared || sync.cursor == 0, dirty);
        if (!voided) { return voided.error(); }
        kept.horizon = (std::min)(kept.horizon, *shared);
        auto lost = take_lost(tx, *shared, dirty);
        if (!lost) { return lost.error(); }
        if (auto ok = void_bases(tx, *shared, p.decided); !ok) { return ok.error(); }
        // Where the authority has a verdict that is not known here yet, it is to be had under this name only.
        if ((verdicts_lost || frozen || !lost->empty()) && p.decided <= sync.settled) {
            if (auto ok = reincarnate(tx, sync, random, *lost, *shared); !ok) { return ok.error(); }
        } else {
            for (decided_mutation const& d : *lost) {
                if (auto ok = offer_again(tx, sync, d, *shared); !ok) { return ok.error(); }
            }
        }
        std::sort(dirty.begin(), dirty.end(), [](bytes const& a, bytes const& b) { return compare(a, b) < 0; });
        dirty.erase(std::unique(dirty.begin(), dirty.end()), dirty.end());
        for (bytes const& k : dirty) {
            if (auto ok = rebase(tx, k, sync, events); !ok) { return ok.error(); }
        }
        for (auto& [k, life] : *voided) {
            auto const left = records_.find(tx, k);
            if (!left) { return left.error(); }
            if (*left) { continue; }
            // Who creates it before it has come again begins a later life than the one that was seen.
            held_record ended{};
            ended.visible.deleted = true;
            ended.visible.life = life;
            if (auto ok = records_.put(tx, k, ended, nullptr); !ok) { return ok.error(); }
        }
        exchange_report report;
        report.regressed = true;
        report.changed = events.changed();
        events.add_regress({lost->size(), voided->size()});
        ++sync.events;
        if (auto ok = tx.put(numbered('e', sync.events), events.encode()); !ok) { return ok.error(); }
        if (auto ok = write_sync(tx, sync); !ok) { return ok.error(); }
        auto work = work_left(tx, now);
        if (!work) { return work.error(); }
        report.more = *work;
        return report;
    }
    /// No row of a position after `shared` stays confirmed; each is wanted anew, or `all` are. Answers which, and the
    /// lives that they had.
    template <class Tx>
    [[nodiscard]] result<std::vector<std::pair<record_key, std::uint64_t>>> void_rows(Tx& tx, position shared, bool all,
                                                                                      std::vector<bytes>& dirty) const {
        std::vector<std::pair<record_key, std::uint64_t>> gone;
        record_range const every = every_record();
        auto ok = records_.scan_range(tx, every.from, every.to, [&](record_key const& k, held_record& h) {
            if (h.confirmed > shared) { gone.emplace_back(k, h.visible.life); }
            return true;
        });
        if (!ok) { return ok.error(); }
        for (auto const& [k, life] : gone) {
            auto held = records_.find(tx, k);
            if (!held) { return held.error(); }
            if (!*held) { return failure{errc::corrupt, "visible record"}; }
            if (ok = tx.erase(numbered('d', (*held)->confirmed)); !ok) { return ok.error(); }
            if (ok = records_.drop_confirmed(tx, k); !ok) { return ok.error(); }
            // Computed anew below, from no confirmed row.
            (*held)->pending = true;
            (*held)->confirmed = 0;
            if (ok = records_.put(tx, k, **held, nullptr); !ok) { return ok.error(); }
            dirty.push_back(to_bytes(k));
            if (!all) { ok = wanted_.add(tx, band_repair, range_of(k)); }
            if (!ok) { return ok.error(); }
        }
        if (all) {
            if (ok = want_everything(tx); !ok) { return ok.error(); }
        }
        return gone;
    }
    /// Takes what was decided after `shared` out of what is kept.
    template <class Tx>
    [[nodiscard]] result<std::vector<decided_mutation>> take_lost(Tx& tx, position shared,
                                                                  std::vector<bytes>& dirty) const {
        std::vector<decided_mutation> lost;
        std::vector<bytes> keys;
        status outcome;
        auto ok = scan_prefix(tx, key('k'), [&](bytes_view k, bytes_view raw) {
            auto d = parse_decided(raw);
            if (!d) {
                outcome = d.error();
                return false;
            }
            if (d->version > shared) {
                keys.push_back(to_bytes(k));
                lost.push_back(std::move(*d));
            }
            return true;
        });
        if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
        for (std::size_t i = 0; i < lost.size(); ++i) {
            if (auto gone = tx.erase(keys[i]); !gone) { return gone.error(); }
            auto m = lost[i].what.decoded();
            if (!m) { return m.error(); }
            each_part(*m, [&](mutation const& part) { dirty.push_back(to_bytes(part.record)); });
        }
        return lost;
    }
    /// What waits, and what is frozen beyond `decided`, has seen nothing after `shared` that the authority still has.
    template <class Tx>
    [[nodiscard]] status void_bases(Tx& tx, position shared, std::uint64_t decided) const {
        struct rewritten {
            std::uint64_t token, fence;
            bytes payload;
        };
        std::vector<rewritten> all;
        status outcome;
        auto ok = outbox_.scan(tx, [&](outbox_entry const& e) {
            auto p = pending::parse(e.payload);
            auto m = p ? p->decoded() : result<mutation>{p.error()};
            if (!m) {
                outcome = m.error();
                return false;
            }
            bool beyond = false;
            each_part(*m, [&](mutation& part) {
                beyond = beyond || part.base > shared;
                part.base = (std::min)(part.base, shared);
            });
            if (!beyond || (e.fence != 0 && m->sequence <= decided)) { return true; }
            p->change = std::move(*m);
            all.push_back({e.token, e.fence, p->encode()});
            return true;
        });
        if (!ok || !outcome) { return ok ? outcome : ok; }
        for (rewritten const& r : all) {
            auto const done = r.fence == 0 ? outbox_.amend(tx, r.token, r.payload)
                                           : outbox_.set_payload(tx, r.token, r.fence, r.payload);
            // One that was revived and waits is mended when it is sent.
            if (!done && done.error() != errc::claim_lost) { return done; }
        }
        return {};
    }

    // Rows that are kept back until groups are whole: 'g', the record -> the row.

    [[nodiscard]] static bytes staged_key(bytes_view record) {
        bytes k = key('g');
        append(k, record);
        return k;
    }
    /// Keeps the rows of a page that ends within groups.
    template <class Tx>
    [[nodiscard]] static status stage(Tx& tx, reply& p) {
        bytes raw;
        for (row_update const& u : p.rows) {
            bytes const k = staged_key(to_bytes(u.key));
            auto found = tx.get(k, raw);
            if (!found) { return found.error(); }
            if (*found) {
                cbor_reader in{raw};
                row const there = decode_row(in);
                if (!in.finish()) { return failure{errc::corrupt, "a row that is kept back"}; }
                if (there.version >= u.state.version) { continue; }
            }
            raw.clear();
            cbor_writer w{raw};
            encode_row(w, u.state);
            if (auto ok = tx.put(k, raw); !ok) { return ok; }
        }
        p.rows.clear();
        return {};
    }
    /// The page makes all groups whole: what was kept back, and is not told anew, comes before its rows.
    template <class Tx>
    [[nodiscard]] static status unstage(Tx& tx, reply& p, sync_state& sync) {
        std::vector<bytes> anew;
        anew.reserve(p.rows.size());
        for (row_update const& u : p.rows) { anew.push_back(staged_key(to_bytes(u.key))); }
        auto const before = [](bytes_view a, bytes_view b) { return compare(a, b) < 0; };
        std::sort(anew.begin(), anew.end(), before);
        std::vector<row_update> rows;
        status outcome;
        auto ok = scan_prefix(tx, key('g'), [&](bytes_view k, bytes_view raw) {
            if (std::binary_search(anew.begin(), anew.end(), k, before)) { return true; }
            auto record = record_key_from(k.subspan(2));
            cbor_reader in{raw};
            row state = decode_row(in);
            if (!record || !in.finish()) {
                outcome = failure{errc::corrupt, "a row that is kept back"};
                return false;
            }
            rows.push_back({std::move(*record), std::move(state)});
            return true;
        });
        if (!ok || !outcome) { return ok ? outcome : ok; }
        if (ok = drop_staged(tx, sync); !ok) { return ok; }
        rows.insert(rows.end(), std::make_move_iterator(p.rows.begin()), std::make_move_iterator(p.rows.end()));
        p.rows = std::move(rows);
        return {};
    }
    template <class Tx>
    [[nodiscard]] static status drop_staged(Tx& tx, sync_state& sync) {
        if (sync.staged == 0) { return {}; }
        sync.staged = 0;
        std::vector<bytes> keys;
        auto ok = scan_prefix(tx, key('g'), [&](bytes_view k, bytes_view) {
            keys.push_back(to_bytes(k));
            return true;
        });
        for (std::size_t i = 0; i < keys.size() && ok; ++i) { ok = tx.erase(keys[i]); }
        return ok;
    }

    // Ranges that the authority has yet to tell: 'w'. The lowest band is for single records, then come the essential
    // collections, the rest is last.

    static constexpr std::uint8_t band_repair = 0;
    static constexpr std::uint8_t band_rest = 0xFF;

    template <class Tx>
    [[nodiscard]] status want_everything(Tx& tx) const {
        std::size_t band = band_repair + std::size_t{1};
        for (std::string const& name : options_.essential) {
            if (!valid(record_key{name, "-"}) || band == band_rest) {
                return failure{errc::invalid, "essential collection"};
            }
            if (auto ok = wanted_.add(tx, static_cast<std::uint8_t>(band++), range_of(name)); !ok) { return ok; }
        }
        return wanted_.add(tx, band_rest, every_record());
    }

    // Confirmed tombstones by position: 'd' position -> record.

    static constexpr std::size_t tombstones_dropped_max = 256;  ///< in one exchange

    /// Drops clean tombstones that the authority has no more.
    template <class Tx>
    [[nodiscard]] status drop_tombstones(Tx& tx, position horizon) const {
        std::vector<std::pair<position, bytes>> old;
        auto ok = tx.scan({key('d'), numbered('d', horizon + 1)}, [&](bytes_view k, bytes_view name) {
            old.emplace_back(k.size() == 10 ? read_u64(k.subspan(2)) : 0, to_bytes(name));
            return old.size() < tombstones_dropped_max;
        });
        for (std::size_t i = 0; i < old.size() && ok; ++i) {
            auto const k = record_key_from(old[i].second);
            if (!k) { return k.error(); }
            auto held = records_.find(tx, *k);
            if (!held) { return held.error(); }
            // Where mutations wait it is what they lie over, and goes when they are decided.
            if (*held && (*held)->pending) { continue; }
            bool const same = *held && (*held)->visible.deleted && (*held)->confirmed == old[i].first;
            if (same) { ok = records_.erase(tx, *k); }
            if (ok) { ok = tx.erase(numbered('d', old[i].first)); }
        }
        return ok;
    }

    /// Takes in a range as it was at `head`: rows that are told, and the end of those that are not. Answers how many
    /// rows were newer than what is held. Where more is to end than one exchange should do, the range's rest stays
    /// wanted.
    template <class Tx>
    [[nodiscard]] result<std::size_t> take_range(Tx& tx, record_range& covered, std::span<row_update> told,
                                                 position head, std::vector<bytes>& dirty, event_batch& events) const {
        std::vector<bytes> names;
        names.reserve(told.size());
        for (row_update const& u : told) { names.push_back(to_bytes(u.key)); }
        std::vector<bool> held(told.size());
        std::vector<record_key> gone;
        std::size_t next = 0;
        auto const look = [&](record_key const& k, held_record& h) {
            bytes name = to_bytes(k);
            while (next < names.size() && compare(names[next], name) < 0) { ++next; }
            if (next < names.size() && equal(names[next], name)) {
                held[next] = true;
                return true;
            }
            // What came in later than the answer was given is no part of what it tells.
            bool const voided = h.confirmed == 0 && h.visible.deleted;
            if (h.confirmed == 0 ? !h.pending && !voided : h.confirmed > head) { return true; }
            if (gone.size() >= options_.rows_max) {
                covered.to = std::move(name);
                std::fill(held.begin() + static_cast<std::ptrdiff_t>(next), held.end(), true);
                return false;
            }
            gone.push_back(k);
            return true;
        };
        auto ok = records_.scan_range(tx, covered.from, covered.to, look);
        if (!ok && ok.error() == errc::corrupt) {
            // Of damaged records those go that are told anew; then there may be none left.
            for (row_update const& u : told) {
                auto const whole = records_.find(tx, u.key);
                if (!whole) { ok = forget_damaged(tx, u.key, whole.error(), dirty); }
                if (!whole && !ok) { return ok.error(); }
            }
            held.assign(told.size(), false);
            gone.clear();
            next = 0;
            ok = records_.scan_range(tx, covered.from, covered.to, look);
        }
        if (!ok) { return ok.error(); }
        for (record_key const& k : gone) {
            if (auto taken = take_end(tx, k, head, dirty, events); !taken) { return taken.error(); }
        }
        std::size_t taken = 0;
        for (std::size_t i = 0; i < told.size(); ++i) {
            auto const newer = take_row(tx, told[i], held[i], true, dirty, events);
            if (!newer) { return newer.error(); }
            taken += *newer ? 1 : 0;
        }
        if (auto covers = wanted_.cover(tx, covered); !covers) { return covers.error(); }
        return taken;
    }

    /// The authority had no row of this record at `head`: an untouched copy goes, pending mutations stay.
    template <class Tx>
    [[nodiscard]] status take_end(Tx& tx, record_key const& k, position head, std::vector<bytes>& dirty,
                                  event_batch& events) const {
        auto found = records_.find(tx, k);
        if (!found) { return found.error(); }
        if (!*found) { return {}; }
        held_record& held = **found;
        if (!held.pending) {
            if (!held.visible.deleted) { events.add_change(k, true); }
            if (auto ok = tx.erase(numbered('d', held.confirmed)); !ok) { return ok; }
            return records_.erase(tx, k);
        }
        // What was decided by then had its effect, and that has ended too.
        bytes name = to_bytes(k);
        std::vector<bytes> over;
        auto ok = scan_prefix(tx, decided_prefix(name), [&](bytes_view at, bytes_view raw) {
            cbor_reader in{raw};
            bool const offered = in.array() == 5;  // has no effect yet
            if (!offered && in.unsigned_integer() <= head) { over.push_back(to_bytes(at)); }
            return true;
        });
        for (std::size_t i = 0; i < over.size() && ok; ++i) { ok = tx.erase(over[i]); }
        if (!ok) { return ok; }
        if (held.confirmed == 0 && over.empty()) { return {}; }
        if (ok = records_.drop_confirmed(tx, k); !ok) { return ok; }
        if (ok = tx.erase(numbered('d', held.confirmed)); !ok) { return ok; }
        held.confirmed = 0;
        dirty.push_back(std::move(name));
        return records_.put(tx, k, held, nullptr);
    }

    /// What is held of a record does not decode, and the authority has just told it: it goes, and is computed anew.
    /// Another failure stays what it is.
    template <class Tx>
    [[nodiscard]] status forget_damaged(Tx& tx, record_key const& k, failure const& why,
                                        std::vector<bytes>& dirty) const {
        if (why != errc::corrupt) { return why; }
        dirty.push_back(to_bytes(k));
        return records_.erase(tx, k);
    }
    /// Whether what is held as confirmed is this row, in every byte.
    template <class Tx>
    [[nodiscard]] result<bool> holds(Tx& tx, row_update const& u, held_record const& held) const {
        if (held.confirmed != u.state.version) { return false; }
        if (!held.pending) { return held.visible == u.state; }
        auto const kept = records_.find_confirmed(tx, u.key);
        if (!kept && kept.error() != errc::corrupt) { return kept.error(); }
        return kept && *kept && **kept == u.state;
    }

    /// True when the row took the place of what is held: it is newer, or, of a range that is told whole (`as_told`), not
    /// the same. `may_be_held`: false when it is known that nothing is.
    template <class Tx>
    [[nodiscard]] result<bool> take_row(Tx& tx, row_update& u, bool may_be_held, bool as_told,
                                        std::vector<bytes>& dirty, event_batch& events) const {
        std::optional<held_record> held;
        if (may_be_held) {
            auto found = records_.find(tx, u.key);
            if (found) {
                held = std::move(*found);
            } else if (auto ok = forget_damaged(tx, u.key, found.error(), dirty); !ok) {
                return ok.error();
            }
        }
        bool changes = !u.state.deleted;
        if (held) {
            if (held->confirmed >= u.state.version) {
                if (!as_told) { return false; }
                auto const same = holds(tx, u, *held);
                if (!same) { return same.error(); }
                if (*same) { return false; }
            }
            if (held->pending || held->visible.deleted) {
                if (auto ok = tx.erase(numbered('d', held->confirmed)); !ok) { return ok.error(); }
            }
            changes = held->visible.deleted != u.state.deleted || !equal(held->visible.fields, u.state.fields);
        }
        if (u.state.deleted) {
            if (auto ok = tx.put(numbered('d', u.state.version), to_bytes(u.key)); !ok) { return ok.error(); }
        }
        if (held && held->pending) {
            held->confirmed = u.state.version;
            if (auto ok = records_.put(tx, u.key, *held, &u.state); !ok) { return ok.error(); }
            dirty.push_back(to_bytes(u.key));
            return true;
        }
        held_record const clean{false, u.state.version, std::move(u.state)};
        if (auto ok = records_.put(tx, u.key, clean, nullptr); !ok) { return ok.error(); }
        if (changes) { events.add_change(u.key, clean.visible.deleted); }
        return true;
    }

    /// Lays what is not confirmed over a record's confirmed row, in order: what was decided and no held row contains, then
    /// what waits. `told(token, mutation, outcome)` hears of each that is laid; of what was decided with the token 0.
    /// `done_with(keys)` takes those of decided ones that the row has, and answers a status. Whether there were any to lay.
    template <class Tx, class F, class G>
    [[nodiscard]] result<bool> lay_over(Tx& tx, record_key const& k, sync_state const& sync, std::optional<row>& now,
                                        F&& told, G&& done_with) const {
        collection_schema const& schema = schema_of_record(k);
        collection_rules const& rules = rules_.of(k.collection);
        position const known = now ? now->version : 0;
        bool const closed = now && !schema.cast(*now, schema.version());
        bool any = false;
        status outcome;
        auto const lay = [&](bytes_view encoded, timestamp stamp_max, std::uint64_t token) {
            cbor_reader in{encoded};
            mutation m = decode_mutation(in);
            if (!in.finish()) {
                outcome = failure{errc::corrupt, "pending mutation"};
                return false;
            }
            if (m.kind == change_kind::group) {
                mutation const* const mine = part_on(m, k);
                if (mine == nullptr) {
                    outcome = failure{errc::corrupt, "a group without the record that it waits on"};
                    return false;
                }
                mutation part = *mine;
                m = std::move(part);
            }
            any = true;
            if (closed || !schema.carry_up(m, now)) { return true; }  // it shows nothing; what it becomes is decided
            apply_context context;
            context.author = sync.author;
            context.stamp_max = stamp_max;
            // What a preview rejects or can't decide leaves the record as it is.
            apply_outcome done = apply(now, m, rules, context);
            if (now) { now->schema = schema.version(); }
            told(token, m, done);
            return true;
        };

        std::vector<bytes> contained;
        bytes const name = to_bytes(k);
        bytes const decided = decided_prefix(name);
        auto ok = scan_prefix(tx, decided, [&](bytes_view key_bytes, bytes_view raw) {
            cbor_reader in{raw};
            std::size_t const parts = in.array();
            position const version = in.unsigned_integer();
            timestamp const stamp{in.unsigned_integer()};
            bytes_view const encoded = in.byte_string();
            for (std::size_t i = 3; i < parts; ++i) { (void)in.skip(); }  // of one that is offered again
            bool const orphan = parts == 5 && version == 0;
            if (!in.finish()) {
                outcome = failure{errc::corrupt, "decided mutation"};
                return false;
            }
            if (orphan) { return true; }
            if (version <= known) {
                contained.push_back(to_bytes(key_bytes));
                return true;
            }
            return lay(encoded, stamp, 0);
        });
        if (ok) { ok = outcome; }
        if (ok) { ok = done_with(contained); }
        if (!ok) { return ok.error(); }
        ok = outbox_.scan_record(tx, name, [&](outbox_entry const& e) {
            auto p = pending::parse(e.payload);
            if (!p) {
                outcome = p.error();
                return false;
            }
            return lay(p->encoded, timestamp{(std::numeric_limits<std::uint64_t>::max)()}, e.token);
        });
        if (!ok) { return ok.error(); }
        if (!outcome) { return outcome.error(); }
        return any;
    }

    /// Computes a record anew: what is confirmed, plus what is not, in order.
    template <class Tx>
    [[nodiscard]] status rebase(Tx& tx, bytes_view name, sync_state const& sync, event_batch& events) const {
        auto const k = record_key_from(name);
        if (!k) { return k.error(); }
        auto found = records_.find(tx, *k);
        if (!found) { return found.error(); }
        collection_schema const& schema = schema_of_record(*k);
        std::optional<visible> held{visible{}};
        if (*found) { held = visible{true, (*found)->pending, (*found)->confirmed, std::move((*found)->visible)}; }
        (void)schema.cast(held->state, schema.version());  // one that is closed stays as it is
        std::optional<row> confirmed;
        if (held->dirty) {
            auto base = records_.find_confirmed(tx, *k);
            if (!base) { return base.error(); }
            confirmed = std::move(*base);
        } else if (held->present) {
            confirmed = held->state;  // a revived mutation has its verdict: the first that pends on the record
        }

        std::optional<row> now = confirmed;
        position const known = now ? now->version : 0;
        auto const forget = [&](std::vector<bytes> const& contained) {
            status ok;
            for (std::size_t i = 0; i < contained.size() && ok; ++i) { ok = tx.erase(contained[i]); }
            return ok;
        };
        auto const laid = lay_over(
            tx, *k, sync, now, [](std::uint64_t, mutation&, apply_outcome&) {}, forget);
        if (!laid) { return laid.error(); }
        bool const dirty = *laid;

        if (!dirty && !held->dirty) { return {}; }
        bool const was_there = held->present && !held->state.deleted;
        bool const is_there = now && !now->deleted;
        if (was_there != is_there || (is_there && !equal(now->fields, held->state.fields))) {
            events.add_change(*k, !is_there);
        }
        if (!dirty) {
            if (!now) { return records_.erase(tx, *k); }
            if (auto dropped = records_.drop_confirmed(tx, *k); !dropped) { return dropped; }
        }
        row nothing;
        nothing.deleted = true;
        nothing.life = sync.kept && sync.kept->shared != no_position && held->present ? held->state.life : 0;
        bool const keeps = dirty && !held->dirty && confirmed;
        held_record const shown{dirty, known, now ? std::move(*now) : std::move(nothing)};
        return records_.put(tx, *k, shown, keeps ? &*confirmed : nullptr);
    }

    /// A new identity: the authority knows mutations under the old one that this store doesn't, or lost some that it
    /// knew. What is frozen without a verdict is issued again under the new name, after what is offered again.
    template <class Tx, class G>
    [[nodiscard]] status reincarnate(Tx& tx, sync_state& sync, G& random, std::span<decided_mutation const> lost = {},
                                     position base_max = no_position) const {
        auto mine = read_identity(tx);
        if (!mine) { return mine.error(); }
        std::uint32_t const old = mine->self.incarnation;
        do {
            mine->self.incarnation = static_cast<std::uint32_t>(random() >> 33) + 1;
        } while (mine->self.incarnation == old);
        if (auto ok = write_identity(tx, *mine); !ok) { return ok; }

        std::vector<frozen_mutation> frozen;
        auto ok = each_frozen(tx, [&](frozen_mutation& f) {
            frozen.push_back(std::move(f));
            return true;
        });
        if (!ok) { return ok; }
        for (frozen_mutation const& f : frozen) {
            if (auto erased = tx.erase(numbered('f', f.sequence)); !erased) { return erased; }
        }
        sync.author = unknown_author;
        sync.next_sequence = 1;
        sync.settled = 0;
        for (decided_mutation const& d : lost) {
            if (auto again = offer_again(tx, sync, d, base_max); !again) { return again; }
        }
        for (frozen_mutation& f : frozen) {
            if (!f.again.empty()) {
                decided_mutation const d{no_position, f.token, std::move(f.what)};
                if (auto again = offer_again(tx, sync, d, base_max); !again) { return again; }
                continue;
            }
            if (auto again = freeze(tx, sync, f.token, f.fence, f.what, true); !again) { return again; }
        }
        return {};
    }

    // Conflicts: 'c' token -> the parked mutation, what its writer saw, the fields that wait.

    template <class Tx>
    [[nodiscard]] static status park(Tx& tx, std::uint64_t token, pending const& p, verdict const& v) {
        bytes raw;
        cbor_writer w{raw};
        w.array(3);
        w.byte_string(p.encoded);
        w.byte_string(p.base);
        auto const waits = [](decision const& d) { return d.won == winner::nobody; };
        w.array(static_cast<std::size_t>(std::count_if(v.decisions.begin(), v.decisions.end(), waits)));
        for (decision const& d : v.decisions) {
            if (waits(d)) { w.text(d.field); }
        }
        return tx.put(numbered('c', token), raw);
    }

    [[nodiscard]] static status parse_conflict(bytes_view k, bytes_view raw, open_conflict& c) {
        cbor_reader in{raw};
        (void)in.array();
        bytes_view const encoded = in.byte_string();
        c.base = to_bytes(in.byte_string());
        std::size_t const n = in.array();
        for (std::size_t i = 0; i < n && !in.failed(); ++i) { c.fields.push_back(std::string{in.text()}); }
        if (k.size() != 10 || !in.finish()) { return failure{errc::corrupt, "conflict"}; }
        c.token = read_u64(k.subspan(2));
        cbor_reader parked{encoded};
        c.local = decode_mutation(parked);
        return parked.finish() ? status{} : status{failure{errc::corrupt, "conflict"}};
    }
    template <class Tx>
    [[nodiscard]] result<open_conflict> find_conflict(Tx& tx, std::uint64_t token) const {
        bytes raw;
        auto found = tx.get(numbered('c', token), raw);
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::not_found, "no such conflict"}; }
        open_conflict c;
        if (auto ok = parse_conflict(numbered('c', token), raw, c); !ok) { return ok.error(); }
        return c;
    }

    /// Drops the parked mutation.
    template <class Tx>
    [[nodiscard]] status end_conflict(Tx& tx, open_conflict const& c, timestamp when, journal_choice choice) const {
        journal_note note;
        note.what = journal_event::settled;
        note.stamp = when;
        note.change = &c.local;
        note.choice = choice;
        if (auto ok = tell(tx, note); !ok) { return ok; }
        return tx.erase(numbered('c', c.token));
    }

    rule_table rules_;
    replica_options options_;
    outbox outbox_;
    range_list wanted_{"rw"};
    SYNCLINE_NO_UNIQUE_ADDRESS Records records_;
    SYNCLINE_NO_UNIQUE_ADDRESS Journal journal_;
};

/// A replica that keeps its records in its storage.
using replica = basic_replica<>;

}  // namespace syncline::inline SYNCLINE_ABI
