// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A pending mutation as the outbox holds it, and the algebra by which later ones are absorbed into it.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <syncline/clock/version_vector.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/merge/order.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/model/mutation.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What became of a mutation that met an earlier one of its record which was never frozen.
enum class coalescing : std::uint8_t {
    kept_apart,   ///< they can't be one: both are sent, in order
    absorbed,     ///< the earlier one does the work of both
    annihilated,  ///< together they are nothing
};

/// A mutation and what its writer saw in the fields that it touches.
///
/// | earlier | later  | together                                                       |
/// | create  | update | create with the union of the operations                        |
/// | update  | update | update with the union                                          |
/// | update  | erase  | erase                                                          |
/// | create  | erase  | nothing                                                        |
/// | erase   | create | kept apart: a new life                                         |
/// They are kept apart, too, when a confirmed state came between (another base or life) or another schema, when the store was opened
/// between (another line: what a copy of the store may hold as well is not changed any more), and when operations
/// don't compose (a sum that leaves int64, a sum over what is no integer, anything but two of a kind on a minimum or
/// maximum). A group is kept apart from everything. In a union a later `set` or `unset` replaces, a later `add` adds to what is there, and of two `set`s on
/// a minimum or maximum the more extreme stays; each operation keeps its own stamp. Of operations inside of a field, two
/// on elements become one, and a revision of a revision one revision; else they are kept apart, as are wishes that
/// differ.
struct pending {
    mutation change{};
    bytes encoded{};         ///< the mutation's canonical form; once frozen, the bytes that travel
    bytes base{};            ///< canonical map: the touched fields as the writer saw them; missing ones were missing.
                             ///< Of a group an array of such maps, as byte strings, one for each part
    std::uint64_t line = 0;  ///< of its origin; 0: it has none
    /// In a strong collection the token of the one before it, which has no verdict yet: it was made on what that one makes.
    /// 0: it was made on its base; `alone`: it was sent before, and refused, and a person sends it anew.
    std::uint64_t after = 0;
    static constexpr std::uint64_t alone = (std::numeric_limits<std::uint64_t>::max)();
    /// What its writer saw of other replicas' that no authority had confirmed: the last of each, in their order.
    std::vector<dot> needs{};

    /// Notes that the writer saw another replica's mutation, and with it those before. Of too many replicas the later
    /// ones are left out.
    void saw(dot const& d) {
        auto const at =
            std::find_if(needs.begin(), needs.end(), [&](dot const& n) { return !(n.replica < d.replica); });
        if (at != needs.end() && at->replica == d.replica) {
            at->sequence = (std::max)(at->sequence, d.sequence);
        } else if (needs.size() < needs_max) {
            needs.insert(at, d);
        }
    }
    static constexpr std::size_t needs_max = 16;

    /// Notes what the writer saw, of the fields that the operations touch.
    void saw(bytes_view fields) {
        std::vector<detail::field_change> seen;
        cbor_map_cursor old{fields};
        bool more = !fields.empty() && old.next();
        for (field_op const& op : change.ops) {
            while (more && compare_keys(old.key(), op.field) < 0) { more = old.next(); }
            if (more && old.key() == op.field) { seen.push_back({op.field, true, old.value()}); }
        }
        base = detail::rewrite_fields({}, seen);
    }

