// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What kind of failure it was, which says what to do: the classes, and the default mappings to them.

#include <cstdint>
#include <system_error>

#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What to do about a failure. Stored: append, never renumber.
enum class failure_class : std::uint8_t {
    transient = 1,     ///< may succeed later as it is: retry
    throttled = 2,     ///< too much was asked: retry later, not before the peer's hint
    unauthorised = 3,  ///< sign in again, then retry
    rejected = 4,      ///< will never succeed as it is: give it up, keep it as a dead letter
    conflict = 5,      ///< the peer's state is another than was thought: merge, then send what came of it
    too_large = 6,     ///< send less
    unknown = 7,       ///< nobody knows: park it for a person; never retried, never dropped
};

/// A word for logs. "unknown" for a number that no enumerator has.
[[nodiscard]] constexpr char const* name(failure_class c) noexcept {
    switch (c) {
        case failure_class::transient: return "transient";
        case failure_class::throttled: return "throttled";
        case failure_class::unauthorised: return "unauthorised";
        case failure_class::rejected: return "rejected";
        case failure_class::conflict: return "conflict";
        case failure_class::too_large: return "too large";
        case failure_class::unknown: break;
    }
    return "unknown";
}

/// The class of a failure by its code. Every other mapping goes through `errc` and so agrees with this one.
[[nodiscard]] constexpr failure_class classify(errc e) noexcept {
    switch (e) {
        case errc::busy:
        case errc::contended:
        case errc::transaction_lost:
        case errc::storage_full:
        case errc::unreachable:
        case errc::timed_out:
        case errc::connection_lost:
        case errc::foreign:
        case errc::peer_failed:
        case errc::cancelled: return failure_class::transient;
        case errc::throttled: return failure_class::throttled;
        case errc::unauthorised: return failure_class::unauthorised;
        case errc::malformed:
        case errc::not_deterministic:
        case errc::stamp_too_far:
        case errc::invalid:
        case errc::not_found:
        case errc::type_mismatch:
        case errc::unsupported:
        case errc::overflow:
        case errc::forbidden:
        case errc::rejected: return failure_class::rejected;
        case errc::already_exists:
        case errc::claim_lost: return failure_class::conflict;
        case errc::too_large:
        case errc::limit: return failure_class::too_large;
        case errc::storage_io:
        case errc::poisoned:
        case errc::read_only:
        case errc::corrupt:
        case errc::identity_fork:
        case errc::authority_changed: break;
    }
    return failure_class::unknown;
}

/// The class of a failure: by its code, but for a peer's failure that was the HTTP status 409 or 412, which is a conflict.
[[nodiscard]] constexpr failure_class classify(failure const& f) noexcept {
    bool const conflict =
        (f.code == errc::peer_failed && f.native == 409) || (f.code == errc::rejected && f.native == 412);
    return conflict ? failure_class::conflict : classify(f.code);
}

/// What an HTTP status says of an exchange; `native` is the status itself.
///
/// | status                                | result           | because                                                |
/// | 2xx                                   | ok               | if the content type is ours too                        |
/// | 401                                   | unauthorised     |                                                        |
/// | 402, 403, 451                         | forbidden        |                                                        |
/// | 408                                   | timed_out        | it may have acted                                      |
/// | 413                                   | too_large        |                                                        |
/// | 429                                   | throttled        |                                                        |
/// | 404, 405, 406, 407, 410, 421, 511     | foreign          | nobody of ours lives there: a wrong path, a proxy, a   |
/// | 1xx, 3xx, what is no HTTP status      |                  | captive portal. Waiting is safe, giving up is not      |
/// | 409, 423, 425, any other 5xx          | peer_failed      | the same request may succeed later                     |
/// | any other 4xx (400, 415, 422, 426, …) | rejected         | the same request will fail again                       |
/// Only failures that the transport contract names come out; `classify` of one is its class, where 409 and 412 are
/// conflicts. Source: RFC 9110 §15, RFC 6585.
[[nodiscard]] inline status from_http_status(int code) noexcept {
    auto const as = [code](errc e, char const* detail) { return failure{e, detail, code}; };
    switch (code) {
        case 401: return as(errc::unauthorised, "the peer does not accept the token");
        case 402:
        case 403:
        case 451: return as(errc::forbidden, "the peer forbids it");
        case 408: return as(errc::timed_out, "the peer gave up waiting for the request");
        case 413: return as(errc::too_large, "the peer takes only smaller requests");
        case 429: return as(errc::throttled, "the peer asks for fewer requests");
        case 404:
        case 405:
        case 406:
        case 410:
        case 421: return as(errc::foreign, "no peer of ours at this address");
        case 407: return as(errc::foreign, "a proxy wants to know who asks");
        case 511: return as(errc::foreign, "a captive portal wants a sign-in");
        case 409:
        case 423:
        case 425: return as(errc::peer_failed, "the peer can't do it now");
        default: break;
    }
    if (code >= 200 && code < 300) { return {}; }
    if (code >= 300 && code < 400) { return as(errc::foreign, "a redirection, which is not followed"); }
    if (code >= 400 && code < 500) { return as(errc::rejected, "the peer refused the request"); }
    if (code >= 500 && code < 600) { return as(errc::peer_failed, "the peer failed"); }
    return as(errc::foreign, "not a final HTTP status");
}

