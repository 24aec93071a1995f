// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `delta_matcher`: which parts of a target are in its base, or further up in the target itself.
///
/// Successive versions mostly go on where they were: so after a match ends, the same distance is tried first, then a
/// dense index of the base around that place, which is built piece by piece where it is needed and nowhere else, and
/// only when that fails a sparse index of the whole base. What is equal costs a comparison, what is unrelated is passed
/// over in growing steps.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How many bytes two byte strings have in common at their beginning.
/// Cost: a comparison, 32 bytes a step.
[[nodiscard]] inline std::size_t common_prefix(bytes_view a, bytes_view b) noexcept {
    std::size_t const n = (std::min)(a.size(), b.size());
    std::byte const* const p = a.data();
    std::byte const* const q = b.data();
    std::size_t i = 0;
    auto const differ = [&](std::size_t at) { return detail::load_little64(p + at) ^ detail::load_little64(q + at); };
    for (; i + 32 <= n; i += 32) {
        if ((differ(i) | differ(i + 8) | differ(i + 16) | differ(i + 24)) != 0) { break; }
    }
    for (; i + 8 <= n; i += 8) {
        if (auto const d = differ(i); d != 0) { return i + static_cast<std::size_t>(std::countr_zero(d)) / 8; }
    }
    while (i < n && p[i] == q[i]) { ++i; }
    return i;
}

/// How many bytes they have in common at their end.
[[nodiscard]] inline std::size_t common_suffix(bytes_view a, bytes_view b) noexcept {
    std::size_t const n = (std::min)(a.size(), b.size());
    std::byte const* const p = a.data() + a.size();
    std::byte const* const q = b.data() + b.size();
    std::size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        auto const d = detail::load_little64(p - i - 8) ^ detail::load_little64(q - i - 8);
        if (d != 0) { return i + static_cast<std::size_t>(std::countl_zero(d)) / 8; }
    }
    while (i < n && *(p - i - 1) == *(q - i - 1)) { ++i; }
    return i;
}

/// How hard the matcher looks. Lengths are bytes.
struct match_options {
    std::uint8_t near_gram = 6;         ///< bytes that an entry of the near index hashes; 4 to 8
    std::uint8_t near_bits = 14;        ///< its slots, as a power of two; 8 to 24
    std::uint8_t near_step = 1;         ///< it holds each so manieth position
    std::uint8_t near_room = 0;         ///< and at most 2^`near_room` of them, or as many as slots where that is more
    std::uint8_t near_chain = 0;        ///< how many candidates of a slot are looked at beside the first
    std::uint32_t near_first = 4096;    ///< how far around the expected place it is filled at once
    std::uint32_t near_most = 1 << 16;  ///< and at most, growing with what goes unmatched
    std::uint32_t solid = 0;            ///< with each byte since the last match so long, too; 0: any match
    std::uint8_t far_step = 0;          ///< the sparse index holds each so manieth position; 0: there is none
    std::uint32_t far_after = 256;      ///< it is built when so much in a row went unmatched
    std::uint8_t self_gram = 0;         ///< bytes that an entry of the index of the target hashes; 0: there is none
    std::uint8_t self_bits = 16;        ///< its slots, as a power of two; 8 to 24
    std::uint8_t self_step = 8;         ///< what matched is entered at each so manieth position
    std::uint8_t straight_min = 6;      ///< the shortest match at the same distance as before
    std::uint8_t gain_min = 4;          ///< by how much one elsewhere must be longer than what it costs to say it
    std::uint8_t resync = 0;            ///< so far on a replaced part is looked for by comparing, before any index is
    std::uint8_t resync_skew = 0;       ///< and with so many bytes more or less in its place
    std::uint8_t lazy = 0;              ///< how many positions on it looks for a better one
    std::uint8_t lazy_chain = 255;      ///< for which it looks at no more than so many of `near_chain`
    std::uint8_t over = 0;  ///< so far before its end it looks for one that covers a short one; 0: it doesn't
    std::uint8_t skip = 8;  ///< steps grow by one each 2^skip unmatched bytes
    friend constexpr bool operator==(match_options const&, match_options const&) = default;
};

