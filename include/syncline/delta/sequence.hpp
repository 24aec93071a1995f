// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Edit scripts between two sequences of tokens or two texts of lines, and the merge of two scripts from one base.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/hash.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// One run of `a` that became one run of `b`; either may be empty, not both. What lies between edits is equal.
struct sequence_edit {
    std::size_t a_begin = 0;
    std::size_t a_end = 0;
    std::size_t b_begin = 0;
    std::size_t b_end = 0;
    friend bool operator==(sequence_edit const&, sequence_edit const&) = default;
};

/// In ascending order, no two of them touching.
using edit_script = std::vector<sequence_edit>;

/// How much work a difference may cost before it is found by a heuristic instead of exactly.
struct sequence_options {
    /// Edits that the exact search looks for in one stretch, at most; beyond it, tokens that both sides have just once
    /// anchor the stretch, and where there are none the furthest way found so far is taken.
    std::size_t edits_max = 1'024;
    /// Tokens that all searches together look at, at most, for each token of both sides, beside the first 65,536: what is
    /// not decided by then is changed as a whole. 0: no limit, and the time is O(length² / edits_max) where few
    /// different tokens come again and again.
    std::uint32_t looks_max = 0;
    friend constexpr bool operator==(sequence_options const&, sequence_options const&) = default;
};

namespace detail {

inline constexpr std::size_t wide_bytes = 128;

/// Bytes that both begin with.
[[nodiscard]] inline std::size_t common_prefix(std::byte const* a, std::byte const* b, std::size_t n) noexcept {
    std::size_t i = 0;
    while (n - i >= wide_bytes && std::memcmp(a + i, b + i, wide_bytes) == 0) { i += wide_bytes; }
    for (; n - i >= 8; i += 8) {
        std::uint64_t x = 0;
        std::uint64_t y = 0;
        std::memcpy(&x, a + i, 8);
        std::memcpy(&y, b + i, 8);
        if (x == y) { continue; }
        auto const differ = x ^ y;
        int const zero =
            std::endian::native == std::endian::little ? std::countr_zero(differ) : std::countl_zero(differ);
        return i + static_cast<std::size_t>(zero) / 8;
    }
    while (i != n && a[i] == b[i]) { ++i; }
    return i;
}
/// Bytes that both end with; `a` and `b` point behind their ends.
[[nodiscard]] inline std::size_t common_suffix(std::byte const* a, std::byte const* b, std::size_t n) noexcept {
    std::size_t i = 0;
    while (n - i >= wide_bytes && std::memcmp(a - i - wide_bytes, b - i - wide_bytes, wide_bytes) == 0) {
        i += wide_bytes;
    }
    while (n - i >= 8 && std::memcmp(a - i - 8, b - i - 8, 8) == 0) { i += 8; }
    while (i != n && *(a - i - 1) == *(b - i - 1)) { ++i; }
    return i;
}

/// Appends an edit, to the one before where they touch.
inline void add_edit(edit_script& out, sequence_edit const& e) {
    if (e.a_begin == e.a_end && e.b_begin == e.b_end) { return; }
    if (!out.empty() && out.back().a_end == e.a_begin && out.back().b_end == e.b_begin) {
        out.back().a_end = e.a_end;
        out.back().b_end = e.b_end;
    } else {
        out.push_back(e);
    }
}

/// The search for a shortest edit script in linear space.
/// Source: Myers, "An O(ND) Difference Algorithm and Its Variations", Algorithmica 1986; the anchors are those of
/// patience diff (Cohen 2003).
class token_difference {
public:
    explicit token_difference(sequence_options const& options)
        : edits_max_((std::max)(options.edits_max, std::size_t{1})), looks_max_(options.looks_max) {}

    /// The script, valid until the next run: what it needs is kept from one to the next.
    [[nodiscard]] edit_script& run(std::span<std::uint32_t const> a, std::span<std::uint32_t const> b) {
        SYNCLINE_ASSERT(a.size() < size_max && b.size() < size_max);
        // What the other side does not have at all is changed whatever comes: the search is among the rest.
        mark(a, in_a_);
        mark(b, in_b_);
        keep(a, in_b_, a_kept_, a_places_);
        keep(b, in_a_, b_kept_, b_places_);
        return found(a, b);
    }

    /// How often each token, by its number, stands in two whole texts that `run` is given the middles of; and their lengths.
    struct whole {
        std::span<std::uint32_t const> in_a, in_b;
        std::size_t a_size, b_size;
    };
    /// The same for the middles of two texts that begin and end alike. Of several scripts that are as short it takes the
    /// one that git's diff takes, as long as the search stays exact: what decides is which tokens are left out of it.
    [[nodiscard]] edit_script& run(std::span<std::uint32_t const> a, std::span<std::uint32_t const> b,
                                   whole const& texts) {
        SYNCLINE_ASSERT(a.size() < size_max && b.size() < size_max);
        keep(a, texts.in_b, common_from(texts.a_size), a_kept_, a_places_);
        keep(b, texts.in_a, common_from(texts.b_size), b_kept_, b_places_);
        return found(a, b);
    }

