// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Conflicts that all devices see: opened on one, listed on the others, decided by whoever may, masked for the rest.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/conflict/conflict.hpp>
#include <syncline/conflict/queue.hpp>
#include <syncline/conflict/resolution.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/conflict_desk.hpp>
#include <syncline/replica/constraints.hpp>
#include <syncline/replica/group.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/validation.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// A collection's shared conflicts are records of a collection with this before its name.
inline constexpr std::string_view conflicts_prefix = "conflicts.";

[[nodiscard]] inline std::string conflicts_of(std::string_view collection) {
    return std::string{conflicts_prefix} + std::string{collection};
}

/// The fields of a shared conflict in which values of a record's field may stand: what a mask hides from who may not
/// read that field.
[[nodiscard]] inline std::vector<std::string> conflict_value_fields(std::string_view field) {
    std::vector<std::string> out;
    for (std::string_view const side : {"base:", "decided:", "local:"}) {
        out.push_back(std::string{side} + std::string{field});
    }
    return out;
}

/// How far a shared conflict is. Stored nowhere: it follows from the record.
enum class shared_state : std::uint8_t {
    open = 1,     ///< waits for a person
    decided = 2,  ///< a decision is there; what it comes to is not written yet
    closed = 3,   ///< written
};

/// A decision that came after another and did not count.
struct late_decision {
    std::string by{};
    wall_time at{};
    resolve_kind kind = resolve_kind::use_remote;
    friend bool operator==(late_decision const&, late_decision const&) = default;
};

/// A conflict as a device sees it.
struct shared_conflict {
    bytes id{};  ///< its record's
    shared_state state = shared_state::open;
    bool pending = false;  ///< something of it is not confirmed: a decision that may still come too late
    /// As in a queue: `remote` is the row that is held here, `id` and the counters mean nothing. Values that are masked are
    /// missing.
    conflict about{};
    std::vector<std::string> masked{};  ///< fields whose values this device may not see
    std::string decided_by{};
    wall_time decided_at{};
    std::optional<resolution> how{};  ///< of a decision; a custom value that is masked is missing in it
    position seen = 0;                ///< the version of the remote row that who decided saw
    std::uint64_t decision = 0;       ///< the decision's name
    std::vector<late_decision> late{};
};

/// What `shared_conflicts::follow` did about a decision that was made here.
enum class followed : std::uint8_t {
    carried_out = 1,  ///< it counts, and what it comes to is written, at the authority too
    too_late = 2,     ///< another was confirmed before; this one is in the history
    reopened = 3,     ///< the remote has changed meanwhile: the conflict is open again
    refused = 4,      ///< not taken: who decided may not, or another's was there, which was taken back since
    gone = 5,         ///< the conflict is not there any more
    /// It counted, and what it comes to was refused: nothing is written, the conflict is open again. What the authority
    /// refused has its verdict in the events and with the dead letter.
    not_written = 6,
};
[[nodiscard]] constexpr char const* name(followed f) noexcept {
    switch (f) {
        case followed::carried_out: return "carried out";
        case followed::too_late: return "too late";
        case followed::reopened: return "reopened";
        case followed::refused: return "refused";
        case followed::gone: return "gone";
        case followed::not_written: return "not written";
    }
    return "unknown";
}

namespace detail {

[[nodiscard]] inline bool is_decision_field(std::string_view f) noexcept {
    return f == "decision" || f == "decided_by" || f == "decided_at" || f.substr(0, 8) == "decided:";
}

/// Whether a conflict's list of late decisions only grew, and by those of the principal.
[[nodiscard]] inline bool late_grew(std::string_view principal, row const& before, row const& after) {
    auto const entries = [](row const& r, std::vector<bytes_view>& out) {
        auto const item = filled(r.fields, "late");
        if (!item) { return true; }
        cbor_reader in{*item};
        for (std::size_t n = in.array(); n != 0 && !in.failed(); --n) { out.push_back(in.skip()); }
        return in.finish().has_value();
    };
    std::vector<bytes_view> was;
    std::vector<bytes_view> is;
    if (!entries(before, was) || !entries(after, is) || is.size() < was.size()) { return false; }
    auto const in = [](std::vector<bytes_view> const& all, bytes_view one) {
        return std::any_of(all.begin(), all.end(), [&](bytes_view other) { return equal(one, other); });
    };
    return std::all_of(was.begin(), was.end(), [&](bytes_view one) { return in(is, one); }) &&
           std::all_of(is.begin(), is.end(), [&](bytes_view one) {
               cbor_reader entry{one};
               return in(was, one) || (entry.array() == 3 && entry.text() == principal && !entry.failed());
           });
}

}  // namespace detail

/// The rules of that collection, the same for everybody: the check has the last word.
[[nodiscard]] inline collection_rules conflict_rules(std::string_view collection) {
    collection_rules r;
    r.collection = conflicts_of(collection);
    r.fallback = rule::local;
    r.fields = {{"late", rule::add_wins}};
    return r;
}

/// Shares the conflicts of a replica as its records, so that they travel, are seen and are masked like any others.
///
/// `share` makes records of what waits in the device's own queue. `list` shows all that are held here, whoever opened
/// them. `decide` writes a decision, on any device; the first that is confirmed stands. `follow`, called after each
/// exchange, sends from the device that decided what counts, in one group with the note that it is done: at the authority
/// both or neither. It tells what became of each decision, and closes in the device's own queue what was closed anywhere.
/// So a decision shows everywhere once it is confirmed, and its effect after the next exchange of who decided. What the
/// authority refuses to write leaves the conflict open for all, and its author's edit where it was.
///
/// Shared are the conflicts of the collections that are named here, whose names have at most 54 bytes and whose fields'
/// at most 240. Whoever shares decides by this, not by the desk. Queue and rules outlive it. Keys begin with `prefix`:
/// the decisions that were made here and are not followed up yet.
class shared_conflicts {
public:
    /// `host`: what this device knows of the authority's guards and references, as for the desk.
    shared_conflicts(std::vector<std::string> collections, conflict_queue const& queue, rule_table const& rules,
                     std::string_view prefix = "dc", merge_host const* host = nullptr)
        : collections_(std::move(collections)), queue_(&queue), rules_(&rules), prefix_(prefix), host_(host) {
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }

