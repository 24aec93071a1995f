// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A decision about a conflict, and the one function that makes a mutation and a record of it: preview and deed.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/conflict/combine.hpp>
#include <syncline/conflict/conflict.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/merge/diff.hpp>
#include <syncline/merge/partial.hpp>
#include <syncline/merge/three_way.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What one field becomes. Values travel: append, never renumber.
enum class field_take : std::uint8_t {
    local = 1,
    remote = 2,
    base = 3,    ///< as it was before either
    merge = 4,   ///< what `combine` makes of both
    custom = 5,  ///< a value of the person's own
    none = 6,    ///< the field is missing
};
struct field_decision {
    field_path path{};
    field_take take = field_take::local;
    bytes value{};  ///< custom: one canonical item
    friend bool operator==(field_decision const&, field_decision const&) = default;
};

/// How a conflict is decided. Values travel: append, never renumber.
enum class resolve_kind : std::uint8_t {
    use_local = 1,     ///< this side's value in every contested field
    use_remote = 2,    ///< the other side's
    merge_fields = 3,  ///< a choice for each contested field
    custom = 4,        ///< the whole record as the person wrote it
};
struct resolution {
    resolve_kind kind = resolve_kind::use_local;
    std::vector<field_decision> fields{};  ///< merge_fields: in the order of paths, each contested field once
    bytes record{};                        ///< custom: a canonical map with text keys
    friend bool operator==(resolution const&, resolution const&) = default;

    [[nodiscard]] static resolution use_local() { return {}; }
    [[nodiscard]] static resolution use_remote() { return {resolve_kind::use_remote, {}, {}}; }
    [[nodiscard]] static resolution merge_fields(std::vector<field_decision> fields) {
        std::sort(fields.begin(), fields.end(),
                  [](field_decision const& a, field_decision const& b) { return compare_paths(a.path, b.path) < 0; });
        return {resolve_kind::merge_fields, std::move(fields), {}};
    }
    [[nodiscard]] static resolution custom(bytes record) { return {resolve_kind::custom, {}, std::move(record)}; }
};

/// Appends the canonical form: an array of three items.
inline void encode_resolution(cbor_writer& out, resolution const& r) {
    out.array(3);
    out.unsigned_integer(static_cast<std::uint64_t>(r.kind));
    out.array(r.fields.size());
    for (field_decision const& f : r.fields) {
        bool const custom = f.take == field_take::custom;
        out.array(custom ? 3 : 2);
        detail::encode_path(out, f.path);
        out.unsigned_integer(static_cast<std::uint64_t>(f.take));
        if (custom) { out.raw(f.value); }
    }
    if (r.kind == resolve_kind::custom) {
        out.raw(r.record);
    } else {
        out.null();
    }
}
/// Reads what `encode_resolution` wrote; on anything else the reader has failed.
[[nodiscard]] inline resolution decode_resolution(cbor_reader& in) {
    resolution r;
    if (in.array() != 3) { in.fail({errc::malformed, "resolution of the wrong length"}); }
    r.kind = static_cast<resolve_kind>(detail::bounded(in, 4, 1));
    std::size_t const n = in.array();
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        field_decision f;
        std::size_t const parts = in.array();
        f.path = detail::decode_path(in);
        f.take = static_cast<field_take>(detail::bounded(in, 6, 1));
        if (parts != (f.take == field_take::custom ? 3U : 2U)) {
            in.fail({errc::malformed, "choice of the wrong length"});
        }
        if (f.take == field_take::custom) { f.value = to_bytes(in.skip()); }
        if (!r.fields.empty() && compare_paths(r.fields.back().path, f.path) >= 0) {
            in.fail({errc::not_deterministic, "choices out of order"});
        }
        r.fields.push_back(std::move(f));
    }
    if (r.kind == resolve_kind::custom) {
        r.record = to_bytes(in.skip());
    } else if (!in.null()) {
        in.fail({errc::malformed, "a record that was not asked for"});
    }
    return r;
}

/// Who decides, and as what the mutation goes out.
struct decision_maker {
    bytes_view by{};    ///< the host's name for them, at most 255 bytes
    timestamp stamp{};  ///< of the new mutation, from the host's clock
    wall_time now{};
    author_index author = unknown_author;  ///< of this replica
    bool automatic = false;                ///< a suggestion was applied without asking
    /// What is known here of what the authority's host knows: see `settle`. Null: nothing.
    merge_host const* host = nullptr;
};

/// What a decision comes to: the mutation that carries it, and the record that it makes.
struct settled {
    /// An update, erase or create that has seen the remote row: `base` is its version. Without operations, and an update,
    /// there is nothing to send: the remote side stands as it is.
    mutation change{};
    std::optional<row> after{};         ///< the remote row with `change` applied
    std::vector<decision> decisions{};  ///< what rules decided about what was not contested, and guards' repairs
    friend bool operator==(settled const&, settled const&) = default;

    [[nodiscard]] bool sends() const noexcept { return change.kind != change_kind::update || !change.ops.empty(); }
};

