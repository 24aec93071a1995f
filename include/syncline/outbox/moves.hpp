// SPDX-License-Identifier: BSL-1.0
#pragma once

/// How entries move: every change of one is the difference between the rows that it has and those that its state asks
/// for, within one transaction.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/outbox/layout.hpp>
#include <syncline/outbox/record_index.hpp>
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

/// One call of an outbox. Nothing of it is complete before `close`. The members that are only declared here stand by what
/// they do in changing.hpp, ending.hpp, entering.hpp, finding.hpp, order.hpp and writing.hpp.
template <storage_transaction Tx>
class outbox_moves {
public:
    using phase = outbox_header::phase;
    using place = outbox_rows::place;

    outbox_moves(Tx& tx, outbox_options const& options, std::span<lane_limit const> lanes,
                 std::string_view prefix) noexcept
        : tx_(tx), options_(options), limits_(lanes), prefix_(prefix), index_(prefix), leases_(prefix), runs_(prefix) {}

    outbox_counters counters{};

    [[nodiscard]] status open() {
        auto const found = tx_.get(key(outbox_space::counters), stored_);
        if (!found) { return found.error(); }
        if (!*found) {
            encode_counters(stored_, counters);
            return {};
        }
        auto const s = decode_counters(counters, stored_);
        fence_before_ = counters.fence;
        return s;
    }
    [[nodiscard]] status close() {
        if (auto s = index_.flush(tx_); !s) { return s; }
        if (auto s = runs_.flush(tx_); !s) { return s; }
        if (auto s = leases_.flush(tx_); !s) { return s; }
        encode_counters(scratch_, counters);
        if (equal(scratch_, stored_)) { return {}; }
        return tx_.put(key(outbox_space::counters), scratch_);
    }

    [[nodiscard]] outbox_key key(outbox_space space) const noexcept { return {prefix_, space}; }
    [[nodiscard]] outbox_key queue_key(std::uint8_t lane, std::uint8_t queue) const noexcept {
        return key(outbox_space::ready).add(lane).add(queue);
    }
    [[nodiscard]] outbox_key ready_key(std::uint64_t token, std::uint8_t queue,
                                       std::optional<wall_time> deadline = {}) const noexcept {
        auto k = queue_key(outbox_lane(token), queue);
        if (deadline) { k.add(outbox_time_bits(*deadline)); }
        return k.add(token);
    }
    [[nodiscard]] outbox_key followers_key(bytes_view record) const noexcept {
        auto k = key(outbox_space::followers);
        k.add(static_cast<std::uint8_t>(record.size() >> 8)).add(static_cast<std::uint8_t>(record.size() & 0xFFU));
        return k.add(record);
    }
    /// The token that ends a key; 0 for a key too short to have one.
    [[nodiscard]] static std::uint64_t token_of(bytes_view k) noexcept {
        return k.size() < 8 ? 0 : read_u64(k.last(8));
    }
    /// Whether a lane, and all of them, may have so many bytes and entries more.
    [[nodiscard]] status fits(std::uint8_t lane, std::uint64_t entries, std::uint64_t size) const noexcept {
        if (entries != 0 && !room(options_.entries_max, counters.entries(), entries)) {
            return failure{errc::limit, "outbox entries"};
        }
        if (!room(options_.bytes_max, counters.bytes(), size)) { return failure{errc::limit, "outbox bytes"}; }
        return lane_fits(lane, entries, size);
    }
    [[nodiscard]] status lane_fits(std::uint8_t lane, std::uint64_t entries, std::uint64_t size) const noexcept {
        outbox_lane_counters const* const l = counters.find(lane);
        for (lane_limit const& limit : limits_) {
            if (limit.lane != lane) { continue; }
            if (entries != 0 && !room(limit.entries_max, l == nullptr ? 0 : l->entries, entries)) {
                return failure{errc::limit, "lane's entries"};
            }
            if (!room(limit.bytes_max, l == nullptr ? 0 : l->bytes, size)) {
                return failure{errc::limit, "lane's bytes"};
            }
        }
        return {};
    }

    // Finding.

