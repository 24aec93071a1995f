// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Operations of several replicas on one field, folded in every order that they may come in.

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/merge/apply.hpp>
#include <syncline/merge/diff.hpp>

namespace folding {

using namespace syncline;

inline bytes text_item(std::string_view s) {
    bytes out;
    cbor_writer{out}.text(s);
    return out;
}
inline bytes number_item(std::int64_t n) {
    bytes out;
    cbor_writer{out}.integer(n);
    return out;
}
inline bytes array_item(std::vector<bytes> const& items) {
    bytes out;
    cbor_writer w{out};
    w.array(items.size());
    for (bytes const& i : items) { w.raw(i); }
    return out;
}
/// A list's element: [identity, text].
inline bytes element(std::string_view id, std::string_view text) {
    return array_item({text_item(id), text_item(text)});
}
/// A canonical map. Names of one length, in order.
inline bytes map_item(std::initializer_list<std::pair<std::string_view, bytes>> fields) {
    bytes out;
    cbor_writer w{out};
    w.map(fields.size());
    for (auto const& [name, item] : fields) {
        w.text(name);
        w.raw(item);
    }
    return out;
}
inline bytes edits_item(std::vector<element_edit> const& edits) {
    bytes out;
    cbor_writer w{out};
    encode_element_edits(w, edits);
    return out;
}
/// Of [identity, text] elements their texts, of others themselves: for people who read a failing test.
inline std::vector<std::string> read_list(bytes_view list) {
    std::vector<std::string> out;
    auto const items = detail::items_of(list);
    if (!items) { return {"(no array)"}; }
    for (bytes_view const item : *items) {
        cbor_reader in{item};
        if (in.peek() == cbor_type::array) {
            (void)in.array();
            std::string one{in.text()};
            out.push_back(one + "=" + std::string{in.text()});
        } else {
            out.push_back(std::string{in.text()});
        }
    }
    return out;
}

/// One operation of a replica, on the field "f".
struct deed {
    op_kind kind = op_kind::set;
    bytes value{};
};
struct author_deeds {
    author_index author = 1;
    std::vector<std::uint64_t> stamps{};
    std::vector<deed> deeds{};
};

inline std::optional<row> start(std::optional<bytes> const& value) {
    row r;
    r.version = 1;
    r.floor.at = 1;
    r.fields = value ? map_item({{"f", *value}}) : map_item({});
    return r;
}
inline std::optional<bytes> value_of(std::optional<row> const& r, std::string_view field = "f") {
    auto const found = map_find(r->fields, field);
    if (!found || !*found) { return std::nullopt; }
    return to_bytes(**found);
}
inline apply_outcome lay(std::optional<row>& r, author_index author, position at, position base, std::uint64_t stamp,
                         std::vector<field_op> ops, collection_rules const& rules, merge_host const* host = nullptr,
                         merge_hint hint = merge_hint::merge, change_kind kind = change_kind::update) {
    mutation m;
    m.kind = kind;
    m.stamp = timestamp{stamp};
    m.record = {"things", "x"};
    m.base = base;
    m.hint = hint;
    for (field_op& op : ops) { op.stamp = m.stamp; }
    m.ops = std::move(ops);
    apply_context c;
    c.author = author;
    c.at = at;
    c.host = host;
    return apply(r, m, rules, c);
}

/// Calls `visit(value after it, outcomes)` for every order in which the authors' operations may arrive, each author's in
/// its own order. All have seen position 1 and nothing else but their own.
template <class Visit>
void each_arrival(std::optional<bytes> const& before, std::vector<author_deeds> const& authors,
                  collection_rules const& rules, Visit const& visit, merge_host const* host = nullptr) {
    std::vector<std::size_t> order;
    for (std::size_t a = 0; a != authors.size(); ++a) { order.insert(order.end(), authors[a].deeds.size(), a); }
    do {
        auto r = start(before);
        std::vector<std::size_t> next(authors.size());
        position at = 1;
        bool refused = false;
        for (std::size_t const a : order) {
            std::size_t const n = next[a]++;
            auto const out = lay(r, authors[a].author, ++at, 1, authors[a].stamps[n],
                                 {{"f", authors[a].deeds[n].kind, authors[a].deeds[n].value, {}}}, rules, host);
            refused = refused || out.verdict == verdict_kind::rejected;
        }
        visit(r, order, refused);
    } while (std::next_permutation(order.begin(), order.end()));
}

/// Whether every order of arrival leaves the same value; if not, shows nothing and answers false.
inline bool order_free(std::optional<bytes> const& before, std::vector<author_deeds> const& authors,
                       collection_rules const& rules, std::optional<bytes>& value, merge_host const* host = nullptr) {
    bool first = true;
    bool same = true;
    each_arrival(
        before, authors, rules,
        [&](std::optional<row> const& r, std::vector<std::size_t> const&, bool refused) {
            auto const now = value_of(r);
            if (first) { value = now; }
            first = false;
            same = same && !refused && now == value;
        },
        host);
    return same;
}

}  // namespace folding
