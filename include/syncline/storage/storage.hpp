// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The `storage` concept: an ordered byte-string map with transactions, modelled by the host's database.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <syncline/core/bytes.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What a transaction may do.
enum class access_mode : std::uint8_t {
    /// Sees one consistent state from its first get or scan to its end; put and erase answer `errc::read_only`.
    read,
    write,  ///< one at a time in the whole store: a second writer waits or gets `errc::busy`
};

/// What a successful `commit()` promises about power loss. Said, not assumed.
enum class durability : std::uint8_t {
    none,     ///< nothing (memory, or inside the host's own open transaction)
    ordered,  ///< a later commit never survives without the earlier ones; the last few may go
    full,     ///< survives
};

inline constexpr std::size_t key_bytes_max = 511;  ///< every model takes keys of 1 to so many bytes
inline constexpr std::size_t value_bytes_min_max = std::size_t{16}
                                                   << 20;  ///< every model takes values at least so long

/// Keys from `from` (included) to `to` (excluded); an empty `to` is no upper bound. A bound is no key: it may be of
/// any length ("after this key" is the key and a zero byte).
struct key_range {
    bytes_view from{};
    bytes_view to{};
};

/// Called with each key and value of a scan; both live for the call only. False stops the scan.
/// It may read through the same transaction, and must neither write nor end it.
using scan_visitor = function_ref<bool(bytes_view key, bytes_view value)>;

/// One open transaction as a component sees it.
///
/// Notation: `t` lvalue of T, `k` key (1..511 bytes), `v` value (0..the model's limit), `out` lvalue of bytes.
/// | expression            | result         | meaning                                                                  |
/// | t.get(k, out)         | result<bool>   | true: `out` is the value; false: no such key, `out` is empty               |
/// | t.put(k, v)           | status         | visible to this transaction at once; on error nothing changed              |
/// | t.erase(k)            | status         | of an absent key succeeds                                                  |
/// | t.scan(range, visit)  | status         | ascending byte order, own writes included, each key once                   |
/// A key outside 1..511 bytes is `errc::invalid`, a value over the limit `errc::limit`, a write through a
/// transaction for reading `errc::read_only`: in each case nothing changed and the transaction goes on.
/// Axioms (the compiler can't check them; testing/storage_conformance.hpp does, by these names):
///   read_your_writes  get and scan see the transaction's own puts and erases
///   order             scan gives each key of the range once, in ascending byte order, and stops when told
///   limits            what is out of range is refused as said above, nothing else is
/// Threads: the caller serialises.
template <class T>
concept storage_transaction = requires(T& t, bytes_view k, bytes_view v, bytes& out, key_range range,
                                       scan_visitor visit) {
    { t.get(k, out) } -> std::same_as<result<bool>>;
    { t.put(k, v) } -> std::same_as<status>;
    { t.erase(k) } -> std::same_as<status>;
    { t.scan(range, visit) } -> std::same_as<status>;
};

/// A store.
///
/// Notation: `s` lvalue of S, `t` lvalue of `S::transaction`.
/// | expression             | result                  | meaning                                                       |
/// | s.begin(access_mode)   | result<S::transaction>  | `errc::busy` while one is open on the same object             |
/// | t.commit()             | status                  | all writes or none; ends the transaction whatever it answers  |
/// | destruction of `t`     |                         | rolls back when not committed                                 |
/// | s.barrier()            | status                  | all that was committed so far survives power loss             |
/// | s.commit_durability()  | durability              | what a commit promises now                                    |
/// | s.value_bytes_max()    | std::size_t             | longest value, at least 16 MiB                                |
/// Axioms, by name, beside those of `storage_transaction`:
///   atomicity    an uncommitted or failed transaction leaves no trace, a committed one is whole
///   isolation    objects on one store are serialisable: a read transaction sees one state, that of a moment between
///                its begin and its first get or scan (the model chooses it), and no later one; a lost race is
///                `errc::contended` or `errc::busy`, never a lost update
///   one_open     begin on an object with an open transaction is `errc::busy`; the open one goes on
///   durability   a reopened store holds everything committed, at the durability said
/// Where commits promise none, one may damage what was there, after a barrier too.
/// A failed commit leaves the old state; `errc::transaction_lost` says that the engine rolled back the
/// host's transaction too; after a failed sync the store answers `errc::poisoned` until reopened.
template <class S>
concept storage = storage_transaction<typename S::transaction> && std::movable<typename S::transaction> &&
    requires(S& s, S const& c, typename S::transaction& t, access_mode a) {
    { s.begin(a) } -> std::same_as<result<typename S::transaction>>;
    { t.commit() } -> std::same_as<status>;
    { s.barrier() } -> std::same_as<status>;
    { c.commit_durability() } -> std::same_as<durability>;
    { c.value_bytes_max() } -> std::same_as<std::size_t>;
};

/// The value of a key, or nothing.
template <storage_transaction T>
[[nodiscard]] result<std::optional<bytes>> get(T& tx, bytes_view key) {
    bytes out;
    auto found = tx.get(key, out);
    if (!found) { return found.error(); }
    if (!*found) { return std::optional<bytes>{}; }
    return std::optional<bytes>{std::move(out)};
}

/// Calls `read(value)` with a key's value, borrowed for the call, in which nothing is written; false: no such key, and no
/// call. A transaction that has a `view` of its own copies nothing; of any other it is a `get`.
template <storage_transaction T, class F>
[[nodiscard]] result<bool> view_value(T& tx, bytes_view key, F&& read) {
    if constexpr (requires {
                      { tx.view(key, read) } -> std::same_as<result<bool>>;
                  }) {
        return tx.view(key, read);
    } else {
        bytes out;
        auto const found = tx.get(key, out);
        if (found && *found) { read(bytes_view{out}); }
        return found;
    }
}

/// The first key that is after every key beginning with `prefix`; empty when there is none.
[[nodiscard]] inline bytes prefix_end(bytes_view prefix) {
    bytes end = to_bytes(prefix);
    while (!end.empty() && end.back() == std::byte{0xFF}) { end.pop_back(); }
    if (!end.empty()) { end.back() = static_cast<std::byte>(std::to_integer<unsigned>(end.back()) + 1U); }
    return end;
}

/// Visits every key that begins with `prefix`, in order.
template <storage_transaction T>
[[nodiscard]] status scan_prefix(T& tx, bytes_view prefix, scan_visitor visit) {
    bytes const end = prefix_end(prefix);
    return tx.scan({prefix, end}, visit);
}

}  // namespace syncline::inline SYNCLINE_ABI
