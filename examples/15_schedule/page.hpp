// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Draws a day as a page that needs no other file.

#include <cstdio>
#include <string>
#include <string_view>

#include <syncline/schedule.hpp>

#include "day.hpp"

namespace day {

namespace drawing {

constexpr double left = 110, width = 1180;
inline double x(std::int64_t second) { return left + width * static_cast<double>(second) / 86'400; }
inline std::string number(double n) {
    char out[32];
    std::snprintf(out, sizeof out, "%.1f", n);
    return out;
}
inline std::string escape(std::string_view text) {
    std::string out;
    for (char const c : text) {
        out += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&quot;" : std::string(1, c);
    }
    return out;
}
inline std::string text(double at_x, double at_y, std::string_view what, std::string_view how = "") {
    return "<text x=\"" + number(at_x) + "\" y=\"" + number(at_y) + "\" " + std::string(how) + ">" + escape(what) +
           "</text>\n";
}
inline std::string rect(double at_x, double at_y, double w, double h, std::string_view fill, std::string_view title) {
    return "<rect x=\"" + number(at_x) + "\" y=\"" + number(at_y) + "\" width=\"" + number(w) + "\" height=\"" +
           number(h) + "\" fill=\"" + std::string(fill) + "\"><title>" + escape(title) + "</title></rect>\n";
}
inline std::string_view colour(plan_reason r) {
    switch (r) {
        case plan_reason::due: return "#c0272d";
        case plan_reason::told: return "#b7791f";
        case plan_reason::riding: return "#8a4fa3";
        case plan_reason::cheap_link: return "#3b7a57";
        case plan_reason::stale:
        case plan_reason::deadline: return "#222222";
        case plan_reason::offline: return "#888888";
        case plan_reason::better_link: return "#2f8fa8";
        case plan_reason::gathering: return "#9db8d9";
        default: return "#2f5fa8";
    }
}
inline std::string_view link_colour(stretch const& s) {
    return s.kbps == 0 ? "#e3e3e3" : s.wifi ? "#bfe3cb" : s.kbps < 2'000 ? "#f2d1b3" : "#f7e7a9";
}

}  // namespace drawing

inline std::string page(record const& r) {
    using namespace drawing;
    constexpr double links_y = 40, why_y = 76, runs_y = 104, stale_y = 190, lane = 58, energy_y = 450, energy_h = 110;
    std::string out =
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>A day of the scheduler</title>\n"
        "<style>body { font: 14px/1.5 system-ui, sans-serif; margin: 24px auto; max-width: 1340px; color: #222; }\n"
        "svg text { font: 12px system-ui, sans-serif; fill: #444; } svg { width: 100%; height: auto; }\n"
        "pre { font-size: 12px; background: #f6f6f4; padding: 10px; overflow-x: auto; } summary { cursor: pointer; }</style></head>\n"
        "<body><h1>A day of the scheduler</h1>\n<svg viewBox=\"0 0 1310 625\" role=\"img\" aria-label=\"Links, plans, exchanges, "
        "staleness and energy over a day\">\n";
    for (std::int64_t h = 0; h <= 24; h += 2) {
        out += "<line x1=\"" + number(x(h * 3600)) + "\" x2=\"" + number(x(h * 3600)) +
               "\" y1=\"28\" y2=\"565\" stroke=\"#e5e5e5\"/>\n";
        out += text(x(h * 3600), 20, clock(h * 3600), "text-anchor=\"middle\"");
    }
    auto const& all = stretches();
    out += text(8, links_y + 18, "link");
    for (std::size_t i = 0; i < all.size(); ++i) {
        std::int64_t const to = i + 1 < all.size() ? all[i + 1].from : 86'400;
        std::string const title = std::string(all[i].name) + ", " + clock(all[i].from) + " to " + clock(to % 86'400);
        out += rect(x(all[i].from), links_y, x(to) - x(all[i].from), 26, link_colour(all[i]), title);
        if (to - all[i].from > 2'500) { out += text(x(all[i].from) + 5, links_y + 18, all[i].name); }
    }
    out += text(8, why_y + 13, "plan");
    for (sample const& s : r.samples) {
        out += rect(x(s.second), why_y, width / 720 + 0.3, 18, colour(s.why), clock(s.second) + ": " + words(s.why));
    }
    out += text(8, runs_y + 40, "exchanges, J");
    for (exchange const& e : r.exchanges) {
        double const h = 6 + 4.5 * e.joules;
        out += rect(x(e.second) - 1, runs_y + 68 - h, 2.4, h, colour(e.plan[plan_choice::when].because),
                    clock(e.second) + ", " + number(e.joules) + " J, " + std::to_string(e.moved) + " moved\n" +
                        to_text(e.plan, e.now));
    }
    constexpr std::array<char const*, sync_classes> names{"critical", "important", "normal", "background"};
    constexpr std::array<char const*, sync_classes> inks{"#c0272d", "#b7791f", "#2f5fa8", "#777777"};
    for (std::size_t c = 0; c < sync_classes; ++c) {
        double const base = stale_y + lane * static_cast<double>(c + 1);
        std::string path = "M" + number(left) + ' ' + number(base);
        for (sample const& s : r.samples) {
            double const minutes = static_cast<double>(s.waits[c]) / 60;
            path += " L" + number(x(s.second)) + ' ' + number(base - (minutes < 60 ? minutes : 60) * 0.8);
        }
        out += "<path d=\"" + path + " L" + number(left + width) + ' ' + number(base) + " Z\" fill=\"" + inks[c] +
               "\" fill-opacity=\".35\" stroke=\"" + inks[c] + "\"/>\n";
        out += text(8, base - 20, names[c]);
        out += text(8, base - 6, "waits, to 1 h", "font-size=\"10\"");
    }
    std::string path;
    for (sample const& s : r.samples) {
        path += path.empty() ? "M" : " L";
        path += number(x(s.second)) + ' ' +
                number(energy_y + energy_h - s.joules / (r.joules > 0 ? r.joules : 1) * energy_h);
    }
    out += "<path d=\"" + path + "\" fill=\"none\" stroke=\"#222\" stroke-width=\"2\"/>\n" +
           text(8, energy_y + 60, "energy, sum");
    out += text(left + width - 4, energy_y + 14, number(r.joules) + " J", "text-anchor=\"end\"");
    double legend = left, legend_y = 585;
    for (plan_reason const why : {plan_reason::due, plan_reason::told, plan_reason::riding, plan_reason::cheap_link,
                                  plan_reason::gathering, plan_reason::better_link, plan_reason::offline}) {
        out += rect(legend, legend_y, 10, 10, colour(why), words(why));
        std::string_view const label = words(why);
        out += text(legend + 14, legend_y + 9, label, "style=\"font-size: 10px\"");
        legend += 290;
        if (legend > left + width - 250) {
            legend = left;
            legend_y += 18;
        }
    }
    out +=
        "</svg>\n<p>Hold the pointer over an exchange or a plan for its reasons.</p>\n<details><summary>Every exchange in words</summary>\n";
    for (exchange const& e : r.exchanges) {
        out += "<h3>" + clock(e.second) + ", " + number(e.joules) + " J, " + std::to_string(e.moved) +
               " moved</h3><pre>" + escape(to_text(e.plan, e.now)) + "</pre>\n";
    }
    return out + "</details></body></html>\n";
}

}  // namespace day
