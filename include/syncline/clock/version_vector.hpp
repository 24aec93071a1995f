// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Version vectors: exactly which mutations of which replica are held, as sets of dots kept as intervals.

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// One event: the replica that made it, and which of its events it is. Ordered by replica, then sequence.
struct dot {
    replica_id replica{};
    std::uint64_t sequence = 0;
    friend constexpr bool operator==(dot const&, dot const&) = default;
    friend constexpr std::strong_ordering operator<=>(dot const& a, dot const& b) noexcept {
        auto const c = a.replica <=> b.replica;
        return c != 0 ? c : a.sequence <=> b.sequence;
    }
};

/// The numbers from `first` to `last`, both included. Precondition of every use: first <= last.
struct interval {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    friend constexpr bool operator==(interval const&, interval const&) = default;
};

/// A set of 64-bit numbers as sorted intervals that neither overlap nor touch: a gap costs 16 bytes, a run nothing.
///
/// A value; equal sets are equal objects. k is the number of intervals.
class interval_set {
public:
    interval_set() = default;

    /// True when `n` was not in the set. Cost: O(1) past the end, else O(log k) and a shift of what follows.
    bool add(std::uint64_t n) { return add(interval{n, n}); }
    /// True when a number of `added` was not in the set. Cost: as above. Precondition: first <= last.
    bool add(interval added) {
        SYNCLINE_ASSERT(added.first <= added.last);
        if (runs_.empty() || added.first > runs_.back().last) {
            if (!runs_.empty() && added.first - 1 == runs_.back().last) {
                runs_.back().last = added.last;
            } else {
                runs_.push_back(added);
            }
            return true;
        }
        // [from, to): what overlaps or touches. `- 1` only where the number is not 0.
        auto const from = std::partition_point(runs_.begin(), runs_.end(), [&](interval const& r) {
            return added.first != 0 && r.last < added.first - 1;
        });
        auto const to = std::partition_point(
            from, runs_.end(), [&](interval const& r) { return r.first == 0 || r.first - 1 <= added.last; });
        if (from == to) {
            runs_.insert(from, added);
            return true;
        }
        if (to - from == 1 && from->first <= added.first && added.last <= from->last) { return false; }
        from->first = (std::min)(from->first, added.first);
        from->last = (std::max)((to - 1)->last, added.last);
        runs_.erase(from + 1, to);
        return true;
    }

    [[nodiscard]] bool contains(std::uint64_t n) const noexcept {
        auto const r = run_of(n);
        return r != runs_.end() && r->first <= n;
    }
    /// Every number of `other` is in this set. Cost: O(k + its k).
    [[nodiscard]] bool contains(interval_set const& other) const noexcept {
        auto r = runs_.begin();
        for (interval const& wanted : other.runs_) {
            while (r != runs_.end() && r->last < wanted.first) { ++r; }
            if (r == runs_.end() || r->first > wanted.first || r->last < wanted.last) { return false; }
        }
        return true;
    }

    /// Adds all of `other`: a union. True when that changed the set. Cost: O(k + its k), one allocation.
    bool merge(interval_set const& other) {
        if (contains(other)) { return false; }
        std::vector<interval> all;
        all.reserve(runs_.size() + other.runs_.size());
        auto a = runs_.begin();
        auto b = other.runs_.begin();
        while (a != runs_.end() || b != other.runs_.end()) {
            bool const ours = b == other.runs_.end() || (a != runs_.end() && a->first < b->first);
            interval const next = ours ? *a++ : *b++;
            if (!all.empty() && (next.first == 0 || next.first - 1 <= all.back().last)) {
                all.back().last = (std::max)(all.back().last, next.last);
            } else {
                all.push_back(next);
            }
        }
        runs_ = std::move(all);
        return true;
    }

