// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A mutation in its author's sealed envelope: what other devices carry, and what says that it is its author's.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/clock/version_vector.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/replica/protocol.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::uint64_t envelope_format = 1;
inline constexpr std::size_t envelope_needs_max = 16;     ///< replicas on whose mutations one builds
inline constexpr std::size_t envelope_name_max = 255;     ///< bytes of a realm, of a principal, of a key's name
inline constexpr std::size_t envelope_proof_max = 4'096;  ///< bytes of a signature or code
inline constexpr std::size_t envelope_bytes_max = std::size_t{2} << 20;  ///< of a sealed one

/// What an author says of a mutation, a group as a whole, when it hands it over: all that an authority has to know to decide it as if the
/// author had sent it.
struct envelope {
    std::string realm{};      ///< names the authority and its data: what is sealed for one is nothing for another
    std::string principal{};  ///< whose the author's device is
    replica_id author{};
    origin from{};
    /// What its writer saw of others' that no authority had confirmed: the last of each replica, in the order of
    /// replicas. What it builds on of its author's own is all that comes before it.
    std::vector<dot> needs{};
    bytes frozen{};  ///< the mutation's bytes
    friend bool operator==(envelope const&, envelope const&) = default;
};

/// The bytes that are sealed: an array of format, the text "syncline envelope", realm, principal, author, line and number
/// of the origin, an array of the needs (author and sequence of each), the mutation.
[[nodiscard]] inline bytes encode(envelope const& e) {
    bytes out;
    cbor_writer w{out};
    w.array(9);
    w.unsigned_integer(envelope_format);
    w.text("syncline envelope");
    w.text(e.realm);
    w.text(e.principal);
    w.byte_string(to_array(e.author));
    w.unsigned_integer(e.from.line);
    w.unsigned_integer(e.from.number);
    w.array(e.needs.size() * 2);
    for (dot const& d : e.needs) {
        w.byte_string(to_array(d.replica));
        w.unsigned_integer(d.sequence);
    }
    w.byte_string(e.frozen);
    return out;
}

namespace detail {

/// An array of author and sequence of each, in the order of authors, each once.
[[nodiscard]] inline std::vector<dot> decode_needs(cbor_reader& in) {
    std::vector<dot> all;
    std::size_t const n = in.array();
    if (n % 2 != 0) { in.fail({errc::malformed, "needs of the wrong length"}); }
    if (n / 2 > envelope_needs_max) { in.fail({errc::limit, "builds on too many"}); }
    for (std::size_t i = 0; i < n / 2 && !in.failed(); ++i) {
        replica_id const who = read_replica(in);
        dot const d{who, in.unsigned_integer()};
        if (!in.failed() && d.sequence == 0) { in.fail({errc::malformed, "a need without a sequence"}); }
        if (!all.empty() && !(all.back().replica < d.replica)) {
            in.fail({errc::not_deterministic, "needs out of order"});
        }
        all.push_back(d);
    }
    return all;
}

}  // namespace detail

/// An envelope that was read, and what seals it.
struct opened_envelope {
    envelope said{};
    mutation change{};  ///< decoded from the frozen bytes
    bytes statement{};  ///< the bytes that are sealed
    bytes key_id{};     ///< names the key; empty where a group trusts its devices
    bytes proof{};      ///< signature or code over the statement; empty where a group trusts its devices
    [[nodiscard]] dot id() const noexcept { return {said.author, change.sequence}; }
    friend bool operator==(opened_envelope const&, opened_envelope const&) = default;
};

/// An array of statement, key's name and proof, byte strings.
[[nodiscard]] inline bytes encode_sealed(bytes_view statement, bytes_view key_id, bytes_view proof) {
    bytes out;
    cbor_writer w{out};
    w.array(3);
    w.byte_string(statement);
    w.byte_string(key_id);
    w.byte_string(proof);
    return out;
}

