// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Device to device in a simulated world: devices meet, hand on what they carry, and come home or don't; one is lost for ever,
/// a stranger forges. Each write sets a mark of its own and counts one, so that what counts twice shows in any stored row.
/// In every fourth life most devices hold scopes, not all the same, which they leave and join.

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

#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/peer_exchange.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/testing/naive_merge.hpp>
#include <syncline/testing/simulated_machine.hpp>
#include <syncline/testing/small_world.hpp>
#include <syncline/testing/step_dice.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What meetings promise, by the names under which a breach is reported.
struct peer_promise {
    /// In every stored row, at home and on each device, there are as many counts as marks: each write once, or not yet.
    static constexpr char const* once = "exactly_once";
    /// What was written to two records together is in both, at home and on each device that has all.
    static constexpr char const* whole = "group_atomicity";
    /// At rest what was written is home, by whoever's hands; of a lost device, what others had of it.
    static constexpr char const* kept = "nothing_lost";
    static constexpr char const* seen = "visible_state";  ///< who wrote it sees it, from then on
    /// What others bring home is there with all that its writer saw of its records.
    static constexpr char const* after = "causality";
    static constexpr char const* sealed = "authorisation";  ///< what is forged never gets home
    /// No device that holds scopes shows by a peer's doing what is in none of them, or hears where such a thing stands.
    static constexpr char const* apart = "scopes";
    static constexpr char const* same =
        "convergence";  ///< at rest all hold what the authority holds, and carry nothing
};

struct peer_simulation_options {
    std::uint32_t steps = 150;
    bool tell = false;  ///< write the story
    /// A mistake of the authority's host, to show that the judge sees it: its gate looks at no seal.
    bool open_gate = false;
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct peer_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t faults = 0;  ///< storage calls that were made to fail
    std::uint64_t power_cuts = 0;
    std::uint64_t written = 0;
    std::uint64_t grouped = 0;   ///< … of which to two records together
    std::uint64_t handed = 0;    ///< envelopes that a meeting brought
    std::uint64_t carried = 0;   ///< … and that somebody else brought home
    std::uint64_t forged = 0;    ///< envelopes
    std::uint64_t orphans = 0;   ///< writes of a lost device that others brought home
    std::uint64_t unseen = 0;    ///< envelopes that a meeting brought to who may not see what they write
    std::uint64_t told = 0;      ///< confirmed rows that a peer told to who holds scopes
    std::uint64_t put_back = 0;  ///< how often the authority was put back to a backup
    std::uint64_t trace = 0;     ///< of all messages: the same on every machine
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

namespace detail {

struct meeting_device : small_device<replica> {
    mac_sealer sealer;
    bool lost = false;                 ///< for ever
    std::set<std::string> may{};       ///< its scopes, of which it asks for some; none: it holds everything
    std::vector<std::string> marks{};  ///< of what it wrote, in order
    std::set<meeting_device const*> builds_on{};
    meeting_device(std::string who, std::uint64_t seed, rule_table rules, replica_options o)
        : small_device(std::move(who), seed, std::move(rules), std::move(o)),
          sealer(as_bytes(name), as_bytes("a key that is " + name + "'s")) {}
};

class peer_world : small_world<peer_simulation_options, peer_simulation_report, meeting_device> {
public:
    peer_world(std::uint64_t seed, peer_simulation_options const& o) : small_world(seed, 79, o), seed_(seed) {}

    peer_simulation_report run(step_dice& dice) {
        begin();
        live(dice, [&] { deed(); });
        if (fine()) { end(); }
        report_.carried = relayed_;
        return finished();
    }

private:
    using device = meeting_device;
    using records = simulated_machine::row_fields;

    [[nodiscard]] static rule_table rules() {
        rule_table table;
        table.add({"things", rule::last_writer, {{"count", rule::counter}}});
        return table;
    }
    [[nodiscard]] static bytes integer(std::int64_t n) {
        bytes out;
        cbor_writer{out}.integer(n);
        return out;
    }
    [[nodiscard]] static record_key thing(std::string_view id) { return {"things", id}; }

    // Scopes: the things up to c, and those from c on.

