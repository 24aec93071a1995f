// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a mutation does to a record, said once more in the plainest way: what a test's oracles compare with.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/cbor.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// A record's state as maps. Shares no code with `apply` but the decoders.
struct naive_row {
    std::uint64_t life = 0;  ///< 0: there never was one
    bool deleted = true;
    position version = 0;
    write_mark floor{};
    std::map<std::string, write_mark> marks{};
    std::vector<field_mark> inside{};  ///< marks inside of fields; operations there have models of their own
    std::map<std::string, bytes> fields{};
    friend bool operator==(naive_row const&, naive_row const&) = default;

    naive_row() = default;
    explicit naive_row(row const& r) : life(r.life), deleted(r.deleted), version(r.version), floor(r.floor) {
        for (field_mark const& e : r.exceptions) {
            if (e.path.empty()) {
                marks[e.field] = e.mark;
            } else {
                inside.push_back(e);
            }
        }
        if (r.fields.empty()) { return; }
        cbor_reader in{r.fields};
        std::size_t const n = in.map();
        for (std::size_t i = 0; i < n && !in.failed(); ++i) {
            std::string const name{in.text()};
            fields[name] = to_bytes(in.skip());
        }
    }
    /// Whether a person sees the same: there or not, and with which values.
    [[nodiscard]] bool looks_like(naive_row const& o) const {
        return deleted == o.deleted && (deleted || fields == o.fields);
    }
};

/// What came of it, field by field: who lost is named, nobody goes silently.
struct naive_outcome {
    verdict_kind verdict = verdict_kind::applied;
    bool changed = false;
    std::vector<std::string> lost{};     ///< fields in which what was there stayed
    std::vector<std::string> waiting{};  ///< fields that a person must decide
};

/// The integer of a canonical item; nothing for another type or one beyond 64 bits.
[[nodiscard]] inline std::optional<std::int64_t> naive_integer(bytes const& item) {
    cbor_reader in{item};
    std::int64_t const n = in.integer();
    return in.finish() ? std::optional<std::int64_t>{n} : std::nullopt;
}
[[nodiscard]] inline bytes naive_item(std::int64_t n) {
    bytes out;
    cbor_writer{out}.integer(n);
    return out;
}
/// The canonical encoding of fields.
[[nodiscard]] inline bytes naive_fields(std::map<std::string, bytes> const& all) {
    std::vector<std::string> names;
    for (auto const& [field, item] : all) { names.push_back(field); }
    std::sort(names.begin(), names.end(),
              [](std::string const& a, std::string const& b) { return compare_keys(a, b) < 0; });
    bytes out;
    cbor_writer w{out};
    w.map(names.size());
    for (std::string const& field : names) {
        w.text(field);
        w.raw(all.at(field));
    }
    return out;
}
[[nodiscard]] inline std::optional<std::int64_t> naive_sum(std::int64_t a, std::int64_t b) {
    bool const over = b > 0 && a > (std::numeric_limits<std::int64_t>::max)() - b;
    bool const under = b < 0 && a < (std::numeric_limits<std::int64_t>::min)() - b;
    return over || under ? std::nullopt : std::optional<std::int64_t>{a + b};
}

/// Whether a flag's rule keeps what is there.
[[nodiscard]] inline bool naive_flag_keeps(rule by, bool set, bytes const& value, bool had, bytes const& was) {
    auto const is_true = [](bool there, bytes const& b) { return there && b.size() == 1 && b[0] == std::byte{0xF5}; };
    bool const mine = is_true(set, value);
    bool const theirs = is_true(had, was);
    if (mine != theirs) { return by == rule::enable_wins ? theirs : mine; }
    return !set;  // both off: false before missing
}

