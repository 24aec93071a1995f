// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Laws that a user's own joins, merges, operations, codecs, clocks and orders must obey, checked in one line each.

#include <algorithm>
#include <array>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/describe.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/merge/rule_codec.hpp>
#include <syncline/merge/three_way.hpp>
#include <syncline/testing/generator.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// How hard a law is tried.
struct law_options {
    std::uint64_t seed = 1;              ///< two runs with one seed are the same, on every machine
    std::size_t rounds = 2'000;          ///< cases made for each law
    std::size_t shrink_steps = 100'000;  ///< smaller cases tried, at most, once a law is broken
    friend constexpr bool operator==(law_options const&, law_options const&) = default;
};

/// Tries one law on values that `make` makes; when one breaks it, makes that smaller as long as it still does, and
/// appends a violation with the law's name, the smallest value found, and the round to go back to.
///
/// `holds(value)` answers whether the law holds: a bool; or a text, empty when it holds, else what is to be told.
/// Deterministic from the seed; a law's cases do not depend on which others are checked before it.
template <generator G, class Holds>
void check_law(std::vector<violation>& found, std::string_view law, law_options const& options, G const& make,
               Holds const& holds) {
    using T = generated<G>;
    auto const complaint = [&](T const& x) {
        if constexpr (std::same_as<std::remove_cvref_t<decltype(holds(x))>, bool>) {
            return holds(x) ? std::string{} : shown(x);
        } else {
            return std::string{holds(x)};
        }
    };
    std::uint64_t seed = options.seed;
    for (char const c : law) { seed = seed * 1'099'511'628'211 + static_cast<unsigned char>(c); }  // as FNV does
    random_generator random{seed};
    for (std::size_t round = 0; round < options.rounds; ++round) {
        T broken = make(random);
        std::string what = complaint(broken);
        if (what.empty()) { continue; }
        std::size_t steps = 0;
        for (bool smaller_found = true; smaller_found && steps < options.shrink_steps;) {
            smaller_found = false;
            for (T& less : smaller(make, broken)) {
                if (++steps > options.shrink_steps) { break; }
                std::string still = complaint(less);
                if (still.empty()) { continue; }
                broken = std::move(less);
                what = std::move(still);
                smaller_found = true;
                break;
            }
        }
        what += " (round " + std::to_string(round) + " of seed " + std::to_string(options.seed) + ')';
        found.push_back({std::string{law}, std::move(what)});
        return;
    }
}

namespace detail {

/// A generator with a way to make its values smaller.
template <class Make, class Shrink>
struct made_so_generator {
    Make make;
    Shrink less;
    [[nodiscard]] auto operator()(random_generator& r) const { return make(r); }
    template <class T>
    [[nodiscard]] std::vector<T> shrink(T const& x) const {
        return less(x);
    }
};
template <class Make, class Shrink>
[[nodiscard]] made_so_generator<Make, Shrink> made_so(Make make, Shrink less) {
    return {std::move(make), std::move(less)};
}

/// `a = 1, b = 2: `
template <class... T>
[[nodiscard]] std::string named(std::initializer_list<char const*> names, T const&... x) {
    std::string out;
    auto next = names.begin();
    ((out += (out.empty() ? "" : ", ") + std::string{*next++} + " = " + shown(x)), ...);
    return out + ": ";
}

/// One more value where `others` are there already: now and then one of them, or one a step away, as strangers
/// seldom meet.
template <generator G>
[[nodiscard]] generated<G> related(random_generator& r, G const& make, generated<G> const& other) {
    switch (below(r, 4)) {
        case 0: return other;
        case 1: {
            auto steps = smaller(make, other);
            if (!steps.empty()) { return std::move(steps[static_cast<std::size_t>(below(r, steps.size()))]); }
            break;
        }
        default: break;
    }
    return make(r);
}
/// N values of a generator, related ones.
template <std::size_t N, generator G>
struct several_of {
    using type = std::array<generated<G>, N>;
    G const& make;

    [[nodiscard]] type operator()(random_generator& r) const {
        // The first one N times: they need not be default-constructible.
        type out = [&]<std::size_t... I>(std::index_sequence<I...>, generated<G> const& x) {
            return type{(static_cast<void>(I), x)...};
        }
        (std::make_index_sequence<N>{}, make(r));
        for (std::size_t i = 1; i < N; ++i) { out[i] = related(r, make, out[i - 1]); }
        return out;
    }
    [[nodiscard]] std::vector<type> shrink(type const& x) const {
        return shrinking::array_steps(x, [this](generated<G> const& one) { return smaller(make, one); });
    }
};
template <std::size_t N, generator G>
[[nodiscard]] several_of<N, G> several(G const& make) {
    return {make};
}

/// What a user's function gave: the value, or that it gave an error. A `result<T>`, an optional or a plain `T`.
template <class R>
[[nodiscard]] constexpr bool answered(R const& r) {
    if constexpr (is_result<R> || is_optional<R>::value) {
        return r.has_value();
    } else {
        return true;
    }
}
template <class R>
[[nodiscard]] constexpr auto const& answer(R const& r) {
    if constexpr (is_result<R> || is_optional<R>::value) {
        return *r;
    } else {
        return r;
    }
}
/// Two errors are the same when their codes are.
template <class R>
[[nodiscard]] bool same_answer(R const& a, R const& b) {
    if (answered(a) != answered(b)) { return false; }
    if (answered(a)) { return same(answer(a), answer(b)); }
    if constexpr (is_result<R>) {
        return a.error().code == b.error().code;
    } else {
        return true;
    }
}

}  // namespace detail

// ---- State laws ----------------------------------------------------------------------------------------------

/// The laws of a join, by which replicas that exchange states agree whatever came first or twice: `commutative`,
/// `associative`, `idempotent`. `join(a, b)` gives the least state that holds both, and leaves its arguments alone.
/// Source: Shapiro, Preguiça, Baquero, Zawirski, "Conflict-free Replicated Data Types", SSS 2011.
template <generator G, class Join>
    requires(
        std::convertible_to<std::invoke_result_t<Join const&, generated<G> const&, generated<G> const&>, generated<G>>)
[[nodiscard]] std::vector<violation> check_semilattice(Join const& join, G const& make,
                                                       law_options const& options = {}) {
    using T = generated<G>;
    std::vector<violation> found;
    auto const j = [&](T const& a, T const& b) { return T(join(a, b)); };
    check_law(found, "commutative", options, detail::several<2>(make), [&](std::array<T, 2> const& x) {
        auto const& [a, b] = x;
        T const ab = j(a, b);
        T const ba = j(b, a);
        if (same(ab, ba)) { return std::string{}; }
        return detail::named({"a", "b"}, a, b) + "join(a, b) = " + shown(ab) + ", join(b, a) = " + shown(ba);
    });
    check_law(found, "associative", options, detail::several<3>(make), [&](std::array<T, 3> const& x) {
        auto const& [a, b, c] = x;
        T const left = j(j(a, b), c);
        T const right = j(a, j(b, c));
        if (same(left, right)) { return std::string{}; }
        return detail::named({"a", "b", "c"}, a, b, c) + "join(join(a, b), c) = " + shown(left) +
               ", join(a, join(b, c)) = " + shown(right);
    });
    check_law(found, "idempotent", options, make, [&](T const& a) {
        T const aa = j(a, a);
        return same(aa, a) ? std::string{} : "a = " + shown(a) + ": join(a, a) = " + shown(aa);
    });
    return found;
}

// ---- Three-way merge -----------------------------------------------------------------------------------------

/// A base and two descendants of it.
template <class T>
struct triple {
    T base;
    T local;
    T remote;

    [[nodiscard]] friend std::string show(triple const& x) {
        return "base = " + shown(x.base) + ", local = " + shown(x.local) + ", remote = " + shown(x.remote);
    }
};

