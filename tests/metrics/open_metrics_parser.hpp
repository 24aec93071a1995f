// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A strict reader of the OpenMetrics 1.0 text format, written after the specification's grammar and its rules for each
/// type, and of the older Prometheus format. It knows nothing of the writer.

#include <cctype>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace open_metrics {

struct sample {
    std::string name;
    std::map<std::string, std::string> labels;
    double value = 0;
    std::string text;  ///< the value as written
};
struct family {
    std::string name, type, unit, help;
    std::vector<sample> samples;
};

/// What is wrong with a text, empty if nothing; its families.
class parser {
public:
    parser(std::string_view text, bool open) : rest_(text), open_(open) { read(); }
    std::string error;
    std::vector<family> families;

private:
    static bool name_start(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' || c == ':'; }
    static bool name_char(char c) { return name_start(c) || std::isdigit(static_cast<unsigned char>(c)) != 0; }
    void wrong(std::string what) {
        if (error.empty()) { error = std::move(what); }
    }
    bool take(std::string_view s) {
        if (rest_.substr(0, s.size()) != s) { return false; }
        rest_.remove_prefix(s.size());
        return true;
    }
    std::string name(bool label) {
        std::string out;
        if (rest_.empty() || !name_start(rest_[0]) || (label && rest_[0] == ':')) {
            return wrong("a name is missing"), out;
        }
        while (!rest_.empty() && name_char(rest_[0]) && !(label && rest_[0] == ':')) {
            out += rest_[0];
            rest_.remove_prefix(1);
        }
        return out;
    }
    void read() {
        if (rest_.find('\r') != std::string_view::npos) { return wrong("a carriage return"); }
        bool ended = false;
        while (!rest_.empty() && error.empty()) {
            if (ended) { return wrong("something after EOF"); }
            if (take("# ")) {
                if (open_ && take("EOF")) {
                    if (!rest_.empty() && !take("\n")) { return wrong("EOF isn't alone"); }
                    ended = true;
                    continue;
                }
                descriptor();
            } else {
                sample_line();
            }
        }
        if (error.empty() && open_ && !ended) { wrong("no EOF"); }
        for (family const& f : families) { check(f); }
    }
    void descriptor() {
        std::string const kind = take("TYPE ") ? "TYPE" : take("HELP ") ? "HELP" : take("UNIT ") && open_ ? "UNIT" : "";
        if (kind.empty()) { return wrong("a comment that is no metadata"); }
        std::string const who = name(false);
        if (families.empty() || families.back().name != who || !families.back().samples.empty()) {
            if (!names_.insert(who).second) { return wrong("interleaved: " + who); }
            families.push_back({who, "", "", "", {}});
            seen_.clear();
        }
        if (!seen_.insert(kind).second) { return wrong("metadata twice: " + who); }
        if (kind == "UNIT" && seen_.count("HELP") != 0) { return wrong("the order is TYPE, UNIT, HELP"); }
        if (!take(" ")) { return wrong("a space is missing"); }
        std::size_t const end = rest_.find('\n');
        if (end == std::string_view::npos) { return wrong("no end of line"); }
        std::string const text(rest_.substr(0, end));
        rest_.remove_prefix(end + 1);
        family& f = families.back();
        if (kind == "TYPE") {
            std::set<std::string> const types{"counter",  "gauge", "histogram", "gaugehistogram",
                                              "stateset", "info",  "summary",   "unknown"};
            if (types.count(text) == 0) { return wrong("no type: " + text); }
            f.type = text;
        } else if (kind == "UNIT") {
            f.unit = text;
            if (!text.empty() &&
                (f.name.size() <= text.size() + 1 || f.name.substr(f.name.size() - text.size() - 1) != "_" + text)) {
                wrong("the unit is no suffix: " + f.name);
            }
        } else {
            for (std::size_t i = 0; i < text.size(); ++i) {
                if (text[i] == '"' && open_) { return wrong("an unescaped quote in HELP"); }
                if (text[i] != '\\') { continue; }
                if (++i == text.size() || (text[i] != 'n' && text[i] != '\\' && text[i] != '"')) {
                    return wrong("an escape in HELP");
                }
            }
            f.help = text;
        }
    }
    void sample_line() {
        sample s;
        s.name = name(false);
        if (take("{")) {
            for (bool first = true; !take("}"); first = false) {
                if (!first && !take(",")) { return wrong("a comma is missing"); }
                std::string const label = name(true);
                if (!take("=\"")) { return wrong("a label's value is missing"); }
                std::string value;
                while (!take("\"")) {
                    if (rest_.empty() || rest_[0] == '\n') { return wrong("a label that doesn't end"); }
                    char c = rest_[0];
                    rest_.remove_prefix(1);
                    if (c == '\\') {
                        if (rest_.empty() || (rest_[0] != 'n' && rest_[0] != '"' && rest_[0] != '\\')) {
                            return wrong("an escape");
                        }
                        c = rest_[0] == 'n' ? '\n' : rest_[0];
                        rest_.remove_prefix(1);
                    }
                    value += c;
                }
                if (!s.labels.emplace(label, value).second) { return wrong("a label twice"); }
            }
        }
        if (!take(" ")) { return wrong("a space is missing before the value"); }
        std::size_t const end = rest_.find('\n');
        if (end == std::string_view::npos) { return wrong("no end of line"); }
        s.text = std::string(rest_.substr(0, end));
        rest_.remove_prefix(end + 1);
        if (!number(s.text)) { return wrong("no number: " + s.text); }
        s.value = std::strtod(s.text.c_str(), nullptr);
        if (families.empty()) { return wrong("a sample without its family"); }
        families.back().samples.push_back(s);
    }
    /// realnumber of the grammar, without infinities.
    static bool number(std::string const& s) {
        std::size_t i = 0, digits = 0;
        if (i < s.size() && (s[i] == '+' || s[i] == '-')) { ++i; }
        for (; i < s.size() && std::isdigit(static_cast<unsigned char>(s[i])) != 0; ++i) { ++digits; }
        if (i < s.size() && s[i] == '.') {
            for (++i; i < s.size() && std::isdigit(static_cast<unsigned char>(s[i])) != 0; ++i) { ++digits; }
        }
        if (digits == 0) { return false; }
        if (i < s.size() && s[i] == 'e') {
            ++i;
            if (i < s.size() && (s[i] == '+' || s[i] == '-')) { ++i; }
            if (i == s.size()) { return false; }
            for (; i < s.size() && std::isdigit(static_cast<unsigned char>(s[i])) != 0; ++i) {}
        }
        return i == s.size();
    }
    void check(family const& f) {
        std::set<std::string> unique;
        std::string base = f.name;
        if (!open_ && f.type == "counter" && base.size() > 6) { base.resize(base.size() - 6); }
        for (sample const& s : f.samples) {
            std::string key = s.name;
            for (auto const& [k, v] : s.labels) { key += '|' + k + '=' + v; }
            if (!unique.insert(key).second) { return wrong("a sample twice: " + key); }
            if (f.type == "counter") {
                if (s.name != base + "_total") { return wrong("a counter's sample is _total: " + s.name); }
                if (s.value < 0) { return wrong("a negative counter"); }
            } else if (f.type == "gauge") {
                if (s.name != base) { return wrong("a gauge has no suffix: " + s.name); }
            } else if (f.type == "histogram") {
                if (s.name != base + "_bucket" && s.name != base + "_count" && s.name != base + "_sum") {
                    return wrong("no part of a histogram: " + s.name);
                }
                if ((s.labels.count("le") != 0) != (s.name == base + "_bucket")) {
                    return wrong("le belongs to buckets");
                }
            }
        }
        if (f.type == "histogram") { check_histogram(f, base); }
    }
    void check_histogram(family const& f, std::string const& base) {
        double last_bound = -1, last = 0, infinite = -1, count = -1;
        bool sum = false;
        for (sample const& s : f.samples) {
            if (s.name == base + "_count") { count = s.value; }
            sum = sum || s.name == base + "_sum";
            if (s.name != base + "_bucket") { continue; }
            std::string const le = s.labels.at("le");
            double const bound = le == "+Inf" ? 1e300 : std::strtod(le.c_str(), nullptr);
            if (le != "+Inf" && le.find('.') == std::string::npos && le.find('e') == std::string::npos) {
                return wrong("le isn't canonical: " + le);
            }
            if (bound <= last_bound) { return wrong("buckets out of order"); }
            if (s.value < last) { return wrong("buckets that are not cumulative"); }
            last_bound = bound;
            last = s.value;
            if (le == "+Inf") { infinite = s.value; }
        }
        if (infinite < 0 || infinite != count || !sum) { wrong("+Inf and _count differ, or are missing: " + f.name); }
    }

    std::string_view rest_;
    bool open_;
    std::set<std::string> names_, seen_;
};

}  // namespace open_metrics