/// Reads a stranger's sealed envelope. Whose it is, a verifier says.
/// Errors: `errc::limit` for more than `envelope_bytes_max` and what else is too much; `errc::unsupported` for another
/// format, and for a mutation that this build doesn't know; `errc::malformed` and the reader's own for what is none.
[[nodiscard]] inline result<opened_envelope> open_envelope(bytes_view sealed, decode_limits const& limits = {}) {
    if (sealed.size() > envelope_bytes_max) { return failure{errc::limit, "envelope too large"}; }
    cbor_reader in{sealed, limits};
    opened_envelope out;
    if (in.array() != 3) { in.fail({errc::malformed, "sealed envelope of the wrong length"}); }
    out.statement = to_bytes(in.byte_string());
    out.key_id = to_bytes(in.byte_string());
    out.proof = to_bytes(in.byte_string());
    if (out.key_id.size() > envelope_name_max || out.proof.size() > envelope_proof_max) {
        in.fail({errc::limit, "proof too large"});
    }
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    cbor_reader body{out.statement, limits};
    if (body.array() != 9) { body.fail({errc::malformed, "envelope of the wrong length"}); }
    if (std::uint64_t const format = body.unsigned_integer(); !body.failed() && format != envelope_format) {
        body.fail({errc::unsupported, "format of an envelope"});
    }
    if (body.text() != "syncline envelope") { body.fail({errc::malformed, "not an envelope"}); }
    out.said.realm = std::string{body.text()};
    out.said.principal = std::string{body.text()};
    if (out.said.realm.size() > envelope_name_max || out.said.principal.size() > envelope_name_max) {
        body.fail({errc::limit, "name in an envelope"});
    }
    out.said.author = detail::read_replica(body);
    out.said.from.line = body.unsigned_integer();
    out.said.from.number = body.unsigned_integer();
    out.said.needs = detail::decode_needs(body);
    out.said.frozen = to_bytes(body.byte_string());
    if (auto ok = body.finish(); !ok) { return ok.error(); }
    cbor_reader inner{out.said.frozen, limits};
    out.change = decode_mutation(inner);
    if (auto ok = inner.finish(); !ok) { return ok.error(); }
    if (out.change.sequence == 0) { return failure{errc::malformed, "a mutation without a sequence"}; }
    bool const itself = std::any_of(out.said.needs.begin(), out.said.needs.end(),
                                    [&](dot const& d) { return d.replica == out.said.author; });
    if (itself) { return failure{errc::malformed, "builds on its author's own"}; }
    return out;
}

/// Seals for the host: a key in a keychain, a device's secure element.
///
/// Notation: `s` lvalue of S, `m` bytes_view, `out` lvalue of bytes.
/// | expression     | result     | meaning                                                    |
/// | s.key_id()     | bytes_view | names the key, at most 255 bytes; lives as long as `s`       |
/// | s.sign(m, out) | status     | `out` is the signature or code of `m`, at most 4096 bytes    |
/// Axioms (the compiler can't check them): `accepts_own` a verifier that knows the key accepts it; `unforgeable` who lacks
/// the key makes none that it accepts. A `head_signer` of the audit log is one.
template <class S>
concept envelope_sealer = requires(S& s, bytes_view m, bytes& out) {
    { s.key_id() } -> std::same_as<bytes_view>;
    { s.sign(m, out) } -> std::same_as<status>;
};

/// What a verifier is asked: whether the statement is that author's, and who has brought it.
struct envelope_claim {
    std::string_view principal{};  ///< the author's, as the envelope says
    replica_id author{};
    std::string_view bearer_principal{};  ///< who brought it; empty where nobody was authenticated
    replica_id bearer{};
    bytes_view statement{};
    bytes_view key_id{};
    bytes_view proof{};
};

/// Says whether an envelope is its author's.
///
/// | expression | result | meaning                                                                                     |
/// | v(claim)   | status | success when the proof is that key's, and the key is one of that author's device and principal |
/// `errc::unauthorised` for a key that isn't theirs or isn't known, `errc::forbidden` for a proof that is wrong. It is asked
/// within a transaction: it looks into what it holds, and doesn't wait.
template <class V>
concept envelope_verifier = requires(V const& v, envelope_claim const& c) {
    { v(c) } -> std::same_as<status>;
};

/// Whose envelopes are taken. It refers to the verifier, which must outlive it.
struct relay_gate {
    std::string realm{};
    status (*verify)(envelope_claim const&, void const* data) = nullptr;  ///< null: whatever is brought is taken
    void const* data = nullptr;
    std::size_t envelopes_max = 256;  ///< looked at in one request; the rest is brought again

    /// Errors: `errc::forbidden` for another realm, and the verifier's.
    [[nodiscard]] status admits(opened_envelope const& e, replica_id const& bearer,
                                std::string_view bearer_principal) const {
        if (e.said.realm != realm) { return failure{errc::forbidden, "sealed for another realm"}; }
        if (verify == nullptr) { return {}; }
        return verify({e.said.principal, e.said.author, bearer_principal, bearer, e.statement, e.key_id, e.proof},
                      data);
    }
};

template <envelope_verifier V>
[[nodiscard]] relay_gate gate_of(std::string realm, V const& verifier) {
    return {std::move(realm),
            [](envelope_claim const& c, void const* data) { return (*static_cast<V const*>(data))(c); }, &verifier};
}

