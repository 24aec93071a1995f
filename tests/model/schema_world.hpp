// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A collection with four versions, records and operations of each, and the plainest possible apply.

#include <algorithm>
#include <array>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/model/schema.hpp>

namespace schema_tests {

using namespace syncline;

inline bytes item(value const& v) { return to_bytes(v.encoded()); }

struct by_key {
    bool operator()(std::string const& a, std::string const& b) const { return compare_keys(a, b) < 0; }
};
using plain_record = std::map<std::string, bytes, by_key>;

inline bytes encoded(plain_record const& r) {
    bytes out;
    cbor_writer w{out};
    w.map(r.size());
    for (auto const& [name, what] : r) {
        w.text(name);
        w.raw(what);
    }
    return out;
}
inline plain_record decoded(bytes_view raw) {
    plain_record r;
    cbor_map_cursor at{raw};
    while (at.next()) { r[std::string(at.key())] = to_bytes(at.value()); }
    return r;
}
inline bytes fields(std::initializer_list<std::pair<char const*, value>> all) {
    plain_record r;
    for (auto const& [name, v] : all) { r[name] = item(v); }
    return encoded(r);
}
inline std::string text(value_view v) {
    if (auto const n = v.as_int64()) { return std::to_string(*n); }
    if (auto const t = v.as_text()) { return '"' + std::string(*t) + '"'; }
    if (auto const b = v.as_bool()) { return *b ? "true" : "false"; }
    if (!v.is_array() && !v.is_map()) { return v.is_null() ? "null" : "?"; }
    std::string all;
    value_cursor at(v);
    while (at.next()) {
        if (!all.empty()) { all += ", "; }
        if (v.is_map()) { all += text(at.key()) + ": "; }
        all += text(at.item());
    }
    return v.is_map() ? '{' + all + '}' : '[' + all + ']';
}
inline std::string text(bytes_view raw) { return text(value_view(raw)); }

/// 2: the name in parts, money in cents; 3: renamed, a default; 4: joined back otherwise, a field gone.
inline collection_schema guests() {
    collection_schema s;
    s.next({schema_step::split("name", {"first", "last"}, casts::apart<' '>, casts::together<' '>),
            schema_step::rename("table", "room"),
            schema_step::convert("paid", casts::times<100>, casts::over<100>, true),
            schema_step::rename("paid", "cents")});
    s.next({schema_step::add("status", value("open"))});
    s.next({schema_step::join({"day", "hour"}, "when", casts::together<'T'>, casts::apart<'T'>),
            schema_step::rename("note", "remark")});
    return s;
}

/// The names of each version, and one that no step knows.
inline std::vector<std::string> names(schema_version v) {
    std::vector<std::string> all{"fax"};
    auto const add = [&](std::initializer_list<char const*> more) { all.insert(all.end(), more.begin(), more.end()); };
    if (v == 1) {
        add({"name", "table", "paid"});
    } else {
        add({"first", "last", "room", "cents"});
    }
    if (v >= 3) { add({"status"}); }
    if (v == 4) {
        add({"when", "remark"});
    } else {
        add({"day", "hour", "note"});
    }
    return all;
}

template <class G>
bytes some_item(G& random) {
    static std::array<value, 10> const all{value(0),     value(7),         value(1250),      value(-300), value("Anna"),
                                           value("A B"), value("A B C D"), value("x T y T"), value(true), value()};
    return item(all[static_cast<std::size_t>(random() % all.size())]);
}
template <class G>
bytes some_fields(G& random, schema_version v) {
    plain_record r;
    for (std::string const& n : names(v)) {
        if (random() % 3 != 0) { r[n] = some_item(random); }
    }
    return encoded(r);
}
template <class G>
std::vector<field_op> some_operations(G& random, schema_version v) {
    std::vector<field_op> ops;
    for (std::string const& n : names(v)) {
        switch (random() % 6) {
            case 0: ops.push_back({n, op_kind::set, some_item(random), timestamp{5}}); break;
            case 1: ops.push_back({n, op_kind::unset, {}, timestamp{5}}); break;
            case 2:
                ops.push_back({n, op_kind::add, item(static_cast<std::int64_t>(random() % 500)), timestamp{5}});
                break;
            default: break;
        }
    }
    std::sort(ops.begin(), ops.end(), [](auto const& a, auto const& b) { return compare_keys(a.field, b.field) < 0; });
    return ops;
}

/// Fields after operations; nothing where an increment does not fit.
inline std::optional<bytes> applied(bytes_view before, std::vector<field_op> const& ops) {
    plain_record r = decoded(before);
    for (field_op const& op : ops) {
        if (op.kind == op_kind::set) {
            r[op.field] = op.value;
        } else if (op.kind == op_kind::unset) {
            r.erase(op.field);
        } else {
            auto const old = r.find(op.field);
            std::optional<std::int64_t> const n =
                old == r.end() ? std::optional<std::int64_t>{0} : value_view(old->second).as_int64();
            if (!n) { return std::nullopt; }
            r[op.field] = item(*n + *value_view(op.value).as_int64());
        }
    }
    return encoded(r);
}

/// `all` without the field that has a default, where `first` doesn't have it.
inline bytes without_additions(bytes_view all, bytes_view first) {
    plain_record r = decoded(all);
    if (decoded(first).count("status") == 0) { r.erase("status"); }
    return encoded(r);
}

}  // namespace schema_tests
