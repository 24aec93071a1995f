// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A replica's conflicts in a conflict queue, where they are suggested, previewed, decided and undone; and the way back.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/conflict/conflict.hpp>
#include <syncline/conflict/queue.hpp>
#include <syncline/conflict/resolution.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Two journals, told one after the other; when one fails, the deed does.
template <class First, class Second>
struct two_journals {
    First first;
    Second second;
    template <storage_transaction Tx>
    [[nodiscard]] status operator()(Tx& tx, journal_note const& n) const {
        if (auto ok = first(tx, n); !ok) { return ok; }
        return second(tx, n);
    }
};

/// An open conflict of a replica as the queue takes it. `said` is its verdict, where it is known: it tells the rules that
/// and the guard that left the fields open. Writers are known by their stamps, this side's by `writer` too, at most 255
/// bytes of it.
[[nodiscard]] inline conflict conflict_of(open_conflict const& o, verdict const* said, bytes_view writer) {
    conflict c;
    c.record = o.local.record;
    c.local = o.local;
    c.base = o.base;
    c.remote = o.remote;
    c.local_by = {to_bytes(writer.first((std::min)(writer.size(), writer_bytes_max))), o.local.stamp, 0};
    if (o.remote) { c.remote_by.stamp = o.remote->floor.stamp; }
    bool const whole = o.fields.empty() || o.fields.front().empty();
    auto const guard_of = [](verdict const& v) {
        return v.guard.size() <= guard_bytes_max && valid_utf8(v.guard) ? v.guard : std::string{};
    };
    if (whole) {
        c.fields.push_back({});
        if (said != nullptr) { c.fields.back().guard = guard_of(*said); }
        return c;
    }
    for (std::string const& f : o.fields) {
        contested_field one;
        one.path = {f};
        if (said != nullptr) {
            for (decision const& d : said->decisions) {
                if (d.field != f) { continue; }
                one.by = d.by;
                if (d.why == reason::guarded) { one.guard = guard_of(*said); }
            }
        }
        if (o.remote) { c.remote_by.stamp = (std::max)(c.remote_by.stamp, o.remote->mark_of(f).stamp); }
        c.fields.push_back(std::move(one));
    }
    detail::sort_paths(c.fields);
    return c;
}
/// The same, its fields as the rules have them on this device: of a nested field the parts inside that wait, and what only
/// the authority's host knows. `as`: this device's number there, and what it knows of that host.
[[nodiscard]] inline conflict conflict_of(open_conflict const& o, verdict const* said, bytes_view writer,
                                          collection_rules const& rules, apply_context const& as) {
    conflict c = conflict_of(o, said, writer);
    if (!c.remote) { return c; }
    conflict parts = c;
    std::vector<contested_field> wholes;
    parts.fields.clear();
    for (contested_field& f : c.fields) {
        bool const nested = f.guard.empty() && f.path.size() == 1 &&
                            std::any_of(c.local.ops.begin(), c.local.ops.end(), [&](field_op const& op) {
                                return op.field == f.path.front() && op.kind == op_kind::nested;
                            });
        (nested ? wholes : parts.fields).push_back(std::move(f));
    }
    parts.fields = contested_now(parts, *c.remote, rules, as);
    // One in which nothing waits by the rules as they are here stays as the authority had it.
    for (contested_field& f : wholes) {
        bool const found = std::any_of(parts.fields.begin(), parts.fields.end(),
                                       [&](contested_field const& g) { return detail::related(g.path, f.path); });
        if (!found) { parts.fields.push_back(std::move(f)); }
    }
    detail::sort_paths(parts.fields);
    return parts;
}