    /// What is in this set and not in `other`. Cost: O(k + its k).
    [[nodiscard]] interval_set difference(interval_set const& other) const {
        interval_set out;
        auto b = other.runs_.begin();
        for (interval const& r : runs_) {
            while (b != other.runs_.end() && b->last < r.first) { ++b; }
            std::uint64_t first = r.first;
            bool left = true;
            for (; left && b != other.runs_.end() && b->first <= r.last; ++b) {
                if (b->first > first) { out.runs_.push_back({first, b->first - 1}); }
                if (b->last >= r.last) {
                    left = false;
                    break;  // it may reach into the next run of ours too
                }
                first = b->last + 1;
            }
            if (left) { out.runs_.push_back({first, r.last}); }
        }
        return out;
    }

    /// The last number up to which none is missing from `first` on; `first - 1` when `first` is missing itself.
    /// Precondition: first > 0. Cost: O(log k).
    [[nodiscard]] std::uint64_t low_water(std::uint64_t first = 1) const noexcept {
        SYNCLINE_ASSERT(first > 0);
        auto const r = run_of(first);
        return r != runs_.end() && r->first <= first ? r->last : first - 1;
    }
    /// The largest number, if there is one.
    [[nodiscard]] std::optional<std::uint64_t> highest() const noexcept {
        return runs_.empty() ? std::nullopt : std::optional(runs_.back().last);
    }
    /// How many numbers; 2^64 - 1 also stands for 2^64. Cost: O(k).
    [[nodiscard]] std::uint64_t count() const noexcept {
        std::uint64_t sum = 0;
        for (interval const& r : runs_) { sum = saturating_add(saturating_add(sum, r.last - r.first), 1); }
        return sum;
    }
    [[nodiscard]] bool empty() const noexcept { return runs_.empty(); }
    /// Ascending, disjoint, a gap between any two; valid until the set changes.
    [[nodiscard]] std::span<interval const> intervals() const noexcept { return runs_; }

    friend bool operator==(interval_set const&, interval_set const&) = default;

private:
    /// The first run that does not end before `n`.
    [[nodiscard]] std::vector<interval>::const_iterator run_of(std::uint64_t n) const noexcept {
        return std::partition_point(runs_.begin(), runs_.end(), [&](interval const& r) { return r.last < n; });
    }
    friend interval_set decode_interval_set(cbor_reader& in);
    std::vector<interval> runs_;
};

/// How two histories relate.
enum class causality : std::uint8_t {
    before,      ///< the first is contained in the second
    after,       ///< the first contains the second
    equal,       ///< the same dots
    concurrent,  ///< each has a dot that the other lacks
};

/// A set of dots, ordered by replica: what one replica holds of all, gaps included.
///
/// Unlike a vector of maxima it tells truly what is missing when mutations arrive out of order or by several
/// ways. A value; equal sets are equal objects. r is the number of replicas, k that of a replica's intervals.
/// Source: Parker et al. 1983; as sets with exceptions Malkhi, Terry, "Concise Version Vectors", DISC 2005.
class version_vector {
public:
    /// One replica's part; `sequences` is never empty.
    struct entry {
        replica_id replica{};
        interval_set sequences{};
        friend bool operator==(entry const&, entry const&) = default;
    };

    version_vector() = default;

    /// True when `d` was not held. Cost: O(log r + log k), and a shift when it is a new replica or gap.
    bool add(dot const& d) { return add(d.replica, interval{d.sequence, d.sequence}); }
    /// True when one of the dots was not held. Precondition: first <= last.
    bool add(replica_id const& who, interval sequences) {
        auto const at = position_of(who);
        if (at != entries_.end() && at->replica == who) { return at->sequences.add(sequences); }
        entry fresh{who, {}};
        fresh.sequences.add(sequences);
        entries_.insert(at, std::move(fresh));
        return true;
    }

