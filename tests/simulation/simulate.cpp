// SPDX-License-Identifier: BSL-1.0
//
// Runs simulated worlds, one a seed, and judges them. `tests/simulate` builds and starts this.
//
// simulate [--seeds N] [--first S] [--jobs J] [--time SECONDS] [--steps N] what to run; without --seeds with --time: until then
//          [--plant NAME]          with a planted mistake: of the library (in the planted build), the host or the disk
//          [--story]               of one seed: everything that happened
//          [--keep 3,17,20]        of one seed: only these deeds and mishaps of its plan
//          [--machines N]          at most so many devices; [--without MASK] none of these faults: as a shrunk seed says
//          [--seeds-file FILE]     also the seeds in a file, one a line, what they found after them
//          [--trace FILE]          compares trace hashes with a file, or writes it with --update
//          [--prove [--limit N]]   looks for each planted mistake in up to N seeds, and prints the table
//          [--known FILE]          each planted mistake is found at the seed that the table names; --update writes it
// Exit: 0 nothing found (or, with a plant, found), 1 otherwise, 2 not understood.

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>

#include <syncline/testing/fleet_simulator.hpp>
#include <syncline/testing/outbox_simulator.hpp>
#include <syncline/testing/simulator.hpp>

#include "worlds.hpp"

#if __has_include(<syncline_plants.hpp>)
    #include <syncline_plants.hpp>
    #define SIMULATE_PLANTED 1
#else
    #define SIMULATE_PLANTED 0
#endif

