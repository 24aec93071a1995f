// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Schema versions of a collection: what each changed, and rows and mutations carried from one to another and back.

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/cbor.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/value.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// A field's canonical item on its way to another version; nothing where it is missing.
using cast_value = std::optional<bytes>;

/// Carries the values of some fields over: reads as many as `in` has, sets as many as `out` has, which are missing at
/// first. False for values that it can't carry: then the other side has none, and what they were is kept. Pure.
using cast_function = bool (*)(std::span<cast_value const> in, std::span<cast_value> out);

/// What one step of a version does.
enum class schema_step_kind : std::uint8_t {
    rename,   ///< one field has another name
    regroup,  ///< some fields become some others: convert, split, join
    add,      ///< a field comes; above it has a default
    remove,   ///< a field goes; below it has a default
    feature,  ///< a field comes that nobody may overlook: a record that has it is closed to who doesn't know it
};

/// One step from a version to the next, that can be gone both ways. A value; made by its functions of the same name.
struct schema_step {
    schema_step_kind kind = schema_step_kind::rename;
    std::vector<std::string> lower{};  ///< names before
    std::vector<std::string> upper{};  ///< names after
    bytes otherwise{};                 ///< canonical item: the default
    cast_function up = nullptr;
    cast_function down = nullptr;
    bool additive = false;  ///< of one integer: up takes all, up(a + b) = up(a) + up(b); increments stay increments
    friend bool operator==(schema_step const&, schema_step const&) = default;

    /// `from` is called `to`. Every operation is carried, marks inside of the field too.
    [[nodiscard]] static schema_step rename(std::string_view from, std::string_view to) {
        return {schema_step_kind::rename, {std::string(from)}, {std::string(to)}};
    }
    /// `field` is new. A record of an older version has the default in it; an older program keeps it as it is.
    [[nodiscard]] static schema_step add(std::string_view field, value const& otherwise) {
        return {schema_step_kind::add, {}, {std::string(field)}, to_bytes(otherwise.encoded())};
    }
    /// `field` is no longer used. It is kept where it is; a record without it has the default in older versions.
    [[nodiscard]] static schema_step remove(std::string_view field, value const& otherwise) {
        return {schema_step_kind::remove, {std::string(field)}, {}, to_bytes(otherwise.encoded())};
    }
    /// The value of `field` is another, `additive` for instance in another unit.
    [[nodiscard]] static schema_step convert(std::string_view field, cast_function up, cast_function down,
                                             bool additive = false) {
        return {schema_step_kind::regroup, {std::string(field)}, {std::string(field)}, {}, up, down, additive};
    }
    /// `field` becomes `parts`.
    [[nodiscard]] static schema_step split(std::string_view field, std::vector<std::string> parts, cast_function up,
                                           cast_function down) {
        return {schema_step_kind::regroup, {std::string(field)}, std::move(parts), {}, up, down};
    }
    /// `parts` become `field`: a split backwards.
    [[nodiscard]] static schema_step join(std::vector<std::string> parts, std::string_view field, cast_function up,
                                          cast_function down) {
        return {schema_step_kind::regroup, std::move(parts), {std::string(field)}, {}, up, down};
    }
    /// `field` is new, and a record that has it means something else than older programs believe: they may neither
    /// show nor change it.
    [[nodiscard]] static schema_step feature(std::string_view field) {
        return {schema_step_kind::feature, {}, {std::string(field)}};
    }
};

/// Most steps of one version, and most versions.
inline constexpr std::size_t schema_steps_max = 1'000;
inline constexpr std::size_t schema_versions_max = 100'000;

/// Fields of this first byte hold what a value would lose on its way to another version: no schema names them.
inline constexpr char kept_field_prefix = '~';

