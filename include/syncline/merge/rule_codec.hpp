// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Tables of rules as bytes, to keep them, to send them and to change them at run time; and checks of what they say.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/result.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/model/record.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The version of the form that `encode` writes; a later one is `errc::unsupported`.
inline constexpr std::uint64_t rules_format = 1;
inline constexpr std::size_t rules_depth_max = 8;  ///< nested fields inside each other

namespace detail {

[[nodiscard]] inline bool valid_field_name(std::string_view name) noexcept {
    return !name.empty() && name.size() <= field_name_bytes_max && valid_utf8(name);
}
[[nodiscard]] inline bool known(rule r) noexcept {
    auto const n = static_cast<std::uint8_t>(r);
    return n >= 1 && n <= rules_count;
}

[[nodiscard]] inline status validate_fields_of(std::vector<field_rule> const& fields, rule fallback,
                                               std::size_t depth) {
    if (!known(fallback)) { return failure{errc::unsupported, "unknown rule"}; }
    if (depth > rules_depth_max) { return failure{errc::limit, "rules nested too deep"}; }
    std::vector<std::string_view> names;
    names.reserve(fields.size());
    for (field_rule const& f : fields) {
        if (!valid_field_name(f.field)) { return failure{errc::invalid, "name of a field with a rule"}; }
        if (!known(f.decides)) { return failure{errc::unsupported, "unknown rule"}; }
        bool const inside = !f.inner.empty() || f.inner_fallback != rule::last_writer;
        if (inside && f.decides != rule::nested) {
            return failure{errc::invalid, "rules inside of a field that is not nested"};
        }
        if (auto ok = validate_fields_of(f.inner, f.inner_fallback, depth + 1); !ok) { return ok; }
        names.push_back(f.field);
    }
    std::sort(names.begin(), names.end());
    if (std::adjacent_find(names.begin(), names.end()) != names.end()) {
        return failure{errc::invalid, "two rules for one field"};
    }
    return {};
}

inline void encode_fields_of(cbor_writer& w, std::vector<field_rule> const& fields) {
    w.array(fields.size());
    for (field_rule const& f : fields) {
        w.array(f.decides == rule::nested ? 4 : 2);
        w.text(f.field);
        w.unsigned_integer(static_cast<std::uint64_t>(f.decides));
        if (f.decides != rule::nested) { continue; }
        w.unsigned_integer(static_cast<std::uint64_t>(f.inner_fallback));
        encode_fields_of(w, f.inner);
    }
}

[[nodiscard]] inline rule decode_rule(cbor_reader& in) {
    std::uint64_t const n = in.unsigned_integer();
    if (!in.failed() && (n < 1 || n > rules_count)) { in.fail({errc::unsupported, "unknown rule"}); }
    return static_cast<rule>(n & 0xFF);
}
[[nodiscard]] inline std::string decode_name(cbor_reader& in) {
    std::string_view const name = in.text();
    if (!in.failed() && !valid_field_name(name)) { in.fail({errc::invalid, "name of a field with a rule"}); }
    static_cast<void>(in.charge(name.size() + sizeof(field_rule)));
    return std::string{name};
}

[[nodiscard]] inline std::vector<field_rule> decode_fields_of(cbor_reader& in, std::size_t depth) {
    std::vector<field_rule> out;
    if (depth > rules_depth_max) { in.fail({errc::limit, "rules nested too deep"}); }
    std::size_t const n = in.array();
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        field_rule f;
        std::size_t const parts = in.array();
        f.field = decode_name(in);
        f.decides = decode_rule(in);
        if (parts != (f.decides == rule::nested ? 4U : 2U)) { in.fail({errc::malformed, "rule of the wrong length"}); }
        if (f.decides == rule::nested && !in.failed()) {
            f.inner_fallback = decode_rule(in);
            f.inner = decode_fields_of(in, depth + 1);
        }
        out.push_back(std::move(f));
    }
    return out;
}

}  // namespace detail

