// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The durable queue of conflicts, over any storage and in the caller's transaction: list, preview, decide, undo, redo.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/conflict/conflict.hpp>
#include <syncline/conflict/resolution.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What happened to a conflict. Values travel: append, never renumber.
enum class conflict_event : std::uint8_t {
    opened = 1,
    remote_changed = 2,  ///< the row that was there before is kept with it
    decided = 3,
    undone = 4,
    redone = 5,
    suggested = 6,  ///< told to the audit, kept with the conflict, not in its history
};
[[nodiscard]] constexpr char const* name(conflict_event e) noexcept {
    switch (e) {
        case conflict_event::opened: return "opened";
        case conflict_event::remote_changed: return "remote changed";
        case conflict_event::decided: return "decided";
        case conflict_event::undone: return "undone";
        case conflict_event::redone: return "redone";
        case conflict_event::suggested: return "suggested";
    }
    return "unknown event";
}

/// One entry of a conflict's history.
struct conflict_entry {
    std::uint64_t number = 0;  ///< 1, 2, 3, … of its conflict
    conflict_event what = conflict_event::opened;
    bytes by{};              ///< who; empty where nobody decided anything
    bool automatic = false;  ///< a suggestion was applied without asking
    wall_time at{};
    /// remote_changed: the row before; decided, redone: that it was decided against; undone: that it was undone on, if there
    /// was room for it.
    std::optional<row> remote{};
    resolution how{};                  ///< decided, redone
    std::optional<mutation> change{};  ///< decided, undone, redone: what went out; nothing where nothing did
    friend bool operator==(conflict_entry const&, conflict_entry const&) = default;
};

/// What an audit is told of, in the transaction of the change. Borrowed for the call.
struct conflict_note {
    conflict const& about;
    conflict_entry const& entry;
};
/// Where the audit's entries go: a call that writes one in the same transaction; when it fails, so does the decision.
///
/// `a(note)` answers a status. Axiom: it doesn't touch the queue.
template <class A>
concept conflict_audit = requires(A& a, conflict_note const& note) {
    { a(note) } -> std::same_as<status>;
};
struct no_audit {
    status operator()(conflict_note const&) const noexcept { return {}; }
};

/// Limits of a queue.
struct conflict_options {
    std::uint64_t open_max = 100'000;              ///< open conflicts; one more is refused; > 0
    std::size_t bytes_max = std::size_t{1} << 20;  ///< of one stored conflict or history entry; > 0
    /// History entries of one conflict; > 1. Half of them are for what people do: others' changes leave them that room.
    std::uint64_t events_max = 10'000;
    friend constexpr bool operator==(conflict_options const&, conflict_options const&) = default;
};
[[nodiscard]] constexpr bool valid(conflict_options const& o) noexcept {
    return o.open_max > 0 && o.bytes_max > 0 && o.events_max > 1;
}

/// Which conflicts: those that all of it fits. They come in the order of their ids, which is that of their arrival.
struct conflict_query {
    std::optional<conflict_state> state{conflict_state::open};  ///< nothing: in any state
    std::string_view collection{};                              ///< empty: of all
    record_key const* record = nullptr;                         ///< of one record; goes before `collection`
    std::optional<wall_time> opened_from{};                     ///< opened at or after
    std::optional<wall_time> opened_before{};
    std::uint64_t after = 0;  ///< ids greater than this: the last one of the page before
    std::size_t count_max = (std::numeric_limits<std::size_t>::max)();
};

struct conflict_counts {
    std::uint64_t open = 0;
    std::uint64_t decided = 0;
    friend bool operator==(conflict_counts const&, conflict_counts const&) = default;
};

/// A conflict that `resolve_all` did not decide, and why; it is as it was.
struct unresolved {
    std::uint64_t id = 0;
    failure why{};
};
struct batch_outcome {
    std::vector<std::pair<std::uint64_t, settled>> done{};
    std::vector<unresolved> left{};
};

/// The rules to decide conflicts of several collections by: those of one, which decide no other's, or all. Borrowed.
class conflict_rule_source {
public:
    conflict_rule_source(collection_rules const& one) noexcept : one_(&one) {}  // NOLINT: either is meant
    conflict_rule_source(rule_table const& all) noexcept : all_(&all) {}        // NOLINT
    [[nodiscard]] collection_rules const& of(std::string_view collection) const {
        return one_ != nullptr ? *one_ : all_->of(collection);
    }

private:
    collection_rules const* one_ = nullptr;
    rule_table const* all_ = nullptr;
};

/// A durable queue of conflicts.
///
/// It holds options and nothing else: every call reads and writes the transaction that it is given, so the caller's rows,
/// the decision's mutation, the audit's entry and the queue commit or roll back together. All keys begin with the prefix.
/// Nothing leaves but by `forget`, and only what is decided.
///
/// Errors: those of the storage; after one of them in a call that writes, roll the transaction back. `errc::corrupt` for
/// a damaged value: roll back as well. `errc::unsupported`: a later version wrote it. Every other error leaves the queue as
/// it was. Cost: a call reads and writes a fixed number of keys, besides what it returns; `raise` and `remote_changed` read the
/// record's other conflicts, those that are decided too until they are forgotten. A call that is given an observer
/// as its last argument tells it how many conflicts it opened or decided, and how many are open.
class conflict_queue {
public:
    /// Precondition: valid(options); the prefix has 1 to 64 bytes and is neither another component's, nor the beginning
    /// of one, nor begins with one.
    explicit conflict_queue(conflict_options options = {}, std::string_view prefix = "kq")
        : options_(options), prefix_(prefix) {
        SYNCLINE_ASSERT(valid(options));
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }
    [[nodiscard]] conflict_options const& options() const noexcept { return options_; }