namespace detail {

struct named_item {
    std::string name;
    bytes item;
};
/// A record's fields one by one, in canonical key order.
class field_list {
public:
    [[nodiscard]] static result<field_list> parse(bytes_view fields) {
        field_list all;
        if (fields.empty()) { return all; }
        if (auto ok = validate_fields(fields); !ok) { return ok.error(); }
        cbor_map_cursor at{fields};
        while (at.next()) { all.items_.push_back({std::string(at.key()), to_bytes(at.value())}); }
        return all;
    }
    [[nodiscard]] bytes encoded() const {
        bytes out;
        cbor_writer w{out};
        w.map(items_.size());
        for (named_item const& i : items_) {
            w.text(i.name);
            w.raw(i.item);
        }
        return out;
    }
    [[nodiscard]] cast_value find(std::string_view name) const {
        auto const at = place(name);
        return at != items_.end() && at->name == name ? cast_value{at->item} : std::nullopt;
    }
    [[nodiscard]] bool has(std::string_view name) const {
        auto const at = place(name);
        return at != items_.end() && at->name == name;
    }
    void set(std::string_view name, cast_value item) {
        auto const at = items_.begin() + (place(name) - items_.cbegin());
        bool const there = at != items_.end() && at->name == name;
        if (!item) {
            if (there) { items_.erase(at); }
        } else if (there) {
            at->item = std::move(*item);
        } else {
            items_.insert(at, {std::string(name), std::move(*item)});
        }
    }
    [[nodiscard]] std::vector<named_item> const& items() const noexcept { return items_; }

private:
    [[nodiscard]] std::vector<named_item>::const_iterator place(std::string_view name) const {
        return std::lower_bound(items_.begin(), items_.end(), name,
                                [](named_item const& i, std::string_view n) { return compare_keys(i.name, n) < 0; });
    }
    std::vector<named_item> items_;
};

using cast_values = std::vector<cast_value>;

/// One step gone one way: up from its lower side, or down from its upper.
class step_way {
public:
    /// `kept` is the name of the field that holds what this step would lose.
    step_way(schema_step const& step, bool up, std::string kept) : step_(step), up_(up), kept_(std::move(kept)) {}

    [[nodiscard]] std::vector<std::string> const& from() const noexcept { return up_ ? step_.lower : step_.upper; }
    [[nodiscard]] std::vector<std::string> const& to() const noexcept { return up_ ? step_.upper : step_.lower; }

    [[nodiscard]] status fields(field_list& all) const {
        switch (step_.kind) {
            case schema_step_kind::rename: {
                if (all.has(to()[0])) { return taken(); }
                cast_value item = all.find(from()[0]);
                all.set(from()[0], std::nullopt);
                all.set(to()[0], std::move(item));
                return {};
            }
            case schema_step_kind::feature: return up_ || !all.has(step_.upper[0]) ? status{} : closed();
            case schema_step_kind::add:
            case schema_step_kind::remove: {
                // Toward the side that has the default; the other way a missing field is marked, so that it stays so.
                bool const there = all.has(optional_name());
                bool const marked = all.has(kept_);
                all.set(kept_, std::nullopt);
                if (there) { return {}; }
                if (!gains_default()) {
                    all.set(kept_, nothing());
                } else if (!marked) {
                    all.set(optional_name(), step_.otherwise);
                }
                return {};
            }
            case schema_step_kind::regroup: break;
        }
        cast_values in;
        for (std::string const& name : from()) {
            in.push_back(all.find(name));
            all.set(name, std::nullopt);
        }
        cast_value const kept = all.find(kept_);
        all.set(kept_, std::nullopt);
        for (std::string const& name : to()) {
            if (all.has(name)) { return taken(); }
        }
        cast_values out;
        cast_value rest = carry(in, kept ? &*kept : nullptr, out);
        for (std::size_t i = 0; i < out.size(); ++i) { all.set(to()[i], std::move(out[i])); }
        all.set(kept_, std::move(rest));
        return {};
    }