/// Applies `m`, whose author has the number `author`, at a position (`pending_position` in a preview), its stamps
/// counting as at most `stamp_max`. Values under the rules minimum and maximum must be integers, those of flags
/// booleans. There are no groups, no rule for the record, no operations inside of fields, no roles; deletions win.
inline naive_outcome naive_apply(naive_row& r, mutation const& m, collection_rules const& rules, author_index author,
                                 position at, timestamp stamp_max) {
    naive_outcome out;
    auto const others = [&](write_mark const& w) {
        return w.at > m.base && w.author != author && w.at != pending_position;
    };
    auto const mark = [&](timestamp t) { return write_mark{at, t < stamp_max ? t : stamp_max, author}; };

    bool const begins = m.kind == change_kind::create && m.life > r.life;
    if (!begins) {
        if (m.life > r.life) {
            out.verdict = verdict_kind::rejected;
            return out;
        }
        if (m.life < r.life || r.deleted) {
            bool const both_deleted = m.life == r.life && m.kind == change_kind::erase;
            out.verdict = both_deleted ? verdict_kind::merged : verdict_kind::overruled;
            return out;
        }
    }
    if (m.kind == change_kind::erase) {
        bool edited = others(r.floor);
        for (auto const& [name, w] : r.marks) { edited = edited || others(w); }
        for (field_mark const& e : r.inside) { edited = edited || others(e.mark); }
        if (edited && m.hint == merge_hint::remote) {
            out.verdict = verdict_kind::overruled;
            return out;
        }
        r = {};
        r.life = m.life;
        r.version = at;
        r.floor = mark(m.stamp);
        out.verdict = edited ? verdict_kind::merged : verdict_kind::applied;
        out.changed = true;
        return out;
    }

    naive_row next = r;
    if (begins) {
        next = {};
        next.life = m.life;
        next.deleted = false;
        next.floor = mark(m.stamp);
    }
    bool met = false;
    for (field_op const& op : m.ops) {
        bool const had = next.fields.count(op.field) != 0;
        bool const marked = next.marks.count(op.field) != 0;
        write_mark const was = marked ? next.marks[op.field] : next.floor;
        write_mark mine = mark(op.stamp);
        bool const concurrent = !begins && (had || marked) && others(was);
        rule const by = rules.of(op.field);
        std::optional<bytes> value = op.value;
        if (op.kind == op_kind::unset) { value.reset(); }
        bool keeps = false;

        if (op.kind == op_kind::add) {
            auto const n = naive_integer(op.value);
            auto const there = had ? naive_integer(next.fields[op.field]) : std::optional<std::int64_t>{0};
            auto const sum = n && there ? naive_sum(*there, *n) : std::nullopt;
            if (!sum) {
                out = {};
                out.verdict = verdict_kind::rejected;
                return out;
            }
            value = naive_item(*sum);
            keeps = concurrent && m.hint == merge_hint::remote;
        } else if ((by == rule::minimum || by == rule::maximum) && op.kind == op_kind::set && had) {
            auto const a = naive_integer(op.value);
            auto const b = naive_integer(next.fields[op.field]);
            keeps = a && b && (by == rule::minimum ? *a > *b : *a < *b);
        } else if (concurrent) {
            bool const same = value ? had && next.fields[op.field] == *value : !had;
            if (!same && by == rule::manual) { out.waiting.push_back(op.field); }
            if (!same && by == rule::authority) { keeps = true; }
            if (!same && m.hint != merge_hint::merge && by != rule::manual) {
                keeps = m.hint == merge_hint::remote;
            } else if (!same && by == rule::authority_time) {
                out = {};
                out.verdict = verdict_kind::rejected;
                return out;
            } else if (!same && (by == rule::enable_wins || by == rule::disable_wins)) {
                keeps = naive_flag_keeps(by, value.has_value(), op.value, had, had ? next.fields[op.field] : bytes{});
            } else if (!same && by == rule::first_writer) {
                keeps = mine.stamp != was.stamp ? mine.stamp > was.stamp : mine.author > was.author;
            } else if (!same && by != rule::manual && by != rule::authority && by != rule::local) {
                bool const later = mine.stamp != was.stamp ? mine.stamp > was.stamp : mine.author > was.author;
                keeps = !later;
            }
        }
        met = met || concurrent || keeps;
        if (keeps) {
            out.lost.push_back(op.field);
            continue;
        }
        // Of two who write the same, the mark that wins stays.
        bool const alike = op.kind != op_kind::add && (value ? had && next.fields[op.field] == *value : !had);
        bool const first = by == rule::first_writer;
        bool const older = first ? mine.stamp != was.stamp ? mine.stamp > was.stamp : mine.author > was.author
                           : mine.stamp != was.stamp ? mine.stamp < was.stamp
                                                     : mine.author < was.author;
        if (concurrent && alike && older) { mine = {mine.at, was.stamp, was.author}; }
        if (!begins && !first && !(concurrent && by == rule::role) && mine.stamp < was.stamp) {
            mine.stamp = was.stamp;
        }
        next.inside.erase(std::remove_if(next.inside.begin(), next.inside.end(),
                                         [&](field_mark const& e) { return e.field == op.field; }),
                          next.inside.end());
        if (value) {
            next.fields[op.field] = *value;
        } else {
            next.fields.erase(op.field);
        }
        if (!(begins && mine == next.floor)) { next.marks[op.field] = mine; }
    }
    if (!out.waiting.empty()) {
        out.verdict = verdict_kind::conflict;
        return out;
    }
    if (!m.ops.empty() && out.lost.size() == m.ops.size()) {
        out.verdict = verdict_kind::overruled;
        return out;
    }
    if (met) { out.verdict = verdict_kind::merged; }
    next.version = at;
    out.changed = true;
    r = std::move(next);
    return out;
}