    // Putting in.

    /// Takes a conflict in: its id, greater than all before. `id`, `state`, `opened`, `changed` and the counters of `c`
    /// don't matter. The same mutation (writer, stamp and sequence) told again is the same conflict: its remote side is
    /// renewed.
    /// Errors: `errc::limit` (open_max, bytes_max), `errc::invalid` (`check`).
    template <storage_transaction Tx, conflict_audit A = no_audit, observer O = no_observer>
    [[nodiscard]] result<std::uint64_t> raise(Tx& tx, conflict c, wall_time now, A&& audit = {}, O&& told = {}) const {
        if (auto ok = check(c); !ok) { return ok.error(); }
        auto held = ids_of(tx, c.record);
        if (!held) { return held.error(); }
        for (auto const& [id, open] : *held) {
            auto known = load(tx, id);
            if (!known) { return known.error(); }
            if (!same_mutation(*known, c)) { continue; }
            if (!open) { return id; }  // told again after the decision: it stands
            bool const older = known->remote && (!c.remote || c.remote->version < known->remote->version);
            bool const news = std::any_of(c.fields.begin(), c.fields.end(),
                                          [&](contested_field const& f) { return known->find(f.path) == nullptr; });
            if (older || (known->remote == c.remote && !news)) { return id; }
            auto next = renewed(std::move(*known), c.remote, c.remote_by, std::move(c.fields), now);
            if (auto ok = fits(next); !ok) { return ok.error(); }
            if (auto ok = put_renewed(tx, std::move(next), audit); !ok) { return ok.error(); }
            return id;
        }
        auto total = counters(tx);
        if (!total) { return total.error(); }
        if (total->counts.open >= options_.open_max) { return failure{errc::limit, "open conflicts"}; }
        if (total->last == (std::numeric_limits<std::uint64_t>::max)()) { return errc::overflow; }
        c.id = ++total->last;
        c.state = conflict_state::open;
        c.opened = now;
        c.changed = now;
        c.revision = 1;
        c.events = 0;
        c.last_decision = 0;
        ++total->counts.open;
        if (auto ok = fits(c); !ok) { return ok.error(); }
        conflict_entry first;
        first.at = now;
        first.by = c.local_by.writer;
        if (auto ok = record(tx, c, std::move(first), audit); !ok) { return ok.error(); }
        if (auto ok = index(tx, c); !ok) { return ok.error(); }
        if (auto ok = store(tx, c); !ok) { return ok.error(); }
        if (auto ok = put_counters(tx, *total); !ok) { return ok.error(); }
        told.counted(metric_counter::conflicts_opened, 1);
        told.measured(metric_gauge::open_conflicts, total->counts.open);
        return c.id;
    }

    /// A record's confirmed row has changed: its open conflicts are brought up to date, none is lost, and what the row
    /// was before stays in the history. `rules` tell which further fields are contested now, to `as`: this device's number
    /// and what it knows of its authority's host (`contested_now`). How many changed.
    /// Errors: `errc::limit` (bytes_max), `errc::invalid` (a row that is not canonical). Beyond half of events_max the
    /// conflict is still brought up to date; only what the row was before is kept no more.
    template <storage_transaction Tx, conflict_audit A = no_audit>
    [[nodiscard]] result<std::size_t> remote_changed(Tx& tx, record_key const& key, row const& remote,
                                                     conflict_writer const& by, collection_rules const& rules,
                                                     wall_time now, A&& audit = {},
                                                     apply_context const& as = {}) const {
        auto held = ids_of(tx, key);
        if (!held) { return held.error(); }
        std::vector<renewal> all;
        for (auto const& [id, open] : *held) {
            if (!open) { continue; }
            auto c = load(tx, id);
            if (!c) { return c.error(); }
            if (c->remote && (*c->remote == remote || c->remote->version > remote.version)) { continue; }
            auto fields = contested_now(*c, remote, rules, as);
            all.push_back(renewed(std::move(*c), remote, by, std::move(fields), now));
            if (auto ok = fits(all.back()); !ok) { return ok.error(); }
        }
        for (renewal& r : all) {
            if (auto ok = put_renewed(tx, std::move(r), audit); !ok) { return ok.error(); }
        }
        return all.size();
    }

    /// Keeps what is suggested for the contested fields, in their order.
    /// Errors: `errc::not_found`; `errc::invalid` (another number of them, or out of range, or it is decided).
    template <storage_transaction Tx, conflict_audit A = no_audit>
    [[nodiscard]] status suggest(Tx& tx, std::uint64_t id, std::span<suggestion const> all, wall_time now,
                                 A&& audit = {}) const {
        auto c = load(tx, id);
        if (!c) { return c.error(); }
        bool const fits = c->state == conflict_state::open && all.size() == c->fields.size() &&
                          std::all_of(all.begin(), all.end(), [](suggestion const& s) { return valid(s); });
        if (!fits) { return failure{errc::invalid, "suggestions"}; }
        for (std::size_t i = 0; i < all.size(); ++i) { c->fields[i].suggested = all[i]; }
        conflict_entry told;
        told.what = conflict_event::suggested;
        told.at = now;
        if (auto ok = audit(conflict_note{*c, told}); !ok) { return ok; }
        return store(tx, *c);
    }

    // Looking.

