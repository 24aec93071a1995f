// SPDX-License-Identifier: BSL-1.0

#include "play.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <set>
#include <thread>
#include <utility>

#include <syncline/merge/apply.hpp>

#include "process.hpp"
#include "terminal.hpp"

namespace venue {

tally& tally::operator+=(tally const& o) {
    edits += o.edits;
    decisions += o.decisions;
    unchanged += o.unchanged;
    refused += o.refused;
    coalesced += o.coalesced;
    annihilated += o.annihilated;
    pushed += o.pushed;
    again += o.again;
    pulled += o.pulled;
    merged += o.merged;
    conflicts += o.conflicts;
    rejected += o.rejected;
    exchanges += o.exchanges;
    failed += o.failed;
    sent += o.sent;
    received += o.received;
    seconds += o.seconds;
    return *this;
}

namespace {

std::string time_of(plan const& p, json const& wall_ms) {
    return show_time((wall_ms.get<std::int64_t>() - p.midnight.time_since_epoch().count()) / 1'000);
}

}  // namespace

std::string written_here(plan const& p, std::size_t device, json const& conflict) {
    return p.devices[device].label + ", " + time_of(p, conflict["written"]);
}
std::string written_elsewhere(plan const& p, json const& field) {
    if (!field.contains("author")) { return {}; }
    // The authority numbers replicas from 1 as they first come: in our order.
    std::size_t const n = field["author"].get<std::size_t>() - 1;
    return (n < p.devices.size() ? p.devices[n].label : std::string{"somebody"}) + ", " + time_of(p, field["changed"]);
}

namespace {

using stopwatch = std::chrono::steady_clock;

double since(stopwatch::time_point from) { return std::chrono::duration<double>(stopwatch::now() - from).count(); }

/// A value that a person typed, as JSON of the field's type: 12 is a number for a seat and a text for a table.
json value_from(std::string const& collection, std::string const& field, std::string const& text) {
    json out = text;
    with_collection(collection, [&](auto t) {
        typename decltype(t)::record scratch;
        for (json const& guess : {json(text), json::parse(text, nullptr, false)}) {
            if (guess.is_discarded()) { continue; }
            complaints no;
            set_members(json{{field, guess}}, "", no, scratch);
            if (!no.any()) {
                out = guess;
                return;
            }
        }
    });
    return out;
}

/// One line from the terminal; false at its end.
bool read_answer(std::string& answer) {
    std::printf("> ");
    std::fflush(stdout);
    answer.clear();
    int c = 0;
    while ((c = std::getchar()) != EOF && c != '\n') { answer.push_back(static_cast<char>(c)); }
    return c != EOF || !answer.empty();
}

class player {
public:
    player(plan const& p, play_options const& options, history& out, std::string& complaint)
        : plan_(p), options_(options), out_(out), complaint_(complaint), terminal_(isatty(1) != 0) {}

    bool run() {
        auto const from = stopwatch::now();
        bool const good = start() && load() && day() && settle() && finish();
        out_.seconds = since(from);
        return good;
    }

private:
    bool fail(std::string const& what) {
        if (complaint_.empty()) { complaint_ = what; }
        return false;
    }

    // Processes.

    [[nodiscard]] std::vector<std::string> arguments(std::string const& role, std::string const& name,
                                                     std::size_t seed) const {
        std::int64_t const now = plan_.wall(plan_.opens).time_since_epoch().count();
        return {"--role",     role,
                "--name",     name,
                "--database", database_of(options_, name),
                "--seed",     std::to_string(seed),
                "--now",      std::to_string(now)};
    }
    bool start() {
        now_ = plan_.opens;
        json hello;
        if (!authority_.start(options_.program, arguments("authority", "authority", 1)) || !authority_.hear(hello)) {
            return fail("the authority does not start");
        }
        devices_.resize(plan_.devices.size());
        out_.tallies.resize(plan_.devices.size());
        for (std::size_t i = 0; i < devices_.size(); ++i) {
            device_plan const& d = plan_.devices[i];
            auto with = arguments("device", d.name, i + 2);
            with.insert(with.end(),
                        {"--port", std::to_string(hello["port"].get<int>()), "--ahead", std::to_string(d.clock_ahead)});
            if (!devices_[i].start(options_.program, with)) { return fail(d.name + ": " + std::strerror(errno)); }
        }
        return true;
    }
    bool finish() {
        for (std::size_t i = 0; i < devices_.size(); ++i) {
            if (devices_[i].finish() != 0) { return fail(plan_.devices[i].name + " ended badly"); }
        }
        return authority_.finish() == 0 || fail("the authority ended badly");
    }
    bool ask(std::size_t device, json const& order, json& answer) {
        auto const from = stopwatch::now();
        bool const good = devices_[device].ask(order, answer);
        out_.tallies[device].seconds += since(from);
        return good || fail(plan_.devices[device].name + " has ended before its time");
    }

