// SPDX-License-Identifier: BSL-1.0
#pragma once

/// VCDIFF (RFC 3284), the reading end: deltas of ours, of xdelta3 and of open-vcdiff, from strangers.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/delta/vcdiff_format.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How much a decoder of deltas takes of a stranger; beyond it is `errc::limit`. The work is bounded by both: a step
/// for each byte of either.
struct delta_limits {
    std::size_t delta_max = std::size_t{64} << 20;   ///< bytes of the delta; streaming, of one window of it
    std::size_t result_max = std::size_t{64} << 20;  ///< bytes that it may make
    friend constexpr bool operator==(delta_limits const&, delta_limits const&) = default;
};

namespace detail {

/// A window's header, and where its sections are.
struct vcdiff_window {
    unsigned indicator = 0;
    std::uint64_t segment_size = 0;
    std::uint64_t segment_at = 0;
    std::uint64_t target_size = 0;
    std::optional<std::uint32_t> checksum{};
    bool interleaved = false;
    bytes_view data{};
    bytes_view codes{};
    bytes_view addresses{};
};

/// A cursor over a delta that may not have come to its end yet.
struct vcdiff_input {
    bytes_view rest;
    bool more = false;        ///< the end is not the delta's end
    bool incomplete = false;  ///< it ended too early, and more may come
    bool bad = false;

