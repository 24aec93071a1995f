// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Sealed segments: a run of entries as one CBOR item that proves itself, for wherever old entries are kept.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
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
    sha256_digest root_before{};  ///< of the tree of `first` leaves: the archive before ends with it
    sha256_digest root_after{};   ///< of the tree of `last` leaves
    std::uint64_t redacted = 0;   ///< entries whose private part is not there
    friend bool operator==(archive_summary const&, archive_summary const&) = default;
};

/// Called with each entry of an archive, and its salt where it was opened. False stops.
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
    out.array(2);
    out.byte_string(opening->salt);
    out.byte_string(opening->secret);
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
};
[[nodiscard]] inline archived_entry read_archived_entry(cbor_reader& in) noexcept {
    archived_entry e;
    if (in.array() != 2) { in.fail({errc::malformed, "archived entry of the wrong length"}); }
    e.leaf = in.byte_string();
    if (in.null()) { return e; }
    e.has_opening = true;
    if (in.array() != 2) { in.fail({errc::malformed, "opening of the wrong length"}); }
    e.salt = in.byte_string();
    e.secret = in.byte_string();
    if (!in.failed() && e.salt.size() != 32) { in.fail({errc::malformed, "salt of the wrong length"}); }
    return e;
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
            audit_opening opening{{}, to_bytes(raw.secret)};
            std::memcpy(opening.salt.data(), raw.salt.data(), opening.salt.size());
            if (audit_commitment(hash, opening) != *entry.commitment) {
                return failure{errc::corrupt, "opening of another entry"};
            }
            cbor_reader secret{raw.secret, limits};
            entry.opened = decode_secret(secret);
            if (auto const ok = secret.finish(); !ok) { return ok.error(); }
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

/// A copy of an archive in which the private parts that `which` names are destroyed; it verifies as before. For
/// archives that were made with private parts, of records that are to be forgotten.
///
/// Errors: as of `read_archive`; then there is no copy. What isn't opened is not asked about.
template <digest_function H>
[[nodiscard]] result<bytes> redact_archive(H const& hash, bytes_view in, archive_visitor which,
                                           decode_limits const& limits = {}) {
    std::vector<bool> redact;
    auto const asked = read_archive(
        hash, in,
        [&](audit_entry const& e) {
            redact.push_back(e.opened.has_value() && which(e));
            return true;
        },
        limits);
    if (!asked) { return asked.error(); }
    cbor_reader r{in, limits};
    archive_header const h = detail::read_archive_header(r);
    bytes out;
    cbor_writer w{out};
    write_archive_header(w, h);
    for (bool const destroyed : redact) {
        detail::archived_entry const raw = detail::read_archived_entry(r);
        if (!raw.has_opening || destroyed) {
            write_archive_entry(w, raw.leaf, nullptr);
            continue;
        }
        audit_opening opening{{}, to_bytes(raw.secret)};
        std::memcpy(opening.salt.data(), raw.salt.data(), opening.salt.size());
        write_archive_entry(w, raw.leaf, &opening);
    }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
