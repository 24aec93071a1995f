// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Plays the office of conflict_world.hpp through merge, suggestions and learning, and counts.
///
/// A conflict that the rules leave open is *resolved* when every contested field of it has a suggestion at least as sure as
/// the host's threshold; else the person is asked, and the model learns what they take. It is *right* when it is what the
/// person takes, whose decision is drawn for every conflict, asked or not. Of what was resolved wrongly the person notices
/// each second, and undoes it: the model learns from that. All else that it resolved stands, right or wrong: it is told so.

#include "conflict_world.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <syncline/conflict/learned.hpp>

namespace conflict_study {

struct play_options {
    office_options office{};
    syncline::learning_options learning{};
    syncline::share16 threshold = syncline::share_one * 85 / 100;
    std::size_t known = people_known;  ///< how many of the known people's decisions are learned from
    bool team = true;  ///< what the known people decided was learned before; else everybody begins with nothing
};

struct tally {
    std::uint64_t pairs = 0;
    std::uint64_t open = 0;      ///< conflicts that the rules left
    std::uint64_t resolved = 0;  ///< by a suggestion
    std::uint64_t right = 0;     ///< of the resolved
    std::uint64_t fields = 0;
    std::uint64_t best_right = 0;  ///< of all fields, the likeliest suggestion, asked or not
    std::uint64_t local = 0, remote = 0, latest = 0, optimum = 0;  ///< fields that each would have got right
    std::uint64_t optimum_right = 0;                               ///< of as many conflicts as were resolved
    std::array<std::uint64_t, 20> said_n{}, said_right{};          ///< by what it said, in twentieths
    std::array<double, 20> said_sum{};
    static constexpr std::size_t curve_step = 20;
    std::array<std::uint64_t, 30> curve_open{}, curve_resolved{},
        curve_right{};  ///< by how many conflicts a person has had