    /// Whether the last run had more than one shortest script to choose from, or can't tell: where one side has all that
    /// the other kept, in its order, there is one if its first and its last places there are the same.
    [[nodiscard]] bool had_a_choice() {
        bool const more_in_a = a_kept_.size() > b_kept_.size();
        auto const& more = more_in_a ? a_kept_ : b_kept_;
        auto const& less = more_in_a ? b_kept_ : a_kept_;
        if (more.size() == less.size()) { return more != less; }
        first_places_.clear();
        std::size_t at = 0;
        for (std::uint32_t const token : less) {
            while (at != more.size() && more[at] != token) { ++at; }
            if (at == more.size()) { return true; }
            first_places_.push_back(at++);
        }
        at = more.size();
        for (std::size_t k = less.size(); k != 0; --k) {
            do { --at; } while (more[at] != less[k - 1]);
            if (at != first_places_[k - 1]) { return true; }
        }
        return false;
    }

    /// Diagonals and tokens that the last run looked at.
    [[nodiscard]] std::uint64_t looks() const noexcept { return looks_; }

private:
    static constexpr std::size_t size_max = std::size_t{1} << 30;
    using diagonal = std::int32_t;
    struct stretch {
        std::size_t a_begin, a_end, b_begin, b_end;
    };
    struct point {
        std::size_t x, y;
    };

    /// The script from that of the tokens that were kept.
    [[nodiscard]] edit_script& found(std::span<std::uint32_t const> a, std::span<std::uint32_t const> b) {
        search(a_kept_, b_kept_);
        out_.clear();
        std::size_t i = 0, j = 0;  // of the whole sequences, behind the last pair
        std::size_t k = 0, l = 0;  // of what was kept
        auto const pair_up = [&](std::size_t up_to) {
            for (; k != up_to; ++k, ++l) {
                add_edit(out_, {i, a_places_[k], j, b_places_[l]});
                i = a_places_[k] + 1;
                j = b_places_[l] + 1;
            }
        };
        for (sequence_edit const& e : kept_script_) {
            pair_up(e.a_begin);
            k = e.a_end;
            l = e.b_end;
        }
        pair_up(a_kept_.size());
        add_edit(out_, {i, a.size(), j, b.size()});
        return out_;
    }

    static void mark(std::span<std::uint32_t const> ids, std::vector<std::uint8_t>& there) {
        there.clear();
        for (std::uint32_t const id : ids) {
            if (id >= there.size()) { there.resize((std::max)(std::size_t{id} + 1, 2 * there.size())); }
            there[id] = 1;
        }
    }
    static void keep(std::span<std::uint32_t const> ids, std::vector<std::uint8_t> const& other,
                     std::vector<std::uint32_t>& kept, std::vector<std::size_t>& places) {
        kept.clear();
        places.clear();
        for (std::size_t i = 0; i != ids.size(); ++i) {
            if (ids[i] >= other.size() || other[ids[i]] == 0) { continue; }
            kept.push_back(ids[i]);
            places.push_back(i);
        }
    }