    [[nodiscard]] result<bool> find_aside(std::uint64_t token, stored_entry& e);
    [[nodiscard]] result<bool> find_dead(std::uint64_t token, stored_entry& e);
    [[nodiscard]] result<bool> find_living(std::uint64_t token, stored_entry& e);
    [[nodiscard]] result<bool> find(std::uint64_t token, stored_entry& e);
    [[nodiscard]] status find_claimed(std::uint64_t token, std::uint64_t fence, stored_entry& e);
    /// Calls `visit(place, entry)` for claimed entries in the order of their claims until it fails or answers false; it
    /// may write that entry. Those of one queue that stand in their order are read together, so many at a time that they
    /// take little memory. `errc::claim_lost`.
    template <class F>
    [[nodiscard]] status each_claimed(std::span<outbox_claim const> claims, F&& visit);
    /// An entry of a row of the queues; its value as far as `most` bytes of the payload.
    [[nodiscard]] status read_queued(bytes_view k, bytes_view value, stored_entry& e,
                                     std::size_t most = (std::numeric_limits<std::size_t>::max)());
    /// An entry of a row of any other place.
    [[nodiscard]] status read_row(bytes_view k, bytes_view value, bool letter, stored_entry& e);
    /// The one that has never been claimed. `errc::not_found`, `errc::claim_lost`.
    [[nodiscard]] status find_fresh(std::uint64_t token, stored_entry& e);

    [[nodiscard]] static entry_state state_of(stored_entry const& e) noexcept {
        if (e.dead) { return entry_state::dead; }
        if (e.header.state == phase::claimed) { return entry_state::claimed; }
        if (e.header.held()) { return entry_state::blocked; }
        return e.header.state == phase::waiting ? entry_state::waiting : entry_state::ready;
    }
    /// As others see it.
    [[nodiscard]] status show(stored_entry const& e, outbox_entry& out);
    /// The same of an entry that isn't needed any more.
    [[nodiscard]] status give(stored_entry& e, outbox_entry& out);
    [[nodiscard]] status load_payload(stored_entry const& e, bytes& out);
    // Moving one entry.

    /// Writes what the header says, in the place that it says.
    [[nodiscard]] status write(stored_entry& e) { return write(e, e.records(), e.inline_payload()); }
    [[nodiscard]] status write(stored_entry& e, bytes_view records, bytes_view payload);
    /// Another payload, in the value or apart as its size asks for.
    [[nodiscard]] status write_with(stored_entry& e, bytes_view records, bytes_view payload);

    /// The same of a living entry, which stays where it is if it can; its lane is counted anew.
    [[nodiscard]] status exchange(stored_entry& e, bytes_view payload);

    // Moving with all that hangs on it.

    /// Takes a living entry out; what stood behind it or was after it moves up.
    [[nodiscard]] status remove(stored_entry& e);
    /// Claims what a selection has chosen, in its order. What stands in a fresh queue stays there, before the mark from now
    /// on: several of one queue are a run, one alone has its lease in its body; the rest moves aside.
    [[nodiscard]] status claim(std::span<stored_entry> chosen, wall_time end);
    /// Finds claimed entries, by token and fence, that may be many, those whose claim is lost left out. A scan for each
    /// queue in which they lie close together, else a few gets each. Of a payload that stands in its row `most` bytes may do.
    [[nodiscard]] status find_all_claimed(std::vector<std::pair<std::uint64_t, std::uint64_t>> claims,
                                          std::vector<stored_entry>& out, std::size_t most = 0);
    /// Takes several living entries out.
    [[nodiscard]] status remove_all(std::vector<stored_entry>& all);
    /// Makes a living entry a dead letter; the next of its records moves up, what is after it stays held.
    [[nodiscard]] status bury(stored_entry& e, errc reason, bytes_view verdict);
    /// A dead letter lives again, in its old place on its records.
    [[nodiscard]] status revive(stored_entry& e, wall_time now, std::optional<bytes_view> payload);
    /// What is after a dead letter, or after what is gone, isn't any more.
    [[nodiscard]] status release_dependants(stored_entry& e);
    [[nodiscard]] status dependants_of(std::uint64_t token, std::vector<std::uint64_t>& out);
    /// An entry on which a more urgent one depends is served as that one, and by its deadline where that has a patience
    /// of its own, and so is what it waits for itself. At most 64 entries: beyond, urgency is not handed on.
    [[nodiscard]] status raise(std::uint64_t token, priority to, std::optional<wall_time> deadline);
    /// A living entry, which nobody has claimed, is after another from now on. Errors: `errc::not_found` (the other was
    /// never given), `errc::invalid` (a circle), `errc::limit`.
    [[nodiscard]] status put_after(stored_entry& e, std::uint64_t parent);
    /// Whether a dead letter that takes its old place on its records would wait for itself: what was put after others
    /// while it was dead may have closed the circle.
    [[nodiscard]] result<bool> revives_into_circle(stored_entry const& e);

    // Records.

