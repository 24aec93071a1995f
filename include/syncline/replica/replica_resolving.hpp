// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Conflicts that wait for a decision: listed, decided, dropped.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/core/value.hpp>
#include <syncline/merge/diff.hpp>
#include <syncline/merge/partial.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::conflicts(Tx& tx, function_ref<bool(open_conflict const&)> visit) const {
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

template <class Records, class Journal>
template <storage_transaction Tx>
result<write_receipt> basic_replica<Records, Journal>::resolve(Tx& tx, std::uint64_t token, position seen,
                                                               std::vector<field_resolution> const& decisions,
                                                               instant now, priority urgency) const {
    auto found = find_conflict(tx, token);
    if (!found) { return found.error(); }
    if (found->local.kind == change_kind::group) {
        return failure{errc::invalid, "a group waits for a record that is lost: it can only be dismissed"};
    }
    auto remote = read_confirmed(tx, found->local.record);
    if (!remote) { return remote.error(); }
    if ((*remote ? (*remote)->version : 0) != seen) { return failure{errc::contended, "the remote has changed since"}; }
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
        return std::all_of(decisions.begin(), decisions.end(), [&](field_resolution const& d) { return d.take == c; });
    };
    journal_choice const choice = all(field_resolution::choice::local)    ? journal_choice::local
                                  : all(field_resolution::choice::remote) ? journal_choice::remote
                                                                          : journal_choice::some;
    if (auto ok = end_conflict(tx, *found, timestamp::make(now.wall), choice); !ok) { return ok.error(); }
    return receipt;
}

template <class Records, class Journal>
template <storage_transaction Tx>
status basic_replica<Records, Journal>::dismiss(Tx& tx, std::uint64_t token, journal_choice choice) const {
    auto found = find_conflict(tx, token);
    if (!found) { return found.error(); }
    if (auto ok = tell_undated(tx, journal_event::settled, &found->local, choice); !ok) { return ok; }
    return tx.erase(numbered('c', token));
}

template <class Records, class Journal>
status basic_replica<Records, Journal>::parse_conflict(bytes_view k, bytes_view raw, open_conflict& c) {
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

template <class Records, class Journal>
template <class Tx>
result<open_conflict> basic_replica<Records, Journal>::find_conflict(Tx& tx, std::uint64_t token) const {
    bytes raw;
    auto found = tx.get(numbered('c', token), raw);
    if (!found) { return found.error(); }
    if (!*found) { return failure{errc::not_found, "no such conflict"}; }
    open_conflict c;
    if (auto ok = parse_conflict(numbered('c', token), raw, c); !ok) { return ok.error(); }
    return c;
}

template <class Records, class Journal>
template <class Tx>
status basic_replica<Records, Journal>::end_conflict(Tx& tx, open_conflict const& c, timestamp when,
                                                     journal_choice choice) const {
    journal_note note;
    note.what = journal_event::settled;
    note.stamp = when;
    note.change = &c.local;
    note.choice = choice;
    if (auto ok = tell(tx, note); !ok) { return ok; }
    return tx.erase(numbered('c', c.token));
}

}  // namespace syncline::inline SYNCLINE_ABI