    [[nodiscard]] bool contains(dot const& d) const noexcept {
        auto const* const held = find(d.replica);
        return held != nullptr && held->contains(d.sequence);
    }
    /// Every dot of `other` is held. Cost: linear.
    [[nodiscard]] bool contains(version_vector const& other) const noexcept {
        auto at = entries_.begin();
        for (entry const& e : other.entries_) {
            while (at != entries_.end() && at->replica < e.replica) { ++at; }
            if (at == entries_.end() || at->replica != e.replica || !at->sequences.contains(e.sequences)) {
                return false;
            }
        }
        return true;
    }

    /// Adds all of `other`'s dots. True when that changed anything. Cost: linear.
    bool merge(version_vector const& other) {
        bool changed = false;
        std::vector<entry> fresh;
        auto at = entries_.begin();
        for (entry const& e : other.entries_) {
            while (at != entries_.end() && at->replica < e.replica) { ++at; }
            if (at != entries_.end() && at->replica == e.replica) {
                changed = at->sequences.merge(e.sequences) || changed;
            } else {
                fresh.push_back(e);
            }
        }
        if (fresh.empty()) { return changed; }
        std::vector<entry> all;
        all.reserve(entries_.size() + fresh.size());
        auto a = entries_.begin();
        for (entry& e : fresh) {
            for (; a != entries_.end() && a->replica < e.replica; ++a) { all.push_back(std::move(*a)); }
            all.push_back(std::move(e));
        }
        for (; a != entries_.end(); ++a) { all.push_back(std::move(*a)); }
        entries_ = std::move(all);
        return true;
    }

    /// What they have that we lack: the dots of `other` that are not held here. Cost: linear.
    [[nodiscard]] version_vector missing(version_vector const& other) const {
        version_vector out;
        auto at = entries_.begin();
        for (entry const& e : other.entries_) {
            while (at != entries_.end() && at->replica < e.replica) { ++at; }
            if (at == entries_.end() || at->replica != e.replica) {
                out.entries_.push_back(e);
                continue;
            }
            auto lacked = e.sequences.difference(at->sequences);
            if (!lacked.empty()) { out.entries_.push_back({e.replica, std::move(lacked)}); }
        }
        return out;
    }

