// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Deterministic CBOR (RFC 8949 §4.2.1): a push writer, a pull reader with sticky errors, checks and look-ups.

#include <algorithm>
#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/utf8.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What the next item is.
enum class cbor_type : std::uint8_t {
    null,
    boolean,
    unsigned_integer,
    negative_integer,
    floating,
    text,
    byte_string,
    array,
    map,
    tag,      ///< well-formed, but no getter takes it: `errc::unsupported`
    simple,   ///< `undefined` and the unassigned simple values: as `tag`
    invalid,  ///< the end, a failed reader, or a byte that begins no item
};

/// No decoder here goes deeper into arrays and maps, whatever `decode_limits::depth_max` says.
inline constexpr std::uint32_t cbor_depth_max = 128;

/// The order of text keys in a canonical map: that of their encoded bytes, so the shorter first.
[[nodiscard]] inline std::strong_ordering compare_keys(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) { return a.size() <=> b.size(); }
    int const c = a.empty() ? 0 : std::memcmp(a.data(), b.data(), a.size());
    return c <=> 0;
}

namespace detail {

inline constexpr std::size_t cbor_head_max = 9;

/// Bytes of the shortest head that says `n`.
[[nodiscard]] constexpr std::size_t cbor_head_size(std::uint64_t n) noexcept {
    return n < 24 ? 1 : n <= 0xFF ? 2 : n <= 0xFFFF ? 3 : n <= 0xFFFFFFFF ? 5 : 9;
}

// Without a loop, so that compilers see one swapped load or store at every level of optimisation that they have.
template <std::size_t Width>
constexpr std::byte* cbor_put_big_endian(std::byte* p, std::uint64_t n) noexcept {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
        ((p[I] = static_cast<std::byte>((n >> (8 * (Width - 1 - I))) & 0xFF)), ...);
    }
    (std::make_index_sequence<Width>{});
    return p + Width;
}
template <std::size_t Width>
[[nodiscard]] constexpr std::uint64_t cbor_get_big_endian(std::byte const* p) noexcept {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
        return ((std::to_integer<std::uint64_t>(p[I]) << (8 * (Width - 1 - I))) | ...);
    }
    (std::make_index_sequence<Width>{});
}

constexpr std::byte* cbor_put_long_head(std::byte* p, unsigned high, std::uint64_t n) noexcept {
    if (n <= 0xFFFF) {
        *p = static_cast<std::byte>(high | 25U);
        return cbor_put_big_endian<2>(p + 1, n);
    }
    if (n <= 0xFFFFFFFF) {
        *p = static_cast<std::byte>(high | 26U);
        return cbor_put_big_endian<4>(p + 1, n);
    }
    *p = static_cast<std::byte>(high | 27U);
    return cbor_put_big_endian<8>(p + 1, n);
}
/// Writes the shortest head at `p`, where `cbor_head_size(n)` bytes are free; returns what follows it.
constexpr std::byte* cbor_put_head(std::byte* p, unsigned major, std::uint64_t n) noexcept {
    unsigned const high = major << 5;
    if (n < 24) {
        *p = static_cast<std::byte>(high | static_cast<unsigned>(n));
        return p + 1;
    }
    if (n <= 0xFF) {
        p[0] = static_cast<std::byte>(high | 24U);
        p[1] = static_cast<std::byte>(n);
        return p + 2;
    }
    return cbor_put_long_head(p, high, n);
}

[[nodiscard]] constexpr unsigned cbor_integer_major(std::int64_t n) noexcept { return n < 0 ? 1U : 0U; }
/// The head's number of a signed integer: n, or -1 - n.
[[nodiscard]] constexpr std::uint64_t cbor_integer_magnitude(std::int64_t n) noexcept {
    return n < 0 ? ~static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n);
}

/// The 32-bit float of the same value, if there is one; of a NaN none. Bits, so that no rounding mode matters.
[[nodiscard]] constexpr std::optional<std::uint32_t> cbor_single_of(std::uint64_t d) noexcept {
    auto const sign = static_cast<std::uint32_t>(d >> 63) << 31;
    auto const biased = static_cast<int>((d >> 52) & 0x7FF);
    std::uint64_t const fraction = d & 0xFFFFFFFFFFFFFU;
    if (biased == 0) { return fraction == 0 ? std::optional(sign) : std::nullopt; }
    if (biased == 0x7FF) { return fraction == 0 ? std::optional(sign | 0x7F800000U) : std::nullopt; }
    int const e = biased - 1023;
    if (e > 127 || e < -149) { return std::nullopt; }
    if (e >= -126) {
        if ((fraction & 0x1FFFFFFFU) != 0) { return std::nullopt; }
        return sign | (static_cast<std::uint32_t>(e + 127) << 23) | static_cast<std::uint32_t>(fraction >> 29);
    }
    std::uint64_t const whole = fraction | (std::uint64_t{1} << 52);
    int const shift = 29 + (-126 - e);
    if ((whole & ((std::uint64_t{1} << shift) - 1)) != 0) { return std::nullopt; }
    return sign | static_cast<std::uint32_t>(whole >> shift);
}