    /// Errors: `errc::not_found`.
    template <storage_transaction Tx>
    [[nodiscard]] result<conflict> find(Tx& tx, std::uint64_t id) const {
        return load(tx, id);
    }
    /// Visits those that fit, until the visitor says false. It may read through the transaction.
    template <storage_transaction Tx>
    [[nodiscard]] status list(Tx& tx, conflict_query const& q, function_ref<bool(conflict const&)> visit) const {
        bytes head;
        char kind = 'i';
        if (q.record != nullptr) {
            if (!valid(*q.record)) { return failure{errc::invalid, "record key"}; }
            head = record_head(*q.record);
            kind = 'r';
        } else if (!q.collection.empty() && q.state == conflict_state::open) {
            if (q.collection.size() > collection_bytes_max) { return failure{errc::invalid, "collection"}; }
            head = collection_head(q.collection);
            kind = 'c';
        } else {
            if (q.state == conflict_state::open) { kind = 'o'; }
            head = key(kind);
        }
        if (q.after == (std::numeric_limits<std::uint64_t>::max)()) { return {}; }
        bytes from = head;
        append_u64(from, q.after + 1);
        bytes const to = prefix_end(head);
        std::size_t seen = 0;
        status outcome;
        auto const ok = tx.scan({from, to}, [&](bytes_view k, bytes_view raw) {
            if (seen == q.count_max) { return false; }
            if (k.size() != head.size() + 8) {
                outcome = failure{errc::corrupt, "key of a conflict"};
                return false;
            }
            std::uint64_t const id = read_u64(k.subspan(head.size()));
            auto c = kind == 'i' ? decode_conflict(id, raw) : load(tx, id);
            if (!c) {
                // A key of the index without its conflict is damage, not an absence.
                outcome = c.error() == errc::not_found ? failure{errc::corrupt, "index of conflicts"} : c.error();
                return false;
            }
            bool const fits = (!q.state || c->state == *q.state) &&
                              (q.record != nullptr || q.collection.empty() || c->record.collection == q.collection) &&
                              (!q.opened_from || c->opened >= *q.opened_from) &&
                              (!q.opened_before || c->opened < *q.opened_before);
            if (!fits) { return true; }
            ++seen;
            return visit(*c);
        });
        return ok ? outcome : ok;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<conflict_counts> counts(Tx& tx) const {
        auto total = counters(tx);
        if (!total) { return total.error(); }
        return total->counts;
    }
    /// Everything that happened to it, first things first. Errors: `errc::not_found`.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<conflict_entry>> history(Tx& tx, std::uint64_t id) const {
        auto c = load(tx, id);
        if (!c) { return c.error(); }
        std::vector<conflict_entry> out;
        status outcome;
        bytes const head = numbered('h', id);
        auto const ok = scan_prefix(tx, head, [&](bytes_view k, bytes_view raw) {
            auto e = decode_entry(raw);
            if (!e || k.size() != head.size() + 8 || read_u64(k.subspan(head.size())) != out.size() + 1) {
                outcome = e ? failure{errc::corrupt, "history of a conflict"} : e.error();
                return false;
            }
            e->number = out.size() + 1;
            out.push_back(std::move(*e));
            return true;
        });
        if (!ok) { return ok.error(); }
        if (!outcome) { return outcome.error(); }
        if (out.size() != c->events) { return failure{errc::corrupt, "history of a conflict"}; }
        return out;
    }
    /// The record that a decision would make, and the mutation that would go out: nothing is written.
    /// Errors: `errc::not_found`, and those of `settle`.
    template <storage_transaction Tx>
    [[nodiscard]] result<settled> preview(Tx& tx, std::uint64_t id, resolution const& how,
                                          collection_rules const& rules, decision_maker const& who) const {
        auto c = load(tx, id);
        if (!c) { return c.error(); }
        return settle(*c, how, rules, who.stamp, who.author, who.host);
    }

    // Deciding.

