// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A suggester that learns from a person's own decisions: FTRL-proximal logistic regression over hashed signals, in integers.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <syncline/conflict/suggester.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How a `learned_suggester` learns. Shares and rates in 65536ths.
struct learning_options {
    std::uint32_t rate = 38'011;      ///< how far one decision moves a fresh weight; > 0
    std::uint32_t inertia = 16'384;   ///< what it has seen before it begins to count; > 0
    std::uint32_t sparsity = 655;     ///< what a weight has to earn before it is any
    std::uint32_t shrinkage = 6'554;  ///< how weights are held near nothing
    std::uint32_t memory = 65'016;    ///< of a weight's past, how much the next decision leaves: people change
    share16 ask_below = 36'045;       ///< less sure than this: `ask`
    friend constexpr bool operator==(learning_options const&, learning_options const&) = default;
};
[[nodiscard]] constexpr bool valid(learning_options const& o) noexcept {
    return o.rate > 0 && o.rate <= 1'048'576 && o.inertia > 0 && o.inertia <= 16'777'216 && o.sparsity <= 16'777'216 &&
           o.shrinkage <= 16'777'216 && o.memory > 32'768 && o.memory <= 65'536 && o.ask_below <= share_one;
}

namespace detail {

/// One hashed feature of a question: which weight, and with what value in 256ths.
struct weighted_signal {
    std::uint32_t slot = 0;
    std::int32_t value = 0;
    std::uint8_t signal = 0;  ///< its number, for the reason; 255: a value of the field
};

/// Weights that learn by FTRL-proximal (McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013),
/// whose sums of gradients and squares fade. All in 65536ths, in 64 bits on the way.
template <std::size_t Bits>
class ftrl_weights {
public:
    static constexpr std::size_t size = std::size_t{1} << Bits;
    struct weight {
        std::int32_t z = 0;
        std::uint32_t n = 0;  ///< of squares of gradients
        std::int32_t w = 0;   ///< follows from z and n
        friend bool operator==(weight const&, weight const&) = default;
    };

    ftrl_weights() : all_(size) {}

    template <class Signals>
    [[nodiscard]] std::int64_t margin(Signals const& signal_values) const noexcept {
        std::int64_t sum = 0;
        for (weighted_signal const& s : signal_values) { sum += std::int64_t{all_[s.slot].w} * s.value; }
        return sum / 256;
    }
    /// `p` was predicted, `y` (0 or 1) is what happened.
    template <class Signals>
    void learn(Signals const& signal_values, share16 p, bool y, learning_options const& o) noexcept {
        std::int64_t const error = static_cast<std::int64_t>(p) - (y ? std::int64_t{share_one} : 0);
        for (weighted_signal const& s : signal_values) {
            if (s.value == 0) { continue; }
            weight& at = all_[s.slot];
            std::int64_t const g = error * s.value / 256;
            std::uint64_t const old = (std::uint64_t{at.n} * o.memory) >> 16U;
            std::uint64_t const now =
                (std::min)(old + (static_cast<std::uint64_t>(g * g) >> 16U), std::uint64_t{n_max});
            std::int64_t const step = static_cast<std::int64_t>(integer_root(now << 16U)) -
                                      static_cast<std::int64_t>(integer_root(old << 16U));
            std::int64_t const sigma = step * 65'536 / o.rate;
            std::int64_t const z = faded(at, old, o) + g - sigma * at.w / 65'536;
            at.z = static_cast<std::int32_t>(z > z_max ? z_max : z < -z_max ? -z_max : z);
            at.n = static_cast<std::uint32_t>(now);
            at.w = weight_of(at.z, at.n, o);
        }
    }
    [[nodiscard]] weight const& at(std::size_t i) const noexcept { return all_[i]; }
    void set(std::size_t i, std::int32_t z, std::uint32_t n, learning_options const& o) noexcept {
        all_[i] = {z, n, weight_of(z, n, o)};
    }
    friend bool operator==(ftrl_weights const&, ftrl_weights const&) = default;

