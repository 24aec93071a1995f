// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The authority: decides mutations in one order, and tells replicas what changed. Over any storage.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/clock/version_vector.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/model/schema.hpp>
#include <syncline/replica/constraints.hpp>
#include <syncline/replica/envelope.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/leases.hpp>
#include <syncline/replica/policy.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/read_mask.hpp>
#include <syncline/replica/row_parts.hpp>
#include <syncline/replica/scope_index.hpp>
#include <syncline/replica/strong.hpp>
#include <syncline/replica/validation.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What an authority thinks of a device, under whatever incarnation it comes. Values are stored: append, never renumber.
enum class device_standing : std::uint8_t {
    good = 0,
    quarantined = 1,  ///< it is told what changes, and nothing that it sends is decided: it waits, at the device
    revoked = 2,      ///< every request fails with `errc::forbidden`
    wiped = 3,        ///< every request is answered with the order to wipe, and nothing else
};

/// The version of an authority's layout in storage; a store of a later one is `errc::unsupported`.
inline constexpr std::uint64_t authority_format = 1;

struct authority_options {
    milliseconds stamp_ahead_max{300'000};  ///< a stamp counts as at most so far ahead of the authority's time
    std::uint64_t rows_max = 10'000;        ///< rows of one page, whatever the replica asks
    std::uint64_t bytes_max = std::uint64_t{4} << 20;  ///< bytes of one page
    std::uint32_t authors_max = 1'000'000;             ///< replicas that it registers
    std::uint64_t verdicts_max = 65'536;  ///< kept for one replica; it gets no more until it confirms their receipt
    std::size_t record_max = std::size_t{1} << 20;  ///< bytes of one record's fields, and of their marks
    decode_limits message{};
    lease_options leases{};               ///< how long tombstones wait for replicas that don't come
    merge_host const* merging = nullptr;  ///< the host's guards, roles and references; outlives the authority
    /// Every version of every collection that a device may still have. Rows are written in the newest, mutations are
    /// carried up to it, and rows down to what a device says that it knows. Null: all have the first version. Outlives
    /// the authority.
    schema_table const* schemas = nullptr;
    bool standings = false;  ///< asks what was said by `set_standing`; a get an exchange
    /// What must hold of each record, whoever writes it; of those that a deletion takes along too. Outlives the authority.
    check_table const* checks = nullptr;
    /// What must hold across records; `valid`. Over rows that were there before it, build its index first:
    /// `build_constraints`. Outlives the authority.
    constraint_table const* constraints = nullptr;
    /// The store may be put back from a backup: each opening begins an epoch, by which replicas see what was lost, and
    /// they keep what was decided, to offer it again, until `mark_stable` says that a backup holds it. A store that
    /// was opened so once remains so. `open` must come after each putting back.
    bool backups = false;
    /// The scopes that replicas ask for; who asks for none is `errc::forbidden`, but for the table's unscoped role. Over
    /// rows that were there before the table, or before its rules were others, build its index first: `build_scopes`.
    /// Outlives the authority.
    scope_table const* scopes = nullptr;
    /// The fields that not everybody may read; with `scopes`. Outlives the authority.
    read_mask const* mask = nullptr;
    /// Whose mutations are taken that others carry home, each in its author's envelope. Null: nobody's. Outlives the
    /// authority.
    relay_gate const* relays = nullptr;
};

/// A replica as its authority knows it.
struct registered_replica {
    replica_id replica{};
    std::string principal{};
    author_index index = 0;            ///< its number, which rows name as their author
    std::uint64_t decided = 0;         ///< of its mutations, those up to here have their verdicts
    std::uint64_t unconfirmed = 0;     ///< verdicts whose receipt it has not confirmed: lost replies, or it is away
    std::optional<position> cursor{};  ///< where its lease says that it stands; nothing without a lease
    friend bool operator==(registered_replica const&, registered_replica const&) = default;
};

namespace detail {

inline read_mask const nothing_masked{};

}  // namespace detail

/// Decides mutations and answers what changed.
///
/// It holds options, rules and the validation, and no state: everything is in storage, under keys that begin
/// with 'a'. A `Validate` is asked of each mutation that would take effect, with its author and the record before and
/// after; one that is an admitting_policy also before it is applied. A mutation's verdict, its effect, its author's
/// sequence and the position all commit in the transaction that `handle` is given; the reply may leave only after that
/// commit, at the durability that is promised to replicas. A `Journal` is told of each verdict when it is first given, in that transaction too.
template <class Validate = accept_all, class Journal = no_journal>
class authority {
public:
    explicit authority(rule_table rules = {}, authority_options options = {}, Validate validate = {}, Journal told = {})
        : rules_(std::move(rules)),
          options_(options),
          validate_(std::move(validate)),
          leases_("al", options.leases),
          journal_(std::move(told)) {
        if (options_.constraints != nullptr) { constraints_.emplace(*options_.constraints, schemas()); }
    }

    /// Makes the store an authority's, with a new epoch, unless it is one already. With `authority_options::backups`
    /// a new epoch begins at each call, with what is decided first after it.
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] status open(Tx& tx, instant now, G& random) const {
        bytes raw;
        auto found = tx.get(key('m'), raw);
        if (!found) { return found.error(); }
        if (*found) {
            auto meta = read_meta(tx);
            if (!meta) { return meta.error(); }
            if (auto ok = tell_versions(tx, false, now); !ok) { return ok; }
            if (!options_.backups && !meta->backups) { return {}; }
            // The epoch begins with what is decided next: until then this is a beginning of what there was before.
            meta->backups = true;
            meta->next = make_id(now.wall, random);
            if (auto ok = tell_began(tx, now); !ok) { return ok; }
            return write_meta(tx, *meta);
        }
        meta_state meta;
        meta.epoch = make_id(now.wall, random);
        meta.backups = options_.backups;
        if (auto ok = tell_began(tx, now); !ok) { return ok; }
        if (auto ok = tell_versions(tx, true, now); !ok) { return ok; }
        return write_meta(tx, meta);
    }

    /// A backup holds everything up to a position: replicas forget what they keep for the case that it is lost. Call it
    /// once the backup can be trusted, with the `head` that the copied store had. Lower positions change nothing.
    /// `errc::invalid` for a position beyond the head, and where no backups are expected. State unchanged then.
    template <storage_transaction Tx>
    [[nodiscard]] status mark_stable(Tx& tx, position through) const {
        auto meta = read_meta(tx);
        if (!meta) { return meta.error(); }
        if (!meta->backups || through > meta->head) { return failure{errc::invalid, "no position of a backup"}; }
        if (through <= meta->stable) { return {}; }
        meta->stable = through;
        return write_meta(tx, *meta);
    }

    /// Answers one request of a replica that `principal` was authenticated for.
    ///
    /// `message` is a stranger's. Errors leave nothing to commit: those of `decode_request`;
    /// `errc::malformed` for a mutation without a readable sequence; `errc::forbidden` for a replica that
    /// belongs to another principal, or must ask for scopes and doesn't; `errc::unsupported` for scopes where there are none;
    /// `errc::limit` when no more replicas are registered; `errc::busy` while the index of
    /// the constraints or scopes is not built; `errc::corrupt` and the storage's own. A poison mutation gets its verdict and blocks
    /// nobody.
    /// Cost: O(mutations + rows of the page) storage operations.
    template <storage_transaction Tx>
    [[nodiscard]] result<bytes> handle(Tx& tx, std::string_view principal, bytes_view message, instant now) const {
        if (!valid_utf8(principal)) { return failure{errc::forbidden, "a principal that is not UTF-8"}; }
        auto q = decode_request(message, options_.message);
        if (!q) { return q.error(); }
        auto meta = read_meta(tx);
        if (!meta) { return meta.error(); }
        if (auto ok = may_ask(tx, principal, *q, meta->head); !ok) { return ok.error(); }

        reply p;
        p.epoch = meta->epoch;
        p.replica = q->replica;
        p.time = now.wall;
        p.line = q->line;
        if (q->features != 0) { p.features = authority_features; }
        if (q->features != 0 && q->scopes && options_.relays != nullptr) { p.features |= feature_scoped_relay; }
        exchange_limits const own = limits_of(options_.message, options_.record_max);
        if (own != exchange_limits{}) { p.limits = own; }
        auto author = find_author(tx, q->replica, principal, *meta);
        if (!author) { return author.error(); }
        // A cursor beyond our log, or receipts for verdicts that we never gave.
        bool const ahead = q->cursor > meta->head || q->receipts > author->decided;
        result<std::vector<past_epoch>> past{std::vector<past_epoch>{}};
        position end = meta->head;  // of what the requester's epoch and this store have in common
        if (q->epoch && *q->epoch != meta->epoch) {
            past = epochs_from(tx, *q->epoch, *meta);
            if (!past) { return past.error(); }
            end = past->empty() ? 0 : past->front().end;
        }
        bool const stranger = q->epoch && *q->epoch != meta->epoch && past->empty();
        if (ahead || stranger || q->known.value_or(0) > end || q->cursor > end) {
            // The replica knows another past than ours: decide nothing, let it see who we are.
            p.head = meta->head;
            p.decided = author->decided;
            if ((q->features & feature_sums) != 0) {
                auto const horizon = leases_.horizon(tx);
                if (!horizon) { return horizon.error(); }
                p.same.emplace();
                p.horizon = *horizon;
            }
            if (auto ok = tell_past(tx, *q, *meta, p); !ok) { return ok.error(); }
            return encode(p);
        }
        auto const standing =
            options_.standings ? standing_of(tx, q->replica.device) : result<device_standing>{device_standing::good};
        if (!standing) { return standing.error(); }
        if (*standing == device_standing::revoked) { return failure{errc::forbidden, "the device is revoked"}; }
        if (*standing == device_standing::wiped) {
            p.author = author->index;
            p.decided = author->decided;
            p.head = meta->head;
            p.from = p.to = q->cursor;
            p.wipe = true;
            return encode(p);
        }
        position const head_before = meta->head;
        id128 const epoch_before = meta->epoch;
        author_state const before = *author;
        if (auto ok = forget_verdicts(tx, *author, q->receipts); !ok) { return ok.error(); }
        if (q->horizon != 0) {
            if (auto ok = take_horizon(tx, (std::min)(q->horizon, end), *meta); !ok) { return ok.error(); }
        }

        timestamp const stamp_max = latest_within(now.wall, options_.stamp_ahead_max);
        // The sender seems to be who we know by this name, and its mutations are not held back.
        bool known = *standing == device_standing::good;
        origin_books origins{origin_prefix(q->replica.device, principal)};
        bool const relays = options_.relays != nullptr && q->relayed;
        bool const constrained = constraints_ && (!q->mutations.empty() || (relays && !q->relayed->empty()));
        if (constrained) {
            if (auto ok = constraints_->current(tx, head_before); !ok) { return ok.error(); }
        }
        if (!q->left.empty()) {
            if (auto ok = note_left(tx, *q, principal); !ok) { return ok.error(); }
        }
        if (relays) {
            // Before the requester's own, which may build on it.
            auto answers = take_relayed(tx, *q, principal, *author, *meta, stamp_max, known, now);
            if (!answers) { return answers.error(); }
            if (q->scopes) {
                if (auto ok = hide_from_bearer(tx, *q, principal, *answers); !ok) { return ok.error(); }
            }
            p.relayed = std::move(*answers);
        }
        for (std::size_t i = 0; i < q->mutations.size(); ++i) {
            origin const from = q->origins.empty() ? origin{} : q->origins[i];
            [[maybe_unused]] std::uint64_t const decided_before = author->decided;
            auto decided = decide(tx, q->mutations[i], principal, *author, *meta, stamp_max, known, from, origins);
            if (!decided) { return decided.error(); }
            if (!*decided) { break; }  // a gap: the replica sees from `decided` where to go on
            if constexpr (keeps_journal<Journal>) {
                if (author->decided != decided_before) {
                    auto ok = tell(tx, q->replica, q->mutations[i], principal, **decided, now);
                    if (!ok) { return ok.error(); }
                }
            }
            // A clone will issue what has no verdict under another name: nothing new may be decided under this one.
            bool const forgotten = (*decided)->kind == verdict_kind::duplicate && (*decided)->reason == errc{};
            bool const forked = (*decided)->kind == verdict_kind::rejected && (*decided)->reason == errc::identity_fork;
            known = known && !forgotten && !forked;
            p.verdicts.push_back(std::move(**decided));
        }
        if (auto ok = origins.close(tx); !ok) { return ok.error(); }
        if (!(before == *author) || meta->authors_changed) {
            if (auto ok = write_author(tx, q->replica, *author); !ok) { return ok.error(); }
        }
        if (meta->head != head_before || meta->authors_changed) {
            if (auto ok = write_meta(tx, *meta); !ok) { return ok.error(); }
        }
        if (constrained && meta->head != head_before) {
            if (auto ok = constraints_->mark(tx, meta->head); !ok) { return ok.error(); }
        }
        if (options_.scopes != nullptr && meta->head != head_before) {
            if (auto ok = scopes_.mark(tx, *options_.scopes, mask(), meta->head); !ok) { return ok.error(); }
        }

        p.epoch = meta->epoch;
        if (q->epoch && *q->epoch != meta->epoch) {
            // Of the same past. Who can't follow to another epoch needn't.
            if (q->known) {
                p.asked = q->epoch;
                p.past = std::move(*past);
                if (meta->epoch != epoch_before) { p.past.push_back({epoch_before, head_before}); }  // just now
                // The requester's own, which is the first, is needed.
                if (p.past.size() > past_epochs_max) { p.past.erase(p.past.begin() + 1); }
            } else {
                p.epoch = *q->epoch;
            }
        }
        if (meta->backups) {
            p.stable = meta->stable;
            // Who begins here may meet this store as it was before its epoch began.
            if (!q->epoch) {
                if (auto ok = list_last_epochs(tx, *meta, p.past); !ok) { return ok.error(); }
            }
        }
        p.author = author->index;
        p.decided = author->decided;
        p.head = meta->head;
        if (q->scopes) { return scoped_page(tx, *q, principal, p, *meta, now); }
        if (auto ok = begin_page(tx, *q, p, now); !ok) { return ok.error(); }
        return page(tx, *q, p, *meta);
    }

