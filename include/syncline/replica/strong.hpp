// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Strong collections: a write names the version that it is made on, and has its effect on that version only.

#include <cstdint>
#include <optional>

#include <syncline/merge/rule.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/replica/pending.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The version of a confirmed row; 0 where there is none.
[[nodiscard]] inline position version_of(std::optional<row> const& r) noexcept { return r ? r->version : 0; }

/// Whether a mutation of a strong collection was made on another state than `confirmed`, which its author sees as `version`:
/// then it has no effect. Something may be created, whatever was seen before, where nothing is and no tombstone either;
/// nothing where something lives.
[[nodiscard]] inline bool made_elsewhere(std::optional<row> const& confirmed, position version,
                                         mutation const& m) noexcept {
    bool const creates = m.kind == change_kind::create;
    if (creates && !confirmed) { return false; }
    return m.base != version || (creates && !confirmed->deleted);
}

/// The base of a mutation that was made before its authority was put back to `shared`: what was seen after it is void. In a
/// strong collection it then names no version that a row can have.
[[nodiscard]] inline position base_within(mutation const& m, position shared, collection_rules const& rules) noexcept {
    if (m.base <= shared) { return m.base; }
    return rules.strong() ? 0 : shared;
}

/// What waits on a record of a strong collection, in its order: which of it was made on what is there, each on the one
/// before. What was not will be refused, and is in nobody's sight.
class strong_chain {
public:
    /// What is confirmed here.
    explicit strong_chain(position confirmed) noexcept : base_(confirmed) {}

    /// What was decided to have this version, which no row that is held contains yet.
    void confirm(position version) noexcept {
        if (version > base_) { base_ = version; }
    }
    /// Whether the next entry, whose mutation is `m`, is made on what is there.
    [[nodiscard]] bool take(outbox_entry const& e, pending const& p, mutation const& m) noexcept {
        bool const anew = p.after == pending::alone || (e.state != entry_state::claimed && m.sequence != 0);
        bool const names = m.base == base_ && (m.base != 0 || m.kind == change_kind::create);
        bool const follows = p.after == 0 ? last_ == 0 && names : p.after == last_;
        if (anew || !follows) { return false; }
        base_ = m.base;
        last_ = e.token;
        return true;
    }
    /// The base of what is made next: what is confirmed, or what the entries in a row are made on.
    [[nodiscard]] position base() const noexcept { return base_; }
    /// The last of them; 0 for none.
    [[nodiscard]] std::uint64_t last() const noexcept { return last_; }

private:
    position base_;
    std::uint64_t last_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI
