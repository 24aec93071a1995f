// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Exchanges and unasked messages over one connection that carries whole messages both ways: a WebSocket, a pipe.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What a carried message is. On the wire: append, never renumber.
enum class carried_kind : std::uint8_t {
    request = 1,  ///< `[1, number, body]`
    reply = 2,    ///< `[2, number, body]`
    failed = 3,   ///< `[3, number, errc, milliseconds to wait or null]`
    unasked = 4,  ///< `[4, body]`
};

/// Bytes that a carried message adds to its body, at most.
inline constexpr std::size_t carried_bytes_max = 24;

/// The longest wait that is carried, some 8,900 years.
inline constexpr milliseconds carried_wait_max{std::int64_t{1} << 48};

/// One message of such a connection, in deterministic CBOR.
struct carried {
    carried_kind kind = carried_kind::unasked;
    std::uint64_t number = 0;                   ///< of the request, which its reply repeats; 0 for `unasked`
    bytes_view body{};                          ///< borrowed
    errc error{};                               ///< of `failed`
    std::optional<milliseconds> retry_after{};  ///< of `failed`; >= 0; longer than `carried_wait_max` is sent as that
};

/// Preconditions: as the members say.
[[nodiscard]] inline bytes encode(carried const& m) {
    bytes out;
    out.reserve(m.body.size() + carried_bytes_max);
    cbor_writer w(out);
    w.array(m.kind == carried_kind::unasked ? 2 : m.kind == carried_kind::failed ? 4 : 3);
    w.unsigned_integer(static_cast<std::uint64_t>(m.kind));
    if (m.kind != carried_kind::unasked) { w.unsigned_integer(m.number); }
    if (m.kind != carried_kind::failed) {
        w.byte_string(m.body);
        return out;
    }
    w.unsigned_integer(static_cast<std::uint64_t>(m.error));
    if (m.retry_after) {
        w.unsigned_integer(static_cast<std::uint64_t>((std::min)(*m.retry_after, carried_wait_max).count()));
    } else {
        w.null();
    }
    return out;
}

/// A stranger's message; its body is borrowed from `message`. Errors: those of `cbor_reader`, `unsupported` for an unknown
/// kind.
[[nodiscard]] inline result<carried> decode_carried(bytes_view message) {
    decode_limits const limits{
        .bytes_max = message.size(), .string_max = message.size(), .work_max = ~std::uint64_t{0}};
    cbor_reader in(message, limits);
    carried m;
    std::size_t const n = in.array();
    std::uint64_t const kind = in.unsigned_integer();
    if (!in.failed() && (kind < 1 || kind > 4)) { in.fail({errc::unsupported, "kind of a carried message"}); }
    m.kind = static_cast<carried_kind>(kind & 7);
    std::size_t const wanted = m.kind == carried_kind::unasked ? 2 : m.kind == carried_kind::failed ? 4 : 3;
    if (n != wanted) { in.fail({errc::malformed, "carried message of the wrong length"}); }
    if (m.kind != carried_kind::unasked) { m.number = in.unsigned_integer(); }
    if (m.kind != carried_kind::failed) {
        m.body = in.byte_string();
    } else {
        std::uint64_t const error = in.unsigned_integer();
        if (error == 0 || error > 0xFF) { in.fail({errc::malformed, "failure without a code"}); }
        m.error = static_cast<errc>(error & 0xFF);
        if (!in.null()) {
            std::uint64_t const wait = in.unsigned_integer();
            if (wait > static_cast<std::uint64_t>(carried_wait_max.count())) {
                in.fail({errc::overflow, "wait out of range"});
            }
            m.retry_after = milliseconds{static_cast<milliseconds::rep>(wait & ((std::uint64_t{1} << 49) - 1))};
        }
    }
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    return m;
}

}  // namespace syncline::inline SYNCLINE_ABI