namespace detail {

/// Writes what a decision is to send, if anything, as the replica's own mutation.
template <class Tx, class Records, class Journal>
[[nodiscard]] status write_settled(Tx& tx, basic_replica<Records, Journal> const& r, settled const& s, instant now) {
    if (!s.sends()) { return {}; }
    record_key const& k = s.change.record;
    result<write_receipt> done = errc::invalid;
    switch (s.change.kind) {
        case change_kind::create:
            done = r.create(tx, k, s.after ? s.after->fields : bytes{}, now, priority::important);
            break;
        case change_kind::update: done = r.update(tx, k, s.change.ops, now, priority::important); break;
        case change_kind::erase: done = r.erase(tx, k, now, priority::important); break;
        case change_kind::group: break;  // no conflict's
    }
    return done ? status{} : status{done.error()};
}

/// Whether a record is not there and not to come: nothing of it is held, confirmed or pending, and all that the authority
/// has told of is held.
template <class Tx, class Records, class Journal>
[[nodiscard]] result<bool> is_gone(Tx& tx, basic_replica<Records, Journal> const& r, record_key const& k) {
    auto const progress = r.status_of(tx);
    if (!progress) { return progress.error(); }
    if (progress->cursor < progress->head || !progress->complete) { return false; }
    auto const held = r.records().find(tx, k);
    if (!held) { return held.error(); }
    if (*held) { return false; }
    auto const decided = r.decided_at(tx, k);
    if (!decided) { return decided.error(); }
    return *decided == 0;
}

}  // namespace detail

/// Keeps a replica's conflicts in a conflict queue.
///
/// As the replica's journal it raises each conflict in the transaction of its verdict, and brings those that are open up
/// to date in the transaction of each pull. Its other calls decide in the queue and write what comes of it as the
/// replica's mutation, in one transaction; the replica's own list of parked mutations follows. What the queue can't take
/// (`errc::limit`, `errc::invalid`) stays in that list, and keeps no pull from happening: `gather` tries again.
///
/// Queue, rules and host outlive it; the rules are the replica's. `host` is what this device knows of the authority's: its
/// guards and references, so that a preview says what will be refused, and the ranks of authors, without which fields by
/// rank are for a person. Cost as a journal: `raise` for each conflict; a look-up for each open one with each reply that
/// brings something.
class conflict_desk {
public:
    conflict_desk(conflict_queue const& queue, rule_table const& rules, merge_host const* host = nullptr) noexcept
        : queue_(&queue), rules_(&rules), host_(host) {}

    [[nodiscard]] conflict_queue const& queue() const noexcept { return *queue_; }

    /// The journal's call.
    template <storage_transaction Tx>
    [[nodiscard]] status operator()(Tx& tx, journal_note const& n) const {
        wall_time const now = n.stamp.time();
        if (n.what == journal_event::parked && n.conflict != nullptr) {
            collection_rules const& rules = rules_->of(n.conflict->local.record.collection);
            auto const raised =
                queue_->raise(tx, conflict_of(*n.conflict, n.said, as_bytes(n.principal), rules, as(n.author)), now);
            return raised || is_refusal(raised.error()) ? status{} : status{raised.error()};
        }
        if (n.what == journal_event::pulled && n.confirmed != nullptr) { return renew(tx, n, now); }
        return {};
    }

    /// Raises what the replica has parked and the queue doesn't know: from before there was a desk, or when the queue was
    /// full. How many of the replica's conflicts stand in the queue now.
    /// Errors: the storage's, `errc::corrupt`; then roll back.
    template <storage_transaction Tx, class Records, class Journal>
    [[nodiscard]] result<std::size_t> gather(Tx& tx, basic_replica<Records, Journal> const& r, instant now) const {
        std::vector<open_conflict> open;
        auto ok = r.conflicts(tx, [&](open_conflict const& o) {
            open.push_back(o);
            return true;
        });
        if (!ok) { return ok.error(); }
        auto const writer = r.principal(tx);
        if (!writer) { return writer.error(); }
        auto const author = r.author(tx);
        if (!author) { return author.error(); }
        std::size_t stand = 0;
        for (open_conflict const& o : open) {
            collection_rules const& rules = rules_->of(o.local.record.collection);
            auto const raised =
                queue_->raise(tx, conflict_of(o, nullptr, as_bytes(*writer), rules, as(*author)), now.wall);
            if (!raised && !is_refusal(raised.error())) { return raised.error(); }
            stand += raised ? 1 : 0;
        }
        return stand;
    }