namespace detail {

/// Positions by hash. What an earlier use left behind is told by its number and needs no clearing, so that a small
/// record doesn't pay for a table built anew; the outcome is the same as with an empty one.
class position_table {
public:
    static constexpr std::uint32_t none = 0xFFFFFFFF;

    /// Makes room for positions below `size`, at most 2^31, with nothing in it.
    void begin(std::size_t size, unsigned bits) {
        std::size_t const table = std::size_t{1} << bits;
        if (slots_.size() != table || std::uint64_t{end_} + size >= none) {
            slots_.assign(table, 0);
            end_ = 1;
        }
        begin_ = end_;
        end_ = begin_ + static_cast<std::uint32_t>(size);
        shift_ = 64 - bits;
    }
    [[nodiscard]] std::size_t slot(std::uint64_t mixed) const noexcept {
        return static_cast<std::size_t>(mixed >> shift_);
    }
    /// The position in a slot, or `none`.
    [[nodiscard]] std::uint32_t get(std::size_t slot) const noexcept { return follow(slots_[slot]); }
    void put(std::size_t slot, std::size_t position) noexcept {
        slots_[slot] = begin_ + static_cast<std::uint32_t>(position);
    }
    /// Puts in the positions `from`, `from + step`, … below `to` of what begins at `origin`, by the hashes of the bytes there.
    template <class Mix>
    void fill(std::byte const* origin, std::size_t from, std::size_t to, std::size_t step, Mix mix) noexcept {
        std::uint32_t* const table = slots_.data();  // copies, which the writes can't change
        std::uint32_t const begin = begin_;
        unsigned const shift = shift_;
        for (std::size_t p = from; p < to; p += step) {
            table[mix(origin + p) >> shift] = begin + static_cast<std::uint32_t>(p);
        }
    }
    /// The same, with each position's predecessor of the same slot in `chain`, as `follow` reads it.
    template <class Mix>
    void fill(std::byte const* origin, std::size_t from, std::size_t to, std::size_t step, Mix mix,
              std::uint32_t* chain) noexcept {
        std::uint32_t* const table = slots_.data();
        std::uint32_t const begin = begin_;
        unsigned const shift = shift_;
        for (std::size_t p = from; p < to; p += step) {
            std::uint32_t& slot = table[mix(origin + p) >> shift];
            chain[p] = slot;
            slot = begin + static_cast<std::uint32_t>(p);
        }
    }
    /// What a chain holds, as a position or `none`.
    [[nodiscard]] std::uint32_t follow(std::uint32_t number) const noexcept {
        return number < begin_ ? none : number - begin_;
    }
    [[nodiscard]] std::size_t bytes_held() const noexcept { return slots_.capacity() * sizeof(std::uint32_t); }

private:
    std::vector<std::uint32_t> slots_;
    std::uint32_t begin_ = 1;
    std::uint32_t end_ = 1;
    unsigned shift_ = 0;
};

/// Asks for what is going to be read.
inline void prefetch([[maybe_unused]] void const* at) noexcept {
#if defined(__GNUC__)
    __builtin_prefetch(at);
#endif
}

/// The first position of each step of a whole base, by hash. As it outgrows the caches, a slot has some bits of the
/// hash beside the position, which spare a look at the base at what is something else; and it can be asked for
/// beforehand. Like `position_table` it needs no clearing.
class sparse_table {
public:
    static constexpr std::uint32_t none = 0xFFFFFFFF;

