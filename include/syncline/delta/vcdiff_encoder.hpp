// SPDX-License-Identifier: BSL-1.0
#pragma once

/// VCDIFF (RFC 3284), the writing end: a delta that xdelta3 and open-vcdiff read as well.

#include <array>
#include <cstddef>
#include <cstdint>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/delta/matcher.hpp>
#include <syncline/delta/vcdiff_format.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How much time goes into finding what is the same. The bytes of a level may change from one version of the library
/// to the next, what they mean never does.
enum class delta_level : std::uint8_t {
    fastest = 1,
    fast = 2,
    smaller = 3,
    smallest = 4,
};

struct vcdiff_options {
    delta_level level = delta_level::fast;
    bool checksum = false;                      ///< Adler-32 of each window, as xdelta3 writes and checks it
    std::size_t window = std::size_t{8} << 20;  ///< target bytes a window; 1 to 16 MiB, which xdelta3 reads
    friend constexpr bool operator==(vcdiff_options const&, vcdiff_options const&) = default;
};
[[nodiscard]] constexpr bool valid(vcdiff_options const& o) noexcept {
    return o.window >= 1 && o.window <= std::size_t{16} << 20;
}

/// What a level looks for.
[[nodiscard]] constexpr match_options vcdiff_match_options(delta_level level) noexcept {
    match_options m;
    switch (level) {
        case delta_level::fastest:
            m = {.near_gram = 7,
                 .near_bits = 13,
                 .near_first = 1024,
                 .near_most = 1 << 13,
                 .far_step = 64,
                 .self_gram = 6,
                 .self_bits = 12,
                 .self_step = 16,
                 .straight_min = 8,
                 .gain_min = 6,
                 .skip = 6};
            break;
        case delta_level::fast:
            m = {.near_gram = 6,
                 .near_bits = 14,
                 .near_first = 2048,
                 .near_most = 1 << 14,
                 .far_step = 32,
                 .self_gram = 6,
                 .self_bits = 13,
                 .self_step = 8,
                 .skip = 7};
            break;
        case delta_level::smaller:
            m = {.near_gram = 5,
                 .near_bits = 14,
                 .near_step = 2,
                 .near_room = 17,
                 .near_chain = 8,
                 .near_first = 6144,
                 .near_most = 1 << 16,
                 .far_step = 10,
                 .self_gram = 6,
                 .self_bits = 15,
                 .self_step = 3,
                 .straight_min = 5,
                 .gain_min = 1,
                 .lazy = 1,
                 .lazy_chain = 2,
                 .over = 4,
                 .skip = 7};
            break;
        case delta_level::smallest:
            m = {.near_gram = 6,
                 .near_bits = 15,
                 .near_room = 18,
                 .near_chain = 24,
                 .near_first = 16384,
                 .near_most = 1 << 17,
                 .far_step = 10,
                 .self_gram = 5,
                 .self_bits = 18,
                 .self_step = 1,
                 .straight_min = 5,
                 .gain_min = 1,
                 .lazy = 1,
                 .lazy_chain = 3,
                 .over = 4,
                 .skip = 8};
            break;
    }
    return m;
}

/// Writes the windows of one delta. Addresses of a window are in the whole base, then in the window's own target.
class vcdiff_writer {
public:
    vcdiff_writer(bytes& out, std::size_t base_size, bool checksum, delta_scratch& scratch)
        : out_(out),
          base_size_(base_size),
          checksum_(checksum),
          data_(scratch.first),
          codes_(scratch.second),
          addresses_(scratch.third) {
        append(out_, vcdiff_magic);
        out_.push_back(std::byte{0});  // version
        out_.push_back(std::byte{0});  // indicator: no secondary compression, no code table
    }

