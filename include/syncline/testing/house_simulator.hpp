// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A house in a simulated world: shows, tickets and notes with constraints across them, checks and rights that change, and
/// people who run it: they look why something is stuck, retry, decide, purge, take backups and put devices back to them. A
/// naive judge looks at every single decision.

#include <algorithm>
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

#include <syncline/model/mutation.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/backup.hpp>
#include <syncline/replica/constraints.hpp>
#include <syncline/replica/group.hpp>
#include <syncline/replica/health.hpp>
#include <syncline/replica/journal.hpp>
#include <syncline/replica/operations.hpp>
#include <syncline/replica/policy.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/validation.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/testing/small_world.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What a house promises, by the names under which a breach is reported.
struct house_promise {
    static constexpr char const* unique = "unique_values";  ///< after each decision no two records hold the same values
    static constexpr char const* references = "references";    ///< … and nothing refers to what does not live
    static constexpr char const* permitted = "authorisation";  ///< who may not write is never heard
    static constexpr char const* checked = "validation";       ///< what the checks refuse is never there
    static constexpr char const* deletion = "deletion";      ///< a deletion takes along what is declared, nothing else
    static constexpr char const* refusal = "true_refusals";  ///< what a refusal says is so
    static constexpr char const* index = "index";            ///< the index is what building it anew gives
    static constexpr char const* once = "exactly_once";      ///< each change counts once, from a restored device too
    static constexpr char const* kept = "nothing_lost";  ///< at rest each write is home, gone with its record, or told
    static constexpr char const* explained = "explained";  ///< each write that has not ended is told, with its reason
    static constexpr char const* health = "health";        ///< health counts what is there; at rest a device is idle
    static constexpr char const* backup = "true_copy";     ///< a backup holds what the store held
    static constexpr char const* agreed = "convergence";   ///< at rest all hold what the authority holds
};

struct house_simulation_options {
    std::uint32_t steps = 250;
    bool tell = false;   ///< write the story
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct house_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t faults = 0;  ///< storage calls that were made to fail
    std::uint64_t power_cuts = 0;
    std::uint64_t written = 0;
    std::uint64_t decided = 0;    ///< mutations that got their verdict
    std::uint64_t taken = 0;      ///< … refused because another record holds the values
    std::uint64_t missing = 0;    ///< … because what they refer to is not there
    std::uint64_t needed = 0;     ///< … because somebody refers to what they delete
    std::uint64_t forbidden = 0;  ///< … because their writer may not
    std::uint64_t invalid = 0;    ///< … by a check
    std::uint64_t cascaded = 0;   ///< records that a deletion took along
    std::uint64_t orphaned = 0;
    std::uint64_t retried = 0;
    std::uint64_t purged = 0;
    std::uint64_t resolved = 0;  ///< conflicts that an operator decided
    std::uint64_t backups = 0;
    std::uint64_t restored = 0;  ///< devices that were put back to one
    std::uint64_t rebuilt = 0;   ///< times that the index was built anew
    std::uint64_t trace = 0;     ///< of all messages: the same on every machine
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

namespace detail {

using house_name = std::pair<std::string, std::string>;  ///< collection and id
using house_rows = std::map<house_name, row>;            ///< those that live

/// What was decided, and what the authority's rows were directly after it.
struct house_decision {
    replica_id device{};
    std::string principal;
    mutation change{};
    verdict said{};
    house_rows after{};
};
/// Keeps what the authority tells of a transaction. It writes nothing.
struct house_journal {
    std::vector<house_decision>* out = nullptr;
    template <class Tx>
    status operator()(Tx& tx, journal_note const& note) const {
        if (note.what != journal_event::decided || note.change == nullptr) { return {}; }
        house_decision d{note.device, std::string{note.principal}, *note.change, *note.said, {}};
        status const ok = scan_prefix(tx, bytes{std::byte{'a'}, std::byte{'r'}}, [&](bytes_view k, bytes_view v) {
            auto const at = record_key_from(k.subspan(2));
            cbor_reader in{v};
            row r = decode_row(in);
            if (at && !r.deleted) { d.after[{at->collection, std::string{at->id_text()}}] = std::move(r); }
            return true;
        });
        if (ok) { out->push_back(std::move(d)); }
        return ok;
    }
};

struct house_device : small_device<replica> {
    bool checked = true;
    std::map<std::string, house_name> wrote{};  ///< by mark: what it wrote and nobody has given up
    health_log log{};
    std::optional<bytes> copy{};  ///< its last backup
    std::map<std::string, house_name> wrote_then{};
    bool unsure = false;  ///< it was put back: what waits may be in the rows that it holds

    house_device(std::string who, std::uint64_t seed, rule_table const& rules, replica_options const& o)
        : small_device(std::move(who), seed, rules, o), checked(o.checks != nullptr) {}
};

using house_authority = authority<access_policy<>, house_journal>;

class house_world : small_world<house_simulation_options, house_simulation_report, house_device, house_authority> {
public:
    house_world(std::uint64_t seed, house_simulation_options const& o) : small_world(seed, 82, o) {}

    house_simulation_report run(step_dice& dice) {
        begin();
        live(dice, [&] { deed(); });
        if (fine()) { end(); }
        return finished();
    }

private:
    static constexpr std::size_t guest_bytes = 3;

    [[nodiscard]] static bool is_bound(bytes_view fields) { return !small_field(fields, "off"); }

