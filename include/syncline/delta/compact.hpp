// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Compact deltas, for records of some hundred bytes to some ten thousand: no header to speak of, two bytes an edit,
/// literals in five bits or so.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <syncline/core/bytes.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/delta/compact_model.hpp>
#include <syncline/delta/matcher.hpp>

namespace syncline::inline SYNCLINE_ABI {

// The format. A delta is a list of edits; each copies `copied` bytes of the base from where the edit before left it,
// puts in `inserted` literals and moves on in the base by `moved` bytes, which may be negative. After the last one the
// rest of the base is copied.
//
//   head      1 byte: 2 bits how literals are written (0: as they are, 1: by the model; others are of later versions),
//             6 bits the number of edits, 63: 63 and a varint
//   edits     token: 2 bits copied, 3 bits inserted (7: 7 and a varint), 3 bits moved; then a varint of copied >> 2, then
//             the varints that the token asks for
//   literals  of all edits, in their order
//
// moved, by its 3 bits: 0 inserted, 1 nothing, 2 to 6 inserted -1, +1, -2, +2, +3, 7 a varint in zigzag.
// By the model, a literal is a code of `compact_codes` in a context that both ends know: bits from the lowest up, the
// last byte filled with zeros.

namespace detail {

inline constexpr std::size_t compact_most_edits = std::size_t{1} << 20;

struct compact_edit {
    std::size_t copied = 0;
    std::size_t inserted = 0;
    std::int64_t moved = 0;
};

/// `moved - inserted` of the codes 2 to 6.
inline constexpr std::array<std::int64_t, 7> compact_moves{0, 0, -1, 1, -2, 2, 3};

inline void compact_put_edit(bytes& out, compact_edit const& e) {
    auto const inserted = static_cast<std::int64_t>(e.inserted);
    unsigned code = 7;
    if (e.moved == inserted) {
        code = 0;
    } else if (e.moved == 0) {
        code = 1;
    } else {
        for (unsigned i = 2; i < 7; ++i) {
            if (e.moved - inserted == compact_moves[i]) { code = i; }
        }
    }
    unsigned const short_inserted = e.inserted < 7 ? static_cast<unsigned>(e.inserted) : 7U;
    out.push_back(static_cast<std::byte>((e.copied & 3) | (short_inserted << 2) | (code << 5)));
    append_varint(out, e.copied >> 2);
    if (short_inserted == 7) { append_varint(out, e.inserted - 7); }
    if (code == 7) { append_varint(out, zigzag(e.moved)); }
}
[[nodiscard]] inline result<compact_edit> compact_take_edit(bytes_view& in) noexcept {
    if (in.empty()) { return failure{errc::malformed, "edits end too early"}; }
    unsigned const token = std::to_integer<unsigned>(in[0]);
    in = in.subspan(1);
    constexpr std::uint64_t most = std::uint64_t{1} << 60;
    compact_edit e;
    auto const copied = take_varint(in);
    if (!copied) { return copied.error(); }
    std::uint64_t inserted = (token >> 2) & 7;
    if (inserted == 7) {
        auto const more = take_varint(in);
        if (!more) { return more.error(); }
        if (*more > most) { return failure{errc::malformed, "edit out of range"}; }
        inserted += *more;
    }
    unsigned const code = token >> 5;
    if (code == 7) {
        auto const moved = take_varint(in);
        if (!moved) { return moved.error(); }
        e.moved = unzigzag(*moved);
    } else {
        e.moved = code == 1 ? 0 : static_cast<std::int64_t>(inserted) + compact_moves[code];
    }
    if (*copied > most || e.moved > static_cast<std::int64_t>(most) || e.moved < -static_cast<std::int64_t>(most)) {
        return failure{errc::malformed, "edit out of range"};
    }
    e.copied = static_cast<std::size_t>((*copied << 2) | (token & 3));
    e.inserted = static_cast<std::size_t>(inserted);
    return e;
}

/// Takes a matcher's findings and writes edits.
class compact_sink {
public:
    compact_sink(bytes_view base, bytes& edits) noexcept : base_(base), edits_(edits) {}

    void add(std::size_t, std::size_t n) noexcept { literals_ += n; }
    void copy(std::size_t from, std::size_t n) {
        // The run so far goes on where nothing was put in or left out.
        if (literals_ == 0 && from == cursor_) {
            copied_ += n;
        } else {
            flush(static_cast<std::int64_t>(from) - static_cast<std::int64_t>(cursor_));
            copied_ = n;
        }
        cursor_ = from + n;
    }
    /// What an edit costs in literals, which take five bits or so each: more when it goes elsewhere, as another one then
    /// mostly leads back.
    [[nodiscard]] std::size_t copy_cost(std::size_t from) const noexcept {
        std::size_t const expected = cursor_ + literals_;
        std::size_t const distance = from < expected ? expected - from : from - expected;
        return distance < 16 ? 3 : distance < 1024 ? 7 : 8;
    }
    [[nodiscard]] static std::size_t self_cost(std::size_t, std::size_t) noexcept { return 0; }
    void self(std::size_t, std::size_t) noexcept {}

