// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Who applies a mutation, where, and with what help of the host: roles, guards, references; and what comes of it.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/merge/decision.hpp>
#include <syncline/model/mutation.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What a guard looks at; borrowed for the call.
struct guard_input {
    mutation const& change;
    std::optional<row> const& before;
    row const& after;         ///< what the record would be; deleted, where the mutation deletes it
    bool concurrent = false;  ///< somebody else has changed the record meanwhile: it is a merge
    author_index author = unknown_author;

    /// A field before or after; nothing where it is missing. Borrowed. Cost: linear.
    [[nodiscard]] std::optional<bytes_view> old_value(std::string_view field) const {
        return before && !before->deleted ? value_of(before->fields, field) : std::nullopt;
    }
    [[nodiscard]] std::optional<bytes_view> new_value(std::string_view field) const {
        return after.deleted ? std::nullopt : value_of(after.fields, field);
    }

private:
    [[nodiscard]] static std::optional<bytes_view> value_of(bytes_view fields, std::string_view field) {
        if (fields.empty()) { return std::nullopt; }
        auto const found = map_find(fields, field);
        return found ? *found : std::nullopt;
    }
};

/// What a guard says of a merged record.
struct guard_answer {
    enum class kind : std::uint8_t {
        accept,    ///< so be it
        veto,      ///< it may not be: a merge becomes a conflict, what met nobody is rejected
        repair,    ///< it may be, with `repairs` on top
        escalate,  ///< a person must decide
    };
    kind says = kind::accept;
    std::vector<field_op>
        repairs{};  ///< `set` and `unset` of what can be a field, each once, in canonical key order, or nothing is done
};

inline constexpr std::size_t guard_bytes_max = 255;  ///< of a guard's name that is told: a longer one is not

/// A rule over several fields: "a draft can't replace an approved proposal", "end not before start". A value.
struct guard {
    std::string name;  ///< for people and logs: UTF-8
    /// It is asked when one of these has changed, and what it refuses is about those that a change has touched. Empty: it is
    /// asked always, and refuses all of a change.
    std::vector<std::string> reads{};
    guard_answer (*judge)(guard_input const&,
                          void const* data) = nullptr;  ///< pure: the same answer for the same input
    void const* data = nullptr;                         ///< the host's own, handed to `judge`
};

/// What only the host knows. It outlives the calls that are given it; everything in it is optional.
struct merge_host {
    std::vector<guard> guards{};
    std::uint32_t (*role_of)(author_index, void const* data) = nullptr;  ///< the greater, the higher
    bool (*exists)(std::string_view collection, bytes_view id, void const* data) = nullptr;  ///< for references
    void const* data = nullptr;
};

/// Who applies, and where.
struct apply_context {
    author_index author = unknown_author;
    position at = pending_position;  ///< the mutation's own position; the default for a preview
    timestamp stamp_max{(std::numeric_limits<std::uint64_t>::max)()};  ///< the authority's bound on dominance
    merge_host const* host = nullptr;
};

/// What came of it.
struct apply_outcome {
    verdict_kind verdict = verdict_kind::applied;
    errc reason{};                      ///< why, when rejected
    bool changed = false;               ///< whether `after` differs from what was there
    std::vector<decision> decisions{};  ///< one for each field that others had changed concurrently
    /// The guard that refused, escalated or repaired; else empty. Of several that refuse their names, with ", " between.
    std::string guard{};
    /// Rejected: the field that can't be, of one inside of another the way to it with dots; empty where it is no one field.
    std::string field{};
};

}  // namespace syncline::inline SYNCLINE_ABI
