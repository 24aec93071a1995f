// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A mutation: what somebody did to a record, as operations on its fields. It is not a new state. A group is one of many
/// parts, each of a record of its own.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/id.hpp>
#include <syncline/model/record.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What an operation does to its field. Values travel: append, never renumber.
enum class op_kind : std::uint8_t {
    set = 1,       ///< the field is `value` (null is a value)
    unset = 2,     ///< the field is missing
    add = 3,       ///< `value`, an integer, is added; a missing field counts as 0
    elements = 4,  ///< elements of a set or list, named by their identities: `value` is an array of `element_edit`s
    revise = 5,    ///< a text or sequence: `value` is [what the writer saw, what they made of it]
    nested = 6,    ///< fields inside a map: `value` is an array of operations, as a mutation's, without stamps
};

/// What is done to one element. On the wire an array of the verb and what follows it. Append, never renumber.
enum class element_verb : std::uint8_t {
    add = 1,     ///< [1, item]: into a set
    remove = 2,  ///< [2, identity]: from a set or list; a set's item is its own identity
    insert = 3,  ///< [3, after, item]: into a list, behind the element `after`, or in front of all where that is null
    move = 4,    ///< [4, identity, after]
    edit = 5,    ///< [5, identity, item]: the element is `item`, of the same identity
};

/// What the writer would like to win where others have changed the same. Only a wish: fields that a person must decide
/// and guards overrule it. Values travel: append, never renumber.
enum class merge_hint : std::uint8_t {
    merge = 0,   ///< by the rules
    local = 1,   ///< this mutation
    remote = 2,  ///< what others have written
};

/// One operation on one field, with what the writer saw there.
struct field_op {
    std::string field;
    op_kind kind = op_kind::set;
    bytes value{};      ///< one canonical CBOR item; empty for `unset`
    timestamp stamp{};  ///< when it was done; coalescing keeps each operation's own
    friend bool operator==(field_op const&, field_op const&) = default;
};

/// What a mutation does to its record. Values travel: append, never renumber.
enum class change_kind : std::uint8_t {
    create = 1,  ///< begins a life of the record
    update = 2,  ///< never creates
    erase = 3,   ///< ends the life; leaves a tombstone
    group = 4,   ///< has `parts`, each of another record, which take effect together or not at all
};

/// Parts of one group: as many records as an outbox entry keeps in order.
inline constexpr std::size_t group_parts_max = 16;

/// What somebody did to a record. Its author is the envelope's: a request carries one author's mutations.
///
/// `sequence` is 0 until it is frozen; from then on its bytes never change.
struct mutation {
    std::uint64_t sequence = 0;  ///< of its author: 1, 2, 3, … without holes
    timestamp stamp{};
    change_kind kind = change_kind::update;
    record_key record;
    std::uint64_t life = 1;       ///< the life of the record that it speaks of
    position base = 0;            ///< the confirmed version that the writer saw; 0: none
    std::vector<field_op> ops{};  ///< in canonical key order, each field once
    merge_hint hint = merge_hint::merge;
    schema_version schema = 1;  ///< of the operations
    /// Of a group: two to `group_parts_max`, of different records, none of them a group. They have its stamp and the
    /// sequence 0; the group itself has the record of the first and, beside its own sequence and stamp, nothing else.
    std::vector<mutation> parts{};
    friend bool operator==(mutation const&, mutation const&) = default;
};

/// Visits what a mutation does, a record at a time: the parts of a group, else itself.
template <class M, class F>
constexpr void each_part(M& m, F&& visit) {
    if (m.kind != change_kind::group) {
        visit(m);
        return;
    }
    for (auto& part : m.parts) { visit(part); }
}
/// What a mutation does to one record; null when it does nothing to it.
[[nodiscard]] inline mutation const* part_on(mutation const& m, record_key const& k) noexcept {
    mutation const* found = nullptr;
    each_part(m, [&](mutation const& part) {
        if (part.record == k) { found = &part; }
    });
    return found;
}

/// The operation on a field; null where there is none. `ops` are in canonical key order. Cost: logarithmic.
[[nodiscard]] inline field_op const* operation_on(std::vector<field_op> const& ops, std::string_view field) noexcept {
    auto const at = std::lower_bound(ops.begin(), ops.end(), field, [](field_op const& op, std::string_view wanted) {
        return compare_keys(op.field, wanted) < 0;
    });
    return at != ops.end() && at->field == field ? &*at : nullptr;
}

