// SPDX-License-Identifier: BSL-1.0
// A terminal that resolves conflicts: three values side by side, a suggestion with its reason, preview, decide, undo.
//
//     example_11_conflicts [--color] [SCRIPT]
//
// SCRIPT holds commands, separated by ";"; "-" reads them line by line from the keyboard. Without one it plays a short
// morning. Colours show at a terminal, or with --color.
//
//     list · show N · preview N local|remote|merge · take N local|remote|merge · set N FIELD TEXT · undo N · redo N
//     replay N last|max · auto PERCENT · history N · advice · quit

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
    #include <unistd.h>
#endif

#include <syncline/conflict.hpp>
#include <syncline/storage/memory.hpp>

using namespace syncline;

namespace {

memory_storage store;
wall_time now{milliseconds{1'790'000'000'000}};
std::uint64_t stamps = timestamp::make(now).raw;
bool colours = false;

// region: rules
collection_rules const rules{
    "bookings",
    rule::last_writer,
    {{"table", rule::manual}, {"status", rule::manual}, {"notes", rule::manual}, {"price", rule::manual}}};
conflict_queue const queue;
conflict_statistics const statistics;
learned_suggester model;  // in a program: loaded from the storage, and saved with each decision
// endregion: rules

char const* colour(char const* code) { return colours ? code : ""; }
char const* plain() { return colour("\x1b[0m"); }

std::string shown(std::optional<bytes_view> const& item) {
    if (!item) { return "(missing)"; }
    value_view const v(*item);
    if (auto const t = v.as_text()) { return std::string{*t}; }
    if (auto const n = v.as_int64()) { return std::to_string(*n); }
    return v.is_null() ? "(null)" : "0x" + to_hex(*item);
}
std::string cut(std::string s, std::size_t width) {
    if (s.size() > width) { s = s.substr(0, width - 1) + "~"; }
    return s + std::string(width - s.size(), ' ');
}
bytes text(std::string_view s) { return to_bytes(value{s}.encoded()); }
bytes record(std::vector<value_entry> const& entries) { return to_bytes(value::map(entries)->encoded()); }
timestamp next_stamp() { return timestamp{++stamps}; }
decision_maker ann() { return {as_bytes("ann"), next_stamp(), now, 1, false}; }

/// What a program would do with what a decision makes: send it. Here the record is the one that it makes.
std::map<std::string, row> records;

template <class F>
auto in_transaction(F&& f) {
    auto tx = store.begin(access_mode::write);
    auto out = f(*tx);
    if (out) { (void)tx->commit(); }
    return out;
}
void complain(failure const& f) {
    std::cout << "  not possible: " << message(f.code) << (f.detail[0] != '\0' ? ", " : "") << f.detail << '\n';
}

/// Somebody at the office changed what Ann changed on her tablet.
void clash(std::string_view id, std::vector<value_entry> const& base,
           std::vector<std::pair<std::string, value>> const& mine, std::vector<value_entry> const& theirs,
           std::vector<std::string> const& contested, int minutes_later, std::uint8_t role) {
    conflict c;
    c.record = {"bookings", id};
    c.base = record(base);
    c.local.record = c.record;
    c.local.stamp = next_stamp();
    c.local.sequence = stamps & 0xFFFF;
    c.local.base = 1;
    for (auto const& [f, v] : mine) { c.local.ops.push_back({f, op_kind::set, to_bytes(v.encoded()), c.local.stamp}); }
    timestamp const later{c.local.stamp.raw + (static_cast<std::uint64_t>(minutes_later) * 60'000 << 16U)};
    c.remote.emplace();
    c.remote->version = 2;
    c.remote->floor = {2, later, 2};
    c.remote->fields = record(theirs);
    for (std::string const& f : contested) { c.fields.push_back({{f}, rule::manual, "", 6, 2, {}}); }
    c.local_by = {to_bytes("ann"), c.local.stamp, 1};
    c.remote_by = {to_bytes("ben"), later, role};
    records[std::string{id}] = *c.remote;
    (void)in_transaction([&](auto& tx) -> status {
        auto const raised = queue.raise(tx, c, now);
        if (!raised) { return raised.error(); }
        if (auto ok = statistics.raised(tx, c); !ok) { return ok; }
        auto const all = suggest_all(tx, c, model, as_bytes("ann"), {});
        if (!all) { return all.error(); }
        return queue.suggest(tx, *raised, *all, now);
    });
}

// region: show
void show(std::uint64_t id) {
    auto tx = store.begin(access_mode::read);
    auto const c = queue.find(*tx, id);
    if (!c) { return complain(c.error()); }
    auto const mine = local_fields(*c);
    std::cout << "conflict " << id << ": " << c->record.id_text()
              << (c->state == conflict_state::open ? "" : " (decided)") << '\n';
    std::cout << "  " << cut("", 8) << cut("before", 18) << colour("\x1b[32m") << cut("ann (this side)", 22) << plain()
              << colour("\x1b[36m") << "ben (the other side)" << plain() << '\n';
    for (contested_field const& f : c->fields) {
        std::cout << "  " << cut(to_text(f.path), 8) << cut(shown(*value_at(c->base, f.path)), 18) << colour("\x1b[32m")
                  << cut(shown(*value_at(*mine, f.path)), 22) << plain() << colour("\x1b[36m")
                  << shown(*value_at(c->remote->fields, f.path)) << plain() << '\n';
        if (f.suggested) {
            std::cout << "          -> " << words(*f.suggested);
            if (f.suggested->what != conflict_action::ask) {
                std::cout << " (" << f.suggested->confidence * 100 / share_one << " %)";
            }
            std::cout << '\n';
        }
    }
}
// endregion: show

void print(bytes_view fields) {
    std::cout << "   ";
    for (cbor_map_cursor at(fields); at.next();) { std::cout << ' ' << at.key() << '=' << shown(at.value()) << ';'; }
    std::cout << '\n';
}

result<resolution> wanted(conflict const& c, std::string const& how) {
    if (how == "local") { return resolution::use_local(); }
    if (how == "remote") { return resolution::use_remote(); }
    if (how != "merge") { return failure{errc::invalid, "say local, remote or merge"}; }
    std::vector<field_decision> all;  // both where both fit, else this side's
    for (contested_field const& f : c.fields) {
        auto const mine = local_fields(c);
        auto const b = *value_at(c.base, f.path);
        auto const l = *value_at(*mine, f.path);
        auto const r = *value_at(c.remote->fields, f.path);
        all.push_back({f.path, b && l && r && combine(*b, *l, *r) ? field_take::merge : field_take::local, {}});
    }
    return resolution::merge_fields(std::move(all));
}
// region: preview
void preview(std::uint64_t id, std::string const& how) {
    auto tx = store.begin(access_mode::read);
    auto const c = queue.find(*tx, id);
    if (!c) { return complain(c.error()); }
    auto const wish = wanted(*c, how);
    if (!wish) { return complain(wish.error()); }
    auto const would = queue.preview(*tx, id, *wish, rules, ann());
    if (!would) { return complain(would.error()); }
    std::cout << "  it would be:\n";
    print(would->after->fields);
}
// endregion: preview
// region: take
result<settled> take(std::uint64_t id, resolution const& how) {
    return in_transaction([&](auto& tx) -> result<settled> {
        auto const c = queue.find(tx, id);
        if (!c) { return c.error(); }
        auto const done = queue.resolve(tx, id, c->revision, how, rules, ann());
        if (!done) { return done.error(); }
        // In the same transaction: what is sent, what is counted, what is learned.
        records[std::string{c->record.id_text()}] = *done->after;
        if (auto ok = statistics.decided(tx, *c, *done, rules, false); !ok) { return ok.error(); }
        if (auto ok = learn_from(model, *c, how, as_bytes("ann")); !ok) { return ok.error(); }
        if (auto ok = model.save(tx, as_bytes("km")); !ok) { return ok.error(); }
        return done;
    });
}
// endregion: take
void told(result<settled> const& done, char const* what) {
    if (!done) { return complain(done.error()); }
    std::cout << "  " << what << ", " << done->change.ops.size() << " operations go out:\n";
    print(done->after->fields);
}
void list() {
    auto tx = store.begin(access_mode::read);
    auto const n = queue.counts(*tx);
    std::cout << "  " << n->open << " open, " << n->decided << " decided\n";
    (void)queue.list(*tx, {}, [](conflict const& c) {
        std::cout << "  " << c.id << "  " << cut(std::string{c.record.id_text()}, 10);
        for (contested_field const& f : c.fields) { std::cout << ' ' << to_text(f.path); }
        std::cout << '\n';
        return true;
    });
}
void automatic(unsigned percent) {
    automatic_options o;
    o.threshold = share_one * percent / 100;
    o.fields = {{"bookings", "status", true, 0}};  // only a person decides about the status
    std::vector<std::uint64_t> open;
    auto tx = store.begin(access_mode::write);
    (void)queue.list(*tx, {}, [&](conflict const& c) {
        open.push_back(c.id);
        return true;
    });
    for (std::uint64_t const id : open) {
        auto const done = suggest_or_apply(queue, *tx, id, model, rules, o, ann());
        if (!done) {
            complain(done.error());
        } else if (*done) {
            if (auto const c = queue.find(*tx, id)) { records[std::string{c->record.id_text()}] = *(**done).after; }
            std::cout << "  " << id << " decided without asking\n";
        } else {
            std::cout << "  " << id << " waits for you\n";
        }
    }
    (void)tx->commit();
}
void history(std::uint64_t id) {
    auto tx = store.begin(access_mode::read);
    auto const all = queue.history(*tx, id);
    if (!all) { return complain(all.error()); }
    for (conflict_entry const& e : *all) {
        std::cout << "  " << e.number << ". " << name(e.what) << (e.automatic ? " without asking" : "");
        if (!e.by.empty()) { std::cout << " by " << as_text(e.by); }
        std::cout << '\n';
    }
}
void advice() {
    auto tx = store.begin(access_mode::read);
    auto const all = statistics.advice(*tx, 3);
    if (!all || all->empty()) { std::cout << "  no rule would have done\n"; }
    for (rule_advice const& a : *all) { std::cout << "  " << words(a) << '\n'; }
}

bool obey(std::string const& line) {
    std::istringstream in(line);
    std::string what, how, rest;
    std::uint64_t n = 0;
    in >> what;
    if (what.empty()) { return true; }
    std::cout << colour("\x1b[1m") << "> " << line << plain() << '\n';
    if (what != "list" && what != "advice" && what != "quit") { in >> n; }
    in >> how;
    std::getline(in >> std::ws, rest);
    now += milliseconds{60'000};
    if (what == "list") {
        list();
    } else if (what == "show") {
        show(n);
    } else if (what == "preview") {
        preview(n, how);
    } else if (what == "take" || what == "set" || what == "replay") {
        resolution decision;
        {
            auto tx = store.begin(access_mode::read);
            auto const c = queue.find(*tx, n);
            if (!c) {
                complain(c.error());
                return true;
            }
            if (what == "take") {
                auto const wish = wanted(*c, how);
                if (!wish) {
                    complain(wish.error());
                    return true;
                }
                decision = *wish;
            } else if (what == "set") {
                if (std::none_of(c->fields.begin(), c->fields.end(),
                                 [&](contested_field const& f) { return to_text(f.path) == how; })) {
                    complain({errc::invalid, "no such field waits for a decision"});
                    return true;
                }
                if (!valid_utf8(rest)) {
                    complain({errc::invalid, "not UTF-8"});
                    return true;
                }
                std::vector<field_decision> all;
                for (contested_field const& f : c->fields) {
                    bool const this_one = to_text(f.path) == how;
                    all.push_back(
                        {f.path, this_one ? field_take::custom : field_take::local, this_one ? text(rest) : bytes{}});
                }
                decision = resolution::merge_fields(std::move(all));
            } else if (how != "last" && how != "max") {
                complain({errc::invalid, "say last or max"});
                return true;
            } else if (auto const by = by_rule(*c, how == "max" ? rule::maximum : rule::last_writer, rules, 1)) {
                decision = *by;
            } else {
                complain(by.error());
                return true;
            }
        }
        told(take(n, decision), "decided");
    } else if (what == "undo" || what == "redo") {
        auto const done = in_transaction([&](auto& tx) -> result<settled> {
            auto const c = queue.find(tx, n);
            if (!c) { return c.error(); }
            row& current = records[std::string{c->record.id_text()}];
            auto got = what == "undo" ? queue.undo(tx, n, current, rules, ann())
                                      : queue.redo(tx, n, c->revision, rules, ann());
            if (got) { current = *got->after; }
            return got;
        });
        told(done, what == "undo" ? "undone" : "done again");
    } else if (what == "auto") {
        if (n == 0 || n > 100) {
            complain({errc::invalid, "say how sure, 1 to 100 percent"});
        } else {
            automatic(static_cast<unsigned>(n));
        }
    } else if (what == "history") {
        history(n);
    } else if (what == "advice") {
        advice();
    } else if (what == "quit") {
        return false;
    } else {
        std::cout << "  list · show N · preview N local|remote|merge · take N local|remote|merge · set N FIELD TEXT\n"
                     "  undo N · redo N · replay N last|max · auto PERCENT · history N · advice · quit\n";
    }
    return true;
}

void morning() {
    clash("dahl", {{"table", "hall"}, {"guests", 40}}, {{"table", "garden"}}, {{"table", "terrace"}, {"guests", 44}},
          {"table"}, 30, 2);
    clash("lund", {{"notes", "no nuts"}, {"status", "offered"}},
          {{"notes", "no nuts; cake at 9"}, {"status", "confirmed"}},
          {{"notes", "no nuts; a pram"}, {"status", "cancelled"}}, {"notes", "status"}, -20, 1);
    clash("berg", {{"table", "hall"}}, {{"table", "bar"}}, {{"table", "T4"}}, {"table"}, 5, 3);
    // The weeks before: Ann always kept her own table, newer or not, and always took the greater price.
    for (int i = 0; i < 24; ++i) {
        int const minutes = i % 4 < 2 ? 40 : -40;
        std::string const table = (i % 3 == 0 ? "A" : "Z") + std::to_string(i);
        clash("past" + std::to_string(i), {{"table", "hall"}}, {{"table", "T" + std::to_string(i)}}, {{"table", table}},
              {"table"}, minutes, static_cast<std::uint8_t>(i % 3));
        (void)take(static_cast<std::uint64_t>(4 + 2 * i), resolution::use_local());
        int const mine = 100 + i % 2 * 20;
        clash("past" + std::to_string(i), {{"price", 100}}, {{"price", mine}}, {{"price", 110}}, {"price"}, minutes, 1);
        (void)take(static_cast<std::uint64_t>(5 + 2 * i),
                   mine > 110 ? resolution::use_local() : resolution::use_remote());
    }
}

}  // namespace

int main(int argc, char** argv) {
    std::string script =
        "list;show 1;preview 1 local;take 1 local;undo 1;preview 1 remote;redo 1;history 1;show 2;preview 2 merge;"
        "set 2 status waiting;take 2 local;auto 80;advice";
#if defined(__unix__) || defined(__APPLE__)
    colours = isatty(1) != 0;
#endif
    bool by_hand = false;
    for (int i = 1; i < argc; ++i) {
        std::string_view const a = argv[i];
        if (a == "--color") {
            colours = true;
        } else if (a == "-") {
            by_hand = true;
        } else {
            script = a;
        }
    }
    morning();
    std::istringstream lines(script);
    for (std::string line; by_hand ? static_cast<bool>(std::getline(std::cin, line))
                                   : static_cast<bool>(std::getline(lines, line, ';'));) {
        if (!obey(line)) { break; }
    }
}