namespace detail {

/// Whether edits of elements that but remove are those of a list. A list's name identities, a set's the elements themselves:
/// where both would be there, the order tells, in which a set's elements are kept. Cost: that of sorting both.
[[nodiscard]] inline bool removes_of_list(bytes_view was, std::vector<element_edit> const& edits) {
    auto items = items_of(was);
    if (!items || !ordered_elements{}.load(was)) { return false; }
    bool const sorted = std::is_sorted(items->begin(), items->end(), bytes_before);
    std::vector<bytes_view> names;
    names.reserve(items->size());
    for (bytes_view const item : *items) { names.push_back(element_identity(item)); }
    sort_once(*items);
    sort_once(names);
    auto const holds = [](std::vector<bytes_view> const& all, bytes_view one) {
        return std::binary_search(all.begin(), all.end(), one, bytes_before);
    };
    return std::any_of(edits.begin(), edits.end(), [&](element_edit const& e) {
        return holds(names, e.identity) && !(sorted && holds(*items, e.identity));
    });
}

/// The rules under which operations do what they say and nothing else. The kind of an operation tells what its field was to
/// its writer; only of elements that are but removed the values tell whether it was a list. `before`: what they were
/// made on, a canonical map or empty.
[[nodiscard]] inline std::vector<field_rule> rules_of_operations(bytes_view before, std::vector<field_op> const& ops,
                                                                 std::size_t depth = 0) {
    std::vector<field_rule> out;
    fields_in_order there{before};
    for (field_op const& op : ops) {
        bool const speaks = op.kind == op_kind::elements || op.kind == op_kind::revise || op.kind == op_kind::nested;
        if (!speaks) { continue; }
        bytes_view const was = there.find(op.field).value_or(bytes_view{});
        field_rule by{op.field, rule::nested};
        if (op.kind == op_kind::revise) {
            cbor_reader in{op.value};
            (void)in.array();
            by.decides = in.peek() == cbor_type::array ? rule::sequence : rule::text_lines;
        } else if (op.kind == op_kind::elements) {
            auto const edits = decode_element_edits(op.value);
            auto const any = [&](auto&& is) { return edits && std::any_of(edits->begin(), edits->end(), is); };
            bool const orders = any([](element_edit const& e) { return e.verb > element_verb::remove; });
            bool const adds = any([](element_edit const& e) { return e.verb == element_verb::add; });
            bool const of_list = orders || (!adds && edits && removes_of_list(was, *edits));
            by.decides = of_list ? rule::list : rule::add_wins;
        } else if (depth < nested_depth_max) {
            cbor_reader in{op.value};
            auto const inside = decode_operations(in, op.stamp);
            bool const is_map = !was.empty() && type_of(was) == cbor_type::map;
            by.inner = rules_of_operations(is_map ? was : bytes_view{}, inside, depth + 1);
        }
        out.push_back(std::move(by));
    }
    return out;
}

}  // namespace detail

/// The fields as this side has them: what it touched applied to what its writer saw, each operation doing what it says,
/// whatever the rules are now. Empty for one that it erased.
/// Errors: `errc::invalid` when the operations don't fit the base.
[[nodiscard]] inline result<bytes> local_fields(conflict const& c) {
    if (c.local.kind == change_kind::erase) { return bytes{}; }
    std::optional<row> mine;
    if (c.local.kind == change_kind::update || !c.base.empty()) {
        mine.emplace();
        mine->life = c.local.life;
        mine->fields = c.base;
    }
    mutation m = c.local;
    if (mine) { m.kind = change_kind::update; }
    collection_rules as_made;
    as_made.fields = detail::rules_of_operations(c.base, m.ops);
    auto const outcome = apply(mine, m, as_made, {});
    if (outcome.verdict == verdict_kind::rejected || outcome.verdict == verdict_kind::conflict) {
        return failure{errc::invalid, "operations that don't fit the base"};
    }
    return std::move(mine->fields);
}

namespace detail {

/// `map` with the value at a path replaced, or taken away; maps on the way are made where they are missing.
[[nodiscard]] inline result<bytes> put_at(bytes_view map, field_path const& path, std::optional<bytes_view> value) {
    std::vector<bytes_view> on_the_way{map};
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        auto const inner = value_at(on_the_way.back(), {path[i]});
        if (!inner) { return inner.error(); }
        bool const is_map = *inner && cbor_reader{**inner}.peek() == cbor_type::map;
        if (!is_map && !value) { return to_bytes(map); }  // there is nothing to take away
        if (*inner && !is_map) { return failure{errc::type_mismatch, "a path through what is no map"}; }
        if (is_map) {
            // One with other keys than texts, which would be lost on the way.
            cbor_map_cursor all(**inner);
            while (all.next()) {}
            if (all.failed()) {
                return failure{errc::type_mismatch, "a path through a map with other keys than texts"};
            }
        }
        on_the_way.push_back(is_map ? **inner : bytes_view{});
    }
    bytes made = value ? to_bytes(*value) : bytes{};
    bool present = value.has_value();
    for (std::size_t i = path.size(); i-- != 0;) {
        made = rewrite_fields(on_the_way[i], {{path[i], present, made}});
        present = true;
    }
    return made;
}

