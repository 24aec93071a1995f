// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The replica: a record is what the authority has confirmed, plus the mutations that it has not confirmed
/// yet, applied in order. Over any storage, in the host's transaction.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/describe.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/random.hpp>
#include <syncline/merge/diff.hpp>
#include <syncline/merge/partial.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/model/schema.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/replica/constraints.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/group.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/limits.hpp>
#include <syncline/replica/pending.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/ranges.hpp>
#include <syncline/replica/record_store.hpp>
#include <syncline/replica/relay.hpp>
#include <syncline/replica/row_parts.hpp>
#include <syncline/replica/scopes.hpp>
#include <syncline/replica/strong.hpp>
#include <syncline/replica/validation.hpp>
#include <syncline/retry/classification.hpp>
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
    bool rows_in_parts = true;  ///< asks for rows without what is held of them already
    /// Where everything is to be told anew, rows of one fingerprint, so that only what differs is told; 0: all of it is.
    std::uint64_t compared_rows = 16;
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
    /// Holds what the scopes say that it has joined, and nothing before it has joined one; else everything. What a store
    /// begins with it stays with.
    bool scoped = false;
    /// Carries other replicas' mutations, and hands on its own: peer_exchange.hpp. Nothing: it does neither.
    std::optional<relay_options> relay{};
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
    std::optional<row> remote{};        ///< the confirmed record now; nothing if it is not held yet, or closed
};

/// A mutation that waits, and what would become of it were it decided now on what is confirmed here.
struct foreseen {
    std::uint64_t token = 0;  ///< its name: the token that the write's receipt had
    mutation change{};
    apply_outcome outcome{};
};

/// What a replica does that can't go on from its cursor.
enum class fallback_kind : std::uint8_t {
    none = 0,          ///< it goes on from its cursor
    older_cursor = 1,  ///< from an older one, up to which it and its authority agree
    compared = 2,      ///< it compares all that it holds by fingerprints of ranges, and is told what differs
    full = 3,          ///< it is told everything
};
[[nodiscard]] constexpr char const* name(fallback_kind k) noexcept {
    switch (k) {
        case fallback_kind::none: return "none";
        case fallback_kind::older_cursor: return "older cursor";
        case fallback_kind::compared: return "compared";
        case fallback_kind::full: return "full";
    }
    return "unknown fallback";
}

/// What an exchange brought.
struct exchange_report {
    std::size_t verdicts = 0;
    std::size_t rows = 0;     ///< taken
    std::size_t changed = 0;  ///< visible records that changed
    bool advanced = false;    ///< the cursor moved, or a range was told
    bool more = false;        ///< the authority has more to tell, or the replica more to send
    bool wait = false;        ///< the authority asked to come again later
    /// It is told anew: its lease was over, and tombstones are gone, or a scope; or an authority that knows no ranges
    /// stands in the place of one that was yet to tell some.
    bool rejoined = false;
    bool wipe = false;  ///< an order of the authority, and all there was in its reply: see `basic_replica::wipe`
    bool reincarnated = false;  ///< the store was a clone or was restored: it has a new identity now
    bool regressed = false;     ///< the authority was put back to an older state: what it lost is offered again
    std::size_t withheld = 0;   ///< records that are past this replica's limits: see `basic_replica::withheld`
    std::size_t relayed = 0;    ///< envelopes that the authority answered about
    fallback_kind fallback = fallback_kind::none;  ///< begun in this exchange: with `rejoined`, or with `regressed`
    std::size_t same = 0;  ///< ranges that were found to be what is held, so that nothing of them was told
};

/// An envelope as a peer hands it over.
struct handed_envelope {
    position clear = 0;  ///< no row up to this position contains it, as far as the peer knows
    bytes sealed{};
    friend bool operator==(handed_envelope const&, handed_envelope const&) = default;
};

/// Who hands over. `principal` is what the host authenticated; empty where it did not.
struct handing_peer {
    replica_id replica{};
    std::string_view principal{};
    bool same_epoch = false;  ///< its positions mean here what they mean there
};

/// What a peer brought.
struct handed_report {
    std::size_t added = 0;    ///< carried from now on
    std::size_t known = 0;    ///< carried already, home, or this device's own
    std::size_t full = 0;     ///< no room: their authors, or other carriers, keep them
    std::size_t refused = 0;  ///< not their authors', of another realm, or no envelopes
    std::size_t forked = 0;   ///< another content under a name that is carried: alarm somebody
    std::size_t distant = 0;  ///< of those added: their stamps are too far ahead, so they show nowhere
    std::size_t rows = 0;     ///< confirmed rows that were taken
    std::size_t changed = 0;  ///< visible records that changed
    std::vector<dot>
        left_out{};  ///< the names of those that were refused, forked or found no room, where they have one
    friend bool operator==(handed_report const&, handed_report const&) = default;
};

/// Where a replica stands that meets another.
struct meeting_state {
    replica_id self{};
    std::optional<id128> epoch{};  ///< of the authority; nothing before the first exchange with it
    position cursor = 0;
    held_of_author own{};  ///< what is frozen of its own
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
          carried_("rx", options_.relay.value_or(relay_options{})),
          records_(std::move(records)),
          journal_(std::move(told)) {}

    [[nodiscard]] rule_table const& rules() const noexcept { return rules_; }
    [[nodiscard]] replica_options const& options() const noexcept { return options_; }
    [[nodiscard]] outbox const& queue() const noexcept { return outbox_; }
    [[nodiscard]] Records const& records() const noexcept { return records_; }
    [[nodiscard]] relay_book const& carried() const noexcept { return carried_; }

