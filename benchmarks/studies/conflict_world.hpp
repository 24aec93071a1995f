// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A generated office whose people edit the same records while apart, and how each of them would decide what the merge
/// rules leave open: the ground of the study of suggestions.
///
/// Committed before anything was learned from it, seeds and noise included. It knows nothing of features or models: it
/// writes records, edits them twice, and decides by habits. The library's own three-way merge says what is left open.
///
/// Habits. The office has a convention for each field (the odds of each habit, below). A person takes from it one habit
/// a field; for one field in seven the habit changes once, somewhere in the middle of the person's time (drift).
///
/// Noise, which no model can remove. Whatever the habit says, a person errs with a probability of their own, 0.5 % to
/// 4 %, uniform over the people, and then takes any of the ways open. Beside this, habits are soft where the sides are
/// nearly equal: two edits three minutes apart, prices 2 % apart, texts four characters apart are decided the one way with
/// odds of e to 1 only. `odds_of` is the truth, so that the optimum can be told: it takes the likeliest each time.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/core/time.hpp>
#include <syncline/merge/three_way.hpp>

namespace conflict_study {

using syncline::bytes;
using syncline::bytes_view;
using syncline::cbor_writer;
using syncline::random_generator;

/// Looked at while tuning; and not before the end.
inline constexpr std::array<std::uint64_t, 3> seeds_tuning{11, 12, 13};
inline constexpr std::array<std::uint64_t, 5> seeds_held_out{101, 102, 103, 104, 105};
/// People of an office: what the first ones decide may be learned by all; the study counts the others only.
inline constexpr std::size_t people_known = 20;
inline constexpr std::size_t people_held_out = 20;
/// Pairs of concurrent edits of each person.
inline constexpr std::size_t pairs_each = 3000;

enum class choice : std::uint8_t { local, remote, merge };
enum class habit : std::uint8_t {
    newer,
    mine,
    theirs,
    senior,   ///< the higher role; newer among equals
    forward,  ///< the later stage
    larger,
    smaller,
    longer,
    filled,      ///< something rather than nothing; newer among somethings
    specialist,  ///< who edits this field more often; newer among equals
    together,    ///< both, where both only added to it; else newer
};

struct habit_odds {
    habit h;
    unsigned percent;
};
/// A field of the office's one collection. `popularity`: how often an edit touches it, against the others.
struct field_convention {
    std::string_view name;
    syncline::rule decides;
    unsigned popularity;
    std::array<habit_odds, 4> habits;
};
inline constexpr std::array<field_convention, 14> conventions{{
    {"guests", syncline::rule::counter, 10, {}},
    {"deposit", syncline::rule::maximum, 6, {}},
    {"seen", syncline::rule::maximum, 10, {}},
    {"colour", syncline::rule::last_writer, 4, {}},
    {"order", syncline::rule::last_writer, 8, {}},
    {"host", syncline::rule::last_writer, 6, {}},
    {"reminder", syncline::rule::last_writer, 6, {}},
    {"status", syncline::rule::manual, 10, {{{habit::forward, 70}, {habit::senior, 15}, {habit::newer, 15}}}},
    {"price",
     syncline::rule::manual,
     6,
     {{{habit::senior, 55}, {habit::newer, 25}, {habit::smaller, 10}, {habit::mine, 10}}}},
    {"date", syncline::rule::manual, 6, {{{habit::newer, 65}, {habit::senior, 20}, {habit::theirs, 15}}}},
    {"notes", syncline::rule::manual, 10, {{{habit::together, 75}, {habit::longer, 15}, {habit::newer, 10}}}},
    {"contact", syncline::rule::manual, 5, {{{habit::filled, 60}, {habit::newer, 30}, {habit::mine, 10}}}},
    {"table", syncline::rule::manual, 7, {{{habit::specialist, 40}, {habit::mine, 30}, {habit::newer, 30}}}},
    {"menu", syncline::rule::manual, 6, {{{habit::specialist, 60}, {habit::senior, 20}, {habit::longer, 20}}}},
}};
inline constexpr std::size_t field_count = conventions.size();
inline constexpr std::array<std::string_view, 6> stages{"inquiry", "offered", "confirmed",
                                                        "seated",  "closed",  "cancelled"};

[[nodiscard]] inline syncline::collection_rules office_rules() {
    syncline::collection_rules out{"bookings", syncline::rule::last_writer, {}};
    for (field_convention const& f : conventions) { out.fields.push_back({std::string{f.name}, f.decides}); }
    return out;
}

/// What may be turned to see other offices. The study's main figures are of the defaults.
struct office_options {
    double noise = 1;       ///< times the errors above
    unsigned drift_in = 7;  ///< one field in so many drifts; 0: none
    unsigned rotate = 0;    ///< the conventions of the manual fields, handed on by so many fields: another office
};

struct field_value {
    std::string text{};
    std::int64_t number = 0;
    bool is_text = false;
    bool appended = false;  ///< it is the base with something added at its end
};
using field_values = std::array<field_value, field_count>;

/// Somebody who writes: a role, and how often they edit each field.
struct colleague {
    std::string name{};
    unsigned role = 0;  ///< 0 to 3
    std::array<unsigned, field_count> edits{};
};
struct person {
    colleague self{};
    double error = 0;
    std::array<habit, field_count> before{};
    std::array<habit, field_count> after{};
    std::array<std::size_t, field_count> turns_at{};  ///< the pair from which `after` holds
};

/// Two edits of one record, made apart.
struct edit_pair {
    std::size_t at = 0;  ///< its number in the person's time
    bytes base{}, local{}, remote{};
    field_values values_base{}, values_local{}, values_remote{};
    colleague const* mine = nullptr;
    colleague const* theirs = nullptr;
    syncline::wall_time time_base{}, time_local{}, time_remote{}, now{};
};

/// How likely the person takes each way.
struct odds {
    double local = 0, remote = 0, merge = 0;
    [[nodiscard]] choice best() const noexcept {
        if (merge >= local && merge >= remote) { return choice::merge; }
        return local >= remote ? choice::local : choice::remote;
    }
    [[nodiscard]] double of(choice c) const noexcept {
        return c == choice::local ? local : c == choice::remote ? remote : merge;
    }
};

/// One person's time in an office. The same seed, number and options give the same life.
class office_life {
public:
    office_life(std::uint64_t seed, std::size_t number, office_options options = {})
        : options_(options), random_(seed * 1'000'003 + number * 7'919 + 17) {
        self_ = make_colleague("p" + std::to_string(number));
        for (std::size_t i = 0; i < 4; ++i) { others_.push_back(make_colleague("c" + std::to_string(i))); }
        who_.self = self_;
        who_.error = options.noise * (0.005 + 0.035 * uniform());
        for (std::size_t f = 0; f < field_count; ++f) {
            who_.before[f] = draw_habit(f);
            who_.turns_at[f] = pairs_each;
            who_.after[f] = who_.before[f];
            if (options.drift_in != 0 && draw(options.drift_in) == 0) {
                who_.after[f] = draw_habit(f);
                who_.turns_at[f] = pairs_each * 3 / 10 + draw(pairs_each / 2);
            }
        }
    }
    office_life(office_life const&) = delete;
    office_life& operator=(office_life const&) = delete;