/// The 16-bit float of the same value as a 32-bit one, if there is one; of a NaN none.
[[nodiscard]] constexpr std::optional<std::uint16_t> cbor_half_of(std::uint32_t s) noexcept {
    std::uint32_t const sign = (s >> 16) & 0x8000U;
    auto const biased = static_cast<int>((s >> 23) & 0xFF);
    std::uint32_t const fraction = s & 0x7FFFFFU;
    auto const half = [&](std::uint32_t bits) { return std::optional(static_cast<std::uint16_t>(sign | bits)); };
    if (biased == 0) { return fraction == 0 ? half(0) : std::nullopt; }
    if (biased == 0xFF) { return fraction == 0 ? half(0x7C00) : std::nullopt; }
    int const e = biased - 127;
    if (e > 15 || e < -24) { return std::nullopt; }
    if (e >= -14) {
        if ((fraction & 0x1FFFU) != 0) { return std::nullopt; }
        return half((static_cast<std::uint32_t>(e + 15) << 10) | (fraction >> 13));
    }
    std::uint32_t const whole = fraction | 0x800000U;
    int const shift = 13 + (-14 - e);
    if ((whole & ((std::uint32_t{1} << shift) - 1)) != 0) { return std::nullopt; }
    return half(whole >> shift);
}

/// Every half is a double: RFC 8949 appendix D.
[[nodiscard]] constexpr double cbor_half_to_double(std::uint16_t h) noexcept {
    std::uint64_t const sign = static_cast<std::uint64_t>(h >> 15) << 63;
    auto const biased = static_cast<std::uint64_t>((h >> 10) & 0x1F);
    auto fraction = static_cast<std::uint64_t>(h & 0x3FF);
    if (biased == 0x1F) { return std::bit_cast<double>(sign | (std::uint64_t{0x7FF} << 52) | (fraction << 42)); }
    if (biased != 0) { return std::bit_cast<double>(sign | ((biased + 1023 - 15) << 52) | (fraction << 42)); }
    if (fraction == 0) { return std::bit_cast<double>(sign); }
    std::uint64_t e = 1023 - 14;
    while ((fraction & 0x400) == 0) {
        fraction <<= 1;
        --e;
    }
    return std::bit_cast<double>(sign | (e << 52) | ((fraction & 0x3FF) << 42));
}

/// Writes a double at `p`, where nine bytes are free, as the shortest float of the same value.
constexpr std::byte* cbor_put_floating(std::byte* p, double number) noexcept {
    if (number != number) {
        *p = std::byte{0xF9};
        return cbor_put_big_endian<2>(p + 1, 0x7E00);
    }
    auto const whole = std::bit_cast<std::uint64_t>(number);
    auto const single = cbor_single_of(whole);
    if (!single) {
        *p = std::byte{0xFB};
        return cbor_put_big_endian<8>(p + 1, whole);
    }
    auto const half = cbor_half_of(*single);
    if (!half) {
        *p = std::byte{0xFA};
        return cbor_put_big_endian<4>(p + 1, *single);
    }
    *p = std::byte{0xF9};
    return cbor_put_big_endian<2>(p + 1, *half);
}

/// The first bytes of an item of any well-formed CBOR.
struct cbor_any_head {
    unsigned major = 0;
    unsigned info = 0;         ///< 31: indefinite length, or (major type 7) the break
    std::uint64_t number = 0;  ///< the argument; of a float its bits
    std::size_t size = 0;      ///< bytes of the head; 0: not well-formed
};

/// Reads a head, shortest or not. Nothing is trusted; on what is not well-formed the size is 0.
[[nodiscard]] inline cbor_any_head cbor_read_any_head(bytes_view in) noexcept {
    if (in.empty()) { return {}; }
    unsigned const initial = std::to_integer<unsigned>(in[0]);
    cbor_any_head h{initial >> 5, initial & 31U, initial & 31U, 1};
    if (h.info < 24) { return h; }
    if (h.info < 28) {
        std::size_t const width = std::size_t{1} << (h.info - 24);
        if (in.size() <= width) { return {}; }
        h.number = 0;
        for (std::size_t i = 1; i <= width; ++i) { h.number = (h.number << 8) | std::to_integer<std::uint64_t>(in[i]); }
        h.size = 1 + width;
        if (h.major == 7 && h.info == 24 && h.number < 32) { return {}; }
        return h;
    }
    bool const may_be_indefinite = h.major >= 2 && h.major != 6;
    return h.info == 31 && may_be_indefinite ? h : cbor_any_head{};
}

/// The type of an item that begins with this byte.
[[nodiscard]] constexpr cbor_type cbor_type_of(unsigned initial) noexcept {
    unsigned const info = initial & 31U;
    if (info >= 28 && info <= 30) { return cbor_type::invalid; }
    bool const indefinite = info == 31;
    switch (initial >> 5) {
        case 0: return indefinite ? cbor_type::invalid : cbor_type::unsigned_integer;
        case 1: return indefinite ? cbor_type::invalid : cbor_type::negative_integer;
        case 2: return cbor_type::byte_string;
        case 3: return cbor_type::text;
        case 4: return cbor_type::array;
        case 5: return cbor_type::map;
        case 6: return indefinite ? cbor_type::invalid : cbor_type::tag;
        default: break;
    }
    switch (info) {
        case 20:
        case 21: return cbor_type::boolean;
        case 22: return cbor_type::null;
        case 25:
        case 26:
        case 27: return cbor_type::floating;
        case 31: return cbor_type::invalid;
        default: return cbor_type::simple;
    }
}
inline constexpr std::array<cbor_type, 256> cbor_types = [] {
    std::array<cbor_type, 256> all{};
    for (std::size_t i = 0; i < all.size(); ++i) { all[i] = cbor_type_of(static_cast<unsigned>(i)); }
    return all;
}();

}  // namespace detail

/// Writes deterministic CBOR into room that the caller knows to be enough: what is small, written often and of a known
/// bound. The caller keeps the structure, as with `cbor_writer`.
/// Precondition of every call: the item has room. Cost: allocates nothing.
class cbor_room_writer {
public:
    explicit cbor_room_writer(std::span<std::byte> room) noexcept
        : begin_(room.data()), at_(room.data()), end_(room.data() + room.size()) {}