/// The three values of one contested field; missing ones are nothing.
struct three_values {
    std::optional<bytes_view> base{};
    std::optional<bytes_view> local{};
    std::optional<bytes_view> remote{};
};
[[nodiscard]] inline result<three_values> values_of(bytes_view base, bytes_view local, bytes_view remote,
                                                    field_path const& path) {
    three_values out;
    auto const get = [&](bytes_view map, std::optional<bytes_view>& to) -> status {
        if (map.empty()) { return {}; }
        auto found = value_at(map, path);
        if (!found) { return found.error(); }
        to = *found;
        return {};
    };
    if (auto ok = get(base, out.base); !ok) { return ok.error(); }
    if (auto ok = get(local, out.local); !ok) { return ok.error(); }
    if (auto ok = get(remote, out.remote); !ok) { return ok.error(); }
    return out;
}

/// The same of paths that are asked for in their order, all of them through once.
class values_in_order {
public:
    values_in_order(bytes_view base, bytes_view local, bytes_view remote)
        : base_(base), local_(local), remote_(remote), in_base_(base), in_local_(local), in_remote_(remote) {}
    [[nodiscard]] result<three_values> of(field_path const& path) {
        if (path.size() != 1) { return values_of(base_, local_, remote_, path); }
        std::string const& field = path.front();
        return three_values{in_base_.find(field), in_local_.find(field), in_remote_.find(field)};
    }

private:
    bytes_view base_, local_, remote_;
    fields_in_order in_base_, in_local_, in_remote_;
};

/// What a choice makes of a field. `errc::invalid` where it can't be.
[[nodiscard]] inline result<std::optional<bytes>> taken(field_decision const& d, three_values const& v) {
    auto const copy = [](std::optional<bytes_view> const& from) {
        return from ? std::optional<bytes>{to_bytes(*from)} : std::nullopt;
    };
    switch (d.take) {
        case field_take::local: return copy(v.local);
        case field_take::remote: return copy(v.remote);
        case field_take::base: return copy(v.base);
        case field_take::none: return std::optional<bytes>{};
        case field_take::custom:
            if (!validate_canonical(d.value)) { return failure{errc::invalid, "a value that is not canonical"}; }
            return std::optional<bytes>{d.value};
        case field_take::merge: {
            auto both = v.base && v.local && v.remote ? combine(*v.base, *v.local, *v.remote) : std::nullopt;
            if (!both) { return failure{errc::invalid, "two changes that can't be made one"}; }
            return std::optional<bytes>{std::move(*both)};
        }
    }
    return failure{errc::invalid, "unknown choice"};
}

/// The choices that a resolution means, one for each contested field.
[[nodiscard]] inline result<std::vector<field_decision>> choices_of(conflict const& c, resolution const& r) {
    std::vector<field_decision> out;
    if (r.kind == resolve_kind::merge_fields) {
        bool const fits =
            r.fields.size() == c.fields.size() &&
            std::equal(r.fields.begin(), r.fields.end(), c.fields.begin(),
                       [](field_decision const& d, contested_field const& f) { return d.path == f.path; });
        if (!fits) { return failure{errc::invalid, "each contested field takes one choice"}; }
        return r.fields;
    }
    field_take const take = r.kind == resolve_kind::use_local ? field_take::local : field_take::remote;
    for (contested_field const& f : c.fields) { out.push_back({f.path, take, {}}); }
    return out;
}

/// Whether one path is the other, or leads to it.
[[nodiscard]] inline bool related(field_path const& a, field_path const& b) noexcept {
    std::size_t const n = (std::min)(a.size(), b.size());
    return std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin());
}
inline void sort_paths(std::vector<contested_field>& fields) {
    std::sort(fields.begin(), fields.end(),
              [](contested_field const& a, contested_field const& b) { return compare_paths(a.path, b.path) < 0; });
}

/// The rules with another one for what stands at a path, which is looked into on the way.
inline void put_rule(std::vector<field_rule>& fields, rule& fallback, field_path const& path, rule by,
                     std::size_t depth = 0) {
    auto at = std::find_if(fields.begin(), fields.end(), [&](field_rule const& f) { return f.field == path[depth]; });
    if (at == fields.end()) {
        fields.push_back({path[depth], fallback});
        at = fields.end() - 1;
    }
    if (depth + 1 == path.size()) {
        at->decides = by;
        return;
    }
    at->decides = rule::nested;
    put_rule(at->inner, at->inner_fallback, path, by, depth + 1);
}

/// The same for what stands at many paths, which are in order. Cost: that of sorting the rules.
inline void put_rules(std::vector<field_rule>& fields, rule& fallback, std::vector<contested_field> const& at,
                      rule by) {
    auto const before = [](field_rule const& a, field_rule const& b) { return compare_keys(a.field, b.field) < 0; };
    std::stable_sort(fields.begin(), fields.end(), before);
    std::vector<field_rule> all;
    all.reserve(fields.size() + at.size());
    auto next = fields.begin();
    for (contested_field const& f : at) {
        std::string const& top = f.path.front();
        while (next != fields.end() && compare_keys(next->field, top) <= 0) { all.push_back(std::move(*next++)); }
        std::vector<field_rule> one;
        if (!all.empty() && all.back().field == top) {
            one.push_back(std::move(all.back()));
            all.pop_back();
        }
        put_rule(one, fallback, f.path, by);
        all.push_back(std::move(one.front()));
    }
    std::move(next, fields.end(), std::back_inserter(all));
    fields = std::move(all);
}

