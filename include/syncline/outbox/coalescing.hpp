// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The algebra by which a later change of a record is absorbed into one that was never claimed, and the hook for it.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include <syncline/core/bytes.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What an entry does to its record.
enum class change_effect : std::uint8_t {
    create,   ///< there was none: all fields
    update,   ///< some fields of what is there
    erase,    ///< it goes
    replace,  ///< all fields, whether there is one or not
};
/// What two changes of one record, one after the other, are together.
enum class change_union : std::uint8_t {
    apart,    ///< two: both are sent
    nothing,  ///< none: the other side never hears of it
    both,     ///< one, of `effect`, with the fields of both, the later ones before the earlier
    later,    ///< one, of `effect`, with the fields of the later alone
};
struct combined_change {
    change_union fields = change_union::apart;
    change_effect effect{};
    friend constexpr bool operator==(combined_change const&, combined_change const&) = default;
};

/// The table. Where the other side is as the earlier writer saw it (a create: there is none), applying the result is
/// applying the two. Where it is not, the two might have had two answers, and the result has one. It holds only while
/// the earlier was never claimed.
///
/// | earlier \ later | create           | update       | erase   | replace                |
/// |-----------------|------------------|--------------|---------|------------------------|
/// | create          | apart            | create, both | nothing | create, fields of later |
/// | update          | apart            | update, both | erase   | replace, fields of later |
/// | erase           | replace, later's | apart        | apart   | replace, fields of later |
/// | replace         | apart            | replace, both | erase  | replace, fields of later |
///
/// Erasing what isn't there has to be no error on the other side: it comes of a replace that was never sent.
/// "Apart" where the later one makes no sense after the earlier: the other side's answer to it isn't ours to guess.
[[nodiscard]] constexpr combined_change combine(change_effect earlier, change_effect later) noexcept {
    using e = change_effect;
    using u = change_union;
    switch (later) {
        case e::create: return earlier == e::erase ? combined_change{u::later, e::replace} : combined_change{};
        case e::update: return earlier == e::erase ? combined_change{} : combined_change{u::both, earlier};
        case e::erase:
            if (earlier == e::create) { return {u::nothing, e::erase}; }
            return earlier == e::erase ? combined_change{} : combined_change{u::later, e::erase};
        case e::replace: return {u::later, earlier == e::create ? e::create : e::replace};
    }
    return {};
}

/// Makes one payload of two: (earlier, later, out), and answers what became of them. `both` and `later` mean that `out`
/// is the payload of both from now on. What stamps, steps or authors the absorbed change had is for it to keep in
/// `out`; where every change is audited one by one it answers `apart`, or carries the absorbed steps along.
using coalescing_policy = function_ref<change_union(bytes_view earlier, bytes_view later, bytes& out)>;

/// What `enqueue_coalesced` did.
struct coalesced_entry {
    std::uint64_t token = 0;  ///< of the entry that carries the change; 0 = none has to
    change_union as = change_union::apart;
    friend constexpr bool operator==(coalesced_entry const&, coalesced_entry const&) = default;
};

/// Puts an item into the last entry of its record if that was never claimed and the policy makes one of them, else
/// behind it. Only entries of the same class, lane and patience, of this record alone, without time to live, which nothing is
/// after and which are after nothing, take part. Errors: as `enqueue` and `amend`.
/// Cost: reads the entries of the record, then as `enqueue`, `amend` or `withdraw`.
template <storage_transaction Tx>
[[nodiscard]] result<coalesced_entry> enqueue_coalesced(outbox const& box, Tx& tx, outbox_item const& item,
                                                        wall_time now, coalescing_policy policy) {
    auto const alone = [&] {
        auto const token = box.enqueue(tx, item, now);
        return token ? result<coalesced_entry>{coalesced_entry{*token, change_union::apart}}
                     : result<coalesced_entry>{token.error()};
    };
    bool const plain = !item.record.empty() && item.more_records.empty() && item.after.empty() &&
                       item.after_items.empty() && !item.time_to_live;
    if (!plain || item.record.size() > outbox_record_bytes_max) { return alone(); }
    std::optional<milliseconds> patience = item.patience;  // as it would be stored
    if (patience) { patience = (std::clamp)(*patience, milliseconds::zero(), box.options().wait_max); }
    std::optional<outbox_entry> last;
    auto const each = [&](outbox_entry const& e) {
        last = e;
        return true;
    };
    if (auto s = box.scan_record(tx, item.record, each); !s) { return s.error(); }
    bool const takes = last && last->fence == 0 && last->urgency == item.urgency && last->lane == item.lane &&
                       last->patience == patience && last->more_records.empty() && equal(last->record, item.record) &&
                       last->dependants == 0 && last->after.empty() && !last->expires;
    if (!takes) { return alone(); }
    bytes out;
    change_union const as = policy(last->payload, item.payload, out);
    switch (as) {
        case change_union::apart: break;
        case change_union::nothing: {
            if (auto s = box.withdraw(tx, last->token); !s) { return s.error(); }
            return coalesced_entry{0, as};
        }
        case change_union::both:
        case change_union::later: {
            if (auto s = box.amend(tx, last->token, out); !s) { return s.error(); }
            return coalesced_entry{last->token, as};
        }
    }
    return alone();
}

}  // namespace syncline::inline SYNCLINE_ABI
