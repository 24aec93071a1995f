// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Merge rules: what decides a field that two people changed at once, named per field and collection.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/describe.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What decides a field that was changed concurrently. Values travel: append, never renumber.
///
/// | rule            | a concurrent change                                              | law it obeys              |
/// | last_writer     | the greater (stamp, author) stays                                | join of a total order     |
/// | authority       | what the authority has already confirmed stays                   | a choice of order         |
/// | minimum         | the smaller value stays, by `compare_values`; moves only down    | semilattice               |
/// | maximum         | the greater value stays, by `compare_values`; moves only up      | semilattice               |
/// | counter         | every `add` counts once                                          | commutative operations    |
/// | manual          | the mutation is parked for a person                              | none: nobody's write wins |
/// | authority_time  | is refused, `errc::contended`: what came to the authority first  | a choice of order         |
/// |                 | stays, and the device applies its change to that again           |                           |
/// | first_writer    | the smaller (stamp, author) stays                                | join of a total order     |
/// | local           | the mutation stays: who comes to the authority last              | a choice of order         |
/// | enable_wins     | true, before false, before missing                               | join of a total order     |
/// | disable_wins    | false, before missing, before true                               | join of a total order     |
/// | add_wins        | a set: elements are added and removed; added beats removed       | commutative operations    |
/// | remove_wins     | the same; removed beats added                                    | commutative operations    |
/// | nested          | a map: each field inside by its own rule                         | as of the rules inside    |
/// | list            | an array whose elements have identities: inserted, moved, edited | commutative operations    |
/// |                 | and removed in the order of stamps                               |                           |
/// | sequence        | an array: three-way merge of runs of items; overlaps ask         | none: overlaps ask        |
/// | text_lines      | a text: three-way merge of its lines; overlaps ask a person      | none: overlaps ask        |
/// | text_words      | the same, of its words                                           | none: overlaps ask        |
/// | text_characters | the same, of its characters as people see them (graphemes)       | none: overlaps ask        |
/// | role            | the writer of the higher role stays, as the host says; else the  | join of a total order     |
/// |                 | last writer                                                      |                           |
/// | siblings        | an array: the values that nobody has seen replaced stay beside   | commutative operations    |
/// |                 | each other                                                       |                           |
enum class rule : std::uint8_t {
    last_writer = 1,
    authority = 2,
    minimum = 3,
    maximum = 4,
    counter = 5,
    manual = 6,
    authority_time = 7,
    first_writer = 8,
    local = 9,
    enable_wins = 10,
    disable_wins = 11,
    add_wins = 12,
    remove_wins = 13,
    nested = 14,
    list = 15,
    sequence = 16,
    text_lines = 17,
    text_words = 18,
    text_characters = 19,
    role = 20,
    siblings = 21,
};

inline constexpr std::uint8_t rules_count = 21;  ///< rules are numbered from 1 to this

[[nodiscard]] constexpr char const* name(rule r) noexcept {
    switch (r) {
        case rule::last_writer: return "last writer wins";
        case rule::authority: return "authority wins";
        case rule::minimum: return "minimum";
        case rule::maximum: return "maximum";
        case rule::counter: return "counter";
        case rule::manual: return "manual";
        case rule::authority_time: return "last writer by the authority's time";
        case rule::first_writer: return "first writer wins";
        case rule::local: return "local wins";
        case rule::enable_wins: return "flag, enable wins";
        case rule::disable_wins: return "flag, disable wins";
        case rule::add_wins: return "set, add wins";
        case rule::remove_wins: return "set, remove wins";
        case rule::nested: return "nested";
        case rule::list: return "list";
        case rule::sequence: return "sequence";
        case rule::text_lines: return "text by lines";
        case rule::text_words: return "text by words";
        case rule::text_characters: return "text by characters";
        case rule::role: return "higher role wins";
        case rule::siblings: return "siblings";
    }
    return "unknown rule";
}

/// Whether a rule picks one of two whole values, so that it can decide for a group of fields or a record.
[[nodiscard]] constexpr bool chooses_a_side(rule r) noexcept {
    switch (r) {
        case rule::last_writer:
        case rule::authority:
        case rule::manual:
        case rule::authority_time:
        case rule::first_writer:
        case rule::local:
        case rule::role: return true;
        default: return false;
    }
}
/// Whether a rule keeps the one of two values that lies further out, whoever wrote it and whenever.
[[nodiscard]] constexpr bool is_extreme(rule r) noexcept { return r == rule::minimum || r == rule::maximum; }
[[nodiscard]] constexpr bool is_set(rule r) noexcept { return r == rule::add_wins || r == rule::remove_wins; }
[[nodiscard]] constexpr bool is_flag(rule r) noexcept { return r == rule::enable_wins || r == rule::disable_wins; }
[[nodiscard]] constexpr bool is_text(rule r) noexcept {
    return r == rule::text_lines || r == rule::text_words || r == rule::text_characters;
}