    /// The marks of what `fields` carries. A regrouped field has the mark that wins of those that it comes from.
    void marks(row& r) const {
        bool const is_rename = step_.kind == schema_step_kind::rename;
        if (!is_rename && step_.kind != schema_step_kind::regroup) { return; }
        std::vector<field_mark> all;
        std::vector<write_mark> won(from().size(), r.floor);
        for (std::size_t i = 0; i < won.size(); ++i) { won[i] = r.mark_of(from()[i]); }
        for (field_mark& e : r.exceptions) {
            auto const at = std::find(from().begin(), from().end(), e.field);
            if (at == from().end()) {
                if (e.field != kept_) { all.push_back(std::move(e)); }
            } else if (is_rename) {
                e.field = to()[0];
                all.push_back(std::move(e));
            } else {
                write_mark& m = won[static_cast<std::size_t>(at - from().begin())];
                if (wins(e.mark, m)) { m = e.mark; }
            }
        }
        if (!is_rename) {
            write_mark m = won.empty() ? r.floor : won[0];
            for (write_mark const& other : won) {
                if (wins(other, m)) { m = other; }
            }
            for (std::string const& name : to()) {
                if (!(m == r.floor)) { all.push_back({name, m}); }
            }
        }
        std::sort(all.begin(), all.end(), mark_before);
        r.exceptions = std::move(all);
    }

