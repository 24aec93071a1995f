// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What the authority refused because somebody was first, issued again on what was pulled since.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/merge/again.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {

/// Takes away what was written on the record since, in the same fields; false where that builds on what was refused.
[[nodiscard]] inline bool yield_to(std::vector<field_op>& ops, mutation const& later) {
    if (later.kind != change_kind::update) { return false; }
    for (field_op const& since : later.ops) {
        auto const same =
            std::find_if(ops.begin(), ops.end(), [&](field_op const& op) { return op.field == since.field; });
        if (same == ops.end()) { continue; }
        if (since.kind == op_kind::add && same->kind == op_kind::add) { continue; }  // both count
        if (since.kind != op_kind::set && since.kind != op_kind::unset) { return false; }
        ops.erase(same);
    }
    return true;
}
/// Takes away what the confirmed row has newer: our own later write, and of a field that goes by clocks anybody's.
inline void yield_to(std::vector<field_op>& ops, mutation const& refused, row const& confirmed,
                     collection_rules const& rules, author_index self) {
    std::erase_if(ops, [&](field_op const& op) {
        if (op.kind != op_kind::set && op.kind != op_kind::unset) { return false; }
        write_mark const& w = confirmed.mark_of(op.field);
        if (w.at <= refused.base) { return false; }
        bool const by_arrival = rules.decides(op.field) == rule::authority_time;
        return w.author == self || (!by_arrival && w.stamp > refused.stamp);
    });
}

/// Whether what was taken away left part of something that wins together: the record, or a group of fields.
[[nodiscard]] inline bool tears(std::vector<field_op> const& had, std::vector<field_op> const& left,
                                collection_rules const& rules) {
    if (left.empty() || left.size() == had.size()) { return false; }
    if (rules.whole) { return true; }
    auto const among = [](field_group const& g, std::vector<field_op> const& ops) {
        return std::count_if(ops.begin(), ops.end(), [&](field_op const& op) {
            return std::find(g.fields.begin(), g.fields.end(), op.field) != g.fields.end();
        });
    };
    return std::any_of(rules.groups.begin(), rules.groups.end(), [&](field_group const& g) {
        auto const stay = among(g, left);
        return stay != 0 && stay != among(g, had);
    });
}

}  // namespace detail

/// Writes anew what was rejected as `errc::contended` (the rule `authority_time`: somebody was first), where the row that
/// was first is held by now; its dead letter goes in the same transaction. How many were written or had nothing left to say.
///
/// What this device wrote on the record since wins in its fields, whether it waits, was refused too or is confirmed; and so
/// does, under other rules than `authority_time`, whatever has a later stamp. A dead letter stays for a person where the
/// record or its life is gone, where later writes build on what was refused (an addition to it, a deletion), where part of
/// a group of fields would be left of it, where it is a group of records, where the change can't be made on what is there now, and where other entries
/// wait for it. What is written may be refused again, when somebody was
/// first again: each time somebody else's write has been taken, so it ends when they rest.
/// Errors: the storage's, `errc::corrupt`, the journal's: roll back. Cost: a scan of the dead letters; for each one that
/// is written a look-up, a scan of the record's queue, an update and a discard; O(n²) in the letters of one moment.
template <storage_transaction Tx, class Records, class Journal>
[[nodiscard]] result<std::size_t> issue_refused(Tx& tx, basic_replica<Records, Journal> const& r, instant now) {
    std::vector<outbox_entry> letters;
    auto ok = r.queue().scan_dead(tx, [&](outbox_entry const& e) {
        if (e.reason != errc::contended || e.dependants != 0) { return true; }
        auto const record = record_key_from(e.record);
        // In a strong collection somebody has to see what is there first: `issue_on`.
        if (record && !r.rules().of(record->collection).strong()) { letters.push_back(e); }
        return true;
    });
    if (!ok) { return ok.error(); }
    if (letters.empty()) { return std::size_t{0}; }
    auto const self = r.author(tx);
    if (!self) { return self.error(); }
    // As it is before any is written: what waits on each record, and what was refused after.
    std::sort(letters.begin(), letters.end(),
              [](outbox_entry const& a, outbox_entry const& b) { return a.token < b.token; });
    std::vector<std::vector<mutation>> later(letters.size());
    for (std::size_t i = 0; i < letters.size(); ++i) {
        auto const record = record_key_from(letters[i].record);
        if (!record) { return record.error(); }
        for (std::size_t k = i + 1; k < letters.size(); ++k) {
            auto const m = r.mutation_of(letters[k]);
            if (!m) { return m.error(); }
            if (mutation const* const part = part_on(*m, *record)) { later[i].push_back(*part); }
        }
        status outcome;
        ok = r.queue().scan_record(tx, letters[i].record, [&](outbox_entry const& waits) {
            auto const m = r.mutation_of(waits);
            if (!m) {
                outcome = m.error();
                return false;
            }
            if (mutation const* const part = part_on(*m, *record)) { later[i].push_back(*part); }
            return true;
        });
        if (ok) { ok = outcome; }
        if (!ok) { return ok.error(); }
    }
    std::size_t issued = 0;
    for (std::size_t i = 0; i < letters.size(); ++i) {
        outbox_entry const& e = letters[i];
        auto const refused = r.mutation_of(e);
        if (!refused) { return refused.error(); }
        if (refused->kind == change_kind::group) { continue; }
        auto const held = r.read_confirmed(tx, refused->record);
        if (!held && held.error() != errc::unsupported) { return held.error(); }
        if (!held) { continue; }  // closed to the program
        auto again = issue_again(*refused, *held, refused->stamp);
        if (!again) { continue; }
        bool stands = true;
        std::vector<field_op> const had = again->ops;
        for (mutation const& m : later[i]) { stands = stands && detail::yield_to(again->ops, m); }
        collection_rules const& rules = r.rules().of(again->record.collection);
        detail::yield_to(again->ops, *refused, **held, rules, *self);
        if (!stands || detail::tears(had, again->ops, rules)) { continue; }
        if (again->kind == change_kind::erase || !again->ops.empty() || had.empty()) {
            auto const written = again->kind == change_kind::erase
                                     ? r.erase(tx, again->record, now, e.urgency)
                                     : r.update(tx, again->record, std::move(again->ops), now, e.urgency);
            if (!written) {
                switch (written.error().code) {
                    case errc::not_found:
                    case errc::type_mismatch:
                    case errc::overflow:
                    case errc::contended:
                    case errc::invalid:
                    case errc::limit: continue;  // unchanged: a person decides
                    default: return written.error();
                }
            }
        }
        if (auto gone = r.queue().discard(tx, e.token); !gone) { return gone.error(); }
        ++issued;
    }
    return issued;
}