/// The operations of a mutation as an edit of a living row.
[[nodiscard]] inline mutation as_edit(mutation m, row const& of) {
    m.kind = change_kind::update;
    m.life = of.life;
    return m;
}

/// A map of which a part is contested and which this side wrote as a whole: the other parts merged, each by its rule.
[[nodiscard]] inline result<bytes> merged_map(three_values const& v, field_path const& top, conflict const& c,
                                              collection_rules const& rules, author_index author) {
    rule_view const inside = rules.view().inside(top.front());
    collection_rules inner;
    inner.fallback = inside.fallback;
    if (inside.fields != nullptr) { inner.fields = *inside.fields; }
    for (contested_field const& f : c.fields) {
        bool const part = f.path.size() > 1 && f.path.front() == top.front();
        // What it becomes the person says; here it needs only become something.
        if (part) { put_rule(inner.fields, inner.fallback, {f.path.begin() + 1, f.path.end()}, rule::last_writer); }
    }
    write_mark const mark = c.remote->mark_of(top.front());
    auto merged = three_way(*v.base, *v.local, *v.remote, inner, {c.local.stamp, author}, {mark.stamp, mark.author});
    if (!merged) { return merged.error(); }
    if (!merged->conflicts.empty()) { return failure{errc::contended, "another part of the map is contested"}; }
    return std::move(merged->record);
}

/// The choices, those about a nested field as choices about what waits in it: the rules decide its other parts.
[[nodiscard]] inline result<std::vector<field_decision>> refined(std::vector<field_decision> choices, conflict const& c,
                                                                 collection_rules const& rules, author_index author,
                                                                 merge_host const* host) {
    std::vector<field_decision> out;
    mutation bare = c.local;
    bare.ops.clear();
    bare = as_edit(std::move(bare), *c.remote);
    for (std::size_t i = 0; i < choices.size(); ++i) {
        field_decision& d = choices[i];
        field_op const* const op = operation_on(c.local.ops, d.path.front());
        bool const side = d.take == field_take::local || d.take == field_take::remote;
        mutation one = bare;
        if (side && op != nullptr && op->kind == op_kind::nested && c.fields[i].guard.empty()) { one.ops = {*op}; }
        if (leave_only(one.ops, d.path)) {
            auto const parts = apply_rest(*c.remote, one, rules, author, host);
            if (parts && !parts->asked.empty()) {
                for (asked_field const& p : parts->asked) { out.push_back({p.path, d.take, {}}); }
                continue;
            }
        }
        out.push_back(std::move(d));
    }
    std::sort(out.begin(), out.end(),
              [](field_decision const& a, field_decision const& b) { return compare_paths(a.path, b.path) < 0; });
    return out;
}

/// A map that this side wrote as a whole, and that `wanted` has so, goes as a whole: the rules inside of it had no say when it
/// was written, and may let in no way to it. All in canonical key order.
inline void keep_whole(std::vector<field_op>& ops, std::vector<field_op> const& local, bytes_view wanted) {
    auto mine = local.begin();
    fields_in_order is{wanted};
    for (field_op& op : ops) {
        while (mine != local.end() && compare_keys(mine->field, op.field) < 0) { ++mine; }
        if (mine == local.end()) { return; }
        if (op.kind != op_kind::nested || mine->field != op.field || mine->kind != op_kind::set) { continue; }
        auto const made = is.find(op.field);
        if (!made || !equal(*made, mine->value)) { continue; }
        op.kind = op_kind::set;
        op.value = to_bytes(*made);
    }
}

/// The record as it is to be where this side's edit is kept although the record is gone, or another's by now.
[[nodiscard]] inline result<bytes> kept_fields(conflict const& c, bytes_view local, collection_rules const& rules,
                                               author_index author, merge_host const* host) {
    row alive = *c.remote;
    alive.deleted = false;
    if (alive.fields.empty() && c.remote->deleted) {
        alive.fields = c.base;  // a tombstone that kept nothing: as it was last seen
        alive.exceptions.clear();
        alive.floor = {};
    }
    // What has this side's value whatever the rules say: all that it touched in another life of the record, else what
    // waits for a person, who said so.
    std::vector<field_path> mine;
    bytes wanted = alive.fields;
    if (c.local.life != c.remote->life) {
        for (field_op const& op : c.local.ops) { mine.push_back({op.field}); }
    } else {
        mutation edit = as_edit(c.local, alive);
        if (edit.hint == merge_hint::remote) { edit.hint = merge_hint::merge; }
        auto rest = apply_rest(alive, edit, rules, author, host);
        if (!rest) { return rest.error(); }
        wanted = std::move(rest->after->fields);
        for (asked_field& f : rest->asked) { mine.push_back(std::move(f.path)); }
    }
    for (field_path const& path : mine) {
        auto const value =
            local.empty() ? result<std::optional<bytes_view>>{std::optional<bytes_view>{}} : value_at(local, path);
        if (!value) { return value.error(); }
        auto next = put_at(wanted, path, *value);
        if (!next) { return next.error(); }
        wanted = std::move(*next);
    }
    return wanted;
}

}  // namespace detail

