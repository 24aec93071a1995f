// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a suggester is asked, the concept that a host's own model fulfils, the heuristics that stand behind every one.

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/conflict/combine.hpp>
#include <syncline/conflict/conflict.hpp>
#include <syncline/conflict/resolution.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/merge/order.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// One side of a question.
struct asked_side {
    std::optional<bytes_view> value{};  ///< one canonical item; nothing: the field is missing there
    timestamp stamp{};                  ///< of the field there
    std::uint8_t role = 0;
    std::uint32_t edits = 0;  ///< how often its writer edits this field
};
/// What is to be decided about one contested field. Borrowed for the call.
struct conflict_question {
    std::string_view collection{};
    field_path const* path = nullptr;  ///< never null when asked
    bytes_view person{};               ///< who decides; empty: nobody in particular
    std::optional<bytes_view> base{};
    asked_side local{};
    asked_side remote{};
    bool combinable = false;            ///< `combine` makes one value of both
    std::uint8_t importance = 0;        ///< of the field, by the host: 0 to 255
    std::uint64_t scope = 0;            ///< hash of collection and path
    std::uint64_t scope_of_person = 0;  ///< hash of collection, path and person; 0 without a person
};

/// Answers questions. `s.suggest(q)` is a suggestion or an error; it must not keep what `q` borrows.
///
/// Axioms: the same question and state give the same answer; `merge` is suggested only where `combinable`.
template <class S>
concept suggester = requires(S& s, conflict_question const& q) {
    { s.suggest(q) } -> std::same_as<result<suggestion>>;
};

/// Models `suggester` and nothing else.
class suggester_archetype {
public:
    suggester_archetype() = delete;
    suggester_archetype(suggester_archetype const&) = delete;
    suggester_archetype& operator=(suggester_archetype const&) = delete;
    ~suggester_archetype() = default;
    result<suggestion> suggest(conflict_question const&) { return errc::unsupported; }
};
static_assert(suggester<suggester_archetype>);
/// Lacks the one requirement: the concept must refuse it.
class suggester_without {};
static_assert(!suggester<suggester_without>);

/// Signed, in 256ths: what speaks for the local side (positive) or the remote one.
enum class conflict_signal : std::uint8_t {
    mine,             ///< always for the local side: what a person does out of habit
    newer,            ///< full from five minutes on
    newer_by,         ///< grows with the logarithm of the time between
    role,             ///< the higher one
    newer_of_roles,   ///< newer, where the roles are equal
    edits,            ///< who edits this field more often
    newer_of_edits,   ///< newer, where that is equal
    filled,           ///< something against nothing
    newer_of_filled,  ///< newer, where both or neither say something
    larger,           ///< of two numbers
    larger_by,        ///< full from a sixteenth on
    longer,           ///< of two texts; full from 16 bytes on
    closer,           ///< nearer to the base: the smaller change
};
inline constexpr std::size_t conflict_signal_count = 13;
using conflict_signals = std::array<std::int32_t, conflict_signal_count>;

namespace detail {

[[nodiscard]] constexpr std::int32_t clamp_256(std::int64_t n) noexcept {
    return static_cast<std::int32_t>(n > 256 ? 256 : n < -256 ? -256 : n);
}
[[nodiscard]] constexpr std::int32_t sign_256(std::int64_t n) noexcept { return n > 0 ? 256 : n < 0 ? -256 : 0; }

/// An item's content: of texts and byte strings the bytes, of others the encoding; empty for null and for none.
[[nodiscard]] inline bytes_view content_of(std::optional<bytes_view> const& item) noexcept {
    if (!item || item->empty()) { return {}; }
    cbor_reader in{*item};
    switch (in.peek()) {
        case cbor_type::null: return {};
        case cbor_type::text: return as_bytes(in.text());
        case cbor_type::byte_string: return in.byte_string();
        default: return *item;
    }
}
[[nodiscard]] inline std::optional<std::int64_t> number_of(std::optional<bytes_view> const& item) noexcept {
    return item ? integer_of(*item) : std::nullopt;
}
/// How much of two byte strings is common beginning and end, in 256ths of the longer. At most 4096 bytes are looked at.
[[nodiscard]] inline std::int32_t similarity(bytes_view a, bytes_view b) noexcept {
    std::size_t const most = (std::max)(a.size(), b.size());
    if (most == 0) { return 256; }
    std::size_t const least = (std::min)((std::min)(a.size(), b.size()), std::size_t{4096});
    std::size_t head = 0;
    while (head < least && a[head] == b[head]) { ++head; }
    std::size_t tail = 0;
    while (tail < least - head && a[a.size() - 1 - tail] == b[b.size() - 1 - tail]) { ++tail; }
    return static_cast<std::int32_t>((head + tail) * 256 / most);
}
/// Nearness of two values: of numbers relative, else by content.
[[nodiscard]] inline std::int32_t nearness(std::optional<bytes_view> const& a,
                                           std::optional<bytes_view> const& b) noexcept {
    auto const x = number_of(a);
    auto const y = number_of(b);
    if (!x || !y) { return similarity(content_of(a), content_of(b)); }
    constexpr std::int64_t most = std::int64_t{1} << 40;
    auto const cut = [](std::int64_t n) { return n > most ? most : n < -most ? -most : n; };
    std::int64_t const n = cut(*x);
    std::int64_t const m = cut(*y);
    std::int64_t const size = (std::max)({n, -n, m, -m, std::int64_t{1}});
    return 256 - clamp_256((n > m ? n - m : m - n) * 256 / size);
}

}  // namespace detail