    /// Makes room for `count` steps, at most 2^31, with nothing in it.
    void begin(std::size_t count, unsigned bits) {
        std::size_t const table = std::size_t{1} << bits;
        unsigned const tag = count < std::size_t{1} << 26 ? 4 : 0;
        if (slots_.size() != table || tag != tag_ || std::uint64_t{end_} + count >= std::uint64_t{1} << (32 - tag)) {
            slots_.assign(table, 0);
            end_ = 1;
        }
        begin_ = end_;
        end_ = begin_ + static_cast<std::uint32_t>(count);
        tag_ = tag;
        shift_ = 64 - bits - tag;
    }
    /// Puts in all steps, by the hashes of the bytes at their beginnings.
    template <class Mix>
    void fill(std::byte const* origin, std::size_t step, Mix mix) noexcept {
        std::uint32_t* const table = slots_.data();  // copies, which the writes can't change
        std::uint32_t const end = end_;
        unsigned const shift = shift_;
        unsigned const tag = tag_;
        std::uint32_t const mask = (1U << tag) - 1;
        std::byte const* p = origin;
        for (std::uint32_t number = begin_; number != end; ++number, p += step) {
            std::uint64_t const place = mix(p) >> shift;
            table[place >> tag] = (number << tag) | (static_cast<std::uint32_t>(place) & mask);
        }
    }
    void expect(std::uint64_t mixed) const noexcept { prefetch(slots_.data() + (mixed >> shift_ >> tag_)); }
    /// The step in the slot of a hash, if it has the same one as far as the slot tells; or `none`.
    [[nodiscard]] std::uint32_t get(std::uint64_t mixed) const noexcept {
        std::uint64_t const place = mixed >> shift_;
        std::uint32_t const slot = slots_[static_cast<std::size_t>(place >> tag_)];
        std::uint32_t const number = slot >> tag_;
        bool const other = ((slot ^ static_cast<std::uint32_t>(place)) & ((1U << tag_) - 1)) != 0;
        return other || number < begin_ ? none : number - begin_;
    }
    [[nodiscard]] std::size_t bytes_held() const noexcept { return slots_.capacity() * sizeof(std::uint32_t); }

private:
    std::vector<std::uint32_t> slots_;
    std::uint32_t begin_ = 1;
    std::uint32_t end_ = 1;
    unsigned tag_ = 0;  ///< bits of the hash in a slot
    unsigned shift_ = 0;
};

}  // namespace detail

/// Memory that encoders use again from one call to the next. What is made does not depend on what it was used for.
/// Threads: one encoder at a time.
class delta_scratch {
public:
    /// Bytes that it holds.
    [[nodiscard]] std::size_t bytes_held() const noexcept {
        return near_.bytes_held() + far_.bytes_held() + self_.bytes_held() + chain_.capacity() * 4 + first.capacity() +
               second.capacity() + third.capacity();
    }

    bytes first, second, third;  ///< sections that an encoder writes before it knows their lengths

private:
    friend class delta_matcher;
    detail::position_table near_, self_;
    detail::sparse_table far_;
    std::vector<std::uint32_t> chain_;
};

/// Finds matches of targets in one base.
///
/// `run(target, out)` calls `out.add(at, n)`, `out.copy(base_at, n)` and, if told to match the target itself,
/// `out.self(at, n)` (which may overlap what it makes), so that in this order they make the target; a further target
/// is taken for the continuation of the one before. `out.copy_cost(base_at)` and `out.self_cost(at, from)` say how many
/// bytes it takes to say so, two at least. Bases of more than 2 GiB are matched beyond that at the same distance only.
/// Cost: what is equal, a comparison; what isn't, a few nanoseconds a byte, less the longer it goes on; memory of
/// `4 << bits` for each index, in `scratch`.
class delta_matcher {
public:
    delta_matcher(bytes_view base, match_options const& options, delta_scratch& scratch) noexcept
        : base_(base),
          indexed_(base.first((std::min)(base.size(), std::size_t{1} << 31))),
          o_(options),
          s_(scratch),
          far_built_(options.far_step == 0) {}

