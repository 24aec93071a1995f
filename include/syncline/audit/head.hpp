// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Heads: what a log was at a size, signed or anchored elsewhere, so that its end can't be cut off or written anew.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include <syncline/audit/merkle.hpp>
#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What a log was: its name, how many entries it had, and the root over them.
struct audit_head {
    id128 log{};
    std::uint64_t size = 0;
    sha256_digest root{};
    timestamp stamp{};  ///< when it was looked at, by whoever did
    friend bool operator==(audit_head const&, audit_head const&) = default;
};

inline constexpr std::uint64_t audit_head_format = 1;
inline constexpr std::size_t signature_bytes_max = 4096;

/// The bytes that are signed: an array of format, the text "syncline audit head", log, size, root, stamp.
[[nodiscard]] inline bytes encode(audit_head const& h) {
    bytes out;
    cbor_writer w{out};
    w.array(6);
    w.unsigned_integer(audit_head_format);
    w.text("syncline audit head");
    w.byte_string(h.log.bytes);
    w.unsigned_integer(h.size);
    w.byte_string(h.root);
    w.unsigned_integer(h.stamp.raw);
    return out;
}
/// Reads a stranger's. On anything else the reader has failed.
[[nodiscard]] inline audit_head decode_head(cbor_reader& in) {
    audit_head h;
    if (in.array() != 6) { in.fail({errc::malformed, "head of the wrong length"}); }
    if (std::uint64_t const format = in.unsigned_integer(); !in.failed() && format != audit_head_format) {
        in.fail({errc::unsupported, "format of a head"});
    }
    if (in.text() != "syncline audit head") { in.fail({errc::malformed, "not a head"}); }
    bytes_view const log = in.byte_string();
    if (!in.failed() && log.size() != h.log.bytes.size()) { in.fail({errc::malformed, "name of a log"}); }
    if (!in.failed()) { std::memcpy(h.log.bytes.data(), log.data(), log.size()); }
    h.size = in.unsigned_integer();
    h.root = read_digest(in);
    h.stamp = timestamp{in.unsigned_integer()};
    return h;
}
[[nodiscard]] inline result<audit_head> decode_head(bytes_view in) {
    cbor_reader r{in};
    audit_head const h = decode_head(r);
    if (auto const ok = r.finish(); !ok) { return ok.error(); }
    return h;
}

/// Signs for the host: a key in a keychain, a device's secure element, a server.
///
/// Notation: `s` lvalue of S, `m` bytes_view, `out` lvalue of bytes.
/// | expression      | result      | meaning                                                     |
/// | s.key_id()      | bytes_view  | names the key, at most 255 bytes; lives as long as `s`        |
/// | s.sign(m, out)  | status      | `out` is the signature of `m`, at most 4096 bytes; on error nothing is promised of it |
/// Axioms (the compiler can't check them): `accepts_own` a verifier of that key accepts it; `unforgeable` who lacks the
/// key makes none that it accepts. Signing may take time and fail: no transaction needs to be open.
template <class S>
concept head_signer = requires(S& s, bytes_view m, bytes& out) {
    { s.key_id() } -> std::same_as<bytes_view>;
    { s.sign(m, out) } -> std::same_as<status>;
};

/// Its counterpart.
///
/// | expression                    | result | meaning                                                       |
/// | v.verify(key_id, m, signature) | status | success when the signature of `m` is that key's, and the key is trusted |
/// `errc::unauthorised` for a key that isn't trusted, `errc::forbidden` for a signature that is wrong.
template <class V>
concept head_verifier = requires(V& v, bytes_view b) {
    { v.verify(b, b, b) } -> std::same_as<status>;
};

/// Where heads are kept, out of the reach of who can write the log: another machine, a notary, paper.
///
/// | expression         | result                        | meaning                                             |
/// | a.publish(head)    | status                        | the signed head's bytes are kept                      |
/// | a.latest()         | result<std::optional<bytes>>  | those that were published last; nothing: never        |
/// Axiom: `monotonic` what was published can't be taken back.
template <class A>
concept head_anchor = requires(A& a, bytes_view b) {
    { a.publish(b) } -> std::same_as<status>;
    { a.latest() } -> std::same_as<result<std::optional<bytes>>>;
};

/// A head and who vouches for it.
struct signed_head {
    audit_head head{};
    bytes key_id{};
    bytes signature{};
    friend bool operator==(signed_head const&, signed_head const&) = default;
};

/// An array of the head's bytes as a byte string, key id and signature.
[[nodiscard]] inline bytes encode(signed_head const& s) {
    bytes out;
    cbor_writer w{out};
    w.array(3);
    w.byte_string(encode(s.head));
    w.byte_string(s.key_id);
    w.byte_string(s.signature);
    return out;
}
/// Reads a stranger's; who signed it is for `verify_head` to say.
[[nodiscard]] inline result<signed_head> decode_signed_head(bytes_view in) {
    cbor_reader r{in};
    signed_head s;
    if (r.array() != 3) { r.fail({errc::malformed, "signed head of the wrong length"}); }
    bytes_view const head = r.byte_string();
    s.key_id = to_bytes(r.byte_string());
    s.signature = to_bytes(r.byte_string());
    if (s.key_id.size() > 255 || s.signature.size() > signature_bytes_max) {
        r.fail({errc::malformed, "signature out of range"});
    }
    if (auto const ok = r.finish(); !ok) { return ok.error(); }
    auto const inner = decode_head(head);
    if (!inner) { return inner.error(); }
    s.head = *inner;
    return s;
}