    /// Carries operations; `before` is the record that they are for, where it is known, at the version of the
    /// operations; they stay in key order. A creation gets, at `creates`, the defaults that an older one has.
    [[nodiscard]] status operations(std::vector<field_op>& ops, field_list const* before,
                                    timestamp const* creates) const {
        switch (step_.kind) {
            case schema_step_kind::rename: {
                if (find(ops, to()[0]) != nullptr) { return taken(); }
                if (field_op* const op = find(ops, from()[0])) { op->field = to()[0]; }
                break;
            }
            case schema_step_kind::feature:
                if (!up_ &&
                    (find(ops, step_.upper[0]) != nullptr || (before != nullptr && before->has(step_.upper[0])))) {
                    return closed();
                }
                return {};
            case schema_step_kind::add:
            case schema_step_kind::remove: {
                field_op const* const op = find(ops, optional_name());
                if (op == nullptr && creates != nullptr) {
                    ops.push_back({gains_default() ? optional_name() : kept_, op_kind::set,
                                   gains_default() ? step_.otherwise : nothing(), *creates});
                    break;
                }
                if (op == nullptr || gains_default()) { return {}; }
                field_op marker{kept_, op_kind::unset, {}, op->stamp};
                if (op->kind == op_kind::unset) {
                    marker.kind = op_kind::set;
                    marker.value = nothing();
                }
                ops.push_back(std::move(marker));
                break;
            }
            case schema_step_kind::regroup:
                if (auto ok = regroup(ops, before); !ok) { return ok; }
                break;
        }
        std::sort(ops.begin(), ops.end(),
                  [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
        auto const same = [](field_op const& a, field_op const& b) { return a.field == b.field; };
        return std::adjacent_find(ops.begin(), ops.end(), same) == ops.end() ? status{} : taken();
    }

private:
    [[nodiscard]] static status taken() { return failure{errc::invalid, "a field of another version's name"}; }
    [[nodiscard]] static status closed() {
        return failure{errc::unsupported, "the record has a feature that this version must not overlook"};
    }
    [[nodiscard]] static bytes nothing() { return {std::byte{0x80}}; }  // an empty array
    [[nodiscard]] std::string const& optional_name() const {
        return step_.kind == schema_step_kind::add ? step_.upper[0] : step_.lower[0];
    }
    [[nodiscard]] bool gains_default() const { return up_ == (step_.kind == schema_step_kind::add); }
    [[nodiscard]] static field_op* find(std::vector<field_op>& ops, std::string_view name) {
        auto const at = std::find_if(ops.begin(), ops.end(), [&](field_op const& o) { return o.field == name; });
        return at == ops.end() ? nullptr : &*at;
    }

    [[nodiscard]] static cast_values called(cast_function f, cast_values const& in, std::size_t n) {
        cast_values out(n);
        bool const any = std::any_of(in.begin(), in.end(), [](cast_value const& v) { return v.has_value(); });
        bool fits = any && f(in, out);
        for (cast_value const& v : out) { fits = fits && (!v || validate_canonical(*v)); }
        return fits ? std::move(out) : cast_values(n);
    }
    static void write(cbor_writer& w, cast_values const& all) {
        w.array(all.size());
        for (cast_value const& v : all) {
            w.array(v ? 1 : 0);
            if (v) { w.raw(*v); }
        }
    }
    [[nodiscard]] static cast_values read(cbor_reader& in, std::size_t expected) {
        cast_values all(expected);
        if (in.array() != expected) { in.fail({errc::malformed, "kept values of the wrong number"}); }
        for (cast_value& v : all) {
            std::size_t const n = in.array();
            if (n > 1) { in.fail({errc::malformed, "kept value"}); }
            if (n == 1 && !in.failed()) { v = to_bytes(in.skip()); }
        }
        return all;
    }
    /// `kept` is [the values on this side, what they were on the other], and counts while the first are the same.
    /// Answers what has to be kept on the other side, so that the way back leads here.
    [[nodiscard]] cast_value carry(cast_values const& in, bytes const* kept, cast_values& out) const {
        cast_function const there = up_ ? step_.up : step_.down;
        cast_function const back = up_ ? step_.down : step_.up;
        bool known = false;
        if (kept != nullptr) {
            cbor_reader r{*kept};
            if (r.array() != 2) { r.fail({errc::malformed, "kept values"}); }
            cast_values const seen = read(r, in.size());
            out = read(r, to().size());
            known = r.finish() && seen == in;
        }
        if (!known) { out = called(there, in, to().size()); }
        if (called(back, out, in.size()) == in) { return std::nullopt; }
        bytes rest;
        cbor_writer w{rest};
        w.array(2);
        write(w, out);
        write(w, in);
        return rest;
    }

    /// Whether the other side has a number too, to which something can be added.
    [[nodiscard]] bool counts(field_list const* before) const {
        if (before == nullptr) { return up_; }
        cast_values out;
        return !carry({before->find(from()[0])}, nullptr, out);
    }
    [[nodiscard]] status regroup(std::vector<field_op>& ops, field_list const* before) const {
        std::vector<field_op> mine;
        std::vector<field_op> others;
        for (field_op& op : ops) {
            bool const touches = std::find(from().begin(), from().end(), op.field) != from().end();
            bool const clashes = std::find(to().begin(), to().end(), op.field) != to().end();
            if (!touches && clashes) { return taken(); }
            if (op.field == kept_) { continue; }  // only copied along with a record's other fields
            (touches ? mine : others).push_back(std::move(op));
        }
        ops = std::move(others);
        if (mine.empty()) { return {}; }
        timestamp stamp = mine[0].stamp;
        for (field_op const& op : mine) { stamp = (std::max)(stamp, op.stamp); }

        if (step_.additive && mine.size() == 1 && mine[0].kind == op_kind::add && counts(before)) {
            cast_values const n{mine[0].value};
            cast_values sum = called(up_ ? step_.up : step_.down, n, 1);
            if (sum[0] && called(up_ ? step_.down : step_.up, sum, 1) == n) {
                ops.push_back({to()[0], op_kind::add, std::move(*sum[0]), stamp});
                ops.push_back({kept_, op_kind::unset, {}, stamp});
                return {};
            }
        }
        cast_values in;
        for (std::string const& name : from()) {
            field_op const* const op = find(mine, name);
            bool const needs_record = op == nullptr || op->kind == op_kind::add;
            if (needs_record && before == nullptr) {
                return failure{errc::unsupported, "an operation that can't be carried without its record"};
            }
            if (op == nullptr) {
                in.push_back(before->find(name));
                continue;
            }
            auto item = value_after(*op, needs_record ? before->find(name) : std::nullopt);
            if (!item) { return item.error(); }
            in.push_back(std::move(*item));
        }
        cast_values out;
        cast_value rest = carry(in, nullptr, out);
        auto const say = [&](std::string const& name, cast_value& item) {
            ops.push_back({name, item ? op_kind::set : op_kind::unset, item ? std::move(*item) : bytes{}, stamp});
        };
        for (std::size_t i = 0; i < out.size(); ++i) { say(to()[i], out[i]); }
        say(kept_, rest);
        return {};
    }
    [[nodiscard]] static result<cast_value> value_after(field_op const& op, cast_value const& before) {
        switch (op.kind) {
            case op_kind::set: return cast_value{op.value};
            case op_kind::unset: return cast_value{};
            case op_kind::add: {
                cbor_reader more{op.value};
                std::int64_t const n = more.integer();
                std::int64_t old = 0;
                if (before) {
                    cbor_reader r{*before};
                    old = r.integer();
                    if (!r.finish()) { return failure{errc::type_mismatch, "an increment of what is no integer"}; }
                }
                if (!more.finish()) { return failure{errc::type_mismatch, "an increment that is no integer"}; }
                auto const sum = checked_add(old, n);
                if (!sum) { return failure{errc::overflow, "sum"}; }
                bytes item;
                cbor_writer{item}.integer(*sum);
                return cast_value{std::move(item)};
            }
            case op_kind::revise: {
                cbor_reader r{op.value};
                std::size_t const n = r.array();
                (void)r.skip();
                bytes made = to_bytes(r.skip());
                if (n != 2 || !r.finish()) { return failure{errc::malformed, "revision"}; }
                return cast_value{std::move(made)};
            }
            case op_kind::elements:
            case op_kind::nested: break;
        }
        return failure{errc::unsupported, "an operation inside of a field that another version has otherwise"};
    }

    schema_step const& step_;
    bool up_;
    std::string kept_;
};

}  // namespace detail

/// The versions of one collection: 1, and one more for each list of steps. A value.
///
/// A program has the versions up to the one that it was written for, and carries what is older up. Whoever serves
/// several (an authority) has all of them, and carries rows down for the older. Steps are never changed, moved or
/// taken out once a program with them is in use: only versions are added.
///
/// Laws, for fields `x` of the lower version and `y` of the upper (tests/model/schema.cpp):
///   round trip: down(up(x)) is `x`, and up(down(y)) is `y`, but that a field that was added stays, in the first with
///   its default, and a removed one in the second;
///   operations: up(x with o) is up(x) with up(o), wherever up(o) is defined;
///   chains: two versions at once are one after the other;
///   strangers: a field that no step names is the same bytes on both sides.
/// What a conversion would lose is kept beside it, in a field that begins with `kept_field_prefix`, until the value is
/// set to another.
class collection_schema {
public:
    /// Adds a version. Precondition: `valid()` afterwards.
    collection_schema& next(std::vector<schema_step> steps) {
        versions_.push_back(std::move(steps));
        SYNCLINE_ASSERT(valid());
        return *this;
    }
    /// The newest.
    [[nodiscard]] schema_version version() const noexcept { return static_cast<schema_version>(versions_.size() + 1); }
    /// Whether every step has its names and functions, and no name of `kept_field_prefix`.
    [[nodiscard]] bool valid() const {
        if (versions_.size() >= schema_versions_max) { return false; }
        return std::all_of(versions_.begin(), versions_.end(), [](std::vector<schema_step> const& steps) {
            return steps.size() <= schema_steps_max && std::all_of(steps.begin(), steps.end(), valid_step);
        });
    }

