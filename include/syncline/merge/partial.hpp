// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A mutation without what a person must decide: the part of it that the rules can apply alone.

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/cbor.hpp>
#include <syncline/core/result.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/merge/context.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::size_t contested_fields_max = 4096;  ///< fields of one conflict

/// Where in a record: a field's name, then keys of maps inside it. Empty: the whole record (deleted by one, changed by
/// the other).
using field_path = std::vector<std::string>;

namespace detail {

/// Of a host what is asked before a person's choice is in the record: who ranks above whom.
[[nodiscard]] inline merge_host roles_of(merge_host const* host) {
    merge_host out;
    if (host != nullptr) {
        out.role_of = host->role_of;
        out.data = host->data;
    }
    return out;
}

/// The operations inside of a nested field; none of what holds no such.
[[nodiscard]] inline std::vector<field_op> operations_inside(field_op const& op) {
    cbor_reader in{op.value};
    auto inside = decode_operations(in, op.stamp);
    if (!in.finish()) { inside.clear(); }
    return inside;
}
inline void set_operations_inside(field_op& op, std::vector<field_op> const& inside) {
    op.value.clear();
    cbor_writer w{op.value};
    encode_operations(w, inside, op.stamp);
}

/// Takes the operation at a path, from its `depth`-th key on, out of operations; with a field of which only a part is
/// meant, but which was written as a whole, all of that. False: there is none.
[[nodiscard]] inline bool take_out(std::vector<field_op>& ops, field_path const& path, std::size_t depth = 0) {
    auto const at = std::find_if(ops.begin(), ops.end(), [&](field_op const& op) { return op.field == path[depth]; });
    if (at == ops.end()) { return false; }
    if (at->kind == op_kind::nested && depth + 1 < path.size()) {
        auto inside = operations_inside(*at);
        if (!take_out(inside, path, depth + 1)) { return false; }
        if (!inside.empty()) {
            set_operations_inside(*at, inside);
            return true;
        }
    }
    ops.erase(at);
    return true;
}
/// The same for many paths, which are in order as the operations are. Cost: that of going through both once.
inline void take_out_all(std::vector<field_op>& ops, std::span<field_path const* const> paths, std::size_t depth = 0) {
    auto at = paths.begin();
    auto const goes = [&](field_op& op) {
        while (at != paths.end() && compare_keys((**at)[depth], op.field) < 0) { ++at; }
        auto const first = at;
        bool whole = op.kind != op_kind::nested;
        for (; at != paths.end() && (**at)[depth] == op.field; ++at) { whole = whole || (*at)->size() == depth + 1; }
        if (first == at || whole) { return first != at; }
        auto inside = operations_inside(op);
        take_out_all(inside, {first, at}, depth + 1);
        if (!inside.empty()) { set_operations_inside(op, inside); }
        return inside.empty();
    };
    ops.erase(std::remove_if(ops.begin(), ops.end(), goes), ops.end());
}
/// Leaves of operations only that at a path. False: there is none.
[[nodiscard]] inline bool leave_only(std::vector<field_op>& ops, field_path const& path, std::size_t depth = 0) {
    auto const at = std::find_if(ops.begin(), ops.end(), [&](field_op const& op) { return op.field == path[depth]; });
    if (at == ops.end()) { return false; }
    field_op only = std::move(*at);
    if (depth + 1 < path.size()) {
        if (only.kind != op_kind::nested) { return false; }
        auto inside = operations_inside(only);
        if (!leave_only(inside, path, depth + 1)) { return false; }
        set_operations_inside(only, inside);
    }
    ops.clear();
    ops.push_back(std::move(only));
    return true;
}
/// The path of the operation that a decision is about: a nested field's names the way with dots, as names may have too.
[[nodiscard]] inline bool path_of(std::vector<field_op> const& ops, std::string_view named, field_path& out) {
    for (field_op const& op : ops) {
        bool const begins = named.substr(0, op.field.size()) == op.field;
        if (!begins) { continue; }
        std::string_view const rest = named.substr(op.field.size());
        if (!rest.empty() && (rest.front() != '.' || op.kind != op_kind::nested)) { continue; }
        out.push_back(op.field);
        if (rest.empty() || path_of(operations_inside(op), rest.substr(1), out)) { return true; }
        out.pop_back();
    }
    return false;
}

/// What of a mutation somebody must decide before the rest can have its effect.
struct asked_field {
    field_path path{};
    rule by = rule::manual;
};
struct rest_applied {
    std::optional<row> after{};
    std::vector<decision> decisions{};
    std::vector<asked_field> asked{};  ///< taken out of the mutation
};

/// A row with one field only, `value` or none, for what is decided by that field alone.
[[nodiscard]] inline row with_one_field(row const& r, std::string_view field, std::optional<bytes_view> value) {
    row out;
    out.version = r.version;
    out.life = r.life;
    out.deleted = r.deleted;
    out.floor = r.floor;
    auto mark = std::lower_bound(
        r.exceptions.begin(), r.exceptions.end(), field,
        [](field_mark const& e, std::string_view wanted) { return compare_keys(e.field, wanted) < 0; });
    for (; mark != r.exceptions.end() && mark->field == field; ++mark) { out.exceptions.push_back(*mark); }
    if (value) { out.fields = rewrite_fields({}, {{field, true, *value}}); }
    return out;
}

/// Takes out what its own writer has written over since, as is confirmed: it was made, and is not to come back. Additions
/// count beside what came later, and an extreme is of all that was written.
inline void take_out_overwritten(mutation& m, row const& remote, collection_rules const& rules, author_index author) {
    if (author == unknown_author) { return; }
    group_index const groups(rules, m.ops.size());
    auto const over = [&](field_op const& op) {
        write_mark const& there = remote.mark_of(op.field);
        bool const whole = op.kind == op_kind::set || op.kind == op_kind::unset;
        rule const by = groups.decides(op.field);
        bool const extreme = op.kind == op_kind::set && is_extreme(by);
        return whole && !extreme && there.author == author && there.stamp > op.stamp;
    };
    m.ops.erase(std::remove_if(m.ops.begin(), m.ops.end(), over), m.ops.end());
}

/// Applies a mutation without what a person must decide: what the rules leave open, what others have changed by the
/// authority's time since, and who ranks higher where that isn't known here. Guards are not asked.
/// Errors: what `apply` rejects the others with. Cost: that of `apply`, once more for each round of what is asked; of what was
/// first by the authority's time each field is looked for.
[[nodiscard]] inline result<rest_applied> apply_rest(row const& remote, mutation& m, collection_rules const& rules,
                                                     author_index author, merge_host const* host) {
    merge_host const roles = roles_of(host);
    apply_context context;
    context.author = author;
    context.at = remote.version;
    context.host = &roles;
    rest_applied out;
    auto const ask = [&](decision const& d) {
        asked_field f;
        f.by = d.by;
        field_op const* const op = operation_on(m.ops, d.field);
        if (op == nullptr) { return false; }
        f.path.push_back(op->field);
        if (!d.inside.empty() && !path_of(operations_inside(*op), d.inside, f.path)) { return false; }
        out.asked.push_back(std::move(f));
        return true;
    };
    // What was asked since, out of the mutation.
    auto const take_asked = [&](std::size_t from) {
        std::vector<field_path const*> paths;
        for (std::size_t i = from; i != out.asked.size(); ++i) { paths.push_back(&out.asked[i].path); }
        std::sort(paths.begin(), paths.end(), [](field_path const* a, field_path const* b) {
            return std::lexicographical_compare(
                a->begin(), a->end(), b->begin(), b->end(),
                [](std::string const& x, std::string const& y) { return compare_keys(x, y) < 0; });
        });
        take_out_all(m.ops, paths);
    };
    auto const by_clock_only = [&](decision const& d) {
        return d.by == rule::role && roles.role_of == nullptr && d.why != reason::same && d.why != reason::by_hint;
    };
    // Of what was first by the authority's time, each field is asked about alone.
    group_index const groups(rules, m.ops.size());
    auto const refused = [&](mutation const& bare, row const& there, field_op const& op, field_path const& path) {
        mutation one = bare;
        one.ops = {op};
        if (!leave_only(one.ops, path)) { return false; }
        std::optional<row> before = there;
        auto const o = apply(before, one, rules, context);
        return o.verdict == verdict_kind::rejected && o.reason == errc::contended;
    };
    for (;;) {
        if (out.asked.size() > contested_fields_max) { return failure{errc::limit, "fields of a conflict"}; }
        out.after = remote;
        if (m.ops.empty()) { return out; }
        auto outcome = apply(out.after, m, rules, context);
        std::size_t const before = out.asked.size();
        if (outcome.verdict == verdict_kind::rejected) {
            if (outcome.reason != errc::contended) { return outcome.reason; }
            std::vector<field_op> all = std::move(m.ops);
            m.ops.clear();
            mutation const bare = m;
            m.ops = std::move(all);
            fields_in_order values{remote.fields};
            for (field_op const& top : m.ops) {
                bool const alone = !rules.whole && groups.of(top.field) == nullptr;
                row const one = alone ? with_one_field(remote, top.field, values.find(top.field)) : row{};
                auto const look = [&](auto&& self, field_op const& op, rule by, rule_view inside,
                                      field_path& at) -> void {
                    at.push_back(op.field);
                    if (op.kind == op_kind::nested) {
                        for (field_op const& inner : operations_inside(op)) {
                            bool const whole = by != rule::nested;
                            self(self, inner, whole ? by : inside.of(inner.field), inside.inside(inner.field), at);
                        }
                    } else if (by == rule::authority_time && out.asked.size() <= contested_fields_max &&
                               refused(bare, alone ? one : remote, top, at)) {
                        out.asked.push_back({at, rule::authority_time});
                    }
                    at.pop_back();
                };
                field_path root;
                look(look, top, groups.decides(top.field), rules.view().inside(top.field), root);
            }
            if (out.asked.size() == before) { return outcome.reason; }
            take_asked(before);
            continue;
        }
        for (decision const& d : outcome.decisions) {
            bool const waits = d.won == winner::nobody || by_clock_only(d);
            if (waits && !ask(d)) { return failure{errc::contended, "the whole record is contested"}; }
        }
        if (out.asked.size() != before) {
            take_asked(before);
            continue;
        }
        out.decisions = std::move(outcome.decisions);
        return out;
    }
}

/// What a mutation did to a field that `remote` doesn't have goes as it was written, where `ops` would set what it came to:
/// set as a whole, it would stand against what others begin there meanwhile, and one of the two be lost. All in canonical
/// key order. Cost: O(fields of the record), and that of applying what is kept.
inline void keep_edits(std::vector<field_op>& ops, mutation const& edit, row const& remote,
                       collection_rules const& rules) {
    fields_in_order there{remote.fields};
    for (field_op& op : ops) {
        field_op const* const mine = op.kind == op_kind::set ? operation_on(edit.ops, op.field) : nullptr;
        bool const whole = mine == nullptr || mine->kind == op_kind::set || mine->kind == op_kind::unset;
        if (whole || there.find(op.field)) { continue; }
        mutation one;
        one.record = edit.record;
        one.life = remote.life;
        one.base = remote.version;
        one.stamp = edit.stamp;
        one.ops = {*mine};
        std::optional<row> alone = with_one_field(remote, op.field, std::nullopt);
        if (apply(alone, one, rules, {}).verdict == verdict_kind::rejected || !alone) { continue; }
        auto const made = fields_in_order{alone->fields}.find(op.field);
        if (!made || !equal(*made, op.value)) { continue; }  // a rule or a guard has made something else of it
        op.kind = mine->kind;
        op.value = mine->value;
    }
}

}  // namespace detail

}  // namespace syncline::inline SYNCLINE_ABI