/// A field's rule; of a nested field those of the fields inside too.
struct field_rule {
    std::string field;
    rule decides = rule::last_writer;
    std::vector<field_rule> inner{};          ///< of the fields inside, where `decides` is `nested`
    rule inner_fallback = rule::last_writer;  ///< of those inside that `inner` doesn't name
    friend bool operator==(field_rule const& a, field_rule const& b) {
        return a.field == b.field && a.decides == b.decides && a.inner == b.inner &&
               a.inner_fallback == b.inner_fallback;
    }
};

/// Fields that win together: where one of them was changed by others, the rule takes one side's values of all.
/// `diff` writes all fields of a group when one has changed, so that the winner's others come along.
struct field_group {
    std::string name;
    rule decides = rule::last_writer;   ///< one that `chooses_a_side`
    std::vector<std::string> fields{};  ///< each in one group at most
    friend bool operator==(field_group const&, field_group const&) = default;
};

/// What is decided between a deletion and a concurrent edit. Values travel: append, never renumber.
enum class deletion : std::uint8_t {
    wins = 1,    ///< the record stays deleted
    loses = 2,   ///< the record stays, or comes back with the edit; tombstones keep their fields for it
    manual = 3,  ///< whatever comes second is parked for a person; tombstones keep their fields
};

/// When a write to a collection takes effect. Values travel: append, never renumber.
enum class consistency : std::uint8_t {
    eventual = 1,  ///< at once, and it is merged with what others did
    strong = 2,    ///< once confirmed, and on the version that its writer saw only: else refused, `errc::contended`
};

/// A field whose value, where it is there and not null, is the id of a record that must exist.
struct reference_rule {
    std::string field;
    std::string collection;
    friend bool operator==(reference_rule const&, reference_rule const&) = default;
};

/// The rules of some fields, seen: those of a collection, or those inside of a nested field.
struct rule_view {
    rule fallback = rule::last_writer;
    std::vector<field_rule> const* fields = nullptr;  ///< none where null

    [[nodiscard]] field_rule const* find(std::string_view field) const noexcept {
        if (fields != nullptr) {
            for (field_rule const& f : *fields) {
                if (f.field == field) { return &f; }
            }
        }
        return nullptr;
    }
    [[nodiscard]] rule of(std::string_view field) const noexcept {
        field_rule const* const f = find(field);
        return f == nullptr ? fallback : f->decides;
    }
    /// Those inside of a nested field.
    [[nodiscard]] rule_view inside(std::string_view field) const noexcept {
        field_rule const* const f = find(field);
        if (f == nullptr) { return {}; }
        return {f->inner_fallback, &f->inner};
    }
};

/// The rules of one collection; fields that none names, those that a program doesn't know among them, fall back.
struct collection_rules {
    std::string collection;
    rule fallback = rule::last_writer;
    std::vector<field_rule> fields{};
    std::vector<field_group> groups{};
    std::optional<rule> whole{};  ///< decides for the record as one group of all its fields, whatever `fields` say
    deletion deletes = deletion::wins;
    std::vector<reference_rule> references{};
    consistency keeps = consistency::eventual;

    [[nodiscard]] bool strong() const noexcept { return keeps == consistency::strong; }
    [[nodiscard]] rule_view view() const noexcept { return {fallback, &fields}; }
    /// The field's own rule, or the fallback.
    [[nodiscard]] rule of(std::string_view field) const noexcept { return view().of(field); }
    /// The rule that decides a field of the record: the record's own, that of its group, or the field's.
    [[nodiscard]] rule decides(std::string_view field) const noexcept {
        if (whole) { return *whole; }
        field_group const* const g = groups.empty() ? nullptr : group_of(field);
        return g == nullptr ? of(field) : g->decides;
    }
    [[nodiscard]] field_group const* group_of(std::string_view field) const noexcept {
        for (field_group const& g : groups) {
            if (std::find(g.fields.begin(), g.fields.end(), field) != g.fields.end()) { return &g; }
        }
        return nullptr;
    }
    friend bool operator==(collection_rules const&, collection_rules const&) = default;
};

