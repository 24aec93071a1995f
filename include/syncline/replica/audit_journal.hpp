// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A journal that is an audit log: each deed and each decision of a replica or an authority as an entry.

#include <cstdint>
#include <utility>

#include <syncline/audit/decisions.hpp>
#include <syncline/audit/entry.hpp>
#include <syncline/audit/log.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The code of a reset: what began anew.
enum class journal_reset : std::uint8_t {
    identity = 0,   ///< a clone or a restored store took a new name
    authority = 1,  ///< the authority was put back: what it lost is offered again
    erased = 2,     ///< the replica was wiped
    epoch = 3,      ///< an authority's store began, or may have been put back
};

/// Appends an entry to an audit log for each note, in its transaction: the log has it exactly when it happened.
///
/// | note      | entry                                                                                    |
/// | wrote     | local_write; code: `change_kind`                                                         |
/// | froze     | push; code: how many                                                                     |
/// | decided   | verdict; code: `verdict_kind`. Of one that was rejected denial; code: the `errc`. Then   |
/// |           | for each field that a rule decided merge_decision; code: `rule`                          |
/// | pulled    | pull; code: the cursor                                                                   |
/// | settled   | conflict_decision; code: `resolve_kind`                                                  |
/// | reopened  | conflict_decision; code: 0                                                               |
/// | evicted   | eviction, of the record                                                                  |
/// | bound     | principal_switch; the actor is the new one                                               |
/// | renamed, regressed, wiped, began | reset; code: `journal_reset`                                      |
/// | migrated  | migration, of the collection; code: the schema version                                   |
/// The actor is the principal, its first 255 bytes. Fields are masked unless the disclosure shows or separates them; where an entry
/// with them would be larger than the log takes, or a stranger's are none that can be logged, it goes without. The log
/// must be open before replica or authority is, under a prefix that is no other's in the store: what is wiped is not the
/// log. Log and generator outlive it; the generator makes secret keys, see `audit_log::append`. Errors: those of
/// `append`. Cost: an `append` each.
template <random_source G, digest_function H = sha256_function>
class audit_journal {
public:
    audit_journal(audit_log<H> const& log, G& random, audit_disclosure shown = {})
        : log_(&log), random_(&random), shown_(std::move(shown)) {}

    template <storage_transaction Tx>
    [[nodiscard]] status operator()(Tx& tx, journal_note const& n) const {
        if (n.what == journal_event::parked) { return {}; }  // its verdict is an entry already
        mutation const none;
        mutation const& about = n.change == nullptr ? none : *n.change;
        audit_draft deed = draft_of(kind_of(n), about, shown_);
        deed.item.code = code_of(n);
        if (n.record != nullptr) {
            deed.item.collection = n.record->collection;
            deed.item.record = n.record->id;
        } else if (!n.collection.empty()) {
            deed.item.collection = n.collection;
        }
        if (auto ok = enter(tx, n, std::move(deed)); !ok) { return ok; }
        if (n.what != journal_event::decided || n.said == nullptr || n.change == nullptr) { return {}; }
        for (decision const& d : n.said->decisions) {
            if (auto ok = enter(tx, n, draft_of(d, about)); !ok) { return ok; }
        }
        return {};
    }

private:
    /// Appends what was drafted; without its fields where the log doesn't take them.
    template <class Tx>
    [[nodiscard]] status enter(Tx& tx, journal_note const& n, audit_draft draft) const {
        audit_item& item = draft.item;
        item.stamp = n.stamp;
        item.device = n.device;
        item.actor = as_bytes(n.principal.substr(0, audit_actor_bytes_max));
        if (n.sequence != 0) { item.sequence = n.sequence; }
        auto done = log_->append(tx, draft.finish(), *random_);
        if (!done && (done.error() == errc::limit || done.error() == errc::invalid)) {
            item.open = {};
            item.masked = {};
            item.personal = {};
            done = log_->append(tx, item, *random_);
        }
        return done ? status{} : status{done.error()};
    }
    [[nodiscard]] static bool refused(journal_note const& n) noexcept {
        return n.said != nullptr && n.said->kind == verdict_kind::rejected;
    }
    [[nodiscard]] static audit_kind kind_of(journal_note const& n) noexcept {
        switch (n.what) {
            case journal_event::wrote:
            case journal_event::parked: break;
            case journal_event::froze: return audit_kind::push;
            case journal_event::decided: return refused(n) ? audit_kind::denial : audit_kind::verdict;
            case journal_event::pulled: return audit_kind::pull;
            case journal_event::settled:
            case journal_event::reopened: return audit_kind::conflict_decision;
            case journal_event::evicted: return audit_kind::eviction;
            case journal_event::bound: return audit_kind::principal_switch;
            case journal_event::renamed:
            case journal_event::wiped:
            case journal_event::regressed:
            case journal_event::began: return audit_kind::reset;
            case journal_event::migrated: return audit_kind::migration;
        }
        return audit_kind::local_write;
    }
    [[nodiscard]] static std::uint64_t code_of(journal_note const& n) noexcept {
        switch (n.what) {
            case journal_event::wrote: return n.change == nullptr ? 0 : static_cast<std::uint64_t>(n.change->kind);
            case journal_event::froze: return n.count;
            case journal_event::decided:
                if (n.said == nullptr) { return 0; }
                return refused(n) ? static_cast<std::uint64_t>(n.said->reason)
                                  : static_cast<std::uint64_t>(n.said->kind);
            case journal_event::pulled: return n.at;
            case journal_event::settled: return static_cast<std::uint64_t>(n.choice);
            case journal_event::migrated: return n.count;
            case journal_event::renamed: return static_cast<std::uint64_t>(journal_reset::identity);
            case journal_event::regressed: return static_cast<std::uint64_t>(journal_reset::authority);
            case journal_event::wiped: return static_cast<std::uint64_t>(journal_reset::erased);
            case journal_event::began: return static_cast<std::uint64_t>(journal_reset::epoch);
            case journal_event::parked:
            case journal_event::reopened:
            case journal_event::evicted:
            case journal_event::bound: break;
        }
        return 0;
    }

    audit_log<H> const* log_;
    G* random_;
    audit_disclosure shown_;
};

}  // namespace syncline::inline SYNCLINE_ABI
