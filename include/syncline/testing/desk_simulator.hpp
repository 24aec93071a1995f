// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The conflict desk in a simulated world: people decide what waits on their devices, take it back and decide again, while
/// the records go on changing; one decides without a desk. Each write counts one, so that what counts twice shows.

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
#include <syncline/replica/replica.hpp>
#include <syncline/testing/small_world.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What a desk promises, by the names under which a breach is reported.
struct desk_promise {
    /// At rest each value that was acknowledged was the record's, is in a conflict, or its own writer replaced it.
    static constexpr char const* kept = "nothing_lost";
    /// At rest each write counts once, but for what waits in a conflict that is open, or was taken back.
    static constexpr char const* once = "exactly_once";
    static constexpr char const* choices =
        "choices";  ///< the record is what the person chose, and what it was once undone
    static constexpr char const* asked_once = "one_verdict";  ///< what is decided waits nowhere any more
    static constexpr char const* current = "current";         ///< what waits is shown against the row that is held
    static constexpr char const* answers = "answers";         ///< who saw another row is told so, and nobody else
    static constexpr char const* whole = "contents";          ///< a queue is whole, and holds what waits
    static constexpr char const* same = "convergence";        ///< at rest all hold what the authority holds
};

struct desk_simulation_options {
    std::uint32_t steps = 250;
    bool tell = false;  ///< write the story
    /// A mistake of the host, to show that the judge sees it: it shows a number that was chosen, and hands on the other side's.
    bool blind = false;
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct desk_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t faults = 0;  ///< storage calls that were made to fail
    std::uint64_t power_cuts = 0;
    std::uint64_t written = 0;
    std::uint64_t decided = 0, undone = 0, redone = 0, by_hand = 0;
    std::uint64_t outdated = 0;  ///< decisions about a row that was no longer held
    std::uint64_t crowded = 0;   ///< steps at which something waited that the queue had no room for
    std::uint64_t open = 0;      ///< conflicts at the end
    std::uint64_t trace = 0;     ///< of all messages: the same on every machine
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

namespace detail {

struct desk_parts {
    conflict_queue queue;
    conflict_desk desk;
    desk_parts(rule_table const& rules, conflict_options const& o) : queue(o), desk(queue, rules) {}
    desk_parts(desk_parts const&) = delete;
    desk_parts& operator=(desk_parts const&) = delete;
};
/// The parts come first: the replica's journal is one of them.
struct deciding_device : desk_parts, small_device<basic_replica<stored_records, conflict_desk>> {
    std::map<std::string, std::int64_t> last{};  ///< the word that it wrote last, by record
    deciding_device(std::string who, std::uint64_t seed, rule_table const& rules, replica_options const& o,
                    conflict_options const& q)
        : desk_parts(rules, q), small_device(std::move(who), seed, rules, o, stored_records{}, desk) {}
};

class desk_world : small_world<desk_simulation_options, desk_simulation_report, deciding_device> {
public:
    desk_world(std::uint64_t seed, desk_simulation_options const& o) : small_world(seed, 85, o) {}

    desk_simulation_report run(step_dice& dice) {
        begin();
        live(dice, [&] { deed(); });
        if (fine()) { end(); }
        return finished();
    }

private:
    using device = deciding_device;
    static constexpr std::string_view ids[] = {"a", "b", "c"};

