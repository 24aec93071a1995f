// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Fields of any type under any rule, and what may be done to them, out of an input's choices.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/merge/rule.hpp>
#include <syncline/model/mutation.hpp>

#include "fuzz_targets/choices.hpp"

namespace fuzz {

inline constexpr std::string_view field_names[] = {"a",     "b",     "least", "most",
                                                   "count", "ruled", "asked", "of eleven by"};

inline syncline::collection_rules field_rules() {
    using syncline::rule;
    return {"things",
            rule::last_writer,
            {{"count", rule::counter},
             {"least", rule::minimum},
             {"most", rule::maximum},
             {"ruled", rule::authority},
             {"asked", rule::manual}}};
}

/// Shorter names first, as canonical maps have them.
struct by_key {
    bool operator()(std::string const& a, std::string const& b) const {
        return a.size() != b.size() ? a.size() < b.size() : a < b;
    }
};
using field_map = std::map<std::string, syncline::bytes, by_key>;

inline syncline::bytes integer_item(std::int64_t n) {
    syncline::bytes out;
    syncline::cbor_writer(out).integer(n);
    return out;
}
/// Mostly a little integer, so that values meet.
inline syncline::bytes any_value(choices& in) {
    if (in.below(2) == 0) { return integer_item(static_cast<std::int64_t>(in.below(8)) - 4); }
    return any_item(in);
}
inline field_map any_fields(choices& in) {
    field_map out;
    std::uint64_t const present = in.byte();
    for (std::size_t i = 0; i < std::size(field_names); ++i) {
        if ((present >> i & 1U) != 0) { out[std::string(field_names[i])] = any_value(in); }
    }
    return out;
}
inline syncline::bytes encoded(field_map const& all) {
    syncline::bytes out;
    syncline::cbor_writer w(out);
    w.map(all.size());
    for (auto const& [name, value] : all) {
        w.text(name);
        w.raw(value);
    }
    return out;
}

/// In canonical order, each field once; stamped `stamp` mostly.
inline std::vector<syncline::field_op> any_operations(choices& in, syncline::timestamp stamp) {
    using syncline::op_kind;
    std::map<std::string, syncline::field_op, by_key> ops;
    std::uint64_t touched = in.byte();
    if (in.below(4) != 0) { touched &= 0x11U << (touched / 64); }  // few mostly: an input holds more of them
    for (std::size_t i = 0; i < std::size(field_names); ++i) {
        if ((touched >> i & 1U) == 0) { continue; }
        syncline::field_op op;
        op.field = std::string(field_names[i]);
        std::uint64_t const what = in.below(8);
        op.kind = what == 0 ? op_kind::unset : what <= 2 || op.field == "count" ? op_kind::add : op_kind::set;
        if (op.kind != op_kind::unset) { op.value = any_value(in); }
        op.stamp = in.below(4) == 0 ? syncline::timestamp{in.below(16)} : stamp;
        ops[op.field] = op;
    }
    std::vector<syncline::field_op> out;
    for (auto& [name, op] : ops) { out.push_back(std::move(op)); }
    return out;
}

}  // namespace fuzz
