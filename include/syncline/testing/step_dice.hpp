// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Lives of a small world that are lived again without some of their steps: each that is kept has the dice that it had, so
/// that it does what it did, and what failed is shrunk to the few steps that it takes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/config.hpp>
#include <syncline/core/random.hpp>
#include <syncline/testing/shrink.hpp>

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