namespace detail {

/// An edit of a state: some members of a described struct, some fields of a dynamic one, become others.
template <generator G>
[[nodiscard]] generated<G> edited(random_generator& r, G const& make, generated<G> const& from) {
    using T = generated<G>;
    T out = from;
    if constexpr (described<T>) {
        T const fresh = make(r);
        for_each_field<T>([&](auto const& f) {
            if (one_in(r, 3)) { f.get(out) = f.get(fresh); }
        });
    } else if constexpr (std::same_as<T, field_map>) {
        T const fresh = make(r);
        for (auto const& [name, item] : fresh.fields) {
            if (one_in(r, 2)) { out.put(name, item); }
        }
        for (auto const& [name, item] : from.fields) {
            if (one_in(r, 6)) { out.put(name, std::nullopt); }
        }
    } else if (!one_in(r, 3)) {
        out = related(r, make, from);
    }
    return out;
}

template <generator G>
struct triples {
    using T = generated<G>;
    G const& make;

    [[nodiscard]] triple<T> operator()(random_generator& r) const {
        auto base = make(r);
        auto local = edited(r, make, base);
        auto remote = edited(r, make, base);
        return {std::move(base), std::move(local), std::move(remote)};
    }
    /// A side that changed nothing, sides that changed the same, then as of any three.
    [[nodiscard]] std::vector<triple<T>> shrink(triple<T> const& x) const {
        std::vector<triple<T>> out;
        if (!same(x.local, x.base)) { out.push_back({x.base, x.base, x.remote}); }
        if (!same(x.remote, x.base)) { out.push_back({x.base, x.local, x.base}); }
        if (!same(x.local, x.remote) && !same(x.remote, x.base)) { out.push_back({x.base, x.local, x.local}); }
        auto const each = [this](T const& one) { return smaller(make, one); };
        for (auto& less : shrinking::array_steps(std::array<T, 3>{x.base, x.local, x.remote}, each)) {
            out.push_back({std::move(less[0]), std::move(less[1]), std::move(less[2])});
        }
        return out;
    }
};

template <class T>
inline constexpr bool is_merged = false;
template <class R>
inline constexpr bool is_merged<merged<R>> = true;

/// Calls a merge, with the sides where it takes them.
template <class Merge, class T>
[[nodiscard]] auto merge_sides(Merge const& merge, T const& b, T const& l, T const& r, side const& ls, side const& rs) {
    if constexpr (std::invocable<Merge const&, T const&, T const&, T const&, side const&, side const&>) {
        return merge(b, l, r, ls, rs);
    } else {
        (void)ls, (void)rs;
        return merge(b, l, r);
    }
}

/// The record in what a merge answered.
template <class R>
[[nodiscard]] auto const& record_in(R const& r) {
    if constexpr (is_merged<std::remove_cvref_t<decltype(answer(r))>>) {
        return answer(r).record;
    } else {
        return answer(r);
    }
}

}  // namespace detail

/// The laws of a three-way merge on a base and two edits of it: `local_kept` (merge(b, x, b) is x), `remote_kept`
/// (merge(b, b, x) is x), `agreed` (merge(b, x, x) is x), `symmetric` (swapping the sides swaps nothing: no bias for
/// "mine"), and `answers` (it gives something else than errors).
///
/// `merge(base, local, remote)` gives a `T`, an optional or a `result` of one, or of a `merged` one. A merge that goes
/// by stamps or authors also takes `(…, side local, side remote)`: then each side keeps its own when they are swapped.
/// An error is no answer, and breaks nothing but `answers`, unless the swapped merge answers.
/// A counter does not obey `agreed`: two who add one each make two. Check it with `check_operations`.
template <generator G, class Merge>
[[nodiscard]] std::vector<violation> check_three_way(Merge const& merge, G const& make,
                                                     law_options const& options = {}) {
    using T = generated<G>;
    std::vector<violation> found;
    side const one{timestamp{10}, 1};
    side const two{timestamp{10}, 2};
    bool any = false;
    auto const call = [&](T const& b, T const& l, T const& r, side const& ls, side const& rs) {
        auto out = detail::merge_sides(merge, b, l, r, ls, rs);
        any = any || detail::answered(out);
        return out;
    };
    // One edit is enough for these: the other is the base, or the same.
    auto const law = [&](std::string_view name, bool local, bool remote) {
        check_law(found, name, options, detail::several<2>(make), [&, local, remote](std::array<T, 2> const& x) {
            auto const& [b, changed] = x;
            auto const got = call(b, local ? changed : b, remote ? changed : b, one, two);
            if (!detail::answered(got) || same(detail::record_in(got), changed)) { return std::string{}; }
            return detail::named({"base", "x"}, b, changed) + "merge(base, " + (local ? "x, " : "base, ") +
                   (remote ? "x" : "base") + ") = " + shown(detail::record_in(got));
        });
    };
    law("local_kept", true, false);
    law("remote_kept", false, true);
    law("agreed", true, true);
    check_law(found, "symmetric", options, detail::triples<G>{make}, [&](triple<T> const& x) {
        auto const there = call(x.base, x.local, x.remote, one, two);
        auto const back = call(x.base, x.remote, x.local, two, one);
        if (detail::answered(there) && detail::answered(back)) {
            if (same(detail::record_in(there), detail::record_in(back))) { return std::string{}; }
            return shown(x) + ": merged " + shown(detail::record_in(there)) + ", with the sides swapped " +
                   shown(detail::record_in(back));
        }
        if (detail::answered(there) == detail::answered(back)) { return std::string{}; }
        return shown(x) + ": one way round it is an error, the other way it is not";
    });
    if (!any && options.rounds != 0) { found.push_back({"answers", "it never gave anything but an error"}); }
    return found;
}

/// The law of a three-way merge that chooses between two changes and makes no third value of them: `chosen`, what it
/// gives is local's or remote's, each member of a described struct for itself. A merge that gives the base again where
/// both sides changed it loses both changes, and keeps all laws of `check_three_way`; so does one that gives anything
/// else there. Counters, sets and texts combine changes: this is no law of theirs.
template <generator G, class Merge>
[[nodiscard]] std::vector<violation> check_choice(Merge const& merge, G const& make, law_options const& options = {}) {
    using T = generated<G>;
    std::vector<violation> found;
    side const one{timestamp{10}, 1};
    side const two{timestamp{10}, 2};
    check_law(found, "chosen", options, detail::triples<G>{make}, [&](triple<T> const& x) {
        auto const got = detail::merge_sides(merge, x.base, x.local, x.remote, one, two);
        if (!detail::answered(got)) { return std::string{}; }
        T const& merged = detail::record_in(got);
        bool chosen = true;
        if constexpr (described<T>) {
            for_each_field<T>([&](auto const& f) {
                chosen = chosen && (same(f.get(merged), f.get(x.local)) || same(f.get(merged), f.get(x.remote)));
            });
        } else {
            chosen = same(merged, x.local) || same(merged, x.remote);
        }
        return chosen ? std::string{} : shown(x) + ": merged " + shown(merged) + ", which is neither side's";
    });
    return found;
}

// ---- Operation laws ------------------------------------------------------------------------------------------

namespace detail {

/// Calls `visit(order)` with each order of `n` things, until it answers false.
template <class Visit>
void each_order(std::size_t n, Visit const& visit) {
    std::vector<std::size_t> order(n);
    for (std::size_t i = 0; i < n; ++i) { order[i] = i; }
    do {
        if (!visit(static_cast<std::vector<std::size_t> const&>(order))) { return; }
    } while (std::next_permutation(order.begin(), order.end()));
}
inline constexpr std::size_t orders_of_max = 4;  // 24 orders

template <class T>
[[nodiscard]] std::string in_order(std::vector<T> const& all, std::vector<std::size_t> const& order) {
    std::string out;
    for (std::size_t const i : order) { out += (out.empty() ? "" : ", ") + shown(all[i]); }
    return out;
}

}  // namespace detail