    /// Where in the base the next byte of the target is expected.
    void expect(std::size_t base_at) noexcept { cursor_ = base_at; }

    template <class Out>
    void run(bytes_view target, Out& out) {
        SYNCLINE_ASSERT(target.size() < std::size_t{1} << 31);
        target_ = target;
        if (o_.self_gram != 0) { s_.self_.begin(target.size(), o_.self_bits); }
        std::size_t t = 0;
        anchor_ = 0;
        shift_ = static_cast<std::ptrdiff_t>(cursor_);
        last_shift_ = shift_;
        next_look_ = 0;
        home_end_ = 0;
        solid_end_ = 0;
        // What goes on at the same distance needs no index.
        if (auto const n = straight(0, shift_); n >= 16) { take(out, {0, shift_, n, 0, false}, t); }
        while (t + 8 <= target.size()) {
            if (o_.resync != 0 && t == anchor_) {
                if (found const again = resync(t); again.length != 0) {
                    take(out, again, t);
                    continue;
                }
            }
            found best = find(t, out);
            if (best.length == 0) {
                t += stride(t);
                continue;
            }
            for (std::size_t i = 1; i <= o_.lazy && best.length < long_match && t + i + 8 <= target.size(); ++i) {
                found const later = find(t + i, out, o_.lazy_chain);
                if (later.gain > best.gain + static_cast<std::ptrdiff_t>(i > 1)) { best = later; }
            }
            if (o_.over != 0 && best.length < long_match) { look_over(best, t, out); }
            take(out, best, t);
        }
        if (target.size() > anchor_) { out.add(anchor_, target.size() - anchor_); }
        auto const end = shift_ + static_cast<std::ptrdiff_t>(target.size());
        cursor_ = end < 0 ? 0 : static_cast<std::size_t>(end);
    }

private:
    struct found {
        std::size_t at = 0;        ///< in the target
        std::ptrdiff_t shift = 0;  ///< base (or target) position minus target position
        std::size_t length = 0;    ///< 0: nothing
        std::ptrdiff_t gain = 0;   ///< bytes that it spares
        bool self = false;
    };

    /// A match says where base and target go on when it is long enough for that: a short one may be anywhere.
    static constexpr std::size_t long_match = 32;   ///< a little further on or back
    static constexpr std::size_t home_match = 256;  ///< anywhere
    static constexpr std::ptrdiff_t near_shift = 4096;
    static constexpr std::size_t entered_most = 1024;
    static constexpr std::size_t cost_least = 2;  ///< what saying a match takes at least
    static constexpr std::size_t far_ahead = 4;   ///< so many positions before, the sparse index is asked for a slot

    static constexpr std::uint64_t prime = 0x9E3779B185EBCA87;

    [[nodiscard]] static std::uint64_t mix(std::uint64_t word, unsigned gram) noexcept {
        return (word << (64 - 8 * gram)) * prime;
    }
    /// Of 16 bytes, for the sparse index.
    [[nodiscard]] static std::uint64_t mix_block(std::byte const* p) noexcept {
        return ((detail::load_little64(p) * prime) ^ std::rotl(detail::load_little64(p + 8), 29)) * 0xC2B2AE3D27D4EB4F;
    }

    /// How far it goes on from a position at which nothing was found.
    [[nodiscard]] std::size_t stride(std::size_t t) const noexcept {
        return 1 + (((t - anchor_) >> o_.skip) & ~std::size_t{1});
    }
    /// Bytes in common at a distance.
    [[nodiscard]] std::size_t straight(std::size_t t, std::ptrdiff_t shift) const noexcept {
        auto const b = static_cast<std::ptrdiff_t>(t) + shift;
        if (b < 0 || static_cast<std::size_t>(b) >= base_.size()) { return 0; }
        return common_prefix(base_.subspan(static_cast<std::size_t>(b)), target_.subspan(t));
    }

