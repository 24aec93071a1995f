// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Certificates made for one test.

#include <cstddef>
#include <string>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "support/catch.hpp"

namespace tls_identity {

/// A certificate that signed itself, and its key, both PEM.
struct identity {
    std::string certificate;
    std::string key;
};

inline std::string pem_of(BIO* out) {
    char* text = nullptr;
    long const size = BIO_get_mem_data(out, &text);
    std::string pem(text, static_cast<std::size_t>(size));
    BIO_free(out);
    return pem;
}

/// For such a subject alternative name ("IP:127.0.0.1", "DNS:example.org"), valid from so many seconds ago.
inline identity self_signed(char const* alternative_name, long valid_until_seconds = 3600) {
    EVP_PKEY* const key = EVP_EC_gen("P-256");
    REQUIRE(key != nullptr);
    X509* const x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -7200);
    X509_gmtime_adj(X509_getm_notAfter(x), valid_until_seconds);
    X509_set_pubkey(x, key);
    X509_NAME* const name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<unsigned char const*>("syncline test"), -1,
                               -1, 0);
    X509_set_issuer_name(x, name);
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, alternative_name);
    REQUIRE(extension != nullptr);
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
    REQUIRE(X509_sign(x, key, EVP_sha256()) != 0);

    BIO* const certificate = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(certificate, x);
    BIO* const secret = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(secret, key, nullptr, nullptr, 0, nullptr, nullptr);
    X509_free(x);
    EVP_PKEY_free(key);
    return {pem_of(certificate), pem_of(secret)};
}

/// The same key under a password.
inline std::string locked(std::string const& key_pem, std::string const& password) {
    BIO* const in = BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size()));
    EVP_PKEY* const key = PEM_read_bio_PrivateKey(in, nullptr, nullptr, nullptr);
    BIO_free(in);
    REQUIRE(key != nullptr);
    BIO* const out = BIO_new(BIO_s_mem());
    REQUIRE(PEM_write_bio_PKCS8PrivateKey(out, key, EVP_aes_256_cbc(), password.data(),
                                          static_cast<int>(password.size()), nullptr, nullptr) == 1);
    EVP_PKEY_free(key);
    return pem_of(out);
}

/// A key of another kind than the certificates have.
inline std::string rsa_key() {
    EVP_PKEY* const key = EVP_RSA_gen(2048);
    REQUIRE(key != nullptr);
    BIO* const out = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
    EVP_PKEY_free(key);
    return pem_of(out);
}

}  // namespace tls_identity