/// The contested fields with those that wait for a person against `remote`. None goes, as somebody may have begun to
/// decide it, but for parts of a map that is contested as a whole now.
///
/// Waiting are fields that the rules leave open, that others have changed by the authority's time since, and those by
/// rank, where `as.host` doesn't know the ranks; and what its guards and references refuse of the rest, so that the other
/// side's values in all of them make a record that may be. Of a nested field it is the part inside that waits.
[[nodiscard]] inline std::vector<contested_field> contested_now(conflict const& c, row const& remote,
                                                                collection_rules const& rules,
                                                                apply_context const& as = {}) {
    std::vector<contested_field> fields = c.fields;
    if (c.of_whole_record() || remote.deleted || c.local.kind == change_kind::erase || c.local.life != remote.life) {
        return fields;
    }
    mutation rest = detail::as_edit(c.local, remote);
    std::vector<field_path const*> paths;
    paths.reserve(fields.size());
    for (contested_field const& f : fields) { paths.push_back(&f.path); }
    detail::take_out_all(rest.ops, paths);
    auto const applied = detail::apply_rest(remote, rest, rules, as.author, as.host);
    if (!applied) { return fields; }
    auto const contest = [&](contested_field one) {
        fields.erase(std::remove_if(fields.begin(), fields.end(),
                                    [&](contested_field const& g) { return detail::related(g.path, one.path); }),
                     fields.end());
        fields.push_back(std::move(one));
    };
    for (detail::asked_field const& f : applied->asked) {
        if (f.path.size() > path_depth_max) { continue; }
        contested_field one;
        one.path = f.path;
        one.by = f.by;
        contest(std::move(one));
    }
    if (c.last_decision == 0) { detail::take_out_overwritten(rest, remote, rules, as.author); }
    apply_context context = as;
    context.at = remote.version;
    for (detail::refused_field& f : detail::refused_of_rest(remote, std::move(rest), rules, context)) {
        contested_field one;
        one.path = {f.told.field};
        one.by = f.told.by;
        if (f.guard.size() <= guard_bytes_max && valid_utf8(f.guard)) { one.guard = std::move(f.guard); }
        contest(std::move(one));
    }
    detail::sort_paths(fields);
    return fields;
}

