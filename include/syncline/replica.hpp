// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The whole component `replica`: the replica, the authority, their protocol and the session that drives them.

#include <syncline/replica/admission.hpp>        // IWYU pragma: export
#include <syncline/replica/adoption.hpp>         // IWYU pragma: export
#include <syncline/replica/again.hpp>            // IWYU pragma: export
#include <syncline/replica/audit_journal.hpp>    // IWYU pragma: export
#include <syncline/replica/authority.hpp>        // IWYU pragma: export
#include <syncline/replica/backup.hpp>           // IWYU pragma: export
#include <syncline/replica/columns.hpp>          // IWYU pragma: export
#include <syncline/replica/conflict_desk.hpp>    // IWYU pragma: export
#include <syncline/replica/constraints.hpp>      // IWYU pragma: export
#include <syncline/replica/dry_run.hpp>          // IWYU pragma: export
#include <syncline/replica/envelope.hpp>         // IWYU pragma: export
#include <syncline/replica/event.hpp>            // IWYU pragma: export
#include <syncline/replica/facts.hpp>            // IWYU pragma: export
#include <syncline/replica/group.hpp>            // IWYU pragma: export
#include <syncline/replica/health.hpp>           // IWYU pragma: export
#include <syncline/replica/held_pulls.hpp>       // IWYU pragma: export
#include <syncline/replica/integrity.hpp>        // IWYU pragma: export
#include <syncline/replica/journal.hpp>          // IWYU pragma: export
#include <syncline/replica/leases.hpp>           // IWYU pragma: export
#include <syncline/replica/limits.hpp>           // IWYU pragma: export
#include <syncline/replica/mutation_batch.hpp>   // IWYU pragma: export
#include <syncline/replica/notice.hpp>           // IWYU pragma: export
#include <syncline/replica/operations.hpp>       // IWYU pragma: export
#include <syncline/replica/peer_exchange.hpp>    // IWYU pragma: export
#include <syncline/replica/pending.hpp>          // IWYU pragma: export
#include <syncline/replica/policy.hpp>           // IWYU pragma: export
#include <syncline/replica/protocol.hpp>         // IWYU pragma: export
#include <syncline/replica/range_sums.hpp>       // IWYU pragma: export
#include <syncline/replica/ranges.hpp>           // IWYU pragma: export
#include <syncline/replica/read_mask.hpp>        // IWYU pragma: export
#include <syncline/replica/record_store.hpp>     // IWYU pragma: export
#include <syncline/replica/relay.hpp>            // IWYU pragma: export
#include <syncline/replica/replica.hpp>          // IWYU pragma: export
#include <syncline/replica/row_page.hpp>         // IWYU pragma: export
#include <syncline/replica/row_parts.hpp>        // IWYU pragma: export
#include <syncline/replica/scope_index.hpp>      // IWYU pragma: export
#include <syncline/replica/scopes.hpp>           // IWYU pragma: export
#include <syncline/replica/session.hpp>          // IWYU pragma: export
#include <syncline/replica/shared_conflict.hpp>  // IWYU pragma: export
#include <syncline/replica/strong.hpp>           // IWYU pragma: export
#include <syncline/replica/validation.hpp>       // IWYU pragma: export
#include <syncline/replica/verdict_columns.hpp>  // IWYU pragma: export
