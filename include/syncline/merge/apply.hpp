// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The one apply function: a mutation over a row. It serves the overlay, the authority and every preview.

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/checked.hpp>
#include <syncline/merge/order.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/model/mutation.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Whose value a field has after a concurrent change. Values travel: append, never renumber.
enum class winner : std::uint8_t {
    mutation = 1,   ///< the one that was applied
    confirmed = 2,  ///< the one that was there
    both = 3,       ///< the same value, or a counter's sum
    nobody = 4,     ///< a person must decide
};

[[nodiscard]] constexpr char const* name(winner w) noexcept {
    switch (w) {
        case winner::mutation: return "the mutation";
        case winner::confirmed: return "the confirmed value";
        case winner::both: return "both";
        case winner::nobody: return "nobody yet";
    }
    return "unknown";
}

/// How one field that others had changed concurrently was decided.
struct decision {
    std::string field;  ///< empty: the whole record (deleted by one, changed by the other)
    rule by = rule::last_writer;
    winner won = winner::both;
    friend bool operator==(decision const&, decision const&) = default;
};

/// Who applies, and where.
struct apply_context {
    author_index author = unknown_author;
    position at = pending_position;  ///< the mutation's own position; the default for a preview
    timestamp stamp_max{(std::numeric_limits<std::uint64_t>::max)()};  ///< the authority's bound on dominance
};

/// What came of it.
struct apply_outcome {
    verdict_kind verdict = verdict_kind::applied;
    errc reason{};                      ///< why, when rejected
    bool changed = false;               ///< whether `after` differs from what was there
    std::vector<decision> decisions{};  ///< one for each field that others had changed concurrently
};

namespace detail {

/// The integer in a canonical item, or nothing.
[[nodiscard]] inline std::optional<std::int64_t> integer_of(bytes_view item) {
    cbor_reader in{item};
    std::int64_t const n = in.integer();
    if (!in.finish()) { return std::nullopt; }
    return n;
}

struct field_change {
    std::string_view field;
    bool present = false;
    bytes_view value{};
};

/// The canonical map `fields` with `changes` (in key order) put in.
[[nodiscard]] inline bytes rewrite_fields(bytes_view fields, std::vector<field_change> const& changes) {
    std::size_t count = 0;
    bytes body;
    cbor_writer out{body};
    cbor_map_cursor old{fields};
    bool more = !fields.empty() && old.next();
    auto next = changes.begin();
    body.reserve(fields.size() + 64);
    auto const put = [&](std::string_view key, bytes_view value) {
        out.text(key);
        out.raw(value);
        ++count;
    };
    while (more || next != changes.end()) {
        auto const order = !more                   ? std::strong_ordering::greater
                           : next == changes.end() ? std::strong_ordering::less
                                                   : compare_keys(old.key(), next->field);
        if (order < 0) {
            put(old.key(), old.value());
        } else if (next->present) {
            put(next->field, next->value);
        }
        if (order <= 0) { more = old.next(); }
        if (order >= 0) { ++next; }
    }
    bytes whole;
    cbor_writer head{whole};
    whole.reserve(body.size() + 9);
    head.map(count);
    append(whole, body);
    return whole;
}

}  // namespace detail

