// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a large value consists of, and the small value that a record's field holds of it.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/blob/chunker.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What is taken of a manifest that somebody else made.
struct manifest_limits {
    std::size_t chunks_max = std::size_t{1} << 16;
    std::size_t chunk_bytes_max = std::size_t{1} << 20;  ///< of one chunk
    std::uint64_t bytes_max = std::uint64_t{1} << 36;    ///< of the whole content
    std::size_t type_bytes_max = 128;                    ///< of the media type
    friend constexpr bool operator==(manifest_limits const&, manifest_limits const&) = default;
};

/// A chunk: the SHA-256 of its bytes, and how many they are.
struct chunk_ref {
    sha256_digest id{};
    std::uint64_t size = 0;  ///< > 0
    friend bool operator==(chunk_ref const&, chunk_ref const&) = default;
};

/// The chunks of a large value in order. Its identity is the SHA-256 of its encoding, so that it can't be forged.
struct blob_manifest {
    std::string type{};  ///< a media type, for whoever shows it; may be empty
    std::vector<chunk_ref> chunks{};
    [[nodiscard]] std::uint64_t size() const noexcept {
        std::uint64_t n = 0;
        for (chunk_ref const& c : chunks) { n += c.size; }
        return n;
    }
    friend bool operator==(blob_manifest const&, blob_manifest const&) = default;
};

/// `[1, type, digests in one byte string, [size, …]]` in deterministic CBOR.
[[nodiscard]] inline bytes encode(blob_manifest const& m) {
    bytes out;
    out.reserve(m.chunks.size() * 36 + 64);
    cbor_writer w(out);
    w.array(4);
    w.unsigned_integer(1);
    w.text(m.type);
    bytes digests;
    digests.reserve(m.chunks.size() * 32);
    for (chunk_ref const& c : m.chunks) { append(digests, c.id); }
    w.byte_string(digests);
    w.array(m.chunks.size());
    for (chunk_ref const& c : m.chunks) { w.unsigned_integer(c.size); }
    return out;
}

/// A stranger's manifest. Errors: those of `cbor_reader`; `unsupported` for another format; `limit`.
[[nodiscard]] inline result<blob_manifest> decode_manifest(bytes_view in, manifest_limits const& limits = {}) {
    cbor_reader r(in);
    if (r.array() != 4) { r.fail({errc::malformed, "manifest"}); }
    if (r.unsigned_integer() != 1) { r.fail({errc::unsupported, "format of a manifest"}); }
    std::string_view const type = r.text();
    if (type.size() > limits.type_bytes_max) { r.fail({errc::limit, "media type"}); }
    bytes_view const digests = r.byte_string();
    std::size_t const n = r.array();
    if (n > limits.chunks_max) { r.fail({errc::limit, "chunks of a manifest"}); }
    if (digests.size() != n * sizeof(sha256_digest)) { r.fail({errc::malformed, "digests of a manifest"}); }
    blob_manifest m;
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < n && !r.failed(); ++i) {
        chunk_ref c;
        c.size = r.unsigned_integer();
        for (std::size_t k = 0; k < c.id.size(); ++k) { c.id[k] = digests[i * c.id.size() + k]; }
        if (!r.failed() && c.size == 0) { r.fail({errc::malformed, "empty chunk"}); }
        if (c.size > limits.chunk_bytes_max || c.size > limits.bytes_max - total) {
            r.fail({errc::limit, "size of a chunk"});
        }
        total += c.size;
        m.chunks.push_back(c);
    }
    m.type = std::string(type);
    if (auto s = r.finish(); !s) { return s.error(); }
    return m;
}

/// The manifest's identity.
template <hasher H = sha256_hasher>
    requires std::same_as<typename H::digest_type, sha256_digest>
[[nodiscard]] sha256_digest manifest_id(bytes_view encoded_manifest, H hash = {}) noexcept {
    hash.update(encoded_manifest);
    return hash.finish();
}

/// Cuts content into chunks and hashes each, by `H`: the built-in SHA-256 or an adapter's.
/// Cost: the hash's; one entry a chunk.
template <hasher H = sha256_hasher>
    requires std::same_as<typename H::digest_type, sha256_digest>
[[nodiscard]] blob_manifest make_manifest(bytes_view content, std::string_view type = {},
                                          chunk_options const& options = {}, H const& fresh = {}) {
    blob_manifest m;
    m.type = std::string(type);
    while (!content.empty()) {
        bytes_view const chunk = content.first(next_chunk(content, options));
        H hash = fresh;
        hash.update(chunk);
        m.chunks.push_back({hash.finish(), chunk.size()});
        content = content.subspan(chunk.size());
    }
    return m;
}

/// What a record's field holds of a large value. Like any other value it is set, merged and conflicts as a whole.
struct blob_ref {
    sha256_digest id{};      ///< of the manifest
    std::uint64_t size = 0;  ///< of the content
    std::string type{};
    friend bool operator==(blob_ref const&, blob_ref const&) = default;
};

/// The encoded value of a field: `[id, size, type]`.
[[nodiscard]] inline bytes encode(blob_ref const& b) {
    bytes out;
    cbor_writer w(out);
    w.array(3);
    w.byte_string(b.id);
    w.unsigned_integer(b.size);
    w.text(b.type);
    return out;
}
/// The reference that a field's encoded value holds. Errors: those of `cbor_reader`, `malformed`.
[[nodiscard]] inline result<blob_ref> decode_blob_ref(bytes_view field) {
    cbor_reader r(field);
    if (r.array() != 3) { r.fail({errc::malformed, "reference to a blob"}); }
    bytes_view const id = r.byte_string();
    blob_ref b;
    if (id.size() != b.id.size()) { r.fail({errc::malformed, "identity of a blob"}); }
    b.size = r.unsigned_integer();
    b.type = std::string(r.text());
    if (auto s = r.finish(); !s) { return s.error(); }
    for (std::size_t i = 0; i < b.id.size(); ++i) { b.id[i] = id[i]; }
    return b;
}

}  // namespace syncline::inline SYNCLINE_ABI
