// SPDX-License-Identifier: BSL-1.0
#pragma once

/// SHA-256 by OpenSSL, which uses the processor's own instructions for it where there are some.

#include <array>
#include <cstddef>
#include <cstdint>

#include <openssl/evp.h>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Models `hasher`, with the same digests as `sha256_hasher`: several times as fast on long input where the processor
/// helps, slower on a few bytes. Hand it to `blob_book::store` and `make_manifest`.
/// Should OpenSSL be unable to hash (no memory, no such algorithm), the digest is all zero: no content has it.
/// Cost: an allocation of OpenSSL's each for making, copying and finishing.
class openssl_sha256_hasher {
public:
    using digest_type = sha256_digest;

    openssl_sha256_hasher() noexcept : context_(EVP_MD_CTX_new()) {
        good_ = context_ != nullptr && EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1;
    }
    openssl_sha256_hasher(openssl_sha256_hasher const& o) noexcept : context_(EVP_MD_CTX_new()) { copy(o); }
    openssl_sha256_hasher& operator=(openssl_sha256_hasher const& o) noexcept {
        if (this != &o) { copy(o); }
        return *this;
    }
    ~openssl_sha256_hasher() { EVP_MD_CTX_free(context_); }

    void update(bytes_view b) noexcept { good_ = good_ && EVP_DigestUpdate(context_, b.data(), b.size()) == 1; }
    [[nodiscard]] sha256_digest finish() const noexcept {
        openssl_sha256_hasher end(*this);
        std::array<unsigned char, 32> raw{};
        unsigned size = 0;
        bool const done = end.good_ && EVP_DigestFinal_ex(end.context_, raw.data(), &size) == 1 && size == raw.size();
        sha256_digest out{};
        for (std::size_t i = 0; done && i < out.size(); ++i) { out[i] = static_cast<std::byte>(raw[i]); }
        return out;
    }

private:
    void copy(openssl_sha256_hasher const& o) noexcept {
        good_ = o.good_ && context_ != nullptr && EVP_MD_CTX_copy_ex(context_, o.context_) == 1;
    }
    EVP_MD_CTX* context_;
    bool good_ = false;
};

static_assert(hasher<openssl_sha256_hasher>);

}  // namespace syncline::inline SYNCLINE_ABI
