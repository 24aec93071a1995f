// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Lives of a small world that are lived again without some of their steps: each that is kept has the dice that it had, so
/// that it does what it did, and what failed is shrunk to the few steps that it takes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/config.hpp>
#include <syncline/core/random.hpp>
#include <syncline/testing/shrink.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// Numbers of steps, from 1 on, ascending; nothing: all of them.
using step_choice = std::optional<std::vector<std::uint32_t>>;

/// The dice of one life: it records them, or has those of the whole life and does some of its steps.
class step_dice {
public:
    /// For a life of some of the steps of one that was recorded, which is borrowed.
    [[nodiscard]] static step_dice some_of(step_dice const& whole) noexcept {
        step_dice out;
        out.whole_ = &whole.at_;
        return out;
    }

    /// `step()` for each of `steps`, or of those of them that are `only`, while `fine()`; a step that is left out is counted
    /// all the same. Then `random` is as it was at the end of the whole life.
    template <class Fine, class Step>
    void live(std::uint32_t steps, step_choice const& only, random_generator& random, std::uint64_t& counted,
              Fine&& fine, Step&& step) {
        for (std::uint32_t i = 0; i < steps && fine(); ++i) {
            if (whole_ != nullptr && i + 1 >= whole_->size()) { break; }  // the whole life ended here
            ++counted;
            if (whole_ != nullptr) {
                if (!std::binary_search(only->begin(), only->end(), i + 1)) { continue; }
                random = (*whole_)[i];
            }
            at_.push_back(random);
            step();
        }
        at_.push_back(random);
        if (whole_ != nullptr) { random = whole_->back(); }
    }
    /// How many steps it did.
    [[nodiscard]] std::uint32_t steps() const noexcept {
        return at_.empty() ? 0 : static_cast<std::uint32_t>(at_.size() - 1);
    }

private:
    std::vector<random_generator> at_{};  ///< at the beginning of each step that was done, and after the last
    std::vector<random_generator> const* whole_ = nullptr;
};

namespace detail {

/// What is the same in all lives of steps: dice, a report, and a story where one is asked for. `Options` has steps, tell and
/// only; `Report` has seed, steps, checks, found and story.
template <class Options, class Report>
class small_life {
protected:
    small_life(std::uint64_t seed, std::uint64_t dice, Options const& o) : options_(o), random_(dice) {
        report_.seed = seed;
    }
    small_life(small_life const&) = delete;
    small_life& operator=(small_life const&) = delete;
    ~small_life() = default;

    template <class Step>
    void live(step_dice& dice, Step&& step) {
        dice.live(
            options_.steps, options_.only, random_, report_.steps, [&] { return fine(); }, std::forward<Step>(step));
    }
    /// The report, with what was broken at the story's end.
    [[nodiscard]] Report finished() {
        for (violation const& v : report_.found) { tell("VIOLATED " + v.axiom + ": " + v.what); }
        return std::move(report_);
    }
    void tell(std::string line) {
        if (options_.tell) { report_.story.push_back(std::to_string(report_.steps) + " " + std::move(line)); }
    }

    std::uint64_t draw(std::uint64_t n) { return below(random_, n); }
    std::int64_t draw_number(std::uint64_t n) { return static_cast<std::int64_t>(draw(n)); }
    template <class All>
    auto& draw_of(All& all) {
        return all[static_cast<std::size_t>(draw(all.size()))];
    }
    [[nodiscard]] bool one_in(std::uint64_t n) { return draw(n) == 0; }

    [[nodiscard]] bool fine() const { return report_.found.empty(); }
    /// The first breach is the one that counts.
    void broken(char const* promise, std::string const& what) {
        if (fine()) { report_.found.push_back({promise, what + ", step " + std::to_string(report_.steps)}); }
    }
    bool holds(bool ok, char const* promise, std::string_view what) {
        ++report_.checks;
        if (!ok) { broken(promise, std::string{what}); }
        return ok;
    }

    Options options_;
    Report report_{};
    random_generator random_;
};

/// A world's life: `World(seed, options)`, whose `run(step_dice&)` gives the report. With `only` set in the options, the
/// whole life is lived first, for its dice.
template <class World, class Options>
[[nodiscard]] auto live_life(std::uint64_t seed, Options const& o) {
    step_dice dice;
    if (!o.only) { return World{seed, o}.run(dice); }
    Options all = o;
    all.only.reset();
    all.tell = false;
    (void)World{seed, all}.run(dice);
    step_dice some = step_dice::some_of(dice);
    return World{seed, o}.run(some);
}

/// The options under which `failed` breaks the promise that it broke first with as few steps as `lives` tries find.
template <class World, class Report, class Options>
[[nodiscard]] Options shrink_life(Report const& failed, Options o, std::size_t lives) {
    SYNCLINE_ASSERT(!failed.found.empty());
    step_dice dice;
    Options all = o;
    all.only.reset();
    all.tell = false;
    (void)World{failed.seed, all}.run(dice);
    if (!o.only) {
        o.only.emplace();
        for (std::uint32_t step = 1; step <= dice.steps(); ++step) { o.only->push_back(step); }
    }
    auto const fails = [&](std::vector<std::uint32_t> const& kept) {
        Options fewer = all;
        fewer.only = kept;
        step_dice some = step_dice::some_of(dice);
        auto const again = World{failed.seed, fewer}.run(some);
        return !again.found.empty() && again.found[0].axiom == failed.found[0].axiom;
    };
    o.only = shrink(std::move(*o.only), fails, lives).parts;
    return o;
}

}  // namespace detail

}  // namespace syncline::inline SYNCLINE_ABI::testing