    /// A record's fields of version `from` as those of `to`. Empty stays empty, and of one version they are not read.
    ///
    /// `fields` are a stranger's. Errors: `unsupported` for a version that is not known here, and on the way down for
    /// a record that has a feature which `to` must not overlook: such a record is closed to that version, others are
    /// not; `invalid` for a record that already has a field of the name that one would get; those of
    /// `validate_fields`. Cost: linear in the fields times the logarithm of their number, for each step.
    [[nodiscard]] result<bytes> cast(bytes_view fields, schema_version from, schema_version to) const {
        if (!knows(from) || !knows(to)) { return unknown(); }
        if (from == to || fields.empty()) { return to_bytes(fields); }
        auto all = detail::field_list::parse(fields);
        if (!all) { return all.error(); }
        auto ok = each_step(from, to, [&](detail::step_way const& way) { return way.fields(*all); });
        if (!ok) { return ok.error(); }
        return all->encoded();
    }

    /// A row with its marks as one of version `to`. Errors as above; the row is then as it was.
    [[nodiscard]] status cast(row& r, schema_version to) const {
        if (r.schema == to && knows(to)) { return {}; }
        auto fields = cast(r.fields, r.schema, to);
        if (!fields) { return fields.error(); }
        (void)each_step(r.schema, to, [&](detail::step_way const& way) {
            way.marks(r);
            return status{};
        });
        r.fields = std::move(*fields);
        r.schema = to;
        return {};
    }

