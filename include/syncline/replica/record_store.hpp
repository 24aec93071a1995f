// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Where a replica's records live: the concept that a host may model, and the default, which keeps them in storage.

#include <concepts>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/record.hpp>
#include <syncline/storage/keyspace.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// A record as a store holds it.
struct held_record {
    bool pending = false;    ///< mutations wait: what is confirmed is kept beside what is visible
    position confirmed = 0;  ///< version of the confirmed row; 0: the authority has none
    row visible{};           ///< a tombstone too
    friend bool operator==(held_record const&, held_record const&) = default;
};

/// Takes a record's key and what is held of it; false ends the scan. Both are borrowed for the call.
using held_visitor = function_ref<bool(record_key const&, held_record&)>;

/// Where the records of a replica live.
///
/// Notation: `s` a constant R, `tx` a transaction of the storage T, `k` a valid record key, `h` a held_record, `c` a
/// pointer to a row or null.
/// | expression                  | result                             | meaning                                     |
/// | s.find(tx, k)               | result<std::optional<held_record>> | what is held; nothing if nothing is         |
/// | s.find_confirmed(tx, k)     | result<std::optional<row>>         | while mutations wait, the confirmed row that is kept |
/// | s.put(tx, k, h, c)          | status                             | holds `h`; with `c` also that row as the confirmed one |
/// | s.drop_confirmed(tx, k)     | status                             | no longer keeps a confirmed row; succeeds where none is kept |
/// | s.erase(tx, k)              | status                             | forgets both; succeeds where nothing is held |
/// | s.scan(tx, collection, visit) | status                           | every held record of a collection           |
/// | s.scan_range(tx, from, to, visit) | status                       | every held record from `from` on, before `to`: bytes that are compared with `to_bytes(k)` |
/// Preconditions of put: `c` is null unless `h.pending`, and where it isn't, no confirmed row is kept: who ends the
/// wait drops it first.
/// Axioms (testing/record_store_conformance.hpp tries them by these names):
///   exactness: what was put comes back equal, each field of the row byte for byte: fields that no column has,
///     tombstones with fields and without, marks with paths;
///   read_your_writes: in the same transaction, and after its commit;
///   confirmed_apart: a put without `c` leaves the confirmed row as it was, also where there is none;
///   clean_is_single: what is dropped is no longer kept, and the record stays as it is;
///   separation: a call on one key changes no other, of whatever collection;
///   order: a scan visits the collection's records once each, in the byte order of their ids, one of a range the range's
///     in the byte order of their keys;
///   atomicity: what was put in a transaction that is not committed never was.
/// A record that is damaged, or was changed by another than the store, is `corrupt`: that one only.
template <class R, class T>
concept record_store = requires(R const& s, typename T::transaction& tx, record_key const& k, held_record const& h,
                                row const* c, std::string_view collection, bytes_view bound, held_visitor visit) {
    { s.find(tx, k) } -> std::same_as<result<std::optional<held_record>>>;
    { s.find_confirmed(tx, k) } -> std::same_as<result<std::optional<row>>>;
    { s.put(tx, k, h, c) } -> std::same_as<status>;
    { s.drop_confirmed(tx, k) } -> std::same_as<status>;
    { s.erase(tx, k) } -> std::same_as<status>;
    { s.scan(tx, collection, visit) } -> std::same_as<status>;
    { s.scan_range(tx, bound, bound, visit) } -> std::same_as<status>;
};

/// The default: records in storage, under keys that begin with "rv", and what is confirmed of those on which mutations
/// wait under "rb". Any storage. A call is one or two operations of it.
class stored_records {
public:
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<held_record>> find(Tx& tx, record_key const& k) const {
        result<std::optional<held_record>> held{std::optional<held_record>{}};
        auto const found = view_value(tx, record_entry("rv", k), [&](bytes_view raw) {
            auto one = parse(raw);
            if (one) {
                *held = std::move(*one);
            } else {
                held = one.error();
            }
        });
        if (!found) { return found.error(); }
        return held;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<row>> find_confirmed(Tx& tx, record_key const& k) const {
        std::optional<row> r;
        status good;
        auto const found = view_value(tx, record_entry("rb", k), [&](bytes_view raw) {
            cbor_reader in{raw};
            r = decode_row(in);
            if (!in.finish()) { good = failure{errc::corrupt, "confirmed record"}; }
        });
        if (!found) { return found.error(); }
        if (!good) { return good.error(); }
        return r;
    }
    template <storage_transaction Tx>
    [[nodiscard]] status put(Tx& tx, record_key const& k, held_record const& h, row const* confirmed) const {
        SYNCLINE_ASSERT(h.pending || confirmed == nullptr);
        if (confirmed != nullptr) {
            detail::scratch_room<512> room{encoded_row_max(*confirmed)};
            cbor_room_writer w{room};
            encode_row_in(w, *confirmed);
            if (auto ok = tx.put(record_entry("rb", k), w.written()); !ok) { return ok; }
        }
        detail::scratch_room<512> room{16 + encoded_row_max(h.visible)};
        cbor_room_writer w{room};
        if (h.pending || h.confirmed != h.visible.version) {
            w.array(3);
            w.boolean(h.pending);
            w.unsigned_integer(h.confirmed);
        }
        encode_row_in(w, h.visible);
        return tx.put(record_entry("rv", k), w.written());
    }
    template <storage_transaction Tx>
    [[nodiscard]] status drop_confirmed(Tx& tx, record_key const& k) const {
        return tx.erase(record_entry("rb", k));
    }
    template <storage_transaction Tx>
    [[nodiscard]] status erase(Tx& tx, record_key const& k) const {
        if (auto ok = tx.erase(record_entry("rb", k)); !ok) { return ok; }
        return tx.erase(record_entry("rv", k));
    }
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, std::string_view collection, held_visitor visit) const {
        bytes first;
        append_key(first, collection, {});
        return scan_range(tx, first, prefix_end(first), visit);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status scan_range(Tx& tx, bytes_view from, bytes_view to, held_visitor visit) const {
        bytes first{std::byte{'r'}, std::byte{'v'}};
        bytes last = first;
        append(first, from);
        append(last, to);
        status outcome;
        auto ok = tx.scan({first, last}, [&](bytes_view at, bytes_view raw) {
            auto const k = record_key_from(at.subspan(2));
            auto held = parse(raw);
            if (!k || !held) {
                outcome = failure{errc::corrupt, "visible record"};
                return false;
            }
            return visit(*k, *held);
        });
        return ok ? outcome : ok;
    }
    /// What a value under "rv" says: the row, if it is the confirmed one; else an array of three, pending or not, the
    /// version of the confirmed row, the row. `errc::corrupt` for anything else.
    [[nodiscard]] static result<held_record> parse(bytes_view raw) {
        held_record h;
        cbor_reader in{raw};
        bool const apart = !raw.empty() && raw[0] == std::byte{0x83};
        if (apart) {
            (void)in.array();
            h.pending = in.boolean();
            h.confirmed = in.unsigned_integer();
        }
        h.visible = decode_row(in);
        if (!apart) { h.confirmed = h.visible.version; }
        if (!in.finish()) { return failure{errc::corrupt, "visible record"}; }
        return h;
    }
};

}  // namespace syncline::inline SYNCLINE_ABI