/// The class of an HTTP status that is not 2xx; `unknown` for one that is, as it is no failure.
[[nodiscard]] inline failure_class classify_http_status(int code) noexcept {
    status const s = from_http_status(code);
    return s ? failure_class::unknown : classify(s.error());
}

/// What a system's error says in our words, `native` being its number: what sockets and files answer.
/// `storage_io` for one that says nothing to us. Source: POSIX.1-2017, <errno.h>.
[[nodiscard]] constexpr failure from_errc(std::errc e) noexcept {
    auto const as = [e](errc code) { return failure{code, "system error", static_cast<std::int32_t>(e)}; };
    switch (e) {
        case std::errc::connection_refused:
        case std::errc::host_unreachable:
        case std::errc::network_unreachable:
        case std::errc::network_down:
        case std::errc::address_not_available:
        case std::errc::not_connected: return as(errc::unreachable);
        case std::errc::timed_out: return as(errc::timed_out);
        case std::errc::connection_reset:
        case std::errc::connection_aborted:
        case std::errc::network_reset:
        case std::errc::broken_pipe: return as(errc::connection_lost);
        case std::errc::operation_canceled: return as(errc::cancelled);
        case std::errc::interrupted:
        case std::errc::resource_unavailable_try_again:
        case std::errc::device_or_resource_busy:
        case std::errc::text_file_busy:
        case std::errc::too_many_files_open:
        case std::errc::too_many_files_open_in_system:
        case std::errc::no_buffer_space:
        case std::errc::not_enough_memory:
        case std::errc::no_lock_available:
        case std::errc::resource_deadlock_would_occur: return as(errc::busy);
        case std::errc::no_space_on_device: return as(errc::storage_full);
        case std::errc::read_only_file_system: return as(errc::read_only);
        case std::errc::permission_denied:
        case std::errc::operation_not_permitted: return as(errc::forbidden);
        case std::errc::file_exists: return as(errc::already_exists);
        case std::errc::no_such_file_or_directory: return as(errc::not_found);
        case std::errc::message_size:
        case std::errc::argument_list_too_long:
        case std::errc::filename_too_long:
        case std::errc::file_too_large: return as(errc::too_large);
        case std::errc::invalid_argument:
        case std::errc::illegal_byte_sequence:
        case std::errc::argument_out_of_domain: return as(errc::invalid);
        case std::errc::result_out_of_range:
        case std::errc::value_too_large: return as(errc::overflow);
        case std::errc::function_not_supported:
        case std::errc::not_supported:
        case std::errc::protocol_not_supported:
        case std::errc::address_family_not_supported: return as(errc::unsupported);
        case std::errc::bad_message:
        case std::errc::protocol_error: return as(errc::malformed);
        default: return as(errc::storage_io);
    }
}
[[nodiscard]] constexpr failure_class classify(std::errc e) noexcept { return classify(from_errc(e)); }

/// The class of an SQLite result code, primary or extended; `unknown` for what is no error. Agrees with what the
/// adapter makes of the code (`from_sqlite`), and needs no SQLite: the numbers are part of its interface.
/// Source: https://www.sqlite.org/rescode.html
[[nodiscard]] constexpr failure_class classify_sqlite(int code) noexcept {
    switch (code) {
        case 1 | (3 << 8):                                     // ERROR_SNAPSHOT
        case 10 | (12 << 8): return failure_class::transient;  // IOERR_NOMEM
        case 8 | (4 << 8): return failure_class::unknown;      // READONLY_DBMOVED
        default: break;
    }
    switch (code & 0xFF) {
        case 4:                                    // ABORT
        case 5:                                    // BUSY
        case 6:                                    // LOCKED
        case 7:                                    // NOMEM
        case 9:                                    // INTERRUPT
        case 13:                                   // FULL
        case 15:                                   // PROTOCOL
        case 17: return failure_class::transient;  // SCHEMA
        case 3:                                    // PERM
        case 12:                                   // NOTFOUND
        case 19:                                   // CONSTRAINT
        case 20:                                   // MISMATCH
        case 23:                                   // AUTH
        case 24:                                   // FORMAT
        case 25: return failure_class::rejected;   // RANGE
        case 18:                                   // TOOBIG
        case 22: return failure_class::too_large;  // NOLFS
        default: return failure_class::unknown;
    }
}

}  // namespace syncline::inline SYNCLINE_ABI
