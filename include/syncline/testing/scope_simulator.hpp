// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Scopes and read masks in two simulated worlds at once, which differ in nothing but what is hidden: every byte that is
/// told and stored where it is hidden must be the same in both.

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

#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/integrity.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/testing/naive_merge.hpp>
#include <syncline/testing/simulated_machine.hpp>
#include <syncline/testing/small_world.hpp>
#include <syncline/testing/step_dice.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What scopes and masks promise, by the names under which a breach is reported.
struct scope_promise {
    /// Who may not read something is told and stores the same bytes, whatever it is, and whether it is.
    static constexpr char const* hidden = "authorisation";
    /// At rest a device holds what its scopes say of the authority's rows, without the fields that it may not read.
    static constexpr char const* whole = "scope_complete";
    /// At rest each addition took effect once or is a dead letter; what goes from a device goes from nowhere else.
    static constexpr char const* kept = "nothing_lost";
    static constexpr char const* seen =
        "visible_state";  ///< what was written and not yet sent is seen, in a scope or not
    /// A walk by fingerprints over what a sound device holds differs nowhere, at any time.
    static constexpr char const* walked = "integrity";
    static constexpr char const* honest = "honest_errors";  ///< no call fails but for the storage's reasons
    static constexpr char const* rest = "liveness";         ///< what is healed comes to rest
};

struct scope_simulation_options {
    std::uint32_t steps = 200;
    bool tell = false;  ///< write the story
    /// A mistake of the authority's host, to show that the judge sees it: what a predicate says is another now, and its
    /// revision is the same.
    bool stale_predicate = false;
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct scope_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t faults = 0;  ///< storage calls that were made to fail
    std::uint64_t power_cuts = 0;
    std::uint64_t written = 0;  ///< additions that were acknowledged
    std::uint64_t refused = 0;  ///< mutations that are dead letters at the end
    std::uint64_t joined = 0;
    std::uint64_t hidden = 0;    ///< deeds that differ between the two worlds
    std::uint64_t compared = 0;  ///< bytes that were the same in both
    std::uint64_t walked = 0;    ///< rows that were held against the authority's by fingerprints
    std::uint64_t trace = 0;     ///< of everything that was asked and answered: the same on every machine
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

namespace detail {

class scope_world {
public:
    scope_world(std::uint64_t seed, scope_simulation_options const& o)
        : options_(o),
          random_(seed * 2'654'435'761U + 78),
          leases_(draw(2) == 0),
          tallied_(seed % 3 == 2),
          cloned_at_(seed % 6 == 5 ? 60 : 0) {
        report_.seed = seed;
    }

    scope_simulation_report run(step_dice& dice) {
        begin();
        dice.live(
            options_.steps, options_.only, random_, report_.steps, [&] { return fine(); },
            [&] {
                pass(1'000 + static_cast<std::int64_t>(draw(20'000)));
                deed();
            });
        if (fine()) { end(); }
        for (violation const& v : report_.found) { tell("VIOLATED " + v.axiom + ": " + v.what); }
        return std::move(report_);
    }

private:
    static constexpr std::size_t people = 5;
    static constexpr std::size_t twin = 4;  ///< a copy of Anna's store, if there is one
    static constexpr std::array<char const*, people> names{"root", "anna", "ben", "cleo", "anna"};
    /// Anna and Ben never read what is masked, and have never a scope with what is hidden: they are watched.
    [[nodiscard]] static constexpr bool watched(std::size_t who) { return who == 1 || who == 2 || who == twin; }
    static constexpr int rest_max = 3'000;  ///< exchanges until all is at rest

    struct person {
        simulated_machine box{};
        replica self;
        random_generator random;
        std::vector<bytes> requests{};
        std::vector<bytes> replies{};
        person(replica_options const& o, std::uint64_t seed) : self(rules(), o), random(seed) {}
    };
    /// One of the two worlds.
    struct side {
        simulated_machine home{};
        std::optional<authority<>> cloud{};
        std::vector<std::unique_ptr<person>> all{};
    };
    /// Who may have what; the host's own.
    struct rights {
        std::set<std::pair<std::string, std::int64_t>> places{};
        bool cleo_reads = false;
        std::int64_t hot = 50;
    };
    /// What the judge knows of one person.
    struct known {
        std::set<scope> joined{};
        std::set<std::string> unsent{};  ///< records with an edit after the last request
        std::uint64_t named = 0;         ///< records that they made
    };
    using records = simulated_machine::row_fields;

