// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Suggestions at work: a person's standing preferences, what may be applied without asking, what a decision teaches.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/conflict/learned.hpp>
#include <syncline/conflict/queue.hpp>
#include <syncline/conflict/suggester.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What a person wants done about a field, once and for all. Stored: append, never renumber.
enum class standing_choice : std::uint8_t {
    local = 1,
    remote = 2,
    merge = 3,        ///< both where they combine; else the person is asked
    ask = 4,          ///< never suggest anything here
    newer = 5,        ///< the side that was written later; equal stamps: ask
    higher_role = 6,  ///< equal roles: ask
};

/// What the host says of a field.
struct field_care {
    std::string collection;
    std::string field;            ///< the first key of a path
    bool manual_only = false;     ///< never applied without a person, whatever is suggested and however sure
    std::uint8_t importance = 0;  ///< 0 to 255: a signal for suggesters
    friend bool operator==(field_care const&, field_care const&) = default;
};

/// What may happen without asking. By default nothing does.
struct automatic_options {
    share16 threshold = share_one + 1;  ///< suggestions at least so sure are applied; above `share_one`: none ever
    std::vector<field_care> fields{};
    friend bool operator==(automatic_options const&, automatic_options const&) = default;

    /// The field's entry, or nothing. Of a conflict over the whole record each entry of the collection counts.
    [[nodiscard]] field_care const* of(std::string_view collection, field_path const& path) const noexcept {
        for (field_care const& f : fields) {
            if (f.collection == collection && !path.empty() && f.field == path.front()) { return &f; }
        }
        return nullptr;
    }
    /// Whether a person has to look. What deletes or revives a record always waits for one.
    [[nodiscard]] bool manual_only(std::string_view collection, field_path const& path) const noexcept {
        if (path.empty()) { return true; }
        field_care const* const f = of(collection, path);
        return f != nullptr && f->manual_only;
    }
    [[nodiscard]] std::uint8_t importance(std::string_view collection, field_path const& path) const noexcept {
        field_care const* const f = of(collection, path);
        return f == nullptr ? std::uint8_t{0} : f->importance;
    }
};

/// A person's standing preferences, in a storage. Holds the prefix and nothing else.
///
/// Keys: prefix, length of the person's name, it, length of the collection, it, the field. A preference without a field is
/// of the whole collection; the field's own goes before it. Errors: those of the storage, `errc::corrupt`.
class conflict_preferences {
public:
    /// Precondition: 1 to 16 bytes, as of any component.
    explicit conflict_preferences(std::string_view prefix = "kp") : prefix_(prefix) {
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 16);
    }
    /// `errc::invalid` for names out of range: a person 1 to 128 bytes, together at most 480; and for no choice.
    template <storage_transaction Tx>
    [[nodiscard]] status set(Tx& tx, bytes_view person, std::string_view collection, std::string_view field,
                             standing_choice c) const {
        if (!fits(person, collection, field)) { return failure{errc::invalid, "names of a preference"}; }
        if (!known(static_cast<unsigned>(c))) { return failure{errc::invalid, "no choice of a preference"}; }
        std::byte const raw = static_cast<std::byte>(c);
        return tx.put(key(person, collection, field), {&raw, 1});
    }
    template <storage_transaction Tx>
    [[nodiscard]] status clear(Tx& tx, bytes_view person, std::string_view collection, std::string_view field) const {
        if (!fits(person, collection, field)) { return failure{errc::invalid, "names of a preference"}; }
        return tx.erase(key(person, collection, field));
    }
    /// The field's own, else the collection's, else nothing.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<standing_choice>> find(Tx& tx, bytes_view person, std::string_view collection,
                                                              std::string_view field) const {
        for (std::string_view const f : {field, std::string_view{}}) {
            if (!fits(person, collection, f)) { continue; }
            bytes raw;
            auto const found = tx.get(key(person, collection, f), raw);
            if (!found) { return found.error(); }
            if (!*found) { continue; }
            auto const n = raw.size() == 1 ? std::to_integer<unsigned>(raw[0]) : 0U;
            if (!known(n)) { return failure{errc::corrupt, "preference"}; }
            return std::optional{static_cast<standing_choice>(n)};
        }
        return std::optional<standing_choice>{};
    }

