// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A durable priority queue of what has to be sent: order per record, dependencies, leases with fences, dead letters.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/outbox/changing.hpp>
#include <syncline/outbox/ending.hpp>
#include <syncline/outbox/entering.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/outbox/finding.hpp>
#include <syncline/outbox/layout.hpp>
#include <syncline/outbox/moves.hpp>
#include <syncline/outbox/order.hpp>
#include <syncline/outbox/record_index.hpp>
#include <syncline/outbox/selection.hpp>
#include <syncline/outbox/writing.hpp>
#include <syncline/retry/backoff.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The prefix of an outbox that is one principal's alone: nobody else's session sees its entries, and they are there
/// when the principal comes back. Different for different principals, and none begins with another.
/// Precondition: `base` and `principal` together have at most 62 bytes.
[[nodiscard]] inline std::string outbox_prefix(std::string_view base, std::string_view principal) {
    SYNCLINE_ASSERT(base.size() + principal.size() <= 62);
    std::string out(base);
    out.push_back('@');
    out.push_back(static_cast<char>(principal.size()));
    out.append(principal);
    return out;
}

/// A durable priority outbox over any storage.
///
/// Holds options and nothing else: every call reads and writes the transaction that it is given, so the caller's
/// own rows and the outbox commit or roll back together, and any number of objects and processes may work on one
/// store. All keys begin with the prefix. Nothing leaves but by `ack`, `withdraw` or `discard`.
///
/// Order: critical entries first, by age; the rest by deadline = time of entry + patience of the class; within a class
/// in order of entry. Entries of one record are given in order of entry, whatever their classes, and an entry that is
/// after others only when those are gone: else it is blocked.
///
/// Errors: those of the storage; after one of them in a call that writes, roll the transaction back. `errc::corrupt`
/// for a damaged value: roll back as well. Every other error leaves the outbox as it was.
/// Cost: docs/outbox.md has each call's storage operations; memory in proportion to what is returned. A call that is given
/// an observer as its last argument tells it what it did; of what waits in all, at the price of one more get.
class outbox {
public:
    /// Precondition: valid(options); the prefix has 1 to 64 bytes and is neither another component's, nor the
    /// beginning of one, nor begins with one.
    explicit outbox(outbox_options options = {}, std::string_view prefix = "o", std::vector<lane_limit> lanes = {})
        : options_(options), lanes_(std::move(lanes)), prefix_(prefix) {
        SYNCLINE_ASSERT(valid(options));
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }

    [[nodiscard]] outbox_options const& options() const noexcept { return options_; }

    // Putting in.