    /// Where the first entry of a record stands in the current bucket, which is that of its hash. What the index says of
    /// one entry is passed over: while that takes its place.
    [[nodiscard]] result<std::optional<std::size_t>> first_of(bytes_view record, std::uint32_t hash,
                                                              std::uint64_t but = 0);
    /// The entries of a record in order.
    template <class F>
    [[nodiscard]] status each_of(bytes_view record, F&& visit) {
        auto const at = first_of(record, outbox_hash(record));
        if (!at) { return at.error(); }
        if (!*at) { return {}; }
        std::uint64_t const first = index_[**at].token;
        // The mark of an entry with several records may be at another of its elements with the same hash.
        bool const followed = index_[**at].many || probe_.record_count() > 1;
        if (!visit(first) || !followed) { return {}; }
        return scan_prefix(tx_, followers_key(record), [&](bytes_view k, bytes_view) { return visit(token_of(k)); });
    }
    /// The next of a record after a token; 0 = none.
    [[nodiscard]] result<std::uint64_t> follower_of(bytes_view record, std::uint64_t token);

    // Entering.

    /// Takes several in, all or none; the token of the first.
    [[nodiscard]] result<std::uint64_t> admit(std::span<outbox_item const> items, wall_time now);

    // Time.

    /// Ends at most `promotions_max` waits that are over, or all of them whatever their time; how many.
    [[nodiscard]] result<std::size_t> end_waits(wall_time now, bool all = false);
    [[nodiscard]] status end_leases(wall_time now);
    /// Entries whose time to live is over become dead letters.
    [[nodiscard]] status end_lives(wall_time now);
    /// A claimed entry goes back, with an attempt more.
    [[nodiscard]] status put_back(stored_entry& e, phase state, wall_time not_before);
    /// Visits the rows of a keyspace that are due: over, or further ahead than anybody who sees the clock of now could
    /// have written.
    template <class F>
    [[nodiscard]] status collect_due(outbox_space space, wall_time now, bool all, F&& visit) {
        bool more = false;
        bool full = false;
        auto const row = [&](bytes_view k, bytes_view value) {
            more = !all && time_of(k) > now;
            full = !more && !visit(k, value);
            return !more && !full;
        };
        if (auto s = scan_prefix(tx_, key(space), row); !s) { return s; }
        wall_time const last = outbox_later(now, options_.wait_max);
        if (!more || full || last == (wall_time::max)()) { return {}; }
        bytes const from = outbox_to_bytes(key(space), outbox_time_bits(last));
        bytes const end = prefix_end(key(space));
        auto const late = [&](bytes_view k, bytes_view value) { return visit(k, value); };
        return tx_.scan({from, end}, late);
    }
    [[nodiscard]] wall_time time_of(bytes_view k) const noexcept {
        std::size_t const lead = prefix_.size() + 1;
        return k.size() < lead + 8 ? (wall_time::min)() : outbox_time(read_u64(k.subspan(lead)));
    }

private:
    static constexpr std::size_t raise_max = 64;
    static constexpr std::size_t claims_a_piece = 256;  ///< that are read together
    static constexpr std::size_t claims_a_fence = 64;   ///< so many moved entries are one row of leases

    [[nodiscard]] static status count_down(std::uint64_t& n) noexcept {
        if (n == 0) { return failure{errc::corrupt, "outbox counters"}; }
        --n;
        return {};
    }
    /// Whether there is room for so many more under a limit; 0 = none.
    [[nodiscard]] static bool room(std::uint64_t most, std::uint64_t there, std::uint64_t more) noexcept {
        return most == 0 || (there <= most && more <= most - there);
    }
    [[nodiscard]] std::uint64_t mark_of(stored_entry const& e) const noexcept {
        return counters.mark(outbox_lane(e.token), e.header.urgency);
    }
    /// Whether a claim leaves an entry where it is.
    [[nodiscard]] static bool stays(stored_entry const& e) noexcept {
        return e.rows.at == place::ready && e.rows.queue < static_cast<std::uint8_t>(outbox_queue::own);
    }

    struct reference {
        std::uint32_t hash;
        std::size_t item;
        bytes_view record;
    };

