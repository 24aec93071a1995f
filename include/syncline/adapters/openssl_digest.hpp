// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `openssl_sha256`: a `digest_function` that uses the processor's instructions where OpenSSL does.

#include <cstddef>
#include <utility>

#include <openssl/evp.h>

#include <syncline/audit/merkle.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// SHA-256 by OpenSSL: `audit_log<openssl_sha256> log({}, "a", hash)`. The same digests as `sha256_function`, so that a
/// log may be written with the one and verified with the other.
///
/// Owns a context: a copy has one of its own, one object is for one thread at a time. Should OpenSSL ever fail, the
/// library's own SHA-256 answers: the digest is never wrong.
class openssl_sha256 {
public:
    /// `errc::unsupported` when OpenSSL has no SHA-256 to give (a provider that was taken away).
    [[nodiscard]] static result<openssl_sha256> make() {
        openssl_sha256 h;
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
        h.method_ = EVP_MD_fetch(nullptr, "SHA256", nullptr);
#else
        h.method_ = EVP_sha256();
#endif
        h.context_ = EVP_MD_CTX_new();
        if (h.method_ == nullptr || h.context_ == nullptr) { return failure{errc::unsupported, "OpenSSL's SHA-256"}; }
        return h;
    }
    openssl_sha256(openssl_sha256 const& o) noexcept : method_(o.method_), context_(EVP_MD_CTX_new()) { share(); }
    openssl_sha256(openssl_sha256&& o) noexcept
        : method_(std::exchange(o.method_, nullptr)), context_(std::exchange(o.context_, nullptr)) {}
    openssl_sha256& operator=(openssl_sha256 o) noexcept {
        std::swap(method_, o.method_);
        std::swap(context_, o.context_);
        return *this;
    }
    ~openssl_sha256() {
        EVP_MD_CTX_free(context_);
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
        EVP_MD_free(method_);
#endif
    }

    [[nodiscard]] sha256_digest operator()(bytes_view b) const noexcept {
        sha256_digest out;
        unsigned size = 0;
        bool const done = context_ != nullptr && method_ != nullptr &&
                          EVP_DigestInit_ex(context_, method_, nullptr) == 1 &&
                          EVP_DigestUpdate(context_, b.data(), b.size()) == 1 &&
                          EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(out.data()), &size) == 1 &&
                          size == out.size();
        return done ? out : sha256(b);
    }

private:
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    using method_type = EVP_MD*;
    void share() noexcept {
        if (method_ != nullptr) { EVP_MD_up_ref(method_); }
    }
#else
    using method_type = EVP_MD const*;
    void share() noexcept {}
#endif
    openssl_sha256() = default;

    method_type method_ = nullptr;
    EVP_MD_CTX* context_ = nullptr;
};
static_assert(digest_function<openssl_sha256>);

}  // namespace syncline::inline SYNCLINE_ABI