/// Whether rules can be meant as they are said.
///
/// Errors: `errc::invalid` for names that no field can have, two rules for one field, a field in two groups, a group's
/// or record's rule that does not choose a side, rules inside of what is not nested; `errc::unsupported` for a rule
/// that this build does not know; `errc::limit` for rules nested deeper than `rules_depth_max`.
[[nodiscard]] inline status validate(collection_rules const& rules) {
    if (rules.collection.size() > collection_bytes_max || !valid_utf8(rules.collection)) {
        return failure{errc::invalid, "name of a collection"};
    }
    if (auto ok = detail::validate_fields_of(rules.fields, rules.fallback, 0); !ok) { return ok; }
    std::vector<std::string_view> grouped;
    for (field_group const& g : rules.groups) {
        if (!detail::known(g.decides)) { return failure{errc::unsupported, "unknown rule"}; }
        if (!chooses_a_side(g.decides)) { return failure{errc::invalid, "a group's rule that chooses no side"}; }
        if (g.name.size() > field_name_bytes_max || !valid_utf8(g.name)) {
            return failure{errc::invalid, "name of a group"};
        }
        for (std::string const& f : g.fields) {
            if (!detail::valid_field_name(f)) { return failure{errc::invalid, "name of a field in a group"}; }
            grouped.push_back(f);
        }
    }
    std::sort(grouped.begin(), grouped.end());
    if (std::adjacent_find(grouped.begin(), grouped.end()) != grouped.end()) {
        return failure{errc::invalid, "a field in two groups"};
    }
    if (rules.whole && !detail::known(*rules.whole)) { return failure{errc::unsupported, "unknown rule"}; }
    if (rules.whole && !chooses_a_side(*rules.whole)) {
        return failure{errc::invalid, "a record's rule that chooses no side"};
    }
    auto const deletes = static_cast<std::uint8_t>(rules.deletes);
    if (deletes < 1 || deletes > 3) { return failure{errc::unsupported, "unknown rule for deletions"}; }
    auto const keeps = static_cast<std::uint8_t>(rules.keeps);
    if (keeps < 1 || keeps > 2) { return failure{errc::unsupported, "unknown consistency"}; }
    for (reference_rule const& r : rules.references) {
        bool const collection = !r.collection.empty() && r.collection.size() <= collection_bytes_max;
        if (!detail::valid_field_name(r.field) || !collection || !valid_utf8(r.collection)) {
            return failure{errc::invalid, "a reference's field or collection"};
        }
    }
    return {};
}

/// The same, and that every field with a rule, in a group or with a reference is one of the struct's: else
/// `errc::not_found`. For a table that came at run time for a described struct.
template <described T>
[[nodiscard]] status validate_for(collection_rules const& rules) {
    if (auto ok = validate(rules); !ok) { return ok; }
    auto const there = [](std::string_view name) {
        bool found = false;
        for_each_field<T>([&](auto const& f) { found = found || f.name == name; });
        return found;
    };
    bool all = true;
    for (field_rule const& f : rules.fields) { all = all && there(f.field); }
    for (reference_rule const& r : rules.references) { all = all && there(r.field); }
    for (field_group const& g : rules.groups) {
        for (std::string const& f : g.fields) { all = all && there(f); }
    }
    if (!all) { return failure{errc::not_found, "a rule for a field that does not exist"}; }
    bool fits = true;
    for_each_field<T>([&](auto const& f) {
        using member = typename std::remove_cvref_t<decltype(f)>::member_type;
        fits = fits && detail::rule_fits<member>(rules.of(f.name));
    });
    if (!fits) { return failure{errc::type_mismatch, "a rule that can't decide a member of its type"}; }
    return {};
}

/// Appends the canonical form of a collection's rules: an array of eight items, of nine where it isn't eventual.
/// Precondition: `validate` accepts them.
inline void encode_rules(cbor_writer& w, collection_rules const& rules) {
    bool const eventual = rules.keeps == consistency::eventual;
    w.array(eventual ? 8 : 9);
    w.unsigned_integer(rules_format);
    w.text(rules.collection);
    w.unsigned_integer(static_cast<std::uint64_t>(rules.fallback));
    detail::encode_fields_of(w, rules.fields);
    w.array(rules.groups.size());
    for (field_group const& g : rules.groups) {
        w.array(3);
        w.text(g.name);
        w.unsigned_integer(static_cast<std::uint64_t>(g.decides));
        w.array(g.fields.size());
        for (std::string const& f : g.fields) { w.text(f); }
    }
    if (rules.whole) {
        w.unsigned_integer(static_cast<std::uint64_t>(*rules.whole));
    } else {
        w.null();
    }
    w.unsigned_integer(static_cast<std::uint64_t>(rules.deletes));
    w.array(rules.references.size());
    for (reference_rule const& r : rules.references) {
        w.array(2);
        w.text(r.field);
        w.text(r.collection);
    }
    if (!eventual) { w.unsigned_integer(static_cast<std::uint64_t>(rules.keeps)); }
}

