// SPDX-License-Identifier: BSL-1.0

// Explores small scopes over storage in memory to the end, and prints what was visited. A failure is printed with the
// shortest way to it. `small_scopes [--list] [--scope NAME]... [--planted] [--quick]`

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <syncline/storage/memory.hpp>
#include <syncline/testing/small_scopes.hpp>

#include "simulation/small_scopes_planted.hpp"

namespace {

using namespace syncline;
using testing::scope_operation;
using testing::scope_options;
using testing::scope_start;

rule_table rules() {
    rule_table table;
    table.add({"things",
               rule::last_writer,
               {{"count", rule::counter},
                {"label", rule::last_writer},
                {"least", rule::minimum},
                {"ruled", rule::authority},
                {"asked", rule::manual}}});
    return table;
}
auto const memory = [] { return std::make_unique<memory_storage>(); };

scope_operation const create{"create", change_kind::create, {{"label", op_kind::set, {}}, {"count", op_kind::set, {}}}};
scope_operation const add{"add to count", change_kind::update, {{"count", op_kind::add, {}}}};
scope_operation const label{"set label", change_kind::update, {{"label", op_kind::set, {}}}};
scope_operation const unset{"unset label", change_kind::update, {{"label", op_kind::unset, {}}}};
scope_operation const ruled{"set ruled", change_kind::update, {{"ruled", op_kind::set, {}}}};
scope_operation const asked{"set asked", change_kind::update, {{"asked", op_kind::set, {}}}};
scope_operation const least{"set least", change_kind::update, {{"least", op_kind::set, {}}}};
scope_operation const several{"set label and asked, add to count",
                              change_kind::update,
                              {{"label", op_kind::set, {}}, {"asked", op_kind::set, {}}, {"count", op_kind::add, {}}}};
scope_operation const same{"set asked to 7", change_kind::update, {{"asked", op_kind::set, 7}}};
scope_operation const refused{"set what is refused", change_kind::update, {{"bad", op_kind::set, {}}}};
scope_operation const erase{"erase", change_kind::erase, {}};

std::vector<scope_options> scopes() {
    std::vector<scope_options> all;
    auto const scope = [&](char const* name, std::size_t devices, std::size_t operations, std::size_t records,
                           scope_start start, std::vector<scope_operation> alphabet = {}) -> scope_options& {
        scope_options o;
        o.name = name;
        o.devices = devices;
        o.operations = operations;
        o.records = records;
        o.start = start;
        o.alphabet = std::move(alphabet);
        all.push_back(std::move(o));
        return all.back();
    };
    // Two devices that hold the record, three writes of every kind.
    scope("two", 2, 3, 1, scope_start::met);
    // The same before they met the authority, with and without the record.
    scope("founded", 2, 2, 1, scope_start::founded);
    scope("nothing", 2, 3, 1, scope_start::nothing, {create, add, label, erase});
    // Two records.
    scope("records", 2, 3, 2, scope_start::met, {add, erase, create});
    // Three devices.
    scope("three", 3, 2, 1, scope_start::met, {create, add, label, asked, erase});
    scope("three, one write each", 3, 3, 1, scope_start::met, {add, erase}).each = 1;
    scope("three, two records", 3, 2, 2, scope_start::met, {add, erase});
    // Two messages under way in each direction, whichever and however late.
    scope("window", 2, 2, 1, scope_start::met, {add, asked, erase, create}).window = 2;
    // Several fields in one write, equal values, an unset field.
    scope("several", 2, 3, 1, scope_start::met, {several, same, unset, erase, create});
    // The authority refuses some.
    scope("refused", 2, 3, 1, scope_start::met, {refused, add, erase, create}).refused = "bad";
    // One of a page and one of a request.
    {
        scope_options& o = scope("narrow", 2, 3, 2, scope_start::met, {add, erase});
        o.rows_max = 1;
        o.mutations_max = 1;
    }
    // One clock is a minute ahead.
    scope("skewed", 2, 3, 1, scope_start::met, {label, erase, create}).skew = milliseconds{60'000};
    // Every reply reaches the other device too.
    scope("misdelivered", 2, 2, 1, scope_start::met).misdeliveries = true;
    // Each storage call of each step fails, before and after its effect.
    scope("faults", 2, 2, 1, scope_start::met).storage_faults = true;
    scope("faults, strangers", 2, 2, 1, scope_start::nothing, {create, add, erase}).storage_faults = true;
    scope("faults, three writes", 2, 3, 1, scope_start::met, {add, label, erase}).storage_faults = true;
    scope("faults, two records", 2, 2, 2, scope_start::met, {add, erase, create}).storage_faults = true;
    scope("faults, three devices", 3, 2, 1, scope_start::met, {add, erase}).storage_faults = true;
    return all;
}

scope_options for_planted() {
    scope_options o;
    o.name = "planted";
    o.operations = 2;
    o.records = 2;
    o.rows_max = 1;
    o.alphabet = {add, erase, create};
    return o;
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> wanted;
    bool planted_only = false;
    bool quick = false;
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--list") == 0) {
            for (scope_options const& o : scopes()) { std::printf("%s\n", o.name.c_str()); }
            return 0;
        }
        if (std::strcmp(argv[i], "--scope") == 0 && i + 1 < argc) {
            wanted.push_back(argv[++i]);
        } else if (std::strcmp(argv[i], "--planted") == 0) {
            planted_only = true;
        } else if (std::strcmp(argv[i], "--quick") == 0) {
            quick = true;
        } else {
            std::fprintf(stderr, "usage: %s [--list] [--scope NAME]... [--planted] [--quick]\n", argv[0]);
            return 2;
        }
    }
    int failures = 0;
    std::uint64_t states = 0, transitions = 0, leaves = 0, checks = 0, faults = 0, runs = 0;
    milliseconds time{0};
    std::printf(
        "Bounds: 2 or 3 devices and an authority, 1 to 3 writes in all, 1 or 2 records. Every order of writes,\n"
        "requests, answers and replies; each message lost, doubled or replayed; a device has up to `window`\n"
        "messages in each direction that may still come. Crashes between all steps; one unacknowledged commit;\n"
        "every storage call fails once in every step where faults are on. Reduced: steps of one node are run\n"
        "once for each state and message; records nobody wrote, and devices that never acted and have no number\n"
        "yet, stand for each other. Not within: clones and restored stores, person's decisions, time.\n\n");
    for (scope_options o : scopes()) {
        if (planted_only || (!wanted.empty() && std::find(wanted.begin(), wanted.end(), o.name) == wanted.end())) {
            continue;
        }
        if (quick) { o.operations = (std::min)(o.operations, std::size_t{2}); }
        auto const r = testing::explore(memory, rules(), o);
        std::printf("[%zu devices, %zu writes of %zu kinds, %zu records, window %zu]\n", o.devices, o.operations,
                    o.alphabet.empty() ? testing::scope_alphabet(rules().of("things")).size() : o.alphabet.size(),
                    o.records, o.window);
        std::fputs(testing::to_text(r).c_str(), stdout);
        std::fflush(stdout);
        failures += r.complete ? 0 : 1;
        states += r.states;
        transitions += r.transitions;
        leaves += r.leaves;
        checks += r.checked();
        faults += r.faulted();
        runs += r.library_steps;
        time += r.duration;
    }
    if (wanted.empty()) {
        for (planted::mistake const& m : planted::all()) {
            auto const r = testing::explore(memory, rules(), for_planted(), m);
            bool const found = r.broken && r.broken->axiom == testing::name(m.by());
            std::printf("planted %s: %s after %llu states\n", m.name(),
                        r.broken ? r.broken->axiom.c_str() : "NOT FOUND", static_cast<unsigned long long>(r.states));
            if (r.broken) { std::printf("  %s\n", r.broken->what.c_str()); }
            for (std::size_t i = 0; i < r.path.size(); ++i) { std::printf("    %zu. %s\n", i + 1, r.path[i].c_str()); }
            failures += found ? 0 : 1;
        }
    }
    auto const n = [](auto x) { return static_cast<unsigned long long>(x); };
    std::printf(
        "\n%llu states, %llu transitions, %llu leaves, %llu oracle checks, %llu storage faults, %llu library runs, "
        "%llu s: %s\n",
        n(states), n(transitions), n(leaves), n(checks), n(faults), n(runs), n(time.count() / 1000),
        failures == 0 ? "nothing is broken" : "BROKEN");
    return failures == 0 ? 0 : 1;
}