/// What tells the two sides of a question apart. Cost: linear in the values, up to 4 KiB of each; no allocation.
[[nodiscard]] inline conflict_signals signals_of(conflict_question const& q) noexcept {
    conflict_signals out{};
    auto const at = [&](conflict_signal s) -> std::int32_t& { return out[static_cast<std::size_t>(s)]; };
    using s = conflict_signal;
    at(s::mine) = 256;
    std::int64_t const apart = (q.local.stamp.time() - q.remote.stamp.time()).count();
    std::int64_t const apart_cut = apart > 300'000 ? 300'000 : apart < -300'000 ? -300'000 : apart;
    std::int32_t const newer = detail::clamp_256(apart_cut * 256 / 300'000);
    at(s::newer) = newer;
    auto const minutes = static_cast<std::uint64_t>(apart < 0 ? -apart : apart) / 60'000;
    at(s::newer_by) = detail::clamp_256((apart < 0 ? -16 : 16) * static_cast<std::int64_t>(std::bit_width(minutes)));
    at(s::role) = detail::sign_256(std::int64_t{q.local.role} - q.remote.role);
    at(s::newer_of_roles) = q.local.role == q.remote.role ? newer : 0;
    std::int64_t const more = std::int64_t{q.local.edits} - q.remote.edits;
    at(s::edits) = detail::clamp_256(more * 128);
    at(s::newer_of_edits) = more == 0 ? newer : 0;
    bytes_view const l = detail::content_of(q.local.value);
    bytes_view const r = detail::content_of(q.remote.value);
    at(s::filled) = l.empty() == r.empty() ? 0 : l.empty() ? -256 : 256;
    at(s::newer_of_filled) = l.empty() == r.empty() ? newer : 0;
    auto const x = detail::number_of(q.local.value);
    auto const y = detail::number_of(q.remote.value);
    if (x && y) {
        at(s::larger) = *x > *y ? 256 : *x < *y ? -256 : 0;
        std::int32_t const distance = 256 - detail::nearness(q.local.value, q.remote.value);
        at(s::larger_by) = detail::clamp_256(*x > *y ? 16 * distance : -16 * distance);
    } else {
        at(s::longer) =
            detail::clamp_256((static_cast<std::int64_t>(l.size()) - static_cast<std::int64_t>(r.size())) * 16);
    }
    at(s::closer) = detail::nearness(q.local.value, q.base) - detail::nearness(q.remote.value, q.base);
    return out;
}

namespace detail {

/// Why a signal speaks for the side that wins.
[[nodiscard]] constexpr suggestion_reason reason_of(std::size_t signal, bool with_sign) noexcept {
    using r = suggestion_reason;
    switch (static_cast<conflict_signal>(signal)) {
        case conflict_signal::mine: return r::mine_usually;
        case conflict_signal::newer:
        case conflict_signal::newer_by:
        case conflict_signal::newer_of_roles:
        case conflict_signal::newer_of_edits:
        case conflict_signal::newer_of_filled: return with_sign ? r::newer : r::none;
        case conflict_signal::role: return with_sign ? r::higher_role : r::none;
        case conflict_signal::edits: return with_sign ? r::usual_writer : r::none;
        case conflict_signal::filled: return with_sign ? r::says_something : r::none;
        case conflict_signal::larger:
        case conflict_signal::larger_by: return with_sign ? r::larger : r::smaller;
        case conflict_signal::longer: return with_sign ? r::longer : r::shorter;
        case conflict_signal::closer: return with_sign ? r::smaller_change : r::bigger_change;
    }
    return r::none;
}

/// 1 / (1 + e^-x), x in 65536ths: a table of quarters between -12 and 12, straight lines between.
[[nodiscard]] constexpr share16 logistic(std::int64_t x) noexcept {
    constexpr std::array<std::uint32_t, 49> upper{32768, 36843, 40793, 44511, 47911, 50941, 53581, 55834, 57724, 59288,
                                                  60565, 61598, 62428, 63090, 63615, 64030, 64357, 64615, 64816, 64974,
                                                  65097, 65194, 65269, 65328, 65374, 65410, 65438, 65459, 65476, 65489,
                                                  65500, 65508, 65514, 65519, 65523, 65526, 65528, 65530, 65531, 65532,
                                                  65533, 65534, 65534, 65535, 65535, 65535, 65535, 65535, 65536};
    bool const negative = x < 0;
    std::uint64_t const m = negative ? static_cast<std::uint64_t>(-x) : static_cast<std::uint64_t>(x);
    std::uint64_t const step = m >> 14U;
    std::uint32_t p = upper[48];
    if (step < 48) {
        std::uint64_t const rest = m & 0x3FFFU;
        p = upper[step] + static_cast<std::uint32_t>(((upper[step + 1] - upper[step]) * rest) >> 14U);
    }
    return negative ? share_one - p : p;
}

/// The three ways ranked, as a suggestion: nothing is suggested below `ask_below`.
[[nodiscard]] constexpr suggestion ranked(share16 local, share16 remote, share16 merge, share16 ask_below,
                                          suggestion_source source) noexcept {
    std::array<ranked_action, 3> all{
        {{conflict_action::local, local}, {conflict_action::remote, remote}, {conflict_action::merge, merge}}};
    auto const order = [&](std::size_t a, std::size_t b) {
        if (all[b].confidence > all[a].confidence) { std::swap(all[a], all[b]); }
    };
    order(0, 1);
    order(1, 2);
    order(0, 1);
    suggestion out;
    out.source = source;
    std::size_t first = 0;
    if (all[0].confidence >= ask_below) {
        out.what = all[0].what;
        out.confidence = all[0].confidence;
        first = 1;
    }
    for (std::size_t i = 0; i < 2; ++i) {
        if (all[first + i].confidence != 0) { out.alternatives[i] = all[first + i]; }
    }
    return out;
}

/// Who only adds: of a text, nothing of the base is gone; of anything else, not told.
[[nodiscard]] inline bool only_adds(std::optional<bytes_view> const& base,
                                    std::optional<bytes_view> const& side) noexcept {
    if (!base || !side || cbor_reader{*base}.peek() != cbor_type::text) { return false; }
    bytes_view const b = content_of(base);
    text_change const c = change_between(as_text(b), as_text(content_of(side)));
    return c.from == c.to;
}

}  // namespace detail

/// Fixed weights of what most people go by; knows nobody. Never surer than seven eighths. The same on every machine.
/// Cost: as `signals_of`; a hundred nanoseconds for short values.
class heuristics {
public:
    share16 ask_below = share_one * 6 / 10;  ///< less sure than this: `ask`

    /// For the local side (positive) or the remote one, in 65536ths of a logit.
    [[nodiscard]] static constexpr std::int64_t margin(conflict_signals const& s) noexcept {
        constexpr conflict_signals weights{26, 205, 51, 154, 0, 102, 0, 512, 0, 0, 0, 26, 51};
        std::int64_t sum = 0;
        for (std::size_t i = 0; i < s.size(); ++i) { sum += std::int64_t{weights[i]} * s[i]; }
        return sum;
    }
    /// For keeping both.
    [[nodiscard]] static std::int64_t merge_margin(conflict_question const& q) noexcept {
        bool const adds = detail::only_adds(q.base, q.local.value) && detail::only_adds(q.base, q.remote.value);
        return adds ? 98'304 : -32'768;
    }
    [[nodiscard]] result<suggestion> suggest(conflict_question const& q) const noexcept {
        auto const s = signals_of(q);
        std::int64_t const m = margin(s);
        share16 const merge = q.combinable ? cut(detail::logistic(merge_margin(q))) : 0;
        share16 const rest = share_one - merge;
        auto const local = static_cast<share16>((std::uint64_t{rest} * cut(detail::logistic(m))) >> 16U);
        suggestion out = detail::ranked(local, rest - local, merge, ask_below, suggestion_source::heuristics);
        explain(out, s);
        return out;
    }

private:
    static constexpr share16 cut(share16 p) noexcept {
        constexpr share16 most = share_one * 7 / 8;
        return p > most ? most : p < share_one - most ? share_one - most : p;
    }
    static void explain(suggestion& out, conflict_signals const& s) noexcept {
        if (out.what == conflict_action::merge) {
            out.reasons[0] = suggestion_reason::both_fit;
            return;
        }
        bool const local = out.what != conflict_action::remote;
        std::size_t n = 0;
        constexpr conflict_signal order[] = {conflict_signal::filled, conflict_signal::newer, conflict_signal::role,
                                             conflict_signal::edits};
        for (conflict_signal const one : order) {
            std::int32_t const v = s[static_cast<std::size_t>(one)];
            if (n != 2 && v != 0 && (v > 0) == local) {
                out.reasons[n++] = detail::reason_of(static_cast<std::size_t>(one), true);
            }
        }
        if (n == 0 || out.what == conflict_action::ask) { out.reasons = {suggestion_reason::nothing_known, {}}; }
    }
};
static_assert(suggester<heuristics>);

/// A host's own model with a net below it: what fails, is out of range, or suggests to combine what can't be, is asked
/// of the heuristics. `S` is kept by value or, as `S&`, by reference.
template <class S>
    requires suggester<std::remove_reference_t<S>>
class with_fallback {
public:
    explicit with_fallback(S host, heuristics below = {}) : host_(std::forward<S>(host)), below_(below) {}

    [[nodiscard]] result<suggestion> suggest(conflict_question const& q) {
        auto said = host_.suggest(q);
        bool const merges_what_fits = q.combinable || !said || said->what != conflict_action::merge;
        if (!said || !valid(*said) || !merges_what_fits) {
            ++fallen_back_;
            return below_.suggest(q);
        }
        return said;
    }
    /// How often the heuristics had to answer.
    [[nodiscard]] std::uint64_t fallen_back() const noexcept { return fallen_back_; }

private:
    S host_;
    heuristics below_;
    std::uint64_t fallen_back_ = 0;
};

/// Hash of a collection and a path; what is learned of a field is kept under it.
[[nodiscard]] inline std::uint64_t scope_of(std::string_view collection, field_path const& path) noexcept {
    std::uint64_t h = xxh3_64(as_bytes(collection), 1);
    for (std::string const& key : path) { h = xxh3_64(as_bytes(key), h); }
    return h;
}

/// The questions of a conflict, one for each contested field. Refers to the conflict, which outlives it.
class conflict_questions {
public:
    /// `importance(path)`: of the field, 0 to 255. Errors: those of `local_fields`; `errc::not_found` (no remote yet).
    template <class F>
    [[nodiscard]] static result<conflict_questions> of(conflict const& c, bytes_view person, F&& importance) {
        if (!c.remote) { return failure{errc::not_found, "the remote is not held yet"}; }
        auto mine = local_fields(c);
        if (!mine) { return mine.error(); }
        conflict_questions out;
        out.mine_ = std::move(*mine);
        detail::values_in_order values{c.base, out.mine_, c.remote->fields};
        auto mark = c.remote->exceptions.begin();
        for (contested_field const& f : c.fields) {
            auto const v = values.of(f.path);
            if (!v) { return v.error(); }
            conflict_question q;
            q.collection = c.record.collection;
            q.path = &f.path;
            q.person = person;
            q.base = v->base;
            timestamp theirs = c.remote_by.stamp;
            timestamp ours = c.local.stamp;
            if (!f.path.empty()) {
                std::string const& top = f.path.front();
                auto const end = c.remote->exceptions.end();
                while (mark != end && compare_keys(mark->field, top) < 0) { ++mark; }
                bool const marked = mark != end && mark->field == top && mark->path.empty();
                theirs = marked ? mark->mark.stamp : c.remote->floor.stamp;
                if (field_op const* const op = operation_on(c.local.ops, top)) { ours = op->stamp; }
            }
            q.local = {v->local, ours, c.local_by.role, f.local_edits};
            q.remote = {v->remote, theirs, c.remote_by.role, f.remote_edits};
            q.importance = importance(f.path);
            q.combinable = v->base && v->local && v->remote && !f.path.empty() &&
                           combine(*v->base, *v->local, *v->remote).has_value();
            q.scope = scope_of(q.collection, f.path);
            q.scope_of_person = person.empty() ? 0 : xxh3_64(person, q.scope);
            out.all_.push_back(q);
        }
        return out;
    }
    [[nodiscard]] static result<conflict_questions> of(conflict const& c, bytes_view person = {}) {
        return of(c, person, [](field_path const&) { return std::uint8_t{0}; });
    }
    [[nodiscard]] std::vector<conflict_question> const& all() const noexcept { return all_; }

    conflict_questions(conflict_questions&&) noexcept = default;
    conflict_questions& operator=(conflict_questions&&) noexcept = default;
    ~conflict_questions() = default;

private:
    conflict_questions() = default;
    bytes mine_{};  // moved as a whole: what the questions borrow stays where it is
    std::vector<conflict_question> all_{};
};

}  // namespace syncline::inline SYNCLINE_ABI
