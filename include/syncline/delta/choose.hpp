// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `delta_chooser`: the smallest way to say a value that fits into a budget of time: in full, by fields, as a binary
/// delta or as an edit of a sequence, compressed if that helps. It remembers per field what won.

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/value.hpp>
#include <syncline/delta/codec.hpp>
#include <syncline/delta/compact.hpp>
#include <syncline/delta/field.hpp>
#include <syncline/delta/vcdiff_decoder.hpp>
#include <syncline/delta/vcdiff_encoder.hpp>
#include <syncline/model/observer.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How a value is said. The numbers are on the wire.
enum class delta_kind : std::uint8_t {
    full = 0,      ///< as it is
    field = 1,     ///< a field delta
    compact = 2,   ///< a compact delta
    vcdiff = 3,    ///< VCDIFF
    sequence = 4,  ///< what a `sequence_delta` says
};
inline constexpr std::size_t delta_kinds = 5;

/// Edits of sequences (lines, text, lists) as a policy.
///
/// | expression              | result  | meaning                                                               |
/// | s.offered(b, t)          | bool    | whether `t` as an edit of `b` is worth a try                            |
/// | s.encode(b, t, out)      | status  | appends the edit; an error: not by this way                             |
/// | s.decode(b, d, sink)     | status  | writes what the edit makes; hostile input gives an error                |
template <class S>
concept sequence_delta = requires(S& s, bytes_view b, bytes& out, bounded_sink& sink) {
    { s.offered(b, b) } -> std::same_as<bool>;
    { s.encode(b, b, out) } -> std::same_as<status>;
    { s.decode(b, b, sink) } -> std::same_as<status>;
};
/// None are made, and none are understood.
struct no_sequence {
    [[nodiscard]] bool offered(bytes_view, bytes_view) noexcept { return false; }
    [[nodiscard]] status encode(bytes_view, bytes_view, bytes&) { return failure{errc::unsupported, "sequence"}; }
    [[nodiscard]] status decode(bytes_view, bytes_view, bounded_sink&) {
        return failure{errc::unsupported, "sequence"};
    }
};
static_assert(sequence_delta<no_sequence>);

// The envelope. A byte: 3 bits kind, 1 bit whether the codec was applied, 1 bit whether with the base as its prefix, 3
// bits of version, 0. Then the body, for the codec after its length as a varint.

struct delta_chooser_options {
    std::uint64_t cpu_ns = 20'000'000;      ///< about so much may be spent on one value; 0: full only
    delta_level level = delta_level::fast;  ///< of VCDIFF
    std::uint16_t explore_every = 16;       ///< once in so many choices for a field all ways are tried; 1: always
    std::uint32_t codec_ns_per_kib = 4000;  ///< what the codec takes
    std::size_t codec_min = 96;             ///< shorter bodies are left as they are
    friend constexpr bool operator==(delta_chooser_options const&, delta_chooser_options const&) = default;
};
[[nodiscard]] constexpr bool valid(delta_chooser_options const& o) noexcept { return o.explore_every >= 1; }

/// What was chosen.
struct delta_choice {
    delta_kind kind = delta_kind::full;
    bool compressed = false;
    std::size_t size = 0;            ///< bytes of the envelope
    std::uint64_t estimated_ns = 0;  ///< what was spent by the estimates, of which the budget is
    std::uint8_t tried = 0;          ///< ways that were run: a bit each, by their number
};

/// What won for each field: a table of fixed size, in integers, the same on every machine.
///
/// For a field (a number that the host makes of its name, or of collection and name) and a kind of value it keeps the
/// mean ratio of each way. Two that meet in a slot share it by turns: what was used less goes.
class delta_memory {
public:
    static constexpr std::size_t slot_count = 64;
    static constexpr std::size_t slot_bytes = 4 + 2 + 2 * delta_kinds;
    using state = std::array<std::byte, 1 + slot_count * slot_bytes>;

