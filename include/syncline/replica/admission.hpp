// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Whether an authority takes a request now: limits for each principal, and load that is shed with a time to come back.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <syncline/core/config.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/limiter.hpp>

namespace syncline::inline SYNCLINE_ABI {

struct admission_options {
    rate_options requests{60, milliseconds{60'000}, 30};  ///< of one principal
    /// Of one principal, of requests, in units of 1,024 bytes, rounded up; a request larger than the burst counts as the burst.
    rate_options kilobytes{256, milliseconds{1'000}, 8'192};
    std::size_t principals_max = 100'000;  ///< remembered; those who owe nothing are forgotten first
    std::size_t busy_from = 64;            ///< requests in work; from here on only who has asked for little is let in
    std::size_t busy_max = 256;            ///< … and from here on nobody; >= busy_from
    milliseconds shed_wait{2'000};         ///< who is turned away for load comes back in half of it to all of it; > 0
};
[[nodiscard]] constexpr bool valid(admission_options const& o) noexcept {
    return valid(o.requests) && valid(o.kilobytes) && o.principals_max > 0 && o.busy_max >= o.busy_from &&
           o.shed_wait.count() > 0;
}

/// Lets requests in, or says when to come back. Ask it before the storage's transaction begins.
///
/// Each principal has a budget of requests and of bytes, whatever the number of its replicas. Where many requests are in
/// work, those are turned away first who have used up more than half of either budget; nobody is let in beyond
/// `busy_max`. The wait is spread, so that who was turned away together does not come back together. What is owed is
/// kept in memory: a restart forgives it, which lets nobody have more than one burst more.
/// A value for one thread; it reads no clock. Cost: O(log principals); a sweep of all of them where there are
/// `principals_max`, at most once a second.
class admission {
public:
    /// Precondition: `valid(options)`.
    explicit admission(admission_options options = {}) : options_(options) { SYNCLINE_ASSERT(valid(options)); }

    /// Zero: it is let in, and counted; else how long to wait before the next attempt, and nothing is counted. `size` is
    /// the request's size, `in_work` the number of requests that were let in and not answered yet.
    template <random_source G>
    [[nodiscard]] milliseconds admit(std::string_view principal, std::size_t size, std::size_t in_work,
                                     monotonic_time now, G& random) {
        if (in_work >= options_.busy_max) { return shed(random); }
        auto at = books_.find(std::string{principal});
        if (at == books_.end()) {
            if (books_.size() >= options_.principals_max && !sweep(now)) { return shed(random); }
            at = books_.emplace(std::string{principal}, book{options_}).first;
        }
        book& b = at->second;
        if (in_work >= options_.busy_from) {
            bool const modest = b.requests.tokens(now) * std::uint64_t{2} >= options_.requests.burst &&
                                b.kilobytes.tokens(now) * std::uint64_t{2} >= options_.kilobytes.burst;
            if (!modest) { return shed(random); }
        }
        milliseconds const soon = b.requests.take(now);
        if (soon.count() != 0) { return soon; }
        std::uint64_t const kilobytes = (static_cast<std::uint64_t>(size) + 1'023) / 1'024;
        auto const units =
            static_cast<std::uint32_t>((std::min)(kilobytes, static_cast<std::uint64_t>(options_.kilobytes.burst)));
        milliseconds const later = b.kilobytes.take(now, units);
        if (later.count() != 0) { b.requests.give_back(1); }
        return later;
    }

    /// Principals that are remembered.
    [[nodiscard]] std::size_t principals() const noexcept { return books_.size(); }
    [[nodiscard]] admission_options const& options() const noexcept { return options_; }

private:
    struct book {
        explicit book(admission_options const& o) : requests(o.requests), kilobytes(o.kilobytes) {}
        token_bucket requests;
        token_bucket kilobytes;
    };

    template <class G>
    [[nodiscard]] milliseconds shed(G& random) const {
        auto const all = static_cast<std::uint64_t>(options_.shed_wait.count());
        std::uint64_t const half = all / 2;
        return milliseconds{
            static_cast<milliseconds::rep>((std::max)(std::uint64_t{1}, half + random() % (all - half + 1)))};
    }
    /// Forgets who owes nothing; whether there is room then.
    [[nodiscard]] bool sweep(monotonic_time now) {
        if (swept_ && now < last_sweep_ + milliseconds{1'000}) { return false; }
        swept_ = true;
        last_sweep_ = now;
        std::erase_if(books_, [&](auto const& entry) {
            book const& b = entry.second;
            return b.requests.tokens(now) == options_.requests.burst &&
                   b.kilobytes.tokens(now) == options_.kilobytes.burst;
        });
        return books_.size() < options_.principals_max;
    }

    admission_options options_;
    std::map<std::string, book> books_{};
    monotonic_time last_sweep_{};
    bool swept_ = false;
};

}  // namespace syncline::inline SYNCLINE_ABI