    void null() noexcept {
        SYNCLINE_ASSERT(at_ != end_);
        *at_++ = std::byte{0xF6};
    }
    void boolean(bool b) noexcept {
        SYNCLINE_ASSERT(at_ != end_);
        *at_++ = std::byte{b ? std::uint8_t{0xF5} : std::uint8_t{0xF4}};
    }
    void unsigned_integer(std::uint64_t n) noexcept { head(0, n, 0); }
    /// Precondition: `s` is valid UTF-8.
    void text(std::string_view s) noexcept {
        SYNCLINE_ASSERT(valid_utf8(s));
        string(3, as_bytes(s));
    }
    void byte_string(bytes_view b) noexcept { string(2, b); }
    void array(std::size_t n) noexcept { head(4, n, 0); }
    void map(std::size_t n) noexcept { head(5, n, 0); }
    /// Precondition: `encoded_item` is one item of deterministic CBOR.
    void raw(bytes_view encoded_item) noexcept {
        SYNCLINE_ASSERT(encoded_item.size() <= static_cast<std::size_t>(end_ - at_));
        put(encoded_item);
    }
    /// Bytes written so far.
    [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(at_ - begin_); }
    [[nodiscard]] bytes_view written() const noexcept { return {begin_, size()}; }

private:
    void head(unsigned major, std::uint64_t n, std::size_t more) noexcept {
        auto const left = static_cast<std::size_t>(end_ - at_);
        SYNCLINE_ASSERT(more <= left && detail::cbor_head_size(n) <= left - more);
        (void)more;
        (void)left;
        at_ = detail::cbor_put_head(at_, major, n);
    }
    void string(unsigned major, bytes_view b) noexcept {
        head(major, b.size(), b.size());
        put(b);
    }
    void put(bytes_view b) noexcept {
        if (!b.empty()) { std::memcpy(at_, b.data(), b.size()); }
        at_ += b.size();
    }

    std::byte* begin_;
    std::byte* at_;
    std::byte* end_;
};

/// Appends deterministic CBOR to a byte string.
///
/// The caller keeps the structure: after `array(n)` n items, after `map(n)` n pairs of key and value, the keys
/// in canonical order (for text keys: `compare_keys`). `out` is complete after every call.
/// Cost: `out` grows at most once an item; nothing else is allocated.
class cbor_writer {
public:
    explicit cbor_writer(bytes& out) noexcept : out_(out) {}

    void null() { one(0xF6); }
    void boolean(bool b) { one(b ? 0xF5 : 0xF4); }
    void integer(std::int64_t n) { head(detail::cbor_integer_major(n), detail::cbor_integer_magnitude(n)); }
    void unsigned_integer(std::uint64_t n) { head(0, n); }
    /// The shortest of 16, 32 and 64 bits that keeps the value; NaN is always f97e00.
    void floating(double number) {
        std::array<std::byte, detail::cbor_head_max> raw;
        std::byte const* const end = detail::cbor_put_floating(raw.data(), number);
        append(out_, {raw.data(), static_cast<std::size_t>(end - raw.data())});
    }
    /// Precondition: `s` is valid UTF-8.
    void text(std::string_view s) {
        SYNCLINE_ASSERT(valid_utf8(s));
        string(3, as_bytes(s));
    }
    void byte_string(bytes_view b) { string(2, b); }
    /// The head only: n items follow.
    void array(std::size_t n) { head(4, n); }
    /// The head only: n keys follow, each with its value, in canonical order.
    void map(std::size_t n) { head(5, n); }
    /// Precondition: `encoded_item` is one item of deterministic CBOR.
    void raw(bytes_view encoded_item) { append(out_, encoded_item); }
    /// Several items at once: `write(cbor_room_writer&)` has room for `bound` bytes, and what it writes is appended.
    template <class F>
    void in_room(std::size_t bound, F&& write) {
        cbor_room_writer to{{grow(bound), bound}};
        write(to);
        out_.resize(out_.size() - bound + to.size());
    }

private:
    // Small at first, a vector would be moved with each of the first items.
    void room_for(std::size_t n) {
        std::size_t const used = out_.size();
        std::size_t const room = out_.capacity();
        if (room - used < n) { out_.reserve((std::max)({used + n, 2 * room, std::size_t{128}})); }
    }
    std::byte* grow(std::size_t n) {
        room_for(n);
        std::size_t const old = out_.size();
        out_.resize(old + n);
        return out_.data() + old;
    }
    void one(unsigned initial) {
        room_for(1);
        out_.push_back(static_cast<std::byte>(initial));
    }
    void head(unsigned major, std::uint64_t n) {
        if (n < 24) {
            one((major << 5) | static_cast<unsigned>(n));
        } else {
            detail::cbor_put_head(grow(detail::cbor_head_size(n)), major, n);
        }
    }
    void string(unsigned major, bytes_view b) {
        if (b.size() < 24) {  // head and content at once
            std::byte* const p = grow(1 + b.size());
            *p = static_cast<std::byte>((major << 5) | static_cast<unsigned>(b.size()));
            if (!b.empty()) { std::memcpy(p + 1, b.data(), b.size()); }
            return;
        }
        room_for(detail::cbor_head_max + b.size());
        head(major, b.size());
        append(out_, b);
    }

    bytes& out_;
};