    /// Makes the store a replica's, with a new identity, bound to `principal`, unless it is one already. Call it at each
    /// start of the program: from then on what is written bears a name that no copy of the store gives, so that
    /// what clones and restored backups share is recognised and counts once.
    /// `errc::forbidden` when it is another principal's; `errc::invalid` when `principal` is not UTF-8, or the store holds
    /// scopes where `replica_options::scoped` says otherwise;
    /// `errc::unsupported` when a later version of this library wrote it. Nothing changed then.
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] status open(Tx& tx, std::string_view principal, instant now, G& random) const;

    template <storage_transaction Tx>
    [[nodiscard]] result<replica_id> self(Tx& tx) const {
        auto mine = read_identity(tx);
        if (!mine) { return mine.error(); }
        return mine->self;
    }

    /// Whose the store is.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::string> principal(Tx& tx) const {
        auto mine = read_identity(tx);
        if (!mine) { return mine.error(); }
        return std::move(mine->principal);
    }

    /// Takes a new incarnation: from now on this store writes under a name of its own, whoever has a copy of it. What is
    /// frozen is issued again under that name, and counts once. For a store that was put back from a backup, after its
    /// first exchange, in which what it shares with the lost one is recognised. The event `reincarnated` tells of it.
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] status renew(Tx& tx, G& random) const;

    /// The number that the authority's rows name this replica's writes by; `unknown_author` before the first exchange.
    template <storage_transaction Tx>
    [[nodiscard]] result<author_index> author(Tx& tx) const {
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        return sync->author;
    }

    // Reading.

    /// The record as the person sees it. Nothing when it is deleted or never was. What is not confirmed yet counts in an
    /// eventual collection; in a strong one it doesn't, and `pending` says that something waits: see `read_pending`.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<record>> read(Tx& tx, record_key const& k) const;
    /// What is confirmed and what waits together, in a strong collection too: what the record becomes, if all that waits
    /// on it and can still be confirmed is.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<record>> read_pending(Tx& tx, record_key const& k) const;
    template <described T, storage_transaction Tx>
    [[nodiscard]] result<std::optional<T>> read(Tx& tx, std::string_view id) const {
        return decoded<T>(read(tx, record_key{collection<T>(), id}));
    }
    template <described T, storage_transaction Tx>
    [[nodiscard]] result<std::optional<T>> read_pending(Tx& tx, std::string_view id) const {
        return decoded<T>(read_pending(tx, record_key{collection<T>(), id}));
    }

    /// The confirmed row alone, a tombstone too; nothing when the authority has confirmed none.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<row>> read_confirmed(Tx& tx, record_key const& k) const;

    /// Where the authority has decided the last mutation on a record that has its verdict and is in no confirmed row here
    /// yet; 0: there is none. `errc::corrupt`, the storage's. Cost: a scan of those.
    template <storage_transaction Tx>
    [[nodiscard]] result<position> decided_at(Tx& tx, record_key const& k) const;

    /// Every record of a collection in the order of ids, as `read` shows it.
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, std::string_view collection,
                              function_ref<bool(record_key const&, record const&)> visit) const;
    /// The same, as `read_pending` shows it.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_pending(Tx& tx, std::string_view collection,
                                      function_ref<bool(record_key const&, record const&)> visit) const;

    /// A record of the record store as it is read: nothing when nothing is held, or a tombstone; closed when its schema
    /// is of a later version than the program knows.
    [[nodiscard]] std::optional<record> as_read(record_key const& k, std::optional<held_record> held) const;

    /// What would become of the mutations that wait on a record, in their order, were the authority to decide them now on
    /// what is confirmed here: decided by the same code, but without the authority's guards and validation. Of a record
    /// that is closed to the program nothing is foreseen. Errors: `errc::corrupt` and the storage's.
    /// Cost: a get, a scan of what was decided and is not yet contained, one of the record's queue.
    template <storage_transaction Tx>
    [[nodiscard]] status foresee(Tx& tx, record_key const& k, function_ref<bool(foreseen const&)> visit) const;

    // Scopes, of a replica that is `replica_options::scoped`; `errc::invalid` for any other.

    /// Asks for a scope from now on; the next exchanges bring its records. Joined already, nothing changes. `errc::limit` for
    /// more than `scopes_max`.
    template <storage_transaction Tx>
    [[nodiscard]] status join(Tx& tx, scope const& what) const;
    /// Asks for a scope no more. Its records go, by `evict` and with each exchange: those that are in no other scope, and on
    /// which nothing pends; these go when that is decided. Nothing is deleted. `errc::not_found` where it isn't joined.
    template <storage_transaction Tx>
    [[nodiscard]] status leave(Tx& tx, scope const& what) const;
    /// Visits the scopes in the order in which they were joined, those that are still being left too.
    template <storage_transaction Tx>
    [[nodiscard]] status scopes(Tx& tx, function_ref<bool(held_scope const&)> visit) const;
    /// Joins a scope once more that is `complete`: all of it is told anew. What is held of it stays visible until then, and goes
    /// where it is not told again. `errc::not_found` where no scope of this number is complete.
    template <storage_transaction Tx>
    [[nodiscard]] status rejoin(Tx& tx, std::uint64_t number) const;
    /// What all scopes have together: the generation of what is asked, which rises with each reply that is taken and each
    /// scope that is joined or left, and which fields are hidden.
    template <storage_transaction Tx>
    [[nodiscard]] result<scope_book::state> scopes_state(Tx& tx) const {
        return scope_state(tx);
    }
    /// Visits the confirmed rows of a scope's records from one key to another, in their order, tombstones too. One whose row
    /// is not there is passed over. It may read, not write. `errc::corrupt` at the first that does not decode.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_scope(Tx& tx, std::uint64_t number, record_range const& r,
                                    function_ref<bool(record_key const&, row const&)> visit) const;
    /// Lets go of up to `budget` records of scopes that were left, or refused; true: call again. Exchanges do so too, step
    /// by step. The event `evicted` tells of each record that is no longer seen.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> evict(Tx& tx, std::size_t budget) const;

    // Writing. Each call appends a mutation to the outbox, and the record as read changes at once.
    // What `replica_options::checks` refuse fails with their reason, and what refers to nothing with `errc::not_found`; the
    // state is unchanged. `check` has the words.

    /// What the checks and constraints say of a change that is not made yet, in words for the person who makes it. `ops` as
    /// for `update`; for a creation `set`s. Errors as those of the write itself.
    template <storage_transaction Tx>
    [[nodiscard]] result<validation> check(Tx& tx, record_key const& k, change_kind kind, std::vector<field_op> ops,
                                           instant now) const;

    /// Creates a record. `fields` is a canonical map with text keys. State unchanged on
    /// `errc::already_exists`, `errc::invalid`, `errc::limit` (record too large, outbox full) and whatever
    /// `validate_fields` says.
    template <storage_transaction Tx>
    [[nodiscard]] result<write_receipt> create(Tx& tx, record_key const& k, bytes_view fields, instant now,
                                               priority urgency = priority::normal) const;
    /// The same, by operations: `set`s and what else can begin a field, not sorted, each field once.
    template <storage_transaction Tx>
    [[nodiscard]] result<write_receipt> create(Tx& tx, record_key const& k, std::vector<field_op> ops, instant now,
                                               priority urgency = priority::normal) const {
        std::sort(ops.begin(), ops.end(),
                  [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
        return write(tx, k, change_kind::create, std::move(ops), now, urgency);
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
                                            priority urgency = priority::normal) const;
    /// Writes what a person changed between `base`, the fields that they saw, and `fields`; what others have
    /// changed meanwhile stays.
    template <storage_transaction Tx>
    [[nodiscard]] result<write_receipt> put(Tx& tx, record_key const& k, bytes_view base, bytes_view fields,
                                            instant now, priority urgency = priority::normal) const;
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
                                             priority urgency = priority::normal) const;
    /// What a person changed between `base`, which they saw, and `value`.
    template <described T, storage_transaction Tx>
    [[nodiscard]] result<write_receipt> put(Tx& tx, std::string_view id, T const& base, T const& value, instant now,
                                            priority urgency = priority::normal) const;
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
    /// outbox full), `errc::contended` where something waits on a record of a strong collection, and on the errors of
    /// `create`, `update` and `erase` for any part. One part in a strong collection makes the whole conditional.
    template <storage_transaction Tx>
    [[nodiscard]] result<write_receipt> write_group(Tx& tx, record_group const& group, instant now,
                                                    priority urgency = priority::normal) const;

    // Exchanging. The session calls these; a host that drives its own protocol may too.

    /// Freezes what the next request may carry: from then on its bytes, sequences and order never change.
    template <storage_transaction Tx>
    [[nodiscard]] status prepare(Tx& tx, instant now) const;

    /// The request that committed storage calls for: what is frozen, and the cursor. Reads only. An observer hears how
    /// many mutations are in it.
    template <storage_transaction Tx, observer O = no_observer>
    [[nodiscard]] result<bytes> request_message(Tx& tx, O&& told = {}) const;

    /// The authority did not take the last request in. Where it says that it can't (`failure_class::rejected`), what it
    /// once told to understand counts no more, as an older one may stand in its place: until the next answer that brings
    /// something, requests are such as the first version reads. The session calls it. Nothing is lost, as nothing was taken.
    template <storage_transaction Tx>
    [[nodiscard]] status refused(Tx& tx, failure const& why) const {
        return classify(why) == failure_class::rejected ? note_understood(tx, 0) : status{};
    }

    /// Takes in a reply: verdicts, rows, cursor and events in this one transaction.
    ///
    /// `message` is a stranger's. Errors, all to be rolled back: those of `decode_reply`;
    /// `errc::authority_changed` when it comes from another authority, or from one that was put back to an
    /// older state and expects no backups, or to one so old that what it lost is no longer kept here: nothing is taken,
    /// pending work stays; `errc::unsupported` from an authority that knows no scopes, where some are asked for, and
    /// `errc::foreign` for a reply that doesn't fit what was asked; `errc::corrupt` and the storage's own. A reply that
    /// was seen before, or that is older than what is held, changes nothing.
    /// Cost: O(verdicts + rows) storage operations; a record with pending mutations is computed anew. Once after an
    /// authority was put back: O(records held).
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] result<exchange_report> absorb(Tx& tx, bytes_view message, instant now, G& random) const;

    /// Whether an exchange now would send or fetch anything that is known of.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> work_left(Tx& tx, instant now) const;

    // Handing over, device to device; replica/peer_exchange.hpp does.

    /// Freezes all that waits, in the order in which it was written, so that it can be handed on: from then on its bytes,
    /// sequences and order never change. `errc::invalid` without `replica_options::relay`. Cost: O(pending).
    template <storage_transaction Tx>
    [[nodiscard]] status prepare_handover(Tx& tx, instant now) const;

    template <storage_transaction Tx>
    [[nodiscard]] result<meeting_state> meeting(Tx& tx) const;

    /// Visits this replica's own frozen mutations without a verdict, in sequence, as envelopes to be sealed; until the
    /// visitor says false. It may read, not write.
    template <storage_transaction Tx>
    [[nodiscard]] status each_own(Tx& tx, function_ref<bool(std::uint64_t sequence, envelope const&)> visit) const;

    /// Carries what a peer hands over, and shows it. What is not its author's, and whatever is no envelope, is left out
    /// and counted. Errors: the storage's, `errc::corrupt`; `errc::invalid` without `replica_options::relay`.
    template <storage_transaction Tx>
    [[nodiscard]] result<handed_report> take_envelopes(Tx& tx, std::span<handed_envelope const> all,
                                                       handing_peer const& peer, instant now) const;

    /// Takes confirmed rows that a peer told who is declared to be trusted, and who stands at `cursor`. The own cursor does
    /// not move: the authority tells them once more. Rows of a peer that is not ahead are left out, as this replica may
    /// know deletions that it doesn't; so are those of records on which own mutations wait, as a row may contain one whose
    /// verdict was not heard yet. With a row go those that were changed by the same group, as far as its marks tell: `rows`
    /// are all that the peer holds after the own cursor, so that a group is seen whole or not at all.
    /// None is taken from an authority that may be put back to a backup. `errc::invalid` where no such trust is declared.
    /// A replica of scopes takes those that are in such of its own as are held whole: `members` has their numbers
    /// (`shared_scopes`), for each row.
    template <storage_transaction Tx>
    [[nodiscard]] result<handed_report> take_peer_rows(Tx& tx, std::span<row_update> rows, position cursor, instant now,
                                                       std::span<std::vector<std::uint64_t> const> members = {}) const;

    /// The scopes of which rows may be taken from peers, and told to them: all that are asked for, where each is complete and
    /// none of their fields is hidden; else none.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<held_scope>> shared_scopes(Tx& tx) const;
    /// The numbers of the scopes that a record is in, ascending; with scopes.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<std::uint64_t>> scopes_of(Tx& tx, record_key const& k) const {
        return scopes_.members(tx, to_bytes(k));
    }

    /// Where the replica stands.
    struct progress {
        position cursor = 0;        ///< held up to here, but for ranges that are still to come
        position head = 0;          ///< the authority's last position that it told
        std::uint64_t frozen = 0;   ///< mutations sent, or to be sent as they are, without a verdict
        bool met = false;           ///< whether an authority ever answered
        bool complete = false;      ///< no range is still to come, and no scope being joined
        std::uint64_t settled = 0;  ///< mutations up to this number have their verdict
    };
    template <storage_transaction Tx>
    [[nodiscard]] result<progress> status_of(Tx& tx) const;
    /// Whether all that the authority had of a collection at the cursor is held: a first sync tells the essential ones
    /// first; never with scopes. `errc::invalid` for what is no name of one.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> complete(Tx& tx, std::string_view collection) const {
        if (!valid(record_key{collection, "-"})) { return failure{errc::invalid, "collection"}; }
        return wanted_.complete(tx, range_of(collection));
    }

    /// Visits the records that the authority has and does not tell, as they are past what this replica takes
    /// (`replica_options::record_max`, `message`), in the order of their keys. What is held of such a record is older, or
    /// nothing. It comes when it is within the limits again; at the next `open` it is asked for anew where they were raised.
    template <storage_transaction Tx>
    [[nodiscard]] status withheld(Tx& tx, function_ref<bool(withheld_record const&)> visit) const;

    // Looking whether what is held is what the authority has; replica/integrity.hpp does.

    /// Wants a range of records told whole once more, before all others. What is held of it stays until then; what is
    /// told then takes its place even where that says that it is no newer, or does not decode, and pending mutations
    /// are laid over it. `errc::invalid` for what is no range, `errc::unsupported` with scopes.
    template <storage_transaction Tx>
    [[nodiscard]] status refetch(Tx& tx, record_range const& r) const;
    /// Whether nothing of a range is still to be told. Precondition: `valid(r)`.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> complete(Tx& tx, record_range const& r) const {
        return wanted_.complete(tx, r);
    }
    /// Visits the confirmed rows of a range in the order of keys, tombstones too, until the visitor says false. It may
    /// read, not write. `errc::corrupt` at the first that does not decode. Precondition: `valid(r)`.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_confirmed(Tx& tx, record_range const& r,
                                        function_ref<bool(record_key const&, row const&)> visit) const;

    // Events: at least once, in order, kept until forgotten.

    /// Visits events after `seen` in order; each batch has a number that `forget_events` takes.
    template <storage_transaction Tx>
    [[nodiscard]] status events(Tx& tx, std::uint64_t seen,
                                function_ref<bool(std::uint64_t batch, event const&)> visit) const;
    /// Where a reader of events stands: batches up to `whole` are read, and of `batch` what is before `at`.
    struct event_cursor {
        std::uint64_t whole = 0;  ///< what `forget_events` takes
        std::uint64_t batch = 0;
        event_place at{};
    };
    /// Appends the next events, at most `most` and of one batch; none: all are read. `errc::corrupt` for one that is none,
    /// which is said once those before it are read. Cost: one look-up, and that of the events.
    template <storage_transaction Tx>
    [[nodiscard]] status next_events(Tx& tx, event_cursor& from, std::size_t most, std::vector<event>& out) const;
    /// Drops the batches up to `through`.
    template <storage_transaction Tx>
    [[nodiscard]] status forget_events(Tx& tx, std::uint64_t through) const;

    // Conflicts.

    template <storage_transaction Tx>
    [[nodiscard]] status conflicts(Tx& tx, function_ref<bool(open_conflict const&)> visit) const;

    /// Ends a conflict by a person's decision: a new mutation that has seen the confirmed record as it is now.
    ///
    /// `seen` is the version of the remote row that the person saw. `decisions` names every field of the conflict, as
    /// `conflicts` tells it, once. What else the parked mutation did goes along as the rules have it now: what others have
    /// changed later stays theirs. (Ranks are the authority's to know: a field by rank that others have changed too waits
    /// as well. A `conflict_desk` can be told them.) Should somebody change those fields again before it arrives, that is
    /// a new conflict.
    /// Errors, state unchanged: `errc::not_found` (no such conflict; the record was deleted meanwhile, then
    /// `dismiss` it), `errc::contended` (the remote has changed since: show it again), `errc::invalid` (a field is missing,
    /// named twice or not in conflict; a value is no CBOR).
    template <storage_transaction Tx>
    [[nodiscard]] result<write_receipt> resolve(Tx& tx, std::uint64_t token, position seen,
                                                std::vector<field_resolution> const& decisions, instant now,
                                                priority urgency = priority::important) const;
    /// Ends a conflict for the remote side in everything: the parked mutation is dropped by this explicit call. Where it
    /// was decided elsewhere, and what it came to is written, `choice` is what the journal is told.
    template <storage_transaction Tx>
    [[nodiscard]] status dismiss(Tx& tx, std::uint64_t token, journal_choice choice = journal_choice::remote) const;
    /// Tells the journal of a decision, made elsewhere, on a mutation that is no longer parked here: settled, or
    /// reopened.
    template <storage_transaction Tx>
    [[nodiscard]] status tell_decision(Tx& tx, journal_event what, mutation const& local, journal_choice choice) const {
        return tell_undated(tx, what, &local, choice);
    }

    /// Erases the replica, records, pending work, conflicts and dead letters, a step at a time; true: call again. From the
    /// first step on, all other calls answer `errc::not_found`, and `open` too, until the last has made the store
    /// empty. Export first what is to be kept. Cost: O(`budget`) storage operations; `budget` > 0.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> wipe(Tx& tx, std::size_t budget) const;

    /// The mutation in an outbox entry's payload, a dead letter's for one. `errc::corrupt` when it is none.
    [[nodiscard]] static result<mutation> mutation_of(outbox_entry const& entry) {
        auto p = pending::parse(entry.payload);
        if (!p) { return p.error(); }
        return p->decoded();
    }

