// SPDX-License-Identifier: BSL-1.0

#include "plan.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <set>
#include <utility>

#include <syncline/core/random.hpp>

namespace venue {

std::string_view name(edit::action a) {
    switch (a) {
        case edit::action::create: return "create";
        case edit::action::set: return "set";
        case edit::action::add: return "add";
        case edit::action::erase: return "erase";
    }
    return "?";
}

json to_json(edit const& e) {
    return {{"do", name(e.what)}, {"collection", e.collection}, {"id", e.id}, {"fields", e.fields}};
}

edit edit_from(json const& j) {
    edit e;
    std::string const what = j["do"];
    for (auto const a : {edit::action::create, edit::action::add, edit::action::erase}) {
        if (what == name(a)) { e.what = a; }
    }
    e.collection = j["collection"];
    e.id = j["id"];
    e.fields = j["fields"];
    return e;
}

namespace {

/// One object of a file: its members are asked for by name, and complained about by place.
class node {
public:
    node(json const& j, std::string where, complaints& no) : j_(j), where_(std::move(where)), no_(no) {
        if (!j_.is_object()) { no_.add(where_, "expected an object, found " + excerpt(j_)); }
    }

    /// The member, or null with a complaint.
    [[nodiscard]] json const& need(char const* key) const {
        static json const nothing;
        if (!j_.is_object()) { return nothing; }
        auto const at = j_.find(key);
        if (at == j_.end()) {
            no_.add(where_, "field \"" + std::string{key} + "\" is missing");
            return nothing;
        }
        return *at;
    }
    [[nodiscard]] bool has(char const* key) const { return j_.is_object() && j_.contains(key); }
    [[nodiscard]] std::string place(std::string const& key) const { return where_ + "." + key; }