    [[nodiscard]] static rule_table rules() {
        rule_table table;
        table.add({"things", rule::last_writer, {{"count", rule::counter}, {"tally", rule::counter}}});
        return table;
    }
    [[nodiscard]] static bytes integer(std::int64_t n) {
        bytes out;
        cbor_writer{out}.integer(n);
        return out;
    }
    [[nodiscard]] static bytes text(std::string_view s) {
        bytes out;
        cbor_writer{out}.text(s);
        return out;
    }
    [[nodiscard]] static bytes teams(std::int64_t n) {
        bytes out;
        cbor_writer w{out};
        w.array(2);
        w.integer(n);
        w.integer(n + 2);
        return out;
    }
    [[nodiscard]] static std::int64_t number(bytes_view fields, std::string_view name) {
        auto const found = small_field(fields, name);
        return found ? naive_integer(*found).value_or(0) : 0;
    }
    [[nodiscard]] static field_op set(std::string_view name, bytes value) {
        return {std::string{name}, op_kind::set, std::move(value), {}};
    }
    [[nodiscard]] static record_key thing(std::string_view id) { return {"things", id}; }

    [[nodiscard]] static std::vector<scope_rule> scope_rules(rights const& may, bool stale) {
        scope_rule place;
        place.name = "place";
        place.collection = "things";
        place.by = "place";
        place.permits = [](std::string_view principal, bytes_view parameter, void const* data) {
            auto const n = naive_integer(to_bytes(parameter));
            return n && static_cast<rights const*>(data)->places.contains({std::string{principal}, *n});
        };
        place.data = &may;
        scope_rule team;
        team.name = "team";
        team.by = "teams";
        team.each = true;
        scope_rule hot;
        hot.name = "hot";
        hot.holds = [](record_key const&, row const& r, void const* data) {
            return number(r.fields, "count") > static_cast<rights const*>(data)->hot;
        };
        hot.data = &may;
        if (!stale) { hot.revision = static_cast<std::uint64_t>(may.hot); }
        scope_rule first;
        first.name = "first";
        first.prefix = to_bytes(as_bytes("a"));
        scope_rule mine;
        mine.name = "mine";
        mine.by = "owner";
        mine.own = true;
        return {place, team, hot, first, mine};
    }
    [[nodiscard]] static role_source roles(rights const& may) {
        return {[](std::string_view principal, std::string_view role, void const* data) {
                    bool const reads = principal == "cleo" && static_cast<rights const*>(data)->cleo_reads;
                    return principal == "root" || role == "scribe" || (role == "boss" && reads);
                },
                &may};
    }
    /// The same, said once more, of a record that the authority has.
    [[nodiscard]] bool in_scope(scope const& s, std::string const& who, std::string const& id, bytes_view f) const {
        if (s.name == "first") { return id.starts_with("a"); }
        if (s.name == "hot") { return number(f, "count") > may_.hot; }
        if (s.name == "mine") { return s.parameter == text(who) && small_field(f, "owner") == s.parameter; }
        if (s.name == "place") {
            return small_field(f, "place") == s.parameter && may_.places.contains({who, number(f, "place")});
        }
        auto const in = small_field(f, "teams");
        auto const n = naive_integer(s.parameter).value_or(0);
        return s.name == "team" && in && (*in == teams(n) || *in == teams(n - 2));
    }

    std::uint64_t draw(std::uint64_t n) { return below(random_, n); }
    std::int64_t draw_number(std::uint64_t n) { return static_cast<std::int64_t>(draw(n)); }
    void pass(std::int64_t ms) {
        now_.wall += milliseconds{ms};
        now_.monotonic += milliseconds{ms};
    }
    [[nodiscard]] bool fine() const { return report_.found.empty(); }
    bool holds(bool ok, char const* promise, std::string const& what) {
        ++report_.checks;
        if (!ok && fine()) { report_.found.push_back({promise, what + ", step " + std::to_string(report_.steps)}); }
        return ok;
    }
    bool honest(bool ok, char const* what) { return holds(ok, scope_promise::honest, what); }
    void tell(std::string line) {
        if (options_.tell) { report_.story.push_back(std::to_string(report_.steps) + " " + std::move(line)); }
    }
    [[nodiscard]] static std::string show(scope const& s) {
        if (s.parameter.empty()) { return s.name; }
        auto const n = naive_integer(s.parameter);
        return s.name + " " + (n ? std::to_string(*n) : std::string{as_text(bytes_view{s.parameter}.subspan(1))});
    }
    /// What a watched person is told in both worlds.
    void same(bytes const& one, bytes const& other, std::size_t who, char const* what) {
        report_.compared += one.size();
        holds(one == other, scope_promise::hidden,
              std::string{names[who]} + ": " + what + " hangs on what " + names[who] + " may not read");
    }

