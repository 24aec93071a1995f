// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Plays a plan: starts the processes, owns the day's clock, and keeps the history of what happened.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "plan.hpp"

namespace venue {

/// What one device came to. Every edit is in exactly one of unchanged, refused, coalesced, annihilated, pushed.
struct tally {
    std::uint64_t edits = 0;        ///< made on it, decisions about conflicts included
    std::uint64_t decisions = 0;    ///< of these
    std::uint64_t unchanged = 0;    ///< said what was so already
    std::uint64_t refused = 0;      ///< at once: the record was gone
    std::uint64_t coalesced = 0;    ///< went into one that waited to be sent
    std::uint64_t annihilated = 0;  ///< never sent, as they undid each other before
    std::uint64_t pushed = 0;       ///< decided by the authority
    std::uint64_t again = 0;        ///< of these, decided before the reply got lost
    std::uint64_t pulled = 0;       ///< records received
    std::uint64_t merged = 0;       ///< fields that a rule decided
    std::uint64_t conflicts = 0;
    std::uint64_t rejected = 0;
    std::uint64_t exchanges = 0;
    std::uint64_t failed = 0;  ///< of these
    std::uint64_t sent = 0;    ///< bytes of messages
    std::uint64_t received = 0;
    double seconds = 0;  ///< of real time

    tally& operator+=(tally const& o);
};

struct edit_made {
    std::int64_t at;
    std::size_t device;
    edit const* what;
    std::string became;  ///< entered, coalesced, annihilated, unchanged, refused
};
struct sync_made {
    std::int64_t at;
    std::size_t device;
    std::uint64_t pushed, pulled, bytes;
    std::string failed;
};
struct field_merged {
    std::int64_t at;
    std::size_t device;
    std::string collection, id, field, by, won;
};
struct conflict_ended {
    std::int64_t at;
    std::size_t device;
    json conflict;    ///< as the device tells it
    json decisions;   ///< what was taken, field by field
    json after;       ///< the record then
    std::string who;  ///< decided
    std::string because;
    bool dismissed;  ///< the record was deleted meanwhile
};
/// Who wrote the two sides of a conflict, and when by their clocks: "Staff tablet, 11:25".
std::string written_here(plan const& p, std::size_t device, json const& conflict);
std::string written_elsewhere(plan const& p, json const& field);

struct edit_rejected {
    std::int64_t at;
    std::size_t device;
    json rejection;  ///< as the device tells it
};

/// The fields that one rule decided, by whose value stayed.
struct rule_count {
    std::uint64_t writers = 0;
    std::uint64_t confirmed = 0;
    std::uint64_t both = 0;  ///< the same value, or a counter's sum
};

struct history {
    std::vector<tally> tallies;  ///< one for each device; the first exchange of all is not in it
    std::vector<edit_made> edits;
    std::vector<sync_made> syncs;
    std::vector<field_merged> merges;
    std::vector<conflict_ended> conflicts;
    std::vector<edit_rejected> rejections;
    std::uint64_t first_pushed = 0;           ///< records that the first device put in
    std::vector<std::uint64_t> first_pulled;  ///< and what each device then received
    std::map<std::string, rule_count> rules;
    std::map<std::string, rule_count> deciders;  ///< the same for fields in conflict, by who decided
    double seconds = 0;
};

struct play_options {
    std::string program;  ///< path of this program
    std::string folder;   ///< where the databases go
    bool ask = false;     ///< the person at the terminal decides conflicts
    bool quiet = false;   ///< no progress
    int pace = 0;         ///< milliseconds of real time for a minute of the day, at least
};

/// The database of a device, or of "authority".
inline std::string database_of(play_options const& o, std::string const& name) { return o.folder + "/" + name + ".db"; }

/// False when something went wrong that is no part of the play; `complaint` says what.
[[nodiscard]] bool play(plan const& p, play_options const& options, history& out, std::string& complaint);

}  // namespace venue
