// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A mutation without what a person must decide: the part of it that the rules can apply alone.

#include <algorithm>
#include <cstddef>
#include <optional>
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

/// Takes out what its own writer has written over since, as is confirmed: it was made, and is not to come back. Additions
/// count beside what came later.
inline void take_out_overwritten(mutation& m, row const& remote, author_index author) {
    if (author == unknown_author) { return; }
    auto const over = [&](field_op const& op) {
        write_mark const& there = remote.mark_of(op.field);
        bool const whole = op.kind == op_kind::set || op.kind == op_kind::unset;
        return whole && there.author == author && there.stamp > op.stamp;
    };
    m.ops.erase(std::remove_if(m.ops.begin(), m.ops.end(), over), m.ops.end());
}

/// Applies a mutation without what a person must decide: what the rules leave open, what others have changed by the
/// authority's time since, and who ranks higher where that isn't known here. Guards are not asked.
/// Errors: what `apply` rejects the others with. Cost: that of `apply`, once more for each field that is asked.
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
        std::string const named = d.inside.empty() ? d.field : d.field + '.' + d.inside;
        if (!path_of(m.ops, named, f.path)) { return false; }
        (void)take_out(m.ops, f.path);
        out.asked.push_back(std::move(f));
        return true;
    };
    auto const by_clock_only = [&](decision const& d) {
        return d.by == rule::role && roles.role_of == nullptr && d.why != reason::same && d.why != reason::by_hint;
    };
    // Of what was first by the authority's time, each field is asked about alone.
    auto const refused = [&](mutation const& one) {
        std::optional<row> there = remote;
        auto const o = apply(there, one, rules, context);
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
            std::vector<field_path> timed;
            auto const walk = [&](auto&& self, std::vector<field_op> const& ops, field_path& at) -> void {
                for (field_op const& op : ops) {
                    at.push_back(op.field);
                    if (op.kind == op_kind::nested) {
                        self(self, operations_inside(op), at);
                    } else {
                        timed.push_back(at);
                    }
                    at.pop_back();
                }
            };
            field_path root;
            walk(walk, m.ops, root);
            for (field_path const& path : timed) {
                mutation one = m;
                if (!leave_only(one.ops, path) || !refused(one)) { continue; }
                (void)take_out(m.ops, path);
                out.asked.push_back({path, rule::authority_time});
            }
            if (out.asked.size() == before) { return outcome.reason; }
            continue;
        }
        for (decision const& d : outcome.decisions) {
            bool const waits = d.won == winner::nobody || by_clock_only(d);
            if (waits && !ask(d)) { return failure{errc::contended, "the whole record is contested"}; }
        }
        if (out.asked.size() != before) { continue; }
        out.decisions = std::move(outcome.decisions);
        return out;
    }
}

}  // namespace detail

}  // namespace syncline::inline SYNCLINE_ABI
