// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `mutation_history`: mutations as replayable events with what came of them; states of the past, and undo.
/// Kept apart from the audit log, with a retention of its own.

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How a history is kept.
struct history_options {
    std::uint32_t snapshot_every = 64;  ///< events of a record between two of its states that are kept whole; > 0
    friend constexpr bool operator==(history_options const&, history_options const&) = default;
};
[[nodiscard]] constexpr bool valid(history_options const& o) noexcept { return o.snapshot_every > 0; }

/// A field that an event touched: its encoded value before and after; nothing: it wasn't there.
struct field_effect {
    std::string field;
    std::optional<bytes> before{};
    std::optional<bytes> after{};
    friend bool operator==(field_effect const&, field_effect const&) = default;
};

/// What somebody asked for, and what came of it here.
struct history_event {
    std::uint64_t position = 0;  ///< in this history: 1, 2, 3, …
    replica_id author{};
    mutation change{};
    bool lived = false;                   ///< whether the record was there before
    bool lives = false;                   ///< … and after
    std::vector<field_effect> effects{};  ///< in canonical key order
    friend bool operator==(history_event const&, history_event const&) = default;
};

/// Up to where events count: in the order in which they happened here, and by their stamps. Both hold.
struct history_bound {
    std::uint64_t position = (std::numeric_limits<std::uint64_t>::max)();
    timestamp stamp{(std::numeric_limits<std::uint64_t>::max)()};
};

/// A later event that touched what is to be undone.
struct undo_conflict {
    std::string field;  ///< empty: the whole record
    std::uint64_t position = 0;
    replica_id author{};
    timestamp stamp{};
    std::vector<field_op> ops{};  ///< what would undo it in spite of that
    friend bool operator==(undo_conflict const&, undo_conflict const&) = default;
};

/// What undoes an event, as the operations of a new mutation of its record; apply it as any other.
struct undo_plan {
    record_key record{};
    change_kind kind = change_kind::update;
    std::vector<field_op> ops{};             ///< what nobody has touched since; in canonical key order
    std::vector<undo_conflict> conflicts{};  ///< what somebody has: a person decides
    [[nodiscard]] bool clean() const noexcept { return conflicts.empty(); }
};

/// Appends an event: an array of format, author, lives, mutation, effects. The position is the key's.
inline void encode_event(cbor_writer& out, history_event const& e) {
    auto const item = [&](std::optional<bytes> const& v) {
        if (v) {
            out.byte_string(*v);
        } else {
            out.null();
        }
    };
    out.array(5);
    out.unsigned_integer(1);
    out.byte_string(to_array(e.author));
    out.unsigned_integer((e.lived ? 1U : 0U) + (e.lives ? 2U : 0U));
    encode_mutation(out, e.change);
    out.array(3 * e.effects.size());
    for (field_effect const& f : e.effects) {
        out.text(f.field);
        item(f.before);
        item(f.after);
    }
}
/// Reads what `encode_event` wrote, of a stranger too. On anything else the reader has failed.
[[nodiscard]] inline history_event decode_event(cbor_reader& in) {
    history_event e;
    auto const item = [&]() -> std::optional<bytes> {
        if (in.null()) { return std::nullopt; }
        bytes_view const b = in.byte_string();
        if (!in.failed() && !validate_canonical(b)) { in.fail({errc::malformed, "value of an event"}); }
        return to_bytes(b);
    };
    if (in.array() != 5) { in.fail({errc::malformed, "event of the wrong length"}); }
    if (std::uint64_t const format = in.unsigned_integer(); !in.failed() && format != 1) {
        in.fail({errc::unsupported, "format of an event"});
    }
    auto const author = replica_id_from(in.byte_string());
    if (!in.failed() && !author) { in.fail(author.error()); }
    if (author) { e.author = *author; }
    std::uint64_t const lives = in.unsigned_integer();
    if (lives > 3) { in.fail({errc::malformed, "lives of an event"}); }
    e.lived = (lives & 1U) != 0;
    e.lives = (lives & 2U) != 0;
    e.change = decode_mutation(in);
    std::size_t const n = in.array();
    if (n % 3 != 0) { in.fail({errc::malformed, "effects of an event"}); }
    for (std::size_t i = 0; i < n / 3 && !in.failed(); ++i) {
        field_effect f{std::string{in.text()}, item(), {}};
        f.after = item();
        bool const named = !f.field.empty() && f.field.size() <= field_name_bytes_max;
        bool const ordered = e.effects.empty() || compare_keys(e.effects.back().field, f.field) < 0;
        if (!in.failed() && (!named || !ordered)) { in.fail({errc::malformed, "effect of an event"}); }
        e.effects.push_back(std::move(f));
    }
    return e;
}

/// What a mutation did: the fields that differ between two states, and those that it named although they are equal (as
/// of a stamp before another's change they were not). Each state is canonical fields, or nothing where no record was.
[[nodiscard]] inline std::vector<field_effect> effects_of(mutation const& change, std::optional<bytes_view> before,
                                                          std::optional<bytes_view> after) {
    std::vector<field_effect> out;
    cbor_map_cursor was{before ? *before : bytes_view{}};
    cbor_map_cursor is{after ? *after : bytes_view{}};
    bool more_was = before && !before->empty() && was.next();
    bool more_is = after && !after->empty() && is.next();
    auto op = change.ops.begin();
    while (more_was || more_is || op != change.ops.end()) {
        std::string_view field;
        bool any = false;
        auto const least = [&](std::string_view name) {
            if (!any || compare_keys(name, field) < 0) { field = name; }
            any = true;
        };
        if (more_was) { least(was.key()); }
        if (more_is) { least(is.key()); }
        if (op != change.ops.end()) { least(op->field); }
        field_effect e{std::string{field}, {}, {}};
        bool const named = op != change.ops.end() && op->field == e.field;
        if (more_was && was.key() == e.field) {
            e.before = to_bytes(was.value());
            more_was = was.next();
        }
        if (more_is && is.key() == e.field) {
            e.after = to_bytes(is.value());
            more_is = is.next();
        }
        if (named) { ++op; }
        if (named || e.before != e.after) { out.push_back(std::move(e)); }
    }
    return out;
}