/// The laws of operations that commute, by which replicas agree that got the same ones in other orders and some
/// twice: `order_free` (each order of a set of operations gives the same state) and `once` (an operation whose
/// identity was applied already changes nothing).
///
/// `apply(state, operation)` gives the state after it; `identity(operation)` gives what tells a repeated operation
/// from another. Where an envelope below keeps the identities, leave `identity` out: then only `order_free` is
/// checked.
template <class S, generator G, class Apply, class Identity>
[[nodiscard]] std::vector<violation> check_operations(S const& initial, Apply const& apply, G const& make,
                                                      Identity const& identity, law_options const& options = {}) {
    using Op = generated<G>;
    std::vector<violation> found;
    auto const distinct = [&](std::vector<Op> const& all) {
        for (std::size_t i = 0; i < all.size(); ++i) {
            for (std::size_t j = 0; j < i; ++j) {
                if (identity(all[i]) == identity(all[j])) { return false; }
            }
        }
        return true;
    };
    auto const sets = detail::made_so(
        [&](random_generator& r) {
            std::vector<Op> all;
            std::uint64_t const n = 1 + below(r, detail::orders_of_max);
            for (std::uint64_t tries = 0; tries < 4 * n && all.size() < n; ++tries) {
                all.push_back(make(r));
                if (!distinct(all)) { all.pop_back(); }
            }
            return all;
        },
        [&](std::vector<Op> const& all) {
            std::vector<std::vector<Op>> out;
            for (std::size_t i = 0; i < all.size(); ++i) {
                out.push_back(all);
                out.back().erase(out.back().begin() + static_cast<std::ptrdiff_t>(i));
            }
            for (std::size_t i = 0; i < all.size(); ++i) {
                for (Op& less : smaller(make, all[i])) {
                    out.push_back(all);
                    out.back()[i] = std::move(less);
                    if (!distinct(out.back())) { out.pop_back(); }
                }
            }
            return out;
        });
    auto const fold = [&](std::vector<Op> const& all, std::vector<std::size_t> const& order) {
        S state = initial;
        for (std::size_t const i : order) { state = apply(static_cast<S const&>(state), all[i]); }
        return state;
    };
    check_law(found, "order_free", options, sets, [&](std::vector<Op> const& all) {
        std::string what;
        std::optional<S> first;

        detail::each_order(all.size(), [&](std::vector<std::size_t> const& order) {
            S const got = fold(all, order);
            if (!first) { first = got; }
            if (same(got, *first)) { return true; }
            what = "in this order they give " + shown(*first) + ", as " + detail::in_order(all, order) + " they give " +
                   shown(got);
            return false;
        });
        return what.empty() ? what : "operations " + shown(all) + ": " + what;
    });
    if constexpr (!std::same_as<std::remove_cvref_t<decltype(identity(std::declval<Op const&>()))>, Op const*>) {
        check_law(found, "once", options, sets, [&](std::vector<Op> const& all) {
            std::vector<std::size_t> order(all.size());
            for (std::size_t i = 0; i < all.size(); ++i) { order[i] = i; }
            S const state = fold(all, order);
            for (Op const& op : all) {
                S const again = apply(state, op);
                if (!same(again, state)) {
                    return "operations " + shown(all) + " give " + shown(state) + ", after " + shown(op) +
                           " once more " + shown(again);
                }
            }
            return std::string{};
        });
    }
    return found;
}
template <class S, generator G, class Apply>
[[nodiscard]] std::vector<violation> check_operations(S const& initial, Apply const& apply, G const& make,
                                                      law_options const& options = {}) {
    // Each its own: where it stands tells an operation from every other.
    auto const place = [](auto const& op) { return &op; };
    return check_operations(initial, apply, make, place, options);
}

// ---- Codecs --------------------------------------------------------------------------------------------------

/// What a codec promises beyond the round trip.
struct codec_options {
    law_options law{};
    /// Each value has one encoding, and bytes that were decoded encode to themselves. False for a format that lets
    /// unknown parts pass: then decoding and encoding once more must change nothing further.
    bool canonical = true;
    /// Mends a message whose bytes were changed, its checksum say: else few changed ones get past that.
    void (*reseal)(bytes& message) = nullptr;
};

namespace detail {

/// Bytes near those of a valid message: a few edits, or a part of another.
[[nodiscard]] inline bytes spoiled(random_generator& r, bytes b, bytes const& other) {
    for (std::uint64_t edits = 1 + below(r, 3); edits != 0; --edits) {
        auto const place = [&](std::size_t n) { return static_cast<std::size_t>(below(r, n + 1)); };
        auto const at = [&](std::size_t i) { return b.begin() + static_cast<std::ptrdiff_t>(i); };
        auto const hot = [&] {
            return static_cast<std::byte>(
                pick<unsigned>(r, {0,    1,    0x17, 0x18, 0x19, 0x1A, 0x1B, 0x38, 0x40, 0x58, 0x60, 0x78, 0x80, 0x81,
                                   0x98, 0xA0, 0xA1, 0xB8, 0xC0, 0xF4, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA, 0xFB, 0xFF}));
        };
        switch (below(r, 8)) {
            case 0:
            case 1:
                if (!b.empty()) { b[place(b.size() - 1)] = hot(); }
                break;
            case 2:
                if (!b.empty()) {
                    std::size_t const i = place(b.size() - 1);
                    b[i] ^= std::byte{1} << static_cast<int>(below(r, 8));
                }
                break;
            case 3: {
                std::size_t const i = place(b.size());
                b.insert(at(i), hot());
                break;
            }
            case 4:
                if (!b.empty()) { b.erase(at(place(b.size() - 1))); }
                break;
            case 5:
                if (b.size() > 1) {
                    std::size_t const i = place(b.size() - 2);
                    std::swap(b[i], b[i + 1]);
                }
                break;
            case 6: b.resize(place(b.size())); break;
            default: {
                b.resize(place(b.size()));
                std::size_t const i = place(other.size());
                append(b, bytes_view{other}.subspan(i));
                break;
            }
        }
    }
    return b;
}

}  // namespace detail

/// The laws of an encoding: `round_trip` (what was encoded decodes to the same value), `canonical` (a value has one
/// encoding, and whatever bytes are accepted encode to themselves, so that equality of bytes is that of values),
/// `truncation` (a message cut anywhere is an error), `extension` (one with more bytes after it too).
///
/// `encode(value)` gives `bytes`, or a `result` of them; `decode(bytes_view)` gives a `result` or an optional.
/// Bytes of strangers are valid encodings with a few edits, and splices of two.
template <generator G, class Encode, class Decode>
[[nodiscard]] std::vector<violation> check_codec(Encode const& encode, Decode const& decode, G const& make,
                                                 codec_options const& options = {}) {
    using T = generated<G>;
    std::vector<violation> found;
    auto const encoded = [&](T const& x) -> std::optional<bytes> {
        auto const out = encode(x);
        if (!detail::answered(out)) { return std::nullopt; }
        return bytes(detail::answer(out));
    };
    check_law(found, "round_trip", options.law, make, [&](T const& x) {
        auto const b = encoded(x);
        if (!b) { return shown(x) + " is not encoded"; }
        auto const back = decode(bytes_view{*b});
        if (!detail::answered(back)) { return shown(x) + " is encoded as " + shown(*b) + ", which is refused"; }
        if (same(T(detail::answer(back)), x)) { return std::string{}; }
        return shown(x) + " is encoded as " + shown(*b) + ", which is decoded as " + shown(T(detail::answer(back)));
    });
    auto const strange = [&](random_generator& r) {
        T const one = make(r);
        T const other = make(r);
        auto const b = encoded(one);
        auto const more = encoded(other);
        if (!b || !more) { return bytes{}; }
        bytes out = detail::spoiled(r, *b, *more);
        if (options.reseal != nullptr) { options.reseal(out); }
        return out;
    };
    check_law(found, "canonical", options.law, strange, [&](bytes const& b) {
        auto const x = decode(bytes_view{b});
        if (!detail::answered(x)) { return std::string{}; }
        T const value(detail::answer(x));
        auto const back = encoded(value);
        if (!back) { return shown(b) + " is decoded as " + shown(value) + ", which is not encoded"; }
        if (options.canonical) {
            if (*back == b) { return std::string{}; }
            return shown(b) + " is decoded as " + shown(value) + ", which is encoded as " + shown(*back);
        }
        auto const again = decode(bytes_view{*back});
        if (detail::answered(again) && same(T(detail::answer(again)), value)) { return std::string{}; }
        return shown(b) + " is decoded as " + shown(value) + ", which does not come back from " + shown(*back);
    });
    check_law(found, "truncation", options.law, make, [&](T const& x) {
        auto const b = encoded(x);
        for (std::size_t n = 0; b && n < b->size(); ++n) {
            bytes part(b->begin(), b->begin() + static_cast<std::ptrdiff_t>(n));
            if (options.reseal != nullptr) { options.reseal(part); }
            if (detail::answered(decode(bytes_view{part}))) {
                return shown(x) + " is encoded as " + shown(*b) + ", of which " + shown(part) + " is accepted";
            }
        }
        return std::string{};
    });
    check_law(found, "extension", options.law, make, [&](T const& x) {
        auto const b = encoded(x);
        for (unsigned const more : {0x00U, 0x80U, 0xF6U, 0xFFU}) {
            if (!b) { break; }
            bytes longer = *b;
            longer.push_back(static_cast<std::byte>(more));
            if (options.reseal != nullptr) { options.reseal(longer); }
            if (detail::answered(decode(bytes_view{longer}))) {
                return shown(x) + " is encoded as " + shown(*b) + ", and " + shown(longer) + " is accepted too";
            }
        }
        return std::string{};
    });
    return found;
}