    /// Sees to it that the near index holds what is around `center`: one stretch of the base, which grows as long as
    /// the table has room for it, and begins anew elsewhere.
    void cover(std::size_t center, std::size_t radius) {
        if (indexed_.size() < 8) { return; }
        std::size_t const last = indexed_.size() - 7;
        std::size_t const room = (std::size_t{1} << (std::max)(o_.near_bits, o_.near_room)) * o_.near_step;
        center = (std::min)(center, last);
        radius = (std::min)(radius, room / 2);
        std::size_t from = center - (std::min)(center, radius / 2);
        std::size_t const to = (std::min)(last, center + radius);
        bool const goes_on = near_to_ > origin_ && from >= origin_ && from <= near_to_ && to - origin_ <= room;
        if (goes_on) {
            from = (std::max)(from, near_to_);
        } else {
            s_.near_.begin(room, o_.near_bits);
            origin_ = from;
            if (o_.near_chain != 0 && s_.chain_.size() < room) { s_.chain_.resize(room); }
        }
        auto const mixed = [drop = 64 - 8U * o_.near_gram](std::byte const* p) {
            return (detail::load_little64(p) << drop) * prime;
        };
        std::byte const* const origin = base_.data() + origin_;
        std::size_t const end = to < from ? 0 : to - origin_;
        if (o_.near_chain != 0) {
            s_.near_.fill(origin, from - origin_, end, o_.near_step, mixed, s_.chain_.data());
        } else {
            s_.near_.fill(origin, from - origin_, end, o_.near_step, mixed);
        }
        near_to_ = (std::max)(to, from);
    }
    /// After `t - anchor_` bytes that matched nothing, the first time after none.
    void look_wider(std::size_t t) {
        std::size_t const unmatched = t - (o_.solid == 0 ? anchor_ : solid_end_);
        std::size_t const radius = (std::max)(std::size_t{o_.near_first}, 4 * unmatched);
        if (radius == o_.near_first || radius <= o_.near_most) {
            auto const center = static_cast<std::ptrdiff_t>(t) + shift_;
            cover(center < 0 ? 0 : static_cast<std::size_t>(center), radius);
            next_look_ = t + radius / 8;
        } else {
            next_look_ = target_.size();
        }
    }
    void build_far() {
        far_built_ = true;
        far_ready_ = true;
        unsigned bits = 10;
        while (bits < 22 && (indexed_.size() / o_.far_step) >> bits != 0) { ++bits; }
        s_.far_.begin(indexed_.size() < 16 ? 0 : (indexed_.size() - 16) / o_.far_step + 1, bits);
        s_.far_.fill(base_.data(), o_.far_step, mix_block);
    }

