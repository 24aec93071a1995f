// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Adoptions in a simulated world: devices that share a full store bring in tables of their own, at once and again, while
/// records and tables go on changing. The judge merges naively, from its own copy of the tables.
/// In some lives natural keys are renamed, here and in the tables; in some each device has two sources, one after the other.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/conflict/queue.hpp>
#include <syncline/conflict/resolution.hpp>
#include <syncline/replica/adoption.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/conflict_desk.hpp>
#include <syncline/replica/constraints.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/testing/small_world.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What adoption promises, by the names under which a breach is reported.
struct adoption_promise {
    /// What is told of a row is what a naive merge of the two sides makes of it, and what is stored then; nothing else is.
    static constexpr char const* merged = "lawful_merge";
    /// A dry run changes no byte, and tells what the run then does.
    static constexpr char const* foretold = "dry_run";
    /// In each run a row has one outcome, and what is adopted and not changed is left alone.
    static constexpr char const* once = "exactly_once";
    /// No record is created beside one that has its natural key; at rest none live side by side where that may not be.
    static constexpr char const* unique = "natural_key";
    /// A reference leads to the record that its row has become, at rest to none that never was.
    static constexpr char const* referred = "references";
    /// At rest what a table has is in its record, was there, is in a conflict or in a letter, or lost as was told; and what
    /// nothing stands against is not refused.
    static constexpr char const* kept = "nothing_lost";
    static constexpr char const* agreed = "convergence";  ///< at rest all hold what the authority holds
};

struct adoption_simulation_options {
    std::uint32_t steps = 120;
    bool tell = false;   ///< write the story
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct adoption_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t faults = 0;  ///< storage calls that were made to fail
    std::uint64_t power_cuts = 0;
    std::uint64_t dry_runs = 0;
    std::uint64_t foretold = 0;  ///< rows that came as a dry run had told
    std::uint64_t stopped = 0;   ///< steps for which there was no room
    adoption_counts rows{};      ///< by their outcomes, each time one had one
    std::uint64_t again = 0;     ///< … of these, of a row that had had one
    std::uint64_t decided = 0;   ///< conflicts
    std::uint64_t renamed = 0;   ///< natural keys, of records and of rows
    std::uint64_t sources = 0;   ///< that took another one's turn
    std::uint64_t dead = 0;      ///< dead letters at the end
    std::uint64_t trace = 0;     ///< of all messages: the same on every machine
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

namespace detail {

using naive_map = std::map<std::string, bytes>;

/// A program's tables from before it synchronised. Their names may be written in many ways: it tells them in one.
struct own_tables {
    struct line {
        naive_map fields{};
        std::optional<wall_time> written{};
        bool renamed = false;  ///< its natural key was another one
    };
    std::map<std::string, std::map<std::string, line>> all{};
    bool folds = false;  ///< names are told in small letters

    [[nodiscard]] bytes told(line const& l) const {
        naive_map f = l.fields;
        auto const name = f.find("name");
        if (folds && name != f.end()) {
            cbor_reader in{name->second};
            std::string s{in.text()};
            for (char& c : s) { c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
            name->second = small_text(s);
        }
        return small_fields(f);
    }
    [[nodiscard]] status scan(std::string_view collection, bytes_view after,
                              function_ref<bool(source_record const&)> visit) const {
        auto const table = all.find(std::string{collection});
        if (table == all.end()) { return {}; }
        for (auto at = table->second.upper_bound(std::string{as_text(after)}); at != table->second.end(); ++at) {
            bytes const fields = told(at->second);
            if (!visit({as_bytes(at->first), fields, at->second.written})) { break; }
        }
        return {};
    }
    [[nodiscard]] std::size_t size() const {
        std::size_t n = 0;
        for (auto const& [name, table] : all) { n += table.size(); }
        return n;
    }
};
static_assert(adoption_source<own_tables>);

/// A row and what became of it, as a step tells it.
struct heard_row {
    std::pair<std::string, std::string> source{};
    std::string target{};
    adopted how{};
    bytes before{};
    bytes after{};
    std::vector<std::string> contested{};
    errc why{};
    friend bool operator==(heard_row const&, heard_row const&) = default;

    heard_row() = default;
    explicit heard_row(adopted_row const& r)
        : source(r.source.collection, std::string{r.source.id_text()}),
          target(r.target.id_text()),
          how(r.how),
          before(to_bytes(r.before)),
          after(to_bytes(r.after)),
          contested(r.contested),
          why(r.why.code) {}
};

/// The parts come first: the replica's journal is one of them.
struct adopting_parts {
    conflict_queue queue{};
    conflict_desk desk;
    std::array<adoption, 2> tills;  ///< of one source each
    adopting_parts(rule_table const& rules, adoption_plan first, adoption_plan second)
        : desk(queue, rules), tills{adoption{std::move(first), queue}, adoption{std::move(second), queue}} {}
    adopting_parts(adopting_parts const&) = delete;
    adopting_parts& operator=(adopting_parts const&) = delete;
};
/// What the judge knows of one source of a device.
struct adopted_source {
    struct prophecy {
        std::vector<heard_row> rows{};
        std::size_t heard = 0;  ///< how many of them came
        adoption_report report{};
    };
    /// What became of a row last.
    struct fate {
        heard_row last{};
        bytes content{};  ///< as it was told then
        std::uint64_t run = 0;
        bool vanished = false;  ///< its target was not there at a step since: refused, or not pulled yet
    };
    own_tables tables{};
    std::optional<prophecy> foretold{};
    std::map<std::pair<std::string, std::string>, fate> fates{};
    /// The rows that are for a target, in the order in which they came to it.
    struct suitors {
        std::vector<std::string> rows{};
        bool unsure = false;  ///< the first is not for it any more, and who is now is not told
    };
    std::map<std::pair<std::string, std::string>, suitors> meant{};
    std::map<std::pair<std::string, std::string>, std::string> targets{};  ///< of rows, before the last step
    std::set<std::pair<std::string, std::string>> used{};                  ///< ids of rows
    adoption_counts counted{};                                             ///< of this run
    std::uint64_t run = 1;
    bool quiet = false;  ///< since the run began nothing else has changed, here or in the tables
    bool running = false;
};
/// The source whose turn it is stands at the front.
struct adopting_device : adopted_source, adopting_parts, small_device<basic_replica<stored_records, conflict_desk>> {
    adopted_source other{};
    std::size_t turn = 0;

    [[nodiscard]] adoption const& till() const noexcept { return tills[turn]; }
    void take_turns() {
        std::swap(static_cast<adopted_source&>(*this), other);
        turn = 1 - turn;
    }
    adopting_device(std::string who, std::uint64_t seed, rule_table const& rules, replica_options const& o,
                    adoption_plan first, adoption_plan second)
        : adopting_parts(rules, std::move(first), std::move(second)),
          small_device(std::move(who), seed, rules, o, stored_records{}, desk) {}