    [[nodiscard]] std::string text(char const* key) const {
        std::string out;
        json const& v = need(key);
        if (!no_.any()) { read(v, place(key), no_, out); }
        return out;
    }
    [[nodiscard]] std::string text_or(char const* key, std::string otherwise) const {
        return has(key) ? text(key) : std::move(otherwise);
    }
    [[nodiscard]] std::int64_t number_or(char const* key, std::int64_t otherwise) const {
        if (has(key)) { read(need(key), place(key), no_, otherwise); }
        return otherwise;
    }
    [[nodiscard]] std::int64_t time(char const* key) const {
        std::string const t = text(key);
        auto const seconds = parse_time(t);
        if (!no_.any() && !seconds) {
            no_.add(place(key), "expected a time such as \"14:05\" or \"14:05:30\", found \"" + t + "\"");
        }
        return seconds.value_or(0);
    }
    /// Calls `f(json, place)` for each element of a list.
    template <class F>
    void each(char const* key, F&& f) const {
        json const& list = need(key);
        if (no_.any()) { return; }
        if (!list.is_array()) { return no_.add(place(key), "expected a list, found " + excerpt(list)); }
        for (std::size_t i = 0; i < list.size() && !no_.any(); ++i) {
            f(list[i], place(key) + "[" + std::to_string(i) + "]");
        }
    }

private:
    json const& j_;
    std::string where_;
    complaints& no_;
};

bool read_file(std::string const& path, json& out, std::string& complaint) {
    std::FILE* const file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) {
        complaint = path + ": " + std::strerror(errno);
        return false;
    }
    std::string text;
    char chunk[1 << 16];
    for (std::size_t n = 0; (n = std::fread(chunk, 1, sizeof chunk, file)) != 0;) { text.append(chunk, n); }
    bool const failed = std::ferror(file) != 0;
    std::fclose(file);
    if (failed) {
        complaint = path + ": can't be read";
        return false;
    }
    try {
        out = json::parse(text);
    } catch (json::parse_error const& e) {  // only the exception tells where
        std::size_t const at = (std::min)(e.byte == 0 ? 0 : e.byte - 1, text.size());
        auto const begin = text.begin();
        auto const end = begin + static_cast<std::ptrdiff_t>(at);
        auto const line = 1 + std::count(begin, end, '\n');
        std::size_t const last = at == 0 ? std::string::npos : text.rfind('\n', at - 1);
        std::size_t const column = last == std::string::npos ? at + 1 : at - last;
        std::string why = e.what();
        if (auto const colon = why.rfind("; "); colon != std::string::npos) {
            why = why.substr(colon + 2);
        } else if (auto const head = why.find(": "); head != std::string::npos) {
            why = why.substr(head + 2);
        }
        complaint = path + ":" + std::to_string(line) + ":" + std::to_string(column) + ": not JSON: " + why;
        return false;
    }
    return true;
}

bool read_date(std::string const& date, std::int64_t utc_offset, syncline::wall_time& midnight) {
    int y = 0, m = 0, d = 0;
    char rest = 0;
    if (date.size() != 10 || std::sscanf(date.c_str(), "%4d-%2d-%2d%c", &y, &m, &d, &rest) != 3) { return false; }
    std::chrono::year_month_day const ymd{std::chrono::year{y}, std::chrono::month{static_cast<unsigned>(m)},
                                          std::chrono::day{static_cast<unsigned>(d)}};
    if (!ymd.ok()) { return false; }
    midnight = std::chrono::sys_days{ymd} - std::chrono::minutes{utc_offset};
    return true;
}

using record_names = std::set<std::pair<std::string, std::string>>;

/// Checks a record or a change by doing to a record of the right type what the device will do.
void check(edit const& e, std::string const& where, complaints& no) {
    with_collection(e.collection, [&](auto t) {
        using T = typename decltype(t)::record;
        T scratch;
        switch (e.what) {
            case edit::action::create: read_record(e.fields, where, no, scratch); break;
            case edit::action::set: set_members(e.fields, where, no, scratch); break;
            case edit::action::add: add_to_members(e.fields, where, no, scratch); break;
            case edit::action::erase: break;
        }
        if (e.what != edit::action::erase && e.fields.empty()) { no.add(where, "changes nothing"); }
    });
}

void read_id(std::string const& id, std::string const& where, complaints& no) {
    if (id.empty() || id.size() > 255) { no.add(where, "an id has 1 to 255 bytes"); }
}

void read_day(json const& j, plan& p, record_names& known, complaints& no) {
    node const day{j, "$", no};
    p.date = day.text("date");
    p.venue = day.text("venue");
    std::int64_t const offset = day.number_or("utc_offset_minutes", 0);
    if (!no.any() && !read_date(p.date, offset, p.midnight)) {
        no.add("$.date", "expected a date such as \"2026-09-19\", found \"" + p.date + "\"");
    }
    p.opens = day.time("opens");
    p.closes = day.time("closes");
    if (!no.any() && p.closes <= p.opens) { no.add("$.closes", "not after $.opens"); }
    for_each_collection([&](auto t) {
        std::string const collection{syncline::collection<typename decltype(t)::record>()};
        day.each(collection.c_str(), [&](json const& item, std::string const& where) {
            edit e;
            e.what = edit::action::create;
            e.collection = collection;
            node const record{item, where, no};
            e.id = record.text("id");
            read_id(e.id, record.place("id"), no);
            if (no.any()) { return; }
            if (!known.emplace(collection, e.id).second) {
                return no.add(record.place("id"), "\"" + e.id + "\" is there already");
            }
            e.fields = item;
            e.fields.erase("id");
            check(e, where, no);
            if (!no.any() && collection != "events" && !known.contains({"events", e.fields["event"]})) {
                return no.add(record.place("event"), "no event " + excerpt(e.fields["event"]));
            }
            p.records.push_back(std::move(e));
        });
    });
}

void read_device(node const& item, plan& p, complaints& no) {
    device_plan d;
    d.name = item.text("name");
    d.label = item.text_or("label", d.name);
    d.person = item.text_or("person", "");
    d.clock_ahead = item.number_or("clock_ahead_seconds", 0);
    if (no.any()) { return; }
    if (d.name.empty() || d.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != std::string::npos) {
        return no.add(item.place("name"), "a device's name is made of a-z, 0-9 and -");
    }
    if (d.name == "authority") { return no.add(item.place("name"), "this name is the authority's own"); }
    for (device_plan const& other : p.devices) {
        if (other.name == d.name) { return no.add(item.place("name"), "\"" + d.name + "\" is there already"); }
    }
    if (item.has("offline")) {
        item.each("offline", [&](json const& j, std::string const& where) {
            node const span{j, where, no};
            offline_span s;
            s.from = span.time("from");
            s.to = span.time("to");
            s.why = span.text_or("why", "");
            if (span.has("cut")) { read(span.need("cut"), span.place("cut"), no, s.cut); }
            if (no.any()) { return; }
            if (s.to <= s.from) { return no.add(span.place("to"), "not after \"from\""); }
            if (!d.offline.empty() && s.from < d.offline.back().to) {
                return no.add(span.place("from"), "begins before the span before it has ended");
            }
            d.offline.push_back(std::move(s));
        });
    }
    p.devices.push_back(std::move(d));
}

void read_edit(node const& item, std::string const& where, plan& p, record_names& known, complaints& no) {
    edit e;
    e.at = item.time("at");
    e.device = item.text("device");
    std::string const what = item.text("do");
    e.collection = item.text("collection");
    e.id = item.text("id");
    if (no.any()) { return; }
    bool said = false;
    for (auto const a : {edit::action::create, edit::action::set, edit::action::add, edit::action::erase}) {
        if (what == name(a)) {
            e.what = a;
            said = true;
        }
    }
    if (!said) { return no.add(item.place("do"), "expected create, set, add or erase, found \"" + what + "\""); }
    if (e.at < p.opens || e.at > p.closes) {
        return no.add(item.place("at"), "the day goes from " + show_time(p.opens) + " to " + show_time(p.closes));
    }
    if (std::none_of(p.devices.begin(), p.devices.end(), [&](device_plan const& d) { return d.name == e.device; })) {
        return no.add(item.place("device"), "no device \"" + e.device + "\"");
    }
    if (!with_collection(e.collection, [](auto) {})) {
        return no.add(item.place("collection"), "no collection \"" + e.collection + "\"");
    }
    read_id(e.id, item.place("id"), no);
    if (e.what != edit::action::erase) { e.fields = item.need("fields"); }
    if (no.any()) { return; }
    if (e.what == edit::action::create) {
        known.emplace(e.collection, e.id);
    } else if (!known.contains({e.collection, e.id})) {
        return no.add(item.place("id"), "no record \"" + e.id + "\" in " + e.collection);
    }
    check(e, where + ".fields", no);
    p.edits.push_back(std::move(e));
}

void read_decision(node const& item, plan& p, complaints& no) {
    decision_plan d;
    d.collection = item.text("collection");
    d.id = item.text("id");
    d.field = item.text("field");
    d.take = item.text("take");
    d.because = item.text_or("because", "");
    if (no.any()) { return; }
    if (d.take != "local" && d.take != "remote" && d.take != "custom") {
        return no.add(item.place("take"), "expected local, remote or custom, found \"" + d.take + "\"");
    }
    bool known = false;
    with_collection(d.collection, [&](auto t) {
        using T = typename decltype(t)::record;
        syncline::for_each_field<T>([&](auto const& f) { known = known || f.name == d.field; });
        if (known && d.take == "custom") {
            d.value = item.need("value");
            T scratch;
            set_members(json{{d.field, d.value}}, item.place("value"), no, scratch);
        }
    });
    if (!known) { return no.add(item.place("field"), "no field \"" + d.field + "\" in " + d.collection); }
    p.decisions.push_back(std::move(d));
}

void read_edits(json const& j, plan& p, record_names& known, complaints& no) {
    node const all{j, "$", no};
    all.each("devices", [&](json const& item, std::string const& where) { read_device(node{item, where, no}, p, no); });
    if (!no.any() && p.devices.empty()) { no.add("$.devices", "none"); }
    p.asks_every = all.number_or("asks_every_seconds", p.asks_every);
    if (!no.any() && p.asks_every < 1) { no.add("$.asks_every_seconds", "less than 1"); }
    all.each("edits", [&](json const& item, std::string const& where) {
        read_edit(node{item, where, no}, where, p, known, no);
    });
    p.decided_by = all.text_or("decided_by", "edits.json");
    p.otherwise = all.text_or("otherwise", "remote");
    if (!no.any() && p.otherwise != "local" && p.otherwise != "remote") {
        no.add("$.otherwise", "expected local or remote, found \"" + p.otherwise + "\"");
    }
    if (all.has("decisions")) {
        all.each("decisions", [&](json const& item, std::string const& where) {
            read_decision(node{item, where, no}, p, no);
        });
    }
    std::stable_sort(p.edits.begin(), p.edits.end(), [](edit const& a, edit const& b) { return a.at < b.at; });
}

}  // namespace