/// Writes anew what was refused in a strong collection, on the version `seen` that the person, or the program, has seen of
/// the record; its dead letter goes in the same transaction. What it did to each field it does again.
/// Errors that leave everything as it was: `errc::not_found` (no such letter; the record is gone), `errc::contended` (another
/// version is confirmed here, or something else waits on the record: look again), `errc::invalid` (other entries wait for
/// the letter), and those of `create`, `update` and `erase`. Then the storage's and `errc::corrupt`: roll back.
template <storage_transaction Tx, class Records, class Journal>
[[nodiscard]] result<write_receipt> issue_on(Tx& tx, basic_replica<Records, Journal> const& r, std::uint64_t token,
                                             position seen, instant now) {
    auto const letter = r.queue().find(tx, token);
    if (!letter) { return letter.error(); }
    if (!*letter || (*letter)->state != entry_state::dead) { return failure{errc::not_found, "no such dead letter"}; }
    if ((*letter)->dependants != 0) { return failure{errc::invalid, "other entries wait for it"}; }
    auto refused = r.mutation_of(**letter);
    if (!refused) { return refused.error(); }
    if (refused->kind == change_kind::group) { return failure{errc::invalid, "a group is written anew, as a whole"}; }
    auto const held = r.read_confirmed(tx, refused->record);
    if (!held) { return held.error(); }
    bool waits = false;
    auto const ok = r.queue().scan_record(tx, (*letter)->record, [&](outbox_entry const&) {
        waits = true;
        return false;
    });
    if (!ok) { return ok.error(); }
    position const there = *held ? (*held)->version : 0;
    if (waits || there != seen) { return failure{errc::contended, "another version than was seen"}; }
    bool const lives = *held && !(*held)->deleted;
    if (refused->kind != change_kind::create && !lives) { return failure{errc::not_found, "the record is gone"}; }
    auto written = result<write_receipt>{errc::invalid};
    if (refused->kind == change_kind::erase) {
        written = r.erase(tx, refused->record, now, (*letter)->urgency);
    } else if (lives) {
        written = r.update(tx, refused->record, std::move(refused->ops), now, (*letter)->urgency);
    } else {
        written = r.create(tx, refused->record, std::move(refused->ops), now, (*letter)->urgency);
    }
    if (!written) { return written; }
    if (auto gone = r.queue().discard(tx, token); !gone) { return gone.error(); }
    return written;
}

}  // namespace syncline::inline SYNCLINE_ABI