    /// A window begins, of these bytes; they must outlive the calls up to `end()`.
    void begin(bytes_view target) {
        target_ = target;
        at_ = 0;
        data_.clear();
        codes_.clear();
        addresses_.clear();
        cache_ = {};
        last_ = {};
    }
    /// The next `n` bytes of the target as they stand. Precondition: `at` is where the instructions so far end.
    void add(std::size_t at, std::size_t n) {
        SYNCLINE_ASSERT(at == at_ && n <= target_.size() - at);
        bytes_view const b = target_.subspan(at, n);
        bool const run = n >= 4 && b.front() == b.back() && equal(b.first(n - 1), b.subspan(1));
        if (run) {
            data_.push_back(b.front());
            put({detail::vcdiff_kind::run, 0, 0}, n);
        } else {
            append(data_, b);
            put({detail::vcdiff_kind::add, static_cast<std::uint8_t>(n <= 17 ? n : 0), 0}, n);
        }
        at_ += n;
    }
    /// Bytes of the base.
    void copy(std::size_t base_at, std::size_t n) { copy_from(base_at, n); }
    /// Bytes of the window's target, from before where the instructions so far end.
    void self(std::size_t at, std::size_t n) { copy_from(base_size_ + at, n); }

    /// Bytes that `copy` and `self` are going to write, about.
    [[nodiscard]] std::size_t copy_cost(std::size_t base_at) const noexcept {
        return 1 + address_of(base_at, base_size_ + at_).size;
    }
    [[nodiscard]] std::size_t self_cost(std::size_t at, std::size_t from) const noexcept {
        return 1 + address_of(base_size_ + from, base_size_ + at).size;
    }

    /// The window's bytes go out.
    void end() {
        SYNCLINE_ASSERT(at_ == target_.size());
        using detail::vcdiff_number_size;
        using detail::vcdiff_put_number;
        unsigned const indicator =
            (base_size_ != 0 ? vcdiff_window_source : 0) | (checksum_ ? vcdiff_window_checksum : 0);
        out_.push_back(static_cast<std::byte>(indicator));
        if (base_size_ != 0) {
            vcdiff_put_number(out_, base_size_);
            vcdiff_put_number(out_, 0);
        }
        std::size_t const length = vcdiff_number_size(target_.size()) + 1 + vcdiff_number_size(data_.size()) +
                                   vcdiff_number_size(codes_.size()) + vcdiff_number_size(addresses_.size()) +
                                   (checksum_ ? 4 : 0) + data_.size() + codes_.size() + addresses_.size();
        vcdiff_put_number(out_, length);
        vcdiff_put_number(out_, target_.size());
        out_.push_back(std::byte{0});  // no section is compressed
        vcdiff_put_number(out_, data_.size());
        vcdiff_put_number(out_, codes_.size());
        vcdiff_put_number(out_, addresses_.size());
        if (checksum_) {
            std::uint32_t const sum = adler32(target_);
            for (unsigned shift = 32; shift != 0; shift -= 8) {
                out_.push_back(static_cast<std::byte>((sum >> (shift - 8)) & 0xFF));
            }
        }
        append(out_, data_);
        append(out_, codes_);
        append(out_, addresses_);
    }

private:
    struct said_address {
        std::uint64_t number = 0;
        unsigned mode = 0;
        std::size_t size = 0;
    };
    /// The mode that needs fewest bytes; of equals the first.
    [[nodiscard]] said_address address_of(std::uint64_t address, std::uint64_t here) const noexcept {
        said_address best{address, 0, 0};
        auto const offer = [&](std::uint64_t number, unsigned mode) {
            if (number < best.number) { best = {number, mode, 0}; }
        };
        if (address >= 0x80) {
            offer(here - address, 1);
            for (unsigned i = 0; i < detail::vcdiff_near; ++i) { offer(address - cache_.recent(i), 2 + i); }
            std::size_t const slot = static_cast<std::size_t>(address % (detail::vcdiff_same * std::size_t{256}));
            if (best.number >= 0x80 && cache_.same(slot) == address) {
                return {slot % 256, 2 + detail::vcdiff_near + static_cast<unsigned>(slot / 256), 1};
            }
        }
        best.size = detail::vcdiff_number_size(best.number);
        return best;
    }
    void copy_from(std::uint64_t address, std::size_t n) {
        SYNCLINE_ASSERT(n <= target_.size() - at_);
        said_address const said = address_of(address, base_size_ + at_);
        if (said.mode >= 2 + detail::vcdiff_near) {
            addresses_.push_back(static_cast<std::byte>(said.number));
        } else {
            detail::vcdiff_put_number(addresses_, said.number);
        }
        unsigned const mode = said.mode;
        cache_.update(address);
        bool const in_code = n >= 4 && n <= 18;
        put({detail::vcdiff_kind::copy, static_cast<std::uint8_t>(in_code ? n : 0), static_cast<std::uint8_t>(mode)},
            n);
        at_ += n;
    }
    /// Writes an instruction, together with the one before where a code for both exists.
    void put(detail::vcdiff_half const& h, std::size_t n) {
        if (unsigned const pair = detail::vcdiff_pair_code(last_, h); pair != 0) {
            codes_.back() = static_cast<std::byte>(pair);
            last_ = {};
            return;
        }
        codes_.push_back(static_cast<std::byte>(detail::vcdiff_code(h)));
        last_ = h;
        if (h.size == 0) {
            detail::vcdiff_put_number(codes_, n);
            last_ = {};
        }
    }

