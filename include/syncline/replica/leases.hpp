// SPDX-License-Identifier: BSL-1.0
#pragma once

/// How long an authority waits for its replicas: a lease for each, the cursor that it protects, and the horizon below
/// which tombstones are gone.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/record.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

struct lease_options {
    milliseconds length{};  ///< of a lease, in lease time; 0: none are kept, and no tombstone is ever collected
    milliseconds step_max{3'600'000};  ///< lease time passes at most so far between two exchanges; > 0
};

/// The leases of an authority's replicas, in storage.
///
/// Lease time is the authority's wall time, but never goes back, and goes on by a bounded step from one exchange to the
/// next: a clock that jumps by a year ends nobody's lease. A quiet authority's leases last longer.
/// That nothing deleted rises again does not hang on leases: a replica whose cursor lies below the horizon is told so
/// and joins again. A lease only spares it that.
/// Holds its prefix and options, and nothing else. Errors: the storage's, and `errc::corrupt`.
class lease_book {
public:
    lease_book(std::string_view prefix, lease_options options) : prefix_(to_bytes(prefix)), options_(options) {}

    [[nodiscard]] bool kept() const noexcept { return options_.length.count() > 0; }

    /// Tombstones of positions up to here are gone; 0: none is.
    template <storage_transaction Tx>
    [[nodiscard]] result<position> horizon(Tx& tx) const {
        auto s = read(tx);
        if (!s) { return s.error(); }
        return s->horizon;
    }
    /// They are to be taken for gone: where this store was put back to a backup it has some again.
    template <storage_transaction Tx>
    [[nodiscard]] status raise_horizon(Tx& tx, position to) const {
        auto s = read(tx);
        if (!s) { return s.error(); }
        if (to <= s->horizon) { return {}; }
        s->horizon = to;
        return write(tx, *s);
    }

    /// Up to here tombstones were erased; at most the horizon.
    template <storage_transaction Tx>
    [[nodiscard]] result<position> swept(Tx& tx) const {
        auto s = read(tx);
        if (!s) { return s.error(); }
        return s->swept;
    }
    /// … and now up to `to`, which the horizon is at least.
    template <storage_transaction Tx>
    [[nodiscard]] status sweep(Tx& tx, position to) const {
        auto s = read(tx);
        if (!s) { return s.error(); }
        s->swept = (std::max)(s->swept, to);
        s->horizon = (std::max)(s->horizon, s->swept);
        return write(tx, *s);
    }

    /// A replica was here, and holds everything up to `cursor`. Cost: two gets; where the cursor has moved, or an eighth
    /// of the lease has passed, some puts.
    template <storage_transaction Tx>
    [[nodiscard]] status renew(Tx& tx, author_index who, position cursor, wall_time now) const {
        auto s = read(tx);
        if (!s) { return s.error(); }
        std::int64_t const passed = now.time_since_epoch().count() - s->seen;
        // Small steps are added up: one write a minute at most.
        if (s->seen == 0 || passed < 0 ||
            passed >= (std::min)(std::int64_t{60'000}, std::int64_t{options_.step_max.count()})) {
            if (s->seen != 0 && passed > 0) { s->time += (std::min)(passed, std::int64_t{options_.step_max.count()}); }
            s->seen = now.time_since_epoch().count();
            if (auto ok = write(tx, *s); !ok) { return ok; }
        }
        auto held = find(tx, who);
        if (!held) { return held.error(); }
        lease const fresh{cursor, s->time + options_.length.count()};
        if (*held) {
            bool const young = fresh.ends - (*held)->ends < options_.length.count() / 8;
            if ((*held)->cursor == cursor && young) { return {}; }
            if (auto ok = drop(tx, who, **held); !ok) { return ok; }
        }
        bytes raw;
        append_u64(raw, fresh.cursor);
        append_u64(raw, static_cast<std::uint64_t>(fresh.ends));
        auto ok = tx.put(by_author(who), raw);
        if (ok) { ok = tx.put(index(by_cursor, fresh.cursor, who), {}); }
        if (ok) { ok = tx.put(index(by_end, static_cast<std::uint64_t>(fresh.ends), who), {}); }
        return ok;
    }

    /// Ends up to `budget` leases whose time is over; answers how many.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::size_t> lapse(Tx& tx, std::size_t budget) const {
        auto s = read(tx);
        if (!s) { return s.error(); }
        std::size_t ended = 0;
        for (; ended < budget; ++ended) {
            auto first = front(tx, by_end);
            if (!first) { return first.error(); }
            if (!*first || (*first)->first > static_cast<std::uint64_t>(s->time)) { break; }
            auto held = find(tx, (*first)->second);
            if (!held) { return held.error(); }
            if (!*held) { return failure{errc::corrupt, "lease"}; }
            if (auto ok = drop(tx, (*first)->second, **held); !ok) { return ok.error(); }
        }
        return ended;
    }

    /// The least cursor that a lease protects; nothing where there is none. Cost: the first key of a range.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<position>> least(Tx& tx) const {
        auto first = front(tx, by_cursor);
        if (!first) { return first.error(); }
        return *first ? std::optional<position>{(*first)->first} : std::nullopt;
    }