/// Reads what `encode_rules` wrote, of a stranger too. On anything else, and on what `validate` refuses, the reader has
/// failed and the rules mean nothing.
[[nodiscard]] inline collection_rules decode_rules(cbor_reader& in) {
    collection_rules out;
    std::size_t const parts = in.array();
    if (parts != 8 && parts != 9) { in.fail({errc::malformed, "rules of the wrong length"}); }
    std::uint64_t const format = in.unsigned_integer();
    if (!in.failed() && format != rules_format) { in.fail({errc::unsupported, "rules of another version"}); }
    out.collection = std::string{in.text()};
    out.fallback = detail::decode_rule(in);
    out.fields = detail::decode_fields_of(in, 0);
    std::size_t const groups = in.array();
    for (std::size_t i = 0; i < groups && !in.failed(); ++i) {
        field_group g;
        if (in.array() != 3) { in.fail({errc::malformed, "group of the wrong length"}); }
        g.name = std::string{in.text()};
        g.decides = detail::decode_rule(in);
        std::size_t const members = in.array();
        for (std::size_t k = 0; k < members && !in.failed(); ++k) { g.fields.push_back(detail::decode_name(in)); }
        if (!in.charge(sizeof(field_group))) { break; }
        out.groups.push_back(std::move(g));
    }
    if (!in.null()) { out.whole = detail::decode_rule(in); }
    std::uint64_t const deletes = in.unsigned_integer();
    if (!in.failed() && (deletes < 1 || deletes > 3)) { in.fail({errc::unsupported, "unknown rule for deletions"}); }
    out.deletes = static_cast<deletion>(deletes & 0xFF);
    std::size_t const references = in.array();
    for (std::size_t i = 0; i < references && !in.failed(); ++i) {
        if (in.array() != 2) { in.fail({errc::malformed, "reference of the wrong length"}); }
        std::string field = detail::decode_name(in);
        out.references.push_back({std::move(field), std::string{in.text()}});
    }
    if (parts == 9 && !in.failed()) {
        std::uint64_t const keeps = in.unsigned_integer();
        if (!in.failed() && keeps == 1) { in.fail({errc::not_deterministic, "eventual, said at length"}); }
        if (!in.failed() && keeps != 2) { in.fail({errc::unsupported, "unknown consistency"}); }
        out.keeps = static_cast<consistency>(keeps & 0xFF);
    }
    if (!in.failed()) {
        if (auto ok = validate(out); !ok) { in.fail(ok.error()); }
    }
    return out;
}

/// All rules of a table, an array of what `encode_rules` writes. Precondition: `validate` accepts each.
[[nodiscard]] inline bytes encode(rule_table const& table) {
    bytes out;
    cbor_writer w{out};
    w.array(table.collections().size());
    for (collection_rules const& c : table.collections()) { encode_rules(w, c); }
    return out;
}
/// Reads what `encode` wrote. Errors: those of `cbor_reader` and `validate`; `errc::invalid` for a collection named
/// twice.
[[nodiscard]] inline result<rule_table> decode_rule_table(bytes_view encoded, decode_limits const& limits = {}) {
    cbor_reader in{encoded, limits};
    rule_table out;
    std::size_t const n = in.array();
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        collection_rules c = decode_rules(in);
        std::size_t const before = out.collections().size();
        if (!in.failed()) { out.add(std::move(c)); }
        if (!in.failed() && out.collections().size() == before) {
            in.fail({errc::invalid, "a collection named twice"});
        }
    }
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