/// Seals an envelope. Errors: the sealer's; `errc::limit` for what `open_envelope` would not take.
template <envelope_sealer S>
[[nodiscard]] result<bytes> seal(envelope const& e, S& sealer) {
    bytes const statement = encode(e);
    bytes proof;
    if (auto ok = sealer.sign(statement, proof); !ok) { return ok.error(); }
    bytes_view const key_id = sealer.key_id();
    bool const fits = key_id.size() <= envelope_name_max && proof.size() <= envelope_proof_max &&
                      e.realm.size() <= envelope_name_max && e.principal.size() <= envelope_name_max;
    if (!fits) { return failure{errc::limit, "name or proof too long"}; }
    bytes out = encode_sealed(statement, key_id, proof);
    if (out.size() > envelope_bytes_max) { return failure{errc::limit, "envelope too large"}; }
    return out;
}

/// Seals with a key that the device and the authority share: HMAC with SHA-256.
class mac_sealer {
public:
    /// `key`: 16 bytes or more, of the device alone.
    mac_sealer(bytes_view key_id, bytes_view key) : key_id_(to_bytes(key_id)), key_(to_bytes(key)) {}
    [[nodiscard]] bytes_view key_id() const noexcept { return key_id_; }
    [[nodiscard]] status sign(bytes_view statement, bytes& out) const {
        out = to_bytes(hmac_sha256(key_, statement));
        return {};
    }

private:
    bytes key_id_;
    bytes key_;
};
static_assert(envelope_sealer<mac_sealer>);

/// The counterpart at the authority: which device has which key.
class mac_keys {
public:
    /// A later key under the same name takes the place of an earlier one.
    void add(bytes_view key_id, bytes_view key, id128 const& device, std::string_view principal) {
        auto const at = find(key_id);
        if (at == keys_.end()) {
            keys_.push_back({to_bytes(key_id), to_bytes(key), device, std::string{principal}});
        } else {
            keys_[static_cast<std::size_t>(at - keys_.begin())] = {to_bytes(key_id), to_bytes(key), device,
                                                                   std::string{principal}};
        }
    }
    void remove(bytes_view key_id) {
        auto const at = find(key_id);
        if (at != keys_.end()) { keys_.erase(at); }
    }
    [[nodiscard]] status operator()(envelope_claim const& c) const {
        auto const at = find(c.key_id);
        if (at == keys_.end() || at->device != c.author.device || at->principal != c.principal) {
            return failure{errc::unauthorised, "no key of that author's"};
        }
        if (!equal_secret(hmac_sha256(at->key, c.statement), c.proof)) {
            return failure{errc::forbidden, "the envelope is not its author's"};
        }
        return {};
    }

private:
    struct shared_key {
        bytes key_id;
        bytes key;
        id128 device{};
        std::string principal;
    };
    [[nodiscard]] std::vector<shared_key>::const_iterator find(bytes_view key_id) const {
        return std::find_if(keys_.begin(), keys_.end(), [&](shared_key const& k) { return equal(k.key_id, key_id); });
    }
    std::vector<shared_key> keys_{};
};
static_assert(envelope_verifier<mac_keys>);

/// Seals nothing: for a group whose devices trust each other.
struct no_seal {
    [[nodiscard]] static bytes_view key_id() noexcept { return {}; }
    [[nodiscard]] static status sign(bytes_view, bytes& out) {
        out.clear();
        return {};
    }
};
static_assert(envelope_sealer<no_seal>);

/// A closed group of devices that are declared to be trusted: what one of them brings of another is taken without a
/// proof. Each of them can so write in the name of any other. Who has brought it, the host has authenticated.
class trusted_group {
public:
    void add(id128 const& device, std::string_view principal) { all_.push_back({device, std::string{principal}}); }
    [[nodiscard]] status operator()(envelope_claim const& c) const {
        if (!has(c.author.device, c.principal) || !has(c.bearer.device, c.bearer_principal)) {
            return failure{errc::unauthorised, "not of the group"};
        }
        return {};
    }

private:
    struct trusted_device {
        id128 device{};
        std::string principal;
    };
    [[nodiscard]] bool has(id128 const& device, std::string_view principal) const {
        return std::any_of(all_.begin(), all_.end(),
                           [&](trusted_device const& d) { return d.device == device && d.principal == principal; });
    }
    std::vector<trusted_device> all_{};
};
static_assert(envelope_verifier<trusted_group>);

}  // namespace syncline::inline SYNCLINE_ABI