    /// The first key of a timed keyspace that is later than the time.
    [[nodiscard]] static bytes outbox_to_bytes(outbox_key k, std::uint64_t time_bits) {
        return prefix_end(k.add(time_bits));
    }
    [[nodiscard]] outbox_key timed_key(outbox_space space, wall_time t, std::uint64_t token) const noexcept {
        return key(space).add(outbox_time_bits(t)).add(token);
    }
    [[nodiscard]] outbox_key place_key(std::uint64_t token, outbox_rows const& r) const noexcept {
        switch (r.at) {
            case place::ready:
            case place::taken:
            case place::kept: return ready_key(token, r.queue, r.deadline);
            case place::dead: return key(outbox_space::dead).add(token);
            case place::aside:
            case place::none: break;
        }
        return key(outbox_space::aside).add(token);
    }
    [[nodiscard]] static bool same_lease(outbox_rows const& a, outbox_rows const& b) noexcept {
        return a.lease == b.lease && a.fence == b.fence;
    }
    /// Erases the rows that the entry has and `due` hasn't.
    [[nodiscard]] status erase_rows(stored_entry const& e, outbox_rows const& due);
    [[nodiscard]] status erase_life(stored_entry const& e);
    [[nodiscard]] status end_life(stored_entry& e);
    /// An entry that is claimed alone says so where it stands.
    [[nodiscard]] status keep(stored_entry& e);
    /// An entry that was taken leaves its run, and the last one ends it.
    [[nodiscard]] status leave_run(stored_entry const& e);
    [[nodiscard]] result<bool> read(bytes_view k, std::uint64_t token, stored_entry& e, bool letter);
    [[nodiscard]] result<bool> find_ready(std::uint64_t token, outbox_queue kind, unsigned served_as, stored_entry& e,
                                          std::optional<wall_time> deadline = {});
    [[nodiscard]] result<bool> find_own(std::uint64_t token, stored_entry& e);
    /// An entry as decoded stands in a queue: checks that it may, and says who has taken it if it has been.
    [[nodiscard]] status stands_in(stored_entry& e, std::uint8_t queue, std::optional<wall_time> deadline);
    /// Claimed entries of one lane and class, as far as they stand in its queue; all others one by one.
    [[nodiscard]] status find_taken(std::span<std::pair<std::uint64_t, std::uint64_t> const> claims,
                                    std::vector<stored_entry>& out, std::size_t most);
    /// The entries that an element of a row of leases stands for.
    [[nodiscard]] status leased_as(std::uint64_t element, std::vector<stored_entry>& out);
    /// Serves an entry as urgently as that; false when it is so already.
    [[nodiscard]] bool hurries(outbox_header& h, priority to, std::optional<wall_time> deadline) const;
    [[nodiscard]] status remove_row(stored_entry const& e);
    [[nodiscard]] status uncount(stored_entry const& e);
    /// Whether a living entry that the index names is the first of a record.
    [[nodiscard]] result<bool> leads(std::uint64_t token, bytes_view record, std::uint32_t hash);
    [[nodiscard]] result<bool> stands_behind(bytes_view record, std::uint64_t token);
    [[nodiscard]] static bool item_has(outbox_item const& item, bytes_view record) noexcept {
        return equal(item.record, record) || std::any_of(item.more_records.begin(), item.more_records.end(),
                                                         [&](bytes_view r) { return equal(r, record); });
    }
    [[nodiscard]] status leave_records(stored_entry const& e);
    [[nodiscard]] status leave(bytes_view record, std::uint64_t token, bool several);
    /// A record's first entry stands behind another from now on.
    [[nodiscard]] status hold(std::uint64_t token);
    [[nodiscard]] status collect_before(bytes_view record, std::uint64_t token, std::vector<std::uint64_t>& out);
    /// Notes with a parent that `child` is after it; false when it is done already.
    [[nodiscard]] result<bool> link(std::uint64_t parent, std::uint64_t child);
    [[nodiscard]] status unlink_parents(stored_entry& e);

    [[nodiscard]] static bool well_formed(outbox_item const& item, std::size_t count);
    template <class T>
    [[nodiscard]] static bool repeats(std::span<T const> all) {
        if (all.size() < 2) { return false; }
        std::vector<T> sorted(all.begin(), all.end());
        std::sort(sorted.begin(), sorted.end());
        return std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
    }
    /// What items are after has to have been given once, and to bear one dependant more.
    [[nodiscard]] status check_parents(std::span<outbox_item const> items);
    /// Whether items wait for each other in a circle, through what they name or through their records. What is in
    /// the outbox already waits for none of them.
    [[nodiscard]] static bool cyclic(std::span<outbox_item const> items, std::span<reference const> refs);

    /// Whether any of the entries, or what they wait for, is one of the targets, or waits for one.
    [[nodiscard]] result<bool> waits_for(std::vector<std::uint64_t> work, std::vector<std::uint64_t> targets);

    Tx& tx_;
    outbox_options const& options_;
    std::span<lane_limit const> limits_;
    std::string_view prefix_;
    bytes stored_{};  ///< the counters as they were
    std::uint64_t fence_before_ = 0;
    outbox_index index_;
    outbox_leases leases_;
    outbox_runs runs_;
    stored_entry probe_{};
    std::vector<bytes> spare_{};  ///< values of entries that are done with, for the next ones
    bytes scratch_{};
};

}  // namespace detail
}  // namespace syncline::inline SYNCLINE_ABI