    [[nodiscard]] bool good() const noexcept { return !bad && !incomplete; }
    void ended() noexcept { (more ? incomplete : bad) = true; }
    unsigned byte() noexcept {
        if (!good()) { return 0; }
        if (rest.empty()) { return ended(), 0; }
        unsigned const b = std::to_integer<unsigned>(rest[0]);
        rest = rest.subspan(1);
        return b;
    }
    std::uint64_t number() noexcept {
        if (!good()) { return 0; }
        auto const n = vcdiff_take_number(rest);
        if (n) { return *n; }
        if (rest.size() < 10) {
            ended();
        } else {
            bad = true;
        }
        return 0;
    }
    bytes_view take(std::uint64_t n) noexcept {
        if (!good()) { return {}; }
        if (n > rest.size()) { return ended(), bytes_view{}; }
        auto const out = rest.first(static_cast<std::size_t>(n));
        rest = rest.subspan(out.size());
        return out;
    }
};

/// The header of the whole; answers whether its version has SDCH's extensions.
[[nodiscard]] inline result<bool> vcdiff_read_header(vcdiff_input& in, std::size_t application_max) noexcept {
    bytes_view const magic = in.take(3);
    unsigned const version = in.byte();
    unsigned const indicator = in.byte();
    if (in.good() && !equal(magic, vcdiff_magic)) { return failure{errc::malformed, "not VCDIFF"}; }
    bool const sdch = version == std::to_integer<unsigned>(vcdiff_version_sdch);
    if (in.good() && version != 0 && !sdch) { return failure{errc::unsupported, "version of VCDIFF"}; }
    if ((indicator & vcdiff_header_secondary) != 0) { return failure{errc::unsupported, "secondary compression"}; }
    if ((indicator & vcdiff_header_code_table) != 0) { return failure{errc::unsupported, "another code table"}; }
    if ((indicator & ~vcdiff_header_application) != 0) { return failure{errc::malformed, "header's indicator"}; }
    if ((indicator & vcdiff_header_application) != 0) {
        std::uint64_t const n = in.number();
        if (n > application_max) { return failure{errc::limit, "application header"}; }
        (void)in.take(n);  // xdelta3 puts names of files there: nothing that we act on
    }
    if (in.bad) { return failure{errc::malformed, "truncated header"}; }
    return sdch;
}

[[nodiscard]] inline result<vcdiff_window> vcdiff_read_window(vcdiff_input& in, bool sdch,
                                                              delta_limits const& limits) noexcept {
    vcdiff_window w;
    w.indicator = in.byte();
    constexpr unsigned both = vcdiff_window_source | vcdiff_window_target;
    if ((w.indicator & ~(both | vcdiff_window_checksum)) != 0 || (w.indicator & both) == both) {
        return failure{errc::malformed, "window's indicator"};
    }
    if ((w.indicator & both) != 0) {
        w.segment_size = in.number();
        w.segment_at = in.number();
    }
    std::uint64_t const length = in.number();
    if (length > limits.delta_max) { return failure{errc::limit, "window's length"}; }
    // Whole from here on, so that what follows is either there or malformed.
    vcdiff_input body{in.take(length)};
    if (in.incomplete) { return w; }
    w.target_size = body.number();
    if (body.byte() != 0 && body.good()) { return failure{errc::unsupported, "secondary compression"}; }
    std::uint64_t const data = body.number();
    std::uint64_t const codes = body.number();
    std::uint64_t const addresses = body.number();
    if ((w.indicator & vcdiff_window_checksum) != 0) {
        if (sdch) {
            std::uint64_t const sum = body.number();
            if (sum > 0xFFFFFFFF) { return failure{errc::malformed, "checksum out of range"}; }
            w.checksum = static_cast<std::uint32_t>(sum);
        } else {
            std::uint32_t sum = 0;
            for (std::byte const b : body.take(4)) { sum = (sum << 8) | std::to_integer<std::uint32_t>(b); }
            w.checksum = sum;
        }
    }
    w.data = body.take(data);
    w.codes = body.take(codes);
    w.addresses = body.take(addresses);
    w.interleaved = sdch && data == 0 && addresses == 0 && codes != 0;
    if (in.bad || body.bad || !body.rest.empty()) { return failure{errc::malformed, "window's lengths"}; }
    return w;
}

/// Copies forward where the source may run into what is being made.
inline void copy_overlapping(std::byte* to, std::size_t distance, std::size_t n) noexcept {
    // What is made has the period `distance`, so that each round doubles what can be copied at once.
    while (n > distance) {
        std::memcpy(to, to - distance, distance);
        to += distance;
        n -= distance;
        distance *= 2;
    }
    std::memcpy(to, to - distance, n);
}

/// The end of a byte string that grows to `size` more bytes, a little ahead of what is written: so that what `resize`
/// fills with zeros is still near when it is written over, and memory is gone through once.
class vcdiff_output {
public:
    vcdiff_output(bytes& out, std::size_t size) : out_(out), start_(out.size()), size_(size) {
        if (out.capacity() - start_ < size) { out.reserve((std::max)(start_ + size, 2 * out.capacity())); }
        begin_ = out.data() + start_;
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::byte* at(std::size_t i) const noexcept { return begin_ + i; }
    /// How many bytes from `i` on may be written: `n` at least, which are within the size.
    [[nodiscard]] std::size_t room(std::size_t i, std::size_t n) {
        if (i + n + 16 > ready_ && ready_ < size_) {
            ready_ = (std::min)(size_, (std::max)(i + n, ready_ + step));
            out_.resize(start_ + ready_);
        }
        return ready_ - i;
    }

private:
    static constexpr std::size_t step = std::size_t{1} << 15;
    bytes& out_;
    std::size_t start_;
    std::size_t size_;
    std::size_t ready_ = 0;
    std::byte* begin_;
};

/// Runs a window's instructions into `out`. Everything is checked. The base and what was there before are not moved.
template <bool Interleaved>
[[nodiscard]] status vcdiff_run(vcdiff_window const& w, bytes_view segment, vcdiff_output& out) {
    bytes_view codes = w.codes;
    bytes_view own_data = w.data;
    bytes_view own_addresses = w.addresses;
    bytes_view& data = Interleaved ? codes : own_data;
    bytes_view& addresses = Interleaved ? codes : own_addresses;
    vcdiff_address_cache cache;
    std::size_t at = 0;
    while (!codes.empty()) {
        vcdiff_instruction const& both = vcdiff_table[std::to_integer<std::size_t>(codes[0])];
        codes = codes.subspan(1);
        for (vcdiff_half const* h = &both.first;; h = &both.second) {
            std::size_t n = h->size;
            if (n == 0) {
                auto const size = vcdiff_take_number(codes);
                if (!size) { return failure{errc::malformed, "instruction's size"}; }
                if (*size > out.size() - at) { return failure{errc::malformed, "more than the window's size"}; }
                n = static_cast<std::size_t>(*size);
            } else if (n > out.size() - at) {
                return failure{errc::malformed, "more than the window's size"};
            }
            std::size_t const room = out.room(at, n);
            std::byte* const to = out.at(at);
            if (h->kind == vcdiff_kind::add) {
                if (n > data.size()) { return failure{errc::malformed, "data ends too early"}; }
                if (n <= 16 && room >= 16 && data.size() >= 16) {
                    std::memcpy(to, data.data(), 16);
                } else if (n != 0) {
                    std::memcpy(to, data.data(), n);
                }
                data = data.subspan(n);
            } else if (h->kind == vcdiff_kind::run) {
                if (data.empty()) { return failure{errc::malformed, "data ends too early"}; }
                if (n != 0) { std::memset(to, std::to_integer<int>(data[0]), n); }
                data = data.subspan(1);
            } else {
                std::uint64_t const here = segment.size() + at;
                std::uint64_t address = 0;
                if (h->mode < 2 + vcdiff_near) {
                    auto const number = vcdiff_take_number(addresses);
                    if (!number) { return failure{errc::malformed, "addresses end too early"}; }
                    if (h->mode == 0) {
                        address = *number;
                    } else if (h->mode == 1) {
                        if (*number > here) { return failure{errc::malformed, "address before the beginning"}; }
                        address = here - *number;
                    } else {
                        address = cache.recent(h->mode - 2U) + *number;  // both below 2^63
                    }
                } else {
                    if (addresses.empty()) { return failure{errc::malformed, "addresses end too early"}; }
                    address = cache.same((h->mode - 2U - vcdiff_near) * std::size_t{256} +
                                         std::to_integer<std::size_t>(addresses[0]));
                    addresses = addresses.subspan(1);
                }
                if (address >= here) { return failure{errc::malformed, "address that is not there yet"}; }
                cache.update(address);
                auto const from = static_cast<std::size_t>(address);
                if (from < segment.size()) {
                    std::size_t const first = (std::min)(n, segment.size() - from);
                    std::byte const* const source = segment.data() + from;
                    if (n <= 16 && room >= 16 && segment.size() - from >= 16) {
                        std::memcpy(to, source, 16);
                    } else {
                        if (first != 0) { std::memcpy(to, source, first); }
                        // Beyond the segment the window's own target goes on.
                        if (n > first) {
                            if (at + first == 0) { return failure{errc::malformed, "address that is not there yet"}; }
                            copy_overlapping(to + first, at + first, n - first);
                        }
                    }
                } else if (n != 0) {
                    copy_overlapping(to, static_cast<std::size_t>(here - address), n);
                }
            }
            at += n;
            if (h == &both.second || both.second.kind == vcdiff_kind::none) { break; }
        }
    }
    if (at != out.size()) { return failure{errc::malformed, "less than the window's size"}; }
    if (!data.empty() || !addresses.empty()) { return failure{errc::malformed, "sections longer than used"}; }
    return {};
}

}  // namespace detail

/// Reads a delta that comes in pieces.
///
/// `push()` each piece, then `finish()`: each window that is complete is appended to `out`. A window that copies from
/// the target made before (VCD_TARGET) needs it in `out`: with a caller that takes it away, such a window is
/// `errc::unsupported`.
/// Errors, after which the decoder answers the same for ever and `out` holds whole windows only: `malformed` (a wrong
/// base mostly shows here too, or by a checksum), `limit`, `unsupported` (secondary compression, another code table).
/// Without a checksum, damage of data can go unnoticed: compare the result's hash.
/// Memory: one window of the delta and what is in `out`.
class vcdiff_decoder {
public:
    vcdiff_decoder(bytes_view base, bytes& out, delta_limits const& limits = {}) noexcept
        : base_(base), out_(out), limits_(limits), start_(out.size()) {}