    static constexpr std::int64_t z_max = 1'000'000'000;
    static constexpr std::uint32_t n_max = 1'000'000'000;

private:
    [[nodiscard]] static std::int64_t scale(std::uint64_t n, learning_options const& o) noexcept {
        std::uint64_t const root = integer_root(n << 16U);
        return static_cast<std::int64_t>((o.inertia + root) * 65'536 / o.rate + o.shrinkage);
    }
    /// The z under which the weight is what it was, now that less of its past counts.
    [[nodiscard]] static std::int64_t faded(weight const& at, std::uint64_t n, learning_options const& o) noexcept {
        if (at.w == 0 || n == at.n) { return at.z; }
        std::int64_t const z = -std::int64_t{at.w} * scale(n, o) / 65'536;
        return at.w > 0 ? z - o.sparsity : z + o.sparsity;
    }
    [[nodiscard]] static std::int32_t weight_of(std::int64_t z, std::uint32_t n, learning_options const& o) noexcept {
        std::int64_t const size_of_z = z < 0 ? -z : z;
        if (size_of_z <= o.sparsity) { return 0; }
        std::int64_t const rest = (z < 0 ? size_of_z - o.sparsity : -(size_of_z - o.sparsity)) * 65'536 / scale(n, o);
        constexpr std::int64_t most = std::int64_t{16} * 65'536;
        return static_cast<std::int32_t>(rest > most ? most : rest < -most ? -most : rest);
    }

    std::vector<weight> all_;
};

}  // namespace detail

/// Suggests by the heuristics and by what it has learned since from decisions: which side is taken, and whether both are kept.
///
/// A value: copy it, compare it, store it (`save`, `load`). What is learned is shared: each signal has a weight for all
/// fields, one for its field, and one for the person on that field, so that a new field begins with what is known of
/// others, and a new person with what is known of the field. Short values are weighed against each other by name ("confirmed"
/// against "offered"). Its confidence is corrected by how often it was right at such a confidence with so much experience of
/// person and field. Everything is integers: the same decisions give the same bytes on every compiler and processor.
/// Memory: 80 KiB, whatever it has seen. Cost: no allocation; what `suggest` and `learn` take is
/// measured in docs/conflict.md.
class learned_suggester {
public:
    /// Precondition: valid(options).
    explicit learned_suggester(learning_options options = {}) : options_(options) { SYNCLINE_ASSERT(valid(options)); }

    [[nodiscard]] result<suggestion> suggest(conflict_question const& q) const noexcept {
        forecast const f = foresee(q);
        suggestion out = detail::ranked(f.local, f.remote, f.merge, options_.ask_below, suggestion_source::learned);
        share16 const sure = corrected(f.best(), f.trust);
        // What is left to the others shrinks and grows with it.
        if (out.what != conflict_action::ask) {
            rescale(out, f.best(), sure);
            out.confidence = sure;
            if (sure < options_.ask_below) {
                out.alternatives = {ranked_action{out.what, sure}, out.alternatives[0]};
                out.what = conflict_action::ask;
                out.confidence = 0;
            }
        }
        explain(out, f);
        return out;
    }
    /// The person has decided: `taken` is what they took of the three; anything else teaches only that it was not both.
    void learn(conflict_question const& q, conflict_action taken) noexcept {
        forecast const f = foresee(q);
        record(f, q, f.action() == taken);
        if (q.combinable) { merges_.learn(f.both, f.p_merge, taken == conflict_action::merge, options_); }
        bool const side = taken == conflict_action::local || taken == conflict_action::remote;
        if (side) { sides_.learn(f.apart, f.p_local, taken == conflict_action::local, options_); }
        ++decisions_;
    }
    /// What was applied without asking was not undone. It says little about what the person would have taken, so it moves no
    /// weight; but without it only mistakes would be heard of, and nothing would be sure any more.
    void stood(conflict_question const& q) noexcept { record(foresee(q), q, true); }
    /// What a new person, or another office, begins with: all that is known of fields, nothing of persons.
    [[nodiscard]] learned_suggester newcomer() const {
        learned_suggester out = *this;
        out.sides_.own = {};
        out.merges_.own = {};
        out.experience_ = {};
        return out;
    }
    /// How many decisions it has learned from.
    [[nodiscard]] std::uint64_t decisions() const noexcept { return decisions_; }
    [[nodiscard]] learning_options const& options() const noexcept { return options_; }