namespace detail {

/// A map whose keys are asked for in its own order. A view of none is none.
class map_in_order {
public:
    explicit map_in_order(bytes_view map) : at_(map), more_(!map.empty() && at_.next()) {}
    [[nodiscard]] bool more() const noexcept { return more_; }
    [[nodiscard]] std::string_view key() const noexcept { return at_.key(); }
    /// The value of a key, which is passed; nothing where there is none.
    [[nodiscard]] std::optional<bytes_view> take(std::string_view key) {
        while (more_ && compare_keys(at_.key(), key) < 0) { more_ = at_.next(); }
        if (!more_ || at_.key() != key) { return std::nullopt; }
        bytes_view const value = at_.value();
        more_ = at_.next();
        return value;
    }

private:
    cbor_map_cursor at_;
    bool more_;
};
/// What a counter, a set or a map becomes of `now` by what turned the effect's value before into the one after: the sum,
/// items added and removed, keys changed. Where there is no such thing it is the value after. `op` may be null.
[[nodiscard]] inline std::optional<bytes> redone(syncline::field_effect const& f, field_op const* op,
                                                 std::optional<bytes_view> now) {
    if (!f.after) { return f.after; }
    // A sum that falls below nothing is of the same type still.
    auto const type_of_item = [](bytes_view item) {
        cbor_type const t = cbor_reader{item}.peek();
        return t == cbor_type::negative_integer ? cbor_type::unsigned_integer : t;
    };
    cbor_type const type = type_of_item(*f.after);
    auto const alike = [&](bytes_view item) { return type_of_item(item) == type; };
    if ((f.before && !alike(*f.before)) || (now && !alike(*now))) { return f.after; }
    bytes out;
    cbor_writer w{out};
    if (type == cbor_type::array) {
        auto const items_of = [](std::optional<bytes_view> array) {
            std::vector<bytes_view> items;
            if (!array) { return items; }
            cbor_reader in{*array};
            for (std::size_t n = in.array(); n != 0 && !in.failed(); --n) { items.push_back(in.skip()); }
            return items;
        };
        auto const sorted = [](std::vector<bytes_view> items) {
            std::sort(items.begin(), items.end(), [](bytes_view a, bytes_view b) { return compare(a, b) < 0; });
            return items;
        };
        auto const holds = [](std::vector<bytes_view> const& items, bytes_view item) {
            return std::binary_search(items.begin(), items.end(), item,
                                      [](bytes_view a, bytes_view b) { return compare(a, b) < 0; });
        };
        auto const is = items_of(now);
        auto const after = items_of(bytes_view{*f.after});
        auto const was = sorted(items_of(f.before ? std::optional{bytes_view{*f.before}} : std::nullopt));
        auto const left = sorted(after);
        auto const there = sorted(is);
        std::vector<bytes_view> items;
        for (bytes_view const i : is) {
            if (!holds(was, i) || holds(left, i)) { items.push_back(i); }
        }
        // What it added is an addition too where what is left out had added the same.
        std::vector<bytes_view> added;
        if (op != nullptr && op->kind == op_kind::elements) {
            cbor_reader in{op->value};
            for (std::size_t n = in.array(); n != 0 && !in.failed(); --n) {
                cbor_reader edit{in.skip()};
                if (edit.array() == 2 && edit.unsigned_integer() == 1) { added.push_back(edit.skip()); }
            }
        }
        added = sorted(std::move(added));
        for (bytes_view const i : after) {
            if ((!holds(was, i) || holds(added, i)) && !holds(there, i)) { items.push_back(i); }
        }
        w.array(items.size());
        for (bytes_view const i : items) { w.raw(i); }
        return out;
    }
    if (type == cbor_type::map && now) {
        // One with other keys than texts is a value.
        if (!(text_keyed(*f.after) && text_keyed(*now) && (!f.before || text_keyed(*f.before)))) { return f.after; }
        map_in_order was{f.before ? bytes_view{*f.before} : bytes_view{}};
        map_in_order is{*now};
        map_in_order made{*f.after};
        // What was done inside: a number that was set there is no addition.
        std::vector<field_op> inside;
        if (op != nullptr && op->kind == op_kind::nested) {
            cbor_reader in{op->value};
            inside = decode_operations(in, op->stamp);
            if (!in.finish()) { inside.clear(); }
        }
        auto done = inside.begin();
        std::vector<std::pair<std::string_view, bytes>> pairs;
        auto const copy = [](std::optional<bytes_view> item) {
            return item ? std::optional<bytes>{to_bytes(*item)} : std::nullopt;
        };
        while (is.more() || made.more()) {
            std::string_view const k =
                !made.more() || (is.more() && compare_keys(is.key(), made.key()) < 0) ? is.key() : made.key();
            syncline::field_effect inner{std::string{k}, copy(was.take(k)), copy(made.take(k))};
            auto const held = is.take(k);
            while (done != inside.end() && compare_keys(done->field, k) < 0) { ++done; }
            field_op const* const here = done != inside.end() && done->field == k ? &*done : nullptr;
            bool const whole = here != nullptr && (here->kind == op_kind::set || here->kind == op_kind::unset);
            auto value = inner.before == inner.after ? copy(held) : whole ? inner.after : redone(inner, here, held);
            if (value) { pairs.emplace_back(k, std::move(*value)); }
        }
        w.map(pairs.size());
        for (auto const& [k, value] : pairs) {
            w.text(k);
            w.raw(value);
        }
        return out;
    }
    auto const number = [](std::optional<bytes_view> item) -> std::optional<std::int64_t> {
        if (!item) { return 0; }
        cbor_reader in{*item};
        std::int64_t const n = in.integer();
        return in.finish() ? std::optional{n} : std::nullopt;
    };
    auto const before = number(f.before ? std::optional{bytes_view{*f.before}} : std::nullopt);
    auto const after = number(bytes_view{*f.after});
    auto const is = number(now);
    auto const by = before && after ? checked_subtract(*after, *before) : std::nullopt;
    auto const sum = by && is ? checked_add(*is, *by) : std::nullopt;
    if (!sum) { return f.after; }
    w.integer(*sum);
    return out;
}

}  // namespace detail