    /// What is thought of a device from now on; with `authority_options::standings`.
    template <storage_transaction Tx>
    [[nodiscard]] status set_standing(Tx& tx, id128 const& device, device_standing standing) const {
        if (standing == device_standing::good) { return tx.erase(standing_key(device)); }
        return tx.put(standing_key(device), bytes{static_cast<std::byte>(standing)});
    }
    /// `good` for a device of which nothing was said. `errc::corrupt` for a standing that this build does not know.
    template <storage_transaction Tx>
    [[nodiscard]] result<device_standing> standing_of(Tx& tx, id128 const& device) const {
        bytes raw;
        auto found = tx.get(standing_key(device), raw);
        if (!found) { return found.error(); }
        if (!*found) { return device_standing::good; }
        if (raw.size() != 1 || raw[0] > static_cast<std::byte>(device_standing::wiped)) {
            return failure{errc::corrupt, "device's standing"};
        }
        return static_cast<device_standing>(raw[0]);
    }

    /// What a call of `collect` did.
    struct collection_report {
        std::size_t tombstones = 0;  ///< erased
        std::size_t lapsed = 0;      ///< leases that ended
        position horizon = 0;        ///< tombstones up to here are gone
        bool more = false;           ///< the budget ended it: call again
    };
    /// Erases tombstones that every replica with a lease has pulled, and ends the leases whose time is over. A replica
    /// that comes back from below the horizon joins again: what it holds and the authority doesn't goes, and what it
    /// changed there becomes a conflict. Where backups are expected, none that `mark_stable` doesn't say to be in one.
    /// `errc::invalid` when no leases are kept. Cost: O(`budget`) storage operations; each change is looked at once.
    template <storage_transaction Tx>
    [[nodiscard]] result<collection_report> collect(Tx& tx, std::size_t budget) const {
        if (!leases_.kept()) { return failure{errc::invalid, "no leases are kept"}; }
        auto meta = read_meta(tx);
        if (!meta) { return meta.error(); }
        collection_report report;
        auto lapsed = leases_.lapse(tx, budget);
        if (!lapsed) { return lapsed.error(); }
        report.lapsed = *lapsed;
        auto const told = leases_.horizon(tx);
        if (!told) { return told.error(); }
        report.horizon = *told;
        if (options_.scopes != nullptr) {
            auto const more = scopes_.collect(tx, *told, budget);
            if (!more) { return more.error(); }
            report.more = *more;
        }
        if (*lapsed == budget) {
            report.more = true;
            return report;
        }
        auto least = leases_.least(tx);
        if (!least) { return least.error(); }
        auto const before = leases_.swept(tx);
        if (!before) { return before.error(); }
        // A deletion that no backup holds yet may be lost and done again, and would overrule what was created after it was
        // collected. Up to the horizon what a backup has brought back goes, whoever has not pulled it.
        position const last = meta->backups ? meta->stable : meta->head;
        position const target = (std::max)((std::min)(least->value_or(last), last), *told);
        if (target <= *before) { return report; }

        struct candidate {
            position at;
            bytes record;
        };
        std::vector<candidate> passed;
        // Replicas are told the horizon. Beside scopes a step goes by positions, not by the records that still have one:
        // how many those are hangs on what some may not see.
        position upto = target;
        if (options_.scopes != nullptr && target - *before > budget) {
            report.more = true;
            upto = *before + budget;
        }
        auto ok = tx.scan({position_key(*before + 1), position_key(upto + 1)}, [&](bytes_view at, bytes_view record) {
            if (at.size() != 10) { return true; }
            position const here = read_u64(at.subspan(2));
            if (passed.size() == budget) {
                report.more = true;
                upto = here - 1;
                return false;
            }
            passed.push_back({here, to_bytes(record)});
            return true;
        });
        if (!ok) { return ok.error(); }
        bytes k = key('r');
        for (candidate const& c : passed) {
            k.resize(2);
            append(k, c.record);
            auto state = read_row(tx, k);
            if (!state) { return state.error(); }
            if (!*state || (*state)->version != c.at) { return failure{errc::corrupt, "position index"}; }
            if (!(*state)->deleted) { continue; }
            if (auto gone = erase_tombstone(tx, k, c.at); !gone) { return gone.error(); }
            ++report.tombstones;
        }
        if (auto raised = leases_.sweep(tx, upto); !raised) { return raised.error(); }
        report.horizon = (std::max)(*told, upto);
        return report;
    }

    /// Builds the index of the constraints over rows that were there before them, a step at a time, and tells what breaks
    /// them already; nothing is decided until it says no `more`. Where the index is built, it does nothing.
    /// `errc::invalid` without constraints, or where they aren't `valid`. Cost: O(`budget`) storage operations; `budget` > 0.
    template <storage_transaction Tx>
    [[nodiscard]] result<constraint_book::build_report> build_constraints(
        Tx& tx, std::size_t budget, function_ref<void(record_key const&, refusal const&)> visit) const {
        if (!constraints_ || !valid(constraints_->table()) || budget == 0) {
            return failure{errc::invalid, "no constraints that can be kept"};
        }
        auto meta = read_meta(tx);
        if (!meta) { return meta.error(); }
        auto const find = [&](record_key const& k) { return newest_over(tx, judged_effects{}, k); };
        return constraints_->build(tx, meta->head, budget, key('r'), find, visit);
    }

    /// Works out the scopes of rows that were there before `authority_options::scopes`, or before its rules were others, a
    /// step at a time; nothing is answered until it says no `more`. Where they are known, it does nothing.
    /// `errc::invalid` without scopes, or for a table that isn't `valid`. Cost: O(`budget`) storage operations; `budget` > 0.
    template <storage_transaction Tx>
    [[nodiscard]] result<scope_index::build_report> build_scopes(Tx& tx, std::size_t budget) const {
        if (options_.scopes == nullptr || budget == 0) { return failure{errc::invalid, "no scopes to build"}; }
        auto meta = read_meta(tx);
        if (!meta) { return meta.error(); }
        auto const rows = [&](bytes_view from, function_ref<bool(record_key const&, row const&)> visit) -> status {
            status outcome;
            auto ok = scan_range(tx, {to_bytes(from), key_space_end()}, [&](record_key const& k, row& r) {
                collection_schema const& schema = schemas().of(k.collection);
                if (outcome = schema.cast(r, schema.version()); !outcome) { return false; }
                return visit(k, r);
            });
            return ok ? outcome : ok;
        };
        auto report = scopes_.build(tx, *options_.scopes, mask(), meta->head, budget, rows);
        if (!report || report->head == meta->head) { return report; }
        if (meta->next) {
            if (auto ok = begin_epoch(tx, *meta); !ok) { return ok.error(); }
        }
        if (constraints_) {
            if (auto ok = constraints_->current(tx, meta->head); !ok) { return ok.error(); }
            if (auto ok = constraints_->mark(tx, report->head); !ok) { return ok.error(); }
        }
        meta->head = report->head;
        if (auto ok = write_meta(tx, *meta); !ok) { return ok.error(); }
        return report;
    }

    /// The confirmed row of a record, a tombstone too; nothing if there never was one.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<row>> find(Tx& tx, record_key const& record) const {
        return read_row(tx, row_key(record));
    }

    /// Every confirmed record, tombstones too, in key order. `errc::corrupt` when a row does not decode.
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, function_ref<bool(record_key const&, row const&)> visit) const {
        status outcome;
        bytes const prefix = key('r');
        auto ok = scan_prefix(tx, prefix, [&](bytes_view k, bytes_view v) {
            auto record = record_key_from(k.subspan(prefix.size()));
            cbor_reader in{v};
            row const r = decode_row(in);
            if (!record || !in.finish()) {
                outcome = failure{errc::corrupt, "authority's row"};
                return false;
            }
            return visit(*record, r);
        });
        return ok ? outcome : ok;
    }

    /// The confirmed records of a range, tombstones too, in key order, until the visitor says false.
    /// `errc::corrupt` when a row does not decode. Precondition: `valid(r)`.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_range(Tx& tx, record_range const& r,
                                    function_ref<bool(record_key const&, row&)> visit) const {
        bytes from = key('r');
        append(from, r.from);
        bytes to = key('r');
        append(to, r.to);
        status outcome;
        auto ok = tx.scan({from, to}, [&](bytes_view k, bytes_view v) {
            auto const record = record_key_from(k.subspan(2));
            cbor_reader in{v};
            row state = decode_row(in);
            if (!record || !in.finish()) {
                outcome = failure{errc::corrupt, "authority's row"};
                return false;
            }
            return visit(*record, state);
        });
        return ok ? outcome : ok;
    }

    /// A record of a scope, as somebody is told it.
    struct scoped_row {
        record_key key{};
        row state{};         ///< without what is hidden from them; with the version that they see
        position moved = 0;  ///< at which it came into the scope, or left it
        bool inside = false;
    };
    /// The first `count` records of a scope from a key on, in the order of keys: those that are in it, tombstones too, and
    /// those that have left it after `since`. `hidden`: what the asker was told last of which fields are hidden from them.
    /// Errors: `errc::forbidden` when there is no such scope for them, `errc::contended` when other fields are hidden by
    /// now, `errc::busy` while the index has to be built, `errc::invalid` without scopes. Cost: a scan of the scope's index,
    /// and two gets for each that is visited; `count` keys in memory.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_scope(Tx& tx, std::string_view principal, scope const& s, std::uint64_t hidden,
                                    bytes_view from, position since, std::size_t count,
                                    function_ref<bool(scoped_row&)> visit) const {
        if (options_.scopes == nullptr) { return failure{errc::invalid, "there are no scopes here"}; }
        auto const now = head(tx);
        if (!now) { return now.error(); }
        if (auto ok = scopes_.current(tx, *options_.scopes, mask(), *now); !ok) { return ok; }
        if (!options_.scopes->permits(principal, s)) { return failure{errc::forbidden, "no scope of yours"}; }
        if (mask().fingerprint(principal) != hidden) { return failure{errc::contended, "other fields are hidden"}; }
        std::set<bytes> names;
        auto ok = scopes_.each_of(tx, s, since, [&](bytes_view name) {
            if (compare(name, from) < 0) { return; }
            names.insert(to_bytes(name));
            if (names.size() > count) { names.erase(std::prev(names.end())); }
        });
        if (!ok) { return ok; }
        bytes raw;
        bytes k = key('r');
        for (bytes const& name : names) {
            auto const known = scopes_.find(tx, name);
            if (!known) { return known.error(); }
            k.resize(2);
            append(k, name);
            auto const found = tx.get(k, raw);
            if (!found) { return found.error(); }
            auto record = record_key_from(name);
            auto const m = std::find_if(known->scopes.begin(), known->scopes.end(),
                                        [&](scope_membership const& one) { return one.what == s; });
            if (!*found || !record || m == known->scopes.end()) { return failure{errc::corrupt, "authority's scopes"}; }
            if (ok = show(principal, *record, *known, raw); !ok) { return ok; }
            cbor_reader in{raw};
            scoped_row one{std::move(*record), decode_row(in), m->moved, m->inside};
            if (!in.finish()) { return failure{errc::corrupt, "authority's row"}; }
            if (!visit(one)) { break; }
        }
        return {};
    }

    /// Every replica that was ever here, in the order of their names, until the visitor says false.
    /// Cost: a scan; with leases a get for each.
    template <storage_transaction Tx>
    [[nodiscard]] status replicas(Tx& tx, function_ref<bool(registered_replica const&)> visit) const {
        status outcome;
        bytes const prefix = key('u');
        auto ok = scan_prefix(tx, prefix, [&](bytes_view k, bytes_view raw) {
            auto const id = replica_id_from(k.subspan(prefix.size()));
            auto const state = parse_author(raw);
            if (!id || !state) {
                outcome = failure{errc::corrupt, "authority's author"};
                return false;
            }
            registered_replica r{
                *id, state->principal, state->index, state->decided, state->decided - state->receipts, std::nullopt};
            auto const stands = leases_.cursor_of(tx, state->index);
            if (!stands) {
                outcome = stands.error();
                return false;
            }
            r.cursor = *stands;
            return visit(r);
        });
        return ok ? outcome : ok;
    }

    /// The position of the last decision.
    template <storage_transaction Tx>
    [[nodiscard]] result<position> head(Tx& tx) const {
        auto meta = read_meta(tx);
        if (!meta) { return meta.error(); }
        return meta->head;
    }

    [[nodiscard]] rule_table const& rules() const noexcept { return rules_; }
    [[nodiscard]] authority_options const& options() const noexcept { return options_; }

