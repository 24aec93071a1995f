// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The records of the day, described once. From these lines come their encoding, the rules by which
/// concurrent changes merge, the reading of JSON and every table and page that this program shows.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <syncline/core/describe.hpp>
#include <syncline/merge/rule.hpp>

namespace venue {

/// Minutes after midnight. A wedding that ends at half past one the next day ends at 25:30.
enum class minute : std::int64_t {};

/// One wedding.
struct event {
    std::string title;
    std::string room;
    minute begins{};
    minute ends{};
    std::string status;        ///< planned, open, dinner, dancing, closed
    std::int64_t arrived = 0;  ///< guests through the door
    std::int64_t plates = 0;   ///< served
    std::optional<std::string> note;
    syncline::unknown_fields rest;
};
constexpr auto describe(event const*) {
    using syncline::field, syncline::rule;
    return syncline::record_of<event>(
        "events", field("title", &event::title), field("room", &event::room), field("begins", &event::begins),
        field("ends", &event::ends), field("status", &event::status, rule::authority),
        field("arrived", &event::arrived, rule::counter), field("plates", &event::plates, rule::counter),
        field("note", &event::note), syncline::unknown(&event::rest));
}

struct table {
    std::string event;
    std::string name;
    std::int64_t places = 0;
    std::int64_t seated = 0;  ///< people who sit there now; the authority allows no more than there are places
    std::optional<std::string> note;
    syncline::unknown_fields rest;
};
constexpr auto describe(table const*) {
    using syncline::field, syncline::rule;
    return syncline::record_of<table>("tables", field("event", &table::event), field("name", &table::name),
                                      field("places", &table::places), field("seated", &table::seated, rule::counter),
                                      field("note", &table::note), syncline::unknown(&table::rest));
}

struct timeline_entry {
    std::string event;
    std::string title;
    minute begins{};
    minute ends{};
    std::optional<minute> began;  ///< the earliest that anybody saw
    std::optional<minute> ended;  ///< the latest that anybody saw
    std::string status;           ///< planned, running, done
    std::optional<std::string> note;
    syncline::unknown_fields rest;
};
constexpr auto describe(timeline_entry const*) {
    using syncline::field, syncline::rule;
    return syncline::record_of<timeline_entry>(
        "timeline", field("event", &timeline_entry::event), field("title", &timeline_entry::title),
        field("begins", &timeline_entry::begins), field("ends", &timeline_entry::ends),
        field("began", &timeline_entry::began, rule::minimum), field("ended", &timeline_entry::ended, rule::maximum),
        field("status", &timeline_entry::status, rule::authority), field("note", &timeline_entry::note),
        syncline::unknown(&timeline_entry::rest));
}

struct guest {
    std::string event;
    std::string name;
    std::string table;  ///< two people who move one guest at once must talk to each other
    std::int64_t seat = 0;
    std::string diet;               ///< and nobody guesses at an allergy
    std::optional<minute> arrived;  ///< the earliest that anybody saw
    std::optional<std::string> note;
    syncline::unknown_fields rest;
};
constexpr auto describe(guest const*) {
    using syncline::field, syncline::rule;
    return syncline::record_of<guest>("guests", field("event", &guest::event), field("name", &guest::name),
                                      field("table", &guest::table, rule::manual), field("seat", &guest::seat),
                                      field("diet", &guest::diet, rule::manual),
                                      field("arrived", &guest::arrived, rule::minimum), field("note", &guest::note),
                                      syncline::unknown(&guest::rest));
}

struct vendor {
    std::string event;
    std::string name;
    std::string trade;
    std::string phone;
    minute due{};
    std::optional<minute> arrived;  ///< the earliest that anybody saw
    std::optional<minute> left;     ///< the latest that anybody saw
    std::string status;             ///< expected, here, gone
    std::optional<std::string> note;
    syncline::unknown_fields rest;
};
constexpr auto describe(vendor const*) {
    using syncline::field, syncline::rule;
    return syncline::record_of<vendor>(
        "vendors", field("event", &vendor::event), field("name", &vendor::name), field("trade", &vendor::trade),
        field("phone", &vendor::phone), field("due", &vendor::due), field("arrived", &vendor::arrived, rule::minimum),
        field("left", &vendor::left, rule::maximum), field("status", &vendor::status, rule::authority),
        field("note", &vendor::note), syncline::unknown(&vendor::rest));
}

struct shot {
    std::string event;
    std::string title;
    std::string people;
    bool done = false;
    std::int64_t frames = 0;
    std::optional<std::string> note;
    syncline::unknown_fields rest;
};
constexpr auto describe(shot const*) {
    using syncline::field, syncline::rule;
    return syncline::record_of<shot>("shots", field("event", &shot::event), field("title", &shot::title),
                                     field("people", &shot::people), field("done", &shot::done),
                                     field("frames", &shot::frames, rule::counter), field("note", &shot::note),
                                     syncline::unknown(&shot::rest));
}

template <class T>
struct type {
    using record = T;
};

/// Calls `f(type<T>{})` for each kind of record.
template <class F>
void for_each_collection(F&& f) {
    f(type<event>{});
    f(type<table>{});
    f(type<timeline_entry>{});
    f(type<guest>{});
    f(type<vendor>{});
    f(type<shot>{});
}
/// Calls `f(type<T>{})` for the kind of record that a collection holds; false when there is no such collection.
template <class F>
bool with_collection(std::string_view name, F&& f) {
    bool found = false;
    for_each_collection([&](auto t) {
        if (syncline::collection<typename decltype(t)::record>() == name) {
            found = true;
            f(t);
        }
    });
    return found;
}

/// The rules named above, for every replica and for the authority.
inline syncline::rule_table rules() {
    return syncline::rule_table::of<event, table, timeline_entry, guest, vendor, shot>();
}

}  // namespace venue