/// Reads deterministic CBOR item by item; borrows the input, allocates nothing.
///
/// Errors stick: after the first one every getter answers zero or empty, counts are 0, and `error()` says what
/// it was; so a whole message may be read and checked once, at the end, by `finish()`.
/// The errors are `errc::malformed` (not CBOR, truncated, text that isn't UTF-8, a duplicate key),
/// `errc::not_deterministic` (a longer head or float than needed, indefinite length, NaN but f97e00, keys out of
/// order; what follows the place is not looked at), `errc::type_mismatch` (another type than asked for),
/// `errc::overflow` (an integer outside the getter's range), `errc::unsupported` (a tag, `undefined`, a simple
/// value), `errc::limit`. Views that it gives live as long as the input.
/// The order of keys is checked by `skip()` and by `validate_canonical`; one who reads a map key by key
/// checks the order himself, or doesn't need it. How deep a caller goes by `array()` and `map()` is
/// its own to bound (`depth_max()`).
class cbor_reader {
public:
    explicit cbor_reader(bytes_view in, decode_limits const& limits = {}) noexcept
        : begin_(in.data()),
          at_(in.data()),
          end_(in.data() + in.size()),
          string_max_(limits.string_max),
          items_max_(limits.items_max),
          depth_max_(limits.depth_max < cbor_depth_max ? limits.depth_max : cbor_depth_max),
          work_(limits.work_max) {
        if (in.size() > limits.bytes_max) { fail({errc::limit, "longer than bytes_max"}); }
    }

    /// The type of the next item; consumes nothing and never fails.
    [[nodiscard]] cbor_type peek() const noexcept {
        return at_ == end_ ? cbor_type::invalid : detail::cbor_types[std::to_integer<std::size_t>(*at_)];
    }

    /// True, and a null consumed; or false, and nothing consumed: then it is another item, or the end.
    [[nodiscard]] bool null() noexcept {
        if (at_ == end_ || *at_ != std::byte{0xF6}) { return false; }
        if (!charge(1)) { return false; }
        ++at_;
        return true;
    }

    [[nodiscard]] bool boolean() noexcept {
        if (at_ == end_) { return end_of_input(), false; }
        unsigned const initial = std::to_integer<unsigned>(*at_);
        if ((initial | 1U) != 0xF5U) { return wrong_type(), false; }
        if (!charge(1)) { return false; }
        ++at_;
        return initial == 0xF5U;
    }

    /// An integer of either sign; `errc::overflow` outside 64 signed bits.
    [[nodiscard]] std::int64_t integer() noexcept {
        if (at_ == end_) { return end_of_input(), 0; }
        unsigned const initial = std::to_integer<unsigned>(*at_);
        unsigned const major = initial >> 5;
        if (major > 1) { return wrong_type(), 0; }
        if ((initial & 31U) < 24 && work_.charge(2)) {  // most are small
            ++at_;
            auto const n = static_cast<std::int64_t>(initial & 31U);
            return major == 0 ? n : ~n;
        }
        std::byte const* const start = at_;
        std::uint64_t n = 0;
        if (!head(n)) { return 0; }
        if (n > static_cast<std::uint64_t>((std::numeric_limits<std::int64_t>::max)())) {
            at_ = start;
            fail({errc::overflow, "integer outside 64 signed bits"});
            return 0;
        }
        return static_cast<std::int64_t>(major == 0 ? n : ~n);
    }

    /// An integer that isn't negative; a negative one is `errc::overflow`.
    [[nodiscard]] std::uint64_t unsigned_integer() noexcept {
        if (at_ == end_) { return end_of_input(), 0; }
        unsigned const major = std::to_integer<unsigned>(*at_) >> 5;
        if (major == 1) { return fail({errc::overflow, "negative where no negative integer fits"}), 0; }
        if (major != 0) { return wrong_type(), 0; }
        std::uint64_t n = 0;
        return head(n) ? n : 0;
    }

    /// A float of any width; an integer is `errc::type_mismatch`.
    [[nodiscard]] double floating() noexcept {
        if (at_ == end_) { return end_of_input(), 0; }
        unsigned const initial = std::to_integer<unsigned>(*at_);
        if (initial < 0xF9 || initial > 0xFB) { return wrong_type(), 0; }
        double number = 0;
        return floating_item(number) ? number : 0;
    }

    /// Valid UTF-8, borrowed from the input.
    [[nodiscard]] std::string_view text() noexcept {
        // Most are short.
        std::size_t const n = at_ == end_ ? 24 : std::to_integer<unsigned>(*at_) - 0x60U;
        if (n < 24 && n < remaining() && n <= string_max_) {
            std::string_view const short_text = as_text({at_ + 1, n});
            if (valid_utf8(short_text) && work_.charge(2 + n)) {
                at_ += 1 + n;
                return short_text;
            }
        }
        bytes_view const b = string(3);
        if (!valid_utf8(as_text(b))) {
            at_ = b.data();
            return fail({errc::malformed, "text that is not UTF-8"}), std::string_view{};
        }
        return as_text(b);
    }
    /// Borrowed from the input.
    [[nodiscard]] bytes_view byte_string() noexcept { return string(2); }

    /// The head of an array: how many items follow. It never says more than bytes are left.
    [[nodiscard]] std::size_t array() noexcept { return container(4); }
    /// The head of a map: how many pairs of key and value follow. It never says more than fit in what is left.
    [[nodiscard]] std::size_t map() noexcept { return container(5); }

    /// Passes over one item of any type, checks it wholly (the order of keys and UTF-8 included), and returns
    /// its encoded bytes, borrowed. Empty on error. Deeper than `depth_max()` is `errc::limit`; `entered` says how many
    /// arrays and maps the caller is inside of already.
    /// Cost: linear; a stack of fixed size, no recursion.
    [[nodiscard]] bytes_view skip(std::size_t entered = 0) noexcept {
        std::byte const* const start = at_;
        if (at_ != end_ && (skip_short(start) || (entered < depth_max_ && skip_flat(start)))) {
            return {start, static_cast<std::size_t>(at_ - start)};
        }
        if (!skip_whole(entered < depth_max_ ? depth_max_ - entered : 0)) { return {}; }
        return {start, static_cast<std::size_t>(at_ - start)};
    }

