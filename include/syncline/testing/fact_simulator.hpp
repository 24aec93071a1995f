// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Facts in a simulated world: devices add them while they are away from their authority, two keepers make checkpoints
/// and let facts go, a program without checks tries what may not be. The judge sorts and folds its own ledger.

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

#include <syncline/replica/authority.hpp>
#include <syncline/replica/facts.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/testing/small_world.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What facts promise, by the names under which a breach is reported.
struct fact_promise {
    /// A fact is what its writer wrote, byte for byte, wherever it is; a second one of its id is refused, with a letter.
    static constexpr char const* same = "true_copy";
    /// Who wrote it sees it from then on, as a record or in a checkpoint, until it is refused.
    static constexpr char const* seen = "visible_state";
    /// Facts stand in the order that a sort of the ledger gives.
    static constexpr char const* order = "fact_order";
    /// At each step a value is the fold of the checkpoint and, in their order, of what is held and not in it.
    static constexpr char const* folded = "fact_fold";
    /// At rest each fact that was acknowledged counts once everywhere, or was refused.
    static constexpr char const* once = "exactly_once";
    /// What was confirmed is at home, or in the checkpoints that let it go.
    static constexpr char const* kept = "nothing_lost";
    static constexpr char const* agreed = "convergence";  ///< at rest all hold what the authority holds
    static constexpr char const* gone = "no_resurrection";
};

struct fact_simulation_options {
    std::uint32_t steps = 150;
    bool tell = false;   ///< write the story
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct fact_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t faults = 0;  ///< storage calls that were made to fail
    std::uint64_t power_cuts = 0;
    std::uint64_t added = 0;         ///< facts that were acknowledged
    std::uint64_t rivals = 0;        ///< … of an id that there was
    std::uint64_t refused = 0;       ///< … that are dead letters at the end
    std::uint64_t tampered = 0;      ///< changes and deletions that were tried
    std::uint64_t checkpoints = 0;   ///< written
    std::uint64_t let_go = 0;        ///< facts that were erased
    std::uint64_t let_go_early = 0;  ///< … before all was at rest
    std::uint64_t trace = 0;         ///< of all messages: the same on every machine
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

namespace detail {

/// All ids in the order in which they were folded: nothing tells more.
struct fact_list {
    using value_type = std::vector<std::string>;
    [[nodiscard]] std::string_view name() const { return "list"; }
    [[nodiscard]] value_type initial() const { return {}; }
    void step(value_type& v, fact const& f) const { v.emplace_back(f.key.id_text()); }
    void encode(cbor_writer& w, value_type const& v) const {
        w.array(v.size());
        for (std::string const& s : v) { w.text(s); }
    }
    [[nodiscard]] value_type decode(cbor_reader& in) const {
        value_type v;
        for (std::size_t n = in.array(); n != 0 && !in.failed(); --n) { v.emplace_back(in.text()); }
        return v;
    }
};
/// What the facts come to.
struct fact_sum {
    using value_type = std::int64_t;
    [[nodiscard]] std::string_view name() const { return "sum"; }
    [[nodiscard]] value_type initial() const { return 0; }
    void step(value_type& v, fact const& f) const { v += small_number(f.fields, "amount"); }
    void encode(cbor_writer& w, value_type const& v) const { w.integer(v); }
    [[nodiscard]] value_type decode(cbor_reader& in) const { return in.integer(); }
};

using fact_replica = basic_replica<fact_records<>>;

struct fact_device : small_device<fact_replica> {
    bool keeper = false;
    bool checked = true;
    std::set<std::pair<std::string, std::string>> wrote{};
    std::vector<derived_value<fact_list, fact_records<>>> lists{};  ///< of each collection
    derived_value<fact_sum, fact_records<>> sum;

    fact_device(std::string who, std::uint64_t seed, rule_table const& rules, replica_options const& o,
                std::vector<fact_collection> const& all)
        : small_device(std::move(who), seed, rules, o, fact_records<>{all}),
          keeper(name == "keeper"),
          checked(o.checks != nullptr),
          sum(all[0], self) {
        for (fact_collection const& c : all) { lists.emplace_back(c, self); }
    }
};

class fact_world : small_world<fact_simulation_options, fact_simulation_report, fact_device> {
public:
    fact_world(std::uint64_t seed, fact_simulation_options const& o) : small_world(seed, 80, o) {}