/// Called with each event of a scan. False stops it.
using event_visitor = function_ref<bool(history_event const& event)>;
/// Called with each record of a state of the past. False stops it.
using past_visitor = function_ref<bool(record_key const& record, bytes_view fields)>;

/// The past of records, in the caller's transaction. Holds its prefix and options and nothing else.
///
/// It knows what it was told: tell it of every change of the visible record, also of those that were pulled, and of
/// what is there when it begins (a `create` with the fields). After an error of the storage or `errc::corrupt` in a
/// call that writes, roll the transaction back.
class mutation_history {
public:
    /// Precondition: valid(options); the prefix has 1 to 64 bytes and belongs to nothing else.
    explicit mutation_history(history_options options = {}, std::string_view prefix = "h")
        : options_(options), prefix_(prefix) {
        SYNCLINE_ASSERT(valid(options));
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }

    /// Tells of a change; its position. `before` and `after`: the record's canonical fields; nothing: it wasn't there.
    ///
    /// Of a group each part is told by itself. Errors: `errc::invalid` for a record key out of range, fields that are no
    /// canonical map, a mutation that could not be read back (a group, an erase with operations, operations out of order,
    /// values that aren't canonical); nothing was written.
    /// Cost: two gets, four puts; each `snapshot_every` events of the record one more, and a scan of those events.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::uint64_t> record(Tx& tx, replica_id const& author, mutation const& change,
                                               std::optional<bytes_view> before,
                                               std::optional<bytes_view> after) const {
        for (auto const& fields : {before, after}) {
            if (fields && !validate_fields(*fields)) { return failure{errc::invalid, "fields of a record"}; }
        }
        if (!valid(change.record)) { return failure{errc::invalid, "record key"}; }
        if (change.kind == change_kind::group) { return failure{errc::invalid, "a group of several records"}; }
        auto s = load(tx);
        if (!s) { return s.error(); }
        bytes const record = record_part(change.record);
        auto r = load_record(tx, record);
        if (!r) { return r.error(); }
        history_event e{
            ++s->last, author, change, before.has_value(), after.has_value(), effects_of(change, before, after)};
        bytes value;
        cbor_writer w{value};
        encode_event(w, e);
        cbor_reader again{value};  // what can't be read back would hide the record's whole past
        if (bool const same = decode_event(again).change == change; !again.finish() || !same) {
            return failure{errc::invalid, "a mutation that can not be read back"};
        }
        if (auto const ok = tx.put(event_key(record, e.position), value); !ok) { return ok.error(); }
        if (auto const ok = tx.put(order_key(e.position), record); !ok) { return ok.error(); }
        record_row row = *r ? **r : record_row{};
        row.stamp_max = (std::max)(row.stamp_max, change.stamp);
        if (++row.since == options_.snapshot_every) {
            row.since = 0;
            auto here = replayed(tx, record, {.position = e.position});
            bool const damaged = !here && (here.error() == errc::corrupt || here.error() == errc::unsupported);
            if (!here && !damaged) { return here.error(); }
            // What it was made of may be redacted, or damaged, for which no write fails: as far as that goes it was all
            // written by now.
            replay known = here ? std::move(*here) : replay{};
            if ((damaged || known.is == presence::unknown) && after) { known.note_all(*after, row.stamp_max); }
            snapshot const whole{e.position, row.stamp_max, after ? presence::there : presence::absent,
                                 after ? to_bytes(*after) : bytes{}, std::move(known.written)};
            if (auto const ok = put_snapshot(tx, record, whole); !ok) { return ok.error(); }
        }
        if (auto const ok = store_record(tx, record, row); !ok) { return ok.error(); }
        if (auto const ok = store(tx, *s); !ok) { return ok.error(); }
        return e.position;
    }

    /// Positions that are here: [first, last]; first is last + 1 when there are none.
    struct extent_type {
        std::uint64_t first = 1;
        std::uint64_t last = 0;
        timestamp forgotten{};  ///< the greatest stamp of what was forgotten: as of an earlier one nothing can be said
        friend bool operator==(extent_type const&, extent_type const&) = default;
    };
    template <storage_transaction Tx>
    [[nodiscard]] result<extent_type> extent(Tx& tx) const {
        auto const s = load(tx);
        if (!s) { return s.error(); }
        return extent_type{s->first, s->last, s->forgotten};
    }

    /// One event; nothing when it was forgotten or redacted, or is not there yet. Cost: two gets.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<history_event>> find(Tx& tx, std::uint64_t at) const {
        bytes record;
        auto const found = tx.get(order_key(at), record);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<history_event>{}; }
        auto e = load_event(tx, record, at);
        if (!e) { return e.error(); }
        return std::optional<history_event>{std::move(*e)};
    }
    /// Events of [first, last] in the order in which they happened. Cost: a get an event.
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, std::uint64_t first, std::uint64_t last, event_visitor visit) const {
        status failed;
        auto const row = [&](bytes_view key, bytes_view record) {
            auto const e = load_event(tx, record, read_u64(key.last(8)));
            if (!e) {
                failed = e.error();
                return false;
            }
            return visit(*e);
        };
        if (first > last) { return {}; }
        bytes end = order_key(last);
        end.push_back(std::byte{});
        if (auto const ok = tx.scan({order_key(first), end}, row); !ok) { return ok; }
        return failed;
    }
    /// The events of one record in order.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_record(Tx& tx, record_key const& record, event_visitor visit) const {
        if (!valid(record)) { return failure{errc::invalid, "record key"}; }
        return events_of(tx, record_part(record), 1, (std::numeric_limits<std::uint64_t>::max)(), visit);
    }

    // ---- The past -----------------------------------------------------------------------------------------------

    /// A record as it was: its fields, or nothing where it was not there. By stamp: what events with a stamp up to that
    /// one made of it, in the order in which they came; one that came late counts.
    ///
    /// Where one that is left out had changed a field before, what came after it is done once more without it: an addition
    /// is added, a value is set unless a later one stands there, of a set and of a map what was added, removed and changed
    /// is, and a text is what its writer had made of what they saw. So nothing of a later stamp is in it; of two edits
    /// of one text the last that came is.
    /// Errors: `errc::not_found` for a time that was forgotten, or of which a part was redacted; `errc::corrupt`.
    /// Cost: a scan from the last whole state before: at most `snapshot_every` events; where stamps came out of order up to
    /// all events of the record.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<bytes>> as_of(Tx& tx, record_key const& record, history_bound bound) const {
        if (!valid(record)) { return failure{errc::invalid, "record key"}; }
        auto const s = load(tx);
        if (!s) { return s.error(); }
        if (auto const ok = reaches(*s, bound); !ok) { return ok.error(); }
        return state_of(tx, record_part(record), bound);
    }
    /// All records of a collection as they were, in the order of key lengths and keys; those that were not there are
    /// left out. An empty collection: all collections. Errors as of `as_of`.
    template <storage_transaction Tx>
    [[nodiscard]] status as_of(Tx& tx, std::string_view collection, history_bound bound, past_visitor visit) const {
        auto const s = load(tx);
        if (!s) { return s.error(); }
        if (auto const ok = reaches(*s, bound); !ok) { return ok; }
        bytes from = key_of('r', {});
        if (!collection.empty()) {
            if (collection.size() > collection_bytes_max) { return failure{errc::invalid, "collection"}; }
            from.push_back(static_cast<std::byte>(collection.size()));
            append(from, as_bytes(collection));
        }
        status failed;
        auto const row = [&](bytes_view key, bytes_view) {
            bytes_view const record = key.subspan(prefix_.size() + 1);
            auto const k = record_of_part(record);
            auto const fields = k ? state_of(tx, record, bound) : result<std::optional<bytes>>{k.error()};
            if (!fields) {
                failed = fields.error();
                return false;
            }
            return !*fields || visit(*k, **fields);
        };
        if (auto const ok = scan_prefix(tx, from, row); !ok) { return ok; }
        return failed;
    }

    // ---- Undo ---------------------------------------------------------------------------------------------------

    /// What undoes an event: its inverse on each field that nobody touched since; the rest as conflicts with who did.
    /// A counter's change is undone by its opposite, which others' changes of the counter don't disturb. To redo, undo
    /// the event of the undoing.
    ///
    /// `stamp` is given to the operations. Errors: `errc::not_found` for an event that isn't here, `errc::overflow` for
    /// a counter's change without an opposite, `errc::corrupt`. Cost: a scan of the record's later events.
    template <storage_transaction Tx>
    [[nodiscard]] result<undo_plan> undo(Tx& tx, std::uint64_t at, timestamp stamp) const {
        auto const found = find(tx, at);
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::not_found, "event of the history"}; }
        history_event const& e = **found;
        std::vector<later_touch> touched;
        auto const later = [&](history_event const& l) {
            note_touches(touched, l);
            return true;
        };
        bytes const record = record_part(e.change.record);
        if (at != (std::numeric_limits<std::uint64_t>::max)()) {
            if (auto const ok = events_of(tx, record, at + 1, (std::numeric_limits<std::uint64_t>::max)(), later);
                !ok) {
                return ok.error();
            }
        }
        return plan(e, touched, stamp);
    }

    /// What brings a record back to what it was: the operations of a new mutation on what it is now (`current`: its
    /// canonical fields, or nothing where it isn't there). Fields are set, counters too. Nothing to do: an update without
    /// operations. For a collection or a replica, `as_of` says which records there were.
    ///
    /// Errors: as of `as_of`; `errc::invalid` for fields that are no canonical map.
    template <storage_transaction Tx>
    [[nodiscard]] result<undo_plan> recover(Tx& tx, record_key const& record, history_bound bound,
                                            std::optional<bytes_view> current, timestamp stamp) const {
        if (current && !validate_fields(*current)) { return failure{errc::invalid, "fields of a record"}; }
        auto const then = as_of(tx, record, bound);
        if (!then) { return then.error(); }
        undo_plan out;
        out.record = record;
        if (!*then) {
            if (current) { out.kind = change_kind::erase; }
            return out;
        }
        if (!current) { out.kind = change_kind::create; }
        for (field_effect const& f : effects_of({}, current, bytes_view{**then})) {
            out.ops.push_back(set_to(f.field, f.after, stamp));
        }
        return out;
    }

    // ---- Retention ----------------------------------------------------------------------------------------------

    /// Forgets the oldest events up to a position, at most `most`; how many. What they made of their records is kept as
    /// the state from which the later ones go on. Cost: an event: three gets, a scan, up to two puts and four erases.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::uint64_t> forget(Tx& tx, std::uint64_t through, std::uint64_t most) const {
        auto s = load(tx);
        if (!s) { return s.error(); }
        std::uint64_t n = 0;
        for (; s->first <= through && s->first <= s->last && n < most; ++n) {
            if (auto const ok = forget_one(tx, *s); !ok) { return ok.error(); }
            ++s->first;
        }
        if (n != 0) {
            if (auto const ok = store(tx, *s); !ok) { return ok.error(); }
        }
        return n;
    }
    /// Destroys all that is known of a record, its id too; how many events. It is as if it had never been; if it lives
    /// on, its past is `errc::not_found` from its next event on, until it is created anew. Secure deletion below the
    /// storage is the storage's. Cost: a scan, and two erases an event.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::uint64_t> redact(Tx& tx, record_key const& record) const {
        if (!valid(record)) { return failure{errc::invalid, "record key"}; }
        bytes const part = record_part(record);
        std::vector<bytes> keys;
        std::uint64_t events = 0;
        auto const event = [&](bytes_view key, bytes_view) {
            keys.push_back(to_bytes(key));
            keys.push_back(order_key(read_u64(key.last(8))));
            ++events;
            return true;
        };
        auto const whole = [&](bytes_view key, bytes_view) {
            keys.push_back(to_bytes(key));
            return true;
        };
        if (auto const ok = scan_prefix(tx, key_of('e', part), event); !ok) { return ok.error(); }
        if (auto const ok = scan_prefix(tx, key_of('s', part), whole); !ok) { return ok.error(); }
        for (bytes const& k : keys) {
            if (auto const ok = tx.erase(k); !ok) { return ok.error(); }
        }
        if (auto const ok = tx.erase(key_of('r', part)); !ok) { return ok.error(); }
        return events;
    }