    [[nodiscard]] bytes encode() {
        encoded.clear();
        cbor_writer body{encoded};
        encode_mutation(body, change);
        return whole();
    }
    /// The same where the mutation stands encoded as it is to be.
    [[nodiscard]] bytes whole() const {
        bytes out;
        out.reserve(encoded.size() + base.size() + 21);
        cbor_writer w{out};
        w.array(!needs.empty() ? 5 : after != 0 ? 4 : 3);
        w.byte_string(encoded);
        w.byte_string(base);
        w.unsigned_integer(line);
        if (after != 0 || !needs.empty()) { w.unsigned_integer(after); }
        if (!needs.empty()) {
            w.array(needs.size() * 2);
            for (dot const& d : needs) {
                w.byte_string(to_array(d.replica));
                w.unsigned_integer(d.sequence);
            }
        }
        return out;
    }
    /// Reads what `encode` wrote, the mutation still encoded. `errc::corrupt` for anything else.
    [[nodiscard]] static result<pending> parse(bytes_view payload) {
        cbor_reader in{payload};
        pending p;
        std::size_t const parts = in.array();
        if (parts < 2 || parts > 5) { return failure{errc::corrupt, "pending mutation"}; }
        p.encoded = to_bytes(in.byte_string());
        p.base = to_bytes(in.byte_string());
        if (parts >= 3) { p.line = in.unsigned_integer(); }
        if (parts >= 4) { p.after = in.unsigned_integer(); }
        if (parts == 5) {
            std::size_t const n = in.array();
            if (n == 0 || n % 2 != 0 || n / 2 > needs_max) { return failure{errc::corrupt, "pending mutation"}; }
            for (std::size_t i = 0; i < n / 2 && !in.failed(); ++i) {
                auto const who = replica_id_from(in.byte_string());
                if (!who) { return failure{errc::corrupt, "pending mutation"}; }
                p.needs.push_back({*who, in.unsigned_integer()});
            }
        }
        if (!in.finish() || (parts == 4 && p.after == 0)) { return failure{errc::corrupt, "pending mutation"}; }
        return p;
    }
    [[nodiscard]] result<mutation> decoded() const { return decoded(bytes_view{encoded}); }
    /// Only the mutation of what `encode` wrote. `errc::corrupt` when it can't be found.
    [[nodiscard]] static result<mutation> mutation_in(bytes_view payload) {
        cbor_reader in{payload};
        std::size_t const parts = in.array();
        bytes_view const change = in.byte_string();
        for (std::size_t i = 1; i < parts && !in.failed(); ++i) { (void)in.skip(); }
        if (parts < 2 || parts > 5 || !in.finish()) { return failure{errc::corrupt, "pending mutation"}; }
        return decoded(change);
    }

    /// What a mutation of one record is, borrowed.
    struct outline {
        std::size_t items = 0;  ///< of the canonical form
        std::uint64_t sequence = 0;
        change_kind kind = change_kind::update;
        record_key_view record{};
    };
    /// Only the outline of the mutation in what `encode` wrote; the rest isn't looked at. `errc::corrupt` when it can't be
    /// found, and for a group.
    [[nodiscard]] static result<outline> outline_in(bytes_view payload) noexcept {
        cbor_reader whole{payload};
        std::size_t const parts = whole.array();
        cbor_reader in{whole.byte_string()};
        auto const o = read_outline(in);
        if (whole.failed() || parts < 2 || parts > 5 || !o) { return failure{errc::corrupt, "pending mutation"}; }
        return *o;
    }
    /// The outline of a mutation of one record that has no sequence yet, all of whose items are whole; nothing for any other.
    [[nodiscard]] static std::optional<outline> never_frozen(bytes_view encoded) noexcept {
        cbor_reader in{encoded};
        auto const o = read_outline(in);
        for (std::size_t i = 5; o && i < o->items; ++i) { (void)in.skip(); }
        return o && o->sequence == 0 && in.finish() ? o : std::nullopt;
    }
    /// Gives the encoded mutation its sequence. Precondition: `never_frozen`.
    void put_sequence(std::uint64_t sequence) {
        bytes out;
        out.reserve(encoded.size() + 8);
        out.push_back(encoded[0]);  // the array's head; its first item, a 0, is a byte too
        cbor_writer{out}.unsigned_integer(sequence);
        append(out, bytes_view{encoded}.subspan(2));
        encoded = std::move(out);
    }