    [[nodiscard]] bool shares(std::string_view collection) const noexcept {
        return conflicts_prefix.size() + collection.size() <= collection_bytes_max &&
               std::find(collections_.begin(), collections_.end(), collection) != collections_.end();
    }
    /// The record that a conflict is: of its mutation, so that it is one however often it is told.
    [[nodiscard]] static record_key key_of(conflict const& c) {
        bytes said;
        cbor_writer w{said};
        encode_mutation(w, c.local);
        w.byte_string(c.local_by.writer);
        auto const digest = sha256(said);
        return record_key{conflicts_of(c.record.collection), std::string_view{to_hex(bytes_view{digest}.first(16))}};
    }

    /// A record as a conflict, without the row that it is about. `errc::malformed` for one that is none.
    [[nodiscard]] static result<shared_conflict> read(record_key const& k, bytes_view fields) {
        return decode(k, fields);
    }

    /// Makes records of the open conflicts of the device's queue that are none yet; at most `budget`. How many.
    /// What may not be a record (too large, names too long) stays in the queue alone, and so does what the authority has
    /// refused, as long as its dead letter is there: that is sent again, or goes.
    /// Errors: the storage's, `errc::corrupt`, `errc::limit` for an outbox that is full; then roll back.
    template <storage_transaction Tx, class Records, class Journal>
    [[nodiscard]] result<std::size_t> share(Tx& tx, basic_replica<Records, Journal> const& r, std::size_t budget,
                                            instant now) const {
        std::vector<conflict> fresh;
        std::optional<std::vector<record_key>> refused;  // looked for where it is asked
        status outcome;
        auto const ok = queue_->list(tx, {}, [&](conflict const& c) {
            if (!shares(c.record.collection) || fresh.size() == budget) { return fresh.size() != budget; }
            record_key const k = key_of(c);
            auto const known = r.records().find(tx, k);
            if (!known) {
                outcome = known.error();
                return false;
            }
            if (*known) { return true; }
            if (!refused && !(outcome = find_refused(tx, r, refused.emplace()))) { return false; }
            if (std::find(refused->begin(), refused->end(), k) == refused->end()) { fresh.push_back(c); }
            return true;
        });
        if (!ok) { return ok.error(); }
        if (!outcome) { return outcome.error(); }
        std::size_t made = 0;
        for (conflict const& c : fresh) {
            auto const fields = encode(c);
            if (!fields || fields->size() > r.options().record_max) { continue; }
            auto const done = r.create(tx, key_of(c), *fields, now, priority::important);
            if (!done) { return done.error(); }
            ++made;
        }
        return made;
    }

    /// Visits the conflicts of a collection in the order of their ids, whoever opened them, closed ones too, until the
    /// visitor says false. What doesn't decode is passed over: a stranger may have written it.
    template <storage_transaction Tx, class Records, class Journal>
    [[nodiscard]] status list(Tx& tx, basic_replica<Records, Journal> const& r, std::string_view collection,
                              function_ref<bool(shared_conflict const&)> visit) const {
        if (!shares(collection)) { return failure{errc::not_found, "conflicts that are not shared"}; }
        status outcome;
        auto const ok = r.scan(tx, conflicts_of(collection), [&](record_key const& k, record const& held) {
            auto c = decode(k, held.fields);
            if (!c) { return true; }
            c->pending = held.pending;
            outcome = stand_on_held(tx, r, *c);
            return outcome && visit(*c);
        });
        return ok ? outcome : ok;
    }
    /// Errors: `errc::not_found`; `errc::malformed` for a record that is no conflict.
    template <storage_transaction Tx, class Records, class Journal>
    [[nodiscard]] result<shared_conflict> find(Tx& tx, basic_replica<Records, Journal> const& r,
                                               record_key const& k) const {
        auto const held = r.read(tx, k);
        if (!held) { return held.error(); }
        if (!*held) { return failure{errc::not_found, "no such conflict"}; }
        auto c = decode(k, (*held)->fields);
        if (!c) { return c; }
        c->pending = (*held)->pending;
        if (auto ok = stand_on_held(tx, r, *c); !ok) { return ok.error(); }
        return c;
    }

    /// What a decision would come to on what is held here; nothing is written. Errors: as of `decide`.
    template <storage_transaction Tx, class Records, class Journal>
    [[nodiscard]] result<settled> preview(Tx& tx, basic_replica<Records, Journal> const& r, record_key const& k,
                                          resolution const& how, instant now) const {
        auto const c = find(tx, r, k);
        if (!c) { return c.error(); }
        return settle_with(*c, how, now);
    }