    /// Expected bytes for 65,536 of the value, or nothing when it was not tried yet.
    [[nodiscard]] std::optional<std::uint16_t> ratio(std::uint32_t field, delta_kind kind) const noexcept {
        slot const& s = at(field);
        std::uint16_t const r = s.ratios[static_cast<std::size_t>(kind)];
        return s.field == field && r != 0 ? std::optional(static_cast<std::uint16_t>(r - 1)) : std::nullopt;
    }
    [[nodiscard]] std::uint16_t uses(std::uint32_t field) const noexcept {
        slot const& s = at(field);
        return s.field == field ? s.uses : std::uint16_t{0};
    }
    /// One more choice for the field; it may take another's slot, which first loses half of its uses.
    void used(std::uint32_t field) noexcept {
        slot& s = at(field);
        if (s.field != field) {
            if (s.uses > 1) {
                s.uses /= 2;
                return;
            }
            s = {};
            s.field = field;
        }
        if (s.uses < 0xFFFF) { ++s.uses; }
    }
    void learn(std::uint32_t field, delta_kind kind, std::size_t target, std::size_t made) noexcept {
        slot& s = at(field);
        if (s.field != field) { return; }
        std::uint64_t const scaled = target == 0 ? 0 : std::uint64_t{made} * 65536 / target;
        auto const now = static_cast<std::uint32_t>((std::min)(scaled, std::uint64_t{0xFFFE}) + 1);
        std::uint16_t& r = s.ratios[static_cast<std::size_t>(kind)];
        // A mean over about eight.
        r = static_cast<std::uint16_t>(r == 0 ? now : (std::uint32_t{r} * 7 + now + 4) / 8);
    }

    /// Its state, to be stored by the host.
    [[nodiscard]] state to_array() const noexcept {
        state out{};
        std::size_t i = 0;
        auto const put = [&](std::uint64_t n, std::size_t width) {
            for (std::size_t k = width; k-- > 0;) { out[i++] = static_cast<std::byte>((n >> (8 * k)) & 0xFF); }
        };
        put(1, 1);
        for (slot const& s : slots_) {
            put(s.field, 4);
            put(s.uses, 2);
            for (std::uint16_t const r : s.ratios) { put(r, 2); }
        }
        return out;
    }
    /// Takes what `to_array` gave. Errors, nothing changed: `corrupt`, `unsupported`.
    [[nodiscard]] status restore(bytes_view in) noexcept {
        if (in.size() != std::tuple_size_v<state>) { return failure{errc::corrupt, "state of another length"}; }
        if (in[0] != std::byte{1}) { return failure{errc::unsupported, "version of state"}; }
        std::size_t i = 1;
        auto const take = [&](std::size_t width) {
            std::uint32_t n = 0;
            for (; width != 0; --width) { n = (n << 8) | std::to_integer<std::uint32_t>(in[i++]); }
            return n;
        };
        for (slot& s : slots_) {
            s.field = take(4);
            s.uses = static_cast<std::uint16_t>(take(2));
            for (std::uint16_t& r : s.ratios) { r = static_cast<std::uint16_t>(take(2)); }
        }
        return {};
    }
    friend bool operator==(delta_memory const&, delta_memory const&) = default;

private:
    struct slot {
        std::uint32_t field = 0;
        std::uint16_t uses = 0;
        std::array<std::uint16_t, delta_kinds> ratios{};  ///< one more than the ratio; 0: not tried
        friend bool operator==(slot const&, slot const&) = default;
    };
    [[nodiscard]] slot& at(std::uint32_t field) noexcept { return slots_[(field * 0x9E3779B1U) >> 26]; }
    [[nodiscard]] slot const& at(std::uint32_t field) const noexcept { return slots_[(field * 0x9E3779B1U) >> 26]; }

    std::array<slot, slot_count> slots_{};
};

/// Chooses how to say values, and undoes it.
///
/// Threads: one call at a time. What it learns is in `memory()`, for the host to store.
template <codec Codec = no_codec, sequence_delta Sequence = no_sequence>
class delta_chooser {
public:
    /// Precondition: `valid(options)`. The codec outlives it.
    explicit delta_chooser(Codec& codec, delta_chooser_options const& options = {}, Sequence sequence = {})
        : codec_(codec), options_(options), sequence_(sequence) {
        SYNCLINE_ASSERT(valid(options));
    }

