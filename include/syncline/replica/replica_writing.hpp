// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Writes of the host: planned on what is visible, permitted, shown at once and queued, alone or in groups.

#include <algorithm>
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
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/describe.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/core/value.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/merge/diff.hpp>
#include <syncline/merge/partial.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/model/schema.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/constraints.hpp>
#include <syncline/replica/envelope.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/group.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/limits.hpp>
#include <syncline/replica/pending.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/ranges.hpp>
#include <syncline/replica/record_store.hpp>
#include <syncline/replica/relay.hpp>
#include <syncline/replica/scopes.hpp>
#include <syncline/replica/validation.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <storage_transaction Tx>
result<validation> basic_replica<Records, Journal>::check(Tx& tx, record_key const& k, change_kind kind,
                                                          std::vector<field_op> ops, instant now) const {
    std::sort(ops.begin(), ops.end(),
              [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
    auto change = plan(tx, k, kind, std::move(ops), now);
    if (!change) { return change.error(); }
    return permitted(tx, *change);
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<write_receipt> basic_replica<Records, Journal>::create(Tx& tx, record_key const& k, bytes_view fields,
                                                              instant now, priority urgency) const {
    if (auto ok = validate_fields(fields); !ok) { return ok.error(); }
    auto ops = diff({}, fields, rules_.of(k.collection), {});
    if (!ops) { return ops.error(); }
    return write(tx, k, change_kind::create, std::move(*ops), now, urgency);
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<write_receipt> basic_replica<Records, Journal>::put(Tx& tx, record_key const& k, bytes_view fields, instant now,
                                                           priority urgency) const {
    auto current = read_pending(tx, k);
    if (!current) { return current.error(); }
    if (!*current) { return create(tx, k, fields, now, urgency); }
    return put(tx, k, (*current)->fields, fields, now, urgency);
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<write_receipt> basic_replica<Records, Journal>::put(Tx& tx, record_key const& k, bytes_view base,
                                                           bytes_view fields, instant now, priority urgency) const {
    if (auto ok = validate_fields(fields); !ok) { return ok.error(); }
    auto ops = diff(base, fields, rules_.of(k.collection), {});
    if (!ops) { return ops.error(); }
    if (ops->empty()) { return write_receipt{}; }
    return write(tx, k, change_kind::update, std::move(*ops), now, urgency);
}

template <class Records, class Journal>
template <described T, storage_transaction Tx, class F>
result<write_receipt> basic_replica<Records, Journal>::edit(Tx& tx, std::string_view id, F&& change, instant now,
                                                            priority urgency) const {
    auto current = decoded<T>(read_pending(tx, record_key{collection<T>(), id}));
    if (!current) { return current.error(); }
    if (!*current) { return errc::not_found; }
    T edited = **current;
    change(edited);
    return put(tx, id, **current, edited, now, urgency);
}

template <class Records, class Journal>
template <described T, storage_transaction Tx>
result<write_receipt> basic_replica<Records, Journal>::put(Tx& tx, std::string_view id, T const& base, T const& value,
                                                           instant now, priority urgency) const {
    auto before = encode_record(base);
    if (!before) { return before.error(); }
    auto after = encode_record(value);
    if (!after) { return after.error(); }
    return put(tx, record_key{collection<T>(), id}, *before, *after, now, urgency);
}

template <class Records, class Journal>
template <storage_transaction Tx>
result<write_receipt> basic_replica<Records, Journal>::write_group(Tx& tx, record_group const& group, instant now,
                                                                   priority urgency) const {
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

template <class Records, class Journal>
void basic_replica<Records, Journal>::leave_groups(std::vector<row_update> const& rows, position held,
                                                   std::vector<bool>& left) {
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

template <class Records, class Journal>
std::optional<row> basic_replica<Records, Journal>::without_asked(open_conflict& c, author_index me) const {
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

template <class Records, class Journal>
template <class Tx>
auto basic_replica<Records, Journal>::plan(Tx& tx, record_key const& k, change_kind kind, std::vector<field_op> ops,
                                           instant now) const -> result<write_plan> {
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

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::taken(Tx& tx, bytes_view fields, bool deep) const {
    exchange_limits const own = own_limits();
    if (fits(fields, lower_of(own, exchange_floor), deep)) { return {}; }
    auto const told = told_limits(tx);
    return told ? fits(fields, lower_of(own, *told), deep) : status{told.error()};
}

template <class Records, class Journal>
template <class Tx>
result<validation> basic_replica<Records, Journal>::permitted(Tx& tx, write_plan const& w,
                                                              std::span<write_plan const> beside) const {
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

template <class Records, class Journal>
template <class Tx>
result<write_receipt> basic_replica<Records, Journal>::write(Tx& tx, std::span<write_plan> plans, instant now,
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

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::note_needs(Tx& tx, write_plan& w) const {
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

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::shows(Tx& tx, carried_envelope const& c, carried_part const& part,
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

template <class Records, class Journal>
template <class Tx>
result<bool> basic_replica<Records, Journal>::in_vain(Tx& tx, carried_envelope const& c,
                                                      opened_envelope const& e) const {
    if (!c.vague || e.change.parts.size() <= c.parts.size()) { return false; }
    return wanted_.empty(tx);
}

template <class Records, class Journal>
template <class Tx>
result<write_receipt> basic_replica<Records, Journal>::enqueue_group(Tx& tx, std::span<write_plan> plans, instant now,
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
        if (w.p.after != 0) { return failure{errc::contended, "what waits on a strong record goes before a group"}; }
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

template <class Records, class Journal>
template <class Tx>
result<write_receipt> basic_replica<Records, Journal>::enqueue(Tx& tx, bytes const& name, pending& p,
                                                               sync_state const& sync, instant now,
                                                               priority urgency) const {
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

}  // namespace syncline::inline SYNCLINE_ABI