    /// Decides an open conflict. `seen` is the version of the remote row that the person saw, `by` the principal's name.
    /// Of a record that is not there and not to come, as the authority refused it, the device in whose queue the conflict
    /// waits can take the remote side, with 0 as `seen`: it is closed, and nothing is written.
    /// Errors, state unchanged: `errc::not_found`; `errc::already_exists` (decided, as far as is known here);
    /// `errc::busy` (something of it is on its way: exchange and `follow` first);
    /// `errc::contended` (another remote since: show it again); `errc::forbidden` (values that are masked here);
    /// `errc::unsupported` (a whole record: decide field by field); those of `settle` and of the replica's writes.
    template <storage_transaction Tx, class Records, class Journal>
    [[nodiscard]] result<write_receipt> decide(Tx& tx, basic_replica<Records, Journal> const& r, record_key const& k,
                                               position seen, resolution const& how, std::string_view by,
                                               instant now) const {
        auto const c = find(tx, r, k);
        if (!c) { return c.error(); }
        if (c->state != shared_state::open) { return failure{errc::already_exists, "decided already"}; }
        // Joined with what waits, the decision would not be one of its own.
        if (c->pending) { return failure{errc::busy, "the conflict is not confirmed yet"}; }
        bytes waits;
        auto const told = tx.get(attempt_key(k), waits);
        if (!told) { return told.error(); }
        if (*told) { return failure{errc::busy, "what became of the last decision is not followed up yet"}; }
        if (!c->about.remote && seen == 0) {
            auto const lost = asks_about_nothing(tx, r, *c, k);
            if (!lost) { return lost.error(); }
            if (!*lost) { return failure{errc::contended, "the row is not held"}; }
            if (how.kind != resolve_kind::use_remote) { return failure{errc::not_found, "the record is not there"}; }
        } else if (!c->about.remote || c->about.remote->version != seen) {
            return failure{errc::contended, "the remote has changed since"};
        } else if (auto const would = settle_with(*c, how, now); !would) {
            return would.error();
        }
        auto const self = r.self(tx);
        if (!self) { return self.error(); }
        attempt mine;
        bytes said = to_bytes(to_array(*self));
        append_u64(said, detail::time_bits(now.wall));
        append(said, k.id);
        append_u64(said, seen);
        mine.decision = read_u64(bytes_view{sha256(said)}.first(8)) | 1U;
        mine.kind = how.kind;
        mine.by = std::string{by};
        auto const done = r.update(tx, k, operations(how, seen, mine.decision, by, now), now, priority::important);
        if (!done) { return done; }
        if (auto ok = put_attempt(tx, k, mine); !ok) { return ok.error(); }
        return done;
    }

    /// Takes over what another has decided and not carried out, because their device is lost: `follow` does it here. Where
    /// the record can't show that it is done (an addition, elements, a guard's repair), that ends as `not_written`.
    /// Errors: `errc::invalid` for one that is not decided, or closed; `errc::forbidden` where values are masked.
    template <storage_transaction Tx, class Records, class Journal>
    [[nodiscard]] status take_over(Tx& tx, basic_replica<Records, Journal> const& r, record_key const& k) const {
        auto const c = find(tx, r, k);
        if (!c) { return c.error(); }
        if (c->state != shared_state::decided || c->pending) { return failure{errc::invalid, "nothing to carry out"}; }
        if (!c->masked.empty()) { return failure{errc::forbidden, "masked values"}; }
        return put_attempt(tx, k, {c->decision, c->how->kind, c->decided_by});
    }

    /// Follows up the decisions that were made here, and closes in the device's queue what is closed. `visit` hears what
    /// became of each. Call it after each exchange. Errors: the storage's, `errc::corrupt`, those of the replica's writes;
    /// then roll back. Cost: of the decisions that wait, and a look-up for each open conflict of the queue.
    template <storage_transaction Tx, class Records, class Journal>
    [[nodiscard]] status follow(Tx& tx, basic_replica<Records, Journal> const& r, instant now,
                                function_ref<void(record_key const&, followed)> visit) const {
        std::vector<std::pair<record_key, attempt>> all;
        status outcome;
        bytes const head = to_bytes(prefix_);
        auto ok = scan_prefix(tx, head, [&](bytes_view k, bytes_view raw) {
            auto const record = record_key_from(k.subspan(head.size()));
            cbor_reader in{raw};
            attempt a;
            std::size_t const parts = in.array();
            bool const whole = parts == 3 || parts == 4;
            a.decision = in.unsigned_integer();
            std::uint64_t const kind = in.unsigned_integer();
            a.by = std::string{in.text()};
            a.sent = parts == 4 && in.boolean();
            if (!record || !whole || kind < 1 || kind > 4 || !in.finish()) {
                outcome = failure{errc::corrupt, "a decision that waits"};
                return false;
            }
            a.kind = static_cast<resolve_kind>(kind);
            all.emplace_back(*record, a);
            return true;
        });
        if (!ok) { return ok; }
        if (!outcome) { return outcome; }
        for (auto const& [k, a] : all) {
            auto const what = follow_one(tx, r, k, a, now);
            if (!what) { return what.error(); }
            if (!*what) { continue; }
            if (auto gone = tx.erase(attempt_key(k)); !gone) { return gone; }
            visit(k, **what);
        }
        return close(tx, r, now);
    }

private:
    struct attempt {
        std::uint64_t decision = 0;
        resolve_kind kind = resolve_kind::use_remote;
        std::string by{};
        bool sent = false;  ///< what it comes to is on its way
    };