    /// What a restart must not forget, as a canonical item: form, decisions, then for both tables, the experience and the
    /// corrections what is not zero. At most 128 KiB.
    [[nodiscard]] bytes to_bytes() const {
        bytes out;
        cbor_writer w{out};
        w.array(8);
        w.unsigned_integer(form);
        w.unsigned_integer(decisions_);
        bytes body;
        auto const table = [&](auto const& t) {
            body.clear();
            put_table(body, t);
            w.byte_string(body);
        };
        table(sides_.common);
        table(sides_.own);
        table(merges_.common);
        table(merges_.own);
        body.clear();
        put_sparse(
            body, experience_.size(), [&](std::size_t i) { return experience_[i].seen != 0; },
            [&](std::size_t i) {
                append_varint(body, experience_[i].seen);
                append_varint(body, experience_[i].errors);
            });
        w.byte_string(body);
        body.clear();
        put_sparse(
            body, bins_.size(), [&](std::size_t i) { return bins_[i].total != 0; },
            [&](std::size_t i) {
                append_varint(body, bins_[i].total);
                append_varint(body, bins_[i].right);
                append_varint(body, bins_[i].said);
            });
        w.byte_string(body);
        return out;
    }
    /// What `to_bytes` wrote, under the options of the day. Errors: `errc::corrupt`, `errc::unsupported` (another form).
    [[nodiscard]] static result<learned_suggester> from_bytes(bytes_view raw, learning_options options = {}) {
        constexpr failure bad{errc::corrupt, "learned suggestions"};
        cbor_reader in{raw};
        if (in.array() != 8) { return bad; }
        if (in.unsigned_integer() != form) {
            return in.failed() ? bad : failure{errc::unsupported, "learned suggestions of another form"};
        }
        learned_suggester out{options};
        out.decisions_ = in.unsigned_integer();
        std::array<bytes_view, 4> tables{};
        for (bytes_view& t : tables) { t = in.byte_string(); }
        bytes_view experiences = in.byte_string();
        bytes_view bins = in.byte_string();
        bool const whole = in.finish() && take_table(tables[0], out.sides_.common, options) &&
                           take_table(tables[1], out.sides_.own, options) &&
                           take_table(tables[2], out.merges_.common, options) &&
                           take_table(tables[3], out.merges_.own, options);
        if (!whole) { return bad; }
        bool const known = take_sparse(experiences, out.experience_.size(), [&](std::size_t i, bytes_view& rest) {
            auto const seen = number(rest, 0xFFFF);
            auto const errors = number(rest, 4096);
            if (!seen || !errors || *seen == 0) { return false; }
            out.experience_[i] = {static_cast<std::uint16_t>(*seen), static_cast<std::uint16_t>(*errors)};
            return true;
        });
        bool const binned = take_sparse(bins, out.bins_.size(), [&](std::size_t i, bytes_view& rest) {
            auto const total = number(rest, bin_max);
            auto const right = number(rest, bin_max);
            auto const said = number(rest, bin_max);
            if (!total || !right || !said || *total == 0 || *right > *total || *said > *total) { return false; }
            out.bins_[i] = {static_cast<std::uint32_t>(*total), static_cast<std::uint32_t>(*right),
                            static_cast<std::uint32_t>(*said)};
            return true;
        });
        if (!known || !binned) { return bad; }
        return out;
    }
    template <storage_transaction Tx>
    [[nodiscard]] status save(Tx& tx, bytes_view key) const {
        return tx.put(key, to_bytes());
    }
    /// Nothing where nothing was saved. Errors: those of `from_bytes`.
    template <storage_transaction Tx>
    [[nodiscard]] static result<std::optional<learned_suggester>> load(Tx& tx, bytes_view key,
                                                                       learning_options options = {}) {
        bytes raw;
        auto const found = tx.get(key, raw);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<learned_suggester>{}; }
        auto out = from_bytes(raw, options);
        if (!out) { return out.error(); }
        return std::optional<learned_suggester>{std::move(*out)};
    }

    friend bool operator==(learned_suggester const&, learned_suggester const&) = default;

private:
    static constexpr std::uint64_t form = 1;
    static constexpr std::size_t side_bits = 11;
    static constexpr std::size_t own_side_bits = 12;
    static constexpr std::size_t merge_bits = 8;
    static constexpr std::size_t own_merge_bits = 9;
    static constexpr std::size_t trusts = 5;
    static constexpr std::size_t steps = 16;
    static constexpr std::uint32_t bin_max = 1U << 24U;
    static constexpr std::uint8_t by_name = 255;

    // The last third of the signals is the person's own, in tables apart.
    template <std::size_t Count>
    struct signal_values {
        std::array<detail::weighted_signal, 2 * Count> common{};
        std::array<detail::weighted_signal, Count> own{};
    };
    static constexpr std::size_t merge_signal_count = 6;
    using side_signals = signal_values<conflict_signal_count + 2>;  ///< and both values by name
    using merge_signals = signal_values<merge_signal_count>;

