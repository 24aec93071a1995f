// SPDX-License-Identifier: BSL-1.0
#pragma once

/// "What would this pull change?": what a replica would make of a reply, record by record, with the store as it was.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/record_store.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// One record that a reply would change, as it is read before and after.
struct record_preview {
    record_key key{};
    std::optional<record> before{};  ///< nothing: not there, or deleted
    std::optional<record> after{};
    /// Whether a person would see a difference; else only what is confirmed, or whether something waits, differs.
    [[nodiscard]] bool shows() const noexcept {
        return before.has_value() != after.has_value() || (before && !equal(before->fields, after->fields));
    }
    friend bool operator==(record_preview const&, record_preview const&) = default;
};

/// What a reply would do to a replica.
struct pull_preview {
    exchange_report report{};                ///< what `absorb` would answer
    std::vector<record_preview> records{};   ///< those that would differ, in the order of their keys
    std::vector<event> verdicts{};           ///< of kind `decided`: each mutation that would get its verdict
    std::vector<open_conflict> conflicts{};  ///< those that would be opened, with the remote row as it would be
    /// What waits on those records and would not simply be applied to what they would be: merged, overruled, conflict or
    /// rejected, were the authority to decide it as the next. Its guards and its validation are not asked.
    std::vector<foreseen> ahead{};
};

namespace detail {

/// A record store that notes each record as it was before it is written.
template <class Records>
class watched_records {
public:
    struct noted {
        bytes name;
        std::optional<held_record> before;
    };
    watched_records(Records const& inner, std::vector<noted>& notes) noexcept : inner_(&inner), notes_(&notes) {}

    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<held_record>> find(Tx& tx, record_key const& k) const {
        return inner_->find(tx, k);
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<row>> find_confirmed(Tx& tx, record_key const& k) const {
        return inner_->find_confirmed(tx, k);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status put(Tx& tx, record_key const& k, held_record const& h, row const* confirmed) const {
        if (auto ok = note(tx, k); !ok) { return ok; }
        return inner_->put(tx, k, h, confirmed);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status drop_confirmed(Tx& tx, record_key const& k) const {
        return inner_->drop_confirmed(tx, k);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status erase(Tx& tx, record_key const& k) const {
        if (auto ok = note(tx, k); !ok) { return ok; }
        return inner_->erase(tx, k);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, std::string_view collection, held_visitor visit) const {
        return inner_->scan(tx, collection, visit);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status scan_range(Tx& tx, bytes_view from, bytes_view to, held_visitor visit) const {
        return inner_->scan_range(tx, from, to, visit);
    }

private:
    template <class Tx>
    [[nodiscard]] status note(Tx& tx, record_key const& k) const {
        auto held = inner_->find(tx, k);
        if (!held) { return held.error(); }
        notes_->push_back({to_bytes(k), std::move(*held)});
        return {};
    }

    Records const* inner_;
    std::vector<noted>* notes_;
};

}  // namespace detail

/// A request that asks for what is new and sends nothing: for a dry run before anything leaves the device.
///
/// What was sent before and has no verdict yet is not sent again either. If the authority has decided some of it, the
/// reply's rows must wait for that verdict, and the dry run shows none: exchange first. The authority learns from it
/// what it learns from any request: that the replica is there, and how far it holds.
/// Errors: as of `request_message`. Reads only.
template <storage_transaction Tx, class Records, class Journal>
[[nodiscard]] result<bytes> pull_message(Tx& tx, basic_replica<Records, Journal> const& r) {
    replica_options options = r.options();
    options.mutations_max = 0;
    if (options.relay) { options.relay->submit_max = 0; }
    std::vector<typename detail::watched_records<Records>::noted> notes;
    basic_replica<detail::watched_records<Records>> const quiet{r.rules(), std::move(options), {r.records(), notes}};
    return quiet.request_message(tx);
}

/// What `absorb` would do with a reply, to `pull_message` or to any other request: done by `absorb` itself, in a
/// transaction of its own that is left without a commit. So the store is as it was, whatever this answers.
///
/// `reply` is a stranger's. `random` makes a new incarnation's number only: any generator, such as a copy of the one that
/// `absorb` gets. What is told is true of the store as it is now: what is written meanwhile, or another reply, may
/// change it.
/// Errors: those of `absorb`; `errc::busy` while a transaction is open on the store. Cost: that of `absorb`, a look-up more
/// for each record that it writes and each open conflict; what would change is in memory.
template <storage S, class Records, class Journal, random_source G>
[[nodiscard]] result<pull_preview> dry_run(S& store, basic_replica<Records, Journal> const& r, bytes_view reply,
                                           instant now, G& random) {
    using watched = detail::watched_records<Records>;
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    std::vector<typename watched::noted> notes;
    basic_replica<watched> const shadow{r.rules(), r.options(), watched{r.records(), notes}};

    std::uint64_t told = 0;
    auto ok = shadow.events(*tx, 0, [&](std::uint64_t batch, event const&) {
        told = batch;
        return true;
    });
    if (!ok) { return ok.error(); }
    std::vector<std::uint64_t> open;
    ok = shadow.conflicts(*tx, [&](open_conflict const& c) {
        open.push_back(c.token);
        return true;
    });
    if (!ok) { return ok.error(); }

    pull_preview out;
    auto report = shadow.absorb(*tx, reply, now, random);
    if (!report) { return report.error(); }
    out.report = *report;
    ok = shadow.events(*tx, told, [&](std::uint64_t, event const& e) {
        if (e.kind == event_kind::decided) { out.verdicts.push_back(e); }
        return true;
    });
    if (!ok) { return ok.error(); }
    ok = shadow.conflicts(*tx, [&](open_conflict const& c) {
        // Both lists are in the order of tokens.
        if (!std::binary_search(open.begin(), open.end(), c.token)) { out.conflicts.push_back(c); }
        return true;
    });
    if (!ok) { return ok.error(); }

    std::stable_sort(notes.begin(), notes.end(),
                     [](auto const& a, auto const& b) { return compare(a.name, b.name) < 0; });
    auto const end =
        std::unique(notes.begin(), notes.end(), [](auto const& a, auto const& b) { return equal(a.name, b.name); });
    notes.erase(end, notes.end());  // the first of a record is what it was before all
    for (auto& n : notes) {
        auto const k = record_key_from(n.name);
        if (!k) { return k.error(); }
        auto held = r.records().find(*tx, *k);
        if (!held) { return held.error(); }
        record_preview one{*k, r.as_read(*k, std::move(n.before)), r.as_read(*k, std::move(*held))};
        if (one.before != one.after) { out.records.push_back(std::move(one)); }
        ok = r.foresee(*tx, *k, [&](foreseen const& f) {
            if (f.outcome.verdict != verdict_kind::applied) { out.ahead.push_back(f); }
            return true;
        });
        if (!ok) { return ok.error(); }
    }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