    /// Decides a conflict, and writes what that comes to. `seen` is the revision that the person saw, `by` their name, at
    /// most 255 bytes. Of a record that is not there and not to come, as the authority refused it or tells it here no more,
    /// only the remote side can be taken, `resolution::use_remote`: nothing is written, and the conflict is closed.
    /// Errors that leave everything as it was: `errc::not_found` (no such conflict; the record is not there, for what is
    /// not `use_remote`), `errc::contended` (another remote since), `errc::invalid`
    /// (decided already), those of `settle` and of the replica's writes. After any other roll back.
    template <storage_transaction Tx, class Records, class Journal, conflict_audit A = no_audit>
    [[nodiscard]] result<settled> resolve(Tx& tx, basic_replica<Records, Journal> const& r, std::uint64_t id,
                                          std::uint64_t seen, resolution const& how, bytes_view by, instant now,
                                          A&& audit = {}) const {
        auto c = queue_->find(tx, id);
        if (!c) { return c.error(); }
        if (c->state != conflict_state::open) { return failure{errc::invalid, "decided already"}; }
        if (c->revision != seen) { return failure{errc::contended, "the remote has changed since"}; }
        auto const who = decider(tx, r, by, now);
        if (!who) { return who.error(); }
        auto const gone = detail::is_gone(tx, r, c->record);
        if (!gone) { return gone.error(); }
        if (*gone) {
            if (how.kind != resolve_kind::use_remote) { return failure{errc::not_found, "the record is not there"}; }
            if (auto ok = queue_->withdraw(tx, id, seen, *who, audit); !ok) { return ok.error(); }
            if (auto ok = follow(tx, r, *c, how.kind); !ok) { return ok.error(); }
            return settled{};
        }
        if (auto ok = stands_on(tx, r, *c); !ok) { return ok.error(); }
        collection_rules const& rules = rules_->of(c->record.collection);
        auto const would = queue_->preview(tx, id, how, rules, *who);
        if (!would) { return would.error(); }
        if (auto ok = detail::write_settled(tx, r, *would, now); !ok) { return ok.error(); }
        auto done = queue_->resolve(tx, id, seen, how, rules, *who, audit);
        if (!done) { return done.error(); }
        if (auto ok = follow(tx, r, *c, how.kind); !ok) { return ok.error(); }
        return done;
    }

    /// Takes a decision back, once it is confirmed: the conflict is open again, and what it had changed is written as it
    /// was. Errors: `errc::not_found`; `errc::contended` (not confirmed yet, or changed by somebody since); those of
    /// `conflict_queue::undo` and of the replica's writes. After any error but these first two roll back.
    template <storage_transaction Tx, class Records, class Journal, conflict_audit A = no_audit>
    [[nodiscard]] result<settled> undo(Tx& tx, basic_replica<Records, Journal> const& r, std::uint64_t id,
                                       bytes_view by, instant now, A&& audit = {}) const {
        auto c = queue_->find(tx, id);
        if (!c) { return c.error(); }
        auto const current = r.read_confirmed(tx, c->record);
        if (!current) { return current.error(); }
        if (!*current) { return failure{errc::not_found, "the record is not held"}; }
        auto const who = decider(tx, r, by, now);
        if (!who) { return who.error(); }
        auto back = queue_->undo(tx, id, **current, rules_->of(c->record.collection), *who, audit);
        if (!back) { return back.error(); }
        if (auto ok = detail::write_settled(tx, r, *back, now); !ok) { return ok.error(); }
        if (auto ok = r.tell_decision(tx, journal_event::reopened, c->local, {}); !ok) { return ok.error(); }
        return back;
    }

    /// Decides again as before the undo. Errors: as of `resolve`; after any but `errc::not_found` and `errc::contended`
    /// roll back.
    template <storage_transaction Tx, class Records, class Journal, conflict_audit A = no_audit>
    [[nodiscard]] result<settled> redo(Tx& tx, basic_replica<Records, Journal> const& r, std::uint64_t id,
                                       std::uint64_t seen, bytes_view by, instant now, A&& audit = {}) const {
        auto c = queue_->find(tx, id);
        if (!c) { return c.error(); }
        if (auto ok = stands_on(tx, r, *c); !ok) { return ok.error(); }
        auto const who = decider(tx, r, by, now);
        if (!who) { return who.error(); }
        auto done = queue_->redo(tx, id, seen, rules_->of(c->record.collection), *who, audit);
        if (!done) { return done.error(); }
        if (auto ok = detail::write_settled(tx, r, *done, now); !ok) { return ok.error(); }
        auto const told = queue_->history(tx, id);
        if (!told) { return told.error(); }
        auto const choice = choice_of(told->back().how.kind);
        if (auto ok = r.tell_decision(tx, journal_event::settled, c->local, choice); !ok) { return ok.error(); }
        return done;
    }

private:
    [[nodiscard]] static bool is_refusal(failure const& f) noexcept { return f == errc::limit || f == errc::invalid; }

