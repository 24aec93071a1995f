// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Shared conflicts in a simulated world: they open on one device, are seen on all, and whoever may decides them, at once
/// and late, while the record goes on changing. One may decide and not write the record; one closes what it did not
/// decide and opens what is closed, or tries to.

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

#include <syncline/conflict/queue.hpp>
#include <syncline/conflict/resolution.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/conflict_desk.hpp>
#include <syncline/replica/policy.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/shared_conflict.hpp>
#include <syncline/testing/small_world.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What shared conflicts promise, by the names under which a breach is reported.
struct shared_conflict_promise {
    /// At rest each value that was acknowledged was the record's, is in a conflict or a letter, or its own writer replaced it.
    static constexpr char const* kept = "nothing_lost";
    static constexpr char const* first = "one_verdict";        ///< the first decision that is confirmed stands
    static constexpr char const* permitted = "authorisation";  ///< who may not decide never does
    static constexpr char const* told = "true_events";         ///< who decided is told once what became of it
    static constexpr char const* written = "exactly_once";     ///< what a closed conflict says was written
    /// At rest all devices list the same conflicts, none half decided; each open one waits with its author, against the
    /// row that is home.
    static constexpr char const* same = "convergence";
};

struct shared_conflict_simulation_options {
    std::uint32_t steps = 300;
    bool tell = false;   ///< write the story
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct shared_conflict_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t faults = 0;  ///< storage calls that were made to fail
    std::uint64_t power_cuts = 0;
    std::uint64_t written = 0;
    std::uint64_t decided = 0;    ///< decisions that were acknowledged
    std::uint64_t late = 0;       ///< … of these, after another
    std::uint64_t reopened = 0;   ///< … whose row had changed
    std::uint64_t refused = 0;    ///< … by whoever may not
    std::uint64_t unwritten = 0;  ///< … whose effect was refused
    std::uint64_t forged = 0;     ///< changes of conflicts that no part of the library makes
    std::uint64_t closed = 0;     ///< conflicts at the end
    std::uint64_t open = 0;
    std::uint64_t trace = 0;  ///< of all messages: the same on every machine
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

namespace detail {

struct sharing_parts {
    conflict_queue queue{};
    conflict_desk desk;
    shared_conflicts shared;
    explicit sharing_parts(rule_table const& rules) : desk(queue, rules), shared({"things"}, queue, rules) {}
    sharing_parts(sharing_parts const&) = delete;
    sharing_parts& operator=(sharing_parts const&) = delete;
};
/// The parts come first: the replica's journal is one of them.
struct sharing_device : sharing_parts, small_device<basic_replica<stored_records, conflict_desk>> {
    std::map<std::string, std::int64_t> last{};  ///< what it wrote last, by record
    sharing_device(std::string who, std::uint64_t seed, rule_table const& rules, replica_options const& o)
        : sharing_parts(rules), small_device(std::move(who), seed, rules, o, stored_records{}, desk) {}
};

class sharing_world : small_world<shared_conflict_simulation_options, shared_conflict_simulation_report, sharing_device,
                                  authority<access_policy<>>> {
public:
    sharing_world(std::uint64_t seed, shared_conflict_simulation_options const& o) : small_world(seed, 81, o) {}

    shared_conflict_simulation_report run(step_dice& dice) {
        begin();
        live(dice, [&] { deed(); });
        if (fine()) { end(); }
        return finished();
    }

private:
    using name_type = std::pair<std::string, std::string>;  ///< collection and id

    [[nodiscard]] static access_policy<> policy() {
        access_rule sees;
        sees.collection = "things";
        access_rule things = sees;
        things.role = "editor";
        things.creates = things.updates = things.erases = true;
        access_rule opens;
        opens.collection = conflicts_of("things");
        opens.creates = true;
        access_rule decides = opens;
        decides.role = "manager";
        decides.updates = true;
        return access_policy<>{{sees, things, opens, decides},
                               {[](std::string_view principal, std::string_view role, void const*) {
                                   return principal != (role == "editor" ? "dora" : "guest");
                               }}};
    }
    void begin() {
        rules_.add({"things", rule::last_writer, {{"asked", rule::manual}}});
        rules_.add(conflict_rules("things"));
        checks_.add(conflict_check("things"));
        authority_options o;
        o.checks = &checks_;
        cloud_ = std::make_unique<authority<access_policy<>>>(rules_, o, policy());
        open_home();
        replica_options r;
        r.checks = &checks_;
        draw_pages(r);
        for (std::string_view const who : {"anna", "ben", "cleo", "guest", "dora", "mallory"}) {
            r.checks = who == "mallory" ? nullptr : &checks_;  // a program of its own making
            devices_.push_back(std::make_unique<sharing_device>(std::string{who}, random_(), rules_, r));
            devices_.back()->ahead = milliseconds{draw_number(60'000)};
            open(*devices_.back());
        }
        for (std::string const id : {"a", "b"}) {
            sharing_device& d = *devices_[0];
            bytes const fields = small_fields({{"asked", naive_item(0)}, {"name", naive_item(0)}});
            honest(d.box.attempt([&](auto& tx) {
                            return d.self.create(tx, {"things", id}, fields, now_of(d));
                        })
                       .took,
                   "a record is not made");
        }
        int left = rest_max;
        for (auto const& d : devices_) { settle(*d, left); }
        judge_home();
    }

    // Deeds.

    void deed() {
        sharing_device& d = *draw_of(devices_);
        std::uint64_t const what = draw(40);
        bool const writes = d.name != "dora";
        if (d.name == "mallory" && (what < 7 || (what >= 31 && what < 38))) {
            forge(d);
        } else if (what < 7) {
            writes ? write(d) : decide(d);
        } else if (what < 10) {
            ask(d);
        } else if (what < 13) {
            if (answer(d)) { judge_home(); }
        } else if (what < 16) {
            hear(d);
        } else if (what < 24) {
            exchange_some(d, 3, [&] { judge_home(); });
        } else if (what < 31) {
            follow(d);
        } else if (what < 38) {
            decide(d);
        } else {
            cut(d);
            if (draw(2) == 0) { cut_home(); }
        }
    }
    void write(sharing_device& d) {
        std::string const id = draw(2) == 0 ? "a" : "b";
        // What waits on it would be replaced by its own writer, a decision's value too.
        bool const waits = d.box.stored('r', 'v').at({"things", id}).pending;
        bool const asked = draw(4) != 0 && !waits;
        std::int64_t const value = next_;
        field_op const op = small_set(asked ? "asked" : "name", naive_item(value));
        bool const took = attempt(d, [&](auto& tx) { return d.self.update(tx, {"things", id}, {op}, now_of(d)); });
        excused("an edit is refused");
        tell(d.label + " writes " + id + " " + op.field + " = " + std::to_string(value) + ending(took));
        if (!took) { return; }
        ++next_;
        ++report_.written;
        if (!asked) { return; }
        d.last[id] = value;
    }
    void follow(sharing_device& d) {
        std::vector<followed> said;
        bool const took = attempt(d, [&](auto& tx) -> status {
            said.clear();
            auto const n = d.shared.share(tx, d.self, 100, now_of(d));
            if (!n) { return n.error(); }
            return d.shared.follow(tx, d.self, now_of(d), [&](record_key const&, followed f) { said.push_back(f); });
        });
        excused("decisions are not followed");
        tell(d.label + " follows " + std::to_string(said.size()) + " decisions" + ending(took));
        if (took) { hear_of(d, said); }
    }
    void hear_of(sharing_device const& d, std::vector<followed> const& said) {
        for (followed const f : said) {
            ++told_[f];
            // Of who may not decide the history has nothing.
            if (f == followed::too_late && d.name != "guest") { ++in_history_; }
        }
    }
    [[nodiscard]] std::vector<shared_conflict> listed(sharing_device& d) {
        std::vector<shared_conflict> out;
        auto const ok = d.box.read([&](auto& tx) {
            return d.shared.list(tx, d.self, "things", [&](shared_conflict const& c) {
                out.push_back(c);
                return true;
            });
        });
        honest(ok.has_value(), "conflicts can't be listed");
        return out;
    }
    void decide(sharing_device& d) {
        auto const some = listed(d);
        if (some.empty()) { return; }
        // Mostly one that is open: the closed ones become many.
        shared_conflict one = draw_of(some);
        for (shared_conflict const& c : some) {
            if (one.state != shared_state::open && c.state == shared_state::open) { one = c; }
        }
        resolution how = resolution::use_remote();
        std::uint64_t const kind = draw(3);
        if (kind == 1) { how = resolution::use_local(); }
        if (kind == 2) { how = resolution::merge_fields({{{"asked"}, field_take::custom, naive_item(next_)}}); }
        record_key const k{conflicts_of("things"), one.id};
        position const seen = one.about.remote ? one.about.remote->version : 0;
        bool const took =
            attempt(d, [&](auto& tx) { return d.shared.decide(tx, d.self, k, seen, how, d.name, now_of(d)); });
        excused("a decision is refused", errc::already_exists, errc::busy, errc::contended);
        std::string const chosen = kind == 1 ? "this side" : kind == 2 ? std::to_string(next_) : "the other side";
        tell(d.label + " decides a conflict of " + std::string{one.about.record.id_text()} + ": " + chosen +
             ending(took));
        if (!took) { return; }
        ++report_.decided;
        if (kind == 2) { ++next_; }
    }

    /// Closes what somebody else has decided, or opens what is closed.
    void forge(sharing_device& d) {
        auto const some = listed(d);
        if (some.empty()) { return; }
        shared_conflict one = draw_of(some);
        for (shared_conflict const& c : some) {
            if (one.state == shared_state::open && c.state != shared_state::open) { one = c; }
        }
        std::vector<field_op> ops{{"done", op_kind::unset, {}, {}}};
        std::uint64_t const kind = one.state == shared_state::closed ? draw(3) : 3;
        if (kind == 3) {
            bytes yes;
            cbor_writer{yes}.boolean(true);
            ops = {{"done", op_kind::set, std::move(yes), {}}};
        } else if (kind != 0) {
            if (kind == 1) { ops.clear(); }
            for (char const* const f : {"decided_at", "decided_by", "decision"}) {
                ops.push_back({f, op_kind::unset, {}, {}});
            }
        }
        record_key const k{conflicts_of("things"), one.id};
        bool const took = attempt(d, [&](auto& tx) { return d.self.update(tx, k, ops, now_of(d)); });
        excused("a forgery is not written down");
        tell(d.label + (kind == 3 ? " closes" : " opens") + " a conflict of " +
             std::string{one.about.record.id_text()} + " that is another's" + ending(took));
        report_.forged += took ? 1 : 0;
    }

    // The judge.

    /// What a decision makes of the record; nothing where it leaves it as it is.
    [[nodiscard]] static std::optional<std::int64_t> chosen_in(shared_conflict const& c) {
        if (c.how->kind == resolve_kind::merge_fields) { return naive_integer(c.how->fields[0].value); }
        if (c.how->kind != resolve_kind::use_local) { return std::nullopt; }
        for (field_op const& op : c.about.local.ops) {
            if (op.field == "asked") { return naive_integer(op.value); }
        }
        return std::nullopt;
    }
    [[nodiscard]] static std::optional<std::int64_t> said(row const& r, std::string const& field) {
        auto const found = small_field(r.fields, field);
        return found ? naive_integer(*found) : std::nullopt;
    }
    void judge_home() {
        if (!fine()) { return; }
        auto const home = home_.stored('a', 'r');
        for (auto const& [at, held] : home) {
            auto const v = at.first == "things" ? said(held.what, "asked") : std::nullopt;
            if (v) { was_.insert({at.second, *v}); }
        }
        // By record and person: of two decisions on one field of it that are carried out together the later one is written.
        std::map<name_type, bool> closing;
        for (auto const& [at, held] : home) {
            if (at.first == "things") { continue; }
            auto const decision = small_field(held.what.fields, "decision");
            bool const done = small_field(held.what.fields, "done").has_value();
            if (decision) {
                holds(small_field(held.what.fields, "decided_by") != small_text("guest"),
                      shared_conflict_promise::permitted, "a guest has decided");
            }
            auto& known = stands_[at.second];
            holds(!known.done || (done && decision == known.decision), shared_conflict_promise::first,
                  "a closed conflict was changed");
            holds(!known.decision || !decision || known.version == held.what.version || *decision == *known.decision ||
                      between_,
                  shared_conflict_promise::first, "a second decision took the place of the first");
            auto const c = shared_conflicts::read({at.first, as_bytes(at.second)}, held.what.fields);
            if (done && !known.done && c && c->how) {
                std::string const id{c->about.record.id_text()};
                auto const v = chosen_in(*c);
                closing[{id, c->decided_by}] |= !v || was_.contains({id, *v});
            }
            known = {decision, done, held.what.version};
        }
        for (auto const& [by, is_written] : closing) {
            holds(is_written, shared_conflict_promise::written,
                  by.second + "'s decision about " + by.first + " is closed and not written");
        }
    }

    // At the end.

    void end() {
        tell("the trouble is over");
        between_ = true;  // more than one step of home between two looks
        int left = rest_max;
        for (int round = 0; round < 5 && fine(); ++round) {
            for (auto const& d : devices_) {
                for (bool more = true; fine() && more;) {
                    more = exchange(*d);
                    judge_home();
                    holds(--left > 0, small_promise::rest, "it does not come to rest");
                }
                std::vector<followed> said;
                bool const took =
                    d->box
                        .attempt([&](auto& tx) -> status {
                            auto const n = d->shared.share(tx, d->self, 100, now_of(*d));
                            if (!n) { return n.error(); }
                            return d->shared.follow(tx, d->self, now_of(*d),
                                                    [&](record_key const&, followed f) { said.push_back(f); });
                        })
                        .took;
                honest(took, "decisions are not followed on a sound machine");
                hear_of(*d, said);
            }
        }
        if (fine()) { judge_rest(); }
    }
    void judge_rest() {
        auto const home = home_.stored('a', 'r');
        auto const all = listed(*devices_[0]);
        std::set<std::pair<std::string, std::int64_t>> in_conflict;
        std::size_t late = 0;
        for (shared_conflict const& c : all) {
            holds(c.state != shared_state::decided && !c.pending, shared_conflict_promise::same,
                  "a conflict is half decided");
            late += c.late.size();
            (c.state == shared_state::open ? report_.open : report_.closed) += 1;
            std::string const id{c.about.record.id_text()};
            for (field_op const& op : c.about.local.ops) {
                auto const v = op.field == "asked" ? naive_integer(op.value) : std::nullopt;
                if (v) { in_conflict.insert({id, *v}); }
            }
        }
        report_.late = told_[followed::too_late];
        report_.reopened = told_[followed::reopened];
        report_.refused = told_[followed::refused];
        report_.unwritten = told_[followed::not_written];
        std::uint64_t answers = 0;
        for (auto const& [what, n] : told_) { answers += n; }
        holds(late == in_history_, shared_conflict_promise::told, "not all late decisions are in the history");
        holds(answers == report_.decided, shared_conflict_promise::told,
              std::to_string(report_.decided) + " decisions, and " + std::to_string(answers) + " answers");
        std::size_t waiting = 0;
        for (auto const& d : devices_) {
            auto const other = listed(*d);
            bool same = other.size() == all.size();
            for (std::size_t i = 0; same && i < all.size(); ++i) {
                same = other[i].id == all[i].id && other[i].state == all[i].state && other[i].how == all[i].how &&
                       other[i].decided_by == all[i].decided_by && other[i].late == all[i].late && !other[i].pending;
            }
            holds(same, shared_conflict_promise::same, d->name + " lists other conflicts");
            auto const held = d->box.stored('r', 'v');
            for (auto const& [at, is] : home) {
                auto const found = held.find(at);
                holds(found != held.end() && found->second.what.fields == is.what.fields, shared_conflict_promise::same,
                      d->name + " holds something else as " + at.second);
            }
            auto const ok = d->box.read([&](auto& tx) -> status {
                if (auto whole = d->queue.verify(tx); !whole) { return whole.error(); }
                return d->queue.list(tx, {}, [&](conflict const& c) {
                    ++waiting;
                    auto const is = home.find({"things", std::string{c.record.id_text()}});
                    bool const current = c.remote && is != home.end() && c.remote->version == is->second.what.version;
                    holds(current, shared_conflict_promise::same, d->name + "'s conflict shows an older row");
                    return true;
                });
            });
            honest(ok.has_value(), "a queue is not whole");
            for (auto const& [id, v] : d->last) {
                holds(was_.contains({id, v}) || in_conflict.contains({id, v}), shared_conflict_promise::kept,
                      d->name + "'s " + std::to_string(v) + " of " + id + " is nowhere");
            }
        }
        holds(waiting == report_.open, shared_conflict_promise::same,
              std::to_string(waiting) + " conflicts wait, and " + std::to_string(report_.open) + " are open");
    }

    struct standing {
        std::optional<bytes> decision{};
        bool done = false;
        position version = 0;
    };
    rule_table rules_{};
    check_table checks_{};
    std::int64_t next_ = 1;                                 ///< each value is written once
    std::set<std::pair<std::string, std::int64_t>> was_{};  ///< values that a record had at home
    std::map<std::string, standing> stands_{};              ///< of conflicts, as they were at home
    std::map<followed, std::uint64_t> told_{};
    std::uint64_t in_history_ = 0;  ///< late decisions that the history is to have
    bool between_ = false;          ///< home may have changed more than once since the last look
};

}  // namespace detail

/// One life of shared conflicts. The same seed and options give the same life and the same report, on every machine.
/// With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline shared_conflict_simulation_report simulate_shared_conflicts(
    std::uint64_t seed, shared_conflict_simulation_options const& o = {}) {
    return detail::live_life<detail::sharing_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline shared_conflict_simulation_options shrink_shared_conflicts(
    shared_conflict_simulation_report const& failed, shared_conflict_simulation_options o = {},
    std::size_t lives = 1'000) {
    return detail::shrink_life<detail::sharing_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