    [[nodiscard]] static bool in_scope(std::string_view id, std::string_view name) {
        return name == "first" ? id <= "c" : id >= "c";
    }
    void begin_scopes() {
        static std::string const names[] = {"first", "last"};
        std::vector<scope_rule> rules;
        for (std::string const& name : names) {
            scope_rule& r = rules.emplace_back();
            r.name = name;
            r.holds = [](record_key const& k, row const&, void const* of) {
                return in_scope(k.id_text(), *static_cast<std::string const*>(of));
            };
            r.data = &name;
            r.role = name;
        }
        auto const has = [](std::string_view who, std::string_view role, void const*) {
            return who == "dora" ? role == "all" : who == "anna" || (role == (who == "ben" ? "first" : "last"));
        };
        scopes_.emplace(std::move(rules), role_source{has, nullptr}, "all");
    }
    /// The scopes that a device asks for, and whether it holds all of them.
    [[nodiscard]] std::pair<std::set<std::string>, bool> asks_for(device& d) {
        std::pair<std::set<std::string>, bool> out{{}, true};
        auto const ok = d.box.read([&](auto& tx) {
            return d.self.scopes(tx, [&](held_scope const& h) {
                if (scope_book::asked(h)) { out.first.insert(h.what.name); }
                out.second = out.second && h.is == held_scope::state::complete;
                return true;
            });
        });
        honest(ok.has_value(), "scopes can't be read");
        return out;
    }
    [[nodiscard]] static bool in_any(std::string_view id, std::set<std::string> const& names) {
        return std::any_of(names.begin(), names.end(), [&](std::string const& n) { return in_scope(id, n); });
    }
    void change_scopes(device& d) {
        if (d.may.empty()) { return; }
        auto at = d.may.begin();
        std::advance(at, draw_number(d.may.size()));
        std::string const& name = *at;
        bool const leaves = asks_for(d).first.contains(name);
        bool const took = attempt(d, [&](auto& tx) {
            return leaves ? d.self.leave(tx, {name, {}}) : d.self.join(tx, {name, {}});
        });
        honest(took || failed_ || why_ == errc{}, "scopes can't be changed");
        tell(d.name + (leaves ? " leaves the " : " joins the ") + name + ending(took));
        if (!took || draw(2) == 0) { return; }
        (void)attempt(d, [&](auto& tx) { return d.self.evict(tx, 1 + draw(6)); });
        honest(failed_ || why_ == errc{}, "what was left can't be let go");
    }
    /// Of who holds scopes: what is in none that it has a hand on is there because of its own work, and shows nothing that came
    /// by a peer.
    void judge_apart(device& d) {
        if (d.may.empty()) { return; }
        std::set<std::string> names;
        auto ok = d.box.read([&](auto& tx) {
            return d.self.scopes(tx, [&](held_scope const& h) {
                names.insert(h.what.name);
                return true;
            });
        });
        honest(ok.has_value(), "scopes can't be read");
        for (auto const& [id, f] : visible(d)) {
            if (in_any(id, names)) { continue; }
            bytes const name = to_bytes(thing(id));
            bool waits = false;
            ok = d.box.read([&](auto& tx) {
                return d.self.queue().scan_record(tx, name, [&](outbox_entry const&) {
                    waits = true;
                    return false;
                });
            });
            honest(ok.has_value(), "what waits can't be read");
            holds(waits, peer_promise::apart, d.name + " shows " + id + ", which is in none of its scopes");
            cbor_map_cursor at{f};
            while (!f.empty() && at.next()) {
                std::string const mark{at.key()};
                bool const own = std::find(d.marks.begin(), d.marks.end(), mark) != d.marks.end();
                holds(mark == "count" || own || at_home_.contains(mark), peer_promise::apart,
                      d.name + " shows " + mark + " on " + id + ", which is in none of its scopes");
            }
        }
    }
    /// Of the last answer to who holds scopes.
    void judge_answer(device& d) {
        if (d.may.empty() || d.replies.empty()) { return; }
        auto const p = decode_reply(d.replies.back());
        if (!honest(p.has_value(), "an answer can't be read") || !p->relayed) { return; }
        for (carried_envelope const& c : carried_by(d)) {
            bool const may = std::any_of(c.parts.begin(), c.parts.end(), [&](carried_part const& part) {
                auto const k = record_key_from(part.record);
                return k && in_any(k->id_text(), d.may);
            });
            for (relay_answer const& a : *p->relayed) {
                holds(may || a.id != c.id || a.version == 0, peer_promise::apart,
                      d.name + " hears where a thing stands that it may not see");
            }
        }
    }