    void begin() {
        // A word that a person decides, what counts, and a sum, which in half of the lives goes with the word.
        collection_rules by{"things", rule::last_writer, {{"asked", rule::manual}, {"count", rule::counter}}};
        if (one_in(2)) { by.groups = {{"both", rule::manual, {"asked", "sum"}}}; }
        rules_.add(by);
        cloud_ = std::make_unique<authority<>>(rules_);
        open_home();
        replica_options r;
        draw_pages(r);
        conflict_options q;
        if (one_in(3)) { q.open_max = 1 + draw(3); }
        if (one_in(3)) { q.bytes_max = static_cast<std::size_t>(350 + draw(500)); }
        roomy_ = q == conflict_options{};
        bytes_max_ = q.bytes_max;
        for (std::string_view const who : {"anna", "ben", "cleo"}) {
            devices_.push_back(std::make_unique<device>(std::string{who}, random_(), rules_, r, q));
            devices_.back()->ahead = milliseconds{draw_number(60'000)};
            open(*devices_.back());
        }
        device& first = *devices_[0];
        for (std::string_view const id : ids) {
            bytes const fields = small_fields(
                {{"asked", naive_item(0)}, {"sum", naive_item(0)}, {"count", naive_item(0)}, {"note", small_text("")}});
            honest(first.box
                       .attempt([&](auto& tx) {
                           return first.self.create(tx, {"things", id}, fields, now_of(first));
                       })
                       .took,
                   "a record is not made");
        }
        int left = rest_max;
        for (auto const& d : devices_) { settle(*d, left); }
        look_home();
    }
    /// Cleo has no desk, and decides in the replica's own list.
    [[nodiscard]] static bool has_desk(device const& d) { return d.name != "cleo"; }

    // Raw storage, and what waits.

    [[nodiscard]] static std::int64_t number(row const& r, std::string_view field) {
        return small_number(r.fields, field);
    }
    [[nodiscard]] row shown(device& d, record_key const& k) {
        return d.box.stored('r', 'v').at({k.collection, std::string{k.id_text()}}).what;
    }
    [[nodiscard]] bool pends(device& d, record_key const& k) {
        return d.box.stored('r', 'v').at({k.collection, std::string{k.id_text()}}).pending;
    }
    [[nodiscard]] position confirmed(device& d, record_key const& k) {
        return d.box.stored('r', 'v').at({k.collection, std::string{k.id_text()}}).confirmed;
    }
    [[nodiscard]] std::vector<open_conflict> parked(device& d) {
        std::vector<open_conflict> out;
        auto const ok = d.box.read([&](auto& tx) {
            return d.self.conflicts(tx, [&](open_conflict const& c) {
                out.push_back(c);
                return true;
            });
        });
        honest(ok.has_value(), "what is parked can't be listed");
        return out;
    }
    [[nodiscard]] std::vector<conflict> queued(device& d, std::optional<conflict_state> state) {
        std::vector<conflict> out;
        conflict_query q;
        q.state = state;
        auto const ok = d.box.read([&](auto& tx) {
            return d.queue.list(tx, q, [&](conflict const& c) {
                out.push_back(c);
                return true;
            });
        });
        honest(ok.has_value(), "a queue can't be listed");
        return out;
    }

    // Deeds.

    void deed() {
        device& d = *draw_of(devices_);
        std::uint64_t const what = draw(40);
        if (what < 12) {
            write(d);
        } else if (what < 13) {
            ask(d);
        } else if (what < 15) {
            if (answer(d)) { look_home(); }
        } else if (what < 17) {
            hear(d);
        } else if (what < 26) {
            exchange_some(d, 3, [&] { look_home(); });
        } else if (what < 27) {
            gather(d);
        } else if (what < 34) {
            has_desk(d) ? decide(d) : decide_by_hand(d);
        } else if (what < 37) {
            if (has_desk(d)) { undo(d); }
        } else if (what < 39) {
            if (has_desk(d)) { redo(d); }
        } else {
            cut(d);
            if (draw(2) == 0) { cut_home(); }
        }
        if (fine()) { judge(d); }
    }
    void write(device& d) {
        record_key const k{"things", ids[draw(3)]};
        // What waits on it would be replaced by its own writer, a decision's value too.
        bool const waits = pends(d, k);
        std::uint64_t const how = draw(10);
        std::vector<field_op> ops;
        std::int64_t const value = next_;
        bool const word = how < 6 && !waits;
        bool const sums = how > 3 && how < 8 && !waits;
        if (word) { ops.push_back(small_set("asked", naive_item(value))); }
        ops.push_back({"count", op_kind::add, naive_item(1), {}});
        if (how > 7) {
            ops.push_back(small_set("note", small_text(std::string(static_cast<std::size_t>(100 + draw(600)), 'n'))));
        }
        if (sums) { ops.push_back({"sum", op_kind::add, naive_item(1 + draw_number(50)), {}}); }
        std::sort(ops.begin(), ops.end(),
                  [](field_op const& a, field_op const& b) { return compare_keys(a.field, b.field) < 0; });
        bool const took = attempt(d, [&](auto& tx) { return d.self.update(tx, k, ops, now_of(d)); });
        excused("an edit is refused");
        tell(d.label + " writes " + std::string{k.id_text()} + (word ? " asked = " + std::to_string(value) : "") +
             (sums ? " and adds to the sum" : "") + ending(took));
        if (!took) { return; }
        ++report_.written;
        ++counted_[std::string{k.id_text()}];
        if (!word) { return; }
        ++next_;
        d.last[std::string{k.id_text()}] = value;
    }
    void gather(device& d) {
        if (!has_desk(d)) { return; }
        bool const took = attempt(d, [&](auto& tx) { return d.desk.gather(tx, d.self, now_of(d)); });
        excused("what is parked is not gathered");
        tell(d.label + " gathers what waits" + ending(took));
    }
    /// Whether a refusal is the queue's bounds'.
    void excused_decision(char const* what) { excused(what, errc::limit); }

    void decide(device& d) {
        auto const some = queued(d, conflict_state::open);
        if (some.empty()) { return; }
        conflict const c = draw_of(some);
        std::string const id{c.record.id_text()};
        resolution how = resolution::use_remote();
        std::optional<std::int64_t> word, sum;
        std::uint64_t const kind = draw(3);
        if (kind == 0) { how = resolution::use_local(); }
        if (kind == 1) {
            std::vector<field_decision> fields;
            for (contested_field const& f : c.fields) {
                auto& chosen = f.path.front() == "sum" ? sum : word;
                chosen = next_ + (f.path.front() == "sum" ? 0 : 1);
                fields.push_back({f.path, field_take::custom, naive_item(*chosen)});
            }
            how = options_.blind ? resolution::use_remote() : resolution::merge_fields(std::move(fields));
        }
        std::int64_t const used = next_ + 1;
        bool const outdated = one_in(10);
        bool const stands = c.remote && c.remote->version == confirmed(d, c.record);
        bool const alone = !pends(d, c.record);
        settled done;
        bool const took = attempt(d, [&](auto& tx) {
            auto said =
                d.desk.resolve(tx, d.self, c.id, c.revision + (outdated ? 1 : 0), how, as_bytes(d.name), now_of(d));
            if (said) { done = *said; }
            return said;
        });
        tell(d.label + " decides conflict " + std::to_string(c.id) + " about " + id +
             (kind == 0   ? " for this side"
              : kind == 1 ? " as " + std::to_string(word.value_or(sum.value_or(0)))
                          : " for the other side") +
             ending(took));
        if (outdated || !stands) {
            ++report_.outdated;
            holds(failed_ || why_ == errc::contended, desk_promise::answers,
                  "a decision about another row than is held is taken");
            return;
        }
        holds(failed_ || why_ != errc::contended, desk_promise::answers,
              "a decision about the row that is held is not taken");
        excused("a decision is refused", errc::limit, errc::contended);
        if (!took) { return; }
        next_ = used + 1;
        ++report_.decided;
        note_words(d, done);
        if (!alone) { return; }
        row const now = shown(d, c.record);
        if (kind == 2 && c.find({"asked"}) != nullptr) { word = number(*c.remote, "asked"); }
        if (kind == 2 && c.find({"sum"}) != nullptr) { sum = number(*c.remote, "sum"); }
        for (field_op const& op : c.local.ops) {
            if (kind == 0 && op.field == "asked" && op.kind == op_kind::set) { word = naive_integer(op.value); }
        }
        chosen(d, now, word, sum, "decided");
    }
    void chosen(device& d, row const& now, std::optional<std::int64_t> word, std::optional<std::int64_t> sum,
                char const* what) {
        auto const one = [&](std::string_view field, std::optional<std::int64_t> should) {
            std::int64_t const is = number(now, field);
            holds(!should || is == *should, desk_promise::choices,
                  d.name + " has " + what + ", and " + std::string{field} + " is " + std::to_string(is) + " and not " +
                      std::to_string(should.value_or(0)));
        };
        one("asked", word);
        one("sum", sum);
    }
    /// What a decision writes is its device's word.
    void note_words(device& d, settled const& done) {
        if (!done.sends()) { return; }
        for (field_op const& op : done.change.ops) {
            auto const v = op.field == "asked" && op.kind == op_kind::set ? naive_integer(op.value) : std::nullopt;
            if (v) { d.last[std::string{done.change.record.id_text()}] = *v; }
        }
    }
    void decide_by_hand(device& d) {
        auto const some = parked(d);
        if (some.empty()) { return; }
        open_conflict const c = draw_of(some);
        std::string const id{c.local.record.id_text()};
        std::vector<field_resolution> all;
        std::optional<std::int64_t> word, sum;
        for (std::string const& f : c.fields) {
            field_resolution one{f, static_cast<field_resolution::choice>(draw(3)), {}};
            auto& should = f == "sum" ? sum : word;
            if (one.take == field_resolution::choice::custom) {
                should = next_++;
                one.value = naive_item(*should);
            } else if (one.take == field_resolution::choice::remote && c.remote) {
                should = number(*c.remote, f);
            }
            all.push_back(std::move(one));
        }
        bool const alone = !pends(d, c.local.record);
        position const seen = c.remote ? c.remote->version : 0;
        bool const took = attempt(d, [&](auto& tx) { return d.self.resolve(tx, c.token, seen, all, now_of(d)); });
        excused("a decision by hand is refused");
        tell(d.label + " decides what is parked about " + id + " by hand" + ending(took));
        if (!took) { return; }
        ++report_.by_hand;
        row const now = shown(d, c.local.record);
        d.last[id] = number(now, "asked");
        if (alone) { chosen(d, now, word, sum, "decided by hand"); }
    }
    void undo(device& d) {
        auto const some = queued(d, conflict_state::decided);
        if (some.empty()) { return; }
        conflict const c = draw_of(some);
        bool const alone = !pends(d, c.record);
        settled back;
        bool const took = attempt(d, [&](auto& tx) {
            auto said = d.desk.undo(tx, d.self, c.id, as_bytes(d.name), now_of(d));
            if (said) { back = *said; }
            return said;
        });
        excused("an undo is refused", errc::contended, errc::limit, errc::rejected);
        tell(d.label + " takes back the decision of conflict " + std::to_string(c.id) + ending(took));
        if (!took) { return; }
        ++report_.undone;
        note_words(d, back);
        if (!alone || !back.after) { return; }
        row const now = shown(d, c.record);
        for (char const* const f : {"asked", "sum", "count"}) {
            holds(number(now, f) == number(*back.after, f), desk_promise::choices,
                  d.name + " has taken a decision back, and " + f + " is not what was shown");
        }
    }
    void redo(device& d) {
        auto some = queued(d, conflict_state::open);
        std::erase_if(some, [](conflict const& c) { return c.last_decision == 0; });
        if (some.empty()) { return; }
        conflict const c = draw_of(some);
        bool const alone = !pends(d, c.record);
        settled done;
        bool const took = attempt(d, [&](auto& tx) {
            auto said = d.desk.redo(tx, d.self, c.id, c.revision, as_bytes(d.name), now_of(d));
            if (said) { done = *said; }
            return said;
        });
        // Which fields are contested by now may be others than were decided about.
        excused("a decision is not made again", errc::contended, errc::limit, errc::invalid);
        tell(d.label + " decides conflict " + std::to_string(c.id) + " again" + ending(took));
        if (!took) { return; }
        ++report_.redone;
        note_words(d, done);
        if (!alone || !done.after) { return; }
        row const now = shown(d, c.record);
        for (char const* const f : {"asked", "sum", "count"}) {
            holds(number(now, f) == number(*done.after, f), desk_promise::choices,
                  d.name + " has decided again, and " + f + " is not what was shown");
        }
    }

    // The judge.

    void look_home() {
        for (auto const& [at, held] : home_.stored('a', 'r')) { was_.insert({at.second, number(held.what, "asked")}); }
    }
    void judge(device& d) {
        if (!has_desk(d)) { return; }
        auto const all = queued(d, std::nullopt);
        auto const own = parked(d);
        bool left_out = false;
        for (open_conflict const& o : own) {
            auto const at = std::find_if(all.begin(), all.end(), [&](conflict const& c) { return c.local == o.local; });
            left_out = left_out || at == all.end();
            holds(at == all.end() || at->state == conflict_state::open, desk_promise::asked_once,
                  d.name + " is asked by the replica about what was decided at the desk");
        }
        holds(!left_out || !roomy_, desk_promise::whole, d.name + "'s desk lacks a conflict that is parked");
        report_.crowded += left_out ? 1 : 0;
        for (conflict const& c : all) {
            if (c.state != conflict_state::open) { continue; }
            bool const is = c.remote && c.remote->version == confirmed(d, c.record);
            holds(
                is || bytes_max_ != conflict_options{}.bytes_max, desk_promise::current,
                d.name + "'s desk shows conflict " + std::to_string(c.id) + " against a row that is not held any more");
        }
        auto const ok = d.box.read([&](auto& tx) { return d.queue.verify(tx); });
        holds(ok.has_value(), desk_promise::whole, d.name + "'s queue is not whole");
    }

    // At the end.

    void end() {
        tell("the trouble is over");
        int left = rest_max;
        for (int round = 0; round < 4 && fine(); ++round) {
            for (auto const& d : devices_) {
                for (bool more = true; fine() && more;) {
                    more = exchange(*d);
                    look_home();
                    holds(--left > 0, small_promise::rest, "it does not come to rest");
                }
                if (fine()) { judge(*d); }
            }
        }
        if (fine()) { judge_rest(); }
    }
    void judge_rest() {
        auto const home = home_.stored('a', 'r');
        std::set<std::pair<std::string, std::int64_t>> waiting;
        std::map<std::string, std::int64_t> uncounted;
        for (auto const& d : devices_) {
            auto const look_at = [&](mutation const& m, bool open) {
                std::string const id{m.record.id_text()};
                for (field_op const& op : m.ops) {
                    auto const v = naive_integer(op.value).value_or(0);
                    if (op.field == "asked") { waiting.insert({id, v}); }
                    if (open && op.field == "count") { uncounted[id] += v; }
                }
                report_.open += open ? 1 : 0;
            };
            auto const all = has_desk(*d) ? queued(*d, std::nullopt) : std::vector<conflict>{};
            for (conflict const& c : all) { look_at(c.local, c.state == conflict_state::open); }
            for (open_conflict const& o : parked(*d)) {
                bool const known =
                    std::any_of(all.begin(), all.end(), [&](conflict const& c) { return c.local == o.local; });
                if (!known) { look_at(o.local, true); }
            }
            auto const held = d->box.stored('r', 'v');
            for (auto const& [at, is] : home) {
                auto const found = held.find(at);
                holds(found != held.end() && found->second.what.fields == is.what.fields, desk_promise::same,
                      d->name + " holds something else as " + at.second);
            }
        }
        for (auto const& [at, is] : home) {
            std::int64_t const counts = number(is.what, "count");
            std::int64_t const should = counted_[at.second] - uncounted[at.second];
            holds(counts == should, desk_promise::once,
                  at.second + " counts " + std::to_string(counts) + ", and by the ledger " + std::to_string(should));
        }
        for (auto const& d : devices_) {
            for (auto const& [id, v] : d->last) {
                holds(was_.contains({id, v}) || waiting.contains({id, v}), desk_promise::kept,
                      d->name + "'s " + std::to_string(v) + " of " + id + " is nowhere");
            }
        }
    }

    rule_table rules_{};
    std::int64_t next_ = 1;                                 ///< each word is written once
    std::map<std::string, std::int64_t> counted_{};         ///< writes that were acknowledged, by record
    std::set<std::pair<std::string, std::int64_t>> was_{};  ///< words that a record had at home
    bool roomy_ = true;                                     ///< the queues have room for all
    std::size_t bytes_max_ = 0;
};

}  // namespace detail

/// One life of people at their desks. The same seed and options give the same life and the same report, on every machine.
/// With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline desk_simulation_report simulate_desks(std::uint64_t seed, desk_simulation_options const& o = {}) {
    return detail::live_life<detail::desk_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline desk_simulation_options shrink_desks(desk_simulation_report const& failed,
                                                          desk_simulation_options o = {}, std::size_t lives = 1'000) {
    return detail::shrink_life<detail::desk_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