    /// What was not copied up to the base's end is left out.
    void end() {
        if (literals_ == 0 && cursor_ == base_.size()) { return; }
        flush(static_cast<std::int64_t>(base_.size()) - static_cast<std::int64_t>(cursor_));
    }
    [[nodiscard]] std::size_t edits() const noexcept { return count_; }
    /// Literals of all edits.
    [[nodiscard]] std::size_t inserted() const noexcept { return inserted_; }

    /// Calls `f` with each of the edits that were written.
    template <class F>
    static void each(bytes_view edits, std::size_t count, F f) {
        for (; count != 0; --count) {
            auto const e = compact_take_edit(edits);
            SYNCLINE_ASSERT(e.has_value());
            f(*e);
        }
    }

private:
    void flush(std::int64_t moved) {
        compact_put_edit(edits_, {copied_, literals_, moved});
        ++count_;
        inserted_ += literals_;
        literals_ = 0;
        copied_ = 0;
    }

    bytes_view base_;
    bytes& edits_;
    std::size_t cursor_ = 0;
    std::size_t copied_ = 0;
    std::size_t literals_ = 0;
    std::size_t count_ = 0;
    std::size_t inserted_ = 0;
};

/// The contexts of an edit's literals one after the other: what stands in their place in the base where something
/// does, else what comes before them.
class compact_context {
public:
    /// Precondition: `at` is in the base, or its end.
    compact_context(bytes_view base, std::size_t at, std::int64_t moved, std::byte before) noexcept
        : replaced_(base.subspan(at, moved <= 0 ? 0 : (std::min)(base.size() - at, static_cast<std::size_t>(moved)))),
          before_(before) {}
    [[nodiscard]] std::size_t of(std::size_t i) const noexcept {
        return i < replaced_.size() ? compact_class(replaced_[i]) : compact_classes + compact_class(before_);
    }
    void wrote(std::byte b) noexcept { before_ = b; }

private:
    bytes_view replaced_;
    std::byte before_;
};

[[nodiscard]] inline match_options compact_match_options() noexcept {
    return {.near_gram = 4,
            .near_bits = 11,
            .near_first = 128,
            .near_most = 1 << 16,
            .solid = 64,
            .straight_min = 5,
            .gain_min = 2,
            .resync = 16,
            .resync_skew = 1,
            .skip = 6};
}

/// Appends the delta of what a sink took, whose edits are in `scratch.first`: their literals are the target's.
inline void compact_write(bytes_view base, bytes_view target, compact_sink& sink, bytes& out, delta_scratch& scratch) {
    sink.end();
    bytes const& edits = scratch.first;
    bytes& plain = scratch.second;
    plain.clear();
    bytes& packed = scratch.third;  // only ever grows, so that it isn't filled with zeros each time
    std::size_t const room = detail::compact_bits_writer::room_for(sink.inserted());
    if (packed.size() < room) { packed.resize(room); }
    detail::compact_bits_writer bits(packed.data());
    std::size_t at = 0;      // in the target
    std::size_t cursor = 0;  // in the base
    detail::compact_sink::each(edits, sink.edits(), [&](detail::compact_edit const& e) {
        at += e.copied;
        cursor += e.copied;
        bytes_view const literals = target.subspan(at, e.inserted);
        detail::compact_context context(base, cursor, e.moved, at == 0 ? std::byte{0} : target[at - 1]);
        for (std::size_t i = 0; i < literals.size(); ++i) {
            bits.put(context.of(i), literals[i]);
            context.wrote(literals[i]);
        }
        append(plain, literals);
        at += e.inserted;
        cursor = static_cast<std::size_t>(static_cast<std::int64_t>(cursor) + e.moved);
    });
    auto const packed_size = static_cast<std::size_t>(bits.end() - packed.data());
    bool const by_model = packed_size < plain.size();
    std::size_t const count = sink.edits();
    std::size_t const short_count = count < 63 ? count : 63;
    out.push_back(static_cast<std::byte>((by_model ? 1U : 0U) | (static_cast<unsigned>(short_count) << 2)));
    if (short_count == 63) { append_varint(out, count - 63); }
    append(out, edits);
    append(out, by_model ? bytes_view(packed).first(packed_size) : bytes_view(plain));
}

}  // namespace detail

/// Appends to `out` the compact delta that makes `target` of `base`.
///
/// It never fails; a base that has nothing to do with the target costs some ten bytes more than the target. Made for records:
/// beyond 64 KiB `vcdiff_encode` finds more.
/// Cost: a comparison of what is equal, about 50 ns an edit, a nanosecond a literal; 8 KiB of index in `scratch`,
/// which isn't cleared from call to call.
inline void compact_encode(bytes_view base, bytes_view target, bytes& out, delta_scratch& scratch) {
    bytes& edits = scratch.first;
    edits.clear();
    std::size_t const prefix = common_prefix(base, target);
    std::size_t const suffix = common_suffix(base.subspan(prefix), target.subspan(prefix));
    detail::compact_sink sink(base, edits);
    if (prefix != 0) { sink.copy(0, prefix); }
    bytes_view const middle = target.subspan(prefix, target.size() - prefix - suffix);
    if (middle.size() >= 8 && base.size() - prefix - suffix >= 4) {
        delta_matcher matcher(base, detail::compact_match_options(), scratch);
        matcher.expect(prefix);
        matcher.run(middle, sink);
    } else if (!middle.empty()) {
        sink.add(0, middle.size());
    }
    if (suffix != 0) { sink.copy(base.size() - suffix, suffix); }
    detail::compact_write(base, target, sink, out, scratch);
}

/// Appends to `out` what a compact delta makes of `base`; at most `result_max` bytes.
///
/// Errors, `out` as it was: `malformed`, `not_deterministic` (a number longer than needed, bits set behind the end),
/// `limit`, `unsupported`. Another base than the one it was made for mostly gives another result: compare its hash.
/// Cost: that of copying the result, and about two nanoseconds a literal.
[[nodiscard]] inline status compact_decode(bytes_view base, bytes_view delta, bytes& out,
                                           std::size_t result_max = std::size_t{64} << 20) {
    if (delta.empty()) { return failure{errc::malformed, "empty"}; }
    unsigned const head = std::to_integer<unsigned>(delta[0]);
    delta = delta.subspan(1);
    if ((head & 3) > 1) { return failure{errc::unsupported, "way to write literals"}; }
    bool const by_model = (head & 3) == 1;
    std::uint64_t count = head >> 2;
    if (count == 63) {
        auto const more = take_varint(delta);
        if (!more) { return more.error(); }
        if (*more > delta.size()) { return failure{errc::malformed, "edits end too early"}; }
        count += *more;
    }
    // Once over the edits for the lengths, so that nothing is written before all is known to be in range.
    bytes_view literals = delta;
    std::size_t cursor = 0;
    std::size_t size = 0;
    std::size_t inserted = 0;
    auto const longer = [&](std::size_t n) { return n <= result_max - size ? (size += n, true) : false; };
    for (std::uint64_t i = 0; i < count; ++i) {
        auto const e = detail::compact_take_edit(literals);
        if (!e) { return e.error(); }
        if (e->copied > base.size() - cursor) { return failure{errc::malformed, "beyond the base"}; }
        cursor += e->copied;
        if (e->moved < 0 ? static_cast<std::uint64_t>(-e->moved) > cursor
                         : static_cast<std::uint64_t>(e->moved) > base.size() - cursor) {
            return failure{errc::malformed, "beyond the base"};
        }
        cursor = static_cast<std::size_t>(static_cast<std::int64_t>(cursor) + e->moved);
        if (!longer(e->copied) || !longer(e->inserted)) { return failure{errc::limit, "longer than result_max"}; }
        inserted += e->inserted;
    }
    if (!longer(base.size() - cursor)) { return failure{errc::limit, "longer than result_max"}; }
    if (by_model ? inserted > literals.size() * 8 : inserted != literals.size()) {
        return failure{errc::malformed, "literals of another length"};
    }

    std::size_t const old = out.size();
    out.resize(old + size);
    std::byte* to = out.data() + old;
    auto const copy = [&](bytes_view from) {
        if (!from.empty()) { std::memcpy(to, from.data(), from.size()); }
        to += from.size();
    };
    detail::compact_bits_reader bits(literals);
    cursor = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        auto const e = detail::compact_take_edit(delta);
        copy(base.subspan(cursor, e->copied));
        cursor += e->copied;
        if (by_model) {
            detail::compact_context context(base, cursor, e->moved, to == out.data() + old ? std::byte{0} : *(to - 1));
            for (std::size_t k = 0; k < e->inserted; ++k) {
                *to = bits.take(context.of(k));
                context.wrote(*to++);
            }
        } else {
            copy(literals.first(e->inserted));
            literals = literals.subspan(e->inserted);
        }
        cursor = static_cast<std::size_t>(static_cast<std::int64_t>(cursor) + e->moved);
    }
    copy(base.subspan(cursor));
    if (by_model && !bits.ended_well()) {
        out.resize(old);
        return failure{errc::malformed, "literals of another length"};
    }
    return {};
}

}  // namespace syncline::inline SYNCLINE_ABI