    /// True, and consumed, when the next bytes are these of one encoded item that the caller expects; or false,
    /// and nothing consumed: then it is another item, or the end. Precondition: `encoded_item` is canonical.
    [[nodiscard]] bool match(bytes_view encoded_item) noexcept {
        if (remaining() < encoded_item.size() || std::memcmp(at_, encoded_item.data(), encoded_item.size()) != 0 ||
            !charge(encoded_item.size())) {
            return false;
        }
        at_ += encoded_item.size();
        return true;
    }
    /// Takes from the budget of work what the caller is about to spend on what was read, say the bytes to allocate.
    /// False, and `errc::limit`, when less is left.
    [[nodiscard]] bool charge(std::uint64_t units) noexcept {
        if (work_.charge(units)) { return true; }
        fail({errc::limit, "more than work_max"});
        return false;
    }

    /// How deep arrays and maps may be inside each other: the caller's limit, at most `cbor_depth_max`.
    [[nodiscard]] std::size_t depth_max() const noexcept { return depth_max_; }
    /// Bytes consumed; after an error, where it was found.
    [[nodiscard]] std::size_t position() const noexcept {
        return static_cast<std::size_t>((failed_ ? failed_at_ : at_) - begin_);
    }
    /// Nothing is left to read; so too after an error.
    [[nodiscard]] bool at_end() const noexcept { return at_ == end_; }
    [[nodiscard]] bool failed() const noexcept { return failed_; }
    /// Precondition: `failed()`.
    [[nodiscard]] failure const& error() const noexcept {
        SYNCLINE_ASSERT(failed_);
        return error_;
    }
    /// An error that the caller found; the first error stays.
    void fail(failure const& f) noexcept {
        if (failed_) { return; }
        failed_ = true;
        error_ = f;
        failed_at_ = at_;
        at_ = end_;  // so every later getter finds the end, and the fast path needs no second check
    }
    /// Success when nothing failed and nothing is left over (`errc::malformed`).
    [[nodiscard]] status finish() noexcept {
        if (at_ != end_) { fail({errc::malformed, "bytes after the end"}); }
        if (failed_) { return error_; }
        return {};
    }

private:
    struct frame {
        std::byte const* item;  // where the child now being read begins
        std::byte const* key;   // the key before, for the order; null before the first
        std::size_t key_size;
        std::uint64_t left;  // children not yet finished; keys and values count each
        bool is_map;
    };

    [[nodiscard]] std::size_t remaining() const noexcept { return static_cast<std::size_t>(end_ - at_); }

    void end_of_input() noexcept { fail({errc::malformed, "truncated"}); }
    void wrong_type() noexcept {
        switch (peek()) {
            case cbor_type::invalid: return fail({errc::malformed, "not an item"});
            case cbor_type::tag: return fail({errc::unsupported, "tag"});
            case cbor_type::simple: return unsupported_simple();
            default: return fail({errc::type_mismatch, "another type of item"});
        }
    }
    void unsupported_simple() noexcept {
        if (*at_ == std::byte{0xF8}) {
            if (remaining() < 2) { return end_of_input(); }
            if (std::to_integer<unsigned>(at_[1]) < 32) { return fail({errc::malformed, "simple value in two bytes"}); }
        }
        fail({errc::unsupported, "undefined or a simple value"});
    }

    /// Consumes a head with an argument (major types 0 to 6). Precondition: not at the end.
    [[nodiscard]] bool head(std::uint64_t& n) noexcept {
        if (!charge(2)) { return false; }
        unsigned const info = std::to_integer<unsigned>(*at_) & 31U;
        if (info < 24) {
            n = info;
            ++at_;
            return true;
        }
        return long_head(info, n);
    }
    [[nodiscard]] bool long_head(unsigned info, std::uint64_t& n) noexcept {
        std::byte const* const p = at_ + 1;
        std::size_t const left = remaining() - 1;
        std::uint64_t least = 0;
        std::size_t width = 0;
        switch (info) {
            case 24:
                if (left < 1) { return end_of_input(), false; }
                n = std::to_integer<std::uint64_t>(*p);
                width = 1;
                least = 24;
                break;
            case 25:
                if (left < 2) { return end_of_input(), false; }
                n = detail::cbor_get_big_endian<2>(p);
                width = 2;
                least = 0x100;
                break;
            case 26:
                if (left < 4) { return end_of_input(), false; }
                n = detail::cbor_get_big_endian<4>(p);
                width = 4;
                least = 0x10000;
                break;
            case 27:
                if (left < 8) { return end_of_input(), false; }
                n = detail::cbor_get_big_endian<8>(p);
                width = 8;
                least = 0x100000000;
                break;
            default: {
                unsigned const major = std::to_integer<unsigned>(*at_) >> 5;
                if (info == 31 && major >= 2 && major <= 5) {
                    return fail({errc::not_deterministic, "indefinite length"}), false;
                }
                return fail({errc::malformed, "reserved additional information"}), false;
            }
        }
        if (n < least) { return fail({errc::not_deterministic, "head longer than needed"}), false; }
        at_ += 1 + width;
        return true;
    }