    /// How often a token must stand in the other text to be common there: some square root of the length.
    [[nodiscard]] static std::uint32_t common_from(std::size_t length) noexcept {
        auto const halves = static_cast<unsigned>(std::bit_width(length) + 1) / 2;
        return (std::min)(std::uint32_t{1} << halves, std::uint32_t{1'024});
    }
    /// Keeps what the other text has, but for common tokens among many that it has not: they would be paired by chance.
    static void keep(std::span<std::uint32_t const> ids, std::span<std::uint32_t const> in_other,
                     std::uint32_t common_from, std::vector<std::uint32_t>& kept, std::vector<std::size_t>& places) {
        kept.clear();
        places.clear();
        constexpr std::size_t reach = 100;
        auto const missing = [&](std::size_t k) { return in_other[ids[k]] == 0; };
        auto const common = [&](std::size_t k) { return in_other[ids[k]] >= common_from; };
        auto const by_chance = [&](std::size_t i) {
            std::size_t alone = 0;
            std::size_t often = 2;
            std::size_t const low = i - (std::min)(i, reach);
            for (std::size_t k = i; k != low && (missing(k - 1) || common(k - 1)); --k) {
                ++(missing(k - 1) ? alone : often);
            }
            if (alone == 0) { return false; }
            std::size_t const above = alone;
            std::size_t const high = (std::min)(ids.size(), i + reach + 1);
            for (std::size_t k = i + 1; k != high && (missing(k) || common(k)); ++k) { ++(missing(k) ? alone : often); }
            return alone != above && often * 4 < often + alone;
        };
        for (std::size_t i = 0; i != ids.size(); ++i) {
            if (missing(i) || (common(i) && by_chance(i))) { continue; }
            kept.push_back(ids[i]);
            places.push_back(i);
        }
    }

    void search(std::span<std::uint32_t const> a, std::span<std::uint32_t const> b) {
        a_ = a;
        b_ = b;
        kept_script_.clear();
        looks_ = 0;
        std::uint64_t const looks_most = looks_max_ == 0 ? (std::numeric_limits<std::uint64_t>::max)()
                                                         : 65'536 + std::uint64_t{looks_max_} * (a.size() + b.size());
        // A stack of stretches, the first on top: no recursion.
        std::vector<stretch>& todo = todo_;
        todo.assign(1, {0, a_.size(), 0, b_.size()});
        while (!todo.empty()) {
            stretch s = todo.back();
            todo.pop_back();
            while (s.a_begin != s.a_end && s.b_begin != s.b_end && a_[s.a_begin] == b_[s.b_begin]) {
                ++s.a_begin;
                ++s.b_begin;
            }
            while (s.a_begin != s.a_end && s.b_begin != s.b_end && a_[s.a_end - 1] == b_[s.b_end - 1]) {
                --s.a_end;
                --s.b_end;
            }
            if (s.a_begin == s.a_end || s.b_begin == s.b_end || looks_ >= looks_most) {
                add_edit(kept_script_, {s.a_begin, s.a_end, s.b_begin, s.b_end});
                continue;
            }
            split(s, todo);
        }
    }

    void split(stretch const& s, std::vector<stretch>& todo) {
        bool exact = false;
        point const p = middle(s, exact);
        if (!exact && anchored(s, todo)) { return; }
        todo.push_back({p.x, s.a_end, p.y, s.b_end});
        todo.push_back({s.a_begin, p.x, s.b_begin, p.y});
    }

    [[nodiscard]] diagonal& at(std::vector<diagonal>& v, diagonal d) const noexcept {
        return v[static_cast<std::size_t>(static_cast<std::int64_t>(d) + static_cast<std::int64_t>(b_.size()) + 1)];
    }

    /// A point on a shortest way, or, when that is too far, on the way that came furthest. Precondition: neither side
    /// is empty, and the first tokens differ, and so do the last.
    [[nodiscard]] point middle(stretch const& s, bool& exact) {
        std::size_t const room = a_.size() + b_.size() + 3;
        if (forward_.size() < room) {
            forward_.resize(room);
            backward_.resize(room);
        }
        auto const x_low = static_cast<diagonal>(s.a_begin);
        auto const x_high = static_cast<diagonal>(s.a_end);
        auto const y_low = static_cast<diagonal>(s.b_begin);
        auto const y_high = static_cast<diagonal>(s.b_end);
        diagonal const least = x_low - y_high;
        diagonal const most = x_high - y_low;
        diagonal const f_mid = x_low - y_low;
        diagonal const b_mid = x_high - y_high;
        diagonal f_min = f_mid;
        diagonal f_max = f_mid;
        diagonal b_min = b_mid;
        diagonal b_max = b_mid;
        bool const odd = ((f_mid - b_mid) & 1) != 0;
        constexpr diagonal never = (std::numeric_limits<diagonal>::max)();
        at(forward_, f_mid) = x_low;
        at(backward_, b_mid) = x_high;
        exact = true;
        auto const made = [](diagonal x, diagonal y) {
            return point{static_cast<std::size_t>(x), static_cast<std::size_t>(y)};
        };
        for (std::size_t edits = 1;; ++edits) {
            looks_ += static_cast<std::uint64_t>(f_max - f_min) + static_cast<std::uint64_t>(b_max - b_min) + 2;
            if (f_min > least) {
                at(forward_, --f_min - 1) = -1;
            } else {
                ++f_min;
            }
            if (f_max < most) {
                at(forward_, ++f_max + 1) = -1;
            } else {
                --f_max;
            }
            for (diagonal d = f_max; d >= f_min; d -= 2) {
                diagonal const low = at(forward_, d - 1);
                diagonal const high = at(forward_, d + 1);
                diagonal x = low < high ? high : low + 1;
                diagonal y = x - d;
                while (x < x_high && y < y_high && a_[static_cast<std::size_t>(x)] == b_[static_cast<std::size_t>(y)]) {
                    ++x;
                    ++y;
                }
                at(forward_, d) = x;
                if (odd && b_min <= d && d <= b_max && at(backward_, d) <= x) { return made(x, y); }
            }
            if (b_min > least) {
                at(backward_, --b_min - 1) = never;
            } else {
                ++b_min;
            }
            if (b_max < most) {
                at(backward_, ++b_max + 1) = never;
            } else {
                --b_max;
            }
            for (diagonal d = b_max; d >= b_min; d -= 2) {
                diagonal const low = at(backward_, d - 1);
                diagonal const high = at(backward_, d + 1);
                diagonal x = low < high ? low : high - 1;
                diagonal y = x - d;
                while (x > x_low && y > y_low &&
                       a_[static_cast<std::size_t>(x - 1)] == b_[static_cast<std::size_t>(y - 1)]) {
                    --x;
                    --y;
                }
                at(backward_, d) = x;
                if (!odd && f_min <= d && d <= f_max && x <= at(forward_, d)) { return made(x, y); }
            }
            if (edits >= edits_max_) {
                exact = false;
                diagonal best = -1;
                point p{s.a_begin, s.b_begin};
                for (diagonal d = f_max; d >= f_min; d -= 2) {
                    diagonal const x = (std::min)(at(forward_, d), x_high);
                    diagonal const y = (std::min)(x - d, y_high);
                    if (y < y_low || x < x_low || x + y <= best) { continue; }
                    best = x + y;
                    p = made(y + d, y);
                }
                return p;
            }
        }
    }

    /// Splits a stretch at the tokens that both sides have just once, in their common order. False: there are none.
    [[nodiscard]] bool anchored(stretch const& s, std::vector<stretch>& todo) {
        looks_ += 2 * (s.a_end - s.a_begin) + (s.b_end - s.b_begin);
        std::uint32_t largest = 0;
        for (std::size_t i = s.a_begin; i != s.a_end; ++i) { largest = (std::max)(largest, a_[i]); }
        std::vector<std::uint32_t> in_a(std::size_t{largest} + 1);
        std::vector<std::uint32_t> in_b(std::size_t{largest} + 1);
        std::vector<std::size_t> where(std::size_t{largest} + 1);
        for (std::size_t i = s.a_begin; i != s.a_end; ++i) { ++in_a[a_[i]]; }
        for (std::size_t j = s.b_begin; j != s.b_end; ++j) {
            if (b_[j] > largest) { continue; }
            ++in_b[b_[j]];
            where[b_[j]] = j;
        }
        // The longest ascending run of places in b: piles, each place knowing the one below it in the pile before.
        struct card {
            std::size_t x, y, before;
        };
        constexpr std::size_t none = (std::numeric_limits<std::size_t>::max)();
        std::vector<card> cards;
        std::vector<std::size_t> tops;
        for (std::size_t i = s.a_begin; i != s.a_end; ++i) {
            if (in_a[a_[i]] != 1 || in_b[a_[i]] != 1) { continue; }
            std::size_t const y = where[a_[i]];
            auto const pile = std::lower_bound(tops.begin(), tops.end(), y,
                                               [&](std::size_t top, std::size_t at) { return cards[top].y < at; });
            cards.push_back({i, y, pile == tops.begin() ? none : *(pile - 1)});
            if (pile == tops.end()) {
                tops.push_back(cards.size() - 1);
            } else {
                *pile = cards.size() - 1;
            }
        }
        if (tops.empty()) { return false; }
        // The stretches from the last to the first, as a stack wants them.
        std::size_t a_end = s.a_end;
        std::size_t b_end = s.b_end;
        for (std::size_t at = tops.back(); at != none; at = cards[at].before) {
            todo.push_back({cards[at].x + 1, a_end, cards[at].y + 1, b_end});
            a_end = cards[at].x;
            b_end = cards[at].y;
        }
        todo.push_back({s.a_begin, a_end, s.b_begin, b_end});
        return true;
    }

    std::span<std::uint32_t const> a_{};
    std::span<std::uint32_t const> b_{};
    std::size_t edits_max_;
    std::uint32_t looks_max_;
    std::uint64_t looks_ = 0;  // in this search
    std::vector<std::uint8_t> in_a_{}, in_b_{};
    std::vector<std::uint32_t> a_kept_{}, b_kept_{};
    std::vector<std::size_t> a_places_{}, b_places_{};
    std::vector<std::size_t> first_places_{};
    edit_script kept_script_{};
    std::vector<stretch> todo_{};
    std::vector<diagonal> forward_{};
    std::vector<diagonal> backward_{};
    edit_script out_{};
};

}  // namespace detail

/// Numbers tokens so that equal ones, byte for byte, have equal numbers: 0, 1, 2, … in the order of their first coming.
///
/// The bytes are borrowed for the life of this. Cost: O(length) a token by a hash, verified by comparing.
class token_numbers {
public:
    explicit token_numbers(std::size_t expected = 0) { slots_.resize(std::bit_ceil(2 * expected + 16)); }

