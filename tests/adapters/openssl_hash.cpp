// SPDX-License-Identifier: BSL-1.0
#include <syncline/adapters/openssl_hash.hpp>

#include <syncline/blob/manifest.hpp>
#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

TEST_CASE("openssl hash: the same digests as the built-in one, however the input is cut and the hasher copied",
          "[adapters]") {
    random_generator g(1);
    for (int round = 0; round < 100; ++round) {
        bytes content(static_cast<std::size_t>(below(g, 500)));
        fill(g, content);
        openssl_sha256_hasher whole, parts;
        whole.update(content);
        auto const cut = static_cast<std::size_t>(below(g, content.size() + 1));
        parts.update(bytes_view{content}.first(cut));
        openssl_sha256_hasher fork(parts);
        (void)parts.finish();
        parts.update(bytes_view{content}.subspan(cut));
        CHECK(whole.finish() == sha256(content));
        CHECK(parts.finish() == sha256(content));
        CHECK(fork.finish() == sha256(bytes_view{content}.first(cut)));
        fork = parts;
        CHECK(fork.finish() == sha256(content));
    }
    bytes content(200'000, std::byte{3});
    CHECK(make_manifest(content, "", {}, openssl_sha256_hasher{}) == make_manifest(content));
}