/// The same for a described struct, by `encode_record` and `decode_record`. A member that is missing from the bytes is
/// taken as `T{}` has it, so that bytes need not come back as they were.
template <described T>
[[nodiscard]] std::vector<violation> check_record_codec(law_options const& law = {}) {
    codec_options options;
    options.law = law;
    options.canonical = false;
    return check_codec([](T const& x) { return encode_record(x); }, [](bytes_view b) { return decode_record<T>(b); },
                       any<T>{}, options);
}

// ---- Orders --------------------------------------------------------------------------------------------------

namespace detail {

/// -1, 0 or 1, of what a comparison answered: an ordering, a number.
template <class R>
[[nodiscard]] constexpr int sign_of(R const& r) {
    return r < 0 ? -1 : r > 0 ? 1 : 0;
}
[[nodiscard]] inline std::string relation(int sign) { return sign < 0 ? " < " : sign > 0 ? " > " : " = "; }

}  // namespace detail

/// The laws of a total order: `antisymmetric` (b against a is the opposite of a against b, and a equals itself),
/// `transitive`, and `equality` (what compares equal is the same). `compare(a, b)` gives an ordering or a number.
template <generator G, class Compare>
[[nodiscard]] std::vector<violation> check_order(Compare const& compare, G const& make,
                                                 law_options const& options = {}) {
    using T = generated<G>;
    std::vector<violation> found;
    auto const order = [&](T const& a, T const& b) { return detail::sign_of(compare(a, b)); };
    check_law(found, "antisymmetric", options, detail::several<2>(make), [&](std::array<T, 2> const& x) {
        auto const& [a, b] = x;
        if (order(a, a) != 0) { return detail::named({"a"}, a) + 'a' + detail::relation(order(a, a)) + 'a'; }
        if (order(a, b) == -order(b, a)) { return std::string{}; }
        return detail::named({"a", "b"}, a, b) + 'a' + detail::relation(order(a, b)) + "b, b" +
               detail::relation(order(b, a)) + 'a';
    });
    check_law(found, "transitive", options, detail::several<3>(make), [&](std::array<T, 3> const& x) {
        auto const& [a, b, c] = x;
        int const ab = order(a, b);
        int const bc = order(b, c);
        int const ac = order(a, c);
        bool const chain = ab * bc >= 0;  // not one up and one down
        int const expected = ab != 0 ? ab : bc;
        if (!chain || ac == expected) { return std::string{}; }
        return detail::named({"a", "b", "c"}, a, b, c) + 'a' + detail::relation(ab) + "b, b" + detail::relation(bc) +
               "c, and a" + detail::relation(ac) + 'c';
    });
    check_law(found, "equality", options, detail::several<2>(make), [&](std::array<T, 2> const& x) {
        auto const& [a, b] = x;
        if ((order(a, b) == 0) == same(a, b)) { return std::string{}; }
        return detail::named({"a", "b"}, a, b) + 'a' + detail::relation(order(a, b)) + "b, and they are " +
               (same(a, b) ? "the same" : "not the same");
    });
    return found;
}

/// The laws of a strict weak order, as sorting needs it: `irreflexive`, `asymmetric`, `transitive`, and
/// `equivalence` (being neither before nor after is transitive). `less(a, b)` gives a bool.
template <generator G, class Less>
[[nodiscard]] std::vector<violation> check_strict_weak_order(Less const& less, G const& make,
                                                             law_options const& options = {}) {
    using T = generated<G>;
    std::vector<violation> found;
    auto const before = [&](T const& a, T const& b) { return static_cast<bool>(less(a, b)); };
    auto const tied = [&](T const& a, T const& b) { return !before(a, b) && !before(b, a); };
    check_law(found, "irreflexive", options, make,
              [&](T const& a) { return before(a, a) ? detail::named({"a"}, a) + "a < a" : std::string{}; });
    check_law(found, "asymmetric", options, detail::several<2>(make), [&](std::array<T, 2> const& x) {
        auto const& [a, b] = x;
        return before(a, b) && before(b, a) ? detail::named({"a", "b"}, a, b) + "a < b, b < a" : std::string{};
    });
    check_law(found, "transitive", options, detail::several<3>(make), [&](std::array<T, 3> const& x) {
        auto const& [a, b, c] = x;
        bool const broken = before(a, b) && before(b, c) && !before(a, c);
        return broken ? detail::named({"a", "b", "c"}, a, b, c) + "a < b, b < c, and not a < c" : std::string{};
    });
    check_law(found, "equivalence", options, detail::several<3>(make), [&](std::array<T, 3> const& x) {
        auto const& [a, b, c] = x;
        bool const broken = tied(a, b) && tied(b, c) && !tied(a, c);
        return broken ? detail::named({"a", "b", "c"}, a, b, c) + "a = b, b = c, and not a = c" : std::string{};
    });
    return found;
}

/// `encoded_order`: the order of the encoded bytes is that of the values, as keys of a storage need it.
template <generator G, class Compare, class Encode>
[[nodiscard]] std::vector<violation> check_encoded_order(Compare const& compare, Encode const& encode, G const& make,
                                                         law_options const& options = {}) {
    using T = generated<G>;
    std::vector<violation> found;
    check_law(found, "encoded_order", options, detail::several<2>(make), [&](std::array<T, 2> const& x) {
        auto const& [a, b] = x;
        auto const first = encode(a);
        auto const second = encode(b);
        int const values = detail::sign_of(compare(a, b));
        int const raw = detail::sign_of(syncline::compare(bytes_view{first}, bytes_view{second}));
        if (values == raw) { return std::string{}; }
        return detail::named({"a", "b"}, a, b) + 'a' + detail::relation(values) + "b, and encoded " +
               shown(bytes_view{first}) + detail::relation(raw) + shown(bytes_view{second});
    });
    return found;
}

// ---- Clocks --------------------------------------------------------------------------------------------------

/// What a clock under check is driven by.
struct clock_step {
    enum class action : std::uint8_t { issue, receive, restart };
    action what = action::issue;
    std::int64_t wall = 0;      ///< what the wall clock reads, in milliseconds: jumps, stands still, runs backwards
    std::int64_t ahead = 0;     ///< receive: how far ahead of it the remote stamp is, in milliseconds
    std::uint16_t counter = 0;  ///< receive: of the remote stamp

    [[nodiscard]] wall_time time() const noexcept { return wall_time{milliseconds{wall}}; }
    /// The stamp that is received.
    [[nodiscard]] timestamp remote() const noexcept {
        std::int64_t const base = timestamp::make(time()).time().time_since_epoch().count();
        constexpr std::int64_t end = std::int64_t{1} << 48;
        std::int64_t const ms = ahead > end - 1 - base ? end - 1 : ahead < -base ? 0 : base + ahead;
        return {(static_cast<std::uint64_t>(ms) << 16) | counter};
    }

