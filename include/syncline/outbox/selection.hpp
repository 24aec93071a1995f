// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a claim would take, in order: a merge of one queue for each lane and class, read in pieces.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/outbox/layout.hpp>
#include <syncline/outbox/moves.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {
namespace detail {

[[nodiscard]] constexpr milliseconds outbox_patience(outbox_options const& o, priority p) noexcept {
    switch (p) {
        case priority::critical: return milliseconds::zero();
        case priority::important: return o.patience_important;
        case priority::normal: return o.patience_normal;
        case priority::background: return o.patience_background;
    }
    return o.patience_background;
}

/// Chooses; writes nothing.
template <storage_transaction Tx>
class outbox_selection {
public:
    outbox_selection(Tx& tx, outbox_moves<Tx>& moves, outbox_options const& options, claim_options const& what,
                     wall_time now) noexcept
        : tx_(tx), moves_(moves), options_(options), what_(what), now_(now) {}

    std::vector<stored_entry> taken{};  ///< in the order in which they are given

    /// Fills `taken`. Of a batch that is to wait for more it says until when, and takes nothing.
    [[nodiscard]] result<std::optional<wall_time>> run() {
        if (what_.entries_max == 0) { return std::optional<wall_time>{}; }
        if (auto s = open(); !s) { return s.error(); }
        std::size_t size = 0;
        std::size_t most = what_.entries_max;
        bool full = false;
        while (!full) {
            auto const best = pick();
            if (!best) { return best.error(); }
            if (!*best) { break; }
            stored_entry& e = next_of(**best);
            std::size_t const own = e.header.batch_max == 0 ? most : (std::min)(most, std::size_t{e.header.batch_max});
            bool const fits = size <= what_.bytes_max && e.payload_size() <= what_.bytes_max - size;
            full = !taken.empty() && (taken.size() >= own || !fits);
            if (full) { break; }
            most = own;
            size += e.payload_size();
            rank const place = rank_of(**best);
            std::size_t const run = **best < sources_.size() ? 1 : followers_.back().run + 1;
            taken.push_back(std::move(e));
            advance(**best);
            if (run < what_.record_run_max) {
                if (auto s = add_follower(taken.back(), place, run); !s) { return s.error(); }
            }
            full = taken.size() >= most;
        }
        if (full || taken.empty() || what_.linger <= milliseconds::zero()) { return std::optional<wall_time>{}; }
        // What entered later than now did so under another clock: it has waited long enough.
        wall_time oldest = (wall_time::max)();
        for (stored_entry const& e : taken) {
            if (e.header.urgency == priority::critical || e.header.fence != 0 || e.header.entered > now_) {
                return std::optional<wall_time>{};
            }
            oldest = (std::min)(oldest, e.header.entered);
        }
        wall_time const until = outbox_later(oldest, what_.linger);
        if (until <= now_) { return std::optional<wall_time>{}; }
        taken.clear();
        return std::optional<wall_time>{until};
    }
    /// Whether there is anything to take.
    [[nodiscard]] result<bool> any() {
        if (auto s = open(); !s) { return s.error(); }
        return !sources_.empty();
    }

private:
    using phase = outbox_header::phase;

    struct rank {
        unsigned band = 0;
        wall_time deadline{};
        std::uint64_t token = 0;
        [[nodiscard]] bool before(rank const& o) const noexcept {
            if (band != o.band) { return band < o.band; }
            if (deadline != o.deadline) { return deadline < o.deadline; }
            return token < o.token;
        }
    };
    /// The queue of a lane and class.
    struct source {
        std::uint8_t lane = 0;
        std::uint8_t served_as = 0;
        std::vector<stored_entry> rows{};
        std::size_t next = 0;
        std::size_t piece = piece_first;
        bool exhausted = true;
    };
    /// What the taking of its predecessor lets go.
    struct follower {
        stored_entry entry{};
        rank place{};
        std::size_t run = 0;
    };
    static constexpr std::size_t piece_first = 16;
    static constexpr std::size_t piece_max = 256;

    [[nodiscard]] rank rank_of(stored_entry const& e) const noexcept {
        auto const p = e.header.urgency;
        switch (what_.order) {
            case claim_order::arrival: return {0, {}, e.token};
            case claim_order::strict: return {static_cast<unsigned>(p), {}, e.token};
            case claim_order::deadline: break;
        }
        if (p == priority::critical) { return {0, {}, e.token}; }
        wall_time const entered = (std::min)(e.header.entered, now_);  // later: under a clock since set back
        return {1, outbox_later(entered, outbox_patience(options_, p)), e.token};
    }
    // Candidates are the sources by index, and behind them the first follower.

    [[nodiscard]] stored_entry& next_of(std::size_t i) noexcept {
        return i < sources_.size() ? sources_[i].rows[sources_[i].next] : followers_.back().entry;
    }
    [[nodiscard]] rank rank_of(std::size_t i) noexcept {
        return i < sources_.size() ? rank_of(next_of(i)) : followers_.back().place;
    }
    void advance(std::size_t i) {
        if (i < sources_.size()) {
            ++sources_[i].next;
        } else {
            followers_.pop_back();
        }
    }
    [[nodiscard]] result<std::optional<std::size_t>> pick() {
        std::optional<std::size_t> best;
        rank first;
        for (std::size_t i = 0; i < sources_.size() + (followers_.empty() ? 0 : 1); ++i) {
            if (i < sources_.size()) {
                if (auto s = refill(sources_[i]); !s) { return s.error(); }
                if (sources_[i].next == sources_[i].rows.size()) { continue; }
            }
            rank const own = rank_of(i);
            if (best && !own.before(first)) { continue; }
            best = i;
            first = own;
        }
        return best;
    }

