// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What is played: the day's records, the devices, and who changes what when. Read from two JSON files.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/core/time.hpp>

#include "json.hpp"

namespace venue {

/// Times in seconds after midnight of the day.
struct offline_span {
    std::int64_t from = 0;
    std::int64_t to = 0;
    std::string why;
    bool cut = false;  ///< the network goes in the middle of an exchange: the reply to it is lost
};

struct device_plan {
    std::string name;
    std::string label;
    std::string person;
    std::int64_t clock_ahead = 0;  ///< seconds that its clock is wrong by
    std::vector<offline_span> offline;

    [[nodiscard]] offline_span const* offline_at(std::int64_t t) const {
        for (offline_span const& s : offline) {
            if (s.from <= t && t < s.to) { return &s; }
        }
        return nullptr;
    }
};

/// One thing that somebody does on a device. It goes to the device's process as JSON.
struct edit {
    enum class action { create, set, add, erase };

    std::int64_t at = 0;
    std::string device;
    action what = action::set;
    std::string collection;
    std::string id;
    json fields = json::object();
};
std::string_view name(edit::action a);
json to_json(edit const& e);
edit edit_from(json const& j);

/// How a conflict ends when nobody is asked.
struct decision_plan {
    std::string collection;
    std::string id;
    std::string field;
    std::string take;  ///< local, remote or custom
    json value;        ///< of a custom one
    std::string because;
};

struct plan {
    std::string date;
    std::string venue;
    syncline::wall_time midnight{};
    std::int64_t opens = 0;
    std::int64_t closes = 0;
    std::int64_t asks_every = 300;  ///< seconds between a device's questions when nothing happens
    std::vector<edit> records;      ///< the day as it was planned: creations
    std::vector<device_plan> devices;
    std::vector<edit> edits;  ///< in order of time
    std::vector<decision_plan> decisions;
    std::string otherwise = "remote";  ///< what is taken where no decision is named
    std::string decided_by;            ///< whose decisions these are

    [[nodiscard]] syncline::wall_time wall(std::int64_t seconds) const {
        return midnight + syncline::milliseconds{seconds * 1'000};
    }
};

/// Reads `day.json` and `edits.json` of a folder. Nothing when they are no good: `complaint` then says in one
/// line which file, where in it, and what is wrong.
std::optional<plan> read_plan(std::string const& folder, std::string& complaint);

/// Adds staff tablets until there are `count` devices, each with edits and offline spans of its own, made up
/// from a fixed seed.
void add_staff(plan& p, std::size_t count);

}  // namespace venue
