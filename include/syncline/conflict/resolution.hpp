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
    merge_host const* host = nullptr;      ///< guards, roles, references, where this side has them; outlives the call
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

/// The fields as this side has them: what it touched applied to what its writer saw. Empty for one that it erased.
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
    auto const outcome = apply(mine, m, collection_rules{}, {});
    if (outcome.verdict == verdict_kind::rejected) {
        return failure{errc::invalid, "operations that don't fit the base"};
    }
    return std::move(mine->fields);
}

namespace detail {

/// Of a host what is asked before a person's choice is in the record.
[[nodiscard]] inline merge_host roles_of(merge_host const* host) {
    merge_host out;
    if (host != nullptr) {
        out.role_of = host->role_of;
        out.data = host->data;
    }
    return out;
}

/// `map` with the value at a path replaced, or taken away; maps on the way are made where they are missing.
[[nodiscard]] inline result<bytes> put_at(bytes_view map, field_path const& path, std::optional<bytes_view> value) {
    std::vector<bytes_view> on_the_way{map};
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        auto const inner = value_at(on_the_way.back(), {path[i]});
        if (!inner) { return inner.error(); }
        bool const is_map = *inner && cbor_reader{**inner}.peek() == cbor_type::map;
        if (*inner && !is_map) { return failure{errc::type_mismatch, "a path through what is no map"}; }
        if (is_map) {
            // One with other keys than texts, which would be lost on the way.
            cbor_map_cursor all(**inner);
            while (all.next()) {}
            if (all.failed()) {
                return failure{errc::type_mismatch, "a path through a map with other keys than texts"};
            }
        }
        if (!*inner && !value) { return to_bytes(map); }
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

}  // namespace detail

/// What a decision comes to, by the one apply function: so what is shown before is what is done after.
///
/// In the contested fields the person's choice stands. What else the local mutation did goes along by the rules of the
/// collection, as if there had been no conflict: nothing of it is lost, and it beats nothing that it would not have
/// beaten. (`custom` says the whole record instead.) Where the record was deleted by one and changed by the other:
/// `use_local` deletes, or begins a new life with this side's fields; `use_remote` leaves it as it is; `custom` writes it.
///
/// Errors: `errc::not_found` (the remote is not held yet), `errc::invalid` (a kind that there is none of, a field without a choice or with two, a
/// value that is no canonical item, two changes that can't be combined, a choice of fields where the whole record is
/// contested), `errc::contended` (another field needs a person now), `errc::rejected` (the field's rule doesn't let the
/// chosen value in: a minimum can't be raised), `errc::forbidden` (a guard of `host` refuses the record that it makes, or
/// asks), and what `apply` rejects with. Cost: O(fields + operations), as `apply`.
[[nodiscard]] inline result<settled> settle(conflict const& c, resolution const& r, collection_rules const& rules,
                                            timestamp stamp, author_index author = unknown_author,
                                            merge_host const* host = nullptr) {
    if (!c.remote) { return failure{errc::not_found, "the remote is not held yet"}; }
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
    apply_context context;
    context.author = author;
    context.at = c.remote->version;
    merge_host const roles = detail::roles_of(host);
    context.host = &roles;

    auto local = local_fields(c);
    if (!local) { return local.error(); }
    bytes wanted = c.remote->fields;  // the record as it is to be
    std::vector<field_op> ops;
    bool const other_life = c.local.life != c.remote->life;
    if (c.of_whole_record() || c.remote->deleted || other_life || c.local.kind == change_kind::erase) {
        if (r.kind == resolve_kind::merge_fields) { return failure{errc::invalid, "the whole record is contested"}; }
        if (r.kind == resolve_kind::use_remote) { return out; }
        if (r.kind == resolve_kind::use_local && c.local.kind == change_kind::erase) {
            if (c.remote->deleted) { return out; }
            out.change.kind = change_kind::erase;
        } else {
            if (c.remote->deleted) {
                out.change.kind = change_kind::create;
                ++out.change.life;
                wanted.clear();
            }
            auto made = diff(wanted, r.kind == resolve_kind::custom ? r.record : *local, collection_rules{}, stamp);
            if (!made) { return made.error(); }
            ops = std::move(*made);
        }
    } else if (r.kind == resolve_kind::custom) {
        auto made = diff(wanted, r.record, collection_rules{}, stamp);
        if (!made) { return made.error(); }
        ops = std::move(*made);
    } else {
        auto const choices = detail::choices_of(c, r);
        if (!choices) { return choices.error(); }
        // What is not contested, by the rules.
        mutation rest = c.local;
        auto const contested = [&](field_op const& op) {
            return std::any_of(c.fields.begin(), c.fields.end(),
                               [&](contested_field const& f) { return f.path.front() == op.field; });
        };
        rest.ops.erase(std::remove_if(rest.ops.begin(), rest.ops.end(), contested), rest.ops.end());
        if (rest.kind == change_kind::create) { rest.kind = change_kind::update; }
        rest.life = c.remote->life;
        std::optional<row> with_rest = c.remote;
        auto outcome = apply(with_rest, rest, rules, context);
        if (outcome.verdict == verdict_kind::rejected) { return outcome.reason; }
        if (outcome.verdict == verdict_kind::conflict) {
            return failure{errc::contended, "another field is contested"};
        }
        auto const lost = [&](field_op const& op) {
            return std::any_of(outcome.decisions.begin(), outcome.decisions.end(),
                               [&](decision const& d) { return d.field == op.field && d.won == winner::confirmed; });
        };
        ops = std::move(rest.ops);
        ops.erase(std::remove_if(ops.begin(), ops.end(), lost), ops.end());
        for (field_op& op : ops) { op.stamp = stamp; }
        out.decisions = std::move(outcome.decisions);
        // What is, by the person. A part of a map leaves the map's other parts merged.
        for (std::size_t i = 0; i < choices->size(); ++i) {
            field_decision const& d = (*choices)[i];
            std::string const& top = d.path.front();
            if (d.path.size() > 1 && (i == 0 || (*choices)[i - 1].path.front() != top)) {
                auto const v = detail::values_of(c.base, *local, c.remote->fields, {top});
                if (!v) { return v.error(); }
                auto const is_map = [](std::optional<bytes_view> const& item) {
                    return item && cbor_reader{*item}.peek() == cbor_type::map;
                };
                if (is_map(v->base) && is_map(v->local) && is_map(v->remote)) {
                    auto merged =
                        three_way(*v->base, *v->local, *v->remote, collection_rules{}, {c.local.stamp, author},
                                  {c.remote->mark_of(top).stamp, c.remote->mark_of(top).author});
                    if (!merged) { return merged.error(); }
                    wanted = detail::rewrite_fields(wanted, {{top, true, merged->record}});
                }
            }
            auto const v = detail::values_of(c.base, *local, c.remote->fields, d.path);
            if (!v) { return v.error(); }
            auto const value = detail::taken(d, *v);
            if (!value) { return value.error(); }
            auto next = detail::put_at(wanted, d.path, *value ? std::optional<bytes_view>{**value} : std::nullopt);
            if (!next) { return next.error(); }
            wanted = std::move(*next);
        }
        auto chosen = diff(c.remote->fields, wanted, collection_rules{}, stamp);
        if (!chosen) { return chosen.error(); }
        ops.insert(ops.end(), std::make_move_iterator(chosen->begin()), std::make_move_iterator(chosen->end()));
        std::sort(ops.begin(), ops.end(),
                  [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
    }
    out.change.ops = std::move(ops);
    if (!out.sends()) { return out; }
    context.host = host;
    auto const done = apply(out.after, out.change, rules, context);
    if (done.verdict == verdict_kind::rejected) { return detail::rejection(done.reason); }
    if (!done.changed && !done.guard.empty()) { return failure{errc::forbidden, "a guard asks"}; }
    bool const refused = std::any_of(done.decisions.begin(), done.decisions.end(),
                                     [](decision const& d) { return d.won == winner::confirmed; });
    if (refused || !done.changed) { return failure{errc::rejected, "a rule doesn't let the chosen value in"}; }
    std::copy_if(done.decisions.begin(), done.decisions.end(), std::back_inserter(out.decisions),
                 [](decision const& d) { return d.won == winner::guard; });
    return out;
}

/// How another rule would have decided: each contested field by `by`, the local mutation and the remote row as they are.
///
/// The answer is a resolution, to be shown or taken as any other. Not for a conflict over the whole record, nor inside
/// maps (`errc::invalid`). Errors: `errc::not_found` (the remote is not held yet), `errc::rejected` (the rule leaves
/// it to a person, or a guard of `host` does), what `apply` rejects with (a counter over a text).
[[nodiscard]] inline result<resolution> by_rule(conflict const& c, rule by, collection_rules rules,
                                                author_index author = unknown_author,
                                                merge_host const* host = nullptr) {
    if (!c.remote) { return failure{errc::not_found, "the remote is not held yet"}; }
    if (c.remote->deleted || c.local.kind == change_kind::erase || c.local.life != c.remote->life) {
        return failure{errc::invalid, "the whole record is contested"};
    }
    for (contested_field const& f : c.fields) {
        if (f.path.size() != 1) { return failure{errc::invalid, "a rule speaks of a whole field"}; }
        bool named = false;
        for (field_rule& known : rules.fields) {
            if (known.field == f.path.front()) {
                known.decides = by;
                named = true;
            }
        }
        if (!named) { rules.fields.push_back({f.path.front(), by}); }
    }
    auto const local = local_fields(c);
    if (!local) { return local.error(); }
    // The operations as that rule would have had them: a counter's change is an addition.
    auto ops = diff(c.base, *local, rules, c.local.stamp);
    if (!ops) { return ops.error(); }
    mutation m = c.local;
    m.kind = change_kind::update;
    m.life = c.remote->life;
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
    for (contested_field const& f : c.fields) {
        auto const v = value_at(after->fields, f.path);
        if (!v) { return v.error(); }
        fields.push_back({f.path, *v ? field_take::custom : field_take::none, *v ? to_bytes(**v) : bytes{}});
    }
    return resolution::merge_fields(std::move(fields));
}

/// The mutation that takes a decision back: where its fields still hold what it made of them, they become again what
/// they were before. `current` is the record now.
///
/// Errors: `errc::contended` when somebody has changed one of those fields since, or deleted the record, or begun
/// another life of it; `errc::forbidden` when a guard of `host` refuses or asks: nothing is taken back.
/// Cost: O(fields + operations).
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
        for (field_op const& op : done.change.ops) {
            auto const made = value_at(done.after->fields, {op.field});
            auto const is = value_at(current.fields, {op.field});
            auto const was = value_at(before.fields, {op.field});
            if (!made || !is || !was) { return failure{errc::corrupt, "fields of a row"}; }
            auto const same = made->has_value() == is->has_value() && (!*made || equal(**made, **is));
            if (op.kind == op_kind::add) {
                // What others added since stays: only this addition is taken back.
                auto const n = detail::integer_of(op.value);
                auto const less = n ? checked_subtract(std::int64_t{0}, *n) : std::nullopt;
                if (!less) { return errc::overflow; }
                field_op back{op.field, op_kind::add, {}, stamp};
                cbor_writer{back.value}.integer(*less);
                out.change.ops.push_back(std::move(back));
                continue;
            }
            if (!same) { return failure{errc::contended, "a field was changed since"}; }
            out.change.ops.push_back(*was ? field_op{op.field, op_kind::set, to_bytes(**was), stamp}
                                          : field_op{op.field, op_kind::unset, {}, stamp});
        }
    }
    apply_context context;
    context.author = author;
    context.at = current.version;
    context.host = host;
    auto const undone = apply(out.after, out.change, rules, context);
    if (undone.verdict == verdict_kind::rejected) { return detail::rejection(undone.reason); }
    if (!undone.changed && !undone.guard.empty()) { return failure{errc::forbidden, "a guard asks"}; }
    bool const refused = std::any_of(undone.decisions.begin(), undone.decisions.end(),
                                     [](decision const& d) { return d.won == winner::confirmed; });
    if (refused) { return failure{errc::rejected, "a rule doesn't let the old value in"}; }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
