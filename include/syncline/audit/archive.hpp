// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Sealed segments: a run of entries as one CBOR item that proves itself, for wherever old entries are kept.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/audit/entry.hpp>
#include <syncline/audit/head.hpp>
#include <syncline/audit/merkle.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::uint64_t audit_archive_format = 1;

/// What an archive says of itself, before its entries.
struct archive_header {
    audit_head head{};          ///< of the whole log when it was made
    std::uint64_t first = 0;    ///< index of the first entry
    std::uint64_t last = 0;     ///< of the one behind the last
    merkle_frontier left{};     ///< of what stood before it
    consistency_proof right{};  ///< from `last` to the head
};

/// What an archive was found to be.
struct archive_summary {
    audit_head head{};
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    sha256_digest root_before{};        ///< of the tree of `first` leaves: the archive before ends with it
    sha256_digest root_after{};         ///< of the tree of `last` leaves
    std::uint64_t redacted = 0;         ///< entries whose private part is not there
    std::uint64_t redacted_fields = 0;  ///< personal fields that are not there, where the private part is
    friend bool operator==(archive_summary const&, archive_summary const&) = default;
};

/// Called with each entry of an archive. False stops.
using archive_visitor = function_ref<bool(audit_entry const& entry)>;

/// Appends what stands before the entries; as many entries as `last - first` follow.
inline void write_archive_header(cbor_writer& out, archive_header const& h) {
    out.array(8);
    out.unsigned_integer(audit_archive_format);
    out.text("syncline audit archive");
    out.raw(encode(h.head));
    out.unsigned_integer(h.first);
    out.unsigned_integer(h.last);
    write_path(out, h.left.nodes());
    write_path(out, h.right.path);
    out.array(static_cast<std::size_t>(h.last - h.first));
}
/// Appends an entry: its leaf's data, and what opens its commitment or null.
inline void write_archive_entry(cbor_writer& out, bytes_view leaf, audit_opening const* opening) {
    out.array(2);
    out.byte_string(leaf);
    if (opening == nullptr) {
        out.null();
        return;
    }
    out.array(opening->fields.empty() ? 2 : 3);
    out.byte_string(opening->salt);
    out.byte_string(opening->secret);
    if (!opening->fields.empty()) { out.raw(opening->fields); }
}

namespace detail {

/// Reads what `write_archive_header` wrote; the reader stands at the first entry, or has failed.
[[nodiscard]] inline archive_header read_archive_header(cbor_reader& in) {
    archive_header h;
    if (in.array() != 8) { in.fail({errc::malformed, "archive of the wrong length"}); }
    if (std::uint64_t const format = in.unsigned_integer(); !in.failed() && format != audit_archive_format) {
        in.fail({errc::unsupported, "format of an archive"});
    }
    if (in.text() != "syncline audit archive") { in.fail({errc::malformed, "not an archive"}); }
    h.head = decode_head(in);
    h.first = in.unsigned_integer();
    h.last = in.unsigned_integer();
    auto left = merkle_frontier::from(h.first, read_path(in));
    if (!in.failed() && !left) { in.fail(left.error()); }
    if (left) { h.left = std::move(*left); }
    h.right = {h.last, h.head.size, read_path(in)};
    std::size_t const n = in.array();
    bool const ranges = h.first < h.last && h.last <= h.head.size && n == h.last - h.first;
    if (!in.failed() && !ranges) { in.fail({errc::malformed, "range of an archive"}); }
    return h;
}

/// One entry of an archive, as it stands there.
struct archived_entry {
    bytes_view leaf{};
    bool has_opening = false;
    bytes_view salt{};
    bytes_view secret{};
    bytes_view fields{};  ///< what opens the personal fields; empty: there are none
};
[[nodiscard]] inline archived_entry read_archived_entry(cbor_reader& in) noexcept {
    archived_entry e;
    if (in.array() != 2) { in.fail({errc::malformed, "archived entry of the wrong length"}); }
    e.leaf = in.byte_string();
    if (in.null()) { return e; }
    e.has_opening = true;
    std::size_t const parts = in.array();
    if (parts != 2 && parts != 3) { in.fail({errc::malformed, "opening of the wrong length"}); }
    e.salt = in.byte_string();
    e.secret = in.byte_string();
    if (!in.failed() && e.salt.size() != 32) { in.fail({errc::malformed, "salt of the wrong length"}); }
    if (!in.failed() && parts == 3) { e.fields = in.skip(4); }
    return e;
}
[[nodiscard]] inline audit_opening opening_of(archived_entry const& e) {
    audit_opening o{{}, to_bytes(e.secret), to_bytes(e.fields)};
    std::memcpy(o.salt.data(), e.salt.data(), o.salt.size());
    return o;
}

/// Reads and checks what opens an archived private part's personal fields.
template <digest_function H>
[[nodiscard]] status open_archived_fields(H const& hash, audit_entry::secret& s, bytes_view fields,
                                          decode_limits const& limits) {
    if (s.personal.empty() != fields.empty()) { return failure{errc::malformed, "openings of personal fields"}; }
    if (fields.empty()) { return {}; }
    cbor_reader in{fields, limits};
    decode_field_openings(in, s);
    if (auto const ok = in.finish(); !ok) { return ok; }
    return open_fields(hash, s, fields);
}

}  // namespace detail