    [[nodiscard]] std::uint32_t number(bytes_view token) {
        if (2 * (tokens_.size() + 1) > slots_.size()) { grow(); }
        std::uint64_t const h = xxh3_64(token);
        std::size_t const mask = slots_.size() - 1;
        for (std::size_t i = static_cast<std::size_t>(h) & mask;; i = (i + 1) & mask) {
            if (slots_[i] == 0) {
                tokens_.push_back({token, h});
                slots_[i] = static_cast<std::uint32_t>(tokens_.size());
                return slots_[i] - 1;
            }
            entry const& e = tokens_[slots_[i] - 1];
            if (e.hash == h && equal(e.token, token)) { return slots_[i] - 1; }
        }
    }
    /// The number of a token that has one.
    [[nodiscard]] std::optional<std::uint32_t> find(bytes_view token) const {
        std::uint64_t const h = xxh3_64(token);
        std::size_t const mask = slots_.size() - 1;
        for (std::size_t i = static_cast<std::size_t>(h) & mask; slots_[i] != 0; i = (i + 1) & mask) {
            entry const& e = tokens_[slots_[i] - 1];
            if (e.hash == h && equal(e.token, token)) { return slots_[i] - 1; }
        }
        return {};
    }
    /// Forgets all tokens, and keeps the memory.
    void clear() {
        if (tokens_.size() * 4 > slots_.size()) {
            std::fill(slots_.begin(), slots_.end(), 0U);
        } else {
            // Few of many: only theirs.
            std::size_t const mask = slots_.size() - 1;
            for (entry const& e : tokens_) {
                for (std::size_t i = static_cast<std::size_t>(e.hash) & mask; slots_[i] != 0; i = (i + 1) & mask) {
                    slots_[i] = 0;
                }
            }
        }
        tokens_.clear();
    }
    /// How many different ones there are.
    [[nodiscard]] std::size_t size() const noexcept { return tokens_.size(); }

private:
    struct entry {
        bytes_view token;
        std::uint64_t hash;
    };
    void grow() {
        std::vector<std::uint32_t> wider(slots_.size() * 2);
        std::size_t const mask = wider.size() - 1;
        for (std::size_t n = 0; n != tokens_.size(); ++n) {
            std::size_t i = static_cast<std::size_t>(tokens_[n].hash) & mask;
            while (wider[i] != 0) { i = (i + 1) & mask; }
            wider[i] = static_cast<std::uint32_t>(n + 1);
        }
        slots_ = std::move(wider);
    }