    fact_simulation_report run(step_dice& dice) {
        begin();
        live(dice, [&] { deed(); });
        if (fine()) { end(); }
        return finished();
    }

private:
    using name_type = std::pair<std::string, std::string>;  ///< collection and id
    using names = std::vector<std::string>;

    /// What the judge knows of an id.
    struct known_fact {
        std::vector<bytes> said{};      ///< by whoever wrote it
        std::optional<bytes> stands{};  ///< what the authority took
        bool erased = false;
    };
    /// A fact that a device holds, as a sort takes it.
    struct placed {
        std::array<std::int64_t, 2> at{};
        std::string id{};
        std::int64_t amount = 0;
        friend bool operator<(placed const& a, placed const& b) { return a.at != b.at ? a.at < b.at : a.id < b.id; }
    };
    struct held_facts {
        std::vector<placed> confirmed{};
        std::vector<placed> pending{};
    };

    void begin() {
        rules_.add(checkpoint_rules());
        for (fact_collection const& c : all_) { checks_.add(check_of(c)); }
        authority_options o;
        o.checks = &checks_;
        cloud_ = std::make_unique<authority<>>(rules_, o);
        open_home();
        twins_ = draw(2) == 0;
        replica_options r;
        draw_pages(r);
        for (std::string_view const who : {"keeper", "keeper", "anna", "ben", "mallory"}) {
            r.checks = who == "mallory" ? nullptr : &checks_;
            devices_.push_back(std::make_unique<fact_device>(std::string{who}, random_(), rules_, r, all_));
            devices_.back()->ahead = milliseconds{draw_number(60'000)};
            if (devices_.size() == 2) { devices_.back()->label = "the keeper's other device"; }
            open(*devices_.back());
        }
    }

    [[nodiscard]] static bool is_fact(std::string const& collection) { return collection != checkpoint_collection; }

    // Deeds.

    void deed() {
        fact_device& d = *draw_of(devices_);
        std::uint64_t const what = draw(40);
        if (what < 10) {
            add(d);
        } else if (what < 12) {
            tamper(d);
        } else if (what < 15) {
            ask(d);
        } else if (what < 18) {
            if (answer(d)) { judge_home(); }
        } else if (what < 21) {
            hear(d);
        } else if (what < 28) {
            exchange_some(draw(2) == 0 ? d : draw_keeper(), 4, [&] { judge_home(); });
        } else if (what < 30) {
            advance(d);
        } else if (what < 33) {
            checkpoint(draw_keeper());
        } else if (what < 36) {
            let_go(draw(8) == 0 ? d : draw_keeper());
        } else if (what < 38) {
            cut(d);
            if (draw(2) == 0) { cut_home(); }
        } else {
            reorder(d);
        }
        judge(d);
        for (std::size_t i = 0; i < 2; ++i) { judge(*devices_[i]); }
    }
    [[nodiscard]] fact_device& draw_keeper() { return *devices_[static_cast<std::size_t>(draw(2))]; }
    /// Mostly of a new id; now and then of one that there is, the same or another.
    void add(fact_device& d) {
        std::string const collection = all_[static_cast<std::size_t>(draw(3))].collection;
        std::string id = "f" + std::to_string(report_.added);
        bytes fields = draw_fields(collection);
        bool const rival = twins_ && collection != "notes" && draw(6) == 0 && !ledger_.empty();
        if (rival) {
            auto const at = std::next(ledger_.begin(), static_cast<std::ptrdiff_t>(draw(ledger_.size())));
            if (at->first.first != collection) { return; }
            id = at->first.second;
            if (draw(3) == 0) { fields = draw_of(at->second.said); }
        } else if (!d.checked) {
            return;
        }
        bool const took = attempt(d, [&](auto& tx) { return d.self.create(tx, {collection, id}, fields, now_of(d)); });
        if (rival) {
            excused("a second fact is refused for another reason", errc::already_exists);
        } else {
            excused("a fact is refused");
        }
        tell(d.label + " adds " + collection + "/" + id + ending(took));
        if (!took) { return; }
        ++report_.added;
        report_.rivals += rival ? 1 : 0;
        ledger_[{collection, id}].said.push_back(std::move(fields));
        d.wrote.insert({collection, id});
    }
    [[nodiscard]] bytes draw_fields(std::string_view collection) {
        auto const lately = static_cast<std::int64_t>(report_.steps / 3);
        std::int64_t const first = draw_number(40) + lately - (draw(6) == 0 ? 100 : 0);
        std::map<std::string, bytes> f{{"amount", naive_item(draw_number(100) - 20)}};
        if (collection != "notes") { f["time"] = naive_item(first); }
        if (collection == "calls") { f["priority"] = naive_item(draw_number(4) - 1); }
        return small_fields(f);
    }
    /// A change or a deletion: refused here where there are checks, and at home where there are none.
    void tamper(fact_device& d) {
        std::vector<name_type> some;
        for (auto const& [at, held] : d.box.stored('r', 'v')) {
            // What is sent without checks must not join what is to be sent already.
            bool const free = d.checked || (held.confirmed != 0 && !held.pending);
            if (is_fact(at.first) && !held.what.deleted && free) { some.push_back(at); }
        }
        bool const erases = draw(2) == 0;
        if (some.empty() || (erases && d.keeper)) { return; }
        name_type const at = draw_of(some);
        record_key const k{at.first, at.second};
        bool const took = attempt(d, [&](auto& tx) {
            return erases ? d.self.erase(tx, k, now_of(d))
                          : d.self.update(tx, k, {small_set("amount", naive_item(999))}, now_of(d));
        });
        ++report_.tampered;
        tell(d.label + (erases ? " deletes " : " changes ") + at.first + "/" + at.second + ending(took));
        if (d.checked) {
            holds(!took && (failed_ || why_ == errc::rejected), fact_promise::same,
                  d.name + " changes a fact: " + message(why_));
        } else {
            excused("a program without checks is refused");
        }
    }
    void advance(fact_device& d) {
        auto const budget = static_cast<std::size_t>(1 + draw(10));
        std::uint64_t const which = draw(4);
        bool const took = attempt(d, [&](auto& tx) {
            return which == 3 ? d.sum.advance(tx, budget)
                              : d.lists[static_cast<std::size_t>(which)].advance(tx, budget);
        });
        excused("a value is not folded further");
        tell(d.label + " folds further" + ending(took));
    }
    void checkpoint(fact_device& d) {
        bytes const before = order_from(all_[0], draw_number(60 + report_.steps / 3));
        bool const both = draw(3) != 0;
        bool const took = attempt(d, [&](auto& tx) {
            auto one = d.lists[0].checkpoint(tx, before, now_of(d));
            if (!one || !both) { return one; }
            return d.sum.checkpoint(tx, before, now_of(d));
        });
        excused("no checkpoint is written", errc::busy);
        tell(d.label + " writes a checkpoint" + ending(took));
        report_.checkpoints += took ? 1 : 0;
    }
    void let_go(fact_device& d) {
        auto const budget = static_cast<std::size_t>(1 + draw(5));
        bool const took = attempt(d, [&](auto& tx) { return compact(tx, all_[0], d.self, budget, now_of(d)); });
        tell(d.label + " lets facts go" + ending(took));
        if (d.checked && !d.keeper) {
            excused("facts are let go of", errc::rejected);
        } else {
            excused("no facts are let go of");
        }
    }
    void reorder(fact_device& d) {
        std::string const& c = all_[static_cast<std::size_t>(draw(3))].collection;
        bool const took = attempt(d, [&](auto& tx) { return d.self.records().reorder(tx, c); });
        tell(d.label + " makes the order of " + c + " anew" + ending(took));
        excused("the order is not made anew");
    }

    // The judge.

    [[nodiscard]] static placed place(std::string const& collection, std::string const& id, row const& r) {
        placed p;
        p.id = id;
        p.amount = small_number(r.fields, "amount");
        if (collection == "payments") { p.at[0] = small_number(r.fields, "time"); }
        if (collection == "calls") { p.at = {-small_number(r.fields, "priority"), small_number(r.fields, "time")}; }
        if (collection == "notes") { p.at[0] = static_cast<std::int64_t>(r.floor.stamp.raw); }
        return p;
    }
    [[nodiscard]] static std::int64_t sum_of(std::vector<placed> const& all, std::int64_t from) {
        for (placed const& p : all) { from += p.amount; }
        return from;
    }
    [[nodiscard]] static names ids_of(std::vector<placed> const& all, names from = {}) {
        for (placed const& p : all) { from.push_back(p.id); }
        return from;
    }
    /// What a checkpoint says, where one is confirmed.
    struct told {
        bool there = false;
        names list{};
        std::int64_t sum = 0;
        position at = 0;  ///< facts of later versions are not in it
        bytes through{};
    };
    [[nodiscard]] static told checkpoint_in(simulated_machine::stored_rows const& visible,
                                            simulated_machine::stored_rows const& kept, std::string const& fold) {
        told out;
        name_type const at{std::string{checkpoint_collection}, "payments/" + fold};
        auto const found = visible.find(at);
        if (found == visible.end()) { return out; }
        row const* r = &found->second.what;
        if (found->second.pending) {
            auto const confirmed = kept.find(at);
            if (confirmed == kept.end()) { return out; }
            r = &confirmed->second.what;
        }
        auto const value = small_field(r->fields, "value");
        auto const through = small_field(r->fields, "through");
        if (r->deleted || !value || !through) { return out; }
        out.there = true;
        cbor_reader in{*value};
        if (fold == "list") {
            out.list = fact_list{}.decode(in);
        } else {
            out.sum = in.integer();
        }
        cbor_reader places{*through};
        out.through = to_bytes(places.byte_string());
        out.at = static_cast<position>(small_number(r->fields, "at"));
        return out;
    }
    /// Whether a sum's checkpoint has counted a fact, by where that was first confirmed; of a list's the list itself says so.
    [[nodiscard]] bool counted(told const& t, name_type const& at, row const& r) const {
        return t.there && r.floor.at <= t.at && compare(order_key(all_[0], {at.first, at.second}, r), t.through) <= 0;
    }
    /// Those of a collection that are held; what a fact is, is what is confirmed of it.
    [[nodiscard]] static held_facts facts_in(simulated_machine::stored_rows const& visible,
                                             simulated_machine::stored_rows const& kept, std::string const& collection,
                                             auto const& covered) {
        held_facts out;
        for (auto const& [at, held] : visible) {
            if (at.first != collection || held.what.deleted) { continue; }
            auto const under = kept.find(at);
            bool const rests = held.confirmed != 0 && under != kept.end();
            row const& r = rests ? under->second.what : held.what;
            if (r.deleted || covered(at, r)) { continue; }
            (held.confirmed != 0 ? out.confirmed : out.pending).push_back(place(collection, at.second, r));
        }
        std::sort(out.confirmed.begin(), out.confirmed.end());
        std::sort(out.pending.begin(), out.pending.end());
        return out;
    }
    [[nodiscard]] static std::vector<placed> with_pending(held_facts const& h) {
        std::vector<placed> out = h.confirmed;
        out.insert(out.end(), h.pending.begin(), h.pending.end());
        std::sort(out.begin(), out.end());
        return out;
    }
    [[nodiscard]] names ordered(fact_device& d, fact_collection const& c, bool pending) {
        names out;
        std::size_t const id_at = 8 * (std::max)(c.order.size(), std::size_t{1});
        auto const ok = d.box.read([&](auto& tx) {
            return d.self.records().in_order(tx, c.collection, pending, {}, [&](bytes_view at, position) {
                out.emplace_back(as_text(at.subspan(id_at)));
                return true;
            });
        });
        honest(ok.has_value(), "the order can't be read");
        return out;
    }
    void same(names const& has, names const& should, char const* promise, std::string const& whose) {
        std::string said;
        if (has != should) {
            for (std::string const& id : has) { said += " " + id; }
            said += " instead of";
            for (std::string const& id : should) { said += " " + id; }
        }
        holds(has == should, promise, whose + " are" + said);
    }
    void judge(fact_device& d) {
        if (!fine() || !d.checked) { return; }
        auto const visible = d.box.stored('r', 'v');
        auto const kept = d.box.stored('r', 'b');
        told const list = checkpoint_in(visible, kept, "list");
        told const sum = checkpoint_in(visible, kept, "sum");
        std::set<std::string> const covered{list.list.begin(), list.list.end()};
        for (auto const& [at, held] : visible) {
            if (!is_fact(at.first) || held.what.deleted) { continue; }
            auto const known = ledger_.find(at);
            bool const said = known != ledger_.end() && std::find(known->second.said.begin(), known->second.said.end(),
                                                                  held.what.fields) != known->second.said.end();
            holds(said, fact_promise::same, d.name + " holds what nobody wrote as " + at.second);
        }
        std::optional<std::set<name_type>> dead;
        for (name_type const& at : d.wrote) {
            auto const found = visible.find(at);
            if ((found != visible.end() && !found->second.what.deleted) || covered.contains(at.second)) { continue; }
            if (!dead) { dead = letters(d); }
            holds(dead->contains(at) || ledger_.at(at).stands, fact_promise::seen,
                  d.name + " does not see its own fact " + at.second);
        }
        for (std::size_t i = 0; i < all_.size(); ++i) {
            std::string const& name = all_[i].collection;
            held_facts const every = facts_in(visible, kept, name, [](auto const&, row const&) { return false; });
            same(ordered(d, all_[i], false), ids_of(every.confirmed), fact_promise::order, d.name + "'s " + name);
            same(ordered(d, all_[i], true), ids_of(every.pending), fact_promise::order, d.name + "'s pending " + name);
            bool const first = i == 0;
            held_facts const rest = facts_in(visible, kept, name, [&](name_type const& at, row const&) {
                return first && covered.contains(at.second);
            });
            auto const v = d.box.read([&](auto& tx) { return d.lists[i].value(tx); });
            if (!honest(v.has_value(), "a value can't be read")) { return; }
            names const from = first ? list.list : names{};
            same(v->confirmed, ids_of(rest.confirmed, from), fact_promise::folded, d.name + "'s confirmed " + name);
            // What waits for its verdict, and came here in a checkpoint before its row did, shows twice until that is here.
            bool const twice = first && every.pending.size() != rest.pending.size();
            if (twice) { continue; }
            same(v->visible, ids_of(with_pending(rest), from), fact_promise::folded, d.name + "'s visible " + name);
            holds(v->pending == rest.pending.size(), fact_promise::folded, d.name + " counts what waits otherwise");
        }
        held_facts const rest =
            facts_in(visible, kept, "payments", [&](name_type const& at, row const& r) { return counted(sum, at, r); });
        auto const v = d.box.read([&](auto& tx) { return d.sum.value(tx); });
        if (!honest(v.has_value(), "a sum can't be read")) { return; }
        holds(v->confirmed == sum_of(rest.confirmed, sum.sum), fact_promise::folded,
              d.name + " sums up other confirmed payments");
    }
    void judge_home() {
        if (!fine()) { return; }
        auto const home = home_.stored('a', 'r');
        told const list = checkpoint_in(home, {}, "list");
        std::set<std::string> const covered{list.list.begin(), list.list.end()};
        holds(covered.size() == list.list.size(), fact_promise::once, "a checkpoint has a fact twice");
        for (auto const& [at, held] : home) {
            if (!is_fact(at.first)) { continue; }
            auto const known = ledger_.find(at);
            if (!holds(known != ledger_.end(), fact_promise::same, "nobody wrote " + at.second)) { continue; }
            known_fact& f = known->second;
            if (held.what.deleted) {
                report_.let_go += f.erased ? 0 : 1;
                f.erased = true;
                holds(at.first == "payments" && covered.contains(at.second), fact_promise::kept,
                      at.second + " was let go of, and no checkpoint has it");
                continue;
            }
            holds(!f.erased, fact_promise::gone, at.second + " is there again");
            if (!f.stands) { f.stands = held.what.fields; }
            holds(*f.stands == held.what.fields, fact_promise::same, at.second + " was changed at home");
            holds(std::find(f.said.begin(), f.said.end(), held.what.fields) != f.said.end(), fact_promise::same,
                  "nobody wrote this as " + at.second);
        }
        for (auto const& [at, f] : ledger_) {
            holds(!f.stands || home.contains(at), fact_promise::kept, at.second + " is home no more");
        }
    }
    [[nodiscard]] std::set<name_type> letters(fact_device& d) {
        std::set<name_type> out;
        auto const ok = d.box.read([&](auto& tx) {
            return d.self.queue().scan_dead(tx, [&](outbox_entry const& e) {
                auto const m = replica::mutation_of(e);
                if (m && m->kind == change_kind::create) {
                    out.insert({m->record.collection, std::string{m->record.id_text()}});
                }
                return true;
            });
        });
        honest(ok.has_value(), "dead letters can't be read");
        return out;
    }

    // At the end.

    void settle_all() {
        int left = rest_max;
        for (int round = 0; round < 3; ++round) {
            for (auto const& d : devices_) {
                settle(*d, left);
                judge(*d);
            }
            judge_home();
        }
    }
    void end() {
        tell("the trouble is over");
        settle_all();
        report_.let_go_early = report_.let_go;
        judge_rest();
        // What all have is let go of: the values stay.
        fact_device& keeper = *devices_[0];
        if (!fine()) { return; }
        auto const before = keeper.box.read([&](auto& tx) { return keeper.lists[0].value(tx); });
        bytes const all = order_from(all_[0], 1'000'000);
        bool done = keeper.box
                        .attempt([&](auto& tx) {
                            auto one = keeper.lists[0].checkpoint(tx, all, now_of(keeper));
                            return one ? keeper.sum.checkpoint(tx, all, now_of(keeper)) : one;
                        })
                        .took;
        if (!honest(done && before.has_value(), "the last checkpoint is not written")) { return; }
        settle_all();
        done = keeper.box.attempt([&](auto& tx) { return compact(tx, all_[0], keeper.self, 10'000, now_of(keeper)); })
                   .took;
        if (!honest(done, "not all is let go of")) { return; }
        settle_all();
        judge_rest();
        for (auto const& d : devices_) {
            auto const v = d->box.read([&](auto& tx) { return d->lists[0].value(tx); });
            holds(v && v->visible == before->visible, fact_promise::once, d->name + " lost facts with the checkpoint");
        }
        for (auto const& [at, held] : home_.stored('a', 'r')) {
            bool const payment = at.first == "payments";
            holds(!payment || held.what.deleted, fact_promise::agreed,
                  at.second + " is covered, and was not let go of");
        }
    }
    void judge_rest() {
        if (!fine()) { return; }
        std::int64_t sum = 0;
        std::set<std::string> standing;
        for (auto const& [at, f] : ledger_) {
            holds(f.stands.has_value(), fact_promise::kept, at.second + " did not get home");
            if (f.stands && at.first == "payments") {
                sum += small_number(*f.stands, "amount");
                standing.insert(at.second);
            }
        }
        auto const home = home_.stored('a', 'r');
        std::optional<names> first;
        report_.refused = 0;
        for (auto const& d : devices_) {
            std::set<name_type> const dead = letters(*d);
            report_.refused += dead.size();
            for (auto const& [at, held] : home) {
                if (held.what.deleted) { continue; }
                auto const there = d->box.stored('r', 'v');
                auto const found = there.find(at);
                bool const is = found != there.end() && !found->second.pending && !found->second.what.deleted &&
                                found->second.what.fields == held.what.fields;
                if (!holds(is, fact_promise::agreed, d->name + " does not hold " + at.second + " as it is home")) {
                    return;
                }
            }
            auto const list = d->box.read([&](auto& tx) { return d->lists[0].value(tx); });
            auto const total = d->box.read([&](auto& tx) { return d->sum.value(tx); });
            if (!honest(list && total, "a value can't be read")) { return; }
            std::set<std::string> const once{list->visible.begin(), list->visible.end()};
            holds(once == standing && once.size() == list->visible.size(), fact_promise::once,
                  d->name + " counts some facts twice or not at all");
            holds(list->visible == list->confirmed && list->pending == 0, fact_promise::agreed,
                  d->name + " has facts that wait");
            holds(total->visible == sum && total->confirmed == sum, fact_promise::once,
                  d->name + " comes to " + std::to_string(total->visible) + ", the ledger to " + std::to_string(sum));
            if (!first) { first = list->visible; }
            holds(*first == list->visible, fact_promise::agreed, d->name + " has another order of payments");
        }
    }

    std::vector<fact_collection> all_{
        {"payments", {{"time"}}, "keeper", {"list", "sum"}}, {"calls", {{"priority", true}, {"time"}}}, {"notes"}};
    rule_table rules_{};
    check_table checks_{};
    std::map<name_type, known_fact> ledger_{};
    bool twins_ = false;  ///< some write a fact of an id that there is
};

}  // namespace detail

/// One life of facts. The same seed and options give the same life and the same report, on every machine.
/// With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline fact_simulation_report simulate_facts(std::uint64_t seed, fact_simulation_options const& o = {}) {
    return detail::live_life<detail::fact_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline fact_simulation_options shrink_facts(fact_simulation_report const& failed,
                                                          fact_simulation_options o = {}, std::size_t lives = 1'000) {
    return detail::shrink_life<detail::fact_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