    template <std::size_t Bits, std::size_t OwnBits>
    struct weights {
        detail::ftrl_weights<Bits> common{};
        detail::ftrl_weights<OwnBits> own{};

        template <class S>
        [[nodiscard]] std::int64_t margin(S const& s) const noexcept {
            return common.margin(s.common) + own.margin(s.own);
        }
        template <class S>
        void learn(S const& s, share16 p, bool y, learning_options const& o) noexcept {
            common.learn(s.common, p, y, o);
            own.learn(s.own, p, y, o);
        }
        friend bool operator==(weights const&, weights const&) = default;
    };

    struct experience {
        std::uint16_t seen = 0;
        std::uint16_t errors = 0;  ///< of the last ones, fading; in 4096ths
        friend bool operator==(experience const&, experience const&) = default;
    };
    /// How often it was right where it said so, in 65536ths of a decision, fading.
    struct bin {
        std::uint32_t total = 0;
        std::uint32_t right = 0;
        std::uint32_t said = 0;  ///< what it said, summed up
        friend bool operator==(bin const&, bin const&) = default;
    };

    struct forecast {
        conflict_signals signal_values{};
        side_signals apart{};
        merge_signals both{};
        std::int64_t margin = 0;
        share16 p_local = 0;  ///< given that one side is taken
        share16 p_merge = 0;
        share16 local = 0, remote = 0, merge = 0;
        std::size_t trust = 0;

        [[nodiscard]] share16 best() const noexcept { return (std::max)({local, remote, merge}); }
        [[nodiscard]] conflict_action action() const noexcept {
            share16 const b = best();
            return b == local ? conflict_action::local : b == remote ? conflict_action::remote : conflict_action::merge;
        }
    };

    [[nodiscard]] static std::uint64_t mixed(std::uint64_t x) noexcept {
        x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9;
        x = (x ^ (x >> 27U)) * 0x94D049BB133111EB;
        return x ^ (x >> 31U);
    }
    template <std::size_t Bits>
    [[nodiscard]] static std::uint32_t slot(std::uint64_t scope, std::uint64_t what) noexcept {
        return static_cast<std::uint32_t>(mixed(scope + (what + 1) * 0x9E3779B97F4A7C15) >> (64 - Bits));
    }
    [[nodiscard]] static std::size_t trust_slot(conflict_question const& q) noexcept {
        return slot<8>(q.scope_of_person != 0 ? q.scope_of_person : q.scope, 77);
    }

    /// The signals under the three scopes: all fields, this one, this one of this person.
    template <std::size_t Bits, std::size_t OwnBits, std::size_t Count, class Signals>
    static void lay_out(conflict_question const& q, std::array<detail::weighted_signal, Count> const& one,
                        Signals& out) noexcept {
        for (std::size_t i = 0; i < Count; ++i) {
            detail::weighted_signal const& s = one[i];
            // A value by name means nothing in another field.
            out.common[i] = {slot<Bits>(1, s.slot), s.signal == by_name ? 0 : s.value, s.signal};
            out.common[Count + i] = {slot<Bits>(q.scope, s.slot), s.value, s.signal};
            out.own[i] = {slot<OwnBits>(q.scope_of_person, s.slot), q.scope_of_person == 0 ? 0 : s.value, s.signal};
        }
    }
    [[nodiscard]] forecast foresee(conflict_question const& q) const noexcept {
        forecast f;
        f.signal_values = signals_of(q);
        std::array<detail::weighted_signal, conflict_signal_count + 2> one{};
        for (std::size_t i = 0; i < f.signal_values.size(); ++i) {
            one[i] = {static_cast<std::uint32_t>(i), f.signal_values[i], static_cast<std::uint8_t>(i)};
        }
        // Short values by name: one that mostly wins has the greater weight.
        auto const named = [](std::optional<bytes_view> const& item, std::int32_t value) -> detail::weighted_signal {
            bool const is_short = item && item->size() <= 24;
            return {is_short ? static_cast<std::uint32_t>(xxh3_64(*item, 3)) | 0x100U : 0, is_short ? value : 0,
                    by_name};
        };
        one[conflict_signal_count] = named(q.local.value, 256);
        one[conflict_signal_count + 1] = named(q.remote.value, -256);
        lay_out<side_bits, own_side_bits>(q, one, f.apart);
        f.margin = heuristics::margin(f.signal_values) + sides_.margin(f.apart);
        f.p_local = detail::logistic(f.margin);
        if (q.combinable) {
            bool const adds = detail::only_adds(q.base, q.local.value) && detail::only_adds(q.base, q.remote.value);
            std::int32_t const apart = f.signal_values[static_cast<std::size_t>(conflict_signal::newer_by)];
            std::array<std::int32_t, merge_signal_count> const both{
                256,
                adds ? 256 : -256,
                detail::similarity(detail::content_of(q.local.value), detail::content_of(q.remote.value)) - 128,
                apart < 0 ? -apart : apart,
                q.local.role == q.remote.role ? 256 : -256,
                std::int32_t{q.importance}};
            std::array<detail::weighted_signal, merge_signal_count> each{};
            for (std::size_t i = 0; i < both.size(); ++i) {
                each[i] = {static_cast<std::uint32_t>(i), both[i], static_cast<std::uint8_t>(i)};
            }
            lay_out<merge_bits, own_merge_bits>(q, each, f.both);
            f.p_merge = detail::logistic(heuristics::merge_margin(q) + merges_.margin(f.both));
        }
        f.merge = f.p_merge;
        f.local = static_cast<share16>((std::uint64_t{share_one - f.merge} * f.p_local) >> 16U);
        f.remote = share_one - f.merge - f.local;
        experience const& e = experience_[trust_slot(q)];
        f.trust = e.seen < 3 ? 0 : e.errors > 1000 ? 1 : e.errors > 400 ? 2 : e.seen < 12 ? 3 : 4;
        return f;
    }