    bytes& out_;
    bytes_view target_{};
    std::size_t base_size_;
    std::size_t at_ = 0;
    bool checksum_;
    bytes& data_;
    bytes& codes_;
    bytes& addresses_;
    detail::vcdiff_address_cache cache_{};
    detail::vcdiff_half last_{};
};

/// Makes a delta of a target that comes in pieces.
///
/// `write()` as often as there is more, then `finish()`. `out` grows by whole windows; what was appended may be sent and
/// cleared at any time. The base and the scratch outlive the encoder.
/// Memory: a window of the target, and the indexes that the level has.
class vcdiff_encoder {
public:
    /// Precondition: `valid(options)`.
    vcdiff_encoder(bytes_view base, bytes& out, delta_scratch& scratch, vcdiff_options const& options = {})
        : matcher_(base, vcdiff_match_options(options.level), scratch),
          writer_(out, base.size(), options.checksum, scratch),
          window_(options.window) {
        SYNCLINE_ASSERT(valid(options));
    }

    void write(bytes_view piece) {
        while (!piece.empty()) {
            // A whole window needs no copy.
            if (held_.empty() && piece.size() >= window_) {
                encode(piece.first(window_));
                piece = piece.subspan(window_);
                continue;
            }
            std::size_t const n = (std::min)(piece.size(), window_ - held_.size());
            append(held_, piece.first(n));
            piece = piece.subspan(n);
            if (held_.size() == window_) {
                encode(held_);
                held_.clear();
            }
        }
    }
    void finish() {
        // Of nothing a window too: xdelta3 takes a delta without one for no delta.
        if (!held_.empty() || !begun_) { encode(held_); }
        held_.clear();
    }

private:
    friend void vcdiff_encode(bytes_view base, bytes_view target, bytes& out, delta_scratch& scratch,
                              vcdiff_options const& options);
    void encode(bytes_view target) {
        begun_ = true;
        writer_.begin(target);
        matcher_.run(target, writer_);
        writer_.end();
    }

    delta_matcher matcher_;
    vcdiff_writer writer_;
    std::size_t window_;
    bool begun_ = false;
    bytes held_;
};

/// Appends to `out` the delta that makes `target` of `base`.
///
/// Precondition: `valid(options)`. It never fails. Of what has nothing in common it makes the target, 5 bytes and some 30
/// for each window.
/// Cost: see `delta_matcher`; identical bytes cost a comparison.
inline void vcdiff_encode(bytes_view base, bytes_view target, bytes& out, delta_scratch& scratch,
                          vcdiff_options const& options = {}) {
    vcdiff_encoder encoder(base, out, scratch, options);
    do {
        bytes_view const window = target.first((std::min)(target.size(), options.window));
        encoder.encode(window);
        target = target.subspan(window.size());
    } while (!target.empty());
}

}  // namespace syncline::inline SYNCLINE_ABI