/// Verifies an archive, of a stranger too, and gives its entries in order: that each is what the tree has at its place,
/// that the chain holds, that what is open opens its commitment, and that the tree is the beginning of the head's.
///
/// The head is the archive's own word: compare `head` with one that you trust (a signed or anchored one, or the log's
/// by a consistency proof). `visit` is called while the archive is read, before it is known to be true.
/// Errors: `errc::corrupt` for what doesn't prove itself, `errc::limit`, else those of `cbor_reader`.
/// Cost: linear; two hashes an entry, three more for what is open. Memory for one entry.
template <digest_function H>
[[nodiscard]] result<archive_summary> read_archive(H const& hash, bytes_view in, archive_visitor visit,
                                                   decode_limits const& limits = {}) {
    cbor_reader r{in, limits};
    archive_header h = detail::read_archive_header(r);
    if (r.failed()) { return r.error(); }
    archive_summary s{h.head, h.first, h.last, h.left.root(hash), {}, 0};
    std::optional<sha256_digest> previous;
    bytes buffer;
    merkle_frontier tree = std::move(h.left);
    bool told = true;
    for (std::uint64_t index = h.first; index < h.last; ++index) {
        detail::archived_entry const raw = detail::read_archived_entry(r);
        if (r.failed()) { return r.error(); }
        cbor_reader leaf{raw.leaf, limits};
        audit_entry entry = decode_leaf(leaf);
        if (auto const ok = leaf.finish(); !ok) { return ok.error(); }
        if (entry.index != index) { return failure{errc::corrupt, "archived entry out of its place"}; }
        if (previous && entry.previous != previous) { return failure{errc::corrupt, "chain of the archive"}; }
        if (raw.has_opening) {
            if (!entry.commitment) { return failure{errc::corrupt, "opening of what has no commitment"}; }
            if (audit_commitment(hash, detail::opening_of(raw)) != *entry.commitment) {
                return failure{errc::corrupt, "opening of another entry"};
            }
            cbor_reader secret{raw.secret, limits};
            entry.opened = decode_secret(secret);
            if (auto const ok = secret.finish(); !ok) { return ok.error(); }
            if (auto const ok = detail::open_archived_fields(hash, *entry.opened, raw.fields, limits); !ok) {
                return ok.error();
            }
            for (audit_personal_field const& f : entry.opened->personal) { s.redacted_fields += f.item ? 0U : 1U; }
        }
        s.redacted += entry.redacted() ? 1 : 0;
        buffer.clear();
        buffer.push_back(merkle_leaf_prefix);
        append(buffer, raw.leaf);
        previous = hash(buffer);
        tree.add(hash, *previous);
        told = told && visit(entry);
    }
    if (auto const ok = r.finish(); !ok) { return ok.error(); }
    s.root_after = tree.root(hash);
    if (!verify_consistency(hash, h.right, s.root_after, h.head.root)) {
        return failure{errc::corrupt, "archive of another tree"};
    }
    return s;
}
/// The same without looking at the entries.
template <digest_function H>
[[nodiscard]] result<archive_summary> verify_archive(H const& hash, bytes_view in, decode_limits const& limits = {}) {
    return read_archive(
        hash, in, [](audit_entry const&) { return true; }, limits);
}