namespace detail {

/// Which group each field of a collection is in, and its rule, to be asked of many fields: `collection_rules` look through
/// all names for each. Borrows from the rules.
class group_index {
public:
    /// `asked`: of how many fields, about; where it is a few, rules are not sorted for them.
    explicit group_index(collection_rules const& rules, std::size_t asked) : rules_(&rules) {
        if (asked > few && rules.fields.size() > few) {
            fields_.reserve(rules.fields.size());
            for (field_rule const& f : rules.fields) { fields_.push_back(&f); }
            // (Of a field that has two, which `validate` refuses, the first counts.)
            std::stable_sort(fields_.begin(), fields_.end(),
                             [](field_rule const* a, field_rule const* b) { return a->field < b->field; });
        }
        std::size_t count = 0;
        for (field_group const& g : rules.groups) { count += g.fields.size(); }
        names_.reserve(count);
        for (field_group const& g : rules.groups) {
            for (std::string const& f : g.fields) { names_.push_back({f, &g}); }
        }
        // (Of a field that is in two, which `validate` refuses, the first counts.)
        std::stable_sort(names_.begin(), names_.end(),
                         [](member const& a, member const& b) { return a.field < b.field; });
    }

    [[nodiscard]] field_group const* of(std::string_view field) const noexcept {
        auto const at = std::lower_bound(names_.begin(), names_.end(), field,
                                         [](member const& m, std::string_view wanted) { return m.field < wanted; });
        return at != names_.end() && at->field == field ? at->group : nullptr;
    }
    /// Its place among the collection's groups. Precondition: it is one of them.
    [[nodiscard]] std::size_t place(field_group const& g) const noexcept {
        return static_cast<std::size_t>(&g - rules_->groups.data());
    }
    /// As `collection_rules::decides`.
    [[nodiscard]] rule decides(std::string_view field) const noexcept {
        if (rules_->whole) { return *rules_->whole; }
        field_group const* const g = of(field);
        if (g != nullptr) { return g->decides; }
        if (fields_.empty()) { return rules_->of(field); }
        auto const at =
            std::lower_bound(fields_.begin(), fields_.end(), field,
                             [](field_rule const* f, std::string_view wanted) { return f->field < wanted; });
        return at != fields_.end() && (*at)->field == field ? (*at)->decides : rules_->fallback;
    }

private:
    static constexpr std::size_t few = 32;
    struct member {
        std::string_view field;
        field_group const* group;
    };
    collection_rules const* rules_;
    std::vector<member> names_{};
    std::vector<field_rule const*> fields_{};
};

}  // namespace detail

/// An option of a described field: it wins together with the others of its number.
struct in_group {
    std::uint32_t number = 0;
    rule decides = rule::last_writer;  ///< the group's; the first field's counts
    friend constexpr bool operator==(in_group const&, in_group const&) = default;
};

/// An option of a described field: it holds the id of a record of another collection, as text or bytes, or nothing.
struct refers_to {
    std::string_view collection{};
    friend constexpr bool operator==(refers_to const&, refers_to const&) = default;
};
/// An option of a described record: all its fields win together, by this rule, whatever they say themselves. So does
/// `deletion` stand there for what is decided between a deletion and an edit.
struct whole_record {
    rule decides = rule::last_writer;  ///< one that `chooses_a_side`
    friend constexpr bool operator==(whole_record const&, whole_record const&) = default;
};
/// An option of a described record: the rule of fields that its type doesn't know, those of newer programs. Those that it
/// does know go on to have the rule that stands beside them, or last writer wins.
struct unnamed_fields {
    rule decides = rule::last_writer;
    friend constexpr bool operator==(unnamed_fields const&, unnamed_fields const&) = default;
};