    std::vector<std::uint32_t> slots_;  // 0: free, else 1 + number
    std::vector<entry> tokens_;
};

/// What makes `b` of `a`, tokens being compared by number: a shortest script where it has few edits, else a good one.
/// Applying it to `a` always gives `b`.
/// Cost: O((length of both) × edits) time for the exact search of one stretch, linear space; no recursion. Bounded as a
/// whole by `sequence_options::looks_max`.
[[nodiscard]] inline edit_script diff_tokens(std::span<std::uint32_t const> a, std::span<std::uint32_t const> b,
                                             sequence_options const& options = {}) {
    detail::token_difference difference(options);
    return std::move(difference.run(a, b));
}

/// Where each line of `text` begins, and last its end: a line has its line feed, the last one perhaps none.
[[nodiscard]] inline std::vector<std::size_t> line_starts(std::string_view text) {
    std::vector<std::size_t> out;
    std::size_t at = 0;
    while (at < text.size()) {
        out.push_back(at);
        void const* const end = std::memchr(text.data() + at, '\n', text.size() - at);
        at = end == nullptr ? text.size() : static_cast<std::size_t>(static_cast<char const*>(end) - text.data()) + 1;
    }
    out.push_back(text.size());
    return out;
}

namespace detail {

/// The difference of two texts by lines, in bytes. Equal stretches are passed by comparing memory; around what differs
/// a window of lines is looked at, widened until both sides have found each other again.
class line_difference {
public:
    line_difference(std::string_view a, std::string_view b, sequence_options const& options)
        : a_(as_bytes(a)), b_(as_bytes(b)), difference_(options) {}

    [[nodiscard]] edit_script run() {
        std::size_t i = 0;
        std::size_t j = 0;
        bool first = true;
        a_end_ = a_.size();
        b_end_ = b_.size();
        for (;;) {
            std::size_t const n = (std::min)(a_end_ - i, b_end_ - j);
            std::size_t const run = common_prefix(a_.data() + i, b_.data() + j, n);
            if (i + run == a_end_ && j + run == b_end_) { break; }
            std::size_t const lines = line_before(i, i + run) - i;
            i += lines;
            j += lines;
            if (first) {
                trim(i, j);
                begin_ = i;
                first = false;
            }
            if (i == a_end_ || j == b_end_) {
                add_edit(out_, {i, a_end_, j, b_end_});
                break;
            }
            bool const more = window(i, j);
            if (had_a_choice_ && a_.size() + b_.size() <= whole_max) {
                look_at_all();
                break;
            }
            if (!more) { break; }
        }
        slide();
        return std::move(out_);
    }

private:
    static constexpr std::size_t lines_first = 48;      // of the first window
    static constexpr std::size_t run_lines = 6;         // that both sides must share to have found each other again …
    static constexpr std::size_t run_unique = 3;        // … so many of which the window has just once on either side
    static constexpr std::size_t whole_max = 1U << 16;  // bytes of both texts that are looked at whole where that helps

    /// The beginning of the line that `at` stands in, not before `low`.
    [[nodiscard]] std::size_t line_before(std::size_t low, std::size_t at) const noexcept {
        while (at != low && a_[at - 1] != std::byte{'\n'}) { --at; }
        return at;
    }
    /// Leaves the lines that both end with aside.
    void trim(std::size_t i, std::size_t j) {
        std::size_t const n = (std::min)(a_.size() - i, b_.size() - j);
        std::size_t same = common_suffix(a_.data() + a_.size(), b_.data() + b_.size(), n);
        // What is left ends with a line on both sides.
        auto const at_line = [](bytes_view text, std::size_t low, std::size_t at) {
            return at == low || text[at - 1] == std::byte{'\n'};
        };
        while (same != 0 && !(at_line(a_, i, a_.size() - same) && at_line(b_, j, b_.size() - same))) { --same; }
        a_end_ = a_.size() - same;
        b_end_ = b_.size() - same;
    }

    /// Reads up to `lines` lines from `at` on.
    void read(bytes_view text, std::size_t at, std::size_t end, std::size_t lines, std::vector<std::uint32_t>& ids,
              std::vector<std::size_t>& starts) {
        ids.clear();
        starts.clear();
        while (at != end && ids.size() != lines) {
            std::size_t const next = line_end(text, at, end);
            starts.push_back(at);
            ids.push_back(numbers_.number(text.subspan(at, next - at)));
            at = next;
        }
        starts.push_back(at);
    }