/// Applies a mutation to a row: the state after it, and what was decided.
///
/// `current`: the row before, or nothing where no such record ever was; becomes the row after when
/// `changed`. Precondition: its fields are canonical. The mutation may come from a stranger; it was decoded.
///
/// A field is concurrent when somebody else has changed it after the mutation's base; what is not confirmed yet is
/// nobody else's. What is not concurrent takes effect; what is, its field's rule decides. A mutation is taken whole
/// or not at all: one field that a person must decide parks it, one operation that can't be (a counter over a text,
/// an overflow) rejects it; `current` is then untouched. Delete wins over concurrent edits. An update never creates.
/// Cost: O(fields + operations), allocates the new fields.
[[nodiscard]] inline apply_outcome apply(std::optional<row>& current, mutation const& m, collection_rules const& rules,
                                         apply_context const& context) {
    apply_outcome out;
    auto const whole_record = [&](verdict_kind v, winner w) {
        out.verdict = v;
        out.decisions.push_back({std::string{}, rule::last_writer, w});
        return std::move(out);
    };
    auto const reject = [&](errc why) {
        out = {};
        out.verdict = verdict_kind::rejected;
        out.reason = why;
        return std::move(out);
    };
    auto const mark_of = [&](timestamp stamp) {
        return write_mark{context.at, (std::min)(stamp, context.stamp_max), context.author};
    };

    // In a preview the author's number may have changed since a pending mark was made: at its first contact with the
    // authority, or because the store was a clone.
    auto const foreign = [&](write_mark const& w, position base) {
        return w.at > base && w.author != context.author && w.at != pending_position;
    };

    bool const begins = m.kind == change_kind::create && (!current || m.life > current->life);
    if (!begins) {
        if (!current || m.life > current->life) { return reject(errc::not_found); }
        if (m.life < current->life) { return whole_record(verdict_kind::overruled, winner::confirmed); }
        if (current->deleted) {
            bool const agree = m.kind == change_kind::erase;
            return whole_record(agree ? verdict_kind::merged : verdict_kind::overruled,
                                agree ? winner::both : winner::confirmed);
        }
    }

    if (m.kind == change_kind::erase) {
        bool const concurrent = [&] {
            auto const other = [&](write_mark const& w) { return foreign(w, m.base); };
            return other(current->floor) || std::any_of(current->exceptions.begin(), current->exceptions.end(),
                                                        [&](field_mark const& e) { return other(e.mark); });
        }();
        row tomb;
        tomb.version = context.at;
        tomb.life = m.life;
        tomb.deleted = true;
        tomb.floor = mark_of(m.stamp);
        current = std::move(tomb);
        out.changed = true;
        if (concurrent) { return whole_record(verdict_kind::merged, winner::mutation); }
        return out;
    }

    row next;
    if (begins) {
        next.life = m.life;
        next.floor = mark_of(m.stamp);
    } else {
        next = *current;
    }

    std::vector<detail::field_change> changes;
    std::vector<bytes> sums;  // values made here; the changes borrow from them
    sums.reserve(m.ops.size());
    std::size_t lost = 0;
    std::vector<field_mark> marks;  // after it; in one pass, for a stranger chooses how many
    auto mark_at = next.exceptions.begin();

    cbor_map_cursor old{next.fields};
    bool more = !next.fields.empty() && old.next();
    for (field_op const& op : m.ops) {
        while (more && compare_keys(old.key(), op.field) < 0) { more = old.next(); }
        bool const had = more && old.key() == op.field;
        bytes_view const was = had ? old.value() : bytes_view{};
        while (mark_at != next.exceptions.end() && compare_keys(mark_at->field, op.field) < 0) {
            marks.push_back(std::move(*mark_at++));
        }
        bool const marked = mark_at != next.exceptions.end() && mark_at->field == op.field;
        write_mark const mark = marked ? (mark_at++)->mark : next.floor;
        write_mark mine = mark_of(op.stamp);
        // A field that is missing without a mark of its own was never written: who made the record meanwhile said
        // nothing of it.
        bool const written = had || marked;
        bool const concurrent = !begins && written && foreign(mark, m.base);
        rule const by = rules.of(op.field);
        bool const extreme = by == rule::minimum || by == rule::maximum;
        bytes_view wanted = op.value;
        winner won = winner::mutation;

        if (op.kind == op_kind::add) {
            auto const n = detail::integer_of(op.value);
            auto const w = had ? detail::integer_of(was) : std::optional<std::int64_t>{0};
            if (!n || !w) { return reject(errc::type_mismatch); }
            auto const sum = checked_add(*w, *n);
            if (!sum) { return reject(errc::overflow); }
            bytes encoded;
            cbor_writer{encoded}.integer(*sum);
            sums.push_back(std::move(encoded));
            wanted = sums.back();
            won = winner::both;
        } else if (extreme && op.kind == op_kind::set && had) {
            auto const order = compare_values(op.value, was);
            bool const keeps = by == rule::minimum ? order > 0 : order < 0;
            won = order == 0 ? winner::both : keeps ? winner::confirmed : winner::mutation;
        } else if (concurrent) {
            bool const same = op.kind == op_kind::set ? had && equal(op.value, was) : !had;
            if (same) {
                won = winner::both;
            } else if (by == rule::manual) {
                won = winner::nobody;
            } else if (by == rule::authority) {
                won = winner::confirmed;
            } else {
                won = wins(mine, mark) ? winner::mutation : winner::confirmed;
            }
        }

        if (concurrent || won == winner::confirmed) { out.decisions.push_back({op.field, by, won}); }
        if (won == winner::nobody) { out.verdict = verdict_kind::conflict; }
        if (won == winner::confirmed) {
            ++lost;
            if (marked) { marks.push_back({op.field, mark}); }
            continue;
        }
        // Of two who write the same, the mark that wins stays: else a third one's chances depend on who came first.
        if (concurrent && won == winner::both && op.kind != op_kind::add && wins(mark, mine)) {
            mine.author = mark.author;
        }
        // A successor is never beaten by what its predecessor beat.
        if (!begins) { mine.stamp = (std::max)(mine.stamp, mark.stamp); }
        changes.push_back({op.field, op.kind != op_kind::unset, wanted});
        if (!(begins && mine == next.floor)) { marks.push_back({op.field, mine}); }
    }
    if (out.verdict == verdict_kind::conflict) { return out; }

    if (!m.ops.empty() && lost == m.ops.size()) {
        out.verdict = verdict_kind::overruled;
        return out;
    }
    if (!out.decisions.empty()) { out.verdict = verdict_kind::merged; }
    std::move(mark_at, next.exceptions.end(), std::back_inserter(marks));
    next.exceptions = std::move(marks);
    next.fields = detail::rewrite_fields(next.fields, changes);
    next.version = context.at;
    out.changed = true;
    current = std::move(next);
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
