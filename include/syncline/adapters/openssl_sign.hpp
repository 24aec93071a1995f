// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Ed25519 signatures (RFC 8032) by OpenSSL (link with crypto): for envelopes between devices and for the audit log's heads.

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <openssl/evp.h>

#include <syncline/audit/head.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/result.hpp>
#include <syncline/replica/envelope.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// 32 bytes that may be known to everybody.
using ed25519_public_key = std::array<std::byte, 32>;

namespace detail {

struct openssl_free {
    void operator()(EVP_PKEY* k) const noexcept { EVP_PKEY_free(k); }
    void operator()(EVP_MD_CTX* c) const noexcept { EVP_MD_CTX_free(c); }
};
using openssl_key = std::unique_ptr<EVP_PKEY, openssl_free>;
using openssl_context = std::unique_ptr<EVP_MD_CTX, openssl_free>;

[[nodiscard]] inline unsigned char const* openssl_bytes(bytes_view b) noexcept {
    return reinterpret_cast<unsigned char const*>(b.data());
}

}  // namespace detail

/// Whether it is that key's signature of the message. False too where OpenSSL has no memory, or no Ed25519 to give.
/// Cost: some allocations of OpenSSL's.
[[nodiscard]] inline bool ed25519_verify(ed25519_public_key const& key, bytes_view message,
                                         bytes_view signature) noexcept {
    detail::openssl_key const k(
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, detail::openssl_bytes(key), key.size()));
    detail::openssl_context const c(EVP_MD_CTX_new());
    return k && c && EVP_DigestVerifyInit(c.get(), nullptr, nullptr, nullptr, k.get()) == 1 &&
           EVP_DigestVerify(c.get(), detail::openssl_bytes(signature), signature.size(), detail::openssl_bytes(message),
                            message.size()) == 1;
}

/// Signs with a key that this program holds. Models `envelope_sealer` and `head_signer`; a key in a secure element needs
/// another model of them.
class ed25519_signer {
public:
    /// `secret`: 32 random bytes, kept where no other program reads them. `key_id` names the key, at most 255 bytes.
    /// Errors: `errc::invalid` for another length; `errc::unsupported` where OpenSSL has no Ed25519 to give.
    [[nodiscard]] static result<ed25519_signer> make(bytes_view key_id, bytes_view secret) {
        if (secret.size() != 32 || key_id.size() > envelope_name_max) { return failure{errc::invalid, "Ed25519 key"}; }
        ed25519_signer s;
        s.key_id_ = to_bytes(key_id);
        s.key_.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, detail::openssl_bytes(secret), 32));
        std::size_t size = s.public_key_.size();
        if (!s.key_ || EVP_PKEY_get_raw_public_key(s.key_.get(), reinterpret_cast<unsigned char*>(s.public_key_.data()),
                                                   &size) != 1) {
            return failure{errc::unsupported, "OpenSSL's Ed25519"};
        }
        return s;
    }
    [[nodiscard]] bytes_view key_id() const noexcept { return key_id_; }
    /// What the others are given, once, by a way that they trust.
    [[nodiscard]] ed25519_public_key const& public_key() const noexcept { return public_key_; }
    /// 64 bytes, always the same for a message. `errc::unsupported` when OpenSSL fails.
    [[nodiscard]] status sign(bytes_view message, bytes& out) const {
        detail::openssl_context const c(EVP_MD_CTX_new());
        std::size_t size = 64;
        out.resize(size);
        bool const done = c && EVP_DigestSignInit(c.get(), nullptr, nullptr, nullptr, key_.get()) == 1 &&
                          EVP_DigestSign(c.get(), reinterpret_cast<unsigned char*>(out.data()), &size,
                                         detail::openssl_bytes(message), message.size()) == 1;
        return done ? status{} : status{failure{errc::unsupported, "OpenSSL's Ed25519"}};
    }

private:
    ed25519_signer() = default;
    bytes key_id_{};
    detail::openssl_key key_{};
    ed25519_public_key public_key_{};
};
static_assert(envelope_sealer<ed25519_signer const> && head_signer<ed25519_signer>);

/// Which device has which key. Every device can have these: so a forgery is refused where it is handed over
/// (`relay_options::gate`), not only at the authority. Models `envelope_verifier`.
///
/// For the heads of an audit log it is a `head_verifier` too, that trusts every key in it: use an object of its own, which
/// has no devices' keys.
class ed25519_keys {
public:
    /// A later key under the same name takes the place of an earlier one.
    void add(bytes_view key_id, ed25519_public_key const& key, id128 const& device, std::string_view principal) {
        remove(key_id);
        all_.push_back({to_bytes(key_id), key, device, std::string{principal}});
    }
    void remove(bytes_view key_id) {
        std::erase_if(all_, [&](known_key const& k) { return equal(k.key_id, key_id); });
    }
    [[nodiscard]] status operator()(envelope_claim const& c) const {
        known_key const* const k = find(c.key_id);
        if (k == nullptr || k->device != c.author.device || k->principal != c.principal) {
            return failure{errc::unauthorised, "no key of that author's"};
        }
        if (!ed25519_verify(k->key, c.statement, c.proof)) {
            return failure{errc::forbidden, "the envelope is not its author's"};
        }
        return {};
    }
    [[nodiscard]] status verify(bytes_view key_id, bytes_view message, bytes_view signature) const {
        known_key const* const k = find(key_id);
        if (k == nullptr) { return failure{errc::unauthorised, "not a key that is trusted"}; }
        if (!ed25519_verify(k->key, message, signature)) { return failure{errc::forbidden, "another's signature"}; }
        return {};
    }

private:
    struct known_key {
        bytes key_id{};
        ed25519_public_key key{};
        id128 device{};
        std::string principal{};
    };
    [[nodiscard]] known_key const* find(bytes_view key_id) const noexcept {
        auto const at =
            std::find_if(all_.begin(), all_.end(), [&](known_key const& k) { return equal(k.key_id, key_id); });
        return at == all_.end() ? nullptr : &*at;
    }
    std::vector<known_key> all_{};
};
static_assert(envelope_verifier<ed25519_keys> && head_verifier<ed25519_keys>);

}  // namespace syncline::inline SYNCLINE_ABI