/// Appends the canonical form of one operation: an array of two to four.
template <class Writer>
void encode_operation(Writer& out, field_op const& op, timestamp of_mutation) {
    bool const own_stamp = op.stamp != of_mutation;
    out.array(own_stamp ? 4 : op.kind == op_kind::unset ? 2 : 3);
    out.unsigned_integer(static_cast<std::uint64_t>(op.kind));
    out.text(op.field);
    if (op.kind != op_kind::unset) {
        out.raw(op.value);
    } else if (own_stamp) {
        out.null();
    }
    if (own_stamp) { out.unsigned_integer(op.stamp.raw); }
}

/// Appends operations as an array of these, in canonical key order: what `decode_operations` reads.
template <class Writer>
void encode_operations(Writer& out, std::vector<field_op> const& ops, timestamp of_mutation) {
    out.array(ops.size());
    for (field_op const& op : ops) { encode_operation(out, op, of_mutation); }
}

/// Appends the canonical form: an array of eight items, each operation an array of two to four; of nine with a hint, of ten
/// with a later schema version than the first. Of a group an array of four: sequence, stamp, kind, the parts.
inline void encode_mutation(cbor_writer& whole, mutation const& m) {
    if (m.kind == change_kind::group) {
        whole.array(4);
        whole.unsigned_integer(m.sequence);
        whole.unsigned_integer(m.stamp.raw);
        whole.unsigned_integer(static_cast<std::uint64_t>(m.kind));
        whole.array(m.parts.size());
        for (mutation const& part : m.parts) { encode_mutation(whole, part); }
        return;
    }
    bool const later = m.schema != 1;
    bool const hinted = later || m.hint != merge_hint::merge;
    std::size_t bound = 80 + m.record.collection.size() + m.record.id.size();
    for (field_op const& op : m.ops) { bound += 24 + op.field.size() + op.value.size(); }
    whole.in_room(bound, [&](cbor_room_writer& out) {
        out.array(std::size_t{8} + (hinted ? 1 : 0) + (later ? 1 : 0));
        out.unsigned_integer(m.sequence);
        out.unsigned_integer(m.stamp.raw);
        out.unsigned_integer(static_cast<std::uint64_t>(m.kind));
        out.text(m.record.collection);
        out.byte_string(m.record.id);
        out.unsigned_integer(m.life);
        out.unsigned_integer(m.base);
        encode_operations(out, m.ops, m.stamp);
        if (hinted) { out.unsigned_integer(static_cast<std::uint64_t>(m.hint)); }
        if (later) { out.unsigned_integer(m.schema); }
    });
}

/// Reads what `encode_operations` wrote, of a stranger too: in canonical key order, each field once. On
/// anything else the reader has failed. What an operation's value holds is `apply`'s to judge.
[[nodiscard]] inline std::vector<field_op> decode_operations(cbor_reader& in, timestamp of_mutation) {
    std::vector<field_op> ops;
    std::size_t const n = in.array();
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        field_op op;
        std::size_t const parts = in.array();
        std::uint64_t const kind = in.unsigned_integer();
        if (kind < 1 || kind > 6) { in.fail({errc::unsupported, "unknown operation"}); }
        op.kind = static_cast<op_kind>(kind);
        op.field = std::string{in.text()};
        std::size_t const plain = op.kind == op_kind::unset ? 2 : 3;
        if (parts != plain && parts != 4) { in.fail({errc::malformed, "operation of the wrong length"}); }
        if (op.field.empty() || op.field.size() > field_name_bytes_max) {
            in.fail({errc::malformed, "field name of the wrong length"});
        }
        if (!ops.empty() && compare_keys(ops.back().field, op.field) >= 0) {
            in.fail({errc::not_deterministic, "operations out of order"});
        }
        if (op.kind != op_kind::unset) {
            op.value = to_bytes(in.skip());
        } else if (parts == 4 && !in.null()) {
            in.fail({errc::malformed, "value for a field that is unset"});
        }
        op.stamp = parts == 4 ? timestamp{in.unsigned_integer()} : of_mutation;
        if (parts == 4 && op.stamp == of_mutation) { in.fail({errc::not_deterministic, "stamp said twice"}); }
        ops.push_back(std::move(op));
    }
    return ops;
}