private:
    enum class presence : std::uint8_t { absent = 0, there = 1, unknown = 2 };

    struct state {
        std::uint64_t last = 0;
        std::uint64_t first = 1;
        timestamp forgotten{};
    };
    struct record_row {
        std::uint32_t since = 0;  ///< events since the last snapshot
        timestamp stamp_max{};
    };
    using field_marks = std::vector<std::pair<std::string, timestamp>>;  ///< in the order of names' bytes
    struct snapshot {
        std::uint64_t position = 0;
        timestamp stamp_max{};
        presence is = presence::absent;
        bytes fields{};
        field_marks written{};  ///< fields, those that are gone too, and when the word was said that stands
    };
    struct later_touch {
        std::string field;  ///< empty: the whole record
        bool only_added = false;
        std::uint64_t position = 0;
        replica_id author{};
        timestamp stamp{};
    };

    // ---- Keys and rows ------------------------------------------------------------------------------------------

    /// Length and bytes of the collection, length and bytes of the id: no record's begins with another's.
    [[nodiscard]] static bytes record_part(record_key const& k) {
        bytes out;
        out.reserve(2 + k.collection.size() + k.id.size());
        out.push_back(static_cast<std::byte>(k.collection.size()));
        append(out, as_bytes(k.collection));
        out.push_back(static_cast<std::byte>(k.id.size()));
        append(out, k.id);
        return out;
    }
    [[nodiscard]] static result<record_key> record_of_part(bytes_view b) {
        failure const damaged{errc::corrupt, "record of the history"};
        if (b.empty()) { return damaged; }
        auto const n = std::to_integer<std::size_t>(b[0]);
        if (b.size() < n + 2) { return damaged; }
        auto const m = std::to_integer<std::size_t>(b[n + 1]);
        if (b.size() != n + m + 2) { return damaged; }
        record_key k{as_text(b.subspan(1, n)), b.subspan(n + 2)};
        if (!valid(k)) { return damaged; }
        return k;
    }
    [[nodiscard]] bytes key_of(char space, bytes_view rest) const {
        bytes out;
        out.reserve(prefix_.size() + 9 + rest.size());
        append(out, as_bytes(prefix_));
        out.push_back(static_cast<std::byte>(space));
        append(out, rest);
        return out;
    }
    [[nodiscard]] bytes event_key(bytes_view record, std::uint64_t at) const {
        bytes out = key_of('e', record);
        append_u64(out, at);
        return out;
    }
    [[nodiscard]] bytes order_key(std::uint64_t at) const {
        bytes out = key_of('p', {});
        append_u64(out, at);
        return out;
    }
    /// The latest first.
    [[nodiscard]] bytes snapshot_key(bytes_view record, std::uint64_t at) const {
        bytes out = key_of('s', record);
        append_u64(out, ~at);
        return out;
    }

    template <storage_transaction Tx>
    [[nodiscard]] result<state> load(Tx& tx) const {
        bytes value;
        auto const found = tx.get(key_of('c', {}), value);
        if (!found) { return found.error(); }
        if (!*found) { return state{}; }
        bytes_view const in{value};
        if (in.size() != 25 || in[0] != std::byte{1}) { return failure{errc::corrupt, "state of the history"}; }
        state s{read_u64(in.subspan(1)), read_u64(in.subspan(9)), timestamp{read_u64(in.subspan(17))}};
        if (s.first == 0 || s.first - 1 > s.last) { return failure{errc::corrupt, "state of the history"}; }
        return s;
    }
    template <storage_transaction Tx>
    [[nodiscard]] status store(Tx& tx, state const& s) const {
        bytes value{std::byte{1}};
        append_u64(value, s.last);
        append_u64(value, s.first);
        append_u64(value, s.forgotten.raw);
        return tx.put(key_of('c', {}), value);
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<record_row>> load_record(Tx& tx, bytes_view record) const {
        bytes value;
        auto const found = tx.get(key_of('r', record), value);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<record_row>{}; }
        cbor_reader in{value};
        record_row r;
        if (in.array() != 2) { in.fail({errc::corrupt}); }
        std::uint64_t const since = in.unsigned_integer();
        r.since = static_cast<std::uint32_t>(since);
        r.stamp_max = timestamp{in.unsigned_integer()};
        if (!in.finish() || r.since != since) { return failure{errc::corrupt, "record of the history"}; }
        return std::optional<record_row>{r};
    }
    template <storage_transaction Tx>
    [[nodiscard]] status store_record(Tx& tx, bytes_view record, record_row const& r) const {
        bytes value;
        cbor_writer w{value};
        w.array(2);
        w.unsigned_integer(r.since);
        w.unsigned_integer(r.stamp_max.raw);
        return tx.put(key_of('r', record), value);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status put_snapshot(Tx& tx, bytes_view record, snapshot const& s) const {
        bytes value;
        cbor_writer w{value};
        w.array(4);
        w.unsigned_integer(s.stamp_max.raw);
        w.unsigned_integer(static_cast<std::uint64_t>(s.is));
        w.byte_string(s.fields);
        w.array(2 * s.written.size());
        for (auto const& [field, stamp] : s.written) {
            w.text(field);
            w.unsigned_integer(stamp.raw);
        }
        return tx.put(snapshot_key(record, s.position), value);
    }
    [[nodiscard]] static result<snapshot> snapshot_from(bytes_view key, bytes_view value) {
        snapshot s;
        s.position = ~read_u64(key.last(8));
        cbor_reader in{value};
        if (in.array() != 4) { in.fail({errc::corrupt}); }
        s.stamp_max = timestamp{in.unsigned_integer()};
        std::uint64_t const is = in.unsigned_integer();
        s.is = static_cast<presence>(is);
        s.fields = to_bytes(in.byte_string());
        std::size_t const n = in.array();
        bool ordered = n % 2 == 0;
        for (std::size_t i = 0; i < n / 2 && !in.failed(); ++i) {
            std::string name{in.text()};
            ordered = ordered && (s.written.empty() || s.written.back().first < name);
            s.written.emplace_back(std::move(name), timestamp{in.unsigned_integer()});
        }
        bool const sound = in.finish() && ordered && is <= 2 && (s.is == presence::there) == !s.fields.empty();
        if (!sound || (!s.fields.empty() && !validate_fields(s.fields))) {
            return failure{errc::corrupt, "snapshot of the history"};
        }
        return s;
    }
    [[nodiscard]] static result<history_event> event_from(bytes_view key, bytes_view value) {
        cbor_reader in{value};
        history_event e = decode_event(in);
        if (auto const ok = in.finish(); !ok) {
            return ok.error().code == errc::unsupported ? ok.error() : failure{errc::corrupt, "event of the history"};
        }
        e.position = read_u64(key.last(8));
        return e;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<history_event> load_event(Tx& tx, bytes_view record, std::uint64_t at) const {
        bytes value;
        bytes const key = event_key(record, at);
        auto const found = key.size() <= key_bytes_max ? tx.get(key, value) : result<bool>{false};
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::corrupt, "event of the history"}; }
        return event_from(key, value);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status events_of(Tx& tx, bytes_view record, std::uint64_t first, std::uint64_t last,
                                   event_visitor visit) const {
        status failed;
        auto const row = [&](bytes_view key, bytes_view value) {
            auto const e = event_from(key, value);
            if (!e) {
                failed = e.error();
                return false;
            }
            return visit(*e);
        };
        if (first > last) { return {}; }
        bytes end = event_key(record, last);
        end.push_back(std::byte{});
        if (auto const ok = tx.scan({event_key(record, first), end}, row); !ok) { return ok; }
        return failed;
    }

    // ---- States -------------------------------------------------------------------------------------------------

    [[nodiscard]] static status reaches(state const& s, history_bound const& bound) {
        bool const known = bound.position + 1 >= s.first || bound.position + 1 == 0;
        if (!known || bound.stamp < s.forgotten) { return failure{errc::not_found, "forgotten by the history"}; }
        return {};
    }
    /// Field by field, in canonical key order.
    struct fields_map {
        std::vector<std::pair<std::string, bytes>> all;

        void put(std::string_view field, std::optional<bytes> const& value) {
            auto const at = std::lower_bound(all.begin(), all.end(), field, [](auto const& a, std::string_view b) {
                return compare_keys(a.first, b) < 0;
            });
            bool const there = at != all.end() && at->first == field;
            if (there && value) {
                at->second = *value;
            } else if (there) {
                all.erase(at);
            } else if (value) {
                all.insert(at, {std::string{field}, *value});
            }
        }
        [[nodiscard]] std::optional<bytes_view> get(std::string_view field) const {
            auto const at = std::lower_bound(all.begin(), all.end(), field, [](auto const& a, std::string_view b) {
                return compare_keys(a.first, b) < 0;
            });
            if (at == all.end() || at->first != field) { return std::nullopt; }
            return bytes_view{at->second};
        }
        [[nodiscard]] bytes encode() const {
            bytes out;
            cbor_writer w{out};
            w.map(all.size());
            for (auto const& [field, value] : all) {
                w.text(field);
                w.raw(value);
            }
            return out;
        }
        [[nodiscard]] static fields_map of(bytes_view encoded) {
            fields_map m;
            if (encoded.empty()) { return m; }
            cbor_map_cursor in{encoded};
            while (in.next()) { m.all.push_back({std::string{in.key()}, to_bytes(in.value())}); }
            return m;
        }
    };
    /// A state that events are applied to.
    struct replay {
        presence is = presence::absent;
        fields_map fields{};
        bool complete = true;  ///< no event was left out because of its stamp
        field_marks written{};

        void begin(snapshot s) {
            is = s.is;
            fields = fields_map::of(s.fields);
            written = std::move(s.written);
        }
        /// Whatever is in a record that has no mark gets one.
        void note_all(bytes_view record, timestamp stamp) {
            for (auto const& [field, value] : fields_map::of(record).all) {
                auto const at = place_of(field);
                if (at == written.end() || at->first != field) { written.insert(at, {field, stamp}); }
            }
        }
        /// An event that is left out.
        void pass(history_event const& e) {
            complete = false;
            all_touched = all_touched || e.lived != e.lives;
            for (field_effect const& f : e.effects) {
                auto const at = std::lower_bound(touched.begin(), touched.end(), f.field);
                if (at == touched.end() || *at != f.field) { touched.insert(at, f.field); }
            }
        }
        void apply(history_event const& e) {
            // Whether it found the record is as things stood with what is left out.
            bool const lived = complete ? e.lived : e.lived || is == presence::there;
            bool const lives = complete ? e.lives : e.lives || (lived && e.change.kind == change_kind::update);
            if (!lived && !lives) { return; }  // it did nothing
            if (!lives) {
                is = presence::absent;
                fields.all.clear();
                return;
            }
            if (!lived) {
                is = presence::there;
                fields.all.clear();
            } else if (is != presence::there) {
                if (complete) { is = presence::unknown; }  // what it was made of was redacted
                return;
            }
            auto op = e.change.ops.begin();
            for (field_effect const& f : e.effects) {
                while (op != e.change.ops.end() && compare_keys(op->field, f.field) < 0) { ++op; }
                bool const named = op != e.change.ops.end() && op->field == f.field;
                put(f, named ? &*op : nullptr, e.change.stamp);
            }
        }

    private:
        std::vector<std::string> touched{};  ///< fields that were changed by what is left out, sorted
        bool all_touched = false;

        void put(field_effect const& f, field_op const* op, timestamp stamp) {
            if (complete || op == nullptr ||
                !(all_touched || std::binary_search(touched.begin(), touched.end(), f.field))) {
                // Also one who writes what is there already, or takes away what is not: a later word for it.
                bool const says = op != nullptr && (op->kind == op_kind::set     ? f.after && *f.after == op->value
                                                    : op->kind == op_kind::unset ? !f.after
                                                                                 : false);
                if (says || f.before != f.after) { note(f.field, op != nullptr ? op->stamp : stamp); }
                return fields.put(f.field, f.after);
            }
            switch (op->kind) {
                case op_kind::set:
                case op_kind::unset: {
                    auto const at = place_of(f.field);
                    bool const known = at != written.end() && at->first == f.field;
                    // What was beaten by something that is left out stands, unless something later is there.
                    if (f.before == f.after && known && op->stamp <= at->second) { return; }
                    note(op->field, op->stamp);
                    return fields.put(f.field,
                                      op->kind == op_kind::set ? std::optional<bytes>{op->value} : std::nullopt);
                }
                case op_kind::revise: {
                    cbor_reader in{op->value};
                    (void)in.array();
                    (void)in.skip();
                    bytes_view const made = in.skip();
                    note(op->field, op->stamp);
                    return fields.put(f.field, in.failed() ? f.after : std::optional<bytes>{to_bytes(made)});
                }
                default:
                    // Who edits has written, too: a word from before that is beaten by it.
                    note(op->field, op->stamp);
                    return fields.put(f.field, detail::redone(f, op, fields.get(f.field)));
            }
        }
        [[nodiscard]] field_marks::iterator place_of(std::string const& field) {
            return std::lower_bound(written.begin(), written.end(), field,
                                    [](auto const& w, std::string const& name) { return w.first < name; });
        }
        void note(std::string const& field, timestamp stamp) {
            auto at = place_of(field);
            if (at == written.end() || at->first != field) { at = written.insert(at, {field, timestamp{}}); }
            at->second = (std::max)(at->second, stamp);
        }
    };
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<bytes>> state_of(Tx& tx, bytes_view record, history_bound const& bound) const {
        auto const r = replayed(tx, record, bound);
        if (!r) { return r.error(); }
        if (r->is == presence::unknown) { return failure{errc::not_found, "redacted in the history"}; }
        if (r->is == presence::absent) { return std::optional<bytes>{}; }
        return std::optional<bytes>{r->fields.encode()};
    }
    /// What events make of the last whole state that may count.
    template <storage_transaction Tx>
    [[nodiscard]] result<replay> replayed(Tx& tx, bytes_view record, history_bound const& bound) const {
        std::optional<snapshot> from;
        status failed;
        auto const whole = [&](bytes_view key, bytes_view value) {
            auto s = snapshot_from(key, value);
            if (!s) {
                failed = s.error();
                return false;
            }
            if (s->stamp_max > bound.stamp) { return true; }  // holds what came later
            from = std::move(*s);
            return false;
        };
        bytes const lead = key_of('s', record);
        if (auto const ok = tx.scan({snapshot_key(record, bound.position), prefix_end(lead)}, whole); !ok) {
            return ok.error();
        }
        if (!failed) { return failed.error(); }
        replay r;
        std::uint64_t const first = from ? from->position + 1 : 1;
        if (from) { r.begin(std::move(*from)); }
        auto const event = [&](history_event const& e) {
            if (e.change.stamp <= bound.stamp) {
                r.apply(e);
            } else {
                r.pass(e);
            }
            return true;
        };
        if (first != 0) {
            if (auto const ok = events_of(tx, record, first, bound.position, event); !ok) { return ok.error(); }
        }
        return r;
    }

    /// Folds the oldest event into its record's oldest state.
    template <storage_transaction Tx>
    [[nodiscard]] status forget_one(Tx& tx, state& s) const {
        bytes record;
        auto const found = tx.get(order_key(s.first), record);
        if (!found) { return found.error(); }
        if (!*found) { return {}; }  // redacted
        auto const e = load_event(tx, record, s.first);
        if (!e) { return e.error(); }
        auto const row = load_record(tx, record);
        if (!row) { return row.error(); }
        // The states before the event: only the last counts, and there is at most one, for earlier ones were folded.
        std::optional<snapshot> before;
        status failed;
        auto const whole = [&](bytes_view key, bytes_view value) {
            auto one = snapshot_from(key, value);
            if (!one) {
                failed = one.error();
            } else {
                before = std::move(*one);
            }
            return false;
        };
        bytes const lead = key_of('s', record);
        if (auto const ok = tx.scan({snapshot_key(record, s.first - 1), prefix_end(lead)}, whole); !ok) { return ok; }
        if (!failed) { return failed; }
        replay r;
        timestamp stamp = e->change.stamp;
        if (before) {
            stamp = (std::max)(stamp, before->stamp_max);
            if (auto const ok = tx.erase(snapshot_key(record, before->position)); !ok) { return ok; }
            r.begin(std::move(*before));
        }
        r.apply(*e);
        s.forgotten = (std::max)(s.forgotten, e->change.stamp);
        if (auto const ok = tx.erase(event_key(record, s.first)); !ok) { return ok; }
        if (auto const ok = tx.erase(order_key(s.first)); !ok) { return ok; }
        bool more = false;
        auto const any = [&](history_event const&) {
            more = true;
            return false;
        };
        auto const end = (std::numeric_limits<std::uint64_t>::max)();
        if (auto const ok = events_of(tx, record, s.first + 1, end, any); !ok) { return ok; }
        if (r.is == presence::absent && !more) {  // nothing is left to say of it
            if (auto const ok = tx.erase(snapshot_key(record, s.first)); !ok) { return ok; }
            return tx.erase(key_of('r', record));
        }
        bytes fields = r.is == presence::there ? r.fields.encode() : bytes{};
        return put_snapshot(tx, record, {s.first, stamp, r.is, std::move(fields), std::move(r.written)});
    }

    // ---- Inverses -----------------------------------------------------------------------------------------------

    /// The touch of a field; the end where there is none. `all` is in canonical key order, the whole record first.
    template <class Touches>
    [[nodiscard]] static auto touch_of(Touches& all, std::string_view field) {
        auto const at = std::lower_bound(all.begin(), all.end(), field, [](later_touch const& t, std::string_view f) {
            return compare_keys(t.field, f) < 0;
        });
        return at != all.end() && at->field == field ? at : all.end();
    }
    static void note_touches(std::vector<later_touch>& all, history_event const& e) {
        std::size_t const known = all.size();
        std::vector<later_touch> fresh;
        auto const note = [&](std::string_view field, bool added) {
            auto const t = touch_of(all, field);
            if (t == all.end()) {
                fresh.push_back({std::string{field}, added, e.position, e.author, e.change.stamp});
            } else {
                *t = {std::move(t->field), t->only_added && added, e.position, e.author, e.change.stamp};
            }
        };
        if (!e.lived || !e.lives) { note({}, false); }
        for (field_effect const& f : e.effects) {
            field_op const* const op = operation_on(e.change.ops, f.field);
            note(f.field, op != nullptr && op->kind == op_kind::add);
        }
        if (fresh.empty()) { return; }
        all.insert(all.end(), std::make_move_iterator(fresh.begin()), std::make_move_iterator(fresh.end()));
        std::inplace_merge(
            all.begin(), all.begin() + static_cast<std::ptrdiff_t>(known), all.end(),
            [](later_touch const& x, later_touch const& y) { return compare_keys(x.field, y.field) < 0; });
    }
    [[nodiscard]] static field_op set_to(std::string_view field, std::optional<bytes> const& value, timestamp stamp) {
        return {std::string{field}, value ? op_kind::set : op_kind::unset, value ? *value : bytes{}, stamp};
    }
    /// The operation that undoes an effect.
    [[nodiscard]] static result<field_op> inverse(history_event const& e, field_effect const& f, timestamp stamp) {
        field_op const* const op = operation_on(e.change.ops, f.field);
        if (op == nullptr || op->kind != op_kind::add) { return set_to(f.field, f.before, stamp); }
        cbor_reader in{op->value};
        std::int64_t const n = in.integer();
        auto const opposite = in.finish() ? checked_subtract(std::int64_t{0}, n) : std::nullopt;
        if (!opposite) { return failure{errc::overflow, "change of a counter without an opposite"}; }
        field_op out{f.field, op_kind::add, {}, stamp};
        cbor_writer{out.value}.integer(*opposite);
        return out;
    }
    [[nodiscard]] static result<undo_plan> plan(history_event const& e, std::vector<later_touch> const& touched,
                                                timestamp stamp) {
        undo_plan out;
        out.record = e.change.record;
        if (!e.lived && !e.lives) { return out; }  // it did nothing
        if (e.lived != e.lives) {
            // The whole record came or went: anything later on it is in the way.
            out.kind = e.lives ? change_kind::erase : change_kind::create;
            std::vector<field_op> ops;
            if (e.lived) {
                for (field_effect const& f : e.effects) {
                    if (f.before) { ops.push_back(set_to(f.field, f.before, stamp)); }
                }
            }
            later_touch const* last = nullptr;
            for (later_touch const& t : touched) {
                if (last == nullptr || t.position > last->position) { last = &t; }
            }
            if (last == nullptr) {
                out.ops = std::move(ops);
            } else {
                out.conflicts.push_back({{}, last->position, last->author, last->stamp, std::move(ops)});
            }
            return out;
        }
        for (field_effect const& f : e.effects) {
            if (f.before == f.after) { continue; }
            auto op = inverse(e, f, stamp);
            if (!op) { return op.error(); }
            auto const whole = touch_of(touched, {});
            auto const here = touch_of(touched, f.field);
            later_touch const* in_the_way = whole == touched.end() ? nullptr : &*whole;
            bool const beside = here != touched.end() && op->kind == op_kind::add && here->only_added;
            if (here != touched.end() && !beside && (in_the_way == nullptr || here->position > in_the_way->position)) {
                in_the_way = &*here;
            }
            if (in_the_way == nullptr) {
                out.ops.push_back(std::move(*op));
            } else {
                out.conflicts.push_back(
                    {f.field, in_the_way->position, in_the_way->author, in_the_way->stamp, {std::move(*op)}});
            }
        }
        return out;
    }

    history_options options_;
    std::string prefix_;
};

}  // namespace syncline::inline SYNCLINE_ABI