    /// Something else than a step of the adoption has changed.
    void stirred() {
        foretold.reset();
        quiet = false;
    }
};

class adoption_world
    : small_world<adoption_simulation_options, adoption_simulation_report, adopting_device, authority<>> {
public:
    adoption_world(std::uint64_t seed, adoption_simulation_options const& o) : small_world(seed, 82, o) {}

    adoption_simulation_report run(step_dice& dice) {
        begin();
        live(dice, [&] { deed(); });
        if (fine()) { end(); }
        return finished();
    }

private:
    using name_type = std::pair<std::string, std::string>;  ///< collection and id

    [[nodiscard]] static collection_rules rules_of(std::string const& collection) {
        return {collection,
                rule::last_writer,
                {{"note", rule::manual}, {"seats", rule::counter}, {"least", rule::minimum}}};
    }
    void begin() {
        rules_.add(rules_of("halls"));
        rules_.add(rules_of("shows"));
        constraints_.uniques = {{"hall_name", "halls", {"name"}}, {"show_place", "shows", {"hall", "day"}}};
        constraints_.references = {{"show_hall", "shows", "hall", "halls"}};
        constrained_ = draw(2) == 0;
        bool const asked_here = draw(2) == 0;
        authority_options o;
        if (constrained_) { o.constraints = &constraints_; }
        cloud_ = std::make_unique<authority<>>(rules_, o);
        open_home();
        replica_options r;
        draw_pages(r);
        if (constrained_ && asked_here) { r.constraints = &constraints_; }
        if (draw(4) == 0) { r.outbox.entries_max = 3 + draw(4); }
        bool const folds = draw(2) == 0;
        kept_ids_ = draw(4) == 0;
        own_rules_ = draw(4) == 0;
        renames_ = report_.seed % 6 == 2 || report_.seed % 12 == 0;
        sources_ = report_.seed % 6 == 0 ? 2 : 1;
        for (std::string const who : {"anna", "ben", "cleo"}) {
            devices_.push_back(std::make_unique<adopting_device>(who, random_(), rules_, r, plan_of("till of " + who),
                                                                 plan_of("bar of " + who)));
            devices_.back()->ahead = milliseconds{draw_number(60'000)};
            devices_.back()->tables.folds = folds;
            devices_.back()->other.tables.folds = folds;
            open(*devices_.back());
        }
        int left = rest_max;
        for (std::uint64_t n = 2 + draw(6); n != 0 && fine(); --n) {
            add_record(*draw_of(devices_), true);
            for (auto const& d : devices_) { settle(*d, left); }
        }
        for (int twice = 0; twice < 2; ++twice) {
            for (auto const& d : devices_) { settle(*d, left); }
        }
        judge_home();
        for (auto const& d : devices_) {
            for (std::uint64_t n = 2 + draw(4); n != 0; --n) { add_row(*d, "halls"); }
            for (std::uint64_t n = 1 + draw(5); n != 0; --n) { add_row(*d, "shows"); }
            if (sources_ == 1) { continue; }
            d->take_turns();
            for (std::uint64_t n = 1 + draw(4); n != 0; --n) { add_row(*d, "halls"); }
            for (std::uint64_t n = 1 + draw(4); n != 0; --n) { add_row(*d, "shows"); }
            d->take_turns();
        }
    }
    [[nodiscard]] adoption_plan plan_of(std::string source) const {
        adoption_plan p;
        p.source = std::move(source);
        p.collections = {{"halls", {"name"}, {{"next", "halls"}}}, {"shows", {"hall", "day"}, {{"hall", "halls"}}}};
        if (kept_ids_) { p.collections[0].ids = adopted_id::kept; }
        if (own_rules_) { p.collections[1].rules = {"shows", rule::local, {{"seats", rule::maximum}}}; }
        return p;
    }

    // What is in the stores and in the tables.

    [[nodiscard]] static std::string draw_name(std::uint64_t of) {
        return std::string(1, static_cast<char>((of % 2 == 0 ? 'a' : 'A') + static_cast<char>(of / 2)));
    }
    /// Mostly in small letters.
    [[nodiscard]] bytes any_name() {
        std::uint64_t const letter = draw(5);
        return small_text(draw_name(2 * letter + (draw(4) == 0 ? 1 : 0)));
    }
    [[nodiscard]] bytes any_day() { return small_text(draw(2) == 0 ? "mon" : "tue"); }
    /// What is beside the key; a note and a title are never written twice.
    void draw_rest(naive_map& f) {
        if (draw(2) == 0) { f["note"] = naive_item(next_++); }
        if (draw(2) == 0) { f["title"] = draw(2) == 0 ? naive_item(draw_number(2)) : naive_item(next_++); }
        if (draw(2) == 0) { f["seats"] = naive_item(draw_number(3)); }
        if (draw(2) == 0) { f["least"] = naive_item(draw_number(9)); }
    }
    [[nodiscard]] static naive_map map_of(bytes_view fields) {
        naive_map out;
        cbor_map_cursor at{fields};
        while (!fields.empty() && at.next()) { out[std::string{at.key()}] = to_bytes(at.value()); }
        return out;
    }
    /// The records of a collection that live, as a device shows them.
    [[nodiscard]] std::vector<std::pair<std::string, naive_map>> shown(adopting_device& d,
                                                                       std::string const& collection) {
        std::vector<std::pair<std::string, naive_map>> out;
        for (auto const& [at, held] : d.box.stored('r', 'v')) {
            if (at.first == collection && !held.what.deleted) { out.emplace_back(at.second, map_of(held.what.fields)); }
        }
        return out;
    }
    /// A record of a device's own, written as any.
    void add_record(adopting_device& d, bool sound) {
        auto const halls = shown(d, "halls");
        bool const hall = halls.empty() || draw(2) == 0;
        naive_map f;
        if (hall) {
            f["name"] = any_name();
        } else {
            f["hall"] = small_text(draw_of(halls).first);
            f["day"] = any_day();
        }
        draw_rest(f);
        std::string const id = (hall ? "h" : "s") + std::to_string(next_++);
        record_key const k{hall ? "halls" : "shows", id};
        bytes const fields = small_fields(f);
        auto const write = [&](auto& tx) { return d.self.create(tx, k, fields, now_of(d)); };
        bool took = false;
        if (sound) {
            took = d.box.attempt(write).took;
        } else {
            took = attempt(d, write);
            excused("a record is not made", errc::limit, errc::not_found);
        }
        tell(d.label + " creates " + k.collection + "/" + id + " " + said(fields) + ending(took || sound));
        if (took) { d.stirred(); }
    }
    [[nodiscard]] std::optional<wall_time> any_time() {
        std::uint64_t const when = draw(3);
        if (when == 0) { return std::nullopt; }
        return now_.wall + milliseconds{when == 1 ? -5'000'000 : 5'000'000};
    }
    /// A row of a table: often what a record says already, with the table's own ids in it.
    void add_row(adopting_device& d, std::string const& collection) {
        auto& halls = d.tables.all["halls"];
        bool const hall = collection == "halls";
        if (!hall && halls.empty()) { return; }
        own_tables::line l;
        auto const some = shown(d, collection);
        bool copied = false;
        if (!some.empty() && draw(2) == 0) {
            l.fields = draw_of(some).second;
            copied = true;
            if (l.fields.contains("next")) { l.fields.erase("next"); }
            if (draw(3) == 0) { draw_rest(l.fields); }
        }
        if (hall) {
            if (!copied) {
                l.fields["name"] = any_name();
                draw_rest(l.fields);
                if (draw(12) == 0) { l.fields.erase("name"); }
            }
            if (draw(3) == 0 && !halls.empty()) { l.fields["next"] = small_text(draw_in(halls)); }
        } else {
            std::string of;
            if (copied) {
                cbor_reader in{l.fields["hall"]};
                of = hall_row_of(d, std::string{in.text()});
            }
            if (of.empty()) {
                l.fields.clear();
                l.fields["day"] = any_day();
                draw_rest(l.fields);
                of = draw_in(halls);
            }
            l.fields["hall"] = small_text(of);
        }
        l.written = any_time();
        std::string id = std::to_string(10 + draw(80));
        if (kept_ids_ && hall) { id = d.name + (d.turn == 0 ? "" : "'s bar ") + id; }
        if (!d.used.insert({collection, id}).second) { return; }  // numbers are not given twice
        tell(d.label + "'s table has " + collection + " " + id + " " + said(d.tables.told(l)) +
             (!l.written               ? ""
              : *l.written > now_.wall ? ", of later"
                                       : ", of earlier"));
        d.tables.all[collection][id] = std::move(l);
        d.stirred();
    }
    [[nodiscard]] std::string draw_in(std::map<std::string, own_tables::line> const& table) {
        return std::next(table.begin(), static_cast<std::ptrdiff_t>(draw(table.size())))->first;
    }
    /// The row of a hall's name in a device's table; empty: there is none.
    [[nodiscard]] std::string hall_row_of(adopting_device& d, std::string const& id) {
        auto const held = d.box.stored('r', 'v');
        auto const found = held.find({"halls", id});
        if (found == held.end()) { return {}; }
        auto const name = small_field(found->second.what.fields, "name");
        for (auto const& [row, l] : d.tables.all["halls"]) {
            if (name && small_field(d.tables.told(l), "name") == name) { return row; }
        }
        return {};
    }
    [[nodiscard]] static std::string said(bytes_view fields) {
        std::string out = "{";
        for (auto const& [name, item] : map_of(fields)) {
            cbor_reader in{item};
            out += (out.size() > 1 ? ", " : "") + name + " ";
            out += in.peek() == cbor_type::text ? std::string{in.text()}.substr(0, 6) : std::to_string(in.integer());
        }
        return out + "}";
    }

    // Deeds.

    void deed() {
        adopting_device& d = *draw_of(devices_);
        std::uint64_t const what = draw(48);
        if (renames_ && draw(8) == 0) {
            rename(d);
        } else if (what < 5) {
            write(d);
        } else if (what < 6) {
            add_record(d, false);
        } else if (what < 8) {
            erase(d);
        } else if (what < 12) {
            change_tables(d);
        } else if (what < 14) {
            ask(d);
        } else if (what < 16) {
            if (answer(d)) { judge_home(); }
        } else if (what < 18) {
            take(d);
        } else if (what < 24) {
            for (std::uint64_t n = 1 + draw(3); n != 0 && fine(); --n) {
                ask(d);
                if (answer(d)) { judge_home(); }
                take(d);
            }
        } else if (what < 26) {
            foretell(d);
        } else if (what < 34) {
            for (std::uint64_t n = 1 + draw(4); n != 0 && fine(); --n) { step(d); }
        } else if (what < 38) {
            run_on(d);
        } else if (what < 41) {
            restart(d);
        } else if (what < 45) {
            decide(d);
        } else {
            lose_power(d);
            if (draw(2) == 0) { cut_home(); }
        }
    }
    /// What was sent has to be sent as it was from then on, so that there may be room for less.
    void lose_power(adopting_device& d) {
        d.foretold.reset();
        cut(d);
    }
    void take(adopting_device& d) {
        if (d.replies.empty()) { return; }
        d.stirred();
        hear(d);
    }
    /// A record that lives on a device; nothing: none.
    [[nodiscard]] std::optional<name_type> any_record(adopting_device& d) {
        std::vector<name_type> some;
        for (auto const& [at, held] : d.box.stored('r', 'v')) {
            if (!held.what.deleted) { some.push_back(at); }
        }
        if (some.empty()) { return std::nullopt; }
        return draw_of(some);
    }
    void write(adopting_device& d) {
        auto const at = any_record(d);
        if (!at) { return; }
        auto const held = d.box.stored('r', 'v').at(*at);
        std::uint64_t const which = draw(4);
        field_op op;
        if (which == 0 && !held.pending) {  // what waits would be replaced by its own writer
            op = small_set("note", naive_item(next_++));
        } else if (which == 1) {
            op = {"seats", op_kind::add, naive_item(1 + draw_number(3)), {}};
        } else if (which == 2) {
            op = small_set("least", naive_item(draw_number(9)));
        } else {
            op = small_set("title", naive_item(next_++));
        }
        bool const took = attempt(d, [&](auto& tx) {
            return d.self.update(tx, {at->first, at->second}, {op}, now_of(d));
        });
        excused("an edit is refused", errc::limit, errc::not_found);
        tell(d.label + " writes " + at->first + "/" + at->second.substr(0, 6) + " " + op.field + ending(took));
        if (took) { d.stirred(); }
    }
    /// Gives a record another natural key.
    void rename(adopting_device& d) {
        auto const at = any_record(d);
        if (!at) { return; }
        bool const hall = at->first == "halls";
        field_op const op = small_set(hall ? "name" : "day", hall ? any_name() : any_day());
        bool const took = attempt(d, [&](auto& tx) {
            return d.self.update(tx, {at->first, at->second}, {op}, now_of(d));
        });
        excused("a renaming is refused", errc::limit, errc::not_found);
        cbor_reader in{op.value};
        tell(d.label + " renames " + at->first + "/" + at->second.substr(0, 6) + " to " + std::string{in.text()} +
             ending(took));
        if (!took) { return; }
        d.stirred();
        ++report_.renamed;
        renamed_.insert(*at);
    }
    void erase(adopting_device& d) {
        auto const at = any_record(d);
        if (!at) { return; }
        bool const took = attempt(d, [&](auto& tx) { return d.self.erase(tx, {at->first, at->second}, now_of(d)); });
        excused("a deletion is refused", errc::limit);
        tell(d.label + " deletes " + at->first + "/" + at->second.substr(0, 6) + ending(took));
        if (took) {
            d.stirred();
            erased_.insert(*at);
        }
    }
    /// The program goes on with its own tables.
    void change_tables(adopting_device& d) {
        std::string const collection = draw(2) == 0 ? "halls" : "shows";
        auto& table = d.tables.all[collection];
        std::uint64_t const what = draw(3);
        if (what == 0 || table.empty()) {
            add_row(d, collection);
            return;
        }
        std::string const id = draw_in(table);
        if (what == 1) {
            own_tables::line& l = table[id];
            if (renames_ && draw(2) == 0) {
                l.fields[collection == "halls" ? "name" : "day"] = collection == "halls" ? any_name() : any_day();
                l.renamed = true;
                ++report_.renamed;
            } else {
                draw_rest(l.fields);
            }
            l.written = any_time();
            tell(d.label + "'s table changes " + collection + " " + id + " to " + said(d.tables.told(l)));
            d.stirred();
            return;
        }
        // A program keeps a hall to which it refers.
        for (auto const& [name, other] : d.tables.all) {
            for (auto const& [row, l] : other) {
                for (char const* const field : {"hall", "next"}) {
                    auto const refers = l.fields.find(field);
                    bool const to = refers != l.fields.end() && refers->second == small_text(id);
                    if (collection == "halls" && to) { return; }
                }
            }
        }
        tell(d.label + "'s table loses " + collection + " " + id);
        table.erase(id);
        d.stirred();
    }
    void decide(adopting_device& d) {
        std::vector<conflict> open;
        auto const ok = d.box.read([&](auto& tx) {
            return d.queue.list(tx, {}, [&](conflict const& c) {
                open.push_back(c);
                return true;
            });
        });
        if (!honest(ok.has_value(), "conflicts can't be listed") || open.empty()) { return; }
        conflict const c = draw_of(open);
        bool const mine = draw(2) == 0;
        auto const chosen_over = note_of(d, c.record);
        bool const took = attempt(d, [&](auto& tx) {
            return d.desk.resolve(tx, d.self, c.id, c.revision,
                                  mine ? resolution::use_local() : resolution::use_remote(), as_bytes(d.name),
                                  now_of(d));
        });
        // A minimum is not raised; of what was deleted another decision makes a record again.
        excused("a decision is refused", errc::contended, errc::limit, errc::not_found, errc::already_exists,
                c.find({"least"}) != nullptr ? errc::rejected : errc::limit);
        tell_decision(d, c, mine, ending(took));
        if (!took) { return; }
        ++report_.decided;
        d.stirred();
        if (chosen_over) { notes_.insert(*chosen_over); }
    }
    void tell_decision(adopting_device const& d, conflict const& c, bool mine, std::string const& how) {
        std::string line = d.label + " decides about " + c.record.collection + "/" +
                           std::string{c.record.id_text()}.substr(0, 6) + " for the " + (mine ? "table's" : "record's");
        for (contested_field const& f : c.fields) { line += " " + syncline::to_text(f.path); }
        tell(line + how);
    }
    /// What a record says where somebody decides about it: which is told them, and may be over then.
    [[nodiscard]] static std::optional<std::pair<name_type, bytes>> note_of(adopting_device& d, record_key const& k) {
        name_type const at{k.collection, std::string{k.id_text()}};
        auto const held = d.box.stored('r', 'v');
        auto const found = held.find(at);
        if (found == held.end()) { return std::nullopt; }
        auto const note = small_field(found->second.what.fields, "note");
        if (!note) { return std::nullopt; }
        return std::pair{at, *note};
    }

    // Adopting.

    [[nodiscard]] static bytes every_byte(adopting_device& d) {
        bytes out;
        (void)d.box.read([&](auto& tx) {
            return tx.scan({bytes{}, bytes(1, std::byte{0xFF})}, [&](bytes_view k, bytes_view v) {
                append(out, sha256(k));
                append(out, sha256(v));
                return true;
            });
        });
        return out;
    }
    /// A dry run of what is left of this run, which may be cut short by a storage call that fails.
    void foretell(adopting_device& d) {
        bytes const before = every_byte(d);
        machine_mishap const m = draw_mishap(random_);
        auto& store = d.box.store();
        std::uint64_t const faults = store.faults();
        if (m.faulty) { store.inject(m.fault); }
        adopting_device::prophecy told;
        auto const report = dry_run(store, d.till(), d.self, d.tables, now_of(d),
                                    [&](adopted_row const& r) { told.rows.emplace_back(r); });
        bool const failed = store.faults() != faults;
        store.heal();
        report_.faults += failed ? 1 : 0;
        honest(report.has_value() || failed, "a dry run fails");
        holds(every_byte(d) == before, adoption_promise::foretold, d.name + "'s dry run has changed something");
        tell(d.label + " has a dry run: " + std::to_string(told.rows.size()) + " rows" +
             (report ? "" : ", which fails"));
        if (!report || failed) { return; }
        ++report_.dry_runs;
        told.report = *report;
        d.foretold = std::move(told);
    }
    void run_on(adopting_device& d) {
        foretell(d);
        for (int n = 0; n < 40 && fine(); ++n) {
            auto const r = step(d);
            if (r && (!r->more || r->full)) { return; }
            if (draw(20) == 0) { lose_power(d); }
        }
    }
    void restart(adopting_device& d) {
        if (!d.running) { return; }
        bool const over = is_over(d);
        if (!over && draw(4) != 0) { return; }
        bool const turns = over && sources_ == 2 && draw(4) != 0;
        bool const took = attempt(d, [&](auto& tx) { return d.tills[turns ? 1 - d.turn : d.turn].restart(tx); });
        excused("no new run begins");
        tell(d.label + " begins a new run" + (turns ? " of its other source" : "") + ending(took));
        if (!took) { return; }
        if (turns) { take_turns(d); }
        begun(d);
    }
    void take_turns(adopting_device& d) {
        d.stirred();
        d.take_turns();
        d.running = true;
        ++report_.sources;
    }
    void begun(adopting_device& d) {
        d.stirred();
        d.quiet = true;
        d.counted = {};
        ++d.run;
    }
    [[nodiscard]] bool is_over(adopting_device& d) {
        auto const r = d.box.read([&](auto& tx) { return d.till().report(tx); });
        return honest(r.has_value(), "how far it is can't be read") && !r->more;
    }
    /// One step; what it came to, where it was committed.
    std::optional<adoption_report> step(adopting_device& d) {
        auto const budget = static_cast<std::size_t>(1 + draw(5));
        auto const before = d.box.stored('r', 'v');
        std::vector<heard_row> rows;
        adoption_report report;
        bool const took = attempt(d, [&](auto& tx) {
            rows.clear();
            auto r = d.till().step(tx, d.self, d.tables, now_of(d), budget,
                                   [&](adopted_row const& one) { rows.emplace_back(one); });
            if (r) { report = *r; }
            return r;
        });
        excused("a step fails");
        if (!took) {
            tell(d.label + " adopts" + ending(took));
            return std::nullopt;
        }
        for (heard_row const& r : rows) { tell_of(d, r); }
        if (!d.running) {
            d.running = true;
            d.quiet = true;
        }
        judge_step(d, before, rows, report);
        if (report.full) {
            ++report_.stopped;
            tell(d.label + " has no room to adopt more");
        }
        return report;
    }
    void tell_of(adopting_device& d, heard_row const& r) {
        std::string line = d.label + " adopts " + r.source.first + " " + r.source.second + ": " + name(r.how) + " as " +
                           r.target.substr(0, 6) + " " + said(r.after);
        for (std::string const& f : r.contested) { line += ", " + f + " waits"; }
        tell(r.how == adopted::refused ? line + ", " + message(r.why) : line);
    }

    // The judge.

    /// The fields of a natural key, one after the other; empty where one is missing.
    [[nodiscard]] static bytes key_of(std::string const& collection, naive_map const& f) {
        bytes out;
        for (char const* const field : collection == "halls" ? std::array<char const*, 2>{"name", "name"}
                                                             : std::array<char const*, 2>{"hall", "day"}) {
            auto const found = f.find(field);
            if (found == f.end()) { return {}; }
            append(out, found->second);
        }
        return out;
    }
    [[nodiscard]] std::string target_of(adopting_device& d, name_type const& source) {
        auto const t = d.box.read([&](auto& tx) { return d.till().target_of(tx, {source.first, source.second}); });
        if (!honest(t.has_value(), "a target can't be read") || !*t) { return {}; }
        return std::string{(*t)->id_text()};
    }
    struct translation {
        naive_map fields{};
        bool whole = true;  ///< all that it refers to has a target
    };
    /// `earlier`: with the targets before the last step.
    [[nodiscard]] translation translated(adopting_device& d, bytes_view fields, bool earlier = false) {
        translation out;
        out.fields = map_of(fields);
        for (char const* const field : {"hall", "next"}) {
            auto const found = out.fields.find(field);
            if (found == out.fields.end()) { continue; }
            cbor_reader in{found->second};
            std::string const row{in.text()};
            std::string const to = target_of(d, {"halls", row});
            out.whole = out.whole && !to.empty();
            found->second = small_text(to);
            auto const was = d.targets.find({"halls", row});
            if (earlier && was != d.targets.end()) { found->second = small_text(was->second); }
        }
        return out;
    }
    struct expectation {
        adopted how = adopted::joined;
        naive_map after{};
        std::set<std::string> contested{};
    };
    /// What becomes of a record that is there.
    [[nodiscard]] expectation merged(std::string const& collection, naive_map const& there, naive_map const& mine,
                                     bool later, bool duplicate) const {
        expectation e;
        e.after = there;
        bool const ours = own_rules_ && collection == "shows";
        for (auto const& [field, value] : mine) {
            auto const found = there.find(field);
            bytes& to = e.after[field];
            if (found == there.end()) {
                to = value;
            } else if (found->second == value) {
                continue;
            } else if (duplicate || (!ours && (field == "note" || field == "seats"))) {
                e.contested.insert(field);
            } else if (field == "least" || field == "seats") {
                std::int64_t const a = naive_integer(value).value_or(0);
                std::int64_t const b = naive_integer(found->second).value_or(0);
                to = naive_item(field == "least" ? (std::min)(a, b) : (std::max)(a, b));
            } else if (ours || later) {
                to = value;
            }
        }
        e.how = there == mine ? adopted::joined : e.contested.empty() ? adopted::merged : adopted::queued;
        return e;
    }
    /// When a row was written last, by anybody.
    [[nodiscard]] static timestamp last_of(row const& r) {
        timestamp last = r.floor.stamp;
        for (field_mark const& e : r.exceptions) { last = (std::max)(last, e.mark.stamp); }
        return last;
    }
    void judge_step(adopting_device& d, simulated_machine::stored_rows const& before,
                    std::vector<heard_row> const& rows, adoption_report const& report) {
        if (!fine()) { return; }
        d.targets.clear();
        for (auto const& [at, all] : d.meant) {
            for (std::string const& row : all.rows) { d.targets[{at.first, row}] = at.second; }
        }
        look_at_targets(d);
        for (auto& [source, fate] : d.fates) {
            fate.vanished = fate.vanished || !before.contains({source.first, fate.last.target});
        }
        for (auto& [source, fate] : d.other.fates) {
            fate.vanished = fate.vanished || !before.contains({source.first, fate.last.target});
        }
        std::map<name_type, naive_map> now;
        for (auto const& [at, held] : before) {
            if (!held.what.deleted) { now[at] = map_of(held.what.fields); }
        }
        std::set<name_type> touched;
        for (heard_row const& r : rows) {
            judge_row(d, before, now, touched, r);
            if (!fine()) { return; }
            auto const counter = static_cast<std::size_t>(r.how) - 1;
            ++*counts_of(d.counted)[counter];
            ++*counts_of(report_.rows)[counter];
        }
        // What was not told of is as it was.
        std::map<name_type, naive_map> after;
        for (auto const& [at, held] : d.box.stored('r', 'v')) {
            if (!held.what.deleted) { after[at] = map_of(held.what.fields); }
        }
        holds(now == after, adoption_promise::merged, d.name + "'s step stores something else than it tells");
        for (std::size_t i = 0; i < 5; ++i) {
            adoption_counts told = report.counts;
            holds(*counts_of(told)[i] == *counts_of(d.counted)[i], adoption_promise::once,
                  d.name + " counts otherwise what is " + name(static_cast<adopted>(i + 1)));
        }
        bool const over = !report.more;
        if (over && d.quiet) {
            holds(report.counts.records() == d.tables.size(), adoption_promise::once,
                  d.name + "'s run has " + std::to_string(report.counts.records()) + " outcomes for " +
                      std::to_string(d.tables.size()) + " rows");
        }
        judge_prophecy(d, rows, report);
    }
    [[nodiscard]] static std::array<std::uint64_t*, 6> counts_of(adoption_counts& c) {
        return {&c.joined, &c.merged, &c.queued, &c.created, &c.refused, &c.kept};
    }
    /// Who is for which target now.
    void look_at_targets(adopting_device& d) {
        for (auto& [at, all] : d.meant) {
            for (auto row = all.rows.begin(); row != all.rows.end();) {
                if (target_of(d, {at.first, *row}) == at.second) {
                    ++row;
                    continue;
                }
                all.unsure = all.unsure || row == all.rows.begin();
                row = all.rows.erase(row);
            }
            if (all.rows.empty()) { all.unsure = false; }
        }
        for (auto const& [collection, table] : d.tables.all) {
            for (auto const& [id, l] : table) {
                std::string const t = target_of(d, {collection, id});
                if (t.empty()) { continue; }
                auto& rows = d.meant[{collection, t}].rows;
                if (std::find(rows.begin(), rows.end(), id) == rows.end()) { rows.push_back(id); }
            }
        }
    }
    void judge_prophecy(adopting_device& d, std::vector<heard_row> const& rows, adoption_report const& report) {
        if (!d.foretold) { return; }
        adopting_device::prophecy& p = *d.foretold;
        for (heard_row const& r : rows) {
            bool const is = p.heard < p.rows.size() && p.rows[p.heard] == r;
            if (!holds(is, adoption_promise::foretold,
                       r.source.first + " " + r.source.second + " of " + d.name + " came otherwise than foretold")) {
                return;
            }
            ++p.heard;
            ++report_.foretold;
        }
        if (report.more && !report.full) { return; }
        holds(p.heard == p.rows.size() && p.report == report, adoption_promise::foretold,
              d.name + "'s run ends otherwise than foretold");
        d.foretold.reset();
    }
    /// What is told of one row; `now` is what a naive reader makes of the device's records, by and by.
    void judge_row(adopting_device& d, simulated_machine::stored_rows const& before,
                   std::map<name_type, naive_map>& now, std::set<name_type>& touched, heard_row const& r) {
        std::string const what = d.name + "'s " + r.source.first + " " + r.source.second;
        auto const& table = d.tables.all[r.source.first];
        auto const line = table.find(r.source.second);
        if (!holds(line != table.end(), adoption_promise::once, what + " is adopted, and is no more")) { return; }
        bytes const told = d.tables.told(line->second);
        name_type const at{r.source.first, r.target};
        auto const found = now.find(at);
        bool const there = found != now.end();

        auto& fate = d.fates[r.source];
        bool const had = fate.run != 0;
        bool settled = false;
        if (had) {
            ++report_.again;
            holds(fate.run != d.run, adoption_promise::once, what + " has two outcomes in a run");
            settled = fate.last.how != adopted::refused && fate.content == told && fate.last.target == r.target &&
                      !fate.vanished;
            bool const stays = fate.last.how != adopted::refused && !fate.vanished &&
                               now.contains({r.source.first, fate.last.target}) &&
                               !erased_.contains({r.source.first, fate.last.target});
            holds(!stays || fate.last.target == r.target, adoption_promise::once,
                  what + " was adopted as another record, which is there");
        }
        holds(target_of(d, r.source) == r.target, adoption_promise::once,
              what + " is for another record than was told");
        auto mine = translated(d, told);
        auto& meant = d.meant[at];
        bool const first = !meant.rows.empty() && meant.rows[0] == r.source.second;
        if (r.how == adopted::refused) {
            bool const missing = !mine.whole || (r.source.first == "shows" && !lives(now, mine.fields, "hall"));
            holds(r.why == errc::not_found && missing, adoption_promise::kept, what + " is refused");
        } else if (!there) {
            holds(r.how == adopted::created && r.before.empty(), adoption_promise::merged,
                  what + " is not created where there is nothing");
            // It may have been written before a row to which it refers was placed anew.
            if (map_of(r.after) != mine.fields) { mine = translated(d, told, true); }
            holds(map_of(r.after) == mine.fields, adoption_promise::merged,
                  what + " is created as " + said(r.after) + ", not as " + said(small_fields(mine.fields)));
            bytes const key = key_of(r.source.first, mine.fields);
            for (auto const& [other, fields] : now) {
                // One that a renamed row is adopted as may have got this key in the same run.
                bool const same = d.quiet && other.first == r.source.first && !key.empty() &&
                                  key_of(other.first, fields) == key && !takes_renamed(d, other) &&
                                  !renamed_.contains(other);
                holds(!same, adoption_promise::unique, what + " is created beside " + other.second);
            }
            now[at] = map_of(r.after);
        } else {
            holds(map_of(r.before) == found->second, adoption_promise::merged, what + " was not " + said(r.before));
            auto const held = before.find(at);
            bool const later = line->second.written && held != before.end() &&
                               timestamp::make(*line->second.written) > last_of(held->second.what);
            naive_map was;
            bool follows = false;
            bool fits = false;
            // It may have been written before a row to which it refers was placed anew.
            for (bool const earlier : {false, true}) {
                if (fits) { break; }
                if (earlier) { mine = translated(d, told, true); }
                was = followed(now, found->second, mine.fields);
                follows = had && fate.content == told && r.contested.empty() && r.how == adopted::merged &&
                          was != found->second && was == map_of(r.after);
                fits = follows;
                for (bool const duplicate : {false, true}) {
                    // Where keys are renamed meanwhile, who came first is not told.
                    bool const may = renames_ || touched.contains(at) || meant.unsure || duplicate != first;
                    auto e = merged(r.source.first, was, mine.fields, later, duplicate);
                    if (e.how == adopted::joined && was != found->second) { e.how = adopted::merged; }
                    std::set<std::string> const contested{r.contested.begin(), r.contested.end()};
                    fits = fits || (may && e.how == r.how && e.after == map_of(r.after) && e.contested == contested);
                }
            }
            if (settled) { holds(follows, adoption_promise::once, what + " is adopted again, and has not changed"); }
            holds(fits, adoption_promise::merged,
                  what + " is " + name(r.how) + " as " + said(r.after) + ": it was " + said(small_fields(was)) +
                      ", and the table says " + said(small_fields(mine.fields)));
            if (d.quiet && !had) {
                bytes const key = key_of(r.source.first, mine.fields);
                holds(key == key_of(r.source.first, was) || hall_is_erased(d, line->second), adoption_promise::unique,
                      what + " is brought together with what has another key");
            }
            if (r.how == adopted::queued) { judge_queued(d, r, mine.fields, what); }
            // Of another source's row too, where the plan's rules say so.
            auto const note = found->second.find("note");
            bool const over = own_rules_ && r.source.first == "shows" && note != found->second.end();
            if (over && map_of(r.after)["note"] != note->second) { notes_.insert({at, note->second}); }
            now[at] = map_of(r.after);
        }
        if (r.how == adopted::created) {  // it takes the place of who was to come first
            meant.rows.erase(std::remove(meant.rows.begin(), meant.rows.end(), r.source.second), meant.rows.end());
            meant.rows.insert(meant.rows.begin(), r.source.second);
            meant.unsure = false;
        }
        touched.insert(at);
        fate = {r, told, d.run, false};
    }
    /// Whether a row whose natural key was another one is for a record.
    [[nodiscard]] static bool takes_renamed(adopting_device const& d, name_type const& at) {
        auto const table = d.tables.all.find(at.first);
        auto const meant = d.meant.find(at);
        if (table == d.tables.all.end() || meant == d.meant.end()) { return false; }
        return std::any_of(meant->second.rows.begin(), meant->second.rows.end(), [&](std::string const& id) {
            auto const row = table->second.find(id);
            return row != table->second.end() && row->second.renamed;
        });
    }
    /// A record's fields, where a reference to what doesn't live has become the table's.
    [[nodiscard]] static naive_map followed(std::map<name_type, naive_map> const& now, naive_map f,
                                            naive_map const& mine) {
        for (char const* const field : {"hall", "next"}) {
            bool const both = f.contains(field) && mine.contains(field);
            if (both && !lives(now, f, field) && lives(now, mine, field)) { f[field] = mine.at(field); }
        }
        return f;
    }
    [[nodiscard]] static bool lives(std::map<name_type, naive_map> const& now, naive_map const& f, char const* field) {
        auto const found = f.find(field);
        if (found == f.end()) { return true; }
        cbor_reader in{found->second};
        return now.contains({"halls", std::string{in.text()}});
    }
    /// What waits for a person is in the queue, with the table's value.
    void judge_queued(adopting_device& d, heard_row const& r, naive_map const& mine, std::string const& what) {
        std::map<std::string, std::set<bytes>> waiting;
        for (conflict const& c : conflicts_of(d)) {
            if (c.record != record_key{r.source.first, r.target}) { continue; }
            for (field_op const& op : c.local.ops) { waiting[op.field].insert(op.value); }
        }
        for (std::string const& f : r.contested) {
            auto const value = mine.find(f);
            bool const is = value != mine.end() && waiting[f].contains(value->second);
            holds(is, adoption_promise::kept, what + "'s " + f + " is nowhere in the queue");
        }
    }
    [[nodiscard]] std::vector<conflict> conflicts_of(adopting_device& d) {
        std::vector<conflict> out;
        conflict_query all;
        all.state.reset();
        auto const ok = d.box.read([&](auto& tx) {
            return d.queue.list(tx, all, [&](conflict const& c) {
                out.push_back(c);
                return true;
            });
        });
        honest(ok.has_value(), "conflicts can't be listed");
        return out;
    }
    void judge_home() {
        if (!fine()) { return; }
        std::set<bytes> keys;
        for (auto const& [at, held] : home_.stored('a', 'r')) {
            was_.insert(at);
            if (held.what.deleted) {
                erased_.insert(at);
                continue;
            }
            naive_map const f = map_of(held.what.fields);
            if (auto const note = f.find("note"); note != f.end()) { notes_.insert({at, note->second}); }
            bytes key = key_of(at.first, f);
            if (key.empty() || !constrained_) { continue; }
            key.push_back(static_cast<std::byte>(at.first[0]));
            holds(keys.insert(key).second, adoption_promise::unique, "two live under the key of " + at.second);
        }
    }

    // At the end.

    void settle_all(int& left) {
        for (int twice = 0; twice < 2; ++twice) {
            for (auto const& d : devices_) {
                d->stirred();
                settle(*d, left);
                judge_home();
            }
        }
    }
    /// A step on a sound machine.
    bool sound_step(adopting_device& d, adoption_report& report) {
        auto const before = d.box.stored('r', 'v');
        std::vector<heard_row> rows;
        bool const took = d.box
                              .attempt([&](auto& tx) {
                                  auto r = d.till().step(tx, d.self, d.tables, now_of(d), 3,
                                                         [&](adopted_row const& one) { rows.emplace_back(one); });
                                  if (r) { report = *r; }
                                  return r;
                              })
                              .took;
        if (!honest(took, "a step fails on a sound machine")) { return false; }
        d.running = true;
        for (heard_row const& r : rows) { tell_of(d, r); }
        judge_step(d, before, rows, report);
        return fine();
    }
    /// A whole new run; it exchanges where it has no room.
    void adopt_all(adopting_device& d, int& left) {
        bool const took = d.box.attempt([&](auto& tx) { return d.till().restart(tx); }).took;
        if (!honest(took, "no new run begins on a sound machine")) { return; }
        begun(d);
        adoption_report report;
        while (report.more && fine()) {
            if (!holds(--left > 0, small_promise::rest, "it does not adopt to the end")) { return; }
            if (!sound_step(d, report)) { return; }
            if (report.full) {
                d.stirred();
                settle(d, left);
            }
        }
    }
    void end() {
        tell("the trouble is over");
        int left = rest_max;
        for (int round = 0; round < 3 && fine(); ++round) {
            settle_all(left);
            for (auto const& d : devices_) {
                if (fine()) { adopt_all(*d, left); }
                if (fine() && sources_ == 2) {
                    take_turns(*d);
                    adopt_all(*d, left);
                }
                settle(*d, left);
                judge_home();
            }
            settle_all(left);
            for (auto const& d : devices_) { decide_all(*d); }
        }
        settle_all(left);
        if (fine()) { judge_rest(); }
    }
    /// For the table's side and the record's in turn.
    void decide_all(adopting_device& d) {
        for (conflict const& c : conflicts_of(d)) {
            if (c.state != conflict_state::open || !fine()) { continue; }
            auto const chosen_over = note_of(d, c.record);
            auto const out = d.box.attempt([&](auto& tx) {
                return d.desk.resolve(tx, d.self, c.id, c.revision,
                                      c.id % 2 == 0 ? resolution::use_local() : resolution::use_remote(),
                                      as_bytes(d.name), now_of(d));
            });
            bool const may = out.took || out.why == errc::contended || out.why == errc::limit ||
                             out.why == errc::not_found || out.why == errc::already_exists ||
                             (out.why == errc::rejected && c.find({"least"}) != nullptr);
            honest(may, "a decision on " + std::string{c.record.id_text()} +
                            " is refused on a sound machine: " + message(out.why));
            tell_decision(d, c, c.id % 2 == 0, out.took ? "" : std::string{", which fails: "} + message(out.why));
            report_.decided += out.took ? 1 : 0;
            if (out.took && chosen_over) { notes_.insert(*chosen_over); }
            d.stirred();
        }
    }
    void judge_rest() {
        auto const home = home_.stored('a', 'r');
        std::set<std::pair<name_type, bytes>> notes = notes_;
        std::set<name_type> letters;
        for (auto const& d : devices_) {
            for (conflict const& c : conflicts_of(*d)) {
                for (field_op const& op : c.local.ops) {
                    if (op.field == "note") {
                        notes.insert({{c.record.collection, std::string{c.record.id_text()}}, op.value});
                    }
                }
            }
            auto const ok = d->box.read([&](auto& tx) {
                return d->self.queue().scan_dead(tx, [&](outbox_entry const& e) {
                    ++report_.dead;
                    auto const m = replica::mutation_of(e);
                    if (!m) { return true; }
                    name_type const at{m->record.collection, std::string{m->record.id_text()}};
                    letters.insert(at);
                    for (field_op const& op : m->ops) {
                        if (op.field == "note") { notes.insert({at, op.value}); }
                    }
                    return true;
                });
            });
            honest(ok.has_value(), "dead letters can't be read");
        }
        for (auto const& d : devices_) {
            auto const held = d->box.stored('r', 'v');
            for (auto const& [at, h] : held) {
                auto const is = home.find(at);
                bool const same = is != home.end() && !h.pending && h.what.deleted == is->second.what.deleted &&
                                  h.what.fields == is->second.what.fields;
                if (!holds(same, adoption_promise::agreed, d->name + " holds something else as " + at.second)) {
                    return;
                }
            }
            for (auto const& [at, h] : home) {
                holds(h.what.deleted || held.contains(at), adoption_promise::agreed, d->name + " lacks " + at.second);
            }
            for (std::size_t i = 0; i < 2; ++i) {
                for (auto const& [collection, table] : d->tables.all) {
                    for (auto const& [id, l] : table) { judge_fate(*d, home, notes, letters, {collection, id}, l); }
                }
                d->take_turns();
            }
        }
    }
    /// Whether somebody deleted what a row refers to.
    [[nodiscard]] bool hall_is_erased(adopting_device& d, own_tables::line const& l) {
        naive_map const mine = translated(d, d.tables.told(l)).fields;
        auto const hall = mine.find("hall");
        if (hall == mine.end()) { return false; }
        cbor_reader in{hall->second};
        return erased_.contains({"halls", std::string{in.text()}});
    }
    /// Whether a record has the key of a row that is adopted as it, whosever: two tables' rows may share a record, and
    /// a later run of one of them has it refer to another hall of that name.
    [[nodiscard]] bool is_named_by_a_row(name_type const& at, bytes const& key) {
        auto const names = [&](adopting_device& other) {
            auto const table = other.tables.all.find(at.first);
            if (table == other.tables.all.end()) { return false; }
            return std::any_of(table->second.begin(), table->second.end(), [&](auto const& row) {
                auto const found = other.fates.find({at.first, row.first});
                bool const same = key == key_of(at.first, translated(other, other.tables.told(row.second)).fields);
                return found != other.fates.end() && found->second.last.target == at.second &&
                       (same || row.second.renamed);
            });
        };
        bool named = renamed_.contains(at);
        for (auto const& other : devices_) {
            for (std::size_t i = 0; i < 2; ++i) {
                named = named || names(*other);
                other->take_turns();
            }
        }
        return named;
    }
    /// What became of a row of a table in the end.
    void judge_fate(adopting_device& d, simulated_machine::stored_rows const& home,
                    std::set<std::pair<name_type, bytes>> const& notes, std::set<name_type> const& letters,
                    name_type const& source, own_tables::line const& l) {
        std::string const what = d.name + "'s " + source.first + " " + source.second;
        auto const found = d.fates.find(source);
        if (!holds(found != d.fates.end(), adoption_promise::kept, what + " was never adopted")) { return; }
        heard_row const& r = found->second.last;
        name_type const at{source.first, r.target};
        if (r.how == adopted::refused) {
            holds(hall_is_erased(d, l), adoption_promise::kept, what + " is refused, and nothing stands against it");
            return;
        }
        holds(found->second.content == d.tables.told(l), adoption_promise::kept, what + " is adopted as it was");
        if (erased_.contains(at)) { return; }
        auto const is = home.find(at);
        bool const lives = is != home.end() && !is->second.what.deleted;
        holds(lives || hall_is_erased(d, l), adoption_promise::kept, what + " is not home");
        if (!lives) { return; }
        naive_map const f = map_of(is->second.what.fields);
        for (char const* const field : {"hall", "next"}) {
            if (!l.fields.contains(field) || !f.contains(field)) { continue; }
            cbor_reader in{f.at(field)};
            name_type const to{"halls", std::string{in.text()}};
            holds(was_.contains(to) || erased_.contains(to), adoption_promise::referred,
                  what + " has a " + field + " that never was: " + to.second);
        }
        bool const named = is_named_by_a_row(at, key_of(at.first, f));
        // A show that was written before its hall's row was placed anew stays with the hall that there was.
        bool const moved = renames_ && source.first == "shows";
        holds(named || moved || hall_is_erased(d, l) || letters.contains(at), adoption_promise::unique,
              what + " is home under another key, as " + said(is->second.what.fields));
        auto const note = l.fields.find("note");
        holds(note == l.fields.end() || notes.contains({at, note->second}) || letters_elsewhere(notes, note->second),
              adoption_promise::kept, what + "'s note is nowhere");
    }
    /// Whether a value stands with a record that it was to be before.
    [[nodiscard]] static bool letters_elsewhere(std::set<std::pair<name_type, bytes>> const& notes,
                                                bytes const& value) {
        return std::any_of(notes.begin(), notes.end(), [&](auto const& n) { return n.second == value; });
    }

    rule_table rules_{};
    constraint_table constraints_{};
    bool constrained_ = false;
    bool kept_ids_ = false;
    bool own_rules_ = false;
    bool renames_ = false;
    std::size_t sources_ = 1;  ///< of a device
    std::int64_t next_ = 10;
    std::set<name_type> was_{};                      ///< records that were home at some time
    std::set<name_type> erased_{};                   ///< that somebody deleted
    std::set<name_type> renamed_{};                  ///< records whose natural key somebody wrote
    std::set<std::pair<name_type, bytes>> notes_{};  ///< that a record had at home
};

}  // namespace detail

/// One life of adoptions. The same seed and options give the same life and the same report, on every machine.
/// With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline adoption_simulation_report simulate_adoptions(std::uint64_t seed,
                                                                   adoption_simulation_options const& o = {}) {
    return detail::live_life<detail::adoption_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline adoption_simulation_options shrink_adoptions(adoption_simulation_report const& failed,
                                                                  adoption_simulation_options o = {},
                                                                  std::size_t lives = 1'000) {
    return detail::shrink_life<detail::adoption_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