    /// Looks a candidate over: how far it goes both ways, and what it is worth. Most are worth less than the best, and
    /// that shows before they are compared to their ends. `word` is the target's at `t`. Precondition: eight bytes are
    /// at `p` too.
    template <class Out>
    void consider(found& best, bytes_view in, std::size_t p, std::uint64_t word, std::size_t t, bool self,
                  Out& out) const {
        std::uint64_t const differ = detail::load_little64(in.data() + p) ^ word;
        if (static_cast<std::uint32_t>(differ) != 0) { return; }
        std::size_t const open = t - anchor_;
        std::size_t const beat = static_cast<std::size_t>(best.gain) + cost_least;  // it has to be longer than that
        std::size_t forward = 0;
        if (differ != 0) {
            forward = static_cast<std::size_t>(std::countr_zero(differ)) / 8;
        } else {
            if (beat >= open + 8) {  // then it has to go on to here, whatever stands before
                std::size_t const last = beat - open - 7;
                if (last + 8 > (std::min)(in.size() - p, target_.size() - t) ||
                    detail::load_little64(in.data() + p + last) != detail::load_little64(target_.data() + t + last)) {
                    return;
                }
            }
            forward = 8 + common_prefix(in.subspan(p + 8), target_.subspan(t + 8));
        }
        if (forward + open <= beat) { return; }
        std::size_t const back = common_suffix(in.first(p), target_.subspan(anchor_, open));
        std::size_t const length = forward + back;
        if (length <= beat) { return; }
        auto const cost = self ? out.self_cost(t - back, p - back) : out.copy_cost(p - back);
        auto const gain = static_cast<std::ptrdiff_t>(length) - static_cast<std::ptrdiff_t>(cost);
        if (gain < o_.gain_min || gain <= best.gain) { return; }
        best = {t - back, static_cast<std::ptrdiff_t>(p) - static_cast<std::ptrdiff_t>(t), length, gain, self};
    }
    void consider_straight(found& best, std::uint64_t word, std::size_t t, std::ptrdiff_t shift) const noexcept {
        auto const b = static_cast<std::ptrdiff_t>(t) + shift;
        if (b < 0 || static_cast<std::size_t>(b) + 8 > base_.size()) { return; }
        std::uint64_t const other = detail::load_little64(base_.data() + b);
        if (static_cast<std::uint32_t>(word) != static_cast<std::uint32_t>(other)) { return; }
        std::size_t const n = straight(t, shift);
        auto const gain = static_cast<std::ptrdiff_t>(n) - 2;
        if (n >= o_.straight_min && gain > best.gain) { best = {t, shift, n, gain, false}; }
    }

    /// Where the two go on after a small replacement: the first eight bytes that are the same, nearly straight ahead.
    [[nodiscard]] found resync(std::size_t t) const noexcept {
        auto const b = static_cast<std::ptrdiff_t>(t) + shift_;
        std::ptrdiff_t const skew = o_.resync_skew;
        std::size_t const reach = o_.resync;
        bool const inside = b >= skew && static_cast<std::size_t>(b + skew) + reach + 8 <= base_.size() &&
                            t + reach + 8 <= target_.size();
        if (!inside) { return {}; }
        std::byte const* const was = base_.data() + b;
        std::byte const* const is = target_.data() + t;
        for (std::size_t i = 1; i <= reach; ++i) {
            if (detail::load_little64(was + i) == detail::load_little64(is + i)) { return went_on(t + i, shift_); }
        }
        for (std::ptrdiff_t s = 1; s <= skew; ++s) {
            for (std::ptrdiff_t const by : {s, -s}) {
                for (std::size_t i = 0; i < reach; ++i) {
                    if (detail::load_little64(was + i + by) == detail::load_little64(is + i)) {
                        return went_on(t + i, shift_ + by);
                    }
                }
            }
        }
        return {};
    }
    [[nodiscard]] found went_on(std::size_t t, std::ptrdiff_t shift) const noexcept {
        return {t, shift, straight(t, shift), 1, false};
    }

    /// An index knows few of the places at which equal bytes begin, so what it finds may end early. The bytes across that
    /// end are of a place that goes on, and where that has all of what was found, too, it is the better one.
    template <class Out>
    void look_over(found& best, std::size_t t, Out& out) {
        std::size_t const at = best.at + best.length - (std::min)(best.length, std::size_t{o_.over});
        if (at <= t + o_.lazy || at + 8 > target_.size()) { return; }  // looked at before
        found const wider = find(at, out);
        if (wider.gain > best.gain && wider.at <= best.at + 1) { best = wider; }
    }

