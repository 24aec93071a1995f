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
        taken.reserve((std::min)(what_.entries_max, piece_max));
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
    /// A queue of a lane.
    struct source {
        std::uint8_t lane = 0;
        std::uint8_t queue = 0;
        bool late = false;  ///< of a queue by deadline what is further ahead than a clock of now could have written
        std::vector<stored_entry> rows{};
        std::size_t next = 0;
        std::size_t piece = piece_first;
        std::size_t size = 0;  ///< bytes of the rows
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
        if (e.header.patience) { return {1, outbox_later(entered, *e.header.patience), e.token}; }
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

    /// Where a queue begins, or goes on behind an entry.
    [[nodiscard]] bytes from_of(source const& q) const {
        if (!q.rows.empty()) {
            stored_entry const& last = q.rows.back();
            return to_bytes(moves_.ready_key(last.token, last.rows.queue, last.rows.deadline).add(std::uint8_t{0}));
        }
        auto k = moves_.queue_key(q.lane, q.queue);
        if (q.late) { return prefix_end(k.add(outbox_time_bits(last_believed()))); }
        if (q.queue < static_cast<std::uint8_t>(outbox_queue::own)) {
            k.add(moves_.counters.mark(q.lane, static_cast<priority>(q.queue)));
        }
        return to_bytes(k);
    }
    [[nodiscard]] bytes end_of(source const& q) const {
        auto k = moves_.queue_key(q.lane, q.queue);
        return prefix_end(by_deadline(q) && !q.late ? k.add(outbox_time_bits(last_believed())) : k);
    }
    [[nodiscard]] static bool by_deadline(source const& q) noexcept {
        return q.queue >= static_cast<std::uint8_t>(outbox_queue::own) &&
               q.queue < static_cast<std::uint8_t>(outbox_queue::again);
    }
    [[nodiscard]] wall_time last_believed() const noexcept { return outbox_later(now_, options_.wait_max); }

    /// Finds the queues that have anything, with their first entries: a scan for each lane, and another behind what is
    /// claimed or after the first entries of a queue that has many.
    [[nodiscard]] status open() {
        for (outbox_lane_counters const& l : moves_.counters.lanes) {
            if (l.entries == 0 || (what_.lane && *what_.lane != l.lane)) { continue; }
            if (auto s = open(l.lane); !s) { return s; }
        }
        return {};
    }
    [[nodiscard]] status open(std::uint8_t lane) {
        std::size_t const lead = moves_.key(outbox_space::ready).operator bytes_view().size();
        bytes const end = prefix_end(moves_.key(outbox_space::ready).add(lane));
        source first;
        first.lane = lane;
        bytes from = from_of(first);
        for (bool more = true; more;) {
            more = false;
            status damaged;
            auto const go_on_at = [&](source const& q) {
                from = from_of(q);
                more = true;
                return false;
            };
            auto const row = [&](bytes_view k, bytes_view value) {
                if (k.size() < lead + 10 || std::to_integer<unsigned>(k[lead + 1]) >= outbox_queue_bytes) {
                    damaged = failure{errc::corrupt, "outbox ready key"};
                    return false;
                }
                source q;
                q.lane = lane;
                q.queue = std::to_integer<std::uint8_t>(k[lead + 1]);
                bool const next = sources_.empty() || sources_.back().lane != lane || sources_.back().queue != q.queue;
                if (next) {
                    if ((q.queue & 3U) > static_cast<unsigned>(what_.lowest)) { return skip(q, go_on_at); }
                    if (compare(k, from_of(q)) < 0) { return go_on_at(q); }  // claimed, and left in its place
                    q.rows.reserve(piece());
                    sources_.push_back(std::move(q));
                }
                source& own = sources_.back();
                own.rows.emplace_back();
                damaged = moves_.read_queued(k, value, own.rows.back());
                if (!damaged) { return false; }
                own.size += own.rows.back().payload_size();
                if (own.rows.size() < piece() && own.size <= what_.bytes_max) { return true; }
                own.exhausted = false;
                return skip(own, go_on_at);
            };
            if (auto s = tx_.scan({from, end}, row); !s) { return s; }
            if (!damaged) { return damaged; }
        }
        return split_late(lane);
    }
    template <class F>
    [[nodiscard]] static bool skip(source const& q, F&& go_on_at) {
        if (q.queue + 1U == outbox_queue_bytes) { return false; }
        source next;
        next.lane = q.lane;
        next.queue = static_cast<std::uint8_t>(q.queue + 1);
        return go_on_at(next);
    }
    /// Of the queues by deadline what is too far ahead comes as a queue of its own: it counts as of now.
    [[nodiscard]] status split_late(std::uint8_t lane) {
        for (std::size_t i = 0, n = sources_.size(); i < n; ++i) {
            if (sources_[i].lane != lane || !by_deadline(sources_[i])) { continue; }
            auto& rows = sources_[i].rows;
            while (!rows.empty() && *rows.back().rows.deadline > last_believed()) { rows.pop_back(); }
            if (rows.empty()) { sources_[i].exhausted = true; }
            source late;
            late.lane = lane;
            late.queue = sources_[i].queue;
            late.late = true;
            if (auto s = read_piece(late, 1); !s) { return s; }
            if (!late.rows.empty()) { sources_.push_back(std::move(late)); }
        }
        return {};
    }
    [[nodiscard]] std::size_t piece() const noexcept {
        return (std::min)(piece_first, (std::max)(what_.entries_max, std::size_t{1}));
    }
    [[nodiscard]] status refill(source& s) {
        if (s.exhausted || s.next < s.rows.size()) { return {}; }
        s.piece = (std::min)(piece_max, 4 * s.piece);
        return read_piece(s, (std::min)(s.piece, what_.entries_max - taken.size()));
    }
    /// The next of a queue, so many or so many bytes.
    [[nodiscard]] status read_piece(source& s, std::size_t wanted) {
        bytes const from = from_of(s);
        s.rows.clear();
        s.next = 0;
        s.size = 0;
        s.exhausted = true;
        s.rows.reserve(wanted);
        status damaged;
        auto const row = [&](bytes_view k, bytes_view value) {
            s.rows.emplace_back();
            damaged = moves_.read_queued(k, value, s.rows.back());
            if (!damaged) { return false; }
            s.size += s.rows.back().payload_size();
            s.exhausted = s.rows.size() < wanted && s.size <= what_.bytes_max;
            return s.exhausted;
        };
        if (auto r = tx_.scan({from, end_of(s)}, row); !r) { return r; }
        return damaged;
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