    void make_tables() {
        for (side& s : sides_) { s.cloud.reset(); }
        table_.emplace(scope_rules(may_, options_.stale_predicate), roles(may_), "admin");
        authority_options o;
        if (leases_) { o.leases.length = milliseconds{200'000}; }
        o.scopes = &*table_;
        o.mask = &mask_;
        for (side& s : sides_) { s.cloud.emplace(rules(), o); }
    }
    void begin() {
        make_tables();
        std::uint64_t const seed = random_();
        std::array<std::uint64_t, people> pages{1'000, 1 + draw(5), 1 + draw(5), 1'000, 3};
        for (side& s : sides_) {
            random_generator own{seed};
            auto const opened = s.home.attempt([&](auto& tx) { return s.cloud->open(tx, now_, own); });
            honest(opened.took, "the authority does not open");
            for (std::size_t who = 0; who < people; ++who) {
                replica_options o;
                o.scoped = who != 0;
                o.rows_max = pages[who];
                s.all.push_back(std::make_unique<person>(o, seed + who));
                if (who != twin) { open(s, who); }
            }
        }
        for (std::string_view const id : {"a0", "a1", "b0", "b1", "b2", "d0", "d1"}) { make(std::string{id}); }
        for (std::size_t who = 1; who < people; ++who) {
            may_.places.insert({names[who], 0});
            may_.places.insert({names[who], 1});
        }
    }
    void open(side& s, std::size_t who) {
        person& p = *s.all[who];
        honest(p.box.attempt([&](auto& tx) { return p.self.open(tx, names[who], now_, p.random); }).took,
               "a replica does not open");
    }

    // Raw storage.

    [[nodiscard]] static records home_rows(side& s) { return s.home.rows('a', 'r'); }
    [[nodiscard]] static records visible(person& p) { return p.box.rows('r', 'v'); }
    [[nodiscard]] static bytes all_bytes(simulated_machine& box) {
        bytes out;
        box.read([&](auto& tx) {
            (void)tx.scan({}, [&](bytes_view k, bytes_view v) {
                append(out, k);
                append(out, v);
                return true;
            });
            return true;
        });
        return out;
    }
    void judge(std::size_t who) {
        if (watched(who)) {
            same(all_bytes(sides_[0].all[who]->box), all_bytes(sides_[1].all[who]->box), who, "what is stored");
        }
        for (side& s : sides_) {
            if (known_[who].unsent.empty()) { break; }
            records const seen = visible(*s.all[who]);
            for (std::string const& id : known_[who].unsent) {
                holds(seen.contains(id), scope_promise::seen,
                      std::string{names[who]} + " doesn't see " + id + ", and an edit of it was not sent yet");
            }
        }
    }

    /// What a device holds is compared with the authority's rows, in a transaction that is left without a commit.
    void walk(std::size_t who) {
        if (!fine()) { return; }
        std::array<bytes, 2> said;
        for (std::size_t t = 0; t < 2; ++t) {
            person& p = *sides_[t].all[who];
            integrity_check const check{{.rows_part = 2, .rows_max = 5}};
            random_generator key{report_.steps};
            auto tx = p.box.store().begin(access_mode::write);
            bool ok = tx && check.begin(*tx, key);
            errc why{};
            for (bool more = true; ok && more && why == errc{};) {
                auto const ask = check.ask(*tx, p.self);
                ok = ask.has_value();
                more = ask && *ask;
                if (!more) { break; }
                auto const answer = sides_[t].home.read(
                    [&](auto& home) { return answer_integrity(home, *sides_[t].cloud, names[who], **ask); });
                if (!answer) {
                    why = answer.error().code;
                    said[t].push_back(static_cast<std::byte>(why));
                    continue;
                }
                append(said[t], *answer);
                ok = check.absorb(*tx, p.self, *answer).has_value();
            }
            // Rights may have changed, and the index may be of other rules.
            ok = ok && (why == errc{} || why == errc::busy || why == errc::forbidden || why == errc::contended);
            if (!honest(ok, "a walk fails")) { return; }
            auto const found = check.report(*tx);
            if (!honest(found && *found, "a walk has no report")) { return; }
            report_.walked += (*found)->rows;
            holds((*found)->differing == 0, scope_promise::walked,
                  std::string{names[who]} + " holds something else than the authority");
        }
        if (watched(who)) { same(said[0], said[1], who, "the answer to a walk"); }
    }

    // Deeds. Each draws first, and then does the same in both worlds.

    void deed() {
        auto who = static_cast<std::size_t>(1 + draw(3));
        if (cloned_at_ != 0 && report_.steps >= cloned_at_ && !cloned_) { clone(); }
        if (cloned_ && who == 1 && draw(2) == 0) { who = twin; }
        std::uint64_t const what = draw(64);
        if (what < 10) {
            write(who);
        } else if (what < 14) {
            join(who);
        } else if (what < 17) {
            leave(who);
        } else if (what < 19) {
            evict(who);
        } else if (what < 20) {
            std::pair<std::string, std::int64_t> const right{names[who], draw_number(3)};
            bool const may = may_.places.erase(right) == 0;
            if (may) { may_.places.insert(right); }
            tell(right.first + (may ? " may have" : " may no longer have") + " place " + std::to_string(right.second));
        } else if (what < 21) {
            may_.cleo_reads = !may_.cleo_reads;
            tell(may_.cleo_reads ? "cleo may read what is masked" : "cleo may no longer read what is masked");
        } else if (what < 25) {
            administer();
        } else if (what < 30) {
            hide();
        } else if (what < 32) {
            probe(who);
        } else if (what < 33) {
            ++report_.power_cuts;
            tell(std::string{names[who]} + " and the authority lose power");
            std::uint64_t const seed = random_();
            for (side& s : sides_) {
                random_generator own{seed};
                s.all[who]->box.cut(own);
                open(s, who);
                s.home.cut(own);
            }
        } else if (what < 34) {
            may_.hot = 20 + 15 * draw_number(4);
            tell("hot is now what counts more than " + std::to_string(may_.hot));
            make_tables();
            built_ = false;
        } else if (what < 36 && leases_) {
            auto const budget = static_cast<std::size_t>(1 + draw(5));
            tell("the authority collects tombstones");
            for (side& s : sides_) {
                honest(s.home.attempt([&](auto& tx) { return s.cloud->collect(tx, budget); }).took,
                       "nothing is collected");
            }
        } else if (what < 37) {
            pass(1'000 * draw_number(500));
        } else if (what < 47) {
            ask(who);
        } else if (what < 56) {
            answer(who);
        } else {
            hear(who);
        }
        if (!built_ && draw(2) == 0) { build(static_cast<std::size_t>(1 + draw(6))); }
        judge(who);
        if (report_.steps % 8 == 0) { walk(who); }
    }
    /// Anna's store is copied to another machine, whatever waits in it, and both go on.
    void clone() {
        cloned_ = true;
        tell("anna's store is copied, and the copy is opened");
        for (side& s : sides_) {
            std::vector<std::pair<bytes, bytes>> all;
            (void)s.all[1]->box.read([&](auto& tx) {
                return tx.scan({}, [&](bytes_view k, bytes_view v) {
                    all.emplace_back(to_bytes(k), to_bytes(v));
                    return true;
                });
            });
            honest(s.all[twin]
                       ->box
                       .attempt([&](auto& tx) {
                           status ok;
                           for (std::size_t i = 0; i < all.size() && ok; ++i) {
                               ok = tx.put(all[i].first, all[i].second);
                           }
                           return ok;
                       })
                       .took,
                   "a store is not copied");
            open(s, twin);
        }
        known_[twin] = known_[1];
        known_[twin].named = 1'000;  // a record that it makes is another than those that the other makes
    }
    void build(std::size_t budget) {
        for (side& s : sides_) {
            auto const step = s.home.attempt([&](auto& tx) {
                auto r = s.cloud->build_scopes(tx, budget);
                if (r) { built_ = !r->more; }
                return r;
            });
            honest(step.took, "the scopes are not built");
        }
        tell(built_ ? "the scopes are built" : "the scopes are built in part");
    }
    /// In both worlds, with one and the same mishap; whether it was committed.
    template <class F>
    bool both(std::size_t who, std::string const& deed, F&& f) {
        // Who may read what is hidden need not make the same calls in both worlds: no call of theirs fails.
        machine_mishap m = draw_mishap(random_);
        m.faulty = m.faulty && watched(who);
        std::array<simulated_machine::outcome, 2> out;
        for (std::size_t t = 0; t < 2; ++t) {
            person& p = *sides_[t].all[who];
            out[t] = p.box.attempt(m, [&](auto& tx) { return f(p, tx); });
        }
        report_.faults += out[0].faulty ? 1 : 0;
        failed_ = out[0].faulty;
        why_ = out[0].why;
        holds(
            out[0].took == out[1].took && out[0].why == out[1].why, scope_promise::hidden,
            std::string{names[who]} + " is answered otherwise: " + message(out[0].why) + " and " + message(out[1].why));
        bool const took = out[0].took && out[1].took;
        tell(std::string{names[who]} + ' ' + deed +
             (took             ? std::string{}
              : why_ != errc{} ? std::string{", which fails: "} + message(why_)
                               : std::string{", and dies before the commit"}));
        return took;
    }
    void write(std::size_t who) {
        std::uint64_t const how = draw(8);
        // What who reads a hidden field edits may well hang on it: whether two edits are sent as one. Cleo only creates.
        if (how == 0 || who == 3) {
            create(who);
            return;
        }
        records const there = visible(*sides_[0].all[who]);
        if (there.empty()) { return; }
        auto const id = std::next(there.begin(), static_cast<std::ptrdiff_t>(draw(there.size())))->first;
        if (id[0] == 'z') { return; }
        std::int64_t const n = draw_number(4);
        field_op op = set("place", integer(n));
        bool const adds = how < 5;
        if (adds) { op = {"count", op_kind::add, integer(20 * n - 20), {}}; }
        if (how == 5) { op = set("teams", teams(n)); }
        if (how == 6) { op = set("secret", text("no secret of mine")); }
        bool const tallies = tallied_ && how >= 6;
        if (tallies) { op = {"tally", op_kind::add, integer(n), {}}; }
        std::string const deed = tallies ? "adds " + std::to_string(n) + " to the tally of " + id
                                 : adds
                                     ? "adds " + std::to_string(20 * n - 20) + " to " + id
                                     : "sets " + op.field + " of " + id + (how == 6 ? "" : " to " + std::to_string(n));
        bool const took =
            both(who, deed, [&](person& p, auto& tx) { return p.self.update(tx, thing(id), {op}, now_); });
        honest(took || failed_ || why_ == errc{}, "an edit is refused");
        if (!took) { return; }
        if (how == 6 && !tallies && id[1] == '-') {
            doomed_.insert(id);
        }  // it may join the creation, which is refused then
        if (id[0] != 'd' && !doomed_.contains(id)) { known_[who].unsent.insert(id); }
        if (adds) { count(id, 20 * n - 20); }
        if (tallies) { tallies_[id] += n; }
    }
    void count(std::string const& id, std::int64_t n) {
        ++report_.written;
        sums_[id] += n;
    }
    void create(std::size_t who) {
        std::string const id = std::string{"ab"[draw(2)]} + "-" + names[who] + std::to_string(known_[who].named++);
        std::int64_t const n = draw_number(60);
        std::map<std::string, bytes> f{{"count", integer(n)}, {"place", integer(n % 4)}, {"teams", teams(n % 3)}};
        if (n % 2 == 0) { f["owner"] = text(names[static_cast<std::size_t>(n) % people]); }
        if (n % 9 == 0) { f["secret"] = text("no secret of mine"); }
        bytes const all = small_fields(f);
        std::string const deed = "creates " + id + " with count " + std::to_string(n);
        if (!both(who, deed, [&](person& p, auto& tx) { return p.self.create(tx, thing(id), all, now_); })) { return; }
        if (f.contains("secret")) { doomed_.insert(id); }
        known_[who].unsent.insert(id);
        count(id, n);
    }
    [[nodiscard]] scope draw_scope(std::size_t who) {
        std::int64_t const n = draw_number(4);
        switch (draw(6)) {
            case 0:
            case 1: return {"place", integer(n)};
            case 2: return {"team", integer(n)};
            case 3: return {"hot", {}};
            case 4: return {"first", {}};
            default: return scope_of("mine", n == 0 ? "root" : names[who]);
        }
    }
    void join(std::size_t who) {
        scope const s = draw_scope(who);
        if (!both(who, "joins " + show(s), [&](person& p, auto& tx) { return p.self.join(tx, s); })) { return; }
        ++report_.joined;
        known_[who].joined.insert(s);
    }
    void leave(std::size_t who) {
        auto& joined = known_[who].joined;
        if (joined.empty()) { return; }
        scope const s = *std::next(joined.begin(), static_cast<std::ptrdiff_t>(draw(joined.size())));
        if (both(who, "leaves " + show(s), [&](person& p, auto& tx) { return p.self.leave(tx, s); })) {
            joined.erase(s);
        }
    }
    void evict(std::size_t who) {
        auto const budget = static_cast<std::size_t>(1 + draw(5));
        (void)both(who, "lets go of what is in no scope any more",
                   [&](person& p, auto& tx) { return p.self.evict(tx, budget); });
    }

    // Root writes on a sound machine, has no mutation waiting, and hears of everything at once.

    template <class F>
    void as_root(F&& f) {
        if (!built_) { return; }
        std::array<simulated_machine::outcome, 2> out;
        for (std::size_t t = 0; t < 2; ++t) {
            person& p = *sides_[t].all[0];
            out[t] = p.box.attempt([&](auto& tx) { return f(t, p, tx); });
            while (fine() && exchange(sides_[t], 0)) {}
        }
        honest(out[0].why == out[1].why, "root is answered otherwise in the other world");
    }
    void make(std::string const& id) {
        std::int64_t const n = draw_number(40);
        tell("root creates " + id + " with count " + std::to_string(n));
        bytes const all = small_fields({{"count", integer(n)}, {"place", integer(n % 4)}, {"teams", teams(n % 3)}});
        as_root([&](std::size_t, person& p, auto& tx) { return p.self.create(tx, thing(id), all, now_); });
        sums_[id] += n;
    }
    /// What all may see, if they are in the scope.
    void administer() {
        records const there = visible(*sides_[0].all[0]);
        auto const id = std::next(there.begin(), static_cast<std::ptrdiff_t>(draw(there.size())))->first;
        std::int64_t const n = draw_number(4);
        std::uint64_t const how = draw(5);
        if (how == 0 || id[0] == 'd') {
            std::string const d = n % 2 == 0 ? "d0" : "d1";
            if (!built_) { return; }
            if (!there.contains(d)) {
                tell("root creates " + d);
                bytes const all = small_fields({{"place", integer(n % 3)}, {"teams", teams(n)}});
                as_root([&](std::size_t, person& p, auto& tx) { return p.self.create(tx, thing(d), all, now_); });
            } else {
                tell("root erases " + d);
                as_root([&](std::size_t, person& p, auto& tx) { return p.self.erase(tx, thing(d), now_); });
            }
            return;
        }
        if (id[0] == 'z') { return; }
        field_op op = set("place", integer(n));
        if (how == 1) { op = set("teams", teams(n)); }
        if (how == 2) { op = set("owner", text(names[static_cast<std::size_t>(n)])); }
        tell("root sets " + op.field + " of " + id + " to " +
             (how == 2 ? std::string{names[static_cast<std::size_t>(n)]} : std::to_string(n)));
        as_root([&](std::size_t, person& p, auto& tx) { return p.self.update(tx, thing(id), {op}, now_); });
    }
    /// What differs between the worlds: a value, its size, which record it is of, the name of one, when it was written.
    void hide() {
        if (!built_) { return; }
        records const there = visible(*sides_[0].all[0]);
        std::vector<std::string> ids;
        for (auto const& [id, f] : there) {
            if (id[0] != 'z') { ids.push_back(id); }
        }
        std::string const one = ids[static_cast<std::size_t>(draw(ids.size()))];
        std::string const other = ids[static_cast<std::size_t>(draw(ids.size()))];
        std::uint64_t const z = draw(3);
        std::array<std::string, 2> const hidden{"z" + std::to_string(z),
                                                "z" + std::to_string(z) + " by a much longer name"};
        bool const hidden_is = there.contains(hidden[0]);
        std::array<instant, 2> when{now_, now_};
        when[1].wall += milliseconds{500};
        std::array<bytes, 2> const value{integer(draw_number(100)),
                                         text(std::string(static_cast<std::size_t>(draw(200)), 's'))};
        std::uint64_t const how = draw(5);
        ++report_.hidden;
        tell("root changes what is hidden, differently in the two worlds");
        as_root([&](std::size_t t, person& p, auto& tx) -> result<write_receipt> {
            std::vector<field_op> const secret{set("secret", value[t])};
            bool const elsewhere = t == 1 && how == 4 && hidden_is;
            if (elsewhere || (how == 1 && hidden_is)) {
                return p.self.update(tx, thing(hidden[t]), {set("note", value[t])}, when[t]);
            }
            if (how == 1 || (how == 2 && !hidden_is)) {
                return p.self.create(tx, thing(hidden[t]), small_fields({{"note", value[t]}, {"place", integer(9)}}),
                                     when[t]);
            }
            if (how == 2) { return p.self.erase(tx, thing(hidden[t]), when[t]); }
            auto done = p.self.update(tx, thing(t == 1 && how == 3 ? other : one), secret, when[t]);
            if (done) { secrets_[t][t == 1 && how == 3 ? other : one] = value[t]; }
            return done;
        });
    }
    /// By a request of their own making somebody tries to change what they may not see, which is there in one world only.
    void probe(std::size_t who) {
        mutation m;
        m.sequence = 1;
        m.stamp = timestamp::make(now_.wall);
        m.record = thing("z" + std::to_string(draw(3)));
        m.kind = draw(3) == 0 ? change_kind::erase : change_kind::update;
        m.base = draw(3);
        if (m.kind == change_kind::update) { m.ops = {set("note", integer(1))}; }
        request q;
        q.replica = {make_id(now_.wall, random_), 1};
        q.scopes.emplace();
        bytes raw;
        cbor_writer w{raw};
        encode_mutation(w, m);
        q.mutations.push_back(raw);
        bytes const asked = encode(q);
        tell(std::string{names[who]} + " tries to change what is hidden");
        answered(who, asked, asked, true);
    }
    void ask(std::size_t who) {
        if (!both(who, "asks", [&](person& p, auto& tx) { return p.self.prepare(tx, now_); })) { return; }
        known_[who].unsent.clear();
        for (side& s : sides_) {
            person& p = *s.all[who];
            auto q = p.box.read([&](auto& tx) { return p.self.request_message(tx); });
            if (!honest(q.has_value(), "no request can be made")) { return; }
            p.requests.push_back(std::move(*q));
        }
        trace(sides_[0].all[who]->requests.back());
        if (watched(who)) {
            same(sides_[0].all[who]->requests.back(), sides_[1].all[who]->requests.back(), who, "what is asked");
        }
    }
    void trace(bytes_view what) { report_.trace = report_.trace * 1'099'511'628'211U + crc32c(what); }
    /// What both authorities say; nothing when they say nothing.
    std::optional<std::array<bytes, 2>> answered(std::size_t who, bytes_view one, bytes_view other, bool judged) {
        std::array<bytes, 2> said;
        std::array<simulated_machine::outcome, 2> out;
        machine_mishap m;
        m.torn = draw(16) == 0;
        for (std::size_t t = 0; t < 2; ++t) {
            out[t] = sides_[t].home.attempt(m, [&](auto& tx) {
                auto p = sides_[t].cloud->handle(tx, names[who], t == 0 ? one : other, now_);
                if (p) { said[t] = *p; }
                return p;
            });
        }
        honest(out[0].why == errc{} || (out[0].why == errc::busy && !built_), "a request is refused");
        holds(out[0].took == out[1].took && out[0].why == out[1].why, scope_promise::hidden,
              std::string{names[who]} + " is answered otherwise");
        if (judged) { same(said[0], said[1], who, "an answer"); }
        bool const took = out[0].took && out[1].took;
        tell("the authority answers " + std::string{names[who]} + (took ? "" : ", and dies before the commit"));
        if (!took) { return std::nullopt; }
        trace(said[0]);
        return said;
    }
    void answer(std::size_t who) {
        person& one = *sides_[0].all[who];
        person& other = *sides_[1].all[who];
        if (one.requests.empty()) { return; }
        auto const i = static_cast<std::size_t>(draw(one.requests.size()));
        std::uint64_t const fate = draw(10);
        if (fate != 0) {
            auto said = answered(who, one.requests[i], other.requests[i], watched(who));
            if (said && fate != 1) {
                one.replies.push_back(std::move((*said)[0]));
                other.replies.push_back(std::move((*said)[1]));
            }
        }
        if (fate < 3) {
            tell(fate == 0   ? "a request of " + std::string{names[who]} + " is lost"
                 : fate == 1 ? std::string{"… and the answer is lost"}
                             : std::string{"… and is asked once more"});
        }
        if (fate == 2) { return; }
        for (person* p : {&one, &other}) { p->requests.erase(p->requests.begin() + static_cast<std::ptrdiff_t>(i)); }
    }
    void hear(std::size_t who) {
        std::size_t const n = sides_[0].all[who]->replies.size();
        if (n == 0) { return; }
        auto const i = static_cast<std::ptrdiff_t>(draw(n));
        bool const stays = draw(8) == 0;
        (void)both(who, "takes an answer in", [&](person& p, auto& tx) {
            return p.self.absorb(tx, p.replies[static_cast<std::size_t>(i)], now_, p.random);
        });
        // One that was overtaken by so much that it does not follow any more is told so.
        honest(why_ == errc{} || why_ == errc::foreign || failed_, "a reply is not taken");
        if (stays) { return; }
        for (side& s : sides_) { s.all[who]->replies.erase(s.all[who]->replies.begin() + i); }
    }

    /// A whole exchange on sound machines; whether there is more to do.
    bool exchange(side& s, std::size_t who) {
        person& p = *s.all[who];
        bool more = false;
        bytes q, said;
        bool ok = p.box
                      .attempt([&](auto& tx) -> status {
                          if (auto frozen = p.self.prepare(tx, now_); !frozen) { return frozen; }
                          auto made = p.self.request_message(tx);
                          if (made) { q = *made; }
                          return made ? status{} : made.error();
                      })
                      .took;
        ok = ok && s.home
                       .attempt([&](auto& tx) {
                           auto made = s.cloud->handle(tx, names[who], q, now_);
                           if (made) { said = *made; }
                           return made;
                       })
                       .took;
        ok = ok && p.box
                       .attempt([&](auto& tx) {
                           auto report = p.self.absorb(tx, said, now_, p.random);
                           more = report && report->more;
                           return report;
                       })
                       .took;
        return honest(ok, "an exchange fails on sound machines") && more;
    }

    // At the end.

    void end() {
        tell("the trouble is over");
        while (fine() && !built_) { build(100); }
        int left = rest_max;
        for (int round = 0; round < 3; ++round) {
            for (std::size_t who = 0; who < (cloned_ ? people : twin) && fine(); ++who) {
                for (side& s : sides_) {
                    while (fine() && exchange(s, who)) {
                        holds(--left > 0, scope_promise::rest, "it does not come to rest");
                    }
                    if (who != 0) { let_go(*s.all[who]); }
                }
                known_[who].unsent.clear();
                judge(who);
                if (who != 0) { walk(who); }
            }
        }
        for (side& s : sides_) {
            if (fine()) { judge_rest(s); }
        }
        for (std::size_t t = 0; t < sides_.size() && fine(); ++t) {
            records const home = home_rows(sides_[t]);
            for (auto const& [id, value] : secrets_[t]) {
                auto const at = home.find(id);
                if (id[0] == 'd' || at == home.end()) { continue; }
                holds(small_field(at->second, "secret") == value, scope_promise::kept,
                      "the secret of " + id + " is another");
            }
        }
    }
    void let_go(person& p) {
        bool more = true;
        while (fine() && more) {
            honest(p.box
                       .attempt([&](auto& tx) {
                           auto r = p.self.evict(tx, 3);
                           more = r && *r;
                           return r;
                       })
                       .took,
                   "nothing is let go of");
        }
    }
    void judge_rest(side& s) {
        records const home = home_rows(s);
        for (std::size_t who = 1; who < (cloned_ ? people : twin); ++who) { judge_scopes(*s.all[who], home, who); }
        std::map<std::string, std::int64_t> undone, untallied;
        std::set<std::string>
            shared;  // of what two copies share both have the letter, perhaps joined with other things
        std::set<std::string> unmade;
        for (auto const& p : s.all) {
            auto const ok = p->box.read([&](auto& tx) {
                return p->self.queue().scan_dead(tx, [&](outbox_entry const& e) {
                    auto const m = replica::mutation_of(e);
                    if (!m) { return true; }
                    ++report_.refused;
                    std::string const id{m->record.id_text()};
                    if (m->kind == change_kind::create) { unmade.insert(id); }
                    if (cloned_ && (p == s.all[1] || p == s.all[twin])) { shared.insert(id); }
                    for (field_op const& op : m->ops) {
                        if (op.kind != op_kind::add) { continue; }
                        std::int64_t const n = naive_integer(op.value).value_or(0);
                        if (op.field == "count") { undone[id] += n; }
                        if (op.field == "tally") { untallied[id] += n; }
                    }
                    return true;
                });
            });
            honest(ok.has_value(), "dead letters can't be read");
        }
        for (auto const& [id, sum] : sums_) {
            if (id[0] == 'd' || shared.contains(id)) { continue; }
            auto const at = home.find(id);
            if (at == home.end()) {
                holds(unmade.contains(id), scope_promise::kept, id + " is nowhere");
                continue;
            }
            std::int64_t const counted = number(at->second, "count");
            holds(
                counted == sum - undone[id], scope_promise::kept,
                id + " counts " + std::to_string(counted) + ", and by the ledger " + std::to_string(sum - undone[id]));
            std::int64_t const tally = number(at->second, "tally");
            std::int64_t const should = tallies_[id] - untallied[id];
            holds(tally == should, scope_promise::kept,
                  "the tally of " + id + " is " + std::to_string(tally) + ", and by the ledger " +
                      std::to_string(should));
        }
    }
    void judge_scopes(person& p, records const& home, std::size_t who) {
        std::string const name = names[who];
        records should;
        for (auto const& [id, f] : home) {
            bool in = false;
            for (scope const& s : known_[who].joined) { in = in || in_scope(s, name, id, f); }
            if (!in) { continue; }
            std::map<std::string, bytes> kept;
            cbor_map_cursor at{f};
            while (at.next()) {
                bool const hidden = at.key() == "secret" || at.key() == "tally";
                if (hidden && !(who == 3 && may_.cleo_reads)) { continue; }
                kept[std::string{at.key()}] = to_bytes(at.value());
            }
            should[id] = small_fields(kept);
        }
        records const has = visible(p);
        for (auto const& [id, f] : should) {
            holds(has.contains(id), scope_promise::whole, name + " lacks " + id);
            holds(!has.contains(id) || has.at(id) == f, scope_promise::whole, name + " holds something else as " + id);
        }
        for (auto const& [id, f] : has) {
            holds(should.contains(id), scope_promise::whole, name + " still holds " + id);
        }
    }

    scope_simulation_options options_;
    scope_simulation_report report_{};
    random_generator random_;
    bool leases_;
    bool tallied_;             ///< people write what they may not read
    std::uint64_t cloned_at_;  ///< the step; 0: no store is copied
    bool cloned_ = false;
    instant now_{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1'000}}};
    rights may_{};
    /// A tally is added to by all, and read by who may read secrets; it is the same in both worlds.
    read_mask mask_{{{"things", {"secret"}, "boss", {}}, {"things", {"tally"}, "boss", "scribe"}}, roles(may_)};
    std::optional<scope_table> table_{};
    std::array<side, 2> sides_{};
    std::array<known, people> known_{};
    std::map<std::string, std::int64_t> sums_{};  ///< what the counts of records come to, by all that was acknowledged
    std::map<std::string, std::int64_t> tallies_{};          ///< … and their tallies
    std::array<std::map<std::string, bytes>, 2> secrets_{};  ///< what is hidden, in each world, as it was written last
    std::set<std::string> doomed_{};                         ///< records whose creation may be refused
    bool built_ = true;
    bool failed_ = false;  ///< a storage call of the last attempt did
    errc why_{};           ///< what the last attempt said
};

}  // namespace detail

/// One life of people with scopes. The same seed and options give the same life and the same report, on every machine.
/// With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline scope_simulation_report simulate_scopes(std::uint64_t seed,
                                                             scope_simulation_options const& o = {}) {
    return detail::live_life<detail::scope_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline scope_simulation_options shrink_scopes(scope_simulation_report const& failed,
                                                            scope_simulation_options o = {},
                                                            std::size_t lives = 1'000) {
    return detail::shrink_life<detail::scope_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