    /// The best match that goes through `t`, of at most `chain` and one candidates of the near index. Precondition:
    /// eight bytes are there.
    template <class Out>
    [[nodiscard]] found find(std::size_t t, Out& out, unsigned chain = 255) {
        std::uint64_t const word = detail::load_little64(target_.data() + t);
        found best;
        consider_straight(best, word, t, shift_);
        if (best.length >= long_match) { return best; }
        if (last_shift_ != shift_) { consider_straight(best, word, t, last_shift_); }
        if (t >= next_look_) { look_wider(t); }
        if (!far_built_ && t - home_end_ >= o_.far_after) { build_far(); }
        if (near_to_ > origin_) {
            chain = (std::min)(chain, unsigned{o_.near_chain});
            bytes_view const stretch = indexed_.subspan(origin_);
            std::size_t p = s_.near_.get(s_.near_.slot(mix(word, o_.near_gram)));
            for (unsigned i = 0; p < stretch.size(); ++i) {
                consider(best, indexed_, origin_ + p, word, t, false, out);
                if (i == chain || best.length >= 4 * long_match) { break; }
                std::size_t const next = s_.near_.follow(s_.chain_[p]);
                if (next >= p) { break; }
                p = next;
            }
        }
        if (far_ready_ && best.length < long_match && t + 16 <= target_.size()) {
            std::byte const* const here = target_.data() + t;
            if (std::size_t const on = far_ahead * stride(t); t + on + 16 <= target_.size()) {
                s_.far_.expect(mix_block(here + on));
            }
            if (std::uint32_t const q = s_.far_.get(mix_block(here)); q != s_.far_.none) {
                consider(best, indexed_, std::size_t{q} * o_.far_step, word, t, false, out);
            }
        }
        if (o_.self_gram != 0) {
            std::size_t const slot = s_.self_.slot(mix(word, o_.self_gram));
            std::size_t const q = s_.self_.get(slot);
            if (q < t) { consider(best, target_, q, word, t, true, out); }
            s_.self_.put(slot, t);
        }
        return best;
    }

    /// Enters a part of the target that matched. Of a long match the middle is left out: it can be had from the base.
    void enter(std::size_t from, std::size_t to) noexcept {
        s_.self_.fill(target_.data(), from, to, o_.self_step, [drop = 64 - 8U * o_.self_gram](std::byte const* p) {
            return (detail::load_little64(p) << drop) * prime;
        });
    }

    template <class Out>
    void take(Out& out, found const& m, std::size_t& t) {
        if (m.at > anchor_) { out.add(anchor_, m.at - anchor_); }
        auto const from = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(m.at) + m.shift);
        if (m.self) {
            out.self(from, m.length);
        } else {
            out.copy(from, m.length);
            last_shift_ = m.shift;
            auto const moved = m.shift < shift_ ? shift_ - m.shift : m.shift - shift_;
            if (m.length >= (moved <= near_shift ? long_match : home_match)) {
                shift_ = m.shift;
                home_end_ = m.at + m.length;
            }
        }
        t = m.at + m.length;
        if (o_.self_gram != 0) {
            std::size_t const end = (std::min)(t, target_.size() < 8 ? 0 : target_.size() - 7);
            enter(m.at + 1, (std::min)(end, m.at + entered_most));
            if (end > m.at + entered_most) { enter((std::max)(m.at, end - (std::min)(end, entered_most)), end); }
        }
        anchor_ = t;
        next_look_ = (std::min)(next_look_, t + 1);
        if (m.length >= o_.solid) {
            solid_end_ = t;
            next_look_ = t;
        }
    }

    bytes_view base_;
    bytes_view indexed_;
    bytes_view target_{};
    match_options o_;
    delta_scratch& s_;
    std::size_t cursor_ = 0;
    std::size_t anchor_ = 0;         ///< where what is not matched begins
    std::size_t home_end_ = 0;       ///< where the last match ended that said where to go on
    std::size_t solid_end_ = 0;      ///< where the last match ended that was longer than chance
    std::size_t next_look_ = 0;      ///< the target position at which the near index has to grow
    std::size_t origin_ = 0;         ///< the near index holds the base from here
    std::size_t near_to_ = 0;        ///< to here
    std::ptrdiff_t shift_ = 0;       ///< of the last long match in the base that said where to go on
    std::ptrdiff_t last_shift_ = 0;  ///< of the last match in the base
    bool far_built_;
    bool far_ready_ = false;
};

}  // namespace syncline::inline SYNCLINE_ABI
