// SPDX-License-Identifier: BSL-1.0

#include "report.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include <syncline/metrics.hpp>

#include "text.hpp"

namespace venue {
namespace {

/// Text as it may stand anywhere in a page. Nothing that a person wrote gets into it another way.
std::string escape(std::string_view text) {
    std::string out;
    for (char const c : text) {
        switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            case '\'': out += "&#39;"; break;
            default: out += c;
        }
    }
    return out;
}
template <std::same_as<json> J>  // exactly: a text would convert as well
std::string escape(J const& text) {
    return escape(std::string_view{text.template get_ref<std::string const&>()});
}

std::string fixed(double n) {
    char out[32];
    std::snprintf(out, sizeof out, "%.1f", n);
    return out;
}

constexpr std::string_view style = R"css(
:root { --ink: #23262b; --soft: #6b7280; --rule: #e5e2dc; --paper: #fbfaf7; --card: #fff; --blue: #2f6f9f;
        --green: #4b8b5c; --red: #b3402e; --amber: #b7791f; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 32px 28px 64px; max-width: 1560px; background: var(--paper); color: var(--ink);
       font: 15px/1.5 "Iowan Old Style", Georgia, "DejaVu Serif", serif; }
h1 { font-size: 30px; font-weight: 600; margin: 0; } h2 { font-size: 20px; font-weight: 600; margin: 40px 0 12px; }
.lead { color: var(--soft); margin: 4px 0 20px; } .num { font-variant-numeric: tabular-nums; }
.chart, table, .card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
.chart { padding: 8px; overflow-x: auto; } svg { display: block; min-width: 1100px; width: 100%; height: auto; }
svg text, table, .card, .legend, summary { font-family: system-ui, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
.legend { color: var(--soft); font-size: 13px; margin: 10px 4px; display: flex; flex-wrap: wrap; gap: 6px 20px; }
.legend svg { display: inline-block; width: 16px; min-width: 16px; height: 16px; vertical-align: -3px; margin-right: 5px; }
table { border-collapse: separate; border-spacing: 0; font-size: 13.5px; width: 100%; overflow: hidden; }
th, td { padding: 6px 12px; text-align: right; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; } tr:last-child td { border-bottom: 0; }
th { font-weight: 600; color: var(--soft); background: #f5f3ee; } tr.sum td { font-weight: 600; }
table.words th, table.words td { text-align: left; vertical-align: top; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(600px, 1fr)); gap: 14px; }
@media (max-width: 700px) { .cards { grid-template-columns: 1fr; } }
.card { padding: 14px 16px; font-size: 14px; } .card h3 { margin: 0 0 2px; font-size: 16px; }
.card .where { color: var(--soft); font-size: 13px; margin-bottom: 10px; }
.sides { display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; }
.side { border: 1px solid var(--rule); border-radius: 6px; padding: 7px 9px; min-width: 0; overflow-wrap: anywhere; }
.side b { display: block; font-size: 11px; font-weight: 600; color: var(--soft); text-transform: uppercase;
          letter-spacing: .04em; } .side .v { font-size: 16px; } .side small { color: var(--soft); }
.side.took { border-color: var(--green); background: #f0f7f1; } .side.lost .v { color: var(--soft); text-decoration: line-through; }
.side.end { border-color: var(--ink); } .field { margin: 8px 0 4px; font-weight: 600; font-size: 13px; }
.said { margin: 10px 0 0; } .no { color: var(--red); }
code { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; } .ok { color: var(--green); font-weight: 600; }
details { margin-top: 12px; } summary { cursor: pointer; color: var(--soft); font-size: 14px; }
)css";

class page {
public:
    page(plan const& p, history const& h, std::vector<contents> const& databases)
        : plan_(p), history_(h), databases_(databases) {}

    std::string make() {
        put("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
        put(escape(plan_.venue) + ", " + escape(plan_.date) + "</title>\n<style>");
        put(style);
        put("</style></head>\n<body>\n<h1>" + escape(plan_.venue) + "</h1>\n<p class=\"lead\">" + escape(plan_.date) +
            ", " + show_time(plan_.opens) + " to " + show_time(plan_.closes) + ". " +
            std::to_string(plan_.records.size()) + " records, " + std::to_string(plan_.devices.size()) +
            " devices, one authority.</p>\n");
        chart();
        legend();
        totals();
        numbers();
        conflicts();
        rejections();
        rules();
        proof();
        put("</body></html>\n");
        return std::move(out_);
    }

private:
    void put(std::string_view text) { out_ += text; }

    // The chart. Units are the SVG's own; the page scales it.

    static constexpr double width = 1500, left = 200, right = 16, rows_top = 26, row = 13, sync_row = 34, gap = 14;
    static constexpr double lane = rows_top + 6 * row + sync_row;

    [[nodiscard]] double x(std::int64_t t) const {
        t = std::clamp(t, plan_.opens, plan_.closes);
        return left + (width - left - right) * static_cast<double>(t - plan_.opens) /
                          static_cast<double>(plan_.closes - plan_.opens);
    }
    [[nodiscard]] double lane_top(std::size_t device) const {
        return authority_y_ + 26 + static_cast<double>(device) * (lane + gap);
    }
    static double row_of(std::string const& collection) {
        double at = 0, found = 0;
        for_each_collection([&](auto t) {
            if (syncline::collection<typename decltype(t)::record>() == collection) { found = at; }
            at += 1;
        });
        return rows_top + row * (found + 0.5);
    }
    static std::string color(std::size_t device) {
        static constexpr char const* some[] = {"#2f6f9f", "#8a5a9e", "#b7791f", "#4b8b5c", "#a0485c", "#52707a"};
        return some[device % 6];
    }
    void text_at(double at_x, double at_y, std::string const& how, std::string_view text) {
        put("<text x=\"" + fixed(at_x) + "\" y=\"" + fixed(at_y) + "\" " + how + ">" + escape(text) + "</text>\n");
    }

    void chart() {
        std::vector<edit const*> events;
        for (edit const& r : plan_.records) {
            if (r.collection == "events") { events.push_back(&r); }
        }
        authority_y_ = 40 + 20 * static_cast<double>(events.size()) + 14;
        double const height = lane_top(plan_.devices.size()) + 4;
        put("<div class=\"chart\"><svg viewBox=\"0 0 " + fixed(width) + " " + fixed(height) +
            "\" role=\"img\" aria-label=\"The day as a timeline of devices, edits, syncs and conflicts\">\n"
            "<defs><pattern id=\"off\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" "
            "patternTransform=\"rotate(45)\"><rect width=\"7\" height=\"7\" fill=\"#efece6\"/>"
            "<rect width=\"2.2\" height=\"7\" fill=\"#ded9cf\"/></pattern></defs>\n");
        for (std::int64_t t = (plan_.opens + 3599) / 3600 * 3600; t <= plan_.closes; t += 3600) {
            put("<line x1=\"" + fixed(x(t)) + "\" x2=\"" + fixed(x(t)) + "\" y1=\"26\" y2=\"" + fixed(height - 4) +
                "\" stroke=\"#eeebe4\"/>\n");
            text_at(x(t), 18, "font-size=\"11\" fill=\"#6b7280\" text-anchor=\"middle\"", show_time(t));
        }
        for (std::size_t i = 0; i < events.size(); ++i) { wedding(*events[i], 34 + 20 * static_cast<double>(i)); }
        put("<line x1=\"" + fixed(left) + "\" x2=\"" + fixed(width - right) + "\" y1=\"" + fixed(authority_y_) +
            "\" y2=\"" + fixed(authority_y_) + "\" stroke=\"#23262b\" stroke-width=\"1.5\"/>\n");
        text_at(8, authority_y_ + 4, "font-size=\"13\" font-weight=\"600\"", "Authority");
        for (std::size_t i = 0; i < plan_.devices.size(); ++i) { device_lane(i); }
        for (edit_made const& e : history_.edits) { edit_mark(e); }
        for (sync_made const& s : history_.syncs) { sync_mark(s); }
        for (std::size_t i = 0; i < history_.rejections.size(); ++i) { rejection_mark(history_.rejections[i], i + 1); }
        for (std::size_t i = 0; i < history_.conflicts.size(); ++i) { conflict_mark(history_.conflicts[i], i + 1); }
        put("</svg></div>\n");
    }
    void wedding(edit const& e, double y) {
        auto const at = [&](char const* key) { return parse_time(e.fields[key].get<std::string>()).value_or(0); };
        double const from = x(at("begins")), to = x(at("ends"));
        put("<rect x=\"" + fixed(from) + "\" y=\"" + fixed(y) + "\" width=\"" + fixed(to - from) +
            "\" height=\"16\" rx=\"3\" fill=\"#e9dfd0\"/>\n");
        text_at(from + 6, y + 12, "font-size=\"11\" fill=\"#5d4f3a\"",
                e.fields["title"].get<std::string>() + " · " + e.fields["room"].get<std::string>());
    }
    void device_lane(std::size_t i) {
        device_plan const& d = plan_.devices[i];
        double const top = lane_top(i);
        put("<rect x=\"" + fixed(left) + "\" y=\"" + fixed(top) + "\" width=\"" + fixed(width - left - right) +
            "\" height=\"" + fixed(lane) + "\" fill=\"none\" stroke=\"#dcd8cf\" rx=\"4\"/>\n");
        for (offline_span const& s : d.offline) {
            double const from = x(s.from), to = x(s.to);
            put("<g><title>offline " + show_time(s.from) + " to " + show_time(s.to) +
                (s.why.empty() ? "" : ": " + escape(s.why)) +
                (s.cut ? "; the answer that was under way got lost" : "") + "</title><rect x=\"" + fixed(from) +
                "\" y=\"" + fixed(top) + "\" width=\"" + fixed(to - from) + "\" height=\"" + fixed(lane) +
                "\" fill=\"url(#off)\"/></g>\n");
            // What doesn't fit is in the tooltip.
            if (static_cast<double>(s.why.size()) * 5.1 + 10 < to - from) {
                text_at(from + 5, top + 15, "font-size=\"10.5\" fill=\"#6b7280\"", s.why);
            }
        }
        double y = top + rows_top;
        for_each_collection([&](auto t) {
            put("<line x1=\"" + fixed(left) + "\" x2=\"" + fixed(width - right) + "\" y1=\"" + fixed(y + row / 2) +
                "\" y2=\"" + fixed(y + row / 2) + "\" stroke=\"#000\" stroke-opacity=\".06\"/>\n");
            text_at(left - 6, y + row / 2 + 3.5, "font-size=\"9.5\" fill=\"#8b9099\" text-anchor=\"end\"",
                    syncline::collection<typename decltype(t)::record>());
            y += row;
        });
        text_at(left - 6, y + sync_row / 2 + 3.5, "font-size=\"9.5\" fill=\"#8b9099\" text-anchor=\"end\"", "syncs");
        text_at(8, top + 14, "font-size=\"13\" font-weight=\"600\" fill=\"" + color(i) + "\"", d.label);
        text_at(8, top + 30, "font-size=\"11\" fill=\"#6b7280\"", d.person);
        if (d.clock_ahead != 0) {
            text_at(8, top + 45, "font-size=\"10\" fill=\"#6b7280\"",
                    "clock " + std::string{d.clock_ahead > 0 ? "+" : ""} + std::to_string(d.clock_ahead) + " s");
        }
    }
    void edit_mark(edit_made const& e) {
        double const at_x = x(e.at), at_y = lane_top(e.device) + row_of(e.what->collection);
        std::string const who = color(e.device);
        std::string how = "fill=\"" + who + "\" fill-opacity=\".75\"";
        if (e.became == "coalesced") { how = "fill=\"#fff\" stroke=\"" + who + "\" stroke-width=\"1.3\""; }
        if (e.became == "annihilated") { how = "fill=\"#fff\" stroke=\"#9aa0a8\" stroke-width=\"1.3\""; }
        if (e.became == "unchanged") { how = "fill=\"#b9bec6\""; }
        if (e.became == "refused") { how = "fill=\"#fff\" stroke=\"#b3402e\" stroke-width=\"1.6\""; }
        std::string told;
        for (auto const& f : e.what->fields.items()) {
            if (e.what->what != edit::action::create) { told += " " + f.key() + "=" + excerpt(f.value()); }
        }
        put("<circle cx=\"" + fixed(at_x) + "\" cy=\"" + fixed(at_y) + "\" r=\"3.4\" " + how + "><title>" +
            show_time(e.at) + " " + std::string{name(e.what->what)} + " " + escape(e.what->collection) + "/" +
            escape(e.what->id) + escape(told) + " (" + escape(e.became) + ")</title></circle>\n");
    }
    void sync_mark(sync_made const& s) {
        double const at_x = x(s.at), base = lane_top(s.device) + rows_top + 6 * row + sync_row / 2;
        std::string const told = "<title>" + show_time(s.at) + " sync: " + std::to_string(s.pushed) + " pushed, " +
                                 std::to_string(s.pulled) + " pulled, " + std::to_string(s.bytes) + " bytes" +
                                 (s.failed.empty() ? "" : "; " + escape(s.failed)) + "</title>";
        auto const bar = [&](double from, double to, std::string const& fill) {
            put("<rect x=\"" + fixed(at_x - 1.2) + "\" y=\"" + fixed((std::min)(from, to)) +
                "\" width=\"2.4\" height=\"" + fixed(std::abs(to - from)) + "\" fill=\"" + fill + "\">" + told +
                "</rect>\n");
        };
        auto const length = [](std::uint64_t n) {
            return (std::min)(3 + 3.2 * std::log2(static_cast<double>(n)), 16.0);
        };
        if (s.pushed != 0) {
            bar(base, base - length(s.pushed), "#2f6f9f");
            put("<circle cx=\"" + fixed(at_x) + "\" cy=\"" + fixed(authority_y_) + "\" r=\"" +
                fixed((std::min)(2.0 + std::log2(static_cast<double>(s.pushed)), 7.0)) + "\" fill=\"" +
                color(s.device) + "\" fill-opacity=\".8\">" + told + "</circle>\n");
        }
        if (s.pulled != 0) { bar(base, base + length(s.pulled), "#4b8b5c"); }
        if (!s.failed.empty()) {
            put("<g stroke=\"#b3402e\" stroke-width=\"1.8\">" + told + "<path d=\"M" + fixed(at_x - 4) + " " +
                fixed(base - 4) + "l8 8m0 -8l-8 8\" fill=\"none\"/></g>\n");
        }
    }
    void numbered_mark(double at_x, double at_y, std::string const& link, std::size_t n, std::string const& shape,
                       std::string const& told) {
        // Marks of one moment stand side by side.
        auto const taken = [&](std::pair<double, double> const& p) {
            return std::abs(p.first - at_x) < 17 && std::abs(p.second - at_y) < 10;
        };
        while (std::any_of(marks_.begin(), marks_.end(), taken)) { at_x += 17; }
        marks_.emplace_back(at_x, at_y);
        put("<a href=\"#" + link + std::to_string(n) + "\"><g transform=\"translate(" + fixed(at_x) + " " +
            fixed(at_y) + ")\"><title>" + told + "</title>" + shape +
            "<text y=\"3.4\" font-size=\"9.5\" font-weight=\"700\" fill=\"#fff\" text-anchor=\"middle\">" +
            std::to_string(n) + "</text></g></a>\n");
    }
    void conflict_mark(conflict_ended const& c, std::size_t n) {
        numbered_mark(x(c.at), lane_top(c.device) + row_of(c.conflict["collection"]), "c", n,
                      "<path d=\"M0 -10L10 0L0 10L-10 0Z\" fill=\"#b3402e\" stroke=\"#fff\"/>",
                      "conflict " + std::to_string(n) + ": " + escape(c.conflict["title"]));
    }
    void rejection_mark(edit_rejected const& r, std::size_t n) {
        numbered_mark(x(r.at), lane_top(r.device) + row_of(r.rejection["collection"]), "r", n,
                      "<rect x=\"-8\" y=\"-8\" width=\"16\" height=\"16\" rx=\"2\" fill=\"#b7791f\" stroke=\"#fff\"/>",
                      "rejected: " + escape(r.rejection["title"]));
    }
    void legend() {
        auto const item = [&](std::string_view shape, std::string_view what) {
            put("<span><svg viewBox=\"-8 -8 16 16\">");
            put(shape);
            put("</svg>");
            put(what);
            put("</span>\n");
        };
        put("<div class=\"legend\">\n");
        item("<circle r=\"4\" fill=\"#2f6f9f\"/>", "edit");
        item("<circle r=\"4\" fill=\"#fff\" stroke=\"#2f6f9f\" stroke-width=\"1.5\"/>",
             "coalesced into one that waited");
        item("<circle r=\"4\" fill=\"#fff\" stroke=\"#9aa0a8\" stroke-width=\"1.5\"/>", "undone before it was sent");
        item("<circle r=\"4\" fill=\"#b9bec6\"/>", "said what was so already");
        item("<circle r=\"4\" fill=\"#fff\" stroke=\"#b3402e\" stroke-width=\"1.8\"/>",
             "too late, the record was gone");
        item(
            "<rect x=\"-1.5\" y=\"-7\" width=\"3\" height=\"7\" fill=\"#2f6f9f\"/>"
            "<rect x=\"-1.5\" width=\"3\" height=\"7\" fill=\"#4b8b5c\"/>",
            "sync: pushed up, pulled down");
        item("<path d=\"M-4 -4l8 8m0 -8l-8 8\" stroke=\"#b3402e\" stroke-width=\"2\" fill=\"none\"/>",
             "the answer got lost");
        item("<path d=\"M0 -7L7 0L0 7L-7 0Z\" fill=\"#b3402e\"/>", "conflict, decided by a person");
        item("<rect x=\"-6\" y=\"-6\" width=\"12\" height=\"12\" rx=\"2\" fill=\"#b7791f\"/>",
             "rejected by the authority");
        item("<rect x=\"-8\" y=\"-8\" width=\"16\" height=\"16\" fill=\"#ded9cf\"/>", "offline");
        put("</div>\n");
    }

    // Tables and cards.

    void totals() {
        put("<h2>What each device came to</h2>\n<table class=\"num\"><tr><th></th>");
        for (char const* head : {"edits", "coalesced", "undone", "no change", "refused", "pushed", "pulled", "merged",
                                 "conflicts", "rejected", "sent", "received"}) {
            put("<th>" + std::string{head} + "</th>");
        }
        put("</tr>\n");
        tally all;
        auto const line = [&](std::string const& label, tally const& t, bool sum) {
            put(std::string{sum ? "<tr class=\"sum\"><td>" : "<tr><td>"} + escape(label) + "</td>");
            for (std::uint64_t const n : {t.edits, t.coalesced, t.annihilated, t.unchanged, t.refused, t.pushed,
                                          t.pulled, t.merged, t.conflicts, t.rejected}) {
                put("<td>" + std::to_string(n) + "</td>");
            }
            for (std::uint64_t const n : {t.sent, t.received}) {
                put("<td>" + fixed(static_cast<double>(n) / 1'000) + " kB</td>");
            }
            put("</tr>\n");
        };
        for (std::size_t i = 0; i < history_.tallies.size(); ++i) {
            line(plan_.devices[i].label, history_.tallies[i], false);
            all += history_.tallies[i];
        }
        line("all", all, true);
        put("</table>\n");
    }

    /// The day through the library's metrics: ratios, and what its default thresholds say.
    void numbers() {
        using namespace syncline;
        metrics m;
        wall_time const day{std::chrono::hours{24 * 20'000}};
        auto const at = [&](std::int64_t t) { return day + milliseconds{t * 1000}; };
        m.pass(at(plan_.opens));
        for (tally const& t : history_.tallies) {
            m.counted(metric_counter::exchanges, t.exchanges - t.failed);
            m.counted(metric_counter::exchanges_failed, t.failed);
            m.counted(metric_counter::entries_applied, t.pushed - (std::min)(t.pushed, t.conflicts + t.rejected));
            m.counted(metric_counter::entries_conflicted, t.conflicts);
            m.counted(metric_counter::entries_rejected, t.rejected);
            m.counted(metric_counter::rows_pulled, t.pulled);
            m.counted(metric_counter::bytes_up, t.sent);
            m.counted(metric_counter::bytes_down, t.received);
        }
        metrics_snapshot const s = m.snapshot();
        auto const percent = [](millionths part) {
            return part ? fixed(static_cast<double>(*part) / 10'000) + " %" : std::string("none");
        };
        put("<p class=\"lead num\">Exchanges that succeeded: " + percent(success_ratio(s.total)) +
            ". Decided edits that became conflicts: " + percent(conflict_ratio(s.total)) + ".");
        alerts watch;
        for (alert const& a : watch.look(s, at(plan_.closes))) {
            if (a.what == alert_signal::failures_in_a_row) { continue; }  // summed here, not in a row
            put(" Above its threshold: " + std::string(words(a.what)) + ".");
        }
        put("</p>\n");
    }

    void side(std::string const& state, std::string const& head, json const& value, std::string const& foot) {
        put("<div class=\"side " + state + "\"><b>" + escape(head) + "</b><div class=\"v\">" + escape(value) +
            "</div><small>" + escape(foot) + "</small></div>");
    }
    void conflicts() {
        put("<h2>Conflicts</h2>\n");
        if (history_.conflicts.empty()) { put("<p>None.</p>\n"); }
        put("<div class=\"cards\">\n");
        for (std::size_t i = 0; i < history_.conflicts.size(); ++i) { conflict_card(history_.conflicts[i], i + 1); }
        put("</div>\n");
    }
    void conflict_card(conflict_ended const& c, std::size_t n) {
        put("<div class=\"card\" id=\"c" + std::to_string(n) + "\"><h3>" + std::to_string(n) + ". " +
            escape(c.conflict["title"]) + "</h3><div class=\"where\">" + escape(c.conflict["collection"]) + "/" +
            escape(c.conflict["id"]) + ", found at " + show_time(c.at) + ", waiting on " +
            escape(plan_.devices[c.device].label) + "</div>\n");
        for (json const& f : c.conflict["fields"]) {
            json const* taken = nullptr;
            for (json const& d : c.decisions) {
                if (d["field"] == f["field"]) { taken = &d; }
            }
            std::string const take = taken != nullptr ? (*taken)["take"].get<std::string>() : "remote";
            auto const state = [&](char const* which) { return take == which ? "took" : "lost"; };
            put("<div class=\"field\">" + escape(f["field"]) + "</div><div class=\"sides\">");
            side("", "before", f["base"], "");
            side(state("local"), "here", f["local"], written_here(plan_, c.device, c.conflict));
            side(state("remote"), "confirmed", f["remote"], written_elsewhere(plan_, f));
            side("end", "decided",
                 c.dismissed ? json("record deleted")
                             : json(c.after.value(f["field"].get<std::string>(), std::string{"–"})),
                 c.who);
            put("</div>\n");
        }
        put("<p class=\"said\">" + escape(c.because) + "</p></div>\n");
    }
    void rejections() {
        put("<h2>Rejected by the authority, and rolled back</h2>\n");
        if (history_.rejections.empty()) { put("<p>Nothing.</p>\n"); }
        put("<div class=\"cards\">\n");
        for (std::size_t i = 0; i < history_.rejections.size(); ++i) {
            edit_rejected const& r = history_.rejections[i];
            json const& j = r.rejection;
            put("<div class=\"card\" id=\"r" + std::to_string(i + 1) + "\"><h3>" + std::to_string(i + 1) + ". " +
                escape(j["title"]) + "</h3><div class=\"where\">" + escape(j["collection"]) + "/" + escape(j["id"]) +
                ", " + escape(j["change"]) + " by " + escape(plan_.devices[r.device].label) + ", refused at " +
                show_time(r.at) + "</div>\n");
            for (json const& f : j["fields"]) {
                put("<div class=\"field\">" + escape(f["field"]) + "</div><div class=\"sides\">");
                side("lost", "written", f["written"], "");
                side("end", "stands", f["stands"], "after the rollback");
                put("</div>");
            }
            put("<p class=\"said no\">" + escape(j["why"]) + "</p></div>\n");
        }
        put("</div>\n");
    }
    void rules() {
        put("<h2>Who decided what was changed twice</h2>\n<table class=\"num\"><tr><th>rule</th><th>fields</th>"
            "<th>the writer's value</th><th>the confirmed value</th><th>both</th></tr>\n");
        auto const line = [&](std::string const& label, rule_count const& n) {
            put("<tr><td>" + escape(label) + "</td>");
            for (std::uint64_t const k : {n.writers + n.confirmed + n.both, n.writers, n.confirmed, n.both}) {
                put("<td>" + std::to_string(k) + "</td>");
            }
            put("</tr>\n");
        };
        for (auto const& [rule, n] : history_.rules) { line(rule, n); }
        for (auto const& [who, n] : history_.deciders) { line("manual: " + who, n); }
        put("</table>\n<details><summary>Each of them</summary>\n<table class=\"words\"><tr><th>time</th>"
            "<th>device</th><th>record</th><th>field</th><th>rule</th><th>who won</th></tr>\n");
        for (field_merged const& m : history_.merges) {
            put("<tr><td>" + show_time(m.at) + "</td><td>" + escape(plan_.devices[m.device].label) + "</td><td>" +
                escape(m.collection) + "/" + escape(m.id) + "</td><td>" +
                escape(m.field.empty() ? std::string_view{"the whole record"} : std::string_view{m.field}) +
                "</td><td>" + escape(m.by) + "</td><td>" + escape(m.won) + "</td></tr>\n");
        }
        put("</table></details>\n");
    }
    void proof() {
        put("<h2>The databases, read back from their files</h2>\n<table class=\"words\"><tr><th>file</th>"
            "<th>records</th><th>SHA-256 of all records</th><th></th></tr>\n");
        for (contents const& c : databases_) {
            bool const same = c.failed.empty() && c.waiting == 0 && c.hash == databases_.front().hash;
            put("<tr><td>" + escape(c.name) + ".db</td><td>" + std::to_string(c.records) + "</td><td><code>" + c.hash +
                "</code></td><td class=\"" + (same ? "ok\">same" : "no\">different") + "</td></tr>\n");
        }
        put("</table>\n");
    }

    plan const& plan_;
    history const& history_;
    std::vector<contents> const& databases_;
    std::string out_;
    double authority_y_ = 0;
    std::vector<std::pair<double, double>> marks_;  ///< where a numbered mark stands already
};

}  // namespace

bool write_report(std::string const& path, plan const& p, history const& h, std::vector<contents> const& databases,
                  std::string& complaint) {
    std::string const text = page{p, h, databases}.make();
    std::FILE* const file = std::fopen(path.c_str(), "wb");
    bool good = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
    if (file != nullptr && std::fclose(file) != 0) { good = false; }
    if (!good) { complaint = path + ": " + std::strerror(errno); }
    return good;
}

}  // namespace venue
