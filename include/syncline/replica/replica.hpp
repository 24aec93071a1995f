// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The replica, whole: its class, and its members by what they do.

#include <syncline/core/config.hpp>
#include <syncline/replica/basic_replica.hpp>
#include <syncline/replica/replica_asking.hpp>
#include <syncline/replica/replica_comparing.hpp>
#include <syncline/replica/replica_completing.hpp>
#include <syncline/replica/replica_identity.hpp>
#include <syncline/replica/replica_meeting.hpp>
#include <syncline/replica/replica_offering.hpp>
#include <syncline/replica/replica_reading.hpp>
#include <syncline/replica/replica_rebasing.hpp>
#include <syncline/replica/replica_resolving.hpp>
#include <syncline/replica/replica_scoping.hpp>
#include <syncline/replica/replica_staging.hpp>
#include <syncline/replica/replica_taking.hpp>
#include <syncline/replica/replica_verdicts.hpp>
#include <syncline/replica/replica_writing.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// A replica that keeps its records in its storage.
using replica = basic_replica<>;

}  // namespace syncline::inline SYNCLINE_ABI
