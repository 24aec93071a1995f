// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What two ends of a transfer say to each other, and the end that answers.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <syncline/blob/blob_book.hpp>
#include <syncline/blob/chunk_store.hpp>
#include <syncline/blob/manifest.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::uint64_t blob_format = 1;

/// On the wire: append, never renumber.
enum class blob_ask_kind : std::uint8_t {
    offer = 0,     ///< here is a manifest: which of its chunks do you want? / a bit for each, the first in the lowest
    piece = 1,     ///< here is a chunk / stored
    finish = 2,    ///< is it all there? / a bit of 1 when it is
    manifest = 3,  ///< give me this blob's manifest / the manifest; empty: no such blob
    fetch = 4,     ///< give me this chunk / the chunk; empty: no such chunk
};

/// `[format, kind, number, identity, body]`.
struct blob_ask {
    blob_ask_kind kind{};
    std::uint64_t number = 0;  ///< the answer repeats it
    sha256_digest id{};        ///< of the blob, or (piece, fetch) of the chunk
    bytes body{};              ///< offer: the manifest; piece: the chunk; else empty
    friend bool operator==(blob_ask const&, blob_ask const&) = default;
};
/// `[format, kind, number, error, body]`; the error is an `errc`, 0 for none.
struct blob_answer {
    blob_ask_kind kind{};
    std::uint64_t number = 0;
    errc error{};
    bytes body{};
    friend bool operator==(blob_answer const&, blob_answer const&) = default;
};

[[nodiscard]] inline bytes encode(blob_ask const& a) {
    bytes out;
    cbor_writer w(out);
    w.array(5);
    w.unsigned_integer(blob_format);
    w.unsigned_integer(static_cast<std::uint64_t>(a.kind));
    w.unsigned_integer(a.number);
    w.byte_string(a.id);
    w.byte_string(a.body);
    return out;
}
[[nodiscard]] inline bytes encode(blob_answer const& a) {
    bytes out;
    cbor_writer w(out);
    w.array(5);
    w.unsigned_integer(blob_format);
    w.unsigned_integer(static_cast<std::uint64_t>(a.kind));
    w.unsigned_integer(a.number);
    w.unsigned_integer(static_cast<std::uint64_t>(a.error));
    w.byte_string(a.body);
    return out;
}

namespace detail {

inline void take_blob_head(cbor_reader& in, blob_ask_kind& kind, std::uint64_t& number) noexcept {
    if (in.array() != 5) { in.fail({errc::malformed, "message of a transfer"}); }
    if (in.unsigned_integer() != blob_format) { in.fail({errc::unsupported, "format of a transfer"}); }
    std::uint64_t const k = in.unsigned_integer();
    if (k > 4) { in.fail({errc::unsupported, "kind of a transfer's message"}); }
    kind = static_cast<blob_ask_kind>(k & 7);
    number = in.unsigned_integer();
}

}  // namespace detail

/// A stranger's ask. Errors: those of `cbor_reader`, `unsupported`.
[[nodiscard]] inline result<blob_ask> decode_blob_ask(bytes_view message, decode_limits const& limits = {}) {
    cbor_reader in(message, limits);
    blob_ask a;
    detail::take_blob_head(in, a.kind, a.number);
    bytes_view const id = in.byte_string();
    if (id.size() != a.id.size()) { in.fail({errc::malformed, "identity"}); }
    bytes_view const body = in.byte_string();
    bool const has_body = a.kind == blob_ask_kind::offer || a.kind == blob_ask_kind::piece;
    if (!in.failed() && has_body == body.empty()) { in.fail({errc::malformed, "body of a transfer's message"}); }
    if (auto s = in.finish(); !s) { return s.error(); }
    for (std::size_t i = 0; i < a.id.size(); ++i) { a.id[i] = id[i]; }
    a.body = to_bytes(body);
    return a;
}
/// A stranger's answer. Errors as above.
[[nodiscard]] inline result<blob_answer> decode_blob_answer(bytes_view message, decode_limits const& limits = {}) {
    cbor_reader in(message, limits);
    blob_answer a;
    detail::take_blob_head(in, a.kind, a.number);
    std::uint64_t const error = in.unsigned_integer();
    if (error > 0xFF) { in.fail({errc::overflow, "error of a transfer"}); }
    bytes_view const body = in.byte_string();
    if (auto s = in.finish(); !s) { return s.error(); }
    a.error = static_cast<errc>(error & 0xFF);
    a.body = to_bytes(body);
    return a;
}