private:
    struct meta_state {
        id128 epoch{};
        position head = 0;
        author_index authors = 0;
        bool authors_changed = false;
        bool backups = false;           ///< it may be put back from one
        position stable = 0;            ///< a backup holds everything up to here
        std::uint64_t epochs = 0;       ///< that are over
        std::optional<id128> next{};    ///< of the epoch that begins with what is decided next
        std::vector<own_change> own{};  ///< what this request changed so far, in the order of positions
        position grouped = 0;           ///< the last position of the last group; 0: there was none
    };
    struct author_state {
        author_index index = 0;
        std::string principal;
        std::uint64_t decided = 0;
        std::uint64_t receipts = 0;
        id128 device{};
        friend bool operator==(author_state const&, author_state const&) = default;
    };
    static constexpr std::uint64_t lives_skipped_max = std::uint64_t{1} << 32;
    static constexpr std::size_t hash_bytes = 16;  ///< of SHA-256, beside each kept verdict

    [[nodiscard]] static bytes key(char kind) { return {std::byte{'a'}, static_cast<std::byte>(kind)}; }
    [[nodiscard]] static record_entry row_key(record_key const& record) noexcept { return {"ar", record}; }
    [[nodiscard]] static std::array<std::byte, 10> position_key(position at) noexcept {
        std::array<std::byte, 10> k{std::byte{'a'}, std::byte{'p'}};
        write_u64(k.data() + 2, at);
        return k;
    }
    [[nodiscard]] static std::array<std::byte, 18> verdict_key(author_index author, std::uint64_t sequence) noexcept {
        std::array<std::byte, 18> k{std::byte{'a'}, std::byte{'v'}};
        write_u64(k.data() + 2, author);
        write_u64(k.data() + 10, sequence);
        return k;
    }

    template <class Tx>
    [[nodiscard]] result<meta_state> read_meta(Tx& tx) const {
        bytes raw;
        auto found = tx.get(key('m'), raw);
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::not_found, "the store is not an authority's; open it first"}; }
        cbor_reader in{raw};
        meta_state meta;
        std::size_t const parts = in.array();
        bool const grouped = parts == 5 || parts == 8;
        std::size_t const plain = parts - (grouped ? 1 : 0);
        if (plain != 4 && plain != 7) { return failure{errc::corrupt, "authority's head"}; }
        std::uint64_t const format = in.unsigned_integer();
        if (!in.failed() && format > authority_format) {
            return failure{errc::unsupported, "written by a later version"};
        }
        meta.epoch = detail::read_id(in);
        meta.head = in.unsigned_integer();
        meta.authors = static_cast<author_index>(in.unsigned_integer());
        if (plain == 7) {
            meta.backups = true;
            meta.stable = in.unsigned_integer();
            meta.epochs = in.unsigned_integer();
            if (!in.null()) { meta.next = detail::read_id(in); }
        }
        if (grouped) { meta.grouped = in.unsigned_integer(); }
        if (!in.finish()) { return failure{errc::corrupt, "authority's head"}; }
        return meta;
    }
    template <class Tx>
    [[nodiscard]] status write_meta(Tx& tx, meta_state const& meta) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(std::size_t{meta.backups ? 7U : 4U} + (meta.grouped == 0 ? 0 : 1));
        w.unsigned_integer(authority_format);
        w.byte_string(meta.epoch.bytes);
        w.unsigned_integer(meta.head);
        w.unsigned_integer(meta.authors);
        if (meta.backups) {
            w.unsigned_integer(meta.stable);
            w.unsigned_integer(meta.epochs);
            if (meta.next) {
                w.byte_string(meta.next->bytes);
            } else {
                w.null();
            }
        }
        if (meta.grouped != 0) { w.unsigned_integer(meta.grouped); }
        return tx.put(key('m'), raw);
    }

    [[nodiscard]] static bytes standing_key(id128 const& device) {
        bytes k = key('s');
        append(k, device.bytes);
        return k;
    }

    // Epochs that are over, kept for ever: 'e' name -> number, from 0; 'n' number -> name, end. A few bytes an opening.

    [[nodiscard]] static bytes epoch_key(id128 const& name) {
        bytes k = key('e');
        append(k, name.bytes);
        return k;
    }
    [[nodiscard]] static bytes epoch_number(std::uint64_t n) {
        bytes k = key('n');
        append_u64(k, n);
        return k;
    }
    /// The epoch that `open` has named begins.
    template <class Tx>
    [[nodiscard]] status begin_epoch(Tx& tx, meta_state& meta) const {
        bytes number;
        append_u64(number, meta.epochs);
        if (auto ok = tx.put(epoch_key(meta.epoch), number); !ok) { return ok; }
        bytes over = to_bytes(meta.epoch.bytes);
        append_u64(over, meta.head);
        if (auto ok = tx.put(epoch_number(meta.epochs), over); !ok) { return ok; }
        ++meta.epochs;
        meta.epoch = *meta.next;
        meta.next.reset();
        return write_meta(tx, meta);
    }
    /// The epochs that are over, from the requester's on; none where that is not of this store's past. The last of
    /// them, but always the requester's.
    template <class Tx>
    [[nodiscard]] result<std::vector<past_epoch>> epochs_from(Tx& tx, id128 const& name, meta_state const& meta) const {
        std::vector<past_epoch> all;
        if (!meta.backups) { return all; }
        bytes raw;
        auto found = tx.get(epoch_key(name), raw);
        if (!found) { return found.error(); }
        if (!*found) { return all; }
        if (raw.size() != 8) { return failure{errc::corrupt, "authority's epoch"}; }
        std::uint64_t const first = read_u64(raw);
        if (auto ok = list_epochs(tx, first, 1, all); !ok) { return ok.error(); }
        std::uint64_t const rest =
            meta.epochs - first > past_epochs_max ? meta.epochs - past_epochs_max + 1 : first + 1;
        if (auto ok = list_epochs(tx, rest, past_epochs_max - 1, all); !ok) { return ok.error(); }
        return all;
    }
    template <class Tx>
    [[nodiscard]] status list_epochs(Tx& tx, std::uint64_t first, std::size_t count,
                                     std::vector<past_epoch>& all) const {
        status outcome;
        auto ok = tx.scan({epoch_number(first), prefix_end(key('n'))}, [&](bytes_view, bytes_view raw) {
            past_epoch e;
            if (raw.size() != e.name.bytes.size() + 8) {
                outcome = failure{errc::corrupt, "authority's epoch"};
                return false;
            }
            if (count == 0) { return false; }
            std::copy_n(raw.begin(), e.name.bytes.size(), e.name.bytes.begin());
            e.end = read_u64(raw.subspan(e.name.bytes.size()));
            all.push_back(e);
            return --count != 0;
        });
        return ok ? outcome : ok;
    }
    /// What was collected before this store was put back was collected: a record that was created anew since has its first
    /// life, and the tombstone that is there again must not overrule it. Nobody is believed further than the store may
    /// have been put back to, lest a liar make all others join again at each exchange.
    template <class Tx>
    [[nodiscard]] status take_horizon(Tx& tx, position told, meta_state const& meta) const {
        if (!meta.backups) { return {}; }
        position last = meta.head;
        if (!meta.next) {
            std::vector<past_epoch> over;
            if (meta.epochs == 0) { return {}; }
            if (auto ok = list_epochs(tx, meta.epochs - 1, 1, over); !ok) { return ok; }
            if (over.empty()) { return failure{errc::corrupt, "authority's epoch"}; }
            last = over.back().end;
        }
        return leases_.raise_horizon(tx, (std::min)(told, last));
    }

    /// Where the requester's past may part from this store's. Nothing where the store was never opened since it was put
    /// back, or may not be put back: who was there before can't be told from who comes after then.
    template <class Tx>
    [[nodiscard]] status tell_past(Tx& tx, request const& q, meta_state const& before, reply& p) const {
        meta_state meta = before;
        if (!q.known || !q.epoch || q.epoch == meta.next) { return {}; }
        if (meta.next) {
            if (meta.authors_changed) { --meta.authors; }  // the requester is not registered
            if (auto ok = begin_epoch(tx, meta); !ok) { return ok; }
        }
        if (*q.epoch == meta.epoch) { return {}; }
        p.epoch = meta.epoch;
        p.asked = q.epoch;
        auto past = epochs_from(tx, *q.epoch, meta);
        if (!past) { return past.error(); }
        p.past = std::move(*past);
        if (!p.past.empty()) { return {}; }
        return list_last_epochs(tx, meta, p.past);
    }
    template <class Tx>
    [[nodiscard]] status list_last_epochs(Tx& tx, meta_state const& meta, std::vector<past_epoch>& all) const {
        std::uint64_t const first = meta.epochs > past_epochs_max ? meta.epochs - past_epochs_max : 0;
        return list_epochs(tx, first, past_epochs_max, all);
    }

    /// Bytes of a row's marks, the least that they take: fields that are unset leave theirs, and a row that grows
    /// without end is one that nobody can read any more.
    [[nodiscard]] static std::size_t marks_size(row const& r) noexcept {
        std::size_t size = 0;
        for (field_mark const& e : r.exceptions) { size += e.field.size() + e.path.size() + 4; }
        return size;
    }

    [[nodiscard]] static bytes author_key(replica_id const& who) {
        bytes k = key('u');
        append(k, to_array(who));
        return k;
    }
    template <class Tx>
    [[nodiscard]] result<author_state> find_author(Tx& tx, replica_id const& who, std::string_view principal,
                                                   meta_state& meta) const {
        bytes raw;
        auto found = tx.get(author_key(who), raw);
        if (!found) { return found.error(); }
        author_state a;
        if (!*found) {
            if (meta.authors >= options_.authors_max) {
                return failure{errc::limit, "no more replicas are registered"};
            }
            a.index = ++meta.authors;
            a.principal = std::string{principal};
            a.device = who.device;
            meta.authors_changed = true;
            return a;
        }
        auto parsed = parse_author(raw);
        if (!parsed) { return parsed.error(); }
        a = std::move(*parsed);
        if (a.principal != principal) { return failure{errc::forbidden, "the replica belongs to another principal"}; }
        a.device = who.device;
        return a;
    }
    [[nodiscard]] static result<author_state> parse_author(bytes_view raw) {
        cbor_reader in{raw};
        author_state a;
        bool const whole = in.array() == 4;
        a.index = static_cast<author_index>(in.unsigned_integer());
        a.principal = std::string{in.text()};
        a.decided = in.unsigned_integer();
        a.receipts = in.unsigned_integer();
        if (!whole || !in.finish() || a.receipts > a.decided) { return failure{errc::corrupt, "authority's author"}; }
        return a;
    }
    template <class Tx>
    [[nodiscard]] status write_author(Tx& tx, replica_id const& who, author_state const& a) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(4);
        w.unsigned_integer(a.index);
        w.text(a.principal);
        w.unsigned_integer(a.decided);
        w.unsigned_integer(a.receipts);
        return tx.put(author_key(who), raw);
    }

    /// Two copies of a store may write the same at the same moment: what they send is equal, and still not one.
    [[nodiscard]] static std::array<std::byte, 32> named_digest(bytes const& raw, origin const& from) {
        std::array<std::byte, 16> name;
        write_u64(name.data(), from.line);
        write_u64(name.data() + 8, from.number);
        sha256_hasher hash;
        hash.update(raw);
        hash.update(name);
        return hash.finish();
    }

    // Origins: 'o', a digest of device and principal, line, number / 1024 -> the numbers that were decided. Under
    // whatever incarnation copies of a store send what they share, it is decided once. Kept for ever: a run of numbers
    // costs no more than one.

    [[nodiscard]] static bytes origin_prefix(id128 const& device, std::string_view principal) {
        bytes who = to_bytes(device.bytes);
        append(who, as_bytes(principal));
        auto const digest = sha256(who);
        bytes k = key('o');
        append(k, bytes_view{digest}.first(hash_bytes));
        return k;
    }

    // Incarnations that a device of a principal has left, as it says: 'b', a digest of both -> their numbers.

    [[nodiscard]] static bytes left_key_of(id128 const& device, std::string_view principal) {
        bytes k = origin_prefix(device, principal);
        k[1] = std::byte{'b'};
        return k;
    }
    template <class Tx>
    [[nodiscard]] result<interval_set> read_left(Tx& tx, bytes_view k) const {
        interval_set all;
        bytes raw;
        auto found = tx.get(k, raw);
        if (!found) { return found.error(); }
        if (!*found) { return all; }
        cbor_reader in{raw};
        all = decode_interval_set(in);
        if (!in.finish()) { return failure{errc::corrupt, "incarnations that were left"}; }
        return all;
    }
    template <class Tx>
    [[nodiscard]] status note_left(Tx& tx, request const& q, std::string_view principal) const {
        bytes const k = left_key_of(q.replica.device, principal);
        auto all = read_left(tx, k);
        if (!all) { return all.error(); }
        bool fresh = false;
        for (std::uint32_t const n : q.left) {
            if (n != q.replica.incarnation && all->count() < left_kept_max) { fresh = all->add(n) || fresh; }
        }
        if (!fresh) { return {}; }
        bytes raw;
        cbor_writer w{raw};
        encode_interval_set(w, *all);
        return tx.put(k, raw);
    }
    static constexpr std::uint64_t left_kept_max = 1'024;
    template <class Tx>
    [[nodiscard]] result<bool> has_left(Tx& tx, replica_id const& who, std::string_view principal) const {
        auto const all = read_left(tx, left_key_of(who.device, principal));
        if (!all) { return all.error(); }
        return all->contains(who.incarnation);
    }

    /// One row of them at a time.
    class origin_books {
    public:
        explicit origin_books(bytes prefix) : prefix_(std::move(prefix)) {}

        template <class Tx>
        [[nodiscard]] result<bool> contain(Tx& tx, origin const& o) {
            if (o.line == 0) { return false; }
            if (key_.empty() || o.line != line_ || o.number >> 10 != block_) {
                if (auto ok = close(tx); !ok) { return ok.error(); }
                key_.clear();
                bytes k = prefix_;
                append_u64(k, o.line);
                append_u64(k, o.number >> 10);
                bytes raw;
                auto found = tx.get(k, raw);
                if (!found) { return found.error(); }
                numbers_ = {};
                refused_ = {};
                homeless_ = {};
                if (*found) {
                    cbor_reader in{raw};
                    numbers_ = decode_interval_set(in);
                    if (!in.failed() && in.position() != raw.size()) { refused_ = decode_interval_set(in); }
                    if (!in.failed() && in.position() != raw.size()) { homeless_ = decode_interval_set(in); }
                    if (!in.finish()) { return failure{errc::corrupt, "authority's origins"}; }
                }
                key_ = std::move(k);
                line_ = o.line;
                block_ = o.number >> 10;
            }
            return numbers_.contains(o.number & 1023U);
        }
        /// Precondition: `contain` was asked for it last.
        void add(origin const& o) { changed_ = (o.line != 0 && numbers_.add(o.number & 1023U)) || changed_; }
        /// Of one that was added: it was decided, and has had no effect; `homeless`: as its record was not there.
        /// Precondition: as for `add`.
        void refuse(origin const& o, bool homeless) {
            changed_ = (o.line != 0 && refused_.add(o.number & 1023U)) || changed_;
            if (homeless) { changed_ = (o.line != 0 && homeless_.add(o.number & 1023U)) || changed_; }
        }
        /// Of one that was refused: it is decided anew. Precondition: as for `add`.
        void reopen(origin const& o) {
            interval_set one;
            one.add(o.number & 1023U);
            refused_ = refused_.difference(one);
            homeless_ = homeless_.difference(one);
            changed_ = true;
        }
        [[nodiscard]] bool refused(origin const& o) const { return refused_.contains(o.number & 1023U); }
        [[nodiscard]] bool homeless(origin const& o) const { return homeless_.contains(o.number & 1023U); }
        template <class Tx>
        [[nodiscard]] status close(Tx& tx) {
            if (!changed_) { return {}; }
            changed_ = false;
            bytes raw;
            cbor_writer w{raw};
            encode_interval_set(w, numbers_);
            if (!refused_.empty()) { encode_interval_set(w, refused_); }
            if (!homeless_.empty()) { encode_interval_set(w, homeless_); }
            return tx.put(key_, raw);
        }

    private:
        bytes prefix_;
        bytes key_{};  ///< of the row that is held; empty: none is
        std::uint64_t line_ = 0;
        std::uint64_t block_ = 0;
        interval_set numbers_{};
        interval_set refused_{};
        interval_set homeless_{};  ///< of these, for want of their record
        bool changed_ = false;
    };

    template <class Tx>
    [[nodiscard]] status forget_verdicts(Tx& tx, author_state& author, std::uint64_t receipts) const {
        for (; author.receipts < receipts; ++author.receipts) {
            if (auto ok = tx.erase(verdict_key(author.index, author.receipts + 1)); !ok) { return ok; }
        }
        return {};
    }

    template <class Tx>
    [[nodiscard]] result<std::optional<row>> read_row(Tx& tx, bytes_view k) const {
        std::optional<row> r;
        status good;
        auto const found = view_value(tx, k, [&](bytes_view raw) {
            cbor_reader in{raw};
            r = decode_row(in);
            if (!in.finish()) { good = failure{errc::corrupt, "authority's row"}; }
        });
        if (!found) { return found.error(); }
        if (!good) { return good.error(); }
        return r;
    }

    /// The verdict on one frozen mutation; nothing when earlier ones of its author are missing, when too many of
    /// its verdicts wait for a receipt, or when it is new and the author not known to be its sender.
    template <class Tx>
    [[nodiscard]] result<std::optional<verdict>> decide(Tx& tx, bytes const& raw, std::string_view principal,
                                                        author_state& author, meta_state& meta, timestamp stamp_max,
                                                        bool known, origin const& from, origin_books& origins) const {
        cbor_reader outline{raw, options_.message};
        std::size_t const length = outline.array();
        std::uint64_t const sequence = outline.unsigned_integer();
        if (outline.failed() || length == 0 || sequence == 0) {
            return failure{errc::malformed, "a mutation without a sequence"};
        }
        if (sequence > author.decided + 1) { return std::optional<verdict>{}; }

        auto const digest = from.line == 0 ? sha256(raw) : named_digest(raw, from);
        bytes_view const hash = bytes_view{digest}.first(hash_bytes);
        if (sequence <= author.decided) { return recall(tx, author, sequence, raw, hash, from, origins); }
        if (!known || author.decided - author.receipts >= options_.verdicts_max) { return std::optional<verdict>{}; }
        if (meta.next) {
            if (auto ok = begin_epoch(tx, meta); !ok) { return ok.error(); }
        }

        verdict v;
        v.sequence = sequence;
        auto const elsewhere = origins.contain(tx, from);
        if (!elsewhere) { return elsewhere.error(); }
        // Its record may have come since: whoever sends it anew, it counts once.
        bool const reopens = *elsewhere && origins.homeless(from);
        if (*elsewhere && !reopens) {
            v.kind = verdict_kind::duplicate;  // another copy of its store sent it, perhaps joined with more
            v.reason = origins.refused(from) ? errc::rejected : errc::identity_fork;
        } else {
            if (auto ok = judge(tx, raw, principal, author, meta, stamp_max, v); !ok) { return ok.error(); }
            if (reopens) { origins.reopen(from); }
            origins.add(from);
            // Who offers it again after this store was put back has to learn that it has had no effect.
            bool const refused = v.kind == verdict_kind::rejected || v.kind == verdict_kind::conflict;
            bool const homeless = v.kind == verdict_kind::rejected && v.reason == errc::not_found;
            if (meta.backups && refused) { origins.refuse(from, homeless); }
        }

        bytes kept;
        kept.reserve(64);
        append(kept, hash);
        cbor_writer w{kept};
        encode_verdict(w, v);
        if (!v.guard.empty()) { w.text(v.guard); }
        if (auto ok = tx.put(verdict_key(author.index, sequence), kept); !ok) { return ok.error(); }
        author.decided = sequence;
        return std::optional<verdict>{std::move(v)};
    }

    /// Tells the journal that an epoch begins.
    template <class Tx>
    [[nodiscard]] status tell_began(Tx& tx, instant now) const {
        if constexpr (keeps_journal<Journal>) {
            journal_note note;
            note.what = journal_event::began;
            note.stamp = timestamp::make(now.wall);
            return journal_(tx, note);
        } else {
            (void)tx;
            (void)now;
            return {};
        }
    }
    /// Tells the journal of each collection that this program has in another schema version than the one that was told
    /// last: 'q', collection -> version.
    template <class Tx>
    [[nodiscard]] status tell_versions([[maybe_unused]] Tx& tx, [[maybe_unused]] bool fresh,
                                       [[maybe_unused]] instant now) const {
        if constexpr (keeps_journal<Journal>) {
            auto const told = [&](journal_note const& note) { return journal_(tx, note); };
            return detail::tell_new_versions(tx, options_.schemas, key('q'), fresh, now, told);
        } else {
            return {};
        }
    }

    // What others carry home.

    struct relayed_author {
        replica_id replica{};
        std::string principal{};
        author_state state{};
        author_state before{};
        bool fresh = false;   ///< it was never heard of
        bool held = false;    ///< quarantined: nothing of it is decided
        bool forked = false;  ///< somebody has its name: nothing new is decided under it
    };
    struct relayed_envelope {
        opened_envelope opened{};
        std::size_t author = 0;  ///< its place among the authors
        std::size_t answer = 0;  ///< … and among the answers
        bool done = false;
    };

    /// Decides what is another's, is sealed by its author and has all that it builds on, as if that author had sent it.
    /// The rest is answered too, but for what is beyond the gate's limit. Envelopes that build on each other may stand
    /// in any order.
    template <class Tx>
    [[nodiscard]] result<std::vector<relay_answer>> take_relayed(Tx& tx, request const& q, std::string_view bearer,
                                                                 author_state const& own, meta_state& meta,
                                                                 timestamp stamp_max, bool known, instant now) const {
        std::vector<relay_answer> answers;
        std::vector<relayed_author> authors;
        std::vector<relayed_envelope> all;
        for (relayed_item const& item : *q.relayed) {
            if (answers.size() == options_.relays->envelopes_max) { break; }
            relay_answer a;
            a.id = item.id;
            auto taken = known ? admit(tx, q, item, bearer, meta, authors)
                               : result<std::optional<relayed_envelope>>{std::optional<relayed_envelope>{}};
            if (!taken) {
                // What is wrong with an envelope ends that one; what is wrong with the store ends the request.
                if (storage_failed(taken.error())) { return taken.error(); }
                bool const full = taken.error() == errc::busy;
                a.outcome = full ? relay_outcome::later : relay_outcome::refused;
                a.reason = full ? errc{} : taken.error().code;
            } else if (*taken) {
                (*taken)->answer = answers.size();
                all.push_back(std::move(**taken));
            }
            answers.push_back(a);
        }
        for (bool more = true; more;) {
            more = false;
            for (relayed_envelope& e : all) {
                if (e.done) { continue; }
                auto decided = take_one(tx, q, e, own, authors, meta, stamp_max, now, answers[e.answer]);
                if (!decided) { return decided.error(); }
                e.done = *decided;
                more = more || *decided;
            }
        }
        // Under its name the carrier may hold another one when the answer comes.
        for (std::size_t i = 0; i < answers.size(); ++i) {
            relay_answer& a = answers[i];
            bool const home = a.outcome == relay_outcome::home || a.outcome == relay_outcome::settled;
            if (!home) { a.content = relay_content((*q.relayed)[i].sealed); }
        }
        for (relayed_author const& a : authors) {
            if (!a.fresh && a.state == a.before) { continue; }
            if (auto ok = write_author(tx, a.replica, a.state); !ok) { return ok.error(); }
        }
        return answers;
    }

    /// Whether a failure is the store's, and not a stranger's doing.
    [[nodiscard]] static bool storage_failed(failure const& f) noexcept {
        switch (f.code) {
            case errc::malformed:
            case errc::limit:
            case errc::busy:
            case errc::invalid:
            case errc::type_mismatch:
            case errc::unsupported:
            case errc::not_deterministic:
            case errc::overflow:
            case errc::unauthorised:
            case errc::forbidden: return false;
            default: return true;
        }
    }

    /// An envelope that is its author's; nothing for one that waits until its author isn't held back any more.
    /// `errc::busy` when no more replicas are registered.
    template <class Tx>
    [[nodiscard]] result<std::optional<relayed_envelope>> admit(Tx& tx, request const& q, relayed_item const& item,
                                                                std::string_view bearer, meta_state& meta,
                                                                std::vector<relayed_author>& authors) const {
        auto e = open_envelope(item.sealed, options_.message);
        if (!e) { return e.error(); }
        if (e->id() != item.id || !valid_utf8(e->said.principal)) {
            return failure{errc::malformed, "an envelope under another's name"};
        }
        if (item.id.replica == q.replica) { return failure{errc::invalid, "the requester's own, in an envelope"}; }
        if (auto const ok = options_.relays->admits(*e, q.replica, bearer); !ok) {
            bool const unknown = ok.error() == errc::unauthorised;
            return failure{unknown ? errc::unauthorised : errc::forbidden, ok.error().detail};
        }
        auto at = std::find_if(authors.begin(), authors.end(),
                               [&](relayed_author const& a) { return a.replica == item.id.replica; });
        if (at == authors.end()) {
            relayed_author a;
            a.replica = item.id.replica;
            a.principal = e->said.principal;
            if (options_.standings) {
                auto const standing = standing_of(tx, a.replica.device);
                if (!standing) { return standing.error(); }
                a.held = *standing == device_standing::quarantined;
                if (*standing == device_standing::revoked || *standing == device_standing::wiped) {
                    return failure{errc::forbidden, "the device is revoked"};
                }
            }
            author_index const registered = meta.authors;
            auto state = find_author(tx, a.replica, a.principal, meta);
            if (!state && state.error() == errc::limit) { return failure{errc::busy, state.error().detail}; }
            if (!state) { return state.error(); }
            a.state = a.before = std::move(*state);
            a.fresh = meta.authors != registered;
            authors.push_back(std::move(a));
            at = authors.end() - 1;
        }
        if (at->principal != e->said.principal) { return failure{errc::forbidden, "another principal's replica"}; }
        if (at->held) { return std::optional<relayed_envelope>{}; }
        relayed_envelope out;
        out.opened = std::move(*e);
        out.author = static_cast<std::size_t>(at - authors.begin());
        return std::optional<relayed_envelope>{std::move(out)};
    }

    /// Whether an envelope has its answer; else what it needs, so far.
    template <class Tx>
    [[nodiscard]] result<bool> take_one(Tx& tx, request const& q, relayed_envelope const& e, author_state const& own,
                                        std::vector<relayed_author>& authors, meta_state& meta, timestamp stamp_max,
                                        instant now, relay_answer& answer) const {
        relayed_author& author = authors[e.author];
        envelope const& said = e.opened.said;
        std::uint64_t const sequence = e.opened.change.sequence;
        // A book of its own: two incarnations of a device share their origins.
        origin_books origins{origin_prefix(author.replica.device, author.principal)};
        if (sequence > author.state.decided) {
            std::optional<dot> missing;
            if (sequence > author.state.decided + 1) { missing = dot{author.replica, author.state.decided + 1}; }
            for (std::size_t i = 0; i < said.needs.size() && !missing; ++i) {
                auto const decided = decided_of(tx, said.needs[i].replica, q, own, authors);
                if (!decided) { return decided.error(); }
                if (*decided < said.needs[i].sequence) { missing = said.needs[i]; }
            }
            if (missing) {
                // Its author may have sent it under a new incarnation, after this store was put back, say: then what it
                // needs never comes under the old one.
                auto elsewhere = origins.contain(tx, said.from);
                // … or not at all: it was refused before.
                if (elsewhere && !*elsewhere) { elsewhere = has_left(tx, author.replica, author.principal); }
                if (!elsewhere) { return elsewhere.error(); }
                answer.outcome = *elsewhere ? relay_outcome::settled : relay_outcome::needs;
                answer.missing = *elsewhere ? dot{} : *missing;
                if (!*elsewhere) { return false; }
                if (auto ok = find_settled(tx, e.opened.change, answer); !ok) { return ok.error(); }
                return true;
            }
            // Made on what this store has lost: its author will say so, and send it anew.
            if (meta.backups && made_beyond(e.opened.change, meta.head)) {
                auto const elsewhere = origins.contain(tx, said.from);
                if (!elsewhere) { return elsewhere.error(); }
                answer.outcome = relay_outcome::later;
                answer.missing = {};
                if (!*elsewhere) { return false; }
            }
        }
        std::size_t const changed = meta.own.size();  // what it changes is not the requester's own
        [[maybe_unused]] std::uint64_t const decided_before = author.state.decided;
        auto decided = decide(tx, said.frozen, author.principal, author.state, meta, stamp_max, !author.forked,
                              said.from, origins);
        if (!decided) { return decided.error(); }
        meta.own.erase(meta.own.begin() + static_cast<std::ptrdiff_t>(changed), meta.own.end());
        if (auto ok = origins.close(tx); !ok) { return ok.error(); }
        answer.missing = {};
        if (!*decided) {
            answer.outcome = relay_outcome::later;
            return true;
        }
        verdict const& v = **decided;
        if constexpr (keeps_journal<Journal>) {
            if (author.state.decided != decided_before) {
                auto ok = tell(tx, author.replica, said.frozen, author.principal, v, now);
                if (!ok) { return ok.error(); }
            }
        }
        if (v.kind == verdict_kind::rejected && v.reason == errc::identity_fork) {
            author.forked = true;
            answer.outcome = relay_outcome::refused;
            answer.reason = errc::identity_fork;
            return true;
        }
        answer.outcome = relay_outcome::home;
        if (v.kind == verdict_kind::applied || v.kind == verdict_kind::merged) {
            answer.version = v.version;
            answer.versions = v.versions;
        } else if (v.kind == verdict_kind::duplicate) {
            answer.outcome = relay_outcome::settled;
            if (auto ok = find_settled(tx, e.opened.change, answer); !ok) { return ok.error(); }
        }
        return true;
    }
    [[nodiscard]] static bool made_beyond(mutation const& m, position head) {
        bool beyond = false;
        each_part(m, [&](mutation const& part) { beyond = beyond || part.base > head; });
        return beyond;
    }
    /// What a mutation came to is not known any more: the rows as they are now contain it, if any do. A group that lacks
    /// one of its rows is in none.
    template <class Tx>
    [[nodiscard]] status find_settled(Tx& tx, mutation const& m, relay_answer& answer) const {
        status ok;
        std::vector<position> versions;
        each_part(m, [&](mutation const& part) {
            if (!ok) { return; }
            auto const r = read_row(tx, row_key(part.record));
            if (r) {
                versions.push_back(*r ? (*r)->version : 0);
            } else {
                ok = r.error();
            }
        });
        if (!ok || std::find(versions.begin(), versions.end(), position{0}) != versions.end()) { return ok; }
        answer.version = *std::max_element(versions.begin(), versions.end());
        if (m.kind == change_kind::group) { answer.versions = std::move(versions); }
        return {};
    }

    /// Who carries home what is in none of the scopes that are asked for hears that it is home, and neither when nor whether
    /// a row has it; nor does anybody from whom fields are hidden.
    template <class Tx>
    [[nodiscard]] status hide_from_bearer(Tx& tx, request const& q, std::string_view bearer,
                                          std::vector<relay_answer>& answers) const {
        bool const masked = mask().fingerprint(bearer) != 0;
        std::vector<scope const*> held;
        for (asked_scope const& a : q.scopes->all) {
            if (!masked && options_.scopes->permits(bearer, a.what)) { held.push_back(&a.what); }
        }
        auto const less = [](scope const* a, scope const* b) { return *a < *b; };
        std::sort(held.begin(), held.end(), less);
        for (std::size_t i = 0; i < answers.size(); ++i) {
            relay_answer& a = answers[i];
            if (a.version == 0) { continue; }
            auto const e = open_envelope((*q.relayed)[i].sealed, options_.message);
            if (!e) { return e.error(); }
            status ok;
            position last = 0;
            std::size_t part_index = 0;
            each_part(e->change, [&](mutation const& part) {
                position& version = part_index < a.versions.size() ? a.versions[part_index] : a.version;
                ++part_index;
                auto const known = ok ? scopes_.find(tx, to_bytes(part.record)) : result<scoped_record>{ok.error()};
                if (!known) {
                    ok = known.error();
                    return;
                }
                bool const told =
                    std::any_of(known->scopes.begin(), known->scopes.end(), [&](scope_membership const& m) {
                        return m.inside && std::binary_search(held.begin(), held.end(), &m.what, less);
                    });
                if (!told) { version = 0; }
                last = (std::max)(last, version);
            });
            if (!ok) { return ok; }
            a.version = last;
        }
        return {};
    }

    /// Up to which of its mutations a replica has verdicts; 0 for one that was never here.
    template <class Tx>
    [[nodiscard]] result<std::uint64_t> decided_of(Tx& tx, replica_id const& who, request const& q,
                                                   author_state const& own,
                                                   std::vector<relayed_author> const& authors) const {
        if (who == q.replica) { return own.decided; }
        for (relayed_author const& a : authors) {
            if (a.replica == who) { return a.state.decided; }
        }
        bytes raw;
        auto found = tx.get(author_key(who), raw);
        if (!found) { return found.error(); }
        if (!*found) { return std::uint64_t{0}; }
        auto const a = parse_author(raw);
        if (!a) { return a.error(); }
        return a->decided;
    }

    /// Tells the journal of a verdict that was given just now.
    template <class Tx>
    [[nodiscard]] status tell(Tx& tx, replica_id const& author, bytes const& raw, std::string_view principal,
                              verdict const& v, instant now) const {
        static_assert(journal<Journal, Tx>);
        cbor_reader in{raw, options_.message};
        mutation const m = decode_mutation(in);
        journal_note note;
        note.what = journal_event::decided;
        note.stamp = timestamp::make(now.wall);
        note.device = author;
        note.principal = principal;
        note.sequence = v.sequence;
        note.said = &v;
        if (!in.finish()) { return journal_(tx, note); }
        status ok;
        verdict rest = v;
        rest.decisions.clear();
        each_part(m, [&](mutation const& part) {
            note.change = &part;
            if (ok) { ok = journal_(tx, note); }
            note.said = &rest;  // what was decided in a group is told once
        });
        return ok;
    }

    /// The first verdict again; the same identity with another content is refused.
    template <class Tx>
    [[nodiscard]] result<std::optional<verdict>> recall(Tx& tx, author_state const& author, std::uint64_t sequence,
                                                        bytes const& raw, bytes_view hash, origin const& from,
                                                        origin_books& origins) const {
        verdict v;
        v.sequence = sequence;
        bytes kept;
        auto found = tx.get(verdict_key(author.index, sequence), kept);
        if (!found) { return found.error(); }
        bool another = *found && !equal(bytes_view{kept}.first((std::min)(kept.size(), hash_bytes)), hash);
        // Decided before names were known here: by a program of the first version, whose answer was lost.
        bool const nameless = another && from.line != 0 && starts_with(kept, bytes_view{sha256(raw)}.first(hash_bytes));
        if (nameless) {
            auto const named = origins.contain(tx, from);
            if (!named) { return named.error(); }
            origins.add(from);
            another = false;
        }
        if (!*found && from.line != 0) {
            auto const decided = origins.contain(tx, from);
            if (!decided) { return decided.error(); }
            another = !*decided;
        }
        if (another) {
            v.kind = verdict_kind::rejected;
            v.reason = errc::identity_fork;
            return std::optional<verdict>{std::move(v)};
        }
        if (!*found) {
            v.kind = verdict_kind::duplicate;
            v.again = true;
            return std::optional<verdict>{std::move(v)};
        }
        if (kept.size() < hash_bytes) { return failure{errc::corrupt, "kept verdict"}; }
        cbor_reader in{bytes_view{kept}.subspan(hash_bytes)};
        v = decode_verdict(in);
        if (!in.failed() && !in.at_end()) { v.guard = std::string{in.text()}; }
        if (!in.finish()) { return failure{errc::corrupt, "kept verdict"}; }
        if (nameless && (v.kind == verdict_kind::rejected || v.kind == verdict_kind::conflict)) {
            origins.refuse(from, v.kind == verdict_kind::rejected && v.reason == errc::not_found);
        }
        v.again = true;
        return std::optional<verdict>{std::move(v)};
    }

    /// What is said of a change whose writer had seen less of its record than what was collected.
    enum class past_life : std::uint8_t {
        none,     ///< it is to the life that is there
        ended,    ///< to one that ended below the horizon: the record is gone, or was created anew since
        unknown,  ///< to such a one, or to the one that is there: a restore has made an older base of the one that it had
    };
    /// Lives are counted on while there is a tombstone; only where there was none does the first begin again.
    template <class Tx>
    [[nodiscard]] result<past_life> life_of(Tx& tx, mutation const& m, std::optional<row> const& before,
                                            author_state const& author, meta_state const& meta) const {
        if (m.kind == change_kind::create || m.base == 0) { return past_life::none; }
        bool const earlier = before && (m.life < before->life || (m.life == 1 && before->life == 1));
        if (before && (before->deleted || !earlier || before->floor.at <= m.base)) { return past_life::none; }
        auto const horizon = leases_.horizon(tx);
        if (!horizon) { return horizon.error(); }
        // Bases are cut to where the authority was put back to, and the horizon may be just there.
        if (m.base > *horizon || (meta.backups && m.base == *horizon)) { return past_life::none; }
        if (!before || !meta.backups) { return past_life::ended; }
        // Who began the life that is there knew of it, under whatever incarnation.
        if (before->floor.stamp < m.stamp) {
            auto const own = same_device(tx, author, before->floor.author);
            if (!own) { return own.error(); }
            if (*own) { return past_life::none; }
        }
        auto const cut = ends_epoch(tx, m.base);
        if (!cut) { return cut.error(); }
        return *cut ? past_life::unknown : past_life::ended;
    }
    /// Whether a number as an author is of the same device and principal.
    template <class Tx>
    [[nodiscard]] result<bool> same_device(Tx& tx, author_state const& author, author_index other) const {
        if (author.index == other) { return true; }
        bytes k = key('u');
        append(k, author.device.bytes);
        bool same = false;
        status outcome;
        auto ok = scan_prefix(tx, k, [&](bytes_view, bytes_view raw) {
            auto const a = parse_author(raw);
            if (!a) { outcome = a.error(); }
            same = a && a->index == other && a->principal == author.principal;
            return outcome.has_value() && !same;
        });
        if (ok) { ok = outcome; }
        if (!ok) { return ok.error(); }
        return same;
    }
    /// Whether an epoch that is over ended there: so do the bases of what a replica offers again.
    template <class Tx>
    [[nodiscard]] result<bool> ends_epoch(Tx& tx, position at) const {
        std::vector<past_epoch> over;
        if (auto ok = list_epochs(tx, 0, (std::numeric_limits<std::size_t>::max)(), over); !ok) { return ok.error(); }
        return std::any_of(over.begin(), over.end(), [&](past_epoch const& e) { return e.end == at; });
    }
    /// A tombstone below the horizon that a backup has brought back is gone.
    template <class Tx>
    [[nodiscard]] status drop_collected(Tx& tx, record_key const& k, std::optional<row>& current) const {
        if (!current || !current->deleted) { return {}; }
        auto const horizon = leases_.horizon(tx);
        if (!horizon) { return horizon.error(); }
        if (current->version > *horizon) { return {}; }
        position const at = current->version;
        current.reset();
        return erase_tombstone(tx, row_key(k), at);
    }
    /// Erases the tombstone of a position under its row's key, and what the scopes know of it.
    template <class Tx>
    [[nodiscard]] status erase_tombstone(Tx& tx, bytes_view at_row, position at) const {
        auto ok = tx.erase(at_row);
        if (ok) { ok = tx.erase(position_key(at)); }
        if (ok && options_.scopes != nullptr) { ok = scopes_.forget(tx, to_bytes(at_row.subspan(2))); }
        return ok;
    }

    /// Decides a mutation that was never seen, and makes its effect.
    template <class Tx>
    [[nodiscard]] status judge(Tx& tx, bytes const& raw, std::string_view principal, author_state const& author,
                               meta_state& meta, timestamp stamp_max, verdict& v) const {
        cbor_reader in{raw, options_.message};
        mutation m = decode_mutation(in);
        if (auto ok = in.finish(); !ok) {
            v.kind = verdict_kind::rejected;
            v.reason = ok.error().code;
            return {};
        }
        v.stamp = (std::min)(m.stamp, stamp_max);
        judged_effects effects;
        if (m.kind == change_kind::group) {
            if (auto ok = judge_group(tx, m, principal, author, meta, effects, v); !ok) { return ok; }
        } else {
            bool done = false;
            if (auto ok = judge_part(tx, m, principal, author, meta, stamp_max, effects, v, done); !ok) { return ok; }
        }
        if (effects.all.empty()) { return {}; }
        if (constraints_) {
            std::size_t which = 0;
            auto kept = constrain(tx, effects.all, which);
            if (!kept) { return kept.error(); }
            if (!kept->accepted) {
                v = rejection(v, kept->reason, std::move(kept->text));
                if (m.kind == change_kind::group) { v.part = effects.part[which]; }
                return {};
            }
            if (auto ok = constraints_->release(tx, effects.all); !ok) { return ok; }
        }
        bytes buffer;
        for (record_effect const& e : effects.all) {
            if (auto ok = write_effect(tx, e, buffer); !ok) { return ok; }
        }
        if (auto ok = name_seen(tx, m, principal, v); !ok) { return ok; }
        meta.head = effects.all.back().after.version;
        if (m.kind == change_kind::group) {
            meta.grouped = meta.head;
        } else if (effects.all.size() == 1 && v.kind == verdict_kind::applied && v.decisions.empty()) {
            auto const& was = effects.all.back().before;
            meta.own.push_back({was ? was->version : 0, meta.head, v.sequence});
        }
        return {};
    }

    /// What mutations come to that are judged together, in the order of positions, each record once. Nothing of it is
    /// written before all of it is known to stand.
    struct judged_effects {
        std::vector<record_effect> all{};
        std::vector<std::uint8_t> part{};  ///< for each the part of the group that it comes from
        std::uint8_t now = 0;              ///< the part that is being judged
        mutation const* group = nullptr;   ///< that it is part of

        [[nodiscard]] record_effect const* find(record_key const& k) const noexcept {
            auto const e = std::find_if(all.begin(), all.end(), [&](record_effect const& o) { return o.record == k; });
            return e == all.end() ? nullptr : &*e;
        }
        void add(record_effect&& e) {
            auto const old =
                std::find_if(all.begin(), all.end(), [&](record_effect const& o) { return o.record == e.record; });
            if (old != all.end()) {
                e.before = std::move(old->before);
                part.erase(part.begin() + (old - all.begin()));
                all.erase(old);
            }
            all.push_back(std::move(e));
            part.push_back(now);
        }
    };
    [[nodiscard]] static verdict rejection(verdict const& of, errc why, std::string text = {}) {
        verdict v;
        v.sequence = of.sequence;
        v.stamp = of.stamp;
        v.kind = verdict_kind::rejected;
        v.reason = why;
        v.text = std::move(text);
        return v;
    }

    /// Decides the parts of a group in their order, each over what those before it come to. One that is rejected, that a
    /// person would have to decide about, or that others have overruled while another part would take effect, rejects all.
    template <class Tx>
    [[nodiscard]] status judge_group(Tx& tx, mutation& m, std::string_view principal, author_state const& author,
                                     meta_state const& meta, judged_effects& effects, verdict& v) const {
        std::vector<verdict> said(m.parts.size());
        std::optional<std::size_t> lost;
        std::size_t overruled = 0;
        effects.group = &m;
        auto const refuse = [&](std::size_t part, errc why) {
            std::vector<decision> decisions = std::move(said[part].decisions);
            v = rejection(v, why, std::move(said[part].text));
            v.decisions = std::move(decisions);
            v.part = static_cast<std::uint8_t>(part);
            v.version = said[part].version;
            effects = {};
            return status{};
        };
        for (std::size_t i = 0; i < m.parts.size(); ++i) {
            bool done = false;
            effects.now = static_cast<std::uint8_t>(i);
            if (auto ok = judge_part(tx, m.parts[i], principal, author, meta, v.stamp, effects, said[i], done); !ok) {
                return ok;
            }
            switch (said[i].kind) {
                case verdict_kind::rejected: return refuse(i, said[i].reason);
                case verdict_kind::conflict: return refuse(i, errc::contended);
                case verdict_kind::overruled:
                    if (done) { break; }
                    ++overruled;
                    if (!lost) { lost = i; }
                    break;
                default: break;
            }
        }
        if (lost && overruled != m.parts.size()) { return refuse(*lost, errc::contended); }
        // Whom a later part was to change, and didn't, needs its parent still.
        for (std::size_t i = 0; constraints_ && !lost && i + 1 < m.parts.size(); ++i) {
            if (m.parts[i].kind != change_kind::erase) { continue; }
            auto const find = [&](record_key const& k) { return newest_over(tx, effects, k); };
            auto const reach = constraints_->reach_of(tx, m.parts[i].record, find, effects.all);
            if (!reach) { return reach.error(); }
            if (!reach->refused || reach->refused->kind != refusal_kind::needed) { continue; }
            said[i].text = to_text(*reach->refused);
            return refuse(i, code_of(refusal_kind::needed));
        }
        v.kind = lost ? verdict_kind::overruled : verdict_kind::applied;
        for (verdict& one : said) {
            if (!lost && !one.decisions.empty()) { v.kind = verdict_kind::merged; }
            v.version = (std::max)(v.version, one.version);
            v.versions.push_back(one.version);
            std::move(one.decisions.begin(), one.decisions.end(), std::back_inserter(v.decisions));
        }
        return {};
    }

    /// Decides what a mutation does to one record, over effects that are not written yet, and adds to them. `done`: what it
    /// was to do is so, though others have done it.
    template <class Tx>
    [[nodiscard]] status judge_part(Tx& tx, mutation& m, std::string_view principal, author_state const& author,
                                    meta_state const& meta, timestamp stamp_max, judged_effects& effects, verdict& v,
                                    bool& done) const {
        auto const reject = [&](errc why, std::string text = {}) {
            v = rejection(v, why, std::move(text));
            return status{};
        };
        if (m.base > meta.head) { return reject(errc::malformed); }

        auto before = state_over(tx, effects, m.record);
        if (!before) { return before.error(); }
        if (auto ok = drop_collected(tx, m.record, *before); !ok) { return ok; }
        bool const shown = options_.scopes == nullptr || options_.scopes->unscoped(principal);
        if (!shown) {
            // Hidden, or not there: the same answer, and before anything else is said.
            auto const reached = may_reach(tx, principal, m, before->has_value());
            if (!reached) { return reached.error(); }
            if (!*reached) { return reject(errc::forbidden, "not in a scope of yours"); }
        }
        // Lives that were begun offline may be skipped when one was refused; but none comes near the last number,
        // after which a record could never be created again.
        std::uint64_t const lived = *before ? (*before)->life : 0;
        if (m.life > lived && m.life - lived > lives_skipped_max) { return reject(errc::malformed); }
        collection_schema const& schema = schemas().of(m.record.collection);
        // Refused: a mutation of a version that is newer still, and one of a record that is closed to its version.
        auto carried = *before ? schema.cast(**before, schema.version()) : status{};
        if (carried) { carried = schema.carry_up(m, *before); }
        if (!carried) { return reject(carried.error().code, carried.error().detail); }
        view const seen = view_of(principal, m.record.collection);
        for (field_op const& op : m.ops) {
            if (!seen.writes(mask(), m.record.collection, op.field)) {
                return reject(errc::forbidden, "may not set " + op.field + " in " + m.record.collection);
            }
        }
        if constexpr (admitting_policy<Validate>) {
            validation said = validate_.admits(principal, m, *before);
            if (!said.accepted) { return reject(said.reason, std::move(said.text)); }
        }
        collection_rules const& rules = rules_.of(m.record.collection);
        if (rules.strong()) {
            auto const at = seen_version(tx, m.record, *before, seen);
            if (!at) { return at.error(); }
            if (made_elsewhere(*before, *at, m)) {
                v = rejection(v, errc::contended);
                v.version = *at;  // what is there now: it can be named once it was seen
                return {};
            }
        }
        apply_context context;
        context.author = author.index;
        context.at = (effects.all.empty() ? meta.head : effects.all.back().after.version) + 1;
        context.stamp_max = stamp_max;
        context.host = options_.merging;
        auto const life = life_of(tx, m, *before, author, meta);
        if (!life) { return life.error(); }
        if (*life != past_life::none) {
            // A deletion of what is gone has had its effect; an edit is for a person to see.
            bool const ask = m.kind != change_kind::erase || *life == past_life::unknown;
            done = !ask;
            v.kind = ask ? verdict_kind::conflict : verdict_kind::overruled;
            auto const at = seen_version(tx, m.record, *before, seen);
            if (!at) { return at.error(); }
            v.version = *at;
            v.decisions.push_back(
                {std::string{}, rule::last_writer, ask ? winner::nobody : winner::confirmed, reason::deleted});
            return {};
        }
        std::optional<row> after;
        apply_outcome outcome = apply_seen(*before, m, context, seen, after);
        if (outcome.verdict == verdict_kind::rejected) { return reject(outcome.reason); }
        if (outcome.changed) {
            after->schema = schema.version();
            if (after->fields.size() > options_.record_max || marks_size(*after) > options_.record_max) {
                return reject(errc::too_large);
            }
            bool const deep = brings_depth(m.ops) || !outcome.decisions.empty();
            if (auto ok = fits(after->fields, limits_of(options_.message, options_.record_max), deep); !ok) {
                return reject(ok.error().code, ok.error().detail);
            }
            status looked;
            auto const look = [&](record_key const& k) {
                auto found = state_over(tx, effects, k);
                if (!found) { looked = found.error(); }
                return found;
            };
            function_ref<result<std::optional<row>>(record_key const&)> const rows = look;
            validation_input const judged{principal, m, *before, *after, effects.group, &rows};
            if (options_.checks != nullptr) {
                validation fits = (*options_.checks)(judged);
                if (!looked) { return looked; }
                if (!fits.accepted) { return reject(fits.reason, std::move(fits.text)); }
            }
            validation said = validate_(judged);
            if (!looked) { return looked; }
            if (!said.accepted) { return reject(said.reason, std::move(said.text)); }
            if (options_.scopes != nullptr && !after->deleted) {
                auto const placed = options_.scopes->of(m.record, *after);
                if (!placed) { return reject(placed.error().code, placed.error().detail); }
            }
            record_effect made{m.record, std::move(*before), std::move(*after)};
            v.version = made.after.version;
            if (constraints_ && m.kind == change_kind::erase) {
                std::vector<record_effect> own;
                own.push_back(std::move(made));
                auto kept = take_along(tx, principal, m, context, effects, own);
                if (!kept) { return kept.error(); }
                if (!kept->accepted) { return reject(kept->reason, std::move(kept->text)); }
                v.version = own.back().after.version;
                for (record_effect& e : own) { effects.add(std::move(e)); }
            } else {
                effects.add(std::move(made));
            }
        } else {
            auto const at = seen_version(tx, m.record, *before, seen);
            if (!at) { return at.error(); }
            v.version = *at;
            done = m.kind == change_kind::erase && (!*before || (*before)->deleted || (*before)->life > m.life);
        }
        v.kind = outcome.verdict;
        v.decisions = std::move(outcome.decisions);
        bool const asks = v.kind == verdict_kind::conflict;
        if (asks && outcome.guard.size() <= guard_bytes_max && valid_utf8(outcome.guard)) {
            v.guard = std::move(outcome.guard);
        }
        return {};
    }
    /// A record's row as it would be after the effects.
    template <class Tx>
    [[nodiscard]] result<std::optional<row>> state_over(Tx& tx, judged_effects const& effects,
                                                        record_key const& k) const {
        if (record_effect const* const e = effects.find(k)) { return std::optional<row>{e->after}; }
        return read_row(tx, row_key(k));
    }

    // Scopes, and what is hidden.

    /// What a principal sees of a collection's records.
    struct view {
        bool hides = false;      ///< whether anything is hidden; else the rest means nothing
        std::uint32_t read = 0;  ///< groups of fields that are read
        std::uint32_t used = 0;  ///< … or written, whose outcome is told
        [[nodiscard]] bool writes(read_mask const& mask, std::string_view collection, std::string_view field) const {
            return !hides || ((used >> mask.group_of(collection, field)) & 1U) != 0;
        }
    };
    [[nodiscard]] read_mask const& mask() const noexcept {
        return options_.mask == nullptr ? detail::nothing_masked : *options_.mask;
    }
    [[nodiscard]] view view_of(std::string_view principal, std::string_view collection) const {
        if (options_.scopes == nullptr || options_.mask == nullptr) { return {}; }
        return {mask().hides(principal, collection), mask().readable(principal, collection),
                mask().writable(principal, collection)};
    }
    /// Whether the request may be answered at all.
    template <class Tx>
    [[nodiscard]] status may_ask(Tx& tx, std::string_view principal, request const& q, position head) const {
        if (options_.scopes == nullptr) {
            return q.scopes ? failure{errc::unsupported, "there are no scopes here"} : status{};
        }
        bool const whole = options_.scopes->unscoped(principal) && mask().fingerprint(principal) == 0;
        if (!q.scopes && !whole) { return failure{errc::forbidden, "scopes must be asked for"}; }
        return scopes_.current(tx, *options_.scopes, mask(), head);
    }
    /// Whether the principal may have some scope that the record is in; what is not there may be created.
    template <class Tx>
    [[nodiscard]] result<bool> may_reach(Tx& tx, std::string_view principal, mutation const& m, bool there) const {
        if (!there) { return m.kind == change_kind::create; }
        auto known = scopes_.find(tx, to_bytes(m.record));
        if (!known) { return known.error(); }
        return std::any_of(known->scopes.begin(), known->scopes.end(), [&](scope_membership const& s) {
            return s.inside && options_.scopes->permits(principal, s.what);
        });
    }
    /// The version of a row, as its author sees it.
    template <class Tx>
    [[nodiscard]] result<position> seen_version(Tx& tx, record_key const& k, std::optional<row> const& r,
                                                view const& seen) const {
        if (!r) { return position{0}; }
        if (!seen.hides) { return r->version; }
        auto known = scopes_.find(tx, to_bytes(k));
        if (!known) { return known.error(); }
        return known->version_of(seen.read);
    }
    /// Names in a verdict the versions that its author sees of what was written; of a row that is hidden in part they are
    /// not the row's.
    template <class Tx>
    [[nodiscard]] status name_seen(Tx& tx, mutation const& m, std::string_view principal, verdict& v) const {
        if (options_.scopes == nullptr || options_.mask == nullptr) { return {}; }
        status ok;
        position last = 0;
        std::size_t i = 0;
        each_part(m, [&](mutation const& part) {
            position& version = i < v.versions.size() ? v.versions[i] : v.version;
            ++i;
            if (view const seen = view_of(principal, part.record.collection); ok && seen.hides && version != 0) {
                auto const known = scopes_.find(tx, to_bytes(part.record));
                if (known) {
                    version = known->version_of(seen.read);
                } else {
                    ok = known.error();
                }
            }
            last = (std::max)(last, version);
        });
        v.version = last;
        return ok;
    }
    /// Applies a mutation to the row as its author sees it, so that nothing hidden has a part in the verdict; then what is
    /// hidden is put back. Guards look at the whole row: a host that has any is asked with all of it.
    /// Sets `after` where it changed something.
    [[nodiscard]] apply_outcome apply_seen(std::optional<row> const& before, mutation const& m,
                                           apply_context const& context, view const& seen,
                                           std::optional<row>& after) const {
        collection_rules const& rules = rules_.of(m.record.collection);
        bool const guarded = options_.merging != nullptr && !options_.merging->guards.empty();
        if (!seen.hides || guarded || !before) { return apply_over(before, m, rules, context, after); }
        std::optional<row> shown = mask().masked(*before, m.record.collection, seen.used, before->version);
        apply_outcome out = apply(shown, m, rules, context);
        if (out.changed) { after = mask().unmasked(std::move(*shown), *before, m.record.collection, seen.used); }
        return out;
    }

    /// The page of a replica that holds scopes.
    template <class Tx>
    [[nodiscard]] result<bytes> scoped_page(Tx& tx, request const& q, std::string_view principal, reply& p,
                                            meta_state const& meta, instant now) const {
        auto horizon = leases_.horizon(tx);
        if (!horizon) { return horizon.error(); }
        p.horizon = *horizon;
        p.from = q.cursor;
        p.to = p.head;
        std::uint64_t const rows_max =
            (std::min)(q.rows_max, (std::min)(options_.rows_max, std::uint64_t{exchange_items_max}));
        std::uint64_t const bytes_max = (std::min)(q.bytes_max, options_.bytes_max);
        bytes rows;
        bytes one;
        bytes k = key('r');
        cbor_writer w{rows};
        auto const full = [&](std::size_t count) {
            return count >= rows_max || (count != 0 && rows.size() >= bytes_max);
        };
        // Where a group was decided since, a page that ends before the head might bring some of its parts: then it ends only
        // where a message does.
        exchange_limits const own = limits_of(options_.message, options_.record_max);
        std::uint64_t const room = content_max(lower_of(own, q.limits.value_or(exchange_limits{})).message_max);
        bool const grouped = meta.grouped > q.cursor;
        auto const tail_full = [&](std::size_t count) {
            return grouped ? count >= exchange_items_max || rows.size() >= room : full(count);
        };
        auto const tell_row = [&](bytes_view name, scoped_record const& known) -> status {
            k.resize(2);
            append(k, name);
            auto found = tx.get(k, one);
            if (!found) { return found.error(); }
            auto const record = record_key_from(name);
            if (!*found || !record) { return failure{errc::corrupt, "authority's scopes"}; }
            if (auto ok = show(principal, *record, known, one); !ok) { return ok; }
            if (auto ok = carry_down(q, record->collection, one); !ok) { return ok; }
            encode_row_update(w, record->collection, record->id, one);
            return {};
        };
        scope_teller teller{scopes_, *options_.scopes, mask(), principal, *q.scopes};
        std::size_t const page_max = static_cast<std::size_t>(rows_max);
        auto told = teller.tell(tx, p.from, p.to, p.horizon, page_max, full,
                                grouped ? std::size_t{exchange_items_max} : page_max, tail_full, tell_row);
        if (!told) { return told.error(); }
        for (std::size_t i = 0; i < p.verdicts.size(); ++i) {
            verdict_kind const kind = p.verdicts[i].kind;
            if (kind != verdict_kind::applied && kind != verdict_kind::merged) { continue; }
            cbor_reader in{q.mutations[i], options_.message};
            mutation const m = decode_mutation(in);
            if (!in.finish()) { continue; }
            verdict& v = p.verdicts[i];
            status ok;
            std::size_t n = 0;
            each_part(m, [&](mutation const& part) {
                position& version = n < v.versions.size() ? v.versions[n] : v.version;
                ++n;
                bytes const name = to_bytes(part.record);
                if (ok) { ok = teller.tell_changed(tx, name, tell_row); }
                // Who read more when it was decided would wait for a version that they are never told.
                view const seen = view_of(principal, part.record.collection);
                if (!ok || !seen.hides) { return; }
                auto const known = scopes_.find(tx, name);
                if (known) {
                    version = (std::min)(version, known->version_of(seen.read));
                } else {
                    ok = known.error();
                }
            });
            if (!ok) { return ok.error(); }
        }
        if (leases_.kept()) {
            if (auto ok = leases_.renew(tx, p.author, teller.holds_from(p.from), now.wall); !ok) { return ok.error(); }
        }
        std::size_t const count = teller.rows();
        p.scopes = teller.take();
        return encode_with_rows(p, count, rows, q.features);
    }
    /// An encoded row without what is hidden from the principal.
    [[nodiscard]] status show(std::string_view principal, record_key const& k, scoped_record const& known,
                              bytes& encoded) const {
        view const seen = view_of(principal, k.collection);
        if (!seen.hides) { return {}; }
        cbor_reader in{encoded};
        row r = decode_row(in);
        if (!in.finish()) { return failure{errc::corrupt, "authority's row"}; }
        // The mask names the fields of the newest version.
        collection_schema const& schema = schemas().of(k.collection);
        if (auto ok = schema.cast(r, schema.version()); !ok) { return ok; }
        encoded.clear();
        cbor_writer w{encoded};
        encode_row(w, mask().masked(r, k.collection, seen.read, known.version_of(seen.read)));
        return {};
    }

    /// A row, and its change in the order of positions and in the index.
    template <class Tx>
    [[nodiscard]] status write_effect(Tx& tx, record_effect const& e, bytes& buffer) const {
        std::optional<row> const* const before = &e.before;
        if (*before) {
            if (auto ok = tx.erase(position_key((*before)->version)); !ok) { return ok; }
        }
        record_entry const at_row = row_key(e.record);
        bytes_view const k = at_row;
        buffer.clear();
        cbor_writer w{buffer};
        encode_row(w, e.after);
        if (auto ok = tx.put(k, buffer); !ok) { return ok; }
        if (auto ok = tx.put(position_key(e.after.version), k.subspan(2)); !ok) { return ok; }
        if (options_.scopes != nullptr) {
            row const* const was = *before ? &**before : nullptr;
            if (auto ok = scopes_.enter(tx, *options_.scopes, mask(), e.record, was, e.after); !ok) { return ok; }
        }
        return constraints_ ? constraints_->enter(tx, e) : status{};
    }

    /// A row as of the newest schema version, after the effects.
    template <class Tx>
    [[nodiscard]] result<std::optional<row>> newest_over(Tx& tx, judged_effects const& effects,
                                                         record_key const& k) const {
        auto r = state_over(tx, effects, k);
        if (!r || !*r) { return r; }
        collection_schema const& schema = schemas().of(k.collection);
        if (auto ok = schema.cast(**r, schema.version()); !ok) { return ok.error(); }
        return r;
    }
    [[nodiscard]] static validation refused_by(refusal const& r) {
        return validation{false, code_of(r.kind), to_text(r)};
    }

    /// What a deletion, `own`'s only effect, takes along, by the constraints: it is put before it, children before their
    /// parents, each with a position of its own: a page that ends between two shows no child without its parent.
    template <class Tx>
    [[nodiscard]] result<validation> take_along(Tx& tx, std::string_view principal, mutation const& m,
                                                apply_context context, judged_effects const& effects,
                                                std::vector<record_effect>& own) const {
        auto const find = [&](record_key const& k) { return newest_over(tx, effects, k); };
        std::vector<bytes> later;
        if (effects.group != nullptr) {
            auto const& parts = effects.group->parts;
            for (std::size_t i = effects.now + std::size_t{1}; i < parts.size(); ++i) {
                later.push_back(to_bytes(parts[i].record));
            }
            std::sort(later.begin(), later.end());
        }
        auto reach = constraints_->reach_of(tx, m.record, find, effects.all, later);
        if (!reach && reach.error().code == errc::unsupported) {
            return validation{false, errc::unsupported, reach.error().detail};
        }
        if (!reach) { return reach.error(); }
        if (reach->refused) { return refused_by(*reach->refused); }
        std::vector<record_effect> all;
        auto const change = [&](record_key const& k, row&& was, change_kind kind, std::vector<field_op> ops) {
            mutation const along{0,
                                 m.stamp,
                                 kind,
                                 k,
                                 was.life,
                                 was.version,
                                 std::move(ops),
                                 merge_hint::merge,
                                 schemas().of(k.collection).version()};
            std::optional<row> before{std::move(was)};
            std::optional<row> after = before;
            apply_outcome const outcome = apply(after, along, rules_.of(k.collection), context);
            if (!outcome.changed) {
                errc const why = outcome.verdict == verdict_kind::rejected ? outcome.reason : errc::rejected;
                return validation{false, why, "a record that is deleted or changed along may not be"};
            }
            after->schema = along.schema;
            if (options_.checks != nullptr) {
                validation said = (*options_.checks)(validation_input{principal, along, before, *after});
                if (!said.accepted) { return said; }
            }
            all.push_back({k, std::move(before), std::move(*after)});
            ++context.at;
            return validation{};
        };
        for (deletion_reach::orphan& o : reach->orphaned) {
            std::vector<field_op> ops;
            for (std::string& f : o.fields) { ops.push_back({std::move(f), op_kind::unset, {}, m.stamp}); }
            auto said = change(o.record, std::move(o.state), change_kind::update, std::move(ops));
            if (!said.accepted) { return said; }
        }
        for (auto e = reach->deleted.rbegin(); e != reach->deleted.rend(); ++e) {
            auto said = change(e->record, std::move(*e->before), change_kind::erase, {});
            if (!said.accepted) { return said; }
        }
        if (all.empty()) { return validation{}; }
        record_effect last = std::move(own.back());
        std::optional<row> after = last.before;
        if (!apply(after, m, rules_.of(m.record.collection), context).changed) { return validation{false}; }
        after->schema = last.after.schema;
        last.after = std::move(*after);
        all.push_back(std::move(last));
        own = std::move(all);
        return validation{};
    }
    /// What the constraints say of effects that come together; `which` of them is refused.
    template <class Tx>
    [[nodiscard]] result<validation> constrain(Tx& tx, std::vector<record_effect> const& effects,
                                               std::size_t& which) const {
        auto const lives = [&](record_key const& k) -> result<bool> {
            for (record_effect const& e : effects) {
                if (e.record == k) { return !e.after.deleted; }
            }
            auto r = read_row(tx, row_key(k));
            if (!r) { return r.error(); }
            return detail::living(*r);
        };
        auto const against = constraints_->refuses(tx, effects, lives, &which);
        if (!against && against.error().code == errc::type_mismatch) {
            return validation{false, errc::type_mismatch, against.error().detail};
        }
        if (!against) { return against.error(); }
        return *against ? refused_by(**against) : validation{};
    }

    [[nodiscard]] schema_table const& schemas() const noexcept {
        return options_.schemas == nullptr ? detail::first_versions : *options_.schemas;
    }
    /// An encoded row in the version that the device knows; as it is where it is closed to that: the device then shows
    /// that it is.
    [[nodiscard]] status carry_down(request const& q, std::string_view collection, bytes& encoded) const {
        if (options_.schemas == nullptr) { return {}; }
        collection_schema const& schema = schemas().of(collection);
        schema_version const wanted = (std::min)(detail::known_version(q.schemas, collection), schema.version());
        cbor_reader in{encoded};
        row r = decode_row(in);
        if (!in.finish()) { return failure{errc::corrupt, "authority's row"}; }
        if (r.schema == wanted || !schema.cast(r, wanted)) { return {}; }
        encoded.clear();
        cbor_writer w{encoded};
        encode_row(w, r);
        return {};
    }

    /// Whether a request has had as much hashed for it as one may: a stranger chooses what is to be compared.
    [[nodiscard]] static bool compared_enough(detail::row_sum const& sum, std::uint64_t looked) noexcept {
        return looked >= range_sums_rows_max || sum.hashed() >= range_sums_bytes_max;
    }
    /// Whether the asker holds what there is of a range. A row that does not decode is told as it is.
    template <class Tx>
    [[nodiscard]] result<bool> holds_same(Tx& tx, request const& q, record_range const& range, range_sum const& part,
                                          detail::row_sum& sum, std::uint64_t& looked) const {
        bool more = false;
        auto const ok = scan_range(tx, range, [&](record_key const& k, row& state) {
            more = compared_enough(sum, looked);
            if (more) { return false; }
            ++looked;
            if (state.deleted && state.version <= q.compared->horizon) { return true; }
            more = sum.rows() == part.rows;
            if (more) { return false; }
            if (options_.schemas != nullptr) {
                collection_schema const& schema = schemas().of(k.collection);
                (void)schema.cast(state, (std::min)(detail::known_version(q.schemas, k.collection), schema.version()));
            }
            sum.add(k, state);
            return true;
        });
        bool const as_many = !more && sum.rows() == part.rows;
        bool const same = sum.take() == part.sum;
        if (!ok && ok.error() != errc::corrupt) { return ok.error(); }
        return ok && as_many && same;
    }

    /// Where the page begins, and the lease of who will hold what it tells.
    template <class Tx>
    [[nodiscard]] status begin_page(Tx& tx, request const& q, reply& p, instant now) const {
        auto horizon = leases_.horizon(tx);
        if (!horizon) { return horizon.error(); }
        p.horizon = *horizon;
        p.from = q.cursor;
        p.to = p.head;
        // Nothing is held, and the ranges tell it all; or what is held is of no use, as what was deleted since is not told.
        if ((q.cursor == 0 && !q.ranges.empty()) || q.cursor < p.horizon) { p.from = p.head; }
        if (q.cursor < p.horizon && (q.features & feature_sums) != 0) { p.same.emplace(); }
        if (!leases_.kept()) { return {}; }
        // It holds what is told before `from` once this reply is taken, and never where the request is an old one that comes
        // again: until its cursor says so, its lease protects what it did.
        position holds = p.from;
        if (p.from != q.cursor) {
            auto const held = leases_.cursor_of(tx, p.author);
            if (!held) { return held.error(); }
            holds = (std::min)(holds, held->value_or(holds));
        }
        return leases_.renew(tx, p.author, holds, now.wall);
    }

    /// Completes the reply with the rows that changed after the cursor, oldest change first, and, once these reach the
    /// head, with the rows of the ranges that are wanted, in the order of keys. Who understands it is told what it
    /// doesn't hold: not the rows that come of its own `changes`, and of others not the fields that are as they were.
    template <class Tx>
    [[nodiscard]] result<bytes> page(Tx& tx, request const& q, reply& p, meta_state const& meta) const {
        std::uint64_t const rows_max =
            (std::min)(q.rows_max, (std::min)(options_.rows_max, std::uint64_t{exchange_items_max}));
        std::uint64_t const bytes_max = (std::min)(q.bytes_max, options_.bytes_max);
        constexpr std::size_t page_grown = std::size_t{64} << 10;
        auto const page_room = static_cast<std::size_t>((std::min)(bytes_max, std::uint64_t{8} << 20)) + page_grown;
        bytes rows;
        bytes one;
        bytes k = key('r');
        cbor_writer w{rows};
        std::size_t count = 0;
        // Who wants ranges doesn't hold all up to its cursor, nor does who keeps a page back; a row of a later schema goes
        // as it is, and so does one that may be withheld.
        bool const in_parts = (q.features & feature_parts) != 0 && q.ranges.empty() && p.from == q.cursor &&
                              options_.schemas == nullptr && q.schemas.empty() && !q.limits && !q.whole &&
                              meta.grouped <= q.cursor;
        own_changes own{meta.own, in_parts ? p.from : 0};
        row_cutter cutter{p.from};
        xxh3_64_hasher own_sum;
        bytes parts;
        bytes part;
        std::size_t part_count = 0;
        auto const full = [&] {
            return count + p.withheld.size() >= rows_max || (count != 0 && rows.size() + parts.size() >= bytes_max);
        };
        std::uint64_t room = 0;  // for rows, where the requester says what it takes
        if (q.limits) {
            bytes verdicts;
            cbor_writer said{verdicts};
            for (verdict const& v : p.verdicts) { encode_verdict(said, v); }
            if (p.relayed) { detail::encode_relay_answers(said, *p.relayed); }
            std::uint64_t const all = q.limits->message_max;
            room = content_max(all - (std::min)(all, std::uint64_t{verdicts.size()}));
        }
        status outcome;
        // What is to be done with a row that stands encoded in `one`: told, left to the next page, or withheld.
        enum class fate : std::uint8_t { told, later, withheld };
        auto const decide_row = [&](bytes_view key_bytes, record_key_view const& record, bytes_view encoded) {
            if (!q.limits) { return fate::told; }
            std::uint64_t const size = key_bytes.size() + encoded.size() + 16;
            cbor_reader in{encoded};
            row const r = decode_row(in);
            if (!in.finish()) {
                outcome = failure{errc::corrupt, "authority's row"};
                return fate::later;
            }
            if (size + message_overhead > q.limits->message_max || !fits(r.fields, *q.limits)) {
                std::uint64_t const name = key_bytes.size() + 24;
                if (rows.size() + name > room) { return fate::later; }
                room -= name;
                p.withheld.push_back({{record.collection, record.id}, r.version, r.fields.size()});
                return fate::withheld;
            }
            bool const alone =
                count == 0 && p.verdicts.empty() && p.withheld.empty() && (!p.relayed || p.relayed->empty());
            return rows.size() + size > room && !alone ? fate::later : fate::told;
        };
        auto const first = position_key(p.from + 1);
        bytes const end = prefix_end(key('p'));
        auto const tell_change = [&](bytes_view at, bytes_view record) {
            if (at.size() != 10) {
                outcome = failure{errc::corrupt, "position index"};
                return false;
            }
            auto const parsed = record_key_in(record);
            fate becomes = fate::later;
            if (!full()) {
                k.resize(2);
                append(k, record);
                auto found = tx.get(k, one);
                if (!found || !*found || !parsed) {
                    outcome = found ? status{failure{errc::corrupt, "position index"}} : status{found.error()};
                    return false;
                }
                if (outcome = carry_down(q, parsed->collection, one); !outcome) { return false; }
                becomes = decide_row(record, *parsed, one);
            }
            if (becomes == fate::later) {
                p.to = read_u64(at.subspan(2)) - 1;
                return false;
            }
            if (becomes == fate::withheld) { return true; }
            ++count;
            if (in_parts && own.tell(read_u64(at.subspan(2)))) {
                own_sum.update(one);
                return true;
            }
            part.clear();
            if (in_parts && cutter.cut(one, part)) {
                cbor_writer into{parts};
                encode_row_update(into, parsed->collection, parsed->id, part);
                ++part_count;
                return true;
            }
            encode_row_update(w, parsed->collection, parsed->id, one);
            return true;
        };
        if (p.from != p.head) {
            if (auto ok = tx.scan({first, end}, tell_change); !ok) { return ok.error(); }
            if (!outcome) { return outcome.error(); }
            // A row stands at the position of its last change: where a page ends, one part of a group may have been changed
            // again and stand further on. Only at the head do all groups that the asker has not taken yet stand whole.
            bool const tells = p.to != p.from || q.whole;
            p.partial = p.to != p.head && tells && meta.grouped > q.whole.value_or(q.cursor);
        }
        // Before the tail is told whole, a range would show a part of what one position changed.
        // True when all of it is told; else what is told of it ends where `p.ranges` says.
        auto const tell_range = [&](record_range const& wanted, bool together) -> result<bool> {
            told_range answer{wanted, 0};
            bytes from = key('r');
            append(from, answer.covered.from);
            bytes to = key('r');
            append(to, answer.covered.to);
            auto ok = tx.scan({from, to}, [&](bytes_view at, bytes_view state) {
                auto const parsed = record_key_in(at.subspan(2));
                if (!parsed) {
                    outcome = failure{errc::corrupt, "authority's row"};
                    return false;
                }
                fate becomes = fate::later;
                if (!full()) {
                    if (options_.schemas != nullptr) {
                        one.assign(state.begin(), state.end());
                        if (outcome = carry_down(q, parsed->collection, one); !outcome) { return false; }
                        state = one;
                    }
                    becomes = decide_row(at.subspan(2), *parsed, state);
                }
                if (becomes == fate::later) {
                    answer.covered.to = to_bytes(at.subspan(2));
                    return false;
                }
                if (becomes == fate::withheld) { return true; }
                // A page that has grown so far is mostly filled: no more copies of it on the way.
                if (rows.size() > page_grown) { rows.reserve(page_room); }
                encode_row_update(w, parsed->collection, parsed->id, state);
                ++count;
                ++answer.rows;
                return true;
            });
            if (!ok) { return ok.error(); }
            if (!outcome) { return outcome.error(); }
            bool const whole = answer.covered.to == wanted.to;
            if (together && !p.ranges.empty() && p.ranges.back().covered.to == wanted.from) {
                p.ranges.back().covered.to = std::move(answer.covered.to);
                p.ranges.back().rows += answer.rows;
            } else if (compare(answer.covered.from, answer.covered.to) < 0) {
                p.ranges.push_back(std::move(answer));
            }
            return whole;
        };
        if (q.compared && p.to == p.head) {
            p.same = same_ranges{q.compared->round, {}};
            detail::row_sum sum{q.compared->key};
            std::uint64_t looked = 0;
            bytes from = q.ranges[0].from;
            for (range_sum const& held : q.compared->parts) {
                std::vector<record_range>& same = p.same->ranges;
                if (full() || p.ranges.size() == wanted_ranges_max || same.size() == wanted_ranges_max) { break; }
                record_range const wanted{std::exchange(from, held.to), held.to};
                auto const is_same = holds_same(tx, q, wanted, held, sum, looked);
                if (!is_same) { return is_same.error(); }
                // Where the hashing ended, the next request begins. Of the first part it is told: that goes on in pages.
                bool const begins = same.empty() && p.ranges.empty();
                if (!*is_same && !begins && compared_enough(sum, looked)) { break; }
                if (*is_same && !same.empty() && same.back().to == wanted.from) {
                    same.back().to = wanted.to;
                    continue;
                }
                if (!*is_same) {
                    auto const whole = tell_range(wanted, true);
                    if (!whole) { return whole.error(); }
                    if (!*whole) { break; }
                    continue;
                }
                std::uint64_t const names = 2 * range_bound_bytes_max;
                if (q.limits && rows.size() + names > room) { break; }
                room -= q.limits ? names : 0;
                same.push_back(wanted);
            }
        }
        for (std::size_t i = 0; i < q.ranges.size() && !q.compared && p.to == p.head && !full(); ++i) {
            if (auto const told = tell_range(q.ranges[i], false); !told) { return told.error(); }
        }
        p.own = own.told();
        p.own_sum = p.own.empty() ? 0 : own_sum.finish();
        p.parts_sum = part_count == 0 ? 0 : cutter.sum();
        return encode_with_rows(p, count - part_count - own.rows(), rows, q.features, part_count, parts);
    }

    rule_table rules_;
    authority_options options_;
    SYNCLINE_NO_UNIQUE_ADDRESS Validate validate_;
    lease_book leases_;
    std::optional<constraint_book> constraints_{};
    scope_index scopes_{"az"};
    SYNCLINE_NO_UNIQUE_ADDRESS Journal journal_;
};

