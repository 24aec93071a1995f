// SPDX-License-Identifier: BSL-1.0

/// A Saturday in a ballroom with five weddings: an authority and three devices, each a process with an SQLite
/// file of its own, play the day over HTTP, mostly offline. README.md beside this file tells more.

#include <cstdio>

#if defined(_WIN32)

int main() {
    std::fputs("venue_day starts its devices by fork and exec: it needs a POSIX system\n", stderr);
    return 2;
}

#else

    #include <cerrno>
    #include <charconv>
    #include <csignal>
    #include <cstdlib>
    #include <cstring>
    #include <filesystem>
    #include <optional>
    #include <string>
    #include <string_view>
    #include <system_error>
    #include <vector>

    #include <sys/stat.h>
    #include <unistd.h>

    #include "plan.hpp"
    #include "play.hpp"
    #include "proof.hpp"
    #include "report.hpp"
    #include "roles.hpp"
    #include "terminal.hpp"

namespace venue {
namespace {

constexpr char const* usage =
    "usage: venue_day [--data DIR] [--dir DIR] [--devices N] [--ask] [--pace MS] [--quiet] [--golden]\n"
    "  --data DIR    folder with your own day.json and edits.json\n"
    "  --dir DIR     where the databases and report.html go; the default is a new temporary folder\n"
    "  --devices N   add staff tablets until there are N devices, at most 64\n"
    "  --ask         decide the conflicts yourself, at the terminal\n"
    "  --pace MS     a minute of the day takes at least so many milliseconds\n"
    "  --quiet       no progress\n"
    "  --golden      no progress, and nothing printed that differs from run to run\n";

struct arguments {
    std::string data = SYNCLINE_EXAMPLE_FOLDER;
    std::string folder;
    std::size_t devices = 0;
    bool golden = false;
    play_options play;
    std::string role;  ///< of a process that this program has started
    role_options as;
};

int complain(std::string const& what) {
    std::fflush(stdout);
    std::fprintf(stderr, "venue_day: %s\n", what.c_str());
    return 2;
}

template <class N>
bool number(std::string_view text, N& out) {
    auto const [end, e] = std::from_chars(text.data(), text.data() + text.size(), out);
    return e == std::errc{} && end == text.data() + text.size();
}

/// Nothing when the arguments are no good, or help was asked for; `code` is then the exit code.
std::optional<arguments> read_arguments(int argc, char** argv, int& code) {
    arguments a;
    std::vector<std::string> const given(argv + 1, argv + argc);
    for (std::size_t i = 0; i < given.size(); ++i) {
        std::string const& flag = given[i];
        if (flag == "--help" || flag == "-h") {
            std::fputs(usage, stdout);
            code = 0;
            return std::nullopt;
        }
        if (flag == "--ask" || flag == "--quiet" || flag == "--golden") {
            (flag == "--ask" ? a.play.ask : flag == "--quiet" ? a.play.quiet : a.golden) = true;
            continue;
        }
        std::string const value = i + 1 < given.size() ? given[++i] : "";
        bool good = !value.empty();
        if (flag == "--data") {
            a.data = value;
        } else if (flag == "--dir") {
            a.folder = value;
        } else if (flag == "--devices") {
            good = number(value, a.devices) && a.devices >= 1 && a.devices <= 64;
        } else if (flag == "--pace") {
            good = number(value, a.play.pace) && a.play.pace >= 0;
        } else if (flag == "--role") {
            a.role = value;
        } else if (flag == "--name") {
            a.as.name = value;
        } else if (flag == "--database") {
            a.as.database = value;
        } else if (flag == "--seed") {
            good = number(value, a.as.seed);
        } else if (flag == "--port") {
            good = number(value, a.as.port);
        } else if (flag == "--ahead") {
            good = number(value, a.as.ahead);
        } else if (flag == "--now") {
            good = number(value, a.as.now);
        } else {
            std::fputs(usage, stderr);
            code = complain("no option " + flag);
            return std::nullopt;
        }
        if (!good) {
            code = complain(flag + " can't be \"" + value + "\"");
            return std::nullopt;
        }
    }
    return a;
}

/// This program's own file, to run it again.
std::string own_path(char const* argv0) {
    char path[4096];
    ssize_t const n = readlink("/proc/self/exe", path, sizeof path);
    return n > 0 && static_cast<std::size_t>(n) < sizeof path ? std::string(path, static_cast<std::size_t>(n)) : argv0;
}

/// A folder for the databases, without those of an earlier day; false with a complaint.
bool prepare_folder(arguments& a, plan const& p, std::string& complaint) {
    if (a.folder.empty()) {
        std::error_code no_folder;
        std::string name = (std::filesystem::temp_directory_path(no_folder) / "venue_day.XXXXXX").string();
        if (no_folder) {
            complaint = "no folder for temporary files: " + no_folder.message();
            return false;
        }
        if (mkdtemp(name.data()) == nullptr) {
            complaint = name + ": " + std::strerror(errno);
            return false;
        }
        a.folder = name;
    } else if (mkdir(a.folder.c_str(), 0777) != 0 && errno != EEXIST) {
        complaint = a.folder + ": " + std::strerror(errno);
        return false;
    }
    a.play.folder = a.folder;
    std::vector<std::string> names{"authority"};
    for (device_plan const& d : p.devices) { names.push_back(d.name); }
    for (std::string const& name : names) {
        for (char const* const end : {"", "-wal", "-shm"}) {
            std::string const file = database_of(a.play, name) + end;
            if (unlink(file.c_str()) != 0 && errno != ENOENT) {
                complaint = file + ": " + std::strerror(errno);
                return false;
            }
        }
    }
    return true;
}

std::string text(std::uint64_t n) { return std::to_string(n); }
std::string kilobytes(std::uint64_t n) {
    char out[32];
    std::snprintf(out, sizeof out, "%.1f kB", static_cast<double>(n) / 1'000);
    return out;
}
std::string seconds(double s) {
    char out[32];
    std::snprintf(out, sizeof out, "%.2f s", s);
    return out;
}

void print_tables(plan const& p, history const& h, bool golden) {
    std::printf("%s, %s: %zu records put in by %s; the first exchange gave", p.venue.c_str(), p.date.c_str(),
                p.records.size(), p.devices[0].name.c_str());
    for (std::size_t i = 1; i < p.devices.size() && i < 6; ++i) {
        std::printf("%s %s %s", i == 1 ? "" : ",", p.devices[i].name.c_str(), text(h.first_pulled[i]).c_str());
    }
    std::printf("%s\n\n", p.devices.size() > 6 ? " ..." : "");

    std::vector<std::vector<std::string>> rows{{"", "edits", "coalesced", "undone", "no change", "refused", "pushed",
                                                "pulled", "merged", "conflicts", "rejected"}};
    if (!golden) { rows[0].insert(rows[0].end(), {"sent", "received", "time"}); }
    rows.emplace_back();
    auto const row = [&](std::string const& label, tally const& t) {
        std::vector<std::string> cells{
            label,          text(t.edits),  text(t.coalesced), text(t.annihilated), text(t.unchanged), text(t.refused),
            text(t.pushed), text(t.pulled), text(t.merged),    text(t.conflicts),   text(t.rejected)};
        if (!golden) { cells.insert(cells.end(), {kilobytes(t.sent), kilobytes(t.received), seconds(t.seconds)}); }
        rows.push_back(std::move(cells));
    };
    tally all;
    for (std::size_t i = 0; i < h.tallies.size(); ++i) {
        row(p.devices[i].label, h.tallies[i]);
        all += h.tallies[i];
    }
    rows.emplace_back();
    row("all", all);
    print_table(rows);
    std::printf("Decisions about conflicts, counted among the edits: %s. Exchanges: %s, without an answer: %s.\n",
                text(all.decisions).c_str(), text(all.exchanges).c_str(), text(all.failed).c_str());
    std::printf("Edits that were decided before the answer got lost, and counted once: %s.\n\n",
                text(all.again).c_str());

    rows = {{"decided by", "fields", "the writer's", "the confirmed", "both"}, {}};
    auto const count = [&](std::string const& label, rule_count const& n) {
        rows.push_back(
            {label, text(n.writers + n.confirmed + n.both), text(n.writers), text(n.confirmed), text(n.both)});
    };
    for (auto const& [rule, n] : h.rules) { count(rule, n); }
    for (auto const& [who, n] : h.deciders) { count("manual: " + who, n); }
    print_table(rows);

    if (!h.conflicts.empty()) { std::printf("\nConflicts\n"); }
    for (conflict_ended const& c : h.conflicts) {
        for (std::size_t i = 0; i < c.decisions.size(); ++i) {
            json const& f = c.conflict["fields"][i];
            std::string const field = f["field"];
            std::printf("  %s  %s, %s: \"%s\" or \"%s\"?  %s\n", show_time(c.at).c_str(),
                        c.conflict["title"].get<std::string>().c_str(), field.c_str(),
                        f["local"].get<std::string>().c_str(), f["remote"].get<std::string>().c_str(),
                        c.dismissed ? "nothing: the record is deleted"
                                    : ("\"" + c.after.value(field, std::string{"–"}) + "\", says " + c.who).c_str());
        }
    }
    if (!h.rejections.empty()) { std::printf("\nRejected\n"); }
    for (edit_rejected const& r : h.rejections) {
        std::printf("  %s  %s, %s: %s\n", show_time(r.at).c_str(), p.devices[r.device].label.c_str(),
                    r.rejection["title"].get<std::string>().c_str(), r.rejection["why"].get<std::string>().c_str());
    }
}

/// Every edit went exactly one way, and every database holds the same records.
bool prove(plan const& p, history const& h, play_options const& options, std::vector<contents>& all) {
    bool good = true;
    for (std::size_t i = 0; i < h.tallies.size(); ++i) {
        tally const& t = h.tallies[i];
        if (t.edits != t.unchanged + t.refused + t.coalesced + t.annihilated + t.pushed) {
            std::printf("%s: edits are missing\n", p.devices[i].label.c_str());
            good = false;
        }
    }
    all.push_back(contents_of("authority", database_of(options, "authority")));
    for (device_plan const& d : p.devices) { all.push_back(contents_of(d.name, database_of(options, d.name))); }
    std::printf("\nThe databases, read back from their files\n");
    for (contents const& c : all) {
        bool const same = c.failed.empty() && c.waiting == 0 && c.hash == all[0].hash;
        good = good && same;
        std::printf("  %s  %s records  sha256 %s  %s\n", pad(c.name + ".db", 18).c_str(), text(c.records).c_str(),
                    c.hash.c_str(),
                    !c.failed.empty() ? c.failed.c_str()
                    : c.waiting != 0  ? "something is left to send"
                    : same            ? "same"
                                      : "DIFFERENT");
    }
    std::printf(good ? "All %zu hold the same records; every edit is accounted for.\n"
                     : "The %zu databases do NOT hold the same records, or edits are missing.\n",
                all.size());
    return good;
}

int run(int argc, char** argv) {
    int code = 0;
    auto a = read_arguments(argc, argv, code);
    if (!a) { return code; }
    if (a->role == "authority") { return run_authority(a->as); }
    if (a->role == "device") { return run_device(a->as); }
    if (!a->role.empty()) { return complain("no role \"" + a->role + "\""); }

    std::string complaint;
    auto p = read_plan(a->data, complaint);
    if (!p) { return complain(complaint); }
    if (a->devices != 0 && a->devices < p->devices.size()) {
        return complain("edits.json names " + text(p->devices.size()) + " devices, more than --devices " +
                        text(a->devices));
    }
    add_staff(*p, a->devices);
    if (!prepare_folder(*a, *p, complaint)) { return complain(complaint); }

    a->play.program = own_path(argv[0]);
    a->play.quiet = a->play.quiet || a->golden;
    history h;
    if (!play(*p, a->play, h, complaint)) { return complain(complaint); }

    print_tables(*p, h, a->golden);
    std::vector<contents> all;
    bool const same = prove(*p, h, a->play, all);
    std::string const report = a->folder + "/report.html";
    if (!write_report(report, *p, h, all, complaint)) { return complain(complaint); }
    if (!a->golden) {
        std::printf("\nThe day took %s. Databases: %s  Report: %s\n", seconds(h.seconds).c_str(), a->folder.c_str(),
                    report.c_str());
    }
    return same ? 0 : 1;
}

}  // namespace
}  // namespace venue

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    return venue::run(argc, argv);
}

#endif