    /// Precondition: at f9, fa or fb.
    [[nodiscard]] bool floating_item(double& number) noexcept {
        if (!charge(2)) { return false; }
        unsigned const initial = std::to_integer<unsigned>(*at_);
        std::size_t const width = std::size_t{2} << (initial - 0xF9U);
        if (remaining() <= width) { return end_of_input(), false; }
        std::byte const* const p = at_ + 1;
        bool shortest = true;
        if (width == 8) {
            std::uint64_t const d = detail::cbor_get_big_endian<8>(p);
            number = std::bit_cast<double>(d);
            shortest = number == number && !detail::cbor_single_of(d);
        } else if (width == 4) {
            auto const s = static_cast<std::uint32_t>(detail::cbor_get_big_endian<4>(p));
            number = static_cast<double>(std::bit_cast<float>(s));
            shortest = number == number && !detail::cbor_half_of(s);
        } else {
            auto const h = static_cast<std::uint16_t>(detail::cbor_get_big_endian<2>(p));
            number = detail::cbor_half_to_double(h);
            shortest = number == number || h == 0x7E00;
        }
        if (!shortest) { return fail({errc::not_deterministic, "float wider than needed, or another NaN"}), false; }
        at_ += 1 + width;
        return true;
    }

    /// A definite string of the major type 2 or 3, its UTF-8 not yet checked.
    [[nodiscard]] bytes_view string(unsigned wanted) noexcept {
        if (at_ == end_) { return end_of_input(), bytes_view{}; }
        if (std::to_integer<unsigned>(*at_) >> 5 != wanted) { return wrong_type(), bytes_view{}; }
        std::uint64_t n = 0;
        if (!head(n)) { return {}; }
        return string_body(n);
    }
    [[nodiscard]] bytes_view string_body(std::uint64_t n) noexcept {
        if (n > remaining()) { return end_of_input(), bytes_view{}; }
        if (n > string_max_) { return fail({errc::limit, "longer than string_max"}), bytes_view{}; }
        if (!charge(n)) { return {}; }
        bytes_view const b(at_, static_cast<std::size_t>(n));
        at_ += b.size();
        return b;
    }

    [[nodiscard]] std::size_t container(unsigned wanted) noexcept {
        if (at_ == end_) { return end_of_input(), 0; }
        if (std::to_integer<unsigned>(*at_) >> 5 != wanted) { return wrong_type(), 0; }
        std::uint64_t n = 0;
        if (!head(n)) { return 0; }
        return container_count(wanted == 5, n) ? static_cast<std::size_t>(n) : 0;
    }
    [[nodiscard]] bool container_count(bool is_map, std::uint64_t n) noexcept {
        if (n > (is_map ? remaining() / 2 : remaining())) { return end_of_input(), false; }
        if (n > items_max_) { return fail({errc::limit, "more than items_max"}), false; }
        return true;
    }

    /// Passes over a scalar, or over the head of an array or map, of which it gives the number of children.
    /// Precondition: not at the end.
    [[nodiscard]] bool skip_one(std::uint64_t& children) noexcept {
        unsigned const initial = std::to_integer<unsigned>(*at_);
        unsigned const major = initial >> 5;
        children = 0;
        if (major == 7) {
            if (initial >= 0xF4 && initial <= 0xF6) {
                if (!charge(1)) { return false; }
                ++at_;
                return true;
            }
            if (initial >= 0xF9 && initial <= 0xFB) {
                double number = 0;
                return floating_item(number);
            }
            return wrong_type(), false;
        }
        if (major == 6) { return wrong_type(), false; }
        std::uint64_t n = 0;
        if (!head(n)) { return false; }
        if (major <= 1) { return true; }
        if (major <= 3) {
            bytes_view const b = string_body(n);
            if (failed_) { return false; }
            if (major == 3 && !valid_utf8(as_text(b))) {
                at_ = b.data();
                return fail({errc::malformed, "text that is not UTF-8"}), false;
            }
            return true;
        }
        if (!container_count(major == 5, n)) { return false; }
        children = major == 5 ? 2 * n : n;
        return true;
    }

