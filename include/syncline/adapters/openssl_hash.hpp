// SPDX-License-Identifier: BSL-1.0
#pragma once

/// SHA-256 by OpenSSL, which uses the processor's own instructions for it where there are some.

#include <cstddef>
#include <utility>

#include <openssl/evp.h>

#include <syncline/audit/merkle.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// SHA-256 by OpenSSL, with the same digests as the library's own: what was made with the one is verified with the other.
///
/// Models `digest_function`, for `audit_log<openssl_sha256> log({}, "a", hash)`, and `hasher`, for `blob_book::store`,
/// `make_manifest` and `signature_encode`. Several times as fast on long input where the processor helps, slower on a
/// few bytes.
/// A copy has a context of its own; one object is for one thread at a time. Should OpenSSL be unable to hash (no memory,
/// a provider that was taken away), a call answers by the library's own SHA-256, and a stream ends in a digest that is
/// all zero, which no content has.
/// Cost: an allocation of OpenSSL's each for making, copying and finishing a stream; a call allocates nothing.
class openssl_sha256 {
public:
    using digest_type = sha256_digest;

    /// Ready to take a stream, if OpenSSL has SHA-256 to give: `make` tells.
    openssl_sha256() noexcept : method_(fetch()), context_(EVP_MD_CTX_new()) {
        good_ = context_ != nullptr && method_ != nullptr && EVP_DigestInit_ex(context_, method_, nullptr) == 1;
    }
    /// `errc::unsupported` when OpenSSL has no SHA-256 to give.
    [[nodiscard]] static result<openssl_sha256> make() {
        openssl_sha256 h;
        if (!h.good_) { return failure{errc::unsupported, "OpenSSL's SHA-256"}; }
        return h;
    }
    openssl_sha256(openssl_sha256 const& o) noexcept : method_(o.method_), context_(EVP_MD_CTX_new()) {
        share();
        good_ = o.good_ && context_ != nullptr && EVP_MD_CTX_copy_ex(context_, o.context_) == 1;
    }
    openssl_sha256(openssl_sha256&& o) noexcept
        : method_(std::exchange(o.method_, nullptr)),
          context_(std::exchange(o.context_, nullptr)),
          good_(std::exchange(o.good_, false)) {}
    openssl_sha256& operator=(openssl_sha256 o) noexcept {
        std::swap(method_, o.method_);
        std::swap(context_, o.context_);
        std::swap(good_, o.good_);
        return *this;
    }
    ~openssl_sha256() {
        EVP_MD_CTX_free(context_);
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
        EVP_MD_free(method_);
#endif
    }

    /// The digest of `b`. An object that was called takes no stream any more: its digest would be all zero.
    [[nodiscard]] sha256_digest operator()(bytes_view b) const noexcept {
        good_ = false;
        sha256_digest out;
        unsigned size = 0;
        bool const done = context_ != nullptr && method_ != nullptr &&
                          EVP_DigestInit_ex(context_, method_, nullptr) == 1 &&
                          EVP_DigestUpdate(context_, b.data(), b.size()) == 1 &&
                          EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(out.data()), &size) == 1 &&
                          size == out.size();
        return done ? out : sha256(b);
    }

    void update(bytes_view b) noexcept { good_ = good_ && EVP_DigestUpdate(context_, b.data(), b.size()) == 1; }
    [[nodiscard]] sha256_digest finish() const noexcept {
        openssl_sha256 end(*this);
        sha256_digest out{};
        unsigned size = 0;
        bool const done = end.good_ &&
                          EVP_DigestFinal_ex(end.context_, reinterpret_cast<unsigned char*>(out.data()), &size) == 1 &&
                          size == out.size();
        return done ? out : sha256_digest{};
    }

private:
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    using method_type = EVP_MD*;
    [[nodiscard]] static method_type fetch() noexcept { return EVP_MD_fetch(nullptr, "SHA256", nullptr); }
    void share() noexcept {
        if (method_ != nullptr) { EVP_MD_up_ref(method_); }
    }
#else
    using method_type = EVP_MD const*;
    [[nodiscard]] static method_type fetch() noexcept { return EVP_sha256(); }
    void share() noexcept {}
#endif

    method_type method_;
    EVP_MD_CTX* context_;
    mutable bool good_ = false;  ///< the context holds a stream
};
static_assert(digest_function<openssl_sha256> && hasher<openssl_sha256>);

}  // namespace syncline::inline SYNCLINE_ABI