    /// Looks for the edits anew, in all that differs at once: which of several equally short scripts other tools take
    /// depends on which lines stand anywhere in the other text, and how often. What was found stays where that can't
    /// make a difference.
    void look_at_all() {
        bool const seen = a_starts_.front() == begin_ && a_starts_.back() == a_end_ && b_starts_.back() == b_end_;
        if (!seen) {
            constexpr std::size_t all = (std::numeric_limits<std::size_t>::max)();
            numbers_.clear();
            read(a_, begin_, a_end_, all, a_ids_, a_starts_);
            read(b_, begin_, b_end_, all, b_ids_, b_starts_);
        }
        std::size_t const different = numbers_.size();
        in_a_.assign(different, 0);
        in_b_.assign(different, 0);
        for (std::uint32_t const id : a_ids_) { ++in_a_[id]; }
        for (std::uint32_t const id : b_ids_) { ++in_b_[id]; }
        std::size_t a_alone = 0;
        std::size_t b_alone = 0;
        for (std::size_t id = 0; id != different; ++id) {
            a_alone += in_b_[id] == 0 ? in_a_[id] : 0;
            b_alone += in_a_[id] == 0 ? in_b_[id] : 0;
        }
        if (seen && a_alone + b_alone == 0) { return; }
        // Common lines are left out among many that are alone; so only then does it matter how many they are.
        bool const many = (std::max)(a_alone, b_alone) > 6;
        common_.assign(different, 0);
        line_filter filter;
        auto const look_for = [&](bytes_view text, std::vector<std::uint32_t> const& ids,
                                  std::vector<std::size_t> const& starts, std::vector<std::uint32_t> const& in_other) {
            for (std::size_t k = 0; k != ids.size(); ++k) {
                if (many || in_other[ids[k]] == 0) { filter.add(text, starts[k], starts[k + 1]); }
            }
        };
        look_for(a_, a_ids_, a_starts_, in_b_);
        look_for(b_, b_ids_, b_starts_, in_a_);
        std::size_t const lines = count(filter, 0, begin_) + count(filter, a_end_, a_.size());
        bool matters = !seen;
        for (std::size_t id = 0; id != different; ++id) {
            matters = matters || (common_[id] != 0 && (in_a_[id] == 0 || in_b_[id] == 0));
            in_a_[id] += common_[id];
            in_b_[id] += common_[id];
        }
        if (!matters && !many) { return; }
        out_.clear();
        for (sequence_edit const& e :
             difference_.run(a_ids_, b_ids_, {in_a_, in_b_, lines + a_ids_.size(), lines + b_ids_.size()})) {
            take(e);
        }
    }
    /// Says of most lines that are not among some few that they aren't, by their lengths and last bytes.
    class line_filter {
    public:
        void add(bytes_view text, std::size_t begin, std::size_t end) noexcept {
            std::size_t const at = place(text, begin, end);
            bits_[at / 64] |= std::uint64_t{1} << at % 64;
        }
        [[nodiscard]] bool perhaps(bytes_view text, std::size_t begin, std::size_t end) const noexcept {
            std::size_t const at = place(text, begin, end);
            return (bits_[at / 64] >> at % 64 & 1) != 0;
        }

    private:
        [[nodiscard]] static std::size_t place(bytes_view text, std::size_t begin, std::size_t end) noexcept {
            std::size_t const length = end - begin;
            std::uint64_t last = 0;
            std::size_t const n = (std::min)(length, sizeof last);
            if (n == sizeof last) {
                std::memcpy(&last, text.data() + end - sizeof last, sizeof last);
            } else {
                std::memcpy(&last, text.data() + begin, n);
            }
            return static_cast<std::size_t>(((last + length) * 0x9E3779B97F4A7C15) >> 52);
        }
        std::array<std::uint64_t, 64> bits_{};
    };
    /// Counts the lines of a part that both texts have, and in `common_` those that stand in what differs too.
    [[nodiscard]] std::size_t count(line_filter const& filter, std::size_t at, std::size_t end) {
        std::size_t lines = 0;
        for (; at != end; ++lines) {
            std::size_t const next = line_end(a_, at, end);
            if (filter.perhaps(a_, at, next)) {
                if (auto const id = numbers_.find(a_.subspan(at, next - at))) { ++common_[*id]; }
            }
            at = next;
        }
        return lines;
    }
    [[nodiscard]] static std::size_t line_end(bytes_view text, std::size_t at, std::size_t end) noexcept {
        void const* const feed = std::memchr(text.data() + at, '\n', end - at);
        return feed == nullptr ? end : static_cast<std::size_t>(static_cast<std::byte const*>(feed) - text.data()) + 1;
    }