    // How sure it may be.

    [[nodiscard]] static std::size_t step_of(share16 p) noexcept {
        // From a half on, where people look: finer towards certainty.
        share16 const doubt = share_one - p;
        if (doubt >= share_one / 2) { return 0; }
        std::size_t const n = 17 - static_cast<std::size_t>(std::bit_width(doubt | 1U));
        return n >= steps ? steps - 1 : n;
    }
    [[nodiscard]] bin const& bin_of(share16 p, std::size_t trust) const noexcept {
        return bins_[trust * steps + step_of(p)];
    }
    [[nodiscard]] share16 corrected(share16 p, std::size_t trust) const noexcept {
        bin const& b = bin_of(p, trust);
        // As if it had been seen to be half as sure as it says eight times: what is new is doubted.
        constexpr std::int64_t before = std::int64_t{8} * 65'536;
        std::int64_t const prior = trust == 0 ? before * 2 : before;
        std::int64_t const doubt = trust == 0 ? 6'554 : 1'311;
        std::int64_t const off =
            (static_cast<std::int64_t>(b.right) - static_cast<std::int64_t>(b.said)) * 65'536 - prior * doubt;
        std::int64_t const out = static_cast<std::int64_t>(p) + off / (static_cast<std::int64_t>(b.total) + prior);
        std::int64_t const least = share_one / 3;
        std::int64_t const most = share_one - 64;
        return static_cast<share16>(out < least ? least : out > most ? most : out);
    }
    void record(forecast const& f, conflict_question const& q, bool right) noexcept {
        bin& b = bins_[f.trust * steps + step_of(f.best())];
        auto const fade = [](std::uint32_t n) { return n - n / 128; };
        b.total = fade(b.total) + share_one;
        b.right = (std::min)(b.total, fade(b.right) + (right ? share_one : 0));
        b.said = (std::min)(b.total, fade(b.said) + f.best());
        experience& e = experience_[trust_slot(q)];
        if (e.seen == 0) { e.errors = 1024; }
        e.errors = static_cast<std::uint16_t>((e.errors * 7U + (right ? 0U : 4096U)) / 8U);
        if (e.seen != 0xFFFF) { ++e.seen; }
    }
    static void rescale(suggestion& out, share16 was, share16 now) noexcept {
        for (ranked_action& a : out.alternatives) {
            if (was == share_one) { continue; }
            a.confidence = static_cast<share16>(std::uint64_t{a.confidence} * (share_one - now) / (share_one - was));
        }
    }

