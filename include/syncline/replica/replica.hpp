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
            auto const scoped = scopes_.read(tx);
            if (!scoped) { return scoped.error(); }
            if (scoped->has_value() != options_.scoped) {
                return failure{errc::invalid, "the store began with scopes, or without"};
            }
            auto sync = read_sync(tx);
            if (!sync) { return sync.error(); }
            sync->line = new_line(random);
            if (auto ok = tell_versions(tx, false, now); !ok) { return ok; }
            if (auto ok = want_withheld(tx); !ok) { return ok; }
            return write_sync(tx, *sync);
        }
        identity mine;
        mine.self = {make_id(now.wall, random), static_cast<std::uint32_t>(random() >> 33) + 1};
        mine.principal = std::string{principal};
        if (auto ok = write_identity(tx, mine); !ok) { return ok; }
        sync_state sync;
        sync.line = new_line(random);
        if (auto ok = want_everything(tx); !ok) { return ok; }
        if (options_.scoped) {
            if (auto ok = scopes_.write(tx, {}); !ok) { return ok; }
        }
        journal_note note;
        note.what = journal_event::bound;
        note.stamp = timestamp::make(now.wall);
        if (auto ok = tell(tx, note); !ok) { return ok; }
        if (auto ok = tell_versions(tx, true, now); !ok) { return ok; }
        return write_sync(tx, sync);
    }

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
    [[nodiscard]] status renew(Tx& tx, G& random) const {
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        if (auto ok = reincarnate(tx, *sync, random); !ok) { return ok; }
        event_batch events;
        events.add_reincarnation();
        ++sync->events;
        if (auto ok = tx.put(numbered('e', sync->events), events.encode()); !ok) { return ok; }
        if (auto ok = tell_undated(tx, journal_event::renamed, nullptr, {}); !ok) { return ok; }
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

    /// The record as the person sees it. Nothing when it is deleted or never was. What is not confirmed yet counts in an
    /// eventual collection; in a strong one it doesn't, and `pending` says that something waits: see `read_pending`.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<record>> read(Tx& tx, record_key const& k) const {
        if (!rules_.of(k.collection).strong()) { return read_pending(tx, k); }
        auto held = find_held(tx, k);
        if (!held) { return held.error(); }
        if (auto ok = reveal_confirmed(tx, k, *held); !ok) { return ok.error(); }
        auto r = as_read(k, std::move(*held));
        if (r && r->closed) { return failure{errc::unsupported, "a record of a later schema version"}; }
        return r;
    }
    /// What is confirmed and what waits together, in a strong collection too: what the record becomes, if all that waits
    /// on it and can still be confirmed is.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<record>> read_pending(Tx& tx, record_key const& k) const {
        auto entry = read_visible(tx, k);
        if (!entry) { return entry.error(); }
        if (!entry->present || entry->state.deleted) { return std::optional<record>{}; }
        return std::optional<record>{record{std::move(entry->state.fields), entry->confirmed, entry->dirty}};
    }
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
    [[nodiscard]] result<std::optional<row>> read_confirmed(Tx& tx, record_key const& k) const {
        auto entry = read_visible(tx, k);
        if (!entry) { return entry.error(); }
        if (!entry->dirty) {
            if (!entry->present) { return std::optional<row>{}; }
            return std::optional<row>{std::move(entry->state)};
        }
        return records_.find_confirmed(tx, k);
    }

    /// Where the authority has decided the last mutation on a record that has its verdict and is in no confirmed row here
    /// yet; 0: there is none. `errc::corrupt`, the storage's. Cost: a scan of those.
    template <storage_transaction Tx>
    [[nodiscard]] result<position> decided_at(Tx& tx, record_key const& k) const {
        if (!valid(k)) { return failure{errc::invalid, "record key"}; }
        position last = 0;
        status outcome;
        bytes const head = decided_prefix(to_bytes(k));
        auto const ok = scan_prefix(tx, head, [&](bytes_view, bytes_view raw) {
            cbor_reader in{raw};
            bool const offered = in.array() != 3;  // again: it has no verdict any more
            position const at = in.unsigned_integer();
            if (!offered) { last = (std::max)(last, at); }
            if (in.failed()) { outcome = failure{errc::corrupt, "decided mutation"}; }
            return outcome.has_value();
        });
        if (!ok) { return ok.error(); }
        if (!outcome) { return outcome.error(); }
        return last;
    }

    /// Every record of a collection in the order of ids, as `read` shows it.
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, std::string_view collection,
                              function_ref<bool(record_key const&, record const&)> visit) const {
        if (!rules_.of(collection).strong()) { return scan_pending(tx, collection, visit); }
        status outcome;
        auto ok = records_.scan(tx, collection, [&](record_key const& k, held_record& h) {
            std::optional<held_record> held{std::move(h)};
            outcome = reveal_confirmed(tx, k, held);
            if (!outcome) { return false; }
            auto const r = as_read(k, std::move(held));
            return r ? visit(k, *r) : true;
        });
        return ok ? outcome : ok;
    }
    /// The same, as `read_pending` shows it.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_pending(Tx& tx, std::string_view collection,
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
        auto const laid = lay_over(tx, k, *sync, over, tell, [](auto const&, auto const&) { return status{}; });
        return laid ? status{} : laid.error();
    }

    // Scopes, of a replica that is `replica_options::scoped`; `errc::invalid` for any other.

    /// Asks for a scope from now on; the next exchanges bring its records. Joined already, nothing changes. `errc::limit` for
    /// more than `scopes_max`.
    template <storage_transaction Tx>
    [[nodiscard]] status join(Tx& tx, scope const& what) const {
        if (!valid(what)) { return failure{errc::invalid, "no scope"}; }
        auto state = scope_state(tx);
        if (!state) { return state.error(); }
        auto all = scopes_.list(tx);
        if (!all) { return all.error(); }
        auto const same = [&](held_scope const& h) { return scope_book::asked(h) && h.what == what; };
        if (std::any_of(all->begin(), all->end(), same)) { return {}; }
        if (std::count_if(all->begin(), all->end(), scope_book::asked) >= static_cast<std::ptrdiff_t>(scopes_max)) {
            return failure{errc::limit, "too many scopes"};
        }
        if (auto ok = scopes_.put(tx, {state->next++, held_scope::state::joining, what, {}, 0}); !ok) { return ok; }
        ++state->generation;
        return scopes_.write(tx, *state);
    }
    /// Asks for a scope no more. Its records go, by `evict` and with each exchange: those that are in no other scope, and on
    /// which nothing pends; these go when that is decided. Nothing is deleted. `errc::not_found` where it isn't joined.
    template <storage_transaction Tx>
    [[nodiscard]] status leave(Tx& tx, scope const& what) const {
        auto state = scope_state(tx);
        if (!state) { return state.error(); }
        auto all = scopes_.list(tx);
        if (!all) { return all.error(); }
        auto const same = [&](held_scope const& h) { return scope_book::asked(h) && h.what == what; };
        auto const found = std::find_if(all->begin(), all->end(), same);
        if (found == all->end()) { return failure{errc::not_found, "no such scope is joined"}; }
        found->is = held_scope::state::leaving;
        if (auto ok = scopes_.put(tx, *found); !ok) { return ok; }
        if (auto ok = scopes_.end_replaced(tx, found->number, *all); !ok) { return ok; }
        ++state->generation;
        return scopes_.write(tx, *state);
    }
    /// Visits the scopes in the order in which they were joined, those that are still being left too.
    template <storage_transaction Tx>
    [[nodiscard]] status scopes(Tx& tx, function_ref<bool(held_scope const&)> visit) const {
        auto all = scopes_.list(tx);
        if (!all) { return all.error(); }
        for (held_scope const& h : *all) {
            if (!visit(h)) { break; }
        }
        return {};
    }
    /// Joins a scope once more that is `complete`: all of it is told anew. What is held of it stays visible until then, and goes
    /// where it is not told again. `errc::not_found` where no scope of this number is complete.
    template <storage_transaction Tx>
    [[nodiscard]] status rejoin(Tx& tx, std::uint64_t number) const {
        auto state = scope_state(tx);
        if (!state) { return state.error(); }
        auto all = scopes_.list(tx);
        if (!all) { return all.error(); }
        auto const found = std::find_if(all->begin(), all->end(), [&](held_scope const& h) {
            return h.number == number && h.is == held_scope::state::complete;
        });
        if (found == all->end()) { return failure{errc::not_found, "no such scope is complete"}; }
        held_scope const old = *found;
        if (auto ok = scopes_.join_again(tx, *state, old, false, *all); !ok) { return ok; }
        ++state->generation;
        return scopes_.write(tx, *state);
    }
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
                                    function_ref<bool(record_key const&, row const&)> visit) const {
        status outcome;
        auto const ok = scopes_.scan(tx, number, r.from, r.to, [&](bytes_view name) {
            auto const k = record_key_from(name);
            auto held =
                k ? read_confirmed(tx, *k) : result<std::optional<row>>{failure{errc::corrupt, "scopes of a record"}};
            if (!held) { outcome = held.error(); }
            return outcome.has_value() && (!*held || visit(*k, **held));
        });
        return ok ? outcome : ok;
    }
    /// Lets go of up to `budget` records of scopes that were left, or refused; true: call again. Exchanges do so too, step
    /// by step. The event `evicted` tells of each record that is no longer seen.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> evict(Tx& tx, std::size_t budget) const {
        if (auto state = scope_state(tx); !state) { return state.error(); }
        event_batch events;
        std::vector<bytes> hidden;
        auto const more = evict_left(tx, budget, hidden, events);
        if (!more) { return more; }
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        if (auto ok = rebase_all(tx, std::move(hidden), *sync, events); !ok) { return ok.error(); }
        if (events.empty()) { return more; }
        ++sync->events;
        if (auto ok = tx.put(numbered('e', sync->events), events.encode()); !ok) { return ok.error(); }
        if (auto ok = write_sync(tx, *sync); !ok) { return ok.error(); }
        return more;
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
                                            priority urgency = priority::normal) const {
        auto current = read_pending(tx, k);
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
        auto current = decoded<T>(read_pending(tx, record_key{collection<T>(), id}));
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
    /// outbox full), `errc::contended` where something waits on a record of a strong collection, and on the errors of
    /// `create`, `update` and `erase` for any part. One part in a strong collection makes the whole conditional.
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
        event_batch events;
        std::vector<bytes> dirty;
        std::vector<outbox_payload> frozen;
        frozen.reserve(taken->size());
        for (outbox_entry const& entry : *taken) {
            auto p = pending::parse(entry.payload);
            auto const goes = p ? sendable(tx, *sync, p->encoded.size()) : result<bool>{true};
            if (!goes) { return goes.error(); }
            if (!*goes) {
                auto const ok = sync->epoch ? refuse_unsent(tx, entry, *p, now, dirty, events)
                                            : outbox_.give_back(tx, entry.token, entry.fence);
                if (!ok) { return ok; }
                continue;
            }
            if (auto ok = freeze(tx, *sync, entry.token, entry.fence, std::move(p), false, &frozen); !ok) { return ok; }
        }
        if (auto ok = outbox_.set_payloads(tx, frozen); !ok) { return ok; }
        if (auto ok = rebase_all(tx, std::move(dirty), *sync, events); !ok) { return ok; }
        if (!events.empty()) {
            ++sync->events;
            if (auto ok = tx.put(numbered('e', sync->events), events.encode()); !ok) { return ok; }
        }
        if (frozen.empty()) { return events.empty() ? status{} : write_sync(tx, *sync); }
        journal_note note;
        note.what = journal_event::froze;
        note.stamp = timestamp::make(now.wall);
        note.count = frozen.size();
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
        exchange_limits const own = own_limits();
        q.bytes_max = (std::min)(options_.bytes_max, own.message_max);
        if (own != exchange_limits{}) { q.limits = own; }
        q.line = sync->line;
        if (sync->kept) {
            q.known = sync->told();
            q.horizon = sync->kept->horizon;
        }
        q.features = feature_columns | feature_marks;
        if (options_.rows_in_parts) {
            bytes raw;
            auto const whole = tx.get(key('y'), raw);
            if (!whole) { return whole.error(); }
            q.features |= *whole ? 0 : feature_parts;
        }
        if (options_.schemas != nullptr) {
            options_.schemas->each([&](std::string_view name, schema_version v) {
                if (v != 1) { q.schemas.push_back({std::string(name), v}); }
            });
        }
        if (options_.scoped) {
            auto asked = scopes_asked(tx);
            if (!asked) { return asked.error(); }
            q.scopes = std::move(*asked);
        } else {
            if (options_.compared_rows != 0) { q.features |= feature_sums; }
            if (auto ok = ask_ranges(tx, *sync, own, q); !ok) { return ok.error(); }
        }
        auto const understood = authority_understands(tx);
        if (!understood) { return understood.error(); }
        bool waits_for_needs = false;
        std::uint64_t room = 0;
        std::uint64_t relayed = 0;
        if (options_.relay) {
            auto left = read_left(tx);
            if (!left) { return left.error(); }
            q.left = std::move(*left);
        }
        // An authority that takes none beside scopes would refuse all of it.
        if (options_.relay && (!options_.scoped || (*understood & feature_scoped_relay) != 0)) {
            auto const most = relayed_max(tx, *sync);
            if (!most) { return most.error(); }
            room = *most;
            auto home = carried_.due(tx, room);
            if (!home) { return home.error(); }
            for (relayed_item const& item : *home) { relayed += item.sealed.size(); }
            q.relayed = std::move(*home);
            auto const untaken = carried_.untaken(tx);
            if (!untaken) { return untaken.error(); }
            waits_for_needs = !*untaken;
        }
        std::size_t size = 0;
        std::optional<exchange_limits> told_by_authority;
        status looked;
        auto ok = each_frozen(tx, [&](frozen_mutation& f) {
            pending& p = f.what;
            // What it builds on goes first: the authority is to have answered about it once.
            for (dot const& d : p.needs) {
                if (!waits_for_needs) { break; }
                auto const comes = still_comes(tx, d, room, {mine->self, f.sequence}, sync->settled);
                if (!comes) { looked = comes.error(); }
                if (!comes || *comes) { return false; }
            }
            if (q.mutations.size() >= options_.mutations_max ||
                (size != 0 && size + p.encoded.size() > options_.mutation_bytes)) {
                return false;
            }
            bool const first = size == 0 && relayed == 0;
            std::size_t const together = relayed + size + p.encoded.size();
            auto const goes = first ? result<bool>{true} : sendable(tx, *sync, together, true, &told_by_authority);
            if (!goes) { looked = goes.error(); }
            if (!goes || (!*goes && size != 0)) { return false; }
            if (!*goes && q.relayed) {
                q.relayed->clear();
                relayed = 0;
            }
            size += p.encoded.size();
            q.mutations.push_back(std::move(p.encoded));
            q.origins.push_back({p.line, f.number});
            return true;
        });
        if (ok) { ok = looked; }
        if (!ok) { return ok.error(); }
        told.counted(metric_counter::entries_sent, q.mutations.size());
        return encode(q, *understood);
    }

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
            // To what was asked before an authority was known that expects to be put back; another one's tells no `asked`.
            if (sync->kept && !p->asked && p->stable) { return nothing_taken(tx, now); }
            if (!sync->kept || !p->asked) { return failure{errc::authority_changed, "another authority answered"}; }
            if (p->author != unknown_author && knows_more(*sync, *p)) { return nothing_taken(tx, now); }
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
        sync_state const before = *sync;
        exchange_report report;
        bool passed = false;  // a page that is of no use
        scope_taking taking;
        if (options_.scoped) {
            if (!p->scopes) { return failure{errc::unsupported, "the authority knows no scopes"}; }
            auto begun = begin_scopes(tx, *p, sync->cursor, taking);
            if (!begun) { return begun.error(); }
            if (!*begun) { return nothing_taken(tx, now); }  // to what it asked for before
        } else if (p->scopes) {
            return failure{errc::foreign, "scopes that were not asked for"};
        } else if (p->from > sync->reached()) {
            // A first sync begins at the head of its first answer; so does a replica that stands below the horizon. Of
            // another answer to its question the rows are of no use; nor is an answer to what it asked before it began to
            // read the log.
            bool const whole = p->from == p->to;
            auto const reads = reading_log(tx);
            if (!reads) { return reads.error(); }
            bool const late = *reads && (!whole || (p->features & feature_ranges) == 0);
            if (!whole && !late) { return failure{errc::foreign, "a page that does not follow the cursor"}; }
            auto const none = wanted_.empty(tx);
            if (!none) { return none.error(); }
            bool const lapsed = sync->reached() < p->horizon;
            if (late) {
                passed = true;
            } else if (lapsed) {
                auto const all = wants_everything(tx);
                if (!all) { return all.error(); }
                if (auto ok = want_everything(tx); !ok) { return ok.error(); }
                if (auto ok = drop_staged(tx, *sync); !ok) { return ok.error(); }
                report.rejoined = sync->cursor != 0;
                // At the cursor 0 something is held where the authority was put back, and that is being compared.
                auto const compares = read_comparison(tx);
                if (!compares) { return compares.error(); }
                // The answer may come again, or be of no use for now: what was begun and told nothing yet goes on.
                auto const begun = *all && *compares ? result<fallback_kind>{fallback_kind::compared}
                                                     : begin_comparison(tx, *p, report.rejoined || *compares, random);
                if (!begun) { return begun.error(); }
                if (report.rejoined) { report.fallback = *begun; }
            } else {
                passed = sync->reached() != 0 || *none;
                // Some of it may be wanted no more: told when there was nothing, which the head is past.
                if (auto ok = passed ? status{} : want_everything(tx); !ok) { return ok.error(); }
            }
        }
        bool by_log = false;  // an authority that knows no ranges tells its log instead
        bool const follows = !options_.scoped && p->from <= sync->reached();
        if (follows && p->ranges.empty() && (p->features & feature_ranges) == 0) {
            auto const none = wanted_.empty(tx);
            if (!none) { return none.error(); }
            by_log = !*none;
            auto const goes_on = by_log ? reads_log(tx, *sync) : result<bool>{true};
            if (!goes_on) { return goes_on.error(); }
            passed = !*goes_on;
            report.rejoined = passed;
            if (passed) { report.fallback = fallback_kind::full; }
        }
        // A page of nothing that begins after the cursor is the answer to a first sync that went on since: what is kept
        // back is of a later time, and does not lead up to it.
        passed = passed || (sync->staged != 0 && p->from > sync->cursor && p->from == p->to);

        own_work own;
        if (!p->own.empty() || !p->parts.empty()) {
            auto const whole = complete_rows(tx, *sync, *p, own);
            if (!whole) { return whole.error(); }
            if (!*whole) {
                own = {};
                p->rows.clear();
                p->to = p->from;
            }
        }

        event_batch events;
        std::vector<bytes> dirty;  // record keys to compute anew
        if (auto ok = note_limits(tx, p->limits); !ok) { return ok.error(); }
        sync->epoch = p->epoch;
        sync->author = p->author;
        if (elsewhere) {
            if (auto ok = write_past(tx, std::move(past)); !ok) { return ok.error(); }
            if (options_.relay) {
                auto const doubted = carried_.doubt(tx, before.told());
                if (!doubted) { return doubted.error(); }
                dirty.insert(dirty.end(), doubted->begin(), doubted->end());
            }
        }
        if (!before.epoch && !p->past.empty()) {
            if (auto ok = write_past(tx, p->past); !ok) { return ok.error(); }
        }
        if (p->stable && !sync->kept) {
            // What was decided before is not kept: an older state than this is not to be had back.
            sync->kept.emplace();
            sync->kept->from = before.told();
        }

        std::vector<std::pair<std::uint64_t, verdict const*>> parked;  // tokens of new conflicts
        bool fork = false;                                             // another content under our name
        bool unknown = false;                                          // what we never sent, or never settled, was
        bool const at_once = !elsewhere && all_said(*sync, *p);
        if (at_once && !passed) {
            if (auto ok = match_told(tx, *sync, *p, own); !ok) { return ok.error(); }
        }
        if (!own.rows.empty()) {
            auto const taken = take_own(tx, at_once, own, *p, events);
            if (!taken) { return taken.error(); }
            report.verdicts += own.taken;
            report.rows += *taken;
        }
        for (verdict const& v : p->verdicts) {
            if (own.has(v.sequence)) { continue; }
            auto handled = take_verdict(tx, v, now, p->head, *sync, dirty, events, parked);
            if (!handled) { return handled.error(); }
            report.verdicts += *handled == verdict_effect::none ? 0 : 1;
            fork = fork || *handled == verdict_effect::forked;
            unknown = unknown || *handled == verdict_effect::forgotten;
            report.wait = report.wait || v.kind == verdict_kind::retry_after || v.kind == verdict_kind::collateral;
        }

        std::size_t const decided = dirty.size();
        if (report.verdicts != 0) {
            if (auto ok = settle(tx, *sync); !ok) { return ok.error(); }
        }

        if (options_.relay) {
            // It was not asked where it was not yet known to take any beside scopes.
            bool const unasked = options_.scoped && (p->features & feature_scoped_relay) != 0;
            if (auto ok = carried_.set_untaken(tx, !p->relayed && !unasked); !ok) { return ok.error(); }
            if (!p->relayed) { p->relayed.emplace(); }
            for (relay_answer const& a : *p->relayed) {
                auto concerns = carried_.take(tx, a, p->head);
                if (!concerns) { return concerns.error(); }
                if (concerns->empty()) { continue; }
                // Of a record that is not told here no row will come that contains it.
                for (bytes const& name : *concerns) {
                    auto const shown = shows_others(tx, name);
                    if (!shown) { return shown.error(); }
                    auto const ended = *shown ? result<bool>{false} : end_carried(tx, name, no_position);
                    if (!ended) { return ended.error(); }
                }
                std::move(concerns->begin(), concerns->end(), std::back_inserter(dirty));
                ++report.relayed;
            }
            // What builds on an own one that was decided just now came before it, and was answered that it needs it.
            if (report.verdicts != 0) {
                auto ok = carried_.ask_again(tx, {mine->self, sync->settled});
                if (!ok) { return ok.error(); }
            }
        }

        // Overtaken by a reply that told a verdict which this one doesn't: its rows may hold what still waits here,
        // and would show it twice. They come again with the verdict.
        auto const overtaken = unheard(tx, *sync, *p);
        if (!overtaken) { return overtaken.error(); }
        passed = passed || (*overtaken && !fork) || p->to < sync->staged;
        if (passed) {
            if (options_.scoped) {
                if (auto ok = note_untaken(tx, taking, *p); !ok) { return ok.error(); }
            }
            p->rows.clear();
            p->ranges.clear();
            p->same.reset();
            p->withheld.clear();
            // Who hands its own on says with its cursor that nothing up to it contains them.
            if (options_.scoped || options_.relay) { p->from = sync->cursor; }
            p->to = sync->cursor;
        }
        bool const scopes_told = options_.scoped && !passed;
        if (p->partial && !passed) {
            if (auto ok = stage(tx, *p); !ok) { return ok.error(); }
            report.advanced = p->to > sync->reached();
            sync->staged = (std::max)(sync->staged, p->to);
            p->to = sync->cursor;
        } else if (sync->staged != 0 && !passed) {
            if (auto ok = unstage(tx, *p, *sync); !ok) { return ok.error(); }
        }
        if (auto ok = take_withheld(tx, *p); !ok) { return ok.error(); }
        report.withheld = p->withheld.size();
        std::vector<bytes> kept_back;
        for (withheld_record const& one : p->withheld) { kept_back.push_back(to_bytes(one.key)); }
        std::sort(kept_back.begin(), kept_back.end(), [](bytes const& a, bytes const& b) { return compare(a, b) < 0; });
        auto const came = sync->kept && sync->kept->orphans != 0 ? arrivals_of(tx, *p) : result<arrivals>{arrivals{}};
        if (!came) { return came.error(); }
        if (auto ok = learn_clock(tx, p->rows, now); !ok) { return ok.error(); }
        std::size_t in_ranges = 0;
        for (told_range const& a : p->ranges) { in_ranges += a.rows; }
        std::size_t next = p->rows.size() - in_ranges;
        if (options_.scoped) { next = 0; }  // they stand in no order of positions
        for (std::size_t i = 0; i < next; ++i) {
            if (i < own.told.size() && own.told[i]) { continue; }
            // Passed already, and perhaps a tombstone that everybody has and that is gone here too.
            if (p->rows[i].state.version <= sync->cursor) { continue; }
            auto taken = take_row(tx, p->rows[i], true, false, dirty, events);
            if (!taken) { return taken.error(); }
            report.rows += *taken ? 1 : 0;
        }
        if (scopes_told) {
            for (row_update& u : p->rows) {
                // Each reply that is taken is of a later state than all that is held.
                auto taken = take_row(tx, u, true, true, dirty, events);
                if (!taken) { return taken.error(); }
                report.rows += *taken ? 1 : 0;
                if (auto ok = end_overlay(tx, to_bytes(u.key), p->head, dirty); !ok) { return ok.error(); }
            }
            bool const masks = options_.relay && taking.state.mask != p->scopes->mask;
            auto moved = take_scopes(tx, *p, taking, dirty, events);
            if (!moved) { return moved.error(); }
            report.advanced = *moved;
            if (masks) {
                if (auto ok = take_mask(tx, taking.state, dirty); !ok) { return ok.error(); }
            }
            auto const anew = [](scope_answer const& a) { return a.standing == scope_standing::anew; };
            report.rejoined = std::any_of(p->scopes->answers.begin(), p->scopes->answers.end(), anew);
        } else if (options_.scoped) {
            // Where what was written is, is told with its verdict, and not again if it is in no scope.
            for (bytes const& name : p->scopes->gone) {
                if (auto ok = let_go(tx, name, dirty, events); !ok) { return ok.error(); }
            }
        }
        for (told_range& a : p->ranges) {
            std::span<row_update> const told = std::span{p->rows}.subspan(next, a.rows);
            next += a.rows;
            auto taken = take_range(tx, a.covered, told, kept_back, p->head, dirty, events, now);
            if (!taken) { return taken.error(); }
            report.rows += *taken;
            report.advanced = true;
        }
        if (!options_.scoped && !passed) {
            auto const same = take_same(tx, *p, dirty, events, now);
            if (!same) { return same.error(); }
            report.same = *same;
            report.advanced = report.advanced || *same != 0;
        }
        // Where nothing came, what was refused would be refused as before.
        bool const offers = sync->kept && sync->kept->orphans != 0 && (report.rows != 0 || report.withheld != 0);
        if (offers) {
            if (auto ok = each_orphaned(tx, dirty); !ok) { return ok.error(); }
        }
        if (options_.relay) {
            // A row may contain what is carried and shows no more.
            auto const carries = carried_.totals(tx);
            if (!carries) { return carries.error(); }
            for (std::size_t i = 0; carries->count != 0 && i < p->rows.size(); ++i) {
                dirty.emplace_back(to_bytes(p->rows[i].key));
            }
        }
        sort_names(dirty, decided);
        std::vector<bytes> spread;
        for (bytes const& k : dirty) {
            auto ok = offers ? offer_orphans(tx, k, *came, *sync) : status{};
            if (ok) { ok = rebase(tx, k, *sync, events, spread); }
            if (ok && options_.scoped) { ok = release(tx, k, spread, events); }
            if (!ok) { return ok.error(); }
        }
        if (options_.scoped) {
            if (auto more = evict_left(tx, evicted_max, spread, events); !more) { return more.error(); }
        }
        if (auto ok = rebase_all(tx, std::move(spread), *sync, events); !ok) { return ok.error(); }
        if (auto ok = tell_parked(tx, parked, sync->author, now); !ok) { return ok.error(); }

        report.advanced = report.advanced || p->to > sync->cursor;
        if (options_.rows_in_parts && p->to > sync->cursor) {
            if (auto ok = tx.erase(key('y')); !ok) { return ok.error(); }
        }
        if (options_.scoped && ((scopes_told && (report.advanced || !p->rows.empty())) || !p->scopes->gone.empty())) {
            ++taking.state.generation;
            if (auto ok = scopes_.write(tx, taking.state); !ok) { return ok.error(); }
        }
        sync->cursor = (std::max)(sync->cursor, p->to);
        sync->head = (std::max)(sync->head, p->head);
        if (by_log && !passed && sync->cursor == sync->head) {
            if (auto ok = wanted_.cover(tx, every_record()); !ok) { return ok.error(); }
        }
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
            note.author = sync->author;
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
        bool const moved = !(*sync == before);
        if (moved) {
            if (auto ok = write_sync(tx, *sync); !ok) { return ok.error(); }
        }
        // One that brings nothing may be an old one, told before another program took the authority's place.
        if (moved || report.verdicts != 0 || report.rows != 0) {
            if (auto ok = note_understood(tx, p->features); !ok) { return ok.error(); }
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
        auto const told = nothing_to_come(tx);
        if (!told) { return told.error(); }
        if (!*told) { return true; }
        if (options_.relay) {
            auto const untaken = carried_.untaken(tx);
            if (!untaken) { return untaken.error(); }
            auto const room = relayed_max(tx, *sync);
            if (!room) { return room.error(); }
            auto const asks = carried_.asks(tx, *room);
            if (!asks) { return asks.error(); }
            if (*asks && !*untaken) { return true; }
        }
        auto due = outbox_.next_due(tx, now.wall);
        if (!due) { return due.error(); }
        return *due && **due <= now.wall;
    }

    // Handing over, device to device; replica/peer_exchange.hpp does.

    /// Freezes all that waits, in the order in which it was written, so that it can be handed on: from then on its bytes,
    /// sequences and order never change. `errc::invalid` without `replica_options::relay`. Cost: O(pending).
    template <storage_transaction Tx>
    [[nodiscard]] status prepare_handover(Tx& tx, instant now) const {
        if (!options_.relay) { return failure{errc::invalid, "a replica that hands nothing on"}; }
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        std::size_t const in_flight = static_cast<std::size_t>(sync->next_sequence - 1 - sync->settled);
        if (in_flight >= options_.relay->sealed_max) { return {}; }
        std::size_t const room = options_.relay->sealed_max - in_flight;
        constexpr milliseconds for_ever = (milliseconds::max)();
        claim_options claims;
        claims.entries_max = room;
        claims.bytes_max = options_.relay->carried_bytes;
        claims.lease = for_ever;
        claims.record_run_max = room;
        claims.order = claim_order::arrival;
        auto taken = outbox_.claim(tx, claims, now.wall);
        if (!taken) { return taken.error(); }
        // Those behind what was frozen before.
        std::vector<std::uint64_t> behind;
        auto ok = outbox_.scan(tx, [&](outbox_entry const& e) {
            if (e.state == entry_state::blocked) { behind.push_back(e.token); }
            return true;
        });
        if (!ok) { return ok; }
        std::sort(behind.begin(), behind.end());
        for (std::uint64_t const token : behind) {
            if (taken->size() >= room) { break; }
            auto one = outbox_.claim_behind(tx, token, now.wall, for_ever);
            if (!one) { return one.error(); }
            if (*one) { taken->push_back(std::move(**one)); }
        }
        if (taken->empty()) { return {}; }
        std::sort(taken->begin(), taken->end(),
                  [](outbox_entry const& a, outbox_entry const& b) { return a.token < b.token; });
        std::size_t frozen = 0;
        std::vector<bytes> stays;  // records whose next is not handed over
        for (outbox_entry const& entry : *taken) {
            auto p = pending::parse(entry.payload);
            // In a strong collection on what waits before it: its base is not known till that has its verdict. Or too
            // large for an authority as far as is known.
            bool waits = p && p->after != 0 && p->after != pending::alone;
            std::vector<bytes> records = entry.more_records;
            records.push_back(entry.record);
            waits = waits || std::any_of(records.begin(), records.end(), [&](bytes const& r) {
                        return std::find(stays.begin(), stays.end(), r) != stays.end();
                    });
            if (p && !waits) {
                auto const goes = sendable(tx, *sync, p->encoded.size());
                if (!goes) { return goes.error(); }
                waits = !*goes;
            }
            if (waits) {
                std::move(records.begin(), records.end(), std::back_inserter(stays));
                if (ok = outbox_.give_back(tx, entry.token, entry.fence); !ok) { return ok; }
                continue;
            }
            if (ok = freeze(tx, *sync, entry.token, entry.fence, std::move(p), false); !ok) { return ok; }
            ++frozen;
        }
        if (frozen == 0) { return {}; }
        journal_note note;
        note.what = journal_event::froze;
        note.stamp = timestamp::make(now.wall);
        note.count = frozen;
        if (ok = tell(tx, note); !ok) { return ok; }
        return write_sync(tx, *sync);
    }

    template <storage_transaction Tx>
    [[nodiscard]] result<meeting_state> meeting(Tx& tx) const {
        auto mine = read_identity(tx);
        if (!mine) { return mine.error(); }
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        meeting_state out{mine->self, sync->epoch, sync->cursor, {mine->self, sync->settled, {}}};
        if (sync->settled + 1 < sync->next_sequence) {
            out.own.held.add(interval{sync->settled + 1, sync->next_sequence - 1});
        }
        return out;
    }

    /// Visits this replica's own frozen mutations without a verdict, in sequence, as envelopes to be sealed; until the
    /// visitor says false. It may read, not write.
    template <storage_transaction Tx>
    [[nodiscard]] status each_own(Tx& tx, function_ref<bool(std::uint64_t sequence, envelope const&)> visit) const {
        auto mine = read_identity(tx);
        if (!mine) { return mine.error(); }
        envelope e;
        e.realm = carried_.options().realm;
        e.principal = mine->principal;
        e.author = mine->self;
        return each_frozen(tx, [&](frozen_mutation& f) {
            e.from = {f.what.line, f.number};
            e.needs = std::move(f.what.needs);
            e.frozen = std::move(f.what.encoded);
            return visit(f.sequence, e);
        });
    }

    /// Carries what a peer hands over, and shows it. What is not its author's, and whatever is no envelope, is left out
    /// and counted. Errors: the storage's, `errc::corrupt`; `errc::invalid` without `replica_options::relay`.
    template <storage_transaction Tx>
    [[nodiscard]] result<handed_report> take_envelopes(Tx& tx, std::span<handed_envelope const> all,
                                                       handing_peer const& peer, instant now) const {
        if (!options_.relay) { return failure{errc::invalid, "a replica that carries nothing"}; }
        auto mine = read_identity(tx);
        if (!mine) { return mine.error(); }
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        auto heard = read_clock(tx);
        if (!heard) { return heard.error(); }
        timestamp const before = heard->last();
        handed_report report;
        std::vector<bytes> dirty;
        auto const touch = [&](mutation const& m) {
            each_part(m, [&](mutation const& part) { dirty.push_back(to_bytes(part.record)); });
        };
        for (handed_envelope const& h : all) {
            auto const e = open_envelope(h.sealed, options_.message);
            if (!e) {
                ++report.refused;
                continue;
            }
            if (e->said.author.device == mine->self.device) {
                ++report.known;
                continue;
            }
            bool const ours = e->said.realm == options_.relay->realm;
            relay_gate const* const gate = options_.relay->gate;
            if (!ours || (gate != nullptr && !gate->admits(*e, peer.replica, peer.principal))) {
                ++report.refused;
                report.left_out.push_back(e->id());
                continue;
            }
            bool const distant = !heard->accept(e->change.stamp, now.wall);
            auto const taken = carried_.add(tx, *e, peer.same_epoch ? h.clear : 0, distant);
            if (!taken) { return taken.error(); }
            switch (*taken) {
                case relay_taking::added:
                    ++report.added;
                    report.distant += distant ? 1 : 0;
                    touch(e->change);
                    break;
                case relay_taking::known:
                    ++report.known;
                    touch(e->change);
                    break;
                case relay_taking::full:
                    ++report.full;
                    report.left_out.push_back(e->id());
                    break;
                case relay_taking::forked:
                    ++report.forked;
                    report.left_out.push_back(e->id());
                    break;
            }
        }
        if (heard->last() != before) {
            if (auto ok = write_clock(tx, *heard); !ok) { return ok.error(); }
        }
        if (auto ok = show(tx, std::move(dirty), *sync, report); !ok) { return ok.error(); }
        return report;
    }

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
                                                       std::span<std::vector<std::uint64_t> const> members = {}) const {
        if (!options_.relay || !options_.relay->trust_rows) { return failure{errc::invalid, "peers' rows"}; }
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        handed_report report;
        if (!sync->epoch || cursor <= sync->cursor) { return report; }
        // What a restored authority has lost is told by positions up to the own head.
        if (sync->kept) { return report; }
        auto const held = shared_scopes(tx);
        if (!held) { return held.error(); }
        std::vector<row_update> taken;
        std::vector<std::vector<std::uint64_t>> numbers;
        std::vector<bool> left;
        bool any_left = false;
        std::size_t next = 0;
        for (row_update& u : rows) {
            std::size_t const i = next++;
            if (u.state.version <= sync->cursor) { continue; }
            std::vector<std::uint64_t> in;
            for (held_scope const& h : *held) {
                bool const told =
                    i < members.size() && std::find(members[i].begin(), members[i].end(), h.number) != members[i].end();
                if (told) { in.push_back(h.number); }
            }
            if (options_.scoped && in.empty()) { continue; }
            numbers.push_back(std::move(in));
            bool leaves = u.state.version > cursor;
            if (!leaves) {
                auto ok = outbox_.scan_record(tx, to_bytes(u.key), [&](outbox_entry const&) {
                    leaves = true;
                    return false;
                });
                if (!ok) { return ok.error(); }
            }
            any_left = any_left || leaves;
            left.push_back(leaves);
            taken.push_back(std::move(u));
        }
        if (any_left) {
            leave_groups(taken, sync->cursor, left);
            std::size_t at = 0;
            std::erase_if(taken, [&](row_update const&) { return left[at++]; });
            at = 0;
            std::erase_if(numbers, [&](std::vector<std::uint64_t> const&) { return left[at++]; });
        }
        if (auto ok = learn_clock(tx, taken, now); !ok) { return ok.error(); }
        std::vector<bytes> dirty;
        event_batch events;
        for (std::size_t i = 0; i < taken.size(); ++i) {
            row_update& u = taken[i];
            bytes name = to_bytes(u.key);
            auto const newer = take_row(tx, u, true, false, dirty, events);
            if (!newer) { return newer.error(); }
            report.rows += *newer ? 1 : 0;
            if (options_.scoped && *newer) {
                if (auto ok = scopes_.set_members(tx, name, numbers[i]); !ok) { return ok.error(); }
            }
            dirty.push_back(std::move(name));
        }
        if (options_.scoped && report.rows != 0) {
            // An answer that is under way tells of an older state.
            auto state = scope_state(tx);
            if (!state) { return state.error(); }
            ++state->generation;
            if (auto ok = scopes_.write(tx, *state); !ok) { return ok.error(); }
        }
        if (auto ok = show(tx, std::move(dirty), *sync, report, std::move(events)); !ok) { return ok.error(); }
        return report;
    }

    /// The scopes of which rows may be taken from peers, and told to them: all that are asked for, where each is complete and
    /// none of their fields is hidden; else none.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<held_scope>> shared_scopes(Tx& tx) const {
        std::vector<held_scope> whole;
        if (!options_.scoped) { return whole; }
        auto const state = scope_state(tx);
        if (!state) { return state.error(); }
        auto all = scopes_.list(tx);
        if (!all || state->mask != 0) { return all ? result<std::vector<held_scope>>{whole} : all; }
        for (held_scope& h : *all) {
            if (h.is == held_scope::state::joining) { return std::vector<held_scope>{}; }
            if (h.is == held_scope::state::complete) { whole.push_back(std::move(h)); }
        }
        return whole;
    }
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
    [[nodiscard]] result<progress> status_of(Tx& tx) const {
        auto sync = read_sync(tx);
        if (!sync) { return sync.error(); }
        auto const told = nothing_to_come(tx);
        if (!told) { return told.error(); }
        return progress{sync->cursor, sync->head,   sync->next_sequence - 1 - sync->settled, sync->epoch.has_value(),
                        *told,        sync->settled};
    }
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
    [[nodiscard]] status withheld(Tx& tx, function_ref<bool(withheld_record const&)> visit) const {
        status outcome;
        auto ok = scan_prefix(tx, key('u'), [&](bytes_view k, bytes_view raw) {
            auto name = record_key_from(k.subspan(2));
            if (!name || raw.size() != 16) {
                outcome = failure{errc::corrupt, "withheld record"};
                return false;
            }
            return visit(withheld_record{std::move(*name), read_u64(raw), read_u64(raw.subspan(8))});
        });
        return ok ? outcome : ok;
    }

    // Looking whether what is held is what the authority has; replica/integrity.hpp does.

    /// Wants a range of records told whole once more, before all others. What is held of it stays until then; what is
    /// told then takes its place even where that says that it is no newer, or does not decode, and pending mutations
    /// are laid over it. `errc::invalid` for what is no range, `errc::unsupported` with scopes.
    template <storage_transaction Tx>
    [[nodiscard]] status refetch(Tx& tx, record_range const& r) const {
        if (!valid(r)) { return failure{errc::invalid, "range of records"}; }
        if (options_.scoped) { return failure{errc::unsupported, "no ranges beside scopes"}; }
        // An answer that is on its way says what was held before.
        if (auto ok = next_round(tx); !ok) { return ok; }
        // What is wanted already would stay where it is, and be compared.
        if (auto ok = wanted_.cover(tx, r); !ok) { return ok; }
        return want(tx, band_repair, r);
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
    /// Where a reader of events stands: batches up to `whole` are read, and of `batch` what is before `at`.
    struct event_cursor {
        std::uint64_t whole = 0;  ///< what `forget_events` takes
        std::uint64_t batch = 0;
        event_place at{};
    };
    /// Appends the next events, at most `most` and of one batch; none: all are read. `errc::corrupt` for one that is none,
    /// which is said once those before it are read. Cost: one look-up, and that of the events.
    template <storage_transaction Tx>
    [[nodiscard]] status next_events(Tx& tx, event_cursor& from, std::size_t most, std::vector<event>& out) const {
        bytes first = key('e');
        append_u64(first, from.whole + 1);
        status outcome;
        std::size_t const before = out.size();
        auto ok = tx.scan({first, prefix_end(key('e'))}, [&](bytes_view k, bytes_view v) {
            std::uint64_t const batch = k.size() == 10 ? read_u64(k.subspan(2)) : 0;
            if (batch != from.batch) {
                from.batch = batch;
                from.at = {};
            }
            auto const ended = event_batch::read_on(v, from.at, most, out);
            if (!ended) {
                outcome = ended.error();
                return false;
            }
            if (*ended) { from.whole = batch; }
            return out.size() == before;
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
            if (!remote && remote.error() != errc::unsupported) {
                outcome = remote.error();
                return false;
            }
            // One that is closed to the program hides no other.
            if (remote) { c.remote = std::move(*remote); }
            auto const me = author(tx);
            if (!me) {
                outcome = me.error();
                return false;
            }
            (void)without_asked(c, *me);
            return visit(c);
        });
        return ok ? outcome : ok;
    }

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
        auto const me = author(tx);
        if (!me) { return me.error(); }
        found->remote = std::move(*remote);
        auto const rest = without_asked(*found, *me);
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
        if (rest) {
            collection_rules const& by = rules_.of(found->local.record.collection);
            auto made = diff(found->remote->fields, rest->fields, by, {});
            if (!made) { return made.error(); }
            ops = std::move(*made);
            ops.erase(std::remove_if(ops.begin(), ops.end(), [&](field_op const& op) { return in_conflict(op.field); }),
                      ops.end());
            detail::keep_edits(ops, found->local, *found->remote, by);
        }
        for (field_op op : found->local.ops) {
            auto const d = std::find_if(decisions.begin(), decisions.end(),
                                        [&](field_resolution const& one) { return one.field == op.field; });
            if (d == decisions.end() ? rest.has_value() : d->take == field_resolution::choice::remote) { continue; }
            if (d != decisions.end() && d->take == field_resolution::choice::custom) {
                op.kind = op_kind::set;
                op.value = d->value;
            }
            ops.push_back(std::move(op));
        }
        std::sort(ops.begin(), ops.end(),
                  [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
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
        if (auto ok = tell_undated(tx, journal_event::settled, &found->local, choice); !ok) { return ok; }
        return tx.erase(numbered('c', token));
    }
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
    [[nodiscard]] result<bool> wipe(Tx& tx, std::size_t budget) const {
        if constexpr (keeps_journal<Journal>) {
            bytes raw;
            auto const first = tx.get(key('s'), raw);
            if (!first) { return first.error(); }
            if (*first) {
                // Of a damaged store it can't be said whose it was, and it goes all the same.
                auto const mine = read_identity(tx);
                auto const clock = read_clock(tx);
                if (!mine && mine.error() != errc::corrupt) { return mine.error(); }
                if (!clock && clock.error() != errc::corrupt) { return clock.error(); }
                journal_note note;
                note.what = journal_event::wiped;
                if (clock) { note.stamp = clock->last(); }
                if (mine) {
                    note.device = mine->self;
                    note.principal = mine->principal;
                }
                if (auto ok = journal_(tx, note); !ok) { return ok.error(); }
            }
        }
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
    /// With a row that is left out go those that show a mutation of after `held` which it shows too, and so on.
    static void leave_groups(std::vector<row_update> const& rows, position held, std::vector<bool>& left) {
        struct shown {
            timestamp stamp{};
            author_index author = 0;
            std::size_t row = 0;
            [[nodiscard]] bool before(shown const& o) const noexcept {
                return stamp != o.stamp ? stamp < o.stamp : author < o.author;
            }
        };
        auto const each_of = [&](std::size_t i, auto&& f) {
            row const& r = rows[i].state;
            auto const one = [&](write_mark const& m) {
                if (m.at > held) { f(shown{m.stamp, m.author, i}); }
            };
            one(r.floor);
            for (field_mark const& e : r.exceptions) { one(e.mark); }
        };
        std::vector<shown> all;
        std::vector<std::size_t> next;
        for (std::size_t i = 0; i < rows.size(); ++i) {
            each_of(i, [&](shown const& s) { all.push_back(s); });
            if (left[i]) { next.push_back(i); }
        }
        auto const by_mutation = [](shown const& a, shown const& b) { return a.before(b); };
        std::sort(all.begin(), all.end(), by_mutation);
        while (!next.empty()) {
            std::size_t const i = next.back();
            next.pop_back();
            each_of(i, [&](shown const& s) {
                auto const range = std::equal_range(all.begin(), all.end(), s, by_mutation);
                for (auto at = range.first; at != range.second; ++at) {
                    if (left[at->row]) { continue; }
                    left[at->row] = true;
                    next.push_back(at->row);
                }
            });
        }
    }

    /// The remote row with what a parked mutation did in fields that don't wait for a person, by the rules; its fields get
    /// those that do by now. Nothing where there is no such row, or the authority would refuse it.
    [[nodiscard]] std::optional<row> without_asked(open_conflict& c, author_index me) const {
        if (!c.remote || c.remote->deleted || c.local.kind != change_kind::update || c.local.life != c.remote->life) {
            return std::nullopt;
        }
        collection_rules const& rules = rules_.of(c.local.record.collection);
        mutation rest = c.local;
        for (std::string const& field : c.fields) { (void)detail::take_out(rest.ops, {field}); }
        detail::take_out_overwritten(rest, *c.remote, rules, me);
        for (;;) {
            auto applied = detail::apply_rest(*c.remote, rest, rules, me, nullptr);
            if (!applied) { return std::nullopt; }
            if (applied->asked.empty()) { return std::move(applied->after); }
            // Here a field is decided as a whole.
            for (detail::asked_field const& f : applied->asked) {
                std::string const& field = f.path.front();
                (void)detail::take_out(rest.ops, {field});
                if (std::find(c.fields.begin(), c.fields.end(), field) == c.fields.end()) { c.fields.push_back(field); }
            }
        }
    }

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
            verdict const* const said = note.said;
            verdict rest = said != nullptr ? *said : verdict{};
            rest.decisions.clear();
            each_part(*group, [&](mutation const& part) {
                note.change = &part;
                if (ok) { ok = journal_(tx, note); }
                if (said != nullptr) { note.said = &rest; }  // what was decided in a group is told once
            });
            note.change = group;
            note.said = said;
            return ok;
        } else {
            (void)tx;
            (void)note;
            return {};
        }
    }

    /// … of what is done in a call that is not told the time: the clock's last stamp is when.
    template <class Tx>
    [[nodiscard]] status tell_undated(Tx& tx, journal_event what, mutation const* change, journal_choice choice) const {
        if constexpr (keeps_journal<Journal>) {
            auto clock = read_clock(tx);
            if (!clock) { return clock.error(); }
            journal_note note;
            note.what = what;
            note.stamp = clock->last();
            note.change = change;
            note.choice = choice;
            return tell(tx, note);
        } else {
            (void)tx;
            (void)what;
            (void)change;
            (void)choice;
            return {};
        }
    }
    /// Tells the journal of each collection that this program has in another schema version than the one that was told
    /// last: 'q', collection -> version.
    template <class Tx>
    [[nodiscard]] status tell_versions([[maybe_unused]] Tx& tx, [[maybe_unused]] bool fresh,
                                       [[maybe_unused]] instant now) const {
        if constexpr (keeps_journal<Journal>) {
            auto const told = [&](journal_note& note) { return tell(tx, note); };
            return detail::tell_new_versions(tx, options_.schemas, key('q'), fresh, now, told);
        } else {
            return {};
        }
    }

    /// Tells the journal of new conflicts, once the rows that they collide with are held.
    template <class Tx>
    [[nodiscard]] status tell_parked(Tx& tx, std::vector<std::pair<std::uint64_t, verdict const*>> const& parked,
                                     author_index author, instant now) const {
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
                note.author = author;
                if (auto ok = tell(tx, note); !ok) { return ok; }
            }
        } else {
            (void)tx;
            (void)parked;
            (void)author;
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
    template <class Tx>
    [[nodiscard]] result<std::optional<held_record>> find_held(Tx& tx, record_key const& k) const {
        if (!valid(k)) { return failure{errc::invalid, "record key"}; }
        return records_.find(tx, k);
    }
    /// Puts the confirmed row in the place of what is shown with what waits.
    template <class Tx>
    [[nodiscard]] status reveal_confirmed(Tx& tx, record_key const& k, std::optional<held_record>& held) const {
        if (!held || !held->pending) { return {}; }
        auto confirmed = records_.find_confirmed(tx, k);
        if (!confirmed) { return confirmed.error(); }
        if (!*confirmed) {
            held.reset();
        } else {
            held->visible = std::move(**confirmed);
        }
        return {};
    }
    template <described T>
    [[nodiscard]] static result<std::optional<T>> decoded(result<std::optional<record>> const& r) {
        if (!r) { return r.error(); }
        if (!*r) { return std::optional<T>{}; }
        auto value = decode_record<T>((*r)->fields);
        if (!value) { return value.error(); }
        return std::optional<T>{std::move(*value)};
    }
    /// As a person sees it, in the version of the program. `errc::unsupported` for a record that is closed to it.
    template <class Tx>
    [[nodiscard]] result<visible> read_visible(Tx& tx, record_key const& k) const {
        auto held = find_held(tx, k);
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
        if (rules_.of(k.collection).strong() && entry->dirty) {
            auto const waits = chain_of(tx, k, entry->confirmed);
            if (!waits) { return waits.error(); }
            p.change.base = waits->base();
            p.after = waits->last();
        }
        if (alive) { p.saw(entry->state.fields); }

        std::optional<row> after;
        if (entry->present) { after = entry->state; }
        apply_context context;
        context.author = sync->author;
        apply_outcome outcome = apply(after, p.change, rules_.of(k.collection), context);
        if (outcome.verdict == verdict_kind::rejected) { return outcome.reason; }
        if (after && !after->deleted) {
            if (auto ok = taken(tx, after->fields, brings_depth(p.change.ops)); !ok) { return ok.error(); }
        }
        return write_plan{std::move(*entry), *sync, *clock, std::move(p), std::move(after)};
    }

    // Limits: 'l', what the authority takes, where it isn't the usual. 'u' record -> version and size of one that it has
    // and does not tell, as it is past the limits of this replica.

    [[nodiscard]] exchange_limits own_limits() const noexcept {
        return limits_of(options_.message, options_.record_max);
    }
    template <class Tx>
    [[nodiscard]] result<exchange_limits> told_limits(Tx& tx) const {
        bytes raw;
        auto found = tx.get(key('l'), raw);
        if (!found) { return found.error(); }
        if (!*found) { return exchange_limits{}; }
        cbor_reader in{raw};
        exchange_limits const l = read_limits(in);
        if (!in.finish()) { return failure{errc::corrupt, "authority's limits"}; }
        return l;
    }
    template <class Tx>
    [[nodiscard]] status note_limits(Tx& tx, std::optional<exchange_limits> const& said) const {
        auto const known = told_limits(tx);
        if (!known) { return known.error(); }
        exchange_limits const now = said.value_or(exchange_limits{});
        if (now == *known) { return {}; }
        if (now == exchange_limits{}) { return tx.erase(key('l')); }
        bytes raw;
        cbor_writer w{raw};
        write_limits(w, now);
        return tx.put(key('l'), raw);
    }

    // What the authority understands of requests, as it told last: 'a'; absent: what the first version does.

    template <class Tx>
    [[nodiscard]] result<std::uint64_t> authority_understands(Tx& tx) const {
        bytes raw;
        auto found = tx.get(key('a'), raw);
        if (!found) { return found.error(); }
        if (!*found) { return std::uint64_t{0}; }
        cbor_reader in{raw};
        std::uint64_t const features = in.unsigned_integer();
        if (!in.finish()) { return failure{errc::corrupt, "authority's features"}; }
        return features;
    }
    template <class Tx>
    [[nodiscard]] status note_understood(Tx& tx, std::uint64_t features) const {
        auto const known = authority_understands(tx);
        if (!known) { return known.error(); }
        if (features == *known) { return {}; }
        if (features == 0) { return tx.erase(key('a')); }
        bytes raw;
        cbor_writer{raw}.unsigned_integer(features);
        return tx.put(key('a'), raw);
    }

    /// Whether this replica and, as far as is known, its authority take a record of these fields. What everybody takes
    /// costs no look-up.
    template <class Tx>
    [[nodiscard]] status taken(Tx& tx, bytes_view fields, bool deep) const {
        exchange_limits const own = own_limits();
        if (fits(fields, lower_of(own, exchange_floor), deep)) { return {}; }
        auto const told = told_limits(tx);
        return told ? fits(fields, lower_of(own, *told), deep) : status{told.error()};
    }
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
                                        std::optional<exchange_limits>* known = nullptr) const {
        auto const room = [&](std::uint64_t message_max) {
            return together ? content_max(message_max) : message_max - message_overhead;
        };
        if (size <= room(exchange_floor.message_max)) { return true; }
        if (!sync.epoch) { return false; }
        if (known != nullptr && *known) { return size <= room((*known)->message_max); }
        auto const told = told_limits(tx);
        if (!told) { return told.error(); }
        if (known != nullptr) { *known = *told; }
        return size <= room(told->message_max);
    }
    /// What was written before the authority said that it takes no message so large: a dead letter.
    template <class Tx>
    [[nodiscard]] status refuse_unsent(Tx& tx, outbox_entry const& entry, pending const& p, instant now,
                                       std::vector<bytes>& dirty, event_batch& events) const {
        auto const m = p.decoded();
        if (!m) { return m.error(); }
        verdict v;
        v.kind = verdict_kind::rejected;
        v.reason = errc::too_large;
        bytes said;
        cbor_writer w{said};
        encode_verdict(w, v);
        if (auto ok = outbox_.bury(tx, entry.token, entry.fence, v.reason, said); !ok) { return ok; }
        events.add_verdict(m->record, v);
        journal_note note;
        note.what = journal_event::decided;
        note.stamp = timestamp::make(now.wall);
        note.change = &*m;
        note.said = &v;
        if (auto ok = tell(tx, note); !ok) { return ok; }
        each_part(*m, [&](mutation const& part) { dirty.push_back(to_bytes(part.record)); });
        return settle_followers(tx, *m, entry.token, v, note, events);
    }
    [[nodiscard]] static bytes withheld_at(bytes_view record) {
        bytes k = key('u');
        append(k, record);
        return k;
    }
    template <class Tx>
    [[nodiscard]] static status forget_withheld(Tx& tx, record_range const& told) {
        std::vector<bytes> over;
        auto ok = tx.scan({withheld_at(told.from), withheld_at(told.to)}, [&](bytes_view k, bytes_view) {
            over.push_back(to_bytes(k));
            return true;
        });
        for (std::size_t i = 0; i < over.size() && ok; ++i) { ok = tx.erase(over[i]); }
        return ok;
    }
    /// Notes what is withheld, and forgets it of what is told now.
    template <class Tx>
    [[nodiscard]] status take_withheld(Tx& tx, reply const& p) const {
        bool any = !p.withheld.empty();
        if (p.rows.empty() && p.ranges.empty() && !any) { return {}; }
        if (!any) {
            auto ok = scan_prefix(tx, key('u'), [&](bytes_view, bytes_view) {
                any = true;
                return false;
            });
            if (!ok || !any) { return ok; }
        }
        bytes known;
        for (row_update const& u : p.rows) {
            bytes const at = withheld_at(to_bytes(u.key));
            auto const found = tx.get(at, known);
            if (!found) { return found.error(); }
            // A row that was kept back may be older than what is withheld.
            if (!*found || (known.size() == 16 && read_u64(known) > u.state.version)) { continue; }
            if (auto ok = tx.erase(at); !ok) { return ok; }
        }
        for (told_range const& a : p.ranges) {
            if (auto ok = forget_withheld(tx, a.covered); !ok) { return ok; }
        }
        for (withheld_record const& one : p.withheld) {
            bytes raw;
            append_u64(raw, one.version);
            append_u64(raw, one.size);
            if (auto ok = tx.put(withheld_at(to_bytes(one.key)), raw); !ok) { return ok; }
        }
        return {};
    }
    /// The program takes more now, perhaps: what was withheld is asked for once more. Or what was withheld after
    /// `shared`, which is void: then it is not known what there is.
    template <class Tx>
    [[nodiscard]] status want_withheld(Tx& tx, std::optional<position> shared = {}) const {
        std::vector<record_key> all;
        auto ok = withheld(tx, [&](withheld_record const& one) {
            if (shared ? one.version > *shared : one.size <= options_.record_max) { all.push_back(one.key); }
            return true;
        });
        for (std::size_t i = 0; i < all.size() && ok; ++i) {
            ok = want(tx, band_repair, range_of(all[i]));
            if (ok && shared) { ok = tx.erase(withheld_at(to_bytes(all[i]))); }
        }
        return ok;
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
        for (write_plan& w : plans) {
            if (auto ok = note_needs(tx, w); !ok) { return ok.error(); }
        }
        auto receipt = plans.size() == 1
                           ? enqueue(tx, to_bytes(plans[0].p.change.record), plans[0].p, plans[0].sync, now, urgency)
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
                std::vector<bytes> const alone{to_bytes(change.record)};
                if (auto ok = rebase_all(tx, alone, w.sync, silent); !ok) { return ok.error(); }
                return *receipt;
            }
            held_record held{true, w.entry.confirmed, w.after ? std::move(*w.after) : row{}};
            held.visible.schema = change.schema;
            row const* const confirmed = !w.entry.dirty && w.entry.present ? &w.entry.state : nullptr;
            if (auto ok = records_.put(tx, change.record, held, confirmed); !ok) { return ok.error(); }
        }
        return *receipt;
    }

    /// Notes what is carried for others and was seen by who wrote this.
    template <class Tx>
    [[nodiscard]] status note_needs(Tx& tx, write_plan& w) const {
        if (!options_.relay || !w.entry.dirty) { return {}; }
        auto const shown = shows_others(tx, to_bytes(w.p.change.record));
        if (!shown) { return shown.error(); }
        if (!*shown) { return {}; }
        auto const note = [&](carried_envelope const& c, carried_part const& part, timestamp) {
            bool const grouped = c.parts.size() > 1;
            if (grouped ? c.shown : c.shows_over(part, w.entry.confirmed)) { w.p.saw(c.id); }
            return true;
        };
        return carried_.each_of(tx, to_bytes(w.p.change.record), note);
    }
    /// Whether what is carried may show on a record at all. Where scopes are held: on one that the authority has told in a
    /// scope that is not left, to who reads all its fields; on any other it goes home unseen.
    template <class Tx>
    [[nodiscard]] result<bool> shows_others(Tx& tx, bytes_view name) const {
        if (!options_.scoped) { return true; }
        auto const state = scope_state(tx);
        if (!state) { return state.error(); }
        if (state->mask != 0) { return false; }
        auto const in = scopes_.members(tx, name);
        if (!in) { return in.error(); }
        for (std::uint64_t const number : *in) {
            auto const wanted = scopes_.wanted(tx, number);
            if (!wanted || *wanted) { return wanted; }
        }
        return false;
    }
    /// Whether what is carried shows on a record that has this version as confirmed: a group on all of its records or on
    /// none, for a row of one may contain it where that of another is known not to, or one may not be there yet. For the
    /// record itself the answer leaves out whether it applies.
    template <class Tx>
    [[nodiscard]] result<bool> shows(Tx& tx, carried_envelope const& c, carried_part const& part,
                                     position confirmed) const {
        if (!c.shows_over(part, confirmed)) { return false; }
        for (carried_part const& other : c.parts) {
            if (&other == &part) { continue; }
            auto const k = record_key_from(other.record);
            if (!k) { return failure{errc::corrupt, "carried envelope"}; }
            auto const open = shows_others(tx, other.record);
            if (!open || !*open) { return open; }
            auto const held = records_.find(tx, *k);
            if (!held) { return held.error(); }
            if (!other.applies || !c.shows_over(other, *held ? (*held)->confirmed : 0)) { return false; }
        }
        return true;
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
            if (w.p.after != 0) {
                return failure{errc::contended, "what waits on a strong record goes before a group"};
            }
            p.change.parts.push_back(w.p.change);
            for (dot const& d : w.p.needs) { p.saw(d); }
            seen.byte_string(w.p.base);
            names.push_back(to_bytes(w.p.change.record));
        }
        bytes const payload = p.encode();
        if (p.encoded.size() > options_.record_max) { return failure{errc::limit, "group too large"}; }
        if (plans[0].sync.epoch) {
            auto const goes = sendable(tx, plans[0].sync, p.encoded.size());
            if (!goes) { return goes.error(); }
            if (!*goes) { return failure{errc::limit, "group too large for the authority"}; }
        }
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
    [[nodiscard]] result<write_receipt> enqueue(Tx& tx, bytes const& name, pending& p, sync_state const& sync,
                                                instant now, priority urgency) const {
        std::optional<outbox_entry> last;
        auto ok = outbox_.scan_record(tx, name, [&](outbox_entry const& e) {
            last = e;
            return true;
        });
        if (!ok) { return ok.error(); }
        if (last && p.after != 0 && p.after != last->token) { last.reset(); }  // what it is made on comes before that
        if (last && last->fence == 0 && last->urgency == urgency) {
            auto waiting = pending::parse(last->payload);
            if (!waiting) { return waiting.error(); }
            auto earlier = waiting->decoded();
            if (!earlier) { return earlier.error(); }
            waiting->change = std::move(*earlier);
            switch (waiting->absorb(p, rules_.of(p.change.record.collection))) {
                case coalescing::kept_apart: break;
                case coalescing::absorbed: {
                    bytes const both = waiting->encode();
                    auto const goes = sendable(tx, sync, waiting->encoded.size());
                    if (!goes) { return goes.error(); }
                    if (!*goes) { break; }
                    if (auto amended = outbox_.amend(tx, last->token, both); !amended) { return amended.error(); }
                    return write_receipt{last->token, true};
                }
                case coalescing::annihilated:
                    if (auto gone = outbox_.withdraw(tx, last->token); !gone) { return gone.error(); }
                    return write_receipt{0, true};
            }
        }
        outbox_item item;
        item.urgency = urgency;
        item.record = name;
        bytes const payload = p.encode();
        auto const goes = sync.epoch ? sendable(tx, sync, p.encoded.size()) : result<bool>{true};
        if (!goes) { return goes.error(); }
        if (!*goes) { return failure{errc::limit, "change too large for the authority"}; }
        item.payload = payload;
        auto const token = outbox_.enqueue(tx, item, now.wall);
        if (!token) { return token.error(); }
        return write_receipt{*token, false};
    }

    // Frozen mutations: 'f' sequence -> token, fence of the outbox entry that holds its bytes; or 0 and the key of a
    // decided one that is offered again.

    /// Gives the next sequence. `renamed`: it was frozen under another identity of this store, and is the same still;
    /// otherwise one that was frozen before was set aside, and a person sends it anew. Its bytes are stored, or added to
    /// `together`, for the caller to store.
    template <class Tx>
    [[nodiscard]] status freeze(Tx& tx, sync_state& sync, std::uint64_t token, std::uint64_t fence, result<pending> p,
                                bool renamed, std::vector<outbox_payload>* together = nullptr) const {
        if (!p) { return p.error(); }
        // Most are frozen as they wait, but for the sequence.
        auto const first = renamed || p->after != 0 ? std::nullopt : pending::never_frozen(p->encoded);
        if (first) {
            p->put_sequence(sync.next_sequence);
            return freeze_as(tx, sync, token, fence, p->whole(), together);
        }
        auto m = p->decoded();
        if (!m) { return m.error(); }
        p->change = std::move(*m);
        bool const anew = p->change.sequence != 0 && !renamed;
        bool strong = false;
        each_part(p->change,
                  [&](mutation const& part) { strong = strong || rules_.of(part.record.collection).strong(); });
        if (p->change.sequence != 0 && !renamed && p->line != 0) { ++p->line; }
        // It may have lain aside while the authority was put back: of what it saw then nothing is sure.
        if (anew && sync.kept) {
            each_part(p->change, [&](mutation& part) {
                part.base = base_within(part, sync.kept->shared, rules_.of(part.record.collection));
            });
        }
        // What was given up with another, and is sent anew, was made on what never was.
        if (p->after != 0 && p->after != pending::alone) { p->change.base = 0; }
        if (strong && (anew || p->after != 0)) { p->after = pending::alone; }
        p->change.sequence = sync.next_sequence;
        return freeze_as(tx, sync, token, fence, p->encode(), together);
    }
    /// Notes what is frozen under the next sequence.
    template <class Tx>
    [[nodiscard]] status freeze_as(Tx& tx, sync_state& sync, std::uint64_t token, std::uint64_t fence, bytes payload,
                                   std::vector<outbox_payload>* together) const {
        if (together != nullptr) {
            together->push_back({token, fence, std::move(payload)});
        } else if (auto ok = outbox_.set_payload(tx, token, fence, payload); !ok) {
            return ok;
        }
        std::array<std::byte, 16> where;
        write_u64(where.data(), token);
        write_u64(where.data() + 8, fence);
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
            if (auto ok = read_offered(tx, f); !ok) { return ok.error(); }
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
    /// The rest of one that is offered again.
    template <class Tx>
    [[nodiscard]] status read_offered(Tx& tx, frozen_mutation& f) const {
        auto offered = find_offered(tx, f.again);
        if (!offered) { return offered.error(); }
        f.token = offered->token;
        f.number = detail::outbox_sequence(offered->token);
        f.what = std::move(offered->what);
        return {};
    }
    /// Visits frozen mutations without a verdict, in sequence.
    template <class Tx, class F>
    [[nodiscard]] status each_frozen(Tx& tx, F&& visit) const {
        // Those in the outbox are read together, a few at first: the visitor may want no more.
        std::vector<frozen_mutation> piece;
        std::vector<outbox_claim> claims;
        std::uint64_t next = 0;
        for (std::size_t piece_max = 16;; piece_max = 256) {
            piece.clear();
            claims.clear();
            bool good = true;
            bool more = false;
            auto ok = tx.scan({numbered('f', next), prefix_end(key('f'))}, [&](bytes_view k, bytes_view where) {
                more = piece.size() == piece_max;
                good = k.size() == 10 && where.size() >= 16;
                if (more || !good) { return false; }
                frozen_mutation& f = piece.emplace_back();
                f.sequence = read_u64(k.subspan(2));
                f.token = read_u64(where);
                if (where.size() != 16) {
                    f.again = to_bytes(where.subspan(8));
                    return true;
                }
                f.fence = read_u64(where.subspan(8));
                claims.push_back({f.token, f.fence});
                return true;
            });
            if (!ok) { return ok; }
            auto f = piece.begin();
            bool wanted = true;
            auto const offered = [&]() -> status {  // up to the next that is in the outbox
                for (; wanted && f != piece.end() && !f->again.empty(); ++f) {
                    if (auto read = read_offered(tx, *f); !read) { return read; }
                    wanted = visit(*f);
                }
                return {};
            };
            if (ok = offered(); !ok) { return ok; }
            status damaged;
            auto const in_outbox = [&](std::size_t, bytes_view payload) {
                auto p = pending::parse(payload);
                if (!p) {
                    damaged = p.error();
                    return false;
                }
                f->number = detail::outbox_sequence(f->token);
                f->what = std::move(*p);
                wanted = visit(*f);
                ++f;
                damaged = offered();
                return wanted && damaged;
            };
            if (wanted) { ok = outbox_.payloads_of(tx, claims, in_outbox); }
            if (!ok && ok.error() == errc::claim_lost) {
                return failure{errc::corrupt, "frozen mutation without its entry"};
            }
            if (!ok) { return ok; }
            if (!damaged || !wanted) { return damaged; }
            if (!good) { return failure{errc::corrupt, "frozen mutation"}; }
            if (!more) { return {}; }
            next = piece.back().sequence + 1;
        }
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
        // Its record is lost, and whoever created that may offer it yet; of what creates one, the record that it refers to.
        bool const creates = named.kind == change_kind::create && sync.kept && sync.kept->shared != no_position;
        bool const orphaned = v.kind == verdict_kind::rejected && v.reason == errc::not_found && sync.kept &&
                              (!f->again.empty() || named.base >= sync.kept->shared || creates);
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
        if (auto ok = settle_followers(tx, *m, token, v, note, events); !ok) { return ok.error(); }
        if (v.kind == verdict_kind::conflict) {
            if (auto ok = park(tx, token, *p, v); !ok) { return ok.error(); }
            parked.emplace_back(token, &v);
        } else if (v.kind == verdict_kind::applied || v.kind == verdict_kind::merged) {
            // In the overlay until a confirmed row holds it; one that was overruled has nothing to show.
            if (auto ok = put_decided(tx, *m, token, v, p->encoded); !ok) { return ok.error(); }
        }
        // An old request of this replica may have come first, to the authority as it was put back, and been refused.
        bool const refused = v.kind == verdict_kind::rejected || (bare && v.reason == errc::rejected);
        if (refused && (orphaned || !f->again.empty())) {
            // There is no entry of it that could be a dead letter: it is a conflict with no fields.
            if (auto ok = park(tx, token, *p, v); !ok) { return ok.error(); }
            if (orphaned) {
                if (auto ok = put_offered(tx, {0, token, *p}, to_bytes(named.record)); !ok) { return ok.error(); }
                ++sync.kept->orphans;
            }
        }
        bool const known = bare && !refused && !f->again.empty();
        bool const stands = v.kind == verdict_kind::applied || v.kind == verdict_kind::merged ||
                            v.kind == verdict_kind::overruled || known;
        if (stands && sync.kept) {
            // A position that is seen through a mask may be before that of the decision; one too late offers it again in vain.
            decided_mutation const d{known || options_.scoped ? head : v.version, token, std::move(*p)};
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

    // What waits in a strong collection on what another makes, and is not frozen: only the first of a record ever is.

    /// How what waits on a record is made, each on the one before. `confirmed`: what its confirmed row has as version.
    template <class Tx>
    [[nodiscard]] result<strong_chain> chain_of(Tx& tx, record_key const& k, position confirmed) const {
        strong_chain all{confirmed};
        bytes const name = to_bytes(k);
        status outcome;
        auto ok = scan_prefix(tx, decided_prefix(name), [&](bytes_view, bytes_view raw) {
            cbor_reader in{raw};
            if (in.array() == 3) { all.confirm(in.unsigned_integer()); }
            if (in.failed()) { outcome = failure{errc::corrupt, "decided mutation"}; }
            return !in.failed();
        });
        if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
        ok = outbox_.scan_record(tx, name, [&](outbox_entry const& e) {
            auto const p = pending::parse(e.payload);
            auto const m = p ? p->decoded() : result<mutation>{p.error()};
            if (!m) {
                outcome = m.error();
                return false;
            }
            (void)all.take(e, *p, of_record(*m, k));
            return true;
        });
        if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
        return all;
    }
    /// What a mutation does to a record of a strong collection, under the mutation's own number.
    [[nodiscard]] static mutation of_record(mutation const& m, record_key const& k) {
        mutation const* const part = part_on(m, k);
        mutation own = part != nullptr ? *part : m;
        own.sequence = m.sequence;
        return own;
    }
    struct follower {
        std::uint64_t token = 0;
        pending what{};
    };
    /// What is made on the entry of a token; with `all` also what is made on that.
    template <class Tx>
    [[nodiscard]] result<std::vector<follower>> followers_of(Tx& tx, bytes_view name, std::uint64_t token,
                                                             bool all) const {
        std::vector<follower> found;
        status outcome;
        std::uint64_t last = token;
        auto ok = outbox_.scan_record(tx, name, [&](outbox_entry const& e) {
            auto what = pending::parse(e.payload);
            auto m = what ? what->decoded() : result<mutation>{what.error()};
            if (!m) {
                outcome = m.error();
                return false;
            }
            if (what->after != last) { return true; }
            if (all) { last = e.token; }
            what->change = std::move(*m);
            found.push_back({e.token, std::move(*what)});
            return true;
        });
        if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
        return found;
    }
    /// What was made on a mutation in strong collections goes on, or falls, with it.
    template <class Tx>
    [[nodiscard]] status settle_followers(Tx& tx, mutation const& m, std::uint64_t token, verdict const& v,
                                          journal_note& note, event_batch& events) const {
        bool const stands = v.kind == verdict_kind::applied || v.kind == verdict_kind::merged;
        status ok;
        std::size_t i = 0;
        each_part(m, [&](mutation const& part) {
            position const version = i < v.versions.size() ? v.versions[i] : v.version;
            ++i;
            if (!ok || !rules_.of(part.record.collection).strong()) { return; }
            bytes const name = to_bytes(part.record);
            ok = stands ? rebase_followers(tx, name, token, version)
                        : give_up_followers(tx, name, token, v, note, events);
        });
        return ok;
    }
    /// What was made on one that has come to a version is made on that version.
    template <class Tx>
    [[nodiscard]] status rebase_followers(Tx& tx, bytes_view name, std::uint64_t token, position version) const {
        auto next = followers_of(tx, name, token, false);
        if (!next) { return next.error(); }
        for (follower& f : *next) {
            f.what.change.base = version;
            f.what.after = 0;
            if (auto ok = outbox_.amend(tx, f.token, f.what.encode()); !ok) { return ok; }
        }
        return {};
    }
    /// What was made on one that has no effect has none either: dead letters, each told of as `collateral`.
    template <class Tx>
    [[nodiscard]] status give_up_followers(Tx& tx, bytes_view name, std::uint64_t token, verdict const& first,
                                           journal_note& note, event_batch& events) const {
        auto next = followers_of(tx, name, token, true);
        if (!next) { return next.error(); }
        verdict v;
        v.kind = verdict_kind::collateral;
        v.reason = errc::contended;
        v.version = first.version;
        bytes said;
        cbor_writer w{said};
        encode_verdict(w, v);
        for (follower const& f : *next) {
            if (auto ok = outbox_.abandon(tx, f.token, v.reason, said); !ok) { return ok; }
            events.add_verdict(f.what.change.record, v);
            note.change = &f.what.change;
            note.sequence = 0;
            note.said = &v;
            if (auto ok = tell(tx, note); !ok) { return ok; }
        }
        return {};
    }

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
        each_part(*m,
                  [&](mutation& part) { part.base = base_within(part, base_max, rules_.of(part.record.collection)); });
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
    /// The records of all that was offered in vain.
    template <class Tx>
    [[nodiscard]] static status each_orphaned(Tx& tx, std::vector<bytes>& names) {
        return scan_prefix(tx, key('h'), [&](bytes_view k, bytes_view raw) {
            cbor_reader in{raw};
            bool const orphan = in.array() == 5 && in.unsigned_integer() == 0;
            if (orphan && k.size() > 12) { names.push_back(to_bytes(k.subspan(4, k.size() - 12))); }
            return true;
        });
    }
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
    [[nodiscard]] result<arrivals> arrivals_of(Tx& tx, reply const& p) const {
        arrivals out;
        for (row_update const& u : p.rows) {
            auto const held = read_confirmed(tx, u.key);
            bool const unreadable = !held && (held.error() == errc::unsupported || held.error() == errc::corrupt);
            if (!held && !unreadable) { return held.error(); }
            // What waits on a record that is here waits for another: a change of this one is no reason to offer it.
            bool const here = held && *held && !(*held)->deleted && (*held)->life == u.state.life;
            if (!here) { out.names.push_back(to_bytes(u.key)); }
            out.ids.push_back(u.key.id);
        }
        for (withheld_record const& one : p.withheld) {
            out.names.push_back(to_bytes(one.key));
            out.ids.push_back(one.key.id);
        }
        sort_names(out.names, 0);
        sort_names(out.ids, 0);
        return out;
    }
    /// A record that was lost may have come, or one that it refers to: what waited for it is offered, unless a person has
    /// dismissed it. Under its origin, by which it counts once, whoever else brings it.
    template <class Tx>
    [[nodiscard]] status offer_orphans(Tx& tx, bytes_view name, arrivals const& came, sync_state& sync) const {
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
        auto const come = read_confirmed(tx, *k);
        if (!come) { return come.error(); }
        bool const there = *come && (*come)->version != 0;
        bytes raw;
        for (bytes const& one : at) {
            auto d = find_offered(tx, one);
            if (!d) { return d.error(); }
            auto const m = d->what.decoded();
            if (!m) { return m.error(); }
            // It would be refused as before, and the person be told so. Of a scope's records those outside are not told.
            if (!options_.scoped && !came.concern(name, *m)) { continue; }
            mutation const* const part = part_on(*m, *k);
            // What creates the record waits for another, one that it refers to.
            if (part == nullptr || part->kind != change_kind::create) {
                if (!there) { continue; }
                // What has come may be an earlier life, the tombstone of one say: it would be refused as before, for ever.
                if (part != nullptr && part->life > (*come)->life) { continue; }
            }
            auto parked = tx.get(numbered('c', d->token), raw);
            if (!parked) { return parked.error(); }
            auto const conflict = numbered('c', d->token);
            if (ok = tx.erase(*parked ? bytes_view{conflict} : bytes_view{one}); !ok) { return ok; }
            --sync.kept->orphans;
            if (!*parked) { continue; }
            if (ok = offer_again(tx, sync, *d, sync.kept->shared); !ok) { return ok; }
        }
        return ok;
    }

    /// Whether this replica was told of something since it asked that an authority of another epoch, which takes it along,
    /// doesn't have: then it is to ask anew, and hears where their pasts part.
    [[nodiscard]] static bool knows_more(sync_state const& sync, reply const& p) noexcept {
        auto const left =
            std::find_if(p.past.begin(), p.past.end(), [&](past_epoch const& e) { return e.name == *sync.epoch; });
        return (left != p.past.end() && sync.told() > left->end) || p.decided < sync.settled;
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
        // Between pages a record that changed again has moved behind the cursor, and the page that it was in is told: where
        // the authority goes back it lies there once more, and no page would bring it.
        bool const between_pages = sync.cursor < sync.head;
        if (auto ok = drop_staged(tx, sync); !ok) { return ok.error(); }
        sync.cursor = (std::min)(sync.cursor, *shared);
        sync.head = p.head;
        kept.shared = (std::min)(kept.shared, *shared);

        std::vector<bytes> dirty;
        event_batch events;
        bool const all = between_pages || kept.horizon > *shared || sync.cursor == 0;
        auto voided = void_rows(tx, *shared, all, dirty, events);
        if (!voided) { return voided.error(); }
        kept.horizon = (std::min)(kept.horizon, *shared);
        auto lost = take_lost(tx, *shared, dirty);
        if (!lost) { return lost.error(); }
        std::size_t const offered = lost->size();
        if (auto ok = void_bases(tx, *shared, p.decided); !ok) { return ok.error(); }
        // Where the authority has a verdict that is not known here yet, it is to be had under this name only.
        if ((verdicts_lost || frozen || !lost->empty()) && p.decided <= sync.settled) {
            if (auto ok = note_left(tx); !ok) { return ok.error(); }
            if (auto ok = reincarnate(tx, sync, random, std::move(*lost), *shared); !ok) { return ok.error(); }
        } else {
            for (decided_mutation const& d : *lost) {
                if (auto ok = offer_again(tx, sync, d, *shared); !ok) { return ok.error(); }
            }
        }
        if (options_.relay) {
            auto doubted = carried_.doubt(tx, *shared);
            if (!doubted) { return doubted.error(); }
            dirty.insert(dirty.end(), doubted->begin(), doubted->end());
        }
        std::sort(dirty.begin(), dirty.end(), [](bytes const& a, bytes const& b) { return compare(a, b) < 0; });
        dirty.erase(std::unique(dirty.begin(), dirty.end()), dirty.end());
        if (auto ok = rebase_all(tx, std::move(dirty), sync, events); !ok) { return ok.error(); }
        for (auto& [k, life] : *voided) {
            auto const left = records_.find(tx, k);
            if (!left) { return left.error(); }
            if (*left) { continue; }
            // Who creates it before it has come again begins the life that was seen, so that the two join; after one that
            // had ended a later one.
            held_record ended{};
            ended.visible.deleted = true;
            ended.visible.life = life;
            if (auto ok = records_.put(tx, k, ended, nullptr); !ok) { return ok.error(); }
        }
        if (options_.scoped) {
            if (auto ok = join_all_again(tx); !ok) { return ok.error(); }
        }
        if (auto ok = want_withheld(tx, *shared); !ok) { return ok.error(); }
        exchange_report report;
        report.regressed = true;
        report.fallback = fallback_kind::older_cursor;
        if (options_.scoped) {
            report.fallback = fallback_kind::full;
        } else if (all) {
            auto const begun = begin_comparison(tx, p, true, random);
            if (!begun) { return begun.error(); }
            report.fallback = *begun;
        } else if (auto ok = next_round(tx); !ok) {
            return ok.error();
        }
        report.changed = events.changed();
        events.add_regress({offered, voided->size()});
        ++sync.events;
        if (auto ok = tx.put(numbered('e', sync.events), events.encode()); !ok) { return ok.error(); }
        journal_note note;
        note.what = journal_event::regressed;
        note.stamp = timestamp::make(now.wall);
        note.count = offered;
        note.at = *shared;
        if (auto ok = tell(tx, note); !ok) { return ok.error(); }
        if (auto ok = write_sync(tx, sync); !ok) { return ok.error(); }
        auto work = work_left(tx, now);
        if (!work) { return work.error(); }
        report.more = *work;
        return report;
    }
    /// The last life of a record that has ended, of one that lives the one before it; 0: none.
    [[nodiscard]] static std::uint64_t ended_life(row const& r) noexcept {
        return r.deleted || r.life == 0 ? r.life : r.life - 1;
    }
    /// No row of a position after `shared` stays confirmed; each is wanted anew, or `all` are. Answers which, and the
    /// last lives of theirs that have ended.
    template <class Tx>
    [[nodiscard]] result<std::vector<std::pair<record_key, std::uint64_t>>> void_rows(Tx& tx, position shared, bool all,
                                                                                      std::vector<bytes>& dirty,
                                                                                      event_batch& events) const {
        std::vector<std::pair<record_key, std::uint64_t>> gone;
        record_range const every = every_record();
        auto ok = records_.scan_range(tx, every.from, every.to, [&](record_key const& k, held_record& h) {
            if (h.confirmed > shared) { gone.emplace_back(k, ended_life(h.visible)); }
            return true;
        });
        if (!ok) { return ok.error(); }
        for (auto const& [k, life] : gone) {
            auto held = records_.find(tx, k);
            if (!held) { return held.error(); }
            if (!*held) { return failure{errc::corrupt, "visible record"}; }
            if (ok = tx.erase(numbered('d', (*held)->confirmed)); !ok) { return ok.error(); }
            if (ok = tell_end(tx, k, **held, events); !ok) { return ok.error(); }
            if (ok = records_.drop_confirmed(tx, k); !ok) { return ok.error(); }
            // Computed anew below, from no confirmed row.
            (*held)->pending = true;
            (*held)->confirmed = 0;
            if (ok = records_.put(tx, k, **held, nullptr); !ok) { return ok.error(); }
            dirty.push_back(to_bytes(k));
            if (!all) { ok = want(tx, band_repair, range_of(k)); }
            if (!ok) { return ok.error(); }
        }
        if (all) {
            if (ok = want_everything(tx); !ok) { return ok.error(); }
        }
        return gone;
    }
    /// Takes what was decided after `shared` out of what is kept; as it was written, not as verdicts came: what an
    /// authority knew from an old request was told after what is later.
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
        sort_as_written(lost);
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
                part.base = base_within(part, shared, rules_.of(part.record.collection));
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
            if (auto ok = want(tx, static_cast<std::uint8_t>(band++), range_of(name)); !ok) { return ok; }
        }
        return want(tx, band_rest, every_record());
    }
    /// Whether nothing was told since everything was wanted.
    template <class Tx>
    [[nodiscard]] result<bool> wants_everything(Tx& tx) const {
        auto all = wanted_.first(tx, (std::numeric_limits<std::size_t>::max)());
        if (!all) { return all.error(); }
        std::sort(all->begin(), all->end(),
                  [](record_range const& a, record_range const& b) { return compare(a.from, b.from) < 0; });
        record_range const whole = every_record();
        bytes at = whole.from;
        for (record_range const& r : *all) {
            if (compare(at, r.from) < 0) { return false; }
            if (compare(at, r.to) < 0) { at = r.to; }
        }
        return compare(at, whole.to) >= 0;
    }
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
    [[nodiscard]] result<bool> reads_log(Tx& tx, sync_state& sync) const {
        auto const reads = reading_log(tx);
        if (!reads || *reads) { return reads; }
        bool const begins = sync.reached() == 0;
        if (!begins) {
            if (auto ok = want_everything(tx); !ok) { return ok.error(); }
            if (auto ok = tx.erase(key('n')); !ok) { return ok.error(); }
            if (auto ok = drop_staged(tx, sync); !ok) { return ok.error(); }
            sync.cursor = 0;
        }
        if (auto ok = tx.put(key('j'), {}); !ok) { return ok.error(); }
        return begins;
    }

    // Everything is wanted anew, and some of it is held: 'n' -> round, key and horizon. What is asked is compared, and an
    // answer counts once, in the round that it was asked in: none does after a range was to be told whole once more.

    struct comparison {
        std::uint64_t round = 1;
        reconcile_key key{};
        position horizon = 0;
    };
    template <class Tx>
    [[nodiscard]] result<std::optional<comparison>> read_comparison(Tx& tx) const {
        bytes raw;
        auto const found = tx.get(key('n'), raw);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<comparison>{}; }
        cbor_reader in{raw};
        bool const whole = in.array() == 3;
        comparison c;
        c.round = in.unsigned_integer();
        c.key.bytes = detail::read_id(in).bytes;
        c.horizon = in.unsigned_integer();
        if (!whole || !in.finish()) { return failure{errc::corrupt, "comparison of ranges"}; }
        return std::optional<comparison>{c};
    }
    template <class Tx>
    [[nodiscard]] status write_comparison(Tx& tx, comparison const& c) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(3);
        w.unsigned_integer(c.round);
        w.byte_string(c.key.bytes);
        w.unsigned_integer(c.horizon);
        return tx.put(key('n'), raw);
    }
    /// Everything is wanted: compared, where the authority says that it can, and something is held.
    template <class Tx, class G>
    [[nodiscard]] result<fallback_kind> begin_comparison(Tx& tx, reply const& p, bool holds, G& random) const {
        if (!p.same || !holds || options_.compared_rows == 0) {
            if (auto ok = tx.erase(key('n')); !ok) { return ok.error(); }
            return fallback_kind::full;
        }
        auto const before = read_comparison(tx);
        if (!before) { return before.error(); }
        comparison c;
        if (*before) { c.round = (*before)->round + 1; }
        for (std::size_t half = 0; half < 2; ++half) {
            std::uint64_t const drawn = random();
            for (std::size_t i = 0; i < 8; ++i) {
                c.key.bytes[half * 8 + i] = static_cast<std::byte>(drawn >> (8 * i));
            }
        }
        c.horizon = (std::min)(p.horizon, p.head);  // of a stranger's answer it was not looked at
        if (auto ok = write_comparison(tx, c); !ok) { return ok.error(); }
        return fallback_kind::compared;
    }
    template <class Tx>
    [[nodiscard]] status next_round(Tx& tx) const {
        auto c = read_comparison(tx);
        if (!c) { return c.error(); }
        if (!*c) { return {}; }
        ++(*c)->round;
        return write_comparison(tx, **c);
    }
    /// The ranges that a request wants. While they are compared it is one, with the sums of what is held of it.
    template <class Tx>
    [[nodiscard]] status ask_ranges(Tx& tx, sync_state const& sync, exchange_limits const& own, request& q) const {
        auto const c = read_comparison(tx);
        if (!c) { return c.error(); }
        auto wanted = wanted_.first(tx, wanted_ranges_max, *c ? band_repair : band_rest);
        if (wanted && wanted->empty() && *c) {
            wanted = wanted_.first(tx, 1);
            if (wanted && !wanted->empty()) {
                auto const theirs = told_limits(tx);
                if (!theirs) { return theirs.error(); }
                auto const message_max = lower_of(own, sync.epoch ? *theirs : exchange_floor).message_max;
                if (auto ok = sum_up(tx, **c, message_max / 32, wanted->front(), q); !ok) { return ok; }
            }
        }
        if (!wanted) { return wanted.error(); }
        q.ranges = std::move(*wanted);
        return {};
    }
    /// Sums of what is held of a range, in at most `size` bytes; the range is made to end where they do. None where what
    /// is held first does not decode: that is to be told.
    template <class Tx>
    [[nodiscard]] status sum_up(Tx& tx, comparison const& c, std::uint64_t size, record_range& range,
                                request& q) const {
        compared_range out{c.round, c.key, c.horizon, {}};
        detail::row_sum sum{c.key};
        bool whole = true;
        std::uint64_t const rows_max = (std::min)(options_.compared_rows, range_sums_rows_max);
        auto const close = [&](bytes_view to) {
            std::uint64_t const rows = sum.rows();
            out.parts.push_back({to_bytes(to), rows, sum.take()});
            size -= (std::min)(size, to.size() + fingerprint_bytes + 8);
        };
        auto const ok = scan_confirmed(tx, range, [&](record_key const& k, row const& state) {
            if (state.deleted && state.version <= c.horizon) { return true; }
            if (sum.rows() == rows_max) {
                close(to_bytes(k));
                whole = out.parts.size() < range_sums_max && size > range_bound_bytes_max + fingerprint_bytes + 8;
                if (!whole) { return false; }
            }
            sum.add_held(k, state, options_.schemas);
            return true;
        });
        if (!ok && ok.error() != errc::corrupt) { return ok; }
        if (!ok && out.parts.empty()) { return {}; }
        if (ok && whole) { close(bytes{range.to}); }
        range.to = out.parts.back().to;
        q.compared = std::move(out);
        return {};
    }
    /// Takes what was found to be the same in this round; then the next begins, or it is over. Answers how many ranges.
    template <class Tx>
    [[nodiscard]] result<std::size_t> take_same(Tx& tx, reply& p, std::vector<bytes>& dirty, event_batch& events,
                                                instant now) const {
        if (!p.same && p.ranges.empty() && p.rows.empty()) { return std::size_t{0}; }
        auto const c = read_comparison(tx);
        if (!c) { return c.error(); }
        if (!*c) { return std::size_t{0}; }
        std::size_t same = 0;
        bool const counts = p.same && p.same->round == (*c)->round;
        if (counts) {
            for (record_range& r : p.same->ranges) {
                auto const taken = take_range(tx, r, {}, {}, p.head, dirty, events, now, true);
                if (!taken) { return taken.error(); }
                if (auto ok = forget_withheld(tx, r); !ok) { return ok.error(); }
                ++same;
            }
        }
        auto const none = wanted_.empty(tx);
        if (!none) { return none.error(); }
        auto const ok = *none ? tx.erase(key('n')) : counts ? next_round(tx) : status{};
        if (!ok) { return ok.error(); }
        return same;
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
            if (ok && same && options_.scoped) { ok = scopes_.set_members(tx, old[i].second, {}); }
            if (ok) { ok = tx.erase(numbered('d', old[i].first)); }
        }
        return ok;
    }

    // Scopes.

    static constexpr std::size_t evicted_max = 1'000;  ///< in one exchange

    /// What a reply is taken in against.
    struct scope_taking {
        scope_book::state state{};
        std::vector<held_scope> all{};
        std::vector<std::size_t> asked{};  ///< of `all`, those in the order of the request
    };

    template <class Tx>
    [[nodiscard]] result<scope_book::state> scope_state(Tx& tx) const {
        auto state = scopes_.read(tx);
        if (!state) { return state.error(); }
        if (!*state || !options_.scoped) { return failure{errc::invalid, "the replica holds everything"}; }
        return **state;
    }
    template <class Tx>
    [[nodiscard]] result<scope_request> scopes_asked(Tx& tx) const {
        auto state = scope_state(tx);
        if (!state) { return state.error(); }
        auto all = scopes_.list(tx);
        if (!all) { return all.error(); }
        scope_request q{state->generation, state->mask, {}};
        for (held_scope& h : *all) {
            if (!scope_book::asked(h)) { continue; }
            asked_scope a{std::move(h.what), std::nullopt};
            if (h.is != held_scope::state::complete) { a.joining = h.place; }
            q.all.push_back(std::move(a));
        }
        return q;
    }
    /// Whether nothing more is known to come than what changes: no range, and no scope that there is.
    template <class Tx>
    [[nodiscard]] result<bool> nothing_to_come(Tx& tx) const {
        if (!options_.scoped) { return wanted_.empty(tx); }
        auto all = scopes_.list(tx);
        if (!all) { return all.error(); }
        return std::none_of(all->begin(), all->end(),
                            [](held_scope const& h) { return h.is == held_scope::state::joining; });
    }
    /// False for a reply to what was asked for before. `errc::foreign` for one that doesn't fit.
    template <class Tx>
    [[nodiscard]] result<bool> begin_scopes(Tx& tx, reply const& p, position cursor, scope_taking& t) const {
        auto state = scope_state(tx);
        if (!state) { return state.error(); }
        t.state = *state;
        if (p.scopes->generation != t.state.generation) { return false; }
        auto all = scopes_.list(tx);
        if (!all) { return all.error(); }
        t.all = std::move(*all);
        for (std::size_t i = 0; i < t.all.size(); ++i) {
            if (scope_book::asked(t.all[i])) { t.asked.push_back(i); }
        }
        failure const unfit{errc::foreign, "scopes that were not asked for"};
        for (scope_answer const& a : p.scopes->answers) {
            if (a.index >= t.asked.size()) { return unfit; }
        }
        for (scope_run const& r : p.scopes->runs) {
            if (r.members.back() >= t.asked.size()) { return unfit; }
        }
        if (p.from <= cursor) { return true; }
        // It begins further on than what is held: right where nothing is held for which the cursor stands.
        std::size_t answered = 0;
        for (std::size_t i = 0; i < t.asked.size(); ++i) {
            auto const& answers = p.scopes->answers;
            while (answered < answers.size() && answers[answered].index < i) { ++answered; }
            bool const told = answered < answers.size() && answers[answered].index == i;
            bool const stays = t.all[t.asked[i]].is == held_scope::state::complete;
            if (stays && (!told || answers[answered].standing == scope_standing::complete ||
                          answers[answered].standing == scope_standing::joining)) {
                return failure{errc::foreign, "a page that does not follow the cursor"};
            }
        }
        return true;
    }
    /// Of a page that is not taken: in which scopes its records are, lest one that was written here outlives them. Those that
    /// are in none but such as are being joined and have not begun count as gone: they are told in it if they are still
    /// there then, and if they left before, they are not told.
    template <class Tx>
    [[nodiscard]] status note_untaken(Tx& tx, scope_taking const& t, reply& p) const {
        std::size_t next = 0;
        for (scope_run const& r : p.scopes->runs) {
            std::vector<std::uint64_t> begun;
            for (std::uint64_t const m : r.members) {
                held_scope const& h = t.all[t.asked[static_cast<std::size_t>(m)]];
                if (h.is == held_scope::state::complete || h.place.since != 0) { begun.push_back(h.number); }
            }
            std::sort(begun.begin(), begun.end());
            for (std::uint64_t i = 0; i < r.rows; ++i, ++next) {
                bytes name = to_bytes(p.rows[next].key);
                if (begun.empty()) {
                    p.scopes->gone.push_back(std::move(name));
                } else if (auto ok = scopes_.set_members(tx, name, begun); !ok) {
                    return ok;
                }
            }
        }
        return {};
    }
    /// Whether the authority has yet to be asked about what is carried under this name, or about what it lacked when it was.
    /// Of this replica's, what comes is after `settled` and before `own`, which waits.
    template <class Tx>
    [[nodiscard]] result<bool> still_comes(Tx& tx, dot id, std::uint64_t room, dot const& own,
                                           std::uint64_t settled) const {
        for (int depth = 0; depth < needs_depth_max; ++depth) {
            if (id.replica == own.replica) { return id.sequence > settled && id.sequence < own.sequence; }
            auto const c = carried_.find(tx, id);
            if (!c) { return c.error(); }
            if (!*c || (*c)->sealed.size() > room) { return false; }
            if (!(*c)->asked) { return true; }
            if ((*c)->decided || (*c)->missing.sequence == 0) { return false; }
            id = (*c)->missing;
        }
        return false;
    }
    static constexpr int needs_depth_max = 64;

    /// Takes in which scopes the told records are in, and how far each scope is. Whether anything moved.
    template <class Tx>
    [[nodiscard]] result<bool> take_scopes(Tx& tx, reply const& p, scope_taking& t, std::vector<bytes>& dirty,
                                           event_batch& events) const {
        std::size_t next = 0;
        std::vector<std::uint64_t> numbers;
        for (scope_run const& r : p.scopes->runs) {
            numbers.clear();
            for (std::uint64_t const m : r.members) {
                numbers.push_back(t.all[t.asked[static_cast<std::size_t>(m)]].number);
            }
            std::sort(numbers.begin(), numbers.end());
            for (std::uint64_t i = 0; i < r.rows; ++i) {
                if (auto ok = scopes_.set_members(tx, to_bytes(p.rows[next++].key), numbers); !ok) {
                    return ok.error();
                }
            }
        }
        for (bytes const& name : p.scopes->gone) {
            if (auto ok = let_go(tx, name, dirty, events); !ok) { return ok.error(); }
        }
        bool moved = t.state.mask != p.scopes->mask;
        t.state.mask = p.scopes->mask;
        for (scope_answer const& a : p.scopes->answers) {
            held_scope h = t.all[t.asked[static_cast<std::size_t>(a.index)]];
            held_scope const was = h;
            switch (a.standing) {
                case scope_standing::refused:
                    if (h.is == held_scope::state::refused) { break; }
                    if (auto ok = scopes_.join_again(tx, t.state, h, true, t.all); !ok) { return ok.error(); }
                    moved = true;
                    break;
                case scope_standing::anew:
                    if (auto ok = scopes_.join_again(tx, t.state, h, false, t.all); !ok) { return ok.error(); }
                    moved = true;
                    break;
                case scope_standing::joining:
                case scope_standing::complete:
                    h.is = a.standing == scope_standing::complete ? held_scope::state::complete
                                                                  : held_scope::state::joining;
                    h.place = a.place;
                    if (h == was) { break; }
                    moved = true;
                    if (auto ok = scopes_.put(tx, h); !ok) { return ok.error(); }
                    if (h.is == held_scope::state::complete) {
                        if (auto ok = scopes_.end_replaced(tx, h.number, t.all); !ok) { return ok.error(); }
                    }
                    break;
            }
        }
        return moved;
    }
    /// Other fields are hidden now: what is carried shows, or shows no more; what is home and waits for a row may never have
    /// one that says so.
    template <class Tx>
    [[nodiscard]] status take_mask(Tx& tx, scope_book::state const& now, std::vector<bytes>& dirty) const {
        if (auto ok = scopes_.write(tx, now); !ok) { return ok; }
        std::vector<bytes> names;
        auto ok = carried_.scan(tx, dot{}, [&](carried_envelope const& c) {
            for (carried_part const& part : c.parts) { names.push_back(part.record); }
            return true;
        });
        for (bytes& name : names) {
            auto const ended = ok ? end_carried(tx, name, no_position) : result<bool>{ok.error()};
            if (!ended) { return ended.error(); }
            dirty.push_back(std::move(name));
        }
        return ok;
    }
    template <class Tx>
    [[nodiscard]] status join_all_again(Tx& tx) const {
        auto state = scope_state(tx);
        if (!state) { return state.error(); }
        auto all = scopes_.list(tx);
        if (!all) { return all.error(); }
        std::vector<held_scope> const before = *all;
        for (held_scope const& h : before) {
            if (!scope_book::asked(h) || h.is == held_scope::state::refused) { continue; }
            if (auto ok = scopes_.join_again(tx, *state, h, false, *all); !ok) { return ok; }
        }
        ++state->generation;
        return scopes_.write(tx, *state);
    }

    /// A record was told as of `head`: what was decided by then is in it, whatever version its reader sees.
    template <class Tx>
    [[nodiscard]] status end_overlay(Tx& tx, bytes const& name, position head, std::vector<bytes>& dirty) const {
        std::vector<bytes> over;
        auto ok = scan_prefix(tx, decided_prefix(name), [&](bytes_view at, bytes_view raw) {
            cbor_reader in{raw};
            bool const offered = in.array() == 5;  // has no effect yet
            if (!offered && in.unsigned_integer() <= head) { over.push_back(to_bytes(at)); }
            return true;
        });
        for (std::size_t i = 0; i < over.size() && ok; ++i) { ok = tx.erase(over[i]); }
        if (!over.empty()) { dirty.push_back(name); }
        return ok;
    }
    /// A record is in no scope: it goes, at once where nothing waits, else when that is decided. What was decided before
    /// had its effect, elsewhere. What is carried of it goes on unseen: `hidden` is to be computed anew.
    template <class Tx>
    [[nodiscard]] status let_go(Tx& tx, bytes const& name, std::vector<bytes>& hidden, event_batch& events) const {
        if (auto ok = scopes_.set_members(tx, name, {}); !ok) { return ok; }
        if (options_.relay) {
            if (auto ended = end_carried(tx, name, no_position); !ended) { return ended.error(); }
            hidden.push_back(name);
        }
        auto const k = record_key_from(name);
        if (!k) { return k.error(); }
        auto found = records_.find(tx, *k);
        if (!found && found.error() != errc::corrupt) { return found.error(); }
        bool const held = found && *found;
        if (held && (*found)->pending) {
            bool waits = false;
            std::vector<bytes> over;
            auto ok = outbox_.scan_record(tx, name, [&](outbox_entry const&) {
                waits = true;
                return false;
            });
            if (!ok) { return ok; }
            ok = scan_prefix(tx, decided_prefix(name), [&](bytes_view at, bytes_view raw) {
                cbor_reader in{raw};
                bool const offered = in.array() == 5;  // it waits for another verdict
                waits = waits || offered;
                if (!offered) { over.push_back(to_bytes(at)); }
                return true;
            });
            if (!ok) { return ok; }
            if (waits) { return scopes_.keep_for_now(tx, name); }
            for (bytes const& at : over) {
                if (ok = tx.erase(at); !ok) { return ok; }
            }
        }
        if (held && !(*found)->visible.deleted) { events.add_eviction(*k); }
        if (held) {
            if (auto ok = tx.erase(numbered('d', (*found)->confirmed)); !ok) { return ok; }
        }
        if (auto ok = scopes_.kept_no_more(tx, name); !ok) { return ok; }
        return records_.erase(tx, *k);
    }
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
                                          event_batch& events) const {
        auto all = scopes_.list(tx);
        if (!all) { return all.error(); }
        for (held_scope const& h : *all) {
            if (h.is != held_scope::state::leaving) { continue; }
            auto names = scopes_.first_of(tx, h.number, budget);
            if (!names) { return names.error(); }
            for (bytes const& name : *names) {
                auto in = scopes_.members(tx, name);
                if (!in) { return in.error(); }
                std::erase(*in, h.number);
                auto ok = in->empty() ? let_go(tx, name, hidden, events) : scopes_.set_members(tx, name, *in);
                if (!ok) { return ok.error(); }
            }
            if (names->size() == budget) { return true; }
            budget -= names->size();
            if (auto ok = scopes_.drop(tx, h.number); !ok) { return ok.error(); }
        }
        auto kept = scopes_.all_kept_for_now(tx, budget);
        if (!kept) { return kept.error(); }
        for (bytes const& name : *kept) {
            if (auto ok = release(tx, name, hidden, events); !ok) { return ok.error(); }
        }
        return false;
    }

    /// Takes in a range as it was at `head`: rows that are told, and the end of those that are not. Answers how many
    /// rows were newer than what is held. Where more is to end than one exchange should do, the range's rest stays
    /// wanted.
    template <class Tx>
    [[nodiscard]] result<std::size_t> take_range(Tx& tx, record_range& covered, std::span<row_update> told,
                                                 std::span<bytes const> kept_back, position head,
                                                 std::vector<bytes>& dirty, event_batch& events, instant now,
                                                 bool same = false) const {
        std::vector<bool> held(told.size());
        std::vector<record_key> gone;
        std::optional<bool> again;  // nothing of it is wanted: it was told before
        std::size_t next = 0;
        auto const look = [&](record_key const& k, held_record& h) {
            record_entry const name{"", k};
            while (next < told.size() && compare(record_entry{"", told[next].key}, name) < 0) { ++next; }
            if (next < told.size() && told[next].key == k) {
                held[next] = true;
                return true;
            }
            if (same && h.confirmed != 0) { return true; }
            // It is there, and was not told as it is too large.
            bool const back = std::binary_search(kept_back.begin(), kept_back.end(), bytes_view{name},
                                                 [](bytes_view a, bytes_view b) { return compare(a, b) < 0; });
            if (back) { return true; }
            // What came in later than the answer was given is no part of what it tells.
            bool const voided = h.confirmed == 0 && h.visible.deleted;
            if (h.confirmed == 0 ? !h.pending && !voided : h.confirmed > head) { return true; }
            if (gone.size() >= options_.rows_max) {
                covered.to = to_bytes(name);
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
            again = false;
            gone.clear();
            next = 0;
            ok = records_.scan_range(tx, covered.from, covered.to, look);
        }
        if (!ok) { return ok.error(); }
        for (record_key const& k : gone) {
            if (auto taken = take_end(tx, k, head, dirty, events, now); !taken) { return taken.error(); }
        }
        std::size_t taken = 0;
        for (std::size_t i = 0; i < told.size(); ++i) {
            if (told[i].state.deleted && !held[i]) {
                auto const complete = again ? result<bool>{*again} : wanted_.complete(tx, covered);
                if (!complete) { return complete.error(); }
                again = *complete;
                if (*again) { continue; }  // perhaps a tombstone that everybody has and that is gone here too
            }
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
                                  event_batch& events, instant now) const {
        auto found = records_.find(tx, k);
        if (!found) { return found.error(); }
        if (!*found) { return {}; }
        held_record& held = **found;
        bytes name = to_bytes(k);
        bool carried_ended = false;
        if (options_.relay) {
            auto const done = end_carried(tx, name, head);
            if (!done) { return done.error(); }
            carried_ended = *done;
        }
        if (!held.pending) {
            if (!held.visible.deleted) {
                events.add_change(k, true);
                journal_note note;
                note.what = journal_event::evicted;
                note.stamp = timestamp::make(now.wall);
                note.record = &k;
                if (auto ok = tell(tx, note); !ok) { return ok; }
            }
            if (auto ok = tx.erase(numbered('d', held.confirmed)); !ok) { return ok; }
            return records_.erase(tx, k);
        }
        // What was decided by then had its effect, and that has ended too.
        std::vector<bytes> ended;
        auto ok = scan_prefix(tx, decided_prefix(name), [&](bytes_view at, bytes_view raw) {
            cbor_reader in{raw};
            bool const offered = in.array() == 5;  // has no effect yet
            if (!offered && in.unsigned_integer() <= head) { ended.push_back(to_bytes(at)); }
            return true;
        });
        for (std::size_t i = 0; i < ended.size() && ok; ++i) { ok = tx.erase(ended[i]); }
        if (!ok) { return ok; }
        if (held.confirmed == 0 && ended.empty() && !carried_ended) { return {}; }
        if (ok = tell_end(tx, k, held, events); !ok) { return ok; }
        if (ok = records_.drop_confirmed(tx, k); !ok) { return ok; }
        if (ok = tx.erase(numbered('d', held.confirmed)); !ok) { return ok; }
        held.confirmed = 0;
        dirty.push_back(std::move(name));
        return records_.put(tx, k, held, nullptr);
    }

    /// Of a strong collection tells that what is confirmed of a record goes.
    template <class Tx>
    [[nodiscard]] status tell_end(Tx& tx, record_key const& k, held_record const& held, event_batch& events) const {
        if (!rules_.of(k.collection).strong() || held.confirmed == 0) { return {}; }
        bool lived = !held.visible.deleted;
        if (held.pending) {
            auto const was = records_.find_confirmed(tx, k);
            if (!was && was.error() != errc::corrupt) { return was.error(); }
            lived = was && *was && !(*was)->deleted;
        }
        if (lived) { events.add_change(k, true); }
        return {};
    }

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
    [[nodiscard]] result<bool> complete_rows(Tx& tx, sync_state const& sync, reply& p, own_work& own) const {
        if (p.from != sync.cursor || sync.staged != 0) { return false; }  // of another question than was asked last
        auto whole = complete_own(tx, p, own);
        if (whole && *whole) { whole = complete_parts(tx, p); }
        if (!whole && whole.error() == errc::corrupt) { whole = false; }
        if (whole && !*whole) {
            if (auto ok = tx.put(key('y'), {}); !ok) { return ok.error(); }
        }
        return whole;
    }
    /// Of the rows that are told in part.
    template <class Tx>
    [[nodiscard]] result<bool> complete_parts(Tx& tx, reply& p) const {
        row_completer completer{p.from};
        p.rows.reserve(p.rows.size() + p.parts.size());
        for (row_update& u : p.parts) {
            auto const held = find_as_told(tx, u.key);
            if (!held) { return held.error(); }
            if (!*held || !completer.complete((*held)->fields, u.state)) { return false; }
            p.rows.push_back(std::move(u));
        }
        bool const same = p.parts.empty() || completer.sum() == p.parts_sum;
        p.parts.clear();
        return same;
    }
    /// Of those that own mutations make: into `own`, nothing is written.
    template <class Tx>
    [[nodiscard]] result<bool> complete_own(Tx& tx, reply& p, own_work& own) const {
        if (p.own.empty()) { return true; }
        std::vector<own_mutation>& all = own.mutations;
        all.reserve(p.own.size());
        std::vector<outbox_claim> claims;
        claims.reserve(p.own.size());
        auto said = p.verdicts.cbegin();
        bool good = true;
        auto next = p.own.cbegin();
        auto ok = tx.scan({numbered('f', p.own.front()), numbered('f', p.own.back() + 1)},
                          [&](bytes_view k, bytes_view where) {
                              std::uint64_t const sequence = k.size() == 10 ? read_u64(k.subspan(2)) : 0;
                              if (next == p.own.cend() || sequence > *next) { return good = false; }
                              if (sequence != *next) { return true; }
                              ++next;
                              while (said->sequence != sequence) { ++said; }
                              // One that is offered again lies elsewhere, and may have been sent under another name.
                              good = where.size() == 16;
                              if (good) {
                                  claims.push_back({read_u64(where), read_u64(where.subspan(8))});
                                  all.push_back({{}, {}, &*said, claims.back()});
                              }
                              return good;
                          });
        if (!ok) { return ok.error(); }
        if (!good || next != p.own.cend()) { return false; }  // a verdict that came before
        // What is visible has been made by the same mutations: where it comes out as it did at the authority, nothing need be
        // applied again. Where others wait on a record too, or other rules were there, it doesn't.
        for (bool const anew : {false, true}) {
            auto const same = make_own(tx, p, claims, anew, own);
            if (!same || *same || anew) { return same; }
        }
        return false;
    }
    /// The rows of own mutations, whose verdicts and claims are noted: by applying them, or else of what is visible as far as
    /// that may be. Whether they are those that the reply has the sum of.
    template <class Tx>
    [[nodiscard]] result<bool> make_own(Tx& tx, reply const& p, std::span<outbox_claim const> claims, bool anew,
                                        own_work& own) const {
        std::vector<own_mutation>& all = own.mutations;
        own.rows.clear();
        if (anew) {
            auto const sent = [](own_mutation const& a, own_mutation const& b) {
                return a.said->sequence < b.said->sequence;
            };
            std::sort(all.begin(), all.end(), sent);  // as the claims are
        }
        status damaged;
        bool known = true;
        auto ok = outbox_.payloads_of(tx, claims, [&](std::size_t i, bytes_view payload) {
            mutation& change = all[i].change;
            if (anew) {
                auto m = pending::mutation_in(payload);
                if (!m) {
                    damaged = m.error();
                    return false;
                }
                change = std::move(*m);
            } else {
                auto const o = pending::outline_in(payload);
                if (!o) { return known = false; }
                change.kind = o->kind;
                change.record = {o->record.collection, o->record.id};
            }
            all[i].name = to_bytes(change.record);
            return true;
        });
        if (ok) { ok = damaged; }
        if (!ok) { return ok.error() == errc::claim_lost ? result<bool>{false} : result<bool>{ok.error()}; }
        if (!known) { return false; }
        auto const earlier = [](own_mutation const& a, own_mutation const& b) { return compare(a.name, b.name) < 0; };
        if (!std::is_sorted(all.begin(), all.end(), earlier)) { std::stable_sort(all.begin(), all.end(), earlier); }
        own.rows.reserve(all.size());
        for (std::size_t i = 0; i < all.size();) {
            own_row made;
            made.first = i;
            record_key const& k = all[i].change.record;
            auto held = records_.find(tx, k);
            if (!held) { return held.error(); }
            made.waits = *held && (*held)->pending;
            std::size_t const begin = i;
            while (i < all.size() && all[i].name == all[begin].name) { ++i; }
            made.last = i;
            if (!anew) {
                if (!made.waits || i - begin != 1 || !as_confirmed(**held, all[begin], p.author)) { return false; }
                made.was_confirmed = (*held)->confirmed != 0;
                made.before = (*held)->confirmed;
                made.state = std::move((*held)->visible);
                own.rows.push_back(std::move(made));
                continue;
            }
            std::optional<row> now;
            if (*held && (*held)->confirmed != 0) {
                if (made.waits) {
                    auto kept = records_.find_confirmed(tx, k);
                    if (!kept) { return kept.error(); }
                    now = std::move(*kept);
                } else {
                    now = (*held)->visible;
                }
            }
            made.was_confirmed = now.has_value();
            made.was_deleted = now && now->deleted;
            made.before = now ? now->version : 0;
            for (std::size_t at = begin; at < i; ++at) {
                apply_context context;
                context.author = p.author;
                context.at = all[at].said->version;
                context.stamp_max = all[at].said->stamp;
                if (!apply(now, all[at].change, rules_.of(k.collection), context).changed) { return false; }
            }
            made.changes = !*held || (*held)->visible.deleted != now->deleted ||
                           (!now->deleted && !equal((*held)->visible.fields, now->fields));
            made.state = std::move(*now);
            own.rows.push_back(std::move(made));
        }
        auto const before = [](own_row const& a, own_row const& b) { return a.state.version < b.state.version; };
        if (!std::is_sorted(own.rows.begin(), own.rows.end(), before)) {
            std::sort(own.rows.begin(), own.rows.end(), before);
        }
        xxh3_64_hasher sum;
        bytes raw;
        for (own_row const& r : own.rows) {
            raw.clear();
            cbor_writer w{raw};
            encode_row(w, r.state);
            sum.update(raw);
        }
        return sum.finish() == p.own_sum;
    }
    /// Makes of a visible row on which one mutation waits what it is once that is confirmed. False where it can't be told
    /// without what was confirmed before.
    [[nodiscard]] static bool as_confirmed(held_record& held, own_mutation const& m, author_index author) {
        row& r = held.visible;
        bool const begins = m.change.kind == change_kind::create && held.confirmed == 0;
        bool const edits = m.change.kind == change_kind::update && held.confirmed != 0;
        if (r.deleted || (!begins && !edits)) { return false; }
        auto const confirm = [&](write_mark& w) {
            if (w.at != pending_position) { return; }
            w.at = m.said->version;
            w.author = author;
        };
        r.version = m.said->version;
        confirm(r.floor);
        for (field_mark& e : r.exceptions) { confirm(e.mark); }
        return true;
    }
    /// Adds rows of the page that own mutations have made as they stand: each with the one on it that was decided last. Where
    /// more waits on such a record, `take_own` leaves it to the page. Nothing is written.
    template <class Tx>
    [[nodiscard]] status match_told(Tx& tx, sync_state const& sync, reply& p, own_work& own) const {
        bool const plain = !options_.scoped && options_.schemas == nullptr && !p.partial && p.ranges.empty() &&
                           p.from == sync.cursor && sync.staged == 0;
        if (!plain || p.rows.empty()) { return {}; }
        std::vector<std::pair<position, std::size_t>> places;
        places.reserve(p.rows.size());
        for (std::size_t i = 0; i < p.rows.size(); ++i) { places.emplace_back(p.rows[i].state.version, i); }
        if (!std::is_sorted(places.begin(), places.end())) { std::sort(places.begin(), places.end()); }
        struct match {
            verdict const* said;
            std::size_t told;
        };
        std::vector<match> matches;
        own.told.assign(p.rows.size(), false);
        for (verdict const& v : p.verdicts) {
            bool const stands =
                v.kind == verdict_kind::applied || v.kind == verdict_kind::merged || v.kind == verdict_kind::overruled;
            auto const at = std::lower_bound(places.begin(), places.end(), std::pair{v.version, std::size_t{0}});
            bool const there = at != places.end() && at->first == v.version && v.version > sync.cursor;
            bool const made = std::binary_search(p.own.begin(), p.own.end(), v.sequence);
            if (!stands || !there || made || own.told[at->second]) { continue; }
            own.told[at->second] = true;  // of no other
            matches.push_back({&v, at->second});
        }
        own.told.assign(p.rows.size(), false);
        if (matches.empty()) { return {}; }
        std::vector<outbox_claim> claims;
        auto next = matches.begin();
        auto kept = matches.begin();
        auto ok = tx.scan({numbered('f', matches.front().said->sequence), prefix_end(key('f'))},
                          [&](bytes_view k, bytes_view where) {
                              std::uint64_t const sequence = k.size() == 10 ? read_u64(k.subspan(2)) : 0;
                              while (next != matches.end() && next->said->sequence < sequence) { ++next; }
                              if (next == matches.end()) { return false; }
                              if (next->said->sequence == sequence && where.size() == 16) {
                                  claims.push_back({read_u64(where), read_u64(where.subspan(8))});
                                  *kept++ = *next++;
                              }
                              return true;
                          });
        if (!ok) { return ok; }
        own.mutations.reserve(own.mutations.size() + claims.size());
        own.rows.reserve(own.rows.size() + claims.size());
        ok = outbox_.payloads_of(tx, claims, [&](std::size_t i, bytes_view payload) {
            auto const o = pending::outline_in(payload);
            match const& m = matches[i];
            record_key const& k = p.rows[m.told].key;
            if (!o || o->record.collection != k.collection || !equal(o->record.id, k.id)) { return true; }
            own_row r;
            r.first = own.mutations.size();
            r.last = r.first + 1;
            r.told = m.told;
            own_mutation& mine = own.mutations.emplace_back();
            mine.change.kind = o->kind;
            mine.change.record = k;
            mine.name = to_bytes(k);
            mine.said = m.said;
            mine.claim = claims[i];
            own.rows.push_back(std::move(r));
            return true;
        });
        bool const lost = !ok && ok.error() == errc::claim_lost;
        return lost ? status{failure{errc::corrupt, "frozen mutation without its entry"}} : ok;
    }
    /// What is held where such a row is taken. False where it is for the page: damaged, or not older.
    template <class Tx>
    [[nodiscard]] result<bool> meets_told(Tx& tx, record_key const& k, row const& state, own_row& r) const {
        auto held = records_.find(tx, k);
        if (!held && held.error() != errc::corrupt) { return held.error(); }
        if (!held || !*held || (*held)->confirmed >= state.version) { return false; }
        r.waits = (*held)->pending;
        r.was_confirmed = r.was_deleted = (*held)->confirmed != 0;  // perhaps
        r.before = (*held)->confirmed;
        row const& seen = (*held)->visible;
        r.changes = seen.deleted != state.deleted || (!state.deleted && !equal(seen.fields, state.fields));
        return true;
    }
    /// Whether the reply has a verdict on each mutation that was decided and waits for one, in order.
    [[nodiscard]] static bool all_said(sync_state const& sync, reply const& p) noexcept {
        std::uint64_t last = sync.settled;
        for (verdict const& v : p.verdicts) {
            if (v.sequence != ++last) { return false; }
        }
        return last == p.decided && last < sync.next_sequence;
    }
    /// Takes in own rows with their verdicts in one go, where nothing else waits on the record: what `take_verdict`,
    /// `take_row` and `rebase` come to then. The others join the page's rows. Answers how many rows were taken so.
    template <class Tx>
    [[nodiscard]] result<std::size_t> take_own(Tx& tx, bool at_once, own_work& own, reply& p,
                                               event_batch& events) const {
        auto const join = [&](own_row& r) {
            if (!r.told) { p.rows.push_back({own.mutations[r.first].change.record, std::move(r.state)}); }
        };
        auto const kept = read_sync(tx);
        if (!kept) { return kept.error(); }
        if (keeps_journal<Journal> || !at_once || kept->kept || options_.relay) {
            for (own_row& r : own.rows) { join(r); }
            return std::size_t{0};
        }
        auto const load = outbox_.load(tx);
        if (!load) { return load.error(); }
        bool const others = load->first != own.mutations.size();
        bool decided = false;
        auto ok = scan_prefix(tx, key('h'), [&](bytes_view, bytes_view) {
            decided = true;
            return false;
        });
        if (!ok) { return ok.error(); }
        std::vector<outbox_claim> done;
        done.reserve(own.mutations.size());
        own.said.reserve(own.mutations.size());
        std::size_t rows = 0;
        for (own_row& r : own.rows) {
            own_mutation const& first = own.mutations[r.first];
            if (r.told) {
                auto const met = meets_told(tx, first.change.record, p.rows[*r.told].state, r);
                if (!met) { return met.error(); }
                if (!*met) { continue; }
            }
            row& state = r.told ? p.rows[*r.told].state : r.state;
            bool alone = r.waits && !rules_.of(first.change.record.collection).strong();
            if (alone && others) {
                std::size_t waiting = 0;
                ok = outbox_.scan_record(tx, first.name,
                                         [&](outbox_entry const&) { return ++waiting <= r.last - r.first; });
                if (!ok) { return ok.error(); }
                alone = waiting == r.last - r.first;
            }
            if (alone && decided) {
                ok = scan_prefix(tx, decided_prefix(first.name), [&](bytes_view, bytes_view) { return alone = false; });
                if (!ok) { return ok.error(); }
            }
            if (!alone) {
                join(r);
                continue;
            }
            record_key const& k = first.change.record;
            for (std::size_t i = r.first; i < r.last; ++i) {
                own_mutation const& m = own.mutations[i];
                events.add_verdict(k, *m.said);
                done.push_back(m.claim);
                own.said.push_back(m.said->sequence);
                if (ok = tx.erase(numbered('f', m.said->sequence)); !ok) { return ok.error(); }
            }
            if (r.was_deleted) {
                if (ok = tx.erase(numbered('d', r.before)); !ok) { return ok.error(); }
            }
            if (state.deleted) {
                if (ok = tx.put(numbered('d', state.version), first.name); !ok) { return ok.error(); }
            }
            if (r.was_confirmed) {
                if (ok = records_.drop_confirmed(tx, k); !ok) { return ok.error(); }
            }
            if (r.changes) { events.add_change(k, state.deleted); }
            held_record clean{false, state.version, std::move(state)};
            if (ok = records_.put(tx, k, clean, nullptr); !ok) { return ok.error(); }
            if (r.told) {
                own.told[*r.told] = true;
                state = std::move(clean.visible);  // its stamps are to be heard of yet
            }
            ++rows;
        }
        std::sort(own.said.begin(), own.said.end());
        own.taken = done.size();
        auto const gone = outbox_.ack_claims(tx, done);
        if (!gone) { return gone.error(); }
        if (*gone != done.size()) { return failure{errc::corrupt, "frozen mutation without its entry"}; }
        return rows;
    }
    /// Sorts names of records, each once; those before `first` and the rest came in an order of their own.
    static void sort_names(std::vector<bytes>& names, std::size_t first) {
        auto const less = [](bytes const& a, bytes const& b) { return compare(a, b) < 0; };
        auto const middle = names.begin() + static_cast<std::ptrdiff_t>(first);
        if (!std::is_sorted(names.begin(), middle, less)) { std::sort(names.begin(), middle, less); }
        if (!std::is_sorted(middle, names.end(), less)) { std::sort(middle, names.end(), less); }
        std::inplace_merge(names.begin(), middle, names.end(), less);
        names.erase(std::unique(names.begin(), names.end()), names.end());
    }
    /// The confirmed row as it was told.
    template <class Tx>
    [[nodiscard]] result<std::optional<row>> find_as_told(Tx& tx, record_key const& k) const {
        auto held = records_.find(tx, k);
        if (!held) { return held.error(); }
        if (!*held || (*held)->confirmed == 0) { return std::optional<row>{}; }
        if ((*held)->pending) { return records_.find_confirmed(tx, k); }
        return std::optional<row>{std::move((*held)->visible)};
    }
    /// What was carried, and decided by `head` at the latest, has had its effect on a record that has ended. Whether there
    /// was any.
    template <class Tx>
    [[nodiscard]] result<bool> end_carried(Tx& tx, bytes_view name, position head) const {
        std::vector<dot> done;
        auto ok = carried_.each_of(tx, name, [&](carried_envelope const& c, carried_part const& part, timestamp) {
            if (c.decided && part.version <= head) { done.push_back(c.id); }
            return true;
        });
        for (std::size_t i = 0; i < done.size() && ok; ++i) { ok = carried_.contained(tx, done[i], name); }
        if (!ok) { return ok.error(); }
        return !done.empty();
    }

    /// Computes records anew, and keeps the events of it.
    template <class Tx>
    [[nodiscard]] status show(Tx& tx, std::vector<bytes> dirty, sync_state& sync, handed_report& report,
                              event_batch events = {}) const {
        std::sort(dirty.begin(), dirty.end(), [](bytes const& a, bytes const& b) { return compare(a, b) < 0; });
        dirty.erase(std::unique(dirty.begin(), dirty.end()), dirty.end());
        if (auto ok = rebase_all(tx, std::move(dirty), sync, events); !ok) { return ok; }
        report.changed = events.changed();
        if (events.empty()) { return {}; }
        ++sync.events;
        if (auto ok = tx.put(numbered('e', sync.events), events.encode()); !ok) { return ok; }
        return write_sync(tx, sync);
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
            if (rules_.of(u.key.collection).strong()) {
                auto const was = records_.find_confirmed(tx, u.key);
                if (!was && was.error() != errc::corrupt) { return was.error(); }
                bool const lived = was && *was && !(*was)->deleted;
                bool const same = lived != u.state.deleted && (!lived || equal((*was)->fields, u.state.fields));
                if (!same) { events.add_change(u.key, u.state.deleted); }
            }
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
                                        F&& told, G&& done_with, std::vector<group_laid>* groups = nullptr) const {
        collection_schema const& schema = schema_of_record(k);
        collection_rules const& rules = rules_.of(k.collection);
        position const known = now ? now->version : 0;
        bool const closed = now && !schema.cast(*now, schema.version());
        bool any = false;
        strong_chain chain{known};
        status outcome;
        bool took = false;  // the last that was laid
        auto const lay = [&](bytes_view encoded, timestamp stamp_max, std::uint64_t token, author_index author) {
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
            took = false;
            if (closed || !schema.carry_up(m, now)) { return true; }  // it shows nothing; what it becomes is decided
            apply_context context;
            context.author = author;
            context.stamp_max = stamp_max;
            // What a preview rejects or can't decide leaves the record as it is.
            apply_outcome done = apply(now, m, rules, context);
            if (now) { now->schema = schema.version(); }
            took = done.verdict == verdict_kind::applied || done.verdict == verdict_kind::merged;
            told(token, m, done);
            return true;
        };

        std::vector<bytes> contained;
        bytes const name = to_bytes(k);
        std::vector<dot> home;
        struct carried_over {
            timestamp stamp{};
            bytes frozen{};
            dot id{};
            bool grouped = false;
            bool shows = true;  // of a group: on its other records
        };
        std::vector<carried_over> others;
        std::optional<bool> open;  // whether anything that is carried may show
        if (options_.relay) {
            auto const sort_out = [&](carried_envelope const& c, carried_part const& part, timestamp stamp) {
                if (c.decided && part.version <= known) {
                    home.push_back(c.id);
                    return true;
                }
                bool const grouped = c.parts.size() > 1;
                if (!open) {
                    auto const shown = shows_others(tx, name);
                    if (!shown) { outcome = shown.error(); }
                    open = shown && *shown;
                }
                if (!*open || !c.shows_over(part, known)) {
                    if (grouped && groups != nullptr) { groups->push_back({c.id, part.applies, false}); }
                    return outcome.has_value();
                }
                auto const over = grouped ? shows(tx, c, part, known) : result<bool>{true};
                auto e = over ? open_envelope(c.sealed) : result<opened_envelope>{over.error()};
                if (e) {
                    others.push_back({stamp, std::move(e->said.frozen), c.id, grouped, *over});
                } else {
                    outcome = over ? failure{errc::corrupt, "carried envelope"} : over.error();
                }
                return outcome.has_value();
            };
            auto ok = carried_.each_of(tx, name, sort_out);
            if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
        }
        constexpr timestamp latest{(std::numeric_limits<std::uint64_t>::max)()};
        std::size_t next = 0;
        auto const lay_others = [&](std::size_t count) {
            for (; next < count; ++next) {
                carried_over const& o = others[next];
                std::optional<row> before = now;
                if (!lay(o.frozen, latest, 0, unknown_author)) { return false; }
                bool const large = now && now->fields.size() > options_.record_max;
                took = took && !large;
                if (large || (o.grouped && !(took && o.shows))) { now = std::move(before); }
                if (o.grouped && groups != nullptr) { groups->push_back({o.id, took, took && o.shows}); }
            }
            return true;
        };
        auto const earlier_than = [&](timestamp stamp) {
            std::size_t n = next;
            while (n < others.size() && others[n].stamp < stamp) { ++n; }
            return n;
        };
        auto const lay_earlier_than = [&](bytes_view encoded) {
            cbor_reader head{encoded};
            (void)head.array();
            (void)head.unsigned_integer();
            return lay_others(earlier_than(timestamp{head.unsigned_integer()}));
        };
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
            if (parts == 3) { chain.confirm(version); }
            // It may be made on what somebody else's made.
            return lay_earlier_than(encoded) && lay(encoded, stamp, 0, sync.author);
        });
        if (ok) { ok = outcome; }
        if (ok) { ok = done_with(contained, home); }
        if (!ok) { return ok.error(); }
        ok = outbox_.scan_record(tx, name, [&](outbox_entry const& e) {
            auto p = pending::parse(e.payload);
            if (!p) {
                outcome = p.error();
                return false;
            }
            if (rules.strong()) {
                auto m = p->decoded();
                if (!m) {
                    outcome = m.error();
                    return false;
                }
                if (!chain.take(e, *p, of_record(*m, k))) {
                    any = true;
                    apply_outcome missed;
                    missed.verdict = verdict_kind::rejected;
                    missed.reason = errc::contended;
                    told(e.token, *m, missed);
                    return true;
                }
            }
            return lay_earlier_than(p->encoded) && lay(p->encoded, latest, e.token, sync.author);
        });
        if (!ok) { return ok.error(); }
        if (outcome) { (void)lay_others(others.size()); }
        if (!outcome) { return outcome.error(); }
        return any;
    }

    /// Computes records anew, and then those that show others' groups with them. It comes to an end, for whether a group
    /// shows depends on earlier ones only; beyond a bound, for strangers' sake, the rest waits until it is touched again.
    template <class Tx>
    [[nodiscard]] status rebase_all(Tx& tx, std::vector<bytes> names, sync_state const& sync,
                                    event_batch& events) const {
        std::size_t const most = names.size() + spread_max;
        for (std::size_t i = 0; i < names.size() && i < most; ++i) {
            bytes const name = names[i];
            if (auto ok = rebase(tx, name, sync, events, names); !ok) { return ok; }
        }
        return {};
    }
    static constexpr std::size_t spread_max = 10'000;

    /// Computes a record anew: what is confirmed, plus what is not, in order. Appends to `spread` the records that are to
    /// be computed after it.
    template <class Tx>
    [[nodiscard]] status rebase(Tx& tx, bytes_view name, sync_state const& sync, event_batch& events,
                                std::vector<bytes>& spread) const {
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
        auto const forget = [&](std::vector<bytes> const& contained, std::vector<dot> const& home) {
            status ok;
            for (std::size_t i = 0; i < contained.size() && ok; ++i) { ok = tx.erase(contained[i]); }
            for (std::size_t i = 0; i < home.size() && ok; ++i) { ok = carried_.contained(tx, home[i], name); }
            return ok;
        };
        std::vector<group_laid> groups;
        auto const laid = lay_over(
            tx, *k, sync, now, [](std::uint64_t, mutation&, apply_outcome&) {}, forget, &groups);
        if (!laid) { return laid.error(); }
        for (group_laid const& g : groups) {
            auto others = carried_.note_shown(tx, g.id, name, g.applies, g.shown);
            if (!others) { return others.error(); }
            std::move(others->begin(), others->end(), std::back_inserter(spread));
        }
        bool const dirty = *laid;

        if (!dirty && !held->dirty) { return {}; }
        bool const was_there = held->present && !held->state.deleted;
        bool const is_there = now && !now->deleted;
        if (was_there != is_there || (is_there && !equal(now->fields, held->state.fields))) {
            // Of a strong collection what is confirmed counts, and is told where that changes.
            if (!rules_.of(k->collection).strong()) { events.add_change(*k, !is_there); }
        }
        if (!dirty) {
            if (!now) { return records_.erase(tx, *k); }
            if (auto dropped = records_.drop_confirmed(tx, *k); !dropped) { return dropped; }
        }
        row nothing;
        nothing.deleted = true;
        // As where an authority was put back: who creates it anew joins what comes again.
        bool const remembers = sync.kept && sync.kept->shared != no_position && held->present;
        nothing.life = remembers ? ended_life(held->state) : 0;
        bool const keeps = dirty && !held->dirty && confirmed;
        held_record const shown{dirty, known, now ? std::move(*now) : std::move(nothing)};
        return records_.put(tx, *k, shown, keeps ? &*confirmed : nullptr);
    }

    // Incarnations that were left when the authority was put back, so that nothing waits for what is not issued under them
    // any more: 'm', the last of them in order.

    template <class Tx>
    [[nodiscard]] result<std::vector<std::uint32_t>> read_left(Tx& tx) const {
        std::vector<std::uint32_t> all;
        bytes raw;
        auto found = tx.get(key('m'), raw);
        if (!found) { return found.error(); }
        if (!*found) { return all; }
        cbor_reader in{raw};
        all = detail::decode_left(in);
        if (!in.finish()) { return failure{errc::corrupt, "incarnations that were left"}; }
        return all;
    }
    template <class Tx>
    [[nodiscard]] status note_left(Tx& tx) const {
        if (!options_.relay) { return {}; }
        auto mine = read_identity(tx);
        if (!mine) { return mine.error(); }
        auto all = read_left(tx);
        if (!all) { return all.error(); }
        all->push_back(mine->self.incarnation);
        if (all->size() > left_incarnations_max) { all->erase(all->begin()); }
        bytes raw;
        cbor_writer w{raw};
        detail::encode_left(w, *all);
        return tx.put(key('m'), raw);
    }

    /// A new identity: the authority knows mutations under the old one that this store doesn't, or lost some that it
    /// knew. What is frozen without a verdict is issued again under the new name, after all that is offered again: that
    /// was decided once, so what is later on its record was made on it, also where it was frozen behind that since.
    template <class Tx, class G>
    [[nodiscard]] status reincarnate(Tx& tx, sync_state& sync, G& random, std::vector<decided_mutation> lost = {},
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
        for (frozen_mutation& f : frozen) {
            if (!f.again.empty()) { lost.push_back({no_position, f.token, std::move(f.what)}); }
            if (auto erased = tx.erase(numbered('f', f.sequence)); !erased) { return erased; }
        }
        sync.author = unknown_author;
        sync.next_sequence = 1;
        sync.settled = 0;
        sort_as_written(lost);
        for (decided_mutation const& d : lost) {
            if (auto again = offer_again(tx, sync, d, base_max); !again) { return again; }
        }
        for (frozen_mutation& f : frozen) {
            if (!f.again.empty()) { continue; }
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
    scope_book scopes_{"rz"};
    relay_book carried_;
    SYNCLINE_NO_UNIQUE_ADDRESS Records records_;
    SYNCLINE_NO_UNIQUE_ADDRESS Journal journal_;
};

/// A replica that keeps its records in its storage.
using replica = basic_replica<>;

}  // namespace syncline::inline SYNCLINE_ABI