namespace detail {

/// What of an archived entry is to be destroyed.
struct archive_cut {
    bool whole = false;          ///< the private part
    std::vector<bool> fields{};  ///< else of its personal fields those at these places; empty: none
};

/// A copy of an archive in which what `decide` says of each entry with a private part is destroyed.
template <digest_function H>
[[nodiscard]] result<bytes> cut_archive(H const& hash, bytes_view in,
                                        function_ref<archive_cut(audit_entry const&)> decide,
                                        decode_limits const& limits) {
    std::vector<archive_cut> cuts;
    std::vector<audit_entry::secret> secrets;
    auto const asked = read_archive(
        hash, in,
        [&](audit_entry const& e) {
            cuts.push_back(e.opened ? decide(e) : archive_cut{});
            secrets.push_back(e.opened && !cuts.back().fields.empty() ? *e.opened : audit_entry::secret{});
            return true;
        },
        limits);
    if (!asked) { return asked.error(); }
    cbor_reader r{in, limits};
    archive_header const h = read_archive_header(r);
    bytes out;
    cbor_writer w{out};
    write_archive_header(w, h);
    for (std::size_t i = 0; i < cuts.size(); ++i) {
        archived_entry const raw = read_archived_entry(r);
        if (!raw.has_opening || cuts[i].whole) {
            write_archive_entry(w, raw.leaf, nullptr);
            continue;
        }
        audit_opening opening = opening_of(raw);
        if (!cuts[i].fields.empty()) {
            opening.fields =
                without_fields(secrets[i], raw.fields, [&](std::size_t place) { return cuts[i].fields[place]; });
        }
        write_archive_entry(w, raw.leaf, &opening);
    }
    return out;
}

}  // namespace detail

/// A copy of an archive in which the private parts that `which` names are destroyed; it verifies as before. For
/// archives that were made with private parts, of records that are to be forgotten.
///
/// Errors: as of `read_archive`; then there is no copy. What isn't opened is not asked about.
template <digest_function H>
[[nodiscard]] result<bytes> redact_archive(H const& hash, bytes_view in, archive_visitor which,
                                           decode_limits const& limits = {}) {
    return detail::cut_archive(
        hash, in,
        [&](audit_entry const& e) {
            return detail::archive_cut{which(e), {}};
        },
        limits);
}

/// Called with an entry of an archive whose private part is there, and the name of a personal field of it.
using archive_field_visitor = function_ref<bool(audit_entry const& entry, std::string_view field)>;

/// The same for single personal fields: those that `which` names are destroyed, value and salt.
template <digest_function H>
[[nodiscard]] result<bytes> redact_archive_fields(H const& hash, bytes_view in, archive_field_visitor which,
                                                  decode_limits const& limits = {}) {
    return detail::cut_archive(
        hash, in,
        [&](audit_entry const& e) {
            detail::archive_cut cut;
            for (audit_personal_field const& f : e.opened->personal) {
                cut.fields.push_back(f.item.has_value() && which(e, f.name));
            }
            return cut;
        },
        limits);
}

}  // namespace syncline::inline SYNCLINE_ABI