/// What a decision comes to, by the one apply function, with the rules of the collection: so what is shown before is what
/// is done after.
///
/// In the contested fields the person's choice stands; of a nested field it is about what waits inside of it. What else
/// the local mutation did goes along by the rules, as if there had been no conflict: nothing of it is lost, and it beats
/// nothing that it would not have beaten. (`custom` says the whole record instead.) Where the record was deleted by one
/// and changed by the other: `use_local` deletes, or begins a new life with this side's edit of what the record was;
/// `use_remote` leaves it as it is; `custom` writes it.
///
/// `host` knows what the authority's does: guards and references are asked about the record as it would be, roles decide.
/// Without one the authority alone asks them, and a field by rank that others have changed too is for a person.
///
/// Errors: `errc::not_found` (the remote is not held yet; a reference to nothing), `errc::invalid` (a kind that there is
/// none of, rules of another collection, a field without a choice or with two, a value that is no canonical item, two
/// changes that can't be combined, a choice of fields where the whole record is contested), `errc::contended` (another
/// field needs a person now), `errc::rejected` (the field's rule doesn't let the chosen value in: a minimum can't be
/// raised), `errc::forbidden` (a guard of `host` refuses the record that it makes, or asks), and what `apply` rejects with.
/// Cost: O(fields + operations), as `apply`.
[[nodiscard]] inline result<settled> settle(conflict const& c, resolution const& r, collection_rules const& rules,
                                            timestamp stamp, author_index author = unknown_author,
                                            merge_host const* host = nullptr) {
    if (!c.remote) { return failure{errc::not_found, "the remote is not held yet"}; }
    if (!rules.collection.empty() && rules.collection != c.record.collection) {
        return failure{errc::invalid, "rules of another collection"};
    }
    if (r.kind < resolve_kind::use_local || r.kind > resolve_kind::custom) {
        return failure{errc::invalid, "unknown kind of decision"};
    }
    if (r.kind == resolve_kind::custom) {
        if (auto ok = validate_fields(r.record); !ok) {
            return failure{errc::invalid, "a record that is not canonical"};
        }
    }
    settled out;
    out.change.stamp = stamp;
    out.change.record = c.record;
    out.change.life = c.remote->life;
    out.change.base = c.remote->version;
    out.after = c.remote;

    auto const local = local_fields(c);
    bytes wanted;                   // the record as it is to be
    std::optional<mutation> along;  // what goes along with the decision
    bool const other_life = c.local.life != c.remote->life;
    if (c.of_whole_record() || c.remote->deleted || other_life || c.local.kind == change_kind::erase) {
        if (r.kind == resolve_kind::merge_fields) { return failure{errc::invalid, "the whole record is contested"}; }
        if (r.kind == resolve_kind::use_remote) { return out; }
        if (r.kind == resolve_kind::use_local && c.local.kind == change_kind::erase) {
            if (c.remote->deleted) { return out; }
            out.change.kind = change_kind::erase;
        } else {
            if (r.kind == resolve_kind::custom) {
                wanted = r.record;
            } else {
                if (!local) { return local.error(); }
                auto kept = detail::kept_fields(c, *local, rules, author, host);
                if (!kept) { return kept.error(); }
                wanted = std::move(*kept);
            }
            if (c.remote->deleted) {
                out.change.kind = change_kind::create;
                ++out.change.life;
            }
        }
    } else if (r.kind == resolve_kind::custom) {
        wanted = r.record;
    } else {
        auto asked = detail::choices_of(c, r);
        if (!asked) { return asked.error(); }
        auto const choices = detail::refined(std::move(*asked), c, rules, author, host);
        if (!choices) { return choices.error(); }
        // What is not contested, by the rules.
        mutation rest = detail::as_edit(c.local, *c.remote);
        std::vector<field_path const*> theirs;
        theirs.reserve(choices->size());
        for (field_decision const& d : *choices) { theirs.push_back(&d.path); }
        detail::take_out_all(rest.ops, theirs);
        // After a decision that was taken back, what stands there is what that wrote.
        if (c.last_decision == 0) { detail::take_out_overwritten(rest, *c.remote, rules, author); }
        auto applied = detail::apply_rest(*c.remote, rest, rules, author, host);
        if (!applied) { return applied.error(); }
        if (!applied->asked.empty()) { return failure{errc::contended, "another field is contested"}; }
        wanted = std::move(applied->after->fields);
        out.decisions = std::move(applied->decisions);
        along = std::move(rest);
        // What is, by the person.
        bytes_view const mine = local ? bytes_view{*local} : bytes_view{};
        detail::values_in_order all{c.base, mine, c.remote->fields};
        std::vector<std::optional<bytes>> made;  // of whole fields, which are put in together
        std::vector<detail::field_change> whole;
        made.reserve(choices->size());
        for (std::size_t i = 0; i < choices->size(); ++i) {
            field_decision const& d = (*choices)[i];
            std::string const& top = d.path.front();
            if (d.path.size() > 1 && (i == 0 || (*choices)[i - 1].path.front() != top)) {
                field_op const* const op = operation_on(c.local.ops, top);
                auto const v = detail::values_of(c.base, mine, c.remote->fields, {top});
                if (!v) { return v.error(); }
                auto const is_map = [](std::optional<bytes_view> const& item) {
                    return item && cbor_reader{*item}.peek() == cbor_type::map;
                };
                bool const replaced = op != nullptr && op->kind != op_kind::nested;
                if (replaced && is_map(v->base) && is_map(v->local) && is_map(v->remote)) {
                    auto const merged = detail::merged_map(*v, {top}, c, rules, author);
                    if (!merged) { return merged.error(); }
                    wanted = detail::rewrite_fields(wanted, {{top, true, *merged}});
                }
            }
            bool const own = d.take == field_take::local || d.take == field_take::merge;
            if (own && !local) { return local.error(); }
            bool const part = d.path.size() > 1;
            auto const v = all.of(d.path);
            if (!v) { return v.error(); }
            auto value = detail::taken(d, *v);
            if (!value) { return value.error(); }
            if (!part) {
                made.push_back(std::move(*value));
                whole.push_back({top, made.back().has_value(), made.back() ? bytes_view{*made.back()} : bytes_view{}});
                continue;
            }
            auto next = detail::put_at(wanted, d.path, *value ? std::optional<bytes_view>{**value} : std::nullopt);
            if (!next) { return next.error(); }
            wanted = std::move(*next);
        }
        if (!whole.empty()) { wanted = detail::rewrite_fields(wanted, whole); }
    }
    if (out.change.kind != change_kind::erase) {
        bool const begins = out.change.kind == change_kind::create;
        auto made = begins ? diff({}, wanted, collection_rules{}, stamp) : diff(c.remote->fields, wanted, rules, stamp);
        if (!made) { return made.error(); }
        out.change.ops = std::move(*made);
        detail::keep_whole(out.change.ops, c.local.ops, wanted);
        if (along) { detail::keep_edits(out.change.ops, *along, *c.remote, rules); }
    }
    if (!out.sends()) { return out; }
    apply_context context;
    context.author = author;
    context.at = c.remote->version;
    context.host = host;
    auto const done = apply(out.after, out.change, rules, context);
    if (done.verdict == verdict_kind::rejected) { return detail::rejection(done.reason); }
    if (!done.changed && !done.guard.empty()) { return failure{errc::forbidden, "a guard asks"}; }
    // Who takes this side's record over another life of it has said nothing of a maximum that stands higher there.
    bool const extremes_stay = r.kind == resolve_kind::use_local && other_life;
    bool const refused = std::any_of(done.decisions.begin(), done.decisions.end(), [&](decision const& d) {
        bool const stays = extremes_stay && is_extreme(d.by);
        return d.won == winner::confirmed && !stays;
    });
    if (!done.changed && !refused && extremes_stay) {
        out.change.ops.clear();
        return out;
    }
    if (refused || !done.changed) { return failure{errc::rejected, "a rule doesn't let the chosen value in"}; }
    out.decisions.insert(out.decisions.end(), done.decisions.begin(), done.decisions.end());
    return out;
}