    /// Decides an open conflict; what it answers is what `preview` showed. The caller sends `change`, in this transaction.
    ///
    /// `seen` is the revision that the person saw. Errors: `errc::not_found`; `errc::contended` (a new remote has come
    /// since: show it again); `errc::invalid` (it is decided already); `errc::limit` (events_max, bytes_max); those of
    /// `settle`; those of the audit.
    template <storage_transaction Tx, conflict_audit A = no_audit, observer O = no_observer>
    [[nodiscard]] result<settled> resolve(Tx& tx, std::uint64_t id, std::uint64_t seen, resolution const& how,
                                          collection_rules const& rules, decision_maker const& who, A&& audit = {},
                                          O&& told = {}) const {
        auto c = load(tx, id);
        if (!c) { return c.error(); }
        if (c->state != conflict_state::open) { return failure{errc::invalid, "decided already"}; }
        if (c->revision != seen) { return failure{errc::contended, "the remote has changed since"}; }
        auto done = decide(tx, std::move(*c), how, rules, who, conflict_event::decided, audit);
        if (done) { tell_decided(tx, told, 1); }
        return done;
    }
    /// Decides several, each against what is stored now: those that can't be are left as they are, and told.
    /// `how` may look at each: called with the conflict, it answers a resolution, or nothing to pass over it. `rules`: of
    /// one collection, or a table of all.
    /// Errors: those of the storage and of the audit, `errc::corrupt`; then roll back.
    template <storage_transaction Tx, conflict_audit A = no_audit, observer O = no_observer>
    [[nodiscard]] result<batch_outcome> resolve_all(Tx& tx, conflict_query const& which,
                                                    function_ref<std::optional<resolution>(conflict const&)> how,
                                                    conflict_rule_source rules, decision_maker const& who,
                                                    A&& audit = {}, O&& told = {}) const {
        std::vector<std::uint64_t> ids;
        conflict_query open = which;
        open.state = conflict_state::open;
        auto const listed = list(tx, open, [&](conflict const& c) {
            ids.push_back(c.id);
            return true;
        });
        if (!listed) { return listed.error(); }
        batch_outcome out;
        for (std::uint64_t const id : ids) {
            auto c = load(tx, id);
            if (!c) { return c.error(); }
            auto const chosen = how(*c);
            if (!chosen) { continue; }
            // What can be refused is refused before anything is written.
            auto drawn = draft(*c, *chosen, rules.of(c->record.collection), who, conflict_event::decided);
            if (!drawn) {
                out.left.push_back({id, drawn.error()});
                continue;
            }
            auto done = decide(tx, std::move(*c), std::move(*drawn), who, audit);
            if (!done) { return done.error(); }
            out.done.emplace_back(id, std::move(*done));
        }
        tell_decided(tx, told, out.done.size());
        return out;
    }
    /// Closes an open conflict whose record is not there and is not to come, as the authority refused it, or tells it here no
    /// more: decided for the remote side, which is nothing. Nothing is to be sent; what this side wrote stays in the conflict
    /// until it is forgotten. Only the caller can know that a record is not to come. Errors: as of `resolve`, but `settle`'s.
    template <storage_transaction Tx, conflict_audit A = no_audit, observer O = no_observer>
    [[nodiscard]] status withdraw(Tx& tx, std::uint64_t id, std::uint64_t seen, decision_maker const& who,
                                  A&& audit = {}, O&& told = {}) const {
        auto c = load(tx, id);
        if (!c) { return c.error(); }
        if (c->state != conflict_state::open) { return failure{errc::invalid, "decided already"}; }
        if (c->revision != seen) { return failure{errc::contended, "the remote has changed since"}; }
        auto drawn = draft(*c, resolution::use_remote(), settled{}, who, conflict_event::decided);
        if (!drawn) { return drawn.error(); }
        if (auto done = decide(tx, std::move(*c), std::move(*drawn), who, audit); !done) { return done.error(); }
        tell_decided(tx, told, 1);
        return {};
    }
    /// Takes the decision back: the conflict is open again, the mutation that the answer holds restores the fields.
    /// `current` is the record now, as a confirmed row. The history keeps both.
    /// Errors: `errc::not_found`; `errc::invalid` (no decision stands, or it was about no row; a row with marks of what is
    /// pending); `errc::contended` (those fields were changed since: decide anew by an ordinary edit); `errc::limit`; those
    /// of `inverse` and of the audit.
    template <storage_transaction Tx, conflict_audit A = no_audit>
    [[nodiscard]] result<settled> undo(Tx& tx, std::uint64_t id, row const& current, collection_rules const& rules,
                                       decision_maker const& who, A&& audit = {}) const {
        auto c = load(tx, id);
        if (!c) { return c.error(); }
        if (c->state != conflict_state::decided) { return failure{errc::invalid, "no decision stands"}; }
        auto total = counters(tx);
        if (!total) { return total.error(); }
        if (total->counts.open >= options_.open_max) { return failure{errc::limit, "open conflicts"}; }
        auto entry = load_entry(tx, id, c->last_decision);
        if (!entry) { return entry.error(); }
        if (!entry->remote) { return failure{errc::invalid, "it was decided about no row"}; }
        settled done;
        if (entry->change) { done.change = *entry->change; }
        done.after = entry->remote;
        if (entry->change) {
            auto made = replayed(*entry->remote, *entry->change, who.author, who.host);
            if (!made) { return made.error(); }
            done.after = std::move(*made);
        }
        if (auto ok = detail::check_row(current, {}); !ok) { return ok.error(); }
        auto back = inverse(*entry->remote, done, current, rules, who.stamp, who.author, who.host);
        if (!back) { return back.error(); }
        bytes const decided_at = by_decision(*c);
        c->state = conflict_state::open;
        c->changed = who.now;
        c->remote = back->after;
        if (c->remote) {
            // Others may have changed more than the decision was about.
            apply_context as;
            as.author = who.author;
            as.host = who.host;
            c->fields = contested_now(*c, *c->remote, rules, as);
        }
        ++c->revision;
        if (auto ok = check(*c); !ok) { return ok.error(); }
        if (auto ok = fits(*c); !ok) { return ok.error(); }
        // What is open again has room for a decision.
        if (c->events + 1 >= options_.events_max) { return failure{errc::limit, "history of a conflict"}; }
        conflict_entry undone = signed_entry(conflict_event::undone, who);
        if (back->sends()) { undone.change = back->change; }
        undone.remote = current;
        if (encode_entry(undone).size() > options_.bytes_max) { undone.remote.reset(); }
        if (auto ok = record(tx, *c, std::move(undone), audit); !ok) { return ok.error(); }
        if (auto ok = tx.erase(decided_at); !ok) { return ok.error(); }
        if (auto ok = index(tx, *c); !ok) { return ok.error(); }
        if (auto ok = store(tx, *c); !ok) { return ok.error(); }
        --total->counts.decided;
        ++total->counts.open;
        if (auto ok = put_counters(tx, *total); !ok) { return ok.error(); }
        return back;
    }
    /// Decides again as before the undo. Where nothing has happened to the record since, it becomes what it was before the
    /// undo, to the element; else the same decision is made against the remote as it is now.
    /// Errors: as `resolve`; `errc::invalid` (nothing was undone, or something else was decided since).
    template <storage_transaction Tx, conflict_audit A = no_audit>
    [[nodiscard]] result<settled> redo(Tx& tx, std::uint64_t id, std::uint64_t seen, collection_rules const& rules,
                                       decision_maker const& who, A&& audit = {}) const {
        auto c = load(tx, id);
        if (!c) { return c.error(); }
        if (c->state != conflict_state::open || c->last_decision == 0) {
            return failure{errc::invalid, "nothing to do again"};
        }
        if (c->revision != seen) { return failure{errc::contended, "the remote has changed since"}; }
        auto entry = load_entry(tx, id, c->last_decision);
        if (!entry) { return entry.error(); }
        // A decision that stands no more was undone by what came next.
        auto undone = load_entry(tx, id, c->last_decision + 1);
        if (!undone) { return undone.error(); }
        auto as_it_was = taken_back(*c, *undone, rules, who);
        if (as_it_was) {
            auto drawn = draft(*c, entry->how, std::move(*as_it_was), who, conflict_event::redone);
            if (!drawn) { return drawn.error(); }
            return decide(tx, std::move(*c), std::move(*drawn), who, audit);
        }
        return decide(tx, std::move(*c), entry->how, rules, who, conflict_event::redone, audit);
    }