namespace detail {

/// Whether a member can hold the id of another record.
template <class M>
[[nodiscard]] constexpr bool refers() noexcept {
    if constexpr (is_optional<M>::value) {
        return refers<typename M::value_type>();
    } else {
        return std::is_same_v<M, std::string> || std::is_same_v<M, bytes> || std::is_same_v<M, value>;
    }
}

/// Whether a rule can decide a member of this type.
template <class M>
[[nodiscard]] constexpr bool rule_fits(rule r) noexcept {
    if constexpr (is_optional<M>::value) {
        return rule_fits<typename M::value_type>(r);
    } else if constexpr (std::is_same_v<M, value>) {
        return true;
    } else {
        constexpr bool number = std::is_integral_v<M> && !std::is_same_v<M, bool>;
        constexpr bool array = is_vector<M>::value && !std::is_same_v<M, bytes>;
        if (r == rule::counter) { return number; }
        if (is_flag(r)) { return std::is_same_v<M, bool>; }
        if (is_text(r)) { return std::is_same_v<M, std::string>; }
        if (is_set(r) || r == rule::list || r == rule::sequence || r == rule::siblings) { return array; }
        if (r == rule::nested) { return described<M>; }
        return true;
    }
}

template <class T>
[[nodiscard]] constexpr bool rules_fit() noexcept {
    return std::apply(
        [](auto const&... f) {
            return (rule_fits<typename std::remove_cvref_t<decltype(f)>::member_type>(f.option(rule::last_writer)) &&
                    ...);
        },
        description_of<T>.fields);
}

template <class T>
[[nodiscard]] std::vector<field_rule> field_rules_of();

template <class T>
void rules_inside(field_rule& nested) {
    nested.inner = field_rules_of<T>();
    nested.inner_fallback = record_option<T>(unnamed_fields{}).decides;
}

template <class T>
std::vector<field_rule> field_rules_of() {
    static_assert(rules_fit<T>(), "a rule that can't decide a member of this type");
    std::vector<field_rule> out;
    for_each_field<T>([&](auto const& f) {
        rule const r = f.option(rule::last_writer);
        // What falls back to last writer wins needs no rule of its own.
        if (r == rule::last_writer && record_option<T>(unnamed_fields{}).decides == rule::last_writer) { return; }
        field_rule one{std::string{f.name}, r};
        using member = typename std::remove_cvref_t<decltype(f)>::member_type;
        if constexpr (described<member>) {
            if (r == rule::nested) { rules_inside<member>(one); }
        } else if constexpr (is_optional<member>::value) {
            if constexpr (described<typename member::value_type>) {
                if (r == rule::nested) { rules_inside<typename member::value_type>(one); }
            }
        }
        out.push_back(std::move(one));
    });
    return out;
}

}  // namespace detail

/// The rules that are named beside the members of a described struct, `field("seats", &T::seats, rule::counter)`, with
/// `in_group` and `refers_to`, and for the record as such: `whole_record`, `deletion`, `unnamed_fields`. A rule that can't
/// decide a member of its type does not compile. (Of a struct that is a nested field of another one the rules of fields
/// count, and `unnamed_fields`.)
template <described T>
[[nodiscard]] collection_rules rules_of(consistency keeps = consistency::eventual) {
    collection_rules out;
    out.keeps = keeps;
    out.collection = std::string{collection<T>()};
    out.fields = detail::field_rules_of<T>();
    out.fallback = record_option<T>(unnamed_fields{}).decides;
    out.deletes = record_option<T>(deletion::wins);
    if constexpr (has_record_option<T, whole_record>) {
        constexpr rule whole = record_option<T>(whole_record{}).decides;
        static_assert(chooses_a_side(whole), "a record's rule that chooses no side");
        out.whole = whole;
    }
    for_each_field<T>([&](auto const& f) {
        using description = std::remove_cvref_t<decltype(f)>;
        if constexpr (description::template has_option<refers_to>) {
            static_assert(detail::refers<typename description::member_type>(), "a reference that can hold no id");
            out.references.push_back({std::string{f.name}, std::string{f.option(refers_to{}).collection}});
        }
        if constexpr (description::template has_option<in_group>) {
            in_group const g = f.option(in_group{});
            std::string const name = std::to_string(g.number);
            auto at = std::find_if(out.groups.begin(), out.groups.end(),
                                   [&](field_group const& other) { return other.name == name; });
            if (at == out.groups.end()) { at = out.groups.insert(at, {name, g.decides, {}}); }
            at->fields.push_back(std::string{f.name});
        }
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
    /// Makes a collection strong: each write names the version that it is made on, and has its effect on that one only.
    rule_table& make_strong(std::string_view collection) {
        collection_rules strong = of(collection);
        strong.collection = std::string{collection};
        strong.keeps = consistency::strong;
        return add(std::move(strong));
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
    /// All that were added, in that order.
    [[nodiscard]] std::vector<collection_rules> const& collections() const noexcept { return collections_; }

    friend bool operator==(rule_table const&, rule_table const&) = default;

private:
    std::vector<collection_rules> collections_;
    collection_rules fallback_;
};

}  // namespace syncline::inline SYNCLINE_ABI