/// How another rule would have decided: each contested field by `by`, a group or a record that is contested with it, the
/// local mutation and the remote row as they are.
///
/// A rule that picks a side decides for a whole group; any other for each of its fields. The answer is a resolution, to be
/// shown or taken as any other. Not for a conflict over the whole record (`errc::invalid`). Errors: `errc::not_found` (the
/// remote is not held yet), `errc::rejected` (the rule leaves it to a person, or a guard of `host` does), what `apply` rejects with (a counter over
/// a text).
[[nodiscard]] inline result<resolution> by_rule(conflict const& c, rule by, collection_rules rules,
                                                author_index author = unknown_author,
                                                merge_host const* host = nullptr) {
    if (!c.remote) { return failure{errc::not_found, "the remote is not held yet"}; }
    if (c.of_whole_record() || c.remote->deleted || c.local.kind == change_kind::erase ||
        c.local.life != c.remote->life) {
        return failure{errc::invalid, "the whole record is contested"};
    }
    bool const sides = chooses_a_side(by);
    if (rules.whole) {
        if (sides) {
            rules.whole = by;
        } else {
            rules.whole.reset();
        }
    }
    std::vector<std::string_view> speaks;  // fields that the rule is about
    speaks.reserve(c.fields.size());
    for (contested_field const& f : c.fields) { speaks.emplace_back(f.path.front()); }
    std::sort(speaks.begin(), speaks.end());
    auto const is_contested = [n = speaks.size(), &speaks](std::string_view field) {
        return std::binary_search(speaks.begin(), speaks.begin() + static_cast<std::ptrdiff_t>(n), field);
    };
    for (field_group& g : rules.groups) {
        if (!std::any_of(g.fields.begin(), g.fields.end(), is_contested)) { continue; }
        if (sides) {
            g.decides = by;
            speaks.insert(speaks.end(), g.fields.begin(), g.fields.end());
        } else {
            std::erase_if(g.fields, is_contested);
        }
    }
    detail::put_rules(rules.fields, rules.fallback, c.fields, by);
    auto const local = local_fields(c);
    if (!local) { return local.error(); }
    // The operations as that rule would have had them: a counter's change is an addition.
    auto ops = diff(c.base, *local, rules, c.local.stamp);
    if (!ops) { return ops.error(); }
    if (!rules.whole) {
        std::sort(speaks.begin(), speaks.end());  // with the others of their groups
        std::erase_if(*ops, [&](field_op const& op) {
            return !std::binary_search(speaks.begin(), speaks.end(), std::string_view{op.field});
        });
    }
    mutation m = detail::as_edit(c.local, *c.remote);
    m.ops = std::move(*ops);
    std::optional<row> after = c.remote;
    apply_context context;
    context.author = author;
    context.at = c.remote->version;
    context.host = host;
    auto const outcome = apply(after, m, rules, context);
    if (outcome.verdict == verdict_kind::rejected) { return outcome.reason; }
    if (outcome.verdict == verdict_kind::conflict) { return failure{errc::rejected, "that rule asks a person"}; }
    std::vector<field_decision> fields;
    detail::fields_in_order there{after->fields};
    for (contested_field const& f : c.fields) {
        auto const v = f.path.size() == 1 ? result<std::optional<bytes_view>>{there.find(f.path.front())}
                                          : value_at(after->fields, f.path);
        if (!v) { return v.error(); }
        fields.push_back({f.path, *v ? field_take::custom : field_take::none, *v ? to_bytes(**v) : bytes{}});
    }
    return resolution::merge_fields(std::move(fields));
}

/// The row that a change made of the one that it had seen, whatever the rules are now: no rule had a say. Without marks.
/// What guards of `host` repaired belongs to it; one that would refuse it today did not then.
/// `errc::corrupt` where it could not have been made of that.
[[nodiscard]] inline result<std::optional<row>> replayed(row const& before, mutation const& change, author_index author,
                                                         merge_host const* host = nullptr) {
    std::optional<row> after = before;
    after->exceptions.clear();  // whose form is the rules' business
    collection_rules as_made;
    as_made.fields = detail::rules_of_operations(before.fields, change.ops);
    apply_context context;
    context.author = author;
    context.at = before.version;
    context.host = host;
    bool made = apply(after, change, as_made, context).changed;
    context.host = nullptr;
    made = made || apply(after, change, as_made, context).changed;
    if (!made) { return failure{errc::corrupt, "a change of another row"}; }
    return after;
}