    template <class Tx>
    [[nodiscard]] status renew(Tx& tx, journal_note const& n, wall_time now) const {
        std::vector<record_key> moved;
        status outcome;
        auto ok = queue_->list(tx, {}, [&](conflict const& c) {
            auto const current = (*n.confirmed)(c.record);
            if (!current && current.error() != errc::unsupported) {
                outcome = current.error();
                return false;
            }
            // Closed to the program, or gone: what was seen stays.
            if (current && *current && c.remote != *current) { moved.push_back(c.record); }
            return true;
        });
        if (ok) { ok = outcome; }
        if (!ok) { return ok; }
        std::sort(moved.begin(), moved.end(), [](record_key const& a, record_key const& b) {
            return a.collection != b.collection ? a.collection < b.collection : compare(a.id, b.id) < 0;
        });
        moved.erase(std::unique(moved.begin(), moved.end()), moved.end());
        for (record_key const& k : moved) {
            auto const current = (*n.confirmed)(k);
            if (!current) { return current.error(); }
            if (!*current) { continue; }
            conflict_writer by;
            by.stamp = (*current)->floor.stamp;
            for (field_mark const& e : (*current)->exceptions) { by.stamp = (std::max)(by.stamp, e.mark.stamp); }
            auto const renewed =
                queue_->remote_changed(tx, k, **current, by, rules_->of(k.collection), now, no_audit{}, as(n.author));
            if (!renewed && !is_refusal(renewed.error())) { return renewed.error(); }
        }
        return {};
    }

    [[nodiscard]] apply_context as(author_index self) const noexcept {
        apply_context out;
        out.author = self;
        out.host = host_;
        return out;
    }
    template <class Tx, class Records, class Journal>
    [[nodiscard]] result<decision_maker> decider(Tx& tx, basic_replica<Records, Journal> const& r, bytes_view by,
                                                 instant now) const {
        auto const author = r.author(tx);
        if (!author) { return author.error(); }
        return decision_maker{by, timestamp::make(now.wall), now.wall, *author, false, host_};
    }
    /// Whether the row that the conflict shows is the one that is held.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] static status stands_on(Tx& tx, basic_replica<Records, Journal> const& r, conflict const& c) {
        auto const current = r.read_confirmed(tx, c.record);
        if (!current) { return current.error(); }
        bool const same = c.remote && *current && c.remote->version == (*current)->version;
        return same ? status{} : status{failure{errc::contended, "the row is not the one that is held"}};
    }

    [[nodiscard]] static journal_choice choice_of(resolve_kind how) noexcept {
        return how == resolve_kind::use_local    ? journal_choice::local
               : how == resolve_kind::use_remote ? journal_choice::remote
                                                 : journal_choice::some;
    }

    /// The replica's own list forgets what was decided here; its journal is told, whether or not it stood there still.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] static status follow(Tx& tx, basic_replica<Records, Journal> const& r, conflict const& c,
                                       resolve_kind how) {
        std::uint64_t token = 0;
        auto ok = r.conflicts(tx, [&](open_conflict const& o) {
            if (o.local == c.local) { token = o.token; }
            return token == 0;
        });
        if (!ok) { return ok; }
        journal_choice const choice = choice_of(how);
        if (token == 0) { return r.tell_decision(tx, journal_event::settled, c.local, choice); }
        return r.dismiss(tx, token, choice);
    }

    conflict_queue const* queue_;
    rule_table const* rules_;
    merge_host const* host_;
};

}  // namespace syncline::inline SYNCLINE_ABI