    [[nodiscard]] status push(bytes_view piece) {
        if (failed_) { return *failed_; }
        // Most of a large piece is read where it is.
        if (held_.empty()) {
            bytes_view rest = piece;
            if (auto const ok = read(rest, true); !ok) { return ok; }
            append(held_, rest);
            return {};
        }
        append(held_, piece);
        if (held_.size() < needed_) { return {}; }
        bytes_view rest = held_;
        auto const ok = read(rest, true);
        std::size_t const used = held_.size() - rest.size();
        held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(used));
        return ok;
    }
    /// The delta's end: `malformed` when something is missing.
    [[nodiscard]] status finish() {
        if (failed_) { return *failed_; }
        bytes_view rest = held_;
        auto const ok = read(rest, false);
        held_.clear();
        return ok;
    }
    /// Bytes that were made.
    [[nodiscard]] std::uint64_t produced() const noexcept { return produced_; }

private:
    [[nodiscard]] failure fail(failure const& f) {
        failed_ = f;
        return f;
    }
    [[nodiscard]] status read(bytes_view& rest, bool more) {
        needed_ = 0;
        while (!rest.empty() || !header_) {
            detail::vcdiff_input in{rest, more};
            if (!header_) {
                auto const sdch = detail::vcdiff_read_header(in, limits_.delta_max);
                if (!sdch) { return fail(sdch.error()); }
                if (in.incomplete) { return wait(rest); }
                header_ = true;
                sdch_ = *sdch;
            } else {
                auto const w = detail::vcdiff_read_window(in, sdch_, limits_);
                if (!w) { return fail(w.error()); }
                if (in.incomplete) { return wait(rest); }
                if (auto const ok = window(*w); !ok) { return fail(ok.error()); }
            }
            rest = in.rest;
        }
        return {};
    }
    /// So that a window that comes in many pieces is looked at a few times only.
    [[nodiscard]] status wait(bytes_view rest) noexcept {
        needed_ = rest.size() < 64 ? 0 : rest.size() + rest.size() / 4;
        return {};
    }
    [[nodiscard]] status window(detail::vcdiff_window const& w) {
        if (w.target_size > limits_.result_max || produced_ > limits_.result_max - w.target_size) {
            return failure{errc::limit, "longer than result_max"};
        }
        std::size_t const old = out_.size();
        bool const of_target = (w.indicator & vcdiff_window_target) != 0;
        if (of_target && old != start_ + produced_) {
            return failure{errc::unsupported, "the target made before is gone"};
        }
        auto const n = static_cast<std::size_t>(w.target_size);
        detail::vcdiff_output to(out_, n);
        bytes_view const whole = of_target ? bytes_view{out_.data() + start_, old - start_} : base_;
        status ok;
        if (w.segment_size > whole.size() || w.segment_at > whole.size() - w.segment_size) {
            ok = failure{errc::malformed, "a segment beyond the base"};
        } else {
            bytes_view const segment =
                whole.subspan(static_cast<std::size_t>(w.segment_at), static_cast<std::size_t>(w.segment_size));
            ok = w.interleaved ? detail::vcdiff_run<true>(w, segment, to) : detail::vcdiff_run<false>(w, segment, to);
            if (ok && w.checksum && adler32(bytes_view(out_).subspan(old)) != *w.checksum) {
                ok = failure{errc::malformed, "checksum"};
            }
        }
        if (!ok) {
            out_.resize(old);
            return ok;
        }
        produced_ += n;
        return {};
    }

    bytes_view base_;
    bytes& out_;
    delta_limits limits_;
    std::size_t start_;
    std::uint64_t produced_ = 0;
    std::size_t needed_ = 0;
    bytes held_;
    bool header_ = false;
    bool sdch_ = false;
    std::optional<failure> failed_;
};

/// Appends to `out` what `delta` makes of `base`. On an error `out` is as it was.
///
/// Errors as of `vcdiff_decoder`. Cost: mostly that of copying the result.
[[nodiscard]] inline status vcdiff_decode(bytes_view base, bytes_view delta, bytes& out,
                                          delta_limits const& limits = {}) {
    if (delta.size() > limits.delta_max) { return failure{errc::limit, "longer than delta_max"}; }
    std::size_t const old = out.size();
    vcdiff_decoder decoder(base, out, limits);
    status ok = decoder.push(delta);
    if (ok) { ok = decoder.finish(); }
    if (!ok) { out.resize(old); }
    return ok;
}

}  // namespace syncline::inline SYNCLINE_ABI