    void explain(suggestion& out, forecast const& f) const noexcept {
        if (out.what == conflict_action::ask) {
            out.reasons = {suggestion_reason::nothing_known, {}};
            return;
        }
        if (out.what == conflict_action::merge) {
            out.reasons = {suggestion_reason::both_fit, {}};
            if (merges_.margin(f.both) > 65'536) { out.reasons[1] = suggestion_reason::merged_before; }
            return;
        }
        // What each reason adds, over all scopes and the heuristics, for the side that is suggested.
        std::array<std::int64_t, 32> weight{};
        std::int64_t const for_local = out.what == conflict_action::local ? 1 : -1;
        auto const add = [&](detail::weighted_signal const& s, std::int64_t part) {
            bool const with_sign = (s.value > 0) == (for_local > 0);
            suggestion_reason r =
                s.signal == by_name ? suggestion_reason::such_values_won : detail::reason_of(s.signal, with_sign);
            if (r == suggestion_reason::mine_usually && for_local < 0) { r = suggestion_reason::theirs_usually; }
            weight[static_cast<std::size_t>(r)] += part * for_local;
        };
        for (detail::weighted_signal const& s : f.apart.common) {
            add(s, std::int64_t{sides_.common.at(s.slot).w} * s.value / 256);
        }
        for (detail::weighted_signal const& s : f.apart.own) {
            add(s, std::int64_t{sides_.own.at(s.slot).w} * s.value / 256);
        }
        for (std::size_t i = 0; i < conflict_signal_count; ++i) {
            conflict_signals one{};
            one[i] = f.signal_values[i];
            add({0, f.signal_values[i], static_cast<std::uint8_t>(i)}, heuristics::margin(one));
        }
        weight[0] = 0;
        for (suggestion_reason& r : out.reasons) {
            auto const most = std::max_element(weight.begin(), weight.end());
            if (*most <= 6'554) { break; }
            r = static_cast<suggestion_reason>(most - weight.begin());
            *most = 0;
        }
        if (out.reasons[0] == suggestion_reason::none) { out.reasons[0] = suggestion_reason::nothing_known; }
    }

    // The stored form: for each run of what is not zero how many zeros stand before it, then the numbers.

    template <class Is, class Put>
    static void put_sparse(bytes& out, std::size_t count, Is&& is, Put&& put) {
        std::size_t last = 0;
        for (std::size_t i = 0; i < count; ++i) {
            if (!is(i)) { continue; }
            append_varint(out, i - last);
            last = i + 1;
            put(i);
        }
    }
    template <class Take>
    [[nodiscard]] static bool take_sparse(bytes_view in, std::size_t count, Take&& take) {
        std::size_t at = 0;
        while (!in.empty()) {
            auto const skipped = take_varint(in);
            if (!skipped || *skipped >= count - at) { return false; }
            at += static_cast<std::size_t>(*skipped);
            if (!take(at, in)) { return false; }
            if (++at == count && !in.empty()) { return false; }
        }
        return true;
    }
    [[nodiscard]] static std::optional<std::uint64_t> number(bytes_view& in, std::uint64_t most) {
        auto const n = take_varint(in);
        return n && *n <= most ? std::optional<std::uint64_t>{*n} : std::nullopt;
    }
    template <std::size_t Bits>
    static void put_table(bytes& out, detail::ftrl_weights<Bits> const& t) {
        put_sparse(
            out, t.size, [&](std::size_t i) { return t.at(i).n != 0 || t.at(i).z != 0; },
            [&](std::size_t i) {
                std::int32_t const z = t.at(i).z;
                auto const raw = static_cast<std::uint32_t>(z);
                append_varint(out, (raw << 1U) ^ (z < 0 ? 0xFFFFFFFFU : 0U));  // small either way
                append_varint(out, t.at(i).n);
            });
    }
    template <std::size_t Bits>
    [[nodiscard]] static bool take_table(bytes_view in, detail::ftrl_weights<Bits>& t, learning_options const& o) {
        using table = detail::ftrl_weights<Bits>;
        return take_sparse(in, t.size, [&](std::size_t i, bytes_view& rest) {
            auto const z = number(rest, 0xFFFFFFFF);
            auto const n = number(rest, table::n_max);
            if (!z || !n || (*z == 0 && *n == 0)) { return false; }
            std::int64_t const half = static_cast<std::int64_t>(*z >> 1U);
            std::int64_t const signed_z = (*z & 1U) != 0 ? -half - 1 : half;
            if (signed_z > table::z_max || signed_z < -table::z_max) { return false; }
            t.set(i, static_cast<std::int32_t>(signed_z), static_cast<std::uint32_t>(*n), o);
            return true;
        });
    }

    learning_options options_;
    weights<side_bits, own_side_bits> sides_{};
    weights<merge_bits, own_merge_bits> merges_{};
    std::array<experience, 256> experience_{};
    std::array<bin, trusts * steps> bins_{};
    std::uint64_t decisions_ = 0;
};
static_assert(suggester<learned_suggester> && suggester<learned_suggester const>);

}  // namespace syncline::inline SYNCLINE_ABI
