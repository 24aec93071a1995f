// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Identities: 128 bits in time order (UUIDv7), and the replica that is a device in one of its incarnations.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// 128 bits that name something for ever. Ordered bytewise, which for `make_id` is the order of making
/// to the millisecond. All zero is "none": `make_id` never gives it.
struct id128 {
    std::array<std::byte, 16> bytes{};

    friend constexpr bool operator==(id128 const&, id128 const&) = default;
    friend constexpr std::strong_ordering operator<=>(id128 const& a, id128 const& b) noexcept {
        if (!std::is_constant_evaluated()) { return std::memcmp(a.bytes.data(), b.bytes.data(), 16) <=> 0; }
        for (std::size_t i = 0; i < 16; ++i) {
            if (a.bytes[i] != b.bytes[i]) { return a.bytes[i] <=> b.bytes[i]; }
        }
        return std::strong_ordering::equal;
    }
    [[nodiscard]] constexpr bool is_nil() const noexcept { return *this == id128{}; }
};

/// A new identity in the UUIDv7 layout: 48 bits of milliseconds since 1970, then 74 random bits.
///
/// A time before 1970 counts as 1970, one past 48 bits (the year 10889) as the last. Two made in the same
/// millisecond differ, and are ordered, by chance: 2^-74 of a collision a pair, if the source is good.
/// Source: RFC 9562 §5.7.
template <random_source G>
[[nodiscard]] constexpr id128 make_id(wall_time now, G& source) noexcept {
    constexpr std::int64_t last = (std::int64_t{1} << 48) - 1;
    std::int64_t const count = now.time_since_epoch().count();
    auto const ms = static_cast<std::uint64_t>(count < 0 ? 0 : count > last ? last : count);
    std::uint64_t const high = (ms << 16) | 0x7000 | (source() >> 52);
    std::uint64_t const low = (source() >> 2) | (std::uint64_t{1} << 63);
    id128 id;
    for (std::size_t i = 0; i < 8; ++i) {
        id.bytes[i] = static_cast<std::byte>(high >> (56 - 8 * i));
        id.bytes[8 + i] = static_cast<std::byte>(low >> (56 - 8 * i));
    }
    return id;
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` in lower-case hexadecimal. Source: RFC 9562 §4.
[[nodiscard]] inline std::string to_string(id128 const& id) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string out;
    out.reserve(36);
    for (std::size_t i = 0; i < 16; ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) { out.push_back('-'); }
        out.push_back(digits[std::to_integer<std::size_t>(id.bytes[i] >> 4)]);
        out.push_back(digits[std::to_integer<std::size_t>(id.bytes[i] & std::byte{15})]);
    }
    return out;
}

/// The identity that `to_string` wrote; upper-case digits are taken too, as RFC 9562 asks. Any version and
/// variant is taken. `malformed` for anything else.
[[nodiscard]] constexpr result<id128> parse_id(std::string_view text) noexcept {
    failure const wrong(errc::malformed, "not a UUID");
    if (text.size() != 36) { return wrong; }
    id128 id;
    std::size_t nibble = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char const c = text[i];
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (c != '-') { return wrong; }
            continue;
        }
        int const digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0) { return wrong; }
        auto& b = id.bytes[nibble / 2];
        b = (b << 4) | static_cast<std::byte>(digit);
        ++nibble;
    }
    return id;
}

/// Who writes: a device, and which life of its storage. A clone, a restore or a fork takes a new incarnation,
/// so that two that once were one never speak under one name. Ordered by device, then incarnation.
struct replica_id {
    id128 device{};
    std::uint32_t incarnation = 0;

    friend constexpr bool operator==(replica_id const&, replica_id const&) = default;
    friend constexpr std::strong_ordering operator<=>(replica_id const& a, replica_id const& b) noexcept {
        auto const c = a.device <=> b.device;
        return c != 0 ? c : a.incarnation <=> b.incarnation;
    }
    [[nodiscard]] constexpr bool is_nil() const noexcept { return *this == replica_id{}; }
};

inline constexpr std::size_t replica_id_bytes = 20;

/// The device's bytes, then the incarnation big-endian: the order of the bytes is the order of the replicas.
[[nodiscard]] constexpr std::array<std::byte, replica_id_bytes> to_array(replica_id const& r) noexcept {
    std::array<std::byte, replica_id_bytes> out{};
    for (std::size_t i = 0; i < 16; ++i) { out[i] = r.device.bytes[i]; }
    for (std::size_t i = 0; i < 4; ++i) { out[16 + i] = static_cast<std::byte>(r.incarnation >> (24 - 8 * i)); }
    return out;
}
/// The replica that `to_array` wrote. `malformed` unless there are exactly 20 bytes.
[[nodiscard]] constexpr result<replica_id> replica_id_from(bytes_view b) noexcept {
    if (b.size() != replica_id_bytes) { return failure(errc::malformed, "a replica id has 20 bytes"); }
    replica_id r;
    for (std::size_t i = 0; i < 16; ++i) { r.device.bytes[i] = b[i]; }
    for (std::size_t i = 16; i < 20; ++i) {
        r.incarnation = (r.incarnation << 8) | std::to_integer<std::uint32_t>(b[i]);
    }
    return r;
}

/// `uuid.incarnation`, the incarnation in decimal.
[[nodiscard]] inline std::string to_string(replica_id const& r) {
    return to_string(r.device) + '.' + std::to_string(r.incarnation);
}
/// The replica that `to_string` wrote. `malformed` for anything else: a sign, a leading zero, a number over 32 bits.
[[nodiscard]] constexpr result<replica_id> parse_replica_id(std::string_view text) noexcept {
    failure const wrong(errc::malformed, "not a replica id");
    if (text.size() < 38 || text.size() > 47 || text[36] != '.') { return wrong; }
    auto const device = parse_id(text.substr(0, 36));
    if (!device) { return device.error(); }
    auto const digits = text.substr(37);
    if (digits[0] == '0' && digits.size() > 1) { return wrong; }
    std::uint64_t n = 0;
    for (char const c : digits) {
        if (c < '0' || c > '9') { return wrong; }
        n = n * 10 + static_cast<std::uint64_t>(c - '0');
    }
    if (n > 0xFFFFFFFF) { return wrong; }
    return replica_id{*device, static_cast<std::uint32_t>(n)};
}

}  // namespace syncline::inline SYNCLINE_ABI
