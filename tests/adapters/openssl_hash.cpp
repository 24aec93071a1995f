// SPDX-License-Identifier: BSL-1.0
#include <syncline/adapters/openssl_hash.hpp>

#include <map>
#include <string>
#include <utility>

#include <syncline/audit/log.hpp>
#include <syncline/blob/manifest.hpp>
#include <syncline/core/random.hpp>
#include <syncline/delta/signature.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

namespace {

using namespace syncline;

template <class H>
std::map<std::string, std::string> rows_with(H const& hash) {
    memory_storage store;
    audit_log<H> const log({}, "a", hash);
    random_generator random{3};
    auto tx = store.begin(access_mode::write);
    REQUIRE(tx);
    REQUIRE(log.open(*tx, {}, random));
    for (std::uint64_t i = 0; i < 40; ++i) {
        audit_item item;
        item.stamp = {i};
        item.record = as_bytes("r");
        REQUIRE(log.append(*tx, item, random));
    }
    auto const report = log.verify(*tx);
    REQUIRE(report);
    CHECK(report->sound());
    std::map<std::string, std::string> out;
    REQUIRE(tx->scan({}, [&](bytes_view k, bytes_view v) {
        out.emplace(as_text(k), as_text(v));
        return true;
    }));
    return out;
}

}  // namespace

TEST_CASE("OpenSSL's SHA-256 is ours, also copied, moved from and in a log", "[adapters]") {
    auto hash = openssl_sha256::make();
    REQUIRE(hash);
    bytes data;
    for (unsigned i = 0; i < 300; ++i) {
        REQUIRE((*hash)(data) == sha256(data));
        data.push_back(static_cast<std::byte>(i));
    }
    openssl_sha256 copy = *hash;
    CHECK(copy(data) == sha256(data));
    openssl_sha256 const moved = std::move(copy);
    CHECK(moved(data) == sha256(data));
    copy = moved;
    CHECK(copy(data) == sha256(data));
    CHECK(rows_with(*hash) == rows_with(sha256_function{}));
}

TEST_CASE("openssl hash: the same digests as the built-in one, however the input is cut and the hasher copied",
          "[adapters]") {
    random_generator g(1);
    for (int round = 0; round < 100; ++round) {
        bytes content(static_cast<std::size_t>(below(g, 500)));
        fill(g, content);
        openssl_sha256 whole, parts;
        whole.update(content);
        auto const cut = static_cast<std::size_t>(below(g, content.size() + 1));
        parts.update(bytes_view{content}.first(cut));
        openssl_sha256 fork(parts);
        (void)parts.finish();
        parts.update(bytes_view{content}.subspan(cut));
        CHECK(whole.finish() == sha256(content));
        CHECK(parts.finish() == sha256(content));
        CHECK(fork.finish() == sha256(bytes_view{content}.first(cut)));
        fork = parts;
        CHECK(fork.finish() == sha256(content));
    }
    bytes content(200'000, std::byte{3});
    CHECK(make_manifest(content, "", {}, openssl_sha256{}) == make_manifest(content));
    // A signature is the same by either, and what it finds.
    random_generator noise(2);
    fill(noise, content);
    bytes mine, theirs;
    signature_encode(content, {}, mine);
    signature_encode(content, {}, theirs, openssl_sha256{});
    CHECK(mine == theirs);
    auto const index = signature_index::read(mine);
    REQUIRE(index);
    bytes target = content;
    target[5000] ^= std::byte{1};
    delta_scratch scratch;
    bytes by_own, by_openssl;
    index->encode(target, by_own, scratch);
    index->encode(target, by_openssl, scratch, {}, openssl_sha256{});
    CHECK(by_own == by_openssl);
    CHECK(by_own.size() < content.size() / 20);
}

TEST_CASE("OpenSSL's SHA-256: what was called takes no stream, and says so by a digest of zeros", "[adapters]") {
    openssl_sha256 h;
    h.update(as_bytes("one"));
    CHECK(h(as_bytes("two")) == sha256(as_bytes("two")));
    CHECK(h.finish() == sha256_digest{});
    h.update(as_bytes("three"));
    CHECK(h.finish() == sha256_digest{});
    openssl_sha256 const copy = h;
    CHECK(copy(as_bytes("two")) == sha256(as_bytes("two")));
    openssl_sha256 from = openssl_sha256{};
    openssl_sha256 const taken = std::move(from);
    CHECK(from(as_bytes("four")) == sha256(as_bytes("four")));  // by the library's own
    CHECK(from.finish() == sha256_digest{});
    CHECK(taken.finish() == sha256({}));
}