private:
    [[nodiscard]] static constexpr bool known(unsigned choice) noexcept { return choice >= 1 && choice <= 6; }
    [[nodiscard]] static bool fits(bytes_view person, std::string_view collection, std::string_view field) noexcept {
        return !person.empty() && person.size() <= 128 && !collection.empty() &&
               collection.size() <= collection_bytes_max && field.size() <= field_name_bytes_max &&
               person.size() + collection.size() + field.size() <= 480;
    }
    [[nodiscard]] bytes key(bytes_view person, std::string_view collection, std::string_view field) const {
        bytes out;
        append(out, as_bytes(prefix_));
        out.push_back(static_cast<std::byte>(person.size()));
        append(out, person);
        append_key(out, collection, as_bytes(field));
        return out;
    }
    std::string prefix_;
};

/// What a preference comes to for a question; nothing where it doesn't decide it.
[[nodiscard]] inline std::optional<suggestion> by_preference(standing_choice c, conflict_question const& q) noexcept {
    suggestion s;
    s.source = suggestion_source::preference;
    s.confidence = share_one;
    s.reasons[0] = suggestion_reason::preference;
    auto const side = [&](auto const& mine, auto const& theirs) {
        s.what = mine > theirs   ? conflict_action::local
                 : mine < theirs ? conflict_action::remote
                                 : conflict_action::ask;
    };
    switch (c) {
        case standing_choice::local: s.what = conflict_action::local; break;
        case standing_choice::remote: s.what = conflict_action::remote; break;
        case standing_choice::merge: s.what = q.combinable ? conflict_action::merge : conflict_action::ask; break;
        case standing_choice::ask: s.what = conflict_action::ask; break;
        case standing_choice::newer: side(q.local.stamp, q.remote.stamp); break;
        case standing_choice::higher_role: side(q.local.role, q.remote.role); break;
    }
    if (s.what == conflict_action::ask) { s.confidence = 0; }
    return s;
}

/// What is suggested for each contested field: the person's preferences go before the suggester.
///
/// Errors: those of the storage, of `conflict_questions::of` and of the suggester. Writes nothing.
template <storage_transaction Tx, suggester S>
[[nodiscard]] result<std::vector<suggestion>> suggest_all(
    Tx& tx, conflict const& c, S& with, bytes_view person, automatic_options const& options,
    conflict_preferences const& preferences = conflict_preferences{}) {
    auto const questions = conflict_questions::of(
        c, person, [&](field_path const& path) { return options.importance(c.record.collection, path); });
    if (!questions) { return questions.error(); }
    std::vector<suggestion> out;
    for (conflict_question const& q : questions->all()) {
        auto const wish =
            preferences.find(tx, person, q.collection, q.path->empty() ? std::string_view{} : q.path->front());
        if (!wish) { return wish.error(); }
        auto said = *wish ? by_preference(**wish, q) : std::optional<suggestion>{};
        if (!said) {
            auto const s = with.suggest(q);
            if (!s) { return s.error(); }
            said = *s;
        }
        out.push_back(*said);
    }
    return out;
}

/// The decision that suggestions make together; nothing when one of them asks, is less sure than the threshold, or is of a
/// field that only a person may decide.
[[nodiscard]] inline std::optional<resolution> automatic_resolution(conflict const& c, std::span<suggestion const> all,
                                                                    automatic_options const& options) {
    std::vector<field_decision> fields;
    for (std::size_t i = 0; i < c.fields.size() && i < all.size(); ++i) {
        suggestion const& s = all[i];
        if (s.what == conflict_action::ask || s.confidence < options.threshold ||
            options.manual_only(c.record.collection, c.fields[i].path)) {
            return std::nullopt;
        }
        field_take const take = s.what == conflict_action::local    ? field_take::local
                                : s.what == conflict_action::remote ? field_take::remote
                                                                    : field_take::merge;
        fields.push_back({c.fields[i].path, take, {}});
    }
    if (fields.size() != c.fields.size()) { return std::nullopt; }
    return resolution::merge_fields(std::move(fields));
}