    /// Appends to `out` the smallest envelope for `target` that the budget allows; without a base, or when it allows
    /// nothing, that is the value in full.
    ///
    /// `field` names what the value is, for what is remembered. A codec that fails is done without: this never fails.
    /// An observer hears the bytes that the delta saved, and those that the codec did.
    template <observer O = no_observer>
    delta_choice choose(std::uint32_t field, std::optional<bytes_view> base, bytes_view target, bytes& out,
                        O&& told = {}) {
        std::uint32_t const key = field * 4 + kind_of(target);
        memory_.used(key);
        choice_ = {};
        best_.assign(target.begin(), target.end());
        choice_.tried = 1;
        bool const explore = (memory_.uses(key) % options_.explore_every) == 0;
        if (base) {
            std::array<delta_kind, 4> order{delta_kind::compact, delta_kind::field, delta_kind::vcdiff,
                                            delta_kind::sequence};
            auto const expected = [&](delta_kind k) { return memory_.ratio(key, k).value_or(0); };
            std::stable_sort(order.begin(), order.end(),
                             [&](delta_kind a, delta_kind b) { return expected(a) < expected(b); });
            for (delta_kind const k : order) {
                auto const known = memory_.ratio(key, k);
                bool const hopeless = known && std::uint64_t{*known} * target.size() / 65536 >= best_.size();
                if (!explore && hopeless) { continue; }
                attempt(k, key, *base, target);
            }
        }
        std::size_t const plain = best_.size();
        seal(base, target, out);
        told.counted(metric_counter::saved_by_delta, target.size() - (std::min)(plain, target.size()));
        told.counted(metric_counter::saved_by_compression, plain - (std::min)(choice_.size - 1, plain));
        return choice_;
    }

    /// Appends to `out` the value that an envelope says, at most `limits.result_max` bytes.
    ///
    /// Compares with `expected`, the SHA-256 that the row's version carries, unless the caller has none. Errors, `out`
    /// as it was: `not_found` when a base is needed and there is none or another: ask for the full value; `corrupt` when
    /// the result isn't what was expected: the same; `malformed`, `not_deterministic`, `unsupported`, `limit`, the
    /// codec's.
    [[nodiscard]] status apply(std::optional<bytes_view> base, bytes_view envelope, bytes& out,
                               delta_limits const& limits = {}, std::optional<sha256_digest> const& expected = {}) {
        if (envelope.empty()) { return failure{errc::malformed, "empty"}; }
        if (envelope.size() > limits.delta_max) { return failure{errc::limit, "longer than delta_max"}; }
        unsigned const head = std::to_integer<unsigned>(envelope[0]);
        bytes_view body = envelope.subspan(1);
        unsigned const kind = head & 7;
        bool const compressed = (head & 8) != 0;
        bool const with_base = (head & 16) != 0;
        if (head >> 5 != 0 || kind >= delta_kinds) { return failure{errc::unsupported, "version of envelope"}; }
        if (with_base && !compressed) { return failure{errc::malformed, "prefix without a codec"}; }
        if ((kind != 0 || with_base) && !base) { return failure{errc::not_found, "the base isn't here"}; }
        bytes unpacked;
        if (compressed) {
            auto const size = take_varint(body);
            if (!size) { return size.error(); }
            if (*size > limits.result_max) { return failure{errc::limit, "longer than result_max"}; }
            bounded_sink sink(unpacked, static_cast<std::size_t>(*size));
            if (auto ok = codec_.decompress(body, with_base ? *base : bytes_view{}, sink); !ok) { return ok; }
            if (unpacked.size() != *size) { return failure{errc::malformed, "body of another length"}; }
            body = unpacked;
        }
        std::size_t const old = out.size();
        bounded_sink sink(out, limits.result_max);
        status ok = undo(static_cast<delta_kind>(kind), base.value_or(bytes_view{}), body, limits, sink);
        if (ok && expected && sha256(bytes_view(out).subspan(old)) != *expected) {
            ok = failure{errc::corrupt, "result isn't what was meant"};
        }
        if (!ok) { out.resize(old); }
        return ok;
    }

    [[nodiscard]] delta_memory& memory() noexcept { return memory_; }
    [[nodiscard]] delta_memory const& memory() const noexcept { return memory_; }

private:
    /// 0 a map or list of CBOR, or what looks like it; 1 short, 2 longer, 3 long others.
    [[nodiscard]] static std::uint32_t kind_of(bytes_view target) noexcept {
        if (looks_structured(target)) { return 0; }
        return target.size() < 1024 ? 1 : target.size() < 65536 ? 2 : 3;
    }
    [[nodiscard]] static bool looks_structured(bytes_view b) noexcept {
        return !b.empty() && (b[0] & std::byte{0xC0}) == std::byte{0x80};  // major types 4 and 5
    }
    /// Nanoseconds a KiB that a way takes, measured on ordinary changes and rounded up.
    [[nodiscard]] std::uint64_t estimate(delta_kind kind, std::size_t base, std::size_t target) const noexcept {
        std::uint64_t const kib = (std::uint64_t{base} + target) / 1024 + 1;
        switch (kind) {
            case delta_kind::full: break;
            case delta_kind::compact: return 700 * kib;
            case delta_kind::field: return 8000 * kib;
            case delta_kind::vcdiff: {
                constexpr std::array<std::uint64_t, 5> each{0, 1000, 1500, 2500, 8000};
                return 3000 + each[static_cast<std::size_t>(options_.level)] * kib;
            }
            case delta_kind::sequence: return 6000 * kib;
        }
        return 0;
    }