    /// What a replica's lease protects; nothing where it has none.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<position>> cursor_of(Tx& tx, author_index who) const {
        auto const held = find(tx, who);
        if (!held) { return held.error(); }
        return *held ? std::optional<position>{(*held)->cursor} : std::nullopt;
    }

private:
    struct state {
        position horizon = 0;
        position swept = 0;     ///< at most the horizon
        std::int64_t time = 0;  ///< lease time
        std::int64_t seen = 0;  ///< the wall time that it was brought up to; 0: never
    };
    struct lease {
        position cursor = 0;
        std::int64_t ends = 0;  ///< in lease time
    };
    // Behind the prefix: the state; cursor and author; author; end and author.
    static constexpr std::byte of_state{0};
    static constexpr std::byte by_cursor{1};
    static constexpr std::byte of_author{2};
    static constexpr std::byte by_end{3};

    [[nodiscard]] bytes key(std::byte kind) const {
        bytes k = prefix_;
        k.push_back(kind);
        return k;
    }
    [[nodiscard]] bytes by_author(author_index who) const {
        bytes k = key(of_author);
        append_u64(k, who);
        return k;
    }
    [[nodiscard]] bytes index(std::byte kind, std::uint64_t n, author_index who) const {
        bytes k = key(kind);
        append_u64(k, n);
        append_u64(k, who);
        return k;
    }

    template <class Tx>
    [[nodiscard]] result<state> read(Tx& tx) const {
        bytes raw;
        auto found = tx.get(key(of_state), raw);
        if (!found) { return found.error(); }
        state s;
        if (!*found) { return s; }
        cbor_reader in{raw};
        bool const behind = in.array() == 4;
        s.horizon = in.unsigned_integer();
        s.time = in.integer();
        s.seen = in.integer();
        s.swept = behind ? in.unsigned_integer() : s.horizon;
        if (!in.finish() || s.time < 0 || s.swept > s.horizon) { return failure{errc::corrupt, "lease time"}; }
        return s;
    }
    template <class Tx>
    [[nodiscard]] status write(Tx& tx, state const& s) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(s.swept == s.horizon ? 3 : 4);
        w.unsigned_integer(s.horizon);
        w.integer(s.time);
        w.integer(s.seen);
        if (s.swept != s.horizon) { w.unsigned_integer(s.swept); }
        return tx.put(key(of_state), raw);
    }
    template <class Tx>
    [[nodiscard]] result<std::optional<lease>> find(Tx& tx, author_index who) const {
        bytes raw;
        auto found = tx.get(by_author(who), raw);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<lease>{}; }
        if (raw.size() != 16) { return failure{errc::corrupt, "lease"}; }
        return std::optional<lease>{
            lease{read_u64(raw), static_cast<std::int64_t>(read_u64(bytes_view{raw}.subspan(8)))}};
    }
    template <class Tx>
    [[nodiscard]] status drop(Tx& tx, author_index who, lease const& l) const {
        auto ok = tx.erase(index(by_cursor, l.cursor, who));
        if (ok) { ok = tx.erase(index(by_end, static_cast<std::uint64_t>(l.ends), who)); }
        return ok ? tx.erase(by_author(who)) : ok;
    }
    template <class Tx>
    [[nodiscard]] result<std::optional<std::pair<std::uint64_t, author_index>>> front(Tx& tx, std::byte kind) const {
        std::optional<std::pair<std::uint64_t, author_index>> out;
        bool good = true;
        std::size_t const at = prefix_.size() + 1;
        auto ok = scan_prefix(tx, key(kind), [&](bytes_view k, bytes_view) {
            good = k.size() == at + 16;
            if (good) { out.emplace(read_u64(k.subspan(at)), static_cast<author_index>(read_u64(k.subspan(at + 8)))); }
            return false;
        });
        if (!ok) { return ok.error(); }
        if (!good) { return failure{errc::corrupt, "lease"}; }
        return out;
    }

    bytes prefix_;
    lease_options options_;
};

}  // namespace syncline::inline SYNCLINE_ABI