    [[nodiscard]] bool skip_whole(std::size_t depth_max) noexcept {
        std::array<frame, cbor_depth_max> stack;  // not initialised: only what is pushed is read
        std::size_t depth = 0;
        for (;;) {
            if (at_ == end_) { return end_of_input(), false; }
            std::byte const* const item = at_;
            unsigned const major = std::to_integer<unsigned>(*item) >> 5;
            std::uint64_t children = 0;
            if (!skip_short(item)) {
                if (depth == depth_max && (major == 4 || major == 5)) {
                    return fail({errc::limit, "deeper than depth_max"}), false;
                }
                if (!skip_one(children)) { return false; }
            }
            if (children != 0) {
                stack[depth] = {at_, nullptr, 0, children, major == 5};
                ++depth;
                continue;
            }
            // An item ended; so may those that it was the last child of.
            std::byte const* const at = at_;
            while (depth != 0) {
                frame& f = stack[depth - 1];
                if (f.is_map && f.left % 2 == 0) {
                    if (f.key != nullptr && !key_in_order(f, at)) { return false; }
                    f.key = f.item;
                    f.key_size = static_cast<std::size_t>(at - f.item);
                }
                f.item = at;
                if (--f.left != 0) { break; }
                --depth;
            }
            if (depth == 0) { return true; }
        }
    }
    /// The way of most items: an integer, a string, a boolean or null that breaks no limit. Else it does nothing.
    [[nodiscard]] bool skip_short(std::byte const* item) noexcept {
        unsigned const initial = std::to_integer<unsigned>(*item);
        if (initial >= 0x80) {
            if (initial - 0xF4U > 2 || !work_.charge(1)) { return false; }
            at_ = item + 1;
            return true;
        }
        std::size_t const after = remaining() - 1;
        std::size_t n = initial & 31U;
        std::size_t head = 1;
        if (n >= 24) {
            std::size_t const width = std::size_t{1} << ((n - 24) & 7U);
            if (n > 27 || width > after) { return false; }
            std::uint64_t value = std::to_integer<std::uint64_t>(item[1]);
            std::uint64_t least = 24;
            if (n != 24) {
                value = n == 25   ? detail::cbor_get_big_endian<2>(item + 1)
                        : n == 26 ? detail::cbor_get_big_endian<4>(item + 1)
                                  : detail::cbor_get_big_endian<8>(item + 1);
                least = std::uint64_t{1} << (4 * width);
            }
            if (value < least) { return false; }
            head += width;
            n = initial < 0x40 ? 0 : static_cast<std::size_t>((std::min)(value, std::uint64_t{after}));
            if (initial >= 0x40 && value != n) { return false; }
        }
        if (initial < 0x40) {
            if (!work_.charge(2)) { return false; }
            at_ = item + head;
            return true;
        }
        if (n > after - (head - 1) || n > string_max_) { return false; }
        if (initial >= 0x60 && !valid_utf8(as_text({item + head, n}))) { return false; }
        if (!work_.charge(2 + n)) { return false; }
        at_ = item + head + n;
        return true;
    }
    /// The way of most records: a map of a few short text keys, each with what `skip_short` passes over. Else it does
    /// nothing, and what is wrong is found by `skip_whole`.
    [[nodiscard]] bool skip_flat(std::byte const* item) noexcept {
        std::size_t const pairs = std::to_integer<unsigned>(*item) - 0xA0U;
        if (pairs >= 24 || pairs > items_max_) { return false; }
        work_budget const before = work_;
        std::byte const* last = nullptr;
        std::size_t units = 2;
        at_ = item + 1;
        // A text of less than 24 bytes, or nothing done.
        auto const short_text = [&] {
            std::size_t const n = at_ == end_ ? 24 : std::to_integer<unsigned>(*at_) - 0x60U;
            if (n >= 24 || n >= remaining() || n > string_max_ || !valid_utf8(as_text({at_ + 1, n}))) { return false; }
            at_ += 1 + n;
            units += 2 + n;
            return true;
        };
        bool good = true;
        for (std::size_t i = 0; good && i < pairs; ++i) {
            std::byte const* const key = at_;
            good = short_text() && (last == nullptr || *last < *key ||
                                    (*last == *key && std::memcmp(last, key, static_cast<std::size_t>(at_ - key)) < 0));
            good = good && (short_text() || (at_ != end_ && skip_short(at_)));
            last = key;
        }
        good = good && work_.charge(units);
        if (!good) {
            at_ = item;
            work_ = before;
        }
        return good;
    }
    /// The key of `f` that ends at `at` against the one before.
    [[nodiscard]] bool key_in_order(frame const& f, std::byte const* at) noexcept {
        if (*f.key < *f.item) { return true; }  // another type or length, mostly
        auto const order =
            compare(bytes_view(f.key, f.key_size), bytes_view(f.item, static_cast<std::size_t>(at - f.item)));
        if (order < 0) { return true; }
        at_ = f.item;
        if (order == 0) { return fail({errc::malformed, "duplicate key"}), false; }
        return fail({errc::not_deterministic, "keys out of order"}), false;
    }

    std::byte const* begin_;
    std::byte const* at_;
    std::byte const* end_;
    std::byte const* failed_at_ = nullptr;
    std::size_t string_max_;
    std::size_t items_max_;
    std::size_t depth_max_;
    work_budget work_;
    failure error_{};
    bool failed_ = false;
};

/// Success when `in` is exactly one item of deterministic CBOR of the types that `cbor_reader` reads.
/// Errors as of `cbor_reader::skip`. Cost: linear, no allocation.
[[nodiscard]] inline status validate_canonical(bytes_view in, decode_limits const& limits = {}) noexcept {
    cbor_reader reader(in, limits);
    static_cast<void>(reader.skip());
    return reader.finish();
}

