// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What was decided about a field, and why: decisions travel in verdicts and are shown to people.

#include <cstdint>
#include <string>

#include <syncline/merge/rule.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Whose value a field has after a concurrent change. Values travel: append, never renumber; at most 15.
enum class winner : std::uint8_t {
    mutation = 1,   ///< the one that was applied
    confirmed = 2,  ///< the one that was there
    both = 3,       ///< the same value, or what both changes make together
    nobody = 4,     ///< a person must decide
    guard = 5,      ///< neither: a guard's repair
};

[[nodiscard]] constexpr char const* name(winner w) noexcept {
    switch (w) {
        case winner::mutation: return "the mutation";
        case winner::confirmed: return "the confirmed value";
        case winner::both: return "both";
        case winner::nobody: return "nobody yet";
        case winner::guard: return "a guard's repair";
    }
    return "unknown";
}

/// Why it was decided so. Values travel: append, never renumber; at most 15.
enum class reason : std::uint8_t {
    none = 0,        ///< not said
    same = 1,        ///< both wrote the same
    by_time = 2,     ///< the later, or the first, by the clock
    by_author = 3,   ///< at the same time: the author with the greater, or the smaller, number
    by_order = 4,    ///< the rule takes the side that the order of arrival names
    by_value = 5,    ///< the rule prefers this value
    combined = 6,    ///< both changes count
    by_role = 7,     ///< the writer of the higher role
    by_group = 8,    ///< decided with the other fields of its group
    by_hint = 9,     ///< the writer asked for it
    asked = 10,      ///< the rule asks a person
    overlap = 11,    ///< both changed the same part of a text or sequence
    deleted = 12,    ///< one deleted what the other changed
    guarded = 13,    ///< a guard said so
    reference = 14,  ///< it names a record that is not there
    mistyped = 15,   ///< what is there is not of the type that the rule is for
};

[[nodiscard]] constexpr char const* name(reason r) noexcept {
    switch (r) {
        case reason::none: return "not said";
        case reason::same: return "both wrote the same";
        case reason::by_time: return "by the time of writing";
        case reason::by_author: return "at the same time, by the author's number";
        case reason::by_order: return "by the order of arrival";
        case reason::by_value: return "by the value";
        case reason::combined: return "both changes count";
        case reason::by_role: return "by the writer's role";
        case reason::by_group: return "together with its group";
        case reason::by_hint: return "as the writer asked";
        case reason::asked: return "the rule asks a person";
        case reason::overlap: return "both changed the same part";
        case reason::deleted: return "one deleted, one changed";
        case reason::guarded: return "a guard";
        case reason::reference: return "it names a record that is not there";
        case reason::mistyped: return "what is there has another type";
    }
    return "unknown reason";
}

/// How one field that others had changed concurrently was decided.
struct decision {
    std::string field;  ///< empty: the whole record (deleted by one, changed by the other)
    rule by = rule::last_writer;
    winner won = winner::both;
    reason why = reason::none;
    std::string inside{};  ///< of a nested field its path, with dots; stays here, does not travel
    friend bool operator==(decision const&, decision const&) = default;
};

/// A decision in words: "table: nobody yet (manual; the rule asks a person)".
[[nodiscard]] inline std::string to_text(decision const& d) {
    std::string out = d.field.empty() ? std::string{"the record"} : d.field;
    if (!d.inside.empty()) { out += '.' + d.inside; }
    return out + ": " + name(d.won) + " (" + name(d.by) + "; " + name(d.why) + ')';
}

}  // namespace syncline::inline SYNCLINE_ABI
