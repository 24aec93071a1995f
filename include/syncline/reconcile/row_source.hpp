// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `row_source`: the host's rows as reconciliation sees them, keys in order with the versions that they have now.

#include <concepts>
#include <cstddef>

#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// The longest key of a row that takes part, and the longest bound of a range.
inline constexpr std::size_t reconcile_key_bytes_max = 400;

/// Where the rows are: the host's table, seen through the transaction that the call is given.
///
/// Notation: `r` lvalue of R, `k` key (1..511 bytes), `out` lvalue of bytes, `visit` called with key and version.
/// | expression            | result         | meaning                                                                   |
/// | r.get(k, out)         | result<bool>   | true: `out` is the row's version; false: no such row                        |
/// | r.scan(range, visit)  | status         | each row of the range once, ascending byte order of the keys; stops when told |
/// A version is any byte string that differs where rows differ: a hash, a position, a stamp with its author. A
/// tombstone is a row too, with its own version, for as long as it is kept.
/// Axioms (the compiler can't check them):
///   order      as of `storage_transaction`
///   current    get and scan see the transaction's own writes
///   agreement  two replicas hold the same row exactly when they give the same version for its key
/// A `keyspace` whose values are the versions models it.
template <class R>
concept row_source = requires(R& r, bytes_view k, bytes& out, key_range range, scan_visitor visit) {
    { r.get(k, out) } -> std::same_as<result<bool>>;
    { r.scan(range, visit) } -> std::same_as<status>;
};

/// Models `row_source` and nothing else. Every call fails.
class row_source_archetype {
public:
    row_source_archetype() = delete;
    row_source_archetype(row_source_archetype const&) = delete;
    row_source_archetype& operator=(row_source_archetype const&) = delete;
    ~row_source_archetype() = default;

    result<bool> get(bytes_view, bytes&) { return errc::unsupported; }
    status scan(key_range, scan_visitor) { return errc::unsupported; }
};

/// Lacks one requirement (1: get, 2: scan): the concept must refuse it.
template <int Missing>
struct row_source_without {
    result<bool> get(bytes_view, bytes&) requires(Missing != 1) { return errc::unsupported; }
    status scan(key_range, scan_visitor) requires(Missing != 2) { return errc::unsupported; }
};

static_assert(row_source<row_source_archetype> && row_source<row_source_without<0>>);
static_assert(!row_source<row_source_without<1>> && !row_source<row_source_without<2>>);

}  // namespace syncline::inline SYNCLINE_ABI