    void attempt(delta_kind kind, std::uint32_t key, bytes_view base, bytes_view target) {
        std::uint64_t const cost = estimate(kind, base.size(), target.size());
        if (cost > options_.cpu_ns - (std::min)(options_.cpu_ns, choice_.estimated_ns)) { return; }
        body_.clear();
        switch (kind) {
            case delta_kind::full: return;
            case delta_kind::compact:
                if (target.size() > compact_max || base.size() > compact_max) { return; }
                compact_encode(base, target, body_, scratch_);
                break;
            case delta_kind::field: {
                if (!looks_structured(base) || !looks_structured(target)) { return; }
                auto const was = value_view::check(base);
                auto const is = value_view::check(target);
                if (!was || !is) { return; }
                field_delta_encode(*was, *is, body_, scratch_);
                break;
            }
            case delta_kind::vcdiff:
                if (target.size() < vcdiff_min) { return; }
                vcdiff_encode(base, target, body_, scratch_, {.level = options_.level});
                break;
            case delta_kind::sequence:
                if (!sequence_.offered(base, target) || !sequence_.encode(base, target, body_)) { return; }
                break;
        }
        choice_.estimated_ns += cost;
        choice_.tried = static_cast<std::uint8_t>(choice_.tried | (1U << static_cast<unsigned>(kind)));
        memory_.learn(key, kind, target.size(), body_.size());
        if (body_.size() < best_.size()) {
            best_.swap(body_);
            choice_.kind = kind;
        }
    }

    /// The envelope of the best body, compressed if it gets smaller.
    void seal(std::optional<bytes_view> base, bytes_view, bytes& out) {
        std::size_t const old = out.size();
        unsigned head = static_cast<unsigned>(choice_.kind);
        std::uint64_t const cost = options_.codec_ns_per_kib * (std::uint64_t{best_.size()} / 1024 + 1);
        bool const affordable = cost <= options_.cpu_ns - (std::min)(options_.cpu_ns, choice_.estimated_ns);
        if (best_.size() >= options_.codec_min && affordable) {
            choice_.estimated_ns += cost;
            bool const with_base = choice_.kind == delta_kind::full && base && !base->empty();
            body_.clear();
            append_varint(body_, best_.size());
            auto const ok = codec_.compress(best_, with_base ? *base : bytes_view{}, body_);
            if (ok && body_.size() < best_.size()) {
                head |= 8U | (with_base ? 16U : 0U);
                best_.swap(body_);
                choice_.compressed = true;
            }
        }
        out.push_back(static_cast<std::byte>(head));
        append(out, best_);
        choice_.size = out.size() - old;
    }

    [[nodiscard]] status undo(delta_kind kind, bytes_view base, bytes_view body, delta_limits const& limits,
                              bounded_sink& sink) {
        switch (kind) {
            case delta_kind::full: return sink.write(body);
            case delta_kind::compact: return compact_decode(base, body, sink.out(), limits.result_max);
            case delta_kind::field: {
                decode_limits inner;
                inner.bytes_max = limits.result_max;
                auto const was = value_view::check(base, inner);
                if (!was) { return failure{errc::not_found, "made for another base"}; }
                return field_delta_apply(*was, body, sink.out(), inner);
            }
            case delta_kind::vcdiff: return vcdiff_decode(base, body, sink.out(), limits);
            case delta_kind::sequence: return sequence_.decode(base, body, sink);
        }
        return failure{errc::unsupported, "kind of delta"};
    }

    static constexpr std::size_t compact_max = std::size_t{1} << 18;
    static constexpr std::size_t vcdiff_min = 4096;

    Codec& codec_;
    delta_chooser_options options_;
    SYNCLINE_NO_UNIQUE_ADDRESS Sequence sequence_;
    delta_memory memory_{};
    delta_scratch scratch_{};
    delta_choice choice_{};
    bytes best_;
    bytes body_;
};

}  // namespace syncline::inline SYNCLINE_ABI