    [[nodiscard]] friend std::vector<clock_step> shrink(clock_step const& s) {
        std::vector<clock_step> out;
        for (auto const n : smaller(s.wall)) { out.push_back({s.what, n, s.ahead, s.counter}); }
        for (auto const n : smaller(s.ahead)) { out.push_back({s.what, s.wall, n, s.counter}); }
        for (auto const n : smaller(s.counter)) { out.push_back({s.what, s.wall, s.ahead, n}); }
        return out;
    }
    [[nodiscard]] friend std::string show(clock_step const& s) {
        switch (s.what) {
            case action::issue: return "issue at " + shown(s.wall);
            case action::receive: return "receive " + shown(s.remote()) + " at " + shown(s.wall);
            case action::restart: return "restart";
        }
        return "?";
    }
};

struct clock_law_options {
    law_options law{};
    milliseconds accept_ahead_max = clock_options{}.accept_ahead_max;  ///< what the clock is said to accept
};

/// The laws of a hybrid logical clock under a wall clock that jumps, sticks and runs backwards, and restarts:
/// `monotone` (each stamp is greater than every one issued before), `dominance` (… and accepted before), `not_behind`
/// (a stamp is not before the wall time), `issuing` (it never fails), `bound` (a remote stamp further ahead than
/// `accept_ahead_max` is refused and does not move the clock, any other is accepted).
///
/// `make()` gives a fresh clock with `now(wall_time)` (a stamp, or a `result` of one), `accept(timestamp, wall_time)`
/// (a `status`), `restart()` where it has one: it then goes on from what it has stored. A clock without, that is made
/// of `(options(), last())`, is restarted so.
template <class Make>
[[nodiscard]] std::vector<violation> check_clock(Make const& make, clock_law_options const& options = {}) {
    using action = clock_step::action;
    using script = std::vector<clock_step>;
    std::vector<violation> found;
    std::int64_t const most = options.accept_ahead_max.count();
    auto const some_script = [most](random_generator& r) {
        script out;
        std::int64_t wall = 1'000;
        for (std::uint64_t n = 1 + below(r, 12); n != 0; --n) {
            clock_step s;
            switch (below(r, 6)) {
                case 0: break;  // stuck
                case 1: wall += 1; break;
                case 2: wall -= 1'000; break;
                case 3:
                    if (one_in(r, 5)) {
                        wall = pick<std::int64_t>(r, {0, -1, (std::int64_t{1} << 47) - 1, std::int64_t{1} << 47,
                                                      (std::numeric_limits<std::int64_t>::max)(),
                                                      (std::numeric_limits<std::int64_t>::min)(), 1'000});
                    } else {
                        wall = 1'000 + static_cast<std::int64_t>(below(r, 5'000));
                    }
                    break;
                default: wall = 1'000 + static_cast<std::int64_t>(below(r, 3)); break;
            }
            s.wall = wall;
            std::uint64_t const kind = below(r, 8);
            s.what = kind == 0 ? action::restart : kind < 4 ? action::receive : action::issue;
            if (s.what == action::receive) {
                s.ahead = pick<std::int64_t>(
                    r, {0, 1, -1, most - 1, most, most + 1, 2 * most, (std::numeric_limits<std::int64_t>::max)()});
                s.counter = pick<std::uint16_t>(r, {0, 1, 0xFFFE, 0xFFFF});
            }
            if (wall < -1'000'000 || wall > 1'000'000) { wall = 1'000; }  // an excursion
            out.push_back(s);
        }
        return out;
    };
    // Steps that read the same wall time go on doing so.
    auto const scripts = detail::made_so(some_script, [](script const& steps) {
        std::vector<script> out = smaller(steps);
        for (std::size_t i = 0; i < steps.size(); ++i) {
            for (std::int64_t const wall : smaller(steps[i].wall)) {
                script less = steps;
                for (clock_step& s : less) { s.wall = s.wall == steps[i].wall ? wall : s.wall; }
                out.push_back(std::move(less));
            }
        }
        return out;
    });
    // Runs a script; `see(step, issued, refused, before, after)` tells what is wrong, or nothing.
    auto const run = [&](script const& steps, auto const& see) {
        auto clock = make();
        auto const restart = [&] {
            if constexpr (requires { clock.restart(); }) {
                clock.restart();
            } else if constexpr (requires { clock = decltype(clock)(clock.options(), clock.last()); }) {
                clock = decltype(clock)(clock.options(), clock.last());
            }
        };
        std::optional<timestamp> greatest_issued;
        std::optional<timestamp> greatest_accepted;
        for (clock_step const& s : steps) {
            std::string wrong;
            if (s.what == action::restart) {
                restart();
            } else if (s.what == action::receive) {
                bool const accepted = static_cast<bool>(clock.accept(s.remote(), s.time()));
                wrong = see(s, std::optional<timestamp>{}, accepted, greatest_issued, greatest_accepted);
                if (accepted && (!greatest_accepted || *greatest_accepted < s.remote())) {
                    greatest_accepted = s.remote();
                }
            } else {
                auto const got = clock.now(s.time());
                std::optional<timestamp> issued;
                if (detail::answered(got)) { issued = detail::answer(got); }
                wrong = see(s, issued, false, greatest_issued, greatest_accepted);
                if (issued && (!greatest_issued || *greatest_issued < *issued)) { greatest_issued = issued; }
            }
            if (!wrong.empty()) { return shown(steps) + ": " + wrong; }
        }
        return std::string{};
    };
    using stamp = std::optional<timestamp>;
    auto const law = [&](std::string_view name, auto const& see) {
        check_law(found, name, options.law, scripts, [&](script const& steps) { return run(steps, see); });
    };
    law("monotone", [](clock_step const&, stamp issued, bool, stamp before, stamp) {
        bool const broken = issued && before && *issued <= *before;
        return broken ? "issued " + shown(*issued) + " after " + shown(*before) : std::string{};
    });
    law("dominance", [](clock_step const&, stamp issued, bool, stamp, stamp accepted) {
        bool const broken = issued && accepted && *issued <= *accepted;
        return broken ? "issued " + shown(*issued) + " after accepting " + shown(*accepted) : std::string{};
    });
    law("not_behind", [](clock_step const& s, stamp issued, bool, stamp, stamp) {
        bool const broken = issued && *issued < timestamp::make(s.time());
        return broken ? "issued " + shown(*issued) + " at " + shown(s.wall) : std::string{};
    });
    law("issuing", [](clock_step const& s, stamp issued, bool, stamp, stamp) {
        return s.what == action::issue && !issued ? "no stamp at " + shown(s.wall) : std::string{};
    });
    law("bound", [&](clock_step const& s, stamp, bool accepted, stamp, stamp) {
        if (s.what != action::receive) { return std::string{}; }
        bool const within = s.remote() <= latest_within(s.time(), options.accept_ahead_max);
        if (accepted == within) { return std::string{}; }
        return shown(s.remote()) + (accepted ? " is accepted at " : " is refused at ") + shown(s.wall);
    });
    // What is refused leaves no trace: without it, every stamp is the same.
    check_law(found, "bound", options.law, scripts, [&](script const& steps) {
        script without;
        std::vector<timestamp> seen;
        std::vector<timestamp> expected;
        auto const noting = [](std::vector<timestamp>& out) {
            return [&out](clock_step const&, stamp issued, bool, stamp, stamp) {
                if (issued) { out.push_back(*issued); }
                return std::string{};
            };
        };
        for (clock_step const& s : steps) {
            bool const refused =
                s.what == action::receive && s.remote() > latest_within(s.time(), options.accept_ahead_max);
            if (!refused) { without.push_back(s); }
        }
        (void)run(steps, noting(seen));
        (void)run(without, noting(expected));
        if (seen == expected) { return std::string{}; }
        return shown(steps) + ": a stamp that was refused has moved the clock: it issued " + shown(seen) +
               ", and without it " + shown(expected);
    });
    if (found.size() > 1 && found.back().axiom == "bound" && found[found.size() - 2].axiom == "bound") {
        found.pop_back();
    }
    return found;
}

// ---- Merge rules ---------------------------------------------------------------------------------------------

/// One who writes a field without having seen what the others write.
struct rival {
    timestamp stamp{};
    std::optional<value> writes{};  ///< none: the field is unset; of a counter, the number that is added

    [[nodiscard]] friend std::vector<rival> shrink(rival const& x) {
        std::vector<rival> out;
        for (auto const& s : smaller(x.stamp)) { out.push_back({s, x.writes}); }
        if (!x.writes) { return out; }
        for (auto& v : smaller(*x.writes)) { out.push_back({x.stamp, std::move(v)}); }
        return out;
    }
    [[nodiscard]] friend std::string show(rival const& x) {
        return (x.writes ? shown(*x.writes) : std::string{"unset"}) + " at " + shown(x.stamp);
    }
    friend bool operator==(rival const&, rival const&) = default;
};

/// A field as it was confirmed, and those who write it at once: the first is author 1, and so on.
struct rivalry {
    std::optional<value> before{};
    std::vector<rival> rivals{};

    [[nodiscard]] friend std::vector<rivalry> shrink(rivalry const& x) {
        std::vector<rivalry> out;
        for (auto& less : smaller(x.rivals)) { out.push_back({x.before, std::move(less)}); }
        for (rival const& w : x.rivals) {  // those of one moment go on being so
            for (timestamp const t : smaller(w.stamp)) {
                out.push_back(x);
                for (rival& o : out.back().rivals) { o.stamp = o.stamp == w.stamp ? t : o.stamp; }
            }
        }
        for (auto& less : smaller(x.before)) { out.push_back({std::move(less), x.rivals}); }
        return out;
    }
    [[nodiscard]] friend std::string show(rivalry const& x) {
        std::string out = "before " + shown(x.before);
        for (std::size_t i = 0; i < x.rivals.size(); ++i) {
            out += ", author " + std::to_string(i + 1) + " writes " + shown(x.rivals[i]);
        }
        return out;
    }
};

namespace detail {

struct default_apply {
    apply_outcome operator()(std::optional<row>& current, mutation const& m, collection_rules const& rules,
                             apply_context const& context) const {
        return apply(current, m, rules, context);
    }
};

inline constexpr std::string_view contested = "f";

/// Folds rivals over a row in an order, as an authority does.
template <class Apply>
struct contest {
    std::optional<row> current;
    std::string_view field;
    collection_rules const& rules;
    Apply const& apply;
    position at = 1;

    contest(std::optional<value> const& before, std::string_view name, collection_rules const& r, Apply const& a)
        : field(name), rules(r), apply(a) {
        row start;
        start.version = 1;
        start.floor.at = 1;
        field_map fields;
        rule const by = rules.of(field);
        // What stands there is of the rule's type.
        if (is_set(by) || by == rule::list || by == rule::siblings) {
            fields.put(field, value(value_view(bytes{std::byte{0x80}})));
        } else if (by == rule::nested) {
            fields.put(field, value(value_view(bytes{std::byte{0xA0}})));
        } else {
            fields.put(field, before);
        }
        start.fields = fields.encode();
        current = std::move(start);
    }
    apply_outcome take(rival const& w, std::size_t index, position base = 1) {
        mutation m;
        m.record = record_key{"things", "x"};
        m.base = base;
        m.stamp = w.stamp;
        m.ops.push_back(operation_of(w));
        apply_context context;
        context.author = static_cast<author_index>(index + 1);
        context.at = ++at;
        return apply(current, m, rules, context);
    }
    /// What a rival writes, as the operation of the field's rule.
    [[nodiscard]] field_op operation_of(rival const& w) const {
        rule const by = rules.of(field);
        field_op op{std::string{field}, w.writes ? op_kind::set : op_kind::unset, {}, w.stamp};
        if (!w.writes) { return op; }
        bytes const item = to_bytes(w.writes->encoded());
        op.value = item;
        cbor_writer out{op.value};
        if (by == rule::counter) { op.kind = op_kind::add; }
        if (is_set(by) || by == rule::list) {
            // Of the parity of the number whether it is put in or taken away.
            std::int64_t const n = w.writes->as_int64().value_or(0);
            bytes element;
            cbor_writer{element}.integer(n / 2);
            element_edit const gone{element_verb::remove, element, {}, {}};
            element_edit const put = is_set(by) ? element_edit{element_verb::add, element, {}, element}
                                                : element_edit{element_verb::insert, element, {}, element};
            op.kind = op_kind::elements;
            op.value.clear();
            encode_element_edits(out, {n % 2 == 0 ? put : gone});
        } else if (by == rule::siblings) {
            op.value.clear();
            out.array(1);
            out.raw(item);
        } else if (by == rule::nested) {
            op.kind = op_kind::nested;
            op.value.clear();
            out.array(1);
            encode_operation(out, {w.stamp.raw % 2 == 0 ? "a" : "b", op_kind::set, item, w.stamp}, w.stamp);
        }
        return op;
    }
    [[nodiscard]] std::optional<value> now() const {
        field_map const fields = field_map::parse(current->fields);
        value const* const found = fields.find(field);
        return found == nullptr ? std::nullopt : std::optional<value>{*found};
    }
};

[[nodiscard]] inline auto rivalries(rule by) {
    bool const numbers = by == rule::counter || is_set(by) || by == rule::list;
    auto const fits = [by, numbers](rivalry const& x) {
        auto const number = [](std::optional<value> const& v) { return v && v->as_int64(); };
        auto const flag = [](std::optional<value> const& v) { return !v || v->encoded().front() >= std::byte{0xF4}; };
        if (is_flag(by)) {
            return flag(x.before) && std::all_of(x.rivals.begin(), x.rivals.end(), [&](rival const& w) {
                       return !w.writes || (flag(w.writes) && w.writes->encoded().front() <= std::byte{0xF5});
                   });
        }
        if (!numbers) { return true; }
        return (!x.before || number(x.before)) &&
               std::all_of(x.rivals.begin(), x.rivals.end(), [&](rival const& w) { return number(w.writes); });
    };
    auto const make = [by, numbers](random_generator& r) {
        auto const some = [&] {
            if (numbers) { return value(static_cast<std::int64_t>(below(r, 7)) - 3); }
            if (is_flag(by)) { return value(below(r, 2) == 0); }
            return any<value>{}(r);
        };
        rivalry out;
        if (!one_in(r, 4)) { out.before = some(); }
        for (std::uint64_t n = 1 + below(r, orders_of_max); n != 0; --n) {
            rival w;
            w.stamp = timestamp::make(wall_time{milliseconds{static_cast<std::int64_t>(below(r, 3))}});
            // An unset minimum is outside of its law: nothing is no number.
            bool const set =
                numbers || by == rule::nested || by == rule::minimum || by == rule::maximum || !one_in(r, 5);
            if (set) { w.writes = !out.rivals.empty() && one_in(r, 4) ? out.rivals.back().writes : some(); }
            out.rivals.push_back(std::move(w));
        }
        return out;
    };
    return only_those{make, fits};
}

template <class Apply>
void check_rule_of(std::vector<violation>& found, std::string_view field, collection_rules const& rules,
                   law_options const& options, Apply const& apply) {
    rule const by = rules.of(field);
    auto const make = rivalries(by);
    std::vector<violation> broken;
    auto const law = [&](std::string_view name, auto const& holds) { check_law(broken, name, options, make, holds); };
    bool const state_law = by == rule::last_writer || by == rule::minimum || by == rule::maximum ||
                           by == rule::first_writer || by == rule::role || is_flag(by);
    bool const operation_law =
        by == rule::counter || is_set(by) || by == rule::list || by == rule::siblings || by == rule::nested;
    if (state_law || operation_law) {
        law("order_free", [&](rivalry const& x) {
            std::string what;
            bool any = false;
            std::optional<value> first;
            each_order(x.rivals.size(), [&](std::vector<std::size_t> const& order) {
                contest<Apply> c(x.before, field, rules, apply);
                for (std::size_t const i : order) { (void)c.take(x.rivals[i], i); }
                auto const got = c.now();
                if (!any) { first = got; }
                any = true;
                if (got == first) { return true; }
                what = shown(x) + ": in the order told it becomes " + shown(first) + ", as " +
                       in_order(x.rivals, order) + " " + shown(got);
                return false;
            });
            return what;
        });
    }
    if (state_law) {
        law("idempotent", [&](rivalry const& x) {
            contest<Apply> c(x.before, field, rules, apply);
            for (std::size_t i = 0; i < x.rivals.size(); ++i) { (void)c.take(x.rivals[i], i); }
            auto const before = c.now();
            for (std::size_t i = 0; i < x.rivals.size(); ++i) {
                (void)c.take(x.rivals[i], i + x.rivals.size(), c.at);  // who has seen it all, the same value again
                if (!(x.rivals[i].writes == before)) { return std::string{}; }
                if (!(c.now() == before)) {
                    return shown(x) + ": becomes " + shown(before) + ", and written once more " + shown(c.now());
                }
            }
            return std::string{};
        });
    }
    if (by == rule::minimum || by == rule::maximum) {
        law(by == rule::minimum ? "only_down" : "only_up", [&](rivalry const& x) {
            contest<Apply> c(x.before, field, rules, apply);
            auto last = x.before;
            for (std::size_t i = 0; i < x.rivals.size(); ++i) {
                (void)c.take(x.rivals[i], i);
                auto const now = c.now();
                auto const order = !last  ? std::strong_ordering::equal
                                   : !now ? std::strong_ordering::greater
                                          : compare_values(now->encoded(), last->encoded());
                if (by == rule::minimum ? order > 0 : order < 0) {
                    return shown(x) + ": from " + shown(last) + " to " + shown(now);
                }
                last = now;
            }
            return std::string{};
        });
    }
    if (by == rule::counter) {
        law("every_add_counts", [&](rivalry const& x) {
            contest<Apply> c(x.before, field, rules, apply);
            std::int64_t sum = x.before ? x.before->as_int64().value_or(0) : 0;
            for (std::size_t i = 0; i < x.rivals.size(); ++i) {
                (void)c.take(x.rivals[i], i);
                sum += x.rivals[i].writes->as_int64().value_or(0);
            }
            auto const got = c.now();
            std::int64_t const now = got ? got->as_int64().value_or(0) : 0;
            return now == sum ? std::string{} : shown(x) + ": " + shown(got) + ", not " + shown(sum);
        });
    }
    if (by == rule::local) {
        law("last_stays", [&](rivalry const& x) {
            contest<Apply> c(x.before, field, rules, apply);
            for (std::size_t i = 0; i < x.rivals.size(); ++i) {
                (void)c.take(x.rivals[i], i);
                if (!(c.now() == x.rivals[i].writes)) { return shown(x) + ": becomes " + shown(c.now()); }
            }
            return std::string{};
        });
    }
    if (by == rule::authority || by == rule::manual || by == rule::authority_time) {
        law(by != rule::manual ? "first_stays" : "nobody_wins", [&](rivalry const& x) {
            if (x.rivals.empty()) { return std::string{}; }
            contest<Apply> c(x.before, field, rules, apply);
            (void)c.take(x.rivals[0], 0);
            auto const first = c.now();
            for (std::size_t i = 1; i < x.rivals.size(); ++i) {
                std::optional<row> const held = c.current;
                apply_outcome const out = c.take(x.rivals[i], i);
                bool const differs = !(x.rivals[i].writes == first);
                if (by == rule::manual && differs && !(out.verdict == verdict_kind::conflict && c.current == held)) {
                    return shown(x) + ": author " + std::to_string(i + 1) + " gets " + name(out.verdict);
                }
                if (!(c.now() == first)) { return shown(x) + ": " + shown(first) + " becomes " + shown(c.now()); }
            }
            return std::string{};
        });
    }
    for (violation& v : broken) {
        found.push_back(
            {std::move(v.axiom), "rule " + std::string{name(by)} + ", field " + shown(field) + ", " + v.what});
    }
}

/// Records that have the fields that a table of rules names, and one that it doesn't.
[[nodiscard]] inline auto ruled_fields(collection_rules const& rules) {
    return [&rules](random_generator& r) {
        field_map out;
        auto const maybe = [&](std::string_view field) {
            rule const by = rules.of(field);
            // Between one who takes a whole set or list away and one who edits it the last writer decides.
            bool const stays = is_set(by) || by == rule::list;
            if (!stays && one_in(r, 4)) { return; }
            bool const counter = by == rule::counter && !one_in(r, 8);
            auto const array = [&] {
                bytes items;
                cbor_writer w{items};
                std::uint64_t const first = below(r, 3);
                std::uint64_t const n = below(r, 3);
                w.array(static_cast<std::size_t>(n));
                for (std::uint64_t i = 0; i != n; ++i) { w.unsigned_integer(first + i); }
                return value(value_view(items));
            };
            bool const elements = is_set(by) || by == rule::list || by == rule::sequence || by == rule::siblings;
            if (is_flag(by)) {
                out.put(field, value(below(r, 2) == 0));
            } else if (by == rule::siblings || stays || (elements && !one_in(r, 8))) {
                out.put(field, array());
            } else {
                out.put(field, counter ? value(static_cast<std::int64_t>(below(r, 5)) - 2) : any<value>{}(r));
            }
        };
        for (field_rule const& f : rules.fields) { maybe(f.field); }
        maybe("(no rule of its own)");
        return out;
    };
}

/// Records that have the fields that rules name, of the types that these are for, inside of nested ones too.
[[nodiscard]] inline field_map ruled_map(random_generator& r, rule_view rules, std::size_t depth = 0) {
    field_map out;
    auto const put = [&](std::string_view field) {
        rule const by = rules.of(field);
        if (one_in(r, 4)) { return; }
        bool const number = by == rule::counter || by == rule::minimum || by == rule::maximum;
        if (by == rule::nested && depth != rules_depth_max) {
            out.put(field, value(value_view(ruled_map(r, rules.inside(field), depth + 1).encode())));
        } else if (is_flag(by)) {
            out.put(field, value(below(r, 2) == 0));
        } else if (is_text(by)) {
            std::string words;
            for (std::uint64_t n = below(r, 4); n != 0; --n) { words += below(r, 2) == 0 ? "a\n" : "b\n"; }
            out.put(field, value(words));
        } else if (is_set(by) || by == rule::list || by == rule::sequence || by == rule::siblings) {
            bytes items;
            cbor_writer w{items};
            std::uint64_t const first = below(r, 3);
            std::uint64_t const n = below(r, 3);
            w.array(static_cast<std::size_t>(n));
            for (std::uint64_t i = 0; i != n; ++i) { w.unsigned_integer(first + i); }
            out.put(field, value(value_view(items)));
        } else {
            out.put(field, number ? value(static_cast<std::int64_t>(below(r, 5)) - 2) : any<value>{}(r));
        }
    };
    if (rules.fields != nullptr) {
        for (field_rule const& f : *rules.fields) { put(f.field); }
    }
    put("(no rule of its own)");
    return out;
}

/// What a merge came to, in words that do not go by the order in which it is told.
[[nodiscard]] inline std::string merge_in_words(result<merged<bytes>> const& m) {
    if (!m) { return message(m.error().code); }
    std::vector<std::string> told;
    for (decision const& d : m->decisions) { told.push_back(to_text(d)); }
    for (std::string const& f : m->conflicts) { told.push_back("for a person: " + f); }
    auto const record = field_map::parse(m->record);
    std::string out = shown(record);
    for (std::string const& t : told) { out += "; " + t; }
    return out;
}

/// The three-way merge of encoded records, as a function that a test may put another in the place of.
struct default_merge {
    [[nodiscard]] result<merged<bytes>> operator()(bytes_view base, bytes_view local, bytes_view remote,
                                                   collection_rules const& rules, side const& local_side,
                                                   side const& remote_side, merge_host const* host) const {
        return three_way(base, local, remote, rules, local_side, remote_side, host);
    }
};

/// A guard that accepts everything, and a group of fields that no record has, change nothing.
template <class Merge>
void check_onlookers(std::vector<violation>& found, collection_rules const& rules, law_options const& options,
                     Merge const& merge) {
    auto const make = [&rules](random_generator& r) { return ruled_map(r, rules.view()); };
    merge_host accepts;
    accepts.guards.push_back({"accepts", {}, [](guard_input const&, void const*) { return guard_answer{}; }, nullptr});
    collection_rules grouped = rules;
    grouped.groups.push_back({"(others)", rule::last_writer, {"(one of others)", "(another of others)"}});
    auto const law = [&](std::string_view name, collection_rules const& other, merge_host const* host) {
        check_law(found, name, options, triples<decltype(make)>{make}, [&](triple<field_map> const& x) {
            bytes const b = x.base.encode();
            bytes const l = x.local.encode();
            bytes const r = x.remote.encode();
            side const early{timestamp{10}, 1};
            side const late{timestamp{11}, 2};
            std::string const plain = merge_in_words(merge(b, l, r, rules, early, late, nullptr));
            std::string const got = merge_in_words(merge(b, l, r, other, early, late, host));
            if (plain != got) { return shown(x) + ": merged " + plain + "; with an onlooker " + got; }
            return std::string{};
        });
    };
    law("guard_free", rules, &accepts);
    law("group_free", grouped, nullptr);
}

/// Whether swapping the sides of a three-way merge swaps nothing.
[[nodiscard]] constexpr bool symmetric_rule(rule by) noexcept {
    return by != rule::authority && by != rule::authority_time && by != rule::local && by != rule::manual &&
           !is_text(by) && by != rule::sequence;
}

/// The fields whose rule obeys a law.
template <class Obeys>
[[nodiscard]] field_map only(field_map const& all, collection_rules const& rules, Obeys const& obeys) {
    field_map out;
    for (auto const& f : all.fields) {
        if (obeys(rules.of(f.first))) { out.fields.push_back(f); }
    }
    return out;
}

}  // namespace detail

/// The laws that each rule of a collection's table promises, by its class, on the apply function that decides:
///
/// | rule                 | laws                                                                          |
/// | last_writer          | `order_free`, `idempotent`                                                    |
/// | minimum, maximum     | the same, and `only_down`, `only_up`; for what is set, not for what is unset  |
/// | counter              | `order_free`, `every_add_counts`, while no sum leaves int64                   |
/// | first_writer, role, flags | `order_free`, `idempotent`                                               |
/// | add_wins, remove_wins, list, siblings, nested | `order_free`, of their operations                    |
/// | authority, authority_time | `first_stays`: a choice of order                                         |
/// | local                | `last_stays`: a choice of order                                               |
/// | manual               | `nobody_wins`: what differs is parked and changes nothing                     |
///
/// of three-way merges with onlookers: `guard_free`, `group_free` (a guard that accepts, and a group of fields that no record
/// has, change nothing: the same record, decisions and conflicts, inside of nested fields too);
///
/// and of three-way merges of whole records by them: `local_kept`, `remote_kept`, `agreed` (counters aside: two who add
/// one each make two), `symmetric` (aside those that choose by the order or leave the remote value to a person: authority,
/// authority_time, local, manual, texts and sequences). `apply` stands in for the library's own in the laws of single
/// rules, `merge` in those with onlookers.
template <class Apply = detail::default_apply, class Merge = detail::default_merge>
[[nodiscard]] std::vector<violation> check_rules(collection_rules const& rules, law_options const& options = {},
                                                 Apply const& apply = {}, Merge const& merge = {}) {
    std::vector<violation> found;
    detail::check_onlookers(found, rules, options, merge);
    detail::check_rule_of(found, "(no rule of its own)", rules, options, apply);
    for (field_rule const& f : rules.fields) { detail::check_rule_of(found, f.field, rules, options, apply); }

    auto const make = detail::ruled_fields(rules);
    // A map of the fields that obey the law, so that only those count.
    auto const merge_as = [&](auto const& obeys) {
        return [&](field_map const& b, field_map const& l, field_map const& r, side const& ls,
                   side const& rs) -> result<field_map> {
            auto const out = three_way(detail::only(b, rules, obeys).encode(), detail::only(l, rules, obeys).encode(),
                                       detail::only(r, rules, obeys).encode(), rules, ls, rs);
            if (!out) { return out.error(); }
            return field_map::parse(out->record);
        };
    };
    auto const take = [&](std::initializer_list<std::string_view> laws, auto const& obeys) {
        auto const made = [&](random_generator& r) { return detail::only(make(r), rules, obeys); };
        auto const merged_so = merge_as(obeys);
        for (violation& v : check_three_way(merged_so, made, options)) {
            if (std::find(laws.begin(), laws.end(), v.axiom) != laws.end()) { found.push_back(std::move(v)); }
        }
    };
    take({"local_kept", "remote_kept", "answers"}, [](rule) { return true; });
    take({"agreed"}, [](rule by) { return by != rule::counter; });
    take({"symmetric"}, [](rule by) { return detail::symmetric_rule(by) && !is_set(by) && by != rule::list; });
    // Sets and lists that are there on all sides: one who takes one away and one who edits it are two last writers.
    auto const elements = [](rule by) { return is_set(by) || by == rule::list; };
    auto const there = [&](field_map all) {
        all = detail::only(all, rules, elements);
        for (field_rule const& f : rules.fields) {
            value const* const held = all.find(f.field);
            bool const array = held != nullptr && std::to_integer<unsigned>(held->encoded().front()) >> 5 == 4;
            if (elements(f.decides) && !array) { all.put(f.field, value(value_view(bytes{std::byte{0x80}}))); }
        }
        return all.encode();
    };
    auto const merge_elements = [&](field_map const& b, field_map const& l, field_map const& r, side const& ls,
                                    side const& rs) -> result<field_map> {
        auto const out = three_way(there(b), there(l), there(r), rules, ls, rs);
        if (!out) { return out.error(); }
        return field_map::parse(out->record);
    };
    for (violation& v : check_three_way(merge_elements, make, options)) {
        if (v.axiom == "symmetric") { found.push_back(std::move(v)); }
    }
    return found;
}

/// All rules that the library has, by their laws. The library's own tests run it; it is here for a fork's.
[[nodiscard]] inline std::vector<violation> check_built_in_rules(law_options const& options = {}) {
    return check_rules({"things",
                        rule::last_writer,
                        {{"authority", rule::authority},
                         {"minimum", rule::minimum},
                         {"maximum", rule::maximum},
                         {"counter", rule::counter},
                         {"manual", rule::manual},
                         {"authority_time", rule::authority_time},
                         {"first_writer", rule::first_writer},
                         {"local", rule::local},
                         {"enable_wins", rule::enable_wins},
                         {"disable_wins", rule::disable_wins},
                         {"add_wins", rule::add_wins},
                         {"remove_wins", rule::remove_wins},
                         {"nested",
                          rule::nested,
                          {{"least", rule::minimum},
                           {"most", rule::maximum},
                           {"count", rule::counter},
                           {"set", rule::add_wins},
                           {"asked", rule::manual},
                           {"timed", rule::authority_time},
                           {"map", rule::nested, {{"least", rule::minimum}, {"flag", rule::enable_wins}}}}},
                         {"list", rule::list},
                         {"sequence", rule::sequence},
                         {"text_lines", rule::text_lines},
                         {"text_words", rule::text_words},
                         {"text_characters", rule::text_characters},
                         {"role", rule::role},
                         {"siblings", rule::siblings}}},
                       options);
}

/// Everything about a described struct: its rules by their laws, its codec, and three-way merges of the struct itself.
template <described T>
[[nodiscard]] std::vector<violation> check_record(law_options const& options = {}) {
    std::vector<violation> found = check_rules(rules_of<T>(), options);
    for (violation& v : check_record_codec<T>(options)) { found.push_back(std::move(v)); }
    auto const merge = [](T const& b, T const& l, T const& r, side const& ls, side const& rs) {
        return three_way(b, l, r, ls, rs);
    };
    bool counts = false;
    bool asks = false;
    for (field_rule const& f : rules_of<T>().fields) {
        counts = counts || f.decides == rule::counter;
        asks = asks || !detail::symmetric_rule(f.decides);
    }
    for (violation& v : check_three_way(merge, any<T>{}, options)) {
        // By the field's class, as above; a struct has all its fields at once.
        if ((v.axiom == "agreed" && counts) || (v.axiom == "symmetric" && asks)) { continue; }
        found.push_back(std::move(v));
    }
    return found;
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
