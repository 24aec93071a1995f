// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What can fail at run time: one closed, numbered enumeration that is a `std::error_code`.

#include <cstdint>
#include <string>
#include <system_error>
#include <type_traits>

#include <syncline/core/config.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What can fail at run time. Values travel in logs and messages: append, never renumber.
///
/// "State unchanged" speaks of the object that answered; a transaction in which a call failed may
/// still be rolled back or, unless the code says otherwise, go on.
enum class errc : std::uint8_t {
    storage_full = 1,   ///< no room; state unchanged; free space, then retry
    storage_io = 2,     ///< the medium failed; state unchanged; the store is poisoned, reopen it
    malformed = 3,      ///< bytes do not parse; state unchanged; drop the message
    limit = 4,          ///< a declared limit would be exceeded; state unchanged
    stamp_too_far = 5,  ///< remote stamp too far ahead; quarantined; the clock did not move
    busy = 6,       ///< in use (another transaction is open, a lock was not had in time); state unchanged; retry later
    contended = 7,  ///< a race with another writer was lost; rolled back; run the transaction again
    transaction_lost = 8,  ///< the engine rolled the whole transaction back, the host's too; begin again
    poisoned = 9,          ///< an earlier failure left the store unusable; reopen it
    read_only = 10,        ///< a write on what is open for reading; state unchanged
    corrupt = 11,          ///< a stored value is damaged; state unchanged; restore or resynchronise it
    invalid = 12,         ///< a value that the operation can't take (not UTF-8, NaN as a counter, …); state unchanged
    not_found = 13,       ///< no such record, entry or conflict; state unchanged
    already_exists = 14,  ///< the record lives already; state unchanged
    type_mismatch = 15,   ///< the value has another type than its field; state unchanged
    unsupported = 16,     ///< a version or mandatory feature that this build does not know; state unchanged; upgrade
    not_deterministic = 17,  ///< well-formed, but not in the one canonical form; state unchanged; drop the message
    overflow = 18,           ///< a number left its range; state unchanged
    unreachable = 19,        ///< the peer was not reached; it did not act; retry later
    timed_out = 20,          ///< no answer in time; the peer may have acted; retry, it is idempotent
    connection_lost = 21,    ///< broken in the middle; the peer may have acted; retry, it is idempotent
    unauthorised = 22,       ///< the peer does not accept the credentials; sign in again
    forbidden = 23,          ///< the principal may not do this; retrying does not help
    throttled = 24,          ///< the peer asks for fewer requests; retry after its hint
    too_large = 25,          ///< larger than the peer takes; send less
    foreign = 26,      ///< an answer that isn't the peer's (captive portal, proxy page); retry when the network is real
    peer_failed = 27,  ///< the peer answered that it failed; retry later
    rejected = 28,     ///< the peer refused the request as it is; retrying does not help
    claim_lost = 29,   ///< the lease passed to another claimant; drop the work, it is theirs
    identity_fork = 30,      ///< one mutation identity with two contents; refused and kept; take a new incarnation
    authority_changed = 31,  ///< the authority is another, or was put back to an older state; the cursor is not trusted
    cancelled = 32,          ///< given up before it was done; the peer may have acted
};

/// A short text in English, for logs. "unknown error" for a number that no enumerator has.
[[nodiscard]] constexpr char const* message(errc e) noexcept {
    switch (e) {
        case errc::storage_full: return "storage full";
        case errc::storage_io: return "storage input/output error";
        case errc::malformed: return "malformed input";
        case errc::limit: return "limit exceeded";
        case errc::stamp_too_far: return "remote timestamp too far ahead";
        case errc::busy: return "busy";
        case errc::contended: return "lost a race with another writer";
        case errc::transaction_lost: return "transaction rolled back by the storage engine";
        case errc::poisoned: return "storage unusable after an earlier failure";
        case errc::read_only: return "write on something open for reading";
        case errc::corrupt: return "stored value damaged";
        case errc::invalid: return "invalid value";
        case errc::not_found: return "not found";
        case errc::already_exists: return "already exists";
        case errc::type_mismatch: return "value of the wrong type";
        case errc::unsupported: return "unsupported version or feature";
        case errc::not_deterministic: return "not in canonical form";
        case errc::overflow: return "number out of range";
        case errc::unreachable: return "peer unreachable";
        case errc::timed_out: return "timed out";
        case errc::connection_lost: return "connection lost";
        case errc::unauthorised: return "credentials not accepted";
        case errc::forbidden: return "forbidden";
        case errc::throttled: return "throttled by the peer";
        case errc::too_large: return "too large for the peer";
        case errc::foreign: return "answer from someone other than the peer";
        case errc::peer_failed: return "peer failed";
        case errc::rejected: return "rejected";
        case errc::claim_lost: return "claim lost to another claimant";
        case errc::identity_fork: return "one identity with two contents";
        case errc::authority_changed: return "authority changed or restored";
        case errc::cancelled: return "cancelled";
    }
    return "unknown error";
}

namespace detail {

class error_category final : public std::error_category {
public:
    [[nodiscard]] char const* name() const noexcept override { return "syncline"; }
    [[nodiscard]] std::string message(int code) const override {
        bool const known = code > 0 && code < 256;
        return syncline::message(known ? static_cast<errc>(code) : errc{});
    }
};

inline const error_category category_instance{};

}  // namespace detail

/// The category of `errc`; named "syncline".
[[nodiscard]] inline std::error_category const& category() noexcept { return detail::category_instance; }

[[nodiscard]] inline std::error_code make_error_code(errc e) noexcept { return {static_cast<int>(e), category()}; }

}  // namespace syncline::inline SYNCLINE_ABI

template <>
struct std::is_error_code_enum<syncline::errc> : std::true_type {};