namespace detail {

/// Makes `ops`, which lead from what a decision made of some fields to what they were, into those that take it back from
/// what they are now: additions and elements by their opposites, so that others' stay; all else where nobody has
/// changed it since. `told` hears of what its rule keeps: a maximum that was raised stays. `errc::contended`: changed since.
[[nodiscard]] inline status take_back(std::vector<field_op>& ops, bytes_view made, bytes_view is, bytes_view was,
                                      collection_rules const* record, rule_view rules, std::string const& top,
                                      std::string const& inside, std::vector<decision>& told) {
    std::vector<field_op> left;
    fields_in_order in_made{made}, in_now{is}, in_before{was};
    for (field_op& op : ops) {
        rule const by = record != nullptr ? record->decides(op.field) : rules.of(op.field);
        auto const was_made = in_made.find(op.field);
        auto const now = in_now.find(op.field);
        auto const before = in_before.find(op.field);
        if (op.kind == op_kind::add || (op.kind == op_kind::elements && is_set(by))) {
            left.push_back(std::move(op));
            continue;
        }
        bool const maps = op.kind == op_kind::nested && now && type_of(*now) == cbor_type::map;
        std::string const here = top.empty() ? std::string{} : inside.empty() ? op.field : inside + '.' + op.field;
        if (maps) {
            auto below = operations_inside(op);
            auto const ok = take_back(below, *was_made, *now, *before, nullptr, rules.inside(op.field),
                                      top.empty() ? op.field : top, here, told);
            if (!ok) { return ok; }
            if (below.empty()) { continue; }
            set_operations_inside(op, below);
            left.push_back(std::move(op));
            continue;
        }
        if (is_extreme(by) && op.kind == op_kind::set && now) {
            auto const order = compare_values(*before, *now);
            if (by == rule::minimum ? order > 0 : order < 0) {
                told.push_back({top.empty() ? op.field : top, by, winner::confirmed, reason::by_value, here});
                continue;
            }
        }
        bool const same = was_made.has_value() == now.has_value() && (!now || equal(*was_made, *now));
        if (!same) { return failure{errc::contended, "a field was changed since"}; }
        left.push_back(std::move(op));
    }
    ops = std::move(left);
    return {};
}

}  // namespace detail

/// The mutation that takes a decision back: where its fields still hold what it made of them, they become again what
/// they were before; what it added to a number or a set is taken away again, beside what others added. A minimum or
/// maximum that it moved stays, and the decisions tell so, as they do of what guards of `host` repair. `current` is the
/// record now.
///
/// Errors: `errc::contended` when somebody has changed one of those fields since, or deleted the record, or begun
/// another life of it: nothing is taken back; `errc::rejected` when the rules keep all of it, `errc::forbidden` where a
/// guard of `host` refuses or asks. Cost: O(fields + operations).
[[nodiscard]] inline result<settled> inverse(row const& before, settled const& done, row const& current,
                                             collection_rules const& rules, timestamp stamp,
                                             author_index author = unknown_author, merge_host const* host = nullptr) {
    settled out;
    out.change.stamp = stamp;
    out.change.record = done.change.record;
    out.change.life = current.life;
    out.change.base = current.version;
    out.after = current;
    if (!done.sends()) { return out; }
    bool const same_state = done.after && done.after->life == current.life && done.after->deleted == current.deleted;
    if (!same_state) { return failure{errc::contended, "the record was deleted or made anew since"}; }
    apply_context context;
    context.author = author;
    context.at = current.version;
    context.host = host;
    if (done.change.kind == change_kind::erase) {
        out.change.kind = change_kind::create;
        ++out.change.life;
        auto ops = diff({}, before.fields, collection_rules{}, stamp);
        if (!ops) { return ops.error(); }
        out.change.ops = std::move(*ops);
    } else if (done.change.kind == change_kind::create) {
        if (!equal(done.after->fields, current.fields)) { return failure{errc::contended, "changed since"}; }
        out.change.kind = change_kind::erase;
    } else {
        detail::group_index const groups{rules, done.change.ops.size()};
        auto ops = detail::diff_fields(done.after->fields, before.fields, rules.view(), &groups, stamp, 0);
        if (!ops) { return ops.error(); }
        auto const ok = detail::take_back(*ops, done.after->fields, current.fields, before.fields, &rules, rules.view(),
                                          {}, {}, out.decisions);
        if (!ok) { return ok.error(); }
        if (ops->empty() && !out.decisions.empty()) {
            return failure{errc::rejected, "a rule doesn't let the old value in"};
        }
        out.change.ops = std::move(*ops);
        if (!out.sends()) { return out; }
        if (rules.whole || !rules.groups.empty()) {
            // The fields that go together with them, as they are now.
            std::optional<row> with = current;
            if (!apply(with, out.change, rules, context).changed) { with = current; }
            detail::complete_groups(out.change.ops, current.fields, with->fields, rules, groups, stamp);
        }
    }
    auto const undone = apply(out.after, out.change, rules, context);
    if (undone.verdict == verdict_kind::rejected) { return detail::rejection(undone.reason); }
    if (!undone.changed && !undone.guard.empty()) { return failure{errc::forbidden, "a guard asks"}; }
    bool const refused = std::any_of(undone.decisions.begin(), undone.decisions.end(),
                                     [](decision const& d) { return d.won == winner::confirmed; });
    if (refused) { return failure{errc::rejected, "a rule doesn't let the old value in"}; }
    out.decisions.insert(out.decisions.end(), undone.decisions.begin(), undone.decisions.end());
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