    /// Takes the edits from (i, j) on up to where both sides have found each other, and moves there. False: up to the
    /// end.
    [[nodiscard]] bool window(std::size_t& i, std::size_t& j) {
        for (std::size_t lines = lines_first;; lines *= 4) {
            numbers_.clear();
            read(a_, i, a_end_, lines, a_ids_, a_starts_);
            read(b_, j, b_end_, lines, b_ids_, b_starts_);
            edit_script const& found = difference_.run(a_ids_, b_ids_);
            had_a_choice_ = difference_.had_a_choice();
            if (a_starts_.back() == a_end_ && b_starts_.back() == b_end_) {
                for (sequence_edit const& e : found) { take(e); }
                return false;
            }
            count_once(numbers_.size());
            // The last run that both sides share for sure: what comes after it is looked at anew.
            for (std::size_t k = found.size(); k != 0; --k) {
                std::size_t const begin = found[k - 1].a_end;
                std::size_t const end = k == found.size() ? a_ids_.size() : found[k].a_begin;
                std::size_t const other_end = k == found.size() ? b_ids_.size() : found[k].b_begin;
                std::size_t const length = (std::min)(end - begin, other_end - found[k - 1].b_end);
                if (!solid(begin, length)) { continue; }
                for (std::size_t e = 0; e != k; ++e) { take(found[e]); }
                i = a_starts_[begin];
                j = b_starts_[found[k - 1].b_end];
                return true;
            }
        }
    }
    void take(sequence_edit const& e) {
        add_edit(out_, {a_starts_[e.a_begin], a_starts_[e.a_end], b_starts_[e.b_begin], b_starts_[e.b_end]});
    }
    void count_once(std::size_t different) {
        once_.assign(different, 0);
        for (std::uint32_t const id : a_ids_) { once_[id] = static_cast<std::uint8_t>((std::min)(once_[id] + 1, 2)); }
        for (std::uint32_t const id : b_ids_) {
            once_[id] = static_cast<std::uint8_t>((std::min)(once_[id] + 4, 8) | (once_[id] & 3));
        }
    }
    [[nodiscard]] bool solid(std::size_t begin, std::size_t length) const noexcept {
        if (length < run_lines) { return false; }
        std::size_t unique = 0;
        for (std::size_t k = begin; k != begin + length; ++k) { unique += once_[a_ids_[k]] == 5 ? 1U : 0U; }
        return unique >= run_unique;
    }

    /// A run of whole lines that one side alone has.
    struct run_of_lines {
        std::size_t at;      // bytes of lines of both sides before it
        std::size_t length;  // its own bytes
    };

    /// Moves runs that may stand in several places, which are all equally right, to where other tools have them: as far
    /// down as they go, or beside the last run of the other side that they come by. Runs that meet become one.
    void slide() {
        std::vector<run_of_lines> deleted;
        std::vector<run_of_lines> inserted;
        std::size_t at = 0;
        std::size_t a_at = 0;
        for (sequence_edit const& e : out_) {
            at += e.a_begin - a_at;
            a_at = e.a_end;
            if (e.a_begin != e.a_end) { deleted.push_back({at, e.a_end - e.a_begin}); }
            if (e.b_begin != e.b_end) { inserted.push_back({at, e.b_end - e.b_begin}); }
        }
        settle(a_, deleted, inserted);
        settle(b_, inserted, deleted);
        out_.clear();
        std::size_t d = 0;
        std::size_t n = 0;
        std::size_t a_more = 0;  // that runs before it have put in front of what is common
        std::size_t b_more = 0;
        while (d != deleted.size() || n != inserted.size()) {
            std::size_t const place = d == deleted.size()    ? inserted[n].at
                                      : n == inserted.size() ? deleted[d].at
                                                             : (std::min)(deleted[d].at, inserted[n].at);
            sequence_edit e{place + a_more, place + a_more, place + b_more, place + b_more};
            if (d != deleted.size() && deleted[d].at == place) { a_more += deleted[d++].length; }
            if (n != inserted.size() && inserted[n].at == place) { b_more += inserted[n++].length; }
            e.a_end = place + a_more;
            e.b_end = place + b_more;
            out_.push_back(e);
        }
    }
    /// Slides the runs of one side, whose text that is, from the first to the last.
    /// Source: what git's diff does since 2.12 where it weighs no indentation (Haggerty 2016).
    static void settle(bytes_view text, std::vector<run_of_lines>& runs, std::vector<run_of_lines> const& others) {
        auto const beside_other = [&](std::size_t at) {
            auto const o = std::lower_bound(others.begin(), others.end(), at,
                                            [](run_of_lines const& r, std::size_t place) { return r.at < place; });
            return o != others.end() && o->at == at;
        };
        std::size_t settled = 0;  // of `runs`; those between here and `k` have become part of others
        std::size_t before = 0;   // their bytes
        for (std::size_t k = 0; k != runs.size(); ++k) {
            run_of_lines g = runs[k];
            std::size_t highest = 0;
            std::size_t beside = 0;
            bool meets = false;
            for (std::size_t length = 0; length != g.length;) {
                length = g.length;
                while (std::size_t const line = line_above(text, before + g.at, g.length)) {
                    g.at -= line;
                    if (settled != 0 && runs[settled - 1].at == g.at) {
                        --settled;
                        before -= runs[settled].length;
                        g.length += runs[settled].length;
                    }
                }
                highest = g.at;
                meets = beside_other(g.at);
                beside = g.at;
                while (std::size_t const line = line_below(text, before + g.at, g.length)) {
                    g.at += line;
                    if (k + 1 != runs.size() && runs[k + 1].at == g.at) { g.length += runs[++k].length; }
                    if (beside_other(g.at)) {
                        meets = true;
                        beside = g.at;
                    }
                }
            }
            if (g.at != highest && meets) { g.at = beside; }
            before += g.length;
            runs[settled++] = g;
        }
        runs.resize(settled);
    }
    /// Bytes of the line before a run when it is the run's last line as well, so that the run may stand a line higher;
    /// else 0.
    [[nodiscard]] static std::size_t line_above(bytes_view text, std::size_t begin, std::size_t length) noexcept {
        std::byte const* const above = text.data() + begin;
        std::byte const* const last = above + length;
        std::size_t line = 0;
        while (line != begin && *(above - line - 1) == *(last - line - 1)) {
            ++line;
            bool const whole = line == length || *(last - line - 1) == std::byte{'\n'};
            if (whole) { return line == begin || *(above - line - 1) == std::byte{'\n'} ? line : 0; }
        }
        return 0;
    }
    /// The same of the line behind it and its first line.
    [[nodiscard]] static std::size_t line_below(bytes_view text, std::size_t begin, std::size_t length) noexcept {
        std::byte const* const first = text.data() + begin;
        std::byte const* const below = first + length;
        std::size_t const most = (std::min)(length, text.size() - begin - length);
        for (std::size_t line = 0; line != most && first[line] == below[line]; ++line) {
            if (first[line] == std::byte{'\n'}) { return line + 1; }
        }
        return 0;
    }