    // Forgetting.

    /// Drops decided conflicts with their history, the oldest decisions first, that were decided before `decided_before`;
    /// at most `count_max`. They can't be undone any more. How many went.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::size_t> forget(Tx& tx, wall_time decided_before, std::size_t count_max) const {
        std::vector<std::pair<std::uint64_t, std::uint64_t>> old;
        status outcome;
        bytes const head = key('z');
        auto const listed = scan_prefix(tx, head, [&](bytes_view k, bytes_view) {
            if (k.size() != head.size() + 16) {
                outcome = failure{errc::corrupt, "key of a decided conflict"};
                return false;
            }
            std::uint64_t const time = read_u64(k.subspan(head.size())) ^ sign_bit;
            if (old.size() == count_max || detail::time_of(time) >= decided_before) { return false; }
            old.emplace_back(time, read_u64(k.subspan(head.size() + 8)));
            return true;
        });
        if (!listed) { return listed.error(); }
        if (!outcome) { return outcome.error(); }
        if (old.empty()) { return std::size_t{0}; }
        auto total = counters(tx);
        if (!total) { return total.error(); }
        for (auto const& [time, id] : old) {
            auto c = load(tx, id);
            if (!c) { return c.error() == errc::not_found ? failure{errc::corrupt, "index of conflicts"} : c.error(); }
            if (c->state != conflict_state::decided) { return failure{errc::corrupt, "index of conflicts"}; }
            if (auto ok = unindex(tx, *c); !ok) { return ok.error(); }
            if (auto ok = tx.erase(by_record(*c)); !ok) { return ok.error(); }
            for (std::uint64_t n = 1; n <= c->events; ++n) {
                if (auto ok = tx.erase(entry_key(id, n)); !ok) { return ok.error(); }
            }
            if (auto ok = tx.erase(numbered('i', id)); !ok) { return ok.error(); }
            if (total->counts.decided == 0) { return failure{errc::corrupt, "counters of conflicts"}; }
            --total->counts.decided;
        }
        if (auto ok = put_counters(tx, *total); !ok) { return ok.error(); }
        return old.size();
    }

    /// Reads everything and says whether it fits together: `errc::corrupt` where it does not. Cost: all of the store.
    template <storage_transaction Tx>
    [[nodiscard]] status verify(Tx& tx) const {
        auto total = counters(tx);
        if (!total) { return total.error(); }
        std::uint64_t open = 0;
        std::uint64_t decided = 0;
        std::uint64_t entries = 0;
        status outcome;
        constexpr failure bad{errc::corrupt, "conflicts that don't fit together"};
        bytes const all = key('i');
        auto ok = scan_prefix(tx, all, [&](bytes_view k, bytes_view raw) {
            outcome = bad;
            if (k.size() != all.size() + 8) { return false; }
            auto const c = decode_conflict(read_u64(k.subspan(all.size())), raw);
            if (!c) {
                outcome = c.error();
                return false;
            }
            if (c->id > total->last || !indexed(tx, *c)) { return false; }
            auto const told = history(tx, c->id);
            if (!told || (c->last_decision != 0 && (*told)[c->last_decision - 1].what != conflict_event::decided &&
                          (*told)[c->last_decision - 1].what != conflict_event::redone)) {
                return false;
            }
            entries += c->events;
            ++(c->state == conflict_state::open ? open : decided);
            outcome = {};
            return true;
        });
        if (!ok) { return ok; }
        if (!outcome) { return outcome; }
        if (open != total->counts.open || decided != total->counts.decided) { return bad; }
        // Nothing stands in an index, or in a history, beside what was counted.
        std::uint64_t const due[] = {open, open, open + decided, decided, entries};
        for (std::size_t i = 0; i < 5; ++i) {
            std::uint64_t n = 0;
            ok = scan_prefix(tx, key("ocrzh"[i]), [&](bytes_view, bytes_view) {
                ++n;
                return true;
            });
            if (!ok) { return ok; }
            if (n != due[i]) { return bad; }
        }
        return {};
    }