    /// The sequences held of a replica; null when there is none. Valid until the vector changes. Cost: O(log r).
    [[nodiscard]] interval_set const* find(replica_id const& who) const noexcept {
        auto const at =
            std::partition_point(entries_.begin(), entries_.end(), [&](entry const& e) { return e.replica < who; });
        return at != entries_.end() && at->replica == who ? &at->sequences : nullptr;
    }
    /// The last sequence up to which none of the replica's is missing, counting from 1; 0 when the first is.
    [[nodiscard]] std::uint64_t low_water(replica_id const& who) const noexcept {
        auto const* const held = find(who);
        return held == nullptr ? 0 : held->low_water();
    }
    [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
    /// In the replicas' order; valid until the vector changes.
    [[nodiscard]] std::span<entry const> entries() const noexcept { return entries_; }

    friend bool operator==(version_vector const&, version_vector const&) = default;

private:
    [[nodiscard]] std::vector<entry>::iterator position_of(replica_id const& who) noexcept {
        return std::partition_point(entries_.begin(), entries_.end(), [&](entry const& e) { return e.replica < who; });
    }
    friend version_vector decode_version_vector(cbor_reader& in);
    std::vector<entry> entries_;
};

/// How `a` relates to `b`: `before` when b holds all of a and more. Cost: linear.
[[nodiscard]] inline causality compare(version_vector const& a, version_vector const& b) noexcept {
    bool const a_in_b = b.contains(a);
    bool const b_in_a = a.contains(b);
    if (a_in_b) { return b_in_a ? causality::equal : causality::before; }
    return b_in_a ? causality::after : causality::concurrent;
}

/// Writes a set as an array of 2 k numbers: for each interval how many numbers are left out before it, less the
/// one that must be, and how many follow its first. So each set has one encoding, and a run takes a few bytes.
inline void encode_interval_set(cbor_writer& out, interval_set const& set) {
    auto const runs = set.intervals();
    out.array(2 * runs.size());
    std::uint64_t expected = 0;
    for (interval const& r : runs) {
        out.unsigned_integer(r.first - expected);
        out.unsigned_integer(r.last - r.first);
        expected = r.last + 2;  // wraps only after the last
    }
}
/// Reads what `encode_interval_set` wrote. Errors stick to `in`: its own; `malformed` for an odd number of
/// numbers; `overflow` past 64 bits; `limit` when the memory exceeds the budget of work. Empty on error.
[[nodiscard]] inline interval_set decode_interval_set(cbor_reader& in) {
    interval_set set;
    std::size_t const numbers = in.array();
    if (numbers % 2 != 0) {
        in.fail({errc::malformed, "a set of sequences has pairs of numbers"});
        return {};
    }
    if (!in.charge(numbers / 2 * sizeof(interval))) { return {}; }
    set.runs_.reserve(numbers / 2);
    std::uint64_t expected = 0;
    bool full = false;
    for (std::size_t i = 0; i < numbers; i += 2) {
        std::uint64_t const gap = in.unsigned_integer();
        std::uint64_t const more = in.unsigned_integer();
        if (in.failed()) { return {}; }
        auto const first = checked_add(expected, gap);
        auto const last = first ? checked_add(*first, more) : std::nullopt;
        if (full || !last) {
            in.fail({errc::overflow, "a sequence exceeds 64 bits"});
            return {};
        }
        set.runs_.push_back({*first, *last});
        full = *last > (std::numeric_limits<std::uint64_t>::max)() - 2;
        expected = full ? 0 : *last + 2;
    }
    return set;
}

/// Writes a map from each replica's 20 bytes, ascending, to its set of sequences.
inline void encode_version_vector(cbor_writer& out, version_vector const& v) {
    out.map(v.entries().size());
    for (version_vector::entry const& e : v.entries()) {
        out.byte_string(to_array(e.replica));
        encode_interval_set(out, e.sequences);
    }
}
/// Reads what `encode_version_vector` wrote. Errors stick to `in`: its own and those of `decode_interval_set`;
/// `malformed` for a key that is no replica or comes twice; `not_deterministic` for keys out of order and for an
/// empty set. Empty on error.
[[nodiscard]] inline version_vector decode_version_vector(cbor_reader& in) {
    version_vector v;
    std::size_t const replicas = in.map();
    for (std::size_t i = 0; i < replicas; ++i) {
        auto const who = replica_id_from(in.byte_string());
        if (!who) {
            in.fail(who.error());
            return {};
        }
        if (!v.entries_.empty() && v.entries_.back().replica >= *who) {
            bool const twice = v.entries_.back().replica == *who;
            in.fail(twice ? failure(errc::malformed, "a replica comes twice")
                          : failure(errc::not_deterministic, "replicas out of order"));
            return {};
        }
        if (!in.charge(sizeof(version_vector::entry))) { return {}; }
        auto sequences = decode_interval_set(in);
        if (sequences.empty()) { in.fail({errc::not_deterministic, "a replica without sequences"}); }
        if (in.failed()) { return {}; }
        v.entries_.push_back({*who, std::move(sequences)});
    }
    return v;
}

/// The canonical bytes: equal vectors give equal bytes, on every machine.
[[nodiscard]] inline bytes encode(version_vector const& v) {
    bytes out;
    cbor_writer writer(out);
    encode_version_vector(writer, v);
    return out;
}
/// The vector that `encode` wrote. Errors: those of `decode_version_vector`, `malformed` for more bytes after it.
/// Cost: linear in the bytes; memory about eight times theirs at worst, charged before it is had.
[[nodiscard]] inline result<version_vector> version_vector_from(bytes_view b, decode_limits const& limits = {}) {
    cbor_reader in(b, limits);
    auto v = decode_version_vector(in);
    if (auto const s = in.finish(); !s) { return s.error(); }
    return v;
}

}  // namespace syncline::inline SYNCLINE_ABI
