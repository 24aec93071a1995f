// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Decisions as audit entries: what a merge rule decided of a field, and what became of a conflict, in its transaction.

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include <syncline/audit/entry.hpp>
#include <syncline/audit/log.hpp>
#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How one field was decided: a `decision` of `merge.hpp`, by its parts, so that a log doesn't bring the merging along.
template <class D>
concept audited_decision = requires(D const& d) {
    { d.field } -> std::convertible_to<std::string_view>;
    { d.inside } -> std::convertible_to<std::string_view>;
    static_cast<std::uint64_t>(d.by);
    static_cast<std::uint64_t>(d.won);
    static_cast<std::uint64_t>(d.why);
};
/// What happened to a conflict: a `conflict_note` of `conflict.hpp`, by its parts.
template <class N>
concept audited_conflict = requires(N const& n) {
    { n.about.record } -> std::convertible_to<record_key const&>;
    { n.about.local } -> std::convertible_to<mutation const&>;
    { n.about.id } -> std::convertible_to<std::uint64_t>;
    n.about.fields.front().path.front();
    { n.entry.by } -> std::convertible_to<bytes const&>;
    { n.entry.automatic } -> std::convertible_to<bool>;
    { n.entry.at } -> std::convertible_to<wall_time>;
    static_cast<std::uint64_t>(n.entry.what);
    static_cast<std::uint64_t>(n.entry.how.kind);
};

/// A rule's decision about a field of `m` as an entry: merge_decision, whose code is the rule. Who won and why are open
/// (`won`, `why`: the numbers of `winner` and `reason`), the field's name is masked; no value is in it. Borrows the
/// mutation's record; actor and device are the caller's to add.
template <audited_decision D>
[[nodiscard]] audit_draft draft_of(D const& d, mutation const& m) {
    audit_draft out;
    out.item.kind = audit_kind::merge_decision;
    out.item.stamp = m.stamp;
    out.item.sequence = m.sequence;
    out.item.code = static_cast<std::uint64_t>(d.by);
    out.item.collection = m.record.collection;
    out.item.record = m.record.id;
    std::string field{std::string_view{d.field}};
    if (std::string_view const inside{d.inside}; !inside.empty()) { field.append(".").append(inside); }
    bytes item;
    cbor_writer{item}.unsigned_integer(static_cast<std::uint64_t>(d.why));
    out.add("why", item, audit_visibility::open);
    item.clear();
    cbor_writer{item}.unsigned_integer(static_cast<std::uint64_t>(d.won));
    out.add("won", item, audit_visibility::open);
    item.clear();
    cbor_writer{item}.text(field);
    out.add("field", item, audit_visibility::masked);
    return out;
}

/// What happened to a conflict as an entry: conflict_decision, whose code is the `conflict_event`. Its actor is who
/// decided, at most 255 bytes. Open are the conflict's `id`, `how` it was decided (the number of `resolve_kind`; of
/// what was not decided or decided again it says nothing) and whether that was done without asking (`self`); the paths
/// of its fields are masked; no value is in it. Borrows the note.
template <audited_conflict N>
[[nodiscard]] audit_draft draft_of(N const& n) {
    audit_draft out;
    out.item.kind = audit_kind::conflict_decision;
    out.item.stamp = timestamp::make(n.entry.at);
    out.item.actor = n.entry.by;
    out.item.sequence = n.about.local.sequence;
    out.item.code = static_cast<std::uint64_t>(n.entry.what);
    out.item.collection = n.about.record.collection;
    out.item.record = n.about.record.id;
    bytes item;
    cbor_writer{item}.unsigned_integer(n.about.id);
    out.add("id", item, audit_visibility::open);
    item.clear();
    cbor_writer{item}.unsigned_integer(static_cast<std::uint64_t>(n.entry.how.kind));
    out.add("how", item, audit_visibility::open);
    item.clear();
    cbor_writer{item}.boolean(n.entry.automatic);
    out.add("self", item, audit_visibility::open);
    item.clear();
    cbor_writer w{item};
    w.array(n.about.fields.size());
    for (auto const& f : n.about.fields) {
        w.array(f.path.size());
        for (auto const& part : f.path) { w.text(part); }
    }
    out.add("fields", item, audit_visibility::masked);
    return out;
}

/// The audit of a conflict queue that is an audit log: pass it to the queue's calls, and each change of a conflict is an
/// entry in the transaction of the change, or neither is. Models `conflict_audit`. Holds references; for one transaction.
/// Errors: those of `audit_log::append`; then the queue's call fails with it. Cost: an `append` each.
template <storage_transaction Tx, random_source G, digest_function H = sha256_function>
class audited_conflicts {
public:
    audited_conflicts(audit_log<H> const& log, Tx& tx, G& random, replica_id device = {})
        : log_(log), tx_(tx), random_(random), device_(device) {}

    template <audited_conflict N>
    [[nodiscard]] status operator()(N const& note) {
        audit_draft draft = draft_of(note);
        draft.item.device = device_;
        auto const index = log_.append(tx_, draft.finish(), random_);
        return index ? status{} : status{index.error()};
    }

private:
    audit_log<H> const& log_;
    Tx& tx_;
    G& random_;
    replica_id device_;
};

}  // namespace syncline::inline SYNCLINE_ABI