std::optional<plan> read_plan(std::string const& folder, std::string& complaint) {
    plan p;
    record_names known;
    using reader = void (*)(json const&, plan&, record_names&, complaints&);
    std::pair<char const*, reader> const files[] = {{"day.json", read_day}, {"edits.json", read_edits}};
    for (auto const& [file, understand] : files) {
        std::string const path = folder + "/" + file;
        json j;
        if (!read_file(path, j, complaint)) { return std::nullopt; }
        complaints no;
        understand(j, p, known, no);
        if (no.any()) {
            complaint = path + ": " + no.first();
            return std::nullopt;
        }
    }
    return p;
}

void add_staff(plan& p, std::size_t count) {
    std::vector<edit const*> guests, tables, events;
    for (edit const& r : p.records) {
        if (r.collection == "guests") { guests.push_back(&r); }
        if (r.collection == "tables") { tables.push_back(&r); }
        if (r.collection == "events") { events.push_back(&r); }
    }
    // A few guests whom everybody wants to seat elsewhere: there will be conflicts.
    std::vector<edit const*> const movable(guests.begin(),
                                           guests.begin() + (std::min<std::ptrdiff_t>)(20, std::ssize(guests)));
    for (std::size_t n = p.devices.size() + 1; n <= count; ++n) {
        syncline::random_generator dice{n};
        auto const roll = [&](std::size_t below) { return static_cast<std::size_t>(syncline::below(dice, below)); };
        std::int64_t const day = p.closes - p.opens;
        device_plan d;
        d.name = "tablet-" + std::to_string(n);
        d.label = "Staff tablet " + std::to_string(n);
        d.person = "staff";
        for (std::int64_t i = 1; i <= 3; ++i) {
            std::int64_t const from = p.opens + day * i / 4 + static_cast<std::int64_t>(roll(1'800));
            std::int64_t const to = (std::min)(from + 600 + static_cast<std::int64_t>(roll(2'400)), p.closes);
            if (from < to && (d.offline.empty() || d.offline.back().to <= from)) {
                d.offline.push_back({from, to, "out of reach", i == 2});
            }
        }
        for (int i = 0; i < 60; ++i) {
            edit e;
            e.at = p.opens + day / 20 + static_cast<std::int64_t>(roll(static_cast<std::size_t>(day * 18 / 20 + 1)));
            e.device = d.name;
            auto const about = [&](std::vector<edit const*> const& some, edit::action what, json fields) {
                if (some.empty()) { return; }
                edit const& record = *some[roll(some.size())];
                e.collection = record.collection;
                e.id = record.id;
                e.what = what;
                e.fields = std::move(fields);
                p.edits.push_back(e);
            };
            std::int64_t const some = 1 + static_cast<std::int64_t>(roll(6));
            switch (roll(10)) {
                case 0:
                case 1: about(events, edit::action::add, {{"plates", some}}); break;
                case 2: about(events, edit::action::add, {{"arrived", some}}); break;
                case 3: about(tables, edit::action::add, {{"seated", 1}}); break;
                case 4: about(guests, edit::action::set, {{"note", "seen by " + d.label}}); break;
                case 5: about(movable, edit::action::set, {{"table", std::to_string(some)}}); break;
                default: about(guests, edit::action::set, {{"arrived", show_time(e.at)}}); break;
            }
        }
        p.devices.push_back(std::move(d));
    }
    std::stable_sort(p.edits.begin(), p.edits.end(), [](edit const& a, edit const& b) { return a.at < b.at; });
}

}  // namespace venue