    /// A mutation as one of version `to`: its operations, for the record that is `before` it, of the mutation's own
    /// version.
    ///
    /// Without `before` operations are carried as far as they need no record: all but an increment of a value that is
    /// converted otherwise than in proportion, and one of several fields that become one. What was done inside of a
    /// set, a list or a map whose field is converted or split is `unsupported`. A mutation's frozen bytes stay what
    /// they are: carry a copy, for applying it. Other errors as above, `overflow` for a sum; the mutation is then as
    /// it was.
    [[nodiscard]] status cast(mutation& m, schema_version to, std::optional<bytes_view> before = {}) const {
        schema_version const from = m.schema;
        if (!knows(from) || !knows(to)) { return unknown(); }
        if (from == to) { return {}; }
        std::vector<field_op> ops = m.ops;
        auto const plain = [](field_op const& o) { return o.kind == op_kind::set || o.kind == op_kind::unset; };
        if (m.kind == change_kind::create && std::all_of(ops.begin(), ops.end(), plain)) {
            if (auto ok = cast_creation(ops, m.stamp, from, to); !ok) { return ok; }
        } else if (m.kind != change_kind::erase) {
            bool const creates = m.kind == change_kind::create;
            detail::field_list known;
            if (before && !creates) {
                auto parsed = detail::field_list::parse(*before);
                if (!parsed) { return parsed.error(); }
                known = std::move(*parsed);
            }
            auto ok = each_step(from, to, [&](detail::step_way const& way) {
                bool const has = before || creates;
                auto carried = way.operations(ops, has ? &known : nullptr, creates ? &m.stamp : nullptr);
                return carried && before && !creates ? way.fields(known) : carried;
            });
            if (!ok) { return ok; }
        }
        m.ops = std::move(ops);
        m.schema = to;
        return {};
    }

    /// A mutation as one of the newest version, for the record that is there, which is of the newest already. Errors as
    /// above, `unsupported` too where the record is closed to the mutation's version; the mutation is then as it was.
    [[nodiscard]] status carry_up(mutation& m, std::optional<row> const& now) const {
        if (m.schema == version()) { return {}; }
        std::optional<bytes> below;
        if (now && m.schema < version()) {
            auto fields = cast(now->fields, version(), m.schema);
            if (!fields) { return fields.error(); }
            below = std::move(*fields);
        }
        return cast(m, version(), below ? std::optional<bytes_view>{*below} : std::nullopt);
    }