private:
    /// With a row that is left out go those that show a mutation of after `held` which it shows too, and so on.
    static void leave_groups(std::vector<row_update> const& rows, position held, std::vector<bool>& left);

    /// The remote row with what a parked mutation did in fields that don't wait for a person, by the rules; its fields get
    /// those that do by now. Nothing where there is no such row, or the authority would refuse it.
    [[nodiscard]] std::optional<row> without_asked(open_conflict& c, author_index me) const;

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
    [[nodiscard]] static std::array<std::byte, 10> numbered(char kind, std::uint64_t n) noexcept {
        std::array<std::byte, 10> k{std::byte{'r'}, static_cast<std::byte>(kind)};
        write_u64(k.data() + 2, n);
        return k;
    }

    /// Decided mutations that no held row contains yet: 'h', length and name of the record, token.
    [[nodiscard]] static bytes decided_prefix(bytes_view record);

    /// Tells the journal, who does it and for whom filled in.
    template <class Tx>
    [[nodiscard]] status tell(Tx& tx, journal_note& note) const;

    /// … of what is done in a call that is not told the time: the clock's last stamp is when.
    template <class Tx>
    [[nodiscard]] status tell_undated(Tx& tx, journal_event what, mutation const* change, journal_choice choice) const;
    /// Tells the journal of each collection that this program has in another schema version than the one that was told
    /// last: 'q', collection -> version.
    template <class Tx>
    [[nodiscard]] status tell_versions([[maybe_unused]] Tx& tx, [[maybe_unused]] bool fresh,
                                       [[maybe_unused]] instant now) const;

    /// Tells the journal of new conflicts, once the rows that they collide with are held.
    template <class Tx>
    [[nodiscard]] status tell_parked(Tx& tx, std::vector<std::pair<std::uint64_t, verdict const*>> const& parked,
                                     author_index author, instant now) const;

    // Small rows of state.

    template <random_source G>
    [[nodiscard]] static std::uint64_t new_line(G& random) noexcept {
        std::uint64_t line = 0;
        while (line == 0) { line = random(); }
        return line;
    }

    template <class Tx>
    [[nodiscard]] result<identity> read_identity(Tx& tx) const;
    template <class Tx>
    [[nodiscard]] status write_identity(Tx& tx, identity const& mine) const;
    template <class Tx>
    [[nodiscard]] result<sync_state> read_sync(Tx& tx) const;
    template <class Tx>
    [[nodiscard]] status write_sync(Tx& tx, sync_state const& s) const;
    template <class Tx>
    [[nodiscard]] result<hybrid_clock> read_clock(Tx& tx) const;
    template <class Tx>
    [[nodiscard]] status write_clock(Tx& tx, hybrid_clock const& clock) const {
        return tx.put(key('t'), to_array(clock.last()));
    }
    /// The clock hears of every stamp that was confirmed; one too far ahead doesn't move it.
    template <class Tx>
    [[nodiscard]] status learn_clock(Tx& tx, std::vector<row_update> const& rows, instant now) const;

    // Visible and confirmed records.

    [[nodiscard]] collection_schema const& schema_of_record(record_key const& k) const noexcept {
        return (options_.schemas == nullptr ? detail::first_versions : *options_.schemas).of(k.collection);
    }
    template <class Tx>
    [[nodiscard]] result<std::optional<held_record>> find_held(Tx& tx, record_key const& k) const {
        if (!valid(k)) { return failure{errc::invalid, "record key"}; }
        return records_.find(tx, k);
    }
    /// Puts the confirmed row in the place of what is shown with what waits.
    template <class Tx>
    [[nodiscard]] status reveal_confirmed(Tx& tx, record_key const& k, std::optional<held_record>& held) const;
    template <described T>
    [[nodiscard]] static result<std::optional<T>> decoded(result<std::optional<record>> const& r);
    /// As a person sees it, in the version of the program. `errc::unsupported` for a record that is closed to it.
    template <class Tx>
    [[nodiscard]] result<visible> read_visible(Tx& tx, record_key const& k) const;

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
                                          instant now) const;

    // Limits: 'l', what the authority takes, where it isn't the usual. 'u' record -> version and size of one that it has
    // and does not tell, as it is past the limits of this replica.

    [[nodiscard]] exchange_limits own_limits() const noexcept {
        return limits_of(options_.message, options_.record_max);
    }
    template <class Tx>
    [[nodiscard]] result<exchange_limits> told_limits(Tx& tx) const;
    template <class Tx>
    [[nodiscard]] status note_limits(Tx& tx, std::optional<exchange_limits> const& said) const;

    // What the authority understands of requests, as it told last: 'a'; absent: what the first version does.

    template <class Tx>
    [[nodiscard]] result<std::uint64_t> authority_understands(Tx& tx) const;
    template <class Tx>
    [[nodiscard]] status note_understood(Tx& tx, std::uint64_t features) const;

    /// Whether this replica and, as far as is known, its authority take a record of these fields. What everybody takes
    /// costs no look-up.
    template <class Tx>
    [[nodiscard]] status taken(Tx& tx, bytes_view fields, bool deep) const;
    /// Bytes of envelopes that a request has room for.
    template <class Tx>
    [[nodiscard]] result<std::uint64_t> relayed_max(Tx& tx, sync_state const& sync) const {
        auto const theirs = told_limits(tx);
        if (!theirs) { return theirs.error(); }
        return content_max(lower_of(own_limits(), sync.epoch ? *theirs : exchange_floor).message_max);
    }
    /// Whether so many bytes of mutations go into a message that the authority takes. Of one that was never met nothing
    /// is known: to it goes what everybody takes. `known`: the authority's limits, once they were read.
    template <class Tx>
    [[nodiscard]] result<bool> sendable(Tx& tx, sync_state const& sync, std::size_t size, bool together = false,
                                        std::optional<exchange_limits>* known = nullptr) const;
    /// What was written before the authority said that it takes no message so large: a dead letter.
    template <class Tx>
    [[nodiscard]] status refuse_unsent(Tx& tx, outbox_entry const& entry, pending const& p, instant now,
                                       std::vector<bytes>& dirty, event_batch& events) const;
    [[nodiscard]] static bytes withheld_at(bytes_view record) {
        bytes k = key('u');
        append(k, record);
        return k;
    }
    template <class Tx>
    [[nodiscard]] static status forget_withheld(Tx& tx, record_range const& told);
    /// Notes what is withheld, and forgets it of what is told now.
    template <class Tx>
    [[nodiscard]] status take_withheld(Tx& tx, reply const& p) const;
    /// The program takes more now, perhaps: what was withheld is asked for once more. Or what was withheld after
    /// `shared`, which is void: then it is not known what there is.
    template <class Tx>
    [[nodiscard]] status want_withheld(Tx& tx, std::optional<position> shared = {}) const;

    /// What the checks and constraints say of it. `beside`: what is written with it.
    template <class Tx>
    [[nodiscard]] result<validation> permitted(Tx& tx, write_plan const& w,
                                               std::span<write_plan const> beside = {}) const;

    template <class Tx>
    [[nodiscard]] result<write_receipt> write(Tx& tx, record_key const& k, change_kind kind, std::vector<field_op> ops,
                                              instant now, priority urgency) const {
        auto change = plan(tx, k, kind, std::move(ops), now);
        if (!change) { return change.error(); }
        return write(tx, std::span{&*change, 1}, now, urgency);
    }
    /// Writes what is planned, of one moment and of different records: as a group where it is more than one.
    template <class Tx>
    [[nodiscard]] result<write_receipt> write(Tx& tx, std::span<write_plan> plans, instant now, priority urgency) const;

    /// Notes what is carried for others and was seen by who wrote this.
    template <class Tx>
    [[nodiscard]] status note_needs(Tx& tx, write_plan& w) const;
    /// Whether what is carried may show on a record at all. Where scopes are held: on one that the authority has told in a
    /// scope that is not left, to who reads all its fields; on any other it goes home unseen.
    template <class Tx>
    [[nodiscard]] result<bool> shows_others(Tx& tx, bytes_view name) const;
    /// Whether what is carried shows on a record that has this version as confirmed: a group on all of its records or on
    /// none, for a row of one may contain it where that of another is known not to, or one may not be there yet. For the
    /// record itself the answer leaves out whether it applies.
    template <class Tx>
    [[nodiscard]] result<bool> shows(Tx& tx, carried_envelope const& c, carried_part const& part,
                                     position confirmed) const;
    /// Whether a group would show in vain: nobody knows what became of it, and a row of one of its records may have it. Rows
    /// are told by whole groups, so either those of the others have it too, or it was refused and none will. While ranges
    /// are yet to be told that does not hold, and it shows on.
    template <class Tx>
    [[nodiscard]] result<bool> in_vain(Tx& tx, carried_envelope const& c, opened_envelope const& e) const;
    /// Puts a group in the outbox: one entry, in the order of each of its records.
    template <class Tx>
    [[nodiscard]] result<write_receipt> enqueue_group(Tx& tx, std::span<write_plan> plans, instant now,
                                                      priority urgency) const;

    /// Puts a pending mutation in the outbox, into the record's last entry where the algebra allows.
    template <class Tx>
    [[nodiscard]] result<write_receipt> enqueue(Tx& tx, bytes const& name, pending& p, sync_state const& sync,
                                                instant now, priority urgency) const;

    // Frozen mutations: 'f' sequence -> token, fence of the outbox entry that holds its bytes; or 0 and the key of a
    // decided one that is offered again.

    /// Gives the next sequence. `renamed`: it was frozen under another identity of this store, and is the same still;
    /// otherwise one that was frozen before was set aside, and a person sends it anew. Its bytes are stored, or added to
    /// `together`, for the caller to store.
    template <class Tx>
    [[nodiscard]] status freeze(Tx& tx, sync_state& sync, std::uint64_t token, std::uint64_t fence, result<pending> p,
                                bool renamed, std::vector<outbox_payload>* together = nullptr) const;
    /// Notes what is frozen under the next sequence.
    template <class Tx>
    [[nodiscard]] status freeze_as(Tx& tx, sync_state& sync, std::uint64_t token, std::uint64_t fence, bytes payload,
                                   std::vector<outbox_payload>* together) const;
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
    [[nodiscard]] result<frozen_mutation> find_frozen(Tx& tx, bytes_view where) const;
    /// The rest of one that is offered again.
    template <class Tx>
    [[nodiscard]] status read_offered(Tx& tx, frozen_mutation& f) const;
    /// Visits frozen mutations without a verdict, in sequence.
    template <class Tx, class F>
    [[nodiscard]] status each_frozen(Tx& tx, F&& visit) const;

    // Taking in a reply.

    /// Of a reply that is none for what this replica is now.
    template <class Tx>
    [[nodiscard]] result<exchange_report> nothing_taken(Tx& tx, instant now) const;

    /// Every sequence before the first that is still frozen has its verdict, in whatever order they came.
    template <class Tx>
    [[nodiscard]] status settle(Tx& tx, sync_state& sync) const;

    /// Whether a frozen mutation was decided that the reply has no verdict on, not even one to send it again.
    template <class Tx>
    [[nodiscard]] result<bool> unheard(Tx& tx, sync_state const& sync, reply const& p) const;

    enum class verdict_effect : std::uint8_t { none, taken, forgotten, forked };

    template <class Tx>
    [[nodiscard]] result<verdict_effect> take_verdict(
        Tx& tx, verdict const& v, instant now, position head, sync_state& sync, std::vector<bytes>& dirty,
        event_batch& events, std::vector<std::pair<std::uint64_t, verdict const*>>& parked) const;

    /// Keeps what was decided, each part under its record, for as long as no held row of that contains it.
    template <class Tx>
    [[nodiscard]] status put_decided(Tx& tx, mutation const& m, std::uint64_t token, verdict const& v,
                                     bytes_view encoded) const;
    /// Takes away what is offered again, under each record that it changes.
    template <class Tx>
    [[nodiscard]] static status erase_offered(Tx& tx, mutation const& m, std::uint64_t token);

    // What waits in a strong collection on what another makes, and is not frozen: only the first of a record ever is.

    /// How what waits on a record is made, each on the one before. `confirmed`: what its confirmed row has as version.
    template <class Tx>
    [[nodiscard]] result<strong_chain> chain_of(Tx& tx, record_key const& k, position confirmed) const;
    /// What a mutation does to a record of a strong collection, under the mutation's own number.
    [[nodiscard]] static mutation of_record(mutation const& m, record_key const& k);
    struct follower {
        std::uint64_t token = 0;
        pending what{};
    };
    /// What is made on the entry of a token; with `all` also what is made on that.
    template <class Tx>
    [[nodiscard]] result<std::vector<follower>> followers_of(Tx& tx, bytes_view name, std::uint64_t token,
                                                             bool all) const;
    /// What was made on a mutation in strong collections goes on, or falls, with it.
    template <class Tx>
    [[nodiscard]] status settle_followers(Tx& tx, mutation const& m, std::uint64_t token, verdict const& v,
                                          journal_note& note, event_batch& events) const;
    /// What was made on one that has come to a version is made on that version.
    template <class Tx>
    [[nodiscard]] status rebase_followers(Tx& tx, bytes_view name, std::uint64_t token, position version) const;
    /// What was made on one that has no effect has none either: dead letters, each told of as `collateral`.
    template <class Tx>
    [[nodiscard]] status give_up_followers(Tx& tx, bytes_view name, std::uint64_t token, verdict const& first,
                                           journal_note& note, event_batch& events) const;

    // Where the authority may be put back to a backup. Decided mutations: 'k' number, in the order of their verdicts.
    // One that is offered again lies with those that no held row contains: no row contains it till its next verdict.

    struct decided_mutation {
        position version = 0;
        std::uint64_t token = 0;
        pending what{};
    };
    static void sort_as_written(std::vector<decided_mutation>& all) {
        std::sort(all.begin(), all.end(),
                  [](decided_mutation const& a, decided_mutation const& b) { return a.token < b.token; });
    }
    static constexpr std::size_t decided_forgotten_max = 1'024;  ///< in one exchange
    static constexpr std::size_t past_kept_max = 16;             ///< epochs

    template <class Tx>
    [[nodiscard]] status keep_decided(Tx& tx, kept_state& kept, decided_mutation const& d) const;
    [[nodiscard]] static result<decided_mutation> parse_decided(bytes_view raw);
    /// Forgets those that a backup holds, and the oldest of more than are to be kept.
    template <class Tx>
    [[nodiscard]] status forget_decided(Tx& tx, kept_state& kept, position stable) const;

    /// What lies under a key of an offered one; with its token.
    template <class Tx>
    [[nodiscard]] result<decided_mutation> find_offered(Tx& tx, bytes_view at) const;
    /// Freezes a decided mutation once more, under the next sequence; its base is one that the authority has.
    template <class Tx>
    [[nodiscard]] status offer_again(Tx& tx, sync_state& sync, decided_mutation const& d, position base_max) const;
    /// With the version 0 it is in no record: it waits for its record to come, as a conflict.
    template <class Tx>
    [[nodiscard]] static status put_offered(Tx& tx, decided_mutation const& d, bytes_view record);
    /// The records of all that was offered in vain.
    template <class Tx>
    [[nodiscard]] static status each_orphaned(Tx& tx, std::vector<bytes>& names);
    /// Of the records that a reply tells of those that are not here yet, in this life, and the ids of all, in order.
    struct arrivals {
        std::vector<bytes> names{};
        std::vector<bytes> ids{};

        [[nodiscard]] static bool has(std::vector<bytes> const& all, bytes_view one) noexcept {
            auto const less = [](bytes_view a, bytes_view b) { return compare(a, b) < 0; };
            return std::binary_search(all.begin(), all.end(), one, less);
        }
        /// Whether the record is among them, or one that the mutation may refer to: which fields do is the authority's.
        [[nodiscard]] bool concern(bytes_view name, mutation const& m) const {
            bool found = has(names, name);
            each_part(m, [&](mutation const& part) {
                for (field_op const& op : part.ops) {
                    if (found || op.value.empty()) { continue; }
                    bytes const id = detail::referred_id(op.value);
                    found = !id.empty() && has(ids, id);
                }
            });
            return found;
        }
    };
    /// What a reply that is not taken yet brings.
    template <class Tx>
    [[nodiscard]] result<arrivals> arrivals_of(Tx& tx, reply const& p) const;
    /// A record that was lost may have come, or one that it refers to: what waited for it is offered, unless a person has
    /// dismissed it. Under its origin, by which it counts once, whoever else brings it.
    template <class Tx>
    [[nodiscard]] status offer_orphans(Tx& tx, bytes_view name, arrivals const& came, sync_state& sync) const;

    /// Whether this replica was told of something since it asked that an authority of another epoch, which takes it along,
    /// doesn't have: then it is to ask anew, and hears where their pasts part.
    [[nodiscard]] static bool knows_more(sync_state const& sync, reply const& p) noexcept {
        auto const left =
            std::find_if(p.past.begin(), p.past.end(), [&](past_epoch const& e) { return e.name == *sync.epoch; });
        return (left != p.past.end() && sync.told() > left->end) || p.decided < sync.settled;
    }

    // Epochs that were left: 'p', with the last position that this replica and they share, the oldest first.

    template <class Tx>
    [[nodiscard]] result<std::vector<past_epoch>> read_past(Tx& tx) const;
    template <class Tx>
    [[nodiscard]] status write_past(Tx& tx, std::vector<past_epoch> past) const;

    /// The authority was put back, and what this replica knows and it doesn't is void: back to the last position that
    /// both have. Own mutations that were decided after it are offered again, the records that changed after it are
    /// asked for anew. `past` ends with the epoch that is left.
    template <class Tx, class G>
    [[nodiscard]] result<exchange_report> regress(Tx& tx, reply const& p, sync_state& sync,
                                                  std::vector<past_epoch> past, instant now, G& random) const;
    /// The last life of a record that has ended, of one that lives the one before it; 0: none.
    [[nodiscard]] static std::uint64_t ended_life(row const& r) noexcept {
        return r.deleted || r.life == 0 ? r.life : r.life - 1;
    }
    /// No row of a position after `shared` stays confirmed; each is wanted anew, or `all` are. Answers which, and the
    /// last lives of theirs that have ended.
    template <class Tx>
    [[nodiscard]] result<std::vector<std::pair<record_key, std::uint64_t>>> void_rows(Tx& tx, position shared, bool all,
                                                                                      std::vector<bytes>& dirty,
                                                                                      event_batch& events) const;
    /// Takes what was decided after `shared` out of what is kept; as it was written, not as verdicts came: what an
    /// authority knew from an old request was told after what is later.
    template <class Tx>
    [[nodiscard]] result<std::vector<decided_mutation>> take_lost(Tx& tx, position shared,
                                                                  std::vector<bytes>& dirty) const;
    /// What waits, and what is frozen beyond `decided`, has seen nothing after `shared` that the authority still has.
    template <class Tx>
    [[nodiscard]] status void_bases(Tx& tx, position shared, std::uint64_t decided) const;

    // Rows that are kept back until groups are whole: 'g', the record -> the row.

    [[nodiscard]] static bytes staged_key(bytes_view record) {
        bytes k = key('g');
        append(k, record);
        return k;
    }
    /// Keeps the rows of a page that ends within groups.
    template <class Tx>
    [[nodiscard]] static status stage(Tx& tx, reply& p);
    /// The page makes all groups whole: what was kept back, and is not told anew, comes before its rows.
    template <class Tx>
    [[nodiscard]] static status unstage(Tx& tx, reply& p, sync_state& sync);
    template <class Tx>
    [[nodiscard]] static status drop_staged(Tx& tx, sync_state& sync);

    // Ranges that the authority has yet to tell: 'w'. The lowest band is for single records, then come the essential
    // collections, the rest is last.

    static constexpr std::uint8_t band_repair = 0;
    static constexpr std::uint8_t band_rest = 0xFF;

    template <class Tx>
    [[nodiscard]] status want_everything(Tx& tx) const;
    /// Whether nothing was told since everything was wanted.
    template <class Tx>
    [[nodiscard]] result<bool> wants_everything(Tx& tx) const;
    /// A range is wanted, whatever of the log was read already.
    template <class Tx>
    [[nodiscard]] status want(Tx& tx, std::uint8_t band, record_range const& r) const {
        if (auto ok = tx.erase(key('j')); !ok) { return ok; }
        return wanted_.add(tx, band, r);
    }

    // From an authority that knows no ranges the log is read from its beginning instead: 'j', nothing, while everything
    // up to the cursor was told so since something was wanted last. At the head all of it was.

    template <class Tx>
    [[nodiscard]] static result<bool> reading_log(Tx& tx) {
        bytes raw;
        return tx.get(key('j'), raw);
    }
    /// Whether the page goes on where the log was read to; else the cursor goes back to the beginning, and all is wanted.
    template <class Tx>
    [[nodiscard]] result<bool> reads_log(Tx& tx, sync_state& sync) const;

    // Everything is wanted anew, and some of it is held: 'n' -> round, key and horizon. What is asked is compared, and an
    // answer counts once, in the round that it was asked in: none does after a range was to be told whole once more.

    struct comparison {
        std::uint64_t round = 1;
        reconcile_key key{};
        position horizon = 0;
    };
    template <class Tx>
    [[nodiscard]] result<std::optional<comparison>> read_comparison(Tx& tx) const;
    template <class Tx>
    [[nodiscard]] status write_comparison(Tx& tx, comparison const& c) const;
    /// Everything is wanted: compared, where the authority says that it can, and something is held.
    template <class Tx, class G>
    [[nodiscard]] result<fallback_kind> begin_comparison(Tx& tx, reply const& p, bool holds, G& random) const;
    template <class Tx>
    [[nodiscard]] status next_round(Tx& tx) const;
    /// The ranges that a request wants. While they are compared it is one, with the sums of what is held of it.
    template <class Tx>
    [[nodiscard]] status ask_ranges(Tx& tx, sync_state const& sync, exchange_limits const& own, request& q) const;
    /// Sums of what is held of a range, in at most `size` bytes; the range is made to end where they do. None where what
    /// is held first does not decode: that is to be told.
    template <class Tx>
    [[nodiscard]] status sum_up(Tx& tx, comparison const& c, std::uint64_t size, record_range& range, request& q) const;
    /// Takes what was found to be the same in this round; then the next begins, or it is over. Answers how many ranges.
    template <class Tx>
    [[nodiscard]] result<std::size_t> take_same(Tx& tx, reply& p, std::vector<bytes>& dirty, event_batch& events,
                                                instant now) const;

    // Confirmed tombstones by position: 'd' position -> record.

    static constexpr std::size_t tombstones_dropped_max = 256;  ///< in one exchange

    /// Drops clean tombstones that the authority has no more.
    template <class Tx>
    [[nodiscard]] status drop_tombstones(Tx& tx, position horizon) const;

    // Scopes.

    static constexpr std::size_t evicted_max = 1'000;  ///< in one exchange

    /// What a reply is taken in against.
    struct scope_taking {
        scope_book::state state{};
        std::vector<held_scope> all{};
        std::vector<std::size_t> asked{};  ///< of `all`, those in the order of the request
    };

    template <class Tx>
    [[nodiscard]] result<scope_book::state> scope_state(Tx& tx) const;
    template <class Tx>
    [[nodiscard]] result<scope_request> scopes_asked(Tx& tx) const;
    /// Whether nothing more is known to come than what changes: no range, and no scope that there is.
    template <class Tx>
    [[nodiscard]] result<bool> nothing_to_come(Tx& tx) const;
    /// False for a reply to what was asked for before. `errc::foreign` for one that doesn't fit.
    template <class Tx>
    [[nodiscard]] result<bool> begin_scopes(Tx& tx, reply const& p, position cursor, scope_taking& t) const;
    /// Of a page that is not taken: in which scopes its records are, lest one that was written here outlives them. Those that
    /// are in none but such as are being joined and have not begun count as gone: they are told in it if they are still
    /// there then, and if they left before, they are not told.
    template <class Tx>
    [[nodiscard]] status note_untaken(Tx& tx, scope_taking const& t, reply& p) const;
    /// Whether the authority has yet to be asked about what is carried under this name, or about what it lacked when it was.
    /// Of this replica's, what comes is after `settled` and before `own`, which waits.
    template <class Tx>
    [[nodiscard]] result<bool> still_comes(Tx& tx, dot id, std::uint64_t room, dot const& own,
                                           std::uint64_t settled) const;
    static constexpr int needs_depth_max = 64;

    /// Takes in which scopes the told records are in, and how far each scope is. Whether anything moved.
    template <class Tx>
    [[nodiscard]] result<bool> take_scopes(Tx& tx, reply const& p, scope_taking& t, std::vector<bytes>& dirty,
                                           event_batch& events) const;
    /// Other fields are hidden now: what is carried shows, or shows no more; what is home and waits for a row may never have
    /// one that says so.
    template <class Tx>
    [[nodiscard]] status take_mask(Tx& tx, scope_book::state const& now, std::vector<bytes>& dirty) const;
    template <class Tx>
    [[nodiscard]] status join_all_again(Tx& tx) const;

    /// A record was told as of `head`: what was decided by then is in it, whatever version its reader sees.
    template <class Tx>
    [[nodiscard]] status end_overlay(Tx& tx, bytes const& name, position head, std::vector<bytes>& dirty) const;
    /// A record is in no scope: it goes, at once where nothing waits, else when that is decided. What was decided before
    /// had its effect, elsewhere. What is carried of it goes on unseen: `hidden` is to be computed anew.
    template <class Tx>
    [[nodiscard]] status let_go(Tx& tx, bytes const& name, std::vector<bytes>& hidden, event_batch& events) const;
    /// A record that was kept because something waited on it goes once nothing does.
    template <class Tx>
    [[nodiscard]] status release(Tx& tx, bytes const& name, std::vector<bytes>& hidden, event_batch& events) const {
        auto const kept = scopes_.kept_for_now(tx, name);
        if (!kept) { return kept.error(); }
        return *kept ? let_go(tx, name, hidden, events) : status{};
    }
    /// Lets go of up to `budget` records that no scope holds any more; whether there are more.
    template <class Tx>
    [[nodiscard]] result<bool> evict_left(Tx& tx, std::size_t budget, std::vector<bytes>& hidden,
                                          event_batch& events) const;

    /// Takes in a range as it was at `head`: rows that are told, and the end of those that are not. Answers how many
    /// rows were newer than what is held. Where more is to end than one exchange should do, the range's rest stays
    /// wanted.
    template <class Tx>
    [[nodiscard]] result<std::size_t> take_range(Tx& tx, record_range& covered, std::span<row_update> told,
                                                 std::span<bytes const> kept_back, position head,
                                                 std::vector<bytes>& dirty, event_batch& events, instant now,
                                                 bool same = false) const;

    /// The authority had no row of this record at `head`: an untouched copy goes, pending mutations stay.
    template <class Tx>
    [[nodiscard]] status take_end(Tx& tx, record_key const& k, position head, std::vector<bytes>& dirty,
                                  event_batch& events, instant now) const;

    /// Of a strong collection tells that what is confirmed of a record goes.
    template <class Tx>
    [[nodiscard]] status tell_end(Tx& tx, record_key const& k, held_record const& held, event_batch& events) const;

    struct own_mutation {
        bytes name;  ///< of its record
        mutation change;
        verdict const* said = nullptr;
        outbox_claim claim{};
    };
    /// A row that own mutations make, from `first` to before `last`.
    struct own_row {
        std::size_t first = 0;
        std::size_t last = 0;
        position before = 0;
        bool waits = false;
        bool was_confirmed = false;
        bool was_deleted = false;
        bool changes = false;  ///< looks otherwise than what is visible
        row state{};
        std::optional<std::size_t> told{};  ///< the row of the page that it is, where it is one: that has its state
    };
    struct own_work {
        std::vector<own_mutation> mutations{};
        std::vector<own_row> rows{};
        std::vector<bool> told{};           ///< rows of the page that were taken with their verdicts
        std::vector<std::uint64_t> said{};  ///< sequences whose verdicts were taken with their rows, ascending
        std::size_t taken = 0;              ///< … how many
        std::size_t next = 0;
        /// Whether it is among them; asked for in ascending order.
        [[nodiscard]] bool has(std::uint64_t sequence) noexcept {
            while (next != said.size() && said[next] < sequence) { ++next; }
            return next != said.size() && said[next] == sequence;
        }
    };

    // Rows that are not told whole. 'y' is there when what is held was not what the authority took it for: then the next
    // page is asked for whole.

    /// Makes whole rows of those that are told in part, or by the verdicts on this replica's own mutations. False where they
    /// can't be made, or came out otherwise than at the authority: then nothing of the page may be taken.
    template <class Tx>
    [[nodiscard]] result<bool> complete_rows(Tx& tx, sync_state const& sync, reply& p, own_work& own) const;
    /// Of the rows that are told in part.
    template <class Tx>
    [[nodiscard]] result<bool> complete_parts(Tx& tx, reply& p) const;
    /// Of those that own mutations make: into `own`, nothing is written.
    template <class Tx>
    [[nodiscard]] result<bool> complete_own(Tx& tx, reply& p, own_work& own) const;
    /// The rows of own mutations, whose verdicts and claims are noted: by applying them, or else of what is visible as far as
    /// that may be. Whether they are those that the reply has the sum of.
    template <class Tx>
    [[nodiscard]] result<bool> make_own(Tx& tx, reply const& p, std::span<outbox_claim const> claims, bool anew,
                                        own_work& own) const;
    /// Makes of a visible row on which one mutation waits what it is once that is confirmed. False where it can't be told
    /// without what was confirmed before.
    [[nodiscard]] static bool as_confirmed(held_record& held, own_mutation const& m, author_index author);
    /// Adds rows of the page that own mutations have made as they stand: each with the one on it that was decided last. Where
    /// more waits on such a record, `take_own` leaves it to the page. Nothing is written.
    template <class Tx>
    [[nodiscard]] status match_told(Tx& tx, sync_state const& sync, reply& p, own_work& own) const;
    /// What is held where such a row is taken. False where it is for the page: damaged, or not older.
    template <class Tx>
    [[nodiscard]] result<bool> meets_told(Tx& tx, record_key const& k, row const& state, own_row& r) const;
    /// Whether the reply has a verdict on each mutation that was decided and waits for one, in order.
    [[nodiscard]] static bool all_said(sync_state const& sync, reply const& p) noexcept;
    /// Takes in own rows with their verdicts in one go, where nothing else waits on the record: what `take_verdict`,
    /// `take_row` and `rebase` come to then. The others join the page's rows. Answers how many rows were taken so.
    template <class Tx>
    [[nodiscard]] result<std::size_t> take_own(Tx& tx, bool at_once, own_work& own, reply& p,
                                               event_batch& events) const;
    /// Sorts names of records, each once; those before `first` and the rest came in an order of their own.
    static void sort_names(std::vector<bytes>& names, std::size_t first);
    /// The confirmed row as it was told.
    template <class Tx>
    [[nodiscard]] result<std::optional<row>> find_as_told(Tx& tx, record_key const& k) const;
    /// What was carried, and decided by `head` at the latest, has had its effect on a record that has ended. Whether there
    /// was any. Appends to `dirty` other records that may show it no more.
    template <class Tx>
    [[nodiscard]] result<bool> end_carried(Tx& tx, bytes_view name, position head, std::vector<bytes>& dirty) const;

    /// Computes records anew, and keeps the events of it.
    template <class Tx>
    [[nodiscard]] status show(Tx& tx, std::vector<bytes> dirty, sync_state& sync, handed_report& report,
                              event_batch events = {}) const;

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
    [[nodiscard]] result<bool> holds(Tx& tx, row_update const& u, held_record const& held) const;

    /// True when the row took the place of what is held: it is newer, or, of a range that is told whole (`as_told`), not
    /// the same. `may_be_held`: false when it is known that nothing is.
    template <class Tx>
    [[nodiscard]] result<bool> take_row(Tx& tx, row_update& u, bool may_be_held, bool as_told,
                                        std::vector<bytes>& dirty, event_batch& events) const;

    /// What became of a carried group on one of its records.
    struct group_laid {
        dot id{};
        bool applies = false;
        bool shown = false;
    };

    /// Lays what is not confirmed over a record's confirmed row, in order: what was decided and no held row contains, then
    /// what waits. `told(token, mutation, outcome)` hears of each that is laid; of what was decided with the token 0.
    /// What is carried for others goes between what waits, by its stamp. `done_with(keys, carried)` takes those of decided
    /// ones that the row has, and answers a status; `groups` those of others' groups. Whether there were any to lay.
    template <class Tx, class F, class G>
    [[nodiscard]] result<bool> lay_over(Tx& tx, record_key const& k, sync_state const& sync, std::optional<row>& now,
                                        F&& told, G&& done_with, std::vector<group_laid>* groups = nullptr) const;

    /// Computes records anew, and then those that show others' groups with them. It comes to an end, for whether a group
    /// shows depends on earlier ones only; beyond a bound, for strangers' sake, the rest waits until it is touched again.
    template <class Tx>
    [[nodiscard]] status rebase_all(Tx& tx, std::vector<bytes> names, sync_state const& sync,
                                    event_batch& events) const;
    static constexpr std::size_t spread_max = 10'000;

    /// Computes a record anew: what is confirmed, plus what is not, in order. Appends to `spread` the records that are to
    /// be computed after it.
    template <class Tx>
    [[nodiscard]] status rebase(Tx& tx, bytes_view name, sync_state const& sync, event_batch& events,
                                std::vector<bytes>& spread) const;

    // Incarnations that were left when the authority was put back, so that nothing waits for what is not issued under them
    // any more: 'm', the last of them in order.

    template <class Tx>
    [[nodiscard]] result<std::vector<std::uint32_t>> read_left(Tx& tx) const;
    template <class Tx>
    [[nodiscard]] status note_left(Tx& tx) const;

    /// A new identity: the authority knows mutations under the old one that this store doesn't, or lost some that it
    /// knew. What is frozen without a verdict is issued again under the new name, after all that is offered again: that
    /// was decided once, so what is later on its record was made on it, also where it was frozen behind that since.
    template <class Tx, class G>
    [[nodiscard]] status reincarnate(Tx& tx, sync_state& sync, G& random, std::vector<decided_mutation> lost = {},
                                     position base_max = no_position) const;

    // Conflicts: 'c' token -> the parked mutation, what its writer saw, the fields that wait.

    template <class Tx>
    [[nodiscard]] static status park(Tx& tx, std::uint64_t token, pending const& p, verdict const& v);

    [[nodiscard]] static status parse_conflict(bytes_view k, bytes_view raw, open_conflict& c);
    template <class Tx>
    [[nodiscard]] result<open_conflict> find_conflict(Tx& tx, std::uint64_t token) const;

    /// Drops the parked mutation.
    template <class Tx>
    [[nodiscard]] status end_conflict(Tx& tx, open_conflict const& c, timestamp when, journal_choice choice) const;

    rule_table rules_;
    replica_options options_;
    outbox outbox_;
    range_list wanted_{"rw"};
    scope_book scopes_{"rz"};
    relay_book carried_;
    SYNCLINE_NO_UNIQUE_ADDRESS Records records_;
    SYNCLINE_NO_UNIQUE_ADDRESS Journal journal_;
};

}  // namespace syncline::inline SYNCLINE_ABI