    void begin() {
        authority_options all_home;
        all_home.relays = &gate_;
        backups_ = (seed_ + seed_ / 32) % 4 == 0;
        all_home.backups = backups_;
        if (backups_) {
            record_check refuses;
            refuses.collection = "things";
            refuses.judge = &refuse;
            checks_.add(std::move(refuses));
            all_home.checks = &checks_;
        }
        // Of every third seed the pages are so small that what was handed on comes home in pieces.
        if (seed_ % 3 == 0) { all_home.rows_max = 1 + seed_ / 3 % 3; }
        bool const scoped = (seed_ + seed_ / 32) % 4 == 2;
        if (scoped) { begin_scopes(); }
        all_home.scopes = scopes_ ? &*scopes_ : nullptr;
        cloud_ = std::make_unique<authority<>>(rules(), all_home);
        open_home();
        relay_options o;
        o.realm = "venue";
        if (options_.open_gate) { gate_.verify = nullptr; }
        o.trust_rows = draw(3) == 0;
        if (seed_ % 5 == 0) {  // peers tell each other rows, a few in a message
            o.trust_rows = true;
            o.rows_max = static_cast<std::size_t>(1 + seed_ / 5 % 3);
        }
        if (scoped) { o.trust_rows = draw(2) == 0; }
        bool const verifies = draw(2) == 0;
        if (verifies) { o.gate = &gate_; }
        forges_ = draw(2) == 0;
        // What is built on a forgery, where peers don't verify, only its author can bring home; and what others have built on
        // that may be refused before.
        deceived_ = forges_ && !verifies;
        may_lose_ = !deceived_ && !backups_;
        if (draw(2) == 0) { o.page_max = static_cast<std::size_t>(1 + draw(3)); }
        if (draw(2) == 0) { o.submit_max = static_cast<std::size_t>(1 + draw(3)); }
        if (draw(3) == 0) { o.carried_max = static_cast<std::size_t>(2 + draw(6)); }
        for (std::string const name : {"anna", "ben", "cleo", "dora"}) {
            replica_options all;
            all.relay = o;
            all.scoped = scoped && name != "dora";
            devices_.push_back(std::make_unique<device>(name, random_(), rules(), std::move(all)));
            device& d = *devices_.back();
            d.ahead = milliseconds{draw_number(60'000)};
            open(d);
            auto const self = d.box.read([&](auto& tx) { return d.self.self(tx); });
            if (!honest(self.has_value(), "a replica without a name")) { return; }
            keys_.add(as_bytes(name), as_bytes("a key that is " + name + "'s"), self->device, name);
            ids_.push_back(*self);
            if (!all_scoped(d)) { continue; }
            for (std::string const what : {"first", "last"}) {
                if (!scopes_->permits(name, {what, {}})) { continue; }
                d.may.insert(what);
                honest(d.box.attempt([&](auto& tx) { return d.self.join(tx, {what, {}}); }).took, "no scope is joined");
            }
        }
    }
    /// Where the authority may be put back it takes no mark that ends so, but where it creates a record.
    [[nodiscard]] static bool unwelcome(std::string_view mark) {
        return mark.ends_with('1') || mark.ends_with('4') || mark.ends_with('7');
    }
    [[nodiscard]] static validation refuse(validation_input const& in, void const*) {
        auto const set = [](field_op const& op) { return op.field != "count" && unwelcome(op.field); };
        bool const bad =
            in.change.kind == change_kind::update && std::any_of(in.change.ops.begin(), in.change.ops.end(), set);
        return bad ? validation{false, errc::forbidden, "unwelcome"} : validation{};
    }

    [[nodiscard]] static bool all_scoped(device const& d) { return d.self.options().scoped; }

    // Raw storage.

    [[nodiscard]] static records visible(device& d) { return d.box.rows('r', 'v'); }
    [[nodiscard]] std::vector<carried_envelope> carried_by(device& d) {
        std::vector<carried_envelope> out;
        auto const ok = d.box.read([&](auto& tx) {
            return d.self.carried().scan(tx, dot{}, [&](carried_envelope const& c) {
                out.push_back(c);
                return true;
            });
        });
        honest(ok.has_value(), "what is carried can't be read");
        return out;
    }
    [[nodiscard]] std::size_t carried_by_all() {
        std::size_t n = 0;
        for (auto const& d : devices_) { n += d->lost ? 0 : carried_by(*d).size(); }
        return n;
    }
    /// Of one that is still carried at rest: it is a lost device's, and lacks one that was lost with it. A living author
    /// brings home its own, whatever they build on.
    [[nodiscard]] bool bereft(carried_envelope const& c) {
        auto const lost = [&](replica_id const& who) {
            auto const at = std::find(ids_.begin(), ids_.end(), who);
            return at != ids_.end() && devices_[static_cast<std::size_t>(at - ids_.begin())]->lost;
        };
        if (!lost(c.id.replica) || !lost(c.missing.replica)) { return false; }
        return std::none_of(devices_.begin(), devices_.end(), [&](auto const& d) {
            if (d->lost) { return false; }
            auto const all = carried_by(*d);
            return std::any_of(all.begin(), all.end(), [&](carried_envelope const& o) { return o.id == c.missing; });
        });
    }
    /// The marks in rows; what counts otherwise than it is marked is a breach.
    std::set<std::string> marks_in(records const& all, std::string const& where, bool whole, bool at_home = false) {
        std::set<std::string> out;
        std::map<std::string, int> times;
        for (auto const& [id, f] : all) {
            std::int64_t marks = 0;
            std::int64_t counts = 0;
            cbor_map_cursor at{f};
            while (!f.empty() && at.next()) {
                if (at.key() == "count") {
                    counts = naive_integer(to_bytes(at.value())).value_or(0);
                } else {
                    ++marks;
                    ++times[std::string{at.key()}];
                    out.insert(std::string{at.key()});
                }
            }
            holds(
                counts == marks || (!at_home && hears_again_), peer_promise::once,
                where + " counts " + std::to_string(counts) + " of the " + std::to_string(marks) + " writes in " + id);
        }
        for (std::string const& m : groups_) {
            holds(!whole || times[m] != 1 || (!at_home && hears_again_), peer_promise::whole,
                  where + " has half of the group " + m);
        }
        return out;
    }
    void judge(device& d) {
        // A first sync is whole once no range is yet to be told.
        bool const scoped = all_scoped(d);
        records const all = visible(d);
        auto there = marks_in(all, d.name, !scoped && !d.box.has('r', 'w'));
        there.merge(letters(d));
        auto const [names, complete] = scoped ? asks_for(d) : std::pair{std::set<std::string>{}, true};
        auto const told = [&, &names = names](std::string const& id) { return !scoped || in_any(id, names); };
        if (scoped && complete) { judge_groups(d, all, told); }
        judge_apart(d);
        for (std::string const& m : d.marks) {
            auto const& where = where_[m];
            if (scoped && (!complete || !std::all_of(where.begin(), where.end(), told))) { continue; }
            holds(there.contains(m) || hears_again_, peer_promise::seen, d.name + " does not see its own write " + m);
        }
    }
    /// What was written to two records together, both of which are told here, is in both or in none.
    template <class Told>
    void judge_groups(device const& d, records const& all, Told const& told) {
        for (std::string const& m : groups_) {
            std::size_t has = 0;
            std::size_t of = 0;
            for (std::string const& id : where_[m]) {
                auto const at = all.find(id);
                if (at == all.end() || !told(id)) { continue; }
                ++of;
                has += small_field(at->second, m) ? 1 : 0;
            }
            holds(of < 2 || has == 0 || has == of, peer_promise::whole, d.name + " has half of the group " + m);
        }
    }
    /// Of the writes that are dead letters, where any may be: of one that was deceived, of what was written on a record
    /// whose creation builds on what may have been lost with a device, of what builds on another's that lacks something at
    /// home, and of what the authority refuses; that lies with the conflicts where it was offered again.
    std::set<std::string> letters(device& d) {
        std::set<std::string> out;
        bool const lost = std::any_of(devices_.begin(), devices_.end(), [](auto const& o) { return o->lost; });
        auto const ok = d.box.read([&](auto& tx) {
            return d.self.queue().scan_dead(tx, [&](outbox_entry const& e) {
                auto const m = replica::mutation_of(e);
                if (!m) { return true; }
                auto const p = pending::parse(e.payload);
                bool may = deceived_ || (e.reason == errc::not_found && p && !p->needs.empty());
                may = may || (backups_ && (e.reason == errc::forbidden || e.reason == errc::identity_fork));
                each_part(*m, [&](mutation const& part) {
                    auto const by = made_.find(std::string{part.record.id_text()});
                    may = may ||
                          (lost && by != made_.end() &&
                           std::any_of(by->second.begin(), by->second.end(), [](device const* o) { return o->lost; }));
                });
                each_part(*m, [&](mutation const& part) {
                    for (field_op const& op : part.ops) {
                        if (may) { out.insert(op.field); }
                    }
                });
                return true;
            });
        });
        honest(ok.has_value(), "dead letters can't be read");
        if (!backups_) { return out; }
        auto const open = d.box.read([&](auto& tx) {
            return d.self.conflicts(tx, [&](open_conflict const& c) {
                each_part(c.local, [&](mutation const& part) {
                    for (field_op const& op : part.ops) { out.insert(op.field); }
                });
                return true;
            });
        });
        honest(open.has_value(), "conflicts can't be read");
        return out;
    }
    std::set<std::string> judge_home() {
        auto there = marks_in(home_.rows('a', 'r'), "the authority", true, true);
        for (std::string const& m : there) { holds(m[0] != 'f', peer_promise::sealed, "a forgery got home: " + m); }
        return there;
    }

    /// After `d` was answered: what it brought home of others builds on nothing that isn't there. What a forgery or a lost
    /// device's builds on may be refused.
    void judge_relayed(device const& d) {
        auto const there = judge_home();
        for (std::string const& m : there) {
            if (!at_home_.insert(m).second || deceived_ || wrote_[m] == &d) { continue; }
            if (std::any_of(devices_.begin(), devices_.end(), [](auto const& o) { return o->lost; })) { continue; }
            if (backups_) { continue; }  // what was refused may come again later
            for (std::string const& before : saw_[m]) {
                holds(there.contains(before), peer_promise::after,
                      d.name + " brings home " + m + ", whose writer had seen " + before);
            }
        }
    }

    // Deeds.

    [[nodiscard]] device& draw_device() {
        for (;;) {
            device& d = *devices_[static_cast<std::size_t>(draw(devices_.size()))];
            if (!d.lost) { return d; }
        }
    }
    void deed() {
        if (backups_ && draw(15) == 0) { return draw(2) == 0 ? back_up() : put_back(); }
        device& d = draw_device();
        if (backups_ && draw(5) == 0) {  // much is decided, so that much can be lost
            tell(d.name + " comes home");
            (void)exchange(d);
            judge_relayed(d);
            return judge(d);
        }
        device& other = draw_device();
        if (scopes_) {
            std::uint64_t const first = draw(12);
            if (first == 0) { change_scopes(d); }
            if (first == 1 || first == 2) {  // in turn, as what is late is void once scopes have changed
                exchange_some(d, 3, [&] {
                    judge_relayed(d);
                    judge_answer(d);
                });
            }
            if (first < 3) { return judge(d); }
        }
        std::uint64_t const what = draw(40);
        if (what < 8) {
            write(d);
        } else if (what < 11) {
            write_group(d);
        } else if (what < 22) {
            if (&d != &other) { meet(d, other); }
            judge(other);
        } else if (what < 24) {
            if (forges_) { forge(d); }
        } else if (what < 25) {
            cut(d);
        } else if (what < 26) {
            cut_home();
        } else if (what < 31) {
            ask(d);
        } else if (what < 36) {
            if (answer(d)) {
                judge_relayed(d);
                judge_answer(d);
            }
        } else if (what < 39) {
            hear(d);
        } else if (report_.steps > options_.steps / 2 && may_lose_) {
            lose(d);
            return;
        }
        judge(d);
        (void)judge_home();
    }
    void write(device& d) {
        std::string const id(1, static_cast<char>('a' + draw(5)));
        std::string const mark = "m" + std::to_string(report_.written);
        bool const there = visible(d).contains(id);
        if (!there && (made_.contains(id) || (all_scoped(d) && !in_any(id, asks_for(d).first)))) { return; }
        field_op const count{"count", op_kind::add, integer(1), {}};
        field_op const marked{mark, op_kind::set, integer(1), {}};
        bytes fields;
        cbor_writer w{fields};
        w.map(2);
        std::string_view const first = compare_keys(mark, "count") < 0 ? std::string_view{mark} : "count";
        w.text(first);
        w.integer(1);
        w.text(first == "count" ? std::string_view{mark} : "count");
        w.integer(1);
        bool const took = attempt(d, [&](auto& tx) {
            return there ? d.self.update(tx, thing(id), {count, marked}, now_of(d))
                         : d.self.create(tx, thing(id), fields, now_of(d));
        });
        honest(took || failed_ || why_ == errc{}, "a write is refused");
        tell(d.name + (there ? " writes " : " creates ") + id + " with the mark " + mark + ending(took));
        if (!took) { return; }
        ++report_.written;
        where_[mark] = {id};
        build_on(d, id);
        note_seen(d, id, mark);
        d.marks.push_back(mark);
    }
    /// One write of two records that are there, with one mark.
    void write_group(device& d) {
        std::uint64_t const first = draw(5);
        std::uint64_t const second = (first + 1 + draw(4)) % 5;
        std::string const ids[] = {std::string(1, static_cast<char>('a' + first)),
                                   std::string(1, static_cast<char>('a' + second))};
        std::string const mark = "m" + std::to_string(report_.written);
        records const all = visible(d);
        if (!all.contains(ids[0]) || !all.contains(ids[1])) { return; }
        record_group group;
        for (std::string const& id : ids) {
            group.update(thing(id), {{"count", op_kind::add, integer(1), {}}, {mark, op_kind::set, integer(1), {}}});
        }
        bool const took = attempt(d, [&](auto& tx) { return d.self.write_group(tx, group, now_of(d)); });
        honest(took || failed_ || why_ == errc{}, "a group is refused");
        tell(d.name + " writes " + ids[0] + " and " + ids[1] + " with the mark " + mark + ending(took));
        if (!took) { return; }
        ++report_.written;
        ++report_.grouped;
        groups_.insert(mark);
        where_[mark] = {ids[0], ids[1]};
        d.marks.push_back(mark);
        for (std::string const& id : ids) {
            build_on(d, id);
            note_seen(d, id, mark);
        }
    }
    void note_seen(device& d, std::string const& id, std::string const& mark) {
        wrote_[mark] = &d;
        bytes const fields = visible(d)[id];
        cbor_map_cursor at{fields};
        while (!fields.empty() && at.next()) {
            if (at.key() != "count" && at.key() != mark) { saw_[mark].emplace(at.key()); }
        }
    }
    /// Whatever it writes from now on builds on what it wrote here, and that on the record's creation.
    void build_on(device& d, std::string const& id) {
        d.builds_on.insert(&d);
        auto const made = made_.try_emplace(id, d.builds_on).first;
        d.builds_on.insert(made->second.begin(), made->second.end());
    }
    /// Some messages are lost, or others come instead, and either end may fail before it commits.
    void meet(device& a, device& b) {
        peer_exchange mine(a.self, a.sealer);
        peer_exchange const theirs(b.self, b.sealer);
        for (int i = 0; i < 8 && !mine.done() && fine(); ++i) {
            bytes q, said;
            bool ok = attempt(a, [&](auto& tx) {
                auto m = mine.ask(tx, now_of(a));
                if (m) { q = *m; }
                return m;
            });
            honest(failed_ || why_ == errc{}, "a meeting can't be asked for");
            if (i == 0) { tell(a.name + " meets " + b.name); }
            if (!ok) { return tell("… " + a.name + " asks" + ending(ok)); }
            heard(q);
            if (draw(8) == 0) { return tell("… and is not heard"); }
            handed_report brought;
            ok = attempt(b, [&](auto& tx) {
                auto m = theirs.answer(tx, q, a.name, now_of(b), &brought);
                if (m) { said = *m; }
                return m;
            });
            honest(failed_ || why_ == errc{}, "a meeting is not answered");
            tell("… " + b.name + " takes " + std::to_string(brought.added) + " envelopes in" + ending(ok));
            if (!ok) { return; }
            count_brought(b, brought);
            heard(said);
            if (draw(8) == 0) { return tell("… and the answer is lost"); }
            bool const other = draw(10) == 0;
            bytes const& told = other ? overheard_[static_cast<std::size_t>(draw(overheard_.size()))] : said;
            brought = {};
            ok = attempt(a, [&](auto& tx) {
                auto r = mine.take(tx, told, b.name, now_of(a));
                if (r) { brought = *r; }
                return r;
            });
            count_brought(a, brought);
            honest(failed_ || why_ == errc{}, "an answer at a meeting is not taken");
            tell("… " + a.name + " takes " + std::to_string(brought.added) + " envelopes in" +
                 (other ? " of another message" : "") + ending(ok));
            if (!ok) { return; }
        }
    }
    void count_brought(device& d, handed_report const& brought) {
        report_.handed += brought.added;
        if (!all_scoped(d)) { return; }
        report_.told += brought.rows;
        if (brought.added == 0) { return; }
        for (carried_envelope const& c : carried_by(d)) {
            report_.unseen += std::any_of(c.parts.begin(), c.parts.end(), [&](carried_part const& part) {
                auto const k = record_key_from(part.record);
                return k && !in_any(k->id_text(), d.may);
            });
        }
    }
    void heard(bytes const& message) {
        trace(message);
        overheard_.push_back(message);
    }
    /// A stranger hands over what nobody has written, in the name of somebody: under a number that is still to come, or
    /// one that was used.
    void forge(device& d) {
        std::size_t const whose = static_cast<std::size_t>(draw(devices_.size()));
        std::string const mark = "f" + std::to_string(report_.forged++);
        mutation m;
        m.sequence = 1 + draw(20);
        m.stamp = timestamp::make(now_.wall);
        m.kind = change_kind::update;
        m.record = thing(std::string(1, static_cast<char>('a' + draw(5))));
        cbor_writer one{m.ops.emplace_back(field_op{mark, op_kind::set, {}, {}}).value};
        one.integer(1);
        cbor_writer{m.ops.emplace_back(field_op{"count", op_kind::add, {}, {}}).value}.integer(1);
        std::sort(m.ops.begin(), m.ops.end(),
                  [](field_op const& x, field_op const& y) { return compare_keys(x.field, y.field) < 0; });
        for (field_op& op : m.ops) { op.stamp = m.stamp; }
        envelope e;
        bool const elsewhere = draw(4) == 0;  // it was truly sealed, but for another house
        e.realm = elsewhere ? "another venue" : "venue";
        e.principal = devices_[whose]->name;
        e.author = ids_[whose];
        e.from = {1, m.sequence};
        cbor_writer w{e.frozen};
        encode_mutation(w, m);
        mac_sealer wrong(as_bytes(e.principal), as_bytes("a key that somebody made up"));
        auto const sealed = elsewhere ? seal(e, devices_[whose]->sealer) : seal(e, wrong);
        if (!honest(sealed.has_value(), "nothing can be forged")) { return; }
        peer_message q;
        q.replica = {make_id(now_.wall, random_), 1};
        q.realm = "venue";
        q.envelopes.push_back({0, *sealed});
        bytes const message = encode(q);
        heard(message);
        peer_exchange const listening(d.self, d.sealer);
        bool const took = attempt(d, [&](auto& tx) { return listening.answer(tx, message, "mallory", now_of(d)); });
        tell("a stranger hands " + d.name + " the mark " + mark + " in the name of " + e.principal +
             (elsewhere ? ", sealed for another house" : "") + ending(took));
        honest(failed_ || why_ == errc{}, "a stranger's message ends in an error");
    }
    void back_up() {
        auto const head = home_.read([&](auto& tx) { return cloud_->head(tx); });
        if (!honest(head.has_value(), "the authority's head can't be read")) { return; }
        backup_ = {home_.copy(), at_home_};
        tell("the authority is backed up at " + std::to_string(*head));
        // What goes back no further than this may be forgotten.
        if (draw(2) != 0) { return; }
        bool const took = home_.attempt([&](auto& tx) { return cloud_->mark_stable(tx, *head); }).took;
        honest(took, "a backup can't be said to be stable");
        tell("… which is said to be stable");
    }
    void put_back() {
        if (backup_.first.empty()) { return; }
        ++report_.put_back;
        hears_again_ = true;
        home_.put_back(backup_.first);
        at_home_ = backup_.second;
        open_home();
        tell("the authority is put back to its backup");
    }
    /// It never comes back. What others have of it must get home all the same.
    void lose(device& d) {
        tell(d.name + " is lost for ever");
        d.lost = true;
        may_lose_ = false;
        std::set<std::string> there = judge_home();
        for (auto const& other : devices_) {
            if (other->lost) { continue; }
            there.merge(marks_in(visible(*other), other->name, !other->box.has('r', 'w')));
        }
        for (std::string const& m : d.marks) {
            if (!there.contains(m)) { break; }  // nor need what builds on it
            orphans_.push_back(m);
        }
    }
    // At the end.

    /// With nothing else to do it asks about what it knows to be home.
    void judge_asked(device& d) {
        auto const known = d.box.read([&](auto& tx) { return d.self.carried().summary(tx); });
        if (!honest(known.has_value(), "what is known of authors can't be read")) { return; }
        for (carried_envelope const& c : carried_by(d)) {
            for (held_of_author const& a : *known) {
                bool const home = a.author == c.id.replica && c.id.sequence <= a.home;
                // What a later one's author sent under another name is taken for home; its own answer says so, too.
                holds(c.decided || !home || report_.put_back != 0, small_promise::rest,
                      d.name + " does not ask about what it knows to be home");
            }
        }
    }
    void end() {
        tell("the trouble is over");
        int left = rest_max;
        // What lacks something is brought again by exchanges that have nothing else to do, a few at a time: it rests once all
        // of it may have been asked about without an effect.
        std::size_t left_over = carried_by_all();
        std::size_t idle = 0;
        for (int round = 0; (round < 3 || idle <= left_over) && fine(); ++round) {
            for (auto const& d : devices_) {
                if (d->lost) { continue; }
                for (bool more = true; fine() && more;) {
                    more = exchange(*d);
                    judge_relayed(*d);
                    judge(*d);
                    holds(--left > 0, small_promise::rest, "it does not come to rest");
                }
                judge_asked(*d);
            }
            std::size_t const now = carried_by_all();
            idle = now == left_over ? idle + 1 : 0;
            left_over = now;
        }
        if (!fine()) { return; }
        hears_again_ = false;
        auto const home = judge_home();
        records const rows = home_.rows('a', 'r');
        for (auto const& d : devices_) {
            if (d->lost) { continue; }
            judge(*d);
            auto const dead = letters(*d);
            for (std::string const& m : d->marks) {
                holds(dead.contains(m) || home.contains(m), peer_promise::kept,
                      d->name + "'s write " + m + " is not home");
            }
            // A lost device's stays carried where it builds on something that was lost with it, and its record shows it.
            records held = visible(*d);
            records told = rows;
            if (all_scoped(*d)) {
                auto const names = asks_for(*d).first;
                std::erase_if(told, [&](auto const& one) { return !in_any(one.first, names); });
            }
            for (carried_envelope const& c : carried_by(*d)) {
                holds(bereft(c), peer_promise::same, d->name + " carries on what is home");
                for (carried_part const& part : c.parts) {
                    auto const k = record_key_from(part.record);
                    if (!honest(k.has_value(), "carried of no record")) { return; }
                    held.erase(std::string{k->id_text()});
                    told.erase(std::string{k->id_text()});
                }
            }
            holds(held == told, peer_promise::same, d->name + " holds something else");
        }
        for (std::string const& m : orphans_) {
            ++report_.orphans;
            holds(home.contains(m), peer_promise::kept, "the lost device's write " + m + " is not home");
        }
    }

    std::uint64_t seed_;
    mac_keys keys_{};
    check_table checks_{};
    relay_gate gate_ = gate_of("venue", keys_);
    std::vector<replica_id> ids_{};
    std::optional<scope_table> scopes_{};
    std::map<std::string, std::vector<std::string>> where_{};  ///< by mark the records that it was written to
    std::vector<bytes> overheard_{};                           ///< of all meetings
    std::map<std::string, std::set<device const*>> made_{};    ///< records, and on whose writes their creation builds
    std::set<std::string> groups_{};                           ///< marks that two records have
    std::map<std::string, std::set<std::string>> saw_{};       ///< by mark those that its writer saw in its records
    std::map<std::string, device const*> wrote_{};             ///< by mark who did
    std::set<std::string> at_home_{};
    std::pair<simulated_machine::image, std::set<std::string>> backup_{};  ///< and what of this was home
    bool hears_again_ = false;                                             ///< somebody may, of a lost past
    bool backups_ = false;                                                 ///< the authority may be put back
    std::vector<std::string> orphans_{};  ///< marks of the lost device that others have
    bool forges_ = false;                 ///< a stranger does
    bool deceived_ = false;               ///< … and is believed
    bool may_lose_ = false;               ///< a device may be lost
};

}  // namespace detail

/// One life of devices that meet. The same seed and options give the same life and the same report, on every machine.
/// With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline peer_simulation_report simulate_peers(std::uint64_t seed, peer_simulation_options const& o = {}) {
    return detail::live_life<detail::peer_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline peer_simulation_options shrink_peers(peer_simulation_report const& failed,
                                                          peer_simulation_options o = {}, std::size_t lives = 1'000) {
    return detail::shrink_life<detail::peer_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