    /// Takes an entry in; its token, greater than all before.
    /// Errors: `errc::limit` (entries_max, bytes_max, dependants), `errc::invalid` (the item's own limits),
    /// `errc::not_found` (after a token that was never given).
    template <storage_transaction Tx, observer O = no_observer>
    [[nodiscard]] result<std::uint64_t> enqueue(Tx& tx, outbox_item const& item, wall_time now, O&& told = {}) const {
        return enqueue_all(tx, std::span<outbox_item const>{&item, 1}, now, told);
    }
    /// Takes several in, all or none; the token of the first, 0 when there are none. `token_after` says the others'.
    /// Errors: as `enqueue`; `errc::invalid` when they wait for each other in a circle.
    template <storage_transaction Tx, observer O = no_observer>
    [[nodiscard]] result<std::uint64_t> enqueue_all(Tx& tx, std::span<outbox_item const> items, wall_time now,
                                                    O&& told = {}) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s.error(); }
        auto const first = m.admit(items, now);
        if (!first) { return first; }
        if (auto s = m.close(); !s) { return s.error(); }
        tell_load(tx, told);
        return first;
    }
    /// The token of the n-th item of an `enqueue_all` whose first token is known.
    [[nodiscard]] static std::uint64_t token_after(std::uint64_t first, std::size_t n,
                                                   outbox_item const& item) noexcept {
        return detail::outbox_token(detail::outbox_sequence(first) + n, item.lane, item.urgency);
    }

    /// Replaces the payload of an entry that was never claimed; its place stays.
    /// Errors: `errc::not_found` (no living entry), `errc::claim_lost` (claimed at least once), `errc::limit`.
    template <storage_transaction Tx, observer O = no_observer>
    [[nodiscard]] status amend(Tx& tx, std::uint64_t token, bytes_view payload, O&& told = {}) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        detail::stored_entry e;
        if (auto s = m.open(); !s) { return s; }
        if (auto s = m.find_fresh(token, e); !s) { return s; }
        if (payload.size() > (std::numeric_limits<std::uint32_t>::max)()) { return failure{errc::limit, "payload"}; }
        if (payload.size() > e.payload_size()) {
            if (auto s = m.fits(detail::outbox_lane(token), 0, payload.size() - e.payload_size()); !s) { return s; }
        }
        std::uint64_t const before = e.payload_size();
        if (auto s = m.exchange(e, payload); !s) { return s; }
        if (auto s = m.close(); !s) { return s; }
        told.counted(metric_counter::saved_by_coalescing, before);
        return {};
    }
    /// Removes an entry that was never claimed; what stood behind it, or was after it, moves up. Errors: as `amend`.
    template <storage_transaction Tx>
    [[nodiscard]] status withdraw(Tx& tx, std::uint64_t token) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        detail::stored_entry e;
        if (auto s = m.open(); !s) { return s; }
        if (auto s = m.find_fresh(token, e); !s) { return s; }
        return remove(m, e);
    }

    /// Puts an entry that nobody has claimed after another, which has to be done first: gone, not dead. What is gone
    /// already holds nothing. Urgency is handed on as at the entrance.
    /// Errors: `errc::not_found` (no living entry, or after a token that was never given), `errc::claim_lost` (it is being
    /// sent), `errc::invalid` (a circle, also through records), `errc::limit` (as `enqueue`; or more than
    /// `outbox_search_max` entries to look at for a circle). Cost: a get for each entry that the other waits for.
    template <storage_transaction Tx>
    [[nodiscard]] status put_after(Tx& tx, std::uint64_t token, std::uint64_t other) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s; }
        detail::stored_entry e;
        auto const found = m.find_living(token, e);
        if (!found) { return found.error(); }
        if (!*found) { return errc::not_found; }
        if (e.header.state == moves<Tx>::phase::claimed) { return errc::claim_lost; }
        if (auto s = m.put_after(e, other); !s) { return s; }
        return m.close();
    }

    // Taking out.

    /// Takes the most urgent entries that may go now, each with a fresh fence. Waits, leases and lives that are over are
    /// ended first, at most `promotions_max` of each: while more are due, `next_due` says now.
    /// A batch that lingers is empty until it is full or has waited.
    template <storage_transaction Tx, observer O = no_observer>
    [[nodiscard]] result<std::vector<outbox_entry>> claim(Tx& tx, claim_options const& what, wall_time now,
                                                          O&& told = {}) const {
        std::vector<outbox_entry> out;
        if (what.entries_max == 0) { return out; }
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s.error(); }
        if (auto s = m.end_lives(now); !s) { return s.error(); }
        if (auto s = m.end_leases(now); !s) { return s.error(); }
        if (auto s = m.end_waits(now); !s) { return s.error(); }
        detail::outbox_selection<Tx> selection{tx, m, options_, what, now};
        if (auto s = selection.run(); !s) { return s.error(); }
        if (auto s = m.claim(selection.taken, end_of_lease(what.lease, now)); !s) { return s.error(); }
        out.resize(selection.taken.size());
        for (std::size_t i = 0; i < out.size(); ++i) {
            if (auto s = m.give(selection.taken[i], out[i]); !s) { return s.error(); }
        }
        if (auto s = m.close(); !s) { return s.error(); }
        if constexpr (listens<O>) {
            auto const again = std::count_if(out.begin(), out.end(), [](auto const& e) { return e.attempts != 0; });
            told.counted(metric_counter::entries_sent, out.size());
            told.counted(metric_counter::retries, static_cast<std::uint64_t>(again));
        }
        return out;
    }
    /// Takes one more entry that stands behind claimed ones only on its records, as if it had gone in their claim: the
    /// claimant must not let it take effect when an earlier one did not. Its fence; nothing when it is not free for that.
    /// Errors: `errc::not_found` (no living entry). Cost: a get and a scan of each record.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<outbox_entry>> claim_behind(Tx& tx, std::uint64_t token, wall_time now,
                                                                   std::optional<milliseconds> lease = {}) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s.error(); }
        std::vector<detail::stored_entry> taken(1);
        detail::stored_entry& e = taken.front();
        auto const found = m.find_living(token, e);
        if (!found) { return found.error(); }
        if (!*found) { return errc::not_found; }
        detail::outbox_header const& h = e.header;
        bool const due =
            h.state == moves<Tx>::phase::pending || (h.state == moves<Tx>::phase::waiting && h.time <= now);
        if (h.behind == 0 || !h.parents.empty() || !due) { return std::optional<outbox_entry>{}; }
        std::vector<bytes> records;
        e.each_record([&](bytes_view r) {
            records.push_back(to_bytes(r));
            return true;
        });
        for (bytes const& record : records) {
            bool free = true;
            auto const looked = scan_record(tx, record, [&](outbox_entry const& before) {
                if (before.token == token) { return false; }
                free = before.state == entry_state::claimed;
                return free;
            });
            if (!looked) { return looked.error(); }
            if (!free) { return std::optional<outbox_entry>{}; }
        }
        if (auto s = m.claim(taken, end_of_lease(lease, now)); !s) { return s.error(); }
        std::optional<outbox_entry> out{outbox_entry{}};
        if (auto s = m.give(e, *out); !s) { return s.error(); }
        if (auto s = m.close(); !s) { return s.error(); }
        return out;
    }
    /// Makes the lease of a claimed entry end at `now + lease` (empty: the outbox's), whatever it was; the fence stays.
    /// Errors: `errc::claim_lost`.
    template <storage_transaction Tx>
    [[nodiscard]] result<wall_time> renew(Tx& tx, std::uint64_t token, std::uint64_t fence, wall_time now,
                                          std::optional<milliseconds> lease = {}) const {
        wall_time const end = end_of_lease(lease, now);
        auto const to = [&](auto& m, detail::stored_entry& e) {
            e.header.time = end;
            return m.write(e);
        };
        if (auto s = change_claimed(tx, token, fence, to); !s) { return s.error(); }
        return end;
    }
    /// Replaces the payload of a claimed entry: its bytes as they are sent. Errors: `errc::claim_lost`.
    template <storage_transaction Tx>
    [[nodiscard]] status set_payload(Tx& tx, std::uint64_t token, std::uint64_t fence, bytes_view payload) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        detail::stored_entry e;
        if (auto s = m.open(); !s) { return s; }
        if (auto s = m.find_claimed(token, fence, e); !s) { return s; }
        if (payload.size() > (std::numeric_limits<std::uint32_t>::max)()) { return failure{errc::limit, "payload"}; }
        if (auto s = m.exchange(e, payload); !s) { return s; }
        return m.close();
    }

    // Answering a claim.

    /// Done: the entry is gone, what stood behind it or was after it moves up.
    /// Errors: `errc::claim_lost` when another has claimed it since, its lease was ended, or it is gone.
    template <storage_transaction Tx, observer O = no_observer>
    [[nodiscard]] status ack(Tx& tx, std::uint64_t token, std::uint64_t fence, O&& told = {}) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        detail::stored_entry e;
        if (auto s = m.open(); !s) { return s; }
        if (auto s = m.find_claimed(token, fence, e); !s) { return s; }
        if (auto s = remove(m, e); !s) { return s; }
        told.counted(metric_counter::entries_applied, 1);
        tell_load(tx, told);
        return {};
    }
    /// Replaces the payloads of several claimed entries, all or none. Errors: `errc::claim_lost`.
    template <storage_transaction Tx>
    [[nodiscard]] status set_payloads(Tx& tx, std::span<outbox_payload const> all) const {
        std::vector<outbox_claim> claims;
        claims.reserve(all.size());
        for (outbox_payload const& p : all) {
            if (p.payload.size() > (std::numeric_limits<std::uint32_t>::max)()) {
                return failure{errc::limit, "payload"};
            }
            claims.push_back({p.token, p.fence});
        }
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s; }
        auto const exchange = [&](std::size_t i, detail::stored_entry& e) -> result<bool> {
            auto const s = m.exchange(e, all[i].payload);
            return s ? result<bool>{true} : result<bool>{s.error()};
        };
        if (auto s = m.each_claimed(claims, exchange); !s) { return s; }
        return m.close();
    }
    /// Visits the payloads of several claimed entries in their order, until the visitor says false; they are borrowed for
    /// the call. It may read, not write. Errors: `errc::claim_lost`.
    template <storage_transaction Tx>
    [[nodiscard]] status payloads_of(Tx& tx, std::span<outbox_claim const> claims,
                                     function_ref<bool(std::size_t, bytes_view)> visit) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        bytes apart;
        if (auto s = m.open(); !s) { return s; }
        return m.each_claimed(claims, [&](std::size_t i, detail::stored_entry const& e) -> result<bool> {
            if (e.header.apart) {
                if (auto s = m.load_payload(e, apart); !s) { return s.error(); }
            }
            return visit(i, e.header.apart ? bytes_view{apart} : e.inline_payload());
        });
    }

    /// Done, several at once; how many of them: those that `ack` would answer with `claim_lost` are passed over.
    template <storage_transaction Tx, observer O = no_observer>
    [[nodiscard]] result<std::size_t> ack_all(Tx& tx, std::span<outbox_entry const> claimed, O&& told = {}) const {
        std::vector<outbox_claim> claims;
        claims.reserve(claimed.size());
        for (outbox_entry const& e : claimed) { claims.push_back({e.token, e.fence}); }
        return ack_claims(tx, claims, told);
    }
    template <storage_transaction Tx, observer O = no_observer>
    [[nodiscard]] result<std::size_t> ack_claims(Tx& tx, std::span<outbox_claim const> claimed, O&& told = {}) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s.error(); }
        std::vector<std::pair<std::uint64_t, std::uint64_t>> claims;
        claims.reserve(claimed.size());
        for (outbox_claim const& c : claimed) { claims.emplace_back(c.token, c.fence); }
        std::vector<detail::stored_entry> entries;
        if (auto s = m.find_all_claimed(std::move(claims), entries); !s) { return s.error(); }
        std::size_t const gone = entries.size();
        if (auto s = m.remove_all(entries); !s) { return s.error(); }
        if (auto s = m.close(); !s) { return s.error(); }
        told.counted(metric_counter::entries_applied, gone);
        tell_load(tx, told);
        return gone;
    }
    /// Not done: back to waiting, one more attempt; what stands behind it on its records stays blocked.
    /// A `not_before` further ahead than `wait_max` counts as now. Errors: as `ack`.
    template <storage_transaction Tx>
    [[nodiscard]] status release(Tx& tx, std::uint64_t token, std::uint64_t fence, wall_time not_before) const {
        return change_claimed(tx, token, fence, [&](auto& m, detail::stored_entry& e) {
            return m.put_back(e, std::decay_t<decltype(m)>::phase::waiting, not_before);
        });
    }
    /// Nothing of it has left: as if it had never been claimed, so that it can be joined with others again, and withdrawn.
    /// Errors: as `ack`.
    template <storage_transaction Tx>
    [[nodiscard]] status give_back(Tx& tx, std::uint64_t token, std::uint64_t fence) const {
        return change_claimed(tx, token, fence, [&](auto& m, detail::stored_entry& e) {
            e.header.fence = 0;
            e.header.state = std::decay_t<decltype(m)>::phase::pending;
            e.header.time = {};
            return m.write(e);
        });
    }
    /// Not done, and the policy says when again, by the attempts that the entry has had; a server's `retry_after` is
    /// the least. When the policy has no attempts left, a dead letter with `errc::peer_failed` and "attempts used up".
    /// Until when it waits; nothing when it is dead. Errors: as `ack`.
    template <storage_transaction Tx, class Jitter, random_source G, observer O = no_observer>
    [[nodiscard]] result<std::optional<wall_time>> nack(Tx& tx, std::uint64_t token, std::uint64_t fence,
                                                        backoff<Jitter> policy, G& random, wall_time now,
                                                        std::optional<milliseconds> retry_after = {},
                                                        O&& told = {}) const {
        std::optional<wall_time> until;
        auto const back = [&](auto& m, detail::stored_entry& e) {
            typename backoff<Jitter>::state state{};
            bytes attempts;
            detail::append_u32(attempts, e.header.attempts);
            std::copy(attempts.begin(), attempts.end(), state.begin());
            if (auto s = policy.restore(state); !s) { return s; }
            auto const wait = retry_after ? policy.next(random, *retry_after) : policy.next(random);
            if (!wait) { return m.bury(e, errc::peer_failed, as_bytes("attempts used up")); }
            until = detail::outbox_later(now, (std::min)(*wait, options_.wait_max));
            return m.put_back(e, std::decay_t<decltype(m)>::phase::waiting, *until);
        };
        if (auto s = change_claimed(tx, token, fence, back); !s) { return s.error(); }
        if (!until) { tell_dead(tx, told, 1); }
        return until;
    }
    /// Given up: a dead letter with payload, reason, verdict and history; the next of its records moves up, what is
    /// after it stays held. Errors: as `ack`; `errc::invalid` for a verdict longer than 4 GiB.
    template <storage_transaction Tx, observer O = no_observer>
    [[nodiscard]] status bury(Tx& tx, std::uint64_t token, std::uint64_t fence, errc reason, bytes_view verdict,
                              O&& told = {}) const {
        if (verdict.size() > (std::numeric_limits<std::uint32_t>::max)()) { return failure{errc::invalid, "verdict"}; }
        auto const to = [&](auto& m, detail::stored_entry& e) { return m.bury(e, reason, verdict); };
        if (auto s = change_claimed(tx, token, fence, to); !s) { return s; }
        tell_dead(tx, told, 1);
        return {};
    }
    /// Given up before it was ever claimed, as what it builds on was: a dead letter with the reason and verdict. Errors: as
    /// `amend`; `errc::invalid` for a verdict longer than 4 GiB.
    template <storage_transaction Tx, observer O = no_observer>
    [[nodiscard]] status abandon(Tx& tx, std::uint64_t token, errc reason, bytes_view verdict, O&& told = {}) const {
        if (verdict.size() > (std::numeric_limits<std::uint32_t>::max)()) { return failure{errc::invalid, "verdict"}; }
        moves<Tx> m{tx, options_, lanes_, prefix_};
        detail::stored_entry e;
        if (auto s = m.open(); !s) { return s; }
        if (auto s = m.find_fresh(token, e); !s) { return s; }
        if (auto s = m.bury(e, reason, verdict); !s) { return s; }
        if (auto s = m.close(); !s) { return s; }
        tell_dead(tx, told, 1);
        return {};
    }
    /// The verdicts on a batch, one an entry; how many counted: those whose claim is lost are passed over.
    template <storage_transaction Tx, observer O = no_observer>
    [[nodiscard]] result<std::size_t> answer_all(Tx& tx, std::span<outbox_answer const> answers, O&& told = {}) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s.error(); }
        std::size_t counted = 0;
        std::uint64_t done = 0;
        std::uint64_t rejected = 0;
        for (outbox_answer const& a : answers) {
            detail::stored_entry e;
            auto const held = m.find_claimed(a.token, a.fence, e);
            if (!held && held.error() == errc::claim_lost) { continue; }
            if (!held) { return held.error(); }
            if (auto s = settle(m, e, a); !s) { return s.error(); }
            done += a.kind == answer_kind::done ? 1U : 0U;
            rejected += a.kind == answer_kind::rejected ? 1U : 0U;
            ++counted;
        }
        if (auto s = m.close(); !s) { return s.error(); }
        told.counted(metric_counter::entries_applied, done);
        told.counted(metric_counter::entries_rejected, rejected);
        tell_dead(tx, told, rejected);
        return counted;
    }
    /// The batch was refused and nobody knows for which of its entries. All of them are ready again at once, to be given in
    /// batches of at most half the size, so that those without the culprit pass and it stands alone after log2 of the
    /// size more refusals. Then, for a batch of one, its token is the answer, and it is still claimed: bury it.
    /// Entries whose claim is lost are passed over.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<std::uint64_t>> split(Tx& tx, std::span<outbox_entry const> refused) const {
        if (refused.size() == 1) { return std::optional<std::uint64_t>{refused[0].token}; }
        auto const half = static_cast<std::uint16_t>((std::min)(refused.size() / 2, std::size_t{0xFFFF}));
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s.error(); }
        detail::stored_entry e;
        for (outbox_entry const& given : refused) {
            auto const s = m.find_claimed(given.token, given.fence, e);
            if (!s && s.error() == errc::claim_lost) { continue; }
            if (!s) { return s.error(); }
            e.header.batch_max = half;
            if (auto back = m.put_back(e, moves<Tx>::phase::pending, {}); !back) { return back.error(); }
        }
        if (auto s = m.close(); !s) { return s.error(); }
        return std::optional<std::uint64_t>{};
    }

    // What is held, waits, or was given up.

    /// Ends the wait of an entry, as a person asks for. One that doesn't wait stays as it is.
    /// Errors: `errc::not_found` (no living entry), `errc::claim_lost` (somebody is sending it).
    template <storage_transaction Tx>
    [[nodiscard]] status hurry(Tx& tx, std::uint64_t token) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        detail::stored_entry e;
        if (auto s = m.open(); !s) { return s; }
        auto const found = m.find_living(token, e);
        if (!found) { return found.error(); }
        if (!*found) { return errc::not_found; }
        if (e.header.state == moves<Tx>::phase::claimed) { return errc::claim_lost; }
        if (e.header.state == moves<Tx>::phase::pending) { return {}; }
        e.header.state = moves<Tx>::phase::pending;
        e.header.time = {};
        if (auto s = m.write(e); !s) { return s; }
        return m.close();
    }
    /// Ends waits, as when the connection is back, the earliest first: at most `promotions_max`, how many.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::size_t> hurry_all(Tx& tx, wall_time now) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s.error(); }
        auto const ended = m.end_waits(now, true);
        if (!ended) { return ended; }
        if (auto s = m.close(); !s) { return s.error(); }
        return ended;
    }
    /// Visits the dead letters in order of entry, until the visitor says false. It may read, not write.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_dead(Tx& tx, function_ref<bool(outbox_entry const&)> visit) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        return scan_space(tx, m, detail::outbox_space::dead, visit);
    }
    /// A dead letter lives again, as if it entered now, without attempts; on its records in its old place, before
    /// what came later and is still there. With a payload, it is that one from now on. Limits don't hold it back.
    /// Errors: `errc::not_found`; `errc::invalid` when it would wait for itself, as what comes before it on its records
    /// was put after it meanwhile: `release_dependants` comes first; `errc::limit` (too much to look at for that).
    template <storage_transaction Tx>
    [[nodiscard]] status revive(Tx& tx, std::uint64_t token, wall_time now,
                                std::optional<bytes_view> payload = {}) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        detail::stored_entry e;
        auto const found = m.find_dead(token, e);
        if (!found) { return found.error(); }
        if (!*found) { return errc::not_found; }
        if (payload && payload->size() > (std::numeric_limits<std::uint32_t>::max)()) {
            return failure{errc::limit, "payload"};
        }
        if (auto s = m.open(); !s) { return s; }
        auto const circle = m.revives_into_circle(e);
        if (!circle) { return circle.error(); }
        if (*circle) { return failure{errc::invalid, "dead letter after itself"}; }
        if (auto s = m.revive(e, now, payload); !s) { return s; }
        return m.close();
    }
    /// A dead letter goes for good. Errors: `errc::not_found`; `errc::invalid` while other entries are after it:
    /// `release_dependants` or `bury_dependants` comes first.
    template <storage_transaction Tx>
    [[nodiscard]] status discard(Tx& tx, std::uint64_t token) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        detail::stored_entry e;
        auto const found = m.find_dead(token, e);
        // A damaged letter goes too: it is the way out.
        if (!found && found.error() != errc::corrupt) { return found.error(); }
        if (found && !*found) { return errc::not_found; }
        if (found && e.header.dependants != 0) { return failure{errc::invalid, "dead letter with dependants"}; }
        if (!found || e.header.apart) {
            if (auto s = tx.erase(m.key(detail::outbox_space::payload).add(token)); !s) { return s; }
        }
        return tx.erase(m.key(detail::outbox_space::dead).add(token));
    }
    /// Visits the tokens of what is after an entry or dead letter, in order of entry.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_dependants(Tx& tx, std::uint64_t token, function_ref<bool(std::uint64_t)> visit) const {
        return scan_prefix(tx, detail::outbox_key{prefix_, detail::outbox_space::dependants}.add(token),
                           [&](bytes_view k, bytes_view) { return visit(moves<Tx>::token_of(k)); });
    }
    /// Lets go what a dead letter holds: it is after it no more. Errors: `errc::not_found`.
    template <storage_transaction Tx>
    [[nodiscard]] status release_dependants(Tx& tx, std::uint64_t token) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        detail::stored_entry e;
        auto const found = m.find_dead(token, e);
        if (!found) { return found.error(); }
        if (!*found) { return errc::not_found; }
        if (auto s = m.open(); !s) { return s; }
        if (auto s = m.release_dependants(e); !s) { return s; }
        if (auto s = m.write(e); !s) { return s; }
        return m.close();
    }
    /// Takes along what a dead letter holds, and what that holds: all dead letters with the reason and verdict; how
    /// many. Errors: `errc::not_found`.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::size_t> bury_dependants(Tx& tx, std::uint64_t token, errc reason,
                                                      bytes_view verdict) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        detail::stored_entry e;
        auto const found = m.find_dead(token, e);
        if (!found) { return found.error(); }
        if (!*found) { return errc::not_found; }
        if (auto s = m.open(); !s) { return s.error(); }
        std::vector<std::uint64_t> after;
        if (auto s = m.dependants_of(token, after); !s) { return s.error(); }
        for (std::size_t next = 0; next < after.size(); ++next) {
            detail::stored_entry one;
            auto const living = m.find_living(after[next], one);
            if (!living) { return living.error(); }
            if (!*living) { return failure{errc::corrupt, "outbox dependant"}; }
            if (auto s = m.bury(one, reason, verdict); !s) { return s.error(); }
            if (one.header.dependants == 0) { continue; }
            std::size_t const before = after.size();
            if (auto s = m.dependants_of(after[next], after); !s) { return s.error(); }
            for (std::size_t i = before; i < after.size();) {  // that is after two of them
                bool const twice = std::find(after.begin(), after.begin() + static_cast<std::ptrdiff_t>(before),
                                             after[i]) != after.begin() + static_cast<std::ptrdiff_t>(before);
                twice ? static_cast<void>(after.erase(after.begin() + static_cast<std::ptrdiff_t>(i)))
                      : static_cast<void>(++i);
            }
        }
        if (auto s = m.close(); !s) { return s.error(); }
        return after.size();
    }

    // Looking.

    /// Visits the living entries of a record in order, until the visitor says false. It may read, not write.
    /// Errors: `errc::invalid` (no record, or a longer one than 400 bytes).
    template <storage_transaction Tx>
    [[nodiscard]] status scan_record(Tx& tx, bytes_view record, function_ref<bool(outbox_entry const&)> visit) const {
        if (record.empty() || record.size() > outbox_record_bytes_max) { return failure{errc::invalid, "record"}; }
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s; }
        status failed;
        detail::stored_entry e;
        outbox_entry out;
        auto const each = [&](std::uint64_t token) {
            auto const found = m.find_living(token, e);
            failed = !found    ? status{found.error()}
                     : !*found ? failure{errc::corrupt, "outbox record"}
                               : m.show(e, out);
            return failed.has_value() && visit(out);
        };
        if (auto s = m.each_of(record, each); !s) { return s; }
        return failed;
    }
    /// Visits every living entry, lane by lane what stands in its queues, then all others in order of entry: to export
    /// them, say. It may read, not write.
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, function_ref<bool(outbox_entry const&)> visit) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s; }
        bool more = true;
        auto const on = [&](outbox_entry const& e) { return more = visit(e); };
        if (auto s = scan_space(tx, m, detail::outbox_space::ready, on); !s || !more) { return s; }
        return scan_space(tx, m, detail::outbox_space::aside, on);
    }
    /// The entry or dead letter of a token, or nothing.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<outbox_entry>> find(Tx& tx, std::uint64_t token) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s.error(); }
        detail::stored_entry e;
        auto const found = m.find(token, e);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<outbox_entry>{}; }
        std::optional<outbox_entry> out{std::in_place};
        if (auto s = m.show(e, *out); !s) { return s.error(); }
        return out;
    }
    /// Counts everything. Cost: reads every entry once: for people and metrics, not for every turn.
    template <storage_transaction Tx>
    [[nodiscard]] result<outbox_summary> summary(Tx& tx) const {
        outbox_summary sum;
        auto const count = [&](outbox_entry const& e) {
            ++sum.count[static_cast<std::size_t>(e.urgency)][static_cast<std::size_t>(e.state)];
            if (e.state == entry_state::dead) {
                ++sum.dead;
                return true;
            }
            ++sum.entries;
            sum.bytes += e.record.size() + e.payload.size();
            for (bytes const& r : e.more_records) { sum.bytes += r.size(); }
            if (!sum.oldest || e.entered < *sum.oldest) { sum.oldest = e.entered; }
            return true;
        };
        if (auto s = scan(tx, count); !s) { return s.error(); }
        if (auto s = scan_dead(tx, count); !s) { return s.error(); }
        return sum;
    }
    /// Living entries and their bytes, as the limits count them. Cost: a get.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::pair<std::uint64_t, std::uint64_t>> load(Tx& tx) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s.error(); }
        return std::pair{m.counters.entries(), m.counters.bytes()};
    }

    /// When a claim of classes down to `lowest` could next give something: `now` when it could at once, else the
    /// earliest end of a wait, a lease or a life; nothing when only another call than `claim` can change that.
    /// An end may turn out to be of a class below `lowest`, of another lane, or of an entry behind another: then the
    /// claim gives nothing and this says the next.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<wall_time>> next_due(Tx& tx, wall_time now,
                                                            priority lowest = priority::background) const {
        claim_options what;
        what.lowest = lowest;
        return next_due(tx, now, what);
    }
    /// The same for a claim with these options, its lane and linger.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<wall_time>> next_due(Tx& tx, wall_time now, claim_options const& what) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        if (auto s = m.open(); !s) { return s.error(); }
        std::optional<wall_time> due;
        claim_options one = what;
        if (what.linger <= milliseconds::zero()) { one.entries_max = 1; }
        detail::outbox_selection<Tx> selection{tx, m, options_, one, now};
        if (what.linger <= milliseconds::zero()) {
            auto const any = selection.any();
            if (!any) { return any.error(); }
            if (*any) { return std::optional<wall_time>{now}; }
        } else {
            auto const until = selection.run();
            if (!until) { return until.error(); }
            if (!selection.taken.empty()) { return std::optional<wall_time>{now}; }
            due = *until;
        }
        struct timed {
            detail::outbox_space space;
            std::uint64_t rows;
        };
        for (auto const [space, rows] : {timed{detail::outbox_space::leases, m.counters.leased},
                                         timed{detail::outbox_space::waits, m.counters.waits},
                                         timed{detail::outbox_space::lives, m.counters.lives}}) {
            if (rows == 0) { continue; }
            std::optional<wall_time> first;
            bool over = false;
            auto const row = [&](bytes_view, bytes_view) {
                over = true;
                return false;
            };
            auto const earliest = [&](bytes_view k, bytes_view) {
                first = m.time_of(k);
                return false;
            };
            if (auto s = scan_prefix(tx, m.key(space), earliest); !s) { return s.error(); }
            if (!first) { continue; }
            if (space == detail::outbox_space::lives) {
                over = *first <= now;
            } else if (auto s = m.collect_due(space, now, false, row); !s) {
                return s.error();
            }
            if (over) { return std::optional<wall_time>{now}; }
            if (!due || *first < *due) { due = first; }
        }
        return due;
    }