/// Signs a head. Errors: the signer's; `errc::invalid` for a key id or signature that is too long.
template <head_signer S>
[[nodiscard]] result<signed_head> sign_head(S& signer, audit_head const& head) {
    signed_head out{head, to_bytes(signer.key_id()), {}};
    if (auto const ok = signer.sign(encode(head), out.signature); !ok) { return ok.error(); }
    if (out.key_id.size() > 255 || out.signature.size() > signature_bytes_max) {
        return failure{errc::invalid, "signature out of range"};
    }
    return out;
}
/// Success when the head is signed by a key that the verifier trusts. Errors: the verifier's.
template <head_verifier V>
[[nodiscard]] status verify_head(V& verifier, signed_head const& s) {
    return verifier.verify(s.key_id, encode(s.head), s.signature);
}
/// Signs a head and publishes it.
template <head_signer S, head_anchor A>
[[nodiscard]] result<signed_head> anchor_head(S& signer, A& anchor, audit_head const& head) {
    auto out = sign_head(signer, head);
    if (!out) { return out; }
    if (auto const ok = anchor.publish(encode(*out)); !ok) { return ok.error(); }
    return out;
}
/// The head that was published last, its signature checked; nothing when none ever was.
template <head_verifier V, head_anchor A>
[[nodiscard]] result<std::optional<audit_head>> anchored_head(V& verifier, A& anchor) {
    auto const raw = anchor.latest();
    if (!raw) { return raw.error(); }
    if (!*raw) { return std::optional<audit_head>{}; }
    auto const s = decode_signed_head(**raw);
    if (!s) { return s.error(); }
    if (auto const ok = verify_head(verifier, *s); !ok) { return ok.error(); }
    return std::optional<audit_head>{s->head};
}

/// How a log stands to a head of earlier.
enum class anchor_finding : std::uint8_t {
    extends = 1,    ///< what the head saw is there, unchanged; perhaps with more behind it
    truncated = 2,  ///< the log is shorter than it was: its end is gone
    forked = 3,     ///< of that size it was another: written anew
    other_log = 4,  ///< the head is another log's
};
[[nodiscard]] constexpr char const* name(anchor_finding f) noexcept {
    switch (f) {
        case anchor_finding::extends: return "extends it";
        case anchor_finding::truncated: return "truncated";
        case anchor_finding::forked: return "forked";
        case anchor_finding::other_log: return "another log";
    }
    return "unknown finding";
}

/// Whether a later head extends an earlier one, by a proof of whoever holds the log. Nothing of them is trusted.
template <digest_function H>
[[nodiscard]] anchor_finding compare_heads(H const& hash, audit_head const& earlier, audit_head const& later,
                                           consistency_proof const& proof) noexcept {
    if (earlier.log != later.log) { return anchor_finding::other_log; }
    if (later.size < earlier.size) { return anchor_finding::truncated; }
    bool const same = proof.first == earlier.size && proof.second == later.size &&
                      verify_consistency(hash, proof, earlier.root, later.root);
    return same ? anchor_finding::extends : anchor_finding::forked;
}

/// Whether the leaf of this hash stands where the proof says in the log as the head has it. The proof may be a stranger's.
template <digest_function H>
[[nodiscard]] bool verify_inclusion(H const& hash, sha256_digest const& leaf, inclusion_proof const& proof,
                                    audit_head const& head) noexcept {
    return proof.size == head.size && verify_inclusion(hash, leaf, proof, head.root);
}

// ---- Archetypes ------------------------------------------------------------------------------------------------

/// Models `head_signer` and nothing else. Every call fails.
struct signer_archetype {
    signer_archetype() = delete;
    signer_archetype(signer_archetype const&) = delete;
    signer_archetype& operator=(signer_archetype const&) = delete;
    bytes_view key_id() { return {}; }
    status sign(bytes_view, bytes&) { return errc::unsupported; }
};
/// Models `head_verifier` and nothing else.
struct verifier_archetype {
    verifier_archetype() = delete;
    verifier_archetype(verifier_archetype const&) = delete;
    verifier_archetype& operator=(verifier_archetype const&) = delete;
    status verify(bytes_view, bytes_view, bytes_view) { return errc::unsupported; }
};
/// Models `head_anchor` and nothing else.
struct anchor_archetype {
    anchor_archetype() = delete;
    anchor_archetype(anchor_archetype const&) = delete;
    anchor_archetype& operator=(anchor_archetype const&) = delete;
    status publish(bytes_view) { return errc::unsupported; }
    result<std::optional<bytes>> latest() { return errc::unsupported; }
};
static_assert(head_signer<signer_archetype> && head_verifier<verifier_archetype> && head_anchor<anchor_archetype>);

/// Without one requirement the concepts must refuse.
template <int Missing>
struct head_service_without {
    bytes_view key_id() requires(Missing != 1) { return {}; }
    status sign(bytes_view, bytes&) requires(Missing != 2) { return errc::unsupported; }
    status verify(bytes_view, bytes_view, bytes_view) requires(Missing != 3) { return errc::unsupported; }
    status publish(bytes_view) requires(Missing != 4) { return errc::unsupported; }
    result<std::optional<bytes>> latest() requires(Missing != 5) { return errc::unsupported; }
};
static_assert(head_signer<head_service_without<0>> && head_verifier<head_service_without<0>> &&
              head_anchor<head_service_without<0>>);
static_assert(!head_signer<head_service_without<1>> && !head_signer<head_service_without<2>> &&
              !head_verifier<head_service_without<3>>);
static_assert(!head_anchor<head_service_without<4>> && !head_anchor<head_service_without<5>>);

}  // namespace syncline::inline SYNCLINE_ABI