    [[nodiscard]] person const& who() const noexcept { return who_; }

    [[nodiscard]] edit_pair next() {
        edit_pair p;
        p.at = at_++;
        p.mine = &who_.self;
        p.theirs = &others_[draw(others_.size())];
        clock_ += 600'000 + draw(3'600'000);
        for (std::size_t f = 0; f < field_count; ++f) { p.values_base[f] = first_value(f); }
        p.values_local = edited(p.values_base);
        p.values_remote = edited(p.values_base);
        auto const ago = [&] {  // exponential, three hours in the mean
            return static_cast<std::int64_t>(-std::log(1 - uniform()) * 3 * 3'600'000);
        };
        std::int64_t const now = 1'790'000'000'000 + static_cast<std::int64_t>(clock_);
        p.now = syncline::wall_time{syncline::milliseconds{now}};
        p.time_local = p.now - syncline::milliseconds{1'000 + ago()};
        p.time_remote = p.now - syncline::milliseconds{1'000 + ago()};
        p.time_base = (std::min)(p.time_local, p.time_remote) - syncline::milliseconds{60'000 + 4 * ago()};
        p.base = encode(p.values_base);
        p.local = encode(p.values_local);
        p.remote = encode(p.values_remote);
        return p;
    }

    /// The truth about one field of a pair that is in conflict.
    [[nodiscard]] odds odds_of(edit_pair const& p, std::size_t f) const {
        habit const h = p.at < who_.turns_at[f] ? who_.before[f] : who_.after[f];
        odds const wish = by_habit(h, p, f);
        bool const both = p.values_local[f].appended && p.values_remote[f].appended;
        double const ways = both ? 3 : 2;
        double const e = who_.error;
        return {(1 - e) * wish.local + e / ways, (1 - e) * wish.remote + e / ways,
                (1 - e) * wish.merge + (both ? e / ways : 0)};
    }
    /// What the person does about it, this time.
    [[nodiscard]] choice decide(odds const& o) {
        double const u = uniform();
        return u < o.local ? choice::local : u < o.local + o.remote ? choice::remote : choice::merge;
    }

private:
    std::uint64_t draw(std::uint64_t n) { return syncline::below(random_, n); }
    double uniform() { return static_cast<double>(random_() >> 11) * 0x1.0p-53; }

    colleague make_colleague(std::string name) {
        colleague c;
        c.name = std::move(name);
        c.role = static_cast<unsigned>(draw(4));
        for (auto& n : c.edits) { n = static_cast<unsigned>(draw(3) == 0 ? 6 + draw(20) : draw(6)); }
        return c;
    }
    habit draw_habit(std::size_t f) {
        std::size_t from = f;
        if (options_.rotate != 0 && conventions[f].decides == syncline::rule::manual) {
            from = 7 + (f - 7 + options_.rotate) % 7;
        }
        auto left = static_cast<unsigned>(draw(100));
        for (habit_odds const& o : conventions[from].habits) {
            if (left < o.percent) { return o.h; }
            left -= o.percent;
        }
        return habit::newer;
    }

    static bool is_text(std::size_t f) { return f == 3 || f == 5 || f == 7 || f >= 10; }
    field_value text(std::string s) { return {std::move(s), 0, true, false}; }
    field_value any_value(std::size_t f) {
        static constexpr std::array<std::string_view, 10> words{"nuts",  "window", "cake",    "late",  "vegan",
                                                                "quiet", "pram",   "flowers", "toast", "dog"};
        switch (f) {
            case 3: return text(std::string{words[draw(4)]});
            case 5: return text("h" + std::to_string(draw(6)));
            case 7: return text(std::string{stages[draw(6)]});
            case 8: return {"", static_cast<std::int64_t>(2'000 + draw(60) * 50), false, false};
            case 9: return {"", static_cast<std::int64_t>(20'700 + draw(200)), false, false};
            case 11: return text(draw(5) == 0 ? "" : "+45" + std::to_string(20'000'000 + draw(1'000'000)));
            case 12: return text("T" + std::to_string(1 + draw(30)));
            case 10:
            case 13: {
                std::string s;
                for (std::uint64_t n = 1 + draw(6); n != 0; --n) {
                    s += words[draw(words.size())];
                    s += ' ';
                    s += std::to_string(draw(90));
                    s += "; ";
                }
                return text(std::move(s));
            }
            default: return {"", static_cast<std::int64_t>(draw(100)), false, false};
        }
    }
    field_value first_value(std::size_t f) { return any_value(f); }
    field_value changed(std::size_t f, field_value const& was) {
        if ((f == 10 && draw(10) < 7) || (f == 13 && draw(10) < 3)) {  // something is added
            field_value v = text(was.text + any_value(f).text);
            v.appended = true;
            return v;
        }
        if (f == 8) {  // a price moves by up to a third
            std::int64_t const step = was.number / 3;
            std::int64_t const to =
                was.number - step + static_cast<std::int64_t>(draw(static_cast<std::uint64_t>(2 * step)));
            return {"", to, false, false};
        }
        return any_value(f);
    }
    field_values edited(field_values const& base) {
        field_values out = base;
        unsigned sum = 0;
        for (field_convention const& f : conventions) { sum += f.popularity; }
        for (std::uint64_t n = 1 + draw(3); n != 0; --n) {
            auto left = static_cast<unsigned>(draw(sum));
            std::size_t f = 0;
            while (left >= conventions[f].popularity) { left -= conventions[f++].popularity; }
            out[f] = changed(f, base[f]);
        }
        return out;
    }

    static bytes encode(field_values const& all) {
        std::array<std::size_t, field_count> order{};
        for (std::size_t i = 0; i < field_count; ++i) { order[i] = i; }
        std::sort(order.begin(), order.end(), [](std::size_t a, std::size_t b) {
            return syncline::compare_keys(conventions[a].name, conventions[b].name) < 0;
        });
        bytes out;
        cbor_writer w{out};
        w.map(field_count);
        for (std::size_t const f : order) {
            w.text(conventions[f].name);
            if (is_text(f)) {
                w.text(all[f].text);
            } else {
                w.integer(all[f].number);
            }
        }
        return out;
    }

    static odds soft(double score) {
        double const p = 1 / (1 + std::exp(-score));
        return {p, 1 - p, 0};
    }
    [[nodiscard]] static odds newer(edit_pair const& p) {
        return soft(static_cast<double>((p.time_local - p.time_remote).count()) / 180'000.0);
    }
    [[nodiscard]] static odds by_habit(habit h, edit_pair const& p, std::size_t f) {
        field_value const& l = p.values_local[f];
        field_value const& r = p.values_remote[f];
        auto const length = [&] { return static_cast<double>(l.text.size()) - static_cast<double>(r.text.size()); };
        auto const relative = [&] {
            double const most = static_cast<double>((std::max)(std::int64_t{1}, (std::max)(l.number, r.number)));
            return static_cast<double>(l.number - r.number) / most;
        };
        switch (h) {
            case habit::newer: return newer(p);
            case habit::mine: return soft(6);
            case habit::theirs: return soft(-6);
            case habit::senior:
                if (p.mine->role == p.theirs->role) { return newer(p); }
                return soft(p.mine->role > p.theirs->role ? 6 : -6);
            case habit::forward: {
                auto const stage = [](std::string const& s) {
                    return std::find(stages.begin(), stages.end(), s) - stages.begin();
                };
                if (stage(l.text) == stage(r.text)) { return newer(p); }
                return soft(stage(l.text) > stage(r.text) ? 6 : -6);
            }
            case habit::larger: return soft(relative() / 0.02);
            case habit::smaller: return soft(-relative() / 0.02);
            case habit::longer: return soft(length() / 4);
            case habit::filled:
                if (l.text.empty() != r.text.empty()) { return soft(l.text.empty() ? -6 : 6); }
                return newer(p);
            case habit::specialist:
                if (p.mine->edits[f] == p.theirs->edits[f]) { return newer(p); }
                return soft(2 * (static_cast<double>(p.mine->edits[f]) - static_cast<double>(p.theirs->edits[f])));
            case habit::together:
                if (l.appended && r.appended) { return {0, 0, 1}; }
                return newer(p);
        }
        return newer(p);
    }

    office_options options_;
    random_generator random_;
    colleague self_{};
    std::vector<colleague> others_{};
    person who_{};
    std::size_t at_ = 0;
    std::uint64_t clock_ = 0;
};

}  // namespace conflict_study