    /// Takes a later mutation of the same record into this one; unchanged when they are kept apart.
    /// `rules` are those of the record's collection. Precondition: both are decoded, this one was never frozen.
    [[nodiscard]] coalescing absorb(pending const& later, collection_rules const& rules) {
        bool const same_state = change.base == later.change.base && change.life == later.change.life &&
                                change.hint == later.change.hint && change.schema == later.change.schema;
        bool const grouped = change.kind == change_kind::group || later.change.kind == change_kind::group;
        if (!same_state || grouped || line != later.line || change.kind == change_kind::erase ||
            later.change.kind == change_kind::create) {
            return coalescing::kept_apart;
        }
        if (later.change.kind == change_kind::erase) {
            if (change.kind == change_kind::create) { return coalescing::annihilated; }
            change = later.change;
            base = later.base;
            for (dot const& d : later.needs) { saw(d); }
            return coalescing::absorbed;
        }
        std::vector<field_op> both;
        both.reserve(change.ops.size() + later.change.ops.size());
        auto a = change.ops.begin();
        auto b = later.change.ops.begin();
        while (a != change.ops.end() || b != later.change.ops.end()) {
            auto const order = a == change.ops.end()         ? std::strong_ordering::greater
                               : b == later.change.ops.end() ? std::strong_ordering::less
                                                             : compare_keys(a->field, b->field);
            if (order < 0) {
                both.push_back(*a++);
            } else if (order > 0) {
                both.push_back(*b++);
            } else {
                auto one = compose(*a++, *b++, rules);
                if (!one) { return coalescing::kept_apart; }
                both.push_back(std::move(*one));
            }
        }
        merge_base(later.base);
        change.ops = std::move(both);
        change.stamp = later.change.stamp;
        for (dot const& d : later.needs) { saw(d); }
        return coalescing::absorbed;
    }

private:
    /// What begins the canonical form of a mutation of one record.
    [[nodiscard]] static std::optional<outline> read_outline(cbor_reader& in) noexcept {
        outline o;
        o.items = in.array();
        o.sequence = in.unsigned_integer();
        (void)in.unsigned_integer();
        std::uint64_t const kind = in.unsigned_integer();
        o.record.collection = in.text();
        o.record.id = in.byte_string();
        bool const good = !in.failed() && o.items >= 8 && o.items <= 10 && kind >= 1 && kind <= 3;
        if (!good || !valid(o.record.collection, o.record.id)) { return std::nullopt; }
        o.kind = static_cast<change_kind>(kind);
        return o;
    }
    [[nodiscard]] static result<mutation> decoded(bytes_view encoded) {
        cbor_reader in{encoded};
        mutation m = decode_mutation(in);
        if (!in.finish()) { return failure{errc::corrupt, "pending mutation"}; }
        return m;
    }
    [[nodiscard]] static std::optional<field_op> compose(field_op const& first, field_op const& second,
                                                         collection_rules const& rules) {
        rule const by = rules.of(second.field);
        if (is_extreme(by)) {
            // What is there moves one way only: the second does not replace what the first has reached.
            if (first.kind != second.kind) { return std::nullopt; }
            if (second.kind == op_kind::set) {
                auto const order = compare_values(second.value, first.value);
                return (by == rule::minimum ? order > 0 : order < 0) ? first : second;
            }
        }
        if (inside(second.kind)) { return compose_inside(first, second); }
        if (second.kind == op_kind::set || second.kind == op_kind::unset) { return second; }
        if (inside(first.kind)) { return std::nullopt; }
        if (first.kind == op_kind::unset) { return field_op{second.field, op_kind::set, second.value, second.stamp}; }
        auto const x = detail::integer_of(first.value);
        auto const y = detail::integer_of(second.value);
        auto const sum = x && y ? checked_add(*x, *y) : std::nullopt;
        if (!sum) { return std::nullopt; }
        field_op out{second.field, first.kind, {}, second.stamp};
        cbor_writer{out.value}.integer(*sum);
        return out;
    }

    [[nodiscard]] static bool inside(op_kind k) noexcept {
        return k == op_kind::elements || k == op_kind::revise || k == op_kind::nested;
    }
    [[nodiscard]] static std::optional<field_op> compose_inside(field_op const& first, field_op const& second) {
        if (first.kind != second.kind) { return std::nullopt; }
        field_op out{second.field, second.kind, {}, second.stamp};
        if (second.kind == op_kind::elements) {
            auto edits = decode_element_edits(first.value);
            auto const more = decode_element_edits(second.value);
            if (!edits || !more || edits->size() + more->size() > element_edits_max) { return std::nullopt; }
            edits->insert(edits->end(), more->begin(), more->end());
            cbor_writer w{out.value};
            encode_element_edits(w, *edits);
            return out;
        }
        auto const a = detail::items_of(first.value);
        auto const b = detail::items_of(second.value);
        bool const chain =
            second.kind == op_kind::revise && a && b && a->size() == 2 && b->size() == 2 && equal((*a)[1], (*b)[0]);
        if (!chain) { return std::nullopt; }
        out.value = detail::array_of({(*a)[0], (*b)[1]});
        return out;
    }

    /// What the earlier writer saw counts; the later one adds the fields that only it touched.
    void merge_base(bytes_view later) {
        std::vector<detail::field_change> more;
        cbor_map_cursor in{later};
        while (!later.empty() && in.next()) {
            bool const touched = std::any_of(change.ops.begin(), change.ops.end(),
                                             [&](field_op const& op) { return op.field == in.key(); });
            if (!touched) { more.push_back({in.key(), true, in.value()}); }
        }
        base = detail::rewrite_fields(base, more);
    }
};

}  // namespace syncline::inline SYNCLINE_ABI
