// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Unasked messages over a way on which only one end can speak first: it asks, and the answer comes when there is one.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Asks for what is to be said in a session: `[5, session]`. Requests, replies and failures beside it are those of
/// transport/carried.hpp, with the session for their number; in a request 0 asks for a new session, whose number the reply
/// has.
struct live_poll {
    std::uint64_t session = 0;
    friend bool operator==(live_poll const&, live_poll const&) = default;
};

[[nodiscard]] inline bytes encode(live_poll const& p) {
    bytes out;
    cbor_writer w(out);
    w.array(2);
    w.unsigned_integer(5);
    w.unsigned_integer(p.session);
    return out;
}
/// Whether a message is one by its first bytes; `decode_live_poll` says whether it is whole.
[[nodiscard]] inline bool is_live_poll(bytes_view message) noexcept {
    return message.size() > 2 && message[0] == std::byte{0x82} && message[1] == std::byte{5};
}
/// A stranger's message. Errors: those of `cbor_reader`.
[[nodiscard]] inline result<live_poll> decode_live_poll(bytes_view message) {
    cbor_reader in(message, decode_limits{});
    if (in.array() != 2 || in.unsigned_integer() != 5) { in.fail({errc::malformed, "not a poll"}); }
    live_poll p;
    p.session = in.unsigned_integer();
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    return p;
}

/// Bytes that an answer to a poll adds: once, and to each message.
inline constexpr std::size_t polled_bytes_max = 16;

/// The answer to a poll: `[6, [messages]]`, in the order in which they were said; none when the time for it is over.
[[nodiscard]] inline bytes encode_polled(std::vector<bytes> const& messages) {
    bytes out;
    cbor_writer w(out);
    w.array(2);
    w.unsigned_integer(6);
    w.array(messages.size());
    for (bytes const& m : messages) { w.byte_string(m); }
    return out;
}
/// A stranger's answer; the messages are borrowed from it. Errors: those of `cbor_reader`.
[[nodiscard]] inline result<std::vector<bytes_view>> decode_polled(bytes_view answer) {
    decode_limits const limits{.bytes_max = answer.size(), .string_max = answer.size(), .work_max = ~std::uint64_t{0}};
    cbor_reader in(answer, limits);
    if (in.array() != 2 || in.unsigned_integer() != 6) { in.fail({errc::malformed, "not an answer to a poll"}); }
    std::size_t const n = in.array();
    std::vector<bytes_view> messages;
    // Each message has one byte at least, so what is promised without being there ends the loop.
    for (std::size_t i = 0; i < n && !in.failed(); ++i) { messages.push_back(in.byte_string()); }
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    return messages;
}

}  // namespace syncline::inline SYNCLINE_ABI