/// The answering end: what it says to an ask; commit before it is sent. It keeps nothing of the asker's but chunks.
///
/// `owner` is who owns what is offered until the host makes the record its owner, say the principal. Only chunks of
/// manifests that were offered are stored, and only under their own hash.
/// Errors: those of `decode_blob_ask`; what storage and store answer. What the ask is to blame for is in the answer.
/// Cost: one chunk's, or O(chunks of one manifest) gets.
template <storage_transaction Tx, chunk_store Chunks>
[[nodiscard]] result<bytes> answer_blob(Tx& tx, Chunks& chunks, blob_book const& book, bytes_view owner,
                                        bytes_view message, decode_limits const& limits = {}) {
    auto const ask = decode_blob_ask(message, limits);
    if (!ask) { return ask.error(); }
    blob_answer out{ask->kind, ask->number, errc{}, {}};
    auto const blamed = [](failure const& f) {
        return f == errc::malformed || f == errc::not_found || f == errc::limit || f == errc::not_deterministic ||
               f == errc::unsupported || f == errc::type_mismatch || f == errc::overflow;
    };
    auto const bits = [&](blob_manifest const& m) -> status {
        auto const missing = book.missing(tx, m);
        if (!missing) { return missing.error(); }
        out.body.assign((m.chunks.size() + 7) / 8, std::byte{});
        for (std::uint32_t const i : *missing) { out.body[i / 8] |= static_cast<std::byte>(1U << (i % 8)); }
        return {};
    };
    switch (ask->kind) {
        case blob_ask_kind::offer: {
            auto const m = decode_manifest(ask->body, book.limits());
            if (!m) {
                out.error = m.error().code;
                break;
            }
            if (!(manifest_id(ask->body) == ask->id)) {
                out.error = errc::malformed;
                break;
            }
            if (auto s = bits(*m); !s) {
                if (!blamed(s.error())) { return s.error(); }
                out.error = s.error().code;
                break;
            }
            if (auto const b = book.expect(tx, *m, owner); !b) { return b.error(); }
            break;
        }
        case blob_ask_kind::piece: {
            if (auto s = book.arrived(tx, chunks, ask->id, ask->body); !s) {
                if (!blamed(s.error())) { return s.error(); }
                out.error = s.error().code;
                break;
            }
            if (auto s = chunks.flush(); !s) { return s.error(); }
            break;
        }
        case blob_ask_kind::finish: {
            auto const m = book.manifest(tx, ask->id);
            if (!m) { return m.error(); }
            if (!*m) {
                out.error = errc::not_found;
                break;
            }
            auto const missing = book.missing(tx, **m);
            if (!missing && blamed(missing.error())) {
                out.error = missing.error().code;
                break;
            }
            if (!missing) { return missing.error(); }
            out.body.push_back(missing->empty() ? std::byte{1} : std::byte{0});
            break;
        }
        case blob_ask_kind::manifest: {
            auto const m = book.manifest(tx, ask->id);
            if (!m) { return m.error(); }
            if (*m) { out.body = encode(**m); }
            break;
        }
        case blob_ask_kind::fetch: {
            auto const here = book.has(tx, ask->id);
            if (!here) { return here.error(); }
            if (*here) {
                if (auto const found = chunks.get(ask->id, out.body); !found) { return found.error(); }
                // A rotten chunk is as good as none.
                if (!(sha256(out.body) == ask->id)) { out.body.clear(); }
            }
            break;
        }
    }
    return encode(out);
}

}  // namespace syncline::inline SYNCLINE_ABI
