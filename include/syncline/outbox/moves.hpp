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

/// One call of an outbox. Nothing of it is complete before `close`.
template <storage_transaction Tx>
class outbox_moves {
public:
    using phase = outbox_header::phase;
    using place = outbox_rows::place;

    outbox_moves(Tx& tx, outbox_options const& options, std::string_view prefix) noexcept
        : tx_(tx), options_(options), prefix_(prefix), index_(prefix), leases_(prefix) {}

    outbox_counters counters{};

    [[nodiscard]] status open() {
        bytes value;
        auto const found = tx_.get(key(outbox_space::counters), value);
        if (!found) { return found.error(); }
        if (!*found) { return {}; }
        if (value.size() != counters_size || std::to_integer<unsigned>(value[0]) != outbox_form_counters) {
            return failure{errc::corrupt, "outbox counters"};
        }
        bytes_view const in{value};
        std::size_t at = 1;
        for (std::uint64_t* const n : numbers(counters)) {
            *n = read_u64(in.subspan(at));
            at += 8;
        }
        stored_ = counters;
        return {};
    }
    [[nodiscard]] status close() {
        if (auto s = index_.flush(tx_); !s) { return s; }
        if (auto s = leases_.flush(tx_); !s) { return s; }
        if (counters == stored_) { return {}; }
        std::array<std::byte, counters_size> value;
        value[0] = static_cast<std::byte>(outbox_form_counters);
        std::size_t at = 1;
        for (std::uint64_t* const n : numbers(counters)) {
            for (unsigned shift = 64; shift != 0; shift -= 8) {
                value[at++] = static_cast<std::byte>(*n >> (shift - 8));
            }
        }
        return tx_.put(key(outbox_space::counters), value);
    }

