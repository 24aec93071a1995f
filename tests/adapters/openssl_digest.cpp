// SPDX-License-Identifier: BSL-1.0
#include <syncline/adapters/openssl_digest.hpp>

#include <map>
#include <string>
#include <utility>

#include <syncline/audit/log.hpp>
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