private:
    template <storage_transaction Tx>
    using moves = detail::outbox_moves<Tx>;

    template <class Tx, class O>
    void tell_load(Tx& tx, O& told) const {
        if constexpr (listens<O>) {
            if (auto const now = load(tx)) {
                told.measured(metric_gauge::pending_entries, now->first);
                told.measured(metric_gauge::pending_bytes, now->second);
            }
        }
    }
    template <class Tx, class O>
    void tell_dead(Tx& tx, O& told, std::uint64_t n) const {
        told.counted(metric_counter::entries_dead, n);
        tell_load(tx, told);
    }

    [[nodiscard]] wall_time end_of_lease(std::optional<milliseconds> asked, wall_time now) const noexcept {
        milliseconds const lease = asked.value_or(options_.lease);
        if (lease == (milliseconds::max)()) { return (wall_time::max)(); }
        milliseconds const cut = (std::clamp)(lease, milliseconds::zero(), options_.wait_max);
        return (std::min)(detail::outbox_later(now, cut), (wall_time::max)() - milliseconds{1});
    }
    template <storage_transaction Tx>
    [[nodiscard]] static status remove(moves<Tx>& m, detail::stored_entry& e) {
        if (auto s = m.remove(e); !s) { return s; }
        return m.close();
    }
    template <storage_transaction Tx>
    [[nodiscard]] static status settle(moves<Tx>& m, detail::stored_entry& e, outbox_answer const& a) {
        using phase = typename moves<Tx>::phase;
        switch (a.kind) {
            case answer_kind::done: return m.remove(e);
            case answer_kind::rejected: return m.bury(e, a.reason, a.verdict);
            case answer_kind::retry: return m.put_back(e, phase::waiting, a.not_before);
            case answer_kind::collateral: break;
        }
        e.header.state = phase::pending;
        e.header.time = {};
        return m.write(e);
    }
    /// Opens, finds the claimed entry, lets `to(moves, entry)` move it, closes.
    template <storage_transaction Tx, class F>
    [[nodiscard]] status change_claimed(Tx& tx, std::uint64_t token, std::uint64_t fence, F&& to) const {
        moves<Tx> m{tx, options_, lanes_, prefix_};
        detail::stored_entry e;
        if (auto s = m.open(); !s) { return s; }
        if (auto s = m.find_claimed(token, fence, e); !s) { return s; }
        if (auto s = to(m, e); !s) { return s; }
        return m.close();
    }
    template <storage_transaction Tx>
    [[nodiscard]] static status scan_space(Tx& tx, moves<Tx>& m, detail::outbox_space space,
                                           function_ref<bool(outbox_entry const&)> visit) {
        status failed;
        detail::stored_entry e;
        outbox_entry out;
        bool const dead = space == detail::outbox_space::dead;
        auto const row = [&](bytes_view k, bytes_view value) {
            failed = space == detail::outbox_space::ready ? m.read_queued(k, value, e) : m.read_row(k, value, dead, e);
            if (failed) { failed = m.show(e, out); }
            return failed.has_value() && visit(out);
        };
        if (auto s = scan_prefix(tx, m.key(space), row); !s) { return s; }
        return failed;
    }

    outbox_options options_;
    std::vector<lane_limit> lanes_;
    std::string prefix_;
};

}  // namespace syncline::inline SYNCLINE_ABI