    bytes_view a_;
    bytes_view b_;
    token_difference difference_;
    token_numbers numbers_{2 * lines_first};
    std::size_t a_end_ = 0;
    std::size_t b_end_ = 0;
    std::vector<std::uint32_t> a_ids_{};
    std::vector<std::uint32_t> b_ids_{};
    std::vector<std::size_t> a_starts_{};
    std::vector<std::size_t> b_starts_{};
    std::vector<std::uint8_t> once_{};
    std::vector<std::uint32_t> in_a_{};
    std::vector<std::uint32_t> in_b_{};
    std::vector<std::uint32_t> common_{};
    bool had_a_choice_ = false;  // in the last window
    std::size_t begin_ = 0;      // where the texts begin to differ
    edit_script out_{};
};

}  // namespace detail

/// What makes text `b` of text `a`, in whole lines: an edit's places are bytes, each at the beginning of a line or at the
/// end. Any bytes are taken. What may stand in several places, which are all equally right, stands where git's diff
/// (without its indent heuristic) has it: as far down as it can, or beside what the other side has there. So, for texts
/// of up to 64 KiB together, do lines that repeat; in larger ones those are paired near where they stood.
/// Cost: near that of comparing memory where the texts are equal; around what differs as `diff_tokens`. Where lines that
/// repeat leave a choice, a look at each line of both texts, up to that size.
[[nodiscard]] inline edit_script diff_lines(std::string_view a, std::string_view b,
                                            sequence_options const& options = {}) {
    return detail::line_difference(a, b, options).run();
}

/// What a merge of two scripts makes of one stretch of the base.
struct merge_region {
    /// Whose stretch it is.
    enum class side : std::uint8_t {
        local,     ///< the local side alone changed it
        remote,    ///< the remote side alone changed it
        both,      ///< both made the same of it
        conflict,  ///< both changed it, to different things
    };
    side of = side::both;
    std::size_t base_begin = 0, base_end = 0;
    std::size_t local_begin = 0, local_end = 0;
    std::size_t remote_begin = 0, remote_end = 0;
    friend bool operator==(merge_region const&, merge_region const&) = default;
};

/// Merges two scripts from one base, as diff3 does: regions in ascending order; what lies between them is the base's.
/// Edits of the two sides that touch are one region: whoever inserts where another deletes has not seen it.
///
/// `same(region)` answers whether the local stretch of a region is the remote one.
/// Source: Khanna, Kunal, Pierce, "A Formal Investigation of Diff3", FSTTCS 2007.
/// Cost: O(edits of both).
template <class Same>
[[nodiscard]] std::vector<merge_region> merge_scripts(edit_script const& local, edit_script const& remote,
                                                      Same const& same) {
    std::vector<merge_region> out;
    out.reserve(local.size() + remote.size());
    std::size_t l = 0;
    std::size_t r = 0;
    // How far each side's places are ahead of the base's behind its last edit.
    std::size_t local_at = 0, local_base = 0, remote_at = 0, remote_base = 0;
    while (l != local.size() || r != remote.size()) {
        std::size_t const first_l = l;
        std::size_t const first_r = r;
        std::size_t begin = 0;
        std::size_t end = 0;
        auto const grow = [&](sequence_edit const& e, bool first) {
            begin = first ? e.a_begin : (std::min)(begin, e.a_begin);
            end = first ? e.a_end : (std::max)(end, e.a_end);
        };
        bool const local_first = r == remote.size() || (l != local.size() && local[l].a_begin <= remote[r].a_begin);
        grow(local_first ? local[l++] : remote[r++], true);
        for (;;) {
            // Edits of one side never touch each other: what touches is the other side's.
            if (l != local.size() && local[l].a_begin <= end) {
                grow(local[l++], false);
            } else if (r != remote.size() && remote[r].a_begin <= end) {
                grow(remote[r++], false);
            } else {
                break;
            }
        }
        merge_region region;
        region.base_begin = begin;
        region.base_end = end;
        region.local_begin = local_at + (begin - local_base);
        region.remote_begin = remote_at + (begin - remote_base);
        if (l != first_l) {
            local_at = local[l - 1].b_end;
            local_base = local[l - 1].a_end;
        }
        if (r != first_r) {
            remote_at = remote[r - 1].b_end;
            remote_base = remote[r - 1].a_end;
        }
        region.local_end = local_at + (end - local_base);
        region.remote_end = remote_at + (end - remote_base);
        if (r == first_r) {
            region.of = merge_region::side::local;
        } else if (l == first_l) {
            region.of = merge_region::side::remote;
        } else {
            region.of = same(region) ? merge_region::side::both : merge_region::side::conflict;
        }
        out.push_back(region);
    }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