/// Success when `in` is exactly one well-formed item of CBOR (RFC 8949 §5.3.1, appendix C), deterministic or not,
/// of any type, tags and simple values included. Text is not checked for UTF-8 and keys not for duplicates: that
/// is validity, not well-formedness.
///
/// Errors: `errc::malformed`, `errc::limit`. Cost: linear; no allocation, no recursion.
[[nodiscard]] inline status well_formed(bytes_view in, decode_limits const& limits = {}) noexcept {
    struct frame {
        std::uint64_t left;  // children to come; of an indefinite one those so far
        bool indefinite;
        bool is_map;
    };
    std::array<frame, cbor_depth_max> stack;  // not initialised: only what is pushed is read
    std::size_t const depth_max = limits.depth_max < cbor_depth_max ? limits.depth_max : cbor_depth_max;
    std::size_t depth = 0;
    work_budget work(limits.work_max);
    bool tagged = false;  // the item to come is a tag's content
    if (in.size() > limits.bytes_max) { return failure{errc::limit, "longer than bytes_max"}; }
    for (;;) {
        auto const h = detail::cbor_read_any_head(in);
        if (h.size == 0) { return failure{errc::malformed, in.empty() ? "truncated" : "not an item"}; }
        if (!work.charge(1 + h.size)) { return failure{errc::limit, "more than work_max"}; }
        in = in.subspan(h.size);
        bool ended = true;
        if (h.major == 6) {
            tagged = true;
            continue;
        }
        if (h.major == 7 && h.info == 31) {
            bool const here = depth != 0 && !tagged && stack[depth - 1].indefinite &&
                              !(stack[depth - 1].is_map && stack[depth - 1].left % 2 != 0);
            if (!here) { return failure{errc::malformed, "break where none may be"}; }
            --depth;
        } else if (h.major == 2 || h.major == 3) {
            std::uint64_t whole = 0;
            auto piece = h;
            if (h.info == 31) {
                piece = detail::cbor_read_any_head(in);
                in = in.subspan(piece.size);
            }
            while (!(h.info == 31 && piece.major == 7 && piece.info == 31)) {
                if (piece.size == 0 || piece.major != h.major || piece.info == 31) {
                    return failure{errc::malformed, "not a piece of the string"};
                }
                if (piece.number > in.size()) { return failure{errc::malformed, "truncated"}; }
                whole += piece.number;
                if (whole > limits.string_max) { return failure{errc::limit, "longer than string_max"}; }
                if (!work.charge(piece.number + 1)) { return failure{errc::limit, "more than work_max"}; }
                in = in.subspan(static_cast<std::size_t>(piece.number));
                if (h.info != 31) { break; }
                piece = detail::cbor_read_any_head(in);
                in = in.subspan(piece.size);
            }
        } else if (h.major == 4 || h.major == 5) {
            bool const is_map = h.major == 5;
            if (depth == depth_max) { return failure{errc::limit, "deeper than depth_max"}; }
            if (h.info == 31) {
                stack[depth++] = {0, true, is_map};
                ended = false;
            } else {
                if (h.number > (is_map ? in.size() / 2 : in.size())) { return failure{errc::malformed, "truncated"}; }
                if (h.number > limits.items_max) { return failure{errc::limit, "more than items_max"}; }
                if (h.number != 0) {
                    stack[depth++] = {is_map ? 2 * h.number : h.number, false, is_map};
                    ended = false;
                }
            }
        }
        tagged = false;
        while (ended && depth != 0) {
            frame& f = stack[depth - 1];
            if (f.indefinite) {
                ++f.left;
                if ((f.is_map ? (f.left + 1) / 2 : f.left) > limits.items_max) {
                    return failure{errc::limit, "more than items_max"};
                }
                break;
            }
            if (--f.left != 0) { break; }
            --depth;
        }
        if (depth == 0) { break; }
    }
    if (!in.empty()) { return failure{errc::malformed, "bytes after the end"}; }
    return {};
}

/// Walks the pairs of an encoded map with text keys, in the order of the keys, without decoding the values.
///
/// `next()` moves to the first and to each further pair, and answers false at the end or on an error; `failed()`
/// tells which: anything that `cbor_reader` refuses in what was passed, a key that is no text, keys out of order,
/// bytes after the map. What follows the current pair has not been looked at.
/// Cost: linear over the map, no allocation. Keys and values borrow from the map's bytes.
class cbor_map_cursor {
public:
    explicit cbor_map_cursor(bytes_view encoded_map, decode_limits const& limits = {}) noexcept
        : reader_(encoded_map, limits), left_(reader_.map()) {}

    [[nodiscard]] bool next() noexcept {
        if (left_ == 0) {
            ended_ = true;
            static_cast<void>(reader_.finish());
            return false;
        }
        std::string_view const before = key_;
        key_ = reader_.text();
        if (started_ && !reader_.failed()) {
            auto const order = compare_keys(before, key_);
            if (order == 0) { reader_.fail({errc::malformed, "duplicate key"}); }
            if (order > 0) { reader_.fail({errc::not_deterministic, "keys out of order"}); }
        }
        started_ = true;
        value_ = reader_.skip(1);
        if (reader_.failed()) {
            left_ = 0;
            ended_ = true;
            return false;
        }
        --left_;
        return true;
    }
    /// Precondition: the last `next()` answered true. So too for `value()`.
    [[nodiscard]] std::string_view key() const noexcept {
        SYNCLINE_ASSERT(started_ && !ended_);
        return key_;
    }
    /// The encoded value.
    [[nodiscard]] bytes_view value() const noexcept {
        SYNCLINE_ASSERT(started_ && !ended_);
        return value_;
    }
    /// Pairs that `next()` has not reached yet.
    [[nodiscard]] std::size_t left() const noexcept { return left_; }
    [[nodiscard]] bool failed() const noexcept { return reader_.failed(); }
    /// Precondition: `failed()`.
    [[nodiscard]] failure const& error() const noexcept { return reader_.error(); }

private:
    cbor_reader reader_;
    std::size_t left_;
    std::string_view key_{};
    bytes_view value_{};
    bool started_ = false;
    bool ended_ = false;
};

/// Whether an item is a map with no other keys than texts, each of which can be named as a field. Cost: linear.
[[nodiscard]] inline bool text_keyed(bytes_view item) noexcept {
    cbor_map_cursor at{item};
    while (at.next()) {}
    return !at.failed();
}

/// The encoded value of a text key in an encoded map with text keys, or nothing when it isn't there.
///
/// Errors as of `cbor_map_cursor`, in the part of the map up to where the key is or would be: the rest is not
/// looked at. Cost: linear up to the key, no allocation; the value borrows from the map.
[[nodiscard]] inline result<std::optional<bytes_view>> map_find(bytes_view encoded_map, std::string_view key,
                                                                decode_limits const& limits = {}) noexcept {
    cbor_map_cursor cursor(encoded_map, limits);
    while (cursor.next()) {
        auto const order = compare_keys(cursor.key(), key);
        if (order == 0) { return std::optional<bytes_view>(cursor.value()); }
        if (order > 0) { return std::optional<bytes_view>(); }
    }
    if (cursor.failed()) { return cursor.error(); }
    return std::optional<bytes_view>();
}

}  // namespace syncline::inline SYNCLINE_ABI