    void add(tally const& o) {
        pairs += o.pairs, open += o.open, resolved += o.resolved, right += o.right, fields += o.fields;
        best_right += o.best_right, local += o.local, remote += o.remote, latest += o.latest, optimum += o.optimum;
        optimum_right += o.optimum_right;
        for (std::size_t i = 0; i < said_n.size(); ++i) {
            said_n[i] += o.said_n[i], said_right[i] += o.said_right[i], said_sum[i] += o.said_sum[i];
        }
        for (std::size_t i = 0; i < curve_open.size(); ++i) {
            curve_open[i] += o.curve_open[i], curve_resolved[i] += o.curve_resolved[i],
                curve_right[i] += o.curve_right[i];
        }
    }
    [[nodiscard]] double needs_nobody() const { return share(pairs - (open - resolved), pairs); }
    [[nodiscard]] double resolved_share() const { return share(resolved, open); }
    [[nodiscard]] double right_share() const { return share(right, resolved); }
    /// Expected calibration error over all suggestions: the mean distance of what was said from what was so.
    [[nodiscard]] double calibration_error() const {
        double sum = 0;
        std::uint64_t n = 0;
        for (std::size_t i = 0; i < said_n.size(); ++i) {
            sum += std::fabs(said_sum[i] - static_cast<double>(said_right[i]));
            n += said_n[i];
        }
        return n == 0 ? 0 : sum / static_cast<double>(n);
    }
    static double share(std::uint64_t a, std::uint64_t b) {
        return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
    }
};

/// A pair as the conflict that it is for a person; nothing where the rules decide it.
[[nodiscard]] inline std::optional<syncline::conflict> conflict_of(edit_pair const& p,
                                                                   syncline::collection_rules const& rules) {
    using namespace syncline;
    timestamp const mine = timestamp::make(p.time_local);
    timestamp const theirs = timestamp::make(p.time_remote);
    auto const merged = three_way(p.base, p.local, p.remote, rules, {mine, 1}, {theirs, 2});
    if (!merged || merged->conflicts.empty()) { return std::nullopt; }
    conflict c;
    c.record = {"bookings", "b"};
    c.local.record = c.record;
    c.local.stamp = mine;
    c.local.base = 1;
    auto ops = diff(p.base, p.local, rules, mine);
    c.local.ops = std::move(*ops);
    c.base = p.base;
    c.remote.emplace();
    c.remote->version = 2;
    c.remote->floor = {2, theirs, 2};
    c.remote->fields = p.remote;
    for (std::string const& name : merged->conflicts) {
        contested_field f;
        f.path = {name};
        for (std::size_t i = 0; i < field_count; ++i) {
            if (conventions[i].name == name) {
                f.local_edits = p.mine->edits[i];
                f.remote_edits = p.theirs->edits[i];
            }
        }
        c.fields.push_back(std::move(f));
    }
    std::sort(c.fields.begin(), c.fields.end(),
              [](contested_field const& a, contested_field const& b) { return compare_paths(a.path, b.path) < 0; });
    c.local_by = {to_bytes(p.mine->name), mine, static_cast<std::uint8_t>(p.mine->role)};
    c.remote_by = {to_bytes(p.theirs->name), theirs, static_cast<std::uint8_t>(p.theirs->role)};
    return c;
}
[[nodiscard]] inline std::size_t field_number(syncline::field_path const& path) {
    std::size_t f = 0;
    while (conventions[f].name != path.front()) { ++f; }
    return f;
}
[[nodiscard]] inline syncline::conflict_action action_of(choice c) {
    using a = syncline::conflict_action;
    return c == choice::local ? a::local : c == choice::remote ? a::remote : a::merge;
}

/// What the known people of an office decide, learned by one model: what a newcomer begins with.
[[nodiscard]] inline syncline::learned_suggester learn_from_team(std::uint64_t seed, play_options const& o) {
    syncline::learned_suggester model{o.learning};
    auto const rules = office_rules();
    std::vector<std::unique_ptr<office_life>> lives;
    for (std::size_t n = 0; n < o.known; ++n) { lives.push_back(std::make_unique<office_life>(seed, n, o.office)); }
    for (std::size_t i = 0; i < pairs_each; ++i) {
        for (auto& life : lives) {
            edit_pair const p = life->next();
            auto const c = conflict_of(p, rules);
            if (!c) { continue; }
            auto const questions = syncline::conflict_questions::of(*c, syncline::as_bytes(life->who().self.name));
            for (auto const& q : questions->all()) {
                model.learn(q, action_of(life->decide(life->odds_of(p, field_number(*q.path)))));
            }
        }
    }
    return model.newcomer();
}

/// One person's time.
[[nodiscard]] inline tally play_person(std::uint64_t seed, std::size_t number, syncline::learned_suggester model,
                                       play_options const& o) {
    using namespace syncline;
    tally t;
    auto const rules = office_rules();
    office_life life(seed, number, o.office);
    random_generator notices(seed * 31 + number);
    struct certain {
        double odds;
        bool right;
    };
    std::vector<certain> optimum;
    bytes const name = to_bytes(life.who().self.name);
    for (std::size_t i = 0; i < pairs_each; ++i) {
        edit_pair const p = life.next();
        ++t.pairs;
        auto const c = conflict_of(p, rules);
        if (!c) { continue; }
        std::size_t const block =
            (std::min)(static_cast<std::size_t>(t.open) / tally::curve_step, t.curve_open.size() - 1);
        ++t.open;
        ++t.curve_open[block];
        auto const questions = conflict_questions::of(*c, name);
        bool sure = true;
        bool all_right = true;
        certain best{1, true};
        std::vector<conflict_action> taken;
        for (auto const& q : questions->all()) {
            std::size_t const f = field_number(*q.path);
            odds const truth = life.odds_of(p, f);
            choice const made = life.decide(truth);
            taken.push_back(action_of(made));
            auto const said = model.suggest(q);
            bool const asks = said->what == conflict_action::ask;
            ranked_action const first = asks ? said->alternatives[0] : ranked_action{said->what, said->confidence};
            bool const right = first.what == taken.back();
            ++t.fields;
            t.best_right += right ? 1 : 0;
            std::size_t const bin =
                (std::min)(std::size_t{19}, static_cast<std::size_t>(first.confidence) * 20 / share_one);
            ++t.said_n[bin];
            t.said_right[bin] += right ? 1 : 0;
            t.said_sum[bin] += static_cast<double>(first.confidence) / share_one;
            sure = sure && !asks && first.confidence >= o.threshold;
            all_right = all_right && right;
            t.local += made == choice::local ? 1 : 0;
            t.remote += made == choice::remote ? 1 : 0;
            t.latest += made == (p.time_local > p.time_remote ? choice::local : choice::remote) ? 1 : 0;
            t.optimum += made == truth.best() ? 1 : 0;
            best.odds *= truth.of(truth.best());
            best.right = best.right && made == truth.best();
        }
        optimum.push_back(best);
        bool teaches = !sure;
        if (sure) {
            ++t.resolved;
            ++t.curve_resolved[block];
            t.right += all_right ? 1 : 0;
            t.curve_right[block] += all_right ? 1 : 0;
            teaches = !all_right && below(notices, 2) == 0;
        }
        for (std::size_t n = 0; n < taken.size(); ++n) {
            if (teaches) {
                model.learn(questions->all()[n], taken[n]);
            } else {
                model.stood(questions->all()[n]);
            }
        }
    }
    std::stable_sort(optimum.begin(), optimum.end(),
                     [](certain const& a, certain const& b) { return a.odds > b.odds; });
    for (std::size_t i = 0; i < t.resolved; ++i) { t.optimum_right += optimum[i].right ? 1 : 0; }
    return t;
}

/// All held-out people of an office, or `people` of them.
[[nodiscard]] inline tally play_office(std::uint64_t seed, play_options const& o,
                                       std::size_t people = people_held_out) {
    syncline::learned_suggester const begin =
        o.team ? learn_from_team(seed, o) : syncline::learned_suggester{o.learning};
    tally sum;
    for (std::size_t n = 0; n < people; ++n) { sum.add(play_person(seed, people_known + n, begin, o)); }
    return sum;
}

}  // namespace conflict_study
