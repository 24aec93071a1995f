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

/// One call of an outbox. Nothing of it is complete before `close`.
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

    [[nodiscard]] result<bool> find_aside(std::uint64_t token, stored_entry& e) {
        auto const found = read(key(outbox_space::aside).add(token), token, e, false);
        if (!found || !*found) { return found; }
        e.rows = e.rows_due(mark_of(e));
        if (e.rows.at != place::aside) { return failure{errc::corrupt, "outbox entry in a wrong place"}; }
        return true;
    }
    [[nodiscard]] result<bool> find_dead(std::uint64_t token, stored_entry& e) {
        auto const found = read(key(outbox_space::dead).add(token), token, e, true);
        if (found && *found) { e.rows = e.rows_due(0); }
        return found;
    }
    [[nodiscard]] result<bool> find_living(std::uint64_t token, stored_entry& e) {
        auto const own = static_cast<unsigned>(outbox_class(token));
        auto found = find_ready(token, outbox_queue::fresh, own, e);
        if (found && !*found) { found = find_aside(token, e); }
        for (unsigned c = own + 1; found && !*found && c != 0; --c) {  // it may be served as a more urgent one
            if (c != own + 1) { found = find_ready(token, outbox_queue::fresh, c - 1, e); }
            bool const behind = token < counters.mark(outbox_lane(token), static_cast<priority>(c - 1));
            if (found && !*found && behind) { found = find_ready(token, outbox_queue::again, c - 1, e); }
        }
        return !found || *found ? found : find_own(token, e);
    }
    [[nodiscard]] result<bool> find(std::uint64_t token, stored_entry& e) {
        auto const found = find_living(token, e);
        return !found || *found ? found : find_dead(token, e);
    }
    [[nodiscard]] status find_claimed(std::uint64_t token, std::uint64_t fence, stored_entry& e) {
        auto const own = static_cast<unsigned>(outbox_class(token));
        result<bool> found = false;
        for (unsigned c = own + 1; found && !*found && c != 0; --c) {
            bool const behind = token < counters.mark(outbox_lane(token), static_cast<priority>(c - 1));
            if (behind) { found = find_ready(token, outbox_queue::fresh, c - 1, e); }
            if (found && !*found && c == own + 1) { found = find_aside(token, e); }
        }
        if (!found) { return found.error(); }
        if (!*found || e.header.state != phase::claimed || e.header.fence != fence) { return errc::claim_lost; }
        return {};
    }
    /// An entry of a row of the queues; its value as far as `most` bytes of the payload.
    [[nodiscard]] status read_queued(bytes_view k, bytes_view value, stored_entry& e,
                                     std::size_t most = (std::numeric_limits<std::size_t>::max)()) {
        constexpr failure bad{errc::corrupt, "outbox ready key"};
        std::size_t const lead = prefix_.size() + 1;
        bool const timed = k.size() == lead + 18;
        if (k.size() != lead + 10 && !timed) { return bad; }
        e.token = token_of(k);
        auto const queue = std::to_integer<std::uint8_t>(k[lead + 1]);
        if (std::to_integer<std::uint8_t>(k[lead]) != outbox_lane(e.token) || queue >= outbox_queue_bytes) {
            return bad;
        }
        if (auto s = decode_entry(e, value, false); !s) { return s; }
        bytes_view const kept = value.first(e.payload_at + (std::min)(most, e.inline_bytes));
        e.value.assign(kept.begin(), kept.end());
        std::optional<wall_time> deadline;
        if (timed) { deadline = outbox_time(read_u64(k.subspan(lead + 2))); }
        return stands_in(e, queue, deadline);
    }
    /// An entry of a row of any other place.
    [[nodiscard]] status read_row(bytes_view k, bytes_view value, bool letter, stored_entry& e) {
        e.token = token_of(k);
        e.value.assign(value.begin(), value.end());
        if (auto s = decode_entry(e, value, letter); !s) { return s; }
        e.rows = e.rows_due(mark_of(e));
        return e.rows.at == (letter ? place::dead : place::aside)
                   ? status{}
                   : failure{errc::corrupt, "outbox entry in a wrong place"};
    }
    /// The one that has never been claimed. `errc::not_found`, `errc::claim_lost`.
    [[nodiscard]] status find_fresh(std::uint64_t token, stored_entry& e) {
        auto const found = find_living(token, e);
        if (!found) { return found.error(); }
        if (!*found) { return errc::not_found; }
        if (e.header.fence != 0) { return errc::claim_lost; }
        return {};
    }

    [[nodiscard]] static entry_state state_of(stored_entry const& e) noexcept {
        if (e.dead) { return entry_state::dead; }
        if (e.header.state == phase::claimed) { return entry_state::claimed; }
        if (e.header.held()) { return entry_state::blocked; }
        return e.header.state == phase::waiting ? entry_state::waiting : entry_state::ready;
    }
    /// As others see it.
    [[nodiscard]] status show(stored_entry const& e, outbox_entry& out) {
        outbox_header const& h = e.header;
        out.token = e.token;
        out.fence = h.fence;
        out.urgency = outbox_class(e.token);
        out.served_as = h.urgency;
        out.lane = outbox_lane(e.token);
        out.state = state_of(e);
        out.entered = h.entered;
        out.not_before = h.time;
        out.attempts = h.attempts;
        out.batch_max = h.batch_max;
        out.dependants = h.dependants;
        out.patience = h.patience;
        out.expires = h.expires;
        out.after = h.parents;
        out.record.clear();
        out.more_records.clear();
        bool first = true;
        e.each_record([&](bytes_view record) {
            if (std::exchange(first, false)) {
                out.record.assign(record.begin(), record.end());
            } else {
                out.more_records.push_back(to_bytes(record));
            }
            return true;
        });
        out.reason = e.reason;
        out.verdict = e.verdict;
        if (!h.apart) {
            bytes_view const payload = e.inline_payload();
            out.payload.assign(payload.begin(), payload.end());
            return {};
        }
        return load_payload(e, out.payload);
    }
    /// The same of an entry that isn't needed any more.
    [[nodiscard]] status give(stored_entry& e, outbox_entry& out) {
        if (e.header.apart) { return show(e, out); }
        std::size_t const size = std::exchange(e.inline_bytes, 0);
        if (auto s = show(e, out); !s) { return s; }
        out.payload = std::move(e.value);
        out.payload.erase(out.payload.begin(), out.payload.end() - static_cast<std::ptrdiff_t>(size));
        return {};
    }
    [[nodiscard]] status load_payload(stored_entry const& e, bytes& out) {
        auto const found = tx_.get(key(outbox_space::payload).add(e.token), out);
        if (!found) { return found.error(); }
        if (!*found || out.size() != *e.header.apart) { return failure{errc::corrupt, "outbox payload"}; }
        return {};
    }
    // Moving one entry.

    /// Writes what the header says, in the place that it says.
    [[nodiscard]] status write(stored_entry& e) { return write(e, e.records(), e.inline_payload()); }
    [[nodiscard]] status write(stored_entry& e, bytes_view records, bytes_view payload) {
        outbox_rows const due = e.rows_due(mark_of(e));
        if (auto s = erase_rows(e, due); !s) { return s; }
        if (due.wait && due.wait != e.rows.wait) {
            ++counters.waits;
            if (auto s = tx_.put(timed_key(outbox_space::waits, *due.wait, e.token), {}); !s) { return s; }
        }
        if (due.life && due.life != e.rows.life) {
            ++counters.lives;
            if (auto s = tx_.put(timed_key(outbox_space::lives, *due.life, e.token), {}); !s) { return s; }
        }
        if (due.deadline && (due.deadline != e.rows.deadline || due.queue != e.rows.queue)) {
            bytes where;
            append_u64(where, outbox_time_bits(*due.deadline));
            where.push_back(static_cast<std::byte>(due.queue));
            if (auto s = tx_.put(key(outbox_space::own).add(e.token), where); !s) { return s; }
        }
        if (due.lease && !same_lease(due, e.rows)) {
            ++counters.leased;
            bool const fresh = due.fence > fence_before_;
            if (auto s = leases_.add(tx_, *due.lease, due.fence, e.token, fresh); !s) { return s; }
        }
        encode_entry(scratch_, e, records, payload);
        e.rows = due;
        return tx_.put(place_key(e.token, due), scratch_);
    }
    /// Another payload, in the value or apart as its size asks for.
    [[nodiscard]] status write_with(stored_entry& e, bytes_view records, bytes_view payload) {
        auto const own = key(outbox_space::payload).add(e.token);
        if (payload.size() > outbox_inline_max) {
            e.header.apart = static_cast<std::uint32_t>(payload.size());
            if (auto s = tx_.put(own, payload); !s) { return s; }
            return write(e, records, {});
        }
        if (e.header.apart) {
            if (auto s = tx_.erase(own); !s) { return s; }
            e.header.apart.reset();
        }
        return write(e, records, payload);
    }

    // Moving with all that hangs on it.

    /// Takes a living entry out; what stood behind it or was after it moves up.
    [[nodiscard]] status remove(stored_entry& e) {
        if (auto s = remove_row(e); !s) { return s; }
        if (auto s = leave_records(e); !s) { return s; }
        if (auto s = unlink_parents(e); !s) { return s; }
        return release_dependants(e);
    }
    /// Claims what a selection has chosen, in its order. What stands in a fresh queue stays there, before the mark from now
    /// on, and all of it in one queue is a run; the rest moves aside.
    [[nodiscard]] status claim(std::span<stored_entry> chosen, wall_time end) {
        if (chosen.empty()) { return {}; }
        std::uint64_t const fence = ++counters.fence;
        std::vector<outbox_run> runs;
        for (stored_entry& e : chosen) {
            if (!stays(e)) { continue; }
            std::uint8_t const lane = outbox_lane(e.token);
            auto at = std::find_if(runs.begin(), runs.end(), [&](outbox_run const& r) {
                return r.lane == lane && r.served_as == e.header.urgency;
            });
            if (at == runs.end()) { at = runs.insert(at, {lane, e.header.urgency, e.token, 0, fence, end, 0}); }
            at->last = e.token;
            ++at->left;
            counters.of(lane).marks[static_cast<std::size_t>(e.header.urgency)] = e.token + 1;
            if (auto s = end_life(e); !s) { return s; }
        }
        for (outbox_run const& r : runs) {
            if (auto s = runs_.begin(tx_, r); !s) { return s; }
            if (end == (wall_time::max)()) { continue; }
            ++counters.leased;
            auto const element = outbox_leases::run_element(r.last, r.served_as);
            if (auto s = leases_.add(tx_, end, fence, element, true); !s) { return s; }
        }
        std::size_t moved = 0;
        for (stored_entry& e : chosen) {
            bool const in_place = stays(e);
            if (!in_place && moved != 0 && moved % claims_a_fence == 0) { ++counters.fence; }
            moved += in_place ? 0 : 1;
            e.header.state = phase::claimed;
            e.header.fence = in_place ? fence : counters.fence;
            e.header.time = end;
            e.header.expires.reset();
            if (in_place) {
                e.rows.at = place::taken;
            } else if (auto s = write(e); !s) {
                return s;
            }
        }
        return {};
    }
    /// Finds claimed entries, by token and fence, that may be many, those whose claim is lost left out. A scan for each
    /// queue in which they lie close together, else a few gets each.
    [[nodiscard]] status find_all_claimed(std::vector<std::pair<std::uint64_t, std::uint64_t>> claims,
                                          std::vector<stored_entry>& out) {
        auto const queue_of = [](std::uint64_t token) { return static_cast<std::uint16_t>(token & 0x3FFU); };
        std::sort(claims.begin(), claims.end(), [&](auto const& a, auto const& b) {
            auto const qa = queue_of(a.first);
            auto const qb = queue_of(b.first);
            return qa != qb ? qa < qb : a < b;
        });
        out.reserve(claims.size());
        for (std::size_t next = 0; next < claims.size();) {
            std::size_t end = next;
            while (end != claims.size() && queue_of(claims[end].first) == queue_of(claims[next].first)) { ++end; }
            auto const group = std::span{claims}.subspan(next, end - next);
            if (auto s = find_taken(group, out); !s) { return s; }
            next = end;
        }
        return {};
    }
    /// Takes several living entries out.
    [[nodiscard]] status remove_all(std::vector<stored_entry>& all) {
        // The index by hash, so that a bucket is loaded once; the entries by token, as they lie.
        std::vector<reference> refs;
        refs.reserve(all.size());
        for (std::size_t i = 0; i < all.size(); ++i) {
            all[i].each_record([&](bytes_view record) {
                refs.push_back({outbox_hash(record), i, record});
                return true;
            });
        }
        std::sort(refs.begin(), refs.end(), [](reference const& a, reference const& b) {
            return a.hash != b.hash ? a.hash < b.hash : a.item < b.item;
        });
        for (reference const& r : refs) {
            stored_entry const& e = all[r.item];
            if (auto s = leave(r.record, e.token, e.record_count() > 1); !s) { return s; }
        }
        for (stored_entry& e : all) {
            if (auto s = remove_row(e); !s) { return s; }
        }
        for (stored_entry& e : all) {
            if (auto s = release_dependants(e); !s) { return s; }
        }
        return {};
    }
    /// Makes a living entry a dead letter; the next of its records moves up, what is after it stays held.
    [[nodiscard]] status bury(stored_entry& e, errc reason, bytes_view verdict) {
        if (auto s = uncount(e); !s) { return s; }
        if (auto s = leave_records(e); !s) { return s; }
        if (auto s = unlink_parents(e); !s) { return s; }
        e.header.state = phase::pending;
        e.header.time = {};
        e.header.expires.reset();
        e.header.behind = 0;
        e.dead = true;
        e.reason = reason;
        e.verdict = to_bytes(verdict);
        return write(e);
    }
    /// A dead letter lives again, in its old place on its records.
    [[nodiscard]] status revive(stored_entry& e, wall_time now, std::optional<bytes_view> payload) {
        std::vector<bytes_view> records;
        e.each_record([&](bytes_view r) {
            records.push_back(r);
            return true;
        });
        for (bytes_view const record : records) {
            std::uint32_t const hash = outbox_hash(record);
            auto const at = first_of(record, hash, e.token);
            if (!at) { return at.error(); }
            if (!*at) {
                index_.insert({hash, e.token, false});
                continue;
            }
            std::uint64_t const first = index_[**at].token;
            bool const before = e.token < first;
            index_.set(**at, before ? e.token : first, true);
            if (auto s = tx_.put(followers_key(record).add(before ? first : e.token), {}); !s) { return s; }
            if (!before) {
                ++e.header.behind;
            } else if (auto s = hold(first); !s) {
                return s;
            }
        }
        e.dead = false;
        e.reason = {};
        e.verdict.clear();
        e.header.entered = now;
        e.header.attempts = 0;
        e.header.batch_max = 0;
        outbox_lane_counters& lane = counters.of(outbox_lane(e.token));
        ++lane.entries;
        if (!payload) {
            lane.bytes += e.size();
            return write(e);
        }
        lane.bytes += e.size() - e.payload_size() + payload->size();
        return write_with(e, e.records(), *payload);
    }
    /// What is after a dead letter, or after what is gone, isn't any more.
    [[nodiscard]] status release_dependants(stored_entry& e) {
        if (e.header.dependants == 0) { return {}; }
        std::vector<std::uint64_t> after;
        if (auto s = dependants_of(e.token, after); !s) { return s; }
        for (std::uint64_t const token : after) {
            if (auto s = tx_.erase(key(outbox_space::dependants).add(e.token).add(token)); !s) { return s; }
            stored_entry one;
            auto const found = find_living(token, one);
            if (!found) { return found.error(); }
            auto& parents = one.header.parents;
            auto const at = std::find(parents.begin(), parents.end(), e.token);
            if (!*found || at == parents.end()) { return failure{errc::corrupt, "outbox dependant"}; }
            parents.erase(at);
            if (auto s = write(one); !s) { return s; }
        }
        e.header.dependants = 0;
        return {};
    }
    [[nodiscard]] status dependants_of(std::uint64_t token, std::vector<std::uint64_t>& out) {
        return scan_prefix(tx_, key(outbox_space::dependants).add(token), [&](bytes_view k, bytes_view) {
            out.push_back(token_of(k));
            return out.size() < outbox_dependants_max;
        });
    }
    /// An entry on which a more urgent one depends is served as that one, and by its deadline where that has a patience
    /// of its own, and so is what it waits for itself. At most 64 entries: beyond, urgency is not handed on.
    [[nodiscard]] status raise(std::uint64_t token, priority to, std::optional<wall_time> deadline) {
        std::vector<std::uint64_t> work{token};
        std::size_t raised = 0;
        for (std::size_t next = 0; next < work.size() && raised < raise_max; ++next) {
            stored_entry e;
            auto const found = find_living(work[next], e);
            if (!found) { return found.error(); }
            if (!*found || !hurries(e.header, to, deadline)) { continue; }
            ++raised;
            if (auto s = write(e); !s) { return s; }
            work.insert(work.end(), e.header.parents.begin(), e.header.parents.end());
            if (e.header.behind == 0) { continue; }
            status failed;
            e.each_record([&](bytes_view record) {
                failed = collect_before(record, e.token, work);
                return failed.has_value();
            });
            if (!failed) { return failed; }
        }
        return {};
    }
    /// A living entry, which nobody has claimed, is after another from now on. Errors: `errc::not_found` (the other was
    /// never given), `errc::invalid` (a circle), `errc::limit`.
    [[nodiscard]] status put_after(stored_entry& e, std::uint64_t parent) {
        std::uint64_t const sequence = outbox_sequence(parent);
        if (sequence == 0 || sequence > counters.sequence) { return failure{errc::not_found, "outbox after"}; }
        auto& parents = e.header.parents;
        if (std::find(parents.begin(), parents.end(), parent) != parents.end()) { return {}; }
        stored_entry p;
        auto const found = find(parent, p);
        if (!found) { return found.error(); }
        if (!*found) { return {}; }
        if (parents.size() == outbox_after_max) { return failure{errc::limit, "outbox after"}; }
        if (p.header.dependants >= outbox_dependants_max) { return failure{errc::limit, "outbox dependants"}; }
        auto const circle = waits_for({parent}, {e.token});
        if (!circle) { return circle.error(); }
        if (*circle) { return failure{errc::invalid, "outbox entries after each other"}; }
        auto const holds = link(parent, e.token);
        if (!holds) { return holds.error(); }
        parents.push_back(parent);
        if (auto s = write(e); !s) { return s; }
        return raise(parent, e.header.urgency, e.header.own_deadline());
    }
    /// Whether a dead letter that takes its old place on its records would wait for itself: what was put after others
    /// while it was dead may have closed the circle.
    [[nodiscard]] result<bool> revives_into_circle(stored_entry const& e) {
        std::vector<std::uint64_t> before;
        std::vector<std::uint64_t> targets{e.token};
        status failed;
        e.each_record([&](bytes_view record) {
            failed = each_of(record, [&](std::uint64_t other) {
                (other < e.token ? before : targets).push_back(other);
                return before.size() + targets.size() <= outbox_search_max;
            });
            return failed.has_value();
        });
        if (!failed) { return failed.error(); }
        if (before.empty()) { return false; }
        return waits_for(std::move(before), std::move(targets));
    }

    // Records.

    /// Where the first entry of a record stands in the current bucket, which is that of its hash. What the index says of
    /// one entry is passed over: while that takes its place.
    [[nodiscard]] result<std::optional<std::size_t>> first_of(bytes_view record, std::uint32_t hash,
                                                              std::uint64_t but = 0) {
        if (auto s = index_.turn(tx_, hash); !s) { return s.error(); }
        for (std::size_t i = index_.first(hash); index_.is(i, hash); ++i) {
            if (index_[i].token == but) { continue; }
            auto const same = leads(index_[i].token, record, hash);
            if (!same) { return same.error(); }
            if (*same) { return std::optional<std::size_t>{i}; }
        }
        return std::optional<std::size_t>{};
    }
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
    [[nodiscard]] result<std::uint64_t> follower_of(bytes_view record, std::uint64_t token) {
        std::uint64_t next = 0;
        auto const row = [&](bytes_view k, bytes_view) {
            next = token_of(k);
            return false;
        };
        bytes const end = prefix_end(followers_key(record));
        auto const from = followers_key(record).add(token).add(std::uint8_t{0});
        if (auto s = tx_.scan({from, end}, row); !s) { return s.error(); }
        return next;
    }

    // Entering.

    /// Takes several in, all or none; the token of the first.
    [[nodiscard]] result<std::uint64_t> admit(std::span<outbox_item const> items, wall_time now) {
        outbox_counters more;  // what comes in, by lane
        std::uint64_t size = 0;
        bool edges = false;
        for (outbox_item const& item : items) {
            if (!well_formed(item, items.size())) { return failure{errc::invalid, "outbox item"}; }
            if (item.payload.size() > (std::numeric_limits<std::uint32_t>::max)()) {
                return failure{errc::limit, "outbox payload"};
            }
            std::uint64_t own = item.record.size() + item.payload.size();
            for (bytes_view const r : item.more_records) { own += r.size(); }
            outbox_lane_counters& lane = more.of(item.lane);
            ++lane.entries;
            lane.bytes += own;
            size += own;
            edges = edges || !item.after_items.empty();
        }
        std::uint64_t const first = counters.sequence + 1;
        auto const token_at = [&](std::size_t i) { return outbox_token(first + i, items[i].lane, items[i].urgency); };

        // By hash, so that a bucket is loaded once; within a record in order of entry.
        std::vector<reference> refs;
        refs.reserve(items.size());
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (!items[i].record.empty()) { refs.push_back({outbox_hash(items[i].record), i, items[i].record}); }
            for (bytes_view const r : items[i].more_records) { refs.push_back({outbox_hash(r), i, r}); }
        }
        std::sort(refs.begin(), refs.end(), [](reference const& a, reference const& b) {
            return a.hash != b.hash ? a.hash < b.hash : a.item < b.item;
        });
        for (std::size_t i = 0; i + 1 < refs.size(); ++i) {
            for (std::size_t j = i + 1; j < refs.size() && refs[j].hash == refs[i].hash && refs[j].item == refs[i].item;
                 ++j) {
                if (equal(refs[i].record, refs[j].record)) { return failure{errc::invalid, "outbox record twice"}; }
            }
        }
        if (!room(options_.entries_max, counters.entries(), items.size())) {
            return failure{errc::limit, "outbox entries"};
        }
        if (!room(options_.bytes_max, counters.bytes(), size)) { return failure{errc::limit, "outbox bytes"}; }
        for (outbox_lane_counters const& lane : more.lanes) {
            if (auto s = lane_fits(lane.lane, lane.entries, lane.bytes); !s) { return s.error(); }
        }
        if (edges && cyclic(items, refs)) { return failure{errc::invalid, "outbox entries after each other"}; }
        std::vector<std::vector<std::size_t>> after(edges ? items.size() : 0);
        for (std::size_t i = 0; edges && i < items.size(); ++i) {
            for (std::size_t const p : items[i].after_items) {
                after[p].push_back(i);
                if (after[p].size() > outbox_dependants_max) { return failure{errc::limit, "outbox dependants"}; }
            }
        }
        if (auto s = check_parents(items); !s) { return s.error(); }

        std::vector<std::uint8_t> behind(items.size());
        for (reference const& r : refs) {
            if (auto s = index_.turn(tx_, r.hash); !s) { return s.error(); }
            bool any = false;
            std::size_t at = index_.first(r.hash);
            for (; !any && index_.is(at, r.hash); at += any ? 0 : 1) {
                std::uint64_t const token = index_[at].token;
                if (outbox_sequence(token) < first) {
                    auto const same = leads(token, r.record, r.hash);
                    if (!same) { return same.error(); }
                    any = *same;
                    continue;
                }
                std::uint64_t const item = outbox_sequence(token) - first;
                if (item >= items.size()) { return failure{errc::corrupt, "outbox index"}; }
                if (item == r.item || !item_has(items[item], r.record)) { continue; }
                auto const stands = stands_behind(r.record, token);
                if (!stands) { return stands.error(); }
                any = !*stands;
            }
            if (!any) {
                index_.insert({r.hash, token_at(r.item), false});
                continue;
            }
            index_.set(at, index_[at].token, true);
            ++behind[r.item];
            if (auto s = tx_.put(followers_key(r.record).add(token_at(r.item)), {}); !s) { return s.error(); }
        }
        bytes records;
        for (std::size_t i = 0; i < items.size(); ++i) {
            outbox_item const& item = items[i];
            stored_entry e;
            e.token = token_at(i);
            e.header.urgency = item.urgency;
            e.header.entered = now;
            e.header.behind = behind[i];
            if (item.patience) {
                e.header.patience = (std::clamp)(*item.patience, milliseconds::zero(), options_.wait_max);
            }
            if (item.time_to_live) {
                e.header.expires = outbox_later(now, (std::max)(*item.time_to_live, milliseconds::zero()));
            }
            for (std::uint64_t const p : item.after) {
                auto const holds = link(p, e.token);
                if (!holds) { return holds.error(); }
                if (*holds) { e.header.parents.push_back(p); }
            }
            for (std::size_t const p : item.after_items) { e.header.parents.push_back(token_at(p)); }
            for (std::size_t n = 0; edges && n < after[i].size(); ++n) {
                std::size_t const j = after[i][n];
                ++e.header.dependants;
                if (auto s = tx_.put(key(outbox_space::dependants).add(e.token).add(token_at(j)), {}); !s) {
                    return s.error();
                }
            }
            encode_records(records, item.record, item.more_records);
            if (auto s = write_with(e, records, item.payload); !s) { return s.error(); }
        }
        counters.sequence += items.size();
        for (outbox_lane_counters const& lane : more.lanes) {
            outbox_lane_counters& l = counters.of(lane.lane);
            l.entries += lane.entries;
            l.bytes += lane.bytes;
        }
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (items[i].after.empty() && items[i].after_items.empty()) { continue; }
            std::optional<wall_time> deadline;
            if (items[i].patience && items[i].urgency != priority::critical) {
                deadline = outbox_later(now, (std::clamp)(*items[i].patience, milliseconds::zero(), options_.wait_max));
            }
            for (std::uint64_t const p : items[i].after) {
                if (auto s = raise(p, items[i].urgency, deadline); !s) { return s.error(); }
            }
            for (std::size_t const p : items[i].after_items) {
                if (auto s = raise(token_at(p), items[i].urgency, deadline); !s) { return s.error(); }
            }
        }
        return items.empty() ? std::uint64_t{0} : token_at(0);
    }

    // Time.

    /// Ends at most `promotions_max` waits that are over, or all of them whatever their time; how many.
    [[nodiscard]] result<std::size_t> end_waits(wall_time now, bool all = false) {
        if (counters.waits == 0) { return std::size_t{0}; }
        std::vector<std::uint64_t> due;
        auto const found = collect_due(outbox_space::waits, now, all, [&](bytes_view k, bytes_view) {
            due.push_back(token_of(k));
            return due.size() < options_.promotions_max;
        });
        if (!found) { return found.error(); }
        for (std::uint64_t const token : due) {
            stored_entry e;
            auto const there = find_aside(token, e);
            if (!there) { return there.error(); }
            if (!*there || !e.rows.wait) { return failure{errc::corrupt, "outbox wait without its entry"}; }
            e.header.state = phase::pending;
            e.header.time = {};
            if (auto s = write(e); !s) { return s.error(); }
        }
        return due.size();
    }
    [[nodiscard]] status end_leases(wall_time now) {
        if (counters.leased == 0) { return {}; }
        // What a life that has ended let go may have been claimed: the scan has to see it where it is now.
        if (auto s = leases_.flush(tx_); !s) { return s; }
        struct due_row {
            bytes elements;
            std::uint64_t fence;
        };
        std::vector<due_row> due;
        std::size_t named = 0;
        bool damaged = false;
        auto const found = collect_due(outbox_space::leases, now, false, [&](bytes_view k, bytes_view elements) {
            damaged = damaged || elements.empty() || elements.size() % 8 != 0;
            due.push_back({to_bytes(elements), token_of(k)});
            named += elements.size() / 8;
            return !damaged && named < options_.promotions_max;
        });
        if (!found) { return found; }
        if (damaged) { return failure{errc::corrupt, "outbox lease"}; }
        std::size_t ended = 0;
        std::vector<stored_entry> row;
        for (due_row const& r : due) {
            row.clear();
            for (bytes_view rest{r.elements}; !rest.empty(); rest = rest.subspan(8)) {
                if (auto s = leased_as(read_u64(rest), row); !s) { return s; }
            }
            std::sort(row.begin(), row.end(),
                      [](stored_entry const& a, stored_entry const& b) { return a.token < b.token; });
            for (stored_entry& e : row) {
                if (ended == options_.promotions_max) { return {}; }
                ++ended;
                if (e.header.fence != r.fence) { return failure{errc::corrupt, "outbox lease"}; }
                if (auto s = put_back(e, phase::pending, {}); !s) { return s; }
            }
        }
        return {};
    }
    /// Entries whose time to live is over become dead letters.
    [[nodiscard]] status end_lives(wall_time now) {
        if (counters.lives == 0) { return {}; }
        std::vector<std::uint64_t> due;
        bytes const end = outbox_to_bytes(key(outbox_space::lives), outbox_time_bits(now));
        auto const row = [&](bytes_view k, bytes_view) {
            due.push_back(token_of(k));
            return due.size() < options_.promotions_max;
        };
        if (auto s = tx_.scan({key(outbox_space::lives), end}, row); !s) { return s; }
        for (std::uint64_t const token : due) {
            stored_entry e;
            auto const there = find_living(token, e);
            if (!there) { return there.error(); }
            if (!*there || !e.rows.life) { return failure{errc::corrupt, "outbox life without its entry"}; }
            if (auto s = bury(e, errc::cancelled, as_bytes("expired")); !s) { return s; }
        }
        return {};
    }
    /// A claimed entry goes back, with an attempt more.
    [[nodiscard]] status put_back(stored_entry& e, phase state, wall_time not_before) {
        if (e.header.attempts != (std::numeric_limits<std::uint32_t>::max)()) { ++e.header.attempts; }
        e.header.state = state;
        e.header.time = not_before;
        return write(e);
    }
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
    static constexpr std::size_t claims_a_fence = 64;  ///< so many moved entries are one row of leases

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
            case place::taken: return ready_key(token, r.queue, r.deadline);
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
    [[nodiscard]] status erase_rows(stored_entry const& e, outbox_rows const& due) {
        outbox_rows const& old = e.rows;
        bool const moves =
            old.at != due.at || (old.at == place::ready && (old.queue != due.queue || old.deadline != due.deadline));
        if (old.at != place::none && moves) {
            if (auto s = tx_.erase(place_key(e.token, old)); !s) { return s; }
        }
        if (old.at == place::taken) {
            if (auto s = leave_run(e); !s) { return s; }
        }
        if (old.deadline && !due.deadline) {
            if (auto s = tx_.erase(key(outbox_space::own).add(e.token)); !s) { return s; }
        }
        if (old.wait && old.wait != due.wait) {
            if (auto s = count_down(counters.waits); !s) { return s; }
            if (auto s = tx_.erase(timed_key(outbox_space::waits, *old.wait, e.token)); !s) { return s; }
        }
        if (old.life && old.life != due.life) {
            if (auto s = erase_life(e); !s) { return s; }
        }
        if (old.lease && !same_lease(old, due)) {
            if (auto s = count_down(counters.leased); !s) { return s; }
            return leases_.drop(tx_, *old.lease, old.fence, e.token);
        }
        return {};
    }
    [[nodiscard]] status erase_life(stored_entry const& e) {
        if (auto s = count_down(counters.lives); !s) { return s; }
        return tx_.erase(timed_key(outbox_space::lives, *e.rows.life, e.token));
    }
    [[nodiscard]] status end_life(stored_entry& e) {
        if (!e.rows.life) { return {}; }
        if (auto s = erase_life(e); !s) { return s; }
        e.rows.life.reset();
        return {};
    }
    /// An entry that was taken leaves its run, and the last one ends it.
    [[nodiscard]] status leave_run(stored_entry const& e) {
        auto const run = runs_.find(tx_, outbox_lane(e.token), static_cast<priority>(e.rows.queue), e.token);
        if (!run) { return run.error(); }
        if (!runs_.leave()) { return {}; }
        outbox_run const r = runs_.current();
        if (r.end == (wall_time::max)()) { return {}; }
        if (auto s = count_down(counters.leased); !s) { return s; }
        return leases_.drop(tx_, r.end, r.fence, outbox_leases::run_element(r.last, r.served_as));
    }
    [[nodiscard]] result<bool> read(bytes_view k, std::uint64_t token, stored_entry& e, bool letter) {
        e.token = token;
        auto const found = tx_.get(k, e.value);
        if (!found || !*found) { return found; }
        if (auto s = decode_entry(e, e.value, letter); !s) { return s.error(); }
        return true;
    }
    [[nodiscard]] result<bool> find_ready(std::uint64_t token, outbox_queue kind, unsigned served_as, stored_entry& e,
                                          std::optional<wall_time> deadline = {}) {
        std::uint8_t const queue = outbox_queue_byte(kind, static_cast<priority>(served_as));
        auto const found = read(ready_key(token, queue, deadline), token, e, false);
        if (!found || !*found) { return found; }
        if (auto s = stands_in(e, queue, deadline); !s) { return s.error(); }
        return true;
    }
    [[nodiscard]] result<bool> find_own(std::uint64_t token, stored_entry& e) {
        auto const found = tx_.get(key(outbox_space::own).add(token), scratch_);
        if (!found || !*found) { return found; }
        constexpr failure bad{errc::corrupt, "outbox deadline"};
        if (scratch_.size() != 9) { return bad; }
        unsigned const served_as = std::to_integer<unsigned>(scratch_[8]) - static_cast<unsigned>(outbox_queue::own);
        if (served_as > static_cast<unsigned>(priority::background)) { return bad; }
        auto const there = find_ready(token, outbox_queue::own, served_as, e, outbox_time(read_u64(scratch_)));
        return there && !*there ? result<bool>{bad} : there;
    }
    /// An entry as decoded stands in a queue: checks that it may, and says who has taken it if it has been.
    [[nodiscard]] status stands_in(stored_entry& e, std::uint8_t queue, std::optional<wall_time> deadline) {
        constexpr failure bad{errc::corrupt, "outbox entry in a wrong place"};
        std::uint64_t const mark = mark_of(e);
        e.rows = e.rows_due(mark);
        bool const fresh = queue < static_cast<std::uint8_t>(outbox_queue::own);
        if (e.rows.at != place::ready || e.rows.deadline != deadline) { return bad; }
        if (fresh && e.token < mark) {  // the row was written as ready; what has become of it since, its run says
            e.rows.queue = outbox_queue_byte(outbox_queue::fresh, e.header.urgency);
            if (e.rows.queue != queue) { return bad; }
            auto const run = runs_.find(tx_, outbox_lane(e.token), e.header.urgency, e.token);
            if (!run) { return run.error(); }
            e.header.state = phase::claimed;
            e.header.fence = (*run)->fence;
            e.header.time = (*run)->end;
            e.header.expires.reset();
            e.rows.at = place::taken;
            e.rows.life.reset();
            return {};
        }
        return e.rows.queue == queue ? status{} : status{bad};
    }
    /// Claimed entries of one lane and class, as far as they stand in its queue; all others one by one.
    [[nodiscard]] status find_taken(std::span<std::pair<std::uint64_t, std::uint64_t> const> claims,
                                    std::vector<stored_entry>& out) {
        std::vector<bool> done(claims.size());
        if (claims.size() > 3) {
            std::uint8_t const queue = outbox_queue_byte(outbox_queue::fresh, outbox_class(claims[0].first));
            std::size_t next = 0;
            std::size_t room = 2 * claims.size() + 16;  // rows that may be read in vain
            status damaged;
            auto const row = [&](bytes_view k, bytes_view value) {
                std::uint64_t const token = token_of(k);
                while (next != claims.size() && claims[next].first < token) { ++next; }
                if (next == claims.size()) { return false; }
                if (claims[next].first != token) { return --room != 0; }
                stored_entry e;
                damaged = read_queued(k, value, e, 0);
                if (!damaged) { return false; }
                bool const claimed = e.header.state == phase::claimed;
                bool any = false;
                for (; next != claims.size() && claims[next].first == token; ++next) {
                    done[next] = true;
                    any = any || (claimed && e.header.fence == claims[next].second);
                }
                if (any) { out.push_back(std::move(e)); }
                return true;
            };
            auto const to = ready_key(claims.back().first, queue).add(std::uint8_t{0});
            if (auto s = tx_.scan({ready_key(claims.front().first, queue), to}, row); !s) { return s; }
            if (!damaged) { return damaged; }
        }
        for (std::size_t i = 0; i < claims.size(); ++i) {
            if (done[i]) { continue; }
            bool const again = i != 0 && claims[i] == claims[i - 1];  // the same claim may be named twice
            stored_entry e;
            if (again) { continue; }
            auto const s = find_claimed(claims[i].first, claims[i].second, e);
            if (!s && s.error() == errc::claim_lost) { continue; }
            if (!s) { return s; }
            out.push_back(std::move(e));
        }
        return {};
    }
    /// The entries that an element of a row of leases stands for.
    [[nodiscard]] status leased_as(std::uint64_t element, std::vector<stored_entry>& out) {
        constexpr failure bad{errc::corrupt, "outbox lease without its entry"};
        std::uint64_t const token = outbox_leases::token_of(element);
        if (token == element) {
            stored_entry e;
            auto const there = find_aside(token, e);
            if (!there) { return there.error(); }
            if (!*there || !e.rows.lease) { return bad; }
            out.push_back(std::move(e));
            return {};
        }
        priority const served_as = outbox_leases::class_of(element);
        auto const run = runs_.find(tx_, outbox_lane(token), served_as, token);
        if (!run) { return run.error(); }
        std::uint8_t const queue = outbox_queue_byte(outbox_queue::fresh, served_as);
        status damaged;
        std::size_t const before = out.size();
        auto const row = [&](bytes_view k, bytes_view value) {
            out.emplace_back();
            damaged = read_queued(k, value, out.back());
            return damaged.has_value();
        };
        auto const to = ready_key(token, queue).add(std::uint8_t{0});
        if (auto s = tx_.scan({ready_key((*run)->first, queue), to}, row); !s) { return s; }
        if (!damaged) { return damaged; }
        return out.size() == before ? status{bad} : status{};
    }
    /// Serves an entry as urgently as that; false when it is so already.
    [[nodiscard]] bool hurries(outbox_header& h, priority to, std::optional<wall_time> deadline) const {
        bool const more = h.urgency > to;
        if (more) { h.urgency = to; }
        if (!deadline || h.urgency == priority::critical) { return more; }
        milliseconds const had = h.patience.value_or(outbox_patience(options_, h.urgency));
        if (outbox_later(h.entered, had) <= *deadline) { return more; }
        milliseconds const left = *deadline <= h.entered ? milliseconds::zero() : *deadline - h.entered;
        if (h.patience == (std::min)(left, options_.wait_max)) { return more; }
        h.patience = (std::min)(left, options_.wait_max);
        return true;
    }
    [[nodiscard]] status remove_row(stored_entry const& e) {
        if (auto s = uncount(e); !s) { return s; }
        if (auto s = erase_rows(e, {}); !s) { return s; }
        return e.header.apart ? tx_.erase(key(outbox_space::payload).add(e.token)) : status{};
    }
    [[nodiscard]] status uncount(stored_entry const& e) {
        outbox_lane_counters* const l = counters.find(outbox_lane(e.token));
        if (l == nullptr || l->entries == 0 || l->bytes < e.size()) {
            return failure{errc::corrupt, "outbox counters"};
        }
        --l->entries;
        l->bytes -= e.size();
        return {};
    }
    /// Whether a living entry that the index names is the first of a record.
    [[nodiscard]] result<bool> leads(std::uint64_t token, bytes_view record, std::uint32_t hash) {
        auto const found = find_living(token, probe_);
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::corrupt, "outbox index without its entry"}; }
        bool has = false;
        std::size_t alike = 0;
        probe_.each_record([&](bytes_view r) {
            bool const same = equal(r, record);
            has = has || same;
            alike += same || (probe_.record_count() > 1 && outbox_hash(r) == hash) ? 1 : 0;
            return true;
        });
        if (!has || alike < 2) { return has; }
        // Of two records with one hash it may be the first of the other.
        auto const stands = stands_behind(record, token);
        return stands ? result<bool>{!*stands} : stands;
    }
    [[nodiscard]] result<bool> stands_behind(bytes_view record, std::uint64_t token) {
        return tx_.get(followers_key(record).add(token), scratch_);
    }
    [[nodiscard]] static bool item_has(outbox_item const& item, bytes_view record) noexcept {
        return equal(item.record, record) || std::any_of(item.more_records.begin(), item.more_records.end(),
                                                         [&](bytes_view r) { return equal(r, record); });
    }
    [[nodiscard]] status leave_records(stored_entry const& e) {
        status failed;
        bool const several = e.record_count() > 1;
        e.each_record([&](bytes_view record) {
            failed = leave(record, e.token, several);
            return failed.has_value();
        });
        return failed;
    }
    [[nodiscard]] status leave(bytes_view record, std::uint64_t token, bool several) {
        std::uint32_t const hash = outbox_hash(record);
        if (auto s = index_.turn(tx_, hash); !s) { return s; }
        std::size_t at = index_.first(hash);
        while (index_.is(at, hash) && index_[at].token != token) { ++at; }
        bool behind = !index_.is(at, hash);
        if (!behind && several) {  // the element may be that of another record of its with the same hash
            auto const stands = stands_behind(record, token);
            if (!stands) { return stands.error(); }
            behind = *stands;
        }
        if (behind) { return tx_.erase(followers_key(record).add(token)); }
        std::uint64_t next = 0;
        if (index_[at].many || several) {
            auto const found = follower_of(record, 0);
            if (!found) { return found.error(); }
            next = *found;
        }
        if (next == 0) {
            // Two records of one entry may have one hash; which element is whose is all one, but for the mark.
            bool const many = index_[at].many;
            index_.erase(at);
            if (many && index_.is(at, hash) && index_[at].token == token) { index_.set(at, token, true); }
            return {};
        }
        index_.set(at, next, true);
        if (auto s = tx_.erase(followers_key(record).add(next)); !s) { return s; }
        stored_entry e;
        auto const found = find_living(next, e);
        if (!found) { return found.error(); }
        if (!*found || e.header.behind == 0) { return failure{errc::corrupt, "outbox record"}; }
        --e.header.behind;
        return write(e);
    }
    /// A record's first entry stands behind another from now on.
    [[nodiscard]] status hold(std::uint64_t token) {
        stored_entry e;
        auto const found = find_living(token, e);
        if (!found) { return found.error(); }
        if (!*found || e.header.behind == outbox_records_max) { return failure{errc::corrupt, "outbox record"}; }
        ++e.header.behind;
        return write(e);
    }
    [[nodiscard]] status collect_before(bytes_view record, std::uint64_t token, std::vector<std::uint64_t>& out) {
        std::size_t room = raise_max;
        return each_of(record, [&](std::uint64_t other) {
            if (other < token) { out.push_back(other); }
            return other < token && --room != 0;
        });
    }
    /// Notes with a parent that `child` is after it; false when it is done already.
    [[nodiscard]] result<bool> link(std::uint64_t parent, std::uint64_t child) {
        stored_entry e;
        auto const found = find(parent, e);
        if (!found || !*found) { return found; }
        ++e.header.dependants;
        if (auto s = write(e); !s) { return s.error(); }
        if (auto s = tx_.put(key(outbox_space::dependants).add(parent).add(child), {}); !s) { return s.error(); }
        return true;
    }
    [[nodiscard]] status unlink_parents(stored_entry& e) {
        for (std::uint64_t const parent : std::exchange(e.header.parents, {})) {
            stored_entry p;
            auto const found = find(parent, p);
            if (!found) { return found.error(); }
            if (!*found || p.header.dependants == 0) { return failure{errc::corrupt, "outbox dependant"}; }
            --p.header.dependants;
            if (auto s = write(p); !s) { return s; }
            if (auto s = tx_.erase(key(outbox_space::dependants).add(parent).add(e.token)); !s) { return s; }
        }
        return {};
    }

    [[nodiscard]] static bool well_formed(outbox_item const& item, std::size_t count) {
        if (item.urgency > priority::background || item.record.size() > outbox_record_bytes_max) { return false; }
        if (item.after.size() + item.after_items.size() > outbox_after_max) { return false; }
        if (item.more_records.size() >= outbox_records_max || (item.record.empty() && !item.more_records.empty())) {
            return false;
        }
        for (bytes_view const r : item.more_records) {
            if (r.empty() || r.size() > outbox_record_bytes_max) { return false; }
        }
        if (item.patience && item.patience->count() < 0) { return false; }
        return std::all_of(item.after_items.begin(), item.after_items.end(),
                           [&](std::size_t i) { return i < count; }) &&
               !repeats(item.after) && !repeats(item.after_items);
    }
    template <class T>
    [[nodiscard]] static bool repeats(std::span<T const> all) {
        if (all.size() < 2) { return false; }
        std::vector<T> sorted(all.begin(), all.end());
        std::sort(sorted.begin(), sorted.end());
        return std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
    }
    /// What items are after has to have been given once, and to bear one dependant more.
    [[nodiscard]] status check_parents(std::span<outbox_item const> items) {
        std::vector<std::uint64_t> named;
        for (outbox_item const& item : items) { named.insert(named.end(), item.after.begin(), item.after.end()); }
        std::sort(named.begin(), named.end());
        for (std::size_t i = 0; i < named.size();) {
            std::size_t const from = i;
            while (i < named.size() && named[i] == named[from]) { ++i; }
            std::uint64_t const sequence = outbox_sequence(named[from]);
            if (sequence == 0 || sequence > counters.sequence) { return failure{errc::not_found, "outbox after"}; }
            stored_entry e;
            auto const found = find(named[from], e);
            if (!found) { return found.error(); }
            if (*found && e.header.dependants + (i - from) > outbox_dependants_max) {
                return failure{errc::limit, "outbox dependants"};
            }
        }
        return {};
    }
    /// Whether items wait for each other in a circle, through what they name or through their records. What is in
    /// the outbox already waits for none of them.
    [[nodiscard]] static bool cyclic(std::span<outbox_item const> items, std::span<reference const> refs) {
        std::vector<std::vector<std::size_t>> next(items.size());
        std::vector<std::size_t> holds(items.size());
        auto const edge = [&](std::size_t before, std::size_t after) {
            next[before].push_back(after);
            ++holds[after];
        };
        for (std::size_t i = 0; i < items.size(); ++i) {
            for (std::size_t const p : items[i].after_items) { edge(p, i); }
        }
        for (std::size_t i = 0; i < refs.size(); ++i) {
            for (std::size_t j = i; j != 0 && refs[j - 1].hash == refs[i].hash; --j) {
                if (!equal(refs[j - 1].record, refs[i].record)) { continue; }
                edge(refs[j - 1].item, refs[i].item);
                break;
            }
        }
        std::vector<std::size_t> free;
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (holds[i] == 0) { free.push_back(i); }
        }
        for (std::size_t at = 0; at < free.size(); ++at) {
            for (std::size_t const i : next[free[at]]) {
                if (--holds[i] == 0) { free.push_back(i); }
            }
        }
        return free.size() != items.size();
    }

    /// Whether any of the entries, or what they wait for, is one of the targets, or waits for one.
    [[nodiscard]] result<bool> waits_for(std::vector<std::uint64_t> work, std::vector<std::uint64_t> targets) {
        std::sort(targets.begin(), targets.end());
        std::vector<std::uint64_t> seen;                       // sorted
        std::vector<std::pair<bytes, std::uint64_t>> records;  // all before the token is looked at already
        while (!work.empty()) {
            std::uint64_t const token = work.back();
            work.pop_back();
            if (std::binary_search(targets.begin(), targets.end(), token)) { return true; }
            auto const at = std::lower_bound(seen.begin(), seen.end(), token);
            if (at != seen.end() && *at == token) { continue; }
            if (seen.size() == outbox_search_max) { return failure{errc::limit, "outbox entries after each other"}; }
            seen.insert(at, token);
            stored_entry e;
            auto const found = find_living(token, e);
            if (!found) { return found.error(); }
            if (!*found) { continue; }  // dead: it waits for nothing
            work.insert(work.end(), e.header.parents.begin(), e.header.parents.end());
            if (e.header.behind == 0) { continue; }
            status failed;
            e.each_record([&](bytes_view record) {
                auto known =
                    std::find_if(records.begin(), records.end(), [&](auto const& r) { return equal(r.first, record); });
                if (known == records.end()) { known = records.insert(known, {to_bytes(record), 0}); }
                if (known->second >= token) { return true; }
                std::uint64_t const from = std::exchange(known->second, token);
                failed = each_of(record, [&](std::uint64_t other) {
                    if (other >= from && other < token) { work.push_back(other); }
                    return other < token && work.size() <= outbox_search_max;
                });
                return failed.has_value();
            });
            if (!failed) { return failed.error(); }
            if (work.size() > outbox_search_max) { return failure{errc::limit, "outbox entries after each other"}; }
        }
        return false;
    }

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
    bytes scratch_{};
};

}  // namespace detail
}  // namespace syncline::inline SYNCLINE_ABI
