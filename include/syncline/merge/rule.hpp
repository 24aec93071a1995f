// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Merge rules: what decides a field that two people changed at once, named per field and collection.

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/describe.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What decides a field that was changed concurrently. Values travel: append, never renumber.
///
/// | rule          | a concurrent change                                            | law it obeys               |
/// | last_writer   | the greater (stamp, author) stays                              | join of a total order      |
/// | authority     | what the authority has already confirmed stays                 | a choice of order          |
/// | minimum       | the smaller value stays, by `compare_values`; moves only down  | semilattice                |
/// | maximum       | the greater value stays, by `compare_values`; moves only up    | semilattice                |
/// | counter       | every `add` counts once                                        | commutative operations     |
/// | manual        | the mutation is parked for a person                            | none: nobody's write wins  |
enum class rule : std::uint8_t {
    last_writer = 1,
    authority = 2,
    minimum = 3,
    maximum = 4,
    counter = 5,
    manual = 6,
};

[[nodiscard]] constexpr char const* name(rule r) noexcept {
    switch (r) {
        case rule::last_writer: return "last writer wins";
        case rule::authority: return "authority wins";
        case rule::minimum: return "minimum";
        case rule::maximum: return "maximum";
        case rule::counter: return "counter";
        case rule::manual: return "manual";
    }
    return "unknown rule";
}

struct field_rule {
    std::string field;
    rule decides = rule::last_writer;
    friend bool operator==(field_rule const&, field_rule const&) = default;
};

/// The rules of one collection; fields that none names fall back.
struct collection_rules {
    std::string collection;
    rule fallback = rule::last_writer;
    std::vector<field_rule> fields{};

    [[nodiscard]] rule of(std::string_view field) const noexcept {
        for (field_rule const& f : fields) {
            if (f.field == field) { return f.decides; }
        }
        return fallback;
    }
    friend bool operator==(collection_rules const&, collection_rules const&) = default;
};

/// The rules that are named beside the members of a described struct: `field("seats", &T::seats, rule::counter)`.
template <described T>
[[nodiscard]] collection_rules rules_of() {
    collection_rules out;
    out.collection = std::string{collection<T>()};
    for_each_field<T>([&](auto const& f) {
        rule const r = f.option(rule::last_writer);
        if (r != rule::last_writer) { out.fields.push_back({std::string{f.name}, r}); }
    });
    return out;
}

/// The rules of all collections, the same at every replica and at the authority. A collection that none
/// names is merged by last writer wins.
class rule_table {
public:
    rule_table() = default;

    /// Adds or replaces a collection's rules.
    rule_table& add(collection_rules rules) {
        for (collection_rules& c : collections_) {
            if (c.collection == rules.collection) {
                c = std::move(rules);
                return *this;
            }
        }
        collections_.push_back(std::move(rules));
        return *this;
    }
    /// Adds those of described structs.
    template <described... T>
    [[nodiscard]] static rule_table of() {
        rule_table out;
        (out.add(rules_of<T>()), ...);
        return out;
    }

    [[nodiscard]] collection_rules const& of(std::string_view collection) const noexcept {
        for (collection_rules const& c : collections_) {
            if (c.collection == collection) { return c; }
        }
        return fallback_;
    }

private:
    std::vector<collection_rules> collections_;
    collection_rules fallback_;
};

}  // namespace syncline::inline SYNCLINE_ABI