    void begin() {
        rules_.add({"tickets",
                    rule::last_writer,
                    {{"n", rule::counter}, {"guest", one_in(3) ? rule::last_writer : rule::manual}}});
        rules_.add({"shows", rule::last_writer, {{"n", rule::counter}}});
        rules_.add({"notes", rule::last_writer, {{"n", rule::counter}}});
        field_check guest{"guest", field_types::text};
        guest.required = true;
        guest.length_max = guest_bytes;
        checks_.add({"tickets", {guest}});
        table_.uniques = {{"a_name", "shows", {"name"}, nullptr, one_in(2)},
                          {"one_a_seat", "tickets", {"show", "seat"}, is_bound}};
        auto const drawn = [&] { return static_cast<parent_deletion>(draw(3)); };
        table_.references = {{"ticket_show", "tickets", "show", "shows", drawn()},
                             {"note_ticket", "notes", "ticket", "tickets", drawn()},
                             {"note_note", "notes", "about", "notes", drawn()}};
        if (one_in(4)) { table_.reach_max = 1 + draw(3); }
        access_rule staff;
        staff.role = "staff";
        staff.collection = "tickets";
        staff.creates = staff.updates = staff.erases = true;
        access_rule managers = staff;
        managers.role = "manager";
        managers.collection = "shows";
        access_rule own = staff;  // notes are their writer's
        own.collection = "notes";
        own.owner = "by";
        policy_.emplace(std::vector<access_rule>{staff, managers, own},
                        role_source{[](std::string_view who, std::string_view role, void const* roles) {
                                        auto const& all = *static_cast<std::set<house_name> const*>(roles);
                                        return all.contains({std::string{role}, std::string{who}});
                                    },
                                    &roles_});
        options_of_home_.checks = &checks_;
        options_of_home_.constraints = &table_;
        options_of_home_.rows_max = 1 + draw(6);
        begin_home();
        for (char const* const who : {"anna", "ben", "cleo", "mallory"}) { roles_.insert({"staff", who}); }
        roles_.insert({"manager", "anna"});
        roles_.insert({"manager", "ben"});
        open_home();
        replica_options r;
        draw_pages(r);
        for (std::string_view const who : {"anna", "ben", "cleo", "anna", "guest", "mallory"}) {
            bool const own_program = who == "mallory";  // of their making: it checks nothing
            r.checks = own_program ? nullptr : &checks_;
            r.constraints = own_program ? nullptr : &table_;
            devices_.push_back(std::make_unique<house_device>(std::string{who}, random_(), rules_, r));
            devices_.back()->ahead = milliseconds{draw_number(60'000)};
            if (devices_.size() == 4) { devices_.back()->label = "anna's other device"; }
            open(*devices_.back());
        }
        // Some of it is there from the beginning.
        house_device& first = *devices_[0];
        for (house_name const& at :
             {house_name{"shows", "s0"}, {"tickets", "t0"}, {"tickets", "t1"}, {"notes", "n0"}}) {
            std::string const mark = next_mark('c', first);
            std::map<std::string, bytes> f{{mark, naive_item(1)}};
            if (at.first == "shows") { f["name"] = naive_item(0); }
            if (at.first == "notes") { f.insert({{"by", small_text(first.name)}, {"ticket", small_text("t0")}}); }
            if (at.first == "tickets") {
                f.insert({{"guest", small_text("g")}, {"show", small_text("s0")}});
                f["seat"] = naive_item(at.second == "t0" ? 0 : 1);
            }
            bytes const fields = small_fields(f);
            auto const out = first.box.attempt([&](auto& tx) {
                return first.self.create(tx, {at.first, at.second}, fields, now_of(first));
            });
            if (honest(out.took, "a record is not made")) { wrote(first, mark, at); }
        }
        for (auto const& d : devices_) {
            while (fine() && exchange_judged(*d)) {}
        }
    }

    /// The constraints' table is looked at here.
    void begin_home() {
        cloud_ = std::make_unique<house_authority>(rules_, options_of_home_, *policy_, house_journal{&told_});
    }

    // Deeds.

    void deed() {
        house_device& d = *draw_of(devices_);
        std::uint64_t const what = draw(64);
        if (what < 34 && d.name == "guest" && !one_in(4)) { return; }
        if (what < 8) {
            create(d);
        } else if (what < 20) {
            change(d);
        } else if (what < 23) {
            erase(d);
        } else if (what < 26) {
            write_group(d);
        } else if (what < 29) {
            ask(d);
        } else if (what < 32) {
            answer_judged(d);
        } else if (what < 35) {
            hear(d);
        } else if (what < 50) {
            for (std::uint64_t n = 1 + draw(4); n != 0 && fine(); --n) {
                ask(d);
                answer_judged(d);
                hear(d);
            }
        } else if (what < 54) {
            operate(d);
        } else if (what < 56) {
            if (one_in(3)) { appoint(); }
        } else if (what < 58) {
            back_up(d);
        } else if (what < 59) {
            put_back(d);
        } else if (what < 60) {
            if (one_in(3)) { build_anew(); }
        } else {
            cut(d);
            if (one_in(2)) { cut_home(); }
        }
        judge(d);
    }

    [[nodiscard]] std::string id_of(char kind, std::uint64_t n) { return kind + std::to_string(draw(n)); }
    [[nodiscard]] house_name draw_name() {
        switch (draw(4)) {
            case 0: return {"shows", id_of('s', 3)};
            case 1: return {"notes", id_of('n', 4)};
            default: return {"tickets", id_of('t', 6)};
        }
    }
    /// Mostly of what its principal may create.
    [[nodiscard]] house_name draw_new(house_device const& d) {
        house_name at = draw_name();
        for (int i = 0; i < 4 && !may(d.name, at, nullptr, nullptr) && !one_in(6); ++i) { at = draw_name(); }
        return at;
    }
    /// Mostly of a record that the device sees, and that its principal may change.
    [[nodiscard]] house_name draw_seen(house_device& d) {
        auto const seen = d.box.stored('r', 'v');
        if (seen.empty() || one_in(6)) { return draw_name(); }
        auto at = seen.begin();
        for (int i = 0; i < 4; ++i) {
            at = std::next(seen.begin(), draw_number(seen.size()));
            if (may(d.name, at->first, &at->second.what, nullptr) || one_in(6)) { break; }
        }
        return at->first;
    }
    /// Mostly of one that the device sees; now and then of any, or of one that never is.
    [[nodiscard]] bytes draw_reference(house_device& d, char kind, std::uint64_t n) {
        std::vector<std::string> seen;
        for (auto const& [id, fields] : d.box.rows('r', 'v')) {
            if (id[0] == kind) { seen.push_back(id); }
        }
        if (!seen.empty() && !one_in(6)) { return small_text(draw_of(seen)); }
        return one_in(8) ? small_text(std::string{kind} + "x") : small_text(id_of(kind, n));
    }
    [[nodiscard]] field_op draw_change(house_device& d, std::string const& collection) {
        if (collection == "shows") { return small_set("name", naive_item(draw_number(3))); }
        if (collection == "notes") {
            switch (draw(5)) {
                case 0: return small_set("by", small_text(draw_of(devices_)->name));
                case 1:
                case 2: return small_set("ticket", draw_reference(d, 't', 6));
                default: return small_set("about", draw_reference(d, 'n', 4));
            }
        }
        switch (draw(6)) {
            case 0: return small_set("show", draw_reference(d, 's', 3));
            case 1:
            case 3: {
                auto const length = static_cast<std::size_t>(1 + draw(one_in(6) ? 5 : 3));
                return small_set("guest", small_text(std::string(length, draw(2) == 0 ? 'g' : 'h')));
            }
            case 2: return one_in(2) ? small_set("off", naive_item(1)) : field_op{"off", op_kind::unset, {}, {}};
            default: return small_set("seat", naive_item(draw_number(3)));
        }
    }
    [[nodiscard]] std::string next_mark(char kind, house_device const& d) {
        return kind + d.name + std::to_string(report_.written);
    }
    [[nodiscard]] bytes draw_fields(house_device& d, std::string const& collection, std::string const& mark) {
        std::map<std::string, bytes> f{{mark, naive_item(1)}};
        if (collection == "shows") { f["name"] = naive_item(draw_number(3)); }
        if (collection == "notes") {
            f["by"] = small_text(one_in(8) ? draw_of(devices_)->name : d.name);
            if (!one_in(3)) { f["ticket"] = draw_reference(d, 't', 6); }
            if (one_in(2)) { f["about"] = draw_reference(d, 'n', 4); }
        }
        if (collection == "tickets") {
            if (!one_in(8)) { f["guest"] = small_text("g"); }
            if (!one_in(8)) { f["show"] = draw_reference(d, 's', 3); }
            f["seat"] = naive_item(draw_number(3));
        }
        return small_fields(f);
    }
    [[nodiscard]] static field_op counted() { return {"n", op_kind::add, naive_item(1), {}}; }
    void wrote(house_device& d, std::string const& mark, house_name const& at) {
        ++report_.written;
        d.wrote[mark] = at;
    }
    void create(house_device& d) {
        house_name const at = draw_new(d);
        std::string const mark = next_mark('c', d);
        bytes const fields = draw_fields(d, at.first, mark);
        bool const took = attempt(d, [&](auto& tx) {
            return d.self.create(tx, {at.first, at.second}, fields, now_of(d));
        });
        excused("a creation is refused", errc::already_exists, errc::invalid, errc::not_found);
        tell(d.label + " creates " + told(at, fields) + ending(took));
        if (took) { wrote(d, mark, at); }
    }
    void change(house_device& d) {
        house_name const at = draw_seen(d);
        std::string const mark = next_mark('u', d);
        field_op const op = draw_change(d, at.first);
        bool const took = attempt(d, [&](auto& tx) {
            return d.self.update(tx, {at.first, at.second}, {op, counted(), small_set(mark, naive_item(1))}, now_of(d));
        });
        excused("a change is refused", errc::invalid, errc::not_found);
        tell(d.label + " changes " + op.field + " of " + at.second + ", " + mark + ending(took));
        if (took) { wrote(d, mark, at); }
    }
    void erase(house_device& d) {
        house_name const at = draw_seen(d);
        bool const took = attempt(d, [&](auto& tx) { return d.self.erase(tx, {at.first, at.second}, now_of(d)); });
        excused("a deletion is refused", errc::not_found);
        tell(d.label + " deletes " + at.second + ending(took));
        if (!took) { return; }
        ++report_.written;
        deleted(d, at);
    }
    /// What waits on it goes with it, by its own writer.
    static void deleted(house_device& d, house_name const& at) {
        std::erase_if(d.wrote, [&](auto const& w) { return w.second == at; });
    }
    /// Two seats are exchanged; a show is made with a ticket; or a show goes, and a ticket with it.
    void write_group(house_device& d) {
        record_group g;
        std::vector<std::pair<std::string, house_name>> marks;
        auto const marked = [&](char kind, house_name const& at) {
            marks.emplace_back(next_mark(kind, d) + "." + std::to_string(marks.size()), at);
            return marks.back().first;
        };
        auto const seat = [&](house_name const& at, std::int64_t n) {
            g.update({at.first, at.second},
                     {small_set("seat", naive_item(n)), counted(), small_set(marked('u', at), naive_item(1))});
        };
        std::uint64_t const kind = draw(3);
        house_name const show{"shows", id_of('s', 3)};
        house_name const one{"tickets", id_of('t', 6)};
        house_name const other{"tickets", id_of('t', 6)};
        if (kind == 0) {
            auto const seen = d.box.rows('r', 'v');
            auto const a = seen.find(one.second);
            auto const b = seen.find(other.second);
            if (a == seen.end() || b == seen.end() || a == b) { return; }
            seat(one, small_number(b->second, "seat"));
            seat(other, small_number(a->second, "seat"));
        } else if (kind == 1) {
            std::string const first = marked('c', show);
            g.create({show.first, show.second}, draw_fields(d, show.first, first));
            std::string const second = marked('c', one);
            g.create({one.first, one.second}, small_fields({{second, naive_item(1)},
                                                            {"guest", small_text("g")},
                                                            {"show", small_text(show.second)},
                                                            {"seat", naive_item(draw_number(3))}}));
        } else {
            bool const parent_first = one_in(2);
            if (parent_first) { g.erase({show.first, show.second}); }
            g.erase({one.first, one.second});
            if (!parent_first) { g.erase({show.first, show.second}); }
        }
        bool const took = attempt(d, [&](auto& tx) { return d.self.write_group(tx, g, now_of(d)); });
        excused("a group is refused", errc::already_exists, errc::invalid, errc::not_found);
        tell(d.label +
             (kind == 0   ? " exchanges the seats of " + one.second + " and " + other.second
              : kind == 1 ? " creates " + show.second + " with " + one.second
                          : " deletes " + one.second + " and " + show.second) +
             ending(took));
        if (!took) { return; }
        ++report_.written;
        for (auto const& [mark, at] : marks) { d.wrote[mark] = at; }
        if (kind == 2) {
            deleted(d, one);
            deleted(d, show);
        }
    }
    [[nodiscard]] static std::string told(house_name const& at, bytes_view fields) {
        std::string out = at.second;
        for (char const* const f : {"show", "ticket", "about", "by"}) {
            auto const v = small_field(fields, f);
            if (v) { out += std::string{" "} + f + " " + std::string{cbor_reader{*v}.text()}; }
        }
        for (char const* const f : {"name", "seat"}) {
            if (small_field(fields, f)) { out += std::string{" "} + f + " " + std::to_string(small_number(fields, f)); }
        }
        return out;
    }

    /// Rights come and go.
    void appoint() {
        house_name const right =
            one_in(2) ? house_name{"manager", one_in(2) ? "anna" : "cleo"} : house_name{"staff", "ben"};
        bool const gives = !roles_.contains(right);
        if (gives) {
            roles_.insert(right);
        } else {
            roles_.erase(right);
        }
        tell(right.second + (gives ? " becomes " : " is not ") + right.first);
    }

    // Operations.

    [[nodiscard]] std::vector<write_report> reports(house_device& d) {
        std::vector<write_report> out;
        auto const ok = d.box.read([&](auto& tx) {
            return scan_writes(tx, d.self, {}, [&](write_report const& w) {
                out.push_back(w);
                return true;
            });
        });
        honest(ok.has_value(), "what waits can't be listed");
        return out;
    }
    /// Marks that a write would set.
    [[nodiscard]] static std::set<std::string> marks_of(write_report const& w) {
        std::set<std::string> out;
        for (std::string const& f : w.fields) {
            if (is_mark(f)) { out.insert(f); }
        }
        return out;
    }
    [[nodiscard]] static bool is_mark(std::string_view f) { return f.size() > 4 && (f[0] == 'c' || f[0] == 'u'); }

    void operate(house_device& d) {
        auto const all = reports(d);
        if (all.empty()) { return; }
        write_report w = draw_of(all);
        for (write_report const& one : all) {
            if (one.standing == write_standing::conflict && !one_in(4)) { w = one; }
        }
        std::string const named = name(w.standing) + std::string{" write of "} + std::string{w.record.id_text()};
        bool const parked = w.standing == write_standing::conflict;
        bool const ended = w.standing == write_standing::refused || w.standing == write_standing::forked;
        // A fork's marks are written under another name: sent again, they would count twice, as the words say.
        if (w.standing == write_standing::forked || (ended && one_in(3))) {
            bool const took = attempt(d, [&](auto& tx) { return purge_write(tx, d.self, w.token); });
            excused("a dead letter can't be purged");
            tell("an operator purges a " + named + " of " + d.label + ending(took));
            if (!took) { return; }
            ++report_.purged;
            for (std::string const& m : marks_of(w)) { d.wrote.erase(m); }
        } else if (parked) {
            bool const local = one_in(2);
            bool const took = attempt(d, [&](auto& tx) {
                return decide_conflict(tx, d.self, w.token,
                                       local ? field_resolution::choice::local : field_resolution::choice::remote,
                                       now_of(d));
            });
            // Its record is gone, or the checks refuse what it would be.
            excused("a conflict can't be decided", errc::invalid, errc::contended, errc::not_found);
            tell("an operator decides a " + named + " of " + d.label + ending(took));
            report_.resolved += took ? 1 : 0;
            if (took) { gave_up(d, w.record); }
        } else if (!ended && one_in(4)) {
            bool const took = attempt(d, [&](auto& tx) { return purge_write(tx, d.self, w.token); });
            holds(!took, house_promise::kept, "what is pending was purged");
            excused("what is pending is not kept from being purged", errc::invalid);
        } else {
            bool const took = attempt(d, [&](auto& tx) { return retry_write(tx, d.self, w.token, now_of(d)); });
            excused("a write can't be retried");
            tell("an operator retries a " + named + " of " + d.label + ending(took));
            report_.retried += took && ended ? 1 : 0;
        }
    }
    /// What ends with a conflict its operator has seen.
    void gave_up(house_device& d, record_key const& k) {
        house_name const at{k.collection, std::string{k.id_text()}};
        std::erase_if(d.wrote, [&](auto const& w) { return w.second == at && !was_home_.contains(w.first); });
    }

    /// What a store holds.
    [[nodiscard]] static std::map<bytes, bytes> everything(simulated_machine& box) {
        std::map<bytes, bytes> out;
        (void)box.read([&](auto& tx) {
            return tx.scan({}, [&](bytes_view k, bytes_view v) {
                out[to_bytes(k)] = to_bytes(v);
                return true;
            });
        });
        return out;
    }
    void back_up(house_device& d) {
        bool const of_home = one_in(3);
        simulated_machine& box = of_home ? home_ : d.box;
        bytes copy;
        auto const page = static_cast<std::size_t>(1 + draw(2'000));
        auto const done = box.read([&](auto& tx) {
            return write_backup(
                tx,
                [&](bytes_view piece) -> status {
                    append(copy, piece);
                    return {};
                },
                page);
        });
        if (!honest(done.has_value(), "no backup can be taken")) { return; }
        ++report_.backups;
        tell("a backup of " + (of_home ? std::string{"the authority"} : d.label));
        simulated_machine fresh;
        bool const cut_short = one_in(4);
        bytes_view const some = bytes_view{copy}.first(copy.size() - (cut_short ? 1 + draw(copy.size() - 1) : 0));
        auto const back = fresh.attempt([&](auto& tx) { return restored(tx, some); });
        holds(back.took != cut_short, house_promise::backup,
              cut_short ? "a backup that was cut short is taken" : "a backup can't be put back");
        if (back.took) { holds(everything(fresh) == everything(box), house_promise::backup, "a backup is another"); }
        if (!of_home) {
            d.copy = std::move(copy);
            d.wrote_then = d.wrote;
        }
    }
    /// Into a store whose own keys are erased first, in pieces as a file would be read.
    template <class Tx>
    [[nodiscard]] status restored(Tx& tx, bytes_view copy) {
        std::vector<bytes> old;
        auto ok = tx.scan({}, [&](bytes_view k, bytes_view) {
            old.push_back(to_bytes(k));
            return true;
        });
        for (std::size_t i = 0; ok && i < old.size(); ++i) { ok = tx.erase(old[i]); }
        backup_reader in;
        while (ok && !copy.empty()) {
            auto const n = (std::min)(copy.size(), static_cast<std::size_t>(1 + draw(3'000)));
            ok = in.take(tx, copy.first(n));
            copy = copy.subspan(n);
        }
        if (!ok) { return ok; }
        auto const whole = in.finish();
        return whole ? status{} : whole.error();
    }
    /// A device is put back to its last backup; what it wrote since and did not send is lost with it.
    void put_back(house_device& d) {
        if (!d.copy) { return; }
        bool const took = d.box.attempt([&](auto& tx) { return restored(tx, *d.copy); }).took;
        if (!honest(took, "a backup can't be put back")) { return; }
        ++report_.restored;
        tell(d.label + " is put back to a backup");
        d.wrote = d.wrote_then;
        d.unsure = true;
        auto const name = d.box.read([&](auto& tx) { return d.self.self(tx); });
        open(d);
        (void)exchange_judged(d);
        auto const now = d.box.read([&](auto& tx) { return d.self.self(tx); });
        if (!fine() || !honest(name && now, "a device has no name")) { return; }
        if (*name != *now) { return; }
        honest(d.box.attempt([&](auto& tx) { return d.self.renew(tx, d.random); }).took, "no new name is taken");
    }
    /// The index is made anew, in steps that may go wrong; meanwhile nothing is answered.
    void build_anew() {
        ++table_.version;
        ++report_.rebuilt;
        tell("the constraints' index is made anew");
        begin_home();
        bool more = true;
        for (int left = 400; more && fine(); --left) {
            holds(left > 0, small_promise::rest, "the index is never built");
            auto const budget = static_cast<std::size_t>(1 + draw(5));
            auto const out = home_.attempt(draw_mishap(random_), [&](auto& tx) {
                auto r = cloud_->build_constraints(tx, budget, [&](record_key const& k, refusal const& why) {
                    broken(house_promise::unique, std::string{k.id_text()} + " stands against " + to_text(why));
                });
                if (r) { more = r->more; }
                return r;
            });
            report_.faults += out.faulty ? 1 : 0;
            if (!out.took) { more = true; }
            if (one_in(10)) { cut_home(); }
        }
    }

    // The judge.

    void answer_judged(house_device& d) {
        told_.clear();
        if (answer(d)) { judge_home(); }
    }
    bool exchange_judged(house_device& d) {
        told_.clear();
        bool const more = exchange(d);
        judge_home();
        return more;
    }
    [[nodiscard]] house_rows living() {
        house_rows out;
        for (auto& [at, held] : home_.stored('a', 'r')) {
            if (!held.what.deleted) { out[at] = std::move(held.what); }
        }
        return out;
    }
    void judge_home() {
        if (!fine()) { return; }
        house_rows before = home_rows_;
        for (house_decision const& d : told_) {
            ++report_.decided;
            judge_decision(before, d);
            before = d.after;
        }
        home_rows_ = living();
        judge_index();
    }

    /// What a record refers to by a constraint; empty where it refers to nothing.
    [[nodiscard]] static house_name parent_of(reference_constraint const& c, house_name const& at, row const& r) {
        auto const v = at.first == c.collection ? small_field(r.fields, c.field) : std::nullopt;
        return v ? house_name{c.parent, std::string{cbor_reader{*v}.text()}} : house_name{};
    }
    /// The values that a record holds under a constraint; nothing where it is not bound.
    [[nodiscard]] static std::optional<std::vector<bytes>> values_of(unique_constraint const& c, house_name const& at,
                                                                     bytes_view fields) {
        if (at.first != c.collection || (c.binds != nullptr && !c.binds(fields))) { return std::nullopt; }
        std::vector<bytes> out;
        for (std::string const& f : c.fields) {
            auto v = small_field(fields, f);
            if (!v) { return std::nullopt; }
            out.push_back(std::move(*v));
        }
        return out;
    }
    /// Whether a record counts each change that it shows, once.
    void count(std::string const& whose, bytes_view fields) {
        std::int64_t marks = 0;
        std::string all;
        cbor_map_cursor at{fields};
        while (!fields.empty() && at.next()) {
            bool const change = is_mark(at.key()) && at.key()[0] == 'u';
            marks += change ? 1 : 0;
            if (change) { all += " " + std::string{at.key()}; }
        }
        std::int64_t const n = small_number(fields, "n");
        holds(marks == n, house_promise::once, whose + " counts " + std::to_string(n) + " changes, and has" + all);
    }

    void judge_decision(house_rows const& before, house_decision const& d) {
        mutation const& m = d.change;
        house_name const at{m.record.collection, std::string{m.record.id_text()}};
        for (field_op const& op : m.ops) {
            if (is_mark(op.field) && d.said.kind == verdict_kind::overruled) { was_home_.insert(op.field); }
        }
        judge_state(d.after);
        bool const alone = m.sequence != 0;  // no part of a group
        auto const was = before.find(at);
        auto const is = d.after.find(at);
        bool const same = was == before.end() ? is == d.after.end() : is != d.after.end() && is->second == was->second;
        holds(same || may(d.principal, at, was == before.end() ? nullptr : &was->second,
                          is == d.after.end() ? nullptr : &is->second),
              house_promise::permitted, d.principal + " has written " + at.second);
        if (d.said.kind == verdict_kind::rejected) {
            holds(d.after == before, house_promise::refusal, "what was refused has had an effect, on " + at.second);
            judge_refusal(before, d, at, alone);
            return;
        }
        if (!alone) { return; }
        if (m.kind == change_kind::erase && was != before.end() && is == d.after.end()) {
            judge_deletion(before, d.after, at);
            return;
        }
        for (auto const& [name, r] : before) {
            auto const now = d.after.find(name);
            holds(name == at || (now != d.after.end() && now->second == r), house_promise::deletion,
                  "a change of " + at.second + " has changed " + name.second);
        }
    }
    void judge_state(house_rows const& all) {
        std::map<std::pair<std::string, std::vector<bytes>>, std::string> held;
        for (auto const& [at, r] : all) {
            for (unique_constraint const& c : table_.uniques) {
                auto const values = values_of(c, at, r.fields);
                if (!values) { continue; }
                auto const [first, fresh] = held.try_emplace({c.name, *values}, at.second);
                holds(fresh, house_promise::unique, c.name + ": " + first->second + " and " + at.second);
            }
            for (reference_constraint const& c : table_.references) {
                house_name const parent = parent_of(c, at, r);
                holds(parent.second.empty() || all.contains(parent), house_promise::references,
                      at.second + " refers to " + parent.second + ", which is not there");
            }
            if (at.first == "tickets") {
                auto const guest = small_field(r.fields, "guest");
                holds(guest && cbor_reader{*guest}.text().size() <= guest_bytes, house_promise::checked,
                      "the guest of " + at.second);
            }
            count(at.second, r.fields);
            cbor_map_cursor field{r.fields};
            while (field.next()) {
                if (is_mark(field.key())) { was_home_.insert(std::string{field.key()}); }
            }
        }
    }
    /// Whether the rules allow somebody a change of a record.
    [[nodiscard]] bool may(std::string const& who, house_name const& at, row const* was, row const* is) const {
        if (at.first == "shows") { return roles_.contains({"manager", who}); }
        if (!roles_.contains({"staff", who})) { return false; }
        auto const owns = [&](row const* r) { return r == nullptr || small_field(r->fields, "by") == small_text(who); };
        return at.first != "notes" || (owns(was) && owns(is));
    }

    /// What a deletion comes to, by the references as declared.
    struct naive_deletion {
        std::set<house_name> doomed{};
        std::map<house_name, std::set<std::string>> orphaned{};
        std::set<house_name> needing{};
        std::size_t reach = 0;  ///< as it is limited: who is orphaned and deleted counts twice
    };
    [[nodiscard]] naive_deletion deletion_of(house_rows const& all, house_name const& at) const {
        naive_deletion out;
        out.doomed.insert(at);
        for (bool more = true; more;) {
            more = false;
            for (auto const& [child, r] : all) {
                for (reference_constraint const& c : table_.references) {
                    if (child == at || !out.doomed.contains(parent_of(c, child, r))) { continue; }
                    switch (c.deletion) {
                        case parent_deletion::refused: out.needing.insert(child); break;
                        case parent_deletion::orphans: out.orphaned[child].insert(c.field); break;
                        case parent_deletion::cascades: more |= out.doomed.insert(child).second; break;
                    }
                }
            }
        }
        out.reach = out.doomed.size() - 1 + out.orphaned.size();
        for (house_name const& d : out.doomed) {
            out.needing.erase(d);
            out.orphaned.erase(d);
        }
        return out;
    }
    void judge_deletion(house_rows const& before, house_rows const& after, house_name const& at) {
        naive_deletion const should = deletion_of(before, at);
        holds(should.needing.empty(), house_promise::deletion,
              "the deletion of " + at.second + " leaves who needs it without it");
        holds(should.doomed.size() - 1 + should.orphaned.size() <= table_.reach_max, house_promise::deletion,
              "the deletion of " + at.second + " reaches too far");
        report_.cascaded += should.doomed.size() - 1;
        report_.orphaned += should.orphaned.size();
        for (auto const& [name, r] : before) {
            auto const now = after.find(name);
            auto const orphan = should.orphaned.find(name);
            bool const gone = should.doomed.contains(name);
            bool as_declared = gone == (now == after.end());
            if (!gone && now != after.end()) {
                std::map<std::string, bytes> left;
                cbor_map_cursor field{r.fields};
                while (field.next()) {
                    std::string const f{field.key()};
                    if (orphan == should.orphaned.end() || !orphan->second.contains(f)) {
                        left[f] = to_bytes(field.value());
                    }
                }
                as_declared =
                    now->second.fields == small_fields(left) && (orphan != should.orphaned.end() || now->second == r);
            }
            holds(as_declared, house_promise::deletion,
                  "the deletion of " + at.second + " makes something else of " + name.second);
        }
        holds(after.size() + should.doomed.size() == before.size(), house_promise::deletion,
              "the deletion of " + at.second + " makes records");
    }
    /// Whether what a refusal says is so. Of a group the state that it was decided on is not known here.
    void judge_refusal(house_rows const& before, house_decision const& d, house_name const& at, bool alone) {
        auto const why = refusal_from(d.said.text);
        auto const was = before.find(at);
        row const* const there = was == before.end() ? nullptr : &was->second;
        report_.forbidden += d.said.reason == errc::forbidden ? 1 : 0;
        report_.invalid += d.said.reason == errc::invalid ? 1 : 0;
        if (why) {
            report_.taken += why->kind == refusal_kind::taken ? 1 : 0;
            report_.missing += why->kind == refusal_kind::missing ? 1 : 0;
            report_.needed += why->kind == refusal_kind::needed ? 1 : 0;
        }
        if (!alone) { return; }
        mutation const& m = d.change;
        if (d.said.reason == errc::forbidden && at.first != "notes") {
            holds(!may(d.principal, at, there, nullptr), house_promise::refusal,
                  d.principal + " is refused what they may, on " + at.second);
        }
        if (!why) { return; }
        house_name const other =
            why->other ? house_name{why->other->collection, std::string{why->other->id_text()}} : house_name{};
        bool so = true;
        switch (why->kind) {
            case refusal_kind::missing: so = !before.contains(other); break;
            case refusal_kind::needed: so = deletion_of(before, at).needing.contains(other); break;
            case refusal_kind::reach: so = deletion_of(before, at).reach > table_.reach_max; break;
            case refusal_kind::taken: {
                so = false;
                for (auto const& [name, r] : before) {
                    bool const told = why->other.has_value();
                    so = so || (name != at && (!told || name == other) && collides(why->constraint, name, r, m, there));
                }
                break;
            }
        }
        holds(so, house_promise::refusal, at.second + " is refused with \"" + d.said.text + "\", which is not so");
    }
    /// Whether a record holds what a change would have given another one: what it sets, or what was there.
    [[nodiscard]] bool collides(std::string const& constraint, house_name const& holder, row const& held,
                                mutation const& m, row const* there) const {
        for (unique_constraint const& c : table_.uniques) {
            auto const values = c.name == constraint ? values_of(c, holder, held.fields) : std::nullopt;
            if (!values) { continue; }
            bool all = true;
            for (std::size_t i = 0; i < c.fields.size(); ++i) {
                bool one = there != nullptr && small_field(there->fields, c.fields[i]) == (*values)[i];
                for (field_op const& op : m.ops) {
                    one = one || (op.field == c.fields[i] && op.kind == op_kind::set && op.value == (*values)[i]);
                }
                all = all && one;
            }
            if (all) { return true; }
        }
        return false;
    }
    /// The index is held against one that is made anew, of the same rows.
    void judge_index() {
        memory_storage copy;
        std::map<bytes, bytes> had;
        auto const all = everything(home_);
        {
            auto tx = copy.begin(access_mode::write);
            bool ok = tx.has_value();
            for (auto const& [k, v] : all) {
                bool const of_index = k.size() > 1 && k[0] == std::byte{'a'} &&
                                      (k[1] == std::byte{'x'} || k[1] == std::byte{'y'} || k[1] == std::byte{'c'});
                if (of_index && k[1] != std::byte{'c'}) { had[k] = v; }
                ok = ok && (of_index || tx->put(k, v));
            }
            house_authority const fresh{rules_, options_of_home_, *policy_, house_journal{&told_}};
            for (bool more = true; ok && more;) {
                auto const r = fresh.build_constraints(*tx, 1'000, [](record_key const&, refusal const&) {});
                ok = r.has_value();
                more = r && r->more;
            }
            ok = ok && tx->commit();
            if (!honest(ok, "no index can be built")) { return; }
        }
        std::map<bytes, bytes> made;
        auto tx = copy.begin(access_mode::read);
        for (char const kind : {'x', 'y'}) {
            (void)scan_prefix(*tx, bytes{std::byte{'a'}, static_cast<std::byte>(kind)},
                              [&](bytes_view k, bytes_view v) {
                                  made[to_bytes(k)] = to_bytes(v);
                                  return true;
                              });
        }
        holds(had == made, house_promise::index, "the index is not that of the rows");
    }

    /// What a device shows of itself.
    void judge(house_device& d) {
        if (!fine()) { return; }
        for (auto const& [at, held] : d.box.stored('r', 'v')) {
            if (!held.what.deleted && !d.unsure) { count(at.second + " at " + d.label, held.what.fields); }
        }
        auto const all = reports(d);
        auto const health = d.box.read([&](auto& tx) { return stored_health(tx, d.self, d.log, now_of(d)); });
        if (!honest(health.has_value(), "a device's health can't be told")) { return; }
        d.unsure = d.unsure && health->pending != 0;
        std::set<std::uint64_t> tokens;
        std::uint64_t dead = 0, parked = 0;
        for (write_report const& w : all) {
            holds(tokens.insert(w.token).second, house_promise::explained, "a write is told twice");
            holds(w.standing != write_standing::damaged && !w.why.empty(), house_promise::explained,
                  "a write of " + d.label + " is not explained");
            dead += w.standing == write_standing::refused || w.standing == write_standing::forked ? 1 : 0;
            parked += w.standing == write_standing::conflict ? 1 : 0;
            auto const again = d.box.read([&](auto& tx) { return explain(tx, d.self, w.token); });
            holds(again && again->why == w.why, house_promise::explained, "one write is explained otherwise than all");
        }
        for (write_report const& w : all) {
            holds(w.behind == 0 || (tokens.contains(w.behind) && w.behind != w.token), house_promise::explained,
                  "a write is behind one that is not there");
        }
        bool const counted = health->dead == dead && health->conflicts == parked &&
                             health->pending == all.size() - dead - parked &&
                             health->oldest.has_value() == (health->pending != 0);
        holds(counted, house_promise::health, d.label + "'s health does not count what is there");
    }

    // At the end.

    void end() {
        tell("the trouble is over");
        int left = rest_max;
        for (int round = 0; round < 4 && fine(); ++round) {
            for (auto const& d : devices_) {
                for (bool more = true; fine() && more;) {
                    more = exchange_judged(*d);
                    holds(--left > 0, small_promise::rest, "it does not come to rest");
                }
            }
        }
        for (auto const& d : devices_) {
            if (fine()) { judge_rest(*d); }
        }
    }
    void judge_rest(house_device& d) {
        judge(d);
        std::map<house_name, bytes> seen, home;
        for (auto& [at, held] : d.box.stored('r', 'v')) {
            if (!held.what.deleted) { seen[at] = held.what.fields; }
        }
        for (auto const& [at, r] : home_rows_) { home[at] = r.fields; }
        holds(seen == home, house_promise::agreed, d.label + " holds something else");
        auto const health = d.box.read([&](auto& tx) { return stored_health(tx, d.self, d.log, now_of(d)); });
        honest(health.has_value(), "a device's health can't be told");
        holds(health && health->state == health_state::idle && health->pending == 0, house_promise::health,
              d.label + " is not idle at rest");
        std::set<std::string> waiting;
        for (write_report const& w : reports(d)) {
            auto const some = marks_of(w);
            waiting.insert(some.begin(), some.end());
        }
        auto const ok = d.box.read([&](auto& tx) {
            return d.self.conflicts(tx, [&](open_conflict const& c) {  // all of it is parked, and told by what is asked
                for (field_op const& op : c.local.ops) { waiting.insert(op.field); }
                return true;
            });
        });
        honest(ok.has_value(), "conflicts can't be listed");
        for (auto const& [mark, at] : d.wrote) {
            holds(was_home_.contains(mark) || waiting.contains(mark), house_promise::kept,
                  d.label + "'s " + mark + " of " + at.second + " is nowhere");
        }
    }

    rule_table rules_{};
    check_table checks_{};
    constraint_table table_{};
    std::optional<access_policy<>> policy_{};
    authority_options options_of_home_{};
    std::set<house_name> roles_{};        ///< role and principal
    std::vector<house_decision> told_{};  ///< of the answer that is being made
    house_rows home_rows_{};              ///< after the last answer
    std::set<std::string> was_home_{};    ///< marks that a record had at home, or that were overruled, which is told
};

}  // namespace detail

/// One life of a house. The same seed and options give the same life and the same report, on every machine. With `only`,
/// the whole life is lived first, for its dice.
[[nodiscard]] inline house_simulation_report simulate_houses(std::uint64_t seed,
                                                             house_simulation_options const& o = {}) {
    return detail::live_life<detail::house_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline house_simulation_options shrink_houses(house_simulation_report const& failed,
                                                            house_simulation_options o = {},
                                                            std::size_t lives = 1'000) {
    return detail::shrink_life<detail::house_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