namespace {

using namespace syncline;
using namespace syncline::testing;
using clock_type = std::chrono::steady_clock;

struct settings {
    std::uint64_t seeds = 0;
    std::uint64_t first = 1;
    unsigned jobs = 1;
    double seconds = 0;
    std::uint64_t limit = 10'000;
    bool story = false;
    bool prove = false;
    bool update = false;
    std::string plant, seeds_file, trace, known;
    simulation_options options{};
};

/// Of a seed: of its main worlds, and what happened in the others, by world and what.
struct seed_report : simulation_report {
    std::map<std::string, std::uint64_t> others{};
    std::uint64_t faults_of_others = 0;
};

/// Adds what a world of its own did and found.
bool found_alone(seed_report& r, char const* part, simulated_world_report const& alone) {
    r.steps += alone.steps;
    r.checks += alone.checks;
    r.trace ^= alone.trace;
    for (world_point const& p : alone.points) {
        r.others[std::string{part} + ": " + p.name] += p.count;
        r.faults_of_others += p.is_fault ? p.count : 0;
    }
    if (!alone.story.empty()) { r.story.push_back(std::string{"-- "} + part); }
    r.story.insert(r.story.end(), alone.story.begin(), alone.story.end());
    if (alone.found.empty()) { return false; }
    r.found = alone.found;
    r.found[0].what = std::string{"("} + part + " alone) " + r.found[0].what;
    return true;
}

/// Whether a long life is lived at a seed: at the first so many, and at each thirty-second.
bool lives_at(std::uint64_t seed, std::uint64_t first) { return seed <= first || seed % 32 == 0; }

simulated_world_report run_fleet(std::uint64_t seed, simulation_options const& o) {
    fleet_options life;
    life.only = o.only;
    life.tell = o.tell;
    fleet_report r = simulate_fleet(seed, life);
    return {r.steps,
            r.checks,
            r.trace,
            {{"exchange", r.exchanges},
             {"first version", r.first_version},
             {"later version", r.newer},
             {"mandatory feature", r.mandatory},
             {"brought up", r.upgrades},
             {"closed record", r.closed},
             {"forbidden", r.forbidden},
             {"held back", r.held_back},
             {"rot", r.rotted, true},
             {"healed", r.healed},
             {"put back", r.put_back},
             {"regressed", r.regressed},
             {"crash", r.crashes, true},
             {"failed call", r.faults, true},
             {"collected", r.collected},
             {"authority of the first version", r.first_authority},
             {"older authority", r.older_authority},
             {"unread", r.unread},
             {"in columns", r.in_columns},
             {"replaced authority", r.replaced}},
            std::move(r.found),
            std::move(r.story)};
}

/// A seed's worlds: devices with their authority, and an outbox, those of worlds.cpp and a fleet, each alone.
/// Of a later one, only where those before are as they should be; `alone` runs the outbox and nothing else.
seed_report simulate_worlds(std::uint64_t seed, simulation_options const& o, bool alone = false) {
    seed_report r;
    if (!alone) { static_cast<simulation_report&>(r) = simulate(seed, o); }
    if (!r.found.empty() || o.mistake != host_mistake::none) { return r; }
    simulation_report const second = simulate_outbox(seed, o);
    if (!second.found.empty()) {
        static_cast<simulation_report&>(r) = second;
        r.found[0].what = "(outbox alone) " + r.found[0].what;
        return r;
    }
    r.seed = seed;
    r.steps += second.steps;
    r.checks += second.checks;
    r.trace ^= second.trace;
    r.story.insert(r.story.end(), second.story.begin(), second.story.end());
    for (std::size_t i = 0; i < r.faults.size(); ++i) { r.faults[i] += second.faults[i]; }
    for (std::size_t i = 0; i < r.points.size(); ++i) { r.points[i] += second.points[i]; }
    if (alone) { return r; }
    for (simulated_world const& w : simulated_worlds()) {
        if (!lives_at(seed, w.seeds)) { continue; }
        if (found_alone(r, w.name, w.run(seed, {o.only, o.lie, o.tell}))) { return r; }
    }
    if (lives_at(seed, 4'000)) { (void)found_alone(r, "fleet", run_fleet(seed, o)); }
    return r;
}

[[noreturn]] void misunderstood(std::string const& what) {
    std::fprintf(stderr, "simulate: %s\n", what.c_str());
    std::exit(2);
}

/// Every planted mistake that this build has.
std::vector<std::string> plants() {
    std::vector<std::string> out;
    for (std::size_t i = 1; i < host_mistake_names.size(); ++i) {
        out.push_back(std::string{"host:"} + host_mistake_names[i]);
    }
    out.push_back("disk:forgets-synced");
    out.push_back("disk:tears-commits");
#if SIMULATE_PLANTED
    for (auto const& p : syncline_plants::all) { out.push_back(std::string{p.name}); }
#endif
    return out;
}

/// Makes a mistake happen from here on; false when there is none of that name.
bool sow(std::string const& name, simulation_options& o) {
    o.mistake = host_mistake::none;
    o.lie = disk_lie::none;
#if SIMULATE_PLANTED
    syncline_plants::all_off();
    auto const n = syncline_plants::find(name);
    if (n < syncline_plants::count) {
        syncline_plants::set(n, true);
        return true;
    }
#endif
    for (std::size_t i = 1; i < host_mistake_names.size(); ++i) {
        if (name == std::string{"host:"} + host_mistake_names[i]) { o.mistake = static_cast<host_mistake>(i); }
    }
    if (name == "disk:forgets-synced") { o.lie = disk_lie::forgets_synced; }
    if (name == "disk:tears-commits") { o.lie = disk_lie::tears_commits; }
    return name.empty() || o.mistake != host_mistake::none || o.lie != disk_lie::none;
}

struct totals {
    std::uint64_t seeds = 0, steps = 0, checks = 0, failures = 0;
    std::array<std::uint64_t, sim_fault_count> faults{};
    std::array<std::uint64_t, sim_point_count> points{};
    std::map<std::string, std::uint64_t> others{};
    std::uint64_t faults_of_others = 0;
    void add(seed_report const& r) {
        ++seeds;
        steps += r.steps;
        checks += r.checks;
        failures += r.found.empty() ? 0 : 1;
        for (std::size_t i = 0; i < faults.size(); ++i) { faults[i] += r.faults[i]; }
        for (std::size_t i = 0; i < points.size(); ++i) { points[i] += r.points[i]; }
        for (auto const& [what, n] : r.others) { others[what] += n; }
        faults_of_others += r.faults_of_others;
    }
    void print(double seconds) const {
        std::printf("faults:");
        for (std::size_t i = 0; i < faults.size(); ++i) {
            std::printf("%s %s %llu", i == 0 ? "" : ",", sim_fault_names[i],
                        static_cast<unsigned long long>(faults[i]));
        }
        std::size_t reached = 0;
        std::string never;
        auto const look = [&](auto const& counts, auto const& names) {
            for (std::size_t i = 0; i < counts.size(); ++i) {
                reached += counts[i] != 0 ? 1 : 0;
                if (counts[i] == 0) { never += (never.empty() ? "" : ", ") + std::string{names[i]}; }
            }
        };
        look(faults, sim_fault_names);
        look(points, sim_point_names);
        for (auto const& [what, n] : others) {
            reached += n != 0 ? 1 : 0;
            if (n == 0) { never += (never.empty() ? "" : ", ") + what; }
        }
        std::printf(", in worlds of their own %llu\nreached %zu of %zu points%s%s\n",
                    static_cast<unsigned long long>(faults_of_others), reached,
                    faults.size() + points.size() + others.size(), never.empty() ? "" : "; never: ", never.c_str());
        std::uint64_t injected = faults_of_others;
        for (std::uint64_t const n : faults) { injected += n; }
        std::printf(
            "seeds %llu, steps %llu, faults %llu, checks %llu, failures %llu; %.1f s, %.0f seeds/s, %.0f steps/s\n",
            static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(steps),
            static_cast<unsigned long long>(injected), static_cast<unsigned long long>(checks),
            static_cast<unsigned long long>(failures), seconds, static_cast<double>(seeds) / seconds,
            static_cast<double>(steps) / seconds);
    }
};

std::string list(std::vector<std::uint32_t> const& numbers) {
    std::string out;
    for (std::uint32_t const n : numbers) { out += (out.empty() ? "" : ",") + std::to_string(n); }
    return out;
}

void print_shrunk(std::uint64_t steps, std::vector<std::uint32_t> const& kept, std::vector<std::string> const& story) {
    std::printf("shrunk to %zu of %llu steps: --keep %s\n", kept.size(), static_cast<unsigned long long>(steps),
                list(kept).c_str());
    for (std::string const& line : story) { std::printf("  %s\n", line.c_str()); }
}

/// The options that a shrunk seed has, as arguments.
std::string narrowed(simulation_options const& o) {
    std::string out;
    if (o.machines_max != simulation_options{}.machines_max) { out += " --machines " + std::to_string(o.machines_max); }
    if (o.faults_off != 0) {
        std::array<char, 32> mask{};
        std::snprintf(mask.data(), mask.size(), " --without 0x%llx", static_cast<unsigned long long>(o.faults_off));
        out += mask.data();
    }
    if (o.only) { out += " --keep " + list(*o.only); }
    return out;
}

/// What failed, shrunk to the few deeds and mishaps that it takes, as a story.
void explain(settings const& s, simulation_report const& failed) {
    std::string how = s.plant.empty() ? "" : " --plant " + s.plant;
    if (s.options.steps != simulation_options{}.steps) { how += " --steps " + std::to_string(s.options.steps); }
    how += narrowed(s.options);
    std::printf("\nseed %llu: %s: %s\nrepeat: tests/simulate --first %llu --seeds 1%s\n",
                static_cast<unsigned long long>(failed.seed), failed.found[0].axiom.c_str(),
                failed.found[0].what.c_str(), static_cast<unsigned long long>(failed.seed), how.c_str());
    std::string const& what = failed.found[0].what;
    if (what.rfind("(fleet alone)", 0) == 0) {
        fleet_options life;
        life.only = s.options.only;
        fleet_report const again = simulate_fleet(failed.seed, life);
        if (again.found.empty()) { return; }
        life = shrink_fleet(again, life);
        life.tell = true;
        print_shrunk(again.steps, *life.only, simulate_fleet(failed.seed, life).story);
        return;
    }
    for (simulated_world const& w : simulated_worlds()) {
        if (what.rfind(std::string{"("} + w.name + " alone)", 0) != 0) { continue; }
        told_world const told = w.explain(failed.seed, {s.options.only, s.options.lie});
        if (told.steps != 0) { print_shrunk(told.steps, told.kept, told.story); }
        return;
    }
    bool const alone = what.rfind("(outbox alone)", 0) == 0;
    if (what[0] == '(' && !alone) { return; }
    shrinking_budget budget;
    if (alone) { budget = {4 * budget.runs, 4 * budget.steps}; }  // an outbox's life is short, and has many steps
    simulation_options o = shrink_simulation(
        failed, s.options, [&](simulation_options const& tried) { return simulate_worlds(failed.seed, tried, alone); },
        budget);
    o.tell = true;
    auto const told = simulate_worlds(failed.seed, o, alone);
    std::printf("shrunk to %zu of %u planned deeds and mishaps, %llu events:%s\n", o.only->size(), failed.planned,
                static_cast<unsigned long long>(told.steps), narrowed(o).c_str());
    for (std::string const& line : told.story) { std::printf("  %s\n", line.c_str()); }
}

/// Runs seeds on several threads; `each` hears of one report at a time, in no order, and says whether to go on.
void run(settings const& s, std::vector<std::uint64_t> const& named,
         std::function<bool(seed_report const&)> const& each) {
    auto const start = clock_type::now();
    std::atomic<std::uint64_t> next{0};
    std::atomic<bool> stop{false};
    std::mutex hearing;
    auto const work = [&] {
        while (!stop) {
            std::uint64_t const n = next++;
            std::uint64_t const seed = n < named.size() ? named[n] : s.first + (n - named.size());
            bool const over = s.seeds == 0 ? s.seconds <= 0 : n >= named.size() + s.seeds;
            bool const late =
                s.seconds > 0 && std::chrono::duration<double>(clock_type::now() - start).count() > s.seconds;
            if (n >= named.size() && (over || late)) { return; }
            auto const r = simulate_worlds(seed, s.options);
            std::lock_guard const lock{hearing};
            if (!each(r)) { stop = true; }
        }
    };
    std::vector<std::thread> threads;
    for (unsigned i = 1; i < s.jobs; ++i) { threads.emplace_back(work); }
    work();
    for (auto& t : threads) { t.join(); }
}

std::vector<std::pair<std::string, std::string>> lines_of(std::string const& file) {
    std::ifstream in{file};
    if (!in) { misunderstood(file + " can't be read"); }
    std::vector<std::pair<std::string, std::string>> out;
    for (std::string line; std::getline(in, line);) {
        if (line.empty() || line[0] == '#') { continue; }
        std::istringstream words{line};
        std::string first, rest;
        words >> first;
        std::getline(words >> std::ws, rest);
        out.emplace_back(first, rest);
    }
    return out;
}

/// For each planted mistake the first seed that shows it.
int prove(settings s) {
    std::size_t found = 0;
    std::vector<std::string> missed;
    std::string table;
    for (std::string const& name : plants()) {
        (void)sow(name, s.options);
        auto const start = clock_type::now();
        settings one = s;
        one.seeds = s.limit;
        std::optional<simulation_report> hit;
        run(one, {}, [&](simulation_report const& r) {
            if (!r.found.empty() && (!hit || r.seed < hit->seed)) { hit = r; }
            return !hit;
        });
        double const seconds = std::chrono::duration<double>(clock_type::now() - start).count();
        if (hit) {
            ++found;
            std::printf("%-40s seed %6llu  %7.2f s  %s\n", name.c_str(), static_cast<unsigned long long>(hit->seed),
                        seconds, hit->found[0].axiom.c_str());
            table += name + ' ' + std::to_string(hit->seed) + ' ' + hit->found[0].axiom + '\n';
        } else {
            missed.push_back(name);
            std::printf("%-40s NOT FOUND  %7.2f s\n", name.c_str(), seconds);
            table += name + " - -\n";
        }
        std::fflush(stdout);
    }
    std::size_t const all = found + missed.size();
    std::printf("found %zu of %zu planted mistakes within %llu seeds each\n", found, all,
                static_cast<unsigned long long>(s.limit));
    if (!s.known.empty() && s.update) {
        std::ofstream out{s.known};
        out << "# Each planted mistake, a seed that shows it, and the invariant that it is seen to break first.\n"
            << table;
    }
    return found * 100 >= all * 95 ? 0 : 1;
}

int known(settings s) {
    std::size_t wrong = 0;
    std::set<std::string> listed;
    std::size_t checked = 0;
    for (auto const& [name, rest] : lines_of(s.known)) {
        listed.insert(name);
        std::istringstream words{rest};
        std::uint64_t seed = 0;
        std::string axiom;
        if (!(words >> seed >> axiom)) { continue; }  // one that no seed has shown yet
        if (!sow(name, s.options)) {
            std::printf("%s: no such mistake is planted\n", name.c_str());
            ++wrong;
            continue;
        }
        ++checked;
        auto const r = simulate_worlds(seed, s.options);
        if (r.found.empty()) {
            std::printf("%s: not found at its seed %llu\n", name.c_str(), static_cast<unsigned long long>(seed));
            ++wrong;
        } else if (r.found[0].axiom != axiom) {
            std::printf("%s: breaks %s at its seed %llu, and not %s\n", name.c_str(), r.found[0].axiom.c_str(),
                        static_cast<unsigned long long>(seed), axiom.c_str());
            ++wrong;
        }
    }
    for (std::string const& name : plants()) {
        if (listed.count(name) == 0) {
            std::printf("%s: planted, and not in the table\n", name.c_str());
            ++wrong;
        }
    }
    std::printf("%zu planted mistakes, each at its known seed: %zu wrong\n", checked, wrong);
    return wrong == 0 && checked != 0 ? 0 : 1;
}

int traces(settings s) {
    std::string now;
    std::array<char, 64> line{};
    for (std::uint64_t seed = s.first; seed < s.first + s.seeds; ++seed) {
        auto const once = simulate_worlds(seed, s.options);
        auto const twice = simulate_worlds(seed, s.options);
        if (once.trace != twice.trace) {
            std::printf("seed %llu: two runs, two traces\n", static_cast<unsigned long long>(seed));
            return 1;
        }
        std::snprintf(line.data(), line.size(), "%llu %016llx\n", static_cast<unsigned long long>(seed),
                      static_cast<unsigned long long>(once.trace));
        now += line.data();
    }
    if (s.update) {
        std::ofstream{s.trace} << now;
        return 0;
    }
    std::ifstream in{s.trace};
    std::string const kept{std::istreambuf_iterator<char>{in}, {}};
    if (kept == now) {
        std::printf("%llu seeds, each twice: the traces of %s\n", static_cast<unsigned long long>(s.seeds),
                    s.trace.c_str());
        return 0;
    }
    std::printf(
        "the traces differ from those in %s; after a change of the library or the simulator, write them anew "
        "with --update\n%s",
        s.trace.c_str(), now.c_str());
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    settings s;
    for (int i = 1; i < argc; ++i) {
        std::string const a = argv[i];
        auto const value = [&]() -> std::string {
            if (i + 1 >= argc) { misunderstood(a + " wants a value"); }
            return argv[++i];
        };
        auto const read = [&](std::string const& v, int base = 10) -> std::uint64_t {
            char* end = nullptr;
            errno = 0;
            auto const n = std::strtoull(v.c_str(), &end, base);
            if (v.empty() || v[0] < '0' || v[0] > '9' || *end != '\0' || errno != 0) {
                misunderstood(a + " wants a number, not " + v);
            }
            return n;
        };
        auto const number = [&] { return read(value()); };
        if (a == "--seeds") {
            s.seeds = number();
        } else if (a == "--first") {
            s.first = number();
        } else if (a == "--jobs") {
            s.jobs = static_cast<unsigned>((std::max)(std::uint64_t{1}, (std::min)(number(), std::uint64_t{256})));
        } else if (a == "--time") {
            s.seconds = static_cast<double>(number());
        } else if (a == "--steps") {
            s.options.steps = static_cast<std::size_t>(number());
        } else if (a == "--limit") {
            s.limit = number();
        } else if (a == "--plant") {
            s.plant = value();
        } else if (a == "--story") {
            s.story = true;
        } else if (a == "--keep") {
            std::vector<std::uint32_t> kept;
            std::istringstream in{value()};
            for (std::string n; std::getline(in, n, ',');) { kept.push_back(static_cast<std::uint32_t>(read(n))); }
            std::sort(kept.begin(), kept.end());
            s.options.only = kept;
        } else if (a == "--machines") {
            s.options.machines_max = static_cast<std::size_t>(number());
        } else if (a == "--without") {
            s.options.faults_off = read(value(), 16);
        } else if (a == "--seeds-file") {
            s.seeds_file = value();
        } else if (a == "--trace") {
            s.trace = value();
        } else if (a == "--known") {
            s.known = value();
        } else if (a == "--prove") {
            s.prove = true;
        } else if (a == "--update") {
            s.update = true;
        } else if (a == "--plants") {
            for (std::string const& name : plants()) { std::printf("%s\n", name.c_str()); }
            return 0;
        } else {
            misunderstood("what is " + a + "?");
        }
    }
    if (s.prove) { return prove(s); }
    if (!s.known.empty()) { return known(s); }
    if (s.seeds == 0 && s.seconds <= 0) { s.seeds = 100; }
    if (!s.trace.empty()) { return traces(s); }
    if (!sow(s.plant, s.options)) { misunderstood("no such mistake is planted in this build: " + s.plant); }

    std::vector<std::uint64_t> named;
    if (!s.seeds_file.empty()) {
        for (auto const& [seed, why] : lines_of(s.seeds_file)) {
            named.push_back(std::strtoull(seed.c_str(), nullptr, 10));
        }
    }
    if (s.story) {
        s.options.tell = true;
        auto const r = simulate_worlds(s.first, s.options);
        for (std::string const& line : r.story) { std::printf("%s\n", line.c_str()); }
        std::printf("trace %016llx\n", static_cast<unsigned long long>(r.trace));
        return r.found.empty() ? 0 : 1;
    }
    auto const start = clock_type::now();
    auto shown = start;
    totals all;
    std::optional<simulation_report> worst;
    run(s, named, [&](seed_report const& r) {
        all.add(r);
        if (!r.found.empty()) {
            std::printf("seed %llu: %s: %s\n", static_cast<unsigned long long>(r.seed), r.found[0].axiom.c_str(),
                        r.found[0].what.c_str());
            if (!worst || r.seed < worst->seed) { worst = r; }
        }
        if (clock_type::now() - shown > std::chrono::seconds{10}) {
            shown = clock_type::now();
            std::printf("... %llu seeds, %llu failures\n", static_cast<unsigned long long>(all.seeds),
                        static_cast<unsigned long long>(all.failures));
            std::fflush(stdout);
        }
        return s.plant.empty() || r.found.empty();
    });
    if (worst) { explain(s, *worst); }
    all.print(std::chrono::duration<double>(clock_type::now() - start).count());
    if (!s.plant.empty()) { return worst ? 0 : 1; }
    return worst ? 1 : 0;
}