/// Answers one request over a store: begins, handles, commits, and makes it durable before it returns.
///
/// Where a commit promises less than `durability::full`, the store's `barrier()` is called before the reply
/// is handed out, unless the store promises nothing at all (memory). On an error nothing was changed, or,
/// after a failed commit or barrier, the replica asks again and gets the same verdicts.
template <storage S, class Validate, class Journal>
[[nodiscard]] result<bytes> serve(S& store, authority<Validate, Journal> const& a, std::string_view principal,
                                  bytes_view message, instant now) {
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    auto answer = a.handle(*tx, principal, message, now);
    if (!answer) { return answer.error(); }
    if (auto ok = tx->commit(); !ok) { return ok.error(); }
    if (store.commit_durability() == durability::ordered) {
        if (auto ok = store.barrier(); !ok) { return ok.error(); }
    }
    return answer;
}

/// One of the requests that `serve_all` answers; borrowed.
struct asked_request {
    std::string_view principal{};
    bytes_view message{};
};

/// Answers several requests with one commit, in their order: where a commit waits for the disk, it waits once for all of
/// them. Each answer is as `serve` would give it. One that fails is made by itself, after the others without it; when the
/// commit fails, each is, so that nobody pays for another's.
/// Cost: as of the requests; those before one that fails are handled again. Where many fail, the rest are made by
/// themselves, so that no more than five times as many as came are handled.
template <storage S, class Validate, class Journal>
[[nodiscard]] std::vector<result<bytes>> serve_all(S& store, authority<Validate, Journal> const& a,
                                                   std::span<asked_request const> all, instant now) {
    std::vector<result<bytes>> out(all.size(), result<bytes>(errc::cancelled));
    std::vector<std::size_t> together(all.size());
    std::iota(together.begin(), together.end(), std::size_t{0});
    std::vector<std::size_t> alone;
    for (std::size_t handled = 0; together.size() > 1 && handled <= 3 * all.size();) {
        auto tx = store.begin(access_mode::write);
        if (!tx) { break; }
        auto const fails = std::find_if(together.begin(), together.end(), [&](std::size_t i) {
            ++handled;
            out[i] = a.handle(*tx, all[i].principal, all[i].message, now);
            return !out[i];
        });
        if (fails == together.end()) {
            bool const durable = tx->commit() && (store.commit_durability() != durability::ordered || store.barrier());
            if (durable) { together.clear(); }
            break;
        }
        alone.push_back(
            *fails);  // it may have failed for the others' sake: for what the store takes of one transaction
        together.erase(fails);
    }
    alone.insert(alone.end(), together.begin(), together.end());
    std::sort(alone.begin(), alone.end());
    for (std::size_t const i : alone) { out[i] = serve(store, a, all[i].principal, all[i].message, now); }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