    [[nodiscard]] bytes attempt_key(record_key const& k) const {
        bytes out = to_bytes(prefix_);
        append_key(out, k.collection, k.id);
        return out;
    }
    template <class Tx>
    [[nodiscard]] status put_attempt(Tx& tx, record_key const& k, attempt const& a) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(a.sent ? 4 : 3);
        w.unsigned_integer(a.decision);
        w.unsigned_integer(static_cast<std::uint64_t>(a.kind));
        w.text(a.by);
        if (a.sent) { w.boolean(true); }
        return tx.put(attempt_key(k), raw);
    }

    /// Lays the row that is held here beside the conflict: what waits against that one waits too.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] status stand_on_held(Tx& tx, basic_replica<Records, Journal> const& r, shared_conflict& c) const {
        auto remote = r.read_confirmed(tx, c.about.record);
        if (!remote) { return remote.error(); }
        c.about.remote = std::move(*remote);
        if (!c.about.remote) { return {}; }
        merge_host const known = host_of_nobody();
        apply_context as;
        as.host = &known;
        c.about.fields = contested_now(c.about, *c.about.remote, rules_->of(c.about.record.collection), as);
        return {};
    }
    /// What is known here of the authority's host, but for ranks: the edit is its writer's, whose number isn't known, and not
    /// of who decides. What goes by ranks is asked.
    [[nodiscard]] merge_host host_of_nobody() const {
        merge_host known = host_ != nullptr ? *host_ : merge_host{};
        known.role_of = nullptr;
        return known;
    }
    /// The records of dead letters that would have opened a conflict.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] static status find_refused(Tx& tx, basic_replica<Records, Journal> const& r,
                                             std::vector<record_key>& out) {
        return r.queue().scan_dead(tx, [&](outbox_entry const& e) {
            auto const m = basic_replica<Records, Journal>::mutation_of(e);
            bool const opens = m && m->kind == change_kind::create &&
                               m->record.collection.compare(0, conflicts_prefix.size(), conflicts_prefix) == 0;
            if (opens) { out.push_back(m->record); }
            return true;
        });
    }
    /// Whether a conflict of this device's own queue is about a record that is not there and not to come.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] result<bool> asks_about_nothing(Tx& tx, basic_replica<Records, Journal> const& r,
                                                  shared_conflict const& c, record_key const& k) const {
        bool own = false;
        conflict_query here;
        here.record = &c.about.record;
        auto const ok = queue_->list(tx, here, [&](conflict const& one) {
            own = key_of(one) == k;
            return !own;
        });
        if (!ok) { return ok.error(); }
        return own ? detail::is_gone(tx, r, c.about.record) : result<bool>{false};
    }
    [[nodiscard]] result<settled> settle_with(shared_conflict const& c, resolution const& how, instant now) const {
        if (how.kind == resolve_kind::custom) {
            return failure{errc::unsupported, "a whole record; decide field by field"};
        }
        // Who can't see what they choose, or put aside, doesn't decide.
        if (!c.masked.empty()) { return failure{errc::forbidden, "masked values"}; }
        merge_host const known = host_of_nobody();
        return settle(c.about, how, rules_->of(c.about.record.collection), timestamp::make(now.wall), unknown_author,
                      &known);
    }

    /// Nothing while it, or what it comes to, waits for its verdict.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] result<std::optional<followed>> follow_one(Tx& tx, basic_replica<Records, Journal> const& r,
                                                             record_key const& k, attempt const& mine,
                                                             instant now) const {
        auto const held = r.read(tx, k);
        if (!held) { return held.error(); }
        if (!*held) { return std::optional<followed>{followed::gone}; }
        auto const confirmed = r.read_confirmed(tx, k);
        if (!confirmed) { return confirmed.error(); }
        if (!*confirmed) { return std::optional<followed>{}; }
        if ((*confirmed)->deleted) { return std::optional<followed>{followed::gone}; }
        auto c = decode(k, (*confirmed)->fields);
        if (!c) { return std::optional<followed>{followed::gone}; }
        auto const progress = r.status_of(tx);
        if (!progress) { return progress.error(); }
        // Where not all is pulled, another's decision may still come.
        bool const waits = (*held)->pending || progress->cursor < progress->head;
        if (c->state == shared_state::open) {
            return waits ? std::optional<followed>{} : std::optional<followed>{followed::refused};
        }
        if (c->decision != mine.decision) {
            // Until its own verdict is there it may still count: the other may have been taken back.
            if ((*held)->pending) { return std::optional<followed>{}; }
            bytes entry;
            cbor_writer w{entry};
            w.array(3);
            w.text(mine.by);
            w.unsigned_integer(detail::time_bits(now.wall));
            w.unsigned_integer(static_cast<std::uint64_t>(mine.kind));
            if (auto ok = r.update(tx, k, {late_entry(entry)}, now); !ok) { return ok.error(); }
            return std::optional<followed>{followed::too_late};
        }
        if (c->state == shared_state::closed) { return std::optional<followed>{followed::carried_out}; }
        if (mine.sent && waits) { return std::optional<followed>{}; }
        if (auto ok = stand_on_held(tx, r, *c); !ok) { return ok.error(); }
        bool stood = c->about.remote && stands(*c);
        result<settled> done = errc::contended;
        if (stood) {
            done = settle_with(*c, *c->how, now);
        } else if (!c->about.remote && c->seen == 0 && c->how->kind == resolve_kind::use_remote) {
            auto const gone = detail::is_gone(tx, r, c->about.record);
            if (!gone) { return gone.error(); }
            stood = *gone;
            if (stood) { done = settled{}; }
        }
        // Where it was sent its verdict is there, and the conflict is not closed: it was refused.
        if (stood && !mine.sent) {
            auto const written = done ? write_with_note(tx, r, *done, k, now) : status{done.error()};
            if (written) {
                attempt next = mine;
                next.sent = true;
                if (auto ok = put_attempt(tx, k, next); !ok) { return ok.error(); }
                return std::optional<followed>{};
            }
            if (!is_refusal(written.error())) { return written.error(); }
        }
        // One that never can be carried out is no decision: others may decide.
        if (auto ok = r.update(tx, k, taken_back(**confirmed), now, priority::important); !ok) { return ok.error(); }
        return std::optional<followed>{stood ? followed::not_written : followed::reopened};
    }

    /// Writes what a decision comes to and that it is carried out: together, or nothing.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] static status write_with_note(Tx& tx, basic_replica<Records, Journal> const& r, settled const& s,
                                                record_key const& k, instant now) {
        record_group both;
        if (s.sends()) {
            switch (s.change.kind) {
                case change_kind::create: both.create(s.change.record, s.after ? s.after->fields : bytes{}); break;
                case change_kind::update: both.update(s.change.record, s.change.ops); break;
                case change_kind::erase: both.erase(s.change.record); break;
                case change_kind::group: break;  // no conflict's
            }
        }
        bytes yes;
        cbor_writer{yes}.boolean(true);
        both.update(k, {{"done", op_kind::set, std::move(yes), {}}});
        auto const written = r.write_group(tx, both, now, priority::important);
        return written ? status{} : status{written.error()};
    }

    /// Whether what is contested is as who decided saw it.
    [[nodiscard]] static bool stands(shared_conflict const& c) {
        row const& remote = *c.about.remote;
        if (remote.version == c.seen) { return true; }
        if (c.about.of_whole_record() || remote.deleted || remote.life != c.about.local.life) { return false; }
        return std::all_of(c.about.fields.begin(), c.about.fields.end(), [&](contested_field const& f) {
            bool const inside =
                std::any_of(remote.exceptions.begin(), remote.exceptions.end(),
                            [&](field_mark const& e) { return e.field == f.path.front() && e.mark.at > c.seen; });
            return !inside && remote.mark_of(f.path.front()).at <= c.seen;
        });
    }

    /// The device's own queue, and the replica's list, follow what was closed anywhere.
    template <class Tx, class Records, class Journal>
    [[nodiscard]] status close(Tx& tx, basic_replica<Records, Journal> const& r, instant now) const {
        std::vector<std::pair<conflict, shared_conflict>> over;
        status outcome;
        auto ok = queue_->list(tx, {}, [&](conflict const& c) {
            if (!shares(c.record.collection)) { return true; }
            record_key const k = key_of(c);
            auto const confirmed = r.read_confirmed(tx, k);
            if (!confirmed) {
                outcome = confirmed.error();
                return false;
            }
            if (!*confirmed || (*confirmed)->deleted) { return true; }
            auto shared = decode(k, (*confirmed)->fields);
            if (shared && shared->state == shared_state::closed) { over.emplace_back(c, std::move(*shared)); }
            return true;
        });
        if (!ok) { return ok; }
        if (!outcome) { return outcome; }
        for (auto const& pair : over) {
            conflict const& c = pair.first;
            shared_conflict const& shared = pair.second;
            decision_maker const who{as_bytes(shared.decided_by), timestamp::make(now.wall), shared.decided_at,
                                     unknown_author, false};
            collection_rules const& rules = rules_->of(c.record.collection);
            auto closed = queue_->resolve(tx, c.id, c.revision, *shared.how, rules, who);
            if (!closed && !is_refusal(closed.error())) { return closed.error(); }
            if (!closed) {
                // What it came to is on its way as the confirmed row: there is nothing to do about it here.
                auto const left = queue_->withdraw(tx, c.id, c.revision, who);
                if (!left && !is_refusal(left.error())) { return left.error(); }
            }
            std::uint64_t token = 0;
            ok = r.conflicts(tx, [&](open_conflict const& o) {
                if (o.local == c.local) { token = o.token; }
                return token == 0;
            });
            if (!ok) { return ok; }
            if (token == 0) { continue; }
            journal_choice const choice = shared.how->kind == resolve_kind::use_local    ? journal_choice::local
                                          : shared.how->kind == resolve_kind::use_remote ? journal_choice::remote
                                                                                         : journal_choice::some;
            if (ok = r.dismiss(tx, token, choice); !ok) { return ok; }
        }
        return {};
    }
    [[nodiscard]] static bool is_refusal(failure const& f) noexcept {
        switch (f.code) {
            case errc::limit:
            case errc::invalid:
            case errc::not_found:
            case errc::already_exists:
            case errc::contended:
            case errc::forbidden:
            case errc::unsupported:
            case errc::rejected:
            case errc::type_mismatch:
            case errc::overflow: return true;
            default: return false;
        }
    }

    // The record.

    /// `errc::limit` where a field's name is too long to stand in one.
    [[nodiscard]] static result<bytes> encode(conflict const& c) {
        std::vector<std::pair<std::string, bytes>> fields;
        auto const add = [&](std::string name) -> cbor_writer {
            fields.emplace_back(std::move(name), bytes{});
            return cbor_writer{fields.back().second};
        };
        fields.reserve(8 + c.local.ops.size() * 2 + 64);
        {
            cbor_writer w = add("about");
            w.array(2);
            w.text(c.record.collection);
            w.byte_string(c.record.id);
        }
        {
            cbor_writer w = add("change");
            w.array(7);
            w.unsigned_integer(static_cast<std::uint64_t>(c.local.kind));
            w.unsigned_integer(c.local.life);
            w.unsigned_integer(c.local.base);
            w.unsigned_integer(c.local.stamp.raw);
            w.unsigned_integer(c.local.sequence);
            w.unsigned_integer(c.local.schema);
            w.unsigned_integer(static_cast<std::uint64_t>(c.local.hint));
        }
        {
            cbor_writer w = add("contested");
            w.array(c.fields.size() * 3);
            for (contested_field const& f : c.fields) {
                detail::encode_path(w, f.path);
                w.unsigned_integer(static_cast<std::uint64_t>(f.by));
                w.text(f.guard);
            }
        }
        {
            cbor_writer w = add("by");
            w.array(2);
            w.byte_string(c.local_by.writer);
            w.unsigned_integer(detail::time_bits(c.opened));
        }
        std::vector<std::string> names;
        for (field_op const& op : c.local.ops) {
            if (op.field.size() > 240) { return failure{errc::limit, "a field's name"}; }
            names.push_back(op.field);
            cbor_writer w = add("local:" + op.field);
            encode_operation(w, op, c.local.stamp);
        }
        {
            cbor_writer w = add("written");
            w.array(names.size());
            for (std::string const& n : names) { w.text(n); }
        }
        names.clear();
        cbor_map_cursor at{c.base};
        while (!c.base.empty() && at.next()) {
            if (at.key().size() > 240) { return failure{errc::limit, "a field's name"}; }
            names.emplace_back(at.key());
            cbor_writer w = add("base:" + std::string{at.key()});
            w.raw(at.value());
        }
        {
            cbor_writer w = add("seen");
            w.array(names.size());
            for (std::string const& n : names) { w.text(n); }
        }
        std::sort(fields.begin(), fields.end(),
                  [](auto const& a, auto const& b) { return compare_keys(a.first, b.first) < 0; });
        bytes out;
        cbor_writer w{out};
        w.map(fields.size());
        for (auto const& [name, value] : fields) {
            w.text(name);
            w.raw(value);
        }
        return out;
    }

    [[nodiscard]] static result<shared_conflict> decode(record_key const& k, bytes_view fields) {
        constexpr failure bad{errc::malformed, "a record that is no conflict"};
        auto const item = [&](std::string_view name) { return detail::filled(fields, name); };
        shared_conflict out;
        out.id = k.id;
        conflict& c = out.about;
        auto const about = item("about");
        auto const change = item("change");
        auto const contested = item("contested");
        auto const by = item("by");
        auto const written = item("written");
        auto const seen = item("seen");
        if (!about || !change || !contested || !by || !written || !seen) { return bad; }
        {
            cbor_reader in{*about};
            bool const whole = in.array() == 2;
            std::string_view const collection = in.text();
            bytes_view const id = in.byte_string();
            if (!whole || !in.finish()) { return bad; }
            c.record = record_key{collection, id};
            if (!valid(c.record) || conflicts_of(collection) != k.collection) { return bad; }
            c.local.record = c.record;
        }
        {
            cbor_reader in{*change};
            bool const whole = in.array() == 7;
            c.local.kind = static_cast<change_kind>(detail::bounded(in, 3, 1));
            c.local.life = in.unsigned_integer();
            c.local.base = in.unsigned_integer();
            c.local.stamp = timestamp{in.unsigned_integer()};
            c.local.sequence = in.unsigned_integer();
            c.local.schema = static_cast<schema_version>(detail::bounded(in, 0xFFFFFFFF, 1));
            c.local.hint = static_cast<merge_hint>(detail::bounded(in, 2));
            if (!whole || !in.finish()) { return bad; }
        }
        {
            cbor_reader in{*contested};
            std::size_t const n = in.array();
            if (n % 3 != 0 || n == 0 || n / 3 > contested_fields_max) { return bad; }
            for (std::size_t i = 0; i < n && !in.failed(); i += 3) {
                contested_field f;
                f.path = detail::decode_path(in);
                f.by = static_cast<rule>(detail::bounded(in, 255, 1));
                f.guard = std::string{in.text()};
                c.fields.push_back(std::move(f));
            }
            if (!in.finish()) { return bad; }
        }
        {
            cbor_reader in{*by};
            bool const whole = in.array() == 2;
            c.local_by.writer = to_bytes(in.byte_string());
            c.opened = detail::time_of(in.unsigned_integer());
            c.local_by.stamp = c.local.stamp;
            if (!whole || !in.finish()) { return bad; }
        }
        auto const mask = [&](std::string_view f) {
            if (out.masked.empty() || out.masked.back() != f) { out.masked.emplace_back(f); }
        };
        {
            cbor_reader in{*written};
            for (std::size_t n = in.array(); n != 0 && !in.failed(); --n) {
                std::string const f{in.text()};
                if (in.failed()) { return bad; }
                auto const op = item("local:" + f);
                if (!op) {
                    mask(f);
                    continue;
                }
                bytes one;
                cbor_writer w{one};
                w.array(1);
                w.raw(*op);
                cbor_reader ops{one};
                auto parsed = decode_operations(ops, c.local.stamp);
                if (!ops.finish() || parsed.size() != 1 || parsed[0].field != f) { return bad; }
                c.local.ops.push_back(std::move(parsed[0]));
            }
            if (!in.finish()) { return bad; }
        }
        {
            cbor_reader in{*seen};
            std::vector<detail::field_change> base;
            std::vector<std::string> names;
            std::size_t const count = in.array();
            for (std::size_t n = 0; n < count && !in.failed(); ++n) { names.emplace_back(in.text()); }
            if (!in.finish()) { return bad; }
            bool sorted = true;
            for (std::size_t i = 0; i < names.size(); ++i) {
                sorted = sorted && (i == 0 || compare_keys(names[i - 1], names[i]) < 0);
                bool const there = map_has(fields, "base:" + names[i]);
                if (!there) {
                    mask(names[i]);
                    continue;
                }
                base.push_back({names[i], true, **map_find(fields, "base:" + names[i])});
            }
            if (!sorted) { return bad; }
            if (!base.empty()) { c.base = detail::rewrite_fields({}, base); }
        }
        std::sort(out.masked.begin(), out.masked.end());
        out.masked.erase(std::unique(out.masked.begin(), out.masked.end()), out.masked.end());
        if (auto const decision = item("decision")) {
            auto const who = item("decided_by");
            auto const when = item("decided_at");
            if (!who || !when) { return bad; }
            cbor_reader names{*who};
            out.decided_by = std::string{names.text()};
            cbor_reader times{*when};
            out.decided_at = detail::time_of(times.unsigned_integer());
            if (!names.finish() || !times.finish()) { return bad; }
            cbor_reader in{*decision};
            std::size_t const parts = in.array();
            resolution how;
            how.kind = static_cast<resolve_kind>(detail::bounded(in, 4, 1));
            out.seen = in.unsigned_integer();
            out.decision = in.unsigned_integer();
            if (parts < 3 || (parts - 3) % 2 != 0 || parts > 3 + 2 * contested_fields_max) { return bad; }
            for (std::size_t i = 3; i < parts && !in.failed(); i += 2) {
                field_decision d;
                d.path = detail::decode_path(in);
                d.take = static_cast<field_take>(detail::bounded(in, 6, 1));
                if (in.failed() || d.path.empty()) { return bad; }
                if (d.take == field_take::custom) {
                    auto const values = item("decided:" + d.path.front());
                    cbor_reader all{values ? *values : bytes_view{}};
                    std::size_t const n = values ? all.array() : 0;
                    bool found = false;
                    for (std::size_t v = 0; v + 1 < n && !all.failed(); v += 2) {
                        field_path const path = detail::decode_path(all);
                        bytes_view const value = all.skip();
                        if (path == d.path) {
                            d.value = to_bytes(value);
                            found = true;
                        }
                    }
                    if (values && (all.failed() || !found)) { return bad; }
                    if (!values) { mask(d.path.front()); }
                }
                how.fields.push_back(std::move(d));
            }
            if (!in.finish() || out.decision == 0) { return bad; }
            out.how = std::move(how);
            out.state = item("done") ? shared_state::closed : shared_state::decided;
        }
        if (auto const late = item("late")) {
            cbor_reader in{*late};
            for (std::size_t n = in.array(); n != 0 && !in.failed(); --n) {
                late_decision one;
                if (in.array() != 3) { return bad; }
                one.by = std::string{in.text()};
                one.at = detail::time_of(in.unsigned_integer());
                one.kind = static_cast<resolve_kind>(detail::bounded(in, 4, 1));
                out.late.push_back(std::move(one));
            }
            if (!in.finish()) { return bad; }
        }
        if (!check(c)) { return bad; }
        return out;
    }
    [[nodiscard]] static bool map_has(bytes_view fields, std::string_view name) {
        auto const found = map_find(fields, name);
        return found && found->has_value();
    }

    [[nodiscard]] static std::vector<field_op> operations(resolution const& how, position seen, std::uint64_t decision,
                                                          std::string_view by, instant now) {
        std::vector<field_op> ops;
        auto const add = [&](std::string name, bytes value) {
            ops.push_back({std::move(name), op_kind::set, std::move(value), {}});
        };
        bytes said;
        cbor_writer w{said};
        w.array(3 + how.fields.size() * 2);
        w.unsigned_integer(static_cast<std::uint64_t>(how.kind));
        w.unsigned_integer(seen);
        w.unsigned_integer(decision);
        for (field_decision const& d : how.fields) {
            detail::encode_path(w, d.path);
            w.unsigned_integer(static_cast<std::uint64_t>(d.take));
        }
        add("decision", std::move(said));
        bytes who;
        cbor_writer{who}.text(by);
        add("decided_by", std::move(who));
        bytes when;
        cbor_writer{when}.unsigned_integer(detail::time_bits(now.wall));
        add("decided_at", std::move(when));
        for (std::size_t i = 0; i < how.fields.size(); ++i) {
            std::string const& top = how.fields[i].path.front();
            auto const custom = [&](field_decision const& d) {
                return d.take == field_take::custom && d.path.front() == top;
            };
            bool const again =
                std::any_of(how.fields.begin(), how.fields.begin() + static_cast<std::ptrdiff_t>(i), custom);
            if (!custom(how.fields[i]) || again) { continue; }
            bytes values;
            cbor_writer v{values};
            v.array(2 * static_cast<std::size_t>(std::count_if(how.fields.begin(), how.fields.end(), custom)));
            for (field_decision const& d : how.fields) {
                if (!custom(d)) { continue; }
                detail::encode_path(v, d.path);
                v.raw(d.value);
            }
            add("decided:" + top, std::move(values));
        }
        return ops;
    }
    [[nodiscard]] static std::vector<field_op> taken_back(row const& confirmed) {
        std::vector<field_op> ops;
        cbor_map_cursor at{confirmed.fields};
        while (at.next()) {
            if (detail::is_decision_field(at.key())) { ops.push_back({std::string{at.key()}, op_kind::unset, {}, {}}); }
        }
        return ops;
    }
    [[nodiscard]] static field_op late_entry(bytes_view entry) {
        bytes edits;
        cbor_writer w{edits};
        w.array(1);
        w.array(2);
        w.unsigned_integer(static_cast<std::uint64_t>(element_verb::add));
        w.raw(entry);
        return {"late", op_kind::elements, edits, {}};
    }

    std::vector<std::string> collections_;
    conflict_queue const* queue_;
    rule_table const* rules_;
    std::string prefix_;
    merge_host const* host_;
};