/// What a host changed between two copies of a record: a counter's difference, what is new or other, what is gone.
[[nodiscard]] inline std::vector<field_op> naive_difference(std::map<std::string, bytes> const& before,
                                                            std::map<std::string, bytes> const& after,
                                                            collection_rules const& rules) {
    std::vector<field_op> ops;
    for (auto const& [field, value] : after) {
        auto const was = before.find(field);
        if (was != before.end() && was->second == value) { continue; }
        std::optional<std::int64_t> step;
        if (rules.of(field) == rule::counter && was != before.end()) {
            auto const old = naive_integer(was->second);
            auto const now = naive_integer(value);
            if (old && now && *old != (std::numeric_limits<std::int64_t>::min)()) { step = naive_sum(*now, -*old); }
        }
        if (step) {
            ops.push_back({field, op_kind::add, naive_item(*step), {}});
        } else {
            ops.push_back({field, op_kind::set, value, {}});
        }
    }
    for (auto const& [field, value] : before) {
        if (after.count(field) == 0) { ops.push_back({field, op_kind::unset, {}, {}}); }
    }
    std::sort(ops.begin(), ops.end(),
              [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
    return ops;
}

/// What becomes of a mutation that was never frozen and a later one of the same record, when they are joined: the
/// operations of both, as one. Nothing when they must be kept apart.
[[nodiscard]] inline std::optional<std::vector<field_op>> naive_union(mutation const& earlier, mutation const& later,
                                                                      collection_rules const& rules) {
    auto const before = [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; };
    std::vector<field_op> ops = earlier.ops;
    for (field_op const& op : later.ops) {
        auto const old = std::find_if(ops.begin(), ops.end(), [&](field_op const& o) { return o.field == op.field; });
        if (old == ops.end()) {
            ops.push_back(op);
            continue;
        }
        rule const by = rules.of(op.field);
        bool const extreme = by == rule::minimum || by == rule::maximum;
        if (extreme && old->kind != op.kind) { return std::nullopt; }
        if (op.kind == op_kind::add) {
            auto const base = old->kind == op_kind::unset ? std::optional<std::int64_t>{0} : naive_integer(old->value);
            auto const more = naive_integer(op.value);
            auto const sum = base && more ? naive_sum(*base, *more) : std::nullopt;
            if (!sum) { return std::nullopt; }
            op_kind const kind = old->kind == op_kind::add ? op_kind::add : op_kind::set;
            *old = {op.field, kind, naive_item(*sum), op.stamp};
        } else if (extreme && op.kind == op_kind::set) {
            auto const a = naive_integer(op.value);
            auto const b = naive_integer(old->value);
            if (!a || !b || (by == rule::minimum ? *a <= *b : *a >= *b)) { *old = op; }
        } else {
            *old = op;
        }
    }
    std::sort(ops.begin(), ops.end(), before);
    return ops;
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