namespace detail {

/// A mutation of one record, whose array has begun.
[[nodiscard]] inline mutation decode_single(cbor_reader& in, std::size_t parts) {
    mutation m;
    if (parts < 8 || parts > 10) { in.fail({errc::malformed, "mutation of the wrong length"}); }
    m.sequence = in.unsigned_integer();
    m.stamp = timestamp{in.unsigned_integer()};
    std::uint64_t const change = in.unsigned_integer();
    if (change < 1 || change > 3) { in.fail({errc::unsupported, "unknown kind of change"}); }
    m.kind = static_cast<change_kind>(change);
    m.record.collection = std::string{in.text()};
    m.record.id = to_bytes(in.byte_string());
    if (!in.failed() && !valid(m.record)) { in.fail({errc::malformed, "record key out of range"}); }
    m.life = in.unsigned_integer();
    m.base = in.unsigned_integer();
    m.ops = decode_operations(in, m.stamp);
    if (parts >= 9) {
        std::uint64_t const hint = in.unsigned_integer();
        if (hint == 0 && parts == 9) { in.fail({errc::not_deterministic, "no hint, said at length"}); }
        if (hint > 2) { in.fail({errc::unsupported, "unknown hint"}); }
        m.hint = static_cast<merge_hint>(hint);
    }
    if (parts == 10) { m.schema = decode_later_schema(in); }
    if (!in.failed() && m.kind == change_kind::erase && !m.ops.empty()) {
        in.fail({errc::malformed, "erase with operations"});
    }
    return m;
}
/// A group, whose array has begun.
[[nodiscard]] inline mutation decode_group(cbor_reader& in) {
    mutation m;
    m.sequence = in.unsigned_integer();
    m.stamp = timestamp{in.unsigned_integer()};
    m.kind = change_kind::group;
    if (in.unsigned_integer() != static_cast<std::uint64_t>(m.kind)) {
        in.fail({errc::malformed, "mutation of the wrong length"});
    }
    std::size_t const n = in.array();
    if (!in.failed() && n < 2) { in.fail({errc::malformed, "a group of fewer than two parts"}); }
    if (n > group_parts_max) { in.fail({errc::limit, "a group of too many parts"}); }
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        mutation part = decode_single(in, in.array());
        if (in.failed()) { break; }
        if (part.sequence != 0 || part.stamp != m.stamp) {
            in.fail({errc::malformed, "a part with a name of its own"});
        }
        if (part_on(m, part.record) != nullptr) { in.fail({errc::malformed, "two parts of one record"}); }
        m.parts.push_back(std::move(part));
    }
    if (!m.parts.empty()) { m.record = m.parts.front().record; }
    return m;
}

}  // namespace detail

/// Reads what `encode_mutation` wrote, of a stranger too. On anything else the reader has failed.
[[nodiscard]] inline mutation decode_mutation(cbor_reader& in) {
    std::size_t const parts = in.array();
    return parts == 4 ? detail::decode_group(in) : detail::decode_single(in, parts);
}

/// What the authority decided about a mutation. Values travel: append, never renumber.
enum class verdict_kind : std::uint8_t {
    applied = 1,      ///< took effect, nobody else was there
    duplicate = 2,    ///< had its verdict long ago, and the author confirmed its receipt
    merged = 3,       ///< took effect beside a concurrent change; the decisions say where
    overruled = 4,    ///< lost every field to concurrent changes; the decisions say to what rule
    conflict = 5,     ///< a person must decide; parked at its author
    rejected = 6,     ///< refused; the reason says why; into the author's dead letters
    retry_after = 7,  ///< not decided now; send it again later
    collateral = 8,   ///< not looked at, because of another in its batch; send it again
};

[[nodiscard]] constexpr char const* name(verdict_kind k) noexcept {
    switch (k) {
        case verdict_kind::applied: return "applied";
        case verdict_kind::duplicate: return "duplicate";
        case verdict_kind::merged: return "merged";
        case verdict_kind::overruled: return "overruled";
        case verdict_kind::conflict: return "conflict";
        case verdict_kind::rejected: return "rejected";
        case verdict_kind::retry_after: return "retry after";
        case verdict_kind::collateral: return "collateral";
    }
    return "unknown verdict";
}

}  // namespace syncline::inline SYNCLINE_ABI