/// Keeps the suggestions with the conflict and, where that may be, decides it without asking. Nothing: it waits for a person.
/// A decision that can't be (`settle`) leaves it to the person as well.
/// Errors: as `conflict_queue::suggest` and `resolve`; then roll back.
template <storage_transaction Tx, suggester S, conflict_audit A = no_audit>
[[nodiscard]] result<std::optional<settled>> suggest_or_apply(
    conflict_queue const& queue, Tx& tx, std::uint64_t id, S& with, collection_rules const& rules,
    automatic_options const& options, decision_maker who,
    conflict_preferences const& preferences = conflict_preferences{}, A&& audit = {}) {
    auto const c = queue.find(tx, id);
    if (!c) { return c.error(); }
    auto const all = suggest_all(tx, *c, with, who.by, options, preferences);
    if (!all) { return all.error(); }
    if (auto ok = queue.suggest(tx, id, *all, who.now, audit); !ok) { return ok.error(); }
    auto const how = automatic_resolution(*c, *all, options);
    if (!how || !settle(*c, *how, rules, who.stamp, who.author, who.host)) { return std::optional<settled>{}; }
    who.automatic = true;
    auto done = queue.resolve(tx, id, c->revision, *how, rules, who, audit);
    if (!done && done.error() == errc::limit) { return std::optional<settled>{}; }  // its history is full
    if (!done) { return done.error(); }
    return std::optional<settled>{std::move(*done)};
}

/// Which of the three ways each contested field went; `ask` for none of them: a value of the person's own, the base.
/// Errors: those of `settle` and of `conflict_questions::of`.
[[nodiscard]] inline result<std::vector<conflict_action>> actions_of(conflict const& c, resolution const& how) {
    auto const mine = local_fields(c);
    if (!mine) { return mine.error(); }
    if (!c.remote) { return failure{errc::not_found, "the remote is not held yet"}; }
    std::vector<conflict_action> out;
    std::vector<field_decision> choices;
    if (how.kind != resolve_kind::custom) {
        auto chosen = detail::choices_of(c, how);
        if (!chosen) { return chosen.error(); }
        choices = std::move(*chosen);
    }
    detail::values_in_order values{c.base, *mine, c.remote->fields};
    for (std::size_t i = 0; i < c.fields.size(); ++i) {
        field_path const& path = c.fields[i].path;
        auto const v = values.of(path);
        if (!v) { return v.error(); }
        field_decision const d = choices.empty() ? field_decision{path, field_take::none, {}} : choices[i];
        conflict_action a = d.take == field_take::local    ? conflict_action::local
                            : d.take == field_take::remote ? conflict_action::remote
                            : d.take == field_take::merge  ? conflict_action::merge
                                                           : conflict_action::ask;
        if (a == conflict_action::ask && !path.empty()) {
            // A value that the person wrote, and that one of the ways would have made as well.
            std::optional<bytes> got;
            if (how.kind == resolve_kind::custom) {
                auto const in = value_at(how.record, path);
                if (in && *in) { got = to_bytes(**in); }
            } else if (auto taken = detail::taken(d, *v)) {
                got = std::move(*taken);
            }
            auto const is = [&](std::optional<bytes_view> const& side) {
                return got.has_value() == side.has_value() && (!got || equal(*got, *side));
            };
            auto const both =
                v->base && v->local && v->remote ? combine(*v->base, *v->local, *v->remote) : std::nullopt;
            a = is(v->local)           ? conflict_action::local
                : is(v->remote)        ? conflict_action::remote
                : both && got == *both ? conflict_action::merge
                                       : conflict_action::ask;
        }
        out.push_back(a);
    }
    return out;
}

/// Teaches a model what a person has decided. `model.learn(question, action)` is called for each contested field.
/// Not for what was applied without asking: see `learned_suggester::stood`. Errors: as `actions_of`; nothing was learned.
template <class Model>
[[nodiscard]] status learn_from(Model& model, conflict const& c, resolution const& how, bytes_view person,
                                automatic_options const& options = {}) {
    auto const questions = conflict_questions::of(
        c, person, [&](field_path const& path) { return options.importance(c.record.collection, path); });
    if (!questions) { return questions.error(); }
    auto const taken = actions_of(c, how);
    if (!taken) { return taken.error(); }
    for (std::size_t i = 0; i < taken->size(); ++i) { model.learn(questions->all()[i], (*taken)[i]); }
    return {};
}

}  // namespace syncline::inline SYNCLINE_ABI