    [[nodiscard]] outbox_key key(outbox_space space) const noexcept { return {prefix_, space}; }
    [[nodiscard]] outbox_key ready_key(std::uint64_t token, priority served_as) const noexcept {
        return key(outbox_space::ready).add(outbox_lane(token)).add(static_cast<std::uint8_t>(served_as)).add(token);
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
    [[nodiscard]] bool fits(std::uint64_t more) const noexcept {
        return options_.bytes_max == 0 ||
               (counters.bytes <= options_.bytes_max && more <= options_.bytes_max - counters.bytes);
    }

    // Finding.

    [[nodiscard]] result<bool> find_claimable(std::uint64_t token, priority served_as, stored_entry& e) {
        return read(ready_key(token, served_as), token, place::ready, e);
    }
    [[nodiscard]] result<bool> find_aside(std::uint64_t token, stored_entry& e) {
        return read(key(outbox_space::aside).add(token), token, place::aside, e);
    }
    [[nodiscard]] result<bool> find_dead(std::uint64_t token, stored_entry& e) {
        return read(key(outbox_space::dead).add(token), token, place::dead, e);
    }
    [[nodiscard]] result<bool> find_living(std::uint64_t token, stored_entry& e) {
        auto found = find_aside(token, e);
        for (auto c = static_cast<unsigned>(outbox_class(token)) + 1; found && !*found && c != 0; --c) {
            found = find_claimable(token, static_cast<priority>(c - 1), e);
        }
        return found;
    }
    [[nodiscard]] result<bool> find(std::uint64_t token, stored_entry& e) {
        auto const found = find_living(token, e);
        return !found || *found ? found : find_dead(token, e);
    }
    [[nodiscard]] status find_claimed(std::uint64_t token, std::uint64_t fence, stored_entry& e) {
        auto const found = find_aside(token, e);
        if (!found) { return found.error(); }
        if (!*found || e.header.state != phase::claimed || e.header.fence != fence) { return errc::claim_lost; }
        return {};
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
        auto const found = tx_.get(key(outbox_space::payload).add(e.token), out.payload);
        if (!found) { return found.error(); }
        if (!*found || out.payload.size() != *h.apart) { return failure{errc::corrupt, "outbox payload"}; }
        return {};
    }

    // Moving one entry.

    /// Writes what the header says, in the place that it says.
    [[nodiscard]] status write(stored_entry& e) { return write(e, e.records(), e.inline_payload()); }
    [[nodiscard]] status write(stored_entry& e, bytes_view records, bytes_view payload) {
        outbox_rows const due = e.rows_due();
        if (auto s = erase_rows(e, due); !s) { return s; }
        if (due.wait && due.wait != e.rows.wait) {
            ++counters.waits;
            if (auto s = tx_.put(timed_key(outbox_space::waits, *due.wait, e.token), {}); !s) { return s; }
        }
        if (due.life && due.life != e.rows.life) {
            ++counters.lives;
            if (auto s = tx_.put(timed_key(outbox_space::lives, *due.life, e.token), {}); !s) { return s; }
        }
        if (due.lease && !same_lease(due, e.rows)) {
            ++counters.leased;
            bool const fresh = due.fence > stored_.fence;
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
    /// Finds claimed entries, by token and fence, that may be many: sorted by token, those whose claim is lost left
    /// out. One scan where the tokens lie close together, else a get each.
    [[nodiscard]] status find_all_claimed(std::vector<std::pair<std::uint64_t, std::uint64_t>> claims,
                                          std::vector<stored_entry>& out) {
        std::sort(claims.begin(), claims.end());
        out.reserve(claims.size());
        std::size_t next = 0;
        auto const held = [&](stored_entry const& e, std::uint64_t fence) {
            return e.header.state == phase::claimed && e.header.fence == fence;
        };
        if (claims.size() > 3) {
            std::size_t room = 2 * claims.size() + 16;  // rows that may be read in vain
            bool damaged = false;
            auto const row = [&](bytes_view k, bytes_view value) {
                std::uint64_t const token = token_of(k);
                while (next != claims.size() && claims[next].first < token) { ++next; }
                if (next == claims.size()) { return false; }
                if (claims[next].first != token) { return --room != 0; }
                stored_entry e;
                e.token = token;
                e.value.assign(value.begin(), value.end());
                damaged = !decode_entry(e, false) || e.rows.at != place::aside;
                if (damaged) { return false; }
                for (bool any = false; next != claims.size() && claims[next].first == token; ++next) {
                    if (any || !held(e, claims[next].second)) { continue; }
                    any = true;  // the same claim may be named twice
                    out.push_back(std::move(e));
                }
                return true;
            };
            auto const from = key(outbox_space::aside).add(claims.front().first);
            auto const to = key(outbox_space::aside).add(claims.back().first).add(std::uint8_t{0});
            if (auto s = tx_.scan({from, to}, row); !s) { return s; }
            if (damaged) { return failure{errc::corrupt, "outbox entry"}; }
            if (room != 0) { return {}; }
        }
        for (; next != claims.size(); ++next) {
            if (!out.empty() && out.back().token == claims[next].first) { continue; }
            stored_entry e;
            auto const found = find_aside(claims[next].first, e);
            if (!found) { return found.error(); }
            if (*found && held(e, claims[next].second)) { out.push_back(std::move(e)); }
        }
        return {};
    }
    /// Takes several living entries out, sorted by token.
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
            auto const at = first_of(record, hash);
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
        ++counters.entries;
        if (!payload) {
            counters.bytes += e.size();
            return write(e);
        }
        counters.bytes += e.size() - e.payload_size() + payload->size();
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
    /// An entry on which a more urgent one depends is served as that one, and so is what it waits for itself.
    /// At most 64 entries: beyond, urgency is not handed on.
    [[nodiscard]] status raise(std::uint64_t token, priority to) {
        std::vector<std::uint64_t> work{token};
        std::size_t raised = 0;
        for (std::size_t next = 0; next < work.size() && raised < raise_max; ++next) {
            stored_entry e;
            auto const found = find_living(work[next], e);
            if (!found) { return found.error(); }
            if (!*found || e.header.urgency <= to) { continue; }
            e.header.urgency = to;
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

    // Records.

    /// Where the first entry of a record stands in the current bucket, which is that of its hash.
    [[nodiscard]] result<std::optional<std::size_t>> first_of(bytes_view record, std::uint32_t hash) {
        if (auto s = index_.turn(tx_, hash); !s) { return s.error(); }
        for (std::size_t i = index_.first(hash); index_.is(i, hash); ++i) {
            auto const same = has_record(index_[i].token, record);
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
        if (!visit(first) || !index_[**at].many) { return {}; }
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
        std::uint64_t size = 0;
        bool edges = false;
        for (outbox_item const& item : items) {
            if (!well_formed(item, items.size())) { return failure{errc::invalid, "outbox item"}; }
            if (item.payload.size() > (std::numeric_limits<std::uint32_t>::max)()) {
                return failure{errc::limit, "outbox payload"};
            }
            size += item.record.size() + item.payload.size();
            for (bytes_view const r : item.more_records) { size += r.size(); }
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
        if (options_.entries_max != 0 &&
            (counters.entries > options_.entries_max || items.size() > options_.entries_max - counters.entries)) {
            return failure{errc::limit, "outbox entries"};
        }
        if (!fits(size)) { return failure{errc::limit, "outbox bytes"}; }
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
                if (outbox_sequence(token) >= first) {
                    if (outbox_sequence(token) - first >= items.size()) {
                        return failure{errc::corrupt, "outbox index"};
                    }
                    any = item_has(items[outbox_sequence(token) - first], r.record);
                    continue;
                }
                auto const same = has_record(token, r.record);
                if (!same) { return same.error(); }
                any = *same;
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
        counters.entries += items.size();
        counters.bytes += size;
        for (std::size_t i = 0; i < items.size(); ++i) {
            for (std::uint64_t const p : items[i].after) {
                if (auto s = raise(p, items[i].urgency); !s) { return s.error(); }
            }
            for (std::size_t const p : items[i].after_items) {
                if (auto s = raise(token_at(p), items[i].urgency); !s) { return s.error(); }
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
        std::vector<std::uint64_t> due;
        bool damaged = false;
        auto const found = collect_due(outbox_space::leases, now, false, [&](bytes_view, bytes_view tokens) {
            damaged = damaged || tokens.empty() || tokens.size() % 8 != 0;
            for (; !damaged && !tokens.empty() && due.size() < options_.promotions_max; tokens = tokens.subspan(8)) {
                due.push_back(read_u64(tokens));
            }
            return !damaged && due.size() < options_.promotions_max;
        });
        if (!found) { return found; }
        if (damaged) { return failure{errc::corrupt, "outbox lease"}; }
        for (std::uint64_t const token : due) {
            stored_entry e;
            auto const there = find_aside(token, e);
            if (!there) { return there.error(); }
            if (!*there || !e.rows.lease) { return failure{errc::corrupt, "outbox lease without its entry"}; }
            if (auto s = put_back(e, phase::pending, {}); !s) { return s; }
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
    static constexpr std::size_t counters_size = 1 + 7 * 8;

    [[nodiscard]] static std::array<std::uint64_t*, 7> numbers(outbox_counters& c) noexcept {
        return {&c.sequence, &c.fence, &c.entries, &c.bytes, &c.waits, &c.lives, &c.leased};
    }
    [[nodiscard]] static status count_down(std::uint64_t& n) noexcept {
        if (n == 0) { return failure{errc::corrupt, "outbox counters"}; }
        --n;
        return {};
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
            case place::ready: return ready_key(token, r.urgency);
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
        bool const moves = old.at != due.at || (old.at == place::ready && old.urgency != due.urgency);
        if (old.at != place::none && moves) {
            if (auto s = tx_.erase(place_key(e.token, old)); !s) { return s; }
        }
        if (old.wait && old.wait != due.wait) {
            if (auto s = count_down(counters.waits); !s) { return s; }
            if (auto s = tx_.erase(timed_key(outbox_space::waits, *old.wait, e.token)); !s) { return s; }
        }
        if (old.life && old.life != due.life) {
            if (auto s = count_down(counters.lives); !s) { return s; }
            if (auto s = tx_.erase(timed_key(outbox_space::lives, *old.life, e.token)); !s) { return s; }
        }
        if (old.lease && !same_lease(old, due)) {
            if (auto s = count_down(counters.leased); !s) { return s; }
            return leases_.drop(tx_, *old.lease, old.fence, e.token);
        }
        return {};
    }
    [[nodiscard]] result<bool> read(bytes_view k, std::uint64_t token, place at, stored_entry& e) {
        e.token = token;
        auto const found = tx_.get(k, e.value);
        if (!found || !*found) { return found; }
        if (auto s = decode_entry(e, at == place::dead); !s) { return s.error(); }
        if (e.rows.at != at) { return failure{errc::corrupt, "outbox entry in a wrong place"}; }
        return true;
    }
    [[nodiscard]] status remove_row(stored_entry const& e) {
        if (auto s = uncount(e); !s) { return s; }
        if (auto s = erase_rows(e, {}); !s) { return s; }
        return e.header.apart ? tx_.erase(key(outbox_space::payload).add(e.token)) : status{};
    }
    [[nodiscard]] status uncount(stored_entry const& e) {
        if (counters.entries == 0 || counters.bytes < e.size()) { return failure{errc::corrupt, "outbox counters"}; }
        --counters.entries;
        counters.bytes -= e.size();
        return {};
    }
    [[nodiscard]] result<bool> has_record(std::uint64_t token, bytes_view record) {
        auto const found = find_living(token, probe_);
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::corrupt, "outbox index without its entry"}; }
        bool has = false;
        probe_.each_record([&](bytes_view r) {
            has = equal(r, record);
            return !has;
        });
        return has;
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
        if (!index_.is(at, hash)) { return tx_.erase(followers_key(record).add(token)); }
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
        // The index tells records of one entry apart by their hashes alone.
        std::vector<std::uint32_t> hashes;
        if (!item.more_records.empty()) { hashes.push_back(outbox_hash(item.record)); }
        for (bytes_view const r : item.more_records) {
            if (r.empty() || r.size() > outbox_record_bytes_max) { return false; }
            hashes.push_back(outbox_hash(r));
        }
        if (repeats(std::span<std::uint32_t const>{hashes})) { return false; }
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

    Tx& tx_;
    outbox_options const& options_;
    std::string_view prefix_;
    outbox_counters stored_{};
    outbox_index index_;
    outbox_leases leases_;
    stored_entry probe_{};
    bytes scratch_{};
};

}  // namespace detail
}  // namespace syncline::inline SYNCLINE_ABI