private:
    // Keys, after the prefix: 'n' counters; 'i' id: the conflict; 'o' id: open ones; 'c' collection id: open ones of a
    // collection; 'r' record id: those of a record; 'z' time id: decided ones; 'h' id number: history.
    // A collection and a record's id have their length before them, so that none is the beginning of another.

    static constexpr std::uint64_t sign_bit = std::uint64_t{1} << 63;  // times before 1970 sort before those after
    static constexpr std::uint64_t counters_form = 1;

    struct totals {
        std::uint64_t last = 0;  ///< the greatest id ever given
        conflict_counts counts{};
    };

    template <class Tx, class O>
    void tell_decided(Tx& tx, O& told, std::uint64_t n) const {
        if constexpr (listens<O>) {
            told.counted(metric_counter::conflicts_decided, n);
            if (auto const total = counters(tx)) { told.measured(metric_gauge::open_conflicts, total->counts.open); }
        }
    }
    [[nodiscard]] bytes key(char kind) const {
        bytes out;
        out.reserve(prefix_.size() + 1 + 2 + collection_bytes_max + record_id_bytes_max + 16);
        append(out, as_bytes(prefix_));
        out.push_back(static_cast<std::byte>(kind));
        return out;
    }
    [[nodiscard]] bytes numbered(char kind, std::uint64_t id) const {
        bytes out = key(kind);
        append_u64(out, id);
        return out;
    }
    [[nodiscard]] bytes entry_key(std::uint64_t id, std::uint64_t number) const {
        bytes out = numbered('h', id);
        append_u64(out, number);
        return out;
    }
    [[nodiscard]] bytes collection_head(std::string_view collection) const {
        bytes out = key('c');
        out.push_back(static_cast<std::byte>(collection.size()));
        append(out, as_bytes(collection));
        return out;
    }
    [[nodiscard]] bytes record_head(record_key const& r) const {
        bytes out = key('r');
        out.push_back(static_cast<std::byte>(r.collection.size()));
        append(out, as_bytes(r.collection));
        out.push_back(static_cast<std::byte>(r.id.size()));
        append(out, r.id);
        return out;
    }
    [[nodiscard]] bytes by_record(conflict const& c) const {
        bytes out = record_head(c.record);
        append_u64(out, c.id);
        return out;
    }
    [[nodiscard]] bytes by_collection(conflict const& c) const {
        bytes out = collection_head(c.record.collection);
        append_u64(out, c.id);
        return out;
    }
    [[nodiscard]] bytes by_decision(conflict const& c) const {
        bytes out = key('z');
        append_u64(out, detail::time_bits(c.changed) ^ sign_bit);
        append_u64(out, c.id);
        return out;
    }

    template <class Tx>
    [[nodiscard]] result<totals> counters(Tx& tx) const {
        bytes raw;
        auto const found = tx.get(key('n'), raw);
        if (!found) { return found.error(); }
        totals t;
        if (!*found) { return t; }
        cbor_reader in{raw};
        std::size_t const n = in.array();
        if (in.unsigned_integer() != counters_form) {
            return in.failed() ? failure{errc::corrupt, "counters of conflicts"}
                               : failure{errc::unsupported, "conflicts of another form"};
        }
        t.last = in.unsigned_integer();
        t.counts.open = in.unsigned_integer();
        t.counts.decided = in.unsigned_integer();
        if (n != 4 || !in.finish() || t.counts.open > t.last || t.counts.decided > t.last - t.counts.open) {
            return failure{errc::corrupt, "counters of conflicts"};
        }
        return t;
    }
    template <class Tx>
    [[nodiscard]] status put_counters(Tx& tx, totals const& t) const {
        bytes raw;
        cbor_writer out{raw};
        out.array(4);
        out.unsigned_integer(counters_form);
        out.unsigned_integer(t.last);
        out.unsigned_integer(t.counts.open);
        out.unsigned_integer(t.counts.decided);
        return tx.put(key('n'), raw);
    }

    template <class Tx>
    [[nodiscard]] result<conflict> load(Tx& tx, std::uint64_t id) const {
        bytes raw;
        auto const found = tx.get(numbered('i', id), raw);
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::not_found, "no such conflict"}; }
        return decode_conflict(id, raw);
    }
    [[nodiscard]] static bytes encoded(conflict const& c) {
        bytes raw;
        cbor_writer out{raw};
        encode_conflict(out, c);
        return raw;
    }
    template <class Tx>
    [[nodiscard]] status store(Tx& tx, conflict const& c) const {
        return tx.put(numbered('i', c.id), encoded(c));
    }
    [[nodiscard]] status fits(conflict const& c) const {
        return encoded(c).size() > options_.bytes_max ? failure{errc::limit, "bytes of a conflict"} : status{};
    }

    template <class Tx>
    [[nodiscard]] status index(Tx& tx, conflict const& c) const {
        bool const open = c.state == conflict_state::open;
        std::byte const state = static_cast<std::byte>(c.state);
        if (auto ok = tx.put(by_record(c), {&state, 1}); !ok) { return ok; }
        if (!open) { return tx.put(by_decision(c), {&state, 1}); }
        if (auto ok = tx.put(numbered('o', c.id), {&state, 1}); !ok) { return ok; }
        return tx.put(by_collection(c), {&state, 1});
    }
    /// Of its state and time before they change; the record's key stays.
    template <class Tx>
    [[nodiscard]] status unindex(Tx& tx, conflict const& c) const {
        if (c.state != conflict_state::open) { return tx.erase(by_decision(c)); }
        if (auto ok = tx.erase(numbered('o', c.id)); !ok) { return ok; }
        return tx.erase(by_collection(c));
    }
    template <class Tx>
    [[nodiscard]] bool indexed(Tx& tx, conflict const& c) const {
        bool const open = c.state == conflict_state::open;
        bytes state;
        auto const there = [&](bytes const& k) {
            auto const found = tx.get(k, state);
            return found && *found && state.size() == 1 && state[0] == static_cast<std::byte>(c.state);
        };
        return there(by_record(c)) &&
               (open ? there(numbered('o', c.id)) && there(by_collection(c)) : there(by_decision(c)));
    }

    /// Ids of a record's conflicts, and whether each is open.
    template <class Tx>
    [[nodiscard]] result<std::vector<std::pair<std::uint64_t, bool>>> ids_of(Tx& tx, record_key const& r) const {
        std::vector<std::pair<std::uint64_t, bool>> out;
        if (!valid(r)) { return failure{errc::invalid, "record key"}; }
        status outcome;
        bytes const head = record_head(r);
        auto const ok = scan_prefix(tx, head, [&](bytes_view k, bytes_view state) {
            auto const s = state.size() == 1 ? std::to_integer<unsigned>(state[0]) : 0U;
            if (k.size() != head.size() + 8 || s < 1 || s > 2) {
                outcome = failure{errc::corrupt, "index of conflicts"};
                return false;
            }
            out.emplace_back(read_u64(k.subspan(head.size())), s == 1);
            return true;
        });
        if (!ok) { return ok.error(); }
        if (!outcome) { return outcome.error(); }
        return out;
    }

    // History.

    [[nodiscard]] static conflict_entry signed_entry(conflict_event what, decision_maker const& who) {
        conflict_entry e;
        e.what = what;
        e.by = to_bytes(who.by);
        e.automatic = who.automatic;
        e.at = who.now;
        return e;
    }
    [[nodiscard]] static bytes encode_entry(conflict_entry const& e) {
        bytes raw;
        cbor_writer out{raw};
        out.array(8);
        out.unsigned_integer(detail::conflict_form);
        out.unsigned_integer(static_cast<std::uint64_t>(e.what));
        out.byte_string(e.by);
        out.boolean(e.automatic);
        out.unsigned_integer(detail::time_bits(e.at));
        detail::encode_optional_row(out, e.remote);
        encode_resolution(out, e.how);
        if (e.change) {
            encode_mutation(out, *e.change);
        } else {
            out.null();
        }
        return raw;
    }
    [[nodiscard]] static result<conflict_entry> decode_entry(bytes_view raw) {
        constexpr failure bad{errc::corrupt, "history of a conflict"};
        cbor_reader in{raw};
        conflict_entry e;
        if (in.array() != 8) { return bad; }
        if (in.unsigned_integer() != detail::conflict_form) {
            return in.failed() ? bad : failure{errc::unsupported, "conflict of another form"};
        }
        e.what = static_cast<conflict_event>(detail::bounded(in, 5, 1));
        e.by = to_bytes(in.byte_string());
        e.automatic = in.boolean();
        e.at = detail::time_of(in.unsigned_integer());
        e.remote = detail::decode_optional_row(in);
        e.how = decode_resolution(in);
        if (!in.null()) { e.change = decode_mutation(in); }
        if (!in.finish() || e.by.size() > writer_bytes_max) { return bad; }
        if (e.remote && !e.remote->deleted && !validate_fields(e.remote->fields)) { return bad; }
        return e;
    }
    template <class Tx>
    [[nodiscard]] result<conflict_entry> load_entry(Tx& tx, std::uint64_t id, std::uint64_t number) const {
        bytes raw;
        auto const found = tx.get(entry_key(id, number), raw);
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::corrupt, "history of a conflict"}; }
        auto e = decode_entry(raw);
        if (e) { e->number = number; }
        return e;
    }
    /// Whether an entry, encoded as `raw`, is within the limits. Not asked is how large the conflict is by now: one that is
    /// held can be decided.
    [[nodiscard]] status recordable(conflict const& c, conflict_entry const& e, bytes const& raw) const {
        if (e.by.size() > writer_bytes_max) { return failure{errc::invalid, "name of who decides"}; }
        if (c.events >= options_.events_max) { return failure{errc::limit, "history of a conflict"}; }
        if (raw.size() > options_.bytes_max) { return failure{errc::limit, "bytes of a history"}; }
        return {};
    }
    /// Writes an entry of the history and tells the audit; the limits first, so that nothing is written beyond them.
    template <class Tx, class A>
    [[nodiscard]] status record(Tx& tx, conflict& c, conflict_entry e, A& audit) const {
        bytes const raw = encode_entry(e);
        if (auto ok = recordable(c, e, raw); !ok) { return ok; }
        e.number = ++c.events;
        if (auto ok = tx.put(entry_key(c.id, e.number), raw); !ok) { return ok; }
        return audit(conflict_note{c, e});
    }

    // Changing.

    /// Whether two conflicts are of one mutation: devices count alike, so that its writer belongs to its name. One that was
    /// told without a writer is the same where all of it is.
    [[nodiscard]] static bool same_mutation(conflict const& a, conflict const& b) {
        if (a.local.stamp != b.local.stamp || a.local.sequence != b.local.sequence) { return false; }
        bool const named = !a.local_by.writer.empty() && !b.local_by.writer.empty();
        return named ? a.local_by.writer == b.local_by.writer : a.local == b.local;
    }
    /// Keeps, before a tombstone without fields takes the place of what was held, what this side's edit was an edit of.
    static void complete_base(conflict& c, std::optional<row> const& was, std::optional<row> const& is) {
        bool const ends = is && is->deleted && is->fields.empty() && was && !was->deleted && was->life == c.local.life;
        if (!ends || c.local.kind == change_kind::erase) { return; }
        std::vector<detail::field_change> seen;
        for (field_op const& op : c.local.ops) {
            auto const found = c.base.empty() ? result<std::optional<bytes_view>>{std::optional<bytes_view>{}}
                                              : map_find(c.base, op.field);
            bool const there = found && *found;
            seen.push_back({op.field, there, there ? **found : bytes_view{}});
        }
        c.base = detail::rewrite_fields(was->fields, seen);
    }
    /// A conflict brought up to date, and the entry that tells of it.
    struct renewal {
        conflict now{};
        conflict_entry told{};
    };
    [[nodiscard]] static renewal renewed(conflict c, std::optional<row> const& remote, conflict_writer const& by,
                                         std::vector<contested_field> fields, wall_time now) {
        renewal out;
        out.told.what = conflict_event::remote_changed;
        out.told.by = by.writer;
        out.told.at = now;
        out.told.remote = std::move(c.remote);
        complete_base(c, out.told.remote, remote);
        c.remote = remote;
        c.remote_by = by;
        // What was contested stays so, whoever tells of it again: the same, or more of it, or the part that it is about.
        for (contested_field& f : c.fields) {
            bool const told = std::any_of(fields.begin(), fields.end(),
                                          [&](contested_field const& g) { return detail::related(g.path, f.path); });
            if (!told) { fields.push_back(std::move(f)); }
        }
        detail::sort_paths(fields);
        c.fields = std::move(fields);
        for (contested_field& f : c.fields) { f.suggested.reset(); }  // it was of other values
        c.changed = now;
        ++c.revision;
        out.now = std::move(c);
        return out;
    }
    [[nodiscard]] status fits(renewal const& r) const {
        if (auto ok = check(r.now); !ok) { return ok; }
        if (encoded(r.now).size() > options_.bytes_max || encode_entry(r.told).size() > options_.bytes_max) {
            return failure{errc::limit, "bytes of a conflict"};
        }
        return {};
    }
    template <class Tx, class A>
    [[nodiscard]] status put_renewed(Tx& tx, renewal r, A& audit) const {
        if (r.now.events >= (options_.events_max + 1) / 2) {
            if (auto ok = audit(conflict_note{r.now, r.told}); !ok) { return ok; }
        } else if (auto ok = record(tx, r.now, std::move(r.told), audit); !ok) {
            return ok;
        }
        return store(tx, r.now);
    }

    /// What takes an undoing back, where the record is as that had left it; nothing where it isn't, or where that can't be.
    [[nodiscard]] static std::optional<settled> taken_back(conflict const& c, conflict_entry const& undone,
                                                           collection_rules const& rules, decision_maker const& who) {
        bool const told = undone.what == conflict_event::undone && undone.remote && undone.change && c.remote;
        if (!told) { return std::nullopt; }
        auto left = replayed(*undone.remote, *undone.change, who.author, who.host);
        if (!left) { return std::nullopt; }
        row const& was = **left;
        bool const ended = was.deleted && c.remote->deleted;  // what a tombstone keeps is the rules' business
        bool const still = was.life == c.remote->life && was.deleted == c.remote->deleted &&
                           (ended || equal(was.fields, c.remote->fields));
        if (!still) { return std::nullopt; }
        settled done;
        done.change = *undone.change;
        done.after = std::move(*left);
        auto again = inverse(*undone.remote, done, *c.remote, rules, who.stamp, who.author, who.host);
        if (!again || !again->sends()) { return std::nullopt; }
        return std::move(*again);
    }

    /// A decision that nothing but the storage or the audit can refuse any more: nothing is written yet.
    struct drafted {
        settled done{};
        conflict_entry told{};
    };
    [[nodiscard]] result<drafted> draft(conflict const& c, resolution const& how, collection_rules const& rules,
                                        decision_maker const& who, conflict_event what) const {
        auto done = settle(c, how, rules, who.stamp, who.author, who.host);
        if (!done) { return done.error(); }
        return draft(c, how, std::move(*done), who, what);
    }
    [[nodiscard]] result<drafted> draft(conflict const& c, resolution const& how, settled done,
                                        decision_maker const& who, conflict_event what) const {
        drafted out{std::move(done), signed_entry(what, who)};
        out.told.how = how;
        out.told.remote = c.remote;
        if (out.done.sends()) { out.told.change = out.done.change; }
        if (auto ok = recordable(c, out.told, encode_entry(out.told)); !ok) { return ok.error(); }
        return out;
    }
    template <class Tx, class A>
    [[nodiscard]] result<settled> decide(Tx& tx, conflict c, resolution const& how, collection_rules const& rules,
                                         decision_maker const& who, conflict_event what, A& audit) const {
        auto drawn = draft(c, how, rules, who, what);
        if (!drawn) { return drawn.error(); }
        return decide(tx, std::move(c), std::move(*drawn), who, audit);
    }
    template <class Tx, class A>
    [[nodiscard]] result<settled> decide(Tx& tx, conflict c, drafted drawn, decision_maker const& who, A& audit) const {
        if (auto ok = record(tx, c, std::move(drawn.told), audit); !ok) { return ok.error(); }
        auto total = counters(tx);
        if (!total) { return total.error(); }
        if (total->counts.open == 0) { return failure{errc::corrupt, "counters of conflicts"}; }
        if (auto ok = unindex(tx, c); !ok) { return ok.error(); }
        c.state = conflict_state::decided;
        c.changed = who.now;
        c.last_decision = c.events;
        if (auto ok = index(tx, c); !ok) { return ok.error(); }
        if (auto ok = store(tx, c); !ok) { return ok.error(); }
        --total->counts.open;
        ++total->counts.decided;
        if (auto ok = put_counters(tx, *total); !ok) { return ok.error(); }
        return std::move(drawn.done);
    }

    conflict_options options_;
    std::string prefix_;
};

}  // namespace syncline::inline SYNCLINE_ABI