    friend bool operator==(collection_schema const&, collection_schema const&) = default;

private:
    [[nodiscard]] bool knows(schema_version v) const noexcept { return v >= 1 && v <= version(); }
    [[nodiscard]] static failure unknown() noexcept { return {errc::unsupported, "a schema version not known here"}; }
    [[nodiscard]] static bool valid_step(schema_step const& s) {
        auto const fits = [](std::string const& n) {
            return !n.empty() && n.size() <= field_name_bytes_max && valid_utf8(n) && n[0] != kept_field_prefix;
        };
        for (auto const* side : {&s.lower, &s.upper}) {
            if (!std::all_of(side->begin(), side->end(), fits)) { return false; }
            for (auto i = side->begin(); i != side->end(); ++i) {
                if (std::find(i + 1, side->end(), *i) != side->end()) { return false; }
            }
        }
        switch (s.kind) {
            case schema_step_kind::rename: return s.lower.size() == 1 && s.upper.size() == 1 && s.lower != s.upper;
            case schema_step_kind::regroup:
                return !s.lower.empty() && !s.upper.empty() && s.up != nullptr && s.down != nullptr &&
                       (!s.additive || (s.lower.size() == 1 && s.upper.size() == 1));
            case schema_step_kind::add:
                return s.lower.empty() && s.upper.size() == 1 && validate_canonical(s.otherwise);
            case schema_step_kind::remove:
                return s.lower.size() == 1 && s.upper.empty() && validate_canonical(s.otherwise);
            case schema_step_kind::feature: return s.lower.empty() && s.upper.size() == 1;
        }
        return false;
    }
    [[nodiscard]] static detail::step_way way(std::vector<schema_step> const& steps, std::size_t version, std::size_t i,
                                              bool up) {
        return {steps[i], up, kept_field_prefix + std::to_string(version) + '.' + std::to_string(i)};
    }
    template <class F>
    [[nodiscard]] status each_step(schema_version from, schema_version to, F&& go) const {
        for (std::size_t v = from; v < to; ++v) {
            std::vector<schema_step> const& steps = versions_[v - 1];
            for (std::size_t i = 0; i < steps.size(); ++i) {
                if (auto ok = go(way(steps, v + 1, i, true)); !ok) { return ok; }
            }
        }
        for (std::size_t v = from; v > to; --v) {
            std::vector<schema_step> const& steps = versions_[v - 2];
            for (std::size_t i = steps.size(); i != 0; --i) {
                if (auto ok = go(way(steps, v, i - 1, false)); !ok) { return ok; }
            }
        }
        return {};
    }
    /// A creation says the whole record: it is carried as one, with the defaults that an older one has.
    [[nodiscard]] status cast_creation(std::vector<field_op>& ops, timestamp stamp, schema_version from,
                                       schema_version to) const {
        detail::field_list all;
        for (field_op const& op : ops) {
            all.set(op.field, op.kind == op_kind::set ? cast_value{op.value} : std::nullopt);
        }
        if (auto ok = each_step(from, to, [&](detail::step_way const& w) { return w.fields(all); }); !ok) { return ok; }
        std::vector<field_op> carried;
        for (detail::named_item const& i : all.items()) {
            auto const same =
                std::find_if(ops.begin(), ops.end(), [&](field_op const& o) { return o.field == i.name; });
            carried.push_back({i.name, op_kind::set, i.item, same == ops.end() ? stamp : same->stamp});
        }
        ops = std::move(carried);
        return {};
    }

    std::vector<std::vector<schema_step>> versions_;
};

/// The schemas of a program by collection; one that isn't named has version 1 alone.
class schema_table {
public:
    /// A collection's schema, to add versions to.
    [[nodiscard]] collection_schema& collection(std::string_view name) {
        auto at = std::lower_bound(all_.begin(), all_.end(), name, before);
        if (at == all_.end() || at->name != name) { at = all_.insert(at, {std::string(name), {}}); }
        return at->schema;
    }
    [[nodiscard]] collection_schema const& of(std::string_view name) const noexcept {
        auto const at = std::lower_bound(all_.begin(), all_.end(), name, before);
        return at == all_.end() || at->name != name ? first_ : at->schema;
    }
    [[nodiscard]] bool empty() const noexcept { return all_.empty(); }
    /// The newest version of each collection that is named, in the order of names.
    template <class F>
    void each(F&& visit) const {
        for (entry const& e : all_) { visit(std::string_view{e.name}, e.schema.version()); }
    }
    friend bool operator==(schema_table const&, schema_table const&) = default;

private:
    struct entry {
        std::string name;
        collection_schema schema;
        friend bool operator==(entry const&, entry const&) = default;
    };
    [[nodiscard]] static bool before(entry const& e, std::string_view name) noexcept { return e.name < name; }