namespace detail {

/// What a record shows of a decision about a conflict of it.
enum class decision_effect : std::uint8_t { shown, missing, unknown };

/// Whether the contested fields are as was decided, where the conflict itself says what they are to be.
[[nodiscard]] inline decision_effect effect_on(shared_conflict const& s, std::optional<row> const& r) {
    conflict const& c = s.about;
    resolution const& how = *s.how;
    if (how.kind == resolve_kind::use_remote) { return decision_effect::shown; }
    bool const gone = !r || r->deleted;
    if (c.local.kind == change_kind::erase && how.kind == resolve_kind::use_local) {
        return gone ? decision_effect::shown : decision_effect::missing;
    }
    if (gone) { return decision_effect::missing; }
    auto const local = local_fields(c);
    if (!local || r->schema != c.local.schema || r->life != c.local.life) { return decision_effect::unknown; }
    std::vector<field_decision> choices = how.fields;
    if (how.kind == resolve_kind::use_local && c.of_whole_record()) {
        for (field_op const& op : c.local.ops) { choices.push_back({{op.field}, field_take::local, {}}); }
    } else if (how.kind == resolve_kind::use_local) {
        for (contested_field const& f : c.fields) { choices.push_back({f.path, field_take::local, {}}); }
    }
    decision_effect out = decision_effect::shown;
    for (field_decision const& d : choices) {
        if (d.take == field_take::remote) { continue; }
        auto const op = std::find_if(c.local.ops.begin(), c.local.ops.end(),
                                     [&](field_op const& o) { return o.field == d.path.front(); });
        // An addition goes on top of what others have added, and parts of a map are merged.
        bool const plain = op != c.local.ops.end() && (op->kind == op_kind::set || op->kind == op_kind::unset);
        if (d.take == field_take::merge || (d.take == field_take::local && !plain)) {
            out = decision_effect::unknown;
            continue;
        }
        auto const values = values_of(c.base, *local, {}, d.path);
        auto const wanted = values ? taken(d, *values) : result<std::optional<bytes>>{values.error()};
        auto const is = value_at(r->fields, d.path);
        if (!wanted || !is) { return decision_effect::unknown; }
        bool const same = wanted->has_value() == is->has_value() && (!*wanted || equal(**wanted, **is));
        if (!same) { return decision_effect::missing; }
    }
    return out;
}

/// Whether a decision may be said to be carried out: with what it comes to in one group, by who decided; else where the
/// record shows it. Another than who decided is believed nothing that can't be seen.
[[nodiscard]] inline validation judge_closing(validation_input const& in, field_op const& op) {
    auto const no = [](std::string text) { return validation{false, errc::rejected, std::move(text)}; };
    if (filled(in.before->fields, "done")) { return no("the conflict is closed already"); }
    cbor_reader said{op.value};
    bool const yes = op.kind == op_kind::set && said.peek() == cbor_type::boolean && said.boolean();
    if (!yes) { return no("that a conflict is closed is said once"); }
    auto const c = shared_conflicts::read(in.change.record, in.before->fields);
    if (!c || c->state != shared_state::decided) { return no("the conflict is not decided"); }
    if (in.rows == nullptr) { return {}; }  // a device doesn't know what the authority has
    auto const current = (*in.rows)(c->about.record);
    if (!current) { return {false, current.error().code, {}}; }
    bool const together =
        in.group != nullptr && std::any_of(in.group->parts.begin(), in.group->parts.end(),
                                           [&](mutation const& part) { return part.record == c->about.record; });
    bool const alone = c->about.of_whole_record() ||
                       std::all_of(c->about.local.ops.begin(), c->about.local.ops.end(),
                                   [&](field_op const& o) { return c->about.find({o.field}) != nullptr; });
    auto const effect = effect_on(*c, *current);
    bool const stands = c->decided_by == in.principal ? together || effect != decision_effect::missing
                                                      : effect == decision_effect::shown && (together || alone);
    return stands ? validation{} : no("what was decided is not written");
}

/// The judge of shared conflicts: what may be done to one, and by whom a decision says that it is.
[[nodiscard]] inline validation judge_conflict(validation_input const& in, void const*) {
    if (!in.after.deleted && !shared_conflicts::read(in.change.record, in.after.fields)) {
        return {false, errc::malformed, "it is no conflict"};
    }
    auto const no = [](std::string text) { return validation{false, errc::rejected, std::move(text)}; };
    bool const lives = in.before && !in.before->deleted;
    auto const has = [](row const& r, std::string_view f) { return filled(r.fields, f).has_value(); };
    switch (in.change.kind) {
        case change_kind::create:
            if (in.before && !(lives && in.before->fields == in.after.fields)) {
                return {false, errc::already_exists, "there is, or was, such a conflict"};
            }
            return has(in.after, "decision") || has(in.after, "done") ? no("a conflict begins open") : validation{};
        case change_kind::erase:
            return lives && !has(*in.before, "done") ? no("the conflict is not closed") : validation{};
        case change_kind::update:
        case change_kind::group: break;
    }
    if (!lives) { return no("there is no such conflict"); }
    bool decides = false;
    bool only_takes_back = true;
    field_op const* closes = nullptr;
    for (field_op const& op : in.change.ops) {
        if (is_decision_field(op.field)) {
            decides = true;
            only_takes_back = only_takes_back && op.kind == op_kind::unset;
        } else if (op.field == "done") {
            closes = &op;
        } else if (op.field != "late") {
            return no("of a conflict only its decision changes");
        }
    }
    if (!late_grew(in.principal, *in.before, in.after)) { return no("a late decision in another's name"); }
    bool const decided = has(*in.before, "decision");
    if (decides && closes != nullptr) { return no("a decision is confirmed before it is carried out"); }
    if (decides && decided) {
        if (!only_takes_back || has(*in.before, "done")) {
            auto const by = filled(in.before->fields, "decided_by");
            cbor_reader who{by ? *by : bytes_view{}};
            std::string text = "decided already";
            if (by && who.peek() == cbor_type::text) { text += " by " + std::string{who.text()}; }
            return no(std::move(text));
        }
        return has(in.after, "decision") ? no("half a decision") : validation{};
    }
    if (decides) {
        auto const by = filled(in.after.fields, "decided_by");
        cbor_reader who{by ? *by : bytes_view{}};
        bool const own = by && who.peek() == cbor_type::text && who.text() == in.principal;
        if (!has(in.after, "decision") || !own) { return no("a decision in another's name"); }
    }
    return closes != nullptr ? judge_closing(in, *closes) : validation{};
}

}  // namespace detail

/// The check that makes `conflicts_of(collection)` one of shared conflicts, for `check_table::add` on devices and at the
/// authority: the first decision that is confirmed stands, a second is refused, `errc::rejected`, "decided already by …";
/// a decision is in its author's name; a conflict is closed with what closes it, or where the record shows that, and never
/// opened again. Who may decide at all is the policy's: access rules of that collection.
[[nodiscard]] inline record_check conflict_check(std::string_view collection) {
    return {conflicts_of(collection), {}, false, &detail::judge_conflict, nullptr};
}

}  // namespace syncline::inline SYNCLINE_ABI