    [[nodiscard]] outbox_key source_key(unsigned lane, unsigned served_as) const noexcept {
        auto k = moves_.key(outbox_space::ready);
        return k.add(static_cast<std::uint8_t>(lane)).add(static_cast<std::uint8_t>(served_as));
    }
    [[nodiscard]] bool read_row(bytes_view k, bytes_view value, stored_entry& e) const {
        e.token = outbox_moves<Tx>::token_of(k);
        e.value.assign(value.begin(), value.end());
        return decode_entry(e, false).has_value() && e.rows.at == outbox_rows::place::ready;
    }
    /// Finds the queues that have anything, with their first entries: a scan, and another for each that has many.
    [[nodiscard]] status open() {
        std::size_t const lead = moves_.key(outbox_space::ready).operator bytes_view().size();
        std::size_t const piece = (std::min)(piece_first, (std::max)(what_.entries_max, std::size_t{1}));
        unsigned lane = what_.lane ? *what_.lane : 0;
        unsigned const last_lane = what_.lane ? *what_.lane : 255;
        unsigned served_as = 0;
        for (bool more = true; more && lane <= last_lane;) {
            more = false;
            bool damaged = false;
            std::size_t size = 0;
            auto const row = [&](bytes_view k, bytes_view value) {
                damaged = k.size() != lead + 10;
                if (damaged) { return false; }
                lane = std::to_integer<unsigned>(k[lead]);
                served_as = std::to_integer<unsigned>(k[lead + 1]);
                if (served_as > static_cast<unsigned>(what_.lowest)) {
                    damaged = served_as > static_cast<unsigned>(priority::background);
                    ++lane;
                    served_as = 0;
                    more = true;
                    return false;
                }
                if (sources_.empty() || sources_.back().lane != lane || sources_.back().served_as != served_as) {
                    sources_.emplace_back();
                    sources_.back().lane = static_cast<std::uint8_t>(lane);
                    sources_.back().served_as = static_cast<std::uint8_t>(served_as);
                    size = 0;
                }
                source& s = sources_.back();
                s.rows.emplace_back();
                damaged = !read_row(k, value, s.rows.back());
                size += s.rows.back().payload_size();
                if (!damaged && s.rows.size() < piece && size <= what_.bytes_max) { return true; }
                s.exhausted = false;
                ++served_as;
                more = true;
                return false;
            };
            bytes const end = prefix_end(what_.lane ? bytes_view{moves_.key(outbox_space::ready).add(*what_.lane)}
                                                    : bytes_view{moves_.key(outbox_space::ready)});
            if (auto s = tx_.scan({source_key(lane, served_as), end}, row); !s) { return s; }
            if (damaged) { return failure{errc::corrupt, "outbox ready key"}; }
        }
        return {};
    }
    [[nodiscard]] status refill(source& s) {
        if (s.exhausted || s.next < s.rows.size()) { return {}; }
        auto const from = source_key(s.lane, s.served_as).add(s.rows.back().token).add(std::uint8_t{0});
        bytes const end = prefix_end(source_key(s.lane, s.served_as));
        s.rows.clear();
        s.next = 0;
        s.piece = (std::min)(piece_max, 4 * s.piece);
        s.exhausted = true;
        std::size_t const wanted = (std::min)(s.piece, what_.entries_max - taken.size());
        std::size_t size = 0;
        bool damaged = false;
        auto const row = [&](bytes_view k, bytes_view value) {
            s.rows.emplace_back();
            damaged = !read_row(k, value, s.rows.back());
            size += s.rows.back().payload_size();
            s.exhausted = !damaged && s.rows.size() < wanted && size <= what_.bytes_max;
            return s.exhausted;
        };
        if (auto r = tx_.scan({from, end}, row); !r) { return r; }
        return damaged ? status{failure{errc::corrupt, "outbox ready key"}} : status{};
    }

    /// What stands behind a taken entry on its record, if it may go with it.
    [[nodiscard]] status add_follower(stored_entry const& e, rank const& before, std::size_t run) {
        if (e.record_count() != 1) { return {}; }
        bytes_view record;
        e.each_record([&](bytes_view r) {
            record = r;
            return true;
        });
        auto const next = moves_.follower_of(record, e.token);
        if (!next) { return next.error(); }
        if (*next == 0) { return {}; }
        follower f;
        auto const found = moves_.find_aside(*next, f.entry);
        if (!found) { return found.error(); }
        outbox_header const& h = f.entry.header;
        if (!*found || h.behind == 0) { return failure{errc::corrupt, "outbox record"}; }
        bool const free = h.parents.empty() && f.entry.record_count() == 1 && h.urgency <= what_.lowest &&
                          (!what_.lane || *what_.lane == outbox_lane(*next));
        bool const due = h.state == phase::pending || (h.state == phase::waiting && h.time <= now_);
        if (!free || !due) { return {}; }
        f.place = rank_of(f.entry);
        f.place.band = (std::max)(f.place.band, before.band);
        f.place.deadline = (std::max)(f.place.deadline, before.deadline);
        f.run = run;
        auto at = followers_.begin();
        while (at != followers_.end() && f.place.before(at->place)) { ++at; }
        followers_.insert(at, std::move(f));
        return {};
    }

    Tx& tx_;
    outbox_moves<Tx>& moves_;
    outbox_options const& options_;
    claim_options const& what_;
    wall_time now_;
    std::vector<source> sources_{};
    std::vector<follower> followers_{};  ///< the most urgent last
};

}  // namespace detail
}  // namespace syncline::inline SYNCLINE_ABI