    std::vector<entry> all_;
    collection_schema first_;
};

namespace detail {
inline schema_table const first_versions{};  // of a program that has no other
}

/// Ready conversions, for `schema_step`.
namespace casts {

/// An integer times `Factor`.
template <std::int64_t Factor>
[[nodiscard]] bool times(std::span<cast_value const> in, std::span<cast_value> out) {
    static_assert(Factor > 0);
    constexpr std::int64_t most = (std::numeric_limits<std::int64_t>::max)() / Factor;
    cbor_reader r{*in[0]};
    std::int64_t const n = r.integer();
    if (!r.finish() || n > most || n < -most) { return false; }
    cbor_writer{out[0].emplace()}.integer(n * Factor);
    return true;
}
/// An integer divided by `Factor`, toward zero; what is left over is kept beside it.
template <std::int64_t Factor>
[[nodiscard]] bool over(std::span<cast_value const> in, std::span<cast_value> out) {
    static_assert(Factor > 0);
    cbor_reader r{*in[0]};
    std::int64_t const n = r.integer();
    if (!r.finish()) { return false; }
    cbor_writer{out[0].emplace()}.integer(n / Factor);
    return true;
}
/// An integer as its decimal digits.
[[nodiscard]] inline bool to_text(std::span<cast_value const> in, std::span<cast_value> out) {
    cbor_reader r{*in[0]};
    std::int64_t const n = r.integer();
    if (!r.finish()) { return false; }
    cbor_writer{out[0].emplace()}.text(std::to_string(n));
    return true;
}
/// Decimal digits, a minus before them or not, and nothing else, as an integer.
[[nodiscard]] inline bool to_integer(std::span<cast_value const> in, std::span<cast_value> out) {
    cbor_reader r{*in[0]};
    std::string_view const s = r.text();
    std::int64_t n = 0;
    if (!r.finish()) { return false; }
    auto const [end, bad] = std::from_chars(s.data(), s.data() + s.size(), n);
    if (bad != std::errc{} || end != s.data() + s.size()) { return false; }
    cbor_writer{out[0].emplace()}.integer(n);
    return true;
}
/// A text at its first `Mark`s: one part less than there are marks, or all; parts that it has no text for are missing.
template <char Mark>
[[nodiscard]] bool apart(std::span<cast_value const> in, std::span<cast_value> out) {
    cbor_reader r{*in[0]};
    std::string_view rest = r.text();
    if (!r.finish()) { return false; }
    for (std::size_t i = 0; i < out.size(); ++i) {
        std::size_t const at = i + 1 == out.size() ? std::string_view::npos : rest.find(Mark);
        cbor_writer{out[i].emplace()}.text(rest.substr(0, at));
        if (at == std::string_view::npos) { break; }
        rest.remove_prefix(at + 1);
    }
    return true;
}
/// Texts with a `Mark` between those that are there.
template <char Mark>
[[nodiscard]] bool together(std::span<cast_value const> in, std::span<cast_value> out) {
    std::string all;
    bool any = false;
    for (cast_value const& v : in) {
        if (!v) { continue; }
        cbor_reader r{*v};
        std::string_view const part = r.text();
        if (!r.finish()) { return false; }
        if (any) { all += Mark; }
        all += part;
        any = true;
    }
    cbor_writer{out[0].emplace()}.text(all);
    return true;
}

}  // namespace casts

}  // namespace syncline::inline SYNCLINE_ABI