    // The clock.

    bool set_time(std::int64_t t) {
        json done;
        now_ = t;
        return authority_.ask({{"now", plan_.wall(t).time_since_epoch().count()}}, done) ||
               fail("the authority has ended before its time");
    }
    [[nodiscard]] json step_order(bool online, bool hurry, bool cut) const {
        return {{"do", "step"},
                {"now", plan_.wall(now_).time_since_epoch().count()},
                {"elapsed", (now_ - plan_.opens) * 1'000},
                {"online", online},
                {"hurry", hurry},
                {"cut", cut},
                {"together", false},
                {"edits", json::array()}};
    }

    /// The first device puts the day in; the others get it by their first exchange.
    bool load() {
        if (!set_time(plan_.opens)) { return false; }
        for (std::size_t i = 0; i < devices_.size(); ++i) {
            json order = step_order(true, true, false);
            order["together"] = true;
            if (i == 0) {
                for (edit const& e : plan_.records) { order["edits"].push_back(to_json(e)); }
            }
            json answer;
            if (!ask(i, order, answer)) { return false; }
            if (answer.contains("failed")) {
                return fail(plan_.devices[i].name + ", first exchange: " + answer["failed"].get<std::string>());
            }
            out_.first_pushed += answer["decided"].size();
            out_.first_pulled.push_back(answer["pulled"]);
            out_.tallies[i] = {};
        }
        return out_.first_pushed == plan_.records.size() || fail("the day was not taken whole");
    }

    /// Visits every moment at which something happens.
    bool day() {
        std::set<std::int64_t> moments;
        for (std::int64_t t = plan_.opens; t <= plan_.closes; t += plan_.asks_every) { moments.insert(t); }
        for (edit const& e : plan_.edits) { moments.insert(e.at); }
        for (device_plan const& d : plan_.devices) {
            for (offline_span const& s : d.offline) {
                moments.insert(s.from);
                moments.insert(s.to);
            }
        }
        auto next = plan_.edits.begin();
        for (std::int64_t const t : moments) {
            if (t < plan_.opens || t > plan_.closes) { continue; }
            if (!set_time(t)) { return false; }
            auto const first = next;
            while (next != plan_.edits.end() && next->at == t) { ++next; }
            for (std::size_t i = 0; i < devices_.size(); ++i) {
                std::vector<edit const*> edits;
                for (auto e = first; e != next; ++e) {
                    if (e->device == plan_.devices[i].name) { edits.push_back(&*e); }
                }
                if (!moment(i, edits)) { return false; }
            }
            show_progress();
        }
        return true;
    }
    bool moment(std::size_t i, std::vector<edit const*> const& edits) {
        device_plan const& d = plan_.devices[i];
        offline_span const* const offline = d.offline_at(now_);
        bool const back =
            std::any_of(d.offline.begin(), d.offline.end(), [&](offline_span const& s) { return s.to == now_; });
        // The network goes while an exchange is under way: the request arrives, the answer doesn't.
        bool const cut = offline != nullptr && offline->cut && offline->from == now_;
        bool const online = offline == nullptr || cut;
        bool const asks = (now_ - plan_.opens) % plan_.asks_every == 0;
        if (edits.empty() && !(online && (asks || back || cut))) { return true; }
        return step(i, edits, online, cut);
    }
    /// Edits, and an exchange at once when there is a network.
    bool step(std::size_t i, std::vector<edit const*> const& edits, bool online, bool cut = false) {
        json order = step_order(online, online, cut);
        for (edit const* e : edits) { order["edits"].push_back(to_json(*e)); }
        json answer;
        if (!ask(i, order, answer)) { return false; }
        for (std::size_t n = 0; n < edits.size(); ++n) {
            json const& o = answer["edits"][n];
            count_edit(i, o["became"]);
            out_.edits.push_back({now_, i, edits[n], o["became"]});
        }
        if (!online) { return true; }
        count_exchange(i, answer);
        return answer["conflicts"].empty() || decide(i, answer["conflicts"]);
    }

    void count_edit(std::size_t i, std::string const& became) {
        tally& t = out_.tallies[i];
        ++t.edits;
        t.unchanged += became == "unchanged" ? 1U : 0U;
        t.refused += became == "refused" ? 1U : 0U;
        t.coalesced += became == "coalesced" ? 1U : 0U;
        t.annihilated += became == "annihilated" ? 2U : 0U;  // this one, and the one that it undid
    }
    void count_exchange(std::size_t i, json const& answer) {
        tally& t = out_.tallies[i];
        sync_made s{now_, i, 0, 0, 0, {}};
        if (answer.contains("exchanges")) {
            auto const sent = answer["sent"].get<std::uint64_t>();
            auto const received = answer["received"].get<std::uint64_t>();
            s.pulled = answer["pulled"];
            s.bytes = sent + received;
            t.exchanges += answer["exchanges"].get<std::uint64_t>();
            t.pulled += s.pulled;
            t.sent += sent;
            t.received += received;
        }
        if (answer.contains("failed")) {
            s.failed = answer["failed"];
            ++t.failed;
        }
        for (json const& d : answer["decided"]) {
            ++s.pushed;
            ++t.pushed;
            t.again += d["again"].get<bool>() ? 1U : 0U;
            for (json const& f : d["fields"]) {
                if (f["won"] == name(syncline::winner::nobody)) { continue; }
                std::string const by = f["field"] == "" ? std::string{"delete wins"} : f["by"].get<std::string>();
                ++t.merged;
                rule_count& n = out_.rules[by];
                ++(f["won"] == name(syncline::winner::mutation)    ? n.writers
                   : f["won"] == name(syncline::winner::confirmed) ? n.confirmed
                                                                   : n.both);
                out_.merges.push_back({now_, i, d["collection"], d["id"], f["field"], by, f["won"]});
            }
        }
        for (json const& r : answer.value("rejected", json::array())) {
            ++t.rejected;
            out_.rejections.push_back({now_, i, r});
        }
        out_.syncs.push_back(std::move(s));
    }

    // Conflicts.

    bool decide(std::size_t i, json conflicts) {
        while (!conflicts.empty()) {
            json const c = conflicts[0];
            conflict_ended ended{now_, i, c, json::array(), {}, {}, {}, false};
            bool const asked = options_.ask && !c["gone"].get<bool>() && ask_person(i, c, ended);
            if (!asked) { decide_by_plan(c, ended); }
            json answer;
            if (!ask(i, order_about("decide", c, ended.decisions), answer)) { return false; }
            if (!answer.contains("failed")) {
                ended.after = answer["fields"];
                ended.dismissed = answer["dismissed"];
                ++out_.tallies[i].conflicts;
                ++out_.tallies[i].decisions;
                count_edit(i, answer["became"]);
                for (json const& d : ended.decisions) {
                    rule_count& n = out_.deciders[ended.who];
                    ++(d["take"] == "remote" ? n.confirmed : n.writers);
                }
                out_.conflicts.push_back(std::move(ended));
            } else if (answer["failed"] != syncline::message(syncline::errc::contended)) {
                return fail("a conflict can't be ended: " + answer["failed"].get<std::string>());
            }
            json now;
            if (!ask(i, {{"do", "look"}}, now)) { return false; }
            conflicts = now["conflicts"];
        }
        return step(i, {}, true);  // tells the authority what was decided
    }
    static json order_about(char const* what, json const& c, json const& decisions) {
        return {{"do", what}, {"token", c["token"]}, {"seen", c["seen"]}, {"decisions", decisions}};
    }
    void decide_by_plan(json const& c, conflict_ended& ended) const {
        ended.who = plan_.decided_by;
        ended.decisions = json::array();
        for (json const& f : c["fields"]) {
            json d{{"field", f["field"]}, {"take", plan_.otherwise}};
            for (decision_plan const& named : plan_.decisions) {
                if (c["collection"] == named.collection && c["id"] == named.id && f["field"] == named.field) {
                    d["take"] = named.take;
                    d["value"] = named.value;
                    ended.because = named.because;
                }
            }
            ended.decisions.push_back(std::move(d));
        }
        if (ended.because.empty()) { ended.because = "nobody said otherwise: the " + plan_.otherwise + " value stays"; }
    }

    /// Shows the values side by side and asks field by field; false when nobody answers.
    bool ask_person(std::size_t i, json const& c, conflict_ended& ended) {
        std::printf("%s\n%s  Conflict in %s about \"%s\" (%s), written on %s\n\n", terminal_ ? "\r\033[K" : "",
                    show_time(now_).c_str(), c["collection"].get<std::string>().c_str(),
                    c["title"].get<std::string>().c_str(), c["id"].get<std::string>().c_str(),
                    written_here(plan_, i, c).c_str());
        std::vector<std::vector<std::string>> rows{{"", "before", "here", "confirmed", "by"}, {}};
        for (json const& f : c["fields"]) {
            rows.push_back({f["field"], f["base"], f["local"], f["remote"], written_elsewhere(plan_, f)});
        }
        print_table(rows);
        for (json const& f : c["fields"]) {
            if (!ask_about(i, c, f, ended.decisions)) {
                std::printf("\nnobody answers: %s decides\n", plan_.decided_by.c_str());
                return false;
            }
        }
        ended.who = "person at the terminal";
        std::printf("\n");
        return true;
    }
    bool ask_about(std::size_t i, json const& c, json const& f, json& decisions) {
        std::string const field = f["field"];
        for (;;) {
            std::printf("\n%s:   l  keep \"%s\"    r  take \"%s\"    =VALUE  another\n", field.c_str(),
                        f["local"].get<std::string>().c_str(), f["remote"].get<std::string>().c_str());
            std::string answer;
            if (!read_answer(answer)) { return false; }
            json d{{"field", field}};
            if (answer == "l" || answer == "r") {
                d["take"] = answer == "l" ? "local" : "remote";
            } else if (answer.size() > 1 && answer[0] == '=') {
                d["take"] = "custom";
                d["value"] = value_from(c["collection"], field, answer.substr(1));
            } else {
                continue;
            }
            // Fields that were not asked about yet stay as the others have them, for the preview.
            json all = decisions;
            all.push_back(d);
            for (std::size_t n = all.size(); n < c["fields"].size(); ++n) {
                all.push_back({{"field", c["fields"][n]["field"]}, {"take", "remote"}});
            }
            json preview;
            if (!ask(i, order_about("preview", c, all), preview)) { return false; }
            if (preview.contains("failed")) {
                std::printf("that can't be: %s\n", preview["failed"].get<std::string>().c_str());
                continue;
            }
            std::printf("\nthen the record is:\n");
            for (auto const& item : preview["fields"].items()) {
                std::printf("  %s  %s\n", pad(item.key(), 8).c_str(), item.value().get<std::string>().c_str());
            }
            std::printf("so be it? y/n\n");
            if (!read_answer(answer)) { return false; }
            if (answer == "y" || answer == "yes") {
                decisions.push_back(std::move(d));
                return true;
            }
        }
    }

    /// In the end everybody is online; rounds go on until one moves nothing.
    bool settle() {
        for (int round = 1; round <= 20; ++round) {
            if (!set_time(plan_.closes + 60 * round)) { return false; }
            auto const seen = static_cast<std::ptrdiff_t>(out_.syncs.size());
            for (std::size_t i = 0; i < devices_.size(); ++i) {
                if (!step(i, {}, true)) { return false; }
            }
            bool const rest = std::all_of(out_.syncs.begin() + seen, out_.syncs.end(), [](sync_made const& s) {
                return s.pushed == 0 && s.pulled == 0 && s.failed.empty();
            });
            if (rest) {
                if (!options_.quiet && terminal_) { std::printf("\r\033[K"); }
                return true;
            }
        }
        return fail("the devices do not come to rest");
    }

    void show_progress() {
        if (options_.pace > 0) {
            std::this_thread::sleep_until(begun_ +
                                          std::chrono::milliseconds{(now_ - plan_.opens) / 60 * options_.pace});
        }
        bool const hour = now_ / 3600 != shown_ / 3600;
        if (options_.quiet || (!terminal_ && !hour)) { return; }
        shown_ = now_;
        tally all;
        for (tally const& t : out_.tallies) { all += t; }
        std::string line = show_time(now_) + " ";
        auto const done = (now_ - plan_.opens) * 20 / (plan_.closes - plan_.opens);
        for (int i = 0; i < 20; ++i) { line += i < done ? "█" : "░"; }
        for (std::size_t i = 0; i < devices_.size() && i < 4; ++i) {
            line += (plan_.devices[i].offline_at(now_) != nullptr ? " ○ " : " ● ") + plan_.devices[i].name;
        }
        line += "  edits " + std::to_string(all.edits) + ", pushed " + std::to_string(all.pushed) + ", conflicts " +
                std::to_string(all.conflicts);
        std::printf("%s%s%s", terminal_ ? "\r\033[K" : "", line.c_str(), terminal_ ? "" : "\n");
        std::fflush(stdout);
    }

    plan const& plan_;
    play_options const& options_;
    history& out_;
    std::string& complaint_;
    bool terminal_;
    child authority_;  // outlives the devices' processes
    std::vector<child> devices_;
    std::int64_t now_ = 0;
    std::int64_t shown_ = 0;
    stopwatch::time_point begun_ = stopwatch::now();
};

}  // namespace

bool play(plan const& p, play_options const& options, history& out, std::string& complaint) {
    return player{p, options, out, complaint}.run();
}

}  // namespace venue
